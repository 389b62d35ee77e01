//! What lies in real clusters is read once, and raises what it would have raised if it had come in live.

mod between;
mod broken_off;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Instant,
};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    mixed::Mixed,
    parts::{fresh, root, tell, total},
    scenarios::engine_url,
};
use crate::{
    backfill::backfill,
    harness::{Folder, K8scop},
};

/// Documents of a test, unless `K8SCOP_TEST_DOCUMENTS` says otherwise.
const DOCUMENTS: usize = 3000;
/// Days, each with an index.
const DAYS: usize = 10;
/// Documents of one request.
const BULK: usize = 1000;

/// Nothing is held: live, alerts would be too many. What comes twice is written twice.
const ALL: &str =
    "alerts: { rate: { per_rule: 1000000, total: 1000000 } }\nfile: { recent_ids_max: 0 }\n";

fn number(variable: &str, default: usize) -> usize {
    let typed = std::env::var(variable).ok().filter(|it| !it.is_empty());
    typed.map_or(default, |it| it.parse().unwrap())
}

fn documents() -> usize {
    number("K8SCOP_TEST_DOCUMENTS", DOCUMENTS)
}

/// Few, with which a start is quick; all that come with the program, where it is to run long.
fn rules() -> String {
    let few = format!("built_in: false, paths: [{}/tests/data/stream_rules]", root().display());
    format!("rules: {{ {} }}\n", if documents() > DOCUMENTS { "built_in: true" } else { &few })
}

/// Bulk bodies with documents of all kinds, of so many days.
fn bodies(prefix: &str, count: usize, days: usize) -> Vec<String> {
    let mixed = Mixed::new();
    let line = |number: usize| {
        let index = format!("{prefix}-2026.03.{:02}", number * days / count + 1);
        format!("{}\n{}\n", json!({ "create": { "_index": index } }), mixed.document(number))
    };
    let starts = (0..count).step_by(BULK);
    starts.map(|it| (it..count.min(it + BULK)).map(line).collect()).collect()
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

/// Documents by index and `_id`. Two have the same, if they tell of the same event: the first one stays where they go, and
/// which that is, is a matter of order. Lines of the control plane have none here: live, Elasticsearch chooses it.
type Stored = BTreeMap<(String, String), BTreeSet<String>>;

/// What lies in files, without the time when it was made.
fn stored(folder: &Path, data_set: &str) -> Stored {
    let mut stored = Stored::new();
    for file in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let lines: Vec<_> = text.lines().collect();
        for pair in lines.chunks(2) {
            let action: Value = serde_json::from_str(pair[0]).unwrap();
            let part = |name: &str| action["create"][name].as_str().unwrap_or_default().to_owned();
            let (index, mut id) = (part("_index"), part("_id"));
            if !["logs-kubernetes.audit_logs-", "logs-k8scop."]
                .iter()
                .any(|it| index.starts_with(it))
            {
                id.clear();
            }
            // What several events mean live depends on when they come.
            if index.starts_with(data_set) && !pair[1].contains("\"correlation\":{") {
                stored.entry((index, id)).or_default().insert(without_now(pair[1]));
            }
        }
    }
    stored
}

/// Checks that both are the same, byte for byte; tells the first place where they are not.
#[track_caller]
fn same(what: &str, found: &Stored, expected: &Stored) {
    let first = |one: &Stored, other: &Stored| {
        one.iter().find(|(it, _)| !other.contains_key(it)).map(|(id, it)| format!("{id:?} {it:?}"))
    };
    let (more, missing) = (first(found, expected), first(expected, found));
    assert_eq!((more, missing), (None, None), "{what}: one too many, one missing");
    let mut differ = expected.iter().filter(|(id, texts)| found[id] != **texts);
    if let Some((id, texts)) = differ.next() {
        let more = differ.count();
        let (is, should): (Vec<_>, Vec<_>) = (
            found[id].difference(texts).take(2).collect(),
            texts.difference(&found[id]).take(2).collect(),
        );
        panic!("{what}: {id:?} and {more} more\nis {is:#?}\nand not {should:#?}");
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
        let path = format!("/{prefix}-2026.03.{day:02}?ignore_unavailable=true");
        cluster.did(Method::DELETE, &path, &Value::Null).await;
    }
    cluster.did(Method::DELETE, &format!("/_template/{prefix}"), &Value::Null).await;
}

