//! What is sure of a rule when some of its lines are decided and others are not.

use std::{cell::RefCell, collections::HashMap};

use super::{key, plain, view::View};
use crate::rules::{Condition, FieldTest, Rule, Search};

/// Where a line stands in a rule: search, alternative, line.
pub(super) type LineAt = (u32, u32, u32);

/// What is sure of a rule for all events of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sure {
    /// It is hit.
    Hit,
    /// It is not.
    Miss,
    /// It is hit only if one of the watched lines holds.
    Watched,
    /// The event has to be looked at.
    Open,
}

/// What is left of a condition when the decided lines are taken out.
#[derive(Debug)]
pub(super) enum Rest {
    /// Nothing.
    Known(bool),
    /// Of each alternative, the lines that are not decided.
    Search(Box<[Box<[u32]>]>),
    /// All of these.
    All(Vec<Rest>),
    /// One of these.
    Any(Vec<Rest>),
    /// Not this.
    Not(Box<Rest>),
}

impl Rest {
    /// What it takes in memory, about.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Known(_) => 0,
                Self::Search(all) => {
                    all.iter().map(|it| size_of_val(it) + size_of_val(&**it)).sum()
                }
                Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::bytes).sum(),
                Self::Not(part) => part.bytes(),
            }
    }
}

/// The lines of all rules. What several rules ask is asked once.
#[derive(Debug)]
pub(super) struct Lines {
    tests: Vec<FieldTest>,
    /// Of each rule, each search, each alternative, each line: its place in `tests`.
    rules: Vec<Vec<Vec<Box<[u32]>>>>,
}

impl Lines {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut places: HashMap<String, u32> = HashMap::new();
        let mut tests = Vec::new();
        let mut of_alternative = |alternative: &Vec<FieldTest>| {
            let places = alternative.iter().map(|test| {
                // Regexes compare by how they are written only.
                *places.entry(format!("{test:?}")).or_insert_with(|| {
                    tests.push(test.clone());
                    u32::try_from(tests.len() - 1).unwrap_or(u32::MAX)
                })
            });
            places.collect()
        };
        let mut of_search =
            |search: &Search| search.alternatives.iter().map(&mut of_alternative).collect();
        let rules = rules.iter().map(|it| it.searches.iter().map(&mut of_search).collect());
        let rules = rules.collect();
        Self { tests, rules }
    }

    /// Whether what is left of a rule holds for an event.
    pub(super) fn hold(&self, view: &View<'_>, rest: &Rest) -> bool {
        match rest {
            Rest::Known(value) => *value,
            Rest::Search(alternatives) => alternatives.iter().any(|places| {
                let tests = places.iter().filter_map(|it| self.tests.get(*it as usize));
                plain::all_hold(view, tests)
            }),
            Rest::All(parts) => parts.iter().all(|it| self.hold(view, it)),
            Rest::Any(parts) => parts.iter().any(|it| self.hold(view, it)),
            Rest::Not(part) => !self.hold(view, part),
        }
    }

    /// Nothing asked yet of this event.
    pub(super) fn asked<'a, 'e>(&'a self, view: &'a View<'e>) -> Asked<'a, 'e> {
        Asked { lines: self, view, answers: RefCell::new(vec![None; self.tests.len()]) }
    }
}

/// What lines say of the key of one event, as far as they were asked.
pub(super) struct Asked<'a, 'e> {
    lines: &'a Lines,
    view: &'a View<'e>,
    answers: RefCell<Vec<Option<Answer>>>,
}

/// Whether a line holds; `None`: the key does not decide it.
type Answer = Option<bool>;

impl Asked<'_, '_> {
    /// What is sure of the rule at this place for all events of the key. `watched` are lines that are looked for
    /// together with those of other rules.
    pub(super) fn sure(&self, place: usize, rule: &Rule, watched: &[LineAt]) -> Sure {
        let Some(searches) = self.lines.rules.get(place) else { return Sure::Miss };
        match condition(searches, &rule.condition, &|_, test| self.answer(test)) {
            Some(true) => Sure::Hit,
            Some(false) => Sure::Miss,
            None => {
                // Whatever the others say: without these it is no hit.
                let without = |at: LineAt, test| match watched.binary_search(&at).is_ok() {
                    true => Some(false),
                    false => self.answer(test),
                };
                match condition(searches, &rule.condition, &without) {
                    Some(false) => Sure::Watched,
                    _ => Sure::Open,
                }
            }
        }
    }

