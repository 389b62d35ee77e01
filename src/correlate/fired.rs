use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{
    event::{Event, Key, Shared},
    plan::Planned,
};
use crate::rules::correlation::{Grouping, ReasonPart, THOUSAND};

/// An alert of a correlation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fired {
    /// The id of the correlation.
    pub correlation: Box<str>,
    /// The same whenever the same events fire it.
    pub id: Key,
    /// When it was so (microseconds since 1970).
    pub at_us: i64,
    /// When it began: the first of the events that count.
    pub first_us: i64,
    /// The cluster.
    pub cluster: Box<str>,
    /// The values of `group-by`.
    pub group: Box<[Option<Box<str>>]>,
    /// What was counted (thousandths).
    pub count: i64,
    /// The values that were counted, or are new, as far as they are told.
    pub values: Vec<Box<str>>,
    /// How often the group matched since its last alert, and was not told.
    pub suppressed: u64,
    /// How often other groups of the correlation matched since its last alert, and were not told: there were too many.
    pub withheld: u64,
    pub(super) told: Vec<Shared>,
}

/// Most values that an alert lists.
const VALUES_TOLD_MAX: usize = 20;

impl Fired {
    /// Who did it all, if it was one.
    #[must_use]
    pub fn person(&self) -> Option<&str> {
        let mut users = self.events().map(|it| &*it.evidence.user);
        let first = users.next().filter(|it| !it.is_empty())?;
        users.all(|it| it == first).then_some(first)
    }

    /// The events that made it; of many, some.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.told.iter().map(|it| it.0.as_ref())
    }

    /// What was counted, as a person writes it.
    #[must_use]
    pub fn counted(&self) -> String {
        let (whole, rest) = (self.count / THOUSAND, (self.count % THOUSAND).abs());
        match rest {
            0 => whole.to_string(),
            _ => {
                let sign = if self.count < 0 && whole == 0 { "-" } else { "" };
                format!("{sign}{whole}.{rest:03}").trim_end_matches('0').to_owned()
            }
        }
    }

    /// The namespace of its group; empty if it is grouped by none.
    #[must_use]
    pub fn namespace(&self, planned: &Planned) -> &str {
        let is_namespace = |it: &Grouping| {
            matches!(it.name.as_str(), "objectRef.namespace" | "orchestrator.namespace")
        };
        let place = planned.correlation.group_by.iter().position(is_namespace);
        let value = place.and_then(|it| self.group.get(it)?.as_deref());
        value.unwrap_or_default()
    }

    /// The sentence for a person.
    #[must_use]
    pub fn reason(&self, planned: &Planned) -> String {
        let it = &planned.correlation;
        let group = |place: usize| self.group.get(place).and_then(Option::as_deref).unwrap_or("-");
        let mut out = String::new();
        let Some(reason) = &it.reason else {
            write!(out, "{}: {} within {}", it.title, self.counted(), span(it.timespan_s)).ok();
            for (place, grouping) in it.group_by.iter().enumerate() {
                write!(out, ", {} {}", grouping.name, group(place)).ok();
            }
            return out;
        };
        for part in &reason.parts {
            match part {
                ReasonPart::Text(text) => out.push_str(text),
                ReasonPart::Group(place) => out.push_str(group(*place)),
                ReasonPart::Count => out.push_str(&self.counted()),
                ReasonPart::Values => out.push_str(&self.values.join(", ")),
                ReasonPart::Timespan => out.push_str(&span(it.timespan_s)),
            }
        }
        out
    }

    /// The values that events bring to a correlation, each once, in their order.
    pub(super) fn values_of(told: &[Shared], correlation: Key) -> Vec<Box<str>> {
        let mut values: Vec<Box<str>> = Vec::new();
        let inputs = told.iter().flat_map(|it| it.0.inputs.iter());
        for value in inputs.filter(|it| it.correlation == correlation).flat_map(|it| &it.values) {
            if values.len() < VALUES_TOLD_MAX && !values.contains(value) {
                values.push(value.clone());
            }
        }
        values
    }
}

/// As it is written in a rule.
fn span(seconds: u32) -> String {
    for (unit_s, unit) in [(24 * 3600, 'd'), (3600, 'h'), (60, 'm')] {
        if seconds.is_multiple_of(unit_s) {
            return format!("{}{unit}", seconds / unit_s);
        }
    }
    format!("{seconds}s")
}
