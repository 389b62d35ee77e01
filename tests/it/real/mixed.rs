//! Documents of all kinds, as old indices hold them together, each about events of its own.

use std::{io::Write, sync::LazyLock};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::write::GzDecoder;
use regex::{Captures, Regex};
use serde_json::{Value, json};

use super::{attack::unpacked, parts::root};
use crate::{envelopes, harness::data};

/// What the auditIDs begin with in the envelopes, and in those of GKE.
const IDS: [&str; 2] = ["c0ffee00", "beef"];
/// Their cluster. Records of CloudWatch have the same number in each envelope, but not in each cluster.
const CLUSTER: [&str; 2] = ["plum", "PLUM"];

/// What there is to choose from.
pub struct Mixed {
    /// Every way in which an event arrives, lines of the control plane, other texts, what is cut and what is broken.
    envelopes: Vec<String>,
    /// What kubectl caused.
    commands: Vec<Value>,
    /// What a cluster does on a quiet day.
    everyday: Vec<Value>,
}

impl Mixed {
    pub fn new() -> Self {
        let events = |line: &str| {
            let Value::Array(events) =
                serde_json::from_str::<Value>(line).unwrap()["events"].take()
            else {
                panic!("no events in {line}")
            };
            events
        };
        let commands = data("kubectl/kubectl.ndjson").lines().flat_map(events).collect();
        let everyday = unpacked(&root().join("tests/data/attack/healthy.ndjson.zst"));
        let everyday = everyday.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
        Self { envelopes: envelopes::documents(), commands, everyday }
    }

    /// One of many, and the same each time.
    pub fn document(&self, number: usize) -> String {
        let of = |events: &[Value]| {
            let mut event = events[number / 4 % events.len()].clone();
            event["auditID"] = json!(format!("{number:08x}-1111-4222-8333-444455556666"));
            json!({ "@timestamp": "2026-03-01T10:00:00Z", "message": event.to_string() })
                .to_string()
        };
        match number % 4 {
            0 => of(&self.commands),
            1 => of(&self.everyday),
            half => {
                let place = number / 4 * 2 + half - 2;
                renewed(&self.envelopes[place % self.envelopes.len()], number)
            }
        }
    }
}

/// The same about other events of another cluster, also in what is compressed or in base64.
fn renewed(text: &str, number: usize) -> String {
    static ENCODED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new("[A-Za-z0-9+/]{80,}={0,2}").unwrap());
    let mut plain = text.to_owned();
    for id in IDS {
        plain = plain.replace(id, &format!("{number:08x}"));
    }
    for name in CLUSTER {
        plain = plain.replace(name, &format!("{name}{number}"));
    }
    let again =
        |found: &Captures<'_>| encoded(&found[0], number).unwrap_or_else(|| found[0].to_owned());
    ENCODED.replace_all(&plain, again).into_owned()
}

fn encoded(text: &str, number: usize) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(text).ok()?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Some(BASE64_STANDARD.encode(renewed(&String::from_utf8(bytes).ok()?, number)));
    }
    let mut inflated = GzDecoder::new(Vec::new());
    inflated.write_all(&bytes).ok()?;
    let inflated = String::from_utf8(inflated.finish().ok()?).ok()?;
    Some(envelopes::gzip(&renewed(&inflated, number)))
}
