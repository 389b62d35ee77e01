//! `k8scop backfill`: all is read once, whatever fails meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::{CANARY, Folder, SOON, wait_for},
};

/// What was typed and what came of it.
pub struct Typed {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Typed {
    /// The report of `--progress json`.
    pub fn report(&self) -> Value {
        let last = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|_| panic!("{}\n{}", self.out, self.err))
    }
}

/// The command, in this folder, with its configuration.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8scop"));
    command.args(["backfill", "--config", "k8scop.yaml", "--progress", "json"]).args(args);
    command.env_remove("K8SCOP_SOURCE").env("SOURCE_KEY", CANARY).current_dir(folder);
    command
}

/// Types it and waits for its end.
pub async fn backfill(folder: &Path, args: &[&str]) -> Typed {
    let mut command = command(folder, args);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let typed = Typed {
        status: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    assert!(!typed.out.contains(CANARY) && !typed.err.contains(CANARY), "{}", typed.err);
    assert!(!typed.err.contains("panicked"), "{}", typed.err);
    typed
}

/// The only rule.
const RULE: &str = "title: Command run in a container\nid: 7f3c1a52-9d10-4b6e-8a20-000000000014\nlevel: medium\ntags: [attack.t1609]\n\
    logsource: {product: kubernetes, service: audit}\ndetection: {selection: {objectRef.subresource: exec}, condition: selection}\n";

fn folder() -> Folder {
    let folder = Folder::new("backfill");
    fs::write(folder.0.join("rule.yml"), RULE).unwrap();
    let config =
        "rules: {built_in: false, paths: [rule.yml]}\nretry: {first_ms: 1, longest_ms: 20}\n";
    fs::write(folder.0.join("k8scop.yaml"), config).unwrap();
    folder
}

/// A document of an index.
#[derive(Clone)]
struct Document {
    index: String,
    seq_no: i64,
    source: Option<Value>,
}

/// What the cluster holds, and what became of it.
#[derive(Default)]
struct Cluster {
    documents: Vec<Document>,
    /// `_seq_no`s by index, as often as they were given out.
    given: Mutex<Vec<(String, i64)>>,
    /// Alerts by their `_id`.
    alerts: Mutex<BTreeMap<String, Value>>,
    /// Points in time that are open.
    open: Mutex<BTreeSet<String>>,
    opened: AtomicUsize,
    /// Alerts with this text are refused for good.
    refuses: Option<String>,
}

/// Makes documents as long as events are.
const PADDING: &str = "fifty bytes that are of no use in a document - -- ";

/// Every second document is an event, of which every second raises an alert.
fn documents(indices: usize, of_each: usize) -> Vec<Document> {
    let document = |place: usize| {
        let (day, number) = (place / of_each, place % of_each);
        let event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "auditID": format!("a-{place}"), "stage": "ResponseComplete",
            "verb": "create", "requestURI": "/api/v1/namespaces/n/pods/p/exec", "user": {"username": format!("u{}", place % 7)},
            "objectRef": {"resource": "pods", "namespace": "n", "name": "p", "subresource": if place.is_multiple_of(4) { "exec" } else { "log" }},
            "responseStatus": {"code": 101}, "requestReceivedTimestamp": "2019-03-01T10:00:00.000001Z",
            "stageTimestamp": format!("2019-03-{:02}T10:00:00.000001Z", day + 1)});
        let source = match place.is_multiple_of(2) {
            true => json!({ "message": event.to_string(), "other": PADDING.repeat(30) }),
            false => json!({ "message": "nothing of Kubernetes", "other": PADDING.repeat(40) }),
        };
        // Numbers have holes: documents were deleted and changed.
        let seq_no = i64::try_from(number * 3 + number / 100 * 1000).unwrap();
        Document { index: format!("old-{:02}", day + 1), seq_no, source: Some(source) }
    };
    (0..indices * of_each).map(document).collect()
}

