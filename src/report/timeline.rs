//! When events happened: how many in which time, and where there were none.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PerLevel, add, told};

/// How long a bucket can be (seconds). Each is made of whole ones of the length before. With the longest, all times that
/// a [`Timestamp`] can tell fill fewer than [`BARS_MAX`].
const LENGTHS_S: [i64; 14] = {
    const DAY: i64 = 24 * 60 * 60;
    const MINUTE: i64 = 60;
    [
        MINUTE,
        5 * MINUTE,
        15 * MINUTE,
        30 * MINUTE,
        60 * MINUTE,
        3 * 60 * MINUTE,
        6 * 60 * MINUTE,
        12 * 60 * MINUTE,
        DAY,
        7 * DAY,
        4 * 7 * DAY,
        52 * 7 * DAY,
        520 * 7 * DAY,
        52_000 * 7 * DAY,
    ]
};
/// Most buckets in which something happened. When there are more, all get longer.
pub(super) const BUCKETS_MAX: usize = 2_000;
/// Shortest time without events that is told (microseconds).
const GAP_US_MIN: i64 = 10 * 60 * 1_000_000;
/// Most that are told: the longest.
pub(super) const GAPS_TOLD_MAX: usize = 5;
/// Most bars of a chart.
pub(super) const BARS_MAX: usize = 120;

/// When events happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Timeline {
    /// How long a bucket is: one of [`LENGTHS_S`].
    length_s: i64,
    /// Those in which something happened, by their distance from 1970.
    buckets: BTreeMap<i64, Bucket>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bucket {
    events: u64,
    alerts: PerLevel,
    /// Microseconds since 1970.
    first_us: i64,
    last_us: i64,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { length_s: LENGTHS_S[0], buckets: BTreeMap::new() }
    }
}

impl Timeline {
    pub(super) fn add(&mut self, at: Timestamp, events: u64, alerts: &PerLevel) {
        let at_us = at.as_microsecond();
        let one = Bucket { events, alerts: *alerts, first_us: at_us, last_us: at_us };
        self.put(at.as_second().div_euclid(self.length_s), one);
        self.fit();
    }

    pub(super) fn merge(&mut self, mut other: Self) {
        while self.length_s < other.length_s && self.lengthen() {}
        while other.length_s < self.length_s && other.lengthen() {}
        for (place, bucket) in other.buckets {
            self.put(place, bucket);
        }
        self.fit();
    }

    fn put(&mut self, place: i64, more: Bucket) {
        match self.buckets.get_mut(&place) {
            None => _ = self.buckets.insert(place, more),
            Some(bucket) => {
                bucket.events += more.events;
                add(&mut bucket.alerts, &more.alerts);
                bucket.first_us = bucket.first_us.min(more.first_us);
                bucket.last_us = bucket.last_us.max(more.last_us);
            }
        }
    }

    fn fit(&mut self) {
        while self.buckets.len() > BUCKETS_MAX && self.lengthen() {}
    }

    /// Whether there is a longer length.
    fn lengthen(&mut self) -> bool {
        let Some(longer_s) = LENGTHS_S.into_iter().find(|it| *it > self.length_s) else {
            return false;
        };
        let times = longer_s / self.length_s;
        self.length_s = longer_s;
        for (place, bucket) in std::mem::take(&mut self.buckets) {
            self.put(place.div_euclid(times), bucket);
        }
        true
    }

    /// The first and the last time.
    pub(super) fn ends(&self) -> Option<(Timestamp, Timestamp)> {
        let (_, first) = self.buckets.first_key_value()?;
        let (_, last) = self.buckets.last_key_value()?;
        Some((time(first.first_us), time(last.last_us)))
    }

    /// The longest times without events, and how many others there are. A gap that is shorter than two
    /// buckets can be missed.
    pub(super) fn gaps(&self) -> (Vec<Gap>, usize) {
        let nexts = self.buckets.values().skip(1);
        let gaps = self.buckets.values().zip(nexts).filter_map(|(one, next)| {
            let us = next.first_us - one.last_us;
            let (from, to) = (time(one.last_us), time(next.first_us));
            (us >= GAP_US_MIN).then_some(Gap { from, to, seconds: us / 1_000_000 })
        });
        let mut gaps: Vec<Gap> = gaps.collect();
        gaps.sort_by_key(|it| std::cmp::Reverse(it.seconds));
        let more = gaps.len().saturating_sub(GAPS_TOLD_MAX);
        gaps.truncate(GAPS_TOLD_MAX);
        (gaps, more)
    }

    /// All time from the first event to the last, in at most [`BARS_MAX`] bars of the same length (seconds).
    pub(super) fn bars(&self) -> (i64, Vec<Bar>) {
        let mut coarse = self.clone();
        while coarse.span() > BARS_MAX as i64 && coarse.lengthen() {}
        let length_s = coarse.length_s;
        let (Some((first, _)), Some((last, _))) =
            (coarse.buckets.first_key_value(), coarse.buckets.last_key_value())
        else {
            return (length_s, Vec::new());
        };
        let bar = |place: i64| {
            let bucket = coarse.buckets.get(&place);
            Bar {
                // The first of the buckets can begin before there are times.
                from: Timestamp::from_second(place.saturating_mul(length_s))
                    .unwrap_or(Timestamp::MIN),
                events: bucket.map_or(0, |it| it.events),
                alerts: bucket.map_or_else(PerLevel::default, |it| it.alerts),
            }
        };
        (length_s, (*first..=*last).map(bar).collect())
    }

    /// Buckets from the first to the last, those without events included.
    fn span(&self) -> i64 {
        match (self.buckets.first_key_value(), self.buckets.last_key_value()) {
            (Some((first, _)), Some((last, _))) => last - first + 1,
            _ => 0,
        }
    }
}

fn time(us: i64) -> Timestamp {
    // The last microsecond of all does not come back from its rounded number.
    let end = if us < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(us).unwrap_or(end)
}

/// A time without events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Gap {
    #[serde(serialize_with = "told::time")]
    pub(super) from: Timestamp,
    #[serde(serialize_with = "told::time")]
    pub(super) to: Timestamp,
    pub(super) seconds: i64,
}

/// What happened in a time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Bar {
    #[serde(serialize_with = "told::time")]
    pub(super) from: Timestamp,
    pub(super) events: u64,
    #[serde(serialize_with = "told::per_level")]
    pub(super) alerts: PerLevel,
}
