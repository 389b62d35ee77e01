//! Whatever Elasticsearch does with the items of a request, each ends as stored or as reported, and never as
//! stored when it is not.
//!
//! The fake stores: it knows what became of each item, how often, and whether k8scop could know. Everything it
//! does comes from a seed, which a failure tells and `K8SCOP_TEST_SEED` sets.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env,
    fmt::Write as _,
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use fastrand::Rng;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::{K8scop, client},
};

const SEED: &str = "K8SCOP_TEST_SEED";
/// Deadline of the k8scop that has time until Elasticsearch works again.
const PATIENT_S: u64 = 60;
const SHIPPERS: usize = 16;

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An audit event; its `_id` is made.
    Event,
    /// One that raises an alert.
    Alerting,
    /// One that comes as `index` with an `_id` of the shipper.
    Replaced,
    /// `create` with `_id`.
    Create,
    /// `index` with `_id`.
    Index,
    /// `create` without `_id`.
    Bare,
    Update,
    Delete,
}

const KINDS: [Kind; 8] = [
    Kind::Event,
    Kind::Create,
    Kind::Index,
    Kind::Bare,
    Kind::Update,
    Kind::Delete,
    Kind::Replaced,
    Kind::Alerting,
];

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Event | Self::Alerting | Self::Create | Self::Bare => "create",
            Self::Index | Self::Replaced => "index",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    fn is_event(self) -> bool {
        matches!(self, Self::Event | Self::Alerting | Self::Replaced)
    }
}

#[derive(Clone, Debug)]
struct Item {
    kind: Kind,
    mark: String,
    /// The client's.
    id: Option<String>,
}

/// What becomes of one item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Done,
    Conflict,
    Busy,
    Bad,
    Away,
    Forbidden,
    /// The answer has no item for it.
    Missing,
}

const OUTCOMES: [Outcome; 7] = [
    Outcome::Done,
    Outcome::Conflict,
    Outcome::Busy,
    Outcome::Bad,
    Outcome::Away,
    Outcome::Forbidden,
    Outcome::Missing,
];

/// What becomes of one request.
#[derive(Clone, Debug)]
enum Step {
    /// Each item has its outcome; beyond these, by chance.
    Items(Vec<Outcome>),
    /// All are done, and the answer has one item more.
    OneTooMany,
    /// All are done, and the answer is nonsense.
    Nonsense(usize),
    /// All are done, and the answer ends after so many bytes.
    Cut(usize),
    /// The connection ends, before or after all are done.
    Closed {
        done: bool,
    },
    Reset {
        done: bool,
    },
    Hang {
        done: bool,
    },
    /// The request is answered as a whole.
    Status(u16),
}

/// A document of a request: the item, and whether it is the item's alert.
type Key = (usize, bool);

#[derive(Debug, Default)]
struct Slot {
    /// How often it was done.
    done: usize,
    /// It was there before.
    was_there: bool,
    /// How often it was sent in vain: k8scop could not know whether it was done.
    doubts: usize,
    /// Its last answer, if it must not be sent again.
    closed: Option<u16>,
    reduced: usize,
    /// Where it was stored.
    places: HashSet<(String, String)>,
}

/// One request of a shipper, and what happened to it.
#[derive(Debug)]
struct Case {
    items: Vec<Item>,
    first: Step,
    rng: Rng,
    /// Requests that may go wrong. After them all is well.
    bad: usize,
    requests: usize,
    slots: BTreeMap<Key, Slot>,
    /// What is stored: index and `_id`, and the mark of who wrote it last.
    stored: HashMap<(String, String), String>,
    blocked: HashSet<String>,
    /// What the last request asked for.
    last: Vec<Key>,
    /// What k8scop did that it must not.
    wrong: Vec<String>,
    history: String,
}

fn mark(case: usize, item: usize) -> String {
    format!("mark-{case}-{item}-end")
}

/// The number in the first mark of a text.
fn marked(text: &str) -> Option<usize> {
    text.split_once("mark-")?.1.split_once("-end")?.0.split_once('-')?.1.parse().ok()
}

