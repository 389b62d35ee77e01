use std::{borrow::Cow, net::IpAddr};

use jiff::{SignedDuration, Timestamp, civil::DateTime};

use super::{
    Found, Labels, Settings, TAG_BODY_TEXT, TAG_FROM_CONTAINER, TAG_FUTURE, TAG_REDUCED,
    TAG_TRUNCATED,
    audit::write_audit,
    overlay::{Overlay, push_strings},
    peel::{Taken, Way},
    root,
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

/// Where timestamps count from.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// The members of a document that stay in it.
pub(super) struct Stays<'a> {
    members: std::slice::Iter<'a, Member<'a>>,
    taken: &'static [&'static str],
}

impl<'a> Stays<'a> {
    pub(super) fn of(way: &Way<'a>) -> Self {
        let taken: &[&str] = match way.taken {
            Some(Taken::Keys(keys)) => keys,
            Some(Taken::Original) | None => &[],
        };
        Self { members: way.base.iter(), taken }
    }
}

impl<'a> Iterator for Stays<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let Self { members, taken } = self;
        members
            .find(|member| !taken.iter().any(|key| member.is(key)) && !root::is_carrier_key(member))
            .copied()
    }
}

/// Puts all fields of `kubernetes.audit_logs` into the overlay.
pub(super) fn fill(
    found: &Found<'_>,
    labels: &Labels<'_>,
    settings: &Settings,
    now: Timestamp,
    overlay: &mut Overlay,
) {
    let (event, way) = (found.event, found.way);
    let mut new_tags = Vec::new();
    if time(event, way, now, overlay) == Clock::OtherForFuture {
        new_tags.push(TAG_FUTURE);
    }
    let objects = (!found.is_deep).then_some(settings.objects);
    let metadata = way.envelope.aks_metadata.as_deref();
    let mut has_text = false;
    overlay.write(&["kubernetes", "audit"], |out| {
        has_text = write_audit(event, objects, metadata, out);
    });
    if has_text {
        new_tags.push(TAG_BODY_TEXT);
    }
    if found.is_deep {
        new_tags.push(TAG_REDUCED);
    }
    if way.is_container {
        new_tags.push(TAG_FROM_CONTAINER);
    }
    if event.is_cut || event.is_truncated {
        new_tags.push(TAG_TRUNCATED);
    }
    event_fields(event, overlay);
    user(event, overlay);
    addresses(event, overlay);
    request(event, overlay);
    orchestrator(found, overlay);
    envelope(way, overlay);
    if found.keeps_text(settings) {
        if !has_original(way) {
            overlay.text(&["event", "original"], event.text);
        }
    } else if way.taken == Some(Taken::Original) {
        overlay.remove(&["event", "original"]);
    }
    data_stream(labels, now, overlay);
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
        tags(way.base, &new_tags, overlay);
    }
}

/// Whether a decoded event came with its text: a k8scop or an integration that took parts of it away kept it whole.
fn has_original(way: &Way<'_>) -> bool {
    let original = || json::get(json::member(way.base, "event")?, "original");
    way.taken == Some(Taken::Keys(&[])) && original().is_some_and(|it| it.starts_with("\"{"))
}

/// The data stream that a document is rerouted to.
pub(super) fn data_stream(labels: &Labels<'_>, now: Timestamp, overlay: &mut Overlay) {
    if let Some((dataset, namespace)) = labels.data_stream {
        overlay.text(&["data_stream", "type"], "logs");
        overlay.text(&["data_stream", "dataset"], dataset);
        overlay.text(&["data_stream", "namespace"], namespace);
        overlay.text(&["event", "dataset"], dataset);
        overlay.text(&["event", "module"], "kubernetes");
        // Elastic's rules look at events by the time at which they came in, so that late ones are not missed.
        overlay.text(&["event", "ingested"], &now.to_string());
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
        let has = |tag: &str| match json::kind(old) {
            Kind::Array => {
                json::elements(old).any(|it| json::string(it).is_some_and(|it| it == tag))
            }
            _ => json::string(old).is_some_and(|it| it == tag),
        };
        // A second k8scop finds the tags of the first.
        for tag in new.iter().filter(|it| !has(it)) {
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
    /// The carrier's, the document's or ours: the event has no time that can be read.
    Other,
    /// The same: the event's is more than a day ahead.
    OtherForFuture,
}

/// When the event happened: `stageTimestamp`, else `requestReceivedTimestamp`, else the time of the carrier, else the
/// document's, else now. What is stored has it as `@timestamp`.
pub(super) fn when(event: &AuditEvent<'_>, way: &Way<'_>, now: Timestamp) -> When {
    let mut clock = Clock::Other;
    for text in [&event.stage_time, &event.received].into_iter().flatten() {
        let Some((at, text)) = readable(text) else { continue };
        if at.duration_since(now) <= FUTURE_MAX {
            return When { at, text: text.into_owned(), clock: Clock::Event };
        }
        clock = Clock::OtherForFuture;
    }
    let documents = json::member(way.base, "@timestamp").and_then(json::string);
    let others = [way.envelope.time.as_deref(), documents.as_deref()];
    let (at, text) = match others.into_iter().flatten().find_map(readable) {
        Some((at, text)) => (at, text.into_owned()),
        None => (now, now.to_string()),
    };
    When { at, text, clock }
}

/// A time as it is written, if Elasticsearch reads it so (`strict_date_optional_time`), else in a form that it
/// does read; `None` if it is no time.
fn readable(text: &str) -> Option<(Timestamp, Cow<'_, str>)> {
    let (at, text) = match strict(text) {
        Some(at) => (at, Cow::Borrowed(text)),
        None => {
            let at: Timestamp = text.parse().ok()?;
            (at, Cow::Owned(at.to_string()))
        }
    };
    (at.as_second() >= 0).then_some((at, text))
}

/// A time as the API server writes it: `2026-03-01T12:00:00Z`, with up to nine digits more.
fn strict(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.strip_suffix('Z')?.split_at_checked(19)?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2] =
        whole.as_bytes()
    else {
        return None;
    };
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i32::from(byte - b'0'));
    let two = |tens, ones| i8::try_from(digit(tens)? * 10 + digit(ones)?).ok();
    let year = i16::from(two(y1, y2)?) * 100 + i16::from(two(y3, y4)?);
    let nanos = match fraction.strip_prefix('.') {
        Some(digits) if (1..=9).contains(&digits.len()) => {
            let padded = digits.bytes().chain(std::iter::repeat(b'0')).take(9);
            padded.map(digit).try_fold(0, |sum, digit| Some(sum * 10 + digit?))?
        }
        None if fraction.is_empty() => 0,
        _ => return None,
    };
    let (hour, minute, second) = (two(h1, h2)?, two(n1, n2)?, two(s1, s2)?);
    let at = DateTime::new(year, two(m1, m2)?, two(d1, d2)?, hour, minute, second, nanos).ok()?;
    Timestamp::from_duration(at.duration_since(EPOCH)).ok()
}

