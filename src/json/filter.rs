//! `filter_path` of Elasticsearch, applied to a JSON text in one pass over it for each of the two kinds of paths.
//!
//! Seen at 8.19.21, by comparing some thousand filtered answers with its unfiltered ones. 7.17.29 differs where few
//! will see it: with excludes it also drops objects and arrays that were empty before, it refuses a lone `-` (400
//! `filters cannot be null or empty`), takes `a..b` for an empty name in the middle and, in a name with an escaped
//! dot, each backslash and what follows it for a dot, and it knows no limit of depth. Neither of the two filters
//! what is an error as a whole (`{"error":…,"status":400}`).
//!
//! The paths are a tree of names. While the text is walked, each open object has the set of tree nodes that its
//! path has come to; a set never holds a node twice, so `**.*.**.*` costs the sum of its parts, not their product.

use std::{borrow::Cow, collections::HashMap, ops::Range};

use thiserror::Error;

use super::text;

/// Longest value of the parameter, in bytes after decoding: as long as the request line that Elasticsearch takes
/// (`http.max_initial_line_length`, 4 KB by default), so nothing that it would have answered is refused.
pub const FILTER_BYTES_MAX: usize = 4096;
/// Most names in one path. Elasticsearch 8.19.21 takes 501 and refuses 502; 7.17.29 takes any number.
pub const FILTER_NAMES_MAX: usize = 501;
/// A filter of more nodes than this remembers its steps: below, finding out anew is faster. So does a filter with
/// a name like `a*b`, which takes longer to compare than to look up.
const LIGHT_NODES_MAX: usize = 32;
/// Most steps that are remembered for one text. The answer to a bulk request needs some fifty.
const STEPS_MAX: usize = 4096;
/// Most nodes in all remembered sets.
const STEP_NODES_MAX: usize = 1 << 16;

/// Why a value of `filter_path` is refused. Elasticsearch's own refusal is a 400 `illegal_argument_exception`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FilterError {
    /// More bytes than [`FILTER_BYTES_MAX`].
    #[error("filter_path has {bytes} bytes, more than {FILTER_BYTES_MAX}")]
    TooLong {
        /// How many there are.
        bytes: usize,
    },
    /// More names in a path than [`FILTER_NAMES_MAX`]; in the words of Elasticsearch 8.19.21.
    #[error("Filter exceeds maximum depth at [{rest}]")]
    TooDeep {
        /// What is left of the path.
        rest: String,
    },
}

/// A parsed `filter_path`.
#[derive(Clone, Debug)]
pub struct Filter {
    includes: Option<Tree>,
    excludes: Option<Tree>,
}

impl Filter {
    /// Parses the value of the query parameter, percent-decoded. `None` when it names no path: Elasticsearch then
    /// answers unfiltered.
    pub fn parse(value: &str) -> Result<Option<Self>, FilterError> {
        if value.len() > FILTER_BYTES_MAX {
            return Err(FilterError::TooLong { bytes: value.len() });
        }
        let (mut includes, mut excludes) = (Builder::default(), Builder::default());
        for path in value.split(',').map(trim) {
            match path.strip_prefix('-') {
                // A minus alone excludes nothing.
                Some(path) => excludes.insert(trim(path))?,
                None => includes.insert(path)?,
            }
        }
        let filter = Self { includes: includes.tree(), excludes: excludes.tree() };
        Ok((filter.includes.is_some() || filter.excludes.is_some()).then_some(filter))
    }

    /// What is left of `json`, a checked text whose root is an object.
    ///
    /// The root always stays, at least as `{}`. At another root, an array stays as `[]` (Elasticsearch answers
    /// nothing at all), a scalar as it is. A text that is not JSON comes back as it is.
    #[must_use]
    pub fn apply(&self, json: &str) -> String {
        let included = match &self.includes {
            Some(tree) => Walk::new(tree, Mode::Include, json).run(),
            None => None,
        };
        // Elasticsearch has the two as layers, too: what the includes left is what the excludes see.
        let Some(tree) = &self.excludes else { return included.unwrap_or_else(|| json.to_owned()) };
        let json = included.as_deref().unwrap_or(json);
        Walk::new(tree, Mode::Exclude, json).run().unwrap_or_else(|| json.to_owned())
    }
}

/// Takes off what Java's `String.trim` takes off.
fn trim(text: &str) -> &str {
    text.trim_matches(|it| it <= ' ')
}

/// The place of a node in its tree. A path of `FILTER_BYTES_MAX` bytes has fewer nodes than that.
type NodeId = u16;

#[derive(Clone, Debug, Default)]
struct Node {
    /// A path ends here: all below it is meant.
    is_end: bool,
    /// The name is `**`: it goes on at every depth.
    is_double: bool,
    /// Children by name, sorted.
    literals: Vec<(Box<str>, NodeId)>,
    /// Children whose names have a `*`.
    wildcards: Vec<(Glob, NodeId)>,
}

impl Node {
    fn literal(&self, name: &str) -> Option<NodeId> {
        // Names of answers differ in length mostly, so that a few are told apart without reading them.
        if self.literals.len() <= 8 {
            return self.literals.iter().find(|it| *it.0 == *name).map(|it| it.1);
        }
        let at = self.literals.binary_search_by(|it| (*it.0).cmp(name)).ok()?;
        self.literals.get(at).map(|it| it.1)
    }
}

