//! `k8scop rules diff`: what differs between two sets of rules, and which events they see differently.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Report, RulesetError, Sources, clean, json_text};
use crate::{classify::Classifier, explain, rules::Rule};

/// Most places of one rule that are told.
const PLACES_MAX: usize = 5;

/// What `k8scop rules diff` is told.
#[derive(Debug, Default)]
pub struct DiffOptions {
    /// The old rules: a file or a folder; `built-in` are those that come with the program.
    pub old: PathBuf,
    /// The new ones.
    pub new: PathBuf,
    /// Events on which both are tried.
    pub events: Option<PathBuf>,
    /// JSON instead of text.
    pub json: bool,
}

/// A rule that is in both, and what of it differs.
struct Changed<'r> {
    old: &'r Rule,
    new: &'r Rule,
    parts: Vec<&'static str>,
}

/// A rule that is hit by events that did not hit it before, or not any more by such that did.
#[derive(Default)]
struct Hits {
    title: String,
    more: usize,
    fewer: usize,
    /// The first of them: `line 3`, `line 4, part 2`.
    places: Vec<String>,
}

/// Compares two sets of rules, by their ids.
pub fn diff(options: &DiffOptions) -> Result<Report, RulesetError> {
    let rules = |path: &Path| Sources { config: None, paths: vec![path.to_owned()] }.rules();
    let (old, new) =
        (Classifier::new(rules(&options.old)?)?, Classifier::new(rules(&options.new)?)?);
    let lacks = |rules: &[Rule], rule: &Rule| !rules.iter().any(|it| it.id == rule.id);
    let added: Vec<&Rule> = new.rules().iter().filter(|it| lacks(old.rules(), it)).collect();
    let removed: Vec<&Rule> = old.rules().iter().filter(|it| lacks(new.rules(), it)).collect();
    let changed: Vec<Changed<'_>> = old
        .rules()
        .iter()
        .filter_map(|old| {
            let new = new.rules().iter().find(|it| it.id == old.id)?;
            let parts = changed_parts(old, new);
            (!parts.is_empty()).then_some(Changed { old, new, parts })
        })
        .collect();
    let hits = match &options.events {
        None => None,
        Some(path) => Some(hits(path, &old, &new)?),
    };
    let text = match options.json {
        true => object(&added, &removed, &changed, hits.as_ref()),
        false => clean(&told(&added, &removed, &changed, hits.as_ref())),
    };
    Ok(Report { text, notes: Vec::new(), is_good: true })
}

fn changed_parts(old: &Rule, new: &Rule) -> Vec<&'static str> {
    let examples = |it: &Rule| format!("{:?}{:?}", it.matching, it.not_matching);
    let detection = |it: &Rule| format!("{:?}{:?}", it.searches, it.condition);
    let parts = [
        ("title", old.title != new.title),
        ("level", old.level != new.level),
        ("detection", detection(old) != detection(new)),
        ("once_per", old.once_per != new.once_per),
        ("reason", old.reason != new.reason),
        ("advice", old.advice != new.advice),
        ("detects", old.detects != new.detects),
        ("tags", old.tags != new.tags),
        ("description", old.description != new.description),
        ("falsepositives", old.falsepositives != new.falsepositives),
        ("references", old.references != new.references),
        ("author", old.author != new.author),
        ("examples", examples(old) != examples(new)),
    ];
    parts.into_iter().filter(|it| it.1).map(|it| it.0).collect()
}

/// Rules by id of which the hits differ, and how many events there were.
fn hits(
    path: &Path,
    old: &Classifier,
    new: &Classifier,
) -> Result<(usize, BTreeMap<String, Hits>), RulesetError> {
    let (mut events, mut all) = (0, BTreeMap::<String, Hits>::new());
    explain::each_event(path, &mut |place, event| {
        events += 1;
        let ids = |it: &Classifier| -> Vec<(String, String)> {
            let hits = it.classify(event).hits.into_iter();
            hits.filter_map(|hit| it.rules().get(hit))
                .map(|rule| (rule.id.clone(), rule.title.clone()))
                .collect()
        };
        let (before, after) = (ids(old), ids(new));
        let lacks = |them: &[(String, String)], id: &str| !them.iter().any(|it| it.0 == id);
        for (id, title) in after.iter().filter(|it| lacks(&before, &it.0)) {
            let hits = all.entry(id.clone()).or_default();
            hits.more += 1;
            hits.note(title, '+', place);
        }
        for (id, title) in before.iter().filter(|it| lacks(&after, &it.0)) {
            let hits = all.entry(id.clone()).or_default();
            hits.fewer += 1;
            hits.note(title, '-', place);
        }
    })
    .map_err(|error| RulesetError::Events(format!("{error:#}")))?;
    Ok((events, all))
}

impl Hits {
    fn note(&mut self, title: &str, sign: char, place: &str) {
        if self.title.is_empty() {
            title.clone_into(&mut self.title);
        }
        if self.places.len() < PLACES_MAX {
            self.places.push(format!("{sign}{place}"));
        }
    }
}

fn told(
    added: &[&Rule],
    removed: &[&Rule],
    changed: &[Changed<'_>],
    hits: Option<&(usize, BTreeMap<String, Hits>)>,
) -> String {
    let mut out = String::new();
    let head = |it: &Rule| format!("{} ({}) {}", it.title, it.level.name(), it.id);
    added.iter().for_each(|it| out.push_str(&format!("added    {}\n", head(it))));
    removed.iter().for_each(|it| out.push_str(&format!("removed  {}\n", head(it))));
    for it in changed {
        out.push_str(&format!("changed  {}: {}\n", head(it.new), it.parts.join(", ")));
        if it.old.level != it.new.level {
            let (old, new) = (it.old.level.name(), it.new.level.name());
            out.push_str(&format!("         level {old} is now {new}\n"));
        }
        if it.old.title != it.new.title {
            out.push_str(&format!("         title was {}\n", it.old.title));
        }
    }
    let counts = (added.len(), removed.len(), changed.len());
    out.push_str(&format!("{} added, {} removed, {} changed\n", counts.0, counts.1, counts.2));
    if let Some((events, hits)) = hits {
        out.push('\n');
        for it in hits.values() {
            let places = it.places.join("; ");
            let (more, fewer) = (it.more, it.fewer);
            out.push_str(&format!(
                "hits     {}: {more} more, {fewer} fewer ({places})\n",
                it.title
            ));
        }
        out.push_str(&format!("{events} events: the hits of {} rules differ\n", hits.len()));
    }
    out
}

fn object(
    added: &[&Rule],
    removed: &[&Rule],
    changed: &[Changed<'_>],
    hits: Option<&(usize, BTreeMap<String, Hits>)>,
) -> String {
    let head = |it: &Rule| json!({"id": it.id, "title": it.title, "level": it.level.name()});
    let heads = |all: &[&Rule]| all.iter().map(|it| head(it)).collect::<Value>();
    let changes: Value = changed
        .iter()
        .map(|it| json!({"old": head(it.old), "new": head(it.new), "parts": it.parts}))
        .collect();
    let hits = hits.map(|(events, all)| {
        let one = |(id, it): (&String, &Hits)| {
            json!({"id": id, "title": it.title, "more": it.more, "fewer": it.fewer, "places": it.places})
        };
        json!({"events": events, "rules": all.iter().map(one).collect::<Vec<_>>()})
    });
    json_text(&json!({
        "added": heads(added),
        "removed": heads(removed),
        "changed": changes,
        "hits": hits,
    }))
}
