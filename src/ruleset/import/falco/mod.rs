//! Rules files of Falco (`source: k8s_audit`): lists, macros and rules, with what later items append to or override of
//! earlier ones, turned into Sigma rules with our fields.

mod condition;
mod detection;
mod fields;
mod formula;

use std::{collections::HashMap, path::PathBuf};

use sha2::{Digest, Sha256};
use yaml_serde::{Mapping, Value};

use self::{
    condition::{Check, Expr, Word},
    formula::{Formula, Names},
};
use super::{Draft, Found, Left};
use crate::rules;

/// Whether a text is a rules file of Falco: a list of such items.
pub(super) fn is_one(text: &str) -> bool {
    let keys = ["rule", "macro", "list", "required_engine_version", "required_plugin_versions"];
    yaml_serde::from_str::<Vec<Mapping>>(text)
        .is_ok_and(|items| items.iter().any(|it| keys.iter().any(|key| it.contains_key(*key))))
}

/// What rules are for that do not say it.
const SYSCALL: &str = "syscall";

/// A rule, with all that was appended.
#[derive(Clone, Debug, Default)]
struct Rule {
    name: String,
    line: usize,
    condition: String,
    output: String,
    desc: String,
    priority: String,
    source: String,
    tags: Vec<String>,
    is_disabled: bool,
    exceptions: Vec<Exception>,
    /// What is wrong with it.
    error: Option<String>,
}

#[derive(Clone, Debug, Default)]
struct Exception {
    name: String,
    fields: Vec<String>,
    comps: Vec<String>,
    /// One tuple each.
    values: Vec<Vec<Vec<Word>>>,
}

/// The items of a file.
#[derive(Default)]
struct Items {
    macros: HashMap<String, String>,
    lists: HashMap<String, Vec<Word>>,
    rules: Vec<Rule>,
}

/// Takes the rules of a file.
pub(super) fn take(file: &str, text: &str, found: &mut Found) {
    let left = |line: usize, title: &str, why: String| Left {
        from: file.to_owned(),
        line,
        title: title.to_owned(),
        why,
    };
    let list: Vec<Mapping> = match yaml_serde::from_str(text) {
        Ok(list) => list,
        Err(error) => {
            let line = error.location().map_or(1, |it| it.line());
            return found.left.push(left(line, "?", error.to_string()));
        }
    };
    let mut items = Items::default();
    for item in &list {
        if let Err((title, why)) = items.add(item, text) {
            let is_it = |line: &str| line.trim_start_matches(['-', ' ']).starts_with(&title);
            let line = text.lines().position(is_it).map_or(1, |it| it + 1);
            found.left.push(left(line, &title, why));
        }
    }
    let macros: HashMap<String, Result<Expr, String>> =
        items.macros.iter().map(|(name, text)| (name.clone(), condition::parse(text))).collect();
    let names = Names { macros: &macros, lists: &items.lists };
    for rule in &items.rules {
        // What changes a rule of another file need not say for which logs that is.
        let is_unsaid = rule.error.is_some() && rule.source == SYSCALL;
        if rule.source != "k8s_audit" && !is_unsaid {
            found.others += 1;
            continue;
        }
        match draft(file, rule, &names) {
            Ok(draft) if found.drafts.iter().any(|it| it.file == draft.file) => {
                let why = format!("another rule has the file {}", draft.file.display());
                found.left.push(left(rule.line, &rule.name, why));
            }
            Ok(draft) => found.drafts.push(draft),
            Err(why) => found.left.push(left(rule.line, &rule.name, why)),
        }
    }
}

/// The line that names a rule.
fn line_of(text: &str, name: &str) -> usize {
    let is_it = |line: &str| {
        let rest = line.trim_start_matches(['-', ' ']).strip_prefix("rule:");
        rest.is_some_and(|it| it.trim().trim_matches(['"', '\'']) == name)
    };
    text.lines().position(is_it).map_or(1, |it| it + 1)
}

/// A scalar as text.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// The words of a list, or of one value. Where the YAML had quotes cannot be seen, and does not matter there.
fn words(value: &Value) -> Vec<Word> {
    let word = |it: &Value| Some(Word { text: text_of(it)?, is_quoted: false });
    match value {
        Value::Sequence(list) => list.iter().filter_map(word).collect(),
        // `(a, b)` in one text.
        one => word(one).into_iter().flat_map(|it| in_parentheses(&it)).collect(),
    }
}

