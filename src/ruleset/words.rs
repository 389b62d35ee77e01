//! Lines and conditions of a rule in words.

use crate::rules::{Condition, FieldTest, Pattern, Place, Rule, Search};

/// Most values of a line that are said.
const VALUES_MAX: usize = 12;

/// `verb is get or list`
pub(super) fn line(test: &FieldTest) -> String {
    let field = &test.field;
    if let Some(exists) = test.exists {
        return format!("{field} is {}", if exists != test.negated { "there" } else { "absent" });
    }
    let joint = if test.all { "and" } else { "or" };
    let mut phrases: Vec<(&str, Vec<String>)> = Vec::new();
    let mut is_cased = false;
    for pattern in &test.patterns {
        let (verb, value) = phrase(pattern, test.negated);
        is_cased |= matches!(
            pattern,
            Pattern::Text { cased: true, .. } | Pattern::SameAs { cased: true, .. }
        );
        match phrases.iter_mut().find(|(it, _)| *it == verb) {
            Some((_, values)) => values.push(value),
            None => phrases.push((verb, vec![value])),
        }
    }
    let said = phrases.into_iter().map(|(verb, values)| {
        let values = listed(values, joint);
        if values.is_empty() { verb.to_owned() } else { format!("{verb} {values}") }
    });
    let case = if is_cased { " (exact case)" } else { "" };
    let said = said.collect::<Vec<_>>().join(&format!(" {joint} "));
    format!("{field} {said}{case}")
}

fn phrase(pattern: &Pattern, negated: bool) -> (&'static str, String) {
    let (yes, no, value) = match pattern {
        Pattern::Text { place, text, .. } => {
            let (yes, no) = of_place(*place);
            (yes, no, if text.is_empty() { "\"\"".into() } else { text.clone() })
        }
        Pattern::SameAs { field, place, .. } => {
            let (yes, no) = of_place(*place);
            (yes, no, format!("what {field} has"))
        }
        Pattern::Cidr(network) => ("is in", "is not in", network.to_string()),
        Pattern::Null => ("is absent", "is there", String::new()),
        Pattern::Present => ("is there", "is absent", String::new()),
        Pattern::Regex { written, .. } if written.starts_with('/') => {
            ("matches", "does not match", written.clone())
        }
        Pattern::Regex { written, .. } => ("is like", "is not like", written.clone()),
        other => ("is", "is not", other.to_string()),
    };
    (if negated { no } else { yes }, value)
}

fn of_place(place: Place) -> (&'static str, &'static str) {
    match place {
        Place::Whole => ("is", "is not"),
        Place::Start => ("starts with", "does not start with"),
        Place::End => ("ends with", "does not end with"),
        Place::Within => ("contains", "does not contain"),
    }
}

/// `a, b or c`
fn listed(mut values: Vec<String>, joint: &str) -> String {
    values.retain(|it| !it.is_empty());
    if values.len() > VALUES_MAX {
        let more = values.len() - VALUES_MAX;
        values.truncate(VALUES_MAX);
        values.push(format!("{more} more"));
    }
    match values.pop() {
        None => String::new(),
        Some(last) if values.is_empty() => last,
        Some(last) => format!("{} {joint} {last}", values.join(", ")),
    }
}

/// The condition of a rule, indented, a line each.
pub(super) fn condition(rule: &Rule) -> Vec<String> {
    let mut out = Vec::new();
    say(&rule.condition, &rule.searches, 0, "", &mut out);
    out
}

fn say(condition: &Condition, searches: &[Search], depth: usize, not: &str, out: &mut Vec<String>) {
    let indent = "  ".repeat(depth);
    match condition {
        Condition::Search(place) => {
            if let Some(search) = searches.get(*place) {
                selection(search, depth, not, out);
            }
        }
        Condition::Not(part) => {
            say(part, searches, depth, if not.is_empty() { "not " } else { "" }, out);
        }
        Condition::All(parts) | Condition::Any(parts) => {
            let is_all = matches!(condition, Condition::All(_));
            // The condition as a whole needs no heading.
            let is_whole = is_all && not.is_empty() && depth == 0;
            if !is_whole {
                out.push(format!("{indent}{not}{} of", if is_all { "all" } else { "one" }));
            }
            let inner = if is_whole { depth } else { depth + 1 };
            parts.iter().for_each(|it| say(it, searches, inner, "", out));
        }
    }
}

fn selection(search: &Search, depth: usize, not: &str, out: &mut Vec<String>) {
    let (outer, inner) = ("  ".repeat(depth), "  ".repeat(depth + 1));
    match search.alternatives.as_slice() {
        [tests] => {
            out.push(format!("{outer}{not}{}", search.name));
            out.extend(tests.iter().map(|it| format!("{inner}{}", line(it))));
        }
        many => {
            out.push(format!("{outer}{not}{}, one of", search.name));
            for tests in many {
                let mut mark = "- ";
                for test in tests {
                    out.push(format!("{inner}{mark}{}", line(test)));
                    mark = "  ";
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    const HEAD: &str = "title: t\nid: i\nlevel: low\nlogsource: {product: kubernetes, service: audit}\ndetection:\n";

    #[track_caller]
    fn check(detection: &str, expected: &[&str]) {
        let rule = rules::parse("t.yml", &format!("{HEAD}{detection}")).unwrap();
        assert_eq!(condition(&rule), expected, "{detection}");
    }

    #[test]
    fn conditions() {
        check(
            "  a: {verb: [get, list, watch], userAgent|contains|all: [x, y]}\n  condition: a",
            &["a", "  verb is get, list or watch", "  userAgent contains x and y"],
        );
        check(
            "  a: {verb: get}\n  b: [{stage: s, level|startswith: L}, {requestURI|re: '^/x'}]\n  c: {sourceIPs|cidr: 10.0.0.0/8}\n  condition: a and not 1 of b and (b or c)",
            &[
                "a",
                "  verb is get",
                "not b, one of",
                "  - stage is s",
                "    level starts with L",
                "  - requestURI matches /^/x/",
                "one of",
                "  b, one of",
                "    - stage is s",
                "      level starts with L",
                "    - requestURI matches /^/x/",
                "  c",
                "    sourceIPs is in 10.0.0.0/8",
            ],
        );
        check(
            "  a: {verb|neq: [get, list], objectRef.name|exists: false, responseStatus.code|gte: 400, user.username|fieldref: objectRef.name, objectRef.namespace|cased: [null, X]}\n  condition: a",
            &[
                "a",
                "  verb is not get or list",
                "  objectRef.name is absent",
                "  responseStatus.code is ≥ 400",
                "  user.username is what objectRef.name has",
                "  objectRef.namespace is absent or is X (exact case)",
            ],
        );
        check(
            "  a: {verb: get}\n  b: {verb: list}\n  condition: not (a and not b)",
            &["not all of", "  a", "    verb is get", "  not b", "    verb is list"],
        );
    }
}
