//! Whether what was answered as stored is there: read back, where the target can be read.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use super::{
    send::Sent,
    target::Target,
    want::{Harm, Outcome, Verdict, items},
};

const THERE: &str = "what was answered as stored is there";
const NOT_THERE: &str = "what was not answered as stored is not there";
/// How often is looked, and how long is waited in between: what is stored may become visible later.
const LOOKS: usize = 5;
const PAUSE: Duration = Duration::from_secs(1);

/// So many documents are asked for before it is believed that none can be read.
const PROBES: usize = 3;

/// The `_id`s that were sent, and those that were answered as stored.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sent: BTreeSet<String>,
    stored: BTreeSet<String>,
    unanswered: usize,
}

impl Ledger {
    pub(super) fn note(&mut self, sent: &Sent) {
        let id = |it: &Value| it.get("_id").and_then(Value::as_str).map(str::to_owned);
        let ids: Vec<Option<String>> = sent.actions.iter().map(|it| id(&it.members)).collect();
        self.sent.extend(ids.iter().flatten().cloned());
        let Ok(answer) = &sent.answer else {
            self.unanswered += 1;
            return;
        };
        let answered = items(answer);
        // With a `filter_path` an item has no `_id`; then its place tells.
        let by_place = answered.len() == ids.len();
        for (place, item) in answered.into_iter().enumerate() {
            if (200..300).contains(&item.status) && item.op != "delete" {
                let sent = ids.get(place).filter(|_| by_place).cloned().flatten();
                self.stored.extend(item.id.or(sent));
            }
        }
    }
}

/// Reads back: the names of two checks and what came of them.
pub(super) async fn read_back(
    target: &Target,
    index: &str,
    ledger: &Ledger,
) -> [(&'static str, Verdict); 2] {
    let mut found = None;
    for look in 0..LOOKS {
        if look > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        found = match search(target, index, ledger).await {
            Some(found) => Some(found),
            None => one_by_one(target, index, ledger).await,
        };
        if found.as_ref().is_none_or(|it| it.is_superset(&ledger.stored)) {
            break;
        }
    }
    let Some(found) = found else {
        let verdict = || Verdict::cannot_tell("not checked: the target cannot be read");
        return [(THERE, verdict()), (NOT_THERE, verdict())];
    };
    let seen = format!(
        "{} of {} documents",
        found.intersection(&ledger.stored).count(),
        ledger.stored.len()
    );
    let there = if ledger.stored.is_empty() {
        Verdict::cannot_tell("no document was answered as stored")
    } else if found.is_superset(&ledger.stored) {
        Verdict::new(Outcome::Ok, seen, "")
    } else {
        let who = "every shipper: documents that were answered with 201 are lost";
        Verdict::new(Outcome::Breaks(Harm::Loss), seen, who)
    };
    let more = found.difference(&ledger.stored).count();
    let seen = format!("{more} documents more than answered");
    let not_there = match (more, ledger.unanswered) {
        (0, _) => Verdict::new(Outcome::Ok, seen, ""),
        (_, 0) => {
            let who = "a shipper that sends them again stores them twice";
            Verdict::new(Outcome::Breaks(Harm::Duplicate), seen, who)
        }
        (_, lost) => Verdict::cannot_tell(format!("{seen}, but {lost} requests were not answered")),
    };
    [(THERE, there), (NOT_THERE, not_there)]
}

/// The `_id`s that the target has, of all that it may have.
async fn search(target: &Target, index: &str, ledger: &Ledger) -> Option<BTreeSet<String>> {
    // Whether it can be done shows in the search.
    target.ask("POST", &format!("/{index}/_refresh"), &[], Vec::new()).await.ok();
    let ids: BTreeSet<&String> = ledger.sent.union(&ledger.stored).collect();
    let query =
        json!({ "size": ids.len() + 1, "_source": false, "query": { "ids": { "values": ids } } });
    let headers = [("content-type", "application/json".to_owned())];
    let path = format!("/{index}/_search");
    let answer = target.ask("POST", &path, &headers, query.to_string().into_bytes()).await.ok()?;
    let hits =
        answer.json.as_ref().filter(|_| answer.status == 200)?.pointer("/hits/hits")?.as_array()?;
    let id = |hit: &Value| Some(hit.get("_id")?.as_str()?.to_owned());
    Some(hits.iter().filter_map(id).collect())
}

/// The same without a search: each document by its `_id`. Nothing, if none of the first that were answered as
/// stored can be read.
async fn one_by_one(target: &Target, index: &str, ledger: &Ledger) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let others = ledger.sent.difference(&ledger.stored);
    for (count, id) in ledger.stored.iter().chain(others).enumerate() {
        if count == PROBES && found.is_empty() {
            break;
        }
        // An `_id` of the target's own that could lead elsewhere is left alone.
        if id.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it)) {
            let path = format!("/{index}/_doc/{id}");
            let answer = target.ask("GET", &path, &[], Vec::new()).await.ok()?;
            let is_there = answer.json.as_ref().and_then(|it| it.get("found"));
            if answer.status == 200 && is_there == Some(&Value::Bool(true)) {
                found.insert(id.clone());
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

/// Whether there is no such index.
pub(super) async fn is_absent(target: &Target, index: &str) -> bool {
    let answer = target.ask("HEAD", &format!("/{index}"), &[], Vec::new()).await;
    answer.is_ok_and(|it| it.status == 404)
}

/// Deletes the index, and says what became of it.
pub(super) async fn delete(target: &Target, index: &str) -> String {
    match target.ask("DELETE", &format!("/{index}"), &[], Vec::new()).await {
        Ok(answer) if answer.is_success() => "is deleted".into(),
        Ok(answer) if answer.status == 404 => "is not there, as the target says".into(),
        Ok(answer) => format!("stays: DELETE was answered {}", answer.status),
        Err(_) => "stays: DELETE was not answered".into(),
    }
}
