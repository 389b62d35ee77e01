//! Sigma rules of others: taken as they are, but for fields that no audit event has and everybody can guess.

use std::path::Path;

use yaml_serde::{Mapping, Value};

use super::{Draft, Found, Left};
use crate::rules;

/// Lines of public rules that can never hold on an audit event as the API server writes it, and what was meant
/// (SigmaHQ, rules for kubernetes/audit, seen in August 2026): names of fields.
const FIELDS: [(&str, &str); 6] = [
    ("apiGroup", "objectRef.apiGroup"),
    ("hostPath", "k8scop.host_path"),
    ("capabilities", "k8scop.container.securityContext.capabilities.add"),
    ("username", "user.username"),
    ("namespace", "objectRef.namespace"),
    ("resource", "objectRef.resource"),
];

/// The same for whole lines: what the API server says of a decision is an annotation, no code.
const LINES: [(&str, &str); 2] = [
    ("responseStatus.code: 'ALLOW'", "annotations.authorization.k8s.io/decision: allow"),
    ("responseStatus.code: ALLOW", "annotations.authorization.k8s.io/decision: allow"),
];

/// Takes the rules of a file. `below` is its path in the folder.
pub(super) fn take(name: &str, below: &Path, text: &str, found: &mut Found) {
    let left = |line: usize, title: &str, why: String| {
        let title = if title.is_empty() { "?" } else { title };
        Left { from: name.to_owned(), line, title: title.to_owned(), why }
    };
    let head: Mapping = match first_document(text) {
        Ok(head) => head,
        Err(error) => {
            let line = error.location().map_or(1, |it| it.line());
            found.left.push(left(line, "", format!("no YAML of a rule: {error}")));
            return;
        }
    };
    let get = |map: &Mapping, key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
    let title = get(&head, "title").unwrap_or_default();
    let logsource = head.get("logsource").and_then(Value::as_mapping);
    let product = logsource.and_then(|it| get(it, "product"));
    let service = logsource.and_then(|it| get(it, "service"));
    if product.as_deref() != Some("kubernetes")
        || service.as_deref().is_some_and(|it| it != "audit")
    {
        found.others += 1;
        return;
    }
    let (adapted, notes) = adapted(text);
    if let Err(error) = rules::parse(name, &adapted) {
        found.left.push(left(error.line, &title, error.reason));
        return;
    }
    let header =
        format!("# From {name}, by k8scop rules import. Its licence is that of its source.\n");
    found.drafts.push(Draft {
        from: name.to_owned(),
        title,
        file: below.to_owned(),
        text: header + &adapted,
        notes,
    });
}

fn first_document(text: &str) -> Result<Mapping, yaml_serde::Error> {
    use serde::Deserialize;
    match yaml_serde::Deserializer::from_str(text).next() {
        Some(document) => Mapping::deserialize(document),
        None => yaml_serde::from_str(text),
    }
}

/// The text with fields that audit events have, and what was changed.
fn adapted(text: &str) -> (String, Vec<String>) {
    let (mut out, mut notes) = (String::with_capacity(text.len()), Vec::new());
    let mut is_detection = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with(|it: char| it.is_ascii_alphabetic()) {
            is_detection = line.starts_with("detection:");
        }
        let changed = if is_detection { better(line) } else { None };
        if let Some(changed) = &changed {
            let (old, new) = (line.trim(), changed.trim());
            notes.push(format!("line {}: `{old}` is now `{new}`", number + 1));
        }
        out.push_str(changed.as_deref().unwrap_or(line));
        out.push('\n');
    }
    (out, notes)
}

fn better(line: &str) -> Option<String> {
    let start = line.find(|it: char| it != ' ' && it != '-')?;
    let (indent, rest) = line.split_at_checked(start)?;
    if let Some((_, new)) = LINES.iter().find(|(old, _)| rest.trim_end() == *old) {
        return Some(format!("{indent}{new}"));
    }
    let end = rest.find([':', '|'])?;
    let (name, rest) = rest.split_at_checked(end)?;
    let (_, new) = FIELDS.iter().find(|(old, _)| *old == name)?;
    Some(format!("{indent}{new}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_never_hold() {
        for (line, expected) in [
            ("    apiGroup: apps", Some("    objectRef.apiGroup: apps")),
            ("    - hostPath: '*'", Some("    - k8scop.host_path: '*'")),
            (
                "    capabilities|contains: x",
                Some("    k8scop.container.securityContext.capabilities.add|contains: x"),
            ),
            (
                "    responseStatus.code: 'ALLOW'",
                Some("    annotations.authorization.k8s.io/decision: allow"),
            ),
            ("    responseStatus.code: 403", None),
            ("    objectRef.apiGroup: apps", None),
            ("  selection:", None),
        ] {
            assert_eq!(better(line).as_deref(), expected, "{line}");
        }
    }
}
