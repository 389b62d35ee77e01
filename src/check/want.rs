//! Judges an answer by what was wanted of it.

use reqwest::Url;
use serde::Serialize;
use serde_json::Value;

use super::target::Answer;

/// What it costs when a target does not keep to the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Harm {
    /// A client refuses to work with it.
    Refused,
    /// Documents are stored twice.
    Duplicate,
    /// A shipper repeats the same for ever, or never begins.
    Stuck,
    /// Documents are gone, and nobody is told.
    Loss,
}

/// The result of a check, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Ok,
    /// As it may be, and worth knowing.
    Note,
    CannotTell,
    Breaks(Harm),
}

/// An outcome, what was seen, and whom it hurts.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    pub(super) seen: String,
    pub(super) who: &'static str,
}

/// What an item of a bulk answer has to be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    Stored,
    Failed,
    Conflict,
    /// A delete of nothing; targets that only take documents in may refuse it.
    Missing,
    StoredElseNote,
    FailedElseNote,
    Any,
}

/// What is wanted of an answer.
#[derive(Debug)]
pub(super) enum Want {
    Status(&'static [u16]),
    /// A header, with or without blanks in it.
    Header(&'static str, &'static str),
    /// A text at this place in the JSON.
    Text(&'static str),
    /// These bytes, somewhere.
    Literal(&'static str),
    /// A status with which Filebeat goes on.
    SetUp(&'static [u16]),
    /// No other node than the target is named.
    Nodes,
    /// A bulk answer with these items.
    Items(&'static [Item]),
    /// The same, or the refusal of the whole request.
    ItemsOrRefusal(&'static [Item]),
    /// The refusal of the whole request.
    Refused,
    /// The `_id`s of the actions, in their order.
    Order,
    /// This member of each action; `""` is its operation.
    Same(&'static str),
    /// `errors` says what the items say.
    Flag,
    /// This is only worth a note.
    Noted(&'static Want),
    Is(fn(&Answer) -> Result<(), &'static str>),
}

/// An action line that was sent.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) op: String,
    pub(super) members: Value,
}

const NO_XPACK: &str = "no X-Pack is here: Filebeat may need setup.ilm.enabled: false";
const NO_ITEMS: &str = "Filebeat takes all as stored; Logstash and Fluent Bit send all again";
const FEWER: &str =
    "most shippers take what has no item as stored; Logstash may repeat it for ever";
const MORE: &str = "nobody can tell which item is whose; Logstash may repeat the batch for ever";

impl Verdict {
    pub(super) fn new(outcome: Outcome, seen: impl Into<String>, who: &'static str) -> Self {
        Self { outcome, seen: seen.into(), who }
    }

    pub(super) fn cannot_tell(seen: impl Into<String>) -> Self {
        Self::new(Outcome::CannotTell, seen, "")
    }
}

/// What an answer is judged with.
#[derive(Debug)]
pub(super) struct Judge<'a> {
    pub(super) answer: &'a Answer,
    pub(super) actions: &'a [Action],
    pub(super) target: &'a Url,
    pub(super) harm: Harm,
    pub(super) who: &'static str,
}

impl Judge<'_> {
    /// The worst of what is wanted.
    pub(super) fn all(&self, wants: &[Want]) -> Verdict {
        let verdicts = wants.iter().map(|it| self.one(it));
        let worst = verdicts.reduce(|a, b| if b.outcome > a.outcome { b } else { a });
        worst.unwrap_or_else(|| self.ok(self.status()))
    }

    fn one(&self, want: &Want) -> Verdict {
        let answer = self.answer;
        match want {
            Want::Status(all) => self.told(all.contains(&answer.status), self.status()),
            Want::Header(name, value) => self.header(name, value),
            Want::Text(pointer) => {
                let found = text(answer, pointer);
                let is_there = !found.is_empty();
                let nothing = || format!("{}, nothing at {pointer}", self.status());
                self.told(is_there, if is_there { shown(found) } else { nothing() })
            }
            Want::Literal(text) => {
                if let Some(verdict) = self.no_bulk_answer() {
                    return verdict;
                }
                let is_there = memchr::memmem::find(&answer.body, text.as_bytes()).is_some();
                self.told(is_there, format!("{} {text}", if is_there { "has" } else { "has no" }))
            }
            Want::SetUp(all) if !all.contains(&answer.status) && has_no_handler(answer) => {
                Verdict::new(Outcome::Note, self.status(), NO_XPACK)
            }
            Want::SetUp(all) => self.told(all.contains(&answer.status), self.status()),
            Want::Nodes => self.nodes(),
            Want::Items(items) => self.items(items, false),
            Want::ItemsOrRefusal(items) => self.items(items, true),
            Want::Refused => {
                let is_empty = answer.json.as_ref().is_none_or(Value::is_null);
                let kind = if is_empty { ", an empty body" } else { "" };
                self.told(answer.status >= 400, format!("{}{kind}", self.status()))
            }
            Want::Order => self.order(),
            Want::Same(member) => self.same(member),
            Want::Flag => self.flag(),
            Want::Noted(want) => {
                let mut verdict = self.one(want);
                if matches!(verdict.outcome, Outcome::Breaks(_)) {
                    verdict.outcome = Outcome::Note;
                }
                verdict
            }
            Want::Is(_) if !answer.is_success() => Verdict::cannot_tell(self.status()),
            Want::Is(test) => match test(answer) {
                Ok(()) => self.ok(self.status()),
                Err(reason) => self.breaks(format!("{}, {reason}", self.status())),
            },
        }
    }

    fn ok(&self, seen: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Ok, seen, self.who)
    }

    fn breaks(&self, seen: impl Into<String>) -> Verdict {
        Verdict::new(Outcome::Breaks(self.harm), seen, self.who)
    }

    fn told(&self, is_good: bool, seen: String) -> Verdict {
        if is_good { self.ok(seen) } else { self.breaks(seen) }
    }

    fn status(&self) -> String {
        let kind = self.answer.error_type();
        format!("{}{}{kind}", self.answer.status, if kind.is_empty() { "" } else { " " })
    }

    fn header(&self, name: &str, value: &str) -> Verdict {
        if !self.answer.is_success() {
            return Verdict::cannot_tell(self.status());
        }
        let found = self.answer.header(name);
        let is_same = found.is_some_and(|it| it.replace(' ', "") == value.replace(' ', ""));
        let seen = found.map_or_else(|| "none".to_owned(), shown);
        self.told(is_same, format!("{name}: {seen}"))
    }

    /// The verdict on an answer that is none to a bulk request.
    fn no_bulk_answer(&self) -> Option<Verdict> {
        let answer = self.answer;
        let loss = |seen: &str, who| {
            Some(Verdict::new(
                Outcome::Breaks(Harm::Loss),
                format!("{}, {seen}", answer.status),
                who,
            ))
        };
        match answer.status {
            200..300 if answer.body.trim_ascii().is_empty() => loss("an empty body", NO_ITEMS),
            200..300 if self.answered().is_none() => loss("no list of items", NO_ITEMS),
            200..300 => None,
            429 | 503 => Some(Verdict::cannot_tell(format!("{}: come back later", self.status()))),
            // What Elasticsearch 8 says to clients of version 9.
            400 if answer.error_type() == "media_type_header_exception" => Some(Verdict::new(
                Outcome::Note,
                self.status(),
                "the target is an older version than this client wants",
            )),
            _ => Some(self.breaks(self.status())),
        }
    }

    fn answered(&self) -> Option<&Vec<Value>> {
        self.answer.json.as_ref()?.get("items")?.as_array()
    }

    fn items(&self, wanted: &[Item], may_refuse: bool) -> Verdict {
        if may_refuse && self.answer.status == 400 {
            return Verdict::new(
                Outcome::Note,
                format!("{} for all of it", self.status()),
                self.who,
            );
        }
        if let Some(verdict) = self.no_bulk_answer() {
            return verdict;
        }
        let found: Vec<u16> = items(self.answer).iter().map(|it| it.status).collect();
        let list: Vec<String> = found.iter().map(ToString::to_string).collect();
        let seen = format!("{} of {} items: {}", found.len(), wanted.len(), list.join(" "));
        let loss = Outcome::Breaks(Harm::Loss);
        if found.len() < wanted.len() {
            return Verdict::new(loss, seen, FEWER);
        }
        if found.len() > wanted.len() {
            return Verdict::new(Outcome::Breaks(Harm::Stuck), seen, MORE);
        }
        let each = wanted.iter().zip(found).map(|(item, status)| item.outcome(status, self.harm));
        Verdict::new(each.max().unwrap_or(Outcome::Ok), seen, self.who)
    }

    fn order(&self) -> Verdict {
        let sent = self.sent("_id");
        let found: Vec<String> = items(self.answer).into_iter().filter_map(|it| it.id).collect();
        let (mut a, mut b) = (sent.clone(), found.clone());
        a.sort_unstable();
        b.sort_unstable();
        if a != b {
            return self.no_bulk_answer().unwrap_or_else(|| {
                Verdict::cannot_tell("the items do not name the documents that were sent")
            });
        }
        self.told(sent == found, if sent == found { "as sent" } else { "another order" }.to_owned())
    }

    fn same(&self, member: &str) -> Verdict {
        if let Some(verdict) = self.no_bulk_answer() {
            return verdict;
        }
        let (mut sent, all) = (self.sent(member), items(self.answer));
        let mut found: Vec<String> = all
            .into_iter()
            .map(|it| match member {
                "" => it.op,
                "_id" => it.id.unwrap_or_default(),
                _ => it.index,
            })
            .collect();
        // Where they stand is another check's matter.
        sent.sort_unstable();
        found.sort_unstable();
        let other = found.iter().find(|it| !sent.contains(it));
        let seen = match other {
            Some(other) => format!("another: {}", shown(other)),
            None if sent == found => "as sent".to_owned(),
            None => "not each once".to_owned(),
        };
        self.told(sent == found, seen)
    }

    fn sent(&self, member: &str) -> Vec<String> {
        let value = |it: &Action| match member {
            "" => it.op.clone(),
            _ => it.members.get(member).and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        self.actions.iter().map(value).collect()
    }

    fn flag(&self) -> Verdict {
        if let Some(verdict) = self.no_bulk_answer() {
            return verdict;
        }
        let flag =
            self.answer.json.as_ref().and_then(|it| it.get("errors")).and_then(Value::as_bool);
        let failed = items(self.answer).iter().filter(|it| it.failed).count();
        // An item that is missing did not succeed.
        let is_short = items(self.answer).len() < self.actions.len();
        let flag_text = flag.map_or("no errors".to_owned(), |it| format!("errors:{it}"));
        self.told(
            flag == Some(failed > 0 || is_short),
            format!("{flag_text}, {failed} items failed"),
        )
    }

    fn nodes(&self) -> Verdict {
        let port = self.target.port_or_known_default().unwrap_or_default();
        let here = format!("{}:{port}", self.target.host_str().unwrap_or_default());
        let nodes =
            self.answer.json.as_ref().and_then(|it| it.get("nodes")).and_then(Value::as_object);
        let Some(nodes) = nodes else {
            return Verdict::cannot_tell(format!("{}, no nodes", self.status()));
        };
        let address = |it: &Value| {
            it.pointer("/http/publish_address").and_then(Value::as_str).map(str::to_owned)
        };
        let other = nodes.values().filter_map(address).find(|it| {
            // Elasticsearch writes `name/address:port` where a name is published.
            let port = it.rsplit(':').next().unwrap_or_default();
            *it != here
                && it.split_once('/').is_none_or(|(name, _)| format!("{name}:{port}") != here)
        });
        match other {
            Some(other) => self.breaks(shown(&other)),
            None => self.ok(format!("{} nodes", nodes.len())),
        }
    }
}

impl Item {
    fn outcome(self, status: u16, harm: Harm) -> Outcome {
        let stored = (200..300).contains(&status);
        let busy = matches!(status, 429 | 503);
        let when = |is_good: bool, other| if is_good { Outcome::Ok } else { other };
        match self {
            _ if busy => Outcome::CannotTell,
            Self::Any => Outcome::Ok,
            Self::Stored => when(stored, Outcome::Breaks(harm)),
            // What cannot be stored is said to be.
            Self::Failed => when(!stored, Outcome::Breaks(Harm::Loss)),
            Self::Conflict => when(status == 409, Outcome::Breaks(harm)),
            Self::Missing if matches!(status, 400 | 403 | 405 | 501) => Outcome::CannotTell,
            Self::Missing => when(status == 404, Outcome::Breaks(harm)),
            Self::StoredElseNote => when(stored, Outcome::Note),
            Self::FailedElseNote => when(!stored, Outcome::Note),
        }
    }
}

/// An item of a bulk answer.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) op: String,
    pub(super) index: String,
    pub(super) id: Option<String>,
    pub(super) status: u16,
    pub(super) failed: bool,
}

/// The items of a bulk answer, as far as it has any.
pub(super) fn items(answer: &Answer) -> Vec<Answered> {
    let list = answer.json.as_ref().and_then(|it| it.get("items")).and_then(Value::as_array);
    let read = |item: &Value| {
        let (op, result) = item.as_object().and_then(|it| it.iter().next())?;
        let text = |name: &str| result.get(name).and_then(Value::as_str).map(str::to_owned);
        let status = result.get("status").and_then(Value::as_u64).unwrap_or_default();
        let missing_delete = op == "delete" && status == 404;
        Some(Answered {
            op: op.clone(),
            index: text("_index").unwrap_or_default(),
            id: text("_id"),
            status: u16::try_from(status).unwrap_or_default(),
            failed: result.get("error").is_some() || (status >= 300 && !missing_delete),
        })
    };
    list.into_iter().flatten().filter_map(read).collect()
}

/// Whether an Elasticsearch says so that was built without what is asked for (the bare distribution of 8.19.21;
/// OpenSearch 3.6.0 has the first of these words too).
fn has_no_handler(answer: &Answer) -> bool {
    let says = |text: &str| memchr::memmem::find(&answer.body, text.as_bytes()).is_some();
    match answer.status {
        400 => says("\"error\":\"no handler found for uri ["),
        500 => says("\"reason\":\"failed to find action ["),
        _ => false,
    }
}

/// Text of the target's, as a terminal can take it.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|it| !it.is_control()).take(80).collect()
}

fn text<'a>(answer: &'a Answer, pointer: &str) -> &'a str {
    let found = answer.json.as_ref().and_then(|it| it.pointer(pointer));
    found.and_then(Value::as_str).unwrap_or_default()
}

/// The first two numbers of its version; zeros where there are none.
fn version(answer: &Answer) -> (u32, u32) {
    let numbers = text(answer, "/version/number").split('.');
    let mut numbers = numbers.map(|it| it.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

/// Whether Telegraf 1.37 works with such a version (`plugins/outputs/elasticsearch`, `Connect`).
pub(super) fn telegraf_believes(answer: &Answer) -> Result<(), &'static str> {
    if version(answer) < (5, 0) { Err("a version before 5") } else { Ok(()) }
}

/// Whether Logstash's output 12 takes this for an Elasticsearch that it can use.
pub(super) fn logstash_believes(answer: &Answer) -> Result<(), &'static str> {
    let version = version(answer);
    if version < (7, 0) {
        return Err("a version before 7");
    }
    let has_product = answer.header("x-elastic-product") == Some("Elasticsearch");
    let is_known = text(answer, "/version/build_flavor") == "default"
        && text(answer, "/tagline") == "You Know, for Search";
    if has_product || (version < (7, 14) && is_known) {
        Ok(())
    } else {
        Err("no X-Elastic-Product")
    }
}

/// Whether the media type is one that clients read as JSON.
pub(super) fn is_json(answer: &Answer) -> Result<(), &'static str> {
    let media = answer.header("content-type").unwrap_or_default();
    let is_json = ["application/json", "application/vnd.elasticsearch+json"]
        .iter()
        .any(|it| media.starts_with(it));
    if is_json { Ok(()) } else { Err("another media type than JSON") }
}

/// Whether text is found in the answer as Vector and Fluent Bit search for it.
pub(super) fn is_compact(answer: &Answer) -> Result<(), &'static str> {
    let has = |text: &str| memchr::memmem::find(&answer.body, text.as_bytes()).is_some();
    match (has("\"errors\":false") || has("\"errors\":true"), has("\"items\":[")) {
        (true, true) => Ok(()),
        (false, _) => Err("\"errors\": is not followed by its value"),
        (_, false) => Err("\"items\": is not followed by ["),
    }
}
