use std::{borrow::Cow, collections::HashSet};

use serde::Deserialize;

use super::overlay::{Comma, push_member};
use crate::{
    event::AuditEvent,
    json::{self, Kind},
};

/// Deeper objects are copied as they are, so that removing members needs no deep stack.
const STRIP_DEPTH_MAX: usize = 64;

/// What becomes of `requestObject` and `responseObject`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objects {
    /// Without their own `metadata`, as Elastic's pipeline leaves them, and without any `managedFields`: these
    /// have keys named `.`, for which Elasticsearch refuses the document.
    #[default]
    DropMetadata,
    /// Without any `managedFields`.
    DropManagedFields,
    /// As they came.
    Full,
}

/// Writes the event as the object `kubernetes.audit`: its own bytes, but for annotation keys (`.` becomes `_`,
/// as Elastic's rules spell them), what `objects` removes, and `peer_ip`, which is added.
/// `None` leaves `requestObject` and `responseObject` out.
pub(super) fn write_audit(event: &AuditEvent<'_>, objects: Option<Objects>, out: &mut String) {
    out.push('{');
    let mut comma = Comma(false);
    for member in &event.members {
        let is_body = || member.is("requestObject") || member.is("responseObject");
        if member.is("peer_ip") || (objects.is_none() && is_body()) {
            continue;
        }
        comma.put(out);
        if member.is("annotations") && json::kind(member.value) == Kind::Object {
            out.push_str("\"annotations\":");
            write_annotations(member.value, out);
        } else if objects != Some(Objects::Full) && is_body() {
            out.push('"');
            out.push_str(member.raw_key);
            out.push_str("\":");
            strip(member.value, objects == Some(Objects::DropMetadata), 0, out);
        } else {
            push_member(out, member.raw_key, member.value);
        }
    }
    if let Some(peer_ip) = &event.peer_ip {
        comma.put(out);
        out.push_str("\"peer_ip\":");
        json::push_string(out, peer_ip);
    }
    out.push('}');
}

/// Copies an event without the two members whose content a client of the API server chooses.
pub(super) fn write_without_objects(audit: &str, out: &mut String) {
    let mut comma = Comma(false);
    out.push('{');
    for member in json::members(audit) {
        if !member.is("requestObject") && !member.is("responseObject") {
            comma.put(out);
            push_member(out, member.raw_key, member.value);
        }
    }
    out.push('}');
}

/// Where two keys become one, the first stays: Elasticsearch refuses a key that is there twice.
fn write_annotations(annotations: &str, out: &mut String) {
    let mut seen = HashSet::new();
    let mut comma = Comma(false);
    out.push('{');
    for member in json::members(annotations) {
        // Escapes must not hide that two are one.
        let key = match member.key() {
            Some(Cow::Owned(decoded)) => written(&decoded.replace('.', "_")),
            Some(Cow::Borrowed(_)) | None => member.raw_key.replace('.', "_"),
        };
        if seen.contains(&key) {
            continue;
        }
        comma.put(out);
        push_member(out, &key, member.value);
        seen.insert(key);
    }
    out.push('}');
}

/// `key` as it is written between quotes.
fn written(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 2);
    json::push_string(&mut out, key);
    out.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or_default().to_owned()
}

fn strip(value: &str, drop_metadata: bool, depth: usize, out: &mut String) {
    let dropped = |key: &str| (drop_metadata && key == "metadata") || key == "managedFields";
    let touched =
        drop_metadata || memchr::memmem::find(value.as_bytes(), b"managedFields").is_some();
    match json::kind(value) {
        Kind::Object if touched && depth < STRIP_DEPTH_MAX => {
            let mut comma = Comma(false);
            out.push('{');
            for member in
                json::members(value).filter(|it| !it.key().is_some_and(|key| dropped(&key)))
            {
                comma.put(out);
                out.push('"');
                out.push_str(member.raw_key);
                out.push_str("\":");
                strip(member.value, false, depth + 1, out);
            }
            out.push('}');
        }
        Kind::Array if touched && depth < STRIP_DEPTH_MAX => {
            let mut comma = Comma(false);
            out.push('[');
            for element in json::elements(value) {
                comma.put(out);
                strip(element, false, depth + 1, out);
            }
            out.push(']');
        }
        _ => out.push_str(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(objects: Objects, event: &str, expected: &str) {
        let event = AuditEvent::new(event, json::members(event).collect());
        let mut out = String::new();
        write_audit(&event, Some(objects), &mut out);
        assert_eq!(out, expected);
        assert!(json::check(&out, 100).is_ok());
    }

    #[test]
    fn bytes_stay() {
        let event =
            r#"{ "verb" : "get", "auditID":"\u0061", "user":{"extra":{"a.b/c":[ 1.50 ]}} }"#;
        check(
            Objects::Full,
            event,
            r#"{"verb":"get","auditID":"\u0061","user":{"extra":{"a.b/c":[ 1.50 ]}}}"#,
        );
        check(
            Objects::Full,
            r#"{"sourceIPs":["a","b"]}"#,
            r#"{"sourceIPs":["a","b"],"peer_ip":"b"}"#,
        );
    }

    #[test]
    fn annotation_keys() {
        check(
            Objects::Full,
            r#"{"annotations":{"a.b/c.d":"1","a_b/c_d":"2","e":{}}}"#,
            r#"{"annotations":{"a_b/c_d":"1","e":{}}}"#,
        );
        check(
            Objects::Full,
            r#"{"annotations":{"a.b":"1","a\u005fb":"2","c\u002ed\"":"3"}}"#,
            r#"{"annotations":{"a_b":"1","c_d\"":"3"}}"#,
        );
    }

    #[test]
    fn objects() {
        let event = concat!(
            r#"{"requestObject":{"kind":"Pod","metadata":{"name":"x"},"spec":{"metadata":{"a":1}}},"#,
            r#""responseObject":{"items":[{"metadata":{"name":"y","managedFields":[{"fieldsV1":{"f:a":{".":{}}}}]}}]}}"#
        );
        check(
            Objects::DropMetadata,
            event,
            concat!(
                r#"{"requestObject":{"kind":"Pod","spec":{"metadata":{"a":1}}},"#,
                r#""responseObject":{"items":[{"metadata":{"name":"y"}}]}}"#
            ),
        );
        check(
            Objects::DropManagedFields,
            event,
            concat!(
                r#"{"requestObject":{"kind":"Pod","metadata":{"name":"x"},"spec":{"metadata":{"a":1}}},"#,
                r#""responseObject":{"items":[{"metadata":{"name":"y"}}]}}"#
            ),
        );
        check(Objects::Full, event, event);
        check(
            Objects::DropMetadata,
            r#"{"requestObject":[{"op":"add"}]}"#,
            r#"{"requestObject":[{"op":"add"}]}"#,
        );
    }
}
