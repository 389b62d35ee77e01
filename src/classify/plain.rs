//! Whether a rule is hit, decided line by line: slow, simple, and what the compiled way must say too.
//!
//! A selection speaks of one thing. Where its lines go through an array of objects (`requestObject.rules.verbs`,
//! `k8scop.container.image`), one element has to satisfy all of them. An array of texts is a field with several
//! values: each line asks all of them.

use super::{
    fields::{Found, NESTED_ARRAYS_MAX, below, visit, walk},
    view::{View, expanded},
};
use crate::{
    json::{self, Kind},
    rules::{Condition, Field, FieldTest, Pattern, Search},
};

pub(super) fn holds(view: &View<'_>, condition: &Condition, searches: &[Search]) -> bool {
    match condition {
        Condition::Search(index) => searches.get(*index).is_some_and(|it| found(view, it)),
        Condition::All(parts) => parts.iter().all(|it| holds(view, it, searches)),
        Condition::Any(parts) => parts.iter().any(|it| holds(view, it, searches)),
        Condition::Not(part) => !holds(view, part, searches),
    }
}

pub(super) fn found(view: &View<'_>, search: &Search) -> bool {
    search.alternatives.iter().any(|tests| all_hold(view, tests))
}

/// A line, and what of its path is left.
pub(super) type Line<'t> = (&'t FieldTest, &'t str);

/// Whether all lines of one alternative hold.
pub(super) fn all_hold<'t>(
    view: &View<'_>,
    tests: impl IntoIterator<Item = &'t FieldTest>,
) -> bool {
    let mut below_roots: [Vec<Line<'_>>; 5] = Default::default();
    for test in tests {
        match root(&test.field).and_then(|(root, path)| Some((below_roots.get_mut(root)?, path))) {
            Some((of_root, path)) => of_root.push((test, path)),
            None if !passes(view, test) => return false,
            None => (),
        }
    }
    below_roots.iter().enumerate().all(|(root, lines)| {
        if lines.is_empty() {
            return true;
        }
        let body = |it: Option<_>| it.map(expanded).unwrap_or_default();
        match root {
            0 => in_one(view, &body(view.event.request_object), lines),
            1 => in_one(view, &body(view.event.response_object), lines),
            2 => in_one(view, view.objects(), lines),
            3 => in_one(view, view.pods(), lines),
            _ => in_one(view, view.containers(), lines),
        }
    })
}

/// Where a field's path starts, if it goes through objects that may be one of several, and the path from there.
pub(super) fn root(field: &Field) -> Option<(usize, &str)> {
    match field {
        Field::Path(path) => match path.split_once('.')? {
            ("requestObject", rest) => Some((0, rest)),
            ("responseObject", rest) => Some((1, rest)),
            _ => None,
        },
        Field::Object(path) => Some((2, path)),
        Field::Pod(path) => Some((3, path)),
        Field::Container(path) => Some((4, path)),
        _ => None,
    }
}

fn in_one<T: AsRef<str>>(view: &View<'_>, values: &[T], lines: &[Line<'_>]) -> bool {
    match values {
        [] => lines.iter().all(|(test, _)| absent(view, test)),
        values => values.iter().any(|it| hold_in(view, it.as_ref(), lines, NESTED_ARRAYS_MAX)),
    }
}

/// Whether all lines hold in a value, below which their paths go on.
pub(super) fn hold_in(
    view: &View<'_>,
    value: &str,
    lines: &[Line<'_>],
    arrays_left: usize,
) -> bool {
    match json::kind(value) {
        Kind::Array => {
            let mut elements = json::elements(value).peekable();
            match elements.peek().is_none() || arrays_left == 0 {
                true => lines.iter().all(|(test, _)| absent(view, test)),
                false => elements.any(|it| hold_in(view, it, lines, arrays_left - 1)),
            }
        }
        Kind::Object => hold_in_object(view, value, lines),
        _ => lines.iter().all(|(test, _)| absent(view, test)),
    }
}

fn hold_in_object(view: &View<'_>, object: &str, lines: &[Line<'_>]) -> bool {
    let Some((_, path)) = lines.first() else { return true };
    let name = first(path);
    if lines.iter().all(|(_, it)| first(it) == name) {
        return hold_below(view, object, name, lines);
    }
    let (group, others): (Vec<Line<'_>>, _) = lines.iter().partition(|(_, it)| first(it) == name);
    hold_below(view, object, name, &group) && hold_in_object(view, object, &others)
}

/// Whether lines hold in an object whose paths all go on with `name`.
fn hold_below(view: &View<'_>, object: &str, name: &str, lines: &[Line<'_>]) -> bool {
    let Some(values) = values_of(object, name, lines) else {
        return lines.iter().all(|line| hold_below_dotted(view, object, line));
    };
    if values.is_empty() {
        return lines.iter().all(|(test, _)| absent(view, test));
    }
    let below: Vec<_> = lines.iter().map(|(test, path)| (*test, rest(path, name))).collect();
    values.iter().any(|it| one_member(view, it, &below))
}

