use super::{Fate, Held, Holds, Letter, OutgoingBatch, Plan, Prepared, Raised, Sent, Tally};
use crate::{
    bulk::{AnswerItem, Refusal, ReplyWriter},
    correlate,
    unwrap::{self, Reduced},
};

/// What became of one slot, as far as the item is concerned.
pub(super) enum Slot {
    Stored,
    Duplicate,
    Returned,
    Rejected,
}

pub(super) fn slot(status: u16, conflict_is_success: bool) -> Slot {
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
        (self.batch.len_bytes() + self.held_bytes) as u64
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

    /// Takes out what correlations are to see: of all items that do not come again. Refused for good is seen, too, unless
    /// it was for who sent it.
    #[must_use]
    pub fn take_observed(&mut self, answers: &[AnswerItem]) -> Vec<correlate::Event> {
        let status = |slot: usize| answers.get(slot).map_or(503, |it| it.status);
        let is_done = |sent: &Sent| {
            let slots = sent.slot..=sent.slot + sent.alerts.len();
            slots.into_iter().all(|it| !matches!(status(it), 401 | 403 | 429 | 500..600))
        };
        let all = self.plans.iter_mut().map(|it| it.fate.sent_mut());
        let done = all.filter(|it| it.iter().all(is_done));
        done.flatten().filter_map(|it| it.observed.take()).map(|it| *it).collect()
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
        for (offset, Raised { rule, level, .. }) in sent.alerts.iter().enumerate() {
            let answer = answers.get(sent.slot + 1 + offset);
            let status = answer.map_or(503, |it| it.status);
            let kept = match slot(status, true) {
                Slot::Stored => {
                    tally.alerts_created.push((*rule, *level));
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
                failed = Some(alert_not_stored(status, &rule_titles(*rule), &why));
            }
        }
        for held in &sent.held {
            let Some((rule, answer)) = self.waits_for(held, answers) else { continue };
            let refusal = alert_not_stored(answer.status, &rule_titles(rule), &answer.error());
            failed = worse(failed, Some(refusal));
        }
        failed
    }

    /// The alert that is told for one that is held, if it is not stored and may be later.
    pub(super) fn waits_for<'a>(
        &self,
        held: &Held,
        answers: &'a [AnswerItem],
    ) -> Option<(usize, &'a AnswerItem)> {
        let group = self.groups.get(held.group)?;
        let answer = answers.get(group.leader?)?;
        matches!(slot(answer.status, true), Slot::Returned).then_some((group.rule, answer))
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

fn alert_not_stored(status: u16, title: &str, why: &str) -> Refusal {
    let reason = format!("the document is stored, its alert [{title}] is not: {why}");
    Refusal { status, kind: "k8scop_alert_not_stored_exception", reason }
}

fn unavailable(reason: &str) -> Refusal {
    Refusal { status: 503, kind: "unavailable_shards_exception", reason: reason.into() }
}
