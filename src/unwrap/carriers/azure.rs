//! Azure Monitor: records of diagnostic settings, which come through an Event Hub, and rows of Log Analytics.

use std::borrow::Cow;

use super::super::{
    Broken,
    envelope::{Envelope, Provider},
    overlay::{Comma, push_member},
    peel::{self, Flow, Levels, Sink, Taken, Way, value_of},
    root::Root,
};
use crate::{
    event::AuditEvent,
    json::{self, Kind, Member},
};

/// Members of a record (Azure Monitor, "Resource log schema"; the rest as seen in records of AKS).
const RECORD: [&str; 16] = [
    "time",
    "resourceId",
    "category",
    "operationName",
    "operationVersion",
    "resultType",
    "level",
    "location",
    "properties",
    "serviceBuild",
    "ccpNamespace",
    "Cloud",
    "Environment",
    "UnderlayClass",
    "UnderlayName",
    "tenantId",
];

/// What a document of Filebeat's `azure-eventhub` input tells, and one of the integration `azure`.
pub(in super::super) fn told_by<'a>(root: &Root<'a>, envelope: &mut Envelope<'a>) {
    let Some(azure) = root.azure else { return };
    if let Some(time) = json::get(azure, "enqueued_time").and_then(json::string) {
        envelope.created = Some(time);
    }
    let resource = json::get(azure, "resource").and_then(|it| json::string(json::get(it, "id")?));
    if let Some(resource) = resource.filter(|it| is_cluster(it)) {
        resource_told(&resource, envelope);
    }
}

fn is_cluster(resource: &str) -> bool {
    resource.to_ascii_uppercase().contains("/MICROSOFT.CONTAINERSERVICE/")
}

pub(in super::super) fn is_record(root: &Root<'_>) -> bool {
    let is_text = |it: Option<&str>| it.is_some_and(|it| json::kind(it) == Kind::String);
    is_text(root.category)
        && (is_text(root.resource_id) || is_text(root.time))
        && root.properties.is_some_and(|it| json::get(it, "log").is_some())
}

/// A record of AKS: its category says what `properties.log` holds.
pub(in super::super) fn record(
    text: &str,
    root: &Root<'_>,
    members: &[Member<'_>],
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let resource = root.resource_id.and_then(json::string).unwrap_or_default();
    let log = root.properties.and_then(|it| json::get(it, "log"));
    let category = root.category.and_then(json::string);
    // Clusters that Azure only knows of (Arc) are resources of other providers.
    let is_ours = is_cluster(&resource) || category.as_deref().is_some_and(is_audit_category);
    let Some(log) = log.filter(|_| is_ours) else { return way.other(text, sink) };
    let mut way = way.into(Taken::Keys(&RECORD));
    let envelope = &mut way.envelope;
    resource_told(&resource, envelope);
    envelope.category = category;
    envelope.time = root.time.and_then(json::string);
    envelope.aks_metadata = Some(Cow::Owned(metadata(members)));
    value_of(log, &way, levels, sink)
}

fn is_audit_category(category: &str) -> bool {
    ["kube-audit", "kube-audit-admin"].iter().any(|it| category.eq_ignore_ascii_case(it))
}

/// `/SUBSCRIPTIONS/<id>/RESOURCEGROUPS/<group>/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/<cluster>`, which Azure
/// writes in capitals.
fn resource_told(resource: &str, envelope: &mut Envelope<'_>) {
    envelope.provider = Provider::Aks;
    if resource.is_empty() {
        return;
    }
    envelope.cluster_id = Some(Cow::Owned(resource.to_owned()));
    let mut parts = resource.split('/');
    envelope.cluster =
        parts.next_back().filter(|it| !it.is_empty()).map(|it| Cow::Owned(it.to_ascii_lowercase()));
    let mut parts = resource.split('/').skip_while(|it| !it.eq_ignore_ascii_case("subscriptions"));
    envelope.account = parts.nth(1).map(|it| Cow::Owned(it.to_owned()));
}

/// Elastic's names for what is around the event (integrations, `kubernetes` 1.84, `audit_logs`).
const METADATA: [(&str, &str); 5] = [
    ("category", "category"),
    ("operationName", "operation_name"),
    ("resourceId", "resource_id"),
    ("serviceBuild", "service_build"),
    ("time", "time"),
];
const PROPERTIES: [(&str, &str); 3] =
    [("containerID", "container_id"), ("pod", "pod"), ("stream", "stream")];

fn metadata(members: &[Member<'_>]) -> String {
    let mut out = String::from("{");
    let mut comma = Comma(false);
    let mut put = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|it| json::kind(it) == Kind::String) {
            comma.put(&mut out);
            push_member(&mut out, name, value);
        }
    };
    for (theirs, ours) in METADATA {
        put(ours, json::member(members, theirs));
    }
    let properties = json::member(members, "properties").unwrap_or("{}");
    for (theirs, ours) in PROPERTIES {
        put(ours, json::get(properties, theirs));
    }
    out.push('}');
    out
}

