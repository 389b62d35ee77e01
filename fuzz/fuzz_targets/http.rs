//! The program as shippers meet it: bytes on a connection, and next to it a shipper that must not notice.
//!
//! k8scop runs in this process with files as its output. Byte 0 says how the input is cut into writes, and
//! whether our end is closed behind it; the rest goes onto a connection of its own.

#![no_main]

use std::{cell::RefCell, net::SocketAddr, path::PathBuf, time::Duration};

use k8scop::{
    app::App,
    config::{self, Overrides},
};
use k8scop_fuzz::{chosen, value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};

/// Longest wait for what must come.
const SOON: Duration = Duration::from_secs(8);
/// Silence after which no answer is expected any more.
const SILENCE: Duration = Duration::from_millis(3);
/// Inputs between two looks at the metrics.
const LOOK_EVERY: u64 = 16;
/// The configuration: limits that inputs can reach.
const CONFIG: &str = "
listen: 127.0.0.1:0
admin: 127.0.0.1:0
limits:
  body_bytes_max: 65536
  decoded_bytes_max: 65536
  in_flight_bytes_max: 262144
  items_max: 50
  depth_max: 30
  connections_max: 16
  header_read_timeout_s: 1
  body_idle_timeout_s: 1
file: {rotate_bytes: 1048576, recent_ids_max: 1000}
";

struct Running {
    runtime: Runtime,
    app: App,
    good: Option<TcpStream>,
    inputs: u64,
    folder: PathBuf,
}

thread_local! {
    static RUNNING: RefCell<Option<Running>> = const { RefCell::new(None) };
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((flags, bytes)) = chosen(data) else { return };
    RUNNING.with_borrow_mut(|running| {
        let Running { runtime, app, good, inputs, folder } = running.get_or_insert_with(start);
        *inputs += 1;
        let look = inputs.is_multiple_of(LOOK_EVERY);
        runtime.block_on(async {
            let said = one(app.listen, flags, bytes).await;
            answers_are_sound(&said);
            neighbour(app.listen, good).await;
            if look {
                balance(app.admin).await;
            }
        });
        if inputs.is_multiple_of(4096) {
            empty(folder);
        }
    });
});

fn start() -> Running {
    let folder = std::env::temp_dir().join(format!("k8scop-fuzz-http-{}", std::process::id()));
    let mut raw = config::parse(CONFIG).expect("YAML");
    raw.output = format!("file:{}", folder.display());
    let config = config::meant(raw, Overrides::default()).expect("a configuration");
    // One thread, so that an input takes the same way twice.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    // A program with a `main` of Rust ignores SIGPIPE; libFuzzer's does not.
    let pipe = runtime.block_on(async { signal(SignalKind::pipe()) });
    drop(pipe.expect("a handler, which stays for good"));
    let app = runtime.block_on(App::start(config)).expect("k8scop starts");
    Running { runtime, app, good: None, inputs: 0, folder }
}

