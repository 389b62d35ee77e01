//! What a shipper sees on the data port, with the embedded output behind it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{K8scop, client};

fn documents(k8scop: &K8scop, index: &str) -> Vec<Value> {
    let file = k8scop.folder().join(format!("k8scop-data/{index}.ndjson"));
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().skip(1).step_by(2).map(|it| serde_json::from_str(it).unwrap()).collect()
}

fn message(event: &Value) -> String {
    json!({"message": event.to_string(), "@timestamp": "2026-03-01T10:00:00.000Z"}).to_string()
}

fn secrets_listed(audit_id: &str) -> Value {
    json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": audit_id, "stage": "ResponseComplete",
        "verb": "list", "requestURI": "/api/v1/secrets", "user": {"username": "mallory"},
        "objectRef": {"resource": "secrets"}, "responseStatus": {"code": 200}})
}

#[tokio::test]
async fn shippers_can_start_without_a_cluster() {
    let k8scop = K8scop::start("").await;
    for (method, path, status) in [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/_license?human=false", 200),
        ("GET", "/_xpack", 200),
        ("GET", "/_ilm/policy/filebeat", 404),
        ("PUT", "/_ilm/policy/filebeat", 200),
        ("HEAD", "/_index_template/filebeat-7.17.29", 404),
        ("PUT", "/_index_template/filebeat-7.17.29", 200),
        ("PUT", "/%3Cfilebeat-7.17.29-%7Bnow%2Fd%7D-000001%3E", 200),
        ("DELETE", "/a", 403),
    ] {
        let method_name = method.parse().unwrap();
        let answer = client().request(method_name, k8scop.url(path)).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
        assert_eq!(answer.headers()["x-elastic-product"], "Elasticsearch");
    }
    let root: Value = serde_json::from_str(
        &client().get(k8scop.url("/")).send().await.unwrap().text().await.unwrap(),
    )
    .unwrap();
    assert_eq!(root["version"]["build_flavor"], "default");
    assert!(root["version"]["number"].as_str().unwrap().starts_with("8."));
}

#[tokio::test]
async fn every_bad_line_costs_its_own_item_only() {
    let k8scop = K8scop::start("").await;
    let good = |id: &str| {
        format!("{{\"create\":{{\"_index\":\"logs-a\",\"_id\":\"{id}\"}}}}\n{{\"id\":\"{id}\"}}\n")
            .into_bytes()
    };
    let create = "{\"create\":{\"_index\":\"logs-a\"}}\n";
    let bad: [(&str, Vec<u8>); 10] = [
        ("a line that is not JSON", format!("{create}hello\n").into()),
        ("a stray line", b"hello\n".to_vec()),
        ("an unknown action", b"{\"frobnicate\":{}}\n{\"a\":1}\n".to_vec()),
        ("an array", format!("{create}[1,2]\n").into()),
        (
            "10^5 levels",
            format!("{create}{}1{}\n", "{\"a\":".repeat(100_000), "}".repeat(100_000)).into(),
        ),
        ("not UTF-8", [create.as_bytes(), b"{\"a\":\"\xff\"}\n"].concat()),
        ("a control character", format!("{create}{{\"a\":\"\u{1}\"}}\n").into()),
        (
            "no document, then a blank line",
            create.as_bytes().iter().copied().chain(*b"\r\n").collect(),
        ),
        ("an index that no cluster has", b"{\"create\":{\"_index\":\"../x\"}}\n{}\n".to_vec()),
        ("a cut document", format!("{create}{{\"a\":\n").into()),
    ];
    let mut body = good("first");
    for (number, (_, bytes)) in bad.iter().enumerate() {
        body.extend_from_slice(bytes);
        body.extend_from_slice(&good(&number.to_string()));
    }
    // The last line may lack its end.
    body.pop();
    let (status, answer) = k8scop.bulk("/_bulk", body).await;
    let items = answer["items"].as_array().unwrap();
    assert_eq!((status, items.len()), (200, 1 + 2 * bad.len()), "{answer}");
    assert_eq!(answer["errors"], true);
    assert_eq!(items[0]["create"]["status"], 201);
    for (number, (name, _)) in bad.iter().enumerate() {
        let refused = items[1 + 2 * number].as_object().unwrap().values().next().unwrap();
        assert_eq!(refused["status"], 400, "{name}");
        assert!(refused["error"]["reason"].as_str().unwrap().len() > 10, "{name}");
        assert_eq!(items[2 + 2 * number]["create"]["_id"], number.to_string(), "after {name}");
        assert_eq!(items[2 + 2 * number]["create"]["status"], 201, "after {name}");
    }
    assert_eq!(documents(&k8scop, "logs-a").len(), 1 + bad.len());
    k8scop.check_balance().await;
}

