use std::{collections::HashSet, sync::Arc};

use super::{
    clock::CLOCKS_MAX,
    tests::{ALL, LIMITS, SECOND, Seen, ended, observe, ordered, plan},
    *,
};

const COUNT: &str = "{title: t, id: count, level: low, correlation: {type: event_count, rules: [r0], group-by: [user.username], timespan: 20s, condition: {gte: 3}}}";
const VALUES: &str = "{title: v, level: low, correlation: {type: value_count, rules: [r0], group-by: [user.username], timespan: 1h, condition: {field: objectRef.name, gte: 10000}}, k8scop: {reason: '{user.username} read {count} in {timespan}: {values}'}}";
const FIRST: &str = "{title: f, level: low, correlation: {type: first_seen, rules: [r0], group-by: [user.username], timespan: 1d, learn: 10s}}";
const ABSENCE: &str = "{title: a, level: low, correlation: {type: absence, rules: [r0, r1], group-by: [user.username], timespan: 10s}}";

/// An event that hits the first rule.
fn seen(at_s: i64) -> Seen {
    Seen { at_s, number: u32::try_from(at_s).unwrap(), rules: 1, user: 0, value: 1 }
}

fn all(plan: &Arc<Plan>, limits: Limits, times_s: &[i64]) -> (Vec<Fired>, Counts) {
    let events: Vec<Seen> = times_s.iter().map(|it| seen(*it)).collect();
    ordered(plan, limits, &events)
}

/// A group, or a value, of its own.
fn event(number: u64, at_us: i64, plan: &Plan) -> Event {
    let mut read = |_: &crate::rules::Field| vec![number.to_string()];
    Event {
        at_us,
        key: Key::of(&[&number.to_string()]),
        cluster: "".into(),
        inputs: plan.inputs(&[0], &mut read),
        evidence: Evidence { audit_id: number.to_string().into(), ..Evidence::default() },
    }
}

#[test]
fn what_is_not_told_is_told_later() {
    let plan = plan(&[COUNT]);
    // The third event tells; 10 more are quiet; after that the next tells, and how many there were.
    let times: Vec<i64> = (0..23).collect();
    let (fired, counts) = all(&plan, LIMITS, &times);
    let told: Vec<_> =
        fired.iter().map(|it| (it.at_us / SECOND, it.counted(), it.suppressed)).collect();
    assert_eq!(told, [(2, "3".into(), 0), (22, "3".into(), 19)]);
    assert_eq!((counts.fired, counts.suppressed), (2, 19));
    assert_eq!(fired[0].events().count(), 3);
    assert_eq!(fired[0].reason(&plan.correlations()[0]), "t: 3 within 20s, user.username u0");
    assert_ne!(fired[0].id, fired[1].id);
}

#[test]
fn many_groups_stay_in_the_bound_and_the_oldest_go_first() {
    let plan = plan(&[COUNT]);
    let limits = Limits { groups_max: 1000, late_max_us: 0, seen_max: 1000, ..LIMITS };
    let mut engine = Engine::new(Arc::clone(&plan), limits);
    // One group is in use all the time.
    for number in 0..30_000 {
        let at_us = i64::try_from(number).unwrap();
        for event in [event(number, at_us, &plan), event(0, at_us, &plan)] {
            engine.passed("", at_us, at_us);
            engine.observe(Event {
                key: Key::of(&[&at_us.to_string(), &format!("{:?}", event.inputs)]),
                ..event
            });
        }
        engine.advance(at_us);
        assert!(engine.group_count() <= 1000);
    }
    assert!(engine.counts().evicted_groups > 28_000);
    let told: Vec<_> = engine.fired().iter().map(|it| it.group[0].clone().unwrap()).collect();
    assert_eq!(told, ["0".into()]);
}

