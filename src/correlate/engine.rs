use std::{collections::VecDeque, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    clock::Clocks,
    event::{Event, Input, Key, Shared},
    fired::Fired,
    generations::Generations,
    group::{Over, Told},
    limits::{Counts, Limits},
    plan::{Plan, Planned},
    table::Table,
    window::{Moment, Taken},
};
use crate::rules::correlation::{Kind, THOUSAND};

const MICROS: i64 = 1_000_000;
const HOUR_US: i64 = 3600 * MICROS;

/// Remembers events and says which alerts they make.
#[derive(Debug)]
pub struct Engine {
    pub(super) plan: Arc<Plan>,
    limits: Limits,
    pub(super) memory: Memory,
}

/// All that a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory {
    pub(super) clocks: Clocks,
    seen: Generations,
    /// One for each correlation.
    pub(super) tables: Vec<Table>,
    touch: u64,
    pub(super) counts: Counts,
    pub(super) fired: VecDeque<Fired>,
}

impl Memory {
    pub(super) fn new(correlations: usize) -> Self {
        Self {
            clocks: Clocks::default(),
            seen: Generations::default(),
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

    /// There are no more events: all are taken, and all windows come to their end.
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

    fn feed(&mut self, plan: &Plan, input: &Input, moment: Moment<'_>) {
        let Some(place) = plan.place(input.correlation) else { return };
        let (Some(planned), Ok(correlation)) = (plan.planned.get(place), u32::try_from(place))
        else {
            return;
        };
        let cluster: &str = &moment.event.0.cluster;
        let key = group_key(planned, cluster, &input.group);
        if let Kind::FirstSeen(fields) = &planned.correlation.kind {
            return self.first_seen(plan, place, input, moment, key, !fields.is_empty());
        }
        let memory = &mut self.memory;
        let Some(table) = memory.tables.get_mut(place) else { return };
        memory.touch += 1;
        if let Some(deadline_us) =
            table.touch(key, planned, cluster, input, moment.at_us, memory.touch)
        {
            memory.clocks.of(cluster).timers.remove(&(deadline_us, correlation, key));
        }
        let entries_max = self.limits.group_events_max;
        let taken = table.with(&key, |group| {
            let before = group.deadline_us;
            let rule = usize::from(input.reference);
            let taken = group.take(planned, rule, moment, &input.values, entries_max);
            (taken, before, group.deadline_us)
        });
        let Some(((taken, is_cut), before, after)) = taken else { return };
        self.set_timer(cluster, (correlation, key), before, after);
        self.memory.counts.cut += u64::from(is_cut);
        match taken {
            Taken::No => (),
            Taken::TooLate => self.memory.counts.too_late += 1,
            Taken::Match => {
                self.matched(plan, place, key, moment.at_us, moment.key, Some(moment.event), None);
            }
        }
    }

    fn set_timer(
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

    /// A condition holds. `of_event` is the key of what made it so.
    #[expect(clippy::too_many_arguments, reason = "one match, with all that is known of it")]
    fn matched(
        &mut self,
        plan: &Plan,
        place: usize,
        key: Key,
        at_us: i64,
        of_event: Key,
        event: Option<&Shared>,
        told: Option<Told>,
    ) {
        let Some(planned) = plan.planned.get(place) else { return };
        if planned.is_told {
            self.tell(planned, place, key, at_us, of_event, told);
        }
        let Some(event) = event else { return };
        let id = planned.correlation.id.as_bytes();
        let of_match = Key::of_bytes([id, &key.0, &of_event.0]);
        let moment = Moment { at_us, key: of_match, event };
        for input in event.0.inputs.iter().rev().filter(|it| plan.is_about(it, place)) {
            self.feed(plan, input, moment);
        }
    }

    /// Raises the alert, unless the group or the correlation is quiet.
    fn tell(
        &mut self,
        planned: &Planned,
        place: usize,
        key: Key,
        at_us: i64,
        of_event: Key,
        told: Option<Told>,
    ) {
        let Memory { tables, counts, .. } = &mut self.memory;
        let Some(table) = tables.get_mut(place) else { return };
        let is_full = is_full(table, at_us, self.limits.alerts_per_hour_max);
        let (withheld, mut told_of_group) = (table.withheld, None);
        table.with(&key, |group| {
            if at_us < group.quiet_until_us {
                group.suppressed += 1;
                counts.suppressed += 1;
                return;
            }
            if is_full {
                group.suppressed += 1;
                return;
            }
            let Told { first_us, count, events } = told.unwrap_or_else(|| group.told(planned));
            told_of_group = Some(Fired {
                correlation: planned.correlation.id.as_str().into(),
                id: alert_id(planned, key, of_event),
                at_us,
                first_us: first_us.unwrap_or(at_us),
                cluster: group.cluster.clone(),
                group: group.values.clone(),
                count: i64::try_from(count).unwrap_or(i64::MAX),
                values: Fired::values_of(&events, planned.hash),
                suppressed: std::mem::take(&mut group.suppressed),
                withheld,
                told: events,
            });
            group.quiet_until_us = at_us.saturating_add(planned.quiet_us);
        });
        match told_of_group {
            Some(fired) => self.fire(place, fired),
            None if is_full => {
                table.withheld += 1;
                counts.withheld += 1;
            }
            None => (),
        }
    }

    fn fire(&mut self, place: usize, fired: Fired) {
        let memory = &mut self.memory;
        if let Some(table) = memory.tables.get_mut(place) {
            table.withheld = 0;
            table.told_us.push_back(fired.at_us);
        }
        memory.counts.fired += 1;
        if memory.fired.len() >= self.limits.pending_max.saturating_mul(2) {
            memory.counts.lost += 1;
        } else {
            memory.fired.push_back(fired);
        }
    }

    fn first_seen(
        &mut self,
        plan: &Plan,
        place: usize,
        input: &Input,
        moment: Moment<'_>,
        key: Key,
        has_field: bool,
    ) {
        let Some(planned) = plan.planned.get(place) else { return };
        let several = plan.planned.iter().filter(|it| is_first_seen(it)).count().max(1);
        let values_max = self.limits.values_max / several;
        let Memory { tables, counts, .. } = &mut self.memory;
        let Some(table) = tables.get_mut(place) else { return };
        let learn_us = i64::from(planned.correlation.learn_s) * MICROS;
        let learns_until_us =
            table.learns_until_us(&moment.event.0.cluster, moment.at_us, learn_us);
        let stale_us = moment.at_us.saturating_sub(planned.span_us);
        let mut new: Vec<Box<str>> = Vec::new();
        let mut is_new = false;
        let no_field = [Box::from("")];
        for value in if has_field { &input.values } else { &no_field[..] } {
            let of_value = Key::of_bytes([&key.0[..], value.as_bytes()]);
            let before_us = table.seen.get(&of_value);
            counts.evicted_values += table.seen.put(of_value, moment.at_us, stale_us, values_max);
            if before_us.is_none_or(|it| it < stale_us) {
                is_new = true;
                new.extend(has_field.then(|| value.clone()));
            }
        }
        if !is_new || moment.at_us < learns_until_us {
            return;
        }
        if planned.is_told {
            if is_full(table, moment.at_us, self.limits.alerts_per_hour_max) {
                table.withheld += 1;
                counts.withheld += 1;
            } else {
                let fired = Fired {
                    correlation: planned.correlation.id.as_str().into(),
                    id: alert_id(planned, key, moment.key),
                    at_us: moment.at_us,
                    first_us: moment.at_us,
                    cluster: moment.event.0.cluster.clone(),
                    group: input.group.clone(),
                    count: i64::try_from(new.len().max(1)).unwrap_or(i64::MAX) * THOUSAND,
                    values: new,
                    suppressed: 0,
                    withheld: table.withheld,
                    told: vec![moment.event.clone()],
                };
                self.fire(place, fired);
            }
        }
        let id = planned.correlation.id.as_bytes();
        let of_match = Key::of_bytes([id, &key.0, &moment.key.0]);
        for input in moment.event.0.inputs.iter().rev().filter(|it| plan.is_about(it, place)) {
            self.feed(plan, input, Moment { key: of_match, ..moment });
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

fn is_first_seen(planned: &Planned) -> bool {
    matches!(planned.correlation.kind, Kind::FirstSeen(_))
}

/// Whether a correlation had all alerts of this hour.
fn is_full(table: &mut Table, at_us: i64, max: usize) -> bool {
    while table.told_us.front().is_some_and(|it| *it <= at_us.saturating_sub(HOUR_US)) {
        table.told_us.pop_front();
    }
    table.told_us.len() >= max
}

fn group_key(planned: &Planned, cluster: &str, values: &[Option<Box<str>>]) -> Key {
    let mut parts = vec![planned.correlation.id.as_bytes(), cluster.as_bytes()];
    for value in values {
        match value {
            Some(value) => parts.extend([&b"="[..], value.as_bytes()]),
            None => parts.push(b"-"),
        }
    }
    Key::of_bytes(parts)
}

fn alert_id(planned: &Planned, group: Key, of_event: Key) -> Key {
    Key::of_bytes([b"correlation", planned.correlation.id.as_bytes(), &group.0, &of_event.0])
}
