//! Whatever Elasticsearch does with the documents that a push, or one item of a bulk request, becomes: the sender hears
//! yes when all of them are stored, and when it has sent again what it was told to, each is there once.
//!
//! The fake stores, and does harm by chance until it is told to stop. `K8SCOP_TEST_SEED` plays a run again.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use fastrand::Rng;
use serde_json::{Value, json};

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::{K8scop, nobody},
};

const SEED: &str = "K8SCOP_TEST_SEED";

/// An Elasticsearch with bad days.
struct Store {
    rng: Rng,
    is_well: bool,
    /// What is stored, and how often: index and mark.
    stored: BTreeMap<(String, String), usize>,
    /// Whose document an `_id` is: index, `_id`.
    ids: BTreeMap<(String, String), String>,
    /// Marks in dead letters.
    letters: BTreeSet<String>,
    /// A mark that is never taken.
    poison: Option<String>,
    wrong: Vec<String>,
}

/// The mark in a text. Several of them are those of lines in a dead letter.
fn marks(text: &str) -> Vec<String> {
    let after = text.split("mark-").skip(1);
    after.filter_map(|it| Some(format!("mark-{}", it.split_once("-end")?.0))).collect()
}

impl Store {
    fn answer(&mut self, asked: &Asked) -> Reaction {
        let mut lines = asked.body.lines();
        let mut all = Vec::new();
        while let Some(action) = lines.next() {
            let action: Value = serde_json::from_str(action).unwrap();
            let (name, params) = action.as_object().unwrap().iter().next().unwrap();
            let document = if name == "delete" { "" } else { lines.next().unwrap() };
            all.push((name.clone(), params.clone(), document.to_owned()));
        }
        let has_poison =
            |it: &str| self.poison.as_ref().is_some_and(|mark| it.contains(&format!("{mark}-end")));
        if all.len() > 1 && all.iter().any(|it| has_poison(&it.2)) && self.rng.u8(..4) == 0 {
            return whole(400);
        }
        let mut harm = if self.is_well { 99 } else { self.rng.u8(..20) };
        if all.len() == 1 && harm == 2 {
            harm = 0;
        }
        match harm {
            0 => return whole(429),
            1 => return whole(503),
            2 => return whole(413),
            3 => return Reaction::Close,
            _ => (),
        }
        let answers: Vec<Value> =
            all.iter().map(|it| self.one(it, harm > 3 && harm < 14)).collect();
        let errors = answers.iter().any(|it| it.to_string().contains("\"error\""));
        let text = json!({"took": 1, "errors": errors, "items": answers}).to_string();
        match harm {
            14 => Reaction::Close,
            15 => Reaction::Reset,
            16 => Reaction::Cut(text, self.rng.usize(..300)),
            17 => Reaction::Answer(
                200,
                vec![],
                json!({"took": 1, "errors": errors, "items": &answers[1..]}).to_string(),
            ),
            18 => Reaction::Answer(502, vec![], "<html>".into()),
            _ => Reaction::Answer(200, vec![], text),
        }
    }

    fn one(&mut self, (name, params, document): &(String, Value, String), harms: bool) -> Value {
        let index = params["_index"].as_str().unwrap().to_owned();
        let marks = marks(document);
        let is_poison = self.poison.as_ref().is_some_and(|it| marks.contains(it));
        let is_letter = index.contains("dead_letter");
        let status = if is_poison && !is_letter {
            400
        } else if harms && self.rng.bool() {
            [429, 503][usize::from(self.rng.bool())]
        } else if name == "delete" || name == "update" {
            200
        } else if is_letter {
            self.letters.extend(marks);
            201
        } else {
            let mark = marks.first().cloned().unwrap_or_else(|| panic!("no mark: {document}"));
            let there = params["_id"].as_str().and_then(|id| {
                let place = (index.clone(), id.to_owned());
                let there = self.ids.get(&place).cloned();
                self.ids.entry(place).or_insert_with(|| mark.clone());
                there
            });
            match there {
                Some(there) if name == "create" => {
                    if there != mark {
                        self.wrong.push(format!("{mark} has the _id of {there} in {index}"));
                    }
                    409
                }
                Some(_) => 200,
                None => {
                    *self.stored.entry((index.clone(), mark)).or_default() += 1;
                    201
                }
            }
        };
        let mut answer = json!({"_index": index, "_id": params["_id"], "status": status});
        if status > 299 {
            let kind =
                if status == 409 { "version_conflict_engine_exception" } else { "fake_exception" };
            answer["error"] = json!({"type": kind, "reason": "told to"});
        }
        json!({name.as_str(): answer})
    }

