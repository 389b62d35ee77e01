use std::{
    io::{self, Write},
    sync::{Arc, OnceLock, PoisonError, RwLock},
};

use bytes::{Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use hyper::{
    HeaderMap, Method,
    header::{self, HeaderName, HeaderValue},
};
use reqwest::Response;
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};

use super::{
    Attempt, AttemptError, Backoff, ElasticsearchSettings, Heads, Passed, SettingsError, Whole,
    client::{self, Reached},
    nodes::{Lease, Nodes},
};
use crate::{bulk::BulkAnswer, json};

/// Largest answer to a bulk request that is read (bytes). An item's answer has about 200 bytes, its error at
/// most a few thousand.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Smaller bodies are not compressed: they fit into a packet as they are (bytes).
const COMPRESSED_BYTES_MIN: usize = 1024;
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// What a bulk body is.
const LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");

/// A body, and whether it is compressed.
struct Sent {
    body: Bytes,
    is_compressed: bool,
}

/// A cluster, by one or more of its nodes.
#[derive(Debug)]
pub struct Elasticsearch {
    settings: ElasticsearchSettings,
    /// Replaced as a whole; a request keeps the one that it began with.
    reached: RwLock<Arc<Reached>>,
    nodes: Nodes,
    /// What the cluster is, once it has told.
    product: OnceLock<Product>,
}

/// Headers that belong to one connection (RFC 9110, 7.6.1) and never to the next.
#[must_use]
pub fn hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "host"
            | "expect"
            | "content-length"
    )
}

impl Elasticsearch {
    /// Makes the client. Nothing is asked of the cluster yet: it may be down while we start.
    pub fn new(settings: &ElasticsearchSettings, backoff: Backoff) -> Result<Self, SettingsError> {
        Ok(Self {
            reached: RwLock::new(Arc::new(client::build(settings)?)),
            nodes: Nodes::new(&settings.urls, backoff),
            product: OnceLock::new(),
            settings: settings.clone(),
        })
    }

    /// Reads certificates and secrets again. New requests use what the files hold now; if that cannot be used,
    /// nothing changes.
    pub fn reload(&self) -> Result<(), SettingsError> {
        let reached = Arc::new(client::build(&self.settings)?);
        *self.reached.write().unwrap_or_else(PoisonError::into_inner) = reached;
        Ok(())
    }

    /// Whether a node is believed to work.
    pub(super) fn works(&self) -> bool {
        self.nodes.any_works()
    }

    /// Waits until a node that failed works again.
    pub(super) async fn recovered(&self) {
        self.nodes.recovered().await;
    }

    /// Sends a bulk body once, to a node that works, as soon as there is one.
    pub(super) async fn bulk(
        &self,
        body: Bytes,
        slots: usize,
        passed: &Passed,
        until: Instant,
    ) -> Attempt {
        let Some(lease) = self.nodes.lease(until).await else {
            return Attempt::Failed(no_node());
        };
        let started = Instant::now();
        let until = until.min(started + self.settings.request_timeout);
        let attempt = timeout_at(until, self.ask(&lease, body, slots, passed))
            .await
            .unwrap_or_else(|_elapsed| Attempt::Failed(late()));
        match &attempt {
            // It had little time, because the request's was nearly over.
            Attempt::Failed(error)
                if error.is_late && started.elapsed() < self.settings.request_timeout / 2 => {}
            // It works, but something in the request brings it to answer so: others may do better.
            Attempt::Failed(error) if error.is_answer => {}
            Attempt::Failed(_) => lease.failed(),
            Attempt::Refused(whole) if is_nodes_fault(whole.status) => lease.failed(),
            _ => lease.succeeded(),
        }
        attempt
    }