impl Cluster {
    fn new(documents: Vec<Document>) -> Arc<Self> {
        Arc::new(Self { documents, ..Self::default() })
    }

    fn alerts(&self) -> BTreeSet<String> {
        let alerts = self.alerts.lock().unwrap();
        let id = |it: &Value| it["kubernetes"]["audit"]["auditID"].as_str().unwrap().to_owned();
        let ids: BTreeSet<_> = alerts.values().map(id).collect();
        assert_eq!(ids.len(), alerts.len(), "an alert is there twice");
        ids
    }

    /// The alerts that there must be.
    fn expected(&self) -> BTreeSet<String> {
        (0..self.documents.len()).step_by(4).map(|it| format!("a-{it}")).collect()
    }

    fn of<'a>(&'a self, pattern: &str) -> Vec<&'a Document> {
        let fits = |it: &&Document| match pattern.split_once('*') {
            Some((prefix, _)) => it.index.starts_with(prefix),
            None => it.index == pattern,
        };
        self.documents.iter().filter(fits).collect()
    }

    /// As Elasticsearch 8.19 answers.
    fn answer(&self, asked: &Asked) -> Reaction {
        let mut words = asked.line.split(' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let path = path.split('?').next().unwrap().replace("%2E", ".");
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        let parts: Vec<_> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", [""]) => {
                done(json!({ "version": { "number": "8.19.21" }, "cluster_uuid": "fake" }))
            }
            ("POST", ["_bulk"]) if asked.header("content-type").is_none() => refused(406),
            ("POST", ["_bulk"]) => self.bulk(&asked.body),
            ("POST", [index, "_pit"]) => {
                let number = self.opened.fetch_add(1, Ordering::Relaxed);
                let id = format!("{index}/{number}");
                self.open.lock().unwrap().insert(id.clone());
                done(json!({ "id": id }))
            }
            ("DELETE", ["_pit"]) => {
                self.open.lock().unwrap().remove(body["id"].as_str().unwrap());
                done(json!({ "succeeded": true }))
            }
            ("POST", ["_search"]) => {
                let id = body["pit"]["id"].as_str().unwrap();
                if !self.open.lock().unwrap().contains(id) {
                    let error = json!({ "type": "search_phase_execution_exception", "reason": "all shards failed",
                        "root_cause": [{ "type": "search_context_missing_exception", "reason": "No search context found" }] });
                    return Reaction::Answer(
                        404,
                        Vec::new(),
                        json!({ "error": error }).to_string(),
                    );
                }
                self.search(id.split('/').next().unwrap(), &body)
            }
            ("POST", [index, "_search"]) => self.search(index, &body),
            _ => Reaction::Answer(
                404,
                Vec::new(),
                format!("{{\"error\":{{\"type\":\"?\",\"reason\":\"{path}\"}}}}"),
            ),
        }
    }

    fn search(&self, index: &str, body: &Value) -> Reaction {
        let all = self.of(index);
        if all.is_empty() {
            let total = if index.ends_with('*') { 0 } else { return gone() };
            return done(
                json!({ "timed_out": false, "_shards": { "total": total, "failed": 0 }, "hits": { "hits": [] } }),
            );
        }
        let filters = body["query"]["bool"]["filter"].as_array().cloned().unwrap_or_default();
        let range = filters.iter().find_map(|it| it["range"].get("_seq_no"));
        let bound =
            |name: &str, default: i64| range.and_then(|it| it[name].as_i64()).unwrap_or(default);
        let (after, to) = (bound("gt", i64::MIN), bound("lte", i64::MAX));
        let hits: Vec<_> = all.iter().filter(|it| it.seq_no > after && it.seq_no <= to).collect();
        let size = usize::try_from(body["size"].as_u64().unwrap()).unwrap();
        let given: Vec<_> = hits.iter().take(size).map(|it| {
            self.given.lock().unwrap().push((it.index.clone(), it.seq_no));
            let mut hit = json!({ "_index": it.index, "_id": format!("{}-{}", it.index, it.seq_no), "sort": [it.seq_no, 0] });
            if let Some(source) = &it.source {
                hit["_source"] = source.clone();
            }
            hit
        }).collect();
        let mut indices = BTreeMap::<&str, u64>::new();
        hits.iter().for_each(|it| *indices.entry(&it.index).or_default() += 1);
        let buckets: Vec<_> =
            indices.iter().map(|(key, count)| json!({ "key": key, "doc_count": count })).collect();
        done(json!({
            "timed_out": false,
            "_shards": { "total": 1, "failed": 0 },
            "hits": { "total": { "value": hits.len() }, "hits": given },
            "aggregations": {
                "indices": { "sum_other_doc_count": 0, "buckets": buckets },
                "last": { "value": hits.last().map(|it| it.seq_no) }
            }
        }))
    }

    fn bulk(&self, body: &str) -> Reaction {
        let lines: Vec<_> = body.lines().collect();
        let mut alerts = self.alerts.lock().unwrap();
        let items: Vec<_> = lines
            .chunks(2)
            .map(|it| {
                let action: Value = serde_json::from_str(it[0]).unwrap();
                let id = action["create"]["_id"].as_str().unwrap();
                if self.refuses.as_ref().is_some_and(|text| it[1].contains(text)) {
                    let error = json!({ "type": "mapper_parsing_exception", "reason": "told to" });
                    return json!({ "create": { "_index": "x", "_id": id, "status": 400, "error": error } });
                }
                let status = if alerts.contains_key(id) { 409 } else { 201 };
                alerts.entry(id.to_owned()).or_insert_with(|| serde_json::from_str(it[1]).unwrap());
                json!({ "create": { "_index": "x", "_id": id, "status": status } })
            })
            .collect();
        done(json!({ "took": 1, "errors": false, "items": items }))
    }
}

