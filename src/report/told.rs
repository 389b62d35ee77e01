//! What is told of a [`Summary`], and how as JSON.

use std::{cmp::Reverse, time::Duration};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{
    LEVELS, PerLevel, Summary,
    names::{Name, Tops},
    timeline::{Bar, Gap},
    unreadable::Reason,
};

/// What is told of a [`Summary`]: the names are those of its JSON ([`Told::JSON`]).
#[derive(Debug, Serialize)]
pub struct Told {
    pub(super) documents: u64,
    pub(super) events: u64,
    pub(super) events_cut: u64,
    pub(super) events_matched: u64,
    #[serde(serialize_with = "map")]
    pub(super) other: Vec<(String, u64)>,
    pub(super) unreadable: u64,
    pub(super) unreadable_first: Option<String>,
    pub(super) unreadable_reasons: Vec<Reason>,
    pub(super) alerts: u64,
    pub(super) alerts_repeated: u64,
    #[serde(serialize_with = "per_level")]
    pub(super) severities: PerLevel,
    pub(super) rules: Vec<Rule>,
    pub(super) users: Vec<Name>,
    pub(super) clusters: Vec<Name>,
    pub(super) namespaces: Vec<Name>,
    pub(super) indices: Vec<Index>,
    pub(super) gaps: Vec<Gap>,
    pub(super) more: More,
    #[serde(serialize_with = "time_or_null")]
    pub(super) first: Option<Timestamp>,
    #[serde(serialize_with = "time_or_null")]
    pub(super) last: Option<Timestamp>,
    pub(super) timeline: Bars,
    pub(super) seconds: f64,
    pub(super) events_per_s: u64,
}

/// Alerts of a rule of one severity.
#[derive(Debug, Serialize)]
pub(super) struct Rule {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) severity: &'static str,
    pub(super) alerts: u64,
}

/// What was read of an index.
#[derive(Debug, Serialize)]
pub(super) struct Index {
    pub(super) name: String,
    pub(super) alerts: u64,
    pub(super) documents: u64,
}

/// How many more there are than are told.
#[derive(Debug, Default, Serialize)]
pub(super) struct More {
    pub(super) users: usize,
    pub(super) clusters: usize,
    pub(super) namespaces: usize,
    pub(super) indices: usize,
    pub(super) gaps: usize,
    /// There were too many names to count all: there are at least so many, and counts can be too low.
    pub(super) is_partial: bool,
}

/// What happened when.
#[derive(Debug, Serialize)]
pub(super) struct Bars {
    pub(super) bar_seconds: i64,
    pub(super) bars: Vec<Bar>,
}

impl Told {
    /// What its JSON says, for `--help`.
    pub const JSON: &str = "\
  documents           read
  events              audit events in them; events_cut: cut on their way;
                      events_matched: those that hit a rule
  other               documents without an event, by reason
  unreadable          documents that cannot be read; unreadable_first: the first;
                      unreadable_reasons: reason, documents, places (the first)
  alerts              alerts_repeated: those that were there already
  severities          alerts by severity
  rules               id, title, severity, alerts
  users, clusters,
  namespaces          those with the most alerts: name, alerts, events
  indices             name, alerts, documents
  first, last         times of events
  gaps                the longest times without events: from, to, seconds
  more                how many users, clusters, namespaces, indices and gaps
                      are not listed; is_partial: there are at least so many
  timeline            bar_seconds; bars: from, events, alerts by severity
  seconds             how long it took; events_per_s";
}

impl Summary {
    /// What is told of it. `took` is how long it took to read.
    #[must_use]
    pub fn told(&self, took: Duration) -> Told {
        let rules = self.told_rules();
        let [users, clusters, namespaces, indices] =
            [&self.users, &self.clusters, &self.namespaces, &self.indices].map(|it| it.told());
        let (gaps, more_gaps) = self.timeline.gaps();
        let more = More {
            users: users.more,
            clusters: clusters.more,
            namespaces: namespaces.more,
            indices: indices.more,
            gaps: more_gaps,
            is_partial: [&users, &clusters, &namespaces, &indices].iter().any(|it| it.is_partial),
        };
        let (bar_seconds, bars) = self.timeline.bars();
        let per_s = u128::from(self.events) * 1000 / took.as_millis().max(1);
        let first_bad = self.unreadable.reasons.first();
        let first_bad =
            first_bad.and_then(|it| Some(format!("{}: {}", it.places.first()?, it.reason)));
        let ends = self.timeline.ends();
        Told {
            documents: self.documents,
            events: self.events,
            events_cut: self.cut,
            events_matched: self.matched,
            other: self.others.iter().map(|(reason, count)| (reason.clone(), *count)).collect(),
            unreadable: self.unreadable.count(),
            unreadable_first: first_bad,
            unreadable_reasons: self.unreadable.reasons.clone(),
            alerts: self.alerts(),
            alerts_repeated: self.repeated,
            severities: self.severities(),
            rules,
            users: users.top,
            clusters: clusters.top,
            namespaces: namespaces.top,
            indices: told_indices(indices),
            gaps,
            more,
            first: ends.map(|(first, _)| first),
            last: ends.map(|(_, last)| last),
            timeline: Bars { bar_seconds, bars },
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            events_per_s: u64::try_from(per_s).unwrap_or(u64::MAX),
        }
    }

    fn severities(&self) -> PerLevel {
        let mut sums = PerLevel::default();
        self.rules.values().for_each(|it| super::add(&mut sums, &it.alerts));
        sums
    }

    /// The worst first, and of one severity those with the most alerts.
    fn told_rules(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (place, level) in LEVELS.iter().enumerate() {
            let of_level = self.rules.iter().map(|(id, rule)| Rule {
                id: id.clone(),
                title: rule.title.clone(),
                severity: level.name(),
                alerts: rule.alerts.get(place).copied().unwrap_or_default(),
            });
            let mut of_level: Vec<_> = of_level.filter(|it| it.alerts > 0).collect();
            of_level.sort_by(|one, other| {
                (Reverse(one.alerts), &one.title).cmp(&(Reverse(other.alerts), &other.title))
            });
            rules.extend(of_level);
        }
        rules
    }
}

fn told_indices(all: Tops) -> Vec<Index> {
    let index = |it: Name| Index { name: it.name, alerts: it.alerts, documents: it.events };
    let mut all: Vec<_> = all.top.into_iter().map(index).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all
}

fn map<S: Serializer>(pairs: &[(String, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(pairs.iter().map(|(name, count)| (name, count)))
}

fn time_or_null<S: Serializer>(at: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    at.map(written).serialize(to)
}

pub(super) fn time<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&written(*at))
}

/// With microseconds, as API servers write it (`MicroTime`, apimachinery v0.35).
pub(super) fn written(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

/// As an object, with the names of the levels.
pub(super) fn per_level<S: Serializer>(counts: &PerLevel, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(LEVELS.iter().map(|it| it.name()).zip(counts))
}
