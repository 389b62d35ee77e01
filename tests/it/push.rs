//! Those who push events hear yes when all of it is stored, and only then.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::Write,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use flate2::{Compression, write::GzEncoder};
use reqwest::header::HeaderMap;
use ring::{
    rand::SystemRandom,
    signature::{RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents},
};
use serde_json::{Value, json};

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::{CANARY, Folder, K8scop, SOON, nobody, wait_for},
};

const QUICK: &str = "limits: {request_deadline_s: 1}\nretry: {first_ms: 5, longest_ms: 40}\n";

/// What a sender hears.
struct Heard {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{}", self.text))
    }
}

async fn send(
    k8scop: &K8scop,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> Heard {
    let mut request = nobody().post(k8scop.url(path)).body(body);
    request = request.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let text = answer.text().await.unwrap();
    assert!(!text.contains(CANARY), "a secret is shown: {text}");
    Heard { status, headers, text }
}

/// An audit event as it stands in a list: without its kind. It raises one alert.
fn item(audit_id: &str) -> Value {
    json!({"level": "Metadata", "auditID": audit_id, "stage": "ResponseComplete", "verb": "list",
        "requestURI": "/api/v1/secrets", "user": {"username": "mallory"}, "sourceIPs": ["192.0.2.7"],
        "objectRef": {"resource": "secrets"}, "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-03-01T10:00:00.123456Z", "stageTimestamp": "2026-03-01T10:00:00.130000Z"})
}

/// One as it stands in a log.
fn event(audit_id: &str) -> Value {
    let mut event = item(audit_id);
    event["kind"] = "Event".into();
    event["apiVersion"] = "audit.k8s.io/v1".into();
    event
}

fn list(items: &[Value]) -> String {
    json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items})
        .to_string()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn firehose(request_id: &str, records: &[Vec<u8>]) -> String {
    let records: Vec<_> = records.iter().map(|it| json!({"data": STANDARD.encode(it)})).collect();
    json!({"requestId": request_id, "timestamp": 1_772_359_260_000_u64, "records": records})
        .to_string()
}

fn pubsub(message_id: &str, data: &str) -> String {
    json!({"message": {"data": STANDARD.encode(data), "messageId": message_id, "attributes": {},
        "publishTime": "2026-03-01T10:00:01Z"}, "subscription": "projects/demo/subscriptions/k8scop"})
    .to_string()
}

/// The same two things by each input: an audit event, and a line that is none where the input has such.
fn requests() -> [(&'static str, String); 3] {
    let line = event("a").to_string();
    [
        ("/audit/demo", list(&[item("a"), item("b")])),
        ("/firehose/demo", firehose("r-1", &[gzip(format!("{line}\nI0102 a line\n").as_bytes())])),
        ("/pubsub/demo", pubsub("m-1", &line)),
    ]
}

/// Checks the form of an answer: each sender reads another.
fn check_form(path: &str, heard: &Heard, is_yes: bool) {
    let media = heard.headers.get("content-type").map(|it| it.to_str().unwrap());
    if path.starts_with("/firehose") {
        let answer = heard.json();
        assert_eq!((heard.status == 200, media), (is_yes, Some("application/json")), "{path}");
        assert!(answer["timestamp"].as_u64().unwrap() > 1_772_359_260_000, "{answer}");
        assert_eq!(answer["errorMessage"].is_string(), !is_yes, "{answer}");
        assert!(
            !heard.headers.contains_key("content-encoding")
                && heard.headers.contains_key("content-length")
        );
    } else if is_yes {
        let expected = if path.starts_with("/pubsub") { 204 } else { 200 };
        assert_eq!((heard.status, heard.text.as_str()), (expected, ""), "{path}");
    } else {
        assert!(heard.status >= 400, "{path} {}", heard.status);
        assert!(heard.json()["error"]["reason"].is_string(), "{}", heard.text);
    }
}

/// The documents that k8scop wrote into files, by data stream.
fn documents(k8scop: &K8scop) -> BTreeMap<String, Vec<Value>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(k8scop.folder().join("data")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let all = text.lines().skip(1).step_by(2).map(|it| serde_json::from_str(it).unwrap());
        found.insert(path.file_stem().unwrap().to_str().unwrap().to_owned(), all.collect());
    }
    found
}

