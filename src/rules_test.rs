//! Runs rules on their own examples.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::{
    classify::{Classifier, kubectl, reason},
    correlate::{Engine, Event, Evidence, Key, Limits, Plan, Planned},
    event::AuditEvent,
    json,
    rules::{Example, Level, Rule, correlation::Stream},
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
    /// Whether that is only that there is nothing to test.
    pub is_lack: bool,
}

impl Case {
    fn without_examples() -> Self {
        let failure = "needs an example that matches and one that does not".to_owned();
        Self { name: "examples".into(), must: None, failure: Some(failure), is_lack: true }
    }
}

/// How many examples passed and failed, and of how many rules there are not enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    /// Examples.
    pub passed: usize,
    /// Examples.
    pub failed: usize,
    /// Rules without an example that matches, or without one that does not.
    pub lacking: usize,
}

/// Counts what came out.
#[must_use]
pub fn counts(tested: &[Tested]) -> TestCounts {
    let mut counts = TestCounts::default();
    for case in tested.iter().flat_map(|it| &it.cases) {
        match (&case.failure, case.is_lack) {
            (None, _) => counts.passed += 1,
            (Some(_), false) => counts.failed += 1,
            (Some(_), true) => counts.lacking += 1,
        }
    }
    counts
}

/// Runs every rule on its examples.
pub fn run(rules: Vec<Rule>, plan: Arc<Plan>) -> Result<Vec<Tested>, aho_corasick::BuildError> {
    let classifier = Classifier::new(rules)?.with_plan(plan);
    let each = classifier.rules().iter().enumerate();
    let mut all: Vec<_> = each.map(|(place, rule)| tested(&classifier, place, rule)).collect();
    // A correlation that raises no alerts is a part of others: they are tested.
    let told =
        |it: &&Planned| it.level > Level::Informational || !it.correlation.matching.is_empty();
    let correlations = classifier.plan().correlations().iter().filter(told);
    all.extend(correlations.map(|it| tested_on_streams(&classifier, it)));
    Ok(all)
}

fn tested_on_streams(classifier: &Classifier, planned: &Planned) -> Tested {
    let it = &planned.correlation;
    let mut cases = Vec::new();
    if it.matching.is_empty() || it.not_matching.is_empty() {
        cases.push(Case::without_examples());
    }
    let matching = it.matching.iter().map(|it| (it, true));
    let streams = matching.chain(it.not_matching.iter().map(|it| (it, false)));
    cases.extend(streams.map(|(stream, must)| Case {
        name: stream.name.clone(),
        must: Some(must),
        failure: check_stream(classifier, planned, stream, must).err(),
        is_lack: false,
    }));
    Tested {
        id: it.id.clone(),
        title: it.title.clone(),
        level: planned.level.name(),
        file: it.file.clone(),
        cases,
    }
}

/// When the events of a stream begin that have no time (Unix time).
const START_S: i64 = 1_700_000_000;

fn check_stream(
    classifier: &Classifier,
    planned: &Planned,
    stream: &Stream,
    must: bool,
) -> Result<(), String> {
    let mut engine = Engine::new(Arc::clone(classifier.plan()), Limits::default());
    let second = SignedDuration::from_secs(1);
    let mut at = Timestamp::from_second(START_S).unwrap_or_default() - second;
    for (place, example) in stream.events.iter().enumerate() {
        let text = example.to_string();
        let event = AuditEvent::new(&text, json::members(&text).collect());
        let time = event.stage_time.as_deref().or(event.received.as_deref());
        at = match time {
            Some(time) => time.parse().map_err(|_no_time| format!("`{time}` is no time"))?,
            None => at + second,
        };
        let hits = classifier.classify(&event).hits;
        engine.observe(Event {
            at_us: at.as_microsecond(),
            key: Key::of(&[&place.to_string()]),
            cluster: "".into(),
            inputs: classifier.inputs(&event, &hits),
            evidence: Evidence::default(),
        });
    }
    engine.finish();
    let id = planned.correlation.id.as_str();
    let fired: Vec<_> = engine.fired().iter().filter(|it| &*it.correlation == id).collect();
    let told = fired.len();
    match (must, stream.alerts) {
        (false, _) if told > 0 => return Err(format!("it fires {told} times")),
        (true, None) if told == 0 => return Err("it does not fire".into()),
        (true, Some(alerts)) if told != alerts => return Err(format!("it fires {told} times")),
        _ => (),
    }
    let reason = fired.first().map(|it| it.reason(planned));
    match &stream.reason {
        Some(expected) if Some(expected) != reason.as_ref() => {
            Err(format!("the sentence is `{}`", reason.unwrap_or_default()))
        }
        _ => Ok(()),
    }
}

