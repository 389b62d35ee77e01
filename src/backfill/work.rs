//! What is done with a page: what [`crate::receiver`] does with a request, without a shipper who would send it again.

use std::{
    collections::HashSet,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use hyper::HeaderMap;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{BackfillError, Write, checkpoint::Counts, source::Page};
use crate::{
    alerts::AlertId,
    bulk::{AnswerItem, Defaults},
    correlate,
    delivery::{self, InFlight, Origin},
    forward::{Delivery, Forwarder, Passed, Whole},
    metrics::Metrics,
    prepare::{Letter, Note, Prepared, Preparer, Refused, TooLarge},
    receiver::DeadLetterOffice,
    report::{About, Event, Raised, Summary},
    rules::Level,
    unwrap::Broken,
};

/// The label of what comes in here, of [`crate::metrics::INPUTS`].
const INPUT: &str = "backfill";
/// Wait before a page is delivered again.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Whoever treats pages.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) preparer: Arc<Preparer>,
    pub(super) forwarder: Arc<Forwarder>,
    pub(super) dead_letters: Option<DeadLetterOffice>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) write: Write,
    pub(super) dry_run: bool,
    /// How long the output is tried before it is looked whether to go on.
    pub(super) request_deadline: Duration,
    /// How long an output that fails is tried again.
    pub(super) give_up: Duration,
    pub(super) stop: CancellationToken,
    pub(super) known: Mutex<Known>,
}

/// What a page came to.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) counts: Counts,
    pub(super) summary: Summary,
    /// What correlations are to see.
    pub(super) events: Vec<correlate::Event>,
    /// Why some documents are refused.
    pub(super) refused: Vec<String>,
}

/// Alerts that were counted of late: stages of one request raise one together.
#[derive(Debug, Default)]
pub(super) struct Known {
    young: HashSet<AlertId>,
    old: HashSet<AlertId>,
}

/// Most of them, young and old each.
const KNOWN_MAX: usize = 1 << 19;

impl Known {
    fn is_new(&mut self, id: AlertId) -> bool {
        if self.old.contains(&id) || !self.young.insert(id) {
            return false;
        }
        if self.young.len() >= KNOWN_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        true
    }
}

/// A part of a page, prepared.
struct Part {
    prepared: Prepared,
    body: Bytes,
}

impl Worker {
    /// Treats a page of this index. When this returns, all that it raised is stored.
    pub(super) async fn treat(
        self: &Arc<Self>,
        index: &str,
        page: &Page,
    ) -> Result<Done, BackfillError> {
        let mut done = Done::default();
        done.counts.read = page.hits as u64;
        for seq_no in &page.bare {
            done.unreadable(index, *seq_no, "it has no _source");
        }
        for _ in &page.alerts {
            done.counts.unmatched += 1;
            done.summary.document(Some(index));
            done.summary.other("k8scop_alert");
        }
        let mut parts = Vec::new();
        parts.push(0..page.docs.len());
        while let Some(places) = parts.pop().filter(|it| !it.is_empty()) {
            match self.prepare(page, &places).await? {
                Ok(part) => self.deliver(index, part, &mut done).await?,
                Err(_) if places.len() > 1 => {
                    let middle = places.start + places.len() / 2;
                    parts.extend([middle..places.end, places.start..middle]);
                }
                Err(error) => {
                    let seq_no = page.docs.get(places.start).map_or(-1, |it| it.seq_no);
                    done.unreadable(index, seq_no, &error.to_string());
                }
            }
        }
        Ok(done)
    }

