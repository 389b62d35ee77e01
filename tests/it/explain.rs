//! `k8scop explain` and `k8scop scan`: what they say of files.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;

use crate::harness::{Folder, K8scop};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn data(name: &str) -> Vec<u8> {
    fs::read(root().join("tests/data/explain").join(name)).unwrap()
}

/// Runs it in a folder, with this on standard input.
fn typed(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_k8scop"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    // It need not read all of it.
    writer.join().unwrap().ok();
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    text(&output.stdout).lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

/// The same with the rules of these tests, where the command names none.
fn k8scop(folder: &Path, args: &[&str], input: &[u8]) -> Output {
    let rules = root().join("tests/data/stream_rules");
    let mut all = args.to_vec();
    if !args.iter().any(|it| ["--rules", "-c"].contains(it)) {
        all.splice(1..1, ["--rules", rules.to_str().unwrap()]);
    }
    typed(folder, &all, input)
}

fn explained(args: &[&str], input: &[u8]) -> Vec<Value> {
    let args = [&["explain", "--format", "json"], args].concat();
    let output = k8scop(&root(), &args, input);
    assert!(output.status.success(), "{}", text(&output.stderr));
    objects(&output)
}

/// `line.part kind provider index: rules`, or the reason.
fn short(entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or("-");
    let head = format!("{}.{} {}", entry["line"], entry["part"], text("kind"));
    if text("kind") != "audit" {
        return format!("{head}: {}", text("reason"));
    }
    let rules = entry["rules"].as_array().unwrap().iter().map(|it| it["title"].as_str().unwrap());
    let rules = rules.collect::<Vec<_>>().join(", ");
    format!("{head} {} {}: {rules}", text("provider"), text("index"))
}

const SECRETS: &str = "All secrets of a namespace read";
const EXEC: &str = "Command run in a container";

#[test]
fn each_input_is_read() {
    let klog = "passes as it came: a line of klog, and nothing says of which component and cluster";
    let to = "logs-kubernetes.audit_logs-default";
    for (file, expected) in [
        (
            "cloudwatch.bulk.ndjson",
            vec![
                format!("2.1 audit eks logs-kubernetes.audit_logs-prod: {SECRETS}"),
                "4.1 other: passes as it came: the text in `message` is no audit event".into(),
            ],
        ),
        (
            "audit.ndjson",
            vec![
                format!("1.1 audit plain {to}: {EXEC}"),
                "2.1 error: line 2: not JSON: unexpected character at byte 6".into(),
                format!("3.1 audit plain {to}: {EXEC}"),
                format!("5.1 audit plain {to}: "),
                format!("6.1 other: {klog}"),
            ],
        ),
        (
            "list.json",
            vec![
                format!("1.1 audit plain {to}: {SECRETS}"),
                format!("1.2 audit plain {to}: {EXEC}"),
            ],
        ),
        (
            "export.txt",
            vec![
                format!("1.1 audit plain {to}: {SECRETS}"),
                format!("2.1 audit plain {to}: {EXEC}"),
                "3.1 other: passes as it came: a line of text without an audit event".into(),
            ],
        ),
        ("filter-log-events.json", vec![format!("1.1 audit plain {to}: {SECRETS}")]),
    ] {
        let entries = explained(&[&format!("tests/data/explain/{file}")], b"");
        assert_eq!(entries.iter().map(short).collect::<Vec<_>>(), expected, "{file}");
        // Standard input, and compressed, is the same.
        for input in [data(file), gzip(&data(file))] {
            let same = explained(&[], &input);
            assert_eq!(same.iter().map(short).collect::<Vec<_>>(), expected, "{file}");
        }
    }
}

#[test]
fn one_event_with_all_that_is_known_of_it() {
    let entries = explained(&["tests/data/explain/cloudwatch.bulk.ndjson"], b"");
    let entry = &entries[0];
    assert_eq!(entry["carrier"], serde_json::json!(["message", "audit event"]));
    assert_eq!(entry["cluster"], "demo");
    assert_eq!(entry["time"], "2026-03-01T10:00:00.130000Z");
    assert_eq!(entry["kubectl"], "get secrets --namespace shop");
    assert_eq!(entry["document"]["user"]["name"], "alice");
    assert_eq!(entry["document"]["k8scop"]["rules"], serde_json::json!([SECRETS]));
    assert_eq!(entry["id"].as_str().unwrap().len(), 32);
    let rule = &entry["rules"][0];
    assert_eq!((&rule["level"], &rule["alert"]), (&"medium".into(), &true.into()));
    assert_eq!(rule["reason"], "alice read all secrets of namespace shop");
    let why = &rule["why"];
    let first = serde_json::json!({"selection": "selection", "holds": true, "field": "verb", "value": "list", "pattern": "list"});
    assert_eq!(why[0], first);
    let under_not = why.as_array().unwrap().iter().find(|it| it["holds"] == false).unwrap();
    assert_eq!(
        (&under_not["field"], &under_not["value"]),
        (&"user.username".into(), &"alice".into())
    );
}

#[test]
fn names_are_stable_and_told() {
    let help = k8scop(&root(), &["explain", "--help"], b"");
    let scan_help = k8scop(&root(), &["scan", "--help"], b"");
    let entries = explained(&["tests/data/explain/audit.ndjson"], b"");
    let names = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for entry in &entries {
        assert_eq!(names(entry), names(&entries[0]));
    }
    for name in names(&entries[0]) {
        assert!(text(&help.stdout).contains(&format!("\n  {name} ")), "{name}");
    }
    let scanned = scan(&["--format", "ndjson"], "audit.ndjson");
    for name in names(&objects(&scanned)[0]) {
        assert!(text(&scan_help.stdout).contains(&name), "{name}");
    }
}

#[test]
fn for_a_person() {
    let event = String::from_utf8(data("audit.ndjson")).unwrap();
    let event = event.lines().next().unwrap().replace("\"bob\"", "\"bob\\u001b[2J\"");
    let output = k8scop(&root(), &["explain"], format!("{event}\nx\n").as_bytes());
    let shown = text(&output.stdout);
    let (head, rest) = shown.split_once("  document\n").unwrap();
    let expected = "\
line 1: audit event
  carrier   audit event
  time      2026-03-01T10:00:01.020000Z
  request   bob\u{fffd}[2J: get pods/exec web-0 in shop, 101
  kubectl   exec web-0 --namespace shop --container web -- sh -c id
  index     logs-kubernetes.audit_logs-default
";
    assert!(head.starts_with(expected), "{head}");
    let rule = "  rule      Command run in a container (medium)
            7f3c1a52-9d10-4b6e-8a20-000000000014
            bob\u{fffd}[2J ran `sh -c id` in pod web-0 of shop
              selection: verb is get
              selection: objectRef.resource is pods
              selection: objectRef.subresource is exec
              selection: stage is ResponseStarted
              selection: responseStatus.code is 101
";
    assert!(head.ends_with(rule), "{head}");
    assert!(rest.starts_with("    {\n"), "{rest}");
    let other =
        "line 2: other\n  why       passes as it came: a line of text without an audit event\n\n";
    assert!(rest.ends_with(other), "{rest}");
}

#[test]
fn bad_lines_are_told_and_stop_nothing() {
    let good = data("audit.ndjson");
    let good = good.split(|it| *it == b'\n').next().unwrap();
    let lines: [&[u8]; 5] = [b"\"\xff\"", good, b"{\"create\":{}}", b"{\"a\":", good];
    let entries = explained(&[], &lines.join(&b'\n'));
    let kinds: Vec<_> = entries.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["error", "audit", "error", "audit"]);
    assert_eq!(entries[0]["reason"], "line 1: not UTF-8 at byte 1");
    assert_eq!(
        entries[2]["reason"],
        "line 4: not JSON: the text ends inside a value, after 5 bytes"
    );
    assert!(explained(&[], b"").is_empty());

    let folder = Folder::new("explain");
    fs::write(folder.0.join("c.yaml"), "limits: {items_max: 1, depth_max: 8}\n").unwrap();
    let input =
        [data("list.json"), b"[[[[[[[[[{}]]]]]]]]]\n{\"a\":[[[[[[[[]]]]]]]]}\n".to_vec()].concat();
    let args = ["explain", "-c", "c.yaml", "--format", "json"];
    let entries = objects(&k8scop(&folder.0, &args, &input));
    let shown: Vec<_> = entries.iter().skip(2).map(short).collect();
    assert_eq!(
        shown,
        [
            "1.1 error: line 1: 2 parts: a server takes apart what has at most 1 (limits.items_max)",
            "74.1 error: line 74: an element that is no object",
            "75.1 refused: 9 levels deep, 8 are allowed (limits.depth_max)",
        ]
    );
}

const RULE: &str = "title: Own\nid: own-rule\nlevel: critical\nlogsource: {product: kubernetes, service: audit}\ndetection:\n  a: {verb: get}\n  condition: a\n";

#[test]
fn rules_and_configuration() {
    let folder = Folder::new("explain");
    fs::write(folder.0.join("own.yml"), RULE).unwrap();
    // What only a server needs is not looked at.
    let config = "audit: {cluster: mine, namespace: ns, route: reroute}\nrules: {paths: [own.yml]}\noutput: https://es\nelasticsearch: {api_key: 'env:K8SCOP_NOT_SET'}\ntls: {cert_file: none, key_file: none}\n";
    fs::write(folder.0.join("c.yaml"), config).unwrap();
    let titles = |args: &[&str]| -> Vec<String> {
        let args = [&["explain", "--format", "json"], args].concat();
        let output = k8scop(&folder.0, &args, &data("audit.ndjson"));
        assert!(output.status.success(), "{}", text(&output.stderr));
        let first = &objects(&output)[0];
        let rules = first["rules"].as_array().unwrap().iter();
        let titles = rules.map(|it| it["title"].as_str().unwrap().to_owned());
        titles.chain([format!("{} {}", first["index"], first["cluster"])]).collect()
    };
    assert_eq!(
        titles(&["--rules", "own.yml"]),
        ["Own", "\"logs-kubernetes.audit_logs-default\" null"]
    );
    let place = "\"logs-kubernetes.audit_logs-ns\" \"mine\"";
    assert_eq!(
        titles(&["-c", "c.yaml"]),
        [EXEC, "Shell or interpreter run in a container", "Own", place]
    );
    assert_eq!(titles(&["-c", "c.yaml", "--rules", "own.yml"]), ["Own", place]);

    let status = |args: &[&str]| k8scop(&folder.0, args, b"").status.code().unwrap();
    fs::write(folder.0.join("bad.yml"), RULE.replace("verb", "verbs")).unwrap();
    fs::write(folder.0.join("bad.yaml"), "audits: {}\n").unwrap();
    for command in ["explain", "scan"] {
        assert_eq!(status(&[command, "--rules", "bad.yml", "-"]), 3);
        assert_eq!(status(&[command, "-c", "bad.yaml", "-"]), 4);
        assert_eq!(status(&[command, "none"]), 70);
        assert_eq!(status(&[command, "--format", "x", "-"]), 2);
    }
    assert_eq!(status(&["scan"]), 2);
}

fn scan(args: &[&str], file: &str) -> Output {
    let file = format!("tests/data/explain/{file}");
    k8scop(&root(), &[&["scan"], args, &[file.as_str()]].concat(), b"")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn one_alert_for_a_request() {
    let output = scan(&["--format", "ndjson"], "audit.ndjson");
    let alerts = objects(&output);
    assert_eq!(alerts.len(), 1, "its start and its end are one");
    let expected = serde_json::json!({
        "time": "2026-03-01T10:00:01.020000Z", "severity": "medium",
        "rule": {"id": "7f3c1a52-9d10-4b6e-8a20-000000000014", "title": EXEC},
        "reason": "bob ran `sh -c id` in pod web-0 of shop",
        "user": "bob", "source_ip": "192.0.2.7", "verb": "get",
        "kubectl": "exec web-0 --namespace shop --container web -- sh -c id",
        "resource": "pods/exec", "namespace": "shop", "name": "web-0", "code": 101,
        "cluster": null, "provider": "plain",
        "audit_id": "00000000-0000-4000-8000-000000000002", "stage": "ResponseStarted",
        "file": "tests/data/explain/audit.ndjson", "line": 1,
    });
    assert_eq!(alerts[0], expected);
    let summary = text(&output.stderr);
    for line in [
        "files       1\n",
        "events      3 (",
        "from        2026-03-01T10:00:01.020000Z\nto          2026-03-01T10:00:09.500000Z\n",
        "other       1 not_kubernetes\n",
        "unreadable  1, the first: tests/data/explain/audit.ndjson:2: not JSON: unexpected character at byte 6\n",
        "matched     2 events\n",
        "alerts      1: 1 medium, 1 more of the same requests, told once\n",
        "rules            1  medium    Command run in a container\n",
        "users            1 on 2 events  bob",
    ] {
        assert!(summary.contains(line), "{line}\n{summary}");
    }
}

#[test]
fn folders_and_formats() {
    let folder = Folder::new("scan");
    fs::create_dir_all(folder.0.join("in/b")).unwrap();
    let write =
        |name: &str, bytes: &[u8]| fs::write(folder.0.join("in").join(name), bytes).unwrap();
    write("b/audit.gz", &gzip(&data("audit.ndjson")));
    write("a.json", &data("list.json"));
    write("c.ndjson", &data("cloudwatch.bulk.ndjson"));
    write(".hidden", &data("audit.ndjson"));
    let run = |args: &[&str]| k8scop(&folder.0, &[&["scan", "in"], args].concat(), b"");

    let table = run(&[]);
    let rows: Vec<_> = text(&table.stdout).lines().take(5).map(str::trim).collect();
    let expected = [
        ["2026-03-01T10:00:00Z", "medium", "alice", "-", "in/a.json:1"],
        ["2026-03-01T10:00:00Z", "medium", "alice", "demo", "in/c.ndjson:2"],
        ["2026-03-01T10:00:01Z", "medium", "bob", "-", "in/a.json:1"],
    ];
    assert!(rows[0].starts_with("TIME ") && rows[0].ends_with(" WHERE"), "{rows:?}");
    for (row, expected) in rows[1..4].iter().zip(expected) {
        for part in expected {
            assert!(row.split_whitespace().any(|it| it == part), "{part} in {row}");
        }
    }
    assert_eq!(rows[4], "", "the same request in two files of one cluster is one alert");

    let json: Value = serde_json::from_slice(&run(&["--format", "json"]).stdout).unwrap();
    assert_eq!(json["alerts"].as_array().unwrap().len(), 3);
    let summary = &json["summary"];
    for (name, expected) in [
        ("files", 3),
        ("files_failed", 0),
        ("events", 6),
        ("events_matched", 5),
        ("unreadable", 1),
        ("alerts", 3),
        ("alerts_repeated", 2),
    ] {
        assert_eq!(summary[name], expected, "{name}: {summary}");
    }
    assert_eq!(summary["severities"]["medium"], 3);
    assert_eq!(summary["users"][0], serde_json::json!({"name": "alice", "alerts": 2, "events": 2}));

    let high: Value =
        serde_json::from_slice(&run(&["--format", "json", "--min-severity", "high"]).stdout)
            .unwrap();
    assert_eq!((&high["alerts"], &high["summary"]["alerts"]), (&serde_json::json!([]), &0.into()));
    run(&["--html", "page.html"]);
    let page = fs::read_to_string(folder.0.join("page.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains(">alice<"), "{page}");
    let full = run(&["--html", "/dev/full"]);
    assert_eq!(full.status.code(), Some(70));
    assert!(text(&full.stderr).contains("--html /dev/full: "), "{}", text(&full.stderr));

    let limited = run(&["--limit", "1"]);
    assert!(text(&limited.stdout).contains("\n2 more alerts: raise --limit"));
    assert!(text(&run(&["--format", "summary"]).stdout).starts_with("files       3\n"));
}

#[test]
fn exit_status() {
    let status = |args: &[&str]| scan(args, "audit.ndjson").status.code().unwrap();
    assert_eq!(status(&["--fail-on", "medium"]), 1);
    assert_eq!(status(&["--fail-on", "low", "--min-severity", "high"]), 1);
    assert_eq!(status(&["--fail-on", "high"]), 0);

    let folder = Folder::new("scan");
    let gz = gzip(&data("audit.ndjson").repeat(50));
    fs::write(folder.0.join("cut.gz"), &gz[..gz.len() - 9]).unwrap();
    fs::create_dir(folder.0.join("empty")).unwrap();
    let run = |args: &[&str]| k8scop(&folder.0, &[&["scan"], args].concat(), b"");
    for args in [&["none"][..], &["empty"]] {
        assert_eq!(run(args).status.code(), Some(70), "{args:?}");
    }
    // What can be read is read.
    let output = run(&["none", "cut.gz"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told = text(&output.stderr);
    assert!(
        told.contains("error: none: ") && told.contains("error: cut.gz: after line "),
        "{told}"
    );
    assert!(text(&output.stdout).contains(EXEC));
    assert!(text(&output.stdout).contains("files       2, 2 of them not read to the end"));
}

#[test]
fn memory_does_not_grow_with_the_file() {
    let folder = Folder::new("scan");
    // One line of 64 MiB.
    let part = gzip(&[b'['; 1 << 20]);
    let end = gzip(&[b"\n", data("audit.ndjson").as_slice()].concat());
    fs::write(folder.0.join("bomb.gz"), [part.repeat(64), end].concat()).unwrap();
    // The rules that come with the program take more than the file may.
    let config = format!(
        "limits: {{decoded_bytes_max: 1048576}}\nrules: {{built_in: false, paths: [{}]}}\n",
        root().join("tests/data/stream_rules").display()
    );
    fs::write(folder.0.join("c.yaml"), config).unwrap();
    let script = "ulimit -v 60000; exec \"$0\" scan -c c.yaml bomb.gz";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_k8scop")])
        .current_dir(&folder.0)
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(
        shown.contains("bomb.gz:1: longer than 1048576 bytes (limits.decoded_bytes_max)"),
        "{shown}"
    );
    assert!(shown.contains("bomb.gz:2") && shown.contains(EXEC), "{shown}");
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = Folder::new("scan");
    fs::write(folder.0.join("many.ndjson"), data("audit.ndjson").repeat(2000)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_k8scop"))
        .args(["explain", "many.ndjson"])
        .current_dir(&folder.0)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

/// What a bulk body of many events becomes, once by a server and once by the two commands.
#[tokio::test]
async fn the_same_as_a_server_does() {
    let captured = fs::read_to_string(root().join("tests/data/kubectl/kubectl.ndjson")).unwrap();
    let mut body = String::new();
    for line in captured.lines() {
        let command: Value = serde_json::from_str(line).unwrap();
        for event in command["events"].as_array().unwrap() {
            body.push_str("{\"create\":{\"_index\":\"logs-generic-prod\"}}\n");
            body.push_str(&serde_json::json!({"message": event.to_string()}).to_string());
            body.push('\n');
        }
    }
    body.push_str(text(&data("cloudwatch.bulk.ndjson")));
    let server = K8scop::start("").await;
    let (status, answer) = server.bulk("/_bulk", body.clone()).await;
    assert_eq!((status, &answer["errors"]), (200, &false.into()), "{answer}");
    // Actions and documents take turns.
    let stored = |name: &str| -> Vec<(Value, Value)> {
        let file = server.folder().join("k8scop-data").join(format!("{name}.ndjson"));
        let lines = fs::read_to_string(file).unwrap();
        let lines: Vec<Value> = lines.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        lines.chunks(2).map(|it| (it[0]["create"]["_id"].clone(), it[1].clone())).collect()
    };

    let mut events = stored("logs-kubernetes.audit_logs-prod");
    let mut told: Vec<_> = explained(&[], body.as_bytes())
        .into_iter()
        .filter(|it| it["kind"] == "audit")
        .map(|mut it| {
            assert_eq!(it["index"], "logs-kubernetes.audit_logs-prod");
            (it["id"].take(), it["document"].take())
        })
        .collect();
    assert!(events.len() > 20);
    for (_, document) in events.iter_mut().chain(&mut told) {
        document["event"].as_object_mut().unwrap().remove("ingested").unwrap();
    }
    events.sort_by_key(|(id, _)| id.to_string());
    told.sort_by_key(|(id, _)| id.to_string());
    assert_eq!(told, events);

    let mut alerts: Vec<_> = stored("logs-k8scop.alerts-prod")
        .into_iter()
        .map(|(_, it)| format!("{} {} {}", it["@timestamp"], it["message"], it["event"]["reason"]))
        .collect();
    let scanned = k8scop(&root(), &["scan", "-", "--format", "ndjson"], body.as_bytes());
    let mut found: Vec<_> = objects(&scanned)
        .iter()
        .map(|it| format!("{} {} {}", it["time"], it["rule"]["title"], it["reason"]))
        .collect();
    alerts.sort();
    found.sort();
    assert!(alerts.len() > 10);
    assert_eq!(found, alerts);
}

/// The example of the README: commands after `$ `, and what they print.
#[test]
fn the_example_of_the_readme() {
    let example = String::from_utf8(data("EXAMPLE.md")).unwrap();
    let block = example.split("```").nth(1).unwrap().trim_start_matches("sh").trim();
    let mut commands = 0;
    for part in format!("\n{block}").split("\n$ k8scop ").skip(1) {
        let (command, expected) = part.split_once('\n').unwrap();
        let args: Vec<&str> = command.split_whitespace().collect();
        let output = typed(&root(), &args, b"");
        let shown = text(&output.stdout).lines().map(str::trim_end).collect::<Vec<_>>();
        // `…` stands for what is left out.
        let mut shown = shown.into_iter();
        let mut skips = false;
        for line in expected.trim_end().lines() {
            if line.trim() == "…" {
                skips = true;
                continue;
            }
            let fits = |it: &str| match line.split_once('…') {
                Some((start, end)) => it.starts_with(start) && it.ends_with(end),
                None => it == line,
            };
            let found =
                if skips { shown.find(|it| fits(it)) } else { shown.next().filter(|it| fits(it)) };
            assert!(found.is_some(), "{command}: {line}\n{}", text(&output.stdout));
            skips = false;
        }
        commands += 1;
    }
    assert_eq!(commands, 2);
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(!readme.contains("$ k8scop scan") || readme.contains(block), "they differ");
}
