//! The words a conversation speaks with its driver: parameters, deposits, wanted boxes, events,
//! errors. No behaviour.

use crate::session::SEALED_LEN;
use crate::session::boxes::{BoxKeys, Series};

/// A message's 16-byte id, chosen by its sender.
pub type MessageId = [u8; 16];

/// The longest message body, bytes.
pub const MAX_BODY: usize = 48 * 1024;
/// Most unfinished outgoing messages of one conversation.
pub const MAX_OUTGOING: usize = 256;
/// Most bytes of unfinished outgoing bodies of one conversation.
pub const MAX_OUTGOING_BYTES: usize = 1 << 20;

/// The network parameters a conversation depends on. All times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConversationParams {
    /// Length of a slot of the live series.
    pub live_slot_ms: u64,
    /// Boxes a sender may use in one live slot.
    pub live_per_slot: u8,
    /// How far ahead a frame promises that its sender waits on live boxes; 0: never.
    pub live_window_ms: u64,
    /// Length of a day of the parked series.
    pub day_ms: u64,
    /// How many days a parked box is kept.
    pub parked_days: u32,
    /// Longest wait of one fetch.
    pub max_wait_ms: u64,
    /// What a frame and its acknowledgement usually take, there and back.
    pub expected_rtt_ms: u64,
    /// How far two honest clocks may differ.
    pub clock_tolerance_ms: u64,
    /// Holders of a live box.
    pub live_holders: usize,
    /// Holders of a parked box.
    pub parked_holders: usize,
}

impl Default for ConversationParams {
    /// The values of the public test network.
    fn default() -> Self {
        Self {
            live_slot_ms: 120_000,
            live_per_slot: 4,
            live_window_ms: 240_000,
            day_ms: 86_400_000,
            parked_days: 7,
            max_wait_ms: 120_000,
            expected_rtt_ms: 6_000,
            clock_tolerance_ms: 120_000,
            live_holders: 2,
            parked_holders: 6,
        }
    }
}

/// How a message travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The chat class.
    #[default]
    Fast,
    /// Slower and better hidden.
    Slow,
}

/// Why a conversation wants a payload slot; the greater goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Data that was sent before and is not acknowledged yet.
    Resend,
    /// Acknowledgements, or the answer to a hello.
    Ack,
    /// Data that has never been sent.
    First,
}

/// A piece of a message inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The message.
    pub id: MessageId,
    /// Which fragment, from 0.
    pub index: u8,
    /// Of how many.
    pub count: u8,
}

/// A frame ready to be sealed, and what it is worth.
#[derive(Clone, Debug)]
pub struct FrameOut {
    /// The 1,584 bytes.
    pub frame: Box<[u8; crate::session::frame::FRAME_LEN]>,
    /// Whether anything in it leaves for the first time (data or acknowledgement).
    pub urgent: bool,
    /// Its rank among what other conversations want to send.
    pub urgency: Urgency,
    /// How it should travel.
    pub class: Class,
    /// The data in it, if any.
    pub carries: Option<Carried>,
    /// Set when every fragment of this message has now left at least once: its state is `sent`.
    pub completes: Option<MessageId>,
    /// Acknowledgements on board.
    pub acks: u8,
}

/// A box to deposit into.
#[derive(Clone, Debug)]
pub struct BoxTarget {
    /// Its keys; the public one is the box id.
    pub keys: BoxKeys,
    /// Which series and place.
    pub series: Series,
    /// Until when holders should keep it, Unix ms.
    pub expires_at: u64,
    /// Number of holders; deposit in the order of [`BoxKeys::holder_order`].
    pub holders: usize,
}

/// A frame sealed into its box: what a payload slot carries, once per holder.
#[derive(Clone, Debug)]
pub struct Deposit {
    /// The box.
    pub target: BoxTarget,
    /// The ciphertext to put there.
    pub sealed: Box<[u8; SEALED_LEN]>,
    /// The frame's description.
    pub frame: FrameOut,
}

