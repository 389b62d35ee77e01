use std::{borrow::Cow, net::IpAddr};

use jiff::{SignedDuration, Timestamp};

use super::{
    Found, Labels, Settings, TAG_FUTURE, TAG_REDUCED,
    audit::write_audit,
    overlay::{Overlay, push_strings},
};
use crate::{
    event::AuditEvent,
    json::{self, Kind, Member},
};

/// Longest value of an ECS keyword that we copy out of the event (bytes). Lucene refuses a document with a term
/// of more than 32,766 bytes; the whole value stays in `kubernetes.audit`.
const KEYWORD_BYTES_MAX: usize = 8191;
/// Most images of one event that are told.
const IMAGES_MAX: usize = 64;
/// How far an event's time may be ahead of ours before we trust the envelope's instead.
const FUTURE_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Puts all fields of `kubernetes.audit_logs` into the overlay.
pub(super) fn fill(
    members: &[Member<'_>],
    found: &Found<'_>,
    labels: &Labels<'_>,
    settings: &Settings,
    now: Timestamp,
    overlay: &mut Overlay,
) {
    let event = &found.event;
    let mut new_tags = Vec::new();
    if time(event, now, overlay) == Clock::OursForFuture {
        new_tags.push(TAG_FUTURE);
    }
    let objects = (!found.deep).then_some(settings.objects);
    overlay.write(&["kubernetes", "audit"], |out| write_audit(event, objects, out));
    if found.deep {
        new_tags.push(TAG_REDUCED);
    }
    event_fields(event, overlay);
    user(event, overlay);
    addresses(event, overlay);
    request(event, overlay);
    orchestrator(found, overlay);
    carrier(found, overlay);
    if found.keeps_text(settings) {
        overlay.text(&["event", "original"], event.text);
    }
    if let Some((dataset, namespace)) = labels.data_stream {
        overlay.text(&["data_stream", "type"], "logs");
        overlay.text(&["data_stream", "dataset"], dataset);
        overlay.text(&["data_stream", "namespace"], namespace);
        overlay.text(&["event", "dataset"], dataset);
        overlay.text(&["event", "module"], "kubernetes");
        // Elastic's rules look at events by the time at which they came in, so that late ones are not missed.
        overlay.text(&["event", "ingested"], &now.to_string());
    }
    if let Some(kubectl) = labels.kubectl {
        overlay.text(&["k8scop", "kubectl"], kubectl);
    }
    if let Some(command) = event.container_command() {
        overlay.text(&["k8scop", "command"], cut(&command));
    }
    if !labels.rules.is_empty() {
        overlay.texts(&["k8scop", "rules"], labels.rules.iter().copied());
    }
    if !new_tags.is_empty() {
        tags(members, &new_tags, overlay);
    }
}

/// Adds to the document's `tags`.
pub(super) fn tags(members: &[Member<'_>], new: &[&str], overlay: &mut Overlay) {
    let old =
        json::member(members, "tags").filter(|it| json::kind(it) != Kind::Null).unwrap_or("[]");
    overlay.write(&["tags"], |out| {
        match json::kind(old) {
            Kind::Array => out.push_str(old.strip_suffix(']').unwrap_or(old).trim_ascii_end()),
            _ => {
                out.push('[');
                out.push_str(old);
            }
        }
        for tag in new {
            if !out.ends_with('[') {
                out.push(',');
            }
            json::push_string(out, tag);
        }
        out.push(']');
    });
}

/// When an event happened.
#[derive(Debug, PartialEq, Eq)]
pub struct When {
    /// As a point in time.
    pub at: Timestamp,
    /// As it is written, with all its digits.
    pub text: String,
    /// Whose time it is.
    pub clock: Clock,
}

/// Whose time is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The API server's.
    Event,
    /// Ours: the event has no time that can be read.
    Ours,
    /// Ours: the event's is more than a day ahead.
    OursForFuture,
}

/// When the event happened: `stageTimestamp`, else `requestReceivedTimestamp`, else now.
#[must_use]
pub fn when(event: &AuditEvent<'_>, now: Timestamp) -> When {
    let mut clock = Clock::Ours;
    for text in [&event.stage_time, &event.received].into_iter().flatten() {
        let Some((at, text)) = readable(text) else { continue };
        if at.duration_since(now) <= FUTURE_MAX {
            return When { at, text: text.into_owned(), clock: Clock::Event };
        }
        clock = Clock::OursForFuture;
    }
    When { at: now, text: now.to_string(), clock }
}

/// A time as it is written, if Elasticsearch reads it so (`strict_date_optional_time`), else in a form that it
/// does read; `None` if it is no time.
fn readable(text: &str) -> Option<(Timestamp, Cow<'_, str>)> {
    let at: Timestamp = text.parse().ok()?;
    if at.as_second() < 0 {
        return None;
    }
    let shape: String = text.chars().map(|it| if it.is_ascii_digit() { '0' } else { it }).collect();
    let fraction = shape.strip_prefix("0000-00-00T00:00:00").and_then(|it| it.strip_suffix('Z'));
    let strict = match fraction.map(|it| it.strip_prefix('.').unwrap_or(it)) {
        Some(digits) => {
            digits.len() <= 9 && digits.bytes().all(|it| it == b'0') && !text.contains(":60")
        }
        None => false,
    };
    Some((at, if strict { Cow::Borrowed(text) } else { Cow::Owned(at.to_string()) }))
}

/// `@timestamp` is the event's own, digit for digit: CloudWatch and Filebeat cut theirs to seconds.
fn time(event: &AuditEvent<'_>, now: Timestamp, overlay: &mut Overlay) -> Clock {
    if let Some((start, text)) = event.received.as_deref().and_then(readable) {
        overlay.text(&["event", "start"], &text);
        if let Some((end, text)) = event.stage_time.as_deref().and_then(readable) {
            overlay.text(&["event", "end"], &text);
            let nanoseconds = end.duration_since(start).as_nanos().max(0);
            overlay.raw(&["event", "duration"], &nanoseconds.to_string());
        }
    }
    let when = when(event, now);
    match when.clock {
        Clock::Event => overlay.text(&["@timestamp"], &when.text),
        Clock::Ours | Clock::OursForFuture => overlay.text_if_absent(&["@timestamp"], &when.text),
    }
    when.clock
}

fn event_fields(event: &AuditEvent<'_>, overlay: &mut Overlay) {
    overlay.text(&["event", "kind"], "event");
    if let Some(verb) = event.verb.as_deref().filter(|it| !it.is_empty()) {
        overlay.text(&["event", "action"], cut(verb));
    }
    overlay.text(&["event", "outcome"], outcome(event));
    overlay.texts(&["event", "category"], [category(event)]);
    overlay.texts(&["event", "type"], types(event));
    if let Some(id) = event_id(event) {
        overlay.text(&["event", "id"], &id);
    }
    if let Some(reason) = event.decision_reason.as_deref().filter(|it| !it.is_empty()) {
        overlay.text(&["event", "reason"], cut(reason));
    }
}

/// `auditID/stage`: the auditID alone comes back with every stage.
pub(crate) fn event_id(event: &AuditEvent<'_>) -> Option<String> {
    let audit_id = event.audit_id.as_deref().filter(|it| !it.is_empty())?;
    Some(match event.stage.as_deref() {
        Some(stage) => format!("{audit_id}/{stage}"),
        None => audit_id.to_owned(),
    })
}

/// Stricter than Elastic's pipeline, which calls an allowed request that ended in 404 or 500 a success.
pub(crate) fn outcome(event: &AuditEvent<'_>) -> &'static str {
    match (event.decision.as_deref(), event.code) {
        (Some("forbid"), _) | (_, Some(400..)) => "failure",
        (Some("allow"), _) | (_, Some(_)) => "success",
        _ => "unknown",
    }
}

pub(crate) fn category(event: &AuditEvent<'_>) -> &'static str {
    match (event.object.resource.as_deref(), event.object.subresource.as_deref()) {
        (Some("pods"), Some("exec" | "attach")) => "process",
        (Some("tokenreviews"), _) => "authentication",
        (
            Some(
                "roles"
                | "clusterroles"
                | "rolebindings"
                | "clusterrolebindings"
                | "serviceaccounts"
                | "certificatesigningrequests",
            ),
            _,
        ) => "iam",
        _ => "configuration",
    }
}

pub(crate) fn types(event: &AuditEvent<'_>) -> impl Iterator<Item = &'static str> {
    let of_verb = match event.verb.as_deref() {
        Some("create") => Some("creation"),
        Some("update" | "patch") => Some("change"),
        Some("delete" | "deletecollection") => Some("deletion"),
        Some("get" | "list" | "watch") => Some("access"),
        _ => None,
    };
    let of_code = match event.code {
        Some(401 | 403) => Some("denied"),
        Some(200..300) => Some("allowed"),
        _ => None,
    };
    let neither = (of_verb.is_none() && of_code.is_none()).then_some("info");
    of_verb.into_iter().chain(of_code).chain(neither)
}

fn user(event: &AuditEvent<'_>, overlay: &mut Overlay) {
    let filled = |text: &Option<Cow<'_, str>>| -> Option<String> {
        text.as_deref().filter(|it| !it.is_empty()).map(|it| cut(it).to_owned())
    };
    let (name, id, effective) =
        (filled(&event.user_name), filled(&event.user_uid), filled(&event.impersonated_user));
    if let Some(name) = &name {
        overlay.text(&["user", "name"], name);
        if name.split_once('@').is_some_and(|(_, domain)| domain.contains('.')) {
            overlay.text(&["user", "email"], name);
        }
    }
    if let Some(id) = &id {
        overlay.text(&["user", "id"], id);
    }
    if !event.user_groups.is_empty() {
        overlay.texts(&["user", "roles"], event.user_groups.iter().map(|it| cut(it)));
    }
    if let Some(effective) = &effective {
        overlay.text(&["user", "effective", "name"], effective);
    }
    let mut related: Vec<&str> = Vec::new();
    for one in [&name, &id, &effective].into_iter().flatten() {
        if !related.contains(&one.as_str()) {
            related.push(one);
        }
    }
    if !related.is_empty() {
        overlay.texts(&["related", "user"], related);
    }
}

fn addresses(event: &AuditEvent<'_>, overlay: &mut Overlay) {
    let is_ip = |text: &&str| text.parse::<IpAddr>().is_ok();
    let all = || event.source_ips.iter().map(AsRef::as_ref);
    let ips: Vec<&str> = all().filter(is_ip).collect();
    if !ips.is_empty() {
        overlay.texts(&["source", "ip"], ips.iter().copied());
        overlay.texts(&["client", "ip"], ips.iter().copied());
        let mut unique = Vec::new();
        for ip in ips {
            if !unique.contains(&ip) {
                unique.push(ip);
            }
        }
        overlay.texts(&["related", "ip"], unique);
    }
    if let Some(other) = all().find(|it| !is_ip(it)) {
        overlay.text(&["source", "address"], cut(other));
    }
}

fn request(event: &AuditEvent<'_>, overlay: &mut Overlay) {
    if let Some(agent) = event.user_agent.as_deref().filter(|it| !it.is_empty()) {
        overlay.text(&["user_agent", "original"], cut(agent));
    }
    if let Some(uri) = event.request_uri.as_deref().filter(|it| !it.is_empty()) {
        overlay.text(&["url", "original"], cut(uri));
        overlay.text(&["url", "path"], cut(event.path()));
        if !event.query().is_empty() {
            overlay.text(&["url", "query"], cut(event.query()));
        }
    }
    if let Some(code) = event.code {
        overlay.raw(&["http", "response", "status_code"], &code.to_string());
    }
    let images = images(event);
    if !images.is_empty() {
        overlay.write(&["container", "image", "name"], |out| {
            push_strings(out, images.iter().map(|it| cut(it)));
        });
    }
}

/// The different images of all containers of a pod, or of the pod template of a workload.
pub(crate) fn images(event: &AuditEvent<'_>) -> Vec<String> {
    let mut images: Vec<String> = Vec::new();
    let spec = event.request_object.and_then(|it| json::get(it, "spec"));
    let template =
        spec.and_then(|it| json::get(it, "template")).and_then(|it| json::get(it, "spec"));
    for spec in spec.into_iter().chain(template) {
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            let containers = json::get(spec, list).into_iter().flat_map(json::elements);
            for image in containers.filter_map(|it| json::string(json::get(it, "image")?)) {
                if images.len() < IMAGES_MAX && !images.iter().any(|it| *it == image) {
                    images.push(image.into_owned());
                }
            }
        }
    }
    images
}

fn orchestrator(found: &Found<'_>, overlay: &mut Overlay) {
    let object = &found.event.object;
    overlay.text(&["orchestrator", "type"], "kubernetes");
    if let Some(version) = json::member(&found.event.members, "apiVersion") {
        overlay.raw(&["orchestrator", "api_version"], version);
    }
    if let Some(cluster) = found.cluster() {
        overlay.text_if_absent(&["orchestrator", "cluster", "name"], cluster);
    }
    if let Some(namespace) = &object.namespace {
        overlay.text(&["orchestrator", "namespace"], cut(namespace));
    }
    if let Some(resource) = &object.resource {
        overlay.text(&["orchestrator", "resource", "type"], cut(resource));
    }
    if let Some(name) = &object.name {
        overlay.text(&["orchestrator", "resource", "name"], cut(name));
    }
}

fn carrier(found: &Found<'_>, overlay: &mut Overlay) {
    let carrier = &found.carrier;
    if let Some(cloudwatch) = carrier.cloudwatch {
        overlay.raw(&["aws", "cloudwatch"], cloudwatch);
        overlay.text_if_absent(&["cloud", "provider"], "aws");
    }
    if let Some(time) = &carrier.ingestion_time {
        overlay.text_if_absent(&["event", "created"], time);
    }
    if let Some(path) = carrier.log_file_path {
        overlay.raw(&["log", "file", "path"], path);
    }
}

/// Cuts a keyword to [`KEYWORD_BYTES_MAX`] bytes, at a character.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = KEYWORD_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
