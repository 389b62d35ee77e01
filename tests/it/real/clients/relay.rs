//! Passes HTTP/1.1 on, byte for byte, and does one thing wrong on the way.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use memchr::memmem;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

/// Clients of version 9 name it in their media types, to which Elasticsearch 8.19.21 answers 400. The relay renames
/// it there and back, so that 8.19 stands in for 9. Nothing else is changed.
const VERSION_9: &[u8] = b"compatible-with=9";
const VERSION_8: &[u8] = b"compatible-with=8";

/// What goes wrong with a bulk request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The request is answered with this status and `Retry-After: 1`, and goes no further.
    Whole(u16),
    /// Every other item is answered with this status; the others go on.
    Items(u16),
    /// As [`Self::Items`], for each request that comes within this time of the first one.
    ItemsFor(u16, Duration),
    /// The connection is closed instead of passing the request on.
    Cut,
    /// The request is passed on; the connection is closed instead of passing the answer back.
    AnswerLost,
    /// The connection is closed in the middle of the answer.
    Truncated,
    /// The answer is late by this much.
    Slow(Duration),
    /// The answer is no JSON any more.
    InvalidJson,
    /// The last item's answer is missing.
    TooFewItems,
    /// The request goes no further, and there is no answer.
    Hang,
}

/// A listening relay. Gone when the test ends.
pub struct Relay {
    pub address: SocketAddr,
    path: Arc<Path>,
    _tasks: JoinSet<()>,
}

struct Path {
    to: SocketAddr,
    fault: Fault,
    /// Which bulk request of a cluster the fault befalls, from 0.
    at: usize,
    seen: Mutex<HashMap<String, Seen>>,
}

#[derive(Default)]
struct Seen {
    bulk_requests: usize,
    faulty_since: Option<Instant>,
    answered_since: bool,
}

impl Relay {
    /// Listens on a free port. The fault befalls one bulk request of each cluster that documents are from; a
    /// body in which no cluster is to be seen (it is compressed) is of the cluster "".
    pub async fn start(to: SocketAddr, fault: Fault, at: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let path = Arc::new(Path { to, fault, at, seen: Mutex::default() });
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&path);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let path = Arc::clone(&shared);
                connections.spawn(async move { path.pass_all(stream).await });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, path, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether the fault has befallen a request of this cluster.
    pub fn was_faulty(&self, cluster: &str) -> bool {
        self.any(cluster, |it| it.faulty_since.is_some())
    }

    /// Whether a bulk request of this cluster has been answered since, or late.
    pub fn has_answered_since(&self, cluster: &str) -> bool {
        self.any(cluster, |it| it.answered_since)
    }

    fn any(&self, cluster: &str, fact: impl Fn(&Seen) -> bool) -> bool {
        let seen = self.path.seen.lock().unwrap();
        [cluster, ""].iter().filter_map(|it| seen.get(*it)).any(fact)
    }
}

impl Path {
    fn next_fault(&self, request: &Message) -> Fault {
        if self.fault == Fault::None || !request.is_bulk() {
            return Fault::None;
        }
        let mut seen = self.seen.lock().unwrap();
        let seen = seen.entry(cluster(&request.body)).or_default();
        seen.bulk_requests += 1;
        let is_it = seen.bulk_requests == self.at + 1;
        if is_it {
            seen.faulty_since = Some(Instant::now());
        }
        match (self.fault, seen.faulty_since) {
            (Fault::ItemsFor(status, span), Some(since)) if since.elapsed() < span => {
                Fault::Items(status)
            }
            (Fault::ItemsFor(..), _) => Fault::None,
            (fault, _) if is_it => fault,
            _ => Fault::None,
        }
    }

