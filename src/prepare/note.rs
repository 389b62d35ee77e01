//! What was found, document by document: for whoever sums it up.

use jiff::Timestamp;

use super::{
    Fate, Plan, Prepared,
    reply::{Slot, slot},
};
use crate::{alerts::AlertId, bulk::AnswerItem, rules::Level, unwrap::Broken};

/// An audit event of a document, or why a part of it cannot be read as one.
#[derive(Debug)]
pub struct Note {
    /// The place of its document in the request.
    pub item: usize,
    /// When it happened, where it tells.
    pub at: Option<Timestamp>,
    /// Who did it.
    pub user: Option<Box<str>>,
    /// In which cluster.
    pub cluster: Option<Box<str>>,
    /// In which namespace.
    pub namespace: Option<Box<str>>,
    /// It was cut on its way.
    pub is_cut: bool,
    /// Alerts that it raises: the place of the rule, its level as configured, and the number of their `_id`.
    pub alerts: Vec<(usize, Level, AlertId)>,
    /// Why it is no audit event, though it looks like one.
    pub broken: Option<Broken>,
}

/// What is refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The place of its document in the request.
    pub item: usize,
    /// HTTP status.
    pub status: u16,
    /// Why.
    pub reason: String,
}

impl Prepared {
    /// What was found, document by document, if it was asked for.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// The slots of what was made here: alerts, and `with_logs` the documents that go elsewhere than they came from.
    #[must_use]
    pub fn made_slots(&self, with_logs: bool) -> Vec<usize> {
        let mut slots = Vec::new();
        for plan in &self.plans {
            for sent in plan.fate.sent() {
                if with_logs && self.is_moved(plan, sent.slot) {
                    slots.push(sent.slot);
                }
                slots.extend(sent.slot + 1..=sent.slot + sent.alerts.len());
            }
        }
        slots
    }

    /// Whether a document goes elsewhere. What lies in the data stream already stays there: an older index of it may
    /// hold the `_id`, which its newest would take again.
    fn is_moved(&self, plan: &Plan, slot: usize) -> bool {
        let Some(action) = self.batch.action(slot) else { return false };
        let from = plan.index.as_deref().unwrap_or_default();
        let of_stream = |it: &str| it.strip_prefix(&*action.index)?.strip_prefix('-').map(|_| ());
        from != action.index && from.strip_prefix(".ds-").and_then(of_stream).is_none()
    }

    /// The documents that are refused for good, or an alert of which is.
    #[must_use]
    pub fn refusals(&self, answers: &[AnswerItem]) -> Vec<Refused> {
        let mut refused = Vec::new();
        for (item, plan) in self.plans.iter().enumerate() {
            if let Fate::Refused(it) = &plan.fate {
                refused.push(Refused { item, status: it.status, reason: it.reason.clone() });
                continue;
            }
            let bad = plan.fate.sent().iter().find_map(|sent| {
                let is_bad = |at: usize, conflict_is_success| {
                    let answer = answers.get(at).filter(|it| it.status != 409)?;
                    let slot = slot(answer.status, conflict_is_success);
                    matches!(slot, Slot::Rejected).then_some(answer)
                };
                let mut alerts = sent.slot + 1..=sent.slot + sent.alerts.len();
                is_bad(sent.slot, sent.conflict_is_success)
                    .or_else(|| alerts.find_map(|it| is_bad(it, true)))
            });
            if let Some(answer) = bad {
                refused.push(Refused { item, status: answer.status, reason: answer.error() });
            }
        }
        refused
    }
}
