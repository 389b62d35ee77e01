//! Inputs of those who push events themselves: API servers (audit webhook), Amazon Data Firehose, Google Pub/Sub.
//!
//! Each turns its request into a bulk body, which then goes the way of all others; and the outcome into the answer
//! that its sender understands. The answer is yes only when all of the request is stored, or kept as dead letters.
//! What was stored of a request that is refused is found again when it is sent again: its `_id`s are made of what
//! stays the same.
//!
//! | what happened | API server | Firehose | Pub/Sub |
//! | --- | --- | --- | --- |
//! | all is stored | 200 | 200 | 204 |
//! | Elasticsearch is away, or refuses a part for now | 503, 429 | 503, 429 | 503, 429 |
//! | a part is refused for good (`on_reject: report`) | 400 | 400 | 400 |
//! | the body cannot be meant | 400 | 400 | 400 |
//! | the body is too large | 413 | 400 | 413 |
//!
//! Whatever is no yes, an API server (apiserver 1.35, `plugin/pkg/audit/webhook`, `pkg/util/webhook`) tries 5 times, each
//! for 30 s at most, with 10, 15, 22 and 34 s between; after a 429 or 503 with `Retry-After`, as ours are, also again
//! within the 30 s (client-go 0.35, `rest/with_retry.go`). So it keeps a batch for 1½ to 4 minutes, and then drops it,
//! which its log and its metric `apiserver_audit_error_total` tell. Firehose tries again for as long as it is told to and
//! then puts the whole request into its backup bucket; Pub/Sub delivers again until the message expires or goes to the
//! subscription's dead-letter topic. So nothing that is refused for good is lost without a word, and what else stood in
//! the request is stored; with `on_reject: dead_letter` nothing of it is lost, or sent again.

mod firehose;
mod jwt;
mod lines;
mod pubsub;
mod webhook;

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{
    HeaderMap, Request, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
};
use jiff::Timestamp;
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::sync::oneshot;

pub use self::pubsub::PubsubSettings;
use self::{lines::Lines, pubsub::Tokens};
use super::{
    Input, Receiver, Reply,
    auth::Digested,
    body,
    budget::Share,
    bulk::{self, Outcome, Road},
    guard::Activity,
    params::{self, Media},
    respond::{self, refusal},
    route::PushTarget,
};
use crate::{
    bulk::{Defaults, Refusal},
    forward::{Passed, Secret, Whole},
    json,
    prepare::Tally,
};

/// Longest name of a cluster (bytes). EKS allows 100.
const CLUSTER_BYTES_MAX: usize = 256;
/// Longest reason that is answered (bytes). Firehose takes 8192 (its response specification).
const REASON_BYTES_MAX: usize = 1000;
/// Longest time until an API server is answered. It waits 30 s (apiserver 1.35, `pkg/util/webhook/webhook.go`,
/// `defaultRequestTimeout`) from the first byte that it sends; dead letters may need some more after it.
const WEBHOOK_TIME: Duration = Duration::from_secs(20);

/// How those who push are known, and where their events go.
#[derive(Clone, Debug)]
pub struct PushSettings {
    /// The data stream of what is no audit event; its namespace is that of all of it.
    pub index: String,
    /// All indices that are written: `indices` of a credential must contain them.
    pub writes: Vec<String>,
    /// Firehose's access key.
    pub firehose_key: Option<Secret>,
    /// Pub/Sub's tokens.
    pub pubsub: Option<PubsubSettings>,
}

/// Settings that cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct PushError(String);

/// Knows those who push.
#[derive(Debug)]
pub struct Push {
    settings: PushSettings,
    firehose_key: Option<RwLock<Digested>>,
    tokens: Option<Tokens>,
}

impl Push {
    /// Reads keys.
    pub fn new(settings: PushSettings) -> Result<Self, PushError> {
        let firehose_key = settings.firehose_key.as_ref().map(digested).transpose()?;
        let tokens = settings.pubsub.clone().map(Tokens::new).transpose().map_err(PushError)?;
        Ok(Self { firehose_key: firehose_key.map(RwLock::new), tokens, settings })
    }

