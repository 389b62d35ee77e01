//! `k8scop rules lint`: what is wrong with rules, and what is missing in them.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use super::{Report, RulesetError, Sources, attack, clean, head::Head, json_text};
use crate::{
    classify::Classifier,
    event::AuditEvent,
    json::members,
    rules::{Document, DocumentKind, Level, Rule, documents},
};

/// What `k8scop rules lint` is told.
#[derive(Debug, Default)]
pub struct LintOptions {
    /// Where the rules are.
    pub sources: Sources,
    /// A warning counts as an error.
    pub strict: bool,
    /// JSON instead of lines.
    pub json: bool,
}

/// Something to mend.
#[derive(Debug)]
struct Finding {
    file: String,
    line: usize,
    /// From 1; 0 where it is not known.
    column: usize,
    /// `None`: an error, and the rule cannot be used.
    warning: Option<&'static str>,
    text: String,
}

/// Checks rules. It is good if there are no errors and, when strict, no warnings.
pub fn lint(options: &LintOptions) -> Result<Report, RulesetError> {
    let set = options.sources.read()?;
    let mut findings: Vec<Finding> = set
        .errors
        .into_iter()
        .map(|it| Finding {
            file: it.file,
            line: it.line,
            column: it.column,
            warning: None,
            text: it.reason,
        })
        .collect();
    let errors = findings.len();
    let odd = set.set.warnings.iter().filter_map(|it| odd(it, &set.files));
    findings.extend(odd);
    let places = places(&set.files, &set.set.rules);
    let classifier = Classifier::new(set.set.rules)?;
    let rules = classifier.rules();
    let all = rules.len() + set.correlations.len();
    let any_event = AuditEvent::new(ANY_EVENT, members(ANY_EVENT).collect());
    let always_tried: HashSet<usize> = classifier.tried(&any_event).into_iter().collect();
    let mut titles: HashMap<String, &str> = HashMap::new();
    for (place, (rule, written)) in rules.iter().zip(&places).enumerate() {
        let mut warn = |kind: &'static str, at: &str, told: String| {
            let file = rule.file.clone();
            findings.push(Finding {
                file,
                line: line_of(written.as_ref(), at),
                column: 0,
                warning: Some(kind),
                text: told,
            });
        };
        warnings(rule, &mut warn);
        if always_tried.contains(&place) {
            let told = "no text and no verb, resource or status must be there: it is looked at for every event";
            warn("always_tried", "condition:", told.into());
        }
        if let Some(other) = titles.insert(rule.title.to_ascii_lowercase(), &rule.file) {
            warn("title_twice", "title:", format!("its title is that of {other}"));
        }
    }
    let parts: HashSet<&str> =
        set.correlations.iter().flat_map(|it| &it.0.rules).map(String::as_str).collect();
    for (correlation, root) in &set.correlations {
        let head = Head::of(correlation, root);
        let mut warn = |kind: &'static str, told: &str| {
            findings.push(Finding {
                file: head.file.clone(),
                line: root.at.line,
                column: root.at.column,
                warning: Some(kind),
                text: format!("{}: {told}", head.title),
            });
        };
        // What only others build on is tested with them.
        let names = [Some(&correlation.id), correlation.name.as_ref()];
        let is_silent = match correlation.level {
            Some(level) => level == Level::Informational,
            None => names.into_iter().flatten().any(|it| parts.contains(it.as_str())),
        };
        if correlation.matching.is_empty() && !is_silent {
            warn("no_match_example", "it has no stream of events that must fire");
        }
        if correlation.not_matching.is_empty() && !is_silent {
            warn("no_no_match_example", "it has no stream of events that must not fire");
        }
        if head.description.is_empty() {
            warn("no_description", "it has no description");
        }
        for tag in head.tags.iter().filter(|it| !attack::is_known(it)) {
            warn("unknown_tag", &format!("ATT&CK has no `{tag}`"));
        }
    }
    findings.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    let warnings = findings.len() - errors;
    let summary = format!("{all} rules: {errors} errors, {warnings} warnings");
    let text = match options.json {
        true => json_text(&json!({
            "rules": all,
            "errors": errors,
            "warnings": warnings,
            "findings": findings.iter().map(Finding::object).collect::<Vec<_>>(),
        })),
        false => clean(&(findings.iter().map(Finding::told).collect::<String>() + &summary + "\n")),
    };
    let is_good = errors == 0 && (warnings == 0 || !options.strict);
    Ok(Report { text, notes: Vec::new(), is_good })
}

