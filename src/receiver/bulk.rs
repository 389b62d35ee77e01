use std::{borrow::Cow, sync::Arc, time::Instant};

use hyper::{
    HeaderMap, Request,
    body::Incoming,
    header::{self, HeaderValue},
};
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::{Receiver, Reply, body, budget::Share, pass, respond};
use crate::{
    bulk::{AnswerItem, Defaults, Refusal},
    forward::{Delivery, Passed, Whole},
    metrics::{Metrics, PROVIDERS},
    prepare::{Prepared, Tally},
    unwrap::Reduced,
};

/// The label `input` of what is counted here.
const INPUT: &str = "bulk";

/// Where a bulk request goes by its path: `/_bulk` or `/{index}/_bulk`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target(Option<String>);

/// The target, if the path is one of bulk requests, however it is spelled: Elasticsearch decodes the parts of a
/// path and passes over empty ones.
pub(super) fn target(path: &str) -> Option<Target> {
    let decoded = |part| percent_encoding::percent_decode_str(part).decode_utf8().ok();
    let parts: Vec<_> =
        path.split('/').filter(|it| !it.is_empty()).map(decoded).collect::<Option<_>>()?;
    match parts.as_slice() {
        [bulk] if bulk == "_bulk" => Some(Target(None)),
        [index, bulk] if bulk == "_bulk" => Some(Target(Some(index.clone().into_owned()))),
        _ => None,
    }
}

/// Answers a bulk request.
///
/// Until the body is in, a client that goes away costs nothing: the future is dropped and its share of the
/// budget with it. From then on the request belongs to a task of its own, which sees it through to its counts.
pub(super) async fn answer(
    receiver: &Arc<Receiver>,
    request: Request<Incoming>,
    target: Target,
) -> Reply {
    let (parts, incoming) = request.into_parts();
    let headers = parts.headers;
    let received = match body::receive(&headers, incoming, &receiver.limits, &receiver.budget).await
    {
        Ok(received) => received,
        Err(refusal) => return refused(&refusal, &headers),
    };
    let (defaults, passed) = passed(target, parts.uri.query().unwrap_or_default(), &headers);
    let (sender, answer) = oneshot::channel();
    let task = Arc::clone(receiver);
    receiver.deliveries.spawn(async move {
        let outcome = deliver(&task, received, defaults, passed).await;
        // The client went away: what was stored is counted, and the shipper will ask again.
        if sender.send(outcome).is_err() {
            tracing::debug!("the client left before its answer");
        }
    });
    match answer.await {
        Ok(Ok((outcome, share))) => respond::held(outcome, &headers, share),
        Ok(Err(refusal)) => refused(&refusal, &headers),
        Err(_gone) => {
            let reason = "the request was not seen through to its end: send it again".into();
            refused(&Refusal { status: 503, kind: "k8scop_internal_exception", reason }, &headers)
        }
    }
}

