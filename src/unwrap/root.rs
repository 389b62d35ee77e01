use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::json::{self, Kind, Member};

/// The root members of a document that carriers are told from, found in one pass. The last of several counts, as
/// Elasticsearch's and Go's parsers take it.
#[derive(Debug, Default)]
pub(super) struct Root<'a> {
    pub(super) kubernetes: Option<&'a str>,
    pub(super) event: Option<&'a str>,
    pub(super) aws: Option<&'a str>,
    pub(super) azure: Option<&'a str>,
    pub(super) gcp: Option<&'a str>,
    pub(super) orchestrator: Option<&'a str>,
    pub(super) container: Option<&'a str>,
    pub(super) openshift: Option<&'a str>,
    // An audit event, or a list of them.
    pub(super) kind: Option<&'a str>,
    pub(super) api_version: Option<&'a str>,
    pub(super) audit_id: Option<&'a str>,
    pub(super) stage: Option<&'a str>,
    pub(super) verb: Option<&'a str>,
    pub(super) items: Option<&'a str>,
    pub(super) k8s_audit_level: Option<&'a str>,
    pub(super) request_object: Option<&'a str>,
    pub(super) response_object: Option<&'a str>,
    // CloudWatch.
    pub(super) flat_cloudwatch: Option<&'a str>,
    pub(super) log_file_path: Option<&'a str>,
    pub(super) message_type: Option<&'a str>,
    pub(super) log_group: Option<&'a str>,
    pub(super) log_stream: Option<&'a str>,
    pub(super) log_events: Option<&'a str>,
    pub(super) owner: Option<&'a str>,
    pub(super) awslogs: Option<&'a str>,
    pub(super) records: Option<&'a str>,
    // Azure.
    pub(super) category: Option<&'a str>,
    pub(super) resource_id: Option<&'a str>,
    pub(super) properties: Option<&'a str>,
    pub(super) time: Option<&'a str>,
    pub(super) table_audit_id: Option<&'a str>,
    pub(super) table_stage: Option<&'a str>,
    // Google.
    pub(super) proto_payload: Option<&'a str>,
    pub(super) subscription: Option<&'a str>,
    // OpenTelemetry.
    pub(super) resource_logs: Option<&'a str>,
    // Texts that may hold one of all these.
    pub(super) message: Option<&'a str>,
    pub(super) texts: [Option<&'a str>; TEXTS.len()],
    /// Whether keys with dots stand at the root, other than those that Filebeat writes.
    pub(super) has_dots: bool,
}

/// Members besides `message` whose text may hold an event: Docker's and Fluent Bit's `log`, `msg`, AWS's and Azure's
/// `Message`, OpenTelemetry's and Loki's `body`, GELF's two, and the target that is usual for Logstash's filter `json`.
pub(super) static TEXTS: [&str; 7] =
    ["log", "msg", "Message", "body", "short_message", "full_message", "audit"];

/// Names of the object in which carriers put CloudWatch's log group and stream: Filebeat and Elastic Agent
/// before and since 9.2 (beats, `x-pack/filebeat/input/awscloudwatch/processor.go`), and Logstash's
/// `logstash-input-cloudwatch_logs`.
const CLOUDWATCH_NAMES: [&str; 3] = ["aws.cloudwatch", "awscloudwatch", "cloudwatch_logs"];

/// Whether a root member only repeats what goes to `aws.cloudwatch` or `log.file.path`.
pub(super) fn is_carrier_key(member: &Member<'_>) -> bool {
    CLOUDWATCH_NAMES.iter().any(|name| member.is(name)) || member.is("log.file.path")
}

