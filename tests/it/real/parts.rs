use std::{
    collections::BTreeMap,
    env,
    fmt::Display,
    io::Write,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// URL of an Elasticsearch that all tests share.
pub const ELASTICSEARCH: &str = "K8SCOP_TEST_ELASTICSEARCH";
/// Path of a Filebeat.
pub const FILEBEAT: &str = "K8SCOP_TEST_FILEBEAT";
/// Path of a promtool.
pub const PROMTOOL: &str = "K8SCOP_TEST_PROMTOOL";
/// Folder into which `scripts/kubernetes capture` has just written.
pub const CAPTURE: &str = "K8SCOP_TEST_CAPTURE";
/// Folder into which `scripts/kubernetes capture-rules` has just written.
pub const RULES_CAPTURE: &str = "K8SCOP_TEST_RULES_CAPTURE";
/// Folder of SigmaHQ's repository.
pub const SIGMA: &str = "K8SCOP_TEST_SIGMA";

/// Heap of a node of a test's own.
const HEAP: &str = "512m";

/// Where a real part is. `None`: the test is to be skipped, and it has been said. In CI nothing is skipped.
pub fn part(test: &str, variable: &str) -> Option<String> {
    let found = env::var(variable).ok().filter(|it| !it.is_empty());
    if found.is_none() {
        assert!(env::var_os("CI").is_none(), "{test}: {variable} is not set, run scripts/test");
        tell(format_args!("SKIPPED {test}: {variable} is not set, run scripts/test"));
    }
    found
}

/// The same for what no script brings: without it the test is skipped in CI too.
pub fn optional(test: &str, variable: &str) -> Option<String> {
    let found = env::var(variable).ok().filter(|it| !it.is_empty());
    if found.is_none() {
        tell(format_args!("SKIPPED {test}: {variable} is not set"));
    }
    found
}

/// Says something on standard error even if the test passes: what the print macros write is then thrown away.
pub fn tell(text: impl Display) {
    writeln!(std::io::stderr(), "{text}").ok();
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A name that no other run has used.
pub fn fresh(prefix: &str) -> String {
    format!("{prefix}{:010x}", fastrand::u64(..1 << 40))
}

/// The sum of a metric over all its labels.
pub fn total(metrics: &BTreeMap<String, f64>, metric: &str) -> f64 {
    let is_it = |name: &str| name.split('{').next() == Some(metric);
    metrics.iter().filter(|(name, _)| is_it(name)).map(|(_, value)| value).sum()
}

/// An Elasticsearch of one test's own, which it may stop. Gone when the test ends.
pub struct Node {
    port: u16,
    pub url: String,
}

impl Node {
    pub async fn start() -> Self {
        let port = free_port();
        let node = Self { port, url: format!("http://127.0.0.1:{port}") };
        node.again().await;
        node
    }

    /// Starts it again, with the data that it had.
    pub async fn again(&self) {
        self.script("start").await;
    }

    pub async fn stop(&self) {
        self.script("stop").await;
    }

    async fn script(&self, what: &'static str) {
        let mut command = self.command(what);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "scripts/elasticsearch {what}: {said}");
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(root().join("scripts/elasticsearch"));
        command
            .args([what, "--light", "--port", &self.port.to_string()])
            .env("K8SCOP_ES_HEAP", HEAP)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.command("clean").output().ok();
    }
}

/// A port of which the one a hundred above is free too: the node's transport uses that.
fn free_port() -> u16 {
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let mut ports = std::iter::repeat_with(|| fastrand::u16(20_000..32_000));
    ports.find(|it| is_free(*it) && is_free(it + 100)).unwrap()
}
