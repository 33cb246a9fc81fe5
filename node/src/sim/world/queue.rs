//! What can happen in a world. What is due at one moment happens in the order of the nodes it happens to.

use std::sync::Arc;

use crate::sim::adversary::Frame;
use crate::sim::agenda::Ranked;

/// One life of one node: what was meant for an earlier life never reaches a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) node: usize,
    pub(super) number: u64,
}

/// A gossip message on its way.
#[derive(Debug)]
pub(super) struct Gossip {
    /// The message id: a hash of the data.
    pub(super) id: [u8; 16],
    pub(super) data: Vec<u8>,
}

#[derive(Debug)]
pub(super) enum Happening {
    /// A core's timer.
    Wake(Life),
    /// The disk has written what was in flight.
    Durable(Life),
    /// A packet arrives.
    Packet { from: usize, to: Life, frame: Frame },
    /// A replayer sends a copy, to whatever life the node is in by then.
    Inject {
        from: usize,
        to: usize,
        frame: Frame,
    },
    /// A gossip message arrives.
    Gossip {
        from: usize,
        to: Life,
        message: Arc<Gossip>,
    },
    /// A lookup brings a value.
    Found {
        to: Life,
        key: [u8; 32],
        value: Vec<u8>,
    },
    /// A lookup ends.
    LookupDone { to: Life, key: [u8; 32] },
    /// A request to reconcile arrives.
    Ask {
        from: Life,
        to: Life,
        token: u64,
        data: Vec<u8>,
    },
    /// Its answer arrives, or the news that there is none.
    Answer {
        to: Life,
        from: usize,
        token: u64,
        data: Option<Vec<u8>>,
    },
    /// A dial succeeds, unless one of the two is gone by then.
    Connect { dialler: Life, to: Life },
    /// A node notices that a connection is gone.
    Lost { to: Life, peer: usize },
}

impl Ranked for Happening {
    /// The node it happens to: which of several was busy before makes no difference.
    fn rank(&self) -> usize {
        match self {
            Self::Wake(life) | Self::Durable(life) => life.node,
            Self::Inject { to, .. } => *to,
            Self::Connect { dialler, .. } => dialler.node,
            Self::Packet { to, .. }
            | Self::Gossip { to, .. }
            | Self::Found { to, .. }
            | Self::LookupDone { to, .. }
            | Self::Ask { to, .. }
            | Self::Answer { to, .. }
            | Self::Lost { to, .. } => to.node,
        }
    }
}