    /// All files that are read.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let key = self.settings.firehose_key.as_ref().and_then(Secret::path);
        let keys = self.settings.pubsub.as_ref().and_then(PubsubSettings::path);
        key.cloned().into_iter().chain(keys).collect()
    }

    /// Reads keys that are in files again. If one cannot be used, nothing of it changes.
    pub fn reload(&self) -> Result<(), PushError> {
        if let (Some(key), Some(secret)) = (&self.firehose_key, &self.settings.firehose_key) {
            *key.write().unwrap_or_else(PoisonError::into_inner) = digested(secret)?;
        }
        self.tokens.as_ref().map_or(Ok(()), Tokens::reload).map_err(PushError)
    }

    /// Whether senders of this input have a proof of their own, and need none of `auth`.
    pub(super) fn asks(&self, input: Input) -> bool {
        match input {
            Input::Firehose => self.firehose_key.is_some(),
            Input::Pubsub => self.tokens.is_some(),
            Input::Webhook | Input::Bulk => false,
        }
    }

    /// All indices that are written.
    pub(super) fn writes(&self) -> &[String] {
        &self.settings.writes
    }

    /// Whether the sender is who it must be, if it has a proof of its own.
    async fn admits(&self, input: Input, headers: &HeaderMap) -> Result<(), Unknown> {
        match (input, &self.firehose_key, &self.tokens) {
            (Input::Firehose, Some(key), _) => {
                let given = headers.get(firehose::ACCESS_KEY).ok_or(Unknown::Missing)?;
                let key = *key.read().unwrap_or_else(PoisonError::into_inner);
                let is_it = key.0.ct_eq(&Digested::of(given.as_bytes()).0);
                if bool::from(is_it) { Ok(()) } else { Err(Unknown::Other) }
            }
            (Input::Pubsub, _, Some(tokens)) => tokens.admit(headers, Timestamp::now()).await,
            _ => Ok(()),
        }
    }
}

/// The digest of the key, so that comparing takes equal time.
fn digested(secret: &Secret) -> Result<Digested, PushError> {
    let key =
        secret.read().map_err(|error| PushError(format!("push.firehose.access_key: {error}")))?;
    if key.is_empty() {
        return Err(PushError("push.firehose.access_key: the key is empty".into()));
    }
    Ok(Digested::of(key.as_bytes()))
}

/// Why a sender is not let in. Holds nothing of what it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    Missing,
    Malformed,
    Other,
    /// The keys to check it with cannot be had now.
    Unchecked,
}

impl Unknown {
    /// For a metric's label.
    fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Other | Self::Unchecked => "unknown",
        }
    }

    fn refusal(self, input: Input) -> Refusal {
        let proof = match input {
            Input::Firehose => "the header X-Amz-Firehose-Access-Key",
            _ => "the bearer token",
        };
        let reason = match self {
            Self::Missing => format!("{proof} is missing"),
            Self::Malformed => format!("{proof} cannot be read"),
            Self::Other => format!("{proof} is not the right one"),
            Self::Unchecked => {
                let reason =
                    format!("{proof} cannot be checked now: push.pubsub.jwks cannot be read");
                return refusal(503, "security_exception", reason);
            }
        };
        refusal(401, "security_exception", reason)
    }
}

/// Answers a push.
///
/// As with a bulk request, a sender that goes away costs nothing until its body is in; from then on the request is
/// seen through to its counts.
pub(super) async fn answer(
    receiver: &Arc<Receiver>,
    request: Request<Incoming>,
    target: PushTarget,
) -> Reply {
    let (mut parts, mut incoming) = request.into_parts();
    let activity = parts.extensions.remove::<Arc<Activity>>();
    let (headers, input) = (parts.headers, target.input);
    if let Err(refusal) = admitted(receiver, &target, &headers).await {
        let reply = refused(input, &refusal, &headers);
        receiver.discard(&headers, incoming, activity);
        return reply;
    }
    let received = body::receive(
        &headers,
        &mut incoming,
        &receiver.limits,
        &receiver.budget,
        activity.as_deref(),
    )
    .await;
    let received = match received {
        Ok(received) => received,
        Err(refusal) => {
            let reply = refused(input, &refusal, &headers);
            if refusal.status == 408 {
                return respond::close(reply);
            }
            receiver.discard(&headers, incoming, activity);
            return reply;
        }
    };
    if let Some(activity) = &activity {
        activity.answers();
    }
    let (sender, answer) = oneshot::channel();
    let (task, asked) = (Arc::clone(receiver), Asked { target, headers: headers.clone() });
    receiver.deliveries.spawn(async move {
        // The sender may have left; what was stored is counted all the same.
        sender.send(deliver(&task, received, asked).await).ok();
    });
    let lost = || Err(internal("the request was not seen through to its end: send it again"));
    match answer.await.unwrap_or_else(|_gone| lost()) {
        Ok(request_id) => done(input, &request_id),
        Err(refusal) => refused(input, &refusal, &headers),
    }
}

