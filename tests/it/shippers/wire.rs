//! How the models speak: HTTP with a log of what was said, and a wire that may lose an answer.

use std::{
    io::Write,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flate2::{
    Compression,
    write::{GzDecoder, GzEncoder},
};
use reqwest::{
    Method,
    header::{CONTENT_ENCODING, HeaderMap},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Longest wait of a model for an answer: Logstash waits 60 s, Filebeat 90 s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug)]
pub struct Heard {
    pub status: u16,
    pub headers: HeaderMap,
    /// Decompressed.
    pub body: Vec<u8>,
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|it| it.to_str().ok())
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `None`: it is no JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// No answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Not even its status.
    Silent,
    /// Its status, and not the whole of its body.
    Cut,
}

/// One request and what came of it.
#[derive(Clone, Debug)]
pub struct Said {
    /// Method and path.
    pub line: String,
    /// `None`: no whole answer.
    pub status: Option<u16>,
    /// It was a copy of an earlier answer (`x-k8scop-copy`).
    pub is_copy: bool,
}

/// A shipper's end of the wire.
pub struct Wire {
    client: reqwest::Client,
    base: String,
    headers: Vec<(&'static str, String)>,
    pub said: Vec<Said>,
}

impl Wire {
    /// `headers` go with every request.
    pub fn new(base: &str, headers: &[(&'static str, &str)]) -> Self {
        // Another test of this binary may have chosen already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap();
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { client, base: base.trim_end_matches('/').to_owned(), headers, said: Vec::new() }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn ask(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&'static str, String)],
        body: Option<Vec<u8>>,
    ) -> Result<Heard, Failed> {
        let line = format!("{method} {path}");
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in self.headers.iter().chain(headers) {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let heard = match request.send().await {
            Err(_) => Err(Failed::Silent),
            Ok(answer) => {
                let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                match answer.bytes().await {
                    Err(_) => Err(Failed::Cut),
                    Ok(body) => {
                        let body = plain(&headers, &body);
                        Ok(Heard { status, headers, body })
                    }
                }
            }
        };
        self.say(line, &heard);
        heard
    }

    pub async fn get(&mut self, path: &str) -> Result<Heard, Failed> {
        self.ask(Method::GET, path, &[], None).await
    }

    pub fn say(&mut self, line: String, heard: &Result<Heard, Failed>) {
        let heard = heard.as_ref().ok();
        self.said.push(Said {
            line,
            status: heard.map(|it| it.status),
            is_copy: heard.is_some_and(|it| it.header("x-k8scop-copy").is_some()),
        });
    }

    /// The requests so far, without the bulk requests.
    pub fn greeting(&self) -> Vec<&Said> {
        self.said.iter().filter(|it| !it.line.contains("/_bulk")).collect()
    }
}

fn plain(headers: &HeaderMap, body: &[u8]) -> Vec<u8> {
    match headers.get(CONTENT_ENCODING).map(|it| it.to_str().unwrap()) {
        None | Some("identity") => body.to_vec(),
        Some("gzip") => {
            let mut decoder = GzDecoder::new(Vec::new());
            decoder.write_all(body).unwrap();
            decoder.finish().unwrap()
        }
        other => panic!("an answer in {other:?} for a client that prefers gzip"),
    }
}

/// Level 1, as Logstash and Filebeat compress.
pub fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// All of it is there, and the stream has no end: neither a last block nor a trailer.
pub fn unfinished_gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    encoder.write_all(body).unwrap();
    encoder.flush().unwrap();
    encoder.get_ref().clone()
}

/// Nothing is lost.
const NOTHING: usize = usize::MAX;
/// The end of an answer is lost.
pub const END: usize = usize::MAX - 1;
/// How much the end of an answer is (bytes): less than any body.
const END_BYTES: usize = 20;

/// The wire between a shipper and k8scop.
pub struct Relay {
    pub address: SocketAddr,
    /// After how many bytes of the next answer the connection ends.
    lose_after: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let lose_after = Arc::new(AtomicUsize::new(NOTHING));
        let (mut tasks, lose) = (JoinSet::new(), Arc::clone(&lose_after));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(carry(stream, to, Arc::clone(&lose)));
            }
        });
        Self { address, lose_after, _tasks: tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next answer is cut after this many bytes, or before its [`END`].
    pub fn lose_next_after(&self, bytes: usize) {
        self.lose_after.store(bytes, Ordering::SeqCst);
    }

    /// Whether the answer was lost that was to be.
    pub fn has_lost(&self) -> bool {
        self.lose_after.load(Ordering::SeqCst) == NOTHING
    }
}

async fn carry(client: TcpStream, to: SocketAddr, lose: Arc<AtomicUsize>) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let asks = tokio::io::copy(&mut from_client, &mut to_server);
    let answers = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from_server.read(&mut buffer).await {
            let after = match lose.swap(NOTHING, Ordering::SeqCst) {
                END => len - END_BYTES,
                after => after,
            };
            if to_client.write_all(&buffer[..len.min(after)]).await.is_err() || after != NOTHING {
                return;
            }
        }
    };
    tokio::select! {
        _ = asks => (),
        () = answers => (),
    }
}
