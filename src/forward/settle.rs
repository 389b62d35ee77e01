mod culprits;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Attempt, AttemptError, Heads, Output, Passed, Whole,
    blocks::{Blocks, Gate, is_blocked},
    may_pass_later,
};
use crate::{
    bulk::{AnswerItem, Op, OutgoingBatch, Refusal, error_body},
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
    /// The wait after so many tries. `random` is from 0 up to 1.
    pub(crate) fn delay(&self, tries: u32, random: f64) -> Duration {
        let span = self.first.saturating_mul(1 << tries.min(20)).min(self.longest);
        span.mul_f64(random.clamp(0.0, 1.0))
    }
}

/// Requests are not cut smaller than this for all, because of one large document (bytes).
const LEARNED_BYTES_MIN: usize = 1 << 20;
/// Longest `Retry-After` that is believed (seconds). It is longer than any deadline.
const RETRY_AFTER_S_MAX: u64 = 24 * 60 * 60;

/// How a batch ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Each slot has its answer, in order.
    Items(Vec<AnswerItem>, Heads),
    /// Nothing was stored, as far as is known, and the client is to hear why.
    Whole(Whole),
}

/// Delivers batches to one output.
#[derive(Debug)]
pub struct Forwarder {
    output: Output,
    backoff: Backoff,
    /// Largest body of one request to the output (bytes), unless one slot alone is larger. Made smaller when
    /// Elasticsearch takes less.
    bulk_bytes_max: AtomicUsize,
    metrics: Arc<Metrics>,
    blocks: Blocks,
    /// So that an outage is told once when it begins and once when it ends.
    failing: AtomicBool,
}

impl Forwarder {
    /// Nothing is asked of the output yet.
    #[must_use]
    pub fn new(
        output: Output,
        backoff: Backoff,
        bulk_bytes_max: usize,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            output,
            backoff,
            bulk_bytes_max: AtomicUsize::new(bulk_bytes_max),
            metrics,
            blocks: Blocks::new(backoff),
            failing: AtomicBool::new(false),
        }
    }

    /// Elasticsearch refused a request as too large: the next ones are smaller. Gives back how large.
    fn learn_limit(&self, bytes_max: usize) -> usize {
        let learned = bytes_max.max(LEARNED_BYTES_MIN);
        if self.bulk_bytes_max.fetch_min(learned, Ordering::Relaxed) > learned {
            tracing::warn!(
                bytes_max = learned,
                "the output refuses large requests (413): they are cut"
            );
        }
        bytes_max
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
        let mut run = Run { forwarder: self, passed, deadline, open: Open::new(batch) };
        for tries in 0.. {
            let round = run.round().await;
            self.tell(&run.open);
            let at_least = match round {
                Round::Done => break,
                Round::Again { at_least } => at_least,
            };
            let wait = self.backoff.delay(tries, fastrand::f64()).max(at_least);
            if run.open.pending().is_empty() || Instant::now() + wait >= deadline {
                break;
            }
            self.output.recovery(wait, at_least).await;
        }
        run.open.end()
    }

    fn tell(&self, open: &Open<'_>) {
        let failing = open.is_failing();
        if self.failing.swap(failing, Ordering::Relaxed) == failing {
            return;
        }
        if failing {
            tracing::warn!(
                reason = open.reason(),
                "the output does not take documents: trying again"
            );
        } else {
            tracing::info!("the output takes documents again");
        }
    }
}

/// What one round through all open slots brought.
enum Round {
    /// Slots that are left are to be tried again, after this time at least.
    Again { at_least: Duration },
    /// Nothing more is to be tried.
    Done,
}

/// What one request brought for the slots in it.
enum Heard {
    /// Each has an answer.
    Items,
    /// None has; they may pass later.
    Later { at_least: Duration },
    /// Elasticsearch refuses the request as it is.
    Refused(Whole),
}

