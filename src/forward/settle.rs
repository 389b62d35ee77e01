use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{Attempt, AttemptError, Output, Passed, Whole, may_pass_later};
use crate::{
    bulk::{AnswerItem, OutgoingBatch, Refusal, error_body},
    metrics::Metrics,
};

/// How long to wait before another try: a random part (full jitter) of a span that doubles from `first` to
/// `longest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The span before the second try.
    pub first: Duration,
    /// The longest span.
    pub longest: Duration,
}

impl Backoff {
    /// `random` is from 0 up to 1.
    fn delay(&self, tries: u32, random: f64) -> Duration {
        let span = self.first.saturating_mul(1 << tries.min(20)).min(self.longest);
        span.mul_f64(random.clamp(0.0, 1.0))
    }
}

/// Longest `Retry-After` that is believed (seconds). It is longer than any deadline.
const RETRY_AFTER_S_MAX: u64 = 24 * 60 * 60;

/// How a batch ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Each slot has its answer, in order.
    Items(Vec<AnswerItem>),
    /// Nothing was stored, as far as is known, and the client is to hear why.
    Whole(Whole),
}

/// Delivers batches to one output.
#[derive(Debug)]
pub struct Forwarder {
    output: Output,
    backoff: Backoff,
    metrics: Arc<Metrics>,
    /// So that an outage is told once when it begins and once when it ends.
    failing: AtomicBool,
}

impl Forwarder {
    /// Nothing is asked of the output yet.
    #[must_use]
    pub fn new(output: Output, backoff: Backoff, metrics: Arc<Metrics>) -> Self {
        Self { output, backoff, metrics, failing: AtomicBool::new(false) }
    }

    /// Where documents go.
    #[must_use]
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Delivers a batch: sends it, and what of it may pass later (429, 5xx, no answer) again, until `deadline`.
    /// Then every slot is told as it is.
    pub async fn deliver(
        &self,
        batch: &OutgoingBatch,
        passed: &Passed,
        deadline: Instant,
    ) -> Delivery {
        let mut open = Open::new(batch.slot_count());
        for tries in 0.. {
            let body = batch.body_of(&open.pending);
            let attempt = self
                .output
                .attempt(body, open.pending.len(), passed, deadline, &self.metrics)
                .await;
            let wait = match open.take(attempt) {
                Next::Done(whole) => return Delivery::Whole(whole),
                Next::Again { at_least } => {
                    self.backoff.delay(tries, fastrand::f64()).max(at_least)
                }
            };
            self.tell(&open);
            if open.pending.is_empty() || Instant::now() + wait >= deadline {
                break;
            }
            sleep(wait).await;
        }
        open.end()
    }

    fn tell(&self, open: &Open) {
        let failing = !open.pending.is_empty();
        if self.failing.swap(failing, Ordering::Relaxed) == failing {
            return;
        }
        if failing {
            tracing::warn!(
                slots = open.pending.len(),
                reason = open.reason(),
                "the output does not take documents: trying again"
            );
        } else {
            tracing::info!("the output takes documents again");
        }
    }
}

/// What is known of a batch between two tries.
struct Open {
    pending: Vec<usize>,
    answers: Vec<Option<AnswerItem>>,
    whole: Option<Whole>,
}

enum Next {
    Again { at_least: Duration },
    Done(Whole),
}

impl Open {
    fn new(slots: usize) -> Self {
        Self { pending: (0..slots).collect(), answers: vec![None; slots], whole: None }
    }

    /// Nothing has an answer of its own yet.
    fn is_untouched(&self) -> bool {
        self.answers.iter().all(Option::is_none)
    }

    fn take(&mut self, attempt: Attempt) -> Next {
        let whole = match attempt {
            Attempt::Answered(answer) => {
                self.whole = None;
                let mut left = Vec::new();
                for (slot, item) in self.pending.iter().zip(answer.items) {
                    if may_pass_later(item.status) {
                        left.push(*slot);
                    }
                    if let Some(place) = self.answers.get_mut(*slot) {
                        *place = Some(item);
                    }
                }
                self.pending = left;
                return Next::Again { at_least: Duration::ZERO };
            }
            Attempt::Refused(whole) => whole,
            Attempt::Failed(error) => unavailable(&error),
        };
        if may_pass_later(whole.status) {
            let told_s = whole.retry_after_s.unwrap_or_default().min(RETRY_AFTER_S_MAX);
            let at_least = Duration::from_secs(told_s);
            self.whole = Some(whole);
            return Next::Again { at_least };
        }
        if self.is_untouched() {
            return Next::Done(whole);
        }
        // Part of the batch is settled already, so the rest is answered item by item.
        self.whole = Some(whole);
        self.give_up();
        Next::Again { at_least: Duration::ZERO }
    }

