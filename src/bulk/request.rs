use std::{borrow::Cow, ops::Range};

use thiserror::Error;

use super::{
    Action, Defaults, Op, Refusal,
    action::{is_action, shown},
};
use crate::json::{self, Member};

/// One item of a bulk request: an action, and the document that belongs to it.
#[derive(Debug)]
pub struct Item<'a> {
    /// The name to answer under: the client's own, even when it is no action at all.
    pub name: Cow<'a, str>,
    /// Where the client wanted it, as far as the action line could be read.
    pub shown: Shown<'a>,
    /// The action line, or why this item is refused.
    pub action: Result<Action<'a>, Refusal>,
    /// The document; empty for `delete`, and for what is refused.
    pub source: &'a str,
    /// How deep the document is (levels).
    pub depth: usize,
    /// Where its lines stand in the body.
    pub origin: Range<usize>,
}

/// What an answer repeats of an action line.
#[derive(Debug, Default)]
pub struct Shown<'a> {
    /// `_index`
    pub index: Option<Cow<'a, str>>,
    /// `_id`
    pub id: Option<Cow<'a, str>>,
}

/// More items than one request may have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the request has more than {limit} items: send smaller batches")]
pub struct TooManyItems {
    /// Items allowed (`limits.items_max`).
    pub limit: usize,
}

/// Goes through a bulk body, item by item.
///
/// Total: whatever the bytes are, every line ends up in exactly one item, and a bad line costs only the item it
/// stands in. Elasticsearch alternates strictly between actions and documents, so there one stray line turns
/// every document behind it into an action; here a line that is no action is an item of its own, together with
/// the line after it unless that one is an action again. Where the line shows which action was meant, what follows
/// it is its document in any case: a document is never taken for an action.
#[derive(Debug)]
pub struct Items<'a, 'd> {
    lines: Lines<'a>,
    len: usize,
    defaults: &'d Defaults,
    left: usize,
    limit: usize,
}

impl<'a, 'd> Items<'a, 'd> {
    /// `items_max` is the most items.
    #[must_use]
    pub fn new(body: &'a [u8], defaults: &'d Defaults, items_max: usize) -> Self {
        // Elasticsearch passes over a byte order mark.
        let rest = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        Self { lines: Lines { rest }, len: body.len(), defaults, left: items_max, limit: items_max }
    }

    /// The next item. `members` takes the root members of its document, so that nothing reads it twice.
    pub fn next_into(
        &mut self,
        members: &mut Vec<Member<'a>>,
    ) -> Result<Option<Item<'a>>, TooManyItems> {
        members.clear();
        let start = self.len - self.lines.rest.len();
        let Some(line) = self.lines.next_filled() else { return Ok(None) };
        self.left = self.left.checked_sub(1).ok_or(TooManyItems { limit: self.limit })?;
        let mut item = self.item(line, members);
        item.origin = start..self.len - self.lines.rest.len();
        Ok(Some(item))
    }

    fn item(&mut self, line: &'a [u8], members: &mut Vec<Member<'a>>) -> Item<'a> {
        let parsed = match std::str::from_utf8(line) {
            Ok(text) => Action::parse(text, self.defaults)
                .map_err(|refusal| (refusal, shown(text, self.defaults))),
            Err(error) => {
                // Read as far as it goes, only to know whether a document follows.
                let text = String::from_utf8_lossy(line);
                let name = shown(&text, self.defaults).0.map(|it| Cow::Owned(it.into_owned()));
                Err((not_utf8("action", &error), (name, Shown::default())))
            }
        };
        match parsed {
            Ok(action) => {
                let name = Cow::Borrowed(action.op.name());
                let shown = Shown { index: Some(action.index.clone()), id: action.id.clone() };
                if !action.op.has_source() {
                    return Item {
                        name,
                        shown,
                        action: Ok(action),
                        source: "",
                        depth: 0,
                        origin: 0..0,
                    };
                }
                match self.source(action.op, members) {
                    Ok((source, depth)) => {
                        Item { name, shown, action: Ok(action), source, depth, origin: 0..0 }
                    }
                    Err(refusal) => Item {
                        name,
                        shown,
                        action: Err(refusal),
                        source: "",
                        depth: 0,
                        origin: 0..0,
                    },
                }
            }
            Err((refusal, (name, shown))) => {
                match name.as_deref().and_then(op_named) {
                    Some(op) if op.has_source() => {
                        self.lines.next_source();
                    }
                    Some(_) => (),
                    None if self.lines.peek_filled().is_some_and(looks_like_action) => (),
                    None => {
                        self.lines.next_filled();
                    }
                }
                let name = name.unwrap_or(Cow::Borrowed("index"));
                Item { name, shown, action: Err(refusal), source: "", depth: 0, origin: 0..0 }
            }
        }
    }

    fn source(
        &mut self,
        op: Op,
        members: &mut Vec<Member<'a>>,
    ) -> Result<(&'a str, usize), Refusal> {
        let Some(line) = self.lines.next_source() else {
            return Err(bad_document(
                "the document is missing: the body ends after the action line".into(),
            ));
        };
        if line.trim_ascii().is_empty() {
            return Err(bad_document(
                "the document is empty: the line after the action line is blank".into(),
            ));
        }
        let source = std::str::from_utf8(line).map_err(|error| not_utf8("document", &error))?;
        let depth = json::object(source, json::DEPTH_MAX, members)
            .map_err(|error| bad_document(error.to_string()))?;
        if op == Op::Update {
            update_is_sound(members)?;
        }
        Ok((source, depth))
    }
}

