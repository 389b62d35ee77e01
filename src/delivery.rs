//! A prepared batch on its way to the output: delivered, delivered again in forms that are taken, kept as dead letters,
//! and counted. What comes in at any door leaves by this one.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::{
    alerts::Reason,
    bulk::{AnswerItem, Defaults},
    forward::{Delivery, Forwarder, Heads, Passed, may_pass_later},
    metrics::Metrics,
    prepare::{Letter, Prepared, Tally},
    receiver::DeadLetterOffice,
    rules::Rule,
    unwrap::{Broken, Dropped, Provider, Reduced},
};

/// Delivers the batch, or only the slots that are `chosen` (the others are answered as stored), and then what
/// Elasticsearch would not take of it in a form that it takes.
pub(crate) async fn settled(
    (forwarder, metrics): (&Forwarder, &Metrics),
    prepared: &Prepared,
    chosen: Option<&[usize]>,
    passed: &Passed,
    deadline: tokio::time::Instant,
) -> Delivery {
    let delivery = match chosen {
        _ if prepared.batch.slot_count() == 0 => Delivery::Items(Vec::new(), Heads::default()),
        None => forwarder.deliver(&prepared.batch, passed, deadline).await,
        Some(slots) => delivered(forwarder, prepared, slots, passed, deadline).await,
    };
    let (mut answers, heads) = match delivery {
        Delivery::Items(answers, heads) => (answers, heads),
        whole @ Delivery::Whole(_) => return whole,
    };
    for form in [Reduced::WithoutObjects, Reduced::TextOnly] {
        let Some((batch, slots)) = prepared.reduced(&answers, form) else { break };
        let second = match forwarder.deliver(&batch, passed, deadline).await {
            Delivery::Items(second, _) => second,
            // It could not be tried: what was refused is not refused for good.
            Delivery::Whole(whole) => vec![AnswerItem::unavailable(&whole.body); slots.len()],
        };
        for (slot, answer) in slots.into_iter().zip(second) {
            // Refused again, it keeps the first reason: that one tells of the document as it was meant.
            if let Some(first) = answers.get_mut(slot).filter(|_| answer.status != 400) {
                metrics.reduced_events.inc_by(u64::from(answer.status < 300));
                *first = answer;
            }
        }
    }
    Delivery::Items(answers, heads)
}