    fn reason(&self) -> String {
        let whole = self
            .whole
            .as_ref()
            .map(|it| String::from_utf8_lossy(&it.body).chars().take(300).collect());
        whole.unwrap_or_else(|| {
            let status = self
                .pending
                .first()
                .and_then(|it| self.answers.get(*it)?.as_ref())
                .map_or(0, |it| it.status);
            format!("items with status {status}")
        })
    }

    /// Gives every slot that is left an answer: its last own, or what was said of the whole.
    fn give_up(&mut self) {
        let whole = self.whole.as_ref();
        for slot in self.pending.drain(..) {
            let Some(answer) = self.answers.get_mut(slot) else { continue };
            if answer.is_none() {
                *answer = Some(item_of(whole));
            }
        }
    }

    fn end(mut self) -> Delivery {
        if self.is_untouched()
            && let Some(whole) = self.whole.take()
        {
            return Delivery::Whole(whole);
        }
        self.give_up();
        Delivery::Items(
            self.answers.into_iter().map(|it| it.unwrap_or_else(|| item_of(None))).collect(),
        )
    }
}

fn unavailable(error: &AttemptError) -> Whole {
    let refusal = Refusal {
        status: 503,
        kind: "k8scop_output_unavailable_exception",
        reason: error.reason.clone(),
    };
    Whole { status: 503, body: error_body(&refusal).into(), retry_after_s: None }
}

fn item_of(whole: Option<&Whole>) -> AnswerItem {
    whole.map_or_else(|| AnswerItem::unavailable(b""), |it| AnswerItem::told(it.status, &it.body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bulk::BulkAnswer;

    fn answered(statuses: &[u16]) -> Attempt {
        let items = statuses.iter().map(|status| AnswerItem {
            status: *status,
            object: format!("{{\"status\":{status}}}"),
        });
        Attempt::Answered(BulkAnswer { items: items.collect() })
    }

    fn refused(status: u16) -> Attempt {
        Attempt::Refused(Whole {
            status,
            body: Bytes::from_static(br#"{"error":{"type":"t","reason":"r"}}"#),
            retry_after_s: None,
        })
    }

    use bytes::Bytes;

    fn statuses(delivery: &Delivery) -> Vec<u16> {
        match delivery {
            Delivery::Items(items) => items.iter().map(|it| it.status).collect(),
            Delivery::Whole(whole) => vec![whole.status],
        }
    }

    #[test]
    fn only_what_may_pass_is_left() {
        let mut open = Open::new(5);
        open.take(answered(&[201, 429, 400, 503, 409]));
        assert_eq!(open.pending, [1, 3]);
        open.take(refused(429));
        assert_eq!(open.pending, [1, 3]);
        open.take(answered(&[201, 503]));
        assert_eq!(open.pending, [3]);
        assert_eq!(statuses(&open.end()), [201, 201, 400, 503, 409]);
    }

    #[test]
    fn a_refusal_of_the_whole_is_passed_on_while_nothing_is_settled() {
        for status in [400, 401, 403, 413] {
            let mut open = Open::new(2);
            assert!(
                matches!(open.take(refused(status)), Next::Done(whole) if whole.status == status)
            );
        }
        let mut open = Open::new(2);
        open.take(answered(&[201, 429]));
        assert!(matches!(open.take(refused(401)), Next::Again { .. }));
        assert!(open.pending.is_empty());
        assert_eq!(statuses(&open.end()), [201, 429], "each keeps what was said of it");
    }

    #[test]
    fn no_answer_is_never_success() {
        let mut open = Open::new(2);
        open.take(Attempt::Failed(AttemptError { reason: "cut".into() }));
        assert_eq!(statuses(&open.end()), [503]);
        let mut open = Open::new(2);
        open.take(answered(&[201, 500]));
        open.take(Attempt::Failed(AttemptError { reason: "cut".into() }));
        assert_eq!(statuses(&open.end()), [201, 500]);
        assert_eq!(statuses(&Open::new(1).end()), [503]);
    }

    #[test]
    fn waits() {
        let backoff =
            Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };
        assert_eq!(backoff.delay(0, 1.0), Duration::from_millis(100));
        assert_eq!(backoff.delay(3, 0.5), Duration::from_millis(400));
        assert_eq!(backoff.delay(u32::MAX, 1.0), Duration::from_secs(5));
        assert_eq!(backoff.delay(9, 0.0), Duration::ZERO);
    }
}
