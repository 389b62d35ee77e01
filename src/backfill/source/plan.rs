//! What there is to read: which shards hold documents that match, and how many.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{Source, Trouble};
use crate::backfill::checkpoint::Unit;

/// Most indices that are read at once: more is one index a day for 27 years.
const INDICES_MAX: usize = 10_000;
/// Shards with fewer documents are not cut into parts.
const SPLIT_DOCUMENTS_MIN: u64 = 10_000;
/// What stays as it is in a path: names of indices, patterns of them, and the comma between.
const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b',').remove(b'*').remove(b'-').remove(b'_').remove(b'.');

/// Which documents are meant.
#[derive(Clone, Debug)]
pub(in super::super) struct Query {
    /// Conditions (JSON), with commas between them.
    filter: String,
}

impl Query {
    /// `own` is a query in Elasticsearch's language, perhaps within `{"query": …}`.
    pub(in super::super) fn new(
        own: Option<&str>,
        time_field: &str,
        from: Option<Timestamp>,
        to: Option<Timestamp>,
    ) -> Result<Self, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outer<'a> {
            #[serde(borrow)]
            query: &'a RawValue,
        }
        let mut filter = Vec::new();
        if let Some(text) = own {
            let inner = serde_json::from_str::<Outer<'_>>(text).map(|it| it.query.get());
            let inner = inner.unwrap_or(text);
            serde_json::from_str::<serde_json::Map<_, _>>(inner)
                .map_err(|error| format!("--query: it is no JSON object: {error}"))?;
            filter.push(inner.to_owned());
        }
        if from.is_some() || to.is_some() {
            let mut range = serde_json::Map::new();
            range.insert("format".into(), "strict_date_optional_time".into());
            for (name, time) in [("gte", from), ("lt", to)] {
                if let Some(time) = time {
                    range.insert(name.into(), time.to_string().into());
                }
            }
            filter.push(json!({ "range": { time_field: range } }).to_string());
        }
        Ok(Self { filter: filter.join(",") })
    }

    /// The query, within these numbers: behind the first, up to the second.
    pub(super) fn within(&self, after: i64, to: i64) -> String {
        let window = json!({ "range": { "_seq_no": { "gt": after, "lte": to } } });
        let comma = if self.filter.is_empty() { "" } else { "," };
        format!("{{\"bool\":{{\"filter\":[{}{comma}{window}]}}}}", self.filter)
    }

    fn all(&self) -> String {
        format!("{{\"bool\":{{\"filter\":[{}]}}}}", self.filter)
    }
}

/// An index, a pattern or several in a path.
pub(super) fn in_path(index: &str) -> String {
    utf8_percent_encode(index, PATH).to_string()
}

#[derive(Deserialize)]
struct Overview {
    _shards: Total,
    aggregations: Option<Indices>,
}

#[derive(Deserialize)]
struct Total {
    total: u64,
}

#[derive(Deserialize)]
struct Indices {
    indices: Terms,
}

#[derive(Deserialize)]
struct Terms {
    sum_other_doc_count: u64,
    buckets: Vec<Bucket>,
}

#[derive(Deserialize)]
struct Bucket {
    key: String,
}

#[derive(Deserialize)]
struct Shard {
    hits: Hits,
    aggregations: Option<Last>,
}

#[derive(Deserialize)]
struct Hits {
    total: HitsTotal,
}

/// A number in Elasticsearch 6, an object since 7.
#[derive(Deserialize)]
#[serde(untagged)]
enum HitsTotal {
    Number(u64),
    Object { value: u64 },
}

#[derive(Deserialize)]
struct Last {
    last: Value,
}

#[derive(Deserialize)]
struct Value {
    value: Option<f64>,
}

/// The shards that hold documents which match.
pub(in super::super) async fn plan(
    source: &Source,
    index: &str,
    query: &Query,
) -> Result<Vec<Unit>, Trouble> {
    let mut units = Vec::new();
    for name in indices(source, index, query).await? {
        for shard in 0..shards(source, &name).await? {
            if let Some((expected, last)) = shard_of(source, &name, shard, query, None).await? {
                units.push(Unit::new(&name, shard, last, expected));
            }
        }
    }
    Ok(units)
}

