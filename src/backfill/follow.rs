//! Going on with what comes in later (`k8scop -A streaming`).
//!
//! Each document that is written gets the next `_seq_no` of its shard, whatever time it tells. What lies behind the last one
//! that was read is therefore new, however late it comes, and nothing else is.

use std::{
    collections::{HashMap, VecDeque},
    io,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    BackfillError, Options, Outcome, Voices,
    checkpoint::{Book, Unit},
    end::how_to_go_on,
    run::{Job, save},
    source::{self, Query},
    spool::Sorted,
};

/// How old a document may be that comes in now. Older ones are looked for, too, but only as often as this.
const LOOK_BACK: Duration = Duration::from_secs(60 * 60);
/// For how long what was read is counted again: a copy of a shard can show a document before one with a smaller `_seq_no`.
const SETTLES: Duration = Duration::from_secs(60);
/// Events that are correlated before their alerts are stored.
const EVENTS_AT_ONCE: usize = 1000;

/// Where we were in a shard.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    position: i64,
    read: u64,
}

/// Where we were in each shard, for as long as it takes to settle.
#[derive(Debug, Default)]
struct Marks(HashMap<(String, u32), VecDeque<Mark>>);

impl Marks {
    /// Where we were when all that was there has settled by now; before the first look at the beginning. Takes down
    /// where we are.
    fn settled(&mut self, unit: &Unit, now: Instant) -> Mark {
        let marks = self.0.entry((unit.index.clone(), unit.shard)).or_default();
        let first = Mark { at: now, position: unit.first, read: 0 };
        if marks.is_empty() {
            marks.push_back(first);
        }
        marks.push_back(Mark { at: now, position: unit.position, read: unit.read });
        while marks.get(1).is_some_and(|it| now.duration_since(it.at) >= SETTLES) {
            marks.pop_front();
        }
        marks.front().copied().unwrap_or(first)
    }

    /// It is gone on from another place, where the unit stands now.
    fn forget(&mut self, unit: &Unit) {
        let mark = Mark { at: Instant::now(), position: unit.position, read: unit.read };
        self.0.insert((unit.index.clone(), unit.shard), VecDeque::from([mark]));
    }
}

/// Reads what comes in, until it is stopped. `delay` lies between two looks.
pub(super) async fn follow(
    job: &Arc<Job>,
    options: &Options,
    delay: Duration,
    voices: &mut Voices<'_>,
) -> Result<(), BackfillError> {
    let mut marks = Marks::default();
    let mut looked_at_all: Option<Instant> = None;
    loop {
        job.correlate_so_far().await?;
        tokio::select! {
            () = job.stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(delay) => (),
        }
        let is_due = looked_at_all.is_none_or(|it| it.elapsed() >= LOOK_BACK);
        let query = if is_due { job.query.as_ref().clone() } else { recent(options)? };
        if is_due {
            looked_at_all = Some(Instant::now());
        }
        let before = job.book.lock().await.now.counts;
        job.look(&options.index, (&query, is_due), &mut marks).await?;
        Arc::clone(job).read_units().await?;
        let now = job.book.lock().await.now.counts;
        if now.read > before.read {
            let documents = now.read - before.read;
            let alerts = now.alerts_created - before.alerts_created;
            (voices.tell)(&format!("{documents} documents more, {alerts} alerts"));
        }
        if job.is_enough() {
            return Ok(());
        }
    }
}

/// What may have come in since the last look.
fn recent(options: &Options) -> Result<Query, BackfillError> {
    let look_back = SignedDuration::try_from(LOOK_BACK).unwrap_or_default();
    let back = Timestamp::now().saturating_sub(look_back).unwrap_or(Timestamp::MIN);
    let from = options.from.map_or(back, |it| it.max(back));
    Query::new(options.query.as_deref(), &options.time_field, Some(from), options.to)
        .map_err(BackfillError::Usage)
}

impl Job {
    /// Finds out what there is to read now. `is_all`: the query is for all that is meant, not only for the newest.
    async fn look(
        &self,
        index: &str,
        (query, is_all): (&Query, bool),
        marks: &mut Marks,
    ) -> Result<(), BackfillError> {
        for found in source::plan(&self.source, index, query).await? {
            let mut book = self.book.lock().await;
            let is_it =
                |it: &&mut Unit| !it.is_gone && it.shard == found.shard && it.index == found.index;
            match book.now.units.iter_mut().find(is_it) {
                None => {
                    let expected = self.count(&found, found.first, found.last).await?;
                    book.now.units.push(Unit { expected, ..found });
                }
                Some(known) => {
                    if is_all && found.last < known.position {
                        // Its numbers begin anew: the index was deleted, and made again.
                        (known.position, known.last, known.read) = (known.first, found.last, 0);
                        marks.forget(known);
                    }
                    self.more_of(known, found.last, marks).await?;
                }
            }
        }
        save(&mut *self.book.lock().await, &[])
    }

