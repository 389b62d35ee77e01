//! Bytes that two programs could read as different requests: each is refused or read in one way, and Elasticsearch
//! never sees a request that was not asked.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::{K8scop, SOON, wait_for},
    real::parts::tell,
};

const GOOD: &str = "{\"create\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n";
/// What an attacker wants Elasticsearch to see. Both would pass if they were requests.
const HIDDEN: &str = "GET /_cat/smuggled HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
/// A request that is allowed, after which the connection ends.
const LAST: &str = "GET /_cat/last HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
/// A path whose body is read by us, one whose body is streamed on, one that is asked without its body, and one that
/// is refused.
const PATHS: [&str; 4] =
    ["POST /_bulk", "PUT /_ingest/pipeline/p", "GET /_cat/indices", "POST /logs-a/_search"];

/// An answer as it came.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

/// Reads answers from bytes, with the lengths that they tell. What is no answer fails the test: it would be read as
/// the answer to the next request.
fn answers(mut bytes: &[u8], what: &str) -> Vec<Answer> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|it| it == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("{what}: {}", String::from_utf8_lossy(bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        bytes = &bytes[end + 4..];
        let status = head.strip_prefix("HTTP/1.").unwrap()[2..5].parse().unwrap();
        let length = head
            .lines()
            .filter_map(|it| it.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, value)| value.parse().unwrap());
        let body = String::from_utf8(bytes[..length].to_vec()).unwrap();
        bytes = &bytes[length..];
        all.push(Answer { status, head, body });
    }
    all
}

/// Sends bytes, and gives back what came until we are hung up on. All of the bytes are sent, come what may.
async fn talk(k8scop: &K8scop, bytes: impl AsRef<[u8]>, what: &str) -> Vec<Answer> {
    let stream = TcpStream::connect(k8scop.data).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let (mut got, mut part) = (Vec::new(), vec![0; 16 << 10]);
    let read = async {
        // A reset after the answer is an end, too: the rest of the bytes was not read.
        while let Ok(len @ 1..) = reader.read(&mut part).await {
            got.extend_from_slice(&part[..len]);
        }
    };
    // The writing half is kept: an end of ours must not be what ends it.
    let write = async { writer.write_all(bytes.as_ref()).await.ok() };
    let both = async { tokio::join!(read, write) };
    if tokio::time::timeout(SOON, both).await.is_err() {
        panic!("{what}: not hung up on after {}", String::from_utf8_lossy(&got));
    }
    answers(&got, what)
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    answers.iter().map(|it| it.status).collect()
}

fn reaction(asked: &Asked) -> Reaction {
    if asked.line.contains("_bulk") {
        Reaction::Items(vec![201])
    } else {
        Reaction::Answer(200, vec![], "{}".into())
    }
}

async fn behind(fake: &Fake) -> K8scop {
    let config = format!(
        "output: {}\nlimits: {{body_bytes_max: 100000, header_read_timeout_s: 5, body_idle_timeout_s: 5}}\n",
        fake.url()
    );
    K8scop::start(&config).await
}

/// A head of these lines, for each of [`PATHS`].
fn heads(lines: &str) -> impl Iterator<Item = String> {
    PATHS.iter().map(move |path| {
        format!("{path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{lines}\r\n")
    })
}

/// The length of the last chunk and of a hidden request.
fn both_ways() -> (String, usize) {
    let body = format!("0\r\n\r\n{HIDDEN}");
    let len = body.len();
    (body, len)
}

