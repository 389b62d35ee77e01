use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::template::{Kind, Piece, Rule};

/// Longest value that is shown (characters).
const SHOWN_CHARS_MAX: usize = 60;

/// What a template can be put with. Engines answer more, which they do not take: `created_date_millis` (Elasticsearch
/// 9.4.3).
const PUT_MEMBERS: [&str; 10] = [
    "_meta",
    "allow_auto_create",
    "composed_of",
    "data_stream",
    "deprecated",
    "ignore_missing_component_templates",
    "index_patterns",
    "priority",
    "template",
    "version",
];

/// What has to be done with a piece.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// What it is about.
    pub(super) piece: Piece,
    /// How what is there compares.
    pub(super) state: State,
    /// Where it differs: `path: there → here`.
    pub(super) differences: Vec<String>,
    /// What is sent: path with parameters, and body. `None`: nothing.
    pub(super) put: Option<(String, Value)>,
}

/// How what is there compares with what has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Missing,
    /// It is of this version, which is older than ours.
    Older(u64),
    /// It is of this version, which is newer than ours, and stays.
    Newer(u64),
    /// It is of our version, or of none, and not the same.
    Different,
    /// Nothing is to be done.
    Equal,
    /// It could not be read, for this reason.
    Unknown(String),
}

impl State {
    /// For people.
    #[must_use]
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Older(_) => "older",
            Self::Newer(_) => "newer",
            Self::Different => "different",
            Self::Equal => "equal",
            Self::Unknown(_) => "unknown",
        }
    }
}

impl Step {
    /// For a piece that could not be compared.
    #[must_use]
    pub(super) fn unknown(piece: Piece, reason: String) -> Self {
        Self { piece, state: State::Unknown(reason), differences: Vec::new(), put: None }
    }

    /// Compares a piece with the answer that has it, or with nothing.
    #[must_use]
    pub(super) fn new(piece: Piece, answer: Option<&Value>) -> Self {
        let found = answer.and_then(|it| found(piece.kind, &piece.name, it));
        let mut step = Self { piece, state: State::Missing, differences: Vec::new(), put: None };
        let path = step.piece.kind.path(&step.piece.name);
        let Some(found) = found else {
            step.put = Some((path, step.piece.body.clone()));
            return step;
        };
        if step.piece.rule != Rule::Absent {
            let (there, here) =
                (plain(step.piece.kind, &found), plain(step.piece.kind, &step.piece.body));
            let is_whole = step.piece.rule == Rule::Whole;
            differ(&there, &here, is_whole, &mut String::new(), &mut step.differences);
        }
        step.state = match (version(&found), version(&step.piece.body)) {
            _ if step.differences.is_empty() => State::Equal,
            (there, Some(here)) if there.unwrap_or(0) < here => State::Older(there.unwrap_or(0)),
            (Some(there), Some(here)) if there > here => State::Newer(there),
            _ => State::Different,
        };
        if matches!(step.state, State::Older(_) | State::Different) {
            step.put = Some((path + &condition(step.piece.kind, answer), sent(&step.piece, found)));
        }
        step
    }
}

/// What of the answer is the piece.
fn found(kind: Kind, name: &str, answer: &Value) -> Option<Value> {
    let listed = |list: &str, member: &str| {
        let list = answer.get(list)?.as_array()?;
        let is_it = |it: &&Value| it.get("name").and_then(Value::as_str) == Some(name);
        let mut found = list.iter().find(is_it)?.get(member)?.clone();
        if let (true, Some(members)) = (kind != Kind::StreamLifecycle, found.as_object_mut()) {
            members.retain(|name, _| PUT_MEMBERS.contains(&name.as_str()));
        }
        Some(found)
    };
    let policy = |it: &Value| Value::from_iter([("policy".to_owned(), it.clone())]);
    match kind {
        Kind::Component => listed("component_templates", "component_template"),
        Kind::Index => listed("index_templates", "index_template"),
        Kind::StreamLifecycle => listed("data_streams", "lifecycle"),
        Kind::Ilm => answer.get(name)?.get("policy").map(policy),
        Kind::Ism => answer.get("policy").map(policy),
    }
}

