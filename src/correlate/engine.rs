use std::{collections::VecDeque, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    clock::Clocks,
    event::{Event, Key, Shared},
    fired::Fired,
    generations::Generations,
    group::Over,
    limits::{Counts, Limits},
    plan::{Plan, Planned},
    table::Table,
    window::Moment,
};
use crate::rules::correlation::Kind;

pub(super) const MICROS: i64 = 1_000_000;

/// Remembers events and says which alerts they make.
#[derive(Debug)]
pub struct Engine {
    pub(super) plan: Arc<Plan>,
    pub(super) limits: Limits,
    pub(super) memory: Memory,
}

/// All that a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) clocks: Clocks,
    seen: Generations,
    /// Those whose clock was too far ahead: when they come again, they would be of another time.
    ahead: Generations,
    /// One for each correlation.
    pub(super) tables: Vec<Table>,
    pub(super) touch: u64,
    pub(super) counts: Counts,
    pub(super) fired: VecDeque<Fired>,
}

impl Memory {
    pub(super) fn new(correlations: usize) -> Self {
        Self {
            clocks: Clocks::default(),
            seen: Generations::default(),
            ahead: Generations::default(),
            tables: vec![Table::default(); correlations],
            touch: 0,
            counts: Counts::default(),
            fired: VecDeque::new(),
        }
    }
}

impl Engine {
    /// Remembers nothing yet.
    #[must_use]
    pub fn new(plan: Arc<Plan>, limits: Limits) -> Self {
        let memory = Memory::new(plan.planned.len());
        Self { plan, limits, memory }
    }

