use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::{
    json::{self, Member},
    rules::OncePer,
    unwrap::Found,
};

/// The namespace of a data stream's name, `logs-DATASET-NAMESPACE`, else what the document says in
/// `data_stream.namespace`; if a data stream can be called so. It becomes part of an index name, so nothing else
/// may come from data.
pub(crate) fn namespace<'a>(index: &'a str, members: &[Member<'a>]) -> Option<Cow<'a, str>> {
    let of_index = || {
        let (_, namespace) = index.strip_prefix("logs-")?.split_once('-')?;
        Some(Cow::Borrowed(namespace))
    };
    let of_document =
        || json::string(json::get(json::member(members, "data_stream")?, "namespace")?);
    of_index().or_else(of_document).filter(|it| is_namespace(it))
}

/// Elasticsearch's rules for index names (8.19, `MetadataCreateIndexService.validateIndexOrAliasName`), and ECS's
/// limit of 100 bytes for `data_stream.namespace`.
#[must_use]
pub fn is_namespace(text: &str) -> bool {
    let allowed = |it: char| {
        !it.is_uppercase()
            && !it.is_whitespace()
            && !it.is_control()
            && !"\\/*?\"<>|,#:".contains(it)
    };
    !text.is_empty() && text.len() <= 100 && text.chars().all(allowed)
}

/// The `_id` of an event's document, or of the alert that a rule raises on it: 32 hex digits of a SHA-256.
///
/// The auditID alone does not tell requests apart: the API server takes it from the header `Audit-ID` (apiserver
/// 1.35, `pkg/endpoints/filters/audit_init.go`), so a client could give two requests one, and the second would
/// count as there already. When the API server received a request, the client does not choose, but could guess: what a
/// container printed has an id that no event of an API server has, nor another print.
pub(crate) fn made_id(found: &Found<'_>, rule: Option<(&str, OncePer)>) -> String {
    let event = found.event;
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    part(found.cluster().unwrap_or_default());
    for text in
        [&event.audit_id, &event.received, &event.user_name, &event.verb, &event.request_uri]
    {
        part(text.as_deref().unwrap_or_default());
    }
    if event.audit_id.is_none() || event.received.is_none() {
        // Nothing else tells it from others.
        part(event.text);
    }
    if found.is_from_container() {
        part("container");
        part(event.text);
    }
    match rule {
        None => {
            part(event.stage.as_deref().unwrap_or_default());
            // One more thing that whoever forges events beforehand cannot know.
            part(event.stage_time.as_deref().unwrap_or_default());
        }
        Some((rule, once_per)) => {
            part(rule);
            if once_per == OncePer::Stage {
                part(event.stage.as_deref().unwrap_or_default());
            }
        }
    }
    hex(hash)
}

/// An `_id` of ours as a number.
pub(super) fn number(id: &str) -> u128 {
    u128::from_str_radix(id, 16).unwrap_or_default()
}

/// An `_id` of these parts: 32 hex digits.
#[must_use]
pub fn hashed(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex(hash)
}

/// The first 16 bytes of a digest as 32 hex digits.
pub(super) fn hex(hash: Sha256) -> String {
    let mut out = String::with_capacity(32);
    for byte in hash.finalize().iter().take(16) {
        let digits = [byte >> 4, byte & 15].map(|it| char::from_digit(it.into(), 16));
        out.extend(digits.into_iter().flatten());
    }
    out
}
