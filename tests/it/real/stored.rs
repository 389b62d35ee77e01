//! What must lie in Elasticsearch after a stream has gone through.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Debug,
};

use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    stream::{Event, Stream, alerts, severity},
};

/// Most differences that a failure shows.
const SHOWN_MAX: usize = 12;

/// Checks that both hold the same things equally often.
#[track_caller]
pub fn same<T: Ord + Debug>(
    what: &str,
    expected: impl IntoIterator<Item = T>,
    found: impl IntoIterator<Item = T>,
) {
    let mut balance: BTreeMap<T, i32> = BTreeMap::new();
    for thing in expected {
        *balance.entry(thing).or_default() -= 1;
    }
    for thing in found {
        *balance.entry(thing).or_default() += 1;
    }
    balance.retain(|_, it| *it != 0);
    let missing: i32 = balance.values().filter(|it| **it < 0).sum();
    let more: i32 = balance.values().filter(|it| **it > 0).sum();
    let shown: Vec<_> = balance.iter().take(SHOWN_MAX).collect();
    assert!(balance.is_empty(), "{what}: {} missing, {more} too many: {shown:#?}", -missing);
}

pub fn events_of(namespace: &str) -> String {
    format!("logs-kubernetes.audit_logs-{namespace}")
}

pub fn alerts_of(namespace: &str) -> String {
    format!("logs-k8scop.alerts-{namespace}")
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether nothing is missing any more.
pub async fn is_all(elasticsearch: &Elasticsearch, namespace: &str, stream: &Stream) -> bool {
    let events = events_of(namespace);
    elasticsearch.refresh(&events).await;
    if elasticsearch.count(&events, &all()).await < stream.events.len() as u64 {
        return false;
    }
    texts(elasticsearch, stream).await.len() >= stream.texts.len()
}

async fn texts(elasticsearch: &Elasticsearch, stream: &Stream) -> Vec<Value> {
    let index = "logs-kubernetes.*_logs-*,-logs-kubernetes.audit_logs-*";
    elasticsearch.refresh(index).await;
    let cluster = json!({ "term": { "orchestrator.cluster.name": stream.cluster } });
    elasticsearch.hits(index, &cluster).await
}

/// Each event is there once and says what it said, and so is each alert.
pub async fn check(elasticsearch: &Elasticsearch, namespace: &str, stream: &Stream) {
    let (events_index, alerts_index) = (events_of(namespace), alerts_of(namespace));
    elasticsearch.refresh(&events_index).await;
    elasticsearch.refresh(&alerts_index).await;

    let stored = elasticsearch.hits(&events_index, &all()).await;
    let key = |hit: &Value| {
        (
            text(hit, "/_source/kubernetes/audit/auditID").to_owned(),
            text(hit, "/_source/kubernetes/audit/stage").to_owned(),
        )
    };
    same("events", stream.events.iter().map(Event::key), stored.iter().map(key));
    let by_key: HashMap<_, _> = stream.events.iter().map(|it| (it.key(), it)).collect();
    for hit in &stored {
        check_event(hit, by_key[&key(hit)], &stream.cluster, namespace);
    }
    // The fields can be searched for, too.
    for field in ["@timestamp", "kubernetes.audit.verb", "user.name", "source.ip"] {
        let found =
            elasticsearch.count(&events_index, &json!({ "exists": { "field": field } })).await;
        assert_eq!(found, stored.len() as u64, "{field}");
    }

    let raised = elasticsearch.hits(&alerts_index, &all()).await;
    let named = |hit: &Value| {
        (
            text(hit, "/_source/kubernetes/audit/auditID").to_owned(),
            text(hit, "/_source/message").to_owned(),
        )
    };
    same("alerts", alerts(&stream.events), raised.iter().map(named));
    let by_id: HashMap<&str, &Value> = stored.iter().map(|it| (text(it, "/_id"), it)).collect();
    for hit in &raised {
        check_alert(hit, &by_id, &events_index);
    }
}

fn check_event(hit: &Value, event: &Event, cluster: &str, namespace: &str) {
    let (document, original): (_, Value) =
        (&hit["_source"], serde_json::from_str(&event.text).unwrap());
    let audit = &document["kubernetes"]["audit"];
    for (name, value) in original.as_object().unwrap() {
        match name.as_str() {
            // Changed on purpose: dots in keys, metadata in bodies.
            "annotations" | "requestObject" | "responseObject" => {
                assert!(audit[name].is_object(), "{name} of {hit}")
            }
            _ => assert_eq!(audit[name], *value, "{name} of {hit}"),
        }
    }
    assert_eq!(document["@timestamp"], original["stageTimestamp"], "{hit}");
    assert_eq!(document["user"]["name"], original["user"]["username"], "{hit}");
    assert_eq!(document["source"]["ip"], original["sourceIPs"], "{hit}");
    assert!(document["message"].is_null(), "{hit}");
    let rules = if event.rules.is_empty() { Value::Null } else { json!(event.rules) };
    let mut found = document["k8scop"]["rules"].clone();
    if let Value::Array(titles) = &mut found {
        titles.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    assert_eq!(found, rules, "{hit}");

    let group = format!("/aws/eks/{cluster}/cluster");
    assert_eq!(text(document, "/aws/cloudwatch/log_group"), group, "{hit}");
    assert!(
        text(document, "/log/file/path").starts_with(&format!("{group}/kube-apiserver-audit-")),
        "{hit}"
    );
    assert_eq!(text(document, "/orchestrator/cluster/name"), cluster, "{hit}");
    for gone in ["awscloudwatch", "aws.cloudwatch", "log.file.path"] {
        assert!(document[gone].is_null(), "{gone} of {hit}");
    }
    assert_eq!(
        document["data_stream"],
        json!({ "type": "logs", "dataset": "kubernetes.audit_logs", "namespace": namespace }),
        "{hit}"
    );
    assert!(text(hit, "/_index").starts_with(&format!(".ds-{}-", events_of(namespace))), "{hit}");
}

fn check_alert(hit: &Value, events: &HashMap<&str, &Value>, events_index: &str) {
    let alert = &hit["_source"];
    let title = text(alert, "/message");
    assert_eq!(text(alert, "/rule/name"), title, "{hit}");
    assert_eq!(alert["event"]["kind"], "alert", "{hit}");
    assert_eq!(alert["event"]["severity"], severity(title), "{hit}");
    assert_eq!(text(alert, "/k8scop/event/index"), events_index, "{hit}");
    let event =
        events.get(text(alert, "/k8scop/event/id")).unwrap_or_else(|| panic!("no event of {hit}"));
    let event = &event["_source"];
    assert_eq!(
        alert["kubernetes"]["audit"]["auditID"], event["kubernetes"]["audit"]["auditID"],
        "{hit}"
    );
    assert_eq!(alert["@timestamp"], event["@timestamp"], "{hit}");
    assert_eq!(alert["user"]["name"], event["user"]["name"], "{hit}");
}

/// The data streams of the components that wrote the text lines, by the beginning of their log streams.
const DATASETS: [(&str, &str); 4] = [
    ("kube-apiserver-", "kubernetes.apiserver_logs"),
    ("authenticator-", "kubernetes.authenticator_logs"),
    ("kube-controller-manager-", "kubernetes.controller_manager_logs"),
    ("kube-scheduler-", "kubernetes.scheduler_logs"),
];

/// Each text line is there once, in the data stream of its component.
pub async fn check_texts(elasticsearch: &Elasticsearch, namespace: &str, stream: &Stream) {
    let stored = texts(elasticsearch, stream).await;
    let ids = stored.iter().map(|it| text(it, "/_source/event/id"));
    same("text lines", stream.texts.iter().map(|it| text(it, "/event/id")), ids);
    let by_id: HashMap<&str, &Value> =
        stream.texts.iter().map(|it| (text(it, "/event/id"), it)).collect();
    for hit in &stored {
        let document = &hit["_source"];
        let sent = by_id[text(document, "/event/id")];
        assert_eq!(document["aws"]["cloudwatch"], sent["awscloudwatch"], "{hit}");
        let name = text(sent, "/awscloudwatch/log_stream");
        let (_, dataset) = DATASETS.iter().find(|(prefix, _)| name.starts_with(prefix)).unwrap();
        assert_eq!(
            document["data_stream"],
            json!({ "type": "logs", "dataset": dataset, "namespace": namespace }),
            "{hit}"
        );
        let message = text(document, "/message");
        assert!(text(sent, "/message").contains(message), "{hit}");
        assert!(document["log"]["level"].is_string(), "{hit}");
        for gone in ["awscloudwatch", "aws.cloudwatch", "log.file.path"] {
            assert!(document[gone].is_null(), "{gone} of {hit}");
        }
    }
}
