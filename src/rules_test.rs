//! Runs rules on their own examples.

use std::fmt::Write;

use crate::{
    classify::{Classifier, kubectl, sentence},
    event::AuditEvent,
    json,
    rules::{Example, Rule},
};

/// What came out.
#[derive(Debug, Default)]
pub struct Report {
    /// For a person: each rule with its examples, then the counts.
    pub text: String,
    /// Examples that came out as they must.
    pub passed: usize,
    /// Examples that did not, and rules without examples.
    pub failed: usize,
}

/// Runs every rule on its examples.
pub fn run(rules: Vec<Rule>) -> Result<Report, aho_corasick::BuildError> {
    let classifier = Classifier::new(rules)?;
    let mut report = Report::default();
    for (index, rule) in classifier.rules().iter().enumerate() {
        line(&mut report.text, &format!("{} ({}, {})", rule.title, rule.level.name(), rule.file));
        if rule.matching.is_empty() || rule.not_matching.is_empty() {
            report.failed += 1;
            line(&mut report.text, "  FAILED  needs an example that matches and one that does not");
        }
        let examples = rule
            .matching
            .iter()
            .map(|it| (it, true))
            .chain(rule.not_matching.iter().map(|it| (it, false)));
        for (example, must) in examples {
            let told = if must { "match" } else { "no match" };
            match check(&classifier, index, rule, example, must) {
                Ok(()) => {
                    report.passed += 1;
                    line(&mut report.text, &format!("  ok      {told}: {}", example.name));
                }
                Err(reason) => {
                    report.failed += 1;
                    line(
                        &mut report.text,
                        &format!("  FAILED  {told}: {}: {reason}", example.name),
                    );
                }
            }
        }
    }
    let (rules, passed, failed) = (classifier.rules().len(), report.passed, report.failed);
    line(&mut report.text, &format!("{rules} rules: {passed} examples passed, {failed} failed"));
    Ok(report)
}

fn line(out: &mut String, text: &str) {
    // Writing to a String cannot fail.
    writeln!(out, "{text}").ok();
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
        let report = run(all).unwrap();
        assert_eq!(report.failed, 0, "{}", report.text);
        assert!(report.passed > rules::BUILT_IN.len() * 2);
    }
}
