//! TLS on both sides: towards shippers, and towards Elasticsearch.

use std::{
    fs,
    net::SocketAddr,
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, version::TLS13},
};

use crate::{
    harness::{Folder, K8scop, SOON, wait_for},
    pki::{Authority, VERSIONS},
};

const ANSWER: &str =
    r#"{"took":1,"errors":false,"items":[{"create":{"_index":"a","_id":"x","status":201}}]}"#;
const BODY: &str = "{\"create\":{\"_index\":\"a\"}}\n{}\n";

/// An Elasticsearch behind TLS, which can change.
struct Node {
    address: SocketAddr,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    /// The `Authorization` of each request.
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Node {
    async fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(Mutex::new(config));
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (of, log) = (Arc::clone(&config), Arc::clone(&asked));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let config = Arc::clone(&of.lock().unwrap());
                let Ok(mut stream) = TlsAcceptor::from(config).accept(stream).await else {
                    continue;
                };
                let mut got = Vec::new();
                while !String::from_utf8_lossy(&got).ends_with("{}\n") {
                    if stream.read_buf(&mut got).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let got = String::from_utf8(got).unwrap();
                let credentials = got.lines().find_map(|it| it.strip_prefix("authorization: "));
                log.lock().unwrap().push(credentials.unwrap_or_default().to_owned());
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{ANSWER}",
                    ANSWER.len()
                );
                stream.write_all(answer.as_bytes()).await.ok();
                stream.shutdown().await.ok();
            }
        });
        Self { address, config, asked, _tasks: tasks }
    }

    fn output(&self) -> String {
        format!("output: https://{}\nlimits: {{request_deadline_s: 2}}\n", self.address)
    }
}

#[tokio::test]
async fn only_a_trusted_certificate_is_spoken_to() {
    let (authority, folder) = (Authority::new(), Folder::new("tls"));
    let ca = folder.0.join("ca.pem");
    fs::write(&ca, &authority.pem).unwrap();
    let node = Node::start(Authority::server(&authority.sign("es"), None)).await;
    let output = node.output();
    let trusting =
        K8scop::start(&format!("{output}elasticsearch: {{ca_file: {}}}\n", ca.display())).await;
    assert_eq!(trusting.bulk("/_bulk", BODY).await.0, 200);
    let other = K8scop::start(&output).await;
    let (status, answer) = other.bulk("/_bulk", BODY).await;
    assert_eq!(status, 503);
    assert!(answer["error"]["reason"].as_str().unwrap().contains("cannot be reached"), "{answer}");
}

#[tokio::test]
async fn what_elasticsearch_is_shown_can_be_replaced_while_it_runs() {
    let (first, next, folder) = (Authority::new(), Authority::new(), Folder::new("tls"));
    let dir = folder.0.display();
    let write = |authority: &Authority, key: &str| {
        fs::write(folder.0.join("ca.pem"), &authority.pem).unwrap();
        fs::write(folder.0.join("api-key"), format!("{key}\n")).unwrap();
        authority.sign("k8scop").write(&folder.0, "client");
    };
    write(&first, "id:first");
    let node = Node::start(Authority::server(&first.sign("es"), Some(&first))).await;
    let k8scop = K8scop::start(&format!(
        "{}reload_s: 1\nelasticsearch:\n  api_key: file:{dir}/api-key\n  ca_file: {dir}/ca.pem\n  client_cert_file: {dir}/client.pem\n  client_key_file: {dir}/client.key\n",
        node.output()
    ))
    .await;
    assert_eq!(k8scop.bulk("/_bulk", BODY).await.0, 200);
    assert_eq!(node.asked.lock().unwrap().last().unwrap(), "ApiKey aWQ6Zmlyc3Q=");
    *node.config.lock().unwrap() = Authority::server(&next.sign("es"), Some(&next));
    assert_eq!(k8scop.bulk("/_bulk", BODY).await.0, 503, "neither side trusts the other");
    write(&next, "id:next");
    wait_for("the new certificates to be used", SOON, async || {
        (k8scop.bulk("/_bulk", BODY).await.0 == 200).then_some(())
    })
    .await;
    assert_eq!(node.asked.lock().unwrap().last().unwrap(), "ApiKey aWQ6bmV4dA==");
    k8scop.check_balance().await;
}

