//! Chance around one node. Each node has its own dice for each purpose, so that what one draws depends neither on how many packets
//! went elsewhere nor on the order in which nodes wake within one instant.

use rand_chacha::ChaCha20Rng;

use crate::sim::seed::stream;

/// The generators of one node, by purpose.
pub(super) struct Dice {
    /// Crossings of what it sends over links.
    pub(super) wire: ChaCha20Rng,
    /// Whom it passes gossip on to, and how long that takes.
    pub(super) gossip: ChaCha20Rng,
    /// Its dials, and when it hears of a loss.
    pub(super) dials: ChaCha20Rng,
    /// Its lookups.
    pub(super) lookups: ChaCha20Rng,
    /// Its part of reconciliations.
    pub(super) sync: ChaCha20Rng,
    /// Its disk.
    pub(super) disks: ChaCha20Rng,
}

impl Dice {
    pub(super) fn new(seed: u64, index: u64) -> Self {
        Self {
            wire: stream(seed, "wire", index, 0),
            gossip: stream(seed, "gossip", index, 0),
            dials: stream(seed, "dials", index, 0),
            lookups: stream(seed, "lookups", index, 0),
            sync: stream(seed, "sync", index, 0),
            disks: stream(seed, "disks", index, 0),
        }
    }
}
