//! `audit.objects`: bodies of real events are stored in each form, on each engine, and none of them needs the
//! reduced form.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{fresh, root, tell, total},
    scenarios::engine_url,
};
use crate::harness::{K8scop, data};

/// Events of one bulk request.
const REQUEST: usize = 200;
/// Different paths of fields that real events have at least: more than an index takes by default.
const PATHS_MIN: usize = 1000;

const FORMS: [&str; 5] = ["drop_metadata", "slim", "string", "flattened", "full"];

/// How an index has the bodies mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mapped {
    /// As in the template that comes with the program.
    Stored,
    /// As its README says for `flattened`.
    Flattened,
    /// As objects of which some fields are known, as in Elastic's own template.
    Known,
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7() {
    run("es7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_8() {
    run("es8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_9() {
    run("es9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2() {
    run("os2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_3() {
    run("os3").await;
}

async fn run(engine: &str) {
    let Some(url) = engine_url(engine) else { return };
    let elasticsearch = Elasticsearch::new(&url);
    let events = events();
    for form in FORMS {
        let mut mapped = vec![Mapped::Stored];
        match form {
            // OpenSearch has no such type.
            "flattened" if engine.starts_with("es") => mapped.push(Mapped::Flattened),
            "drop_metadata" | "slim" | "string" => mapped.push(Mapped::Known),
            _ => (),
        }
        for mapped in mapped {
            check(&elasticsearch, form, mapped, &events).await;
        }
    }
    let bytes: usize = events.values().map(|it| it.to_string().len()).sum();
    tell(format_args!("{engine}: {} events, {bytes} bytes, stored in each form", events.len()));
}

async fn check(
    elasticsearch: &Elasticsearch,
    form: &str,
    mapped: Mapped,
    events: &BTreeMap<(String, String), Value>,
) {
    let index = fresh("bodies-");
    elasticsearch.did(Method::PUT, &format!("/{index}"), &body_of_index(mapped)).await;
    let k8scop = K8scop::start(&format!(
        "output: {}\naudit: {{ route: keep, objects: {form} }}\nrules: {{ built_in: false }}\n",
        elasticsearch.url
    ))
    .await;
    let all_events: Vec<&Value> = events.values().collect();
    for events in all_events.chunks(REQUEST) {
        let action = json!({ "create": { "_index": index } });
        let lines = events.iter().map(|it| json!({ "message": it.to_string() }));
        let body: String = lines.map(|document| format!("{action}\n{document}\n")).collect();
        let (status, answer) = k8scop.bulk("/_bulk", body).await;
        let items = answer["items"].as_array().unwrap_or_else(|| panic!("{status} {answer}"));
        for (item, event) in items.iter().zip(events) {
            assert_eq!(item["create"]["status"], 201, "{form}: {item} of {event}");
        }
    }
    let metrics = k8scop.metrics().await;
    assert_eq!(total(&metrics, "k8scop_reduced_events_total"), 0.0, "{form}");

    elasticsearch.refresh(&index).await;
    let hits = elasticsearch.hits(&index, &all()).await;
    assert_eq!(hits.len(), events.len(), "{form}");
    for hit in &hits {
        let audit = &hit["_source"]["kubernetes"]["audit"];
        check_bodies(form, audit, &events[&key(audit)]);
    }
    if mapped == Mapped::Flattened {
        let is_pod = |it: &&Value| it["responseObject"]["kind"] == "Pod";
        let pods = events.values().filter(is_pod).count() as u64;
        let query = json!({ "term": { "kubernetes.audit.responseObject.kind": "Pod" } });
        assert_eq!(elasticsearch.count(&index, &query).await, pods);
    }
    elasticsearch.did(Method::DELETE, &format!("/{index}"), &Value::Null).await;
}

fn check_bodies(form: &str, audit: &Value, event: &Value) {
    for name in ["requestObject", "responseObject"] {
        let (body, raw, came) = (&audit[name], &audit[format!("{name}_raw")], &event[name]);
        if form == "full" {
            assert_eq!((body, raw), (came, &Value::Null));
            continue;
        }
        // What is hard to store is there in one form or the other; all else as it was asked for.
        let is_raw = if is_hard(event) { raw.is_string() } else { form == "string" };
        let is_there = !came.is_null();
        let expected = (is_there && !is_raw, is_there && is_raw);
        assert_eq!((!body.is_null(), raw.is_string()), expected, "{form}: {audit}");
        assert!(!body.to_string().contains("\"managedFields\""), "{form}: {body}");
        assert!(!raw.to_string().contains(r#"\"managedFields\""#), "{form}: {raw}");
        match form {
            "drop_metadata" => assert!(body["metadata"].is_null(), "{body}"),
            "slim" => assert!(body["status"].is_null(), "{body}"),
            "flattened" if !is_raw => {
                assert_eq!(body["metadata"]["name"], came["metadata"]["name"])
            }
            _ => (),
        }
    }
}

/// The body that creates an index with the mapping of the template.
fn body_of_index(mapped: Mapped) -> Value {
    let path = root().join("pipelines/templates/kubernetes.audit_logs.json");
    let template: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let mut index = template["template"].clone();
    let mappings = index["mappings"].as_object_mut().unwrap();
    mappings.remove("runtime");
    let audit = &mut mappings["properties"]["kubernetes"]["properties"]["audit"]["properties"];
    for name in ["requestObject", "responseObject"] {
        match mapped {
            Mapped::Stored => {
                assert_eq!(audit[name], json!({ "type": "object", "enabled": false }))
            }
            Mapped::Flattened => audit[name] = json!({ "type": "flattened", "ignore_above": 8191 }),
            Mapped::Known => {
                let keyword = json!({ "type": "keyword", "ignore_above": 8191 });
                let some = json!({ "properties": { "type": keyword } });
                audit[name] = json!({ "properties": { "spec": some, "data": some } });
            }
        }
    }
    index
}

fn is_hard(event: &Value) -> bool {
    event["auditID"].as_str().unwrap().starts_with("hard-")
}

fn key(event: &Value) -> (String, String) {
    (event["auditID"].to_string(), event["stage"].to_string())
}

/// Events with all the paths that there are: those of the repository, those of real clusters if this checkout
/// has such data beside it (too large for the repository), and some that are hard to store.
fn events() -> BTreeMap<(String, String), Value> {
    let lines = |text: &str| -> Vec<Value> {
        text.lines().filter_map(|it| serde_json::from_str(it).ok()).collect()
    };
    let mut found = lines(&fs::read_to_string(root().join("pipelines/demo/story.ndjson")).unwrap());
    for mut story in lines(&data("kubectl/kubectl.ndjson")) {
        found.append(story["events"].as_array_mut().unwrap());
    }
    let own = found.len();
    for folder in ["kube-healthy", "openshift-cluster-logging-operator"] {
        let folder = root().join("..").join("shared").join("data").join(folder);
        for file in fs::read_dir(folder).into_iter().flatten() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|it| it == "ndjson" || it == "log") {
                found.extend(lines(&fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.retain(|it| it["kind"] == "Event" && it["auditID"].is_string());
    let (mut paths, mut events) = (BTreeSet::new(), BTreeMap::new());
    let is_own_only = found.len() == own;
    for event in found {
        let before = paths.len();
        add_paths(&event, &mut String::new(), &mut paths);
        if paths.len() > before {
            events.insert(key(&event), event);
        }
    }
    if is_own_only {
        tell(
            "SKIPPED a part of real::bodies: there are no events of real clusters beside this checkout",
        );
    } else {
        assert!(paths.len() >= PATHS_MIN, "only {} paths", paths.len());
    }
    for (number, body) in hard_bodies().into_iter().enumerate() {
        let event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("hard-{number}"), "stage": "ResponseComplete",
            "verb": "patch", "user": { "username": "mallory" }, "requestObject": body, "responseObject": body,
        });
        events.insert(key(&event), event);
    }
    events
}

fn add_paths(value: &Value, path: &mut String, paths: &mut BTreeSet<String>) {
    let len = path.len();
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                *path += "/";
                *path += key;
                add_paths(value, path, paths);
                path.truncate(len);
            }
        }
        Value::Array(values) => values.iter().for_each(|it| add_paths(it, path, paths)),
        _ => {
            paths.insert(path.clone());
        }
    }
}

/// What shippers of others have lost events for.
fn hard_bodies() -> Vec<Value> {
    let nested = |depth: usize| {
        (0..depth).fold(json!({ "type": "object" }), |inner, _| json!({ "properties": inner }))
    };
    let keys = ["", " ", ".", "..", ".a", "a.", "a..b", "a.b", "\0", "a\0b", "é", "_id"];
    let odd_keys: Vec<Value> = keys.iter().map(|it| json!({ *it: { *it: "x" } })).collect();
    vec![
        json!({ "kind": "Status", "metadata": {}, "status": "Failure", "code": 403 }),
        json!({ "kind": "Pod", "status": { "phase": "Running" }, "spec": { "type": "x" } }),
        json!([{ "op": "add", "path": "/a", "value": { "b": 1 } }, { "op": "add", "path": "/c", "value": 3 }]),
        json!({ "kind": "SubjectAccessReview", "spec": { "groups": ["a", "b"] } }),
        json!({ "kind": "PrometheusRule", "spec": { "groups": [{ "name": "a" }] } }),
        json!({ "kind": "ConfigMap", "data": { "ca-bundle.crt": "x".repeat(214_712), "b": "€".repeat(8191) } }),
        json!({ "kind": "Secret", "data": { ".dockerconfigjson": "e30=", "type": "x" } }),
        json!({ "kind": "Odd", "list": odd_keys, ".": { "managedFields": [{ ".": {} }] } }),
        json!({ "kind": "Odd", "data": odd_keys }),
        json!({ "data": { ".a": 1, "_a": 2 } }),
        json!({ "kind": "ConfigMap", "data": { "k".repeat(9000): { "k".repeat(9000): "€".repeat(8191) } } }),
        json!({ "a": { "b": 1 }, "a.b": 2 }),
        nested(19),
        nested(38),
        nested(100),
        json!("skipped-too-big-size-object"),
        json!(["a", { "b": 1 }]),
        json!(7),
    ]
}
