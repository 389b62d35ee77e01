use std::borrow::Cow;

use thiserror::Error;

use crate::json;

/// Nesting of an answer; error chains (`caused_by`) are the deepest part.
const ANSWER_DEPTH_MAX: usize = 512;

/// Elasticsearch's answer to one bulk request, item by item.
#[derive(Debug, PartialEq, Eq)]
pub struct BulkAnswer {
    /// In the order of the request.
    pub items: Vec<AnswerItem>,
}

/// What Elasticsearch said of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerItem {
    /// The item's own HTTP status.
    pub status: u16,
    /// The object under the action's name, as Elasticsearch wrote it.
    pub object: String,
}

/// Why an answer cannot be believed. Nothing of it is: neither that items were stored nor that they were not.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum AnswerError {
    /// Not text, or no JSON object.
    #[error("the answer is no JSON object: {0}")]
    NotJson(String),
    /// No `items`.
    #[error("the answer has no items")]
    NoItems,
    /// An item without a status that says whether it is stored: 2xx, 4xx or 5xx.
    #[error("item {position} of the answer has no status")]
    NoStatus {
        /// Place in the answer, from 0.
        position: usize,
    },
    /// Another number of items than was asked for.
    #[error("the answer has {got} items for {sent} actions")]
    WrongCount {
        /// Actions sent.
        sent: usize,
        /// Items answered.
        got: usize,
    },
}

impl AnswerItem {
    /// The type of an error that does not name its own.
    pub const NO_KIND: &'static str = "k8scop_output_unavailable_exception";

    /// The answer for an item that could not be asked about: the error in `body`, if there is one, with 503.
    #[must_use]
    pub fn unavailable(body: &[u8]) -> Self {
        Self::told(503, body)
    }

    /// An answer with `status` and the type and reason of the error in `body`.
    #[must_use]
    pub fn told(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let error =
            json::check(&text, ANSWER_DEPTH_MAX).ok().and_then(|_| json::get(&text, "error"));
        let part = |name| error.and_then(|it| json::string(json::get(it, name)?));
        let kind = part("type").unwrap_or(Self::NO_KIND.into());
        let reason = part("reason").unwrap_or("the output gave no answer for this item".into());
        let mut object = format!("{{\"status\":{status},\"error\":{{\"type\":");
        json::push_string(&mut object, &kind);
        object.push_str(",\"reason\":");
        json::push_string(&mut object, &reason);
        object.push_str("}}");
        Self { status, object }
    }

    /// Type and reason of its error, for people.
    #[must_use]
    pub fn error(&self) -> String {
        let error = json::get(&self.object, "error");
        let part =
            |name| error.and_then(|it| json::string(json::get(it, name)?)).unwrap_or_default();
        format!("{}: {}", part("type"), part("reason"))
    }

    /// The reason of its error.
    #[must_use]
    pub fn error_reason(&self) -> Option<Cow<'_, str>> {
        json::string(json::get(json::get(&self.object, "error")?, "reason")?)
    }

    /// The type of its error.
    #[must_use]
    pub fn error_kind(&self) -> Option<Cow<'_, str>> {
        json::string(json::get(json::get(&self.object, "error")?, "type")?)
    }
}

impl BulkAnswer {
    /// Reads the answer to a request of `sent` actions. A cut, mended or miscounted answer is an error.
    pub fn parse(body: &[u8], sent: usize) -> Result<Self, AnswerError> {
        let text =
            std::str::from_utf8(body).map_err(|error| AnswerError::NotJson(error.to_string()))?;
        let mut members = Vec::new();
        json::object(text, ANSWER_DEPTH_MAX, &mut members)
            .map_err(|error| AnswerError::NotJson(error.to_string()))?;
        let items = json::member(&members, "items").ok_or(AnswerError::NoItems)?;
        if json::kind(items) != json::Kind::Array {
            return Err(AnswerError::NoItems);
        }
        let (mut all, mut got) = (Vec::with_capacity(sent), 0);
        for item in json::elements(items) {
            got += 1;
            if got <= sent {
                all.push(answer_item(item));
            }
        }
        if got != sent {
            return Err(AnswerError::WrongCount { sent, got });
        }
        let with_place = all.into_iter().enumerate();
        let items: Result<_, _> =
            with_place.map(|(position, it)| it.ok_or(AnswerError::NoStatus { position })).collect();
        Ok(Self { items: items? })
    }
}

/// An item that was checked: an object with one member.
fn answer_item(item: &str) -> Option<AnswerItem> {
    let (mut object, mut status) = (None, None);
    json::Walk::new(item).members(|_, walk| {
        let text = walk.text_of(|walk| {
            walk.members(|raw_key, walk| {
                let member = json::Member { raw_key, value: walk.value()? };
                if member.is("status") {
                    status = Some(member.value);
                }
                Some(())
            })
        })?;
        object.replace(text).is_none().then_some(())
    })?;
    let status = status?.parse().ok()?;
    matches!(status, 200..300 | 400..600)
        .then(|| Some(AnswerItem { status, object: object?.to_owned() }))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"took":3,"errors":true,"items":[{"create":{"_index":".ds-x-000001","_id":"a","status":201}},
        {"index":{"_index":"y","_id":"b","status":429,"error":{"type":"es_rejected_execution_exception"}}}]}"#;

    #[test]
    fn items_keep_their_order_and_bytes() {
        let answer = BulkAnswer::parse(GOOD.as_bytes(), 2).unwrap();
        assert_eq!(answer.items.iter().map(|it| it.status).collect::<Vec<_>>(), [201, 429]);
        assert_eq!(answer.items[0].object, r#"{"_index":".ds-x-000001","_id":"a","status":201}"#);
    }

    #[test]
    fn a_wrong_answer_is_never_read_as_success() {
        assert_eq!(
            BulkAnswer::parse(GOOD.as_bytes(), 1),
            Err(AnswerError::WrongCount { sent: 1, got: 2 })
        );
        assert_eq!(
            BulkAnswer::parse(GOOD.as_bytes(), 3),
            Err(AnswerError::WrongCount { sent: 3, got: 2 })
        );
        for cut in 0..GOOD.len() {
            assert!(BulkAnswer::parse(&GOOD.as_bytes()[..cut], 2).is_err(), "cut at {cut}");
        }
        for (body, expected) in [
            ("{}", AnswerError::NoItems),
            (r#"{"errors":false,"items":{}}"#, AnswerError::NoItems),
            (r#"{"items":[{"create":{}}]}"#, AnswerError::NoStatus { position: 0 }),
            (r#"{"items":[{"create":{"status":99}}]}"#, AnswerError::NoStatus { position: 0 }),
            (r#"{"items":[{"create":{"status":"201"}}]}"#, AnswerError::NoStatus { position: 0 }),
            (r#"{"items":[{}]}"#, AnswerError::NoStatus { position: 0 }),
        ] {
            assert_eq!(BulkAnswer::parse(body.as_bytes(), 1), Err(expected), "{body}");
        }
        assert!(matches!(BulkAnswer::parse(b"", 0), Err(AnswerError::NotJson(_))));
        assert!(matches!(BulkAnswer::parse(b"\xff", 0), Err(AnswerError::NotJson(_))));
    }
}
