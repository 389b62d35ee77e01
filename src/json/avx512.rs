//! Unescaping 64 bytes at once, where the processor can (AVX-512 VBMI2: Intel since Ice Lake, AMD since Zen 4). The one
//! place with `unsafe`: the call of what only such a processor runs. Its plain twin is the rest of `unescape_into`, which goes on
//! wherever this stops.

use std::arch::x86_64::{
    __m512i, _mm512_cmpeq_epi8_mask, _mm512_maskz_compress_epi8, _mm512_set1_epi8,
};

use super::block::{self, BLOCK};

/// How far it came: bytes read, and bytes written.
pub(super) type Came = (usize, usize);

/// Stands for a processor that can.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    /// This processor, if it can.
    pub(super) fn here() -> Option<Self> {
        let can = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vbmi2");
        can.then_some(Self(()))
    }

    /// Unescapes whole blocks of `bytes`, the inside of a checked string, to the start of `out`; up to the end of the
    /// last block, or to an escape of something else than a quote, a backslash or a slash.
    #[expect(unsafe_code, reason = "the processor was asked first")]
    pub(super) fn unescape(self, bytes: &[u8], out: &mut [u8]) -> Came {
        // SAFETY: `here` has seen all that the function needs, and nothing else makes an `Avx512`.
        unsafe { blocks(bytes, out) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi2")]
fn blocks(bytes: &[u8], out: &mut [u8]) -> Came {
    let all = |byte: u8| _mm512_set1_epi8(byte.cast_signed());
    let (mut at, mut len, mut is_escaped) = (0, 0, false);
    while let (Some(block), Some(room)) = (chunk(bytes, at), chunk_mut(out, len)) {
        let text: __m512i = bytemuck::must_cast(*block);
        let is = |byte: u8| _mm512_cmpeq_epi8_mask(text, all(byte));
        let backslashes = is(b'\\');
        let mut is_next_escaped = is_escaped;
        let escaped = block::escaped(backslashes, &mut is_next_escaped);
        let others = escaped & !(backslashes | is(b'"') | is(b'/'));
        // Before the first of them, and before its backslash.
        let before = match others {
            0 => u64::MAX,
            _ => (others & others.wrapping_neg()).wrapping_sub(1) >> 1,
        };
        let stays = before & !(backslashes & !escaped);
        *room = bytemuck::must_cast(_mm512_maskz_compress_epi8(stays, text));
        len += stays.count_ones() as usize;
        if others != 0 {
            // The backslash of the first character stands in the block before.
            let first = others.trailing_zeros() as usize;
            return ((at + first).saturating_sub(1), len);
        }
        at += BLOCK;
        is_escaped = is_next_escaped;
    }
    // A backslash at the end is read again, with what it escapes.
    (at - usize::from(is_escaped), len)
}

#[inline]
fn chunk(bytes: &[u8], at: usize) -> Option<&[u8; BLOCK]> {
    bytes.get(at..)?.first_chunk()
}

#[inline]
fn chunk_mut(bytes: &mut [u8], at: usize) -> Option<&mut [u8; BLOCK]> {
    bytes.get_mut(at..)?.first_chunk_mut()
}
