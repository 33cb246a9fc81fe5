//! The packet as bytes: owning, reading and cutting it into fields. Says nothing about what the bytes mean. SPEC.md §2.

use core::fmt;

use thiserror::Error;

use super::geometry::{
    ALPHA, BETA, BETA_LEN, BODY_LEN, DELTA, DELTA_LEN, GAMMA, GAMMA_LEN, PACKET_LEN, TAG_LEN,
};

/// Bytes that cannot be what they were taken for: the length is wrong, or a field has an impossible value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Malformed {
    /// The input is not as long as the format.
    #[error("{got} bytes where the format has {want}")]
    Length {
        /// Bytes given.
        got: usize,
        /// Bytes of the format.
        want: usize,
    },
    /// A field holds a value that no encoder writes.
    #[error("a field holds a value that no encoder writes")]
    Field,
}

/// One packet: exactly 2,048 bytes on the heap, moved and never copied on its way through a node.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet(Box<[u8; PACKET_LEN]>);

impl Packet {
    /// Copies a packet out of a buffer of exactly 2,048 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, Malformed> {
        let boxed: Box<[u8]> = bytes.into();
        match Box::<[u8; PACKET_LEN]>::try_from(boxed) {
            Ok(bytes) => Ok(Self(bytes)),
            Err(other) => Err(Malformed::Length {
                got: other.len(),
                want: PACKET_LEN,
            }),
        }
    }

    /// Takes a frame as it came from a link, without a copy.
    pub fn from_boxed(bytes: Box<[u8; PACKET_LEN]>) -> Self {
        Self(bytes)
    }

    /// The bytes that go on the wire.
    pub fn as_bytes(&self) -> &[u8; PACKET_LEN] {
        &self.0
    }

    /// Gives the bytes to a link, without a copy.
    pub fn into_boxed(self) -> Box<[u8; PACKET_LEN]> {
        self.0
    }

    pub(super) fn zeroed() -> Self {
        Self(Box::new([0; PACKET_LEN]))
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; PACKET_LEN] {
        &mut self.0
    }

    pub(super) fn version(&self) -> u8 {
        self.0[0]
    }

    pub(super) fn alpha(&self) -> [u8; 32] {
        copy(&self.0[ALPHA])
    }

    pub(super) fn gamma(&self) -> [u8; GAMMA_LEN] {
        copy(&self.0[GAMMA])
    }

    pub(super) fn beta(&self) -> &[u8] {
        &self.0[BETA]
    }

    pub(super) fn set_alpha(&mut self, alpha: &[u8; 32]) {
        self.0[ALPHA].copy_from_slice(alpha);
    }

    pub(super) fn set_gamma(&mut self, gamma: &[u8]) {
        self.0[GAMMA].copy_from_slice(gamma);
    }

    pub(super) fn set_beta(&mut self, beta: &[u8]) {
        debug_assert_eq!(beta.len(), BETA_LEN);
        self.0[BETA].copy_from_slice(beta);
    }

    pub(super) fn delta(&self) -> &[u8] {
        &self.0[DELTA]
    }

    pub(super) fn delta_mut(&mut self) -> &mut [u8] {
        debug_assert_eq!(DELTA.len(), DELTA_LEN);
        &mut self.0[DELTA]
    }

    /// The body, once the last layer is off: 1,803 bytes.
    pub(crate) fn body(&self) -> Box<[u8; BODY_LEN]> {
        let mut body = Box::new([0; BODY_LEN]);
        body.copy_from_slice(&self.0[DELTA.start + TAG_LEN..]);
        body
    }
}

impl AsRef<Self> for Packet {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsMut<Self> for Packet {
    fn as_mut(&mut self) -> &mut Self {
        self
    }
}

/// Shows nothing of the content: a packet in a log is a packet recorded.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Packet(2048 bytes)")
    }
}

/// A fixed-size copy of a slice whose length the caller has fixed by its range.
pub(super) fn copy<const N: usize>(from: &[u8]) -> [u8; N] {
    let mut to = [0; N];
    to.copy_from_slice(from);
    to
}
