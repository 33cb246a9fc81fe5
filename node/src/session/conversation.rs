//! A conversation with one contact: what the hello's secrets turn into.
//!
//! Sans-IO. The node's core drives it:
//!
//! 1. [`submit`](Conversation::submit) messages; [`set_root`](Conversation::set_root) each epoch.
//! 2. At a free payload slot compare [`wants`](Conversation::wants) across conversations, call
//!    [`next_deposit`](Conversation::next_deposit) on one, **save its
//!    [`snapshot`](Conversation::snapshot)**, then send one packet per holder.
//! 3. At a free fetch slot take the best of [`wanted_boxes`](Conversation::wanted_boxes), call
//!    [`fetch_started`](Conversation::fetch_started), later
//!    [`handle_box`](Conversation::handle_box) or [`fetch_done`](Conversation::fetch_done).
//!    **Save snapshot and received messages** before the box is deleted at its holders.
//! 4. At [`poll_timeout`](Conversation::poll_timeout) call
//!    [`handle_timeout`](Conversation::handle_timeout).
//!
//! Saved before a frame leaves, no box ever gets two contents, no ratchet step repeats, and nothing
//! is acknowledged that a crash could still lose. Not here: who the holders are, packets, clocks.
//! SPEC §7.

mod acks;
mod crossing;
mod cursor;
mod incoming;
mod outgoing;
mod receiving;
mod sending;
mod snapshot;
mod types;

use zeroize::Zeroizing;

pub use crossing::{Keep, crossing};
pub use types::*;

use self::acks::AckQueue;
use self::cursor::{InCursor, OutCursor};
use self::incoming::InQueue;
use self::outgoing::OutQueue;
use super::boxes::BoxChain;
use super::day_of;
use super::hello::{HelloSecrets, Role};
use super::identity::ContactKey;
use super::prekey::array;
use super::ratchet::Ratchet;

/// Inside the ratchet: kind, message id, submission time, body. A message is the user's,
const INNER_MESSAGE: u8 = 1;
/// or the node's own word to the other node, which no user sees.
const INNER_NOTE: u8 = 2;
const INNER_LEN: usize = 1 + 16 + 8;
/// Roots of this many epochs are compared: a frame may lie in a box for some of them.
pub(crate) const MAX_ROOTS: usize = 8;

/// One conversation with one contact; see the module for the order of calls.
pub struct Conversation {
    params: ConversationParams,
    id: [u8; 16],
    role: Role,
    own: ContactKey,
    peer: ContactKey,
    check_key: Zeroizing<[u8; 32]>,
    ratchet: Ratchet,
    out_chain: BoxChain,
    in_chain: BoxChain,
    out_cursor: OutCursor,
    in_cursor: InCursor,
    out: OutQueue,
    acks: AckQueue,
    incoming: InQueue,
    peer_live_until: u64,
    promised_until: u64,
    established: bool,
    answer_due: bool,
    retired: bool,
    promising: bool,
    /// Ascending by epoch; `None`: no certificate for it is held here.
    roots: Vec<(u32, Option<[u8; 32]>)>,
    /// Failures noticed while making a frame, told at the next `handle_*`.
    events: Vec<ConversationEvent>,
    last_now: u64,
    counters: ConversationCounters,
}

impl Conversation {
    /// Starts a conversation from a hello. The initiator may send at once: its boxes wait until the
    /// responder has read the hello. The responder wants to send one frame as answer.
    #[must_use]
    pub fn from_hello(secrets: HelloSecrets, params: ConversationParams) -> Self {
        // Both sides count from the hello's own time; a little earlier for clocks that differ.
        let start = secrets.sent_at.saturating_sub(params.clock_tolerance_ms);
        let first_day = day_of(start, params.day_ms);
        Self {
            params,
            id: secrets.id,
            role: secrets.role,
            own: secrets.own,
            peer: secrets.peer,
            check_key: secrets.check_key,
            ratchet: secrets.ratchet,
            out_chain: BoxChain::new(*secrets.out_root, first_day),
            in_chain: BoxChain::new(*secrets.in_root, first_day),
            out_cursor: OutCursor {
                parked_day: first_day,
                ..OutCursor::default()
            },
            in_cursor: InCursor::new(first_day),
            out: OutQueue::default(),
            acks: AckQueue::default(),
            incoming: InQueue::default(),
            peer_live_until: 0,
            promised_until: 0,
            established: secrets.role == Role::Responder,
            answer_due: secrets.role == Role::Responder,
            retired: false,
            promising: true,
            roots: Vec::new(),
            events: Vec::new(),
            last_now: 0,
            counters: ConversationCounters::default(),
        }
    }

