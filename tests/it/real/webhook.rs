use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use k8scop::{classify::kubectl, event::AuditEvent, json};
use serde_json::Value;

use super::{
    elasticsearch::{Elasticsearch, all},
    parts::{CAPTURE, ELASTICSEARCH, Node, fresh, part, root, tell},
};
use crate::{
    harness::{CANARY, Folder, K8scop, SOON, wait_for},
    pki::Authority,
};

/// How long Elasticsearch is away at least.
const OUTAGE: Duration = Duration::from_secs(60);
/// How long after that everything is there: the API server's longest wait between two tries is 41 s.
const AFTERWARDS: Duration = Duration::from_secs(90);

/// A real kube-apiserver that goes when the test ends.
struct Kubernetes {
    child: Child,
    folder: PathBuf,
}

impl Kubernetes {
    async fn start(options: Vec<String>) -> Self {
        tokio::task::spawn_blocking(move || {
            let mut child = Command::new(root().join("scripts/kubernetes"))
                .arg("serve")
                .args(options)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut line = String::new();
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert!(line.ends_with('\n'), "scripts/kubernetes serve: it did not start");
            Self { child, folder: line.trim().into() }
        })
        .await
        .unwrap()
    }

    async fn kubectl(&self, args: &str, stdin: String) -> String {
        let mut command = Command::new(self.folder.join("kubectl"));
        command.args(args.split(' ')).env("KUBECONFIG", self.folder.join("admin.kubeconfig"));
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"] {
            command.env_remove(name);
        }
        let args = args.to_owned();
        tokio::task::spawn_blocking(move || {
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "kubectl {args}: {said}");
            String::from_utf8(output.stdout).unwrap()
        })
        .await
        .unwrap()
    }

    /// Makes objects, so that there is something to tell of.
    async fn make(&self, prefix: &str) {
        let objects: String = (0..60)
            .map(|it| {
                format!(
                    "---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {prefix}-{it}}}}}\n"
                )
            })
            .collect();
        self.kubectl("create -f -", objects).await;
    }

    /// Which events it has told of in its own log: audit id and stage.
    fn told(&self) -> HashSet<(String, String)> {
        let text = fs::read_to_string(self.folder.join("audit.log")).unwrap();
        // It may be writing the last one.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|it| named(&serde_json::from_str(it).unwrap())).collect()
    }
}

impl Drop for Kubernetes {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().ok();
    }
}

fn named(event: &Value) -> (String, String) {
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    (text("auditID"), text("stage"))
}

/// Which events are stored. Each is stored once.
async fn stored(elasticsearch: &Elasticsearch, index: &str) -> HashSet<(String, String)> {
    elasticsearch.refresh(index).await;
    let hits = elasticsearch.hits(index, &all()).await;
    let found: HashSet<_> =
        hits.iter().map(|it| named(&it["_source"]["kubernetes"]["audit"])).collect();
    assert_eq!(found.len(), hits.len(), "an event is stored twice");
    found
}