/// The parameters that let an update of an ISM policy pass only if nobody else changed it: it is refused without them
/// (OpenSearch, `RestIndexPolicyAction`).
fn condition(kind: Kind, answer: Option<&Value>) -> String {
    let number = |name: &str| answer.and_then(|it| it.get(name)).and_then(Value::as_u64);
    match (kind, number("_seq_no"), number("_primary_term")) {
        (Kind::Ism, Some(seq_no), Some(term)) => {
            format!("?if_seq_no={seq_no}&if_primary_term={term}")
        }
        _ => String::new(),
    }
}

/// What is sent, where something is there. What stays can be sent back only where nothing was added to it.
fn sent(piece: &Piece, found: Value) -> Value {
    match (piece.rule, piece.kind) {
        (Rule::Members, Kind::Component | Kind::Ilm) => merged(found, &piece.body),
        _ => piece.body.clone(),
    }
}

fn merged(mut there: Value, here: &Value) -> Value {
    match (there.as_object_mut(), here.as_object()) {
        (Some(members), Some(ours)) => {
            for (name, value) in ours {
                let old = members.remove(name).unwrap_or_default();
                members.insert(name.clone(), merged(old, value));
            }
            there
        }
        _ => here.clone(),
    }
}

/// Ours; of what was put by hand before there was one, the template's own.
fn version(body: &Value) -> Option<u64> {
    body.pointer("/_meta/version").or_else(|| body.get("version"))?.as_u64()
}

/// The form in which both sides are compared: engines write settings in one way of many, numbers and booleans as text,
/// and defaults where nothing was said (seen with Elasticsearch 7.17.29, 8.19.21 and OpenSearch 3.6.0).
fn plain(kind: Kind, body: &Value) -> Value {
    let mut body = as_text(body);
    let Some(members) = body.as_object_mut() else { return body };
    match kind {
        Kind::Component => {
            if let Some(template) = members.get_mut("template").and_then(Value::as_object_mut) {
                plain_template(template);
            }
        }
        Kind::Index => {
            // Each engine says more here: that there is one is all.
            if let Some(stream) = members.get_mut("data_stream") {
                *stream = Value::Object(Map::new());
            }
            if members.get("template").and_then(Value::as_object).is_some_and(Map::is_empty) {
                members.remove("template");
            }
        }
        Kind::Ilm | Kind::Ism | Kind::StreamLifecycle => (),
    }
    body
}

fn plain_template(template: &mut Map<String, Value>) {
    if let Some(settings) = template.remove("settings") {
        let mut flat = Map::new();
        flatten(&settings, "", &mut flat);
        template.insert("settings".into(), Value::Object(flat));
    }
    // Elasticsearch 7 puts mappings below the name of the one type.
    if let Some(mappings) = template.get_mut("mappings")
        && let Some(inner) = mappings.get_mut("_doc").map(Value::take)
    {
        *mappings = inner;
    }
    if let Some(lifecycle) = template.get_mut("lifecycle").and_then(Value::as_object_mut)
        && lifecycle.get("enabled").and_then(Value::as_str) == Some("true")
    {
        lifecycle.remove("enabled");
    }
    template.retain(|_, it| it.as_object().is_none_or(|it| !it.is_empty()));
}

fn flatten(value: &Value, path: &str, out: &mut Map<String, Value>) {
    match value.as_object() {
        Some(members) => {
            for (name, value) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(value, &path, out);
            }
        }
        None => {
            let prefix = if path.starts_with("index.") { "" } else { "index." };
            out.insert(format!("{prefix}{path}"), value.clone());
        }
    }
}

fn as_text(value: &Value) -> Value {
    match value {
        Value::Bool(it) => Value::String(it.to_string()),
        Value::Number(it) => Value::String(it.to_string()),
        Value::Array(all) => all.iter().map(as_text).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), as_text(value))).collect()
        }
        Value::Null | Value::String(_) => value.clone(),
    }
}

