//! `k8scop check`: what is good passes, and each defect is found and named.

use std::{
    fs,
    process::{Command, Output},
    sync::Arc,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls};

use crate::{
    fake::{Asked, Fake, Reaction, items},
    harness::{Folder, K8scop},
};

/// Types the command and waits for its end.
pub async fn check(url: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_k8scop"));
    command.args(["check", url]).args(args).env("CHECK_KEY", "id:s3cret-key");
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The results in JSON, and the exit status.
async fn results(url: &str, args: &[&str]) -> (Vec<Value>, i32) {
    let output = check(url, &[&["--format", "json"], args].concat()).await;
    let rows = text(&output.stdout).lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    (rows, output.status.code().unwrap())
}

/// The result and the severity of a check.
#[track_caller]
fn result<'a>(rows: &'a [Value], group: &str, check: &str) -> (&'a str, &'a str) {
    let row = rows.iter().find(|it| it["group"] == group && it["check"] == check);
    let row = row.unwrap_or_else(|| panic!("no check {group}, {check}"));
    (row["result"].as_str().unwrap(), row["severity"].as_str().unwrap())
}

const PRODUCT: (&str, &str) = ("x-elastic-product", "Elasticsearch");

fn with_product(status: u16, body: impl Into<String>) -> Reaction {
    Reaction::Answer(status, vec![(PRODUCT.0, PRODUCT.1.into())], body.into())
}

/// What an Elasticsearch says that is no bulk answer.
fn handshake(asked: &Asked) -> Reaction {
    let mut words = asked.line.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let body = match path.split('?').next().unwrap() {
        "/" => {
            json!({ "version": { "number": "8.19.0", "build_flavor": "default" }, "tagline": "You Know, for Search" })
        }
        "/_license" => json!({ "license": { "status": "active", "type": "basic" } }),
        "/_xpack" => json!({}),
        "/_cluster/health" => json!({ "status": "green" }),
        "/_nodes/http" => json!({ "nodes": {} }),
        _ => return with_product(404, if method == "HEAD" { "" } else { "{}" }),
    };
    with_product(200, if method == "HEAD" { String::new() } else { body.to_string() })
}

fn is_bulk(asked: &Asked) -> bool {
    asked.line.contains("/_bulk")
}

