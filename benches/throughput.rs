//! What one core takes in: CPU time of the real `k8scop run` for bulk requests of audit events, against a sink
//! that answers at once, and next to it that of a plain byte copy of the same requests by the same HTTP stack.
//!
//! Four processes: this driver, which sends; the `sink`, which stands for Elasticsearch; k8scop and the `copy`,
//! which are measured in turns. CPU time (user and system) and not wall time, because machines are busy. What
//! the figures mean is told in `README.md` beside this file.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is what this program is for"
)]
#![expect(clippy::cast_precision_loss, reason = "figures are shown with three digits")]

use std::{
    collections::HashMap,
    convert::Infallible,
    ffi::OsString,
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use bytes::{Bytes, BytesMut};
use clap::{Parser, Subcommand};
use flate2::{Compression, write::GzDecoder, write::GzEncoder};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::{self, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use memchr::memmem;
use reqwest::Client;
use serde_json::Value;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::sleep,
};
use tokio_util::task::TaskTracker;

mod data;

/// What the k8scop that is measured may use, and the copy (tokio reads it).
const WORKERS: (&str, &str) = ("TOKIO_WORKER_THREADS", "1");
/// Connections of the driver; each sends one request after the other.
const CONNECTIONS: usize = 4;
/// Longest wait for a process to start.
const START_MAX: Duration = Duration::from_secs(20);

/// CPU time of k8scop for bulk requests, next to that of a byte copy.
#[derive(Debug, Parser)]
#[command(name = "throughput")]
struct Args {
    /// Less data and shorter rounds: shows that everything works; the figures are rough
    #[arg(long)]
    quick: bool,
    /// Only this variant; may be given more than once
    #[arg(long, value_name = "NAME", value_parser = VARIANTS.map(|it| it.name))]
    variant: Vec<String>,
    /// Rounds of each of the two programs [default: 7; with --quick 3]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Answers bulk requests at once, as Elasticsearch would
    #[command(hide = true)]
    Sink,
    /// Passes requests to `output` byte by byte
    #[command(hide = true)]
    Copy { output: String },
}

/// What is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    Audit,
    Gzip,
    Lines,
    Other,
}
use Data::{Audit, Gzip, Lines, Other};

/// What is sent, and whether k8scop has rules.
#[derive(Clone, Copy)]
struct Variant {
    name: &'static str,
    about: &'static str,
    data: Data,
    rules: bool,
}

const VARIANTS: [Variant; 5] = [
    Variant { name: "identity", about: "audit events, built-in rules", data: Audit, rules: true },
    Variant { name: "gzip", about: "the same, compressed (gzip -1)", data: Gzip, rules: true },
    Variant { name: "no-rules", about: "as identity, without rules", data: Audit, rules: false },
    Variant { name: "lines", about: "lines of a control plane", data: Lines, rules: true },
    Variant { name: "other", about: "the same lines, of something else", data: Other, rules: true },
];

