//! Each limit refuses what is past it, costs nobody else anything, and says how to mend it.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    fake::{Fake, Reaction},
    harness::{K8scop, SOON, client, wait_for},
};

const GOOD: &str = "{\"create\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n";

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

async fn post_gzip(k8scop: &K8scop, body: Vec<u8>) -> (u16, Value) {
    let request = client().post(k8scop.url("/_bulk")).header("content-encoding", "gzip").body(body);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap())
}

/// Speaks bytes: sends `head` and gives back all that comes until `end` is seen or the connection closes.
async fn raw(k8scop: &K8scop, head: &str, end: &str) -> String {
    let mut stream = TcpStream::connect(k8scop.data).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut got = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&got).contains(end) {
            if stream.read_buf(&mut got).await.unwrap() == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(SOON, read).await.unwrap();
    String::from_utf8(got).unwrap()
}

#[tokio::test]
async fn over_the_budget_a_body_is_refused_before_it_is_read() {
    let fake = Fake::start(|_, _| Reaction::Hang).await;
    let config = format!(
        "output: {}\nlimits: {{in_flight_bytes_max: 2000000, body_bytes_max: 1500000, decoded_bytes_max: 1500000, request_deadline_s: 20}}\n",
        fake.url()
    );
    let k8scop = K8scop::start(&config).await;
    let large = GOOD.replace('1', &format!("\"{}\"", "x".repeat(900_000)));
    let (address, first) = (k8scop.url("/_bulk"), large.clone());
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        client().post(address).body(first).timeout(Duration::from_secs(5)).send().await.is_ok()
    });
    wait_for("the first body to be in flight", SOON, async || {
        (k8scop.metrics().await["k8scop_in_flight_bytes"] > 700_000.0).then_some(())
    })
    .await;
    // The body is never sent, and the answer comes all the same.
    let head = "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1400000\r\nexpect: 100-continue\r\n\r\n";
    let answer = raw(&k8scop, head, "}").await;
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    assert!(
        answer.to_lowercase().contains("retry-after: ")
            && answer.contains("limits.in_flight_bytes_max"),
        "{answer}"
    );
    assert!(!answer.contains("100 Continue"), "{answer}");
    // A small one still finds its place, and what was taken comes back in the end.
    let chunked = "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\n\r\n";
    assert!(raw(&k8scop, chunked, "\r\n\r\n").await.starts_with("HTTP/1.1 100"));
    tasks.join_all().await;
    wait_for("the budget to be given back", SOON, async || {
        (k8scop.metrics().await["k8scop_in_flight_bytes"] < 0.5).then_some(())
    })
    .await;
    k8scop.check_balance().await;
}

#[tokio::test]
async fn bodies_that_are_too_large_or_broken_cost_their_own_request() {
    let k8scop =
        K8scop::start("limits: {body_bytes_max: 1000000, decoded_bytes_max: 2000000}\n").await;
    let told = raw(&k8scop, "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000001\r\nexpect: 100-continue\r\n\r\n", "}").await;
    assert!(told.starts_with("HTTP/1.1 413") && told.contains("limits.body_bytes_max"), "{told}");
    let bomb = gzip(&vec![b' '; 50_000_000]);
    assert!(bomb.len() < 1_000_000);
    let (status, answer) = post_gzip(&k8scop, bomb).await;
    assert_eq!(status, 413);
    assert!(answer["error"]["reason"].as_str().unwrap().contains("limits.decoded_bytes_max"));
    let whole = gzip(GOOD.repeat(100).as_bytes());
    let (status, answer) = post_gzip(&k8scop, whole[..whole.len() / 2].to_vec()).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"]["reason"].as_str().unwrap().contains("not whole gzip"));
    let request = client().post(k8scop.url("/_bulk")).header("content-encoding", "br").body("x");
    assert_eq!(request.send().await.unwrap().status(), 415);
    // The one that is good is stored, chunked or not.
    assert_eq!(post_gzip(&k8scop, whole).await.0, 200);
    let chunks = reqwest::Body::wrap_stream(futures_util::stream::iter(
        GOOD.repeat(3).into_bytes().into_iter().map(|it| Ok::<_, std::io::Error>(vec![it])),
    ));
    let (status, answer) = k8scop.bulk("/_bulk", chunks).await;
    assert_eq!((status, answer["items"].as_array().unwrap().len()), (200, 3));
    for (body, reason) in [("", "request body is required"), ("\n\n", "no requests added")] {
        let (status, answer) = k8scop.bulk("/_bulk", body).await;
        assert_eq!(status, 400);
        assert!(answer["error"]["reason"].as_str().unwrap().contains(reason));
    }
    k8scop.check_balance().await;
}

