use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    body::{Body as _, Frame, Incoming},
    header::{self, HeaderName, HeaderValue},
};

use super::{
    Receiver, Reply,
    copies::{COPY_BYTES_MAX, COPY_HEADER, Copy, Key},
    guard::Activity,
    local, nodes, respond,
    respond::refusal,
    route::Pass,
};
use crate::forward::{AttemptError, Elasticsearch, Output, hop_by_hop};

/// The headers that are meant for the other end.
pub(super) fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .filter_map(|it| it.trim().parse().ok())
        .collect();
    let passes = |name: &HeaderName| !hop_by_hop(name) && !named.contains(name);
    headers
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Answers what is no bulk request: as Elasticsearch does, by asking it.
pub(super) async fn answer(
    receiver: &Arc<Receiver>,
    request: Request<Incoming>,
    pass: Pass,
) -> Reply {
    let (parts, body) = request.into_parts();
    let activity = parts.extensions.get::<Arc<Activity>>().cloned();
    if let Some(activity) = &activity
        && body.is_end_stream()
    {
        activity.answers();
    }
    let body = (!body.is_end_stream()).then(|| reqwest::Body::wrap(body));
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let asked = Asked { method: parts.method, path, headers: parts.headers };
    answer_with(receiver, asked, body, pass).await
}

/// A request that is passed on.
pub(super) struct Asked<'p> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: &'p str,
    /// As they came.
    pub(super) headers: HeaderMap,
}

/// As [`answer`], with the body given.
pub(super) async fn answer_with(
    receiver: &Arc<Receiver>,
    asked: Asked<'_>,
    body: Option<reqwest::Body>,
    pass: Pass,
) -> Reply {
    let output = match receiver.forwarder.output() {
        Output::Elasticsearch(output) => output,
        Output::File(_) => {
            let path = asked.path.split('?').next().unwrap_or_default();
            return local::answer(&asked.method, path, &asked.headers);
        }
    };
    let path = asked.path.split('?').next().unwrap_or_default();
    if has_dot_segments(path) {
        let reason =
            "the path has segments of dots: they could lead out of the cluster's path".into();
        let refusal = refusal(400, "illegal_argument_exception", reason);
        return respond::refuse(&refusal, &asked.headers);
    }
    match pass {
        Pass::Steady | Pass::Nodes => steady(receiver, output, asked, pass).await,
        Pass::SetUp | Pass::Read | Pass::Write | Pass::Other => {
            let headers = end_to_end(&asked.headers);
            match output.pass(asked.method, asked.path, headers, body).await {
                Ok(answer) => {
                    if pass == Pass::SetUp && answer.status().is_success() {
                        ask_again(receiver, output);
                    }
                    streamed(answer)
                }
                Err(error) => unavailable(error, &asked.headers),
            }
        }
    }
}

fn has_dot_segments(path: &str) -> bool {
    let is_dots = |part: &str| {
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8_lossy();
        decoded == "." || decoded == ".."
    };
    path.split(['/', '\\']).any(is_dots)
}

fn unavailable(error: AttemptError, request: &HeaderMap) -> Reply {
    respond::refuse(&refusal(503, "k8scop_output_unavailable_exception", error.reason), request)
}

/// Method, path, query, headers and body go as they came, and so does the answer.
fn streamed(answer: reqwest::Response) -> Reply {
    let (status, headers) = (answer.status(), answer_headers(answer.headers()));
    let frames = answer.bytes_stream().map(|it| it.map(Frame::data).map_err(Into::into));
    let mut reply = Reply::new(StreamBody::new(frames).boxed_unsync());
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}

fn answer_headers(answer: &HeaderMap) -> HeaderMap {
    let mut headers = end_to_end(answer);
    // A HEAD is answered with the length of what a GET would bring.
    if let Some(length) = answer.get(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, length.clone());
    }
    respond::product(&mut headers);
    headers
}

