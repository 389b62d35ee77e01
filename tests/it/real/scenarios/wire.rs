//! HTTP as it is on the wire: the client libraries add headers, and refuse to say much of what we have to ask.

use std::{io::Write, time::Duration};

use flate2::{
    Compression,
    write::{GzDecoder, GzEncoder, ZlibEncoder},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::format::{Encode, Request};

/// Longest wait for an answer, or for the permission to send a body.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer with its body decoded.
#[derive(Clone, Debug)]
pub struct Raw {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Raw {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// Sends these requests over one connection, without waiting between them, and reads as many answers.
/// `named` puts in the names of this way.
pub async fn exchange(
    address: &str,
    requests: &[&Request],
    named: impl Fn(&str) -> String,
) -> Vec<Raw> {
    let mut connection =
        Connection { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() };
    connection.stream.set_nodelay(true).unwrap();
    let written: Vec<_> = requests.iter().map(|it| written(it, address, &named)).collect();
    let mut answers = Vec::new();
    if let [Written { head, body, waits: true }] = written.as_slice() {
        connection.send(head).await;
        let first = connection.answer(false).await;
        if first.status != 100 {
            return vec![first];
        }
        connection.send(body).await;
        return vec![connection.answer(false).await];
    }
    let all: Vec<u8> =
        written.iter().flat_map(|it| [it.head.as_slice(), &it.body]).flatten().copied().collect();
    connection.send(&all).await;
    for request in requests {
        answers.push(connection.answer(request.send.starts_with("HEAD ")).await);
    }
    answers
}

struct Written {
    head: Vec<u8>,
    body: Vec<u8>,
    /// The body is sent when the other end wants it.
    waits: bool,
}

fn written(request: &Request, address: &str, named: impl Fn(&str) -> String) -> Written {
    let (method, path) = request.send.split_once(' ').unwrap();
    let version = request.http.as_deref().unwrap_or("1.1");
    let mut head = format!("{method} {} HTTP/{version}\r\n", named(path));
    let body = body(request, named);
    let mut header = |name: &str, value: &str| {
        let given = request.headers.iter().find(|(it, _)| it.eq_ignore_ascii_case(name));
        if given.is_none() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    };
    header("host", address);
    if let Some(body) = &body {
        let is_bulk = path.split('?').next().unwrap().trim_end_matches('/').ends_with("_bulk");
        header("content-type", if is_bulk { "application/x-ndjson" } else { "application/json" });
        if let Some(encode) = request.encode {
            header("content-encoding", encode.name());
        }
        if request.chunked {
            header("transfer-encoding", "chunked");
        } else {
            header("content-length", &body.len().to_string());
        }
    } else if matches!(method, "POST" | "PUT") {
        header("content-length", "0");
    }
    for (name, value) in &request.headers {
        if let Some(value) = value {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    head.push_str("\r\n");
    let body = body.unwrap_or_default();
    let body = if request.chunked { in_chunks(&body) } else { body };
    let waits = request.headers.keys().any(|it| it.eq_ignore_ascii_case("expect"));
    Written { head: head.into(), body, waits }
}

/// `None`: the request has none.
fn body(request: &Request, named: impl Fn(&str) -> String) -> Option<Vec<u8>> {
    let plain = match (&request.body, &request.base64) {
        (Some(text), None) => named(text).into_bytes(),
        (None, Some(text)) => base64(text),
        (None, None) => return None,
        (Some(_), Some(_)) => panic!("{}: body and base64", request.send),
    };
    let level = Compression::default();
    Some(match request.encode {
        None => plain,
        Some(Encode::Gzip) => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        }
        Some(Encode::Deflate) => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(&plain).unwrap();
            encoder.finish().unwrap()
        }
    })
}

/// In chunks that end anywhere.
fn in_chunks(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(7) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\n\r\n");
    out
}

fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut out, mut bits, mut held) = (Vec::new(), 0_u32, 0);
    for sign in text.bytes().filter(|it| !it.is_ascii_whitespace() && *it != b'=') {
        let six = ALPHABET.iter().position(|it| *it == sign).unwrap();
        (bits, held) = (bits << 6 | u32::try_from(six).unwrap(), held + 6);
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    out
}

/// The other end closed the connection, or says nothing any more.
struct Cut;

struct Connection {
    stream: TcpStream,
    /// What has been read and not used.
    read: Vec<u8>,
}

impl Connection {
    async fn send(&mut self, bytes: &[u8]) {
        // The other end may answer, and close, before it has read all.
        self.stream.write_all(bytes).await.ok();
    }

    /// Reads more. `false`: there is no more.
    async fn more(&mut self) -> bool {
        let mut chunk = vec![0; 16 << 10];
        let count = match timeout(PATIENCE, self.stream.read(&mut chunk)).await {
            Ok(count) => count.unwrap_or_default(),
            Err(_late) => 0,
        };
        self.read.extend_from_slice(&chunk[..count]);
        count > 0
    }

    async fn line(&mut self) -> Result<String, Cut> {
        loop {
            if let Some(end) = self.read.iter().position(|it| *it == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if !self.more().await {
                return Err(Cut);
            }
        }
    }

    async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, Cut> {
        while self.read.len() < count {
            if !self.more().await {
                return Err(Cut);
            }
        }
        Ok(self.read.drain(..count).collect())
    }

    /// The next answer. One that does not come, or not whole, has the status 0.
    async fn answer(&mut self, is_head: bool) -> Raw {
        let cut = |Cut| Raw { status: 0, headers: Vec::new(), body: "no whole answer".into() };
        self.whole_answer(is_head).await.unwrap_or_else(cut)
    }

    async fn whole_answer(&mut self, is_head: bool) -> Result<Raw, Cut> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|it| it.parse().ok()).ok_or(Cut)?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut answer = Raw { status, headers, body: String::new() };
        let body = if is_head || matches!(status, 100 | 204 | 304) {
            Vec::new()
        } else if answer.header("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            loop {
                let length = usize::from_str_radix(&self.line().await?, 16).unwrap();
                body.extend(self.bytes(length).await?);
                self.line().await?;
                if length == 0 {
                    break body;
                }
            }
        } else if let Some(length) = answer.header("content-length") {
            let length = length.parse().unwrap();
            self.bytes(length).await?
        } else {
            while self.more().await {}
            std::mem::take(&mut self.read)
        };
        let body = match answer.header("content-encoding") {
            Some("gzip") => {
                let mut decoder = GzDecoder::new(Vec::new());
                decoder.write_all(&body).unwrap();
                decoder.finish().unwrap()
            }
            _ => body,
        };
        // CBOR is no text; as far as it is compared, this will do.
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Ok(answer)
    }
}
