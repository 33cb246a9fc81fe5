//! A mesh of whole nodes on loopback sockets: how soon it agrees, how soon a node is back, what a stranger costs it.
//!
//! The parts, each by name (`cargo bench --bench mesh -- mesh/restart`):
//!
//! - `mesh/agree`: 50 nodes in one process, then 10 processes of one node each: from the first start until all hold one root;
//! - `mesh/restart`: a node of the ten stops and starts on its directory, where its peers are cached: until it is ready again;
//! - `mesh/control`: a stranger sends a node a million GRAFT and PRUNE on topics of its own invention, and subscriptions: the
//!   memory of the node's process before and after.
//!
//! Not criterion: each is one long story. A smoke run tells a shorter one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

#[path = "mesh/agree.rs"]
mod agree;
#[path = "shared/child.rs"]
mod child;
#[path = "mesh/control.rs"]
mod control;
#[path = "../node/tests/processes/hostile.rs"]
mod hostile;
#[path = "shared/lab.rs"]
mod lab;
#[path = "mesh/one.rs"]
mod one;

fn main() {
    match child::role().as_deref() {
        Some("node") => return one::run(),
        Some(other) => panic!("no part is called {other}"),
        None => {}
    }
    if !lab::skipped("mesh/agree") {
        agree::in_one_process();
    }
    if !lab::skipped("mesh/agree") || !lab::skipped("mesh/restart") {
        agree::in_ten_processes();
    }
    if !lab::skipped("mesh/control") {
        control::measure();
    }
}
