//! Finds the audit events in a document, whatever carried them, and writes the documents that Elasticsearch is to
//! hold: the event as the object `kubernetes.audit`, ECS fields beside it. No I/O, no clock.
//!
//! Nothing fails here. What is no log of Kubernetes passes as it came; what looks like one and cannot be read passes
//! as it came, with a tag that says so.
//!
//! A document is looked at from the outside in: [`each`] takes off one carrier after the other (`peel`, `carriers`)
//! and gives every part of it to its caller, who writes what becomes of it with [`write()`] and its siblings.

mod audit;
mod bodies;
mod carriers;
mod control_plane;
mod decode;
mod dots;
mod ecs;
mod elastic;
mod envelope;
mod gke;
mod lines;
mod overlay;
mod peel;
mod root;
mod salvage;

use jiff::Timestamp;

pub(crate) use self::ecs::{category, cut, event_id, images, outcome, types};
pub use self::{
    audit::Objects,
    control_plane::Component,
    ecs::{Clock, When},
    envelope::Provider,
    lines::{write_line, write_piece},
    peel::Buffers,
};
use self::{
    ecs::Stays,
    overlay::Overlay,
    peel::{Flow, Way},
    root::Root,
};
use crate::{
    event::AuditEvent,
    json::{self, Member},
};

/// Tag of a document that looks like an audit event and is none.
pub const TAG_UNWRAP_FAILED: &str = "k8scop_unwrap_failed";
/// Tag of a document from which Elasticsearch would not take the event as an object.
pub const TAG_REDUCED: &str = "k8scop_reduced";
/// Tag of a document in which a body, or a part of one, is a string of JSON, because it is too deep or no object.
pub const TAG_BODY_TEXT: &str = "k8scop_body_text";
/// Tag of a document whose event claims to be more than a day ahead of our clock.
pub const TAG_FUTURE: &str = "k8scop_future_timestamp";
/// Tag of a document whose event was cut on its way, or whose bodies the API server left out for their size.
pub const TAG_TRUNCATED: &str = "k8scop_truncated";

/// Tag of a document whose event stood in the output of a container: whoever runs one can forge it.
pub const TAG_FROM_CONTAINER: &str = "k8scop_from_container";

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
    /// Whether an event that a container printed is one: anybody who runs a container can print it.
    pub from_containers: bool,
}

/// A part of a document. Most documents have one, those of some carriers have many.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// An audit event.
    Audit(Found<'a>),
    /// A line that a component of the control plane wrote.
    Line(Line<'a>),
    /// One of several, and no log of Kubernetes, or none that can be read.
    Piece(Piece<'a>),
    /// The document looks like an audit event, and cannot be read as one.
    Broken(Unread<'a>),
    /// Nothing to store.
    Dropped(Dropped),
    /// The document has nothing of Kubernetes.
    Other,
}

/// An audit event found in a document.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// The event.
    pub event: &'a AuditEvent<'a>,
    way: &'a Way<'a>,
    /// Too deep to be an object in Elasticsearch.
    is_deep: bool,
}

impl<'a> Found<'a> {
    /// Whether the document is to hold the event's whole text, in `event.original`.
    #[must_use]
    pub fn keeps_text(&self, settings: &Settings) -> bool {
        settings.preserve_original || self.is_deep
    }

    /// Whose way it took.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.way.envelope.provider
    }

    /// When it happened, as its document tells in `@timestamp`.
    #[must_use]
    pub fn when(&self, now: Timestamp) -> When {
        ecs::when(self.event, self.way, now)
    }

    /// Whether it was cut on its way.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.event.is_cut
    }

    /// The members of the document that it was in.
    #[must_use]
    pub fn members(&self) -> &'a [Member<'a>] {
        self.way.base
    }

    /// Whether it came with others in one document.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.way.is_split
    }

    /// Whether a container printed it: whoever runs one can forge it.
    #[must_use]
    pub fn is_from_container(&self) -> bool {
        self.way.is_container
    }

    /// The name of the cluster: from the carrier, `orchestrator.cluster.name` or the settings.
    #[must_use]
    pub fn cluster(&self) -> Option<&'a str> {
        self.way.envelope.cluster().or(self.way.settings.cluster.as_deref())
    }
}

/// A line that a component of the control plane wrote.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Which component.
    pub component: Component,
    /// The line.
    pub text: &'a str,
    way: &'a Way<'a>,
}

/// One of several that came together, which is no log of Kubernetes, or cannot be read.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Its text.
    pub text: &'a str,
    /// Why it cannot be read, if it looks like an audit event.
    pub broken: Option<Broken>,
    way: &'a Way<'a>,
}

/// A document that looks like an audit event, and cannot be read as one.
#[derive(Clone, Copy, Debug)]
pub struct Unread<'a> {
    /// Why.
    pub reason: Broken,
    members: &'a [Member<'a>],
    depth: usize,
}

impl<'a> Unread<'a> {
    /// A document of these members.
    #[must_use]
    pub fn new(members: &'a [Member<'a>], reason: Broken) -> Self {
        Self { reason, members, depth: 0 }
    }

    /// How deep the document is (levels).
    #[must_use]
    pub fn depth(&self) -> usize {
        self.depth
    }
}

/// What tells a record of a carrier from all others.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The log group and stream.
    pub source: [&'a str; 2],
    /// The id that the carrier gave it.
    pub id: &'a str,
}

