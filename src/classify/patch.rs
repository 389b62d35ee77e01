//! What a patch writes and removes: JSON patches (RFC 6902) as `evanphx/json-patch` 4.13 reads them, which the API
//! server uses; merge patches (RFC 7386) and strategic merge patches (Kubernetes 1.35,
//! `apimachinery/pkg/util/strategicpatch`).

use std::{borrow::Cow, collections::BTreeMap};

use crate::json::{self, Kind};

/// Most operations of one patch that are looked at. The API server takes 10,000 (Kubernetes 1.35,
/// `apiserver/pkg/endpoints/handlers/patch.go`, `maxJSONPatchOperations`).
const OPERATIONS_MAX: usize = 16_384;
/// Deepest path of an operation.
const POINTER_DEPTH_MAX: usize = 32;
/// Operations that copy something whose value is looked for.
const COPIES_MAX: usize = 64;
/// Most bytes of values that are copied.
const COPIED_BYTES_MAX: usize = 1 << 20;
/// Longest path that is told (bytes). Keys of labels and annotations have at most 317.
const PATH_BYTES_MAX: usize = 1024;
/// How deep a merge patch is looked at.
const DEPTH_MAX: usize = 64;
/// What stands for a value that is not known: it is there, and no text compares with it.
const UNKNOWN: &str = "{}";

/// Something that takes paths, until it has enough.
pub(super) type Take<'t> = &'t mut dyn FnMut(&str) -> bool;

struct Operation<'p> {
    op: Cow<'p, str>,
    path: Cow<'p, str>,
    from: Option<Cow<'p, str>>,
    value: Option<&'p str>,
}

fn operations(patch: &str) -> impl Iterator<Item = Operation<'_>> {
    let text = |operation, name| json::get(operation, name).and_then(json::string);
    json::elements(patch).take(OPERATIONS_MAX).filter_map(move |it| {
        Some(Operation {
            op: text(it, "op").unwrap_or_default(),
            path: text(it, "path")?,
            from: text(it, "from"),
            value: json::get(it, "value"),
        })
    })
}

/// What the operations of a JSON patch write, each as an object of its own:
/// `{"op":"add","path":"/spec/replicas","value":2}` is `{"spec":{"replicas":2}}`; and, last, what they write together:
/// an element may be written bit by bit. What `copy` and `move` write is looked
/// for in the object `after` the patch, then in the operations before; if it stands in neither, it is [`UNKNOWN`].
pub(super) fn written(patch: &str, after: Option<&str>) -> Vec<String> {
    let (mut all, mut known) = (Vec::new(), Vec::new());
    let (mut copies, mut copied_bytes) = (0, 0);
    for Operation { op, path, from, value } in operations(patch) {
        let value = match op.as_ref() {
            "test" | "remove" => continue,
            "copy" | "move" => {
                copies += 1;
                let from = from.as_deref().filter(|_| copies <= COPIES_MAX);
                let source = after.and_then(|it| at(it, &path)).or_else(|| before(&known, from?));
                let source = source.filter(|it| copied_bytes + it.len() <= COPIED_BYTES_MAX);
                copied_bytes += source.map_or(0, str::len);
                Some(source.unwrap_or(UNKNOWN))
            }
            // The API server refuses all others but `add` and `replace`.
            _ => value,
        };
        let Some(value) = value else { continue };
        all.push(object(&path, value));
        known.push((path, value));
    }
    if known.len() > 1 {
        let mut together = Together::default();
        for (number, (path, value)) in known.iter().enumerate() {
            together.add(path, value, number);
        }
        let mut text = String::new();
        together.write(&mut text);
        all.push(text);
    }
    all
}

/// What operations write together.
#[derive(Default)]
struct Together<'p> {
    /// What was written here as a whole, last.
    whole: Option<&'p str>,
    /// What was written below that.
    below: BTreeMap<Cow<'p, str>, Together<'p>>,
    is_array: bool,
}

