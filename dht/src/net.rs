//! Kademlia, gossip and identify over libp2p, and the plain translation of their events. Decides nothing about records.

/// What the rules say about a bundle that arrived by gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Good and new: forward it.
    Accept,
    /// Not useful, nobody's fault: do not forward it.
    Ignore,
    /// Against the rules: do not forward it, and the peer that sent it loses standing.
    Reject,
}
