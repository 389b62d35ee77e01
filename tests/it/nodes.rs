//! Nodes that fail are left alone and found again; an index that takes nothing makes nobody else wait.

use std::{
    io::Write as _,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    fake::{Asked, Fake, Reaction, items},
    harness::{K8scop, SOON, client, wait_for},
};

const GOOD: u8 = 0;
const HANGS: u8 = 1;
const REFUSES: u8 = 2;
const RESETS: u8 = 3;

/// A node that can be made to fail in several ways.
struct Node {
    mode: Arc<AtomicU8>,
    /// Requests that it answered well.
    served: Arc<AtomicU64>,
    address: SocketAddr,
    /// `None`: it refuses connections.
    fake: Option<Fake>,
}

impl Node {
    async fn start(slow: Duration) -> Self {
        let (mode, served) = (Arc::default(), Arc::default());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut node = Self { mode, served, address: any, fake: None };
        node.up(slow).await;
        node
    }

    async fn up(&mut self, slow: Duration) {
        let (mode, served) = (Arc::clone(&self.mode), Arc::clone(&self.served));
        let fake = Fake::start_on(self.address, false, move |_, _| {
            match mode.load(Ordering::SeqCst) {
                HANGS => return Reaction::Hang,
                REFUSES => return Reaction::Answer(503, vec![], "{}".into()),
                RESETS => return Reaction::Reset,
                _ => (),
            }
            served.fetch_add(1, Ordering::SeqCst);
            Reaction::After(slow, Box::new(Reaction::Items(vec![201])))
        })
        .await;
        self.address = fake.address;
        self.fake = Some(fake);
    }

    fn down(&mut self) {
        self.fake = None;
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }
}

fn outputs(nodes: &[Node]) -> String {
    nodes.iter().map(|it| format!("http://{}", it.address)).collect::<Vec<_>>().join(",")
}

fn create(index: &str) -> String {
    format!("{{\"create\":{{\"_index\":\"{index}\"}}}}\n{{\"a\":1}}\n")
}

/// One answer: how long it took, its status, whether it names a time to come back, and its items' statuses.
#[derive(Clone, Debug)]
struct Told {
    began: Instant,
    took: Duration,
    status: u16,
    has_retry_after: bool,
    items: Vec<u64>,
}

