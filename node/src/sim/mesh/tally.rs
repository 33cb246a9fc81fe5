//! What crosses links, counted by node and kind, and what of it was new.

use serde_json::{Value, json};

/// What bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bundles, with all that wraps them.
    Gossip,
    /// What gossip says about bundles and its mesh.
    Control,
    /// Reconciliation, certificates and receipts between neighbours.
    Sync,
    /// Lookups by Kademlia, and answers to them.
    Lookup,
}

const KINDS: [(&str, Kind); 4] = [
    ("gossip", Kind::Gossip),
    ("control", Kind::Control),
    ("sync", Kind::Sync),
    ("lookup", Kind::Lookup),
];

/// What crossed the links of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    sent: [u64; KINDS.len()],
    received: [u64; KINDS.len()],
}

impl Traffic {
    pub(crate) fn send(&mut self, kind: Kind, bytes: u64) {
        self.sent[kind as usize] += bytes;
    }

    pub(crate) fn receive(&mut self, kind: Kind, bytes: u64) {
        self.received[kind as usize] += bytes;
    }

    /// All bytes that left the node.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.iter().sum()
    }

    /// All bytes that reached it.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.sent.iter_mut().zip(other.sent) {
            *mine += theirs;
        }
        for (mine, theirs) in self.received.iter_mut().zip(other.received) {
            *mine += theirs;
        }
    }

    /// What was sent by kind, divided by `parts`.
    #[must_use]
    pub fn by_kind(&self, parts: u64) -> Value {
        let each = KINDS.iter().map(|(name, kind)| {
            let bytes = self.sent[*kind as usize] / parts.max(1);
            ((*name).to_owned(), json!(bytes))
        });
        Value::Object(each.collect())
    }
}

/// Distinct new records that nodes published, without anything around them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw {
    /// How many.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Raw {
    pub(crate) fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes as u64;
    }
}
