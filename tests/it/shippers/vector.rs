use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Document, Place, Shipper, Told,
    wire::{Failed, Heard, Wire},
};

/// First wait, which grows as Fibonacci's numbers do. Vector: 1 s, at most 30 s.
const FIRST: Duration = Duration::from_millis(20);
/// More requests than any fault here costs.
const TRIES_MAX: usize = 60;
/// It decides by this text.
const ERRORS: &str = r#""errors":true"#;

/// Vector 0.58.0, sink `elasticsearch`.
///
/// Sources, of vectordotdev/vector under `src`: `sinks/elasticsearch/common.rs` (`get_version`, `healthcheck`: neither
/// keeps it from writing), `service.rs`, `retry.rs` (`should_retry_response`), `encoder.rs`, `sinks/util/retries.rs`
/// (an error that is not one of the connection drops the request: so does an answer that is cut), `sinks/util/http.rs`
/// (answers are decompressed before they are read).
pub struct Vector {
    wire: Wire,
    index: String,
    /// `request_retry_partial`, off by default.
    retry_partial: bool,
}

impl Vector {
    pub fn new(place: &Place) -> Self {
        Self::with(place, false)
    }

    pub fn retrying_partial(place: &Place) -> Self {
        Self::with(place, true)
    }

    fn with(place: &Place, retry_partial: bool) -> Self {
        let headers =
            [("user-agent", "Vector/0.58.0 (x86_64-unknown-linux-gnu 0123456 2026-08-20)")];
        let index = format!("vector-{}", place.namespace);
        Self { wire: Wire::new(&place.url, &headers), index, retry_partial }
    }

    fn body_of(&self, batch: &[Document]) -> String {
        let one = |it: &Document| {
            let source =
                json!({ "@timestamp": it.time, "message": it.event, "source_type": "aws_s3" });
            format!("{}\n{source}\n", json!({ "create": { "_index": self.index } }))
        };
        batch.iter().map(one).collect()
    }
}

fn may_pass(item: &Value) -> bool {
    let said = item.as_object().unwrap().values().next().unwrap();
    matches!(said["status"].as_u64(), Some(429 | 500..))
}

impl Shipper for Vector {
    async fn start(&mut self) -> Result<(), String> {
        let identity = [("accept-encoding", "identity".to_owned())];
        for path in ["/", "/_cluster/health"] {
            self.wire.ask(Method::GET, path, &identity, None).await.ok();
        }
        Ok(())
    }

    async fn deliver(&mut self, batch: &[Document]) -> Told {
        let mut told = Told::default();
        let mut left = batch.to_vec();
        let (mut wait, mut next) = (FIRST, FIRST);
        let ids = |it: &[Document]| it.iter().map(|it| it.audit_id.clone()).collect::<Vec<_>>();
        loop {
            told.tries += 1;
            assert!(told.tries < TRIES_MAX, "it would send this for ever: {:?}", self.wire.said);
            let headers = [
                ("content-type", "application/x-ndjson".to_owned()),
                ("accept-encoding", "zstd,gzip,deflate,br".to_owned()),
            ];
            let body = Some(self.body_of(&left).into_bytes());
            match self.wire.ask(Method::POST, "/_bulk?timeout=60s", &headers, body).await {
                Ok(heard) if heard.is_success() => {
                    if !heard.text().contains(ERRORS) {
                        told.acked.extend(ids(&left));
                        return told;
                    }
                    let items = heard.json().map(|mut it| it["items"].take());
                    let items = items.as_ref().and_then(Value::as_array);
                    let Some(items) =
                        items.filter(|it| self.retry_partial && it.iter().any(may_pass))
                    else {
                        told.dropped.extend(ids(&left));
                        return told;
                    };
                    let mut again = Vec::new();
                    for (document, item) in left.into_iter().zip(items) {
                        let status = item.as_object().unwrap().values().next().unwrap()["status"]
                            .as_u64()
                            .unwrap();
                        match status {
                            ..300 => told.acked.push(document.audit_id),
                            _ if may_pass(item) => again.push(document),
                            _ => told.dropped.push(document.audit_id),
                        }
                    }
                    left = again;
                }
                Ok(Heard { status: 429 | 500 | 502.., .. }) | Err(Failed::Silent) => (),
                Ok(_) | Err(Failed::Cut) => {
                    told.dropped.extend(ids(&left));
                    return told;
                }
            }
            tokio::time::sleep(wait).await;
            (wait, next) = (next, wait + next);
        }
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }

    fn believes_a_cut_answer_failed(&self) -> bool {
        true
    }
}
