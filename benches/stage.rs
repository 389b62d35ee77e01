//! The stage between a bulk request and the rules, as `prepare` goes through it.

use k8scop::{
    bulk::{Defaults, Items},
    unwrap::{self, Buffers, Labels, Objects, Part, Scratch, Settings},
};

/// What is decompressed inside of documents, as `limits.decoded_bytes_max` has it by default.
const INFLATED_BYTES_MAX: usize = 64 << 20;

/// Action lines, checks, the event out of `message`, its fields beside it: appends the documents of audit events to
/// `out`, one a line, and counts them.
pub(super) fn unwrapped(body: &str, out: &mut String) -> usize {
    let settings = Settings {
        preserve_original: false,
        objects: Objects::DropMetadata,
        depth_max: 100,
        cluster: None,
        from_containers: false,
    };
    let now = "2026-03-01T13:00:00Z".parse().expect("a time");
    let (defaults, labels) = (Defaults::default(), Labels::default());
    let mut items = Items::new(body.as_bytes(), &defaults, usize::MAX);
    let (mut members, mut scratch) = (Vec::new(), Scratch::default());
    let mut buffers = Buffers::new(INFLATED_BYTES_MAX);
    let mut events = 0;
    out.reserve(body.len() * 5 / 4);
    while let Ok(Some(item)) = items.next_into(&mut members) {
        let each = &mut |part: Part<'_>| {
            if let Part::Audit(found) = part {
                unwrap::write(&found, &labels, &settings, now, &mut scratch, out);
                out.push('\n');
                events += 1;
            }
            std::ops::ControlFlow::Continue(())
        };
        unwrap::each(item.source, &members, item.depth, &settings, &mut buffers, each);
    }
    events
}
