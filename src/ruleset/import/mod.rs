//! `k8scop rules import`: rules of others, as far as they can be taken. What cannot is told, with its reason: a rule that
//! is dropped in silence is an attack that is missed.

mod falco;
mod sigma;

use std::{
    collections::HashSet,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Report, RulesetError, Sources, clean, json_text, set::base_rule};
use crate::{
    correlate::Plan,
    rules::{self, Lists, Options, RuleError, RuleSet, correlation},
};

/// Largest file that is read (bytes).
const FILE_BYTES_MAX: u64 = 4 << 20;
/// Most files of a folder.
const FILES_MAX: usize = 50_000;

/// What `k8scop rules import` is told.
#[derive(Debug, Default)]
pub struct ImportOptions {
    /// A folder of Sigma rules, a Sigma rule, or a rules file of Falco.
    pub source: PathBuf,
    /// The folder that they are written to.
    pub to: PathBuf,
    /// A configuration: its lists.
    pub config: Option<PathBuf>,
    /// Write nothing.
    pub dry_run: bool,
    /// JSON instead of text.
    pub json: bool,
}

/// A rule that can be taken.
#[derive(Debug)]
struct Draft {
    /// The file that it came from.
    from: String,
    title: String,
    /// Its new file, below the folder of rules.
    file: PathBuf,
    text: String,
    /// What was changed, and what is not as it was.
    notes: Vec<String>,
}

/// A rule that cannot be taken.
#[derive(Debug)]
struct Left {
    from: String,
    line: usize,
    title: String,
    why: String,
}

/// What a source holds.
#[derive(Debug, Default)]
struct Found {
    drafts: Vec<Draft>,
    left: Vec<Left>,
    /// Rules for other logs.
    others: usize,
}

/// Takes rules of others. It is good if none is left.
pub fn import(options: &ImportOptions) -> Result<Report, RulesetError> {
    let mut found = Found::default();
    let lists = Sources { config: options.config.clone(), paths: Vec::new() }.lists()?;
    if options.source.is_dir() {
        for path in files(&options.source)? {
            let below = path.strip_prefix(&options.source).unwrap_or(&path).to_owned();
            let from = path.display().to_string();
            match text_of(&path) {
                Ok(text) => sigma::take(&from, &below, &text, &lists, &mut found),
                Err(error) => {
                    let (title, why) = (String::new(), format!("it cannot be read: {error}"));
                    found.left.push(Left { from, line: 1, title, why });
                }
            }
        }
    } else {
        let (name, text) = (options.source.display().to_string(), read(&options.source)?);
        match falco::is_one(&text) {
            true => falco::take(&name, &text, &mut found),
            false => {
                let file = options.source.file_name().unwrap_or_default();
                sigma::take(&name, Path::new(file), &text, &lists, &mut found);
            }
        }
    }
    let mut taken = Vec::new();
    for draft in together(&mut found, &lists) {
        match place(&draft, options) {
            Ok(path) => taken.push((draft, path)),
            Err(why) => found.leave(draft, 1, why),
        }
    }
    let text = match options.json {
        true => object(&taken, &found),
        false => clean(&told(&taken, &found, options.dry_run)),
    };
    Ok(Report { text, notes: Vec::new(), is_good: found.left.is_empty() })
}

/// The drafts that can be used together. What one of them needs of another that is left, is left as well.
fn together(found: &mut Found, lists: &Lists) -> Vec<Draft> {
    let mut drafts = std::mem::take(&mut found.drafts);
    loop {
        let name = |it: &Draft| it.file.display().to_string();
        let files: Vec<_> = drafts.iter().map(|it| (name(it), it.text.clone())).collect();
        let assembled = rules::assemble(&files, &Options::default(), lists);
        let errors = match assembled.map(|it| correlation_errors(&it)) {
            Ok(errors) if errors.is_empty() => return drafts,
            Ok(errors) | Err(errors) => errors,
        };
        let mut is_less = false;
        for error in errors {
            if let Some(place) = drafts.iter().position(|it| name(it) == error.file) {
                let draft = drafts.remove(place);
                found.leave(draft, error.line, error.reason);
                is_less = true;
            }
        }
        // An error of no file cannot be mended by leaving one.
        if !is_less {
            drafts.drain(..).for_each(|it| found.leave(it, 1, "the rules are too many".into()));
        }
    }
}