    /// What is wrong with these marks, of which all are stored or kept, and those of the second also raised alerts.
    fn check(&self, sent: &[String], alerting: &[String], is_yes: bool) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        for mark in sent {
            let is_kept = self.letters.contains(mark);
            let count = |alerts: bool| -> usize {
                let of = |it: &(&(String, String), &usize)| {
                    it.0.1 == *mark && it.0.0.contains("k8scop.alerts") == alerts
                };
                self.stored.iter().filter(of).map(|it| it.1).sum()
            };
            let (documents, alerts) = (count(false), count(true));
            if documents > 1 || alerts > 1 {
                wrong.push(format!("{mark} is stored {documents} times, its alert {alerts} times"));
            }
            if is_yes && documents == 0 && !is_kept {
                wrong.push(format!("{mark} is answered as stored and is not"));
            }
            if is_yes && alerting.contains(mark) && alerts == 0 {
                wrong.push(format!("{mark} is answered as stored without its alert"));
            }
        }
        wrong
    }
}

fn whole(status: u16) -> Reaction {
    let body = json!({"error": {"type": "fake", "reason": "told to"}, "status": status});
    Reaction::Answer(status, vec![], body.to_string())
}

/// Makes things to send, and knows their marks.
struct Maker {
    rng: Rng,
    next: usize,
    marks: Vec<String>,
    alerting: Vec<String>,
}

impl Maker {
    fn mark(&mut self) -> String {
        self.next += 1;
        let mark = format!("mark-{}", self.next);
        self.marks.push(mark.clone());
        format!("{mark}-end")
    }

