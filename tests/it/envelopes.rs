//! What becomes of every envelope: golden files, `tests/data/envelopes/NAME.in.*` and `NAME.out.ndjson`. With
//! `UPDATE_EXPECT=1` the latter are written.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use k8scop::{
    bulk::Defaults,
    classify::Classifier,
    config::{self, Overrides},
    prepare::{Counts, Preparer},
    rules,
};
use serde_json::{Value, json, value::RawValue};
use sha2::{Digest, Sha256};

use crate::real::{
    attack::unpacked,
    parts::{self, root, tell},
};

pub fn preparer() -> Preparer {
    let config = config::meant(config::Raw::default(), Overrides::default()).unwrap();
    let folder = root().join("tests/data/stream_rules");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "yml"));
    files.sort();
    let text = |it: &PathBuf| fs::read_to_string(it).unwrap();
    let rules = files.iter().map(|it| rules::parse("t.yml", &text(it)).unwrap()).collect();
    Preparer::new(config.policy, Classifier::new(rules).unwrap())
}

fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

fn dir() -> PathBuf {
    root().join("tests/data/envelopes")
}

const ACTION: &str = r#"{"create":{"_index":"logs-in-default"}}"#;

/// A bulk body of a file: as it is, or with each of its JSON values as a document.
fn body_of(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    if path.to_string_lossy().contains(".bulk.") {
        return text;
    }
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<&RawValue>();
    documents.map(|it| format!("{ACTION}\n{}\n", on_one_line(it.unwrap().get()))).collect()
}

fn on_one_line(json: &str) -> String {
    json.replace(['\r', '\n'], " ")
}

/// Lines that go out, and what was found.
fn outgoing(preparer: &Preparer, body: &str) -> (Vec<String>, Counts) {
    let prepared = preparer.prepare(body.as_bytes(), &Defaults::default(), now()).unwrap();
    let all: Vec<usize> = (0..prepared.batch.slot_count()).collect();
    let body = String::from_utf8(prepared.batch.body_of(&all).to_vec()).unwrap();
    (body.lines().map(str::to_owned).collect(), prepared.counts)
}

/// Actions and documents of the audit events that go out.
fn events(preparer: &Preparer, body: &str) -> Vec<(String, String)> {
    let (lines, _) = outgoing(preparer, body);
    let events = lines.chunks(2).filter(|it| {
        it[0].contains("logs-kubernetes.audit_logs-") && it[1].contains("\"duration\"")
    });
    events.map(|it| (it[0].clone(), it[1].clone())).collect()
}

/// Whether what goes out is what `expected` holds; what differs first, if not.
fn check(expected: &Path, lines: &[String]) {
    let pair = |it: &[String]| format!("{{\"action\":{},\"document\":{}}}\n", it[0], it[1]);
    let text: String = lines.chunks(2).map(pair).collect();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(expected, &text).unwrap();
    }
    let golden = fs::read_to_string(expected).unwrap_or_default();
    for (number, (is, should)) in text.lines().zip(golden.lines()).enumerate() {
        assert_eq!(is, should, "{}:{}", expected.display(), number + 1);
    }
    assert_eq!(text.lines().count(), golden.lines().count(), "{}", expected.display());
}

/// All inputs by name.
fn inputs() -> Vec<(String, PathBuf)> {
    let files = fs::read_dir(dir()).unwrap().map(|it| it.unwrap().path());
    let name = |file: PathBuf| {
        let (name, _) = file.file_name()?.to_str()?.split_once(".in.")?;
        Some((name.to_owned(), file))
    };
    let mut inputs: Vec<_> = files.filter_map(name).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "no files in {}", dir().display());
    inputs
}

/// All documents of all inputs, each on one line.
pub fn documents() -> Vec<String> {
    let bodies = inputs().into_iter().map(|(_, file)| body_of(&file));
    let lines = |body: String| body.lines().map(str::to_owned).collect::<Vec<_>>();
    bodies.flat_map(|it| lines(it).into_iter().skip(1).step_by(2)).collect()
}

#[test]
fn golden() {
    let preparer = preparer();
    for (name, file) in inputs() {
        let (lines, _) = outgoing(&preparer, &body_of(&file));
        check(&dir().join(format!("{name}.out.ndjson")), &lines);
    }
}

