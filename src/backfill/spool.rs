//! Events for correlations, kept on disk until all is read: only then is it known in which order they happened.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use crate::correlate::{Event, Key};

/// How much is sorted at once (bytes, as they are on disk).
const RUN_BYTES_MAX: usize = 32 << 20;
/// Largest event (bytes). Its texts are cut, so that it has a few thousand.
const EVENT_BYTES_MAX: u32 = 16 << 20;

/// Appends events as records: length, then content.
pub(super) fn write(events: &[Event], out: &mut Vec<u8>) -> io::Result<()> {
    for event in events {
        let content = postcard::to_allocvec(event).map_err(io::Error::other)?;
        let len = u32::try_from(content.len()).map_err(io::Error::other)?;
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&content);
    }
    Ok(())
}

/// The next record, and how long it is.
fn read(from: &mut impl Read) -> io::Result<Option<(Event, usize)>> {
    let mut len = [0; 4];
    match from.read_exact(&mut len) {
        Ok(()) => (),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let len = u32::from_le_bytes(len);
    if len > EVENT_BYTES_MAX {
        return Err(io::Error::other("it is damaged"));
    }
    let mut content = vec![0; len as usize];
    from.read_exact(&mut content)?;
    let event = postcard::from_bytes(&content).map_err(io::Error::other)?;
    Ok(Some((event, content.len())))
}

/// The events of a file in the order of their time. What does not fit into memory at once is sorted in runs, which lie
/// beside the file meanwhile.
#[derive(Debug)]
pub(super) struct Sorted {
    runs: Vec<Run>,
    /// The next event of each run.
    next: BinaryHeap<Reverse<(i64, Key, usize)>>,
    heads: Vec<Option<Event>>,
}

#[derive(Debug)]
struct Run {
    file: BufReader<File>,
    path: PathBuf,
}

impl Drop for Run {
    fn drop(&mut self) {
        // One that stays is written over by the next backfill.
        fs::remove_file(&self.path).ok();
    }
}

impl Sorted {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::open_in_runs(path, RUN_BYTES_MAX)
    }

    fn open_in_runs(path: &Path, run_bytes_max: usize) -> io::Result<Self> {
        let mut from = BufReader::new(File::open(path)?);
        let (mut runs, mut events, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some((event, len)) = read(&mut from)? {
            bytes += len;
            events.push(event);
            if bytes >= run_bytes_max {
                runs.push(Run::write(path, runs.len(), &mut events)?);
                bytes = 0;
            }
        }
        runs.push(Run::write(path, runs.len(), &mut events)?);
        let heads = runs.iter().map(|_| None).collect();
        let mut sorted = Self { runs, next: BinaryHeap::new(), heads };
        (0..sorted.runs.len()).try_for_each(|it| sorted.advance(it))?;
        Ok(sorted)
    }

    /// Reads the next event of a run.
    fn advance(&mut self, run: usize) -> io::Result<()> {
        let (Some(of), Some(head)) = (self.runs.get_mut(run), self.heads.get_mut(run)) else {
            return Ok(());
        };
        *head = read(&mut of.file)?.map(|(event, _)| event);
        if let Some(event) = head {
            self.next.push(Reverse((event.at_us, event.key, run)));
        }
        Ok(())
    }

    /// The next events, at most so many.
    pub(super) fn take(&mut self, count: usize) -> io::Result<Vec<Event>> {
        let mut events = Vec::new();
        while events.len() < count
            && let Some(Reverse((_, _, run))) = self.next.pop()
        {
            events.extend(self.heads.get_mut(run).and_then(Option::take));
            self.advance(run)?;
        }
        Ok(events)
    }
}

impl Run {
    fn write(path: &Path, number: usize, events: &mut Vec<Event>) -> io::Result<Self> {
        events.sort_by_key(|it| (it.at_us, it.key));
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        let path = PathBuf::from(name);
        let mut file = BufWriter::new(File::create(&path)?);
        let mut record = Vec::new();
        for event in events.drain(..) {
            record.clear();
            write(std::slice::from_ref(&event), &mut record)?;
            file.write_all(&record)?;
        }
        file.flush()?;
        Ok(Self { file: BufReader::new(File::open(&path)?), path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::Evidence;

    fn event(at_us: i64) -> Event {
        let key = Key::of(&[&at_us.to_string()]);
        Event {
            at_us,
            key,
            cluster: "c".into(),
            inputs: Box::new([]),
            evidence: Evidence::default(),
        }
    }

    #[test]
    fn events_come_in_their_order_from_any_number_of_runs() {
        let dir = std::env::temp_dir().join(format!("k8scop-spool-{:016x}", fastrand::u64(..)));
        fs::create_dir(&dir).unwrap();
        let path = dir.join("events");
        let mut times: Vec<i64> = (0..1000).map(|it| it * 7919 % 1000).collect();
        let events: Vec<_> = times.iter().map(|it| event(*it)).collect();
        let mut bytes = Vec::new();
        write(&events, &mut bytes).unwrap();
        fs::write(&path, &bytes).unwrap();
        times.sort_unstable();
        for run_bytes_max in [1, 1000, 1 << 20] {
            let mut sorted = Sorted::open_in_runs(&path, run_bytes_max).unwrap();
            let mut got = Vec::new();
            loop {
                let events = sorted.take(64).unwrap();
                if events.is_empty() {
                    break;
                }
                got.extend(events.iter().map(|it| it.at_us));
            }
            assert_eq!(got, times);
        }
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1, "runs are removed");
        fs::write(&path, [255; 9]).unwrap();
        assert!(Sorted::open(&path).is_err());
        fs::remove_dir_all(&dir).unwrap();
    }
}
