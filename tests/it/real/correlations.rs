//! The built-in correlations against the same hour and attack as [`super::attack`], in the order of their events.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use k8scop::{
    classify::Classifier,
    config,
    correlate::{Engine, Event, Evidence, Key, Limits},
    event::AuditEvent,
    json,
    rules::{Level, correlation::Kind},
};

use super::{
    attack::{Line, unpacked},
    parts::{root, tell},
};

const DAY_US: i64 = 24 * 3600 * 1_000_000;
/// Longest time that built-in correlations learn.
const LEARNT_US: i64 = 8 * DAY_US;

/// One alert of a correlation.
#[derive(Debug)]
#[expect(dead_code, reason = "what a failed test tells")]
struct Told {
    title: String,
    level: Level,
    is_first_seen: bool,
    reason: String,
}

struct Cluster {
    classifier: Classifier,
    engine: Engine,
    count: usize,
    told: Vec<Told>,
}

impl Cluster {
    fn new() -> Self {
        let built_in = config::built_in_rules().unwrap();
        let engine = Engine::new(Arc::clone(&built_in.plan), Limits::default());
        let classifier = Classifier::new(built_in.rules).unwrap().with_plan(built_in.plan);
        Self { classifier, engine, count: 0, told: Vec::new() }
    }

    /// Takes events as if they had happened so much later, and lets time go on to the last of them.
    fn see(&mut self, events: &[String], later_us: i64) {
        let mut newest_us = 0;
        for text in events {
            let event = AuditEvent::new(text, json::members(text).collect());
            let time: Timestamp = event.stage_time.as_deref().unwrap().parse().unwrap();
            let at_us = time.as_microsecond() + later_us;
            let hits = self.classifier.classify(&event).hits;
            self.count += 1;
            self.engine.observe(Event {
                at_us,
                key: Key::of(&[&self.count.to_string()]),
                cluster: "".into(),
                inputs: self.classifier.inputs(&event, &hits),
                evidence: Evidence::default(),
            });
            newest_us = newest_us.max(at_us);
            self.go_on(at_us);
        }
        // What was held is taken. The time is not over: a log that ends is no log that was stopped.
        self.go_on(newest_us + Limits::default().late_max_us);
    }

    fn go_on(&mut self, now_us: i64) {
        self.engine.passed("", now_us, now_us);
        self.engine.advance(now_us);
        let plan = self.engine.plan();
        for fired in self.engine.fired() {
            let mut all = plan.correlations().iter();
            let it = all.find(|it| it.correlation.id == *fired.correlation).unwrap();
            self.told.push(Told {
                title: it.correlation.title.clone(),
                level: it.level,
                is_first_seen: matches!(it.correlation.kind, Kind::FirstSeen(_)),
                reason: fired.reason(it),
            });
        }
        self.engine.stored(self.engine.fired().len());
    }

    fn titles(&self) -> BTreeMap<&str, usize> {
        let mut titles = BTreeMap::new();
        for told in &self.told {
            *titles.entry(told.title.as_str()).or_default() += 1;
        }
        titles
    }
}

fn healthy() -> Vec<String> {
    let text = unpacked(&folder().join("healthy.ndjson.zst"));
    text.lines().map(str::to_owned).collect()
}

fn attack() -> Vec<String> {
    let text = unpacked(&folder().join("attack.ndjson.zst"));
    let event = |line| serde_json::from_str::<Line>(line).unwrap().event.get().to_owned();
    text.lines().map(event).collect()
}

fn folder() -> PathBuf {
    root().join("tests/data/attack")
}

/// What is to be told of the attack.
const MEANT: &[&str] = &[
    "API searched without credentials",
    "Access to secrets refused again and again",
    "Attack of several steps",
    "Certificate requested and approved by the same user",
    "Command run in a pod that has rights on its node",
    "Many kinds of objects listed at once",
    "Many kinds of objects tried and refused",
    "Many objects deleted by a person",
    "Own rights asked for again and again",
    "Person at an address that is new for them",
    "Person with a client that is new for them",
    "Pod made by hand with an image that the cluster never ran",
    "Pod made, used and deleted by one person",
    "Request refused to a client that is new for its user",
    "Requests of a user refused again and again",
    "Rights changed, and a workload started by the same user",
    "Rights made, given and used to read secrets",
    "Several secrets read one by one",
    "Workload does something powerful for the first time",
];

#[test]
fn an_ordinary_hour_makes_no_loud_alert() {
    let mut cluster = Cluster::new();
    cluster.see(&healthy(), 0);
    tell(format_args!("healthy: {:?}", cluster.titles()));
    let loud: Vec<_> = cluster.told.iter().filter(|it| it.level >= Level::Medium).collect();
    assert!(loud.is_empty(), "nobody attacks here: {loud:#?}");
    assert!(cluster.told.len() <= 3, "this is a storm: {:#?}", cluster.told);
}

#[test]
fn what_is_known_is_not_new() {
    let healthy = healthy();
    let mut cluster = Cluster::new();
    cluster.see(&healthy, 0);
    cluster.see(&healthy, LEARNT_US);
    let new: Vec<_> = cluster.told.iter().filter(|it| it.is_first_seen).collect();
    assert!(!healthy.is_empty() && new.is_empty(), "{new:#?}");
}

#[test]
fn an_attack_is_told_as_a_whole() {
    let mut cluster = Cluster::new();
    cluster.see(&healthy(), 0);
    cluster.told.clear();
    cluster.see(&attack(), LEARNT_US);
    let titles = cluster.titles();
    tell(format_args!("attack: {titles:?}"));
    let missing: Vec<_> = MEANT.iter().filter(|it| !titles.contains_key(**it)).collect();
    assert!(missing.is_empty(), "not told: {missing:#?}; told: {:#?}", cluster.told);
}

/// What alerts as medium or higher counts for `Attack of several steps`.
#[test]
fn every_loud_rule_is_a_step_of_an_attack() {
    let built_in = config::built_in_rules().unwrap();
    let parts: BTreeMap<&str, BTreeSet<&str>> = built_in
        .plan
        .correlations()
        .iter()
        .filter_map(|it| {
            let tactic = it.correlation.name.as_deref()?.strip_prefix("tactic_")?;
            Some((tactic, it.correlation.rules.iter().map(String::as_str).collect()))
        })
        .collect();
    let is_of_user = |it: &str| it == "user.username";
    let correlations = built_in.plan.correlations().iter().filter(|it| {
        it.level >= Level::Medium
            && it.correlation.group_by.iter().any(|it| is_of_user(&it.name))
            && !it.correlation.rules.iter().any(|it| it.starts_with("tactic_"))
    });
    let correlations = correlations.map(|it| &it.correlation);
    let rules = built_in.rules.iter().filter(|it| it.level >= Level::Medium);
    let all = rules
        .map(|it| (&it.file, &it.id, &it.title))
        .chain(correlations.map(|it| (&it.file, &it.id, &it.title)));
    let missing: Vec<_> = all
        .filter(|(file, id, _)| {
            let tactic = Path::new(file).parent().and_then(Path::file_name).unwrap();
            let part = parts.get(tactic.to_str().unwrap());
            !part.is_some_and(|it| it.contains(id.as_str()))
        })
        .map(|(file, id, title)| format!("{file}:     - {id} # {title}"))
        .collect();
    assert!(
        missing.is_empty(),
        "to be put into lateral_movement/several_tactics.yml, under the tactic of their folder:\n{}",
        missing.join("\n")
    );
}
