//! Whole-mesh tests: production cores in virtual time, and real nodes on sockets (`sockets`).
//!
//! One binary with a room per concern: `delivery` (everything arrives, however the links and some
//! nodes behave), `repeat` (one seed, one run), `replay` (nothing takes effect twice), `crash`
//! (what was promised survives). Found bugs become fixed seeds here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "mesh/crash.rs"]
mod crash;
#[path = "mesh/delivery.rs"]
mod delivery;
#[path = "mesh/repeat.rs"]
mod repeat;
#[path = "mesh/replay.rs"]
mod replay;
#[path = "mesh/sockets.rs"]
mod sockets;

use mix::time::Span;
use node::sim::world::{Letter, World, WorldConfig};
use node::view::MessageState;

/// No stage of any test takes longer, in virtual time.
const PATIENCE: Span = Span::from_secs(120);

/// A settled mesh on the demo's network.
fn mesh(seed: u64, nodes: usize) -> World {
    settle(World::new(WorldConfig::demo(seed, nodes)))
}

/// Starts everyone and waits until all are ready and agree.
fn settle(mut world: World) -> World {
    world.start_all(Span::from_millis(100)).unwrap();
    let nodes = world.len();
    let settled = world.run_while(PATIENCE, |world| !world.is_settled(nodes));
    assert!(settled, "{:?} agree after {PATIENCE:?}", world.agreement());
    world
}

/// Makes `from` able to write to `to`, for each pair.
fn greet(world: &mut World, pairs: &[(usize, usize)]) {
    for (from, to) in pairs {
        world.add_contact(*from, *to).unwrap();
    }
    let greeted = world.run_while(PATIENCE, |world| {
        !pairs.iter().all(|(from, to)| world.is_greeted(*from, *to))
    });
    assert!(greeted, "some hello was never answered");
}

/// How many of the letters got that far.
fn count(world: &World, letters: &[Letter], state: MessageState) -> usize {
    letters
        .iter()
        .filter(|letter| world.has_reached(letter, state))
        .count()
}

/// Waits until every letter has got that far.
fn wait_for(world: &mut World, letters: &[Letter], state: MessageState) {
    let done = world.run_while(PATIENCE, |world| {
        count(world, letters, state) < letters.len()
    });
    let lives: Vec<_> = letters
        .iter()
        .filter(|letter| !done && !world.has_reached(letter, state))
        .map(|letter| (letter.from, letter.to, world.message(letter)))
        .collect();
    assert!(done, "not {state:?} after {PATIENCE:?}: {lives:#?}");
}
