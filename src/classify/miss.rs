//! Why an event does not hit a rule, and how near it is.

use super::{
    explain::{Reason, value, wanted, why},
    matcher::Classifier,
    plain,
    view::View,
};
use crate::{
    event::AuditEvent,
    rules::{Condition, FieldTest, Search},
};

/// What keeps an event from hitting a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss<'r> {
    /// The first line that the condition wants and that does not hold; or the lines of a selection that the
    /// condition does not want and that hold.
    pub reasons: Vec<Reason<'r>>,
    /// Each line of the selection holds, but not all for one element of an array.
    pub no_one_element: bool,
    /// How many lines would have to come out otherwise, on the shortest way to a hit.
    pub lines: usize,
    /// How many lines the rule wants at least.
    pub wanted: usize,
}

/// Fewest lines of a rule that something can be near to.
const NEAR_LINES_MIN: usize = 3;

impl Miss<'_> {
    /// Whether all lines but one come out as the rule wants. Of a rule of one or two lines nearly all events would.
    #[must_use]
    pub fn is_near(&self) -> bool {
        self.lines == 1 && self.wanted >= NEAR_LINES_MIN
    }
}

impl Classifier {
    /// Why the event does not hit the rule at this place; `None` if it does.
    #[must_use]
    pub fn miss(&self, event: &AuditEvent<'_>, rule: usize) -> Option<Miss<'_>> {
        let rule = self.rules().get(rule)?;
        let miss = miss(&View::new(event), &rule.condition, &rule.searches, true)?;
        Some(Miss { wanted: least(&rule.condition, &rule.searches, true), ..miss })
    }
}

/// Why the condition does not come out so; `None` if it does.
fn miss<'r>(
    view: &View<'_>,
    condition: &'r Condition,
    searches: &'r [Search],
    so: bool,
) -> Option<Miss<'r>> {
    match (condition, so) {
        (Condition::Not(part), _) => miss(view, part, searches, !so),
        (Condition::Search(place), true) => match searches.get(*place) {
            Some(search) => lacks(view, search),
            None => Some(Miss { reasons: Vec::new(), no_one_element: false, lines: 1, wanted: 0 }),
        },
        (Condition::Search(_), false) => {
            let mut reasons = Vec::new();
            let holds = why(view, condition, searches, true, &mut reasons);
            holds.then_some(Miss { reasons, no_one_element: false, lines: 1, wanted: 0 })
        }
        // Each part has to come out so.
        (Condition::All(parts), true) | (Condition::Any(parts), false) => {
            let mut misses = parts.iter().filter_map(|it| miss(view, it, searches, so));
            let first = misses.next()?;
            let lines = misses.map(|it| it.lines).sum::<usize>() + first.lines;
            Some(Miss { lines, ..first })
        }
        // One is enough: the nearest is told.
        (Condition::Any(parts), true) | (Condition::All(parts), false) => {
            let mut nearest: Option<Miss<'r>> = None;
            for part in parts {
                let miss = miss(view, part, searches, so)?;
                if nearest.as_ref().is_none_or(|it| miss.lines < it.lines) {
                    nearest = Some(miss);
                }
            }
            nearest
        }
    }
}

/// Why none of the selection's alternatives holds, told of the nearest.
fn lacks<'r>(view: &View<'_>, search: &'r Search) -> Option<Miss<'r>> {
    let mut nearest: Option<Miss<'r>> = None;
    for tests in &search.alternatives {
        if plain::all_hold(view, tests) {
            return None;
        }
        let fails = |it: &&FieldTest| !plain::all_hold(view, std::slice::from_ref(*it));
        let failing = tests.iter().filter(fails).count();
        let told = tests.iter().find(fails).or(tests.first());
        let reason = |test: &FieldTest| Reason {
            selection: &search.name,
            holds: failing == 0,
            field: test.field.to_string(),
            value: value(view, test, |_| true),
            pattern: wanted(test),
        };
        let miss = Miss {
            reasons: told.map(reason).into_iter().collect(),
            no_one_element: failing == 0,
            lines: failing.max(1),
            wanted: 0,
        };
        if nearest.as_ref().is_none_or(|it| miss.lines < it.lines) {
            nearest = Some(miss);
        }
    }
    nearest
}