#[derive(Clone, Debug)]
struct Tree {
    /// The first is the root; there is always one.
    nodes: Vec<Node>,
}

impl Tree {
    fn is_heavy(&self) -> bool {
        let mut globs = self.nodes.iter().flat_map(|it| &it.wildcards);
        self.nodes.len() > LIGHT_NODES_MAX || globs.any(|it| !it.0.is_any)
    }
}

#[derive(Default)]
struct Builder {
    /// By parent and name.
    ids: HashMap<(NodeId, String), NodeId>,
    ends: Vec<NodeId>,
}

impl Builder {
    /// Cuts a path into names. A dot at the start of what is left does not cut: `a..b` is `a` and `.b`, while `a.`
    /// is `a` and the empty name.
    fn insert(&mut self, path: &str) -> Result<(), FilterError> {
        if path.is_empty() {
            return Ok(());
        }
        let (mut parent, mut rest, mut names) = (0, path, 0);
        loop {
            names += 1;
            if names > FILTER_NAMES_MAX {
                return Err(FilterError::TooDeep { rest: rest.to_owned() });
            }
            let cut = first_dot(rest);
            let (name, next) = match cut {
                Some(at) if at > 0 => (rest.get(..at), rest.get(at + 1..)),
                _ => (Some(rest), None),
            };
            // A backslash anywhere else stands for itself.
            let name = name.unwrap_or_default().replace(r"\.", ".");
            parent = self.child(parent, name);
            let Some(next) = next else { break };
            rest = next;
        }
        self.ends.push(parent);
        Ok(())
    }

    fn child(&mut self, parent: NodeId, name: String) -> NodeId {
        let next = NodeId::try_from(self.ids.len() + 1).unwrap_or(NodeId::MAX);
        *self.ids.entry((parent, name)).or_insert(next)
    }

    fn tree(self) -> Option<Tree> {
        if self.ids.is_empty() {
            return None;
        }
        let mut nodes = vec![Node::default(); self.ids.len() + 1];
        for end in self.ends {
            if let Some(node) = nodes.get_mut(usize::from(end)) {
                node.is_end = true;
            }
        }
        for ((parent, name), id) in self.ids {
            if let Some(node) = nodes.get_mut(usize::from(id)) {
                node.is_double = name == "**";
            }
            let Some(node) = nodes.get_mut(usize::from(parent)) else { continue };
            if name.contains('*') {
                node.wildcards.push((Glob::new(&name), id));
            } else {
                node.literals.push((name.into(), id));
            }
        }
        for node in &mut nodes {
            node.literals.sort_unstable();
        }
        Some(Tree { nodes })
    }
}

/// The first dot that no backslash escapes.
fn first_dot(path: &str) -> Option<usize> {
    let bytes = path.as_bytes();
    memchr::memchr_iter(b'.', bytes).find(|&at| at == 0 || bytes.get(at - 1) != Some(&b'\\'))
}

/// A name with `*` in it, cut at the stars.
#[derive(Clone, Debug)]
struct Glob {
    /// Nothing but stars.
    is_any: bool,
    first: Box<str>,
    middle: Vec<Box<str>>,
    last: Box<str>,
}

impl Glob {
    fn new(pattern: &str) -> Self {
        let (first, rest) = pattern.split_once('*').unwrap_or((pattern, ""));
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle = middle.split('*').filter(|it| !it.is_empty()).map(Into::into).collect();
        let is_any = pattern.bytes().all(|it| it == b'*');
        Self { is_any, first: first.into(), middle, last: last.into() }
    }

    /// Taking the leftmost place for each part is enough, so nothing is tried twice.
    fn matches(&self, name: &str) -> bool {
        if self.is_any {
            return true;
        }
        let Some(rest) = name.strip_prefix(&*self.first) else { return false };
        let Some(mut rest) = rest.strip_suffix(&*self.last) else { return false };
        for part in &self.middle {
            let Some(at) = rest.find(&**part) else { return false };
            rest = rest.get(at + part.len()..).unwrap_or_default();
        }
        true
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Include,
    Exclude,
}

/// A set of nodes: where it stands in `Steps::sets`. Never empty.
type Set = Range<usize>;

/// What a name leads to.
#[derive(Clone)]
enum Step {
    /// A path ends here.
    End,
    /// No path goes this way.
    Nowhere,
    /// Some paths go on.
    On(Set),
}

/// Goes from set to set.
struct Steps<'t, 'a> {
    nodes: &'t [Node],
    /// The sets of the open objects, and below `kept` those of remembered steps.
    sets: Vec<NodeId>,
    kept: usize,
    /// The step in which a node was last added to a set.
    added: Vec<u64>,
    count: u64,
    /// Remembered steps by the start of the set that they leave and the name as it is written.
    known: HashMap<(usize, &'a str), Step>,
    remembers: bool,
}

impl<'t, 'a> Steps<'t, 'a> {
    fn new(tree: &'t Tree) -> Self {
        Self {
            nodes: &tree.nodes,
            sets: vec![0],
            kept: 1,
            added: vec![0; tree.nodes.len()],
            count: 0,
            known: HashMap::new(),
            remembers: tree.is_heavy(),
        }
    }