/// Files that are not open: all, between two requests.
fn empty(folder: &PathBuf) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|it| it == "ndjson") {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// Sends the input and gives back all that is answered. The connection ends within its time, whatever came.
async fn one(address: SocketAddr, flags: u8, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    // Ports are not kept for a minute each.
    socket_linger(&stream);
    let size = match flags & 3 {
        0 => bytes.len(),
        1 => 7,
        2 => 64,
        _ => bytes.len() / 2,
    };
    let mut said = Vec::new();
    for part in bytes.chunks(size.max(1)) {
        // Refused while we speak: what was answered can still be read.
        if stream.write_all(part).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    match flags & 12 {
        // The shipper goes away.
        0 => return said,
        4 => loop {
            let read = timeout(SILENCE, stream.read_buf(&mut said)).await;
            if !matches!(read, Ok(Ok(1..))) {
                break;
            }
        },
        _ => (),
    }
    if stream.shutdown().await.is_ok() {
        let end = stream.read_to_end(&mut said);
        let ended = timeout(SOON, end).await;
        assert!(ended.is_ok(), "the connection hangs: {}", String::from_utf8_lossy(&said));
    }
    said
}

fn socket_linger(stream: &TcpStream) {
    #[expect(deprecated, reason = "no wait: zero seconds")]
    stream.set_linger(Some(Duration::ZERO)).expect("a socket");
}

/// Answers one after the other, each whole but the last, with a status and a body that belong together.
fn answers_are_sound(mut said: &[u8]) {
    while !said.is_empty() {
        assert!(said.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(said));
        let Some(end) = said.windows(4).position(|it| it == b"\r\n\r\n") else { return };
        let head = std::str::from_utf8(&said[..end]).expect("a head in ASCII");
        let status: u16 = head[9..12].parse().expect("a status");
        assert!(!matches!(status, 500 | 502 | 504), "{head}");
        said = &said[end + 4..];
        let header = |name: &str| {
            let lines = head.lines().skip(1).filter_map(|it| it.split_once(": "));
            lines.filter(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, it)| it).next()
        };
        if status == 100 {
            continue;
        }
        let length: usize = header("content-length").map_or(0, |it| it.parse().expect("a length"));
        // HEAD is answered without the body.
        let Some(body) = said.get(..length).filter(|it| !it.starts_with(b"HTTP/1.")) else {
            continue;
        };
        said = &said[length..];
        if header("content-type").is_some_and(|it| it.contains("json")) && length > 0 {
            let text = std::str::from_utf8(body).expect("UTF-8");
            let json = value(text).unwrap_or_else(|| panic!("no JSON: {text}"));
            // `filter_path` may leave it out.
            let told = json.get("status").and_then(serde_json::Value::as_u64);
            assert!(status < 400 || told.is_none_or(|it| it == u64::from(status)), "{text}");
            assert!(head.contains("x-elastic-product: Elasticsearch"));
        }
    }
}

/// A shipper next to it, on a connection that stays.
async fn neighbour(address: SocketAddr, good: &mut Option<TcpStream>) {
    const BODY: &str = "{\"index\":{\"_index\":\"good\",\"_id\":\"1\"}}\n{\"message\":\"good\"}\n{\"delete\":{\"_index\":\"good\",\"_id\":\"1\"}}\n";
    let request = format!(
        "POST /_bulk HTTP/1.1\r\nhost: k\r\ncontent-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{BODY}",
        BODY.len()
    );
    let answered = timeout(SOON, async {
        for _ in 0..2 {
            let stream = match good {
                Some(stream) => stream,
                None => good.insert(TcpStream::connect(address).await.expect("a connection")),
            };
            if stream.write_all(request.as_bytes()).await.is_ok()
                && let Some(said) = whole_answer(stream).await
            {
                return said;
            }
            // It was closed for its silence.
            *good = None;
        }
        panic!("the neighbour is not answered");
    });
    let said = answered.await.expect("the neighbour waits");
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    let (_, body) = said.split_once("\r\n\r\n").expect("a head");
    let answer = value(body).expect("JSON");
    let statuses: Vec<_> = [("index", 0), ("delete", 1)]
        .iter()
        .map(|(name, at)| answer["items"][at][name]["status"].as_u64())
        .collect();
    assert!(matches!(statuses[..], [Some(200 | 201), Some(400)]), "{body}");
}

async fn whole_answer(stream: &mut TcpStream) -> Option<String> {
    let mut said = Vec::new();
    loop {
        if stream.read_buf(&mut said).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&said);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|it| it.strip_prefix("content-length: "))?;
        if body.len() >= length.parse().ok()? {
            return Some(text.into_owned());
        }
    }
}

/// Every item that came in is answered or in flight; when all is answered, no memory is held.
async fn balance(address: SocketAddr) {
    let quiet = timeout(SOON, async {
        loop {
            let text = scrape(address).await;
            let metric = |name: &str| -> f64 {
                let of = text.lines().filter(|it| it.starts_with(name));
                of.filter_map(|it| it.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
            };
            let (received, settled, in_flight) = (
                metric("k8scop_received_items_total"),
                metric("k8scop_settled_items_total"),
                metric("k8scop_items_in_flight"),
            );
            assert!(received > 0.0, "{text}");
            assert_eq!(received, settled + in_flight, "the counts do not balance");
            if in_flight == 0.0 && metric("k8scop_in_flight_bytes") == 0.0 {
                return;
            }
            sleep(Duration::from_millis(1)).await;
        }
    });
    quiet.await.expect("something stays in flight");
}

async fn scrape(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = b"GET /metrics HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("a request");
    let mut said = String::new();
    stream.read_to_string(&mut said).await.expect("the metrics");
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    said
}
