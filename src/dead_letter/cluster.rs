use std::collections::VecDeque;

use hyper::Method;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    DeadLetterError, Filter, PORTION_BYTES_MAX, PORTION_LETTERS_MAX,
    letter::{Letter, cut},
    target::{WAITS, asked},
};
use crate::{
    bulk::BulkAnswer,
    forward::{Backoff, Elasticsearch, ElasticsearchSettings},
    prepare::DATASET_DEAD_LETTERS,
};

/// How long Elasticsearch keeps the place between two pages. Meanwhile a page is sent, however often it is tried.
const SCROLL: &str = "15m";
/// Largest page without lines (bytes).
const PAGE_BYTES_MAX: usize = 64 << 20;
/// Largest answer with the lines of one letter (bytes): Elasticsearch takes no larger document than 100 MB, and its
/// escapes are no longer here than there.
const LETTER_BYTES_MAX: usize = 256 << 20;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// Letters in a cluster.
///
/// They are found by a scroll, which every version and OpenSearch have and which what is removed does not disturb, and
/// which brings no lines: those are fetched for as many letters at once as do not become too large.
#[derive(Debug)]
pub(super) struct Cluster {
    output: Elasticsearch,
    filter: Filter,
    pub(super) with_lines: bool,
    place: Place,
    /// How many there are, and how many of them came.
    total: u64,
    came: u64,
    found: VecDeque<Letter>,
    /// How many letters are fetched at once.
    portion: usize,
    pub(super) unreadable: u64,
}

#[derive(Debug)]
enum Place {
    Start,
    Scroll(String),
    End,
}

#[derive(Deserialize)]
struct Page<'a> {
    _scroll_id: Option<String>,
    #[serde(borrow)]
    hits: Hits<'a>,
}

/// Whether a page is what it should be.
#[derive(Deserialize)]
struct Whole {
    timed_out: bool,
    _shards: Shards,
    _scroll_id: Option<String>,
}

#[derive(Deserialize)]
struct Shards {
    failed: u64,
}

#[derive(Deserialize)]
struct Hits<'a> {
    total: Option<Total>,
    #[serde(borrow)]
    hits: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Total {
    value: u64,
}

#[derive(Deserialize)]
struct Fetched<'a> {
    #[serde(borrow)]
    docs: Vec<Hit<'a>>,
}

#[derive(Deserialize)]
struct Hit<'a> {
    _index: String,
    _id: String,
    /// Only of what is fetched; absent where that failed.
    found: Option<bool>,
    #[serde(borrow)]
    _source: Option<&'a RawValue>,
}

