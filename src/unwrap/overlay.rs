use std::ops::Range;

use crate::json::{self, Kind, Member};

/// Fields to put into a document, at paths of object keys. They are written into a copy of the document's own
/// text: what no path touches keeps its bytes and its place.
#[derive(Debug)]
pub(super) struct Overlay {
    /// The members that were put in, one after the other: `"key":value`.
    text: String,
    /// The paths as a tree. The first node is the root; each other one stands behind its parent.
    nodes: Vec<Node>,
}

/// Where the root stands among the nodes. It is below none, so that as a child it means that there is none.
const ROOT: usize = 0;

/// A part of a path.
#[derive(Debug, Default)]
struct Node {
    key: &'static str,
    holds: Holds,
    /// A member in [`Overlay::text`].
    member: Range<usize>,
    /// What the document has here stays.
    yields: bool,
    /// The document took it in.
    is_done: bool,
    /// The nodes below, in the order in which they came.
    first: usize,
    last: usize,
    /// The bits of their keys: a key whose bit is missing is none of theirs.
    bits: u64,
    /// The next node of the same parent.
    next: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Holds {
    #[default]
    Nodes,
    Member,
    /// Nothing: what the document has here goes.
    Nothing,
}

/// One of 64 bits for a key.
fn bit(key: &str) -> u64 {
    let byte = |it: Option<&u8>| it.map_or(0, |it| usize::from(*it));
    let bytes = key.as_bytes();
    1 << ((byte(bytes.first()) + 5 * byte(bytes.last()) + 11 * bytes.len()) % 64)
}

impl Default for Overlay {
    fn default() -> Self {
        Self { text: String::new(), nodes: vec![Node::default()] }
    }
}

impl Overlay {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.nodes.clear();
        self.nodes.push(Node::default());
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
        let member = start..self.text.len();
        self.put(path, Node { key, holds: Holds::Member, member, yields, ..Node::default() });
    }

    /// Takes away what the document has at `path`.
    pub(super) fn remove(&mut self, path: &'static [&'static str]) {
        let Some(key) = path.last() else { return };
        self.put(path, Node { key, holds: Holds::Nothing, ..Node::default() });
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

    /// Puts a node at the end of `path`, the last part of which is its key.
    fn put(&mut self, path: &'static [&'static str], node: Node) {
        let Some((_, before)) = path.split_last() else { return };
        let mut parent = ROOT;
        for key in before {
            let bit = bit(key);
            parent = match self.called(parent, key, bit) {
                ROOT => self.add(parent, bit, Node { key, ..Node::default() }),
                known => known,
            };
        }
        let bit = bit(node.key);
        if self.called(parent, node.key, bit) == ROOT {
            self.add(parent, bit, node);
        }
    }

    fn add(&mut self, parent: usize, bit: u64, node: Node) -> usize {
        let new = self.nodes.len();
        self.nodes.push(node);
        let Some(parent) = self.nodes.get_mut(parent) else { return new };
        parent.bits |= bit;
        let before = std::mem::replace(&mut parent.last, new);
        if before == ROOT {
            parent.first = new;
        } else if let Some(before) = self.nodes.get_mut(before) {
            before.next = new;
        }
        new
    }

    /// The node below `parent` with this key, or [`ROOT`].
    #[inline]
    fn called(&self, parent: usize, key: &str, bit: u64) -> usize {
        let Some(node) = self.nodes.get(parent).filter(|it| it.bits & bit != 0) else {
            return ROOT;
        };
        // Paths that begin alike mostly come together.
        let same = |it: &Node| std::ptr::eq(it.key, key) || it.key == key;
        if self.nodes.get(node.last).is_some_and(same) {
            return node.last;
        }
        self.below(parent).find(|(_, it)| same(it)).map_or(ROOT, |(place, _)| place)
    }

    /// The node below `parent` that a member of the document belongs to, or [`ROOT`].
    fn place_of(&self, parent: usize, member: &Member<'_>) -> usize {
        let bits = self.nodes.get(parent).map_or(0, |it| it.bits);
        if bits & bit(member.raw_key) == 0 && !json::has_escapes(member.raw_key) {
            return ROOT;
        }
        self.below(parent).find(|(_, it)| member.is(it.key)).map_or(ROOT, |(place, _)| place)
    }

    fn below(&self, parent: usize) -> impl Iterator<Item = (usize, &Node)> {
        let mut next = self.nodes.get(parent).map_or(ROOT, |it| it.first);
        std::iter::from_fn(move || {
            let place = next;
            let node = self.nodes.get(place).filter(|_| place != ROOT)?;
            next = node.next;
            Some((place, node))
        })
    }

    /// Appends to `out` the object with these members, the overlay put in.
    pub(super) fn merge<'d>(
        &mut self,
        members: impl IntoIterator<Item = Member<'d>>,
        out: &mut String,
    ) {
        self.merge_level(&mut members.into_iter(), ROOT, out);
    }

    fn merge_level(
        &mut self,
        members: &mut dyn Iterator<Item = Member<'_>>,
        parent: usize,
        out: &mut String,
    ) {
        out.push('{');
        let mut comma = Comma(false);
        for member in members {
            let place = self.place_of(parent, &member);
            let Some(node) = self.nodes.get(place).filter(|_| place != ROOT) else {
                comma.put(out);
                push_member(out, member.raw_key, member.value);
                continue;
            };
            let goes_deeper =
                node.holds == Holds::Nodes && json::kind(member.value) == Kind::Object;
            if !goes_deeper && self.yields(place, node) {
                comma.put(out);
                push_member(out, member.raw_key, member.value);
                self.is_done(place);
            } else if goes_deeper && !node.is_done {
                comma.put(out);
                push_key(out, member.raw_key);
                self.merge_level(&mut json::members(member.value), place, out);
                self.is_done(place);
            }
            // What is left is replaced: it is written below, at the end.
        }
        self.write_level(parent, &mut comma, out);
        out.push('}');
    }

    fn is_done(&mut self, place: usize) {
        if let Some(node) = self.nodes.get_mut(place) {
            node.is_done = true;
        }
    }

    /// Whether the document's value stays in the place of all that is here.
    fn yields(&self, place: usize, node: &Node) -> bool {
        match node.holds {
            Holds::Nodes => self.below(place).all(|(place, node)| self.yields(place, node)),
            Holds::Member | Holds::Nothing => node.yields,
        }
    }

    /// Whether there is something to write.
    fn writes(&self, place: usize, node: &Node) -> bool {
        match node.holds {
            Holds::Member => true,
            Holds::Nothing => false,
            Holds::Nodes => self.below(place).any(|(place, node)| self.writes(place, node)),
        }
    }

    /// Writes the members that no part of the document took in.
    fn write_level(&self, parent: usize, comma: &mut Comma, out: &mut String) {
        for (place, node) in self.below(parent).filter(|(_, it)| !it.is_done) {
            match node.holds {
                Holds::Member => {
                    comma.put(out);
                    out.push_str(self.text.get(node.member.clone()).unwrap_or_default());
                }
                Holds::Nodes if self.writes(place, node) => {
                    comma.put(out);
                    push_key(out, node.key);
                    out.push('{');
                    self.write_level(place, &mut Comma(false), out);
                    out.push('}');
                }
                Holds::Nodes | Holds::Nothing => (),
            }
        }
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
