//! What is sure of a rule when some of its lines are decided and others are not.

use super::{key, plain, view::View};
use crate::rules::{Condition, FieldTest, Rule};

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

/// What is sure of the rule for all events of this one's key. `watched` are lines that are looked for together with
/// those of other rules.
pub(super) fn sure(view: &View<'_>, rule: &Rule, watched: &[LineAt]) -> Sure {
    let decided = |test: &FieldTest| key::decides(view, test).then(|| plain::passes(view, test));
    match condition(rule, &rule.condition, &|_, test| decided(test)) {
        Some(true) => Sure::Hit,
        Some(false) => Sure::Miss,
        None => {
            // Whatever the others say: without these it is no hit.
            let without = |at: LineAt, test: &FieldTest| match watched.contains(&at) {
                true => Some(false),
                false => decided(test),
            };
            match condition(rule, &rule.condition, &without) {
                Some(false) => Sure::Watched,
                _ => Sure::Open,
            }
        }
    }
}

/// What a line says, if that is known.
type Line<'l> = &'l dyn Fn(LineAt, &FieldTest) -> Option<bool>;

fn condition(rule: &Rule, it: &Condition, line: Line<'_>) -> Option<bool> {
    match it {
        Condition::Search(index) => search(rule, *index, line),
        Condition::All(parts) => all(parts.iter().map(|it| condition(rule, it, line))),
        Condition::Any(parts) => any(parts.iter().map(|it| condition(rule, it, line))),
        Condition::Not(part) => condition(rule, part, line).map(|it| !it),
    }
}

fn search(rule: &Rule, index: usize, line: Line<'_>) -> Option<bool> {
    let Some(search) = rule.searches.get(index) else { return Some(false) };
    any(search.alternatives.iter().enumerate().map(|(alternative, tests)| {
        // That one element has to satisfy several lines only makes it harder.
        all(tests.iter().enumerate().map(|(at, test)| line(place(index, alternative, at), test)))
    }))
}

pub(super) fn place(search: usize, alternative: usize, line: usize) -> LineAt {
    let number = |it| u32::try_from(it).unwrap_or(u32::MAX);
    (number(search), number(alternative), number(line))
}

fn all(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
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

fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all(parts.map(|it| it.map(|it| !it))).map(|it| !it)
}
