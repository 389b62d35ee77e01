//! Bulk requests of audit events as a shipper sends them: the same ones every time, but for the times in them.

use anyhow::{Context, ensure};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// The log group of an EKS cluster.
pub(super) const CONTROL_PLANE: &str = "/aws/eks/prod/cluster";

const STORY: &str = include_str!("../pipelines/demo/story.ndjson");
const KUBECTL: &str = include_str!("../tests/data/kubectl/kubectl.ndjson");

/// Who acts in the captured events, and what is acted out. How often of 1000 events, whose and which event
/// is taken, and who is put in its place: captures of a small cluster have too few controllers.
///
/// 85 % controllers and nodes, 10 % people, 5 % refused or not found, 0.1 % an attack; sizes are those of a
/// GKE-like audit policy (mean 1.8 kB, median 1.1 kB).
const MIX: [(u32, &str, &str, &str); 17] = [
    (280, NODE, "update leases 200", NODE),
    (170, "bob@example.com", "get deployments 200", "system:kube-controller-manager"),
    (90, "bob@example.com", "get configmaps 200", "system:kube-scheduler"),
    (100, "mallory@example.com", "watch pods 200", NODE),
    (80, NODE, "patch pods 200", NODE),
    (60, NODE, "create events 201", NODE),
    (10, NODE, "delete pods 200", NODE),
    (30, "system:anonymous", "get - 200", "system:anonymous"),
    (30, PROMETHEUS, "get - 200", PROMETHEUS),
    (24, "bob@example.com", "list deployments 200", "bob@example.com"),
    (20, "bob@example.com", "get configmaps 200", "bob@example.com"),
    (20, "bob@example.com", "get deployments 200", "bob@example.com"),
    (10, "bob@example.com", "patch deployments 200", "bob@example.com"),
    (24, "mallory@example.com", "get pods 200", "dana@example.com"),
    (2, "bob@example.com", "list pods 200", "bob@example.com"),
    (24, "carol@example.com", "list pods 403", "carol@example.com"),
    (25, "alice@example.com", "get secrets 404", "alice@example.com"),
];
const NODE: &str = "system:node:worker-1";
const PROMETHEUS: &str = "system:serviceaccount:monitoring:prometheus";
/// How often of 1000 an event is any one of the attacker's.
const ATTACK: (u32, &str) = (1, "mallory@example.com");

/// One request.
pub(super) struct Request {
    pub(super) text: String,
    pub(super) events: u64,
}

struct Template {
    text: String,
    audit_id: String,
    received: String,
    stage: String,
}

impl Template {
    fn new(text: &str, event: &Value, actor: &str) -> Self {
        let field = |path: &str| text_at(event, path).to_owned();
        let user = field("/user/username");
        let mut text = text.to_owned();
        if user != actor {
            text = text.replace(&user, actor).replace("kubectl/", &format!("{actor}/"));
        }
        Self {
            text,
            audit_id: field("/auditID"),
            received: field("/requestReceivedTimestamp"),
            stage: field("/stageTimestamp"),
        }
    }

    /// As if it had just happened, somewhere in a larger cluster.
    fn event(&self, at: Timestamp, random: &mut fastrand::Rng) -> anyhow::Result<String> {
        let done = at.checked_add(SignedDuration::from_micros(random.i64(500..20_000)))?;
        let node = random.u16(1..200);
        Ok(self
            .text
            .replace(&self.audit_id, &uuid(random))
            .replace(&self.received, &format!("{at:.6}"))
            .replace(&self.stage, &format!("{done:.6}"))
            .replace("127.0.0.1", &format!("10.0.{}.{}", random.u8(..), random.u8(1..255)))
            .replace("worker-1", &format!("worker-{node}"))
            .replace("shop", &format!("shop-{}", random.u8(1..30))))
    }
}

pub(super) fn uuid(random: &mut fastrand::Rng) -> String {
    let (high, low) = (random.u64(..), random.u64(..));
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}

/// The captured events: text, and what it says.
fn captured() -> anyhow::Result<Vec<(String, Value)>> {
    let mut events = Vec::new();
    for line in STORY.lines() {
        events.push((line.to_owned(), serde_json::from_str(line)?));
    }
    for line in KUBECTL.lines() {
        #[derive(serde::Deserialize)]
        struct Command<'a> {
            #[serde(borrow)]
            events: Vec<&'a serde_json::value::RawValue>,
        }
        for event in serde_json::from_str::<Command<'_>>(line)?.events {
            events.push((event.get().to_owned(), serde_json::from_str(event.get())?));
        }
    }
    Ok(events)
}

