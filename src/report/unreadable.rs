//! Documents that cannot be read.

use serde::{Deserialize, Serialize};

/// Most reasons that are counted apart. A reason can quote what was read.
pub(super) const REASONS_MAX: usize = 20;
/// Most places that are told for each.
pub(super) const PLACES_MAX: usize = 3;
/// Longest reason and place.
const TEXT_BYTES_MAX: usize = 512;
/// What all reasons beyond [`REASONS_MAX`] are called.
const OTHER_REASONS: &str = "other reasons";

/// How many there are, why, and where.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Unreadable {
    /// In the order in which they came.
    pub(super) reasons: Vec<Reason>,
}

/// Why documents cannot be read.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Reason {
    pub(super) reason: String,
    pub(super) documents: u64,
    /// The first of them.
    pub(super) places: Vec<String>,
}

impl Unreadable {
    pub(super) fn add(&mut self, reason: &str, place: impl FnOnce() -> String) {
        let reason = self.of(reason);
        reason.documents += 1;
        if reason.places.len() < PLACES_MAX {
            reason.places.push(short(&place()).to_owned());
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        for more in other.reasons {
            let reason = self.of(&more.reason);
            reason.documents += more.documents;
            let free = PLACES_MAX.saturating_sub(reason.places.len());
            reason.places.extend(more.places.into_iter().take(free));
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.reasons.iter().map(|it| it.documents).sum()
    }

    fn of(&mut self, reason: &str) -> &mut Reason {
        let reason = short(reason);
        let is_full = self.reasons.len() >= REASONS_MAX;
        let known = self.reasons.iter().position(|it| it.reason == reason);
        let place = match known {
            Some(place) => place,
            None if is_full => self.reasons.len() - 1,
            None => {
                let is_last = self.reasons.len() + 1 == REASONS_MAX;
                let reason = if is_last { OTHER_REASONS } else { reason };
                let reason = Reason { reason: reason.into(), documents: 0, places: Vec::new() };
                self.reasons.push(reason);
                self.reasons.len() - 1
            }
        };
        #[expect(
            clippy::indexing_slicing,
            reason = "each branch gives the place of one that there is"
        )]
        &mut self.reasons[place]
    }
}

fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_BYTES_MAX)).unwrap_or_default()
}
