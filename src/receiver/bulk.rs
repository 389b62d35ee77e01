use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hyper::{HeaderMap, Request, body::Incoming, header};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{
    Input, Receiver, Reply, Who, body,
    budget::Share,
    guard::Activity,
    params::{self, Media, Params, Shape},
    pass, respond,
    respond::refusal,
    route::Pass,
};
use crate::{
    alerts::{Counted, Sender},
    bulk::{Defaults, Refusal, error_body},
    delivery::{InFlight, Origin, count_alerts, count_found, keep, settled},
    forward::{Delivery, Heads, Output, Passed, Product, Whole, may_pass_later, whole_of},
    json,
    prepare::{Ask, Prepared, Room, Tally, TooLarge},
};

/// Answers a bulk request.
///
/// Until the body is in, a client that goes away costs nothing: the future is dropped and its share of the
/// budget with it. From then on the request belongs to a task of its own, which sees it through to its counts.
pub(super) async fn answer(
    receiver: &Arc<Receiver>,
    request: Request<Incoming>,
    defaults: Defaults,
    who: Option<Who>,
) -> Reply {
    // Elasticsearch refuses media types that it does not know, and paths with types since 8, in its own words.
    let is_file = matches!(receiver.forwarder.output(), Output::File(_));
    if params::media(request.headers()) == Media::Unknown && !is_file
        || defaults.kind.is_some()
            && product(receiver, request.headers()).await.is_some_and(|it| !it.has_types())
    {
        return pass::answer(receiver, request, Pass::Write).await;
    }
    if params::media(request.headers()) != Media::Lines {
        return respond::close(respond::refuse(&params::not_lines(), request.headers()));
    }
    let (mut parts, mut incoming) = request.into_parts();
    let activity = parts.extensions.remove::<Arc<Activity>>();
    let headers = parts.headers;
    let query = parts.uri.query().unwrap_or_default();
    let Params { defaults, mut passed, shape } =
        params::params(defaults, query, &headers, receiver.limits.shard_timeout);
    if params::is_vendored(&headers)
        && product(receiver, &headers).await.is_some_and(|it| it.is_opensearch)
    {
        params::unvendor(&mut passed.headers);
    }
    let shape = match Shaping::new(&shape) {
        Ok(shape) => shape,
        Err(refusal) => return respond::close(respond::refuse(&refusal, &headers)),
    };
    let told_items = body::number(&headers, "x-elastic-event-count");
    let items_max = receiver.preparer.items_max();
    if told_items.is_some_and(|it| it > items_max as u64) {
        let reason = format!(
            "the request has more than {items_max} items (limits.items_max): send smaller batches"
        );
        let refusal = refusal(413, "content_too_long_exception", reason);
        return receiver.refuse_body(&refusal, &headers, incoming, activity);
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
        Err(refusal) => return receiver.refuse_body(&refusal, &headers, incoming, activity),
    };
    if let Some(activity) = &activity {
        activity.answers();
    }
    let refuse = {
        let shape = shape.clone();
        move |refusal: &Refusal, headers: &HeaderMap| {
            let body = shape.error(error_body(refusal).into());
            respond::json(refusal.status, body, headers)
        }
    };
    let job = Job { who, received, defaults, passed, shape, told_items };
    let (sender, answer) = oneshot::channel();
    let task = Arc::clone(receiver);
    receiver.deliveries.spawn(async move {
        let outcome = deliver(&task, job).await;
        // The client went away: what was stored is counted, and the shipper will ask again.
        if sender.send(outcome).is_err() {
            tracing::debug!("the client left before its answer");
        }
    });
    match answer.await {
        Ok(Ok((outcome, share))) => respond::held(outcome, &headers, share),
        Ok(Err(refusal)) => refuse(&refusal, &headers),
        Err(_gone) => {
            let reason = "the request was not seen through to its end: send it again".into();
            respond::refuse(&refusal(503, "k8scop_internal_exception", reason), &headers)
        }
    }
}

/// What the cluster is, if it is one and can be asked.
async fn product(receiver: &Receiver, headers: &HeaderMap) -> Option<Product> {
    match receiver.forwarder.output() {
        Output::Elasticsearch(output) => output.product(headers).await,
        Output::File(_) => None,
    }
}

/// A request whose body is in.
struct Job {
    /// Who may write only some indices.
    who: Option<Who>,
    received: body::Received,
    defaults: Defaults,
    passed: Passed,
    shape: Shaping,
    /// What the client says how many items it has (`X-Elastic-Event-Count`).
    told_items: Option<u64>,
}

/// How the answer is shaped.
#[derive(Clone)]
struct Shaping {
    filter: Option<json::Filter>,
    pretty: bool,
}

impl Shaping {
    fn new(shape: &Shape) -> Result<Self, Refusal> {
        let path = shape.filter_path.as_deref().unwrap_or_default();
        let filter = json::Filter::parse(path).map_err(|error| {
            refusal(400, "illegal_argument_exception", format!("filter_path: {error}"))
        })?;
        Ok(Self { filter, pretty: shape.pretty })
    }

