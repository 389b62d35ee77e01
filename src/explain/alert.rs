//! One alert of a scan, and the table of them.

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use jiff::Timestamp;
use serde::Serialize;

use super::entry;
use crate::{
    classify,
    correlate::{Fired, Planned},
    event::Text,
    report::plain,
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
    provider: Option<&'static str>,
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
            reason: cut(&classify::reason(event, rule)),
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
            provider: Some(found.provider().name()),
            audit_id: own(&event.audit_id),
            stage: own(&event.stage),
            file: file.to_owned(),
            line,
            at: when.at,
        }
    }

    /// That of several events; it stands where the last of them does.
    pub(super) fn correlated(planned: &Planned, level: Level, fired: &Fired) -> Self {
        let cut = |it: &str| unwrap::cut(it).to_owned();
        let last = fired.events().last().map(|it| &it.evidence);
        let at = Timestamp::from_microsecond(fired.at_us).unwrap_or_default();
        let it = &planned.correlation;
        Self {
            time: at.to_string(),
            severity: level.name(),
            rule: RuleName { id: it.id.clone(), title: it.title.clone() },
            reason: cut(&fired.reason(planned)),
            user: fired.person().map(cut),
            source_ip: None,
            verb: None,
            kubectl: None,
            resource: None,
            namespace: None,
            name: None,
            code: None,
            cluster: Some(&*fired.cluster).filter(|it| !it.is_empty()).map(cut),
            provider: None,
            audit_id: last.map(|it| cut(&it.audit_id)),
            stage: None,
            file: last.map(|it| it.index.to_string()).unwrap_or_default(),
            line: last.and_then(|it| it.id.parse().ok()).unwrap_or_default(),
            at,
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
