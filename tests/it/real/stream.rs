//! Audit events of a real API server, told many times over, as CloudWatch and Filebeat carry them; and what rules
//! say of them, written by hand from the rules and the events.

use std::{collections::BTreeMap, fs};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::parts::root;
use crate::harness::data;

/// The rule that labels an event and raises no alert.
const ONLY_LABELS: &str = "Pod looked at";

/// The rules that raise alerts, by the `event.severity` of these.
const SEVERITIES: [(u64, &[&str]); 3] = [
    (
        21,
        &[
            "DaemonSets listed in a namespace",
            "DaemonSets listed in all namespaces",
            "Pod deleted",
            "Pods listed in a namespace",
            "Pods listed in all namespaces",
            "Services listed in all namespaces",
        ],
    ),
    (
        47,
        &[
            "Access to secrets refused",
            "All secrets of a namespace read",
            "Command run in a container",
            "Kubernetes events deleted",
            "Pod created directly",
            "Secret read",
        ],
    ),
    (73, &["All secrets of the cluster read", "Privileged pod created"]),
];

/// `pipelines/demo/story.ndjson`: line (from 1) and rules. The other lines hit none.
const STORY: [(usize, &[&str]); 19] = [
    (5, &["Pods listed in all namespaces"]),
    (6, &["Services listed in all namespaces"]),
    (7, &["DaemonSets listed in all namespaces"]),
    (9, &["Access to secrets refused"]),
    (10, &["Access to secrets refused"]),
    (12, &["All secrets of a namespace read"]),
    (13, &["Secret read"]),
    (14, &[ONLY_LABELS]),
    // Two stages of one exec: both hit, one alert.
    (15, &["Command run in a container"]),
    (16, &["Command run in a container"]),
    (19, &["Pod created directly", "Privileged pod created"]),
    (23, &[ONLY_LABELS]),
    (24, &["Command run in a container"]),
    (25, &["Command run in a container"]),
    // Line 31 is the kubelet's own delete.
    (27, &["Pod deleted"]),
    (28, &[ONLY_LABELS]),
    (29, &["Pods listed in a namespace"]),
    (34, &["Kubernetes events deleted"]),
    (35, &["Pods listed in a namespace"]),
];

/// `tests/data/kubectl/kubectl.ndjson`, line by line: rules.
const KUBECTL: [&[&str]; 19] = [
    &["Pod created directly"],
    &["Pods listed in all namespaces"],
    &["Pods listed in a namespace"],
    &[ONLY_LABELS],
    &["Pods listed in all namespaces"],
    &["Pods listed in a namespace"],
    &["All secrets of a namespace read"],
    &["Secret read"],
    &["All secrets of the cluster read"],
    &["All secrets of a namespace read"],
    &["Services listed in all namespaces"],
    &["DaemonSets listed in all namespaces"],
    &["DaemonSets listed in a namespace"],
    &["Command run in a container"],
    &["Command run in a container"],
    &["Pod deleted"],
    // Config maps; pods that were refused; a secret that is not there.
    &[],
    &[],
    &[],
];

/// Lines of the other log types of the same log group: stream and text. `{}` is a number that comes once.
const TEXTS: [(&str, &str); 5] = [
    (
        "kube-apiserver-0a1b",
        "I1122 06:15:31.000001      11 trace.go:236] Trace[{}]: \"List\" accept:application/json, kind:Event (total time: 512ms):",
    ),
    (
        "authenticator-0a1b",
        "time=\"2026-11-22T06:15:31Z\" level=info msg=\"access granted\" arn=\"arn:aws:iam::111122223333:role/dev\" client=\"127.0.0.1:{}\" groups=\"[]\" method=POST path=/authenticate username=mallory@example.com",
    ),
    (
        "kube-controller-manager-0a1b",
        "I1122 06:15:31.200000      10 replica_set.go:676] \"Finished syncing\" kind=\"ReplicaSet\" key=\"shop/checkout-{}\"",
    ),
    (
        "kube-scheduler-0a1b",
        "E1122 06:15:31.300000       9 schedule_one.go:1096] \"Error scheduling pod; retrying\" pod=\"shop/p-{}\"",
    ),
    // Speaks of audit events and is none.
    (
        "kube-apiserver-0a1b",
        "{\"ts\":1763792131000.1,\"msg\":\"Registered group audit.k8s.io/v1\",\"v\":{}}",
    ),
];