fn text_at<'v>(event: &'v Value, path: &str) -> &'v str {
    event.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn what(event: &Value) -> String {
    let resource = event.pointer("/objectRef/resource").and_then(Value::as_str).unwrap_or("-");
    let code = event.pointer("/responseStatus/code").unwrap_or(&Value::Null);
    format!("{} {resource} {code}", text_at(event, "/verb"))
}

/// Templates with their shares of 1000.
fn templates() -> anyhow::Result<Vec<(u32, Vec<Template>)>> {
    let captured = captured()?;
    let pick = |user: &str, wanted: Option<&str>, actor: &str| -> Vec<Template> {
        let by = captured.iter().filter(|(_, event)| text_at(event, "/user/username") == user);
        let same = by.filter(|(_, event)| wanted.is_none_or(|it| what(event) == it));
        same.map(|(line, event)| Template::new(line, event, actor)).collect()
    };
    let mut all: Vec<_> = MIX
        .iter()
        .map(|(share, user, wanted, actor)| (*share, pick(user, Some(wanted), actor)))
        .collect();
    all.push((ATTACK.0, pick(ATTACK.1, None, ATTACK.1)));
    ensure!(all.iter().map(|it| it.0).sum::<u32>() == 1000, "the shares of the mix are not 1000");
    ensure!(all.iter().all(|it| !it.1.is_empty()), "an event of the mix was not captured");
    Ok(all)
}

/// Makes `count` requests of audit events, the first of which happened at `start`, each as `shape` gives it; what it
/// gives none for is left out.
pub(super) fn audit(
    count: usize,
    body_bytes: usize,
    start: Timestamp,
    shape: impl Fn(String) -> Option<String>,
) -> anyhow::Result<Vec<Request>> {
    let templates = templates()?;
    let mut random = fastrand::Rng::with_seed(1);
    let mut at = start;
    requests(count, body_bytes, |number| {
        let event = loop {
            let mut ticket = random.u32(0..1000);
            let of_kind = templates.iter().find(|(share, _)| {
                let hit = ticket < *share;
                ticket = ticket.saturating_sub(*share);
                hit
            });
            let (_, kind) = of_kind.context("shares")?;
            let template = random.choice(kind).context("no event of a kind")?;
            at = at.checked_add(SignedDuration::from_micros(random.i64(1..5000)))?;
            if let Some(event) = shape(template.event(at, &mut random)?) {
                break event;
            }
        };
        Ok(document(number, CONTROL_PLANE, "kube-apiserver-audit", at, &event))
    })
}

/// Makes `count` requests of these items, none smaller than `body_bytes`.
pub(super) fn requests(
    count: usize,
    body_bytes: usize,
    mut next: impl FnMut(usize) -> anyhow::Result<String>,
) -> anyhow::Result<Vec<Request>> {
    let mut number = 0;
    let one = |_| {
        let (mut text, mut events) = (String::with_capacity(body_bytes + body_bytes / 8), 0);
        while text.len() < body_bytes {
            text.push_str(&next(number)?);
            number += 1;
            events += 1;
        }
        Ok(Request { text, events })
    };
    (0..count).map(one).collect()
}

/// An item as Filebeat 8's `aws-cloudwatch` input sends it.
pub(super) fn document(
    number: usize,
    group: &str,
    stream: &str,
    at: Timestamp,
    message: &str,
) -> String {
    let id = format!("379{number:053}");
    let stream = format!("{stream}-0123456789abcdef0123456789abcdef");
    let cloudwatch =
        format!(r#"{{"log_group":"{group}","log_stream":"{stream}","ingestion_time":"{at:.3}"}}"#);
    let message = Value::from(message);
    format!(
        concat!(
            r#"{{"create":{{"_index":"logs-aws.cloudwatch_logs-prod","_id":"{}"}}}}"#,
            "\n",
            r#"{{"@timestamp":"{:.0}","message":{},"log.file.path":"{}/{}","event":{{"id":"{}","ingested":"{:.3}"}},"#,
            r#""awscloudwatch":{},"aws.cloudwatch":{},"cloud":{{"provider":"aws","region":"eu-west-1"}},"#,
            r#""agent":{{"id":"5f0b1b0e-7c0a-4d8e-9c6e-2f1d3c4b5a69","type":"filebeat","version":"8.19.0","name":"shipper-0"}},"#,
            r#""ecs":{{"version":"8.0.0"}},"input":{{"type":"aws-cloudwatch"}},"tags":["forwarded"]}}"#,
            "\n"
        ),
        id, at, message, group, stream, id, at, cloudwatch, cloudwatch
    )
}
