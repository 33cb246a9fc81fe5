//! What a mixer is told once: who it is, the delays of its network, and the sizes that bound it. SPEC.md §8.

use crate::time::Span;
use crate::{NetworkId, ShortId};

/// What a mixer is told once. Sizes bound everything that strangers can make grow.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MixerConfig {
    /// Bound into every key.
    pub network: NetworkId,
    /// Our name.
    pub own: ShortId,
    /// Mean delay a hop of the fast, strong and slow class.
    pub delays: [Span; 3],
    /// The constant S that every packet waits besides; it hides sync and processing.
    pub hold: Span,
    /// Packets in the pool.
    pub pool_cap: usize,
    /// Packets waiting for links.
    pub transmit_cap: usize,
    /// Events waiting for the node.
    pub event_cap: usize,
    /// Replay tags waiting to be fetched for the disk.
    pub tag_cap: usize,
    /// Replay tags per key, for the whole life of the key.
    pub replay_cap: usize,
    /// Tags for which a key has room from the start, its memory touched; beyond, the set grows as it fills.
    pub replay_reserve: usize,
}

impl MixerConfig {
    /// The values of the test network: 0.2, 1 and 10 s a hop, S = 25 ms, room for 8,192 packets (18 MB) and a million tags a key
    /// (34 MB when full), 4,096 of them reserved (256 KiB).
    pub fn new(network: NetworkId, own: ShortId) -> Self {
        Self {
            network,
            own,
            delays: [
                Span::from_millis(200),
                Span::from_secs(1),
                Span::from_secs(10),
            ],
            hold: Span::from_millis(25),
            pool_cap: 8_192,
            transmit_cap: 4_096,
            event_cap: 1_024,
            tag_cap: 65_536,
            replay_cap: 1_000_000,
            replay_reserve: 1 << 12,
        }
    }
}