    /// Ends when one of the two sides has closed, or the fault closes both.
    async fn pass_all(&self, mut client: TcpStream) -> Option<()> {
        client.set_nodelay(true).ok()?;
        let mut server = TcpStream::connect(self.to).await.ok()?;
        server.set_nodelay(true).ok()?;
        let (mut asked, mut answered) = (Vec::new(), Vec::new());
        loop {
            let mut request = Message::read(&mut client, &mut asked, Framing::Request).await?;
            let of = cluster(&request.body);
            let renamed = request.rename(VERSION_9, VERSION_8);
            let fault = self.next_fault(&request);
            match fault {
                Fault::Whole(status) => {
                    client.write_all(&refusal(status)).await.ok()?;
                    continue;
                }
                Fault::Cut => return None,
                Fault::Hang => {
                    while client.read_buf(&mut asked).await.ok()? > 0 {}
                    return None;
                }
                _ => (),
            }
            let refused = match fault {
                Fault::Items(status) => request.take_every_other(status),
                _ => Vec::new(),
            };
            let mut answer = if request.body.is_empty() && !refused.is_empty() {
                Message::json(json!({ "took": 0, "errors": true, "items": [] }))
            } else {
                server.write_all(&request.bytes()).await.ok()?;
                Message::read(&mut server, &mut answered, Framing::answer_to(&request)).await?
            };
            if renamed {
                answer.rename(VERSION_8, VERSION_9);
            }
            if matches!(fault, Fault::Items(_) | Fault::InvalidJson | Fault::TooFewItems) {
                answer.join_chunks();
            }
            let mut bytes = match fault {
                Fault::Items(_) => answer.with_refused(refused).bytes(),
                Fault::InvalidJson => answer.with_last_byte(b'!').bytes(),
                Fault::TooFewItems => answer.without_last_item().bytes(),
                Fault::AnswerLost => return None,
                _ => answer.bytes(),
            };
            match fault {
                Fault::Slow(span) => sleep(span).await,
                Fault::Truncated => bytes.truncate(bytes.len() - answer.body.len() / 2),
                _ => (),
            }
            client.write_all(&bytes).await.ok()?;
            if fault == Fault::Truncated {
                return None;
            }
            if matches!(fault, Fault::None | Fault::Slow(_))
                && let Some(seen) = self.seen.lock().unwrap().get_mut(&of)
            {
                seen.answered_since |= seen.faulty_since.is_some();
            }
        }
    }
}

/// The EKS cluster whose log group is named first.
fn cluster(body: &[u8]) -> String {
    let group = b"/aws/eks/";
    let name = memmem::find(body, group).map_or(&[][..], |at| &body[at + group.len()..]);
    let end = name.iter().position(|it| *it == b'/').unwrap_or_default();
    String::from_utf8_lossy(&name[..end]).into_owned()
}

fn refusal(status: u16) -> Vec<u8> {
    let kind = match status {
        413 => "content_too_long_exception",
        429 => "es_rejected_execution_exception",
        _ => "cluster_block_exception",
    };
    let error = json!({ "type": kind, "reason": "told to" });
    let mut message = Message::json(
        json!({ "error": { "root_cause": [error], "type": kind, "reason": "told to" }, "status": status }),
    );
    message.head = format!("HTTP/1.1 {status} Refused\r\nRetry-After: 1\r\n{COMMON}").into_bytes();
    message.bytes()
}

/// Where a message ends.
#[derive(Clone, Copy)]
enum Framing {
    Request,
    Answer,
    /// The answer to a HEAD: no body, whatever its head says.
    HeadOnly,
}

impl Framing {
    fn answer_to(request: &Message) -> Self {
        if request.head.starts_with(b"HEAD ") { Self::HeadOnly } else { Self::Answer }
    }
}

/// A request or an answer.
struct Message {
    /// All lines with their ends, without the empty one.
    head: Vec<u8>,
    /// As it is on the wire if `is_raw`, else without framing.
    body: Vec<u8>,
    /// The body is chunked or needs no length; nothing is to be said of it in the head.
    is_raw: bool,
}

const COMMON: &str = "X-elastic-product: Elasticsearch\r\nContent-Type: application/json\r\n";

