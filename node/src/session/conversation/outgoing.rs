//! Messages on their way out: the queue, the fragments still to send, when to send them again.
//!
//! A message is ratcheted when its first fragment leaves, not when it is submitted: one that
//! expires unsent costs no ratchet step and leaves no gap. Not here: acknowledgements we owe
//! (`acks`), the boxes (`cursor`). SPEC §7.

use std::collections::VecDeque;

use zeroize::Zeroize;

use super::types::{
    Class, ConversationParams, MAX_OUTGOING, MAX_OUTGOING_BYTES, MessageId, SubmitError,
};
use crate::session::frame::{FRAGMENT_LEN, Fragment};

/// Delivered messages remembered until they are read.
const MAX_DELIVERED: usize = 1024;
/// Messages ratcheted without any acknowledgement; vodozemac's receiver skips at most 2,000.
const MAX_RATCHETED_AHEAD: u32 = 1500;
/// Longest pause between two attempts: a parked box keeps for days, so a day is enough.
const MAX_PAUSE_MS: u64 = 86_400_000;
/// Attempts after which live boxes are no longer trusted.
const LIVE_ATTEMPTS: u8 = 1;

/// One message and how far it got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) id: MessageId,
    pub(crate) class: Class,
    /// The node's own word, not the user's.
    pub(crate) note: bool,
    pub(crate) submitted_at: u64,
    pub(crate) deadline: u64,
    pub(crate) body: Vec<u8>,
    /// Sequence number and ciphertext, once ratcheted.
    pub(crate) ratcheted: Option<(u32, Vec<u8>)>,
    /// Fragments to send in the present round.
    pub(crate) pending: u64,
    /// Fragments the peer has.
    pub(crate) acked: u64,
    /// Whether every fragment has left once.
    pub(crate) sent: bool,
    /// Rounds finished.
    pub(crate) rounds: u8,
    /// When the next round begins.
    pub(crate) resend_at: u64,
    /// Whether the last round went to parked boxes, whose reader may take its time.
    pub(crate) parked: bool,
}

impl Outgoing {
    fn fragments(&self) -> u8 {
        let len = self.ratcheted.as_ref().map_or(0, |(_, bytes)| bytes.len());
        // Bodies are capped so that this is at most 36.
        u8::try_from(len.div_ceil(FRAGMENT_LEN)).unwrap_or(u8::MAX)
    }

    fn all(&self) -> u64 {
        all_fragments(self.fragments())
    }

    fn due(&self, now: u64) -> bool {
        self.sent && (self.pending != 0 || self.resend_at <= now)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.body.zeroize();
    }
}

/// A fragment to send.
pub(crate) struct Picked {
    pub(crate) fragment: Fragment,
    pub(crate) class: Class,
    pub(crate) first: bool,
    pub(crate) completes: bool,
}

/// The queue of one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OutQueue {
    pub(crate) messages: VecDeque<Outgoing>,
    pub(crate) next_seq: u32,
    /// One past the highest sequence number the peer has acknowledged.
    pub(crate) acked_seq: u32,
    /// Delivered, not read.
    pub(crate) delivered: VecDeque<MessageId>,
}

impl OutQueue {
    pub(crate) fn push(&mut self, message: Outgoing) -> Result<(), SubmitError> {
        let bytes: usize = self.messages.iter().map(|m| m.body.len()).sum();
        if self.messages.len() >= MAX_OUTGOING || bytes + message.body.len() > MAX_OUTGOING_BYTES {
            return Err(SubmitError::Full {
                count: self.messages.len(),
                bytes,
            });
        }
        if self.messages.iter().any(|m| m.id == message.id) || self.delivered.contains(&message.id)
        {
            return Err(SubmitError::Duplicate);
        }
        self.messages.push_back(message);
        Ok(())
    }

    /// Messages below this sequence number will not be sent again.
    pub(crate) fn base_seq(&self) -> u32 {
        let pending = self
            .messages
            .iter()
            .filter_map(|m| m.ratcheted.as_ref().map(|(seq, _)| *seq));
        pending.min().unwrap_or(self.next_seq)
    }

    pub(crate) fn wants_first(&self) -> bool {
        self.messages
            .iter()
            .any(|m| !m.sent && (m.ratcheted.is_some() || self.may_ratchet()))
    }

    pub(crate) fn wants_resend(&self, now: u64) -> bool {
        self.messages.iter().any(|m| m.due(now))
    }

    /// Whether the next resend should not trust live boxes any more.
    pub(crate) fn resend_parked(&self, now: u64) -> bool {
        self.messages
            .iter()
            .find(|m| m.due(now))
            .is_some_and(|m| m.rounds >= LIVE_ATTEMPTS)
    }

    /// The oldest message never sent, if the next frame would begin it: to be ratcheted first.
    pub(crate) fn next_to_ratchet(&mut self) -> Option<&mut Outgoing> {
        let may = self.may_ratchet();
        self.messages
            .iter_mut()
            .find(|m| !m.sent)
            .filter(|m| m.ratcheted.is_none() && may)
    }

    /// Gives a message its number and ciphertext.
    pub(crate) fn ratcheted(&mut self, id: &MessageId, ciphertext: Vec<u8>) {
        let seq = self.next_seq;
        if let Some(message) = self.messages.iter_mut().find(|m| m.id == *id) {
            self.next_seq = self.next_seq.wrapping_add(1);
            message.ratcheted = Some((seq, ciphertext));
            message.pending = message.all();
        }
    }

