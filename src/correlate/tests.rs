use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use proptest::prelude::*;

use super::*;
use crate::rules::{Field, correlation::parse};

pub(super) const SECOND: i64 = 1_000_000;

pub(super) fn plan(documents: &[&str]) -> Arc<Plan> {
    let correlations = documents.iter().map(|it| parse("t.yml", it).unwrap()).collect();
    let rules =
        ["r0", "r1", "r2"].map(|id| BaseRule { id: id.into(), name: None, file: "t.yml".into() });
    Arc::new(Plan::new(correlations, &rules).unwrap())
}

/// One of each type. The groups are users, the values are resource names, the numbers are response codes.
pub(super) const ALL: &[&str] = &[
    "{title: count, name: count, level: low, correlation: {type: event_count, rules: [r0], group-by: [user.username], timespan: 20s, condition: {gte: 3}}}",
    "{title: values, level: low, correlation: {type: value_count, rules: [r0, r1], group-by: [user.username], timespan: 20s, condition: {field: objectRef.name, gte: 3}}}",
    "{title: sum, level: low, correlation: {type: value_sum, rules: [r0], group-by: [user.username], timespan: 20s, condition: {field: responseStatus.code, gte: 6}}}",
    "{title: temporal, level: low, correlation: {type: temporal, rules: [r0, r1, r2], group-by: [user.username], timespan: 20s}}",
    "{title: ordered, level: low, correlation: {type: temporal_ordered, rules: [r0, r1, r2], group-by: [user.username], timespan: 20s}}",
    "{title: first, level: low, correlation: {type: first_seen, rules: [r0], group-by: [user.username], timespan: 40s, learn: 20s, condition: {field: objectRef.name}}}",
    "{title: absence, level: low, correlation: {type: absence, rules: [r0, r1], group-by: [user.username], timespan: 10s}}",
    "{title: range, level: low, correlation: {type: event_count, rules: [r0], group-by: [user.username], timespan: 20s, condition: {gte: 2, lte: 3}}}",
    "{title: few, level: low, correlation: {type: value_count, rules: [r0], group-by: [user.username], timespan: 20s, condition: {field: objectRef.name, lt: 2}}}",
    "{title: mean, level: low, correlation: {type: value_avg, rules: [r0], group-by: [user.username], timespan: 20s, condition: {field: responseStatus.code, gt: 2}}}",
    "{title: median, level: low, correlation: {type: value_median, rules: [r0], group-by: [user.username], timespan: 20s, condition: {field: responseStatus.code, gte: 3}}}",
    "{title: without, level: low, correlation: {type: temporal, rules: [r0, r1], group-by: [user.username], timespan: 20s, condition: r0 and not r1}}",
    "{title: chain, level: low, correlation: {type: temporal_ordered, rules: [count, r1], group-by: [user.username], timespan: 20s}}",
    "{title: unanswered, level: low, correlation: {type: absence, rules: [count, r2], group-by: [user.username], timespan: 10s}}",
    "{title: twice, level: low, correlation: {type: event_count, rules: [absence], timespan: 60s, condition: {gt: 1}}}",
];

/// An event as tests speak of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) at_s: i64,
    pub(super) number: u32,
    /// The rules that it hits, one bit each.
    pub(super) rules: u8,
    pub(super) user: u8,
    pub(super) value: u8,
}

impl Seen {
    fn hits(self, rule: u8) -> bool {
        self.rules & (1 << rule) != 0
    }

    pub(super) fn event(self, plan: &Plan) -> Event {
        let hits: Vec<usize> = (0..3).filter(|it| self.hits(*it)).map(usize::from).collect();
        let mut read = |field: &Field| match field.to_string().as_str() {
            "user.username" => vec![format!("u{}", self.user)],
            "objectRef.name" => vec![format!("v{}", self.value)],
            _ => vec![self.value.to_string()],
        };
        Event {
            at_us: self.at_s * SECOND,
            key: self.key(),
            cluster: "".into(),
            inputs: plan.inputs(&hits, &mut read),
            evidence: Evidence::default(),
        }
    }

    /// Not in the order of the numbers.
    fn key(self) -> Key {
        Key::of(&[&self.number.to_string()])
    }
}

