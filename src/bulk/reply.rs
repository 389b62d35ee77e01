use super::AnswerItem;
use crate::json::{self, Kind};

/// Why an item or a request is refused, in Elasticsearch's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// Elasticsearch's name for this kind of error.
    pub kind: &'static str,
    /// What is wrong, where, and how to mend it.
    pub reason: String,
}

/// The body of an answer that refuses a whole request, in Elasticsearch's form.
#[must_use]
pub fn error_body(refusal: &Refusal) -> String {
    let mut out = String::from("{\"error\":{\"root_cause\":[");
    push_error(&mut out, refusal);
    out.push_str("],\"type\":");
    json::push_string(&mut out, refusal.kind);
    out.push_str(",\"reason\":");
    json::push_string(&mut out, &refusal.reason);
    out.push_str("},\"status\":");
    out.push_str(&refusal.status.to_string());
    out.push('}');
    out
}

fn push_error(out: &mut String, refusal: &Refusal) {
    out.push_str("{\"type\":");
    json::push_string(out, refusal.kind);
    out.push_str(",\"reason\":");
    json::push_string(out, &refusal.reason);
    out.push('}');
}

/// The answer to a request of one document, made of the answer to a bulk request of one item: status and body.
#[must_use]
pub fn single(answer: &str) -> (u16, String) {
    let item = json::get(answer, "items").and_then(|it| json::elements(it).next());
    let Some(result) = item.and_then(|it| json::members(it).next()) else {
        let reason = "no answer for this document".into();
        let refusal = Refusal { status: 503, kind: "k8scop_internal_exception", reason };
        return (503, error_body(&refusal));
    };
    let status = json::get(result.value, "status").and_then(|it| it.parse().ok()).unwrap_or(503);
    let mut out = String::from("{");
    if let Some(error) = json::get(result.value, "error") {
        out.push_str("\"error\":{\"root_cause\":[");
        out.push_str(error);
        out.push(']');
        // An error that is no object has no members to repeat.
        for member in json::members(error) {
            push_member(&mut out, &member);
        }
        out.push_str("},\"status\":");
        out.push_str(&status.to_string());
    } else {
        for member in json::members(result.value).filter(|it| !it.is("status")) {
            push_member(&mut out, &member);
        }
    }
    out.push('}');
    (status, out)
}

fn push_member(out: &mut String, member: &json::Member<'_>) {
    if !out.ends_with('{') {
        out.push(',');
    }
    out.push('"');
    out.push_str(member.raw_key);
    out.push_str("\":");
    out.push_str(member.value);
}

/// Writes the answer to a bulk request: one item per action, in the order of the actions.
///
/// Compact, with `"errors":…,"items":[` side by side: Vector 0.58 and Fluent Bit 5.1 look for these very bytes.
#[derive(Debug, Default)]
pub struct ReplyWriter {
    items: String,
    count: usize,
    errors: bool,
}

impl ReplyWriter {
    /// Items written so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// An item as Elasticsearch answered it, under the client's action name and `_index`. An `_id` that the
    /// client did not give is Elasticsearch's or ours, as it stands in `item`.
    pub fn answered(&mut self, name: &str, index: &str, id: Option<&str>, item: &AnswerItem) {
        self.open(name, index);
        if let Some(id) = id {
            self.items.push_str(",\"_id\":");
            json::push_string(&mut self.items, id);
        }
        // Elasticsearch sets the flag for items that failed, not for a delete that found nothing (404).
        self.errors |= item.status >= 400 && !(name == "delete" && item.status == 404);
        for member in json::members(&item.object) {
            if member.is("_index") || (id.is_some() && member.is("_id")) {
                continue;
            }
            self.errors |= member.is("error") && json::kind(member.value) != Kind::Null;
            self.items.push_str(",\"");
            self.items.push_str(member.raw_key);
            self.items.push_str("\":");
            self.items.push_str(member.value);
        }
        self.items.push_str("}}");
    }

    /// An item whose document was there already under the `_id` that we made for it: stored, by an earlier try.
    pub fn found(&mut self, name: &str, index: &str, id: &str) {
        self.open(name, index);
        self.items.push_str(",\"_id\":");
        json::push_string(&mut self.items, id);
        self.items.push_str(",\"result\":\"noop\",\"status\":200}}");
    }

    /// An item of which nothing was to be stored. Said as Elasticsearch says it of its ingest processor `drop` (8.19,
    /// `IngestService`, `BulkRequestModifier.markItemAsDropped`).
    pub fn dropped(&mut self, name: &str, index: &str, id: Option<&str>) {
        self.open(name, index);
        self.items.push_str(",\"_id\":");
        json::push_string(&mut self.items, id.unwrap_or("auto-generated"));
        self.items.push_str(",\"_version\":-3,\"result\":\"noop\",\"_shards\":{\"total\":0,\"successful\":0,\"failed\":0},\"status\":200}}");
    }

