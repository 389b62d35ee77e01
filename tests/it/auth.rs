//! Who is let in, and what they may do.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use reqwest::Method;
use serde_json::Value;

use crate::{
    fake::{Fake, Reaction},
    harness::{Folder, K8scop, SOON, nobody, wait_for},
    pki::Authority,
    real::parts::{ELASTICSEARCH, part},
};

const BODY: &str = "{\"create\":{\"_index\":\"a\"}}\n{}\n";

const CREDENTIALS: &str = "auth:\n\
    - {name: beats, password: 'pass:word'}\n\
    - {name: vector, api_key: 'id:key'}\n\
    - {name: fluent, bearer: token-of-fluent}\n\
    - {name: narrow, password: second, indices: ['logs-*', .own], set_up: false}\n";

/// Sends a request with these headers; gives back status, challenges and answer.
async fn ask(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> (u16, Vec<String>, Value) {
    let mut request = nobody().request(method, url).body(body);
    request = request.header("content-type", "application/x-ndjson");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let challenges = answer.headers().get_all("www-authenticate").iter();
    let challenges = challenges.map(|it| it.to_str().unwrap().to_owned()).collect();
    let text = answer.text().await.unwrap();
    (status, challenges, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn basic(user: &str, password: &str) -> String {
    // As a client writes it.
    let request = nobody().get("http://a/").basic_auth(user, Some(password)).build().unwrap();
    request.headers()["authorization"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn only_who_is_known_is_let_in() {
    let k8scop = K8scop::start(CREDENTIALS).await;
    let url = k8scop.url("/_bulk");
    let bulk = async |headers: &[(&str, &str)]| ask(Method::POST, &url, headers, BODY).await;
    for good in [&basic("beats", "pass:word"), "apikey aWQ6a2V5", "Bearer token-of-fluent"] {
        let (status, _, answer) = bulk(&[("authorization", good)]).await;
        assert_eq!((status, &answer["errors"]), (200, &Value::Bool(false)), "{good}: {answer}");
    }
    for bad in [&basic("beats", "word"), "ApiKey aWQ6a2V6", "Bearer token", "Basic !", "Basic"] {
        let (status, challenges, answer) = bulk(&[("authorization", bad)]).await;
        assert_eq!(status, 401, "{bad}");
        let expected =
            [r#"Basic realm="security", charset="UTF-8""#, r#"Bearer realm="security""#, "ApiKey"];
        assert_eq!(challenges, expected);
        assert_eq!(answer["error"]["type"], "security_exception");
        assert_eq!(answer["error"]["root_cause"][0]["header"]["WWW-Authenticate"][2], "ApiKey");
    }
    let (status, _, answer) = bulk(&[]).await;
    let missing = "missing authentication credentials for REST request [/_bulk]";
    assert_eq!((status, answer["error"]["reason"].as_str()), (401, Some(missing)));
    let twice = [("authorization", "Bearer token-of-fluent"), ("authorization", "Bearer x")];
    assert_eq!(bulk(&twice).await.0, 400);
    // Everything that is passed through asks for it, too.
    let root = k8scop.url("/?pretty=true");
    let (status, _, answer) = ask(Method::GET, &root, &[], "").await;
    assert_eq!(status, 401);
    assert!(answer["error"]["reason"].as_str().unwrap().ends_with("[/?pretty=true]"), "{answer}");
    assert_eq!(ask(Method::HEAD, &root, &[], "").await.0, 401);
    let known = [("authorization", "Bearer token-of-fluent")];
    assert_eq!(ask(Method::GET, &root, &known, "").await.0, 200);
    // Metrics are not for shippers: their port has its own rules.
    k8scop.check_balance().await;
}

/// Sends all, and only then reads, as simple clients do.
fn send_and_read(address: SocketAddr, head: &str, body: &[u8]) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    let len = body.len();
    write!(stream, "POST /_bulk HTTP/1.1\r\nhost: a\r\ncontent-length: {len}\r\n{head}\r\n")?;
    stream.write_all(body)?;
    let mut got = vec![0; 4096];
    let read = stream.read(&mut got)?;
    Ok(String::from_utf8_lossy(&got[..read]).into_owned())
}

#[tokio::test]
async fn who_is_not_let_in_hears_so_however_much_it_sends() {
    let k8scop = K8scop::start(CREDENTIALS).await;
    let address = k8scop.data;
    let large = vec![b'a'; 20 << 20];
    let send = move |head: &'static str, body: Vec<u8>| {
        tokio::task::spawn_blocking(move || send_and_read(address, head, &body).unwrap())
    };
    for head in ["", "authorization: Bearer x\r\n"] {
        let answer = send(head, large.clone()).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    }
    let answer = send("expect: 100-continue\r\n", Vec::new()).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    k8scop.check_balance().await;
}

/// A real Elasticsearch that knows nobody. Gone when the test ends.
struct Secured(u16);

impl Secured {
    fn run(what: &str, port: u16) -> std::process::Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/elasticsearch");
        let secured = "xpack.security.enabled: true\nxpack.security.authc.api_key.enabled: true\n";
        let mut command = Command::new(script);
        command.args([what, "--port", &port.to_string()]);
        command.env("K8SCOP_ES_HEAP", "512m").env("K8SCOP_ES_YML", secured).stdin(Stdio::null());
        command.output().unwrap()
    }

    async fn start() -> Self {
        let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
        let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_000));
        let port = ports.find(|it| is_free(*it) && is_free(it + 100)).unwrap();
        let node = Self(port);
        let output = tokio::task::spawn_blocking(move || Self::run("start", port)).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        node
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        Self::run("clean", self.0);
    }
}

/// Elasticsearch 8.19.21 names `Basic` before `ApiKey` or after it, and not always as the minute before.
fn sorted(mut answer: (u16, Vec<String>, Value)) -> (u16, Vec<String>, Value) {
    answer.1.sort_unstable();
    for error in ["/error", "/error/root_cause/0"] {
        let named = answer.2.pointer_mut(&format!("{error}/header/WWW-Authenticate"));
        if let Some(Value::Array(named)) = named {
            named.sort_unstable_by_key(ToString::to_string);
        }
    }
    answer
}

#[tokio::test]
async fn refusals_are_those_of_elasticsearch() {
    let test = "auth::refusals_are_those_of_elasticsearch";
    if part(test, ELASTICSEARCH).is_none() {
        return;
    }
    let node = Secured::start().await;
    let config = "auth: [{name: a, password: b}, {name: c, api_key: 'd:e'}]\n";
    let k8scop = K8scop::start(config).await;
    let theirs = format!("http://127.0.0.1:{}", node.0);
    let ours = k8scop.url("");
    let unknown = basic("no\"body", "x");
    let mut other = Vec::new();
    for values in [
        &[][..],
        &[""],
        &["Basic"],
        &["Basic "],
        &["Wat x"],
        &["Basic bm9jb2xvbg=="],
        &[unknown.as_str()],
        &[unknown.trim_end_matches('=')],
        &["Basic Om5vdXNlcg=="],
        &["Basic //46eA=="],
        &["basic   bm86b25l"],
        &["Basic bm86b25l", "Basic bm86b25l"],
        &["Basic bm86b25l", "Basic bm86b25m"],
        &["Basic bm86b25l", ""],
    ] {
        let headers: Vec<_> = values.iter().map(|it| ("authorization", *it)).collect();
        for (method, path) in [
            (Method::POST, "/_bulk"),
            (Method::GET, "/_license?human=false&x=%22%20"),
            (Method::HEAD, "/"),
        ] {
            let url = |base: &str| format!("{base}{path}");
            let their = sorted(ask(method.clone(), &url(&theirs), &headers, BODY).await);
            let our = sorted(ask(method, &url(&ours), &headers, BODY).await);
            assert!(matches!(their.0, 400 | 401), "{values:?} {path}: {their:?}");
            if our != their {
                other.push(format!("{values:?} {path}: {their:?}, here {our:?}"));
            }
        }
    }
    assert!(other.is_empty(), "{}", other.join("\n"));
}

#[tokio::test]
async fn what_a_credential_may_not_write_is_refused_item_by_item() {
    let k8scop = K8scop::start(CREDENTIALS).await;
    let header = basic("narrow", "second");
    let headers = [("authorization", header.as_str())];
    let names = ["logs-a", "other", ".own", ".security", "logs-b", "<logs-{now/d}>"];
    let line = |name: &&str| format!("{{\"create\":{{\"_index\":\"{name}\"}}}}\n{{\"n\":1}}\n");
    let body: String = names.iter().map(line).collect();
    let (status, _, answer) = ask(Method::POST, &k8scop.url("/_bulk"), &headers, body).await;
    assert_eq!((status, &answer["errors"]), (200, &Value::Bool(true)), "{answer}");
    let items: Vec<_> =
        answer["items"].as_array().unwrap().iter().map(|it| &it["create"]).collect();
    let statuses: Vec<_> = items.iter().map(|it| it["status"].as_u64().unwrap()).collect();
    // 400: it may, but no file has such a name.
    assert_eq!(statuses, [201, 403, 400, 403, 201, 400], "{answer}");
    assert_eq!(items[1]["_index"], "other");
    assert_eq!(items[1]["error"]["type"], "security_exception");
    let reason = items[1]["error"]["reason"].as_str().unwrap();
    assert!(reason.starts_with("action [indices:data/write/create] is unauthorized"), "{reason}");
    // The index of the path counts, unless the line has its own; every action is one of writing.
    let path = k8scop.url("/other/_bulk");
    let body = "{\"create\":{}}\n{}\n{\"create\":{\"_index\":\"logs-a\"}}\n{}\n{\"delete\":{\"_id\":\"1\"}}\n{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n";
    let (_, _, answer) = ask(Method::POST, &path, &headers, body).await;
    let items = answer["items"].as_array().unwrap().iter();
    let statuses: Vec<_> = items
        .map(|it| it.as_object().unwrap().values().next().unwrap()["status"].clone())
        .collect();
    assert_eq!(statuses, [403, 201, 403, 403], "{answer}");
    for (method, path, expected) in [
        (Method::PUT, "/_index_template/x", 403),
        (Method::GET, "/_index_template/x", 404),
        (Method::POST, "/other/_doc", 403),
        (Method::GET, "/_search", 403),
    ] {
        let answer = ask(method, &k8scop.url(path), &headers, "{}").await;
        assert_eq!(answer.0, expected, "{path}: {}", answer.2);
    }
    let wide = [("authorization", "Bearer token-of-fluent")];
    let answer = ask(Method::PUT, &k8scop.url("/_index_template/x"), &wide, "{}").await;
    assert_eq!(answer.0, 200, "{}", answer.2);
    k8scop.check_balance().await;
}

#[tokio::test]
async fn what_says_who_somebody_is_stays_here() {
    let fake = Fake::start(|_, asked| match asked.line.starts_with("POST") {
        true => Reaction::Items(vec![201]),
        false => Reaction::Answer(200, Vec::new(), "{}".into()),
    })
    .await;
    let output = format!("output: {}\n{CREDENTIALS}", fake.url());
    for (more, expected) in
        [("", None), ("elasticsearch: {api_key: 'ours:key'}\n", Some("ApiKey b3VyczprZXk="))]
    {
        let k8scop = K8scop::start(&format!("{output}{more}")).await;
        let headers = [
            ("authorization", "Bearer token-of-fluent"),
            ("es-security-runas-user", "elastic"),
            ("es-secondary-authorization", "Bearer y"),
            ("x-opaque-id", "7"),
        ];
        let (status, _, answer) = ask(Method::POST, &k8scop.url("/_bulk"), &headers, BODY).await;
        assert_eq!(status, 200, "{answer}");
        assert_eq!(ask(Method::GET, &k8scop.url("/"), &headers, "").await.0, 200);
        for asked in fake.asked().iter().rev().take(2) {
            assert_eq!(asked.header("authorization"), expected, "{}", asked.line);
            assert_eq!(asked.header("es-security-runas-user"), None);
            assert_eq!(asked.header("es-secondary-authorization"), None);
            assert_eq!(asked.header("x-opaque-id"), Some("7"));
        }
    }
}

#[tokio::test]
async fn a_certificate_says_who_somebody_is() {
    let (authority, folder) = (Authority::new(), Folder::new("auth"));
    authority.sign("k8scop").write(&folder.0, "server");
    fs::write(folder.0.join("ca.pem"), &authority.pem).unwrap();
    let dir = folder.0.display();
    let k8scop = K8scop::start(&format!(
        "tls: {{cert_file: {dir}/server.pem, key_file: {dir}/server.key, client_ca_file: {dir}/ca.pem, client_auth: optional}}\n\
         auth: [{{name: agents, certificate: elastic-agent, indices: ['logs-*']}}, {{name: b, bearer: t}}]\n"
    ))
    .await;
    let url = format!("https://{}/logs-x/_bulk", k8scop.data);
    let bulk = async |client: &reqwest::Client, token: Option<&str>| {
        let mut request = client.post(&url).header("content-type", "application/x-ndjson");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let body = "{\"create\":{}}\n{}\n{\"create\":{\"_index\":\"a\"}}\n{}\n";
        let answer = request.body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let answer: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        let item = |it: usize| answer["items"][it]["create"]["status"].as_u64();
        (status, item(0), item(1))
    };
    let named = authority.client(Some(&authority.sign("elastic-agent")));
    assert_eq!(bulk(&named, None).await, (200, Some(201), Some(403)));
    assert_eq!(bulk(&named, Some("t")).await, (200, Some(201), Some(201)), "the header is first");
    assert_eq!(bulk(&named, Some("x")).await.0, 401);
    let unnamed = authority.client(Some(&authority.sign("elastic-agent-2")));
    assert_eq!(bulk(&unnamed, None).await.0, 401);
    assert_eq!(bulk(&authority.client(None), None).await.0, 401);
    assert_eq!(bulk(&authority.client(None), Some("t")).await.0, 200);
}

#[tokio::test]
async fn a_secret_in_a_file_can_be_replaced() {
    let folder = Folder::new("auth");
    let file = folder.0.join("token");
    fs::write(&file, "one\n").unwrap();
    let config = format!("reload_s: 1\nauth: [{{name: a, bearer: 'file:{}'}}]\n", file.display());
    let k8scop = K8scop::start(&config).await;
    let url = k8scop.url("/_bulk");
    let with = async |token: &str| {
        ask(Method::POST, &url, &[("authorization", &format!("Bearer {token}"))], BODY).await.0
    };
    assert_eq!((with("one").await, with("two").await), (200, 401));
    fs::write(&file, "two\n").unwrap();
    wait_for("the new secret", SOON, async || (with("two").await == 200).then_some(())).await;
    assert_eq!(with("one").await, 401);
}

/// A run with a secret in its environment that tells all that it can tell.
struct Loud {
    child: Child,
    log: String,
}

impl Drop for Loud {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let fake = Fake::start(|_, asked| match asked.line.contains("_bulk") {
        true => Reaction::Items(vec![201]),
        false => Reaction::Answer(404, Vec::new(), "{}".into()),
    })
    .await;
    let folder = Folder::new("auth");
    fs::write(folder.0.join("bearer"), "canary-file").unwrap();
    fs::write(folder.0.join("es"), "canary-es").unwrap();
    let config = format!(
        "output: {}\nreload_s: 1\n\
         elasticsearch: {{username: u, password: file:es}}\n\
         auth: [{{name: a, password: canary-text}}, {{name: b, api_key: env:CANARY}}, {{name: c, bearer: file:bearer}}]\n",
        fake.url()
    );
    fs::write(folder.0.join("k8scop.yaml"), config).unwrap();
    let log = folder.0.join("log");
    let child = Command::new(env!("CARGO_BIN_EXE_k8scop"))
        .args(["run", "-c", "k8scop.yaml", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .current_dir(&folder.0)
        .env("CANARY", "id:canary-env")
        .env("RUST_LOG", "trace")
        .stdout(Stdio::null())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let mut loud = Loud { child, log: String::new() };
    let ready = wait_for("k8scop to be ready", SOON, async || {
        assert!(loud.child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(&log).unwrap());
        let text = fs::read_to_string(&log).unwrap();
        let lines = text.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
        lines.into_iter().find(|it| it["message"] == "ready")
    })
    .await;
    let address = |name: &str| -> SocketAddr { ready[name].as_str().unwrap().parse().unwrap() };
    let url = format!("http://{}/_bulk", address("listen"));
    let mut shown = String::new();
    let good = [&basic("a", "canary-text"), "ApiKey aWQ6Y2FuYXJ5LWVudg==", "Bearer canary-file"];
    let bad = [&basic("a", "canary-wrong"), "ApiKey canary-wrong", "Bearer canary-wrong"];
    for (headers, expected) in [(good, 200), (bad, 401)] {
        for value in headers {
            let answer = ask(Method::POST, &url, &[("authorization", value)], BODY).await;
            assert_eq!(answer.0, expected, "{value}: {}", answer.2);
            shown.push_str(&answer.2.to_string());
        }
    }
    let twice = [("authorization", good[2]), ("authorization", bad[2])];
    shown.push_str(&ask(Method::POST, &url, &twice, BODY).await.2.to_string());
    let passed = url.replace("_bulk", "_license");
    ask(Method::GET, &passed, &[("authorization", good[2])], "").await;
    // A reload that works, and one that does not.
    fs::write(folder.0.join("es"), "canary-next").unwrap();
    fs::write(folder.0.join("bearer"), "canary-text\u{0}").unwrap();
    let told = |what: &'static str| {
        let log = log.clone();
        wait_for(what, SOON, async move || {
            fs::read_to_string(&log).unwrap().contains(what).then_some(())
        })
    };
    told("files were read again").await;
    fs::remove_file(folder.0.join("es")).unwrap();
    told("files cannot be used").await;
    let metrics = format!("http://{}/metrics", address("admin"));
    shown.push_str(&nobody().get(metrics).send().await.unwrap().text().await.unwrap());
    loud.log = fs::read_to_string(&log).unwrap();
    for (place, text) in [("the log", &loud.log), ("what was answered", &shown)] {
        // Base64 of what clients and we send: `canary-…`, at each of its three places.
        for canary in ["canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"] {
            let line = text.lines().find(|it| it.contains(canary));
            assert_eq!(line, None, "{canary} is in {place}");
        }
    }
    assert!(fake.asked().iter().any(|it| it.header("authorization").is_some()));
}

#[test]
fn mistakes_are_told_without_secrets() {
    let folder = Folder::new("auth");
    let check = |text: &str, expected: &[&str]| {
        fs::write(folder.0.join("k8scop.yaml"), text).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_k8scop"))
            .args(["validate", "-c", "k8scop.yaml"])
            .current_dir(&folder.0)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{said}");
        for expected in expected {
            assert!(said.contains(expected), "{said}");
        }
        assert!(!said.contains("canary") && !said.contains("47"), "{said}");
    };
    check("auth: [{name: a, password: 4711}]", &["quotes"]);
    check("auth: [{name: a, password: 47.11}]", &["quotes"]);
    check("elasticsearch: {api_key: 4711}", &["quotes"]);
    check("auth: [{name: a, bearer: [canary]}]", &["a secret"]);
    check(
        "auth:\n  - {name: a, password: canary, bearer: canary}\n  - {name: b}\n  - {name: c, certificate: x}\n  - {name: d, bearer: 'file:/not/there'}\n  - {name: e, bearer: 'env:K8SCOP_NOT_SET'}\ntls: {cert_file: a, key_file: b, client_auth: required}",
        &[
            "auth a: give one of",
            "auth b: give one of",
            "auth c: certificate needs tls.client_ca_file",
            "auth d: /not/there",
            "auth e: the environment has no variable K8SCOP_NOT_SET",
            "tls.client_auth: needs tls.client_ca_file",
        ],
    );
    check(
        "auth: [{name: a, bearer: canary}, {name: b, bearer: canary}, {name: c, api_key: canary}, {name: d, password: canary, indices: ['A,b']}]",
        &["auth b: what proves it is that of a already", "auth c: an API key", "auth d: `A,b`"],
    );
}
