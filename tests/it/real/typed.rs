use std::{collections::BTreeSet, fs, path::Path};

use k8scop::{classify::kubectl, event::AuditEvent, json};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    healthy::healthy,
    parts::{CAPTURE, part, tell},
    stream::kept_story,
};
use crate::harness::data;

/// What only looks. A request that only reads may be told as nothing else, and a write may not be told as this.
const LOOKS: [&str; 14] = [
    "api-resources",
    "auth can-i",
    "auth whoami",
    "cluster-info",
    "describe ",
    "diff ",
    "exec ",
    "get ",
    "logs ",
    "rollout status ",
    "top ",
    "version",
    "wait ",
    "port-forward ",
];

/// What kubectl asks before anything else, if it has not asked for long.
const DISCOVERY: &str = "api-resources";

/// A line of `typed.tsv`: what was typed, the normal form of it, and how the other requests that it makes are told.
struct Typed<'t> {
    typed: &'t str,
    label: Option<&'t str>,
    also: Vec<&'t str>,
}

/// A line of `typed.ndjson`.
#[derive(Deserialize)]
struct Captured {
    typed: String,
    events: Vec<Box<RawValue>>,
}

fn table(text: &str) -> Vec<Typed<'_>> {
    let lines = text.lines().filter(|it| !it.is_empty() && !it.starts_with('#'));
    let typed = lines.map(|line| {
        let mut columns = line.split('\t').skip(1);
        let mut column = || columns.next().unwrap_or_else(|| panic!("{line}: a column is missing"));
        let (typed, label, also) = (column(), column(), column());
        let also = also.split("; ").filter(|it| !it.is_empty()).collect();
        Typed { typed, label: (label != "-").then_some(label), also }
    });
    typed.collect()
}

pub fn check(capture: &str) {
    let text = data("kubectl/typed.tsv");
    let table = table(&text);
    let captured: Vec<Captured> =
        capture.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(
        table.iter().map(|it| it.typed).collect::<Vec<_>>(),
        captured.iter().map(|it| it.typed.as_str()).collect::<Vec<_>>()
    );
    let (mut wrong, mut missed, mut events) = (Vec::new(), Vec::new(), 0);
    for (row, captured) in table.iter().zip(&captured) {
        let mut found = BTreeSet::new();
        for event in &captured.events {
            let event = AuditEvent::new(event.get(), json::members(event.get()).collect());
            events += 1;
            let Some(label) = kubectl(&event) else { continue };
            let verb = event.verb.as_deref().unwrap();
            let looks = LOOKS.iter().any(|it| label.starts_with(it));
            let stream = event.object.subresource.is_some();
            let reads = matches!(verb, "get" | "list" | "watch");
            let known = row.label == Some(&label)
                || label == DISCOVERY
                || row.also.iter().any(|it| match it.strip_suffix('*') {
                    Some(start) => label.starts_with(start),
                    None => label == *it,
                });
            if !known || (reads && !stream && !looks) {
                wrong.push(format!("{}: {verb} {} is told as {label}", row.typed, event.path()));
            }
            found.insert(label);
        }
        if !row.label.is_some_and(|it| found.contains(it)) {
            missed.push(row.typed);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let again = table.len() - missed.len();
    tell(format_args!("typed: {again} of {} commands again, {events} events", table.len()));
    let expected: Vec<_> =
        table.iter().filter(|it| it.label.is_none()).map(|it| it.typed).collect();
    assert_eq!(missed, expected, "these and no others do not come again");
    assert!(again * 100 >= table.len() * 95 && table.len() >= 80);
}

#[test]
fn typed_commands_come_again() {
    check(&data("kubectl/typed.ndjson"));
}

/// The same with what a real kubectl has just typed to a real API server.
#[test]
fn typed_commands_of_a_fresh_capture_come_again() {
    let Some(folder) = part("typed_commands_of_a_fresh_capture_come_again", CAPTURE) else {
        return;
    };
    check(&fs::read_to_string(Path::new(&folder).join("typed.ndjson")).unwrap());
}

/// The story, and a cluster at ordinary work where its events are beside this checkout: who types uses kubectl or
/// curl there, everybody else is a program.
#[test]
fn who_types_nothing_is_told_as_nothing() {
    let mut files = healthy();
    files.push(("story".into(), kept_story()));
    for (name, text) in files {
        let (mut told, mut silent) = (0, 0);
        for line in text.lines() {
            let event = AuditEvent::new(line, json::members(line).collect());
            let agent = event.user_agent.as_deref().unwrap_or_default();
            let label = kubectl(&event);
            if agent.starts_with("kubectl/") || agent.starts_with("curl/") {
                let is_asked_beside = event.path().starts_with("/openapi/");
                assert_eq!(label.is_none(), is_asked_beside, "{line}");
                told += 1;
            } else {
                assert_eq!(label, None, "{line}");
                silent += 1;
            }
        }
        assert!(told > 20 && silent > 5, "{name}");
        tell(format_args!("{name}: {told} events of people, {silent} of programs"));
    }
}
