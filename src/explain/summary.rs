//! What a scan found in all.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write,
    time::Duration,
};

use jiff::Timestamp;
use serde::Serialize;

use super::plain;
use crate::rules::Level;

/// Most names that are counted apart: there can be as many as there are events.
const NAMES_MAX: usize = 10_000;
/// Longest name: what is longer counts with what begins alike.
const NAME_BYTES_MAX: usize = 256;
/// Users and clusters that are shown.
const SHOWN_MAX: usize = 10;

/// What is counted while reading.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) files: u64,
    pub(super) files_failed: u64,
    pub(super) lines_bad: u64,
    pub(super) events: u64,
    pub(super) cut: u64,
    pub(super) matched: u64,
    pub(super) repeated: u64,
    /// Documents without an event, and why.
    others: HashMap<&'static str, u64>,
    /// Alerts of each rule, by its place and their level.
    rules: BTreeMap<(usize, Level), u64>,
    users: Names,
    clusters: Names,
    first: Option<(Timestamp, String)>,
    last: Option<(Timestamp, String)>,
    /// The first line that cannot be read.
    first_bad: Option<String>,
}

/// Events and alerts of each name.
#[derive(Debug, Default)]
struct Names {
    counts: HashMap<String, [u64; 2]>,
    /// Those of all names beyond [`NAMES_MAX`].
    rest: [u64; 2],
}

impl Names {
    fn of(&mut self, name: &str) -> &mut [u64; 2] {
        let end = name.floor_char_boundary(NAME_BYTES_MAX);
        let name = name.get(..end).unwrap_or_default();
        if !self.counts.contains_key(name) {
            if self.counts.len() >= NAMES_MAX {
                return &mut self.rest;
            }
            self.counts.insert(name.to_owned(), [0; 2]);
        }
        self.counts.get_mut(name).unwrap_or(&mut self.rest)
    }

    /// Those with the most alerts, and of these with the most events.
    fn top(&self) -> Vec<Name> {
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_by_key(|(name, [events, alerts])| (u64::MAX - alerts, u64::MAX - events, *name));
        let name = |(name, [events, alerts]): (&String, &[u64; 2])| Name {
            name: name.clone(),
            alerts: *alerts,
            events: *events,
        };
        all.into_iter().take(SHOWN_MAX).map(name).collect()
    }
}

impl Counts {
    /// As many files could not be opened.
    pub(super) fn of_failed(files: u64) -> Self {
        Self { files, files_failed: files, ..Self::default() }
    }

    /// Counts an event.
    pub(super) fn event(
        &mut self,
        user: &str,
        cluster: Option<&str>,
        alerts: u64,
        at: Option<(Timestamp, &str)>,
    ) {
        self.events += 1;
        let add = |names: &mut Names, name: &str| {
            let [events, of_alerts] = names.of(name);
            *events += 1;
            *of_alerts += alerts;
        };
        add(&mut self.users, user);
        if let Some(cluster) = cluster {
            add(&mut self.clusters, cluster);
        }
        let Some((at, text)) = at else { return };
        if self.first.as_ref().is_none_or(|(first, _)| at < *first) {
            self.first = Some((at, text.to_owned()));
        }
        if self.last.as_ref().is_none_or(|(last, _)| at > *last) {
            self.last = Some((at, text.to_owned()));
        }
    }

    /// Counts a document without an event.
    pub(super) fn other(&mut self, reason: &'static str) {
        *self.others.entry(reason).or_default() += 1;
    }

    /// Counts a line that cannot be read.
    pub(super) fn bad(&mut self, file: &str, line: u64, reason: &str) {
        self.lines_bad += 1;
        self.first_bad.get_or_insert_with(|| format!("{file}:{line}: {reason}"));
    }

    /// Counts an alert.
    pub(super) fn alert(&mut self, rule: usize, level: Level) {
        *self.rules.entry((rule, level)).or_default() += 1;
    }
}

/// What a scan found in all. The names are those of `--format json`.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    files: u64,
    files_failed: u64,
    bytes: u64,
    events: u64,
    /// Those of them that were cut on their way.
    events_cut: u64,
    /// Those of them that hit a rule.
    events_matched: u64,
    /// Documents without an event, and why.
    other: serde_json::Map<String, serde_json::Value>,
    unreadable: u64,
    unreadable_first: Option<String>,
    alerts: u64,
    /// Alerts that were there already: another stage of the same request, or the same event again.
    alerts_repeated: u64,
    severities: serde_json::Map<String, serde_json::Value>,
    rules: Vec<RuleCount>,
    users: Vec<Name>,
    clusters: Vec<Name>,
    first: Option<String>,
    last: Option<String>,
    seconds: f64,
    events_per_s: u64,
}

/// Alerts of a rule.
#[derive(Debug, Serialize)]
struct RuleCount {
    id: String,
    title: String,
    severity: &'static str,
    alerts: u64,
    #[serde(skip)]
    level: Level,
}

/// Alerts and events of a user or a cluster.
#[derive(Debug, Serialize)]
struct Name {
    name: String,
    alerts: u64,
    events: u64,
}

const LEVELS: [Level; 4] = [Level::Critical, Level::High, Level::Medium, Level::Low];

/// A rule or a correlation, as the summary names it.
#[derive(Debug)]
pub(super) struct RuleName<'r> {
    id: &'r str,
    title: &'r str,
}

