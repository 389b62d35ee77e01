//! Correlation at work: takes what the receiver stored, keeps it on disk, lets time go on and delivers the alerts.
//! What several events mean is [`crate::correlate`]'s to say.

mod alerts;
mod disk;
mod past;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::header::HeaderValue;
use jiff::Timestamp;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::disk::{Disk, Record};
use crate::{
    alerts::Policy,
    correlate::{Counts, Engine, Event, Limits, Plan},
    forward::Forwarder,
    metrics::Metrics,
    prepare::AlertTarget,
};

/// How much correlations remember, and where.
#[derive(Clone, Debug)]
pub struct CorrelationSettings {
    /// The folder of what is remembered.
    pub state: Option<PathBuf>,
    /// Whether a request is answered only when what it brought is on the disk.
    pub sync_each_request: bool,
    /// How much.
    pub limits: Limits,
}

/// A folder that cannot be used.
#[derive(Debug, Error)]
#[error("correlation.state {}", path.display())]
pub struct StateError {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: std::io::Error,
}

/// What a correlator is made of.
#[derive(Debug)]
pub struct Parts {
    /// What is looked for.
    pub plan: Arc<Plan>,
    /// How much is remembered, and where.
    pub settings: CorrelationSettings,
    /// Stores the alerts.
    pub forwarder: Arc<Forwarder>,
    /// Where they go.
    pub target: AlertTarget,
    /// Which of them are told, and where some go.
    pub alerting: Policy,
    /// Namespace of their data stream where their events have none.
    pub namespace: String,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Correlates what is stored.
#[derive(Debug)]
pub struct Correlator {
    work: Mutex<Work>,
    limits: Limits,
    /// The newest event of each cluster that went by since time last went on (microseconds since 1970).
    newest_us: Mutex<BTreeMap<Box<str>, i64>>,
    /// What the last shipper showed whose events are stored: where we have no credentials, alerts go with these.
    authorization: Mutex<Option<HeaderValue>>,
    forwarder: Arc<Forwarder>,
    target: AlertTarget,
    alerting: Policy,
    namespace: String,
    metrics: Arc<Metrics>,
}

/// What is changed together.
#[derive(Debug)]
struct Work {
    engine: Engine,
    disk: Option<Disk>,
    /// What is in the metrics already.
    counted: Counts,
}

/// How often time goes on.
const TICK: Duration = Duration::from_secs(1);
/// How often what is remembered is written whole.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(60);

impl Correlator {
    /// Takes up what the folder holds. What cannot be read is told, and forgotten.
    pub fn open(parts: Parts) -> Result<Self, StateError> {
        let Parts { plan, settings, forwarder, target, alerting, namespace, metrics } = parts;
        let (limits, plan) = (settings.limits, Arc::new(alerting.adjusted(&plan)));
        let (engine, disk) = match settings.state {
            Some(dir) => {
                let (engine, disk, errors) =
                    Disk::open(dir, plan, limits, settings.sync_each_request)?;
                metrics.correlation_state_errors.inc_by(errors);
                (engine, Some(disk))
            }
            None => (Engine::new(plan, limits), None),
        };
        let counted = engine.counts();
        Ok(Self {
            work: Mutex::new(Work { engine, disk, counted }),
            limits,
            newest_us: Mutex::default(),
            authorization: Mutex::new(None),
            forwarder,
            target,
            alerting,
            namespace,
            metrics,
        })
    }

    /// Other correlations: those that are the same go on.
    pub fn uses(&self, plan: &Plan) {
        let mut work = self.work();
        let plan = Arc::new(self.alerting.adjusted(plan));
        let empty = Engine::new(Arc::clone(&plan), self.limits);
        let before = std::mem::replace(&mut work.engine, empty);
        work.engine = before.with_plan(plan);
    }

