//! Thousands of clients that mean harm: who means well is answered all the same, nobody's memory or time is used up,
//! and what a client did is never held against Elasticsearch.

use std::{
    fs,
    io::Write,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use crate::{
    fake::{Fake, Reaction},
    harness::{K8scop, SOON, client, wait_for},
    real::parts::tell,
};

const MIB: usize = 1 << 20;

/// A value of `/proc/PID/status`, in bytes.
pub fn memory_bytes(pid: u32, name: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find(|it| it.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

/// The value below which this many of a hundred are.
pub fn percentile(all: &[Duration], percent: usize) -> Duration {
    let mut all = all.to_vec();
    all.sort_unstable();
    all.get((all.len() * percent / 100).min(all.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Connections that are open on a port of this machine.
fn connections(port: u16) -> usize {
    let (text, local) = (fs::read_to_string("/proc/net/tcp").unwrap(), format!(":{port:04X}"));
    let is_open = |line: &&str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        // Established, or closed by the other side only.
        fields[1].ends_with(&local) && matches!(fields[3], "01" | "08")
    };
    text.lines().skip(1).filter(is_open).count()
}

/// CPU time of a process and all its threads, those that ended too.
fn cpu(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything, the first field is the third.
    let fields: Vec<_> = text.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // Linux tells programs of 100 ticks a second on every architecture that we build for.
    Duration::from_millis(ticks * 10)
}

/// Raises the limit on open files of this process, which its children inherit, as far as it may be. Gives it back.
fn raise_open_files() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|it| it.starts_with("Max open files")).unwrap();
    let numbers: Vec<usize> = line.split_whitespace().filter_map(|it| it.parse().ok()).collect();
    let [soft, hard] = numbers[..] else { panic!("{line}") };
    if soft >= hard {
        return soft;
    }
    let (pid, limit) = (std::process::id().to_string(), format!("--nofile={hard}:{hard}"));
    match Command::new("prlimit").args(["--pid", &pid, &limit]).status() {
        Ok(status) if status.success() => hard,
        _ => soft,
    }
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn zstd(data: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(data, 3).unwrap()
}

/// Lines that are no actions: each costs an item of the answer, which is thirty times as long.
fn no_actions(count: usize) -> Vec<u8> {
    gzip("{\"x\":{}}\n".repeat(count).as_bytes())
}

fn audit_event(id: usize, more: &Value) -> String {
    let mut event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("id-{id}"), "stage": "ResponseComplete",
        "level": "Request", "verb": "list", "requestURI": "/api/v1/pods?limit=500", "user": {"username": "mallory",
        "groups": ["system:authenticated"]}, "sourceIPs": ["192.0.2.7"], "userAgent": "curl/8.1",
        "objectRef": {"resource": "pods", "namespace": "default", "apiVersion": "v1"}, "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-22T08:00:00.000000Z", "stageTimestamp": "2026-11-22T08:00:00.100000Z",
        "annotations": {"authorization.k8s.io/decision": "allow"}});
    for (name, value) in more.as_object().unwrap() {
        event[name] = value.clone();
    }
    event.to_string()
}

/// An audit event in CloudWatch's form.
fn item(id: usize, more: &Value) -> String {
    format!(
        "{{\"create\":{{\"_index\":\"filebeat\"}}}}\n{}\n",
        json!({"message": audit_event(id, more)})
    )
}

#[derive(Clone, Copy)]
enum Enemy {
    Silent,
    SlowHead,
    SlowBody,
    NeverReads,
    NeverReadsPassed,
}

impl Enemy {
    /// Does harm until it is let go.
    async fn attack(self, address: std::net::SocketAddr, body: &[u8]) -> std::io::Result<()> {
        let socket = TcpSocket::new_v4()?;
        if matches!(self, Self::NeverReads | Self::NeverReadsPassed) {
            socket.set_recv_buffer_size(4096)?;
        }
        let mut stream = socket.connect(address).await?;
        let mut drip = tokio::time::interval(Duration::from_secs(1));
        match self {
            Self::Silent => {
                stream.read_u8().await?;
            }
            Self::SlowHead => {
                stream.write_all(b"POST /_bulk HTTP/1.1\r\nx-a: ").await?;
                loop {
                    drip.tick().await;
                    stream.write_all(b"a").await?;
                }
            }
            Self::SlowBody => {
                stream.write_all(b"POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 104857600\r\n\r\n{").await?;
                loop {
                    drip.tick().await;
                    stream.write_all(b" ").await?;
                }
            }
            Self::NeverReads | Self::NeverReadsPassed => {
                let head = if matches!(self, Self::NeverReads) {
                    format!(
                        "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    )
                } else {
                    "GET /_cat/large HTTP/1.1\r\nhost: x\r\n\r\n".into()
                };
                stream.write_all(head.as_bytes()).await?;
                if matches!(self, Self::NeverReads) {
                    stream.write_all(body).await?;
                }
                loop {
                    drip.tick().await;
                    // More requests behind the first: an error tells that we were let go.
                    stream.write_all(b"GET /_cat/large HTTP/1.1\r\nhost: x\r\n\r\n").await?;
                }
            }
        }
        Ok(())
    }
}

/// Sends a bulk request and then the next, until `until`. Each is answered 200.
async fn behave(url: String, keeps: bool, until: Instant) -> Vec<Duration> {
    let builder = client();
    let body: String = (0..10).map(|it| item(it, &json!({}))).collect();
    let mut took = Vec::new();
    while Instant::now() < until {
        let one = if keeps { builder.clone() } else { client() };
        let start = Instant::now();
        let answer = one.post(&url).body(body.clone()).send().await;
        let answer =
            answer.unwrap_or_else(|error| panic!("after {} answers: {error:?}", took.len()));
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert_eq!(status, 200, "after {} answers: {text}", took.len());
        took.push(start.elapsed());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    took
}

async fn behave_both(k8scop: &K8scop, time: Duration) -> [Vec<Duration>; 2] {
    let until = Instant::now() + time;
    let url = k8scop.url("/_bulk");
    let kept = Box::pin(behave(url.clone(), true, until));
    let fresh = Box::pin(behave(url, false, until));
    tokio::join!(kept, fresh).into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_enemies_keep_nobody_out() {
    let enemies = 5000.min(raise_open_files().saturating_sub(1000) / 2);
    if enemies < 5000 {
        tell(format_args!(
            "ONLY {enemies} enemies instead of 5000: this process may open no more files"
        ));
    }
    let large = "x".repeat(MIB / 4);
    let fake = Fake::start(move |_, asked| {
        if asked.line.contains("_bulk") {
            Reaction::Items(vec![201])
        } else {
            Reaction::Answer(200, vec![], large.clone())
        }
    })
    .await;
    let k8scop = K8scop::start(&format!("output: {}\n", fake.url())).await;
    let quiet = behave_both(&k8scop, Duration::from_secs(5)).await;
    let (files, memory) = (open_files(k8scop.pid()), memory_bytes(k8scop.pid(), "VmHWM"));

    let until = Instant::now() + Duration::from_secs(25);
    let body: Arc<[u8]> = no_actions(1500).into();
    let arrivals = Arc::new(Semaphore::new(0));
    let visits = Arc::new(AtomicUsize::new(0));
    let mut attack = JoinSet::new();
    for number in 0..enemies {
        let enemy = match number % 16 {
            0..4 => Enemy::Silent,
            4..8 => Enemy::SlowHead,
            8..12 => Enemy::SlowBody,
            12..15 => Enemy::NeverReadsPassed,
            _ => Enemy::NeverReads,
        };
        let (body, arrivals, visits) =
            (Arc::clone(&body), Arc::clone(&arrivals), Arc::clone(&visits));
        let address = k8scop.data;
        attack.spawn(async move {
            loop {
                arrivals.acquire().await.unwrap().forget();
                visits.fetch_add(1, Ordering::Relaxed);
                // Let go: it comes again, as soon as it may.
                enemy.attack(address, &body).await.ok();
            }
        });
    }
    // So many a second, so that it is the house that is tested and not the system's queue.
    let more = Arc::clone(&arrivals);
    attack.spawn(async move {
        let mut every = tokio::time::interval(Duration::from_millis(20));
        loop {
            every.tick().await;
            more.add_permits(8);
        }
    });
    wait_for("a full house", SOON, async || {
        (connections(k8scop.data.port()) >= enemies.min(4000)).then_some(())
    })
    .await;
    let most = visits.load(Ordering::Relaxed);
    let under = behave_both(
        &k8scop,
        until.saturating_duration_since(Instant::now()).max(Duration::from_secs(10)),
    )
    .await;
    let visits = visits.load(Ordering::Relaxed);
    let peak = memory_bytes(k8scop.pid(), "VmHWM");
    drop(attack);
    for (name, (quiet, under)) in
        ["keep-alive", "a connection each"].iter().zip(quiet.iter().zip(&under))
    {
        let of = |all: &[Duration]| {
            (all.len(), percentile(all, 50), percentile(all, 90), percentile(all, 99))
        };
        tell(format_args!(
            "{enemies} enemies, {visits} visits ({most} until the house was full), {name}: quiet {:?}, under attack {:?} (answers, median, p90, p99)",
            of(quiet),
            of(under)
        ));
        let (quiet, under) = (percentile(quiet, 99), percentile(under, 99));
        assert!(
            // Other tests run beside it: only a client that is kept out takes so long.
            under < 20 * quiet + Duration::from_secs(10),
            "{name}: p99 {quiet:?}, under attack {under:?}"
        );
    }
    tell(format_args!(
        "memory: {} KiB before, {} KiB at most, {} KiB now",
        memory >> 10,
        peak >> 10,
        memory_bytes(k8scop.pid(), "VmRSS") >> 10
    ));
    // A connection takes a buffer of 8 KiB at least and its task.
    let bound = 3 * (256 << 20) + 4096 * (64 << 10);
    assert!(peak - memory < bound, "{} bytes", peak - memory);
    // Those to Elasticsearch are kept for a while.
    wait_for("their connections to end", SOON, async || {
        (connections(k8scop.data.port()) <= 10).then_some(())
    })
    .await;
    tell(format_args!("{files} files before, {} after", open_files(k8scop.pid())));
    wait_for("the budget to be given back", SOON, async || {
        (k8scop.metrics().await["k8scop_in_flight_bytes"] < 0.5).then_some(())
    })
    .await;
    k8scop.check_balance().await;
    behave_both(&k8scop, Duration::from_secs(1)).await;
}

#[tokio::test]
async fn small_bodies_that_become_much_stay_within_the_budget() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let config = format!(
        "output: {}\nlimits: {{in_flight_bytes_max: {}, body_bytes_max: {}, decoded_bytes_max: {}}}\n",
        fake.url(),
        40 * MIB,
        10 * MIB,
        10 * MIB
    );
    let k8scop = K8scop::start(&config).await;
    let before = memory_bytes(k8scop.pid(), "VmHWM");
    let body = no_actions(100_000);
    let len = body.len();
    let mut tasks = JoinSet::new();
    for _ in 0..24 {
        let (url, body) = (k8scop.url("/_bulk"), body.clone());
        tasks.spawn(async move {
            let request = client().post(url).header("content-encoding", "gzip").body(body);
            request.send().await.unwrap().status().as_u16()
        });
    }
    let statuses = tasks.join_all().await;
    let grown = memory_bytes(k8scop.pid(), "VmHWM") - before;
    tell(format_args!(
        "24 bodies of {len} bytes, 100,000 items each: +{} KiB for a budget of 40 MiB, {statuses:?}",
        grown >> 10
    ));
    assert!(
        statuses.iter().all(|it| matches!(it, 200 | 429)) && statuses.contains(&200),
        "{statuses:?}"
    );
    assert!(grown < 3 * 40 * MIB as u64, "{grown} bytes for a budget of 40 MiB");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn small_documents_that_become_much_stay_within_the_budget() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let config = format!(
        "output: {}\nlimits: {{in_flight_bytes_max: {}, body_bytes_max: {}, decoded_bytes_max: {}}}\n",
        fake.url(),
        40 * MIB,
        10 * MIB,
        10 * MIB
    );
    let k8scop = K8scop::start(&config).await;
    let before = memory_bytes(k8scop.pid(), "VmHWM");
    let event = audit_event(1, &json!({"requestObject": {"data": "x".repeat(9 * MIB)}}));
    let logs = json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/plum/cluster", "logStream": "kube-apiserver-audit-0",
        "logEvents": [{"id": "1", "timestamp": 1, "message": event}]});
    let data = BASE64_STANDARD.encode(gzip(logs.to_string().as_bytes()));
    let body =
        format!("{{\"create\":{{\"_index\":\"x\"}}}}\n{{\"awslogs\":{{\"data\":\"{data}\"}}}}\n");
    let len = body.len();
    let mut tasks = JoinSet::new();
    for _ in 0..48 {
        let (url, body) = (k8scop.url("/_bulk"), body.clone());
        tasks.spawn(async move {
            client().post(url).body(body).send().await.unwrap().status().as_u16()
        });
    }
    let statuses = tasks.join_all().await;
    let grown = memory_bytes(k8scop.pid(), "VmHWM") - before;
    tell(format_args!(
        "48 bodies of {len} bytes, one event of 9 MiB each: +{} KiB for a budget of 40 MiB, {statuses:?}",
        grown >> 10
    ));
    assert!(grown < 3 * 40 * MIB as u64, "{grown} bytes for a budget of 40 MiB");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn without_files_left_the_idlest_make_room() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let k8scop = K8scop::start(&format!("output: {}\n", fake.url())).await;
    let pid = k8scop.pid().to_string();
    match Command::new("prlimit").args(["--pid", &pid, "--nofile=100:100"]).status() {
        Ok(status) if status.success() => (),
        other => {
            return tell(format_args!(
                "SKIPPED without_files_left_the_idlest_make_room: prlimit: {other:?}"
            ));
        }
    }
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(k8scop.data).await.unwrap());
    }
    let start = Instant::now();
    let body = item(1, &json!({}));
    for number in 0..3 {
        let request =
            client().post(k8scop.url("/_bulk")).body(body.clone()).timeout(Duration::from_secs(30));
        let answer =
            request.send().await.unwrap_or_else(|error| panic!("request {number}: {error:?}"));
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
    tell(format_args!(
        "without files left: 3 requests on connections of their own took {:?}",
        start.elapsed()
    ));
}

/// What a client does wrong is no failure of a node: three of those would cut everybody off for a while.
#[tokio::test]
async fn a_clients_fault_is_not_held_against_the_node() {
    let fake = Fake::start(|_, asked| {
        if asked.line.contains("_bulk") {
            Reaction::Items(vec![201])
        } else {
            Reaction::Answer(200, vec![], "{}".into())
        }
    })
    .await;
    let config = format!("output: {}\nretry: {{first_ms: 20000, longest_ms: 20000}}\n", fake.url());
    let mut wrong = Vec::new();
    for (name, bytes) in [
        ("a target that is no path", "OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n"),
        (
            "a body that is cut",
            "PUT /_ingest/pipeline/p HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        ),
        (
            "a chunked body that is cut",
            "PUT /_ingest/pipeline/p HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{",
        ),
        (
            "a chunked body that is broken",
            "PUT /_ingest/pipeline/p HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{",
        ),
    ] {
        let k8scop = K8scop::start(&config).await;
        for _ in 0..5 {
            let mut stream = TcpStream::connect(k8scop.data).await.unwrap();
            stream.write_all(bytes.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            tokio::time::timeout(SOON, stream.read_to_end(&mut Vec::new())).await.unwrap().ok();
        }
        let request = client().post(k8scop.url("/_bulk")).body(item(1, &json!({})));
        let answer = request.timeout(Duration::from_secs(10)).send().await;
        if !answer.is_ok_and(|it| it.status() == 200) || k8scop.log().contains("the node fails") {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "the node was left alone after: {wrong:?}");
}

/// A body, how it is encoded, and what becomes of it.
struct Trial {
    name: &'static str,
    encoding: Option<&'static str>,
    body: Vec<u8>,
    /// What it is once it is decompressed (bytes), or as far as that goes.
    decoded: usize,
    /// Statuses that are right.
    statuses: &'static [u16],
    /// Statuses of its items, where they are looked at.
    items: Option<Vec<u64>>,
}

fn plain(name: &'static str, body: String, statuses: &'static [u16]) -> Trial {
    let body = body.into_bytes();
    Trial { name, encoding: None, decoded: body.len(), body, statuses, items: None }
}

/// A document among good ones: it costs its own item at most.
fn among(name: &'static str, document: &str, status: u64) -> Trial {
    let good = "{\"create\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n";
    let body = format!("{good}{{\"create\":{{\"_index\":\"logs-a\"}}}}\n{document}\n{good}");
    Trial { items: Some(vec![201, status, 201]), ..plain(name, body, &[200]) }
}

fn among_events(name: &'static str, more: &Value) -> Trial {
    let body = item(1, &json!({})) + &item(2, more) + &item(3, &json!({}));
    Trial { items: Some(vec![201; 3]), ..plain(name, body, &[200]) }
}

/// Most bytes of a body in this test.
const BYTES_MAX: usize = 16 * MIB;

fn bombs() -> Vec<Trial> {
    let blank = vec![b' '; 2 * BYTES_MAX];
    let bomb = |name, encoding, body: Vec<u8>| {
        assert!(blank.len() / body.len() > 900, "{name}: {}", body.len());
        Trial {
            name,
            encoding: Some(encoding),
            body,
            decoded: BYTES_MAX,
            statuses: &[413],
            items: None,
        }
    };
    let good = "{\"create\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n".repeat(1000);
    let whole = gzip(good.as_bytes());
    let mut window = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    window.window_log(27).unwrap();
    window.write_all(good.as_bytes()).unwrap();
    let window = window.finish().unwrap();
    let of = |name, encoding, body: Vec<u8>, decoded, statuses| Trial {
        name,
        encoding: Some(encoding),
        body,
        decoded,
        statuses,
        items: None,
    };
    let empty = gzip(b"");
    let members = 1_000_000 / empty.len();
    let frame = zstd(b"");
    let frames = 1_000_000 / frame.len();
    vec![
        bomb("gzip bomb", "gzip", gzip(&blank)),
        bomb("deflate bomb", "deflate", deflate(&blank)),
        bomb("zstd bomb", "zstd", zstd(&blank)),
        of("gzip in gzip", "gzip", gzip(&gzip(&blank)), 2 * MIB, &[200, 400]),
        of("two encodings", "gzip, gzip", gzip(&gzip(&blank)), MIB, &[415]),
        of("cut gzip", "gzip", whole[..whole.len() / 2].to_vec(), MIB, &[400]),
        of(
            "cut gzip bomb",
            "gzip",
            gzip(&blank[..BYTES_MAX / 2])[..5_000].to_vec(),
            BYTES_MAX / 2,
            &[400],
        ),
        of("a thousand members", "gzip", gzip(GOOD.as_bytes()).repeat(1000), MIB, &[200]),
        of("members of nothing", "gzip", empty.repeat(members), members * empty.len(), &[400]),
        of("frames of nothing", "zstd", frame.repeat(frames), frames * frame.len(), &[400]),
        of("a huge window", "zstd", window, MIB, &[400]),
        of("100,000 tiny actions", "gzip", no_actions(100_000), 900_000, &[200]),
        of(
            "1.5 million tiny actions",
            "gzip",
            gzip("{\"x\":{}}\n".repeat(1_500_000).as_bytes()),
            13_500_000,
            &[413],
        ),
    ]
}

const GOOD: &str = "{\"create\":{\"_index\":\"logs-a\"}}\n{\"a\":1}\n";

fn odd_json() -> Vec<Trial> {
    let many = 1_000_000;
    let keys: String = (0..many).map(|it| format!("\"k{it}\":1,")).collect();
    let same = "\"k\":1,".repeat(many);
    let map = |count: usize, key: &str| -> Value {
        (0..count)
            .map(|it| (format!("{key}{it}"), json!("v")))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let long = "x".repeat(BYTES_MAX - 200);
    let exec = |count: usize| {
        format!("/api/v1/namespaces/a/pods/b/exec?{}", "command=a%20b&".repeat(count))
    };
    let query: String = (0..200_000).map(|it| format!("k{it}=v&")).collect();
    vec![
        among("a million levels of arrays", &("[".repeat(many) + &"]".repeat(many)), 400),
        among(
            "a million levels of objects",
            &("{\"a\":".repeat(many) + "1" + &"}".repeat(many)),
            400,
        ),
        among("a million levels, never closed", &"{\"a\":[".repeat(many), 400),
        among("a million keys", &format!("{{{keys}\"z\":1}}"), 400),
        among("a million equal keys", &format!("{{{same}\"z\":1}}"), 400),
        among("a string of 16 MB", &format!("{{\"a\":\"{long}\"}}"), 201),
        among("a message of 16 MB", &format!("{{\"message\":\"{long}\"}}"), 201),
        among(
            "a message of escapes",
            &format!("{{\"message\":\"{}\"}}", "\\u007b\\\"".repeat(1_000_000)),
            201,
        ),
        among(
            "a message that nearly is an event",
            &format!(
                "{{\"message\":\"{{\\\"kind\\\":\\\"Event\\\",{}\"}}",
                "\\\"a\\\":1,".repeat(many)
            ),
            201,
        ),
        among("a number of a million digits", &format!("{{\"a\":{}}}", "1".repeat(many)), 201),
        among("spaces", &format!("{{\"a\":{}1}}", " ".repeat(8 * MIB)), 201),
        plain(
            "an action of 12 MB",
            format!("{{\"create\":{{\"_index\":\"{}\"}}}}\n{{\"a\":1}}\n", "a".repeat(12 * MIB)),
            &[200],
        ),
        plain(
            "an action of a million levels",
            format!("{{\"create\":{}{}}}\n{{\"a\":1}}\n", "[".repeat(many), "]".repeat(many)),
            &[200],
        ),
        plain(
            "an action of a million keys",
            format!("{{\"create\":{{{keys}\"_index\":\"a\"}}}}\n{{\"a\":1}}\n"),
            &[200],
        ),
        plain(
            "an action of spaces",
            format!("{{\"create\":{}{{}}}}\n{{\"a\":1}}\n", " ".repeat(12 * MIB)),
            &[200],
        ),
        plain("newlines", "\n".repeat(BYTES_MAX - 1), &[400]),
        plain("CR and newlines", "\r\n".repeat(BYTES_MAX / 2 - 1), &[200, 400, 413]),
        among_events(
            "an event with 200,000 annotations",
            &json!({"annotations": map(200_000, "a.b/")}),
        ),
        among_events(
            "an event with 200,000 labels",
            &json!({"requestObject": {"kind": "Pod", "metadata": {"labels": map(200_000, "l.m/"), "managedFields": vec![json!({"a": 1}); 100_000]}}}),
        ),
        among_events(
            "an event of 100,000 groups",
            &json!({"user": {"username": "a", "groups": vec!["system:masters"; 100_000], "extra": map(50_000, "e")}}),
        ),
        among_events(
            "an event of 100,000 addresses",
            &json!({"sourceIPs": vec!["192.0.2.1"; 100_000]}),
        ),
        among_events(
            "an event with 200,000 query parameters",
            &json!({"requestURI": format!("/api/v1/pods?{query}")}),
        ),
        among_events(
            "an event of 100,000 commands",
            &json!({"verb": "create", "requestURI": exec(100_000), "objectRef": {"resource": "pods", "subresource": "exec", "namespace": "a", "name": "b"}}),
        ),
        among_events(
            "an event with a path of 4 MB",
            &json!({"requestURI": "/..".repeat(4 * MIB / 3)}),
        ),
        among_events(
            "an event of percent signs",
            &json!({"requestURI": format!("/api?{}", "%25".repeat(MIB))}),
        ),
        among_events(
            "an event with a user agent of 4 MB",
            &json!({"userAgent": "kubectl/v1.2 (a/b) ".repeat(4 * MIB / 19)}),
        ),
        among_events(
            "an event with a user of 4 MB",
            &json!({"user": {"username": "system:serviceaccount:".repeat(4 * MIB / 22)}}),
        ),
        among_events(
            "an event of many containers",
            &json!({"verb": "create", "requestObject": {"kind": "Pod", "spec": {"containers": vec![json!({"name": "a", "image": "b", "securityContext": {"privileged": true}, "volumeMounts": [{"mountPath": "/"}]}); 30_000], "volumes": vec![json!({"hostPath": {"path": "/"}}); 30_000]}}}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_body_costs_much_more_than_its_length() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let config = format!(
        "output: {}\nlimits: {{body_bytes_max: {BYTES_MAX}, decoded_bytes_max: {BYTES_MAX}, in_flight_bytes_max: {}, request_deadline_s: 100}}\n",
        fake.url(),
        6 * BYTES_MAX
    );
    let k8scop = K8scop::start(&config).await;
    let send = async |trial: &Trial| {
        let start = cpu(k8scop.pid());
        let mut request = client().post(k8scop.url("/_bulk")).body(trial.body.clone());
        if let Some(encoding) = trial.encoding {
            request = request.header("content-encoding", encoding);
        }
        let answer =
            request.send().await.unwrap_or_else(|error| panic!("{}: {error:?}", trial.name));
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        let nanoseconds = (cpu(k8scop.pid()) - start).as_nanos() as f64;
        (status, text, nanoseconds / trial.decoded.max(MIB) as f64)
    };
    // A normal body: events as shippers send them. Measured at the beginning and at the end.
    let normal: String = (0..4000).map(|it| item(it, &json!({}))).collect();
    let normal = plain("normal", normal, &[200]);
    let mut usual = Vec::new();
    let mut measure = async || {
        let (status, text, cost) = send(&normal).await;
        assert_eq!(status, 200, "{text}");
        usual.push(cost);
    };
    measure().await;
    measure().await;
    let mut wrong = Vec::new();
    let mut costs = Vec::new();
    for trial in bombs().into_iter().chain(odd_json()) {
        let (status, text, cost) = send(&trial).await;
        let shown = || text.chars().take(300).collect::<String>();
        if !trial.statuses.contains(&status) {
            wrong.push(format!("{}: {status} {}", trial.name, shown()));
        } else if let Some(items) = &trial.items {
            let answer: Value = serde_json::from_str(&text).unwrap();
            let got: Vec<_> = answer["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["create"]["status"].as_u64().unwrap())
                .collect();
            if got != *items {
                wrong.push(format!("{}: {got:?} {}", trial.name, shown()));
            }
        }
        costs.push((trial.name, status, trial.body.len(), trial.decoded, cost));
    }
    measure().await;
    let usual = usual.iter().sum::<f64>() / usual.len() as f64;
    tell(format_args!("a normal body of {} bytes costs {usual:.0} ns/byte", normal.body.len()));
    for (name, status, len, decoded, cost) in &costs {
        let factor = cost / usual;
        let mark = if factor > 3.0 { "  <-- more than 3" } else { "" };
        tell(format_args!(
            "  {name}: {status}, {len} bytes, {decoded} decoded, {cost:.1} ns/byte, x{factor:.2}{mark}"
        ));
        if factor >= 10.0 {
            wrong.push(format!("{name}: {factor:.1} times the CPU of a normal body"));
        }
    }
    tell(format_args!("memory at most {} KiB", memory_bytes(k8scop.pid(), "VmHWM") >> 10));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    k8scop.check_balance().await;
}

#[tokio::test]
async fn headers_that_lie_are_found_out() {
    let fake = Fake::start(|_, _| Reaction::Items(vec![201])).await;
    let k8scop = K8scop::start(&format!("output: {}\n", fake.url())).await;
    let body = GOOD.repeat(10);
    let len = body.len();
    let (length, count) = ("x-elastic-uncompressed-request-length", "x-elastic-event-count");
    for (headers, expected) in [
        (vec![(length, len), (count, 10)], 200),
        (vec![(length, len + 1)], 400),
        (vec![(length, len - 1)], 400),
        (vec![(length, 0)], 400),
        (vec![(count, 9)], 400),
        (vec![(count, 11)], 400),
        (vec![(count, 0)], 400),
        (vec![(length, 104_857_601)], 413),
    ] {
        for packed in [false, true] {
            let mut request = client().post(k8scop.url("/_bulk"));
            for (name, value) in &headers {
                request = request.header(*name, *value);
            }
            let request = if packed {
                request.header("content-encoding", "gzip").body(gzip(body.as_bytes()))
            } else {
                request.body(body.clone())
            };
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), expected, "{headers:?}: {}", answer.text().await.unwrap());
        }
    }
    // What is told to be too large is refused before it comes.
    for told in [(length, 104_857_601), (count, 100_001)] {
        let head = format!(
            "POST /_bulk HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n{}: {}\r\ncontent-length: 1000\r\n\r\n",
            told.0, told.1
        );
        let mut stream = TcpStream::connect(k8scop.data).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut got = [0; 12];
        tokio::time::timeout(SOON, stream.read_exact(&mut got)).await.unwrap().unwrap();
        assert_eq!(&got, b"HTTP/1.1 413", "{told:?}");
    }
    assert_eq!(fake.asked().len(), 2);
}