fn in_parentheses(word: &Word) -> Vec<Word> {
    let inner = word.text.strip_prefix('(').and_then(|it| it.strip_suffix(')'));
    let one =
        |it: &str| Word { text: it.trim().trim_matches(['"', '\'']).to_owned(), is_quoted: false };
    match inner {
        Some(inner) => inner.split(',').map(one).collect(),
        None => vec![word.clone()],
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    value.map(words).unwrap_or_default().into_iter().map(|it| it.text).collect()
}

impl Items {
    fn add(&mut self, item: &Mapping, text: &str) -> Result<(), (String, String)> {
        let get = |key: &str| item.get(key).and_then(text_of);
        let is_appended = |key: &str| {
            let how = item.get("override").and_then(|it| it.get(key)).and_then(text_of);
            match how.as_deref() {
                Some("append") => true,
                Some(_) => false,
                // The older way knows these only.
                None => {
                    matches!(key, "condition" | "items" | "exceptions")
                        && item.get("append").and_then(Value::as_bool).unwrap_or(false)
                }
            }
        };
        if let Some(name) = get("list") {
            let new = item.get("items").map(words).unwrap_or_default();
            let list = self.lists.entry(name).or_default();
            if !is_appended("items") {
                list.clear();
            }
            list.extend(new);
        } else if let Some(name) = get("macro") {
            let new = get("condition").unwrap_or_default();
            let condition = self.macros.entry(name).or_default();
            match is_appended("condition") {
                true => *condition = format!("{condition} {new}"),
                false => *condition = new,
            }
        } else if let Some(name) = get("rule") {
            self.rule(name, item, text, &is_appended);
        } else if let Some((key, _)) = item.iter().find(|it| !is_requirement(it.0)) {
            let name = text_of(key).unwrap_or_default();
            return Err((name, "it is no list, macro or rule".into()));
        }
        Ok(())
    }

    fn rule(
        &mut self,
        name: String,
        item: &Mapping,
        text: &str,
        is_appended: &dyn Fn(&str) -> bool,
    ) {
        let place = self.rules.iter().position(|it| it.name == name);
        let is_change = item.contains_key("append")
            || item.contains_key("override")
            || !item.contains_key("condition");
        let new =
            Rule { line: line_of(text, &name), name, source: SYSCALL.into(), ..Rule::default() };
        let rule = match place.and_then(|it| self.rules.get_mut(it)) {
            Some(old) => {
                if !is_change {
                    *old = new;
                }
                old
            }
            None => {
                self.rules.push(new);
                match self.rules.last_mut() {
                    Some(rule) => rule,
                    None => return,
                }
            }
        };
        if place.is_none() && is_change {
            rule.error = Some("it changes a rule that is not in this file".into());
        }
        let get = |key: &str| item.get(key).and_then(text_of);
        for (key, old) in [
            ("condition", &mut rule.condition),
            ("output", &mut rule.output),
            ("desc", &mut rule.desc),
            ("priority", &mut rule.priority),
            ("source", &mut rule.source),
        ] {
            match get(key) {
                Some(new) if is_appended(key) && !old.is_empty() => *old = format!("{old} {new}"),
                Some(new) => *old = new,
                None => (),
            }
        }
        if item.contains_key("tags") {
            if !is_appended("tags") {
                rule.tags.clear();
            }
            rule.tags.extend(texts(item.get("tags")));
        }
        if let Some(enabled) = item.get("enabled").and_then(Value::as_bool) {
            rule.is_disabled = !enabled;
        }
        if let Some(Value::Sequence(list)) = item.get("exceptions") {
            if !is_appended("exceptions") {
                rule.exceptions.clear();
            }
            list.iter().filter_map(Value::as_mapping).for_each(|it| rule.except(it));
        }
    }
}

fn is_requirement(key: &Value) -> bool {
    text_of(key).is_some_and(|it| it.starts_with("required_"))
}

impl Rule {
    /// Adds an exception, or values to one that is there.
    fn except(&mut self, item: &Mapping) {
        let name = item.get("name").and_then(text_of).unwrap_or_default();
        let place = self.exceptions.iter().position(|it| it.name == name).unwrap_or_else(|| {
            self.exceptions.push(Exception { name, ..Exception::default() });
            self.exceptions.len() - 1
        });
        let Some(exception) = self.exceptions.get_mut(place) else { return };
        let is_one = matches!(item.get("fields"), Some(Value::String(_)))
            || item.get("fields").is_none() && exception.fields.len() == 1;
        if item.contains_key("fields") {
            exception.fields = texts(item.get("fields"));
        }
        if item.contains_key("comps") {
            exception.comps = texts(item.get("comps"));
        }
        let Some(Value::Sequence(values)) = item.get("values") else { return };
        match is_one {
            // Of one field the values are the list that it is to be in.
            true => exception.values.push(vec![values.iter().flat_map(words).collect()]),
            false => {
                let tuple = |it: &Value| match it {
                    Value::Sequence(all) => all.iter().map(words).collect(),
                    one => vec![words(one)],
                };
                exception.values.extend(values.iter().map(tuple));
            }
        }
    }
}

impl Exception {
    /// Its condition: one of its tuples fits.
    fn expr(&self) -> Result<Option<Expr>, String> {
        let is_one = self.fields.len() == 1;
        let comp = |place: usize| match self.comps.get(place) {
            Some(comp) => comp.clone(),
            None if is_one => "in".to_owned(),
            None => "=".to_owned(),
        };
        let mut any = Vec::new();
        for tuple in &self.values {
            if tuple.len() != self.fields.len() {
                return Err(format!(
                    "exception `{}`: {} values for {} fields",
                    self.name,
                    tuple.len(),
                    self.fields.len()
                ));
            }
            let mut all = Vec::new();
            for (place, (field, values)) in self.fields.iter().zip(tuple).enumerate() {
                // The condition's own reader knows fields with arguments.
                let Expr::Check(field) = condition::parse(&format!("{field} exists"))? else {
                    return Err(format!("exception `{}`: `{field}` is no field", self.name));
                };
                all.push(Expr::Check(Check {
                    operator: comp(place),
                    values: values.clone(),
                    ..field
                }));
            }
            any.push(Expr::All(all));
        }
        Ok((!any.is_empty()).then_some(Expr::Any(any)))
    }
}

fn draft(file: &str, rule: &Rule, names: &Names<'_>) -> Result<Draft, String> {
    if let Some(error) = &rule.error {
        return Err(error.clone());
    }
    if rule.is_disabled {
        return Err("it is not enabled".into());
    }
    let mut parts = vec![condition::parse(&rule.condition)?];
    for exception in &rule.exceptions {
        parts.extend(exception.expr()?.map(|it| Expr::Not(Box::new(it))));
    }
    let formula = formula::formula(&Expr::All(parts), names)?;
    match formula {
        Formula::Const(true) => return Err("it is hit by every event".into()),
        Formula::Const(false) => {
            return Err("it is never hit, unless another file overrides its macros or lists".into());
        }
        _ => (),
    }
    let (reason, notes) = reason(&rule.output);
    let mut yaml = Mapping::new();
    let mut put = |key: &str, value: Value| {
        yaml.insert(key.into(), value);
    };
    let text = |it: &str| Value::String(it.split_whitespace().collect::<Vec<_>>().join(" "));
    put("title", text(&rule.name));
    put("id", Value::String(id(&rule.name)));
    put("status", "experimental".into());
    put("description", text(&rule.desc));
    let tags = tags(&rule.tags);
    if !tags.is_empty() {
        put("tags", tags.into_iter().map(Value::String).collect());
    }
    let source = [("product", "kubernetes"), ("service", "audit")];
    let source: Mapping = source.into_iter().map(|(key, it)| (key.into(), it.into())).collect();
    put("logsource", Value::Mapping(source));
    put("detection", Value::Mapping(detection::detection(&formula)));
    put("level", level(&rule.priority)?.into());
    if !reason.is_empty() {
        let own: Mapping = [("reason".into(), Value::String(reason))].into_iter().collect();
        put("k8scop", Value::Mapping(own));
    }
    let body = yaml_serde::to_string(&yaml).map_err(|error| error.to_string())?;
    let head = format!(
        "# From {file}, by k8scop rules import: Falco's rule of this name. Its licence is that of its source.\n"
    );
    let file_name = format!("{}.yml", slug(&rule.name));
    rules::parse(&file_name, &body).map_err(|it| it.reason)?;
    Ok(Draft {
        from: file.to_owned(),
        title: rule.name.clone(),
        file: PathBuf::from(file_name),
        text: head + &body,
        notes,
    })
}

/// Longest name of a file that is made of a rule's (bytes).
const SLUG_BYTES_MAX: usize = 80;

fn slug(name: &str) -> String {
    let fits = |it: char| if it.is_ascii_alphanumeric() { it.to_ascii_lowercase() } else { ' ' };
    let plain: String = name.chars().map(fits).take(SLUG_BYTES_MAX).collect();
    let slug = plain.split_whitespace().collect::<Vec<_>>().join("_");
    if slug.is_empty() { id(name) } else { slug }
}

/// An id that stays: Falco's rules have names only.
fn id(name: &str) -> String {
    let hash = Sha256::digest(format!("falco k8s_audit {name}"));
    let mut hex: String = hash.iter().take(16).map(|it| format!("{it:02x}")).collect();
    // Version 8 of RFC 9562: made in a way of one's own.
    hex.replace_range(12..13, "8");
    hex.replace_range(16..17, "8");
    for at in [8, 13, 18, 23] {
        hex.insert(at, '-');
    }
    hex
}

fn level(priority: &str) -> Result<&'static str, String> {
    Ok(match priority.trim().to_ascii_uppercase().as_str() {
        "EMERGENCY" | "ALERT" | "CRITICAL" => "critical",
        "ERROR" => "high",
        "WARNING" => "medium",
        "NOTICE" => "low",
        "INFO" | "INFORMATIONAL" | "DEBUG" => "informational",
        other => return Err(format!("there is no priority `{other}`")),
    })
}

