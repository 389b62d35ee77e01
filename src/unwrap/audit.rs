use std::borrow::Cow;

use foldhash::{HashSet, HashSetExt};
use serde::Deserialize;

use super::{
    bodies::{self, BODIES},
    overlay::{Comma, push_member},
};
use crate::{
    event::AuditEvent,
    json::{self, Kind},
};

/// What becomes of the bodies, `requestObject` and `responseObject`.
///
/// In all forms but `full` they have no `managedFields` (of no use to people, and with keys named `.`), no key
/// that Elasticsearch refuses in an object that it knows (`_` takes the place of dots that lead, end or follow one
/// another), and no more than 64 levels: what is deeper is a string of JSON. A body that is no object and no
/// list of objects, or has two keys that would become one, is written as under `string`. What had to become a
/// string is tagged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objects {
    /// Without their own `metadata`, as Elastic's pipeline leaves them.
    #[default]
    DropMetadata,
    /// Of their own `metadata` the names, labels, annotations and owners; without their `status`. For lists, the
    /// same of each item.
    Slim,
    /// As JSON text, in `requestObject_raw` and `responseObject_raw`.
    String,
    /// Whole, but within what the field type `flattened` takes.
    Flattened,
    /// As they came.
    Full,
}

/// Writes the event as the object `kubernetes.audit`: its own bytes, but for annotation keys (`.` becomes `_`,
/// as Elastic's rules spell them), the bodies, which take the form of `objects`, and `peer_ip`, which is added.
/// `None` leaves the bodies out. `aks_metadata` is JSON text, added under that name. Whether a part of a body, or all
/// of it, became a string.
pub(super) fn write_audit(
    event: &AuditEvent<'_>,
    objects: Option<Objects>,
    aks_metadata: Option<&str>,
    out: &mut String,
) -> bool {
    out.push('{');
    let mut comma = Comma(false);
    let mut has_text = false;
    for member in &event.members {
        let body = BODIES.iter().find(|it| member.is(it.name));
        // Two members of one name would be refused.
        let is_ours = member.is("peer_ip")
            || (aks_metadata.is_some() && member.is("aks_metadata"))
            || BODIES.iter().any(|it| {
                member.is(it.raw_name)
                    && objects != Some(Objects::Full)
                    && json::member(&event.members, it.name).is_some()
            });
        if is_ours || (objects.is_none() && body.is_some()) {
            continue;
        }
        comma.put(out);
        match (body, objects) {
            (Some(body), Some(objects)) => {
                has_text |= bodies::write(body, member.raw_key, member.value, objects, out);
            }
            _ if member.is("annotations") && json::kind(member.value) == Kind::Object => {
                out.push_str("\"annotations\":");
                write_annotations(member.value, out);
            }
            _ => push_member(out, member.raw_key, member.value),
        }
    }
    if let Some(metadata) = aks_metadata {
        comma.put(out);
        push_member(out, "aks_metadata", metadata);
    }
    if let Some(peer_ip) = &event.peer_ip {
        comma.put(out);
        out.push_str("\"peer_ip\":");
        json::push_string(out, peer_ip);
    }
    out.push('}');
    has_text
}

/// Copies an event without its bodies, whose content a client of the API server chooses.
pub(super) fn write_without_objects(audit: &str, out: &mut String) {
    let mut comma = Comma(false);
    out.push('{');
    for member in json::members(audit) {
        if !BODIES.iter().any(|it| member.is(it.name) || member.is(it.raw_name)) {
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
pub(super) fn written(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 2);
    json::push_string(&mut out, key);
    out.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(objects: Objects, event: &str, expected: &str) {
        let event = AuditEvent::new(event, json::members(event).collect());
        let mut out = String::new();
        write_audit(&event, Some(objects), None, &mut out);
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
    fn a_body_takes_the_place_of_its_text() {
        let event = r#"{"requestObject_raw":"old","responseObject_raw":"\"r\"","requestObject":{"managedFields":1,"a":2}}"#;
        check(
            Objects::String,
            event,
            r#"{"responseObject_raw":"\"r\"","requestObject_raw":"{\"a\":2}"}"#,
        );
        check(
            Objects::DropMetadata,
            event,
            r#"{"responseObject_raw":"\"r\"","requestObject":{"a":2}}"#,
        );
        check(Objects::Full, event, event);
        let mut out = String::new();
        write_without_objects(
            r#"{"verb":"get","requestObject":{},"responseObject_raw":"x"}"#,
            &mut out,
        );
        assert_eq!(out, r#"{"verb":"get"}"#);
    }
}