/// Starts a target that answers bulk requests so.
async fn target(bulk: impl Fn(&Asked) -> Reaction + Send + Sync + 'static) -> Fake {
    Fake::start(move |_, asked| if is_bulk(asked) { bulk(asked) } else { handshake(asked) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn k8scop_breaks_for_nobody() {
    let k8scop = K8scop::start("").await;
    let output = check(&k8scop.url(""), &[]).await;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    let summary = out.lines().last().unwrap();
    assert!(summary.contains(" checks: ") && summary.contains(" 0 break, "), "{out}");
    assert!(
        out.contains("Filebeat 7.17") && out.contains("a malformed document costs only itself")
    );
    let index = err.split_whitespace().find(|it| it.starts_with("k8scop-check-")).unwrap();
    let stored = k8scop.folder().join(format!("k8scop-data/{index}.ndjson"));
    assert!(stored.exists(), "{err}");
    assert!(err.contains(&format!("the index {index} stays: ")), "{err}");
    let (rows, status) = results(&k8scop.url(""), &[]).await;
    assert_eq!((status, summary.split(' ').next()), (0, Some(rows.len().to_string().as_str())));
    assert_eq!(result(&rows, "contract", "what was answered as stored is there").0, "cannot tell");
    assert_eq!(result(&rows, "contract", "an unknown operation"), ("ok", ""));
    k8scop.check_balance().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_only_writes_nothing() {
    let fake = target(|_| panic!("a bulk request")).await;
    let (rows, status) = results(&fake.url(), &["--read-only"]).await;
    assert_eq!(status, 0, "{rows:?}");
    assert!(rows.len() > 15 && rows.iter().all(|it| it["result"] == "ok"), "{rows:?}");
    let asked = fake.asked();
    assert!(asked.iter().all(|it| it.line.starts_with("GET ") || it.line.starts_with("HEAD ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_200_is_a_loss() {
    let fake = target(|_| with_product(200, "")).await;
    let (rows, status) = results(&fake.url(), &[]).await;
    assert_eq!(status, 1);
    for (group, check) in [
        ("Filebeat 7.17", "bulk, gzip"),
        ("Logstash output 12", "bulk, filter_path, one fails"),
        ("Fluent Bit", "bulk"),
        ("Vector", "errors, as plain text"),
        ("contract", "a malformed document costs only itself"),
        ("contract", "gzip that is cut"),
    ] {
        assert_eq!(result(&rows, group, check), ("breaks", "loss"), "{group}, {check}");
    }
    assert_eq!(result(&rows, "Filebeat 7.17", "GET /_license"), ("ok", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_items_are_a_loss() {
    // Stops at the first line that it cannot read, as Fluent Bit's in_elasticsearch does.
    let fake = target(|asked| {
        let body =
            json!({ "errors": false, "items": [{ "create": { "_id": "x", "status": 201 } }] });
        with_product(if asked.body.is_empty() { 400 } else { 200 }, body.to_string())
    })
    .await;
    let (rows, status) = results(&fake.url(), &[]).await;
    assert_eq!(status, 1);
    for check in [
        "one item for each action",
        "a malformed document costs only itself",
        "a malformed action line",
        "PUT as well as POST",
    ] {
        assert_eq!(result(&rows, "contract", check), ("breaks", "loss"), "{check}");
    }
    assert_eq!(result(&rows, "rsyslog", "bulk, blanks in the action line").0, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn blanks_in_the_answer_hide_failures_from_vector() {
    let pretty = |asked: &Asked| {
        let body: Value = serde_json::from_str(&items(asked, &[201, 400])).unwrap();
        with_product(200, serde_json::to_string_pretty(&body).unwrap())
    };
    let (rows, status) = results(&target(pretty).await.url(), &[]).await;
    assert_eq!(status, 1);
    assert_eq!(result(&rows, "Vector", "errors, as plain text"), ("breaks", "loss"));
    assert_eq!(result(&rows, "contract", "the answer is compact JSON"), ("breaks", "loss"));
    assert_eq!(result(&rows, "contract", "each item under its operation's name"), ("ok", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_product_header_clients_refuse() {
    let fake = Fake::start(|_, asked| {
        let reaction = if is_bulk(asked) { Reaction::Items(vec![201]) } else { handshake(asked) };
        match reaction {
            Reaction::Answer(status, _, body) => Reaction::Answer(status, Vec::new(), body),
            other => other,
        }
    })
    .await;
    let (rows, status) = results(&fake.url(), &[]).await;
    assert_eq!(status, 1);
    assert_eq!(result(&rows, "Logstash output 12", "GET /"), ("breaks", "refused"));
    let python = "elasticsearch-py and -js";
    assert_eq!(result(&rows, python, "GET / has the product header"), ("breaks", "refused"));
    assert_eq!(
        result(&rows, python, "the bulk answer has the product header"),
        ("breaks", "duplicate")
    );
    assert_eq!(result(&rows, "Filebeat 7.17", "GET /"), ("ok", ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_items_is_compared_with_what_was_sent() {
    let fake = target(|asked| {
        // Another order, another operation, always errors:false, and 201 for everything.
        let list: Vec<Value> = asked
            .actions()
            .iter()
            .rev()
            .map(|it| {
                let action: Value = serde_json::from_str(it).unwrap();
                let id = action.as_object().unwrap().values().next().unwrap()["_id"].clone();
                json!({ "create": { "_index": "another", "_id": id, "status": 201 } })
            })
            .collect();
        with_product(200, json!({ "errors": false, "items": list }).to_string())
    })
    .await;
    let (rows, status) = results(&fake.url(), &[]).await;
    assert_eq!(status, 1);
    for (check, expected) in [
        ("one item for each action", ("ok", "")),
        ("items in the order of the actions", ("breaks", "loss")),
        ("each item under its operation's name", ("breaks", "stuck")),
        ("_index of each item", ("ok", "note")),
        ("_id of each item", ("ok", "")),
        ("a malformed document costs only itself", ("breaks", "loss")),
        ("an index name that cannot be", ("breaks", "loss")),
        ("create of what is there", ("breaks", "duplicate")),
        ("errors is false when all is stored", ("ok", "")),
    ] {
        assert_eq!(result(&rows, "contract", check), expected, "{check}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_back_is_compared_with_what_was_answered() {
    // Of what was answered as stored one document is found, and one that was answered as refused.
    for searches in [true, false] {
        let fake = Fake::start(move |_, asked| stores_little(asked, searches)).await;
        let (rows, _) = results(&fake.url(), &[]).await;
        for (check, severity) in [
            ("what was answered as stored is there", "loss"),
            ("what was not answered as stored is not there", "duplicate"),
        ] {
            assert_eq!(result(&rows, "contract", check), ("breaks", severity), "{searches}");
        }
        let asked = fake.asked();
        let deletes = asked.iter().filter(|it| it.line.starts_with("DELETE /k8scop-check-"));
        assert_eq!(deletes.count(), 1);
    }
}

fn stores_little(asked: &Asked, searches: bool) -> Reaction {
    let is_bad = |id: &str| id.ends_with("bad");
    if let Some((_, id)) = asked.line.split_once("/_doc/") {
        let id = id.split(' ').next().unwrap();
        let found = is_bad(id) || id.ends_with("-1");
        return with_product(200, json!({ "found": found }).to_string());
    }
    if asked.line.contains("/_search") && searches {
        let query: Value = serde_json::from_str(&asked.body).unwrap();
        let ids = query["query"]["ids"]["values"].as_array().unwrap();
        let refused = ids.iter().find(|it| is_bad(it.as_str().unwrap())).unwrap();
        let stored = ids.iter().find(|it| !is_bad(it.as_str().unwrap())).unwrap();
        let hits = json!([{ "_id": stored }, { "_id": refused }]);
        return with_product(200, json!({ "hits": { "hits": hits } }).to_string());
    }
    if !asked.line.contains("/_bulk") {
        return handshake(asked);
    }
    let actions = asked.actions();
    let actions = actions.iter().filter_map(|it| serde_json::from_str::<Value>(it).ok());
    let list: Vec<Value> = actions
        .map(|it| {
            let id = it.as_object().unwrap().values().next().unwrap()["_id"].clone();
            let status = if is_bad(id.as_str().unwrap_or_default()) { 400 } else { 201 };
            json!({ "create": { "_id": id, "status": status } })
        })
        .collect();
    with_product(200, json!({ "errors": false, "items": list }).to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_clients_refuse_are_found() {
    for (version, logstash, telegraf) in
        [("8.19.0", "ok", "ok"), ("6.8.0", "breaks", "ok"), ("3.6.0", "breaks", "breaks")]
    {
        let fake = Fake::start(move |_, asked| match handshake(asked) {
            Reaction::Answer(status, headers, body) => {
                Reaction::Answer(status, headers, body.replace("8.19.0", version))
            }
            other => other,
        })
        .await;
        let (rows, _) = results(&fake.url(), &["--read-only"]).await;
        assert_eq!(result(&rows, "Logstash output 12", "GET /").0, logstash, "{version}");
        assert_eq!(result(&rows, "Telegraf", "GET /").0, telegraf, "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn filebeats_set_up_needs_known_statuses() {
    for (path, status, expected) in [
        ("/_xpack", 400, ("ok", "")),
        ("/_xpack", 404, ("breaks", "stuck")),
        ("/_ilm/policy/filebeat", 400, ("breaks", "stuck")),
        ("/_ilm/policy/filebeat", 404, ("ok", "")),
    ] {
        let fake = Fake::start(move |_, asked| {
            if asked.line.contains(path) { with_product(status, "{}") } else { handshake(asked) }
        })
        .await;
        let (rows, exit) = results(&fake.url(), &["--read-only"]).await;
        let check = if path == "/_xpack" { "GET /_xpack" } else { "GET of the ILM policy" };
        assert_eq!(result(&rows, "Filebeat 7.17", check), expected, "{path} {status}");
        assert_eq!(exit, i32::from(expected.0 == "breaks"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_name_is_noted() {
    let fake = Fake::start(|_, asked| {
        let nodes = json!({ "nodes": { "a": { "http": { "publish_address": "10.0.0.9:9200" } } } });
        if asked.line.contains("/_nodes/http") {
            with_product(200, nodes.to_string())
        } else {
            handshake(asked)
        }
    })
    .await;
    let (rows, status) = results(&fake.url(), &["--read-only"]).await;
    assert_eq!(status, 0);
    let row = rows.iter().find(|it| it["group"] == "sniffing clients").unwrap();
    assert_eq!((&row["severity"], &row["seen"]), (&json!("note"), &json!("10.0.0.9:9200")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_was_there_stays() {
    let fake = Fake::start(|_, asked| {
        if asked.line.starts_with("HEAD /mine ") {
            with_product(200, "")
        } else if is_bulk(asked) {
            Reaction::Items(vec![201])
        } else {
            handshake(asked)
        }
    })
    .await;
    let output = check(&fake.url(), &["--index", "mine"]).await;
    assert!(text(&output.stderr).contains("index mine of"), "{output:?}");
    let asked = fake.asked();
    assert!(asked.iter().any(|it| it.line.starts_with("POST /mine/_bulk ")));
    assert!(!asked.iter().any(|it| it.line.starts_with("DELETE ")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_hangs_costs_three_waits_a_group() {
    let fake = target(|asked| {
        let is_filebeats = asked.header("user-agent").is_some_and(|it| it.contains("filebeat"));
        if is_filebeats { with_product(200, "{}") } else { Reaction::Hang }
    })
    .await;
    let (rows, status) = results(&fake.url(), &["--timeout", "1"]).await;
    assert_eq!(status, 1);
    let contract: Vec<_> = rows.iter().filter(|it| it["group"] == "contract").collect();
    assert!(
        contract[..3].iter().all(|it| it["severity"] == "stuck" && it["seen"] == "no answer in 1s")
    );
    assert!(contract[3..].iter().all(|it| it["result"] == "cannot tell"), "{contract:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_sent_and_never_shown() {
    let fake = Fake::start(|_, asked| {
        // A target that tells everybody what it was told.
        let told = asked.header("authorization").unwrap_or_default().to_owned();
        match handshake(asked) {
            _ if is_bulk(asked) => Reaction::Answer(
                400,
                Vec::new(),
                json!({ "error": { "type": "x", "reason": told } }).to_string(),
            ),
            other => other,
        }
    })
    .await;
    let with_user = fake.url().replace("http://", "http://us%65r:s3cret@");
    for (url, args, sent) in [
        (with_user, &["--timeout", "5"][..], "Basic dXNlcjpzM2NyZXQ="),
        (fake.url(), &["--api-key", "env:CHECK_KEY"], "ApiKey aWQ6czNjcmV0LWtleQ=="),
        (fake.url(), &["--api-key", "aWQ6czNjcmV0LWtleQ=="], "ApiKey aWQ6czNjcmV0LWtleQ=="),
    ] {
        let before = fake.asked().len();
        let output = check(&url, args).await;
        let shown = text(&output.stdout) + &text(&output.stderr);
        for secret in ["s3cret", "dXNlcjpzM2NyZXQ", "aWQ6czNjcmV0"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        let asked = fake.asked();
        assert!(asked.len() > before + 50);
        assert!(asked[before..].iter().all(|it| it.header("authorization") == Some(sent)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_not_followed() {
    let other = target(|_| panic!("followed")).await;
    let location = format!("{}/", other.url());
    let fake = Fake::start(move |_, _| {
        Reaction::Answer(307, vec![("location", location.clone())], String::new())
    })
    .await;
    let (rows, status) = results(&fake.url(), &[]).await;
    assert_eq!((status, other.asked().len()), (1, 0));
    assert_eq!(result(&rows, "Filebeat 7.17", "bulk, gzip").0, "breaks");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let closed = check(&format!("http://user:s3cret@{address}"), &[]).await;
    assert_eq!(closed.status.code(), Some(70));
    assert!(text(&closed.stderr).contains("cannot connect"), "{closed:?}");
    for args in [
        &["ftp://user:s3cret@host"][..],
        &["user:s3cret@host:9200"],
        &["http://h:9200", "--index", "Upper"],
        &["http://h:9200", "--api-key", "env:NOT_SET_ANYWHERE"],
        &["http://user:s3cret@h:9200", "--api-key", "k"],
        &["http://h:9200", "--ca-file", "none.pem"],
        &["http://h:9200", "--timeout", "0"],
    ] {
        let output = check(args[0], &args[1..]).await;
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        assert!(!text(&output.stderr).contains("s3cret"), "{output:?}");
    }
    let locked = Fake::start(|_, _| Reaction::Answer(401, Vec::new(), "{}".into())).await;
    let output = check(&locked.url(), &[]).await;
    assert_eq!(output.status.code(), Some(70));
    assert!(text(&output.stderr).contains("wants other credentials"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_trusted_only_when_told() {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = Folder::new("check");
    let ca = folder.0.join("ca.pem");
    fs::write(&ca, cert.pem()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(signing_key.serialize_der().into()),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut got = Vec::new();
            while !got.ends_with(b"\r\n\r\n") && stream.read_buf(&mut got).await.unwrap_or(0) > 0 {}
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            stream.write_all(answer.as_bytes()).await.ok();
            stream.shutdown().await.ok();
        }
    });
    let refused = check(&url, &["--read-only"]).await;
    assert_eq!(refused.status.code(), Some(70));
    assert!(text(&refused.stderr).contains("cannot connect: "), "{refused:?}");
    for args in [&["--insecure"][..], &["--ca-file", ca.to_str().unwrap()]] {
        let (rows, status) = results(&url, &[args, &["--read-only"]].concat()).await;
        assert_eq!(status, 1);
        assert_eq!(result(&rows, "Telegraf", "GET /"), ("breaks", "refused"));
    }
}
