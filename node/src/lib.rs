//! Murmuration's node: the three crates composed into something a person can run.
#![allow(
    missing_docs,
    reason = "filled in by its builders before the first release"
)]

pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod datadir;
pub mod error;
pub mod handle;
pub mod view;

pub use error::{Error, ErrorKind};