    async fn ask(&self, lease: &Lease<'_>, body: Bytes, slots: usize, passed: &Passed) -> Attempt {
        let path = match passed.query.as_str() {
            "" => "/_bulk".to_owned(),
            query => format!("/_bulk?{query}"),
        };
        let mut headers = passed.headers.clone();
        // Elasticsearch refuses a body of which nothing is told (406). Shippers tell; what is ours may come without.
        headers.entry(header::CONTENT_TYPE).or_insert(LINES);
        let body = match self.compressed(body).await {
            Ok(Sent { body, is_compressed }) => {
                if is_compressed {
                    headers.insert(header::CONTENT_ENCODING, GZIP);
                }
                body
            }
            Err(error) => return Attempt::Failed(error),
        };
        let response = match self.send(lease, Method::POST, &path, headers, Some(body.into())).await
        {
            Ok(response) => response,
            Err(error) => return Attempt::Failed(error),
        };
        let status = response.status().as_u16();
        let retry_after_s = response
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|it| it.to_str().ok()?.trim().parse().ok());
        let heads = Heads::of(response.headers());
        let body = match read(response).await {
            Ok(body) => body,
            Err(error) => return Attempt::Failed(error),
        };
        if status < 400 && status != 200 {
            // Something between us and Elasticsearch answered. What became of the items is not known.
            return Attempt::Failed(unusable(&format!("status {status}")));
        }
        if status != 200 {
            return Attempt::Refused(Whole { status, body, retry_after_s, heads });
        }
        match BulkAnswer::parse(&body, slots) {
            Ok(answer) => Attempt::Answered(answer, heads),
            Err(error) => Attempt::Failed(unusable(&error.to_string())),
        }
    }

    /// A bulk body as it is sent. Off the threads that serve others: it takes some milliseconds a megabyte.
    async fn compressed(&self, body: Bytes) -> Result<Sent, AttemptError> {
        let level = self.settings.compression_level;
        if level == 0 || body.len() < COMPRESSED_BYTES_MIN {
            return Ok(Sent { body, is_compressed: false });
        }
        let work = spawn_blocking(move || {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
            encoder.write_all(&body)?;
            encoder.finish()
        });
        match work.await.map_err(io::Error::from).flatten() {
            Ok(body) => Ok(Sent { body: body.into(), is_compressed: true }),
            Err(error) => Err(AttemptError {
                reason: format!("the request cannot be compressed: {error}"),
                ..AttemptError::default()
            }),
        }
    }

    async fn send(
        &self,
        lease: &Lease<'_>,
        method: Method,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: Option<reqwest::Body>,
    ) -> Result<Response, AttemptError> {
        let url = lease.url(path_and_query).ok_or_else(|| AttemptError {
            reason: "the path is no URL".into(),
            ..AttemptError::default()
        })?;
        let reached = Arc::clone(&self.reached.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(authorization) = &reached.authorization {
            // What the client says of whom it acts for would go with our rights (`es-security-runas-user`).
            let others: Vec<_> =
                headers.keys().filter(|it| it.as_str().starts_with("es-")).cloned().collect();
            for name in others {
                headers.remove(name);
            }
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        let mut request = reached.client.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request.body(body);
        }
        request.send().await.map_err(|error| failed(&error))
    }

    /// What the cluster is. Asked with the client's headers, once it can be known.
    pub async fn product(&self, headers: &HeaderMap) -> Option<Product> {
        if let Some(known) = self.product.get() {
            return Some(*known);
        }
        let mut asked = HeaderMap::new();
        if let Some(authorization) = headers.get(header::AUTHORIZATION) {
            asked.insert(header::AUTHORIZATION, authorization.clone());
        }
        let answer = self.pass(Method::GET, "/", asked, None).await.ok()?;
        let product = Product::read(&String::from_utf8_lossy(&read(answer).await.ok()?))?;
        Some(*self.product.get_or_init(|| product))
    }

    /// Sends any request to a node that works, within the time limit to the answer's head. Fails at once when no
    /// node works. `path_and_query` starts with a slash.
    pub async fn pass(
        &self,
        method: Method,
        path_and_query: &str,
        headers: HeaderMap,
        body: Option<reqwest::Body>,
    ) -> Result<Response, AttemptError> {
        let lease = self.nodes.try_lease().map_err(|_next| no_node())?;
        let is_streamed = body.as_ref().is_some_and(|it| it.as_bytes().is_none());
        let asked = self.send(&lease, method, path_and_query, headers, body);
        let result = tokio::time::timeout(self.settings.request_timeout, asked)
            .await
            .unwrap_or_else(|_elapsed| Err(late()));
        match &result {
            // It may be this request that is answered so: bulk requests find out whether the node works.
            Ok(answer) if is_nodes_fault(answer.status().as_u16()) => drop(lease),
            Ok(_) => lease.succeeded(),
            // The client may have stopped half-way, which looks like a node that does not answer: clients that leave
            // must not cut the others off.
            Err(error) if is_streamed && error.in_doubt => drop(lease),
            Err(_) => lease.failed(),
        }
        result
    }
}

