//! Turns a client's bulk request into the batch that goes to Elasticsearch, and Elasticsearch's answers into
//! the client's answer. No I/O, no clock.
//!
//! Each item of the client becomes one slot for its document and one for every alert that it raises, side by
//! side in the same batch. An item is answered as stored when all of its slots are.

mod dead_letter;
mod ids;
mod note;
mod observation;
mod reply;
mod run;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    mem,
    ops::Range,
    slice,
    sync::{Arc, PoisonError, RwLock},
};

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use crate::{
    alerts::{self, Claim, Grade, Group, Held, Ledger, Outcome},
    bulk::{AnswerItem, Defaults, OutgoingBatch, Refusal, TooManyItems, Writer},
    classify::{self, Classifier},
    correlate,
    event::AuditEvent,
    rules::{Level, Rule, Search},
    unwrap::{self, Broken, Component, Dropped, Found, Part, Provider},
};

pub use self::dead_letter::{DATASET_DEAD_LETTERS, DeadLetters, Letter};
pub use self::ids::{hashed, is_namespace};
pub(crate) use self::ids::{made_id, namespace};
pub use self::note::{Note, Refused};
pub(crate) use self::observation::observation;

/// Dataset of the audit events.
pub const DATASET_LOGS: &str = "kubernetes.audit_logs";
/// Dataset of the alerts.
pub const DATASET_ALERTS: &str = "k8scop.alerts";

/// Where an audit event goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// To the data stream `logs-kubernetes.audit_logs-NAMESPACE`.
    #[default]
    Reroute,
    /// To the index that the shipper named.
    Keep,
}

/// What becomes of lines of the control plane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineRoute {
    /// They are read, and go to the data stream of their component: `logs-kubernetes.apiserver_logs-NAMESPACE`.
    #[default]
    Reroute,
    /// They go as they came to the index that the shipper named.
    Keep,
    /// They are not stored.
    Drop,
}

/// Which `_id` an audit event gets when the shipper gave none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ids {
    /// One made from cluster, auditID, stage and what the API server noted of the request, so that an event that
    /// is sent twice is stored once.
    #[default]
    Audit,
    /// Elasticsearch's own: faster to index, and what is sent twice is stored twice.
    Elasticsearch,
}

/// Where alerts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertTarget {
    /// To the data stream `logs-k8scop.alerts-NAMESPACE`.
    DataStream,
    /// To an index for each day: `PREFIX-YYYY.MM.DD`, by the time of the event.
    Daily(String),
}

/// A request that is refused as a whole for its size.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum TooLarge {
    /// Too many items.
    #[error(transparent)]
    Items(#[from] TooManyItems),
    /// Its documents and alerts together.
    #[error(
        "documents and alerts of the request have more than {limit} bytes: send smaller batches"
    )]
    Batch {
        /// Bytes allowed.
        limit: usize,
    },
    /// There is no room for what it becomes.
    #[error(
        "the request takes {bytes} bytes, more than there is room for now: send smaller batches"
    )]
    NoRoom {
        /// Bytes asked for.
        bytes: u64,
    },
}

/// Whether a request may take so many bytes of memory in all.
pub type Room<'r> = &'r dyn Fn(Ask) -> bool;

/// How much memory a request asks for (bytes).
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    /// More than it needs now.
    Ahead(u64),
    /// What it cannot go on without.
    Needed(u64),
}

/// What is done with items.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Where audit events go.
    pub route: Route,
    /// Namespace of the data streams where the request names none.
    pub namespace: String,
    /// Events that are not stored, unless they failed: the API server's answer to what is not allowed is told.
    pub drop: Vec<Search>,
    /// What becomes of lines of the control plane.
    pub lines: LineRoute,
    /// The same, for some components.
    pub lines_of: Vec<(Component, LineRoute)>,
    /// Which `_id` audit events get.
    pub ids: Ids,
    /// Where alerts go.
    pub alerts: AlertTarget,
    /// Which are told, and how bad they are.
    pub alerting: alerts::Policy,
    /// How documents are written.
    pub unwrap: unwrap::Settings,
    /// Most items of one request.
    pub items_max: usize,
    /// Deepest document (levels).
    pub depth_max: usize,
    /// Most bytes that one request may become.
    pub batch_bytes_max: usize,
    /// Most bytes that are decompressed inside the documents of one request.
    pub inflated_bytes_max: usize,
}

