use serde::{Deserialize, Serialize};

use crate::rules::correlation::COUNT_MAX;

/// How much is remembered, and how long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How much later than a newer one an event may come (microseconds).
    pub late_max_us: i64,
    /// How far an event may be ahead of the wall clock when it arrives; one that is further counts as of then
    /// (microseconds).
    pub ahead_max_us: i64,
    /// When nothing has come for so long, nothing is waited for any more (microseconds).
    pub quiet_max_us: i64,
    /// Most events that wait for earlier ones.
    pub held_max: usize,
    /// Most memory for these (bytes).
    pub held_bytes_max: usize,
    /// Most groups of all correlations.
    pub groups_max: usize,
    /// Most memory for these (bytes).
    pub groups_bytes_max: usize,
    /// Most events of one group, where all of them count.
    pub group_events_max: usize,
    /// Most values that all `first_seen` correlations remember.
    pub values_max: usize,
    /// Most events that are remembered so as not to count them twice.
    pub seen_max: usize,
    /// Most alerts of one correlation in an hour, in one cluster.
    pub alerts_per_hour_max: usize,
    /// Most alerts that wait to be stored.
    pub pending_max: usize,
}

impl Limits {
    /// Together some 200 MiB at worst.
    pub const DEFAULT: Self = Self {
        late_max_us: 60 * MICROS,
        ahead_max_us: 60 * MICROS,
        quiet_max_us: 300 * MICROS,
        held_max: 100_000,
        held_bytes_max: 32 << 20,
        groups_max: 100_000,
        groups_bytes_max: 64 << 20,
        group_events_max: COUNT_MAX,
        values_max: 1_000_000,
        seen_max: 500_000,
        alerts_per_hour_max: 100,
        pending_max: 1_000,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

const MICROS: i64 = 1_000_000;

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events taken, each once.
    pub events: u64,
    /// Events that came again.
    pub duplicate: u64,
    /// Events that came later than the bound.
    pub late: u64,
    /// Events that were too far ahead of the wall clock.
    pub ahead: u64,
    /// Of the late ones: what could not be used, once for each group.
    pub too_late: u64,
    /// Events that were taken before their time: too many were held.
    pub hurried: u64,
    /// Groups that were forgotten for want of room.
    pub evicted_groups: u64,
    /// Values of `first_seen` that were forgotten for want of room.
    pub evicted_values: u64,
    /// Events that one group had no room for.
    pub cut: u64,
    /// Alerts.
    pub fired: u64,
    /// Matches that were not told: the group was quiet.
    pub suppressed: u64,
    /// Matches that were not told: the correlation had too many alerts.
    pub withheld: u64,
    /// Alerts that were lost: too many waited to be stored.
    pub lost: u64,
}
