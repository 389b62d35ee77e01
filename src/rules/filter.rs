//! Sigma's filters: what other rules are not to tell, in a document of its own.

use std::collections::HashMap;

use super::{
    Condition, Document, Lists, Options, Rule, Search,
    detection::Reader,
    limits::FILTERED_MAX,
    members::{HEAD, Members},
    sigma::logsource,
    yaml::{At, Node, Value, Wrong},
};

/// A filter, checked.
#[derive(Debug)]
pub(super) struct Filter {
    /// What others may not be called.
    pub(super) id: Option<String>,
    /// Where it starts.
    at: At,
    /// What it is about; `None`: all rules.
    rules: Option<Vec<(At, String)>>,
    searches: Vec<Search>,
    /// What is left out.
    condition: Condition,
    pub(super) warnings: Vec<Wrong>,
}

/// Reads a filter.
pub(super) fn filter(
    document: &Document,
    options: &Options,
    lists: &Lists,
) -> Result<Filter, Wrong> {
    let members =
        Members::with_others(&document.root, "a filter", &[HEAD, &["filter"]].concat(), |_| ())?;
    logsource(&members, options)?;
    let title = members.required("title")?;
    let title = title.scalar().ok_or_else(|| title.wrong("`title` must be a text"))?.to_owned();
    let section = members.required("filter")?;
    let rules = section.get("rules").ok_or_else(|| {
        section.wrong("a filter needs `rules`: the ids or names of rules, or `any`")
    })?;
    let mut reader = Reader::new(options, lists);
    let (mut searches, condition) = reader.detection(section, &["rules"])?;
    for search in &mut searches {
        search.name = format!("{title}: {}", search.name);
    }
    Ok(Filter {
        id: members.text("id")?.map(str::to_owned),
        at: document.root.at,
        rules: named(rules)?,
        searches,
        condition: left_out(condition),
        warnings: reader.warnings,
    })
}

fn named(node: &Node) -> Result<Option<Vec<(At, String)>>, Wrong> {
    let one = |it: &Node| match it.scalar() {
        Some(name) => Ok((it.at, name.to_owned())),
        None => Err(it.wrong("`rules` must name rules: their ids or names, or `any`")),
    };
    match &node.value {
        Value::Text(text) if text.eq_ignore_ascii_case("any") => Ok(None),
        Value::List(list) if list.is_empty() => {
            Err(node.wrong("`rules` is empty: say `any` if all rules are meant"))
        }
        Value::List(list) => list.iter().map(one).collect::<Result<_, _>>().map(Some),
        _ => one(node).map(|it| Some(vec![it])),
    }
}

/// What the condition describes is left out. Written with `not` in front of all its parts, as pySigma has it
/// (`not selection`), it describes what stays; then the rest is left out. Either way the rule tells less, never only
/// what was to be left out.
fn left_out(condition: Condition) -> Condition {
    match condition {
        Condition::Not(part) => *part,
        Condition::All(parts) if parts.iter().all(|it| matches!(it, Condition::Not(_))) => {
            Condition::Any(parts.into_iter().map(left_out).collect())
        }
        other => other,
    }
}

impl Filter {
    /// Puts it on the rules that it is about, as long as there is `room` for its selections. Tells the names that no
    /// rule has. `places` are those of rules by id and name.
    pub(super) fn apply(
        &self,
        rules: &mut [Rule],
        places: &HashMap<String, Vec<usize>>,
        room: &mut Option<usize>,
    ) -> Result<(), Vec<Wrong>> {
        let mut wrong = Vec::new();
        match &self.rules {
            None => self.put_on_each(rules.iter_mut(), self.at, room, &mut wrong),
            Some(names) => {
                for (at, name) in names {
                    let found = places.get(name).map_or(&[][..], Vec::as_slice);
                    if found.is_empty() {
                        let reason = format!("there is no rule with the id or name `{name}`");
                        wrong.push(Wrong { at: *at, reason });
                    }
                    for place in found {
                        self.put_on_each(rules.get_mut(*place).into_iter(), *at, room, &mut wrong);
                    }
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn put_on_each<'r>(
        &self,
        rules: impl Iterator<Item = &'r mut Rule>,
        at: At,
        room: &mut Option<usize>,
        wrong: &mut Vec<Wrong>,
    ) {
        for rule in rules {
            *room = room.and_then(|it| it.checked_sub(self.searches.len()));
            if room.is_none() {
                let reason =
                    format!("up to here filters add more than {FILTERED_MAX} selections to rules");
                return wrong.push(Wrong { at, reason });
            }
            self.put_on(rule);
        }
    }

    fn put_on(&self, rule: &mut Rule) {
        let before = rule.searches.len();
        rule.searches.extend(self.searches.iter().cloned());
        let without = Condition::Not(Box::new(self.condition.clone().moved(before)));
        let condition = std::mem::replace(&mut rule.condition, Condition::All(Vec::new()));
        rule.condition = match condition {
            Condition::All(mut parts) => {
                parts.push(without);
                Condition::All(parts)
            }
            other => Condition::All(vec![other, without]),
        };
    }
}