#[tokio::test]
async fn large_documents_and_other_lines_pass_unchanged() {
    let k8scop = K8scop::start("").await;
    let large = json!({"message": "x".repeat(300_000), "n": 1.50}).to_string();
    let klog = "{ \"message\" : \"I0301 10:00:00.000001       1 flags.go:64] FLAG: --v=\\\"2\\\"\", \"a\":1e2 }";
    let body: String = [large.as_str(), klog]
        .iter()
        .map(|it| format!("{{\"create\":{{\"_index\":\"logs-a\"}}}}\r\n{it}\r\n"))
        .collect();
    assert_eq!(k8scop.bulk("/_bulk", body).await.1["errors"], false);
    let stored = fs::read_to_string(k8scop.folder().join("k8scop-data/logs-a.ndjson")).unwrap();
    let lines: Vec<&str> = stored.lines().skip(1).step_by(2).collect();
    assert_eq!(lines, [large.as_str(), klog]);
}

#[tokio::test]
async fn an_event_is_stored_once_with_one_alert_however_often_it_comes() {
    let k8scop = K8scop::start("").await;
    let mut event = secrets_listed("a");
    event["requestReceivedTimestamp"] = json!("2026-03-01T10:00:00.000001Z");
    let mut started = event.clone();
    started["stage"] = json!("ResponseStarted");
    let body: String = [&event, &started]
        .iter()
        .map(|it| format!("{{\"create\":{{\"_index\":\"logs-x-prod\"}}}}\n{}\n", message(it)))
        .collect();
    for _ in 0..3 {
        let (status, answer) = k8scop.bulk("/_bulk", body.clone()).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
        assert_eq!(answer["items"][0]["create"]["_index"], "logs-x-prod");
    }
    let events = documents(&k8scop, "logs-kubernetes.audit_logs-prod");
    assert_eq!(events.len(), 2, "one for each stage");
    let alerts = documents(&k8scop, "logs-k8scop.alerts-prod");
    assert_eq!(alerts.len(), 1, "one for the request");
    let metrics = k8scop.metrics().await;
    assert_eq!(metrics[r#"k8scop_settled_items_total{result="stored"}"#], 2.0);
    assert_eq!(metrics[r#"k8scop_settled_items_total{result="duplicate"}"#], 4.0);
    assert_eq!(metrics[r#"k8scop_settled_alerts_total{result="created"}"#], 1.0);
    assert_eq!(metrics[r#"k8scop_unwrapped_events_total{provider="plain"}"#], 6.0);
    assert_eq!(
        metrics[r#"k8scop_alerts_total{rule="All secrets of the cluster read",severity="high"}"#],
        1.0
    );
    k8scop.check_balance().await;
}

#[tokio::test]
async fn answers_come_in_the_media_type_that_was_asked_for() {
    let k8scop = K8scop::start("").await;
    for accept in [
        "application/vnd.elasticsearch+json; compatible-with=8",
        "application/vnd.elasticsearch+json;compatible-with=9",
    ] {
        let request = client()
            .put(k8scop.url("/_bulk"))
            .header("accept", accept)
            .body("{\"create\":{\"_index\":\"a\"}}\n{}\n");
        let answer = request.send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["content-type"].to_str().unwrap()),
            (200, accept)
        );
        let text = answer.text().await.unwrap();
        assert!(text.contains("\"errors\":false,\"items\":["), "{text}");
    }
}
