//! A conversation as bytes, and back: `version u32 | body`, canonical CBOR.
//!
//! Everything that decides what happens next is in it, except fetches under way: after a restart
//! they are simply asked again. The bytes hold every secret of the conversation; the caller keeps
//! them encrypted. SPEC §8.

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use super::Conversation;
use super::acks::{AckOut, AckQueue};
use super::cursor::{DayState, InCursor, OutCursor, SlotState};
use super::incoming::{InQueue, Partial, Seen};
use super::outgoing::{OutQueue, Outgoing};
use super::types::{Class, ConversationCounters, ConversationParams, RestoreError};
use crate::session::boxes::BoxChain;
use crate::session::frame::{Ack, AckKind};
use crate::session::hello::Role;
use crate::session::identity::ContactKey;
use crate::session::ratchet::Ratchet;

/// The format written.
pub(crate) const VERSION: u32 = 1;

pub(super) fn save(conversation: &Conversation) -> Zeroizing<Vec<u8>> {
    let saved = Saved::from(conversation);
    let mut out = Zeroizing::new(Vec::new());
    // Writing to memory can't fail; were it to, restore would refuse the bytes.
    let _ = minicbor::encode(VERSION, &mut *out);
    let _ = minicbor::encode(&saved, &mut *out);
    out
}

pub(super) fn load(bytes: &[u8], params: ConversationParams) -> Result<Conversation, RestoreError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let version = decoder.u32().map_err(|_| RestoreError::Damaged)?;
    if version > VERSION {
        return Err(RestoreError::Newer(version));
    }
    let saved: Saved = decoder.decode().map_err(|_| RestoreError::Damaged)?;
    if decoder.position() != bytes.len() {
        return Err(RestoreError::Damaged);
    }
    saved.into_conversation(params).ok_or(RestoreError::Damaged)
}

type Bytes32 = minicbor::bytes::ByteArray<32>;
type Bytes16 = minicbor::bytes::ByteArray<16>;
type Bytes8 = minicbor::bytes::ByteArray<8>;
type Bytes = minicbor::bytes::ByteVec;

#[derive(Encode, Decode)]
struct Saved {
    #[n(0)]
    id: Bytes16,
    #[n(1)]
    initiator: bool,
    #[n(2)]
    own: Bytes32,
    #[n(3)]
    peer: Bytes32,
    #[n(4)]
    check_key: Bytes32,
    #[n(5)]
    ratchet: Bytes,
    #[n(6)]
    out_chain: (u32, Bytes32),
    #[n(7)]
    in_chain: (u32, Bytes32),
    #[n(8)]
    out_cursor: (u64, u8, u32, u32),
    #[n(9)]
    first_day: u32,
    #[n(10)]
    days: Vec<(u32, u32, Vec<u32>)>,
    #[n(11)]
    slots: Vec<(u64, u8, Vec<u8>)>,
    #[n(12)]
    messages: Vec<SavedOut>,
    #[n(13)]
    next_seq: u32,
    #[n(14)]
    acked_seq: u32,
    #[n(15)]
    delivered: Vec<Bytes16>,
    #[n(16)]
    acks: Vec<(Bytes8, u8, u64, u64, u8, u8, bool)>,
    #[n(17)]
    in_seq: (u32, u32),
    #[n(18)]
    partial: Vec<SavedPartial>,
    #[n(19)]
    seen: Vec<(Bytes16, u64, Option<u64>, bool)>,
    #[n(20)]
    peer_live_until: u64,
    #[n(21)]
    promised_until: u64,
    #[n(22)]
    flags: u8,
    #[n(23)]
    roots: Vec<(u32, Bytes32)>,
}

#[derive(Encode, Decode)]
struct SavedOut {
    #[n(0)]
    id: Bytes16,
    #[n(1)]
    slow: bool,
    #[n(2)]
    submitted_at: u64,
    #[n(3)]
    deadline: u64,
    #[n(4)]
    body: Bytes,
    #[n(5)]
    ratcheted: Option<(u32, Bytes)>,
    #[n(6)]
    pending: u64,
    #[n(7)]
    acked: u64,
    #[n(8)]
    sent: bool,
    #[n(9)]
    rounds: u8,
    #[n(10)]
    resend_at: u64,
    #[n(11)]
    parked: bool,
    /// Absent before notes existed.
    #[n(12)]
    note: Option<bool>,
}

