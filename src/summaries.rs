//! Tells how many alerts were held: alerts of our own, which are tried until they are stored.

use std::{sync::Arc, time::Duration};

use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
};
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    alerts::{Ledger, Sender, Summary},
    bulk::OutgoingBatch,
    forward::{Delivery, Forwarder, Passed},
    metrics::Metrics,
    prepare::Preparer,
};

/// How often it is looked for what is due.
const PAUSE: Duration = Duration::from_secs(1);
/// Most summaries in one request.
const BATCH_MAX: usize = 500;
/// Longest time for one request with all its tries.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// First and longest wait after a request that brought nothing.
const WAITS_MS: (i64, i64) = (5_000, 300_000);
/// How often a summary is tried: for about a day.
const TRIES_MAX: u32 = 300;

/// Sends summaries.
#[derive(Debug)]
pub struct Summaries {
    preparer: Arc<Preparer>,
    forwarder: Arc<Forwarder>,
    metrics: Arc<Metrics>,
}

impl Summaries {
    /// `forwarder` stores them where alerts are stored.
    #[must_use]
    pub fn new(preparer: Arc<Preparer>, forwarder: Arc<Forwarder>, metrics: Arc<Metrics>) -> Self {
        Self { preparer, forwarder, metrics }
    }

    fn ledger(&self) -> &Ledger {
        self.preparer.ledger()
    }

    /// Sends what is due until it is told to stop.
    pub async fn send(self: Arc<Self>, stop: CancellationToken) {
        loop {
            self.measure();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => (),
            }
            let now_ms = Timestamp::now().as_millisecond();
            self.round(now_ms, Instant::now() + REQUEST_TIME, &stop).await;
        }
    }

    /// Sends all that there are, due or not. Gives up at the deadline, and says so.
    pub async fn flush(&self, deadline: Instant) {
        let goes_on = CancellationToken::new();
        loop {
            self.round(i64::MAX, deadline, &goes_on).await;
            self.measure();
            let (_, _, waiting) = self.ledger().sizes();
            if waiting == 0 {
                return;
            }
            if Instant::now() + PAUSE >= deadline {
                let lost = self.ledger().due(i64::MAX, usize::MAX);
                let alerts: u64 = lost.iter().map(|it| it.count).sum();
                self.failed(lost.len());
                tracing::error!(
                    summaries = lost.len(),
                    alerts,
                    "stopped before it was told how many alerts were held: their events have the rules' names"
                );
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Sends what is due by then, in requests with one sender each.
    async fn round(&self, due_ms: i64, deadline: Instant, stop: &CancellationToken) {
        loop {
            let due = self.ledger().due(due_ms, BATCH_MAX);
            if due.is_empty() {
                return;
            }
            let mut by_sender: Vec<(Sender, Vec<Summary>)> = Vec::new();
            for summary in due {
                match by_sender.iter_mut().find(|(it, _)| *it == summary.sender) {
                    Some((_, all)) => all.push(summary),
                    None => by_sender.push((summary.sender.clone(), vec![summary])),
                }
            }
            let mut is_good = true;
            for (sender, summaries) in by_sender {
                is_good &= self.deliver(&sender, summaries, deadline, stop).await;
            }
            if !is_good || stop.is_cancelled() {
                return;
            }
        }
    }

    /// Stores summaries, and puts those back that are not. Whether all are stored.
    async fn deliver(
        &self,
        sender: &Sender,
        summaries: Vec<Summary>,
        deadline: Instant,
        stop: &CancellationToken,
    ) -> bool {
        let (mut body, mut slots, now) = (String::new(), Vec::new(), Timestamp::now());
        for summary in &summaries {
            let start = body.len();
            summary.write(now, &mut body);
            slots.push(start..body.len());
        }
        let (batch, passed) = (OutgoingBatch::new(body, slots), passed(sender));
        let delivery = tokio::select! {
            // What is stored all the same is found under its id.
            () = stop.cancelled() => None,
            it = self.forwarder.deliver(&batch, &passed, deadline) => Some(it),
        };
        let (statuses, reason): (Vec<u16>, _) = match &delivery {
            None => (vec![503; summaries.len()], String::new()),
            Some(Delivery::Whole(whole)) => (
                vec![whole.status; summaries.len()],
                String::from_utf8_lossy(whole.body.get(..500).unwrap_or(&whole.body)).into_owned(),
            ),
            Some(Delivery::Items(answers, _)) => {
                let bad = answers.iter().find(|it| !is_stored(it.status));
                let reason = bad.map(|it| it.error()).unwrap_or_default();
                (answers.iter().map(|it| it.status).collect(), reason)
            }
        };
        let (mut stored, mut given_up, mut again) = (0, 0, 0_usize);
        let statuses = statuses.into_iter().chain(std::iter::repeat(503));
        for (summary, status) in summaries.into_iter().zip(statuses) {
            if is_stored(status) {
                stored += 1;
            } else if summary.tries >= TRIES_MAX {
                given_up += 1;
                let (rule, alerts) = (&summary.title, summary.count);
                tracing::error!(%rule, alerts, status, "it cannot be told how many alerts were held");
            } else {
                again += 1;
                let (first, longest) = WAITS_MS;
                let wait_ms = first.saturating_mul(1 << summary.tries.min(10)).min(longest);
                self.ledger().put_back(summary, now.as_millisecond().saturating_add(wait_ms));
            }
        }
        self.metrics.alert_summaries.with_label_values(&["stored"]).inc_by(stored);
        self.failed(given_up);
        if again > 0 && delivery.is_some() {
            tracing::warn!(
                summaries = again,
                %reason,
                "it cannot be told now how many alerts were held: trying again"
            );
        }
        again + given_up == 0
    }

    fn failed(&self, count: usize) {
        self.metrics.alert_summaries.with_label_values(&["failed"]).inc_by(count as u64);
    }

    fn measure(&self) {
        let (windows, evicted, summaries) = self.ledger().sizes();
        let number = |it: usize| i64::try_from(it).unwrap_or(i64::MAX);
        self.metrics.alert_windows.set(number(windows));
        self.metrics.alert_summaries_waiting.set(number(summaries));
        let known = self.metrics.alert_windows_evicted.get();
        self.metrics.alert_windows_evicted.inc_by(evicted.saturating_sub(known));
    }
}

fn is_stored(status: u16) -> bool {
    matches!(status, 200..300 | 409)
}

/// What goes along: the credentials, where the output wants those of who sends.
fn passed(sender: &Sender) -> Passed {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let authorization = sender.authorization().map(HeaderValue::from_bytes);
    if let Some(Ok(mut authorization)) = authorization {
        authorization.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, authorization);
    }
    Passed { headers, query: String::new(), sound: true }
}
