//! Sentences about an event: the reason of an alert.

use std::{borrow::Cow, cell::OnceCell, collections::HashSet};

use super::{
    fields::{Found, NESTED_ARRAYS_MAX, visit, walk},
    plain,
    view::View,
};
use crate::{
    event::AuditEvent,
    rules::{Condition, Field, FieldTest, Part, Rule, Template},
};

/// Most values of one field that a sentence names; the others are counted.
const VALUES_MAX: usize = 3;
/// What stands for a field that the event lacks.
const ABSENT: &str = "-";

/// Fills a sentence with the event's fields: the first value of each.
#[must_use]
pub fn sentence(event: &AuditEvent<'_>, template: &Template) -> String {
    let view = View::new(event);
    filled(template, |field| first(&view, field))
}

/// The rule's sentence. Of what is there more than once, such as containers, it names those that hit the rule.
#[must_use]
pub fn reason(event: &AuditEvent<'_>, rule: &Rule) -> String {
    let (view, grounds) = (View::new(event), OnceCell::new());
    filled(&rule.reason, |field| {
        if !is_of_several(field) {
            return first(&view, field);
        }
        let grounds = grounds.get_or_init(|| grounds_of(&view, rule));
        let mut hit = Values::default();
        match field {
            Field::Container(path) => add_containers(&view, path, grounds, &mut hit),
            _ => add_fitting(&view, field, grounds, &mut hit),
        }
        if hit.told.is_empty() {
            visit(&view, field, &mut |it| hit.add(&it));
        }
        hit.listed()
    })
}

fn filled(template: &Template, mut value: impl FnMut(&Field) -> String) -> String {
    let mut out = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Field(field) => out.push_str(&value(field)),
        }
    }
    out
}

fn first(view: &View<'_>, field: &Field) -> String {
    let mut value = Cow::Borrowed(ABSENT);
    visit(view, field, &mut |found| match found {
        Found::Text(text) => {
            value = Cow::Owned(text.to_owned());
            true
        }
        Found::Other => false,
    });
    value.into_owned()
}

/// Whether an event has it for each of several things, of which a rule is about some.
fn is_of_several(field: &Field) -> bool {
    matches!(field, Field::Container(_) | Field::HostPath | Field::Removed | Field::Copied)
}

/// The lines that hold together, of selections that the rule wants.
fn grounds_of<'r>(view: &View<'_>, rule: &'r Rule) -> Vec<&'r [FieldTest]> {
    let mut wanted = Vec::new();
    add_wanted(&rule.condition, &mut wanted);
    let searches = wanted.into_iter().filter_map(|it| rule.searches.get(it));
    let alternatives = searches.flat_map(|it| it.alternatives.iter().map(Vec::as_slice));
    alternatives.filter(|it| plain::all_hold(view, *it)).collect()
}

fn add_wanted(condition: &Condition, out: &mut Vec<usize>) {
    match condition {
        Condition::Search(place) => out.push(*place),
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().for_each(|it| add_wanted(it, out));
        }
        Condition::Not(_) => (),
    }
}

/// Adds what stands at `path` in the containers of which all lines of a selection hold.
fn add_containers<'r>(view: &View<'_>, path: &str, grounds: &[&'r [FieldTest]], out: &mut Values) {
    for tests in grounds {
        let line = |it: &'r FieldTest| match &it.field {
            Field::Container(path) => Some((it, path.as_str())),
            _ => None,
        };
        let lines: Vec<_> = tests.iter().filter_map(line).collect();
        if lines.is_empty() {
            continue;
        }
        for container in view.containers() {
            if plain::hold_in(view, container, &lines, NESTED_ARRAYS_MAX) {
                walk(container, path, NESTED_ARRAYS_MAX, &mut |it| out.add(&it));
            }
        }
    }
}

