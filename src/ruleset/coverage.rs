//! `k8scop rules coverage`: which ideas of a survey of detections the rules cover.
//!
//! The survey is a table in CSV: a row an idea (`id`, `idea`, `tactic`, `technique`, `kind`), and a column
//! `in_NAME` for each set of rules that was read: `y…` it has the idea, `p…` a part of it, `-` not. A rule
//! covers an idea when it names its id in `k8scop.detects`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
    path::PathBuf,
};

use serde_json::{Map, Value, json};

use super::{Report, RulesetError, Sources, clean, json_text, table};

/// Largest survey (bytes).
const SURVEY_BYTES_MAX: u64 = 16 << 20;

/// What no audit event shows, and why: id and reason.
const NOT_VISIBLE: &str = include_str!("../../pipelines/not_visible.yml");

/// What `k8scop rules coverage` is told.
#[derive(Debug, Default)]
pub struct CoverageOptions {
    /// Where the rules are.
    pub sources: Sources,
    /// The survey.
    pub against: PathBuf,
    /// JSON instead of tables.
    pub json: bool,
}

/// One idea.
#[derive(Debug)]
struct Idea {
    id: String,
    idea: String,
    tactic: String,
    technique: String,
    kind: String,
    /// Of each set of rules what its column says.
    sets: Vec<String>,
    /// The rules and correlations that cover it: ids.
    covered_by: Vec<String>,
    /// Why no audit event shows it.
    why_not: Option<String>,
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    has: usize,
    visible: usize,
    covered: usize,
}

impl Count {
    fn add(&mut self, idea: &Idea) {
        self.has += 1;
        self.visible += usize::from(idea.is_visible());
        self.covered += usize::from(idea.is_covered());
    }
}

impl Idea {
    fn is_covered(&self) -> bool {
        !self.covered_by.is_empty()
    }

    /// What is covered is visible, whatever was thought of it.
    fn is_visible(&self) -> bool {
        self.is_covered() || self.why_not.is_none()
    }
}

/// Counts what the rules cover.
pub fn coverage(options: &CoverageOptions) -> Result<Report, RulesetError> {
    let rules = options.sources.good()?.heads();
    let (sets, mut ideas) = survey(&read(&options.against)?).map_err(|reason| {
        RulesetError::Content(format!("{}: {reason}", options.against.display()))
    })?;
    let not_visible = not_visible().map_err(RulesetError::Content)?;
    let mut notes = Vec::new();
    for rule in &rules {
        for id in &rule.detects {
            match ideas.iter_mut().find(|it| it.id == *id) {
                Some(idea) => idea.covered_by.push(rule.id.clone()),
                None => notes
                    .push(format!("{}: detects {id}, and the survey has no such id", rule.file)),
            }
        }
    }
    for idea in &mut ideas {
        idea.why_not = not_visible.get(&idea.id).cloned();
        if let (Some(_), Some(rule)) = (&idea.why_not, idea.covered_by.first()) {
            notes.push(format!(
                "{} is said not to be visible, and the rule {rule} covers it",
                idea.id
            ));
        }
    }
    let mut total = Count::default();
    let mut by_tactic = BTreeMap::<&str, Count>::new();
    let mut by_set: Vec<(&str, Count)> =
        sets.iter().map(|it| (it.as_str(), Count::default())).collect();
    for idea in &ideas {
        total.add(idea);
        by_tactic.entry(&idea.tactic).or_default().add(idea);
        for ((_, count), cell) in by_set.iter_mut().zip(&idea.sets) {
            if cell.starts_with('y') {
                count.add(idea);
            }
        }
    }
    let text = match options.json {
        true => object(&ideas, &sets, total, &by_tactic, &by_set),
        false => clean(&told(&ideas, total, &by_tactic, &by_set)),
    };
    Ok(Report { text, notes, is_good: true })
}

