use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use prometheus::IntGauge;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Bytes of one permit: a semaphore hands out at most 2^32 of them at once.
const UNIT_BYTES: u64 = 1024;

/// How many bytes of bodies may be handled at once. What a body becomes on its way out is about as large again,
/// so the process needs about three times this.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    units_max: usize,
    used_bytes: IntGauge,
    /// Somebody has the right to wait.
    is_awaited: Arc<AtomicBool>,
}

/// The right to wait for more of the budget, which one has at a time. Of many that grow step by step and find nothing
/// left, all others give back what they have, so that one comes to its end.
#[derive(Debug)]
pub(super) struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A body's share of the budget. Given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    permit: OwnedSemaphorePermit,
}

impl Budget {
    /// `bytes_max` is the most; `used_bytes` follows what is used.
    #[must_use]
    pub fn new(bytes_max: u64, used_bytes: IntGauge) -> Self {
        let units = usize::try_from(bytes_max / UNIT_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        let units_max = units.min(Semaphore::MAX_PERMITS);
        let (units, is_awaited) = (Arc::new(Semaphore::new(units_max)), Arc::default());
        Self { units, units_max, used_bytes, is_awaited }
    }

    /// A share of `bytes`, unless it is not to be had now.
    pub(super) fn try_take(&self, bytes: u64) -> Option<Share> {
        let permit = self.permits(bytes.div_ceil(UNIT_BYTES))?;
        Some(Share { budget: self.clone(), permit })
    }

    /// Whether that much is free now. It may be gone when it is asked for.
    pub(super) fn has(&self, bytes: u64) -> bool {
        self.units.available_permits() as u64 >= bytes.div_ceil(UNIT_BYTES)
    }

    /// Whether so much could be had if nobody else had any.
    pub(super) fn could_have(&self, bytes: u64) -> bool {
        self.units_max as u64 >= bytes.div_ceil(UNIT_BYTES)
    }

    fn permits(&self, units: u64) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(units).ok()?;
        let permit = Arc::clone(&self.units).try_acquire_many_owned(units).ok()?;
        self.used_bytes.add(i64::from(units) * UNIT_BYTES.cast_signed());
        Some(permit)
    }
}

impl Share {
    /// How large it is.
    pub(super) fn bytes(&self) -> u64 {
        self.permit.num_permits() as u64 * UNIT_BYTES
    }

    /// Grows the share to `bytes`. False, and nothing changed, if that is not to be had now.
    pub(super) fn try_grow_to(&mut self, bytes: u64) -> bool {
        let has = self.permit.num_permits() as u64;
        let more = bytes.div_ceil(UNIT_BYTES).saturating_sub(has);
        if more == 0 {
            return true;
        }
        let Some(permit) = self.budget.permits(more) else { return false };
        self.permit.merge(permit);
        true
    }

    /// As [`Self::try_grow_to`]; whoever has the turn, or gets it, waits a little for what others give back. Blocks the
    /// thread meanwhile, which must be one that may (`spawn_blocking`).
    pub(super) fn grow_in_turn_to(&mut self, bytes: u64, turn: &mut Option<Turn>) -> bool {
        /// Longest wait: as long as others need to be refused, not to be stored.
        const WAIT: Duration = Duration::from_secs(1);
        if self.try_grow_to(bytes) {
            return true;
        }
        if turn.is_none() {
            let is_free = !self.budget.is_awaited.swap(true, Ordering::Acquire);
            *turn = is_free.then(|| Turn(Arc::clone(&self.budget.is_awaited)));
        }
        if turn.is_none() || !self.could_grow_to(bytes) {
            return false;
        }
        let has = self.permit.num_permits() as u64;
        let more = bytes.div_ceil(UNIT_BYTES).saturating_sub(has);
        let (Ok(more), Ok(runtime)) = (u32::try_from(more), Handle::try_current()) else {
            return false;
        };
        // What others give back goes to who waits first, so that nobody takes it away.
        let waiting = Arc::clone(&self.budget.units).acquire_many_owned(more);
        let Ok(Ok(permit)) = runtime.block_on(async { timeout(WAIT, waiting).await }) else {
            return false;
        };
        self.budget.used_bytes.add(i64::from(more) * UNIT_BYTES.cast_signed());
        self.permit.merge(permit);
        true
    }

    /// Gives back what is above `bytes`.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let has = self.permit.num_permits() as u64;
        let less = has.saturating_sub(bytes.div_ceil(UNIT_BYTES));
        if usize::try_from(less).ok().and_then(|it| self.permit.split(it)).is_some() {
            self.budget.used_bytes.sub(i64::try_from(less * UNIT_BYTES).unwrap_or(i64::MAX));
        }
    }

    /// Whether it could be so large if it were the only one.
    pub(super) fn could_grow_to(&self, bytes: u64) -> bool {
        self.budget.could_have(bytes)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used_bytes.sub(i64::try_from(self.bytes()).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back() {
        let gauge = IntGauge::new("g", "h").unwrap();
        let budget = Budget::new(10 * 1024, gauge.clone());
        let mut one = budget.try_take(4 * 1024).unwrap();
        assert!(one.try_grow_to(8 * 1024));
        assert!(!one.try_grow_to(11 * 1024));
        assert_eq!(gauge.get(), 8 * 1024);
        assert!(budget.try_take(2 * 1024 + 1).is_none());
        let two = budget.try_take(1).unwrap();
        assert_eq!(gauge.get(), 9 * 1024);
        assert!(budget.could_have(10 * 1024) && !one.could_grow_to(10 * 1024 + 1));
        one.shrink_to(1025);
        assert_eq!((gauge.get(), one.bytes()), (3 * 1024, 2 * 1024));
        one.shrink_to(5 * 1024);
        assert!(one.try_grow_to(4 * 1024));
        drop((one, two));
        assert_eq!(gauge.get(), 0);
        assert!(budget.try_take(10 * 1024).is_some());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_has_the_turn_waits_for_what_others_give_back() {
        let budget = Budget::new(10 * 1024, IntGauge::new("g", "h").unwrap());
        let (mut one, other) = (budget.try_take(4096).unwrap(), budget.try_take(5 * 1024).unwrap());
        let mut late = budget.try_take(0).unwrap();
        let waiting = tokio::task::spawn_blocking(move || {
            let mut turn = None;
            (one.grow_in_turn_to(9 * 1024, &mut turn), one.bytes())
        });
        // What is free is kept for who waits.
        while budget.has(1) && !waiting.is_finished() {
            tokio::task::yield_now().await;
        }
        // Who has no turn does not wait.
        assert!(!late.grow_in_turn_to(2 * 1024, &mut None));
        drop(other);
        assert_eq!(waiting.await.unwrap(), (true, 9 * 1024));
        assert!(!budget.is_awaited.load(Ordering::Acquire));
        assert!(late.try_grow_to(10 * 1024));
    }
}
