//! Several events together raise an alert: once, whatever happens to the process, and only of what was stored.

use std::{fs, path::Path, process::Command, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::{Folder, K8scop, SOON, wait_for},
};

const RULES: &str = "\
title: Secret read
id: 00000000-0000-4000-8000-000000000001
name: secret_read
level: informational
logsource: {product: kubernetes, service: audit}
detection: {selection: {verb: get, objectRef.resource: secrets}, condition: selection}
---
title: Many secrets read
id: 00000000-0000-4000-8000-000000000002
level: high
tags: [attack.credential_access]
correlation:
  type: value_count
  rules: [secret_read]
  group-by: [user.username]
  timespan: 10m
  condition: {field: objectRef.name, gte: 3}
k8scop:
  reason: '{user.username} read {count} secrets within {timespan}: {values}'
";

/// A folder with rules and with what is remembered.
struct Home(Folder);

impl Home {
    fn new(rules: &str) -> Self {
        let folder = Folder::new("correlate");
        fs::create_dir(folder.0.join("rules")).unwrap();
        fs::write(folder.0.join("rules/secrets.yml"), rules).unwrap();
        Self(folder)
    }

    fn state(&self) -> std::path::PathBuf {
        self.0.0.join("state")
    }

    fn config(&self, fake: &Fake) -> String {
        let path = |it: &Path| it.display().to_string();
        format!(
            "output: {}\nrules: {{built_in: false, paths: ['{}']}}\ncorrelation: {{state: '{}', late_max_s: 1, quiet_max_s: 2}}\n",
            fake.url(),
            path(&self.0.0.join("rules")),
            path(&self.state()),
        )
    }
}

/// A read of a secret, some seconds ago.
fn read(number: u32, seconds_ago: i64) -> String {
    let at = Timestamp::now() - SignedDuration::from_secs(seconds_ago);
    let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("a{number}"),
        "stage": "ResponseComplete", "verb": "get", "requestURI": format!("/api/v1/namespaces/n/secrets/s{number}"),
        "user": {"username": "mallory"}, "responseStatus": {"code": 200},
        "objectRef": {"resource": "secrets", "namespace": "n", "name": format!("s{number}")},
        "requestReceivedTimestamp": at.to_string(), "stageTimestamp": at.to_string()});
    format!("{{\"create\":{{\"_index\":\"logs-a\"}}}}\n{}\n", json!({"message": event.to_string()}))
}

fn is_alert(asked: &Asked) -> bool {
    asked.body.contains("logs-k8scop.alerts-")
}

/// Documents of alerts with their `_id`, as they were sent.
fn alerts(fake: &Fake) -> Vec<(String, Value)> {
    let mut alerts = Vec::new();
    for asked in fake.asked().iter().filter(|it| is_alert(it)) {
        let lines: Vec<Value> =
            asked.body.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        for pair in lines.chunks(2) {
            alerts.push((pair[0]["create"]["_id"].as_str().unwrap().to_owned(), pair[1].clone()));
        }
    }
    alerts
}

async fn first_alert(fake: &Fake) -> (String, Value) {
    wait_for("an alert", SOON, async || alerts(fake).into_iter().next()).await
}

