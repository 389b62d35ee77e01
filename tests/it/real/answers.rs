use std::{collections::BTreeMap, io::Write};

use flate2::{Compression, write::GzEncoder};
use reqwest::{Method, header::HeaderMap};
use serde_json::{Value, json};

use super::{
    cases::{
        BULK, CASES, Case, GZIP, IN_INDEX, NO_HEADERS, OTHERS, POISON, SPOILT, VENDORED, WHOLE,
    },
    elasticsearch::Elasticsearch,
    parts::{ELASTICSEARCH, fresh, part},
};
use crate::harness::{K8scop, client};

/// Headers of answers that are compared.
const HEADERS: [&str; 6] =
    ["content-type", "x-elastic-product", "warning", "location", "allow", "content-encoding"];

/// Something that was answered.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    headers: BTreeMap<&'static str, String>,
    body: Value,
}

/// One of the two ways to Elasticsearch.
struct Way {
    url: String,
    index: String,
    client: reqwest::Client,
}

impl Way {
    async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = self.client.request(method, format!("{}{}", self.url, self.named(path)));
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/x-ndjson");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.body(body).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), self.shown(answer.headers()));
        // Both are told of as the same index.
        let text = answer.text().await.unwrap().replace(&self.index, "{i}");
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }

    async fn bulk(&self, case: &Case) -> Answer {
        let Case(_, path, headers, lines) = case;
        let body: String = lines.iter().map(|it| self.named(it) + "\n").collect();
        let body = if *headers == GZIP { gzipped(body.as_bytes()) } else { body.into_bytes() };
        // The Python client 8 and later says PUT.
        let method = if *headers == VENDORED { Method::PUT } else { Method::POST };
        self.ask(method, path, headers, body).await
    }

    /// Sends these lines between two good items.
    async fn between(&self, lines: &[&str]) -> Answer {
        let good = ["{\"index\":{\"_index\":\"{i}\"}}", "{\"n\":1}"];
        let body: String =
            good.iter().chain(lines).chain(&good).map(|it| self.named(it) + "\n").collect();
        self.ask(Method::POST, BULK, NO_HEADERS, body.into_bytes()).await
    }

    fn shown(&self, headers: &HeaderMap) -> BTreeMap<&'static str, String> {
        let value = |name: &'static str| {
            let text = headers.get(name)?.to_str().unwrap();
            // Elasticsearch leaves out the blank in the media type that the client asked for.
            Some((name, text.replace(&self.index, "{i}").replace("; ", ";")))
        };
        HEADERS.into_iter().filter_map(value).collect()
    }

    fn named(&self, text: &str) -> String {
        text.replace("{i}", &self.index).replace("{long}", &"x".repeat(513))
    }
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// Removes what differs between two runs of the same: times, and names that Elasticsearch chose.
fn steady(answer: &mut Answer) {
    let Some(members) = answer.body.as_object_mut() else { return };
    members.remove("took");
    members.remove("ingest_took");
    for item in members.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        for result in item.as_object_mut().unwrap().values_mut() {
            if result["_id"].as_str().is_some_and(|it| it.len() == 20) {
                result["_id"] = json!("chosen by Elasticsearch");
            }
            if let Some(error) = result.get_mut("error").and_then(Value::as_object_mut) {
                error.remove("index_uuid");
            }
        }
    }
}

/// Gives every item the `_index` that the client named, as k8scop does and Elasticsearch does not for aliases and
/// data streams.
fn name_as_client(case: &Case, answer: &mut Answer) {
    let Case(_, path, _, lines) = case;
    let default = if *path == IN_INDEX { "{i}" } else { "" };
    let actions = lines.iter().filter_map(|it| {
        let line: Value = serde_json::from_str(it).unwrap();
        let (name, action) = line.as_object().unwrap().iter().next()?;
        let is_action = matches!(name.as_str(), "create" | "index" | "update" | "delete");
        is_action.then(|| action["_index"].as_str().unwrap_or(default).to_owned())
    });
    let items = answer.body.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten();
    for (item, index) in items.zip(actions) {
        for result in item.as_object_mut().unwrap().values_mut() {
            result["_index"] = json!(index);
        }
    }
}