/// Answers what shippers ask when they start: from Elasticsearch, or as Elasticsearch did when it was up.
async fn steady(
    receiver: &Arc<Receiver>,
    output: &Arc<Elasticsearch>,
    asked: Asked<'_>,
    pass: Pass,
) -> Reply {
    let key = Key::new(&asked.method, asked.path, &asked.headers);
    let own = asked.headers.get(header::HOST).cloned();
    let (shown, is_copy) = match fetch(output, &asked.method, asked.path, &asked.headers).await {
        Ok(Fetched::Whole(status, headers, body)) if !is_down(status) => {
            let kept = (status, headers.clone(), body.clone());
            receiver.copies.keep(key, asked.headers.clone(), kept);
            (Shown { status, headers, body }, false)
        }
        Ok(Fetched::Large(answer)) => return streamed(answer),
        down => match (receiver.copies.get(&key), down) {
            (Some(Copy { status, headers, body, .. }), _) => {
                (Shown { status, headers, body }, true)
            }
            (None, Ok(Fetched::Whole(status, headers, body))) => {
                (Shown { status, headers, body }, false)
            }
            (None, Err(error)) => return unavailable(error, &asked.headers),
            (None, Ok(Fetched::Large(answer))) => return streamed(answer),
        },
    };
    shown.reply(pass, own.as_ref(), is_copy)
}

/// A whole answer.
struct Shown {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Shown {
    fn reply(mut self, pass: Pass, own: Option<&HeaderValue>, is_copy: bool) -> Reply {
        if pass == Pass::Nodes && self.status.is_success() {
            let address = own.and_then(|it| it.to_str().ok()).unwrap_or_default();
            self.body = nodes::as_ours(&self.body, address).into();
            self.headers.insert(header::CONTENT_LENGTH, self.body.len().into());
        }
        if is_copy {
            self.headers.insert(COPY_HEADER, HeaderValue::from_static("last-good-answer"));
        }
        respond::whole(self.status, self.headers, self.body)
    }
}

enum Fetched {
    Whole(StatusCode, HeaderMap, Bytes),
    /// Too large to be kept.
    Large(reqwest::Response),
}

async fn fetch(
    output: &Elasticsearch,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Fetched, AttemptError> {
    let mut headers = end_to_end(headers);
    // What is kept is shown to whoever asks next, whatever encodings it reads.
    headers.remove(header::ACCEPT_ENCODING);
    let mut answer = output.pass(method.clone(), path, headers, None).await?;
    let is_large = answer.content_length().is_none_or(|it| it > COPY_BYTES_MAX as u64);
    if is_large && *method != Method::HEAD {
        return Ok(Fetched::Large(answer));
    }
    let (status, headers) = (answer.status(), answer_headers(answer.headers()));
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| AttemptError {
        reason: format!("the connection to Elasticsearch failed: {error}"),
        ..AttemptError::default()
    })? {
        body.extend_from_slice(&chunk);
    }
    Ok(Fetched::Whole(status, headers, body.freeze()))
}

/// What a gateway says when there is no Elasticsearch behind it, and Elasticsearch when it has no master.
fn is_down(status: StatusCode) -> bool {
    matches!(status.as_u16(), 502..=504)
}

/// Something was set up: what was missing may be there now, and a shipper that starts while Elasticsearch is down
/// should find it.
fn ask_again(receiver: &Arc<Receiver>, output: &Arc<Elasticsearch>) {
    let (task, output) = (Arc::clone(receiver), Arc::clone(output));
    receiver.deliveries.spawn(async move {
        for (key, method, path, asked) in task.copies.missing() {
            if let Ok(Fetched::Whole(status, headers, body)) =
                fetch(&output, &method, &path, &asked).await
                // It may be the older answer of two that were asked for at once.
                && status != StatusCode::NOT_FOUND
            {
                task.copies.keep(key, asked, (status, headers, body));
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots() {
        for path in ["/a/../b", "/%2e%2E/b", "/a\\..\\b", "/."] {
            assert!(has_dot_segments(path), "{path}");
        }
        assert!(!has_dot_segments("/.kibana/a..b"));
    }
}
