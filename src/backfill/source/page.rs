//! A page of documents, cut out of an answer as the bytes that they are, and written as a bulk body.

use std::{borrow::Cow, ops::Range};

use super::{Trouble, ask::whole};
use crate::{json, prepare::DATASET_ALERTS};

/// Documents of one unit, in the order of their `_seq_no`.
#[derive(Debug, Default)]
pub(in super::super) struct Page {
    /// What a shipper would have sent: an `index` with its `_id` for each.
    pub(in super::super) body: bytes::Bytes,
    pub(in super::super) docs: Vec<Doc>,
    /// Documents without `_source`, by their `_seq_no`.
    pub(in super::super) bare: Vec<i64>,
    /// Alerts of ours among them, by their `_seq_no`: they hold events, which would raise alerts again.
    pub(in super::super) alerts: Vec<i64>,
    /// Everything up to this `_seq_no` is read.
    pub(in super::super) position: i64,
    /// How many documents came, whatever they are.
    pub(in super::super) hits: usize,
    /// How many shards answered.
    pub(super) shards: u64,
    /// The point in time goes by this name from now on.
    pub(super) point_in_time: Option<String>,
}

/// A document of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Doc {
    /// Its two lines in the body.
    pub(in super::super) lines: Range<usize>,
    pub(in super::super) seq_no: i64,
}

impl Page {
    /// Reads the answer to a search. Documents are not looked into: whoever treats them checks them.
    pub(super) fn read(text: &str) -> Result<Self, Trouble> {
        let bad = |what: &str| super::ask::unusable(&what);
        let Answer { timed_out, shards, point_in_time, hits } =
            Answer::read(text).ok_or_else(|| bad("it is no whole answer to a search"))?;
        let shards = whole(timed_out, shards)?;
        let hits = hits.ok_or_else(|| bad("it has no hits"))?;
        let point_in_time = point_in_time.and_then(json::string).map(Cow::into_owned);
        let mut page = Self { position: -1, point_in_time, shards, ..Self::default() };
        let mut body = String::with_capacity(text.len());
        for hit in hits {
            let hit = hit.whole().ok_or_else(|| bad("a hit lacks its index, _id or sort"))?;
            page.hits += 1;
            page.position = hit.seq_no;
            let Some(source) = hit.source else {
                page.bare.push(hit.seq_no);
                continue;
            };
            if is_alert(source) {
                page.alerts.push(hit.seq_no);
                continue;
            }
            let start = body.len();
            hit.write_action(&mut body);
            write_on_one_line(source, &mut body);
            body.push('\n');
            page.docs.push(Doc { lines: start..body.len(), seq_no: hit.seq_no });
        }
        page.body = body.into();
        Ok(page)
    }

    /// Keeps only the first documents: one at least.
    pub(in super::super) fn cut(&mut self, docs: usize) {
        self.docs.truncate(docs);
        if let Some(last) = self.docs.last() {
            self.position = last.seq_no;
            for others in [&mut self.bare, &mut self.alerts] {
                others.retain(|it| *it <= last.seq_no);
            }
            self.hits = self.docs.len() + self.bare.len() + self.alerts.len();
        }
    }
}

/// What is used of an answer, as it stands in the text.
#[derive(Default)]
struct Answer<'a> {
    timed_out: Option<&'a str>,
    shards: Option<&'a str>,
    point_in_time: Option<&'a str>,
    hits: Option<Vec<Members<'a>>>,
}

impl<'a> Answer<'a> {
    /// `None` for what is no object, or cut, as far as that shows around the documents.
    fn read(text: &'a str) -> Option<Self> {
        let (mut answer, mut walk) = (Self::default(), json::Walk::new(text));
        walk.members(|name, walk| {
            match name {
                "timed_out" => answer.timed_out = Some(walk.value()?),
                "_shards" => answer.shards = Some(walk.value()?),
                "pit_id" => answer.point_in_time = Some(walk.value()?),
                "hits" => walk.members(|name, walk| {
                    match name {
                        "hits" => answer.hits = Some(Members::read_all(walk)?),
                        _ => drop(walk.value()?),
                    }
                    Some(())
                })?,
                _ => drop(walk.value()?),
            }
            Some(())
        })?;
        walk.is_at_end().then_some(answer)
    }
}

/// What is used of the members of a hit, as it stands in the text.
#[derive(Default)]
struct Members<'a> {
    index: Option<&'a str>,
    id: Option<&'a str>,
    routing: Option<&'a str>,
    source: Option<&'a str>,
    sort: Option<&'a str>,
}

impl<'a> Members<'a> {
    fn read_all(walk: &mut json::Walk<'a>) -> Option<Vec<Self>> {
        let mut all = Vec::new();
        walk.elements(|walk| {
            all.push(Self::read(walk)?);
            Some(())
        })?;
        Some(all)
    }

    fn read(walk: &mut json::Walk<'a>) -> Option<Self> {
        let mut hit = Self::default();
        walk.members(|name, walk| {
            let value = Some(walk.value()?);
            match name {
                "_index" => hit.index = value,
                "_id" => hit.id = value,
                "_routing" => hit.routing = value,
                "_source" => hit.source = value,
                "sort" => hit.sort = value,
                _ => (),
            }
            Some(())
        })?;
        Some(hit)
    }

    /// The hit, if it has what every hit has.
    fn whole(self) -> Option<Hit<'a>> {
        let Self { index, id, routing, source, sort } = self;
        let seq_no = json::elements(sort?).next()?.parse().ok()?;
        Some(Hit { index: index?, id: id?, routing, source, seq_no })
    }
}

/// A hit, as it stands in the text.
struct Hit<'a> {
    index: &'a str,
    id: &'a str,
    routing: Option<&'a str>,
    source: Option<&'a str>,
    seq_no: i64,
}

