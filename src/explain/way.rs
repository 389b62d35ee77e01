//! Tells in a person's words which carriers were around an event. `unwrap` decides; this only names what is seen.

use crate::json::{self, Kind, Member};

/// Most carriers in each other that are named.
const NAMES_MAX: usize = 6;

/// Where the next carrier is.
enum Next {
    /// The last one.
    End,
    /// The first element of this array.
    FirstOf(&'static str),
    /// This member: an object, or a string with JSON in it.
    In(&'static [&'static str]),
}

/// A carrier: members that it has, and where it goes on. The first that fits is it, in the order in which `unwrap` looks.
const CARRIERS: [(&str, &[&str], Next); 16] = [
    ("kubernetes.audit", &["kubernetes.audit"], Next::End),
    ("EventList", &["items", "apiVersion"], Next::End),
    ("audit event", &["auditID"], Next::End),
    ("CloudWatch subscription", &["logEvents", "messageType"], Next::FirstOf("logEvents")),
    ("CloudWatch subscription", &["log_events", "message_type"], Next::FirstOf("log_events")),
    ("Firehose request", &["records", "requestId"], Next::End),
    ("Azure records", &["records"], Next::FirstOf("records")),
    ("Azure record", &["category", "properties"], Next::In(&["properties", "log"])),
    ("Cloud Logging entry", &["protoPayload"], Next::End),
    ("Log Analytics row", &["AuditId"], Next::End),
    ("Kinesis records", &["Records"], Next::End),
    ("Lambda event", &["awslogs"], Next::End),
    ("Pub/Sub push", &["message", "subscription"], Next::End),
    ("OpenTelemetry logs", &["resourceLogs"], Next::End),
    ("gcp.audit", &["gcp.audit"], Next::End),
    ("azure.platformlogs", &["azure.platformlogs"], Next::End),
];

/// Members that may hold an event as text.
const TEXTS: [&str; 8] =
    ["message", "event.original", "log", "msg", "Message", "body", "short_message", "full_message"];

/// The carriers of a document of these members, from the outside in.
pub(super) fn carriers(members: &[Member<'_>]) -> Vec<&'static str> {
    let mut names = Vec::new();
    name(&|path| member(members, path), &mut names);
    names
}

fn name<'a>(get: &dyn Fn(&str) -> Option<&'a str>, names: &mut Vec<&'static str>) {
    if names.len() >= NAMES_MAX {
        return;
    }
    let carrier = CARRIERS.iter().find(|(_, all, _)| all.iter().all(|it| get(it).is_some()));
    let next = match carrier {
        Some((name, _, next)) => {
            names.push(name);
            match next {
                Next::End => None,
                Next::FirstOf(array) => get(array).and_then(|it| json::elements(it).next()),
                Next::In([first, rest @ ..]) => {
                    rest.iter().fold(get(first), |it, name| json::get(it?, name))
                }
                Next::In([]) => None,
            }
        }
        None => TEXTS.iter().find_map(|text| {
            let value = get(text)?;
            names.push(text);
            Some(value)
        }),
    };
    match next.map(|it| (json::kind(it), it)) {
        Some((Kind::Object, object)) => name(&|path| below(object, path), names),
        Some((Kind::String, value)) => {
            let text = json::string(value).unwrap_or_default();
            let text = text.trim_ascii();
            if json::check(text, json::DEPTH_MAX) == Ok(Kind::Object) {
                name_text(text, names);
            }
        }
        _ => (),
    }
}

fn name_text(text: &str, names: &mut Vec<&'static str>) {
    name(&|path| below(text, path), names);
}

fn member<'a>(members: &[Member<'a>], path: &str) -> Option<&'a str> {
    json::member(members, path).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        below(json::member(members, first)?, rest)
    })
}

fn below<'a>(object: &'a str, path: &str) -> Option<&'a str> {
    if json::kind(object) != Kind::Object {
        return None;
    }
    json::get(object, path).or_else(|| {
        let (first, rest) = path.split_once('.')?;
        below(json::get(object, first)?, rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (document, expected) in [
            (r#"{"auditID":"a","stage":"x"}"#, "audit event"),
            (r#"{"message":"{\"auditID\":\"a\"}"}"#, "message > audit event"),
            (r#"{"kubernetes":{"audit":{"verb":"get"}},"message":"x"}"#, "kubernetes.audit"),
            (
                r#"{"message":"{\"messageType\":\"DATA_MESSAGE\",\"logEvents\":[{\"message\":\"{\\\"auditID\\\":\\\"a\\\"}\"}]}"}"#,
                "message > CloudWatch subscription > message > audit event",
            ),
            (
                r#"{"records":[{"category":"kube-audit","properties":{"log":"{\"auditID\":\"a\"}"}}]}"#,
                "Azure records > Azure record > audit event",
            ),
            (r#"{"event":{"original":"x"}}"#, "event.original"),
            (r#"{"records":[{"data":"x"}],"requestId":"r"}"#, "Firehose request"),
            (r#"{"a":1}"#, ""),
        ] {
            let members: Vec<_> = json::members(document).collect();
            assert_eq!(carriers(&members).join(" > "), expected, "{document}");
        }
    }
}
