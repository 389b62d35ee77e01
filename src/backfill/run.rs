//! Builds the rooms, reads several units at once, and tells at the end whether all that there is was read.

use std::{
    num::NonZero,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use sha2::{Digest, Sha256};
use tokio::{sync::Mutex, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    BackfillError, Options, Outcome, Progress, Voices, Write,
    checkpoint::{Book, Task, Unit, checksum},
    end::Form,
    follow::follow,
    pace::Pace,
    progress::{Meter, Shown},
    scrape::Scrape,
    source::{self, Page, Query, Reader, Source, Trouble},
    work::{Done, Worker},
};
use crate::{
    classify::Classifier,
    config::{self, Config, DeadLetters, OutputConfig},
    correlate,
    correlator::{self, CorrelationSettings, Correlator},
    forward::{Elasticsearch, FileOutput, Forwarder, Output},
    metrics::Metrics,
    prepare::{Preparer, Route},
    receiver::DeadLetterOffice,
};

/// Most units that are read at once, if nobody says how many.
const SLICES_AUTO_MAX: usize = 8;
/// Most reasons that are told of documents that are refused.
const REASONS_MAX: usize = 10;

/// Reads what is there, and treats it as if it came in now. Ends early, with a checkpoint, when `stop` is cancelled.
pub async fn run(
    config: Config,
    options: &Options,
    voices: &mut Voices<'_>,
    stop: CancellationToken,
) -> Result<Outcome, BackfillError> {
    let job = Job::new(config, options, stop).await?;
    let _scrape = match options.metrics_listen {
        Some(address) => Some(Scrape::listen(address, &job.worker.metrics, voices.tell).await?),
        None => None,
    };
    let resumed = job.book.lock().await.is_resumed;
    if resumed {
        let book = job.book.lock().await;
        let done = book.now.units.iter().filter(|it| it.is_done()).count();
        (voices.tell)(&format!(
            "goes on from {}: {} documents are done, {done} of {} shards",
            book.path().display(),
            book.now.counts.read,
            book.now.units.len(),
        ));
    } else {
        job.plan(options).await?;
        job.tell_timeless(options, voices).await?;
    }
    let read = Arc::clone(&job).read_all(voices).await;
    match (&read, options.follow) {
        (Ok(()), Some(delay)) => {
            let followed = follow(&job, options, delay, voices).await;
            job.end_following(followed, voices).await
        }
        _ => job.end(read, voices).await,
    }
}

/// All that a backfill needs.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) source: Arc<Source>,
    pub(super) query: Arc<Query>,
    pub(super) worker: Arc<Worker>,
    pub(super) book: Mutex<Book>,
    slices: usize,
    /// How many documents may still be read.
    left: Option<AtomicU64>,
    pub(super) correlator: Arc<Correlator>,
    pub(super) form: Form,
    meter: Meter,
    progress: Progress,
    began: Instant,
    /// How long it took before, in other processes.
    took_before_ms: u64,
    pub(super) stop: CancellationToken,
    /// Set when a unit cannot go on: the others end behind their page.
    failed: CancellationToken,
}

