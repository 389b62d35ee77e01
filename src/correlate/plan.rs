use std::collections::{HashMap, HashSet};

use crate::rules::{
    Condition, Field, Level, RuleError,
    correlation::{Correlation, Kind},
};

use super::event::{Input, Key, VALUES_MAX, kept};

/// All correlations, and what each rule means to them.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub(super) planned: Vec<Planned>,
    /// Where correlations are, by what their state depends on.
    places: HashMap<Key, usize>,
    needs: Vec<Vec<Need>>,
    silent: Vec<bool>,
}

/// A correlation whose rules are found.
#[derive(Clone, Debug)]
pub struct Planned {
    /// As it is written.
    pub correlation: Correlation,
    /// How bad it is.
    pub level: Level,
    /// Whether it is told, or only seen by other correlations.
    pub is_told: bool,
    /// How long a group that was told is quiet (microseconds).
    pub quiet_us: i64,
    /// What its rules are.
    pub(super) references: Vec<Reference>,
    /// What its state depends on.
    pub(super) hash: Key,
    pub(super) span_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    Rule(usize),
    Correlation(usize),
}

/// A rule that correlations can be about.
#[derive(Clone, Debug)]
pub struct BaseRule {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its file.
    pub file: String,
}

/// What a correlation wants to know of an event that hits a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The correlation, by what its state depends on.
    pub correlation: Key,
    /// Which of its rules the event hits.
    pub reference: u16,
    /// It counts only if it makes the correlation match that the reference means.
    pub is_chained: bool,
    /// The fields of its group.
    pub group: Vec<Field>,
    /// The fields that are counted, if any: the values of one, or the combination of several.
    pub values: Vec<Field>,
}

/// Most correlations that refer to each other in a row.
const CHAIN_MAX: usize = 8;
/// Most ways from one rule to the correlations that look at it, themselves or through others. An event that hits the
/// rule can go each of them, and in layers that all refer to all of the layer below there are more than can be gone.
const WAYS_MAX: usize = 4096;
const MICROS: i64 = 1_000_000;

impl Plan {
    /// Finds the rules of all correlations.
    pub fn new(correlations: Vec<Correlation>, rules: &[BaseRule]) -> Result<Self, RuleError> {
        let mut ids: HashMap<&str, &Correlation> = HashMap::new();
        for it in &correlations {
            if let Some(other) = ids.insert(&it.id, it) {
                return Err(error(it, format!("{} has the same id `{}`", other.file, it.id)));
            }
        }
        let names = Names::new(&correlations, rules);
        let mut planned: Vec<Planned> = Vec::with_capacity(correlations.len());
        for it in &correlations {
            let references: Vec<_> =
                it.rules.iter().map(|name| names.find(name, it)).collect::<Result<_, _>>()?;
            let span_us = i64::from(it.timespan_s) * MICROS;
            planned.push(Planned {
                level: it.level.unwrap_or(Level::Medium),
                is_told: true,
                quiet_us: span_us,
                hash: content(it, &references, &correlations, rules),
                span_us,
                references,
                correlation: it.clone(),
            });
        }
        let mut plan = Self {
            places: planned.iter().map(|it| it.hash).zip(0..).collect(),
            planned,
            needs: vec![Vec::new(); rules.len()],
            silent: vec![false; rules.len()],
        };
        plan.check_chains()?;
        let parents = plan.parents();
        plan.check_ways(&parents, rules)?;
        plan.settle_levels();
        for it in &mut plan.planned {
            it.is_told = it.level > Level::Informational;
        }
        let mut told = HashSet::new();
        for place in 0..plan.planned.len() {
            plan.add_needs(place, rules, &parents, &mut told);
        }
        Ok(plan)
    }

    /// The correlations, in the order of their places.
    #[must_use]
    pub fn correlations(&self) -> &[Planned] {
        &self.planned
    }