#[derive(Encode, Decode)]
struct SavedPartial {
    #[n(0)]
    seq: u32,
    #[n(1)]
    id: Bytes16,
    #[n(2)]
    count: u8,
    #[n(3)]
    slow: bool,
    #[n(4)]
    seen: bool,
    #[n(5)]
    parts: Vec<(u8, Bytes)>,
}

const ESTABLISHED: u8 = 1;
const ANSWER_DUE: u8 = 2;
const RETIRED: u8 = 4;
const PROMISING: u8 = 8;

impl From<&Conversation> for Saved {
    fn from(c: &Conversation) -> Self {
        let chain = |chain: &BoxChain| (chain.parts().0, (*chain.parts().1).into());
        let flag = |on: bool, bit: u8| u8::from(on) * bit;
        Self {
            id: c.id.into(),
            initiator: c.role == Role::Initiator,
            own: (*c.own.as_bytes()).into(),
            peer: (*c.peer.as_bytes()).into(),
            check_key: (*c.check_key).into(),
            ratchet: c.ratchet.to_bytes().to_vec().into(),
            out_chain: chain(&c.out_chain),
            in_chain: chain(&c.in_chain),
            out_cursor: (
                c.out_cursor.live_slot,
                c.out_cursor.live_next,
                c.out_cursor.parked_day,
                c.out_cursor.parked_next,
            ),
            first_day: c.in_cursor.first_day,
            days: c
                .in_cursor
                .days
                .iter()
                .map(|(day, state)| (*day, state.next, state.missing.iter().copied().collect()))
                .collect(),
            slots: c
                .in_cursor
                .slots
                .iter()
                .map(|(slot, state)| (*slot, state.next, state.found.iter().copied().collect()))
                .collect(),
            messages: c.out.messages.iter().map(SavedOut::from).collect(),
            next_seq: c.out.next_seq,
            acked_seq: c.out.acked_seq,
            delivered: c.out.delivered.iter().map(|id| (*id).into()).collect(),
            acks: c.acks.waiting.iter().map(save_ack).collect(),
            in_seq: (c.incoming.next_seq, c.incoming.base_seq),
            partial: c
                .incoming
                .partial
                .iter()
                .map(|(seq, p)| save_partial(*seq, p))
                .collect(),
            seen: c
                .incoming
                .seen
                .iter()
                .map(|seen| (seen.id.into(), seen.received_at, seen.read_at, seen.slow))
                .collect(),
            peer_live_until: c.peer_live_until,
            promised_until: c.promised_until,
            flags: flag(c.established, ESTABLISHED)
                | flag(c.answer_due, ANSWER_DUE)
                | flag(c.retired, RETIRED)
                | flag(c.promising, PROMISING),
            roots: c
                .roots
                .iter()
                .filter_map(|(epoch, root)| Some((*epoch, (*root)?.into())))
                .collect(),
        }
    }
}

impl Saved {
    fn into_conversation(self, params: ConversationParams) -> Option<Conversation> {
        let chain = |(day, key): (u32, Bytes32)| BoxChain::new(key.into(), day);
        let mut in_cursor = InCursor::new(self.first_day);
        in_cursor.catching_up = true;
        in_cursor.days = self
            .days
            .into_iter()
            .map(|(day, next, missing)| {
                (
                    day,
                    DayState {
                        next,
                        missing: missing.into_iter().collect(),
                        found_at: 0,
                    },
                )
            })
            .collect();
        in_cursor.slots = self
            .slots
            .into_iter()
            .map(|(slot, next, found)| {
                (
                    slot,
                    SlotState {
                        next,
                        found: found.into_iter().collect(),
                    },
                )
            })
            .collect();
        let (live_slot, live_next, parked_day, parked_next) = self.out_cursor;
        Some(Conversation {
            params,
            id: self.id.into(),
            role: if self.initiator {
                Role::Initiator
            } else {
                Role::Responder
            },
            own: ContactKey::from_bytes(self.own.into())?,
            peer: ContactKey::from_bytes(self.peer.into())?,
            check_key: Zeroizing::new(self.check_key.into()),
            ratchet: Ratchet::from_bytes(&self.ratchet).ok()?,
            out_chain: chain(self.out_chain),
            in_chain: chain(self.in_chain),
            out_cursor: OutCursor {
                live_slot,
                live_next,
                parked_day,
                parked_next,
            },
            in_cursor,
            out: OutQueue {
                messages: self.messages.into_iter().map(SavedOut::load).collect(),
                next_seq: self.next_seq,
                acked_seq: self.acked_seq,
                delivered: self.delivered.into_iter().map(Into::into).collect(),
            },
            acks: AckQueue {
                riding: Vec::new(),
                waiting: self.acks.into_iter().map(load_ack).collect::<Option<_>>()?,
                dropped: 0,
            },
            incoming: InQueue {
                next_seq: self.in_seq.0,
                base_seq: self.in_seq.1,
                partial: self.partial.into_iter().map(load_partial).collect(),
                seen: self
                    .seen
                    .into_iter()
                    .map(|(id, received_at, read_at, slow)| Seen {
                        id: id.into(),
                        received_at,
                        read_at,
                        slow,
                    })
                    .collect(),
            },
            peer_live_until: self.peer_live_until,
            promised_until: self.promised_until,
            established: self.flags & ESTABLISHED != 0,
            answer_due: self.flags & ANSWER_DUE != 0,
            retired: self.flags & RETIRED != 0,
            promising: self.flags & PROMISING != 0,
            roots: self
                .roots
                .into_iter()
                .map(|(epoch, root)| (epoch, Some(root.into())))
                .collect(),
            events: Vec::new(),
            last_now: 0,
            counters: ConversationCounters::default(),
        })
    }
}

