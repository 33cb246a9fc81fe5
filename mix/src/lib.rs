//! The mixing half of Murmuration: packets that every relay can open by one layer only, and a mixer that lets them wait.
//!
//! ```text
//!              handle_packet(now, packet)                          handle_synced(seq)
//!                       │                                                  │
//!   link ──► sphinx::authenticate ──► replay set ──► tag batch ──► disk ───┤
//!                       │ unwrap                                           ▼
//!                       ├── FORWARD ──► pool: S + exponential ──► due and synced ──► poll_transmit ──► link
//!                       └── BOX REPLY LOOP ───────────────────────► synced ────────► poll_event    ──► node
//! ```
//!
//! A busy node lets other threads do all cryptography, by an [`Opener`], and the mixer take over at the replay set.
//!
//! Nothing here reads a clock, asks the system for randomness or opens a socket: both come in as arguments, so that a
//! simulated run is the production code and repeats bit for bit. The rooms of the house:
//!
//! | module | holds |
//! |---|---|
//! | [`time`] | [`Moment`](time::Moment) and [`Span`](time::Span), the only clock types |
//! | [`sphinx`] | the 2,048-byte packet: building, peeling, single-use reply blocks |
//! | [`keyring`], [`replay`] | a mix key and the tags seen under it: one object, one lifetime |
//! | [`delay`], [`pool`] | how long a packet waits, and where |
//! | [`cover`] | the three Poisson streams that real traffic replaces |
//! | [`route`] | drawing a path over any [`Topology`](route::Topology) |
//! | [`mixer`], [`counters`] | the state machine that composes them, and what it counted |
//!
//! [`spec`] gives every byte.

pub mod counters;
pub mod cover;
pub mod delay;
mod dice;
pub mod id;
pub mod keyring;
pub mod mixer;
pub mod pool;
pub mod replay;
pub mod route;
pub mod sphinx;
pub mod time;

#[doc = include_str!("../SPEC.md")]
pub mod spec {}

pub use counters::{Counters, DropReason};
pub use id::{NetworkId, ShortId};
pub use keyring::EpochKey;
pub use mixer::{Arrival, Event, Mixer, MixerConfig, Opened, Opener, TagBatch};
pub use sphinx::{
    BODY_LEN, Class, Exit, HEADER_LEN, Hop, KeyContext, MAX_HOPS, MixPublic, MixSecret, PACKET_LEN,
    Packet, SURB_LEN, Surb, SurbKeys,
};
