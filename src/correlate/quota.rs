use std::{collections::VecDeque, mem};

use serde::{Deserialize, Serialize};

use super::engine::MICROS;

const HOUR_US: i64 = 3600 * MICROS;

/// The alerts of one correlation in one cluster, of which an hour has a limited number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Quota {
    /// When they were raised, as far as it matters.
    told_us: VecDeque<i64>,
    /// How many were not since.
    withheld: u64,
}

impl Quota {
    /// Whether all alerts of this hour were raised.
    pub(super) fn is_full(&mut self, at_us: i64, max: usize) -> bool {
        while self.told_us.front().is_some_and(|it| *it <= at_us.saturating_sub(HOUR_US)) {
            self.told_us.pop_front();
        }
        self.told_us.len() >= max
    }

    /// One is not raised.
    pub(super) fn withhold(&mut self) {
        self.withheld += 1;
    }

    /// One is raised. Gives back how many were not before it.
    pub(super) fn tell(&mut self, at_us: i64) -> u64 {
        self.told_us.push_back(at_us);
        mem::take(&mut self.withheld)
    }
}