fn read(path: &PathBuf) -> Result<String, RulesetError> {
    let failed = |source| RulesetError::File { path: path.clone(), source };
    let mut text = String::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(SURVEY_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > SURVEY_BYTES_MAX {
        let reason = format!("a survey has at most {SURVEY_BYTES_MAX} bytes");
        return Err(failed(std::io::Error::other(reason)));
    }
    Ok(text)
}

fn not_visible() -> Result<BTreeMap<String, String>, String> {
    yaml_serde::from_str(NOT_VISIBLE).map_err(|error| format!("not_visible.yml: {error}"))
}

/// The sets of rules of a survey, and its ideas.
fn survey(text: &str) -> Result<(Vec<String>, Vec<Idea>), String> {
    let mut rows = csv(text)?.into_iter();
    let (_, header) = rows.next().ok_or("it is empty")?;
    let place = |name: &str| {
        let found = header.iter().position(|it| it.trim() == name);
        found.ok_or_else(|| format!("line 1: there is no column `{name}`"))
    };
    let (id, idea, tactic) = (place("id")?, place("idea")?, place("tactic")?);
    let (technique, kind) = (place("technique")?, place("kind")?);
    let columns: Vec<(usize, &str)> = header
        .iter()
        .enumerate()
        .filter_map(|(place, name)| Some((place, name.trim().strip_prefix("in_")?)))
        .collect();
    let (mut ideas, mut seen) = (Vec::new(), BTreeSet::new());
    for (line, row) in rows {
        if row.len() != header.len() {
            return Err(format!(
                "line {line}: {} columns, the first line has {}",
                row.len(),
                header.len()
            ));
        }
        let cell = |place: usize| row.get(place).map_or("", |it| it.trim()).to_owned();
        if cell(id).is_empty() || !seen.insert(cell(id)) {
            return Err(format!("line {line}: the id `{}` is missing, or there twice", cell(id)));
        }
        ideas.push(Idea {
            id: cell(id),
            idea: cell(idea),
            tactic: cell(tactic),
            technique: cell(technique),
            kind: cell(kind),
            sets: columns.iter().map(|it| cell(it.0)).collect(),
            covered_by: Vec::new(),
            why_not: None,
        });
    }
    Ok((columns.iter().map(|it| it.1.to_owned()).collect(), ideas))
}

/// The rows of a CSV text (RFC 4180), each with its first line.
fn csv(text: &str) -> Result<Vec<(usize, Vec<String>)>, String> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut start, mut is_quoted) = (1, 1, false);
    let mut chars = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(char) = chars.next() {
        line += usize::from(char == '\n');
        match char {
            '"' if is_quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => is_quoted = !is_quoted,
            other if is_quoted => cell.push(other),
            ',' => row.push(std::mem::take(&mut cell)),
            '\r' if chars.peek() == Some(&'\n') => (),
            '\n' => {
                row.push(std::mem::take(&mut cell));
                let row = std::mem::take(&mut row);
                if row.iter().any(|it| !it.is_empty()) {
                    rows.push((start, row));
                }
                start = line;
            }
            other => cell.push(other),
        }
    }
    if is_quoted {
        return Err(format!("line {start}: a quote is not closed"));
    }
    row.push(cell);
    if row.iter().any(|it| !it.is_empty()) {
        rows.push((start, row));
    }
    Ok(rows)
}

