//! Whatever breaks a backfill off, all is read once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use reqwest::Method;
use serde_json::Value;

use super::{
    super::{
        elasticsearch::{Elasticsearch, all},
        parts::{ELASTICSEARCH, Node, fresh, part, tell},
    },
    ALL, DOCUMENTS,
    between::Between,
    bodies, clean, documents, folder, number, put,
};
use crate::backfill::{Typed, backfill, command};

/// How often it is killed, unless `K8SCOP_TEST_KILLS` says otherwise.
const KILLS: usize = 5;
/// Shards of an index, which are read at once.
const SHARDS: usize = 2;

/// What must come of it: counts, and how often each alert is raised.
struct Expected {
    counts: Value,
    alerts: BTreeMap<String, usize>,
}

impl Expected {
    /// What one process reads that nobody disturbs.
    async fn of(url: &str, index: &str) -> Self {
        let folder = folder(ALL);
        let args = ["--source", url, "--index", index, "--output", "file:out"];
        let counts = backfill(&folder.0, &args).await.report()["counts"].take();
        Self { counts, alerts: raised(&folder.0.join("out")) }
    }

    /// Alerts that several documents raise.
    fn known(&self) -> BTreeSet<String> {
        let several = self.alerts.iter().filter(|(_, count)| **count > 1);
        several.map(|(id, _)| id.clone()).collect()
    }

    /// All is read, once, and all that it raises is there.
    async fn check(&self, counts: &Value, cluster: &Elasticsearch, namespace: &str) {
        for count in ["read", "matched", "unmatched", "unreadable", "refused"] {
            assert_eq!(counts[count], self.counts[count], "{count}: {counts}");
        }
        assert_eq!(alerts_of(cluster, namespace).await, self.alerts.len() as u64);
    }
}

/// How often each alert was written into files.
fn raised(folder: &Path) -> BTreeMap<String, usize> {
    let mut raised = BTreeMap::new();
    for file in fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()) {
        for line in fs::read_to_string(&file).unwrap_or_default().lines().step_by(2) {
            let action: Value = serde_json::from_str(line).unwrap();
            // Some documents tell a namespace of their own.
            if action["create"]["_index"] == "logs-k8scop.alerts-default" {
                *raised.entry(action["create"]["_id"].as_str().unwrap().to_owned()).or_default() +=
                    1;
            }
        }
    }
    raised
}

async fn alerts_of(cluster: &Elasticsearch, namespace: &str) -> u64 {
    let index = format!("logs-k8scop.alerts-{namespace}");
    cluster.refresh(&index).await;
    cluster.count(&index, &all()).await
}

/// A backfill that is killed again and again, until it comes to its end.
struct Story<'s> {
    between: &'s Between,
    index: &'s str,
    expected: &'s Expected,
    namespace: String,
    /// Pages that were read again, and requests that were sent again, by each process.
    again: Vec<[usize; 2]>,
}

impl Story<'_> {
    /// Kills it so often at most. Gives back its last counts.
    async fn tell(&mut self, kills: usize) -> Value {
        let folder = folder(&format!("audit: {{ namespace: {} }}\n", self.namespace));
        let url = self.between.url();
        let slices = SHARDS.to_string();
        let args = ["--source", &url, "--index", self.index, "--slices", &slices];
        let known = self.expected.known();
        self.between.forget();
        self.between.next(&known);
        for _ in 0..kills {
            let out = File::create(folder.0.join("out")).unwrap();
            let mut child = command(&folder.0, &[&args[..], &["--rate", "1000"]].concat())
                .stdout(out)
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            tokio::time::sleep(Duration::from_millis(fastrand::u64(20..1500))).await;
            let is_over = child.try_wait().unwrap().is_some();
            child.kill().unwrap();
            child.wait().unwrap();
            self.again.push(self.between.next(&known));
            if is_over {
                let out = fs::read_to_string(folder.0.join("out")).unwrap();
                let typed = Typed { status: 0, out, err: String::new() };
                return typed.report()["counts"].take();
            }
        }
        let typed = backfill(&folder.0, &args).await;
        self.again.push(self.between.next(&known));
        typed.report()["counts"].take()
    }
}