    pub(crate) fn remove(&mut self, id: &MessageId) {
        self.messages.retain(|m| m.id != *id);
    }

    /// Takes the next fragment: a first one, or if `resend`, one due again.
    pub(crate) fn pick(
        &mut self,
        now: u64,
        resend: bool,
        live: bool,
        params: &ConversationParams,
    ) -> Option<Picked> {
        let message = match resend {
            false => self.messages.iter_mut().find(|m| !m.sent && m.pending != 0),
            true => self.messages.iter_mut().find(|m| m.due(now)),
        }?;
        if message.pending == 0 {
            // Said to have everything and still no delivery: it had to drop something.
            message.acked = if message.acked == message.all() {
                0
            } else {
                message.acked
            };
            message.pending = message.all() & !message.acked;
        }
        let index = u8::try_from(message.pending.trailing_zeros())
            .ok()
            .filter(|index| *index < 64)?;
        let count = message.fragments();
        let (seq, ciphertext) = message.ratcheted.as_ref()?;
        let data = ciphertext
            .chunks(FRAGMENT_LEN)
            .nth(usize::from(index))?
            .to_vec();
        let fragment = Fragment {
            id: message.id,
            seq: *seq,
            index,
            count,
            data,
        };
        message.pending &= message.pending - 1;
        let first = !message.sent;
        let completes = first && message.pending == 0;
        if message.pending == 0 {
            message.sent = true;
            message.parked = !live;
            message.resend_at = now.saturating_add(pause(message.rounds, live, params));
            message.rounds = message.rounds.saturating_add(1);
        }
        Some(Picked {
            fragment,
            class: message.class,
            first,
            completes,
        })
    }

    /// The peer has these fragments.
    pub(crate) fn partly_acked(
        &mut self,
        now: u64,
        prefix: &[u8; 8],
        bits: u64,
        params: &ConversationParams,
    ) -> bool {
        let Some(message) = self.by_prefix(prefix) else {
            return false;
        };
        let progress = bits & message.all() & !message.acked != 0;
        message.acked |= bits & message.all();
        message.pending &= !message.acked;
        if message.pending == 0 && progress {
            // It is being read: the rest is resent only once reading stops.
            message.sent = true;
            message.resend_at = now.saturating_add(pause(0, !message.parked, params));
        }
        true
    }

    /// The peer has the message. Returns its id the first time.
    pub(crate) fn acked(&mut self, prefix: &[u8; 8]) -> Option<MessageId> {
        let message = self.by_prefix(prefix)?;
        let (id, seq) = (message.id, message.ratcheted.as_ref().map(|(seq, _)| *seq)?);
        self.acked_seq = self.acked_seq.max(seq.saturating_add(1));
        self.remove(&id);
        self.delivered.push_back(id);
        while self.delivered.len() > MAX_DELIVERED {
            self.delivered.pop_front();
        }
        Some(id)
    }

    /// The peer's user read a delivered message. Returns its id the first time.
    pub(crate) fn read(&mut self, prefix: &[u8; 8]) -> Option<MessageId> {
        let at = self
            .delivered
            .iter()
            .position(|id| id.starts_with(prefix))?;
        self.delivered.remove(at)
    }

    /// Takes out what has passed its deadline.
    pub(crate) fn expire(&mut self, now: u64) -> Vec<(MessageId, u64)> {
        let late: Vec<_> = self
            .messages
            .iter()
            .filter(|m| m.deadline <= now)
            .map(|m| (m.id, m.deadline))
            .collect();
        self.messages.retain(|m| m.deadline > now);
        late
    }

    /// The peer is back: no need to wait out a long pause.
    pub(crate) fn hasten(&mut self, now: u64, params: &ConversationParams) {
        let soon = now.saturating_add(pause(0, false, params));
        for message in self.messages.iter_mut().filter(|m| m.sent) {
            message.resend_at = message.resend_at.min(soon);
        }
    }

    /// Deadlines and resends.
    pub(crate) fn next_event(&self) -> impl Iterator<Item = u64> + '_ {
        self.messages
            .iter()
            .flat_map(|m| [Some(m.deadline), m.sent.then_some(m.resend_at)])
            .flatten()
    }

    fn may_ratchet(&self) -> bool {
        self.next_seq.wrapping_sub(self.acked_seq) < MAX_RATCHETED_AHEAD
    }

    fn by_prefix(&mut self, prefix: &[u8; 8]) -> Option<&mut Outgoing> {
        self.messages
            .iter_mut()
            .find(|m| m.ratcheted.is_some() && m.id.starts_with(prefix))
    }
}

/// The pause after round `rounds`: doubling, and three times as long for what was parked.
fn pause(rounds: u8, live: bool, params: &ConversationParams) -> u64 {
    // An answer rarely takes twice its mean; resending sooner would fill the streams with what has
    // arrived already.
    let base = params.expected_rtt_ms.max(1).saturating_mul(2);
    let shift = u32::from(rounds.min(20));
    // What lies parked waits for its reader: less haste.
    let base = if live { base } else { base.saturating_mul(3) };
    base.saturating_mul(1 << shift.min(40)).min(MAX_PAUSE_MS)
}

pub(crate) fn all_fragments(count: u8) -> u64 {
    match count {
        0 => 0,
        1..=63 => (1 << count) - 1,
        _ => u64::MAX,
    }
}
