//! What is told of a [`Summary`](super::Summary), for a terminal.

use std::fmt::Write;

use super::{LEVELS, Told, names::Name, told::written};

impl Told {
    /// For a person: these rows, then its own.
    #[must_use]
    pub fn text(&self, head: &[(&str, String)]) -> String {
        let mut rows = Rows::default();
        for (name, text) in head {
            rows.row(name, text);
        }
        self.read(&mut rows);
        self.raised(&mut rows);
        rows.0
    }

    /// What was read.
    fn read(&self, rows: &mut Rows) {
        let cut = counted(self.events_cut, " cut on their way");
        rows.row("events", &format!("{} ({} events/s){cut}", self.events, self.events_per_s));
        if let (Some(first), Some(last)) = (self.first, self.last) {
            rows.row("from", &written(first));
            rows.row("to", &written(last));
        }
        let gap = |it: &super::timeline::Gap| {
            format!("{} from {} to {}", long(it.seconds), written(it.from), written(it.to))
        };
        let gaps = self.gaps.iter().map(gap);
        rows.list("no events", gaps.chain(and_more(self.more.gaps, false)));
        if !self.other.is_empty() {
            let others = self.other.iter().map(|(reason, count)| format!("{count} {reason}"));
            rows.row("other", &others.collect::<Vec<_>>().join(", "));
        }
        if let Some(first) = &self.unreadable_first {
            rows.row("unreadable", &format!("{}, the first: {first}", self.unreadable));
        }
        if self.unreadable_reasons.len() > 1 {
            let reasons = self.unreadable_reasons.iter();
            rows.list(
                "",
                reasons.map(|it| {
                    format!("{:>6}  {}: {}", it.documents, it.reason, it.places.join(", "))
                }),
            );
        }
    }

    /// What the rules say of it.
    fn raised(&self, rows: &mut Rows) {
        rows.row("matched", &format!("{} events", self.events_matched));
        let repeated = counted(self.alerts_repeated, " more of the same requests, told once");
        let severities = LEVELS.iter().zip(self.severities).filter(|(_, count)| *count > 0);
        let severities: Vec<_> =
            severities.map(|(level, count)| format!("{count} {}", level.name())).collect();
        let colon = if severities.is_empty() { "" } else { ": " };
        let severities = severities.join(", ");
        rows.row("alerts", &format!("{}{colon}{severities}{repeated}", self.alerts));
        let rule =
            |it: &super::told::Rule| format!("{:>6}  {:<8}  {}", it.alerts, it.severity, it.title);
        rows.list("rules", self.rules.iter().map(rule));
        let has_alerts = |it: &&Name| self.alerts == 0 || it.alerts > 0;
        let name = |it: &Name| format!("{:>6} on {} events  {}", it.alerts, it.events, it.name);
        for (title, names, more) in [
            ("users", &self.users, self.more.users),
            ("clusters", &self.clusters, self.more.clusters),
            ("namespaces", &self.namespaces, self.more.namespaces),
        ] {
            let names = names.iter().filter(has_alerts).map(name);
            rows.list(title, names.chain(and_more(more, self.more.is_partial)));
        }
        let index = |it: &super::told::Index| {
            format!("{:>6} on {} documents  {}", it.alerts, it.documents, it.name)
        };
        let indices = self.indices.iter().map(index);
        rows.list("indices", indices.chain(and_more(self.more.indices, self.more.is_partial)));
    }
}

#[derive(Default)]
struct Rows(String);

impl Rows {
    fn row(&mut self, name: &str, text: &str) {
        // Writing to a String cannot fail.
        writeln!(self.0, "{name:<12}{}", plain(text)).ok();
    }

    /// Rows with one name.
    fn list(&mut self, name: &str, texts: impl Iterator<Item = String>) {
        for (place, text) in texts.enumerate() {
            self.row(if place == 0 { name } else { "" }, &text);
        }
    }
}

/// `and 7 more`, if there are any.
pub(super) fn and_more(more: usize, is_partial: bool) -> Option<String> {
    let least = if is_partial { "at least " } else { "" };
    (more > 0).then(|| format!("and {least}{more} more"))
}

/// A time in its two largest units: `3 d 4 h`.
pub(super) fn long(seconds: i64) -> String {
    const UNITS: [(&str, i64); 4] = [("d", 24 * 60 * 60), ("h", 60 * 60), ("min", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        if count > 0 || (unit == "s" && parts.is_empty()) {
            parts.push(format!("{count} {unit}"));
        } else if !parts.is_empty() {
            break;
        }
    }
    parts.truncate(2);
    parts.join(" ")
}

/// `, 3 of them`; nothing for none.
fn counted(count: u64, what: &str) -> String {
    if count == 0 { String::new() } else { format!(", {count}{what}") }
}

/// A text for a person: what a client of an API server chose does not move the cursor of a terminal, nor turn the text
/// around.
pub(crate) fn plain(text: &str) -> String {
    let is_bad = |it: char| {
        it.is_control() || matches!(it, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.replace(is_bad, "\u{fffd}")
}
