//! Members whose keys are paths: `"aws.cloudwatch.log_group": …`, as Elastic's Firehose endpoint writes them.

use std::collections::{HashMap, hash_map::Entry};

use crate::json::{self, Kind, Member};

/// Most parts of a key that is taken apart.
const PARTS_MAX: usize = 16;

enum Node<'a> {
    Value(&'a str),
    Object(Object<'a>),
}

/// An object that is being put together.
#[derive(Default)]
struct Object<'a> {
    members: Vec<(&'a str, Node<'a>)>,
    /// Where each key stands: a document may have very many of them.
    places: HashMap<&'a str, usize>,
}

impl<'a> Object<'a> {
    /// The member called `key`; `None` after it was made, of `new`.
    fn at(&mut self, key: &'a str, new: impl FnOnce() -> Node<'a>) -> Option<&mut Node<'a>> {
        match self.places.entry(key) {
            Entry::Occupied(place) => self.members.get_mut(*place.get()).map(|(_, node)| node),
            Entry::Vacant(place) => {
                place.insert(self.members.len());
                self.members.push((key, new()));
                None
            }
        }
    }
}

/// Appends the object of these members to `out`, with every key that is a path made an object. What cannot be put
/// together stays as it is.
pub(super) fn expand(members: &[Member<'_>], out: &mut String) {
    let mut root = Object::default();
    for member in members {
        let parts: Vec<_> = member.raw_key.split('.').collect();
        let is_path = parts.len() > 1
            && parts.len() <= PARTS_MAX
            && parts.iter().all(|it| !it.is_empty())
            && !member.raw_key.contains('\\');
        let path = if is_path { parts.as_slice() } else { std::slice::from_ref(&member.raw_key) };
        if !put(&mut root, path, member.value) {
            root.members.push((member.raw_key, Node::Value(member.value)));
        }
    }
    write(&root, out);
}

/// False if something that is no object stands in the way.
fn put<'a>(object: &mut Object<'a>, path: &[&'a str], value: &'a str) -> bool {
    let Some((key, rest)) = path.split_first() else { return false };
    let new = || {
        let mut node = Node::Value(value);
        for key in rest.iter().rev() {
            let mut object = Object::default();
            object.at(key, || node);
            node = Node::Object(object);
        }
        node
    };
    let Some(node) = object.at(key, new) else { return true };
    if let Node::Value(text) = node
        && json::kind(text) == Kind::Object
    {
        let mut object = Object::default();
        for member in json::members(text) {
            put(&mut object, &[member.raw_key], member.value);
        }
        *node = Node::Object(object);
    }
    match (node, rest.is_empty()) {
        (node @ Node::Value(_), true) => *node = Node::Value(value),
        (Node::Value(_), false) => return false,
        (Node::Object(inner), false) => return put(inner, rest, value),
        (Node::Object(inner), true) if json::kind(value) == Kind::Object => {
            for member in json::members(value) {
                put(inner, &[member.raw_key], member.value);
            }
        }
        (Node::Object(_), true) => return false,
    }
    true
}

fn write(object: &Object<'_>, out: &mut String) {
    out.push('{');
    for (index, (key, node)) in object.members.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push('"');
        out.push_str(key);
        out.push_str("\":");
        match node {
            Node::Value(value) => out.push_str(value),
            Node::Object(inner) => write(inner, out),
        }
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(document: &str, expected: &str) {
        let members: Vec<_> = json::members(document).collect();
        let mut out = String::new();
        expand(&members, &mut out);
        assert_eq!(out, expected);
        assert!(json::check(&out, 100).is_ok());
    }

    #[test]
    fn paths_become_objects() {
        check(
            r#"{"a.b":1,"c":2,"a.d.e":[3],"a":{"f":4,"d":{"g":5}}}"#,
            r#"{"a":{"b":1,"d":{"e":[3],"g":5},"f":4},"c":2}"#,
        );
        check(r#"{"a":{"b":1},"a.b":2}"#, r#"{"a":{"b":2}}"#);
    }

    #[test]
    fn what_does_not_fit_stays() {
        check(r#"{"a":"text","a.b":1}"#, r#"{"a":"text","a.b":1}"#);
        check(r#"{"a.b":1,"a":"text"}"#, r#"{"a":{"b":1},"a":"text"}"#);
        check(r#"{"a..b":1,".":2,"x\".y":3}"#, r#"{"a..b":1,".":2,"x\".y":3}"#);
    }
}
