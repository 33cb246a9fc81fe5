//! Acknowledgements we owe the peer.
//!
//! `Delivered` goes out once and again whenever the peer repeats the message. Nothing repeats a
//! `Read`, so it goes out twice. All wait a moment, so that one frame carries what belongs together,
//! and what has left rides along in the spare room of later frames: a frame of its own costs slots
//! at both ends. Not here: what the peer acknowledges to us (`outgoing`). SPEC §7.

use super::types::{ConversationParams, MessageId};
use crate::session::frame::{Ack, AckKind, MAX_ACKS};
use crate::session::prekey::array;

/// Acknowledgements waiting at once; the oldest goes first when full.
pub(crate) const MAX_WAITING: usize = 256;
const READ_COPIES: u8 = 2;
/// Later frames that an acknowledgement rides along in.
const RIDES: u8 = 2;

/// One acknowledgement waiting to leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AckOut {
    pub(crate) ack: Ack,
    pub(crate) due: u64,
    pub(crate) copies: u8,
    pub(crate) round: u8,
    pub(crate) slow: bool,
}

/// All of them, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AckQueue {
    pub(crate) waiting: Vec<AckOut>,
    pub(crate) dropped: u64,
    /// Left already, with the rides it still has. Not saved: a restart costs only the rides.
    pub(crate) riding: Vec<(Ack, u8)>,
}

impl AckQueue {
    pub(crate) fn delivered(&mut self, due: u64, id: &MessageId, at: u64, slow: bool) {
        let prefix = prefix(id);
        self.waiting
            .retain(|out| !(out.ack.prefix == prefix && is_partial(out)));
        self.push(prefix, AckKind::Delivered(at), due, 1, slow);
    }

    pub(crate) fn read(&mut self, due: u64, id: &MessageId, at: u64, slow: bool) {
        self.push(prefix(id), AckKind::Read(at), due, READ_COPIES, slow);
    }

    /// `bits` of the message are here; said after a pause without further fragments.
    pub(crate) fn partial(&mut self, due: u64, id: &MessageId, bits: u64, slow: bool) {
        let prefix = prefix(id);
        self.waiting
            .retain(|out| !(out.ack.prefix == prefix && is_partial(out)));
        self.push(prefix, AckKind::Partial(bits), due, 1, slow);
    }

    pub(crate) fn due(&self, now: u64) -> bool {
        self.waiting.iter().any(|out| out.due <= now)
    }

    /// Whether all that is due may take the slow class.
    pub(crate) fn all_slow(&self, now: u64) -> bool {
        self.waiting
            .iter()
            .filter(|out| out.due <= now)
            .all(|out| out.slow)
    }

    pub(crate) fn next_due(&self) -> impl Iterator<Item = u64> + '_ {
        self.waiting.iter().map(|out| out.due)
    }

    /// Takes up to eight that are due; with `riding`, in a frame that leaves anyway, also those that
    /// still wait for company.
    pub(crate) fn take(&mut self, now: u64, riding: bool, params: &ConversationParams) -> Vec<Ack> {
        let mut taken = Vec::new();
        for out in self
            .waiting
            .iter_mut()
            .filter(|out| {
                let company = riding && out.round == 0 && !is_partial(out);
                out.due <= now || company
            })
            .take(MAX_ACKS)
        {
            taken.push(out.ack);
            out.copies -= 1;
            out.round = out.round.saturating_add(1);
            let pause = params
                .expected_rtt_ms
                .saturating_mul(1 << (2 * u32::from(out.round.min(8))));
            out.due = now.saturating_add(pause.max(1));
        }
        self.waiting.retain(|out| out.copies > 0);
        let fresh = taken.clone();
        for (ack, rides) in &mut self.riding {
            if taken.len() < MAX_ACKS && !taken.contains(ack) {
                taken.push(*ack);
                *rides = rides.saturating_sub(1);
            }
        }
        self.riding
            .retain(|(ack, rides)| *rides > 0 && !fresh.contains(ack));
        for ack in fresh {
            let passing = matches!(ack.kind, AckKind::Partial(_));
            if !passing && self.riding.len() < MAX_ACKS {
                self.riding.push((ack, RIDES));
            }
        }
        taken
    }

    fn push(&mut self, prefix: [u8; 8], kind: AckKind, due: u64, copies: u8, slow: bool) {
        let ack = Ack { prefix, kind };
        // Several fragments of one repeated message ask for one answer.
        if self
            .waiting
            .iter()
            .any(|out| out.ack == ack && out.due <= due)
        {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.remove(0);
            self.dropped += 1;
        }
        self.waiting.push(AckOut {
            ack,
            due,
            copies,
            round: 0,
            slow,
        });
    }
}

fn is_partial(out: &AckOut) -> bool {
    matches!(out.ack.kind, AckKind::Partial(_))
}

fn prefix(id: &MessageId) -> [u8; 8] {
    array(&id[..8])
}