impl Policy {
    /// What is made of a part that is found: nothing of what is not wanted.
    pub(crate) fn wanted<'a>(&self, part: Part<'a>) -> Part<'a> {
        match part {
            Part::Audit(found) if self.drops(found.event) => Part::Dropped(Dropped::Audit),
            Part::Line(line) => match self.line_route(line.component) {
                LineRoute::Reroute => part,
                LineRoute::Keep => line.as_piece().map_or(Part::Other, Part::Piece),
                LineRoute::Drop => Part::Dropped(Dropped::ControlPlane),
            },
            part => part,
        }
    }

    /// How bad an alert of the rule on an event is.
    pub(crate) fn grade(&self, rule: &Rule, found: &Found<'_>) -> Grade {
        let namespace = found.event.object.namespace.as_deref().unwrap_or_default();
        self.alerting.grade(rule, namespace, found.cluster().unwrap_or_default())
    }

    fn line_route(&self, component: Component) -> LineRoute {
        let named = self.lines_of.iter().find(|(it, _)| *it == component);
        named.map_or(self.lines, |(_, route)| *route)
    }

    /// Whether nothing of the event is wanted. What failed is always kept: somebody tried.
    fn drops(&self, event: &AuditEvent<'_>) -> bool {
        !self.drop.is_empty()
            && event.code.is_none_or(|it| it < 400)
            && event.decision.as_deref() != Some("forbid")
            && classify::fits(event, &self.drop)
    }
}

/// A request, ready to be sent.
#[derive(Debug)]
pub struct Prepared {
    /// What goes to Elasticsearch.
    pub batch: OutgoingBatch,
    /// What becomes of each item, in the order of the request.
    plans: Vec<Plan>,
    /// What was found in it.
    pub counts: Counts,
    /// The rules that it was judged by; others may be in use by now.
    pub classifier: Arc<Classifier>,
    /// What alerts are held with.
    groups: Vec<Group>,
    /// How much memory these and the alerts in them take (bytes).
    held_bytes: usize,
    /// What was found, if it was asked for.
    notes: Vec<Note>,
}

impl Prepared {
    /// What became of its alerts, for the ledger. `answers` are Elasticsearch's, one for each slot.
    #[must_use]
    pub fn outcome(&self, answers: &[AnswerItem]) -> Outcome<'_> {
        let mut outcome = Outcome { groups: &self.groups, ..Outcome::default() };
        for sent in self.plans.iter().flat_map(|it| it.fate.sent()) {
            for (raised, answer) in sent.alerts.iter().zip(answers.iter().skip(sent.slot + 1)) {
                if matches!(answer.status, 200..300 | 409) {
                    outcome.told.push((raised.id, &raised.claims));
                }
            }
            // What waits for an alert that may be stored later comes again with its item.
            let is_done = |it: &&Held| self.waits_for(it, answers).is_none();
            outcome.held.extend(sent.held.iter().filter(is_done));
        }
        outcome
    }
}

/// What was found in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Audit events, in the order of [`Provider::ALL`].
    pub audit: [u64; Provider::ALL.len()],
    /// Those of them that were cut on their way.
    pub cut: u64,
    /// Lines of the control plane.
    pub lines: u64,
    /// Documents that look like an audit event and cannot be read, in the order of [`Broken::ALL`].
    pub broken: [u64; Broken::ALL.len()],
    /// Parts of which nothing was to be stored, in the order of [`Dropped::ALL`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// Hits of each rule, by its place.
    pub hits: Vec<(usize, u64)>,
    /// Those that are no alert because their level is too low: rule and level.
    pub low: Vec<((usize, Level), u64)>,
    /// When the newest audit event of each cluster happened (microseconds since 1970), if somebody correlates events.
    pub newest_us: BTreeMap<Box<str>, i64>,
}

impl Counts {
    /// Audit events of all providers.
    #[must_use]
    pub fn audit_sum(&self) -> u64 {
        self.audit.iter().sum()
    }
}

/// How the items of a request ended. `stored + duplicate + rejected + dead_lettered + returned + dropped` is their
/// number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Elasticsearch stored it.
    pub stored: u64,
    /// It was there already.
    pub duplicate: u64,
    /// Refused for good.
    pub rejected: u64,
    /// Refused for good, and kept as a dead letter.
    pub dead_lettered: u64,
    /// Not stored; the shipper is to send it again (429, 5xx).
    pub returned: u64,
    /// Nothing of it was to be stored.
    pub dropped: u64,
    /// Alerts that are stored: their rule and their level.
    pub alerts_created: Vec<(usize, Level)>,
    /// Alerts that were there already.
    pub alerts_duplicate: u64,
    /// Alerts that are not stored.
    pub alerts_failed: u64,
}

#[derive(Debug)]
struct Plan {
    name: Cow<'static, str>,
    index: Option<Arc<str>>,
    id: Option<String>,
    /// Where its lines stand in the body.
    origin: Range<usize>,
    fate: Fate,
}

#[derive(Debug)]
enum Fate {
    Refused(Refusal),
    Sent(Sent),
    /// The document became several, or none.
    Several(Vec<Sent>),
}

