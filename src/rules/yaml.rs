//! YAML with the place of every key and value, for errors that can be found. What a text may hold is bounded: aliases
//! multiply, nesting costs stack.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use super::limits::{YAML_BYTES_MAX, YAML_DEPTH_MAX, YAML_NODES_MAX};

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The start of a text.
impl Default for At {
    fn default() -> Self {
        Self { line: 1, column: 1 }
    }
}

/// Something wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Where.
    pub at: At,
    /// What is wrong and how to mend it.
    pub reason: String,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Where it starts.
    pub at: At,
    /// What it is.
    pub value: Value,
}

/// What a node is, by the core schema of YAML 1.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, in decimal: as JSON writes it.
    Number(String),
    /// Any other scalar, and what stands in quotes.
    Text(String),
    /// Values.
    List(Vec<Node>),
    /// Keys, which are scalars, and values.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Something wrong with it.
    pub fn wrong(&self, reason: impl Into<String>) -> Wrong {
        Wrong { at: self.at, reason: reason.into() }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Any scalar but null as it is written.
    #[must_use]
    pub fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Number(text) | Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The member of a map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Map(members) => {
                members.iter().find(|(it, _)| it.scalar() == Some(key)).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The same in JSON. A number that JSON cannot write is a text.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(it) => Json::Bool(*it),
            Value::Number(text) => {
                text.parse().map_or_else(|_| Json::String(text.clone()), Json::Number)
            }
            Value::Text(text) => Json::String(text.clone()),
            Value::List(list) => Json::Array(list.iter().map(Self::json).collect()),
            Value::Map(members) => {
                let member = |(key, value): &(Self, Self)| {
                    (key.scalar().unwrap_or("null").to_owned(), value.json())
                };
                Json::Object(members.iter().map(member).collect())
            }
        }
    }

    /// Nodes and bytes in it.
    fn size(&self) -> (usize, usize) {
        let sum = |(nodes, bytes): (usize, usize), node: &Self| {
            let (more_nodes, more_bytes) = node.size();
            (nodes + more_nodes, bytes + more_bytes)
        };
        match &self.value {
            Value::Null | Value::Bool(_) => (1, 0),
            Value::Number(text) | Value::Text(text) => (1, text.len()),
            Value::List(list) => list.iter().fold((1, 0), sum),
            Value::Map(members) => {
                members.iter().fold((1, 0), |size, (key, value)| sum(sum(size, key), value))
            }
        }
    }
}

/// What another reader of YAML read, without places.
impl From<&yaml_serde::Value> for Node {
    fn from(value: &yaml_serde::Value) -> Self {
        use yaml_serde::Value as Other;
        let value = match value {
            Other::Null => Value::Null,
            Other::Bool(it) => Value::Bool(*it),
            Other::Number(it) => Value::Number(it.to_string()),
            Other::String(it) => Value::Text(it.clone()),
            Other::Sequence(list) => Value::List(list.iter().map(Self::from).collect()),
            Other::Mapping(members) => {
                Value::Map(members.iter().map(|(key, it)| (key.into(), it.into())).collect())
            }
            Other::Tagged(it) => return Self::from(&it.value),
        };
        Self { at: At::default(), value }
    }
}

/// One document of a text.
#[derive(Debug)]
pub(super) struct Read {
    /// The line on which it starts, its `---` if it has one.
    pub(super) line: usize,
    /// The line on which the next one starts.
    pub(super) end: usize,
    pub(super) root: Node,
}

/// Reads all documents of a text. Those that hold nothing are left out.
pub(super) fn read(text: &str) -> Result<Vec<Read>, Wrong> {
    let mut reader = Reader::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(next) = parser.next_event() {
        let (event, span) = next.map_err(|error| Wrong {
            at: inside(text, place(error.marker())),
            reason: format!("the YAML cannot be read: {}", error.info()),
        })?;
        reader.take(event, place(&span.start))?;
    }
    Ok(reader.documents)
}

fn place(marker: &saphyr_parser::Marker) -> At {
    At { line: marker.line().max(1), column: marker.col() + 1 }
}

/// The same place, or the end of a text that ends before.
fn inside(text: &str, at: At) -> At {
    match text.lines().nth(at.line - 1) {
        Some(_) => at,
        None => match text.lines().last() {
            Some(last) => At { line: text.lines().count(), column: last.chars().count() + 1 },
            None => At::default(),
        },
    }
}

#[derive(Default)]
struct Reader {
    documents: Vec<Read>,
    /// The line on which the document starts.
    line: usize,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    bytes: usize,
}

