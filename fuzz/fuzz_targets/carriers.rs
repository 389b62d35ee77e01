//! Audit events in carriers in carriers: they come out again, in order, or the document passes as it came. Byte 0
//! chooses the settings, byte 1 the events, each further byte puts a carrier around all that is there.

#![no_main]

use std::io::Write;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::{Compression, write::GzEncoder};
use k8scop_fuzz::{
    parts::{INFLATED_BYTES_MAX, Kind, again, audit, checked, settings},
    value,
};
use serde_json::{Value, json};

/// `Buffers::LEVELS`
const LEVELS_MAX: usize = k8scop::unwrap::Buffers::LEVELS;
/// `peel::STEPS_MAX`
const OBJECTS_MAX: usize = 12;
/// Most carriers.
const CARRIERS_MAX: usize = 20;
/// Largest document (bytes).
const BYTES_MAX: usize = 1 << 16;
/// What is found as text in a carrier has one of these in it.
const MARKS: [&str; 6] =
    ["k8s.io", "/aws/eks/", "CONTAINERSERVICE", "CONTROL_MESSAGE", "awslogs", "kinesis"];
const TEXTS: [&str; 8] =
    ["message", "log", "msg", "Message", "body", "short_message", "full_message", "audit"];

/// What is carried.
struct Load {
    text: String,
    /// One JSON object, and not several values or one with something before it.
    is_object: bool,
    /// Told from other objects in an array.
    is_known: bool,
    /// An event as it is.
    is_event: bool,
    /// Buffers that it needs as a text, and as an object.
    levels: [usize; 2],
    /// Objects in each other without a text between them.
    objects: usize,
    /// Whether what is there comes out.
    comes_out: bool,
    ids: Vec<String>,
}

impl Load {
    fn is_too_deep(&self) -> bool {
        // The first is no object in another.
        self.objects > OBJECTS_MAX + 1
    }
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [flags, events, carriers @ ..] = data else { return };
    // An event that a container printed is none, where that is chosen; bodies have a target of their own.
    let settings = settings(flags & 0b1_0001);
    let mut number = 0;
    let mut load = event(*events, &mut number);
    for byte in carriers.iter().take(CARRIERS_MAX) {
        let next = wrapped(load, *byte, &mut number);
        if next.text.len() > BYTES_MAX {
            return;
        }
        load = next;
    }
    if !load.is_object || load.text.contains('\n') {
        load = in_text("message", load);
    }
    if *flags & 2 != 0 {
        // The first buffer is for the keys that were taken apart; without a mark they are not.
        let used = usize::from(has_mark(&load.text));
        load.text = load.text.trim().to_owned();
        load.text.insert_str(1, "\"x.y\":1,");
        load.levels[1] += used;
        load.is_event = false;
    }
    let all = checked(&load.text, &settings, INFLATED_BYTES_MAX);
    again(&all, &settings);
    // What is looked into is counted through all texts, and a carrier may be two objects and a list.
    let is_short = carriers.len() <= OBJECTS_MAX / 3;
    if is_short && load.comes_out && load.levels[1] <= LEVELS_MAX && !load.is_too_deep() {
        let came: Vec<String> = all
            .iter()
            .map(|it| {
                assert_eq!(it.kind, Kind::Audit, "{} in {}", it.text, load.text);
                let event = audit(&it.out).and_then(value).expect("an event");
                assert_eq!(event["verb"], "get");
                assert_eq!(
                    event["user"],
                    json!({"username": "mallory \"\\\u{e9}\u{1F600}\u{2028}"})
                );
                event["auditID"].as_str().expect("an id").to_owned()
            })
            .collect();
        assert_eq!(came, load.ids, "{}", load.text);
    }
});

fn has_mark(text: &str) -> bool {
    MARKS.iter().any(|it| text.contains(it))
}

fn event(shape: u8, number: &mut usize) -> Load {
    *number += 1;
    let id = format!("id-{number}");
    let mut event = json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Request", "auditID": id,
        "stage": "ResponseComplete", "requestURI": "/api/v1/pods?a=1&b=\u{2028}", "verb": "get",
        "user": {"username": "mallory \"\\\u{e9}\u{1F600}\u{2028}"}, "sourceIPs": ["192.0.2.1"]});
    let body = json!({"spec": {"hostPID": true}, "text": "a\nb"});
    let mends = shape & 1 != 0;
    match shape & 3 {
        1 => event["requestObject"] = body.to_string().into(),
        2 => event["requestObject"] = body,
        3 => event["requestObject"] = "none".into(),
        _ => (),
    }
    let text = match shape >> 2 & 3 {
        0 => event.to_string(),
        1 => serde_json::to_string_pretty(&event).expect("JSON"),
        2 => format!(" {event} \r"),
        _ => serde_json::to_string_pretty(&event).expect("JSON").replace('\n', "\r\n"),
    };
    Load {
        text,
        is_object: true,
        is_known: true,
        is_event: true,
        levels: [usize::from(mends), 1],
        objects: 1,
        comes_out: true,
        ids: vec![id],
    }
}