/// Cuts large shards into parts, where there are fewer shards than can be read at once.
pub(in super::super) async fn split(
    source: &Source,
    units: Vec<Unit>,
    slices: usize,
    query: &Query,
) -> Result<Vec<Unit>, Trouble> {
    let parts = slices.div_ceil(units.len().max(1));
    let mut all = Vec::new();
    for unit in units {
        if parts < 2 || unit.expected < SPLIT_DOCUMENTS_MIN {
            all.push(unit);
            continue;
        }
        for part in cut(&unit, parts) {
            let expected = count(source, &part, query).await?;
            all.push(Unit { expected, ..part });
        }
    }
    Ok(all)
}

/// Cuts the numbers of a shard into parts of the same width.
fn cut(unit: &Unit, parts: usize) -> Vec<Unit> {
    let width = unit.last.saturating_sub(unit.first).max(1);
    let parts = i64::try_from(parts).unwrap_or(1).clamp(1, width);
    // Numbers are below 10¹⁶, and parts are few.
    let bound = |it: i64| unit.first + width.saturating_mul(it) / parts;
    let part = |it: i64| {
        let (first, last) = (bound(it), bound(it + 1));
        Unit { first, last, position: first, ..unit.clone() }
    };
    (0..parts).map(part).collect()
}

/// How many documents of a unit match now.
pub(in super::super) async fn count(
    source: &Source,
    unit: &Unit,
    query: &Query,
) -> Result<u64, Trouble> {
    let found =
        shard_of(source, &unit.index, unit.shard, query, Some((unit.first, unit.last))).await?;
    Ok(found.map_or(0, |(count, _)| count))
}

/// How many documents tell no time: they are within none.
pub(in super::super) async fn timeless(
    source: &Source,
    index: &str,
    time_field: &str,
) -> Result<u64, Trouble> {
    let query = json!({ "bool": { "must_not": { "exists": { "field": time_field } } } });
    let body = json!({ "size": 0, "track_total_hits": true, "query": query }).to_string();
    let path = format!("/{}/_search", in_path(index));
    let answer: Shard = parse(&source.searched(&path, &body).await?)?;
    let (HitsTotal::Number(count) | HitsTotal::Object { value: count }) = answer.hits.total;
    Ok(count)
}

/// The indices that hold documents which match.
async fn indices(source: &Source, index: &str, query: &Query) -> Result<Vec<String>, Trouble> {
    let body = format!(
        "{{\"size\":0,\"track_total_hits\":true,\"query\":{},\"aggs\":{{\"indices\":{{\"terms\":{{\"field\":\"_index\",\"size\":{INDICES_MAX}}}}}}}}}",
        query.all()
    );
    let path = format!("/{}/_search", in_path(index));
    let text = source.searched(&path, &body).await?;
    let overview: Overview = parse(&text)?;
    let Some(Indices { indices }) = overview.aggregations.filter(|_| overview._shards.total > 0)
    else {
        // Patterns do not fit what may not be read.
        let text = format!(
            "no index matches `{index}`, or none that may be read with these credentials: see GET /_cat/indices"
        );
        return Err(Trouble { status: 404, ..Trouble::lasting(text) });
    };
    if indices.sum_other_doc_count > 0 {
        let text = format!("more than {INDICES_MAX} indices match `{index}`: read them in parts");
        return Err(Trouble::lasting(text));
    }
    let mut names: Vec<_> = indices.buckets.into_iter().map(|it| it.key).collect();
    // By name, which is by day, for those who look on.
    names.sort_unstable();
    Ok(names)
}

/// How many shards an index has.
async fn shards(source: &Source, index: &str) -> Result<u32, Trouble> {
    let body = "{\"size\":0,\"query\":{\"match_none\":{}}}";
    let text = source.searched(&format!("/{}/_search", in_path(index)), body).await?;
    let overview: Overview = parse(&text)?;
    u32::try_from(overview._shards.total).map_err(|error| super::ask::unusable(&error))
}

