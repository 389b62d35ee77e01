//! Selections and a condition of Sigma's, of lines.

use yaml_serde::{Mapping, Value as Yaml};

use super::formula::{Formula, Line, Value};

/// Writes `detection` for a formula that is no constant.
pub(super) fn detection(formula: &Formula) -> Mapping {
    let mut writer = Writer { selections: Vec::new() };
    let condition = writer.of(formula, None, false);
    let mut out = Mapping::new();
    for (name, selection) in writer.selections {
        out.insert(Yaml::String(name), selection);
    }
    out.insert("condition".into(), Yaml::String(condition));
    out
}

struct Writer {
    selections: Vec<(String, Yaml)>,
}

impl Writer {
    /// The condition. `inner`: it is part of another, and needs parentheses.
    fn of(&mut self, formula: &Formula, name: Option<&str>, inner: bool) -> String {
        let (parts, joint) = match formula {
            // Constants are gone; one that is left is a condition that cannot be read.
            Formula::Const(it) => return it.to_string(),
            Formula::Lines(lines) => return self.selection(name, lines, map(lines)),
            Formula::Named(name, part) => return self.of(part, Some(name), inner),
            Formula::Not(part) => return format!("not {}", self.of(part, name, true)),
            Formula::Any(parts) => match maps(parts) {
                Some((first, list)) => return self.selection(name, first, list),
                None => (parts, " or "),
            },
            Formula::All(parts) => (parts, " and "),
        };
        let parts: Vec<_> = parts.iter().map(|it| self.of(it, None, true)).collect();
        let text = parts.join(joint);
        if inner { format!("({text})") } else { text }
    }

    /// The name of a selection: an old one, if it is the same.
    fn selection(&mut self, name: Option<&str>, lines: &[Line], selection: Yaml) -> String {
        if let Some((name, _)) = self.selections.iter().find(|it| it.1 == selection) {
            return name.clone();
        }
        let wanted = match name {
            Some(name) => name.to_owned(),
            None if self.selections.is_empty() => "selection".to_owned(),
            None => of_field(lines),
        };
        let wanted = named(&wanted);
        let mut name = wanted.clone();
        let mut number = 2;
        while self.selections.iter().any(|it| it.0 == name) {
            name = format!("{wanted}_{number}");
            number += 1;
        }
        self.selections.push((name.clone(), selection));
        name
    }
}

/// The last word of the field that a selection is about.
fn of_field(lines: &[Line]) -> String {
    let key = lines.last().map_or("", |it| it.key.as_str());
    let field = key.split('|').next().unwrap_or_default();
    field.rsplit('.').next().unwrap_or_default().to_owned()
}

/// A name that a condition can hold.
fn named(text: &str) -> String {
    let fits = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { '_' };
    let name: String = text.chars().map(fits).collect();
    let words = ["and", "or", "not", "of", "them", "all", "any", "condition", "timeframe"];
    let is_good = name.starts_with(|it: char| it.is_ascii_alphabetic());
    if is_good && !words.contains(&name.as_str()) { name } else { format!("s_{name}") }
}

fn map(lines: &[Line]) -> Yaml {
    let mut out = Mapping::new();
    for line in lines {
        let value = match &line.value {
            Value::Truth(it) => Yaml::Bool(*it),
            Value::Texts(texts) => match texts.as_slice() {
                [one] => Yaml::String(one.clone()),
                many => many.iter().cloned().map(Yaml::String).collect(),
            },
        };
        out.insert(Yaml::String(line.key.clone()), value);
    }
    Yaml::Mapping(out)
}

/// Alternatives that are lines, in one selection.
fn maps(parts: &[Formula]) -> Option<(&[Line], Yaml)> {
    let lines = |it: &Formula| match it {
        Formula::Lines(lines) => Some(map(lines)),
        _ => None,
    };
    let all: Option<Vec<Yaml>> = parts.iter().map(lines).collect();
    match parts.first() {
        Some(Formula::Lines(first)) => Some((first, Yaml::Sequence(all?))),
        _ => None,
    }
}
