//! Turns a client's bulk request into the batch that goes to Elasticsearch, and Elasticsearch's answers into
//! the client's answer. No I/O, no clock.
//!
//! Each item of the client becomes one slot for its document and one for every alert that it raises, side by
//! side in the same batch. An item is answered as stored when all of its slots are.

mod dead_letter;

use std::{
    borrow::Cow,
    cell::Cell,
    collections::HashMap,
    fmt::Write,
    ops::{ControlFlow, Range},
    slice,
    sync::Arc,
};

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::{
    bulk::{
        Action, AnswerItem, Defaults, Item, Items, Op, OutgoingBatch, Refusal, ReplyWriter,
        TooManyItems, Writer,
    },
    classify::{self, Alert, Classifier},
    event::AuditEvent,
    json::{self, Member},
    rules::{Level, OncePer, Search},
    unwrap::{
        self, Broken, Buffers, Component, Dropped, Found, Labels, Line, Part, Piece, Provider,
        Record, Reduced, Scratch, Unread,
    },
};

pub use self::dead_letter::{DATASET_DEAD_LETTERS, DeadLetters, Letter};

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
pub type Room<'r> = &'r dyn Fn(u64) -> bool;

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
    /// Alerts that are stored, and their rule.
    pub alerts_created: Vec<usize>,
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
}

/// A document on its way out.
#[derive(Debug)]
struct Sent {
    /// The slot of the document; those of the alerts follow.
    slot: usize,
    /// The rule of each alert.
    alerts: Vec<usize>,
    /// What the document holds.
    holds: Holds,
    /// A 409 says that an earlier try stored it: the `_id` or the `create` is ours, not the client's.
    conflict_is_success: bool,
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

/// Prepares requests.
#[derive(Debug)]
pub struct Preparer {
    policy: Policy,
    classifier: Classifier,
}

impl Preparer {
    /// `classifier` holds the rules.
    #[must_use]
    pub fn new(policy: Policy, classifier: Classifier) -> Self {
        Self { policy, classifier }
    }

    /// Most items of one request.
    #[must_use]
    pub fn items_max(&self) -> usize {
        self.policy.items_max
    }

    /// The rules.
    #[must_use]
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
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
        self.prepared((None, true), room, body, defaults, now)
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
        self.prepared((writer, false), room, body, defaults, now)
    }

    fn prepared(
        &self,
        (writer, ids_are_ours): (Option<Writer<'_>>, bool),
        room: Room<'_>,
        body: &[u8],
        defaults: &Defaults,
        now: Timestamp,
    ) -> Result<Prepared, TooLarge> {
        let allowance = Allowance::new(room, body.len());
        let mut run = Run {
            allowance: &allowance,
            out_counted: 0,
            preparer: self,
            writer,
            ids_are_ours,
            defaults,
            now,
            out: String::with_capacity(body.len() + body.len() / 4),
            slots: Vec::new(),
            scratch: Scratch::default(),
            last_index: None,
            is_deep: false,
            counts: Counts::default(),
            hits: Vec::new(),
        };
        let mut items = Items::new(body, defaults, self.policy.items_max);
        let (mut plans, mut members) = (Vec::new(), Vec::new());
        // What is decompressed is held, and so is the text that is taken out of it.
        let inflate = |bytes: usize| allowance.takes(bytes.saturating_mul(2));
        let mut buffers = Buffers::within(self.policy.inflated_bytes_max, &inflate);
        while let Some(item) = items.next_into(&mut members)? {
            plans.push(run.item(&item, &members, &mut buffers));
            run.count_out();
            if let Some(bytes) = allowance.refused.get() {
                return Err(TooLarge::NoRoom { bytes });
            }
            if run.out.len() > self.policy.batch_bytes_max {
                return Err(TooLarge::Batch { limit: self.policy.batch_bytes_max });
            }
        }
        let Run { out, slots, mut counts, hits, .. } = run;
        for hit in hits {
            match counts.hits.iter_mut().find(|(rule, _)| *rule == hit) {
                Some((_, count)) => *count += 1,
                None => counts.hits.push((hit, 1)),
            }
        }
        Ok(Prepared { batch: OutgoingBatch::new(out, slots), plans, counts })
    }
}

/// The memory that a request may take.
struct Allowance<'r> {
    room: Room<'r>,
    taken: Cell<u64>,
    granted: Cell<u64>,
    /// What was asked for in vain.
    refused: Cell<Option<u64>>,
}

impl<'r> Allowance<'r> {
    /// Nobody is asked before it takes twice what its body does: that is counted with the body.
    fn new(room: Room<'r>, body_bytes: usize) -> Self {
        const SMALL_BYTES: u64 = 64 << 10;
        let granted = Cell::new((body_bytes as u64).saturating_mul(2).max(SMALL_BYTES));
        Self { room, taken: Cell::new(0), granted, refused: Cell::new(None) }
    }

