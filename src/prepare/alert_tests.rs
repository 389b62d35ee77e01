//! Every event that hits a rule is told by an alert that is stored, or counted in a summary that is, whatever fails.

use std::collections::HashSet;

use proptest::{collection::vec, prelude::*, test_runner::Config};
use serde_json::{Value, json};

use super::{tests, tests::policy, *};
use crate::{
    alerts::{Fits, Glob, Rate, Sender, Suppress},
    rules::{self, Template},
};

const RULE: &str = "title: T\nid: i\nlevel: medium\nlogsource: {product: kubernetes, service: audit}\n\
    detection: {a: {verb: get}, condition: a}";

/// An event: its user, and when it happens (seconds).
type Event = (u8, u8);

/// What an output does with a request: a number for each slot.
type Mood = Vec<u8>;

/// Elasticsearch, and what is stored there.
#[derive(Default)]
struct Store {
    ids: HashSet<String>,
    /// The auditIDs of alerts.
    told: HashSet<usize>,
    /// What summaries tell.
    summed: u64,
}

impl Store {
    /// The statuses for the slots of a bulk body.
    fn bulk(&mut self, lines: &str, mood: &Mood) -> Vec<u16> {
        let lines: Vec<Value> = lines.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        let slots = lines.chunks(2).enumerate();
        slots
            .map(|(slot, it)| {
                let (id, document) = (it[0]["create"]["_id"].as_str().unwrap(), &it[1]);
                let mood = mood.get(slot % mood.len().max(1)).copied().unwrap_or(0);
                let is_alert = document["event"]["kind"] == "alert";
                match mood {
                    0 => return 429,
                    1 => return 503,
                    2 if is_alert => return 400,
                    _ => (),
                }
                if !self.ids.insert(id.to_owned()) {
                    return 409;
                }
                if let Some(count) = document["k8scop"]["held"]["count"].as_u64() {
                    self.summed += count;
                } else if is_alert {
                    let event = document["kubernetes"]["audit"]["auditID"].as_str().unwrap();
                    self.told.insert(event.parse().unwrap());
                }
                // It is stored, and nobody hears of it.
                if mood == 3 { 503 } else { 201 }
            })
            .collect()
    }
}

/// A request on its way: its events, and what was prepared.
struct Request {
    events: Vec<usize>,
    prepared: Prepared,
}

fn request(preparer: &Preparer, all: &[Event], events: Vec<usize>) -> Request {
    let line = |place: &usize| {
        let (user, at) = all[*place];
        let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": place.to_string(), "verb": "get",
            "stage": "ResponseComplete", "requestURI": "/", "user": {"username": format!("u{}", user % 4)},
            "requestReceivedTimestamp": "2026-03-01T10:00:00.000001Z",
            "stageTimestamp": format!("2026-03-01T10:{:02}:{:02}.000001Z", at / 60, at % 60)});
        format!("{{\"create\":{{\"_index\":\"logs-a\"}}}}\n{event}\n")
    };
    let body: String = events.iter().map(line).collect();
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let prepared = preparer.prepare(body.as_bytes(), &Defaults::default(), now).unwrap();
    Request { events, prepared }
}