/// Notes where `there` is not `here`; with `is_whole`, also where it has more.
fn differ(there: &Value, here: &Value, is_whole: bool, path: &mut String, out: &mut Vec<String>) {
    let len = path.len();
    match (there, here) {
        (Value::Object(there), Value::Object(here)) => {
            let more = there.keys().filter(|it| is_whole && !here.contains_key(*it));
            for name in here.keys().chain(more) {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
                match (there.get(name), here.get(name)) {
                    (Some(there), Some(here)) => differ(there, here, is_whole, path, out),
                    (there, here) => note(there, here, path, out),
                }
                path.truncate(len);
            }
        }
        (Value::Array(there), Value::Array(here)) if there.len() == here.len() => {
            for (number, (there, here)) in there.iter().zip(here).enumerate() {
                // Cannot fail: it is a String.
                write!(path, "[{number}]").ok();
                differ(there, here, is_whole, path, out);
                path.truncate(len);
            }
        }
        _ if there == here => (),
        _ => note(Some(there), Some(here), path, out),
    }
}

fn note(there: Option<&Value>, here: Option<&Value>, path: &str, out: &mut Vec<String>) {
    let shown = |it: Option<&Value>| match it {
        None => "nothing".to_owned(),
        Some(Value::String(text)) => shortened(text),
        Some(value) => shortened(&value.to_string()),
    };
    out.push(format!("{path}: {} → {}", shown(there), shown(here)));
}

fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn piece(kind: Kind, body: Value, rule: Rule) -> Piece {
        Piece { kind, name: "x".into(), body, rule }
    }

    fn component(body: &Value) -> Value {
        json!({ "component_templates": [{ "name": "x", "component_template": body }] })
    }

    #[test]
    fn what_is_there_is_missing_older_newer_different_or_equal() {
        let body = |version: u64, kind: &str| {
            json!({
                "template": { "mappings": { "properties": { "a": { "type": kind } } } },
                "_meta": { "version": version }
            })
        };
        let wanted = piece(Kind::Component, body(2, "keyword"), Rule::Whole);
        for (there, state, is_put) in [
            (None, State::Missing, true),
            (Some(body(1, "keyword")), State::Older(1), true),
            (Some(json!({ "template": {} })), State::Older(0), true),
            (Some(json!({ "template": {}, "version": 1 })), State::Older(1), true),
            (Some(body(3, "keyword")), State::Newer(3), false),
            (Some(body(2, "text")), State::Different, true),
            (Some(body(2, "keyword")), State::Equal, false),
        ] {
            let answer = there.as_ref().map(component);
            let step = Step::new(wanted.clone(), answer.as_ref());
            assert_eq!((&step.state, step.put.is_some()), (&state, is_put), "{there:?}");
            if let Some((path, sent)) = step.put {
                assert_eq!((path.as_str(), sent), ("/_component_template/x", body(2, "keyword")));
            }
        }
        let step = Step::new(wanted, Some(&component(&body(2, "text"))));
        assert_eq!(step.differences, ["template.mappings.properties.a.type: text → keyword"]);
    }

    #[test]
    fn ways_to_write_the_same_are_equal() {
        let same = |kind, there: Value, here: Value| {
            let answer = match kind {
                Kind::Component => component(&there),
                _ => json!({ "index_templates": [{ "name": "x", "index_template": there }] }),
            };
            let step = Step::new(piece(kind, here, Rule::Whole), Some(&answer));
            assert_eq!(step.differences, Vec::<String>::new());
        };
        let settings = |it: Value| json!({ "template": { "settings": it } });
        for there in [
            json!({ "index": { "number_of_shards": "2", "mapping": { "ignore_malformed": "true" } } }),
            json!({ "number_of_shards": 2, "mapping.ignore_malformed": true }),
            json!({ "index.number_of_shards": "2", "index.mapping.ignore_malformed": "true" }),
        ] {
            let here = json!({ "index": { "mapping": { "ignore_malformed": true }, "number_of_shards": 2 } });
            same(Kind::Component, settings(there), settings(here));
        }
        let lifecycle = |it: Value| json!({ "template": { "lifecycle": it } });
        same(
            Kind::Component,
            lifecycle(json!({ "enabled": true, "data_retention": "90d" })),
            lifecycle(json!({ "data_retention": "90d" })),
        );
        same(
            Kind::Component,
            json!({ "template": { "mappings": { "_doc": { "dynamic": "false" } } } }),
            json!({ "template": { "mappings": { "dynamic": false } } }),
        );
        for stream in
            [json!({ "hidden": false }), json!({ "timestamp_field": { "name": "@timestamp" } })]
        {
            let there = json!({ "data_stream": stream, "priority": 250, "template": {} });
            same(Kind::Index, there, json!({ "priority": 250, "data_stream": {} }));
        }
    }

    #[test]
    fn what_is_more_is_a_difference_only_in_what_is_ours() {
        let there = component(&json!({ "template": { "settings": { "index": {
            "number_of_shards": "3", "number_of_replicas": "1"
        } } } }));
        let here =
            json!({ "template": { "settings": { "index": { "number_of_replicas": "0" } } } });
        let step = Step::new(piece(Kind::Component, here.clone(), Rule::Members), Some(&there));
        assert_eq!(step.differences, ["template.settings.index.number_of_replicas: 1 → 0"]);
        let (_, sent) = step.put.unwrap();
        assert_eq!(sent["created_date_millis"], Value::Null);
        let index = &sent["template"]["settings"]["index"];
        assert_eq!(index, &json!({ "number_of_shards": "3", "number_of_replicas": "0" }));
        let step = Step::new(piece(Kind::Component, here.clone(), Rule::Whole), Some(&there));
        assert_eq!(step.differences.len(), 2, "{:?}", step.differences);
        let step = Step::new(piece(Kind::Component, here, Rule::Absent), Some(&there));
        assert_eq!((step.state, step.put), (State::Equal, None));
    }

    #[test]
    fn policies_keep_what_was_added() {
        let body = |age: &str| json!({ "policy": { "phases": { "delete": { "min_age": age } } } });
        let there = json!({ "x": { "version": 4, "policy": { "phases": {
            "warm": { "min_age": "1d" }, "delete": { "min_age": "30d", "actions": {} }
        } } } });
        let step = Step::new(piece(Kind::Ilm, body("30d"), Rule::Members), Some(&there));
        assert_eq!(step.state, State::Equal);
        let step = Step::new(piece(Kind::Ilm, body("90d"), Rule::Members), Some(&there));
        let (path, sent) = step.put.unwrap();
        assert_eq!(path, "/_ilm/policy/x");
        let phases = &sent["policy"]["phases"];
        assert_eq!(phases["warm"]["min_age"], "1d");
        assert_eq!(phases["delete"]["min_age"], "90d");

        let there = json!({ "_id": "x", "_seq_no": 7, "_primary_term": 1, "policy": {
            "policy_id": "x", "phases": { "delete": { "min_age": "30d" } }
        } });
        let step = Step::new(piece(Kind::Ism, body("90d"), Rule::Members), Some(&there));
        let path = "/_plugins/_ism/policies/x?if_seq_no=7&if_primary_term=1";
        assert_eq!(step.put, Some((path.into(), body("90d"))));
    }

    #[test]
    fn lifecycles_of_streams() {
        let there =
            |lifecycle: Value| json!({ "data_streams": [{ "name": "x", "lifecycle": lifecycle }] });
        let wanted =
            piece(Kind::StreamLifecycle, json!({ "data_retention": "90d" }), Rule::Members);
        for (answer, state) in [
            (json!({ "data_streams": [{ "name": "x" }] }), State::Missing),
            (there(json!({ "enabled": true, "data_retention": "90d" })), State::Equal),
            (there(json!({ "enabled": true, "data_retention": "30d" })), State::Different),
        ] {
            assert_eq!(Step::new(wanted.clone(), Some(&answer)).state, state);
        }
    }

    #[test]
    fn odd_answers_are_nothing_that_is_there() {
        for kind in [Kind::Component, Kind::Index, Kind::Ilm, Kind::Ism, Kind::StreamLifecycle] {
            for answer in [json!(null), json!([]), json!("x"), json!({ "component_templates": 7 })]
            {
                let step = Step::new(piece(kind, json!({}), Rule::Whole), Some(&answer));
                assert_eq!(step.state, State::Missing, "{answer}");
            }
        }
    }
}
