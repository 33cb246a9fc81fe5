//! What happens to bytes between two nodes: how long they take, and whether they arrive.
//!
//! The law is a constant plus an exponential part, and losses that are independent of everything.
//! What a link carries and in which order is the world's business (`sim/world/wire`).

use mix::time::Span;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// Latency and loss of every link of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkModel {
    /// What every crossing takes at least.
    pub base: Span,
    /// Mean of the exponential part on top of it.
    pub jitter: Span,
    /// Crossings that fail, per million.
    pub loss_ppm: u32,
}

/// The exponential part never exceeds this many means.
const CAP: f64 = 12.0;

impl LinkModel {
    /// Links that take `base_ms` plus an exponential `jitter_ms`, and lose `loss_ppm` of a million.
    #[must_use]
    pub const fn new(base_ms: u64, jitter_ms: u64, loss_ppm: u32) -> Self {
        Self {
            base: Span::from_millis(base_ms),
            jitter: Span::from_millis(jitter_ms),
            loss_ppm,
        }
    }

    /// How long one crossing takes; `None` if it fails. Draws twice, whatever comes out, so that
    /// another loss rate leaves the latencies of a seed as they were.
    pub fn cross(&self, rng: &mut ChaCha20Rng) -> Option<Span> {
        let latency = self.latency(rng);
        let lost = rng.next_u64() % 1_000_000 < u64::from(self.loss_ppm);
        (!lost).then_some(latency)
    }

    /// The latency of something that is repeated until it arrives (dialling, lookups).
    pub fn latency(&self, rng: &mut ChaCha20Rng) -> Span {
        // (0, 1]: the logarithm exists.
        let uniform = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        let factor = (-uniform.ln()).min(CAP);
        let jitter = (self.jitter.as_micros() as f64 * factor) as u64;
        self.base + Span::from_micros(jitter)
    }
}

impl Default for LinkModel {
    /// The links of `protocol.md` §0: 60 ms, 10 ms of jitter, one packet in two hundred lost.
    fn default() -> Self {
        Self::new(60, 10, 5_000)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn latency_and_loss_are_what_the_model_says() {
        let link = LinkModel::new(60, 10, 50_000);
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let all: Vec<_> = (0..20_000).map(|_| link.cross(&mut rng)).collect();
        let lost = all.iter().filter(|one| one.is_none()).count();
        assert!((800..1_200).contains(&lost), "{lost} of 20000 lost at 5 %");
        let arrived: Vec<_> = all.into_iter().flatten().collect();
        assert!(arrived.iter().all(|latency| *latency >= link.base));
        let mean = arrived.iter().map(|one| one.as_micros()).sum::<u64>() / arrived.len() as u64;
        assert!((69_500..70_500).contains(&mean), "mean latency {mean} µs");
    }

    #[test]
    fn a_lossless_link_has_the_same_latencies() {
        let [mut one, mut other] = [ChaCha20Rng::seed_from_u64(7), ChaCha20Rng::seed_from_u64(7)];
        let lossy = LinkModel::new(60, 10, 500_000);
        let perfect = LinkModel::new(60, 10, 0);
        for _ in 0..100 {
            let kept = perfect.cross(&mut other);
            let lossy = lossy.cross(&mut one);
            assert!(lossy.is_none() || lossy == kept);
        }
    }
}
