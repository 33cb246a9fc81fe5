//! Captured packets sent again: to a relay that was killed in the middle of its work, and across the edge of an epoch.
//!
//! The benchmark runs itself as a relay process: the production mixer, openers on two threads, the production disk with its
//! epoch files. Packets come over two loopback sockets, 2,048 bytes each without links around them (a million packets through
//! noise and yamux would measure those); what leaves the relay, delivered or transmitted, goes back with its name on a third.
//! The relay is killed by SIGKILL at random instants while packets stream in, started again on the same directory, and gets
//! the same packets again. At the end each packet left at most once. The parts:
//!
//! - `replay/kill`: as above, with 10^6 packets; then all of them again in the tail of their epoch, again after its key was
//!   erased, and again after a restart;
//! - `replay/full`: three times as many packets as the replay set holds, at its production size, through the disk.
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
#[path = "replay/full.rs"]
mod full;
#[path = "shared/lab.rs"]
mod lab;
#[path = "replay/parent.rs"]
mod parent;
#[path = "replay/relay.rs"]
mod relay;

fn main() {
    match child::role().as_deref() {
        Some("relay") => return relay::relay(),
        Some(other) => panic!("no part is called {other}"),
        None => {}
    }
    if !lab::skipped("replay/kill") {
        parent::measure();
    }
    if !lab::skipped("replay/full") {
        full::measure();
    }
}
