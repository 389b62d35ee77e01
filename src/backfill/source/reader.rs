//! Reads one unit, page by page.

use std::{sync::Arc, time::Duration};

use hyper::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Page, Query, Source, Trouble, plan::in_path};
use crate::backfill::checkpoint::Unit;

/// How long a point in time stays open between two pages. One that is lost is opened again.
const KEEP_ALIVE: &str = "5m";
/// How large a page is meant to be (bytes): large enough that a request costs little, small enough that two of each
/// unit that is read are in memory.
const PAGE_BYTES: usize = 4 << 20;
/// Largest answer that is read (bytes).
const PAGE_BYTES_MAX: usize = 64 << 20;
/// Largest answer with one document (bytes): Elasticsearch takes none that is larger than 100 MB (`http.max_content_length`).
const DOCUMENT_BYTES_MAX: usize = 256 << 20;
/// Documents of the first page, of which nothing is known.
const FIRST_HITS: usize = 500;
/// Most documents of a page: Elasticsearch's own limit (`index.max_result_window`).
const HITS_MAX: usize = 10_000;
/// How much wider a window is than a page, where every document matches.
const WINDOW_FACTOR: i64 = 2;

/// Reads a unit.
#[derive(Debug)]
pub(in super::super) struct Reader {
    source: Arc<Source>,
    query: Arc<Query>,
    index: String,
    shard: u32,
    last: i64,
    point_in_time: Option<String>,
    /// Documents of the next page.
    hits: usize,
    /// Most of them: the index may allow fewer.
    hits_max: usize,
    /// Numbers that the next page looks through.
    window: i64,
}

#[derive(Deserialize)]
struct Opened {
    /// Elasticsearch's.
    id: Option<String>,
    /// OpenSearch's.
    pit_id: Option<String>,
}

impl Reader {
    pub(in super::super) fn new(source: &Arc<Source>, query: &Arc<Query>, unit: &Unit) -> Self {
        Self {
            source: Arc::clone(source),
            query: Arc::clone(query),
            index: unit.index.clone(),
            shard: unit.shard,
            last: unit.last,
            point_in_time: None,
            hits: FIRST_HITS,
            hits_max: HITS_MAX,
            window: 0,
        }
    }

    /// The documents behind this place; the page may be empty. Tries again as long as that can help.
    pub(in super::super) async fn page(&mut self, after: i64) -> Result<Page, Trouble> {
        let source = Arc::clone(&self.source);
        let mut patience = source.patience();
        loop {
            let trouble = match self.try_page(after).await {
                Ok(page) => {
                    patience.rest();
                    return Ok(page);
                }
                Err(trouble) => trouble,
            };
            if trouble.is_too_large && self.hits > 1 {
                self.hits /= 2;
                continue;
            }
            // The index may allow fewer, or the cluster have no memory for so many.
            if trouble.status == 400 && self.hits > 1 && trouble.text.contains("esult window") {
                self.hits_max = (self.hits / 2).max(1);
                self.hits = self.hits_max;
                continue;
            }
            if trouble.status == 429 {
                self.hits = (self.hits / 2).max(1);
            }
            // A cluster that is busy, or away for a moment, has it still. Otherwise another begins behind the same place.
            let was_open =
                !matches!(trouble.status, 0 | 429) && self.point_in_time.take().is_some();
            if was_open && trouble.status == 404 {
                tracing::info!(
                    index = self.index,
                    shard = self.shard,
                    "the point in time is lost: another is opened, and nothing is read again"
                );
                continue;
            }
            patience.wait(trouble).await.map_err(|it| it.of(&self.index, self.shard))?;
        }
    }