impl<'p> Together<'p> {
    fn add(&mut self, path: &'p str, value: &'p str, number: usize) {
        let mut at = self;
        for name in names(path).take(POINTER_DEPTH_MAX) {
            at.is_array |= is_index(name);
            // Each is one more behind the last.
            let name = if name == "-" { Cow::Owned(format!("-{number}")) } else { plain(name) };
            at = at.below.entry(name).or_default();
        }
        *at = Self { whole: Some(value), ..Self::default() };
    }

    fn write(&self, text: &mut String) {
        let whole = self.whole.unwrap_or_default();
        if self.below.is_empty() {
            return text.push_str(if whole.is_empty() { UNKNOWN } else { whole });
        }
        let (opening, closing) = if self.is_array { ('[', ']') } else { ('{', '}') };
        text.push(opening);
        let inside = whole.strip_prefix(opening).and_then(|it| it.strip_suffix(closing));
        text.push_str(inside.unwrap_or_default());
        let mut is_first = inside.is_none_or(|it| it.trim().is_empty());
        for (name, below) in &self.below {
            if !is_first {
                text.push(',');
            }
            is_first = false;
            if !self.is_array {
                json::push_string(text, name);
                text.push(':');
            }
            below.write(text);
        }
        text.push(closing);
    }
}

/// The paths that a JSON patch writes by `copy` or `move`.
pub(super) fn copied(patch: &str, take: Take<'_>) -> bool {
    json::kind(patch) == Kind::Array
        && operations(patch)
            .filter(|it| matches!(it.op.as_ref(), "copy" | "move"))
            .any(|it| told(&dotted(&it.path), take))
}

/// The paths that a patch removes, or writes anew without what was there.
pub(super) fn removed(patch: &str, take: Take<'_>) -> bool {
    if json::kind(patch) != Kind::Array {
        return removed_by_merge(patch, &mut String::new(), DEPTH_MAX, take);
    }
    operations(patch).any(|it| match it.op.as_ref() {
        "remove" => told(&dotted(&it.path), take),
        "move" => it.from.is_some_and(|it| told(&dotted(&it), take)),
        "add" | "replace" => {
            let is_element = it.path.rsplit('/').next().is_some_and(is_index);
            let is_object = it.value.is_some_and(|it| json::kind(it) == Kind::Object);
            is_object && !is_element && told(&dotted(&it.path), take)
        }
        _ => false,
    })
}

/// `null` removes what stands there, and so do the directives of strategic merge patches.
fn removed_by_merge(value: &str, path: &mut String, depth: usize, take: Take<'_>) -> bool {
    match json::kind(value) {
        Kind::Null => told(path, take),
        Kind::Object if depth > 0 => json::members(value).any(|member| {
            let Some(key) = member.key() else { return false };
            let name = match key.strip_prefix('$') {
                None => key.as_ref(),
                Some("patch") => {
                    let directive = json::string(member.value);
                    return matches!(directive.as_deref(), Some("delete" | "replace"))
                        && told(path, take);
                }
                Some("retainKeys") => return told(path, take),
                Some(directive) => match directive.strip_prefix("deleteFromPrimitiveList/") {
                    Some(list) => list,
                    None => return false,
                },
            };
            let before = path.len();
            if before > 0 {
                path.push('.');
            }
            path.push_str(name);
            let enough = match key.starts_with('$') {
                true => told(path, take),
                false => removed_by_merge(member.value, path, depth - 1, take),
            };
            path.truncate(before);
            enough
        }),
        Kind::Array if depth > 0 => {
            json::elements(value).any(|it| removed_by_merge(it, path, depth - 1, take))
        }
        _ => false,
    }
}

fn told(path: &str, take: Take<'_>) -> bool {
    !path.is_empty() && path.len() <= PATH_BYTES_MAX && take(path)
}

/// A value in the objects and arrays that a path goes through.
fn object(pointer: &str, value: &str) -> String {
    let (mut text, mut ends) = (String::new(), Vec::new());
    for name in names(pointer).take(POINTER_DEPTH_MAX) {
        if is_index(name) {
            text.push('[');
            ends.push(']');
        } else {
            text.push('{');
            json::push_string(&mut text, &plain(name));
            text.push(':');
            ends.push('}');
        }
    }
    text.push_str(value);
    text.extend(ends.into_iter().rev());
    text
}

