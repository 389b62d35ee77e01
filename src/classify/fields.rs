use std::borrow::Cow;

use super::kubectl::kubectl;
use crate::{
    event::AuditEvent,
    json::{self, Kind},
    rules::{Field, Part, Template},
};

/// Arrays directly in arrays that are gone into. Kubernetes objects have none; each level would be read again.
const NESTED_ARRAYS_MAX: usize = 4;

/// One value that a field has.
pub(super) enum Found<'v> {
    /// A text; numbers and booleans as they are written.
    Text(&'v str),
    /// An object or an empty array: it is there, and no text compares with it.
    Other,
}

/// Calls `take` with the values of `field`, until it says that it has enough. Gives back whether it did.
/// A JSON `null` is no value.
pub(super) fn visit(
    event: &AuditEvent<'_>,
    field: &Field,
    take: &mut dyn FnMut(Found<'_>) -> bool,
) -> bool {
    let mut text = |it: Option<&str>| it.is_some_and(|it| take(Found::Text(it)));
    match field {
        Field::UriPath => text(event.request_uri.is_some().then(|| event.path())),
        // The API server takes the first of several (apimachinery, `Convert_Slice_string_To_string`).
        Field::Query(name) => text(event.query_values(name).next().as_deref()),
        Field::Command => text(event.container_command().as_deref()),
        Field::Kubectl => text(kubectl(event).as_deref()),
        Field::PeerIp => text(event.peer_ip.as_deref()),
        Field::Path(path) => match path.as_str() {
            // What is read already needs no second walk.
            "verb" => text(event.verb.as_deref()),
            "stage" => text(event.stage.as_deref()),
            "requestURI" => text(event.request_uri.as_deref()),
            "userAgent" => text(event.user_agent.as_deref()),
            "user.username" => text(event.user_name.as_deref()),
            "objectRef.resource" => text(event.object.resource.as_deref()),
            "objectRef.subresource" => text(event.object.subresource.as_deref()),
            "objectRef.namespace" => text(event.object.namespace.as_deref()),
            "objectRef.name" => text(event.object.name.as_deref()),
            "objectRef.apiGroup" => text(event.object.api_group.as_deref()),
            path => event.members.iter().any(|it| {
                it.key().is_some_and(|key| {
                    below(path, &key)
                        .is_some_and(|rest| walk(it.value, rest, NESTED_ARRAYS_MAX, take))
                })
            }),
        },
    }
}

/// What is left of `path` below `key`; `None` if it does not go through it. Keys may hold dots themselves, and
/// may have been written with `_` for `.` by an ingest pipeline.
fn below<'p>(path: &'p str, key: &str) -> Option<&'p str> {
    let rest = path.get(key.len()..).filter(|_| !key.is_empty())?;
    let same = path
        .bytes()
        .zip(key.bytes())
        .all(|(path, key)| path == key || (path == b'.' && key == b'_'));
    if !same {
        return None;
    }
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
}

fn walk(
    value: &str,
    path: &str,
    arrays_left: usize,
    take: &mut dyn FnMut(Found<'_>) -> bool,
) -> bool {
    match json::kind(value) {
        Kind::Object if path.is_empty() => take(Found::Other),
        Kind::Object => json::members(value).any(|it| {
            it.key().is_some_and(|key| {
                below(path, &key).is_some_and(|rest| walk(it.value, rest, NESTED_ARRAYS_MAX, take))
            })
        }),
        Kind::Array => {
            let mut elements = json::elements(value).peekable();
            if elements.peek().is_none() && path.is_empty() {
                return take(Found::Other);
            }
            arrays_left > 0 && elements.any(|it| walk(it, path, arrays_left - 1, take))
        }
        Kind::Null => false,
        _ if !path.is_empty() => false,
        Kind::String => match json::string(value) {
            Some(text) => take(Found::Text(&text)),
            None => take(Found::Other),
        },
        Kind::Number | Kind::Bool => take(Found::Text(value)),
    }
}

/// Fills a sentence with the event's fields. A field that the event lacks is a dash.
#[must_use]
pub fn sentence(event: &AuditEvent<'_>, template: &Template) -> String {
    let mut out = String::new();
    for part in &template.parts {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Field(field) => {
                let mut value = Cow::Borrowed("-");
                visit(event, field, &mut |found| match found {
                    Found::Text(text) => {
                        value = Cow::Owned(text.to_owned());
                        true
                    }
                    Found::Other => false,
                });
                out.push_str(&value);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"verb":"get","level":"Request","user":{"username":"a","extra":{"x.y/z":["1","2"]}},
        "annotations":{"authorization_k8s_io/decision":"allow"},"responseStatus":{"code":200},
        "requestObject":{"spec":{"containers":[{"image":"i1","privileged":true},{"image":"i2"}],"empty":[],"null":null}}}"#;

    #[track_caller]
    fn check(path: &str, expected: &[&str]) {
        let event = AuditEvent::new(EVENT, json::members(EVENT).collect());
        let mut values = Vec::new();
        visit(&event, &Field::Path(path.into()), &mut |found| {
            values.push(match found {
                Found::Text(text) => text.to_owned(),
                Found::Other => "…".to_owned(),
            });
            false
        });
        assert_eq!(values, expected, "{path}");
    }

    #[test]
    fn paths() {
        check("verb", &["get"]);
        check("level", &["Request"]);
        check("user.username", &["a"]);
        check("user.extra.x.y/z", &["1", "2"]);
        check("annotations.authorization.k8s.io/decision", &["allow"]);
        check("responseStatus.code", &["200"]);
        check("requestObject.spec.containers.image", &["i1", "i2"]);
        check("requestObject.spec.containers.privileged", &["true"]);
        check("requestObject.spec.containers", &["…", "…"]);
        check("requestObject.spec.empty", &["…"]);
        check("requestObject.spec.null", &[]);
        check("requestObject.spec.containersx", &[]);
        check("requestObject.spec", &["…"]);
        check("verb.x", &[]);
    }
}
