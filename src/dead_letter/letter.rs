use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use crate::bulk::{Defaults, Items};

/// A document that was refused for good, with all that is needed to send it again.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) id: String,
    /// Where the letter itself lies, as Elasticsearch names it.
    pub(super) kept_in: String,
    pub(super) time: String,
    pub(super) operation: String,
    pub(super) status: u16,
    pub(super) index: Option<String>,
    /// The `_id` of the document.
    pub(super) document_id: Option<String>,
    pub(super) default_index: Option<String>,
    pub(super) parameters: Option<String>,
    pub(super) error_type: String,
    pub(super) reason: String,
    pub(super) lines: Vec<u8>,
}

/// The document of a letter, as `prepare` writes it.
#[derive(Deserialize)]
struct Document {
    #[serde(rename = "@timestamp")]
    time: String,
    error: ErrorPart,
    k8scop: K8scopPart,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ErrorPart {
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

#[derive(Deserialize)]
struct K8scopPart {
    dead_letter: Part,
}

#[derive(Deserialize)]
struct Part {
    operation: String,
    status: u16,
    index: Option<String>,
    id: Option<String>,
    default_index: Option<String>,
    parameters: Option<String>,
    lines: Option<String>,
    lines_base64: Option<String>,
}

/// A letter as `list --format json` shows it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(rename = "@timestamp")]
    time: &'a str,
    id: &'a str,
    operation: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_index: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<&'a str>,
    error: ErrorPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines_base64: Option<String>,
}

/// How a letter can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sendable {
    /// Together with others.
    Together,
    /// By itself: its lines are no whole item, so a receiver could take the lines behind them for a part of it.
    Alone,
    /// Not at all: the lines are not what the letter says of them.
    Never,
}

impl Letter {
    /// Reads the document of a letter; `None` if it is none.
    pub(super) fn read(id: String, kept_in: String, document: &str) -> Option<Self> {
        let document: Document = serde_json::from_str(document).ok()?;
        let Part { operation, status, index, id: document_id, default_index, parameters, .. } =
            document.k8scop.dead_letter;
        let part = (document.k8scop.dead_letter.lines, document.k8scop.dead_letter.lines_base64);
        let lines = match part {
            (Some(lines), _) => lines.into_bytes(),
            (None, Some(encoded)) => STANDARD.decode(encoded).ok()?,
            // They were not asked for.
            (None, None) => Vec::new(),
        };
        Some(Self {
            id,
            kept_in,
            time: document.time,
            operation,
            status,
            index,
            document_id,
            default_index,
            parameters,
            error_type: document.error.kind,
            reason: document.error.message,
            lines,
        })
    }

    /// How it can be sent. Whoever may write into the index of the letters may write any lines into them: they must
    /// be the one item that the letter shows, and no other.
    pub(super) fn sendable(&self) -> Sendable {
        let defaults = Defaults { index: self.default_index.clone(), ..Defaults::default() };
        let (mut items, mut members) = (Items::new(&self.lines, &defaults, 2), Vec::new());
        let Ok(Some(item)) = items.next_into(&mut members) else { return Sendable::Never };
        let (name, index) = (item.name.into_owned(), item.shown.index.map(|it| it.into_owned()));
        // Elasticsearch takes a blank line for the document.
        let lines = self.lines.trim_ascii().split(|it| *it == b'\n');
        let has_gap = lines.into_iter().any(|it| it.trim_ascii().is_empty());
        let is_whole = item.action.is_ok() && !has_gap;
        let is_one = matches!(items.next_into(&mut members), Ok(None));
        let is_it = name == self.operation && index == self.index;
        if !is_one || !is_it || matches!(name.as_str(), "update" | "delete") {
            return Sendable::Never;
        }
        if is_whole { Sendable::Together } else { Sendable::Alone }
    }