    /// Takes events that are stored; the newest of all of a cluster that came with them happened at `newest_us`. What it takes is on
    /// its way to the disk when this returns, and there a second later; with `sync_each_request` it is there.
    pub async fn observe(
        self: &Arc<Self>,
        events: Vec<Event>,
        newest_us: BTreeMap<Box<str>, i64>,
        authorization: Option<&HeaderValue>,
    ) {
        if events.is_empty() {
            let mut passed = lock(&self.newest_us);
            for (cluster, newest_us) in newest_us {
                let before = passed.entry(cluster).or_insert(newest_us);
                *before = newest_us.max(*before);
            }
            return;
        }
        if let Some(authorization) = authorization {
            *lock(&self.authorization) = Some(authorization.clone());
        }
        let own = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let now_us = Timestamp::now().as_microsecond();
            own.take(&Record { now_us, newest_us, events });
        });
        if let Err(error) = work.await {
            tracing::error!(%error, "events were not correlated");
        }
    }

    fn take(&self, record: &Record) {
        let mut work = self.work();
        let Work { engine, disk, .. } = &mut *work;
        if let Some(disk) = disk
            && let Err(error) = disk.append(record)
        {
            // They are stored, and seen: only a kill would lose them here.
            self.failed(Some(disk), &error);
        }
        disk::apply(engine, record);
    }

    /// Lets time go on until `stop`, and writes at last what is remembered.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut wait, mut try_at, mut snapshot_at) =
            (TICK, Instant::now(), Instant::now() + SNAPSHOT_EVERY);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(TICK) => (),
            }
            let own = Arc::clone(&self);
            let is_due = Instant::now() >= snapshot_at;
            let pending = tokio::task::spawn_blocking(move || own.tick(is_due)).await;
            if is_due {
                snapshot_at = Instant::now() + SNAPSHOT_EVERY;
            }
            let Ok(pending) = pending else { continue };
            if pending.is_empty() || Instant::now() < try_at {
                continue;
            }
            match self.deliver(pending).await {
                true => wait = TICK,
                false => {
                    try_at = Instant::now() + wait;
                    wait = (wait * 2).min(SNAPSHOT_EVERY);
                }
            }
        }
        let last = tokio::task::spawn_blocking(move || self.save(&mut self.work()));
        if let Err(error) = last.await {
            tracing::error!(%error, "what correlations remember was not written");
        }
    }

    /// Lets time go on, and gives back alerts that are to be stored.
    fn tick(&self, is_due: bool) -> Vec<alerts::Pending> {
        let now = Timestamp::now();
        let passed = std::mem::take(&mut *lock(&self.newest_us));
        let mut work = self.work();
        if work.engine.plan().is_empty() {
            return Vec::new();
        }
        for (cluster, newest_us) in passed {
            work.engine.passed(&cluster, newest_us, now.as_microsecond());
        }
        work.engine.advance(now.as_microsecond());
        if is_due {
            self.save(&mut work);
        }
        self.count(&mut work);
        let pending = self.pending(&mut work.engine, now);
        let ahead = work.disk.as_mut().map_or(Ok(None), Disk::ahead);
        drop(work);
        if let Err(error) = ahead.and_then(|it| it.map_or(Ok(()), |it| it.sync_data())) {
            self.failed(self.work().disk.as_mut(), &error);
        }
        pending
    }

    fn failed(&self, disk: Option<&mut Disk>, error: &std::io::Error) {
        self.metrics.correlation_state_errors.inc();
        if let Some(disk) = disk {
            disk.tell(error);
        }
    }

    fn save(&self, work: &mut Work) {
        let Work { engine, disk: Some(disk), .. } = work else { return };
        if let Err(error) = disk.save(engine) {
            self.failed(Some(disk), &error);
        }
    }

    fn work(&self) -> MutexGuard<'_, Work> {
        lock(&self.work)
    }

    fn count(&self, work: &mut Work) {
        let (now, before) = (work.engine.counts(), work.counted);
        let metrics = &self.metrics;
        for (result, now, before) in [
            ("taken", now.events, before.events),
            ("duplicate", now.duplicate, before.duplicate),
            ("late", now.late, before.late),
            ("ahead", now.ahead, before.ahead),
            ("too_late", now.too_late, before.too_late),
            ("hurried", now.hurried, before.hurried),
            ("cut", now.cut, before.cut),
        ] {
            let count = now.saturating_sub(before);
            metrics.correlation_events.with_label_values(&[result]).inc_by(count);
        }
        for (result, now, before) in [
            ("told", now.fired, before.fired),
            ("suppressed", now.suppressed, before.suppressed),
            ("withheld", now.withheld, before.withheld),
        ] {
            let count = now.saturating_sub(before);
            metrics.correlation_matches.with_label_values(&[result]).inc_by(count);
        }
        for (what, now, before) in [
            ("groups", now.evicted_groups, before.evicted_groups),
            ("values", now.evicted_values, before.evicted_values),
        ] {
            let count = now.saturating_sub(before);
            metrics.correlation_evicted.with_label_values(&[what]).inc_by(count);
        }
        let lost = now.lost.saturating_sub(before.lost);
        metrics.correlation_alerts.with_label_values(&["lost"]).inc_by(lost);
        if lost > 0 {
            tracing::error!(lost, "alerts of correlations are lost: too many wait to be stored");
        }
        let engine = &work.engine;
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (what, count) in [
            ("groups", engine.group_count()),
            ("values", engine.value_count()),
            ("held", engine.held_count()),
            ("pending", engine.fired().len()),
        ] {
            metrics.correlation_remembered.with_label_values(&[what]).set(gauge(count));
        }
        metrics.correlation_bytes.set(gauge(engine.bytes()));
        work.counted = now;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
