use std::ops::Range;

use crate::json::{self, Kind, Member};

/// Fields to put into a document, at paths of object keys. They are written into a copy of the document's own
/// text: what no path touches keeps its bytes and its place.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    /// The members that were put in, one after the other: `"key":value`.
    text: String,
    /// The paths as a tree. Each node stands behind its parent, and those with one parent in the order in which they
    /// came.
    nodes: Vec<Node>,
    root: Children,
}

/// A part of a path.
#[derive(Debug)]
struct Node {
    key: &'static str,
    holds: Holds,
    /// What the document has here stays.
    yields: bool,
    /// The document took it in.
    is_done: bool,
    /// The next one of the same parent.
    next: Option<usize>,
}

#[derive(Debug)]
enum Holds {
    Children(Children),
    /// A member in [`Overlay::text`].
    Member(Range<usize>),
    /// Nothing: what the document has here goes.
    Nothing,
}

/// The first and the last node below another.
#[derive(Clone, Copy, Debug, Default)]
struct Children {
    first: Option<usize>,
    last: Option<usize>,
}

impl Overlay {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.nodes.clear();
        self.root = Children::default();
    }

    /// Puts a value at `path`; `write` appends its JSON text. What the document has there is replaced. Of several values
    /// at one path the first counts.
    pub(super) fn write(&mut self, path: &'static [&'static str], write: impl FnOnce(&mut String)) {
        self.member(path, false, write);
    }

    fn member(
        &mut self,
        path: &'static [&'static str],
        yields: bool,
        write: impl FnOnce(&mut String),
    ) {
        let Some(key) = path.last() else { return };
        let start = self.text.len();
        push_key(&mut self.text, key);
        write(&mut self.text);
        self.put(path, Holds::Member(start..self.text.len()), yields);
    }

    /// Takes away what the document has at `path`.
    pub(super) fn remove(&mut self, path: &'static [&'static str]) {
        self.put(path, Holds::Nothing, false);
    }

    /// A value that is JSON text already.
    pub(super) fn raw(&mut self, path: &'static [&'static str], value: &str) {
        self.write(path, |out| out.push_str(value));
    }

    /// A string.
    pub(super) fn text(&mut self, path: &'static [&'static str], value: &str) {
        self.write(path, |out| json::push_string(out, value));
    }

    /// A string, unless the document has something at `path`.
    pub(super) fn text_if_absent(&mut self, path: &'static [&'static str], value: &str) {
        self.member(path, true, |out| json::push_string(out, value));
    }

    /// An array of strings.
    pub(super) fn texts<'t>(
        &mut self,
        path: &'static [&'static str],
        values: impl IntoIterator<Item = &'t str>,
    ) {
        self.write(path, |out| push_strings(out, values));
    }

    /// Makes the node at the end of `path`.
    fn put(&mut self, path: &'static [&'static str], holds: Holds, yields: bool) {
        let Some((last, before)) = path.split_last() else { return };
        let mut parent = None;
        for key in before {
            let known = self.called(parent, key);
            let new = || Node::new(key, Holds::Children(Children::default()), false);
            parent = Some(known.unwrap_or_else(|| self.add(parent, new())));
        }
        if self.called(parent, last).is_none() {
            self.add(parent, Node::new(last, holds, yields));
        }
    }

    fn add(&mut self, parent: Option<usize>, node: Node) -> usize {
        let new = self.nodes.len();
        self.nodes.push(node);
        let mut children = self.children(parent);
        match children.last.and_then(|it| self.nodes.get_mut(it)) {
            Some(last) => last.next = Some(new),
            None => children.first = Some(new),
        }
        children.last = Some(new);
        match parent.and_then(|it| self.nodes.get_mut(it)) {
            Some(parent) => parent.holds = Holds::Children(children),
            None => self.root = children,
        }
        new
    }

    fn children(&self, parent: Option<usize>) -> Children {
        match parent.map(|it| self.nodes.get(it).map(|it| &it.holds)) {
            None => self.root,
            Some(Some(Holds::Children(children))) => *children,
            Some(_) => Children::default(),
        }
    }

    /// The node below `parent` with this key.
    fn called(&self, parent: Option<usize>, key: &str) -> Option<usize> {
        // Paths that begin alike mostly come together.
        let last = self.children(parent).last.filter(|it| self.key(*it) == key);
        last.or_else(|| self.below(parent).find(|it| self.key(*it) == key))
    }

    fn key(&self, node: usize) -> &'static str {
        self.nodes.get(node).map_or("", |it| it.key)
    }

    fn below(&self, parent: Option<usize>) -> impl Iterator<Item = usize> {
        let first = self.children(parent).first;
        std::iter::successors(first, |it| self.nodes.get(*it).and_then(|it| it.next))
    }

    /// Appends to `out` the object with these members, the overlay put in.
    pub(super) fn merge<'d>(
        &mut self,
        members: impl IntoIterator<Item = Member<'d>>,
        out: &mut String,
    ) {
        self.merge_level(&mut members.into_iter(), None, out);
    }

    fn merge_level(
        &mut self,
        members: &mut dyn Iterator<Item = Member<'_>>,
        parent: Option<usize>,
        out: &mut String,
    ) {
        out.push('{');
        let mut comma = Comma(false);
        for member in members {
            let Some(place) = self.below(parent).find(|it| member.is(self.key(*it))) else {
                comma.put(out);
                push_member(out, member.raw_key, member.value);
                continue;
            };
            let Some(node) = self.nodes.get(place) else { continue };
            let is_done = node.is_done;
            let goes_deeper = matches!(node.holds, Holds::Children(_))
                && json::kind(member.value) == Kind::Object;
            if !goes_deeper && self.yields(place) {
                comma.put(out);
                push_member(out, member.raw_key, member.value);
                self.is_done(place);
            } else if goes_deeper && !is_done {
                comma.put(out);
                push_key(out, member.raw_key);
                self.merge_level(&mut json::members(member.value), Some(place), out);
                self.is_done(place);
            }
            // What is left is replaced: it is written below, at the end.
        }
        self.write_level(parent, &mut comma, out);
        out.push('}');
    }

    fn is_done(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.is_done = true;
        }
    }

    /// Whether the document's value stays in the place of all that is here.
    fn yields(&self, node: usize) -> bool {
        match self.nodes.get(node) {
            Some(Node { holds: Holds::Children(_), .. }) => {
                self.below(Some(node)).all(|it| self.yields(it))
            }
            node => node.is_some_and(|it| it.yields),
        }
    }

    /// Whether there is something to write.
    fn writes(&self, node: usize) -> bool {
        match self.nodes.get(node).map(|it| &it.holds) {
            Some(Holds::Member(_)) => true,
            Some(Holds::Nothing) | None => false,
            Some(Holds::Children(_)) => self.below(Some(node)).any(|it| self.writes(it)),
        }
    }

    /// Writes the members that no part of the document took in.
    fn write_level(&self, parent: Option<usize>, comma: &mut Comma, out: &mut String) {
        for place in self.below(parent) {
            let Some(node) = self.nodes.get(place).filter(|it| !it.is_done) else { continue };
            match &node.holds {
                Holds::Member(member) => {
                    comma.put(out);
                    out.push_str(self.text.get(member.clone()).unwrap_or_default());
                }
                Holds::Children(_) if self.writes(place) => {
                    comma.put(out);
                    push_key(out, node.key);
                    out.push('{');
                    self.write_level(Some(place), &mut Comma(false), out);
                    out.push('}');
                }
                Holds::Children(_) | Holds::Nothing => (),
            }
        }
    }
}