fn tested(classifier: &Classifier, place: usize, rule: &Rule) -> Tested {
    let mut cases = Vec::new();
    if rule.matching.is_empty() || rule.not_matching.is_empty() {
        cases.push(Case::without_examples());
    }
    let matching = rule.matching.iter().map(|it| (it, true));
    let examples = matching.chain(rule.not_matching.iter().map(|it| (it, false)));
    cases.extend(examples.map(|(example, must)| Case {
        name: example.name.clone(),
        must: Some(must),
        failure: check(classifier, place, rule, example, must).err(),
        is_lack: false,
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
    let event = AuditEvent { is_cut: example.is_cut, ..event };
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
    let reason = reason(&event, rule);
    match &example.reason {
        Some(expected) if *expected != reason => Err(format!("the sentence is `{reason}`")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{correlate::BaseRule, rules};

    #[test]
    fn streams_of_events() {
        let rule = "title: r\nid: r\nlevel: informational\nlogsource: {product: kubernetes, service: audit}\n\
            detection: {a: {verb: get}, condition: a}\n\
            k8scop: {examples: {match: [{name: m, event: {verb: get}}], no_match: [{name: n, event: {verb: list}}]}}\n";
        let correlation = "title: c\nid: c\nlevel: high\n\
            correlation: {type: event_count, rules: [r], group-by: [user.username], timespan: 3s, condition: {gte: 2}}\n\
            k8scop:\n  reason: '{user.username}: {count}'\n  examples:\n    match:\n";
        let a = "{verb: get, user: {username: a}}";
        let list = "{verb: list}";
        let run = |matching: &str, not_matching: &str| {
            let text = format!(
                "{correlation}      - {{name: m, {matching}}}\n    no_match:\n      - {{name: n, {not_matching}}}\n"
            );
            let rule = rules::parse("r.yml", rule).unwrap();
            let base = BaseRule { id: "r".into(), name: None, file: "r.yml".into() };
            let correlation = rules::correlation::parse("c.yml", &text).unwrap();
            run(vec![rule], Arc::new(Plan::new(vec![correlation], &[base]).unwrap())).unwrap()
        };
        let good = format!("events: [{a}, {list}, {a}], alerts: 1, reason: 'a: 2'");
        let late = format!("events: [{a}, {list}, {list}, {a}]");
        let tested = run(&good, &late);
        let expected = TestCounts { passed: 4, ..TestCounts::default() };
        assert_eq!(counts(&tested), expected, "{tested:?}");
        for (matching, not_matching, told) in [
            (&late, &late, "does not fire"),
            (&good, &good.replace(", alerts: 1, reason: 'a: 2'", ""), "fires 1 times"),
            (&good.replace("alerts: 1", "alerts: 2"), &late, "fires 1 times"),
            (&good.replace("a: 2'", "b'"), &late, "the sentence is `a: 2`"),
            (&good.replace("{verb: list}", "{stageTimestamp: x}"), &late, "`x` is no time"),
        ] {
            let tested = run(matching, not_matching);
            let failures =
                tested.iter().flat_map(|it| &it.cases).filter_map(|it| it.failure.clone());
            let failures: Vec<_> = failures.collect();
            assert!(failures.len() == 1 && failures.concat().contains(told), "{tested:?}");
        }
    }

    #[test]
    fn every_built_in_rule_passes_its_examples() {
        let compiled = crate::config::built_in_rules().unwrap();
        let tested = run(compiled.rules, compiled.plan).unwrap();
        let TestCounts { passed, failed, lacking } = counts(&tested);
        let failures: Vec<_> = tested
            .iter()
            .flat_map(|it| it.cases.iter().map(move |case| (&it.file, case)))
            .filter(|(_, it)| it.failure.is_some())
            .collect();
        assert_eq!((failed, lacking), (0, 0), "{failures:#?}");
        assert!(passed > rules::BUILT_IN.len() * 2);
    }
}
