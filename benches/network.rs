//! Packets a second through one node on loopback, the CPU time each costs it, and when they leave.
//!
//! The benchmark runs itself as processes of their own: a source that sends packets built beforehand, a relay (the real
//! links, the real threads that open packets, the real mixer, replay tags synced to disk before anything leaves), sinks that
//! count. Between them are real TCP connections with noise and yamux, as `murmur up` has them. The parts:
//!
//! - `network/relay`: packets per CPU-second of the relay process, all its threads, as a share of the rate at which the same
//!   process opens packets in batches of 64 and does nothing else, measured in turns;
//! - `network/departures`: whether the delays of packets under load still follow the exponential law;
//! - `network/link`: one link without a mixer, over TCP and over QUIC.
//!
//! Not criterion: each run is one long stream.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

#[path = "shared/child.rs"]
mod child;
#[path = "network/departures.rs"]
mod departures;
#[path = "network/end.rs"]
mod end;
#[path = "network/ends.rs"]
mod ends;
#[path = "shared/lab.rs"]
mod lab;
#[path = "network/link.rs"]
mod link;
#[path = "network/mixing.rs"]
mod mixing;
#[path = "network/relay.rs"]
mod relay;
#[path = "network/share.rs"]
mod share;

fn main() {
    match child::role().as_deref() {
        Some("source") => return ends::source(),
        Some("sinks") => return ends::sinks(),
        Some("relay") => return relay::relay(),
        Some(other) => panic!("no part is called {other}"),
        None => {}
    }
    if !lab::skipped("network/relay") {
        share::measure();
    }
    if !lab::skipped("network/departures") {
        departures::measure();
    }
    if !lab::skipped("network/link") {
        link::measure("TCP", end::TCP);
        link::measure("QUIC", "/ip4/127.0.0.1/udp/0/quic-v1");
    }
}