    /// One line of JSON.
    pub(super) fn json(&self) -> String {
        let lines = std::str::from_utf8(&self.lines);
        let shown = Shown {
            time: &self.time,
            id: &self.id,
            operation: &self.operation,
            status: self.status,
            index: self.index.as_deref(),
            document_id: self.document_id.as_deref(),
            default_index: self.default_index.as_deref(),
            parameters: self.parameters.as_deref(),
            error: ErrorPart { kind: self.error_type.clone(), message: self.reason.clone() },
            lines: lines.ok(),
            lines_base64: lines.is_err().then(|| STANDARD.encode(&self.lines)),
        };
        // It cannot fail: there is no map and no number that JSON lacks. All that is escaped stands in strings.
        escaped(&serde_json::to_string(&shown).unwrap_or_default())
    }
}

/// A text for a terminal: characters that move the cursor, hide or turn text are escaped as in JSON.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        let turns = matches!(char, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        match char {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Writing to a String cannot fail.
            it if it.is_control() || turns => {
                write!(out, "\\u{:04x}", u32::from(it)).unwrap_or_default()
            }
            it => out.push(it),
        }
    }
    out
}

/// As [`escaped`], and not longer than `max` characters.
pub(super) fn cut(text: &str, max: usize) -> String {
    let mut start: String = text.chars().take(max).collect();
    if start.len() < text.len() {
        start.pop();
        start.push('…');
    }
    escaped(&start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(operation: &str, index: Option<&str>, lines: &[u8]) -> Letter {
        Letter {
            id: "i".into(),
            kept_in: "k".into(),
            time: "2026-11-22T00:00:00.000Z".into(),
            operation: operation.into(),
            status: 400,
            index: index.map(Into::into),
            document_id: None,
            default_index: None,
            parameters: None,
            error_type: "t".into(),
            reason: "r".into(),
            lines: lines.into(),
        }
    }

    #[test]
    fn only_the_item_that_is_shown_is_sent() {
        use Sendable::{Alone, Never, Together};
        let create = |lines: &[u8]| letter("create", Some("a"), lines).sendable();
        let action = r#"{"create":{"_index":"a"}}"#;
        let with = |rest: &str| create(format!("{action}\n{rest}").as_bytes());
        assert_eq!(with("{\"x\":1}\n"), Together);
        assert_eq!(with("{\"x\":1}"), Together);
        // The document is missing: the next letter's action would become it.
        assert_eq!(with(""), Alone);
        assert_eq!(with("{\"x\"\n"), Alone);
        assert_eq!(with("\n{\"x\":1}\n"), Alone);
        assert_eq!(with("{\"x\":1}\r\n\n"), Together);
        assert_eq!(create(&[action.as_bytes(), b"\n\"\xff\"\n"].concat()), Alone);
        assert_eq!(with("{\"x\":1}\n{\"delete\":{\"_index\":\"a\",\"_id\":\"1\"}}\n"), Never);
        assert_eq!(create(b"{\"create\":{\"_index\":\"b\"}}\n{}\n"), Never);
        assert_eq!(create(b"{\"index\":{\"_index\":\"a\"}}\n{}\n"), Never);
        assert_eq!(create(b""), Never);
        assert_eq!(letter("index", None, b"garbage\n").sendable(), Alone);
        let delete =
            letter("delete", Some("a"), b"{\"delete\":{\"_index\":\"a\",\"_id\":\"1\"}}\n");
        assert_eq!(delete.sendable(), Never);
        let mut by_url = letter("create", Some("a"), b"{\"create\":{}}\n{}\n");
        by_url.default_index = Some("a".into());
        assert_eq!(by_url.sendable(), Together);
    }

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(escaped("a\u{1b}[2Jb\n\u{9b}\u{202e}é"), "a\\u001b[2Jb\\n\\u009b\\u202eé");
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(cut("abcd", 4), "abcd");
        let line = letter("create", None, "{\"a\":\"\u{9b}\u{202e}\"}\n".as_bytes()).json();
        assert!(!line.contains(['\u{9b}', '\u{202e}', '\n']), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["lines"], "{\"a\":\"\u{9b}\u{202e}\"}\n");
    }
}