    /// The same correlations, told otherwise: what they remember stays theirs.
    #[must_use]
    pub fn adjusted(&self, adjust: impl FnMut(&mut Planned)) -> Self {
        let mut plan = self.clone();
        plan.planned.iter_mut().for_each(adjust);
        plan
    }

    /// What is wanted of an event that hits the rule at this place.
    #[must_use]
    pub fn needs(&self, rule: usize) -> &[Need] {
        self.needs.get(rule).map_or(&[], Vec::as_slice)
    }

    /// What an event means that hits these rules; nothing for most. `read` gives the values that a field has in it.
    pub fn inputs(
        &self,
        hits: &[usize],
        read: &mut dyn FnMut(&Field) -> Vec<String>,
    ) -> Box<[Input]> {
        let mut inputs = Vec::new();
        for need in hits.iter().flat_map(|it| self.needs(*it)) {
            let mut group = Vec::with_capacity(need.group.len());
            for field in &need.group {
                let values = read(field);
                group.push((!values.is_empty()).then(|| kept(&values.join(", "))));
            }
            let mut of_field: Vec<Vec<String>> = need.values.iter().map(&mut *read).collect();
            let values: Vec<Box<str>> = match of_field.as_mut_slice() {
                [] => Vec::new(),
                [one] => one.iter().take(VALUES_MAX).map(|it| kept(it)).collect(),
                several if several.iter().any(Vec::is_empty) => Vec::new(),
                several => {
                    let texts: Vec<String> = several.iter().map(|it| it.join(", ")).collect();
                    vec![kept(&texts.join(" / "))]
                }
            };
            inputs.push(Input {
                correlation: need.correlation,
                reference: need.reference,
                is_chained: need.is_chained,
                group: group.into(),
                values: values.into(),
            });
        }
        inputs.into()
    }

    /// Whether the rule at this place raises no alerts of its own.
    #[must_use]
    pub fn is_silent(&self, rule: usize) -> bool {
        self.silent.get(rule).is_some_and(|it| *it)
    }