    /// Prepares some documents of a page. What there was no room for together is tried in parts: a document is to become
    /// the same whatever came with it.
    async fn prepare(
        self: &Arc<Self>,
        page: &Page,
        places: &Range<usize>,
    ) -> Result<Result<Part, TooLarge>, BackfillError> {
        let docs = page.docs.get(places.clone()).unwrap_or_default();
        let (Some(first), Some(last)) = (docs.first(), docs.last()) else {
            return Err(BackfillError::Failed("a page has fewer documents than it says".into()));
        };
        let body = page.body.slice(first.lines.start..last.lines.end);
        let (worker, count) = (Arc::clone(self), docs.len());
        let work = tokio::task::spawn_blocking(move || {
            let (defaults, now) = (Defaults::default(), Timestamp::now());
            let alerts_only = worker.dry_run || worker.write == Write::Alerts;
            let prepared = worker.preparer.prepare_noted(alerts_only, &body, &defaults, now)?;
            let was_full = |it: &Note| it.broken == Some(Broken::TooLarge);
            if count > 1 && prepared.notes().iter().any(was_full) {
                return Err(TooLarge::NoRoom { bytes: body.len() as u64 });
            }
            Ok(Part { prepared, body })
        });
        work.await.map_err(|error| BackfillError::Failed(error.to_string()))
    }

    /// Delivers a part until nothing of it may pass later, and counts it.
    async fn deliver(&self, index: &str, part: Part, done: &mut Done) -> Result<(), BackfillError> {
        let Part { mut prepared, body } = part;
        let slots = match self.dry_run {
            true => Vec::new(),
            false => prepared.made_slots(self.write == Write::AlertsAndLogs),
        };
        delivery::count_found(&self.metrics, &prepared, INPUT);
        let mut in_flight = InFlight::new(&self.metrics, INPUT, prepared.item_count());
        let passed = Passed { headers: HeaderMap::new(), query: String::new(), sound: true };
        let began = Instant::now();
        loop {
            let deadline = Instant::now() + self.request_deadline;
            let output = (self.forwarder.as_ref(), self.metrics.as_ref());
            let delivery = delivery::settled(output, &prepared, Some(&slots), &passed, deadline);
            let why = match delivery.await {
                Delivery::Whole(whole) if may_pass(whole.status) => told(&whole),
                Delivery::Whole(whole) => return Err(refused(whole.status, &told(&whole))),
                Delivery::Items(answers, _) => {
                    let dead = self.keep(&prepared, &answers, &body, &passed, deadline).await;
                    let (_, tally) = prepared.reply(&answers, &dead, 0, &|_| String::new());
                    if tally.returned == 0 {
                        in_flight.settle(&tally);
                        delivery::count_alerts(&self.metrics, prepared.classifier.rules(), &tally);
                        let created = tally.alerts_created.len() as u64;
                        done.counts.alerts_created += created;
                        done.counts.alerts_duplicate += tally.alerts_duplicate;
                        let alerts = created + tally.alerts_duplicate + tally.alerts_failed;
                        done.counts.logs += (slots.len() as u64).saturating_sub(alerts);
                        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                        return done.take(index, &mut prepared, &answers, &dead, &mut known);
                    }
                    let busy = answers.iter().find(|it| may_pass(it.status));
                    busy.map(AnswerItem::error).unwrap_or_default()
                }
            };
            let give_up = began.elapsed() >= self.give_up;
            if give_up || self.stop.is_cancelled() {
                let tried = began.elapsed().as_secs();
                let text =
                    format!("the output does not take documents: {why} (tried for {tried} s)");
                return Err(BackfillError::Failed(text));
            }
            tokio::time::sleep(RETRY_WAIT).await;
        }
    }

    /// Keeps what is refused for good, if that is configured.
    async fn keep(
        &self,
        prepared: &Prepared,
        answers: &[AnswerItem],
        body: &Bytes,
        passed: &Passed,
        deadline: Instant,
    ) -> Vec<(usize, Letter)> {
        let Some(office) = self.dead_letters.as_ref().filter(|_| !self.dry_run) else {
            return Vec::new();
        };
        let origin = Origin { body: body.clone(), defaults: Defaults::default() };
        delivery::keep(office, prepared, answers, origin, passed, deadline).await
    }
}

impl Done {
    fn unreadable(&mut self, index: &str, seq_no: i64, reason: &str) {
        self.counts.unreadable += 1;
        self.summary.document(Some(index));
        self.summary.unreadable(reason, || format!("{index}, _seq_no {seq_no}"));
    }

