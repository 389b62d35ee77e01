//! What strings stop at, found in many bytes at once: one bit a byte, the first byte lowest.

use wide::u8x16;

/// The last of the control characters that no JSON string holds as they are.
const LAST_CONTROL: u8 = 0x1f;
/// Bytes of which [`stops`] tells.
pub(super) const LANE: usize = 16;
/// Bytes of which [`block`] tells.
pub(super) const BLOCK: usize = 64;

/// Where something stands in [`BLOCK`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) quotes: u64,
    pub(super) backslashes: u64,
    /// Control characters.
    pub(super) controls: u64,
}

/// Where quotes stand, and where anything stands at which a string stops: quotes, backslashes, control characters.
#[inline]
pub(super) fn stops(lane: &[u8; LANE]) -> [u32; 2] {
    let [quotes, backslashes, controls] = lane_masks(lane);
    [quotes, quotes | backslashes | controls]
}

/// Where quotes stand, and where quotes and backslashes do.
#[inline]
pub(super) fn quotes(lane: &[u8; LANE]) -> [u32; 2] {
    let [quotes, backslashes, _] = lane_masks(lane);
    [quotes, quotes | backslashes]
}

/// Where backslashes stand.
#[inline]
pub(super) fn backslashes(lane: &[u8; LANE]) -> u32 {
    let [_, backslashes, _] = lane_masks(lane);
    backslashes
}

/// Whether there is a backslash.
#[inline]
pub(super) fn has_backslash(word: &[u8; 8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let different = u64::from_le_bytes(*word) ^ (ONES * u64::from(b'\\'));
    // A byte borrows from the next only if it is zero.
    different.wrapping_sub(ONES) & !different & HIGHS != 0
}

/// The same in a block, each for itself.
#[inline]
pub(super) fn block(bytes: &[u8; BLOCK]) -> Block {
    let mut block = Block { quotes: 0, backslashes: 0, controls: 0 };
    let (lanes, _) = bytes.as_chunks::<LANE>();
    for (place, lane) in lanes.iter().enumerate() {
        let [quotes, backslashes, controls] = lane_masks(lane);
        block.quotes |= u64::from(quotes) << (place * LANE);
        block.backslashes |= u64::from(backslashes) << (place * LANE);
        block.controls |= u64::from(controls) << (place * LANE);
    }
    block
}

/// Which characters an escape begins with a backslash for: those behind an odd number of backslashes. `carry` tells
/// whether the first one is, and then whether the first one of the next block is.
#[inline]
pub(super) fn escaped(backslashes: u64, carry: &mut bool) -> u64 {
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let first = u64::from(*carry);
    if backslashes == 0 {
        *carry = false;
        return first;
    }
    // Runs of backslashes that begin at odd places carry one beyond their end when they are added to themselves
    // (Langdale and Lemire, "Parsing gigabytes of JSON per second", 3.1.1).
    let backslashes = backslashes & !first;
    let follows = backslashes << 1 | first;
    let odd_starts = backslashes & !EVEN & !follows;
    let (ends, overflows) = odd_starts.overflowing_add(backslashes);
    *carry = overflows;
    (EVEN ^ (ends << 1)) & follows
}

/// Quotes, backslashes and control characters.
#[inline]
fn lane_masks(lane: &[u8; LANE]) -> [u32; 3] {
    let bytes = u8x16::new(*lane);
    let same = |other: u8x16| bytes.simd_eq(other).to_bitmask();
    [
        same(u8x16::splat(b'"')),
        same(u8x16::splat(b'\\')),
        same(bytes.min(u8x16::splat(LAST_CONTROL))),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that matter, and those beside them.
    fn telling() -> impl Strategy<Value = u8> {
        prop_oneof![
            3 => proptest::sample::select(b"\"\\\0\x1f !#[]\x7f\x80\xa2\xdc\xff".to_vec()),
            1 => any::<u8>(),
        ]
    }

    proptest! {
        #[test]
        fn masks_are_those_of_the_bytes(bytes in proptest::array::uniform16(telling())) {
            let mask = |wanted: fn(u8) -> bool| -> u32 {
                bytes.iter().enumerate().map(|(at, it)| u32::from(wanted(*it)) << at).sum()
            };
            let expected = [mask(|it| it == b'"'), mask(|it| it == b'\\'), mask(|it| it < 0x20)];
            prop_assert_eq!(lane_masks(&bytes), expected);
        }

        #[test]
        fn backslashes_are_found_in_words(bytes in proptest::array::uniform8(telling())) {
            prop_assert_eq!(has_backslash(&bytes), bytes.contains(&b'\\'));
        }

        #[test]
        fn a_block_is_its_lanes(bytes in proptest::collection::vec(telling(), BLOCK)) {
            let found = block(bytes.as_slice().try_into().unwrap());
            for (at, byte) in bytes.iter().enumerate() {
                let bits = [found.quotes, found.backslashes, found.controls].map(|it| it >> at & 1);
                let expected = [*byte == b'"', *byte == b'\\', *byte < 0x20].map(u64::from);
                prop_assert_eq!(bits, expected, "{}", at);
            }
        }

        #[test]
        fn what_is_escaped(blocks in proptest::collection::vec(prop_oneof![
            any::<u64>(), any::<u64>().prop_map(|it| it | it << 1 | it >> 1), Just(0), Just(u64::MAX)
        ], 1..5)) {
            let (mut carry, mut is_next) = (false, false);
            for backslashes in blocks {
                let found = escaped(backslashes, &mut carry);
                for at in 0..64 {
                    prop_assert_eq!(found >> at & 1 == 1, is_next, "{}", at);
                    is_next = !is_next && backslashes >> at & 1 == 1;
                }
                prop_assert_eq!(carry, is_next);
            }
        }
    }
}
