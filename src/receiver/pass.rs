use std::sync::Arc;

use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    HeaderMap, Request,
    body::{Body as _, Frame, Incoming},
    header::{self, HeaderName},
};

use super::{Receiver, Reply, local, respond};
use crate::{
    bulk::Refusal,
    forward::{Elasticsearch, Output, hop_by_hop},
};

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
pub(super) async fn answer(receiver: &Arc<Receiver>, request: Request<Incoming>) -> Reply {
    match receiver.forwarder.output() {
        Output::Elasticsearch(output) => through(output, request).await,
        Output::File(_) => {
            let (parts, _) = request.into_parts();
            local::answer(&parts.method, parts.uri.path(), &parts.headers)
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

/// Method, path, query, headers and body go as they came, and so does the answer.
async fn through(output: &Elasticsearch, request: Request<Incoming>) -> Reply {
    let (parts, body) = request.into_parts();
    let body = (!body.is_end_stream()).then(|| reqwest::Body::wrap(body));
    if has_dot_segments(parts.uri.path()) {
        let reason =
            "the path has segments of dots: they could lead out of the cluster's path".into();
        let refusal = Refusal { status: 400, kind: "illegal_argument_exception", reason };
        return respond::refuse(&refusal, &parts.headers);
    }
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
    let answer = match output.pass(parts.method, path, end_to_end(&parts.headers), body).await {
        Ok(answer) => answer,
        Err(error) => {
            let refusal = Refusal {
                status: 503,
                kind: "k8scop_output_unavailable_exception",
                reason: error.reason,
            };
            return respond::refuse(&refusal, &parts.headers);
        }
    };
    let (status, length) = (answer.status(), answer.headers().get(header::CONTENT_LENGTH).cloned());
    let mut headers = end_to_end(answer.headers());
    // A HEAD is answered with the length of what a GET would bring.
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length);
    }
    let frames = answer.bytes_stream().map(|it| it.map(Frame::data).map_err(Into::into));
    let mut reply = Reply::new(StreamBody::new(frames).boxed_unsync());
    *reply.status_mut() = status;
    *reply.headers_mut() = headers;
    reply
}
