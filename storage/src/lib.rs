//! Mailboxes, quotas, stamps, the vault and the stores they live on.
//!
//! A holder keeps sealed messages for people it cannot name. [`op`] and [`answer`] give every byte of a request and a reply (all of one size),
//! [`mailbox`] is the holder's state machine (no clock, no threads, no sockets), [`stamp`] the proof of work a deposit carries, [`backend`]
//! the places where records are kept (memory, disk), [`vault`] the seal on a node's own secrets at rest.
//!
//! Not here: which node holds which box (`dht`), packets and delays (`mix`), what a ciphertext says (`node::session`).
//! Byte tables: [`spec`].

pub mod answer;
pub mod backend;
pub mod mailbox;
pub mod op;
pub mod stamp;
pub mod vault;

#[doc = include_str!("../SPEC.md")]
pub mod spec {}

/// Bytes of a packet body: every operation and every answer has exactly this size.
pub const BODY_LEN: usize = 1803;
/// Bytes of a single-use reply block, opaque to this crate.
pub const SURB_LEN: usize = 277;
/// Bytes of the ciphertext in a box, an inbox entry or a prekey box.
pub const SEALED_LEN: usize = 1600;
/// Bytes of a box id or an inbox key: an Ed25519 public key.
pub const KEY_LEN: usize = 32;
/// Bytes of an Ed25519 signature.
pub const SIG_LEN: usize = 64;

/// The ciphertext of a box: 1,600 B that only its two ends can open.
pub type Sealed = Box<[u8; SEALED_LEN]>;
/// A single-use reply block as it came, 277 B.
pub type SurbBytes = Box<[u8; SURB_LEN]>;

/// A point of network time: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millis(pub u64);

impl Millis {
    /// This time plus `ms` milliseconds, held at the largest value.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time, zero if it lies in the future.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