fn events() -> impl Strategy<Value = Vec<Seen>> {
    let one = (0_i64..200, 1_u8..8, 0_u8..2, 0_u8..5);
    prop::collection::vec(one, 0..60).prop_map(|all| {
        let with_number =
            |(number, (at_s, rules, user, value))| Seen { at_s, number, rules, user, value };
        (0_u32..).zip(all).map(with_number).collect()
    })
}

pub(super) fn observe(engine: &mut Engine, seen: Seen, now_us: i64) {
    let event = seen.event(&Arc::clone(engine.plan()));
    engine.passed(&event.cluster, event.at_us, now_us);
    engine.observe(event);
}

pub(super) fn ended(mut engine: Engine) -> (Vec<Fired>, Counts) {
    engine.finish();
    (engine.fired().iter().cloned().collect(), engine.counts())
}

/// The stream in its order, one event a batch.
pub(super) fn ordered(plan: &Arc<Plan>, limits: Limits, events: &[Seen]) -> (Vec<Fired>, Counts) {
    let mut engine = Engine::new(Arc::clone(plan), limits);
    let mut events = events.to_vec();
    events.sort_by_key(|it| it.at_s);
    for event in events {
        observe(&mut engine, event, event.at_s * SECOND);
        engine.advance(event.at_s * SECOND);
    }
    ended(engine)
}

/// How an event comes: how late, how late again if it comes twice, and whether a batch ends with it, and the process.
type Way = (i64, Option<i64>, bool, bool);

fn mangled(
    plan: &Arc<Plan>,
    limits: Limits,
    events: &[Seen],
    ways: &[Way],
) -> (Vec<Fired>, Counts) {
    let mut arrivals = Vec::new();
    for (event, (late_s, again_s, cut, stop)) in events.iter().zip(ways.iter().cycle()) {
        arrivals.push((event.at_s + late_s, *event, *cut, *stop));
        arrivals.extend(again_s.map(|it| (event.at_s + it, *event, false, false)));
    }
    arrivals.sort_by_key(|it| it.0);
    let mut engine = Engine::new(Arc::clone(plan), limits);
    for (now_s, event, cut, stop) in arrivals {
        observe(&mut engine, event, now_s * SECOND);
        if cut {
            engine.advance(now_s * SECOND);
        }
        if stop {
            let bytes = engine.snapshot().unwrap();
            engine = Engine::restore(Arc::clone(plan), limits, &bytes).unwrap();
        }
    }
    ended(engine)
}

fn way() -> impl Strategy<Value = Way> {
    (0_i64..30, prop::option::of(0_i64..300), any::<bool>(), prop::bool::weighted(0.1))
}

