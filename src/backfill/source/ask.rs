//! One question to the cluster, and its answer.

#![expect(
    clippy::disallowed_types,
    reason = "what is inflated is counted against the limit at each step"
)]

use std::{
    io::Read,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use hyper::{
    HeaderMap, Method,
    header::{self, HeaderValue},
};
use reqwest::Response;
use serde::Deserialize;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::super::pace::Pace;
use crate::{
    bulk::AnswerItem,
    forward::{Backoff, Elasticsearch, ElasticsearchSettings, Product},
    json,
};

/// Largest answer without documents (bytes).
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Steps of decompression (bytes).
const STEP_BYTES: usize = 64 << 10;

/// A cluster that is read.
#[derive(Debug)]
pub(in super::super) struct Source {
    cluster: Elasticsearch,
    pub(in super::super) pace: Pace,
    /// Answers are compressed: not on the way to the same machine, where it only costs.
    is_far: bool,
    request_timeout: Duration,
    backoff: Backoff,
    /// How long what fails is tried again.
    give_up: Duration,
    /// Points in time are taken, as far as is known.
    has_points_in_time: AtomicBool,
    pub(super) is_opensearch: bool,
    /// It stores no document without a type.
    pub(in super::super) is_typed: bool,
    /// What tells it from other clusters.
    pub(in super::super) identity: String,
    stop: CancellationToken,
}

/// Why a question has no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{text}")]
pub(in super::super) struct Trouble {
    /// HTTP status; 0 where there was none.
    pub(in super::super) status: u16,
    /// Elasticsearch's name for it.
    pub(in super::super) kind: String,
    pub(in super::super) text: String,
    /// The same question may be answered later.
    pub(in super::super) may_pass: bool,
    /// The answer is larger than is read.
    pub(in super::super) is_too_large: bool,
}

impl Trouble {
    pub(in super::super) fn lasting(text: impl Into<String>) -> Self {
        Self::new(text.into(), false)
    }

    pub(super) fn passing(text: impl Into<String>) -> Self {
        Self::new(text.into(), true)
    }

    /// The same, of this shard.
    pub(super) fn of(self, index: &str, shard: u32) -> Self {
        Self { text: format!("{index}, shard {shard}: {}", self.text), ..self }
    }

    fn new(text: String, may_pass: bool) -> Self {
        Self { status: 0, kind: String::new(), text, may_pass, is_too_large: false }
    }
}

#[derive(Deserialize)]
struct Told {
    cluster_uuid: Option<String>,
}

#[derive(Deserialize)]
struct Shards {
    total: u64,
    failed: u64,
    #[serde(default)]
    failures: Vec<serde_json::Value>,
}

/// How many shards answered a search; an answer of some of them is none. Takes the members `timed_out` and `_shards`.
pub(super) fn whole(timed_out: Option<&str>, shards: Option<&str>) -> Result<u64, Trouble> {
    if timed_out != Some("false") {
        return Err(Trouble::passing("the search timed out in the cluster"));
    }
    let shards = shards.ok_or_else(|| unusable(&"it does not tell of shards"))?;
    let shards: Shards = serde_json::from_str(shards).map_err(|error| unusable(&error))?;
    if shards.failed == 0 {
        return Ok(shards.total);
    }
    let reason = |it: &serde_json::Value| {
        let part = |name| it.pointer(name)?.as_str();
        let text = part("/reason/reason").or_else(|| part("/reason/type"))?;
        Some(text.chars().take(300).collect::<String>())
    };
    let why = shards.failures.iter().find_map(reason).unwrap_or_default();
    let text = format!("a shard of the source failed: {why}");
    Err(Trouble { status: 200, ..Trouble::passing(text) })
}

impl Source {
    /// Asks the cluster what it is.
    pub(in super::super) async fn open(
        settings: &ElasticsearchSettings,
        backoff: Backoff,
        give_up: Duration,
        pace: Pace,
        stop: CancellationToken,
    ) -> Result<Self, Trouble> {
        let cluster = Elasticsearch::new(settings, backoff)
            .map_err(|error| Trouble::lasting(error.to_string()))?;
        let is_near = |it: &reqwest::Url| {
            let host = it.host_str().unwrap_or_default();
            host == "localhost" || host.starts_with("127.") || host == "[::1]"
        };
        let mut source = Self {
            cluster,
            pace,
            is_far: !settings.urls.iter().all(is_near),
            request_timeout: settings.request_timeout,
            backoff,
            give_up,
            has_points_in_time: AtomicBool::new(false),
            is_opensearch: false,
            is_typed: false,
            identity: settings.urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
            stop,
        };
        match source.asked(Method::GET, "/", "").await {
            Ok(text) => source.know(&text)?,
            // That is another right than `read`. Without points in time, it does not matter what it is.
            Err(trouble) if trouble.status == 403 => {
                tracing::warn!(
                    "the source does not tell what it is (403): no point in time is opened"
                );
            }
            Err(trouble) => return Err(trouble),
        }
        Ok(source)
    }

    /// Takes what it tells of itself.
    fn know(&mut self, text: &str) -> Result<(), Trouble> {
        let product = Product::read(text).ok_or_else(|| {
            Trouble::lasting(
                "the source is neither Elasticsearch nor OpenSearch: GET / tells no version",
            )
        })?;
        if !product.is_opensearch && product.major < 6 {
            let version = product.major;
            return Err(Trouble::lasting(format!(
                "the source is Elasticsearch {version}: version 6 or later is needed, which numbers the documents of a shard"
            )));
        }
        self.is_opensearch = product.is_opensearch;
        self.is_typed = !product.is_opensearch && product.major < 7;
        self.has_points_in_time.store(product.has_points_in_time(), Ordering::Relaxed);
        if let Ok(Told { cluster_uuid: Some(uuid) }) = serde_json::from_str(text) {
            self.identity = uuid;
        }
        Ok(())
    }

    /// Whether pages are read from points in time.
    pub(super) fn has_points_in_time(&self) -> bool {
        self.has_points_in_time.load(Ordering::Relaxed)
    }

    /// They are refused: pages are read without from now on.
    pub(super) fn without_points_in_time(&self, why: &Trouble) {
        if self.has_points_in_time.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                reason = why.text,
                "the source opens no point in time: what is changed while it is read may be read twice"
            );
        }
    }

    /// What is tried again, and how long.
    pub(in super::super) fn patience(&self) -> Patience<'_> {
        Patience { source: self, since: None, tries: 0 }
    }

    /// Asks until there is an answer, as long as that can help.
    pub(in super::super) async fn asked(
        &self,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<String, Trouble> {
        let mut patience = self.patience();
        loop {
            match self.ask(method.clone(), path, body, ANSWER_BYTES_MAX).await {
                Ok(text) => return Ok(text),
                Err(trouble) => patience.wait(trouble).await?,
            }
        }
    }

    /// Searches until all shards answer, as long as that can help.
    pub(in super::super) async fn searched(
        &self,
        path: &str,
        body: &str,
    ) -> Result<String, Trouble> {
        let mut patience = self.patience();
        loop {
            match self.search(path, body).await {
                Ok(text) => return Ok(text),
                Err(trouble) => patience.wait(trouble).await?,
            }
        }
    }

    /// Searches once.
    async fn search(&self, path: &str, body: &str) -> Result<String, Trouble> {
        let text = self.ask(Method::POST, path, body, ANSWER_BYTES_MAX).await?;
        json::check(&text, json::DEPTH_MAX).map_err(|error| unusable(&error))?;
        whole(json::get(&text, "timed_out"), json::get(&text, "_shards"))?;
        Ok(text)
    }

    /// Asks once.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
        bytes_max: usize,
    ) -> Result<String, Trouble> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.is_far {
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let sent = (!body.is_empty()).then(|| reqwest::Body::from(body.to_owned()));
        let answer = self.cluster.pass(method, path, headers, sent).await;
        let answer = answer.map_err(|error| Trouble::passing(error.to_string()))?;
        let status = answer.status().as_u16();
        let is_gzip = answer.headers().get(header::CONTENT_ENCODING).is_some_and(|it| it == "gzip");
        let body = tokio::time::timeout(self.request_timeout, read(answer, bytes_max))
            .await
            .unwrap_or_else(|_elapsed| Err(Trouble::passing("the answer did not come in time")))?;
        let body = if is_gzip { inflated(body, bytes_max).await? } else { body };
        if status == 200 {
            return String::from_utf8(body.into()).map_err(|error| unusable(&error));
        }
        let told = AnswerItem::told(status, &body);
        let why = [Some(told.error()), cause(&body)].into_iter().flatten().collect::<Vec<_>>();
        let why: String = why.join(", because of ").chars().take(500).collect();
        Err(Trouble {
            status,
            kind: told.error_kind().unwrap_or_default().into_owned(),
            text: format!("the source answers {status}: {why}"),
            may_pass: status == 429 || status >= 500,
            is_too_large: false,
        })
    }
}

