use std::{
    collections::{HashSet, VecDeque},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{DeadLetterError, Filter, PORTION_BYTES_MAX, PORTION_LETTERS_MAX, letter::Letter};
use crate::prepare::DATASET_DEAD_LETTERS;

/// Ids of letters that were replayed, one a line. The files with the letters belong to the server.
const REPLAYED: &str = "replayed";

/// Letters in the files of a folder.
#[derive(Debug)]
pub(super) struct Files {
    dir: PathBuf,
    filter: Filter,
    /// What is not read yet, the oldest first.
    paths: VecDeque<PathBuf>,
    reader: Option<BufReader<File>>,
    /// Letters that are not to be read again.
    known: HashSet<[u8; 16]>,
    /// Where replayed letters are noted; opened when there is one.
    note: Option<File>,
    pub(super) unreadable: u64,
}

/// An action line of the file output.
#[derive(Deserialize)]
struct Action {
    create: Target,
}

#[derive(Deserialize)]
struct Target {
    _index: String,
    _id: String,
}

impl Files {
    /// A folder that is not there holds no letters.
    pub(super) fn open(dir: &Path, filter: Filter) -> Result<Self, DeadLetterError> {
        let mut files = Self {
            dir: dir.to_owned(),
            filter,
            paths: VecDeque::new(),
            reader: None,
            known: HashSet::new(),
            note: None,
            unreadable: 0,
        };
        files.find().map_err(|error| failed(dir, &error))?;
        let note = dir.join(REPLAYED);
        files.learn(&note).map_err(|error| failed(&note, &error))?;
        Ok(files)
    }

    fn find(&mut self) -> io::Result<()> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let index = name.to_str().and_then(|it| it.strip_suffix(".ndjson"));
            if let Some(index) = index.filter(|it| it.starts_with(&stream_start())) {
                // `INDEX.000001` was set aside before `INDEX` was begun.
                let set_aside = index.rsplit_once('.').filter(|(_, it)| it.len() == 6);
                let (index, number) = match set_aside.map(|(index, it)| (index, it.parse())) {
                    Some((index, Ok(number))) => (index, number),
                    _ => (index, u32::MAX),
                };
                names.push((index.to_owned(), number, name));
            }
        }
        names.sort();
        self.paths = names.into_iter().map(|(.., name)| self.dir.join(name)).collect();
        Ok(())
    }

    fn learn(&mut self, note: &Path) -> io::Result<()> {
        let reader = match File::open(note) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => BufReader::new(other?),
        };
        for line in reader.lines() {
            self.known.insert(key(&line?));
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<Vec<Letter>>, DeadLetterError> {
        let (mut letters, mut bytes) = (Vec::new(), 0);
        while letters.len() < PORTION_LETTERS_MAX && bytes < PORTION_BYTES_MAX {
            let Some(letter) = self.next_letter()? else { break };
            bytes += letter.lines.len();
            letters.push(letter);
        }
        Ok((!letters.is_empty()).then_some(letters))
    }

    fn next_letter(&mut self) -> Result<Option<Letter>, DeadLetterError> {
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let Some(path) = self.paths.front() else { return Ok(None) };
                    let file = File::open(path).map_err(|error| failed(path, &error))?;
                    self.reader.insert(BufReader::new(file))
                }
            };
            let pair = pair(reader).map_err(|error| failed(&self.dir, &error))?;
            let Some((action, document)) = pair else {
                self.reader = None;
                self.paths.pop_front();
                continue;
            };
            let Some(letter) = read(&action, &document) else {
                self.unreadable += 1;
                continue;
            };
            // A letter is kept twice where the server did not know any more that it had it.
            if self.filter.takes(&letter) && self.known.insert(key(&letter.id)) {
                return Ok(Some(letter));
            }
        }
    }

    /// Whether there is anything to read.
    pub(super) fn has_any(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Makes sure that no other replay sends these letters, and that they can be noted.
    pub(super) fn claim(&mut self) -> Result<(), DeadLetterError> {
        let path = self.dir.join(REPLAYED);
        if self.note.is_none() {
            let note = open_note(&path, &self.dir).map_err(|error| failed(&path, &error))?;
            self.note = Some(note);
            // Another one may have ended since we looked.
            self.learn(&path).map_err(|error| failed(&path, &error))?;
        }
        Ok(())
    }

    /// Notes that letters were replayed. They are on the disk when this returns.
    pub(super) fn remove(&mut self, letters: &[Letter]) -> Result<(), DeadLetterError> {
        self.claim()?;
        let lines: String = letters.iter().flat_map(|it| [it.id.as_str(), "\n"]).collect();
        let Some(note) = self.note.as_mut().filter(|_| !lines.is_empty()) else { return Ok(()) };
        note.write_all(lines.as_bytes())
            .and_then(|()| note.sync_data())
            .map_err(|error| failed(&self.dir.join(REPLAYED), &error))
    }
}

