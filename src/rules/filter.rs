//! Sigma's filters: what other rules are not to tell, in a document of its own.

use super::{
    Condition, Document, Lists, Options, Rule, Search, cost,
    detection::Reader,
    members::{HEAD, Members},
    sigma::logsource,
    yaml::{At, Node, Value, Wrong},
};

/// A filter, checked.
#[derive(Debug)]
pub(super) struct Filter {
    /// What others may not be called.
    pub(super) id: Option<String>,
    title: String,
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
        rules: named(rules)?,
        title,
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
    /// Puts it on the rules that it is about. Tells the names that no rule has, and rules that it makes too costly.
    pub(super) fn apply(&self, rules: &mut [Rule]) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        match &self.rules {
            None => {
                for rule in rules {
                    wrong.extend(self.put_on(rule, At::default()));
                }
            }
            Some(names) => {
                for (at, name) in names {
                    let mut found = false;
                    let is_it = |it: &&mut Rule| it.id == *name || it.name.as_ref() == Some(name);
                    for rule in rules.iter_mut().filter(is_it) {
                        found = true;
                        wrong.extend(self.put_on(rule, *at));
                    }
                    if !found {
                        let reason = format!("there is no rule with the id or name `{name}`");
                        wrong.push(Wrong { at: *at, reason });
                    }
                }
            }
        }
        wrong
    }

    fn put_on(&self, rule: &mut Rule, at: At) -> Option<Wrong> {
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
        let wrong = |reason| Wrong { at, reason: format!("with {}, {reason}", self.title) };
        cost::check(rule).err().map(wrong)
    }
}
