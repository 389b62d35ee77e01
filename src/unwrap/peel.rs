//! Takes one carrier after the other off a document, until an audit event, a line of the control plane or nothing
//! known is left.

use std::ops::ControlFlow;

use super::{
    Broken, Found, Line, Part, Piece, Settings, Unread,
    carriers::{azure, cloudwatch, google, list, openshift, strings},
    control_plane::{self, Component},
    decode::Inflation,
    elastic,
    envelope::{Envelope, Provider},
    gke,
    root::{self, Root, TextPlace, is_candidate, without_cri_head},
    salvage,
};
use crate::{
    event::AuditEvent,
    json::{self, JsonError, Kind, Member},
};

/// Levels above the event in the document that is written: `{"kubernetes":{"audit":…}}`.
pub(super) const IN_DOCUMENT: usize = 2;

/// Most objects and arrays in each other that are looked into on the way to an event. Each costs stack and a look
/// at all that is in it, and a text of 1 MiB holds 10⁵ of them. The longest known way takes six.
const STEPS_MAX: usize = 12;

/// Goes on, or stops because whoever takes the parts has enough.
pub(super) type Flow = ControlFlow<()>;

/// Takes the parts.
pub(super) type Sink<'s> = dyn FnMut(Part<'_>) -> Flow + 's;

/// Texts that were taken out of others, one for each carrier; and how much more may be decompressed.
#[derive(Debug)]
pub struct Buffers<'r> {
    levels: [String; BUFFERS],
    inflation: Inflation<'r>,
}

/// Most texts in each other: the longest known way takes five (a subscription in gzip and base64, in a record, in
/// `message`, and its event written anew).
pub(super) const BUFFERS: usize = 8;

impl<'r> Buffers<'r> {
    /// Most texts in each other.
    pub const LEVELS: usize = BUFFERS;

    /// Buffers for documents that may be decompressed to `bytes_max` in all.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { levels: Default::default(), inflation: Inflation::new(bytes_max, None) }
    }

    /// The same; before more memory is taken, `room` is asked for that many bytes more.
    #[must_use]
    pub fn within(bytes_max: usize, room: &'r dyn Fn(usize) -> bool) -> Self {
        Self { levels: Default::default(), inflation: Inflation::new(bytes_max, Some(room)) }
    }

    pub(super) fn all(&mut self) -> Levels<'_> {
        self.inflation.now.set(0);
        Levels { buffers: &mut self.levels, inflation: &self.inflation }
    }
}

/// The buffers that are left.
pub(super) struct Levels<'b> {
    buffers: &'b mut [String],
    pub(super) inflation: &'b Inflation<'b>,
}

impl Levels<'_> {
    /// An empty buffer, and those that are left then.
    pub(super) fn next(&mut self) -> Option<(&mut String, Levels<'_>)> {
        let (first, buffers) = self.buffers.split_first_mut()?;
        first.clear();
        Some((first, Levels { buffers, inflation: self.inflation }))
    }
}

/// Where we are in a document: what was taken off so far, and what it told.
#[derive(Clone, Debug)]
pub(super) struct Way<'a> {
    /// The members of the document.
    pub(super) base: &'a [Member<'a>],
    pub(super) settings: &'a Settings,
    /// Members of the document that go, because the event stood in them.
    pub(super) taken: Option<Taken>,
    pub(super) envelope: Envelope<'a>,
    /// How deep what is looked at is at most (levels).
    pub(super) depth: usize,
    /// One of several that came together: what is not known becomes a document all the same.
    pub(super) is_split: bool,
    /// The document is the output of a container.
    pub(super) is_container: bool,
    /// Objects, arrays and texts of several that were looked into.
    steps: usize,
}

/// Members of the document that go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Root members.
    Keys(&'static [&'static str]),
    /// `event.original`
    Original,
}