/// A box worth fetching now.
#[derive(Clone, Debug)]
pub struct InBox {
    /// Its keys: the id to ask for, and the key that signs a deletion.
    pub keys: BoxKeys,
    /// Which series and place.
    pub series: Series,
    /// Which holder to ask, as a place in [`BoxKeys::holder_order`].
    pub rank: usize,
    /// Number of holders of this series.
    pub holders: usize,
    /// How long the fetch may wait at the holder; 0: answer at once.
    pub wait_ms: u64,
    /// 0 is the most important. Order fetches of all conversations by it.
    pub priority: u8,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The holder had the box; its ciphertext goes to `handle_box`.
    Found,
    /// The holder answered that it has nothing.
    Empty,
    /// No answer came.
    Lost,
}

/// What the conversation tells its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConversationEvent {
    /// The first frame of the peer came in: the hello is answered.
    Established {
        /// When, Unix ms.
        at: u64,
    },
    /// A message, complete, decrypted, in order. Emitted once per id.
    Message {
        /// Its id.
        id: MessageId,
        /// Its body.
        body: Vec<u8>,
        /// When its sender submitted it, by the sender's clock, Unix ms.
        sent_at: u64,
        /// When it was complete here, Unix ms; the acknowledgement states this time.
        received_at: u64,
    },
    /// The peer's node has the message.
    Delivered {
        /// Its id.
        id: MessageId,
        /// When, by the receiver's clock, Unix ms.
        at: u64,
    },
    /// The peer's user has read the message.
    Read {
        /// Its id.
        id: MessageId,
        /// When, by the receiver's clock, Unix ms.
        at: u64,
    },
    /// The deadline passed before an acknowledgement came.
    Expired {
        /// Its id.
        id: MessageId,
        /// The deadline, Unix ms.
        at: u64,
    },
    /// It will not be delivered.
    Failed {
        /// Its id.
        id: MessageId,
        /// A stable code.
        code: &'static str,
    },
    /// The other node says something that is not for its user.
    Note {
        /// Its id.
        id: MessageId,
        /// Its body.
        body: Vec<u8>,
    },
    /// The peer's frame commits to another root for an epoch than the certified one set here, and
    /// not to none.
    RootMismatch {
        /// The epoch.
        epoch: u32,
        /// What it commits to, for [`Conversation::peer_means`](super::Conversation::peer_means).
        check: [u8; 8],
    },
}

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The body is longer than [`MAX_BODY`].
    #[error("the message has {len} bytes, at most {MAX_BODY} fit")]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// Too much is waiting for this contact already.
    #[error("{count} messages ({bytes} bytes) already wait for this contact")]
    Full {
        /// Messages waiting.
        count: usize,
        /// Bytes waiting.
        bytes: usize,
    },
    /// The id was used before in this conversation.
    #[error("a message with this id was submitted before")]
    Duplicate,
    /// The deadline has passed already.
    #[error("the deadline lies in the past")]
    Late,
    /// This conversation only receives: another one with the same contact took over.
    #[error("this conversation was replaced by another one with the same contact")]
    Retired,
}

/// Why saved state was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Written by a newer version.
    #[error("the saved conversation has format version {0}, this program knows {known}", known = super::snapshot::VERSION)]
    Newer(u32),
    /// Not what this program wrote.
    #[error("the saved conversation is damaged")]
    Damaged,
}

/// What a conversation refused or skipped, by reason. Never shown to the peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConversationCounters {
    /// Frames taken in.
    pub frames_in: u64,
    /// Frames handed out.
    pub frames_out: u64,
    /// Box contents that did not open with the box's key.
    pub unreadable_boxes: u64,
    /// Frames that were not well formed.
    pub malformed_frames: u64,
    /// Answers for boxes nobody asked for.
    pub unknown_boxes: u64,
    /// Fragments of messages already delivered.
    pub duplicates: u64,
    /// Fragments that contradict what came before.
    pub conflicting_fragments: u64,
    /// Fragments dropped because reassembly was full.
    pub reassembly_full: u64,
    /// Fragments too far ahead.
    pub too_far_ahead: u64,
    /// Complete messages that did not decrypt.
    pub undecryptable: u64,
    /// Acknowledgements for nothing we sent.
    pub unknown_acks: u64,
    /// Acknowledgements dropped because too many waited.
    pub acks_dropped: u64,
    /// Boxes given up unread.
    pub boxes_given_up: u64,
    /// Frames whose sender uses the same certified root.
    pub roots_agreed: u64,
    /// Frames of an epoch in which one of the two sides holds no certificate, or which we don't know.
    pub roots_unchecked: u64,
}
