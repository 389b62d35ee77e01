//! What one core classifies: bytes of audit events in, verdicts out, next to what others take for the same.
//!
//! Every figure is a ratio of two measurements of one run. What they mean is told in `README.md` beside this file.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "the table is what this program is for, and it has nobody to recover for"
)]

use std::{
    env, fs,
    hint::black_box,
    path::{Path, PathBuf},
};

mod cpu_time;
mod generated;
use cpu_time::{CpuTime, median};
use criterion::{Criterion, Throughput};
use k8scop::{
    classify::Classifier,
    event::AuditEvent,
    json,
    rules::{self, Lists, Mode, Options, Rule},
};
use regex::Regex;
use rsigma_eval::{Engine, JsonEvent};

/// Deepest event that is read (levels), as `limits.depth_max` has it by default.
const DEPTH_MAX: usize = 100;
/// Events of this size and more are left out: the figures are for events of about 1 KB.
const EVENT_BYTES_MAX: usize = 4096;

fn main() {
    let events = events();
    let bytes: usize = events.iter().map(String::len).sum();
    println!("{} events, {} bytes each", events.len(), bytes / events.len().max(1));
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let built_in = k8scop::config::built_in_rules().expect("the built-in rules are good").rules;
    let mut bench = Bench { criterion: &mut criterion, events: &events };

    bench.measure("read/json", |text| {
        let mut members = Vec::with_capacity(20);
        black_box(json::object(text, DEPTH_MAX, &mut members).is_ok());
    });
    bench.measure("read/all", |text| {
        black_box(read(text).members.len());
    });
    bench.classifier("pack/20", built_in.iter().take(20).cloned().collect());
    bench.classifier("pack/full", built_in.clone());
    // A name that is written with an escape: nothing is remembered of such events.
    let odd: Vec<String> =
        events.iter().map(|it| it.replacen("\"verb\"", "\"v\\u0065rb\"", 1)).collect();
    bench.events = &odd;
    bench.classifier("pack/nothing remembered", built_in);
    bench.events = &events;
    bench.classifier("generated/100", generated(100));
    bench.classifier("generated/1000", generated(1000));
    bench.classifier("generated/10000", generated(10_000));
    let written: Vec<Regex> = (0..1000).map(written).collect();
    bench.measure("generated/one after the other", |text| {
        black_box(written.iter().filter(|it| it.is_match(text)).count());
    });
    let regexes = regexes(1000);
    bench.classifier("regexes/k8scop", regexes.iter().map(|(rule, _)| rule.clone()).collect());
    bench.measure("regexes/one after the other", |text| {
        black_box(regexes.iter().filter(|(_, regexes)| regexes.in_text.is_match(text)).count());
    });
    bench.measure("regexes/on the field alone", |text| {
        let event = read(text);
        let uri = event.request_uri.as_deref().unwrap_or_default();
        black_box(regexes.iter().filter(|(_, regexes)| regexes.in_uri.is_match(uri)).count());
    });
    match env::var_os("K8SCOP_SIGMA").map(PathBuf::from) {
        Some(folder) => bench.sigma(&folder),
        None => eprintln!("K8SCOP_SIGMA names no copy of SigmaHQ's rules: rsigma is not measured"),
    }
    criterion.final_summary();
    ratios();
}

fn read(text: &str) -> AuditEvent<'_> {
    let mut members = Vec::with_capacity(20);
    json::object(text, DEPTH_MAX, &mut members).expect("an event is JSON");
    AuditEvent::new(text, members)
}

struct Bench<'c, 'e> {
    criterion: &'c mut Criterion<CpuTime>,
    events: &'e [String],
}

impl Bench<'_, '_> {
    fn measure(&mut self, name: &str, each: impl Fn(&str)) {
        let mut group = self.criterion.benchmark_group(name.split('/').next().unwrap_or(name));
        group.throughput(Throughput::Elements(self.events.len() as u64)).sample_size(20);
        let events = self.events;
        group.bench_function(name.split('/').nth(1).unwrap_or("all"), |it| {
            it.iter(|| events.iter().for_each(|it| each(it)));
        });
        group.finish();
    }

    fn classifier(&mut self, name: &str, rules: Vec<Rule>) {
        let classifier = Classifier::new(rules).expect("rules compile");
        self.measure(name, |text| {
            black_box(classifier.classify(&read(text)));
        });
    }

    fn sigma(&mut self, folder: &Path) {
        let mut files = Vec::new();
        collect(folder, &mut files);
        let kubernetes: Vec<&(String, String)> =
            files.iter().filter(|(name, _)| name.contains("kubernetes/audit")).collect();
        let all: Vec<&(String, String)> = files.iter().collect();
        for (group, files) in [("kubernetes", kubernetes), ("sigma", all)] {
            let options = Options { mode: Mode::Any };
            let read = |(name, text): &(String, String)| {
                let documents = rules::documents(name, text).ok()?;
                rules::rule(documents.first()?, &options, &Lists::default()).ok()
            };
            let ours: Vec<Rule> = files.iter().filter_map(|it| read(it)).collect();
            let mut engine = Engine::new();
            let mut collection = rsigma_parser::SigmaCollection::default();
            for (_, text) in &files {
                if let Ok(parsed) = rsigma_parser::parse_sigma_yaml(text) {
                    collection.rules.extend(parsed.rules);
                }
            }
            let refused = engine.add_rules(&collection.rules).len();
            println!(
                "{group}: {} rules here, {} there ({refused} refused)",
                ours.len(),
                engine.rule_count()
            );
            self.classifier(&format!("{group}/k8scop"), ours);
            self.measure(&format!("{group}/rsigma"), |text| {
                let value: serde_json::Value =
                    serde_json::from_str(text).expect("an event is JSON");
                black_box(engine.evaluate(&JsonEvent::borrow(&value)));
            });
        }
    }
}

