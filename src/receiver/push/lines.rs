use std::fmt::Write;

use super::super::{
    budget::Share,
    bulk::{self, escaped_len},
    respond::refusal,
};
use crate::{
    bulk::Refusal,
    json::{self, Member},
};

/// Bytes of a line besides its document and the name of the cluster.
const AROUND_BYTES: usize = 256;
/// Longest reason in a document (bytes).
const REASON_BYTES: usize = 256;

/// A bulk body that is being written, within the limits of a request.
#[derive(Debug)]
pub(super) struct Lines {
    out: String,
    share: Share,
    items_left: usize,
    items_max: usize,
    bytes_max: u64,
}

/// What an audit event says besides what happened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tells {
    /// `kind`
    pub(super) kind: bool,
    /// `apiVersion`
    pub(super) version: bool,
    /// `orchestrator`
    pub(super) orchestrator: bool,
}

impl Lines {
    /// `share` grows with it. A request has at most `items_max` items; `bytes_max` is `limits.decoded_bytes_max`.
    pub(super) fn new(share: Share, items_max: usize, bytes_max: u64) -> Self {
        Self { out: String::new(), share, items_left: items_max, items_max, bytes_max }
    }

    /// The body, and its share of the budget.
    pub(super) fn end(self) -> (String, Share) {
        (self.out, self.share)
    }

    /// How many more items it may have.
    pub(super) fn items_left(&self) -> usize {
        self.items_left
    }

    /// Why it has no more items.
    pub(super) fn too_many(&self) -> Refusal {
        let reason =
            format!("the request has more than {} items (limits.items_max)", self.items_max);
        refusal(413, "content_too_long_exception", reason)
    }

    /// The share, and how much of it is taken.
    pub(super) fn share(&mut self) -> (&mut Share, u64) {
        (&mut self.share, self.out.len() as u64)
    }

    /// Most bytes of what is decoded of the request.
    pub(super) fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// A document that is this checked JSON object, with the name of the cluster unless it has an `orchestrator`.
    pub(super) fn object(
        &mut self,
        id: Option<&str>,
        object: &str,
        cluster: Option<&str>,
    ) -> Result<(), Refusal> {
        let cluster = cluster.filter(|_| json::get(object, "orchestrator").is_none());
        self.begin(id, object.len(), cluster)?;
        self.out.push('{');
        self.members(object, cluster);
        self.out.push_str("}\n");
        Ok(())
    }

    /// A document that holds a text in `message`.
    pub(super) fn message(
        &mut self,
        id: Option<&str>,
        text: &str,
        cluster: Option<&str>,
    ) -> Result<(), Refusal> {
        self.begin(id, escaped_len(text.as_bytes()), cluster)?;
        self.out.push_str("{\"message\":");
        json::push_string(&mut self.out, text);
        self.close(cluster);
        Ok(())
    }

    /// A document for data that cannot be read: as it came, tagged, with the reason.
    pub(super) fn broken(
        &mut self,
        id: Option<&str>,
        text: &str,
        reason: &str,
        cluster: Option<&str>,
    ) -> Result<(), Refusal> {
        debug_assert!(reason.len() <= REASON_BYTES, "{reason}");
        self.begin(id, escaped_len(text.as_bytes()) + 2 * REASON_BYTES, cluster)?;
        self.out.push_str("{\"tags\":[\"");
        self.out.push_str(crate::unwrap::TAG_UNWRAP_FAILED);
        self.out.push_str("\"],\"error\":{\"message\":");
        json::push_string(&mut self.out, reason);
        self.out.push_str("},\"message\":");
        json::push_string(&mut self.out, text);
        self.close(cluster);
        Ok(())
    }

    /// An audit event, a checked JSON object, as one that tells its kind: in a list it does not (apiserver 1.35 writes
    /// kind and version of the list only). `orchestrator` is no member of an event: whoever put one there does not
    /// choose the cluster. `version` is that of the list, as JSON.
    pub(super) fn event(
        &mut self,
        event: &str,
        tells: Tells,
        version: &str,
        cluster: Option<&str>,
    ) -> Result<(), Refusal> {
        self.begin(None, event.len() + version.len(), cluster)?;
        self.out.push('{');
        if !tells.kind {
            self.out.push_str("\"kind\":\"Event\",");
        }
        if !tells.version {
            self.out.push_str("\"apiVersion\":");
            self.out.push_str(version);
            self.out.push(',');
        }
        if tells.orchestrator {
            let mut text = String::from("{");
            for member in json::members(event).filter(|it| !it.is("orchestrator")) {
                let comma = if text.len() > 1 { "," } else { "" };
                // Writing to a String cannot fail.
                write!(text, "{comma}\"{}\":{}", member.raw_key, member.value).ok();
            }
            text.push('}');
            self.members(&text, cluster);
        } else {
            self.members(event, cluster);
        }
        self.out.push_str("}\n");
        Ok(())
    }

