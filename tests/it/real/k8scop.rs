//! K8sCop's own command line on documents as its fluentd wrote them in 2019 (k8scop/k8s-security-dashboard,
//! `configs/fluent/fluent.conf`: bodies as text or `none`, an index a day, the `_id` made of the auditID).

use std::{
    collections::BTreeMap,
    fs,
    process::{Command, Output, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{Timestamp, ToSpan};
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{ELASTICSEARCH, fresh, part},
    stored::same,
    stream::{Command as Typed, Event, commands, kept_commands},
};
use crate::harness::Folder;

/// An Elasticsearch with logs, and a K8sCop that knows the few rules of the tests.
struct Case {
    elasticsearch: Elasticsearch,
    folder: Folder,
    /// What the names of the logs' and the alerts' indices begin with.
    logs: String,
    alerts: String,
}

impl Case {
    fn new(url: &str) -> Self {
        let folder = Folder::new("k8scop");
        let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stream_rules");
        let config = format!("rules: {{ built_in: false, paths: [{rules}] }}\n");
        fs::write(folder.0.join("k8scop.yaml"), config).unwrap();
        let elasticsearch = Elasticsearch::new(url);
        Self { elasticsearch, folder, logs: fresh("logstash"), alerts: fresh("alerts") }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_k8scop"));
        let host = self.elasticsearch.url.trim_start_matches("http://");
        command
            .args(["-E", host, "-I", &self.logs, "-i", &self.alerts, "-c", "k8scop.yaml"])
            .args(more)
            .current_dir(&self.folder.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What fluentd brings: an event of this time, with the time at which it was read.
    async fn bring(&self, event: &Value, read_at: Timestamp) {
        let mut document = event.clone();
        for body in ["requestObject", "responseObject"] {
            let text = event.get(body).map_or("none".to_owned(), Value::to_string);
            document[body] = text.into();
        }
        document["origin"] = "kubernetes-api-audit".into();
        document["host"] = "10.96.0.1".into();
        self.put(&document, read_at, event["auditID"].as_str().unwrap()).await;
    }

    async fn put(&self, document: &Value, read_at: Timestamp, of_id: &str) {
        let mut document = document.clone();
        document["@timestamp"] = read_at.strftime("%Y-%m-%dT%H:%M:%S%.9f+00:00").to_string().into();
        let index = format!("{}-{}", self.logs, read_at.strftime("%Y.%m.%d"));
        let id = STANDARD.encode(of_id);
        let action = json!({ "create": { "_index": index, "_id": id } });
        let body = format!("{action}\n{document}\n");
        let (status, answer) =
            self.elasticsearch.ask(Method::POST, "/_bulk?refresh=true", body).await;
        let stored = answer["items"][0]["create"]["status"].as_u64();
        // Each later stage of a request has the `_id` of the first, and was never stored.
        assert!(status == 200 && matches!(stored, Some(201 | 409)), "{answer}");
    }

    /// All alerts.
    async fn raised(&self) -> Vec<Value> {
        let pattern = format!("{}-*", self.alerts);
        self.elasticsearch.refresh(&pattern).await;
        let search = json!({ "query": all(), "size": 10_000, "version": true });
        let path = format!("/{pattern}/_search");
        let mut answer = self.elasticsearch.did(Method::POST, &path, &search).await;
        serde_json::from_value(answer["hits"]["hits"].take()).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8([output.stdout.as_slice(), &output.stderr].concat()).unwrap()
}

/// The event as if it had happened then.
fn at(event: &Event, time: Timestamp) -> Value {
    let mut event: Value = serde_json::from_str(&event.text).unwrap();
    for member in ["requestReceivedTimestamp", "stageTimestamp"] {
        event[member] = time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into();
    }
    event
}

/// The commands of `tests/data/kubectl` and the first event of each.
fn typed() -> Vec<(Typed, Event)> {
    let all = commands(&kept_commands()).into_iter();
    all.map(|(command, mut events)| (command, events.swap_remove(0))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn k8scop_static() {
    let Some(url) = part("k8scop_static", ELASTICSEARCH) else { return };
    let case = Case::new(&url);
    let mut expected = BTreeMap::new();
    // Three days in which a command is typed each hour, one day before and one behind.
    let start: Timestamp = "2019-03-01T00:00:00Z".parse().unwrap();
    for (hour, (command, event)) in (0..).zip(typed()) {
        let time = start + (hour * 4).hours() + 59.minutes();
        let event_then = at(&event, time);
        case.bring(&event_then, time + 2.seconds()).await;
        if !event.rules.is_empty() {
            let index = format!("{}-{}", case.alerts, time.strftime("%Y.%m.%d"));
            expected.insert(event.audit_id.clone(), (index, command.label, event.rules));
        }
    }
    let (_, outside) = typed().swap_remove(1);
    for (number, time) in
        ["2019-02-28T23:59:59.999Z", "2019-03-04T00:00:01Z"].into_iter().enumerate()
    {
        let time = time.parse().unwrap();
        let mut event = at(&outside, time);
        event["auditID"] = format!("outside-{number}").into();
        case.bring(&event, time).await;
    }
    // What its fluentd stored of containers lies beside them.
    let line =
        json!({ "log": "started", "stream": "stdout", "kubernetes": { "pod_name": "web-0" } });
    case.put(&line, start, "line").await;

    let args = ["-s", "2019-3-1-0-0-0", "-e", "2019-3-4-0-0-0", "-A", "static"];
    for place in ["first", "again"] {
        let output = case.command(&args).output().unwrap();
        assert!(output.status.success(), "{place}: {}", said(&output));
        let raised = case.raised().await;
        let named = raised.iter().map(|hit| {
            let alert = &hit["_source"];
            let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
            (
                text(&alert["kubernetes"]["audit"]["auditID"]),
                text(&alert["message"]),
                text(&hit["_index"]),
                text(&alert["k8scop"]["kubectl"]),
            )
        });
        let wanted = expected.iter().flat_map(|(audit_id, (index, label, rules))| {
            let label = label.clone().unwrap_or_default();
            let one = move |rule: &&str| {
                (audit_id.clone(), (*rule).to_owned(), index.clone(), label.clone())
            };
            rules.iter().map(one).collect::<Vec<_>>()
        });
        same(place, wanted, named);
        assert!(raised.iter().all(|it| it["_version"] == 1), "{place}: none is written twice");
        for hit in &raised {
            let place = &hit["_source"]["k8scop"]["event"];
            let [index, id] = ["index", "id"].map(|it| place[it].as_str().unwrap());
            let id = id.replace('/', "%2F").replace('+', "%2B");
            case.elasticsearch.did(Method::GET, &format!("/{index}/_doc/{id}"), &Value::Null).await;
        }
    }
    assert_eq!(
        fs::read_dir(&case.folder.0).unwrap().count(),
        1,
        "nothing is left beside the configuration"
    );
    let none = Case::new(&url);
    let output = none.command(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(70), "{}", said(&output));
    assert!(said(&output).contains("no index matches"), "{}", said(&output));
}
