//! The rule compiler: what is wrong is told with a line that is there, and what is accepted can be used. The rule
//! stands before the first NUL, behind it an event.

#![no_main]

use k8scop::{
    classify::{self, Classifier},
    event::AuditEvent,
    json, rules, rules_test,
};
use k8scop_fuzz::last_line;

/// Events that every accepted rule is run on.
const EVENTS: &[&str] = &[
    "{}",
    r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Request","auditID":"a","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/n/pods/p/exec?command=sh&command=-c%20id&limit=500","verb":"create","user":{"username":"alice","uid":"u","groups":["g","system:masters"],"extra":{"x.y/z":["1"]}},"impersonatedUser":{"username":"root"},"sourceIPs":["10.0.0.1","::1"],"userAgent":"kubectl/v1.35.0","objectRef":{"resource":"pods","subresource":"exec","namespace":"n","name":"p","apiVersion":"v1"},"responseStatus":{"code":101},"requestObject":{"spec":{"hostPID":true,"containers":[{"image":"i","securityContext":{"privileged":true}}]}},"requestReceivedTimestamp":"2026-03-01T10:00:00.000001Z","stageTimestamp":"2026-03-01T10:00:00.000002Z","annotations":{"authorization.k8s.io/decision":"allow"}}"#,
    r#"{"verb":"LIST","objectRef":{"resource":"SECRETS","namespace":""},"user":{"username":"K\u0130\u212a\u017f"},"requestURI":"/api/v1/secrets?limit=500","sourceIPs":[],"requestObject":[[[[[{"a":null}]]]]],"annotations":{"authorization_k8s_io/decision":"forbid"}}"#,
    r#"{"verb":7,"user":null,"objectRef":[],"requestURI":"","userAgent":"","responseStatus":{"code":70000},"sourceIPs":"x","requestObject":{"spec":null},"annotations":{"a.b":{"c":[{"d":true},null,[]]}}}"#,
];

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let (rule, event) = match data.iter().position(|it| *it == 0) {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (data, &[][..]),
    };
    let (Ok(text), Ok(event)) = (std::str::from_utf8(rule), std::str::from_utf8(event)) else {
        return;
    };
    let rule = match rules::parse("r.yml", text) {
        Ok(rule) => rule,
        Err(error) => {
            let lines = last_line(text);
            assert!((1..=lines).contains(&error.line), "{error} of {lines} lines");
            assert!(!error.reason.is_empty() && error.file == "r.yml");
            return;
        }
    };
    let classifier = Classifier::new(vec![rule]).expect("the literals of one rule");
    for event in EVENTS.iter().copied().chain([event]) {
        let mut members = Vec::new();
        if json::object(event, 100, &mut members).is_err() {
            continue;
        }
        let event = AuditEvent::new(event, members);
        let verdict = classifier.classify(&event);
        assert_eq!(verdict, classifier.classify_plain(&event), "the prefilter is wrong");
        for rule in classifier.rules() {
            std::hint::black_box(classify::sentence(&event, &rule.reason));
        }
    }
    let report = rules_test::run(classifier.rules().to_vec()).expect("a report");
    let examples: usize =
        classifier.rules().iter().map(|it| it.matching.len() + it.not_matching.len()).sum();
    assert!((examples..=examples + 1).contains(&(report.passed + report.failed)));
});
