//! No packet takes effect twice: not at once, not after the epoch's edge, not after a restart.

use mix::time::Span;
use node::sim::adversary::Replayer;
use node::sim::world::{World, WorldConfig};

use super::settle;

#[test]
fn replayed_packets_are_never_accepted_also_across_a_restart() {
    let nodes = 10;
    let mut world = World::new(WorldConfig::demo(3, nodes));
    let ms = Span::from_millis;
    // Ten copies each, the last ones when the receiver has restarted and the epoch has turned.
    let delays = [
        1, 10, 100, 1_000, 2_000, 4_000, 6_000, 8_000, 15_000, 30_000,
    ]
    .map(ms);
    for index in [0, 1, 2] {
        world.corrupt(index, Box::new(Replayer::new(2, delays)));
    }
    let mut world = settle(world);
    world.run_for(Span::from_secs(5));
    let before = world.metrics().replays;
    world.kill(8);
    world.stop(9);
    world.run_for(ms(1_500));
    world.start(8).unwrap();
    world.start(9).unwrap();
    world.run_for(Span::from_secs(25));
    let metrics = world.metrics();
    assert!(
        metrics.replays > before + 1_000,
        "{} copies after the restarts",
        metrics.replays - before
    );
    assert_eq!(metrics.replays_accepted, 0);
    assert_eq!(metrics.repeated, 0, "a packet left a node twice");
    for restarted in [8, 9] {
        let seen = world
            .counters(restarted)
            .dropped
            .get("replay")
            .copied()
            .unwrap_or(0);
        assert!(
            seen > 0,
            "node {restarted} saw no replay: this test shows nothing"
        );
    }
}

#[test]
fn a_mixer_that_forgot_would_be_noticed() {
    // The guard of the guard: a node whose disk forgets its tags takes replays, and the world says so.
    let nodes = 8;
    let mut world = World::new(WorldConfig::demo(4, nodes));
    let delays = [3_000, 5_000].map(Span::from_millis);
    for index in 0..4 {
        world.corrupt(index, Box::new(Replayer::new(1, delays)));
    }
    let mut world = settle(world);
    world.run_for(Span::from_secs(3));
    world.kill(7);
    world.forget_tags(7);
    world.start(7).unwrap();
    world.run_for(Span::from_secs(6));
    assert!(world.metrics().replays_accepted > 0);
}