pub(super) const LIMITS: Limits = Limits {
    late_max_us: 30 * SECOND,
    ahead_max_us: 30 * SECOND,
    quiet_max_us: 10_000 * SECOND,
    held_max: 1000,
    held_bytes_max: 1 << 20,
    groups_max: 1000,
    groups_bytes_max: 1 << 20,
    group_events_max: 1000,
    values_max: 1000,
    seen_max: 1000,
    alerts_per_hour_max: 1000,
    pending_max: 1000,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]
    /// The alerts are a function of the set of events.
    #[test]
    fn the_way_does_not_matter(events in events(), ways in prop::collection::vec(way(), 1..40)) {
        let plan = plan(ALL);
        let (expected, counts) = ordered(&plan, LIMITS, &events);
        prop_assert_eq!(counts.late, 0);
        let (fired, counts) = mangled(&plan, LIMITS, &events, &ways);
        prop_assert_eq!((counts.late, counts.events), (0, events.len() as u64));
        prop_assert_eq!(fired, expected);
    }

    /// Nor does it when memory is short: what is forgotten is a function of the events, too.
    #[test]
    fn nor_when_memory_is_short(events in events(), ways in prop::collection::vec(way(), 1..40)) {
        let plan = plan(ALL);
        let limits = Limits { groups_max: 5, group_events_max: 3, values_max: 6, alerts_per_hour_max: 2, ..LIMITS };
        let (expected, counts) = ordered(&plan, limits, &events);
        let (fired, again) = mangled(&plan, limits, &events, &ways);
        prop_assert_eq!(fired, expected);
        prop_assert_eq!(Counts { duplicate: 0, ..again }, Counts { duplicate: 0, ..counts });
    }

    /// What is told is what a person finds who looks at all events at once.
    #[test]
    fn what_is_told_is_so(events in events()) {
        let plan = plan(ALL);
        let mut events = events;
        // One event a second, so that each order is sure.
        let mut times = HashSet::new();
        events.retain(|it| times.insert(it.at_s));
        events.sort_by_key(|it| it.at_s);
        let mut fired: BTreeMap<&str, Vec<(i64, String)>> = BTreeMap::new();
        let (all, counts) = ordered(&plan, LIMITS, &events);
        for it in &all {
            let title = plan.correlations().iter().map(|it| it.correlation.id.as_str()).find(|id| *id == &*it.correlation);
            let user = it.group.first().cloned().flatten().unwrap_or_default();
            fired.entry(title.unwrap()).or_default().push((it.at_us / SECOND, user.into()));
        }
        for (title, mut expected) in expected(&events) {
            let mut fired = fired.remove(title).unwrap_or_default();
            expected.sort();
            fired.sort();
            prop_assert_eq!(fired, expected, "{}", title);
        }
        prop_assert_eq!(counts.fired, all.len() as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]
    /// A cluster whose log comes any time later than that of another has the alerts that it has alone.
    #[test]
    fn clusters_do_not_wait_for_each_other(
        here in events(),
        there in events(),
        ways in prop::collection::vec(way(), 1..40),
        behind_s in 0_i64..1000,
    ) {
        let plan = plan(ALL);
        let come = |events: &[Seen], cluster, behind_s| {
            let ways = ways.iter().cycle();
            let each = events.iter().zip(ways).map(|(it, way)| (it.at_s + behind_s + way.0, *it, cluster, way.2, way.3));
            each.collect::<Vec<_>>()
        };
        let run = |mut arrivals: Vec<(i64, Seen, &str, bool, bool)>| {
            arrivals.sort_by_key(|it| it.0);
            let mut engine = Engine::new(Arc::clone(&plan), LIMITS);
            for (now_s, seen, cluster, cut, stop) in arrivals {
                let event = Event { cluster: cluster.into(), ..seen.event(&plan) };
                engine.passed(cluster, event.at_us, now_s * SECOND);
                engine.observe(event);
                if cut {
                    engine.advance(now_s * SECOND);
                }
                if stop {
                    let bytes = engine.snapshot().unwrap();
                    engine = Engine::restore(Arc::clone(&plan), LIMITS, &bytes).unwrap();
                }
            }
            ended(engine)
        };
        let mut both = come(&here, "here", 0);
        both.extend(come(&there, "there", behind_s));
        let (fired, counts) = run(both);
        prop_assert_eq!((counts.late, counts.hurried, counts.withheld), (0, 0, 0));
        for (cluster, events) in [("here", &here), ("there", &there)] {
            let of_cluster: Vec<Fired> = fired.iter().filter(|it| &*it.cluster == cluster).cloned().collect();
            prop_assert_eq!(of_cluster, run(come(events, cluster, 0)).0, "{}", cluster);
        }
    }
}

