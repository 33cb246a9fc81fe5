//! The five things a neighbour may be asked, and how a request begins. SPEC.md §21.

use super::VERSION;
use crate::{counters::DropReason, id::Cell, wire::Reader};

/// Kinds of request.
const SET: u8 = 1;
const CERTIFICATE: u8 = 2;
const RECEIPT: u8 = 3;
const FAULTS: u8 = 4;
/// Beside [`SET`]: a root follows.
const ROOTED: u8 = 0x80;

/// Version, kind, cell, epoch.
const HEAD: usize = 1 + 1 + Cell::LEN + 4;
/// The longest beginning of a request that a message follows.
pub(super) const MAX_HEAD: usize = HEAD + 32;

/// What a request is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pki) enum Topic {
    /// The open set of an epoch: both sides end with what either knew.
    Open { epoch: u32 },
    /// The set of an epoch with this root: the asker ends with just that.
    Rooted { epoch: u32, root: [u8; 32] },
    /// A certificate of an epoch: the one with this hash, or any if that is zero.
    Certificate { epoch: u32, hash: [u8; 32] },
    /// A receipt for the asker's own beat of an epoch.
    Receipt { epoch: u32 },
    /// All proven faults.
    Faults,
}

impl Topic {
    /// The epoch it is about; faults are of all.
    pub(in crate::pki) fn epoch(self) -> Option<u32> {
        match self {
            Self::Open { epoch }
            | Self::Rooted { epoch, .. }
            | Self::Certificate { epoch, .. }
            | Self::Receipt { epoch } => Some(epoch),
            Self::Faults => None,
        }
    }

    /// A whole request.
    pub(in crate::pki) fn request(self, body: &[u8]) -> Vec<u8> {
        let kind = match self {
            Self::Open { .. } => SET,
            Self::Rooted { .. } => SET | ROOTED,
            Self::Certificate { .. } => CERTIFICATE,
            Self::Receipt { .. } => RECEIPT,
            Self::Faults => FAULTS,
        };
        let mut out = Vec::with_capacity(MAX_HEAD + body.len());
        out.extend_from_slice(&[VERSION, kind]);
        out.extend_from_slice(&Cell::WHOLE.to_bytes());
        out.extend_from_slice(&self.epoch().unwrap_or(0).to_le_bytes());
        if let Self::Rooted { root: hash, .. } | Self::Certificate { hash, .. } = &self {
            out.extend_from_slice(hash);
        }
        out.extend_from_slice(body);
        out
    }

    /// What a request is about, and the rest of it.
    pub(in crate::pki) fn split(bytes: &[u8]) -> Result<(Self, &[u8]), DropReason> {
        match bytes.first() {
            Some(&VERSION) => {}
            Some(_) => return Err(DropReason::Version),
            None => return Err(DropReason::Malformed),
        }
        let mut reader = Reader::new(bytes);
        let (cell, topic, len) = parse(&mut reader).ok_or(DropReason::Malformed)?;
        if cell != Cell::WHOLE {
            return Err(DropReason::Network);
        }
        let rest = bytes.get(len..).unwrap_or_default();
        if matches!(topic, Self::Certificate { .. }) && !rest.is_empty() {
            return Err(DropReason::Malformed);
        }
        Ok((topic, rest))
    }
}

fn parse(reader: &mut Reader<'_>) -> Option<(Cell, Topic, usize)> {
    reader.u8()?;
    let kind = reader.u8()?;
    let cell = Cell::from_bytes(reader.array()?)?;
    let epoch = reader.u32()?;
    let topic = match kind {
        SET => Topic::Open { epoch },
        RECEIPT => Topic::Receipt { epoch },
        FAULTS if epoch == 0 => Topic::Faults,
        _ => {
            let hash = reader.array()?;
            let topic = match kind {
                CERTIFICATE => Topic::Certificate { epoch, hash },
                _ if kind == SET | ROOTED => Topic::Rooted { epoch, root: hash },
                _ => return None,
            };
            return Some((cell, topic, MAX_HEAD));
        }
    };
    Some((cell, topic, HEAD))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn topic() -> impl Strategy<Value = Topic> {
        (0..5u8, any::<u32>(), any::<[u8; 32]>()).prop_map(|(kind, epoch, hash)| match kind {
            0 => Topic::Open { epoch },
            1 => Topic::Rooted { epoch, root: hash },
            2 => Topic::Certificate { epoch, hash },
            3 => Topic::Receipt { epoch },
            _ => Topic::Faults,
        })
    }

    proptest! {
        #[test]
        fn a_request_is_read_as_it_was_written(topic in topic(), body in proptest::collection::vec(any::<u8>(), 0..50)) {
            let body = if matches!(topic, Topic::Certificate { .. }) { Vec::new() } else { body };
            let bytes = topic.request(&body);
            prop_assert!(bytes.len() <= MAX_HEAD + body.len());
            prop_assert_eq!(Topic::split(&bytes).unwrap(), (topic, body.as_slice()));
            for cut in 0..HEAD {
                prop_assert!(Topic::split(&bytes[..cut]).is_err());
            }
        }

        #[test]
        fn what_is_read_has_one_encoding(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), kind in 0..6u8) {
            bytes.splice(..bytes.len().min(5), [1, kind, 0, 0, 0]);
            if let Ok((topic, rest)) = Topic::split(&bytes) {
                prop_assert_eq!(topic.request(rest), bytes);
            }
        }
    }

    #[test]
    fn other_versions_cells_and_kinds_are_refused() {
        let bytes = Topic::Open { epoch: 3 }.request(&[]);
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            Topic::split(&bytes).unwrap_err()
        };
        assert_eq!(changed(0, 2), DropReason::Version);
        assert_eq!(changed(1, 5), DropReason::Malformed);
        assert_eq!(changed(1, 0x82), DropReason::Malformed);
        assert_eq!(changed(1, 4), DropReason::Malformed, "faults of one epoch");
        assert_eq!(changed(2, 1), DropReason::Network);
    }
}
