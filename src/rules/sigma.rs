use serde::Deserialize;
use yaml_serde::Mapping;

use super::{
    Condition, Document, Field, Lists, Mode, Options, Pattern, RuleError, Template, cost,
    detection::Reader,
    documents,
    members::{HEAD, Members},
    yaml::{At, Node, Value, Wrong},
};

/// One rule, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The file that it came from.
    pub file: String,
    /// What stays when the rule changes: its `id`, else its name, else its title.
    pub id: String,
    /// What others may call it by.
    pub name: Option<String>,
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
    /// What is allowed and can hardly be meant, with its place.
    pub warnings: Vec<String>,
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Debug)]
pub struct Example {
    /// What it shows.
    pub name: String,
    /// The audit event, as far as the rule looks at it.
    pub event: serde_json::Value,
    /// Whether it was cut on its way.
    pub is_cut: bool,
    /// The kubectl command that must be found behind it.
    pub kubectl: Option<String>,
    /// The sentence that its alert must hold.
    pub reason: Option<String>,
}

/// Other members of a rule: Sigma's, ours, and those that SigmaHQ's repository adds for its own work.
const NAMES: &[&str] = &["detection", "fields", "k8scop", "regression_tests_path", "simulation"];

const LOGSOURCE: &[&str] = &["category", "product", "service", "definition"];

const LEVELS: &[(&str, Level)] = &[
    ("informational", Level::Informational),
    ("low", Level::Low),
    ("medium", Level::Medium),
    ("high", Level::High),
    ("critical", Level::Critical),
];

/// The sentence of a rule that brings none.
const REASON: &str = "{user.username} used {verb} on {requestURI}";

/// Reads one rule, the only one in its text. `file` is its name for errors.
pub fn parse(file: &str, text: &str) -> Result<Rule, RuleError> {
    let all = documents(file, text)?;
    let wrong =
        |reason: &str| RuleError::new(file, Wrong { at: At::default(), reason: reason.to_owned() });
    match all.as_slice() {
        [one] => rule(one, &Options::default(), &Lists::default()),
        [] => Err(wrong("there is no rule in it")),
        [_, second, ..] => Err(second.error(second.root.wrong("only one rule can stand here"))),
    }
}

/// Reads a rule.
pub fn rule(document: &Document, options: &Options, lists: &Lists) -> Result<Rule, RuleError> {
    read(document, options, lists).map_err(|wrong| document.error(wrong))
}

fn read(document: &Document, options: &Options, lists: &Lists) -> Result<Rule, Wrong> {
    let mut reader = Reader::new(options, lists);
    let mut ignored = Vec::new();
    let members = Members::with_others(&document.root, "a rule", &[HEAD, NAMES].concat(), |key| {
        let name = key.scalar().unwrap_or_default();
        ignored.push(key.wrong(format!("`{name}` is not known, and ignored")));
    })?;
    reader.warnings.append(&mut ignored);
    let title = members.required("title")?;
    let title = title.scalar().ok_or_else(|| title.wrong("`title` must be a text"))?.to_owned();
    if title.trim().is_empty() {
        return Err(members.required("title")?.wrong("`title` is empty"));
    }
    logsource(&members, options)?;
    let name = members.text("name")?.map(str::to_owned);
    let id = members.text("id")?.map(str::to_owned).unwrap_or_else(|| {
        let reason = "it has no `id`: its alerts are known by its name or title, and are others when that changes";
        reader.warnings.push(document.root.wrong(reason));
        name.clone().unwrap_or_else(|| title.clone())
    });
    if id.is_empty() {
        return Err(members.required("id")?.wrong("`id` is empty"));
    }
    let level = members.word("level", LEVELS)?.unwrap_or_else(|| {
        reader.warnings.push(document.root.wrong("it has no `level`: medium is taken"));
        Level::Medium
    });
    let (searches, condition) = reader.detection(members.required("detection")?, &[])?;
    let extra = members.get("k8scop").map(|it| Extra::read(it, options));
    let extra = extra.transpose()?.unwrap_or_default();
    let reason = match extra.reason {
        Some(reason) => reason,
        None => Template::parse(REASON).map_err(|error| document.root.wrong(error))?,
    };
    let file = &document.file;
    let told = |it: Wrong| format!("{file}:{}:{}: {}", it.at.line, it.at.column, it.reason);
    let rule = Rule {
        file: file.clone(),
        id,
        name,
        title,
        description: members.text("description")?.unwrap_or_default().trim_end().to_owned(),
        author: members.text("author")?.unwrap_or_default().to_owned(),
        level,
        references: members.texts("references")?,
        tags: members.texts("tags")?,
        falsepositives: members.texts("falsepositives")?,
        advice: extra.advice,
        detects: extra.detects,
        reason,
        once_per: extra.once_per,
        searches,
        condition,
        matching: extra.matching,
        not_matching: extra.not_matching,
        warnings: reader.warnings.into_iter().map(told).collect(),
    };
    cost::check(&rule).map_err(|reason| document.root.wrong(reason))?;
    Ok(rule)
}

