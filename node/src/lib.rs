//! Murmuration's node: the three crates composed into something a person can run.
#![allow(missing_docs, reason = "filled in by its builders before the first release")]

pub mod address;
pub mod handle;
pub mod session;
pub mod view;

#[doc = include_str!("../SPEC.md")]
pub mod spec {}
