use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{
    parts::{CAPTURE, fresh, part},
    stored::same,
    stream::{Event, alerts, commands, kept_commands, kept_story, severity, story},
};
use crate::harness::K8scop;

/// What the commands are called that the fixture leaves without a label: they are nothing to be told of, but the
/// document still says what was typed.
const UNLABELLED: [(&str, &str); 3] = [
    ("config maps, which nobody asked to label", "get configmaps --namespace default"),
    ("pods without permission", "get pods --namespace shop"),
    ("a secret which does not exist", "get secret details"),
];

/// The documents of a file that k8scop wrote: a bulk body.
fn documents(k8scop: &K8scop, index: &str) -> Vec<Value> {
    let text =
        fs::read_to_string(k8scop.folder().join("data").join(format!("{index}.ndjson"))).unwrap();
    text.lines().skip(1).step_by(2).map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// Sends events, each in a CloudWatch document.
async fn send(k8scop: &K8scop, events: &[Event]) {
    let mut body = String::new();
    for event in events {
        let place = json!({ "log_group": "/aws/eks/demo/cluster", "log_stream": "kube-apiserver-audit-0a1b" });
        let document = json!({
            "@timestamp": "2026-11-22T06:15:31.000Z",
            "message": event.text,
            "aws": { "cloudwatch": place },
        });
        body += &format!("{{\"create\":{{\"_index\":\"filebeat\"}}}}\n{document}\n");
    }
    let (status, answer) = k8scop.bulk("/_bulk", body).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_labels() {
    check(&kept_commands()).await;
}

/// The same with what a real kubectl has just done to a real API server, and the story again.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_labels_of_a_fresh_capture() {
    let Some(folder) = part("kubectl_labels_of_a_fresh_capture", CAPTURE) else { return };
    let read = |name: &str| fs::read_to_string(Path::new(&folder).join(name)).unwrap();
    check(&read("kubectl.ndjson")).await;

    let k8scop = K8scop::start("output: file:./data\naudit: { namespace: story }\n").await;
    // Its lines need not be in the order of the story that is kept: only their alerts are counted.
    send(&k8scop, &story(&read("story.ndjson"))).await;
    let raised = documents(&k8scop, "logs-k8scop.alerts-story");
    let expected = alerts(&story(&kept_story())).into_iter().map(|(_, title)| title);
    same("alerts", expected, raised.iter().map(|it| it["message"].as_str().unwrap().to_owned()));
}

async fn check(capture: &str) {
    let namespace = fresh("kubectl");
    let config = format!("output: file:./data\naudit: {{ namespace: {namespace} }}\n");
    let k8scop = K8scop::start(&config).await;
    let sent = commands(capture);
    for (_, events) in &sent {
        send(&k8scop, events).await;
    }

    let stored = documents(&k8scop, &format!("logs-kubernetes.audit_logs-{namespace}"));
    let of = |audit_id: &str| -> Vec<&Value> {
        stored.iter().filter(|it| it["kubernetes"]["audit"]["auditID"] == audit_id).collect()
    };
    let (mut events_sent, mut unlabelled) = (Vec::new(), 0);
    for (command, events) in &sent {
        let label = command.label.as_deref().unwrap_or_else(|| {
            unlabelled += 1;
            let found = UNLABELLED.iter().find(|(name, _)| *name == command.name);
            found.unwrap_or_else(|| panic!("{} is in no table", command.name)).1
        });
        let documents = of(&events[0].audit_id);
        assert_eq!(documents.len(), events.len(), "{}", command.name);
        for (document, event) in documents.iter().zip(events) {
            assert_eq!(document["k8scop"]["kubectl"], label, "{}", command.name);
            let rules = if event.rules.is_empty() { Value::Null } else { json!(event.rules) };
            assert_eq!(document["k8scop"]["rules"], rules, "{}", command.name);
            assert!(command.label.is_some() || event.rules.is_empty(), "{}", command.name);
        }
        events_sent.extend(events.iter().cloned());
    }
    assert_eq!((stored.len(), unlabelled), (events_sent.len(), UNLABELLED.len()));

    let raised = documents(&k8scop, &format!("logs-k8scop.alerts-{namespace}"));
    let text = |alert: &Value, pointer: &str| {
        alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let named = |it: &Value| (text(it, "/kubernetes/audit/auditID"), text(it, "/message"));
    same("alerts", alerts(&events_sent), raised.iter().map(named));
    for alert in &raised {
        assert_eq!(alert["event"]["severity"], severity(&text(alert, "/message")), "{alert}");
        let kubectl = &of(&text(alert, "/kubernetes/audit/auditID"))[0]["k8scop"]["kubectl"];
        assert_eq!(alert["k8scop"]["kubectl"], *kubectl, "{alert}");
    }
    k8scop.check_balance().await;
}
