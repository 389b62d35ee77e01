use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Document, Place, Shipper, Told,
    wire::{Failed, Heard, Wire, gzip, unfinished_gzip},
};

/// First and longest wait. Logstash: 2 s and 64 s (`retry_initial_interval`, `retry_max_interval`).
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(640));
/// More requests than any fault here costs: past it, it would try for ever.
const TRIES_MAX: usize = 60;
/// A request is sent before it would have more bytes, uncompressed (`TARGET_BULK_BYTES`, `http_client.rb`).
const TARGET_BYTES: usize = 20 << 20;
/// `http_client_builder.rb`, `resolve_filter_path`.
const BULK: &str = "/_bulk?filter_path=errors,items.*.error,items.*.status";

/// Logstash's Elasticsearch output 12.1.6.
///
/// Sources, of logstash-output-elasticsearch 12.1.6 under `lib/logstash`: `outputs/elasticsearch/http_client/pool.rb`
/// (`healthcheck!`, `elasticsearch?`, `check_sniff`), `http_client.rb` (`bulk`, `bulk_send`), `template_manager.rb`,
/// `license_checker.rb`, `data_stream_support.rb`, and `plugin_mixins/elasticsearch/common.rb` (`retrying_submit`,
/// `submit`, `safe_bulk`). Headers as measured.
pub struct Logstash {
    wire: Wire,
    /// Into which it writes.
    index: String,
    /// `None`: `index => …`, which loads a template. Else the namespace of its data stream, the default since 8.
    namespace: Option<String>,
    is_alive: bool,
    wait: Duration,
    target_bytes: usize,
}

impl Logstash {
    pub fn data_stream(place: &Place) -> Self {
        let index = format!("logs-generic-{}", place.namespace);
        Self::new(place, index, Some(place.namespace.clone()))
    }

    pub fn index(place: &Place) -> Self {
        Self::new(place, format!("logstash-{}-2026.11.22", place.namespace), None)
    }

    fn new(place: &Place, index: String, namespace: Option<String>) -> Self {
        let agent = "Logstash/9.1.0 (OS=Linux-6.1-amd64; JVM=Eclipse Adoptium-21.0.7) logstash-output-elasticsearch/12.1.6";
        let headers = [
            ("content-type", "application/json"),
            ("x-elastic-product-origin", "logstash-output-elasticsearch"),
            ("user-agent", agent),
            ("accept-encoding", "gzip,deflate"),
        ];
        let wire = Wire::new(&place.url, &headers);
        let (wait, target_bytes) = (WAITS.0, TARGET_BYTES);
        Self { wire, index, namespace, is_alive: false, wait, target_bytes }
    }

    /// As if `TARGET_BULK_BYTES` were this.
    pub fn cutting_at(self, target_bytes: usize) -> Self {
        Self { target_bytes, ..self }
    }

    /// `healthcheck!`. In the register phase what is no Elasticsearch stops the pipeline, later it does not.
    async fn check_health(&mut self, registers: bool) -> Result<bool, String> {
        let health = self.wire.ask(Method::HEAD, "/", &[], None).await;
        if !registers && !matches!(&health, Ok(it) if it.is_success()) {
            return Ok(false);
        }
        let Ok(root) = self.wire.get("/").await else { return Ok(false) };
        if registers {
            if matches!(root.status, 401 | 403) {
                return Err(format!("could not read Elasticsearch: {}", root.status));
            }
            if root.is_success() && !is_elasticsearch(&root) {
                return Err("could not connect to a compatible version of Elasticsearch".into());
            }
        }
        if !matches!(&health, Ok(it) if it.is_success()) || !root.is_success() {
            return Ok(false);
        }
        // An expired one is good enough, one without a status is not.
        let license = self.wire.get("/_license").await;
        let license = license.ok().filter(Heard::is_success).and_then(|it| it.json());
        Ok(license.is_some_and(|it| !it["license"]["status"].is_null()))
    }

    /// `template_install`.
    async fn install_template(&mut self) -> Result<(), String> {
        let path = "/_index_template/logstash";
        match self.wire.ask(Method::HEAD, path, &[], None).await {
            Ok(it) if it.is_success() => return Ok(()),
            Ok(Heard { status: 404, .. }) => (),
            other => return Err(format!("HEAD {path}: {other:?}")),
        }
        let template = json!({
            "index_patterns": ["logstash-*"],
            "version": 80001,
            "template": { "settings": { "index.refresh_interval": "5s", "number_of_shards": 1 } },
            "priority": 200,
        });
        let put = self.wire.ask(Method::PUT, path, &[], Some(template.to_string().into())).await;
        match put {
            Ok(it) if it.is_success() || it.status == 404 => Ok(()),
            other => Err(format!("PUT {path}: {other:?}")),
        }
    }

    /// Two lines.
    fn item_of(&self, document: &Document) -> String {
        let op = if self.namespace.is_some() { "create" } else { "index" };
        let index = &self.index;
        let mut source =
            json!({ "message": document.event, "@version": "1", "@timestamp": document.time });
        if let Some(namespace) = &self.namespace {
            source["data_stream"] =
                json!({ "type": "logs", "dataset": "generic", "namespace": namespace });
        }
        format!("{{\"{op}\":{{\"_id\":null,\"_index\":\"{index}\",\"routing\":null}}}}\n{source}\n")
    }

    /// Bodies and their items, none larger than it may be unless it has one item.
    fn bodies_of(&self, batch: &[Document]) -> Vec<(String, usize)> {
        let mut bodies = vec![(String::new(), 0)];
        for document in batch {
            let item = self.item_of(document);
            if let Some((body, count)) = bodies.last_mut()
                && (body.is_empty() || body.len() + item.len() <= self.target_bytes)
            {
                *body += &item;
                *count += 1;
            } else {
                bodies.push((item, 1));
            }
        }
        bodies
    }

