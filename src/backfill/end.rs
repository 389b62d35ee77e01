//! The end: what several events mean together, whether all that there is was read, and what is told.

use std::{fs, io, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    BackfillError, Outcome, Voices,
    checkpoint::{Book, Counts, Unit},
    run::Job,
    source,
    spool::Sorted,
};
use crate::report::{Page, Summary, Told};

/// Events that are correlated before their alerts are stored.
const EVENTS_AT_ONCE: usize = 1000;
/// Wait before alerts of several events are sent again.
const WAIT: Duration = Duration::from_secs(1);

/// How it is told.
#[derive(Clone, Debug)]
pub(super) struct Form {
    /// As JSON.
    pub(super) json: bool,
    /// As a page.
    pub(super) html: Option<PathBuf>,
}

/// The last line of `--progress json`, on standard output.
#[derive(Serialize)]
struct Report<'r> {
    outcome: &'static str,
    missing: &'r [String],
    counts: Counts,
    /// Alerts of several events.
    correlations: Correlations,
    summary: Told,
}

/// Alerts of several events.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Correlations {
    created: u64,
    duplicate: u64,
    refused: u64,
}

impl Job {
    /// Tells how it ended.
    pub(super) async fn end(
        &self,
        read: Result<(), BackfillError>,
        voices: &mut Voices<'_>,
    ) -> Result<Outcome, BackfillError> {
        let book = self.book.lock().await;
        if let Err(error) = read {
            (voices.tell)(&how_to_go_on(&book));
            return Err(error);
        }
        let mut summary = book.now.summary.clone();
        let is_over = book.now.units.iter().all(Unit::is_done) && !self.stop.is_cancelled();
        let mut missing = Vec::new();
        let mut correlations = Correlations::default();
        if is_over {
            correlations = self.correlate(&book, &mut summary).await?;
            missing = self.missing(&book).await?;
            if correlations.refused > 0 {
                let count = correlations.refused;
                missing.push(format!("{count} alerts of several events are refused by the output"));
            }
        }
        let outcome = match (is_over, missing.is_empty()) {
            (true, true) => Outcome::Complete,
            (true, false) => Outcome::Incomplete,
            (false, _) if self.is_enough() => Outcome::Complete,
            (false, _) => Outcome::Stopped,
        };
        self.report(&book, &summary, correlations, (outcome, &missing), voices)?;
        if is_over {
            book.remove().map_err(|error| BackfillError::Failed(error.to_string()))?;
        } else {
            (voices.tell)(&how_to_go_on(&book));
        }
        Ok(outcome)
    }

    pub(super) fn report(
        &self,
        book: &Book,
        summary: &Summary,
        correlations: Correlations,
        (outcome, missing): (Outcome, &[String]),
        voices: &mut Voices<'_>,
    ) -> Result<(), BackfillError> {
        let counts = book.now.counts;
        let told = summary.told(Duration::from_millis(book.now.took_ms));
        if let Some(path) = &self.form.html {
            let task = &book.now.task;
            let mut about = vec![("indices", task.index.clone())];
            about.extend(
                [("from", &task.from), ("to", &task.to)]
                    .into_iter()
                    .filter(|(_, it)| !it.is_empty())
                    .map(|(name, it)| (name, it.clone())),
            );
            about.extend(rows(counts, correlations, self.worker.dry_run));
            about.extend(missing.iter().map(|it| ("missing", it.clone())));
            let page = Page { title: "Alerts in the past".into(), about, now: Timestamp::now() };
            fs::write(path, told.page(&page)).map_err(|error| {
                BackfillError::Failed(format!("--html {}: {error}", path.display()))
            })?;
        }
        if self.form.json {
            let outcome = match outcome {
                Outcome::Complete => "complete",
                Outcome::Incomplete => "incomplete",
                Outcome::Stopped => "stopped",
            };
            let report = Report { outcome, missing, counts, correlations, summary: told };
            let text = serde_json::to_string(&report);
            (voices.print)(&text.map_err(|error| BackfillError::Failed(error.to_string()))?);
        } else {
            let rows = rows(counts, correlations, self.worker.dry_run);
            (voices.print)(told.text(&rows).trim_end());
        }
        for text in missing {
            (voices.tell)(&format!("error: {text}"));
        }
        Ok(())
    }

