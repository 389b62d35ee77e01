use serde::Deserialize;
use yaml_serde::{Mapping, Value};

use super::{Condition, Field, Order, Pattern, Place, RuleError, Template, error::Source};

/// One rule, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The file that it came from.
    pub file: String,
    /// A UUID that stays when the rule changes.
    pub id: String,
    /// What it says was seen; the `message` of its alerts.
    pub title: String,
    /// What it looks for and why.
    pub description: String,
    /// Who wrote it.
    pub author: String,
    /// How bad a hit is.
    pub level: Level,
    /// Where to read more.
    pub references: Vec<String>,
    /// `attack.t1609`, `attack.execution` and others.
    pub tags: Vec<String>,
    /// What else it can be.
    pub falsepositives: Vec<String>,
    /// What the person who reads the alert does next.
    pub advice: Option<String>,
    /// Ids of the ideas of a survey of detections that it covers (`k8scop rules coverage`).
    pub detects: Vec<String>,
    /// The sentence in `event.reason` of its alerts.
    pub reason: Template,
    /// How often one request is told.
    pub once_per: OncePer,
    /// What the condition speaks of.
    pub searches: Vec<Search>,
    /// When the rule is hit.
    pub condition: Condition,
    /// Events that must hit it: it is tested on them.
    pub matching: Vec<Example>,
    /// Events that must not.
    pub not_matching: Vec<Example>,
}

/// Sigma's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Labels the event; no alert.
    Informational,
    /// Worth knowing.
    Low,
    /// Worth a look.
    Medium,
    /// To be looked at now.
    High,
    /// An attack.
    Critical,
}

impl Level {
    /// `event.severity`: the numbers that Kibana's External Alerts rule turns into its severities
    /// (detection-rules, `rules/promotions/external_alerts.toml`).
    #[must_use]
    pub fn severity(self) -> u8 {
        match self {
            Self::Informational => 1,
            Self::Low => 21,
            Self::Medium => 47,
            Self::High => 73,
            Self::Critical => 99,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// How often one request raises an alert.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OncePer {
    /// For each stage of it that hits the rule.
    #[default]
    Stage,
    /// Once, whichever of its stages comes first. An exec is logged when it starts and when it ends.
    Request,
}

/// One named part of a detection: one of these, in which all tests hold.
#[derive(Clone, Debug)]
pub struct Search {
    /// Its name in the rule.
    pub name: String,
    /// One of these is enough; in each, all tests must hold.
    pub alternatives: Vec<Vec<FieldTest>>,
}

/// One line of a selection.
#[derive(Clone, Debug)]
pub struct FieldTest {
    /// What is looked at.
    pub field: Field,
    /// What it is compared with. Empty for a test of existence.
    pub patterns: Vec<Pattern>,
    /// All patterns must match, each on some value, instead of one.
    pub all: bool,
    /// `exists`: whether the field must be there or must not.
    pub exists: Option<bool>,
    /// `neq`: none of the field's values may match. Below an array of objects that goes for one element: the one
    /// that the other lines of the selection speak of.
    pub negated: bool,
}

/// An event that a rule is tested on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// What it shows.
    pub name: String,
    /// The audit event, as far as the rule looks at it.
    pub event: serde_json::Value,
    /// The kubectl command that must be found behind it.
    pub kubectl: Option<String>,
    /// The sentence that its alert must hold.
    pub reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "Sigma's other fields are allowed, so that a misspelt one is not")]
struct Raw {
    title: String,
    id: String,
    name: Option<Value>,
    related: Option<Value>,
    taxonomy: Option<Value>,
    status: Option<Value>,
    #[serde(default)]
    description: String,
    license: Option<Value>,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    author: String,
    date: Option<Value>,
    modified: Option<Value>,
    #[serde(default)]
    tags: Vec<String>,
    scope: Option<Value>,
    logsource: RawLogsource,
    detection: Mapping,
    fields: Option<Value>,
    #[serde(default)]
    falsepositives: Vec<String>,
    level: Level,
    #[serde(default)]
    k8scop: RawExtra,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "a comment in the rule, allowed by Sigma")]
