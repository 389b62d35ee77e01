use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::Instant;

use super::Backoff;
use crate::bulk::AnswerItem;

/// Most indices that are remembered as blocked. Of more, each request finds out for itself.
const BLOCKED_MAX: usize = 1024;

/// Indices that take nothing for now: blocked, or without their primary shard.
///
/// Elasticsearch waits for a missing shard (parameter `timeout`), so every request that names such an index would
/// be slow for all of its items. Here one request in a while finds out, in a request of its own, and the others
/// answer for the index what was said of it last.
#[derive(Debug)]
pub(super) struct Blocks {
    backoff: Backoff,
    /// So that nothing is looked up while nothing is blocked.
    count: AtomicUsize,
    indices: Mutex<HashMap<String, Block>>,
}

#[derive(Debug)]
struct Block {
    said: AnswerItem,
    tries: u32,
    until: Instant,
}

/// Whether an index is to be asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// As ever.
    Open,
    /// It may take documents again: to be asked apart from others.
    Try,
    /// Not now: what was said last.
    Shut(AnswerItem),
}

impl Blocks {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff, count: AtomicUsize::new(0), indices: Mutex::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Asks for the right to send to an index. After [`Gate::Try`], others find it shut until that is known.
    pub(super) fn gate(&self, index: &str) -> Gate {
        let mut indices = self.indices();
        let Some(block) = indices.get_mut(index) else { return Gate::Open };
        let now = Instant::now();
        if block.until > now {
            return Gate::Shut(block.said.clone());
        }
        block.until = now + self.backoff.delay(block.tries, 1.0);
        Gate::Try
    }

    /// Notes that an index took nothing.
    pub(super) fn shut(&self, index: &str, said: &AnswerItem) {
        let mut indices = self.indices();
        if indices.len() >= BLOCKED_MAX && !indices.contains_key(index) {
            return;
        }
        let now = Instant::now();
        let block = indices.entry(index.to_owned()).or_insert_with(|| {
            tracing::warn!(index, status = said.status, "an index takes no documents");
            Block { said: said.clone(), tries: 0, until: now }
        });
        block.said = said.clone();
        block.until = now + self.backoff.delay(block.tries, 0.5 + fastrand::f64() / 2.0);
        block.tries = block.tries.saturating_add(1);
        self.count.store(indices.len(), Ordering::Relaxed);
    }

    /// Notes that an index took something.
    pub(super) fn open(&self, index: &str) {
        let mut indices = self.indices();
        if indices.remove(index).is_some() {
            tracing::info!(index, "the index takes documents again");
        }
        self.count.store(indices.len(), Ordering::Relaxed);
    }

    fn indices(&self) -> MutexGuard<'_, HashMap<String, Block>> {
        self.indices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an item's error says that its index takes nothing, rather than that the cluster is busy (Elasticsearch
/// 7.17 to 9.4: `ClusterBlockException`, 429 at the flood stage of the disk; `UnavailableShardsException`, 503).
pub(super) fn is_blocked(item: &AnswerItem) -> bool {
    matches!(item.status, 429 | 503)
        && matches!(
            item.error_kind().as_deref(),
            Some("cluster_block_exception" | "unavailable_shards_exception")
        )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_request_in_a_while_finds_out() {
        let blocks =
            Blocks::new(Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(8) });
        let said = AnswerItem::told(429, b"");
        assert_eq!(blocks.gate("a"), Gate::Open);
        blocks.shut("a", &said);
        assert!(!blocks.is_empty());
        assert_eq!((blocks.gate("a"), blocks.gate("b")), (Gate::Shut(said.clone()), Gate::Open));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(blocks.gate("a"), Gate::Try);
        assert_eq!(blocks.gate("a"), Gate::Shut(said));
        blocks.open("a");
        assert!(blocks.is_empty());
        assert_eq!(blocks.gate("a"), Gate::Open);
    }

    #[test]
    fn busy_is_not_blocked() {
        let item = |status, kind| {
            AnswerItem::told(status, format!(r#"{{"error":{{"type":"{kind}"}}}}"#).as_bytes())
        };
        assert!(is_blocked(&item(429, "cluster_block_exception")));
        assert!(is_blocked(&item(503, "unavailable_shards_exception")));
        assert!(!is_blocked(&item(429, "es_rejected_execution_exception")));
        assert!(!is_blocked(&item(403, "cluster_block_exception")));
    }
}
