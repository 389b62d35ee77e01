//! Documents that an ingest pipeline of Elastic's integrations already wrote, read back into the event: they
//! come from Logstash, which can run these pipelines itself, and out of indices that are written anew.
//!
//! Field names are those of the pipelines (elastic/integrations, `packages/`, 2026-08).

use std::{borrow::Cow, collections::HashMap};

use super::{
    gke::{self, Object},
    root::Root,
};
use crate::{
    event::AuditEvent,
    json::{self, Kind, Member},
};

/// A document that one of Elastic's integrations wrote, by the field that holds the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// `aws.eks.audit` (`aws/data_stream/eks_audit`): the API server's event, changed in places.
    Eks,
    /// `gcp.audit` (`gcp/data_stream/audit`): an entry of Cloud Logging, cut up.
    Gcp,
    /// `azure.platformlogs` (`azure/data_stream/platformlogs`) with the event in `properties.log`.
    Azure,
}

/// Categories of Azure's control plane logs that are audit events; the second is the first without reads.
const AZURE_CATEGORIES: [&str; 2] = ["kube-audit", "kube-audit-admin"];

/// Whether a closer look is worth it: what the integrations write stands below one of these, or in keys that are paths.
pub(super) fn may_have_schema(root: &Root<'_>) -> bool {
    root.has_dots || [root.aws, root.gcp, root.azure].iter().any(Option::is_some)
}

