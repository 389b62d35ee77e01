//! What is done, on disk. Written anew after each page whose alerts and documents are stored: whatever ends the process, it
//! goes on behind the last page that was written here.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::report::Summary;

/// A checkpoint of another version is not read.
const VERSION: u32 = 1;

/// All that is known of a backfill.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    version: u32,
    /// What is read, and what is done with it.
    pub(super) task: Task,
    /// When it began.
    pub(super) began: String,
    /// How long it took, without the time between two processes.
    pub(super) took_ms: u64,
    pub(super) units: Vec<Unit>,
    pub(super) counts: Counts,
    pub(super) summary: Summary,
    /// How much of the file with events for correlations belongs to it (bytes).
    pub(super) events_bytes: u64,
}

/// What must be the same when it is gone on with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) source: String,
    pub(super) index: String,
    pub(super) from: String,
    pub(super) to: String,
    /// What else the documents must match, as a checksum.
    pub(super) query: String,
    pub(super) write: String,
    pub(super) output: String,
    pub(super) rules: String,
}

/// Documents of one shard of an index, or of a part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unit {
    pub(super) index: String,
    pub(super) shard: u32,
    /// Documents behind this `_seq_no` are meant.
    pub(super) first: i64,
    /// The last `_seq_no` that is meant.
    pub(super) last: i64,
    /// How many match.
    pub(super) expected: u64,
    /// Up to which `_seq_no` all is done.
    pub(super) position: i64,
    /// How many were read.
    pub(super) read: u64,
    /// The index was deleted meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) is_gone: bool,
}

impl Unit {
    pub(super) fn new(index: &str, shard: u32, last: i64, expected: u64) -> Self {
        let (first, position) = (-1, -1);
        let index = index.to_owned();
        Self { index, shard, first, last, expected, position, read: 0, is_gone: false }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_gone || self.position >= self.last
    }
}

/// How the documents ended: `read = matched + unmatched + dead_lettered + refused + unreadable`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) read: u64,
    /// A rule was hit.
    pub(super) matched: u64,
    pub(super) unmatched: u64,
    /// Refused for good, and kept as a dead letter.
    pub(super) dead_lettered: u64,
    /// An alert or the document was refused for good.
    pub(super) refused: u64,
    /// Nothing can be said of what is in it.
    pub(super) unreadable: u64,
    pub(super) alerts_created: u64,
    /// They were there already.
    pub(super) alerts_duplicate: u64,
    /// Documents that were taken out of their carriers, and stored or there already.
    pub(super) logs: u64,
}

impl Counts {
    pub(super) fn add(&mut self, more: Self) {
        self.read += more.read;
        self.matched += more.matched;
        self.unmatched += more.unmatched;
        self.dead_lettered += more.dead_lettered;
        self.refused += more.refused;
        self.unreadable += more.unreadable;
        self.alerts_created += more.alerts_created;
        self.alerts_duplicate += more.alerts_duplicate;
        self.logs += more.logs;
    }

    /// Whether each document that was read ended as one thing.
    pub(super) fn is_balanced(&self) -> bool {
        let Self { read, matched, unmatched, dead_lettered, refused, unreadable, .. } = *self;
        read == matched + unmatched + dead_lettered + refused + unreadable
    }
}

impl Task {
    /// What is not the same, in words; `None` if all is.
    fn differs(&self, now: &Self) -> Option<String> {
        let all = [
            ("the source", &self.source, &now.source),
            ("--index", &self.index, &now.index),
            ("--from", &self.from, &now.from),
            ("--to", &self.to, &now.to),
            ("the query", &self.query, &now.query),
            ("--write", &self.write, &now.write),
            ("the output", &self.output, &now.output),
        ];
        let different = all.into_iter().filter(|(_, before, now)| before != now);
        let mut words: Vec<_> = different
            .map(|(name, before, now)| format!("{name} was `{before}` and is `{now}`"))
            .collect();
        if self.rules != now.rules {
            words.push("the rules are others".into());
        }
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// A short name for a file.
    pub(super) fn name(&self) -> String {
        let mut hash = Sha256::new();
        for part in [&self.source, &self.index, &self.from, &self.to, &self.query, &self.write] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        checksum(hash)
    }
}

/// A checksum as 16 hex digits.
pub(super) fn checksum(hash: Sha256) -> String {
    hash.finalize().iter().take(8).map(|it| format!("{it:02x}")).collect()
}

/// A checkpoint in its file, and the file with events for correlations beside it.
#[derive(Debug)]
pub(super) struct Book {
    path: PathBuf,
    pub(super) now: Checkpoint,
    /// Held as long as we run: two processes would write over each other.
    events: File,
    pub(super) is_resumed: bool,
}

/// Why a checkpoint cannot be used.
#[derive(Debug)]
pub(super) struct BookError(String);

impl fmt::Display for BookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Book {
    /// Opens what is there, or begins with nothing to read yet.
    pub(super) fn open(path: &Path, task: Task, restart: bool) -> Result<Self, BookError> {
        let failed =
            |error: io::Error| BookError(format!("--checkpoint {}: {error}", path.display()));
        let events = File::options()
            .read(true)
            .append(true)
            .create(true)
            .open(beside(path, "events"))
            .map_err(failed)?;
        events.try_lock().map_err(|_held| {
            BookError(format!("--checkpoint {}: another backfill is at it", path.display()))
        })?;
        let before = match fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
            Ok(_) if restart => None,
            Ok(bytes) => Some(read(&bytes, path, &task)?),
        };
        let is_resumed = before.is_some();
        let now = before.unwrap_or_else(|| Checkpoint {
            version: VERSION,
            task,
            began: Timestamp::now().to_string(),
            took_ms: 0,
            units: Vec::new(),
            counts: Counts::default(),
            summary: Summary::default(),
            events_bytes: 0,
        });
        // What was written after the last checkpoint comes again.
        events.set_len(now.events_bytes).map_err(failed)?;
        Ok(Self { path: path.to_owned(), now, events, is_resumed })
    }