    fn shaped(&self, answer: String) -> String {
        let answer = match &self.filter {
            Some(filter) => filter.apply(&answer),
            None => answer,
        };
        if self.pretty { json::pretty(&answer) } else { answer }
    }

    /// An error is never filtered.
    fn error(&self, body: Bytes) -> Bytes {
        match std::str::from_utf8(&body) {
            Ok(text) if self.pretty && json::check(text, json::DEPTH_MAX).is_ok() => {
                json::pretty(text).into()
            }
            _ => body,
        }
    }
}

async fn deliver(receiver: &Arc<Receiver>, job: Job) -> Result<(Whole, Share), Refusal> {
    let started = Instant::now();
    let worker = Arc::clone(receiver);
    let Job { who, received, defaults, passed, shape, told_items } = job;
    let prepared = tokio::task::spawn_blocking(move || {
        prepare(&worker, received, defaults, told_items, who.as_ref())
    })
    .await;
    let (prepared, origin, share) = prepared.map_err(|error| {
        tracing::error!(%error, "a bulk request could not be prepared");
        refusal(503, "k8scop_internal_exception", "the request could not be prepared".into())
    })??;
    let road = Road { input: Input::Bulk, passed, time: receiver.limits.request_deadline };
    let whole = match settle(receiver, prepared, origin, &road, started).await {
        Outcome::Whole(whole) => Whole { body: shape.error(whole.body), ..whole },
        Outcome::Items { body, heads, .. } => {
            Whole { status: 200, body: shape.shaped(body).into(), retry_after_s: None, heads }
        }
    };
    Ok((whole, share))
}

/// What a request comes to.
pub(super) enum Outcome {
    /// An answer for each item: the body of the answer, headers, and how the items ended.
    Items { body: String, heads: Heads, tally: Tally },
    /// One answer for all.
    Whole(Whole),
}

/// How a request goes to Elasticsearch.
pub(super) struct Road {
    /// Where it came in.
    pub(super) input: Input,
    /// What goes along.
    pub(super) passed: Passed,
    /// Longest time until it is answered.
    pub(super) time: Duration,
}

/// Delivers what was prepared, counts it and writes the answer.
pub(super) async fn settle(
    receiver: &Receiver,
    mut prepared: Prepared,
    origin: Option<Origin>,
    road: &Road,
    started: Instant,
) -> Outcome {
    let Road { input, passed, time } = road;
    count_found(&receiver.metrics, &prepared, input.name());
    // From here on: a body that takes long to read must not be sent back unsent, again and again.
    let deadline = tokio::time::Instant::now() + *time;
    let mut in_flight = InFlight::new(&receiver.metrics, input.name(), prepared.item_count());
    let answers =
        settled((&receiver.forwarder, &receiver.metrics), &prepared, None, passed, deadline).await;
    let classifier = Arc::clone(&prepared.classifier);
    let rules = classifier.rules();
    match answers {
        Delivery::Whole(whole) => {
            in_flight.settle_all(whole.status);
            Outcome::Whole(whole)
        }
        Delivery::Items(answers, heads) => {
            // Before the shipper hears of it: what it does not send again is seen, even if we are killed.
            let newest_us = std::mem::take(&mut prepared.counts.newest_us);
            if !newest_us.is_empty() {
                let authorization = passed.headers.get(header::AUTHORIZATION);
                let events = prepared.take_observed(&answers);
                receiver.correlator.observe(events, newest_us, authorization).await;
            }
            let dead = match (&receiver.dead_letters, origin) {
                (Some(office), Some(origin)) => {
                    keep(office, &prepared, &answers, origin, passed, deadline).await
                }
                _ => Vec::new(),
            };
            let title = |it: usize| rules.get(it).map(|it| it.title.clone()).unwrap_or_default();
            let took_ms = started.elapsed().as_millis();
            let (body, tally) = prepared.reply(&answers, &dead, took_ms, &title);
            in_flight.settle(&tally);
            count_alerts(&receiver.metrics, rules, &tally);
            let sender = passed.headers.get(header::AUTHORIZATION).map(|it| it.as_bytes());
            let (outcome, now) = (prepared.outcome(&answers), Timestamp::now().as_millisecond());
            let held =
                receiver.preparer.ledger().settle(&outcome, rules, &Sender::new(sender), now);
            for Counted { rule, level, reason, count } in held {
                receiver.metrics.suppressed(rules, rule, level, reason, count);
            }
            // Said of the whole request, a refusal loses nothing with any shipper; said of items, it does with some.
            // No item is stored, though an alert may be: no shipper can tell. Some are: theirs is sent again.
            let is_none = tally.returned == prepared.item_count() as u64;
            let is_part = tally.returned > 0
                && loses_parts(&passed.headers)
                && prepared.may_be_repeated(&answers);
            if (is_none || is_part)
                && let Some(answer) = answers.iter().find(|it| may_pass_later(it.status))
            {
                return Outcome::Whole(whole_of(answer));
            }
            Outcome::Items { body, heads, tally }
        }
    }
}

