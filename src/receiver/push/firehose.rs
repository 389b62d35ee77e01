use base64::Engine;
use hyper::{HeaderMap, header::HeaderName};
use jiff::Timestamp;

use super::{
    super::{
        Reply,
        auth::BASE64,
        encoding::{Gunzip, gunzip},
        respond::{self, refusal},
    },
    is_cluster,
    lines::{self, Lines},
};
use crate::{
    bulk::Refusal,
    json::{self, Kind},
    prepare::hashed,
};

// Names and forms are those of "HTTP endpoint delivery request and response specifications" (Amazon Data Firehose,
// protocol version 1.0).

/// The header of the access key.
pub(super) const ACCESS_KEY: HeaderName = HeaderName::from_static("x-amz-firehose-access-key");
/// The header of the request's id, which stands in the body, too.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amz-firehose-request-id");
/// The header of what the operator says of the stream: `{"commonAttributes":{"NAME":"VALUE"}}`.
const COMMON_ATTRIBUTES: HeaderName = HeaderName::from_static("x-amz-firehose-common-attributes");
/// Longest id of a request (bytes). It is a GUID.
const REQUEST_ID_BYTES_MAX: usize = 256;
/// How a gzip member starts (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Turns a Firehose request into a bulk body and gives back its id.
///
/// A record is base64, most often of gzip. In it stand messages of CloudWatch subscriptions, one after the other or a
/// line each; or, where Firehose was told to extract messages, lines. A subscription message becomes a document as it
/// is, a line one with the line in `message`. What cannot be read is kept as it came: Firehose would send it again and again, and all others with it.
///
/// The `_id`s are made of the request's id, which stays when it is sent again, and of the place in it.
pub(super) fn translate(
    body: &[u8],
    headers: &HeaderMap,
    cluster: Option<&str>,
    lines: &mut Lines,
) -> Result<String, Refusal> {
    let request = lines::object(body, "Firehose request")?;
    let wrong = |reason: &str| {
        refusal(
            400,
            "illegal_argument_exception",
            format!("the body is no Firehose request: {reason}"),
        )
    };
    let told = json::member(&request, "requestId").and_then(json::string);
    let request_id = told
        .map(String::from)
        .or_else(|| request_id(headers))
        .filter(|it| (1..=REQUEST_ID_BYTES_MAX).contains(&it.len()))
        .ok_or_else(|| wrong("it has no requestId"))?;
    let records = json::member(&request, "records").filter(|it| json::kind(it) == Kind::Array);
    let records = records.ok_or_else(|| wrong("it has no records"))?;
    let named = common_attribute(headers, "cluster").filter(|it| is_cluster(it));
    let cluster = cluster.or(named.as_deref());
    let mut left = lines.bytes_max();
    for (place, record) in json::elements(records).enumerate() {
        let data = json::get(record, "data").and_then(json::string);
        let data = data.ok_or_else(|| wrong(&format!("record {place} has no data")))?;
        let mut record = Record { request_id: &request_id, place, part: 0, cluster, lines };
        match payload(&data, record.lines, left)? {
            Ok(text) => {
                left = left.saturating_sub(text.len() as u64);
                record.text(&text)?;
            }
            Err(reason) => {
                let id = record.next_id();
                let reason = format!("record {place} of a Firehose request {reason}");
                record.lines.broken(Some(&id), &data, &reason, cluster)?;
            }
        }
    }
    Ok(request_id)
}

/// The text of a record, or why it has none. `bytes_max` is what is left of the request's.
fn payload(
    data: &str,
    lines: &mut Lines,
    bytes_max: u64,
) -> Result<Result<String, &'static str>, Refusal> {
    let Ok(bytes) = BASE64.decode(data) else { return Ok(Err("is no base64")) };
    let bytes = if bytes.starts_with(&GZIP) {
        let (share, used) = lines.share();
        match gunzip(&bytes, used, bytes_max, share) {
            Ok(inflated) => inflated,
            Err(Gunzip::Broken) => return Ok(Err("is no whole gzip")),
            Err(Gunzip::Refused(refusal)) => return Err(refusal),
        }
    } else {
        bytes
    };
    Ok(String::from_utf8(bytes).map_err(|_other| "is no UTF-8"))
}

