//! What a condition of Falco's comes to in lines of selections.
//!
//! Falco asks fields with several values in two ways: `intersects` wants one of them, `in` wants all. A selection asks for
//! one. So "all images are in the list" becomes "not: there is a container whose image is not in it".
//! A field that is absent makes every comparison false there, `!=` too.

use std::collections::HashMap;

use super::{
    condition::{Check, Expr, Word},
    fields::{self, Of, Ours, Shape},
};

/// Most parts of a condition and values, with what its macros and lists stand for.
const PARTS_MAX: usize = 20_000;
/// Deepest nesting of macros and lists.
const DEPTH_MAX: usize = 32;

/// A condition, in lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Formula {
    Const(bool),
    /// A selection: all lines hold.
    Lines(Vec<Line>),
    All(Vec<Formula>),
    Any(Vec<Formula>),
    Not(Box<Formula>),
    /// A macro.
    Named(String, Box<Formula>),
}

/// A line of a selection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The field with its modifiers.
    pub(super) key: String,
    pub(super) value: Value,
    /// Whether it means the same in one selection with others.
    pub(super) is_single: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Texts(Vec<String>),
    Truth(bool),
}

/// What conditions name.
pub(super) struct Names<'a> {
    pub(super) macros: &'a HashMap<String, Result<Expr, String>>,
    pub(super) lists: &'a HashMap<String, Vec<Word>>,
}

/// Turns a condition into lines.
pub(super) fn formula(expr: &Expr, names: &Names<'_>) -> Result<Formula, String> {
    let mut maker = Maker { names, parts: 0 };
    maker.of(expr, false, 0).map(simple)
}

struct Maker<'a> {
    names: &'a Names<'a>,
    parts: usize,
}

impl Maker<'_> {
    fn count(&mut self, parts: usize) -> Result<(), String> {
        self.parts += parts;
        match self.parts > PARTS_MAX {
            true => Err(format!("the condition has more than {PARTS_MAX} parts and values")),
            false => Ok(()),
        }
    }

    /// `denied`: what holds here keeps the rule from being hit.
    fn of(&mut self, expr: &Expr, denied: bool, depth: usize) -> Result<Formula, String> {
        self.count(1)?;
        let mut many = |parts: &[Expr]| -> Result<Vec<_>, String> {
            parts.iter().map(|it| self.of(it, denied, depth)).collect()
        };
        match expr {
            Expr::All(parts) => many(parts).map(Formula::All),
            Expr::Any(parts) => many(parts).map(Formula::Any),
            Expr::Not(part) => Ok(Formula::Not(Box::new(self.of(part, !denied, depth)?))),
            Expr::Check(check) => self.check(check, denied),
            Expr::Macro(_) if depth >= DEPTH_MAX => {
                Err(format!("macros are nested deeper than {DEPTH_MAX} levels"))
            }
            Expr::Macro(name) => {
                let names = self.names;
                let inner = match names.macros.get(name) {
                    Some(Ok(expr)) => self.of(expr, denied, depth + 1)?,
                    Some(Err(error)) => return Err(format!("macro `{name}`: {error}")),
                    None => return Err(format!("there is no macro `{name}`")),
                };
                Ok(Formula::Named(name.clone(), Box::new(inner)))
            }
        }
    }

    fn check(&mut self, check: &Check, denied: bool) -> Result<Formula, String> {
        if check.field == "jevt.rawtime" {
            // It is always there, and never 0.
            return Ok(Formula::Const(check.operator == "exists"));
        }
        let ours = fields::ours(&check.field, check.argument.as_deref())?;
        let mut values = Vec::new();
        self.values(&check.values, 0, &mut values)?;
        check_formula(check, &ours, &values, denied)
    }

    /// The values, with lists in place of their names.
    fn values(
        &mut self,
        words: &[Word],
        depth: usize,
        out: &mut Vec<String>,
    ) -> Result<(), String> {
        self.count(words.len())?;
        let names = self.names;
        for word in words {
            match names.lists.get(&word.text).filter(|_| !word.is_quoted) {
                Some(_) if depth >= DEPTH_MAX => {
                    return Err(format!("lists are nested deeper than {DEPTH_MAX} levels"));
                }
                Some(list) => self.values(list, depth + 1, out)?,
                None => out.push(word.text.clone()),
            }
        }
        Ok(())
    }
}

