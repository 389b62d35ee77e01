//! Amazon CloudWatch Logs: what shippers write into their documents, the messages of subscriptions, and the records
//! of Lambda, Kinesis and Firehose that hold these in base64.

use std::{borrow::Cow, fmt::Write};

use jiff::Timestamp;

use super::super::{
    Dropped, Part, decode,
    envelope::{Envelope, Provider},
    peel::{self, Flow, Levels, Sink, Taken, Way, value_of},
    root::{Root, holds_mark, is_candidate},
    salvage::{self, End},
};
use crate::json::{self, Kind, Member};

/// Most CloudWatch events that one audit event is put together of.
const PARTS_MAX: usize = 8;

const SUBSCRIPTION: [&str; 12] = [
    "messageType",
    "message_type",
    "owner",
    "logGroup",
    "log_group",
    "logStream",
    "log_stream",
    "subscriptionFilters",
    "subscription_filters",
    "logEvents",
    "log_events",
    "policyLevel",
];

/// The name of the EKS cluster that a log group belongs to: `/aws/eks/<cluster>/cluster`.
fn cluster(group: &str) -> Option<&str> {
    group
        .strip_prefix("/aws/eks/")?
        .strip_suffix("/cluster")
        .filter(|it| !it.is_empty() && !it.contains('/'))
}

fn told_by_group<'a>(group: Cow<'a, str>, envelope: &mut Envelope<'a>) {
    if let Some(name) = cluster(&group) {
        envelope.provider = Provider::Eks;
        envelope.cluster = Some(Cow::Owned(name.to_owned()));
    }
    envelope.log_group = Some(group);
}

/// What a document tells.
pub(in super::super) fn told_by<'a>(root: &Root<'a>, envelope: &mut Envelope<'a>) {
    if let Some(path) = root.log_file_path {
        envelope.log_file_path = Some(path);
    }
    let Some(object) = root.cloudwatch() else { return };
    envelope.cloudwatch = Some(Cow::Borrowed(object));
    for member in json::members(object) {
        let value = || json::string(member.value);
        match member.key().as_deref() {
            Some("log_group") => {
                if let Some(group) = value() {
                    told_by_group(group, envelope);
                }
            }
            Some("log_stream") => envelope.log_stream = value(),
            Some("ingestion_time") => envelope.created = value(),
            Some("event_id") => envelope.id = value(),
            _ => (),
        }
    }
    if envelope.id.is_none() {
        // Filebeat and Agent put CloudWatch's id there.
        envelope.id = root.event.and_then(|it| json::string(json::get(it, "id")?));
    }
}

/// A message that CloudWatch sends to a subscription (CloudWatch Logs user guide, "Subscription filters").
pub(in super::super) fn is_subscription(root: &Root<'_>) -> bool {
    let kind = root.message_type.and_then(json::string);
    matches!(kind.as_deref(), Some("DATA_MESSAGE" | "CONTROL_MESSAGE"))
        && root.log_events.is_some_and(|it| json::kind(it) == Kind::Array)
}

pub(in super::super) fn subscription(
    text: &str,
    root: &Root<'_>,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let events = root.log_events.unwrap_or("[]");
    if root.message_type.and_then(json::string).is_some_and(|it| it == "CONTROL_MESSAGE") {
        return match is_question(text, events) {
            true => sink(Part::Dropped(Dropped::ControlMessage)),
            false => way.other(text, sink),
        };
    }
    let group = root.log_group.and_then(json::string).unwrap_or_default();
    let is_empty = json::elements(events).next().is_none();
    let is_ours = || {
        let mut messages = json::elements(events).filter_map(|it| json::get(it, "message"));
        cluster(&group).is_some() || holds_mark(events.as_bytes()) && messages.any(peel::is_known)
    };
    if is_empty || !is_ours() {
        return way.other(text, sink);
    }
    let mut way = way.into(Taken::Keys(&SUBSCRIPTION)).split();
    told_by_group(group, &mut way.envelope);
    way.envelope.log_stream = root.log_stream.and_then(json::string);
    way.envelope.account = root.owner.and_then(json::string);
    way.envelope.drop_long();
    let mut events = json::elements(events).peekable();
    // What was taken for the rest of the event before it, and is none.
    let mut left = None;
    while let Some(event) = left.take().or_else(|| events.next()) {
        let mut way = way.clone();
        of_event(event, &mut way.envelope);
        let Some(message) = json::get(event, "message") else {
            way.other(event, sink)?;
            continue;
        };
        let rest = std::iter::from_fn(|| events.next_if(|it| is_rest(it)));
        match whole(message, rest, &mut left) {
            Some(mut joined) => {
                peel::on_one_line(&mut joined);
                peel::text(&joined, &way, levels, sink)?;
            }
            None => value_of(message, &way, levels, sink)?,
        }
    }
    Flow::Continue(())
}

