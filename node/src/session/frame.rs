//! Frames: the 1,584 bytes that fill one box.
//!
//! Every frame has the same layout whatever it carries: a header with the sender's view and its
//! promise to be live, up to eight acknowledgements, up to one fragment of a message, zeros. Not
//! here: what to put in (`conversation`), sealing (`boxes`). SPEC §6.

use super::prekey::array;

/// Bytes of a frame.
pub const FRAME_LEN: usize = 1584;
/// Most acknowledgements in one frame.
pub const MAX_ACKS: usize = 8;
/// Bytes of one fragment.
pub const FRAGMENT_LEN: usize = FRAME_LEN - DATA_AT;
/// Most fragments of one message: one bit each in a partial acknowledgement.
pub const MAX_FRAGMENTS: usize = 64;

const VERSION: u8 = 1;
const HAS_FRAGMENT: u8 = 1;
const SLOW: u8 = 2;
const HAS_ROOT: u8 = 4;
const ACKS_AT: usize = 28;
const ACK_LEN: usize = 17;
const FRAGMENT_AT: usize = ACKS_AT + MAX_ACKS * ACK_LEN;
const DATA_AT: usize = FRAGMENT_AT + 24;

/// What a frame says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Whether the answer should travel in the slow class.
    pub slow: bool,
    /// Epoch and keyed check of the sender's directory root.
    pub root: Option<(u32, [u8; 8])>,
    /// Until when the sender waits on live boxes, Unix ms; 0: it does not.
    pub live_until: u64,
    /// Messages with a lower sequence number will not be sent again.
    pub base_seq: u32,
    /// At most [`MAX_ACKS`].
    pub acks: Vec<Ack>,
    /// A piece of a message.
    pub fragment: Option<Fragment>,
}

/// One acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The first 8 bytes of the message id.
    pub prefix: [u8; 8],
    /// What is acknowledged.
    pub kind: AckKind,
}

/// How far the receiver got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckKind {
    /// Some fragments: bit i stands for fragment i.
    Partial(u64),
    /// All of it, at this time (receiver's Unix ms).
    Delivered(u64),
    /// The user has read it, at this time (receiver's Unix ms).
    Read(u64),
}

/// A piece of a ratcheted message.
#[derive(Clone, PartialEq, Eq)]
pub struct Fragment {
    /// The message's id.
    pub id: [u8; 16],
    /// The message's place in its direction.
    pub seq: u32,
    /// Which piece, from 0.
    pub index: u8,
    /// Of how many, 1 to [`MAX_FRAGMENTS`].
    pub count: u8,
    /// 1 to [`FRAGMENT_LEN`] bytes; exactly that many in all but the last piece.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Fragment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Fragment({} of {}, seq {}, {} B)",
            self.index,
            self.count,
            self.seq,
            self.data.len()
        )
    }
}

impl Frame {
    /// The frame's bytes. What exceeds the limits of the format is cut off: acknowledgements beyond
    /// the eighth, data beyond [`FRAGMENT_LEN`].
    #[must_use]
    pub fn encode(&self) -> Box<[u8; FRAME_LEN]> {
        let mut out = Box::new([0; FRAME_LEN]);
        out[0] = VERSION;
        out[1] = u8::from(self.slow) * SLOW;
        let acks = &self.acks[..self.acks.len().min(MAX_ACKS)];
        out[2] = acks.len() as u8;
        if let Some((epoch, check)) = self.root {
            out[1] |= HAS_ROOT;
            out[4..8].copy_from_slice(&epoch.to_le_bytes());
            out[8..16].copy_from_slice(&check);
        }
        out[16..24].copy_from_slice(&self.live_until.to_le_bytes());
        out[24..28].copy_from_slice(&self.base_seq.to_le_bytes());
        for (ack, place) in acks
            .iter()
            .zip(out[ACKS_AT..FRAGMENT_AT].chunks_exact_mut(ACK_LEN))
        {
            let (kind, value) = match ack.kind {
                AckKind::Partial(bits) => (1, bits),
                AckKind::Delivered(at) => (2, at),
                AckKind::Read(at) => (3, at),
            };
            place[..8].copy_from_slice(&ack.prefix);
            place[8] = kind;
            place[9..].copy_from_slice(&value.to_le_bytes());
        }
        if let Some(fragment) = &self.fragment {
            let len = fragment.data.len().min(FRAGMENT_LEN);
            out[1] |= HAS_FRAGMENT;
            out[FRAGMENT_AT..FRAGMENT_AT + 16].copy_from_slice(&fragment.id);
            out[FRAGMENT_AT + 16..FRAGMENT_AT + 20].copy_from_slice(&fragment.seq.to_le_bytes());
            out[FRAGMENT_AT + 20] = fragment.index;
            out[FRAGMENT_AT + 21] = fragment.count;
            out[FRAGMENT_AT + 22..DATA_AT].copy_from_slice(&(len as u16).to_le_bytes());
            out[DATA_AT..DATA_AT + len].copy_from_slice(&fragment.data[..len]);
        }
        out
    }