/// `kubernetes.audit` of an event: annotation keys as Elastic's rules spell them, bodies without their metadata, the
/// true address.
fn stored(event: &str) -> Value {
    let mut event: Value = serde_json::from_str(event).unwrap();
    let annotations = event["annotations"].as_object().unwrap().iter();
    event["annotations"] =
        annotations.map(|(key, value)| (key.replace('.', "_"), value.clone())).collect();
    for body in ["requestObject", "responseObject"] {
        if let Some(body) = event.get_mut(body) {
            body.as_object_mut().unwrap().shift_remove("metadata");
        }
    }
    event["peer_ip"] = event["sourceIPs"].as_array().unwrap().last().unwrap().clone();
    event
}

/// Inputs that carry events of the API server as it wrote them, and how often each of the three.
const NATIVE: [(&str, [usize; 3]); 37] = [
    ("aks_bare_records", [1, 1, 1]),
    ("aks_filebeat", [3, 4, 3]),
    ("aks_loganalytics", [2, 2, 3]),
    ("aks_logstash", [2, 2, 2]),
    ("aks_records", [1, 1, 1]),
    ("cloudwatch_subscription", [3, 3, 3]),
    ("cloudwatch_subscription_in_message", [5, 5, 5]),
    ("docker_log", [1, 1, 1]),
    ("dotted_keys", [1, 1, 1]),
    ("eks_agent_nested", [1, 1, 1]),
    ("eks_decode_json_fields", [1, 1, 1]),
    ("eks_filebeat_dotted", [1, 1, 1]),
    ("eks_firehose_elastic", [1, 1, 1]),
    ("eks_logstash", [1, 1, 1]),
    ("eks_only_deprecated", [1, 1, 0]),
    ("eks_serverless_forwarder", [2, 2, 2]),
    ("elastic_aws_eks", [1, 1, 1]),
    ("elastic_azure_platformlogs", [1, 1, 1]),
    ("elastic_kubernetes", [1, 1, 1]),
    ("event_original", [1, 1, 1]),
    ("firehose_concatenated", [1, 1, 1]),
    ("firehose_extracted", [1, 1, 1]),
    ("firehose_request", [1, 1, 1]),
    ("firehose_transform", [1, 1, 1]),
    ("fluent_bit", [1, 1, 1]),
    ("fluentd_2019", [1, 1, 1]),
    ("gelf", [2, 1, 1]),
    ("kinesis", [1, 1, 1]),
    ("lambda", [2, 2, 2]),
    ("lines", [5, 2, 2]),
    ("logstash_json_target", [1, 1, 1]),
    ("openshift_otlp", [2, 1, 1]),
    ("openshift_viaq", [1, 1, 1]),
    ("openshift_viaq_in_message", [1, 1, 1]),
    ("other_texts", [5, 0, 0]),
    ("root_keys", [1, 1, 1]),
    ("webhook", [3, 2, 2]),
];

#[test]
fn the_same_events_come_out_of_every_carrier() {
    let preparer = preparer();
    let text = fs::read_to_string(dir().join("events.ndjson")).unwrap();
    let stored: Vec<Value> = text.lines().map(stored).collect();
    for (name, expected) in NATIVE {
        let (_, file) = inputs().into_iter().find(|(it, _)| it == name).expect(name);
        let mut found = [0; 3];
        for (_, document) in events(&preparer, &body_of(&file)) {
            let mut document: Value = serde_json::from_str(&document).unwrap();
            let mut audit = document["kubernetes"]["audit"].take();
            audit.as_object_mut().unwrap().shift_remove("aks_metadata");
            if let Some(place) = stored.iter().position(|it| *it == audit) {
                found[place] += 1;
            }
        }
        assert_eq!(found, expected, "{name}");
    }
}

/// What k8scop wrote may come to it again, when an index is written anew: it stays as it is, under its `_id`.
#[test]
fn what_was_written_is_found_again_and_stays() {
    let preparer = preparer();
    let mut count = 0;
    for (name, file) in inputs() {
        for (action, document) in events(&preparer, &body_of(&file)) {
            let again = events(&preparer, &format!("{ACTION}\n{document}\n"));
            assert_eq!(again.len(), 1, "{name}: {document}");
            // Half a surrogate pair is JSON, but no text.
            if document.contains("ud800") {
                continue;
            }
            let [first, second] = [&document, &again[0].1].map(|it| written_of(it));
            assert_eq!(first, second, "{name}");
            let [first, second] = [&action, &again[0].0].map(|it| id_of(it));
            if first.len() == 32 {
                assert_eq!(first, second, "{name}: {document}");
            }
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

/// A document without what only says how it came here.
fn written_of(document: &str) -> Value {
    let mut document: Value = serde_json::from_str(document).unwrap();
    document["data_stream"]["namespace"].take();
    // Told from the bodies, whose metadata is gone by then.
    document["k8scop"]["kubectl"].take();
    document
}

fn id_of(action: &str) -> String {
    let action: Value = serde_json::from_str(action).unwrap();
    action["create"]["_id"].as_str().unwrap_or_default().to_owned()
}

const EVENT: &str =
    r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"Panic","verb":"get"}"#;
const SHAPE_BYTES: usize = 1 << 20;

/// One text so often that it is as large as a shape is to be.
fn many(text: &str) -> String {
    text.repeat(SHAPE_BYTES / text.len())
}

fn list(element: &str) -> String {
    format!("[{}]", vec![element; SHAPE_BYTES / (element.len() + 1)].join(","))
}

fn nested(open: &str, close: &str) -> String {
    let depth = SHAPE_BYTES / (open.len() + close.len());
    format!("{}{EVENT}{}", open.repeat(depth), close.repeat(depth))
}

/// In gzip and base64.
pub fn gzip(data: &str) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data.as_bytes()).unwrap();
    BASE64_STANDARD.encode(encoder.finish().unwrap())
}