/// Events to one line of text.
const EVENTS_PER_TEXT: usize = 4;

/// One audit event.
#[derive(Clone, Debug)]
pub struct Event {
    pub audit_id: String,
    pub stage: String,
    pub time: String,
    /// As the API server wrote it.
    pub text: String,
    /// Titles of the rules that it hits.
    pub rules: &'static [&'static str],
}

/// A command and what it caused (`tests/data/kubectl`).
#[derive(Debug, Deserialize)]
pub struct Command {
    pub name: String,
    pub label: Option<String>,
    events: Vec<Box<RawValue>>,
}

/// What a shipper is to bring.
#[derive(Debug)]
pub struct Stream {
    pub cluster: String,
    pub events: Vec<Event>,
    /// The documents of all lines, in order: events, and text between them.
    pub documents: Vec<Value>,
    /// Those of the text lines.
    pub texts: Vec<Value>,
}

impl Event {
    fn new(text: &str, rules: &'static [&'static str]) -> Self {
        let event: Value = serde_json::from_str(text).unwrap();
        let member = |name: &str| event[name].as_str().unwrap().to_owned();
        let (audit_id, stage, time) =
            (member("auditID"), member("stage"), member("stageTimestamp"));
        Self { audit_id, stage, time, text: text.to_owned(), rules }
    }

    /// The same under another auditID and at another time; all else keeps its bytes. The stages of a request have
    /// one `received`.
    pub fn retold(&self, audit_id: &str, received: Timestamp, at: Timestamp) -> Self {
        let old: Value = serde_json::from_str(&self.text).unwrap();
        let mut text = self.text.replace(&self.audit_id, audit_id);
        for (name, time) in [("requestReceivedTimestamp", received), ("stageTimestamp", at)] {
            text = text.replace(
                &format!("\"{name}\":{}", old[name]),
                &format!("\"{name}\":\"{time:.6}\""),
            );
        }
        let told = Self::new(&text, self.rules);
        assert_eq!(
            (told.audit_id.as_str(), told.time.as_str()),
            (audit_id, format!("{at:.6}").as_str())
        );
        told
    }

    pub fn key(&self) -> (String, String) {
        (self.audit_id.clone(), self.stage.clone())
    }
}

/// `event.severity` of an alert.
pub fn severity(rule: &str) -> u64 {
    let found = SEVERITIES.iter().find(|(_, rules)| rules.contains(&rule));
    found.unwrap_or_else(|| panic!("'{rule}' is in no table")).0
}

/// The commands of a capture, and the events of each.
pub fn commands(text: &str) -> Vec<(Command, Vec<Event>)> {
    assert_eq!(text.lines().count(), KUBECTL.len());
    let lines = text.lines().zip(KUBECTL).map(|(line, rules)| {
        let command: Command = serde_json::from_str(line).unwrap();
        let events = command.events.iter().map(|it| Event::new(it.get(), rules)).collect();
        (command, events)
    });
    lines.collect()
}

/// The commands of the capture that is kept.
pub fn kept_commands() -> String {
    data("kubectl/kubectl.ndjson")
}

/// The story that is kept.
pub fn kept_story() -> String {
    fs::read_to_string(root().join("pipelines/demo/story.ndjson")).unwrap()
}

/// The events of a story.
pub fn story(text: &str) -> Vec<Event> {
    let rules =
        |line: usize| STORY.iter().find(|(it, _)| *it == line).map_or(&[][..], |(_, rules)| *rules);
    text.lines().enumerate().map(|(index, line)| Event::new(line, rules(index + 1))).collect()
}