impl Job {
    async fn new(
        config: Config,
        options: &Options,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, BackfillError> {
        // Fails only where another part of the process has chosen already.
        rustls::crypto::ring::default_provider().install_default().ok();
        let failed = stop.child_token();
        let mut policy = config.policy;
        if options.write == Write::AlertsAndLogs && policy.route == Route::Keep {
            let text = "--write alerts+logs: `audit.route: keep` leaves documents where they are";
            return Err(BackfillError::Usage(text.into()));
        }
        policy.alerting = policy.alerting.holding_none();
        let query =
            Query::new(options.query.as_deref(), &options.time_field, options.from, options.to)
                .map_err(BackfillError::Usage)?;
        let settings = match (&options.source.urls, &config.output) {
            (Some(urls), _) => config::typed_cluster(
                urls,
                options.source.api_key.as_deref(),
                options.source.ca_file.as_deref(),
            )
            .map_err(|error| BackfillError::Usage(error.to_string()))?,
            (None, OutputConfig::Elasticsearch(settings)) => settings.clone(),
            (None, OutputConfig::File(_)) => {
                let text =
                    "--source: is needed: the cluster that is read, such as http://127.0.0.1:9200";
                return Err(BackfillError::Usage(text.into()));
            }
        };
        let pace = Pace::new(options.rate);
        let source =
            Source::open(&settings, config.backoff, options.give_up, pace, failed.clone()).await?;
        if source.is_typed && !options.to_output && !options.dry_run {
            let text = "the source is Elasticsearch 6, which stores nothing without a type: \
                `k8scop backfill` with --output URL or file:DIR stores alerts elsewhere";
            return Err(BackfillError::Usage(text.into()));
        }
        let classifier = Classifier::new(config.rules)
            .map_err(|error| BackfillError::Settings(error.to_string()))?
            .with_plan(Arc::clone(&config.plan));
        let metrics = Metrics::new(classifier.rules())
            .map_err(|error| BackfillError::Settings(error.to_string()))?;
        let metrics = Arc::new(metrics);
        let forwarder = |output| {
            let metrics = Arc::clone(&metrics);
            Arc::new(Forwarder::new(output, config.backoff, config.bulk_bytes_max, metrics))
        };
        let (output, shown) = match config.output {
            OutputConfig::File(settings) if options.to_output => {
                let shown = format!("file:{}", settings.dir.display());
                let file = FileOutput::open(settings);
                let file = file.map_err(|error| BackfillError::Settings(error.to_string()))?;
                (Output::File(Arc::new(file)), shown)
            }
            OutputConfig::Elasticsearch(own) if options.to_output => {
                let shown = own.urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
                (Output::Elasticsearch(Arc::new(cluster(&own, config.backoff)?)), shown)
            }
            _ => {
                let output = cluster(&settings, config.backoff)?;
                (Output::Elasticsearch(Arc::new(output)), "the source".into())
            }
        };
        let namespace = policy.namespace.clone();
        // All alerts of a moment are stored before the next is looked at.
        let limits = correlate::Limits { pending_max: usize::MAX, ..config.correlation.limits };
        let main_forwarder = forwarder(output);
        let office = match config.dead_letters {
            DeadLetters::Report => None,
            DeadLetters::Output => Some(Arc::clone(&main_forwarder)),
            DeadLetters::File(settings) => {
                let file = FileOutput::open(settings);
                let file = file.map_err(|error| BackfillError::Settings(error.to_string()))?;
                Some(forwarder(Output::File(Arc::new(file))))
            }
        };
        let correlator = Correlator::open(correlator::Parts {
            plan: config.plan,
            settings: CorrelationSettings { state: None, limits, sync_each_request: false },
            forwarder: Arc::clone(&main_forwarder),
            target: policy.alerts.clone(),
            alerting: policy.alerting.clone(),
            namespace: namespace.clone(),
            metrics: Arc::clone(&metrics),
        });
        let correlator = correlator.map_err(|error| BackfillError::Settings(error.to_string()))?;
        let task = task(options, &source.identity, &shown, &config.rules_digest);
        let path = options.checkpoint.clone().unwrap_or_else(|| {
            PathBuf::from(format!("k8scop-backfill-{}.checkpoint", task.name()))
        });
        let book = Book::open(&path, task, options.restart)
            .map_err(|error| BackfillError::Usage(error.to_string()))?;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let worker = Worker {
            preparer: Arc::new(Preparer::new(policy, classifier)),
            forwarder: main_forwarder,
            dead_letters: office.map(|forwarder| DeadLetterOffice { forwarder, namespace }),
            metrics,
            write: options.write,
            dry_run: options.dry_run,
            request_deadline: config.limits.request_deadline,
            give_up: options.give_up,
            stop: failed.clone(),
            known: std::sync::Mutex::default(),
        };
        Ok(Arc::new(Self {
            source: Arc::new(source),
            query: Arc::new(query),
            worker: Arc::new(worker),
            slices: options.slices.unwrap_or(cores.min(SLICES_AUTO_MAX)).max(1),
            left: options.docs_max.map(AtomicU64::new),
            correlator: Arc::new(correlator),
            form: Form { json: options.progress == Progress::Json, html: options.html.clone() },
            meter: Meter::default(),
            progress: options.progress,
            began: Instant::now(),
            took_before_ms: book.now.took_ms,
            book: Mutex::new(book),
            stop,
            failed,
        }))
    }

    async fn units(&self, options: &Options) -> Result<Vec<Unit>, Trouble> {
        let units = source::plan(&self.source, &options.index, &self.query).await?;
        match options.follow {
            // What comes in later follows the last document of a shard.
            Some(_) => Ok(units),
            None => source::split(&self.source, units, self.slices, &self.query).await,
        }
    }

    /// Finds out what there is to read.
    async fn plan(&self, options: &Options) -> Result<(), BackfillError> {
        let units = self.units(options).await;
        let mut book = self.book.lock().await;
        match units {
            Ok(units) => {
                book.now.units = units;
                save(&mut book, &[])
            }
            Err(trouble) => {
                // There is nothing to go on with.
                book.remove().map_err(|error| BackfillError::Failed(error.to_string()))?;
                Err(match trouble.status {
                    // It was asked for what is not there, or in a way that is not understood.
                    400 | 404 => BackfillError::Usage(trouble.text),
                    _ => trouble.into(),
                })
            }
        }
    }

    /// Tells of documents that are read by no time, which nobody would miss.
    async fn tell_timeless(
        &self,
        options: &Options,
        voices: &mut Voices<'_>,
    ) -> Result<(), BackfillError> {
        let Options { index, time_field, from, to, .. } = options;
        if from.is_none() && to.is_none() {
            return Ok(());
        }
        let count = source::timeless(&self.source, index, time_field).await?;
        if count > 0 {
            (voices.tell)(&format!(
                "warning: {count} documents of `{index}` have no `{time_field}` that can be searched, and are not read: \
                 name their field with --time-field, or read them without --from and --to"
            ));
        }
        Ok(())
    }

    /// Reads all units that are not done, and tells meanwhile how far it is.
    async fn read_all(self: Arc<Self>, voices: &mut Voices<'_>) -> Result<(), BackfillError> {
        {
            let book = self.book.lock().await;
            let total = book.now.units.iter().map(|it| it.expected).sum();
            self.meter.total.store(total, Ordering::Relaxed);
            self.meter.documents.store(book.now.counts.read, Ordering::Relaxed);
            self.meter.alerts.store(book.now.counts.alerts_created, Ordering::Relaxed);
        }
        let shown = Shown::new(self.progress, &self.meter);
        let mut every = tokio::time::interval(shown.every());
        every.tick().await;
        let mut reading = pin!(Arc::clone(&self).read_units());
        let outcome = loop {
            tokio::select! {
                outcome = &mut reading => break outcome,
                _ = every.tick() => shown.tell(&self.meter, voices.tell),
            }
        };
        shown.end(&self.meter, voices.tell);
        outcome
    }

    /// Reads units, some at once.
    pub(super) async fn read_units(self: Arc<Self>) -> Result<(), BackfillError> {
        let units = self.book.lock().await.now.units.clone();
        let mut waiting = units.into_iter().enumerate().filter(|(_, it)| !it.is_done());
        let mut reading = JoinSet::new();
        let mut outcome = Ok(());
        loop {
            while reading.len() < self.slices && !self.failed.is_cancelled() && !self.is_enough() {
                let Some((place, unit)) = waiting.next() else { break };
                reading.spawn(Arc::clone(&self).read(place, unit));
            }
            let Some(joined) = reading.join_next().await else { return outcome };
            let ended =
                joined.unwrap_or_else(|error| Err(BackfillError::Failed(error.to_string())));
            if let Err(error) = ended
                && outcome.is_ok()
            {
                // The others end behind the page that they are at.
                self.failed.cancel();
                outcome = Err(error);
            }
        }
    }

    /// Reads a unit to its end. The next page is fetched while one is treated.
    async fn read(self: Arc<Self>, place: usize, unit: Unit) -> Result<(), BackfillError> {
        let mut reader = Reader::new(&self.source, &self.query, &unit);
        let outcome = self.pages(&mut reader, place, &unit).await;
        reader.close().await;
        match outcome {
            Err(Ended::Gone) => {
                tracing::error!(index = unit.index, "the index was deleted while it was read");
                let mut book = self.book.lock().await;
                if let Some(unit) = book.now.units.get_mut(place) {
                    unit.is_gone = true;
                }
                save(&mut book, &[])
            }
            Err(Ended::Failed(error)) => Err(error),
            Ok(()) => Ok(()),
        }
    }

    async fn pages(&self, reader: &mut Reader, place: usize, unit: &Unit) -> Result<(), Ended> {
        let mut next = self.fetch(reader, unit.position).await?;
        while let Some(mut page) = next {
            let Some(is_enough) = self.take(&mut page) else { break };
            let is_last = page.position >= unit.last || is_enough;
            let position = page.position;
            let treated = async {
                let done = self.worker.treat(&unit.index, &page).await?;
                self.commit(place, position, done).await
            };
            let fetched =
                async { if is_last { Ok(None) } else { self.fetch(reader, position).await } };
            let (treated, fetched) = tokio::join!(treated, fetched);
            treated?;
            next = fetched?;
        }
        Ok(())
    }

    /// The next page; `None` if we are to stop.
    async fn fetch(&self, reader: &mut Reader, after: i64) -> Result<Option<Page>, Ended> {
        let asked = async {
            self.source.pace.ready().await;
            reader.page(after).await
        };
        let page = tokio::select! {
            () = self.failed.cancelled() => return Ok(None),
            page = asked => page?,
        };
        self.source.pace.read(page.hits);
        Ok(Some(page))
    }

    /// Takes of the documents that may still be read. The page keeps those; true after the last, `None` if there are none.
    fn take(&self, page: &mut Page) -> Option<bool> {
        let Some(left) = &self.left else { return Some(false) };
        let hits = page.hits as u64;
        let less = |it: u64| Some(it.saturating_sub(hits));
        let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).unwrap_or(0);
        if before < hits {
            page.cut(usize::try_from(before).unwrap_or(usize::MAX));
        }
        (before > 0).then_some(before <= hits)
    }

