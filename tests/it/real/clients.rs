//! Real clients of Elasticsearch write through k8scop, and one thing goes wrong: between them and k8scop, or between
//! k8scop and Elasticsearch. In the end every event is stored once, or the client said that it gave up; then, asked
//! again, it brings the rest.

mod relay;
mod shippers;

use std::{
    collections::BTreeMap,
    fmt, fs,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

use self::{
    relay::{Fault, Relay},
    shippers::Shipper,
};
use super::{
    elasticsearch::{Elasticsearch, all},
    filebeat::Filebeat,
    parts::{ELASTICSEARCH, FILEBEAT, fresh, part, tell},
    stored,
    stream::{Event, alerts, commands, kept_commands},
};
use crate::harness::{Folder, K8scop};

/// Folder that `scripts/clients` has filled.
const CLIENTS: &str = "K8SCOP_TEST_CLIENTS";

/// Documents of one cell of the table.
const DOCUMENTS: usize = 60;
/// Longest wait for what a client has to do.
const DONE: Duration = Duration::from_secs(120);
/// Time between two looks into Elasticsearch.
const LOOK: Duration = Duration::from_secs(1);
/// Later than the libraries for Python wait for an answer (10 s) and Telegraf (5 s).
const LATE: Duration = Duration::from_secs(11);
/// Shippers that run at once.
const AT_ONCE: usize = 6;

const LIBRARIES: [(&str, &[&str]); 12] = [
    ("python-7", PYTHON),
    ("python-8", PYTHON),
    ("python-9", PYTHON),
    ("python-opensearch", PYTHON),
    ("node-7", &["bulk"]),
    ("node-8", &["bulk"]),
    ("node-9", &["bulk"]),
    ("node-opensearch", &["bulk"]),
    ("go-7", &["BulkIndexer"]),
    ("go-8", &["BulkIndexer"]),
    ("go-9", &["BulkIndexer"]),
    ("go-opensearch", &["BulkIndexer"]),
];
const PYTHON: &[&str] = &["bulk", "streaming_bulk", "parallel_bulk"];
const SHIPPERS: [&str; 3] = ["filebeat", "telegraf", "rsyslog"];

/// Between the client and k8scop.
const ABOVE: [(&str, Fault); 7] = [
    ("429", Fault::Whole(429)),
    ("503", Fault::Whole(503)),
    ("413", Fault::Whole(413)),
    ("cut", Fault::Cut),
    ("answer lost", Fault::AnswerLost),
    ("truncated", Fault::Truncated),
    ("late", Fault::Slow(LATE)),
];

/// Between k8scop and Elasticsearch.
const BELOW: [(&str, Fault); 11] = [
    ("429", Fault::Whole(429)),
    ("503", Fault::Whole(503)),
    ("items 429", Fault::Items(429)),
    ("items 503", Fault::Items(503)),
    ("cut", Fault::Cut),
    ("answer lost", Fault::AnswerLost),
    ("truncated", Fault::Truncated),
    ("invalid JSON", Fault::InvalidJson),
    ("too few items", Fault::TooFewItems),
    ("no answer", Fault::Hang),
    (LASTING, Fault::ItemsFor(429, Duration::from_secs(8))),
];

/// It outlasts the patience of k8scop, whose client then hears of it. How such a cell ends is between the two of them,
/// as long as nothing is lost in silence.
const LASTING: &str = "items 429, 8 s";
/// How long k8scop tries then (s).
const PATIENCE: u64 = 4;

/// How a cell ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// Every event is stored once, and the client says so.
    All,
    /// The client says that it did not bring everything. What it says is stored is; asked again, it brings the rest.
    GivesUp,
    /// The shipper gives a batch up and notes it; what it noted and what is stored are everything.
    Noted,
    /// Everything is stored, some of it twice.
    Twice,
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::All => "all",
            Self::GivesUp => "gives up",
            Self::Noted => "noted",
            Self::Twice => "twice",
        })
    }
}

/// Clients, side, faults, how that ends, and why.
type Exception = (&'static [&'static str], Side, &'static [&'static str], Ends, &'static str);

