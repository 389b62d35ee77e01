use std::time::Duration;

use super::{
    names::{KEPT_MAX, NAME_BYTES_MAX, TOLD_MAX},
    timeline::{BARS_MAX, BUCKETS_MAX, GAPS_TOLD_MAX},
    unreadable::{PLACES_MAX, REASONS_MAX},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

fn at(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn second(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp::from_second(seconds).unwrap())
}

fn raised(id: &str, level: Level) -> Raised<'_> {
    Raised { id, title: id, level }
}

fn by(user: &str, alerts: &[Raised<'_>], time: Option<Timestamp>) -> Summary {
    let about = About { time, user: Some(user), ..About::default() };
    let mut summary = Summary::default();
    summary.event(&Event { about, alerts, ..Event::default() });
    summary
}

fn json(summary: &Summary) -> serde_json::Value {
    serde_json::to_value(summary.told(SECOND)).unwrap()
}

/// Halves of what happened tell the same as the whole, also from a checkpoint.
#[test]
fn parts_make_the_whole() {
    let (mut whole, mut parts) = (Summary::default(), [Summary::default(), Summary::default()]);
    for (number, time) in (0..5_000).zip(0_i64..) {
        let name = format!("n-{}", number % 7);
        let alert = [raised("r-1", LEVELS[number % 4]), raised("r-2", Level::High)];
        let about = About {
            time: second(time * time * 11),
            user: Some(&name),
            cluster: Some(&name),
            namespace: Some(&name),
        };
        let alerts = if number % 5 == 0 { &alert[..] } else { &[] };
        let event = Event {
            index: Some(&name),
            about,
            alerts,
            is_matched: true,
            is_cut: true,
            repeated: 1,
        };
        for summary in [&mut whole, &mut parts[number % 2]] {
            summary.document(Some(&name));
            summary.event(&event);
            summary.other("not_kubernetes");
            summary.unreadable("no _source", || "place".into());
            summary.alert(&raised("r-3", Level::Low), &about);
        }
    }
    let [mut one, other] = parts;
    let stored = serde_json::to_vec(&other).unwrap();
    one.merge(serde_json::from_slice(&stored).unwrap());
    assert_eq!(json(&one), json(&whole));
    assert_eq!((whole.documents(), whole.events(), whole.alerts()), (5_000, 5_000, 7_000));
    let told = json(&whole);
    assert_eq!(told["severities"]["low"], 250 + 5_000);
    assert_eq!(told["severities"]["high"], 250 + 1_000);
    assert_eq!(
        (&told["unreadable"], &told["other"]["not_kubernetes"]),
        (&5_000.into(), &5_000.into())
    );
    let sum: u64 = told["timeline"]["bars"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["events"].as_u64().unwrap())
        .sum();
    assert_eq!(sum, 5_000);
}

#[test]
fn names_are_bounded_and_the_worst_stay() {
    let mut summary = by("mallory", &[raised("r", Level::High)], None);
    for number in 0..20 * KEPT_MAX {
        summary.merge(by(&format!("user-{number}"), &[], None));
        summary.merge(by("alice", &[], None));
    }
    summary.merge(by(&"é".repeat(1000), &[], None));
    let told = json(&summary);
    assert_eq!(told["users"][0], serde_json::json!({"name": "mallory", "alerts": 1, "events": 1}));
    assert_eq!(told["users"][1]["name"], "alice");
    assert_eq!(told["users"].as_array().unwrap().len(), TOLD_MAX);
    assert_eq!(
        (&told["events"], &told["more"]["is_partial"]),
        (&(40 * KEPT_MAX + 2).into(), &true.into())
    );
    let state = serde_json::to_value(&summary).unwrap();
    let names = state["users"]["counts"].as_object().unwrap();
    assert!((KEPT_MAX..2 * KEPT_MAX).contains(&names.len()), "{}", names.len());
    assert!(names.keys().all(|it| it.len() <= NAME_BYTES_MAX));
    assert!(summary.told(SECOND).text(&[]).contains("\n            and at least "));
}

#[test]
fn reasons_are_bounded() {
    let mut summary = Summary::default();
    for number in 0..100 {
        for _ in 0..10 {
            summary.unreadable(&format!("reason {number}"), || "logs-1/abc".into());
        }
    }
    let told = json(&summary);
    let reasons = told["unreadable_reasons"].as_array().unwrap();
    assert_eq!((reasons.len(), &told["unreadable"]), (REASONS_MAX, &1_000.into()));
    assert!(reasons.iter().all(|it| it["places"].as_array().unwrap().len() == PLACES_MAX));
    assert_eq!(reasons[REASONS_MAX - 1]["reason"], "other reasons");
    assert_eq!(told["unreadable_first"], "logs-1/abc: reason 0");
}

#[test]
fn times_are_bounded() {
    let mut summary = Summary::default();
    for number in 0..20_000_i64 {
        // Each in a bucket of its own for as long as that goes.
        summary.merge(by("alice", &[], second(number * 3_600 * 5)));
    }
    summary.merge(by("alice", &[], Some(Timestamp::MIN)));
    summary.merge(by("alice", &[], Some(Timestamp::MAX)));
    let state = serde_json::to_value(&summary).unwrap();
    assert!(state["timeline"]["buckets"].as_object().unwrap().len() <= BUCKETS_MAX);
    let told = json(&summary);
    let bars = told["timeline"]["bars"].as_array().unwrap();
    assert!((2..=BARS_MAX).contains(&bars.len()), "{}", bars.len());
    assert_eq!(bars.iter().map(|it| it["events"].as_u64().unwrap()).sum::<u64>(), 20_002);
    assert_eq!(
        (told["first"].as_str().unwrap(), told["last"].as_str().unwrap()),
        ("-9999-01-02T01:59:59.000000Z", "9999-12-30T22:00:00.999999Z")
    );
}

#[test]
fn gaps_are_told_to_the_second() {
    let mut summary = Summary::default();
    for time in [
        "2019-03-01T10:00:00Z",
        "2019-03-01T10:09:59Z",
        "2019-03-01T14:21:59.5Z",
        "2019-03-01T14:22:00Z",
    ] {
        summary.merge(by("alice", &[], at(time)));
    }
    let told = json(&summary);
    let gap = serde_json::json!({"from": "2019-03-01T10:09:59.000000Z", "to": "2019-03-01T14:21:59.500000Z", "seconds": 15_120});
    assert_eq!((&told["gaps"], &told["more"]["gaps"]), (&serde_json::json!([gap]), &0.into()));
    assert!(summary.told(SECOND).text(&[]).contains(
        "\nno events   4 h 12 min from 2019-03-01T10:09:59.000000Z to 2019-03-01T14:21:59.500000Z\n"
    ));

    // Many: the longest.
    let mut summary = Summary::default();
    let mut time = 0;
    for number in 0..30 {
        summary.merge(by("alice", &[], second(time)));
        time += 1_000 + number * 60;
    }
    let told = json(&summary);
    let gaps: Vec<_> =
        told["gaps"].as_array().unwrap().iter().map(|it| it["seconds"].as_i64().unwrap()).collect();
    assert_eq!((gaps.len(), &told["more"]["gaps"]), (GAPS_TOLD_MAX, &24.into()));
    assert_eq!((gaps[0], gaps[4]), (1_000 + 28 * 60, 1_000 + 24 * 60));
}

#[test]
fn people_read_rows() {
    let mut summary =
        by("alice", &[raised("Secret read", Level::High)], at("2019-03-01T10:00:00Z"));
    summary.document(Some("logstash-2019.03.01"));
    summary.event(&Event {
        index: Some("logstash-2019.03.01"),
        alerts: &[raised("Secret read", Level::High)],
        ..Event::default()
    });
    summary.unreadable("no _source", || "logstash-2019.03.01/x".into());
    summary.unreadable("not JSON", || "logstash-2019.03.01/y\u{1b}[2J".into());
    let expected = "\
read        1 document
events      2 (2 events/s)
from        2019-03-01T10:00:00.000000Z
to          2019-03-01T10:00:00.000000Z
unreadable  2, the first: logstash-2019.03.01/x: no _source
                 1  no _source: logstash-2019.03.01/x
                 1  not JSON: logstash-2019.03.01/y\u{fffd}[2J
matched     0 events
alerts      2: 2 high
rules            2  high      Secret read
users            1 on 1 events  alice
indices          1 on 1 documents  logstash-2019.03.01
";
    assert_eq!(summary.told(SECOND).text(&[("read", "1 document".into())]), expected);
}

#[test]
fn every_member_of_the_json_is_documented() {
    let told = json(&by("alice", &[raised("r", Level::Low)], at("2019-03-01T10:00:00Z")));
    for name in told.as_object().unwrap().keys() {
        let words = || Told::JSON.split(|it: char| !it.is_alphanumeric() && it != '_');
        assert!(words().any(|it| it == name), "{name}");
    }
}

#[test]
fn terminals_are_safe() {
    assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}d\u{202e}é"), "a�[2Jb�c�d�é");
}

#[test]
fn times_are_told_in_two_units() {
    for (seconds, text) in [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_661, "1 h 1 min"),
        (86_460, "1 d"),
        (90_000, "1 d 1 h"),
        (7 * 86_400, "7 d"),
    ] {
        assert_eq!(text::long(seconds), text);
    }
}
