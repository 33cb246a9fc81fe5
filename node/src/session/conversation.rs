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
mod snapshot;
mod types;

use zeroize::Zeroizing;

pub use crossing::{Keep, crossing};
pub use types::*;

use self::acks::AckQueue;
use self::cursor::{InCursor, OutCursor};
use self::incoming::{InQueue, Seen, Taken};
use self::outgoing::{OutQueue, Outgoing};
use super::boxes::{BoxChain, Series};
use super::frame::{AckKind, FRAME_LEN, Fragment, Frame};
use super::hello::{HelloSecrets, Role};
use super::identity::ContactKey;
use super::prekey::array;
use super::ratchet::Ratchet;
use super::{SEALED_LEN, day_of};

/// Inside the ratchet: version, message id, submission time.
const INNER_VERSION: u8 = 1;
const INNER_LEN: usize = 1 + 16 + 8;
/// Roots of this many epochs are compared.
const MAX_ROOTS: usize = 4;

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
    roots: Vec<(u32, [u8; 32])>,
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

    /// Accepts a message. It is given up at `deadline` (Unix ms) if no acknowledgement came by then.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing has changed then.
    pub fn submit(
        &mut self,
        now: u64,
        id: MessageId,
        body: &[u8],
        class: Class,
        deadline: u64,
    ) -> Result<(), SubmitError> {
        if self.retired {
            return Err(SubmitError::Retired);
        }
        if body.len() > MAX_BODY {
            return Err(SubmitError::TooLong { len: body.len() });
        }
        if deadline <= now {
            return Err(SubmitError::Late);
        }
        self.out.push(Outgoing {
            id,
            class,
            submitted_at: now,
            deadline,
            body: body.to_vec(),
            ratcheted: None,
            pending: 0,
            acked: 0,
            sent: false,
            rounds: 0,
            resend_at: 0,
            parked: false,
        })
    }

    /// What it wants a payload slot for, if anything can be sent now.
    #[must_use]
    pub fn wants(&self, now: u64) -> Option<Urgency> {
        let urgency = self.urgency(now)?;
        let waits = self.peer_is_live(now)
            && self.out_cursor.live_left(now, &self.params) == 0
            && !self.spills(now, urgency);
        (!waits).then_some(urgency)
    }

    /// Whether it wants to send something for the first time.
    #[must_use]
    pub fn has_urgent(&self, now: u64) -> bool {
        self.wants(now)
            .is_some_and(|urgency| urgency > Urgency::Resend)
    }

    /// The next frame, sealed into the next box: the usual call at a free payload slot. Save
    /// [`snapshot`](Self::snapshot) before its packets leave. `None` if nothing can be sent now.
    pub fn next_deposit(&mut self, now: u64) -> Option<Deposit> {
        let urgency = self.wants(now)?;
        let parked = !self.peer_is_live(now) || self.spills(now, urgency);
        let series = match parked {
            true => self.out_cursor.next_parked(now, &self.params),
            false => self.out_cursor.next_live(now, &self.params)?,
        };
        let target = self.target(series)?;
        let frame = self.make_frame(now, !parked)?;
        let sealed = target.keys.seal(&frame.frame);
        Some(Deposit {
            target,
            sealed,
            frame,
        })
    }

    /// The next frame alone: oldest data never sent, else acknowledgements, else data due again;
    /// acknowledgements ride along with data. What it returns counts as sent.
    pub fn next_frame(&mut self, now: u64) -> Option<FrameOut> {
        self.make_frame(now, self.peer_is_live(now))
    }

    /// The next box alone, for a frame made by [`next_frame`](Self::next_frame). Live while the peer
    /// said it waits there, else parked; `None` while this slot's live boxes are used up.
    pub fn next_out_box(&mut self, now: u64) -> Option<BoxTarget> {
        let series = match self.peer_is_live(now) {
            true => self.out_cursor.next_live(now, &self.params)?,
            false => self.out_cursor.next_parked(now, &self.params),
        };
        self.target(series)
    }

    /// The boxes worth fetching now, most important first; none of them is being fetched. At least
    /// the first should always be waited on.
    pub fn wanted_boxes(&mut self, now: u64) -> Vec<InBox> {
        let wanted = self
            .in_cursor
            .wanted(now, self.promised_until, &self.in_chain, &self.params);
        self.counters.boxes_given_up += std::mem::take(&mut self.in_cursor.given_up);
        wanted
    }

    /// A fetch of the box left.
    pub fn fetch_started(&mut self, now: u64, id: &[u8; 32]) {
        self.in_cursor.fetch_started(now, id, &self.params);
    }

    /// A fetch of the box ended without content. Content goes to [`handle_box`](Self::handle_box).
    pub fn fetch_done(&mut self, now: u64, id: &[u8; 32], outcome: Fetched) {
        self.in_cursor.fetch_done(now, id, outcome, &self.params);
    }

    /// What a holder gave for a box. Anything that is not a sound frame counts as an empty box.
    pub fn handle_box(
        &mut self,
        now: u64,
        id: &[u8; 32],
        sealed: &[u8; SEALED_LEN],
    ) -> Vec<ConversationEvent> {
        let Some(keys) = self.in_cursor.keys(id) else {
            self.counters.unknown_boxes += 1;
            return Vec::new();
        };
        let Some(frame) = keys.open(sealed) else {
            self.counters.unreadable_boxes += 1;
            self.in_cursor
                .fetch_done(now, id, Fetched::Empty, &self.params);
            return Vec::new();
        };
        self.in_cursor.found(now, id);
        self.handle_frame(now, &frame)
    }

    /// An opened frame.
    pub fn handle_frame(&mut self, now: u64, frame: &[u8; FRAME_LEN]) -> Vec<ConversationEvent> {
        self.last_now = self.last_now.max(now);
        let mut events = std::mem::take(&mut self.events);
        let Some(frame) = Frame::decode(frame) else {
            self.counters.malformed_frames += 1;
            return events;
        };
        self.counters.frames_in += 1;
        if !self.established {
            self.established = true;
            events.push(ConversationEvent::Established { at: now });
        }
        self.hear_promise(now, frame.live_until);
        self.compare_root(frame.root, &mut events);
        for ack in &frame.acks {
            self.handle_ack(now, ack.prefix, ack.kind, &mut events);
        }
        self.incoming.base_seq = self.incoming.base_seq.max(frame.base_seq);
        if let Some(fragment) = frame.fragment {
            self.handle_fragment(now, fragment, frame.slow);
        }
        self.deliver(now, &mut events);
        events
    }

    /// The user has read a received message: queues the acknowledgement once.
    pub fn mark_read(&mut self, now: u64, id: &MessageId) {
        let Some(seen) = self.incoming.seen.iter_mut().find(|seen| seen.id == *id) else {
            return;
        };
        if seen.read_at.is_none() {
            seen.read_at = Some(now);
            let slow = seen.slow;
            self.acks.read(now, id, now, slow);
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

    /// The directory root of an epoch as this node knows it; frames carry a keyed check of the
    /// latest, and the peer's checks are compared with the last four.
    pub fn set_root(&mut self, epoch: u32, root: [u8; 32]) {
        self.roots.retain(|(known, _)| *known != epoch);
        self.roots.push((epoch, root));
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

    fn urgency(&self, now: u64) -> Option<Urgency> {
        if !self.retired && self.out.wants_first() {
            Some(Urgency::First)
        } else if self.answer_due || self.acks.due(now) {
            Some(Urgency::Ack)
        } else if !self.retired && self.out.wants_resend(now) {
            Some(Urgency::Resend)
        } else {
            None
        }
    }

    fn make_frame(&mut self, now: u64, live: bool) -> Option<FrameOut> {
        self.last_now = self.last_now.max(now);
        let urgency = self.urgency(now)?;
        if urgency == Urgency::First {
            self.ratchet_next();
        }
        let picked = match urgency {
            Urgency::Ack => None,
            _ => Some(
                self.out
                    .pick(now, urgency == Urgency::Resend, live, &self.params)?,
            ),
        };
        let class = match &picked {
            Some(picked) => picked.class,
            None if self.acks.due(now) && self.acks.all_slow(now) => Class::Slow,
            None => Class::Fast,
        };
        let acks = self.acks.take(now, &self.params);
        if self.promising && self.params.live_window_ms > 0 && !self.retired {
            self.promised_until = now.saturating_add(self.params.live_window_ms);
        }
        self.answer_due = false;
        self.counters.frames_out += 1;
        let ack_count = acks.len() as u8;
        let carries = picked.as_ref().map(|picked| Carried {
            id: picked.fragment.id,
            index: picked.fragment.index,
            count: picked.fragment.count,
        });
        let completes = picked
            .as_ref()
            .filter(|p| p.completes)
            .map(|p| p.fragment.id);
        let first = picked.as_ref().is_some_and(|picked| picked.first);
        let frame = Frame {
            slow: class == Class::Slow,
            root: self
                .roots
                .last()
                .map(|(epoch, root)| (*epoch, self.root_check(self.role, *epoch, root))),
            live_until: if self.promised_until > now {
                self.promised_until
            } else {
                0
            },
            base_seq: self.out.base_seq(),
            acks,
            fragment: picked.map(|picked| picked.fragment),
        };
        Some(FrameOut {
            frame: frame.encode(),
            urgent: first || ack_count > 0 || urgency == Urgency::Ack,
            urgency,
            class,
            carries,
            completes,
            acks: ack_count,
        })
    }

    fn peer_is_live(&self, now: u64) -> bool {
        self.peer_live_until > now && self.params.live_per_slot > 0
    }

    /// Whether this frame goes to a parked box although the peer is live: new data that would wait
    /// for the next slot, and data that live boxes failed to carry twice.
    fn spills(&self, now: u64, urgency: Urgency) -> bool {
        match urgency {
            Urgency::First => self.out_cursor.live_left(now, &self.params) == 0,
            Urgency::Ack => false,
            Urgency::Resend => self.out.resend_parked(now),
        }
    }

    fn target(&self, series: Series) -> Option<BoxTarget> {
        let params = &self.params;
        let keys = self
            .out_chain
            .at(series, params.live_slot_ms, params.day_ms)?;
        let (expires_at, holders) = match series {
            // Two slots longer than its own, for late sweeps.
            Series::Live { slot, .. } => (
                (slot + 3).saturating_mul(params.live_slot_ms),
                params.live_holders,
            ),
            Series::Parked { day, .. } => {
                let last = u64::from(day) + 1 + u64::from(params.parked_days);
                (last.saturating_mul(params.day_ms), params.parked_holders)
            }
        };
        Some(BoxTarget {
            keys,
            series,
            expires_at,
            holders,
        })
    }

    fn ratchet_next(&mut self) {
        while let Some(message) = self.out.to_ratchet() {
            let id = message.id;
            let mut inner = Zeroizing::new(Vec::with_capacity(INNER_LEN + message.body.len()));
            inner.push(INNER_VERSION);
            inner.extend(id);
            inner.extend(message.submitted_at.to_le_bytes());
            inner.extend(&message.body);
            match self.ratchet.encrypt(&inner) {
                Ok(ciphertext) => return self.out.ratcheted(&id, ciphertext),
                Err(_) => {
                    self.out.remove(&id);
                    self.events.push(ConversationEvent::Failed {
                        id,
                        code: "ratchet_failed",
                    });
                }
            }
        }
    }

    fn hear_promise(&mut self, now: u64, until: u64) {
        // A promise of years would keep us away from parked boxes for years.
        let until = until.min(now.saturating_add(self.params.live_window_ms.saturating_mul(2)));
        if until > now && self.peer_live_until <= now {
            self.out.hasten(now, &self.params);
        }
        self.peer_live_until = self.peer_live_until.max(until);
    }

    fn compare_root(&self, theirs: Option<(u32, [u8; 8])>, events: &mut Vec<ConversationEvent>) {
        let Some((epoch, check)) = theirs else { return };
        let sender = match self.role {
            Role::Initiator => Role::Responder,
            Role::Responder => Role::Initiator,
        };
        let ours = self.roots.iter().find(|(known, _)| *known == epoch);
        if ours.is_some_and(|(_, root)| self.root_check(sender, epoch, root) != check) {
            events.push(ConversationEvent::RootMismatch { epoch });
        }
    }

    /// Keyed by the conversation and bound to its sender, so that a peer can't echo ours.
    fn root_check(&self, sender: Role, epoch: u32, root: &[u8; 32]) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new_keyed(&self.check_key);
        hasher.update(&[u8::from(sender == Role::Responder)]);
        hasher.update(&epoch.to_le_bytes());
        hasher.update(root);
        array(&hasher.finalize().as_bytes()[..8])
    }

    fn handle_ack(
        &mut self,
        now: u64,
        prefix: [u8; 8],
        kind: AckKind,
        events: &mut Vec<ConversationEvent>,
    ) {
        let known = match kind {
            AckKind::Partial(bits) => self.out.partly_acked(now, &prefix, bits, &self.params),
            AckKind::Delivered(at) | AckKind::Read(at) => {
                let delivered = self.out.acked(&prefix);
                events.extend(delivered.map(|id| ConversationEvent::Delivered { id, at }));
                let read = match kind {
                    AckKind::Read(_) => self.out.read(&prefix),
                    _ => None,
                };
                events.extend(read.map(|id| ConversationEvent::Read { id, at }));
                delivered.is_some() || read.is_some()
            }
        };
        self.counters.unknown_acks += u64::from(!known);
    }

    fn handle_fragment(&mut self, now: u64, fragment: Fragment, slow: bool) {
        let id = fragment.id;
        match self.incoming.take(fragment, slow) {
            Taken::Kept { have, complete } => {
                // Complete but early also says so: its fragments need no resending.
                let pause = if complete {
                    0
                } else {
                    self.params.expected_rtt_ms / 2
                };
                self.acks
                    .partial(now.saturating_add(pause), &id, have, slow);
            }
            Taken::Repeated => {
                self.counters.duplicates += 1;
                if let Some(seen) = self.incoming.seen(&id).cloned() {
                    self.acks.delivered(now, &id, seen.received_at, seen.slow);
                }
            }
            Taken::Stale => self.counters.duplicates += 1,
            Taken::Ahead => self.counters.too_far_ahead += 1,
            Taken::Conflict => self.counters.conflicting_fragments += 1,
            Taken::Full => self.counters.reassembly_full += 1,
        }
    }

    fn deliver(&mut self, now: u64, events: &mut Vec<ConversationEvent>) {
        while let Some((id, slow, ciphertext)) = self.incoming.pop() {
            let plain = self.ratchet.decrypt(&ciphertext).map(Zeroizing::new);
            let inner = plain.ok().and_then(|plain| read_inner(&id, &plain));
            let Some((sent_at, body)) = inner else {
                self.counters.undecryptable += 1;
                continue;
            };
            if let Some(seen) = self.incoming.seen(&id) {
                // It came through another conversation meanwhile.
                let received_at = seen.received_at;
                self.acks.delivered(now, &id, received_at, slow);
                continue;
            }
            self.incoming.remember(Seen {
                id,
                received_at: now,
                read_at: None,
                slow,
            });
            self.acks.delivered(now, &id, now, slow);
            events.push(ConversationEvent::Message {
                id,
                body,
                sent_at,
                received_at: now,
            });
        }
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

fn read_inner(id: &MessageId, plain: &[u8]) -> Option<(u64, Vec<u8>)> {
    let (head, body) = plain.split_at_checked(INNER_LEN)?;
    let sound = head[0] == INNER_VERSION && head[1..17] == *id && body.len() <= MAX_BODY;
    sound.then(|| (u64::from_le_bytes(array(&head[17..])), body.to_vec()))
}

#[cfg(test)]
mod tests;