    /// All documents that may be read are.
    pub(super) fn is_enough(&self) -> bool {
        self.left.as_ref().is_some_and(|it| it.load(Ordering::Relaxed) == 0)
    }

    /// Writes down that a page is done.
    async fn commit(&self, place: usize, position: i64, done: Done) -> Result<(), BackfillError> {
        for reason in done.refused.iter().take(REASONS_MAX) {
            tracing::error!(reason, "a document is refused for good");
        }
        let mut events = Vec::new();
        super::spool::write(&done.events, &mut events)
            .map_err(|error| BackfillError::Failed(format!("events for correlations: {error}")))?;
        let mut book = self.book.lock().await;
        book.now.took_ms = self.took_before_ms
            + u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.meter.documents.fetch_add(done.counts.read, Ordering::Relaxed);
        self.meter.alerts.fetch_add(done.counts.alerts_created, Ordering::Relaxed);
        if let Some(unit) = book.now.units.get_mut(place) {
            unit.position = position;
            unit.read += done.counts.read;
        }
        book.now.counts.add(done.counts);
        book.now.summary.merge(done.summary);
        save(&mut book, &events)
    }
}

/// Why a unit was not read to its end.
enum Ended {
    /// Its index was deleted.
    Gone,
    Failed(BackfillError),
}

