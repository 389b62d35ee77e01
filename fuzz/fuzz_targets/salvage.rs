//! Audit events that lost their end: what is left of them is theirs. Byte 0 chooses the settings, bytes 1 and 2 where
//! the cut is, byte 3 the carrier; the rest is the event.

#![no_main]

use k8scop_fuzz::{
    has_key_twice,
    parts::{INFLATED_BYTES_MAX, Kind, Written, again, audit, checked, settings},
    value,
};
use serde_json::{Value, json};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some(([flags, high, low, carrier], event)) = data.split_first_chunk() else { return };
    let Ok(event) = std::str::from_utf8(event) else { return };
    let settings = settings(*flags);
    let mut at = usize::from(u16::from_be_bytes([*high, *low])).min(event.len());
    while !event.is_char_boundary(at) {
        at -= 1;
    }
    let (first, rest) = event.split_at(at);
    let all = checked(&document(*carrier, first), &settings, INFLATED_BYTES_MAX);
    again(&all, &settings);
    let Some(whole) = value(event).filter(|_| has_key_twice(event) == Some(false)) else { return };
    for it in all.iter().filter(|it| it.kind == Kind::Cut) {
        let saved = value(&it.text).expect("what is saved of what can be read can be read");
        is_part(&saved, &whole);
        let text = audit(&it.out).and_then(value).expect("an event");
        assert_eq!(text.get("user"), saved.get("user"));
    }
    // CloudWatch cuts into several events what is too long for one.
    let parts = json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/demo/cluster", "logStream": "kube-apiserver-audit-0",
        "logEvents": [{"id": "1", "timestamp": 1, "message": first}, {"id": "2", "timestamp": 1, "message": rest}]});
    let joined = checked(&parts.to_string(), &settings, INFLATED_BYTES_MAX);
    again(&joined, &settings);
    if let [Written { kind: Kind::Cut, text, .. }, ..] = &joined[..] {
        is_part(&value(text).expect("JSON"), &whole);
    }
});

fn document(carrier: u8, cut: &str) -> String {
    let marker = ["", "[Truncated...]", "[Truncated...]\n", "\r\n"][usize::from(carrier & 3)];
    let text = format!("{cut}{marker}");
    match carrier >> 2 & 3 {
        0 => json!({ "message": text, "tags": "t" }),
        1 => json!({"messageType": "DATA_MESSAGE", "logGroup": "/aws/eks/demo/cluster", "logStream": "kube-apiserver-audit-0",
            "logEvents": [{"id": "1", "timestamp": 1, "message": text}]}),
        2 => json!({"records": [{"time": "2026-03-01T10:00:00Z", "category": "kube-audit", "operationName": "x",
            "resourceId": "/SUBSCRIPTIONS/0/PROVIDERS/MICROSOFT.CONTAINERSERVICE/MANAGEDCLUSTERS/DEMO",
            "properties": {"log": text}}]}),
        _ => json!({"event": {"original": text}, "aws.cloudwatch": {"log_group": "/aws/eks/demo/cluster"}}),
    }
    .to_string()
}

/// Whether everything in `saved` is in `whole`, at the same place, and whole where half of it would mislead.
fn is_part(saved: &Value, whole: &Value) {
    let (Value::Object(saved), Value::Object(whole)) = (saved, whole) else { panic!("no objects") };
    for (key, value) in saved {
        let came = whole.get(key).unwrap_or_else(|| panic!("{key} did not come"));
        match key.as_str() {
            "sourceIPs" | "objectRef" => assert_eq!(value, came),
            "requestURI" | "userAgent" | "responseStatus" | "requestObject" | "responseObject" => {
                is_within(value, came, true);
            }
            _ => is_within(value, came, false),
        }
    }
}

fn is_within(saved: &Value, whole: &Value, halves: bool) {
    match (saved, whole) {
        (Value::Object(saved), Value::Object(whole)) => {
            for (key, value) in saved {
                is_within(value, whole.get(key).unwrap_or(&Value::Null), halves);
            }
        }
        (Value::Array(saved), Value::Array(whole)) => {
            assert!(saved.len() <= whole.len());
            for (saved, whole) in saved.iter().zip(whole) {
                is_within(saved, whole, halves);
            }
        }
        (Value::String(saved), Value::String(whole)) if saved != whole => {
            let half = saved.strip_suffix('…').expect("half a text says so");
            assert!(halves && whole.starts_with(half), "{saved} of {whole}");
        }
        _ => assert_eq!(saved, whole),
    }
}
