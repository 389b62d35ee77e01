//! What one core unwraps: bulk bodies of EKS audit events in, documents out, next to what others take for less.
//!
//! Every figure is a ratio of two measurements of one run. What they mean is told in `README.md` beside this file.

#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "the table is what this program is for, and it has nobody to recover for"
)]

use std::hint::black_box;

mod cpu_time;
mod data;
mod stage;
use cpu_time::{CpuTime, median};
use criterion::{Criterion, Throughput};
use k8scop::json;
use serde_json::{Value, json};
use stage::unwrapped;

fn main() {
    let start = "2026-03-01T12:00:00Z".parse().expect("a time");
    let request = data::audit(1, 1_000_000, start, Some)
        .expect("captured events")
        .pop()
        .expect("one request");
    let body = request.text.as_str();
    println!("{} events, {} bytes", request.events, body.len());
    shows_the_same(body);
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let mut group = criterion.benchmark_group("unwrap");
    group.throughput(Throughput::Bytes(body.len() as u64)).sample_size(20);
    group.bench_function("k8scop", |it| it.iter(|| black_box(unwrapped(body, &mut String::new()))));
    group.bench_function("serde_json", |it| it.iter(|| black_box(with_serde_json(body).len())));
    group.bench_function("sonic_rs", |it| it.iter(|| black_box(with_sonic(body).len())));
    group.finish();
    criterion.final_summary();
    for (other, wanted) in [("serde_json", "≥ 10"), ("sonic_rs", "≥ 2")] {
        if let (Some(theirs), Some(ours)) =
            (median(&format!("unwrap/{other}")), median("unwrap/k8scop"))
        {
            println!("{other} / k8scop {:>8.2}  (wanted: {wanted})", theirs / ours);
        }
    }
}

/// A tree of the document, a tree of the event put into it. No fields beside it.
fn with_serde_json(body: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() * 5 / 4);
    for line in body.lines().skip(1).step_by(2) {
        let mut document: Value = serde_json::from_str(line).expect("JSON");
        let root = document.as_object_mut().expect("an object");
        let message = root.remove("message").expect("a message");
        let event: Value =
            serde_json::from_str(message.as_str().expect("a text")).expect("an event");
        root.insert("kubernetes".into(), json!({ "audit": event }));
        serde_json::to_writer(&mut out, &document).expect("it can be written");
        out.push(b'\n');
    }
    out
}

/// As little as a library can do: the members of the document lazily, all of it checked, the event's text put in as
/// it is once it is checked. No fields beside it.
fn with_sonic(body: &str) -> Vec<u8> {
    use sonic_rs::{JsonValueTrait, LazyValue};
    let mut out = Vec::with_capacity(body.len() * 5 / 4);
    for line in body.lines().skip(1).step_by(2) {
        out.push(b'{');
        for member in sonic_rs::to_object_iter(line) {
            let (key, value) = member.expect("JSON");
            if key != "message" {
                json_key(&key, &mut out);
                out.extend_from_slice(value.as_raw_str().as_bytes());
                out.push(b',');
                continue;
            }
            let text = value.as_str().expect("a text");
            let event: LazyValue<'_> = sonic_rs::from_str(text).expect("an event");
            out.extend_from_slice(b"\"kubernetes\":{\"audit\":");
            out.extend_from_slice(event.as_raw_str().as_bytes());
            out.extend_from_slice(b"},");
        }
        out.pop();
        out.extend_from_slice(b"}\n");
    }
    out
}

fn json_key(key: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

/// All three find the same events.
fn shows_the_same(body: &str) {
    let mut ours = String::new();
    assert_eq!(unwrapped(body, &mut ours), ours.lines().count(), "every document is an event");
    let id = |line: &str| {
        let event = json::get(json::get(line, "kubernetes")?, "audit")?;
        json::get(event, "auditID").map(str::to_owned)
    };
    let ids = |text: &str| text.lines().map(id).collect::<Option<Vec<_>>>().expect("an event");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let ours = ids(&ours);
    assert!(ours == ids(&text(with_serde_json(body))), "serde_json finds others");
    assert!(ours == ids(&text(with_sonic(body))), "sonic-rs finds others");
}
