//! `k8scop setup`: what is missing is put once, in an order that every engine takes, and what cannot be put is named.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{
    fake::{Asked, Fake, Reaction},
    harness::{CANARY, Folder},
};

/// Types the command and waits for its end.
pub async fn setup(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8scop"));
    command.arg("setup").args(args).env("SETUP_KEY", CANARY);
    command.env_remove("K8SCOP_CONFIG").env_remove("K8SCOP_OUTPUT");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let said = format!("{output:?}");
    assert!(!said.contains(CANARY) && !said.contains("panicked"), "{said}");
    output
}

/// Exit status, and everything that was said.
pub async fn said(args: &[&str]) -> (i32, String) {
    let output = setup(args).await;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let status = output.status.code().unwrap();
    (status, format!("{}{}", text(&output.stdout), text(&output.stderr)))
}

type Store = Arc<Mutex<BTreeMap<String, Value>>>;

/// A cluster that keeps what is put, under its path, and says it as a real one does.
async fn cluster(
    version: &'static str,
    store: &Store,
    fault: impl Fn(&Asked) -> Option<Reaction> + Send + Sync + 'static,
) -> Fake {
    let store = Arc::clone(store);
    Fake::start(move |_, asked| fault(asked).unwrap_or_else(|| answered(version, &store, asked)))
        .await
}

fn answered(version: &str, store: &Store, asked: &Asked) -> Reaction {
    let mut words = asked.line.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let path = path.split('?').next().unwrap();
    let answer = |status: u16, body: Value| Reaction::Answer(status, Vec::new(), body.to_string());
    let mut store = store.lock().unwrap();
    if method == "PUT" {
        store.insert(path.into(), serde_json::from_str(&asked.body).unwrap());
        return answer(200, json!({ "acknowledged": true }));
    }
    assert_eq!(method, "GET");
    let (engine, number) = version.split_once('-').unwrap();
    let mut about = json!({ "number": number });
    if engine == "opensearch" {
        about["distribution"] = json!(engine);
    }
    let name = path.rsplit('/').next().unwrap();
    let kept = store.get(path).cloned();
    let listed =
        |list: &str, member: &str, kept: &Value| json!({ list: [{ "name": name, member: kept }] });
    match (path, kept) {
        ("/", _) => answer(200, json!({ "version": about })),
        (_, Some(kept)) if path.starts_with("/_component_template/") => {
            answer(200, listed("component_templates", "component_template", &kept))
        }
        (_, Some(kept)) if path.starts_with("/_index_template/") => {
            answer(200, listed("index_templates", "index_template", &kept))
        }
        (_, Some(kept)) if path.starts_with("/_ilm/") => {
            answer(200, json!({ name: { "version": 1, "policy": kept["policy"] } }))
        }
        (_, Some(kept)) if path.starts_with("/_plugins/_ism/") => {
            let policy = &kept["policy"];
            answer(200, json!({ "_seq_no": 3, "_primary_term": 1, "policy": policy }))
        }
        _ if path.starts_with("/_data_stream/") && path.ends_with("/_lifecycle") => {
            let list = store.get("streams").cloned().unwrap_or_else(|| json!([]));
            let lifecycle = |it: &Value| {
                let name = &it["name"];
                let path = format!("/_data_stream/{}/_lifecycle", name.as_str().unwrap());
                json!({ "name": name, "lifecycle": store.get(&path) })
            };
            let list: Vec<Value> = list.as_array().unwrap().iter().map(lifecycle).collect();
            answer(200, json!({ "data_streams": list }))
        }
        _ if path.starts_with("/_data_stream/") => {
            let streams = store.get("streams").cloned().unwrap_or_else(|| json!([]));
            answer(200, json!({ "data_streams": streams }))
        }
        _ => answer(404, json!({ "error": { "type": "not_found", "reason": "none" } })),
    }
}

fn no_fault(_: &Asked) -> Option<Reaction> {
    None
}

fn puts(fake: &Fake) -> Vec<String> {
    let lines = fake.asked().into_iter().map(|it| it.line);
    let path = |line: String| Some(line.strip_prefix("PUT ")?.split(' ').next()?.to_owned());
    lines.filter_map(path).collect()
}

