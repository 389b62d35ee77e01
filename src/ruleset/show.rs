//! `k8scop rules show`: all of a rule, for a reader.

use std::path::Path;

use serde_json::{Value, json};

use super::{Report, RulesetError, Sources, attack, clean, find, head::Head, json_text, words};
use crate::{
    classify::{kubectl, reason},
    config::ConfigError,
    correlate::Plan,
    event::AuditEvent,
    json as text_json,
    rules::{
        Condition, Example, FieldTest, Level, Node, OncePer, Part, Rule,
        correlation::{Correlation, Stream},
    },
};

/// What `k8scop rules show` is told.
#[derive(Debug, Default)]
pub struct ShowOptions {
    /// Where the rules are.
    pub sources: Sources,
    /// An id, a title, or a file.
    pub name: String,
    /// JSON instead of text.
    pub json: bool,
}

/// Shows one rule, or all of a file.
pub fn show(options: &ShowOptions) -> Result<Report, RulesetError> {
    let path = Path::new(&options.name);
    let set = match path.is_file() {
        true => Sources { config: None, paths: vec![path.to_owned()] }.read()?,
        false => options.sources.good()?,
    };
    // A file may hold a correlation without its rules.
    if set.set.rules.is_empty() && set.correlations.is_empty() && !set.errors.is_empty() {
        return Err(ConfigError::Rules(set.errors).into());
    }
    let of_file = |file: &str| {
        let file = Path::new(file);
        path.is_file() || file.ends_with(path) || file.file_stem() == Some(path.as_os_str())
    };
    let mut found: Vec<Shown<'_>> = Vec::new();
    found.extend(set.set.rules.iter().filter(|it| of_file(&it.file)).map(Shown::Rule));
    let correlations = || set.correlations.iter().map(|(it, root)| Shown::Correlation(it, root));
    found.extend(correlations().filter(|it| of_file(it.file())));
    if found.is_empty() {
        let name = options.name.to_lowercase();
        found.extend(correlations().filter(|it| it.is_called(&name)));
    }
    if found.is_empty() {
        let name = options.name.trim().to_lowercase();
        let holds = |title: &str| !name.is_empty() && title.to_lowercase().contains(&name);
        let mut of_correlations = set.correlations.iter().filter(|(it, _)| holds(&it.title));
        let of_rules = set.set.rules.iter().any(|it| holds(&it.title));
        match (of_rules, of_correlations.next(), of_correlations.next()) {
            (false, Some((it, root)), None) => found.push(Shown::Correlation(it, root)),
            _ => {
                let place = find(&set.set.rules, &Plan::default(), &options.name)?;
                found.extend(set.set.rules.get(place).map(Shown::Rule));
            }
        }
    }
    let text = match options.json {
        true => json_text(&found.iter().map(Shown::object).collect()),
        false => clean(&found.iter().map(Shown::told).collect::<Vec<_>>().join("\n")),
    };
    Ok(Report { text, notes: Vec::new(), is_good: true })
}

/// What is shown.
enum Shown<'s> {
    Rule(&'s Rule),
    Correlation(&'s Correlation, &'s Node),
}

impl Shown<'_> {
    fn file(&self) -> &str {
        match self {
            Self::Rule(it) => &it.file,
            Self::Correlation(it, _) => &it.file,
        }
    }

    /// Whether it is a correlation with this id or title, in small letters.
    fn is_called(&self, name: &str) -> bool {
        match self {
            Self::Rule(_) => false,
            Self::Correlation(it, _) => {
                it.id.to_lowercase() == name || it.title.to_lowercase() == name
            }
        }
    }

    fn told(&self) -> String {
        match self {
            Self::Rule(it) => told(it),
            Self::Correlation(it, root) => correlation_told(it, root),
        }
    }

    fn object(&self) -> Value {
        match self {
            Self::Rule(it) => object(it),
            Self::Correlation(_, root) => root.json(),
        }
    }
}

fn correlation_told(it: &Correlation, root: &Node) -> String {
    let head = Head::of(it, root);
    let of = |name: &str| root.get("correlation").and_then(|it| it.get(name)).map(Node::json);
    let text = |name: &str| match of(name) {
        None => String::new(),
        Some(Value::String(text)) => text,
        Some(Value::Array(all)) => {
            let texts: Vec<_> = all.iter().filter_map(Value::as_str).collect();
            texts.join(", ")
        }
        Some(other) => other.to_string(),
    };
    let tactics = attack::tactics(&it.tags).into_iter().map(|it| it.1.to_owned());
    let attack = tactics.chain(attack::techniques(&it.tags)).collect::<Vec<_>>().join(", ");
    let mut out = vec![it.title.clone()];
    for (name, text) in [
        ("id", it.id.clone()),
        ("level", head.level.name().to_owned()),
        ("attack", attack),
        ("detects", head.detects.join(", ")),
        ("author", it.author.clone()),
        ("file", it.file.clone()),
        ("advice", head.advice.unwrap_or_default()),
        ("type", text("type")),
        ("rules", it.rules.join(", ")),
        ("group by", text("group-by")),
        ("within", text("timespan")),
        ("when", text("condition")),
    ] {
        if !text.is_empty() {
            out.push(format!("  {name:<8} {text}"));
        }
    }
    let streams = |all: &[Stream]| all.iter().map(|it| it.name.clone()).collect();
    for (name, lines) in [
        ("description", it.description.lines().map(str::to_owned).collect()),
        ("must fire", streams(&it.matching)),
        ("must not fire", streams(&it.not_matching)),
        ("references", it.references.clone()),
    ] {
        let lines: Vec<String> = lines;
        if !lines.is_empty() {
            out.push(format!("\n  {name}"));
            out.extend(lines.into_iter().map(|it| format!("    {it}")));
        }
    }
    out.push(String::new());
    out.join("\n")
}

