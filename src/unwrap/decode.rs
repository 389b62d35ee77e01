//! Base64 and gzip around logs, within limits.

#![expect(
    clippy::disallowed_types,
    reason = "every step is counted against what may be decompressed"
)]

use std::io::Read;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use flate2::read::MultiGzDecoder;

use super::{
    Broken,
    peel::{self, Flow, Levels, Sink, Way},
    root,
};

/// Decompression steps (bytes).
const STEP_BYTES: usize = 32 << 10;

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
    match decoded(data, levels.left_bytes) {
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
pub(super) fn is_kubernetes(data: &str, left_bytes: &mut usize) -> Result<bool, Broken> {
    match decoded(data, left_bytes) {
        Ok(text) => Ok(root::holds_mark(text.as_bytes())),
        Err(Broken::TooLarge) => Err(Broken::TooLarge),
        Err(_) => Ok(false),
    }
}

fn decoded(data: &str, left_bytes: &mut usize) -> Result<String, Broken> {
    let bytes = BASE64_STANDARD.decode(data).or(Err(Broken::Encoding))?;
    let bytes =
        if bytes.starts_with(&[0x1f, 0x8b]) { inflated(&bytes, left_bytes)? } else { bytes };
    Ok(String::from_utf8(bytes)
        .unwrap_or_else(|it| String::from_utf8_lossy(it.as_bytes()).into_owned()))
}

/// All members of a gzip stream.
fn inflated(compressed: &[u8], left_bytes: &mut usize) -> Result<Vec<u8>, Broken> {
    let mut decoder = MultiGzDecoder::new(compressed);
    let (mut out, mut step) = (Vec::new(), vec![0; STEP_BYTES]);
    loop {
        let read = decoder.read(&mut step).or(Err(Broken::Encoding))?;
        if read == 0 {
            return Ok(out);
        }
        *left_bytes = left_bytes.checked_sub(read).ok_or(Broken::TooLarge)?;
        out.extend_from_slice(step.get(..read).unwrap_or_default());
    }
}