async fn ask(client: &Client, url: &str, body: String) -> Told {
    let began = Instant::now();
    let answer = client.post(url).body(body).send().await.unwrap();
    let (status, has_retry_after) =
        (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let items = answer["items"].as_array().into_iter().flatten();
    let items = items.map(|it| it["create"]["status"].as_u64().unwrap()).collect();
    Told { began, took: began.elapsed(), status, has_retry_after, items }
}

/// Shippers that send one request after the other until they are told to stop.
struct Load {
    told: Arc<Mutex<Vec<Told>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(k8scop: &K8scop, shippers: usize, body: String, pause: Duration) -> Self {
        let (told, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for _ in 0..shippers {
            let (told, stop) = (Arc::clone(&told), Arc::clone(&stop));
            let (url, body) = (k8scop.url("/_bulk"), body.clone());
            tasks.spawn(async move {
                let client = client();
                while !stop.load(Ordering::SeqCst) {
                    let one = ask(&client, &url, body.clone()).await;
                    let told: &Mutex<Vec<Told>> = &told;
                    told.lock().unwrap().push(one);
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { told, stop, tasks }
    }

    fn count(&self) -> usize {
        self.told.lock().unwrap().len()
    }

    /// Waits until that many more were answered.
    async fn until_more(&self, more: usize) {
        let goal = self.count() + more;
        wait_for("requests to be answered", SOON * 2, async || {
            (self.count() >= goal).then_some(())
        })
        .await;
    }

    async fn end(mut self) -> Vec<Told> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap();
        }
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

/// Requests to nodes: all, and those that failed.
async fn sent(k8scop: &K8scop) -> (f64, f64) {
    let (mut all, mut failed) = (0.0, 0.0);
    for (name, value) in k8scop.metrics().await {
        if name.starts_with("k8scop_bulk_requests_total{") {
            all += value;
            failed += if name.contains("code=\"200\"") { 0.0 } else { value };
        }
    }
    (all, failed)
}

/// How the first of three nodes fails, under load, and what that costs.
async fn a_node_fails(mode: Option<u8>, what: &str) {
    const LONGEST: Duration = Duration::from_secs(3);
    let quick = Duration::ZERO;
    let mut nodes = [Node::start(quick).await, Node::start(quick).await, Node::start(quick).await];
    let config = format!(
        "output: '{}'\nelasticsearch: {{request_timeout_s: 1}}\nretry: {{first_ms: 200, longest_ms: 3000}}\nlimits: {{request_deadline_s: 30}}\n",
        outputs(&nodes)
    );
    let k8scop = K8scop::start(&config).await;
    let load = Load::start(&k8scop, 8, create("logs-a"), Duration::ZERO);
    load.until_more(100).await;
    assert!(nodes.iter().all(|it| it.served() > 10), "{what}: all nodes are used");
    match mode {
        Some(mode) => nodes[0].set(mode),
        None => nodes[0].down(),
    }
    wait_for("the breaker to open", SOON, async || {
        k8scop.log().contains("the node fails").then_some(())
    })
    .await;
    let (all_before, failed_before) = sent(&k8scop).await;
    load.until_more(2000).await;
    let (all, failed) = sent(&k8scop).await;
    let (all, failed) = (all - all_before, failed - failed_before);
    assert!(failed <= all / 100.0, "{what}: {failed} of {all} requests went to the bad node");
    assert!(failed > 0.0, "{what}: nobody looked whether it is back");

    let before = nodes[0].served();
    nodes[0].set(GOOD);
    if nodes[0].fake.is_none() {
        nodes[0].up(quick).await;
    }
    let since = Instant::now();
    wait_for("the node to be used again", SOON, async || {
        (nodes[0].served() > before + 5).then_some(())
    })
    .await;
    // A request that had just begun to find out may hang for another second.
    assert!(since.elapsed() < LONGEST + Duration::from_secs(2), "{what}: {:?}", since.elapsed());
    let back = since.elapsed();
    let told = load.end().await;
    for one in &told {
        assert_eq!((one.status, one.items.as_slice()), (200, &[201][..]), "{what}: {one:?}");
    }
    let report = format!("{failed} of {all} requests to it, used again after {back:.1?}");
    writeln!(std::io::stderr(), "a node, {what}: {report}").ok();
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_refuses_connections_is_left_alone() {
    a_node_fails(None, "refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_is_left_alone() {
    a_node_fails(Some(HANGS), "hangs").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_answers_503_is_left_alone() {
    a_node_fails(Some(REFUSES), "503").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_resets_connections_is_left_alone() {
    a_node_fails(Some(RESETS), "resets").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_with_the_fewest_requests_is_asked() {
    let (slow, quick) = (Duration::from_millis(400), Duration::from_millis(20));
    let nodes = [Node::start(slow).await, Node::start(quick).await, Node::start(quick).await];
    let k8scop = K8scop::start(&format!("output: '{}'\n", outputs(&nodes))).await;
    let load = Load::start(&k8scop, 12, create("logs-a"), Duration::ZERO);
    load.until_more(600).await;
    assert!(load.end().await.iter().all(|it| it.status == 200));
    let served: Vec<_> = nodes.iter().map(Node::served).collect();
    assert!(served[0] > 0 && served[0] * 2 < served[1].min(served[2]), "{served:?}");
}

/// A busy cluster answers every item with 429 until the deadline of the request. That is no failure of its node.
#[tokio::test]
async fn a_request_that_runs_out_of_time_is_no_failure_of_its_node() {
    let answer = Reaction::Items(vec![429]);
    let fake = Fake::start_forgetful(move |_| {
        Reaction::After(Duration::from_millis(300), Box::new(answer.clone()))
    })
    .await;
    let config = format!(
        "output: {}\nretry: {{first_ms: 1, longest_ms: 2}}\nlimits: {{request_deadline_s: 1}}\n",
        fake.url()
    );
    let k8scop = K8scop::start(&config).await;
    let load = Load::start(&k8scop, 4, create("logs-a"), Duration::ZERO);
    load.until_more(20).await;
    let told = load.end().await;
    assert!(told.iter().all(|it| matches!(it.status, 429 | 503)), "{told:?}");
    assert!(!k8scop.log().contains("the node fails"), "{}", k8scop.log());
}

/// Connections that end all at once are one failure of the node, and not as many as there are requests.
#[tokio::test]
async fn many_failures_at_once_do_not_shut_a_node_out_for_long() {
    let begun = AtomicU64::new(0);
    let fake = Fake::start_forgetful(move |_| {
        let is_lost = begun.fetch_add(1, Ordering::SeqCst) < 40;
        let reaction = if is_lost { Reaction::Reset } else { Reaction::Items(vec![201]) };
        Reaction::After(Duration::from_millis(if is_lost { 1000 } else { 0 }), Box::new(reaction))
    })
    .await;
    let config = format!(
        "output: {}\nretry: {{first_ms: 50, longest_ms: 30000}}\nlimits: {{request_deadline_s: 60}}\n",
        fake.url()
    );
    let k8scop = K8scop::start(&config).await;
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        let url = k8scop.url("/_bulk");
        tasks.spawn(async move { ask(&client(), &url, create("logs-a")).await });
    }
    while let Some(told) = tasks.join_next().await {
        let told = told.unwrap();
        assert_eq!((told.status, told.items.as_slice()), (200, &[201][..]), "{told:?}");
        assert!(told.took < Duration::from_secs(10), "{told:?}");
    }
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_nodes_come_back_everything_waiting_is_delivered() {
    let quick = Duration::ZERO;
    let mut nodes = [Node::start(quick).await, Node::start(quick).await, Node::start(quick).await];
    let outputs = outputs(&nodes);
    let config = |deadline_s: u32| {
        format!(
            "output: '{outputs}'\nretry: {{first_ms: 50, longest_ms: 1000}}\nlimits: {{request_deadline_s: {deadline_s}}}\n"
        )
    };
    // One waits for longer than the outage, one does not.
    let (patient, hasty) = (K8scop::start(&config(60)).await, K8scop::start(&config(1)).await);
    let pause = Duration::from_millis(5);
    let (waiting, refused) = (
        Load::start(&patient, 20, create("logs-a"), pause),
        Load::start(&hasty, 4, create("logs-a"), pause),
    );
    waiting.until_more(50).await;
    nodes.iter_mut().for_each(Node::down);
    let from = Instant::now();
    // Three refusals each take a second.
    wait_for("refusals", SOON, async || {
        let told = refused.told.lock().unwrap();
        (told.iter().filter(|it| it.status != 200).count() >= 12).then_some(())
    })
    .await;
    let held = patient.metrics().await["k8scop_items_in_flight"];
    assert!(held > 19.5, "{held} are held");
    for node in &mut nodes {
        node.up(quick).await;
    }
    let until = Instant::now();
    assert!(until - from > Duration::from_secs(2));
    waiting.until_more(40).await;
    let told = waiting.end().await;
    for one in &told {
        assert_eq!((one.status, one.items.as_slice()), (200, &[201][..]), "{one:?}");
        if one.began < until && one.began + one.took > until {
            // The longest wait of a breaker, and a try of the request after it.
            let late = one.began + one.took - until;
            assert!(late < Duration::from_secs(4), "delivered {late:?} after the recovery");
        }
    }
    assert!(told.iter().filter(|it| it.took > Duration::from_secs(2)).count() >= 20);
    let hasty_served = refused.count();
    wait_for("the other one to store again", SOON, async || {
        let told = refused.told.lock().unwrap();
        told.get(hasty_served..).unwrap_or_default().iter().any(|it| it.status == 200).then_some(())
    })
    .await;
    for one in refused.end().await {
        match one.status {
            200 => assert_eq!(one.items, [201]),
            429 | 503 => assert!(one.has_retry_after, "{one:?}"),
            other => panic!("{other}: {one:?}"),
        }
    }
    patient.check_balance().await;
    hasty.check_balance().await;
}

fn median(told: &[Told]) -> Duration {
    let mut took: Vec<_> = told.iter().map(|it| it.took).collect();
    took.sort_unstable();
    took[took.len() / 2]
}

/// An Elasticsearch with one index that takes nothing while `is_blocked`: each request that names it is answered
/// after `wait`.
async fn with_blocked_index(
    is_blocked: &Arc<AtomicBool>,
    status: u16,
    kind: &'static str,
    wait: Duration,
) -> Fake {
    let is_blocked = Arc::clone(is_blocked);
    Fake::start_forgetful(move |asked: &Asked| {
        let blocked = is_blocked.load(Ordering::SeqCst);
        let names_it = |action: &String| action.contains("logs-blocked");
        let actions = asked.actions();
        let statuses: Vec<_> =
            actions.iter().map(|it| if blocked && names_it(it) { status } else { 201 }).collect();
        let answer = items(asked, &statuses).replace(
            r#""type":"fake""#,
            &json!({ "type": kind }).to_string().replace(['{', '}'], ""),
        );
        let waits = blocked && actions.iter().any(names_it);
        let usual = Duration::from_millis(40);
        let reaction = Reaction::Answer(200, vec![], answer);
        Reaction::After(if waits { wait } else { usual }, Box::new(reaction))
    })
    .await
}

async fn an_index_is_blocked(status: u16, kind: &'static str, wait: Duration) {
    let is_blocked = Arc::new(AtomicBool::new(true));
    let fake = with_blocked_index(&is_blocked, status, kind, wait).await;
    let config = format!("output: {}\nretry: {{first_ms: 100, longest_ms: 2000}}\n", fake.url());
    let k8scop = K8scop::start(&config).await;
    let pause = Duration::from_millis(20);
    let (good, blocked) = (create("logs-good"), create("logs-blocked"));
    let mixed = good.clone() + &blocked + &good;

    // By turns without and with requests for the blocked index, because the machine is not always the same.
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let (mut refused, mut split) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let load = Load::start(&k8scop, 3, good.clone(), pause);
        load.until_more(60).await;
        alone.extend(load.end().await);
        let others = [
            Load::start(&k8scop, 2, blocked.clone(), pause * 5),
            Load::start(&k8scop, 2, mixed.clone(), pause * 5),
        ];
        let load = Load::start(&k8scop, 3, good.clone(), pause);
        load.until_more(60).await;
        for other in &others {
            other.until_more(10).await;
        }
        beside.extend(load.end().await);
        let [one, two] = others;
        refused.extend(one.end().await);
        split.extend(two.end().await);
    }
    for one in alone.iter().chain(&beside) {
        assert_eq!((one.status, one.items.as_slice()), (200, &[201][..]), "{one:?}");
    }
    let ratio = median(&beside).as_secs_f64() / median(&alone).as_secs_f64();
    writeln!(std::io::stderr(), "beside a blocked index, {status}: {ratio:.2} times as long").ok();
    assert!(ratio < 1.5, "beside a blocked index: {ratio:.2} times as long");
    // A request for nothing else is refused as a whole, at once but for those that find out.
    for one in &refused {
        assert_eq!((one.status, one.has_retry_after), (status, true), "{one:?}");
    }
    for one in &split {
        assert_eq!(
            (one.status, one.items.as_slice()),
            (200, &[201, status.into(), 201][..]),
            "{one:?}"
        );
    }
    let swift = |told: &[Told]| {
        told.iter().filter(|it| it.took < Duration::from_secs(1)).count() * 10 >= told.len() * 8
    };
    assert!(median(&refused) < median(&alone) * 2, "{:?}", median(&refused));
    assert!(swift(&split) && swift(&refused), "{split:#?}");

    is_blocked.store(false, Ordering::SeqCst);
    let since = Instant::now();
    let client = client();
    wait_for("the index to take documents again", SOON, async || {
        (ask(&client, &k8scop.url("/_bulk"), blocked.clone()).await.status == 200).then_some(())
    })
    .await;
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    assert_eq!(ask(&client, &k8scop.url("/_bulk"), mixed).await.items, [201; 3]);
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_index_makes_nobody_else_wait() {
    an_index_is_blocked(429, "cluster_block_exception", Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_its_shard_makes_nobody_else_wait() {
    an_index_is_blocked(503, "unavailable_shards_exception", Duration::from_secs(1)).await;
}