    fn event(&mut self) -> Value {
        let alerts = self.rng.bool();
        let mark = self.mark();
        if alerts {
            self.alerting.extend(self.marks.last().cloned());
        }
        let (verb, resource) = if alerts { ("list", "secrets") } else { ("update", "configmaps") };
        json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": mark, "stage": "ResponseComplete", "verb": verb,
            "requestURI": format!("/api/v1/{resource}"), "user": {"username": mark}, "objectRef": {"resource": resource},
            "responseStatus": {"code": 200}, "requestReceivedTimestamp": "2026-03-01T10:00:00.123456Z"})
    }

    fn list(&mut self, odd: bool) -> Value {
        let items: Vec<_> = (0..self.rng.usize(1..5))
            .map(|_| match self.rng.u8(..5) {
                0 if odd => json!({"kind": "Pod", "note": self.mark()}),
                1 if odd => json!(self.mark()),
                _ => self.event(),
            })
            .collect();
        json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items})
    }

    fn subscription(&mut self) -> Value {
        let group = ["/aws/eks/demo/cluster", "/own/audit"][usize::from(self.rng.bool())];
        let stream = format!(
            "{}-{}",
            ["kube-apiserver-audit", "fluent-bit", "own"][self.rng.usize(..3)],
            self.next
        );
        let mut events = Vec::new();
        for id in 0..self.rng.usize(1..5) {
            let message = match self.rng.u8(..5) {
                0 => format!("I0301 10:00:00.123456       1 a.go:1] \"{}\"", self.mark()),
                1 => format!(
                    "{}{}{}",
                    self.event(),
                    json!({"x": self.mark()}),
                    json!({"x": self.mark()})
                ),
                2 => format!("[{},{},{}]", self.event(), json!({"x": self.mark()}), self.event()),
                _ => self.event().to_string(),
            };
            events.push(json!({"id": format!("{}-{id}", self.next), "timestamp": 1_772_359_200_130_u64, "message": message}));
        }
        // With no event among them it is not taken apart, and stays one document.
        events.push(json!({"id": "last", "timestamp": 1_772_359_200_130_u64, "message": self.event().to_string()}));
        json!({"messageType": "DATA_MESSAGE", "owner": "1", "logGroup": group, "logStream": stream,
            "subscriptionFilters": ["f"], "logEvents": events})
    }

    fn aks(&mut self) -> Value {
        let records: Vec<_> = (0..self.rng.usize(1..4))
            .map(|_| {
                json!({"time": "2026-03-01T10:00:00Z", "category": "kube-audit", "operationName": "o",
                    "resourceId": "/SUBSCRIPTIONS/A/RESOURCEGROUPS/B/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/C",
                    "properties": {"log": self.event().to_string(), "pod": "p", "stream": "stdout"}})
            })
            .collect();
        json!({"records": records})
    }

    /// A push by one of the inputs.
    fn push(&mut self) -> (&'static str, String) {
        match self.rng.u8(..3) {
            0 => ("/audit/demo", self.list(true).to_string()),
            1 => {
                let records: Vec<_> = (0..self.rng.usize(1..4))
                    .map(|_| match self.rng.u8(..3) {
                        0 => format!(
                            "{}\n{}\nI0102 {}\n",
                            self.event(),
                            json!({"a": self.mark()}),
                            self.mark()
                        ),
                        _ => self.subscription().to_string(),
                    })
                    .map(|it| json!({"data": STANDARD.encode(it)}))
                    .collect();
                let body = json!({"requestId": format!("r-{}", self.next), "timestamp": 1, "records": records});
                ("/firehose/demo", body.to_string())
            }
            _ => {
                let data = match self.rng.u8(..4) {
                    0 => self.mark(),
                    1 => self.subscription().to_string(),
                    2 => self.list(true).to_string(),
                    _ => self.event().to_string(),
                };
                let message =
                    json!({"data": STANDARD.encode(data), "messageId": self.next.to_string()});
                ("/pubsub/demo", json!({"message": message, "subscription": "s"}).to_string())
            }
        }
    }

    /// An item of a bulk request: its lines.
    fn item(&mut self) -> (String, Vec<String>) {
        let before = self.marks.len();
        let document = match self.rng.u8(..7) {
            0 => self.subscription(),
            1 => self.aks(),
            2 => self.list(false),
            3 => json!({"message": self.list(true).to_string()}),
            4 => json!({"message": self.event().to_string()}),
            5 => json!({"note": self.mark()}),
            _ => {
                return (
                    format!(
                        "{}\n{}\n",
                        json!({"update": {"_index": "i", "_id": "u"}}),
                        json!({"doc": {}})
                    ),
                    vec![],
                );
            }
        };
        // What did not come with an event is stored again where it has no `_id`.
        let mut action = json!({"create": {"_index": "logs-x-default"}});
        if self.rng.bool() || document.get("note").is_some() {
            action["create"]["_id"] = format!("id-{}", self.next).into();
        }
        let lines = format!("{action}\n{document}\n");
        (lines, self.marks[before..].to_vec())
    }
}

async fn start(more: &str) -> (Arc<Mutex<Store>>, Fake, K8scop, Maker, u64) {
    let seed = env::var(SEED).map_or_else(|_unset| fastrand::u64(..), |it| it.parse().unwrap());
    let store = Arc::new(Mutex::new(Store {
        rng: Rng::with_seed(seed),
        is_well: false,
        stored: BTreeMap::new(),
        ids: BTreeMap::new(),
        letters: BTreeSet::new(),
        poison: None,
        wrong: Vec::new(),
    }));
    let fake = Fake::start_forgetful({
        let store = Arc::clone(&store);
        move |asked| store.lock().unwrap().answer(asked)
    })
    .await;
    let config = format!(
        "output: {}\nretry: {{first_ms: 1, longest_ms: 2}}\nlimits: {{request_deadline_s: 1}}\n{more}",
        fake.url()
    );
    let k8scop = K8scop::start(&config).await;
    let maker =
        Maker { rng: Rng::with_seed(seed), next: 0, marks: Vec::new(), alerting: Vec::new() };
    (store, fake, k8scop, maker, seed)
}

const TIMES: usize = 100;