    /// Whether it may take so many bytes more.
    fn takes(&self, bytes: usize) -> bool {
        let taken = self.taken.get().saturating_add(bytes as u64);
        self.taken.set(taken);
        if taken <= self.granted.get() {
            return true;
        }
        // Much more than needed, if it is there: of many that grow step by step at once, none would come to an end.
        for ask in [taken.saturating_mul(4), taken.saturating_add(taken / 4), taken] {
            if (self.room)(ask) {
                self.granted.set(ask);
                return true;
            }
        }
        self.refused.set(Some(taken));
        false
    }
}

/// One request on its way through.
struct Run<'r> {
    allowance: &'r Allowance<'r>,
    /// How much of `out` is counted (bytes).
    out_counted: usize,
    preparer: &'r Preparer,
    writer: Option<Writer<'r>>,
    /// The `_id`s of the request are ours, not a client's.
    ids_are_ours: bool,
    defaults: &'r Defaults,
    now: Timestamp,
    out: String,
    slots: Vec<Range<usize>>,
    scratch: Scratch,
    last_index: Option<Arc<str>>,
    /// Whether the item's document is deeper than is allowed.
    is_deep: bool,
    counts: Counts,
    /// The rule of every hit.
    hits: Vec<usize>,
}

impl Run<'_> {
    /// Counts what was written since the last time. Whether there is room for it.
    fn count_out(&mut self) -> bool {
        let more = self.out.len().saturating_sub(self.out_counted);
        self.out_counted = self.out_counted.max(self.out.len());
        self.allowance.takes(more)
    }

    fn item(&mut self, item: &Item<'_>, members: &[Member<'_>], buffers: &mut Buffers<'_>) -> Plan {
        let name = match item.name.as_ref() {
            "create" => Cow::Borrowed("create"),
            "index" => Cow::Borrowed("index"),
            other => Cow::Owned(other.to_owned()),
        };
        let index = item.shown.index.as_deref().map(|it| self.shared(it));
        let mut id = item.shown.id.as_deref().map(str::to_owned);
        let allowed = |action: &Action<'_>| match &self.writer {
            Some(writer) => writer.check(action.op, &action.index),
            None => Ok(()),
        };
        self.is_deep = item.depth > self.preparer.policy.depth_max;
        let fate = match item.action.as_ref().map(|it| (it, allowed(it))) {
            // What cannot be read may be kept as a dead letter: only of who may write there.
            Err(refusal) => Fate::Refused(match &self.writer {
                Some(writer) => writer
                    .check(Op::Create, item.shown.index.as_deref().unwrap_or_default())
                    .err()
                    .unwrap_or_else(|| refusal.clone()),
                None => refusal.clone(),
            }),
            Ok((_, Err(refusal))) => Fate::Refused(refusal),
            Ok((action, Ok(()))) if matches!(action.op, Op::Index | Op::Create) => {
                self.document(action, item, members, buffers, &mut id)
            }
            Ok((action, Ok(()))) => self.as_it_came(action, item),
        };
        Plan { name, index, id, origin: item.origin.clone(), fate }
    }

    /// Most items of a request name the same index.
    fn shared(&mut self, index: &str) -> Arc<str> {
        match &self.last_index {
            Some(last) if **last == *index => Arc::clone(last),
            _ => {
                let shared: Arc<str> = Arc::from(index);
                self.last_index = Some(Arc::clone(&shared));
                shared
            }
        }
    }

    fn as_it_came(&mut self, action: &Action<'_>, item: &Item<'_>) -> Fate {
        let limit = self.preparer.policy.depth_max;
        if item.depth > limit {
            let levels = format!("the document is {} levels deep", item.depth);
            return Fate::Refused(unreadable(format!(
                "{levels}, {limit} are allowed (limits.depth_max)"
            )));
        }
        let start = self.out.len();
        action.write(self.defaults, &mut self.out);
        self.out.push('\n');
        if action.op.has_source() {
            self.stamped(item.source);
            self.out.push('\n');
        }
        self.sent(start, Holds::Other, false).map_or_else(Fate::Refused, Fate::Sent)
    }

    /// A document as it is. A shipper tells a time with each; what is pushed may have none, and gets ours: a data
    /// stream takes no document without (Elasticsearch 8.19, `DataStreamTimestampFieldMapper`).
    fn stamped(&mut self, document: &str) {
        let inside = document.trim_start().strip_prefix('{').filter(|_| self.ids_are_ours);
        let Some(inside) = inside.filter(|_| json::get(document, "@timestamp").is_none()) else {
            self.out.push_str(document);
            return;
        };
        self.out.push_str("{\"@timestamp\":");
        json::push_string(&mut self.out, &self.now.to_string());
        if !inside.trim_start().starts_with('}') {
            self.out.push(',');
        }
        self.out.push_str(inside);
    }

    fn sent(
        &mut self,
        start: usize,
        holds: Holds,
        conflict_is_success: bool,
    ) -> Result<Sent, Refusal> {
        // The last line of defence: an action of an item's own making would shift the meaning of all that follow.
        let lines = self.out.as_bytes().get(start..).unwrap_or_default();
        if memchr::memchr_iter(b'\n', lines).count() > 2 {
            self.out.truncate(start);
            return Err(unreadable("the document cannot be written on one line".into()));
        }
        // What stands beside an event, and what is no body in it, stays in its document however deep it is.
        let limit = self.preparer.policy.depth_max;
        let may_be_deep = self.is_deep || holds == Holds::EventAndText;
        let document = self.out.get(start..).and_then(|it| it.split_once('\n')).map(|(_, it)| it);
        if may_be_deep && document.is_some_and(|it| json::check(it, limit).is_err()) {
            self.out.truncate(start);
            let reason =
                format!("the document is more than {limit} levels deep (limits.depth_max)");
            return Err(unreadable(reason));
        }
        self.slots.push(start..self.out.len());
        let slot = self.slots.len() - 1;
        let conflict_is_success = conflict_is_success || self.ids_are_ours;
        Ok(Sent { slot, alerts: Vec::new(), holds, conflict_is_success })
    }

    /// A document becomes what its parts become: all of them, or none.
    fn document(
        &mut self,
        action: &Action<'_>,
        item: &Item<'_>,
        members: &[Member<'_>],
        buffers: &mut Buffers<'_>,
        id: &mut Option<String>,
    ) -> Fate {
        let settings = &self.preparer.policy.unwrap;
        let before = Mark::of(self);
        let makes_ids = self.preparer.policy.ids == Ids::Audit;
        let start = self.out.len();
        let mut parts =
            Parts { start, source: makes_ids.then_some(item.source), ..Parts::default() };
        unwrap::each(item.source, members, item.depth, settings, buffers, &mut |part| {
            self.part(part, action, id, &mut parts)
        });
        match parts.end {
            End::AsItCame => return self.as_it_came(action, item),
            End::Whole => (),
            End::TooMany => {
                before.restore(self);
                let unread = Unread::new(members, Broken::TooLarge);
                return self.broken(&unread, action).map_or_else(Fate::Refused, Fate::Sent);
            }
            End::Refused(refusal) => {
                before.restore(self);
                return Fate::Refused(refusal);
            }
        }
        if id.is_none() {
            *id = parts.made_id;
        }
        match parts.sent.pop() {
            Some(one) if parts.sent.is_empty() => Fate::Sent(one),
            Some(last) => {
                parts.sent.push(last);
                Fate::Several(parts.sent)
            }
            None => Fate::Several(Vec::new()),
        }
    }

    fn part(
        &mut self,
        part: Part<'_>,
        action: &Action<'_>,
        id: &Option<String>,
        parts: &mut Parts<'_>,
    ) -> ControlFlow<()> {
        let policy = &self.preparer.policy;
        let sent = match policy.wanted(part) {
            Part::Other => {
                parts.end = End::AsItCame;
                return ControlFlow::Break(());
            }
            Part::Broken(unread) if unread.depth() >= policy.depth_max => {
                parts.end = End::AsItCame;
                return ControlFlow::Break(());
            }
            Part::Dropped(reason) => return self.dropped(reason),
            Part::Line(line) => self.line(action, &line, id, parts),
            Part::Broken(unread) => self.broken(&unread, action),
            Part::Audit(found) => self.audit(action, &found, id, parts),
            Part::Piece(piece) => self.piece(action, &piece, id, parts),
        };
        match sent {
            Ok(sent) => parts.sent.push(sent),
            Err(refusal) => {
                parts.end = End::Refused(refusal);
                return ControlFlow::Break(());
            }
        }
        let is_full = self.out.len() > policy.batch_bytes_max;
        // What came before it may have filled the batch: then the request is refused, and the shipper sends it in two.
        // Those who push send it as it is, for ever.
        let own_bytes = self.out.len().saturating_sub(parts.start);
        let is_too_large = own_bytes > policy.batch_bytes_max || is_full && self.ids_are_ours;
        if parts.sent.len() > policy.items_max || is_too_large || !self.count_out() {
            parts.end = End::TooMany;
            return ControlFlow::Break(());
        }
        if is_full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn dropped(&mut self, reason: Dropped) -> ControlFlow<()> {
        let place = Dropped::ALL.iter().position(|it| *it == reason);
        if let Some(count) = place.and_then(|it| self.counts.dropped.get_mut(it)) {
            *count += 1;
        }
        ControlFlow::Continue(())
    }

    fn broken(&mut self, unread: &Unread<'_>, action: &Action<'_>) -> Result<Sent, Refusal> {
        self.count_broken(unread.reason);
        let start = self.out.len();
        action.write(self.defaults, &mut self.out);
        self.out.push('\n');
        let mut document = String::new();
        unwrap::write_broken(unread, &mut self.scratch, &mut document);
        self.stamped(&document);
        self.out.push('\n');
        self.sent(start, Holds::Other, false)
    }

    fn count_broken(&mut self, reason: Broken) {
        let place = Broken::ALL.iter().position(|it| *it == reason);
        if let Some(count) = place.and_then(|it| self.counts.broken.get_mut(it)) {
            *count += 1;
        }
    }

    /// A line of the control plane goes to the data stream of its component.
    fn line(
        &mut self,
        action: &Action<'_>,
        line: &Line<'_>,
        id: &Option<String>,
        parts: &mut Parts<'_>,
    ) -> Result<Sent, Refusal> {
        self.counts.lines += 1;
        let policy = &self.preparer.policy;
        let namespace =
            namespace(&action.index, line.members()).unwrap_or(Cow::Borrowed(&policy.namespace));
        let dataset = line.component.dataset();
        let labels =
            Labels { data_stream: Some((dataset, namespace.as_ref())), ..Labels::default() };
        let made = parts.record_id(id, action, line.is_split(), line.record(), line.text);
        let start = self.out.len();
        let final_id = made.as_deref().or(id.as_deref().filter(|_| !line.is_split()));
        let target = format!("logs-{dataset}-{namespace}");
        action.write_rerouted(&target, final_id, self.defaults, &mut self.out);
        parts.made_id = parts.made_id.take().or_else(|| made.clone());
        self.out.push('\n');
        unwrap::write_line(
            line,
            &labels,
            &policy.unwrap,
            self.now,
            &mut self.scratch,
            &mut self.out,
        );
        self.out.push('\n');
        self.sent(start, Holds::Other, made.is_some())
    }

    /// A piece goes where the whole was to go.
    fn piece(
        &mut self,
        action: &Action<'_>,
        piece: &Piece<'_>,
        id: &Option<String>,
        parts: &mut Parts<'_>,
    ) -> Result<Sent, Refusal> {
        if let Some(reason) = piece.broken {
            self.count_broken(reason);
        }
        let made = parts.record_id(id, action, true, piece.record(), piece.text);
        let start = self.out.len();
        match &made {
            Some(made) => action.write_with_id(Op::Create, made, self.defaults, &mut self.out),
            None => action.write(self.defaults, &mut self.out),
        }
        parts.made_id = parts.made_id.take().or_else(|| made.clone());
        self.out.push('\n');
        unwrap::write_piece(piece, self.now, &mut self.scratch, &mut self.out);
        self.out.push('\n');
        self.sent(start, Holds::Other, made.is_some())
    }

    fn audit(
        &mut self,
        action: &Action<'_>,
        found: &Found<'_>,
        id: &Option<String>,
        parts: &mut Parts<'_>,
    ) -> Result<Sent, Refusal> {
        let provider = Provider::ALL.iter().position(|it| *it == found.provider());
        if let Some(count) = provider.and_then(|it| self.counts.audit.get_mut(it)) {
            *count += 1;
        }
        self.counts.cut += u64::from(found.is_cut());
        let Preparer { policy, classifier } = self.preparer;
        let event = found.event;
        let hits = classifier.classify(event).hits;
        let titles: Vec<&str> = hits
            .iter()
            .filter_map(|it| classifier.rules().get(*it))
            .map(|it| it.title.as_str())
            .collect();
        let command = classify::kubectl(event);
        let namespace =
            namespace(&action.index, found.members()).unwrap_or(Cow::Borrowed(&policy.namespace));
        let id = id.as_deref().filter(|_| !found.is_split());
        // What is pushed comes from no shipper that named an index.
        let route = if self.ids_are_ours { Route::Reroute } else { policy.route };
        let reroute = route == Route::Reroute;
        let labels = Labels {
            data_stream: reroute.then_some((DATASET_LOGS, namespace.as_ref())),
            kubectl: command.as_deref(),
            rules: &titles,
        };
        // An `index` with the client's `_id` would replace what is there; a data stream only creates, and takes
        // documents of many of the client's indices. Its `_id` there is ours, so that no event hides another.
        let replaces = reroute && action.op == Op::Index && id.is_some();
        let wants = policy.ids == Ids::Audit && (id.is_none() || self.ids_are_ours);
        let made = (replaces || wants).then(|| made_id(found, None));
        let final_id = made.as_deref().or(id);
        let start = self.out.len();
        let target = match (route, &made) {
            (Route::Reroute, _) => {
                let target = format!("logs-{DATASET_LOGS}-{namespace}");
                action.write_rerouted(&target, final_id, self.defaults, &mut self.out);
                Cow::Owned(target)
            }
            (Route::Keep, Some(made)) => {
                action.write_with_id(Op::Create, made, self.defaults, &mut self.out);
                Cow::Borrowed(action.index.as_ref())
            }
            (Route::Keep, None) => {
                match found.is_split() {
                    true => action.write_without_id(self.defaults, &mut self.out),
                    false => action.write(self.defaults, &mut self.out),
                }
                Cow::Borrowed(action.index.as_ref())
            }
        };
        self.out.push('\n');
        unwrap::write(found, &labels, &policy.unwrap, self.now, &mut self.scratch, &mut self.out);
        self.out.push('\n');
        let holds =
            if found.keeps_text(&policy.unwrap) { Holds::EventAndText } else { Holds::Event };
        let mut sent = self.sent(start, holds, made.is_some())?;
        let place = classify::Place { index: &target, id: final_id };
        for hit in hits {
            self.hits.push(hit);
            if self.alert(hit, found, &labels, place, &namespace) {
                sent.alerts.push(hit);
            }
        }
        parts.made_id = parts.made_id.take().or(made);
        Ok(sent)
    }

    /// Writes the alert of one hit. False if the rule only labels.
    fn alert(
        &mut self,
        hit: usize,
        found: &Found<'_>,
        labels: &Labels<'_>,
        place: classify::Place<'_>,
        namespace: &str,
    ) -> bool {
        let Preparer { policy, classifier } = self.preparer;
        let Some(rule) = classifier.rules().get(hit).filter(|it| it.level > Level::Informational)
        else {
            return false;
        };
        let when = found.when(self.now);
        let index = match &policy.alerts {
            AlertTarget::DataStream => format!("logs-{DATASET_ALERTS}-{namespace}"),
            AlertTarget::Daily(prefix) => {
                // One alert for a request has one day, though its stages may end on another.
                let received = || found.event.received.as_deref()?.parse::<Timestamp>().ok();
                let day = match rule.once_per {
                    OncePer::Request => received().filter(|it| *it <= when.at).unwrap_or(when.at),
                    OncePer::Stage => when.at,
                };
                format!("{prefix}-{}", day.strftime("%Y.%m.%d"))
            }
        };
        let start = self.out.len();
        self.out.push_str("{\"create\":{\"_index\":");
        json::push_string(&mut self.out, &index);
        self.out.push_str(",\"_id\":");
        json::push_string(&mut self.out, &made_id(found, Some((&rule.id, rule.once_per))));
        self.out.push_str("}}\n");
        let alert = Alert {
            rule,
            event: found.event,
            cluster: found.cluster(),
            labels,
            place,
            data_stream: (policy.alerts == AlertTarget::DataStream)
                .then_some((DATASET_ALERTS, namespace)),
            timestamp: &when.text,
            now: self.now,
        };
        classify::write_alert(&alert, &mut self.out);
        self.out.push('\n');
        self.slots.push(start..self.out.len());
        true
    }
}

/// What the parts of a document become.
#[derive(Default)]
struct Parts<'a> {
    /// Where they begin in the batch.
    start: usize,
    /// The document, of which an `_id` may be made.
    source: Option<&'a str>,
    sent: Vec<Sent>,
    end: End,
    /// The id that was made for the first part: the item is answered with it, if the client gave none.
    made_id: Option<String>,
    /// Records that have no id of their own.
    unnamed: u64,
    /// How often each id was made of a record and its text.
    made: HashMap<String, u64>,
    /// What stands for the client's `_id`, if it gave none.
    digest: Option<String>,
}

