use std::mem;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use super::event::Key;

/// What was seen when, in two halves: when the young one is full, the old one is forgotten and the young one takes its
/// place. What is seen again is young again, so that what was not seen for longest goes first, and nothing has to be
/// kept in order for that.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Generations {
    young: HashMap<Key, i64>,
    old: HashMap<Key, i64>,
}

impl Generations {
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<i64> {
        self.young.get(key).or_else(|| self.old.get(key)).copied()
    }

    /// Notes that it was seen; the latest time stays. Gives back how many were forgotten that were seen after
    /// `stale_us`.
    pub(super) fn put(&mut self, key: Key, at_us: i64, stale_us: i64, entries_max: usize) -> u64 {
        let before = self.old.remove(&key).unwrap_or(i64::MIN);
        let seen = self.young.entry(key).or_insert(before);
        *seen = (*seen).max(at_us);
        if self.young.len() < (entries_max / 2).max(1) {
            return 0;
        }
        let forgotten = mem::replace(&mut self.old, mem::take(&mut self.young));
        forgotten.values().filter(|it| **it > stale_us).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u64) -> Key {
        let mut key = [0; 16];
        key[..8].copy_from_slice(&number.to_le_bytes());
        Key(key)
    }

    #[test]
    fn ten_million_keys_stay_in_the_bound_and_what_is_in_use_stays() {
        // A tenth of them where the program is compiled to be looked into, and slow.
        let keys = if cfg!(debug_assertions) { 1_000_000 } else { 10_000_000 };
        let mut seen = Generations::default();
        let mut forgotten = 0;
        for number in 0..keys {
            forgotten += seen.put(key(number), 1, 0, 20_000);
            if number % 5_000 == 0 {
                assert_eq!(seen.get(&key(u64::MAX)).is_some(), number > 0);
                forgotten += seen.put(key(u64::MAX), 2, 0, 20_000);
            }
        }
        assert!(seen.len() <= 20_000, "{}", seen.len());
        assert_eq!(forgotten, keys + 1 - seen.len() as u64);
    }

    #[test]
    fn the_latest_time_stays() {
        let mut seen = Generations::default();
        for at in [5, 9, 7] {
            seen.put(key(1), at, 0, 10);
        }
        assert_eq!(seen.get(&key(1)), Some(9));
        // What is out of date is no loss.
        for number in 2..20 {
            assert_eq!(seen.put(key(number), 1, 100, 10), 0);
        }
        assert_eq!(seen.get(&key(1)), None);
    }
}
