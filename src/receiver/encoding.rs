#![expect(
    clippy::disallowed_types,
    reason = "this is the capped wrapper that the rest of the program must use"
)]

use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::{
    Compression,
    read::{MultiGzDecoder, ZlibDecoder},
    write::{GzEncoder, ZlibEncoder},
};
use hyper::{HeaderMap, header};

use super::{body::busy, budget::Share, respond::refusal};
use crate::bulk::Refusal;

/// Decompression steps; between two of them the limits are looked at (bytes).
const STEP_BYTES: usize = 64 << 10;
/// Largest window of a zstd frame, as a power of two: what decompression needs besides its output (bytes).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Smallest answer that is compressed (bytes): below, it costs more than it saves.
const ANSWER_BYTES_MIN: usize = 4 << 10;

/// How a body is compressed (RFC 9110, 8.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    /// `deflate`, which is the zlib format.
    Deflate,
    Zstd,
}

impl Encoding {
    fn named(name: &str) -> Option<Self> {
        match name {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "deflate" | "x-deflate" => Some(Self::Deflate),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The name on the wire; `None` for a body that is not compressed.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Deflate => Some("deflate"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// How a request's body is compressed. A stack of encodings is refused: it has no use but to grow.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
        let text = all.next().map_or("", |it| it.to_str().unwrap_or("?"));
        let name = text.trim().to_ascii_lowercase();
        Self::named(&name).filter(|_| all.next().is_none()).ok_or_else(|| {
            refusal(
                415,
                "illegal_argument_exception",
                format!(
                    "Content-Encoding [{name}] is not supported: use gzip, deflate, zstd or none"
                ),
            )
        })
    }

    /// How the answer is to be compressed: the first of gzip, zstd and deflate that the client takes, for it is
    /// what all clients read.
    pub(super) fn of_answer(request: &HeaderMap, bytes: usize) -> Self {
        if bytes < ANSWER_BYTES_MIN {
            return Self::Identity;
        }
        let takes = |encoding: Self| {
            let name = encoding.name().unwrap_or_default();
            let accepted = request.get_all(header::ACCEPT_ENCODING).iter();
            accepted.filter_map(|it| it.to_str().ok()).flat_map(|it| it.split(',')).any(|it| {
                let mut parts = it.split(';').map(str::trim);
                let is_it = parts.next().is_some_and(|it| it.eq_ignore_ascii_case(name));
                let refused = parts.any(|it| matches!(it, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
                is_it && !refused
            })
        };
        [Self::Gzip, Self::Zstd, Self::Deflate]
            .into_iter()
            .find(|it| takes(*it))
            .unwrap_or(Self::Identity)
    }

    /// Compresses an answer.
    pub(super) fn encode(self, body: Vec<u8>) -> io::Result<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 8);
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => {
                let mut encoder = GzEncoder::new(out, Compression::fast());
                encoder.write_all(&body)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(out, Compression::fast());
                encoder.write_all(&body)?;
                encoder.finish()
            }
            Self::Zstd => zstd::bulk::compress(&body, 1),
        }
    }

    /// The decompressed body, never larger than `bytes_max`; its share of the budget grows with it. `told` is what
    /// the client says of its size.
    ///
    /// Gzip without its end is taken if it ends with a whole line, as Elasticsearch 8.19 takes it: Logstash's output
    /// (since 10.8.6, `http_client.rb`, `bulk`) cuts batches into requests of 20 MiB, and ends the stream of the last
    /// one only. The others it would send again for ever.
    pub(super) fn decode(
        self,
        compressed: Bytes,
        bytes_max: u64,
        told: Option<u64>,
        share: &mut Share,
    ) -> Result<Bytes, Refusal> {
        let broken = |error: io::Error| {
            let name = self.name().unwrap_or_default();
            refusal(400, "parse_exception", format!("the body is not whole {name}: {error}"))
        };
        match self {
            Self::Identity => Ok(compressed),
            Self::Gzip => {
                // All of it at once, or nothing: if each body took its memory step by step, many at a time could
                // all be refused half-way, and none would ever be stored.
                let hint = decoded_bytes_hint(&compressed, told).min(bytes_max);
                if !share.try_grow_to(hint) {
                    return Err(busy());
                }
                let decoder = MultiGzDecoder::new(compressed.as_ref());
                let sizes = Sizes { used: 0, hint, bytes_max };
                inflate(decoder, sizes, share, is_whole_lines, broken).map(Bytes::from)
            }
            Self::Deflate => {
                let decoder = ZlibDecoder::new(compressed.as_ref());
                let sizes = Sizes { used: 0, hint: 0, bytes_max };
                inflate(decoder, sizes, share, never, broken).map(Bytes::from)
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed.as_ref())
                    .map_err(broken)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(broken)?;
                let sizes = Sizes { used: 0, hint: 0, bytes_max };
                inflate(decoder, sizes, share, never, broken).map(Bytes::from)
            }
        }
    }
}

