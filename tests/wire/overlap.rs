//! Whether any bytes survive a hop: a search for a common run of 8 bytes at any pair of offsets.
//!
//! Two unrelated random frames have 2,040 × 2,040 pairs of windows of 8 bytes (the version byte, equal in all packets, is left
//! out). A pair is equal with probability 2⁻⁶⁴, so chance alone gives a run in one of 4.4 · 10¹² hops: with the 10⁴ hops of a
//! capture a false alarm once in 400 million runs. Any field left as it was, moved or not, of 8 bytes or more is found: the
//! shortest field that could identify a packet, a 16-byte gamma, twice over.

use crate::capture::Frame;

/// Bytes of a run that no two frames have in common by chance.
pub(crate) const RUN: usize = 8;

/// Where in `after` a run begins that `before` has too, at any offset; the version byte aside.
pub(crate) fn shared_run(before: &Frame, after: &Frame) -> Option<usize> {
    let mut known: Vec<u64> = windows(before).map(|(_, window)| window).collect();
    let mut bits = vec![0u64; BITS / 64];
    for window in &known {
        let (word, bit) = place(*window);
        bits[word] |= bit;
    }
    known.sort_unstable();
    windows(after).find_map(|(at, window)| {
        let (word, bit) = place(window);
        // The bit map answers nearly all of them; the sorted list is exact.
        let common = bits[word] & bit != 0 && known.binary_search(&window).is_ok();
        common.then_some(at)
    })
}

const BITS: usize = 1 << 16;

fn place(window: u64) -> (usize, u64) {
    let mixed = window.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48;
    let index = usize::try_from(mixed).unwrap_or(0);
    (index / 64, 1 << (index % 64))
}

fn windows(frame: &Frame) -> impl Iterator<Item = (usize, u64)> + '_ {
    let whole = frame[1..].windows(RUN).enumerate();
    whole.map(|(at, window)| {
        let mut bytes = [0; RUN];
        bytes.copy_from_slice(window);
        (at + 1, u64::from_le_bytes(bytes))
    })
}
