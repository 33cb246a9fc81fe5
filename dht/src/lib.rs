//! Node records, the public-key infrastructure made of them, and what follows from it: placement and the flock.
//!
//! Sans-IO: bytes and moments come in as arguments, bytes and keys to look up go out by polling.
pub mod epoch;
pub mod id;
pub mod network;
#[cfg(feature = "net")]
pub mod net;