impl Finding {
    fn told(&self) -> String {
        let kind = match self.warning {
            Some(kind) => format!("warning: {kind}"),
            None => "error".to_owned(),
        };
        let place = match self.column {
            0 => format!("{}:{}", self.file, self.line),
            column => format!("{}:{}:{column}", self.file, self.line),
        };
        format!("{place}: {kind}: {}\n", self.text)
    }

    fn object(&self) -> serde_json::Value {
        let severity = if self.warning.is_some() { "warning" } else { "error" };
        json!({
            "file": self.file,
            "line": self.line,
            "column": Some(self.column).filter(|it| *it > 0),
            "severity": severity,
            "kind": self.warning.unwrap_or("invalid"),
            "text": self.text,
        })
    }
}

/// What the reader of rules finds odd: `FILE:LINE:COLUMN: TEXT`.
fn odd(told: &str, files: &[(String, String)]) -> Option<Finding> {
    let (file, rest) = files
        .iter()
        .find_map(|(file, _)| Some((file, told.strip_prefix(file.as_str())?.strip_prefix(':')?)))?;
    let mut parts = rest.splitn(3, ':');
    let mut number = || parts.next()?.parse().ok();
    let (line, column) = (number()?, number()?);
    let text = parts.next()?.trim().to_owned();
    Some(Finding { file: file.clone(), line, column, warning: Some("odd"), text })
}

fn warnings(rule: &Rule, warn: &mut dyn FnMut(&'static str, &str, String)) {
    if rule.matching.is_empty() {
        warn("no_match_example", "k8scop:", "it has no example that must hit it".into());
    }
    if rule.not_matching.is_empty() {
        warn("no_no_match_example", "k8scop:", "it has no example that must not hit it".into());
    }
    if rule.advice.is_none() {
        warn("no_advice", "k8scop:", "it says nothing of what to do next (k8scop.advice)".into());
    }
    if rule.falsepositives.is_empty() {
        warn(
            "no_false_positives",
            "level:",
            "it says nothing of what else it can be (falsepositives)".into(),
        );
    }
    if rule.description.is_empty() {
        warn("no_description", "title:", "it has no description".into());
    }
    for tag in rule.tags.iter().filter(|it| !attack::is_known(it)) {
        warn("unknown_tag", tag, format!("ATT&CK has no `{tag}`"));
    }
}

/// An event that no rule is about: those that are looked at for it are looked at for nearly all events.
const ANY_EVENT: &str = r#"{"stage":"ResponseComplete","verb":"?","requestURI":"?","user":{"username":"system:node:?"},"objectRef":{"resource":"?"},"responseStatus":{"code":200}}"#;

/// The documents of the rules, which are in the order of their files.
fn places(files: &[(String, String)], rules: &[Rule]) -> Vec<Option<Document>> {
    let mut left = rules.iter().peekable();
    let mut found = Vec::with_capacity(rules.len());
    for (name, text) in files {
        let of_file = left.peek().is_some_and(|it| it.file == *name);
        let documents = of_file.then(|| documents(name, text).ok()).flatten().unwrap_or_default();
        let mut documents = documents.into_iter().filter(|it| it.kind == DocumentKind::Rule);
        while left.next_if(|it| it.file == *name).is_some() {
            found.push(documents.next());
        }
    }
    found
}

/// The line of the document on which `token` stands, else its first.
fn line_of(document: Option<&Document>, token: &str) -> usize {
    let Some(Document { text, lines_before, root, .. }) = document else { return 1 };
    let found = text.lines().position(|it| it.contains(token));
    found.map_or(root.at.line, |it| lines_before + it + 1)
}
