//! Decides what an event means: which rules it hits, which `kubectl` command is behind it, what an alert says.
//! No I/O, no clock.

mod actor;
mod alert;
mod around;
mod bits;
mod csr;
mod explain;
mod fields;
mod grams;
mod key;
mod kubectl;
mod literals;
mod matcher;
mod memo;
mod miss;
mod patch;
mod plain;
mod reason;
mod shape;
mod shell;
mod sure;
#[cfg(test)]
mod tests;
mod tree;
mod view;

pub use alert::{Alert, Correlated, Place, write_alert, write_correlated};
pub use explain::Reason;
pub use kubectl::kubectl;
pub use matcher::{Classifier, Verdict, fits};
pub use miss::Miss;
pub use reason::{reason, sentence};
