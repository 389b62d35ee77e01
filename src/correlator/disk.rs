//! What correlations remember, on disk: a snapshot, and a journal of what was taken since.
//!
//! `snapshot.N` holds all that the journals before `journal.N` told. A new journal begins before its snapshot is
//! written, so that at every moment a snapshot and the journals from its number on hold everything. What is taken is
//! written to the journal without waiting for the disk: it outlives the process. The journal is on the disk a second
//! later, or, with `correlation.sync_each_request`, before the request is answered: then it outlives the machine, too.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::StateError;
use crate::correlate::{Engine, Event, Key, Limits, Plan};

/// What one request brought.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) now_us: i64,
    /// Of each cluster of which something came: its newest event.
    pub(super) newest_us: BTreeMap<Box<str>, i64>,
    pub(super) events: Vec<Event>,
}

/// Takes what a request brought.
pub(super) fn apply(engine: &mut Engine, record: &Record) {
    for (cluster, newest_us) in &record.newest_us {
        engine.passed(cluster, *newest_us, record.now_us);
    }
    engine.arrive(&record.events, record.now_us);
}

#[derive(Debug)]
pub(super) struct Disk {
    dir: PathBuf,
    /// The number of the journal.
    number: u64,
    journal: File,
    journal_bytes: u64,
    /// Whether each record is waited for until it is on the disk.
    syncs: bool,
    /// Whether some of the journal may not be on the disk yet.
    is_ahead: bool,
    /// When a failure was told.
    told: Option<Instant>,
    /// Held as long as we write: two processes would count each other's events.
    _lock: File,
}

const SNAPSHOT: &str = "snapshot.";
const JOURNAL: &str = "journal.";
/// Digits of a number in a name.
const NUMBER_DIGITS: usize = 20;
/// Largest record (bytes): more than any request becomes.
const RECORD_BYTES_MAX: u32 = 1 << 30;
/// Bytes before a record: its length and its checksum.
const HEAD_BYTES: usize = 20;
/// A failure that goes on is told again after so long.
const TELL_EVERY: Duration = Duration::from_secs(60);

