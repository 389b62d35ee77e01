//! Windows that slide: what was in the last timespan, as far as it can still decide.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::event::{Key, Shared};

/// Most events that an alert lists.
pub const EVENTS_TOLD_MAX: usize = 20;

/// One event as it comes to a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'e> {
    pub(super) at_us: i64,
    /// Its own, or that of the match that it made.
    pub(super) key: Key,
    pub(super) event: &'e Shared,
}

/// What came of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is remembered, or was before.
    No,
    /// The group is further already.
    TooLate,
    /// The condition holds with it.
    Match,
}

impl Taken {
    pub(super) fn of(is_match: bool) -> Self {
        if is_match { Self::Match } else { Self::No }
    }
}

/// One event that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry<V> {
    pub(super) at_us: i64,
    pub(super) key: Key,
    pub(super) value: V,
    /// The latest are told.
    pub(super) event: Option<Shared>,
}

impl<V: Copy> Entry<V> {
    pub(super) fn new(moment: Moment<'_>, value: V) -> Self {
        let Moment { at_us, key, event } = moment;
        Self { at_us, key, value, event: Some(event.clone()) }
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.event_bytes()
    }

    /// The key of the event, which is another than that of a match that it made.
    pub(super) fn event_key(&self) -> Option<Key> {
        self.event.as_ref().map(|it| it.0.key)
    }

    fn event_bytes(&self) -> usize {
        self.event.as_ref().map_or(0, |it| it.0.weight_bytes())
    }
}

/// Events in the order of their time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window<V> {
    entries: VecDeque<Entry<V>>,
    bytes: usize,
}

impl<V> Default for Window<V> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0 }
    }
}

impl<V: Copy + Ord> Window<V> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn first_us(&self) -> Option<i64> {
        self.entries.front().map(|it| it.at_us)
    }

    pub(super) fn newest_us(&self) -> Option<i64> {
        self.entries.back().map(|it| it.at_us)
    }

    /// The latest events, the first of them first.
    pub(super) fn told(&self) -> Vec<Shared> {
        self.entries.iter().filter_map(|it| it.event.clone()).collect()
    }

    /// Whether an event of this time is in the window, which ends with the newest.
    pub(super) fn reaches(&self, at_us: i64, span_us: i64) -> bool {
        self.newest_us().is_none_or(|newest| at_us > newest.saturating_sub(span_us))
    }

    /// Puts it in its place. False if it is there. Most come in order: at the end.
    pub(super) fn insert(&mut self, entry: Entry<V>) -> bool {
        let order = |it: &Entry<V>| (it.at_us, it.key, it.value);
        let place = match self.entries.back() {
            Some(last) if order(last) >= order(&entry) => {
                match self.entries.binary_search_by_key(&order(&entry), order) {
                    Ok(_) => return false,
                    Err(place) => place,
                }
            }
            _ => self.entries.len(),
        };
        self.bytes += entry.bytes();
        self.entries.insert(place, entry);
        let silent = self.entries.len().checked_sub(EVENTS_TOLD_MAX + 1);
        if let Some(entry) = silent.and_then(|it| self.entries.get_mut(it)) {
            self.bytes = self.bytes.saturating_sub(entry.event_bytes());
            entry.event = None;
        }
        true
    }

    /// Takes the oldest out.
    pub(super) fn pop(&mut self) -> Option<Entry<V>> {
        let entry = self.entries.pop_front()?;
        self.bytes = self.bytes.saturating_sub(entry.bytes());
        Some(entry)
    }

    /// Takes the oldest out if it has left the window.
    pub(super) fn pop_left(&mut self, span_us: i64) -> Option<Entry<V>> {
        let cut = self.newest_us()?.saturating_sub(span_us);
        self.first_us().filter(|it| *it <= cut)?;
        self.pop()
    }

    fn retain(&mut self, keep: impl FnMut(&Entry<V>) -> bool) {
        self.entries.retain(keep);
        self.bytes = self.entries.iter().map(Entry::bytes).sum();
    }
}

/// Counts events. Only as many as are needed are remembered, the latest.
impl Window<()> {
    pub(super) fn count(&mut self, moment: Moment<'_>, span_us: i64, needed: usize) -> Taken {
        if !self.reaches(moment.at_us, span_us) {
            return Taken::TooLate;
        }
        if !self.insert(Entry::new(moment, ())) {
            return Taken::No;
        }
        while self.pop_left(span_us).is_some() {}
        while self.len() > needed {
            self.pop();
        }
        Taken::of(self.len() >= needed)
    }
}

/// Counts different values. Of each only the latest event is remembered, and of as many values as are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Distinct {
    /// Events whose value came again stay a while: to look for them would cost more.
    pub(super) window: Window<Key>,
    latest: HashMap<Key, (i64, Key)>,
}

impl Distinct {
    pub(super) fn len(&self) -> usize {
        self.latest.len()
    }

    pub(super) fn bytes(&self) -> usize {
        /// A value in the map, with the map's own need.
        const VALUE_BYTES: usize = 2 * size_of::<(Key, (i64, Key))>();
        self.window.bytes() + self.latest.len() * VALUE_BYTES
    }

    pub(super) fn count(
        &mut self,
        moment: Moment<'_>,
        values: impl Iterator<Item = Key>,
        span_us: i64,
        needed: usize,
    ) -> Taken {
        let mut is_new = false;
        for value in values {
            if !self.window.reaches(moment.at_us, span_us) {
                return Taken::TooLate;
            }
            let order = (moment.at_us, moment.key);
            if self.latest.get(&value).is_some_and(|it| *it >= order) {
                continue;
            }
            is_new = true;
            self.latest.insert(value, order);
            self.window.insert(Entry::new(moment, value));
            while let Some(left) = self.window.pop_left(span_us) {
                self.forget(&left);
            }
            while self.latest.len() > needed {
                let Some(oldest) = self.window.pop() else { break };
                self.forget(&oldest);
            }
            if self.window.len() > 2 * self.latest.len() + 2 * EVENTS_TOLD_MAX {
                let latest = &self.latest;
                self.window.retain(|it| latest.get(&it.value) == Some(&(it.at_us, it.key)));
            }
        }
        Taken::of(is_new && self.latest.len() >= needed)
    }

    fn forget(&mut self, entry: &Entry<Key>) {
        if self.latest.get(&entry.value) == Some(&(entry.at_us, entry.key)) {
            self.latest.remove(&entry.value);
        }
    }
}

/// Adds numbers (thousandths).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) window: Window<i64>,
    pub(super) sum: i128,
}

impl Sum {
    /// True beside what came of it if there was no room for all.
    pub(super) fn add(
        &mut self,
        moment: Moment<'_>,
        numbers: impl Iterator<Item = i64>,
        span_us: i64,
        entries_max: usize,
        is_enough: impl Fn(i128) -> bool,
    ) -> (Taken, bool) {
        let (mut is_new, mut is_cut) = (false, false);
        for number in numbers {
            if !self.window.reaches(moment.at_us, span_us) {
                return (Taken::TooLate, is_cut);
            }
            if !self.window.insert(Entry::new(moment, number)) {
                continue;
            }
            is_new = true;
            self.sum += i128::from(number);
            while let Some(left) = self.window.pop_left(span_us) {
                self.sum -= i128::from(left.value);
            }
            if self.window.len() > entries_max
                && let Some(oldest) = self.window.pop()
            {
                is_cut = true;
                self.sum -= i128::from(oldest.value);
            }
        }
        (Taken::of(is_new && is_enough(self.sum)), is_cut)
    }
}
