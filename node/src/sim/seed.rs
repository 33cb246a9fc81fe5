//! One seed, many independent streams: each user of randomness in a world has its own, so that one
//! drawing more often changes nothing for another.

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The generator of one use: `what` names the use, `which` and `again` count its instances.
#[must_use]
pub fn stream(seed: u64, what: &str, which: u64, again: u64) -> ChaCha20Rng {
    let mut hasher = blake3::Hasher::new_derive_key("murmuration/v1/sim-stream");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&which.to_le_bytes());
    hasher.update(&again.to_le_bytes());
    hasher.update(what.as_bytes());
    ChaCha20Rng::from_seed(*hasher.finalize().as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use rand_core::Rng;

    use super::*;

    #[test]
    fn streams_repeat_and_differ() {
        let first = |mut rng: ChaCha20Rng| rng.next_u64();
        assert_eq!(
            first(stream(1, "node", 2, 3)),
            first(stream(1, "node", 2, 3))
        );
        let all = [
            first(stream(1, "node", 2, 3)),
            first(stream(2, "node", 2, 3)),
            first(stream(1, "node", 3, 2)),
            first(stream(1, "node", 2, 4)),
            first(stream(1, "wire", 2, 3)),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one));
        }
    }
}
