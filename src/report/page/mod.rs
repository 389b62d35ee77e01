//! What is told of a [`Summary`](super::Summary), as a page of its own: one file that loads nothing and runs nothing,
//! for a browser or paper. All text on it is escaped by `maud`; much of it was chosen by whoever talked to an API server.

mod chart;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    LEVELS, Told,
    names::Name,
    text::{and_more, long, plain},
    timeline::Gap,
};

const STYLE: &str = include_str!("page.css");
/// What a browser may load for the page: nothing, so that even a text that got through could do nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// What the page says of how it was made.
#[derive(Clone, Debug)]
pub struct Page {
    /// Its heading.
    pub title: String,
    /// What was read, and how: name and text.
    pub about: Vec<(&'static str, String)>,
    /// When it was made.
    pub now: Timestamp,
}

impl Told {
    /// The page.
    #[must_use]
    pub fn page(&self, page: &Page) -> String {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (plain(&page.title)) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    (self.head(page))
                    main {
                        (self.figures())
                        (self.when())
                        (self.rules())
                        div.columns {
                            (names("Users", &self.users, self.more.users, self.more.is_partial))
                            (names("Namespaces", &self.namespaces, self.more.namespaces, self.more.is_partial))
                            (names("Clusters", &self.clusters, self.more.clusters, self.more.is_partial))
                            (self.indices())
                        }
                        (self.not_read())
                    }
                    footer {
                        "Made by k8scop " (env!("CARGO_PKG_VERSION")) " on " (minute(page.now))
                        ". Times are UTC."
                    }
                }
            }
        }
        .into_string()
    }

    fn head(&self, page: &Page) -> Markup {
        html! {
            header {
                h1 { (plain(&page.title)) }
                @if let (Some(first), Some(last)) = (self.first, self.last) {
                    p.period { (minute(first)) " – " (minute(last)) }
                }
                dl {
                    @for (name, text) in &page.about {
                        div { dt { (name) } dd { (plain(text)) } }
                    }
                }
            }
        }
    }

    /// What there is in all.
    fn figures(&self) -> Markup {
        let figure = |class: &str, count: u64, name: &str| {
            html! {
                div class={ "figure " (class) (if count == 0 { " none" } else { "" }) } {
                    strong { (grouped(count)) }
                    span { (name) }
                }
            }
        };
        html! {
            section.figures {
                @if self.documents > 0 { (figure("", self.documents, "documents")) }
                (figure("", self.events, "audit events"))
                (figure("", self.alerts, "alerts"))
                @for (level, count) in LEVELS.iter().zip(self.severities) {
                    (figure(level.name(), count, level.name()))
                }
            }
        }
    }

    fn when(&self) -> Markup {
        html! {
            section {
                h2 { "When" }
                @if self.timeline.bars.is_empty() {
                    p.quiet { "No event says when it happened." }
                } @else {
                    (chart::timeline(&self.timeline, &self.gaps))
                    p.quiet { "A bar is " (long(self.timeline.bar_seconds)) "." }
                }
                @if !self.gaps.is_empty() {
                    h3 { "Without any event" }
                    table {
                        thead { tr { th { "from" } th { "to" } th { "for" } } }
                        tbody { @for gap in &self.gaps { (gap_row(gap)) } }
                    }
                    (more(self.more.gaps, false))
                }
            }
        }
    }

    fn rules(&self) -> Markup {
        let most = self.rules.iter().map(|it| it.alerts).max().unwrap_or_default();
        html! {
            section {
                h2 { "Alerts" }
                @if self.rules.is_empty() {
                    p.quiet { "None." }
                } @else {
                    table {
                        thead { tr { th { "rule" } th { "severity" } th.number { "alerts" } th.bar {} } }
                        tbody {
                            @for rule in &self.rules {
                                tr {
                                    td title=(plain(&rule.id)) { (plain(&rule.title)) }
                                    td { span class={ "level " (rule.severity) } { (rule.severity) } }
                                    td.number { (grouped(rule.alerts)) }
                                    td.bar { (chart::bar(rule.alerts, most, rule.severity)) }
                                }
                            }
                        }
                    }
                }
                @if self.alerts_repeated > 0 {
                    p.quiet { (grouped(self.alerts_repeated)) " more of the same requests are told once." }
                }
            }
        }
    }

    fn indices(&self) -> Markup {
        let most = self.indices.iter().map(|it| it.documents).max().unwrap_or_default();
        html! {
            @if !self.indices.is_empty() {
                section {
                    h2 { "Indices" }
                    table {
                        thead { tr { th { "index" } th.number { "alerts" } th.number { "documents" } th.bar {} } }
                        tbody {
                            @for index in &self.indices {
                                tr {
                                    td.name { (plain(&index.name)) }
                                    td.number { (grouped(index.alerts)) }
                                    td.number { (grouped(index.documents)) }
                                    td.bar { (chart::bar(index.documents, most, "events")) }
                                }
                            }
                        }
                    }
                    (more(self.more.indices, self.more.is_partial))
                }
            }
        }
    }

    /// What is no event, and what could not be read.
    fn not_read(&self) -> Markup {
        html! {
            @if !self.unreadable_reasons.is_empty() {
                section {
                    h2 { "Unreadable documents" }
                    table {
                        thead { tr { th { "reason" } th.number { "documents" } th { "the first" } } }
                        tbody {
                            @for it in &self.unreadable_reasons {
                                tr {
                                    td { (plain(&it.reason)) }
                                    td.number { (grouped(it.documents)) }
                                    td.name { @for place in &it.places { div { (plain(place)) } } }
                                }
                            }
                        }
                    }
                }
            }
            @if !self.other.is_empty() || self.events_cut > 0 {
                section {
                    h2 { "Beside the events" }
                    table {
                        tbody {
                            @for (reason, count) in &self.other {
                                tr { td { (plain(reason)) } td.number { (grouped(*count)) } }
                            }
                            @if self.events_cut > 0 {
                                tr { td { "events cut on their way" } td.number { (grouped(self.events_cut)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn gap_row(gap: &Gap) -> Markup {
    html! {
        tr { td { (second(gap.from)) } td { (second(gap.to)) } td { (long(gap.seconds)) } }
    }
}

fn names(title: &str, names: &[Name], others: usize, is_partial: bool) -> Markup {
    let most = names.iter().map(|it| it.alerts).max().unwrap_or_default();
    html! {
        @if !names.is_empty() {
            section {
                h2 { (title) }
                table {
                    thead { tr { th { "name" } th.number { "alerts" } th.number { "events" } th.bar {} } }
                    tbody {
                        @for it in names {
                            tr {
                                td.name { (plain(&it.name)) }
                                td.number { (grouped(it.alerts)) }
                                td.number { (grouped(it.events)) }
                                td.bar { (chart::bar(it.alerts, most, "alerts")) }
                            }
                        }
                    }
                }
                (more(others, is_partial))
            }
        }
    }
}

fn more(count: usize, is_partial: bool) -> Markup {
    html! { @if let Some(text) = and_more(count, is_partial) { p.quiet { (text) } } }
}

fn minute(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M").to_string()
}

fn second(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// With a comma for each thousand.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