/// What is counted live, as a backfill counts it: documents, events, alerts and what cannot be read.
async fn counted(k8scop: &K8scop) -> [f64; 4] {
    let metrics = k8scop.metrics().await;
    ["received_items", "unwrapped_events", "settled_alerts", "decode_errors"]
        .map(|it| total(&metrics, &format!("k8scop_{it}_total")))
}

/// The same alerts and documents as when they came in live, on every engine.
#[tokio::test(flavor = "multi_thread")]
async fn the_past_becomes_what_it_would_have_become_live() {
    let (prefix, documents) = (fresh("past"), documents());
    let bodies = bodies(&prefix, documents, DAYS);
    let k8scop = K8scop::start(&format!("output: file:data\n{ALL}{}", rules())).await;
    for body in &bodies {
        let (status, answer) = k8scop.bulk("/_bulk", body.clone()).await;
        assert_eq!((status, &answer["errors"]), (200, &json!(false)));
    }
    let live = |it: &str| stored(&k8scop.folder().join("data"), it);
    let (alerts, logs) = (live("logs-k8scop.alerts-"), live("logs-kubernetes."));
    assert!(alerts.len() > documents / 5 && logs.len() > documents / 2);
    let counted = counted(&k8scop).await;
    for engine in ["es7", "es8", "es9", "os2", "os3"] {
        let Some(url) = engine_url(engine) else { continue };
        let cluster = Elasticsearch::new(&url);
        assert_eq!(put(&cluster, &prefix, &bodies).await, documents as u64, "{engine}");
        // What is stored besides does not depend on the engine.
        let writes: &[&str] =
            if engine == "es8" { &["alerts", "alerts+logs"] } else { &["alerts"] };
        for write in writes.iter().copied() {
            let folder = folder(ALL);
            let index = format!("{prefix}-*");
            let args =
                ["--source", &url, "--index", &index, "--output", "file:out", "--write", write];
            let began = Instant::now();
            let typed = backfill(&folder.0, &args).await;
            let (report, took) = (typed.report(), began.elapsed());
            let counts = &report["counts"];
            let of = |it: &Value| it.as_f64().unwrap();
            // Some documents are broken on purpose, and told.
            assert_eq!(typed.status, 1, "{engine}: {}", typed.err);
            let told = format!("{} documents cannot be read", counts["unreadable"]);
            assert_eq!(report["missing"], json!([told]), "{engine}: {}", typed.err);
            let raised = of(&counts["alerts_created"]) + of(&counts["alerts_duplicate"]);
            let others = report["summary"]["other"].as_object().unwrap();
            let broken = others.iter().filter(|(it, _)| *it != "not_kubernetes");
            let broken = broken.map(|(_, it)| of(it)).sum();
            let events = of(&report["summary"]["events"]);
            let all = [of(&counts["read"]), events, raised, broken];
            assert_eq!(all, counted, "{engine}: documents, events, alerts, unreadable parts");
            assert!(!typed.err.contains("no point in time"), "{engine}: {}", typed.err);
            let found = |it: &str| stored(&folder.0.join("out"), it);
            same(&format!("{engine} alerts"), &found("logs-k8scop.alerts-"), &alerts);
            let expected = if write == "alerts" { &Stored::new() } else { &logs };
            same(&format!("{engine} {write}"), &found("logs-kubernetes."), expected);
            assert!(found(&prefix).is_empty(), "{engine}: what is read stays as it is");
            tell(format_args!(
                "backfill: {engine}, {write}: {documents} documents in {took:.1?}: {} alerts and {} other documents are those of live, {} cannot be read",
                alerts.len(),
                expected.len(),
                counts["unreadable"]
            ));
        }
        clean(&cluster, &prefix).await;
    }
}
