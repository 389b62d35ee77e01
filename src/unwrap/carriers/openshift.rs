//! OpenShift's collector (cluster-logging-operator): its own data model, `viaq`, and OpenTelemetry's.

use std::borrow::Cow;

use super::super::{
    envelope::{Envelope, Provider},
    peel::{Flow, Levels, Sink, Taken, Way, is_known, value_of},
    root::{Root, is_candidate},
};
use crate::json::{self, Member};

/// What a document of the collector tells.
pub(in super::super) fn told_by<'a>(root: &Root<'a>, envelope: &mut Envelope<'a>) {
    if let Some(id) = root.openshift.and_then(|it| json::string(json::get(it, "cluster_id")?)) {
        envelope.provider = Provider::Openshift;
        envelope.cluster_id = Some(id.clone());
        envelope.cluster = Some(id);
    }
}

/// The collector writes a log level over the event's `level`, and keeps that as `k8s_audit_level`.
pub(in super::super) fn restore_level<'a>(root: &Root<'a>, event: &mut Vec<Member<'a>>) {
    let Some(level) = root.k8s_audit_level else { return };
    event.retain(|it| !it.is("k8s_audit_level"));
    match event.iter_mut().find(|it| it.is("level")) {
        Some(member) => member.value = level,
        None => event.push(Member { raw_key: "level", value: level }),
    }
}

/// OpenTelemetry's logs (OTLP 1.5, `ExportLogsServiceRequest` in JSON): the event is the body of a record.
pub(in super::super) fn otlp(
    text: &str,
    resource_logs: &str,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let all = json::elements(resource_logs).flat_map(records);
    if !is_candidate(resource_logs) || !all.filter_map(body).any(is_known) {
        return way.other(text, sink);
    }
    let way = way.into(Taken::Keys(&["resourceLogs"])).split();
    for resource in json::elements(resource_logs) {
        let mut way = way.clone();
        let attributes = json::get(resource, "resource").and_then(|it| json::get(it, "attributes"));
        attributed(attributes.unwrap_or("[]"), &mut way.envelope);
        for record in records(resource) {
            match body(record).filter(|it| is_known(it)) {
                Some(body) => value_of(body, &way, levels, sink)?,
                None => way.other(record, sink)?,
            }
        }
    }
    Flow::Continue(())
}

fn records(resource: &str) -> impl Iterator<Item = &str> {
    json::elements(json::get(resource, "scopeLogs").unwrap_or("[]"))
        .flat_map(|scope| json::elements(json::get(scope, "logRecords").unwrap_or("[]")))
}

fn body(record: &str) -> Option<&str> {
    json::get(json::get(record, "body")?, "stringValue")
}

fn attributed<'a>(attributes: &'a str, envelope: &mut Envelope<'a>) {
    for attribute in json::elements(attributes) {
        let key = json::get(attribute, "key").and_then(json::string);
        let value = || -> Option<Cow<'a, str>> {
            json::string(json::get(json::get(attribute, "value")?, "stringValue")?)
        };
        match key.as_deref() {
            Some("openshift.cluster_id" | "openshift.cluster.uid") => {
                envelope.provider = Provider::Openshift;
                envelope.cluster = value();
                envelope.cluster_id = value();
            }
            Some("k8s.cluster.name") => envelope.cluster = value(),
            _ => (),
        }
    }
}