    async fn back_off(&mut self) {
        tokio::time::sleep(self.wait).await;
        self.wait = (self.wait * 2).min(WAITS.1);
    }

    /// `safe_bulk`: the answer, however often it has to ask.
    async fn bulk(&mut self, batch: &[Document], told: &mut Told) -> Value {
        self.wait = WAITS.0;
        loop {
            while !self.is_alive {
                // The resurrectionist, every 5 s.
                self.is_alive = self.check_health(false).await.unwrap();
                if !self.is_alive {
                    self.back_off().await;
                }
            }
            told.tries += 1;
            assert!(told.tries < TRIES_MAX, "it would send this for ever: {:?}", self.wire.said);
            match self.send_all(batch).await {
                Some(answer) => return answer,
                None => self.back_off().await,
            }
        }
    }

    /// `bulk`: one answer for all parts of a batch. `None`: all of it is to be sent again.
    async fn send_all(&mut self, batch: &[Document]) -> Option<Value> {
        let bodies = self.bodies_of(batch);
        let (mut errors, mut items) = (false, Vec::new());
        for (number, (body, count)) in bodies.iter().enumerate() {
            let headers = [
                ("content-encoding", "gzip".to_owned()),
                ("x-elastic-event-count", count.to_string()),
                ("x-elastic-uncompressed-request-length", body.len().to_string()),
            ];
            // The writer is closed after the last part only; before, it is flushed.
            let is_last = number + 1 == bodies.len();
            let bytes =
                if is_last { gzip(body.as_bytes()) } else { unfinished_gzip(body.as_bytes()) };
            match self.wire.ask(Method::POST, BULK, &headers, Some(bytes)).await {
                Ok(heard) if heard.is_success() => {
                    let answer = heard.json()?;
                    errors |= answer["errors"] == true;
                    items.extend(answer["items"].as_array().cloned().unwrap_or_default());
                }
                Ok(Heard { status: 413, .. }) => {
                    let error = json!({ "type": "payload_too_large" });
                    let item = json!({ "create": { "status": 413, "error": error } });
                    errors = true;
                    items.extend(vec![item; *count]);
                }
                Ok(_) => return None,
                Err(Failed::Silent | Failed::Cut) => {
                    self.is_alive = false;
                    return None;
                }
            }
        }
        Some(json!({ "errors": errors, "items": items }))
    }
}

/// `elasticsearch?` of `pool.rb`.
fn is_elasticsearch(root: &Heard) -> bool {
    let Some(info) = root.json() else { return false };
    let number = info["version"]["number"].as_str().unwrap_or_default();
    let mut parts = number.split('.').map(|it| it.parse::<u32>().unwrap_or_default());
    let version = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    match version {
        (..7, _) => false,
        (7, ..14) => {
            info["version"]["build_flavor"] == "default"
                && info["tagline"] == "You Know, for Search"
        }
        _ => root.header("x-elastic-product") == Some("Elasticsearch"),
    }
}

impl Shipper for Logstash {
    async fn start(&mut self) -> Result<(), String> {
        for _ in 0..TRIES_MAX {
            self.is_alive = self.check_health(true).await?;
            if self.is_alive {
                break;
            }
            self.back_off().await;
        }
        // `discover_cluster_uuid`: a failure is only logged.
        self.wire.get("/").await.ok();
        if self.namespace.is_none() {
            self.install_template().await?;
        }
        if self.is_alive { Ok(()) } else { Err("no living connection".into()) }
    }

    /// `retrying_submit` and `submit`.
    async fn deliver(&mut self, batch: &[Document]) -> Told {
        let mut told = Told::default();
        let mut left = batch.to_vec();
        while !left.is_empty() {
            let answer = self.bulk(&left, &mut told).await;
            if answer["errors"] != true {
                told.acked.extend(left.drain(..).map(|it| it.audit_id));
                break;
            }
            let items = answer["items"].as_array().unwrap();
            if items.len() != left.len() {
                self.back_off().await;
                continue;
            }
            let mut again = Vec::new();
            for (document, item) in left.drain(..).zip(items) {
                let said = item.as_object().unwrap().values().next().unwrap();
                match said["status"].as_u64() {
                    Some(200 | 201) => told.acked.push(document.audit_id),
                    // A conflict is dropped: it is there. 400 and 404 go to the dead letter queue, if there is one.
                    Some(409) => told.acked.push(document.audit_id),
                    Some(400 | 404) => told.dropped.push(document.audit_id),
                    _ => again.push(document),
                }
            }
            left = again;
            if !left.is_empty() {
                self.back_off().await;
            }
        }
        told
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }
}

impl Logstash {
    /// `check_sniff` with `sniffing => true`: the hosts that it talks to from then on. None: they stay.
    pub async fn sniff(&mut self) -> Vec<String> {
        let nodes = self.wire.get("/_nodes/http").await.unwrap().json().unwrap();
        let nodes = nodes["nodes"].as_object().cloned().unwrap_or_default();
        let of_data = nodes.values().filter(|it| it["roles"] != json!(["master"]));
        let address = |it: &Value| {
            let told = it["http"]["publish_address"].as_str()?;
            // `HOST/IP:PORT` is HOST:PORT.
            let (host, rest) = told.split_once('/').unwrap_or(("", told));
            let (ip, port) = rest.rsplit_once(':')?;
            Some(format!("{}:{port}", if host.is_empty() { ip } else { host }))
        };
        of_data.filter_map(address).collect()
    }
}
