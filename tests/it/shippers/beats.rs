use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::{
    Document, Place, Shipper, Told,
    wire::{Heard, Wire, gzip},
};

/// First and longest wait. Filebeat: 1 s and 60 s (`backoff.init`, `backoff.max`).
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(640));
/// More requests than any fault here costs: past it, it would try for ever.
const TRIES_MAX: usize = 60;
/// Fields of the template: with these it has the 98 kB of Filebeat's.
const FIELDS: usize = 1900;

/// Filebeat 8 and 9.
///
/// Sources, of elastic/beats under `libbeat`: `esleg/eslegclient/connection.go` (`Connect`, `getVersion`,
/// `execHTTPRequest`), `licenser/elastic_fetcher.go`, `idxmgmt/lifecycle/es_client_handler.go`, `template/load.go`
/// (since 8.0: data streams), `outputs/elasticsearch/client.go` (`Publish`, `handleBulkResultError`,
/// `bulkCollectPublishFails`) in two states. Header values as measured with 7.17.29.
pub struct Beats {
    wire: Wire,
    edition: Edition,
    /// The data stream, and its template.
    name: String,
    /// The real Elasticsearch of the tests has neither ILM nor `PUT _data_stream`, so these are left out before it.
    is_bare: bool,
    is_connected: bool,
    wait: Duration,
}

/// What differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edition {
    /// Takes an answer that it cannot read for success (earlier 8.x).
    Eight,
    /// Sends again what it cannot read, and asks for errors and statuses only.
    Nine,
}

impl Beats {
    pub fn eight(place: &Place) -> Self {
        Self::new(place, Edition::Eight, "8.10.4")
    }

    pub fn nine(place: &Place) -> Self {
        Self::new(place, Edition::Nine, "9.1.0")
    }

    fn new(place: &Place, edition: Edition, version: &str) -> Self {
        let agent = format!(
            "Elastic-filebeat/{version} (linux; amd64; 0123456789abcdef; 2026-01-01 00:00:00 +0000 UTC)"
        );
        let headers = [
            ("accept", "application/json"),
            ("x-elastic-product-origin", "beats"),
            ("user-agent", agent.as_str()),
            ("accept-encoding", "gzip"),
        ];
        Self {
            wire: Wire::new(&place.url, &headers),
            edition,
            name: format!("filebeat-{version}-{}", place.namespace),
            is_bare: place.is_real,
            is_connected: false,
            wait: WAITS.0,
        }
    }

    fn bulk_path(&self) -> &'static str {
        match self.edition {
            Edition::Eight => "/_bulk",
            // As Go's `url.Values.Encode` writes it.
            Edition::Nine => "/_bulk?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status",
        }
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Heard, String> {
        let headers = [
            ("content-type", "application/json; charset=UTF-8".to_owned()),
            ("content-encoding", "gzip".to_owned()),
        ];
        let headers = if body.is_some() { &headers[..] } else { &[] };
        let body = body.map(|it| gzip(it.as_bytes()));
        let line = format!("{method} {path}");
        self.wire.ask(method, path, headers, body).await.map_err(|it| format!("{line}: {it:?}"))
    }

    /// As [`Self::send`]: anything but 2xx is an error, and one more status may be good.
    async fn must(
        &mut self,
        method: Method,
        path: &str,
        body: Option<String>,
        also: u16,
    ) -> Result<Heard, String> {
        let line = format!("{method} {path}");
        let heard = self.send(method, path, body).await?;
        if heard.is_success() || heard.status == also {
            return Ok(heard);
        }
        Err(format!("{line}: {} {}", heard.status, heard.text()))
    }

