//! Stands between k8scop and a real engine: notes what passes, and fails as engines do on bad days.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::{runtime::Handle, task::block_in_place};

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::nobody,
};

/// A document: its index and its `_seq_no`.
pub type Place = (String, i64);

pub struct Between {
    fake: Fake,
    passed: Arc<Passed>,
}

/// What passed, by the number of the process that asked.
struct Passed {
    engine: String,
    client: Client,
    /// One of so many requests fails; 0: none does.
    fails: usize,
    process: AtomicUsize,
    /// Pages of documents.
    pages: Mutex<Vec<(usize, BTreeSet<Place>)>>,
    /// Who stored what, by its `_id`.
    stored: Mutex<BTreeMap<String, usize>>,
    /// What was there already, because an earlier process had stored it: `_id`s, request by request.
    again: Mutex<Vec<BTreeSet<String>>>,
    /// Points in time that may be open.
    open: Mutex<Vec<String>>,
}

impl Between {
    /// `fails`: one of so many requests does; 0: none.
    pub async fn start(engine: &str, fails: usize) -> Self {
        let passed = Arc::new(Passed {
            engine: engine.to_owned(),
            client: nobody(),
            fails,
            process: AtomicUsize::new(0),
            pages: Mutex::default(),
            stored: Mutex::default(),
            again: Mutex::default(),
            open: Mutex::default(),
        });
        let inner = Arc::clone(&passed);
        let fake = Fake::start_forgetful(move |asked| {
            block_in_place(|| Handle::current().block_on(inner.react(asked)))
        });
        Self { fake: fake.await, passed }
    }

    pub fn url(&self) -> String {
        self.fake.url()
    }

    /// From now on another process asks. Of the last one: how many of its pages hold what earlier ones had read, and in
    /// how many of its requests something was stored already, without `known`.
    pub fn next(&self, known: &BTreeSet<String>) -> [usize; 2] {
        let last = self.passed.process.fetch_add(1, Ordering::Relaxed);
        let pages = self.passed.pages.lock().unwrap();
        let (of_last, before): (Vec<_>, Vec<_>) = pages.iter().partition(|(it, _)| *it == last);
        let before: BTreeSet<_> = before.into_iter().flat_map(|(_, page)| page).collect();
        let is_again = |page: &BTreeSet<Place>| page.iter().any(|it| before.contains(it));
        let read = of_last.iter().filter(|(_, page)| is_again(page)).count();
        let sent = std::mem::take(&mut *self.passed.again.lock().unwrap());
        [read, sent.iter().filter(|it| !it.is_subset(known)).count()]
    }

    /// All is forgotten: what is read from now on is another story.
    pub fn forget(&self) {
        self.passed.pages.lock().unwrap().clear();
        self.passed.stored.lock().unwrap().clear();
        self.passed.again.lock().unwrap().clear();
    }
}

impl Passed {
    async fn react(&self, asked: &Asked) -> Reaction {
        let is_page = asked.body.contains("\"sort\"");
        let fault = if self.fails == 0 { usize::MAX } else { fastrand::usize(0..self.fails * 7) };
        match fault {
            0 => return told(429),
            1 => return told(503),
            2 => return Reaction::Close,
            3 if is_page => {
                let failed = json!({ "timed_out": false, "hits": { "hits": [] },
                    "_shards": { "total": 1, "failed": 1, "failures": [{ "reason": { "reason": "told to" } }] } });
                return Reaction::Answer(200, Vec::new(), failed.to_string());
            }
            4 => self.close_all().await,
            _ => (),
        }
        let (status, answer) = self.ask(asked).await;
        self.note(asked, &answer);
        match fault {
            // Done, but nobody hears of it.
            5 => Reaction::Reset,
            6 if status == 200 => Reaction::Cut(answer, 200),
            _ => Reaction::Answer(status, Vec::new(), answer),
        }
    }

    async fn ask(&self, asked: &Asked) -> (u16, String) {
        let mut words = asked.line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.client.request(method, format!("{}{path}", self.engine));
        if let Some(content) = asked.header("content-type") {
            request = request.header("content-type", content);
        }
        let answer = request.body(asked.body.clone()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    fn note(&self, asked: &Asked, answer: &str) {
        let answer: Value = serde_json::from_str(answer).unwrap_or_default();
        let process = self.process.load(Ordering::Relaxed);
        if let Some(id) = answer["id"].as_str().or(answer["pit_id"].as_str()) {
            self.open.lock().unwrap().push(id.to_owned());
        }
        if asked.line.contains("_bulk") {
            let mut stored = self.stored.lock().unwrap();
            let mut again = BTreeSet::new();
            for item in answer["items"].as_array().into_iter().flatten() {
                let (id, status) =
                    (item["create"]["_id"].as_str().unwrap(), &item["create"]["status"]);
                let by = *stored.entry(id.to_owned()).or_insert(process);
                if *status == 409 && by < process {
                    again.insert(id.to_owned());
                }
            }
            self.again.lock().unwrap().push(again);
        } else if asked.body.contains("\"sort\"") {
            let place = |hit: &Value| {
                (hit["_index"].as_str().unwrap().to_owned(), hit["sort"][0].as_i64().unwrap())
            };
            let hits = answer["hits"]["hits"].as_array();
            let page = hits.into_iter().flatten().map(place).collect();
            self.pages.lock().unwrap().push((process, page));
        }
    }

    /// As if they had expired.
    async fn close_all(&self) {
        let open = std::mem::take(&mut *self.open.lock().unwrap());
        for id in open {
            // Elasticsearch's way and OpenSearch's.
            for (path, body) in [
                ("_pit", json!({ "id": id })),
                ("_search/point_in_time", json!({ "pit_id": [id] })),
            ] {
                let request = self.client.delete(format!("{}/{path}", self.engine));
                let request = request.header("content-type", "application/json");
                request.body(body.to_string()).send().await.unwrap();
            }
        }
    }
}

fn told(status: u16) -> Reaction {
    let error = json!({ "error": { "type": "fake", "reason": "told to" }, "status": status });
    Reaction::Answer(status, Vec::new(), error.to_string())
}
