//! Sigma rules of others: taken as they are, with their comments, but for lines of which everybody can tell what was meant.

use std::path::Path;

use super::{Draft, Found, Left};
use crate::rules::{self, Document, DocumentKind, Lists, Options};

/// Lines of public rules that can never hold, and what was meant (SigmaHQ, rules for kubernetes/audit, seen in August
/// 2026): what the API server says of a decision is an annotation, no code; a replacement is an update.
const LINES: [(&str, &str); 4] = [
    ("responseStatus.code: 'ALLOW'", "annotations.authorization.k8s.io/decision: allow"),
    ("responseStatus.code: ALLOW", "annotations.authorization.k8s.io/decision: allow"),
    ("verb: replace", "verb: update"),
    ("verb: 'replace'", "verb: update"),
];

/// Takes the rules of a file. `below` is its path in the folder.
pub(super) fn take(name: &str, below: &Path, text: &str, lists: &Lists, found: &mut Found) {
    let (text, mut notes) = better(text);
    let mut left = |line: usize, title: &str, why: String| {
        found.left.push(Left { from: name.to_owned(), line, title: title.to_owned(), why });
    };
    let documents = match rules::documents(name, &text) {
        Ok(documents) => documents,
        Err(error) => return left(error.line, "", error.reason),
    };
    let title = |it: &Document| {
        let title = it.root.get("title").and_then(|it| it.scalar());
        title.unwrap_or_default().to_owned()
    };
    let Some(first) = documents.first() else { return left(1, "", "it is empty".into()) };
    // A correlation names no log: it is for that of the rules beside it.
    let mut others = documents.iter().filter(|it| it.kind != DocumentKind::Correlation).peekable();
    if others.peek().is_some() && others.all(is_for_others) {
        found.others += 1;
        return;
    }
    for document in &documents {
        match document.kind {
            DocumentKind::Rule => match rules::rule(document, &Options::default(), lists) {
                Ok(rule) => notes.extend(rule.warnings),
                Err(error) => return left(error.line, &title(document), error.reason),
            },
            // What they name may be in other files: that is looked at when all are together.
            DocumentKind::Filter | DocumentKind::Correlation => (),
        }
    }
    let header =
        format!("# From {name}, by k8scop rules import. Its licence is that of its source.\n");
    found.drafts.push(Draft {
        from: name.to_owned(),
        title: title(first),
        file: below.to_owned(),
        text: header + &text,
        notes,
    });
}

/// Whether a document says that it is for other logs.
fn is_for_others(document: &Document) -> bool {
    let source = |name: &str| document.root.get("logsource")?.get(name)?.scalar();
    source("product") != Some("kubernetes") || source("service").is_some_and(|it| it != "audit")
}

/// The text with lines that can hold, and what was changed.
fn better(text: &str) -> (String, Vec<String>) {
    let (mut out, mut notes) = (String::with_capacity(text.len()), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let start = line.find(|it: char| it != ' ' && it != '-').unwrap_or_default();
        let (indent, rest) = line.split_at_checked(start).unwrap_or(("", line));
        match LINES.iter().find(|(old, _)| rest.trim_end() == *old) {
            Some((old, new)) => {
                notes.push(format!("line {}: `{old}` is now `{new}`", number + 1));
                out.push_str(indent);
                out.push_str(new);
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    (out, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_never_hold() {
        let (text, notes) =
            better("a:\n  - verb: replace\n    responseStatus.code: 'ALLOW'\n    verbs: replace\n");
        assert_eq!(
            text,
            "a:\n  - verb: update\n    annotations.authorization.k8s.io/decision: allow\n    verbs: replace\n"
        );
        assert_eq!(notes.len(), 2);
    }
}