#[tokio::test]
async fn a_killed_process_forgets_nothing_and_counts_nothing_twice() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let home = Home::new(RULES);
    let mut k8scop = K8scop::start(&home.config(&fake)).await;
    let again = read(2, 8);
    for body in [read(1, 9), again.clone()] {
        assert_eq!(k8scop.bulk("/_bulk", body).await.0, 200);
    }
    k8scop.kill();
    let mut k8scop = K8scop::start(&home.config(&fake)).await;
    // One comes again, as when its answer was lost; and one is new.
    for body in [again, read(3, 7)] {
        assert_eq!(k8scop.bulk("/_bulk", body).await.0, 200);
    }
    let (id, alert) = first_alert(&fake).await;
    assert_eq!(alert["message"], "Many secrets read");
    assert_eq!(alert["event"]["kind"], "alert");
    assert_eq!(alert["event"]["severity"], 73);
    assert_eq!(alert["event"]["reason"], "mallory read 3 secrets within 10m: s1, s2, s3");
    assert_eq!(alert["user"]["name"], "mallory");
    assert_eq!(alert["threat"]["tactic"]["id"][0], "TA0006");
    let correlation = &alert["k8scop"]["correlation"];
    assert_eq!(correlation["group"], json!(["user.username=mallory"]));
    let events = correlation["events"].as_array().unwrap();
    let ids: Vec<&str> = events.iter().map(|it| it["audit_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a1", "a2", "a3"]);
    assert!(events.iter().all(|it| it["index"] == "logs-kubernetes.audit_logs-default"));
    assert!(events.iter().all(|it| it["id"].as_str().is_some_and(|it| it.len() == 32)));
    let metrics = k8scop.metrics().await;
    assert_eq!(metrics[r#"k8scop_correlation_events_total{result="duplicate"}"#], 1.0);
    // Killed again: what was told is told again at most, as the same alert.
    k8scop.kill();
    let k8scop = K8scop::start(&home.config(&fake)).await;
    wait_for("time to go on", SOON, async || {
        let metrics = k8scop.metrics().await;
        let pending = metrics.get(r#"k8scop_correlation_remembered{what="pending"}"#);
        pending.filter(|it| **it == 0.0).copied()
    })
    .await;
    assert!(alerts(&fake).iter().all(|(it, _)| *it == id));
}

#[tokio::test]
async fn an_alert_waits_until_it_is_stored() {
    let home = Home::new(RULES);
    let fake = Fake::start(|number, asked| match is_alert(asked) {
        true if number < 8 => Reaction::Items(vec![503]),
        _ => Reaction::Items(vec![201]),
    })
    .await;
    let k8scop = K8scop::start(&home.config(&fake)).await;
    for number in 1..=3 {
        assert_eq!(k8scop.bulk("/_bulk", read(number, 9)).await.0, 200);
    }
    let stored = r#"k8scop_correlation_alerts_total{result="created"}"#;
    wait_for("the alert to be stored", SOON, async || {
        k8scop.metrics().await.get(stored).filter(|it| **it > 0.0).copied()
    })
    .await;
    let ids: Vec<String> = alerts(&fake).into_iter().map(|(id, _)| id).collect();
    assert!(ids.len() > 1 && ids.iter().all(|it| *it == ids[0]), "{ids:?}");
}

#[tokio::test]
async fn overrides_go_for_correlations_too_and_what_is_suppressed_is_quiet_longer() {
    let rules = RULES.replace("timespan: 10m", "timespan: 1s").replace("gte: 3", "gte: 1");
    let home = Home::new(&rules);
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let all = "rules: ['00000000-0000-4000-8000-000000000002']";
    let config = home.config(&fake).replace("late_max_s", "sync_each_request: true, late_max_s");
    let config = format!(
        "{config}alerts:\n  overrides: [{{{all}, level: critical, risk_score: 77}}]\n  suppress: [{{{all}, for: 1h, max_level: critical}}]\n"
    );
    let k8scop = K8scop::start(&config).await;
    for number in 1..=3 {
        let body = read(number, 20 - 4 * i64::from(number));
        assert_eq!(k8scop.bulk("/_bulk", body).await.0, 200);
    }
    let (_, alert) = first_alert(&fake).await;
    assert_eq!(alert["event"]["severity"], 99);
    assert_eq!(alert["event"]["risk_score"], 77);
    let suppressed = r#"k8scop_correlation_matches_total{result="suppressed"}"#;
    wait_for("the others to be suppressed", SOON, async || {
        k8scop.metrics().await.get(suppressed).filter(|it| **it == 2.0).copied()
    })
    .await;
    assert!(!k8scop.log().contains("no rule is called"), "{}", k8scop.log());
}

#[tokio::test]
async fn what_is_not_stored_is_not_seen() {
    let home = Home::new(RULES);
    // One is refused for who sent it, one for now; one is stored.
    let fake = Fake::start(|_, asked| {
        let status = [("/s1", 403), ("/s2", 429)].iter().find(|(it, _)| asked.body.contains(it));
        Reaction::Items(vec![status.map_or(201, |(_, it)| *it)])
    })
    .await;
    let config = format!("{}limits: {{request_deadline_s: 1}}\n", home.config(&fake));
    let k8scop = K8scop::start(&config).await;
    for number in 1..=3 {
        k8scop.bulk("/_bulk", read(number, 9)).await;
    }
    let taken = r#"k8scop_correlation_events_total{result="taken"}"#;
    let seen = wait_for("an event to be counted", SOON, async || {
        k8scop.metrics().await.get(taken).filter(|it| **it > 0.0).copied()
    })
    .await;
    assert!((seen - 1.0).abs() < 0.5, "{seen} seen");
}

#[tokio::test]
async fn what_is_remembered_and_cannot_be_read_is_told_and_forgotten() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let home = Home::new(RULES);
    let mut k8scop = K8scop::start(&home.config(&fake)).await;
    assert_eq!(k8scop.bulk("/_bulk", read(1, 9)).await.0, 200);
    k8scop.term();
    assert!(k8scop.ended().await.success());
    for entry in fs::read_dir(home.state()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("snapshot.") {
            let mut bytes = fs::read(&path).unwrap();
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
    }
    // Names that are not ours are left alone.
    for name in ["snapshot.7", "journal.18446744073709551615", "journal.x"] {
        fs::write(home.state().join(name), "x").unwrap();
    }
    let k8scop = K8scop::start(&home.config(&fake)).await;
    assert_eq!(k8scop.metrics().await["k8scop_correlation_state_errors_total"], 1.0);
    assert!(k8scop.log().contains("cannot be read"), "{}", k8scop.log());
    // It works all the same.
    for number in 1..=3 {
        assert_eq!(k8scop.bulk("/_bulk", read(number, 9)).await.0, 200);
    }
    first_alert(&fake).await;
}

#[tokio::test]
async fn a_correlation_can_come_and_go_while_it_runs() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let (alone, _) = RULES.split_once("---\n").unwrap();
    let home = Home::new(alone);
    let config = format!("{}reload_s: 1\n", home.config(&fake));
    let k8scop = K8scop::start(&config).await;
    assert_eq!(k8scop.bulk("/_bulk", read(1, 9)).await.0, 200);
    fs::write(home.0.0.join("rules/secrets.yml"), RULES).unwrap();
    wait_for("the rules to be read", Duration::from_secs(30), async || {
        let name = r#"k8scop_rules_reloads_total{result="success"}"#;
        k8scop.metrics().await.get(name).filter(|it| **it > 0.0).copied()
    })
    .await;
    for number in 2..=4 {
        assert_eq!(k8scop.bulk("/_bulk", read(number, 9)).await.0, 200);
    }
    let (_, alert) = first_alert(&fake).await;
    assert_eq!(alert["k8scop"]["correlation"]["events"].as_array().unwrap().len(), 3);
}

#[test]
fn a_scan_of_files_tells_what_events_mean_together() {
    let home = Home::new(RULES);
    let event = |number| {
        let body = read(number, 10 - i64::from(number));
        let (_, document) = body.split_once('\n').unwrap();
        document.to_owned()
    };
    // In two files, the later first.
    fs::write(home.0.0.join("a.ndjson"), event(3) + &event(3)).unwrap();
    fs::write(home.0.0.join("b.ndjson"), event(1) + &event(2)).unwrap();
    let rules = home.0.0.join("rules").display().to_string();
    let config = format!("rules: {{built_in: false, paths: ['{rules}']}}\n");
    fs::write(home.0.0.join("k8scop.yaml"), config).unwrap();
    let run = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_k8scop"))
            .args(args)
            .current_dir(&home.0.0)
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8(out.stdout).unwrap())
    };
    let args = [
        "scan",
        "-c",
        "k8scop.yaml",
        "--fail-on",
        "high",
        "--format",
        "json",
        "a.ndjson",
        "b.ndjson",
    ];
    let (status, out) = run(&args);
    assert_eq!(status, Some(1), "{out}");
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["alerts"].as_array().unwrap().len(), 1, "{found:#}");
    assert_eq!(found["alerts"][0]["reason"], "mallory read 3 secrets within 10m: s1, s2, s3");
    assert_eq!(found["summary"]["rules"][0]["title"], "Many secrets read");
    // It has no examples, and that is told.
    let (status, out) = run(&["rules", "test", &rules]);
    assert_eq!(status, Some(0));
    assert!(out.contains("Many secrets read (high, "), "{out}");
    let counts = "2 rules: 0 examples passed, 0 failed; 2 rules have not enough examples\n";
    assert!(out.contains(counts), "{out}");
}
