use reqwest::{Body, Method};
use serde_json::{Value, json};

use crate::{harness::client, setup::said};

/// Most documents that one search brings: Elasticsearch's own `index.max_result_window`.
const RESULTS_MAX: usize = 10_000;

/// A real Elasticsearch, asked directly.
pub struct Elasticsearch {
    pub url: String,
    client: reqwest::Client,
}

impl Elasticsearch {
    pub fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), client: client() }
    }

    /// Status and body of the answer.
    pub async fn ask(&self, method: Method, path: &str, body: impl Into<Body>) -> (u16, Value) {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let answer =
            request.header("content-type", "application/json").body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// As [`Self::ask`], for what has to succeed.
    pub async fn did(&self, method: Method, path: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Puts the templates that come with the program.
    pub async fn put_templates(&self) {
        let (status, text) = said(&["--output", &self.url, "--yes"]).await;
        assert_eq!(status, 0, "{text}");
    }

    /// Makes everything visible that has been stored.
    pub async fn refresh(&self, index: &str) {
        self.did(Method::POST, &format!("/{index}/_refresh?ignore_unavailable=true"), &Value::Null)
            .await;
    }

    /// How many documents match.
    pub async fn count(&self, index: &str, query: &Value) -> u64 {
        let path = format!("/{index}/_count?ignore_unavailable=true");
        self.did(Method::POST, &path, &json!({ "query": query })).await["count"].as_u64().unwrap()
    }

    /// All documents that match, as hits (`_index`, `_id`, `_source`).
    pub async fn hits(&self, index: &str, query: &Value) -> Vec<Value> {
        let search = json!({ "query": query, "size": RESULTS_MAX, "track_total_hits": true, "sort": ["_doc"] });
        let path = format!("/{index}/_search?ignore_unavailable=true");
        let mut answer = self.did(Method::POST, &path, &search).await;
        let total = answer["hits"]["total"]["value"].as_u64().unwrap();
        let Value::Array(hits) = answer["hits"]["hits"].take() else {
            panic!("no hits in {answer}")
        };
        assert_eq!(hits.len() as u64, total, "one search must bring all of {index}");
        hits
    }
}

/// The query for everything.
pub fn all() -> Value {
    json!({ "match_all": {} })
}