    /// Whether there is nothing to correlate.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.planned.is_empty()
    }

    pub(super) fn place(&self, correlation: Key) -> Option<usize> {
        self.places.get(&correlation).copied()
    }

    /// Whether the input is about matches of the correlation at this place.
    pub(super) fn is_about(&self, input: &Input, place: usize) -> bool {
        let planned = self.place(input.correlation).and_then(|it| self.planned.get(it));
        let reference = planned.and_then(|it| it.references.get(usize::from(input.reference)));
        input.is_chained && reference == Some(&Reference::Correlation(place))
    }

    fn children(&self, place: usize) -> impl Iterator<Item = usize> {
        let references = self.planned.get(place).map_or(&[][..], |it| &it.references);
        references.iter().filter_map(|it| match it {
            Reference::Correlation(place) => Some(*place),
            Reference::Rule(_) => None,
        })
    }

    /// Each correlation is deeper than those that it refers to. In a circle there is no end to that.
    fn check_chains(&self) -> Result<(), RuleError> {
        let mut depths = vec![1; self.planned.len()];
        for _ in 0..=CHAIN_MAX {
            let deeper = (0..depths.len()).map(|place| {
                let below = self.children(place).filter_map(|it| depths.get(it));
                1 + below.max().copied().unwrap_or(0)
            });
            depths = deeper.collect();
        }
        match self.planned.iter().zip(depths).find(|(_, depth)| *depth > CHAIN_MAX) {
            None => Ok(()),
            Some((it, _)) => Err(error(
                &it.correlation,
                format!(
                    "correlations refer to each other in a circle, or more than {CHAIN_MAX} deep"
                ),
            )),
        }
    }

    fn parents(&self) -> Parents {
        let mut parents = vec![Vec::new(); self.planned.len()];
        for (parent, planned) in self.planned.iter().enumerate() {
            for (at, reference) in planned.references.iter().enumerate() {
                if let Reference::Correlation(place) = reference
                    && let Some(of) = parents.get_mut(*place)
                {
                    of.push((parent, at));
                }
            }
        }
        parents
    }

    /// How many ways lead on from a rule is bounded. There are no circles here.
    fn check_ways(&self, parents: &Parents, rules: &[BaseRule]) -> Result<(), RuleError> {
        let mut ways = vec![1_usize; self.planned.len()];
        for _ in 0..CHAIN_MAX {
            let on = |it: &(usize, usize)| ways.get(it.0).copied().unwrap_or_default();
            let longer = parents.iter().map(|of| of.iter().map(on).fold(1, usize::saturating_add));
            ways = longer.collect();
        }
        let mut of_rules = vec![0_usize; rules.len()];
        for (planned, ways) in self.planned.iter().zip(ways) {
            for reference in &planned.references {
                let Reference::Rule(rule) = reference else { continue };
                let Some(sum) = of_rules.get_mut(*rule) else { continue };
                *sum = sum.saturating_add(ways);
                if *sum > WAYS_MAX {
                    let rule = rules.get(*rule).map_or("", |it| &it.id);
                    let reason = format!(
                        "more than {WAYS_MAX} ways lead from rule `{rule}` to correlations, through one another"
                    );
                    return Err(error(&planned.correlation, reason));
                }
            }
        }
        Ok(())
    }

    /// What is a part of others, and does not say how bad it is, raises no alerts.
    fn settle_levels(&mut self) {
        let parts: Vec<usize> =
            (0..self.planned.len()).flat_map(|it| self.children(it).collect::<Vec<_>>()).collect();
        for place in parts {
            if let Some(it) = self.planned.get_mut(place)
                && it.correlation.level.is_none()
            {
                it.level = Level::Informational;
            }
        }
    }

    fn add_needs(
        &mut self,
        place: usize,
        rules: &[BaseRule],
        parents: &Parents,
        told: &mut HashSet<(usize, Key, u16, bool)>,
    ) {
        let Some(planned) = self.planned.get(place) else { return };
        let is_silent = planned.correlation.generate == Some(false);
        let direct: Vec<(usize, usize)> = planned
            .references
            .iter()
            .enumerate()
            .filter_map(|(at, it)| match it {
                Reference::Rule(rule) => Some((at, *rule)),
                Reference::Correlation(_) => None,
            })
            .collect();
        let same_file =
            |rule: usize| rules.get(rule).is_some_and(|it| it.file == planned.correlation.file);
        let silenced: Vec<usize> =
            direct.iter().map(|(_, rule)| *rule).filter(|it| is_silent && same_file(*it)).collect();
        for rule in silenced {
            if let Some(silent) = self.silent.get_mut(rule) {
                *silent = true;
            }
        }
        for (at, rule) in direct {
            let mut wanted: Vec<Need> = self.need(place, at, false).into_iter().collect();
            self.add_chained(place, parents, &mut wanted);
            wanted.retain(|it| told.insert((rule, it.correlation, it.reference, it.is_chained)));
            if let Some(needs) = self.needs.get_mut(rule) {
                needs.extend(wanted);
            }
        }
    }

    /// What those want that refer to the correlation.
    fn add_chained(&self, place: usize, parents: &Parents, out: &mut Vec<Need>) {
        for (parent, at) in parents.get(place).into_iter().flatten() {
            out.extend(self.need(*parent, *at, true));
            self.add_chained(*parent, parents, out);
        }
    }

    fn need(&self, place: usize, at: usize, is_chained: bool) -> Option<Need> {
        let planned = self.planned.get(place)?;
        let it = &planned.correlation;
        let group = it.group_by.iter().filter_map(|it| it.fields.get(at).cloned()).collect();
        let values = match &it.kind {
            Kind::ValueCount(fields, _) | Kind::FirstSeen(fields) => fields.clone(),
            Kind::Sum(field, _) | Kind::Average(field, _) | Kind::Percentile(field, ..) => {
                vec![field.clone()]
            }
            Kind::EventCount(_)
            | Kind::Temporal(_)
            | Kind::TemporalOf(_)
            | Kind::Ordered
            | Kind::Absence => Vec::new(),
        };
        Some(Need {
            correlation: planned.hash,
            reference: u16::try_from(at).ok()?,
            is_chained,
            group,
            values,
        })
    }
}