/// Bulk bodies of about 1 MiB (of what is compressed, 1 MiB decompressed) that were made to cost much.
fn shapes() -> Vec<(&'static str, String)> {
    let message = |text: &str| json!({ "message": text }).to_string();
    let logs = |group: &str, events: &str| {
        format!(
            r#"{{"messageType":"DATA_MESSAGE","logGroup":"{group}","logStream":"kube-apiserver-audit-0","logEvents":{events}}}"#
        )
    };
    let group = "/aws/eks/plum/cluster";
    let said = |text: &str| json!({"id": "1", "timestamp": 1, "message": text}).to_string();
    let open = &EVENT[..60];
    let split =
        [said(open), said("\"a"), said("b"), said("c"), said("d"), said("e"), said("f"), said("g")]
            .join(",");
    let keys = |key: &dyn Fn(usize) -> String| {
        let keys: Vec<_> = (0..60_000).map(|it| format!("\"{}\":1", key(it))).collect();
        format!("{{\"about\":\"k8s.io\",{}}}", keys.join(","))
    };
    let half = "x".repeat(SHAPE_BYTES / 2);
    let control = said(
        r#"{"messageType":"CONTROL_MESSAGE","logEvents":[{"message":"CWL CONTROL MESSAGE: x"}]}"#,
    );
    let few = |element: &str| format!("[{}]", vec![element; 2000].join(","));
    let mut shell = EVENT.to_owned();
    for _ in 0..7 {
        shell = message(&shell);
    }
    let bomb = gzip(&many("{\"k8s.io\":1}"));
    vec![
        ("objects in objects", nested("{\"message\":", "}")),
        ("objects in log in body", nested("{\"log\":{\"body\":", "}}")),
        ("arrays in arrays", format!("{{\"message\":{}}}", nested(&format!("[{EVENT},"), "]"))),
        ("JSON in strings", many(&format!("{ACTION}\n{shell}\n"))),
        ("keys with dots", keys(&|it| format!("a{it}.b"))),
        ("keys with dots, one parent", keys(&|it| format!("a.b{it}"))),
        ("keys with dots, deep", keys(&|it| format!("a.b.c.d.e.f.g.h.i.j.k{it}"))),
        ("keys", keys(&|it| format!("a{it}"))),
        ("records", format!("{{\"records\":{}}}", list("{}"))),
        ("records, one known", format!("{{\"records\":[{EVENT},{}}}", &list("{}")[1..])),
        ("records in base64", format!("{{\"records\":{}}}", list("{\"data\":\"e30=\"}"))),
        ("events of CloudWatch", logs(group, &list(&said("x")))),
        ("events of CloudWatch, split", logs(group, &list(&split))),
        ("events of CloudWatch, open", logs(group, &list(&said(open)))),
        ("events of CloudWatch, large group", logs(&format!("{group}{half}"), &few(&said("x")))),
        (
            "events of CloudWatch, nothing to store",
            logs(&format!("{group}\\n{half}"), &few(&control)),
        ),
        ("large document around many", format!("{{\"x\":\"{half}\",\"message\":{}}}", few(EVENT))),
        (
            "events in a list",
            format!(
                "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":{}}}",
                list(EVENT)
            ),
        ),
        (
            "events in a list, bare",
            format!(
                "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"items\":{}}}",
                list("{}")
            ),
        ),
        ("values one after the other", message(&format!("{EVENT}{}", many("{}")))),
        ("values in lines", message(&format!("{EVENT}\n{}", many("{}\n")))),
        ("lines that open like JSON", message(&format!("{EVENT}\n{}x", many("{\"a\":\n")))),
        ("lines that open like arrays", message(&format!("{EVENT}\n{}x", many("[\n")))),
        (
            "lines that open like events",
            message(&format!("{EVENT}\n{}x", many(&format!("{open}\n")))),
        ),
        ("an event and much that is none", message(&format!("{EVENT}{}", many("[")))),
        ("brackets", message(&format!("{{\"k8s.io\":{}", many("[")))),
        ("backslashes", message(&format!("{{\"k8s.io\":\"{}", many("\\")))),
        ("escapes", format!("{{\"message\":\"{{k8s.io{}\"}}", many("\\u0061"))),
        (
            "bodies of OpenTelemetry",
            format!(
                "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":{}}}]}}]}}",
                list("{\"body\":{\"stringValue\":\"{k8s.io\"}}")
            ),
        ),
        (
            "scopes of OpenTelemetry",
            format!("{{\"resourceLogs\":[{{\"x\":\"k8s.io\",\"scopeLogs\":{}}}]}}", list("{}")),
        ),
        (
            "annotations",
            message(&EVENT.replace(
                "\"verb\"",
                &format!("\"annotations\":{},\"verb\"", keys(&|it| format!("k{it}.x"))),
            )),
        ),
        (
            "members",
            message(&EVENT.replace(
                "\"verb\"",
                &format!("{},\"verb\"", &keys(&|it| format!("k{it}")).trim_matches(['{', '}'])),
            )),
        ),
        ("what becomes large", format!("{{\"records\":[{{\"data\":\"{bomb}\"}}]}}")),
    ]
}

