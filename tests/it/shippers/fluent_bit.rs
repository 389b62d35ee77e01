use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    Document, Place, Shipper, Told,
    wire::{Failed, Heard, Wire},
};

/// Wait before the next try. Fluent Bit: 5 s and more, random (`scheduler.base`).
const WAIT: Duration = Duration::from_millis(50);
/// `Retry_Limit` stands at `no_limits` here: by default it is 1, after which a chunk is thrown away.
const TRIES_MAX: usize = 60;
/// `Buffer_Size` (`FLB_ES_DEFAULT_HTTP_MAX`, `out_es/es.h`): head and body of an answer.
const BUFFER_BYTES: usize = 512 << 10;
/// What it looks for in an answer that it cannot read as JSON.
const ALL_WELL: &str = r#""errors":false,"items":["#;

/// Fluent Bit 5.1.1, output `es`.
///
/// Sources, of fluent/fluent-bit: `plugins/out_es/es.c` (`cb_es_flush`, `elasticsearch_error_check`),
/// `src/flb_http_client.c` (`flb_http_get_response_data`: an answer that is larger than the buffer is an error, on
/// which the chunk is sent again). It greets nobody. A chunk succeeds or fails as a whole, and one item with 200 or
/// 201 makes it a success, whatever the others say.
pub struct FluentBit {
    /// Only a log: it speaks bytes.
    wire: Wire,
    index: String,
    connection: Option<TcpStream>,
}

impl FluentBit {
    pub fn new(place: &Place) -> Self {
        let index = format!("fluent-bit-{}", place.namespace);
        Self { wire: Wire::new(&place.url, &[]), index, connection: None }
    }

    fn request(&self, batch: &[Document]) -> Vec<u8> {
        let mut body = String::new();
        for document in batch {
            let source = json!({ "@timestamp": document.time, "message": document.event });
            body += &format!("{{\"create\":{{\"_index\":\"{}\"}}}}\n{source}\n", self.index);
        }
        let (host, len) = (self.wire.base().trim_start_matches("http://"), body.len());
        format!(
            "POST /_bulk HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len}\r\nUser-Agent: Fluent-Bit\r\nContent-Type: application/x-ndjson\r\n\r\n{body}"
        )
        .into_bytes()
    }

    async fn post(&mut self, batch: &[Document]) -> Result<Heard, Failed> {
        let request = self.request(batch);
        let connection = match self.connection.take() {
            Some(connection) => Ok(connection),
            None => TcpStream::connect(self.wire.base().trim_start_matches("http://")).await,
        };
        let mut connection = connection.ok().ok_or(Failed::Silent)?;
        connection.write_all(&request).await.ok().ok_or(Failed::Silent)?;
        let heard = read(&mut connection).await?;
        if heard.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(heard)
    }
}

/// Reads an answer with `Content-Length`.
async fn read(connection: &mut TcpStream) -> Result<Heard, Failed> {
    let mut buffer = Vec::new();
    loop {
        if let Some(heard) = parse(&buffer) {
            return Ok(heard);
        }
        if buffer.len() >= BUFFER_BYTES
            || !matches!(connection.read_buf(&mut buffer).await, Ok(1..))
        {
            return Err(if buffer.is_empty() { Failed::Silent } else { Failed::Cut });
        }
    }
}

fn parse(buffer: &[u8]) -> Option<Heard> {
    let end = buffer.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&buffer[..end]).unwrap();
    let (status_line, fields) = head.split_once("\r\n").unwrap();
    let status = status_line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut headers = HeaderMap::new();
    for (name, value) in fields.lines().filter_map(|it| it.split_once(": ")) {
        headers
            .insert(name.parse::<reqwest::header::HeaderName>().unwrap(), value.parse().unwrap());
    }
    let len: usize = headers["content-length"].to_str().unwrap().parse().unwrap();
    let body = buffer.get(end + 4..end + 4 + len)?.to_vec();
    assert!(!headers.contains_key("content-encoding"), "it did not ask for compression");
    Some(Heard { status, headers, body })
}

/// `elasticsearch_error_check`: whether the chunk is done with.
fn is_success(heard: &Heard) -> bool {
    let text = heard.text();
    let Some(answer) = heard.json() else { return text.contains(ALL_WELL) };
    if answer["errors"] == false {
        assert!(text.contains(ALL_WELL), "it may have to look for the literal: {text}");
        return true;
    }
    let is_stored = |it: &Value| {
        let said = it.as_object().unwrap().values().next().unwrap();
        matches!(said["status"].as_u64(), Some(200 | 201))
    };
    answer["items"].as_array().is_some_and(|it| it.iter().any(is_stored))
}

impl Shipper for FluentBit {
    async fn start(&mut self) -> Result<(), String> {
        Ok(())
    }

    async fn deliver(&mut self, batch: &[Document]) -> Told {
        let mut told = Told::default();
        loop {
            told.tries += 1;
            assert!(told.tries < TRIES_MAX, "it would send this for ever: {:?}", self.wire.said);
            let heard = self.post(batch).await;
            self.wire.say("POST /_bulk".into(), &heard);
            match heard {
                Ok(heard) if matches!(heard.status, 200 | 201) && is_success(&heard) => {
                    told.acked.extend(batch.iter().map(|it| it.audit_id.clone()));
                    return told;
                }
                _ => {
                    self.connection = None;
                    tokio::time::sleep(WAIT).await;
                }
            }
        }
    }

    fn wire(&self) -> &Wire {
        &self.wire
    }
}