/// Which integration wrote the document, if it is of an audit event of Kubernetes.
pub(super) fn schema(members: &[Member<'_>]) -> Option<Schema> {
    if object_at(members, "aws.eks.audit").is_some() {
        return Some(Schema::Eks);
    }
    if let Some(audit) = object_at(members, "gcp.audit") {
        let audit = listed(audit);
        let service = text_at(members, "service.name").or_else(|| text_at(&audit, "service_name"));
        let action = text_at(members, "event.action").or_else(|| text_at(&audit, "method_name"));
        let is_kubernetes = service.is_some_and(|it| it == "k8s.io")
            || action.is_some_and(|it| it.starts_with(gke::KUBERNETES_METHOD));
        return is_kubernetes.then_some(Schema::Gcp);
    }
    let category = text_at(members, "azure.platformlogs.category")?;
    AZURE_CATEGORIES.iter().any(|it| category.eq_ignore_ascii_case(it)).then_some(Schema::Azure)
}

/// Appends the event to `out`: one JSON object on one line. False, with nothing appended, if there is none in
/// the document. Where the document kept the original text (`event.original`), the event is read from that: the
/// pipelines leave out and rename.
pub(super) fn convert(schema: Schema, members: &[Member<'_>], out: &mut String) -> bool {
    let original = text_at(members, "event.original");
    let original = original.as_deref().unwrap_or_default();
    match schema {
        Schema::Eks => write_event(original, out) || of_eks(members, out),
        Schema::Gcp => write_entry(original, out) || of_gcp(members, out),
        Schema::Azure => of_azure(original, members, out),
    }
}

fn of_eks(members: &[Member<'_>], out: &mut String) -> bool {
    object_at(members, "aws.eks.audit").is_some_and(|audit| write_event(audit, out))
}

/// The pipeline turns `properties.log` into an object; what it cannot read goes to `message`.
fn of_azure(original: &str, members: &[Member<'_>], out: &mut String) -> bool {
    let mut record = Vec::new();
    let record = json::object(original, json::DEPTH_MAX, &mut record).is_ok().then_some(record);
    [
        record.as_deref().and_then(|it| at(it, "properties.log")),
        at(members, "azure.platformlogs.properties.log"),
        at(members, "message"),
    ]
    .into_iter()
    .flatten()
    .any(|log| match json::kind(log) {
        Kind::String => json::string(log).is_some_and(|it| write_event(&it, out)),
        _ => write_event(log, out),
    })
}

/// Appends `text`, if it is an event of the API server: its own values, in the API server's order.
fn write_event(text: &str, out: &mut String) -> bool {
    let mut members = Vec::new();
    if json::object(text, json::DEPTH_MAX, &mut members).is_err() || !is_event(&members) {
        return false;
    }
    let start = out.len();
    Object::write(out, |event| {
        for name in AuditEvent::MEMBERS {
            let value = json::member(&members, name);
            match value {
                Some(value) if name == "objectRef" => write_object_ref(value, event),
                _ => event.raw(name, value),
            }
        }
        let mut last = HashMap::new();
        for (index, member) in members.iter().enumerate() {
            if let Some(key) =
                member.key().filter(|key| !AuditEvent::MEMBERS.contains(&key.as_ref()))
            {
                last.insert(key, index);
            }
        }
        for (index, member) in members.iter().enumerate() {
            if member.key().is_some_and(|key| last.get(&key) == Some(&index)) {
                event.raw(member.raw_key, Some(member.value));
            }
        }
    });
    gke::one_line(out, start);
    true
}

fn is_event(members: &[Member<'_>]) -> bool {
    let text = |name| json::member(members, name).and_then(json::string);
    text("kind").is_some_and(|it| it == "Event")
        && text("apiVersion").is_some_and(|it| it.starts_with("audit.k8s.io/"))
        && (text("auditID").is_some() || text("stage").is_some())
}

/// The integration for EKS puts the group `core` where the API server has none (`audit.yml`).
fn write_object_ref(value: &str, event: &mut Object<'_>) {
    if json::get(value, "apiGroup") != Some("\"core\"") {
        return event.raw("objectRef", Some(value));
    }
    event.object("objectRef", |object| {
        for member in json::members(value).filter(|it| !it.is("apiGroup")) {
            object.raw(member.raw_key, Some(member.value));
        }
    });
}

/// Appends `text`, if it is an entry of Cloud Logging about the Kubernetes API.
fn write_entry(text: &str, out: &mut String) -> bool {
    let mut members = Vec::new();
    json::object(text, json::DEPTH_MAX, &mut members).is_ok()
        && gke::is_entry(&members)
        && gke::convert(&members, out).is_some()
}

/// Puts the entry together again and takes the event from it.
fn of_gcp(members: &[Member<'_>], out: &mut String) -> bool {
    let Some(audit) = object_at(members, "gcp.audit").map(listed) else { return false };
    let mut entry = String::new();
    write_log_entry(&Document { members, audit: &audit }, &mut entry);
    write_entry(&entry, out)
}

/// A document of the integration for Google Cloud.
struct Document<'a, 'm> {
    members: &'m [Member<'a>],
    /// Members of `gcp.audit`.
    audit: &'m [Member<'a>],
}

impl<'a> Document<'a, '_> {
    /// The first of these fields that the document has. Versions of the pipeline differ in where they put some
    /// values; a path that starts with a dot is in `gcp.audit`.
    fn first(&self, paths: &[&str]) -> Option<&'a str> {
        paths.iter().find_map(|path| match path.strip_prefix('.') {
            Some(path) => at(self.audit, path),
            None => at(self.members, path),
        })
    }

    /// The same, of a field with several values the first.
    fn one(&self, paths: &[&str]) -> Option<&'a str> {
        let value = self.first(paths)?;
        if json::kind(value) == Kind::Array { json::elements(value).next() } else { Some(value) }
    }
}

fn write_log_entry(document: &Document<'_, '_>, out: &mut String) {
    let one = |paths: &[&str]| document.one(paths);
    Object::write(out, |entry| {
        entry.raw("insertId", one(&["event.id"]));
        entry.raw("labels", document.first(&[".labels"]));
        entry.raw("logName", one(&["log.logger"]));
        entry.object("operation", |operation| {
            let (first, last) = operation_parts(document);
            operation.raw("id", one(&[".logentry_operation.id", "event.id"]));
            operation.raw("first", first.then_some("true"));
            operation.raw("last", last.then_some("true"));
        });
        entry.object("protoPayload", |payload| write_payload(document, payload));
        entry.raw("receiveTimestamp", one(&[".receive_timestamp"]));
        entry.object("resource", |resource| {
            resource.text("type", Some("k8s_cluster"));
            resource.object("labels", |labels| {
                labels.raw("cluster_name", one(&["orchestrator.cluster.name"]));
                labels.raw("location", one(&["cloud.availability_zone", "cloud.region"]));
                labels.raw("project_id", one(&["cloud.project.id"]));
            });
        });
        // Milliseconds: the pipeline cuts the rest off.
        entry.raw("timestamp", one(&["@timestamp"]));
    });
}

fn write_payload(document: &Document<'_, '_>, payload: &mut Object<'_>) {
    let one = |paths: &[&str]| document.one(paths);
    payload.object("authenticationInfo", |info| {
        let email = ["client.user.email", ".authentication_info.principal_email", "user.email"];
        let subject = ["client.user.id", ".authentication_info.principal_subject"];
        info.raw("principalEmail", one(&email));
        info.raw("principalSubject", one(&subject));
        info.raw("authoritySelector", one(&[".authentication_info.authority_selector"]));
    });
    payload.raw("authorizationInfo", document.first(&[".authorization_info"]));
    payload.raw("methodName", one(&["event.action", ".method_name"]));
    payload.object("requestMetadata", |metadata| {
        let ip = [".request_metadata.raw.caller_ip", ".request_metadata.caller_ip"];
        let agent = ["user_agent.original", ".request_metadata.caller_supplied_user_agent"];
        metadata.raw("callerIp", one(&["source.ip", "source.address"]).or_else(|| one(&ip)));
        metadata.raw("callerSuppliedUserAgent", one(&agent));
    });
    payload.raw("resourceName", one(&[".resource_name"]));
    payload.text("serviceName", Some("k8s.io"));
    payload.raw("status", document.first(&[".status"]));
    payload.raw("request", document.first(&[".request"]));
    if let Some(response) = document.first(&[".response"]) {
        // A `status` that is no object, as in a failure, has another name in the document.
        let renamed =
            |it: &Member<'_>| it.is("status_value") && json::get(response, "status").is_none();
        payload.object("response", |object| {
            for member in json::members(response) {
                let key = if renamed(&member) { "status" } else { member.raw_key };
                object.raw(key, Some(member.value));
            }
        });
    }
}

/// Whether the entry was the first and the last of its operation. The pipeline keeps that in words: an entry
/// that is both has none, others are of the category `session` and of the type `start`, `end` or neither.
fn operation_parts(document: &Document<'_, '_>) -> (bool, bool) {
    let is = |path| document.first(&[path]).map(|it| it == "true");
    let (first, last) = (is(".logentry_operation.first"), is(".logentry_operation.last"));
    if first.is_some() || last.is_some() {
        return (first == Some(true), last == Some(true));
    }
    let has = |path, word: &str| {
        document.first(&[path]).is_some_and(|words| json::elements(words).any(|it| it == word))
    };
    let whole = !has("event.category", "\"session\"");
    (whole || has("event.type", "\"start\""), whole || has("event.type", "\"end\""))
}

fn listed(object: &str) -> Vec<Member<'_>> {
    json::members(object).take(json::MEMBERS_MAX).collect()
}

fn object_at<'a>(members: &[Member<'a>], path: &str) -> Option<&'a str> {
    at(members, path).filter(|it| json::kind(it) == Kind::Object)
}

fn text_at<'a>(members: &[Member<'a>], path: &str) -> Option<Cow<'a, str>> {
    at(members, path).and_then(json::string)
}

/// The value at a path, whether its names are keys of objects in objects or keys with dots.
fn at<'a>(members: &[Member<'a>], path: &str) -> Option<&'a str> {
    members.iter().rev().find_map(|it| below(it, path))
}

fn below<'a>(member: &Member<'a>, path: &str) -> Option<&'a str> {
    if member.is(path) {
        return Some(member.value);
    }
    let rest = path.strip_prefix(member.raw_key)?.strip_prefix('.')?;
    json::members(member.value).filter_map(|it| below(&it, rest)).last()
}

#[cfg(test)]
mod tests;
