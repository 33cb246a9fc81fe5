//! Murmuration's node: the three crates composed into something a person can run.
#![allow(missing_docs, reason = "filled in by its builders before the first release")]

pub mod handle;
#[cfg(feature = "net")]
pub mod net;
pub mod view;