/// Kills backfills so often in all. One of `fails` requests fails.
async fn killed(test: &str, fails: usize) {
    let Some(url) = part(test, ELASTICSEARCH) else { return };
    let cluster = Elasticsearch::new(&url);
    let (prefix, documents) = (fresh("killed"), documents().max(2 * DOCUMENTS));
    put(&cluster, &prefix, &bodies(&prefix, documents, 1)).await;
    let index = format!("{prefix}-*");
    let expected = Expected::of(&url, &index).await;
    let between = Between::start(&url, fails).await;
    let kills = number("K8SCOP_TEST_KILLS", KILLS);
    let (began, mut done, mut stories) = (Instant::now(), 0, 0);
    let mut again = Vec::new();
    while done < kills {
        let mut story = Story {
            between: &between,
            index: &index,
            expected: &expected,
            namespace: fresh("killed"),
            again: Vec::new(),
        };
        let counts = story.tell(kills - done).await;
        expected.check(&counts, &cluster, &story.namespace).await;
        // All but the last process of a story were killed.
        done += story.again.len() - 1;
        stories += 1;
        again.extend(story.again);
    }
    if fails == 0 {
        // Of each shard a page is treated, while another one is fetched. What was one page may be several.
        let is_little = |[read, sent]: &[usize; 2]| *read <= 3 * SHARDS && *sent <= SHARDS;
        assert!(again.iter().all(is_little), "read and sent again: {again:?}");
    }
    let sum = |it: usize| again.iter().map(|both| both[it]).sum::<usize>();
    tell(format_args!(
        "backfill: {done} kills, {stories} times to the end of {documents} documents, one request of {fails} failed, in {} s: {} pages read again, {} sent again",
        began.elapsed().as_secs(),
        sum(0),
        sum(1)
    ));
    clean(&cluster, &prefix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_misses_and_doubles_nothing() {
    killed("killed_at_any_moment_it_misses_and_doubles_nothing", 0).await;
}

/// Requests are refused (429, 503) or broken off, shards fail, points in time are lost.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_cluster_fails_it_misses_and_doubles_nothing() {
    killed("killed_while_the_cluster_fails_it_misses_and_doubles_nothing", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_starts_anew_costs_nothing() {
    let test = "a_node_that_starts_anew_costs_nothing";
    if part(test, ELASTICSEARCH).is_none() {
        return;
    }
    let node = Node::start().await;
    let cluster = Elasticsearch::new(&node.url);
    let prefix = fresh("anew");
    put(&cluster, &prefix, &bodies(&prefix, DOCUMENTS, 3)).await;
    let index = format!("{prefix}-*");
    let expected = Expected::of(&node.url, &index).await;
    let folder = folder("");
    // All points in time are lost with the node, in the middle of it.
    let rate = (DOCUMENTS / 20).to_string();
    let args = ["--source", &node.url, "--index", &index, "--rate", &rate];
    let (typed, ()) = tokio::join!(backfill(&folder.0, &args), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        node.stop().await;
        node.again().await;
    });
    assert!(typed.err.contains("the source does not answer well"), "{}", typed.err);
    expected.check(&typed.report()["counts"], &cluster, "default").await;
}

/// A shard of which no copy is left: an error, never a short page.
#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_is_lost_is_told() {
    let Some(url) = part("a_shard_that_is_lost_is_told", ELASTICSEARCH) else { return };
    let cluster = Elasticsearch::new(&url);
    let prefix = fresh("lost");
    put(&cluster, &prefix, &bodies(&prefix, DOCUMENTS, 3)).await;
    let folder = folder("");
    let index = format!("{prefix}-*");
    let args = ["--source", &url, "--index", &index, "--output", "file:out", "--give-up", "1"];
    let some = [&args[..], &["--max-docs", "100"]].concat();
    assert_eq!(backfill(&folder.0, &some).await.status, 0);

    let one = format!("{prefix}-2026.03.03");
    let of = async |path: &str, pointer: &str| {
        let answer = cluster.did(Method::GET, path, &Value::Null).await;
        answer.pointer(pointer).unwrap().as_str().unwrap().to_owned()
    };
    let nodes = cluster.did(Method::GET, "/_nodes/_local/settings", &Value::Null).await;
    let node = nodes["nodes"].as_object().unwrap().values().next().unwrap();
    let data = node["settings"]["path"]["data"].as_str().unwrap();
    let uuid = of(&format!("/{one}/_settings"), &format!("/{one}/settings/index/uuid")).await;
    cluster.did(Method::POST, &format!("/{one}/_close"), &Value::Null).await;
    fs::remove_dir_all(Path::new(data).join("indices").join(uuid).join("1")).unwrap();
    let open = format!("/{one}/_open?wait_for_active_shards=0");
    cluster.did(Method::POST, &open, &Value::Null).await;

    for _ in 0..2 {
        let typed = backfill(&folder.0, &args).await;
        assert_eq!(typed.status, 70, "{}", typed.err);
        let told = format!("error: {one}, shard 1: the source answers 503");
        assert!(typed.err.contains(&told), "{}", typed.err);
        assert!(typed.err.contains("missing shards"), "{}", typed.err);
        assert!(typed.err.contains("the same command goes on"), "{}", typed.err);
    }
    // Nor is it short from the beginning.
    let anew = [&args[..], &["--restart"]].concat();
    let typed = backfill(&folder.0, &anew).await;
    assert_eq!(typed.status, 70, "{}", typed.err);
    assert!(
        typed.err.contains("a shard of the source failed: no_shard_available"),
        "{}",
        typed.err
    );
    clean(&cluster, &prefix).await;
}