/// As many keys as `K8SCOP_TEST_KEYS` says, each once, each of a group and a value of its own.
#[test]
fn as_many_keys_as_there_are_stay_in_the_bound() {
    let keys = std::env::var("K8SCOP_TEST_KEYS").map_or(50_000, |it| it.parse().unwrap());
    let plan = plan(&[COUNT, FIRST, ABSENCE]);
    let limits = Limits {
        groups_max: 10_000,
        groups_bytes_max: 4 << 20,
        values_max: 10_000,
        seen_max: 10_000,
        late_max_us: 0,
        ..LIMITS
    };
    let mut engine = Engine::new(Arc::clone(&plan), limits);
    for number in 0..keys {
        // All of them within a second: no group is over before it has to go.
        let at_us = i64::try_from(number * 1_000_000 / keys).unwrap();
        engine.observe(event(number, at_us, &plan));
        engine.advance(at_us);
        if number % 1000 == 0 {
            assert!(engine.bytes() <= (4 << 20) + limits.held_bytes_max, "{}", engine.bytes());
            assert!(engine.group_count() <= 10_000 && engine.value_count() <= 10_000);
        }
    }
    let counts = engine.counts();
    assert_eq!(counts.events, keys);
    // What is not there was counted when it went.
    let (groups, values) = (engine.group_count() as u64, engine.value_count() as u64);
    let taken = keys - engine.held_count() as u64;
    assert_eq!(counts.evicted_groups + groups, 2 * taken);
    assert_eq!(counts.evicted_values + values, taken);
}

#[test]
fn memory_stays_in_the_bound() {
    let plan = plan(ALL);
    let limits = Limits { groups_bytes_max: 200_000, held_bytes_max: 50_000, ..LIMITS };
    let mut engine = Engine::new(Arc::clone(&plan), limits);
    for number in 0..5_000 {
        engine.observe(event(number, 5, &plan));
        assert!(engine.bytes() <= 250_000, "{}", engine.bytes());
    }
    let counts = engine.counts();
    assert!(counts.hurried > 0 && counts.evicted_groups > 0, "{counts:?}");
}

#[test]
fn values_are_counted_without_a_look_at_all_of_them() {
    let plan = plan(&[VALUES]);
    let limits = Limits { groups_bytes_max: 8 << 20, ..LIMITS };
    let mut engine = Engine::new(Arc::clone(&plan), limits);
    // Each value comes 5 times.
    for number in 0..50_000_u64 {
        let at_us = i64::try_from(number).unwrap();
        let mut read = |field: &crate::rules::Field| match field.to_string().as_str() {
            "user.username" => vec!["u".to_owned()],
            _ => vec![(number % 10_000).to_string()],
        };
        let inputs = plan.inputs(&[0], &mut read);
        engine.observe(Event { inputs, ..event(number, at_us, &plan) });
        engine.passed("", at_us, at_us + 40 * SECOND);
        engine.advance(at_us);
    }
    let (fired, counts) = ended(engine);
    assert_eq!((fired.len(), counts.suppressed), (1, 40_000));
    assert_eq!(fired[0].counted(), "10000");
    let reason = fired[0].reason(&plan.correlations()[0]);
    assert!(reason.starts_with("u read 10000 in 1h: 9980, 9981"), "{reason}");
}

#[test]
fn a_correlation_that_finds_too_much_is_not_a_storm() {
    let plan = plan(&[FIRST]);
    let limits = Limits { alerts_per_hour_max: 5, ..LIMITS };
    let mut engine = Engine::new(Arc::clone(&plan), limits);
    for number in 0..100 {
        let at_us = i64::try_from(number).unwrap() * SECOND;
        engine.observe(event(number, at_us, &plan));
    }
    engine.observe(event(1000, 2 * 3600 * SECOND, &plan));
    let (fired, counts) = ended(engine);
    // 10 were learnt.
    assert_eq!((fired.len(), counts.withheld), (6, 85));
    assert_eq!((fired[0].withheld, fired[5].withheld), (0, 85));
    assert_eq!(fired[0].group[0].as_deref(), Some("10"));
}