/// The values of the members that are called so; `None` if one of these paths goes on in a member of another name,
/// as keys may hold dots.
fn values_of<'o>(object: &'o str, name: &str, lines: &[Line<'_>]) -> Option<Vec<&'o str>> {
    let mut values = Vec::new();
    for member in json::members(object) {
        let is_plain = !member.raw_key.bytes().any(|it| matches!(it, b'.' | b'_' | b'\\'));
        if is_plain && name != "*" {
            if member.raw_key == name {
                values.push(member.value);
            }
        } else if let Some(key) = member.key() {
            if key == name {
                values.push(member.value);
            } else if lines.iter().any(|(_, path)| below(path, &key).is_some()) {
                return None;
            }
        }
    }
    Some(values)
}

/// Whether a line holds below some member that its path goes through.
fn hold_below_dotted(view: &View<'_>, object: &str, (test, path): &Line<'_>) -> bool {
    let (mut ways, mut holds) = (0, false);
    for member in json::members(object) {
        let Some(key) = member.key() else { continue };
        if let Some(rest) = below(path, &key) {
            ways += 1;
            holds |= one_member(view, member.value, &[(*test, rest)]);
        }
    }
    if ways == 0 { absent(view, test) } else { holds }
}

/// The first name of a path.
fn first(path: &str) -> &str {
    path.split('.').next().unwrap_or(path)
}

fn rest<'p>(path: &'p str, name: &str) -> &'p str {
    path.get(name.len()..).map_or("", |it| it.strip_prefix('.').unwrap_or(it))
}

/// Lines that end at this value look at it; the others go on.
fn one_member(view: &View<'_>, value: &str, lines: &[Line<'_>]) -> bool {
    let (ends, others): (Vec<_>, Vec<_>) = lines.iter().partition(|(_, rest)| rest.is_empty());
    ends.iter()
        .all(|(test, _)| decided(view, test, &mut |take| walk(value, "", NESTED_ARRAYS_MAX, take)))
        && (others.is_empty() || hold_in(view, value, &others, NESTED_ARRAYS_MAX))
}

fn absent(view: &View<'_>, test: &FieldTest) -> bool {
    decided(view, test, &mut |_| false)
}

/// Whether a line holds by itself.
pub(super) fn passes(view: &View<'_>, test: &FieldTest) -> bool {
    decided(view, test, &mut |take| visit(view, &test.field, take))
}

/// Something that calls a function with values until it has enough.
type Values<'v> = &'v mut dyn FnMut(&mut dyn FnMut(Found<'_>) -> bool) -> bool;

fn decided(view: &View<'_>, test: &FieldTest, values: Values<'_>) -> bool {
    let positive = match test.exists {
        Some(wanted) => values(&mut |_| true) == wanted,
        None => {
            let fits_one = |pattern: &Pattern, value: &Found<'_>| match (pattern, value) {
                (Pattern::Null, _) => false,
                (Pattern::Present, _) => true,
                (pattern, Found::Text(text)) => fits(view, pattern, text),
                (_, Found::Other) => false,
            };
            let mut is_there = false;
            // One of the patterns: the values are gone through once.
            let mut any_of = |patterns: &[Pattern]| {
                let found = values(&mut |it| {
                    is_there = true;
                    patterns.iter().any(|pattern| fits_one(pattern, &it))
                });
                found || !is_there && patterns.iter().any(|it| matches!(it, Pattern::Null))
            };
            match test.all {
                true => test.patterns.iter().all(|it| any_of(std::slice::from_ref(it))),
                false => any_of(&test.patterns),
            }
        }
    };
    positive != test.negated
}

/// Whether a value fits a pattern.
pub(super) fn fits(view: &View<'_>, pattern: &Pattern, value: &str) -> bool {
    match pattern {
        Pattern::SameAs { field, place, cased } => visit(view, field, &mut |it| match it {
            Found::Text(other) => place.fits(value, other, *cased),
            Found::Other => false,
        }),
        pattern => pattern.matches(value),
    }
}
