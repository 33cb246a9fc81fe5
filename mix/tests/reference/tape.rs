//! A generator that gives the bytes it was given and no more: what a sender draws, chosen by the test.

use rand_core::{Infallible, TryCryptoRng, TryRng};

pub(crate) struct Tape<'a>(pub(crate) &'a [u8]);

impl TryRng for Tape<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("a packet is drawn in bytes")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("a packet is drawn in bytes")
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        let (taken, rest) = self.0.split_at(to.len());
        to.copy_from_slice(taken);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Tape<'_> {}
