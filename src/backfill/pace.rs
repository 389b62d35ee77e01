//! How fast the source is asked: never faster than `--rate`, and slower when it refuses requests or answers slowly.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The first wait before a page, when the source is busy.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// An answer that takes less is never slow.
const SLOW_MIN: Duration = Duration::from_millis(250);
/// How much slower than the best answers a slow one is, byte for byte.
const SLOW_FACTOR: f64 = 4.0;
/// Answers are compared as if they had so many bytes at least: what a request costs besides.
const BYTES_MIN: usize = 256 << 10;

/// Told to all that read.
#[derive(Debug)]
pub(super) struct Pace {
    /// Most documents in a second.
    rate: Option<u32>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// When the documents that were read are paid for.
    paid_at: Instant,
    /// The wait before each page.
    wait: Duration,
    /// Seconds for a byte, in the best answers of late.
    best: f64,
}

impl Pace {
    pub(super) fn new(rate: Option<u32>) -> Self {
        let state = State { paid_at: Instant::now(), wait: Duration::ZERO, best: f64::INFINITY };
        Self { rate, state: Mutex::new(state) }
    }

    /// Waits until the next page may be asked for.
    pub(super) async fn ready(&self) {
        let until = {
            let state = self.state();
            state.paid_at.max(Instant::now() + state.wait)
        };
        sleep_until(until).await;
    }

    /// So many documents were read.
    pub(super) fn read(&self, documents: usize) {
        let Some(rate) = self.rate else { return };
        let mut state = self.state();
        let seconds = documents as f64 / f64::from(rate.max(1));
        state.paid_at = state.paid_at.max(Instant::now()) + Duration::from_secs_f64(seconds);
    }

    /// The source refused a request, because it has too much to do.
    pub(super) fn refused(&self) {
        let mut state = self.state();
        state.wait = (state.wait * 2).clamp(WAIT_MIN, WAIT_MAX);
    }

    /// The source answered in this time. When answers get much slower than they were, it is asked half of the time only.
    pub(super) fn answered(&self, took: Duration, bytes: usize) {
        let mut state = self.state();
        let now = took.as_secs_f64() / bytes.max(BYTES_MIN) as f64;
        let is_slow = took > SLOW_MIN && now > state.best * SLOW_FACTOR;
        // What was the best is forgotten slowly: the cluster may have become another one.
        state.best = now.min(state.best * 1.01);
        state.wait = if is_slow {
            took.clamp(WAIT_MIN, WAIT_MAX)
        } else {
            Some(state.wait.mul_f64(0.8)).filter(|it| *it > WAIT_MIN / 8).unwrap_or_default()
        };
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept() {
        let (pace, began) = (Pace::new(Some(100)), Instant::now());
        for _ in 0..5 {
            pace.ready().await;
            pace.read(50);
        }
        pace.ready().await;
        assert!((2.4..2.6).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_source_is_asked_less_and_then_more_again() {
        let pace = Pace::new(None);
        let waited = async || {
            let began = Instant::now();
            pace.ready().await;
            began.elapsed()
        };
        assert_eq!(waited().await, Duration::ZERO);
        pace.refused();
        pace.refused();
        assert_eq!(waited().await, WAIT_MIN * 2);
        (0..20).for_each(|_| pace.refused());
        assert_eq!(waited().await, WAIT_MAX);
        (0..50).for_each(|_| pace.answered(Duration::from_millis(20), 4 << 20));
        assert_eq!(waited().await, Duration::ZERO);
        pace.answered(Duration::from_millis(400), 4 << 20);
        assert_eq!(waited().await, Duration::from_millis(400));
    }
}
