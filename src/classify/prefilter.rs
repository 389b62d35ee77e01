use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, BuildError, MatchKind};

use super::{fields::visit, view::View};
use crate::{
    event::AuditEvent,
    rules::{Condition, Field, FieldTest, Pattern, Rule, Search},
};

/// Fields in which literals are looked for: short, and read already.
const FIELDS: [&str; 8] = [
    "objectRef.subresource",
    "objectRef.resource",
    "requestURI",
    "verb",
    "user.username",
    "userAgent",
    "objectRef.namespace",
    "objectRef.name",
];

/// Tells cheaply which rules an event cannot hit.
///
/// For each rule a *witness* is chosen: literals of which one stands in its field whenever the rule is hit. One
/// automaton a field looks for all literals of all rules at once. A rule without a witness is always tried.
/// Witnesses only ever get weaker on the way (a whole value becomes a part, its case is dropped), so that the
/// prefilter never says no where the rule says yes.
#[derive(Debug)]
pub(super) struct Prefilter {
    fields: Vec<FieldLiterals>,
    always: Bits,
}

#[derive(Debug)]
struct FieldLiterals {
    field: usize,
    automaton: AhoCorasick,
    /// The rule of each literal, in the order of the automaton's patterns.
    rules: Vec<usize>,
}

/// A set of rules, one bit each.
#[derive(Clone, Debug)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    fn with_room_for(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, index: usize) {
        if let Some(word) = self.0.get_mut(index / 64) {
            *word |= 1 << (index % 64);
        }
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        self.0.get(index / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }
}

/// A literal in a field, by its place in [`FIELDS`].
type Literal<'r> = (usize, &'r str);

impl Prefilter {
    pub(super) fn new(rules: &[Rule]) -> Result<Self, BuildError> {
        let mut always = Bits::with_room_for(rules.len());
        let mut literals: Vec<Vec<(&str, usize)>> = vec![Vec::new(); FIELDS.len()];
        for (index, rule) in rules.iter().enumerate() {
            match witness(&rule.condition, &rule.searches) {
                None => always.insert(index),
                Some(witness) => {
                    for (field, literal) in witness {
                        if let Some(of_field) = literals.get_mut(field) {
                            of_field.push((literal, index));
                        }
                    }
                }
            }
        }
        let fields = literals
            .into_iter()
            .enumerate()
            .filter(|(_, literals)| !literals.is_empty())
            .map(|(field, literals)| {
                let (texts, rules): (Vec<_>, Vec<_>) = literals.into_iter().unzip();
                let automaton = AhoCorasickBuilder::new()
                    .ascii_case_insensitive(true)
                    .match_kind(MatchKind::Standard)
                    .kind(Some(AhoCorasickKind::ContiguousNFA))
                    .build(texts)?;
                Ok(FieldLiterals { field, automaton, rules })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { fields, always })
    }

    /// The rules that the event may hit.
    pub(super) fn candidates(&self, event: &AuditEvent<'_>) -> Bits {
        let mut candidates = self.always.clone();
        for of_field in &self.fields {
            let Some(text) = text(event, of_field.field) else {
                // It may be there as something else than a text.
                let name = FIELDS.get(of_field.field).copied().unwrap_or_default();
                if visit(&View::new(event), &Field::Path(name.to_owned()), &mut |_| true) {
                    of_field.rules.iter().for_each(|it| candidates.insert(*it));
                }
                continue;
            };
            for found in of_field.automaton.find_overlapping_iter(text) {
                if let Some(rule) = of_field.rules.get(found.pattern().as_usize()) {
                    candidates.insert(*rule);
                }
            }
        }
        candidates
    }
}

fn text<'e>(event: &'e AuditEvent<'_>, field: usize) -> Option<&'e str> {
    match field {
        0 => event.object.subresource.as_deref(),
        1 => event.object.resource.as_deref(),
        2 => event.request_uri.as_deref(),
        3 => event.verb.as_deref(),
        4 => event.user_name.as_deref(),
        5 => event.user_agent.as_deref(),
        6 => event.object.namespace.as_deref(),
        _ => event.object.name.as_deref(),
    }
}

fn witness<'r>(condition: &Condition, searches: &'r [Search]) -> Option<Vec<Literal<'r>>> {
    match condition {
        Condition::Search(index) => {
            one_of(searches.get(*index)?.alternatives.iter().map(|it| best(it.iter().map(of_test))))
        }
        Condition::All(parts) => best(parts.iter().map(|it| witness(it, searches))),
        Condition::Any(parts) => one_of(parts.iter().map(|it| witness(it, searches))),
        Condition::Not(_) => None,
    }
}

