//! k8scop stands between log shippers and Elasticsearch and knows Kubernetes audit logs.
//!
//! Read the modules in the order in which they are declared: it is the order in which an event meets them.
//! A request goes one way: [`receiver`] takes it in, [`bulk`] splits it into items, [`unwrap`] finds the audit
//! event in a document and writes the document anew, [`classify`] says what it means by the [`rules`] and
//! [`correlate`] what several mean together, [`alerts`] decides which of its alerts are told, [`prepare`] puts documents and
//! alerts into one batch, [`forward`] delivers it, and the answers go back. [`reload`] puts other rules to use meanwhile;
//! a request is judged by those that it began with. [`summaries`] tells how many alerts were not told.
//!
//! Beside that road stand the commands: [`setup`], which prepares a cluster, [`demo`], [`check`], which plays shippers
//! against any URL, [`dead_letter`], for what was refused for good, [`explain`], which looks at files and sends nothing,
//! [`ruleset`], for people who work with rules, [`export`], for what leads others to us, and [`backfill`], a second door:
//! what a cluster stored before goes the same road. [`report`] counts what they found, and tells it.
//!
//! Deliberately absent: a queue (the open request is the backpressure), a task per event, a JSON tree (documents
//! stay the bytes that they came as), a store of its own.

pub mod cli;

pub mod config;

pub mod pem;

pub mod app;

pub mod receiver;

pub mod bulk;

pub mod alerts;

pub mod prepare;

mod delivery;

pub mod unwrap;

pub mod event;

pub mod json;

pub mod classify;

pub mod rules;

pub mod correlate;

pub mod correlator;

pub mod rules_test;

pub mod ruleset;

pub mod forward;

pub mod summaries;

pub mod metrics;

pub mod reload;

pub mod admin;

pub mod backfill;

pub mod demo;

pub mod check;

pub mod dead_letter;

pub mod explain;

pub mod report;

pub mod export;

pub mod setup;