/// What was asked, besides the body.
struct Asked {
    target: PushTarget,
    headers: HeaderMap,
}

fn internal(reason: &str) -> Refusal {
    refusal(503, "k8scop_internal_exception", reason.into())
}

/// What can be told before the body is read.
async fn admitted(
    receiver: &Receiver,
    target: &PushTarget,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let input = target.input;
    receiver.push.admits(input, headers).await.map_err(|unknown| {
        receiver.metrics.unauthorized_requests.with_label_values(&[unknown.reason()]).inc();
        unknown.refusal(input)
    })?;
    if target.cluster.as_deref().is_some_and(|it| !is_cluster(it)) {
        let reason = format!(
            "the name of a cluster has at most {CLUSTER_BYTES_MAX} bytes and no control characters"
        );
        return Err(refusal(400, "illegal_argument_exception", reason));
    }
    // API servers and Firehose always say so. A browser that is led here by another page asks before it does.
    if input != Input::Pubsub && params::media(headers) != Media::Lines {
        return Err(params::not_lines());
    }
    Ok(())
}

fn is_cluster(name: &str) -> bool {
    !name.is_empty() && name.len() <= CLUSTER_BYTES_MAX && !name.chars().any(char::is_control)
}

/// Stores all of it, or says why not. Gives back what the answer repeats of the request.
async fn deliver(
    receiver: &Arc<Receiver>,
    received: body::Received,
    asked: Asked,
) -> Result<String, Refusal> {
    let started = Instant::now();
    let input = asked.target.input;
    let time = receiver.limits.request_deadline;
    let time = if input == Input::Webhook { time.min(WEBHOOK_TIME) } else { time };
    let passed = passed(input, &asked.headers, receiver.limits.shard_timeout.min(time * 2 / 3));
    let worker = Arc::clone(receiver);
    let prepared = tokio::task::spawn_blocking(move || {
        let (bytes, share) = bulk::decoded(&worker, received, input)?;
        let Translated { lines, request_id, share } = translate(&worker, &asked, &bytes, share)?;
        // Only one of the two is kept in memory.
        drop(bytes);
        if lines.is_empty() {
            return Ok((None, request_id));
        }
        let index = Some(worker.push.settings.index.clone());
        let defaults = Defaults { index, ..Defaults::default() };
        let prepared =
            bulk::in_room(&worker, lines.into(), defaults, share, |room, body, defaults| {
                worker.preparer.prepare_pushed(room, body, defaults, Timestamp::now())
            })?;
        Ok((Some(prepared), request_id))
    })
    .await;
    let (prepared, request_id) = prepared.map_err(|error| {
        tracing::error!(%error, "a push request could not be prepared");
        internal("the request could not be prepared")
    })??;
    let Some((prepared, origin, _share)) = prepared else { return Ok(request_id) };
    let road = Road { input, passed, time };
    match bulk::settle(receiver, prepared, origin, &road, started).await {
        Outcome::Whole(whole) => Err(refusal_of(&whole)),
        Outcome::Items { body, tally, .. } => settled(&body, &tally).map(|()| request_id),
    }
}

/// A request as a bulk body.
struct Translated {
    lines: String,
    /// What the answer repeats.
    request_id: String,
    share: Share,
}

fn translate(
    receiver: &Receiver,
    asked: &Asked,
    body: &[u8],
    share: Share,
) -> Result<Translated, Refusal> {
    let items_max = receiver.preparer.items_max();
    let bytes_max = receiver.limits.decoded_bytes_max;
    let mut lines = Lines::new(share, items_max, bytes_max);
    let cluster = asked.target.cluster.as_deref();
    let mut request_id = String::new();
    match asked.target.input {
        Input::Firehose => {
            request_id = firehose::translate(body, &asked.headers, cluster, &mut lines)?;
        }
        Input::Pubsub => pubsub::translate(body, &asked.headers, cluster, &mut lines)?,
        Input::Webhook | Input::Bulk => webhook::translate(body, cluster, &mut lines)?,
    }
    let (lines, share) = lines.end();
    Ok(Translated { lines, request_id, share })
}

