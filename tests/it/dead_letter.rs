//! Documents that are refused for good: kept, shown, and sent again.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    fake::{Asked, Fake, Reaction, items},
    harness::{Folder, K8scop, SOON, wait_for},
    pki::Authority,
};

pub struct Typed {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Typed {
    /// The last line.
    pub fn last(&self) -> &str {
        self.out.lines().last().unwrap_or_default()
    }
}

fn command(config: &Path, what: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8scop"));
    command.args(["dead-letter", what, "--config"]).arg(config).args(args);
    command.env("K8SCOP_TEST_KEY", "of-a-replay:key").current_dir(config.parent().unwrap());
    command
}

/// `k8scop dead-letter` with the configuration of a server that runs, or ran.
pub async fn letters(config: &Path, what: &str, args: &[&str]) -> Typed {
    let mut command = command(config, what, args);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    Typed {
        status: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// All letters, with their lines.
pub async fn listed(config: &Path, args: &[&str]) -> Vec<Value> {
    let typed = letters(config, "list", &[&["--format", "json"], args].concat()).await;
    assert_eq!(typed.status, 0, "{}", typed.err);
    typed.out.lines().map(|it| serde_json::from_str(it).unwrap()).collect()
}

fn config_of(k8scop: &K8scop) -> std::path::PathBuf {
    k8scop.folder().join("k8scop.yaml")
}

fn config(folder: &Folder, more: &str) -> String {
    let dir = folder.0.display();
    format!(
        "output: file:{dir}/out\non_reject: dead_letter\ndead_letter: {{ to: 'file:{dir}/letters' }}\n{more}"
    )
}

const GOOD: &str = "{\"create\":{\"_index\":\"app\",\"_id\":\"good\"}}\n{\"n\":1}\n";
const BAD_JSON: &str = "{\"index\":{\"_index\":\"app\"}}\n{\"n\":\u{1b}[2J\n";
const GARBAGE: &str = "garbage\n";
const DEEP: &str = "{\"create\":{\"_index\":\"deep\",\"_id\":\"d\"}}\n{\"a\":[[[[[[[[1]]]]]]]]}\n";
const NOT_UTF8: &[u8] = b"{\"create\":{\"_index\":\"app\"}}\n{\"n\":\"\xff\"}\n";
const UPDATE: &str = "{\"update\":{\"_index\":\"app\",\"_id\":\"x\"}}\n{\"color\":1}\n";
const DELETE: &str = "{\"delete\":{\"_index\":\"app\",\"_id\":\"x\"}}\n";

/// What each item is answered: its status, and whether it is a dead letter.
fn verdicts(answer: &Value) -> Vec<(u64, bool)> {
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let said = items.iter().map(|it| it.as_object().unwrap().values().next().unwrap());
    said.map(|it| (it["status"].as_u64().unwrap(), it["failure_store"] == "used")).collect()
}

const KEPT: (u64, bool) = (201, true);

#[tokio::test(flavor = "multi_thread")]
async fn what_k8scop_refuses_is_kept_shown_and_sent_again() {
    let folder = Folder::new("letters");
    let k8scop = K8scop::start(&config(&folder, "limits: { depth_max: 8 }\n")).await;
    let texts = [GOOD, BAD_JSON, DEEP, UPDATE, DELETE, GARBAGE].concat();
    let body = [texts.as_bytes(), NOT_UTF8].concat();
    let (status, answer) = k8scop.bulk("/_bulk", body.clone()).await;
    assert_eq!(status, 200);
    let expected = [(201, false), KEPT, KEPT, (400, false), (400, false), KEPT, KEPT];
    assert_eq!(verdicts(&answer), expected, "{answer}");
    k8scop.check_balance().await;
    let metrics = k8scop.metrics().await;
    let settled = |result| metrics[&format!("k8scop_settled_items_total{{result=\"{result}\"}}")];
    assert_eq!((settled("dead_lettered"), settled("rejected"), settled("stored")), (4., 2., 1.));

    let file = config_of(&k8scop);
    let shown = listed(&file, &[]).await;
    let lines: Vec<&Value> = shown.iter().map(|it| &it["lines"]).collect();
    assert_eq!(lines, [&json!(BAD_JSON), &json!(DEEP), &json!(GARBAGE), &Value::Null]);
    assert!(shown[3]["lines_base64"].is_string());
    assert_eq!((&shown[1]["index"], &shown[1]["document_id"]), (&json!("deep"), &json!("d")));
    let table = letters(&file, "list", &["--limit", "1"]).await;
    assert!(!table.out.contains('\u{1b}'), "{}", table.out);
    assert!(table.out.contains("document_parsing_exception"), "{}", table.out);
    assert!(table.last().starts_with("4 dead letters (shown are the oldest 1"), "{}", table.out);
    for (args, count) in [
        (["--index", "d*p"], 1),
        (["--index", "app"], 2),
        (["--since", "2100-01-01T00:00:00Z"], 0),
        (["--since", "2020-01-01T00:00:00+01:00"], 4),
    ] {
        let typed = letters(&file, "list", &args).await;
        assert_eq!(typed.last(), format!("{count} dead letters"), "{args:?}");
    }

    // Sent twice, it is one letter.
    let (_, answer) = k8scop.bulk("/_bulk", [DEEP, GARBAGE].concat()).await;
    assert_eq!(verdicts(&answer), [KEPT, KEPT], "{answer}");
    assert_eq!(listed(&file, &[]).await.len(), 4);

    // The cause is not mended: each becomes the same letter again, and none is removed.
    let listen = k8scop.data.to_string();
    let again = letters(&file, "replay", &["--listen", &listen]).await;
    assert_eq!((again.status, again.last()), (1, "0 replayed, 4 refused again, 0 not sent"));
    assert!(again.err.contains("became a dead letter again"), "{}", again.err);
    assert_eq!(listed(&file, &[]).await.len(), 4);
    drop(k8scop);

    let mended = K8scop::start(&config(&folder, "")).await;
    let file = config_of(&mended);
    let listen = mended.data.to_string();
    let dry = letters(&file, "replay", &["--listen", &listen, "--dry-run"]).await;
    assert_eq!((dry.status, dry.last()), (0, "0 replayed, 0 refused again, 4 not sent"));
    assert!(dry.out.contains(&format!("would send 1 to http://{listen}/_bulk")), "{}", dry.out);
    let args = ["--listen", &listen, "--index", "deep"];
    let kept = letters(&file, "replay", &[&args[..], &["--keep"]].concat()).await;
    assert_eq!((kept.status, kept.last()), (0, "1 replayed, 0 refused again, 0 not sent"));
    assert_eq!(listed(&file, &[]).await.len(), 4);
    // It is there already: 409.
    let done = letters(&file, "replay", &args).await;
    assert_eq!((done.status, done.last()), (0, "1 replayed, 0 refused again, 0 not sent"));
    let left = listed(&file, &[]).await;
    assert_eq!(left.len(), 3);
    let stored = std::fs::read_to_string(folder.0.join("out/deep.ndjson")).unwrap();
    assert_eq!(stored, DEEP);

    // One by its id, to whoever takes it.
    let taker = Fake::start(|_, _| {
        let answer = r#"{"took":1,"errors":false,"items":[{"index":{"status":201}}]}"#;
        Reaction::Answer(200, vec![], answer.into())
    })
    .await;
    let id = left[1]["id"].as_str().unwrap();
    let one = letters(&file, "replay", &["--to", &taker.url(), "--id", id]).await;
    assert_eq!((one.status, one.last()), (0, "1 replayed, 0 refused again, 0 not sent"));
    assert_eq!(taker.asked()[0].body, GARBAGE);
    // The rest, one by one: no line of one is read as a part of another.
    let rest = letters(&file, "replay", &["--to", &taker.url()]).await;
    assert_eq!((rest.status, rest.last()), (0, "2 replayed, 0 refused again, 0 not sent"));
    assert_eq!(taker.asked().len(), 3);
    let table = letters(&file, "list", &[]).await;
    assert_eq!((table.status, table.out.as_str()), (0, "0 dead letters\n"));
    mended.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_documents_and_no_text_are_kept_byte_for_byte() {
    let folder = Folder::new("letters");
    let k8scop = K8scop::start(&config(&folder, "")).await;
    let large = format!(
        "{{\"create\":{{\"_index\":\"app\"}}}}\n{{\"n\":\"{}\\u00e9\n",
        "ä\\".repeat(70_000)
    );
    let body = [large.as_bytes(), NOT_UTF8].concat();
    let (_, answer) = k8scop.bulk("/_bulk", body.clone()).await;
    assert_eq!(verdicts(&answer), [KEPT, KEPT]);
    let taker = Fake::start(|_, asked| Reaction::Items(vec![201; asked.actions().len()])).await;
    let file = config_of(&k8scop);
    let shown = listed(&file, &[]).await;
    assert_eq!(shown[0]["lines"], large);
    let done = letters(&file, "replay", &["--to", &taker.url()]).await;
    assert_eq!(done.last(), "2 replayed, 0 refused again, 0 not sent", "{}", done.err);
    assert_eq!(taker.asked()[0].body, large);
    assert_eq!(taker.asked()[1].body, String::from_utf8_lossy(NOT_UTF8));
    // Each letter has so many bytes as its lines.
    assert_eq!(taker.asked()[1].header("content-length").unwrap(), NOT_UTF8.len().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_write_is_not_kept_and_a_replay_has_to_say_who_it_is() {
    let folder = Folder::new("letters");
    let auth = "auth:\n- { name: replayer, password: pass/word, indices: ['app*'] }\n- { name: other, api_key: 'of-a-replay:key', indices: ['app*'] }\n";
    let k8scop = K8scop::start(&config(&folder, auth)).await;
    let url = |user: &str, path: &str| k8scop.url(path).replace("://", &format!("://{user}@"));
    let body =
        "{\"create\":{\"_index\":\"secret\"}}\n{}\n{\"create\":{\"_index\":\"app\"}}\n{\"n\n";
    let client = crate::harness::client();
    let answer =
        client.post(url("replayer:pass%2Fword", "/_bulk")).body(body).send().await.unwrap();
    let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(verdicts(&answer), [(403, false), KEPT], "{answer}");
    let file = config_of(&k8scop);
    let shown = listed(&file, &[]).await;
    assert_eq!((shown.len(), &shown[0]["index"]), (1, &json!("app")));

    let own = k8scop.url("");
    let unknown = letters(&file, "replay", &["--to", &own]).await;
    assert_eq!(
        (unknown.status, unknown.last()),
        (70, "0 replayed, 0 refused again, 1 not sent"),
        "{}",
        unknown.err
    );
    assert!(unknown.err.contains("it answers 401"), "{}", unknown.err);
    let to = url("replayer:pass%2Fword", "");
    for args in [&["--to", to.as_str()][..], &["--to", &own, "--api-key", "env:K8SCOP_TEST_KEY"]] {
        let known = letters(&file, "replay", args).await;
        assert_eq!((known.status, known.last()), (1, "0 replayed, 1 refused again, 0 not sent"));
        assert!(!(known.out + &known.err).contains("pass"), "{}", known.err);
    }
    for args in [
        &["--to", "ftp://user:hidden@x"][..],
        &["--to", &to, "--api-key", "k"],
        &["--to", &own, "--api-key", "env:K8SCOP_NOT_SET"],
        &["--to", &own, "--ca-file", "none.pem"],
    ] {
        let wrong = letters(&file, "replay", args).await;
        assert_eq!(wrong.status, 4, "{args:?}: {}", wrong.err);
        assert!(!wrong.err.contains("hidden"), "{}", wrong.err);
    }
    assert_eq!(letters(&file, "replay", &["--since", "yesterday"]).await.status, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_is_that_of_the_configuration() {
    let folder = Folder::new("letters");
    let dir = folder.0.display();
    let k8scop = K8scop::start(&format!("output: file:{dir}/out\non_reject: dead_letter\n")).await;
    let (_, answer) = k8scop.bulk("/_bulk", DEEP.replace(']', "")).await;
    assert_eq!(verdicts(&answer), [KEPT], "{answer}");
    // In the output, and found there by who has turned it off, too.
    assert!(folder.0.join("out/logs-k8scop.dead_letter-default.ndjson").exists());
    let file = folder.0.join("k8scop.yaml");
    std::fs::write(&file, "").unwrap();
    let args = ["--output", &format!("file:{dir}/out")];
    let former = letters(&file, "list", &args).await;
    assert_eq!(former.last(), "1 dead letters");
    assert!(former.err.contains("on_reject is `report`"), "{}", former.err);
    drop(k8scop);

    let authority = Authority::new();
    let ours = authority.sign("k8scop");
    for (name, text) in
        [("ca.pem", &authority.pem), ("cert.pem", &ours.cert), ("key.pem", &ours.key)]
    {
        std::fs::write(folder.0.join(name), text).unwrap();
    }
    let secured = K8scop::start(&format!(
        "output: file:{dir}/out\non_reject: dead_letter\ntls: {{ cert_file: {dir}/cert.pem, key_file: {dir}/key.pem }}\n"
    ))
    .await;
    let (file, listen) = (config_of(&secured), secured.data.to_string());
    let unknown = letters(&file, "replay", &["--listen", &listen]).await;
    assert_eq!((unknown.status, unknown.last()), (70, "0 replayed, 0 refused again, 1 not sent"));
    assert!(unknown.err.contains(&format!("https://{listen}")), "{}", unknown.err);
    let ca_file = folder.0.join("ca.pem");
    let args = ["--listen", &listen, "--ca-file", ca_file.to_str().unwrap()];
    let known = letters(&file, "replay", &args).await;
    assert_eq!((known.status, known.last()), (1, "0 replayed, 1 refused again, 0 not sent"));
    let nowhere = letters(&file, "replay", &["--listen", "127.0.0.1:0"]).await;
    assert_eq!(nowhere.status, 4, "{}", nowhere.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_cannot_be_kept_is_no_success() {
    // Refused for good, too: the shipper hears of the document. Not now: it is to send the document again.
    for (status, expected) in [(400, 400), (403, 400), (429, 503)] {
        let fake = Fake::start(move |_, asked| {
            let is_letter = asked.body.contains("\"logs-k8scop.dead_letter-default\"");
            Reaction::Items(vec![if is_letter { status } else { 400 }])
        })
        .await;
        let k8scop = K8scop::start(&format!(
            "output: {}\non_reject: dead_letter\nlimits: {{ request_deadline_s: 1 }}\n",
            fake.url()
        ))
        .await;
        let (_, answer) = k8scop.bulk("/_bulk", GOOD).await;
        let said = &answer["items"][0]["create"];
        assert_eq!(said["status"], expected, "{answer}");
        assert_eq!(answer["errors"], true);
        let letters = fake.asked().into_iter().filter(|it| it.body.contains("dead_letter")).count();
        assert!(letters > 0, "{status}");
        k8scop.check_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_cut_off_loses_nothing() {
    let folder = Folder::new("letters");
    let k8scop = K8scop::start(&config(&folder, "")).await;
    let (_, answer) = k8scop.bulk("/_bulk", [BAD_JSON, GARBAGE].concat()).await;
    assert_eq!(verdicts(&answer), [KEPT, KEPT]);
    let file = config_of(&k8scop);

    let hanging = Fake::start(|_, _| Reaction::Hang).await;
    let mut child = command(&file, "replay", &["--to", &hanging.url()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the letters to be sent", SOON, async || (!hanging.asked().is_empty()).then_some(()))
        .await;
    // Meanwhile nobody else sends them.
    let second = letters(&file, "replay", &["--to", &hanging.url()]).await;
    assert_eq!(second.status, 70);
    assert!(second.err.contains("another replay"), "{}", second.err);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(listed(&file, &[]).await.len(), 2);

    for reaction in [
        Reaction::Close,
        Reaction::CutAfter(90),
        Reaction::Answer(200, vec![], r#"{"items":[]}"#.into()),
        Reaction::Answer(404, vec![], "<html>".into()),
    ] {
        let fake = Fake::start(move |_, _| reaction.clone()).await;
        let cut = letters(&file, "replay", &["--to", &fake.url()]).await;
        assert_eq!((cut.status, cut.last()), (70, "0 replayed, 0 refused again, 2 not sent"));
        assert!(cut.err.contains(&fake.url()), "{}", cut.err);
    }
    assert_eq!(listed(&file, &[]).await.len(), 2);
}

/// A letter as Elasticsearch gives it out.
fn hit(id: &str, lines: &str, more: &Value) -> Value {
    let mut letter = json!({
        "operation": "create", "status": 400, "index": "app", "lines": lines
    });
    for (name, value) in more.as_object().unwrap() {
        letter[name] = value.clone();
    }
    json!({
        "_index": ".ds-logs-k8scop.dead_letter-default-000001", "_id": id, "found": true,
        "_source": {
            "@timestamp": "2026-11-22T06:00:00.000Z",
            "error": { "type": "t", "message": "m" },
            "k8scop": { "dead_letter": letter }
        }
    })
}

/// A cluster with these letters, which takes none.
async fn cluster(hits: Vec<Value>) -> Fake {
    Fake::start(move |_, asked: &Asked| {
        let page = |hits: &[Value]| {
            let page = json!({
                "_scroll_id": "place", "timed_out": false, "_shards": { "failed": 0 },
                "hits": { "total": { "value": hits.len() }, "hits": hits }
            });
            Reaction::Answer(200, vec![], page.to_string())
        };
        let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
        match asked.line.split(' ').nth(1).unwrap() {
            path if path.starts_with("/logs-k8scop.dead_letter-*/_search?scroll=") => page(&hits),
            "/_search/scroll" => page(&[]),
            "/_mget" => {
                let one = |it: &Value| hits.iter().find(|hit| hit["_id"] == it["_id"]).unwrap();
                let docs: Vec<_> = body["docs"].as_array().unwrap().iter().map(one).collect();
                Reaction::Answer(200, vec![], json!({ "docs": docs }).to_string())
            }
            _ => Reaction::Answer(200, vec![], items(asked, &[200])),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_in_a_cluster_are_removed_when_they_are_stored_and_only_then() {
    let lines = |n: u32| format!("{{\"create\":{{\"_index\":\"app\"}}}}\n{{\"n\":{n}}}\n");
    let of_url = json!({ "default_index": "app", "parameters": "routing=r%2D1" });
    let forged = format!("{}{DELETE}", lines(8));
    let mut hits: Vec<_> = (1..6).map(|n| hit(&format!("l{n}"), &lines(n), &json!({}))).collect();
    hits.push(hit("l6", "{\"create\":{}}\n{\"n\":6}\n", &of_url));
    hits.push(hit("l8", &forged, &json!({})));
    hits.push(json!({ "_index": "i", "_id": "other", "_source": { "a": 1 } }));
    let elasticsearch = cluster(hits).await;
    let taker = Fake::start(|_, asked| {
        if asked.line.contains("app") {
            return Reaction::Items(vec![201]);
        }
        let object = [
            r#""status":201"#,
            r#""status":409,"error":{"type":"version_conflict_engine_exception"}"#,
            r#""status":400,"error":{"type":"t\u001b","reason":"r"}"#,
            r#""status":201,"failure_store":"used""#,
            r#""status":429,"error":{"type":"busy","reason":"r"}"#,
        ];
        let items: Vec<_> = object.iter().map(|it| format!("{{\"create\":{{{it}}}}}")).collect();
        let answer = format!("{{\"errors\":true,\"items\":[{}]}}", items.join(","));
        Reaction::Answer(200, vec![], answer)
    })
    .await;
    let folder = Folder::new("letters");
    let file = folder.0.join("k8scop.yaml");
    std::fs::write(
        &file,
        format!(
            "output: {}\non_reject: dead_letter\nelasticsearch: {{ api_key: 'a:b' }}\n",
            elasticsearch.url()
        ),
    )
    .unwrap();
    let table = letters(&file, "list", &[]).await;
    assert_eq!((table.status, table.last()), (0, "7 dead letters"), "{}", table.err);
    assert!(table.err.contains("1 documents among the letters are no dead letters"));
    assert!(listed(&file, &["--index", "none"]).await.is_empty());

    let done = letters(&file, "replay", &["--to", &taker.url()]).await;
    assert_eq!((done.status, done.last()), (1, "3 replayed, 2 refused again, 2 not sent"));
    assert!(done.err.contains("l8: its lines are not the item that it shows"), "{}", done.err);
    assert!(done.err.contains("l3: 400: t\\u001b: r"), "{}", done.err);

    let removed: Vec<String> = elasticsearch
        .asked()
        .iter()
        .filter(|it| it.line.contains("/_bulk"))
        .map(|it| it.body.clone())
        .collect();
    let delete = |id: &str| {
        json!({ "delete": { "_index": ".ds-logs-k8scop.dead_letter-default-000001", "_id": id } })
            .to_string()
            + "\n"
    };
    assert_eq!(removed, [delete("l1") + &delete("l2"), delete("l6")]);
    // What proves who we are is for the output only.
    assert!(
        elasticsearch.asked().iter().all(|it| it.header("authorization") == Some("ApiKey YTpi"))
    );
    let asked = taker.asked();
    assert!(asked.iter().all(|it| it.header("authorization").is_none()));
    assert_eq!(asked[0].body, (1..6).map(lines).collect::<String>());
    assert_eq!(asked[1].line, "POST /app/_bulk?routing=r%2D1 HTTP/1.1");
    assert_eq!(asked.len(), 2);

    // The output itself is asked with them.
    let direct = letters(&file, "replay", &["--to", &elasticsearch.url(), "--keep"]).await;
    assert_eq!(direct.last(), "6 replayed, 0 refused again, 1 not sent", "{}", direct.err);
    assert!(
        elasticsearch.asked().iter().all(|it| it.header("authorization") == Some("ApiKey YTpi"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_letter_that_a_whole_request_is_refused_for_is_found() {
    let lines = |n: u32| format!("{{\"create\":{{\"_index\":\"app\"}}}}\n{{\"n\":{n}}}\n");
    let hits = (0..9).map(|n| hit(&format!("l{n}"), &lines(n), &json!({}))).collect();
    let elasticsearch = cluster(hits).await;
    let picky = Fake::start(|_, asked| {
        if asked.body.contains("\"n\":6") {
            let error = r#"{"error":{"type":"poison","reason":"r"},"status":400}"#;
            return Reaction::Answer(400, vec![], error.into());
        }
        Reaction::Items(vec![201])
    })
    .await;
    let folder = Folder::new("letters");
    let file = folder.0.join("k8scop.yaml");
    let url = elasticsearch.url();
    std::fs::write(&file, format!("output: {url}\non_reject: dead_letter\n")).unwrap();
    let done = letters(&file, "replay", &["--to", &picky.url()]).await;
    assert_eq!((done.status, done.last()), (1, "8 replayed, 1 refused again, 0 not sent"));
    assert!(done.err.contains("l6: 400: poison: r"), "{}", done.err);
    let deletes = elasticsearch.asked().iter().map(|it| it.actions().len()).sum::<usize>();
    assert_eq!(deletes, 8);
}