    /// `Connect` with its callbacks. An error is tried again, for ever.
    async fn connect(&mut self) -> Result<(), String> {
        let root = self.must(Method::GET, "/", None, 0).await?;
        let root = root.json().ok_or("GET /: no JSON")?;
        let version = root["version"]["number"].as_str().ok_or("GET /: no version")?;
        let major: u32 = version.split('.').next().unwrap().parse().ok().ok_or("no number")?;
        if major < 8 {
            return Err(format!("Elasticsearch {version} is too old"));
        }
        let license = self.must(Method::GET, "/_license?human=false", None, 0).await?;
        let license = license.json().ok_or("GET /_license: no JSON")?;
        if license["license"]["type"].as_str().is_none_or(str::is_empty) {
            return Err("GET /_license: no license".into());
        }
        if !self.is_bare {
            let path = "/_ilm/policy/filebeat";
            if self.must(Method::GET, path, None, 404).await?.status == 404 {
                let hot = json!({ "actions": { "rollover": { "max_age": "30d" } } });
                let policy = json!({ "policy": { "phases": { "hot": hot } } });
                self.must(Method::PUT, path, Some(policy.to_string()), 0).await?;
            }
        }
        let path = format!("/_index_template/{}", self.name);
        if self.must(Method::HEAD, &path, None, 404).await?.status == 404 {
            let template = self.template();
            assert!(template.len() > 90_000, "as large as Filebeat's");
            self.must(Method::PUT, &path, Some(template), 0).await?;
            let path = format!("/_data_stream/{}", self.name);
            let is_there = self.must(Method::GET, &path, None, 404).await?.is_success();
            if !is_there && !self.is_bare {
                self.must(Method::PUT, &path, None, 0).await?;
            }
        }
        Ok(())
    }

    fn template(&self) -> String {
        let field = |number| {
            (format!("module.field_{number}"), json!({ "type": "keyword", "ignore_above": 1024 }))
        };
        let fields: Map<String, Value> = (0..FIELDS).map(field).collect();
        let settings = json!({ "index": {
            "mapping": { "total_fields": { "limit": 12500 } }, "number_of_replicas": 0,
        } });
        let template = json!({ "settings": settings, "mappings": { "properties": fields } });
        json!({ "index_patterns": [self.name], "data_stream": {}, "priority": 150, "template": template })
            .to_string()
    }

    fn body_of(&self, batch: &[Document]) -> String {
        let one = |it: &Document| {
            let source = json!({
                "@timestamp": it.time, "message": it.event, "input": { "type": "aws-cloudwatch" },
                "agent": { "type": "filebeat" }, "ecs": { "version": "8.0.0" },
            });
            format!("{{\"create\":{{\"_index\":\"{}\"}}}}\n{source}\n", self.name)
        };
        batch.iter().map(one).collect()
    }

    async fn back_off(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAITS.1);
    }

    /// `bulkCollectPublishFails`: what is to be sent again.
    fn read(&self, answer: &Heard, batch: Vec<Document>, told: &mut Told) -> Vec<Document> {
        let answer = answer.json();
        let items = answer.as_ref().and_then(|it| it["items"].as_array());
        let mut items = items.map(Vec::as_slice).unwrap_or_default().iter();
        let mut again = Vec::new();
        for document in batch {
            let said = items.next().and_then(|it| it.as_object()?.values().next());
            match said.and_then(|it| it["status"].as_u64()) {
                // No item: what cannot be read.
                None if self.edition == Edition::Eight => told.acked.push(document.audit_id),
                None | Some(429 | 500..) => again.push(document),
                Some(..300 | 409) => told.acked.push(document.audit_id),
                Some(_) => told.dropped.push(document.audit_id),
            }
        }
        again
    }
}

impl Shipper for Beats {
    async fn start(&mut self) -> Result<(), String> {
        self.connect().await?;
        self.is_connected = true;
        Ok(())
    }

    async fn deliver(&mut self, batch: &[Document]) -> Told {
        let mut told = Told::default();
        let mut queue = vec![batch.to_vec()];
        self.wait = WAITS.0;
        while let Some(batch) = queue.pop() {
            if !self.is_connected {
                self.is_connected = self.connect().await.is_ok();
            }
            if !self.is_connected {
                queue.push(batch);
                self.back_off().await;
                continue;
            }
            told.tries += 1;
            assert!(told.tries < TRIES_MAX, "it would send this for ever: {:?}", self.wire.said);
            let (path, body) = (self.bulk_path(), self.body_of(&batch));
            match self.send(Method::POST, path, Some(body)).await {
                Ok(heard) if heard.status == 200 => {
                    let again = self.read(&heard, batch, &mut told);
                    if !again.is_empty() {
                        // The earlier one takes the connection for broken.
                        self.is_connected = self.edition == Edition::Nine;
                        queue.push(again);
                        self.back_off().await;
                    }
                }
                // `SplitRetry`; one event alone is dropped.
                Ok(Heard { status: 413, .. }) => match batch.as_slice() {
                    [one] => told.dropped.push(one.audit_id.clone()),
                    _ => queue.extend(batch.chunks(batch.len().div_ceil(2)).map(<[_]>::to_vec)),
                },
                _ => {
                    self.is_connected = false;
                    queue.push(batch);
                    self.back_off().await;
                }
            }
        }
        told
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }
}