impl Case {
    fn new(number: usize, kinds: &[Kind], first: Step, bad: usize, mut rng: Rng) -> Self {
        let mut items: Vec<Item> = Vec::new();
        for (place, kind) in kinds.iter().enumerate() {
            let mark = mark(number, place);
            let has_id = !matches!(kind, Kind::Event | Kind::Alerting | Kind::Bare);
            items.push(Item { kind: *kind, id: has_id.then(|| mark.clone()), mark });
        }
        let mut stored = HashMap::new();
        let index = format!("logs-m-{number}");
        for place in 0..items.len() {
            // Some documents are written by two items.
            if place > 0 && items[place].kind == Kind::Index && rng.u8(..4) == 0 {
                let other = rng.usize(..place);
                if items[other].kind == Kind::Index {
                    items[place].id = items[other].id.clone();
                }
            }
            if matches!(items[place].kind, Kind::Update | Kind::Delete) && rng.u8(..4) > 0 {
                stored.insert((index.clone(), items[place].mark.clone()), String::new());
            }
        }
        Self {
            items,
            first,
            rng,
            bad,
            requests: 0,
            slots: BTreeMap::new(),
            stored,
            blocked: HashSet::new(),
            last: Vec::new(),
            wrong: Vec::new(),
            history: String::new(),
        }
    }

    fn body(&self, number: usize) -> String {
        let mut out = String::new();
        for Item { kind, mark, id } in &self.items {
            let mut action = json!({ "_index": format!("logs-m-{number}") });
            if let Some(id) = id {
                action["_id"] = json!(id);
            }
            writeln!(out, "{}", json!({ kind.name(): action })).unwrap();
            let document = match kind {
                Kind::Event | Kind::Alerting | Kind::Replaced => {
                    json!({ "message": event(mark, *kind == Kind::Alerting) })
                }
                Kind::Update => json!({ "doc": { "mark": mark } }),
                Kind::Delete => continue,
                _ => json!({ "mark": mark }),
            };
            writeln!(out, "{document}").unwrap();
        }
        out
    }

    /// Whether Elasticsearch never gets well.
    fn is_hopeless(&self) -> bool {
        self.bad == usize::MAX
    }

    fn outcome(&mut self) -> Outcome {
        if self.is_hopeless() && self.rng.u8(..4) > 0 {
            return [Outcome::Busy, Outcome::Away][usize::from(self.rng.bool())];
        }
        if self.requests > self.bad || self.rng.u8(..5) < 2 {
            return Outcome::Done;
        }
        // That an item is missing spoils the whole answer, so it is rare among many.
        let from = if self.rng.usize(..20.max(self.items.len())) == 0 { 7 } else { 6 };
        OUTCOMES[self.rng.usize(..from)]
    }

    fn step(&mut self) -> Step {
        if self.requests == 1 {
            return self.first.clone();
        }
        if self.requests > self.bad || self.rng.u8(..5) > 0 {
            return Step::Items(Vec::new());
        }
        let done = self.rng.bool();
        match self.rng.u8(..7) {
            0 => Step::OneTooMany,
            1 => Step::Nonsense(self.rng.usize(..)),
            2 => Step::Cut(self.rng.usize(..400)),
            3 => Step::Closed { done },
            4 => Step::Reset { done },
            5 => Step::Status([429, 503][usize::from(done)]),
            _ => Step::Status([500, 502, 504][self.rng.usize(..3)]),
        }
    }