/// Adds the values that fit a line.
fn add_fitting(view: &View<'_>, field: &Field, grounds: &[&[FieldTest]], out: &mut Values) {
    for test in grounds.iter().copied().flatten() {
        if test.field != *field || test.negated {
            continue;
        }
        visit(view, field, &mut |it| match it {
            Found::Text(text) if test.patterns.iter().any(|it| plain::fits(view, it, text)) => {
                out.add(&it)
            }
            _ => false,
        });
    }
}

/// Different values, in their order.
#[derive(Default)]
struct Values {
    told: Vec<String>,
    seen: HashSet<String>,
}

impl Values {
    /// False: it never has enough, for it counts.
    fn add(&mut self, found: &Found<'_>) -> bool {
        if let Found::Text(text) = found
            && self.seen.insert((*text).to_owned())
            && self.told.len() < VALUES_MAX
        {
            self.told.push((*text).to_owned());
        }
        false
    }

    fn listed(&self) -> String {
        let more = self.seen.len() - self.told.len();
        match (self.told.as_slice(), more) {
            ([], _) => ABSENT.to_owned(),
            (told, 0) => told.join(", "),
            (told, more) => format!("{} and {more} more", told.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, rules::parse};

    #[track_caller]
    fn check(detection: &str, reason: &str, event: &str, expected: &str) {
        let rule = parse(
            "t.yml",
            &format!(
                "title: t\nid: i\nlevel: low\nlogsource: {{product: kubernetes, service: audit}}\n\
                 k8scop: {{reason: '{reason}'}}\ndetection:\n{detection}"
            ),
        );
        let event = AuditEvent::new(event, json::members(event).collect());
        assert_eq!(super::reason(&event, &rule.unwrap()), expected);
    }

    fn pod(containers: &str) -> String {
        format!(
            r#"{{"verb":"create","objectRef":{{"resource":"pods"}},"requestObject":{{"spec":{{"containers":[{containers}],
            "volumes":[{{"hostPath":{{"path":"/data"}}}},{{"hostPath":{{"path":"/etc/"}}}}]}}}}}}"#
        )
    }

    const IMAGE: &str = "{k8scop.container.image} of {objectRef.resource} {objectRef.name}";

    #[test]
    fn containers_that_hit_the_rule_are_named() {
        let containers = r#"{"image":"good"},{"image":"bad","securityContext":{"privileged":true}},
            {"image":"worse","securityContext":{"privileged":true}},{"image":"bad","securityContext":{"privileged":true}}"#;
        let privileged = "a: {k8scop.container.securityContext.privileged: true}";
        check(
            &format!("  {privileged}\n  condition: a"),
            IMAGE,
            &pod(containers),
            "bad, worse of pods -",
        );
        check(
            "  a: {k8scop.container.securityContext.privileged: true, k8scop.container.image|neq: bad}\n  b: {verb: create}\n  condition: b and a",
            IMAGE,
            &pod(containers),
            "worse of pods -",
        );
        check(
            &format!("  b: {{verb: create}}\n  {privileged}\n  condition: b and not a or b"),
            IMAGE,
            &pod(containers),
            "good, bad, worse of pods -",
        );
    }

    #[test]
    fn many_are_counted_and_none_is_a_dash() {
        let many: Vec<_> =
            (0..VALUES_MAX + 4).map(|it| format!(r#"{{"image":"i{it}"}}"#)).collect();
        check(
            "  a: {verb: create}\n  condition: a",
            IMAGE,
            &pod(&many.join(",")),
            "i0, i1, i2 and 4 more of pods -",
        );
        check("  a: {verb: create}\n  condition: a", IMAGE, &pod(""), "- of pods -");
    }

    #[test]
    fn paths_that_hit_the_rule_are_named() {
        let path = "{k8scop.host_path}";
        check("  a: {k8scop.host_path: /etc}\n  condition: a", path, &pod(""), "/etc");
        check("  a: {verb: create}\n  condition: a", path, &pod(""), "/data, /etc");
    }
}