struct RawLogsource {
    category: Option<String>,
    product: Option<String>,
    service: Option<String>,
    definition: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExtra {
    reason: Option<String>,
    advice: Option<String>,
    detects: Vec<String>,
    once_per: OncePer,
    examples: RawExamples,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawExamples {
    #[serde(rename = "match")]
    matching: Vec<Example>,
    no_match: Vec<Example>,
}

/// The sentence of a rule that brings none.
const REASON: &str = "{user.username} used {verb} on {requestURI}";

/// Reads one rule. `file` is its name for errors.
pub fn parse(file: &str, text: &str) -> Result<Rule, RuleError> {
    let source = Source { file, text };
    let raw: Raw = yaml_serde::from_str(text).map_err(|error| source.yaml(&error))?;
    let logsource = (raw.logsource.product.as_deref(), raw.logsource.service.as_deref());
    if logsource != (Some("kubernetes"), Some("audit")) {
        return Err(source.error(
            "logsource",
            "logsource",
            "the rule is not for Kubernetes audit logs: logsource needs product: kubernetes and service: audit",
        ));
    }
    let (searches, condition) = detection(&source, &raw.detection)?;
    let reason = raw.k8scop.reason.as_deref().unwrap_or(REASON);
    Ok(Rule {
        file: file.to_owned(),
        id: raw.id,
        title: raw.title,
        description: raw.description.trim_end().to_owned(),
        author: raw.author,
        level: raw.level,
        references: raw.references,
        tags: raw.tags,
        falsepositives: raw.falsepositives,
        advice: raw.k8scop.advice,
        detects: raw.k8scop.detects,
        reason: Template::parse(reason).map_err(|error| source.error("k8scop", "reason", error))?,
        once_per: raw.k8scop.once_per,
        searches,
        condition,
        matching: raw.k8scop.examples.matching,
        not_matching: raw.k8scop.examples.no_match,
    })
}

/// Reads one selection, a map of fields, as it stands in a rule's detection. `name` is for errors.
pub fn selection(name: &str, map: &Mapping) -> Result<Search, String> {
    let read = |(key, value): (&Value, &Value)| {
        let key = key.as_str().ok_or_else(|| format!("{name}: a field's name must be a text"))?;
        field_test(key, value).map_err(|error| format!("{name}: {error}"))
    };
    let tests: Vec<_> = map.iter().map(read).collect::<Result<_, _>>()?;
    if tests.is_empty() {
        return Err(format!("{name} is empty: it would fit every event"));
    }
    Ok(Search { name: name.to_owned(), alternatives: vec![tests] })
}

fn detection(
    source: &Source<'_>,
    detection: &Mapping,
) -> Result<(Vec<Search>, Condition), RuleError> {
    let mut searches = Vec::new();
    let mut condition = None;
    for (name, value) in detection {
        let Some(name) = name.as_str() else {
            return Err(source.error(
                "detection",
                "detection",
                "a selection's name must be a text",
            ));
        };
        match (name, value) {
            ("condition", Value::String(text)) => condition = Some(text),
            ("condition", _) => {
                return Err(source.error("detection", "condition", "condition must be one text"));
            }
            ("timeframe", _) => {
                return Err(source.error(
                    "detection",
                    name,
                    "timeframe is not supported: a rule sees one event",
                ));
            }
            _ => searches.push(search(source, name, value)?),
        }
    }
    let names: Vec<_> = searches.iter().map(|it| it.name.clone()).collect();
    let Some(condition) = condition else {
        return Err(source.error("detection", "detection", "the detection has no condition"));
    };
    let condition = Condition::parse(condition, &names)
        .map_err(|error| source.error("detection", "condition", error))?;
    Ok((searches, condition))
}

fn search(source: &Source<'_>, name: &str, value: &Value) -> Result<Search, RuleError> {
    let alternatives = match value {
        Value::Mapping(map) => vec![tests(source, name, map)?],
        Value::Sequence(list) => list
            .iter()
            .map(|it| match it {
                Value::Mapping(map) => tests(source, name, map),
                _ => Err(source.error(
                    name,
                    name,
                    format!("`{name}` lists words without a field: name the field"),
                )),
            })
            .collect::<Result<_, _>>()?,
        _ => {
            return Err(source.error(
                "detection",
                name,
                format!("`{name}` must be a map or a list of maps"),
            ));
        }
    };
    if alternatives.is_empty() || alternatives.iter().any(Vec::is_empty) {
        return Err(source.error("detection", name, format!("`{name}` is empty")));
    }
    Ok(Search { name: name.to_owned(), alternatives })
}

fn tests(source: &Source<'_>, name: &str, map: &Mapping) -> Result<Vec<FieldTest>, RuleError> {
    map.iter()
        .map(|(key, value)| {
            let key = key.as_str().unwrap_or_default();
            field_test(key, value).map_err(|error| source.error(&format!("{name}:"), key, error))
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Text(Place),
    Regex,
    Cidr,
    Exists,
    Number(Order),
}

fn field_test(key: &str, value: &Value) -> Result<FieldTest, String> {
    let mut words = key.split('|');
    let field = Field::parse(words.next().unwrap_or_default())?;
    let (mut reading, mut all, mut cased, mut negated, mut same_as) =
        (Reading::Text(Place::Whole), false, false, false, false);
    for modifier in words {
        let flag = match modifier {
            "all" => &mut all,
            "cased" => &mut cased,
            "neq" => &mut negated,
            "fieldref" => &mut same_as,
            _ => &mut false,
        };
        let new = match modifier {
            "all" | "cased" | "neq" | "fieldref" => {
                *flag = true;
                continue;
            }
            "contains" => Reading::Text(Place::Within),
            "startswith" => Reading::Text(Place::Start),
            "endswith" => Reading::Text(Place::End),
            "re" => Reading::Regex,
            "cidr" => Reading::Cidr,
            "exists" => Reading::Exists,
            "lt" => Reading::Number(Order::Lt),
            "lte" => Reading::Number(Order::Lte),
            "gt" => Reading::Number(Order::Gt),
            "gte" => Reading::Number(Order::Gte),
            other => {
                return Err(format!(
                    "`{key}`: no modifier `{other}` (there are: contains, startswith, endswith, re, all, cidr, exists, cased, neq, fieldref, lt, lte, gt, gte)"
                ));
            }
        };
        if reading != Reading::Text(Place::Whole) {
            return Err(format!(
                "`{key}`: `{modifier}` cannot follow another modifier of its kind"
            ));
        }
        reading = new;
    }
    let test = |patterns, exists| FieldTest { field, patterns, all, exists, negated };
    if reading == Reading::Exists {
        let Value::Bool(exists) = value else {
            return Err(format!("`{key}` must be true or false"));
        };
        return Ok(test(Vec::new(), Some(*exists)));
    }
    let values: &[Value] = match value {
        Value::Sequence(list) if list.is_empty() => {
            return Err(format!("`{key}` has an empty list"));
        }
        Value::Sequence(list) => list,
        one => std::slice::from_ref(one),
    };
    let read = |it: &Value| match (same_as, reading, it) {
        (true, Reading::Text(place), Value::String(name)) => {
            Ok(Pattern::SameAs { field: Field::parse(name)?, place, cased })
        }
        (true, ..) => Err(format!("`{key}` must name a field")),
        _ => pattern(key, it, reading, cased),
    };
    let patterns = values.iter().map(read).collect::<Result<_, _>>()?;
    Ok(test(patterns, None))
}

fn pattern(key: &str, value: &Value, reading: Reading, cased: bool) -> Result<Pattern, String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Null if reading == Reading::Text(Place::Whole) => return Ok(Pattern::Null),
        _ => {
            return Err(format!(
                "`{key}` must be a text, a number, true, false, null or a list of these"
            ));
        }
    };
    let pattern = match reading {
        Reading::Text(place) => Pattern::text(&text, place, cased),
        Reading::Regex => Pattern::regex(&text),
        Reading::Cidr => Pattern::cidr(&text),
        Reading::Exists => Ok(Pattern::Present),
        Reading::Number(order) => match text.parse() {
            Ok(number) => Ok(Pattern::Number(order, number)),
            Err(_) => Err(format!("`{text}` is no number")),
        },
    };
    pattern.map_err(|error| format!("`{key}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
title: A
id: 6e5f9d1e-0000-4000-8000-000000000001
logsource:
  product: kubernetes
  service: audit
detection:
  selection:
    verb: [get, list]
    objectRef.resource|startswith: sec
    responseStatus.code: 200
  filter:
    - user.username|endswith|all: [a, b]
    - sourceIPs|cidr: 10.0.0.0/8
      userAgent|exists: false
  condition: selection and not filter
level: high
k8scop:
  reason: '{user.username} did'
  once_per: request
  examples:
    match:
      - {name: x, event: {verb: get}}
";

    #[test]
    fn a_rule() {
        let rule = parse("a.yml", GOOD).unwrap();
        assert_eq!((rule.level.severity(), rule.once_per), (73, OncePer::Request));
        let [selection, filter] = rule.searches.as_slice() else { panic!("{:?}", rule.searches) };
        assert_eq!((selection.alternatives.len(), selection.alternatives[0].len()), (1, 3));
        assert_eq!((filter.alternatives.len(), filter.alternatives[0][0].all), (2, true));
        assert_eq!(rule.matching[0].event["verb"], "get");
    }

    #[track_caller]
    fn broken(change: (&str, &str), line: usize, reason: &str) {
        assert!(GOOD.contains(change.0), "{change:?}");
        let error = parse("a.yml", &GOOD.replace(change.0, change.1)).unwrap_err();
        assert!(error.reason.contains(reason), "{error}");
        assert_eq!((error.file.as_str(), error.line), ("a.yml", line), "{error}");
    }

    #[test]
    fn a_broken_rule_names_its_line() {
        broken(("title: A", "titel: A"), 1, "titel");
        broken(("level: high", "level: huge"), 16, "huge");
        broken(("service: audit", "service: x"), 3, "not for Kubernetes audit logs");
        broken(("    verb: [", "    verbs: ["), 8, "no field `verbs`");
        broken(("|startswith: sec", "|begins: sec"), 9, "no modifier `begins`");
        broken(("|startswith: sec", "|re: '('"), 9, "the regex cannot be used");
        broken(("|startswith: sec", "|re|contains: x"), 9, "cannot follow");
        broken(("10.0.0.0/8", "10.0.0.0/99"), 13, "is no network");
        broken(("exists: false", "exists: maybe"), 14, "true or false");
        broken(("[get, list]", "[]"), 8, "empty list");
        broken(("[get, list]", "{a: b}"), 8, "must be a text");
        broken(("and not filter", "and not filters"), 15, "no such selection");
        broken(("  condition: selection and not filter\n", ""), 6, "no condition");
        broken(("'{user.username} did'", "'{user.name} did'"), 18, "did you mean `user.username`");
        broken(("    verb: [get, list]", "  verb: [get, list"), 9, "flow sequence");
        broken(("event: {verb: get}}", "events: {verb: get}}"), 22, "events");
    }
}