    /// Does what a request asks for, and answers it.
    fn react(&mut self, asked: &Asked) -> Reaction {
        self.requests += 1;
        let sent = self.sent(asked);
        let step = self.step();
        self.last = sent.iter().map(|it| it.key).collect();
        if self.items.len() <= 4 {
            let (number, keys) = (self.requests, &self.last);
            writeln!(self.history, "request {number}: {keys:?}: {step:?}").unwrap();
        }
        match step {
            Step::Items(told) => {
                let mut outcomes = told.into_iter();
                let mut answer = Vec::new();
                let mut is_whole = true;
                for one in &sent {
                    let outcome = outcomes.next().unwrap_or_else(|| self.outcome());
                    let answered = self.answer(one, outcome);
                    is_whole &= outcome != Outcome::Missing;
                    if outcome != Outcome::Missing {
                        answer.push(answered);
                    }
                }
                if !is_whole {
                    self.doubt(&sent);
                    return Reaction::Answer(200, vec![], bulk(&answer));
                }
                for (one, item) in sent.iter().zip(&answer) {
                    self.hear(one, item);
                }
                if self.items.len() <= 4 {
                    writeln!(self.history, "  {}", bulk(&answer)).unwrap();
                }
                Reaction::Answer(200, vec![], bulk(&answer))
            }
            Step::OneTooMany => {
                let mut answer = self.do_all(&sent);
                self.doubt(&sent);
                answer.extend(answer.last().cloned());
                Reaction::Answer(200, vec![], bulk(&answer))
            }
            Step::Nonsense(which) => {
                let answer = bulk(&self.do_all(&sent));
                self.doubt(&sent);
                let nonsense = match which % 8 {
                    0 => String::new(),
                    1 => "<html>".into(),
                    2 => "{}".into(),
                    3 => "null".into(),
                    4 => format!("{answer}}}"),
                    5 => answer.replace("\"items\"", "\"item\""),
                    6 => answer.replace("\"status\":", "\"status\":1"),
                    _ => answer.replace("\"status\"", "\"state\""),
                };
                Reaction::Answer(200, vec![], nonsense)
            }
            Step::Cut(len) => {
                let answer = bulk(&self.do_all(&sent));
                self.doubt(&sent);
                Reaction::Cut(answer, len)
            }
            Step::Closed { done } => self.lost(&sent, done, Reaction::Close),
            Step::Reset { done } => self.lost(&sent, done, Reaction::Reset),
            Step::Hang { done } => self.lost(&sent, done, Reaction::Hang),
            Step::Status(status) => {
                if matches!(status, 500 | 502 | 504) {
                    if self.rng.bool() {
                        self.do_all(&sent);
                    }
                    self.doubt(&sent);
                } else if status < 500 && status != 429 {
                    for one in &sent {
                        self.slot(one.key).closed = Some(status);
                    }
                }
                let error =
                    json!({ "error": { "type": "fake", "reason": "told to" }, "status": status });
                Reaction::Answer(status, vec![], error.to_string())
            }
        }
    }

    /// Reads a request, and notes what must not be in it.
    fn sent(&mut self, asked: &Asked) -> Vec<Sent> {
        let mut sent: Vec<Sent> = Vec::new();
        let mut lines = asked.body.lines();
        while let Some(action) = lines.next() {
            let action: Value = serde_json::from_str(action).unwrap();
            let (name, params) = action.as_object().unwrap().iter().next().unwrap();
            let text = |name: &str| params[name].as_str().map(str::to_owned);
            let document = if name == "delete" { "" } else { lines.next().unwrap_or_default() };
            let (index, id) = (text("_index").unwrap(), text("_id"));
            let item = marked(document).or_else(|| marked(id.as_deref()?)).unwrap();
            let key = (item, index.starts_with("logs-k8scop.alerts-"));
            let is_reduced = document.contains("k8scop_reduced");
            let (is_event, slot) = (self.items[item].kind.is_event(), self.slot(key));
            let wrong = match slot.closed {
                Some(400) if is_event && is_reduced && slot.reduced < 2 => {
                    slot.reduced += 1;
                    slot.closed = None;
                    None
                }
                Some(status) => Some(format!("{key:?} was sent again after {status}")),
                None => None,
            };
            self.wrong.extend(wrong);
            if sent.last().is_some_and(|it| it.key >= key) {
                self.wrong.push(format!("{key:?} is out of order, or there twice"));
            }
            sent.push(Sent { key, name: name.clone(), index, id });
        }
        sent
    }

    fn slot(&mut self, key: Key) -> &mut Slot {
        self.slots.entry(key).or_default()
    }

    fn lost(&mut self, sent: &[Sent], done: bool, reaction: Reaction) -> Reaction {
        if done {
            self.do_all(sent);
        }
        self.doubt(sent);
        reaction
    }

    /// k8scop cannot know what became of these.
    fn doubt(&mut self, sent: &[Sent]) {
        for one in sent {
            let slot = self.slot(one.key);
            slot.doubts += 1;
            if one.name == "update" {
                // Done twice, it may count twice.
                slot.closed = Some(0);
            }
        }
    }

    fn do_all(&mut self, sent: &[Sent]) -> Vec<Value> {
        sent.iter().map(|it| self.answer(it, Outcome::Done)).collect()
    }

