use std::{borrow::Cow, time::Duration};

use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
};

use super::{pass, respond::refusal};
use crate::{
    bulk::{Defaults, Refusal},
    forward::Passed,
};

/// What URL and headers of a bulk request say.
#[derive(Debug)]
pub(super) struct Params {
    /// What is meant for the items.
    pub(super) defaults: Defaults,
    /// What goes along to Elasticsearch.
    pub(super) passed: Passed,
    /// How the answer is shaped.
    pub(super) shape: Shape,
}

/// How the answer is shaped. We have to read Elasticsearch's whole answer, so this stays here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// `?filter_path=`, decoded.
    pub(super) filter_path: Option<String>,
    /// `?pretty`
    pub(super) pretty: bool,
}

/// What Elasticsearch does with a body of this media type (`Content-Type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    /// It reads it as JSON lines.
    Lines,
    /// It reads it in another form (CBOR, SMILE, YAML), which we cannot.
    Other,
    /// It refuses it.
    Unknown,
}

/// Sorts the media type as Elasticsearch 7.17 to 9.4 do (`XContentType`, `RestController`).
pub(super) fn media(headers: &HeaderMap) -> Media {
    let Some(Ok(text)) = headers.get(header::CONTENT_TYPE).map(HeaderValue::to_str) else {
        return Media::Unknown;
    };
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.strip_prefix("application/").map(|it| it.trim_start_matches("vnd.elasticsearch+")) {
        Some("json" | "x-ndjson") => Media::Lines,
        Some("cbor" | "smile" | "yaml") => Media::Other,
        _ => Media::Unknown,
    }
}

/// Why a body that is no JSON is refused.
pub(super) fn not_lines() -> Refusal {
    let reason =
        "k8scop reads JSON only: set Content-Type to application/x-ndjson or application/json";
    refusal(406, "media_type_header_exception", reason.into())
}

/// Sorts what URL and headers say. `shard_timeout` is the longest time that Elasticsearch may wait for a shard (its
/// parameter `timeout`, 1 minute by default).
pub(super) fn params(
    defaults: Defaults,
    query: &str,
    headers: &HeaderMap,
    shard_timeout: Duration,
) -> Params {
    let mut params = Params { defaults, passed: Passed::default(), shape: Shape::default() };
    let (mut rest, mut sound, mut timeout) = (Vec::new(), true, Some(shard_timeout));
    // Elasticsearch takes both signs between parameters (8.19, `RestUtils.decodeQueryString`).
    for pair in query.split(['&', ';']).filter(|it| !it.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, text) = (decoded(name), decoded(value));
        let Params { defaults, shape, .. } = &mut params;
        match (name.as_ref(), flag(&text)) {
            ("pipeline", _) => defaults.pipeline = Some(text.into_owned()),
            ("routing", _) => defaults.routing = Some(text.into_owned()),
            ("require_alias", Some(value)) => defaults.require_alias = Some(value),
            ("require_data_stream", Some(value)) => defaults.require_data_stream = Some(value),
            ("filter_path", _) => shape.filter_path = Some(text.into_owned()),
            ("pretty", Some(value)) => shape.pretty = value,
            // Sizes and times for people; a bulk answer has none.
            ("human", Some(_)) => (),
            // It would be answered in a form that we cannot read.
            ("format", _) => (),
            ("timeout", _) => {
                timeout = duration(&text);
                if timeout.is_none() {
                    rest.push(pair.to_owned());
                    sound = false;
                }
            }
            (name, flag) => {
                rest.push(pair.to_owned());
                sound &= is_sound(name, &text, flag);
            }
        }
    }
    if let Some(told) = timeout {
        rest.push(format!("timeout={}ms", told.min(shard_timeout).as_millis()));
    }
    params.passed = Passed { headers: passed_headers(headers), query: rest.join("&"), sound };
    params
}

/// Whether Elasticsearch takes a parameter with this value: it refuses the whole request for others.
fn is_sound(name: &str, value: &str, flag: Option<bool>) -> bool {
    match name {
        "refresh" => flag.is_some() || value == "wait_for",
        "wait_for_active_shards" => value == "all" || value.parse::<u16>().is_ok(),
        "_source" | "_source_includes" | "_source_excludes" => true,
        // Others are known to some versions only.
        "error_trace" => flag.is_some(),
        _ => false,
    }
}

