use std::{
    borrow::Cow,
    cell::Cell,
    collections::HashMap,
    mem,
    ops::{ControlFlow, Range},
    sync::Arc,
};

use jiff::Timestamp;

use super::{
    AlertTarget, Ask, Counts, DATASET_ALERTS, DATASET_LOGS, Door, Fate, Holds, Ids, Note, Plan,
    Prepared, Preparer, Raised, Room, Route, Sent, TooLarge,
    ids::{hashed, made_id, namespace, number},
    observation::observation,
};
use crate::{
    alerts::{Asked, Draft, Ruling},
    bulk::{Action, Defaults, Item, Items, Op, OutgoingBatch, Refusal, Writer},
    classify::{self, Alert, Classifier},
    correlate,
    json::{self, Member},
    rules::{Level, OncePer, Rule},
    unwrap::{
        self, Broken, Buffers, Clock, Dropped, Found, Labels, Line, Part, Piece, Provider, Record,
        Scratch, Unread,
    },
};

/// Reads a bulk body and writes the batch.
pub(super) fn prepared(
    preparer: &Preparer,
    door: Door<'_>,
    room: Room<'_>,
    body: &[u8],
    defaults: &Defaults,
    now: Timestamp,
) -> Result<Prepared, TooLarge> {
    let allowance = Allowance::new(room, body.len());
    let classifier = preparer.classifier();
    let mut run = Run {
        allowance: &allowance,
        out_counted: 0,
        preparer,
        classifier: &classifier,
        writer: door.writer,
        ids_are_ours: door.ids_are_ours,
        alerts_only: door.alerts_only,
        notes: door.is_noted.then(Vec::new),
        item: 0,
        defaults,
        now,
        out: String::with_capacity(body.len() + body.len() / 4),
        slots: Vec::new(),
        scratch: Scratch::default(),
        spare: Vec::new(),
        last_index: None,
        is_deep: false,
        counts: Counts::default(),
        hits: Vec::new(),
        low: Vec::new(),
        draft: Draft::default(),
        held_counted: 0,
    };
    let mut items = Items::new(body, defaults, preparer.policy.items_max);
    let (mut plans, mut members) = (Vec::new(), Vec::new());
    // What is decompressed is held, and so is the text that is taken out of it.
    let inflate = |bytes: usize| allowance.takes(bytes.saturating_mul(2));
    let mut buffers = Buffers::within(preparer.policy.inflated_bytes_max, &inflate);
    while let Some(item) = items.next_into(&mut members)? {
        run.item = plans.len();
        plans.push(run.item(&item, &members, &mut buffers));
        run.count_out();
        if let Some(bytes) = allowance.refused.get() {
            return Err(TooLarge::NoRoom { bytes });
        }
        if run.out.len() > preparer.policy.batch_bytes_max {
            return Err(TooLarge::Batch { limit: preparer.policy.batch_bytes_max });
        }
    }
    let Run { out, slots, mut counts, hits, low, draft, notes, .. } = run;
    hits.into_iter().for_each(|it| count(&mut counts.hits, it));
    low.into_iter().for_each(|it| count(&mut counts.low, it));
    let held_bytes = draft.held_bytes();
    let groups = draft.into_groups();
    Ok(Prepared {
        batch: OutgoingBatch::new(out, slots),
        plans,
        counts,
        classifier,
        groups,
        held_bytes,
        notes: notes.unwrap_or_default(),
    })
}

