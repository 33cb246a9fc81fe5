//! What a mixer hands to its node: packets whose last hop was here. SPEC.md §3 and §8.

use core::fmt;

use crate::sphinx::{BODY_LEN, Class, Packet};
use crate::time::Moment;

/// What ended at this node. Its `Debug` shows the kind only.
#[derive(PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A mailbox operation: 1,803 bytes whose tag was right.
    Box {
        /// The class it came in, for an answer in the same.
        class: Class,
        /// The operation.
        body: Box<[u8; BODY_LEN]>,
    },
    /// A reply to one of our reply blocks, to be opened with its [`SurbKeys`](crate::SurbKeys).
    Reply {
        /// Which block.
        surb_id: [u8; 16],
        /// The packet.
        packet: Packet,
    },
    /// A loop of ours came home.
    Loop {
        /// Which.
        id: [u8; 16],
        /// When it arrived.
        at: Moment,
    },
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Box { .. } => "Box(..)",
            Self::Reply { .. } => "Reply(..)",
            Self::Loop { .. } => "Loop(..)",
        })
    }
}
