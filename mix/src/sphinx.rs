//! The Sphinx packet: 2,048 bytes that each hop can open by one layer, and by one layer only.
//!
//! ```text
//! 0     1          33        49                 229                                              2048
//! | ver | alpha 32 | gamma 16 | beta 5 × 36 = 180 | delta 1819 = LIONESS(zero tag 16 | body 1803)  |
//! ```
//!
//! `alpha` is a Ristretto255 element, fresh at every hop; `gamma` authenticates `beta`, which holds one routing block per hop
//! left; `delta` is a wide block: changing one bit of it garbles all of it, and the tag shows it at the end.
//! Building is in [`build`](mod@build) and [`surb`], with tables for keys in [`table`]; peeling in [`unwrap`] and, for many
//! packets at once, [`batch`]; sizes in [`geometry`]. SPEC.md §2–§7; Danezis and Goldberg 2009, with the padding of Kuhn, Beck
//! and Strufe 2020.

pub mod batch;
pub mod build;
pub mod command;
pub mod geometry;
pub mod keys;
pub mod packet;
pub mod payload;
pub mod surb;
pub mod table;
pub mod unwrap;

pub use batch::{BATCH, peel_batch};
pub use build::{BuildError, Hop, build, build_tabled};
pub use command::{Class, Exit, Quantile};
pub use geometry::{BODY_LEN, HEADER_LEN, MAX_HOPS, PACKET_LEN, SURB_LEN};
pub use keys::{KeyContext, MixPublic, MixSecret};
pub use packet::{Malformed, Packet};
pub use surb::{SURB_KEYS_LEN, Surb, SurbError, SurbKeys, build_surb, build_surb_tabled};
pub use table::KeyTables;
pub use unwrap::{Authentic, Element, Peeled, ReplayTag, peel};

#[cfg(test)]
pub(crate) mod testkit;
#[cfg(test)]
mod tests;