const ENGINES: [&str; 6] = [
    "elasticsearch-7.17.29",
    "elasticsearch-8.6.2",
    "elasticsearch-8.19.21",
    "elasticsearch-9.4.3",
    "opensearch-2.19.6",
    "opensearch-3.6.0",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_put_once() {
    for version in ENGINES {
        let store = Store::default();
        let fake = cluster(version, &store, no_fault).await;
        let url = fake.url();
        let (status, text) = said(&["--output", &url, "--dry-run"]).await;
        assert_eq!((status, puts(&fake).len()), (0, 0), "{version}: {text}");
        assert!(text.contains("nothing was put: --dry-run"), "{version}: {text}");
        assert!(text.contains("documents are kept for ever"), "{version}: {text}");

        let all = ["--output", &url, "--yes", "--retention", "90d", "--shards", "2"];
        let (status, text) = said(&all).await;
        let count = puts(&fake).len();
        assert!(text.contains(&format!("put {count} of {count}")), "{version}: {text}");
        assert_eq!(status, 0, "{version}: {text}");
        for name in [
            "kubernetes.audit_logs",
            "kubernetes.control_plane_logs",
            "k8scop.alerts",
            "k8scop.dead_letter",
            "k8scop.push",
        ] {
            assert!(
                puts(&fake).contains(&format!("/_index_template/k8scop-{name}")),
                "{version}: {name}"
            );
        }
        // Again, with and without what was chosen: nothing is taken back.
        for args in [&all[..], &all[..3]] {
            let (status, text) = said(args).await;
            assert_eq!((status, puts(&fake).len()), (0, count), "{version}: {text}");
            assert!(text.ends_with("nothing to do\n"), "{version}: {text}");
            assert!(!text.contains("for ever"), "{version}: {text}");
        }
        let (status, text) = said(&["--output", &url, "--yes", "--retention", "30d"]).await;
        assert_eq!((status, puts(&fake).len()), (0, count + 1), "{version}: {text}");
        assert!(text.contains("90d → 30d"), "{version}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_updated_only_as_it_was_read() {
    let store = Store::default();
    let fake = cluster("opensearch-3.6.0", &store, no_fault).await;
    for retention in ["90d", "30d"] {
        let only = ["--output", &fake.url(), "--only", "lifecycle", "--retention", retention];
        assert_eq!(said(&[&only[..], &["--yes"]].concat()).await.0, 0);
    }
    let policy = "/_plugins/_ism/policies/k8scop";
    assert_eq!(puts(&fake), [policy.to_owned(), format!("{policy}?if_seq_no=3&if_primary_term=1")]);
    let policy = store.lock().unwrap()[policy]["policy"].clone();
    let patterns = policy["ism_template"][0]["index_patterns"].as_array().unwrap();
    assert!(patterns.contains(&json!("logs-kubernetes.audit_logs-*")), "{policy}");
}

/// What the cluster does wrong, the exit status, and what is said.
type Fault = (fn(&Asked) -> Option<Reaction>, i32, &'static str);

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_put_is_named_and_the_rest_is_put() {
    fn refuse(asked: &Asked, start: &str, status: u16) -> Option<Reaction> {
        let reason = json!({ "type": "x", "reason": "told to", "caused_by": { "reason": "why" } });
        let body = json!({ "error": reason, "status": status }).to_string();
        asked.line.starts_with(start).then(|| Reaction::Answer(status, Vec::new(), body))
    }
    const PACKAGE: &str = "PUT /_component_template/k8scop-k8scop.alerts@package ";
    const ONE: &str = "error: component template k8scop-k8scop.alerts@package is not put: ";
    let faults: [Fault; 9] = [
        (|it| refuse(it, PACKAGE, 403), 1, "403: told to: why"),
        (|it| refuse(it, PACKAGE, 500), 1, "500: told to: why"),
        (|it| refuse(it, PACKAGE, 503), 1, "503: told to: why"),
        (|it| refuse(it, &PACKAGE.replace("PUT", "GET"), 403), 1, "is answered 403: told to: why"),
        (|it| refuse(it, "GET / ", 401), 70, "GET / is answered 401: told to"),
        (|it| refuse(it, "", 401), 70, "GET / is answered 401: told to"),
        (
            |it| {
                let page = Reaction::Answer(200, Vec::new(), "<html>".into());
                it.line.starts_with("GET / ").then_some(page)
            },
            70,
            "--engine says it instead",
        ),
        (|it| it.line.starts_with(PACKAGE).then_some(Reaction::Close), 70, "put 2 of 10"),
        (|it| it.line.starts_with("GET / ").then_some(Reaction::Reset), 70, "error: "),
    ];
    for (number, (fault, status, expected)) in faults.into_iter().enumerate() {
        let store = Store::default();
        let fake = cluster("elasticsearch-8.19.21", &store, fault).await;
        let (found, text) = said(&["--output", &fake.url(), "--yes"]).await;
        assert_eq!(found, status, "{number}: {text}");
        assert!(text.contains(expected), "{number}: {text}");
        let stored = store.lock().unwrap().len();
        if status == 1 {
            assert!(text.contains(ONE), "{number}: {text}");
            assert_eq!(stored, 9, "{number}: {text}");
        } else {
            assert!(stored < 3, "{number}: {text}");
        }
    }
    let (status, text) = said(&["--output", "http://127.0.0.1:1", "--yes"]).await;
    assert_eq!(status, 70, "{text}");
    assert!(text.contains("http://127.0.0.1:1 cannot be reached"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_policies_gets_all_templates() {
    for version in ["elasticsearch-7.17.29", "opensearch-3.6.0"] {
        let store = Store::default();
        let fake = cluster(version, &store, |asked| {
            let is = |part: &str| asked.line.contains(part);
            let unknown = json!({ "error": "no handler found for uri [x] and method [GET]" });
            if is("/_ilm/") || is("/_ism/") {
                return Some(Reaction::Answer(400, Vec::new(), unknown.to_string()));
            }
            let setting = "unknown setting [index.lifecycle.name]";
            let refused = json!({ "error": { "type": "x", "reason": setting } }).to_string();
            let names_policy = asked.body.contains(r#""lifecycle":{"name""#);
            names_policy.then(|| Reaction::Answer(400, Vec::new(), refused))
        })
        .await;
        let (status, text) = said(&["--output", &fake.url(), "--yes", "--retention", "90d"]).await;
        assert_eq!(status, 1, "{version}: {text}");
        let is_opensearch = version.starts_with("opensearch");
        let kind = if is_opensearch { "ISM" } else { "ILM" };
        assert!(text.contains(&format!("error: {kind} policy k8scop is not put: ")), "{text}");
        let errors = text.lines().filter(|it| it.starts_with("error: ")).count();
        assert_eq!(errors, if is_opensearch { 1 } else { 2 }, "{text}");
        let store = store.lock().unwrap();
        assert!(store.contains_key("/_index_template/k8scop-kubernetes.audit_logs"), "{text}");
        // The index templates name it, so there is one, without the policy.
        let lifecycle = store.get("/_component_template/k8scop@lifecycle");
        assert_eq!(
            lifecycle.map(|it| &it["template"]),
            (!is_opensearch).then_some(&json!({})),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_there_keep_documents_as_long() {
    let stream = "logs-kubernetes.audit_logs-default";
    let store = Store::default();
    store.lock().unwrap().insert("streams".into(), json!([{ "name": stream }]));
    let fake = cluster("elasticsearch-8.19.21", &store, no_fault).await;
    let url = fake.url();
    let (_, text) = said(&["--output", &url, "--yes"]).await;
    assert!(text.contains(&format!("POST /NAME/_rollover for {stream}")), "{text}");
    let all = ["--output", &url, "--yes", "--retention", "90d"];
    let (status, text) = said(&all).await;
    assert_eq!(status, 0, "{text}");
    assert!(!text.contains("_rollover"), "{text}");
    let path = format!("/_data_stream/{stream}/_lifecycle");
    assert_eq!(store.lock().unwrap()[&path], json!({ "data_retention": "90d" }), "{text}");
    assert!(said(&all).await.1.ends_with("nothing to do\n"));
    let (status, text) = said(&["--output", &url, "--yes", "--retention", "30d"]).await;
    assert_eq!(status, 0, "{text}");
    assert_eq!(store.lock().unwrap()[&path], json!({ "data_retention": "30d" }), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_changed() {
    let store = Store::default();
    let fake = cluster("elasticsearch-8.19.21", &store, no_fault).await;
    let url = fake.url();
    said(&["--output", &url, "--yes"]).await;
    let before = store.lock().unwrap().clone();
    let set = |path: &str, pointer: &str, value: Value| {
        *store.lock().unwrap().get_mut(path).unwrap().pointer_mut(pointer).unwrap() = value;
    };
    // Somebody's hand, an older release, and a newer one.
    let package = |name: &str| format!("/_component_template/k8scop-{name}@package");
    let [audit, alerts, letters] =
        ["kubernetes.audit_logs", "k8scop.alerts", "k8scop.dead_letter"].map(package);
    set(&audit, "/template/mappings/properties/user/properties/name/type", json!("text"));
    set(&alerts, "/_meta/version", json!(1));
    set(&letters, "/_meta/version", json!(99));
    store.lock().unwrap().insert("/_component_template/k8scop-x@custom".into(), json!({}));
    let (status, text) = said(&["--output", &url, "--yes"]).await;
    assert_eq!(status, 0, "{text}");
    for expected in [
        "template.mappings.properties.user.properties.name.type: text → keyword",
        "version 1 → 3",
        "version 99, here 2: left as it is",
        "put 2 of 2",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let mut after = store.lock().unwrap().clone();
    assert_eq!(after[&letters]["_meta"]["version"], 99);
    after.remove("/_component_template/k8scop-x@custom");
    after.insert(letters.clone(), before[&letters].clone());
    assert_eq!(after, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_of_run_is_read() {
    let store = Store::default();
    let fake = cluster("elasticsearch-8.19.21", &store, no_fault).await;
    let folder = Folder::new("setup");
    let file = folder.0.join("k8scop.yaml");
    let config = format!(
        "output: {}\nelasticsearch: {{ username: u, password: {CANARY} }}\nalerts: {{ target: daily, prefix: found }}\n",
        fake.url()
    );
    fs::write(&file, config).unwrap();
    let file = file.to_str().unwrap();
    let (status, text) = said(&["-c", file, "--yes", "--retention", "90d"]).await;
    assert_eq!(status, 0, "{text}");
    let daily = store.lock().unwrap()["/_index_template/k8scop-k8scop.alerts-daily"].clone();
    assert_eq!(daily["index_patterns"], json!(["found-*"]));
    assert!(store.lock().unwrap().contains_key("/_ilm/policy/k8scop-daily"));
    assert!(!store.lock().unwrap().contains_key("/_index_template/k8scop-k8scop.alerts"));
    let is_basic = |it: &Asked| it.header("authorization").unwrap().starts_with("Basic ");
    assert!(fake.asked().iter().all(is_basic));

    // What was typed wins.
    let other = cluster("elasticsearch-8.19.21", &Store::default(), no_fault).await;
    let url = format!("http://u:{CANARY}@{}", other.address);
    let typed = ["-c", file, "--output", &url, "--api-key", "env:SETUP_KEY", "--dry-run"];
    assert_eq!(said(&typed).await.0, 0);
    let key = format!("ApiKey {CANARY}");
    assert!(other.asked().iter().all(|it| it.header("authorization") == Some(key.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_instead_of_requests() {
    for (engine, custom) in [("elasticsearch-8.19", false), ("opensearch-2.19", true)] {
        let folder = Folder::new("setup");
        let dir = folder.0.join("out");
        let to = dir.to_str().unwrap();
        let args = ["--export", to, "--engine", engine, "--retention", "90d", "--replicas", "2"];
        let (status, text) = said(&args).await;
        assert_eq!(status, 0, "{text}");
        let read = |path: &str| -> Value {
            serde_json::from_str(&fs::read_to_string(dir.join(path)).unwrap()).unwrap()
        };
        let audit = read("_index_template/k8scop-kubernetes.audit_logs.json");
        assert_eq!(audit["index_patterns"], json!(["logs-kubernetes.audit_logs-*"]));
        let settings = read("_component_template/k8scop@settings.json");
        assert_eq!(settings["template"]["settings"]["index"]["number_of_replicas"], "2");
        let file = dir.join("_component_template/k8scop-k8scop.alerts@custom.json");
        assert_eq!(file.exists(), custom, "{engine}");
        let policy = dir.join("_plugins/_ism/policies/k8scop.json");
        assert_eq!(policy.exists(), custom, "{engine}");
        for line in text.lines() {
            let (path, request) = line.split_once(": PUT /").unwrap();
            assert!(
                Path::new(path).exists() && path.ends_with(&format!("{request}.json")),
                "{line}"
            );
        }
        // What somebody put there stays.
        if custom {
            fs::write(&file, "mine").unwrap();
            assert_eq!(said(&args).await.0, 0);
            assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        }
    }
}

/// What k8scop writes beside what came: all of it is to be found.
const OURS: [&str; 13] = [
    "client",
    "data_stream",
    "event",
    "http",
    "k8scop",
    "kubernetes",
    "orchestrator",
    "related",
    "rule",
    "source",
    "threat",
    "url",
    "user",
];
/// Whose names are those of others, of which the common ones are mapped; and of `audit.k8s.io/v1beta1` what is elsewhere
/// or says nothing.
const FREE: [&str; 7] = [
    "aws.eks.authenticator",
    "k8scop.fields",
    "kubernetes.audit.aks_metadata",
    "kubernetes.audit.annotations",
    "kubernetes.audit.metadata",
    "kubernetes.audit.protoPayload",
    "kubernetes.audit.timestamp",
];

/// Notes the paths in a document that the mapping has nothing for.
fn unmapped(value: &Value, path: &str, properties: &Value, runtime: &Value, out: &mut Vec<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let field = &properties[name];
        if field["enabled"] == false || FREE.contains(&path.as_str()) {
            continue;
        }
        if field["properties"].is_object() || (field.is_null() && value.is_object()) {
            unmapped(value, &path, &field["properties"], runtime, out);
        } else if field.is_null() && runtime[&path].is_null() {
            out.push(path);
        }
    }
}

#[test]
fn all_that_is_written_is_mapped() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut count, mut found) = (0, BTreeMap::new());
    for entry in fs::read_dir(root.join("tests/data/envelopes")).unwrap() {
        let file = entry.unwrap().path();
        if !file.to_string_lossy().ends_with(".out.ndjson") {
            continue;
        }
        for line in fs::read_to_string(&file).unwrap().lines() {
            // What JSON allows and serde_json does not, such as half of a surrogate pair, has the same fields.
            let Ok(mut document) = serde_json::from_str::<Value>(line) else { continue };
            let mut document = document["document"].take();
            let dataset = document["data_stream"]["dataset"].as_str().unwrap_or_default();
            let template = match dataset {
                "kubernetes.audit_logs" | "k8scop.alerts" | "k8scop.dead_letter" => dataset,
                _ if dataset.starts_with("kubernetes.") => "kubernetes.control_plane_logs",
                _ => continue,
            };
            let template = root.join(format!("pipelines/templates/{template}.json"));
            let template: Value =
                serde_json::from_str(&fs::read_to_string(template).unwrap()).unwrap();
            let mappings = &template["template"]["mappings"];
            document.as_object_mut().unwrap().retain(|name, _| OURS.contains(&name.as_str()));
            let mut out = Vec::new();
            unmapped(&document, "", &mappings["properties"], &mappings["runtime"], &mut out);
            let name = file.file_name().unwrap();
            found.extend(out.into_iter().map(|it| (it, name.to_owned())));
            count += 1;
        }
    }
    assert!(count > 0);
    assert!(found.is_empty(), "not mapped: {found:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage() {
    let fake = cluster("elasticsearch-8.19.21", &Store::default(), no_fault).await;
    let url = fake.url();
    let to = ["--output", url.as_str()];
    for (args, status, expected) in [
        (vec![], 2, "say --yes"),
        (vec!["--only", "lifecycle", "--yes"], 2, "needs --retention"),
        (vec!["--only", "templates", "--retention", "9d", "--yes"], 2, "not to --only templates"),
        (
            vec!["--only", "lifecycle", "--retention", "9d", "--shards", "1", "--yes"],
            2,
            "belong to the templates",
        ),
        (vec!["--retention", "3 months"], 2, "days or hours"),
        (vec!["--engine", "solr-9"], 2, "needs elasticsearch-8.19"),
        (vec!["--engine", "elasticsearch-6.8"], 2, "too old"),
        (vec!["--shards", "0"], 2, "--shards"),
        (vec!["--yes", "--dry-run"], 2, "cannot be used with"),
        (vec!["--api-key", "env:NOT_THERE"], 4, "no variable NOT_THERE"),
        (vec!["--ca-file", "/not/there"], 4, "--ca-file"),
        (vec!["--output", "file:x"], 4, "a folder needs no templates"),
    ] {
        let args = if args.contains(&"--output") { args } else { [&to[..], &args].concat() };
        let (found, text) = said(&args).await;
        assert_eq!(found, status, "{args:?}: {text}");
        assert!(text.contains(expected), "{args:?}: {text}");
    }
    assert!(puts(&fake).is_empty());
    let old = cluster("elasticsearch-6.8.23", &Store::default(), no_fault).await;
    let (status, text) = said(&["--output", &old.url(), "--yes"]).await;
    assert_eq!(status, 70, "{text}");
    assert!(text.contains("too old"), "{text}");
}
