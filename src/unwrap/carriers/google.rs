//! Google Cloud: entries of Cloud Logging, and the Pub/Sub messages that carry them.

use std::borrow::Cow;

use super::super::{
    Broken, decode,
    envelope::{Envelope, Provider},
    gke,
    peel::{self, Flow, Levels, Sink, Taken, Way},
    root::Root,
};
use crate::{
    event::{AuditEvent, Text},
    json::{self, Kind, Member},
};

/// Members of an entry (`LogEntry`, Cloud Logging API v2).
const ENTRY: [&str; 18] = [
    "insertId",
    "labels",
    "logName",
    "operation",
    "protoPayload",
    "receiveTimestamp",
    "resource",
    "severity",
    "timestamp",
    "trace",
    "traceSampled",
    "spanId",
    "sourceLocation",
    "httpRequest",
    "split",
    "errorGroups",
    "apphub",
    "metadata",
];

/// An entry of GKE's API server.
pub(in super::super) fn entry(
    text: &str,
    members: &[Member<'_>],
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    if !gke::is_entry(members) {
        return way.other(text, sink);
    }
    let mut way = way.into(Taken::Keys(&ENTRY));
    let Some((buffer, _)) = levels.next() else { return way.broken(text, Broken::TooDeep, sink) };
    let Some(entry) = gke::convert(members, buffer) else { return way.other(text, sink) };
    told(entry, &mut way.envelope);
    let mut inner = Vec::with_capacity(24);
    match json::object(buffer, json::DEPTH_MAX, &mut inner) {
        Ok(depth) => way.found(&AuditEvent::new(buffer, inner), depth + peel::IN_DOCUMENT, sink),
        Err(_) => way.other(text, sink),
    }
}

fn told<'a>(entry: gke::Entry<'a>, envelope: &mut Envelope<'a>) {
    envelope.provider = Provider::Gke;
    if let (Some(project), Some(location), Some(cluster)) =
        (&entry.project, &entry.location, &entry.cluster)
    {
        let id = format!("projects/{project}/locations/{location}/clusters/{cluster}");
        envelope.cluster_id = Some(Cow::Owned(id));
    }
    // A zone is its region and a letter: `europe-west1-b`.
    let region = |location: &Cow<'a, str>| -> Text<'a> {
        let is_zone = location.matches('-').count() == 2;
        let region =
            location.rsplit_once('-').filter(|_| is_zone).map(|(region, _)| region.to_owned());
        Some(region.map_or_else(|| location.clone(), Cow::Owned))
    };
    envelope.region = entry.location.as_ref().and_then(region);
    envelope.cluster = entry.cluster;
    envelope.project = entry.project;
    envelope.id = entry.insert_id;
    if envelope.created.is_none() {
        envelope.created = entry.received;
    }
}

/// A message that Pub/Sub pushes (`PushMessage`, Pub/Sub API v1).
pub(in super::super) fn is_push(root: &Root<'_>) -> bool {
    let data = || json::get(root.message?, "data");
    root.subscription.is_some_and(|it| json::kind(it) == Kind::String) && data().is_some()
}

pub(in super::super) fn push(
    text: &str,
    root: &Root<'_>,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let message = root.message.unwrap_or("{}");
    let data = json::get(message, "data").and_then(json::string).unwrap_or_default();
    let mut way = way.into(Taken::Keys(&["message", "subscription", "deliveryAttempt"]));
    way.envelope.created = json::get(message, "publishTime").and_then(json::string);
    decode::into_text(&data, text, &way, levels, sink)
}
