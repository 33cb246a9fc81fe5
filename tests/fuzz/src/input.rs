//! Reading the fuzzer's bytes as choices.

/// The fuzzer's bytes, read once from the front; zeros when there are no more.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        first
    }

    /// The next byte as an index below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// The next two bytes as an index below `n`.
    pub fn wide(&mut self, n: usize) -> usize {
        usize::from(u16::from_le_bytes([self.byte(), self.byte()])) % n
    }

    /// Fills `to` with a short run of the input, again and again, and no two repeats alike.
    pub fn pattern(&mut self, to: &mut [u8]) {
        let seed: [u8; 4] = core::array::from_fn(|_| self.byte());
        for (i, byte) in to.iter_mut().enumerate() {
            *byte = seed[i % 4].wrapping_add(seed[3].wrapping_mul((i / 4) as u8));
        }
    }
}

/// Whether an input belongs to the one in `n` that may do something dear. It changes with every byte of the input: a fuzzer
/// that finds dear inputs interesting breeds no others than from them, and would do little else if a single byte decided.
pub fn one_in(n: u32, data: &[u8]) -> bool {
    let mixed = data.iter().fold(0u32, |mixed, &byte| {
        (mixed ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    (mixed >> 8).is_multiple_of(n)
}
