use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::Method;

use super::{
    elasticsearch::Elasticsearch,
    filebeat::{self, Filebeat},
    parts::{ELASTICSEARCH, FILEBEAT, PROMTOOL, fresh, part, total},
    stored,
    stream::{Stream, alerts, severity},
};
use crate::harness::{K8scop, client, wait_for};

/// How often the 57 real events are told.
const COPIES: usize = 20;
/// Longest wait for Filebeat to bring them all.
const BROUGHT: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn filebeat_through_k8scop_into_elasticsearch() {
    let test = "filebeat_through_k8scop_into_elasticsearch";
    let (Some(url), Some(binary), Some(promtool)) =
        (part(test, ELASTICSEARCH), part(test, FILEBEAT), part(test, PROMTOOL))
    else {
        return;
    };
    let elasticsearch = Elasticsearch::new(&url);
    elasticsearch.put_templates().await;
    // So that Filebeat's set-up has to put it, through k8scop.
    elasticsearch.ask(Method::DELETE, &format!("/_index_template/{}", filebeat::NAME), "").await;

    let namespace = fresh("through");
    let stream = Stream::new(&namespace, COPIES);
    assert!(stream.events.len() > 1000 && stream.texts.len() > 200);
    let k8scop =
        K8scop::start(&format!("output: {url}\naudit: {{ namespace: {namespace} }}\n")).await;
    let mut filebeat = Filebeat::start(&binary, &k8scop.url(""), "");
    filebeat.write(&stream.lines());

    let lines = stream.documents.len() as f64;
    let metrics = wait_for("Filebeat to bring everything", BROUGHT, async || {
        filebeat.assert_runs();
        let metrics = k8scop.metrics().await;
        (total(&metrics, "k8scop_received_items_total") >= lines
            && metrics["k8scop_items_in_flight"] == 0.0)
            .then_some(metrics)
    })
    .await;

    stored::check(&elasticsearch, &namespace, &stream).await;
    stored::check_texts(&elasticsearch, &namespace, &stream).await;
    let loaded = elasticsearch
        .did(Method::GET, &format!("/_index_template/{}", filebeat::NAME), &().into())
        .await;
    let patterns = &loaded["index_templates"][0]["index_template"]["index_patterns"];
    assert_eq!(
        *patterns,
        serde_json::json!([format!("{}-*", filebeat::NAME)]),
        "the set-up passed through"
    );

    k8scop.check_balance().await;
    check_metrics(&metrics, &stream);
    check_with_promtool(&promtool, &k8scop).await;
}

/// What is counted is what there was.
fn check_metrics(metrics: &BTreeMap<String, f64>, stream: &Stream) {
    let raised = alerts(&stream.events);
    let mut expected: BTreeMap<String, f64> = BTreeMap::new();
    let name = |kind: &str, rule: &str| {
        let level = match severity(rule) {
            21 => "low",
            47 => "medium",
            _ => "high",
        };
        format!("k8scop_{kind}_total{{rule=\"{rule}\",severity=\"{level}\"}}")
    };
    for (_, rule) in &raised {
        *expected.entry(name("alerts", rule)).or_default() += 1.0;
    }
    expected.insert(
        "k8scop_settled_items_total{result=\"stored\"}".into(),
        stream.documents.len() as f64,
    );
    expected.insert("k8scop_settled_items_total{result=\"duplicate\"}".into(), 0.0);
    expected.insert("k8scop_settled_items_total{result=\"rejected\"}".into(), 0.0);
    expected.insert("k8scop_settled_items_total{result=\"returned\"}".into(), 0.0);
    expected.insert(
        "k8scop_unwrapped_events_total{provider=\"eks\"}".into(),
        stream.events.len() as f64,
    );
    expected.insert("k8scop_settled_alerts_total{result=\"created\"}".into(), raised.len() as f64);
    expected.insert("k8scop_settled_alerts_total{result=\"failed\"}".into(), 0.0);
    expected.insert(
        "k8scop_decode_errors_total{input=\"bulk\",reason=\"broken_audit_event\"}".into(),
        0.0,
    );
    for (name, value) in expected {
        assert_eq!(metrics.get(&name), Some(&value), "{name}");
    }
    expected_total(metrics, "k8scop_alerts_total", raised.len());
    expected_total(metrics, "k8scop_unwrapped_events_total", stream.events.len());
    expected_total(metrics, "k8scop_reduced_events_total", 0);
}

#[track_caller]
fn expected_total(metrics: &BTreeMap<String, f64>, metric: &str, expected: usize) {
    assert_eq!(total(metrics, metric), expected as f64, "{metric}");
}

async fn check_with_promtool(promtool: &str, k8scop: &K8scop) {
    let url = format!("http://{}/metrics", k8scop.admin);
    let text = client().get(url).send().await.unwrap().text().await.unwrap();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}: {}",
        output.status,
        String::from_utf8_lossy(&said)
    );
}