/// How it ended.
#[derive(Default)]
enum End {
    #[default]
    Whole,
    /// There is nothing of Kubernetes in it.
    AsItCame,
    TooMany,
    Refused(Refusal),
}

impl Parts<'_> {
    /// The `_id` of a record that is no audit event; `None` where the client's stays, or Elasticsearch chooses.
    fn record_id(
        &mut self,
        id: &Option<String>,
        action: &Action<'_>,
        is_split: bool,
        record: Option<Record<'_>>,
        text: &str,
    ) -> Option<String> {
        if !is_split && id.is_some() && action.op == Op::Create {
            return None;
        }
        if let Some(Record { source: [group, stream], id }) = record {
            // A record may have become several, here or in the shipper: what is another text is another document.
            let made = hashed(&["record", group, stream, id, text]);
            let before = self.made.entry(made.clone()).or_default();
            *before += 1;
            return Some(match *before {
                1 => made,
                count => hashed(&["again", &made, &count.to_string()]),
            });
        }
        self.unnamed += 1;
        let nth = self.unnamed.to_string();
        if let Some(id) = id {
            return Some(hashed(&["piece", &action.index, id, &nth]));
        }
        // The whole comes again, if one part of it is not stored.
        let source = self.source.filter(|_| is_split)?;
        let digest = self.digest.get_or_insert_with(|| hashed(&[source]));
        Some(hashed(&["part", &action.index, digest, &nth]))
    }
}