/// A list or map whose end is to come.
struct Open {
    at: At,
    anchor: usize,
    what: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map(Vec<(Node, Node)>, Option<Node>),
}

impl Reader {
    fn take(&mut self, event: Event<'_>, at: At) -> Result<(), Wrong> {
        let wrong = |reason: String| Wrong { at, reason };
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.line = at.line;
                self.anchors.clear();
                if let Some(before) = self.documents.last_mut() {
                    before.end = before.end.min(at.line);
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let is_plain = style == ScalarStyle::Plain;
                let value = scalar(&text, is_plain, tag.as_deref()).map_err(wrong)?;
                self.put(Node { at, value }, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                self.opens(at, Open { at, anchor, what: OpenKind::List(Vec::new()) })
            }
            Event::MappingStart(anchor, _) => {
                self.opens(at, Open { at, anchor, what: OpenKind::Map(Vec::new(), None) })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(Open { at, anchor, what }) = self.open.pop() else { return Ok(()) };
                let value = match what {
                    OpenKind::List(list) => Value::List(list),
                    OpenKind::Map(members, _) => {
                        each_once(&members)?;
                        Value::Map(members)
                    }
                };
                self.put(Node { at, value }, anchor)
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(wrong("the alias refers to what it stands in".into()));
                };
                let (nodes, bytes) = node.size();
                self.weigh(at, nodes, bytes)?;
                let node = Node {
                    at,
                    value: self.anchors.get(&anchor).map_or(Value::Null, |it| it.value.clone()),
                };
                self.put(node, 0)
            }
        }
    }

    fn opens(&mut self, at: At, open: Open) -> Result<(), Wrong> {
        if self.open.len() >= YAML_DEPTH_MAX {
            let reason = format!("the YAML is nested deeper than {YAML_DEPTH_MAX} levels");
            return Err(Wrong { at, reason });
        }
        self.open.push(open);
        Ok(())
    }

    fn weigh(&mut self, at: At, nodes: usize, bytes: usize) -> Result<(), Wrong> {
        self.nodes += nodes;
        self.bytes += bytes;
        let reason = if self.nodes > YAML_NODES_MAX {
            format!("the YAML holds more than {YAML_NODES_MAX} values, with its aliases")
        } else if self.bytes > YAML_BYTES_MAX {
            format!("the YAML holds more than {YAML_BYTES_MAX} bytes, with its aliases")
        } else {
            return Ok(());
        };
        Err(Wrong { at, reason })
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Wrong> {
        let own_bytes = match &node.value {
            Value::Number(text) | Value::Text(text) => text.len(),
            _ => 0,
        };
        self.weigh(node.at, 1, own_bytes)?;
        if anchor != 0 {
            let (nodes, bytes) = node.size();
            self.weigh(node.at, nodes, bytes)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|it| &mut it.what) {
            None if node.value == Value::Null => (),
            None => self.documents.push(Read { line: self.line, end: usize::MAX, root: node }),
            Some(OpenKind::List(list)) => list.push(node),
            Some(OpenKind::Map(members, key)) => match key.take() {
                Some(key) => members.push((key, node)),
                None if matches!(node.value, Value::List(_) | Value::Map(_)) => {
                    return Err(node.wrong("a key must be a text, not a list or a map"));
                }
                None => *key = Some(node),
            },
        }
        Ok(())
    }
}

/// YAML forbids it, and of two lines one would be lost in silence.
fn each_once(members: &[(Node, Node)]) -> Result<(), Wrong> {
    let mut seen = HashSet::with_capacity(members.len());
    for (key, _) in members {
        if !seen.insert(key.scalar()) {
            let name = key.scalar().unwrap_or("null");
            return Err(key.wrong(format!("`{name}` stands here twice")));
        }
    }
    Ok(())
}

fn scalar(text: &str, is_plain: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let tag = match tag {
        None if is_plain => return Ok(plain(text)),
        None => return Ok(Value::Text(text.to_owned())),
        Some(tag) => tag,
    };
    match tag.suffix.as_str() {
        "str" => Ok(Value::Text(text.to_owned())),
        "int" | "float" | "bool" | "null" if tag.is_yaml_core_schema() => Ok(plain(text)),
        other => Err(format!("no tag `{}{other}`: write the value itself", tag.handle)),
    }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).map_or_else(|| Value::Text(text.to_owned()), Value::Number),
    }
}

