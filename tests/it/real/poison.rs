use reqwest::Method;
use serde_json::{Value, json};

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{ELASTICSEARCH, fresh, part},
};
use crate::harness::K8scop;

/// Items that k8scop leaves to Elasticsearch, which refuses everything that is in the same request.
const WHOLE: &[(&str, &[&str])] = &[
    ("an update of the wrong type", &[r#"{"update":{"_index":"{i}","_id":"1"}}"#, r#"{"doc":5}"#]),
    (
        "a flag of the wrong type",
        &[r#"{"update":{"_index":"{i}","_id":"1"}}"#, r#"{"doc":{},"doc_as_upsert":"perhaps"}"#],
    ),
    (
        "a version type that is none",
        &[
            r#"{"index":{"_index":"{i}","_id":"1","version":3,"version_type":"newest"}}"#,
            r#"{"n":1}"#,
        ],
    ),
    (
        "a version without number",
        &[r#"{"index":{"_index":"{i}","_id":"1","version":"three"}}"#, r#"{"n":1}"#],
    ),
    ("a version without _id", &[r#"{"index":{"_index":"{i}","version":3}}"#, r#"{"n":1}"#]),
    (
        "a sequence number without term",
        &[r#"{"index":{"_index":"{i}","_id":"1","if_seq_no":3}}"#, r#"{"n":1}"#],
    ),
    (
        "a sequence number below zero",
        &[
            r#"{"index":{"_index":"{i}","_id":"1","if_seq_no":-5,"if_primary_term":1}}"#,
            r#"{"n":1}"#,
        ],
    ),
    (
        "an upsert with a sequence number",
        &[
            r#"{"update":{"_index":"{i}","_id":"1","if_seq_no":3,"if_primary_term":1}}"#,
            r#"{"doc":{},"doc_as_upsert":true}"#,
        ],
    ),
    (
        "update with a version",
        &[
            r#"{"update":{"_index":"{i}","_id":"1","version":3,"version_type":"external"}}"#,
            r#"{"doc":{}}"#,
        ],
    ),
    (
        "require_alias of the wrong type",
        &[r#"{"index":{"_index":"{i}","require_alias":"perhaps"}}"#, r#"{"n":1}"#],
    ),
];

/// A body of `count` documents, with these lines in the middle.
fn around(index: &str, count: usize, lines: &[&str]) -> String {
    let document = |place: usize| {
        format!(
            "{{\"create\":{{\"_index\":\"{index}\",\"_id\":\"d{place}\"}}}}\n{{\"n\":{place}}}\n"
        )
    };
    let (first, second) = (0..count / 2, count / 2..count);
    let poison: String = lines.iter().map(|it| it.replace("{i}", index) + "\n").collect();
    first.map(document).collect::<String>() + &poison + &second.map(document).collect::<String>()
}

/// What k8scop does not see and Elasticsearch refuses the whole request for costs its own item.
#[tokio::test(flavor = "multi_thread")]
async fn what_elasticsearch_refuses_whole_requests_for_costs_its_own_item() {
    let test = "what_elasticsearch_refuses_whole_requests_for_costs_its_own_item";
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let elasticsearch = Elasticsearch::new(&url);
    let k8scop = K8scop::start(&format!("output: {url}\n")).await;
    let name = fresh("poison-");
    for (number, (what, lines)) in WHOLE.iter().enumerate() {
        let index = format!("{name}-{number}");
        let settings = json!({ "settings": { "number_of_shards": 1, "number_of_replicas": 0 } });
        elasticsearch.did(Method::PUT, &format!("/{index}"), &settings).await;
        let count = if number == 0 { 4999 } else { 60 };
        let body = around(&index, count, lines);
        let direct = elasticsearch.ask(Method::POST, "/_bulk", body.clone()).await;
        assert_eq!(direct.0, 400, "{what}: {}", direct.1);
        let (status, answer) = k8scop.bulk("/_bulk", body).await;
        assert_eq!(status, 200, "{what}: {answer}");
        let items = answer["items"].as_array().unwrap();
        assert_eq!(items.len(), count + 1, "{what}");
        for (place, item) in items.iter().enumerate() {
            let result: &Value = item.as_object().unwrap().values().next().unwrap();
            let expected = if place == count / 2 { 400 } else { 201 };
            assert_eq!(result["status"], expected, "{what}: {place}: {item}");
            if expected == 400 {
                let error = &result["error"];
                assert_eq!(error["type"], direct.1["error"]["type"], "{what}: {item}");
                let reason = error["reason"].as_str().unwrap();
                assert!(!reason.is_empty() && !reason.contains("k8scop"), "{what}: {item}");
            }
        }
        elasticsearch.refresh(&index).await;
        assert_eq!(elasticsearch.count(&index, &all()).await, count as u64, "{what}");
    }
    k8scop.check_balance().await;
}