/// Where a batch was before an item.
struct Mark {
    out: usize,
    slots: usize,
    hits: usize,
    counts: Counts,
}

impl Mark {
    fn of(run: &Run<'_>) -> Self {
        // The hits are counted at the end: the list is empty, and copying it costs nothing.
        let counts = run.counts.clone();
        Self { out: run.out.len(), slots: run.slots.len(), hits: run.hits.len(), counts }
    }

    fn restore(self, run: &mut Run<'_>) {
        run.out.truncate(self.out);
        run.slots.truncate(self.slots);
        run.hits.truncate(self.hits);
        run.counts = self.counts;
    }
}

/// The namespace of a data stream's name, `logs-DATASET-NAMESPACE`, else what the document says in
/// `data_stream.namespace`; if a data stream can be called so. It becomes part of an index name, so nothing else
/// may come from data.
pub(crate) fn namespace<'a>(index: &'a str, members: &[Member<'a>]) -> Option<Cow<'a, str>> {
    let of_index = || {
        let (_, namespace) = index.strip_prefix("logs-")?.split_once('-')?;
        Some(Cow::Borrowed(namespace))
    };
    let of_document =
        || json::string(json::get(json::member(members, "data_stream")?, "namespace")?);
    of_index().or_else(of_document).filter(|it| is_namespace(it))
}

/// Elasticsearch's rules for index names (8.19, `MetadataCreateIndexService.validateIndexOrAliasName`), and ECS's
/// limit of 100 bytes for `data_stream.namespace`.
#[must_use]
pub fn is_namespace(text: &str) -> bool {
    let allowed = |it: char| {
        !it.is_uppercase()
            && !it.is_whitespace()
            && !it.is_control()
            && !"\\/*?\"<>|,#:".contains(it)
    };
    !text.is_empty() && text.len() <= 100 && text.chars().all(allowed)
}

/// The `_id` of an event's document, or of the alert that a rule raises on it: 32 hex digits of a SHA-256.
///
/// The auditID alone does not tell requests apart: the API server takes it from the header `Audit-ID` (apiserver
/// 1.35, `pkg/endpoints/filters/audit_init.go`), so a client could give two requests one, and the second would
/// count as there already. When the API server received a request, the client does not choose, but could guess: what a
/// container printed has an id that no event of an API server has, nor another print.
pub(crate) fn made_id(found: &Found<'_>, rule: Option<(&str, OncePer)>) -> String {
    let event = found.event;
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    part(found.cluster().unwrap_or_default());
    for text in
        [&event.audit_id, &event.received, &event.user_name, &event.verb, &event.request_uri]
    {
        part(text.as_deref().unwrap_or_default());
    }
    if event.audit_id.is_none() || event.received.is_none() {
        // Nothing else tells it from others.
        part(event.text);
    }
    if found.is_from_container() {
        part("container");
        part(event.text);
    }
    match rule {
        None => {
            part(event.stage.as_deref().unwrap_or_default());
            // One more thing that whoever forges events beforehand cannot know.
            part(event.stage_time.as_deref().unwrap_or_default());
        }
        Some((rule, once_per)) => {
            part(rule);
            if once_per == OncePer::Stage {
                part(event.stage.as_deref().unwrap_or_default());
            }
        }
    }
    hex(hash)
}

/// An `_id` of these parts: 32 hex digits.
#[must_use]
pub fn hashed(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(hash)
}

/// The first 16 bytes of a digest as 32 hex digits.
fn hex(hash: Sha256) -> String {
    hash.finalize().iter().take(16).fold(String::with_capacity(32), |mut out, byte| {
        // Writing to a String cannot fail.
        write!(out, "{byte:02x}").ok();
        out
    })
}

/// What became of one slot, as far as the item is concerned.
enum Slot {
    Stored,
    Duplicate,
    Returned,
    Rejected,
}

fn slot(status: u16, conflict_is_success: bool) -> Slot {
    match status {
        200..300 => Slot::Stored,
        409 if conflict_is_success => Slot::Duplicate,
        429 | 500..600 => Slot::Returned,
        _ => Slot::Rejected,
    }
}

impl Prepared {
    /// About how much memory the batch and its answer take (bytes).
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.batch.len_bytes() as u64
            + Self::weight_bytes_of(self.plans.len() + self.batch.slot_count())
    }

    /// About how much memory so many items and their answers take, without their documents (bytes).
    #[must_use]
    pub fn weight_bytes_of(items: usize) -> u64 {
        /// An item's answer, and what is kept of it until then.
        const ITEM_BYTES: u64 = 400;
        (items as u64).saturating_mul(ITEM_BYTES)
    }

    /// Items in the request.
    #[must_use]
    pub fn item_count(&self) -> usize {
        self.plans.len()
    }

    /// The audit events that Elasticsearch refused for what is in them (400), in a reduced form that it takes,
    /// and their slots in the first batch; `None` if there are none. What a client of the API server wrote into
    /// a request must not keep the record of that request from being stored.
    #[must_use]
    pub fn reduced(
        &self,
        answers: &[AnswerItem],
        form: Reduced,
    ) -> Option<(OutgoingBatch, Vec<usize>)> {
        let (mut out, mut places, mut slots) = (String::new(), Vec::new(), Vec::new());
        for sent in self.plans.iter().flat_map(|it| it.fate.sent()) {
            if sent.holds == Holds::Other {
                continue;
            }
            let slot = sent.slot;
            let Some(answer) = answers.get(slot).filter(|it| it.status == 400) else { continue };
            let lines = self.batch.slot(slot);
            let text = std::str::from_utf8(&lines).unwrap_or_default();
            let Some((action, document)) = text.split_once('\n') else { continue };
            let start = out.len();
            out.push_str(action);
            out.push('\n');
            let has_text = sent.holds == Holds::EventAndText;
            let reason = answer.error();
            unwrap::write_reduced(document.trim_end(), form, has_text, &reason, &mut out);
            out.push('\n');
            places.push(start..out.len());
            slots.push(slot);
        }
        (!slots.is_empty()).then(|| (OutgoingBatch::new(out, places), slots))
    }

    /// Writes the client's answer. `answers` are Elasticsearch's, one for each slot of the batch, in order; `dead` are
    /// the places of the items that are to be dead letters, in order, and whether they are kept.
    #[must_use]
    pub fn reply(
        &self,
        answers: &[AnswerItem],
        dead: &[(usize, Letter)],
        took_ms: u128,
        rule_titles: &dyn Fn(usize) -> String,
    ) -> (String, Tally) {
        let (mut reply, mut tally) = (ReplyWriter::default(), Tally::default());
        let mut dead = dead.iter().peekable();
        for (place, plan) in self.plans.iter().enumerate() {
            if let Some((_, letter)) = dead.next_if(|(it, _)| *it == place) {
                let (index, id) = (plan.index.as_deref(), plan.id.as_deref());
                // Kept or not, an event without its alert is not done with.
                let mut failed = None;
                for sent in plan.fate.sent() {
                    let refusal = self.alerts_of(sent, answers, rule_titles, &mut tally);
                    failed = worse(failed, refusal);
                }
                if let Some(refusal) = failed {
                    match slot(refusal.status, false) {
                        Slot::Returned => tally.returned += 1,
                        _ => tally.rejected += 1,
                    }
                    reply.refused(&plan.name, index, id, &refusal);
                    continue;
                }
                match letter {
                    Letter::Kept => {
                        tally.dead_lettered += 1;
                        reply.dead_letter(&plan.name, index.unwrap_or_default(), id);
                    }
                    Letter::Later => {
                        tally.returned += 1;
                        let reason =
                            "refused for good, and cannot be kept as a dead letter for now";
                        reply.refused(&plan.name, index, id, &unavailable(reason));
                    }
                }
                continue;
            }
            self.reply_to(plan, answers, rule_titles, &mut reply, &mut tally);
        }
        debug_assert_eq!(reply.count(), self.plans.len(), "one answer for each item");
        (reply.finish(took_ms), tally)
    }

    /// Whether the whole request may be sent again without storing anything twice: what is stored has an id of ours.
    #[must_use]
    pub fn may_be_repeated(&self, answers: &[AnswerItem]) -> bool {
        self.plans.iter().flat_map(|it| it.fate.sent()).all(|sent| {
            sent.conflict_is_success || answers.get(sent.slot).is_none_or(|it| it.status >= 300)
        })
    }

    fn reply_to(
        &self,
        plan: &Plan,
        answers: &[AnswerItem],
        rule_titles: &dyn Fn(usize) -> String,
        reply: &mut ReplyWriter,
        tally: &mut Tally,
    ) {
        let (index, id) = (plan.index.as_deref(), plan.id.as_deref());
        let sent = match &plan.fate {
            Fate::Refused(refusal) => {
                tally.rejected += 1;
                return reply.refused(&plan.name, index, id, refusal);
            }
            fate => fate.sent(),
        };
        let ends = sent.iter().map(|sent| {
            let failed = self.alerts_of(sent, answers, rule_titles, tally);
            // The forward room gives an answer for each slot; an item is never left without one all the same.
            let Some(answer) = answers.get(sent.slot) else {
                return Ended::Failed(unavailable("no answer for this item"));
            };
            match (slot(answer.status, sent.conflict_is_success), failed) {
                (Slot::Stored | Slot::Duplicate, Some(refusal)) => Ended::Failed(refusal),
                (slot, _) => Ended::Answered(slot, answer),
            }
        });
        let name = &plan.name;
        match ends.max_by_key(Ended::badness) {
            None => {
                tally.dropped += 1;
                reply.dropped(name, index.unwrap_or_default(), id);
            }
            Some(Ended::Failed(refusal)) => {
                match slot(refusal.status, false) {
                    Slot::Returned => tally.returned += 1,
                    _ => tally.rejected += 1,
                }
                reply.refused(name, index, id, &refusal);
            }
            Some(Ended::Answered(slot, answer)) => {
                let index = index.unwrap_or_default();
                match slot {
                    Slot::Stored => tally.stored += 1,
                    Slot::Duplicate => {
                        tally.duplicate += 1;
                        return reply.found(name, index, id.unwrap_or_default());
                    }
                    Slot::Returned => tally.returned += 1,
                    Slot::Rejected if answer.status == 409 => tally.duplicate += 1,
                    Slot::Rejected => tally.rejected += 1,
                }
                reply.answered(name, index, id, answer);
            }
        }
    }

    /// Why the alerts of an item are not all stored; what may pass later first, because the shipper tries again.
    fn alerts_of(
        &self,
        sent: &Sent,
        answers: &[AnswerItem],
        rule_titles: &dyn Fn(usize) -> String,
        tally: &mut Tally,
    ) -> Option<Refusal> {
        let mut failed: Option<Refusal> = None;
        for (offset, rule) in sent.alerts.iter().enumerate() {
            let answer = answers.get(sent.slot + 1 + offset);
            let status = answer.map_or(503, |it| it.status);
            let kept = match slot(status, true) {
                Slot::Stored => {
                    tally.alerts_created.push(*rule);
                    continue;
                }
                Slot::Duplicate => {
                    tally.alerts_duplicate += 1;
                    continue;
                }
                Slot::Returned => true,
                Slot::Rejected => failed.is_none(),
            };
            tally.alerts_failed += 1;
            if kept {
                let why = answer.map_or_else(|| "no answer".to_owned(), AnswerItem::error);
                failed = Some(Refusal {
                    status,
                    kind: "k8scop_alert_not_stored_exception",
                    reason: format!(
                        "the document is stored, its alert [{}] is not: {why}",
                        rule_titles(*rule)
                    ),
                });
            }
        }
        failed
    }
}

