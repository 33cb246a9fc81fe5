//! Skeleton of the conversation API; bodies follow.

mod types;

pub use types::*;

pub(crate) mod snapshot {
    pub(crate) const VERSION: u32 = 1;
}

use super::hello::HelloSecrets;
use super::identity::ContactKey;

/// One conversation with one contact. Calling order: see the methods.
#[derive(Debug)]
pub struct Conversation {
    params: ConversationParams,
    secrets: HelloSecrets,
}

impl Conversation {
    /// Starts a conversation from a hello; the role is in the secrets.
    #[must_use]
    pub fn from_hello(secrets: HelloSecrets, params: ConversationParams, _now: u64) -> Self {
        Self { params, secrets }
    }
    /// Accepts a message for sending; it expires at `deadline` (Unix ms).
    pub fn submit(
        &mut self,
        _now: u64,
        _id: MessageId,
        _body: &[u8],
        _class: Class,
        _deadline: u64,
    ) -> Result<(), SubmitError> {
        Ok(())
    }
    /// What it wants a payload slot for, if anything; compare across conversations.
    #[must_use]
    pub fn wants(&self, _now: u64) -> Option<Urgency> {
        None
    }
    /// Whether it wants to send something for the first time.
    #[must_use]
    pub fn has_urgent(&self, _now: u64) -> bool {
        false
    }
    /// The usual call at a free payload slot: next frame sealed into the next box. Persist `snapshot` BEFORE sending the deposit's packets.
    pub fn next_deposit(&mut self, _now: u64) -> Option<Deposit> {
        None
    }
    /// The frame alone.
    pub fn next_frame(&mut self, _now: u64) -> Option<FrameOut> {
        None
    }
    /// The box alone.
    pub fn next_out_box(&mut self, _now: u64) -> Option<BoxTarget> {
        None
    }
    /// Boxes worth fetching now, most important first; none of them is in flight.
    pub fn wanted_boxes(&mut self, _now: u64) -> Vec<InBox> {
        Vec::new()
    }
    /// A fetch of `id` left.
    pub fn fetch_started(&mut self, _now: u64, _id: &[u8; 32]) {}
    /// A fetch of `id` ended without content (with content: `handle_box`).
    pub fn fetch_done(&mut self, _now: u64, _id: &[u8; 32], _outcome: Fetched) {}
    /// A fetched box: opens it, then as `handle_frame`. Persist snapshot and messages BEFORE deleting the box.
    pub fn handle_box(
        &mut self,
        _now: u64,
        _id: &[u8; 32],
        _sealed: &[u8; super::SEALED_LEN],
    ) -> Vec<ConversationEvent> {
        Vec::new()
    }
    /// An opened frame.
    pub fn handle_frame(
        &mut self,
        _now: u64,
        _frame: &[u8; super::frame::FRAME_LEN],
    ) -> Vec<ConversationEvent> {
        Vec::new()
    }
    /// The user read a received message: queues a read acknowledgement.
    pub fn mark_read(&mut self, _now: u64, _id: &MessageId) {}
    /// When to call `handle_timeout` (or look at `wants`) next, Unix ms.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        None
    }
    /// Expires messages.
    pub fn handle_timeout(&mut self, _now: u64) -> Vec<ConversationEvent> {
        Vec::new()
    }
    /// Until when the peer said it waits on live boxes, Unix ms.
    #[must_use]
    pub fn peer_live_until(&self) -> u64 {
        0
    }
    /// Whether a frame of the peer has come in.
    #[must_use]
    pub fn is_established(&self) -> bool {
        false
    }
    /// The hello's id: 16 bytes, equal on both sides.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        [0; 16]
    }
    /// The directory root of an epoch, for the root check in frames.
    pub fn set_root(&mut self, _epoch: u32, _root: [u8; 32]) {}
    /// Whether frames may promise liveness (off for contacts beyond the live cap).
    pub fn set_promising(&mut self, _on: bool) {}
    /// Takes over all unfinished messages of another conversation with the same contact, which becomes receive-only.
    pub fn absorb(&mut self, _now: u64, _loser: &mut Conversation) {}
    /// A message was received through the other conversation with the same contact.
    pub fn note_seen(&mut self, _id: &MessageId, _received_at: u64) {}
    /// Counts.
    #[must_use]
    pub fn counters(&self) -> ConversationCounters {
        ConversationCounters::default()
    }
    /// Everything, versioned; secret bytes.
    #[must_use]
    pub fn snapshot(&self) -> zeroize::Zeroizing<Vec<u8>> {
        zeroize::Zeroizing::new(Vec::new())
    }
    /// Back from a snapshot.
    pub fn restore(_bytes: &[u8], _params: ConversationParams) -> Result<Self, RestoreError> {
        Err(RestoreError::Damaged)
    }
    #[allow(dead_code)]
    fn keep(&self) -> (&ConversationParams, &HelloSecrets) {
        (&self.params, &self.secrets)
    }
}

/// Which of two crossing hellos a message goes out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The conversation our own hello opened.
    OwnHello,
    /// The conversation the peer's hello opened.
    PeerHello,
}

/// The rule when both contacts greeted each other at once: the hello of the smaller contact key stays.
/// While it is ours and unanswered, the peer's is used (the peer surely has that one).
#[must_use]
pub fn crossing(own: &ContactKey, peer: &ContactKey, own_established: bool) -> Keep {
    if own < peer && own_established {
        Keep::OwnHello
    } else {
        Keep::PeerHello
    }
}