impl<'a> Way<'a> {
    fn record(&'a self) -> Option<Record<'a>> {
        let text = |it: &'a crate::event::Text<'a>| it.as_deref().unwrap_or_default();
        let envelope = &self.envelope;
        let id = envelope.id.as_deref().filter(|it| !it.is_empty())?;
        Some(Record { source: [text(&envelope.log_group), text(&envelope.log_stream)], id })
    }
}

impl<'a> Line<'a> {
    /// The members of the document that it was in.
    #[must_use]
    pub fn members(&self) -> &'a [Member<'a>] {
        self.way.base
    }

    /// Whether it came with others in one document.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.way.is_split
    }

    /// The line as it came, if it came with others.
    #[must_use]
    pub fn as_piece(&self) -> Option<Piece<'a>> {
        self.is_split().then_some(Piece { text: self.text, broken: None, way: self.way })
    }

    /// What tells the line from all others.
    #[must_use]
    pub fn record(&self) -> Option<Record<'a>> {
        self.way.record()
    }
}

impl<'a> Piece<'a> {
    /// What tells the piece from all others.
    #[must_use]
    pub fn record(&self) -> Option<Record<'a>> {
        self.way.record()
    }
}

/// Why nothing of a part is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// CloudWatch asks whether its destination is alive.
    ControlMessage,
    /// A line of the control plane that is not wanted.
    ControlPlane,
    /// An audit event that is not wanted.
    Audit,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::ControlMessage, Self::ControlPlane, Self::Audit];

    /// Its name, as metrics label it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ControlMessage => "control_message",
            Self::ControlPlane => "control_plane",
            Self::Audit => "audit",
        }
    }
}

/// Why something that looks like an audit event is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Its JSON is cut or wrong, and nothing of it could be saved.
    Json,
    /// What is compressed or encoded around it cannot be read.
    Encoding,
    /// It becomes more than is allowed.
    TooLarge,
    /// More carriers in each other than are taken off.
    TooDeep,
}

impl Broken {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Json, Self::Encoding, Self::TooLarge, Self::TooDeep];

    /// Its name, as metrics label it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "broken_audit_event",
            Self::Encoding => "broken_encoding",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
        }
    }

    /// What the document says of it, in `error.message`.
    fn message(self) -> &'static str {
        match self {
            Self::Json => "it starts like a Kubernetes audit event and is no complete one",
            Self::Encoding => {
                "it looks like Kubernetes logs in base64 or gzip, which cannot be decoded"
            }
            Self::TooLarge => {
                "its Kubernetes logs become more than limits.decoded_bytes_max or limits.items_max allow"
            }
            Self::TooDeep => "its Kubernetes logs are wrapped in more carriers than are taken off",
        }
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

/// Gives each part of a document to `take`, until it says that it has enough. `source` is the document's text, which
/// was checked, `members` are its root members, `depth` its levels.
pub fn each(
    source: &str,
    members: &[Member<'_>],
    depth: usize,
    settings: &Settings,
    buffers: &mut Buffers<'_>,
    take: &mut dyn FnMut(Part<'_>) -> Flow,
) {
    let root = Root::read(members);
    let holds_mark = |it: &Member<'_>| root::holds_mark(it.value.as_bytes());
    if !(root.may_hold() || root.has_dots && members.iter().any(holds_mark)) {
        // Whoever has enough is done in any case.
        let (Flow::Continue(()) | Flow::Break(())) = take(Part::Other);
        return;
    }
    let mut levels = buffers.all();
    let (Flow::Continue(()) | Flow::Break(())) = if root.has_dots {
        let Some((text, mut levels)) = levels.next() else { return };
        dots::expand(members, text);
        let mut members = Vec::new();
        match json::object(text, json::DEPTH_MAX, &mut members) {
            Ok(depth) => {
                let root = Root::read(&members);
                let way = Way::new(&members, &root, settings, depth);
                peel::rooted(text, &root, &members, way, &mut levels, take)
            }
            Err(_) => take(Part::Other),
        }
    } else {
        let way = Way::new(members, &root, settings, depth);
        peel::rooted(source, &root, members, way, &mut levels, take)
    };
}

/// Writes a document as it came, with [`TAG_UNWRAP_FAILED`] added.
pub fn write_broken(unread: &Unread<'_>, scratch: &mut Scratch, out: &mut String) {
    let overlay = &mut scratch.overlay;
    overlay.clear();
    ecs::tags(unread.members, &[TAG_UNWRAP_FAILED], overlay);
    overlay.text(&["error", "message"], unread.reason.message());
    overlay.merge(unread.members.iter().copied(), out);
}

/// Writes the document that holds the event. `now` is used only where the event has no usable time.
pub fn write(
    found: &Found<'_>,
    labels: &Labels<'_>,
    settings: &Settings,
    now: Timestamp,
    scratch: &mut Scratch,
    out: &mut String,
) {
    let overlay = &mut scratch.overlay;
    overlay.clear();
    ecs::fill(found, labels, settings, now, overlay);
    overlay.merge(Stays::of(found.way), out);
}

/// How much of a document is left when Elasticsearch refuses it for what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduced {
    /// Without `requestObject` and `responseObject`, whose content a client of the API server chooses.
    WithoutObjects,
    /// Only its time, its data stream and its text.
    TextOnly,
}

/// Writes a document of [`write()`] in a reduced form, with the whole event as text in `event.original`: what it
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
mod properties;
#[cfg(test)]
mod tests;