/// How a part of an item ended.
enum Ended<'a> {
    Answered(Slot, &'a AnswerItem),
    /// Its document is stored, and an alert of it is not; or it has no answer.
    Failed(Refusal),
}

impl Ended<'_> {
    /// The worst part decides about the item. One that may be stored later stands over all: the item comes again.
    fn badness(&self) -> u8 {
        match self {
            Self::Answered(Slot::Duplicate, _) => 0,
            Self::Answered(Slot::Stored, _) => 1,
            Self::Answered(Slot::Rejected, _) => 3,
            Self::Answered(Slot::Returned, _) => 4,
            Self::Failed(refusal) => match slot(refusal.status, false) {
                Slot::Returned => 4,
                _ => 2,
            },
        }
    }
}

/// The one of two that may pass later, else the first.
fn worse(one: Option<Refusal>, other: Option<Refusal>) -> Option<Refusal> {
    let may_pass = |it: &Refusal| matches!(slot(it.status, false), Slot::Returned);
    match (one, other) {
        (Some(one), Some(other)) if !may_pass(&one) && may_pass(&other) => Some(other),
        (one, other) => one.or(other),
    }
}

fn unreadable(reason: String) -> Refusal {
    Refusal { status: 400, kind: "document_parsing_exception", reason }
}

fn unavailable(reason: &str) -> Refusal {
    Refusal { status: 503, kind: "unavailable_shards_exception", reason: reason.into() }
}

#[cfg(test)]
mod tests;