/// How many lines have to hold, at least.
fn least(condition: &Condition, searches: &[Search], so: bool) -> usize {
    match (condition, so) {
        (Condition::Not(part), _) => least(part, searches, !so),
        (Condition::Search(_), false) => 0,
        (Condition::Search(place), true) => searches
            .get(*place)
            .and_then(|it| it.alternatives.iter().map(Vec::len).min())
            .unwrap_or_default(),
        (Condition::All(parts), true) | (Condition::Any(parts), false) => {
            parts.iter().map(|it| least(it, searches, so)).sum()
        }
        (Condition::Any(parts), true) | (Condition::All(parts), false) => {
            parts.iter().map(|it| least(it, searches, so)).min().unwrap_or_default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, rules};

    const HEAD: &str = "title: t\nid: i\nlevel: low\nlogsource: {product: kubernetes, service: audit}\ndetection:\n";

    #[track_caller]
    fn check(detection: &str, event: &str, expected: Option<(&[&str], usize, bool)>) {
        let rule = rules::parse("t.yml", &format!("{HEAD}{detection}")).unwrap();
        let classifier = Classifier::new(vec![rule]).unwrap();
        let event = AuditEvent::new(event, json::members(event).collect());
        let miss = classifier.miss(&event, 0);
        let shown = |it: &Reason<'_>| {
            let fits = if it.holds { "fits" } else { "not" };
            let value = it.value.as_deref().unwrap_or("-");
            format!("{}: {} = {value} {fits} {}", it.selection, it.field, it.pattern)
        };
        let found = miss
            .as_ref()
            .map(|it| (it.reasons.iter().map(shown).collect::<Vec<_>>(), it.lines, it.is_near()));
        let expected = expected.map(|(reasons, lines, near)| {
            (reasons.iter().map(ToString::to_string).collect::<Vec<_>>(), lines, near)
        });
        assert_eq!(found, expected, "{detection}");
        assert_eq!(miss.is_none(), classifier.explain(&event, 0).is_some());
        assert_eq!(miss.is_none(), !classifier.classify(&event).hits.is_empty());
    }

    const EVENT: &str = r#"{"verb":"list","stage":"ResponseComplete","objectRef":{"resource":"secrets"},"user":{"username":"bob"},
        "responseStatus":{"code":403},"requestObject":{"rules":[{"verbs":["get"],"resources":["pods"]},{"verbs":["list"],"resources":["secrets"]}]}}"#;

    #[test]
    fn the_first_line_that_fails() {
        let a = "a: {verb: [get, list], objectRef.resource: secrets, responseStatus.code: 200}";
        check(
            &format!("  {a}\n  condition: a"),
            EVENT,
            Some((&["a: responseStatus.code = 403 not 200"], 1, true)),
        );
        check(
            "  a: {verb: get, objectRef.resource: pods, objectRef.name|exists: true}\n  condition: a",
            EVENT,
            Some((&["a: verb = list not get"], 3, false)),
        );
        check(
            "  a: {objectRef.name: x}\n  condition: a",
            EVENT,
            Some((&["a: objectRef.name = - not x"], 1, false)),
        );
        check("  a: {verb: list}\n  condition: a", EVENT, None);
    }

    #[test]
    fn an_exception_that_fits() {
        check(
            "  a: {verb: list, objectRef.resource: secrets, stage: ResponseComplete}\n  b: {user.username: [alice, bob]}\n  condition: a and not b",
            EVENT,
            Some((&["b: user.username = bob fits bob"], 1, true)),
        );
        check(
            "  a: {verb: list}\n  b: {user.username: bob}\n  c: {stage: ResponseComplete}\n  condition: not (a and b and c)",
            EVENT,
            Some((&["a: verb = list fits list"], 1, false)),
        );
    }

    #[test]
    fn the_nearest_of_several_is_told() {
        check(
            "  a: {verb: get, stage: x}\n  b: [{verb: x, level: y}, {verb: list, level: Request}]\n  condition: 1 of them",
            EVENT,
            Some((&["b: level = - not Request"], 1, false)),
        );
    }

    #[test]
    fn lines_that_hold_for_no_one_element() {
        check(
            "  a: {requestObject.rules.verbs: get, requestObject.rules.resources: secrets}\n  condition: a",
            EVENT,
            Some((&["a: requestObject.rules.verbs = get fits get"], 1, false)),
        );
    }
}