/// `mitre_execution` is `attack.execution`, `T1609` is `attack.t1609`; others keep their name.
fn tags(tags: &[String]) -> Vec<String> {
    let tag = |it: &String| {
        let it = it.to_ascii_lowercase();
        if let Some(tactic) = it.strip_prefix("mitre_") {
            return format!("attack.{}", tactic.replace('_', "-"));
        }
        let is_technique = it.strip_prefix('t').is_some_and(|it| {
            it.starts_with(|it: char| it.is_ascii_digit())
                && it.bytes().all(|it| it.is_ascii_digit() || it == b'.')
        });
        if is_technique { format!("attack.{it}") } else { format!("falco.{it}") }
    };
    tags.iter().map(tag).collect()
}

/// Falco's output as a sentence, and what is lost of it.
fn reason(output: &str) -> (String, Vec<String>) {
    let (mut out, mut notes) = (String::new(), Vec::new());
    let output = output.split_whitespace().collect::<Vec<_>>().join(" ").replace(['{', '}'], "'");
    let mut rest = output.as_str();
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before.strip_suffix('*').unwrap_or(before));
        let is_name = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '.');
        let end = after.find(|it| !is_name(it)).unwrap_or(after.len());
        let (name, mut behind) = after.split_at_checked(end).unwrap_or((after, ""));
        let mut argument = None;
        if let Some((inner, left)) = behind.strip_prefix('[').and_then(|it| it.split_once(']')) {
            (argument, behind) = (Some(inner), left);
        }
        // A dot behind a field ends the sentence.
        let bare = name.trim_end_matches('.');
        match fields::ours(bare, argument) {
            Ok(ours) if ours.of != fields::Of::Holds && ours.of != fields::Of::Member => {
                out.push_str(&format!("{{{}}}", ours.name));
            }
            _ if bare.is_empty() => out.push('%'),
            _ => {
                out.push('-');
                notes.push(format!("the sentence is without %{bare}"));
            }
        }
        out.push_str(name.get(bare.len()..).unwrap_or_default());
        rest = behind;
    }
    out.push_str(rest);
    (out, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let (text, notes) = reason(
            "Pod *%ka.target.name of %ka.user.name. cmd=%ka.uri.param[command] x=%ka.req.configmap.obj 5%",
        );
        assert_eq!(
            text,
            "Pod {objectRef.name} of {user.username}. cmd={k8scop.query.command} x=- 5%"
        );
        assert_eq!(notes, ["the sentence is without %ka.req.configmap.obj"]);
    }

    #[test]
    fn ids_are_uuids_that_stay() {
        let id = id("Attach/Exec Pod");
        assert_eq!((id.len(), id.as_bytes()[14], id.as_bytes()[19]), (36, b'8', b'8'));
        assert_eq!(slug("Attach/Exec Pod"), "attach_exec_pod");
    }
}