/// One delivery.
struct Run<'r> {
    forwarder: &'r Forwarder,
    passed: &'r Passed,
    deadline: Instant,
    open: Open<'r>,
}

impl Run<'_> {
    /// Sends every open slot once.
    async fn round(&mut self) -> Round {
        let mut groups: VecDeque<_> = self.gates();
        while let Some(group) = groups.pop_front() {
            let at_least = match self.send(&group).await {
                Heard::Items => continue,
                Heard::Later { at_least } => at_least,
                Heard::Refused(whole) if whole.status == 413 && group.len() > 1 => {
                    let limit = self.forwarder.learn_limit(self.open.len_bytes(&group) / 2);
                    for part in self.open.cut(group, limit).into_iter().rev() {
                        groups.push_front(part);
                    }
                    continue;
                }
                Heard::Refused(whole) if self.may_be_one_slot(&whole) => {
                    match self.find(group, whole).await {
                        Round::Again { at_least } if at_least.is_zero() => continue,
                        Round::Again { at_least } => at_least,
                        Round::Done => return Round::Done,
                    }
                }
                Heard::Refused(whole) => {
                    self.open.refuse(whole);
                    return Round::Done;
                }
            };
            return Round::Again { at_least };
        }
        Round::Again { at_least: Duration::ZERO }
    }

    /// The open slots in requests that are not too large. Slots of an index that takes nothing for now get their
    /// answer at once; those of one that may take something again go apart, so that nobody waits for them.
    fn gates(&mut self) -> VecDeque<Vec<usize>> {
        let (mut free, mut apart) = (self.open.pending(), Vec::new());
        let blocks = &self.forwarder.blocks;
        if !blocks.is_empty() {
            let mut gates: HashMap<String, Gate> = HashMap::new();
            let batch = self.open.batch;
            free.retain(|slot| {
                let Some(action) = batch.action(*slot) else { return true };
                let gate = gates
                    .entry(action.index.into_owned())
                    .or_insert_with_key(|index| blocks.gate(index));
                match gate {
                    Gate::Open => true,
                    Gate::Try => {
                        apart.push(*slot);
                        false
                    }
                    Gate::Shut(said) => {
                        self.open.settle(*slot, said.clone());
                        false
                    }
                }
            });
        }
        let limit = self.forwarder.bulk_bytes_max.load(Ordering::Relaxed);
        let (free, apart) = (self.open.cut(free, limit), self.open.cut(apart, limit));
        free.into_iter().chain(apart).collect()
    }

    /// Sends these slots in one request.
    async fn send(&mut self, group: &[usize]) -> Heard {
        let Forwarder { output, metrics, blocks, .. } = self.forwarder;
        let body = self.open.batch.body_of(group);
        let attempt = output.attempt(body, group.len(), self.passed, self.deadline, metrics).await;
        self.open.hear(group, attempt, blocks)
    }

    /// Whether a refusal may be due to one slot: too large, or malformed in a way that Elasticsearch takes for a
    /// malformed request. Not if the client's own parameters may be the cause, which would fail every part too.
    fn may_be_one_slot(&self, whole: &Whole) -> bool {
        let told = AnswerItem::told(whole.status, &whole.body);
        match whole.status {
            413 => true,
            // An answer without a type is not Elasticsearch's: something before it takes no request at all.
            400 => {
                self.passed.sound
                    && !matches!(
                        told.error_kind().as_deref(),
                        None | Some("media_type_header_exception" | AnswerItem::NO_KIND)
                    )
            }
            _ => false,
        }
    }
}

/// What is known of a batch.
struct Open<'b> {
    batch: &'b OutgoingBatch,
    answers: Vec<Option<AnswerItem>>,
    /// Slots that are to be sent (again).
    is_open: Vec<bool>,
    heads: Heads,
    /// What was said of the request as a whole, last.
    whole: Option<Whole>,
    /// Some slot was told to come back.
    told_later: bool,
    /// Elasticsearch answered some slots, so the client is answered item by item.
    has_items: bool,
    /// Elasticsearch answered some slots, whatever it said: nothing is wrong with the request as such.
    answered_something: bool,
}