fn wrapped(load: Load, byte: u8, number: &mut usize) -> Load {
    let (kind, way) = (byte & 15, byte >> 4);
    match kind {
        0..=2 => in_text(TEXTS[usize::from(way) % TEXTS.len()], load),
        3 => around(load, |text| json!({"event": {"original": text}}), true),
        4 => {
            let shape = way;
            in_object(
                load,
                |text| format!("{{\"{}\":{text}}}", TEXTS[usize::from(shape) % TEXTS.len()]),
                true,
            )
        }
        5 | 6 => {
            let [kind, group, stream, events] = match way & 1 {
                0 => ["messageType", "logGroup", "logStream", "logEvents"],
                _ => ["message_type", "log_group", "log_stream", "log_events"],
            };
            let mut around = around(
                load,
                |text| {
                    json!({kind: "DATA_MESSAGE", "owner": "111122223333", group: "/aws/eks/demo/cluster",
                    stream: "kube-apiserver-audit-0", events: [{"id": "1", "timestamp": 1_772_359_200_130_u64, "message": text}]})
                },
                false,
            );
            around.is_known = true;
            around
        }
        7 => in_base64(load, way, |data| json!({"awslogs": {"data": data}})),
        8 => in_base64(
            load,
            way,
            |data| json!({"Records": [{"kinesis": {"data": data}, "awsRegion": "eu-west-1"}]}),
        ),
        9 => in_base64(
            load,
            way,
            |data| json!({"requestId": "r", "timestamp": 1, "records": [{"data": data}]}),
        ),
        10 => in_base64(
            load,
            way,
            |data| json!({"message": {"data": data, "messageId": "1", "publishTime": "2026-03-01T10:00:00Z"}, "subscription": "s"}),
        ),
        11 => {
            let record = |text: Value| {
                json!({"time": "2026-03-01T10:00:00Z", "category": "kube-audit", "operationName": "x",
                    "resourceId": "/SUBSCRIPTIONS/0/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/DEMO",
                    "properties": {"log": text, "pod": "p"}})
            };
            let mut inside = around(load, |text| record(text), false);
            inside.is_known = true;
            match way & 1 {
                0 => inside,
                _ => in_object(inside, |text| format!("{{\"records\":[{text}]}}"), false),
            }
        }
        // Taken apart only where a body is surely of Kubernetes.
        12 if load.is_known || load.is_event => around(
            load,
            |text| {
                json!({"resourceLogs": [{"resource": {"attributes": [{"key": "k8s.cluster.name", "value": {"stringValue": "c"}}]},
                "scopeLogs": [{"logRecords": [{"body": {"stringValue": text}}]}]}]})
            },
            true,
        ),
        13 => with_another(load, way, number),
        14 if load.is_event => {
            let mut list = in_object(
                load,
                |text| {
                    format!(
                        "{{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{{}},\"items\":[{text}]}}"
                    )
                },
                false,
            );
            list.is_known = true;
            list
        }
        14 => around(load, |text| json!({"Records": [{"body": text}]}), true),
        // What container runtimes and Windows put before a line.
        _ => {
            let head = ["\u{feff}", "2026-03-01T10:00:00.000000000Z stdout F ", " \t", "\r\n"]
                [usize::from(way & 3)];
            // They are taken off in this order, each once.
            let opens = load.text.trim_ascii_start().starts_with(['{', '[']);
            let comes_out = load.comes_out && opens;
            let text = format!("{head}{}", load.text);
            Load { text, is_object: false, comes_out, is_event: false, ..load }
        }
    }
}

fn in_text(name: &str, load: Load) -> Load {
    around(load, |text| json!({ name: text }), true)
}

/// A carrier that holds it as a string. `looks` if it is only looked into where a mark stands.
fn around(load: Load, carrier: impl FnOnce(Value) -> Value, looks: bool) -> Load {
    let comes_out = load.comes_out && !load.is_too_deep() && (!looks || has_mark(&load.text));
    let levels = load.levels[0] + 1;
    Load {
        text: carrier(load.text.into()).to_string(),
        is_object: true,
        is_known: false,
        is_event: false,
        levels: [levels; 2],
        objects: 1,
        comes_out,
        ids: load.ids,
    }
}

/// A carrier that holds it as an object, if it is one.
fn in_object(load: Load, carrier: impl FnOnce(&str) -> String, looks: bool) -> Load {
    if !load.is_object {
        return load;
    }
    let comes_out = load.comes_out && (!looks || has_mark(&load.text));
    Load {
        text: carrier(load.text.trim()),
        is_known: false,
        is_event: false,
        levels: [load.levels[1]; 2],
        objects: load.objects + 1,
        comes_out,
        ..load
    }
}

fn in_base64(load: Load, way: u8, carrier: impl FnOnce(String) -> Value) -> Load {
    let comes_out = load.comes_out && !load.is_too_deep() && has_mark(&load.text);
    let bytes = match way & 1 {
        0 => load.text.into_bytes(),
        _ => {
            let mut out = GzEncoder::new(Vec::new(), Compression::fast());
            out.write_all(load.text.as_bytes()).expect("memory");
            out.finish().expect("memory")
        }
    };
    Load {
        text: carrier(BASE64_STANDARD.encode(bytes)).to_string(),
        is_object: true,
        is_known: false,
        is_event: false,
        levels: [load.levels[0] + 1; 2],
        objects: 1,
        comes_out,
        ids: load.ids,
    }
}

/// Puts an event beside it: in an array, or simply behind it.
fn with_another(load: Load, way: u8, number: &mut usize) -> Load {
    if !load.is_object || !load.is_known {
        return load;
    }
    let other = event(way >> 1, number);
    let text = match way & 1 {
        0 => format!("[{},{}]", load.text.trim(), other.text.trim()),
        _ => format!("{}{}", load.text.trim_end(), other.text),
    };
    Load {
        text,
        is_object: false,
        is_known: false,
        is_event: false,
        levels: [load.levels[1].max(other.levels[1]); 2],
        objects: load.objects + 1,
        comes_out: load.comes_out,
        ids: load.ids.into_iter().chain(other.ids).collect(),
    }
}