impl Disk {
    /// Takes up what the folder holds; with it comes how much of that could not be read.
    pub(super) fn open(
        dir: PathBuf,
        plan: Arc<Plan>,
        limits: Limits,
        syncs: bool,
    ) -> Result<(Engine, Self, u64), StateError> {
        let failed = |source| StateError { path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(failed)?;
        let lock = File::create(dir.join(".k8scop.lock")).map_err(failed)?;
        lock.try_lock().map_err(|error| {
            failed(io::Error::other(format!("another k8scop is here ({error})")))
        })?;
        let (snapshots, journals) = (numbers(&dir, SNAPSHOT), numbers(&dir, JOURNAL));
        let snapshots = snapshots.map_err(failed)?;
        let journals = journals.map_err(failed)?;
        let mut errors = 0;
        let mut restored = None;
        for number in snapshots.iter().rev() {
            let path = path(&dir, SNAPSHOT, *number);
            let engine = fs::read(&path).map_err(|error| error.to_string()).and_then(|bytes| {
                Engine::restore(Arc::clone(&plan), limits, &bytes).map_err(|it| it.to_string())
            });
            match engine {
                Ok(engine) => {
                    restored = Some((engine, *number));
                    break;
                }
                Err(error) => {
                    errors += 1;
                    tracing::error!(%error, file = %path.display(), "what correlations remembered cannot be read");
                }
            }
        }
        let (mut engine, first) = restored.unwrap_or_else(|| (Engine::new(plan, limits), 0));
        for number in journals.iter().filter(|it| **it >= first) {
            let path = path(&dir, JOURNAL, *number);
            if let Err(error) = replay(&path, &mut engine) {
                errors += 1;
                tracing::error!(%error, file = %path.display(), "a journal of correlations cannot be read to its end");
            }
        }
        let last = snapshots.iter().chain(&journals).max().copied().unwrap_or(0);
        let number = last + 1;
        let journal = create(&path(&dir, JOURNAL, number)).map_err(failed)?;
        let mut disk = Self {
            dir: dir.clone(),
            number,
            journal,
            journal_bytes: 0,
            syncs,
            is_ahead: false,
            told: None,
            _lock: lock,
        };
        disk.save(&engine).map_err(failed)?;
        Ok((engine, disk, errors))
    }

    pub(super) fn append(&mut self, record: &Record) -> io::Result<()> {
        let content = postcard::to_allocvec(record).map_err(io::Error::other)?;
        let len = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(HEAD_BYTES + content.len());
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(&sum(&content));
        bytes.extend_from_slice(&content);
        if let Err(error) = self.journal.write_all(&bytes) {
            // Half a record would hide those after it.
            self.journal.set_len(self.journal_bytes)?;
            return Err(error);
        }
        self.journal_bytes += bytes.len() as u64;
        match self.syncs {
            true => self.journal.sync_data(),
            false => {
                self.is_ahead = true;
                Ok(())
            }
        }
    }

    /// The journal, if some of it may not be on the disk yet. Whoever takes it syncs it, and holds nobody up meanwhile.
    pub(super) fn ahead(&mut self) -> io::Result<Option<File>> {
        match std::mem::take(&mut self.is_ahead) {
            true => self.journal.try_clone().map(Some),
            false => Ok(None),
        }
    }

    /// Writes all that is remembered, and begins a new journal.
    pub(super) fn save(&mut self, engine: &Engine) -> io::Result<()> {
        let bytes = engine.snapshot().map_err(io::Error::other)?;
        let number = self.number + 1;
        self.journal = create(&path(&self.dir, JOURNAL, number))?;
        (self.number, self.journal_bytes, self.is_ahead) = (number, 0, false);
        let (new, snapshot) = (self.dir.join("new"), path(&self.dir, SNAPSHOT, number));
        let mut file = File::create(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&new, &snapshot)?;
        File::open(&self.dir)?.sync_all()?;
        for what in [SNAPSHOT, JOURNAL] {
            for old in numbers(&self.dir, what)?.into_iter().filter(|it| *it < number) {
                fs::remove_file(path(&self.dir, what, old))?;
            }
        }
        Ok(())
    }

    /// Tells of a failure, but not of each.
    pub(super) fn tell(&mut self, error: &io::Error) {
        if self.told.is_none_or(|it| it.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            tracing::error!(%error, dir = %self.dir.display(), "what correlations remember cannot be written");
        }
    }
}

fn sum(content: &[u8]) -> [u8; 16] {
    Key::of_content(content).0
}

fn create(path: &Path) -> io::Result<File> {
    // Appending, so that what is cut off after a failure is not left as a hole.
    OpenOptions::new().create_new(true).append(true).open(path)
}

fn path(dir: &Path, what: &str, number: u64) -> PathBuf {
    dir.join(format!("{what}{number:0NUMBER_DIGITS$}"))
}

/// The numbers of the files of this name, in order.
fn numbers(dir: &Path, what: &str) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|it| it.strip_prefix(what));
        // Only names as we write them; a number that none can follow is of no file of ours.
        let number =
            number.filter(|it| it.len() == NUMBER_DIGITS).and_then(|it| it.parse::<u64>().ok());
        numbers.extend(number.filter(|it| *it < u64::MAX / 2));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Takes again what a journal holds. The last record may be cut: the process was killed, and the shipper never heard
/// that it was taken.
fn replay(path: &Path, engine: &mut Engine) -> io::Result<()> {
    let mut reader = io::BufReader::new(File::open(path)?);
    let mut head = [0; HEAD_BYTES];
    loop {
        match reader.read_exact(&mut head) {
            Ok(()) => (),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        let (len, expected) = head.split_at(4);
        let len = <[u8; 4]>::try_from(len).map_or(u32::MAX, u32::from_le_bytes);
        if len > RECORD_BYTES_MAX {
            return Err(io::Error::other("it is damaged"));
        }
        let mut content = Vec::new();
        reader.by_ref().take(u64::from(len)).read_to_end(&mut content)?;
        if content.len() < len as usize {
            return Ok(());
        }
        if sum(&content) != expected {
            return Err(io::Error::other("it is damaged"));
        }
        let record: Record = postcard::from_bytes(&content).map_err(io::Error::other)?;
        apply(engine, &record);
        engine.advance(record.now_us);
    }
}