impl Fate {
    fn sent(&self) -> &[Sent] {
        match self {
            Self::Refused(_) => &[],
            Self::Sent(sent) => slice::from_ref(sent),
            Self::Several(all) => all,
        }
    }

    fn sent_mut(&mut self) -> &mut [Sent] {
        match self {
            Self::Refused(_) => &mut [],
            Self::Sent(sent) => slice::from_mut(sent),
            Self::Several(all) => all,
        }
    }
}

/// A document on its way out.
#[derive(Debug)]
struct Sent {
    /// The slot of the document; those of the alerts follow.
    slot: usize,
    /// The alerts.
    alerts: Vec<Raised>,
    /// Those that are only counted.
    held: Vec<Held>,
    /// What the document holds.
    holds: Holds,
    /// A 409 says that an earlier try stored it: the `_id` or the `create` is ours, not the client's.
    conflict_is_success: bool,
    /// What it means to correlations.
    observed: Option<Box<correlate::Event>>,
}

/// An alert on its way out.
#[derive(Debug)]
struct Raised {
    rule: usize,
    level: Level,
    id: alerts::AlertId,
    claims: Vec<Claim>,
}

/// What a document on its way out holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// What the client sent.
    Other,
    /// An audit event, as an object.
    Event,
    /// An audit event, with its whole text in `event.original`.
    EventAndText,
}

/// Where a request came in.
#[derive(Clone, Copy, Debug, Default)]
struct Door<'w> {
    /// Who may write only some indices.
    writer: Option<Writer<'w>>,
    /// The `_id`s of the request are ours, not a client's.
    ids_are_ours: bool,
    /// What is found is noted.
    is_noted: bool,
    /// No document goes anywhere: only alerts are written.
    alerts_only: bool,
}

/// Prepares requests.
#[derive(Debug)]
pub struct Preparer {
    policy: Policy,
    classifier: RwLock<Arc<Classifier>>,
    ledger: Ledger,
}

impl Preparer {
    /// `classifier` holds the rules.
    #[must_use]
    pub fn new(policy: Policy, classifier: Classifier) -> Self {
        let ledger = Ledger::new(policy.alerting.clone());
        Self { policy, classifier: RwLock::new(Arc::new(classifier)), ledger }
    }

    /// Which alerts were told.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Most items of one request.
    #[must_use]
    pub fn items_max(&self) -> usize {
        self.policy.items_max
    }

    /// The rules in use. Whoever judges several events takes them once.
    #[must_use]
    pub fn classifier(&self) -> Arc<Classifier> {
        Arc::clone(&self.classifier.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other rules for every request that is prepared from now on. Gives back those before.
    pub fn swap(&self, classifier: Arc<Classifier>) -> Arc<Classifier> {
        mem::replace(
            &mut self.classifier.write().unwrap_or_else(PoisonError::into_inner),
            classifier,
        )
    }

    /// Reads a bulk body and writes the batch. Refuses the whole request only when it has too many items, or
    /// would grow beyond measure.
    pub fn prepare(
        &self,
        body: &[u8],
        defaults: &Defaults,
        now: Timestamp,
    ) -> Result<Prepared, TooLarge> {
        self.prepare_for(None, &|_| true, body, defaults, now)
    }

    /// As [`Self::prepare`], for a body whose `_id`s we made of what the sender gives back unchanged when it sends
    /// again: what is there already is stored. An audit event gets the `_id` that it has on every other road.
    pub fn prepare_pushed(
        &self,
        room: Room<'_>,
        body: &[u8],
        defaults: &Defaults,
        now: Timestamp,
    ) -> Result<Prepared, TooLarge> {
        run::prepared(
            self,
            Door { ids_are_ours: true, ..Door::default() },
            room,
            body,
            defaults,
            now,
        )
    }

    /// As [`Self::prepare`], and notes what was found in each document. With `alerts_only` the slots of documents are
    /// empty, and are not to be sent; all else is as without.
    pub fn prepare_noted(
        &self,
        alerts_only: bool,
        body: &[u8],
        defaults: &Defaults,
        now: Timestamp,
    ) -> Result<Prepared, TooLarge> {
        run::prepared(
            self,
            Door { is_noted: true, alerts_only, ..Door::default() },
            &|_| true,
            body,
            defaults,
            now,
        )
    }

    /// As [`Self::prepare`]; items for indices that `writer` may not write are refused. `room` is asked when it becomes
    /// much more than it was.
    pub fn prepare_for(
        &self,
        writer: Option<Writer<'_>>,
        room: Room<'_>,
        body: &[u8],
        defaults: &Defaults,
        now: Timestamp,
    ) -> Result<Prepared, TooLarge> {
        run::prepared(self, Door { writer, ..Door::default() }, room, body, defaults, now)
    }
}

#[cfg(test)]
mod alert_tests;
#[cfg(test)]
mod tests;
