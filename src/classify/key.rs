//! What many events have in common: who asked, with what, for which kind of thing, and how it came out. It is the key
//! under which [`super::memo`] remembers what rules say of an event before its own texts are looked at.

use super::{
    fields::{below, typed},
    view::View,
};
use crate::{
    event::AuditEvent,
    json::Member,
    rules::{Field, FieldTest, Pattern},
};

/// Longest key that is remembered (bytes).
const KEY_BYTES_MAX: usize = 4096;

/// Writes the event's key. False if it has none: then nothing is remembered of it.
pub(super) fn write(event: &AuditEvent<'_>, key: &mut Vec<u8>) -> bool {
    key.clear();
    if event.is_odd {
        return false;
    }
    let (raw, object) = (&event.raw, &event.object);
    key.extend_from_slice(&event.seen.to_le_bytes());
    key.extend_from_slice(&event.code.unwrap_or_default().to_le_bytes());
    key.push(
        u8::from(event.code.is_some())
            | u8::from(event.has_query()) << 1
            | u8::from(event.has_others) << 2,
    );
    // A status that is no number may be anything.
    let status = if event.code.is_none() { raw.status } else { "" };
    let texts =
        [raw.level, raw.user, raw.impersonated_user, raw.source_ips, raw.annotations, status];
    let read = [
        &event.verb,
        &event.stage,
        &event.user_agent,
        &object.resource,
        &object.subresource,
        &object.namespace,
        &object.api_group,
    ];
    for text in texts.into_iter().map(Some).chain(read.into_iter().map(Option::as_deref)) {
        push(key, text);
    }
    if event.has_others {
        event.members.iter().for_each(|it| push(key, Some(it.raw_key)));
    }
    key.len() <= KEY_BYTES_MAX
}

/// The length goes before the text, so that no two rows of texts are one key.
fn push(key: &mut Vec<u8>, text: Option<&str>) {
    let length = text.map_or(u32::MAX, |it| u32::try_from(it.len()).unwrap_or(u32::MAX - 1));
    key.extend_from_slice(&length.to_le_bytes());
    key.extend_from_slice(text.unwrap_or_default().as_bytes());
}

/// Whether a line says the same of all events of this one's key.
pub(super) fn decides(view: &View<'_>, test: &FieldTest) -> bool {
    let same_as = test.patterns.iter().filter_map(|it| match it {
        Pattern::SameAs { field, .. } => Some(field),
        _ => None,
    });
    std::iter::once(&test.field).chain(same_as).all(|it| decides_field(view, it))
}

/// Whether all events of this one's key have the same values in the field.
pub(super) fn decides_field(view: &View<'_>, field: &Field) -> bool {
    let event = view.event;
    match field {
        Field::Path(path) if path == STATUS && event.code.is_some() => true,
        Field::Path(path) => {
            let is_keyed = is_member(path) && path != STATUS;
            is_keyed && typed(event, path).is_some() || {
                let key = path.split('.').next();
                let mut through = event.members.iter().filter(|it| goes_through(path, it));
                through.all(|it| is_keyed && Some(it.raw_key) == key)
            }
        }
        Field::Query(_) => !event.has_query(),
        Field::Command => !event.has_command(),
        Field::Object(_)
        | Field::Pod(_)
        | Field::Container(_)
        | Field::Script
        | Field::HostPath
        | Field::CsrCommonName
        | Field::CsrOrganization => event.request_object.is_none() && view.objects().is_empty(),
        field => is_always_decided(field),
    }
}

/// Whether the key decides the field in nearly all events.
pub(super) fn is_common(field: &Field) -> bool {
    match field {
        Field::Path(path) => {
            let head = path.split('.').next().unwrap_or(path);
            is_member(path) || !AuditEvent::MEMBERS.contains(&head)
        }
        field => is_always_decided(field),
    }
}

fn is_always_decided(field: &Field) -> bool {
    match field {
        Field::PeerIp | Field::Actor | Field::Outcome | Field::Category | Field::Type => true,
        Field::Path(_)
        | Field::UriPath
        | Field::Query(_)
        | Field::Command
        | Field::Kubectl
        | Field::Object(_)
        | Field::Pod(_)
        | Field::Container(_)
        | Field::Script
        | Field::HostPath
        | Field::Removed
        | Field::Copied
        | Field::Truncated
        | Field::CsrCommonName
        | Field::CsrOrganization
        | Field::Any => false,
    }
}

const STATUS: &str = "responseStatus.code";

/// Whether the key holds what is at this path.
fn is_member(path: &str) -> bool {
    match path.split_once('.').unwrap_or((path, "")) {
        (
            "verb" | "stage" | "level" | "userAgent" | "user" | "impersonatedUser" | "sourceIPs"
            | "annotations",
            _,
        ) => true,
        ("objectRef", field) => {
            matches!(field, "resource" | "subresource" | "namespace" | "apiGroup")
        }
        _ => path == STATUS,
    }
}

fn goes_through(path: &str, member: &Member<'_>) -> bool {
    // Most members are others, which one letter tells.
    let (first, own) = (path.as_bytes().first(), member.raw_key.as_bytes().first());
    (own == first || own == Some(&b'\\'))
        && member.key().is_some_and(|key| below(path, &key).is_some())
}