    /// Does it, and gives back what Elasticsearch says of it.
    fn answer(&mut self, one: &Sent, outcome: Outcome) -> Value {
        let (status, kind) = match outcome {
            Outcome::Done => (self.apply(one), ""),
            Outcome::Missing => (if self.rng.bool() { self.apply(one) } else { 201 }, ""),
            Outcome::Conflict => {
                // An `_id` that we made is there only if the event is.
                if self.items[one.key.0].kind.is_event() {
                    let place = (one.index.clone(), one.id.clone().unwrap());
                    self.stored.insert(place, self.items[one.key.0].mark.clone());
                    self.slot(one.key).was_there = true;
                }
                (409, "version_conflict_engine_exception")
            }
            Outcome::Busy if self.rng.u8(..8) == 0 => {
                self.blocked.insert(one.index.clone());
                (429, "cluster_block_exception")
            }
            Outcome::Busy => (429, "es_rejected_execution_exception"),
            Outcome::Bad => (400, "document_parsing_exception"),
            Outcome::Away if self.rng.u8(..8) == 0 => {
                self.blocked.insert(one.index.clone());
                (503, "unavailable_shards_exception")
            }
            Outcome::Away => (503, "node_closed_exception"),
            Outcome::Forbidden => (403, "security_exception"),
        };
        let kind = match status {
            409 => "version_conflict_engine_exception",
            404 if one.name == "update" => "document_missing_exception",
            _ => kind,
        };
        let mut answer = json!({ "_index": one.index, "_id": one.id, "status": status });
        if !kind.is_empty() {
            answer["error"] = json!({ "type": kind, "reason": "told to" });
        }
        json!({ one.name.as_str(): answer })
    }

    fn apply(&mut self, one: &Sent) -> u16 {
        let mark = self.items[one.key.0].mark.clone();
        let id = one.id.clone().unwrap_or_else(|| format!("auto-{}", self.rng.u64(..)));
        let place = (one.index.clone(), id);
        let is_there = self.stored.contains_key(&place);
        let status = match one.name.as_str() {
            "create" if is_there => return 409,
            "update" if !is_there => return 404,
            "delete" => {
                self.stored.remove(&place);
                if is_there { 200 } else { 404 }
            }
            _ => {
                self.stored.insert(place.clone(), mark);
                if is_there { 200 } else { 201 }
            }
        };
        let slot = self.slot(one.key);
        slot.done += 1;
        slot.places.insert(place);
        status
    }

    /// k8scop hears what is said of one item.
    fn hear(&mut self, one: &Sent, answer: &Value) {
        let result = &answer[&one.name];
        let status = u16::try_from(result["status"].as_u64().unwrap()).unwrap();
        let kind = result["error"]["type"].as_str().unwrap_or_default();
        let is_blocked = matches!(kind, "cluster_block_exception" | "unavailable_shards_exception");
        if is_blocked || !matches!(status, 429 | 500..600) {
            self.slot(one.key).closed = Some(status);
        }
    }