/// What is beneath an error: `all shards failed` says little (as Elasticsearch 8.19 tells it, `ElasticsearchException`).
fn cause(body: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(body).ok()?;
    let error = answer.get("error")?;
    let text = |it: &serde_json::Value, name| Some(it.get(name)?.as_str()?.to_owned());
    let beneath =
        ["/failed_shards/0/reason", "/caused_by"].iter().find_map(|it| error.pointer(it))?;
    let kind = text(beneath, "type")?;
    match text(beneath, "reason") {
        reason if reason == text(error, "reason") => None,
        Some(reason) => Some(format!("{kind}: {reason}")),
        None => Some(kind),
    }
}

/// What fails is tried again, with growing waits, until it is given up.
#[derive(Debug)]
pub(in super::super) struct Patience<'s> {
    source: &'s Source,
    since: Option<Instant>,
    tries: u32,
}

impl Patience<'_> {
    /// Waits before the next try; or gives the trouble back, if there is none.
    pub(in super::super) async fn wait(&mut self, trouble: Trouble) -> Result<(), Trouble> {
        let Source { backoff, give_up, stop, pace, .. } = self.source;
        let since = *self.since.get_or_insert_with(Instant::now);
        if !trouble.may_pass || stop.is_cancelled() {
            return Err(trouble);
        }
        if since.elapsed() >= *give_up {
            let text = format!("{} (tried for {} s)", trouble.text, give_up.as_secs());
            return Err(Trouble { text, ..trouble });
        }
        if self.tries == 0 {
            tracing::warn!(reason = trouble.text, "the source does not answer well: trying again");
        }
        if trouble.status == 429 {
            pace.refused();
        }
        let wait = backoff.delay(self.tries, fastrand::f64()).max(backoff.first);
        self.tries += 1;
        tokio::select! {
            () = stop.cancelled() => Err(trouble),
            () = tokio::time::sleep(wait) => Ok(()),
        }
    }

    /// It went well.
    pub(in super::super) fn rest(&mut self) {
        if self.since.take().is_some() {
            tracing::info!("the source answers again");
        }
        self.tries = 0;
    }
}