/// Cells that do not end as [`Ends::All`].
#[rustfmt::skip]
const EXCEPTIONS: &[Exception] = &[
    (ALL_PYTHON, Side::Above, &["413"], Ends::GivesUp, "raises: no retry changes that"),
    (ALL_PYTHON, Side::Above, &["late"], Ends::GivesUp, "raises after 10 s: retry_on_timeout is off"),
    (&["python-7", "python-opensearch"], Side::Above, &["429"], Ends::GivesUp, "raises: retry_on_status is 502, 503, 504"),
    (ALL_NODE, Side::Above, &["413", "429"], Ends::GivesUp, "rejects: only 502, 503 and 504 are tried again"),
    (ALL_GO, Side::Above, &["413", "429"], Ends::GivesUp, "OnError: only 502, 503 and 504 are tried again"),
    (ALL_GO, Side::Above, &["truncated"], Ends::GivesUp, "OnError: the answer is read after the last try"),
    (&["rsyslog"], Side::Above, &["413", "429", "503"], Ends::Noted, "a batch that is refused goes to errorFile"),
];
const ALL_PYTHON: &[&str] = &["python-7", "python-8", "python-9", "python-opensearch"];
const ALL_NODE: &[&str] = &["node-7", "node-8", "node-9", "node-opensearch"];
const ALL_GO: &[&str] = &["go-7", "go-8", "go-9", "go-opensearch"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    /// Between the client and k8scop.
    Above,
    /// Between k8scop and Elasticsearch.
    Below,
}

/// One client, one fault.
struct Cell {
    client: &'static str,
    helper: &'static str,
    side: Side,
    fault: &'static str,
    /// The name of the EKS cluster in its documents.
    cluster: String,
    events: Vec<Event>,
    file: PathBuf,
    /// What the client is told to write to.
    to: SocketAddr,
    /// Where the fault happens.
    relay: Arc<Relay>,
}

/// What a driver says of one job.
#[derive(Debug, Deserialize)]
struct Said {
    job: usize,
    ok: usize,
    failed: usize,
    error: Option<String>,
}

/// What became of a cell.
struct Outcome {
    ends: Ends,
    /// What is wrong with it, whatever the table says.
    wrong: Option<String>,
    said: String,
}