    /// Tells what several events mean together, now that their order is known. When it is stopped, it begins anew: what is
    /// stored is not stored twice.
    async fn correlate(
        &self,
        book: &Book,
        summary: &mut Summary,
    ) -> Result<Correlations, BackfillError> {
        let failed = |error: io::Error| {
            let path = book.events_path();
            BackfillError::Failed(format!("events for correlations: {}: {error}", path.display()))
        };
        let mut correlations = Correlations::default();
        if book.now.events_bytes == 0 {
            return Ok(correlations);
        }
        let mut sorted = Sorted::open(&book.events_path()).map_err(failed)?;
        loop {
            let events = sorted.take(EVENTS_AT_ONCE).map_err(failed)?;
            let is_last = events.is_empty();
            match is_last {
                true => self.correlator.finish_past(),
                false => self.correlator.observe_past(events),
            }
            self.correlator.each_waiting(&mut |planned, level, fired| {
                summary.correlated(planned, level, fired);
            });
            if self.worker.dry_run {
                correlations.created += self.correlator.forget_past() as u64;
            } else {
                self.store_correlations().await?;
            }
            if is_last {
                break;
            }
        }
        let stored = self.correlations();
        Ok(Correlations { created: correlations.created + stored.created, ..stored })
    }

    /// Those that were stored until now.
    pub(super) fn correlations(&self) -> Correlations {
        let alerts = &self.worker.metrics.correlation_alerts;
        let count = |result| alerts.with_label_values(&[result]).get();
        Correlations {
            created: count("created"),
            duplicate: count("duplicate"),
            refused: count("failed"),
        }
    }

    pub(super) async fn store_correlations(&self) -> Result<(), BackfillError> {
        let began = Instant::now();
        while !Arc::clone(&self.correlator).store_past().await {
            if self.stop.is_cancelled() || began.elapsed() >= self.worker.give_up {
                let text = "the output does not take alerts of several events";
                return Err(BackfillError::Failed(text.into()));
            }
            tokio::time::sleep(WAIT).await;
        }
        Ok(())
    }

    /// What the source has and was not read, and what was read in vain.
    async fn missing(&self, book: &Book) -> Result<Vec<String>, BackfillError> {
        let mut missing = Vec::new();
        for unit in &book.now.units {
            let Unit { index, shard, expected, read, .. } = unit;
            if unit.is_gone {
                missing.push(format!(
                    "{index} was deleted: of {expected} documents in shard {shard} {read} were read"
                ));
                continue;
            }
            if read == expected {
                continue;
            }
            // Documents may have been deleted or changed since they were counted.
            let now = source::count(&self.source, unit, &self.query).await?;
            if *read != now {
                missing.push(format!(
                    "{index}, shard {shard}: {read} documents were read, {expected} matched at the beginning and {now} do now"
                ));
            }
        }
        let counts = book.now.counts;
        if counts.refused > 0 {
            missing.push(format!("{} documents are refused by the output", counts.refused));
        }
        if counts.unreadable > 0 {
            missing.push(format!("{} documents cannot be read", counts.unreadable));
        }
        if !counts.is_balanced() {
            missing.push(format!("the counts do not agree: {counts:?}"));
        }
        Ok(missing)
    }
}

pub(super) fn how_to_go_on(book: &Book) -> String {
    format!(
        "stopped: {} documents are done; the same command goes on from {}",
        book.now.counts.read,
        book.path().display(),
    )
}

fn rows(counts: Counts, correlations: Correlations, is_dry: bool) -> Vec<(&'static str, String)> {
    let Counts { matched, unmatched, dead_lettered, refused, unreadable, .. } = counts;
    let mut ended = format!(
        "{} = {matched} matched + {unmatched} unmatched + {dead_lettered} dead-lettered",
        counts.read
    );
    for (count, what) in [(refused, "refused"), (unreadable, "unreadable")] {
        if count > 0 {
            ended.push_str(&format!(" + {count} {what}"));
        }
    }
    let mut rows = vec![("read", ended)];
    let stored = |created: u64, duplicate: u64| match is_dry {
        true => format!("nothing (--dry-run), else {created} alerts"),
        false => format!("{created} alerts, and {duplicate} were there already"),
    };
    rows.push(("stored", stored(counts.alerts_created, counts.alerts_duplicate)));
    let Correlations { created, duplicate, .. } = correlations;
    if created + duplicate > 0 {
        rows.push(("correlated", stored(created, duplicate)));
    }
    if counts.logs > 0 {
        rows.push(("logs", format!("{} stored, or there already", counts.logs)));
    }
    rows
}
