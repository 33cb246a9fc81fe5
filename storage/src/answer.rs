//! What a holder answers, as bytes: always 1,803 B, whatever it says. Spec: "Answers".

use crate::{
    BODY_LEN, Sealed,
    op::{
        Malformed,
        codec::{Reader, Writer},
    },
};

/// What a holder says of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// Nothing of this id is durable here.
    Absent,
    /// The deposit is durable here.
    Held,
    /// It was here and its owner deleted it.
    Deleted,
}

/// One answer. Goes back through the SURB of the operation it answers, so it names neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The box or prekey box, 1,600 B.
    Found {
        /// 1,600 B.
        ciphertext: Sealed,
    },
    /// Nothing came while the fetch waited.
    Empty,
    /// To a STAT.
    Stat {
        /// Whether the box is held.
        held: Held,
        /// Stamp bits the holder asks for now (it asks more the fuller it is).
        effort: u8,
    },
    /// To a read of an inbox entry.
    Inbox {
        /// The entry asked for.
        index: u16,
        /// Entries so far, deleted ones too: the next to come has this index.
        count: u16,
        /// The entry; none if it was deleted or did not come while the fetch waited.
        ciphertext: Option<Sealed>,
    },
}

const FOUND: u8 = 1;
const EMPTY: u8 = 2;
const STAT: u8 = 3;
const INBOX_FOUND: u8 = 4;
const INBOX_EMPTY: u8 = 5;

impl Answer {
    /// The answer as a packet body, 1,803 B; what it leaves over is zero (the packet's layers hide it).
    #[must_use]
    pub fn encode(&self) -> Box<[u8; BODY_LEN]> {
        match self {
            Self::Found { ciphertext } => Writer::new(FOUND).bytes(&ciphertext[..]),
            Self::Empty => Writer::new(EMPTY),
            Self::Stat { held, effort } => Writer::new(STAT).bytes(&[*held as u8, *effort]),
            Self::Inbox {
                index,
                count,
                ciphertext: Some(ciphertext),
            } => Writer::new(INBOX_FOUND)
                .u16(*index)
                .u16(*count)
                .bytes(&ciphertext[..]),
            Self::Inbox {
                index,
                count,
                ciphertext: None,
            } => Writer::new(INBOX_EMPTY).u16(*index).u16(*count),
        }
        .finish()
    }

    /// The answer in a packet body.
    ///
    /// # Errors
    /// [`Malformed`] if the bytes are no answer of this version.
    pub fn decode(body: &[u8; BODY_LEN]) -> Result<Self, Malformed> {
        let (mut r, kind) = Reader::new(body)?;
        let answer = match kind {
            FOUND => Self::Found {
                ciphertext: r.sealed(),
            },
            EMPTY => Self::Empty,
            STAT => {
                let held = match r.u8() {
                    0 => Held::Absent,
                    1 => Held::Held,
                    2 => Held::Deleted,
                    _ => return Err(Malformed::Field),
                };
                Self::Stat {
                    held,
                    effort: r.u8(),
                }
            }
            INBOX_FOUND => Self::Inbox {
                index: r.u16(),
                count: r.u16(),
                ciphertext: Some(r.sealed()),
            },
            INBOX_EMPTY => Self::Inbox {
                index: r.u16(),
                count: r.u16(),
                ciphertext: None,
            },
            other => return Err(Malformed::Kind(other)),
        };
        r.finish()?;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests;
