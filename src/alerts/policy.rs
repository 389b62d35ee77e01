use std::collections::BTreeSet;

use super::Glob;
use crate::{
    correlate::{Plan, Planned},
    rules::{Level, Rule, Template},
};

/// What becomes of alerts.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How bad some are; the first that fits.
    pub overrides: Vec<Override>,
    /// What is lower only labels its event.
    pub min_level: Level,
    /// Where some go; the first that fits.
    pub routes: Vec<Route>,
    /// Which say the same; the first that fits.
    pub suppress: Vec<Suppress>,
    /// How many there may be.
    pub rate: Rate,
}

/// Which alerts are meant: those that one of each list fits. An empty list fits all.
#[derive(Clone, Debug, Default)]
pub struct Fits {
    /// Ids, titles or tags of rules.
    pub rules: Vec<Glob>,
    /// Namespaces of the request's object; the empty one is that of what has none.
    pub namespaces: Vec<Glob>,
    /// Clusters; the empty one is that of events that tell none.
    pub clusters: Vec<Glob>,
}

/// How bad some alerts are.
#[derive(Clone, Debug)]
pub struct Override {
    /// Which.
    pub fits: Fits,
    /// In place of the rule's level.
    pub level: Option<Level>,
    /// In place of the level's.
    pub risk_score: Option<u8>,
}

/// Where some alerts go.
#[derive(Clone, Debug)]
pub struct Route {
    /// Those of this level and above.
    pub min_level: Level,
    /// The index or data stream.
    pub index: String,
}

/// Alerts of one rule that say the same.
#[derive(Clone, Debug)]
pub struct Suppress {
    /// Which.
    pub fits: Fits,
    /// Names of the fields that are the same in all that say the same.
    pub by: Vec<String>,
    /// The fields.
    pub fields: Vec<Template>,
    /// For how long after the first (seconds).
    pub for_s: u32,
    /// What is higher is always told.
    pub max_level: Level,
}

/// Most alerts of a minute, of what is not suppressed.
///
/// A minute in which one rule of a middling level fires 100 times in one cluster is a storm: nobody reads them one by one,
/// and a hundred are enough to see what it is. It hides nobody all the same: the first alert of every user and rule in that
/// minute passes (as long as there are not too many of these either), the summary names users, what is high or critical
/// always passes, and each event keeps its label.
#[derive(Clone, Debug)]
pub struct Rate {
    /// Of one rule, in one cluster.
    pub per_rule: u32,
    /// Of all, in one index or data stream.
    pub total: u32,
    /// What is higher is always told.
    pub max_level: Level,
}

/// Why an alert is not told: values of the label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Its level is too low.
    MinLevel,
    /// It says what another said.
    Suppress,
    /// There are too many of its rule.
    RatePerRule,
    /// There are too many.
    RateTotal,
}

/// What alerts are of: a rule or a correlation.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    id: &'a str,
    title: &'a str,
    tags: &'a [String],
    level: Level,
}

/// How bad one alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grade {
    /// Its level.
    pub level: Level,
    /// `event.risk_score`, from 0 to 100.
    pub risk_score: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            overrides: Vec::new(),
            min_level: Level::Low,
            routes: Vec::new(),
            suppress: Vec::new(),
            rate: Rate::default(),
        }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self { per_rule: 100, total: 1000, max_level: Level::Medium }
    }
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MinLevel, Self::Suppress, Self::RatePerRule, Self::RateTotal];

    /// The label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MinLevel => "min_level",
            Self::Suppress => "suppress",
            Self::RatePerRule => "rate_per_rule",
            Self::RateTotal => "rate_total",
        }
    }
}

impl Fits {
    /// Whether an alert of the rule or correlation is meant.
    #[must_use]
    pub fn alert<'a>(&self, of: impl Into<Source<'a>>, namespace: &str, cluster: &str) -> bool {
        let one =
            |globs: &[Glob], text: &str| globs.is_empty() || globs.iter().any(|it| it.fits(text));
        self.some_of(of.into()) && one(&self.namespaces, namespace) && one(&self.clusters, cluster)
    }

    /// Whether some of its alerts may be meant.
    fn some_of(&self, of: Source<'_>) -> bool {
        self.rules.is_empty() || self.rules.iter().any(|it| of.is_meant(it))
    }

    /// Whether it is meant by its id, its title or a tag, not by `*`.
    fn names(&self, of: Source<'_>) -> bool {
        self.rules.iter().any(|it| !it.as_str().contains('*') && of.is_meant(it))
    }

    /// Whether all of its alerts are meant.
    fn all_of(&self, of: Source<'_>) -> bool {
        self.some_of(of) && self.namespaces.is_empty() && self.clusters.is_empty()
    }
}

