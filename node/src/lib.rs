//! Murmuration's node: the three crates composed into something a person can run.

pub mod address;
#[cfg(feature = "net")]
pub mod api;
#[cfg(feature = "net")]
pub mod bootstrap;
#[cfg(feature = "net")]
pub mod cli;
#[cfg(feature = "net")]
pub mod client;
#[cfg(feature = "net")]
pub mod config;
pub mod core;
#[cfg(feature = "net")]
pub mod datadir;
#[cfg(feature = "net")]
pub mod demo;
#[cfg(feature = "net")]
pub mod disk;
#[cfg(feature = "net")]
pub mod driver;
#[cfg(feature = "net")]
pub mod env;
pub mod error;
#[cfg(feature = "net")]
pub mod handle;
#[cfg(feature = "net")]
pub mod net;
#[cfg(feature = "net")]
pub mod node;
pub mod request;
pub mod session;
#[cfg(feature = "sim")]
pub mod sim;
pub mod view;

#[doc = include_str!("../SPEC.md")]
pub mod spec {}

pub use error::{Error, ErrorKind};
#[cfg(feature = "net")]
pub use node::Node;