async fn prepare(elasticsearch: &Elasticsearch, index: &str) {
    let settings = json!({ "number_of_shards": 1, "number_of_replicas": 0 });
    let properties = json!({ "n": { "type": "long" }, "at": { "type": "date" } });
    let put = |path: String, body: Value| async move {
        elasticsearch.did(Method::PUT, &path, &body).await
    };
    let plain = json!({ "settings": settings, "mappings": { "properties": properties }, "aliases": { format!("{index}-alias"): {} } });
    put(format!("/{index}"), plain).await;
    put(format!("/{index}-strict"), json!({ "settings": settings, "mappings": { "dynamic": "strict", "properties": properties } })).await;
    put(format!("/{index}-blocked"), json!({ "settings": { "index.blocks.write": true } })).await;
    put(format!("/_ingest/pipeline/{index}-pipeline"), json!({ "processors": [] })).await;
    let template = json!({ "index_patterns": [format!("{index}-stream")], "data_stream": {}, "priority": 500 });
    put(format!("/_index_template/{index}-stream"), template).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_equal_elasticsearchs() {
    let test = "answers_equal_elasticsearchs";
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let elasticsearch = Elasticsearch::new(&url);
    let k8scop = K8scop::start(&format!("output: {url}\n")).await;
    let name = fresh("answers-");
    let direct =
        Way { url: elasticsearch.url.clone(), index: format!("{name}-a"), client: client() };
    let through = Way { url: k8scop.url(""), index: format!("{name}-b"), client: client() };
    for way in [&direct, &through] {
        prepare(&elasticsearch, &way.index).await;
    }

    let mut differences = Vec::new();
    for case in CASES {
        let (mut expected, mut found) = (direct.bulk(case).await, through.bulk(case).await);
        name_as_client(case, &mut expected);
        compare(case.0, &mut expected, &mut found, &mut differences);
    }
    for (method, path, body) in OTHERS {
        let ask = async |way: &Way| {
            let headers = [("content-type", "application/json")];
            way.ask(method.parse().unwrap(), path, &headers, way.named(body).into_bytes()).await
        };
        let (mut expected, mut found) = (ask(&direct).await, ask(&through).await);
        compare(&format!("{method} {path} {body}"), &mut expected, &mut found, &mut differences);
    }
    for (name, lines) in POISON {
        let (whole, found) = (direct.between(lines).await, through.between(lines).await);
        let refused = &found.body["items"][1].as_object().map(|it| it.values().next().unwrap());
        let told = refused
            .is_some_and(|it| it["error"]["type"].is_string() && it["error"]["reason"].is_string());
        if whole.status != 400
            || statuses(&found.body) != [201, 400, 201]
            || !told
            || found.body["errors"] != true
        {
            differences
                .push(format!("{name}:\n  Elasticsearch {whole:?}\n  k8scop        {found:?}"));
        }
    }
    for (name, lines) in SPOILT {
        let (mut expected, mut found) = (direct.between(lines).await, through.between(lines).await);
        reduce(&mut expected.body);
        reduce(&mut found.body);
        compare(name, &mut expected, &mut found, &mut differences);
    }
    for (name, lines) in WHOLE {
        let (mut expected, mut found) = (direct.between(lines).await, through.between(lines).await);
        assert_eq!(expected.status, 400, "{name}");
        compare(name, &mut expected, &mut found, &mut differences);
    }
    let all = CASES.len() + OTHERS.len() + POISON.len() + SPOILT.len() + WHOLE.len();
    assert!(
        differences.is_empty(),
        "{} of {all} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

fn compare(name: &str, expected: &mut Answer, found: &mut Answer, differences: &mut Vec<String>) {
    steady(expected);
    steady(found);
    if expected != found {
        differences
            .push(format!("{name}:\n  Elasticsearch {expected:?}\n  k8scop        {found:?}"));
    }
}

/// Leaves of every item what a shipper acts on: refusals of ours say why in other words.
fn reduce(answer: &mut Value) {
    for item in answer["items"].as_array_mut().into_iter().flatten() {
        for result in item.as_object_mut().unwrap().values_mut() {
            *result = json!({ "_index": result["_index"], "status": result["status"], "type": result["error"]["type"] });
        }
    }
}

fn statuses(answer: &Value) -> Vec<u64> {
    let items = answer["items"].as_array().into_iter().flatten();
    items
        .flat_map(|it| it.as_object().unwrap().values())
        .map(|it| it["status"].as_u64().unwrap())
        .collect()
}
