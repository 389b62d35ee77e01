use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Response, StatusCode,
    body::{Frame, SizeHint},
    header::{self, HeaderName, HeaderValue},
};

use super::{budget::Share, encoding::Encoding};
use crate::{
    bulk::{Refusal, error_body},
    forward::Whole,
};

/// A body of ours, or one that is passed through.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
/// An answer.
pub type Reply = Response<Body>;

/// What a client that is told to come back should wait, when Elasticsearch did not say (seconds).
const RETRY_AFTER_S: u64 = 2;

/// A client's own name for its request.
const OPAQUE_ID: HeaderName = HeaderName::from_static("x-opaque-id");

fn full(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer whose body keeps its share of the budget until it is written, or the client is gone.
pub(super) fn held(answer: Whole, request: &HeaderMap, mut share: Share) -> Reply {
    let encoding = Encoding::of_answer(request, answer.body.len());
    let mut reply = json(answer.status, Bytes::new(), request);
    put_heads(reply.headers_mut(), &answer);
    let compressed = encoding.name().and_then(|name| {
        let body = encoding.encode(answer.body.to_vec()).ok()?;
        reply.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        Some(Bytes::from(body))
    });
    let body = compressed.unwrap_or(answer.body);
    share.shrink_to(body.len() as u64);
    *reply.body_mut() = Held { body: full(body), _share: share }.boxed_unsync();
    reply
}

/// An answer to a request of one document.
pub(super) fn plain(answer: Whole, request: &HeaderMap) -> Reply {
    let mut reply = json(answer.status, answer.body.clone(), request);
    put_heads(reply.headers_mut(), &answer);
    reply
}

fn put_heads(headers: &mut HeaderMap, answer: &Whole) {
    if let Some(seconds) = answer.retry_after_s {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if let Some(media) = &answer.heads.media {
        headers.insert(header::CONTENT_TYPE, media.clone());
    }
    for warning in &answer.heads.warnings {
        headers.append(header::WARNING, warning.clone());
    }
}

struct Held {
    body: Body,
    _share: Share,
}

impl hyper::body::Body for Held {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer that is Elasticsearch's.
pub(super) fn whole(status: StatusCode, headers: HeaderMap, body: Bytes) -> Reply {
    let mut reply = Response::new(full(body));
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

/// Elasticsearch's clients since 7.14 believe no answer without this header. OpenSearch does not send it.
pub(super) fn product(headers: &mut HeaderMap) {
    headers.insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
}

/// An answer in plain text.
#[must_use]
pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(full(body));
    *reply.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    reply.headers_mut().insert(header::CONTENT_TYPE, plain);
    reply
}

/// An answer without any type.
pub(super) fn bare(status: StatusCode, body: Bytes) -> Reply {
    let mut reply = Response::new(full(body));
    *reply.status_mut() = status;
    reply
}

/// An answer in JSON to who does not take us for Elasticsearch.
pub(super) fn bare_json(status: u16, body: String) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut reply = bare(status, body.into());
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

/// An answer in JSON, as Elasticsearch gives it: with its product header, and in the media type that the client
/// asked for.
pub(super) fn json(status: u16, body: impl Into<Bytes>, request: &HeaderMap) -> Reply {
    let mut reply = Response::new(full(body));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let asked = request.get(header::ACCEPT).filter(|it| {
        it.to_str().is_ok_and(|it| it.starts_with("application/vnd.elasticsearch+json"))
    });
    let kind = asked.cloned().unwrap_or(HeaderValue::from_static("application/json"));
    reply.headers_mut().insert(header::CONTENT_TYPE, kind);
    product(reply.headers_mut());
    // Elasticsearch gives it back, so that a client finds its request in the logs (`RestController`).
    if let Some(id) = request.get(OPAQUE_ID) {
        reply.headers_mut().insert(OPAQUE_ID, id.clone());
    }
    if matches!(status, 429 | 503) {
        reply.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S.into());
    }
    reply
}

/// An answer that refuses the whole request.
pub(super) fn refuse(refusal: &Refusal, request: &HeaderMap) -> Reply {
    json(refusal.status, error_body(refusal), request)
}

/// Why a request is refused, in Elasticsearch's form.
pub(super) fn refusal(status: u16, kind: &'static str, reason: String) -> Refusal {
    Refusal { status, kind, reason }
}

/// Marks an answer after which the connection is not used again: the request's body may be unread.
pub(super) fn close(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}