/// What goes along to Elasticsearch. An API server may show credentials of Elasticsearch, as a shipper does; others
/// can show their own only.
fn passed(input: Input, headers: &HeaderMap, shard_timeout: Duration) -> Passed {
    let mut along = HeaderMap::new();
    along.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    along.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if input == Input::Webhook
        && let Some(authorization) = headers.get(header::AUTHORIZATION)
    {
        along.insert(header::AUTHORIZATION, authorization.clone());
    }
    let query = format!("timeout={}ms", shard_timeout.as_millis());
    Passed { headers: along, query, sound: true }
}

/// Elasticsearch's refusal of the whole.
fn refusal_of(whole: &Whole) -> Refusal {
    // No yes: that would be an answer for each item.
    let status = if whole.status < 400 { 503 } else { whole.status };
    let text = std::str::from_utf8(&whole.body).unwrap_or_default();
    let reason = json::check(text, json::DEPTH_MAX)
        .ok()
        .and_then(|_| json::string(json::get(json::get(text, "error")?, "reason")?));
    let reason = reason.unwrap_or_else(|| format!("the output answered {}", whole.status).into());
    refusal(status, "k8scop_output_unavailable_exception", cut(&reason))
}

/// Yes, if all items are stored.
fn settled(answer: &str, tally: &Tally) -> Result<(), Refusal> {
    if tally.returned == 0 && tally.rejected == 0 {
        return Ok(());
    }
    let kept = tally.stored + tally.duplicate + tally.dead_lettered + tally.dropped;
    let items = kept + tally.rejected + tally.returned;
    let (returned, rejected) = (tally.returned, tally.rejected);
    let wanted = |status: u16| crate::forward::may_pass_later(status) == (returned > 0);
    let failed = json::get(answer, "items").into_iter().flat_map(json::elements).find_map(|it| {
        let result = json::members(it).next()?.value;
        let status: u16 = json::get(result, "status")?.parse().ok()?;
        let error = json::get(result, "error").filter(|_| status >= 400 && wanted(status))?;
        let text = |name| json::get(error, name).and_then(json::string).unwrap_or_default();
        Some((status, format!("{}: {}", text("type"), text("reason"))))
    });
    let (first, why) = failed.unwrap_or_default();
    let (status, end) = match (returned > 0, first) {
        (true, 429) => (429, "cannot be stored now"),
        (true, _) => (503, "cannot be stored now"),
        // 409 and others that an API server or Firehose could take for something else.
        (false, _) => (400, "refused for good (on_reject: dead_letter would keep them)"),
    };
    let count = if returned > 0 { returned } else { rejected };
    let reason = format!("{count} of {items} documents {end}; the first: {}", cut(&why));
    Err(refusal(status, "k8scop_not_stored_exception", reason))
}

fn cut(reason: &str) -> String {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX.min(reason.len()));
    reason.get(..end).unwrap_or_default().to_owned()
}

/// Yes.
fn done(input: Input, request_id: &str) -> Reply {
    match input {
        Input::Firehose => firehose::reply(200, request_id, None),
        Input::Pubsub => respond::bare(StatusCode::NO_CONTENT, Bytes::new()),
        Input::Webhook | Input::Bulk => respond::bare(StatusCode::OK, Bytes::new()),
    }
}

/// No, and why.
fn refused(input: Input, refusal: &Refusal, headers: &HeaderMap) -> Reply {
    match input {
        Input::Firehose => firehose::refused(refusal, headers),
        Input::Pubsub | Input::Webhook | Input::Bulk => respond::refuse(refusal, headers),
    }
}

/// The answer to who is not let in by `auth`, as the sender understands it.
pub(super) fn turned_away(input: Input, reply: Reply, headers: &HeaderMap) -> Reply {
    if input != Input::Firehose {
        return reply;
    }
    let status = reply.status().as_u16();
    let reason = "k8scop knows its clients (auth): set push.firehose.access_key".into();
    refused(input, &refusal(status, "security_exception", reason), headers)
}