    /// The action line of an item whose document has at most `document_bytes`, besides the cluster.
    fn begin(
        &mut self,
        id: Option<&str>,
        document_bytes: usize,
        cluster: Option<&str>,
    ) -> Result<(), Refusal> {
        let Some(left) = self.items_left.checked_sub(1) else { return Err(self.too_many()) };
        self.items_left = left;
        let cluster_bytes = cluster.map_or(0, |it| escaped_len(it.as_bytes()));
        let bytes = self.out.len() + document_bytes + cluster_bytes + AROUND_BYTES;
        // Texts become longer where they are quoted; twice is what documents may be in a batch.
        if bytes as u64 > self.bytes_max.saturating_mul(2) {
            let reason = format!(
                "the documents of the request have more than {} bytes (twice limits.decoded_bytes_max)",
                self.bytes_max.saturating_mul(2)
            );
            return Err(refusal(413, "content_too_long_exception", reason));
        }
        bulk::grow(&mut self.share, bytes as u64)?;
        match id {
            // Hexadecimal digits.
            Some(id) => writeln!(self.out, "{{\"create\":{{\"_id\":\"{id}\"}}}}").ok(),
            None => writeln!(self.out, "{{\"create\":{{}}}}").ok(),
        };
        Ok(())
    }

    /// The inside of an object on one line, and the cluster.
    fn members(&mut self, object: &str, cluster: Option<&str>) {
        let inside = object.trim().strip_prefix('{').and_then(|it| it.strip_suffix('}'));
        let inside = inside.unwrap_or_default().trim();
        if memchr::memchr2(b'\n', b'\r', inside.as_bytes()).is_none() {
            self.out.push_str(inside);
        } else {
            // In JSON a line end stands between tokens only.
            let blank = |it| if matches!(it, '\n' | '\r') { ' ' } else { it };
            self.out.extend(inside.chars().map(blank));
        }
        if let Some(cluster) = cluster {
            if !inside.is_empty() {
                self.out.push(',');
            }
            self.orchestrator(cluster);
        }
    }

    fn close(&mut self, cluster: Option<&str>) {
        if let Some(cluster) = cluster {
            self.out.push(',');
            self.orchestrator(cluster);
        }
        self.out.push_str("}\n");
    }

    fn orchestrator(&mut self, cluster: &str) {
        self.out.push_str("\"orchestrator\":{\"cluster\":{\"name\":");
        json::push_string(&mut self.out, cluster);
        self.out.push_str("}}");
    }
}

/// The members of a body that is one JSON object. `what` is what it should be.
pub(super) fn object<'b>(body: &'b [u8], what: &str) -> Result<Vec<Member<'b>>, Refusal> {
    object_in(std::str::from_utf8(body).map_err(|error| no(what, error))?, what)
}

/// As [`object`], of a text.
pub(super) fn object_in<'b>(text: &'b str, what: &str) -> Result<Vec<Member<'b>>, Refusal> {
    let mut members = Vec::new();
    json::object(text, json::DEPTH_MAX, &mut members).map_err(|error| no(what, error))?;
    Ok(members)
}

fn no(what: &str, why: impl std::fmt::Display) -> Refusal {
    refusal(400, "parse_exception", format!("the body is no {what}: {why}"))
}

#[cfg(test)]
pub(super) mod tests {
    use prometheus::IntGauge;

    use super::{super::super::budget::Budget, *};

    /// For at most 50 items and 1 MiB.
    pub(in super::super) fn lines() -> Lines {
        let budget = Budget::new(8 << 20, IntGauge::new("g", "h").unwrap());
        Lines::new(budget.try_take(1).unwrap(), 50, 1 << 20)
    }

    #[test]
    fn limits() {
        let mut lines = lines();
        for _ in 0..50 {
            lines.message(None, "a", None).unwrap();
        }
        let error = lines.message(None, "a", None).unwrap_err();
        assert!(error.status == 413 && error.reason.contains("limits.items_max"), "{error:?}");
        let mut lines = self::lines();
        // Six bytes each, once they are quoted.
        let text = "\u{1}".repeat(400 << 10);
        let error = lines.message(None, &text, None).unwrap_err();
        assert!(error.status == 413 && error.reason.contains("decoded_bytes_max"), "{error:?}");
        assert!(lines.end().0.is_empty());
        let budget = Budget::new(4 << 10, IntGauge::new("g", "h").unwrap());
        let mut lines = Lines::new(budget.try_take(1).unwrap(), 50, 1 << 20);
        let other = budget.try_take(2 << 10).unwrap();
        let text = "a".repeat(3 << 10);
        assert_eq!(lines.message(None, &text, None).unwrap_err().status, 429);
        drop(other);
        assert!(lines.message(None, &text, None).is_ok());
        assert_eq!(lines.message(None, &text, None).unwrap_err().status, 413, "never");
    }

    #[test]
    fn documents() {
        let mut lines = lines();
        lines.object(Some("0a"), "{ }", Some("c\"")).unwrap();
        lines.object(None, "{\"a\":\n1}", Some("c")).unwrap();
        lines.object(None, "{\"orchestrator\":1}", Some("c")).unwrap();
        lines.message(None, "x\n", Some("c")).unwrap();
        lines.broken(None, "x", "why", None).unwrap();
        let (out, _share) = lines.end();
        let expected = [
            r#"{"create":{"_id":"0a"}}"#,
            r#"{"orchestrator":{"cluster":{"name":"c\""}}}"#,
            r#"{"create":{}}"#,
            r#"{"a": 1,"orchestrator":{"cluster":{"name":"c"}}}"#,
            r#"{"create":{}}"#,
            r#"{"orchestrator":1}"#,
            r#"{"create":{}}"#,
            r#"{"message":"x\n","orchestrator":{"cluster":{"name":"c"}}}"#,
            r#"{"create":{}}"#,
            r#"{"tags":["k8scop_unwrap_failed"],"error":{"message":"why"},"message":"x"}"#,
        ];
        assert_eq!(out.lines().collect::<Vec<_>>(), expected);
    }
}