impl<'b> Open<'b> {
    fn new(batch: &'b OutgoingBatch) -> Self {
        let slots = batch.slot_count();
        Self {
            batch,
            answers: vec![None; slots],
            is_open: vec![true; slots],
            heads: Heads::default(),
            whole: None,
            told_later: false,
            has_items: false,
            answered_something: false,
        }
    }

    fn pending(&self) -> Vec<usize> {
        self.is_open.iter().enumerate().filter_map(|(slot, open)| open.then_some(slot)).collect()
    }

    fn is_failing(&self) -> bool {
        self.is_open.contains(&true) || self.whole.as_ref().is_some_and(|it| it.status >= 500)
    }

    fn len_bytes(&self, slots: &[usize]) -> usize {
        slots.iter().map(|it| self.batch.slot_len_bytes(*it)).sum()
    }

    /// Cuts slots into groups of at most `bytes_max`, or of one slot that is larger.
    fn cut(&self, slots: Vec<usize>, bytes_max: usize) -> Vec<Vec<usize>> {
        if slots.len() == self.is_open.len() && self.batch.len_bytes() <= bytes_max {
            return vec![slots];
        }
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut bytes = 0;
        for slot in slots {
            let len = self.batch.slot_len_bytes(slot);
            match groups.last_mut() {
                Some(group) if bytes + len <= bytes_max => {
                    bytes += len;
                    group.push(slot);
                }
                _ => {
                    bytes = len;
                    groups.push(vec![slot]);
                }
            }
        }
        groups
    }

    /// Gives a slot its last answer.
    fn settle(&mut self, slot: usize, answer: AnswerItem) {
        if let (Some(place), Some(open)) = (self.answers.get_mut(slot), self.is_open.get_mut(slot))
        {
            *place = Some(answer);
            *open = false;
            self.has_items = true;
        }
    }

    fn hear(&mut self, group: &[usize], attempt: Attempt, blocks: &Blocks) -> Heard {
        let whole = match attempt {
            Attempt::Answered(answer, heads) => {
                self.whole = None;
                self.heads.add(heads);
                self.hear_items(group, answer.items, blocks);
                return Heard::Items;
            }
            Attempt::Refused(whole) => {
                // A gateway's word: whether Elasticsearch did it is not known.
                if matches!(whole.status, 500 | 502 | 504) {
                    self.give_back(group, &whole);
                }
                whole
            }
            Attempt::Failed(error) => {
                let whole = unavailable(&error);
                if error.in_doubt {
                    self.give_back(group, &whole);
                }
                whole
            }
        };
        if !may_pass_later(whole.status) {
            return Heard::Refused(whole);
        }
        let told_s = whole.retry_after_s.unwrap_or_default().min(RETRY_AFTER_S_MAX);
        self.whole = Some(whole);
        Heard::Later { at_least: Duration::from_secs(told_s) }
    }

    fn hear_items(&mut self, group: &[usize], items: Vec<AnswerItem>, blocks: &Blocks) {
        for (slot, item) in group.iter().zip(items) {
            let later = may_pass_later(item.status);
            self.answered_something = true;
            if is_blocked(&item) {
                // It will not pass soon: the client is told now, and others are not sent there.
                if let Some(action) = self.batch.action(*slot) {
                    blocks.shut(&action.index, &item);
                }
                self.settle(*slot, item);
                continue;
            }
            if !later
                && !blocks.is_empty()
                && let Some(action) = self.batch.action(*slot)
            {
                blocks.open(&action.index);
            }
            self.told_later |= later;
            self.settle(*slot, item);
            if later && let Some(open) = self.is_open.get_mut(*slot) {
                *open = true;
            }
        }
        if self.told_later {
            self.keep_order();
        }
    }

