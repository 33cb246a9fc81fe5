//! Everything sent arrives and is read, once, in order.

use mix::time::Span;
use node::sim::adversary::Dropper;
use node::sim::seed::stream;
use node::view::MessageState;

use super::{greet, mesh, wait_for};

#[test]
fn fifty_nodes_deliver_over_lossy_links_through_a_restart() {
    let mut world = mesh(50, 50);
    let pairs: Vec<(usize, usize)> = (0..10).map(|at| (at, 20 + at)).collect();
    greet(&mut world, &pairs);
    let mut letters = Vec::new();
    for (number, (from, to)) in pairs.iter().cycle().take(20).enumerate() {
        letters.push(
            world
                .send(*from, *to, &format!("message {number}"))
                .unwrap(),
        );
        world.run_for(Span::from_millis(200));
        match number {
            5 => world.stop(49),
            10 => world.start(49).unwrap(),
            _ => {}
        }
    }
    wait_for(&mut world, &letters, MessageState::Read);
    for (from, to) in &pairs {
        let bodies: Vec<_> = world.inbox(*to).into_iter().map(|one| one.body).collect();
        let want = [format!("message {from}"), format!("message {}", from + 10)];
        assert_eq!(bodies, want, "what node {to} received");
    }
    let lost = world
        .metrics()
        .undelivered
        .get("lost")
        .copied()
        .unwrap_or(0);
    let share = lost as f64 / world.metrics().packets as f64;
    assert!((0.004..0.006).contains(&share), "links lose {share}");
    assert_eq!(world.metrics().repeated, 0);
    assert_eq!(
        world.metrics().spins,
        0,
        "a core asked to be called in the past"
    );
}

#[test]
fn what_droppers_swallow_is_sent_again() {
    let nodes = 15;
    let mut world = mesh(7, nodes);
    let pairs = [(0, 1), (2, 3)];
    greet(&mut world, &pairs);
    // One node in five swallows half of what it should pass on or keep, and looks alive.
    for index in 12..nodes {
        let rng = stream(7, "dropper", index as u64, 0);
        world.corrupt(index, Box::new(Dropper::new(500_000, rng)));
    }
    let before = world.metrics().clone();
    let mut letters = Vec::new();
    for number in 0..6 {
        let (from, to) = pairs[number % 2];
        letters.push(world.send(from, to, &format!("message {number}")).unwrap());
        world.run_for(Span::from_millis(500));
    }
    wait_for(&mut world, &letters, MessageState::Delivered);
    let metrics = world.metrics();
    let swallowed = metrics.undelivered["adversary"];
    let share = swallowed as f64 / (metrics.packets - before.packets) as f64;
    assert!((0.07..0.13).contains(&share), "droppers took {share}");
    let all: Vec<_> = world.inbox(1).into_iter().map(|one| one.body).collect();
    assert_eq!(
        all,
        ["message 0", "message 2", "message 4"],
        "once, and in order"
    );
    assert!(world.inbox(1).iter().all(|one| one.acked));
}
