//! What can happen in a mesh. What is due at one moment happens in the order in which it was planned.

use std::sync::Arc;

use dht::OwnRecord;

use crate::sim::agenda::Ranked;

/// One life of one node: what was meant for an earlier life never reaches a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) node: u32,
    pub(super) number: u32,
}

/// A request to reconcile, or an answer, on its way.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) from: Life,
    pub(super) token: u64,
    /// `None`: there is no answer.
    pub(super) data: Option<Vec<u8>>,
}

#[derive(Debug)]
pub(super) enum Event {
    /// The timer of a node's Pki.
    Wake(Life),
    /// Keys and descriptors are looked after.
    Upkeep(Life),
    /// A gossip message arrives.
    Bundle { message: u32, from: u32, to: Life },
    /// A peer asks for a message it was told of.
    Want { message: u32, from: Life, to: u32 },
    /// Gossip's heartbeat, while there is something to do in it.
    Heartbeat(Life),
    /// A record of the node's own is on its disk.
    Durable(Life, Box<OwnRecord>),
    /// A lookup brings a value.
    Found(Life, Box<([u8; 32], Arc<[u8]>)>),
    /// A lookup ends.
    Done(Life, Box<[u8; 32]>),
    /// A request to reconcile arrives.
    Ask(Life, Box<Letter>),
    /// Its answer arrives.
    Answer(Life, Box<Letter>),
    /// A dial has succeeded, unless one of the two is gone.
    Connect { from: Life, to: u32 },
    /// A node notices that a peer is gone.
    Notice { node: Life, peer: Life },
    /// Links are chosen anew.
    Slot(Life),
    /// A hostile node floods its peers.
    Flood(Life),
    /// A node leaves without a word.
    Leave(Life),
    /// A node comes, for the first time or back.
    Join(u32),
}

impl Ranked for Event {}
