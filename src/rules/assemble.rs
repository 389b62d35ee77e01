//! All rules of all files together.

use std::collections::HashMap;

use super::{
    Document, DocumentKind, Lists, Options, Rule, RuleError, cost, documents,
    filter::{Filter, filter},
    limits::{ERRORS_MAX, RULES_MAX},
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
    let (mut filters, mut sum) = (Vec::new(), cost::Sum::default());
    for document in all {
        match document.kind {
            DocumentKind::Correlation => set.correlations.push(document),
            DocumentKind::Filter => match filter(&document, options, lists) {
                Ok(filter) => filters.push((document, filter)),
                Err(error) => wrong.push(document.error(error)),
            },
            DocumentKind::Rule => match rule(&document, options, lists) {
                Ok(rule) => match sum.add(&rule) {
                    Ok(()) => {
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
    names_once(&set.rules, &filters, &mut wrong);
    // A rule that cannot be read has said so; that filters miss it need not be told.
    if wrong.is_empty() {
        put_on(&filters, &mut set, &mut wrong);
    }
    if wrong.is_empty() { Ok(set) } else { Err(wrong) }
}

fn put_on(filters: &[(Document, Filter)], set: &mut RuleSet, wrong: &mut Vec<RuleError>) {
    for (document, filter) in filters {
        let told = |it: &Wrong| document.error(it.clone()).to_string();
        set.warnings.extend(filter.warnings.iter().map(told));
        wrong.extend(filter.apply(&mut set.rules).into_iter().map(|it| document.error(it)));
    }
    set.filters = filters.len();
    let mut sum = cost::Sum::default();
    for rule in &set.rules {
        if let Err(reason) = sum.add(rule) {
            let reason = format!("with the filters, {reason}");
            wrong.push(RuleError::new(&rule.file, Wrong { at: At::default(), reason }));
            return;
        }
    }
}

/// Alerts, filters and correlations find a rule by its id or name.
fn names_once(rules: &[Rule], filters: &[(Document, Filter)], wrong: &mut Vec<RuleError>) {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    let of_rules = rules.iter().flat_map(|it| {
        let name = it.name.as_ref().filter(|name| **name != it.id);
        let name = name.map(|name| ("name", name, &it.file));
        std::iter::once(("id", &it.id, &it.file)).chain(name)
    });
    let of_filters = filters.iter().filter_map(|(at, it)| Some(("id", it.id.as_ref()?, &at.file)));
    for (what, id, file) in of_rules.chain(of_filters) {
        if let Some(other) = seen.insert(id, file) {
            let reason = format!("the {what} {id} is that of {other} already");
            wrong.push(RuleError::new(file, Wrong { at: At::default(), reason }));
        }
    }
}
