//! What was found in all: counted while events are read, added up, and told to people and machines.
//!
//! A [`Summary`] is what is counted. Its size has limits however many events there are and whoever chose their names,
//! and it can be stored and taken up again. What is told of it is [`Told`]: as text, as JSON, or as a page.

mod names;
mod page;
mod text;
mod timeline;
mod told;
mod unreadable;

use std::collections::{BTreeMap, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::text::plain;
use self::{names::Names, timeline::Timeline, unreadable::Unreadable};
pub use self::{page::Page, told::Told};
use crate::{
    correlate::{Fired, Planned},
    rules::Level,
};

/// The levels of alerts, the worst first.
const LEVELS: [Level; 4] = [Level::Critical, Level::High, Level::Medium, Level::Low];

/// How many there are of each of [`LEVELS`].
type PerLevel = [u64; LEVELS.len()];

/// An alert, as far as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Raised<'a> {
    /// Id of the rule or correlation.
    pub id: &'a str,
    /// Its title.
    pub title: &'a str,
    /// How bad it is here.
    pub level: Level,
}

/// Whom and when something is about.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// When it happened, if it says so.
    pub time: Option<Timestamp>,
    /// Who did it.
    pub user: Option<&'a str>,
    /// In which cluster.
    pub cluster: Option<&'a str>,
    /// In which namespace.
    pub namespace: Option<&'a str>,
}

/// An audit event, as far as it is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event<'a> {
    /// The index that it was read from.
    pub index: Option<&'a str>,
    /// Whom and when it is about.
    pub about: About<'a>,
    /// It was cut on its way.
    pub is_cut: bool,
    /// It hits a rule that raises alerts.
    pub is_matched: bool,
    /// The alerts on it that were not there already.
    pub alerts: &'a [Raised<'a>],
    /// Those that were: of another stage of the same request, or of the same event.
    pub repeated: u64,
}

/// What was found in all.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Summary {
    documents: u64,
    events: u64,
    cut: u64,
    matched: u64,
    repeated: u64,
    /// Documents without an event, and why.
    others: BTreeMap<String, u64>,
    unreadable: Unreadable,
    /// By the id of the rule. There are no more than rules.
    rules: HashMap<String, RuleCount>,
    users: Names,
    clusters: Names,
    namespaces: Names,
    /// Documents, not events.
    indices: Names,
    timeline: Timeline,
}

/// Alerts of a rule.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct RuleCount {
    title: String,
    alerts: PerLevel,
}

impl Summary {
    /// Counts a document of an index, whatever is in it.
    pub fn document(&mut self, index: Option<&str>) {
        self.documents += 1;
        if let Some(index) = index {
            self.indices.add(index, 1, 0);
        }
    }

    /// Counts an event of a document.
    pub fn event(&mut self, event: &Event<'_>) {
        self.events += 1;
        self.cut += u64::from(event.is_cut);
        self.matched += u64::from(event.is_matched);
        self.repeated += event.repeated;
        let mut levels = PerLevel::default();
        for raised in event.alerts {
            self.rule(raised);
            add(&mut levels, &of(raised.level));
        }
        let alerts = levels.iter().sum();
        self.about(&event.about, 1, &levels);
        if let (Some(index), 1..) = (event.index, alerts) {
            self.indices.add(index, 0, alerts);
        }
    }

    /// Counts an alert on several events, which are counted already.
    pub fn correlated(&mut self, planned: &Planned, level: Level, fired: &Fired) {
        let Planned { correlation, .. } = planned;
        let raised = Raised { id: &correlation.id, title: &correlation.title, level };
        let about = About {
            time: Timestamp::from_microsecond(fired.at_us).ok(),
            user: fired.person(),
            cluster: Some(&*fired.cluster).filter(|it| !it.is_empty()),
            namespace: None,
        };
        self.alert(&raised, &about);
    }

    fn alert(&mut self, raised: &Raised<'_>, about: &About<'_>) {
        self.rule(raised);
        self.about(about, 0, &of(raised.level));
    }

    /// Counts a document, or a part of one, that holds no event, and why.
    pub fn other(&mut self, reason: &'static str) {
        match self.others.get_mut(reason) {
            Some(count) => *count += 1,
            None => _ = self.others.insert(reason.to_owned(), 1),
        }
    }

    /// Counts a document that cannot be read. `place` says where it is.
    pub fn unreadable(&mut self, reason: &str, place: impl FnOnce() -> String) {
        self.unreadable.add(reason, place);
    }

    /// Documents so far.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.documents
    }

    /// Events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Alerts so far.
    #[must_use]
    pub fn alerts(&self) -> u64 {
        self.rules.values().flat_map(|it| it.alerts).sum()
    }

    /// Adds what was found elsewhere.
    pub fn merge(&mut self, other: Self) {
        self.documents += other.documents;
        self.events += other.events;
        self.cut += other.cut;
        self.matched += other.matched;
        self.repeated += other.repeated;
        for (reason, count) in other.others {
            *self.others.entry(reason).or_default() += count;
        }
        self.unreadable.merge(other.unreadable);
        for (id, rule) in other.rules {
            let of_id = self.rules.entry(id).or_default();
            add(&mut of_id.alerts, &rule.alerts);
            of_id.title = rule.title;
        }
        self.users.merge(other.users);
        self.clusters.merge(other.clusters);
        self.namespaces.merge(other.namespaces);
        self.indices.merge(other.indices);
        self.timeline.merge(other.timeline);
    }

    fn rule(&mut self, raised: &Raised<'_>) {
        let one = of(raised.level);
        if let Some(rule) = self.rules.get_mut(raised.id) {
            return add(&mut rule.alerts, &one);
        }
        let rule = RuleCount { title: raised.title.to_owned(), alerts: one };
        self.rules.insert(raised.id.to_owned(), rule);
    }

    fn about(&mut self, about: &About<'_>, events: u64, levels: &PerLevel) {
        let alerts = levels.iter().sum();
        for (names, name) in [
            (&mut self.users, about.user),
            (&mut self.clusters, about.cluster),
            (&mut self.namespaces, about.namespace),
        ] {
            if let Some(name) = name {
                names.add(name, events, alerts);
            }
        }
        if let Some(time) = about.time {
            self.timeline.add(time, events, levels);
        }
    }
}

/// One of this level.
fn of(level: Level) -> PerLevel {
    LEVELS.map(|it| u64::from(it == level))
}

fn add(to: &mut PerLevel, more: &PerLevel) {
    for (to, more) in to.iter_mut().zip(more) {
        *to += more;
    }
}

#[cfg(test)]
mod tests;
