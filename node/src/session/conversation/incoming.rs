//! Messages on their way in: fragments become messages, messages are put in order before the
//! ratchet sees them.
//!
//! The ratchet keeps few skipped keys, so what arrives early waits here until its predecessors
//! came or the peer gave them up (`base_seq`). The peer is a contact, not a friend: bytes, messages
//! and distances are capped. Not here: decryption (the conversation), acknowledgements (`acks`).
//! SPEC §7.

use std::collections::{BTreeMap, VecDeque};

use super::outgoing::all_fragments;
use super::types::MessageId;
use crate::session::frame::{FRAGMENT_LEN, Fragment};

/// Messages waiting for fragments or for their turn.
pub(crate) const MAX_PARTIAL: usize = 128;
/// Bytes of their fragments.
pub(crate) const MAX_BYTES: usize = 2 << 20;
/// How far ahead of the next expected message a fragment may be.
pub(crate) const MAX_AHEAD: u32 = 512;
/// Received messages remembered, to answer repetitions.
pub(crate) const MAX_SEEN: usize = 1024;

/// A message being put together, or complete and waiting for its turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Partial {
    pub(crate) id: MessageId,
    pub(crate) count: u8,
    pub(crate) slow: bool,
    /// Received already by another way: nothing to decrypt, it only keeps its place.
    pub(crate) seen: bool,
    pub(crate) parts: BTreeMap<u8, Vec<u8>>,
}

impl Partial {
    pub(crate) fn have(&self) -> u64 {
        self.parts.keys().fold(0, |bits, index| bits | 1 << index)
    }

    fn complete(&self) -> bool {
        self.seen || self.have() == all_fragments(self.count)
    }

    fn bytes(&self) -> usize {
        self.parts.values().map(Vec::len).sum()
    }
}

/// A message received before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: MessageId,
    pub(crate) received_at: u64,
    pub(crate) read_at: Option<u64>,
    pub(crate) slow: bool,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// New; these fragments of the message are here now.
    Kept { have: u64, complete: bool },
    /// The message was received before.
    Repeated,
    /// Of a message that is over.
    Stale,
    /// Too far ahead.
    Ahead,
    /// Contradicts earlier fragments.
    Conflict,
    /// No room.
    Full,
}

/// The receiving side of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct InQueue {
    pub(crate) next_seq: u32,
    pub(crate) base_seq: u32,
    pub(crate) partial: BTreeMap<u32, Partial>,
    pub(crate) seen: VecDeque<Seen>,
}

impl InQueue {
    pub(crate) fn take(&mut self, fragment: Fragment, slow: bool) -> Taken {
        let Fragment {
            id,
            seq,
            index,
            count,
            data,
        } = fragment;
        if self.seen(&id).is_some() {
            if seq >= self.next_seq && seq - self.next_seq < MAX_AHEAD {
                let place = Partial {
                    id,
                    count,
                    slow,
                    seen: true,
                    parts: BTreeMap::new(),
                };
                self.partial.entry(seq).or_insert(place);
            }
            return Taken::Repeated;
        }
        if seq < self.next_seq {
            return Taken::Stale;
        }
        if seq - self.next_seq >= MAX_AHEAD {
            return Taken::Ahead;
        }
        let fresh = || Partial {
            id,
            count,
            slow,
            seen: false,
            parts: BTreeMap::new(),
        };
        let partial = self.partial.entry(seq).or_insert_with(fresh);
        let same = partial
            .parts
            .get(&index)
            .is_none_or(|before| *before == data);
        if partial.id != id || partial.count != count || !same {
            return Taken::Conflict;
        }
        partial.parts.insert(index, data);
        let taken = Taken::Kept {
            have: partial.have(),
            complete: partial.complete(),
        };
        match self.make_room(seq) {
            true => taken,
            false => Taken::Full,
        }
    }

    /// The next message in order, complete: its id and ciphertext. Skips what the peer gave up.
    pub(crate) fn pop(&mut self) -> Option<(MessageId, bool, Vec<u8>)> {
        loop {
            match self.partial.first_entry() {
                Some(entry) if *entry.key() < self.next_seq => drop(entry.remove()),
                Some(entry) if *entry.key() == self.next_seq && entry.get().complete() => {
                    let message = entry.remove();
                    self.next_seq = self.next_seq.saturating_add(1);
                    if !message.seen {
                        let ciphertext = message.parts.into_values().flatten().collect();
                        return Some((message.id, message.slow, ciphertext));
                    }
                }
                first if self.next_seq < self.base_seq => {
                    // Jump to what is there, or past all that was given up.
                    let there = first.map_or(self.base_seq, |entry| match entry.get().complete() {
                        true => *entry.key(),
                        false => entry.key().saturating_add(1),
                    });
                    self.next_seq = there.min(self.base_seq).max(self.next_seq);
                }
                _ => return None,
            }
        }
    }

    pub(crate) fn seen(&self, id: &MessageId) -> Option<&Seen> {
        self.seen.iter().rev().find(|seen| seen.id == *id)
    }

    pub(crate) fn remember(&mut self, seen: Seen) {
        if self.seen(&seen.id).is_some() {
            return;
        }
        self.seen.push_back(seen);
        while self.seen.len() > MAX_SEEN {
            self.seen.pop_front();
        }
    }

    /// Drops the latest messages until the caps hold; `false` if the one at `seq` had to go.
    fn make_room(&mut self, seq: u32) -> bool {
        let mut kept = true;
        let mut bytes: usize = self.partial.values().map(Partial::bytes).sum();
        while self.partial.len() > MAX_PARTIAL || bytes > MAX_BYTES {
            let Some((last, partial)) = self.partial.pop_last() else {
                break;
            };
            bytes -= partial.bytes();
            kept &= last != seq;
        }
        kept
    }
}

const _: () = assert!(MAX_BYTES > 64 * FRAGMENT_LEN, "one message always fits");
