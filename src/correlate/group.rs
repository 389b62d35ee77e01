use serde::{Deserialize, Serialize};

use super::{
    closed::Closed,
    event::{Key, Shared},
    plan::Planned,
    sequence::{Absence, Latest, Ordered, events, holds},
    window::{Distinct, Moment, Sum, Taken, Window},
};
use crate::rules::correlation::{Kind, THOUSAND, thousandths};

/// What is remembered of events that have the same values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Group {
    pub(super) cluster: Box<str>,
    pub(super) values: Box<[Option<Box<str>>]>,
    /// Its place in the order in which groups were touched.
    pub(super) touch: u64,
    /// Its latest event.
    pub(super) newest_us: i64,
    /// Nothing is told before.
    pub(super) quiet_until_us: i64,
    pub(super) suppressed: u64,
    /// When it is to be looked at without an event.
    pub(super) deadline_us: Option<i64>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Count(Window<()>),
    Distinct(Distinct),
    Sum(Sum),
    Latest(Latest),
    Ordered(Ordered),
    Absence(Absence),
    Closed(Option<Closed>),
}

/// What an alert tells of a group.
pub(super) struct Told {
    pub(super) first_us: Option<i64>,
    /// Thousandths.
    pub(super) count: i128,
    pub(super) events: Vec<Shared>,
}

/// A group that matches when its time is over.
pub(super) struct Over {
    pub(super) key: Key,
    pub(super) event: Option<Shared>,
    pub(super) told: Told,
}

impl Group {
    pub(super) fn new(
        planned: &Planned,
        cluster: &str,
        values: &[Option<Box<str>>],
        touch: u64,
    ) -> Self {
        let rules = planned.references.len();
        let state = match &planned.correlation.kind {
            _ if !planned.only_rises() => State::Closed(None),
            Kind::ValueCount(..) => State::Distinct(Distinct::default()),
            Kind::Sum(..) => State::Sum(Sum::default()),
            Kind::Temporal(_) | Kind::TemporalOf(_) => State::Latest(Latest::new(rules)),
            Kind::Ordered => State::Ordered(Ordered::new(rules)),
            Kind::Absence => State::Absence(Absence::default()),
            Kind::EventCount(_) | Kind::FirstSeen(_) | Kind::Average(..) | Kind::Percentile(..) => {
                State::Count(Window::default())
            }
        };
        Self {
            cluster: cluster.into(),
            values: values.into(),
            touch,
            newest_us: i64::MIN,
            quiet_until_us: i64::MIN,
            suppressed: 0,
            deadline_us: None,
            state,
        }
    }

    /// About how much memory it takes (bytes).
    pub(super) fn bytes(&self) -> usize {
        /// Its places in the maps.
        const PLACES_BYTES: usize = 128;
        let text = |it: &Option<Box<str>>| 32 + it.as_deref().map_or(0, str::len);
        let state = match &self.state {
            State::Count(window) => window.bytes(),
            State::Distinct(distinct) => distinct.bytes(),
            State::Sum(sum) => sum.window.bytes(),
            State::Latest(latest) => latest.bytes(),
            State::Ordered(ordered) => ordered.bytes(),
            State::Absence(absence) => absence.bytes(),
            State::Closed(closed) => closed.as_ref().map_or(0, Closed::bytes),
        };
        size_of::<Self>() + PLACES_BYTES + self.values.iter().map(text).sum::<usize>() + state
    }

    /// From when on nothing that it remembers counts.
    pub(super) fn over_us(&self, planned: &Planned) -> i64 {
        // At its deadline an event may still come.
        let deadline_us = self.deadline_us.map_or(i64::MIN, |it| it.saturating_add(1));
        self.newest_us.saturating_add(planned.span_us).max(self.quiet_until_us).max(deadline_us)
    }

