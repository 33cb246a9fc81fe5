//! Sessions between two contacts: everything from a contact address to an ordered, acknowledged
//! stream of messages.
//!
//! ```text
//! ContactAddress ─► PrekeyBundle ─► hello ─► HelloSecrets ─► Conversation
//!   (address.rs)      prekey.rs     hello.rs                   ├ Ratchet     whole messages
//!                                                              ├ frames      1,584 B pieces
//!                                                              └ BoxChain ×2 where they lie
//! ```
//!
//! All of it is pure: no sockets, no clock, no entropy of its own. Time is a `u64` of Unix
//! milliseconds, a network is its 32-byte id, randomness is an argument. One exception is noted in
//! the SPEC: the Olm ratchet draws its later key pairs from the operating system. What is not here:
//! mailbox operations (crate `storage`), packets (crate `mix`), and the decision when a payload
//! slot is free (the node's core). Bytes: node/SPEC.md §1–§8.

pub mod boxes;
pub mod conversation;
pub mod frame;
pub mod hello;
pub mod identity;
pub mod prekey;
pub mod ratchet;

#[cfg(test)]
mod vectors;

/// Bytes of every sealed object a holder keeps: box, inbox entry, prekey bundle.
pub const SEALED_LEN: usize = 1600;

/// The 32-byte id of a network; every derivation and signature here binds it.
pub type NetworkBytes = [u8; 32];

/// A Unix day: milliseconds since the epoch divided by the network's day length.
pub type Day = u32;

/// BLAKE3 in key-derivation mode over parts whose lengths are fixed by the context.
pub(crate) fn derive(context: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// As [`derive`], with as many bytes as asked for.
pub(crate) fn derive_into(context: &str, parts: &[&[u8]], out: &mut [u8]) {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_xof().fill(out);
}

/// The day of a moment; saturates at the end of the `u32`.
pub(crate) fn day_of(now: u64, day_ms: u64) -> Day {
    u32::try_from(now / day_ms.max(1)).unwrap_or(u32::MAX)
}