fn check(all: &[Event], moods: &[Mood], sizes: &[u8], for_s: u32, rate: Rate) {
    let suppress = Suppress {
        fits: Fits { rules: vec![Glob::new("T")], ..Fits::default() },
        by: vec!["user.username".into()],
        fields: vec![Template::parse("{user.username}").unwrap()],
        for_s,
        max_level: Level::Critical,
    };
    let alerting = alerts::Policy { suppress: vec![suppress], rate, ..alerts::Policy::default() };
    let rules = vec![rules::parse("t.yml", RULE).unwrap()];
    let preparer = Preparer::new(Policy { alerting, ..policy() }, Classifier::new(rules).unwrap());
    let (mut store, mut now_ms) = (Store::default(), 0_i64);
    let mut open: Vec<usize> = (0..all.len()).collect();
    let (mut held, mut excused, mut counted) = (HashSet::new(), HashSet::new(), 0);
    let calm = vec![9];
    for round in 0.. {
        // In the end all is well, or it would never end.
        let mood = moods.get(round).unwrap_or(&calm);
        let size = usize::from(sizes[round % sizes.len()] % 9 + 1);
        // Two requests at once: neither knows of the other.
        let requests: Vec<_> = (0..2)
            .map(|_| open.drain(..size.min(open.len())).collect::<Vec<_>>())
            .map(|events| request(&preparer, all, events))
            .collect();
        for Request { events, prepared } in requests {
            let slots: Vec<_> = (0..prepared.batch.slot_count()).collect();
            let body = prepared.batch.body_of(&slots);
            let statuses = store.bulk(std::str::from_utf8(&body).unwrap(), mood);
            let answers = tests::answers(&statuses);
            let news = preparer.ledger().settle(
                &prepared.outcome(&answers),
                prepared.classifier.rules(),
                &Sender::default(),
                now_ms,
            );
            counted += news.iter().map(|it| it.count).sum::<u64>();
            let (reply, _) = prepared.reply(&answers, &[], 1, &|_| String::new());
            let reply: Value = serde_json::from_str(&reply).unwrap();
            for (place, event) in events.into_iter().enumerate() {
                let of_event = prepared.plans[place].fate.sent().iter().flat_map(|it| &it.held);
                if of_event.clone().any(|it| prepared.waits_for(it, &answers).is_none()) {
                    held.insert(event);
                }
                match reply["items"][place]["create"]["status"].as_u64().unwrap() {
                    200..300 => {
                        let is_known = store.told.contains(&event) || held.contains(&event);
                        assert!(is_known, "{event} is done with, and nobody heard of it");
                        // Its shipper did not hear that.
                        if mood.first() == Some(&4) {
                            open.push(event);
                        }
                    }
                    429 | 503 => open.push(event),
                    // Its shipper heard that the alert is refused for good.
                    _ => {
                        excused.insert(event);
                    }
                }
            }
        }
        now_ms += i64::from(sizes[(round + 1) % sizes.len()]) * 500;
        let is_over = open.is_empty() && round >= moods.len();
        let until = if is_over { i64::MAX } else { now_ms };
        for summary in preparer.ledger().due(until, 3) {
            let mut lines = String::new();
            summary.write("2026-03-01T12:00:00Z".parse().unwrap(), &mut lines);
            if !matches!(store.bulk(&lines, mood)[0], 201 | 409) {
                preparer.ledger().put_back(summary, now_ms + 1000);
            }
        }
        if is_over && preparer.ledger().sizes().2 == 0 {
            break;
        }
    }
    for event in 0..all.len() {
        let is_known = store.told.contains(&event) || held.contains(&event);
        assert!(is_known || excused.contains(&event), "{event} is lost");
    }
    assert_eq!(store.summed, counted, "what is counted is told");
    let (most, least) = (held.len() as u64, held.difference(&store.told).count() as u64);
    assert!((least..=most).contains(&counted), "{counted} counted, of {least} to {most}");
}

proptest! {
    #![proptest_config(Config { cases: 300, failure_persistence: None, ..Config::default() })]

    #[test]
    fn nothing_is_lost_by_suppression_whatever_fails(
        all in vec((any::<u8>(), any::<u8>()), 1..60),
        moods in vec(vec(0_u8..10, 1..8), 0..12),
        sizes in vec(any::<u8>(), 2..6),
        for_s in 1_u32..200,
        (per_rule, total) in (1_u32..6, 1_u32..9),
    ) {
        check(&all, &moods, &sizes, for_s, Rate { per_rule, total, max_level: Level::Critical });
    }
}

/// An alert that may be stored later keeps the items of those that were held for it, so that they come again with it.
#[test]
fn what_is_held_waits_for_the_alert_that_is_told_for_it() {
    let suppress = Suppress {
        fits: Fits::default(),
        by: Vec::new(),
        fields: Vec::new(),
        for_s: 60,
        max_level: Level::Medium,
    };
    let alerting = alerts::Policy { suppress: vec![suppress], ..alerts::Policy::default() };
    let rules = vec![rules::parse("t.yml", RULE).unwrap()];
    let preparer = Preparer::new(Policy { alerting, ..policy() }, Classifier::new(rules).unwrap());
    let all = [(0, 1); 10];
    for (first, alert, expected, counted) in
        [(0, 503, [503, 503, 503], 0), (3, 400, [400, 201, 201], 2), (6, 201, [201, 201, 201], 2)]
    {
        let Request { prepared, .. } = request(&preparer, &all, vec![first, first + 1, first + 2]);
        // None was told before: that the first tries failed changes nothing for others.
        assert_eq!(prepared.batch.slot_count(), 4, "an alert beside three events");
        let answers = tests::answers(&[201, alert, 201, 201]);
        let (reply, _) = prepared.reply(&answers, &[], 1, &|_| "T".into());
        let reply: Value = serde_json::from_str(&reply).unwrap();
        let items = reply["items"].as_array().unwrap();
        let statuses: Vec<_> = items.iter().map(|it| it["create"]["status"].as_u64()).collect();
        assert_eq!(statuses, expected.map(Some));
        let outcome = prepared.outcome(&answers);
        let news =
            preparer.ledger().settle(&outcome, prepared.classifier.rules(), &Sender::default(), 0);
        assert_eq!(news.iter().map(|it| it.count).sum::<u64>(), counted);
    }
    let Request { prepared, .. } = request(&preparer, &all, vec![9]);
    assert_eq!(prepared.batch.slot_count(), 1, "now one is told");
}
