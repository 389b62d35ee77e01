//! Why an event hits a rule: the same decision as [`Classifier::classify`], slower, and with its grounds.

use super::{
    fields::{Found, visit},
    matcher::Classifier,
    plain,
    view::View,
};
use crate::{
    event::AuditEvent,
    rules::{Condition, FieldTest, Pattern, Search},
    unwrap,
};

/// One ground for a hit: a line of a selection that the condition wants, and that holds, or one that keeps a
/// selection from holding that the condition does not want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason<'r> {
    /// The selection in the rule.
    pub selection: &'r str,
    /// Whether the line holds. False for what stands under a `not`.
    pub holds: bool,
    /// The field, as the rule names it.
    pub field: String,
    /// What the event has there: the value that fits, else its first. `None` if it has none.
    pub value: Option<String>,
    /// The pattern that fits; of a line that does not hold, all that could have.
    pub pattern: String,
}

/// What stands for a value that is no text.
const OBJECT: &str = "{…}";

impl Classifier {
    /// Why the event hits the rule at this place; `None` if it does not.
    #[must_use]
    pub fn explain(&self, event: &AuditEvent<'_>, rule: usize) -> Option<Vec<Reason<'_>>> {
        let rule = self.rules().get(rule)?;
        let mut reasons = Vec::new();
        why(&View::new(event), &rule.condition, &rule.searches, true, &mut reasons)
            .then_some(reasons)
    }
}

/// Whether the condition comes out as wanted; if so, its grounds are appended, else nothing is.
pub(super) fn why<'r>(
    view: &View<'_>,
    condition: &Condition,
    searches: &'r [Search],
    wanted: bool,
    out: &mut Vec<Reason<'r>>,
) -> bool {
    match (condition, wanted) {
        (Condition::Not(part), _) => why(view, part, searches, !wanted, out),
        (Condition::Search(index), _) => match searches.get(*index) {
            Some(search) if wanted => holds(view, search, out),
            Some(search) => fails(view, search, out),
            None => !wanted,
        },
        // Each part has to come out so.
        (Condition::All(parts), true) | (Condition::Any(parts), false) => {
            let start = out.len();
            let all = parts.iter().all(|it| why(view, it, searches, wanted, out));
            if !all {
                out.truncate(start);
            }
            all
        }
        // One is enough, and each that does is a ground.
        (Condition::Any(parts), true) | (Condition::All(parts), false) => {
            let grounds = parts.iter().filter(|it| why(view, it, searches, wanted, out));
            grounds.count() > 0
        }
    }
}

/// Whether one of the selection's alternatives holds.
fn holds<'r>(view: &View<'_>, search: &'r Search, out: &mut Vec<Reason<'r>>) -> bool {
    let Some(tests) = search.alternatives.iter().find(|it| plain::all_hold(view, *it)) else {
        return false;
    };
    for test in tests {
        // What holds for one element only may have no value that fits by itself.
        let fitting =
            fits(view, test).unwrap_or_else(|| vec![(value(view, test, |_| true), wanted(test))]);
        out.extend(fitting.into_iter().map(|(value, pattern)| Reason {
            selection: &search.name,
            holds: true,
            field: test.field.to_string(),
            value,
            pattern,
        }));
    }
    true
}

/// Whether none does: each has a line that does not hold, or lines that no one element satisfies.
fn fails<'r>(view: &View<'_>, search: &'r Search, out: &mut Vec<Reason<'r>>) -> bool {
    if search.alternatives.iter().any(|it| plain::all_hold(view, it)) {
        return false;
    }
    for tests in &search.alternatives {
        let alone = |it: &&FieldTest| !plain::all_hold(view, std::slice::from_ref(*it));
        let Some(test) = tests.iter().find(alone).or(tests.last()) else { continue };
        out.push(Reason {
            selection: &search.name,
            holds: false,
            field: test.field.to_string(),
            value: value(view, test, |_| true),
            pattern: wanted(test),
        });
    }
    true
}

/// A value, if there is one, and the pattern that it fits.
type Fit = (Option<String>, String);

