use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::{
    Fate, Plan, Prepared,
    ids::hex,
    reply::{Slot, slot},
};
use crate::{
    bulk::{AnswerItem, Defaults, OutgoingBatch},
    json,
};

/// Dataset of the dead letters.
pub const DATASET_DEAD_LETTERS: &str = "k8scop.dead_letter";

/// Dead letters on their way out, and which items of the request they hold.
#[derive(Debug)]
pub struct DeadLetters {
    /// One slot for each of the items.
    pub batch: OutgoingBatch,
    /// Places of the items in the request.
    pub items: Vec<usize>,
}

/// What became of a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// It is kept.
    Kept,
    /// It could not be kept, but may be later: the shipper is to send the document again.
    Later,
}

impl Prepared {
    /// Dead letters for the documents that are refused for good: with the reason, and the lines as they came.
    /// `body` is the request's. `None` if there are none.
    ///
    /// Updates and deletes are no documents: their client hears that they failed.
    #[must_use]
    pub fn dead_letters(
        &self,
        answers: &[AnswerItem],
        body: &[u8],
        defaults: &Defaults,
        namespace: &str,
        now: Timestamp,
    ) -> Option<DeadLetters> {
        let (mut out, mut slots, mut items) = (String::new(), Vec::new(), Vec::new());
        for (place, plan) in self.plans.iter().enumerate() {
            let Some(error) = refused(plan, answers) else { continue };
            let lines = body.get(plan.origin.clone()).unwrap_or_default();
            let start = out.len();
            write(&mut out, plan, &error, lines, defaults, namespace, now);
            slots.push(start..out.len());
            items.push(place);
        }
        (!items.is_empty()).then(|| DeadLetters { batch: OutgoingBatch::new(out, slots), items })
    }
}

struct Refused {
    status: u16,
    kind: String,
    reason: String,
}

/// Why a document is refused for good, if it is.
fn refused(plan: &Plan, answers: &[AnswerItem]) -> Option<Refused> {
    if matches!(plan.name.as_ref(), "update" | "delete") {
        return None;
    }
    if let Fate::Refused(refusal) = &plan.fate {
        // What the client may not write (403) is not written elsewhere.
        return (refusal.status == 400).then(|| Refused {
            status: refusal.status,
            kind: refusal.kind.to_owned(),
            reason: refusal.reason.clone(),
        });
    }
    let mut refused = None;
    for sent in plan.fate.sent() {
        let answer = answers.get(sent.slot)?;
        match slot(answer.status, sent.conflict_is_success) {
            // It comes again, and with it the parts that are refused.
            Slot::Returned => return None,
            Slot::Rejected if !matches!(answer.status, 401 | 403 | 409) => {
                refused.get_or_insert(answer);
            }
            Slot::Stored | Slot::Duplicate | Slot::Rejected => (),
        }
    }
    refused.map(|answer| Refused {
        status: answer.status,
        kind: answer.error_kind().unwrap_or_default().into_owned(),
        reason: answer.error_reason().unwrap_or_default().into_owned(),
    })
}

fn write(
    out: &mut String,
    plan: &Plan,
    error: &Refused,
    lines: &[u8],
    defaults: &Defaults,
    namespace: &str,
    now: Timestamp,
) {
    let text = |out: &mut String, name: &str, value: &str| {
        out.push_str(name);
        json::push_string(out, value);
    };
    // The same lines to the same place are one dead letter, however often they are sent.
    let mut hash = Sha256::new();
    hash.update(format!("{:?}", defaults));
    hash.update(lines.trim_ascii());
    let index = format!("logs-{DATASET_DEAD_LETTERS}-{namespace}");
    text(out, "{\"create\":{\"_index\":", &index);
    text(out, ",\"_id\":", &hex(hash));
    text(out, "}}\n{\"@timestamp\":", &now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
    text(out, ",\"data_stream\":{\"type\":\"logs\",\"dataset\":", DATASET_DEAD_LETTERS);
    text(out, ",\"namespace\":", namespace);
    text(
        out,
        "},\"ecs\":{\"version\":\"8.17.0\"},\"event\":{\"kind\":\"pipeline_error\",\"dataset\":",
        DATASET_DEAD_LETTERS,
    );
    text(out, "},\"error\":{\"type\":", &error.kind);
    text(out, ",\"message\":", &error.reason);
    text(out, "},\"k8scop\":{\"dead_letter\":{\"operation\":", &plan.name);
    out.push_str(&format!(",\"status\":{}", error.status));
    if let Some(index) = &plan.index {
        text(out, ",\"index\":", index);
    }
    if let Some(id) = &plan.id {
        text(out, ",\"id\":", id);
    }
    let parameters = defaults.query();
    if let Some(index) = &defaults.index {
        text(out, ",\"default_index\":", index);
    }
    if !parameters.is_empty() {
        text(out, ",\"parameters\":", &parameters);
    }
    match std::str::from_utf8(lines) {
        Ok(lines) => text(out, ",\"lines\":", lines),
        Err(_not_text) => text(out, ",\"lines_base64\":", &STANDARD.encode(lines)),
    }
    out.push_str("}}}\n");
}