impl Node {
    fn new(key: &'static str, holds: Holds, yields: bool) -> Self {
        Self { key, holds, yields, is_done: false, next: None }
    }
}

/// Writes the comma before every member but the first.
pub(super) struct Comma(pub(super) bool);

impl Comma {
    pub(super) fn put(&mut self, out: &mut String) {
        if self.0 {
            out.push(',');
        }
        self.0 = true;
    }
}

pub(super) fn push_member(out: &mut String, raw_key: &str, value: &str) {
    push_key(out, raw_key);
    out.push_str(value);
}

fn push_key(out: &mut String, raw_key: &str) {
    out.push('"');
    out.push_str(raw_key);
    out.push_str("\":");
}

pub(super) fn push_strings<'t>(out: &mut String, values: impl IntoIterator<Item = &'t str>) {
    out.push('[');
    let mut comma = Comma(false);
    for value in values {
        comma.put(out);
        json::push_string(out, value);
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(document: &str, expected: &str) {
        let mut overlay = Overlay::default();
        overlay.text(&["event", "kind"], "event");
        overlay.raw(&["event", "duration"], "5");
        overlay.text_if_absent(&["cloud", "provider"], "aws");
        overlay.texts(&["tags"], ["a\"", "b"]);
        let mut out = String::new();
        overlay.merge(json::members(document).filter(|it| !it.is("message")), &mut out);
        assert_eq!(out, expected, "{document}");
        assert!(json::check(&out, 10).is_ok());
    }

    #[test]
    fn what_no_path_touches_keeps_its_bytes() {
        check(
            r#"{ "x" : [1,  2], "message":"gone" }"#,
            r#"{"x":[1,  2],"event":{"kind":"event","duration":5},"cloud":{"provider":"aws"},"tags":["a\"","b"]}"#,
        );
    }

    #[test]
    fn objects_are_merged_and_values_replaced() {
        check(
            r#"{"event":{"id":"i","kind":"old","duration":null},"cloud":{"provider":"gcp","region":"r"},"tags":7}"#,
            r#"{"event":{"id":"i","kind":"event","duration":5},"cloud":{"provider":"gcp","region":"r"},"tags":["a\"","b"]}"#,
        );
        check(
            r#"{"cloud":"none","event":"old"}"#,
            r#"{"cloud":"none","event":{"kind":"event","duration":5},"tags":["a\"","b"]}"#,
        );
    }

    #[test]
    fn keys_in_disguise_and_twice() {
        check(
            r#"{"ev\u0065nt":{"kind":"old"},"event":{"kind":"older"},"cloud":{}}"#,
            r#"{"ev\u0065nt":{"kind":"event","duration":5},"cloud":{"provider":"aws"},"tags":["a\"","b"]}"#,
        );
    }
}
