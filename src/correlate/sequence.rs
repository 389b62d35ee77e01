//! Which rules were hit within a timespan, and in which order.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{
    event::{Key, Shared},
    window::{EVENTS_TOLD_MAX, Entry, Moment, Taken},
};
use crate::rules::Condition;

/// The latest event of each rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Latest(Vec<Option<Entry<()>>>);

impl Latest {
    pub(super) fn new(rules: usize) -> Self {
        Self(vec![None; rules])
    }

    fn get(&self, rule: usize) -> Option<&Entry<()>> {
        self.0.get(rule)?.as_ref()
    }

    /// False if a later one is there.
    fn put(&mut self, rule: usize, moment: Moment<'_>) -> bool {
        let Some(latest) = self.0.get_mut(rule) else { return false };
        if latest.as_ref().is_some_and(|it| (it.at_us, it.key) >= (moment.at_us, moment.key)) {
            return false;
        }
        *latest = Some(Entry::new(moment, ()));
        true
    }

    fn newest_us(&self) -> i64 {
        self.0.iter().flatten().map(|it| it.at_us).max().unwrap_or(i64::MIN)
    }

    /// Whether each rule was hit in the window, which ends with the newest.
    fn present(&self, span_us: i64) -> Vec<bool> {
        let cut = self.newest_us().saturating_sub(span_us);
        self.0.iter().map(|it| it.as_ref().is_some_and(|it| it.at_us > cut)).collect()
    }

    pub(super) fn count(&self, span_us: i64) -> usize {
        self.present(span_us).into_iter().filter(|it| *it).count()
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.iter().map(|it| it.as_ref().map_or(0, Entry::bytes)).sum()
    }

    /// Those of the window in the order of their time.
    pub(super) fn in_window(&self, span_us: i64) -> Vec<&Entry<()>> {
        let cut = self.newest_us().saturating_sub(span_us);
        let mut entries: Vec<_> = self.0.iter().flatten().filter(|it| it.at_us > cut).collect();
        entries.sort_by_key(|it| (it.at_us, it.key));
        entries
    }

    /// `temporal`: whether enough rules are hit with this one.
    pub(super) fn take(
        &mut self,
        rule: usize,
        moment: Moment<'_>,
        span_us: i64,
        is_enough: impl Fn(&[bool]) -> bool,
    ) -> Taken {
        if moment.at_us <= self.newest_us().saturating_sub(span_us) {
            return Taken::TooLate;
        }
        Taken::of(self.put(rule, moment) && is_enough(&self.present(span_us)))
    }
}

/// Whether an expression over the rules holds.
pub(super) fn holds(condition: &Condition, present: &[bool]) -> bool {
    match condition {
        Condition::Search(rule) => present.get(*rule).is_some_and(|it| *it),
        Condition::All(parts) => parts.iter().all(|it| holds(it, present)),
        Condition::Any(parts) => parts.iter().any(|it| holds(it, present)),
        Condition::Not(part) => !holds(part, present),
    }
}

/// `temporal_ordered`: for each rule, the chain of events that leads to it and began last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ordered {
    /// Events that came before those that they follow: at the same time, or late.
    latest: Latest,
    chains: Vec<Option<Vec<Entry<()>>>>,
}

impl Ordered {
    pub(super) fn new(rules: usize) -> Self {
        Self { latest: Latest::new(rules), chains: vec![None; rules] }
    }

    pub(super) fn bytes(&self) -> usize {
        let chains = self.chains.iter().flatten().flatten();
        self.latest.bytes() + chains.map(Entry::bytes).sum::<usize>()
    }

    /// The whole chain, if there is one.
    pub(super) fn whole(&self) -> &[Entry<()>] {
        self.chains.last().and_then(|it| it.as_deref()).unwrap_or_default()
    }