/// One alert for each request and rule, whatever its stages: auditID and title.
pub fn alerts(events: &[Event]) -> Vec<(String, String)> {
    let raised = events.iter().flat_map(|event| {
        event
            .rules
            .iter()
            .filter(|it| **it != ONLY_LABELS)
            .map(|rule| (event.audit_id.clone(), (*rule).to_owned()))
    });
    let mut alerts: Vec<_> = raised.collect();
    alerts.sort_unstable();
    alerts.dedup();
    alerts
}

impl Stream {
    /// All real events `copies` times, told as if they had just happened: each request under an auditID of its own.
    pub fn new(cluster: &str, copies: usize) -> Self {
        let mut sources = story(&kept_story());
        sources.extend(commands(&kept_commands()).into_iter().flat_map(|(_, events)| events));
        let all = i32::try_from(sources.len() * copies).unwrap();
        let start =
            Timestamp::now().saturating_sub(SignedDuration::from_millis(137) * (all + 1)).unwrap();
        let mut stream = Self {
            cluster: cluster.to_owned(),
            events: Vec::new(),
            documents: Vec::new(),
            texts: Vec::new(),
        };
        for _ in 0..copies {
            let mut requests: BTreeMap<&str, (String, Timestamp)> = BTreeMap::new();
            for source in &sources {
                let number = stream.events.len();
                let at =
                    start + SignedDuration::from_micros(137_001) * i32::try_from(number).unwrap();
                let (id, received) =
                    requests.entry(&source.audit_id).or_insert_with(|| (audit_id(), at));
                let event = source.retold(id, *received, at);
                stream.documents.push(document(
                    cluster,
                    "kube-apiserver-audit-0a1b",
                    &event.text,
                    at,
                    number,
                ));
                stream.events.push(event);
                if number.is_multiple_of(EVENTS_PER_TEXT) {
                    let (name, text) = TEXTS[stream.texts.len() % TEXTS.len()];
                    let text = document(
                        cluster,
                        name,
                        &text.replace("{}", &number.to_string()),
                        at,
                        number,
                    );
                    stream.texts.push(text.clone());
                    stream.documents.push(text);
                }
            }
        }
        stream
    }

    /// The lines of the file that Filebeat reads.
    pub fn lines(&self) -> Vec<String> {
        self.documents.iter().map(|it| format!("{it}\n")).collect()
    }
}

/// What the input `aws-cloudwatch` makes of a log line: every other one as before Filebeat 9.2 (keys with dots in
/// them), the rest as since.
fn document(cluster: &str, stream: &str, message: &str, at: Timestamp, number: usize) -> Value {
    let (group, stream) =
        (format!("/aws/eks/{cluster}/cluster"), format!("{stream}{}", number % 3));
    let (seconds, path) =
        (at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(), format!("{group}/{stream}"));
    let place = json!({ "log_group": group, "log_stream": stream, "ingestion_time": seconds });
    let mut document = json!({
        "@timestamp": seconds,
        "message": message,
        "event": { "id": format!("{number:056}") },
        "cloud": { "provider": "aws", "region": "eu-west-1" },
        "awscloudwatch": place,
    });
    if number.is_multiple_of(2) {
        document["log.file.path"] = json!(path);
        document["aws.cloudwatch"] = place;
    } else {
        document["log"] = json!({ "file": { "path": path } });
        document["aws"] = json!({ "cloudwatch": place });
    }
    document
}

fn audit_id() -> String {
    let [a, b, c, d] = std::array::from_fn(|_| fastrand::u16(..));
    format!(
        "{:08x}-{a:04x}-4{:03x}-8{:03x}-{:012x}",
        fastrand::u32(..),
        b & 0xfff,
        c & 0xfff,
        fastrand::u64(..1 << 48) ^ u64::from(d)
    )
}