/// Whether it is for the logs that we read.
pub(super) fn logsource(members: &Members<'_>, options: &Options) -> Result<(), Wrong> {
    let node = members.required("logsource")?;
    if options.mode == Mode::Any {
        return Ok(());
    }
    let source = Members::of(node, "logsource", LOGSOURCE)?;
    let (product, service) = (source.text("product")?, source.text("service")?);
    if (product, service) == (Some("kubernetes"), Some("audit")) {
        return Ok(());
    }
    let named = [source.text("category")?, product, service];
    let named: Vec<&str> = named.into_iter().flatten().collect();
    Err(node.wrong(format!(
        "it is for {}, not for Kubernetes audit logs: these are product: kubernetes, service: audit",
        if named.is_empty() { "any log".to_owned() } else { named.join("/") }
    )))
}

/// The section `k8scop`.
#[derive(Default)]
struct Extra {
    reason: Option<Template>,
    advice: Option<String>,
    detects: Vec<String>,
    once_per: OncePer,
    matching: Vec<Example>,
    not_matching: Vec<Example>,
}

impl Extra {
    fn read(node: &Node, options: &Options) -> Result<Self, Wrong> {
        let names = ["reason", "advice", "detects", "once_per", "examples"];
        let members = Members::of(node, "`k8scop`", &names)?;
        let template = |node: &Node| {
            let text = node.scalar().ok_or_else(|| node.wrong("`reason` must be a text"))?;
            Template::parse_as(text, options.mode).map_err(|error| node.wrong(error))
        };
        let once_per = [("stage", OncePer::Stage), ("request", OncePer::Request)];
        let (mut matching, mut not_matching) = (Vec::new(), Vec::new());
        if let Some(node) = members.get("examples") {
            let both = Members::of(node, "`examples`", &["match", "no_match"])?;
            matching = examples(both.get("match"))?;
            not_matching = examples(both.get("no_match"))?;
        }
        Ok(Self {
            reason: members.get("reason").map(template).transpose()?,
            advice: members.text("advice")?.map(str::to_owned),
            detects: members.texts("detects")?,
            once_per: members.word("once_per", &once_per)?.unwrap_or_default(),
            matching,
            not_matching,
        })
    }
}

fn examples(node: Option<&Node>) -> Result<Vec<Example>, Wrong> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let Value::List(list) = &node.value else {
        return Err(node.wrong("examples must be a list"));
    };
    let example = |node: &Node| {
        let members =
            Members::of(node, "an example", &["name", "event", "cut", "kubectl", "reason"])?;
        let text = |it| Ok::<_, Wrong>(members.text(it)?.map(str::to_owned));
        members.required("name")?;
        let event = members.required("event")?;
        match event.value {
            Value::Map(_) => Ok(Example {
                name: text("name")?.unwrap_or_default(),
                event: event.json(),
                is_cut: is_cut(&members)?,
                kubectl: text("kubectl")?,
                reason: text("reason")?,
            }),
            _ => Err(event.wrong("`event` must be an audit event: a map")),
        }
    };
    list.iter().map(example).collect()
}

fn is_cut(members: &Members<'_>) -> Result<bool, Wrong> {
    match members.get("cut") {
        None => Ok(false),
        Some(node) => match node.value {
            Value::Bool(is_cut) => Ok(is_cut),
            _ => Err(node.wrong("`cut` must be true or false")),
        },
    }
}