#[tokio::test]
async fn what_is_pushed_is_stored() {
    let config = "output: file:./data\npush: {namespace: shop}\n";
    let k8scop = K8scop::start(config).await;
    for (path, body) in requests() {
        check_form(path, &send(&k8scop, path, &[], body).await, true);
    }
    let found = documents(&k8scop);
    let events = &found["logs-kubernetes.audit_logs-shop"];
    // By whichever way it came, it is one event.
    assert_eq!(events.len(), 2, "{events:#?}");
    assert_eq!(found["logs-k8scop.alerts-shop"].len(), 2);
    for (event, audit_id) in events.iter().zip(["a", "b"]) {
        assert_eq!(event["kubernetes"]["audit"]["auditID"], audit_id);
        assert_eq!(event["orchestrator"]["cluster"]["name"], "demo");
        assert_eq!(event["data_stream"]["namespace"], "shop");
        assert_eq!(event["source"]["ip"][0], "192.0.2.7");
    }
    let others = &found["logs-k8scop.push-shop"];
    assert_eq!(others.len(), 1, "{others:#?}");
    assert_eq!(others[0]["message"], "I0102 a line");
    let metrics = k8scop.metrics().await;
    for (input, items) in [("webhook", 2.0), ("firehose", 2.0), ("pubsub", 1.0), ("bulk", 0.0)] {
        assert_eq!(
            metrics[&format!("k8scop_received_items_total{{input=\"{input}\"}}")],
            items,
            "{input}"
        );
    }
    assert_eq!(metrics[r#"k8scop_settled_items_total{result="duplicate"}"#], 2.0);
    assert_eq!(metrics[r#"k8scop_http_requests_total{code="204",input="pubsub"}"#], 1.0);
    k8scop.check_balance().await;
}

/// What clouds put around events: a subscription of CloudWatch, an entry of Cloud Logging.
#[tokio::test]
async fn events_of_clouds() {
    let k8scop = K8scop::start("output: file:./data\npush: {namespace: shop}\n").await;
    let subscription = |stream: &str, messages: &[&str]| {
        let events: Vec<_> = messages
            .iter()
            .enumerate()
            .map(|(id, it)| json!({"id": id.to_string(), "timestamp": 1_772_359_200_130_u64, "message": it}))
            .collect();
        let message = json!({"messageType": "DATA_MESSAGE", "owner": "111122223333",
            "logGroup": "/aws/eks/demo/cluster", "logStream": stream, "subscriptionFilters": ["f"],
            "logEvents": events});
        gzip(message.to_string().as_bytes())
    };
    let events = [event("a").to_string(), event("b").to_string()];
    let line =
        "I0301 10:00:00.123456       1 schedule_one.go:302] \"Successfully bound pod to node\"";
    let records = [
        subscription(
            "kube-apiserver-audit-0123456789abcdef0123456789abcdef",
            &[&events[0], &events[1]],
        ),
        subscription("kube-scheduler-0123456789abcdef0123456789abcdef", &[line]),
    ];
    // CloudWatch delivers again in another request.
    for request_id in ["r-1", "r-2"] {
        let heard = send(&k8scop, "/firehose", &[], firehose(request_id, &records)).await;
        check_form("/firehose", &heard, true);
    }
    let entry = json!({"insertId": "i-1", "logName": "projects/demo/logs/cloudaudit.googleapis.com%2Factivity",
        "operation": {"id": "6d1c7f0e-0000-4000-8000-000000000001", "producer": "k8s.io", "first": true, "last": true},
        "protoPayload": {"@type": "type.googleapis.com/google.cloud.audit.AuditLog", "serviceName": "k8s.io",
            "methodName": "io.k8s.core.v1.pods.delete", "resourceName": "core/v1/namespaces/shop/pods/web-0",
            "authenticationInfo": {"principalEmail": "alice@example.com"}, "status": {},
            "requestMetadata": {"callerIp": "192.0.2.8"}},
        "resource": {"type": "k8s_cluster", "labels": {"cluster_name": "gke-demo", "location": "europe-west1"}},
        "timestamp": "2026-03-01T10:00:01.020000Z", "receiveTimestamp": "2026-03-01T10:00:03Z"});
    for _ in 0..2 {
        let heard = send(&k8scop, "/pubsub", &[], pubsub("m-1", &entry.to_string())).await;
        check_form("/pubsub", &heard, true);
    }
    // A cluster that nothing but the path names.
    let message = json!({"messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "/own/audit",
        "logStream": "s", "logEvents": [{"id": "7", "timestamp": 1_772_359_200_130_u64, "message": event("c").to_string()}]});
    let record = gzip(message.to_string().as_bytes());
    send(&k8scop, "/firehose/own", &[], firehose("r-3", &[record])).await;
    let found = documents(&k8scop);
    let stored = &found["logs-kubernetes.audit_logs-shop"];
    let told: Vec<_> = stored
        .iter()
        .map(|it| (&it["user"]["name"], &it["orchestrator"]["cluster"]["name"]))
        .map(|(user, cluster)| (user.as_str().unwrap(), cluster.as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            ("mallory", "demo"),
            ("mallory", "demo"),
            ("alice@example.com", "gke-demo"),
            ("mallory", "own")
        ]
    );
    assert_eq!(found["logs-kubernetes.scheduler_logs-shop"].len(), 1);
    assert!(!found.contains_key("logs-k8scop.push-shop"), "{found:#?}");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn nothing_to_store_is_a_yes() {
    let fake = Fake::start(|_, _| Reaction::Close).await;
    let k8scop = K8scop::start(&format!("output: {}\n{QUICK}", fake.url())).await;
    let check = json!({"messageType": "CONTROL_MESSAGE", "owner": "CloudwatchLogs", "logGroup": "", "logStream": "",
        "subscriptionFilters": [], "logEvents": [
            {"id": "", "timestamp": 1, "message": "CWL CONTROL MESSAGE: Checking health of destination Firehose."}]})
    .to_string();
    for (path, body) in [
        ("/audit", list(&[])),
        ("/firehose", firehose("r", &[])),
        ("/firehose", firehose("r", &[gzip(check.as_bytes())])),
        ("/firehose/demo", firehose("s", &[gzip(check.as_bytes())])),
        ("/pubsub", json!({"message": {"messageId": "1"}, "subscription": "s"}).to_string()),
    ] {
        check_form(path, &send(&k8scop, path, &[], body).await, true);
    }
    assert!(fake.asked().is_empty());
    let metrics = k8scop.metrics().await;
    assert_eq!(metrics["k8scop_dropped_documents_total{reason=\"control_message\"}"], 2.0);
    k8scop.check_balance().await;
}

/// What calls itself a check of the way and says more is stored.
#[tokio::test]
async fn what_only_looks_like_a_check_is_stored() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let k8scop = K8scop::start(&format!("output: {}\n{QUICK}", fake.url())).await;
    let message = json!({"messageType": "CONTROL_MESSAGE", "logEvents": [{"id": "1", "timestamp": 1, "message": "a line"}]});
    let body = firehose("r", &[gzip(message.to_string().as_bytes())]);
    check_form("/firehose", &send(&k8scop, "/firehose/demo", &[], body).await, true);
    assert_eq!(fake.asked().len(), 1);
    k8scop.check_balance().await;
}

/// What Elasticsearch does, and what is answered then.
#[tokio::test]
async fn what_is_not_stored_is_refused() {
    type Script = fn(usize, &Asked) -> Reaction;
    let broken = |status: u16| {
        move |_: usize, _: &Asked| {
            Reaction::Answer(status, vec![], r#"{"error":{"type":"t","reason":"said so"}}"#.into())
        }
    };
    let cases: [(&str, Script, u16); 6] = [
        ("closed", |_, _| Reaction::Close, 503),
        ("hung", |_, _| Reaction::Hang, 503),
        ("cut", |_, _| Reaction::CutAfter(60), 503),
        ("busy", |_, _| Reaction::Items(vec![429]), 429),
        (
            "one is not taken now",
            |_, asked| {
                Reaction::Items(if asked.actions().len() > 1 { vec![201, 503] } else { vec![503] })
            },
            503,
        ),
        ("refused for good", |_, _| Reaction::Items(vec![400]), 400),
    ];
    for (name, script, expected) in cases {
        let fake = Fake::start(script).await;
        let k8scop = K8scop::start(&format!("output: {}\n{QUICK}", fake.url())).await;
        for (path, body) in requests() {
            let heard = send(&k8scop, path, &[("x-amz-firehose-request-id", "r-1")], body).await;
            check_form(path, &heard, false);
            assert_eq!(heard.status, expected, "{name} {path}: {}", heard.text);
            if path.starts_with("/firehose") {
                assert_eq!(heard.json()["requestId"], "r-1");
            }
            let again = heard.headers.contains_key("retry-after");
            // An API server tries again at once where it is told when (client-go 0.35, `rest/with_retry.go`).
            assert_eq!(again, expected != 400 && !path.starts_with("/firehose"), "{name} {path}");
        }
        assert!(!fake.asked().is_empty());
        k8scop.check_balance().await;
    }
    for status in [401, 403] {
        let fake = Fake::start(broken(status)).await;
        let k8scop = K8scop::start(&format!("output: {}\n{QUICK}", fake.url())).await;
        for (path, body) in requests() {
            let heard = send(&k8scop, path, &[], body).await;
            check_form(path, &heard, false);
            assert_eq!(heard.status, status, "{path}");
            assert!(heard.text.contains("said so"), "{}", heard.text);
        }
        k8scop.check_balance().await;
    }
}

/// An Elasticsearch that knows which `_id`s it has.
fn remembering(
    stored: &Arc<Mutex<Vec<String>>>,
    loses: usize,
) -> impl Fn(usize, &Asked) -> Reaction + Send + Sync + 'static {
    let stored = Arc::clone(stored);
    move |number, asked| {
        let mut stored = stored.lock().unwrap();
        let statuses = asked.actions().into_iter().map(|action| {
            let action: Value = serde_json::from_str(&action).unwrap();
            let id = action["create"]["_id"].as_str().unwrap().to_owned();
            let is_new = !stored.contains(&id);
            stored.extend(is_new.then_some(id));
            if is_new { 201 } else { 409 }
        });
        let statuses: Vec<u16> = statuses.collect();
        if number < loses { Reaction::Close } else { Reaction::Items(statuses) }
    }
}

#[tokio::test]
async fn what_is_sent_again_is_stored_once() {
    for (path, body) in requests() {
        let stored = Arc::new(Mutex::new(Vec::new()));
        // It stores the first, and the answer is lost.
        let fake = Fake::start(remembering(&stored, 1)).await;
        let k8scop = K8scop::start(&format!("output: {}\n{QUICK}", fake.url())).await;
        for _ in 0..3 {
            check_form(path, &send(&k8scop, path, &[], body.clone()).await, true);
        }
        let ids = stored.lock().unwrap().clone();
        let unique: HashSet<_> = ids.iter().collect();
        // Each event has an alert.
        let expected = if path.starts_with("/audit") {
            4
        } else if path.starts_with("/firehose") {
            3
        } else {
            2
        };
        assert_eq!((ids.len(), unique.len()), (expected, expected), "{path}");
        k8scop.check_balance().await;
    }
}

#[tokio::test]
async fn what_is_refused_for_good_can_be_kept() {
    let fake = Fake::start(|_, asked| {
        Reaction::Items(
            asked
                .actions()
                .iter()
                .map(|it| if it.contains("k8scop.dead") { 201 } else { 400 })
                .collect(),
        )
    })
    .await;
    let k8scop =
        K8scop::start(&format!("output: {}\non_reject: dead_letter\n{QUICK}", fake.url())).await;
    // Nothing is refused for good but a line: an event's alert is not kept, so it is not done with.
    let line = firehose("r-1", &[b"I0102 a line".to_vec()]);
    check_form("/firehose", &send(&k8scop, "/firehose", &[], line).await, true);
    let log = pubsub("m-1", r#"{"insertId": "i"}"#);
    check_form("/pubsub", &send(&k8scop, "/pubsub", &[], log).await, true);
    let mut quiet = item("a");
    quiet["objectRef"]["resource"] = "leases".into();
    let events = list(&[quiet]);
    check_form("/audit", &send(&k8scop, "/audit", &[], events).await, true);
    let metrics = k8scop.metrics().await;
    assert_eq!(metrics[r#"k8scop_settled_items_total{result="dead_lettered"}"#], 3.0);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn bodies_that_are_something_else() {
    let limits = "limits: {body_bytes_max: 200000, decoded_bytes_max: 300000, items_max: 50}";
    let k8scop = K8scop::start(&format!("output: file:./data\n{limits}\n")).await;
    let bomb = gzip(&vec![b'\n'; 4 << 20]);
    let deep = "[".repeat(100_000);
    let many: Vec<_> = (0..51).map(|it| item(&it.to_string())).collect();
    let wide = format!(
        r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{}1]}}"#,
        "1,".repeat(60_000)
    );
    for (path, body, expected) in [
        ("/audit", b"".to_vec(), 400),
        ("/audit", b"\xff\x00".to_vec(), 400),
        ("/audit", b"{\"kind\":\"Even".to_vec(), 400),
        ("/audit", event("a").to_string().into(), 400),
        ("/audit", list(&[]).replace("audit.k8s.io", "v1").into(), 400),
        ("/audit", deep.clone().into(), 400),
        ("/audit", list(&many).into(), 413),
        ("/audit", wide.into(), 413),
        ("/audit", vec![b' '; 200_001], 413),
        (&format!("/audit/{}", "a".repeat(257)), list(&[]).into(), 400),
        ("/audit/%0a", list(&[]).into(), 400),
        ("/audit/%ff", list(&[]).into(), 400),
        ("/firehose", b"".to_vec(), 400),
        ("/firehose", b"{}".to_vec(), 400),
        ("/firehose", firehose("r", &[bomb]).into(), 400),
        ("/firehose", firehose("r", &["a\n".repeat(51).into()]).into(), 400),
        ("/firehose", firehose("r", &["{}".repeat(60_000).into()]).into(), 400),
        ("/firehose", vec![b' '; 200_001], 400),
        ("/pubsub", pubsub("1", "").replace("\"data\":\"\"", "\"data\":\"!\"").into(), 400),
        ("/pubsub", vec![b' '; 200_001], 413),
    ] {
        let heard = send(&k8scop, path, &[], body).await;
        assert_eq!(heard.status, expected, "{path}: {}", heard.text);
        check_form(path, &heard, false);
    }
    // Compressed as a whole, as Firehose can.
    for (path, body) in requests() {
        let heard =
            send(&k8scop, path, &[("content-encoding", "gzip")], gzip(body.as_bytes())).await;
        check_form(path, &heard, true);
        let bomb = gzip(&vec![b' '; 4 << 20]);
        let heard = send(&k8scop, path, &[("content-encoding", "gzip")], bomb).await;
        check_form(path, &heard, false);
    }
    let plain =
        nobody().post(k8scop.url("/audit")).header("content-type", "text/plain").body(list(&[]));
    assert_eq!(plain.send().await.unwrap().status(), 406);
    // What Pub/Sub sends without a wrapper can be anything.
    check_form("/pubsub", &send(&k8scop, "/pubsub", &[], deep).await, true);
    check_form("/pubsub", &send(&k8scop, "/pubsub", &[], vec![0xff; 10]).await, true);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn large_batches_of_an_api_server() {
    let k8scop = K8scop::start("output: file:./data\n").await;
    // As many as it sends at once, and one of the size of its largest request.
    let mut items: Vec<_> = (0..400).map(|it| item(&it.to_string())).collect();
    items[7]["requestObject"] = json!({"data": "x".repeat(3 << 19)});
    let started = Instant::now();
    check_form("/audit", &send(&k8scop, "/audit/demo", &[], list(&items)).await, true);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(documents(&k8scop)["logs-kubernetes.audit_logs-default"].len(), 400);
    k8scop.check_balance().await;
}

/// Refused at the door while as much is in flight as may be, and taken afterwards.
#[tokio::test]
async fn a_full_house() {
    let fake = Fake::start(|number, _| match number {
        0 => Reaction::After(Duration::from_secs(2), Box::new(Reaction::Items(vec![201]))),
        _ => Reaction::Items(vec![201]),
    })
    .await;
    let limits = "body_bytes_max: 60000, decoded_bytes_max: 60000, in_flight_bytes_max: 70000";
    let config = format!("output: {}\nlimits: {{{limits}}}\n", fake.url());
    let k8scop = K8scop::start(&config).await;
    let mut large = item("large");
    large["requestObject"] = json!({"data": "x".repeat(50_000)});
    let filled = async {
        wait_for("the house to be full", SOON, async || {
            (k8scop.metrics().await["k8scop_items_in_flight"] > 0.0).then_some(())
        })
        .await;
        for (path, body) in requests() {
            // As large as what is left, at least.
            let heard = send(&k8scop, path, &[], body + &" ".repeat(20_000)).await;
            assert_eq!(heard.status, 429, "{path}: {}", heard.text);
            check_form(path, &heard, false);
        }
    };
    let list = list(&[large]);
    let (heard, ()) = tokio::join!(send(&k8scop, "/audit", &[], list), filled);
    check_form("/audit", &heard, true);
    for (path, body) in requests() {
        check_form(path, &send(&k8scop, path, &[], body).await, true);
    }
    k8scop.check_balance().await;
}

/// An API server drops what it has waited for 30 s.
#[tokio::test]
async fn an_api_server_is_answered_before_it_leaves() {
    let fake = Fake::start(|_, _| Reaction::Hang).await;
    let k8scop = K8scop::start(&format!("output: {}\n", fake.url())).await;
    let started = Instant::now();
    let heard = send(&k8scop, "/audit/demo", &[], list(&[item("a")])).await;
    let took = started.elapsed();
    assert_eq!(heard.status, 503);
    assert!((Duration::from_secs(19)..Duration::from_secs(24)).contains(&took), "{took:?}");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn credentials_of_each() {
    let folder = Folder::new("push");
    let key_file = folder.0.join("key");
    fs::write(&key_file, format!("{CANARY}-key\n")).unwrap();
    let config = format!(
        "output: file:./data\nreload_s: 1\npush: {{firehose: {{access_key: 'file:{}'}}}}\nauth:\n\
        - {{name: apiserver, bearer: {CANARY}-token, indices: ['logs-kubernetes.*', 'logs-k8scop.push-*']}}\n\
        - {{name: narrow, bearer: other, indices: ['logs-kubernetes.*']}}\n",
        key_file.display()
    );
    let k8scop = K8scop::start(&config).await;
    let [webhook, hose, push] = requests();
    let token = |it: &str| format!("Bearer {it}");
    let good = token(&format!("{CANARY}-token"));
    let key = format!("{CANARY}-key");
    for (name, (path, body), headers, expected) in [
        ("none", &webhook, vec![], 401),
        ("another", &webhook, vec![("authorization", token("x"))], 401),
        ("theirs", &webhook, vec![("authorization", good.clone())], 200),
        ("not for these", &webhook, vec![("authorization", token("other"))], 403),
        // The key of the one is none for the other.
        ("a key", &webhook, vec![("x-amz-firehose-access-key", key.clone())], 401),
        ("none", &hose, vec![], 401),
        ("empty", &hose, vec![("x-amz-firehose-access-key", String::new())], 401),
        ("another", &hose, vec![("x-amz-firehose-access-key", format!("{key}y"))], 401),
        ("a token", &hose, vec![("authorization", good.clone())], 401),
        ("theirs", &hose, vec![("x-amz-firehose-access-key", key.clone())], 200),
        // Without a proof of its own it needs that of all others.
        ("none", &push, vec![], 401),
        ("theirs", &push, vec![("authorization", good.clone())], 204),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let heard = send(&k8scop, path, &headers, body.clone()).await;
        assert_eq!(heard.status, expected, "{path} {name}: {}", heard.text);
        check_form(path, &heard, expected < 300);
    }
    let metrics = k8scop.metrics().await;
    let unauthorized = |reason: &str| {
        metrics[&format!("k8scop_unauthorized_requests_total{{reason=\"{reason}\"}}")]
    };
    assert_eq!(
        (unauthorized("missing"), unauthorized("unknown"), unauthorized("forbidden")),
        (5.0, 3.0, 1.0)
    );
    // A new key is known without a restart.
    fs::write(&key_file, "new").unwrap();
    wait_for("the new key", SOON, async || {
        let headers = [("x-amz-firehose-access-key", "new")];
        (send(&k8scop, hose.0, &headers, hose.1.clone()).await.status == 200).then_some(())
    })
    .await;
    k8scop.check_balance().await;
}

/// Firehose without a key of its own, where clients are known.
#[tokio::test]
async fn who_has_no_proof_of_its_own_needs_the_others() {
    let k8scop = K8scop::start("output: file:./data\nauth:\n- {name: a, bearer: b}\n").await;
    let [_, (path, body), _] = requests();
    let heard = send(&k8scop, path, &[("x-amz-firehose-request-id", "r-9")], body.clone()).await;
    check_form(path, &heard, false);
    assert_eq!((heard.status, &heard.json()["requestId"]), (401, &json!("r-9")));
    check_form(path, &send(&k8scop, path, &[("authorization", "Bearer b")], body).await, true);
}

const AUDIENCE: &str = "https://k8scop.example/pubsub";
const EMAIL: &str = "push@demo.iam.gserviceaccount.com";

fn pair() -> RsaKeyPair {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/push/key.pk8");
    RsaKeyPair::from_pkcs8(&fs::read(file).unwrap()).unwrap()
}

fn key_set(ids: &[&str]) -> String {
    let public: RsaPublicKeyComponents<Vec<u8>> = pair().public().into();
    let (n, e) = (URL_SAFE_NO_PAD.encode(&public.n), URL_SAFE_NO_PAD.encode(&public.e));
    let keys: Vec<_> = ids
        .iter()
        .map(|it| json!({"kty": "RSA", "kid": it, "alg": "RS256", "use": "sig", "n": n, "e": e}))
        .collect();
    json!({"keys": keys}).to_string()
}

/// A token of Google's, signed by us, that is good for an hour.
fn token(key: &str, change: impl Fn(&mut Value)) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mut claims = json!({"iss": "https://accounts.google.com", "aud": AUDIENCE, "email": EMAIL,
        "email_verified": true, "iat": now, "exp": now + 3600, "sub": "1"});
    change(&mut claims);
    let header = json!({"alg": "RS256", "kid": key, "typ": "JWT"});
    let part = |it: &Value| URL_SAFE_NO_PAD.encode(it.to_string());
    let text = format!("{}.{}", part(&header), part(&claims));
    let mut signature = vec![0; 256];
    pair().sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    format!("Bearer {text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn tokens_of_pubsub() {
    let folder = Folder::new("jwks");
    let file = folder.0.join("keys.json");
    fs::write(&file, key_set(&["k1"])).unwrap();
    let config = format!(
        "output: file:./data\nreload_s: 1\nauth:\n- {{name: a, bearer: b}}\n\
        push:\n  pubsub: {{audience: '{AUDIENCE}', email: {EMAIL}, jwks: 'file:{}'}}\n",
        file.display()
    );
    let k8scop = K8scop::start(&config).await;
    let [_, _, (path, body)] = requests();
    for (name, authorization, expected) in [
        ("good", Some(token("k1", |_| ())), 204),
        ("none", None, 401),
        ("another's", Some("Bearer b".into()), 401),
        ("no token", Some("Basic YTpi".into()), 401),
        (
            "another audience",
            Some(token("k1", |it| it["aud"] = "https://other.example".into())),
            401,
        ),
        ("another account", Some(token("k1", |it| it["email"] = "x@other.example".into())), 401),
        ("not verified", Some(token("k1", |it| it["email_verified"] = false.into())), 401),
        ("over", Some(token("k1", |it| it["exp"] = 1_772_359_260.into())), 401),
        ("another issuer", Some(token("k1", |it| it["iss"] = "https://evil.example".into())), 401),
        ("another key", Some(token("k2", |_| ())), 401),
    ] {
        let headers: Vec<_> =
            authorization.iter().map(|it| ("authorization", it.as_str())).collect();
        let heard = send(&k8scop, path, &headers, body.clone()).await;
        assert_eq!(heard.status, expected, "{name}: {}", heard.text);
        check_form(path, &heard, expected == 204);
    }
    fs::write(&file, key_set(&["k1", "k2"])).unwrap();
    let good = token("k2", |_| ());
    wait_for("the new key", SOON, async || {
        let heard = send(&k8scop, path, &[("authorization", &good)], body.clone()).await;
        (heard.status == 204).then_some(())
    })
    .await;
    // A token opens no other door, and is not told to the log.
    let heard = send(&k8scop, "/audit", &[("authorization", &good)], list(&[item("a")])).await;
    assert_eq!(heard.status, 401);
    assert!(!k8scop.log().contains(good.rsplit_once('.').unwrap().1));
    k8scop.check_balance().await;
}

#[tokio::test]
async fn keys_of_google_are_asked_for() {
    let keys = Fake::start(|number, _| match number {
        0 => Reaction::Answer(200, vec![], key_set(&["k1"])),
        _ => Reaction::Answer(500, vec![], String::new()),
    })
    .await;
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let config = format!(
        "output: {}\n{QUICK}push:\n  pubsub: {{audience: '{AUDIENCE}', email: {EMAIL}, jwks: '{}/certs'}}\n",
        fake.url(),
        keys.url()
    );
    let k8scop = K8scop::start(&config).await;
    let [_, _, (path, body)] = requests();
    let ask = async |token: &str| {
        send(&k8scop, path, &[("authorization", token)], body.clone()).await.status
    };
    assert!(keys.asked().is_empty(), "nothing is asked before it is needed");
    assert_eq!(ask("Bearer x").await, 401);
    assert!(keys.asked().is_empty(), "for what is no token nobody is asked");
    assert_eq!(ask(&token("k1", |_| ())).await, 204);
    for _ in 0..5 {
        assert_eq!(ask(&token("k2", |_| ())).await, 401);
    }
    assert_eq!(ask(&token("k1", |_| ())).await, 204);
    assert_eq!(keys.asked().len(), 1, "once a minute at most");
    // Elasticsearch does not see the token.
    assert!(fake.asked().iter().all(|it| it.header("authorization").is_none()));
    k8scop.check_balance().await;
}

#[tokio::test]
async fn a_token_that_cannot_be_checked_is_to_come_again() {
    let keys = Fake::start(|_, _| Reaction::Close).await;
    let config = format!(
        "output: file:./data\npush:\n  pubsub: {{audience: '{AUDIENCE}', email: {EMAIL}, jwks: '{}/certs'}}\n",
        keys.url()
    );
    let k8scop = K8scop::start(&config).await;
    let [_, _, (path, body)] = requests();
    let good = token("k1", |_| ());
    for _ in 0..2 {
        let heard = send(&k8scop, path, &[("authorization", &good)], body.clone()).await;
        assert_eq!(heard.status, 503, "{}", heard.text);
    }
    assert_eq!(keys.asked().len(), 1);
}

/// An API server may show credentials of Elasticsearch, as a shipper does. What Firehose shows is for us.
#[tokio::test]
async fn credentials_for_elasticsearch() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let k8scop = K8scop::start(&format!("output: {}\n{QUICK}", fake.url())).await;
    for (path, body) in requests() {
        let headers = [("authorization", "Basic YTpi"), ("es-security-runas-user", "elastic")];
        check_form(path, &send(&k8scop, path, &headers, body).await, true);
        let asked = fake.asked();
        let last = asked.last().unwrap();
        let expected = path.starts_with("/audit").then_some("Basic YTpi");
        assert_eq!(last.header("authorization"), expected, "{path}");
        assert_eq!(last.header("es-security-runas-user"), None, "{path}");
        assert!(last.line.starts_with("POST /_bulk?timeout="), "{}", last.line);
    }
}

/// However a path is spelled, nobody comes in by it who is not let in, and the proof of one input opens no other.
#[tokio::test]
async fn no_way_round() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let config = format!(
        "output: {}\n{QUICK}push: {{firehose: {{access_key: key}}}}\nauth:\n- {{name: a, bearer: b}}\n",
        fake.url()
    );
    let k8scop = K8scop::start(&config).await;
    let bulk = "{\"create\":{\"_index\":\"i\"}}\n{}\n";
    let key = [("x-amz-firehose-access-key", "key")];
    for path in [
        "/firehose/../_bulk",
        "/firehose/%2e%2e/_bulk",
        "//firehose/..//_bulk",
        "/firehose%2F..%2F_bulk",
        "/firehose/_bulk",
        "/firehose/x/_bulk",
        "/firehose/_doc",
        "/firehose/_doc/1",
        "/firehose;/_bulk",
        "/_bulk?/firehose",
        "/_bulk#/firehose",
        "/FIREHOSE",
        "/audit",
        "/pubsub/firehose",
        "/%66irehose/x/y",
    ] {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: k\r\nconnection: close\r\ncontent-type: application/json\r\nx-amz-firehose-access-key: key\r\ncontent-length: {}\r\n\r\n{bulk}",
            bulk.len()
        );
        let mut stream = tokio::net::TcpStream::connect(k8scop.data).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut answer).await.ok();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status: u16 = answer.split(' ').nth(1).unwrap().parse().unwrap();
        assert!(matches!(status, 400 | 401 | 403 | 404), "{path}: {answer}");
    }
    // Spelled so, it is Firehose's own.
    for path in ["//firehose/", "/%66irehose", "/firehose/x%2F..%2F_bulk", "/firehose?_bulk"] {
        let body = firehose("r", &[b"a".to_vec()]);
        assert_eq!(send(&k8scop, path, &key, body.clone()).await.status, 200, "{path}");
        assert_eq!(send(&k8scop, path, &[], body).await.status, 401, "{path}");
    }
    // Two keys: the first counts, whoever stands before us.
    let body = firehose("r", &[b"a".to_vec()]);
    let two = [("x-amz-firehose-access-key", "x"), ("x-amz-firehose-access-key", "key")];
    assert_eq!(send(&k8scop, "/firehose", &two, body).await.status, 401);
    for asked in fake.asked() {
        assert!(asked.line.starts_with("POST /_bulk?timeout="), "{}", asked.line);
        assert!(asked.header("x-amz-firehose-access-key").is_none());
        assert!(asked.body.contains("\"_index\":\"logs-k8scop.push-default\""), "{}", asked.body);
    }
    k8scop.check_balance().await;
}

/// One byte of a client does not cost the others of its API server their events.
#[tokio::test]
async fn a_patch_that_is_no_utf8() {
    let k8scop = K8scop::start("output: file:./data\n").await;
    let mut odd = item("a");
    odd["requestObject"] = json!({"data": "@@"});
    let body = list(&[odd, item("b")]).into_bytes();
    let body: Vec<u8> = body.into_iter().map(|it| if it == b'@' { 0xff } else { it }).collect();
    check_form("/audit", &send(&k8scop, "/audit/demo", &[], body).await, true);
    assert_eq!(documents(&k8scop)["logs-kubernetes.audit_logs-default"].len(), 2);
}

/// What small requests become is within the budget before it is written: a document is repeated around each of the events
/// in it.
#[tokio::test]
async fn small_requests_that_become_much_stay_within_the_budget() {
    let fake = Fake::start_forgetful(|_| Reaction::Items(vec![201])).await;
    let k8scop = K8scop::start(&format!("output: {}\n", fake.url())).await;
    let items: Vec<_> =
        (0..900).map(|it| json!({"auditID": it.to_string(), "stage": "Panic"})).collect();
    let document = json!({"pad": "x".repeat(200_000), "message": list(&items)});
    let body = format!("{{\"create\":{{\"_index\":\"i\"}}}}\n{document}\n");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (url, body) = (k8scop.url("/_bulk"), body.clone());
        tasks.spawn(async move {
            nobody().post(url).body(body).send().await.unwrap().status().as_u16()
        });
    }
    let mut peak = 0;
    let pid = k8scop.pid();
    let mut statuses = Vec::new();
    while !tasks.is_empty() {
        tokio::select! {
            Some(done) = tasks.join_next() => statuses.push(done.unwrap()),
            () = tokio::time::sleep(Duration::from_millis(20)) => (),
        }
        let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let rss = text.lines().find(|it| it.starts_with("VmHWM")).unwrap();
        peak = peak.max(rss.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap());
    }
    assert!(statuses.iter().all(|it| matches!(it, 200 | 429)), "{statuses:?}");
    assert!(statuses.contains(&200), "{statuses:?}");
    // Three times limits.in_flight_bytes_max.
    assert!(peak < 768 << 10, "{peak} kB");
    k8scop.check_balance().await;
}