impl From<Trouble> for Ended {
    fn from(trouble: Trouble) -> Self {
        match trouble.kind.as_str() {
            "index_not_found_exception" => Self::Gone,
            _ => Self::Failed(trouble.into()),
        }
    }
}

impl From<BackfillError> for Ended {
    fn from(error: BackfillError) -> Self {
        Self::Failed(error)
    }
}

impl From<Trouble> for BackfillError {
    fn from(trouble: Trouble) -> Self {
        Self::Failed(match trouble.status {
            401 => format!(
                "{}: give a key with --api-key, or user and password in --source",
                trouble.text
            ),
            403 => format!("{}: the right `read` on the indices is needed", trouble.text),
            _ => trouble.text,
        })
    }
}

pub(super) fn save(book: &mut Book, events: &[u8]) -> Result<(), BackfillError> {
    let saved = tokio::task::block_in_place(|| book.save(events));
    saved.map_err(|error| {
        BackfillError::Failed(format!("the checkpoint {}: {error}", book.path().display()))
    })
}

fn cluster(
    settings: &crate::forward::ElasticsearchSettings,
    backoff: crate::forward::Backoff,
) -> Result<Elasticsearch, BackfillError> {
    Elasticsearch::new(settings, backoff)
        .map_err(|error| BackfillError::Settings(error.to_string()))
}

fn task(options: &Options, source: &str, output: &str, rules: &config::RulesDigest) -> Task {
    let time = |it: Option<jiff::Timestamp>| it.map(|it| it.to_string()).unwrap_or_default();
    let query = match &options.query {
        // It may be secret.
        Some(text) => checksum(Sha256::new_with_prefix(text)),
        None => String::new(),
    };
    let mut write = String::from(match options.write {
        Write::Alerts => "alerts",
        Write::AlertsAndLogs => "alerts+logs",
    });
    if options.dry_run {
        write.push_str(" --dry-run");
    }
    if options.follow.is_some() {
        write.push_str(", streaming");
    }
    Task {
        source: source.to_owned(),
        index: options.index.clone(),
        from: time(options.from),
        to: time(options.to),
        query: format!("{}{query}", options.time_field),
        write,
        output: output.to_owned(),
        rules: checksum(Sha256::new_with_prefix(rules)),
    }
}