/// A path as fields are written: `/spec/containers/0/image` is `spec.containers.image`.
fn dotted(pointer: &str) -> String {
    let keys = names(pointer).filter(|it| !is_index(it)).map(plain);
    keys.collect::<Vec<_>>().join(".")
}

/// What stands before the first slash is passed over.
fn names(pointer: &str) -> impl Iterator<Item = &str> {
    pointer.split('/').skip(1)
}

fn plain(name: &str) -> Cow<'_, str> {
    match name.contains('~') {
        true => Cow::Owned(name.replace("~1", "/").replace("~0", "~")),
        false => Cow::Borrowed(name),
    }
}

/// Whether it is a place in an array: `-` is the one behind the last, `-1` the last. Read by Go's `strconv.Atoi`.
fn is_index(name: &str) -> bool {
    let digits = name.strip_prefix(['-', '+']).unwrap_or(name);
    name == "-" || !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit())
}

/// What stands at a path in a value.
fn at<'v>(value: &'v str, pointer: &str) -> Option<&'v str> {
    if names(pointer).count() > POINTER_DEPTH_MAX {
        return None;
    }
    names(pointer).try_fold(value, |value, name| match json::kind(value) {
        Kind::Array => element(value, name),
        _ => json::get(value, &plain(name)),
    })
}

fn element<'v>(array: &'v str, name: &str) -> Option<&'v str> {
    let from_end = match name {
        "-" => 1,
        _ => match name.parse::<i64>().ok()? {
            place if place < 0 => usize::try_from(place.checked_neg()?).ok()?,
            place => return json::elements(array).nth(usize::try_from(place).ok()?),
        },
    };
    let place = json::elements(array).count().checked_sub(from_end)?;
    json::elements(array).nth(place)
}