/// Why a part of a body cannot be inflated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gunzip {
    /// It is no whole gzip.
    Broken,
    /// It is larger than allowed, or there is no room for it now.
    Refused(Refusal),
}

impl From<Refusal> for Gunzip {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Inflates a part of a body, which may be several gzip members one after the other, to at most `bytes_max`. The
/// share of the budget grows to `used` and what comes out.
pub(super) fn gunzip(
    compressed: &[u8],
    used: u64,
    bytes_max: u64,
    share: &mut Share,
) -> Result<Vec<u8>, Gunzip> {
    let decoder = MultiGzDecoder::new(compressed);
    let sizes = Sizes { used, hint: 0, bytes_max };
    inflate(decoder, sizes, share, never, |_error| Gunzip::Broken)
}

/// Sizes of what is inflated (bytes).
struct Sizes {
    /// What else the share of the budget stands for.
    used: u64,
    /// How large it may be, as far as is known before.
    hint: u64,
    bytes_max: u64,
}

fn never(_: &[u8]) -> bool {
    false
}

fn is_whole_lines(decoded: &[u8]) -> bool {
    decoded.last() == Some(&b'\n')
}

/// `may_end` says whether what was decoded may do without the stream's end.
fn inflate<E: From<Refusal>>(
    mut decoder: impl Read,
    sizes: Sizes,
    share: &mut Share,
    may_end: fn(&[u8]) -> bool,
    broken: impl Fn(io::Error) -> E,
) -> Result<Vec<u8>, E> {
    let Sizes { used, hint, bytes_max } = sizes;
    let mut out = Vec::with_capacity(usize::try_from(hint).unwrap_or_default());
    let mut step = vec![0; STEP_BYTES];
    loop {
        let read = match decoder.read(&mut step) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && may_end(&out) => 0,
            read => read.map_err(&broken)?,
        };
        if read == 0 {
            return Ok(out);
        }
        let len = (out.len() + read) as u64;
        if len > bytes_max {
            return Err(super::body::too_large(bytes_max, "limits.decoded_bytes_max").into());
        }
        // A vector grows to twice its size: that much is taken before it does.
        if len > out.capacity() as u64 && !share.try_grow_to(used + (len * 2).min(bytes_max)) {
            return Err(busy().into());
        }
        out.extend_from_slice(step.get(..read).unwrap_or_default());
    }
}