#[test]
fn what_comes_late_counts_once_and_is_used() {
    let plan = plan(&[COUNT]);
    let mut engine = Engine::new(Arc::clone(&plan), LIMITS);
    let come = |engine: &mut Engine, at_s: i64, now_s: i64| {
        observe(engine, seen(at_s), now_s * SECOND);
        engine.advance(now_s * SECOND);
    };
    for at_s in [100, 105] {
        come(&mut engine, at_s, at_s);
    }
    come(&mut engine, 200, 200);
    assert!(engine.fired().is_empty());
    // Late, and it is the third of its window; then again, which is no fourth.
    come(&mut engine, 103, 200);
    come(&mut engine, 103, 200);
    come(&mut engine, 100, 200);
    let counts = engine.counts();
    assert_eq!((counts.late, counts.duplicate, counts.suppressed), (1, 2, 0));
    assert_eq!(engine.fired().len(), 1);
    assert_eq!(
        engine.fired()[0].events().map(|it| it.at_us / SECOND).collect::<Vec<_>>(),
        [100, 103, 105]
    );
    // The group has gone further than this.
    come(&mut engine, 1, 200);
    assert_eq!((engine.counts().late, engine.counts().too_late), (2, 1));
}

#[test]
fn a_clock_that_is_ahead_makes_nothing_late() {
    let plan = plan(&[COUNT]);
    let mut engine = Engine::new(Arc::clone(&plan), LIMITS);
    observe(&mut engine, seen(1_000_000), 100 * SECOND);
    engine.advance(100 * SECOND);
    for at_s in 95..100 {
        observe(&mut engine, seen(at_s), 100 * SECOND);
    }
    assert_eq!(engine.counts().late, 0);
}

#[test]
fn what_is_too_far_ahead_counts_as_of_its_arrival() {
    let plan = plan(&[COUNT]);
    let mut engine = Engine::new(Arc::clone(&plan), LIMITS);
    let at =
        |at_s: i64| Event { key: Key::of(&[&at_s.to_string()]), ..event(7, at_s * SECOND, &plan) };
    // One node is an hour ahead, another a little; its own order stays, and it comes twice.
    let arrived = [at(3702), at(100), at(3701), at(130)];
    engine.passed("", 3702 * SECOND, 100 * SECOND);
    engine.arrive(&arrived, 100 * SECOND);
    engine.arrive(&arrived, 101 * SECOND);
    let counts = engine.counts();
    assert_eq!((counts.events, counts.duplicate, counts.ahead, counts.late), (4, 4, 2, 0));
    engine.passed("", 131 * SECOND, 131 * SECOND);
    engine.advance(131 * SECOND);
    let fired: Vec<_> = engine.fired().iter().collect();
    assert_eq!(fired.len(), 1);
    assert_eq!((fired[0].at_us, fired[0].counted()), (100 * SECOND, "3".into()));
    let ids: Vec<_> = fired[0].events().map(|it| it.at_us - 100 * SECOND).collect();
    assert_eq!(ids, [-2, -1, 0]);
}

#[test]
fn each_cluster_has_alerts_of_its_own() {
    let plan = plan(&[FIRST]);
    let mut engine = Engine::new(Arc::clone(&plan), Limits { alerts_per_hour_max: 5, ..LIMITS });
    for number in 0..100 {
        let at_us = i64::try_from(number).unwrap() * SECOND;
        let cluster = if number % 2 == 0 { "loud" } else { "other" };
        // Of the other, little happens.
        if cluster == "loud" || number > 90 || number == 1 {
            engine.observe(Event { cluster: cluster.into(), ..event(number, at_us, &plan) });
        }
    }
    let (fired, counts) = ended(engine);
    let of = |cluster: &str| fired.iter().filter(|it| &*it.cluster == cluster).count();
    assert_eq!((of("loud"), of("other"), counts.withheld), (5, 5, 40));
}

