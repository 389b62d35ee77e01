use std::time::Instant;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap,
    body::{Body as _, Incoming},
};

use super::{Budget, Limits, budget::Share, encoding::Encoding, guard::Activity, respond::refusal};
use crate::bulk::Refusal;

/// What is taken of the budget before a body has come (bytes). More is taken as it comes, so that many who only
/// promise large bodies keep nobody out.
const FIRST_BYTES: u64 = 16 << 10;
/// What is set aside in memory for a body of known length before it has come (bytes). It costs nothing until it is
/// written to.
const CAPACITY_BYTES: u64 = 1 << 20;

/// A body on its way in, with its share of the budget.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    encoding: Encoding,
    /// What the client says that it decompresses to (`X-Elastic-Uncompressed-Request-Length`).
    told_decoded: Option<u64>,
    pub(super) share: Share,
}

/// Takes a body in, within the limits. What cannot be taken is refused before it is read, where its length is
/// told, so that a client that sends `Expect: 100-continue` never sends it.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: &mut Incoming,
    limits: &Limits,
    budget: &Budget,
    activity: Option<&Activity>,
) -> Result<Received, Refusal> {
    let encoding = Encoding::of_request(headers)?;
    let told = body.size_hint().exact();
    if told.is_some_and(|it| it > limits.body_bytes_max) {
        return Err(too_large(limits.body_bytes_max, "limits.body_bytes_max"));
    }
    let told_decoded = number(headers, "x-elastic-uncompressed-request-length");
    if told_decoded.is_some_and(|it| it > limits.decoded_bytes_max) {
        return Err(too_large(limits.decoded_bytes_max, "limits.decoded_bytes_max"));
    }
    let first = told.unwrap_or(FIRST_BYTES);
    if !budget.has(first) {
        return Err(busy());
    }
    let mut share = budget.try_take(first.min(FIRST_BYTES)).ok_or_else(busy)?;
    let capacity = told.unwrap_or(FIRST_BYTES).min(CAPACITY_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(capacity).unwrap_or_default());
    let started = Instant::now();
    loop {
        let next = tokio::time::timeout(limits.body_idle_timeout, body.frame()).await;
        let Ok(frame) = next else {
            return Err(refusal(408, "timeout_exception", "the body stopped coming in".into()));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| {
            refusal(400, "parse_exception", format!("the body was cut: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let len = (bytes.len() + data.len()) as u64;
        if len > limits.body_bytes_max {
            return Err(too_large(limits.body_bytes_max, "limits.body_bytes_max"));
        }
        // Twice as much each time, and what a vector takes when it grows.
        if len > share.bytes() && !share.try_grow_to((len * 2).min(told.unwrap_or(u64::MAX))) {
            return Err(busy());
        }
        if is_slow(len, started, limits) {
            let least = limits.body_bytes_per_s_min;
            let reason = format!(
                "the body comes in with less than {least} bytes a second (limits.body_bytes_per_s_min)"
            );
            return Err(refusal(408, "timeout_exception", reason));
        }
        if let Some(activity) = activity {
            activity.moved(data.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes: bytes.into(), encoding, told_decoded, share })
}

/// Whether a body has had time enough, and comes more slowly than allowed.
fn is_slow(len: u64, started: Instant, limits: &Limits) -> bool {
    let elapsed = started.elapsed();
    elapsed > limits.body_idle_timeout
        && len < limits.body_bytes_per_s_min.saturating_mul(elapsed.as_secs())
}

/// A header that holds a whole number.
pub(super) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// Reads a body that nobody wants, while its request is answered: most clients read no answer before they have sent
/// all, and a connection that is closed under them looks like one that broke. Up to the limits; then they see that.
pub(super) async fn drain(mut body: Incoming, limits: Limits) {
    let (mut left, started) = (limits.body_bytes_max, Instant::now());
    while let Ok(Some(Ok(frame))) =
        tokio::time::timeout(limits.body_idle_timeout, body.frame()).await
    {
        let len = frame.data_ref().map_or(0, |it| it.len() as u64);
        let Some(rest) = left.checked_sub(len) else { return };
        left = rest;
        if is_slow(limits.body_bytes_max - left, started, &limits) {
            return;
        }
    }
}

impl Received {
    /// The decompressed body, never larger than `decoded_bytes_max`. Busy for a while: call it off the async
    /// threads.
    pub(super) fn decoded(mut self, decoded_bytes_max: u64) -> Result<(Bytes, Share), Refusal> {
        let bytes = {
            let Self { bytes, encoding, told_decoded, share } = &mut self;
            encoding.decode(std::mem::take(bytes), decoded_bytes_max, *told_decoded, share)?
        };
        match self.told_decoded {
            Some(told) if told != bytes.len() as u64 => Err(refusal(
                400,
                "parse_exception",
                format!(
                    "the body has {} bytes, but X-Elastic-Uncompressed-Request-Length says {told}: it was changed on the way",
                    bytes.len()
                ),
            )),
            _ => Ok((bytes, self.share)),
        }
    }
}

pub(super) fn busy() -> Refusal {
    refusal(
        429,
        "es_rejected_execution_exception",
        "k8scop handles as many bytes as it may at once (limits.in_flight_bytes_max): send this again later".into(),
    )
}

pub(super) fn too_large(limit: u64, name: &str) -> Refusal {
    refusal(
        413,
        "content_too_long_exception",
        format!("the body is larger than {limit} bytes ({name}): send smaller batches"),
    )
}