/// The values that make the line hold; `None` if it does not.
fn fits(view: &View<'_>, test: &FieldTest) -> Option<Vec<Fit>> {
    if test.negated {
        return plain::passes(view, test)
            .then(|| vec![(value(view, test, |_| true), wanted(test))]);
    }
    if let Some(exists) = test.exists {
        let found = value(view, test, |_| true);
        return (found.is_some() == exists).then(|| vec![(found, wanted(test))]);
    }
    let one = |pattern: &Pattern| {
        let found = match pattern {
            Pattern::Null => match value(view, test, |_| true) {
                None => None,
                Some(_) => return None,
            },
            Pattern::Present => Some(value(view, test, |_| true)?),
            pattern => {
                Some(value(view, test, |it| it.is_some_and(|it| plain::fits(view, pattern, it)))?)
            }
        };
        Some((found, pattern.to_string()))
    };
    match test.all {
        true => test.patterns.iter().map(one).collect(),
        false => test.patterns.iter().find_map(one).map(|it| vec![it]),
    }
}

/// The first value of the field that is as it should be. What is no text has none to look at.
pub(super) fn value(
    view: &View<'_>,
    test: &FieldTest,
    is_it: impl Fn(Option<&str>) -> bool,
) -> Option<String> {
    let mut value = None;
    visit(view, &test.field, &mut |found| {
        let (text, shown) = match found {
            Found::Text(text) => (Some(text), text),
            Found::Other => (None, OBJECT),
        };
        if is_it(text) {
            value = Some(unwrap::cut(shown).to_owned());
        }
        value.is_some()
    });
    value
}

