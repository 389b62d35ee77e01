use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::event::{Key, Shared};

/// Most clusters that have clocks of their own. Further ones go by one clock together.
pub(super) const CLOCKS_MAX: usize = 1_000;
/// The cluster of events that tell none; its clock is also that of clusters that have none of their own.
const NAMELESS: &str = "";

/// Where the time of a cluster stands, and what waits for it. The log of one may come minutes behind that of another, and
/// is not late for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clock {
    /// All events up to here were taken.
    pub(super) watermark_us: i64,
    /// The newest event.
    pub(super) newest_us: i64,
    /// When an event came last, by the wall clock of this process.
    #[serde(skip)]
    pub(super) arrived_us: Option<i64>,
    /// Events that wait for earlier ones.
    held: BTreeMap<(i64, Key), Shared>,
    /// When which group is to be looked at without an event.
    pub(super) timers: BTreeSet<(i64, u32, Key)>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            watermark_us: i64::MIN,
            newest_us: i64::MIN,
            arrived_us: None,
            held: BTreeMap::new(),
            timers: BTreeSet::new(),
        }
    }
}

impl Clock {
    pub(super) fn holds(&self, at_us: i64, key: Key) -> bool {
        self.held.contains_key(&(at_us, key))
    }

    fn first_us(&self) -> Option<i64> {
        self.held.first_key_value().map(|((at_us, _), _)| *at_us)
    }
}

/// The clocks of all clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Clocks {
    of_clusters: BTreeMap<Box<str>, Clock>,
    held_count: usize,
    held_bytes: usize,
}

impl Clocks {
    /// The clock of a cluster, which begins now if there is none.
    pub(super) fn of(&mut self, cluster: &str) -> &mut Clock {
        let name = name_in(&self.of_clusters, cluster);
        self.of_clusters.entry(name.into()).or_default()
    }

    /// Up to when all events of a cluster were taken.
    pub(super) fn watermark_us(&self, cluster: &str) -> i64 {
        let clock = self.of_clusters.get(cluster).or_else(|| self.of_clusters.get(NAMELESS));
        clock.map_or(i64::MIN, |it| it.watermark_us)
    }

    pub(super) fn names(&self) -> Vec<Box<str>> {
        self.of_clusters.keys().cloned().collect()
    }

    pub(super) fn all(&mut self) -> impl Iterator<Item = &mut Clock> {
        self.of_clusters.values_mut()
    }

    /// Events that wait, of all clusters.
    pub(super) fn held_count(&self) -> usize {
        self.held_count
    }

    /// About how much memory these take.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The cluster for which most events wait.
    pub(super) fn fullest(&self) -> Option<Box<str>> {
        let fullest = self.of_clusters.iter().max_by_key(|(_, it)| it.held.len())?;
        Some(fullest.0.clone())
    }

    pub(super) fn hold(&mut self, event: Shared) {
        self.held_count += 1;
        self.held_bytes += event.0.weight_bytes();
        let clock = self.of(&event.0.cluster);
        clock.held.insert((event.0.at_us, event.0.key), event);
    }

    /// Takes the first event that waits, if it is not after `until_us`. Time goes on to it.
    pub(super) fn release(&mut self, cluster: &str, until_us: i64) -> Option<Shared> {
        let clock = self.of(cluster);
        let at_us = clock.first_us().filter(|it| *it <= until_us)?;
        let (_, event) = clock.held.pop_first()?;
        clock.watermark_us = clock.watermark_us.max(at_us);
        self.held_count = self.held_count.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(event.0.weight_bytes());
        Some(event)
    }
}

/// Under which name a cluster is in a map: where there are too many, further ones share a place.
pub(super) fn name_in<'c, T>(of_clusters: &BTreeMap<Box<str>, T>, cluster: &'c str) -> &'c str {
    match of_clusters.len() >= CLOCKS_MAX && !of_clusters.contains_key(cluster) {
        true => NAMELESS,
        false => cluster,
    }
}
