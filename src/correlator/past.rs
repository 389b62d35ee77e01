//! Events of the past, which are all there: nothing is waited for, and their time is the clock.

use std::sync::Arc;

use jiff::Timestamp;

use super::Correlator;
use crate::{
    correlate::{Event, Fired, Planned},
    rules::Level,
};

impl Correlator {
    /// Takes the next events, in the order of their time.
    pub(crate) fn observe_past(&self, events: Vec<Event>) {
        let mut work = self.work();
        for event in events {
            let at_us = event.at_us;
            work.engine.passed(&event.cluster, at_us, at_us);
            work.engine.observe(event);
            work.engine.advance(at_us);
        }
        self.count(&mut work);
    }

    /// Lets time go on, where more may come.
    pub(crate) fn advance_past(&self, now: Timestamp) {
        let mut work = self.work();
        work.engine.advance(now.as_microsecond());
        self.count(&mut work);
    }

    /// There are no more: windows come to their end.
    pub(crate) fn finish_past(&self) {
        let mut work = self.work();
        work.engine.close();
        self.count(&mut work);
    }

    /// Gives each alert that waits, and is one, to `take`, with its level.
    pub(crate) fn each_waiting(&self, take: &mut dyn FnMut(&Planned, Level, &Fired)) {
        let work = self.work();
        let plan = work.engine.plan();
        for fired in work.engine.fired() {
            let mut all = plan.correlations().iter();
            let planned = all.find(|it| *it.correlation.id == *fired.correlation);
            let Some(planned) = planned else { continue };
            let namespace = fired.namespace(planned);
            let level = self.alerting.grade(planned, namespace, &fired.cluster).level;
            if self.alerting.is_alert(level) {
                take(planned, level, fired);
            }
        }
    }

    /// Stores all alerts that wait. False if some of them are to be sent again.
    pub(crate) async fn store_past(self: &Arc<Self>) -> bool {
        loop {
            let pending = self.pending(&mut self.work().engine, Timestamp::now());
            if pending.is_empty() {
                return true;
            }
            if !self.deliver(pending).await {
                return false;
            }
        }
    }

    /// Throws away the alerts that wait; gives back how many there were.
    pub(crate) fn forget_past(&self) -> usize {
        let mut work = self.work();
        let count = work.engine.fired().len();
        work.engine.stored(count);
        count
    }
}
