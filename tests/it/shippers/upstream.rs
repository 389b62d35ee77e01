//! An Elasticsearch with bad moments: a false one that keeps what it is given, or the way to a real one.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    HeaderMap, Method, Request, Response,
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};

/// What goes wrong with one bulk request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Every fourth item is refused with this status.
    Items(u16),
    /// The request is refused with this status.
    Whole(u16),
    /// The connection ends, and nothing was done.
    CutBefore,
    /// The connection ends, and all was done.
    AnswerLost,
    /// All was done, and half of the answer comes.
    Truncated,
    /// All was done, and the answer is no JSON.
    InvalidJson,
    /// All was done, and the answer has one item less.
    TooFew,
    /// Nothing was done, and no answer comes.
    Hang,
}

/// Each fault of Elasticsearch.
pub const FAULTS: [Fault; 10] = [
    Fault::Items(429),
    Fault::Items(503),
    Fault::Whole(429),
    Fault::Whole(503),
    Fault::CutBefore,
    Fault::AnswerLost,
    Fault::Truncated,
    Fault::InvalidJson,
    Fault::TooFew,
    Fault::Hang,
];

/// Every item that is refused by [`Fault::Items`].
const EVERY: usize = 4;

pub struct Upstream {
    pub address: SocketAddr,
    state: Arc<State>,
    server: JoinSet<()>,
}

struct State {
    behind: Behind,
    next: Mutex<Option<Fault>>,
    /// Audit ids of the events, not of alerts, that are refused with 429 for now.
    refused: Mutex<HashSet<String>>,
    /// Method and path of each request.
    asked: Mutex<Vec<String>>,
}

enum Behind {
    Memory(Mutex<Memory>),
    Real { url: String, client: reqwest::Client },
}

#[derive(Default)]
struct Memory {
    documents: BTreeMap<(String, String), Value>,
    set_up: BTreeSet<String>,
}

type Body = BoxBody<Bytes, io::Error>;

impl Upstream {
    /// `real` is the URL of a real one.
    pub async fn start(real: Option<&str>) -> Self {
        let behind = match real {
            None => Behind::Memory(Mutex::default()),
            Some(url) => Behind::Real {
                url: url.trim_end_matches('/').to_owned(),
                client: crate::harness::client(),
            },
        };
        let state = State {
            behind,
            next: Mutex::default(),
            refused: Mutex::default(),
            asked: Mutex::default(),
        };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut new = Self { address: any, state: Arc::new(state), server: JoinSet::new() };
        new.again().await;
        new
    }

    /// Starts it again where it was, with what it had.
    pub async fn again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let state = Arc::clone(&self.state);
        self.server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| answer(Arc::clone(&state), request));
                connections.spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    // An answer that ends in a fault is an error here.
                    http.serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
        });
    }

    /// Nobody listens any more.
    pub async fn stop(&mut self) {
        self.server.shutdown().await;
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next bulk request goes wrong.
    pub fn arm(&self, fault: Fault) {
        *self.state.next.lock().unwrap() = Some(fault);
    }

    /// Whether the fault that was to come has come.
    pub fn has_struck(&self) -> bool {
        self.state.next.lock().unwrap().is_none()
    }

    /// These events are refused with 429 until it is called again.
    pub fn refuse(&self, audit_ids: HashSet<String>) {
        *self.state.refused.lock().unwrap() = audit_ids;
    }

    pub fn asked(&self) -> Vec<String> {
        self.state.asked.lock().unwrap().clone()
    }

    /// What the false one keeps under this name: the sources.
    pub fn kept(&self, index: &str) -> Vec<Value> {
        let Behind::Memory(memory) = &self.state.behind else {
            panic!("ask the real Elasticsearch")
        };
        let memory = memory.lock().unwrap();
        let of_index = memory.documents.iter().filter(|((it, _), _)| it == index);
        of_index.map(|(_, source)| source.clone()).collect()
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> io::Result<Response<Body>> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = parts.uri.path_and_query().map_or("/", |it| it.as_str()).to_owned();
    let line = format!("{} {path}", parts.method);
    if parts.uri.path() != "/_bulk" {
        let answer = other(&state, parts.method, &path, &parts.headers, body).await;
        state.asked.lock().unwrap().push(line);
        return answer;
    }
    state.asked.lock().unwrap().push(line);
    let fault = state.next.lock().unwrap().take();
    let pairs = pairs(std::str::from_utf8(&body).unwrap());
    let cut = || io::Error::other("told to");
    match fault {
        Some(Fault::Whole(status)) => {
            let error = json!({ "type": "fake", "reason": "told to" });
            return Ok(whole(status, &json!({ "error": error, "status": status }).to_string()));
        }
        Some(Fault::CutBefore) => return Err(cut()),
        Some(Fault::Hang) => std::future::pending().await,
        _ => (),
    }
    let refused = |number: usize, (action, source): (&str, &str)| match fault {
        Some(Fault::Items(status)) if number % EVERY == EVERY - 1 => Some(status),
        _ => {
            let refused = state.refused.lock().unwrap();
            let is_it = || refused.iter().any(|it| source.contains(it.as_str()));
            (action.contains("logs-kubernetes.") && is_it()).then_some(429)
        }
    };
    let mut items = process(&state.behind, &path, &pairs, refused).await;
    if fault == Some(Fault::TooFew) {
        items.pop();
    }
    let status = |it: &Value| it.as_object().unwrap().values().next().unwrap()["status"].as_u64();
    let errors = items.iter().any(|it| status(it).unwrap() > 299);
    let text = json!({ "took": 1, "errors": errors, "items": items }).to_string();
    Ok(match fault {
        Some(Fault::AnswerLost) => return Err(cut()),
        Some(Fault::Truncated) => {
            let half = Bytes::copy_from_slice(&text.as_bytes()[..text.len() / 2]);
            let frames = [Ok(Frame::data(half)), Err(cut())];
            let mut response = Response::new(StreamBody::new(stream::iter(frames)).boxed());
            response.headers_mut().insert(CONTENT_LENGTH, text.len().into());
            response
        }
        Some(Fault::InvalidJson) => whole(200, &text[..text.len() / 2]),
        _ => whole(200, &text),
    })
}

fn whole(status: u16, body: &str) -> Response<Body> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    let response = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header("x-elastic-product", "Elasticsearch");
    response.body(body.map_err(|never| match never {}).boxed()).unwrap()
}