    /// What there is to read of a shard that we know, up to this number.
    async fn more_of(
        &self,
        known: &mut Unit,
        last: i64,
        marks: &mut Marks,
    ) -> Result<(), BackfillError> {
        let settled = marks.settled(known, Instant::now());
        if settled.position < known.position {
            let count = self.count(known, settled.position, known.position).await?;
            // Fewer are no reason: documents are deleted, and one that is changed gets a new number.
            if count > known.read.saturating_sub(settled.read) {
                (known.position, known.read) = (settled.position, settled.read);
                marks.forget(known);
            }
        }
        known.last = known.last.max(last);
        if known.position < known.last {
            known.expected = known.read + self.count(known, known.position, known.last).await?;
        }
        Ok(())
    }

    /// How many documents of a shard are meant, behind the first number and up to the second.
    async fn count(&self, unit: &Unit, first: i64, last: i64) -> Result<u64, BackfillError> {
        let window = Unit { first, last, ..unit.clone() };
        Ok(source::count(&self.source, &window, &self.query).await?)
    }

    /// Tells what the events so far mean together. Unlike at an end, more may come: windows stay open.
    async fn correlate_so_far(&self) -> Result<(), BackfillError> {
        let mut book = self.book.lock().await;
        if book.now.events_bytes > 0 {
            self.feed(&book).map_err(|error| {
                let path = book.events_path();
                BackfillError::Failed(format!(
                    "events for correlations: {}: {error}",
                    path.display()
                ))
            })?;
        }
        self.correlator.advance_past(Timestamp::now());
        let summary = &mut book.now.summary;
        self.correlator
            .each_waiting(&mut |planned, level, fired| summary.correlated(planned, level, fired));
        match self.worker.dry_run {
            true => _ = self.correlator.forget_past(),
            false => self.store_correlations().await?,
        }
        if book.now.events_bytes == 0 {
            return Ok(());
        }
        let forgotten = tokio::task::block_in_place(|| book.forget_events());
        forgotten.map_err(|error| {
            BackfillError::Failed(format!("the checkpoint {}: {error}", book.path().display()))
        })
    }

    fn feed(&self, book: &Book) -> io::Result<()> {
        let mut sorted = Sorted::open(&book.events_path())?;
        loop {
            let events = sorted.take(EVENTS_AT_ONCE)?;
            if events.is_empty() {
                return Ok(());
            }
            self.correlator.observe_past(events);
        }
    }

    /// Tells how far it came.
    pub(super) async fn end_following(
        &self,
        followed: Result<(), BackfillError>,
        voices: &mut Voices<'_>,
    ) -> Result<Outcome, BackfillError> {
        let book = self.book.lock().await;
        if followed.is_ok() {
            let correlations = self.correlations();
            let told = (Outcome::Stopped, &[][..]);
            self.report(&book, &book.now.summary, correlations, told, voices)?;
        }
        (voices.tell)(&how_to_go_on(&book));
        followed.map(|()| Outcome::Complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_again_until_it_has_settled() {
        let (mut marks, start) = (Marks::default(), Instant::now());
        let mut unit = Unit::new("logs", 0, 100, 100);
        let mut settled_at = |unit: &Unit, seconds| {
            let settled = marks.settled(unit, start + Duration::from_secs(seconds));
            (settled.position, settled.read)
        };
        (unit.position, unit.read) = (100, 90);
        assert_eq!(settled_at(&unit, 0), (-1, 0), "all that was read before the first look");
        (unit.position, unit.read) = (120, 105);
        assert_eq!(settled_at(&unit, 10), (-1, 0));
        assert_eq!(settled_at(&unit, 59), (-1, 0));
        assert_eq!(settled_at(&unit, 60), (100, 90));
        assert_eq!(settled_at(&unit, 69), (100, 90));
        assert_eq!(settled_at(&unit, 200), (120, 105));
        // It is gone back to a place: what was taken down since does not count.
        (unit.position, unit.read) = (50, 40);
        marks.forget(&unit);
        let settled = marks.settled(&unit, start + Duration::from_secs(201));
        assert_eq!((settled.position, settled.read), (50, 40));
    }
}
