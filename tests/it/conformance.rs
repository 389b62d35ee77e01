//! What rules mean: `tests/data/sigma/conformance.yml`, asked of us and of another Sigma engine.

use k8scop::{classify::Classifier, event::AuditEvent, json, rules};
use rsigma_eval::{Engine, JsonEvent};
use serde_json::Value;

const CASES: &str = include_str!("../data/sigma/conformance.yml");

fn rule(detection: &Value) -> String {
    let head = "title: t\nid: 00000000-0000-4000-8000-000000000001\nstatus: test\nlevel: low\n\
                logsource: {product: kubernetes, service: audit}\n";
    // JSON is YAML.
    format!("{head}detection: {detection}\n")
}

fn ours(rule: &str) -> Result<impl Fn(&Value) -> bool, String> {
    let rule = rules::parse("t.yml", rule).map_err(|error| error.to_string())?;
    let classifier = Classifier::new(vec![rule]).unwrap();
    Ok(move |event: &Value| {
        let text = event.to_string();
        let event = AuditEvent::new(&text, json::members(&text).collect());
        let verdict = classifier.classify(&event);
        assert_eq!(verdict, classifier.classify_plain(&event), "{text}");
        !verdict.hits.is_empty()
    })
}

fn theirs(rule: &str) -> Result<impl Fn(&Value) -> bool, String> {
    let parsed = rsigma_parser::parse_sigma_yaml(rule).map_err(|error| error.to_string())?;
    if parsed.rules.len() != 1 {
        return Err(format!("{:?}", parsed.errors));
    }
    let mut engine = Engine::new();
    let refused = engine.add_rules(&parsed.rules);
    if !refused.is_empty() {
        return Err(format!("{} rules refused", refused.len()));
    }
    Ok(move |event: &Value| !engine.evaluate(&JsonEvent::borrow(event)).is_empty())
}

#[test]
fn rules_mean_what_is_written_down() {
    let cases: Vec<Value> = yaml_serde::from_str(CASES).unwrap();
    let mut wrong = Vec::new();
    for case in &cases {
        let what = case["what"].as_str().unwrap();
        let mut expect = |who: &str, fact: bool| {
            if !fact {
                wrong.push(format!("{what}: {who}"));
            }
        };
        let text = rule(&case["detection"]);
        let differs = case["rsigma"].as_str();
        let (ours, theirs) = (ours(&text), theirs(&text));
        expect(
            &format!("rsigma {}", theirs.as_ref().err().map_or("accepts", String::as_str)),
            theirs.is_ok()
                == (differs.is_none() && case["refused"].is_null() || differs == Some("accepts")),
        );
        // What we cannot read has no answers to compare.
        if let Some(reason) = case["refused"].as_str() {
            let error = ours.err().unwrap_or_else(|| "accepted".to_owned());
            expect(&error, error.contains(reason));
            continue;
        }
        let ours = match ours {
            Ok(ours) => ours,
            Err(error) => {
                expect(&error, false);
                continue;
            }
        };
        for case in case["events"].as_array().unwrap() {
            let (event, hit) = (&case["event"], case["hit"].as_bool().unwrap());
            expect(&format!("we say {} on {event}", !hit), ours(event) == hit);
            if let Ok(theirs) = &theirs {
                let told = case["rsigma"].as_bool();
                assert_ne!(told, Some(hit), "{what}: no difference");
                let said = theirs(event);
                expect(&format!("rsigma says {said} on {event}"), said == told.unwrap_or(hit));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(cases.len() >= 50, "{} cases", cases.len());
}
