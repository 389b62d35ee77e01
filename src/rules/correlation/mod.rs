//! Correlation documents: what several events mean together. Sigma's types (correlation rules 2.0, and the `value_…`
//! types of its schema), and two that Sigma has not: `first_seen` and `absence`.

mod reading;

use serde::Deserialize;

use super::{Condition, Field, Level};

pub use reading::{parse, read};

/// Most rules of one correlation.
pub const RULES_MAX: usize = 64;
/// Highest count that can be waited for: so many events of each group are remembered.
pub const COUNT_MAX: usize = 10_000;

/// One correlation document, checked. What its `rules` are is known when all rules are.
#[derive(Clone, Debug)]
pub struct Correlation {
    /// The file that it came from.
    pub file: String,
    /// The line of `rules` in it.
    pub line: usize,
    /// What stays when it changes: `id`, else `name`, else the title.
    pub id: String,
    /// What others may call it by.
    pub name: Option<String>,
    /// What it says was seen; the `message` of its alerts.
    pub title: String,
    /// What it looks for and why.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// How bad it is. Without one, it alerts as `medium`, unless another correlation refers to it.
    pub level: Option<Level>,
    /// Where to read more.
    pub references: Vec<String>,
    /// `attack.t1609`, `attack.execution` and others.
    pub tags: Vec<String>,
    /// What is looked for.
    pub kind: Kind,
    /// What it is about: ids or names of rules and correlations.
    pub rules: Vec<String>,
    /// What events must have in common.
    pub group_by: Vec<Grouping>,
    /// How near to each other they must be (seconds).
    pub timespan_s: u32,
    /// `first_seen`: how long nothing is told at first (seconds).
    pub learn_s: u32,
    /// Whether rules of the same file that it is about raise alerts of their own; without, their level decides.
    pub generate: Option<bool>,
    /// The sentence in `event.reason` of its alerts, if it brings one.
    pub reason: Option<Reason>,
    /// What the person who reads the alert does next.
    pub advice: Option<String>,
    /// Ids of the ideas of a survey of detections that it covers.
    pub detects: Vec<String>,
    /// Streams of events that must fire.
    pub matching: Vec<Stream>,
    /// Streams of events that must not.
    pub not_matching: Vec<Stream>,
}

/// What is looked for in the events of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `event_count`: how many there are.
    EventCount(Bounds),
    /// `value_count`: how many different values (of all these fields together).
    ValueCount(Vec<Field>, Bounds),
    /// `value_sum`: what the numbers come to.
    Sum(Field, Bounds),
    /// `value_avg`: their mean.
    Average(Field, Bounds),
    /// `value_percentile`, `value_median`, `value_min`, `value_max`: the number below which so many of a hundred are.
    Percentile(Field, u8, Bounds),
    /// `temporal`: how many of the rules are hit.
    Temporal(Bounds),
    /// `temporal` with an expression: which of the rules are hit, by their place.
    TemporalOf(Condition),
    /// `temporal_ordered`: all rules are hit, one after the other.
    Ordered,
    /// `first_seen`: values (with those of the group) that were not there for a timespan.
    FirstSeen(Vec<Field>),
    /// `absence`: the first rule is hit, and the second is not within a timespan after it.
    Absence,
}

/// One name of `group-by`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// As it is written: a field or an alias.
    pub name: String,
    /// The field, for each of the rules.
    pub fields: Vec<Field>,
}

/// What a number must be: all of these. Values are in thousandths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds(Vec<(Compare, i64)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Gt,
    Gte,
    Lt,
    Lte,
    Eq,
    Neq,
}

/// Thousandths in one.
pub const THOUSAND: i64 = 1000;

impl Bounds {
    /// `count` or more.
    #[must_use]
    pub fn at_least(count: usize) -> Self {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        Self(vec![(Compare::Gte, count.saturating_mul(THOUSAND))])
    }

    /// Whether so many thousandths are right.
    #[must_use]
    pub fn hold(&self, thousandths: i128) -> bool {
        self.0.iter().all(|(compare, bound)| {
            let bound = i128::from(*bound);
            match compare {
                Compare::Gt => thousandths > bound,
                Compare::Gte => thousandths >= bound,
                Compare::Lt => thousandths < bound,
                Compare::Lte => thousandths <= bound,
                Compare::Eq => thousandths == bound,
                Compare::Neq => thousandths != bound,
            }
        })
    }

    /// Whether more is never wrong: then it can be told as soon as there is enough.
    #[must_use]
    pub fn only_rise(&self) -> bool {
        self.0.iter().all(|(compare, _)| matches!(compare, Compare::Gt | Compare::Gte))
    }

    /// Whether any number can be right; of counts, a whole one from 1 on.
    fn can_hold(&self, is_count: bool) -> bool {
        let step = if is_count { i128::from(THOUSAND) } else { 1 };
        let near = |bound: i64| {
            let whole = i128::from(bound).div_euclid(step);
            (-1..=2).map(move |it| (whole + it) * step)
        };
        let mut numbers = self.0.iter().flat_map(|it| near(it.1));
        numbers.any(|it| (!is_count || it > 0) && self.hold(it))
    }

    /// The least count that is right, where more is never wrong.
    #[must_use]
    pub fn least_count(&self) -> usize {
        let least = self.0.iter().map(|(compare, bound)| match compare {
            Compare::Gt => bound.div_euclid(THOUSAND).saturating_add(1),
            _ => bound.saturating_add(THOUSAND - 1).div_euclid(THOUSAND),
        });
        usize::try_from(least.max().unwrap_or(1).max(1)).unwrap_or(usize::MAX)
    }
}

/// A sentence with names in braces: those of `group-by`, and `count`, `values`, `timespan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Texts and names in order.
    pub parts: Vec<ReasonPart>,
}

/// A piece of a [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReasonPart {
    /// Stands as it is.
    Text(String),
    /// `{NAME}`: the group's value, by its place in `group-by`.
    Group(usize),
    /// `{count}`: what was counted.
    Count,
    /// `{values}`: the values that were counted, or are new.
    Values,
    /// `{timespan}`
    Timespan,
}

/// Events that a correlation is tested on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// What it shows.
    pub name: String,
    /// The audit events, in any order. Those without a time come a second after the one before.
    pub events: Vec<serde_json::Value>,
    /// How often it must fire; once or more if it does not say.
    pub alerts: Option<usize>,
    /// The sentence that its first alert must hold.
    pub reason: Option<String>,
}

/// A number in thousandths; what is too large is the largest. `None` if it is no number.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "what is too large becomes the largest")]
pub fn thousandths(number: f64) -> Option<i64> {
    #[expect(clippy::cast_precision_loss, reason = "a thousand is exact")]
    let scaled = (number * THOUSAND as f64).round();
    (!scaled.is_nan()).then_some(scaled as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_is_enough() {
        for (compare, bound, least) in [
            (Compare::Gt, 2500, 3),
            (Compare::Gte, 2500, 3),
            (Compare::Gt, 3000, 4),
            (Compare::Gte, 3000, 3),
            (Compare::Gte, -7000, 1),
        ] {
            assert_eq!(Bounds(vec![(compare, bound)]).least_count(), least);
        }
    }
}