/// Reads one selection, a map of fields, as it stands in a rule's detection. `name` is for errors.
pub fn selection(name: &str, map: &Mapping) -> Result<Search, String> {
    let node = Node::from(&yaml_serde::Value::Mapping(map.clone()));
    let (options, lists) = (Options::default(), Lists::default());
    let read = Reader::new(&options, &lists).search(name, &node, &node);
    read.map_err(|wrong| format!("{name}: {}", wrong.reason))
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
    fn broken(change: (&str, &str), place: (usize, usize), reason: &str) {
        assert!(GOOD.contains(change.0), "{change:?}");
        let error = parse("a.yml", &GOOD.replace(change.0, change.1)).unwrap_err();
        assert!(error.reason.contains(reason), "{error}");
        let found = (error.file.as_str(), error.line, error.column);
        assert_eq!(found, ("a.yml", place.0, place.1), "{error}");
    }

    #[test]
    fn a_broken_rule_names_its_place() {
        broken(("title: A", "titel: A"), (1, 1), "did you mean `title`?");
        broken(
            ("level: high", "level: huge"),
            (16, 8),
            "never `huge` (there are: informational, low,",
        );
        broken(
            ("service: audit", "service: x"),
            (4, 3),
            "it is for kubernetes/x, not for Kubernetes audit",
        );
        broken(("service: audit", "servic: audit"), (5, 3), "did you mean `service`?");
        broken(("    verb: [", "    verbs: ["), (8, 5), "did you mean `verb`?");
        broken(("|startswith: sec", "|begins: sec"), (9, 5), "no modifier `begins`");
        broken(
            ("|startswith: sec", "|re: '('"),
            (9, 28),
            "the regex cannot be used: unclosed group",
        );
        broken(("|startswith: sec", "|re: '(?<=a)b'"), (9, 28), "look-around");
        broken(("|startswith: sec", "|re|contains: x"), (9, 5), "cannot follow");
        broken(("10.0.0.0/8", "10.0.0.0/99"), (13, 23), "is no network");
        broken(("exists: false", "exists: maybe"), (14, 25), "true or false");
        broken(("[get, list]", "[]"), (8, 11), "the list is empty");
        broken(("[get, list]", "[get, {a: b}]"), (8, 17), "name what is inside with dots");
        broken(("[get, list]", "[get, [list]]"), (8, 17), "must be a text");
        broken(("and not filter", "and not filters"), (15, 14), "did you mean `filter`?");
        broken(
            ("and not filter", "and filter | count() > 5"),
            (15, 14),
            "the work of a correlation",
        );
        broken(("  condition: selection and not filter\n", ""), (7, 3), "no `condition`");
        broken(
            ("  condition:", "  timeframe: 5m\n  condition:"),
            (15, 3),
            "the work of a correlation",
        );
        broken(
            ("'{user.username} did'", "'{user.nam} did'"),
            (18, 11),
            "did you mean `user.name`?",
        );
        broken(("once_per: request", "once_per: requests"), (19, 13), "did you mean `request`?");
        broken(("    verb: [get, list]", "  verb: [get, list"), (9, 34), "cannot be read");
        broken(("event: {verb: get}}", "events: {verb: get}}"), (22, 19), "did you mean `event`?");
        broken(("objectRef.resource|startswith", "verb"), (9, 5), "`verb` stands here twice");
        broken(("id: 6e5f9d1e-0000-4000-8000-000000000001", "id: ''"), (2, 5), "`id` is empty");
        broken(("title: A\n", ""), (1, 1), "needs `title`");
    }

    #[test]
    fn what_can_hardly_be_meant_is_a_warning() {
        assert_eq!(parse("a.yml", GOOD).unwrap().warnings, [""; 0]);
        for (change, expected) in [
            (
                ("[get, list]", "[replace, list]"),
                "a.yml:8:12: `verb` is never `replace`: in audit events it is update",
            ),
            (("code: 200", "code: ALLOW"), "a.yml:10:26: `responseStatus.code` is never `ALLOW`"),
            (
                ("level: high\n", "severity: high\n"),
                "a.yml:16:1: `severity` is not known, and ignored",
            ),
            (("level: high\n", ""), "it has no `level`: medium is taken"),
            (("id: 6e5f9d1e-0000-4000-8000-000000000001\n", ""), "it has no `id`"),
            ((" and not filter", ""), "a.yml:11:3: the condition does not ask `filter`"),
        ] {
            let warnings = parse("a.yml", &GOOD.replace(change.0, change.1)).unwrap().warnings;
            assert!(warnings.iter().any(|it| it.contains(expected)), "{warnings:?}");
        }
        let nameless = GOOD.replace("id: 6e5f9d1e-0000-4000-8000-000000000001", "name: n");
        assert_eq!(parse("a.yml", &nameless).unwrap().id, "n");
    }
}
