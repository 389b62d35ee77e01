//! `k8scop setup` on real engines: what it puts is taken, takes every document that there is, and finds it.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{fresh, root, tell, total},
    scenarios::engine_url,
};
use crate::{harness::K8scop, setup::said};

/// Fields that an index takes by default, `index.mapping.total_fields.limit`.
const FIELDS_MAX: u64 = 1000;
/// Names by which Elastic's prebuilt rules search audit events; of requestObject and user.extra only engines with
/// runtime fields have any.
const CONTRACT: [&str; 22] = [
    "data_stream.dataset",
    "data_stream.namespace",
    "event.action",
    "event.dataset",
    "event.outcome",
    "user.name",
    "user_agent.original",
    "source.ip",
    "kubernetes.audit.objectRef.resource",
    "kubernetes.audit.objectRef.namespace",
    "kubernetes.audit.objectRef.name",
    "kubernetes.audit.objectRef.subresource",
    "kubernetes.audit.verb",
    "kubernetes.audit.annotations.authorization_k8s_io/decision",
    "kubernetes.audit.user.username",
    "kubernetes.audit.user.groups",
    "kubernetes.audit.requestURI",
    "kubernetes.audit.stage",
    "kubernetes.audit.level",
    "kubernetes.audit.sourceIPs",
    "kubernetes.audit.responseStatus.code",
    "kubernetes.audit.userAgent",
];
const CONTRACT_RUNTIME: [&str; 3] = [
    "kubernetes.audit.requestObject.spec.containers.image",
    "kubernetes.audit.requestObject.kind",
    "kubernetes.audit.responseObject.kind",
];

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
    // Others in the same cluster put the same.
    let (status, text) = said(&["--output", &url, "--yes"]).await;
    if engine == "es7" {
        // The distribution that tests can fetch has no data streams.
        assert_eq!(status, 1, "{text}");
        assert!(text.contains("unknown field [data_stream]"), "{text}");
        let daily = daily(&url).await;
        assert_eq!(daily.0, 1, "{}", daily.1);
        assert!(!daily.1.contains("error: component template"), "{}", daily.1);
        return;
    }
    assert_eq!(status, 0, "{text}");
    let (status, text) = said(&["--output", &url, "--yes"]).await;
    assert_eq!(status, 0, "{text}");
    assert!(text.ends_with("nothing to do\n"), "{text}");

    let namespace = fresh("setup");
    let stored = store(&elasticsearch, &namespace).await + story(&elasticsearch, &namespace).await;
    let fields = fields(&elasticsearch, &namespace).await;
    assert!((100..FIELDS_MAX).contains(&fields), "{fields}");
    let with_runtime = engine.starts_with("es");
    let mut wanted = CONTRACT.to_vec();
    if with_runtime {
        wanted.extend(CONTRACT_RUNTIME);
    }
    for field in wanted {
        found_by(&elasticsearch, &namespace, field).await;
    }
    custom(&elasticsearch, &url, &namespace).await;
    tell(format_args!("{engine}: {stored} documents stored, {fields} fields"));
}

/// Alerts in daily indices, which every engine has.
async fn daily(url: &str) -> (i32, String) {
    let folder = crate::harness::Folder::new("setup");
    let file = folder.0.join("k8scop.yaml");
    fs::write(&file, "alerts: { target: daily, prefix: setup-alerts }\n").unwrap();
    said(&["-c", file.to_str().unwrap(), "--output", url, "--yes"]).await
}

/// Stores every golden document of audit events; how many these are.
async fn store(elasticsearch: &Elasticsearch, namespace: &str) -> usize {
    let index = format!("logs-kubernetes.audit_logs-{namespace}");
    let (mut body, mut count) = (String::new(), 0);
    for entry in fs::read_dir(root().join("tests/data/envelopes")).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".out.ndjson") {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            // What JSON allows and serde_json does not, such as half of a surrogate pair.
            let Ok(outgoing) = serde_json::from_str::<Value>(line) else { continue };
            let mut document = outgoing["document"].clone();
            let name = outgoing["action"]["create"]["_index"].as_str().unwrap_or_default();
            // Of the streams that have a template; namespaces of other runs would meet.
            let Some(rest) = name
                .strip_prefix("logs-")
                .filter(|it| it.contains("_logs-") || it.starts_with("k8scop."))
            else {
                continue;
            };
            let dataset = rest.rsplit_once('-').unwrap().0;
            document["data_stream"]["namespace"] = json!(namespace);
            let action = json!({ "create": { "_index": format!("logs-{dataset}-{namespace}") } });
            body += &format!("{action}\n{document}\n");
            count += 1;
        }
    }
    assert!(count > 0);
    let answer = elasticsearch.ask(Method::POST, "/_bulk?refresh=true", body).await.1;
    for item in answer["items"].as_array().unwrap_or_else(|| panic!("{answer}")) {
        assert_eq!(item["create"]["status"], 201, "{item}");
    }
    assert!(elasticsearch.count(&index, &all()).await > 0);
    count
}

