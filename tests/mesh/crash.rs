//! A crash loses what nobody was promised, and nothing else.

use mix::time::Span;
use node::view::MessageState;

use super::{greet, mesh, wait_for};

#[test]
fn what_was_accepted_survives_a_kill_and_what_was_not_is_gone() {
    let mut world = mesh(11, 10);
    greet(&mut world, &[(0, 1)]);

    // Accepted: the user was told that it is on disk. Killed in the same instant.
    let kept = world.send(0, 1, "kept").unwrap();
    while !world.is_accepted(&kept) {
        world.run_for(Span::from_millis(1));
    }
    world.kill(0);

    // Not accepted: killed before the disk had a chance, and the user knows.
    world.run_for(Span::from_secs(1));
    world.start(0).unwrap();
    let lost = world.send(0, 1, "lost").unwrap();
    assert!(!world.is_accepted(&lost));
    world.kill_before_write(0);
    world.run_for(Span::from_secs(1));
    world.start(0).unwrap();

    assert!(
        world.message(&kept).is_some(),
        "an accepted message is gone"
    );
    assert!(
        world.message(&lost).is_none(),
        "nothing reached the disk, so nothing may be there"
    );
    wait_for(&mut world, &[kept], MessageState::Read);
    world.run_for(Span::from_secs(5));
    let bodies: Vec<_> = world.inbox(1).into_iter().map(|one| one.body).collect();
    assert_eq!(bodies, ["kept"]);
}

#[test]
fn a_receiver_killed_again_and_again_reads_everything_once() {
    let mut world = mesh(12, 10);
    greet(&mut world, &[(0, 1)]);
    let mut letters = Vec::new();
    for round in 0..3 {
        letters.push(world.send(0, 1, &format!("message {round}")).unwrap());
        world.run_for(Span::from_millis(1_500));
        world.kill(1);
        world.run_for(Span::from_millis(700));
        world.start(1).unwrap();
        world.run_for(Span::from_secs(1));
    }
    wait_for(&mut world, &letters, MessageState::Read);
    let bodies: Vec<_> = world.inbox(1).into_iter().map(|one| one.body).collect();
    assert_eq!(bodies, ["message 0", "message 1", "message 2"]);
    assert_eq!(world.metrics().repeated, 0);
}