fn main() -> ExitCode {
    let args = Args::parse();
    // Fails only where another part of the process has chosen already.
    rustls::crypto::ring::default_provider().install_default().ok();
    let result = match &args.role {
        Some(Role::Sink) => one_thread(sink::run()),
        // The same kind of runtime as k8scop's own.
        Some(Role::Copy { output }) => many_threads(copy::run(output.clone())),
        None => one_thread(async {
            tokio::select! {
                result = driver::run(&args) => result,
                result = told_to_end() => result,
            }
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What was started ends with the driver, however that ends.
async fn told_to_end() -> anyhow::Result<()> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
    bail!("told to end")
}

fn one_thread(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn many_threads(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

/// The requests.
mod requests {
    use super::*;
    use crate::data::{Request, document, requests, uuid};

    /// Lines of the other EKS log types, and the program that writes them.
    const LINES: [(&str, &str); 4] = [
        ("kube-apiserver", "trace.go:236] Trace[1742]: \"List\" audit-id:% (total time: 512ms):"),
        ("authenticator", "level=info msg=\"access granted\" session=\"%\" username=dana"),
        ("kube-controller-manager", "replica_set.go:676] \"Finished syncing\" key=\"shop/%\""),
        ("kube-scheduler", "schedule_one.go:1096] \"Error scheduling pod\" pod=\"shop/%\""),
    ];
    /// A log group of something else than a cluster.
    pub(super) const APPLICATION: &str = "/apps/prod/checkout/cluster";

    /// One request.
    pub(super) struct Body {
        pub(super) bytes: Bytes,
        pub(super) gzip: bool,
        /// Before it was compressed.
        pub(super) plain_bytes: u64,
        pub(super) events: u64,
    }

    impl From<Request> for Body {
        fn from(Request { text, events }: Request) -> Self {
            Self { plain_bytes: text.len() as u64, bytes: text.into(), gzip: false, events }
        }
    }

    /// Makes `count` requests of audit events of the last minutes.
    pub(super) fn audit(count: usize) -> anyhow::Result<Vec<Body>> {
        let start = Timestamp::now().checked_sub(SignedDuration::from_mins(10))?;
        Ok(data::audit(count, start)?.into_iter().map(Body::from).collect())
    }

    /// Makes `count` requests of plain log lines of a log group.
    pub(super) fn lines(count: usize, group: &str) -> anyhow::Result<Vec<Body>> {
        let mut random = fastrand::Rng::with_seed(2);
        let at = Timestamp::now();
        let all = requests(count, |number| {
            let (stream, line) = random.choice(LINES).context("no lines")?;
            let message = format!(
                "I1122 06:15:31.{:06} 11 {}",
                random.u32(0..1_000_000),
                line.replace('%', &uuid(&mut random))
            );
            Ok(document(number, group, stream, at, &message))
        })?;
        Ok(all.into_iter().map(Body::from).collect())
    }

    /// The same requests as Filebeat compresses them (`compression_level: 1`).
    pub(super) fn compressed(bodies: &[Body]) -> anyhow::Result<Vec<Body>> {
        let one = |body: &Body| -> anyhow::Result<Body> {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&body.bytes)?;
            Ok(Body {
                bytes: encoder.finish()?.into(),
                gzip: true,
                plain_bytes: body.plain_bytes,
                events: body.events,
            })
        };
        bodies.iter().map(one).collect()
    }
}

/// Accepts connections for a role, on a free port that is told on standard output. The settings are those of
/// `receiver/serve.rs` when this was written; they stay, so that the copy stays what k8scop is compared with.
async fn serve<A, F>(answer: A) -> anyhow::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    let tasks = TaskTracker::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = answer.clone();
        tasks.spawn(async move {
            let service = service_fn(move |request| {
                let reply = answer(request);
                async move { Ok::<_, Infallible>(reply.await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(300))
                .max_buf_size(256 << 10)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}

/// The whole body, gathered as k8scop gathers it.
async fn gathered(mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let told = body.size_hint().exact().and_then(|it| usize::try_from(it).ok());
    let mut bytes = Vec::with_capacity(told.unwrap_or_default());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes.into())
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.headers_mut().insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
    reply
}

/// Stands for Elasticsearch: counts what it is sent, and has stored all of it at once.
mod sink {
    use super::*;

    /// What came, by the index that it was meant for.
    #[derive(Default)]
    struct Seen {
        audit: AtomicU64,
        alerts: AtomicU64,
        others: AtomicU64,
        requests: AtomicU64,
    }

    pub(super) async fn run() -> anyhow::Result<()> {
        let seen = Arc::new(Seen::default());
        serve(move |request| {
            let seen = Arc::clone(&seen);
            async move {
                if request.method() == Method::GET {
                    let count = |it: &AtomicU64| it.load(Relaxed);
                    let counts =
                        [&seen.audit, &seen.alerts, &seen.others, &seen.requests].map(count);
                    return reply(StatusCode::OK, counts.map(|it| it.to_string()).join(" "));
                }
                match stored(request, &seen).await {
                    Ok(answer) => reply(StatusCode::OK, answer),
                    Err(error) => reply(StatusCode::BAD_REQUEST, format!("{error:#}")),
                }
            }
        })
        .await
    }

    async fn stored(request: Request<Incoming>, seen: &Seen) -> anyhow::Result<String> {
        let gzip = request.headers().contains_key(header::CONTENT_ENCODING);
        let mut body = gathered(request.into_body()).await?;
        if gzip {
            let mut decoder = GzDecoder::new(Vec::new());
            decoder.write_all(&body)?;
            body = decoder.finish()?.into();
        }
        answer(std::str::from_utf8(&body)?, seen)
    }

    /// As Elasticsearch 8 answers for a data stream: its backing index, and about 270 bytes an item.
    fn answer(body: &str, seen: &Seen) -> anyhow::Result<String> {
        let mut out = String::with_capacity(body.len() / 8);
        out.push_str("{\"took\":5,\"errors\":false,\"items\":[");
        let (mut audit, mut alerts, mut others) = (0, 0, 0);
        let mut lines = body.lines();
        while let Some(action) = lines.next() {
            let index =
                value(action, "{\"create\":{\"_index\":\"").context("a line that is no action")?;
            ensure!(
                lines.next().is_some_and(|it| it.starts_with("{\"") && it.ends_with('}')),
                "a line that is no document"
            );
            if index.starts_with("logs-kubernetes.audit_logs-") {
                audit += 1;
            } else if index.starts_with("logs-k8scop.alerts-") {
                alerts += 1;
            } else {
                others += 1;
            }
            let id = value(action, ",\"_id\":\"").unwrap_or("AZql0pYBxA0hG8tUr4Wk");
            if audit + alerts + others > 1 {
                out.push(',');
            }
            for part in [
                "{\"create\":{\"_index\":\".ds-",
                index,
                "-2026.11.22-000001\",\"_id\":\"",
                id,
                "\",\"_version\":1,\"result\":\"created\",\"_shards\":{\"total\":2,\"successful\":2,\"failed\":0},\"_seq_no\":1234567,\"_primary_term\":1,\"status\":201}}",
            ] {
                out.push_str(part);
            }
        }
        out.push_str("]}");
        seen.audit.fetch_add(audit, Relaxed);
        seen.alerts.fetch_add(alerts, Relaxed);
        seen.others.fetch_add(others, Relaxed);
        seen.requests.fetch_add(1, Relaxed);
        Ok(out)
    }

    /// The text behind `before`; neither driver nor k8scop writes one with escapes.
    fn value<'a>(action: &'a str, before: &str) -> Option<&'a str> {
        let (_, rest) = action.split_once(before)?;
        rest.split_once('"').map(|(value, _)| value)
    }
}

/// Reads each request whole, sends the very bytes on, and gives the answer back. Looks at nothing.
mod copy {
    use super::*;

    pub(super) async fn run(output: String) -> anyhow::Result<()> {
        // As in `forward/client.rs`.
        let client =
            Client::builder().pool_max_idle_per_host(64).tcp_nodelay(true).no_proxy().build()?;
        serve(move |request| {
            let (client, url) = (client.clone(), format!("{output}/_bulk"));
            async move {
                match passed(&client, &url, request).await {
                    Ok(reply) => reply,
                    Err(error) => reply(StatusCode::BAD_GATEWAY, format!("{error:#}")),
                }
            }
        })
        .await
    }

    async fn passed(
        client: &Client,
        url: &str,
        request: Request<Incoming>,
    ) -> anyhow::Result<Response<Full<Bytes>>> {
        let (parts, body) = request.into_parts();
        let mut headers = HeaderMap::new();
        for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
            if let Some(value) = parts.headers.get(&name) {
                headers.insert(name, value.clone());
            }
        }
        let body = gathered(body).await?;
        let mut answer = client.post(url).headers(headers).body(body).send().await?;
        let status = answer.status();
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
        }
        Ok(reply(status, body))
    }
}

/// The processes.
mod process {
    use super::*;

    /// A folder that goes when the driver ends.
    pub(super) struct Folder(pub(super) PathBuf);

    impl Folder {
        pub(super) fn new() -> anyhow::Result<Self> {
            let dir = std::env::temp_dir().join(format!("k8scop-bench-{:016x}", fastrand::u64(..)));
            fs::create_dir_all(&dir)?;
            Ok(Self(dir))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    /// A process that ends with the driver.
    pub(super) struct Process {
        child: Child,
        pub(super) url: String,
        pub(super) admin: Option<String>,
    }

    impl Drop for Process {
        fn drop(&mut self) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }

    /// Which core is measured, and which are for the rest.
    pub(super) struct Cores(Option<(String, String)>);

    impl Cores {
        /// The last core is measured; this process goes to the others. None where there is one core only, or no
        /// `taskset` (util-linux).
        pub(super) fn divide() -> Self {
            let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
            let allowed = status
                .lines()
                .find_map(|it| it.strip_prefix("Cpus_allowed_list:"))
                .unwrap_or_default();
            let mut cores: Vec<u32> = allowed.trim().split(',').flat_map(range).collect();
            let Some(measured) = cores.pop().filter(|_| !cores.is_empty()) else {
                return Self(None);
            };
            let others = cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            let own = std::process::id().to_string();
            let moved = Command::new("taskset")
                .args(["-a", "-cp", &others, &own])
                .stdout(Stdio::null())
                .status();
            Self(moved.is_ok_and(|it| it.success()).then(|| (measured.to_string(), others)))
        }

        /// A command that runs on the measured core or off it; `taskset` becomes the program and keeps its pid.
        fn command(&self, program: &Path, measured: bool) -> Command {
            let Some((one, others)) = &self.0 else { return Command::new(program) };
            let mut command = Command::new("taskset");
            command.args(["-c", if measured { one } else { others }]).arg(program);
            command
        }
    }

    impl fmt::Display for Cores {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match &self.0 {
                Some((one, _)) => write!(f, "measured on core {one}, the rest elsewhere"),
                None => f.write_str("not pinned to a core: there is but one, or no taskset"),
            }
        }
    }

    fn range(text: &str) -> std::ops::Range<u32> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.parse(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) => first..last + 1,
            _ => 0..0,
        }
    }

    /// Starts this program in another role.
    pub(super) fn role(cores: &Cores, measured: bool, args: &[&str]) -> anyhow::Result<Process> {
        let mut child = cores
            .command(&std::env::current_exe()?, measured)
            .args(args)
            .env(WORKERS.0, WORKERS.1)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("this program cannot be started again")?;
        let out = child.stdout.take();
        let mut process = Process { child, url: String::new(), admin: None };
        let mut line = String::new();
        BufReader::new(out.context("no standard output")?).read_line(&mut line)?;
        ensure!(!line.is_empty(), "{args:?} did not start");
        process.url = format!("http://{}", line.trim());
        Ok(process)
    }

    /// Starts the real program.
    pub(super) async fn k8scop(
        cores: &Cores,
        folder: &Path,
        output: &str,
        rules: bool,
    ) -> anyhow::Result<Process> {
        let name = if rules { "rules" } else { "no-rules" };
        let (file, log) = (folder.join(format!("{name}.yaml")), folder.join(format!("{name}.log")));
        fs::write(&file, format!("output: {output}\nrules: {{built_in: {rules}}}\n"))?;
        let child = cores
            .command(Path::new(env!("CARGO_BIN_EXE_k8scop")), true)
            .arg("run")
            .arg("--config")
            .arg(&file)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env(WORKERS.0, WORKERS.1)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("k8scop cannot be started")?;
        let mut process = Process { child, url: String::new(), admin: None };
        let deadline = Instant::now() + START_MAX;
        loop {
            let text = fs::read_to_string(&log)?;
            let ended = process.child.try_wait()?;
            ensure!(ended.is_none() && Instant::now() < deadline, "k8scop did not start: {text}");
            let lines = text.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
            if let Some(ready) =
                lines.into_iter().find(|it| it.get("message").is_some_and(|it| it == "ready"))
            {
                let address = |name: &str| {
                    format!(
                        "http://{}",
                        ready.get(name).and_then(Value::as_str).unwrap_or_default()
                    )
                };
                process.url = address("listen");
                process.admin = Some(address("admin"));
                return Ok(process);
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// CPU time of each thread (nanoseconds).
    pub(super) struct Cpu(HashMap<OsString, u64>);

    impl Process {
        /// From `schedstat`, in nanoseconds: `stat` counts in ticks of 10 ms, too coarse for a round.
        pub(super) fn cpu(&self) -> anyhow::Result<Cpu> {
            let mut threads = HashMap::new();
            for thread in fs::read_dir(format!("/proc/{}/task", self.child.id()))
                .context("the process has ended")?
            {
                let thread = thread?;
                // A thread that ends between two looks has done nothing: tokio's idle threads do after ten seconds.
                let Ok(text) = fs::read_to_string(thread.path().join("schedstat")) else {
                    continue;
                };
                let ran = text.split(' ').next().unwrap_or_default();
                threads.insert(thread.file_name(), ran.parse().context("schedstat")?);
            }
            ensure!(!threads.is_empty(), "the kernel gives no schedstat (CONFIG_SCHED_INFO)");
            Ok(Cpu(threads))
        }

        /// The most memory that it held (MB).
        pub(super) fn rss_max_mb(&self) -> Option<u64> {
            let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
            let line = status.lines().find_map(|it| it.strip_prefix("VmHWM:"))?;
            Some(line.split_ascii_whitespace().next()?.parse::<u64>().ok()? * 1024 / 1_000_000)
        }
    }

    impl Cpu {
        /// Since `before` (seconds).
        pub(super) fn since(&self, before: &Self) -> f64 {
            let ran = self.0.iter().map(|(thread, ran)| {
                ran.saturating_sub(before.0.get(thread).copied().unwrap_or_default())
            });
            ran.sum::<u64>() as f64 / 1e9
        }
    }
}

/// Sends, measures, checks and tells.
mod driver {
    use super::{
        process::{Cores, Folder, Process},
        requests::Body,
        *,
    };

    struct Plan {
        bodies: usize,
        rounds: usize,
        round: Duration,
        warm_up: Duration,
    }

    pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
        // Without --bench it is `cargo test` that runs this, in a debug build: only to see it work.
        let quick = args.quick || !args.bench;
        let ms = Duration::from_millis;
        let mut plan = match quick {
            true => Plan { bodies: 4, rounds: 3, round: ms(250), warm_up: ms(150) },
            false => Plan { bodies: 32, rounds: 7, round: ms(1000), warm_up: ms(700) },
        };
        plan.rounds = args.rounds.unwrap_or(plan.rounds).max(1);
        let cores = Cores::divide();
        let audit = requests::audit(plan.bodies)?;
        println!("{}", about(&plan, &audit, &cores));
        let compressed: Arc<[Body]> = requests::compressed(&audit)?.into();
        let audit: Arc<[Body]> = audit.into();
        let lines: Arc<[Body]> = requests::lines(plan.bodies, data::CONTROL_PLANE)?.into();
        let other: Arc<[Body]> = requests::lines(plan.bodies, requests::APPLICATION)?.into();
        let folder = Folder::new()?;
        let sink = process::role(&cores, false, &["sink"])?;
        let copy = Target::new(process::role(&cores, true, &["copy", &sink.url])?)?;
        let with_rules = Target::new(process::k8scop(&cores, &folder.0, &sink.url, true).await?)?;
        let without = Target::new(process::k8scop(&cores, &folder.0, &sink.url, false).await?)?;
        let mut ratios = Vec::new();
        for variant in VARIANTS {
            if !args.variant.is_empty() && !args.variant.iter().any(|it| it == variant.name) {
                continue;
            }
            let bodies = match variant.data {
                Audit => &audit,
                Gzip => &compressed,
                Lines => &lines,
                Other => &other,
            };
            let k8scop = if variant.rules { &with_rules } else { &without };
            let bench = Bench { variant, bodies, k8scop, copy: &copy, sink: &sink, plan: &plan };
            let ratio = bench.run().await.with_context(|| format!("variant {}", variant.name))?;
            ratios.push(format!("{} {:.2}", variant.name, ratio));
        }
        println!(
            "THE RATIO (k8scop / copy, CPU time, median of paired rounds): {}",
            ratios.join(", ")
        );
        println!(
            "Most memory held by k8scop: {} MB",
            with_rules.process.rss_max_mb().unwrap_or_default()
        );
        Ok(())
    }

    fn about(plan: &Plan, audit: &[Body], cores: &Cores) -> String {
        let (bytes, events) = audit
            .iter()
            .fold((0, 0), |(bytes, events), it| (bytes + it.plain_bytes, events + it.events));
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|it| it.strip_prefix("model name")).unwrap_or_default();
        let mut out = format!(
            "k8scop {}, {}\n{} requests of {:.2} MB, {} events of {} bytes; {CONNECTIONS} connections; {} rounds of {} ms each, in turns; {cores}\n",
            env!("CARGO_PKG_VERSION"),
            model.trim_start_matches(['\t', ' ', ':']),
            audit.len(),
            bytes as f64 / audit.len() as f64 / 1e6,
            events,
            bytes / events.max(1),
            plan.rounds,
            plan.round.as_millis(),
        );
        if cfg!(debug_assertions) {
            out.push_str("NOT AN OPTIMIZED BUILD: the figures mean nothing\n");
        }
        out
    }

    /// A process that is measured, and the connections to it.
    struct Target {
        process: Process,
        clients: Vec<Client>,
    }

    impl Target {
        fn new(process: Process) -> anyhow::Result<Self> {
            let client = || {
                Client::builder()
                    .pool_max_idle_per_host(1)
                    .tcp_nodelay(true)
                    .no_proxy()
                    .timeout(Duration::from_secs(60))
            };
            let clients = (0..CONNECTIONS).map(|_| client().build()).collect::<Result<_, _>>()?;
            Ok(Self { process, clients })
        }
    }

    async fn send(client: &Client, url: &str, body: &Body) -> anyhow::Result<Bytes> {
        let mut request = client
            .post(format!("{url}/_bulk"))
            .header(header::CONTENT_TYPE, "application/x-ndjson");
        if body.gzip {
            request = request.header(header::CONTENT_ENCODING, "gzip");
        }
        let answer = request.body(body.bytes.clone()).send().await?;
        let status = answer.status();
        let text = answer.bytes().await?;
        let head = text.get(..100.min(text.len())).unwrap_or_default();
        let good = status == StatusCode::OK && memmem::find(head, b"\"errors\":false").is_some();
        ensure!(good, "answered {status}: {}", String::from_utf8_lossy(head));
        Ok(text)
    }

    /// Sends requests over all connections until the time is up, and tells how often each was sent.
    async fn send_for(
        target: &Target,
        bodies: &Arc<[Body]>,
        time: Duration,
    ) -> anyhow::Result<Vec<u64>> {
        let (next, until) = (Arc::new(AtomicUsize::new(0)), Instant::now() + time);
        let mut connections = JoinSet::new();
        for client in &target.clients {
            let (client, url, bodies, next) =
                (client.clone(), target.process.url.clone(), Arc::clone(bodies), Arc::clone(&next));
            connections.spawn(async move {
                let mut sent = vec![0; bodies.len()];
                while Instant::now() < until {
                    let index = next.fetch_add(1, Relaxed) % bodies.len();
                    let body = bodies.get(index).context("no such request")?;
                    send(&client, &url, body).await?;
                    if let Some(count) = sent.get_mut(index) {
                        *count += 1;
                    }
                }
                anyhow::Ok(sent)
            });
        }
        let mut all = vec![0; bodies.len()];
        while let Some(sent) = connections.join_next().await {
            for (count, more) in all.iter_mut().zip(sent??) {
                *count += more;
            }
        }
        Ok(all)
    }

    /// What the sink has counted.
    #[derive(Debug, PartialEq, Eq)]
    struct Stored {
        audit: u64,
        alerts: u64,
        others: u64,
        requests: u64,
    }

    async fn stored(client: &Client, sink: &Process) -> anyhow::Result<Stored> {
        let text = client.get(&sink.url).send().await?.text().await?;
        let counts = text.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>()?;
        let [audit, alerts, others, requests] =
            counts.try_into().map_err(|it| anyhow::anyhow!("the sink counted {it:?}"))?;
        Ok(Stored { audit, alerts, others, requests })
    }

    impl Stored {
        fn since(self, before: &Self) -> Self {
            Self {
                audit: self.audit - before.audit,
                alerts: self.alerts - before.alerts,
                others: self.others - before.others,
                requests: self.requests - before.requests,
            }
        }
    }

    /// A round of one program.
    struct Round {
        cpu_s: f64,
        wall_s: f64,
        events: u64,
        bytes: u64,
    }

    impl Round {
        fn cpu_s_per_gb(&self) -> f64 {
            self.cpu_s / (self.bytes as f64 / 1e9)
        }
    }

    struct Bench<'a> {
        variant: Variant,
        bodies: &'a Arc<[Body]>,
        k8scop: &'a Target,
        copy: &'a Target,
        sink: &'a Process,
        plan: &'a Plan,
    }

    impl Bench<'_> {
        async fn run(&self) -> anyhow::Result<f64> {
            let alerts = self.check_each_request().await?;
            let no_alerts = vec![0; alerts.len()];
            self.round(self.k8scop, self.plan.warm_up, &alerts).await?;
            self.round(self.copy, self.plan.warm_up, &no_alerts).await?;
            let (mut ours, mut plain) = (Vec::new(), Vec::new());
            for _ in 0..self.plan.rounds {
                ours.push(self.round(self.k8scop, self.plan.round, &alerts).await?);
                plain.push(self.round(self.copy, self.plan.round, &no_alerts).await?);
            }
            self.check_metrics().await?;
            let ratios = ours
                .iter()
                .zip(&plain)
                .map(|(ours, plain)| ours.cpu_s_per_gb() / plain.cpu_s_per_gb());
            let ratios = Spread::of(ratios);
            println!(
                "{}: {}; {} of them raise {} alerts",
                self.variant.name,
                self.variant.about,
                self.events(),
                alerts.iter().sum::<u64>()
            );
            println!(
                "{:8}{:>27}  {:>27}  {:>27}  {:>5}",
                "", "CPU-s per GB", "events per core-second", "MB per core-second", "core"
            );
            println!(
                "{:8}{:>27}  {:>27}  {:>27}  {:>5}",
                "",
                Spread::HEAD,
                Spread::HEAD,
                Spread::HEAD,
                "busy"
            );
            for (name, rounds) in [("k8scop", &ours), ("copy", &plain)] {
                let per_gb = Spread::of(rounds.iter().map(Round::cpu_s_per_gb));
                let events = Spread::of(rounds.iter().map(|it| it.events as f64 / it.cpu_s));
                let mb = Spread::of(rounds.iter().map(|it| it.bytes as f64 / 1e6 / it.cpu_s));
                let busy = rounds.iter().map(|it| it.cpu_s).sum::<f64>()
                    / rounds.iter().map(|it| it.wall_s).sum::<f64>();
                println!("{name:8}{per_gb:.3}  {events:.0}  {mb:.0}  {:>4.0}%", 100.0 * busy);
            }
            println!("{:8}{ratios:.2}\n", "ratio");
            Ok(ratios.median)
        }

        fn events(&self) -> u64 {
            self.bodies.iter().map(|it| it.events).sum()
        }

        /// Sends each request once, and tells how many alerts each raises.
        async fn check_each_request(&self) -> anyhow::Result<Vec<u64>> {
            let client = self.k8scop.clients.first().context("no connection")?;
            let mut alerts = Vec::new();
            for body in self.bodies.iter() {
                let before = stored(client, self.sink).await?;
                let answer = send(client, &self.k8scop.process.url, body).await?;
                let seen = stored(client, self.sink).await?.since(&before);
                ensure!(
                    seen == self.expected(1, body.events, seen.alerts, true),
                    "{} events sent, {seen:?} stored",
                    body.events
                );
                let answered = memmem::find_iter(&answer, b"\"status\":201").count() as u64;
                ensure!(
                    answered == body.events,
                    "{} events sent, {answered} answered",
                    body.events
                );
                alerts.push(seen.alerts);
            }
            let share = alerts.iter().sum::<u64>() as f64 / self.events() as f64;
            let usual = if self.has_events() && self.variant.rules {
                0.0001..0.03
            } else {
                0.0..f64::MIN_POSITIVE
            };
            ensure!(
                usual.contains(&share),
                "{share} alerts an event are not what this data should raise"
            );
            Ok(alerts)
        }

        /// Whether what is sent are audit events.
        fn has_events(&self) -> bool {
            !matches!(self.variant.data, Lines | Other)
        }

        fn expected(&self, requests: u64, events: u64, alerts: u64, unwraps: bool) -> Stored {
            let (audit, others) = if unwraps && !matches!(self.variant.data, Lines | Other) {
                (events, 0)
            } else {
                (0, events)
            };
            Stored { audit, alerts, others, requests }
        }

        /// Measures one round, and checks that the sink was sent every event and every alert.
        async fn round(
            &self,
            target: &Target,
            time: Duration,
            alerts: &[u64],
        ) -> anyhow::Result<Round> {
            let client = target.clients.first().context("no connection")?;
            let before = stored(client, self.sink).await?;
            let (cpu, started) = (target.process.cpu()?, Instant::now());
            let sent = send_for(target, self.bodies, time).await?;
            let wall_s = started.elapsed().as_secs_f64();
            let cpu_s = target.process.cpu()?.since(&cpu);
            let seen = stored(client, self.sink).await?.since(&before);
            let sum = |of: &dyn Fn(&Body) -> u64| {
                sent.iter()
                    .zip(self.bodies.iter())
                    .map(|(count, body)| count * of(body))
                    .sum::<u64>()
            };
            let (events, bytes) = (sum(&|it| it.events), sum(&|it| it.plain_bytes));
            let alerts = sent.iter().zip(alerts).map(|(count, alerts)| count * alerts).sum();
            let is_k8scop = target.process.admin.is_some();
            let expected = self.expected(sent.iter().sum(), events, alerts, is_k8scop);
            ensure!(
                seen == expected,
                "the sink should have been sent {expected:?}, and was sent {seen:?}"
            );
            ensure!(cpu_s > 0.0 && events > 0, "nothing was done in a round of {time:?}");
            Ok(Round { cpu_s, wall_s, events, bytes })
        }

        /// k8scop says the same of itself as the sink does.
        async fn check_metrics(&self) -> anyhow::Result<()> {
            let client = self.k8scop.clients.first().context("no connection")?;
            let admin = self.k8scop.process.admin.as_deref().context("no admin port")?;
            let text = client.get(format!("{admin}/metrics")).send().await?.text().await?;
            // Summed over the labels that are not named.
            let sum = |name: &str| -> anyhow::Result<f64> {
                let lines = text.lines().filter(|it| it.starts_with(name));
                let values = lines.filter_map(|it| it.rsplit_once(' ')).map(|it| it.1.parse());
                Ok(values.collect::<Result<Vec<f64>, _>>()?.iter().sum())
            };
            let (received, stored) = (
                sum("k8scop_received_items_total")?,
                sum("k8scop_settled_items_total{result=\"stored\"}")?,
            );
            ensure!(
                received > 0.0 && received == stored,
                "k8scop received {received} items and stored {stored}"
            );
            Ok(())
        }
    }

    /// Least, median and most.
    struct Spread {
        min: f64,
        median: f64,
        max: f64,
    }

    impl Spread {
        const HEAD: &str = "min   median      max";

        fn of(values: impl Iterator<Item = f64>) -> Self {
            let mut values: Vec<f64> = values.collect();
            values.sort_by(f64::total_cmp);
            let at = |index: usize| values.get(index).copied().unwrap_or_default();
            let middle = values.len() / 2;
            let median = if values.len() % 2 == 1 {
                at(middle)
            } else {
                f64::midpoint(at(middle.saturating_sub(1)), at(middle))
            };
            Self { min: at(0), median, max: at(values.len().saturating_sub(1)) }
        }
    }

    impl fmt::Display for Spread {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let digits = f.precision().unwrap_or(2);
            write!(f, "{:>9.digits$}{:>9.digits$}{:>9.digits$}", self.min, self.median, self.max)
        }
    }
}