/// Events of a healthy cluster, or those of `K8SCOP_BENCH_EVENTS` (NDJSON).
fn events() -> Vec<String> {
    let text = match env::var_os("K8SCOP_BENCH_EVENTS") {
        Some(file) => fs::read_to_string(file).expect("K8SCOP_BENCH_EVENTS is a file"),
        None => {
            let packed = include_bytes!("../tests/data/attack/healthy.ndjson.zst");
            let bytes = zstd::decode_all(packed.as_slice()).expect("zstd");
            String::from_utf8(bytes).expect("JSON is UTF-8")
        }
    };
    text.lines()
        .filter(|it| it.len() < EVENT_BYTES_MAX && !it.is_empty())
        .map(str::to_owned)
        .collect()
}

/// As many rules as asked, alike and all different: what an organisation has for its own names.
fn generated(count: usize) -> Vec<Rule> {
    let rule = |at: usize| {
        let (lines, own) = generated::lines(at);
        made(at, &format!("  a: {{{lines}, {own}}}\n  condition: a"))
    };
    (0..count).map(rule).collect()
}

/// The same as a regex over the event as it is written, as K8sCop had its rules.
fn written(at: usize) -> Regex {
    let (verb, resource) = generated::verb_and_resource(at);
    let verb = format!(r#""verb":"{verb}""#);
    let resource = format!(r#""objectRef":\{{"resource":"{resource}""#);
    let regex = match at % 5 {
        0 => format!(r#"{verb}.*{resource}[^}}]*"name":"app-{at}""#),
        1 => format!(r#"{verb},"user":\{{"username":"user-{at}@example\.com".*{resource}"#),
        2 => format!(r#"{verb}.*"userAgent":"[^"]*tool-{at}/.*{resource}"#),
        3 => format!(r#""requestURI":"[^"]*/namespaces/team-{at}/[^"]*",{verb}.*{resource}"#),
        _ => format!(r#"{verb}.*{resource}.*"image":"registry\.example/team-{at}/"#),
    };
    Regex::new(&regex).expect("a good regex")
}

/// What a rule's regex is for those that try one after the other.
struct Regexes {
    /// In the whole event, as it is done where nothing is read.
    in_text: Regex,
    in_uri: Regex,
}

/// Rules of one regex each, and the regexes.
fn regexes(count: usize) -> Vec<(Rule, Regexes)> {
    let one = |at: usize| {
        let path = format!("/api/v1/namespaces/team-{at}/(pods|secrets)/[a-z0-9-]+");
        let rule = made(at, &format!("  a: {{requestURI|re: '^{path}$'}}\n  condition: a"));
        let regex = |text: &str| Regex::new(text).expect("a good regex");
        let in_text = regex(&format!("\"requestURI\":\"{path}\""));
        (rule, Regexes { in_text, in_uri: regex(&format!("^{path}$")) })
    };
    (0..count).map(one).collect()
}

fn made(at: usize, detection: &str) -> Rule {
    rules::parse("generated.yml", &generated::rule(at, detection))
        .expect("a generated rule is good")
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|it| it == "yml")
            && let Ok(text) = fs::read_to_string(&path)
        {
            files.push((path.display().to_string(), text));
        }
    }
}

fn ratios() {
    for (what, one, other, wanted) in [
        (
            "rsigma / k8scop, Kubernetes rules of SigmaHQ",
            "kubernetes/rsigma",
            "kubernetes/k8scop",
            "≥ 4",
        ),
        ("rsigma / k8scop, all rules of SigmaHQ", "sigma/rsigma", "sigma/k8scop", "≥ 10"),
        ("full pack / 20 rules", "pack/full", "pack/20", "≤ 1.1"),
        ("10,000 generated rules / 100", "generated/10000", "generated/100", "≤ 1.5"),
        (
            "1,000 regexes, one after the other / as 1,000 rules",
            "generated/one after the other",
            "generated/1000",
            "≥ 100",
        ),
        (
            "1,000 regexes that begin with a text / as rules",
            "regexes/one after the other",
            "regexes/k8scop",
            "-",
        ),
        (
            "the same, on their field alone / as rules",
            "regexes/on the field alone",
            "regexes/k8scop",
            "-",
        ),
        ("full pack, nothing remembered / remembered", "pack/nothing remembered", "pack/full", "-"),
        ("full pack / reading alone", "pack/full", "read/all", "-"),
    ] {
        if let (Some(one), Some(other)) = (median(one), median(other)) {
            println!("{what:<50} {:>8.2}  (wanted: {wanted})", one / other);
        }
    }
}
