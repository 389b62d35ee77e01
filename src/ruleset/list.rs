//! `k8scop rules list`: which rules there are.

use serde_json::json;

use super::{Report, RulesetError, Sources, attack, clean, head::Head, json_text, table};
use crate::rules::Level;

/// What `k8scop rules list` is told.
#[derive(Debug, Default)]
pub struct ListOptions {
    /// Where the rules are.
    pub sources: Sources,
    /// Only of these levels; of all if there are none.
    pub levels: Vec<Level>,
    /// Only of this tactic.
    pub tactic: Option<String>,
    /// Only with this tag; a technique's sub-techniques count as the technique.
    pub tag: Option<String>,
    /// Only where this stands in title, description, id, file or advice.
    pub text: Option<String>,
    /// JSON instead of a table.
    pub json: bool,
}

/// Lists rules by tactic, the worst first.
pub fn list(options: &ListOptions) -> Result<Report, RulesetError> {
    let rules = options.sources.good()?.heads();
    let mut shown: Vec<&Head> = rules.iter().filter(|it| is_wanted(it, options)).collect();
    let tactic = |rule: &Head| attack::tactics(&rule.tags).first().map_or(usize::MAX, |it| it.0);
    shown.sort_by_key(|it| (tactic(it), std::cmp::Reverse(it.level), it.title.clone()));
    let text = match options.json {
        true => json_text(&shown.iter().map(|it| object(it)).collect()),
        false => {
            let rows: Vec<_> = shown.iter().map(|it| row(it)).collect();
            let all = if shown.len() == rules.len() { "" } else { &format!(" of {}", rules.len()) };
            let rows = match rows.is_empty() {
                true => String::new(),
                false => table(&["TACTIC", "LEVEL", "TITLE", "TECHNIQUES", "FILE"], rows) + "\n",
            };
            clean(&format!("{rows}{}{all} rules\n", shown.len()))
        }
    };
    Ok(Report { text, notes: Vec::new(), is_good: true })
}

fn is_wanted(rule: &Head, options: &ListOptions) -> bool {
    let is_level = options.levels.is_empty() || options.levels.contains(&rule.level);
    let is_tactic = options.tactic.as_ref().is_none_or(|wanted| {
        let wanted = wanted.to_lowercase().replace([' ', '_'], "-");
        attack::tactics(&rule.tags).iter().any(|(_, it)| *it == wanted)
    });
    let is_tag = options.tag.as_ref().is_none_or(|wanted| {
        let wanted = wanted.to_lowercase();
        let fits = |it: &str| {
            let rest = it.strip_prefix(&wanted);
            rest.is_some_and(|it| it.is_empty() || it.starts_with('.'))
        };
        let tags = rule.tags.iter().map(|it| it.to_lowercase());
        tags.into_iter().any(|it| fits(&it) || it.strip_prefix("attack.").is_some_and(fits))
    });
    let is_text = options.text.as_ref().is_none_or(|wanted| {
        let wanted = wanted.to_lowercase();
        let advice = rule.advice.as_deref().unwrap_or_default();
        let places = [&rule.title, &rule.description, &rule.id, &rule.file, advice];
        places.iter().any(|it| it.to_lowercase().contains(&wanted))
    });
    is_level && is_tactic && is_tag && is_text
}

fn row(rule: &Head) -> Vec<String> {
    vec![
        attack::tactics(&rule.tags).first().map_or("-", |it| it.1).to_owned(),
        rule.level.name().to_owned(),
        rule.title.clone(),
        attack::techniques(&rule.tags).join(" "),
        rule.file.clone(),
    ]
}

fn object(rule: &Head) -> serde_json::Value {
    json!({
        "kind": rule.kind,
        "id": rule.id,
        "title": rule.title,
        "level": rule.level.name(),
        "alert": rule.level > Level::Informational,
        "tactics": attack::tactics(&rule.tags).iter().map(|it| it.1).collect::<Vec<_>>(),
        "techniques": attack::techniques(&rule.tags),
        "tags": rule.tags,
        "description": rule.description,
        "detects": rule.detects,
        "file": rule.file,
    })
}
