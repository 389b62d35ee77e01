//! Elasticsearch is away for long while everybody goes on sending: memory stays bounded, refusals are quick, nobody
//! hammers, and afterwards everything is there once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::{K8scop, SOON, client},
    hostile::{memory_bytes, percentile},
    real::parts::tell,
};

const SENDERS: usize = 16;
const EVENTS: usize = 200;
const OUTAGE: Duration = Duration::from_secs(10);
const BEFORE: Duration = Duration::from_secs(6);
const AFTER: Duration = Duration::from_secs(8);
/// What of the rate before must come back: that it goes on, not how busy the machine is.
const RESUMED: f64 = 0.2;
const LONGEST: Duration = Duration::from_millis(200);
const BUDGET_BYTES: u64 = 4 << 20;
/// What a process takes besides its budget: connections, stacks, and what the allocator keeps.
const REST_BYTES: u64 = 48 << 20;

/// Stands before the fake. Shut, it hangs up on everybody, and counts them.
struct Gate {
    address: SocketAddr,
    open: watch::Sender<bool>,
    attempts: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Gate {
    async fn before(inner: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (open, state) = watch::channel(true);
        let attempts = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&attempts);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut outer, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mut state = state.clone();
                connections.spawn(async move {
                    if !*state.borrow_and_update() {
                        return;
                    }
                    let mut inner = TcpStream::connect(inner).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut outer, &mut inner) => (),
                        // What is on its way is cut: nobody knows whether it arrived.
                        _ = state.wait_for(|it| !it) => (),
                    }
                });
            }
        });
        Self { address, open, attempts, _tasks: tasks }
    }
}

/// What the fake has stored: the event or alert of each index and `_id`.
#[derive(Default)]
struct Store(Mutex<BTreeMap<(String, String), String>>);

impl Store {
    fn take(&self, asked: &Asked) -> Reaction {
        let mut stored = self.0.lock().unwrap();
        let lines: Vec<_> = asked.body.lines().collect();
        let status = |pair: &[&str]| {
            let action: Value = serde_json::from_str(pair[0]).unwrap();
            let text = |name: &str| action["create"][name].as_str().unwrap().to_owned();
            let (key, audit_id) = ((text("_index"), text("_id")), audit_id(pair[1]));
            if stored.contains_key(&key) {
                return 409;
            }
            stored.insert(key, audit_id);
            201
        };
        Reaction::Items(lines.chunks(2).map(status).collect())
    }
}

/// The id that the sender gave an event; its alert names it too.
fn audit_id(document: &str) -> String {
    let start = document.find("sent-").unwrap_or_else(|| panic!("{document}"));
    document[start..]
        .split(|it: char| !it.is_ascii_alphanumeric() && it != '-')
        .next()
        .unwrap()
        .into()
}

/// An event as CloudWatch has it. One of twenty raises an alert.
fn event(sender: usize, number: usize) -> (String, String) {
    let id = format!("sent-{sender}-{number}");
    let (verb, resource) =
        if number.is_multiple_of(20) { ("list", "secrets") } else { ("get", "pods") };
    let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": id, "stage": "ResponseComplete",
        "level": "Metadata", "verb": verb, "requestURI": format!("/api/v1/{resource}"), "user": {"username": "mallory",
        "groups": ["system:authenticated"]}, "sourceIPs": ["192.0.2.7"], "userAgent": "curl/8.1",
        "objectRef": {"resource": resource, "apiVersion": "v1"}, "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-22T08:00:00.000000Z", "stageTimestamp": "2026-11-22T08:00:00.100000Z",
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": "x".repeat(200)}});
    let document = json!({"message": event.to_string()});
    (id, format!("{{\"create\":{{\"_index\":\"filebeat\"}}}}\n{document}\n"))
}

/// What a sender heard: when, after how long, and what.
#[derive(Clone, Copy)]
struct Heard {
    at: Instant,
    took: Duration,
    status: u16,
}