    /// An item whose document is a dead letter now: taken, but not where the client wanted it. Said as Elasticsearch
    /// says it of its failure store (8.19, `IndexDocFailureStoreStatus`).
    pub fn dead_letter(&mut self, name: &str, index: &str, id: Option<&str>) {
        self.open(name, index);
        self.items.push_str(",\"_id\":");
        match id {
            Some(id) => json::push_string(&mut self.items, id),
            None => self.items.push_str("null"),
        }
        self.items.push_str(",\"result\":\"created\",\"failure_store\":\"used\",\"status\":201}}");
    }

    /// An item that failed, for a reason of ours.
    pub fn refused(
        &mut self,
        name: &str,
        index: Option<&str>,
        id: Option<&str>,
        refusal: &Refusal,
    ) {
        self.errors = true;
        self.open(name, index.unwrap_or_default());
        self.items.push_str(",\"_id\":");
        match id {
            Some(id) => json::push_string(&mut self.items, id),
            None => self.items.push_str("null"),
        }
        self.items.push_str(",\"status\":");
        self.items.push_str(&refusal.status.to_string());
        self.items.push_str(",\"error\":");
        push_error(&mut self.items, refusal);
        self.items.push_str("}}");
    }

    fn open(&mut self, name: &str, index: &str) {
        if self.count > 0 {
            self.items.push(',');
        }
        self.count += 1;
        self.items.push('{');
        json::push_string(&mut self.items, name);
        self.items.push_str(":{\"_index\":");
        json::push_string(&mut self.items, index);
    }

    /// The whole answer. `took_ms` is the time from the request's last byte to now.
    #[must_use]
    pub fn finish(self, took_ms: u128) -> String {
        format!("{{\"took\":{took_ms},\"errors\":{},\"items\":[{}]}}", self.errors, self.items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(object: &str) -> AnswerItem {
        let status = json::get(object, "status").unwrap().parse().unwrap();
        AnswerItem { status, object: object.into() }
    }

    #[test]
    fn the_answer_keeps_the_clients_names() {
        let mut reply = ReplyWriter::default();
        let stored = item(r#"{"_index":".ds-b-000001","_id":"x","result":"created","status":201}"#);
        reply.answered("index", "logs-a", None, &stored);
        reply.answered("index", "logs-a", Some("own"), &stored);
        reply.found("create", "logs-a", "made\"id");
        assert_eq!(
            reply.finish(7),
            concat!(
                r#"{"took":7,"errors":false,"items":["#,
                r#"{"index":{"_index":"logs-a","_id":"x","result":"created","status":201}},"#,
                r#"{"index":{"_index":"logs-a","_id":"own","result":"created","status":201}},"#,
                r#"{"create":{"_index":"logs-a","_id":"made\"id","result":"noop","status":200}}]}"#
            )
        );
    }

    #[test]
    fn the_answer_for_one_document() {
        let answer =
            |item: &str| single(&format!(r#"{{"took":1,"errors":false,"items":[{item}]}}"#));
        assert_eq!(
            answer(r#"{"create":{"_index":"a","_id":"1","status":201}}"#),
            (201, r#"{"_index":"a","_id":"1"}"#.into())
        );
        let error = r#"{"type":"t","reason":"r"}"#;
        assert_eq!(
            answer(&format!(r#"{{"index":{{"_index":"a","status":409,"error":{error}}}}}"#)),
            (
                409,
                format!(
                    r#"{{"error":{{"root_cause":[{error}],"type":"t","reason":"r"}},"status":409}}"#
                )
            )
        );
        assert_eq!(answer("").0, 503);
    }

    #[test]
    fn the_errors_flag_is_elasticsearchs() {
        let flag = |name: &str, object: &str| {
            let mut reply = ReplyWriter::default();
            reply.answered(name, "a", None, &item(object));
            reply.finish(0).contains(r#""errors":true,"items":["#)
        };
        assert!(!flag("delete", r#"{"_id":"x","result":"not_found","status":404}"#));
        assert!(flag("create", r#"{"_id":"x","status":409,"error":{"type":"t"}}"#));
        assert!(flag("create", r#"{"_id":"x","status":400,"error":"told badly"}"#));
        assert!(flag("create", r#"{"_id":"x","status":500}"#));
        let mut reply = ReplyWriter::default();
        let refusal = Refusal { status: 400, kind: "k", reason: "r".into() };
        reply.refused("create", Some("a"), None, &refusal);
        assert_eq!(
            reply.finish(0),
            r#"{"took":0,"errors":true,"items":[{"create":{"_index":"a","_id":null,"status":400,"error":{"type":"k","reason":"r"}}}]}"#
        );
    }
}