    /// What is wrong with the answer that the shipper got.
    fn check(&self, number: usize, status: u16, answer: &Value) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        let recovers = !self.is_hopeless();
        if status != 200 {
            if !(400..600).contains(&status) {
                wrong.push(format!("status {status}"));
            }
            // Events and alerts have ids of ours: sent again, they are stored once.
            let is_ours = |key: &Key| self.items[key.0].kind.is_event();
            let known =
                self.slots.iter().find(|(key, it)| it.done > 0 && it.doubts == 0 && !is_ours(key));
            if let Some((key, _)) = known {
                wrong.push(format!("{key:?} is stored, and the whole is refused with {status}"));
            }
            let may_pass = matches!(status, 429 | 500..600);
            if recovers
                && may_pass
                && !(0..self.items.len()).all(|it| self.may_be_returned(it, number))
            {
                wrong.push(format!("given up with {status}, but it would have passed"));
            }
            return wrong;
        }
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        if items.len() != self.items.len() {
            wrong.push(format!("{} items for {}", items.len(), self.items.len()));
            return wrong;
        }
        let mut has_errors = false;
        for (place, (item, told)) in self.items.iter().zip(&items).enumerate() {
            let result = &told[item.kind.name()];
            let status = result["status"].as_u64().unwrap_or_default();
            has_errors |= result.get("error").is_some();
            let mut say = |what: &str| wrong.push(format!("item {place} {item:?}: {what}: {told}"));
            if told.as_object().is_none_or(|it| it.len() != 1)
                || result["_index"] != format!("logs-m-{number}")
                || item.id.as_ref().is_some_and(|it| result["_id"] != *it)
            {
                say("not the item's name, index and _id");
            }
            let nothing = Slot::default();
            let slot = self.slots.get(&(place, false)).unwrap_or(&nothing);
            let alert = self.slots.get(&(place, true));
            let is_done = |it: &Slot| it.done > 0 || it.was_there;
            let is_stored = is_done(slot) && alert.is_none_or(is_done);
            match (status, result.get("error")) {
                (200..300, None) => {
                    if !is_stored {
                        say("answered as stored, and is not");
                    }
                }
                (404, None) if item.kind == Kind::Delete => {
                    if slot.done == 0 {
                        say("answered as deleted, and was not");
                    }
                }
                (400..600, Some(error)) => {
                    let only_alert = error["type"] == "k8scop_alert_not_stored_exception";
                    if slot.done > 0 && slot.doubts == 0 && !only_alert {
                        say("answered as failed, and is stored");
                    }
                    let returned = status == 429 || status >= 500;
                    if recovers && returned && !self.may_be_returned(place, number) {
                        say("given up, but it would have passed");
                    }
                }
                _ => say("neither stored nor failed"),
            }
        }
        if answer["errors"] != has_errors {
            wrong.push(format!("errors is {}", answer["errors"]));
        }
        for (key, slot) in &self.slots {
            let has_id = self.items[key.0].kind != Kind::Bare;
            if slot.done > 1 + slot.doubts
                || has_id && slot.places.len() > 1
                || self.items[key.0].kind == Kind::Update && slot.done > 1
            {
                wrong.push(format!("{key:?} was stored twice: {slot:?}"));
            }
        }
        wrong.extend(self.overwritten(&items));
        wrong
    }

    /// A document that an earlier item wrote last, though a later one was answered as stored.
    fn overwritten(&self, items: &[Value]) -> Option<String> {
        let stored = |place: &usize| {
            self.items[*place].kind == Kind::Index
                && items[*place]["index"]["status"].as_u64().is_some_and(|it| it < 300)
        };
        (0..self.items.len()).filter(stored).find_map(|place| {
            let document = self.slots[&(place, false)].places.iter().next()?;
            let writer = marked(&self.stored[document])?;
            (writer < place).then(|| format!("{writer} wrote {document:?} after {place}"))
        })
    }

    /// Whether an item may be given back though all is well in the end.
    fn may_be_returned(&self, place: usize, number: usize) -> bool {
        let item = &self.items[place];
        let index = format!("logs-m-{number}");
        let indices = if item.kind.is_event() {
            vec![
                format!("logs-kubernetes.audit_logs-{number}"),
                format!("logs-k8scop.alerts-{number}"),
            ]
        } else {
            vec![index]
        };
        // Nobody is sent to a blocked index; an update in doubt is the shipper's to decide on; and what was
        // overtaken by another item for the same document comes too late.
        let doubts = self.slots.get(&(place, false)).map_or(0, |it| it.doubts);
        indices.iter().any(|it| self.blocked.contains(it))
            || item.kind == Kind::Update && doubts > 0
            || item.kind == Kind::Index
                && self.items.iter().filter(|it| it.id == item.id).count() > 1
    }
}

/// A slot of a request.
struct Sent {
    key: Key,
    name: String,
    index: String,
    id: Option<String>,
}

fn bulk(items: &[Value]) -> String {
    let errors =
        items.iter().any(|it| it.as_object().unwrap().values().any(|it| it.get("error").is_some()));
    json!({ "took": 1, "errors": errors, "items": items }).to_string()
}

fn event(mark: &str, raises_alert: bool) -> String {
    let (verb, resource) =
        if raises_alert { ("list", "secrets") } else { ("update", "configmaps") };
    let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": mark, "stage": "ResponseComplete",
        "verb": verb, "requestURI": format!("/api/v1/{resource}"), "user": {"username": mark},
        "objectRef": {"resource": resource}, "responseStatus": {"code": 200}});
    event.to_string()
}

/// All cases, and the fake that plays them.
struct World {
    seed: u64,
    cases: Vec<Mutex<Case>>,
}

impl World {
    fn new() -> Self {
        let seed = env::var(SEED).map_or_else(|_unset| fastrand::u64(..), |it| it.parse().unwrap());
        Self { seed, cases: Vec::new() }
    }