/// How long a body takes, and what goes out (bytes).
fn measure(preparer: &Preparer, body: &str) -> (Duration, usize) {
    let start = Instant::now();
    let prepared = preparer.prepare(body.as_bytes(), &Defaults::default(), now());
    (start.elapsed(), prepared.map_or(0, |it| it.batch.len_bytes()))
}

/// What somebody made to cost much costs not much more than honest events, byte for byte that goes in or out.
#[test]
fn hostile_documents_cost_no_more_than_others() {
    let preparer = preparer();
    let honest = format!(
        "{ACTION}\n{}\n",
        json!({"message": fs::read_to_string(dir().join("events.ndjson")).unwrap().lines().next().unwrap()})
    );
    let honest = many(&honest);
    let (took, out) = (0..3).map(|_| measure(&preparer, &honest)).min().unwrap();
    let per_byte = took.as_secs_f64() / (honest.len() + out) as f64;
    let mut worst = Vec::new();
    for (name, shape) in shapes() {
        let body = if shape.starts_with(ACTION) { shape } else { format!("{ACTION}\n{shape}\n") };
        let (took, out) = (0..3).map(|_| measure(&preparer, &body)).min().unwrap();
        // What is compressed counts as what it becomes.
        let bytes = body.len().max(SHAPE_BYTES) + out;
        let ratio = took.as_secs_f64() / bytes as f64 / per_byte;
        tell(format_args!(
            "{name}: {} KiB to {} KiB in {took:?}, {ratio:.1} times honest events",
            body.len() >> 10,
            out >> 10
        ));
        if ratio > 40.0 {
            worst.push((name, ratio));
        }
    }
    assert!(worst.is_empty(), "{worst:?}");
}

/// Folder of real logs of Kubernetes, in any form that a carrier gives them.
const SAMPLES: &str = "K8SCOP_TEST_SAMPLES";

/// What becomes of a file of samples, as a line of the table.
fn told(preparer: &Preparer, name: &str, text: &str) -> String {
    let body = if is_bulk(text) { text.to_owned() } else { body_of_samples(name, text) };
    let documents = preparer.prepare(body.as_bytes(), &Defaults::default(), now()).unwrap();
    let (lines, counts) = outgoing(preparer, &body);
    let pieces = lines
        .chunks(2)
        .filter(|it| !it[0].contains("kubernetes.") && !it[0].contains("k8scop.alerts"))
        .count();
    let hash = Sha256::digest(lines.join("\n"));
    let hash: String = hash.iter().take(8).map(|it| format!("{it:02x}")).collect();
    let broken: u64 = counts.broken.iter().sum();
    format!(
        "{name}\t{}\t{}\t{}\t{}\t{}\t{broken}\t{}\t{hash}",
        documents.item_count(),
        counts.audit_sum(),
        counts.cut,
        counts.lines,
        pieces,
        counts.dropped.iter().sum::<u64>(),
    )
}

fn is_bulk(text: &str) -> bool {
    text.starts_with("{\"create\":") || text.starts_with("{\"index\":")
}

