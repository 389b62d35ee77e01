use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::json;

/// Audit events of an attack on a real API server, and of what else went on: see `SOURCE.md` beside it.
const EVENTS: &str = include_str!("../../pipelines/demo/story.ndjson");
/// Which lines of it raise which alerts.
const EXPECTED: &str = include_str!("../../pipelines/demo/expected.tsv");
/// Lines of the other EKS log types, as they come along in the same log group.
const OTHER_LINES: [(&str, &str); 4] = [
    (
        "kube-apiserver-0a1b",
        "I1122 06:15:31.000001      11 trace.go:236] Trace[1742]: \"List\" accept:application/json (total time: 512ms):",
    ),
    (
        "authenticator-0a1b",
        "time=\"2026-11-22T06:15:31Z\" level=info msg=\"access granted\" arn=\"arn:aws:iam::111122223333:role/dev\" username=mallory@example.com",
    ),
    (
        "kube-controller-manager-0a1b",
        "I1122 06:15:31.200000      10 replica_set.go:676] \"Finished syncing\" kind=\"ReplicaSet\" key=\"shop/checkout-7c9d5b8f6d\"",
    ),
    (
        "kube-scheduler-0a1b",
        "E1122 06:15:31.300000       9 schedule_one.go:1096] \"Error scheduling pod; retrying\" pod=\"shop/node-shell\"",
    ),
];
/// Events of one bulk request.
const EVENTS_PER_REQUEST: usize = 12;
/// Time between two events of the story.
const STEP: SignedDuration = SignedDuration::from_secs(7);

/// The story, told as if it had just happened: with times up to now, and auditIDs of its own, so that it can be
/// told again into the same folder.
#[derive(Debug)]
pub(super) struct Story {
    events: Vec<String>,
    lines: HashMap<String, usize>,
}

/// Line (from 1) and rule of every alert.
pub(super) fn expected() -> impl Iterator<Item = (usize, &'static str)> {
    let lines = EXPECTED.lines().filter(|it| !it.starts_with('#'));
    lines
        .filter_map(|it| it.split_once('\t'))
        .filter_map(|(line, rule)| Some((line.parse().ok()?, rule)))
}

impl Story {
    pub(super) fn new(now: Timestamp) -> Self {
        let mut story = Self { events: Vec::new(), lines: HashMap::new() };
        let mut requests: HashMap<&str, (String, Timestamp)> = HashMap::new();
        let count = EVENTS.lines().count();
        for (index, line) in EVENTS.lines().enumerate() {
            let left = i32::try_from(count - index).unwrap_or(i32::MAX);
            let time = now.saturating_sub(STEP * left).unwrap_or(now);
            let original = json::get(line, "auditID").unwrap_or_default();
            // The stages of one request share its auditID and the time when it came in.
            let (id, received) =
                requests.entry(original).or_insert_with(|| (fresh_audit_id(), time));
            story.lines.entry(id.clone()).or_insert(index + 1);
            let times = [format!("{received:.6}"), format!("{time:.6}")];
            story.events.push(retold(line, id, &times));
        }
        story
    }

    pub(super) fn event_count(&self) -> usize {
        self.events.len()
    }

    /// The line on which a request of the story begins.
    pub(super) fn line_of(&self, audit_id: &str) -> Option<usize> {
        self.lines.get(audit_id).copied()
    }

    /// The bulk requests in which Filebeat's `aws-cloudwatch` input would send it.
    pub(super) fn bulk_requests(&self, namespace: &str) -> Vec<String> {
        let mut others = OTHER_LINES.iter().cycle();
        let requests = self.events.chunks(EVENTS_PER_REQUEST);
        requests
            .map(|events| {
                let mut body = String::new();
                for (index, event) in events.iter().enumerate() {
                    push(&mut body, namespace, "kube-apiserver-audit-0a1b", event);
                    if index % 4 == 3
                        && let Some((stream, line)) = others.next()
                    {
                        push(&mut body, namespace, stream, line);
                    }
                }
                body
            })
            .collect()
    }
}

fn push(body: &mut String, namespace: &str, stream: &str, message: &str) {
    let group = "/aws/eks/demo/cluster";
    body.push_str(&format!(
        "{{\"create\":{{\"_index\":\"logs-aws.cloudwatch_logs-{namespace}\"}}}}\n"
    ));
    body.push_str("{\"@timestamp\":\"2026-11-22T06:15:31.000Z\",\"message\":");
    json::push_string(body, message);
    body.push_str(&format!(
        ",\"log.file.path\":\"{group}/{stream}\",\"aws.cloudwatch\":{{\"log_group\":\"{group}\",\"log_stream\":\"{stream}\"}},\
         \"cloud\":{{\"provider\":\"aws\",\"region\":\"eu-west-1\"}},\"input\":{{\"type\":\"aws-cloudwatch\"}},\
         \"agent\":{{\"type\":\"filebeat\"}},\"tags\":[\"forwarded\"]}}\n"
    ));
}

fn fresh_audit_id() -> String {
    let bits = fastrand::u128(..);
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        bits >> 96,
        (bits >> 80) & 0xffff,
        (bits >> 64) & 0xfff,
        (bits >> 48) & 0xfff,
        bits & 0xffff_ffff_ffff
    )
}

/// The event with another auditID and other times; the rest keeps its bytes.
fn retold(event: &str, audit_id: &str, [received, staged]: &[String; 2]) -> String {
    let mut out = String::from("{");
    for member in json::members(event) {
        if out.len() > 1 {
            out.push(',');
        }
        out.push('"');
        out.push_str(member.raw_key);
        out.push_str("\":");
        match member.raw_key {
            "auditID" => json::push_string(&mut out, audit_id),
            "requestReceivedTimestamp" => json::push_string(&mut out, received),
            "stageTimestamp" => json::push_string(&mut out, staged),
            _ => out.push_str(member.value),
        }
    }
    out.push('}');
    out
}
