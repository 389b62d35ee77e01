//! The built-in rules against a real control plane: an hour of ordinary work, in which they are to be silent, and an attack
//! typed with a real kubectl, of which they are to find every step. `tests/data/attack/SOURCE.md` says what it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
};

use k8scop::{classify::Classifier, config, event::AuditEvent, json, rules::Level};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::parts::{RULES_CAPTURE, optional, root, tell};
use crate::harness::data;

/// From this level on somebody is to look: nothing of it in an ordinary hour.
const LOUD: Level = Level::Medium;

/// What stands in `expected.tsv` for a step that no rule is known for.
const NONE: &str = "-";

/// A line of `attack.ndjson`.
#[derive(Deserialize)]
pub(super) struct Line {
    step: String,
    pub(super) event: Box<RawValue>,
}

/// The built-in rules, as the program reads them.
static CLASSIFIER: LazyLock<Classifier> = LazyLock::new(|| {
    let built_in = config::built_in_rules().unwrap();
    Classifier::new(built_in.rules).unwrap().with_plan(built_in.plan)
});

/// The titles and levels of the rules that an event hits.
fn hits(text: &str) -> Vec<(&'static str, Level)> {
    let event = AuditEvent::new(text, json::members(text).collect());
    let rules = CLASSIFIER.classify(&event).hits.into_iter().map(|it| &CLASSIFIER.rules()[it]);
    rules.map(|it| (it.title.as_str(), it.level)).collect()
}

pub fn unpacked(path: &Path) -> String {
    let packed = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8(zstd::decode_all(packed.as_slice()).unwrap()).unwrap()
}

/// The lines of a table without its heading, each in columns.
fn table(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|it| !it.is_empty() && !it.starts_with('#'));
    lines.map(|it| it.split('\t').collect()).collect()
}

/// The rules that each step's events hit. The steps are those of the table, in their order.
fn found(attack: &str, steps: &str) -> Vec<(String, BTreeMap<&'static str, Level>)> {
    let mut found: Vec<(String, BTreeMap<&str, Level>)> = Vec::new();
    for line in attack.lines() {
        let line: Line = serde_json::from_str(line).unwrap();
        if found.last().is_none_or(|(step, _)| *step != line.step) {
            found.push((line.step.clone(), BTreeMap::new()));
        }
        found.last_mut().unwrap().1.extend(hits(line.event.get()));
    }
    let typed: Vec<_> = table(steps).iter().map(|it| it[0].to_owned()).collect();
    assert_eq!(typed, found.iter().map(|it| it.0.clone()).collect::<Vec<_>>());
    assert_eq!(typed.iter().collect::<BTreeSet<_>>().len(), typed.len(), "a step comes twice");
    found
}

/// Every step of an attack hits the rules that are meant for it.
fn check_attack(attack: &str, steps: &str) {
    let found = found(attack, steps);
    let expected_path = root().join("tests/data/attack/expected.tsv");
    let expected = fs::read_to_string(&expected_path).unwrap_or_default();
    let mut meant: BTreeMap<&str, Vec<&str>> = table(&expected)
        .into_iter()
        .map(|it| (it[0], it[1].split("; ").filter(|it| *it != NONE).collect()))
        .collect();

    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let mut text = String::from("# step\trules that are to find it; every one of them must\n");
        for (step, hits) in &found {
            let mut rules = meant.remove(step.as_str()).unwrap_or_default();
            rules.retain(|it| hits.contains_key(it));
            if rules.is_empty() {
                // A proposal, the loudest first: what is not meant for the step is to be taken out by hand.
                rules = hits.keys().copied().collect();
                rules.sort_by_key(|it| std::cmp::Reverse(hits[it]));
            }
            if rules.is_empty() {
                rules.push(NONE);
            }
            text += &format!("{step}\t{}\n", rules.join("; "));
        }
        fs::write(&expected_path, text).unwrap();
        return;
    }

    let (mut wrong, mut levels) = (Vec::new(), BTreeMap::<_, usize>::new());
    for (step, hits) in &found {
        let rules = meant.remove(step.as_str()).unwrap_or_default();
        if rules.is_empty() {
            wrong.push(format!("{step}: no rule stands in expected.tsv"));
        }
        for rule in rules.iter().filter(|it| !hits.contains_key(*it)) {
            wrong.push(format!("{step}: not found by '{rule}', only by {:?}", hits.keys()));
        }
        if let Some(level) = rules.iter().filter_map(|it| hits.get(it)).max() {
            *levels.entry(level.severity()).or_default() += 1;
        }
    }
    wrong.extend(meant.keys().map(|it| format!("{it}: is in expected.tsv and no step")));
    let told = levels.values().sum::<usize>();
    tell(format_args!("attack: {told} of {} steps found, by severity {levels:?}", found.len()));
    assert!(found.len() >= 45, "{} steps", found.len());
    assert!(wrong.is_empty(), "{} of {} steps:\n{}", wrong.len(), found.len(), wrong.join("\n"));
}

/// Nobody is to be woken by ordinary work.
fn check_healthy(healthy: &str) {
    let mut loud: BTreeMap<String, usize> = BTreeMap::new();
    let (mut events, mut quiet) = (0, BTreeMap::<_, usize>::new());
    let mut people = BTreeSet::new();
    for text in healthy.lines() {
        events += 1;
        let event = AuditEvent::new(text, json::members(text).collect());
        let user = event.user_name.as_deref().unwrap_or("nobody").to_owned();
        for (title, level) in hits(text) {
            if level >= LOUD {
                let verb = event.verb.as_deref().unwrap_or_default();
                let line = format!("{} '{title}': {user} {verb} {}", level.name(), event.path());
                *loud.entry(line).or_default() += 1;
            } else {
                *quiet.entry(level.severity()).or_default() += 1;
            }
        }
        people.insert(user);
    }
    let people = people.iter().filter(|it| it.ends_with("@example.com")).count();
    let sum = loud.values().sum::<usize>();
    tell(format_args!(
        "healthy: {events} events, {sum} hits too loud; others by severity {quiet:?}"
    ));
    assert!(events >= 9_000 && people == 4, "{events} events, {people} people: this is no hour");
    assert!(!quiet.is_empty(), "rules that only label see what people do");
    let lines: Vec<_> = loud.iter().map(|(line, count)| format!("{count:>5} of {line}")).collect();
    assert!(loud.is_empty(), "nobody attacks here:\n{}", lines.join("\n"));
}

#[test]
fn every_step_of_an_attack_is_found() {
    let attack = unpacked(&root().join("tests/data/attack/attack.ndjson.zst"));
    check_attack(&attack, &data("attack/steps.tsv"));
}

#[test]
fn an_ordinary_hour_is_silent() {
    check_healthy(&unpacked(&root().join("tests/data/attack/healthy.ndjson.zst")));
}

/// The same with what a real control plane and a real kubectl have just done.
#[test]
fn an_attack_and_an_hour_of_a_fresh_capture() {
    let Some(folder) = optional("an_attack_and_an_hour_of_a_fresh_capture", RULES_CAPTURE) else {
        return;
    };
    let folder = Path::new(&folder);
    let steps = fs::read_to_string(folder.join("steps.tsv")).unwrap();
    check_attack(&unpacked(&folder.join("attack.ndjson.zst")), &steps);
    check_healthy(&unpacked(&folder.join("healthy.ndjson.zst")));
}