/// JSON values are documents; other lines are the messages of documents. Folders of cut events hold the texts in
/// `message` and `messages`.
fn body_of_samples(name: &str, text: &str) -> String {
    let document = |it: &str| format!("{ACTION}\n{}\n", on_one_line(it));
    let whole: Result<Vec<&RawValue>, _> =
        serde_json::Deserializer::from_str(text).into_iter().collect();
    match whole {
        Ok(values) if values.iter().all(|it| it.get().starts_with('{')) => {
            values.iter().map(|it| document(it.get())).collect()
        }
        Ok(values) => {
            values.iter().map(|it| document(&format!("{{\"message\":{}}}", it.get()))).collect()
        }
        Err(_) => {
            let stream = name.rsplit('/').next().unwrap().split('.').next().unwrap();
            let cloudwatch = json!({"log_group": "/aws/eks/samples/cluster", "log_stream": format!("{stream}-0")});
            let told = |line: &str| json!({"message": line, "aws": {"cloudwatch": cloudwatch}});
            text.lines().map(|it| document(&told(it).to_string())).collect()
        }
    }
}

fn files_below(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, out),
            false => out.push(path),
        }
    }
}

#[test]
fn samples() {
    let Some(dir) = parts::optional("samples", SAMPLES) else { return };
    let (dir, mut files) = (PathBuf::from(dir), Vec::new());
    files_below(&dir, &mut files);
    files.sort();
    let (preparer, mut rows) = (preparer(), Vec::new());
    for file in &files {
        let name = file.strip_prefix(&dir).unwrap().to_str().unwrap();
        let Ok(text) = fs::read_to_string(file) else { continue };
        if !name.ends_with(".txt") {
            rows.push(told(&preparer, name, &text));
        }
    }
    let table = root().join("tests/data/samples.tsv");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        let head = "file\tdocuments\taudit events\tof them cut\tlines\tas they came\tbroken\tdropped\tSHA-256 of the output\n";
        fs::write(&table, format!("{head}{}\n", rows.join("\n"))).unwrap();
    }
    let table = fs::read_to_string(table).unwrap();
    let mut compared = 0;
    for row in &rows {
        let name = row.split('\t').next().unwrap();
        let Some(expected) = table.lines().find(|it| it.split('\t').next() == Some(name)) else {
            continue;
        };
        assert_eq!(row, expected);
        compared += 1;
    }
    tell(format_args!("samples: {} files run, {compared} compared", rows.len()));
}

/// The alerts among lines that go out: title by `_id`.
fn alerts(lines: &[String]) -> BTreeMap<String, String> {
    let pairs = lines.chunks(2).filter(|it| it[0].contains("logs-k8scop.alerts-"));
    let alert = |it: &[String]| {
        let text = |line: usize, path: &str| {
            let line: Value = serde_json::from_str(&it[line]).unwrap();
            line.pointer(path).unwrap().as_str().unwrap().to_owned()
        };
        (text(0, "/create/_id"), text(1, "/message"))
    };
    pairs.map(alert).collect()
}

/// Whatever a backfill reads that k8scop stored, it raises no alert that was not there, with all rules.
#[test]
fn what_is_stored_raises_the_same_alerts() {
    let all = "alerts: { rate: { per_rule: 1000000, total: 1000000 } }";
    let config = config::meant(config::parse(all).unwrap(), Overrides::default()).unwrap();
    let preparer = Preparer::new(config.policy, Classifier::new(config.rules).unwrap());
    let message = |it: &RawValue| format!("{ACTION}\n{}\n", json!({ "message": it.get() }));
    let mut bodies: Vec<_> = inputs().iter().map(|(_, file)| body_of(file)).collect();
    let packed = root().join("tests/data/attack/attack.ndjson.zst");
    for line in unpacked(&packed).lines() {
        let events: BTreeMap<&str, &RawValue> = serde_json::from_str(line).unwrap();
        bodies.push(message(events["event"]));
    }
    let mut raised = 0;
    for body in bodies {
        let (lines, _) = outgoing(&preparer, &body);
        let first = alerts(&lines);
        raised += first.len();
        for pair in lines.chunks(2).filter(|it| it[0].contains("logs-kubernetes.audit_logs-")) {
            let index = ".ds-logs-kubernetes.audit_logs-default-2026.03.01-000001";
            let read = json!({ "index": { "_index": index, "_id": "read" } });
            let (lines, _) = outgoing(&preparer, &format!("{read}\n{}\n", pair[1]));
            for (id, title) in alerts(&lines) {
                assert!(first.contains_key(&id), "{title}: {id} is not in {first:?}: {}", pair[1]);
            }
        }
    }
    assert!(raised > 500, "{raised} alerts");
}