/// Elasticsearch's reading of a flag: there without a value is true (`Booleans.parseBoolean`).
fn flag(value: &str) -> Option<bool> {
    match value {
        "" | "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Elasticsearch's time values (8.19, `TimeValue.parseTimeValue`): a whole number and a unit.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim().to_ascii_lowercase();
    let digits = text.find(|it: char| !it.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(digits)?;
    let number: u64 = number.parse().ok()?;
    match unit {
        "nanos" => Some(Duration::from_nanos(number)),
        "micros" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.saturating_mul(60))),
        "h" => Some(Duration::from_secs(number.saturating_mul(3600))),
        "d" => Some(Duration::from_secs(number.saturating_mul(86400))),
        _ => None,
    }
}

fn passed_headers(headers: &HeaderMap) -> HeaderMap {
    let mut headers = pass::end_to_end(headers);
    if !is_vendored(&headers) {
        unvendor(&mut headers);
    }
    // The body is sent as it is in memory, and the answer is read.
    for name in [
        header::CONTENT_ENCODING.as_str(),
        "accept-encoding",
        "x-elastic-event-count",
        "x-elastic-uncompressed-request-length",
    ] {
        headers.remove(name);
    }
    headers
}

/// Whether the client names the version that it is compatible with, in Elasticsearch's own media types.
pub(super) fn is_vendored(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok()).is_some_and(|it| {
        it.trim_start().to_ascii_lowercase().starts_with("application/vnd.elasticsearch+")
    })
}

/// Names the plain media types: OpenSearch knows no others (406).
pub(super) fn unvendor(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
}

fn decoded(value: &str) -> Cow<'_, str> {
    // In a query a plus is a blank (Elasticsearch 8.19, `RestUtils.decodeQueryStringParam`).
    if value.contains('+') {
        let spaced = value.replace('+', " ");
        return Cow::Owned(
            percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned(),
        );
    }
    percent_encoding::percent_decode_str(value).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Params {
        params(Defaults::default(), query, &HeaderMap::new(), Duration::from_secs(20))
    }

    #[test]
    fn parameters_go_where_they_belong() {
        let query = "filter_path=errors%2Citems&refresh=wait_for&pipeline=a%20b&routing=r+s&require_alias=true&timeout=60s&pretty";
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "ApiKey x"),
            ("content-encoding", "gzip"),
            ("host", "h"),
            ("x-opaque-id", "7"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let Params { defaults, passed, shape } =
            params(Defaults::default(), query, &headers, Duration::from_secs(20));
        assert_eq!(defaults.pipeline.as_deref(), Some("a b"));
        assert_eq!(
            (defaults.routing.as_deref(), defaults.require_alias),
            (Some("r s"), Some(true))
        );
        assert_eq!(shape, Shape { filter_path: Some("errors,items".into()), pretty: true });
        assert_eq!(
            (passed.query.as_str(), passed.sound),
            ("refresh=wait_for&timeout=20000ms", true)
        );
        let mut names: Vec<_> = passed.headers.keys().map(|it| it.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "content-type", "x-opaque-id"]);
    }

    #[test]
    fn what_elasticsearch_would_refuse_is_left_to_it() {
        for query in [
            "colour=red",
            "list_executed_pipelines=true",
            "refresh=perhaps",
            "require_alias=perhaps",
            "timeout=soon",
            "pretty=2",
        ] {
            let read = read(query);
            assert!(!read.passed.sound && read.passed.query.starts_with(query), "{query}");
        }
        for query in ["refresh", "refresh=false", "_source=a", "error_trace=true", "human"] {
            assert!(read(query).passed.sound, "{query}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(read("").passed.query, "timeout=20000ms");
        assert_eq!(read("timeout=5000ms").passed.query, "timeout=5000ms");
        assert_eq!(read("timeout=1m").passed.query, "timeout=20000ms");
        assert_eq!(duration("3h"), Some(Duration::from_secs(10_800)));
        assert_eq!(duration("99999999999999999999s"), None);
        assert_eq!((duration("s"), duration("5")), (None, None));
    }

    #[test]
    fn media_types() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            media(&headers)
        };
        for text in [
            "application/json",
            "Application/X-NDJSON; charset=utf-8",
            "application/vnd.elasticsearch+x-ndjson; compatible-with=8",
        ] {
            assert_eq!(of(text), Media::Lines, "{text}");
        }
        assert_eq!(of("application/cbor"), Media::Other);
        assert_eq!((of("text/plain"), media(&HeaderMap::new())), (Media::Unknown, Media::Unknown));
    }
}
