use std::ops::Range;

use crate::json::{self, Kind, Member};

/// Fields to put into a document, at paths of object keys. They are written into a copy of the document's own
/// text: what no path touches keeps its bytes and its place.
#[derive(Debug, Default)]
pub(super) struct Overlay {
    values: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    path: &'static [&'static str],
    value: Range<usize>,
    yields: bool,
}

/// A set of entries: one bit each.
type Mask = u128;

impl Overlay {
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.entries.clear();
    }

    /// Puts a value at `path`; `write` appends its JSON text. What the document has there is replaced.
    pub(super) fn write(&mut self, path: &'static [&'static str], write: impl FnOnce(&mut String)) {
        let start = self.values.len();
        write(&mut self.values);
        self.entries.push(Entry { path, value: start..self.values.len(), yields: false });
        debug_assert!(self.entries.len() <= Mask::BITS as usize, "more paths than a mask has bits");
    }

    /// Takes away what the document has at `path`.
    pub(super) fn remove(&mut self, path: &'static [&'static str]) {
        self.write(path, |_| ());
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
        self.text(path, value);
        if let Some(entry) = self.entries.last_mut() {
            entry.yields = true;
        }
    }

    /// An array of strings.
    pub(super) fn texts<'t>(
        &mut self,
        path: &'static [&'static str],
        values: impl IntoIterator<Item = &'t str>,
    ) {
        self.write(path, |out| push_strings(out, values));
    }

    /// Appends to `out` the object with these members, the overlay put in.
    pub(super) fn merge<'d>(
        &self,
        members: impl IntoIterator<Item = Member<'d>>,
        out: &mut String,
    ) {
        let all = match self.entries.len() {
            0 => 0,
            len => Mask::MAX >> (Mask::BITS as usize - len.min(Mask::BITS as usize)),
        };
        self.merge_level(&mut members.into_iter(), 0, all, out);
    }

    fn merge_level(
        &self,
        members: &mut dyn Iterator<Item = Member<'_>>,
        depth: usize,
        all: Mask,
        out: &mut String,
    ) {
        out.push('{');
        let mut comma = Comma(false);
        let mut written: Mask = 0;
        for member in members {
            let here = self.under(all, depth, |key| member.is(key));
            let leaf = self.select(here, |it| it.path.len() == depth + 1);
            let yields = here & self.select(here, |it| it.yields);
            if here == 0
                || (yields == here && (leaf != 0 || json::kind(member.value) != Kind::Object))
            {
                comma.put(out);
                push_member(out, member.raw_key, member.value);
                written |= here;
            } else if leaf == 0 && json::kind(member.value) == Kind::Object && written & here == 0 {
                comma.put(out);
                out.push('"');
                out.push_str(member.raw_key);
                out.push_str("\":");
                self.merge_level(&mut json::members(member.value), depth + 1, here, out);
                written |= here;
            }
            // What is left is replaced: it is written below, at the end.
        }
        self.write_level(depth, all & !written, &mut comma, out);
        out.push('}');
    }

    /// Writes the members that no part of the document took in.
    fn write_level(&self, depth: usize, left: Mask, comma: &mut Comma, out: &mut String) {
        // What was only taken away.
        let mut left = left & !self.select(left, |it| it.value.is_empty());
        while left != 0 {
            let first = left.trailing_zeros() as usize;
            let Some(entry) = self.entries.get(first) else { break };
            let Some(key) = entry.path.get(depth) else { break };
            comma.put(out);
            out.push('"');
            out.push_str(key);
            out.push_str("\":");
            let group = self.under(left, depth, |it| it == *key);
            if entry.path.len() == depth + 1 {
                out.push_str(self.values.get(entry.value.clone()).unwrap_or_default());
            } else {
                out.push('{');
                self.write_level(depth + 1, group, &mut Comma(false), out);
                out.push('}');
            }
            left &= !group;
        }
    }

    fn under(&self, of: Mask, depth: usize, key: impl Fn(&str) -> bool) -> Mask {
        // Paths that begin alike mostly stand together, so that one comparison does for all of them.
        let mut last: Option<(&str, bool)> = None;
        let mut left = of;
        let mut selected = 0;
        while left != 0 {
            let index = left.trailing_zeros();
            let bit = 1 << index;
            left &= !bit;
            let Some(name) = self.entries.get(index as usize).and_then(|it| it.path.get(depth))
            else {
                continue;
            };
            let fits = match last {
                Some((same, fits)) if std::ptr::eq(same, *name) => fits,
                _ => key(name),
            };
            last = Some((name, fits));
            if fits {
                selected |= bit;
            }
        }
        selected
    }

    fn select(&self, of: Mask, wanted: impl Fn(&Entry) -> bool) -> Mask {
        let mut left = of;
        let mut selected = 0;
        while left != 0 {
            let index = left.trailing_zeros();
            let bit = 1 << index;
            if self.entries.get(index as usize).is_some_and(&wanted) {
                selected |= bit;
            }
            left &= !bit;
        }
        selected
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
    out.push('"');
    out.push_str(raw_key);
    out.push_str("\":");
    out.push_str(value);
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
