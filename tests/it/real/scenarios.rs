//! Scenarios run twice: `tests/scenarios/*.yml` against an engine itself and through k8scop, with the same
//! expectations, and the two answers are compared. What we chose to answer otherwise stands in
//! `docs/differences.md`.

mod answer;
mod format;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    io::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use self::{
    answer::Answer,
    format::{Differs, PassThrough, Request, Scenario},
};
use super::{
    elasticsearch::Elasticsearch,
    parts::{ELASTICSEARCH, fresh, part, root, tell},
};
use crate::harness::K8scop;

/// Engines: `NAME=URL`, with commas between them. Without it, [`ELASTICSEARCH`] is `es8`.
const ENGINES: &str = "K8SCOP_TEST_ENGINES";
/// The engines that there are.
const NAMES: [&str; 5] = ["es7", "es8", "es9", "os2", "os3"];
/// Part of the name of the scenarios to run, or of their file.
const ONLY: &str = "K8SCOP_TEST_SCENARIOS";
/// A file to which is appended what was answered, to write expectations from.
const FOUND: &str = "K8SCOP_TEST_FOUND";

/// Scenarios that run at a time.
const AT_A_TIME: usize = 6;
/// Patterns of indices that are removed with one request.
const REMOVE_AT_ONCE: usize = 20;
/// What fails for good is told after this long, instead of after 30 s.
const IMPATIENT: &str = "limits: { request_deadline_s: 5 }";

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_7() {
    run("es7").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_8() {
    run("es8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn elasticsearch_9() {
    run("es9").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_2() {
    run("os2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opensearch_3() {
    run("os3").await;
}

#[test]
fn every_difference_has_its_row() {
    let (used, listed) = (BTreeSet::from_iter(differences().map(|(_, it)| it.id)), rows());
    assert!(!listed.is_empty());
    assert_eq!(used, listed, "scenarios (left) and docs/differences.md (right) must tell the same");
}

#[test]
fn scenarios_are_whole() {
    let mut names = BTreeSet::new();
    for (theme, it) in format::load() {
        let told = format!("{theme}: {}", it.name);
        assert!(names.insert(it.name.clone()), "{told} is there twice");
        assert!(!it.requests.is_empty(), "{told} asks nothing");
        let engines: Vec<_> = NAMES.into_iter().filter(|name| it.engines.have(name)).collect();
        assert!(!engines.is_empty(), "{told} runs nowhere");
        for (request, engine) in
            it.requests.iter().flat_map(|it| engines.iter().map(move |engine| (it, engine)))
        {
            let is_told = request.expect.iter().any(|it| it.when.have(engine));
            assert!(is_told, "{told}, {}: nothing is expected of {engine}", request.send);
        }
    }
    assert!(names.len() >= 170, "only {} scenarios", names.len());
}

fn differences() -> impl Iterator<Item = (String, Differs)> {
    let requests = |it: Scenario| it.requests.into_iter().flat_map(|it| it.differs);
    format::load().into_iter().flat_map(move |(_, it)| {
        let name = it.name.clone();
        requests(it).map(move |it| (name.clone(), it))
    })
}

/// The names of the rows of the table of differences.
fn rows() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/differences.md")).unwrap();
    let name = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
    text.lines().filter_map(name).collect()
}

/// Where an engine is. `None`: the test is to be skipped, and it has been said.
pub fn engine_url(engine: &str) -> Option<String> {
    let test = format!("what runs on {engine}");
    let Some(all) = env::var(ENGINES).ok().filter(|it| !it.is_empty()) else {
        if engine == "es8" {
            return part(&test, ELASTICSEARCH);
        }
        return part(&test, ENGINES);
    };
    let mut named = all.split(',').filter_map(|it| it.trim().split_once('='));
    let url = named.find(|(name, _)| *name == engine).map(|(_, url)| url.to_owned());
    if url.is_none() {
        assert!(env::var_os("CI").is_none(), "{test}: not in {ENGINES}");
        tell(format_args!("SKIPPED {test}: not in {ENGINES}"));
    }
    url
}

/// One of the two ways to an engine.
struct Way {
    /// Host and port.
    address: String,
    /// What all its names begin with.
    prefix: String,
}

/// An engine, and k8scop before it.
struct Ways {
    engine: &'static str,
    elasticsearch: Elasticsearch,
    direct: Way,
    through: Way,
    /// The same, with all calls passed through.
    through_all: Way,
    /// The same, for what would disturb the others.
    alone: Way,
    /// Patterns of the indices of scenarios that are over.
    to_remove: Mutex<Vec<String>>,
}

async fn run(engine: &'static str) {
    let Some(url) = engine_url(engine) else { return };
    let k8scop = K8scop::start(&format!("output: {url}\n")).await;
    let open = format!("output: {url}\npass_through: {{ allow: all }}\n");
    let open = K8scop::start(&open).await;
    let alone = K8scop::start(&format!("output: {url}\n{IMPATIENT}\n")).await;
    let elasticsearch = Elasticsearch::new(&url);
    let way = |address: String, name: &str| Way { address, prefix: fresh(name) };
    let ways = Arc::new(Ways {
        engine,
        direct: way(elasticsearch.url.trim_start_matches("http://").into(), "scenario-d-"),
        through: way(k8scop.data.to_string(), "scenario-k-"),
        through_all: way(open.data.to_string(), "scenario-a-"),
        alone: way(alone.data.to_string(), "scenario-o-"),
        elasticsearch,
        to_remove: Mutex::default(),
    });

    let only = env::var(ONLY).unwrap_or_default();
    let scenarios: Arc<Vec<_>> = Arc::new(
        format::load()
            .into_iter()
            .filter(|(theme, it)| it.name.contains(&only) || theme.contains(&only))
            .filter(|(_, it)| it.engines.have(engine))
            .collect(),
    );
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (ways, scenarios, next) =
            (Arc::clone(&ways), Arc::clone(&scenarios), Arc::clone(&next));
        tasks.spawn(async move {
            let mut told = BTreeMap::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some((theme, scenario)) = scenarios.get(number) else { break told };
                let wrong = ways.play(number, scenario).await;
                told.insert((theme.clone(), scenario.name.clone()), wrong);
            }
        });
    }
    let mut told = BTreeMap::new();
    for part in tasks.join_all().await {
        told.extend(part);
    }
    ways.tidy_up().await;

    let chosen = scenarios.iter().filter(|(_, it)| {
        it.requests.iter().flat_map(|it| &it.differs).any(|it| it.when.have(engine))
    });
    let failed: Vec<_> = told
        .iter()
        .filter(|(_, wrong)| !wrong.is_empty())
        .map(|((theme, name), wrong)| format!("{theme}: {name}\n  {}", wrong.join("\n  ")))
        .collect();
    let (all, chosen) = (scenarios.len(), chosen.count());
    tell(format_args!(
        "{engine}: {all} scenarios, {chosen} with a difference that we chose, {} fail",
        failed.len()
    ));
    let warned = |it: &K8scop| {
        it.log()
            .lines()
            .filter(|it| it.contains("WARN"))
            .map(|it| format!("{it}\n"))
            .collect::<String>()
    };
    assert!(
        failed.is_empty(),
        "{engine}: {} of {all} fail:\n{}\nk8scop said:\n{}",
        failed.len(),
        failed.join("\n"),
        [&k8scop, &open].map(warned).concat()
    );
}

impl Ways {
    /// What is wrong.
    async fn play(&self, number: usize, scenario: &Scenario) -> Vec<String> {
        let through = match scenario.pass_through {
            _ if scenario.alone => &self.alone,
            PassThrough::Usual => &self.through,
            PassThrough::All => &self.through_all,
        };
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        for (way, answers) in [(&self.direct, &mut expected), (through, &mut found)] {
            let index = format!("{}-{number:03}", way.prefix);
            for line in &scenario.setup {
                if let Err(failed) = self.set_up(line, &index).await {
                    return vec![failed];
                }
            }
            let mut rest = scenario.requests.as_slice();
            while !rest.is_empty() {
                let together = rest.iter().take_while(|it| it.pipelined).count() + 1;
                let (these, later) = rest.split_at(together.min(rest.len()));
                let address = if these[0].direct { &self.direct.address } else { &way.address };
                let these: Vec<_> = these.iter().collect();
                let raw = wire::exchange(address, &these, |it| named(it, &index)).await;
                answers.extend(raw.iter().map(|it| Answer::new(it, &index)));
                rest = later;
            }
            self.remove(Some(index)).await;
        }
        let mut wrong = Vec::new();
        for (step, request) in scenario.requests.iter().enumerate() {
            let said = self.compare(request, &expected[step], &found[step]);
            wrong
                .extend(said.into_iter().map(|it| format!("{}. {}: {it}", step + 1, request.send)));
            self.note(scenario, step, self.engine, &expected[step]);
            self.note(scenario, step, "k8scop", &found[step]);
        }
        wrong
    }

    fn compare(&self, request: &Request, expected: &Answer, found: &Answer) -> Vec<String> {
        let Some(expect) = request.expect.iter().find(|it| it.when.have(self.engine)) else {
            return vec![format!("nothing is expected of {}", self.engine)];
        };
        let differs = request.differs.iter().find(|it| it.when.have(self.engine));
        let mut wrong = Vec::new();
        let mut told = |who: &str, said: Vec<String>| {
            wrong.extend(said.into_iter().map(|it| format!("{who}: {it}")));
        };
        told(self.engine, expected.check(expect));
        let chosen = differs.map_or(Some(expect), |it| it.k8scop.as_ref());
        told("k8scop", chosen.map(|it| found.check(it)).unwrap_or_default());

        let same = |names: &[String]| {
            let without = |it: &Answer| it.without(names).comparable(self.engine);
            without(expected).equals(&without(found), request.layout && names.is_empty())
        };
        // A header that is never compared can still be one that we chose.
        let is_chosen = |it: &Differs| {
            !same(&[]) || it.k8scop.as_ref().is_some_and(|it| !expected.check(it).is_empty())
        };
        let complaint = match differs {
            None if !same(&[]) => "the answers differ",
            Some(it) if !is_chosen(it) => "the answers do not differ any more",
            Some(it) if !it.only.is_empty() && !same(&it.only) => {
                "the answers differ in more than we chose"
            }
            _ => return wrong,
        };
        wrong.push(format!("{complaint}:\n    {expected:?}\n    {found:?}"));
        wrong
    }

    async fn set_up(&self, line: &str, index: &str) -> Result<(), String> {
        let mut words = line.splitn(3, ' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let body = named(words.next().unwrap_or_default(), index);
        let method = method.parse().unwrap();
        let (status, answer) = self.elasticsearch.ask(method, &named(path, index), body).await;
        if status < 300 { Ok(()) } else { Err(format!("{line}: {status} {answer}")) }
    }

    /// Removes the indices of a scenario, some time: a node has room for so many, and no more.
    async fn remove(&self, index: Option<String>) {
        let patterns = {
            let mut waiting = self.to_remove.lock().unwrap();
            let is_last = index.is_none();
            waiting.extend(index.map(|it| it + "*"));
            if waiting.len() < REMOVE_AT_ONCE && !is_last {
                return;
            }
            std::mem::take(&mut *waiting).join(",")
        };
        let path = format!("/_cat/indices/{patterns}?h=index&format=json&expand_wildcards=all");
        let (_, listed) = self.elasticsearch.ask(Method::GET, &path, "").await;
        let listed = listed.as_array().into_iter().flatten().filter_map(|it| it["index"].as_str());
        let names: Vec<_> = listed.filter(|it| !it.starts_with(".ds-")).collect();
        if !names.is_empty() {
            self.elasticsearch.ask(Method::DELETE, &format!("/{}", names.join(",")), "").await;
        }
    }

    /// Removes the rest, as far as the engine can: some have no call to remove a data stream.
    async fn tidy_up(&self) {
        self.remove(None).await;
        for way in [&self.direct, &self.through, &self.through_all, &self.alone] {
            let prefix = &way.prefix;
            for path in [
                format!("/_data_stream/{prefix}*"),
                format!("/_index_template/{prefix}*"),
                format!("/_component_template/{prefix}*"),
                format!("/_template/{prefix}*"),
                format!("/_ingest/pipeline/{prefix}*"),
            ] {
                self.elasticsearch.ask(Method::DELETE, &path, "").await;
            }
        }
    }

    fn note(&self, scenario: &Scenario, step: usize, by: &str, answer: &Answer) {
        let Some(path) = env::var_os(FOUND) else { return };
        let line = json!({
            "engine": self.engine, "by": by, "scenario": scenario.name, "step": step, "status": answer.status,
            "items": answer.items(), "error": answer.error(), "headers": answer.headers, "text": answer.text,
        });
        let mut file = fs::File::options().append(true).create(true).open(path).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// With the names of one way: `{i}` is its own. `{most}` is as long as an `_id` may be, `{long}` one longer.
fn named(text: &str, index: &str) -> String {
    text.replace("{i}", index)
        .replace("{most}", &"x".repeat(512))
        .replace("{long}", &"x".repeat(513))
}
