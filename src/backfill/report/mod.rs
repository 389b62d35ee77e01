//! What is told of a backfill at its end: gathered document by document, kept in the checkpoint.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::rules::Level;

/// One document, or one of the events in it.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Where it lies.
    pub index: &'a str,
    /// When it happened; `None` where nothing tells.
    pub time: Option<Timestamp>,
    /// It is an audit event.
    pub is_audit: bool,
    /// Who did it.
    pub user: Option<&'a str>,
    /// In which cluster.
    pub cluster: Option<&'a str>,
    /// The rules that it hit.
    pub verdicts: &'a [Verdict<'a>],
    /// How many alerts it raised.
    pub alerts: usize,
    /// Why it could not be read.
    pub unreadable: Option<&'a str>,
}

/// A rule that was hit.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// The rule's id.
    pub id: &'a str,
    /// Its title.
    pub title: &'a str,
    /// How bad it is, after the configuration's overrides.
    pub level: Level,
    /// It raised an alert; otherwise it only labels.
    pub is_alert: bool,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    seen: u64,
}

impl Summary {
    /// Takes one document.
    pub fn add(&mut self, _seen: &Seen<'_>) {
        self.seen += 1;
    }

    /// Takes what another saw.
    pub fn merge(&mut self, other: Self) {
        self.seen += other.seen;
    }
}