/// Sends a captured attack through k8scop; how many events it has.
async fn story(elasticsearch: &Elasticsearch, namespace: &str) -> usize {
    let config = format!("output: {}\naudit: {{ namespace: {namespace} }}\n", elasticsearch.url);
    let k8scop = K8scop::start(&config).await;
    let story = fs::read_to_string(root().join("pipelines/demo/story.ndjson")).unwrap();
    let action = json!({ "create": { "_index": "app" } });
    let lines = story.lines().map(|it| format!("{action}\n{}\n", json!({ "message": it })));
    let (status, answer) = k8scop.bulk("/_bulk?refresh=true", lines.collect::<String>()).await;
    assert_eq!((status, &answer["errors"]), (200, &json!(false)), "{answer}");
    let metrics = k8scop.metrics().await;
    assert_eq!(total(&metrics, "k8scop_reduced_events_total"), 0.0);
    story.lines().count()
}

/// How many fields the index of audit events has, as Elasticsearch counts them.
async fn fields(elasticsearch: &Elasticsearch, namespace: &str) -> u64 {
    let path = format!("/logs-kubernetes.audit_logs-{namespace}/_mapping");
    let answer = elasticsearch.did(Method::GET, &path, &Value::Null).await;
    let mappings = &answer.as_object().unwrap().values().next().unwrap()["mappings"];
    fn count(properties: &Value) -> u64 {
        let all = properties.as_object().into_iter().flat_map(|it| it.values());
        all.map(|it| 1 + count(&it["properties"])).sum()
    }
    count(&mappings["properties"]) + mappings["runtime"].as_object().map_or(0, |it| it.len() as u64)
}

/// A document that has the field is found by its value.
async fn found_by(elasticsearch: &Elasticsearch, namespace: &str, field: &str) {
    let index = format!("logs-kubernetes.audit_logs-{namespace}");
    let documents = elasticsearch.hits(&index, &all()).await;
    let value = documents.iter().find_map(|hit| {
        let mut at = &hit["_source"];
        let mut rest = field;
        while !rest.is_empty() {
            while let Value::Array(all) = at {
                at = all.first()?;
            }
            // A name may have dots of its own.
            let names = rest.match_indices('.').map(|it| it.0).chain([rest.len()]);
            let name = names.map(|end| &rest[..end]).find(|it| at.get(*it).is_some())?;
            at = &at[name];
            rest = rest[name.len()..].trim_start_matches('.');
        }
        while let Value::Array(all) = at {
            at = all.first()?;
        }
        (!at.is_null()).then(|| at.clone())
    });
    let value = value.unwrap_or_else(|| panic!("no document has {field}"));
    let found = elasticsearch.count(&index, &json!({ "term": { field: value } })).await;
    assert!(found > 0, "{field}: {value}");
}

/// What somebody adds in `@custom` is in the mapping, and no setup takes it away.
async fn custom(elasticsearch: &Elasticsearch, url: &str, namespace: &str) {
    let path = "/_component_template/k8scop-k8scop.dead_letter@custom";
    let mapping = json!({ "properties": {
        "labels": { "properties": { "team": { "type": "keyword" } } },
        "error": { "properties": { "message": { "type": "keyword" } } },
    } });
    let body = json!({ "template": { "mappings": mapping } });
    elasticsearch.did(Method::PUT, path, &body).await;
    let (status, text) = said(&["--output", url, "--yes"]).await;
    assert_eq!(status, 0, "{text}");
    assert!(text.ends_with("nothing to do\n"), "{text}");
    let index = format!("/_index_template/_simulate_index/logs-k8scop.dead_letter-{namespace}");
    let answer = elasticsearch.did(Method::POST, &index, &Value::Null).await;
    let properties = &answer["template"]["mappings"]["properties"];
    assert_eq!(properties["labels"]["properties"]["team"]["type"], "keyword", "{answer}");
    assert_eq!(properties["error"]["properties"]["message"]["type"], "keyword", "{answer}");
    assert_eq!(properties["error"]["properties"]["type"]["type"], "keyword", "{answer}");
    let empty = json!({ "template": {} });
    elasticsearch.did(Method::PUT, path, &empty).await;
}