impl<'a> Root<'a> {
    pub(super) fn read(members: &[Member<'a>]) -> Self {
        let mut root = Self::default();
        for member in members {
            match json::has_escapes(member.raw_key) {
                false => root.take(member.raw_key, member.value),
                true => member.key().iter().for_each(|key| root.take(key, member.value)),
            }
        }
        root
    }

    fn take(&mut self, key: &str, value: &'a str) {
        if let Some(slot) = self.slot(key) {
            *slot = Some(value);
        } else if key.contains('.') {
            self.has_dots = true;
        }
    }

    fn slot(&mut self, key: &str) -> Option<&mut Option<&'a str>> {
        Some(match key {
            "message" => &mut self.message,
            "kubernetes" => &mut self.kubernetes,
            "event" => &mut self.event,
            "aws" => &mut self.aws,
            "azure" => &mut self.azure,
            "gcp" => &mut self.gcp,
            "orchestrator" => &mut self.orchestrator,
            "container" => &mut self.container,
            "openshift" => &mut self.openshift,
            "kind" => &mut self.kind,
            "apiVersion" => &mut self.api_version,
            "auditID" => &mut self.audit_id,
            "stage" => &mut self.stage,
            "verb" => &mut self.verb,
            "items" => &mut self.items,
            "k8s_audit_level" => &mut self.k8s_audit_level,
            "requestObject" => &mut self.request_object,
            "responseObject" => &mut self.response_object,
            "aws.cloudwatch" | "awscloudwatch" | "cloudwatch_logs" => &mut self.flat_cloudwatch,
            "log.file.path" => &mut self.log_file_path,
            // Vector's `parse_aws_cloudwatch_log_subscription_message` writes the snake case (vrl 0.27).
            "messageType" | "message_type" => &mut self.message_type,
            "logGroup" | "log_group" => &mut self.log_group,
            "logStream" | "log_stream" => &mut self.log_stream,
            "logEvents" | "log_events" => &mut self.log_events,
            "owner" => &mut self.owner,
            "awslogs" => &mut self.awslogs,
            "records" | "Records" => &mut self.records,
            "category" => &mut self.category,
            "resourceId" => &mut self.resource_id,
            "properties" => &mut self.properties,
            "time" => &mut self.time,
            "AuditId" => &mut self.table_audit_id,
            "Stage" => &mut self.table_stage,
            "protoPayload" => &mut self.proto_payload,
            "subscription" => &mut self.subscription,
            "resourceLogs" => &mut self.resource_logs,
            _ => {
                let place = TEXTS.iter().position(|it| *it == key)?;
                return self.texts.get_mut(place);
            }
        })
    }

    /// The object with CloudWatch's log group and stream, whatever it is called.
    pub(super) fn cloudwatch(&self) -> Option<&'a str> {
        let nested = self.aws.and_then(|it| json::get(it, "cloudwatch"));
        nested.or(self.flat_cloudwatch).filter(|it| json::kind(it) == Kind::Object)
    }

    /// Whether the document is the output of a container: as Filebeat and Agent, Fluent Bit, Docker's fluentd driver and
    /// OpenShift's collector write it.
    pub(super) fn is_container(&self) -> bool {
        const NAMES: [&str; 5] = ["pod", "container", "pod_name", "container_name", "docker_id"];
        self.kubernetes
            .is_some_and(|it| json::members(it).any(|it| NAMES.iter().any(|name| it.is(name))))
            || self.container.is_some_and(|it| json::get(it, "id").is_some())
    }

    /// Whether a closer look may find something of Kubernetes. Cheap: all other logs pass through here.
    pub(super) fn may_hold(&self) -> bool {
        let told = [
            self.audit_id,
            self.log_events,
            self.records,
            self.awslogs,
            self.properties,
            self.proto_payload,
            self.table_audit_id,
            self.resource_logs,
            self.items,
            self.subscription,
        ];
        told.iter().any(Option::is_some)
            || (self.kind.is_some() && self.api_version.is_some())
            || self.kubernetes.is_some_and(|it| json::get(it, "audit").is_some())
            || self.aws.is_some_and(|it| holds_mark(it.as_bytes()))
            || self.azure.is_some_and(|it| holds_mark(it.as_bytes()))
            || self.gcp.is_some_and(|it| holds_mark(it.as_bytes()))
            || self.flat_cloudwatch.is_some_and(|it| holds_mark(it.as_bytes()))
            || self.texts().any(|(_, it)| is_candidate(it))
    }

    /// The members that may hold an event as text, and the root keys that go when they do.
    pub(super) fn texts(&self) -> impl Iterator<Item = (TextPlace, &'a str)> {
        let original = self.event.and_then(|it| json::get(it, "original"));
        let others = self.texts.iter().enumerate();
        let message = self.message.map(|it| (TextPlace::Message, it));
        let original = original.map(|it| (TextPlace::EventOriginal, it));
        let others = others
            .filter_map(|(place, it)| Some((TextPlace::Other(TEXTS.get(place..=place)?), (*it)?)));
        message.into_iter().chain(original).chain(others)
    }
}

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextPlace {
    Message,
    EventOriginal,
    /// One of [`TEXTS`].
    Other(&'static [&'static str]),
}