fn object(
    ideas: &[Idea],
    sets: &[String],
    total: Count,
    by_tactic: &BTreeMap<&str, Count>,
    by_set: &[(&str, Count)],
) -> String {
    let count = |it: &Count| json!({"total": it.has, "visible": it.visible, "covered": it.covered});
    let tactics: Map<String, Value> =
        by_tactic.iter().map(|(name, it)| ((*name).to_owned(), count(it))).collect();
    let rulesets: Map<String, Value> = by_set
        .iter()
        .map(|(name, it)| {
            let value = json!({"has": it.has, "visible": it.visible, "covered": it.covered});
            ((*name).to_owned(), value)
        })
        .collect();
    let row = |it: &Idea| {
        let cells: Map<String, Value> =
            sets.iter().cloned().zip(it.sets.iter().map(|it| json!(it))).collect();
        json!({
            "id": it.id,
            "idea": it.idea,
            "tactic": it.tactic,
            "technique": it.technique,
            "kind": it.kind,
            "visible": it.is_visible(),
            "why_not_visible": it.why_not.as_ref().filter(|_| !it.is_visible()),
            "covered": it.is_covered(),
            "covered_by": it.covered_by,
            "rulesets": cells,
        })
    };
    json_text(&json!({
        "total": total.has,
        "visible": total.visible,
        "covered": total.covered,
        "by_tactic": tactics,
        "by_ruleset": rulesets,
        "rows": ideas.iter().map(row).collect::<Vec<_>>(),
    }))
}

fn told(
    ideas: &[Idea],
    total: Count,
    by_tactic: &BTreeMap<&str, Count>,
    by_set: &[(&str, Count)],
) -> String {
    let row = |name: &str, it: &Count| {
        vec![name.to_owned(), it.has.to_string(), it.visible.to_string(), it.covered.to_string()]
    };
    let mut tactics: Vec<_> = by_tactic.iter().map(|(name, it)| row(name, it)).collect();
    tactics.push(row("all", &total));
    let sets = by_set.iter().map(|(name, it)| row(name, it)).collect();
    let mut out = table(&["TACTIC", "IDEAS", "VISIBLE", "COVERED"], tactics);
    out.push('\n');
    out.push_str(&table(&["RULES OF", "HAS", "VISIBLE", "COVERED"], sets));
    let open: Vec<_> = ideas.iter().filter(|it| it.is_visible() && !it.is_covered()).collect();
    if !open.is_empty() {
        out.push('\n');
        let rows = open.iter().map(|it| vec![it.id.clone(), it.kind.clone(), it.idea.clone()]);
        out.push_str(&table(&["NOT COVERED", "KIND", "IDEA"], rows.collect()));
    }
    let hidden: Vec<_> = ideas.iter().filter(|it| !it.is_visible()).collect();
    if !hidden.is_empty() {
        out.push('\n');
        let why = |it: &Idea| it.why_not.clone().unwrap_or_default();
        let rows = hidden.iter().map(|it| vec![it.id.clone(), it.idea.clone(), why(it)]);
        out.push_str(&table(&["NOT VISIBLE", "IDEA", "WHY"], rows.collect()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_with_commas_quotes_and_lines() {
        let rows = csv("\u{feff}id,idea\r\nA,\"x, \"\"y\"\"\nz\"\n\nB,c").unwrap();
        let cells: Vec<_> = rows.iter().map(|(line, row)| (*line, row.join("|"))).collect();
        assert_eq!(cells, [(1, "id|idea".into()), (2, "A|x, \"y\"\nz".into()), (5, "B|c".into())]);
        assert!(csv("a\n\"b\n").unwrap_err().contains("line 2"));
    }

    #[test]
    fn a_survey_that_cannot_be_read() {
        let head = "id,idea,tactic,technique,kind,in_x\n";
        assert!(survey("").unwrap_err().contains("empty"));
        assert!(survey("id,idea\n").unwrap_err().contains("no column `tactic`"));
        assert!(survey(&format!("{head}A,b\n")).unwrap_err().contains("line 2: 2 columns"));
        assert!(survey(&format!("{head}A,b,,,,y\nA,b,,,,y\n")).unwrap_err().contains("line 3"));
        let (sets, ideas) = survey(&format!("{head}A,b,,,,y\n")).unwrap();
        assert_eq!((sets, ideas.len()), (vec!["x".to_owned()], 1));
    }

    #[test]
    fn what_is_not_visible_says_why() {
        assert!(not_visible().unwrap().values().all(|it| it.len() > 20));
    }
}