impl<'a> Way<'a> {
    /// The way's beginning: a document of these members, `depth` levels deep.
    pub(super) fn new(
        base: &'a [Member<'a>],
        root: &Root<'a>,
        settings: &'a Settings,
        depth: usize,
    ) -> Self {
        Self {
            base,
            settings,
            taken: None,
            envelope: Envelope::default(),
            depth,
            is_split: false,
            is_container: root.is_container(),
            steps: 0,
        }
    }

    /// The way into a part of the document. What stands in a part that was taken before takes nothing more.
    pub(super) fn into(&self, taken: Taken) -> Self {
        let mut way = self.clone();
        way.taken = way.taken.or(Some(taken));
        way
    }

    /// The way to one of several that came together.
    pub(super) fn split(&self) -> Self {
        Self { is_split: true, ..self.clone() }
    }

    fn deeper(self) -> Self {
        Self { steps: self.steps + 1, ..self }
    }

    pub(super) fn found(&self, event: &AuditEvent<'_>, depth: usize, sink: &mut Sink<'_>) -> Flow {
        sink(Part::Audit(Found { event, way: self, is_deep: depth > self.settings.depth_max }))
    }

    /// What is no log of Kubernetes.
    pub(super) fn other(&self, text: &str, sink: &mut Sink<'_>) -> Flow {
        sink(match self.is_split {
            true => Part::Piece(Piece { way: self, text, broken: None }),
            false => Part::Other,
        })
    }

    /// What looks like one and cannot be read.
    pub(super) fn broken(&self, text: &str, reason: Broken, sink: &mut Sink<'_>) -> Flow {
        sink(match self.is_split {
            true => Part::Piece(Piece { way: self, text, broken: Some(reason) }),
            false => Part::Broken(Unread { reason, members: self.base, depth: self.depth }),
        })
    }

    /// Whether what comes this way is of a control plane.
    fn is_control_plane(&self) -> bool {
        self.envelope.category.is_some() || self.envelope.provider == Provider::Eks
    }

    /// The component whose stream it is. In none of these streams are audit events, whatever its lines look like: a
    /// client of the API server has a say in what it logs.
    fn component_of_stream(&self) -> Option<Component> {
        // What a container printed may call itself anything.
        if !self.is_control_plane() || self.is_container {
            return None;
        }
        let of_category = self.envelope.category.as_deref().and_then(Component::of_aks_category);
        of_category.or_else(|| Component::of_eks_stream(self.envelope.log_stream.as_deref()?))
    }

    /// The component that wrote a line: by the name of its stream, else by its form.
    fn component(&self, line: &str) -> Option<Component> {
        let of_form = || {
            (self.is_control_plane() && !self.is_container && control_plane::has_form(line))
                .then_some(Component::Other)
        };
        self.component_of_stream().or_else(of_form)
    }
}

/// Looks at one object: `text`, with its members.
pub(super) fn object<'a>(
    text: &'a str,
    members: &[Member<'a>],
    way: &Way<'a>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let root = Root::read(members);
    if !root.may_hold() {
        return way.other(text, sink);
    }
    rooted(text, &root, members, way.clone(), levels, sink)
}

/// As [`object`], where a closer look is worth it.
pub(super) fn rooted<'a>(
    text: &'a str,
    root: &Root<'a>,
    members: &[Member<'a>],
    mut way: Way<'a>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    // Firehose and queues bring the documents of shippers as text.
    way.is_container |= root.is_container();
    if way.is_container && !way.settings.from_containers {
        return way.other(text, sink);
    }
    if way.steps == STEPS_MAX {
        return way.broken(text, Broken::TooDeep, sink);
    }
    way = way.deeper();
    told_by(root, &mut way.envelope);
    let way = &way;
    // The first that fits decides.
    if let Some(audit) = root.kubernetes.and_then(|it| json::get(it, "audit"))
        && let Some(flow) = decoded(text, audit, way, levels, sink)
    {
        return flow;
    }
    if list::is_list(root) {
        return list::each(text, root, way, levels, sink);
    }
    if is_audit(root) {
        return at_root(text, root, members, way, levels, sink);
    }
    if cloudwatch::is_subscription(root) {
        return cloudwatch::subscription(text, root, way, levels, sink);
    }
    if azure::is_record(root) {
        return azure::record(text, root, members, way, levels, sink);
    }
    if gke::is_entry(members) {
        return google::entry(text, members, way, levels, sink);
    }
    if azure::is_row(root) {
        return azure::row(text, members, way, levels, sink);
    }
    if let Some(records) = root.records {
        return cloudwatch::records(text, records, way, levels, sink);
    }
    if let Some(awslogs) = root.awslogs {
        return cloudwatch::lambda(text, awslogs, way, levels, sink);
    }
    if google::is_push(root) {
        return google::push(text, root, way, levels, sink);
    }
    if let Some(resource_logs) = root.resource_logs {
        return openshift::otlp(text, resource_logs, way, levels, sink);
    }
    if elastic::may_have_schema(root)
        && let Some(schema) = elastic::schema(members)
    {
        let way = way.into(Taken::Keys(&[]));
        return rewritten(text, &way, levels, sink, |out| elastic::convert(schema, members, out));
    }
    in_texts(text, root, members, way, levels, sink)
}

