//! Finds the audit event in a document, whatever carried it, and writes the document that Elasticsearch is to
//! hold: the event as the object `kubernetes.audit`, ECS fields beside it. No I/O, no clock.
//!
//! Nothing fails here. What is no audit event passes as it came; what looks like one and cannot be read passes
//! as it came, with a tag that says so.

mod audit;
mod carrier;
mod ecs;
mod overlay;

use std::borrow::Cow;

use jiff::Timestamp;

pub(crate) use self::ecs::{category, cut, event_id, images, outcome, types};
use self::overlay::Overlay;
pub use self::{
    audit::Objects,
    carrier::Place,
    ecs::{Clock, When, when},
};
use crate::{
    event::AuditEvent,
    json::{self, Member},
};

/// Tag of a document whose `message` starts like an audit event and is none.
pub const TAG_UNWRAP_FAILED: &str = "k8scop_unwrap_failed";
/// Tag of a document from which Elasticsearch would not take the event as an object.
pub const TAG_REDUCED: &str = "k8scop_reduced";
/// Tag of a document whose event claims to be more than a day ahead of our clock.
pub const TAG_FUTURE: &str = "k8scop_future_timestamp";

/// How documents are written.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Keep the event's text in `event.original`.
    pub preserve_original: bool,
    /// What becomes of `requestObject` and `responseObject`.
    pub objects: Objects,
    /// Deepest document (levels). An event that makes a deeper one is written without its objects.
    pub depth_max: usize,
    /// Name of the cluster where the document does not tell.
    pub cluster: Option<String>,
}

/// An audit event found in a document.
#[derive(Debug)]
pub struct Found<'a> {
    /// Where it stood.
    pub place: Place,
    /// The event.
    pub event: AuditEvent<'a>,
    carrier: carrier::Carrier<'a>,
    /// Too deep to be an object in Elasticsearch.
    deep: bool,
    cluster: Option<Cow<'a, str>>,
}

impl Found<'_> {
    /// Whether the document is to hold the event's whole text, in `event.original`.
    #[must_use]
    pub fn keeps_text(&self, settings: &Settings) -> bool {
        settings.preserve_original || self.deep
    }

    /// Whether it came through CloudWatch.
    #[must_use]
    pub fn is_eks(&self) -> bool {
        self.carrier.cluster().is_some()
    }

    /// The name of the cluster: from the CloudWatch log group, `orchestrator.cluster.name` or the settings.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.carrier.cluster().or(self.cluster.as_deref())
    }
}

/// Labels of the event, which others derive and this room writes.
#[derive(Debug, Default)]
pub struct Labels<'a> {
    /// The data stream that the document goes to, if it is rerouted: dataset and namespace.
    pub data_stream: Option<(&'a str, &'a str)>,
    /// The `kubectl` command behind the event.
    pub kubectl: Option<&'a str>,
    /// Titles of the rules that the event hit.
    pub rules: &'a [&'a str],
}

/// Buffers that one document after the other is written through.
#[derive(Debug, Default)]
pub struct Scratch {
    overlay: Overlay,
}

/// Looks for an audit event in the document with these root members, `depth` levels deep. `buffer` takes its
/// text where the document does not hold it in one piece.
pub fn find<'a>(
    members: &[Member<'a>],
    depth: usize,
    settings: &'a Settings,
    buffer: &'a mut String,
) -> Option<Found<'a>> {
    let (place, event, depth) = carrier::find(members, buffer, depth)?;
    let carrier = carrier::carrier(members);
    let told = || {
        let cluster = json::get(json::member(members, "orchestrator")?, "cluster")?;
        json::string(json::get(cluster, "name")?)
    };
    Some(Found {
        place,
        event,
        carrier,
        deep: depth > settings.depth_max,
        cluster: told().or(settings.cluster.as_deref().map(Cow::Borrowed)),
    })
}

/// Whether a document in which [`find`] found nothing starts like an audit event: cut on its way, most likely.
#[must_use]
pub fn is_broken(members: &[Member<'_>]) -> bool {
    carrier::candidate(members).is_some_and(|raw| {
        let head = raw.as_bytes().get(..raw.len().min(200)).unwrap_or_default();
        memchr::memmem::find(head, b"\\\"kind\\\":\\\"Event\\\"").is_some()
            && memchr::memmem::find(head, b"\\\"apiVersion\\\":\\\"audit.k8s.io/").is_some()
    })
}

/// Writes a document as it came, with [`TAG_UNWRAP_FAILED`] added.
pub fn write_broken(members: &[Member<'_>], scratch: &mut Scratch, out: &mut String) {
    let overlay = &mut scratch.overlay;
    overlay.clear();
    ecs::tags(members, &[TAG_UNWRAP_FAILED], overlay);
    overlay.write(&["error", "message"], |out| {
        json::push_string(
            out,
            "message starts like a Kubernetes audit event and is no complete one",
        );
    });
    overlay.merge(members.iter().copied(), out);
}

/// Writes the document that holds the event. `now` is used only where the event has no usable time.
pub fn write(
    members: &[Member<'_>],
    found: &Found<'_>,
    labels: &Labels<'_>,
    settings: &Settings,
    now: Timestamp,
    scratch: &mut Scratch,
    out: &mut String,
) {
    let overlay = &mut scratch.overlay;
    overlay.clear();
    ecs::fill(members, found, labels, settings, now, overlay);
    let place = found.place;
    let stays = |member: &&Member<'_>| match place {
        Place::Message => !member.is("message"),
        Place::Decoded => true,
        Place::Root => !carrier::is_audit_key(member),
    };
    let rest = members.iter().filter(stays).filter(|it| !carrier::is_carrier_key(it));
    overlay.merge(rest.copied(), out);
}

/// How much of a document is left when Elasticsearch refuses it for what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduced {
    /// Without `requestObject` and `responseObject`, whose content a client of the API server chooses.
    WithoutObjects,
    /// Only its time, its data stream and its text.
    TextOnly,
}

/// Writes a document of [`write`] in a reduced form, with the whole event as text in `event.original`: what it
/// has there, if `has_text`, else its event. `reason` is why Elasticsearch refused it.
pub fn write_reduced(
    document: &str,
    form: Reduced,
    has_text: bool,
    reason: &str,
    out: &mut String,
) {
    let mut overlay = Overlay::default();
    let members: Vec<_> = json::members(document).collect();
    let audit = json::member(&members, "kubernetes").and_then(|it| json::get(it, "audit"));
    overlay.text(&["error", "message"], reason);
    let text = json::member(&members, "event").and_then(|it| json::get(it, "original"));
    match (text.filter(|_| has_text), audit) {
        (Some(text), _) => overlay.raw(&["event", "original"], text),
        (None, Some(audit)) => overlay.text(&["event", "original"], audit),
        (None, None) => (),
    }
    match form {
        Reduced::WithoutObjects => {
            if let Some(audit) = audit {
                overlay.write(&["kubernetes", "audit"], |out| {
                    audit::write_without_objects(audit, out);
                });
            }
            ecs::tags(&members, &[TAG_REDUCED], &mut overlay);
            overlay.merge(members.iter().copied(), out);
        }
        Reduced::TextOnly => {
            overlay.texts(&["tags"], [TAG_REDUCED]);
            overlay.text(&["event", "kind"], "event");
            let keeps = |it: &&Member<'_>| it.is("@timestamp") || it.is("data_stream");
            overlay.merge(members.iter().filter(keeps).copied(), out);
        }
    }
}

#[cfg(test)]
mod tests;