/// The alerts as they must be, found the slow way: time and user.
fn expected(events: &[Seen]) -> Vec<(&'static str, Vec<(i64, String)>)> {
    let mut of_type: Vec<(&'static str, Vec<(i64, String)>)> = Vec::new();
    for user in 0..2 {
        let all: Vec<Seen> = events.iter().copied().filter(|it| it.user == user).collect();
        let before = |last: &Seen, span: i64| {
            let last = *last;
            let in_window = move |it: &&Seen| it.at_s > last.at_s - span && it.at_s <= last.at_s;
            all.iter().filter(in_window).copied().collect::<Vec<Seen>>()
        };
        let with = |hits: u8| all.iter().filter(move |it| it.rules & hits != 0);
        let mut add = |title: &'static str, span: i64, matches: Vec<i64>| {
            let mut quiet_until = i64::MIN;
            let told = matches.into_iter().filter(|at| {
                let is_told = *at >= quiet_until;
                if is_told {
                    quiet_until = at + span;
                }
                is_told
            });
            let told: Vec<_> = told.map(|at| (at, format!("u{user}"))).collect();
            match of_type.iter_mut().find(|(it, _)| *it == title) {
                Some((_, all)) => all.extend(told),
                None => of_type.push((title, told)),
            }
        };
        let times = |it: Vec<&Seen>| it.iter().map(|it| it.at_s).collect::<Vec<_>>();
        let count: Vec<&Seen> = with(1)
            .filter(|it| before(it, 20).iter().filter(|it| it.hits(0)).count() >= 3)
            .collect();
        add("count", 20, times(count.clone()));
        let values = with(3).filter(|it| {
            let window = before(it, 20);
            let values = window.iter().filter(|it| it.rules & 3 != 0).map(|it| it.value);
            values.collect::<HashSet<_>>().len() >= 3
        });
        add("values", 20, times(values.collect()));
        let sum = with(1).filter(|it| {
            let window = before(it, 20);
            window.iter().filter(|it| it.hits(0)).map(|it| i64::from(it.value)).sum::<i64>() >= 6
        });
        add("sum", 20, times(sum.collect()));
        let temporal = with(7).filter(|it| {
            let window = before(it, 20);
            (0..3).all(|rule| window.iter().any(|it| it.hits(rule)))
        });
        add("temporal", 20, times(temporal.collect()));
        let in_order = with(4).filter(|c| {
            let window = before(c, 20);
            let a = window.iter().find(|it| it.hits(0));
            a.is_some_and(|a| {
                window.iter().any(|b| b.hits(1) && b.at_s > a.at_s && b.at_s < c.at_s)
            })
        });
        add("ordered", 20, times(in_order.collect()));
        let chain =
            with(2).filter(|b| count.iter().any(|a| a.at_s < b.at_s && a.at_s > b.at_s - 20));
        add("chain", 20, times(chain.collect()));
        let unanswered = |a: &&Seen, rule: u8, span: i64| {
            !all.iter().any(|b| {
                b.hits(rule) && b.number != a.number && (a.at_s..=a.at_s + span).contains(&b.at_s)
            })
        };
        let absence = with(1).filter(|a| unanswered(a, 1, 10)).map(|it| it.at_s + 10);
        add("absence", 10, absence.collect());
        let answerless = count.iter().filter(|a| unanswered(a, 2, 10));
        add("unanswered", 10, answerless.map(|it| it.at_s + 10).collect());
        let begin = events.iter().filter(|it| it.hits(0)).map(|it| it.at_s).min();
        let mut last: HashMap<u8, i64> = HashMap::new();
        let first = with(1).filter(|it| {
            let is_new = last.insert(it.value, it.at_s).is_none_or(|last| last < it.at_s - 40);
            is_new && it.at_s >= begin.unwrap_or_default() + 20
        });
        add("first", 0, times(first.collect()));
        let mut windows: Vec<Vec<Seen>> = Vec::new();
        for it in with(1) {
            match windows.last_mut().filter(|window| it.at_s <= window[0].at_s + 20) {
                Some(window) => window.push(*it),
                None => windows.push(vec![*it]),
            }
        }
        let closed = |fits: &dyn Fn(&[Seen]) -> bool| {
            windows.iter().filter(|it| fits(it)).map(|it| it[0].at_s + 20).collect::<Vec<_>>()
        };
        add("range", 20, closed(&|it| (2..=3).contains(&it.len())));
        let different = |it: &[Seen]| it.iter().map(|it| it.value).collect::<HashSet<_>>().len();
        add("few", 20, closed(&|it| different(it) < 2));
        let sum = |it: &[Seen]| it.iter().map(|it| usize::from(it.value)).sum::<usize>();
        add("mean", 20, closed(&|it| sum(it) > 2 * it.len()));
        let median = |it: &[Seen]| {
            let mut values: Vec<u8> = it.iter().map(|it| it.value).collect();
            values.sort_unstable();
            values[values.len().div_ceil(2) - 1]
        };
        add("median", 20, closed(&|it| median(it) >= 3));
    }
    of_type
}