fn check_formula(
    check: &Check,
    ours: &Ours,
    values: &[String],
    denied: bool,
) -> Result<Formula, String> {
    let operator = check.operator.as_str();
    let exists = || lines(ours, "|exists", Value::Truth(true));
    match ours.of {
        Of::Holds => return holds(check, ours, values),
        Of::Member => return member(check, ours, values),
        Of::Value | Of::Repository => (),
    }
    let is_folded = check.folded || matches!(operator, "icontains" | "iglob");
    // Sigma's texts have no case. What keeps a rule from being hit must not fit more than it did.
    let is_cased = |denied: bool| {
        denied
            && !is_folded
            && values.iter().any(|it| it.bytes().any(|it| it.is_ascii_alphabetic()))
    };
    let text = |modifier: &str, values: Vec<String>, denied: bool| {
        let case = if is_cased(denied) { "|cased" } else { "" };
        lines(ours, &format!("{modifier}{case}"), Value::Texts(values))
    };
    let whole = || whole(ours, values);
    match operator {
        "exists" => Ok(exists()),
        "in" | "intersects" | "pmatch" if values.is_empty() => Ok(Formula::Const(false)),
        "=" | "==" | "intersects" => Ok(text("", whole(), denied)),
        "in" if ours.shape == Shape::One => Ok(text("", whole(), denied)),
        "in" if ours.shape == Shape::Texts => Err(format!(
            "`{} in (…)` wants all values in the list, which a selection cannot say of texts (`intersects` wants one)",
            check.field
        )),
        "in" => {
            let last = ours.name.rsplit('.').next().unwrap_or_default();
            let named = |word: &str, it| Formula::Named(format!("{word}_{last}"), Box::new(it));
            let other = named("other", and(exists(), text("|neq", whole(), !denied)));
            Ok(Formula::All(vec![named("has", exists()), Formula::Not(Box::new(other))]))
        }
        "!=" => Ok(and(exists(), text("|neq", whole(), !denied))),
        "contains" | "icontains" => Ok(text("|contains", escaped(values), denied)),
        "startswith" => Ok(text("|startswith", escaped(values), denied)),
        "endswith" if ours.of == Of::Repository => {
            let ends = whole().into_iter().map(|it| format!("*{it}")).collect();
            Ok(text("", ends, denied))
        }
        "endswith" => Ok(text("|endswith", escaped(values), denied)),
        "glob" | "iglob" if values.iter().any(|it| it.contains(['[', '{', '\\'])) => {
            Err(format!("`{operator}` with brackets is not known here: write a regex"))
        }
        "glob" | "iglob" => Ok(text("", values.to_vec(), denied)),
        "pmatch" => {
            let paths = values.iter().map(|it| it.trim_end_matches('/'));
            let paths = paths.flat_map(|it| [escape(it), format!("{}/*", escape(it))]);
            Ok(text("", paths.filter(|it| !it.is_empty()).collect(), denied))
        }
        "regex" if ours.of == Of::Value => {
            let regex = |it: &String| format!("^(?:{it})$");
            Ok(lines(ours, "|re", Value::Texts(values.iter().map(regex).collect())))
        }
        "<" | "<=" | ">" | ">=" if ours.of == Of::Value => {
            let name = match operator {
                "<" => "|lt",
                "<=" => "|lte",
                ">" => "|gt",
                _ => "|gte",
            };
            Ok(lines(ours, name, Value::Texts(values.to_vec())))
        }
        other => Err(format!("`{} {other}` is not known here", check.field)),
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out
}

fn escaped(values: &[String]) -> Vec<String> {
    values.iter().map(|it| escape(it)).collect()
}

/// Patterns for whole values; of a repository also with a tag and with a digest behind it.
fn whole(ours: &Ours, values: &[String]) -> Vec<String> {
    let of = |it: &String| match ours.of {
        Of::Repository => {
            let it = escape(it);
            vec![it.clone(), format!("{it}:*"), format!("{it}@*")]
        }
        _ => vec![escape(it)],
    };
    values.iter().flat_map(of).collect()
}

fn lines(ours: &Ours, modifiers: &str, value: Value) -> Formula {
    // A patch is several objects: what two lines ask need not be in the same one.
    let objects = ["k8scop.pod.", "requestObject.", "responseObject."];
    let is_of_object = objects.iter().any(|it| ours.name.starts_with(it));
    let is_single = ours.shape == Shape::One && !is_of_object;
    let mut all = vec![Line { key: format!("{}{modifiers}", ours.name), value, is_single }];
    if let Some((field, text)) = ours.beside {
        let value = Value::Texts(vec![text.to_owned()]);
        all.insert(0, Line { key: field.to_owned(), value, is_single });
    }
    Formula::Lines(all)
}

/// Both, of the same element.
fn and(one: Formula, other: Formula) -> Formula {
    match (one, other) {
        (Formula::Lines(mut lines), Formula::Lines(more)) => {
            for line in more {
                if !lines.contains(&line) {
                    lines.push(line);
                }
            }
            Formula::Lines(lines)
        }
        (one, other) => Formula::All(vec![one, other]),
    }
}

/// `ka.req.volume.hostpath[/etc*]=true`
fn holds(check: &Check, ours: &Ours, values: &[String]) -> Result<Formula, String> {
    let path = check.argument.as_deref().unwrap_or_default();
    let found = match path.strip_suffix('*') {
        Some(start) => lines(ours, "|startswith", Value::Texts(vec![escape(start)])),
        None => lines(ours, "", Value::Texts(vec![escape(path)])),
    };
    match (check.operator.as_str(), values) {
        ("=" | "==" | "in" | "intersects", [value]) if value == "true" => Ok(found),
        ("=" | "==" | "in" | "intersects", [value]) if value == "false" => {
            Ok(Formula::Not(Box::new(found)))
        }
        _ => Err(format!("`{}[…]` can only be asked for true or false", check.field)),
    }
}

/// `ka.req.pod.volumes.volume_type intersects (hostPath)`
fn member(check: &Check, ours: &Ours, values: &[String]) -> Result<Formula, String> {
    if !matches!(check.operator.as_str(), "=" | "==" | "intersects") {
        return Err(format!("`{}` can only be asked with intersects", check.field));
    }
    let member = |name: &String| {
        let key = format!("{}.{name}|exists", ours.name);
        Formula::Lines(vec![Line { key, value: Value::Truth(true), is_single: false }])
    };
    Ok(Formula::Any(values.iter().map(member).collect()))
}

/// Without constants and without parentheses that say nothing; lines that can stand in one selection stand in one.
fn simple(formula: Formula) -> Formula {
    match formula {
        Formula::All(parts) => all(parts.into_iter().map(simple).collect()),
        Formula::Any(parts) => any(parts.into_iter().map(simple).collect()),
        Formula::Not(part) => not(simple(*part)),
        Formula::Named(name, inner) => match simple(*inner) {
            it @ (Formula::Const(_) | Formula::Named(..)) => it,
            inner => Formula::Named(name, Box::new(inner)),
        },
        other => other,
    }
}

fn is_single(formula: &Formula) -> bool {
    matches!(unnamed(formula), Formula::Lines(lines) if lines.iter().all(|it| it.is_single))
}

fn unnamed(formula: &Formula) -> &Formula {
    match formula {
        Formula::Named(_, inner) => unnamed(inner),
        other => other,
    }
}

fn bare(formula: Formula) -> Formula {
    match formula {
        Formula::Named(_, inner) => bare(*inner),
        other => other,
    }
}

fn all(parts: Vec<Formula>) -> Formula {
    let (mut single, mut others) = (Vec::<Line>::new(), Vec::new());
    let mut queue: Vec<Formula> = parts.into_iter().rev().collect();
    while let Some(part) = queue.pop() {
        match part {
            Formula::Const(true) => (),
            Formula::Const(false) => return Formula::Const(false),
            Formula::All(inner) => queue.extend(inner.into_iter().rev()),
            // A macro that is nothing but parts of this is not kept together.
            Formula::Named(_, inner) if matches!(*inner, Formula::All(_)) => queue.push(*inner),
            it if is_single(&it) => {
                let Formula::Lines(lines) = bare(it.clone()) else { continue };
                let is_new = |line: &Line| !single.iter().any(|it| it.key == line.key);
                match lines.iter().all(|it| is_new(it) || single.contains(it)) {
                    true => {
                        let new: Vec<Line> = lines.into_iter().filter(is_new).collect();
                        single.extend(new);
                    }
                    false => others.push(it),
                }
            }
            it if others.contains(&it) => (),
            it => others.push(it),
        }
    }
    if !single.is_empty() {
        others.insert(0, Formula::Lines(single));
    }
    match (others.len(), others.pop()) {
        (_, None) => Formula::Const(true),
        (1, Some(only)) => only,
        (_, Some(last)) => {
            others.push(last);
            Formula::All(others)
        }
    }
}

fn any(parts: Vec<Formula>) -> Formula {
    let mut kept: Vec<Formula> = Vec::new();
    let mut queue: Vec<Formula> = parts.into_iter().rev().collect();
    while let Some(part) = queue.pop() {
        match part {
            Formula::Const(false) => (),
            Formula::Const(true) => return Formula::Const(true),
            Formula::Any(inner) => queue.extend(inner.into_iter().rev()),
            it if kept.contains(&it) => (),
            it => {
                // `verb is get` or `verb is list` is `verb is get or list`.
                let same = kept.iter_mut().find_map(|old| match (old, unnamed(&it)) {
                    (Formula::Lines(old), Formula::Lines(new)) => merged(old, new),
                    _ => None,
                });
                if same.is_none() {
                    kept.push(if is_single(&it) { bare(it) } else { it });
                }
            }
        }
    }
    match (kept.len(), kept.pop()) {
        (_, None) => Formula::Const(false),
        (1, Some(only)) => only,
        (_, Some(last)) => {
            kept.push(last);
            Formula::Any(kept)
        }
    }
}

/// Puts the values of one line to those of another of the same field.
fn merged(old: &mut [Line], new: &[Line]) -> Option<()> {
    let ([old], [new]) = (old, new) else { return None };
    let (Value::Texts(values), Value::Texts(more)) = (&mut old.value, &new.value) else {
        return None;
    };
    if old.key != new.key || old.key.contains("|neq") {
        return None;
    }
    for value in more {
        if !values.contains(value) {
            values.push(value.clone());
        }
    }
    Some(())
}

fn not(part: Formula) -> Formula {
    match part {
        Formula::Const(it) => Formula::Const(!it),
        Formula::Not(inner) => *inner,
        part => match unnamed(&part) {
            // One line of a field with one value says it itself.
            Formula::Lines(lines) if is_single(&part) => match lines.as_slice() {
                [line] => Formula::Lines(vec![opposite(line)]),
                _ => Formula::Not(Box::new(part)),
            },
            _ => Formula::Not(Box::new(part)),
        },
    }
}

fn opposite(line: &Line) -> Line {
    let (field, modifiers) = line.key.split_once('|').unwrap_or((&line.key, ""));
    let (key, value) = match &line.value {
        Value::Truth(truth) => (line.key.clone(), Value::Truth(!truth)),
        texts if modifiers.is_empty() => (format!("{field}|neq"), texts.clone()),
        texts => match modifiers.strip_prefix("neq") {
            Some(rest) => (format!("{field}{rest}"), texts.clone()),
            None => (format!("{field}|{modifiers}|neq"), texts.clone()),
        },
    };
    Line { key, value, is_single: true }
}
