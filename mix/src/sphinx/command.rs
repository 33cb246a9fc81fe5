//! The routing block: what a hop is told, 36 bytes. Parsing is total: any 36 bytes give a command or a reason. SPEC.md §3.

use subtle::ConstantTimeEq as _;

use super::geometry::{BLOCK_LEN, GAMMA_LEN, ID_LEN, TAG_LEN};
use super::packet::copy;
use crate::{DropReason, ShortId};

const FORWARD: u8 = 1;
const DROP: u8 = 2;
const LOOP: u8 = 3;
const BOX: u8 = 4;
const REPLY: u8 = 5;

/// The delay class of a packet, the same at all its hops. The network's parameters give each class its mean delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Chat: 0.2 s a hop.
    Fast,
    /// More hops and 1 s each.
    Strong,
    /// Background: 10 s a hop.
    Slow,
}

impl Class {
    /// All classes, in the order of their wire value.
    pub const ALL: [Self; 3] = [Self::Fast, Self::Strong, Self::Slow];

    /// The place of this class in tables of three, and its value in the flags byte.
    pub const fn index(self) -> usize {
        self as usize
    }

    fn from_flags(flags: u8) -> Option<Self> {
        Self::ALL.get(usize::from(flags)).copied()
    }
}

/// What the last hop of a forward packet does with it. Replies exist only through single-use reply blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Cover: thrown away.
    Drop,
    /// Cover that comes back to its sender, who knows it by this id.
    Loop {
        /// Chosen by the sender.
        id: [u8; ID_LEN],
    },
    /// A mailbox operation for the holder at the end.
    Box,
}

/// A delay as the sender drew it: the 16-bit quantile of an exponential law whose mean the class gives (see [`crate::delay`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantile(pub u16);

/// A routing block in clear, without the gamma that follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Forward { next: ShortId },
    Drop,
    Loop { id: [u8; ID_LEN] },
    Box,
    Reply { surb_id: [u8; ID_LEN] },
}

pub(super) struct Block {
    pub(super) command: Command,
    pub(super) class: Class,
    pub(super) quantile: Quantile,
}

impl Block {
    /// Writes the block. `next` keeps what is there (random) where the command names nobody, and so does `gamma_next`.
    pub(super) fn write(&self, block: &mut [u8; BLOCK_LEN]) {
        let (code, next) = match self.command {
            Command::Forward { next } => (FORWARD, Some(next.0)),
            Command::Drop => (DROP, None),
            Command::Loop { id } => (LOOP, Some(id)),
            Command::Box => (BOX, None),
            Command::Reply { surb_id } => (REPLY, Some(surb_id)),
        };
        block[0] = code;
        block[1] = self.class.index() as u8;
        block[2..4].copy_from_slice(&self.quantile.0.to_le_bytes());
        if let Some(next) = next {
            block[4..4 + ID_LEN].copy_from_slice(&next);
        }
    }

    pub(super) fn read(block: &[u8; BLOCK_LEN]) -> Result<Self, DropReason> {
        let next: [u8; ID_LEN] = copy(&block[4..4 + ID_LEN]);
        let command = match block[0] {
            FORWARD => Command::Forward {
                next: ShortId(next),
            },
            DROP => Command::Drop,
            LOOP => Command::Loop { id: next },
            BOX => Command::Box,
            REPLY => Command::Reply { surb_id: next },
            _ => return Err(DropReason::Command),
        };
        let class = Class::from_flags(block[1]).ok_or(DropReason::Flags)?;
        let quantile = Quantile(u16::from_le_bytes([block[2], block[3]]));
        Ok(Self {
            command,
            class,
            quantile,
        })
    }
}

/// The gamma for the next hop, the last 16 bytes of a block.
pub(super) fn gamma_next(block: &[u8; BLOCK_LEN]) -> [u8; GAMMA_LEN] {
    copy(&block[BLOCK_LEN - GAMMA_LEN..])
}

/// Whether a payload's tag is all zero, without a branch on where it is not.
pub(super) fn tag_is_zero(delta: &[u8]) -> bool {
    delta[..TAG_LEN].ct_eq(&[0; TAG_LEN]).into()
}
