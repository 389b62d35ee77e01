//! Shippers that cannot be had here, replayed as conversations: small models of what they send, how they read the
//! answers and what they do on failure. Each model names the sources of what it does.
//!
//! | | one fault of Elasticsearch ([`FAULTS`]) | whole 429 of k8scop's | answer lost on the way | answer cut on the way | starts and writes in an outage | items refused past the deadline |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | Logstash 12.1.6 | not noticed | sent again | sent again | sent again | starts, stored later | sent again |
//! | Filebeat 8, 9 | not noticed | sent again | sent again | sent again | starts, stored later | sent again |
//! | Fluent Bit 5.1 | not noticed | sent again | sent again | sent again | stored later | whole 429: all sent again |
//! | Vector 0.58 | not noticed | sent again | sent again | reported as failed, is stored | starts, stored later | whole 429: all sent again |
//!
//! What k8scop cannot mend: with its `Retry_Limit` of 1 Fluent Bit throws a chunk away after the second refusal, and an
//! answer that is larger than its `Buffer_Size` makes it send the chunk again.
//!
//! Nothing is stored twice in any of these: k8scop makes the ids of audit events.

mod beats;
mod fluent_bit;
mod large_batches;
mod logstash;
mod upstream;
mod vector;
mod wire;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use self::{
    beats::Beats,
    fluent_bit::FluentBit,
    logstash::Logstash,
    upstream::{FAULTS, Upstream},
    vector::Vector,
    wire::{END, Relay, Said, Wire},
};
use crate::{
    harness::{K8scop, SOON, wait_for},
    real::{
        elasticsearch::{Elasticsearch, all},
        parts::{ELASTICSEARCH, fresh, part, tell},
    },
};

/// Documents of one bulk request.
const BATCH: usize = 20;
/// Every event that reads a secret, which raises one alert.
const SECRET_EVERY: usize = 5;
/// The budget, for bodies of all requests together (`limits.in_flight_bytes_max`).
const BUDGET_BYTES: usize = 2_000_000;
/// What is left of it when all is taken: less than a batch.
const LEFT_BYTES: usize = 10_000;

/// A document that a shipper has: an audit event as CloudWatch carries it.
#[derive(Clone, Debug)]
struct Document {
    audit_id: String,
    /// The event, as the API server wrote it.
    event: String,
    time: String,
}

/// What a shipper is told of its place.
struct Place {
    url: String,
    /// Also the namespace of the events' data stream.
    namespace: String,
    /// Whether a real Elasticsearch is behind it.
    is_real: bool,
}

/// What a shipper believes in the end: audit ids.
#[derive(Debug, Default)]
struct Told {
    acked: Vec<String>,
    /// Given up: an error in its log, or nothing.
    dropped: Vec<String>,
    /// Bulk requests that it took.
    tries: usize,
}