    /// Writes events for correlations, and then all that is known.
    pub(super) fn save(&mut self, events: &[u8]) -> io::Result<()> {
        if !events.is_empty() {
            self.events.write_all(events)?;
            self.events.sync_data()?;
            self.now.events_bytes += events.len() as u64;
        }
        let new = beside(&self.path, "new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&self.now).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// The events so far are correlated, and their alerts stored.
    pub(super) fn forget_events(&mut self) -> io::Result<()> {
        self.now.events_bytes = 0;
        self.save(&[])?;
        self.events.set_len(0)
    }

    /// Where the events for correlations are.
    pub(super) fn events_path(&self) -> PathBuf {
        beside(&self.path, "events")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It is over: nothing is left to go on with.
    pub(super) fn remove(&self) -> io::Result<()> {
        for path in [&self.path, &self.events_path()] {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => (),
            }
        }
        Ok(())
    }
}

fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(what);
    path.with_file_name(name)
}

fn read(bytes: &[u8], path: &Path, task: &Task) -> Result<Checkpoint, BookError> {
    /// What every version begins with.
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let wrong = |what: String| {
        BookError(format!(
            "{}: {what}: go on with what it was, begin anew with --restart, or name another file with --checkpoint",
            path.display()
        ))
    };
    let head: Head = serde_json::from_slice(bytes)
        .map_err(|error| wrong(format!("this is no checkpoint ({error})")))?;
    if head.version != VERSION {
        return Err(wrong(format!("it was written by another k8scop (version {})", head.version)));
    }
    let before: Checkpoint = serde_json::from_slice(bytes)
        .map_err(|error| wrong(format!("it cannot be read ({error})")))?;
    match before.task.differs(task) {
        Some(words) => Err(wrong(words)),
        None => Ok(before),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(index: &str) -> Task {
        let text = String::new;
        Task {
            source: "s".into(),
            index: index.into(),
            from: text(),
            to: text(),
            query: text(),
            write: text(),
            output: text(),
            rules: text(),
        }
    }

    #[test]
    fn what_was_not_saved_is_not_there() {
        let dir = std::env::temp_dir().join(format!("k8scop-book-{:016x}", fastrand::u64(..)));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("place");
        let mut book = Book::open(&path, task("a"), false).unwrap();
        assert!(!book.is_resumed);
        let second = Book::open(&path, task("a"), false).unwrap_err().to_string();
        assert!(second.contains("another backfill is at it"), "{second}");
        book.now.counts.read = 5;
        book.save(b"12345").unwrap();
        book.now.counts.read = 9;
        book.events.write_all(b"more").unwrap();
        drop(book);
        let mut book = Book::open(&path, task("a"), false).unwrap();
        assert_eq!((book.is_resumed, book.now.counts.read, book.now.events_bytes), (true, 5, 5));
        book.save(b"67").unwrap();
        assert_eq!(fs::read(book.events_path()).unwrap(), b"1234567");
        drop(book);
        let other = Book::open(&path, task("b"), false).unwrap_err().to_string();
        assert!(other.contains("--index was `a` and is `b`"), "{other}");
        let book = Book::open(&path, task("b"), true).unwrap();
        assert_eq!((book.now.counts.read, fs::read(book.events_path()).unwrap().len()), (0, 0));
        book.remove().unwrap();
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
        fs::remove_dir_all(&dir).unwrap();
    }
}
