//! One integration binary; one module for each thing that a user can notice. They start the real program and
//! speak bytes to it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step should fail the test")]
#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "an index that is not there should fail the test"
)]
#![expect(unreachable_pub, reason = "the harness is the public part of this binary")]

mod alerts;
mod auth;
mod backfill;
mod bulk_api;
mod check;
mod cli;
mod conformance;
mod correlate;
mod dead_letter;
mod envelopes;
mod explain;
mod fake;
mod faults;
mod harness;
mod hostile;
mod limits;
mod long_outage;
mod matrix;
mod nodes;
mod parts;
mod pki;
mod poison;
mod push;
mod real;
mod reload;
mod rules;
mod setup;
mod shippers;
mod smuggling;
mod stop;
mod tidy;
mod tls;