/// A model.
trait Shipper {
    /// Its conversation before the first write. An error is what makes the real one stop, or try for ever.
    async fn start(&mut self) -> Result<(), String>;
    /// Writes until it is rid of each document.
    async fn deliver(&mut self, batch: &[Document]) -> Told;
    fn wire(&self) -> &Wire;
    /// It does not ask again when an answer began and did not end.
    fn believes_a_cut_answer_failed(&self) -> bool {
        false
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn logstash_into_a_data_stream() {
    replay("logstash_into_a_data_stream", Logstash::data_stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logstash_into_an_index() {
    replay("logstash_into_an_index", Logstash::index).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filebeat_8() {
    replay("filebeat_8", Beats::eight).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn filebeat_9() {
    replay("filebeat_9", Beats::nine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fluent_bit_5() {
    replay("fluent_bit_5", FluentBit::new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_0_58() {
    replay("vector_0_58", Vector::new).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn vector_0_58_that_retries_parts() {
    replay("vector_0_58_that_retries_parts", Vector::retrying_partial).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shipper_that_sniffs_stays_with_us() {
    let test = "a_shipper_that_sniffs_stays_with_us";
    for real in [None, part(test, ELASTICSEARCH)] {
        let scene = Scene::start(real.as_deref()).await;
        let mut logstash = Logstash::data_stream(&scene.place());
        logstash.start().await.unwrap();
        assert_eq!(logstash.sniff().await, [scene.relay.address.to_string()]);
        let told = logstash.deliver(&documents(BATCH)).await;
        assert_eq!((told.acked.len(), told.tries), (BATCH, 1));
    }
}

/// The conversations before the first write, in full.
#[tokio::test(flavor = "multi_thread")]
async fn greetings() {
    let scene = Scene::start(None).await;
    let place = scene.place();
    let mut logstash = Logstash::index(&place);
    logstash.start().await.unwrap();
    let template = "_index_template/logstash";
    check_greeting(
        logstash.wire(),
        &[
            ("HEAD /", 200),
            ("GET /", 200),
            ("GET /_license", 200),
            ("GET /", 200),
            (&format!("HEAD /{template}"), 404),
            (&format!("PUT /{template}"), 200),
        ],
    );
    let mut filebeat = Beats::nine(&place);
    filebeat.start().await.unwrap();
    let name = format!("filebeat-9.1.0-{}", place.namespace);
    check_greeting(
        filebeat.wire(),
        &[
            ("GET /", 200),
            ("GET /_license?human=false", 200),
            ("GET /_ilm/policy/filebeat", 404),
            ("PUT /_ilm/policy/filebeat", 200),
            (&format!("HEAD /_index_template/{name}"), 404),
            (&format!("PUT /_index_template/{name}"), 200),
            (&format!("GET /_data_stream/{name}"), 404),
            (&format!("PUT /_data_stream/{name}"), 200),
        ],
    );
    let mut vector = Vector::new(&place);
    vector.start().await.unwrap();
    check_greeting(vector.wire(), &[("GET /", 200), ("GET /_cluster/health", 200)]);
}

#[track_caller]
fn check_greeting(wire: &Wire, expected: &[(&str, u16)]) {
    let said: Vec<(&str, u16)> =
        wire.greeting().iter().map(|it| (it.line.as_str(), it.status.unwrap())).collect();
    assert_eq!(said, expected);
    assert!(wire.greeting().iter().all(|it| !it.is_copy));
}

/// All that may happen to one shipper, before a false Elasticsearch and a real one.
async fn replay<S: Shipper>(test: &str, shipper: impl Fn(&Place) -> S) {
    one_fault_each(&Scene::start(None).await, &shipper).await;
    an_outage(Scene::start(None).await, &shipper).await;
    refused_past_the_deadline(&Scene::start(None).await, &shipper).await;
    if let Some(url) = part(test, ELASTICSEARCH) {
        Elasticsearch::new(&url).put_templates().await;
        one_fault_each(&Scene::start(Some(&url)).await, &shipper).await;
    }
}

/// A shipper's wire, k8scop, and an Elasticsearch.
struct Scene {
    real: Option<String>,
    namespace: String,
    upstream: Upstream,
    k8scop: K8scop,
    relay: Relay,
}

impl Scene {
    async fn start(real: Option<&str>) -> Self {
        let upstream = Upstream::start(real).await;
        let namespace = fresh("replay");
        // A real one takes its time for templates and new data streams.
        let (request_timeout_s, deadline_s) = if real.is_some() { (15, 60) } else { (1, 4) };
        let k8scop = K8scop::start(&format!(
            "output: {}\naudit: {{namespace: {namespace}}}\nretry: {{first_ms: 5, longest_ms: 50}}\n\
             elasticsearch: {{request_timeout_s: {request_timeout_s}}}\n\
             limits: {{request_deadline_s: {deadline_s}, in_flight_bytes_max: {BUDGET_BYTES}, body_bytes_max: 1900000, decoded_bytes_max: 1900000}}\n",
            upstream.url()
        ))
        .await;
        let relay = Relay::start(k8scop.data).await;
        Self { real: real.map(str::to_owned), namespace, upstream, k8scop, relay }
    }

    fn place(&self) -> Place {
        let namespace = self.namespace.clone();
        Place { url: self.relay.url(), namespace, is_real: self.real.is_some() }
    }

    /// Waits until k8scop has answered a bulk request as a whole with this.
    async fn refused(&self, status: u16) {
        let name = format!("k8scop_http_requests_total{{code=\"{status}\",input=\"bulk\"}}");
        wait_for(&name, SOON, async || {
            self.k8scop.metrics().await.get(&name).is_some_and(|it| *it > 0.0).then_some(())
        })
        .await;
    }

    /// The events and the alerts that are stored.
    async fn stored(&self) -> (Vec<Value>, Vec<Value>) {
        let events = format!("logs-kubernetes.audit_logs-{}", self.namespace);
        let alerts = format!("logs-k8scop.alerts-{}", self.namespace);
        let Some(url) = &self.real else {
            return (self.upstream.kept(&events), self.upstream.kept(&alerts));
        };
        let elasticsearch = Elasticsearch::new(url);
        let mut found = Vec::new();
        for index in [&events, &alerts] {
            elasticsearch.refresh(index).await;
            let hits = elasticsearch.hits(index, &all()).await;
            found.push(hits.into_iter().map(|mut it| it["_source"].take()).collect::<Vec<_>>());
        }
        let alerts = found.pop().unwrap();
        (found.pop().unwrap(), alerts)
    }

    /// Checks that each of these events is stored once, with its alert, and no other is.
    async fn check(&self, documents: &[Document]) {
        let (events, alerts) = self.stored().await;
        let id = |it: &Value| it["kubernetes"]["audit"]["auditID"].as_str().unwrap().to_owned();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for event in &events {
            *counts.entry(id(event)).or_default() += 1;
        }
        assert!(counts.values().all(|it| *it == 1), "stored twice: {counts:?}");
        let missing: Vec<String> = documents
            .iter()
            .filter(|it| counts.remove(&it.audit_id).is_none())
            .map(|it| it.audit_id.clone())
            .collect();
        assert!(counts.is_empty(), "nobody sent {counts:?}");
        assert!(missing.is_empty(), "lost: {missing:?}");
        let raise =
            |it: &&Document| it.event.contains("secrets") && !missing.contains(&it.audit_id);
        let mut expected: Vec<String> =
            documents.iter().filter(raise).map(|it| it.audit_id.clone()).collect();
        let mut found: Vec<String> = alerts.iter().map(id).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "alerts");
        self.k8scop.check_balance().await;
    }
}

/// Events of which every fifth reads a secret.
fn documents(count: usize) -> Vec<Document> {
    (0..count).map(document).collect()
}

fn document(number: usize) -> Document {
    let (resource, random) = match number % SECRET_EVERY {
        0 => ("secrets", fastrand::u128(..)),
        _ => ("configmaps", fastrand::u128(..)),
    };
    let hex = format!("{random:032x}");
    let audit_id =
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    let time = format!("2026-11-22T06:15:{:02}.{:06}Z", number % 60, random % 1_000_000);
    let event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": audit_id,
        "stage": "ResponseComplete", "requestURI": format!("/api/v1/namespaces/shop/{resource}/it-{number}"),
        "verb": "get", "user": { "username": "mallory", "groups": ["dev", "system:authenticated"] },
        "sourceIPs": ["198.51.100.7"], "userAgent": "kubectl/v1.34.1 (linux/amd64) kubernetes/0123456",
        "objectRef": { "resource": resource, "namespace": "shop", "name": format!("it-{number}"), "apiVersion": "v1" },
        "responseStatus": { "metadata": {}, "code": 200 },
        "requestReceivedTimestamp": time, "stageTimestamp": time,
        "annotations": { "authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "RBAC: ä \"quoted\"" },
    });
    Document { audit_id, event: event.to_string(), time }
}

/// One batch for each fault of Elasticsearch, of k8scop and of the way to it.
async fn one_fault_each<S: Shipper>(scene: &Scene, shipper: &impl Fn(&Place) -> S) {
    let mut shipper = shipper(&scene.place());
    shipper.start().await.unwrap();
    let mut sent = Vec::new();
    let all = |batch: &[Document]| batch.iter().map(|it| it.audit_id.clone()).collect::<Vec<_>>();

    // All is well.
    let batch = documents(BATCH);
    let told = shipper.deliver(&batch).await;
    assert_eq!((told.acked, told.tries), (all(&batch), 1));
    sent.extend(batch);

    // What goes wrong at Elasticsearch goes wrong for k8scop.
    for fault in FAULTS {
        let batch = documents(BATCH);
        scene.upstream.arm(fault);
        let told = shipper.deliver(&batch).await;
        assert!(scene.upstream.has_struck(), "{fault:?}");
        let expected = (all(&batch), Vec::<String>::new(), 1);
        assert_eq!((told.acked, told.dropped, told.tries), expected, "{fault:?}");
        sent.extend(batch);
    }

    // k8scop has its hands full.
    let batch = documents(BATCH);
    let (large, small) = (1_890_000, BUDGET_BYTES - 1_890_000 - LEFT_BYTES);
    let hogs = (hog(&scene.k8scop, large).await, hog(&scene.k8scop, small).await);
    wait_for("the budget to be taken", SOON, async || {
        let taken = scene.k8scop.metrics().await["k8scop_in_flight_bytes"];
        (taken > (large + small - 2048) as f64).then_some(())
    })
    .await;
    let (told, ()) = tokio::join!(shipper.deliver(&batch), async {
        scene.refused(429).await;
        drop(hogs);
    });
    assert_eq!((&told.acked, told.dropped.len()), (&all(&batch), 0), "whole 429");
    assert!(told.tries > 1);
    sent.extend(batch);

    // The answer does not arrive, or not all of it.
    for bytes in [0, 60, END] {
        let batch = documents(BATCH);
        scene.relay.lose_next_after(bytes);
        let told = shipper.deliver(&batch).await;
        assert!(scene.relay.has_lost());
        // The head alone has more than 60 bytes.
        if bytes == END && shipper.believes_a_cut_answer_failed() {
            assert_eq!((&told.dropped, told.tries), (&all(&batch), 1), "cut after {bytes}");
        } else {
            assert_eq!((&told.acked, told.tries), (&all(&batch), 2), "cut after {bytes}");
        }
        sent.extend(batch);
    }

    assert!(sent.len() >= 200);
    scene.check(&sent).await;
}

/// A request whose body does not end. It takes memory until it is dropped.
async fn hog(k8scop: &K8scop, bytes: usize) -> TcpStream {
    let mut stream = TcpStream::connect(k8scop.data).await.unwrap();
    let head = format!(
        "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b' '; bytes - 1]).await.unwrap();
    stream
}

/// Elasticsearch is down. One shipper had started before, another one starts now.
async fn an_outage<S: Shipper>(mut scene: Scene, shipper: &impl Fn(&Place) -> S) {
    let place = scene.place();
    let mut first = shipper(&place);
    first.start().await.unwrap();
    // What was missing is asked for again once it is set up, so that the second one finds it.
    let missing: Vec<String> = first.wire().greeting().into_iter().filter_map(missed).collect();
    wait_for("what was set up to be asked for", SOON, async || {
        let asked = scene.upstream.asked();
        let last = |line: &str| asked.iter().rposition(|it| it == line);
        let is_fresh = |line: &String| {
            let (_, path) = line.split_once(' ').unwrap();
            last(line) > last(&format!("PUT {path}"))
        };
        missing.iter().all(is_fresh).then_some(())
    })
    .await;
    // What was answered before this is kept.
    Wire::new(&place.url, &[]).get("/_cluster/health").await.unwrap();

    scene.upstream.stop().await;
    let mut second = shipper(&place);
    second.start().await.unwrap();
    for said in second.wire().greeting() {
        // How the cluster fares is no matter of the past; nobody needs it to start.
        let is_health = said.line.contains("/_cluster/health");
        assert_eq!(
            (said.status, said.is_copy),
            (Some(if is_health { 503 } else { 200 }), !is_health),
            "{said:?}"
        );
    }

    let (one, two) = (documents(BATCH), documents(BATCH));
    let (told_one, told_two, ()) = tokio::join!(first.deliver(&one), second.deliver(&two), async {
        scene.refused(503).await;
        scene.upstream.again().await;
    });
    for (told, batch) in [(told_one, &one), (told_two, &two)] {
        assert_eq!((told.acked.len(), told.dropped.len()), (batch.len(), 0));
    }
    scene.check(&[one, two].concat()).await;
}

/// The request again if its answer was that it is not there.
fn missed(said: &Said) -> Option<String> {
    (said.status == Some(404)).then(|| said.line.clone())
}

/// Some items are refused with 429 for longer than k8scop tries; the others are stored.
async fn refused_past_the_deadline<S: Shipper>(scene: &Scene, shipper: &impl Fn(&Place) -> S) {
    let mut shipper = shipper(&scene.place());
    shipper.start().await.unwrap();
    let batch = documents(BATCH);
    let refused: HashSet<String> =
        batch.iter().skip(1).step_by(SECRET_EVERY).map(|it| it.audit_id.clone()).collect();
    scene.upstream.refuse(refused);
    let returned = "k8scop_settled_items_total{result=\"returned\"}";
    let (told, ()) = tokio::join!(shipper.deliver(&batch), async {
        wait_for("items to be returned", SOON, async || {
            (scene.k8scop.metrics().await[returned] > 0.0).then_some(())
        })
        .await;
        scene.upstream.refuse(HashSet::new());
    });
    assert_eq!((told.acked.len(), told.dropped.len()), (BATCH, 0), "{:?}", shipper.wire().said);
    scene.check(&batch).await;
}

/// No event is taken, and their alerts are: nothing of what the shipper sent is stored, so it is refused as a whole.
#[tokio::test(flavor = "multi_thread")]
async fn no_part_is_a_success_if_only_alerts_are_taken() {
    let scene = Scene::start(None).await;
    let mut vector = Vector::new(&scene.place());
    let batch = documents(BATCH);
    scene.upstream.refuse(batch.iter().map(|it| it.audit_id.clone()).collect());
    let mut delivery = std::pin::pin!(vector.deliver(&batch));
    tokio::select! {
        told = &mut delivery => panic!("nothing of it may be stored: {told:?}"),
        () = scene.refused(429) => (),
    }
    scene.upstream.refuse(HashSet::new());
    let told = delivery.await;
    assert_eq!((told.acked.len(), told.dropped.len()), (BATCH, 0));
    scene.check(&batch).await;
}

/// Logstash takes no Elasticsearch without its product header, Filebeat none without a license.
#[tokio::test]
async fn models_can_fail() {
    let fake = crate::fake::Fake::start(|_, _| {
        crate::fake::Reaction::Answer(200, vec![], r#"{"version":{"number":"8.19.21"}}"#.into())
    })
    .await;
    let place = Place { url: fake.url(), namespace: "x".into(), is_real: false };
    let error = Logstash::data_stream(&place).start().await.unwrap_err();
    assert!(error.contains("compatible version"), "{error}");
    let error = Beats::nine(&place).start().await.unwrap_err();
    assert!(error.contains("license"), "{error}");
    let asked: Vec<String> = fake.asked().into_iter().map(|it| it.line).collect();
    let lines = ["HEAD / HTTP/1.1", "GET / HTTP/1.1"];
    assert_eq!(asked[..2], lines, "{asked:?}");
    assert!(!asked.iter().any(|it| it.starts_with(Method::POST.as_str())));
    tell(format_args!("models_can_fail: {} requests", asked.len()));
    // A wait that a test can end with: nothing listens here.
    let place = Place { url: "http://127.0.0.1:1".into(), namespace: "x".into(), is_real: false };
    let mut vector = Vector::new(&place);
    let batch = documents(1);
    let tries = tokio::time::timeout(Duration::from_millis(300), vector.deliver(&batch));
    assert!(tries.await.is_err(), "it does not give up");
}