#[tokio::test]
async fn a_key_of_another_certificate_is_told_at_the_start() {
    let (authority, folder) = (Authority::new(), Folder::new("tls"));
    authority.sign("a").write(&folder.0, "a");
    authority.sign("b").write(&folder.0, "b");
    let config = folder.0.join("k8scop.yaml");
    for (text, file, key) in [
        ("tls: {cert_file: a.pem, key_file: b.key}", "a.pem", "tls.key_file b.key"),
        ("admin_tls: {cert_file: a.pem, key_file: b.key}", "a.pem", "admin_tls.key_file b.key"),
        (
            "output: https://127.0.0.1:1\nelasticsearch: {client_cert_file: b.pem, client_key_file: a.key}",
            "b.pem",
            "elasticsearch.client_key_file a.key",
        ),
    ] {
        fs::write(&config, text).unwrap();
        for command in ["validate", "run"] {
            let output = Command::new(env!("CARGO_BIN_EXE_k8scop"))
                .args([command, "-c", "k8scop.yaml"])
                .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
                .current_dir(&folder.0)
                .output()
                .unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(!output.status.success(), "{command}");
            let expected = format!("{key}: the key is not that of the certificate in {file}");
            assert!(said.contains(&expected), "{command}: {said}");
        }
    }
}

/// A k8scop with TLS on both ports and files as output; `more` goes into both sections.
async fn behind_tls(folder: &Folder, more: &str, rest: &str) -> K8scop {
    let dir = folder.0.display();
    let files = format!("cert_file: {dir}/server.pem, key_file: {dir}/server.key{more}");
    K8scop::start(&format!("tls: {{{files}}}\nadmin_tls: {{{files}}}\n{rest}")).await
}

async fn bulk(client: &reqwest::Client, address: SocketAddr) -> Result<u16, reqwest::Error> {
    let request = client.post(format!("https://{address}/_bulk")).body(BODY);
    let answer = request.header("content-type", "application/x-ndjson").send().await?;
    let status = answer.status().as_u16();
    answer.bytes().await?;
    Ok(status)
}

async fn scraped(client: &reqwest::Client, address: SocketAddr) -> bool {
    let answer = client.get(format!("https://{address}/metrics")).send().await;
    answer.is_ok_and(|it| it.status() == 200)
}

#[tokio::test]
async fn both_ports_speak_tls() {
    let (authority, folder) = (Authority::new(), Folder::new("tls"));
    let own = authority.sign("k8scop");
    own.write(&folder.0, "server");
    let mut k8scop = behind_tls(&folder, "", "").await;
    for address in [k8scop.data, k8scop.admin] {
        for version in VERSIONS {
            let shown = authority.look(address, version).await.unwrap();
            assert_eq!((shown.der, shown.version), (own.der.clone(), version.version));
            assert_eq!(shown.protocol.unwrap(), b"http/1.1");
        }
        assert!(Authority::new().look(address, &TLS13).await.is_err());
        let plain = crate::harness::client().get(format!("http://{address}/")).send().await;
        assert!(plain.is_err(), "what is no TLS is not answered");
    }
    let client = authority.client(None);
    assert_eq!(bulk(&client, k8scop.data).await.unwrap(), 200);
    assert!(scraped(&client, k8scop.admin).await);
    assert!(bulk(&Authority::new().client(None), k8scop.data).await.is_err());
    // Half a handshake does not keep it from ending.
    let _silent = tokio::net::TcpStream::connect(k8scop.data).await.unwrap();
    k8scop.term();
    assert!(k8scop.ended().await.success());
}

#[tokio::test]
async fn client_certificates() {
    let (authority, folder) = (Authority::new(), Folder::new("tls"));
    authority.sign("k8scop").write(&folder.0, "server");
    let clients = Authority::new();
    fs::write(folder.0.join("clients.pem"), &clients.pem).unwrap();
    let ca = format!(", client_ca_file: {}/clients.pem", folder.0.display());
    let none = authority.client(None);
    let good = authority.client(Some(&clients.sign("filebeat")));
    let wrong = authority.client(Some(&authority.sign("filebeat")));
    let required = behind_tls(&folder, &ca, "").await;
    let optional = behind_tls(&folder, &format!("{ca}, client_auth: optional"), "").await;
    assert_eq!(bulk(&good, required.data).await.unwrap(), 200);
    assert!(scraped(&good, required.admin).await);
    assert!(bulk(&none, required.data).await.is_err());
    assert!(bulk(&wrong, required.data).await.is_err());
    assert!(!scraped(&none, required.admin).await);
    assert_eq!(bulk(&good, optional.data).await.unwrap(), 200);
    assert_eq!(bulk(&none, optional.data).await.unwrap(), 200);
    assert!(bulk(&wrong, optional.data).await.is_err(), "what is shown must be good");
}

