//! Events whose bodies some shipper turned into strings, K8sCop's own fluentd of 2019 among them
//! (`configs/fluent/fluent.conf`: JSON text, or the word `none`), and events of lists, which lack `kind`.

use super::super::{overlay::push_member, root::Root};
use crate::json::{self, Kind, Member};

/// What stands for a body that there is not.
const NONE: &str = "\"none\"";

/// What an event of a list has not of its own.
const VERSION: &str = ",\"apiVersion\":\"audit.k8s.io/v1\"";

/// Whether a body stands as text.
pub(in super::super) fn has_bodies(root: &Root<'_>) -> bool {
    [root.request_object, root.response_object].into_iter().flatten().any(is_text)
}

/// Whether the event is to be written anew.
pub(in super::super) fn is_to_mend(root: &Root<'_>) -> bool {
    root.kind.is_none()
        || root.api_version.is_none()
        || root.k8s_audit_level.is_some()
        || has_bodies(root)
}

fn is_text(body: &str) -> bool {
    body == NONE
        || json::kind(body) == Kind::String
            && body.get(1..).is_some_and(|it| it.starts_with(['{', '[']))
}

/// Writes the event of these members: with its kind, and its bodies as JSON.
pub(in super::super) fn write(members: &[Member<'_>], out: &mut String) -> bool {
    out.push('{');
    let has = |name| members.iter().any(|it| it.is(name));
    let (has_kind, has_version) = (has("kind"), has("apiVersion"));
    if !has_kind {
        out.push_str("\"kind\":\"Event\"");
        if !has_version {
            out.push_str(VERSION);
        }
    }
    for member in members {
        let is_body = member.is("requestObject") || member.is("responseObject");
        if is_body && member.value == NONE {
            continue;
        }
        if !out.ends_with('{') {
            out.push(',');
        }
        match is_body.then(|| json_in(member.value)).flatten() {
            Some(body) => push_member(out, member.raw_key, &body),
            None => push_member(out, member.raw_key, member.value),
        }
        if !has_version && member.is("kind") {
            out.push_str(VERSION);
        }
    }
    out.push('}');
    true
}

/// The JSON that a string holds, if it is an object or an array, on one line.
fn json_in(value: &str) -> Option<String> {
    let text = json::string(value).filter(|_| is_text(value))?;
    json::check(&text, json::DEPTH_MAX).ok()?;
    Some(text.replace(['\r', '\n'], " "))
}
