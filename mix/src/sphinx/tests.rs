//! Tests of the packet: what arrives, what must not, what each hop may see, and the vectors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod batch;
mod hiding;
mod parse;
mod tamper;
mod trips;
mod vectors;