impl<'r> RuleName<'r> {
    pub(super) fn new(id: &'r str, title: &'r str) -> Self {
        Self { id, title }
    }
}

impl Summary {
    /// `rules` stand in the order of the places that were counted.
    pub(super) fn new(counts: Counts, rules: &[RuleName<'_>], bytes: u64, took: Duration) -> Self {
        let mut found: Vec<_> = counts
            .rules
            .iter()
            .filter_map(|((place, level), alerts)| {
                let rule = rules.get(*place)?;
                Some(RuleCount {
                    id: rule.id.to_owned(),
                    title: rule.title.to_owned(),
                    severity: level.name(),
                    alerts: *alerts,
                    level: *level,
                })
            })
            .collect();
        found.sort_by(|one, other| {
            (other.level.severity(), other.alerts, &one.title).cmp(&(
                one.level.severity(),
                one.alerts,
                &other.title,
            ))
        });
        let of_level = |level: Level| -> u64 {
            found.iter().filter(|it| it.level == level).map(|it| it.alerts).sum()
        };
        let severities =
            LEVELS.iter().map(|it| (it.name().to_owned(), of_level(*it).into())).collect();
        let mut other: Vec<_> = counts.others.into_iter().collect();
        other.sort_unstable();
        let seconds = took.as_secs_f64();
        let per_s = counts.events as u128 * 1000 / took.as_millis().max(1);
        Self {
            files: counts.files,
            files_failed: counts.files_failed,
            bytes,
            events: counts.events,
            events_cut: counts.cut,
            events_matched: counts.matched,
            other: other.into_iter().map(|(it, count)| (it.to_owned(), count.into())).collect(),
            unreadable: counts.lines_bad,
            unreadable_first: counts.first_bad,
            alerts: found.iter().map(|it| it.alerts).sum(),
            alerts_repeated: counts.repeated,
            severities,
            rules: found,
            users: counts.users.top(),
            clusters: counts.clusters.top(),
            first: counts.first.map(|(_, text)| text),
            last: counts.last.map(|(_, text)| text),
            seconds: (seconds * 1000.0).round() / 1000.0,
            events_per_s: u64::try_from(per_s).unwrap_or(u64::MAX),
        }
    }

    /// For a person.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        let mut row = |name: &str, text: String| {
            // Writing to a String cannot fail.
            writeln!(out, "{name:<12}{}", plain(&text)).ok();
        };
        let failed = counted(self.files_failed, " of them not read to the end");
        row("files", format!("{}{failed}", self.files));
        let cut = counted(self.events_cut, " cut on their way");
        let speed = format!("{} events/s", self.events_per_s);
        row("events", format!("{} ({speed}){cut}", self.events));
        if let (Some(first), Some(last)) = (&self.first, &self.last) {
            row("from", first.clone());
            row("to", last.clone());
        }
        if !self.other.is_empty() {
            let others = self.other.iter().map(|(reason, count)| format!("{count} {reason}"));
            row("other", others.collect::<Vec<_>>().join(", "));
        }
        if let Some(first) = &self.unreadable_first {
            row("unreadable", format!("{}, the first: {first}", self.unreadable));
        }
        row("matched", format!("{} events", self.events_matched));
        let repeated = counted(self.alerts_repeated, " more of the same requests, told once");
        let severities = self.severities.iter().filter(|(_, count)| count.as_u64() != Some(0));
        let severities: Vec<_> =
            severities.map(|(level, count)| format!("{count} {level}")).collect();
        let of_them = match severities.is_empty() {
            true => String::new(),
            false => format!(": {}", severities.join(", ")),
        };
        row("alerts", format!("{}{of_them}{repeated}", self.alerts));
        for (place, rule) in self.rules.iter().enumerate() {
            let name = if place == 0 { "rules" } else { "" };
            row(name, format!("{:>6}  {:<8}  {}", rule.alerts, rule.severity, rule.title));
        }
        let has_alerts = |it: &&Name| self.alerts == 0 || it.alerts > 0;
        let users: Vec<&Name> = self.users.iter().filter(has_alerts).collect();
        for (title, names) in [("users", users), ("clusters", self.clusters.iter().collect())] {
            for (place, it) in names.into_iter().enumerate() {
                let title = if place == 0 { title } else { "" };
                row(title, format!("{:>6} of {} events  {}", it.alerts, it.events, it.name));
            }
        }
        out
    }
}

/// `, 3 of them`; nothing for none.
fn counted(count: u64, what: &str) -> String {
    if count == 0 { String::new() } else { format!(", {count}{what}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_nothing_is_lost() {
        let mut counts = Counts::default();
        for place in 0..NAMES_MAX + 5 {
            counts.event(&format!("user-{place}"), None, 0, None);
        }
        counts.event(&"é".repeat(1000), None, 3, None);
        counts.event("user-7", Some("demo"), 2, None);
        assert_eq!((counts.users.counts.len(), counts.users.rest), (NAMES_MAX, [6, 3]));
        let summary = Summary::new(counts, &[], 0, Duration::from_secs(1));
        assert_eq!(summary.events, NAMES_MAX as u64 + 7);
        assert_eq!(summary.users.len(), SHOWN_MAX);
        let first = summary.users.first().unwrap();
        assert_eq!((first.name.as_str(), first.alerts, first.events), ("user-7", 2, 2));
    }
}