/// All that the line would take.
pub(super) fn wanted(test: &FieldTest) -> String {
    if let Some(exists) = test.exists {
        return format!("exists: {exists}");
    }
    let joint = if test.all { " and " } else { " or " };
    let wanted = test.patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(joint);
    if test.negated { format!("not {wanted}") } else { wanted }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        json,
        rules::{self, Rule},
    };

    const HEAD: &str = "title: t\nid: i\nlevel: low\nlogsource: {product: kubernetes, service: audit}\ndetection:\n";

    fn rule(detection: &str) -> Rule {
        rules::parse("t.yml", &format!("{HEAD}{detection}")).unwrap()
    }

    /// The reasons, one a line: `selection: field = value fits pattern`.
    #[track_caller]
    fn check(detection: &str, event: &str, expected: Option<&[&str]>) {
        let classifier = Classifier::new(vec![rule(detection)]).unwrap();
        let event = AuditEvent::new(event, json::members(event).collect());
        let reasons = classifier.explain(&event, 0).map(|reasons| {
            let shown = |it: &Reason<'_>| {
                let (not, fits) = if it.holds { ("", "fits") } else { ("not ", "not") };
                let value = it.value.as_deref().unwrap_or("-");
                format!("{not}{}: {} = {value} {fits} {}", it.selection, it.field, it.pattern)
            };
            reasons.iter().map(shown).collect::<Vec<_>>()
        });
        let expected = expected.map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(reasons, expected, "{detection}");
    }

    #[test]
    fn grounds() {
        let event = r#"{"verb":"GET","userAgent":"kubectl/v1.35 (linux/amd64)","sourceIPs":["192.0.2.7","10.2.3.4"],
            "objectRef":{"resource":"secrets"},"user":{"groups":["dev","ops"]},"requestObject":{"spec":{}}}"#;
        check(
            "  a: {verb: [list, get], objectRef.resource: secrets}\n  condition: a",
            event,
            Some(&["a: verb = GET fits get", "a: objectRef.resource = secrets fits secrets"]),
        );
        check(
            "  a: {sourceIPs|cidr: 10.0.0.0/8, userAgent: 'kube*(linux/?md64)'}\n  condition: a",
            event,
            Some(&[
                "a: sourceIPs = 10.2.3.4 fits 10.0.0.0/8",
                "a: userAgent = kubectl/v1.35 (linux/amd64) fits kube*(linux/?md64)",
            ]),
        );
        check(
            "  a: {user.groups|contains|all: [ev, ops]}\n  condition: a",
            event,
            Some(&["a: user.groups = dev fits *ev*", "a: user.groups = ops fits *ops*"]),
        );
        check(
            "  a: {requestObject.spec|exists: true, impersonatedUser.username: null}\n  condition: a",
            event,
            Some(&[
                "a: requestObject.spec = {…} fits exists: true",
                "a: impersonatedUser.username = - fits null",
            ]),
        );
        check(
            "  a: {verb|re: '^G'}\n  no_b: {user.groups: [x, y]}\n  no_c: [{stage: s}, {level: l}]\n  condition: a and not 1 of no_*",
            event,
            Some(&[
                "a: verb = GET fits /^G/",
                "not no_b: user.groups = dev not x or y",
                "not no_c: stage = - not s",
                "not no_c: level = - not l",
            ]),
        );
        check(
            "  a: {verb: list}\n  b: {verb: get}\n  c: {objectRef.resource: secrets}\n  condition: 1 of them",
            event,
            Some(&["b: verb = GET fits get", "c: objectRef.resource = secrets fits secrets"]),
        );
        check("  a: {verb: get, stage: x}\n  condition: a", event, None);
    }

    const VALUES: [&str; 4] = ["get", "pods", "kube", "10.0.0.1"];

    /// One line of a selection.
    fn line() -> impl Strategy<Value = String> {
        let field = prop::sample::select(vec![
            "verb",
            "objectRef.resource",
            "user.groups",
            "sourceIPs",
            "requestObject.spec",
        ]);
        let test = prop_oneof![
            prop::sample::subsequence(VALUES.to_vec(), 1..3)
                .prop_map(|it| (String::new(), format!("[{}]", it.join(", ")))),
            prop::sample::subsequence(vec!["e", "s", "be"], 1..3)
                .prop_map(|it| ("|contains".into(), format!("[{}]", it.join(", ")))),
            prop::sample::subsequence(vec!["e", "s", "be"], 1..3)
                .prop_map(|it| ("|contains|all".into(), format!("[{}]", it.join(", ")))),
            Just(("|cidr".into(), "10.0.0.0/8".into())),
            Just(("|re".into(), "'^[gp]'".into())),
            Just((String::new(), "[null, get]".into())),
            Just((String::new(), "'*'".into())),
            Just((String::new(), "'?e*'".into())),
            any::<bool>().prop_map(|it| ("|exists".into(), it.to_string())),
        ];
        (field, test).prop_map(|(field, (modifier, value))| format!("{field}{modifier}: {value}"))
    }

    /// Lines of one field each, and one or two alternatives.
    fn selection() -> impl Strategy<Value = String> {
        let map = prop::collection::vec(line(), 1..3).prop_map(|mut lines| {
            lines.sort();
            lines.dedup_by_key(|it| it.split(": ").next().unwrap_or_default().to_owned());
            format!("{{{}}}", lines.join(", "))
        });
        prop::collection::vec(map, 1..3).prop_map(|it| format!("[{}]", it.join(", ")))
    }

    fn condition() -> impl Strategy<Value = String> {
        let leaf = prop::sample::select(vec!["a", "b", "c"]).prop_map(String::from);
        leaf.prop_recursive(4, 12, 2, |inner| {
            prop_oneof![
                inner.clone().prop_map(|it| format!("not ({it})")),
                (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a} and {b})")),
                (inner.clone(), inner).prop_map(|(a, b)| format!("({a} or {b})")),
            ]
        })
    }

    fn event() -> impl Strategy<Value = String> {
        let value = || prop::sample::select(vec!["get", "PODS", "kube", "10.0.0.1", "192.0.2.1"]);
        let list = || prop::collection::vec(value().prop_map(|it| format!("\"{it}\"")), 0..3);
        let body = prop::sample::select(vec!["null", "{}", "[]", "\"get\"", "[[\"pods\"]]", "7"]);
        (value(), value(), list(), list(), body).prop_map(|(verb, resource, groups, ips, body)| {
            format!(
                r#"{{"verb":"{verb}","objectRef":{{"resource":"{resource}"}},"user":{{"groups":[{}]}},"sourceIPs":[{}],"requestObject":{{"spec":{body}}}}}"#,
                groups.join(","),
                ips.join(","),
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]
        /// A rule is explained if and only if it is hit, and a miss if and only if it is not.
        #[test]
        fn explained_is_hit(
            selections in [selection(), selection(), selection()],
            condition in condition(),
            events in prop::collection::vec(event(), 1..8),
        ) {
            let [a, b, c] = &selections;
            let detection = format!("  a: {a}\n  b: {b}\n  c: {c}\n  condition: {condition}");
            let classifier = Classifier::new(vec![rule(&detection)]).unwrap();
            for text in &events {
                let event = AuditEvent::new(text, json::members(text).collect());
                let reasons = classifier.explain(&event, 0);
                let hit = classifier.classify(&event).hits == [0];
                prop_assert_eq!(reasons.is_some(), hit, "{} on {}", detection, text);
                let miss = classifier.miss(&event, 0);
                prop_assert_eq!(miss.is_none(), hit, "{} on {}", detection, text);
                prop_assert!(miss.is_none_or(|it| it.lines > 0 && !it.reasons.is_empty()));
                prop_assert!(!hit || reasons.is_some_and(|it| !it.is_empty()));
            }
        }
    }
}