impl Hit<'_> {
    /// `index`, not `create`: the `_id`s of what is made of the document are then ours on every way, and the same when it
    /// is read again.
    fn write_action(&self, out: &mut String) {
        out.push_str("{\"index\":{\"_index\":");
        out.push_str(self.index);
        out.push_str(",\"_id\":");
        out.push_str(self.id);
        if let Some(routing) = self.routing {
            out.push_str(",\"routing\":");
            out.push_str(routing);
        }
        out.push_str("}}\n");
    }
}

/// Whether a document is an alert that k8scop wrote, wherever it lies.
fn is_alert(document: &str) -> bool {
    let dataset = || json::string(json::get(json::get(document, "event")?, "dataset")?);
    memchr::memmem::find(document.as_bytes(), DATASET_ALERTS.as_bytes()).is_some()
        && dataset().as_deref() == Some(DATASET_ALERTS)
}

/// A document may have been stored on several lines. Inside of strings JSON has no line breaks.
fn write_on_one_line(document: &str, out: &mut String) {
    match memchr::memchr2(b'\n', b'\r', document.as_bytes()) {
        None => out.push_str(document),
        Some(_) => document.split(['\n', '\r']).for_each(|it| out.push_str(it)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(hits: &str) -> String {
        format!(
            r#"{{"pit_id":"p\u0031","took":1,"timed_out":false,"_shards":{{"total":1,"failed":0}},"hits":{{"max_score":null,"hits":[{hits}]}}}}"#
        )
    }

    #[test]
    fn documents_are_the_bytes_that_they_were() {
        let hits = concat!(
            r#"{"_index":"a","_id":"x\"1","_score":null,"_routing":"r","_source":{"b" : 1.0,"#,
            "\n\r\n",
            r#" "a":"\n\ud800"},"sort":[7,1]},"#,
            r#"{"_index":"a","_id":"2","_type":"_doc","sort":[9]},"#,
            r#"{"_index":"a","_id":"3","_source":{},"sort":[12]}"#
        );
        let page = Page::read(&answer(hits)).unwrap();
        let expected = concat!(
            r#"{"index":{"_index":"a","_id":"x\"1","routing":"r"}}"#,
            "\n",
            r#"{"b" : 1.0, "a":"\n\ud800"}"#,
            "\n",
            r#"{"index":{"_index":"a","_id":"3"}}"#,
            "\n{}\n"
        );
        assert_eq!(page.body, expected);
        assert_eq!((page.hits, page.position, &page.bare[..]), (3, 12, &[9][..]));
        assert_eq!(page.docs.iter().map(|it| it.seq_no).collect::<Vec<_>>(), [7, 12]);
        let last = &page.docs[1];
        assert_eq!(page.body[last.lines.clone()], expected.as_bytes()[last.lines.clone()]);
        assert_eq!(page.point_in_time.as_deref(), Some("p1"));
    }

    #[test]
    fn a_page_that_is_cut_goes_on_behind_its_last_document() {
        let hit =
            |it: i64| format!(r#"{{"_index":"a","_id":"{it}","_source":{{}},"sort":[{it}]}}"#);
        let hits =
            format!(r#"{},{},{{"_index":"a","_id":"x","sort":[5]}},{}"#, hit(3), hit(4), hit(6));
        let mut page = Page::read(&answer(&hits)).unwrap();
        page.cut(2);
        assert_eq!((page.docs.len(), page.position, page.hits), (2, 4, 2));
        assert!(page.bare.is_empty());
    }

    #[test]
    fn alerts_of_ours_are_no_events() {
        let alert = r#"{"event":{"dataset":"k8scop.alerts"},"kubernetes":{}}"#;
        let other = r#"{"event":{"dataset":"other"},"message":"k8scop.alerts"}"#;
        let hit = |number: i64, source: &str| {
            format!(r#"{{"_index":"a","_id":"{number}","_source":{source},"sort":[{number}]}}"#)
        };
        let page = Page::read(&answer(&[hit(1, alert), hit(2, other)].join(","))).unwrap();
        assert_eq!((&page.alerts[..], page.docs.len(), page.hits), (&[1][..], 1, 2));
    }

    #[test]
    fn half_an_answer_is_none() {
        for bad in [
            "",
            "{",
            "{}",
            "<html>",
            &answer("").replace("false", "true"),
            &answer("").replace(r#""failed":0"#, r#""failed":1"#),
            &answer(r#"{"_index":"a","_id":"1","_source":{}}"#),
            &answer(r#"{"_index":"a","_source":{},"sort":[1]}"#),
            &answer(r#"{"_index":"a","_id":"1","_source":{},"sort":[]}"#),
        ] {
            assert!(Page::read(bad).unwrap_err().may_pass, "{bad}");
        }
        assert_eq!(Page::read(&answer("")).unwrap().hits, 0);
        let whole = answer(r#"{"_index":"a","_id":"1","_source":{"a":"}]"},"sort":[1]}"#);
        assert_eq!(Page::read(&format!(" {whole}\n")).unwrap().hits, 1);
        for cut in 0..whole.len() {
            assert!(Page::read(whole.get(..cut).unwrap()).unwrap_err().may_pass, "cut at {cut}");
        }
    }

    /// Elasticsearch stores comments, which JSON has none of: whoever treats the document refuses it alone.
    #[test]
    fn a_document_that_is_no_json_does_not_spoil_its_page() {
        let hits = r#"{"_index":"a","_id":"1","_source":{/* no "JSON" */"a":1},"sort":[1]},{"_index":"a","_id":"2","_source":{},"sort":[2]}"#;
        let page = Page::read(&answer(hits)).unwrap();
        assert_eq!((page.docs.len(), page.position), (2, 2));
    }
}
