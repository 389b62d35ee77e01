//! What rules say of events of one key, remembered. Bounded, and apart for each thread, so that none waits for another.

use std::{
    collections::HashMap,
    mem,
    num::NonZero,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use foldhash::fast::RandomState;

use super::sure::Rest;

/// What all memories of one set of rules hold at most (bytes).
const MEMO_BYTES_MAX: usize = 32 << 20;
/// What an entry costs beside its key and its rules, about (bytes).
const ENTRY_BYTES: usize = 160;

/// What is known of all events of one key. Places of rules, in their order.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Rules that they hit.
    pub(super) hits: Box<[u32]>,
    /// Rules that have to be tried on each.
    pub(super) open: Box<[u32]>,
    /// Rules to be tried on those in which their texts are found.
    pub(super) watched: Box<[u32]>,
    /// What is left to be asked of the open ones, and of the watched ones after them; of the first, if they are many.
    pub(super) rests: Box<[Rest]>,
    /// Where to look for these texts.
    pub(super) looks: Box<[u32]>,
}

impl Known {
    fn bytes(&self) -> usize {
        let all = [&self.hits, &self.open, &self.watched, &self.looks];
        let numbers = all.iter().map(|it| it.len() * size_of::<u32>()).sum::<usize>();
        numbers + self.rests.iter().map(Rest::bytes).sum::<usize>()
    }
}

type Map = HashMap<Box<[u8]>, Arc<Known>, RandomState>;

/// The memory of one thread: what was asked for lately, and what was before that. When the first is full it takes the
/// place of the second, which is forgotten.
#[derive(Debug, Default)]
pub(super) struct Memo {
    /// Where keys are written: room that is used again.
    pub(super) key: Vec<u8>,
    recent: Map,
    recent_bytes: usize,
    before: Map,
    bytes_max: usize,
}

impl Memo {
    /// What is known under [`Self::key`], which `judge` finds out if it was forgotten.
    pub(super) fn get(&mut self, judge: impl FnOnce() -> Known) -> Arc<Known> {
        let key = self.key.as_slice();
        if let Some(known) = self.recent.get(key) {
            return Arc::clone(known);
        }
        let known = self.before.remove(key).unwrap_or_else(|| Arc::new(judge()));
        let bytes = key.len() + known.bytes() + ENTRY_BYTES;
        if self.recent_bytes + bytes > self.bytes_max {
            self.before = mem::take(&mut self.recent);
            self.recent_bytes = 0;
        }
        self.recent_bytes += bytes;
        self.recent.insert(key.into(), Arc::clone(&known));
        known
    }
}

/// One memory for each thread, as far as there are cores.
#[derive(Debug)]
pub(super) struct Memos(Box<[Mutex<Memo>]>);

impl Default for Memos {
    fn default() -> Self {
        let count = thread::available_parallelism().map_or(1, NonZero::get);
        let bytes_max = MEMO_BYTES_MAX / 2 / count;
        let memo = |_| Mutex::new(Memo { bytes_max, ..Memo::default() });
        Self((0..count).map(memo).collect())
    }
}

impl Memos {
    /// The memory of this thread.
    pub(super) fn own(&self) -> Option<MutexGuard<'_, Memo>> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
        }
        let place = THREAD.with(|it| it % self.0.len().max(1));
        self.0.get(place).map(|it| it.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