    /// Counts a part that is stored.
    fn take(
        &mut self,
        index: &str,
        prepared: &mut Prepared,
        answers: &[AnswerItem],
        dead: &[(usize, Letter)],
        known: &mut Known,
    ) -> Result<(), BackfillError> {
        let refusals = prepared.refusals(answers);
        // What we may not do is mended by somebody, and then gone on with.
        if let Some(bad) = refusals.iter().find(|it| matches!(it.status, 401 | 403)) {
            return Err(refused(bad.status, &bad.reason));
        }
        self.events.extend(prepared.take_observed(answers));
        self.sum_up(index, prepared, known);
        let mut fates = vec![Fate::Unmatched; prepared.item_count()];
        for note in prepared.notes() {
            let fate = match (note.broken, note.alerts.is_empty()) {
                (Some(_), _) => Fate::Unreadable,
                (None, false) => Fate::Matched,
                (None, true) => Fate::Unmatched,
            };
            set(&mut fates, note.item, fate);
        }
        for Refused { item, reason, .. } in refusals {
            set(&mut fates, item, Fate::Refused);
            self.refused.push(reason);
        }
        for (item, _) in dead {
            set(&mut fates, *item, Fate::DeadLettered);
        }
        for fate in fates {
            *match fate {
                Fate::Unmatched => &mut self.counts.unmatched,
                Fate::Matched => &mut self.counts.matched,
                Fate::Unreadable => &mut self.counts.unreadable,
                Fate::Refused => &mut self.counts.refused,
                Fate::DeadLettered => &mut self.counts.dead_lettered,
            } += 1;
        }
        Ok(())
    }

    fn sum_up(&mut self, index: &str, prepared: &Prepared, known: &mut Known) {
        let rules = prepared.classifier.rules();
        let mut is_noted = vec![false; prepared.item_count()];
        for note in prepared.notes() {
            if let Some(it) = is_noted.get_mut(note.item) {
                *it = true;
            }
            if let Some(reason) = note.broken {
                self.summary.other(reason.name());
                continue;
            }
            let new = note.alerts.iter().filter(|(.., id)| known.is_new(*id));
            let raised = |(rule, level, _): &(usize, Level, AlertId)| {
                let rule = rules.get(*rule)?;
                Some(Raised { id: &rule.id, title: &rule.title, level: *level })
            };
            let alerts: Vec<_> = new.filter_map(raised).collect();
            self.summary.event(&Event {
                index: Some(index),
                about: About {
                    time: note.at,
                    user: Some(note.user.as_deref().unwrap_or("-")),
                    cluster: note.cluster.as_deref(),
                    namespace: note.namespace.as_deref(),
                },
                is_cut: note.is_cut,
                is_matched: !note.alerts.is_empty(),
                repeated: (note.alerts.len() - alerts.len()) as u64,
                alerts: &alerts,
            });
        }
        for is_noted in is_noted {
            self.summary.document(Some(index));
            if !is_noted {
                self.summary.other("not_kubernetes");
            }
        }
    }
}

/// How a document ended. What comes later in the list says more of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Unmatched,
    Unreadable,
    Matched,
    Refused,
    DeadLettered,
}

fn set(fates: &mut [Fate], item: usize, fate: Fate) {
    if let Some(place) = fates.get_mut(item) {
        *place = fate.max(*place);
    }
}

fn may_pass(status: u16) -> bool {
    crate::forward::may_pass_later(status)
}

fn told(whole: &Whole) -> String {
    AnswerItem::told(whole.status, &whole.body).error()
}

fn refused(status: u16, why: &str) -> BackfillError {
    let why: String = why.chars().take(500).collect();
    let hint = match status {
        403 => ": the rights `create_doc` and `auto_configure` are needed where alerts go",
        _ => "",
    };
    BackfillError::Failed(format!(
        "the output refuses what is to be stored ({status}): {why}{hint}"
    ))
}