async fn pushes(more: &str) {
    let (store, _fake, k8scop, mut maker, seed) = start(more).await;
    let client = nobody();
    let keeps = !more.is_empty();
    for number in 0..TIMES {
        maker.marks.clear();
        maker.alerting.clear();
        let (path, body) = maker.push();
        let sent = maker.marks.clone();
        {
            let mut store = store.lock().unwrap();
            store.is_well = false;
            let one = sent[maker.rng.usize(..sent.len())].clone();
            store.poison = (maker.rng.u8(..3) == 0).then_some(one);
        }
        for attempt in 0..6 {
            // An API server tries five times. Then the poison is mended, too, unless it is kept.
            if attempt == 4 {
                let mut store = store.lock().unwrap();
                store.is_well = true;
                store.poison = store.poison.take().filter(|_| keeps);
            }
            let request = client.post(k8scop.url(path)).header("content-type", "application/json");
            let status = request.body(body.clone()).send().await.unwrap().status().as_u16();
            let is_yes = status < 300;
            let mut wrong = store.lock().unwrap().check(&sent, &maker.alerting, is_yes);
            let poison = store.lock().unwrap().poison.clone();
            if keeps {
                // An alert that is refused for good is not kept: its event is not done with.
                let is_alerting = |it: &String| maker.alerting.contains(it);
                if attempt == 5 && !is_yes && !poison.as_ref().is_some_and(is_alerting) {
                    wrong.push(format!("not yes: {status}"));
                }
            } else if attempt == 5 && !is_yes {
                wrong.push(format!("not yes: {status}"));
            }
            assert!(
                wrong.is_empty(),
                "{SEED}={seed} {number} {attempt} {path} {status} poison {poison:?}\n{wrong:#?}\n{body}"
            );
        }
    }
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_are_stored_once() {
    pushes("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_are_stored_once_or_kept() {
    pushes("on_reject: dead_letter\n").await;
}

async fn items(more: &str, agent: &str) {
    let (store, _fake, k8scop, mut maker, seed) = start(more).await;
    let client = nobody();
    for number in 0..TIMES {
        maker.marks.clear();
        maker.alerting.clear();
        let mut left: Vec<_> = (0..maker.rng.usize(1..6)).map(|_| maker.item()).collect();
        let sent = maker.marks.clone();
        {
            let mut store = store.lock().unwrap();
            store.is_well = false;
            let one = (!sent.is_empty()).then(|| sent[maker.rng.usize(..sent.len())].clone());
            store.poison = one.filter(|_| maker.rng.u8(..3) == 0);
        }
        for attempt in 0..10 {
            if left.is_empty() {
                break;
            }
            store.lock().unwrap().is_well = attempt > 6;
            let body: String = left.iter().map(|it| it.0.as_str()).collect();
            let path =
                ["/_bulk", "/_bulk?filter_path=errors,items.*.status,items.*.error"][number % 2];
            let request = client.post(k8scop.url(path)).header("user-agent", agent);
            let answer = request.body(body.clone()).send().await.unwrap();
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            let mut wrong = store.lock().unwrap().check(&sent, &[], false);
            if status == 200 {
                let answer: Value = serde_json::from_str(&text).unwrap();
                let told = answer["items"].as_array().unwrap().clone();
                assert_eq!(told.len(), left.len());
                let mut again = Vec::new();
                for (item, told) in left.into_iter().zip(told) {
                    let told = told.as_object().unwrap().values().next().unwrap().clone();
                    match told["status"].as_u64().unwrap() {
                        200..300 => wrong.extend(store.lock().unwrap().check(
                            &item.1,
                            &maker.alerting,
                            true,
                        )),
                        // The shipper's own `create`, which it sends again: it is there.
                        409 if item.1.len() == 1 => {
                            wrong.extend(store.lock().unwrap().check(&item.1, &[], true))
                        }
                        429 | 500..600 => again.push(item),
                        status => {
                            let poison = store.lock().unwrap().poison.clone();
                            if !poison.is_some_and(|it| item.1.contains(&it)) {
                                wrong.push(format!("refused for good: {status}"));
                            }
                        }
                    }
                }
                left = again;
            } else if !matches!(status, 429 | 500..600) {
                wrong.push(format!("refused as a whole: {status}"));
            }
            let poison = store.lock().unwrap().poison.clone();
            assert!(
                wrong.is_empty(),
                "{SEED}={seed} {number} {attempt} {status} poison {poison:?}\n{wrong:#?}\n{body}\n{text}"
            );
        }
        assert!(left.is_empty(), "{SEED}={seed} {number}");
    }
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_many_documents_are_stored_once() {
    items("", "Filebeat").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn items_of_many_documents_are_stored_once_or_kept() {
    items("on_reject: dead_letter\n", "Filebeat").await;
}

/// Fluent Bit takes no for an answer only to all of a request.
#[tokio::test(flavor = "multi_thread")]
async fn items_of_many_documents_of_fluent_bit() {
    items("", "Fluent-Bit").await;
}
