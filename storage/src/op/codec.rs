//! Operations to bytes and back. Fixed places, little-endian, zero fill; decoding then encoding gives the same bytes. Spec: "Operations".

use super::{Malformed, Op, VERSION};
use crate::{
    BODY_LEN, KEY_LEN, Millis, SEALED_LEN, SIG_LEN, SURB_LEN, Sealed, SurbBytes, stamp::PROOF_LEN,
    stamp::Proof,
};

const PUT_BOX: u8 = 1;
const GET_BOX: u8 = 2;
const DEL_BOX: u8 = 3;
const STAT_BOX: u8 = 4;
const PUT_INBOX: u8 = 5;
const GET_INBOX: u8 = 6;
const DEL_INBOX: u8 = 7;
const PUT_PREKEY: u8 = 8;
const GET_PREKEY: u8 = 9;

pub(super) fn encode(op: &Op) -> Box<[u8; BODY_LEN]> {
    let head = |kind| Writer::new(kind).u32(op.epoch()).bytes(op.target());
    let writer = match op {
        Op::PutBox {
            expires,
            stamp,
            sig,
            ciphertext,
            ..
        } => head(PUT_BOX)
            .u64(expires.0)
            .bytes(&stamp.0)
            .bytes(sig)
            .bytes(&ciphertext[..]),
        Op::GetBox { wait_ms, surb, .. } => head(GET_BOX).u32(*wait_ms).bytes(&surb[..]),
        Op::DelBox { sig, .. } => head(DEL_BOX).bytes(sig),
        Op::StatBox { surb, .. } => head(STAT_BOX).bytes(&surb[..]),
        Op::PutInbox {
            expires,
            stamp,
            ciphertext,
            ..
        } => head(PUT_INBOX)
            .u64(expires.0)
            .bytes(&stamp.0)
            .bytes(&ciphertext[..]),
        Op::GetInbox {
            index,
            wait_ms,
            sig,
            surb,
            ..
        } => head(GET_INBOX)
            .u16(*index)
            .u32(*wait_ms)
            .bytes(sig)
            .bytes(&surb[..]),
        Op::DelInbox {
            index, nonce, sig, ..
        } => head(DEL_INBOX).u16(*index).bytes(nonce).bytes(sig),
        Op::PutPrekey {
            issued,
            expires,
            stamp,
            sig,
            ciphertext,
            ..
        } => head(PUT_PREKEY)
            .u64(issued.0)
            .u64(expires.0)
            .bytes(&stamp.0)
            .bytes(sig)
            .bytes(&ciphertext[..]),
        Op::GetPrekey { surb, .. } => head(GET_PREKEY).bytes(&surb[..]),
    };
    writer.finish()
}

pub(super) fn decode(body: &[u8; BODY_LEN]) -> Result<Op, Malformed> {
    let (mut r, kind) = Reader::new(body)?;
    if !(PUT_BOX..=GET_PREKEY).contains(&kind) {
        return Err(Malformed::Kind(kind));
    }
    let epoch = r.u32();
    let key: [u8; KEY_LEN] = r.array();
    let op = match kind {
        PUT_BOX => Op::PutBox {
            epoch,
            id: key,
            expires: r.millis(),
            stamp: Proof(r.array::<PROOF_LEN>()),
            sig: r.array::<SIG_LEN>(),
            ciphertext: r.sealed(),
        },
        GET_BOX => Op::GetBox {
            epoch,
            id: key,
            wait_ms: r.u32(),
            surb: r.surb(),
        },
        DEL_BOX => Op::DelBox {
            epoch,
            id: key,
            sig: r.array(),
        },
        STAT_BOX => Op::StatBox {
            epoch,
            id: key,
            surb: r.surb(),
        },
        PUT_INBOX => Op::PutInbox {
            epoch,
            key,
            expires: r.millis(),
            stamp: Proof(r.array()),
            ciphertext: r.sealed(),
        },
        GET_INBOX => Op::GetInbox {
            epoch,
            key,
            index: r.u16(),
            wait_ms: r.u32(),
            sig: r.array(),
            surb: r.surb(),
        },
        DEL_INBOX => Op::DelInbox {
            epoch,
            key,
            index: r.u16(),
            nonce: r.array(),
            sig: r.array(),
        },
        PUT_PREKEY => Op::PutPrekey {
            epoch,
            key,
            issued: r.millis(),
            expires: r.millis(),
            stamp: Proof(r.array()),
            sig: r.array(),
            ciphertext: r.sealed(),
        },
        _ => Op::GetPrekey {
            epoch,
            key,
            surb: r.surb(),
        },
    };
    r.finish()?;
    Ok(op)
}

/// Writes fields one after another into a zeroed body.
pub(crate) struct Writer {
    body: Box<[u8; BODY_LEN]>,
    at: usize,
}

impl Writer {
    pub(crate) fn new(kind: u8) -> Self {
        Self {
            body: Box::new([0; BODY_LEN]),
            at: 0,
        }
        .bytes(&[VERSION, kind])
    }

    pub(crate) fn bytes(mut self, field: &[u8]) -> Self {
        self.body[self.at..self.at + field.len()].copy_from_slice(field);
        self.at += field.len();
        self
    }

    pub(crate) fn u16(self, v: u16) -> Self {
        self.bytes(&v.to_le_bytes())
    }

    pub(crate) fn u32(self, v: u32) -> Self {
        self.bytes(&v.to_le_bytes())
    }

    pub(crate) fn u64(self, v: u64) -> Self {
        self.bytes(&v.to_le_bytes())
    }

    pub(crate) fn finish(self) -> Box<[u8; BODY_LEN]> {
        self.body
    }
}

/// Reads fields one after another. Every operation and answer fits the body (asserted in SPEC.md), so no read can run over its end.
pub(crate) struct Reader<'a> {
    body: &'a [u8; BODY_LEN],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Checks the version and returns the kind byte.
    pub(crate) fn new(body: &'a [u8; BODY_LEN]) -> Result<(Self, u8), Malformed> {
        if body[0] != VERSION {
            return Err(Malformed::Version(body[0]));
        }
        Ok((Self { body, at: 2 }, body[1]))
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        out.copy_from_slice(&self.body[self.at..self.at + N]);
        self.at += N;
        out
    }

    pub(crate) fn u8(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn millis(&mut self) -> Millis {
        Millis(u64::from_le_bytes(self.array()))
    }

    pub(crate) fn sealed(&mut self) -> Sealed {
        Box::new(self.array::<SEALED_LEN>())
    }

    pub(crate) fn surb(&mut self) -> SurbBytes {
        Box::new(self.array::<SURB_LEN>())
    }

    /// The rest must be zero: one encoding per operation, and no room to mark a packet.
    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.body[self.at..].iter().all(|b| *b == 0) {
            Ok(())
        } else {
            Err(Malformed::Fill)
        }
    }
}