    pub(super) fn take(&mut self, rule: usize, moment: Moment<'_>, span_us: i64) -> Taken {
        self.latest.put(rule, moment);
        let mut end = rule;
        let mut is_longer = self.extend(rule, &Entry::new(moment, ()), span_us);
        // Times may be as coarse as seconds: of two at the same time, either may have been first.
        while is_longer && end + 1 < self.chains.len() {
            let Some(next) = self.latest.get(end + 1).cloned() else { break };
            is_longer = self.extend(end + 1, &next, span_us);
            end += usize::from(is_longer);
        }
        Taken::of(is_longer && end + 1 == self.chains.len())
    }

    /// Puts the event behind the chain of the rule before. False if it cannot follow, or a later chain is there.
    fn extend(&mut self, rule: usize, entry: &Entry<()>, span_us: i64) -> bool {
        let before = match rule.checked_sub(1) {
            None => Vec::new(),
            Some(before) => match self.chains.get(before) {
                Some(Some(chain)) if follows(entry, chain, span_us) => chain.clone(),
                _ => return false,
            },
        };
        let Some(chain) = self.chains.get_mut(rule) else { return false };
        let mut longer = before;
        longer.push(entry.clone());
        let order = |it: &[Entry<()>]| {
            let place = |it: &Entry<()>| (it.at_us, it.key);
            (it.first().map(|it| it.at_us), it.last().map(place))
        };
        if chain.as_ref().is_some_and(|it| order(it) >= order(&longer)) {
            return false;
        }
        *chain = Some(longer);
        true
    }
}

fn follows(entry: &Entry<()>, chain: &[Entry<()>], span_us: i64) -> bool {
    let is_in_time = chain.first().is_some_and(|it| it.at_us > entry.at_us.saturating_sub(span_us));
    let is_behind = chain.last().is_some_and(|it| it.at_us <= entry.at_us);
    // One event does not follow itself, nor what it made match.
    is_in_time && is_behind && chain.iter().all(|it| it.event_key() != entry.event_key())
}

/// `absence`: events that wait for another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Absence {
    waiting: VecDeque<Entry<()>>,
    /// The latest of the others: when it was, and the key of the event.
    answered: Option<(i64, Key)>,
}

impl Absence {
    pub(super) fn bytes(&self) -> usize {
        self.waiting.iter().take(EVENTS_TOLD_MAX).map(Entry::bytes).sum::<usize>()
            + self.waiting.len() * size_of::<Entry<()>>()
    }

    /// When the first is over.
    pub(super) fn deadline_us(&self, span_us: i64) -> Option<i64> {
        self.waiting.front().map(|it| it.at_us.saturating_add(span_us))
    }

    /// False if there is no room.
    pub(super) fn take(&mut self, rule: usize, moment: Moment<'_>, entries_max: usize) -> bool {
        let event_key = moment.event.0.key;
        if rule > 0 {
            self.answered = self.answered.max(Some((moment.at_us, event_key)));
            self.waiting.retain(|it| it.at_us > moment.at_us || it.event_key() == Some(event_key));
            return true;
        }
        // At the same time, or late: what it waits for is there.
        if self.answered.is_some_and(|(at_us, key)| at_us >= moment.at_us && key != event_key) {
            return true;
        }
        let order = (moment.at_us, moment.key);
        let Err(place) = self.waiting.binary_search_by_key(&order, |it| (it.at_us, it.key)) else {
            return true;
        };
        let mut entry = Entry::new(moment, ());
        if self.waiting.len() >= EVENTS_TOLD_MAX {
            entry.event = None;
        }
        self.waiting.insert(place, entry);
        if self.waiting.len() > entries_max {
            self.waiting.pop_front();
            return false;
        }
        true
    }

    /// Takes out the first whose time is over.
    pub(super) fn pop_over(&mut self, now_us: i64, span_us: i64) -> Option<Entry<()>> {
        self.deadline_us(span_us).filter(|it| *it <= now_us)?;
        self.waiting.pop_front()
    }
}

/// The events of entries.
pub(super) fn events<'e>(entries: impl Iterator<Item = &'e Entry<()>>) -> Vec<Shared> {
    entries.filter_map(|it| it.event.clone()).collect()
}