struct Scene {
    elasticsearch: Elasticsearch,
    namespace: String,
    programs: PathBuf,
    filebeat: Option<String>,
    folder: Folder,
    /// By fault; the first one has none.
    below: Vec<(&'static str, Arc<Relay>, K8scop)>,
}

#[tokio::test(flavor = "multi_thread")]
async fn real_clients_bring_everything_once() {
    let test = "real_clients_bring_everything_once";
    let (Some(url), Some(programs)) = (part(test, ELASTICSEARCH), part(test, CLIENTS)) else {
        return;
    };
    let scene = Arc::new(Scene::start(&url, programs.into(), part(test, FILEBEAT)).await);
    let cells = cells(&scene).await;

    let mut lanes: JoinSet<Vec<(Arc<Cell>, Outcome)>> = JoinSet::new();
    for language in ["python", "node", "go"] {
        let (scene, cells) = (Arc::clone(&scene), cells.clone());
        lanes.spawn(async move {
            let mut outcomes = Vec::new();
            for (library, _) in LIBRARIES.iter().filter(|(it, _)| it.starts_with(language)) {
                let of_it = cells.iter().filter(|it| it.client == *library).cloned().collect();
                outcomes.extend(scene.run_library(library, of_it).await);
            }
            outcomes
        });
    }
    let free = Arc::new(Semaphore::new(AT_ONCE));
    for cell in cells.iter().filter(|it| SHIPPERS.contains(&it.client)).cloned() {
        let (scene, free) = (Arc::clone(&scene), Arc::clone(&free));
        lanes.spawn(async move {
            let _running = free.acquire_owned().await.unwrap();
            let outcome = scene.run_shipper(&cell).await;
            vec![(cell, outcome)]
        });
    }
    let outcomes: Vec<_> = lanes.join_all().await.into_iter().flatten().collect();
    for (_, _, k8scop) in &scene.below {
        k8scop.check_balance().await;
    }
    let (table, wrong) = summary(&outcomes);
    tell(format_args!("{test}:\n{table}"));
    assert!(wrong.is_empty(), "{} cells are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

impl Scene {
    async fn start(url: &str, programs: PathBuf, filebeat: Option<String>) -> Self {
        let elasticsearch = Elasticsearch::new(url);
        elasticsearch.put_templates().await;
        let to: SocketAddr =
            url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let namespace = fresh("clients");
        let mut below = Vec::new();
        for (name, fault) in [("", Fault::None)].iter().chain(&BELOW) {
            let relay = Arc::new(Relay::start(to, *fault, 0).await);
            // By default one try may take as long as the whole request, and nothing is tried again after that.
            let timeout = if *fault == Fault::Hang { 2 } else { 30 };
            let deadline = if *name == LASTING { PATIENCE } else { 30 };
            // All clients together raise more alerts a minute than are told by default.
            let k8scop = K8scop::start(&format!(
                "output: {}\naudit: {{ namespace: {namespace} }}\nalerts: {{ rate: {{ per_rule: 1000000, total: 1000000 }} }}\nelasticsearch: {{ request_timeout_s: {timeout} }}\nlimits: {{ request_deadline_s: {deadline} }}\n",
                relay.url()
            ))
            .await;
            below.push((*name, relay, k8scop));
        }
        let folder = Folder::new("clients");
        let scene = Self { elasticsearch, namespace, programs, filebeat, folder, below };
        scene.warm_up().await;
        scene
    }

    /// The first events and alerts, so that there is a place in which to look for them: while an index comes into
    /// being, a search in it fails.
    async fn warm_up(&self) {
        let index = format!("logs-aws.cloudwatch-{}", self.namespace);
        let action = json!({ "create": { "_index": index } });
        let lines = events().into_iter().map(|it| format!("{action}\n{}\n", document("warm", &it)));
        let (status, answer) = self.below[0].2.bulk("/_bulk", lines.collect::<String>()).await;
        assert!(status == 200 && answer["errors"] == false, "{status} {answer}");
    }

    /// Lets a library write all its cells, at once; and once more those that it gave up.
    async fn run_library(&self, library: &str, cells: Vec<Arc<Cell>>) -> Vec<(Arc<Cell>, Outcome)> {
        let said = self.ask_library(library, &cells).await;
        let mut outcomes = Vec::new();
        let mut again = Vec::new();
        for (cell, said) in cells.into_iter().zip(said) {
            let stored = self.stored(&cell).await;
            let is_all = said.ok == DOCUMENTS && said.failed == 0 && said.error.is_none();
            let mut wrong = None;
            if is_all {
                wrong = self.wrong(&cell).await;
            } else {
                if stored.len() < said.ok {
                    wrong = Some(format!("only {} are stored", stored.len()));
                }
                again.push(Arc::clone(&cell));
            }
            let ends = if is_all { Ends::All } else { Ends::GivesUp };
            outcomes.push((cell, Outcome { ends, wrong, said: format!("{said:?}") }));
        }
        let said = self.ask_library(library, &again).await;
        for (cell, said) in again.iter().zip(said) {
            let (_, outcome) =
                outcomes.iter_mut().find(|(it, _)| it.cluster == cell.cluster).unwrap();
            let wrong = if said.ok == DOCUMENTS {
                self.wrong(cell).await
            } else {
                Some(format!("the second time it said {said:?}"))
            };
            outcome.wrong = outcome.wrong.take().or(wrong);
        }
        outcomes
    }

    /// What a library says of each cell.
    async fn ask_library(&self, library: &str, cells: &[Arc<Cell>]) -> Vec<Said> {
        if cells.is_empty() {
            return Vec::new();
        }
        // Killed when it takes too long.
        let mut command = Command::new("timeout");
        command.arg(DONE.as_secs().to_string()).arg(self.programs.join(library));
        for cell in cells {
            command
                .arg(cell.helper)
                .arg(format!("http://{}", cell.to))
                .arg(format!("logs-aws.cloudwatch-{}", self.namespace))
                .arg(&cell.file);
        }
        command.stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut said: Vec<Said> =
            text.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        said.sort_by_key(|it| it.job);
        assert_eq!(
            said.len(),
            cells.len(),
            "{library}: {} {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    /// Lets a shipper write one cell, until nothing is missing.
    async fn run_shipper(&self, cell: &Cell) -> Outcome {
        let mut running = self.start_shipper(cell).await;
        let complete = self.until_complete(cell, &mut running).await;
        let noted = running.end().await;
        let stored = self.stored(cell).await;
        let missing: Vec<_> = cell
            .events
            .iter()
            .filter(|it| !stored.contains_key(&it.audit_id))
            .map(|it| &it.audit_id)
            .collect();
        let twice = stored.values().filter(|it| **it > 1).count();
        let ends = match (missing.len(), twice) {
            (0, 0) => Ends::All,
            (0, _) => Ends::Twice,
            _ => Ends::Noted,
        };
        let wrong = match ends {
            _ if !complete => {
                Some(format!("{} are missing, or nothing was sent again", missing.len()))
            }
            Ends::All if cell.client != "telegraf" => self.wrong(cell).await,
            Ends::Noted if twice > 0 => Some(format!("{twice} are stored twice")),
            _ => None,
        };
        let lines = noted.lines().count();
        let said = format!("{} missing, {lines} lines noted, {twice} twice", missing.len());
        Outcome { ends, wrong, said }
    }

    async fn start_shipper(&self, cell: &Cell) -> Running {
        let (to, index, file) = (cell.to, self.index(cell), cell.file.as_path());
        match cell.client {
            "telegraf" => {
                self.elasticsearch.did(Method::PUT, &format!("/{index}"), &Value::Null).await;
                Running::Other(Shipper::telegraf(&self.programs, to, &index, file))
            }
            "rsyslog" => Running::Other(Shipper::rsyslog(&self.programs, to, &index, file)),
            _ => {
                let binary = self.filebeat.clone().unwrap();
                let start = move || Filebeat::start(&binary, &format!("http://{to}"), "");
                let filebeat = tokio::task::spawn_blocking(start).await.unwrap();
                filebeat.write(&[fs::read_to_string(file).unwrap()]);
                Running::Filebeat(filebeat)
            }
        }
    }

    /// Waits until each event is stored or noted, and what the fault befell has been sent again and answered.
    /// `false`: that has not come to pass in time.
    async fn until_complete(&self, cell: &Cell, running: &mut Running) -> bool {
        let deadline = Instant::now() + DONE;
        loop {
            sleep(LOOK).await;
            let noted = running.noted();
            let stored = self.stored(cell).await;
            let is_there =
                |it: &Event| stored.contains_key(&it.audit_id) || noted.contains(&it.audit_id);
            let is_over = ["", LASTING].contains(&cell.fault)
                || cell.expected() == Some(Ends::Noted)
                || cell.relay.has_answered_since(&cell.cluster);
            if is_over && cell.events.iter().all(is_there) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
        }
    }

    /// The index that a client names.
    fn index(&self, cell: &Cell) -> String {
        match cell.client {
            "telegraf" => format!("telegraf-{}", cell.cluster),
            _ => format!("logs-aws.cloudwatch-{}", self.namespace),
        }
    }

    /// How often each event of a cell is stored.
    async fn stored(&self, cell: &Cell) -> BTreeMap<String, usize> {
        let telegraf = cell.client == "telegraf";
        let (index, query) = if telegraf {
            (self.index(cell), all())
        } else {
            (stored::events_of(&self.namespace), of_cluster(cell))
        };
        self.elasticsearch.refresh(&index).await;
        let mut found = BTreeMap::new();
        for source in
            self.sources(&index, &query, &["kubernetes.audit.auditID", "audit.value"]).await
        {
            let id = if telegraf {
                let parsed = |value: &Value| -> Value {
                    serde_json::from_str(value.as_str().unwrap()).unwrap()
                };
                parsed(&parsed(&source["audit"]["value"])["message"])["auditID"].clone()
            } else {
                source["kubernetes"]["audit"]["auditID"].clone()
            };
            *found.entry(id.as_str().unwrap().to_owned()).or_default() += 1;
        }
        found
    }

    /// These fields of the documents that match.
    async fn sources(&self, index: &str, query: &Value, fields: &[&str]) -> Vec<Value> {
        let search = json!({ "query": query, "_source": fields, "size": DOCUMENTS * 10 });
        let path = format!("/{index}/_search");
        let answer = self.elasticsearch.did(Method::POST, &path, &search).await;
        let hits = answer["hits"]["hits"].as_array().unwrap();
        assert_eq!(answer["hits"]["total"]["value"], hits.len(), "one search must bring all");
        hits.iter().map(|it| it["_source"].clone()).collect()
    }

    /// What is wrong with a cell of which all is said to be stored.
    async fn wrong(&self, cell: &Cell) -> Option<String> {
        let stored = self.stored(cell).await;
        let expected: BTreeMap<_, _> =
            cell.events.iter().map(|it| (it.audit_id.clone(), 1)).collect();
        if stored != expected {
            let copies: usize = stored.values().sum();
            return Some(format!(
                "{} of {DOCUMENTS} events are stored, {copies} times",
                stored.len()
            ));
        }
        let index = format!("logs-k8scop.alerts-{}", self.namespace);
        self.elasticsearch.refresh(&index).await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let fields = ["kubernetes.audit.auditID", "message"];
        let found = self.sources(&index, &of_cluster(cell), &fields).await;
        let mut raised: Vec<_> = found
            .iter()
            .map(|it| (text(&it["kubernetes"]["audit"]["auditID"]), text(&it["message"])))
            .collect();
        raised.sort_unstable();
        let expected = alerts(&cell.events);
        (raised != expected).then(|| format!("{} alerts, not {}", raised.len(), expected.len()))
    }
}

/// A shipper at work.
enum Running {
    Filebeat(Filebeat),
    Other(Shipper),
}

impl Running {
    /// What it wrote down as not delivered.
    fn noted(&mut self) -> String {
        match self {
            Self::Filebeat(it) => it.assert_runs(),
            Self::Other(it) => it.assert_runs(),
        }
        if let Self::Other(it) = self { it.errors() } else { String::new() }
    }

    /// Ends it: nothing comes after that. Gives back what it wrote down as not delivered.
    async fn end(self) -> String {
        match self {
            Self::Filebeat(_) => String::new(),
            Self::Other(mut it) => {
                it.end().await;
                it.errors()
            }
        }
    }
}

fn of_cluster(cell: &Cell) -> Value {
    json!({ "term": { "orchestrator.cluster.name": cell.cluster } })
}

/// Every client with every fault.
async fn cells(scene: &Scene) -> Vec<Arc<Cell>> {
    let libraries = LIBRARIES
        .iter()
        .flat_map(|(client, helpers)| helpers.iter().map(move |helper| (*client, *helper)));
    let shippers = SHIPPERS.iter().filter(|it| **it != "filebeat" || scene.filebeat.is_some());
    let mut cells = Vec::new();
    for (client, helper) in libraries.chain(shippers.map(|it| (*it, ""))) {
        let (_, healthy, k8scop) = &scene.below[0];
        let add = |side, fault, to, relay| Cell::new(scene, client, helper, side, fault, to, relay);
        cells.push(add(Side::Below, "", k8scop.data, Arc::clone(healthy)));
        for (fault, what) in ABOVE {
            // rsyslog puts everything into its first request.
            let at = if client == "rsyslog" { 0 } else { 1 };
            let relay = Arc::new(Relay::start(k8scop.data, what, at).await);
            cells.push(add(Side::Above, fault, relay.address, relay));
        }
        for (fault, relay, k8scop) in scene.below.iter().skip(1) {
            cells.push(add(Side::Below, fault, k8scop.data, Arc::clone(relay)));
        }
    }
    cells.into_iter().map(Arc::new).collect()
}

impl Cell {
    fn new(
        scene: &Scene,
        client: &'static str,
        helper: &'static str,
        side: Side,
        fault: &'static str,
        to: SocketAddr,
        relay: Arc<Relay>,
    ) -> Self {
        let cluster = fresh("c");
        let events = events();
        let file = scene.folder.0.join(format!("{cluster}.ndjson"));
        let lines = events.iter().map(|it| format!("{}\n", document(&cluster, it)));
        fs::write(&file, lines.collect::<String>()).unwrap();
        Self { client, helper, side, fault, cluster, events, file, to, relay }
    }

    /// `None`: any end will do that is an honest one.
    fn expected(&self) -> Option<Ends> {
        // Telegraf's documents have no `_id` (see `Shipper::telegraf`), and it waits 5 s for an answer: on a busy
        // machine any of its batches may come twice.
        if self.fault == LASTING || self.client == "telegraf" {
            return None;
        }
        let is_it = |(clients, side, faults, ..): &&Exception| {
            clients.contains(&self.client) && *side == self.side && faults.contains(&self.fault)
        };
        Some(EXCEPTIONS.iter().find(is_it).map_or(Ends::All, |(_, _, _, ends, _)| *ends))
    }

    fn name(&self) -> String {
        format!("{} {}", self.client, self.helper)
    }
}

/// Real events of kubectl, each under an auditID of its own.
fn events() -> Vec<Event> {
    let sources: Vec<Event> =
        commands(&kept_commands()).into_iter().flat_map(|(_, events)| events).collect();
    let now = Timestamp::now();
    let told = sources.iter().cycle().take(DOCUMENTS).enumerate().map(|(number, event)| {
        let at = now - SignedDuration::from_millis(137) * i32::try_from(number).unwrap();
        let id =
            format!("{:08x}-0000-4000-8000-{:012x}", fastrand::u32(..), fastrand::u64(..1 << 48));
        event.retold(&id, at, at)
    });
    told.collect()
}

/// As EKS writes it to CloudWatch, and Filebeat reads it there.
fn document(cluster: &str, event: &Event) -> Value {
    json!({
        "@timestamp": event.time,
        "message": event.text,
        "aws": { "cloudwatch": {
            "log_group": format!("/aws/eks/{cluster}/cluster"),
            "log_stream": "kube-apiserver-audit-0a1b",
        } },
    })
}

/// The table, and the cells that are not as they should be.
fn summary(outcomes: &[(Arc<Cell>, Outcome)]) -> (String, Vec<String>) {
    let mut rows: BTreeMap<String, BTreeMap<(Side, &str), String>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (cell, outcome) in outcomes {
        let side = if cell.side == Side::Above { "above" } else { "below" };
        let name = format!("{}, {} {side}", cell.name(), cell.fault);
        let mark = if let Some(what) = &outcome.wrong {
            wrong.push(format!("{name}: {what}; {}", outcome.said));
            "!"
        } else if !cell.fault.is_empty() && !cell.relay.was_faulty(&cell.cluster) {
            wrong.push(format!("{name}: the fault did not happen; {}", outcome.said));
            "!"
        } else if let Some(expected) = cell.expected()
            && outcome.ends != expected
        {
            wrong.push(format!("{name}: {}, not {expected}; {}", outcome.ends, outcome.said));
            "!"
        } else {
            ""
        };
        let text = format!("{}{mark}", outcome.ends);
        rows.entry(cell.name()).or_default().insert((cell.side, cell.fault), text);
    }
    let columns = ABOVE.iter().map(|(it, _)| (Side::Above, *it));
    let columns: Vec<_> = [(Side::Below, "")]
        .into_iter()
        .chain(columns)
        .chain(BELOW.iter().map(|(it, _)| (Side::Below, *it)))
        .collect();
    let mut table =
        format!("^ between client and k8scop, v between k8scop and Elasticsearch\n{:33}", "");
    for (side, fault) in &columns {
        let side = if *side == Side::Above { "^" } else { "v" };
        let heading =
            if fault.is_empty() { "no fault".to_owned() } else { format!("{side} {fault}") };
        table.push_str(&format!("{heading:16}"));
    }
    for (name, row) in rows {
        table.push_str(&format!("\n{name:33}"));
        for column in &columns {
            table.push_str(&format!("{:16}", row.get(column).map_or("", |it| it)));
        }
    }
    wrong.sort();
    (table, wrong)
}