/// What is wrong with correlations: in themselves, else with what they name, else with how they stand to each other.
fn correlation_errors(set: &RuleSet) -> Vec<RuleError> {
    let (mut correlations, mut errors) = (Vec::new(), Vec::new());
    for document in &set.correlations {
        match correlation::read(document) {
            Ok(it) => correlations.push(it),
            Err(error) => errors.push(error),
        }
    }
    let of_rules = set.rules.iter().flat_map(|it| [Some(&it.id), it.name.as_ref()]);
    let of_correlations = correlations.iter().flat_map(|it| [Some(&it.id), it.name.as_ref()]);
    let known: HashSet<&String> = of_rules.chain(of_correlations).flatten().collect();
    for it in &correlations {
        if let Some(name) = it.rules.iter().find(|name| !known.contains(name)) {
            let reason = format!("there is no rule or correlation with the id or name `{name}`");
            errors.push(RuleError { file: it.file.clone(), line: it.line, column: 1, reason });
        }
    }
    if errors.is_empty() {
        let base: Vec<_> = set.rules.iter().map(base_rule).collect();
        errors.extend(Plan::new(correlations, &base).err());
    }
    errors
}

impl Found {
    fn leave(&mut self, draft: Draft, line: usize, why: String) {
        let Draft { from, title, .. } = draft;
        self.left.push(Left { from, line, title, why });
    }
}

/// Writes the rule. Nothing is overwritten.
fn place(draft: &Draft, options: &ImportOptions) -> Result<PathBuf, String> {
    let path = options.to.join(&draft.file);
    if options.dry_run {
        return Ok(path);
    }
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    match read(&path) {
        Ok(old) if old == draft.text => return Ok(path),
        Ok(_) => return Err(format!("{} is there already, and differs", path.display())),
        Err(_) if path.exists() => return Err(format!("{} cannot be read", path.display())),
        Err(_) => (),
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(&path, &draft.text).map_err(failed)?;
    Ok(path)
}

fn read(path: &Path) -> Result<String, RulesetError> {
    text_of(path).map_err(|source| RulesetError::File { path: path.to_owned(), source })
}

fn text_of(path: &Path) -> io::Result<String> {
    // A pipe would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("a file has at most {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// The YAML files of a folder and the folders in it, in order. Links to folders may go in circles and are left out, and
/// so are names that begin with a dot: what is in them is for other programs.
fn files(folder: &Path) -> Result<Vec<PathBuf>, RulesetError> {
    let (mut folders, mut found) = (vec![folder.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        let failed = |source| RulesetError::File { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = entry.path();
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            if entry.file_type().map_err(failed)?.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "yml" || it == "yaml") {
                found.push(path);
            }
            if found.len() > FILES_MAX {
                let reason = format!("a folder has at most {FILES_MAX} rule files");
                return Err(failed(io::Error::other(reason)));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn told(taken: &[(Draft, PathBuf)], found: &Found, dry_run: bool) -> String {
    let mut out = String::new();
    for (draft, path) in taken {
        out.push_str(&format!("taken  {}: {}\n", path.display(), draft.title));
        draft.notes.iter().for_each(|it| out.push_str(&format!("         {it}\n")));
    }
    for Left { from, line, title, why } in &found.left {
        let title = if title.is_empty() { String::new() } else { format!("{title}: ") };
        out.push_str(&format!("left   {from}:{line}: {title}{why}\n"));
    }
    let others = match found.others {
        0 => String::new(),
        others => format!(", {others} for other logs"),
    };
    let nothing = if dry_run { "; nothing is written" } else { "" };
    out + &format!("{} taken, {} left{others}{nothing}\n", taken.len(), found.left.len())
}

fn object(taken: &[(Draft, PathBuf)], found: &Found) -> String {
    let taken: Vec<_> = taken
        .iter()
        .map(|(it, path)| {
            json!({"from": it.from, "title": it.title, "file": path.display().to_string(), "notes": it.notes})
        })
        .collect();
    let left: Vec<_> = found
        .left
        .iter()
        .map(|it| json!({"from": it.from, "line": it.line, "title": it.title, "why": it.why}))
        .collect();
    json_text(&json!({"taken": taken, "left": left, "other_logs": found.others}))
}