    /// What is looked for.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.memory.counts
    }

    /// Groups that are remembered.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.memory.tables.iter().map(Table::len).sum()
    }

    /// Values that `first_seen` remembers.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.memory.tables.iter().map(|it| it.seen.len()).sum()
    }

    /// Events that wait for earlier ones.
    #[must_use]
    pub fn held_count(&self) -> usize {
        self.memory.clocks.held_count()
    }

    /// About how much memory groups and held events take (bytes).
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.memory.clocks.held_bytes() + self.group_bytes()
    }

    /// Alerts that wait to be stored, the oldest first.
    #[must_use]
    pub fn fired(&self) -> &VecDeque<Fired> {
        &self.memory.fired
    }

    /// The oldest alerts are stored.
    pub fn stored(&mut self, count: usize) {
        self.memory.fired.drain(..count.min(self.memory.fired.len()));
    }

    /// An event of this time went by, whether or not a correlation is about it: the time of its cluster goes on. `now_us`
    /// is the wall clock, and the events of a clock that is ahead of it do not count.
    pub fn passed(&mut self, cluster: &str, at_us: i64, now_us: i64) {
        let clock = self.memory.clocks.of(cluster);
        clock.arrived_us = Some(now_us);
        clock.newest_us = clock.newest_us.max(at_us.min(now_us));
    }

    /// Takes what arrives at this time of the wall clock. An event of a clock that is too far ahead counts as of now:
    /// else it, and all that belongs to it, would wait until that time has come.
    pub fn arrive(&mut self, events: &[Event], now_us: i64) {
        let until_us = now_us.saturating_add(self.limits.ahead_max_us);
        let mut ahead: Vec<&Event> = Vec::new();
        for event in events {
            if self.memory.ahead.get(&event.key).is_some() {
                self.memory.counts.duplicate += 1;
            } else if event.at_us > until_us {
                self.memory.ahead.put(event.key, now_us, i64::MAX, self.limits.seen_max);
                ahead.push(event);
            } else {
                self.observe(event.clone());
            }
        }
        // Their order stays.
        ahead.sort_by_key(|it| (it.at_us, it.key));
        let first_us = now_us.saturating_sub(i64::try_from(ahead.len()).unwrap_or_default());
        for (at_us, event) in (first_us..).zip(ahead) {
            self.memory.counts.ahead += 1;
            self.observe(Event { at_us, ..event.clone() });
        }
    }

    /// Takes an event, and holds it until its turn.
    pub fn observe(&mut self, mut event: Event) {
        event.inputs.sort_by_key(|it| (it.correlation, it.reference, it.is_chained));
        let memory = &mut self.memory;
        let clock = memory.clocks.of(&event.cluster);
        let is_late = event.at_us <= clock.watermark_us;
        if clock.holds(event.at_us, event.key) || is_late && memory.seen.get(&event.key).is_some() {
            memory.counts.duplicate += 1;
            return;
        }
        memory.counts.events += 1;
        let event = Shared(Arc::new(event));
        if is_late {
            memory.counts.late += 1;
            return self.process(&event);
        }
        memory.clocks.hold(event);
        while self.holds_too_much() {
            self.memory.counts.hurried += 1;
            let fullest = self.memory.clocks.fullest();
            if !fullest.is_some_and(|it| self.release(&it, i64::MAX)) {
                break;
            }
        }
    }

    fn holds_too_much(&self) -> bool {
        let clocks = &self.memory.clocks;
        clocks.held_count() > self.limits.held_max
            || clocks.held_bytes() > self.limits.held_bytes_max
    }

    /// Time goes on to `now_us`, the wall clock: what has waited long enough is taken.
    pub fn advance(&mut self, now_us: i64) {
        for cluster in self.memory.clocks.names() {
            // Nothing more is told while so much waits to be stored.
            if self.memory.fired.len() >= self.limits.pending_max {
                return;
            }
            self.advance_cluster(&cluster, now_us);
        }
    }

    fn advance_cluster(&mut self, cluster: &str, now_us: i64) {
        let clock = self.memory.clocks.of(cluster);
        let arrived_us = *clock.arrived_us.get_or_insert(now_us);
        let is_quiet = now_us.saturating_sub(arrived_us) >= self.limits.quiet_max_us;
        let newest_us = clock.newest_us;
        if is_quiet {
            // Events that were only delayed are not late for this: they are newer than all that were taken.
            let clock_us = now_us.saturating_sub(self.limits.quiet_max_us);
            self.take_until(cluster, newest_us, clock_us.max(newest_us));
        } else {
            let watermark_us = newest_us.saturating_sub(self.limits.late_max_us);
            self.take_until(cluster, watermark_us, watermark_us);
        }
    }

    /// The log ends here, and what happened after it is not known: windows come to their end, and nothing is missed in
    /// the time behind it.
    pub fn close(&mut self) {
        for cluster in self.memory.clocks.names() {
            while self.release(&cluster, i64::MAX) {}
            let clock = self.memory.clocks.of(&cluster);
            let end_us = clock.newest_us.max(clock.watermark_us);
            let is_known = |(at_us, place, _): &(i64, u32, Key)| {
                let planned = self.plan.planned.get(*place as usize);
                *at_us <= end_us
                    || planned.is_none_or(|it| !matches!(it.correlation.kind, Kind::Absence))
            };
            clock.timers.retain(is_known);
        }
        self.finish();
    }

    /// Nothing happens any more: all events are taken, and all windows come to their end.
    pub fn finish(&mut self) {
        for cluster in self.memory.clocks.names() {
            self.take_until(&cluster, i64::MAX, i64::MAX);
        }
    }

    fn take_until(&mut self, cluster: &str, watermark_us: i64, clock_us: i64) {
        while self.release(cluster, watermark_us) {}
        if watermark_us < i64::MAX {
            let clock = self.memory.clocks.of(cluster);
            clock.watermark_us = clock.watermark_us.max(watermark_us);
        }
        self.run_timers(cluster, clock_us);
    }

    /// Takes the first event that is held, if it is not after `until_us`.
    fn release(&mut self, cluster: &str, until_us: i64) -> bool {
        let event = self.memory.clocks.release(cluster, until_us);
        if let Some(event) = &event {
            self.process(event);
        }
        event.is_some()
    }

    fn process(&mut self, event: &Shared) {
        let Event { at_us, key, .. } = *event.0;
        // At the same time, events come before deadlines.
        let cluster: &str = &event.0.cluster;
        self.run_timers(cluster, at_us.saturating_sub(1));
        self.memory.seen.put(key, at_us, i64::MAX, self.limits.seen_max);
        let plan = Arc::clone(&self.plan);
        for (place, planned) in plan.planned.iter().enumerate() {
            self.drop_over(place, planned, cluster, at_us);
        }
        let moment = Moment { at_us, key, event };
        // Backwards: of two rules in a row that one event hits, it ends a sequence before it begins one.
        for input in event.0.inputs.iter().rev().filter(|it| !it.is_chained) {
            self.feed(&plan, input, moment);
        }
        self.evict();
    }

    /// Forgets groups of which nothing counts any more: in this cluster at this time, in others behind their watermarks.
    fn drop_over(&mut self, place: usize, planned: &Planned, cluster: &str, at_us: i64) {
        let Memory { tables, clocks, .. } = &mut self.memory;
        let Some(table) = tables.get_mut(place) else { return };
        let now_us = |clocks: &Clocks, it: &str| match it == cluster {
            true => at_us,
            false => clocks.watermark_us(it),
        };
        while let Some((key, group)) = table.pop_over(planned, |it| now_us(clocks, it)) {
            if let (Some(deadline_us), Ok(place)) = (group.deadline_us, u32::try_from(place)) {
                clocks.of(&group.cluster).timers.remove(&(deadline_us, place, key));
            }
        }
    }

    pub(super) fn set_timer(
        &mut self,
        cluster: &str,
        (place, key): (u32, Key),
        before: Option<i64>,
        after: Option<i64>,
    ) {
        if before == after {
            return;
        }
        let timers = &mut self.memory.clocks.of(cluster).timers;
        if let Some(before) = before {
            timers.remove(&(before, place, key));
        }
        if let Some(after) = after {
            timers.insert((after, place, key));
        }
    }

    /// Looks at the groups of a cluster whose deadline is not after `until_us`.
    fn run_timers(&mut self, cluster: &str, until_us: i64) {
        let plan = Arc::clone(&self.plan);
        let is_due = |it: &(i64, u32, Key)| it.0 <= until_us;
        while let timers = &mut self.memory.clocks.of(cluster).timers
            && let Some((deadline_us, correlation, key)) = timers.first().copied().filter(is_due)
        {
            timers.pop_first();
            let place = correlation as usize;
            let Some(planned) = plan.planned.get(place) else { continue };
            let Some(table) = self.memory.tables.get_mut(place) else { continue };
            let over = table.with(&key, |group| {
                let over: Vec<Over> =
                    std::iter::from_fn(|| group.pop_over(planned, deadline_us)).collect();
                (over, group.deadline_us)
            });
            let Some((over, after)) = over else { continue };
            self.set_timer(cluster, (correlation, key), None, after);
            for Over { key: of_event, event, told } in over {
                self.matched(&plan, place, key, deadline_us, of_event, event.as_ref(), Some(told));
            }
        }
    }

    fn group_bytes(&self) -> usize {
        self.memory.tables.iter().map(Table::bytes).sum()
    }

    /// Forgets groups until there is room again, and a little more: not with each event.
    fn evict(&mut self) {
        let Limits { groups_max, groups_bytes_max, .. } = self.limits;
        if self.group_count() <= groups_max && self.group_bytes() <= groups_bytes_max {
            return;
        }
        let enough = |max: usize| max - max / 16;
        while self.group_count() > enough(groups_max)
            || self.group_bytes() > enough(groups_bytes_max)
        {
            let tables = self.memory.tables.iter().enumerate();
            let oldest = tables.filter_map(|(place, it)| Some((it.oldest()?, place))).min();
            let Some(((_, key), place)) = oldest else { return };
            let group = self.memory.tables.get_mut(place).and_then(|it| it.remove(&key));
            let place = u32::try_from(place).unwrap_or(u32::MAX);
            if let Some(group) = group
                && let Some(deadline_us) = group.deadline_us
            {
                let clock = self.memory.clocks.of(&group.cluster);
                clock.timers.remove(&(deadline_us, place, key));
            }
            self.memory.counts.evicted_groups += 1;
        }
    }
}
