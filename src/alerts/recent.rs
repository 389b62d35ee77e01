use std::collections::{HashMap, VecDeque, hash_map::Entry};

use super::AlertId;

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Told,
    Counted,
}

/// What became of the last alerts, so that an event that is sent again is not told or counted anew.
#[derive(Debug)]
pub(super) struct Recent {
    fates: HashMap<AlertId, Fate>,
    order: VecDeque<AlertId>,
    count_max: usize,
}

impl Recent {
    pub(super) fn new(count_max: usize) -> Self {
        Self { fates: HashMap::new(), order: VecDeque::new(), count_max }
    }

    pub(super) fn get(&self, id: AlertId) -> Option<Fate> {
        self.fates.get(&id).copied()
    }

    /// Remembers it. False if it is known already: what was told stays told.
    pub(super) fn put(&mut self, id: AlertId, fate: Fate) -> bool {
        match self.fates.entry(id) {
            Entry::Occupied(mut known) => {
                if fate == Fate::Told {
                    known.insert(fate);
                }
                return false;
            }
            Entry::Vacant(place) => place.insert(fate),
        };
        self.order.push_back(id);
        if self.order.len() > self.count_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.fates.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_are_known() {
        let mut recent = Recent::new(2);
        assert!(recent.put(1, Fate::Counted) && recent.put(2, Fate::Told));
        assert!(!recent.put(1, Fate::Told) && !recent.put(2, Fate::Counted));
        assert_eq!((recent.get(1), recent.get(2)), (Some(Fate::Told), Some(Fate::Told)));
        assert!(recent.put(3, Fate::Told));
        assert_eq!((recent.get(1), recent.get(3)), (None, Some(Fate::Told)));
    }
}