    /// What is left of the rule at this place to be asked of each event of the key.
    pub(super) fn rest(&self, place: usize, rule: &Rule) -> Rest {
        match self.lines.rules.get(place) {
            Some(searches) => self.rest_of(searches, &rule.condition),
            None => Rest::Known(false),
        }
    }

    fn rest_of(&self, searches: &[Vec<Box<[u32]>>], it: &Condition) -> Rest {
        let each = |parts: &[Condition], decisive: bool| {
            let mut left = Vec::new();
            for part in parts {
                match self.rest_of(searches, part) {
                    Rest::Known(value) if value == decisive => return Err(Rest::Known(value)),
                    Rest::Known(_) => (),
                    rest => left.push(rest),
                }
            }
            if left.is_empty() { Err(Rest::Known(!decisive)) } else { Ok(left) }
        };
        match it {
            Condition::Search(index) => {
                let mut left = Vec::new();
                for tests in searches.get(*index).into_iter().flatten() {
                    let answers = tests.iter().map(|it| (*it, self.answer(*it)));
                    let answers: Vec<(u32, Answer)> = answers.collect();
                    if answers.iter().any(|(_, it)| *it == Some(false)) {
                        continue;
                    }
                    let open = answers.iter().filter(|(_, it)| it.is_none()).map(|(it, _)| *it);
                    let open: Box<[u32]> = open.collect();
                    if open.is_empty() {
                        return Rest::Known(true);
                    }
                    left.push(open);
                }
                if left.is_empty() { Rest::Known(false) } else { Rest::Search(left.into()) }
            }
            Condition::All(parts) => each(parts, false).map_or_else(|it| it, Rest::All),
            Condition::Any(parts) => each(parts, true).map_or_else(|it| it, Rest::Any),
            Condition::Not(part) => match self.rest_of(searches, part) {
                Rest::Known(value) => Rest::Known(!value),
                rest => Rest::Not(Box::new(rest)),
            },
        }
    }

    fn answer(&self, place: u32) -> Answer {
        let mut answers = self.answers.borrow_mut();
        let answer = answers.get_mut(place as usize)?;
        *answer.get_or_insert_with(|| {
            let test = self.lines.tests.get(place as usize)?;
            key::decides(self.view, test).then(|| plain::passes(self.view, test))
        })
    }
}

/// What a line at this place says, if that is known.
type Line<'l> = &'l dyn Fn(LineAt, u32) -> Answer;

fn condition(searches: &[Vec<Box<[u32]>>], it: &Condition, line: Line<'_>) -> Answer {
    match it {
        Condition::Search(index) => search(searches, *index, line),
        Condition::All(parts) => all(parts.iter().map(|it| condition(searches, it, line))),
        Condition::Any(parts) => any(parts.iter().map(|it| condition(searches, it, line))),
        Condition::Not(part) => condition(searches, part, line).map(|it| !it),
    }
}

fn search(searches: &[Vec<Box<[u32]>>], index: usize, line: Line<'_>) -> Answer {
    let alternatives = searches.get(index).map_or(&[][..], Vec::as_slice);
    any(alternatives.iter().enumerate().map(|(alternative, tests)| {
        // That one element has to satisfy several lines only makes it harder.
        all(tests.iter().enumerate().map(|(at, test)| line(place(index, alternative, at), *test)))
    }))
}

pub(super) fn place(search: usize, alternative: usize, line: usize) -> LineAt {
    let number = |it| u32::try_from(it).unwrap_or(u32::MAX);
    (number(search), number(alternative), number(line))
}

fn all(parts: impl Iterator<Item = Answer>) -> Answer {
    let mut all = Some(true);
    for part in parts {
        match part {
            Some(false) => return Some(false),
            Some(true) => (),
            None => all = None,
        }
    }
    all
}

fn any(parts: impl Iterator<Item = Answer>) -> Answer {
    all(parts.map(|it| it.map(|it| !it))).map(|it| !it)
}