impl Planned {
    /// Whether it is told as soon as there is enough; else when the window is over.
    pub(super) fn only_rises(&self) -> bool {
        match &self.correlation.kind {
            Kind::EventCount(bounds)
            | Kind::ValueCount(_, bounds)
            | Kind::Sum(_, bounds)
            | Kind::Temporal(bounds) => bounds.only_rise(),
            // The mean of a part says nothing of the whole.
            Kind::Average(..) | Kind::Percentile(..) => false,
            Kind::TemporalOf(condition) => only_rises(condition),
            Kind::Ordered | Kind::FirstSeen(_) | Kind::Absence => true,
        }
    }
}

fn only_rises(condition: &Condition) -> bool {
    match condition {
        Condition::Search(_) => true,
        Condition::All(parts) | Condition::Any(parts) => parts.iter().all(only_rises),
        Condition::Not(_) => false,
    }
}

fn error(of: &Correlation, reason: String) -> RuleError {
    RuleError { file: of.file.clone(), line: of.line, column: 1, reason }
}

/// For each correlation those that refer to it, and at which place of theirs.
type Parents = Vec<Vec<(usize, usize)>>;

/// What rules and correlations are called.
struct Names<'a> {
    ids: HashMap<&'a str, Vec<Reference>>,
    names: HashMap<&'a str, Vec<Reference>>,
}

impl<'a> Names<'a> {
    fn new(correlations: &'a [Correlation], rules: &'a [BaseRule]) -> Self {
        let (mut ids, mut names) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, Vec<_>>::new());
        let rules = rules.iter().enumerate();
        let rules = rules.map(|(at, it)| (&it.id, &it.name, Reference::Rule(at)));
        let correlations = correlations.iter().enumerate();
        let correlations =
            correlations.map(|(at, it)| (&it.id, &it.name, Reference::Correlation(at)));
        for (id, name, reference) in rules.chain(correlations) {
            ids.entry(id.as_str()).or_default().push(reference);
            if let Some(name) = name {
                names.entry(name.as_str()).or_default().push(reference);
            }
        }
        Self { ids, names }
    }

    /// The rule or correlation that is called so: ids before names.
    fn find(&self, name: &str, of: &Correlation) -> Result<Reference, RuleError> {
        let found = self.ids.get(name).or_else(|| self.names.get(name));
        match found.map_or(&[][..], Vec::as_slice) {
            [one] => Ok(*one),
            [] => Err(error(of, format!("no rule or correlation has the id or name `{name}`"))),
            _ => Err(error(of, format!("several rules or correlations are called `{name}`"))),
        }
    }
}

