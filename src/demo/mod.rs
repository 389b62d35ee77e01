//! `k8scop demo`: the real server on the embedded output, the wire format of real shippers, and an attack that
//! was captured from a real API server.

mod story;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde_json::Value;

use self::story::Story;
use crate::{
    app::App,
    config::{self, Overrides},
    prepare::DATASET_ALERTS,
};

/// What `k8scop demo` is told.
#[derive(Debug)]
pub struct Options {
    /// End when the story is told.
    pub once: bool,
    /// Where documents are written.
    pub data: PathBuf,
    /// Address for shippers.
    pub listen: SocketAddr,
    /// Address for metrics and health.
    pub admin: SocketAddr,
}

/// Namespace of the demo's data streams.
const NAMESPACE: &str = "demo";
/// Longest wait for the answer to one bulk request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Tells the story and prints its alerts. True if exactly the expected alerts were written.
pub async fn run(options: Options, print: &mut dyn FnMut(&str)) -> anyhow::Result<bool> {
    let overrides = Overrides {
        listen: Some(options.listen),
        admin: Some(options.admin),
        output: Some(format!("file:{}", options.data.display())),
    };
    let app = App::start(config::load(None, overrides)?).await?;
    let story = Story::new(jiff::Timestamp::now());
    let alerts_file = options.data.join(format!("logs-{DATASET_ALERTS}-{NAMESPACE}.ndjson"));
    let before = std::fs::metadata(&alerts_file).map_or(0, |it| it.len());

    let mut items = 0;
    for request in story.bulk_requests(NAMESPACE) {
        items += send(app.listen, request).await?;
    }
    let alerts = new_alerts(&alerts_file, before)?;
    print(&format!(
        "{items} log lines in CloudWatch documents sent to http://{}/_bulk: {} audit events, {} other lines\n",
        app.listen,
        story.event_count(),
        items - story.event_count(),
    ));
    print(&table(&alerts));
    let as_expected = compare(&story, &alerts, print);
    print(&next_commands(&options, &app));
    if options.once {
        app.stop().await;
        return Ok(as_expected);
    }
    print("k8scop goes on listening; end it with Ctrl-C.");
    tokio::signal::ctrl_c().await?;
    app.stop().await;
    Ok(as_expected)
}

/// Sends one bulk request, as a shipper does, and gives back how many items it had.
async fn send(address: SocketAddr, body: String) -> anyhow::Result<usize> {
    let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_TIMEOUT).build()?;
    let actions = body.lines().count() / 2;
    let request = client
        .post(format!("http://{address}/_bulk"))
        .header("content-type", "application/x-ndjson")
        .body(body);
    let answer: Value =
        serde_json::from_slice(&request.send().await?.error_for_status()?.bytes().await?)?;
    let items = answer.get("items").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(items == actions, "{items} items were answered for {actions} actions");
    ensure!(
        answer.get("errors") == Some(&Value::Bool(false)),
        "the answer tells of errors: {answer}"
    );
    Ok(items)
}

/// The alerts in the file behind its first `before` bytes.
fn new_alerts(file: &std::path::Path, before: u64) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read(file).with_context(|| format!("no alerts in {}", file.display()))?;
    // A file that was set aside in the meantime begins anew.
    let start = if (text.len() as u64) < before { 0 } else { usize::try_from(before)? };
    let new = String::from_utf8(text.get(start..).unwrap_or_default().to_vec())?;
    new.lines().skip(1).step_by(2).map(|it| Ok(serde_json::from_str(it)?)).collect()
}

fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn table(alerts: &[Value]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["SEVERITY", "RULE", "WHO", "WHAT", "KUBECTL"]);
    for alert in alerts {
        let severity = alert.pointer("/event/severity").and_then(Value::as_u64).unwrap_or_default();
        let name = match severity {
            99 => "critical",
            73 => "high",
            47 => "medium",
            _ => "low",
        };
        let what = [
            text(alert, "/orchestrator/resource/type"),
            text(alert, "/orchestrator/namespace"),
            text(alert, "/orchestrator/resource/name"),
        ];
        let what: Vec<&str> = what.into_iter().filter(|it| !it.is_empty()).collect();
        table.add_row([
            format!("{name} {severity}"),
            text(alert, "/message").to_owned(),
            text(alert, "/user/name").to_owned(),
            what.join(" "),
            text(alert, "/k8scop/kubectl").to_owned(),
        ]);
    }
    table.to_string()
}

fn compare(story: &Story, alerts: &[Value], print: &mut dyn FnMut(&str)) -> bool {
    let mut balance: BTreeMap<(usize, String), i32> = BTreeMap::new();
    for (line, rule) in story::expected() {
        *balance.entry((line, rule.to_owned())).or_default() -= 1;
    }
    for alert in alerts {
        let line = story.line_of(text(alert, "/kubernetes/audit/auditID")).unwrap_or_default();
        *balance.entry((line, text(alert, "/message").to_owned())).or_default() += 1;
    }
    balance.retain(|_, count| *count != 0);
    for ((line, rule), count) in &balance {
        let what = if *count < 0 { "missing" } else { "not expected" };
        print(&format!("{what}: line {line} of the story, {rule}"));
    }
    let expected = story::expected().count();
    print(&format!(
        "\n{} alerts written, {expected} expected{}",
        alerts.len(),
        if balance.is_empty() { "" } else { ": NOT the same" }
    ));
    balance.is_empty()
}

fn next_commands(options: &Options, app: &App) -> String {
    let (listen, admin) = if options.once {
        ("127.0.0.1:9250".to_owned(), "127.0.0.1:9251".to_owned())
    } else {
        (app.listen.to_string(), app.admin.to_string())
    };
    format!(
        "Documents and alerts are in {}, as bulk bodies.\n\n\
         Next:\n  \
         1. your Elasticsearch:  k8scop run --output http://127.0.0.1:9200\n  \
         2. your Filebeat:       filebeat -E 'output.elasticsearch.hosts=[\"http://{listen}\"]'\n  \
         3. its metrics:         curl http://{admin}/metrics\n",
        options.data.display(),
    )
}
