//! Fuzz targets for the packet core. Each module is one target: a function `play` that takes any bytes, acts them out against
//! the `mix` crate, panics if an invariant breaks, and names what was reached. `src/bin/` are libFuzzer's doors to them;
//! `mix/tests/corpora.rs` compiles the same files and plays `corpus/` in every `cargo test`.
//!
//! | target | plays | must hold |
//! |---|---|---|
//! | [`header`] | any bytes into every decoder | no panic; what is accepted encodes to the same bytes |
//! | [`process`] | a valid packet, altered with and without the keys, peeled | exactly what [`model`] says |
//! | [`surb`] | a reply block used, carried and opened with altered parts | opens unaltered only |
//! | [`body`] | wide blocks under any key, tags with single bits set | exactly what [`model`] says |
//! | [`mixer_ops`] | a day in the life of a mixer with tiny bounds | books balance, nothing leaves early or twice |
#![forbid(unsafe_code)]

pub mod body;
pub mod book;
pub mod header;
pub mod intake;
pub mod lab;
pub mod letters;
pub mod mixer_ops;
pub mod model;
pub mod process;
pub mod surb;
