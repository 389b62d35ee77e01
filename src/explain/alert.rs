//! One alert of a scan, and the table of them.

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use jiff::Timestamp;
use serde::Serialize;

use super::{entry, plain};
use crate::{
    classify,
    event::Text,
    rules::{Level, Rule},
    unwrap::{self, Found, When},
};

/// Longest text in a cell of the table (characters).
const CELL_CHARS_MAX: usize = 100;

/// An alert. The names are those of `--format ndjson`.
#[derive(Debug, Serialize)]
pub(super) struct Alert {
    time: String,
    severity: &'static str,
    rule: RuleName,
    /// The sentence.
    reason: String,
    user: Option<String>,
    source_ip: Option<String>,
    verb: Option<String>,
    kubectl: Option<String>,
    resource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    code: Option<u16>,
    cluster: Option<String>,
    provider: &'static str,
    audit_id: Option<String>,
    stage: Option<String>,
    file: String,
    line: u64,
    #[serde(skip)]
    at: Timestamp,
}

/// Which rule it is of.
#[derive(Debug, Serialize)]
struct RuleName {
    id: String,
    title: String,
}

impl Alert {
    pub(super) fn new(
        rule: &Rule,
        level: Level,
        found: &Found<'_>,
        when: &When,
        (file, line): (&str, u64),
    ) -> Self {
        let event = found.event;
        let cut = |it: &str| unwrap::cut(it).to_owned();
        let own = |it: &Text<'_>| it.as_deref().map(cut);
        Self {
            time: when.text.clone(),
            severity: level.name(),
            rule: RuleName { id: rule.id.clone(), title: rule.title.clone() },
            reason: cut(&classify::sentence(event, &rule.reason)),
            user: own(&event.user_name),
            // The others may be chosen by the client.
            source_ip: own(&event.peer_ip),
            verb: own(&event.verb),
            kubectl: classify::kubectl(event).as_deref().map(cut),
            resource: entry::resource(event).as_deref().map(cut),
            namespace: own(&event.object.namespace),
            name: own(&event.object.name),
            code: event.code,
            cluster: found.cluster().map(cut),
            provider: found.provider().name(),
            audit_id: own(&event.audit_id),
            stage: own(&event.stage),
            file: file.to_owned(),
            line,
            at: when.at,
        }
    }

    /// Namespace, resource and name, as far as there are any.
    fn object(&self) -> String {
        let parts = [&self.namespace, &self.resource, &self.name];
        parts.into_iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    /// The command, else the verb.
    fn command(&self) -> &str {
        self.kubectl.as_deref().or(self.verb.as_deref()).unwrap_or_default()
    }
}

/// A table of alerts in order of time. Without a column in which nothing stands.
pub(super) fn table(mut alerts: Vec<Alert>) -> String {
    alerts.sort_by_key(|it| it.at);
    let has_cluster = alerts.iter().any(|it| it.cluster.is_some());
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let mut header = vec!["TIME", "SEVERITY", "RULE", "USER", "KUBECTL OR VERB", "OBJECT"];
    header.extend(has_cluster.then_some("CLUSTER"));
    header.push("WHERE");
    table.set_header(header);
    for alert in &alerts {
        let place = format!("{}:{}", alert.file, alert.line);
        let object = alert.object();
        let time = alert.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let mut row = vec![
            time.as_str(),
            alert.severity,
            &alert.rule.title,
            alert.user.as_deref().unwrap_or("-"),
            alert.command(),
            &object,
        ];
        row.extend(has_cluster.then(|| alert.cluster.as_deref().unwrap_or("-")));
        row.push(&place);
        table.add_row(row.into_iter().map(cell));
    }
    // What follows the last column is nothing but blanks.
    table.lines().map(|it| it.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

fn cell(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", plain(text.get(..end).unwrap_or_default())),
        None => plain(text),
    }
}
