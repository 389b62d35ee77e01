//! Runs rules on their own examples.

use crate::{
    classify::{Classifier, kubectl, sentence},
    event::AuditEvent,
    json,
    rules::{Example, Rule},
};

/// What came out for one rule.
#[derive(Debug)]
pub struct Tested {
    /// The rule's id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its level.
    pub level: &'static str,
    /// Its file.
    pub file: String,
    /// Its examples, in order.
    pub cases: Vec<Case>,
}

/// What came out for one example.
#[derive(Debug)]
pub struct Case {
    /// What the example shows.
    pub name: String,
    /// Whether it must hit the rule. `None`: of the rule as a whole.
    pub must: Option<bool>,
    /// What is not as it must be.
    pub failure: Option<String>,
}

/// How many passed and failed.
#[must_use]
pub fn counts(tested: &[Tested]) -> (usize, usize) {
    let cases = || tested.iter().flat_map(|it| &it.cases);
    let failed = cases().filter(|it| it.failure.is_some()).count();
    (cases().count() - failed, failed)
}

/// Runs every rule on its examples.
pub fn run(rules: Vec<Rule>) -> Result<Vec<Tested>, aho_corasick::BuildError> {
    let classifier = Classifier::new(rules)?;
    let each = classifier.rules().iter().enumerate();
    Ok(each.map(|(place, rule)| tested(&classifier, place, rule)).collect())
}

fn tested(classifier: &Classifier, place: usize, rule: &Rule) -> Tested {
    let mut cases = Vec::new();
    if rule.matching.is_empty() || rule.not_matching.is_empty() {
        let failure = "needs an example that matches and one that does not".to_owned();
        cases.push(Case { name: "examples".into(), must: None, failure: Some(failure) });
    }
    let matching = rule.matching.iter().map(|it| (it, true));
    let examples = matching.chain(rule.not_matching.iter().map(|it| (it, false)));
    cases.extend(examples.map(|(example, must)| Case {
        name: example.name.clone(),
        must: Some(must),
        failure: check(classifier, place, rule, example, must).err(),
    }));
    Tested {
        id: rule.id.clone(),
        title: rule.title.clone(),
        level: rule.level.name(),
        file: rule.file.clone(),
        cases,
    }
}

fn check(
    classifier: &Classifier,
    index: usize,
    rule: &Rule,
    example: &Example,
    must: bool,
) -> Result<(), String> {
    let text = example.event.to_string();
    let event = AuditEvent::new(&text, json::members(&text).collect());
    let hit = classifier.classify(&event).hits.contains(&index);
    if hit != classifier.classify_plain(&event).hits.contains(&index) {
        return Err("the prefilter and the rule disagree".into());
    }
    if hit != must {
        return Err(if must { "the rule is not hit" } else { "the rule is hit" }.into());
    }
    let found = kubectl(&event);
    if example.kubectl.is_some() && found != example.kubectl {
        return Err(format!("the kubectl command is `{}`", found.unwrap_or_default()));
    }
    let reason = sentence(&event, &rule.reason);
    match &example.reason {
        Some(expected) if *expected != reason => Err(format!("the sentence is `{reason}`")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules;

    #[test]
    fn every_built_in_rule_passes_its_examples() {
        let all =
            rules::BUILT_IN.iter().map(|(name, text)| rules::parse(name, text).unwrap()).collect();
        let tested = run(all).unwrap();
        let (passed, failed) = counts(&tested);
        assert_eq!(failed, 0, "{tested:?}");
        assert!(passed > rules::BUILT_IN.len() * 2);
    }
}