    fn add(&mut self, kinds: &[Kind], first: Step, bad: usize) {
        let number = self.cases.len();
        let rng = Rng::with_seed(self.seed.wrapping_add(number as u64));
        self.cases.push(Mutex::new(Case::new(number, kinds, first, bad, rng)));
    }

    fn react(&self, asked: &Asked) -> Reaction {
        let (_, rest) = asked.body.split_once("\"_index\":\"").unwrap();
        let index = rest.split('"').next().unwrap();
        let number: usize = index.rsplit('-').next().unwrap().parse().unwrap();
        self.cases[number].lock().unwrap().react(asked)
    }

    async fn play(
        &self,
        number: usize,
        client: &Client,
        url: &str,
        deadline: Duration,
    ) -> Vec<String> {
        let body = self.cases[number].lock().unwrap().body(number);
        let began = Instant::now();
        let answer = client.post(url).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let answer = serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default();
        let mut case = self.cases[number].lock().unwrap();
        if began.elapsed() >= deadline {
            if !case.is_hopeless() {
                return vec!["it took until the deadline".into()];
            }
            // The answer to the last request may not have been waited for.
            for key in case.last.clone() {
                case.slot(key).doubts += 1;
            }
        }
        let mut wrong = case.check(number, status, &answer);
        if !wrong.is_empty() {
            wrong.truncate(5);
            let shown = if case.items.len() <= 4 { answer.to_string() } else { String::new() };
            wrong.push(format!(
                "{} items, first {:?}\n{}answered {status} {shown}",
                case.items.len(),
                if case.items.len() <= 4 { format!("{:?}", case.first) } else { "-".into() },
                case.history
            ));
        }
        wrong
    }
}

/// Plays every case through k8scop, many at once.
async fn play(what: &str, world: World, deadline_s: u64, request_timeout_s: u64) {
    play_in_parts(what, world, deadline_s, request_timeout_s, 32 << 20).await;
}

/// As [`play`], with requests to Elasticsearch of at most so many bytes.
async fn play_in_parts(
    what: &str,
    world: World,
    deadline_s: u64,
    request_timeout_s: u64,
    bulk_bytes_max: usize,
) {
    let began = Instant::now();
    let world = Arc::new(world);
    let fake = Fake::start_forgetful({
        let world = Arc::clone(&world);
        move |asked| world.react(asked)
    })
    .await;
    let config = format!(
        "output: {}\nelasticsearch: {{request_timeout_s: {request_timeout_s}, bulk_bytes_max: {bulk_bytes_max}}}\nretry: {{first_ms: 1, longest_ms: 5}}\nlimits: {{request_deadline_s: {deadline_s}}}\n",
        fake.url()
    );
    let k8scop = K8scop::start(&config).await;
    let (next, deadline) = (Arc::new(AtomicUsize::new(0)), Duration::from_secs(deadline_s));
    let mut tasks = JoinSet::new();
    for _ in 0..SHIPPERS {
        let (world, next, url) = (Arc::clone(&world), Arc::clone(&next), k8scop.url("/_bulk"));
        tasks.spawn(async move {
            let client = client();
            let mut failures = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= world.cases.len() {
                    return failures;
                }
                let wrong = world.play(number, &client, &url, deadline).await;
                if !wrong.is_empty() {
                    failures.push(format!("case {number}: {}", wrong.join("\n  ")));
                }
            }
        });
    }
    let mut failures = Vec::new();
    while let Some(found) = tasks.join_next().await {
        failures.extend(found.unwrap());
    }
    let count = world.cases.len();
    assert!(
        failures.is_empty(),
        "{what}: {} of {count} cases failed; {SEED}={} plays them again\n{}",
        failures.len(),
        world.seed,
        failures.iter().take(4).cloned().collect::<Vec<_>>().join("\n\n")
    );
    k8scop.check_balance().await;
    let requests: usize = world.cases.iter().map(|it| it.lock().unwrap().requests).sum();
    let took = began.elapsed();
    writeln!(std::io::stderr(), "{what}: {count} cases, {requests} requests, {took:.1?}").ok();
}

/// Kinds of items without alerts: one slot each.
fn kinds(rng: &mut Rng, count: usize) -> Vec<Kind> {
    (0..count).map(|_| KINDS[rng.usize(..KINDS.len() - 1)]).collect()
}

