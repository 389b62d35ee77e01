#![expect(
    clippy::disallowed_types,
    reason = "this is the capped wrapper that the rest of the program must use"
)]

use std::io::Read;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;
use hyper::{
    HeaderMap,
    body::{Body as _, Incoming},
    header,
};

use super::{Budget, Limits, budget::Share};
use crate::bulk::Refusal;

/// What is reserved for a body that does not say how long it is, until it is longer (bytes).
const UNKNOWN_BYTES: u64 = 64 << 10;
/// Decompression steps; between two of them the limits are looked at (bytes).
const STEP_BYTES: usize = 64 << 10;

/// A body on its way in, with its share of the budget.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) gzip: bool,
    pub(super) share: Share,
}

/// Takes a body in, within the limits. What cannot be taken is refused before it is read, where its length is
/// told, so that a client that sends `Expect: 100-continue` never sends it.
pub(super) async fn receive(
    headers: &HeaderMap,
    mut body: Incoming,
    limits: &Limits,
    budget: &Budget,
) -> Result<Received, Refusal> {
    let gzip = is_gzip(headers)?;
    let told = body.size_hint().exact();
    if told.is_some_and(|it| it > limits.body_bytes_max) {
        return Err(too_large(limits.body_bytes_max, "limits.body_bytes_max"));
    }
    let mut share = budget.try_take(told.unwrap_or(UNKNOWN_BYTES)).ok_or_else(busy)?;
    let capacity = usize::try_from(told.unwrap_or(UNKNOWN_BYTES)).unwrap_or_default();
    let mut bytes = Vec::with_capacity(capacity);
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
        if !share.try_grow_to(len) {
            return Err(busy());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Received { bytes: bytes.into(), gzip, share })
}

impl Received {
    /// The decompressed body, never larger than `decoded_bytes_max`. Busy for a while: call it off the async
    /// threads.
    pub(super) fn decoded(mut self, decoded_bytes_max: u64) -> Result<(Bytes, Share), Refusal> {
        if !self.gzip {
            return Ok((self.bytes, self.share));
        }
        let bytes = inflate(&self.bytes, decoded_bytes_max, &mut self.share)?;
        Ok((bytes, self.share))
    }
}

fn inflate(compressed: &[u8], bytes_max: u64, share: &mut Share) -> Result<Bytes, Refusal> {
    // All of it at once, or nothing: if each body took its memory step by step, many at a time could all be
    // refused half-way, and none would ever be stored.
    let hint = decoded_bytes_hint(compressed).min(bytes_max);
    if !share.try_grow_to(hint) {
        return Err(busy());
    }
    let mut decoder = MultiGzDecoder::new(compressed);
    let mut out = Vec::with_capacity(usize::try_from(hint).unwrap_or_default());
    let mut step = vec![0; STEP_BYTES];
    loop {
        let read = decoder.read(&mut step).map_err(|error| {
            refusal(400, "parse_exception", format!("the body is not whole gzip: {error}"))
        })?;
        if read == 0 {
            return Ok(out.into());
        }
        let len = (out.len() + read) as u64;
        if len > bytes_max {
            return Err(too_large(bytes_max, "limits.decoded_bytes_max"));
        }
        if !share.try_grow_to(len) {
            return Err(busy());
        }
        out.extend_from_slice(step.get(..read).unwrap_or_default());
    }
}

/// What the end of a gzip file says of its decoded size (RFC 1952, ISIZE), as far as deflate can have made so
/// much of so little. Only a hint: it may lie, and it speaks of the last of several members.
fn decoded_bytes_hint(compressed: &[u8]) -> u64 {
    /// The highest ratio that deflate reaches (zlib, "Maximum Compression Factor").
    const RATIO_MAX: u64 = 1032;
    let told = compressed.last_chunk().map_or(0, |it| u64::from(u32::from_le_bytes(*it)));
    told.min(compressed.len() as u64 * RATIO_MAX)
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
    let named = all
        .next()
        .map_or("identity", |it| it.to_str().unwrap_or_default())
        .trim()
        .to_ascii_lowercase();
    match (named.as_str(), all.next()) {
        ("identity" | "", None) => Ok(false),
        ("gzip" | "x-gzip", None) => Ok(true),
        _ => Err(refusal(
            415,
            "illegal_argument_exception",
            format!("Content-Encoding [{named}] is not supported: use gzip or none"),
        )),
    }
}

pub(super) fn busy() -> Refusal {
    refusal(
        429,
        "es_rejected_execution_exception",
        "k8scop handles as many bytes as it may at once (limits.in_flight_bytes_max): send this again later".into(),
    )
}

fn too_large(limit: u64, name: &str) -> Refusal {
    refusal(
        413,
        "content_too_long_exception",
        format!("the body is larger than {limit} bytes ({name}): send smaller batches"),
    )
}

fn refusal(status: u16, kind: &'static str, reason: String) -> Refusal {
    Refusal { status, kind, reason }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use prometheus::IntGauge;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    fn inflated(compressed: &[u8], bytes_max: u64, budget_bytes: u64) -> Result<Bytes, u16> {
        let budget = Budget::new(budget_bytes, IntGauge::new("g", "h").unwrap());
        let mut share = budget.try_take(1).unwrap();
        inflate(compressed, bytes_max, &mut share).map_err(|it| it.status)
    }

    #[test]
    fn at_the_limit_and_one_past_it() {
        assert_eq!(inflated(&gzip(&[b'a'; 10]), 10, 1 << 20).unwrap().len(), 10);
        assert_eq!(inflated(&gzip(&[b'a'; 11]), 10, 1 << 20), Err(413));
        let members = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(inflated(&members, 10, 1 << 20).unwrap(), "onetwo");
    }

    #[test]
    fn bombs_stop_at_the_limit_or_the_budget() {
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(inflated(&bomb, 1 << 20, 1 << 30), Err(413));
        assert_eq!(inflated(&bomb, 1 << 30, 1 << 20), Err(429));
    }

    #[test]
    fn the_size_is_known_before() {
        assert_eq!(decoded_bytes_hint(&gzip(&[b'a'; 5000])), 5000);
        assert_eq!(decoded_bytes_hint(b"\xff\xff\xff\xff"), 4 * 1032);
        assert_eq!(decoded_bytes_hint(b"\xff"), 0);
    }

    #[test]
    fn broken_gzip() {
        assert_eq!(inflated(b"{}", 10, 1 << 20), Err(400));
        let whole = gzip(b"some text that is long enough to be cut somewhere");
        for end in 1..whole.len() {
            assert_eq!(inflated(&whole[..end], 1000, 1 << 20), Err(400), "cut at {end}");
        }
    }
}