/// What the end of a gzip file says of its decoded size (RFC 1952, ISIZE), as far as deflate can have made so
/// much of so little. Only a hint: it may lie, and it speaks of the last of several members. What the client told
/// is believed first: a stream without an end has something else there.
fn decoded_bytes_hint(compressed: &[u8], told: Option<u64>) -> u64 {
    /// The highest ratio that deflate reaches (zlib, "Maximum Compression Factor").
    const RATIO_MAX: u64 = 1032;
    let of_end = || compressed.last_chunk().map_or(0, |it| u64::from(u32::from_le_bytes(*it)));
    told.unwrap_or_else(of_end).min(compressed.len() as u64 * RATIO_MAX)
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::{super::budget::Budget, *};

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

    fn inflated(
        encoding: Encoding,
        compressed: Vec<u8>,
        bytes_max: u64,
        budget_bytes: u64,
    ) -> Result<Bytes, u16> {
        let budget = Budget::new(budget_bytes, IntGauge::new("g", "h").unwrap());
        let mut share = budget.try_take(1).unwrap();
        encoding.decode(compressed.into(), bytes_max, None, &mut share).map_err(|it| it.status)
    }

    #[test]
    fn at_the_limit_and_one_past_it() {
        for encoding in ALL {
            let of = |text: &[u8]| encoding.encode(text.to_vec()).unwrap();
            let whole = inflated(encoding, of(&[b'a'; 10]), 10, 1 << 20).unwrap();
            assert_eq!(whole.len(), 10);
            assert_eq!(inflated(encoding, of(&[b'a'; 11]), 10, 1 << 20), Err(413));
        }
        for encoding in [Encoding::Gzip, Encoding::Zstd] {
            let of = |text: &[u8]| encoding.encode(text.to_vec()).unwrap();
            let members = [of(b"one"), of(b"two")].concat();
            assert_eq!(inflated(encoding, members, 10, 1 << 20).unwrap(), "onetwo");
        }
    }

    #[test]
    fn bombs_stop_at_the_limit_or_the_budget() {
        for encoding in ALL {
            let bomb = encoding.encode(vec![0; 64 << 20]).unwrap();
            assert!(bomb.len() < 1_000_000, "{encoding:?} {}", bomb.len());
            assert_eq!(inflated(encoding, bomb.clone(), 1 << 20, 1 << 30), Err(413));
            assert_eq!(inflated(encoding, bomb, 1 << 30, 1 << 20), Err(429));
        }
    }

    #[test]
    fn a_window_that_needs_much_memory_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 2).unwrap();
        encoder.write_all(b"small").unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(inflated(Encoding::Zstd, frame, 1 << 20, 1 << 20), Err(400));
    }

    #[test]
    fn the_size_is_known_before() {
        let gzip = Encoding::Gzip.encode(vec![b'a'; 5000]).unwrap();
        assert_eq!(decoded_bytes_hint(&gzip, None), 5000);
        assert_eq!(decoded_bytes_hint(&gzip, Some(4999)), 4999);
        assert_eq!(decoded_bytes_hint(b"\xff\xff\xff\xff", None), 4 * 1032);
        assert_eq!(decoded_bytes_hint(b"\xff", None), 0);
    }

    #[test]
    fn broken_bodies() {
        for encoding in ALL {
            assert_eq!(inflated(encoding, b"{}".to_vec(), 10, 1 << 20), Err(400), "{encoding:?}");
            let text = b"some text that is long enough to be cut somewhere".to_vec();
            let whole = encoding.encode(text).unwrap();
            for end in 1..whole.len() {
                let cut = whole[..end].to_vec();
                assert_eq!(inflated(encoding, cut, 1000, 1 << 20), Err(400), "{encoding:?} {end}");
            }
        }
    }

    #[test]
    fn gzip_without_its_end() {
        let text = b"{\"create\":{}}\n{\"a\":1}\n";
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.flush().unwrap();
        let flushed = encoder.get_ref().clone();
        let whole = encoder.finish().unwrap();
        let inflated = |bytes: &[u8]| inflated(Encoding::Gzip, bytes.to_vec(), 1000, 1 << 20);
        assert_eq!(inflated(&flushed).unwrap(), text.as_slice());
        assert_eq!(inflated(&whole[..whole.len() - 3]).unwrap(), text.as_slice(), "in the trailer");
        // Only where a line ends, and never with a wrong checksum.
        for end in 1..flushed.len() {
            if let Ok(cut) = inflated(&flushed[..end]) {
                assert_eq!(cut.last(), Some(&b'\n'), "{end}");
            }
        }
        let mut wrong = whole.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert_eq!(inflated(&wrong), Err(400));
    }

    #[test]
    fn names() {
        let headers = |name, values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&name, header::HeaderValue::from_static(value));
            }
            headers
        };
        let request = |values: &[&'static str]| {
            Encoding::of_request(&headers(header::CONTENT_ENCODING, values)).map_err(|it| it.status)
        };
        assert_eq!(request(&[]), Ok(Encoding::Identity));
        assert_eq!(request(&["GZIP"]), Ok(Encoding::Gzip));
        assert_eq!(request(&["zstd"]), Ok(Encoding::Zstd));
        assert_eq!(request(&["br"]), Err(415));
        assert_eq!(request(&["gzip", "gzip"]), Err(415));
        assert_eq!(request(&["gzip, gzip"]), Err(415));
        let answer = |values: &[&'static str], bytes| {
            Encoding::of_answer(&headers(header::ACCEPT_ENCODING, values), bytes)
        };
        assert_eq!(answer(&["zstd,gzip,deflate,br"], 10_000), Encoding::Gzip);
        assert_eq!(answer(&["gzip;q=0, zstd"], 10_000), Encoding::Zstd);
        assert_eq!(answer(&["deflate"], 10_000), Encoding::Deflate);
        assert_eq!(answer(&["gzip"], 100), Encoding::Identity);
        assert_eq!(answer(&["br", "*"], 10_000), Encoding::Identity);
    }
}
