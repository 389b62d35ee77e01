//! What one event, or the end of a window, means to the groups: matches, and the alerts that they raise.

use super::{
    engine::{Engine, MICROS, Memory},
    event::{Input, Key, Shared},
    fired::Fired,
    group::Told,
    plan::{Plan, Planned},
    window::{Moment, Taken},
};
use crate::rules::correlation::{Kind, THOUSAND};

impl Engine {
    pub(super) fn feed(&mut self, plan: &Plan, input: &Input, moment: Moment<'_>) {
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

    /// A condition holds. `of_event` is the key of what made it so.
    #[expect(clippy::too_many_arguments, reason = "one match, with all that is known of it")]
    pub(super) fn matched(
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
        let mut told_of_group = None;
        let Some(cluster) = table.cluster_of(&key) else { return };
        let is_full = table.quota(&cluster).is_full(at_us, self.limits.alerts_per_hour_max);
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
                withheld: 0,
                told: events,
            });
            group.quiet_until_us = at_us.saturating_add(planned.quiet_us);
        });
        match told_of_group {
            Some(fired) => self.fire(place, fired),
            None if is_full => {
                table.quota(&cluster).withhold();
                counts.withheld += 1;
            }
            None => (),
        }
    }

    fn fire(&mut self, place: usize, mut fired: Fired) {
        let memory = &mut self.memory;
        if let Some(table) = memory.tables.get_mut(place) {
            fired.withheld = table.quota(&fired.cluster).tell(fired.at_us);
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
            let quota = table.quota(&moment.event.0.cluster);
            if quota.is_full(moment.at_us, self.limits.alerts_per_hour_max) {
                quota.withhold();
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
                    withheld: 0,
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
}

fn is_first_seen(planned: &Planned) -> bool {
    matches!(planned.correlation.kind, Kind::FirstSeen(_))
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