/// Action lines and sources. None of the shippers sends `delete`.
fn pairs(body: &str) -> Vec<(&str, &str)> {
    let mut lines = body.lines().filter(|it| !it.is_empty());
    std::iter::from_fn(|| Some((lines.next()?, lines.next().unwrap()))).collect()
}

/// One item for each pair: those that are refused, and what becomes of the others.
async fn process(
    behind: &Behind,
    path: &str,
    pairs: &[(&str, &str)],
    refused: impl Fn(usize, (&str, &str)) -> Option<u16>,
) -> Vec<Value> {
    let statuses: Vec<Option<u16>> =
        pairs.iter().enumerate().map(|(number, pair)| refused(number, *pair)).collect();
    let taken: Vec<_> =
        pairs.iter().zip(&statuses).filter(|(_, it)| it.is_none()).map(|(pair, _)| *pair).collect();
    let done = match behind {
        Behind::Memory(memory) => {
            let mut memory = memory.lock().unwrap();
            taken.iter().map(|(action, source)| memory.store(action, source)).collect()
        }
        Behind::Real { .. } if taken.is_empty() => Vec::new(),
        Behind::Real { url, client } => {
            let body: String =
                taken.iter().map(|(action, source)| format!("{action}\n{source}\n")).collect();
            let answer = client.post(format!("{url}{path}")).body(body).send().await.unwrap();
            let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            answer["items"].as_array().unwrap_or_else(|| panic!("{answer}")).clone()
        }
    };
    let mut done = done.into_iter();
    let item = |((action, _), status): (&(&str, &str), Option<u16>)| match status {
        None => done.next().unwrap(),
        Some(status) => {
            let action: Value = serde_json::from_str(action).unwrap();
            let (op, action) = action.as_object().unwrap().iter().next().unwrap();
            let error = json!({ "type": "es_rejected_execution_exception", "reason": "told to" });
            json!({ op: { "_index": action["_index"], "_id": action["_id"], "status": status, "error": error } })
        }
    };
    pairs.iter().zip(statuses).map(item).collect()
}

impl Memory {
    fn store(&mut self, action: &str, source: &str) -> Value {
        let action: Value = serde_json::from_str(action).unwrap();
        let (op, action) = action.as_object().unwrap().iter().next().unwrap();
        let index = action["_index"].as_str().unwrap().to_owned();
        let made = || format!("made-{}", self.documents.len());
        let id = action["_id"].as_str().map_or_else(made, str::to_owned);
        let key = (index.clone(), id.clone());
        if op == "create" && self.documents.contains_key(&key) {
            let error =
                json!({ "type": "version_conflict_engine_exception", "reason": "it is there" });
            return json!({ op: { "_index": index, "_id": id, "status": 409, "error": error } });
        }
        let result = self.documents.insert(key, serde_json::from_str(source).unwrap());
        let (result, status) = if result.is_none() { ("created", 201) } else { ("updated", 200) };
        let shards = json!({ "total": 2, "successful": 1, "failed": 0 });
        json!({ op: { "_index": index, "_id": id, "_version": 1, "result": result, "_shards": shards,
            "_seq_no": self.documents.len(), "_primary_term": 1, "status": status } })
    }
}

/// Answers what is no bulk request.
async fn other(
    state: &State,
    method: Method,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
) -> io::Result<Response<Body>> {
    match &state.behind {
        Behind::Memory(memory) => {
            let (status, text) = memory.lock().unwrap().known(&method, path);
            Ok(whole(status, if method == Method::HEAD { "" } else { &text }))
        }
        Behind::Real { url, client } => {
            let mut request = client.request(method, format!("{url}{path}")).body(body);
            for name in ["content-type", "content-encoding", "accept"] {
                if let Some(value) = headers.get(name) {
                    request = request.header(name, value);
                }
            }
            let answer = request.send().await.map_err(io::Error::other)?;
            let status = answer.status().as_u16();
            Ok(whole(status, &answer.text().await.map_err(io::Error::other)?))
        }
    }
}

impl Memory {
    fn known(&mut self, method: &Method, path: &str) -> (u16, String) {
        let path = path.split('?').next().unwrap();
        if *method == Method::PUT {
            self.set_up.insert(path.to_owned());
            return (200, json!({ "acknowledged": true }).to_string());
        }
        let known = match path {
            "/" => json!({
                "name": "fake", "cluster_name": "fake", "cluster_uuid": "SWdkERx4TT-XVaHM991cYw",
                "version": { "number": "8.19.21", "build_flavor": "default" },
                "tagline": "You Know, for Search",
            }),
            "/_license" => {
                json!({ "license": { "status": "active", "uid": "u", "type": "basic" } })
            }
            "/_nodes/http" => json!({ "nodes": { "n": {
                "roles": ["data", "ingest", "master"],
                "http": { "publish_address": "10.9.8.7:9200" },
            } } }),
            "/_cluster/health" => json!({ "status": "green" }),
            _ if self.set_up.contains(path) => json!({}),
            _ => return (404, json!({ "error": "it is not there", "status": 404 }).to_string()),
        };
        (200, known.to_string())
    }
}
