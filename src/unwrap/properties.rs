//! What holds for every document and every event, whatever carries it.

use std::io::Write as _;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::{Compression, write::GzEncoder};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;

/// Most that may be decompressed in these tests.
const INFLATED_BYTES_MAX: usize = 1 << 16;

fn settings() -> Settings {
    Settings {
        preserve_original: false,
        objects: Objects::Full,
        depth_max: 1000,
        cluster: None,
        from_containers: true,
    }
}

/// What becomes of a document: a name for each part, and what is stored of it.
fn parts_of(document: &str) -> Vec<(&'static str, String)> {
    let settings = settings();
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    let mut members = Vec::new();
    let Ok(depth) = json::object(document, json::DEPTH_MAX, &mut members) else {
        return Vec::new();
    };
    let (mut parts, mut scratch) = (Vec::new(), Scratch::default());
    let mut buffers = Buffers::new(INFLATED_BYTES_MAX);
    let labels = Labels::default();
    each(document, &members, depth, &settings, &mut buffers, &mut |part| {
        let mut out = String::new();
        let name = match part {
            Part::Audit(found) => {
                write(&found, &labels, &settings, now, &mut scratch, &mut out);
                if found.is_cut() { "cut" } else { "audit" }
            }
            Part::Line(line) => {
                write_line(&line, &labels, &settings, now, &mut scratch, &mut out);
                "line"
            }
            Part::Piece(piece) => {
                write_piece(&piece, now, &mut scratch, &mut out);
                piece.broken.map_or("piece", Broken::name)
            }
            Part::Broken(unread) => {
                write_broken(&unread, &mut scratch, &mut out);
                unread.reason.name()
            }
            Part::Dropped(why) => {
                out.push_str("{}");
                why.name()
            }
            Part::Other => {
                out.push_str(document);
                "other"
            }
        };
        parts.push((name, out));
        Flow::Continue(())
    });
    parts
}

/// The events that a document becomes, as the text of `kubernetes.audit`.
fn audits_of(document: &str) -> Vec<String> {
    let audit = |document: &str| {
        let it = json::get(json::get(document, "kubernetes")?, "audit")?;
        Some(it.to_owned())
    };
    let audits = parts_of(document).into_iter().filter(|(name, _)| *name == "audit");
    audits.map(|(_, document)| audit(&document).unwrap()).collect()
}

/// Every part can be stored, and nothing becomes of a document that has no measure in it.
fn check_total(document: &str) {
    // Documents are lines.
    if document.contains('\n') {
        return;
    }
    let parts = parts_of(document);
    let mut bytes = 0;
    for (name, part) in &parts {
        assert!(!part.contains('\n'), "{name}: {part}");
        assert!(json::check(part, json::DEPTH_MAX).is_ok(), "{name}: {part}");
        bytes += part.len();
    }
    assert!(!parts.is_empty() || json::check(document, json::DEPTH_MAX).is_err(), "{document}");
    // An event of a few bytes has a document of 2 KiB; with each goes what was around all of them.
    let bound = parts.len() * (document.len() + 4096) + 8 * (document.len() + INFLATED_BYTES_MAX);
    assert!(bytes <= bound, "{bytes} bytes of {}", document.len());
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    json::push_string(&mut out, text);
    out
}

fn packed(text: &str) -> String {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    BASE64_STANDARD.encode(gzip.finish().unwrap())
}

fn plain(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

fn subscription(event: &str) -> String {
    let event = quoted(event);
    format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/aws/eks/plum/cluster","logStream":"kube-apiserver-audit-0","subscriptionFilters":[],"logEvents":[{{"id":"7","timestamp":1,"message":{event}}}]}}"#
    )
}

fn aks(log: &str) -> String {
    format!(
        r#"{{"time":"2026-02-27T08:15:01Z","resourceId":"/SUBSCRIPTIONS/A/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/PLUM","category":"kube-audit","operationName":"R","properties":{{"log":{log},"pod":"p"}}}}"#
    )
}