/// All of them hold, so any one's witness will do: the one that most events lack. Fields stand in [`FIELDS`]
/// in that order, the rarest first.
fn best<'r>(witnesses: impl Iterator<Item = Option<Vec<Literal<'r>>>>) -> Option<Vec<Literal<'r>>> {
    witnesses
        .flatten()
        .min_by_key(|witness| (witness.iter().map(|(field, _)| *field).max(), witness.len()))
}

/// One of them holds, so all witnesses are needed.
fn one_of<'r>(
    witnesses: impl Iterator<Item = Option<Vec<Literal<'r>>>>,
) -> Option<Vec<Literal<'r>>> {
    let mut all = Vec::new();
    for witness in witnesses {
        all.extend(witness?);
    }
    Some(all)
}

fn of_test(test: &FieldTest) -> Option<Vec<Literal<'_>>> {
    let Field::Path(path) = &test.field else { return None };
    let field = FIELDS.iter().position(|it| it == path)?;
    let literal = |pattern| Some(vec![(field, Pattern::literal(pattern)?)]);
    let literals = test.patterns.iter().map(literal);
    match (test.exists, test.all) {
        _ if test.negated => None,
        (Some(_), _) => None,
        (None, true) => best(literals),
        (None, false) => one_of(literals),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{json, rules::parse};

    fn rule(detection: &str) -> Rule {
        let head = "title: t\nid: i\nlevel: low\nlogsource: {product: kubernetes, service: audit}\ndetection:\n";
        parse("t.yml", &format!("{head}{detection}")).unwrap()
    }

    #[track_caller]
    fn check(detection: &str, expected: Option<&[(&str, &str)]>) {
        let rule = rule(detection);
        let witness = witness(&rule.condition, &rule.searches);
        let shown = witness.map(|it| {
            it.into_iter().map(|(field, text)| (FIELDS[field], text)).collect::<Vec<_>>()
        });
        assert_eq!(shown.as_deref(), expected, "{detection}");
    }

    #[test]
    fn witnesses() {
        let a = "  condition: a";
        check(
            &format!("  a: {{verb: get, objectRef.resource: [pods, secrets]}}\n{a}"),
            Some(&[("objectRef.resource", "pods"), ("objectRef.resource", "secrets")]),
        );
        check(
            &format!("  a: [{{verb: get}}, {{requestURI|contains: /x}}]\n{a}"),
            Some(&[("verb", "get"), ("requestURI", "/x")]),
        );
        check(&format!("  a: [{{verb: get}}, {{level: x}}]\n{a}"), None);
        check(&format!("  a: {{verb: [get, null]}}\n{a}"), None);
        check(&format!("  a: {{verb|exists: true}}\n{a}"), None);
        check(&format!("  a: {{requestURI|re: x}}\n{a}"), None);
        check(&format!("  a: {{requestURI: 'a*bcd?e'}}\n{a}"), Some(&[("requestURI", "bcd")]));
        check(
            "  a: {verb: get}\n  b: {level: x}\n  condition: a and not b",
            Some(&[("verb", "get")]),
        );
        check("  a: {verb: get}\n  condition: not a", None);
        check("  a: {verb: get}\n  b: {level: x}\n  condition: a or b", None);
    }

    #[test]
    fn rules_that_cannot_be_hit_are_not_tried() {
        let rules = [
            rule("  a: {objectRef.resource: pods}\n  condition: a"),
            rule("  a: {objectRef.subresource: exec}\n  condition: a"),
            rule("  a: {level: x}\n  condition: a"),
        ];
        let prefilter = Prefilter::new(&rules).unwrap();
        let text = r#"{"objectRef":{"resource":"PODS"}}"#;
        let event = AuditEvent::new(text, json::members(text).collect());
        let candidates = prefilter.candidates(&event);
        assert_eq!([0, 1, 2].map(|it| candidates.contains(it)), [true, false, true]);
    }
}
