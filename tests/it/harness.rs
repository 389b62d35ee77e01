//! Starts the program and waits for facts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::Value;

/// Longest wait for a fact that does not depend on an outage.
pub const SOON: Duration = Duration::from_secs(60);

/// Part of the secrets of all tests. It must never be seen in a log, a metric or an answer.
pub const CANARY: &str = "c4n4ry-5ecret";

/// A folder that goes when the test ends.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("k8scop-it-{name}-{:016x}", fastrand::u64(..)));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// A running `k8scop run`. Killed when the test ends.
pub struct K8scop {
    child: Child,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    folder: Folder,
}

impl K8scop {
    /// Starts it on free ports, with this configuration (YAML, without `listen` and `admin`).
    pub async fn start(config: &str) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_on(any, any, config).await
    }

    /// Starts it on these ports.
    pub async fn start_on(data: SocketAddr, admin: SocketAddr, config: &str) -> Self {
        let folder = Folder::new("run");
        let (file, log) = (folder.0.join("k8scop.yaml"), folder.0.join("log"));
        // With all rules that come with the program a start takes long, and an event has many labels.
        let mut config = config.to_owned();
        if !config.contains("rules:") {
            let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stream_rules");
            config.push_str(&format!("\nrules: {{ built_in: false, paths: [{rules}] }}\n"));
        }
        fs::write(&file, config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_k8scop"))
            .args(["run", "--config", file.to_str().unwrap()])
            .args(["--listen", &data.to_string(), "--admin", &admin.to_string()])
            .current_dir(&folder.0)
            .stderr(File::create(&log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut started = Self { child, data, admin, folder };
        let ready = wait_for("k8scop to be ready", SOON, async || {
            let text = fs::read_to_string(&log).unwrap();
            if let Some(status) = started.child.try_wait().unwrap() {
                panic!("k8scop ended with {status}: {text}");
            }
            let lines = text.lines().filter_map(|it| serde_json::from_str::<Value>(it).ok());
            lines.into_iter().find(|it| it["message"] == "ready")
        })
        .await;
        started.data = ready["listen"].as_str().unwrap().parse().unwrap();
        started.admin = ready["admin"].as_str().unwrap().parse().unwrap();
        started
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.data)
    }

    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap()
    }

    /// Sends a bulk body and gives back status and answer.
    pub async fn bulk(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let answer = client().post(self.url(path)).body(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert!(!text.contains(CANARY), "a secret is shown: {text}");
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// The metrics as they are scraped: name with labels, and value.
    pub async fn metrics(&self) -> BTreeMap<String, f64> {
        let url = format!("http://{}/metrics", self.admin);
        let text = client().get(url).send().await.unwrap().text().await.unwrap();
        assert!(!text.contains(CANARY), "a secret is shown: {text}");
        let lines = text.lines().filter(|it| !it.starts_with('#'));
        lines
            .filter_map(|it| it.rsplit_once(' '))
            .map(|(name, value)| (name.into(), value.parse().unwrap()))
            .collect()
    }

    /// Checks that every item that came in is answered or in flight.
    pub async fn check_balance(&self) {
        let metrics = self.metrics().await;
        let settled: f64 = metrics
            .iter()
            .filter(|(name, _)| name.starts_with("k8scop_settled_items_total"))
            .map(|(_, value)| value)
            .sum();
        let received: f64 = metrics
            .iter()
            .filter(|(name, _)| name.starts_with("k8scop_received_items_total"))
            .map(|(_, value)| value)
            .sum();
        let in_flight = metrics["k8scop_items_in_flight"];
        assert!(
            (received - settled - in_flight).abs() < 0.5,
            "{received} received, {settled} settled, {in_flight} in flight"
        );
    }

    /// SIGKILL: nothing is finished, nothing is said.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, without waiting.
    pub fn term(&self) {
        let status =
            Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        wait_for("k8scop to end", SOON, async || self.child.try_wait().unwrap()).await
    }
}

impl Drop for K8scop {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        let log = fs::read(self.folder.0.join("log")).unwrap_or_default();
        assert!(
            std::thread::panicking() || !String::from_utf8_lossy(&log).contains(CANARY),
            "a secret is logged"
        );
        // `scripts/test` looks for secrets in all of them.
        if let Some(logs) = std::env::var_os("K8SCOP_TEST_LOGS") {
            let name = format!("{:016x}.log", fastrand::u64(..));
            fs::write(Path::new(&logs).join(name), log).ok();
        }
    }
}

/// An HTTP client for tests. It shows a secret with every request.
pub fn client() -> reqwest::Client {
    let mut secret = HeaderValue::from_str(&format!("ApiKey {CANARY}-of-a-client")).unwrap();
    secret.set_sensitive(true);
    client_with(HeaderMap::from_iter([(AUTHORIZATION, secret)]))
}

/// An HTTP client without credentials.
pub fn nobody() -> reqwest::Client {
    client_with(HeaderMap::new())
}

fn client_with(mut headers: HeaderMap) -> reqwest::Client {
    // Another test of this binary may have chosen already.
    rustls::crypto::ring::default_provider().install_default().ok();
    // As every shipper says it; Elasticsearch refuses bodies without (406).
    let lines = HeaderValue::from_static("application/x-ndjson");
    headers.insert(CONTENT_TYPE, lines);
    let builder = reqwest::Client::builder().no_proxy().default_headers(headers);
    builder.timeout(Duration::from_secs(120)).build().unwrap()
}

/// Waits until `fact` is there, and fails when it is not in time.
pub async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut fact: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = fact().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The real audit events that kubectl caused (`tests/data/kubectl`).
pub fn data(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)).unwrap()
}