/// A record whose documents are being written.
struct Record<'r> {
    request_id: &'r str,
    /// Its place in the request.
    place: usize,
    /// Documents of it so far.
    part: usize,
    cluster: Option<&'r str>,
    lines: &'r mut Lines,
}

impl Record<'_> {
    fn next_id(&mut self) -> String {
        let (place, part) = (self.place.to_string(), self.part.to_string());
        self.part += 1;
        hashed(&["firehose", self.request_id, &place, &part])
    }

    fn text(&mut self, text: &str) -> Result<(), Refusal> {
        // Line by line, so that a line that is cut costs itself only, and all of it is read once.
        for line in text.split('\n').map(str::trim_end).filter(|it| !it.is_empty()) {
            self.line(line)?;
        }
        Ok(())
    }

    /// Subscription messages first, then other JSON objects, or one text.
    fn line(&mut self, line: &str) -> Result<(), Refusal> {
        let (mut rest, mut others) = (line.trim_start(), Vec::new());
        let mut text = line;
        while rest.starts_with('{') {
            let Ok((object, after)) = json::first(rest, json::DEPTH_MAX) else { break };
            rest = after.trim_start();
            match message_type(object).as_deref() {
                Some(kind @ ("DATA_MESSAGE" | "CONTROL_MESSAGE")) if others.is_empty() => {
                    let id = self.next_id();
                    // Whether a message only checks the way is for unwrap to say, which drops it only if it is nothing else.
                    let cluster = self.cluster.filter(|_| kind == "DATA_MESSAGE");
                    self.lines.object(Some(&id), object, cluster)?;
                    text = rest;
                }
                _ if others.len() == self.lines.items_left() => return Err(self.lines.too_many()),
                _ => others.push(object),
            }
        }
        // Something else stands on the line: it is one text.
        if !rest.is_empty() {
            others.clear();
            others.push(text);
        }
        for text in others {
            let id = self.next_id();
            self.lines.message(Some(&id), text, self.cluster)?;
        }
        Ok(())
    }
}

/// What kind of subscription message a checked object is, if it is one.
fn message_type(object: &str) -> Option<String> {
    let kind = json::string(json::get(object, "messageType")?)?;
    json::get(object, "logEvents").filter(|it| json::kind(it) == Kind::Array)?;
    Some(kind.into_owned())
}

/// The request's id, as far as its headers tell.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    Some(text.to_owned()).filter(|it| it.len() <= REQUEST_ID_BYTES_MAX)
}

/// An attribute that the operator gave the stream. The header may be malformed; the data is not.
fn common_attribute(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = std::str::from_utf8(headers.get(COMMON_ATTRIBUTES)?.as_bytes()).ok()?;
    json::check(text, 16).ok()?;
    let value = json::get(json::get(text.trim(), "commonAttributes")?, name)?;
    json::string(value).map(String::from)
}

/// An answer. Only 200 is a yes; it is never compressed.
pub(super) fn reply(status: u16, request_id: &str, error: Option<&str>) -> Reply {
    let mut body = String::from("{\"requestId\":");
    json::push_string(&mut body, request_id);
    body.push_str(&format!(",\"timestamp\":{}", Timestamp::now().as_millisecond()));
    if let Some(error) = error {
        body.push_str(",\"errorMessage\":");
        json::push_string(&mut body, error);
    }
    body.push('}');
    respond::bare_json(status, body)
}