/// Whether a message is CloudWatch's question for life and nothing else: what only looks like it is not dropped, so that
/// nobody makes a line of a log disappear who has a say in it.
fn is_question(text: &str, events: &str) -> bool {
    let is_said = |event: &str| {
        let message = json::get(event, "message").and_then(json::string);
        message.is_some_and(|it| it.starts_with("CWL CONTROL MESSAGE: "))
    };
    let is_its = |it: Member<'_>| SUBSCRIPTION.iter().any(|key| it.is(key));
    json::elements(events).next().is_some()
        && json::elements(events).all(is_said)
        && json::members(text).all(is_its)
}

/// `{"id","timestamp","message"}`
fn of_event<'a>(event: &'a str, envelope: &mut Envelope<'a>) {
    let text = |name| json::get(event, name).and_then(json::string);
    let time = json::get(event, "timestamp").and_then(|it| it.parse().ok());
    envelope.time = time
        .and_then(|it| Timestamp::from_millisecond(it).ok())
        .map(|it| Cow::Owned(it.to_string()));
    envelope.id = text("id");
    let mut object = String::from("{");
    let told = [
        ("log_group", &envelope.log_group),
        ("log_stream", &envelope.log_stream),
        ("event_id", &envelope.id),
    ];
    for (name, value) in told {
        if let Some(value) = value {
            let comma = if object.len() > 1 { "," } else { "" };
            // Writing to a String cannot fail.
            write!(object, "{comma}\"{name}\":").ok();
            json::push_string(&mut object, value);
        }
    }
    object.push('}');
    envelope.cloudwatch = Some(Cow::Owned(object));
}

/// Whether an event of CloudWatch may be the rest of the one before it.
fn is_rest(event: &str) -> bool {
    json::get(event, "message").is_some_and(|it| it.starts_with('"') && !it.starts_with("\"{"))
}

/// CloudWatch cuts an event that is too long for it into several, one after the other in the same stream (seen in
/// the log of falcosecurity/falco#2656). An audit event that begins in `first` and ends in what follows it, put
/// together; what follows is looked at only if `first` is the beginning of one. What does not go on with it is put
/// into `left`.
fn whole<'a>(
    first: &str,
    rest: impl Iterator<Item = &'a str>,
    left: &mut Option<&'a str>,
) -> Option<String> {
    let mut text = json::string(first).filter(|it| salvage::end(it) == End::Open)?.into_owned();
    for event in rest.take(PARTS_MAX - 1) {
        let before = text.len();
        if let Some(part) = json::get(event, "message").and_then(json::string) {
            text.push_str(&part);
        } else {
            text.push('\0');
        }
        match salvage::end(&text) {
            End::Open => (),
            End::Closed => break,
            End::Broken => {
                text.truncate(before);
                *left = Some(event);
                break;
            }
        }
    }
    Some(text)
}

/// What CloudWatch gives to a Lambda: `{"awslogs":{"data":BASE64}}`.
pub(in super::super) fn lambda(
    text: &str,
    awslogs: &str,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let Some(data) = json::get(awslogs, "data").and_then(json::string) else {
        return way.other(text, sink);
    };
    decode::into_text(&data, text, &way.into(Taken::Keys(&["awslogs"])), levels, sink)
}

const RECORDS: [&str; 9] = [
    "records",
    "Records",
    "requestId",
    "timestamp",
    "invocationId",
    "deliveryStreamArn",
    "sourceKinesisStreamArn",
    "region",
    "awsRegion",
];

/// Records of Azure's Event Hub, of Kinesis (`{"kinesis":{"data":BASE64}}`), of Firehose (`{"data":BASE64}`), or of a
/// queue (`{"body":TEXT}`). They are taken apart if one of them is of Kubernetes.
pub(in super::super) fn records(
    text: &str,
    records: &str,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    // Looking does not use up what may be decompressed for the reading, but has a limit of its own.
    let mut is_ours = |record: &str| match data(record) {
        Some(data) => decode::is_kubernetes(&data, levels.inflation),
        None => Ok(peel::is_known(record) || json::get(record, "body").is_some_and(is_candidate)),
    };
    let found = json::elements(records).map(&mut is_ours).find(|it| *it != Ok(false));
    match found {
        Some(Ok(_)) => (),
        Some(Err(reason)) => return way.broken(text, reason, sink),
        None => return way.other(text, sink),
    }
    let way = way.into(Taken::Keys(&RECORDS)).split();
    for record in json::elements(records) {
        let mut way = way.clone();
        if let Some(region) = json::get(record, "awsRegion").and_then(json::string) {
            way.envelope.region = Some(region);
        }
        match data(record) {
            Some(data) => decode::into_text(&data, record, &way, levels, sink)?,
            None => value_of(record, &way, levels, sink)?,
        }
    }
    Flow::Continue(())
}

fn data(record: &str) -> Option<Cow<'_, str>> {
    let kinesis = json::get(record, "kinesis");
    json::string(json::get(kinesis.unwrap_or(record), "data")?)
}