#[test]
fn behind_the_end_of_a_log_nothing_is_missed() {
    let plan = plan(&[ABSENCE]);
    let mut engine = Engine::new(Arc::clone(&plan), LIMITS);
    for at_s in [0, 100, 105] {
        let key = Key::of(&[&at_s.to_string()]);
        engine.observe(Event { key, ..event(at_s, i64::try_from(at_s).unwrap() * SECOND, &plan) });
    }
    engine.close();
    let told: Vec<_> = engine.fired().iter().map(|it| it.at_us / SECOND).collect();
    assert_eq!(told, [10]);
}

#[test]
fn when_nothing_comes_nothing_is_waited_for() {
    let plan = plan(&[COUNT, ABSENCE]);
    let mut engine =
        Engine::new(Arc::clone(&plan), Limits { quiet_max_us: 100 * SECOND, ..LIMITS });
    for at_s in [1000, 1001, 1002] {
        observe(&mut engine, seen(at_s), 1002 * SECOND);
    }
    engine.advance(1101 * SECOND);
    assert_eq!((engine.held_count(), engine.fired().len()), (3, 0));
    engine.advance(1102 * SECOND);
    assert_eq!((engine.held_count(), engine.fired().len()), (0, 1));
    // What was only delayed is not late: it is newer than all that was taken.
    observe(&mut engine, seen(1003), 1105 * SECOND);
    assert_eq!(engine.counts().late, 0);
    engine.advance(1110 * SECOND);
    assert_eq!(engine.fired().len(), 1);
    // The absence comes to its end by the clock.
    engine.advance(1300 * SECOND);
    let told: Vec<_> =
        engine.fired().iter().map(|it| (it.correlation.as_ref(), it.at_us / SECOND)).collect();
    assert_eq!(told, [("count", 1002), ("a", 1010)]);
}

#[test]
fn after_a_start_the_rest_is_waited_for() {
    let plan = plan(&[ABSENCE]);
    let mut engine = Engine::new(Arc::clone(&plan), LIMITS);
    observe(&mut engine, seen(1000), 1000 * SECOND);
    let bytes = engine.snapshot().unwrap();
    let mut engine = Engine::restore(plan, LIMITS, &bytes).unwrap();
    // The process was away for long, and so was what the shippers have still to send.
    engine.advance(1_000_000 * SECOND);
    assert_eq!((engine.held_count(), engine.fired().len()), (1, 0));
}

#[test]
fn clusters_and_missing_fields_are_groups_of_their_own() {
    let plan = plan(&[COUNT]);
    let mut engine = Engine::new(Arc::clone(&plan), LIMITS);
    for (number, (cluster, user)) in [
        ("a", "x"),
        ("a", ""),
        ("b", "x"),
        ("a", "-"),
        ("a", ""),
        ("b", "x"),
        ("a", ""),
        ("a", "x"),
    ]
    .iter()
    .enumerate()
    {
        let mut read = |_: &crate::rules::Field| match *user {
            "" => Vec::new(),
            user => vec![user.to_owned()],
        };
        let number = number as u64;
        let inputs = plan.inputs(&[0], &mut read);
        engine.observe(Event { inputs, cluster: (*cluster).into(), ..event(number, 1, &plan) });
    }
    let (fired, _) = ended(engine);
    assert_eq!(fired.len(), 1);
    assert_eq!(fired[0].group[0], None);
}

#[test]
fn clusters_without_clocks_of_their_own_share_one() {
    let plan = plan(&[COUNT]);
    let limits = Limits {
        held_max: 10_000,
        held_bytes_max: 16 << 20,
        groups_max: 10_000,
        groups_bytes_max: 16 << 20,
        alerts_per_hour_max: 10_000,
        pending_max: 10_000,
        ..LIMITS
    };
    let mut engine = Engine::new(Arc::clone(&plan), limits);
    let clusters: Vec<String> = (0..CLOCKS_MAX + 100).map(|it| it.to_string()).collect();
    for round in 0..3 {
        for (place, cluster) in clusters.iter().enumerate() {
            let number = (round * clusters.len() + place) as u64;
            let one = event(0, (100 + round as i64) * SECOND, &plan);
            let key = Key::of(&[&number.to_string()]);
            engine.passed(cluster, one.at_us, one.at_us);
            engine.observe(Event { key, cluster: cluster.as_str().into(), ..one });
        }
    }
    assert_eq!(engine.memory.clocks.names().len(), CLOCKS_MAX + 1);
    engine.advance(200 * SECOND);
    let (fired, counts) = ended(engine);
    assert_eq!((counts.late, counts.events), (0, 3 * clusters.len() as u64));
    let told: HashSet<&str> = fired.iter().map(|it| &*it.cluster).collect();
    assert_eq!(told.len(), clusters.len(), "each has its alert");
}