/// `@timestamp` is the event's own, digit for digit: CloudWatch and Filebeat cut theirs to seconds.
fn time(event: &AuditEvent<'_>, way: &Way<'_>, now: Timestamp, overlay: &mut Overlay) -> Clock {
    if let Some((start, text)) = event.received.as_deref().and_then(readable) {
        overlay.text(&["event", "start"], &text);
        if let Some((end, text)) = event.stage_time.as_deref().and_then(readable) {
            overlay.text(&["event", "end"], &text);
            let nanoseconds = end.duration_since(start).as_nanos().max(0);
            overlay.raw(&["event", "duration"], &nanoseconds.to_string());
        }
    }
    let when = when(event, way, now);
    match when.clock {
        Clock::Event => overlay.text(&["@timestamp"], &when.text),
        Clock::Other | Clock::OtherForFuture => envelope_time(way, now, overlay),
    }
    when.clock
}

/// The time of what has none of its own: the carrier's, else the document's, else now.
pub(super) fn envelope_time(way: &Way<'_>, now: Timestamp, overlay: &mut Overlay) {
    match way.envelope.time.as_deref().and_then(readable) {
        Some((_, text)) => overlay.text(&["@timestamp"], &text),
        None => overlay.text_if_absent(&["@timestamp"], &now.to_string()),
    }
}

/// The document's `@timestamp`.
pub(super) fn timestamp(members: &[Member<'_>]) -> Option<Timestamp> {
    json::string(json::member(members, "@timestamp")?)?.parse().ok()
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
        Some(stage) => [audit_id, "/", stage].concat(),
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
    let [name, id, effective] = [&event.user_name, &event.user_uid, &event.impersonated_user]
        .map(|text| text.as_deref().filter(|it| !it.is_empty()).map(cut));
    if let Some(name) = name {
        overlay.text(&["user", "name"], name);
        if name.split_once('@').is_some_and(|(_, domain)| domain.contains('.')) {
            overlay.text(&["user", "email"], name);
        }
    }
    if let Some(id) = id {
        overlay.text(&["user", "id"], id);
    }
    if !event.user_groups.is_empty() {
        overlay.texts(&["user", "roles"], event.user_groups.iter().map(|it| cut(it)));
    }
    if let Some(effective) = effective {
        overlay.text(&["user", "effective", "name"], effective);
    }
    let mut related: Vec<&str> = Vec::new();
    for one in [name, id, effective].into_iter().flatten() {
        if !related.contains(&one) {
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

/// What the carriers told.
pub(super) fn envelope(way: &Way<'_>, overlay: &mut Overlay) {
    let envelope = &way.envelope;
    let cluster = envelope.cluster().or(way.settings.cluster.as_deref());
    let provider = envelope.provider.cloud().or(envelope.cloudwatch.as_ref().map(|_| "aws"));
    let texts: [(&'static [&'static str], Option<&str>); 7] = [
        (&["orchestrator", "cluster", "name"], cluster),
        (&["orchestrator", "cluster", "id"], envelope.cluster_id.as_deref()),
        (&["cloud", "provider"], provider),
        (&["cloud", "region"], envelope.region.as_deref()),
        (&["cloud", "account", "id"], envelope.account.as_deref()),
        (&["cloud", "project", "id"], envelope.project.as_deref()),
        (&["event", "created"], envelope.created.as_deref()),
    ];
    for (path, text) in texts {
        if let Some(text) = text.filter(|it| !it.is_empty()) {
            overlay.text_if_absent(path, cut(text));
        }
    }
    if let Some(cloudwatch) = &envelope.cloudwatch {
        overlay.raw(&["aws", "cloudwatch"], cloudwatch);
    }
    if let Some(path) = envelope.log_file_path {
        overlay.raw(&["log", "file", "path"], path);
    }
    // A text where ECS has an object: Logstash before ECS, fluentd.
    let host = json::member(way.base, "host").filter(|it| json::kind(it) == Kind::String);
    if let Some(host) = host {
        overlay.raw(&["host", "name"], host);
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