/// What every carrier of Kubernetes logs has in its text: an audit event its API group, an entry of GKE its service,
/// EKS its log group, AKS its resource; and the wrappings that hide these, and CloudWatch's question for life.
const MARKS: [&str; 8] = [
    "k8s.io",
    "/aws/eks/",
    "\\/aws\\/eks\\/",
    "ontainerService/managedClusters",
    "CONTAINERSERVICE",
    "CONTROL_MESSAGE",
    "awslogs",
    "kinesis",
];

/// What hides these in base64, as it stands in an object and in a string: there the quote is escaped.
const WRAPPINGS: [&str; 4] = ["records\"", "subscription\"", "records\\", "subscription\\"];

/// Whether a raw value may hold a mark once it is decoded: no encoder writes a letter as an escape, but any may.
fn may_hold_mark(raw: &str) -> bool {
    static AUTOMATON: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| AhoCorasick::new(MARKS.iter().chain(&WRAPPINGS)).ok());
    let is_letter = |at: usize| {
        let code = raw.get(at + 4..at + 6).and_then(|it| u8::from_str_radix(it, 16).ok());
        code.is_some_and(|it| it.is_ascii_alphanumeric() || matches!(it, b'.' | b'/'))
    };
    AUTOMATON.as_ref().is_none_or(|it| it.is_match(raw))
        || memchr::memmem::find_iter(raw.as_bytes(), "\\u00").any(is_letter)
}

pub(super) fn holds_mark(text: &[u8]) -> bool {
    static AUTOMATON: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| AhoCorasick::new(MARKS).ok());
    AUTOMATON.as_ref().is_none_or(|it| it.is_match(text))
}

/// Whether a value may hold an event as text: a string that opens like JSON, an object or an array; with a mark in
/// it. The test is on the raw text.
pub(super) fn is_candidate(value: &str) -> bool {
    match json::kind(value) {
        Kind::Object | Kind::Array => may_hold_mark(value),
        Kind::String => opens_like_json(value.get(1..).unwrap_or_default()) && may_hold_mark(value),
        _ => false,
    }
}

/// Whether the raw inside of a string opens like JSON, a byte order mark, blanks in any spelling, or the head that a
/// container runtime puts before each line.
fn opens_like_json(raw: &str) -> bool {
    let first = raw.trim_start_matches(|it: char| it.is_ascii_whitespace() || it == '\u{feff}');
    ["{", "[", "\\n", "\\t", "\\r", "\\u"].iter().any(|it| first.starts_with(it))
        || without_cri_head(first).is_some()
}

/// What is left of a line without the head of a container runtime: `TIME stdout F TEXT` (Kubernetes 1.35,
/// `pkg/kubelet/kuberuntime/logs/logs.go`, `parseCRILog`).
pub(super) fn without_cri_head(line: &str) -> Option<&str> {
    let (time, rest) = line.split_once(' ')?;
    let is_time = time.len() >= 20 && time.len() <= 40 && time.as_bytes().get(10) == Some(&b'T');
    let (stream, rest) = rest.split_once(' ').filter(|_| is_time)?;
    let (tag, text) = rest.split_once(' ').filter(|_| matches!(stream, "stdout" | "stderr"))?;
    matches!(tag, "F" | "P").then_some(text)
}