impl Cluster {
    pub(super) fn new(
        settings: &ElasticsearchSettings,
        backoff: Backoff,
        filter: Filter,
        with_lines: bool,
    ) -> Result<Self, DeadLetterError> {
        let output = Elasticsearch::new(settings, backoff)
            .map_err(|error| DeadLetterError::Settings(error.to_string()))?;
        Ok(Self {
            output,
            filter,
            with_lines,
            place: Place::Start,
            total: 0,
            came: 0,
            found: VecDeque::new(),
            portion: PORTION_LETTERS_MAX,
            unreadable: 0,
        })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Vec<Letter>>, DeadLetterError> {
        loop {
            // A page may hold none that is meant.
            while self.found.is_empty() {
                if !self.page().await? {
                    return Ok(None);
                }
            }
            let letters: Vec<_> = if self.with_lines {
                self.fetched().await?
            } else {
                self.found.drain(..).collect()
            };
            if !letters.is_empty() {
                return Ok(Some(letters));
            }
        }
    }

    /// Finds more letters. False after the last.
    async fn page(&mut self) -> Result<bool, DeadLetterError> {
        let (path, body) = match &self.place {
            Place::End => return Ok(false),
            Place::Start => {
                let lines = ["k8scop.dead_letter.lines", "k8scop.dead_letter.lines_base64"];
                let since = match self.filter.since {
                    Some(since) => {
                        json!({ "range": { "@timestamp": { "gte": since.to_string() } } })
                    }
                    None => json!({ "match_all": {} }),
                };
                let search = json!({
                    "size": PORTION_LETTERS_MAX,
                    "query": { "bool": { "filter": [since] } },
                    "track_total_hits": true,
                    // Without the second key a scroll of OpenSearch 3.6.0 leaves letters of the same time out.
                    "sort": [
                        { "@timestamp": { "order": "asc", "unmapped_type": "date" } },
                        { "_doc": "asc" }
                    ],
                    "_source": { "excludes": lines },
                });
                let path = format!("/logs-{DATASET_DEAD_LETTERS}-*/_search?scroll={SCROLL}");
                (path, search)
            }
            Place::Scroll(id) => {
                ("/_search/scroll".into(), json!({ "scroll": SCROLL, "scroll_id": id }))
            }
        };
        let mut waits = WAITS.into_iter();
        let text = loop {
            let text = self.ask(&path, JSON, body.to_string(), PAGE_BYTES_MAX).await?;
            let text = text.ok_or_else(|| failed("a page of letters is too large"))?;
            let Whole { timed_out, _shards, _scroll_id } = parse(&text)?;
            if !timed_out && _shards.failed == 0 {
                break text;
            }
            // A shard that is just being made answers soon. Between pages it can only be one that is lost.
            let wait = waits.next().filter(|_| matches!(self.place, Place::Start));
            let wait = wait.ok_or_else(|| failed("not every shard with letters answers"))?;
            if let Some(id) = _scroll_id {
                self.forget(&id).await;
            }
            tokio::time::sleep(wait).await;
        };
        let page: Page<'_> = parse(&text)?;
        let is_more = !page.hits.hits.is_empty();
        self.came += page.hits.hits.len() as u64;
        if matches!(self.place, Place::Start) {
            self.total = page.hits.total.map_or(0, |it| it.value);
        }
        self.place = page._scroll_id.map_or(Place::End, Place::Scroll);
        if !is_more {
            self.end().await;
            // Nobody is to believe that these are all.
            if self.came < self.total {
                let (came, total) = (self.came, self.total);
                return Err(failed(&format!("{came} letters came of {total}")));
            }
        }
        for hit in page.hits.hits {
            match hit.letter() {
                Some(letter) if self.filter.takes(&letter) => self.found.push_back(letter),
                Some(_) => (),
                None => self.unreadable += 1,
            }
        }
        Ok(is_more)
    }

    /// Letters that were found, with their lines; less those that are gone.
    async fn fetched(&mut self) -> Result<Vec<Letter>, DeadLetterError> {
        loop {
            let count = self.portion.min(self.found.len()).max(1);
            let place = |it: &Letter| json!({ "_index": it.kept_in, "_id": it.id });
            let places: Vec<_> = self.found.iter().take(count).map(place).collect();
            let wanted = json!({ "docs": places }).to_string();
            let max = if count == 1 { LETTER_BYTES_MAX } else { 4 * PORTION_BYTES_MAX };
            let Some(text) = self.ask("/_mget", JSON, wanted, max).await? else {
                if count == 1 {
                    let letter = self.found.pop_front();
                    let id = letter.map(|it| it.id).unwrap_or_default();
                    return Err(failed(&format!("the letter {} is too large", cut(&id, 100))));
                }
                self.portion = count / 2;
                continue;
            };
            let fetched: Fetched<'_> = parse(&text)?;
            if fetched.docs.len() != count {
                return Err(failed("another number of letters came than was asked for"));
            }
            let mut letters = Vec::with_capacity(count);
            for hit in fetched.docs {
                self.found.pop_front();
                match hit.found {
                    // Somebody else replayed it.
                    Some(false) => (),
                    Some(true) => match hit.letter() {
                        Some(letter) => letters.push(letter),
                        None => self.unreadable += 1,
                    },
                    None => return Err(failed("a letter cannot be read")),
                }
            }
            return Ok(letters);
        }
    }

    pub(super) async fn remove(&mut self, letters: &[Letter]) -> Result<usize, DeadLetterError> {
        if letters.is_empty() {
            return Ok(0);
        }
        let line = |it: &Letter| {
            let action = json!({ "delete": { "_index": it.kept_in, "_id": it.id } });
            format!("{action}\n")
        };
        let body: String = letters.iter().map(line).collect();
        let text = self.ask("/_bulk", LINES, body, PAGE_BYTES_MAX).await?.unwrap_or_default();
        let answer = BulkAnswer::parse(text.as_bytes(), letters.len())
            .map_err(|error| failed(&error.to_string()))?;
        Ok(answer.items.iter().filter(|it| it.status >= 300 && it.status != 404).count())
    }

    /// Lets Elasticsearch forget the place; else it does when its time is over.
    pub(super) async fn end(&mut self) {
        if let Place::Scroll(id) = std::mem::replace(&mut self.place, Place::End) {
            self.forget(&id).await;
        }
    }

    async fn forget(&self, scroll_id: &str) {
        let body = json!({ "scroll_id": [scroll_id] }).to_string().into();
        asked(&self.output, Method::DELETE, "/_search/scroll", JSON, body, PAGE_BYTES_MAX)
            .await
            .ok();
    }

    /// The text of an answer that says that all is well; `None` if it is larger than that.
    async fn ask(
        &self,
        path: &str,
        media: &'static str,
        body: String,
        bytes_max: usize,
    ) -> Result<Option<String>, DeadLetterError> {
        let answer = asked(&self.output, Method::POST, path, media, body.into(), bytes_max).await;
        let (status, body) = answer.map_err(DeadLetterError::Failed)?;
        let Some(body) = body else { return Ok(None) };
        let text = String::from_utf8_lossy(&body).into_owned();
        if status == 200 {
            return Ok(Some(text));
        }
        let told = crate::bulk::AnswerItem::told(status, &body).error();
        Err(failed(&format!("it answers {status} to {path}: {}", cut(&told, 300))))
    }
}

impl Hit<'_> {
    fn letter(&self) -> Option<Letter> {
        Letter::read(self._id.clone(), self._index.clone(), self._source?.get())
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DeadLetterError> {
    serde_json::from_str(text)
        .map_err(|error| failed(&format!("its answer cannot be read: {error}")))
}

fn failed(what: &str) -> DeadLetterError {
    DeadLetterError::Failed(format!("reading dead letters from Elasticsearch: {what}"))
}
