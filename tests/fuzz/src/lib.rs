//! Fuzz targets for the packet core and the directory. Each module is one target: a function `play` that takes any bytes, acts them out against
//! the `mix` or the `dht` crate, panics if an invariant breaks, and names what was reached. `src/bin/` are libFuzzer's doors to them;
//! `mix/tests/corpora.rs` and `dht/tests/corpora.rs` compile the same files and play `corpus/` in every `cargo test`.
//!
//! | target | plays | must hold |
//! |---|---|---|
//! | [`header`] | any bytes into every decoder | no panic; what is accepted encodes to the same bytes |
//! | [`process`] | a valid packet, altered with and without the keys, peeled | exactly what [`model`] says |
//! | [`surb`] | a reply block used, carried and opened with altered parts | opens unaltered only |
//! | [`body`] | wide blocks under any key, tags with single bits set | exactly what [`model`] says |
//! | [`mixer_ops`] | a day in the life of a mixer with tiny bounds | books balance, nothing leaves early or twice |
//! | [`dht_records`] | any bytes into every decoder of records and pages | one encoding; what verifies is what was committed to |
//! | [`dht_certificates`] | the same for votes and certificates; chains in any order | nothing altered is believed |
//! | [`dht_faults`] | the same for proofs of faults; statements put together | nobody honest is proved guilty |
//! | [`dht_reconcile`] | the same for messages; exchanges with a hostile side | ends; an honest one ends in equal sets |
//! | [`dht_pki`] | a node that hears real traffic, altered, in any order | within its caps; believes nothing unsigned |
#![forbid(unsafe_code)]

pub mod body;
pub mod book;
pub mod dht_certificates;
pub mod dht_faults;
pub mod dht_pki;
pub mod dht_reconcile;
pub mod dht_records;
pub mod dht_traffic;
pub mod dht_world;
pub mod header;
pub mod input;
pub mod intake;
pub mod lab;
pub mod letters;
pub mod mixer_ops;
pub mod model;
pub mod process;
pub mod surb;
