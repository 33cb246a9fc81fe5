//! Who there is: signed node records, one verifiable directory per epoch, and what follows from it.
//!
//! ```text
//!  gossip ──bundles──►┌─────┐──bundles──► gossip
//!                     │ Pki │──keys to look up─►┐
//!   records found ───►└──┬──┘──pages to serve──► Kademlia
//!                        ▼
//!             Arc<Directory> of each epoch ──► routes (mix::route::Topology), mailbox holders, flock
//! ```
//!
//! Sans-IO: bytes and moments come in as arguments, bytes and keys come out by polling; nothing here reads a clock, draws
//! randomness from the system or opens a socket. libp2p appears only behind feature `net`, which translates and decides nothing.
//!
//! | module | holds |
//! |---|---|
//! | [`network`] | the parameters that make a network, and its id |
//! | [`id`], [`epoch`] | names, coordinates, windows of time: pure functions |
//! | [`descriptor`], [`beat`] | the two signed records, and the leaf they make |
//! | [`merkle`], [`directory`] | the sorted set of an epoch, its root, proofs, mailbox placement |
//! | [`flock`] | who is on duty in a slot, and who holds links to whom |
//! | [`cell`] | how the ring divides when it outgrows one directory |
//! | [`admission`] | the proof of work by which an identity costs something |
//! | [`page`], [`bundle`] | how sets travel: by lookup and by gossip |
//! | [`reconcile`] | how two nodes find out in what their sets differ |
//! | [`weights`], [`bans`] | what an epoch grants a node, and who is kept out: public rules |
//! | [`vrf`], [`committee`], [`certificate`] | who witnesses a set, and how anyone checks that they did |
//! | [`fault`] | proofs that a node lied, which need no trust in who brings them |
//! | [`pki`] | the state machine over all of it |
//! | [`counters`] | what became of strangers' bytes |
//!
//! [`spec`] gives every byte.

pub mod admission;
pub mod bans;
pub mod beat;
mod bucket;
pub mod bundle;
pub mod cell;
pub mod certificate;
pub mod checks;
pub mod committee;
pub mod counters;
pub mod descriptor;
pub mod directory;
pub mod epoch;
pub mod fault;
pub mod flock;
pub mod id;
pub mod merkle;
#[cfg(feature = "net")]
pub mod net;
pub mod network;
pub mod page;
pub mod pki;
pub mod reconcile;
pub mod vrf;
pub mod weights;
mod wire;

#[doc = include_str!("../SPEC.md")]
pub mod spec {}

#[cfg(test)]
mod testing;

pub use counters::{Counters, DropReason, Verdict};
pub use directory::Directory;
pub use id::NodeId;
pub use network::NetworkParams;
pub use pki::{Caps, OwnRecord, Pki};