async fn send(address: String, sender: usize, stop: Arc<AtomicBool>) -> (Vec<Heard>, usize, usize) {
    let client = client();
    let (mut heard, mut sent) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        let body: String = (sent..sent + EVENTS).map(|it| event(sender, it).1).collect();
        loop {
            let start = Instant::now();
            let Ok(answer) = client.post(&address).body(body.clone()).send().await else {
                // A connection that broke: every shipper sends the same again.
                tell("a connection broke");
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let status = answer.status().as_u16();
            let answer = answer.text().await.unwrap();
            let (at, took) = (Instant::now(), start.elapsed());
            assert!(matches!(status, 200 | 429 | 503), "{status}: {answer}");
            // What is said of items may differ: a shipper sends those with 429 or 503 again.
            let done = status == 200 && answer.contains("\"errors\":false");
            heard.push(Heard {
                at,
                took,
                status: if status == 200 && !done { 207 } else { status },
            });
            if done {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sent += EVENTS;
    }
    (heard, sender, sent)
}

/// Events a second that were answered as stored between two moments.
fn rate(heard: &[Heard], from: Instant, until: Instant) -> f64 {
    let count =
        heard.iter().filter(|it| it.status == 200 && it.at >= from && it.at < until).count();
    (count * EVENTS) as f64 / (until - from).as_secs_f64()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_outage_costs_nobody_an_event() {
    let store = Arc::new(Store::default());
    let truth = Arc::clone(&store);
    let fake = Fake::start(move |_, asked| truth.take(asked)).await;
    let gate = Gate::before(fake.address).await;
    let config = format!(
        "output: http://{}\nlimits: {{in_flight_bytes_max: {BUDGET_BYTES}, body_bytes_max: 1000000, decoded_bytes_max: 1000000, request_deadline_s: 2}}\nretry: {{first_ms: 5, longest_ms: {}}}\n",
        gate.address,
        LONGEST.as_millis()
    );
    let k8scop = K8scop::start(&config).await;
    let empty = memory_bytes(k8scop.pid(), "VmHWM");
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(send(k8scop.url("/_bulk"), sender, Arc::clone(&stop)));
    }
    // The first requests warm everything up.
    let mut scrapes = 0;
    let mut watch = async |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            k8scop.check_balance().await;
            scrapes += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Instant::now()
    };
    let warm = watch(Duration::from_secs(2)).await;
    let gone = watch(BEFORE).await;
    let full = memory_bytes(k8scop.pid(), "VmHWM");
    let attempts_before = gate.attempts.load(Ordering::Relaxed);
    gate.open.send_replace(false);
    watch(OUTAGE).await;
    let attempts = gate.attempts.load(Ordering::Relaxed) - attempts_before;
    gate.open.send_replace(true);
    let back = Instant::now();
    let end = watch(AFTER).await;
    stop.store(true, Ordering::Relaxed);
    let finished = tokio::time::timeout(SOON, senders.join_all()).await.unwrap();
    k8scop.check_balance().await;
    let most = memory_bytes(k8scop.pid(), "VmHWM");
    let (grown, in_outage) = (most - empty, most - full);

    let heard: Vec<Heard> = finished.iter().flat_map(|(heard, ..)| heard).copied().collect();
    let took = |statuses: &[u16], from: Instant, until: Instant| {
        let it = heard
            .iter()
            .filter(|it| statuses.contains(&it.status) && it.at >= from && it.at < until);
        it.map(|it| it.took).collect::<Vec<_>>()
    };
    let normal = took(&[200], warm, gone);
    let refused = took(&[429], gone, back);
    let late = took(&[503], gone, back);
    let before = rate(&heard, warm, gone);
    // The best two seconds of the first ones after it came back.
    let window = Duration::from_secs(2);
    let after = (0..=(end - back).saturating_sub(window).as_millis() / 250)
        .map(|it| {
            let from = back + Duration::from_millis(250) * u32::try_from(it).unwrap();
            (rate(&heard, from, from + window), from - back)
        })
        .collect::<Vec<_>>();
    let best = after.iter().map(|it| it.0).fold(0.0, f64::max);
    let first = after.iter().find(|it| it.0 >= RESUMED * before).map(|it| it.1 + window);
    tell(format_args!(
        "long outage: {before:.0} events/s before, {best:.0} after ({:.0} % of before within {first:?}); answers {:?} median, {:?} p99; \
        {} 429 in {:?} median, {:?} p99; {} 503 in {:?} median; {attempts} attempts in {OUTAGE:?}; memory +{} KiB, of these {} KiB since the outage, for a budget of {} KiB; {scrapes} scrapes",
        100.0 * RESUMED,
        percentile(&normal, 50),
        percentile(&normal, 99),
        refused.len(),
        percentile(&refused, 50),
        percentile(&refused, 99),
        late.len(),
        percentile(&late, 50),
        grown >> 10,
        in_outage >> 10,
        BUDGET_BYTES >> 10,
    ));

    let sent: BTreeSet<String> = finished
        .iter()
        .flat_map(|(_, sender, sent)| (0..*sent).map(move |it| format!("sent-{sender}-{it}")))
        .collect();
    let stored = store.0.lock().unwrap();
    let (mut events, mut alerts) = (BTreeMap::new(), BTreeMap::new());
    for ((index, _), id) in stored.iter() {
        let all = if index.contains("alerts") { &mut alerts } else { &mut events };
        *all.entry(id.clone()).or_insert(0) += 1;
    }
    assert!(events.values().chain(alerts.values()).all(|it| *it == 1), "something is stored twice");
    assert!(events.keys().eq(sent.iter()), "{} sent, {} stored", sent.len(), events.len());
    let raise = sent
        .iter()
        .filter(|it| it.rsplit('-').next().unwrap().parse::<usize>().unwrap().is_multiple_of(20));
    assert!(alerts.keys().eq(raise), "{} alerts", alerts.len());

    assert!(!normal.is_empty() && !refused.is_empty() && !late.is_empty());
    assert!(grown < 3 * BUDGET_BYTES + REST_BYTES, "{grown} bytes for a budget of {BUDGET_BYTES}");
    assert!(in_outage < 3 * BUDGET_BYTES, "{in_outage} bytes more in the outage");
    // One probe in half of the longest wait at least, and those who were on their way when it began.
    let most = 2 * usize::try_from(OUTAGE.as_millis() / LONGEST.as_millis()).unwrap() + 3 * SENDERS;
    assert!(attempts <= most, "{attempts} connections, {most} are enough");
    let (quick, slow) = (percentile(&refused, 99), percentile(&normal, 99));
    assert!(quick < 5 * slow + Duration::from_secs(1), "429 in {quick:?}, answers in {slow:?}");
    assert!(first.is_some(), "{before} events/s before, {best} after");
}
