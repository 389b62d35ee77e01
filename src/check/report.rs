//! What is printed.

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use serde::Serialize;

use super::{
    Voices,
    want::{Harm, Outcome, Verdict},
};

/// The result of one check.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    group: &'static str,
    check: &'static str,
    result: &'static str,
    severity: &'static str,
    seen: String,
    effect: &'static str,
}

impl Row {
    pub(super) fn new(group: &'static str, check: &'static str, verdict: &Verdict) -> Self {
        let (result, severity) = match verdict.outcome {
            Outcome::Ok => ("ok", ""),
            Outcome::Note => ("ok", "note"),
            Outcome::CannotTell => ("cannot tell", ""),
            Outcome::Breaks(Harm::Refused) => ("breaks", "refused"),
            Outcome::Breaks(Harm::Duplicate) => ("breaks", "duplicate"),
            Outcome::Breaks(Harm::Stuck) => ("breaks", "stuck"),
            Outcome::Breaks(Harm::Loss) => ("breaks", "loss"),
        };
        let effect = if severity.is_empty() { "" } else { verdict.who };
        Self { group, check, result, severity, seen: super::want::shown(&verdict.seen), effect }
    }
}

/// Collects the results, or prints them as they come.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(json: bool) -> Self {
        Self { json, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, row: Row, print: &mut dyn FnMut(&str)) {
        if self.json
            && let Ok(line) = serde_json::to_string(&row)
        {
            print(&line);
        }
        self.rows.push(row);
    }

    /// Prints what is left. True if nothing breaks.
    pub(super) fn end(&self, voices: &mut Voices<'_>) -> bool {
        let count = |result: &str| self.rows.iter().filter(|it| it.result == result).count();
        let summary = format!(
            "{} checks: {} ok, {} break, {} cannot tell",
            self.rows.len(),
            count("ok"),
            count("breaks"),
            count("cannot tell")
        );
        if self.json {
            (voices.tell)(&summary);
        } else {
            (voices.print)(&self.table());
            (voices.print)(&format!("\n{summary}"));
        }
        count("breaks") == 0
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["SHIPPER", "CHECK", "RESULT", "SEEN", "WHO SUFFERS, AND HOW"]);
        for row in &self.rows {
            let result = match row.severity {
                "" => row.result.to_owned(),
                severity => format!("{}: {severity}", row.result),
            };
            table.add_row([row.group, row.check, &result, &row.seen, row.effect]);
        }
        // The last column is mostly empty.
        table.trim_fmt()
    }
}