    fn step(&mut self, from: &Set, raw_key: &'a str) -> Step {
        // Only a remembered set keeps its place, so only that can be asked for again.
        if !self.remembers || from.start >= self.kept {
            return self.find(from, raw_key);
        }
        if let Some(step) = self.known.get(&(from.start, raw_key)) {
            return step.clone();
        }
        let step = self.find(from, raw_key);
        // Once full it stays full: until then all sets were kept, from then on they come and go above `kept`.
        if self.known.len() < STEPS_MAX && self.kept <= STEP_NODES_MAX {
            if let Step::On(set) = &step {
                self.kept = set.end;
            }
            self.known.insert((from.start, raw_key), step.clone());
        }
        step
    }

    fn find(&mut self, from: &Set, raw_key: &str) -> Step {
        // Half a surrogate pair is no text; such a name stands for itself as it is written.
        let name = text::decode(raw_key).unwrap_or(Cow::Borrowed(raw_key));
        let name = &*name;
        self.count += 1;
        let start = self.sets.len();
        for at in from.clone() {
            let Some(&id) = self.sets.get(at) else { continue };
            let Some(node) = self.nodes.get(usize::from(id)) else { continue };
            if let Some(child) = node.literal(name)
                && self.add(child)
            {
                self.sets.truncate(start);
                return Step::End;
            }
            for (glob, child) in &node.wildcards {
                if glob.matches(name) && self.add(*child) {
                    self.sets.truncate(start);
                    return Step::End;
                }
            }
            if node.is_double {
                self.add(id);
            }
        }
        debug_assert!(self.sets.len() - start <= self.nodes.len(), "a node twice in a set");
        if self.sets.len() == start { Step::Nowhere } else { Step::On(start..self.sets.len()) }
    }

    /// Adds a node to the set that is being made; true if a path ends there.
    fn add(&mut self, id: NodeId) -> bool {
        let at = usize::from(id);
        if let Some(added) = self.added.get_mut(at)
            && *added != self.count
        {
            *added = self.count;
            self.sets.push(id);
        }
        self.nodes.get(at).is_some_and(|node| node.is_end)
    }

    /// Gives up the set of an object that is closed.
    fn leave(&mut self, set: &Set) {
        if set.start >= self.kept {
            self.sets.truncate(set.start);
        }
    }
}

/// An open object or array.
struct Frame {
    closing: char,
    /// How long the output was before it. Back to this if it has to vanish.
    mark: usize,
    set: Set,
    /// Whether it had a member or element, kept or not.
    has_any: bool,
    /// Whether one was kept.
    has_kept: bool,
}

struct Walk<'t, 'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    mode: Mode,
    steps: Steps<'t, 'a>,
    out: String,
    open: Vec<Frame>,
}

impl<'t, 'a> Walk<'t, 'a> {
    fn new(tree: &'t Tree, mode: Mode, text: &'a str) -> Self {
        let capacity = if mode == Mode::Exclude { text.len() } else { 0 };
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            mode,
            steps: Steps::new(tree),
            out: String::with_capacity(capacity),
            open: Vec::new(),
        }
    }

    /// `None` for a text that is not JSON, or a scalar.
    fn run(mut self) -> Option<String> {
        self.walk()?;
        Some(self.out)
    }

    fn walk(&mut self) -> Option<()> {
        self.blanks();
        if !matches!(self.peek()?, b'{' | b'[') {
            return None;
        }
        self.enter(None, 0..1)?;
        while let Some(frame) = self.open.last_mut() {
            match *self.bytes.get(self.at)? {
                b',' | b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b'}' | b']' => self.close()?,
                _ => {
                    frame.has_any = true;
                    if frame.closing == '}' {
                        self.member()?;
                    } else {
                        self.element()?;
                    }
                }
            }
        }
        Some(())
    }

    fn member(&mut self) -> Option<()> {
        let key_start = self.at;
        self.string()?;
        let raw_key = self.text.get(key_start + 1..self.at - 1)?;
        self.blanks();
        self.at += 1;
        self.blanks();
        let set = self.open.last()?.set.clone();
        match (self.steps.step(&set, raw_key), self.mode) {
            (Step::On(set), _) => {
                let key = self.text.get(key_start..self.at)?;
                match self.peek()? {
                    b'{' | b'[' => self.enter(Some(key), set),
                    _ => {
                        self.steps.leave(&set);
                        self.scalar(key_start)
                    }
                }
            }
            (Step::End, Mode::Include) | (Step::Nowhere, Mode::Exclude) => self.keep(key_start),
            (Step::Nowhere, Mode::Include) | (Step::End, Mode::Exclude) => self.value(),
        }
    }

    /// Arrays are no level of a path: an element stands where its array stands.
    fn element(&mut self) -> Option<()> {
        match self.peek()? {
            b'{' | b'[' => {
                let set = self.open.last()?.set.clone();
                self.enter(None, set)
            }
            _ => self.scalar(self.at),
        }
    }

