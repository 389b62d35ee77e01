//! Against the real parts: Elasticsearch, Filebeat, promtool. `scripts/test` starts them and says where they are.

pub mod attack;
mod backfill;
mod bodies;
mod check;
mod clients;
mod compressed;
mod correlations;
mod dead_letter;
pub mod elasticsearch;
mod filebeat;
mod healthy;
mod k8scop;
mod kubectl;
mod mixed;
mod outage;
pub mod parts;
mod poison;
mod routes;
mod scenarios;
mod setup;
mod sigma;
mod stored;
mod stream;
mod through;
mod typed;
mod webhook;