/// Delivers some slots of the batch.
async fn delivered(
    forwarder: &Forwarder,
    prepared: &Prepared,
    slots: &[usize],
    passed: &Passed,
    deadline: tokio::time::Instant,
) -> Delivery {
    let stored = AnswerItem { status: 200, object: r#"{"status":200}"#.into() };
    let mut answers = vec![stored; prepared.batch.slot_count()];
    if slots.is_empty() {
        return Delivery::Items(answers, Heads::default());
    }
    let batch = prepared.batch.of(slots);
    match forwarder.deliver(&batch, passed, deadline).await {
        Delivery::Items(heard, heads) => {
            for (slot, answer) in slots.iter().zip(heard) {
                if let Some(place) = answers.get_mut(*slot) {
                    *place = answer;
                }
            }
            Delivery::Items(answers, heads)
        }
        whole @ Delivery::Whole(_) => whole,
    }
}

/// Where a request came from, kept for its dead letters.
pub(crate) struct Origin {
    pub(crate) body: Bytes,
    pub(crate) defaults: Defaults,
}

/// Least time to keep dead letters.
const DEAD_LETTER_TIME: Duration = Duration::from_secs(5);

/// Keeps what is refused for good as dead letters. Gives back the places of the items, and what became of each.
pub(crate) async fn keep(
    office: &DeadLetterOffice,
    prepared: &Prepared,
    answers: &[AnswerItem],
    origin: Origin,
    passed: &Passed,
    deadline: tokio::time::Instant,
) -> Vec<(usize, Letter)> {
    let Origin { body, defaults } = origin;
    let now = Timestamp::now();
    let Some(letters) = prepared.dead_letters(answers, &body, &defaults, &office.namespace, now)
    else {
        return Vec::new();
    };
    let passed = Passed { headers: passed.headers.clone(), query: String::new(), sound: true };
    // The documents may have needed all the time that there was.
    let deadline = deadline.max(tokio::time::Instant::now() + DEAD_LETTER_TIME);
    let statuses: Vec<u16> = match office.forwarder.deliver(&letters.batch, &passed, deadline).await
    {
        Delivery::Items(kept, _) => kept.iter().map(|it| it.status).collect(),
        Delivery::Whole(whole) => vec![whole.status; letters.items.len()],
    };
    let letter = |status: u16| match status {
        200..300 | 409 => Some(Letter::Kept),
        status if may_pass_later(status) => Some(Letter::Later),
        // Refused for good too: the client hears that the document is.
        _ => None,
    };
    let letters = letters.items.into_iter().zip(statuses);
    letters.filter_map(|(place, status)| Some((place, letter(status)?))).collect()
}

/// Counts what was found in a request. `input` is one of [`crate::metrics::INPUTS`].
pub(crate) fn count_found(metrics: &Metrics, prepared: &Prepared, input: &str) {
    let counts = &prepared.counts;
    for (provider, count) in Provider::ALL.into_iter().zip(counts.audit) {
        metrics.unwrapped_events.with_label_values(&[provider.name()]).inc_by(count);
    }
    metrics.truncated_events.inc_by(counts.cut);
    metrics.control_plane_lines.inc_by(counts.lines);
    for (reason, count) in Dropped::ALL.into_iter().zip(counts.dropped) {
        metrics.dropped.with_label_values(&[reason.name()]).inc_by(count);
    }
    for (reason, count) in Broken::ALL.into_iter().zip(counts.broken) {
        metrics.decode_errors.with_label_values(&[input, reason.name()]).inc_by(count);
    }
    for (rule, count) in &counts.hits {
        if let Some(rule) = prepared.classifier.rules().get(*rule) {
            metrics
                .rule_matches
                .with_label_values(&[rule.title.as_str(), rule.level.name()])
                .inc_by(*count);
        }
    }
    for ((rule, level), count) in &counts.low {
        let rules = prepared.classifier.rules();
        metrics.suppressed(rules, *rule, *level, Reason::MinLevel, *count);
    }
}

/// Counts what became of alerts.
pub(crate) fn count_alerts(metrics: &Metrics, rules: &[Rule], tally: &Tally) {
    for (result, count) in [
        ("created", tally.alerts_created.len() as u64),
        ("duplicate", tally.alerts_duplicate),
        ("failed", tally.alerts_failed),
    ] {
        metrics.settled_alerts.with_label_values(&[result]).inc_by(count);
    }
    for (rule, level) in &tally.alerts_created {
        if let Some(rule) = rules.get(*rule) {
            metrics.alerts.with_label_values(&[rule.title.as_str(), level.name()]).inc();
        }
    }
}

/// Items that are taken in and not answered. Whatever happens to their task, they are counted as something.
pub(crate) struct InFlight<'m> {
    metrics: &'m Metrics,
    items: u64,
}

impl<'m> InFlight<'m> {
    /// `input` is one of [`crate::metrics::INPUTS`].
    pub(crate) fn new(metrics: &'m Metrics, input: &str, items: usize) -> Self {
        let items = items as u64;
        let _moving = metrics.moving();
        metrics.items_in_flight.add(i64::try_from(items).unwrap_or(i64::MAX));
        metrics.received_items.with_label_values(&[input]).inc_by(items);
        Self { metrics, items }
    }

    /// They ended so.
    pub(crate) fn settle(&mut self, tally: &Tally) {
        let _moving = self.metrics.moving();
        let results = [
            ("stored", tally.stored),
            ("duplicate", tally.duplicate),
            ("rejected", tally.rejected),
            ("dead_lettered", tally.dead_lettered),
            ("returned", tally.returned),
            ("dropped", tally.dropped),
        ];
        for (result, count) in results {
            self.metrics.settled_items.with_label_values(&[result]).inc_by(count);
        }
        let settled: u64 = results.iter().map(|(_, count)| count).sum();
        debug_assert_eq!(settled, self.items, "every item is settled once");
        self.leave();
    }

    /// They all ended with this status.
    pub(crate) fn settle_all(&mut self, status: u16) {
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
