use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{HeaderMap, Request, body::Incoming, header::HeaderValue};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{
    Input, Receiver, Reply, body,
    budget::Share,
    bulk::{self, Outcome, Road},
    guard::Activity,
    params::{self, Media, Params},
    pass, respond,
    respond::refusal,
    route::{Document, Pass},
};
use crate::{
    bulk::{Defaults, Op, Refusal, single},
    delivery::Origin,
    forward::{Output, Passed, Whole},
    json,
    prepare::Prepared,
};

/// Answers a request that stores one document.
///
/// What holds audit events, or what is not wanted (`audit.drop`, `control_plane: drop`), goes the way of the bulk
/// requests, so that it is treated like any other. Other documents go to Elasticsearch as they came.
pub(super) async fn answer(
    receiver: &Arc<Receiver>,
    request: Request<Incoming>,
    document: Document,
) -> Reply {
    let is_file = matches!(receiver.forwarder.output(), Output::File(_));
    match params::media(request.headers()) {
        Media::Lines => (),
        Media::Unknown if !is_file => return pass::answer(receiver, request, Pass::Write).await,
        _ => return respond::close(respond::refuse(&params::not_lines(), request.headers())),
    }
    let (mut parts, mut incoming) = request.into_parts();
    let activity = parts.extensions.remove::<Arc<Activity>>();
    let received = body::receive(
        &parts.headers,
        &mut incoming,
        &receiver.limits,
        &receiver.budget,
        activity.as_deref(),
    )
    .await;
    let received = match received {
        Ok(received) => received,
        Err(refusal) => return receiver.refuse_body(&refusal, &parts.headers, incoming, activity),
    };
    if let Some(activity) = &activity {
        activity.answers();
    }
    let as_it_came = received.bytes.clone();
    let query = parts.uri.query().unwrap_or_default();
    let job = job(&document, query, &parts.headers, receiver.limits.shard_timeout);
    let (sender, outcome) = oneshot::channel();
    let task = Arc::clone(receiver);
    receiver.deliveries.spawn(async move {
        // The client may have left; what was stored is counted all the same.
        sender.send(deliver(&task, received, job).await).ok();
    });
    match outcome.await {
        Ok(Ok(Some(whole))) => {
            let created = whole.status == 201;
            let mut reply = respond::plain(whole, &parts.headers);
            if let Some(location) = document.location().filter(|_| created) {
                reply.headers_mut().insert(hyper::header::LOCATION, location);
            }
            reply
        }
        Ok(Ok(None)) => {
            let path = parts.uri.path_and_query().map_or("/", |it| it.as_str());
            let asked = pass::Asked { method: parts.method, path, headers: parts.headers };
            pass::answer_with(receiver, asked, Some(as_it_came.into()), Pass::Write).await
        }
        Ok(Err(refusal)) => respond::refuse(&refusal, &parts.headers),
        Err(_gone) => {
            let reason = "the request was not seen through to its end: send it again".into();
            let refusal = refusal(503, "k8scop_internal_exception", reason);
            respond::refuse(&refusal, &parts.headers)
        }
    }
}

impl Document {
    /// Where the document is, once it is stored under the client's `_id`.
    fn location(&self) -> Option<HeaderValue> {
        let encode = |text| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                .to_string()
        };
        let text = format!("/{}/_doc/{}", encode(&self.index), encode(self.id.as_ref()?));
        HeaderValue::from_str(&text).ok()
    }
}

/// The document's action as a bulk request spells it.
struct Job {
    action: String,
    defaults: Defaults,
    passed: Passed,
}

fn job(document: &Document, query: &str, headers: &HeaderMap, shard_timeout: Duration) -> Job {
    let (mut op, mut own, mut rest) = (document.op, String::new(), Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("op_type", "create")) => op = Op::Create,
            Some(("op_type", "index")) => (),
            Some((
                name @ ("version" | "version_type" | "if_seq_no" | "if_primary_term"),
                value,
            )) => {
                own.push_str(",\"");
                own.push_str(name);
                own.push_str("\":");
                json::push_string(&mut own, value);
            }
            _ => rest.push(pair),
        }
    }
    let mut action = format!("{{\"{}\":{{\"_index\":", op.name());
    json::push_string(&mut action, &document.index);
    if let Some(id) = &document.id {
        action.push_str(",\"_id\":");
        json::push_string(&mut action, id);
    }
    action.push_str(&own);
    action.push_str("}}\n");
    let Params { defaults, passed, .. } =
        params::params(Defaults::default(), &rest.join("&"), headers, shard_timeout);
    Job { action, defaults, passed }
}

/// The answer, or `None` for a document that is no audit event.
async fn deliver(
    receiver: &Arc<Receiver>,
    received: body::Received,
    job: Job,
) -> Result<Option<Whole>, Refusal> {
    let started = Instant::now();
    let worker = Arc::clone(receiver);
    let Job { action, defaults, passed } = job;
    let prepared =
        tokio::task::spawn_blocking(move || prepare(&worker, received, action, defaults)).await;
    let prepared = prepared.map_err(|error| {
        tracing::error!(%error, "a document could not be prepared");
        refusal(503, "k8scop_internal_exception", "the request could not be prepared".into())
    })??;
    let Some((prepared, origin, _share)) = prepared else { return Ok(None) };
    // Counted as a bulk request of one item.
    let road = Road { input: Input::Bulk, passed, time: receiver.limits.request_deadline };
    Ok(Some(match bulk::settle(receiver, prepared, origin, &road, started).await {
        Outcome::Whole(whole) => whole,
        Outcome::Items { body: answer, heads, .. } => {
            let (status, body) = single(&answer);
            Whole { status, body: body.into(), retry_after_s: None, heads }
        }
    }))
}

fn prepare(
    receiver: &Receiver,
    received: body::Received,
    mut lines: String,
    defaults: Defaults,
) -> Result<Option<(Prepared, Option<Origin>, Share)>, Refusal> {
    let (body, share) = bulk::decoded(receiver, received, Input::Bulk)?;
    let Ok(text) = std::str::from_utf8(&body) else { return Ok(None) };
    // JSON has line breaks between its parts only. Inside a string they are an error, which is not mended here.
    if json::check(text, json::DEPTH_MAX).is_err() {
        return Ok(None);
    }
    lines.extend(text.chars().map(|it| if matches!(it, '\n' | '\r') { ' ' } else { it }));
    lines.push('\n');
    let (prepared, origin, share) =
        bulk::in_room(receiver, lines.into(), defaults, share, |room, body, defaults| {
            receiver.preparer.prepare_for(None, room, body, defaults, Timestamp::now())
        })?;
    let is_file = matches!(receiver.forwarder.output(), Output::File(_));
    // What is not to be stored must not be by this road either.
    let dropped: u64 = prepared.counts.dropped.iter().sum();
    if prepared.counts.audit_sum() == 0 && dropped == 0 && !is_file {
        return Ok(None);
    }
    Ok(Some((prepared, origin, share)))
}
