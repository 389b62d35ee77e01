//! All rules of all files together.

use std::collections::HashMap;

use super::{
    Document, DocumentKind, Lists, Options, Rule, RuleError, cost, documents,
    filter::{Filter, filter},
    limits::{ERRORS_MAX, FILTERED_MAX, RULES_MAX},
    rule,
    yaml::{At, Wrong},
};

/// What a set of rule files holds.
#[derive(Debug, Default)]
pub struct RuleSet {
    /// The rules in the order of their files, with the filters put on them.
    pub rules: Vec<Rule>,
    /// Correlation documents, not looked into.
    pub correlations: Vec<Document>,
    /// How many filters there are.
    pub filters: usize,
    /// What is allowed and can hardly be meant, with its place.
    pub warnings: Vec<String>,
}

/// Reads rule files, name and text, and puts them together. Tells everything that is wrong with them.
pub fn assemble(
    files: &[(String, String)],
    options: &Options,
    lists: &Lists,
) -> Result<RuleSet, Vec<RuleError>> {
    let mut wrong = Vec::new();
    let mut all = Vec::new();
    for (name, text) in files {
        match documents(name, text) {
            Ok(documents) => all.extend(documents),
            Err(error) => wrong.push(error),
        }
        if all.len() > RULES_MAX {
            let reason = format!("up to here there are {} rules, more than {RULES_MAX}", all.len());
            return Err(vec![RuleError::new(name, Wrong { at: At::default(), reason })]);
        }
        if wrong.len() > ERRORS_MAX {
            return Err(wrong);
        }
    }
    let mut set = RuleSet::default();
    let (mut filters, mut sum, mut called) = (Vec::new(), cost::Sum::default(), Vec::new());
    for document in all {
        match document.kind {
            DocumentKind::Correlation => set.correlations.push(document),
            DocumentKind::Filter => match filter(&document, options, lists) {
                Ok(filter) => {
                    called.extend(Called::of(&document, filter.id.as_ref(), None));
                    filters.push((document, filter));
                }
                Err(error) => wrong.push(document.error(error)),
            },
            DocumentKind::Rule => match rule(&document, options, lists) {
                Ok(rule) => match sum.add(&rule) {
                    Ok(()) => {
                        called.extend(Called::of(&document, Some(&rule.id), rule.name.as_ref()));
                        set.warnings.extend(rule.warnings.iter().cloned());
                        set.rules.push(rule);
                    }
                    Err(reason) => {
                        wrong.push(document.error(document.root.wrong(reason)));
                        return Err(wrong);
                    }
                },
                Err(error) => wrong.push(error),
            },
        }
        if wrong.len() > ERRORS_MAX {
            return Err(wrong);
        }
    }
    names_once(&called, &mut wrong);
    // A rule that cannot be read has said so; that filters miss it need not be told.
    if wrong.is_empty() {
        put_on(&filters, &mut set, &mut wrong);
    }
    if wrong.is_empty() { Ok(set) } else { Err(wrong) }
}

fn put_on(filters: &[(Document, Filter)], set: &mut RuleSet, wrong: &mut Vec<RuleError>) {
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, rule) in set.rules.iter().enumerate() {
        let name = rule.name.iter().filter(|it| **it != rule.id);
        for called in std::iter::once(&rule.id).chain(name) {
            places.entry(called.clone()).or_default().push(place);
        }
    }
    let mut room = Some(FILTERED_MAX);
    for (document, filter) in filters {
        let told = |it: &Wrong| document.error(it.clone()).to_string();
        set.warnings.extend(filter.warnings.iter().map(told));
        if let Err(errors) = filter.apply(&mut set.rules, &places, &mut room) {
            wrong.extend(errors.into_iter().map(|it| document.error(it)));
        }
        if room.is_none() || wrong.len() > ERRORS_MAX {
            return;
        }
    }
    set.filters = filters.len();
    let mut sum = cost::Sum::default();
    for rule in &set.rules {
        if let Err(reason) = cost::check(rule).and_then(|()| sum.add(rule)) {
            let reason = format!("with the filters, {reason}");
            wrong.push(RuleError::new(&rule.file, Wrong { at: At::default(), reason }));
            return;
        }
    }
}

/// What a rule or filter is called by.
struct Called {
    /// `id` or `name`.
    what: &'static str,
    name: String,
    file: String,
    at: At,
}

impl Called {
    fn of<'a>(
        document: &'a Document,
        id: Option<&'a String>,
        name: Option<&'a String>,
    ) -> impl Iterator<Item = Self> + 'a {
        let name = name.filter(|name| Some(*name) != id);
        [("id", id), ("name", name)].into_iter().filter_map(|(what, called)| {
            let at = document.root.get(what).unwrap_or(&document.root).at;
            Some(Self { what, name: called?.clone(), file: document.file.clone(), at })
        })
    }
}

/// Alerts, filters and correlations find a rule by its id or name.
fn names_once(all: &[Called], wrong: &mut Vec<RuleError>) {
    let mut seen: HashMap<&str, &Called> = HashMap::new();
    for it in all {
        let Some(other) = seen.insert(&it.name, it) else { continue };
        let other = match other.file == it.file {
            true => format!("line {}", other.at.line),
            false => other.file.clone(),
        };
        let reason = format!("the {} {} is that of {other} already", it.what, it.name);
        wrong.push(RuleError::new(&it.file, Wrong { at: it.at, reason }));
        if wrong.len() > ERRORS_MAX {
            return;
        }
    }
}