pub(super) fn unusable(error: &dyn std::fmt::Display) -> Trouble {
    Trouble::passing(format!("the source gave no usable answer: {error}"))
}

fn too_large(bytes_max: usize) -> Trouble {
    let text = format!("an answer of the source is larger than {bytes_max} bytes");
    Trouble { is_too_large: true, ..Trouble::lasting(text) }
}

async fn read(mut answer: Response, bytes_max: usize) -> Result<Bytes, Trouble> {
    let mut body = BytesMut::new();
    loop {
        match answer.chunk().await {
            Ok(None) => return Ok(body.freeze()),
            Ok(Some(chunk)) if body.len() + chunk.len() > bytes_max => {
                return Err(too_large(bytes_max));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            // Its text would show the URL.
            Err(_cut) => return Err(Trouble::passing("the source broke its answer off")),
        }
    }
}

async fn inflated(compressed: Bytes, bytes_max: usize) -> Result<Bytes, Trouble> {
    let work = tokio::task::spawn_blocking(move || {
        let mut decoder = MultiGzDecoder::new(compressed.as_ref());
        let (mut out, mut step) = (Vec::new(), vec![0; STEP_BYTES]);
        loop {
            let read = decoder.read(&mut step).map_err(|error| unusable(&error))?;
            if read == 0 {
                return Ok(Bytes::from(out));
            }
            if out.len() + read > bytes_max {
                return Err(too_large(bytes_max));
            }
            out.extend_from_slice(step.get(..read).unwrap_or_default());
        }
    });
    work.await.map_err(|error| unusable(&error))?
}