    /// Takes an event. Besides what came of it: whether there was no room for all of it.
    pub(super) fn take(
        &mut self,
        planned: &Planned,
        rule: usize,
        moment: Moment<'_>,
        values: &[Box<str>],
        entries_max: usize,
    ) -> (Taken, bool) {
        let (kind, span_us) = (&planned.correlation.kind, planned.span_us);
        let keys = || values.iter().map(|it| Key::of(&[it]));
        let numbers = || {
            let numbers = values.iter().filter_map(|it| it.parse::<f64>().ok());
            numbers.filter_map(thousandths)
        };
        let (taken, is_cut) = match (&mut self.state, kind) {
            (State::Count(window), Kind::EventCount(bounds)) => {
                (window.count(moment, span_us, bounds.least_count()), false)
            }
            (State::Distinct(distinct), Kind::ValueCount(_, bounds)) => {
                (distinct.count(moment, keys(), span_us, bounds.least_count()), false)
            }
            (State::Sum(sum), Kind::Sum(_, bounds)) => {
                sum.add(moment, numbers(), span_us, entries_max, |it| bounds.hold(it))
            }
            (State::Latest(latest), Kind::Temporal(bounds)) => {
                let is_enough = |present: &[bool]| {
                    let count = present.iter().filter(|it| **it).count() as i128;
                    bounds.hold(count * i128::from(THOUSAND))
                };
                (latest.take(rule, moment, span_us, is_enough), false)
            }
            (State::Latest(latest), Kind::TemporalOf(condition)) => {
                (latest.take(rule, moment, span_us, |it| holds(condition, it)), false)
            }
            (State::Ordered(ordered), _) => (ordered.take(rule, moment, span_us), false),
            (State::Absence(absence), _) => {
                let fits = absence.take(rule, moment, entries_max);
                self.deadline_us = absence.deadline_us(span_us);
                (Taken::No, !fits)
            }
            (State::Closed(closed), _) => {
                let values: Vec<Key> = keys().collect();
                let numbers: Vec<i64> = numbers().collect();
                let counts_values = matches!(kind, Kind::ValueCount(..));
                let counts_numbers =
                    matches!(kind, Kind::Sum(..) | Kind::Average(..) | Kind::Percentile(..));
                if counts_values && values.is_empty() || counts_numbers && numbers.is_empty() {
                    return (Taken::No, false);
                }
                if closed
                    .as_ref()
                    .is_some_and(|it| it.start_us.saturating_sub(span_us) >= moment.at_us)
                {
                    return (Taken::TooLate, false);
                }
                let closed =
                    closed.get_or_insert_with(|| Closed::new(&planned.correlation, moment));
                self.deadline_us = Some(closed.start_us.saturating_add(span_us));
                let fits = closed.take(rule, moment, &values, &numbers, entries_max);
                (Taken::No, !fits)
            }
            _ => (Taken::No, false),
        };
        self.newest_us = self.newest_us.max(moment.at_us);
        (taken, is_cut)
    }

    /// What there is to tell after a match.
    pub(super) fn told(&self, planned: &Planned) -> Told {
        let thousand = i128::from(THOUSAND);
        match &self.state {
            State::Count(window) => Told {
                first_us: window.first_us(),
                count: window.len() as i128 * thousand,
                events: window.told(),
            },
            State::Distinct(distinct) => Told {
                first_us: distinct.window.first_us(),
                count: distinct.len() as i128 * thousand,
                events: distinct.window.told(),
            },
            State::Sum(sum) => {
                Told { first_us: sum.window.first_us(), count: sum.sum, events: sum.window.told() }
            }
            State::Latest(latest) => {
                let entries = latest.in_window(planned.span_us);
                Told {
                    first_us: entries.first().map(|it| it.at_us),
                    count: latest.count(planned.span_us) as i128 * thousand,
                    events: events(entries.into_iter()),
                }
            }
            State::Ordered(ordered) => {
                let chain = ordered.whole();
                Told {
                    first_us: chain.first().map(|it| it.at_us),
                    count: chain.len() as i128 * thousand,
                    events: events(chain.iter()),
                }
            }
            State::Absence(_) | State::Closed(_) => {
                Told { first_us: None, count: 0, events: Vec::new() }
            }
        }
    }

    /// What matches because its time is over. To be called until there is no more.
    pub(super) fn pop_over(&mut self, planned: &Planned, now_us: i64) -> Option<Over> {
        match &mut self.state {
            State::Absence(absence) => {
                let entry = absence.pop_over(now_us, planned.span_us)?;
                self.deadline_us = absence.deadline_us(planned.span_us);
                let told = Told {
                    first_us: Some(entry.at_us),
                    count: i128::from(THOUSAND),
                    events: events(std::iter::once(&entry)),
                };
                Some(Over { key: entry.key, event: entry.event, told })
            }
            State::Closed(closed) => {
                self.deadline_us = None;
                let closed = closed.take()?;
                let count = closed.decide(&planned.correlation.kind)?;
                Some(Over {
                    key: closed.key,
                    event: Some(closed.last),
                    told: Told { first_us: Some(closed.start_us), count, events: closed.told },
                })
            }
            _ => None,
        }
    }
}