/// Whether a shipper takes an answer with some refused items for the answer to all: Fluent Bit 5.1 for success
/// (`plugins/out_es/es.c`, `elasticsearch_error_check`), Vector 0.58 for failure for good, unless it is told
/// `request_retry_partial` (`src/sinks/elasticsearch/retry.rs`).
fn loses_parts(headers: &HeaderMap) -> bool {
    let agent = headers.get(header::USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    agent.starts_with("Fluent-Bit") || agent.starts_with("Vector/")
}

/// The part that keeps a core busy.
fn prepare(
    receiver: &Receiver,
    received: body::Received,
    defaults: Defaults,
    told_items: Option<u64>,
    who: Option<&Who>,
) -> Result<(Prepared, Option<Origin>, Share), Refusal> {
    let (body, share) = decoded(receiver, received, Input::Bulk)?;
    let is_empty = body.is_empty();
    let (prepared, origin, share) =
        in_room(receiver, body, defaults, share, |room, body, defaults| {
            let writer = who.map(Who::writer);
            receiver.preparer.prepare_for(writer, room, body, defaults, Timestamp::now())
        })?;
    if prepared.item_count() == 0 {
        // Elasticsearch 8.19's words and status for a body without actions.
        let (kind, reason) = if is_empty {
            ("parse_exception", "request body is required")
        } else {
            ("action_request_validation_exception", "Validation Failed: 1: no requests added;")
        };
        return Err(refusal(400, kind, reason.into()));
    }
    if let Some(told) = told_items.filter(|it| *it != prepared.item_count() as u64) {
        return Err(refusal(
            400,
            "parse_exception",
            format!(
                "the body has {} items, but X-Elastic-Event-Count says {told}: it was changed on the way",
                prepared.item_count()
            ),
        ));
    }
    Ok((prepared, origin, share))
}

/// Prepares a bulk body within the budget.
pub(super) fn in_room(
    receiver: &Receiver,
    body: Bytes,
    defaults: Defaults,
    share: Share,
    prepare: impl FnOnce(Room<'_>, &[u8], &Defaults) -> Result<Prepared, TooLarge>,
) -> Result<(Prepared, Option<Origin>, Share), Refusal> {
    // Before the work, not after it: a small body may have very many items. Each has a line at least.
    let items = memchr::memchr_iter(b'\n', &body).count().saturating_add(1);
    let mut share = share;
    grow(&mut share, Prepared::weight_bytes_of(items.min(receiver.preparer.items_max())))?;
    let growing = RefCell::new((share, None));
    let room = |bytes: Ask| {
        let (share, turn) = &mut *growing.borrow_mut();
        match bytes {
            Ask::Ahead(bytes) => share.try_grow_to(bytes),
            Ask::Needed(bytes) => share.grow_in_turn_to(bytes, turn),
        }
    };
    let prepared = prepare(&room, &body, &defaults);
    // The turn is held to the end of what may grow.
    let (mut share, mut turn) = growing.into_inner();
    let prepared = prepared.map_err(|error| match error {
        TooLarge::NoRoom { bytes } if share.could_grow_to(bytes) => body::busy(),
        error => refusal(413, "content_too_long_exception", error.to_string()),
    })?;
    // What goes out and what is answered may be larger than what came in.
    let origin = receiver.dead_letters.is_some().then_some(Origin { body, defaults });
    // All of it may have to be kept.
    let kept_bytes = origin.as_ref().map_or(0, |it| it.body.len() + escaped_len(&it.body)) as u64;
    let bytes = prepared.weight_bytes() + kept_bytes;
    if !share.grow_in_turn_to(bytes, &mut turn) {
        grow(&mut share, bytes)?;
    }
    // It may have asked for more on the way than it took.
    share.shrink_to(bytes);
    Ok((prepared, origin, share))
}

/// How long bytes are at most as a JSON string.
pub(super) fn escaped_len(bytes: &[u8]) -> usize {
    let escapes = bytes.iter().filter(|it| **it < b' ' || matches!(**it, b'"' | b'\\'));
    bytes.len() + escapes.map(|it| if *it < b' ' { 5 } else { 1 }).sum::<usize>()
}

/// Takes more of the budget. What is more than all of it would be sent again for ever.
pub(super) fn grow(share: &mut Share, bytes: u64) -> Result<(), Refusal> {
    if !share.could_grow_to(bytes) {
        return Err(refusal(
            413,
            "content_too_long_exception",
            format!(
                "the request takes {bytes} bytes, more than limits.in_flight_bytes_max: send smaller batches"
            ),
        ));
    }
    if share.try_grow_to(bytes) { Ok(()) } else { Err(body::busy()) }
}

/// The decompressed body, counted.
pub(super) fn decoded(
    receiver: &Receiver,
    received: body::Received,
    input: Input,
) -> Result<(Bytes, Share), Refusal> {
    let metrics = &receiver.metrics;
    metrics.received_bytes.with_label_values(&[input.name()]).inc_by(received.bytes.len() as u64);
    let (body, share) = received.decoded(receiver.limits.decoded_bytes_max)?;
    metrics.decoded_bytes.with_label_values(&[input.name()]).inc_by(body.len() as u64);
    Ok((body, share))
}