/// How many documents of a shard match, and the largest number of these; `None` if there are none.
async fn shard_of(
    source: &Source,
    index: &str,
    shard: u32,
    query: &Query,
    within: Option<(i64, i64)>,
) -> Result<Option<(u64, i64)>, Trouble> {
    let query = within.map_or_else(|| query.all(), |(after, to)| query.within(after, to));
    let body = format!(
        "{{\"size\":0,\"track_total_hits\":true,\"query\":{query},\"aggs\":{{\"last\":{{\"max\":{{\"field\":\"_seq_no\"}}}}}}}}"
    );
    let path = format!("/{}/_search?preference=_shards:{shard}", in_path(index));
    let answer: Shard = parse(&source.searched(&path, &body).await?)?;
    let (HitsTotal::Number(count) | HitsTotal::Object { value: count }) = answer.hits.total;
    if count == 0 {
        return Ok(None);
    }
    let last = answer.aggregations.and_then(|it| it.last.value);
    // As a whole number that a float holds exactly: a shard has at most 2³¹ documents, and few updates of each.
    #[expect(clippy::cast_possible_truncation, reason = "it is checked")]
    let last = last.filter(|it| (0.0..9e15).contains(it)).map(|it| it as i64);
    let last = last.ok_or_else(|| {
        Trouble::lasting(format!(
            "the documents of {index} have no _seq_no: it was made before Elasticsearch 6; reindex it first"
        ))
    })?;
    Ok(Some((count, last)))
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Trouble> {
    serde_json::from_str(text).map_err(|error| super::ask::unusable(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let time = |it: &str| Some(it.parse().unwrap());
        let of = |own: Option<&str>| {
            Query::new(own, "@timestamp", time("2019-03-01T00:00:00Z"), None)
                .map(|it| it.within(3, 9))
        };
        let range = r#"{"range":{"@timestamp":{"format":"strict_date_optional_time","gte":"2019-03-01T00:00:00Z"}}}"#;
        let window = r#"{"range":{"_seq_no":{"gt":3,"lte":9}}}"#;
        let term = r#"{"term":{"a":"\u00e9"}}"#;
        assert_eq!(of(None).unwrap(), format!(r#"{{"bool":{{"filter":[{range},{window}]}}}}"#));
        let expected = format!(r#"{{"bool":{{"filter":[{term},{range},{window}]}}}}"#);
        assert_eq!(of(Some(term)).unwrap(), expected);
        assert_eq!(
            of(Some(&format!("{{\"query\": {term}}}"))).unwrap(),
            expected,
            "as in a search"
        );
        for bad in ["", "[]", "{", "level: high", r#"{"a":1} {"b":2}"#] {
            assert!(
                of(Some(bad)).unwrap_err().starts_with("--query: it is no JSON object"),
                "{bad}"
            );
        }
        let all = Query::new(None, "@timestamp", None, None).unwrap();
        assert_eq!(
            all.within(-1, 0),
            r#"{"bool":{"filter":[{"range":{"_seq_no":{"gt":-1,"lte":0}}}]}}"#
        );
    }

    #[test]
    fn paths() {
        assert_eq!(in_path("logs-*,.ds-a_b"), "logs-*,.ds-a_b");
        assert_eq!(in_path("<logs-{now/d}>?x#/_all"), "%3Clogs-%7Bnow%2Fd%7D%3E%3Fx%23%2F_all");
    }

    #[test]
    fn a_shard_is_cut_into_parts_without_a_gap() {
        for (last, parts) in [(0, 3), (1, 3), (9, 2), (10, 3), (1_000_000, 7)] {
            let cut = cut(&Unit::new("a", 0, last, 0), parts);
            assert_eq!((cut[0].first, cut.last().unwrap().last), (-1, last));
            for pair in cut.windows(2) {
                assert_eq!(pair[0].last, pair[1].first);
            }
            assert!(cut.len() <= parts && cut.iter().all(|it| it.first < it.last), "{cut:?}");
            assert!(cut.iter().all(|it| it.position == it.first));
        }
    }
}
