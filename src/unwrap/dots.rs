//! Members whose keys are paths: `"aws.cloudwatch.log_group": …`, as Elastic's Firehose endpoint writes them.

use crate::json::{self, Kind, Member};

/// Most parts of a key that is taken apart.
const PARTS_MAX: usize = 16;

enum Node<'a> {
    Value(&'a str),
    Object(Vec<(&'a str, Node<'a>)>),
}

/// Appends the object of these members to `out`, with every key that is a path made an object. What cannot be put
/// together stays as it is.
pub(super) fn expand(members: &[Member<'_>], out: &mut String) {
    let mut root = Vec::with_capacity(members.len());
    for member in members {
        let parts: Vec<_> = member.raw_key.split('.').collect();
        let is_path = parts.len() > 1
            && parts.len() <= PARTS_MAX
            && parts.iter().all(|it| !it.is_empty())
            && !member.raw_key.contains('\\');
        let path = if is_path { parts.as_slice() } else { std::slice::from_ref(&member.raw_key) };
        if !put(&mut root, path, member.value) {
            root.push((member.raw_key, Node::Value(member.value)));
        }
    }
    write(&root, out);
}

/// False if something that is no object stands in the way.
fn put<'a>(object: &mut Vec<(&'a str, Node<'a>)>, path: &[&'a str], value: &'a str) -> bool {
    let Some((key, rest)) = path.split_first() else { return false };
    let place = object.iter().position(|(it, _)| it == key);
    let Some((_, node)) = place.and_then(|it| object.get_mut(it)) else {
        let mut node = Node::Value(value);
        for key in rest.iter().rev() {
            node = Node::Object(vec![(key, node)]);
        }
        object.push((key, node));
        return true;
    };
    if let Node::Value(text) = node
        && json::kind(text) == Kind::Object
    {
        let members = json::members(text).map(|it| (it.raw_key, Node::Value(it.value)));
        *node = Node::Object(members.collect());
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

fn write(object: &[(&str, Node<'_>)], out: &mut String) {
    out.push('{');
    for (index, (key, node)) in object.iter().enumerate() {
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
