//! Opens files and reads their lines, within limits.

#![expect(
    clippy::disallowed_types,
    reason = "what is decompressed is read line by line, and no line may be longer than is allowed"
)]

use std::{
    cell::Cell,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    rc::Rc,
};

use flate2::read::MultiGzDecoder;

use super::split::{Sink, Splitter};

/// What is read at once (bytes).
const STEP_BYTES: usize = 128 << 10;
/// The first bytes of gzip (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What is read: a file, or standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Stdin,
    File(PathBuf),
}

impl Input {
    /// `-` is standard input.
    pub(super) fn named(path: &Path) -> Self {
        if path == Path::new("-") { Self::Stdin } else { Self::File(path.to_owned()) }
    }

    /// Its name, as it was given.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Stdin => "-".into(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Its size on disk (bytes).
    pub(super) fn len_bytes(&self) -> u64 {
        match self {
            Self::Stdin => 0,
            Self::File(path) => fs::metadata(path).map_or(0, |it| it.len()),
        }
    }
}

/// The files of a path: itself, or all in it, in order of their names. Hidden ones are left out, and links to folders,
/// which may go in circles. A folder that cannot be read is told to `failed`.
pub(super) fn files(path: &Path, out: &mut Vec<Input>, failed: &mut dyn FnMut(&Path, &io::Error)) {
    if path == Path::new("-") || !path.is_dir() {
        return out.push(Input::named(path));
    }
    let mut folders = vec![path.to_owned()];
    let start = out.len();
    while let Some(folder) = folders.pop() {
        if let Err(error) = entries(&folder, &mut folders, out) {
            failed(&folder, &error);
        }
    }
    if let Some(found) = out.get_mut(start..) {
        found.sort_by_key(Input::name);
    }
}

fn entries(folder: &Path, folders: &mut Vec<PathBuf>, out: &mut Vec<Input>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        } else if entry.path().is_file() {
            out.push(Input::File(entry.path()));
        }
    }
    Ok(())
}

/// How far reading is.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Bytes read so far, as they stand in the files.
    pub(super) bytes: Cell<u64>,
    /// Nobody wants more.
    pub(super) is_over: Cell<bool>,
}

/// Gives the documents of an input to `take`. What was read before an error is given.
pub(super) fn read(
    input: &Input,
    bytes_max: usize,
    meter: &Rc<Meter>,
    take: &mut Sink<'_>,
) -> io::Result<()> {
    let mut splitter = Splitter::new(bytes_max);
    let outcome = match input {
        Input::Stdin => lines(io::stdin().lock(), bytes_max, meter, &mut splitter, take),
        Input::File(path) => lines(File::open(path)?, bytes_max, meter, &mut splitter, take),
    };
    splitter.end(take);
    outcome.map_err(|error| match splitter.lines() {
        0 => error,
        lines => io::Error::new(error.kind(), format!("after line {lines}: {error}")),
    })
}

fn lines(
    file: impl Read,
    bytes_max: usize,
    meter: &Rc<Meter>,
    splitter: &mut Splitter,
    take: &mut Sink<'_>,
) -> io::Result<()> {
    let mut file = BufReader::with_capacity(STEP_BYTES, Counted { file, meter: Rc::clone(meter) });
    if file.fill_buf()?.starts_with(&GZIP) {
        let file = BufReader::with_capacity(STEP_BYTES, MultiGzDecoder::new(file));
        return split(file, bytes_max, meter, splitter, take);
    }
    split(file, bytes_max, meter, splitter, take)
}

fn split(
    mut file: impl BufRead,
    bytes_max: usize,
    meter: &Meter,
    splitter: &mut Splitter,
    take: &mut Sink<'_>,
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        let (len, outcome) = line_into(&mut file, &mut line, bytes_max);
        if len > bytes_max {
            splitter.long_line(take);
        } else if len > 0 {
            splitter.line(&line, take);
        }
        if outcome? || meter.is_over.get() {
            return Ok(());
        }
    }
}

/// Reads a line, no more of it than `bytes_max`. Gives its length, and whether it was the last.
fn line_into(
    file: &mut impl BufRead,
    line: &mut Vec<u8>,
    bytes_max: usize,
) -> (usize, io::Result<bool>) {
    line.clear();
    let mut len = 0;
    loop {
        let step = match file.fill_buf() {
            Ok(step) => step,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return (len, Err(error)),
        };
        if step.is_empty() {
            return (len, Ok(true));
        }
        let end = memchr::memchr(b'\n', step);
        let part = step.get(..end.unwrap_or(step.len())).unwrap_or_default();
        if len + part.len() <= bytes_max {
            line.extend_from_slice(part);
        }
        // With its end, so that an empty line counts.
        let used = part.len() + usize::from(end.is_some());
        len += used;
        file.consume(used);
        if end.is_some() {
            return (len, Ok(false));
        }
    }
}

/// Counts what is read.
struct Counted<R> {
    file: R,
    meter: Rc<Meter>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, step: &mut [u8]) -> io::Result<usize> {
        let len = self.file.read(step)?;
        self.meter.bytes.set(self.meter.bytes.get() + len as u64);
        Ok(len)
    }
}