    async fn try_page(&mut self, after: i64) -> Result<Page, Trouble> {
        self.open().await?;
        let hits = self.hits.min(self.hits_max);
        let width = i64::try_from(hits).unwrap_or(i64::MAX).saturating_mul(WINDOW_FACTOR);
        let to = after.saturating_add(self.window.max(width)).min(self.last);
        let (path, point_in_time) = match &self.point_in_time {
            Some(id) => {
                let id = serde_json::Value::from(id.as_str());
                let part = format!("\"pit\":{{\"id\":{id},\"keep_alive\":\"{KEEP_ALIVE}\"}},");
                ("/_search".to_owned(), part)
            }
            None => {
                let (index, shard) = (in_path(&self.index), self.shard);
                (format!("/{index}/_search?preference=_shards:{shard}"), String::new())
            }
        };
        let query = self.query.within(after, to);
        let body = format!(
            "{{\"size\":{hits},{point_in_time}\"query\":{query},\"sort\":[{{\"_seq_no\":\"asc\"}}],\"track_total_hits\":false,\"_source\":true}}"
        );
        let bytes_max = if hits > 1 { PAGE_BYTES_MAX } else { DOCUMENT_BYTES_MAX };
        let began = Instant::now();
        let text = self.source.ask(Method::POST, &path, &body, bytes_max).await?;
        let bytes = text.len();
        self.source.pace.answered(began.elapsed(), bytes);
        let page = tokio::task::spawn_blocking(move || Page::read(&text)).await;
        let mut page = page.map_err(|error| Trouble::lasting(error.to_string()))??;
        if self.point_in_time.is_some() {
            self.point_in_time = page.point_in_time.take().or_else(|| self.point_in_time.take());
        }
        if page.shards != 1 {
            let text = format!("{} shards answer for one of {}", page.shards, self.index);
            let trouble = Trouble { status: 200, ..Trouble::passing(text) };
            if self.point_in_time.is_some() {
                self.source.without_points_in_time(&trouble);
            }
            return Err(trouble);
        }
        let is_full = page.hits >= hits;
        self.adapt(page.hits, bytes, to - after, is_full);
        if !is_full {
            page.position = to;
        }
        Ok(page)
    }

    /// Makes the next page as large as is meant, and its window as wide as it needs.
    fn adapt(&mut self, hits: usize, bytes: usize, width: i64, is_full: bool) {
        if hits > 0 {
            let wanted = PAGE_BYTES.saturating_mul(hits) / bytes.max(1);
            // By steps: the next documents may be others.
            self.hits = wanted.clamp(1, self.hits.saturating_mul(4)).clamp(1, self.hits_max);
        }
        self.window = if is_full { width } else { width.saturating_mul(2) };
        if is_full && i64::try_from(hits).is_ok_and(|it| width > it.saturating_mul(8)) {
            self.window = width / 2;
        }
    }

    /// Opens a point in time, where there are some.
    async fn open(&mut self) -> Result<(), Trouble> {
        if self.point_in_time.is_some() || !self.source.has_points_in_time() {
            return Ok(());
        }
        let (index, shard) = (in_path(&self.index), self.shard);
        let way = if self.source.is_opensearch { "_search/point_in_time" } else { "_pit" };
        let path = format!("/{index}/{way}?keep_alive={KEEP_ALIVE}&preference=_shards:{shard}");
        match self.source.ask(Method::POST, &path, "", PAGE_BYTES_MAX).await {
            Ok(text) => {
                let opened: Opened =
                    serde_json::from_str(&text).map_err(|error| super::ask::unusable(&error))?;
                self.point_in_time = opened.id.or(opened.pit_id);
                Ok(())
            }
            // Rights, a proxy, or an index that takes none.
            Err(trouble) if matches!(trouble.status, 400 | 403 | 405) => {
                self.source.without_points_in_time(&trouble);
                Ok(())
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// Lets the cluster forget the point in time; else it does when its time is over.
    pub(in super::super) async fn close(&mut self) {
        let Some(id) = self.point_in_time.take() else { return };
        let (path, body) = match self.source.is_opensearch {
            true => ("/_search/point_in_time", serde_json::json!({ "pit_id": [id] })),
            false => ("/_pit", serde_json::json!({ "id": id })),
        };
        let body = body.to_string();
        let closed = self.source.ask(Method::DELETE, path, &body, PAGE_BYTES_MAX);
        if tokio::time::timeout(CLOSE_TIME, closed).await.is_err() {
            tracing::debug!("a point in time was not closed in time");
        }
    }
}

/// Longest wait for a point in time to be closed.
const CLOSE_TIME: Duration = Duration::from_secs(5);