/// Elasticsearch parses the body of an update together with the request, so a bad one fails every item there.
/// The names are those of `UpdateRequest` (Elasticsearch 8.19).
fn update_is_sound(members: &[Member<'_>]) -> Result<(), Refusal> {
    for member in members {
        if !matches!(
            member.raw_key,
            "doc"
                | "script"
                | "upsert"
                | "doc_as_upsert"
                | "scripted_upsert"
                | "detect_noop"
                | "_source"
                | "if_seq_no"
                | "if_primary_term"
                | "fields"
        ) {
            return Err(bad_document(format!("an update has no field [{}]", member.raw_key)));
        }
    }
    let has = |name| members.iter().any(|it| it.raw_key == name);
    if has("doc") == has("script") {
        return Err(bad_document("an update needs either doc or script".into()));
    }
    Ok(())
}

fn op_named(name: &str) -> Option<Op> {
    [Op::Index, Op::Create, Op::Update, Op::Delete].into_iter().find(|it| it.name() == name)
}

fn looks_like_action(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(is_action)
}

fn bad_document(reason: String) -> Refusal {
    Refusal { status: 400, kind: "document_parsing_exception", reason }
}

fn not_utf8(what: &str, error: &std::str::Utf8Error) -> Refusal {
    bad_document(format!("the {what} line is not UTF-8, from byte {} on", error.valid_up_to()))
}

#[derive(Debug)]
struct Lines<'a> {
    rest: &'a [u8],
}

impl<'a> Lines<'a> {
    /// The next line, without its line end (`\n` or `\r\n`). The last one may lack it.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.get(1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn next_filled(&mut self) -> Option<&'a [u8]> {
        loop {
            let line = self.next_line()?;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }

    fn peek_filled(&self) -> Option<&'a [u8]> {
        Lines { rest: self.rest }.next_filled()
    }

    /// The document line after an action line. A blank line is skipped, unless what follows it is an action:
    /// then the blank was all the document there is.
    fn next_source(&mut self) -> Option<&'a [u8]> {
        let line = self.next_line()?;
        if !line.trim_ascii().is_empty() {
            return Some(line);
        }
        match self.peek_filled() {
            Some(next) if !looks_like_action(next) => self.next_filled(),
            _ => Some(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The items as `name`, `name=document` or `name!reason`.
    fn shown(body: &[u8]) -> Vec<String> {
        let defaults = Defaults { index: Some("i".into()), ..Defaults::default() };
        let (mut items, mut members) = (Items::new(body, &defaults, 100), Vec::new());
        let show = |item: &Item<'_>| match &item.action {
            Ok(_) if item.source.is_empty() => item.name.to_string(),
            Ok(_) => format!("{}={}", item.name, item.source),
            Err(refusal) => format!("{}!{}", item.name, refusal.reason),
        };
        std::iter::from_fn(|| items.next_into(&mut members).unwrap()).map(|it| show(&it)).collect()
    }

    #[track_caller]
    fn check(body: &str, expected: &[&str]) {
        let shown = shown(body.as_bytes());
        assert_eq!(shown.len(), expected.len(), "{shown:?}");
        for (shown, expected) in shown.iter().zip(expected) {
            assert!(shown.starts_with(expected), "{shown} is not {expected}");
        }
    }

    #[test]
    fn every_byte_belongs_to_an_item() {
        let body = b"\n{\"index\":{}}\r\n{\"a\":1}\ngarbage\n\xff\n{\"delete\":{\"_id\":\"1\"}}\n{\"create\":{}}\n{}";
        let defaults = Defaults { index: Some("i".into()), ..Defaults::default() };
        let (mut items, mut members) = (Items::new(body, &defaults, 100), Vec::new());
        let mut end = 0;
        while let Some(item) = items.next_into(&mut members).unwrap() {
            assert_eq!(item.origin.start, end);
            end = item.origin.end;
        }
        assert_eq!(end, body.len());
    }

    #[test]
    fn a_byte_order_mark_is_passed_over() {
        let body = "\u{feff}{\"index\":{}}\n{\"a\":1}\n";
        check(body, &["index={\"a\":1}"]);
        let defaults = Defaults { index: Some("i".into()), ..Defaults::default() };
        let mut items = Items::new(body.as_bytes(), &defaults, 9);
        let item = items.next_into(&mut Vec::new()).unwrap().unwrap();
        assert_eq!(item.origin, 3..body.len());
    }

    #[test]
    fn all_four_actions() {
        check(
            "{\"index\":{}}\n{\"a\":1}\n{\"create\":{}}\n{}\n{\"delete\":{\"_id\":\"1\"}}\n{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n",
            &["index={\"a\":1}", "create={}", "delete", "update={\"doc\":{}}"],
        );
        check("", &[]);
    }

    #[test]
    fn line_ends() {
        check("{\"index\":{}}\r\n{\"a\":1}\r\n", &["index={\"a\":1}"]);
        check("{\"index\":{}}\n{\"a\":1}", &["index={\"a\":1}"]);
        check("\n\n{\"index\":{}}\n{\"a\":1}\n\n \n", &["index={\"a\":1}"]);
        check("{\"index\":{}}\n\n{\"a\":1}\n", &["index={\"a\":1}"]);
        check(
            "{\"index\":{}}\n\n{\"index\":{}}\n{\"a\":1}\n",
            &["index!the document is empty", "index={\"a\":1}"],
        );
        check("{\"index\":{}}\n", &["index!the document is missing"]);
        check("{\"index\":{}}\n\n", &["index!the document is empty"]);
    }

    #[test]
    fn a_bad_line_costs_its_own_item() {
        let good = "{\"create\":{}}\n{\"a\":1}\n";
        let around = |bad: &str| format!("{good}{bad}{good}");
        let good = "create={\"a\":1}";
        check(&around("garbage\n"), &[good, "index!the action line is no action", good]);
        check(&around("garbage\n{\"a\":2}\n"), &[good, "index!the action line is no action", good]);
        check(&around("{\"frob\":{}}\n{\"a\":2}\n"), &[good, "frob!unknown action [frob]", good]);
        check(&around("{\"delete\":{}}\n"), &[good, "delete!_id is missing", good]);
        check(
            &around("{\"create\":{}}\n[1,2]\n"),
            &[good, "create!a JSON object is expected", good],
        );
        check(
            &around("{\"create\":{}}\n{\"a\":\n"),
            &[good, "create!not JSON: the text ends", good],
        );
        check(
            &around("{\"update\":{\"_id\":\"1\"}}\n{\"a\":1}\n"),
            &[good, "update!an update has no field [a]", good],
        );
    }

    #[test]
    fn a_document_is_never_taken_for_an_action() {
        let evil = "{\"delete\":{\"_index\":\"logs\",\"_id\":\"1\"}}\n";
        let good = "{\"create\":{}}\n{\"a\":1}\n";
        for bad in [
            format!("{{\"index\":{{\"_id\":\"{}\"}}}}\n", "x".repeat(513)),
            "{\"create\":{\"version\":1}}\n".into(),
            "{\"index\":{\"colour\":1}}\n".into(),
            "{\"create\":{}}\n".into(),
        ] {
            let shown = shown(format!("{bad}{evil}{good}").as_bytes());
            assert_eq!(shown.len(), 2, "{bad}: {shown:?}");
            assert_eq!(shown[1], "create={\"a\":1}");
        }
        let not_utf8 =
            [b"{\"index\":{\"_id\":\"\xff\"}}\n", evil.as_bytes(), good.as_bytes()].concat();
        assert_eq!(shown(&not_utf8).len(), 2);
    }

    #[test]
    fn invalid_utf8_costs_its_own_item() {
        let body = b"{\"create\":{}}\n{\"a\":\"\xff\"}\n{\"create\":{}}\n{\"a\":1}\n\xff\xfe\n{\"create\":{}}\n{\"a\":2}\n";
        assert_eq!(
            shown(body),
            [
                "create!the document line is not UTF-8, from byte 6 on",
                "create={\"a\":1}",
                "index!the action line is not UTF-8, from byte 0 on",
                "create={\"a\":2}"
            ]
        );
    }

    #[test]
    fn items_are_counted() {
        let body = "{\"delete\":{\"_index\":\"i\",\"_id\":\"1\"}}\n".repeat(4);
        let defaults = Defaults::default();
        let count = |limit| {
            let (mut items, mut members) =
                (Items::new(body.as_bytes(), &defaults, limit), Vec::new());
            let mut count = 0;
            while items.next_into(&mut members)?.is_some() {
                count += 1;
            }
            Ok(count)
        };
        assert_eq!(count(4), Ok(4));
        assert_eq!(count(3), Err(TooManyItems { limit: 3 }));
    }
}