#[test]
fn a_broken_snapshot_says_so() {
    let plan = plan(ALL);
    let mut engine = Engine::new(Arc::clone(&plan), LIMITS);
    for at_s in 0..50 {
        observe(&mut engine, seen(at_s), at_s * SECOND);
        engine.advance(at_s * SECOND);
    }
    let bytes = engine.snapshot().unwrap();
    let restore = |bytes: &[u8]| Engine::restore(Arc::clone(&plan), LIMITS, bytes);
    // What came when by the wall clock is of the process.
    engine.memory.clocks.all().for_each(|it| it.arrived_us = None);
    assert_eq!(restore(&bytes).unwrap().memory, engine.memory);
    for cut in (0..bytes.len()).step_by(397) {
        assert!(restore(&bytes[..cut]).is_err());
    }
    for place in (0..bytes.len()).step_by(397).chain(0..40) {
        let mut bytes = bytes.clone();
        bytes[place] ^= 4;
        assert!(restore(&bytes).is_err(), "{place}");
    }
    assert_eq!(restore(b"k8scop-correl-00").unwrap_err(), BrokenState::Version);
}

#[test]
fn a_changed_rule_starts_afresh_and_others_go_on() {
    let before = plan(&[COUNT, ABSENCE, FIRST]);
    let mut engine = Engine::new(before, LIMITS);
    for at_s in [0, 1, 100, 101] {
        observe(&mut engine, seen(at_s), at_s * SECOND);
        engine.advance(at_s * SECOND);
    }
    let bytes = engine.snapshot().unwrap();
    // Others are first, the last is gone, and of the count only the title is another.
    let after =
        plan(&[&ABSENCE.replace("10s", "11s"), VALUES, &COUNT.replace("title: t", "title: new")]);
    let restored = Engine::restore(Arc::clone(&after), LIMITS, &bytes).unwrap();
    // Rules that are read again while it runs: the same, without a copy.
    for mut engine in [restored, engine.with_plan(after)] {
        observe(&mut engine, seen(102), 102 * SECOND);
        let (fired, _) = ended(engine);
        // The changed absence knows only of what came after.
        let told: Vec<_> =
            fired.iter().map(|it| (it.correlation.as_ref(), it.at_us / SECOND)).collect();
        assert_eq!(told, [("a", 10), ("count", 102), ("a", 113)]);
    }
}

#[test]
fn alerts_wait_until_they_are_stored() {
    let plan = plan(&[FIRST]);
    let mut engine = Engine::new(Arc::clone(&plan), Limits { pending_max: 3, ..LIMITS });
    for number in 0..50 {
        let at_us = i64::try_from(number).unwrap() * SECOND;
        engine.passed("", at_us, at_us);
        engine.observe(event(number, at_us, &plan));
        engine.advance(at_us);
    }
    // Held until there is room.
    assert_eq!((engine.fired().len(), engine.counts().lost), (3, 0));
    engine.stored(3);
    let bytes = engine.snapshot().unwrap();
    let mut engine = Engine::restore(plan, LIMITS, &bytes).unwrap();
    engine.advance(49 * SECOND);
    engine.passed("", 49 * SECOND, 49 * SECOND);
    let (fired, counts) = ended(engine);
    assert_eq!((fired.len(), counts.lost, counts.fired), (37, 0, 40));
}