/// A no. Never 413: for that one Firehose drops the request at once, and does not back it up.
pub(super) fn refused(refusal: &Refusal, headers: &HeaderMap) -> Reply {
    let status = if refusal.status == 413 { 400 } else { refusal.status };
    let request_id = request_id(headers).unwrap_or_default();
    reply(status, &request_id, Some(&refusal.reason))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::engine::general_purpose::STANDARD;
    use flate2::{Compression, write::GzEncoder};
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::{super::lines::tests::lines, *};

    const MESSAGE: &str = r#"{"messageType":"DATA_MESSAGE","owner":"111122223333","logGroup":"/aws/eks/demo/cluster","logStream":"kube-apiserver-audit-0a","logEvents":[{"id":"1","timestamp":1,"message":"{}"}]}"#;
    const CONTROL: &str = r#"{"messageType":"CONTROL_MESSAGE","logEvents":[]}"#;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn request(records: &[&[u8]]) -> String {
        let records: Vec<_> =
            records.iter().map(|it| format!(r#"{{"data":"{}"}}"#, STANDARD.encode(it))).collect();
        format!(r#"{{"requestId":"r-1","timestamp":1,"records":[{}]}}"#, records.join(","))
    }

    fn translated(body: &str, headers: &HeaderMap) -> Result<Vec<(String, String)>, Refusal> {
        let mut lines = lines();
        assert_eq!(translate(body.as_bytes(), headers, None, &mut lines)?, "r-1");
        let out = lines.end().0;
        let all: Vec<_> = out.lines().map(str::to_owned).collect();
        Ok(all.chunks(2).map(|it| (it[0].clone(), it[1].clone())).collect())
    }

    #[track_caller]
    fn check(records: &[&[u8]], expected: &[&str]) {
        let items = translated(&request(records), &HeaderMap::new()).unwrap();
        assert_eq!(items.iter().map(|it| it.1.as_str()).collect::<Vec<_>>(), expected);
        let mut ids: Vec<_> = items.iter().map(|it| it.0.clone()).collect();
        assert_eq!(translated(&request(records), &HeaderMap::new()).unwrap(), items, "again");
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), items.len());
    }

    #[test]
    fn records() {
        check(&[], &[]);
        check(&[b"", &gzip(b""), b"\n \n"], &[]);
        check(&[&gzip(MESSAGE.as_bytes())], &[MESSAGE]);
        check(&[MESSAGE.as_bytes()], &[MESSAGE]);
        let two = [gzip(MESSAGE.as_bytes()), gzip(MESSAGE.as_bytes())].concat();
        check(&[&two, &gzip(CONTROL.as_bytes())], &[MESSAGE, MESSAGE, CONTROL]);
        let joined = format!(
            "{MESSAGE}\n{CONTROL}{MESSAGE} {MESSAGE}\nI0102 text\r\n{{\"a\":1}}{{\"b\":2}}\n"
        );
        check(
            &[&gzip(joined.as_bytes())],
            &[
                MESSAGE,
                CONTROL,
                MESSAGE,
                MESSAGE,
                r#"{"message":"I0102 text"}"#,
                r#"{"message":"{\"a\":1}"}"#,
                r#"{"message":"{\"b\":2}"}"#,
            ],
        );
        // What follows on a line belongs to it; what is cut costs itself only.
        let cut = format!("{MESSAGE}{{\"messageType\nx {{}}\n{{\"a\":1}} said he\n{MESSAGE}");
        check(
            &[cut.as_bytes()],
            &[
                MESSAGE,
                r#"{"message":"{\"messageType"}"#,
                r#"{"message":"x {}"}"#,
                r#"{"message":"{\"a\":1} said he"}"#,
                MESSAGE,
            ],
        );
    }

    #[test]
    fn what_cannot_be_read_is_kept() {
        let cut = gzip(b"some text");
        let cut = &cut[..cut.len() - 3];
        let body = request(&[cut, b"good", b"\xff\xfe"]).replace("\"Z29vZA==\"", "\"!\",\"x\":0");
        let items = translated(&body, &HeaderMap::new()).unwrap();
        let document = |reason: &str, data: &str| {
            format!(
                r#"{{"tags":["k8scop_unwrap_failed"],"error":{{"message":"record {reason}"}},"message":"{data}"}}"#
            )
        };
        assert_eq!(
            items[0].1,
            document("0 of a Firehose request is no whole gzip", &STANDARD.encode(cut))
        );
        assert_eq!(items[1].1, document("1 of a Firehose request is no base64", "!"));
        assert_eq!(items[2].1, document("2 of a Firehose request is no UTF-8", "//4="));
    }

    #[test]
    fn wrong_requests() {
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"requestId":"r-1"}"#,
            r#"{"requestId":"r-1","records":{}}"#,
            r#"{"requestId":"r-1","records":[1]}"#,
            r#"{"requestId":"r-1","records":[{"data":1}]}"#,
            r#"{"requestId":"","records":[]}"#,
            r#"{"records":[]}"#,
        ] {
            assert_eq!(translated(wrong, &HeaderMap::new()).unwrap_err().status, 400, "{wrong}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("r-1"));
        assert_eq!(translated(r#"{"records":[]}"#, &headers), Ok(Vec::new()));
    }

    #[test]
    fn bombs() {
        let bomb = gzip(&vec![b'\n'; 2 << 20]);
        assert_eq!(translated(&request(&[&bomb]), &HeaderMap::new()).unwrap_err().status, 413);
        // Each within the limit, not all together.
        let half = gzip(&vec![b'\n'; 700 << 10]);
        assert!(translated(&request(&[&half]), &HeaderMap::new()).is_ok());
        assert_eq!(
            translated(&request(&[&half, &half]), &HeaderMap::new()).unwrap_err().status,
            413
        );
        let refusal = refusal(413, "x", "too much".into());
        assert_eq!(refused(&refusal, &HeaderMap::new()).status(), 400);
    }

    #[test]
    fn clusters() {
        let of = |attributes: &'static str, path: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(COMMON_ATTRIBUTES, HeaderValue::from_static(attributes));
            let mut lines = lines();
            translate(request(&[b"x"]).as_bytes(), &headers, path, &mut lines).unwrap();
            let out = lines.end().0;
            let document = out.lines().nth(1).unwrap();
            let name =
                json::get(json::get(json::get(document, "orchestrator")?, "cluster")?, "name");
            Some(name.unwrap().to_owned())
        };
        let attributes = r#" {"commonAttributes":{"cluster":"demo"}}"#;
        assert_eq!(of(attributes, None).as_deref(), Some("\"demo\""));
        assert_eq!(of(attributes, Some("path")).as_deref(), Some("\"path\""));
        for none in
            ["", "x", "{}", r#"{"commonAttributes":{"cluster":""}}"#, r#"{"commonAttributes":[]}"#]
        {
            assert_eq!(of(none, None), None, "{none}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes(body in any::<Vec<u8>>(), records in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let mut lines = lines();
            translate(&body, &HeaderMap::new(), None, &mut lines).ok();
            let zipped: Vec<_> = records.iter().map(|it| gzip(it)).collect();
            let all: Vec<&[u8]> = records.iter().chain(&zipped).map(Vec::as_slice).collect();
            for (_, document) in translated(&request(&all), &HeaderMap::new()).unwrap() {
                prop_assert_eq!(json::check(&document, 100), Ok(Kind::Object), "{}", document);
            }
        }

        /// Nothing of a text is lost: blanks, line ends and what only checks the way aside.
        #[test]
        fn any_text(parts in prop::collection::vec(prop::sample::select(vec![
            MESSAGE, "{\"a\":1}", "{", "}", "text", " ", "\n", "[1]", "\"", "{\"messageType\":\"DATA_MESSAGE\"}",
        ]), 0..12)) {
            let text = parts.concat();
            let items = translated(&request(&[text.as_bytes()]), &HeaderMap::new()).unwrap();
            let found: String = items.iter().map(|(_, it)| match json::get(it, "message") {
                Some(message) => json::string(message).unwrap().into_owned(),
                None => it.clone(),
            }).collect();
            let plain = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(plain(&found), plain(&text));
        }
    }
}