/// What is made of an example.
struct Seen {
    kubectl: Option<String>,
    reason: String,
}

impl Seen {
    fn new(rule: &Rule, example: &Example) -> Self {
        let text = example.event.to_string();
        let event = AuditEvent::new(&text, text_json::members(&text).collect());
        let event = AuditEvent { is_cut: example.is_cut, ..event };
        Self { kubectl: kubectl(&event), reason: reason(&event, rule) }
    }
}

/// The fields that the rule looks at, in order of their first place.
fn fields(rule: &Rule) -> Vec<String> {
    let tests = rule.searches.iter().flat_map(|it| it.alternatives.iter().flatten());
    let mut all: Vec<String> = Vec::new();
    for field in tests.map(|it: &FieldTest| it.field.to_string()) {
        if !all.contains(&field) {
            all.push(field);
        }
    }
    all
}

/// The sentence of its alerts, as the rule writes it.
fn template(rule: &Rule) -> String {
    let parts = rule.reason.parts.iter().map(|it| match it {
        Part::Text(text) => text.clone(),
        Part::Field(field) => format!("{{{field}}}"),
    });
    parts.collect()
}

fn told(rule: &Rule) -> String {
    let level = match rule.level {
        Level::Informational => "informational: labels the event, no alert".to_owned(),
        level => format!("{}: an alert of severity {}", level.name(), level.severity()),
    };
    let once = match rule.once_per {
        OncePer::Stage => "for each stage of a request",
        OncePer::Request => "once for a request",
    };
    let tactics = attack::tactics(&rule.tags).into_iter().map(|it| it.1.to_owned());
    let attack = tactics.chain(attack::techniques(&rule.tags)).collect::<Vec<_>>().join(", ");
    let mut out = vec![rule.title.clone()];
    let mut row = |name: &str, text: &str| {
        if !text.is_empty() {
            out.push(format!("  {name:<8} {text}"));
        }
    };
    row("id", &rule.id);
    row("level", &level);
    row("told", once);
    row("attack", &attack);
    row("detects", &rule.detects.join(", "));
    row("author", &rule.author);
    row("file", &rule.file);
    row("says", &template(rule));
    row("advice", rule.advice.as_deref().unwrap_or_default());
    row("fields", &fields(rule).join(", "));
    let mut section = |name: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            out.push(format!("\n  {name}"));
            out.extend(lines.into_iter().map(|it| format!("    {it}")));
        }
    };
    section("description", rule.description.lines().map(str::to_owned).collect());
    section("is hit when", words::condition(rule));
    section("may also be", rule.falsepositives.clone());
    section("must hit", examples(rule, &rule.matching));
    section("must not hit", examples(rule, &rule.not_matching));
    section("references", rule.references.clone());
    out.push(String::new());
    out.join("\n")
}

fn examples(rule: &Rule, examples: &[Example]) -> Vec<String> {
    let mut out = Vec::new();
    for example in examples {
        let seen = Seen::new(rule, example);
        out.push(example.name.clone());
        out.extend(seen.kubectl.map(|it| format!("  kubectl {it}")));
        out.push(format!("  {}", seen.reason));
    }
    out
}

fn object(rule: &Rule) -> Value {
    let examples = |all: &[Example]| -> Value {
        let one = |it: &Example| {
            let seen = Seen::new(rule, it);
            json!({"name": it.name, "kubectl": seen.kubectl, "reason": seen.reason, "event": it.event})
        };
        all.iter().map(one).collect()
    };
    json!({
        "id": rule.id,
        "title": rule.title,
        "level": rule.level.name(),
        "severity": rule.level.severity(),
        "alert": rule.level > Level::Informational,
        "once_per": match rule.once_per { OncePer::Stage => "stage", OncePer::Request => "request" },
        "tactics": attack::tactics(&rule.tags).iter().map(|it| it.1).collect::<Vec<_>>(),
        "techniques": attack::techniques(&rule.tags),
        "tags": rule.tags,
        "description": rule.description,
        "author": rule.author,
        "file": rule.file,
        "references": rule.references,
        "falsepositives": rule.falsepositives,
        "detects": rule.detects,
        "reason": template(rule),
        "advice": rule.advice,
        "fields": fields(rule),
        "condition": condition(rule, &rule.condition),
        "examples": {"match": examples(&rule.matching), "no_match": examples(&rule.not_matching)},
    })
}

/// `{"all": […]}`, `{"any": […]}`, `{"not": …}` or a selection: `{"selection": NAME, "any": [[LINE, …], …]}`.
fn condition(rule: &Rule, it: &Condition) -> Value {
    let many = |parts: &[Condition]| parts.iter().map(|it| condition(rule, it)).collect::<Value>();
    match it {
        Condition::All(parts) => json!({"all": many(parts)}),
        Condition::Any(parts) => json!({"any": many(parts)}),
        Condition::Not(part) => json!({"not": condition(rule, part)}),
        Condition::Search(place) => {
            let Some(search) = rule.searches.get(*place) else { return Value::Null };
            let lines = |it: &Vec<FieldTest>| it.iter().map(words::line).collect::<Vec<_>>();
            let any: Vec<_> = search.alternatives.iter().map(lines).collect();
            json!({"selection": search.name, "any": any})
        }
    }
}