impl Source<'_> {
    fn is_meant(self, glob: &Glob) -> bool {
        glob.fits(self.id) || glob.fits(self.title) || self.tags.iter().any(|it| glob.fits(it))
    }
}

impl<'a> From<&'a Rule> for Source<'a> {
    fn from(it: &'a Rule) -> Self {
        Self { id: &it.id, title: &it.title, tags: &it.tags, level: it.level }
    }
}

impl<'a> From<&'a Planned> for Source<'a> {
    fn from(planned: &'a Planned) -> Self {
        let it = &planned.correlation;
        Self { id: &it.id, title: &it.title, tags: &it.tags, level: planned.level }
    }
}

impl Policy {
    /// How bad an alert of the rule or correlation is.
    #[must_use]
    pub fn grade<'a>(&self, of: impl Into<Source<'a>>, namespace: &str, cluster: &str) -> Grade {
        let of = of.into();
        let found = self.overrides.iter().find(|it| it.fits.alert(of, namespace, cluster));
        let level = found.and_then(|it| it.level).unwrap_or(of.level);
        let risk_score = found.and_then(|it| it.risk_score).unwrap_or(level.severity());
        Grade { level, risk_score }
    }

    /// The same, and none is held because there are others: for what happened long ago, where no order is kept and nobody
    /// is woken.
    #[must_use]
    pub fn holding_none(mut self) -> Self {
        self.suppress.clear();
        self.rate.max_level = Level::Informational;
        self
    }

    /// Whether a hit of this level is an alert, or only labels its event.
    #[must_use]
    pub fn is_alert(&self, level: Level) -> bool {
        level > Level::Informational && level >= self.min_level
    }

    /// Where an alert of this level goes, if not where all go.
    #[must_use]
    pub fn route(&self, level: Level) -> Option<&str> {
        self.routes.iter().find(|it| level >= it.min_level).map(|it| it.index.as_str())
    }

    /// Correlations as they are told. What an override raises is no longer only for other correlations. Where all alerts
    /// of one are suppressed for a time, each of its groups is quiet so long: its next alert says how often it matched.
    #[must_use]
    pub fn adjusted(&self, plan: &Plan) -> Plan {
        plan.adjusted(|it| {
            let of = Source::from(&*it);
            let (is_raised, held_us) = (self.may_raise(of), self.held_us(of));
            it.is_told |= is_raised;
            it.quiet_us = it.quiet_us.max(held_us);
        })
    }

    fn may_raise(&self, of: Source<'_>) -> bool {
        let is_raise = |it: &Override| it.level > Some(Level::Informational);
        self.overrides.iter().any(|it| is_raise(it) && it.fits.some_of(of))
    }

    /// For how long what says the same is suppressed, wherever it happens (microseconds).
    fn held_us(&self, of: Source<'_>) -> i64 {
        let is_held = |it: &&Suppress| of.level <= it.max_level && it.fits.all_of(of);
        self.suppress.iter().find(is_held).map_or(0, |it| i64::from(it.for_s) * 1_000_000)
    }

    /// Where `by` names other fields than the `group-by` of a correlation that is named: it is quiet for each of its own
    /// groups.
    #[must_use]
    pub fn other_groups(&self, correlations: &[Planned]) -> Vec<String> {
        let mut found = Vec::new();
        for Suppress { fits, by, .. } in &self.suppress {
            for planned in correlations {
                let groups = planned.correlation.group_by.iter().map(|it| it.name.as_str());
                let groups: BTreeSet<&str> = groups.collect();
                let by: BTreeSet<&str> = by.iter().map(String::as_str).collect();
                let is_other = !by.is_empty() && by != groups;
                if is_other && fits.names(Source::from(planned)) {
                    found.push(format!(
                        "alerts.suppress: `by` says nothing to the correlation `{}`: it is quiet for each of its groups, by {}",
                        planned.correlation.title,
                        groups.into_iter().collect::<Vec<_>>().join(", ")
                    ));
                }
            }
        }
        found
    }

    /// Names of rules that no rule or correlation has: they may be misspelt.
    #[must_use]
    pub fn strangers(&self, rules: &[Rule], correlations: &[Planned]) -> Vec<String> {
        let overrides = self.overrides.iter().map(|it| ("overrides", &it.fits));
        let suppress = self.suppress.iter().map(|it| ("suppress", &it.fits));
        let mut found = Vec::new();
        for (section, fits) in overrides.chain(suppress) {
            for glob in &fits.rules {
                let mut all =
                    rules.iter().map(Source::from).chain(correlations.iter().map(Source::from));
                if !all.any(|it| it.is_meant(glob)) {
                    found.push(format!("alerts.{section}: no rule is called `{}`", glob.as_str()));
                }
            }
        }
        found
    }
}