/// What the document says of the way, in all spellings.
fn told_by<'a>(root: &Root<'a>, envelope: &mut Envelope<'a>) {
    let name = || json::string(json::get(json::get(root.orchestrator?, "cluster")?, "name")?);
    if let Some(name) = name() {
        envelope.told_cluster = Some(name);
    }
    cloudwatch::told_by(root, envelope);
    azure::told_by(root, envelope);
    openshift::told_by(root, envelope);
    envelope.drop_long();
}

/// Whether the members are those of one audit event.
pub(super) fn is_audit(root: &Root<'_>) -> bool {
    const STAGES: [&str; 4] = ["RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"];
    let is = |value: Option<&str>, wanted: &dyn Fn(&str) -> bool| {
        value.and_then(json::string).is_some_and(|it| wanted(&it))
    };
    let kind = root.kind.is_none() || is(root.kind, &|it| it == "Event");
    let version =
        root.api_version.is_none() || is(root.api_version, &|it| it.starts_with("audit.k8s.io/"));
    let named = match (root.kind, root.api_version) {
        (Some(_), Some(_)) => [root.audit_id, root.stage, root.verb].iter().any(Option::is_some),
        // In the webhook's lists they stand once. Not with each event, or only `kind` does (falcosecurity/falco,
        // `test/trace_files/k8s_audit`).
        _ => root.audit_id.is_some() && is(root.stage, &|it| STAGES.contains(&it)),
    };
    kind && version && named
}