/// What operations before wrote at this path.
fn before<'p>(known: &[(Cow<'p, str>, &'p str)], from: &str) -> Option<&'p str> {
    known.iter().rev().find_map(|(path, value)| {
        let rest = from.strip_prefix(path.as_ref())?;
        (rest.is_empty() || rest.starts_with('/')).then(|| at(value, rest)).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Paths = fn(&str, Take<'_>) -> bool;

    #[track_caller]
    fn check(paths: Paths, patch: &str, expected: &[&str]) {
        let mut found = Vec::new();
        paths(patch, &mut |it| {
            found.push(it.to_owned());
            false
        });
        assert_eq!(found, expected, "{patch}");
    }

    #[test]
    fn what_operations_write() {
        let patch = r#"[{"op":"add","path":"/spec/containers/0/securityContext","value":{"privileged":true}},
            {"op":"add","path":"/metadata/annotations/a~1b","value":"c"},{"op":"remove","path":"/x","value":1},
            {"op":"test","path":"/y","value":1},{"op":"replace","path":"","value":{}},
            {"op":"add","path":"/spec/containers/-1/tty","value":true}]"#;
        assert_eq!(
            written(patch, None),
            [
                r#"{"spec":{"containers":[{"securityContext":{"privileged":true}}]}}"#,
                r#"{"metadata":{"annotations":{"a/b":"c"}}}"#,
                "{}",
                r#"{"spec":{"containers":[{"tty":true}]}}"#,
                r#"{"spec":{"containers":[{"tty":true}]}}"#,
            ]
        );
    }

    #[test]
    fn what_operations_write_together() {
        let together = |patch: &str| written(patch, None).pop().unwrap();
        let patch = r#"[{"op":"replace","path":"/rules/0/verbs","value":["*"]},{"op":"add","path":"/rules/1","value":{"verbs":["get"]}},
            {"op":"replace","path":"/rules/0/resources","value":["*"]},{"op":"add","path":"/rules/1/resources/-","value":"pods"},
            {"op":"add","path":"/rules/1/resources/-","value":"nodes"}]"#;
        let expected = r#"{"rules":[{"resources":["*"],"verbs":["*"]},{"verbs":["get"],"resources":["pods","nodes"]}]}"#;
        assert_eq!(together(patch), expected);
        let anew = r#"[{"op":"add","path":"/a","value":1},{"op":"replace","path":"","value":{}},{"op":"add","path":"/b","value":2}]"#;
        assert_eq!(together(anew), r#"{"b":2}"#);
    }

    #[test]
    fn what_is_copied_is_looked_for() {
        let patch = r#"[{"op":"add","path":"/a","value":{"b":["x","y"]}},{"op":"copy","from":"/a/b/-1","path":"/c"},
            {"op":"move","from":"/c","path":"/d"},{"op":"copy","from":"/e","path":"/f/0"},{"op":"copy","path":"/g"}]"#;
        let copies = |after| written(patch, after).split_off(1);
        let each = [r#"{"c":"y"}"#, r#"{"d":"y"}"#, r#"{"f":[{}]}"#, r#"{"g":{}}"#];
        assert_eq!(copies(None).get(..4).unwrap(), each);
        assert_eq!(
            copies(Some(r#"{"d":"z","f":["1"],"g":true}"#)),
            [
                r#"{"c":"y"}"#,
                r#"{"d":"z"}"#,
                r#"{"f":["1"]}"#,
                r#"{"g":true}"#,
                r#"{"a":{"b":["x","y"]},"c":"y","d":"z","f":["1"],"g":true}"#
            ]
        );
        check(copied, patch, &["c", "d", "f", "g"]);
        check(copied, r#"{"op":"copy","path":"/c"}"#, &[]);
    }

    #[test]
    fn copies_cost_no_more_than_their_limits() {
        let value = "x".repeat(COPIED_BYTES_MAX / 2);
        let copy = r#",{"op":"copy","from":"/a","path":"/b"}"#.repeat(2 * COPIES_MAX);
        let all =
            written(&format!(r#"[{{"op":"add","path":"/a","value":"{value}"}}{copy}]"#), None);
        assert_eq!(all.len(), 1 + 2 * COPIES_MAX + 1);
        assert_eq!(all.iter().filter(|it| it.len() > 100).count(), 3);
        let small = written(&format!(r#"[{{"op":"add","path":"/a","value":"y"}}{copy}]"#), None);
        assert_eq!(small.iter().filter(|it| it.contains("\"b\":\"y\"")).count(), COPIES_MAX);
    }

    #[test]
    fn what_is_removed() {
        check(
            removed,
            r#"[{"op":"remove","path":"/spec/template/spec/containers/0/securityContext/runAsNonRoot"},
                {"op":"remove","path":"/metadata/labels/pod-security.kubernetes.io~1enforce"},
                {"op":"move","from":"/webhooks/0","path":"/metadata/annotations/x"},{"op":"remove","path":""},
                {"op":"replace","path":"/metadata/labels","value":{}},{"op":"add","path":"/webhooks/-","value":{}},
                {"op":"replace","path":"/spec/replicas","value":1},{"op":"test","path":"/x","value":null}]"#,
            &[
                "spec.template.spec.containers.securityContext.runAsNonRoot",
                "metadata.labels.pod-security.kubernetes.io/enforce",
                "webhooks",
                "metadata.labels",
            ],
        );
        check(
            removed,
            r#"{"metadata":{"labels":{"a.b/c":null,"d":"e"},"$deleteFromPrimitiveList/finalizers":["f"]},
                "spec":{"$setElementOrder/containers":[null],"containers":[{"name":"x","$patch":"delete"},{"tty":null}],
                "strategy":{"$retainKeys":["type"]}, "selector":{"$patch":"replace"},"x":{"$patch":"merge"}},"status":null}"#,
            &[
                "metadata.labels.a.b/c",
                "metadata.finalizers",
                "spec.containers",
                "spec.containers.tty",
                "spec.strategy",
                "spec.selector",
                "status",
            ],
        );
        check(removed, "null", &[]);
        let long = "x".repeat(PATH_BYTES_MAX + 1);
        check(removed, &format!(r#"{{"{long}":null,"y":null}}"#), &["y"]);
        let deep = "[".repeat(DEPTH_MAX + 1) + "null" + &"]".repeat(DEPTH_MAX + 1);
        check(removed, &format!(r#"{{"x":{deep}}}"#), &[]);
    }
}
