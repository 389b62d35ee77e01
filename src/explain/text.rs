//! How `k8scop explain` tells of an event to a person.

use std::io::{self, Write};

use super::entry::{Entry, Hit, NoHit};
use crate::{json, report::plain};

/// Longest value that is shown (characters).
const VALUE_CHARS_MAX: usize = 160;

/// Writes an entry.
pub(super) fn write(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    let part = if entry.part > 1 { format!(", part {}", entry.part) } else { String::new() };
    let kind = match entry.kind {
        "audit" if entry.cut => "audit event, cut on its way",
        "audit" => "audit event",
        "line" => "line of the control plane",
        kind => kind,
    };
    writeln!(out, "line {}{part}: {kind}", entry.line)?;
    let mut row = |name: &str, text: &str| match text.is_empty() {
        true => Ok(()),
        false => writeln!(out, "  {name:<9} {}", plain(text)),
    };
    row("why", entry.reason.as_deref().unwrap_or_default())?;
    row("carrier", &carrier(entry))?;
    row("time", entry.time.as_deref().unwrap_or_default())?;
    row("request", &short(entry.request.as_deref().unwrap_or_default()))?;
    row("kubectl", &short(entry.kubectl.as_deref().unwrap_or_default()))?;
    row("index", entry.index.as_deref().unwrap_or_default())?;
    row("_id", entry.id.as_deref().unwrap_or_default())?;
    if entry.kind == "audit" && entry.rules.is_empty() && entry.document.is_some() {
        row("rules", "none")?;
    }
    for hit in &entry.rules {
        rule(hit, out)?;
    }
    for miss in &entry.misses {
        no_hit(miss, out)?;
    }
    if let Some(document) = &entry.document {
        writeln!(out, "  document")?;
        for line in json::pretty(document.get()).lines() {
            writeln!(out, "    {}", plain(line))?;
        }
    }
    writeln!(out)
}

fn carrier(entry: &Entry) -> String {
    let provider = entry.provider.filter(|it| *it != "plain");
    let cluster = entry.cluster.as_ref().map(|it| format!("cluster {it}"));
    let way = (!entry.carrier.is_empty()).then(|| entry.carrier.join(" > "));
    let all = [way, provider.map(Into::into), cluster];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn rule(hit: &Hit, out: &mut dyn Write) -> io::Result<()> {
    let only = if hit.alert { "" } else { ", no alert" };
    writeln!(out, "  {:<9} {} ({}{only})", "rule", plain(&hit.title), hit.level)?;
    writeln!(out, "            {}", hit.id)?;
    writeln!(out, "            {}", plain(&short(&hit.reason)))?;
    for why in &hit.why {
        let not = if why.holds { "" } else { "not " };
        let fits = if why.holds { ", fits" } else { ", does not fit" };
        let is = match &why.value {
            Some(value) if why.holds && value.eq_ignore_ascii_case(&why.pattern) => short(value),
            Some(value) => format!("{}{fits} {}", short(value), short(&why.pattern)),
            None => "absent".to_owned(),
        };
        let text = format!("{not}{}: {} is {is}", why.selection, why.field);
        writeln!(out, "              {}", plain(&text))?;
    }
    Ok(())
}

fn no_hit(miss: &NoHit, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "  {:<9} {} ({})", "no hit", plain(&miss.title), miss.level)?;
    writeln!(out, "            {}", miss.id)?;
    for why in &miss.why {
        let value = why.value.as_deref().map_or("absent".to_owned(), short);
        let text = match (miss.no_one_element, why.holds) {
            (true, _) => format!("{}: its lines hold, but not all for one element", why.selection),
            (_, true) => {
                format!(
                    "not {}: {} is {value}, fits {}",
                    why.selection,
                    why.field,
                    short(&why.pattern)
                )
            }
            (_, false) => {
                format!(
                    "{}: {} is {value}, wanted {}",
                    why.selection,
                    why.field,
                    short(&why.pattern)
                )
            }
        };
        writeln!(out, "              {}", plain(&text))?;
    }
    match miss.lines {
        1 => Ok(()),
        lines => writeln!(out, "              and {} more lines do not fit", lines - 1),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
