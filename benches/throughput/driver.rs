//! Sends, measures, checks and tells.

use super::{
    process::{Cores, Folder, Process},
    requests::Body,
    *,
};

/// How long is measured.
struct Plan {
    /// Of the usual bytes of requests.
    share: f64,
    rounds: usize,
    round: Duration,
    warm_up: Duration,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    // Without --bench it is `cargo test` that runs this, in a debug build: only to see it work.
    let quick = args.quick || !args.bench;
    let ms = Duration::from_millis;
    let mut plan = match quick {
        true => Plan { share: 0.2, rounds: 3, round: ms(400), warm_up: ms(200) },
        false => Plan { share: 1.0, rounds: 5, round: ms(1000), warm_up: ms(700) },
    };
    plan.rounds = args.rounds.unwrap_or(plan.rounds).max(1);
    let asked: Vec<&str> = match quick && args.cases.is_empty() {
        true => vec![QUICK],
        false => args.cases.iter().map(String::as_str).collect(),
    };
    // Before it is divided: then it has fewer cores.
    let machine = machine();
    let cores = Cores::divide();
    println!("{}", about(&plan, &machine, &cores));
    let last = record::last(args.record.as_deref(), &machine);
    let folder = Folder::new()?;
    let sink = process::role(&cores, false, &["sink"])?;
    let copy = process::role(&cores, true, &["copy", &sink.url])?;
    println!("{}", Row::HEAD);
    let mut rows: Vec<Row> = Vec::new();
    for case in CASES.iter().filter(|it| asked.is_empty() || asked.contains(&it.name)) {
        let bodies: Arc<[Body]> = requests::of(case, plan.share)?.into();
        let k8scop = process::k8scop(&cores, &folder.0, &sink.url, case).await?;
        let bench = Bench {
            case,
            bodies: &bodies,
            k8scop: &Target::new(&k8scop, case.connections)?,
            copy: &Target::new(&copy, case.connections)?,
            sink: &sink,
            plan: &plan,
        };
        let row = bench.run().await.with_context(|| format!("case {}", case.name))?;
        println!("{row}{}", record::against(&last, &row));
        rows.push(row);
    }
    let of = |name: &str| rows.iter().find(|it| it.name == name);
    tell_ratios(&of);
    if !quick && args.cases.is_empty() {
        extras::run(&cores, &folder.0, &sink, &copy).await?;
    }
    if let Some(file) = &args.record {
        record::add(file, &args.commit, &machine, &rows)?;
    }
    if let Some(row) = of(QUICK) {
        println!(
            "ratio_http_copy={:.2} cpu_s_per_gb={:.3} rules=1000",
            row.ratio, row.cpu_s_per_gb
        );
    }
    Ok(())
}

/// The one case of `--quick`.
const QUICK: &str = "rules-1000";

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|it| it.strip_prefix("model name")).unwrap_or_default();
    format!("{} x {}", Cores::count(), model.trim_start_matches(['\t', ' ', ':']))
}

fn about(plan: &Plan, machine: &str, cores: &Cores) -> String {
    let mut out = format!(
        "k8scop {}, {machine}\n{} rounds of {} ms each, in turns; {cores}\n",
        env!("CARGO_PKG_VERSION"),
        plan.rounds,
        plan.round.as_millis(),
    );
    if cfg!(debug_assertions) {
        out.push_str("NOT AN OPTIMIZED BUILD: the figures mean nothing\n");
    }
    out
}

/// What one case costs next to another, and what it should.
fn tell_ratios<'r>(of: &dyn Fn(&str) -> Option<&'r Row>) {
    for (what, one, other, wanted) in [
        ("1,000 rules / 20 rules", "rules-1000", "rules-20", 1.35),
        ("10,000 rules / 20 rules", "rules-10000", "rules-20", 1.6),
        ("compressed / not compressed", "gzip", "identity", 1.5),
        ("sent compressed / not compressed", "gzip-out", "identity", 3.0),
        ("requests of 5 MB / of 1 MB", "body-5m", "identity", 1.3),
        ("requests of 100 KB / of 1 MB", "body-100k", "identity", 1.3),
        ("two threads / one, CPU time", "threads-2", "identity", 1.11),
    ] {
        if let (Some(one), Some(other)) = (of(one), of(other)) {
            let ratio = one.cpu_s_per_gb / other.cpu_s_per_gb;
            println!("{what:<32} {ratio:>6.2}  (wanted: at most {wanted})");
        }
    }
}

/// What was measured of a case: medians of its rounds.
pub(super) struct Row {
    pub(super) name: &'static str,
    about: &'static str,
    pub(super) cpu_s_per_gb: f64,
    range: (f64, f64),
    pub(super) ns_per_event: f64,
    copy_cpu_s_per_gb: f64,
    pub(super) ratio: f64,
    /// CPU time over wall time.
    busy: f64,
    pub(super) memory_mb: f64,
}

impl Row {
    const HEAD: &str = "                      CPU-s per GB (least, most)  ns/event   copy, CPU-s/GB   ratio   busy  memory, MB";
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<18}{:>8.3} ({:>7.3}, {:>7.3})  {:>9.0}  {:>14.3}  {:>7.2}  {:>4.0}%  {:>9.0}  {}",
            self.name,
            self.cpu_s_per_gb,
            self.range.0,
            self.range.1,
            self.ns_per_event,
            self.copy_cpu_s_per_gb,
            self.ratio,
            100.0 * self.busy,
            self.memory_mb,
            self.about,
        )
    }
}

/// A process that is measured, and the connections to it.
pub(super) struct Target<'p> {
    pub(super) process: &'p Process,
    pub(super) client: Client,
    connections: usize,
}

