//! Base64 and gzip around logs, within limits.

#![expect(
    clippy::disallowed_types,
    reason = "every step is counted against what may be decompressed"
)]

use std::{cell::Cell, fmt, io::Read};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::read::MultiGzDecoder;

use super::{
    Broken,
    peel::{self, Flow, Levels, Sink, Way},
    root,
};

/// Decompression steps (bytes).
const STEP_BYTES: usize = 32 << 10;

/// How much may be decompressed inside of documents, and who is asked for the memory.
pub(super) struct Inflation<'r> {
    /// To read it (bytes).
    left: Cell<usize>,
    /// To see what it is (bytes): that is done again to read it.
    left_to_look: Cell<usize>,
    /// What one document took so far (bytes).
    pub(super) now: Cell<usize>,
    /// The most that one took (bytes): the next one uses its buffers.
    most: Cell<usize>,
    room: Option<&'r dyn Fn(usize) -> bool>,
}

/// What is decompressed for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aim {
    Look,
    Read,
}

impl<'r> Inflation<'r> {
    pub(super) fn new(bytes_max: usize, room: Option<&'r dyn Fn(usize) -> bool>) -> Self {
        Self {
            left: Cell::new(bytes_max),
            left_to_look: Cell::new(bytes_max),
            now: Cell::new(0),
            most: Cell::new(0),
            room,
        }
    }

    /// Whether so much more may be decompressed.
    fn take(&self, bytes: usize, aim: Aim) -> bool {
        let left = if aim == Aim::Look { &self.left_to_look } else { &self.left };
        let Some(rest) = left.get().checked_sub(bytes) else { return false };
        left.set(rest);
        if aim == Aim::Look {
            // It is let go of at once.
            return self.is_room(self.now.get() + bytes);
        }
        self.now.set(self.now.get() + bytes);
        self.is_room(self.now.get())
    }

    fn is_room(&self, now: usize) -> bool {
        let more = now.saturating_sub(self.most.get());
        if more > 0 && self.room.is_some_and(|room| !room(more)) {
            return false;
        }
        self.most.set(now.max(self.most.get()));
        true
    }
}

impl fmt::Debug for Inflation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflation").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Decodes `data` (base64, maybe of gzip) and looks at the text. `whole` is what stays, as it came, when nothing of
/// Kubernetes is in it.
pub(super) fn into_text(
    data: &str,
    whole: &str,
    way: &Way<'_>,
    levels: &mut Levels<'_>,
    sink: &mut Sink<'_>,
) -> Flow {
    let Some((buffer, mut levels)) = levels.next() else {
        return way.broken(whole, Broken::TooDeep, sink);
    };
    match decoded(data, levels.inflation, Aim::Read) {
        Ok(decoded) => *buffer = decoded,
        Err(reason) => return way.broken(whole, reason, sink),
    }
    if !root::holds_mark(buffer.as_bytes()) {
        return way.other(if way.is_split { buffer } else { whole }, sink);
    }
    peel::on_one_line(buffer);
    peel::text(buffer, way, &mut levels, sink)
}

/// Whether `data` holds something of Kubernetes. `TooLarge` if that would take more than may be decompressed.
pub(super) fn is_kubernetes(data: &str, inflation: &Inflation<'_>) -> Result<bool, Broken> {
    match decoded(data, inflation, Aim::Look) {
        Ok(text) => Ok(root::holds_mark(text.as_bytes())),
        Err(Broken::TooLarge) => Err(Broken::TooLarge),
        Err(_) => Ok(false),
    }
}

fn decoded(data: &str, inflation: &Inflation<'_>, aim: Aim) -> Result<String, Broken> {
    let bytes = BASE64_STANDARD.decode(data).or(Err(Broken::Encoding))?;
    let is_gzip = bytes.starts_with(&[0x1f, 0x8b]);
    let bytes = if is_gzip { inflated(&bytes, inflation, aim)? } else { bytes };
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()))
}

/// All members of a gzip stream.
fn inflated(compressed: &[u8], inflation: &Inflation<'_>, aim: Aim) -> Result<Vec<u8>, Broken> {
    let mut decoder = MultiGzDecoder::new(compressed);
    let (mut out, mut step) = (Vec::new(), vec![0; STEP_BYTES]);
    loop {
        let read = decoder.read(&mut step).or(Err(Broken::Encoding))?;
        if read == 0 {
            return Ok(out);
        }
        if !inflation.take(read, aim) {
            return Err(Broken::TooLarge);
        }
        out.extend_from_slice(step.get(..read).unwrap_or_default());
    }
}
