//! K8sCop's own command line on documents as its fluentd wrote them in 2019 (k8scop/k8s-security-dashboard,
//! `configs/fluent/fluent.conf`: bodies as text or `none`, an index a day, the `_id` made of the auditID).

use std::{
    fs,
    io::Read,
    process::{Child, Command, Output, Stdio},
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
use crate::harness::{Folder, SOON, wait_for};

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

    /// All alerts; `None` while one of their indices is being made.
    async fn raised(&self) -> Option<Vec<Value>> {
        let pattern = format!("{}-*", self.alerts);
        self.elasticsearch.refresh(&pattern).await;
        let search = json!({ "query": all(), "size": 10_000, "version": true });
        let path = format!("/{pattern}/_search");
        let (status, mut answer) =
            self.elasticsearch.ask(Method::POST, &path, search.to_string()).await;
        match status {
            200 => Some(serde_json::from_value(answer["hits"]["hits"].take()).unwrap()),
            503 => None,
            _ => panic!("{status}: {answer}"),
        }
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

/// An alert: auditID, title, index and label.
type Alert = (String, String, String, String);

impl Case {
    /// A command is typed, and what it caused is read later. Gives back the alerts that it must raise.
    async fn typed(&self, number: usize, time: Timestamp, read_at: Timestamp) -> Vec<Alert> {
        let (command, event) = typed().swap_remove(number);
        self.bring(&at(&event, time), read_at).await;
        let index = format!("{}-{}", self.alerts, time.strftime("%Y.%m.%d"));
        let label = command.label.unwrap_or_default();
        let alert = |rule: &&str| {
            (event.audit_id.clone(), (*rule).to_owned(), index.clone(), label.clone())
        };
        event.rules.iter().map(alert).collect()
    }

    /// Exactly these alerts are there, each was written once, and each points at its log.
    async fn check(&self, what: &str, expected: &[Alert]) {
        let raised = self.raised().await.unwrap();
        let alert = |hit: &Value| -> Alert {
            let text = |pointer: &str| hit.pointer(pointer).unwrap().as_str().unwrap().to_owned();
            (
                text("/_source/kubernetes/audit/auditID"),
                text("/_source/message"),
                text("/_index"),
                text("/_source/k8scop/kubectl"),
            )
        };
        same(what, expected.iter().cloned(), raised.iter().map(alert));
        for hit in &raised {
            assert_eq!(hit["_version"], 1, "{what}: it was written twice: {hit}");
            let place = &hit["_source"]["k8scop"]["event"];
            let [index, id] = ["index", "id"].map(|it| place[it].as_str().unwrap());
            let path = format!("/{index}/_doc/{}", id.replace('/', "%2F").replace('+', "%2B"));
            self.elasticsearch.did(Method::GET, &path, &Value::Null).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k8scop_static() {
    let Some(url) = part("k8scop_static", ELASTICSEARCH) else { return };
    let case = Case::new(&url);
    let start: Timestamp = "2019-03-01T00:00:00Z".parse().unwrap();
    let mut expected = Vec::new();
    for (number, hours) in (0..typed().len()).zip((0..).step_by(3)) {
        let time = start + hours.hours() + 59.minutes();
        expected.extend(case.typed(number, time, time + 2.seconds()).await);
    }
    // One before, and one behind.
    let (_, outside) = typed().swap_remove(1);
    for time in ["2019-02-28T23:59:59.999Z", "2019-03-04T00:00:01Z"] {
        let read_at = time.parse().unwrap();
        let mut event = at(&outside, read_at);
        event["auditID"] = time.into();
        case.bring(&event, read_at).await;
    }
    // What its fluentd stored of containers lies beside them.
    let line =
        json!({ "log": "started", "stream": "stdout", "kubernetes": { "pod_name": "web-0" } });
    case.put(&line, start, "line").await;

    let args = ["-s", "2019-3-1-0-0-0", "-e", "2019-3-4-0-0-0", "-A", "static"];
    for what in ["first", "again"] {
        let output = case.command(&args).output().unwrap();
        assert!(output.status.success(), "{what}: {}", said(&output));
        case.check(what, &expected).await;
    }
    let left: Vec<_> = fs::read_dir(&case.folder.0).unwrap().collect();
    assert_eq!(left.len(), 1, "only the configuration stays: {left:?}");

    let none = Case::new(&url);
    let output = none.command(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("no index matches"), "{}", said(&output));
}

/// A streaming analysis that runs.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Running {
    /// Ctrl-C, and what was said until then.
    async fn stop(mut self) -> String {
        let id = self.0.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let status = wait_for("the end", SOON, async || self.0.try_wait().unwrap()).await;
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn k8scop_streaming() {
    let Some(url) = part("k8scop_streaming", ELASTICSEARCH) else { return };
    let case = Case::new(&url);
    let now = Timestamp::now();
    let start = (now - 48.hours()).strftime("%Y-%m-%d-%H-%M-%S").to_string();
    let run =
        || Running(case.command(&["-s", &start, "-A", "streaming", "-d", "3"]).spawn().unwrap());
    let wait = async |count: usize| {
        wait_for("alerts", SOON, async || case.raised().await.filter(|it| it.len() >= count)).await;
    };
    // What is there before.
    let mut expected = case.typed(0, now - 30.hours(), now - 30.hours()).await;
    expected.extend(case.typed(1, now, now).await);
    let running = run();
    wait(expected.len()).await;
    // What comes in meanwhile: now, late, and so late that it is of another day.
    let mut later = [(2, 0.hours()), (8, 1.hours()), (10, 47.hours())].into_iter();
    let (number, late) = later.next().unwrap();
    expected.extend(case.typed(number, now - late, Timestamp::now()).await);
    wait(expected.len()).await;
    for (number, late) in later {
        expected.extend(case.typed(number, now - late, Timestamp::now()).await);
    }
    expected.extend(case.typed(11, now - 40.minutes(), now - 40.minutes()).await);
    wait(expected.len()).await;
    case.check("streaming", &expected).await;
    let said = running.stop().await;
    assert!(said.contains("the same command goes on from"), "{said}");
    // What comes in between two analyses, of any time.
    expected.extend(case.typed(12, now - 20.hours(), now - 20.hours()).await);
    expected.extend(case.typed(13, now, now).await);
    let running = run();
    wait(expected.len()).await;
    case.check("gone on", &expected).await;
    let said = running.stop().await;
    assert!(said.contains("goes on from"), "{said}");
}