fn count<T: PartialEq>(counts: &mut Vec<(T, u64)>, one: T) {
    match counts.iter_mut().find(|(it, _)| *it == one) {
        Some((_, count)) => *count += 1,
        None => counts.push((one, 1)),
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
        let (more, little) = (taken.saturating_mul(4), taken.saturating_add(taken / 4));
        for ask in [Ask::Ahead(more), Ask::Ahead(little), Ask::Needed(taken)] {
            if (self.room)(ask) {
                let (Ask::Ahead(bytes) | Ask::Needed(bytes)) = ask;
                self.granted.set(bytes);
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
    /// One set of rules for the whole request.
    classifier: &'r Classifier,
    writer: Option<Writer<'r>>,
    /// The `_id`s of the request are ours, not a client's.
    ids_are_ours: bool,
    /// Documents are not written.
    alerts_only: bool,
    /// What was found, if it is asked for.
    notes: Option<Vec<Note>>,
    /// The place of the item.
    item: usize,
    defaults: &'r Defaults,
    now: Timestamp,
    out: String,
    slots: Vec<Range<usize>>,
    scratch: Scratch,
    /// An empty list, to be used again.
    spare: Vec<Sent>,
    last_index: Option<Arc<str>>,
    /// Whether the item's document is deeper than is allowed.
    is_deep: bool,
    counts: Counts,
    /// The rule of every hit.
    hits: Vec<usize>,
    /// Rule and level of each that is too low for an alert.
    low: Vec<(usize, Level)>,
    /// Which alerts are told, if the request is stored.
    draft: Draft,
    /// How much of it is counted (bytes).
    held_counted: usize,
}

impl Run<'_> {
    /// Counts what was written since the last time. Whether there is room for it.
    fn count_out(&mut self) -> bool {
        let more = self.out.len().saturating_sub(self.out_counted);
        self.out_counted = self.out_counted.max(self.out.len());
        let held = self.draft.held_bytes();
        let more = more + held - mem::replace(&mut self.held_counted, held);
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
        let sent = self.sent(Holds::Other, false, |run| {
            action.write(run.defaults, &mut run.out);
            run.out.push('\n');
            if action.op.has_source() {
                run.stamped(item.source);
                run.out.push('\n');
            }
        });
        sent.map_or_else(Fate::Refused, Fate::Sent)
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

    /// A slot of a document. Where only alerts go out it is empty: what may be refused for what was written is
    /// written all the same, to look at it.
    fn sent(
        &mut self,
        holds: Holds,
        conflict_is_success: bool,
        write: impl FnOnce(&mut Self),
    ) -> Result<Sent, Refusal> {
        let start = self.out.len();
        // What stands beside an event, and what is no body in it, stays in its document however deep it is.
        let may_be_deep = self.is_deep || holds == Holds::EventAndText;
        if !self.alerts_only || may_be_deep {
            write(self);
        }
        // The last line of defence: an action of an item's own making would shift the meaning of all that follow.
        let lines = self.out.as_bytes().get(start..).unwrap_or_default();
        if memchr::memchr_iter(b'\n', lines).count() > 2 {
            self.out.truncate(start);
            return Err(unreadable("the document cannot be written on one line".into()));
        }
        let limit = self.preparer.policy.depth_max;
        let document = self.out.get(start..).and_then(|it| it.split_once('\n')).map(|(_, it)| it);
        if may_be_deep && document.is_some_and(|it| json::check(it, limit).is_err()) {
            self.out.truncate(start);
            let reason =
                format!("the document is more than {limit} levels deep (limits.depth_max)");
            return Err(unreadable(reason));
        }
        if self.alerts_only {
            self.out.truncate(start);
        }
        self.slots.push(start..self.out.len());
        let slot = self.slots.len() - 1;
        let conflict_is_success = conflict_is_success || self.ids_are_ours;
        Ok(Sent {
            slot,
            alerts: Vec::new(),
            held: Vec::new(),
            holds,
            conflict_is_success,
            observed: None,
        })
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
        let mut parts = Parts {
            start,
            source: makes_ids.then_some(item.source),
            sent: mem::take(&mut self.spare),
            ..Parts::default()
        };
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
            Some(one) if parts.sent.is_empty() => {
                self.spare = parts.sent;
                Fate::Sent(one)
            }
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
        self.note_broken(unread.reason);
        self.sent(Holds::Other, false, |run| {
            action.write(run.defaults, &mut run.out);
            run.out.push('\n');
            let mut document = String::new();
            unwrap::write_broken(unread, &mut run.scratch, &mut document);
            run.stamped(&document);
            run.out.push('\n');
        })
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
        let final_id = made.as_deref().or(id.as_deref().filter(|_| !line.is_split()));
        parts.made_id = parts.made_id.take().or_else(|| made.clone());
        self.sent(Holds::Other, made.is_some(), |run| {
            let target = format!("logs-{dataset}-{namespace}");
            action.write_rerouted(&target, final_id, run.defaults, &mut run.out);
            run.out.push('\n');
            let Self { scratch, out, .. } = run;
            unwrap::write_line(line, &labels, &policy.unwrap, run.now, scratch, out);
            run.out.push('\n');
        })
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
            self.note_broken(reason);
        }
        let made = parts.record_id(id, action, true, piece.record(), piece.text);
        parts.made_id = parts.made_id.take().or_else(|| made.clone());
        self.sent(Holds::Other, made.is_some(), |run| {
            match &made {
                Some(made) => action.write_with_id(Op::Create, made, run.defaults, &mut run.out),
                None => action.write(run.defaults, &mut run.out),
            }
            run.out.push('\n');
            unwrap::write_piece(piece, run.now, &mut run.scratch, &mut run.out);
            run.out.push('\n');
        })
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
        let (policy, classifier) = (&self.preparer.policy, self.classifier);
        let event = found.event;
        let hits = classifier.classify(event).hits;
        // Of an event without an alert nothing is told, where only alerts are.
        let is_told = !self.alerts_only || !hits.is_empty();
        let titles = classifier.labels(&hits);
        let command = is_told.then(|| classify::kubectl(event)).flatten();
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
        let made = (is_told && (replaces || wants)).then(|| made_id(found, None));
        let final_id = made.as_deref().or(id);
        let target = match route {
            Route::Reroute => Cow::Owned(format!("logs-{DATASET_LOGS}-{namespace}")),
            Route::Keep => Cow::Borrowed(action.index.as_ref()),
        };
        let holds =
            if found.keeps_text(&policy.unwrap) { Holds::EventAndText } else { Holds::Event };
        let mut sent = self.sent(holds, made.is_some(), |run| {
            let Self { scratch, out, defaults, now, .. } = run;
            match (route, &made) {
                (Route::Reroute, _) => action.write_rerouted(&target, final_id, defaults, out),
                (Route::Keep, Some(made)) => action.write_with_id(Op::Create, made, defaults, out),
                (Route::Keep, None) if found.is_split() => action.write_without_id(defaults, out),
                (Route::Keep, None) => action.write(defaults, out),
            }
            out.push('\n');
            unwrap::write(found, &labels, &policy.unwrap, *now, scratch, out);
            out.push('\n');
        })?;
        let place = classify::Place { index: &target, id: final_id };
        sent.observed = self.observed(found, &hits, place, made.as_deref());
        for hit in hits {
            self.hits.push(hit);
            self.alert(hit, found, &labels, place, &namespace, &mut sent);
        }
        self.note(found, &sent);
        parts.made_id = parts.made_id.take().or(made);
        Ok(sent)
    }

    /// Notes an event, if that is asked for.
    fn note(&mut self, found: &Found<'_>, sent: &Sent) {
        let Some(notes) = &mut self.notes else { return };
        let when = found.when(self.now);
        let text = |it: Option<&str>| it.map(Into::into);
        notes.push(Note {
            item: self.item,
            at: (when.clock == Clock::Event).then_some(when.at),
            user: text(found.event.user_name.as_deref()),
            cluster: text(found.cluster()),
            namespace: text(found.event.object.namespace.as_deref()),
            is_cut: found.is_cut(),
            alerts: sent.alerts.iter().map(|it| (it.rule, it.level, it.id)).collect(),
            broken: None,
        });
    }

    fn note_broken(&mut self, reason: Broken) {
        let Some(notes) = &mut self.notes else { return };
        notes.push(Note {
            item: self.item,
            at: None,
            user: None,
            cluster: None,
            namespace: None,
            is_cut: false,
            alerts: Vec::new(),
            broken: Some(reason),
        });
    }

    /// What the event means to correlations.
    fn observed(
        &mut self,
        found: &Found<'_>,
        hits: &[usize],
        place: classify::Place<'_>,
        made: Option<&str>,
    ) -> Option<Box<correlate::Event>> {
        if self.classifier.plan().is_empty() {
            return None;
        }
        let at_us = found.when(self.now).at.as_microsecond();
        // Whoever runs a container does not make time go on.
        if !found.is_from_container() {
            let cluster = found.cluster().unwrap_or_default();
            let newest_us = &mut self.counts.newest_us;
            let newest_us = match newest_us.contains_key(cluster) {
                true => newest_us.get_mut(cluster),
                false => Some(newest_us.entry(correlate::kept(cluster)).or_insert(at_us)),
            };
            if let Some(newest_us) = newest_us {
                *newest_us = at_us.max(*newest_us);
            }
        }
        observation(self.classifier, found, hits, place, made, at_us).map(Box::new)
    }

    /// Writes the alert of one hit, if there is one and it is told.
    fn alert(
        &mut self,
        hit: usize,
        found: &Found<'_>,
        labels: &Labels<'_>,
        place: classify::Place<'_>,
        namespace: &str,
        sent: &mut Sent,
    ) {
        let Preparer { policy, ledger, .. } = self.preparer;
        let is_told = |_: &&Rule| !self.classifier.plan().is_silent(hit);
        let Some(rule) = self.classifier.rules().get(hit).filter(is_told) else { return };
        let cluster = found.cluster().unwrap_or_default();
        let grade = policy.grade(rule, found);
        if !policy.alerting.is_alert(grade.level) {
            if rule.level > Level::Informational {
                self.low.push((hit, grade.level));
            }
            return;
        }
        let when = found.when(self.now);
        let index = match (policy.alerting.route(grade.level), &policy.alerts) {
            (Some(index), _) => index.to_owned(),
            (None, AlertTarget::DataStream) => format!("logs-{DATASET_ALERTS}-{namespace}"),
            (None, AlertTarget::Daily(prefix)) => {
                // One alert for a request has one day, though its stages may end on another.
                let received = || found.event.received.as_deref()?.parse::<Timestamp>().ok();
                let day = match rule.once_per {
                    OncePer::Request => received().filter(|it| *it <= when.at).unwrap_or(when.at),
                    OncePer::Stage => when.at,
                };
                format!("{prefix}-{}", day.strftime("%Y.%m.%d"))
            }
        };
        let id = made_id(found, Some((&rule.id, rule.once_per)));
        let asked = Asked {
            id: number(&id),
            at_ms: when.at.as_millisecond(),
            event: found.event,
            rule,
            rule_place: hit,
            grade,
            cluster,
            index: &index,
            slot: self.slots.len(),
        };
        let claims = match ledger.ask(&mut self.draft, &asked) {
            Ruling::Tell(claims) => claims,
            Ruling::Hold(held) => return sent.held.push(held),
        };
        let start = self.out.len();
        self.out.push_str("{\"create\":{\"_index\":");
        json::push_string(&mut self.out, &index);
        self.out.push_str(",\"_id\":");
        json::push_string(&mut self.out, &id);
        self.out.push_str("}}\n");
        let alert = Alert {
            rule,
            severity: grade.level.severity(),
            risk_score: grade.risk_score,
            event: found.event,
            cluster: found.cluster(),
            labels,
            place,
            data_stream: index.strip_prefix("logs-").and_then(|it| it.split_once('-')),
            timestamp: &when.text,
            now: self.now,
        };
        classify::write_alert(&alert, &mut self.out);
        self.out.push('\n');
        self.slots.push(start..self.out.len());
        sent.alerts.push(Raised { rule: hit, level: grade.level, id: asked.id, claims });
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
    low: usize,
    draft: usize,
    notes: usize,
    counts: Counts,
}

impl Mark {
    fn of(run: &Run<'_>) -> Self {
        // The hits are counted at the end, and what happened moves time on whether it is stored or not.
        let Counts { audit, cut, lines, broken, dropped, .. } = run.counts;
        let counts = Counts { audit, cut, lines, broken, dropped, ..Counts::default() };
        Self {
            out: run.out.len(),
            slots: run.slots.len(),
            hits: run.hits.len(),
            low: run.low.len(),
            draft: run.draft.mark(),
            notes: run.notes.as_ref().map_or(0, Vec::len),
            counts,
        }
    }

    fn restore(self, run: &mut Run<'_>) {
        run.out.truncate(self.out);
        run.slots.truncate(self.slots);
        run.hits.truncate(self.hits);
        run.low.truncate(self.low);
        run.draft.undo(self.draft);
        if let Some(notes) = &mut run.notes {
            notes.truncate(self.notes);
        }
        let newest_us = mem::take(&mut run.counts.newest_us);
        run.counts = Counts { newest_us, ..self.counts };
    }
}

fn unreadable(reason: String) -> Refusal {
    Refusal { status: 400, kind: "document_parsing_exception", reason }
}