/// What a cluster is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Product {
    /// OpenSearch, not Elasticsearch.
    pub is_opensearch: bool,
    /// The first number of its version.
    pub major: u32,
    /// The second.
    pub minor: u32,
}

impl Product {
    /// Reads the answer to `GET /`.
    pub(crate) fn read(text: &str) -> Option<Self> {
        json::check(text, 16).ok()?;
        let version = json::get(text, "version")?;
        let number = json::string(json::get(version, "number")?)?;
        let mut numbers = number.split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next().and_then(|it| it.parse().ok()).unwrap_or(0);
        let is_opensearch = json::get(version, "distribution") == Some("\"opensearch\"");
        Some(Self { is_opensearch, major, minor })
    }

    /// Whether documents still have types, and paths `/{index}/{type}/_bulk`.
    #[must_use]
    pub fn has_types(self) -> bool {
        self.major < if self.is_opensearch { 2 } else { 8 }
    }

    /// Whether a search can stand on a point in time: Elasticsearch 7.12, OpenSearch 2.4 and later.
    #[must_use]
    pub fn has_points_in_time(self) -> bool {
        (self.major, self.minor) >= if self.is_opensearch { (2, 4) } else { (7, 12) }
    }
}

/// What a node, or what stands before it, says when it is the node that does not work.
fn is_nodes_fault(status: u16) -> bool {
    matches!(status, 502..=504)
}

fn no_node() -> AttemptError {
    AttemptError {
        reason: "Elasticsearch cannot be reached: no node answers".into(),
        ..AttemptError::default()
    }
}

fn late() -> AttemptError {
    AttemptError {
        reason: "Elasticsearch did not answer in time".into(),
        in_doubt: true,
        is_late: true,
        ..AttemptError::default()
    }
}

fn unusable(what: &str) -> AttemptError {
    AttemptError {
        reason: format!("Elasticsearch gave no usable answer: {what}"),
        in_doubt: true,
        is_answer: true,
        ..AttemptError::default()
    }
}

async fn read(mut response: Response) -> Result<Bytes, AttemptError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(unusable(&format!("it is larger than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Says what failed, down to the cause, without the URL: it may hold a password.
fn failed(error: &reqwest::Error) -> AttemptError {
    let mut reason = String::from(if error.is_connect() {
        "Elasticsearch cannot be reached"
    } else if error.is_timeout() {
        "Elasticsearch did not answer in time"
    } else {
        "the connection to Elasticsearch failed"
    });
    let mut source = std::error::Error::source(error);
    let mut last = String::new();
    while let Some(cause) = source {
        last = cause.to_string();
        source = cause.source();
    }
    if !last.is_empty() {
        reason.push_str(": ");
        reason.push_str(&last);
    }
    AttemptError { reason, in_doubt: !error.is_connect(), ..AttemptError::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let of = |number: &str, more: &str| {
            let text = format!(r#"{{"version":{{"number":"{number}"{more}}}}}"#);
            Product::read(&text).unwrap()
        };
        let opensearch = r#","distribution":"opensearch""#;
        assert!(of("7.17.29", "").has_types() && !of("8.19.21", "").has_types());
        assert!(of("1.3.20", opensearch).has_types() && !of("2.19.6", opensearch).has_types());
        let product = Product { is_opensearch: true, major: 3, minor: 6 };
        assert_eq!(of("3.6.0", opensearch), product);
        assert!(product.has_points_in_time() && of("7.17.29", "").has_points_in_time());
        assert!(!of("1.3.20", opensearch).has_points_in_time());
        assert!(!of("7.9.3", "").has_points_in_time());
        assert_eq!(Product::read("<html>"), None);
    }
}