/// Columns of the tables `AKSAudit` and `AKSAuditAdmin` (learn.microsoft.com, Azure Monitor's table reference), and the
/// members of an event that they hold.
const COLUMNS: [(&str, &str); 15] = [
    ("Level", "level"),
    ("AuditId", "auditID"),
    ("Stage", "stage"),
    ("RequestUri", "requestURI"),
    ("Verb", "verb"),
    ("User", "user"),
    ("ImpersonatedUser", "impersonatedUser"),
    ("SourceIps", "sourceIPs"),
    ("UserAgent", "userAgent"),
    ("ObjectRef", "objectRef"),
    ("ResponseStatus", "responseStatus"),
    ("RequestObject", "requestObject"),
    ("ResponseObject", "responseObject"),
    ("RequestReceivedTime", "requestReceivedTimestamp"),
    ("StageReceivedTime", "stageTimestamp"),
];

const ROW: [&str; 24] = [
    "Level",
    "AuditId",
    "Stage",
    "RequestUri",
    "Verb",
    "User",
    "ImpersonatedUser",
    "SourceIps",
    "UserAgent",
    "ObjectRef",
    "ResponseStatus",
    "RequestObject",
    "ResponseObject",
    "RequestReceivedTime",
    "StageReceivedTime",
    "Annotations",
    "TimeGenerated",
    "PodName",
    "_ResourceId",
    "_SubscriptionId",
    "Type",
    "SourceSystem",
    "TenantId",
    "_ItemId",
];

pub(in super::super) fn is_row(root: &Root<'_>) -> bool {
    root.table_audit_id.is_some() && root.table_stage.is_some()
}

/// A row of Log Analytics, as data export writes it.
pub(in super::super) fn row(
    text: &str,
    members: &[Member<'_>],
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let mut way = way.into(Taken::Keys(&ROW));
    way.envelope.provider = Provider::Aks;
    if let Some(resource) = json::member(members, "_ResourceId").and_then(json::string) {
        resource_told(&resource, &mut way.envelope);
    }
    way.envelope.time = json::member(members, "TimeGenerated").and_then(json::string);
    let pod = json::member(members, "PodName").filter(|it| json::kind(it) == Kind::String);
    way.envelope.aks_metadata = pod.map(|it| Cow::Owned(format!("{{\"pod\":{it}}}")));
    let Some((buffer, _)) = levels.next() else { return way.broken(text, Broken::TooDeep, sink) };
    write(members, buffer);
    let mut inner = Vec::with_capacity(20);
    match json::object(buffer, json::DEPTH_MAX, &mut inner) {
        Ok(depth) => way.found(&AuditEvent::new(buffer, inner), depth + peel::IN_DOCUMENT, sink),
        Err(_) => way.broken(text, Broken::Json, sink),
    }
}

fn write(members: &[Member<'_>], out: &mut String) {
    /// Azure Monitor's word for a body that is too large for a column.
    const SKIPPED: &str = "\"skipped-too-big-size-object\"";
    let mut skipped = false;
    out.push_str("{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"");
    let mut put = |name: &str, value: &str| {
        out.push(',');
        push_member(out, name, value);
    };
    for (column, name) in COLUMNS {
        let Some(value) = json::member(members, column).filter(|it| json::kind(it) != Kind::Null)
        else {
            continue;
        };
        if value == SKIPPED {
            skipped = true;
            continue;
        }
        match embedded(value) {
            Some(value) => put(name, &value),
            None => put(name, value),
        }
    }
    let annotations = json::member(members, "Annotations");
    let annotations = annotations.map(|it| embedded(it).unwrap_or_else(|| it.to_owned()));
    let annotations = annotations.filter(|it| json::kind(it) == Kind::Object);
    let open =
        annotations.as_deref().and_then(|it| it.strip_suffix('}')).unwrap_or("{").trim_ascii_end();
    let note = match (skipped, open.ends_with('{')) {
        (false, _) => "",
        (true, true) => "\"k8scop_object_skipped\":\"true\"",
        (true, false) => ",\"k8scop_object_skipped\":\"true\"",
    };
    put("annotations", &format!("{open}{note}}}"));
    out.push('}');
}

/// A dynamic column that was exported as text.
fn embedded(value: &str) -> Option<String> {
    let text = json::string(value).filter(|it| it.starts_with(['{', '[']))?;
    json::check(&text, json::DEPTH_MAX).ok()?;
    Some(text.replace(['\r', '\n'], " "))
}