impl From<&Outgoing> for SavedOut {
    fn from(m: &Outgoing) -> Self {
        Self {
            id: m.id.into(),
            slow: m.class == Class::Slow,
            submitted_at: m.submitted_at,
            deadline: m.deadline,
            body: m.body.clone().into(),
            ratcheted: m
                .ratcheted
                .as_ref()
                .map(|(seq, bytes)| (*seq, bytes.clone().into())),
            pending: m.pending,
            acked: m.acked,
            sent: m.sent,
            rounds: m.rounds,
            resend_at: m.resend_at,
            parked: m.parked,
            note: Some(m.note),
        }
    }
}

impl SavedOut {
    fn load(self) -> Outgoing {
        Outgoing {
            id: self.id.into(),
            class: if self.slow { Class::Slow } else { Class::Fast },
            submitted_at: self.submitted_at,
            deadline: self.deadline,
            body: self.body.into(),
            ratcheted: self.ratcheted.map(|(seq, bytes)| (seq, bytes.into())),
            pending: self.pending,
            acked: self.acked,
            sent: self.sent,
            rounds: self.rounds,
            resend_at: self.resend_at,
            parked: self.parked,
            note: self.note.unwrap_or_default(),
        }
    }
}

fn save_ack(out: &AckOut) -> (Bytes8, u8, u64, u64, u8, u8, bool) {
    let (kind, value) = match out.ack.kind {
        AckKind::Partial(bits) => (1, bits),
        AckKind::Delivered(at) => (2, at),
        AckKind::Read(at) => (3, at),
    };
    (
        out.ack.prefix.into(),
        kind,
        value,
        out.due,
        out.copies,
        out.round,
        out.slow,
    )
}

fn load_ack(saved: (Bytes8, u8, u64, u64, u8, u8, bool)) -> Option<AckOut> {
    let (prefix, kind, value, due, copies, round, slow) = saved;
    let kind = match kind {
        1 => AckKind::Partial(value),
        2 => AckKind::Delivered(value),
        3 => AckKind::Read(value),
        _ => return None,
    };
    let copies = copies.max(1);
    Some(AckOut {
        ack: Ack {
            prefix: prefix.into(),
            kind,
        },
        due,
        copies,
        round,
        slow,
    })
}

fn save_partial(seq: u32, partial: &Partial) -> SavedPartial {
    SavedPartial {
        seq,
        id: partial.id.into(),
        count: partial.count,
        slow: partial.slow,
        seen: partial.seen,
        parts: partial
            .parts
            .iter()
            .map(|(index, data)| (*index, data.clone().into()))
            .collect(),
    }
}

fn load_partial(saved: SavedPartial) -> (u32, Partial) {
    let partial = Partial {
        id: saved.id.into(),
        count: saved.count,
        slow: saved.slow,
        seen: saved.seen,
        parts: saved
            .parts
            .into_iter()
            .map(|(index, data)| (index, data.into()))
            .collect(),
    };
    (saved.seq, partial)
}