/// All that decides what is remembered of events: where this changes, nothing that is remembered fits any more.
fn content(
    it: &Correlation,
    references: &[Reference],
    correlations: &[Correlation],
    rules: &[BaseRule],
) -> Key {
    let ids = references.iter().map(|it| match it {
        Reference::Rule(place) => rules.get(*place).map_or("", |it| &it.id),
        Reference::Correlation(place) => correlations.get(*place).map_or("", |it| &it.id),
    });
    let ids: Vec<&str> = ids.collect();
    Key::of(&[
        &it.id,
        &ids.join("\n"),
        &format!("{:?}", it.kind),
        &format!("{:?}", it.group_by),
        &it.timespan_s.to_string(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::correlation::parse;

    fn rules() -> Vec<BaseRule> {
        let rules = [("r0", "failed", "a.yml"), ("r1", "succeeded", "b.yml")];
        let rule = |(id, name, file): (&str, &str, &str)| BaseRule {
            id: id.into(),
            name: Some(name.into()),
            file: file.into(),
        };
        rules.map(rule).into()
    }

    fn correlation(text: &str) -> Correlation {
        parse("a.yml", text).unwrap()
    }

    fn many() -> Correlation {
        correlation(
            "title: m\nname: many\ncorrelation: {type: event_count, rules: [failed], group-by: [user.uid], timespan: 1m, condition: {gte: 3}}",
        )
    }

    fn chain() -> Correlation {
        correlation(
            "title: c\ngenerate: false\ncorrelation: {type: temporal_ordered, rules: [many, succeeded, r0], group-by: [user.username], timespan: 5m}",
        )
    }

    #[test]
    fn a_chain() {
        let plan = Plan::new(vec![many(), chain()], &rules()).unwrap();
        let shown = |rule: usize| {
            let needs = plan.needs(rule).iter();
            needs
                .map(|it| {
                    (
                        plan.place(it.correlation).unwrap(),
                        it.reference,
                        it.is_chained,
                        it.group[0].to_string(),
                    )
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(
            shown(0),
            [
                (0, 0, false, "user.uid".into()),
                (1, 0, true, "user.username".into()),
                (1, 2, false, "user.username".into()),
            ]
        );
        assert_eq!(shown(1), [(1, 1, false, "user.username".into())]);
        // The part raises no alerts, and of the rules only what stands in the same file is silent.
        let levels = plan.correlations().iter().map(|it| it.level).collect::<Vec<_>>();
        assert_eq!(levels, [Level::Informational, Level::Medium]);
        assert_eq!([0, 1].map(|it| plan.is_silent(it)), [true, false]);
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let told = |correlations: Vec<Correlation>| {
            Plan::new(correlations, &rules()).unwrap_err().to_string()
        };
        assert!(told(vec![chain()]).contains("the id or name `many`"));
        assert!(told(vec![many(), many()]).contains("has the same id"));
        let around = |name: &str, other: &str| {
            correlation(&format!(
                "title: {name}\nname: {name}\ncorrelation: {{type: temporal, rules: [{other}], timespan: 1m}}"
            ))
        };
        let circle = vec![around("a", "b"), around("b", "a")];
        assert!(told(circle).contains("in a circle"));
        // Layers that all refer to all of the layer below: four ways more with each.
        let layer = |depth: usize, place: usize| {
            let below = depth.saturating_sub(1);
            let below: Vec<_> = (0..4).map(|it| format!("l{below}p{it}")).collect();
            let rules = if depth == 0 { "r0".to_owned() } else { below.join(", ") };
            correlation(&format!(
                "title: t\nname: l{depth}p{place}\ncorrelation: {{type: event_count, rules: [{rules}], timespan: 1m, condition: {{gte: 1}}}}"
            ))
        };
        let layers = |count: usize| {
            (0..count)
                .flat_map(|depth| (0..4).map(move |it| (depth, it)))
                .map(|it| layer(it.0, it.1))
        };
        assert!(told(layers(8).collect()).contains("more than 4096 ways lead from rule `r0`"));
        assert_eq!(Plan::new(layers(5).collect(), &rules()).unwrap().needs(0).len(), 4 + 4 * 16);
        let other = "title: o\nid: o\nname: failed\ncorrelation: {type: temporal, rules: [r0], timespan: 1m}";
        let twice = vec![correlation(other), many()];
        assert!(told(twice).contains("several rules or correlations are called `failed`"));
    }

    #[test]
    fn what_is_only_said_otherwise_keeps_its_state() {
        let hash = |text: &str| {
            let plan = Plan::new(vec![correlation(text)], &rules()).unwrap();
            plan.planned[0].hash
        };
        let text = "title: t\nid: i\ncorrelation: {type: event_count, rules: [r0], timespan: 60s, condition: {gte: 3}}";
        assert_eq!(hash(text), hash(&text.replace("title: t", "title: u").replace("r0", "failed")));
        assert_ne!(hash(text), hash(&text.replace("gte: 3", "gte: 4")));
        assert_ne!(hash(text), hash(&text.replace("60s", "61s")));
    }
}
