//! What is answered, without what no two runs have in common, and how it is checked.

use std::{collections::BTreeMap, sync::LazyLock};

use regex::Regex;
use serde_json::{Value, json};

use super::{format::Expect, wire::Raw};

/// Headers that are compared.
const HEADERS: [&str; 10] = [
    "allow",
    "connection",
    "content-encoding",
    "content-type",
    "location",
    "retry-after",
    "warning",
    "www-authenticate",
    "x-elastic-product",
    "x-opaque-id",
];

/// What differs between two runs of the same: times, and what the engine names by itself.
static UNSTEADY: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r#""(took|ingest_took|creation_date)"(\s*:\s*)"?\d+"?"#, r#""$1"${2}0"#),
        (r#"(?m)^((?:ingest_)?took): \d+$"#, "$1: 0"),
        (r#""_id"(\s*:\s*)"[A-Za-z0-9_-]{20}""#, r#""_id"$1"*""#),
        (r#"(?m)^(\s+_id): "[A-Za-z0-9_-]{20}"$"#, r#"$1: "*""#),
        (r#""(index_uuid|uuid)"(\s*:\s*)"[A-Za-z0-9_-]{22}""#, r#""$1"$2"*""#),
        (r#"/[A-Za-z0-9_-]{22}\]"#, "/*]"),
        (r"-\d{4}\.\d{2}\.\d{2}-(\d{6})", "-{date}-$1"),
        (r#"( with id ')[A-Za-z0-9_-]{20}'"#, "$1*'"),
        (r#"(/_doc/)[A-Za-z0-9_-]{20}$"#, "$1*"),
        (r#""(\w+_date(?:_in)?(?:_millis)?)"(\s*:\s*)("[^"]*"|\d+)"#, r#""$1"${2}0"#),
        (r#""stack_trace"(\s*:\s*)"(?:[^"\\]|\\.)*""#, r#""stack_trace"$1"*""#),
    ]
    .into_iter()
    .map(|(pattern, with)| (Regex::new(pattern).unwrap(), with))
    .collect()
});

/// Something that was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<&'static str, String>,
    pub text: String,
    /// The text as JSON, if it is.
    pub body: Value,
}

impl Answer {
    /// `index` is what the scenario calls `{i}`.
    pub fn new(raw: &Raw, index: &str) -> Self {
        let text = steady(&raw.body, index);
        // Elasticsearch leaves out the blank in the media type that the client asked for, and before 8 it adds the
        // character set that JSON always has.
        let header = |name| {
            let value = steady(raw.header(name)?, index);
            Some((name, value.replace("; ", ";").replace(";charset=UTF-8", "")))
        };
        let headers = HEADERS.into_iter().filter_map(header).collect();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status: raw.status, headers, text, body }
    }

    /// Each item as scenarios write it.
    pub fn items(&self) -> Option<Vec<String>> {
        let items = self.body.get("items")?.as_array()?;
        Some(items.iter().map(item).collect())
    }

    /// The type of the error, or the text that stands in its place.
    pub fn error(&self) -> Option<&str> {
        let error = self.body.get("error")?;
        error["type"].as_str().or(error.as_str())
    }

    /// Takes away members of these names wherever they are, and headers.
    pub fn without(&self, names: &[String]) -> Self {
        let mut left = self.clone();
        left.headers.retain(|name, _| !names.iter().any(|it| it == name));
        remove(&mut left.body, names);
        if !names.is_empty() {
            left.text = String::new();
        }
        left
    }

    /// As it is compared: without what depends on the connection, and without what k8scop says to every client
    /// in Elasticsearch's place, whatever the engine says.
    pub fn comparable(mut self, engine: &str) -> Self {
        self.headers.remove("connection");
        if !engine.starts_with("es") {
            self.headers.remove("x-elastic-product");
        }
        self
    }

    /// Whether `other` is the same.
    pub fn equals(&self, other: &Self, layout: bool) -> bool {
        self.status == other.status
            && self.headers == other.headers
            && self.body == other.body
            && (self.text == other.text || !self.body.is_null())
            && (!layout || self.layout() == other.layout())
    }

    /// The lines, in any order: that of an object's members means nothing, and it changed with Elasticsearch 8.
    fn layout(&self) -> (usize, Vec<&str>) {
        let mut lines: Vec<_> = self.text.lines().map(|it| it.trim_end_matches(',')).collect();
        lines.sort_unstable();
        match lines.as_slice() {
            [_] => (self.text.len(), Vec::new()),
            _ => (self.text.len(), lines),
        }
    }

    /// What is not as it is written.
    pub fn check(&self, expect: &Expect) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut same = |what: &str, expected: &Value, found: &Value| {
            if expected != found {
                wrong.push(format!("{what} is {found}, not {expected}"));
            }
        };
        same("status", &json!(expect.status), &json!(self.status));
        if let Some(items) = &expect.items {
            same("items", &json!(items), &json!(self.items()));
        }
        if let Some(error) = &expect.error {
            same("error", &json!(error), &json!(self.error()));
        }
        if let Some(text) = &expect.text {
            same("text", &json!(text), &json!(self.text));
        }
        for (path, value) in &expect.json {
            let pointer = format!("/{}", path.replace('.', "/"));
            same(path, value, self.body.pointer(&pointer).unwrap_or(&Value::Null));
        }
        for (name, value) in &expect.headers {
            same(name, &json!(value), &json!(self.headers.get(name.as_str())));
        }
        wrong
    }
}

fn steady(text: &str, index: &str) -> String {
    let text = text.replace(index, "{i}");
    let text = text.replace(&"x".repeat(513), "{long}").replace(&"x".repeat(512), "{most}");
    let replaced = |text: String, (pattern, with): &(Regex, &str)| {
        pattern.replace_all(&text, *with).into_owned()
    };
    UNSTEADY.iter().fold(text, replaced)
}

fn item(item: &Value) -> String {
    let members = item.as_object().and_then(|it| it.iter().next());
    let Some((name, item)) = members else { return item.to_string() };
    let shown = |value: &Value| match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let result = if item["error"].is_null() { &item["result"] } else { &item["error"]["type"] };
    let (index, id) = (shown(&item["_index"]), shown(&item["_id"]));
    format!("{name} {index}/{id} {} {}", shown(&item["status"]), shown(result))
}

fn remove(value: &mut Value, names: &[String]) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !names.contains(name));
            members.values_mut().for_each(|it| remove(it, names));
        }
        Value::Array(values) => values.iter_mut().for_each(|it| remove(it, names)),
        _ => (),
    }
}