impl Message {
    fn json(value: Value) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\n{COMMON}");
        Self { head: head.into_bytes(), body: value.to_string().into_bytes(), is_raw: false }
    }

    async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, framing: Framing) -> Option<Self> {
        let end = loop {
            if let Some(end) = memmem::find(buffer, b"\r\n\r\n") {
                break end + 2;
            }
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        };
        let mut message =
            Self { head: buffer.drain(..end).collect(), body: Vec::new(), is_raw: true };
        buffer.drain(..2);
        let length = message.header("content-length").map(|it| it.parse::<usize>().unwrap());
        let is_chunked = message.header("transfer-encoding").is_some_and(|it| it == "chunked");
        let status = message.head.get(9..12).unwrap_or_default().to_vec();
        match (framing, length) {
            (Framing::HeadOnly, _) => (),
            _ if is_chunked => message.body = read_chunks(stream, buffer).await?,
            (_, Some(length)) => {
                message.body = take(stream, buffer, length).await?;
                message.is_raw = false;
            }
            (Framing::Answer, None) if status != b"204" && status != b"304" => {
                while stream.read_buf(buffer).await.ok()? > 0 {}
                message.body = std::mem::take(buffer);
            }
            _ => (),
        }
        if !message.is_raw {
            message.drop_header("content-length");
        }
        Some(message)
    }

    fn lines(&self) -> impl Iterator<Item = &str> {
        std::str::from_utf8(&self.head).unwrap().split_inclusive("\r\n")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.lines().skip(1).filter_map(|it| it.split_once(':'));
        fields.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn drop_header(&mut self, name: &str) {
        let is_it =
            |line: &&str| line.split(':').next().is_some_and(|it| it.eq_ignore_ascii_case(name));
        self.head = self.lines().filter(|it| !is_it(it)).collect::<String>().into_bytes();
    }

    /// Whether it is a bulk request.
    fn is_bulk(&self) -> bool {
        let path = self.lines().next().unwrap().split(' ').nth(1).unwrap_or_default();
        path.split('?').next().is_some_and(|it| it.ends_with("/_bulk"))
    }

    /// Replaces text of the same length in the head.
    fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        let mut found = false;
        while let Some(at) = memmem::find(&self.head, from) {
            self.head[at..at + to.len()].copy_from_slice(to);
            found = true;
        }
        found
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        if !self.is_raw {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Takes every other action of a bulk request out, the first one to begin with, and gives back what its item
    /// is to be answered.
    fn take_every_other(&mut self, status: u16) -> Vec<Value> {
        assert!(!self.is_raw, "a bulk request has a length");
        let text = std::str::from_utf8(&self.body).unwrap().to_owned();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        self.body.clear();
        let mut refused = Vec::new();
        for (position, pair) in lines.chunks(2).enumerate() {
            if position % 2 == 1 {
                self.body.extend_from_slice(pair.concat().as_bytes());
                continue;
            }
            let mut action: Value = serde_json::from_str(pair[0]).unwrap();
            for (_, item) in action.as_object_mut().unwrap() {
                item["status"] = json!(status);
                item["error"] =
                    json!({ "type": "es_rejected_execution_exception", "reason": "told to" });
            }
            refused.push(action);
        }
        refused
    }

    /// Gives a chunked body, as Elasticsearch 8.19.21 sends it, a length instead.
    fn join_chunks(&mut self) {
        if !self.is_raw {
            return;
        }
        self.drop_header("transfer-encoding");
        let mut rest = self.body.as_slice();
        let mut joined = Vec::new();
        while let Some((size, start)) = chunk(rest) {
            joined.extend_from_slice(&rest[start..start + size]);
            rest = &rest[start + size + 2..];
        }
        (self.body, self.is_raw) = (joined, false);
    }

    fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn with_refused(&self, refused: Vec<Value>) -> Self {
        let mut answer = self.value();
        let mut taken = answer["items"].as_array().unwrap().clone().into_iter();
        let items = refused.into_iter().flat_map(|it| [Some(it), taken.next()]).flatten();
        answer["items"] = items.collect();
        answer["errors"] = json!(true);
        Self { head: self.head.clone(), body: answer.to_string().into_bytes(), is_raw: false }
    }

    fn without_last_item(&self) -> Self {
        let mut answer = self.value();
        answer["items"].as_array_mut().unwrap().pop();
        Self { head: self.head.clone(), body: answer.to_string().into_bytes(), is_raw: false }
    }

    fn with_last_byte(&self, byte: u8) -> Self {
        let mut body = self.body.clone();
        *body.last_mut().unwrap() = byte;
        Self { head: self.head.clone(), body, is_raw: self.is_raw }
    }
}

async fn take(stream: &mut TcpStream, buffer: &mut Vec<u8>, len: usize) -> Option<Vec<u8>> {
    while buffer.len() < len {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(buffer.drain(..len).collect())
}

/// A chunked body with its framing.
async fn read_chunks(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    loop {
        let (size, start) = loop {
            if let Some(found) = chunk(buffer) {
                break found;
            }
            if stream.read_buf(buffer).await.ok()? == 0 {
                return None;
            }
        };
        raw.extend(take(stream, buffer, start + size + 2).await?);
        if size == 0 {
            return Some(raw);
        }
    }
}

/// The size of the chunk at the start, and where it starts.
fn chunk(bytes: &[u8]) -> Option<(usize, usize)> {
    let end = memmem::find(bytes, b"\r\n")?;
    let size = std::str::from_utf8(&bytes[..end]).unwrap();
    Some((usize::from_str_radix(size, 16).unwrap(), end + 2))
}