/// A number in decimal. What is none, or too large to be sure of, stays as it is written.
fn number(text: &str) -> Option<String> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => ("-", text.get(1..)?),
        b'+' => ("", text.get(1..)?),
        _ => ("", text),
    };
    let whole = |digits: &str, base| u64::from_str_radix(digits, base).ok();
    if let Some(hex) = digits.strip_prefix("0x").filter(|_| sign.is_empty()) {
        return whole(hex, 16).map(|it| it.to_string());
    }
    if let Some(octal) = digits.strip_prefix("0o").filter(|_| sign.is_empty()) {
        return whole(octal, 8).map(|it| it.to_string());
    }
    if !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit()) {
        return whole(digits, 10).map(|it| format!("{sign}{it}"));
    }
    let is_float = digits.bytes().any(|it| it.is_ascii_digit())
        && digits.bytes().next().is_some_and(|it| it.is_ascii_digit() || it == b'.')
        && digits
            .bytes()
            .all(|it| it.is_ascii_digit() || matches!(it, b'.' | b'e' | b'E' | b'+' | b'-'));
    let float: f64 = text.parse().ok().filter(|it: &f64| is_float && it.is_finite())?;
    Some(float.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Value {
        let mut documents = read(text).unwrap();
        assert_eq!(documents.len(), 1, "{text}");
        documents.remove(0).root.value
    }

    #[test]
    fn scalars() {
        for (text, expected) in [
            ("~", Value::Null),
            ("'~'", Value::Text("~".into())),
            ("True", Value::Bool(true)),
            ("no", Value::Text("no".into())),
            ("403", Value::Number("403".into())),
            ("0403", Value::Number("403".into())),
            ("-7", Value::Number("-7".into())),
            ("0x1F", Value::Number("31".into())),
            ("0o17", Value::Number("15".into())),
            ("1.50", Value::Number("1.5".into())),
            ("1e3", Value::Number("1000".into())),
            ("1.2.3", Value::Text("1.2.3".into())),
            ("10.0.0.0/8", Value::Text("10.0.0.0/8".into())),
            ("2026-11-22", Value::Text("2026-11-22".into())),
            (".inf", Value::Text(".inf".into())),
            ("e", Value::Text("e".into())),
            ("!!str 5", Value::Text("5".into())),
            ("\"\\u0041\"", Value::Text("A".into())),
        ] {
            let expected = Node { at: At { line: 1, column: 2 }, value: expected };
            assert_eq!(one(&format!("[{text}]")), Value::List(vec![expected]), "{text}");
        }
    }

    #[test]
    fn documents_and_places() {
        let documents = read("# x\n---\na: 1\n---\n---\nb:\n  c: [d,  e]\n").unwrap();
        let lines: Vec<_> = documents.iter().map(|it| it.line).collect();
        assert_eq!(lines, [2, 5]);
        let Value::List(list) = &documents[1].root.get("b").unwrap().get("c").unwrap().value else {
            panic!("{documents:?}")
        };
        assert_eq!(list[1].at, At { line: 7, column: 11 });
    }

    #[track_caller]
    fn wrong(text: &str, line: usize, column: usize, reason: &str) {
        let error = read(text).unwrap_err();
        assert!(error.reason.contains(reason), "{error:?}");
        assert_eq!(error.at, At { line, column }, "{error:?}");
    }

    #[test]
    fn what_cannot_be_read() {
        wrong("a: 1\nb: 2\na: 3", 3, 1, "`a` stands here twice");
        wrong("? [a]\n: b", 1, 3, "a key must be a text");
        wrong("a: !x b", 1, 4, "no tag `!x`");
        wrong("a: &x [*x]", 1, 8, "what it stands in");
        wrong("a: [b", 1, 6, "cannot be read");
    }

    #[test]
    fn bombs_are_bounded() {
        let deep = format!("{}{}", "[".repeat(YAML_DEPTH_MAX), "]".repeat(YAML_DEPTH_MAX));
        assert!(read(&deep).is_ok());
        wrong(&format!("[{deep}]"), 1, YAML_DEPTH_MAX + 1, "nested deeper");
        assert!(read(&"[".repeat(1 << 20)).is_err());
        let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..20 {
            let below = format!("*a{}", level - 1);
            laughs += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(","));
        }
        assert!(read(&laughs).unwrap_err().reason.contains("values, with its aliases"));
        let long = "x".repeat(1 << 16);
        let copies = format!("a: &a {long}\nb: [{}]", vec!["*a"; 1000].join(","));
        assert!(read(&copies).unwrap_err().reason.contains("bytes, with its aliases"));
    }
}
