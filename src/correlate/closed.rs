//! Windows that are decided when they are over: a condition that more events can break cannot be told before.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    event::{Key, Shared},
    sequence::holds,
    window::{EVENTS_TOLD_MAX, Moment},
};
use crate::rules::correlation::{Correlation, Kind, THOUSAND};

/// A window that begins with the first event of its group and ends a timespan later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Closed {
    pub(super) start_us: i64,
    /// The key of the event that it began with.
    pub(super) key: Key,
    /// The first.
    pub(super) told: Vec<Shared>,
    pub(super) newest_us: i64,
    /// What can make another correlation match.
    pub(super) last: Shared,
    events: u64,
    measure: Measure,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Measure {
    Events,
    Distinct(HashSet<Key>),
    Numbers(Vec<i64>),
    Sum(i128),
    Rules(Vec<bool>),
}

impl Closed {
    pub(super) fn new(it: &Correlation, moment: Moment<'_>) -> Self {
        let measure = match &it.kind {
            Kind::ValueCount(..) => Measure::Distinct(HashSet::new()),
            Kind::Sum(..) | Kind::Average(..) => Measure::Sum(0),
            Kind::Percentile(..) => Measure::Numbers(Vec::new()),
            Kind::Temporal(_) | Kind::TemporalOf(_) => Measure::Rules(vec![false; it.rules.len()]),
            Kind::EventCount(_) | Kind::Ordered | Kind::FirstSeen(_) | Kind::Absence => {
                Measure::Events
            }
        };
        Self {
            start_us: moment.at_us,
            key: moment.key,
            told: Vec::new(),
            newest_us: moment.at_us,
            last: moment.event.clone(),
            events: 0,
            measure,
            bytes: moment.event.0.weight_bytes(),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let measure = match &self.measure {
            Measure::Distinct(values) => values.len() * 2 * size_of::<Key>(),
            Measure::Numbers(numbers) => numbers.len() * size_of::<i64>(),
            Measure::Rules(rules) => rules.len(),
            Measure::Events | Measure::Sum(_) => 0,
        };
        self.bytes + measure
    }

    /// False if there is no room for all that it has.
    pub(super) fn take(
        &mut self,
        rule: usize,
        moment: Moment<'_>,
        values: &[Key],
        numbers: &[i64],
        entries_max: usize,
    ) -> bool {
        let mut fits = true;
        match &mut self.measure {
            Measure::Events => self.events += 1,
            Measure::Rules(rules) => {
                self.events += 1;
                if let Some(rule) = rules.get_mut(rule) {
                    *rule = true;
                }
            }
            Measure::Distinct(distinct) => {
                for value in values {
                    fits = distinct.contains(value) || distinct.len() < entries_max;
                    if fits {
                        distinct.insert(*value);
                    }
                }
            }
            Measure::Sum(sum) => {
                for number in numbers {
                    *sum += i128::from(*number);
                    self.events += 1;
                }
            }
            Measure::Numbers(all) => {
                fits = all.len() + numbers.len() <= entries_max;
                if fits {
                    all.extend(numbers);
                }
            }
        }
        self.newest_us = self.newest_us.max(moment.at_us);
        self.last = moment.event.clone();
        if self.told.len() < EVENTS_TOLD_MAX {
            self.bytes += moment.event.0.weight_bytes();
            self.told.push(moment.event.clone());
        }
        fits
    }

    /// What was counted (thousandths), if the condition holds.
    pub(super) fn decide(&self, kind: &Kind) -> Option<i128> {
        let thousand = i128::from(THOUSAND);
        let (result, bounds) = match (kind, &self.measure) {
            (Kind::Average(_, bounds), Measure::Sum(sum)) => {
                (sum / i128::from(self.events).max(1), bounds)
            }
            (Kind::Sum(_, bounds), Measure::Sum(sum)) => (*sum, bounds),
            (Kind::ValueCount(_, bounds), Measure::Distinct(values)) => {
                (values.len() as i128 * thousand, bounds)
            }
            (Kind::Percentile(_, percentile, bounds), Measure::Numbers(numbers)) => {
                (i128::from(nearest_rank(numbers, *percentile)?), bounds)
            }
            (Kind::Temporal(bounds), Measure::Rules(rules)) => {
                (rules.iter().filter(|it| **it).count() as i128 * thousand, bounds)
            }
            (Kind::TemporalOf(condition), Measure::Rules(rules)) => {
                let count = rules.iter().filter(|it| **it).count() as i128 * thousand;
                return holds(condition, rules).then_some(count);
            }
            (Kind::EventCount(bounds), _) => (i128::from(self.events) * thousand, bounds),
            _ => return None,
        };
        bounds.hold(result).then_some(result)
    }
}

/// The least number that is not below so many of a hundred.
fn nearest_rank(numbers: &[i64], percentile: u8) -> Option<i64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * usize::from(percentile)).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles() {
        let numbers = [50, 15, 40, 20, 35];
        let of = |it| nearest_rank(&numbers, it);
        assert_eq!([0, 5, 30, 40, 50, 100].map(of), [15, 15, 20, 20, 35, 50].map(Some));
        assert_eq!(nearest_rank(&[], 50), None);
    }
}
