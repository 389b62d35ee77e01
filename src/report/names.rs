//! Counts of names that somebody else chose.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// Names that are kept when there are twice as many: those with the most alerts, and of these with the most events.
/// There can be as many names as events.
pub(super) const KEPT_MAX: usize = 2_000;
/// Longest name: what is longer counts with what begins alike.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// Names that are told.
pub(super) const TOLD_MAX: usize = 10;

/// Events and alerts of each name.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Names {
    counts: HashMap<String, Count>,
    /// Names were forgotten: one that came back counts from then on.
    is_partial: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Count {
    alerts: u64,
    events: u64,
}

impl Names {
    /// Counts events and alerts of a name.
    pub(super) fn add(&mut self, name: &str, events: u64, alerts: u64) {
        let name = name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default();
        // A name is copied only when it is new.
        match self.counts.get_mut(name) {
            Some(count) => {
                count.events += events;
                count.alerts += alerts;
            }
            None => {
                self.counts.insert(name.to_owned(), Count { events, alerts });
                self.forget();
            }
        }
    }

    /// Adds those counted elsewhere.
    pub(super) fn merge(&mut self, other: Self) {
        self.is_partial |= other.is_partial;
        for (name, count) in other.counts {
            self.add(&name, count.events, count.alerts);
        }
    }

    fn forget(&mut self) {
        if self.counts.len() < 2 * KEPT_MAX {
            return;
        }
        self.is_partial = true;
        let mut all: Vec<_> = self.counts.drain().collect();
        all.select_nth_unstable_by(KEPT_MAX, |(_, one), (_, other)| other.cmp(one));
        self.counts.extend(all.into_iter().take(KEPT_MAX));
    }

    /// Those with the most alerts, and of these with the most events.
    pub(super) fn told(&self) -> Tops {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_unstable_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        let more = all.len().saturating_sub(TOLD_MAX);
        let name = |(name, count): (&String, &Count)| Name {
            name: name.clone(),
            alerts: count.alerts,
            events: count.events,
        };
        let top = all.into_iter().take(TOLD_MAX).map(name).collect();
        Tops { top, more, is_partial: self.is_partial }
    }
}

/// The names with the most.
#[derive(Debug)]
pub(super) struct Tops {
    pub(super) top: Vec<Name>,
    /// How many others there are.
    pub(super) more: usize,
    /// There are more than that, and counts can be too low.
    pub(super) is_partial: bool,
}

/// A name.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) alerts: u64,
    pub(super) events: u64,
}
