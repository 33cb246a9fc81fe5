//! Pairwise boxes: deposit, fetch, delete, ask; waiting and crossing over; nothing answered before it is durable; expiry.

use super::*;

fn soon(world: &World) -> Millis {
    world.now.plus(60 * SECOND)
}

#[test]
fn a_deposit_is_found_until_it_is_deleted() {
    let mut w = World::new();
    w.run(&put(1, 10, soon(&w)));
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), found(10));
    w.run(&stat(1));
    assert_eq!(w.answer(), is(Held::Held));

    w.run(&del(1));
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), Answer::Empty);
    w.run(&stat(1));
    assert_eq!(w.answer(), is(Held::Deleted));
    w.run(&stat(2));
    assert_eq!(w.answer(), is(Held::Absent));
    assert_eq!((w.counters().stored, w.counters().deleted), (1, 1));
}

#[test]
fn every_operation_may_come_twice() {
    let mut w = World::new();
    w.run(&put(1, 10, soon(&w)));
    let usage = w.boxes.usage();
    w.run(&put(1, 10, soon(&w)));
    assert_eq!(w.boxes.usage(), usage);
    assert_eq!(w.counters().repeated, 1);
    w.run(&del(1));
    w.run(&del(1));
    assert_eq!(w.counters().repeated, 2);
    assert_eq!(w.counters().drops().map(|(_, n)| n).sum::<u64>(), 0);
}

#[test]
fn another_ciphertext_does_not_replace_the_first() {
    let mut w = World::new();
    w.run(&put(1, 10, soon(&w)));
    w.run(&put(1, 11, soon(&w)));
    assert_eq!(w.dropped(DropReason::Conflict), 1);
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), found(10));
}

#[test]
fn what_was_deleted_stays_deleted_as_long_as_it_could_come_back() {
    let mut w = World::new();
    let expires = soon(&w);
    w.run(&put(1, 10, expires));
    w.run(&del(1));
    w.restart();
    w.run(&put(1, 10, expires));
    assert_eq!(w.dropped(DropReason::Buried), 1);
    // At the end of the bucket both are gone, and the deposit has expired.
    w.pass(60 * SECOND);
    w.run(&stat(1));
    assert_eq!(w.answer(), is(Held::Absent));
    w.run(&put(1, 10, expires));
    assert_eq!(w.dropped(DropReason::Expired), 1);
}

#[test]
fn nothing_is_answered_before_the_deposit_is_durable() {
    let mut w = World::new();
    w.give(&get(1, 10_000, 1));
    w.give(&put(1, 10, soon(&w)));
    w.give(&get(1, 10_000, 2));
    w.give(&stat(1));
    assert_eq!(w.answers(), [(99, is(Held::Absent))]);
    let (seq, batch) = w.boxes.poll_batch().unwrap();
    assert!(w.answers().is_empty());
    w.store.commit(&batch).unwrap();
    assert!(w.answers().is_empty());
    w.boxes.handle_durable(seq + 1);
    assert!(w.answers().is_empty(), "another number opens nothing");
    w.boxes.handle_durable(seq);
    assert_eq!(w.answers(), [(1, found(10)), (2, found(10))]);
    assert_eq!(w.counters().crossovers, 2);
}

#[test]
fn a_deletion_shows_only_once_it_is_durable() {
    let mut w = World::new();
    w.run(&put(1, 10, soon(&w)));
    w.give(&del(1));
    w.give(&get(1, 0, 1));
    w.give(&stat(1));
    assert_eq!(w.answers(), [(1, found(10)), (99, is(Held::Held))]);
    w.settle();
    w.give(&get(1, 0, 1));
    assert_eq!(w.answer(), Answer::Empty);
}

#[test]
fn one_batch_at_a_time() {
    let mut w = World::new();
    w.give(&put(1, 10, soon(&w)));
    let (first, batch) = w.boxes.poll_batch().unwrap();
    w.give(&put(2, 20, soon(&w)));
    assert!(w.boxes.poll_batch().is_none());
    w.store.commit(&batch).unwrap();
    w.boxes.handle_durable(first);
    let (second, _) = w.boxes.poll_batch().unwrap();
    assert!(second > first);
}

#[test]
fn a_fetch_waits_as_long_as_it_asks_and_is_answered_once() {
    let mut w = World::new();
    w.run(&get(1, 5_000, 1));
    assert_eq!(w.boxes.poll_timeout(), Some(START.plus(5_000)));
    w.pass(4_999);
    assert!(w.answers().is_empty());
    w.pass(1);
    assert_eq!(w.answer(), Answer::Empty);
    // The deposit that comes too late finds nobody.
    w.run(&put(1, 10, soon(&w)));
    assert!(w.answers().is_empty());
    w.pass(60 * SECOND);
    assert!(w.answers().is_empty());
}

#[test]
fn the_holder_limits_the_wait() {
    let mut w = World::new();
    w.run(&get(1, u32::MAX, 1));
    assert_eq!(w.boxes.poll_timeout(), Some(START.plus(20_000)));
    w.run(&get(2, 0, 2));
    assert_eq!(
        w.answers(),
        [(2, Answer::Empty)],
        "no wait asked: empty at once"
    );
}

#[test]
fn a_bucket_ends_whole_and_no_earlier_than_its_records() {
    let mut w = World::new();
    let expires = w.now.plus(15 * SECOND);
    w.run(&put(1, 10, expires));
    w.run(&put(2, 20, w.now.plus(16 * SECOND)));
    assert_eq!(w.store.buckets().unwrap().len(), 1);
    assert_eq!(w.boxes.poll_timeout(), Some(START.plus(20 * SECOND)));
    w.pass(20 * SECOND - 1);
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), found(10));
    w.pass(1);
    assert!(w.store.buckets().unwrap().is_empty());
    assert_eq!((w.boxes.usage().bytes, w.boxes.usage().records), (0, 0));
    assert_eq!(w.counters().dropped_buckets, 1);
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), Answer::Empty);
    assert_eq!(w.boxes.poll_timeout(), None);
}

#[test]
fn a_deposit_whose_bucket_ends_on_the_way_is_not_found_afterwards() {
    let mut w = World::new();
    w.give(&put(1, 10, w.now.plus(SECOND)));
    let (seq, batch) = w.boxes.poll_batch().unwrap();
    w.now = w.now.plus(10 * SECOND);
    w.boxes.handle_timeout(w.now);
    w.store.commit(&batch).unwrap();
    w.boxes.handle_durable(seq);
    w.settle();
    w.run(&stat(1));
    assert_eq!(w.answer(), is(Held::Absent));
    assert_eq!(w.boxes.usage().bytes, 0);
    assert!(w.store.buckets().unwrap().is_empty());
}
