//! The two names that packets speak of: a network and a node within it. Long-term identities live in the `dht` crate; here a
//! node is sixteen bytes. SPEC.md §1.

use core::fmt;

/// What separates one network from another: 32 bytes derived from the canonical network parameters. Bound into every key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(pub [u8; 32]);

/// A node's name inside packets: the first 16 bytes of a hash of network and long-term identity.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortId(pub [u8; 16]);

impl ShortId {
    /// The short name of a node in a network: BLAKE3 `derive_key("murmuration/v1/short-id")(network ‖ node id)`, cut to 16 bytes.
    pub fn derive(network: &NetworkId, node: &[u8; 32]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("murmuration/v1/short-id");
        hasher.update(&network.0);
        hasher.update(node);
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

impl fmt::Debug for NetworkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NetworkId({})", Head(&self.0))
    }
}

impl fmt::Debug for ShortId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ShortId({})", Head(&self.0))
    }
}

/// The first four bytes in hexadecimal: enough to tell nodes apart in a debugger.
struct Head<'a>(&'a [u8]);

impl fmt::Display for Head<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…")
    }
}