/// Text after the first brace, and the event's own text in front of it.
fn with(event: &str, more: &str) -> String {
    event.replacen('{', &format!("{{{more},"), 1)
}

/// Without `kind` and `apiVersion`, as events stand in lists.
fn without_kind(event: &str) -> String {
    event.replacen(KIND, "", 1)
}

const KIND: &str = r#""kind":"Event","apiVersion":"audit.k8s.io/v1","#;

const VERSION: &str = r#""apiVersion":"audit.k8s.io/v1","#;

type Wrap = fn(&str) -> String;

/// Carriers that leave the event's bytes as they are.
const CARRIERS: &[(&str, Wrap)] = &[
    ("message", |e| format!(r#"{{"message":{}}}"#, quoted(e))),
    ("message in escapes", |e| {
        let escaped: String = e.encode_utf16().map(|it| format!("\\u{it:04x}")).collect();
        format!(r#"{{"message":"{escaped}"}}"#)
    }),
    ("message, blanks around it", |e| {
        format!(r#"{{"message":{}}}"#, quoted(&format!("\u{feff} {e}\r\n")))
    }),
    ("event.original", |e| format!(r#"{{"event":{{"original":{}}}}}"#, quoted(e))),
    ("log", |e| format!(r#"{{"log":{}}}"#, quoted(&format!("{e}\n")))),
    ("CRI", |e| {
        let line = format!("2026-02-27T08:15:01.123456789Z stdout F {e}");
        format!(r#"{{"message":{}}}"#, quoted(&line))
    }),
    ("Filebeat, dots", |e| {
        format!(
            r#"{{"message":{},"aws.cloudwatch":{{"log_group":"/aws/eks/plum/cluster","log_stream":"kube-apiserver-audit-0"}}}}"#,
            quoted(e)
        )
    }),
    ("Elastic's Firehose", |e| {
        format!(
            r#"{{"message":{},"aws.cloudwatch.log_group":"/aws/eks/plum/cluster","a.b":1}}"#,
            quoted(e)
        )
    }),
    ("decoded", |e| format!(r#"{{"kubernetes":{{"audit":{e}}}}}"#)),
    ("decoded, dots", |e| format!(r#"{{"kubernetes.audit":{e}}}"#)),
    ("root", |e| with(e, r#""@timestamp":"x","host":{}"#)),
    ("message as object", |e| format!(r#"{{"message":{e}}}"#)),
    ("message as array", |e| format!(r#"{{"message":[{e}]}}"#)),
    ("message as array of strings", |e| format!(r#"{{"message":[{}]}}"#, quoted(e))),
    ("list", |e| {
        format!(
            r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{e}]}}"#
        )
    }),
    ("list without kind", |e| {
        let e = without_kind(e);
        format!(
            r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{{}},"items":[{e}]}}"#
        )
    }),
    ("list without versions", |e| {
        let e = e.replacen(VERSION, "", 1);
        format!(r#"{{"items":[{e}],"kind":"EventList","apiVersion":"audit.k8s.io/v1"}}"#)
    }),
    ("subscription", |e| subscription(e)),
    ("subscription in message", |e| format!(r#"{{"message":{}}}"#, quoted(&subscription(e)))),
    ("subscription, Vector", |e| {
        format!(
            r#"{{"message_type":"DATA_MESSAGE","log_group":"/aws/eks/plum/cluster","log_stream":"s","log_events":[{{"id":"7","timestamp":1,"message":{}}}]}}"#,
            quoted(e)
        )
    }),
    ("subscription, split", |e| {
        let half = (e.len() / 2..e.len()).find(|it| {
            e.is_char_boundary(*it)
                && !e.get(*it..).is_some_and(|it| it.starts_with(['{', '\n', '\r', '\t']))
                && !e.get(..*it).is_some_and(|it| it.ends_with(['\n', '\r', '\t']))
        });
        let (first, rest) = e.split_at(half.unwrap_or(e.len()));
        format!(
            r#"{{"messageType":"DATA_MESSAGE","logGroup":"/aws/eks/plum/cluster","logStream":"kube-apiserver-audit-0","logEvents":[{{"id":"7","timestamp":1,"message":{}}},{{"id":"8","timestamp":1,"message":{}}}]}}"#,
            quoted(first),
            quoted(rest)
        )
    }),
    ("Firehose", |e| {
        format!(
            r#"{{"requestId":"r","timestamp":1,"records":[{{"data":"{}"}}]}}"#,
            packed(&subscription(e))
        )
    }),
    ("Firehose, lines", |e| {
        let lines = format!("I0227 klog\n{e}\nlast");
        format!(r#"{{"requestId":"r","timestamp":1,"records":[{{"data":"{}"}}]}}"#, plain(&lines))
    }),
    ("Lambda", |e| format!(r#"{{"awslogs":{{"data":"{}"}}}}"#, packed(&subscription(e)))),
    ("Kinesis", |e| {
        format!(
            r#"{{"Records":[{{"kinesis":{{"data":"{}"}},"awsRegion":"eu-north-1"}}]}}"#,
            packed(&subscription(e))
        )
    }),
    ("SQS", |e| format!(r#"{{"Records":[{{"body":{}}}]}}"#, quoted(&subscription(e)))),
    ("Event Hub", |e| format!(r#"{{"records":[{}]}}"#, aks(&quoted(&format!("{e}\n"))))),
    ("Event Hub, object", |e| format!(r#"{{"records":[{}]}}"#, aks(e))),
    ("Event Hub, message", |e| format!(r#"{{"message":{}}}"#, quoted(&aks(&quoted(e))))),
    ("Event Hub, root", |e| aks(&quoted(e))),
    ("OpenTelemetry", |e| {
        format!(
            r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"body":{{"stringValue":{}}}}}]}}]}}]}}"#,
            quoted(e)
        )
    }),
    ("viaq", |e| {
        with(
            &e.replacen(LEVEL, r#""level":"default","k8s_audit_level":"Request""#, 1),
            r#""openshift":{"cluster_id":"c"}"#,
        )
    }),
    ("GELF in message", |e| {
        format!(r#"{{"message":{}}}"#, quoted(&format!(r#"{{"short_message":{}}}"#, quoted(e))))
    }),
    ("Pub/Sub push", |e| format!(r#"{{"message":{{"data":"{}"}},"subscription":"s"}}"#, plain(e))),
    ("Elastic, platformlogs", |e| {
        format!(
            r#"{{"azure":{{"platformlogs":{{"category":"kube-audit","properties":{{"log":{e}}}}}}}}}"#
        )
    }),
    ("Elastic, EKS", |e| format!(r#"{{"aws":{{"eks":{{"audit":{e}}}}}}}"#)),
    ("fluentd of 2019", |e| {
        let body = json::get(e, "requestObject").unwrap_or("{");
        let e = e.replacen(body, &quoted(body), 1);
        with(&e, r#""origin":"kubernetes-api-audit","responseObject":"none""#)
    }),
];

const LEVEL: &str = r#""level":"Request""#;

/// JSON in spellings that no encoder would choose, all of one line.
fn value(leaf_bytes: usize) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.0E+2".to_owned()),
        Just("-0".to_owned()),
        Just("12345678901234567890123".to_owned()),
        Just(r#""\u00e9\/\ud83d\ude00\u0026""#.to_owned()),
        vec(any::<char>(), 0..leaf_bytes).prop_map(|it| quoted(&it.iter().collect::<String>())),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(|it| format!("[ {}]", it.join(" , "))),
            vec(inner, 0..4).prop_map(|it| {
                let members = it.iter().enumerate().map(|(n, it)| format!(r#""k.{n}\"" : {it}"#));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

/// An event as the API server could write it, and its request's body an object.
fn event() -> impl Strategy<Value = String> {
    let texts = (vec(any::<char>(), 0..20), vec(any::<char>(), 0..20));
    (texts, value(12), value(12), value(6)).prop_map(|((name, uri), extra, body, more)| {
        let text = |it: Vec<char>| quoted(&it.into_iter().collect::<String>());
        let (name, uri) = (text(name), text(uri));
        format!(
            r#"{{{KIND}{LEVEL},"auditID":"a-1","stage":"ResponseComplete","requestURI":{uri},"verb":"create","user":{{"username":{name},"extra":{extra}}},"objectRef":{{"resource":"pods","namespace":"shop"}},"responseStatus":{{"metadata":{{}},"code":201}},"requestObject":{{"spec":{body}}},"requestReceivedTimestamp":"2026-02-27T08:15:01.1Z","stageTimestamp":"2026-02-27T08:15:01.2Z","annotations":{{"authorization.k8s.io/decision":"allow"}},"later":{more}}}"#
        )
    })
}

/// What `kubernetes.audit` is to hold of an event.
fn stored(event: &str) -> String {
    let mut out = String::new();
    audit::write_audit(
        &AuditEvent::new(event, json::members(event).collect()),
        Some(Objects::Full),
        None,
        &mut out,
    );
    out
}

fn without_metadata(audit: &str) -> String {
    let Some((event, metadata)) = audit.split_once(r#","aks_metadata":"#) else {
        return audit.to_owned();
    };
    let (_, rest) = metadata.split_once('}').unwrap();
    format!("{event}{rest}")
}

/// Members beside the event at the document's root, which no event of this version has.
const LATER: &str = "later";

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What a carrier took in, comes out: every byte of it.
    #[test]
    fn every_carrier_gives_back_the_event(event in event()) {
        for (name, wrap) in CARRIERS {
            let audits = audits_of(&wrap(&event));
            prop_assert_eq!(audits.len(), 1, "{}: {:?}", name, parts_of(&wrap(&event)));
            let audit = without_metadata(&audits[0]);
            // Beside the shipper's own members only those are taken that are surely the event's.
            let expected = match *name {
                "root" | "viaq" | "fluentd of 2019" => {
                    let later = format!(r#","{LATER}":"#);
                    let (event, _) = event.split_once(&later).unwrap();
                    stored(&format!("{event}}}"))
                }
                _ => stored(&event),
            };
            prop_assert_eq!(&audit, &expected, "{}", name);
        }
    }

    /// Carriers in each other, in any order: the event comes out, or is kept with the reason.
    #[test]
    fn carriers_in_carriers(event in event(), order in vec(0..CARRIERS.len(), 1..4)) {
        let mut document = event.clone();
        for (place, index) in order.iter().enumerate() {
            let (name, wrap) = CARRIERS[*index];
            // Nobody writes so, and in base64 it is not looked for. Paths are keys at a document's root only.
            let is_outermost = place + 1 == order.len();
            prop_assume!(is_outermost || !["message in escapes", "decoded, dots"].contains(&name));
            // These take an event only; what is in them is no carrier.
            let takes_events = ["decoded", "decoded, dots", "list without kind", "viaq", "root", "fluentd of 2019",
                "Elastic, platformlogs", "Elastic, EKS", "Firehose, lines", "message as array", "list", "list without versions",
                "message as array of strings", "OpenTelemetry", "subscription, split"];
            if place == 0 || !takes_events.contains(&name) {
                // Nobody writes base64 in base64.
                let is_readable = document.contains("auditID");
                document = wrap(&document);
                prop_assume!(is_readable || wrap("auditID").contains("auditID"));
            }
        }
        let parts = parts_of(&document);
        let found = parts.iter().any(|(name, _)| *name == "audit");
        let told = parts.iter().any(|(name, part)| *name == "too_deep" && !part.is_empty());
        let names: Vec<_> = order.iter().map(|it| CARRIERS[*it].0).collect();
        prop_assert!(found || told, "{:?}: {:?}", names, parts);
    }

    #[test]
    fn any_text_as_message(text in any::<String>(), head in 0..HEADS.len()) {
        for (_, wrap) in CARRIERS.iter().take(7) {
            check_total(&wrap(&format!("{}{text}", HEADS[head])));
        }
    }

    #[test]
    fn any_event_cut_or_bent(event in event(), at in any::<prop::sample::Index>(), with in any::<Option<u8>>()) {
        for (name, wrap) in CARRIERS {
            let whole = if name.starts_with("decoded") || name.contains("object") { event.clone() } else { bent(&event, at.index(event.len()), with) };
            check_total(&wrap(&whole));
            check_total(&bent(&wrap(&event), at.index(event.len()), with));
        }
    }

    #[test]
    fn any_value_anywhere(value in value(8), name in 0..NAMES.len(), inner in 0..NAMES.len()) {
        let (name, inner) = (NAMES[name], NAMES[inner]);
        check_total(&format!(r#"{{"{name}":{value}}}"#));
        check_total(&format!(r#"{{"{name}":{{"{inner}":{value}}},"{inner}":"k8s.io"}}"#));
        check_total(&format!(r#"{{"{name}":[{{"{inner}":{value}}},"{{\"k8s.io\":1}}"],"{inner}":{value}}}"#));
    }
}

const HEADS: [&str; 8] = [
    "",
    "{",
    "[{\"k8s.io\":1},",
    "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",",
    "{}{\"k8s.io\"",
    "\u{feff}",
    "I0227 k8s.io ",
    "{\"ts\":",
];

/// Names that carriers are told from.
const NAMES: [&str; 30] = [
    "message",
    "event",
    "original",
    "kubernetes",
    "audit",
    "kubernetes.audit",
    "records",
    "Records",
    "logEvents",
    "messageType",
    "awslogs",
    "data",
    "kinesis",
    "properties",
    "log",
    "category",
    "resourceId",
    "items",
    "kind",
    "apiVersion",
    "protoPayload",
    "resourceLogs",
    "scopeLogs",
    "aws",
    "cloudwatch",
    "azure",
    "gcp",
    "AuditId",
    "a.b",
    "body",
];

/// A text that ends at a place, or has another byte there.
fn bent(text: &str, at: usize, byte: Option<u8>) -> String {
    let mut bytes = text.as_bytes().to_vec();
    match byte {
        Some(byte) => bytes[at] = byte,
        None => bytes.truncate(at),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const SMALL: &str =
    r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","auditID":"a","stage":"Panic","verb":"get"}"#;

/// So many texts in each other are taken off; one more is kept, and it is said.
#[test]
fn carriers_deeper_than_allowed_are_kept() {
    let gelf = |inner: &str| format!(r#"{{"short_message":{}}}"#, quoted(inner));
    let mut document = SMALL.to_owned();
    for depth in 1..=peel::BUFFERS {
        document = gelf(&document);
        assert_eq!(audits_of(&document).len(), 1, "{depth}");
    }
    let one = gelf(&document);
    let parts = parts_of(&one);
    assert_eq!(parts.len(), 1);
    assert_eq!(parts[0].0, "too_deep");
    assert_eq!(json::get(&parts[0].1, "short_message"), json::get(&one, "short_message"));
    // Of several, each is kept.
    let bare = without_kind(SMALL);
    let list =
        format!(r#"{{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[{bare},{bare}]}}"#);
    let mut document = list;
    for _ in 0..peel::BUFFERS {
        document = gelf(&document);
    }
    let parts = parts_of(&document);
    assert_eq!(parts.len(), 2);
    for (name, part) in parts {
        assert_eq!(name, "too_deep");
        assert_eq!(json::string(json::get(&part, "message").unwrap()).unwrap(), bare);
    }
}

/// Objects in each other need no text of their own: 10⁵ of them must cost neither stack nor time.
#[test]
fn objects_in_objects_end() {
    for (open, close) in [("{\"message\":", "}"), ("[[],{},", "]"), ("{\"log\":{\"body\":", "}}")] {
        for depth in [10, 100_000] {
            let inner = format!("{}{SMALL}{}", open.repeat(depth), close.repeat(depth));
            let document = format!(r#"{{"message":{inner}}}"#);
            let parts = parts_of(&document);
            assert!(!parts.is_empty() && parts.iter().all(|(_, it)| !it.is_empty()), "{open}");
            if depth == 10 && open.starts_with("{\"m") {
                assert_eq!(parts[0].0, "audit");
            }
        }
    }
    // Each of these lines begins with one that is taken off, and goes on behind an event.
    let line = format!("{SMALL} 2026-02-27T08:15:01.123456789Z stdout F ");
    let parts = parts_of(&json!({"message": line.repeat(10_000)}).to_string());
    assert_eq!((parts[0].0, parts[parts.len() - 1].0), ("audit", "too_deep"));
}

/// What is compressed may not become more than allowed, neither for looking nor for reading.
#[test]
fn what_is_compressed_stays_within_its_limit() {
    let bomb = packed(&format!("{{\"k8s.io\":\"{}\"}}", "x".repeat(1 << 22)));
    let record = format!(r#"{{"data":"{bomb}"}}"#);
    for document in [
        format!(r#"{{"records":[{record}]}}"#),
        format!(r#"{{"records":[{}]}}"#, vec![record.as_str(); 50].join(",")),
        format!(r#"{{"awslogs":{{"data":"{bomb}"}}}}"#),
        format!(r#"{{"message":{{"data":"{bomb}"}},"subscription":"s"}}"#),
        format!(r#"{{"message":{}}}"#, quoted(&format!(r#"{{"awslogs":{{"data":"{bomb}"}}}}"#))),
    ] {
        let parts = parts_of(&document);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].0, "too_large");
        assert!(parts[0].1.len() < document.len() + 300);
    }
    // What is found before the limit is reached has not been in vain.
    let good = packed(&subscription(SMALL));
    let document = format!(r#"{{"records":[{{"data":"{good}"}},{record}]}}"#);
    let names: Vec<_> = parts_of(&document).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["audit", "too_large"]);
}

/// An event of GKE and a row of Log Analytics hold what their carriers hold.
#[test]
fn converting_carriers_keep_what_they_can_hold() {
    let event: Value = serde_json::from_str(&format!(
        r#"{{{KIND}"level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/api/v1/namespaces/shop/secrets","verb":"list","user":{{"username":"nina@corp.example"}},"sourceIPs":["192.0.2.1"],"userAgent":"kubectl","objectRef":{{"resource":"secrets","namespace":"shop","apiVersion":"v1"}},"responseStatus":{{"metadata":{{}},"status":"Success","code":200}},"requestReceivedTimestamp":"2026-02-27T08:15:01.1Z","stageTimestamp":"2026-02-27T08:15:01.1Z","annotations":{{"authorization_k8s_io/decision":"allow"}},"peer_ip":"192.0.2.1"}}"#
    ))
    .unwrap();
    let entry = json!({"insertId": "i", "labels": {"authorization.k8s.io/decision": "allow"}, "operation": {"id": "a", "first": true, "last": true},
        "protoPayload": {"@type": "type.googleapis.com/google.cloud.audit.AuditLog", "methodName": "io.k8s.core.v1.secrets.list",
        "authenticationInfo": {"principalEmail": "nina@corp.example"}, "requestMetadata": {"callerIp": "192.0.2.1", "callerSuppliedUserAgent": "kubectl"},
        "resourceName": "core/v1/namespaces/shop/secrets", "serviceName": "k8s.io", "status": {}},
        "resource": {"type": "k8s_cluster", "labels": {}}, "timestamp": "2026-02-27T08:15:01.1Z"});
    let e = |name: &str| event[name].clone();
    let row = json!({"AuditId": "a", "Level": "Metadata", "Stage": "ResponseComplete", "RequestUri": e("requestURI"), "Verb": "list",
        "User": e("user"), "SourceIps": e("sourceIPs").to_string(), "UserAgent": "kubectl", "ObjectRef": e("objectRef").to_string(), "ResponseStatus": e("responseStatus"),
        "RequestObject": null, "ResponseObject": null, "Annotations": "{\"authorization.k8s.io/decision\":\"allow\"}",
        "RequestReceivedTime": e("requestReceivedTimestamp"), "StageReceivedTime": e("stageTimestamp"), "TimeGenerated": "x"});
    for document in
        [entry.to_string(), json!({"message": entry.to_string()}).to_string(), row.to_string()]
    {
        let audits = audits_of(&document);
        assert_eq!(audits.len(), 1, "{document}");
        let mut audit: Value = serde_json::from_str(&audits[0]).unwrap();
        for extra in ["protoPayload", "operation", "insertId", "logName", "aks_metadata"] {
            audit.as_object_mut().unwrap().remove(extra);
        }
        assert_eq!(audit, event);
    }
}

/// What only looks as if it held an event hides none.
#[test]
fn a_decoy_hides_nothing() {
    let decoy = "{\"about\":\"k8s.io\"}";
    for document in [
        json!({"message": decoy, "event": {"original": SMALL}}),
        json!({"message": SMALL, "log": decoy, "kubernetes": {"audit": {"x": 1}}}),
        json!({"short_message": decoy, "full_message": SMALL}),
        json!({"kubernetes": {"audit": SMALL}}),
        json!({"message": decoy, "kubernetes": {"audit": SMALL}}),
    ] {
        assert_eq!(names_of(&document), ["audit"], "{document}");
    }
}

/// An entry that does not name its resource is found again after it was written.
#[test]
fn a_nameless_entry_is_not_converted_twice() {
    let entry = json!({"insertId": "i", "protoPayload": {"methodName": "io.k8s.core.v1.pods.list", "serviceName": "k8s.io",
        "authenticationInfo": {"principalEmail": "nina@corp.example"}}, "resource": {"type": "k8s_cluster"}});
    let parts = parts_of(&entry.to_string());
    assert_eq!(audits_of(&parts[0].1), audits_of(&entry.to_string()));
    assert!(parts[0].1.contains("nina@corp.example"));
}

fn names_of(document: &Value) -> Vec<&'static str> {
    parts_of(&document.to_string()).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn what_follows_a_cut_event_is_kept() {
    let (half, _) = SMALL.split_once("\"auditID\"").unwrap();
    let event = |text: &str| json!({"id": "1", "timestamp": 1, "message": text});
    let events = |all: Vec<Value>| json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/plum/cluster", "logStream": "kube-apiserver-audit-0", "logEvents": all});
    let whole = "\u{7b}\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"b\",";
    let rest = "\"stage\":\"Panic\"}";
    assert_eq!(names_of(&events(vec![event(whole), event(rest)])), ["audit"]);
    // What does not go on with it neither spoils it nor is lost.
    assert_eq!(
        names_of(&events(vec![event(whole), event("no rest"), event(SMALL)])),
        ["cut", "piece", "audit"]
    );
    assert_eq!(
        names_of(&events(vec![event(half), event("no rest")])),
        ["broken_audit_event", "piece"]
    );
    let document = events(vec![event(whole), event("MARK")]).to_string().replace("MARK", "\\ud800");
    let names: Vec<_> = parts_of(&document).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["cut", "broken_audit_event"]);
    // Behind others in one text too.
    assert_eq!(names_of(&json!({"message": format!("{SMALL}\n{whole}")})), ["audit", "cut"]);
    assert_eq!(
        names_of(&json!({"message": format!("{{\"a\":1}}\nline\n{SMALL}\nlast")})),
        ["piece", "piece", "audit", "piece"]
    );
    let pretty = serde_json::to_string_pretty(
        &json!({"items": [serde_json::from_str::<Value>(SMALL).unwrap()], "kind": "EventList", "apiVersion": "audit.k8s.io/v1"}),
    );
    assert_eq!(
        names_of(&json!({"message": format!("{}\n{{cut", pretty.unwrap())})),
        ["audit", "piece"]
    );
}

#[test]
fn what_is_not_of_kubernetes_is_not_taken_apart() {
    let logs = |body: Value| {
        json!({"resourceLogs": [{"resource": {"attributes": [{"key": "a", "value": {"stringValue": "x-k8s.io"}}]},
        "scopeLogs": [{"logRecords": [{"severityText": "INFO", "body": body}]}]}]})
    };
    for document in [
        json!({"Records": [{"eventSource": "kinesis.amazonaws.com", "requestParameters": {"logGroupName": "/aws/eks/plum/cluster"}}, {}]}),
        json!({"records": [{"category": "Administrative", "resourceId": "/SUBSCRIPTIONS/A/PROVIDERS/MICROSOFT.CONTAINERSERVICE/X"}]}),
        json!({"message": ["{\"about\":\"k8s.io\"}", "b"]}),
        logs(json!({"stringValue": "about k8s.io"})),
        logs(json!({"stringValue": "{\"about\":\"k8s.io\"}"})),
        json!({"resourceLogs": [{"resource": {"attributes": ["k8s.io"]}}]}),
        json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/plum/cluster", "logEvents": []}),
        json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": []}),
        json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/lambda/x", "logEvents": [{"id": "1", "timestamp": 1, "message": "{\"awslogs\":1}"}]}),
        json!({"kind": "Event", "auditID": "a", "stage": "later"}),
        json!({"messageType": "CONTROL_MESSAGE", "logEvents": []}),
        json!({"messageType": "CONTROL_MESSAGE", "logEvents": [{"message": "GET /admin"}]}),
        json!({"messageType": "CONTROL_MESSAGE", "path": "/admin", "logEvents": [{"message": "CWL CONTROL MESSAGE: x"}]}),
        json!({"message": "{\"messageType\":\"CONTROL_MESSAGE\",\"logEvents\":[]}"}),
    ] {
        assert_eq!(names_of(&document), ["other"], "{document}");
    }
    // Beside an event, a record keeps all that it has.
    let mut both = logs(json!({"stringValue": SMALL}));
    let records = &mut both["resourceLogs"][0]["scopeLogs"][0]["logRecords"];
    records.as_array_mut().unwrap().push(json!({"body": {"stringValue": "text"}, "traceId": "7"}));
    let parts = parts_of(&both.to_string());
    assert_eq!((parts[0].0, parts[1].0), ("audit", "piece"));
    assert!(parts[1].1.contains("traceId"), "{}", parts[1].1);
}

/// A client of the API server has a say in what its components log, and audit events are in streams of their own.
#[test]
fn an_audit_event_among_a_components_lines_is_a_line() {
    let of_stream = |stream: &str| json!({"message": SMALL, "aws": {"cloudwatch": {"log_group": "/aws/eks/plum/cluster", "log_stream": stream}}});
    let of_category = |category: &str| {
        serde_json::from_str::<Value>(&aks(&quoted(SMALL)).replace("kube-audit", category)).unwrap()
    };
    for (document, expected) in [
        (of_stream("kube-apiserver-audit-0"), "audit"),
        (of_stream("kube-apiserver-0"), "line"),
        (of_stream("authenticator-0"), "line"),
        (of_stream("new-0"), "audit"),
        (of_category("kube-audit-admin"), "audit"),
        (of_category("guard"), "line"),
        (of_category("new"), "audit"),
    ] {
        assert_eq!(names_of(&document), [expected], "{document}");
    }
}

#[test]
fn a_record_of_azure_may_lack_its_resource() {
    let mut record: Value = serde_json::from_str(&aks(&quoted(SMALL))).unwrap();
    record.as_object_mut().unwrap().remove("resourceId");
    assert_eq!(names_of(&record), ["audit"]);
    record["resourceId"] = json!(
        "/SUBSCRIPTIONS/A/RESOURCEGROUPS/RG/PROVIDERS/MICROSOFT.KUBERNETES/CONNECTEDCLUSTERS/PLUM"
    );
    assert_eq!(names_of(&record), ["audit"]);
    record["category"] = json!("AuditEvent");
    assert_eq!(names_of(&record), ["other"]);
}