#[tokio::test]
async fn items_are_limited() {
    let k8scop = K8scop::start("limits: {items_max: 3}\n").await;
    assert_eq!(k8scop.bulk("/_bulk", GOOD.repeat(3)).await.0, 200);
    let (status, answer) = k8scop.bulk("/_bulk", GOOD.repeat(4)).await;
    assert_eq!(status, 413);
    assert!(answer["error"]["reason"].as_str().unwrap().contains("more than 3 items"));
}

#[tokio::test]
async fn silent_clients_are_let_go() {
    let k8scop =
        K8scop::start("limits: {body_idle_timeout_s: 1, header_read_timeout_s: 1}\n").await;
    let body =
        raw(&k8scop, "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"cre", "}")
            .await;
    assert!(body.starts_with("HTTP/1.1 408"), "{body}");
    assert_eq!(
        raw(&k8scop, "POST /_bulk HTTP/1.1\r\nhos", "never").await,
        "",
        "closed without an answer"
    );
    assert_eq!(k8scop.bulk("/_bulk", GOOD).await.0, 200);
}

#[tokio::test]
async fn a_full_house_lets_the_idlest_go() {
    let fake = Fake::start(|_, _| Reaction::Hang).await;
    let config = format!("output: {}\nlimits: {{connections_max: 3}}\n", fake.url());
    let k8scop = K8scop::start(&config).await;
    // One waits for its answer, one has been of use, one is silent.
    let mut waiting = TcpStream::connect(k8scop.data).await.unwrap();
    let head =
        "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length:";
    waiting.write_all(format!("{head} {}\r\n\r\n{GOOD}", GOOD.len()).as_bytes()).await.unwrap();
    wait_for("an item in flight", SOON, async || {
        (k8scop.metrics().await["k8scop_items_in_flight"] > 0.5).then_some(())
    })
    .await;
    let mut silent = TcpStream::connect(k8scop.data).await.unwrap();
    let useful = client();
    let ask = async |client: &reqwest::Client| {
        client.post(k8scop.url("/_bulk")).body("").send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(&useful).await, 400);
    let (first, second) = (client(), client());
    assert_eq!((ask(&first).await, ask(&second).await), (400, 400));
    let mut nothing = [0; 1];
    assert_eq!(silent.read(&mut nothing).await.unwrap(), 0, "it was let go");
    let waits = tokio::time::timeout(Duration::from_millis(200), waiting.read(&mut nothing)).await;
    assert!(waits.is_err(), "what is being answered is not");
}

#[tokio::test]
async fn memory_stays_within_three_times_the_budget() {
    let fake = Fake::start(|_, _| Reaction::Hang).await;
    let mib = 1 << 20;
    let config = format!(
        "output: {}\nlimits: {{in_flight_bytes_max: {}, body_bytes_max: {}, decoded_bytes_max: {}, request_deadline_s: 6}}\n",
        fake.url(),
        40 * mib,
        10 * mib,
        10 * mib
    );
    let k8scop = K8scop::start(&config).await;
    let resident = || {
        let text = std::fs::read_to_string(format!("/proc/{}/status", k8scop.pid())).unwrap();
        let line = text.lines().find(|it| it.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    let before = resident();
    let document =
        format!("{{\"create\":{{\"_index\":\"logs-a\"}}}}\n{{\"a\":\"{}\"}}\n", "x".repeat(2000));
    let body = gzip(document.repeat(9 * mib / document.len()).as_bytes());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..24 {
        let (url, body) = (k8scop.url("/_bulk"), body.clone());
        tasks.spawn(async move {
            let request = client().post(url).header("content-encoding", "gzip").body(body);
            request.send().await.unwrap().status().as_u16()
        });
    }
    let mut statuses = tasks.join_all().await;
    statuses.sort_unstable();
    statuses.dedup();
    assert_eq!(statuses, [429, 503], "those beyond the budget, and those that found no output");
    let grown = resident() - before;
    assert!(grown < 3 * 40 * mib as u64, "{grown} bytes for a budget of 40 MiB");
    k8scop.check_balance().await;
}