#[tokio::test]
async fn two_lengths_are_refused_and_nothing_hidden_is_read() {
    let fake = Fake::start(|_, asked| reaction(asked)).await;
    let k8scop = behind(&fake).await;
    let (body, len) = both_ways();
    let hidden = HIDDEN.len();
    let lines = [
        ("CL, TE", format!("content-length: {len}\r\ntransfer-encoding: chunked\r\n")),
        ("TE, CL", format!("transfer-encoding: chunked\r\ncontent-length: {len}\r\n")),
        ("TE, bad CL", "transfer-encoding: chunked\r\ncontent-length: x\r\n".into()),
        (
            "TE, two CL",
            "transfer-encoding: chunked\r\ncontent-length: 0\r\ncontent-length: 5\r\n".into(),
        ),
        ("CL 0, CL", format!("content-length: 0\r\ncontent-length: {hidden}\r\n")),
        ("CL, CL 0", format!("content-length: {hidden}\r\ncontent-length: 0\r\n")),
        ("CL list", format!("content-length: 0, {hidden}\r\n")),
        ("+CL", format!("content-length: +{hidden}\r\n")),
        ("-CL", "content-length: -1\r\n".into()),
        ("hex CL", "content-length: 0x10\r\n".into()),
        ("empty CL", "content-length: \r\n".into()),
        ("CL with space", "content-length: 1 0\r\n".into()),
        ("huge CL", "content-length: 99999999999999999999999\r\n".into()),
        ("CL 2^64-1", "content-length: 18446744073709551615\r\n".into()),
        ("xchunked", "transfer-encoding: xchunked\r\n".into()),
        ("TE identity", "transfer-encoding: identity\r\n".into()),
        ("chunked, identity", "transfer-encoding: chunked, identity\r\n".into()),
        (
            "chunked then identity",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".into(),
        ),
        (
            "identity then chunked",
            "transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n".into(),
        ),
        ("gzip, chunked", "transfer-encoding: gzip, chunked\r\n".into()),
        ("chunked twice", "transfer-encoding: chunked, chunked\r\n".into()),
        (
            "chunked in two lines",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n".into(),
        ),
        ("TE with vertical tab", "transfer-encoding: \x0bchunked\r\n".into()),
        ("TE in quotes", "transfer-encoding: \"chunked\"\r\n".into()),
        ("empty TE", "transfer-encoding: \r\n".into()),
        ("space before the colon", format!("content-length : {len}\r\n")),
        ("TE, space before the colon", "transfer-encoding : chunked\r\n".into()),
        ("obs-fold", "transfer-encoding:\r\n chunked\r\n".into()),
        ("obs-fold of another", format!("x-a: b\r\n content-length: {len}\r\n")),
        ("obs-fold first", format!(" content-length: {len}\r\n")),
        ("bare CR", format!("x-a: b\rcontent-length: {len}\r\n")),
        ("bare CR at the end", format!("x-a: b\r\r\ncontent-length: {len}\r\n")),
        ("NUL in a value", format!("x-a: b\0c\r\ncontent-length: {len}\r\n")),
        ("NUL in a name", format!("x-a\0: b\r\ncontent-length: {len}\r\n")),
        ("no colon", format!("x-a\r\ncontent-length: {len}\r\n")),
        ("no name", format!(": b\r\ncontent-length: {len}\r\n")),
    ];
    let mut wrong = Vec::new();
    for (name, lines) in &lines {
        for head in heads(lines) {
            let what = format!("{name}, {}", head.lines().next().unwrap());
            let got = talk(&k8scop, format!("{head}{body}"), &what).await;
            // A length that no number holds is too large a head to hyper.
            if !matches!(statuses(&got)[..], [400 | 431]) {
                wrong.push(format!("{what}: {:?}", statuses(&got)));
            }
        }
    }
    assert!(wrong.is_empty(), "not refused with 400 alone:\n{}", wrong.join("\n"));
    let seen: Vec<_> = fake.asked().into_iter().map(|it| it.line).collect();
    assert!(seen.is_empty(), "{seen:?}");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn chunks_are_read_in_one_way() {
    let fake = Fake::start(|_, asked| reaction(asked)).await;
    let k8scop = behind(&fake).await;
    let len = GOOD.len();
    let chunked = "transfer-encoding: chunked\r\n";
    // Read as RFC 9112, 7.1 has it, and what follows is the next request.
    let sound = [
        ("as it should be", format!("{len:x}\r\n{GOOD}\r\n0\r\n\r\n")),
        ("capitals and zeros", format!("000{len:X}\r\n{GOOD}\r\n000\r\n\r\n")),
        ("extensions", format!("{len:x};a=b\r\n{GOOD}\r\n0;c\r\n\r\n")),
        ("trailers", format!("{len:x}\r\n{GOOD}\r\n0\r\nx-a: b\r\ncontent-length: 7\r\n\r\n")),
    ];
    for (name, body) in &sound {
        for head in heads(chunked) {
            let what = format!("{name}, {}", head.lines().next().unwrap());
            let got = talk(&k8scop, format!("{head}{body}{LAST}"), &what).await;
            let first = if head.contains("_search") { 403 } else { 200 };
            // A body that nobody reads may end the connection. Its answer comes in any case.
            assert_eq!(got[0].status, first, "{what}");
            assert!(matches!(statuses(&got)[1..], [] | [200]), "{what}: {:?}", statuses(&got));
            if head.contains("_bulk") {
                assert_eq!(got.len(), 2, "{what}");
            }
        }
    }
    let before = fake.asked().len();
    let broken = [
        ("LF alone", format!("{len:x}\n{GOOD}\r\n0\r\n\r\n")),
        ("LF after the chunk", format!("{len:x}\r\n{GOOD}\n0\r\n\r\n")),
        ("hex prefix", format!("0x{len:x}\r\n{GOOD}\r\n0\r\n\r\n")),
        ("plus", format!("+{len:x}\r\n{GOOD}\r\n0\r\n\r\n")),
        ("minus", format!("-1\r\n{GOOD}\r\n0\r\n\r\n")),
        ("too short", format!("{:x}\r\n{GOOD}\r\n0\r\n\r\n", len - 5)),
        ("more than 64 bits", format!("1{:016x}\r\n{GOOD}\r\n0\r\n\r\n", len)),
        ("no digits", format!("\r\n{GOOD}\r\n0\r\n\r\n")),
        ("LF in an extension", format!("{len:x};a\nb\r\n{GOOD}\r\n0\r\n\r\n")),
        ("bare CR in an extension", format!("{len:x};a\rb\r\n{GOOD}\r\n0\r\n\r\n")),
        ("endless extension", format!("{len:x};{}\r\n{GOOD}\r\n0\r\n\r\n", "a".repeat(40_000))),
        (
            "endless trailers",
            format!("{len:x}\r\n{GOOD}\r\n0\r\n{}\r\n", "x-a: b\r\n".repeat(9000)),
        ),
    ];
    let mut wrong = Vec::new();
    for (name, body) in &broken {
        for head in heads(chunked) {
            let what = format!("{name}, {}", head.lines().next().unwrap());
            let got = talk(&k8scop, format!("{head}{body}{HIDDEN}"), &what).await;
            let fine = match statuses(&got).as_slice() {
                [status] if head.contains("_bulk") => *status == 400,
                // The head could be answered before its body was seen.
                [status] => matches!(status, 200 | 400 | 403 | 503),
                [] => true,
                _ => false,
            };
            if !fine {
                wrong.push(format!("{what}: {:?}", statuses(&got)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for asked in &fake.asked()[before..] {
        assert!(!asked.line.contains("smuggled") && !asked.line.contains("_bulk"), "{asked:?}");
    }
}

#[tokio::test]
async fn request_lines() {
    let fake = Fake::start(|_, asked| reaction(asked)).await;
    let k8scop = behind(&fake).await;
    let rest = "host: x\r\ncontent-type: application/json\r\n";
    let own = "content-length: 0\r\nconnection: close\r\n\r\n";
    for (line, expected) in [
        ("GET /_cat/\x01 HTTP/1.1", &[400][..]),
        ("GET /_cat/\x7f HTTP/1.1", &[400]),
        ("GET /_cat/a\tb HTTP/1.1", &[400]),
        ("GET /_cat/a b HTTP/1.1", &[400]),
        ("GET /_cat/a\rb HTTP/1.1", &[400]),
        ("GET  /_cat/a HTTP/1.1", &[400]),
        ("GET /_cat/a HTTP/2.0", &[400]),
        ("GET /_cat/a HTTP/1.2", &[400]),
        ("GET /_cat/a http/1.1", &[400]),
        ("GET _cat/a HTTP/1.1", &[400]),
        ("GET\0 / HTTP/1.1", &[400]),
        ("G(T / HTTP/1.1", &[400]),
        ("GET /", &[400]),
        ("PRI * HTTP/2.0", &[400]),
        // A method of another case is another method.
        ("post /_bulk HTTP/1.1", &[403]),
        ("get / HTTP/1.1", &[403]),
        ("CONNECT evil.example:443 HTTP/1.1", &[403]),
        ("CONNECT / HTTP/1.1", &[400, 403]),
        ("OPTIONS * HTTP/1.1", &[400, 403]),
        ("TRACE / HTTP/1.1", &[403]),
    ] {
        let got = talk(&k8scop, format!("{line}\r\n{rest}{own}"), line).await;
        let [answer] = got.as_slice() else { panic!("{line:?}: {got:?}") };
        assert!(expected.contains(&answer.status), "{line:?}: {}", answer.status);
    }
    assert_eq!(fake.asked().len(), 0, "{:?}", fake.asked());
    // The other host is no business of ours.
    let got = talk(
        &k8scop,
        format!("GET http://evil.example/_cat/a?b HTTP/1.1\r\n{rest}{own}"),
        "absolute",
    )
    .await;
    assert_eq!(statuses(&got), [200]);
    assert_eq!(fake.asked()[0].line, "GET /_cat/a?b HTTP/1.1");
    assert_eq!(fake.asked()[0].header("host"), Some(fake.address.to_string().as_str()));
}

#[tokio::test]
async fn heads_have_an_end() {
    let fake = Fake::start(|_, asked| reaction(asked)).await;
    let k8scop = behind(&fake).await;
    let many = "x-a: b\r\n".repeat(5000);
    let long = format!("x-a: {}\r\n", "b".repeat(300_000));
    let path = "a".repeat(100_000);
    for (name, head) in [
        ("5,000 headers", format!("GET /_cat/a HTTP/1.1\r\nhost: x\r\n{many}\r\n")),
        ("a header of 300 KB", format!("GET /_cat/a HTTP/1.1\r\nhost: x\r\n{long}\r\n")),
        ("a path of 100 KB", format!("GET /_cat/{path} HTTP/1.1\r\nhost: x\r\n\r\n")),
        ("no end", "GET /_cat/a HTTP/1.1\r\n".to_owned() + &long),
    ] {
        let got = talk(&k8scop, head, name).await;
        let fine = matches!(statuses(&got).as_slice(), [] | [400 | 414 | 431]);
        assert!(fine, "{name}: {:?}", statuses(&got));
    }
    assert_eq!(fake.asked().len(), 0);
}

#[tokio::test]
async fn old_versions_and_line_ends() {
    let fake = Fake::start(|_, asked| reaction(asked)).await;
    let k8scop = behind(&fake).await;
    let len = GOOD.len();
    let bulk = |version: &str, more: &str| {
        format!(
            "POST /_bulk HTTP/{version}\r\ncontent-type: application/json\r\n{more}content-length: {len}\r\n\r\n{GOOD}"
        )
    };
    // Hangs up by itself after 1.0, unless it is asked not to.
    let got = talk(&k8scop, bulk("1.0", "") + &bulk("1.0", ""), "1.0").await;
    assert_eq!(statuses(&got), [200]);
    let kept = bulk("1.0", "connection: keep-alive\r\n");
    let got = talk(&k8scop, kept + &bulk("1.0", ""), "1.0 with keep-alive").await;
    assert_eq!(statuses(&got), [200, 200]);
    // A chunked body is unknown to 1.0: whoever stands before us may take it for none.
    let (body, _) = both_ways();
    let got = talk(
        &k8scop,
        format!("POST /_bulk HTTP/1.0\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n{body}"),
        "1.0 chunked",
    )
    .await;
    assert_eq!(statuses(&got), [400]);
    // RFC 9112, 2.2: a recipient may take LF alone for the end of a line.
    let lf = bulk("1.1", "host: x\r\nconnection: close\r\n").replace("\r\n", "\n");
    assert_eq!(statuses(&talk(&k8scop, lf, "LF alone").await), [200]);
    // Empty lines before a request are skipped.
    let got = talk(&k8scop, format!("\r\n\r\n{LAST}"), "empty lines").await;
    assert_eq!(statuses(&got), [200]);
    assert!(fake.asked().iter().all(|it| !it.line.contains("smuggled")));
    k8scop.check_balance().await;
}

#[tokio::test]
async fn requests_that_are_sent_at_once_are_answered_in_order() {
    let fake =
        Fake::start(
            |_, asked| {
                if asked.body.len() > 500_000 { Reaction::Hang } else { reaction(asked) }
            },
        )
        .await;
    let config = format!(
        "output: {}\nlimits: {{in_flight_bytes_max: 2000000, body_bytes_max: 1500000, decoded_bytes_max: 1500000, request_deadline_s: 20}}\n",
        fake.url()
    );
    let k8scop = K8scop::start(&config).await;
    let request = |path: &str, more: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let named = |name: &str| request(&format!("/{name}/_bulk"), "", "{\"create\":{}}\n{\"a\":1}\n");
    let last = request("/logs-c/_bulk", "connection: close\r\n", "{\"create\":{}}\n{\"a\":1}\n");
    let got = talk(&k8scop, named("logs-a") + &named("logs-b") + &last, "three").await;
    assert_eq!(statuses(&got), [200, 200, 200]);
    for (answer, name) in got.iter().zip(["logs-a", "logs-b", "logs-c"]) {
        assert!(answer.body.contains(&format!("\"_index\":\"{name}\"")), "{}", answer.body);
    }
    // Bodies that nobody reads are no requests.
    let body = HIDDEN.repeat(100);
    let large = HIDDEN.repeat(1_600_000 / HIDDEN.len());
    for (name, first, status) in [
        ("403", request("/logs-a/_search", "", &body), 403),
        ("413 of the body", request("/_bulk", "", &large), 413),
        (
            "413 of what it says it becomes",
            request("/_bulk", "x-elastic-uncompressed-request-length: 1500001\r\n", &body),
            413,
        ),
        ("415", request("/_bulk", "content-encoding: br\r\n", &body), 415),
        ("417, unknown Expect", request("/logs-a/_search", "expect: tea\r\n", &body), 417),
        ("403, Expect", request("/logs-a/_search", "expect: 100-continue\r\n", &body), 403),
    ] {
        let got = talk(&k8scop, first + &last, name).await;
        let all = statuses(&got);
        tell(format_args!("pipelined after {name}: {all:?}"));
        assert_eq!(all[0], status, "{name}");
        assert!(matches!(all[1..], [] | [200]), "{name}: {all:?}");
        // A shipper goes on with the connection after a refusal.
        if !name.contains("Expect") && !name.contains("of the body") {
            assert_eq!(all.len(), 2, "{name}");
        }
    }
    // The same over the budget, which another request has taken.
    let address = k8scop.data;
    let document =
        format!("{{\"create\":{{\"_index\":\"logs-a\"}}}}\n{{\"a\":\"{}\"}}\n", "x".repeat(2000));
    let hanging = request("/_bulk", "", &document.repeat(500));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(hanging.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    });
    wait_for("the budget to be taken", SOON, async || {
        (k8scop.metrics().await["k8scop_in_flight_bytes"] > 700_000.0).then_some(())
    })
    .await;
    let refused = request("/_bulk", "", &HIDDEN.repeat(1_450_000 / HIDDEN.len()));
    let got = talk(&k8scop, refused + &last, "429").await;
    assert_eq!(statuses(&got), [429, 200]);
    assert!(got[0].head.to_lowercase().contains("retry-after: "));
    let seen: Vec<_> = fake.asked().into_iter().map(|it| it.line).collect();
    assert!(!seen.iter().any(|it| it.contains("smuggled")), "{seen:?}");
}

#[tokio::test]
async fn who_asks_whether_it_may_send_is_told() {
    let fake = Fake::start(|_, asked| reaction(asked)).await;
    let k8scop = behind(&fake).await;
    for (expect, statuses_expected) in
        [("100-continue", &[100, 200][..]), ("100-CONTINUE", &[100, 200]), ("tea", &[417])]
    {
        let head = format!(
            "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: {expect}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            GOOD.len()
        );
        let mut stream = TcpStream::connect(k8scop.data).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        if statuses_expected[0] == 100 {
            // The body is sent only after that.
            while !got.ends_with(b"\r\n\r\n") {
                let read = tokio::time::timeout(SOON, stream.read_buf(&mut got)).await;
                assert!(read.unwrap().unwrap() > 0);
            }
        }
        // It may be refused already.
        stream.write_all(GOOD.as_bytes()).await.ok();
        tokio::time::timeout(SOON, stream.read_to_end(&mut got)).await.unwrap().ok();
        assert_eq!(statuses(&answers(&got, expect)), statuses_expected, "{expect}");
    }
    assert!(fake.asked().iter().all(|it| it.header("expect").is_none()));
}

#[tokio::test]
async fn headers_of_one_connection_stay_on_it() {
    let fake = Fake::start(|_, asked| reaction(asked)).await;
    let k8scop = behind(&fake).await;
    let head = "PUT /_ingest/pipeline/p HTTP/1.1\r\nhost: x\r\nconnection: close, content-length, x-mine\r\nx-mine: 1\r\nkeep-alive: 5\r\nproxy-connection: keep-alive\r\nte: trailers\r\nupgrade: h2c\r\nhttp2-settings: AA\r\ncontent-length: 2\r\n\r\n{}";
    let got = talk(&k8scop, head, "hop by hop").await;
    assert_eq!(statuses(&got), [200]);
    let asked = &fake.asked()[0];
    for name in ["x-mine", "keep-alive", "proxy-connection", "te", "upgrade"] {
        assert_eq!(asked.header(name), None, "{name}");
    }
    assert_eq!((asked.header("content-length"), asked.body.as_str()), (Some("2"), "{}"));
}
