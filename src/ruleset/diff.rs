//! `k8scop rules diff`: what differs between two sets of rules, and which events they see differently.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{Report, RulesetError, Sources, clean, head::Head, json_text, set::Set};
use crate::{
    classify::Classifier,
    explain,
    rules::{Level, Node, Rule, correlation::Correlation},
};

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
    /// A configuration: its lists, and what the word `configured` means.
    pub config: Option<PathBuf>,
    /// JSON instead of text.
    pub json: bool,
}

/// A rule or correlation, and the text of each of its parts.
struct Part {
    id: String,
    title: String,
    level: Level,
    texts: Vec<(&'static str, String)>,
}

/// One that is in both, and what of it differs.
struct Changed<'r> {
    old: &'r Part,
    new: &'r Part,
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
    let set = |path: &Path| Sources::of(path, options.config.as_deref())?.good();
    let (old, new) = (set(&options.old)?, set(&options.new)?);
    let (old_parts, new_parts) = (parts(&old), parts(&new));
    let by_id = |all: &'_ [Part]| -> HashMap<String, usize> {
        all.iter().map(|it| it.id.clone()).zip(0..).collect()
    };
    let (old_ids, new_ids) = (by_id(&old_parts), by_id(&new_parts));
    let added: Vec<&Part> = new_parts.iter().filter(|it| !old_ids.contains_key(&it.id)).collect();
    let removed: Vec<&Part> = old_parts.iter().filter(|it| !new_ids.contains_key(&it.id)).collect();
    let changed: Vec<Changed<'_>> = old_parts
        .iter()
        .filter_map(|old| {
            let new = new_ids.get(&old.id).and_then(|it| new_parts.get(*it))?;
            let parts = changed_parts(old, new);
            (!parts.is_empty()).then_some(Changed { old, new, parts })
        })
        .collect();
    let hits = match &options.events {
        None => None,
        Some(path) => {
            let (old, new) = (Classifier::new(old.set.rules)?, Classifier::new(new.set.rules)?);
            Some(hits(path, &old, &new)?)
        }
    };
    let text = match options.json {
        true => object(&added, &removed, &changed, hits.as_ref()),
        false => clean(&told(&added, &removed, &changed, hits.as_ref())),
    };
    Ok(Report { text, notes: Vec::new(), is_good: true })
}

fn parts(set: &Set) -> Vec<Part> {
    let correlations = set.correlations.iter().map(|(it, root)| of_correlation(it, root));
    set.set.rules.iter().map(of_rule).chain(correlations).collect()
}

fn of_rule(it: &Rule) -> Part {
    let texts = vec![
        ("title", it.title.clone()),
        ("level", it.level.name().to_owned()),
        ("detection", format!("{:?}{:?}", it.searches, it.condition)),
        ("once_per", format!("{:?}", it.once_per)),
        ("reason", format!("{:?}", it.reason)),
        ("advice", format!("{:?}", it.advice)),
        ("detects", format!("{:?}", it.detects)),
        ("tags", format!("{:?}", it.tags)),
        ("description", it.description.clone()),
        ("falsepositives", format!("{:?}", it.falsepositives)),
        ("references", format!("{:?}", it.references)),
        ("author", it.author.clone()),
        ("examples", format!("{:?}{:?}", it.matching, it.not_matching)),
    ];
    Part { id: it.id.clone(), title: it.title.clone(), level: it.level, texts }
}

fn of_correlation(it: &Correlation, root: &Node) -> Part {
    let meaning = (&it.kind, &it.rules, &it.group_by, it.timespan_s, it.learn_s, it.generate);
    let level = Head::of(it, root).level;
    let texts = vec![
        ("title", it.title.clone()),
        ("level", level.name().to_owned()),
        ("correlation", format!("{meaning:?}")),
        ("reason", format!("{:?}", it.reason)),
        ("advice", format!("{:?}", it.advice)),
        ("detects", format!("{:?}", it.detects)),
        ("tags", format!("{:?}", it.tags)),
        ("description", it.description.clone()),
        ("references", format!("{:?}", it.references)),
        ("author", it.author.clone()),
        ("examples", format!("{:?}{:?}", it.matching, it.not_matching)),
    ];
    Part { id: it.id.clone(), title: it.title.clone(), level, texts }
}

fn changed_parts(old: &Part, new: &Part) -> Vec<&'static str> {
    // What only one of them has tells a rule from a correlation.
    let is_same = |it: &&(&'static str, String)| old.texts.contains(it);
    new.texts.iter().filter(|it| !is_same(it)).map(|it| it.0).collect()
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
    .map_err(|error| RulesetError::Content(format!("{error:#}")))?;
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
    added: &[&Part],
    removed: &[&Part],
    changed: &[Changed<'_>],
    hits: Option<&(usize, BTreeMap<String, Hits>)>,
) -> String {
    let mut out = String::new();
    let head = |it: &Part| format!("{} ({}) {}", it.title, it.level.name(), it.id);
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
    added: &[&Part],
    removed: &[&Part],
    changed: &[Changed<'_>],
    hits: Option<&(usize, BTreeMap<String, Hits>)>,
) -> String {
    let head = |it: &Part| json!({"id": it.id, "title": it.title, "level": it.level.name()});
    let heads = |all: &[&Part]| all.iter().map(|it| head(it)).collect::<Value>();
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
