//! Records as they lie in the store: the key of a record, its value, and the check that tells a damaged one. Spec: "Stored values".

use crate::{KEY_LEN, Millis, SEALED_LEN, Sealed};

/// Newest record version known here.
pub(super) const VERSION: u8 = 1;
/// Bytes of a held record's value.
pub const HELD_LEN: usize = HEAD_LEN + 16 + SEALED_LEN;
/// Bytes of a tombstone's value.
pub const TOMBSTONE_LEN: usize = HEAD_LEN + 16 + 32;

const HEAD_LEN: usize = 2 + CHECK_LEN;
const CHECK_LEN: usize = 16;
const HELD: u8 = 1;
const TOMBSTONE: u8 = 2;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Box = 1,
    Inbox = 2,
    Prekey = 3,
}

/// Names a record: 33 B, or 35 B with the index of an inbox entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RecordKey {
    pub(super) kind: Kind,
    pub(super) key: [u8; KEY_LEN],
    pub(super) index: u16,
}

impl RecordKey {
    pub(super) fn pairwise(key: [u8; KEY_LEN]) -> Self {
        Self {
            kind: Kind::Box,
            key,
            index: 0,
        }
    }

    pub(super) fn inbox(key: [u8; KEY_LEN], index: u16) -> Self {
        Self {
            kind: Kind::Inbox,
            key,
            index,
        }
    }

    pub(super) fn prekey(key: [u8; KEY_LEN]) -> Self {
        Self {
            kind: Kind::Prekey,
            key,
            index: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        if self.kind == Kind::Inbox {
            1 + KEY_LEN + 2
        } else {
            1 + KEY_LEN
        }
    }

    /// Big-endian index, so that the store's order is the order of entries.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len());
        out.push(self.kind as u8);
        out.extend_from_slice(&self.key);
        if self.kind == Kind::Inbox {
            out.extend_from_slice(&self.index.to_be_bytes());
        }
        out
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (key, index) = rest.split_first_chunk::<KEY_LEN>()?;
        match (kind, index) {
            (1, []) => Some(Self::pairwise(*key)),
            (2, [high, low]) => Some(Self::inbox(*key, u16::from_be_bytes([*high, *low]))),
            (3, []) => Some(Self::prekey(*key)),
            _ => None,
        }
    }
}

/// A record's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Held {
        expires: Millis,
        issued: Millis,
        ciphertext: Sealed,
    },
    Tombstone {
        expires: Millis,
        issued: Millis,
        mark: [u8; 32],
    },
}

/// Why a value is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadRecord {
    Corrupt,
    /// The check holds, so it is whole, but this program is too old for it.
    Newer(u8),
}

impl Record {
    pub(super) fn encode(&self, key: &RecordKey) -> Vec<u8> {
        let mut out = vec![0; HEAD_LEN];
        out[0] = VERSION;
        let (expires, issued, state, body): (_, _, _, &[u8]) = match self {
            Self::Held {
                expires,
                issued,
                ciphertext,
            } => (expires, issued, HELD, &ciphertext[..]),
            Self::Tombstone {
                expires,
                issued,
                mark,
            } => (expires, issued, TOMBSTONE, mark),
        };
        out[1] = state;
        out.extend_from_slice(&expires.0.to_le_bytes());
        out.extend_from_slice(&issued.0.to_le_bytes());
        out.extend_from_slice(body);
        let check = check(key, &out);
        out[2..HEAD_LEN].copy_from_slice(&check);
        out
    }

    pub(super) fn decode(key: &RecordKey, value: &[u8]) -> Result<Self, BadRecord> {
        if value.len() < HEAD_LEN || value[2..HEAD_LEN] != check(key, value) {
            return Err(BadRecord::Corrupt);
        }
        match value[0] {
            0 => return Err(BadRecord::Corrupt),
            VERSION => {}
            newer => return Err(BadRecord::Newer(newer)),
        }
        let (expires, rest) = value[HEAD_LEN..]
            .split_first_chunk::<8>()
            .ok_or(BadRecord::Corrupt)?;
        let (issued, body) = rest.split_first_chunk::<8>().ok_or(BadRecord::Corrupt)?;
        let (expires, issued) = (
            Millis(u64::from_le_bytes(*expires)),
            Millis(u64::from_le_bytes(*issued)),
        );
        match value[1] {
            HELD => {
                let body: Box<[u8]> = body.into();
                let ciphertext = body.try_into().map_err(|_| BadRecord::Corrupt)?;
                Ok(Self::Held {
                    expires,
                    issued,
                    ciphertext,
                })
            }
            TOMBSTONE => {
                let mark = body.try_into().map_err(|_| BadRecord::Corrupt)?;
                Ok(Self::Tombstone {
                    expires,
                    issued,
                    mark,
                })
            }
            _ => Err(BadRecord::Corrupt),
        }
    }
}

/// Over the key too, so that a value under the wrong key counts as damaged. The place of the check itself is left out.
fn check(key: &RecordKey, value: &[u8]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new_derive_key("murmuration/v1/record");
    hasher
        .update(&[key.kind as u8])
        .update(&key.key)
        .update(&key.index.to_le_bytes());
    hasher.update(&value[..2]).update(&value[HEAD_LEN..]);
    let mut out = [0; CHECK_LEN];
    out.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
    out
}