    /// Reads a frame. `None` for anything [`encode`](Self::encode) would not have written.
    #[must_use]
    pub fn decode(bytes: &[u8; FRAME_LEN]) -> Option<Self> {
        let (flags, ack_count) = (bytes[1], usize::from(bytes[2]));
        if bytes[0] != VERSION || ack_count > MAX_ACKS {
            return None;
        }
        let root = (flags & HAS_ROOT != 0).then(|| {
            (
                u32::from_le_bytes(array(&bytes[4..8])),
                array(&bytes[8..16]),
            )
        });
        let acks = bytes[ACKS_AT..FRAGMENT_AT]
            .chunks_exact(ACK_LEN)
            .take(ack_count)
            .map(decode_ack)
            .collect::<Option<Vec<_>>>()?;
        let fragment = match flags & HAS_FRAGMENT {
            0 => None,
            _ => Some(decode_fragment(&bytes[FRAGMENT_AT..])?),
        };
        let frame = Self {
            slow: flags & SLOW != 0,
            root,
            live_until: u64::from_le_bytes(array(&bytes[16..24])),
            base_seq: u32::from_le_bytes(array(&bytes[24..28])),
            acks,
            fragment,
        };
        // One encoding per frame: unused places, unknown flags and padding must be zero.
        (*frame.encode() == *bytes).then_some(frame)
    }
}

fn decode_ack(bytes: &[u8]) -> Option<Ack> {
    let value = u64::from_le_bytes(array(&bytes[9..]));
    let kind = match bytes[8] {
        1 => AckKind::Partial(value),
        2 => AckKind::Delivered(value),
        3 => AckKind::Read(value),
        _ => return None,
    };
    Some(Ack {
        prefix: array(&bytes[..8]),
        kind,
    })
}

fn decode_fragment(bytes: &[u8]) -> Option<Fragment> {
    let len = usize::from(u16::from_le_bytes(array(&bytes[22..24])));
    let (index, count) = (bytes[20], bytes[21]);
    let last = index.checked_add(1)? == count;
    let fits = (1..=FRAGMENT_LEN).contains(&len) && (last || len == FRAGMENT_LEN);
    if index >= count || usize::from(count) > MAX_FRAGMENTS || !fits {
        return None;
    }
    Some(Fragment {
        id: array(&bytes[..16]),
        seq: u32::from_le_bytes(array(&bytes[16..20])),
        index,
        count,
        data: bytes[24..24 + len].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn ack() -> impl Strategy<Value = Ack> {
        let kind = prop_oneof![
            any::<u64>().prop_map(AckKind::Partial),
            any::<u64>().prop_map(AckKind::Delivered),
            any::<u64>().prop_map(AckKind::Read),
        ];
        (any::<[u8; 8]>(), kind).prop_map(|(prefix, kind)| Ack { prefix, kind })
    }

    fn fragment() -> impl Strategy<Value = Fragment> {
        (
            any::<[u8; 16]>(),
            any::<u32>(),
            1u8..=64,
            any::<u8>(),
            1..=FRAGMENT_LEN,
            any::<u8>(),
        )
            .prop_map(|(id, seq, count, index, len, byte)| {
                let index = index % count;
                let len = if index + 1 == count {
                    len
                } else {
                    FRAGMENT_LEN
                };
                Fragment {
                    id,
                    seq,
                    index,
                    count,
                    data: vec![byte; len],
                }
            })
    }

    fn frame() -> impl Strategy<Value = Frame> {
        let root = proptest::option::of(any::<(u32, [u8; 8])>());
        let acks = proptest::collection::vec(ack(), 0..=MAX_ACKS);
        (
            any::<bool>(),
            root,
            any::<u64>(),
            any::<u32>(),
            acks,
            proptest::option::of(fragment()),
        )
            .prop_map(|(slow, root, live_until, base_seq, acks, fragment)| Frame {
                slow,
                root,
                live_until,
                base_seq,
                acks,
                fragment,
            })
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire(frame in frame()) {
            prop_assert_eq!(Frame::decode(&frame.encode()), Some(frame));
        }

        #[test]
        fn whatever_decodes_encodes_to_the_same_bytes(frame in frame(), at in 0..FRAME_LEN, flip in 1u8..) {
            let mut bytes = frame.encode();
            bytes[at] ^= flip;
            if let Some(other) = Frame::decode(&bytes) {
                prop_assert_eq!(other.encode(), bytes);
            }
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), FRAME_LEN), acks in 0u8..12) {
            let mut frame: [u8; FRAME_LEN] = bytes.try_into().unwrap();
            let _ = Frame::decode(&frame);
            (frame[0], frame[1], frame[2], frame[3]) = (VERSION, HAS_FRAGMENT, acks, 0);
            let _ = Frame::decode(&frame);
        }
    }

    #[test]
    fn sizes_leave_room_for_the_longest_message() {
        assert_eq!((FRAGMENT_AT, DATA_AT, FRAGMENT_LEN), (164, 188, 1396));
        let longest = crate::session::conversation::MAX_BODY + 25 + 82;
        assert!(longest.div_ceil(FRAGMENT_LEN) <= MAX_FRAGMENTS);
    }

    #[test]
    fn malformed_frames_are_refused() {
        let fragment = Fragment {
            id: [1; 16],
            seq: 1,
            index: 0,
            count: 2,
            data: vec![1; FRAGMENT_LEN],
        };
        let good = Frame {
            fragment: Some(fragment),
            ..Frame::default()
        }
        .encode();
        assert!(Frame::decode(&good).is_some());
        // version, unknown flag, ack count, reserved byte, unused ack, index = count, count 0, count 65, short middle piece
        let changes: [(usize, u8); 9] = [
            (0, 2),
            (1, 1 | 8),
            (2, 9),
            (3, 1),
            (30, 1),
            (184, 2),
            (185, 0),
            (185, 65),
            (186, 0),
        ];
        for (at, value) in changes {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(Frame::decode(&bad).is_none(), "byte {at} = {value}");
        }
    }
}
