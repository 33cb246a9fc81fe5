//! Every size and offset of the packet, derived in one place. No logic. SPEC.md §2.

/// The format version, a parameter of the whole network and never a user's choice.
pub const VERSION: u8 = 1;
/// Most hops a header has room for, the final one included.
pub const MAX_HOPS: usize = 5;

/// Bytes of the version field.
pub const VERSION_LEN: usize = 1;
/// Bytes of a compressed Ristretto255 element.
pub const ALPHA_LEN: usize = 32;
/// Bytes of a header authentication code.
pub const GAMMA_LEN: usize = 16;
/// Bytes of one routing block: command 1, flags 1, delay 2, next 16, next gamma 16.
pub const BLOCK_LEN: usize = 1 + 1 + 2 + ID_LEN + GAMMA_LEN;
/// Bytes of the routing blocks together.
pub const BETA_LEN: usize = MAX_HOPS * BLOCK_LEN;
/// Bytes of the header.
pub const HEADER_LEN: usize = VERSION_LEN + ALPHA_LEN + GAMMA_LEN + BETA_LEN;
/// Bytes of the zero tag in front of a body.
pub const TAG_LEN: usize = 16;
/// Bytes of a body, the part that applications fill.
pub const BODY_LEN: usize = 1803;
/// Bytes of the wide block.
pub const DELTA_LEN: usize = TAG_LEN + BODY_LEN;
/// Bytes of a packet on the wire, always.
pub const PACKET_LEN: usize = HEADER_LEN + DELTA_LEN;

/// Bytes of a node's short id, of a loop id and of a SURB id.
pub const ID_LEN: usize = 16;
/// Bytes of a payload key.
pub const PAYLOAD_KEY_LEN: usize = 32;
/// Bytes of a single-use reply block: header, first hop, payload key.
pub const SURB_LEN: usize = HEADER_LEN + ID_LEN + PAYLOAD_KEY_LEN;

pub(super) const ALPHA: core::ops::Range<usize> = VERSION_LEN..VERSION_LEN + ALPHA_LEN;
pub(super) const GAMMA: core::ops::Range<usize> = ALPHA.end..ALPHA.end + GAMMA_LEN;
pub(super) const BETA: core::ops::Range<usize> = GAMMA.end..HEADER_LEN;
pub(super) const DELTA: core::ops::Range<usize> = HEADER_LEN..PACKET_LEN;

const _: () = assert!(
    HEADER_LEN == 229
        && DELTA_LEN == 1819
        && PACKET_LEN == 2048
        && SURB_LEN == 277
        && BETA_LEN == 180
);