    /// A slot that was overtaken by a later one of the same document is not sent again: it would undo that one.
    /// The client is told, as it would be by Elasticsearch.
    ///
    /// All slots are looked at: the later one may have gone in another request.
    fn keep_order(&mut self) {
        let mut overtaken = HashSet::new();
        for (slot, (open, answer)) in self.is_open.iter_mut().zip(&self.answers).enumerate().rev() {
            let (Some(answer), Some(action)) = (answer, self.batch.action(slot)) else { continue };
            // A delete of what is not there (404) is done, too.
            let is_done = answer.status < 300 || answer.status == 404 && action.op == Op::Delete;
            if !*open && !is_done {
                continue;
            }
            let Some(id) = action.id else { continue };
            let document = (action.index.into_owned(), id.into_owned());
            if *open {
                *open = !overtaken.contains(&document);
            } else {
                overtaken.insert(document);
            }
        }
    }

    /// The answer was lost, and with it what became of these slots. Those that must not be done twice are the
    /// client's to decide on, and so is what comes after them on the same document.
    fn give_back(&mut self, group: &[usize], whole: &Whole) {
        let mut given_back = HashSet::new();
        for slot in group {
            let Some(action) = self.batch.action(*slot) else { continue };
            let document = document(self.batch, *slot);
            if action.is_repeatable() && document.as_ref().is_none_or(|it| !given_back.contains(it))
            {
                continue;
            }
            given_back.extend(document);
            if let (Some(place), Some(open)) =
                (self.answers.get_mut(*slot), self.is_open.get_mut(*slot))
            {
                *place = Some(AnswerItem::told(503, &whole.body));
                *open = false;
            }
        }
    }

    /// Whether several of these slots mean the same document.
    fn has_twins(&self, group: &[usize]) -> bool {
        let mut seen = HashSet::new();
        group.iter().filter_map(|slot| document(self.batch, *slot)).any(|it| !seen.insert(it))
    }

    /// Slots that Elasticsearch refused when they were sent alone.
    fn condemn(&mut self, culprits: Vec<(usize, Whole)>) {
        for (slot, whole) in culprits {
            let body = if whole.status == 413 {
                let reason = "Elasticsearch takes no request with this document: it is too large (http.max_content_length)";
                error_body(&Refusal {
                    status: 400,
                    kind: "content_too_long_exception",
                    reason: reason.into(),
                })
                .into()
            } else {
                whole.body
            };
            // Not 413: Logstash would send the item again for ever.
            self.settle(slot, AnswerItem::told(400, &body));
        }
    }

    /// The request is refused as it is: what is left is told so.
    fn refuse(&mut self, whole: Whole) {
        for (open, answer) in self.is_open.iter_mut().zip(&mut self.answers) {
            if std::mem::take(open) && answer.is_none() {
                *answer = Some(AnswerItem::told(whole.status, &whole.body));
            }
        }
        self.whole = Some(whole);
    }

    fn reason(&self) -> String {
        let whole = self.whole.as_ref();
        whole.map_or_else(
            || {
                let open = self.pending();
                let status = open.first().and_then(|it| self.answers.get(*it)?.as_ref());
                format!("{} items with status {}", open.len(), status.map_or(0, |it| it.status))
            },
            |it| String::from_utf8_lossy(&it.body).chars().take(300).collect(),
        )
    }

    fn end(self) -> Delivery {
        if !self.has_items
            && let Some(whole) = self.whole
        {
            return Delivery::Whole(whole);
        }
        let whole = self.whole.as_ref();
        let items: Vec<_> =
            self.answers.into_iter().map(|it| it.unwrap_or_else(|| item_of(whole))).collect();
        match items.first() {
            // Nothing was taken and all of it may pass later. Said of the whole request, this loses nothing with
            // any shipper; said of items, it does with Fluent Bit 5.1 and Vector 0.58.
            Some(first) if items.iter().all(|it| may_pass_later(it.status)) => {
                Delivery::Whole(whole_of(first))
            }
            _ => Delivery::Items(items, self.heads),
        }
    }
}