impl<'p> Target<'p> {
    pub(super) fn new(process: &'p Process, connections: usize) -> anyhow::Result<Self> {
        let client = Client::builder()
            .pool_max_idle_per_host(connections)
            .tcp_nodelay(true)
            .no_proxy()
            .timeout(Duration::from_secs(60))
            .build()?;
        Ok(Self { process, client, connections })
    }
}

pub(super) async fn send(client: &Client, url: &str, body: &Body) -> anyhow::Result<Bytes> {
    let mut request =
        client.post(format!("{url}/_bulk")).header(header::CONTENT_TYPE, "application/x-ndjson");
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
    target: &Target<'_>,
    bodies: &Arc<[Body]>,
    time: Duration,
) -> anyhow::Result<Vec<u64>> {
    let (next, until) = (Arc::new(AtomicUsize::new(0)), Instant::now() + time);
    let mut connections = JoinSet::new();
    for _ in 0..target.connections {
        let (client, url, bodies, next) = (
            target.client.clone(),
            target.process.url.clone(),
            Arc::clone(bodies),
            Arc::clone(&next),
        );
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
    case: &'a Case,
    bodies: &'a Arc<[Body]>,
    k8scop: &'a Target<'a>,
    copy: &'a Target<'a>,
    sink: &'a Process,
    plan: &'a Plan,
}

impl Bench<'_> {
    async fn run(&self) -> anyhow::Result<Row> {
        let alerts = self.check_each_request().await?;
        let no_alerts = vec![0; alerts.len()];
        self.round(self.k8scop, self.plan.warm_up, &alerts).await?;
        self.round(self.copy, self.plan.warm_up, &no_alerts).await?;
        self.k8scop.process.forget_most();
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..self.plan.rounds {
            ours.push(self.round(self.k8scop, self.plan.round, &alerts).await?);
            plain.push(self.round(self.copy, self.plan.round, &no_alerts).await?);
        }
        self.check_metrics().await?;
        let pairs = ours.iter().zip(&plain);
        let ratios = pairs.map(|(ours, plain)| ours.cpu_s_per_gb() / plain.cpu_s_per_gb());
        let per_gb = Spread::of(ours.iter().map(Round::cpu_s_per_gb));
        Ok(Row {
            name: self.case.name,
            about: self.case.about,
            cpu_s_per_gb: per_gb.median,
            range: (per_gb.min, per_gb.max),
            ns_per_event: Spread::of(ours.iter().map(|it| it.cpu_s * 1e9 / it.events as f64))
                .median,
            copy_cpu_s_per_gb: Spread::of(plain.iter().map(Round::cpu_s_per_gb)).median,
            ratio: Spread::of(ratios).median,
            busy: ours.iter().map(|it| it.cpu_s).sum::<f64>()
                / ours.iter().map(|it| it.wall_s).sum::<f64>(),
            memory_mb: self.k8scop.process.memory_mb("VmHWM")?,
        })
    }

    fn events(&self) -> u64 {
        self.bodies.iter().map(|it| it.events).sum()
    }

    /// Sends each request once, and tells how many alerts each raises.
    async fn check_each_request(&self) -> anyhow::Result<Vec<u64>> {
        let client = &self.k8scop.client;
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
            ensure!(answered == body.events, "{} events sent, {answered} answered", body.events);
            alerts.push(seen.alerts);
        }
        let share = alerts.iter().sum::<u64>() as f64 / self.events() as f64;
        let usual = match (self.case.has_events(), self.case.rules) {
            (true, Rules::BuiltIn | Rules::Together(_)) => 0.0001..0.05,
            (true, Rules::Generated(_)) => 0.0..0.05,
            (_, _) => 0.0..f64::MIN_POSITIVE,
        };
        ensure!(
            usual.contains(&share),
            "{share} alerts an event are not what this data should raise"
        );
        Ok(alerts)
    }

    fn expected(&self, requests: u64, events: u64, alerts: u64, unwraps: bool) -> Stored {
        let (audit, others) =
            if unwraps && self.case.has_events() { (events, 0) } else { (0, events) };
        Stored { audit, alerts, others, requests }
    }

    /// Measures one round, and checks that the sink was sent every event and every alert.
    async fn round(
        &self,
        target: &Target<'_>,
        time: Duration,
        alerts: &[u64],
    ) -> anyhow::Result<Round> {
        let client = &target.client;
        let before = stored(client, self.sink).await?;
        let (cpu, started) = (target.process.cpu()?, Instant::now());
        let sent = send_for(target, self.bodies, time).await?;
        let wall_s = started.elapsed().as_secs_f64();
        let cpu_s = target.process.cpu()?.since(&cpu);
        let seen = stored(client, self.sink).await?.since(&before);
        let sum = |of: &dyn Fn(&Body) -> u64| {
            sent.iter().zip(self.bodies.iter()).map(|(count, body)| count * of(body)).sum::<u64>()
        };
        let (events, bytes) = (sum(&|it| it.events), sum(&|it| it.plain_bytes));
        let alerts = sent.iter().zip(alerts).map(|(count, alerts)| count * alerts).sum();
        let is_k8scop = target.process.admin.is_some();
        let expected = self.expected(sent.iter().sum(), events, alerts, is_k8scop);
        // Those of correlations come when they are due.
        let is_all = seen.audit == expected.audit
            && seen.others == expected.others
            && seen.alerts >= expected.alerts;
        ensure!(is_all, "the sink should have been sent {expected:?}, and was sent {seen:?}");
        ensure!(cpu_s > 0.0 && events > 0, "nothing was done in a round of {time:?}");
        Ok(Round { cpu_s, wall_s, events, bytes })
    }

    /// k8scop says the same of itself as the sink does.
    async fn check_metrics(&self) -> anyhow::Result<()> {
        let client = &self.k8scop.client;
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