/// Two replays at once would send letters twice, so the second one does not begin.
fn open_note(path: &Path, dir: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    let mut note = OpenOptions::new().create(true).append(true).read(true).open(path)?;
    note.try_lock()
        .map_err(|error| io::Error::other(format!("another replay writes here ({error})")))?;
    let mut last = Vec::new();
    if note.metadata()?.len() > 0 {
        note.seek(SeekFrom::End(-1))?;
        (&note).take(1).read_to_end(&mut last)?;
    }
    // What a crash left half-written is no id; the next one must not become a part of it.
    if last.first().is_some_and(|it| *it != b'\n') {
        note.write_all(b"\n")?;
    }
    if is_new {
        File::open(dir)?.sync_all()?;
    }
    Ok(note)
}

/// The next action and its document; `None` at the end, or before a pair that is not written whole yet.
fn pair(reader: &mut BufReader<File>) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut line = || {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line)?;
        Ok::<_, io::Error>(line.pop_if(|last| *last == b'\n').map(|_| line))
    };
    let Some(action) = line()? else { return Ok(None) };
    Ok(line()?.map(|document| (action, document)))
}

fn read(action: &[u8], document: &[u8]) -> Option<Letter> {
    let Action { create } = serde_json::from_slice(action).ok()?;
    Letter::read(create._id, create._index, std::str::from_utf8(document).ok()?)
}

fn stream_start() -> String {
    format!("logs-{DATASET_DEAD_LETTERS}-")
}

fn key(id: &str) -> [u8; 16] {
    let mut key = [0; 16];
    key.iter_mut().zip(Sha256::digest(id)).for_each(|(to, from)| *to = from);
    key
}

fn failed(path: &Path, error: &io::Error) -> DeadLetterError {
    DeadLetterError::Failed(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn folder() -> Folder {
        let dir = std::env::temp_dir().join(format!("k8scop-letters-{}", fastrand::u64(..)));
        fs::create_dir_all(&dir).unwrap();
        Folder(dir)
    }

    fn stored(id: &str) -> String {
        format!(
            "{{\"create\":{{\"_index\":\"logs-k8scop.dead_letter-x\",\"_id\":\"{id}\"}}}}\n{{\"@timestamp\":\"2026-11-22T00:00:00.000Z\",\"error\":{{}},\"k8scop\":{{\"dead_letter\":{{\"operation\":\"index\",\"status\":400,\"lines\":\"garbage\\n\"}}}}}}\n"
        )
    }

    fn ids(folder: &Folder) -> Vec<String> {
        let mut files = Files::open(&folder.0, Filter::default()).unwrap();
        let mut ids = Vec::new();
        while let Some(letters) = files.next().unwrap() {
            ids.extend(letters.into_iter().map(|it| it.id));
        }
        ids
    }

    #[test]
    fn all_files_are_read_in_order_and_each_letter_once() {
        let folder = folder();
        assert!(ids(&folder).is_empty());
        for (name, text) in [
            ("logs-k8scop.dead_letter-x.ndjson", stored("4") + &stored("1")),
            ("logs-k8scop.dead_letter-x.000002.ndjson", stored("3") + "{\"a\":1}\n{}\n"),
            ("logs-k8scop.dead_letter-x.000001.ndjson", stored("1") + &stored("2")),
            ("logs-other-x.ndjson", stored("9")),
        ] {
            fs::write(folder.0.join(name), text).unwrap();
        }
        assert_eq!(ids(&folder), ["1", "2", "3", "4"]);
    }

    #[test]
    fn a_letter_that_is_being_written_is_not_read() {
        let folder = folder();
        let (path, whole) = (folder.0.join("logs-k8scop.dead_letter-x.ndjson"), stored("2"));
        for cut in 0..whole.len() {
            fs::write(&path, stored("1") + whole.split_at(cut).0).unwrap();
            assert_eq!(ids(&folder), ["1"], "cut at {cut}");
        }
    }

    #[test]
    fn what_was_replayed_is_known_even_after_a_crash() {
        let folder = folder();
        let path = folder.0.join("logs-k8scop.dead_letter-x.ndjson");
        fs::write(&path, stored("1") + &stored("2") + &stored("3")).unwrap();
        fs::write(folder.0.join(REPLAYED), "1\nhalf").unwrap();
        let mut files = Files::open(&folder.0, Filter::default()).unwrap();
        let mut letters = files.next().unwrap().unwrap();
        letters.truncate(1);
        files.remove(&letters).unwrap();
        assert_eq!(ids(&folder), ["3"]);
        let mut second = Files::open(&folder.0, Filter::default()).unwrap();
        let error = second.remove(&letters).unwrap_err().to_string();
        assert!(error.contains("another replay"), "{error}");
    }
}