/// The document that a slot means: index and `_id`, where the client gave one. Routing is left out: two slots too
/// many in one order do no harm.
fn document(batch: &OutgoingBatch, slot: usize) -> Option<(String, String)> {
    let action = batch.action(slot)?;
    Some((action.index.into_owned(), action.id?.into_owned()))
}

fn unavailable(error: &AttemptError) -> Whole {
    let refusal = Refusal {
        status: 503,
        kind: "k8scop_output_unavailable_exception",
        reason: error.reason.clone(),
    };
    Whole {
        status: 503,
        body: error_body(&refusal).into(),
        retry_after_s: None,
        heads: Heads::default(),
    }
}

/// What is said of a request of which no item is stored with all that belongs to it, because of this slot.
pub(crate) fn whole_of(item: &AnswerItem) -> Whole {
    let status = if item.status == 429 { 429 } else { 503 };
    let refusal = Refusal {
        status,
        kind: "k8scop_output_unavailable_exception",
        reason: format!("no item is stored with its alerts: {}", item.error()),
    };
    Whole {
        status,
        body: error_body(&refusal).into(),
        retry_after_s: None,
        heads: Heads::default(),
    }
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
        Attempt::Answered(BulkAnswer { items: items.collect() }, Heads::default())
    }

    fn refused(status: u16) -> Attempt {
        Attempt::Refused(Whole {
            status,
            body: Bytes::from_static(br#"{"error":{"type":"t","reason":"r"}}"#),
            retry_after_s: None,
            heads: Heads::default(),
        })
    }

    use bytes::Bytes;

    fn statuses(delivery: &Delivery) -> Vec<u16> {
        match delivery {
            Delivery::Items(items, _) => items.iter().map(|it| it.status).collect(),
            Delivery::Whole(whole) => vec![whole.status],
        }
    }

    fn batch(actions: &[&str]) -> OutgoingBatch {
        let (mut body, mut slots) = (String::new(), Vec::new());
        for action in actions {
            let start = body.len();
            body.push_str(action);
            body.push('\n');
            slots.push(start..body.len());
        }
        OutgoingBatch::new(body, slots)
    }

    fn deletes(count: usize) -> OutgoingBatch {
        let lines: Vec<_> =
            (0..count).map(|it| format!(r#"{{"delete":{{"_index":"i","_id":"{it}"}}}}"#)).collect();
        batch(&lines.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn blocks() -> Blocks {
        Blocks::new(BACKOFF)
    }

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };

    #[test]
    fn only_what_may_pass_is_left() {
        let batch = deletes(5);
        let (mut open, blocks) = (Open::new(&batch), blocks());
        open.hear(&[0, 1, 2, 3, 4], answered(&[201, 429, 400, 503, 409]), &blocks);
        assert_eq!(open.pending(), [1, 3]);
        open.hear(&[1, 3], refused(429), &blocks);
        assert_eq!(open.pending(), [1, 3]);
        open.hear(&[1, 3], answered(&[201, 503]), &blocks);
        assert_eq!(open.pending(), [3]);
        assert_eq!(statuses(&open.end()), [201, 201, 400, 503, 409]);
    }

    #[test]
    fn a_refusal_of_the_whole_is_passed_on_while_nothing_is_settled() {
        let batch = deletes(2);
        for status in [400, 401, 403, 413] {
            let mut open = Open::new(&batch);
            let Heard::Refused(whole) = open.hear(&[0, 1], refused(status), &blocks()) else {
                panic!("{status} is a refusal")
            };
            open.refuse(whole);
            assert!(matches!(open.end(), Delivery::Whole(whole) if whole.status == status));
        }
        let mut open = Open::new(&batch);
        open.hear(&[0, 1], answered(&[201, 429]), &blocks());
        let Heard::Refused(whole) = open.hear(&[1], refused(401), &blocks()) else {
            panic!("401 is a refusal")
        };
        open.refuse(whole);
        assert!(open.pending().is_empty());
        assert_eq!(statuses(&open.end()), [201, 429], "each keeps what was said of it");
    }

    #[test]
    fn no_answer_is_never_success() {
        let batch = deletes(2);
        let failed = || {
            Attempt::Failed(AttemptError {
                reason: "cut".into(),
                in_doubt: true,
                ..AttemptError::default()
            })
        };
        let mut open = Open::new(&batch);
        open.hear(&[0, 1], failed(), &blocks());
        assert_eq!(statuses(&open.end()), [503]);
        let mut open = Open::new(&batch);
        open.hear(&[0, 1], answered(&[201, 500]), &blocks());
        open.hear(&[1], failed(), &blocks());
        assert_eq!(statuses(&open.end()), [201, 500]);
        assert_eq!(statuses(&Open::new(&batch).end()), [503]);
    }

    #[test]
    fn what_must_not_be_done_twice_is_given_back_when_an_answer_is_lost() {
        let batch = batch(&[
            "{\"index\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{}",
            "{\"update\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{\"doc\":{}}",
            "{\"index\":{\"_index\":\"i\",\"_id\":\"2\",\"if_seq_no\":1,\"if_primary_term\":1}}\n{}",
            "{\"delete\":{\"_index\":\"i\",\"_id\":\"1\"}}",
            "{\"create\":{\"_index\":\"i\"}}\n{}",
            "{\"delete\":{\"_index\":\"i\",\"_id\":\"3\"}}",
        ]);
        let all = [0, 1, 2, 3, 4, 5];
        let in_doubt = |in_doubt| {
            Attempt::Failed(AttemptError {
                reason: "cut".into(),
                in_doubt,
                ..AttemptError::default()
            })
        };
        let mut open = Open::new(&batch);
        open.hear(&all, in_doubt(false), &blocks());
        assert_eq!(open.pending(), all, "nothing was sent");
        open.hear(&all, in_doubt(true), &blocks());
        assert_eq!(open.pending(), [0, 4, 5], "the delete after the update keeps its place");
        assert!(matches!(open.end(), Delivery::Whole(_)), "nothing was heard of any item");
    }

    #[test]
    fn a_slot_that_was_overtaken_is_not_sent_again() {
        let batch = batch(&[
            "{\"index\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{\"n\":1}",
            "{\"index\":{\"_index\":\"i\",\"_id\":\"2\"}}\n{\"n\":1}",
            "{\"index\":{\"_index\":\"i\",\"_id\":\"1\"}}\n{\"n\":2}",
            "{\"index\":{\"_index\":\"j\",\"_id\":\"2\"}}\n{\"n\":2}",
        ]);
        let mut open = Open::new(&batch);
        open.hear(&[0, 1, 2, 3], answered(&[429, 429, 201, 201]), &blocks());
        assert_eq!(open.pending(), [1]);
        let mut open = Open::new(&batch);
        open.hear(&[0, 1, 2, 3], answered(&[429, 429, 429, 400]), &blocks());
        assert_eq!(open.pending(), [0, 1, 2]);
        assert!(open.has_twins(&[0, 1, 2]) && !open.has_twins(&[0, 1, 3]));
    }

    #[test]
    fn a_large_batch_goes_in_several_requests() {
        let batch = batch(&["aaaa", "bbbb", "cccccccccccccccccccccccc", "dddd"]);
        let open = Open::new(&batch);
        assert_eq!(open.cut(vec![0, 1, 2, 3], 1000), [vec![0, 1, 2, 3]]);
        assert_eq!(open.cut(vec![0, 1, 2, 3], 10), [vec![0, 1], vec![2], vec![3]]);
        assert!(open.cut(vec![], 10).is_empty());
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