#[tokio::test]
async fn certificates_are_replaced_under_load() {
    let (authority, folder) = (Authority::new(), Folder::new("tls"));
    authority.sign("0").write(&folder.0, "server");
    let k8scop = behind_tls(&folder, "", "reload_s: 1\n").await;
    let address = k8scop.data;
    let (done, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut load = JoinSet::new();
    for keeps_connections in [true, false] {
        let (done, sent) = (Arc::clone(&done), Arc::clone(&sent));
        let ca = reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap();
        let kept = authority.client(None);
        load.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let fresh = || {
                    let builder = reqwest::Client::builder().no_proxy();
                    builder.tls_certs_only([ca.clone()]).build().unwrap()
                };
                let client = if keeps_connections { kept.clone() } else { fresh() };
                assert_eq!(bulk(&client, address).await.unwrap(), 200);
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for round in 1..4 {
        let next = authority.sign(&round.to_string());
        // Not at once: between the two the key is not that of the certificate.
        next.write(&folder.0, "server");
        let before = sent.load(Ordering::Relaxed);
        wait_for("the new certificate", Duration::from_secs(20), async || {
            let shown = authority.look(address, &TLS13).await.unwrap();
            (shown.der == next.der).then_some(())
        })
        .await;
        wait_for("requests", SOON, async || (sent.load(Ordering::Relaxed) > before).then_some(()))
            .await;
    }
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
    assert!(!k8scop.log().contains("\"level\":\"ERROR\""), "{}", k8scop.log());
}

#[tokio::test]
async fn a_hangup_ends_nothing_where_there_are_no_files() {
    let k8scop = K8scop::start("").await;
    let hangup = Command::new("kill").args(["-HUP", &k8scop.pid().to_string()]).status();
    assert!(hangup.unwrap().success());
    wait_for("the log", SOON, async || k8scop.log().contains("SIGHUP").then_some(())).await;
    assert_eq!(k8scop.bulk("/_bulk", BODY).await.0, 200);
}

#[tokio::test]
async fn what_cannot_be_used_leaves_the_old_in_use() {
    let (authority, folder) = (Authority::new(), Folder::new("tls"));
    let old = authority.sign("old");
    old.write(&folder.0, "server");
    let k8scop = behind_tls(&folder, "", "reload_s: 3600\n").await;
    let client = authority.client(None);
    assert_eq!(bulk(&client, k8scop.data).await.unwrap(), 200);
    let asked = async |what: &str| {
        let hangup = Command::new("kill").args(["-HUP", &k8scop.pid().to_string()]).status();
        assert!(hangup.unwrap().success());
        wait_for(what, SOON, async || k8scop.log().contains(what).then_some(())).await;
    };
    fs::write(folder.0.join("server.pem"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    asked("server.pem: a PEM section has no end").await;
    assert_eq!(authority.look(k8scop.data, &TLS13).await.unwrap().der, old.der);
    assert_eq!(bulk(&client, k8scop.data).await.unwrap(), 200);
    fs::remove_file(folder.0.join("server.key")).unwrap();
    asked("server.key: No such file").await;
    assert_eq!(bulk(&authority.client(None), k8scop.data).await.unwrap(), 200);
    let new = authority.sign("new");
    new.write(&folder.0, "server");
    asked("files were read again").await;
    for address in [k8scop.data, k8scop.admin] {
        wait_for("the new certificate", SOON, async || {
            (authority.look(address, &TLS13).await.unwrap().der == new.der).then_some(())
        })
        .await;
    }
    assert_eq!(bulk(&client, k8scop.data).await.unwrap(), 200, "its connection is still good");
    assert!(!k8scop.log().contains(&new.key[40..80]));
}