/// Every vector of outcomes of up to four items in the first request; what follows is by chance.
#[tokio::test(flavor = "multi_thread")]
async fn every_vector_of_outcomes() {
    let mut world = World::new();
    let mut rng = Rng::with_seed(world.seed);
    for count in 1..=4_u32 {
        for vector in 0..OUTCOMES.len().pow(count) {
            let outcomes: Vec<_> = (0..count)
                .map(|it| OUTCOMES[vector / OUTCOMES.len().pow(it) % OUTCOMES.len()])
                .collect();
            let kinds = kinds(&mut rng, count as usize);
            let bad = rng.usize(1..6);
            world.add(&kinds, Step::Items(outcomes), bad);
        }
    }
    assert_eq!(world.cases.len(), 7 + 49 + 343 + 2401);
    play("every vector of outcomes", world, PATIENT_S, PATIENT_S).await;
}

/// Every fault of the answer as a whole in the first request.
#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_an_answer() {
    let mut world = World::new();
    let mut rng = Rng::with_seed(world.seed);
    for count in 1..=4 {
        let mut steps = vec![Step::OneTooMany];
        steps.extend((0..8).map(Step::Nonsense));
        for done in [false, true] {
            steps.extend([Step::Closed { done }, Step::Reset { done }]);
        }
        steps.extend([401, 403, 429, 500, 502, 503, 504].map(Step::Status));
        // The head of an answer has some 80 bytes, each of its items at least 90.
        steps.extend((0..120 + 90 * count).map(Step::Cut));
        for step in steps {
            let kinds = kinds(&mut rng, count);
            let bad = rng.usize(1..5);
            world.add(&kinds, step, bad);
        }
    }
    play("every fault of an answer", world, PATIENT_S, PATIENT_S).await;
}

/// No answer comes to the first request.
#[tokio::test(flavor = "multi_thread")]
async fn every_hang() {
    let mut world = World::new();
    let mut rng = Rng::with_seed(world.seed);
    for count in 1..=4 {
        for done in [false, true] {
            let kinds = kinds(&mut rng, count);
            world.add(&kinds, Step::Hang { done }, rng.usize(1..5));
        }
    }
    play("every hang", world, PATIENT_S, 2).await;
}

/// Requests of up to 10,000 items, with alerts among them.
#[tokio::test(flavor = "multi_thread")]
async fn large_requests() {
    let mut world = World::new();
    let mut rng = Rng::with_seed(world.seed);
    let mut counts = vec![10_000, 5_000, 1_000];
    counts.extend((0..200).map(|_| rng.usize(5..60)));
    counts.extend((0..20).map(|_| rng.usize(60..1_000)));
    for count in counts {
        let kinds: Vec<_> = (0..count).map(|_| KINDS[rng.usize(..KINDS.len())]).collect();
        let bad = rng.usize(1..if count < 1_000 { 8 } else { 4 });
        world.add(&kinds, Step::Items(Vec::new()), bad);
    }
    play("large requests", world, PATIENT_S, PATIENT_S).await;
}

/// Requests that go to Elasticsearch in several.
#[tokio::test(flavor = "multi_thread")]
async fn requests_in_parts() {
    let mut world = World::new();
    let mut rng = Rng::with_seed(world.seed);
    for _ in 0..400 {
        // Mostly documents that several items mean.
        let count = rng.usize(5..60);
        let kind = |rng: &mut Rng| if rng.bool() { Kind::Index } else { KINDS[rng.usize(..8)] };
        let kinds: Vec<_> = (0..count).map(|_| kind(&mut rng)).collect();
        world.add(&kinds, Step::Items(Vec::new()), rng.usize(1..20));
    }
    play_in_parts("requests in parts", world, PATIENT_S, PATIENT_S, 1000).await;
}

/// Elasticsearch does not recover before the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn no_recovery() {
    let mut world = World::new();
    let mut rng = Rng::with_seed(world.seed);
    for _ in 0..150 {
        let count = rng.usize(1..12);
        let kinds: Vec<_> = (0..count).map(|_| KINDS[rng.usize(..KINDS.len())]).collect();
        world.add(&kinds, Step::Items(Vec::new()), usize::MAX);
    }
    play("no recovery", world, 1, 1).await;
}
