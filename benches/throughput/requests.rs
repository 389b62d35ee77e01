//! The requests.

use super::*;
use crate::data::{Request, document, requests, uuid};

/// Lines of the other EKS log types, and the program that writes them.
const LINES: [(&str, &str); 4] = [
    ("kube-apiserver", "trace.go:236] Trace[1742]: \"List\" audit-id:% (total time: 512ms):"),
    ("authenticator", "level=info msg=\"access granted\" session=\"%\" username=dana"),
    ("kube-controller-manager", "replica_set.go:676] \"Finished syncing\" key=\"shop/%\""),
    ("kube-scheduler", "schedule_one.go:1096] \"Error scheduling pod\" pod=\"shop/%\""),
];
/// A log group of something else than a cluster.
const APPLICATION: &str = "/apps/prod/checkout/cluster";

/// One request.
pub(super) struct Body {
    pub(super) bytes: Bytes,
    pub(super) gzip: bool,
    /// Before it was compressed.
    pub(super) plain_bytes: u64,
    pub(super) events: u64,
}

impl From<Request> for Body {
    fn from(Request { text, events }: Request) -> Self {
        Self { plain_bytes: text.len() as u64, bytes: text.into(), gzip: false, events }
    }
}

/// Bytes of all requests of a case, about, and how many there are.
const ALL_BYTES: usize = 32_000_000;
const COUNT_MIN: usize = 4;
const COUNT_MAX: usize = 256;
/// Events of this size and more are no small ones.
const SMALL_BYTES: usize = 1000;

/// Makes the requests of a case; of a `share` of the usual bytes.
pub(super) fn of(case: &Case, share: f64) -> anyhow::Result<Vec<Body>> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of it")]
    let bytes = (ALL_BYTES as f64 * share) as usize;
    let count = (bytes / case.body_bytes).clamp(COUNT_MIN, COUNT_MAX);
    let events = |shape: fn(String) -> Option<String>| {
        let start = Timestamp::now().checked_sub(SignedDuration::from_mins(10))?;
        data::audit(count, case.body_bytes, start, shape)
    };
    let all = match case.data {
        Data::Audit => events(Some)?,
        Data::Small => events(|it| (it.len() < SMALL_BYTES).then_some(it))?,
        Data::Big => events(|it| Some(with_answer(&it)))?,
        Data::Lines => lines(count, case.body_bytes, data::CONTROL_PLANE)?,
        Data::Other => lines(count, case.body_bytes, APPLICATION)?,
    };
    let all: Vec<Body> = all.into_iter().map(Body::from).collect();
    if case.gzip { compressed(&all) } else { Ok(all) }
}

/// The event with an object of 18 KB in its answer, as a policy of level `RequestResponse` logs it.
fn with_answer(event: &str) -> String {
    let line = r#"  - name: \"LOG_LEVEL\"\n    value: \"info\" # as before\n"#;
    let text = line.repeat(18_000 / line.len());
    let event = event.strip_suffix('}').unwrap_or(event);
    format!(
        r#"{event},"responseObject":{{"kind":"ConfigMap","apiVersion":"v1","data":{{"values.yaml":"{text}"}}}}}}"#
    )
}

/// Makes `count` requests of plain log lines of a log group.
fn lines(count: usize, body_bytes: usize, group: &str) -> anyhow::Result<Vec<Request>> {
    let mut random = fastrand::Rng::with_seed(2);
    let at = Timestamp::now();
    requests(count, body_bytes, |number| {
        let (stream, line) = random.choice(LINES).context("no lines")?;
        let message = format!(
            "I1122 06:15:31.{:06} 11 {}",
            random.u32(0..1_000_000),
            line.replace('%', &uuid(&mut random))
        );
        Ok(document(number, group, stream, at, &message))
    })
}

/// The same requests as Filebeat compresses them (`compression_level: 1`).
fn compressed(bodies: &[Body]) -> anyhow::Result<Vec<Body>> {
    let one = |body: &Body| -> anyhow::Result<Body> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body.bytes)?;
        Ok(Body {
            bytes: encoder.finish()?.into(),
            gzip: true,
            plain_bytes: body.plain_bytes,
            events: body.events,
        })
    };
    bodies.iter().map(one).collect()
}