    /// The next moment after the last one it saw at which something changes by itself: a deadline, a
    /// resend, an acknowledgement's turn, a new live slot. Unix ms.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        let later = |at: &u64| *at > self.last_now;
        let blocked = self.urgency(self.last_now).is_some() && self.wants(self.last_now).is_none();
        let slot = self.params.live_slot_ms.max(1);
        let next_slot = blocked.then(|| (self.last_now / slot + 1).saturating_mul(slot));
        self.out
            .next_event()
            .chain(self.acks.next_due())
            .chain(next_slot)
            .filter(later)
            .min()
    }

    /// Gives up messages whose deadline passed and forgets keys of past days.
    pub fn handle_timeout(&mut self, now: u64) -> Vec<ConversationEvent> {
        self.last_now = self.last_now.max(now);
        let yesterday = day_of(now, self.params.day_ms).saturating_sub(1);
        self.out_chain.forget_before(yesterday);
        self.in_chain
            .forget_before(yesterday.min(self.in_cursor.first_day));
        let mut events = std::mem::take(&mut self.events);
        let late = self.out.expire(now);
        events.extend(
            late.into_iter()
                .map(|(id, at)| ConversationEvent::Expired { id, at }),
        );
        events
    }

    /// Gives up one message, by its sender's wish. `false` if it is not waiting any more.
    pub fn cancel(&mut self, id: &MessageId) -> bool {
        let before = self.out.messages.len();
        self.out.remove(id);
        self.out.messages.len() < before
    }

    /// Until when the peer said it waits on live boxes, Unix ms.
    #[must_use]
    pub const fn peer_live_until(&self) -> u64 {
        self.peer_live_until
    }

    /// Until when our own frames said that we wait on live boxes, Unix ms.
    #[must_use]
    pub const fn promised_until(&self) -> u64 {
        self.promised_until
    }

    /// Whether the hello is known to have arrived: always so for the responder, for the initiator
    /// since the peer's first frame. Until then the core repeats the hello.
    #[must_use]
    pub const fn is_established(&self) -> bool {
        self.established
    }

    /// The same hello came again: the peer has not had our answer, so answer once more.
    pub fn hello_repeated(&mut self) {
        self.answer_due = self.role == Role::Responder;
    }

    /// 16 bytes, equal on both sides and to [`HelloSecrets::id`].
    #[must_use]
    pub const fn id(&self) -> [u8; 16] {
        self.id
    }

    /// Which side of the hello we were.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The contact.
    #[must_use]
    pub const fn peer(&self) -> ContactKey {
        self.peer
    }

    /// Our own contact key in this conversation.
    #[must_use]
    pub const fn own(&self) -> ContactKey {
        self.own
    }

    /// Ids of messages submitted and neither delivered nor given up, oldest first.
    pub fn unfinished(&self) -> impl Iterator<Item = MessageId> + '_ {
        self.out.messages.iter().map(|message| message.id)
    }

    /// The certified root of an epoch, or `None` where this node holds no certificate for the
    /// directory it uses. Frames carry a keyed check of the latest epoch's; the peer's checks are
    /// compared with those of the last eight. What was certified once stays so.
    pub fn set_root(&mut self, epoch: u32, root: Option<[u8; 32]>) {
        match self.roots.iter_mut().find(|(known, _)| *known == epoch) {
            Some((_, known)) => *known = root.or(*known),
            None => self.roots.push((epoch, root)),
        }
        self.roots.sort_unstable();
        let excess = self.roots.len().saturating_sub(MAX_ROOTS);
        self.roots.drain(..excess);
    }

    /// Whether frames promise that we wait on live boxes: off for contacts beyond the live cap.
    pub fn set_promising(&mut self, on: bool) {
        self.promising = on;
    }

    /// Counts since start.
    #[must_use]
    pub fn counters(&self) -> ConversationCounters {
        ConversationCounters {
            acks_dropped: self.acks.dropped,
            ..self.counters
        }
    }

    /// The whole state. Secret; keep it encrypted.
    #[must_use]
    pub fn snapshot(&self) -> Zeroizing<Vec<u8>> {
        snapshot::save(self)
    }

    /// Continues exactly where [`snapshot`](Self::snapshot) was taken.
    ///
    /// # Errors
    /// [`RestoreError`].
    pub fn restore(bytes: &[u8], params: ConversationParams) -> Result<Self, RestoreError> {
        snapshot::load(bytes, params)
    }

    /// Whether `check`, from a frame of the peer's, stands for this root.
    #[must_use]
    pub fn peer_means(&self, epoch: u32, root: &[u8; 32], check: &[u8; 8]) -> bool {
        self.root_check(self.role.other(), epoch, Some(root)) == *check
    }

    /// Keyed by the conversation and bound to its sender, so that a peer can't echo ours. Without a
    /// certified root the hash ends at the epoch.
    fn root_check(&self, sender: Role, epoch: u32, root: Option<&[u8; 32]>) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new_keyed(&self.check_key);
        hasher.update(&[u8::from(sender == Role::Responder)]);
        hasher.update(&epoch.to_le_bytes());
        hasher.update(root.map_or(&[], |root| root.as_slice()));
        array(&hasher.finalize().as_bytes()[..8])
    }
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation")
            .field("role", &self.role)
            .field("established", &self.established)
            .field("outgoing", &self.out.messages.len())
            .field("incoming", &self.incoming.partial.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
