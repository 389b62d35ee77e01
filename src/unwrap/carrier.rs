use std::borrow::Cow;

use crate::{
    event::{AuditEvent, Text},
    json::{self, Kind, Member},
};

/// Where the audit event stood in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// As a JSON string in `message`.
    Message,
    /// As the object `kubernetes.audit`, decoded by the shipper.
    Decoded,
    /// As members of the document itself.
    Root,
}

/// What the document tells about the way the event took.
#[derive(Debug, Default)]
pub(super) struct Carrier<'a> {
    /// CloudWatch's log group: `/aws/eks/<cluster>/cluster`.
    pub(super) log_group: Text<'a>,
    /// The object with `log_group`, `log_stream`, `ingestion_time`, whatever it is called in the document.
    pub(super) cloudwatch: Option<&'a str>,
    /// When CloudWatch took it in.
    pub(super) ingestion_time: Text<'a>,
    /// `"log.file.path"` with literal dots, to be nested.
    pub(super) log_file_path: Option<&'a str>,
}

impl Carrier<'_> {
    /// The name of the EKS cluster.
    pub(super) fn cluster(&self) -> Option<&str> {
        self.log_group
            .as_deref()?
            .strip_prefix("/aws/eks/")?
            .strip_suffix("/cluster")
            .filter(|it| !it.is_empty())
    }
}

/// Members of an audit event that a shipper may have put at the root of its document. `metadata` and
/// `timestamp` existed until `v1beta1` and are too common elsewhere to be taken.
const AUDIT_KEYS: [&str; 18] = [
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
];

/// Whether a root member belongs to the audit event that stands there.
pub(super) fn is_audit_key(member: &Member<'_>) -> bool {
    AUDIT_KEYS.iter().any(|key| member.is(key)) || member.is("annotations")
}

/// Names of the object in which carriers put CloudWatch's log group and stream: Filebeat and Elastic Agent
/// before and since 9.2 (beats, `x-pack/filebeat/input/awscloudwatch/processor.go`), and Logstash's
/// `logstash-input-cloudwatch_logs`.
const CLOUDWATCH_NAMES: [&str; 3] = ["aws.cloudwatch", "awscloudwatch", "cloudwatch_logs"];

/// Whether a root member only repeats what goes to `aws.cloudwatch` or `log.file.path`.
pub(super) fn is_carrier_key(member: &Member<'_>) -> bool {
    CLOUDWATCH_NAMES.iter().any(|name| member.is(name)) || member.is("log.file.path")
}

/// Levels above the event in the document that is written: `{"kubernetes":{"audit":…}}`.
const IN_DOCUMENT: usize = 2;

/// Finds an audit event in a document that is `depth` levels deep. `buffer` takes its text where the document
/// does not hold it in one piece. Gives back how deep a document with the event as an object is.
pub(super) fn find<'a>(
    members: &[Member<'a>],
    buffer: &'a mut String,
    depth: usize,
) -> Option<(Place, AuditEvent<'a>, usize)> {
    buffer.clear();
    if let Some((text, members)) = decoded(members) {
        return Some((Place::Decoded, AuditEvent::new(text, members), depth));
    }
    if is_audit(members) {
        join(members, buffer);
        let buffer: &'a str = buffer;
        let event = AuditEvent::new(buffer, json::members(buffer).collect());
        return Some((Place::Root, event, depth + IN_DOCUMENT));
    }
    let raw = candidate(members)?;
    buffer.reserve(raw.len());
    if !json::unescape_into(raw, buffer) {
        return None;
    }
    if memchr::memchr(b'\n', buffer.trim_ascii().as_bytes()).is_some() {
        join_lines(buffer)?;
    }
    let text: &'a str = buffer.trim_ascii();
    let mut inner = Vec::with_capacity(20);
    let depth = json::object(text, json::DEPTH_MAX, &mut inner).ok()?;
    is_audit(&inner).then(|| (Place::Message, AuditEvent::new(text, inner), depth + IN_DOCUMENT))
}

/// Puts a text of several lines on one: it becomes part of a bulk body, where each line is an item or its
/// document. In JSON a line end stands between tokens only, so a blank says the same; `None` for other texts.
fn join_lines(text: &mut String) -> Option<()> {
    let whole = text.trim_ascii();
    json::check(whole, json::DEPTH_MAX).ok()?;
    *text = whole.replace(['\r', '\n'], " ");
    Some(())
}

/// The inside of `message`, escapes not decoded, if it may hold an audit event. The test is on the raw text and
/// cheap: every line of every other log passes through here.
pub(super) fn candidate<'a>(members: &[Member<'a>]) -> Option<&'a str> {
    let message = json::member(members, "message")?;
    let raw = message.strip_prefix('"')?.strip_suffix('"')?;
    let first = raw.trim_start_matches(|it: char| it.is_ascii_whitespace());
    let opens = ["{", "\\n", "\\t", "\\r", "\\u"].iter().any(|it| first.starts_with(it));
    (opens && memchr::memmem::find(raw.as_bytes(), b"audit.k8s.io").is_some()).then_some(raw)
}

fn is_audit(members: &[Member<'_>]) -> bool {
    let has = |name| json::member(members, name).is_some();
    let text = |name| json::member(members, name).and_then(json::string);
    text("kind").is_some_and(|it| it == "Event")
        && text("apiVersion").is_some_and(|it| it.starts_with("audit.k8s.io/"))
        && (has("auditID") || has("stage"))
}

fn decoded<'a>(members: &[Member<'a>]) -> Option<(&'a str, Vec<Member<'a>>)> {
    let audit = match json::member(members, "kubernetes") {
        Some(kubernetes) => json::get(kubernetes, "audit"),
        None => None,
    };
    let audit = audit.filter(|it| json::kind(it) == Kind::Object)?;
    let inner: Vec<_> = json::members(audit).take(json::MEMBERS_MAX).collect();
    let has = |name| json::member(&inner, name).is_some();
    // GKE's and AKS's own forms are other events in other clothes; they pass as they came.
    let native = (has("auditID") || has("verb") || is_audit(&inner))
        && !has("protoPayload")
        && !has("properties");
    native.then_some((audit, inner))
}

fn join(members: &[Member<'_>], buffer: &mut String) {
    buffer.push('{');
    for member in members.iter().filter(|it| is_audit_key(it)) {
        if buffer.len() > 1 {
            buffer.push(',');
        }
        super::overlay::push_member(buffer, member.raw_key, member.value);
    }
    buffer.push('}');
}

/// Reads what the document says of its carrier, in all spellings.
pub(super) fn carrier<'a>(members: &[Member<'a>]) -> Carrier<'a> {
    let nested = json::member(members, "aws").and_then(|aws| json::get(aws, "cloudwatch"));
    let flat = || CLOUDWATCH_NAMES.iter().find_map(|name| json::member(members, name));
    let cloudwatch = nested.or_else(flat).filter(|it| json::kind(it) == Kind::Object);
    let text = |name: &str| -> Option<Cow<'a, str>> { json::string(json::get(cloudwatch?, name)?) };
    Carrier {
        log_group: text("log_group"),
        ingestion_time: text("ingestion_time"),
        cloudwatch,
        log_file_path: json::member(members, "log.file.path"),
    }
}
