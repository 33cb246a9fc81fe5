//! Murmuration's node: the three crates composed into something a person can run.

pub mod address;
pub mod api;
pub mod cli;
pub mod client;
pub mod config;
pub mod core;
pub mod datadir;
pub mod demo;
pub mod disk;
pub mod driver;
pub mod env;
pub mod error;
pub mod handle;
#[cfg(feature = "net")]
pub mod net;
pub mod node;
pub mod session;
#[cfg(feature = "sim")]
pub mod sim;
pub mod view;

#[doc = include_str!("../SPEC.md")]
pub mod spec {}

pub use error::{Error, ErrorKind};
pub use node::Node;
