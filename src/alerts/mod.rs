//! How loud alerts are: how bad each is, where it goes, and which of many that say the same is told. No I/O, no clock.
//!
//! An alert is *told* when its document is stored, or *held*: then it is counted, and a *summary* tells how many there
//! were. Nobody is to miss an attack for it, so
//! - the first of many counts as told only once it is stored; until then the next ones are told, too;
//! - what is held is told by a summary, an alert like others, which is tried until it is stored;
//! - whatever is forgotten for want of memory makes alerts more, never less.
//!
//! Times are those of the events, so that it makes no difference when logs come in.

mod draft;
mod glob;
mod ledger;
mod policy;
mod recent;
mod summary;

pub use self::{
    draft::{Claim, Draft, Group, Held},
    glob::Glob,
    ledger::{AlertId, Asked, Counted, Ledger, Outcome, Ruling},
    policy::{Fits, Grade, Override, Policy, Rate, Reason, Route, Source, Suppress},
    summary::{Sender, Summary},
};

#[cfg(test)]
mod tests;