/// A refusal while the body may be unread: the connection cannot be used again.
fn refused(refusal: &Refusal, headers: &HeaderMap) -> Reply {
    let mut reply = respond::refuse(refusal, headers);
    if matches!(refusal.status, 408 | 413 | 415) {
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

async fn deliver(
    receiver: &Arc<Receiver>,
    received: body::Received,
    defaults: Defaults,
    passed: Passed,
) -> Result<(Whole, Share), Refusal> {
    let started = Instant::now();
    let worker = Arc::clone(receiver);
    let prepared = tokio::task::spawn_blocking(move || prepare(&worker, received, &defaults)).await;
    let (prepared, share) = prepared.map_err(|error| {
        tracing::error!(%error, "a bulk request could not be prepared");
        Refusal {
            status: 503,
            kind: "k8scop_internal_exception",
            reason: "the request could not be prepared".into(),
        }
    })??;
    // From here on: a body that takes long to read must not be sent back unsent, again and again.
    let deadline = tokio::time::Instant::now() + receiver.limits.request_deadline;
    let mut in_flight = InFlight::new(&receiver.metrics, prepared.item_count());
    let answers = settled(receiver, &prepared, &passed, deadline).await;
    let rules = receiver.preparer.classifier().rules();
    let whole = match answers {
        Delivery::Whole(whole) => {
            in_flight.settle_all(whole.status);
            whole
        }
        Delivery::Items(answers) => {
            let title = |it: usize| rules.get(it).map(|it| it.title.clone()).unwrap_or_default();
            let (body, tally) = prepared.reply(&answers, started.elapsed().as_millis(), &title);
            in_flight.settle(&tally);
            count_alerts(receiver, &tally);
            Whole { status: 200, body: body.into(), retry_after_s: None }
        }
    };
    Ok((whole, share))
}

/// Delivers the batch, and then what Elasticsearch would not take of it in a form that it takes.
async fn settled(
    receiver: &Receiver,
    prepared: &Prepared,
    passed: &Passed,
    deadline: tokio::time::Instant,
) -> Delivery {
    if prepared.batch.slot_count() == 0 {
        return Delivery::Items(Vec::new());
    }
    let mut answers = match receiver.forwarder.deliver(&prepared.batch, passed, deadline).await {
        Delivery::Items(answers) => answers,
        whole @ Delivery::Whole(_) => return whole,
    };
    for form in [Reduced::WithoutObjects, Reduced::TextOnly] {
        let Some((batch, slots)) = prepared.reduced(&answers, form) else { break };
        let second = match receiver.forwarder.deliver(&batch, passed, deadline).await {
            Delivery::Items(second) => second,
            // It could not be tried: what was refused is not refused for good.
            Delivery::Whole(whole) => vec![AnswerItem::unavailable(&whole.body); slots.len()],
        };
        for (slot, answer) in slots.into_iter().zip(second) {
            // Refused again, it keeps the first reason: that one tells of the document as it was meant.
            if let Some(first) = answers.get_mut(slot).filter(|_| answer.status != 400) {
                receiver.metrics.reduced_events.inc_by(u64::from(answer.status < 300));
                *first = answer;
            }
        }
    }
    Delivery::Items(answers)
}

/// The part that keeps a core busy.
fn prepare(
    receiver: &Receiver,
    received: body::Received,
    defaults: &Defaults,
) -> Result<(Prepared, Share), Refusal> {
    let metrics = &receiver.metrics;
    metrics.received_bytes.with_label_values(&[INPUT]).inc_by(received.bytes.len() as u64);
    let (body, mut share) = received.decoded(receiver.limits.decoded_bytes_max)?;
    metrics.decoded_bytes.with_label_values(&[INPUT]).inc_by(body.len() as u64);
    let is_empty = body.is_empty();
    let prepared =
        receiver.preparer.prepare(&body, defaults, Timestamp::now()).map_err(|error| Refusal {
            status: 413,
            kind: "content_too_long_exception",
            reason: error.to_string(),
        })?;
    // What goes out and what is answered may be larger than what came in.
    drop(body);
    if !share.try_grow_to(prepared.weight_bytes()) {
        return Err(body::busy());
    }
    if prepared.item_count() == 0 {
        // Elasticsearch 8.19's words and status for a body without actions.
        let (kind, reason) = if is_empty {
            ("parse_exception", "request body is required")
        } else {
            ("action_request_validation_exception", "Validation Failed: 1: no requests added;")
        };
        return Err(Refusal { status: 400, kind, reason: reason.into() });
    }
    let counts = &prepared.counts;
    let plain = counts.audit - counts.eks;
    for (provider, count) in PROVIDERS.into_iter().zip([plain, counts.eks]) {
        metrics.unwrapped_events.with_label_values(&[provider]).inc_by(count);
    }
    metrics.decode_errors.with_label_values(&[INPUT, "broken_audit_event"]).inc_by(counts.broken);
    for (rule, count) in &counts.hits {
        if let Some(rule) = receiver.preparer.classifier().rules().get(*rule) {
            metrics
                .rule_matches
                .with_label_values(&[rule.title.as_str(), rule.level.name()])
                .inc_by(*count);
        }
    }
    Ok((prepared, share))
}

fn count_alerts(receiver: &Receiver, tally: &Tally) {
    let metrics = &receiver.metrics;
    for (result, count) in [
        ("created", tally.alerts_created.len() as u64),
        ("duplicate", tally.alerts_duplicate),
        ("failed", tally.alerts_failed),
    ] {
        metrics.settled_alerts.with_label_values(&[result]).inc_by(count);
    }
    for rule in &tally.alerts_created {
        if let Some(rule) = receiver.preparer.classifier().rules().get(*rule) {
            metrics.alerts.with_label_values(&[rule.title.as_str(), rule.level.name()]).inc();
        }
    }
}

/// Items that are taken in and not answered. Whatever happens to their task, they are counted as something.
struct InFlight<'m> {
    metrics: &'m Metrics,
    items: u64,
}

impl<'m> InFlight<'m> {
    fn new(metrics: &'m Metrics, items: usize) -> Self {
        let items = items as u64;
        let _moving = metrics.moving();
        metrics.items_in_flight.add(i64::try_from(items).unwrap_or(i64::MAX));
        metrics.received_items.with_label_values(&[INPUT]).inc_by(items);
        Self { metrics, items }
    }

    fn settle(&mut self, tally: &Tally) {
        let _moving = self.metrics.moving();
        let results = [
            ("stored", tally.stored),
            ("duplicate", tally.duplicate),
            ("rejected", tally.rejected),
            ("returned", tally.returned),
        ];
        for (result, count) in results {
            self.metrics.settled_items.with_label_values(&[result]).inc_by(count);
        }
        let settled = tally.stored + tally.duplicate + tally.rejected + tally.returned;
        debug_assert_eq!(settled, self.items, "every item is settled once");
        self.leave();
    }

    fn settle_all(&mut self, status: u16) {
        let _moving = self.metrics.moving();
        let result = if status == 429 || status >= 500 { "returned" } else { "rejected" };
        self.metrics.settled_items.with_label_values(&[result]).inc_by(self.items);
        self.leave();
    }

    fn leave(&mut self) {
        self.metrics
            .items_in_flight
            .sub(i64::try_from(std::mem::take(&mut self.items)).unwrap_or(i64::MAX));
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if self.items > 0 {
            self.settle_all(503);
        }
    }
}

/// Sorts what URL and headers say into what is meant for the items and what goes along to Elasticsearch. What
/// shapes the answer (`filter_path`, `pretty`, …) stays here: we have to read Elasticsearch's, and write ours.
fn passed(target: Target, query: &str, headers: &HeaderMap) -> (Defaults, Passed) {
    let mut defaults = Defaults { index: target.0, ..Defaults::default() };
    let mut rest = Vec::new();
    for pair in query.split('&').filter(|it| !it.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = || decoded(value).into_owned();
        match name {
            "pipeline" => defaults.pipeline = Some(text()),
            "routing" => defaults.routing = Some(text()),
            "require_alias" => defaults.require_alias = Some(value != "false"),
            "require_data_stream" => defaults.require_data_stream = Some(value != "false"),
            "filter_path" | "pretty" | "human" | "format" => (),
            _ => rest.push(pair),
        }
    }
    let mut headers = pass::end_to_end(headers);
    let is_ours = |value: &HeaderValue| {
        value.to_str().is_ok_and(|it| it.starts_with("application/vnd.elasticsearch+"))
    };
    if !headers.get(header::CONTENT_TYPE).is_some_and(is_ours) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
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
    (defaults, Passed { headers, query: rest.join("&") })
}

fn decoded(value: &str) -> Cow<'_, str> {
    percent_encoding::percent_decode_str(value).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(target("/_bulk"), Some(Target(None)));
        for path in ["/_bulk/", "//_bulk", "/%5fbulk"] {
            assert_eq!(target(path), Some(Target(None)), "{path}");
        }
        assert_eq!(target("/logs-x/_bulk"), Some(Target(Some("logs-x".into()))));
        assert_eq!(
            target("/%3Clogs-%7Bnow%2Fd%7D%3E/_bulk"),
            Some(Target(Some("<logs-{now/d}>".into())))
        );
        for path in ["/", "/_bulk/x", "/a/b/_bulk", "/x/_doc", "/%ff/_bulk"] {
            assert_eq!(target(path), None, "{path}");
        }
    }

    #[test]
    fn parameters_go_where_they_belong() {
        let query = "filter_path=errors&refresh=wait_for&pipeline=a%20b&routing=r&require_alias=true&timeout=60s&pretty";
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
        let (defaults, passed) = passed(Target(None), query, &headers);
        assert_eq!(defaults.pipeline.as_deref(), Some("a b"));
        assert_eq!((defaults.routing.as_deref(), defaults.require_alias), (Some("r"), Some(true)));
        assert_eq!(passed.query, "refresh=wait_for&timeout=60s");
        let mut names: Vec<_> = passed.headers.keys().map(|it| it.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "authorization", "content-type", "x-opaque-id"]);
    }
}