    /// A scalar that paths would go on below: there is nothing to include, and nothing to exclude.
    fn scalar(&mut self, start: usize) -> Option<()> {
        match self.mode {
            Mode::Include => self.value(),
            Mode::Exclude => self.keep(start),
        }
    }

    /// Copies what begins at `start` and ends with the value that comes next.
    fn keep(&mut self, start: usize) -> Option<()> {
        self.value()?;
        self.comma()?;
        self.out.push_str(self.text.get(start..self.at)?);
        self.open.last_mut()?.has_kept = true;
        Some(())
    }

    fn comma(&mut self) -> Option<()> {
        if self.open.last()?.has_kept {
            self.out.push(',');
        }
        Some(())
    }

    fn enter(&mut self, key: Option<&str>, set: Set) -> Option<()> {
        let mark = self.out.len();
        if !self.open.is_empty() {
            self.comma()?;
        }
        self.out.push_str(key.unwrap_or_default());
        let (opening, closing) = if self.peek()? == b'{' { ('{', '}') } else { ('[', ']') };
        self.out.push(opening);
        self.at += 1;
        self.open.push(Frame { closing, mark, set, has_any: false, has_kept: false });
        Some(())
    }

    /// What lost all that it had goes, too. What had nothing goes with the includes and stays with the excludes.
    fn close(&mut self) -> Option<()> {
        self.at += 1;
        let frame = self.open.pop()?;
        let was_empty = !frame.has_any && self.mode == Mode::Exclude;
        let Some(parent) = self.open.last_mut() else {
            self.out.push(frame.closing);
            return Some(());
        };
        if frame.has_kept || was_empty {
            self.out.push(frame.closing);
            parent.has_kept = true;
        } else {
            self.out.truncate(frame.mark);
        }
        // An element shares the set of its array.
        if parent.set != frame.set {
            self.steps.leave(&frame.set);
        }
        Some(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Goes over a string, from its first quote to behind its last.
    fn string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += text::plain_len(self.bytes.get(self.at..)?);
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(())
    }

    /// Goes over one value. Its brackets pair: the text was checked.
    fn value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => self.string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                    self.at += 1;
                    continue;
                }
                _ => self.word(),
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Goes over a number or a literal.
    fn word(&mut self) {
        while !matches!(
            self.peek(),
            None | Some(
                b',' | b':' | b'}' | b']' | b'{' | b'[' | b'"' | b' ' | b'\t' | b'\n' | b'\r'
            )
        ) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use serde_json::{Map, Value};

    use super::*;
    use crate::json::check as check_json;

    // Texts and tables are answers of Elasticsearch 8.19.21 without and with the parameter, the longest left out;
    // only numbers that change by the request were made the same.
    const BULK: &str = r#"{"errors":true,"took":7,"items":[{"index":{"_index":"lab2","_id":"1","_version":7,"result":"updated","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":7,"_primary_term":1,"status":200}},{"create":{"_index":"lab2","_id":"2","status":400,"error":{"type":"document_parsing_exception","reason":"[1:6] failed to parse field [n]","caused_by":{"type":"number_format_exception","reason":"For input string: \"x\""}}}},{"delete":{"_index":"lab2","_id":"3","_version":7,"result":"not_found","_shards":{"total":2,"successful":1,"failed":0},"_seq_no":7,"_primary_term":1,"status":404}}]}"#;
    const NAMES: &str = r#"{"_source":{"a":{"b":1,"":2},"a.b":{"c":3},".lead":4,"x\\y":5,"*":6,"é":7,"":{"q":8},"a..":9}}"#;
    const EMPTY: &str = r#"{"_source":{"a":{},"b":[],"c":[{}],"k":[{"x":1},{"y":2},3,null,[1,{"x":1}],{}],"m":{"x":{"y":1}},"n":[{"x":1}]}}"#;

    fn filter(value: &str) -> Filter {
        Filter::parse(value).unwrap().unwrap()
    }

    fn apply(value: &str, json: &str) -> String {
        Filter::parse(value).unwrap().map_or_else(|| json.to_owned(), |it| it.apply(json))
    }

    #[track_caller]
    fn check(json: &str, cases: &[(&str, &str)]) {
        for (value, expected) in cases {
            assert_eq!(apply(value, json), *expected, "{value}");
        }
    }

    #[test]
    fn answers_to_bulk_requests() {
        check(
            BULK,
            &[
                (
                    r"errors,items.*.error,items.*.status",
                    r#"{"errors":true,"items":[{"index":{"status":200}},{"create":{"status":400,"error":{"type":"document_parsing_exception","reason":"[1:6] failed to parse field [n]","caused_by":{"type":"number_format_exception","reason":"For input string: \"x\""}}}},{"delete":{"status":404}}]}"#,
                ),
                (r"took,errors", r#"{"errors":true,"took":7}"#),
                (r" errors , took ", r#"{"errors":true,"took":7}"#),
                (r"took,-took", r#"{}"#),
                (r"-items", r#"{"errors":true,"took":7}"#),
                (r"-took,-errors,-items", r#"{}"#),
                (
                    r"items.create",
                    r#"{"items":[{"create":{"_index":"lab2","_id":"2","status":400,"error":{"type":"document_parsing_exception","reason":"[1:6] failed to parse field [n]","caused_by":{"type":"number_format_exception","reason":"For input string: \"x\""}}}}]}"#,
                ),
                (
                    r"items.*.*.reason",
                    r#"{"items":[{"create":{"error":{"reason":"[1:6] failed to parse field [n]"}}}]}"#,
                ),
                (
                    r"items.*.error.*",
                    r#"{"items":[{"create":{"error":{"type":"document_parsing_exception","reason":"[1:6] failed to parse field [n]","caused_by":{"type":"number_format_exception","reason":"For input string: \"x\""}}}}]}"#,
                ),
                (
                    r"items.*.error.caused_by.type",
                    r#"{"items":[{"create":{"error":{"caused_by":{"type":"number_format_exception"}}}}]}"#,
                ),
                (
                    r"**.status",
                    r#"{"items":[{"index":{"status":200}},{"create":{"status":400}},{"delete":{"status":404}}]}"#,
                ),
                (
                    r"**.type",
                    r#"{"items":[{"create":{"error":{"type":"document_parsing_exception","caused_by":{"type":"number_format_exception"}}}}]}"#,
                ),
                (
                    r"items.*.s*",
                    r#"{"items":[{"index":{"status":200}},{"create":{"status":400}},{"delete":{"status":404}}]}"#,
                ),
                (
                    r"*.*._*",
                    r#"{"items":[{"index":{"_index":"lab2","_id":"1","_version":7,"_shards":{"total":2,"successful":1,"failed":0},"_seq_no":7,"_primary_term":1}},{"create":{"_index":"lab2","_id":"2"}},{"delete":{"_index":"lab2","_id":"3","_version":7,"_shards":{"total":2,"successful":1,"failed":0},"_seq_no":7,"_primary_term":1}}]}"#,
                ),
                (r"e**s", r#"{"errors":true}"#),
                (r"nope", r#"{}"#),
                (r"nope,errors,nope", r#"{"errors":true}"#),
                (r"errors.x", r#"{}"#),
                (r"errors.*", r#"{}"#),
                (r"items.index.status.x", r#"{}"#),
                (r"items.0", r#"{}"#),
                (r"ERRORS", r#"{}"#),
                (r"+errors", r#"{}"#),
                (r"errors;took", r#"{}"#),
                (r"--errors", BULK),
                (r"-,errors", r#"{"errors":true}"#),
                (
                    r"items.*.status,-items.delete",
                    r#"{"items":[{"index":{"status":200}},{"create":{"status":400}}]}"#,
                ),
                (r"-items.*.*", r#"{"errors":true,"took":7}"#),
                (
                    r"-items.*.status.x,-took,-items.*.e*,-items.*._*",
                    r#"{"errors":true,"items":[{"index":{"result":"updated","status":200}},{"create":{"status":400}},{"delete":{"result":"not_found","status":404}}]}"#,
                ),
                (
                    r"items.create.error,items.create",
                    r#"{"items":[{"create":{"_index":"lab2","_id":"2","status":400,"error":{"type":"document_parsing_exception","reason":"[1:6] failed to parse field [n]","caused_by":{"type":"number_format_exception","reason":"For input string: \"x\""}}}}]}"#,
                ),
                (r"took,-**.**", r#"{"took":7}"#),
            ],
        );
    }

    #[test]
    fn names_with_dots_backslashes_and_stars() {
        check(
            NAMES,
            &[
                (r"_source.a", r#"{"_source":{"a":{"b":1,"":2}}}"#),
                (r"_source.a.", r#"{"_source":{"a":{"":2}}}"#),
                (r"_source.a.b", r#"{"_source":{"a":{"b":1}}}"#),
                (r"_source.a\.b", r#"{"_source":{"a.b":{"c":3}}}"#),
                (r"_source.a\.b.c", r#"{"_source":{"a.b":{"c":3}}}"#),
                (r"_source.a\.*", r#"{"_source":{"a.b":{"c":3},"a..":9}}"#),
                (r"_source.a..", r#"{}"#),
                (r"_source.a\..", r#"{}"#),
                (r"_source.a\.\.", r#"{"_source":{"a..":9}}"#),
                (r"_source..lead", r#"{"_source":{".lead":4}}"#),
                (r"_source.\.lead", r#"{"_source":{".lead":4}}"#),
                (r"_source.x\y", r#"{"_source":{"x\\y":5}}"#),
                (r"_source.x\\y", r#"{}"#),
                (r"_source.a\.\x", r#"{}"#),
                (r"_source.a\.b\\", r#"{}"#),
                (r"_source.a\xb\.c", r#"{}"#),
                (r"_source.*", NAMES),
                (r"_source.**", NAMES),
                (r"_source.*.*", r#"{"_source":{"a":{"b":1,"":2},"a.b":{"c":3},"":{"q":8}}}"#),
                (r"_source..", r#"{}"#),
                (r"_source.", r#"{"_source":{"":{"q":8}}}"#),
                (r"_source.é", r#"{"_source":{"é":7}}"#),
                (r"_source. é", r#"{}"#),
                (r"_source.é ", r#"{"_source":{"é":7}}"#),
                (r"**.b", r#"{"_source":{"a":{"b":1}}}"#),
                (r"**.q", r#"{"_source":{"":{"q":8}}}"#),
                (r"_source.**.c", r#"{"_source":{"a.b":{"c":3}}}"#),
                (r"_source.*e*d", r#"{"_source":{".lead":4}}"#),
                (r"_source.*a*.*b*", r#"{"_source":{"a":{"b":1}}}"#),
                (r"_source,-_source.*a*", r#"{"_source":{"x\\y":5,"*":6,"é":7,"":{"q":8}}}"#),
                (r"_source.**.**.b", r#"{}"#),
                (
                    r"_source,-_source.a.b,-_source.a.",
                    r#"{"_source":{"a.b":{"c":3},".lead":4,"x\\y":5,"*":6,"é":7,"":{"q":8},"a..":9}}"#,
                ),
                (r"._source", r#"{}"#),
            ],
        );
    }

    #[test]
    fn only_a_dot_is_escaped() {
        let json = r#"{"_source":{"a.\\x":1,"a\\.b":2,"a..b":3,"a.b\\":4,"a\\":{"b":5},"a\\..b":6,"\\.a":7,".a":8,"\\":9,"a.":{"b":10},"a.\\":11}}"#;
        check(
            json,
            &[
                (r"_source.a\.\x", r#"{"_source":{"a.\\x":1}}"#),
                (r"_source.a\\.b", r#"{"_source":{"a\\.b":2}}"#),
                (r"_source.a\.b\\", r#"{}"#),
                (r"_source.a\.b\", r#"{"_source":{"a.b\\":4}}"#),
                (r"_source.a\..b", r#"{"_source":{"a.":{"b":10}}}"#),
                (r"_source.a\.\.b", r#"{"_source":{"a..b":3}}"#),
                (r"_source.\.a", r#"{"_source":{".a":8}}"#),
                (r"_source.\\.a", r#"{"_source":{"\\.a":7}}"#),
                (r"_source.\", r#"{"_source":{"\\":9}}"#),
                (r"_source.\.", r#"{}"#),
                (r"_source.a\.\*", r#"{"_source":{"a.\\x":1,"a.\\":11}}"#),
                (r"_source.a\\..b", r#"{}"#),
                (r"_source.a\.\\", r#"{}"#),
            ],
        );
    }

    #[test]
    fn what_is_empty_before_and_after() {
        check(
            EMPTY,
            &[
                (r"_source", EMPTY),
                (r"_source.*", EMPTY),
                (
                    r"_source.*.*",
                    r#"{"_source":{"k":[{"x":1},{"y":2},[{"x":1}]],"m":{"x":{"y":1}},"n":[{"x":1}]}}"#,
                ),
                (r"_source.a", r#"{"_source":{"a":{}}}"#),
                (r"_source.b", r#"{"_source":{"b":[]}}"#),
                (r"_source.a.*", r#"{}"#),
                (r"_source.c", r#"{"_source":{"c":[{}]}}"#),
                (r"_source.c.*", r#"{}"#),
                (r"_source.k.x", r#"{"_source":{"k":[{"x":1},[{"x":1}]]}}"#),
                (r"_source.k.*", r#"{"_source":{"k":[{"x":1},{"y":2},[{"x":1}]]}}"#),
                (
                    r"_source.**.x",
                    r#"{"_source":{"k":[{"x":1},[{"x":1}]],"m":{"x":{"y":1}},"n":[{"x":1}]}}"#,
                ),
                (
                    r"_source,-_source.k.x",
                    r#"{"_source":{"a":{},"b":[],"c":[{}],"k":[{"y":2},3,null,[1],{}],"m":{"x":{"y":1}},"n":[{"x":1}]}}"#,
                ),
                (
                    r"_source,-**.x",
                    r#"{"_source":{"a":{},"b":[],"c":[{}],"k":[{"y":2},3,null,[1],{}]}}"#,
                ),
                (
                    r"_source,-**.y",
                    r#"{"_source":{"a":{},"b":[],"c":[{}],"k":[{"x":1},3,null,[1,{"x":1}],{}],"n":[{"x":1}]}}"#,
                ),
                (
                    r"_source,-_source.*.*",
                    r#"{"_source":{"a":{},"b":[],"c":[{}],"k":[3,null,[1],{}]}}"#,
                ),
                (r"_source,-_source.a.q", EMPTY),
                (
                    r"_source,-_source.m.x.y",
                    r#"{"_source":{"a":{},"b":[],"c":[{}],"k":[{"x":1},{"y":2},3,null,[1,{"x":1}],{}],"n":[{"x":1}]}}"#,
                ),
                (
                    r"_source,-_source.n.x",
                    r#"{"_source":{"a":{},"b":[],"c":[{}],"k":[{"x":1},{"y":2},3,null,[1,{"x":1}],{}],"m":{"x":{"y":1}}}}"#,
                ),
                (r"_source.a,-_source.a", r#"{}"#),
                (r"_source.k.x,-**.x", r#"{}"#),
                (r"_source,-_source.q", EMPTY),
                (r"_source,-_source.**", r#"{}"#),
            ],
        );
    }

    #[test]
    fn what_filters_nothing() {
        for value in ["", ",", " ,\t, \n", "-", "- ,-"] {
            assert!(Filter::parse(value).unwrap().is_none(), "{value:?}");
        }
        for value in ["**", "*", "-nope", "-errors.x", "**,nope"] {
            assert_eq!(apply(value, BULK), BULK, "{value}");
        }
    }

    #[test]
    fn names_are_compared_decoded_and_copied_as_written() {
        let json = r#"{"\u0065rrors":true,"a\"b":1,"\ud83d":2}"#;
        assert_eq!(apply("errors", json), r#"{"\u0065rrors":true}"#);
        assert_eq!(apply("a\"b", json), r#"{"a\"b":1}"#);
        assert_eq!(apply("*d83d", json), r#"{"\ud83d":2}"#, "half a pair stands for itself");
    }

    #[test]
    fn stars_inside_names() {
        for (pattern, name, expected) in [
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*ab*ab", "abab", true),
            ("*ab*ab", "ab", false),
            ("*ab*ab*", "xabxxabx", true),
            ("a*bc*c", "abcc", true),
            ("a*bc*c", "abc", false),
            ("*aab", "aaab", true),
            ("***", "", true),
            ("a**b", "ab", true),
            ("*é*", "né1", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_refused() {
        let long = |n: usize| vec!["a"; n].join(".");
        assert!(Filter::parse(&long(501)).is_ok());
        let too_deep = |rest: &str| Some(FilterError::TooDeep { rest: rest.to_owned() });
        assert_eq!(Filter::parse(&long(502)).err(), too_deep("a"));
        let deeper = Filter::parse(&format!("took,-{}.b.c", long(500))).err();
        assert_eq!(deeper, too_deep("c"), "excludes are counted alike");
        assert_eq!(
            deeper.map(|it| it.to_string()).as_deref(),
            Some("Filter exceeds maximum depth at [c]"),
        );
        assert!(Filter::parse(&"a".repeat(FILTER_BYTES_MAX)).is_ok());
        let bytes = FILTER_BYTES_MAX + 1;
        assert_eq!(Filter::parse(&"a".repeat(bytes)).err(), Some(FilterError::TooLong { bytes }));
    }

    #[test]
    fn other_roots() {
        assert_eq!(apply("a", r#"[{"a":1,"b":2},{"b":3}]"#), r#"[{"a":1}]"#);
        assert_eq!(apply("a", "[1]"), "[]");
        assert_eq!(apply("-a", "[1]"), "[1]");
        assert_eq!(apply("a", "1"), "1");
        for broken in ["", "{", r#"{"a"#, r#"{"a":"#, r#"{"a":{"b":1"#, "\\"] {
            assert_eq!(apply("a.b,-c.d", broken), broken);
        }
    }

    /// Keeping a node twice in a set would double the sets with each level.
    #[test]
    fn hostile_paths_cost_the_sum_of_their_parts() {
        let depth = 400;
        let json = r#"{"a":"#.repeat(depth) + "1" + &"}".repeat(depth);
        assert_eq!(apply(&vec!["**.*"; 240].join("."), &json), "{}");
        assert_eq!(apply(&vec!["**"; 450].join("."), &json), "{}");
        assert_eq!(apply(&vec!["**"; 399].join("."), &json), json);
        let wide = format!("[{}]", vec![json.as_str(); 20].join(","));
        let paths = vec!["**.**.*.a.**.b"; 250].join(",");
        assert_eq!(apply(&paths, &format!(r#"{{"x":{wide}}}"#)), "{}");
    }

    #[test]
    fn depth_costs_no_stack() {
        let depth = 100_000;
        let json = r#"{"a":["#.repeat(depth) + "1" + &"]}".repeat(depth);
        assert_eq!(apply("**.b,c", &json), "{}");
        assert_eq!(apply("-**.b", &json), json);
        assert_eq!(apply("a", &json), json);
    }

    /// More names than are remembered, so that sets come and go beside those that stay.
    #[test]
    fn what_is_remembered_is_bounded_and_changes_nothing() {
        let inner =
            |n: usize| format!(r#"{{"k{n}":{{"x":1,"y":{{"z":[{{"x":2}},{n}]}}}},"z":{n}}}"#);
        let members: Vec<_> = (0..STEPS_MAX).map(|n| format!(r#""m{n}":{}"#, inner(n))).collect();
        let json = format!("{{{}}}", members.join(","));
        let many: Vec<_> = (0..LIGHT_NODES_MAX).map(|n| format!("nope{n}")).collect();
        for paths in [vec!["**.x"], vec!["*.*.y.z.x"], vec!["*.z", "**.y"], vec!["m*.k1*.**.x"]] {
            for sign in ["", "-"] {
                let signed = |paths: &[&str]| written(paths.iter().map(|it| vec![*it]), sign);
                let more: Vec<_> = many.iter().map(String::as_str).chain(paths.clone()).collect();
                let (light, heavy) = (signed(&paths), signed(&more));
                assert_eq!(apply(&light, &json), apply(&heavy, &json), "{light}");
            }
        }
        let tree = filter(&format!("**.x,{}", many.join(","))).includes.unwrap();
        let mut walk = Walk::new(&tree, Mode::Include, &json);
        assert!(walk.steps.remembers);
        walk.walk().unwrap();
        assert_eq!(walk.steps.known.len(), STEPS_MAX);
        assert_eq!(walk.steps.sets.len(), walk.steps.kept, "sets of closed objects are given up");
    }

    #[test]
    fn equal_items_are_looked_up_once() {
        let items = vec![r#"{"index":{"status":201,"_id":"1"}}"#; 100].join(",");
        let json = format!(r#"{{"items":[{items}]}}"#);
        let tree = filter("items.*.s*t*").includes.unwrap();
        let mut walk = Walk::new(&tree, Mode::Include, &json);
        walk.walk().unwrap();
        assert_eq!(walk.steps.count, 4, "items, index, status, _id");
        assert_eq!(walk.out, json.replace(r#","_id":"1""#, ""));
    }

    fn values() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            r#"[a{}\[\],:"\\é]{0,4}"#.prop_map(Value::from),
        ];
        scalar.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![vec(inner.clone(), 0..4).prop_map(Value::from), object(inner)]
        })
    }

    fn object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
        let key = select(vec!["a", "b", "ab", "ba", "a.b", "", "\"", "\\", "é\tb"]);
        vec((key.prop_map(str::to_owned), inner), 0..5)
            .prop_map(|pairs| pairs.into_iter().collect::<Map<_, _>>().into())
    }

    fn paths() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
        let name = select(vec!["a", "b", "ab", "*", "**", "a*", "*b", "*a*", "é\tb", "\""]);
        vec(vec(name, 1..4), 1..4)
    }

    fn written<'a>(paths: impl IntoIterator<Item = Vec<&'a str>>, sign: &str) -> String {
        let paths = paths.into_iter().map(|path| format!("{sign}{}", path.join(".")));
        paths.collect::<Vec<_>>().join(",")
    }

    /// The same once more, over trees and with plain lists of paths.
    fn plainly(value: &Value, paths: &[Vec<&str>], mode: Mode) -> Option<Value> {
        let includes = mode == Mode::Include;
        match value {
            Value::Array(all) => {
                let left: Vec<_> = all.iter().filter_map(|it| plainly(it, paths, mode)).collect();
                (!left.is_empty() || all.is_empty() && !includes).then(|| left.into())
            }
            Value::Object(all) => {
                let left: Map<_, _> = all
                    .iter()
                    .filter_map(|(name, value)| {
                        let mut next = Vec::new();
                        for path in paths {
                            let (first, rest) = path.split_first().unwrap();
                            if Glob::new(first).matches(name)
                                && (first.contains('*') || first == name)
                            {
                                next.push(rest.to_vec());
                            }
                            // As an inner name `**` stands for one level or more, as the last for all.
                            if *first == "**" {
                                next.push(path.clone());
                            }
                        }
                        let left = match next.iter().any(Vec::is_empty) {
                            ends if ends || next.is_empty() => {
                                (ends == includes).then(|| value.clone())
                            }
                            _ => plainly(value, &next, mode),
                        };
                        Some((name.clone(), left?))
                    })
                    .collect();
                (!left.is_empty() || all.is_empty() && !includes).then(|| left.into())
            }
            scalar => (!includes).then(|| scalar.clone()),
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_plain_way(
            value in object(values()), includes in paths(), excludes in paths(), kinds in 0..3
        ) {
            let (mut parameter, mut expected) = (Vec::new(), value.clone());
            let empty = || Value::Object(Map::new());
            if kinds != 1 {
                parameter.push(written(includes.clone(), ""));
                expected = plainly(&expected, &includes, Mode::Include).unwrap_or_else(empty);
            }
            if kinds != 0 {
                parameter.push(written(excludes.clone(), "-"));
                expected = plainly(&expected, &excludes, Mode::Exclude).unwrap_or_else(empty);
            }
            let mut parameter = parameter.join(",");
            prop_assert_eq!(apply(&parameter, &value.to_string()), expected.to_string());
            for n in 0..LIGHT_NODES_MAX {
                parameter += &format!(",{}nope{n}", if kinds == 1 { "-" } else { "" });
            }
            prop_assert_eq!(apply(&parameter, &value.to_string()), expected.to_string(), "remembered");
        }

        #[test]
        fn gives_json(value in values(), parameter in r#"[-ab*.,\\ é"]{0,20}"#, blanks in any::<bool>()) {
            let json = if blanks {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let out = apply(&parameter, &json);
            prop_assert!(check_json(&out, 512).is_ok(), "{}", out);
            prop_assert!(out.len() <= json.len());
            prop_assert_eq!(apply(&parameter, &out).len(), out.len(), "twice is once");
        }

        #[test]
        fn two_stars_keep_all(value in object(values())) {
            let json = value.to_string();
            prop_assert_eq!(apply("**", &json), json);
        }

        #[test]
        fn any_bytes_stop_nothing(text in any::<String>(), parameter in any::<String>()) {
            if let Ok(Some(filter)) = Filter::parse(&parameter) {
                prop_assert!(filter.apply(&text).len() <= 4 * text.len());
            }
            apply("a.b,-a.c", &format!("{{\"a\":{text}"));
        }
    }
}
