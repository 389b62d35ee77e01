//! What lies in real clusters is read once, and raises what it would have raised if it had come in live.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{ELASTICSEARCH, Node, fresh, part, root, tell},
    scenarios::engine_url,
};
use crate::{
    backfill::{backfill, command},
    envelopes,
    harness::{Folder, K8scop, data},
};

/// Documents of a test.
const DOCUMENTS: usize = 3000;
/// Days, each with an index.
const DAYS: usize = 10;
/// How often it is killed, unless `K8SCOP_TEST_KILLS` says otherwise.
const KILLS: usize = 5;
/// What the ids of events end with that are told once.
const OF_ONE_EVENT: &str = "-1111-4222-8333-444455556666";
/// Documents of one request.
const BULK: usize = 1000;

/// Nothing is held: live, alerts would be too many.
const ALERTS: &str = "alerts: { rate: { per_rule: 1000000, total: 1000000 } }\n";

fn rules() -> String {
    format!("rules: {{ built_in: false, paths: [{}/tests/data/stream_rules] }}\n", root().display())
}

/// Bulk bodies: all envelopes, and between them events that kubectl caused, each as another request.
fn bodies(prefix: &str, count: usize) -> Vec<String> {
    let envelopes = envelopes::documents();
    let events: Vec<Value> = data("kubectl/kubectl.ndjson")
        .lines()
        .flat_map(|it| {
            let Value::Array(events) = serde_json::from_str::<Value>(it).unwrap()["events"].take()
            else {
                panic!("no events in {it}")
            };
            events
        })
        .collect();
    let document =
        |number: usize| match envelopes.get(number / 8).filter(|_| number.is_multiple_of(8)) {
            Some(envelope) => envelope.clone(),
            None => {
                let mut event = events[number % events.len()].clone();
                event["auditID"] = json!(format!("{number:08x}{OF_ONE_EVENT}"));
                json!({ "@timestamp": "2026-03-01T10:00:00Z", "message": event.to_string() })
                    .to_string()
            }
        };
    let numbers: Vec<usize> = (0..count).collect();
    let line = |number: &usize| {
        let index = format!("{prefix}-2026.03.{:02}", number * DAYS / count + 1);
        format!("{}\n{}\n", json!({ "create": { "_index": index } }), document(*number))
    };
    numbers.chunks(BULK).map(|it| it.iter().map(line).collect()).collect()
}

/// Puts them, and gives back how many there are.
async fn put(cluster: &Elasticsearch, prefix: &str, bodies: &[String]) -> u64 {
    // Documents of all shapes in one index: nothing of them is searched but their number.
    let template = json!({ "index_patterns": [format!("{prefix}-*")], "mappings": { "enabled": false },
        "settings": { "number_of_shards": 2, "number_of_replicas": 0 } });
    cluster.did(Method::PUT, &format!("/_template/{prefix}"), &template).await;
    for body in bodies {
        let (status, answer) = cluster.ask(Method::POST, "/_bulk", body.clone()).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    }
    cluster.refresh(&format!("{prefix}-*")).await;
    cluster.count(&format!("{prefix}-*"), &all()).await
}

/// Documents by index and `_id`.
type Stored = BTreeMap<(String, String), String>;

/// What lies in files: documents by index and `_id`, without the time when they were made.
fn stored(folder: &Path, data_set: &str) -> Stored {
    let mut stored = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let lines: Vec<_> = text.lines().collect();
        for pair in lines.chunks(2) {
            let action: Value = serde_json::from_str(pair[0]).unwrap();
            let part = |name: &str| action["create"][name].as_str().unwrap_or_default().to_owned();
            if !part("_index").starts_with(data_set) {
                continue;
            }
            let before = stored.insert((part("_index"), part("_id")), without_now(pair[1]));
            assert!(before.is_none(), "{action} is stored twice");
        }
    }
    stored
}

/// Checks that both are the same; tells the first place where they are not.
#[track_caller]
fn same(what: &str, found: &Stored, expected: &Stored) {
    let first = |one: &Stored, other: &Stored| {
        one.iter().find(|(it, _)| !other.contains_key(it)).map(|(id, it)| format!("{id:?} {it}"))
    };
    let (more, missing) = (first(found, expected), first(expected, found));
    assert_eq!((more, missing), (None, None), "{what}: one too many, one missing");
    // The envelopes hold the same few events: which of them is stored is a matter of order.
    for (id, text) in expected.iter().filter(|(_, it)| it.contains(OF_ONE_EVENT)) {
        let other = &found[id];
        let at = text.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
        let around =
            |it: &str| it.chars().skip(at.saturating_sub(60)).take(160).collect::<String>();
        assert!(text == other, "{what}: {id:?}: {} is {}", around(text), around(other));
    }
}

fn without_now(document: &str) -> String {
    const NOW: &str = "\"ingested\":\"";
    let Some((before, after)) = document.split_once(NOW) else { return document.to_owned() };
    let (_, after) = after.split_once('"').unwrap();
    format!("{before}{NOW}\"{after}")
}

fn folder(config: &str) -> Folder {
    let folder = Folder::new("backfill-real");
    fs::write(folder.0.join("k8scop.yaml"), format!("{config}{}", rules())).unwrap();
    folder
}

/// Removes what a test put.
async fn clean(cluster: &Elasticsearch, prefix: &str) {
    for day in 1..=DAYS {
        cluster.did(Method::DELETE, &format!("/{prefix}-2026.03.{day:02}"), &Value::Null).await;
    }
    cluster.did(Method::DELETE, &format!("/_template/{prefix}"), &Value::Null).await;
}

