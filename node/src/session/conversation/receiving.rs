//! What a conversation makes of what comes in: boxes, frames, acknowledgements, messages.
//!
//! Not here: which box to ask for (`cursor`), putting fragments together (`incoming`). SPEC §7.3.

use zeroize::Zeroizing;

use super::incoming::{Seen, Taken};
use super::types::{ConversationEvent, ConversationParams, Fetched, InBox, MAX_BODY, MessageId};
use super::{Conversation, INNER_LEN, INNER_MESSAGE, INNER_NOTE};
use crate::session::SEALED_LEN;
use crate::session::frame::{AckKind, FRAME_LEN, Fragment, Frame};
use crate::session::prekey::array;

impl Conversation {
    /// The boxes worth fetching now, most important first; none of them is being fetched. At least
    /// the first should always be waited on.
    pub fn wanted_boxes(&mut self, now: u64) -> Vec<InBox> {
        let wanted = self
            .in_cursor
            .wanted(now, self.promised_until, &self.in_chain, &self.params);
        self.counters.boxes_given_up += std::mem::take(&mut self.in_cursor.given_up);
        wanted
    }

    /// The fetch that just left waits only so long at its holder: the keys of its way back end.
    pub fn fetch_waits(&mut self, now: u64, id: &[u8; 32], wait_ms: u64) {
        self.in_cursor.fetch_waits(now, id, wait_ms);
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
            self.acks
                .read(now.saturating_add(ack_pause(&self.params)), id, now, slow);
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

    /// Only two certified roots of one epoch contradict each other. Who holds no certificate says
    /// so, and of an epoch we know nothing certified of there is nothing to compare: without
    /// certificates honest views differ by every beat that is still on its way.
    fn compare_root(
        &mut self,
        theirs: Option<(u32, [u8; 8])>,
        events: &mut Vec<ConversationEvent>,
    ) {
        let Some((epoch, check)) = theirs else { return };
        let ours = self.roots.iter().find(|(known, _)| *known == epoch);
        let Some(root) = ours.and_then(|(_, root)| *root) else {
            self.counters.roots_unchecked += 1;
            return;
        };
        if self.peer_means(epoch, &root, &check) {
            self.counters.roots_agreed += 1;
        } else if self.root_check(self.role.other(), epoch, None) == check {
            self.counters.roots_unchecked += 1;
        } else {
            events.push(ConversationEvent::RootMismatch { epoch, check });
        }
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
                    self.acks.delivered(
                        now.saturating_add(ack_pause(&self.params)),
                        &id,
                        seen.received_at,
                        seen.slow,
                    );
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
            let Some((kind, sent_at, body)) = inner else {
                self.counters.undecryptable += 1;
                continue;
            };
            if let Some(seen) = self.incoming.seen(&id) {
                // It came through another conversation meanwhile.
                let received_at = seen.received_at;
                self.acks.delivered(
                    now.saturating_add(ack_pause(&self.params)),
                    &id,
                    received_at,
                    slow,
                );
                continue;
            }
            self.incoming.remember(Seen {
                id,
                received_at: now,
                read_at: None,
                slow,
            });
            self.acks
                .delivered(now.saturating_add(ack_pause(&self.params)), &id, now, slow);
            events.push(match kind {
                INNER_NOTE => ConversationEvent::Note { id, body },
                _ => ConversationEvent::Message {
                    id,
                    body,
                    sent_at,
                    received_at: now,
                },
            });
        }
    }
}

/// Kind, submission time and body.
fn read_inner(id: &MessageId, plain: &[u8]) -> Option<(u8, u64, Vec<u8>)> {
    let (head, body) = plain.split_at_checked(INNER_LEN)?;
    let known = matches!(head[0], INNER_MESSAGE | INNER_NOTE);
    let sound = known && head[1..17] == *id && body.len() <= MAX_BODY;
    sound.then(|| {
        (
            head[0],
            u64::from_le_bytes(array(&head[17..])),
            body.to_vec(),
        )
    })
}

/// How long an acknowledgement waits for company.
fn ack_pause(params: &ConversationParams) -> u64 {
    params.expected_rtt_ms / 8
}