/// A capture of everything that is typed in the scenarios, while the API server pushes: what it wrote into its log
/// arrives, each event once, and is told as the command that was typed.
#[tokio::test(flavor = "multi_thread")]
async fn what_people_type_arrives_once() {
    let test = "what_people_type_arrives_once";
    let (Some(url), Some(_)) = (part(test, ELASTICSEARCH), part(test, CAPTURE)) else { return };
    let elasticsearch = Elasticsearch::new(&url);
    elasticsearch.put_templates().await;
    let (namespace, folder) = (fresh("typed"), Folder::new("typed"));
    let file = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let k8scop = K8scop::start(&format!("output: {url}\npush: {{namespace: {namespace}}}\n")).await;
    let exported = Command::new(env!("CARGO_BIN_EXE_k8scop"))
        .args(["export", "webhook-kubeconfig", "--cluster", "demo", "--url"])
        .arg(format!("http://{}", k8scop.data))
        .output()
        .unwrap();
    fs::write(file("kubeconfig"), exported.stdout).unwrap();
    // Each event before the answer that it tells of: nothing is under way when the API server is killed.
    let options = ["--audit-webhook-mode=blocking".to_owned()];
    let to = format!("--audit-webhook-config-file={}", file("kubeconfig"));
    let mut capture = Command::new(root().join("scripts/kubernetes"));
    capture.arg("capture").arg(file("captured")).args(options).arg(to).stderr(Stdio::null());
    let status = tokio::task::spawn_blocking(move || capture.status()).await.unwrap().unwrap();
    assert!(status.success(), "scripts/kubernetes capture: {status}");

    let typed = fs::read_to_string(file("captured/typed.ndjson")).unwrap();
    super::typed::check(&typed);
    let commands: Vec<Value> = typed.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    let events: Vec<&Value> =
        commands.iter().flat_map(|it| it["events"].as_array().unwrap()).collect();
    let told: HashSet<_> = events.iter().map(|it| named(it)).collect();
    let index = format!("logs-kubernetes.audit_logs-{namespace}");
    let missing = told.difference(&stored(&elasticsearch, &index).await).count();
    assert_eq!(missing, 0, "of {}", told.len());
    let labels = elasticsearch
        .hits(&index, &all())
        .await
        .into_iter()
        .map(|it| {
            (
                named(&it["_source"]["kubernetes"]["audit"]),
                it["_source"]["k8scop"]["kubectl"].clone(),
            )
        })
        .collect::<HashMap<_, _>>();
    for event in &events {
        let text = event.to_string();
        let event = AuditEvent::new(&text, json::members(&text).collect());
        let key = (
            event.audit_id.as_deref().unwrap().to_owned(),
            event.stage.as_deref().unwrap().to_owned(),
        );
        assert_eq!(labels[&key].as_str(), kubectl(&event).as_deref(), "{text}");
    }
    k8scop.check_balance().await;
    tell(format_args!(
        "{test}: {} commands, {} events of them, {} events in all",
        commands.len(),
        told.len(),
        labels.len()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_loses_nothing_in_an_outage() {
    let test = "an_api_server_loses_nothing_in_an_outage";
    // The capture is made with the API server that this test needs.
    let (Some(_), Some(_)) = (part(test, ELASTICSEARCH), part(test, CAPTURE)) else { return };
    let node = Node::start().await;
    let elasticsearch = Elasticsearch::new(&node.url);
    elasticsearch.put_templates().await;
    let (namespace, folder) = (fresh("webhook"), Folder::new("webhook"));
    let file = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let authority = Authority::new();
    authority.sign("k8scop").write(&folder.0, "own");
    fs::write(file("ca.pem"), &authority.pem).unwrap();
    let config = format!(
        "output: {}\npush: {{namespace: {namespace}}}\ntls: {{cert_file: {}, key_file: {}}}\nauth:\n\
        - {{name: apiserver, bearer: {CANARY}, indices: ['logs-*'], set_up: false}}\n",
        node.url,
        file("own.pem"),
        file("own.key"),
    );
    let k8scop = K8scop::start(&config).await;

    fs::write(file("token"), CANARY).unwrap();
    let exported = |args: &[&str], name: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_k8scop")).arg("export").args(args).output();
        fs::write(file(name), output.unwrap().stdout).unwrap();
    };
    let url = format!("https://{}", k8scop.data);
    let (token, ca) = (file("token"), file("ca.pem"));
    let to = ["webhook-kubeconfig", "--url", &url, "--cluster", "demo"];
    exported(&[&to[..], &["--token-file", &token, "--ca-file", &ca]].concat(), "kubeconfig");
    exported(&["audit-policy"], "policy");
    let kubernetes = Kubernetes::start(vec![
        format!("--audit-policy-file={}", file("policy")),
        format!("--audit-webhook-config-file={}", file("kubeconfig")),
        "--audit-webhook-batch-max-wait=1s".into(),
    ])
    .await;
    let index = format!("logs-kubernetes.audit_logs-{namespace}");

    kubernetes.make("before").await;
    kubernetes.kubectl("get secrets --all-namespaces", String::new()).await;
    let first = kubernetes.told();
    wait_for("the first events", SOON, async || {
        first.is_subset(&stored(&elasticsearch, &index).await).then_some(())
    })
    .await;

    node.stop().await;
    let stopped = Instant::now();
    let mut round = 0;
    while stopped.elapsed() < OUTAGE {
        kubernetes.make(&format!("outage-{round}")).await;
        round += 1;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    node.again().await;
    let away = stopped.elapsed();
    kubernetes.make("after").await;

    let told = kubernetes.told();
    wait_for("all events", AFTERWARDS, async || {
        told.is_subset(&stored(&elasticsearch, &index).await).then_some(())
    })
    .await;
    assert!(told.len() > 400, "{} events", told.len());
    let metrics = k8scop.metrics().await;
    let answered = |code: &str| {
        let name = format!("k8scop_http_requests_total{{code=\"{code}\",input=\"webhook\"}}");
        metrics.get(&name).copied().unwrap_or_default()
    };
    assert!(answered("200") > 0.0 && answered("503") > 0.0, "{metrics:#?}");
    // It gave up on none.
    let its = kubernetes.kubectl("get --raw /metrics", String::new()).await;
    let lost: Vec<_> = its
        .lines()
        .filter(|it| it.starts_with("apiserver_audit_error_total") && it.contains("webhook"))
        .filter(|it| !it.ends_with(" 0"))
        .collect();
    assert!(lost.is_empty(), "{lost:?}");
    let hits = elasticsearch.hits(&index, &all()).await;
    assert!(hits.iter().all(|it| it["_source"]["orchestrator"]["cluster"]["name"] == "demo"));
    let alerts = elasticsearch.hits(&format!("logs-k8scop.alerts-{namespace}"), &all()).await;
    let is_it = |it: &&Value| it["_source"]["message"] == "All secrets of the cluster read";
    assert_eq!(alerts.iter().filter(is_it).count(), 1);
    k8scop.check_balance().await;
    tell(format_args!(
        "{test}: Elasticsearch was away for {away:?}; {} events, {} requests stored, {} refused",
        told.len(),
        answered("200"),
        answered("503")
    ));
}