/// The same alerts and documents as when they came in live, on every engine.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_becomes_what_it_would_have_become_live() {
    let prefix = fresh("past");
    let bodies = bodies(&prefix, DOCUMENTS);
    let k8scop = K8scop::start(&format!("output: file:data\n{ALERTS}{}", rules())).await;
    for body in &bodies {
        let (status, answer) = k8scop.bulk("/_bulk", body.clone()).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)));
    }
    let live = |it: &str| stored(&k8scop.folder().join("data"), it);
    let (alerts, logs) = (live("logs-k8scop.alerts-"), live("logs-kubernetes.audit_logs-"));
    assert!(alerts.len() > 500 && logs.len() > 1500, "{} {}", alerts.len(), logs.len());
    for engine in ["es7", "es8", "es9", "os2", "os3"] {
        let Some(url) = engine_url(engine) else { continue };
        let cluster = Elasticsearch::new(&url);
        assert_eq!(put(&cluster, &prefix, &bodies).await, DOCUMENTS as u64, "{engine}");
        for write in ["alerts", "alerts+logs"] {
            let folder = folder(ALERTS);
            let index = format!("{prefix}-*");
            let args =
                ["--source", &url, "--index", &index, "--output", "file:out", "--write", write];
            let typed = backfill(&folder.0, &args).await;
            let report = typed.report();
            // Some envelopes are broken on purpose.
            let unreadable = report["counts"]["unreadable"].as_u64().unwrap();
            assert_eq!(typed.status, i32::from(unreadable > 0), "{engine}: {}", typed.err);
            assert!(unreadable < 20, "{engine}: {}", typed.err);
            assert_eq!(report["counts"]["read"], DOCUMENTS, "{engine}: {}", typed.err);
            assert!(!typed.err.contains("no point in time"), "{engine}: {}", typed.err);
            let found = |it: &str| stored(&folder.0.join("out"), it);
            same(&format!("{engine} alerts"), &found("logs-k8scop.alerts-"), &alerts);
            let expected = if write == "alerts" { BTreeMap::new() } else { logs.clone() };
            same(&format!("{engine} {write}"), &found("logs-kubernetes.audit_logs-"), &expected);
            assert!(found(&prefix).is_empty(), "{engine}: what is read stays as it is");
        }
        clean(&cluster, &prefix).await;
    }
}

/// What is stored in a cluster by the end.
async fn alerts_of(cluster: &Elasticsearch, namespace: &str) -> u64 {
    let index = format!("logs-k8scop.alerts-{namespace}");
    cluster.refresh(&index).await;
    cluster.count(&index, &all()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_misses_and_doubles_nothing() {
    let test = "killed_at_any_moment_it_misses_and_doubles_nothing";
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let cluster = Elasticsearch::new(&url);
    let kills: usize = std::env::var("K8SCOP_TEST_KILLS")
        .ok()
        .filter(|it| !it.is_empty())
        .map_or(KILLS, |it| it.parse().unwrap());
    let (prefix, namespace) = (fresh("killed"), fresh("killed"));
    put(&cluster, &prefix, &bodies(&prefix, DOCUMENTS)).await;
    let index = format!("{prefix}-*");
    let dry = folder("");
    let args = ["--source", &url, "--index", &index];
    let report = backfill(&dry.0, &[&args[..], &["--output", "file:out"]].concat()).await.report();
    let folder = folder(&format!("audit: {{ namespace: {namespace} }}\n"));
    let rate = (DOCUMENTS / 4).to_string();
    let slow = [&args[..], &["--rate", rate.as_str(), "--slices", "3"]].concat();
    let began = Instant::now();
    let mut done = 0;
    while done < kills {
        let mut child =
            command(&folder.0, &slow).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(20..1500))).await;
        let is_over = child.try_wait().unwrap().is_some();
        child.kill().unwrap();
        child.wait().unwrap();
        // It came to its end: the next one finds all there already.
        done += usize::from(!is_over);
    }
    let typed = backfill(&folder.0, &args).await;
    let last = typed.report();
    for count in ["read", "matched", "unmatched", "unreadable"] {
        assert_eq!(last["counts"][count], report["counts"][count], "{count}: {}", typed.err);
    }
    let expected = stored(&dry.0.join("out"), "logs-k8scop.alerts-default").len() as u64;
    assert_eq!(alerts_of(&cluster, &namespace).await, expected);
    tell(format_args!("backfill: {kills} kills in {} s", began.elapsed().as_secs()));
    clean(&cluster, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_anew_costs_nothing() {
    let test = "a_node_that_starts_anew_costs_nothing";
    if part(test, ELASTICSEARCH).is_none() {
        return;
    }
    let node = Node::start().await;
    let cluster = Elasticsearch::new(&node.url);
    let prefix = fresh("anew");
    put(&cluster, &prefix, &bodies(&prefix, DOCUMENTS)).await;
    let index = format!("{prefix}-*");
    let (dry, folder) = (folder(""), folder(""));
    let args = ["--source", &node.url, "--index", &index];
    let report = backfill(&dry.0, &[&args[..], &["--output", "file:out"]].concat()).await.report();
    // All points in time are lost with the node, in the middle of it.
    let rate = (DOCUMENTS / 20).to_string();
    let slow = [&args[..], &["--rate", rate.as_str()]].concat();
    let (typed, ()) = tokio::join!(backfill(&folder.0, &slow), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        node.stop().await;
        node.again().await;
    });
    let last = typed.report();
    assert_eq!(last["counts"]["read"], DOCUMENTS, "{}", typed.err);
    assert_eq!(last["counts"]["matched"], report["counts"]["matched"]);
    assert!(typed.err.contains("the source does not answer well"), "{}", typed.err);
    let expected = stored(&dry.0.join("out"), "logs-k8scop.alerts-default").len() as u64;
    assert_eq!(alerts_of(&cluster, "default").await, expected);
}