/// An event that the shipper decoded, or an integration wrote, or at least put where it belongs. `None` if it is
/// nothing of these.
fn decoded(
    text: &str,
    audit: &str,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Option<Flow> {
    let way = way.into(Taken::Keys(&[]));
    if json::kind(audit) == Kind::String && is_known(audit) {
        return Some(value_of(audit, &way, levels, sink));
    }
    let inner: Vec<_> = json::members(audit).take(json::MEMBERS_MAX).collect();
    let root = Root::read(&inner);
    if azure::is_record(&root) {
        return Some(azure::record(text, &root, &inner, &way, levels, sink));
    }
    if root.proto_payload.is_some() && !is_audit(&root) {
        // As Elastic's pipeline leaves it.
        return Some(google::entry(text, &inner, &way, levels, sink));
    }
    if root.audit_id.is_none() && root.verb.is_none() && !is_audit(&root) {
        return None;
    }
    if strings::has_bodies(&root) {
        return Some(rewritten(text, &way, levels, sink, |out| strings::write(&inner, out)));
    }
    let event = AuditEvent::new(audit, inner);
    Some(way.found(&event, way.depth, sink))
}

/// Members of an audit event that a shipper may have put at the root of its document. `metadata` and
/// `timestamp` existed until `v1beta1` and are too common elsewhere to be taken.
pub(super) const AUDIT_KEYS: [&str; 20] = [
    "kind",
    "apiVersion",
    "level",
    "auditID",
    "stage",
    "requestURI",
    "verb",
    "user",
    "impersonatedUser",
    "authenticationMetadata",
    "sourceIPs",
    "userAgent",
    "objectRef",
    "responseStatus",
    "requestObject",
    "responseObject",
    "requestReceivedTimestamp",
    "stageTimestamp",
    "annotations",
    "k8s_audit_level",
];

/// An event whose members stand beside those of others.
fn at_root(
    text: &str,
    root: &Root<'_>,
    members: &[Member<'_>],
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    // What is beside it at the document's root stays there. In a part of the document nothing stays.
    let is_alone = way.taken.is_some() && root.k8s_audit_level.is_none();
    let way = way.into(Taken::Keys(&AUDIT_KEYS));
    let is_its = |it: &&Member<'_>| is_alone || AUDIT_KEYS.iter().any(|key| it.is(key));
    let mut event: Vec<_> = members.iter().filter(is_its).copied().collect();
    openshift::restore_level(root, &mut event);
    rewritten(text, &way, levels, sink, |out| strings::write(&event, out))
}

/// An event whose text `write` appends.
pub(super) fn rewritten(
    text: &str,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
    write: impl FnOnce(&mut String) -> bool,
) -> Flow {
    let Some((buffer, _)) = levels.next() else { return way.broken(text, Broken::TooDeep, sink) };
    if !write(buffer) {
        return way.broken(text, Broken::Json, sink);
    }
    let mut members = Vec::with_capacity(20);
    match json::object(buffer, json::DEPTH_MAX, &mut members) {
        Ok(depth) => {
            let event = AuditEvent::new(buffer, members);
            way.found(&event, depth + IN_DOCUMENT, sink)
        }
        Err(_) => way.broken(text, Broken::Json, sink),
    }
}

/// Looks into the members that may hold an event as text.
fn in_texts(
    text: &str,
    root: &Root<'_>,
    members: &[Member<'_>],
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let is_line = way.is_control_plane();
    let is_string = |value: &str| json::kind(value) == Kind::String;
    let mut fitting = root.texts().filter(|(_, it)| is_candidate(it) || is_line && is_string(it));
    let Some(first) = fitting.next() else { return way.other(text, sink) };
    // One that only looks as if it held an event must not hide another.
    let (place, value) = match fitting.next() {
        Some(second) => {
            let mut all = [first, second].into_iter().chain(fitting);
            all.find(|(_, it)| is_known(it)).unwrap_or(first)
        }
        None => first,
    };
    let taken = match place {
        TextPlace::EventOriginal => Taken::Original,
        // Logstash's filter `json` with a `target` leaves both: the text and what it read in it.
        TextPlace::Message if has_copy(members) => Taken::Keys(&["message", "audit"]),
        TextPlace::Message => Taken::Keys(&["message"]),
        TextPlace::Other(key) => Taken::Keys(key),
    };
    value_of(value, &way.into(taken), levels, sink)
}

fn has_copy(members: &[Member<'_>]) -> bool {
    json::member(members, "audit").is_some_and(|it| json::get(it, "auditID").is_some())
}

/// Looks at a value: a string that may hold JSON or a line, an object, or an array of these.
pub(super) fn value_of(
    value: &str,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    match json::kind(value) {
        Kind::Object => {
            let members: Vec<_> = json::members(value).take(json::MEMBERS_MAX).collect();
            object(value, &members, way, levels, sink)
        }
        Kind::Array if json::elements(value).any(is_known) => {
            if way.steps == STEPS_MAX {
                return way.broken(value, Broken::TooDeep, sink);
            }
            let way = way.split().deeper();
            json::elements(value).try_for_each(|it| value_of(it, &way, levels, sink))
        }
        Kind::String => {
            let Some((buffer, mut levels)) = levels.next() else {
                return way.broken(value, Broken::TooDeep, sink);
            };
            let raw = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
            if !json::unescape_into(raw.unwrap_or_default(), buffer) {
                return way.broken(value, Broken::Json, sink);
            }
            on_one_line(buffer);
            text(buffer, way, &mut levels, sink)
        }
        _ => way.other(value, sink),
    }
}

/// Puts JSON of several lines on one: it becomes part of a bulk body, where each line is an item or its document.
/// In JSON a line end stands between tokens only, so a blank says the same; other texts stay.
pub(super) fn on_one_line(text: &mut String) {
    let whole = text.trim_ascii();
    if has_line_end(whole) && whole.starts_with(['{', '[']) && is_json(whole) {
        *text = whole.replace(['\r', '\n'], " ");
    }
}

/// Whether a text is nothing but JSON values.
fn is_json(mut text: &str) -> bool {
    while !text.trim_ascii().is_empty() {
        match json::first(text, json::DEPTH_MAX) {
            Ok((_, rest)) => text = rest,
            Err(_) => return false,
        }
    }
    true
}

/// A text without what stands around it: a byte order mark, blanks, the head of a container runtime.
fn bare(text: &str) -> &str {
    let text = text.trim_start_matches('\u{feff}').trim_ascii();
    without_cri_head(text).map_or(text, str::trim_ascii)
}

/// Looks at a text: JSON, several JSON values one after the other, or a line.
pub(super) fn text(
    text: &str,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    // What goes on with an entry is indented, and stays so.
    let indented = text.trim_ascii_end().trim_start_matches(['\u{feff}', '\r', '\n']);
    let text = bare(text);
    let as_line = if indented.trim_ascii_start() == text { indented } else { text };
    if way.component_of_stream().is_some() {
        return line(as_line, way, sink);
    }
    // Behind what stood around it there may be JSON of several lines.
    let is_many_lines = text.starts_with(['{', '[']) && has_line_end(text);
    let joined = if is_many_lines && is_json(text) { in_one_line(text) } else { None };
    let text = joined.as_deref().unwrap_or(text);
    if text.starts_with('{') {
        let mut members = Vec::with_capacity(20);
        return match json::object(text, json::DEPTH_MAX, &mut members) {
            Ok(depth) => whole(text, members, depth, way, levels, sink),
            Err(error) => unreadable(text, &error, way, levels, sink),
        };
    }
    if text.starts_with('[') && json::check(text, json::DEPTH_MAX).is_ok() {
        return value_of(text, way, levels, sink);
    }
    // Only where lines are known to come together: else a line of a log could bring events of its own making.
    if way.is_split && is_several(text) {
        return each_piece(text, way, levels, sink);
    }
    line(as_line, way, sink)
}

/// A text that is one JSON object. An event keeps the bytes that it has.
fn whole<'a>(
    text: &'a str,
    members: Vec<Member<'a>>,
    depth: usize,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let root = Root::read(&members);
    let depth = depth + IN_DOCUMENT;
    if is_audit(&root) && !strings::is_to_mend(&root) {
        let event = AuditEvent::new(text, members);
        return way.found(&event, depth, sink);
    }
    if way.component(text).is_some() {
        // Components may be told to log in JSON.
        return line(text, way, sink);
    }
    object(text, &members, &Way { depth, ..way.clone() }, levels, sink)
}

/// A text that opens like a JSON object and is none: several, one that was cut, or a line.
fn unreadable(
    text: &str,
    error: &JsonError,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    if matches!(error, JsonError::Unexpected { .. }) && is_several(text) {
        return each_piece(text, way, levels, sink);
    }
    one(text, way, levels, sink)
}

/// A text that is no JSON, and one: an event that was cut, or a line.
fn one(text: &str, way: &Way<'_>, levels: &mut Levels<'_>, sink: &mut Sink<'_>) -> Flow {
    if !looks_like_audit(text) {
        return line(text, way, sink);
    }
    let Some((buffer, _)) = levels.next() else { return way.broken(text, Broken::TooDeep, sink) };
    let mut members = Vec::with_capacity(20);
    if salvage::salvage(text, buffer)
        && let Ok(depth) = json::object(buffer, json::DEPTH_MAX, &mut members)
    {
        let event = AuditEvent { is_cut: true, ..AuditEvent::new(buffer, members) };
        return way.found(&event, depth + IN_DOCUMENT, sink);
    }
    way.broken(text, Broken::Json, sink)
}

/// JSON values and lines that stand one after the other.
struct Pieces<'a> {
    text: &'a str,
    /// How many more bytes may be read in vain: what opens like JSON in each line and is none is read to where that
    /// shows.
    left_bytes: usize,
}

enum Stretch<'a> {
    Json(&'a str),
    Line(&'a str),
    /// Several lines, which open like JSON and are none, or were cut.
    Lines(&'a str),
}

impl<'a> Pieces<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, left_bytes: text.len().saturating_mul(8) }
    }

    /// Where the lines end that are no JSON, though `text` opens like it.
    fn end_of_lines(&mut self, text: &str, error: JsonError) -> usize {
        let line = memchr::memchr(b'\n', text.as_bytes()).unwrap_or(text.len());
        let at = match error {
            // A value that was cut has no end.
            JsonError::Cut { .. } => return text.len(),
            JsonError::Unexpected { at } | JsonError::TooDeep { at, .. } => at,
            JsonError::TooManyMembers { .. } | JsonError::NotAnObject => return line,
        };
        match self.left_bytes.checked_sub(at) {
            Some(left) => {
                self.left_bytes = left;
                line
            }
            None => {
                let read = text.as_bytes().get(..at).unwrap_or_default();
                memchr::memrchr(b'\n', read).map_or(line, |it| it.max(line))
            }
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Stretch<'a>;

    fn next(&mut self) -> Option<Stretch<'a>> {
        let text = self.text.trim_ascii_start();
        if text.is_empty() {
            return None;
        }
        let end = if text.starts_with(['{', '[']) {
            match json::first(text, json::DEPTH_MAX) {
                Ok((one, rest)) => {
                    self.text = rest;
                    return Some(Stretch::Json(one));
                }
                Err(error) => self.end_of_lines(text, error),
            }
        } else {
            memchr::memchr(b'\n', text.as_bytes()).unwrap_or(text.len())
        };
        let (lines, rest) = text.split_at_checked(end)?;
        self.text = rest;
        let lines = lines.trim_ascii_end();
        Some(match memchr::memchr(b'\n', lines.as_bytes()) {
            None => Stretch::Line(lines),
            Some(_) => Stretch::Lines(lines),
        })
    }
}

/// Whether a text is several, one of which is surely of Kubernetes.
fn is_several(text: &str) -> bool {
    let mut pieces = Pieces::new(text);
    let Some(first) = pieces.next() else { return false };
    let is_known = |it: Stretch<'_>| match it {
        Stretch::Json(json) => is_known(json),
        Stretch::Line(line) => without_cri_head(line).is_some() && is_known_text(line),
        Stretch::Lines(_) => false,
    };
    !pieces.text.trim_ascii().is_empty()
        && root::holds_mark(text.as_bytes())
        && std::iter::once(first).chain(pieces).any(is_known)
}

fn each_piece(several: &str, way: &Way<'_>, levels: &mut Levels<'_>, sink: &mut Sink<'_>) -> Flow {
    if way.steps == STEPS_MAX {
        return way.broken(several, Broken::TooDeep, sink);
    }
    let way = way.split().deeper();
    for piece in Pieces::new(several) {
        match piece {
            Stretch::Json(json) => {
                let joined = in_one_line(json);
                value_of(joined.as_deref().unwrap_or(json), &way, levels, sink)?;
            }
            Stretch::Line(line) => text(line, &way, levels, sink)?,
            Stretch::Lines(lines) => one(lines, &way, levels, sink)?,
        }
    }
    Flow::Continue(())
}

/// In JSON a line end stands between tokens only, so a blank says the same.
fn in_one_line(json: &str) -> Option<String> {
    has_line_end(json).then(|| json.replace(['\r', '\n'], " "))
}

fn has_line_end(text: &str) -> bool {
    memchr::memchr2(b'\n', b'\r', text.as_bytes()).is_some()
}

/// Whether one of several values is surely of Kubernetes: what is not, is not taken apart.
pub(super) fn is_known(value: &str) -> bool {
    match json::kind(value) {
        Kind::Object => {
            let members: Vec<_> = json::members(value).take(json::MEMBERS_MAX).collect();
            let root = Root::read(&members);
            is_audit(&root)
                || list::is_list(&root)
                || cloudwatch::is_subscription(&root)
                || azure::is_record(&root)
                || azure::is_row(&root)
                || gke::is_entry(&members)
        }
        Kind::String if is_candidate(value) => {
            json::string(value).is_some_and(|it| is_known_text(&it))
        }
        _ => false,
    }
}

fn is_known_text(text: &str) -> bool {
    let text = bare(text);
    let first = json::first(text, json::DEPTH_MAX).ok().map(|(first, _)| first);
    first.is_some_and(|it| json::kind(it) == Kind::Object && is_known(it)) || looks_like_audit(text)
}

fn looks_like_audit(text: &str) -> bool {
    let head = text.as_bytes().get(..text.len().min(200)).unwrap_or_default();
    let has = |what: &str| memchr::memmem::find(head, what.as_bytes()).is_some();
    has("audit.k8s.io/") && has("kind") || has("\"auditID\":") && has("\"stage\":")
}

/// Whether a k8scop wrote the document of the line: what is left in it of the line has no header.
fn is_written(component: Component, way: &Way<'_>) -> bool {
    let dataset = || json::get(json::member(way.base, "event")?, "dataset").and_then(json::string);
    !way.is_split && dataset().is_some_and(|it| it == component.dataset())
}

fn line(text: &str, way: &Way<'_>, sink: &mut Sink<'_>) -> Flow {
    match way.component(text.trim_ascii_start()) {
        Some(component) if !text.is_empty() && !is_written(component, way) => {
            sink(Part::Line(Line { way, component, text }))
        }
        _ => way.other(text, sink),
    }
}
