use super::{
    RuleError,
    limits::FILE_BYTES_MAX,
    yaml::{self, At, Node, Value, Wrong},
};

/// One YAML document of a rule file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The file that it came from.
    pub file: String,
    /// Lines of the file before its text.
    pub lines_before: usize,
    /// Its text, with the `---` before it.
    pub text: String,
    /// What it is.
    pub kind: DocumentKind,
    /// Its content, placed in the file.
    pub root: Node,
}

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// It looks at one event: `detection`.
    Rule,
    /// It leaves out what other rules would tell: `filter`.
    Filter,
    /// It looks at several events: `correlation`.
    Correlation,
}

impl Document {
    pub(super) fn error(&self, wrong: Wrong) -> RuleError {
        RuleError::new(&self.file, wrong)
    }
}

/// Splits a file into its documents. `file` is its name for errors.
pub fn documents(file: &str, text: &str) -> Result<Vec<Document>, RuleError> {
    let wrong = |wrong| RuleError::new(file, wrong);
    if text.len() > FILE_BYTES_MAX {
        let reason =
            format!("a rule file has at most {FILE_BYTES_MAX} bytes, this one {}", text.len());
        return Err(wrong(Wrong { at: At::default(), reason }));
    }
    // Editors of Windows begin a file so; not every reader of YAML passes over it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let read = yaml::read(text).map_err(wrong)?;
    let documents = read.into_iter().map(|it| {
        let lines_before = it.line.saturating_sub(1);
        let lines = text.split_inclusive('\n').skip(lines_before);
        Ok(Document {
            file: file.to_owned(),
            lines_before,
            text: lines.take(it.end.saturating_sub(it.line)).collect(),
            kind: kind(&it.root).map_err(wrong)?,
            root: it.root,
        })
    });
    documents.collect()
}

fn kind(root: &Node) -> Result<DocumentKind, Wrong> {
    if !matches!(root.value, Value::Map(_)) {
        return Err(root.wrong("a rule must be a map of names and values"));
    }
    if let Some(action) = root.get("action") {
        return Err(action.wrong(
            "`action` belongs to the rule collections of Sigma 1: write each document out whole",
        ));
    }
    Ok(if root.get("correlation").is_some() {
        DocumentKind::Correlation
    } else if root.get("filter").is_some() {
        DocumentKind::Filter
    } else {
        DocumentKind::Rule
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_in_one_file() {
        let text = "\u{feff}title: a\ndetection: {}\n---\ntitle: b\ncorrelation: {}\n---\n\n---\ntitle: c\nfilter: {}\n";
        let all = documents("a.yml", text).unwrap();
        let shown: Vec<_> =
            all.iter().map(|it| (it.kind, it.lines_before, it.text.as_str())).collect();
        assert_eq!(
            shown,
            [
                (DocumentKind::Rule, 0, "title: a\ndetection: {}\n"),
                (DocumentKind::Correlation, 2, "---\ntitle: b\ncorrelation: {}\n"),
                (DocumentKind::Filter, 7, "---\ntitle: c\nfilter: {}\n"),
            ]
        );
    }

    #[test]
    fn what_is_no_rule() {
        for (text, expected) in [
            ("a: 1\n--- [1]", "a.yml:2:5: a rule must be a map"),
            ("action: global", "a.yml:1:9: `action` belongs to"),
            (&"#".repeat(FILE_BYTES_MAX + 1), "a rule file has at most 1048576 bytes"),
        ] {
            let error = documents("a.yml", text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