fn done(body: Value) -> Reaction {
    Reaction::Answer(200, Vec::new(), body.to_string())
}

fn gone() -> Reaction {
    let error =
        json!({ "error": { "type": "index_not_found_exception", "reason": "no such index" } });
    Reaction::Answer(404, Vec::new(), error.to_string())
}

fn refused(status: u16) -> Reaction {
    let error = json!({ "error": { "type": "fake", "reason": "told to" } });
    Reaction::Answer(status, Vec::new(), error.to_string())
}

fn is_page(asked: &Asked) -> bool {
    asked.body.contains("\"sort\"")
}

async fn serve(
    cluster: &Arc<Cluster>,
    fault: impl Fn(usize, &Asked) -> Option<Reaction> + Send + Sync + 'static,
) -> Fake {
    let cluster = Arc::clone(cluster);
    let number = AtomicUsize::new(0);
    Fake::start_forgetful(move |asked| {
        let number = number.fetch_add(1, Ordering::Relaxed);
        fault(number, asked).unwrap_or_else(|| cluster.answer(asked))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_read_once_and_every_point_in_time_is_closed() {
    let (cluster, folder) = (Cluster::new(documents(3, 2000)), folder());
    let fake = serve(&cluster, |_, _| None).await;
    let typed = backfill(&folder.0, &["--source", &fake.url(), "--index", "old-*"]).await;
    assert_eq!(typed.status, 0, "{}", typed.err);
    let report = typed.report();
    let counts = &report["counts"];
    assert_eq!((&counts["read"], &counts["matched"]), (&json!(6000), &json!(1500)));
    assert_eq!((&report["outcome"], &counts["unmatched"]), (&json!("complete"), &json!(4500)));
    assert_eq!(cluster.alerts(), cluster.expected());
    let given = cluster.given.lock().unwrap();
    let pages: Vec<_> = given.iter().collect();
    let different: BTreeSet<_> = given.iter().collect();
    assert_eq!(different.len(), 6000);
    assert_eq!(pages.len(), 6000, "nothing is read twice");
    assert!(cluster.open.lock().unwrap().is_empty());
    assert_eq!(cluster.opened.load(Ordering::Relaxed), 3);
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "no checkpoint is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_fails_is_tried_again() {
    for seed in 0..4 {
        let (cluster, folder) = (Cluster::new(documents(3, 3000)), folder());
        let random = Mutex::new(fastrand::Rng::with_seed(seed));
        let inner = Arc::clone(&cluster);
        let fake = serve(&cluster, move |_, asked| {
            let dice = random.lock().unwrap().usize(0..24);
            let whole = || {
                let Reaction::Answer(_, _, body) = inner.answer(asked) else { return String::new() };
                body
            };
            Some(match dice {
                0 => refused(429),
                1 => refused(503),
                2 => Reaction::Close,
                3 if !asked.line.contains("_bulk") => Reaction::Cut(whole(), 200),
                // Stored, but nobody hears of it.
                4 => {
                    inner.answer(asked);
                    Reaction::Reset
                }
                5 if is_page(asked) => {
                    let failed = json!({ "timed_out": false, "hits": { "hits": [] },
                        "_shards": { "total": 1, "failed": 1, "failures": [{ "reason": { "reason": "told to" } }] } });
                    done(failed)
                }
                6 if is_page(asked) => {
                    done(json!({ "timed_out": true, "_shards": { "total": 1, "failed": 0 }, "hits": { "hits": [] } }))
                }
                7 if is_page(asked) => {
                    // All are lost, as when the node starts anew.
                    inner.open.lock().unwrap().clear();
                    return None;
                }
                _ => return None,
            })
        })
        .await;
        let typed = backfill(&folder.0, &["--source", &fake.url(), "--index", "old-*"]).await;
        assert_eq!(typed.status, 0, "seed {seed}: {}", typed.err);
        let counts = &typed.report()["counts"];
        assert_eq!(counts["read"], 9000, "seed {seed}");
        assert_eq!(cluster.alerts(), cluster.expected(), "seed {seed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_time_it_goes_on_behind_the_last_page() {
    let (cluster, folder) = (Cluster::new(documents(2, 5000)), folder());
    let slow = Duration::from_millis(15);
    let inner = Arc::clone(&cluster);
    let fake =
        serve(&cluster, move |_, asked| Some(Reaction::After(slow, Box::new(inner.answer(asked)))))
            .await;
    let url = fake.url();
    let args = ["--source", url.as_str(), "--index", "old-*", "--slices", "1"];
    let mut kills = 0;
    let typed = loop {
        let mut child = Killed(
            command(&folder.0, &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap(),
        );
        // From before its first page to near its end.
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..900))).await;
        if kills == 6 || child.0.try_wait().unwrap().is_some() {
            drop(child);
            break backfill(&folder.0, &args).await;
        }
        kills += 1;
    };
    assert_eq!(typed.status, 0, "{}", typed.err);
    assert_eq!(cluster.alerts(), cluster.expected());
    let given = cluster.given.lock().unwrap();
    let different: BTreeSet<_> = given.iter().collect();
    assert_eq!(different.len(), 10_000);
    assert_eq!(typed.report()["counts"]["read"], 10_000);
    // The page that was being treated when it was killed, and the one that was fetched meanwhile.
    let again = given.len() - different.len();
    assert!(again <= kills * 2 * PAGE_MAX, "{again} documents were read again after {kills} kills");
}

/// No page of these documents has more: 4 MiB are meant.
const PAGE_MAX: usize = 2500;

/// Killed when it goes.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_that_fails_on_stops_it_and_what_is_done_is_not_read_again() {
    let (cluster, folder) = (Cluster::new(documents(1, 4000)), folder());
    let is_failing = Arc::new(AtomicBool::new(true));
    let failing = Arc::clone(&is_failing);
    let pages = AtomicUsize::new(0);
    let fake = serve(&cluster, move |_, asked| {
        if !is_page(asked) || !failing.load(Ordering::Relaxed) {
            return None;
        }
        // Two pages, then none.
        let is_good = pages.fetch_add(1, Ordering::Relaxed) < 2;
        let failed = json!({ "timed_out": false, "hits": { "hits": [] }, "_shards": { "total": 1, "failed": 1 } });
        (!is_good).then(|| done(failed))
    })
    .await;
    let url = fake.url();
    let args = ["--source", url.as_str(), "--index", "old-*", "--give-up", "1"];
    let typed = backfill(&folder.0, &args).await;
    assert_eq!(typed.status, 70, "{}", typed.err);
    assert!(typed.err.contains("a shard of the source failed"), "{}", typed.err);
    assert!(typed.err.contains("the same command goes on from k8scop-backfill-"), "{}", typed.err);
    let before = cluster.given.lock().unwrap().len();
    assert!(before > 0);
    is_failing.store(false, Ordering::Relaxed);
    let typed = backfill(&folder.0, &args).await;
    assert_eq!(typed.status, 0, "{}", typed.err);
    assert!(typed.err.contains("goes on from"), "{}", typed.err);
    assert_eq!(typed.report()["counts"]["read"], 4000);
    assert_eq!(cluster.alerts(), cluster.expected());
    assert_eq!(cluster.given.lock().unwrap().len(), 4000);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_point_in_time_is_opened_it_reads_without() {
    let (cluster, folder) = (Cluster::new(documents(2, 1500)), folder());
    let fake = serve(&cluster, |_, asked| asked.line.contains("/_pit").then(|| refused(403))).await;
    let typed = backfill(&folder.0, &["--source", &fake.url(), "--index", "old-*"]).await;
    assert_eq!(typed.status, 0, "{}", typed.err);
    assert_eq!(cluster.alerts(), cluster.expected());
    assert_eq!(cluster.given.lock().unwrap().len(), 3000);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_read_is_enough() {
    let (cluster, folder) = (Cluster::new(documents(1, 1500)), folder());
    let fake =
        serve(&cluster, |_, asked| asked.line.starts_with("GET / ").then(|| refused(403))).await;
    let typed = backfill(&folder.0, &["--source", &fake.url(), "--index", "old-*"]).await;
    assert_eq!(typed.status, 0, "{}", typed.err);
    assert_eq!(cluster.alerts(), cluster.expected());
    assert_eq!(cluster.opened.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_numbers_is_refused() {
    let folder = folder();
    let fake = Fake::start(|_, _| done(json!({ "version": { "number": "5.6.16" } }))).await;
    let typed = backfill(&folder.0, &["--source", &fake.url(), "--index", "old-*"]).await;
    assert_eq!(typed.status, 70, "{}", typed.err);
    assert!(typed.err.contains("version 6 or later is needed"), "{}", typed.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_without_a_time_are_told() {
    let (cluster, folder) = (Cluster::new(documents(1, 100)), folder());
    let is_asked = |asked: &Asked| asked.body.contains(r#"{"exists":{"field":"at"}}"#);
    let some = || {
        done(
            json!({ "timed_out": false, "_shards": { "total": 1, "failed": 0 }, "hits": { "total": { "value": 7 } } }),
        )
    };
    let fake = serve(&cluster, move |_, asked| is_asked(asked).then(some)).await;
    let url = fake.url();
    let args = ["--source", url.as_str(), "--index", "old-*", "--time-field", "at"];
    let typed = backfill(&folder.0, &[&args[..], &["--from", "2019-01-01"]].concat()).await;
    assert_eq!(typed.status, 0, "{}", typed.err);
    assert!(typed.err.contains("7 documents of `old-*` have no `at`"), "{}", typed.err);
    let typed = backfill(&folder.0, &args).await;
    assert!(typed.status == 0 && !typed.err.contains("warning"), "{}", typed.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_with_types_is_read_and_takes_no_alerts() {
    let (cluster, folder) = (Cluster::new(documents(1, 100)), folder());
    let old = |asked: &Asked| asked.line.starts_with("GET / ");
    let product = || done(json!({ "version": { "number": "6.8.23" }, "cluster_uuid": "fake" }));
    let fake = serve(&cluster, move |_, asked| old(asked).then(product)).await;
    let url = fake.url();
    let args = ["--source", url.as_str(), "--index", "old-*"];
    let typed = backfill(&folder.0, &args).await;
    assert_eq!(typed.status, 2, "{}", typed.err);
    assert!(
        typed.err.contains("Elasticsearch 6") && typed.err.contains("--output"),
        "{}",
        typed.err
    );
    let elsewhere = [&args[..], &["--output", "file:out"]].concat();
    let typed = backfill(&folder.0, &elsewhere).await;
    assert_eq!((typed.status, &typed.report()["counts"]["alerts_created"]), (0, &json!(25)));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_rules_or_another_query_do_not_go_on() {
    let (cluster, folder) = (Cluster::new(documents(1, 3000)), folder());
    let fake = serve(&cluster, |_, _| None).await;
    let url = fake.url();
    let args = [
        "--source",
        url.as_str(),
        "--index",
        "old-*",
        "--checkpoint",
        "place",
        "--max-docs",
        "1200",
    ];
    let typed = backfill(&folder.0, &args).await;
    assert_eq!(
        (typed.status, &typed.report()["counts"]["read"]),
        (0, &json!(1200)),
        "{}",
        typed.err
    );
    let other = [&args[..], &["--from", "2019-03-01"]].concat();
    let typed = backfill(&folder.0, &other).await;
    assert_eq!(typed.status, 2);
    assert!(
        typed.err.contains("place: --from was `` and is `2019-03-01T00:00:00Z`"),
        "{}",
        typed.err
    );
    fs::write(folder.0.join("rule.yml"), RULE.replace("medium", "high")).unwrap();
    let typed = backfill(&folder.0, &args).await;
    assert_eq!(typed.status, 2);
    assert!(
        typed.err.contains("the rules are others") && typed.err.contains("--restart"),
        "{}",
        typed.err
    );
    fs::write(folder.0.join("rule.yml"), RULE).unwrap();
    let typed = backfill(&folder.0, &args).await;
    assert_eq!(
        (typed.status, &typed.report()["counts"]["read"]),
        (0, &json!(2400)),
        "{}",
        typed.err
    );
    fs::write(folder.0.join("place"), "{").unwrap();
    let typed = backfill(&folder.0, &args).await;
    assert!(typed.status == 2 && typed.err.contains("this is no checkpoint"), "{}", typed.err);
    let typed = backfill(&folder.0, &[&args[..6], &["--restart"]].concat()).await;
    assert_eq!(
        (typed.status, &typed.report()["counts"]["read"]),
        (0, &json!(3000)),
        "{}",
        typed.err
    );
    assert_eq!(cluster.alerts(), cluster.expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_told() {
    let mut all = documents(2, 1000);
    all[5].source = None;
    let (cluster, folder) = (Cluster::new(all), folder());
    let inner = Arc::clone(&cluster);
    let pages = AtomicUsize::new(0);
    // The second index is deleted when it is to be read on.
    let fake = serve(&cluster, move |_, asked| {
        let is_second = asked.body.contains("old-02/") || asked.line.contains("old-02/_pit");
        if !is_second || !asked.line.contains("_pit") && pages.fetch_add(1, Ordering::Relaxed) == 0
        {
            return None;
        }
        if pages.load(Ordering::Relaxed) == 0 {
            return None;
        }
        inner.open.lock().unwrap().clear();
        Some(gone())
    })
    .await;
    let args = ["--source", &fake.url(), "--index", "old-*", "--slices", "1"];
    let typed = backfill(&folder.0, &args).await;
    assert_eq!(typed.status, 1, "{}", typed.err);
    let report = typed.report();
    assert_eq!(report["outcome"], "incomplete");
    let missing = report["missing"].to_string();
    assert!(missing.contains("old-02 was deleted: of 1000 documents in shard 0"), "{missing}");
    assert!(missing.contains("1 documents cannot be read"), "{missing}");
    assert!(report["summary"]["unreadable_first"].to_string().contains("old-01"), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_refused_for_good_is_told_and_the_others_are_stored() {
    let refuses = Some("\"auditID\":\"a-400\"".to_owned());
    let cluster = Cluster { documents: documents(1, 1000), refuses, ..Cluster::default() };
    let (cluster, folder) = (Arc::new(cluster), folder());
    let fake = serve(&cluster, |_, _| None).await;
    let typed = backfill(&folder.0, &["--source", &fake.url(), "--index", "old-*"]).await;
    assert_eq!(typed.status, 1, "{}", typed.err);
    assert!(typed.err.contains("mapper_parsing_exception: told to"), "{}", typed.err);
    let report = typed.report();
    assert_eq!(report["missing"], json!(["1 documents are refused by the output"]));
    assert_eq!(
        (&report["counts"]["refused"], &report["counts"]["matched"]),
        (&json!(1), &json!(249))
    );
    let mut expected = cluster.expected();
    expected.remove("a-400");
    assert_eq!(cluster.alerts(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_told() {
    let (cluster, folder) = (Cluster::new(documents(1, 10)), folder());
    let fake = serve(&cluster, |_, asked| {
        (asked.line.contains("secret") && asked.line.contains("_search")).then(|| refused(403))
    })
    .await;
    let url = fake.url();
    for (args, status, text) in [
        (
            &["--source", url.as_str(), "--index", "nothing-*"][..],
            2,
            "no index matches `nothing-*`",
        ),
        (&["--source", &url, "--index", "absent"], 2, "index_not_found_exception"),
        (&["--source", &url, "--index", "secret"], 70, "the right `read` on the indices is needed"),
        (&["--source", &url, "--index", "old-*", "--from", "yesterday"], 2, "give a day"),
        (
            &["--source", &url, "--index", "old-*", "--from", "2019-03-02", "--to", "2019-03-01"],
            2,
            "is not before",
        ),
        (
            &["--source", &url, "--index", "old-*", "--query", "level:high"],
            2,
            "--query: it is no JSON object",
        ),
        (&["--source", "file:x", "--index", "old-*"], 2, "--source: needs http://"),
        (
            &["--source", "http://127.0.0.1:1", "--index", "old-*", "--give-up", "1"],
            70,
            "cannot be reached",
        ),
        (&["--index", "old-*"], 2, "--source: is needed"),
        (&["--source", &url, "--index", ""], 2, "* is all of them"),
    ] {
        let typed = backfill(&folder.0, args).await;
        assert_eq!(typed.status, status, "{args:?}: {}", typed.err);
        assert!(typed.err.contains(text), "{args:?}: {}", typed.err);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2, "{args:?}: something is left");
    }
    let key = ["--source", &url, "--index", "secret", "--api-key", "env:SOURCE_KEY"];
    assert_eq!(backfill(&folder.0, &key).await.status, 70);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_stops_it_behind_a_page() {
    let (cluster, folder) = (Cluster::new(documents(1, 6000)), folder());
    let fake = serve(&cluster, |_, _| None).await;
    let url = fake.url();
    let args = ["--source", url.as_str(), "--index", "old-*", "--checkpoint", "place"];
    let slow = [&args[..], &["--rate", "1000"]].concat();
    let mut child = Killed(
        command(&folder.0, &slow).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap(),
    );
    wait_for("the first page", SOON, async || {
        (!cluster.alerts.lock().unwrap().is_empty()).then_some(())
    })
    .await;
    let id = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let status = wait_for("its end", SOON, async || child.0.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(70));
    assert!(folder.0.join("place").exists());
    let typed = backfill(&folder.0, &args).await;
    assert_eq!(typed.status, 0, "{}", typed.err);
    assert_eq!(typed.report()["counts"]["read"], 6000);
    assert_eq!(cluster.alerts(), cluster.expected());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_stores_nothing_and_metrics_are_served() {
    let (cluster, folder) = (Cluster::new(documents(1, 2000)), folder());
    let fake = serve(&cluster, |_, _| None).await;
    let args = ["--source", &fake.url(), "--index", "old-*", "--dry-run", "--html", "page.html"];
    let typed =
        backfill(&folder.0, &[&args[..], &["--metrics-listen", "127.0.0.1:0"]].concat()).await;
    assert_eq!(typed.status, 0, "{}", typed.err);
    assert_eq!(typed.report()["summary"]["alerts"], 500);
    assert!(cluster.alerts().is_empty());
    assert!(typed.err.contains("metrics: http://127.0.0.1:"), "{}", typed.err);
    assert!(
        fs::read_to_string(folder.0.join("page.html"))
            .unwrap()
            .contains("Command run in a container")
    );
}

/// K8sCop's own command line, with what is configured to reach the cluster.
#[tokio::test(flavor = "multi_thread")]
async fn k8scop_follows_through_an_outage_with_the_key_that_is_configured() {
    let (cluster, folder) = (Cluster::new(documents(1, 100)), folder());
    let config = fs::read_to_string(folder.0.join("k8scop.yaml")).unwrap();
    let key = "elasticsearch: { api_key: env:SOURCE_KEY }\n";
    fs::write(folder.0.join("k8scop.yaml"), config + key).unwrap();
    let is_away = Arc::new(AtomicBool::new(false));
    let (away, looks) = (Arc::clone(&is_away), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&looks);
    let fake = serve(&cluster, move |_, asked| {
        if asked.header("authorization") != Some(&format!("ApiKey {CANARY}")) {
            return Some(refused(401));
        }
        seen.fetch_add(1, Ordering::Relaxed);
        away.load(Ordering::Relaxed).then(|| refused(503))
    })
    .await;
    let host = fake.address.to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8scop"));
    command.args(["-E", &host, "-I", "old", "-i", "alerts", "-c", "k8scop.yaml"]);
    command.args(["-s", "2019-3-1-0-0-0", "-A", "streaming", "-d", "3"]);
    command.env("SOURCE_KEY", CANARY).current_dir(&folder.0);
    let err = fs::File::create(folder.0.join("err")).unwrap();
    let mut child = Killed(command.stdout(Stdio::null()).stderr(err).spawn().unwrap());
    let said = || fs::read_to_string(folder.0.join("err")).unwrap();
    let alerts = async || (cluster.alerts() == cluster.expected()).then_some(());
    wait_for("the alerts", SOON, alerts).await;
    is_away.store(true, Ordering::Relaxed);
    let before = looks.load(Ordering::Relaxed);
    // It asks again and again.
    let asked = async || (looks.load(Ordering::Relaxed) > before + 10).then_some(());
    wait_for("questions in vain", SOON, asked).await;
    is_away.store(false, Ordering::Relaxed);
    let before = looks.load(Ordering::Relaxed);
    let asked = async || (looks.load(Ordering::Relaxed) > before + 10).then_some(());
    wait_for("questions that are answered", SOON, asked).await;
    assert!(child.0.try_wait().unwrap().is_none(), "{}", said());
    let id = child.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    wait_for("its end", SOON, async || child.0.try_wait().unwrap()).await;
    assert!(said().contains("trying again") && !said().contains(CANARY), "{}", said());
}
