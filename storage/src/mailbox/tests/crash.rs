//! Crashes and a failing disk: what was acknowledged is never lost, what was not is never believed.

use std::sync::{Arc, Mutex};

use super::*;
use crate::backend::memory::Fault;

/// A trace that touches everything, one operation a commit.
fn trace() -> Vec<Op> {
    let at = |s| START.plus(s * SECOND);
    let mut ops = vec![];
    for n in 0..12u8 {
        ops.push(put(n, n, at(60 + 20 * u64::from(n % 3))));
        ops.push(put_inbox(1, 100 + n, at(100)));
        ops.push(put_prekey(
            1 + n % 2,
            n,
            Millis(u64::from(n)),
            at(60 + 10 * u64::from(n)),
        ));
        if n % 2 == 0 {
            ops.push(del(n));
            ops.push(Op::del_inbox(&SCOPE, &blinded(1), u16::from(n), [n; 16]));
        }
    }
    ops
}

/// Everything a reader could learn, as answers.
fn picture(w: &mut World) -> Vec<Answer> {
    for n in 0..12u8 {
        w.run(&stat(n));
        w.run(&get(n, 0, 1));
        w.run(&get_inbox(1, u16::from(n), 0, 1));
        w.run(&Op::get_prekey(5, blinded_public(n), surb(1)));
    }
    w.answers().into_iter().map(|(_, answer)| answer).collect()
}

fn open_on(store: MemoryBackend) -> World {
    World {
        boxes: Mailboxes::open(store.clone(), config(), START).unwrap(),
        store,
        now: START,
    }
}

#[test]
fn a_crash_at_any_commit_recovers_to_exactly_what_was_durable() {
    let ops = trace();
    // The truth after each prefix, from a holder that never crashed.
    let mut w = World::new();
    let mut truth = vec![picture(&mut w)];
    for op in &ops {
        w.run(op);
        truth.push(picture(&mut w));
    }
    for cut in 0..ops.len() {
        for applied in [false, true] {
            let mut w = World::new();
            ops[..cut].iter().for_each(|op| w.run(op));
            // The crash: the last commit reaches the disk or not, and nobody hears of it.
            w.give(&ops[cut]);
            let (_, batch) = w.boxes.poll_batch().unwrap();
            if applied {
                w.store.commit(&batch).unwrap();
            }
            let mut w = open_on(w.store.snapshot());
            assert_eq!(w.counters().corrupt + w.counters().doubled, 0);
            assert_eq!(
                picture(&mut w),
                truth[cut + usize::from(applied)],
                "cut {cut}, applied {applied}"
            );
            // Going on from there ends where the trace ends.
            ops[cut..].iter().for_each(|op| w.run(op));
            assert_eq!(
                picture(&mut w),
                truth[ops.len()],
                "cut {cut}, applied {applied}, replayed"
            );
        }
    }
}

#[test]
fn after_a_failed_commit_nothing_of_it_is_believed_now_or_after_a_restart() {
    let ops = trace();
    for cut in 0..ops.len() {
        for fault in [Fault::Fail, Fault::Full, Fault::Lost] {
            let mut w = World::new();
            ops[..cut].iter().for_each(|op| w.run(op));
            let truth = picture(&mut w);
            w.give(&get(20, 20_000, 20));
            w.store.inject(move |_, _| fault);
            w.give(&ops[cut]);
            w.give(&put(20, 20, START.plus(60 * SECOND)));
            w.settle();
            w.store.heal();
            assert!(w.answers().is_empty(), "no crossover from what failed");
            assert_eq!(w.counters().failed_batches, 1);
            // Refused until the pause is over, then taken without a restart.
            w.give(&put(21, 21, START.plus(60 * SECOND)));
            assert_eq!(w.dropped(DropReason::StoreFailed), 1);
            let changed_behind = fault == Fault::Lost;
            if !changed_behind {
                assert_eq!(picture(&mut w), truth, "cut {cut} {fault:?}");
            }
            w.pass(2_000);
            w.run(&ops[cut]);
            w.run(&put(20, 20, START.plus(60 * SECOND)));
            assert_eq!(w.answers(), [(20, found(20))]);
            let mut whole = World::new();
            ops[..=cut].iter().for_each(|op| whole.run(op));
            let truth = picture(&mut whole);
            assert_eq!(picture(&mut w), truth, "cut {cut} {fault:?}");
            let mut again = open_on(w.store.snapshot());
            assert_eq!(picture(&mut again), truth, "cut {cut} {fault:?} reopened");
            assert_eq!(again.counters().corrupt + again.counters().doubled, 0);
        }
    }
}

#[test]
fn a_store_that_fails_for_long_is_tried_again_and_again_and_loses_nothing() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(100 * SECOND)));
    let failures = Arc::new(Mutex::new(0));
    let count = failures.clone();
    w.store.inject(move |_, _| {
        *count.lock().unwrap() += 1;
        Fault::Lost
    });
    for n in 2..12 {
        w.give(&put(n, n, START.plus(100 * SECOND)));
        w.settle();
        w.run(&get(1, 0, 1));
        assert_eq!(w.answer(), found(10), "reading goes on");
        w.pass(2_000);
    }
    assert!(*failures.lock().unwrap() >= 10);
    w.store.heal();
    w.pass(2_000);
    assert_eq!(w.boxes.usage().records, 1);
    let again = open_on(w.store.snapshot());
    assert_eq!(
        again.boxes.usage().records,
        1,
        "what failed was cleaned away"
    );
}

#[test]
fn an_expired_bucket_that_could_not_be_dropped_is_dropped_later() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(10 * SECOND)));
    w.store.inject(|_, _| Fault::Fail);
    w.pass(10 * SECOND);
    assert_eq!(w.store.buckets().unwrap().len(), 1);
    w.store.heal();
    w.pass(2_000);
    assert!(w.store.buckets().unwrap().is_empty());
}

#[test]
fn what_was_staged_on_top_of_a_failed_batch_goes_with_it() {
    let mut w = World::new();
    w.give(&put(1, 10, START.plus(60 * SECOND)));
    let (seq, _) = w.boxes.poll_batch().unwrap();
    // Judged by what is about to fail: a deletion of it, and the next entry of an inbox.
    w.give(&del(1));
    w.give(&put_inbox(1, 10, START.plus(60 * SECOND)));
    w.boxes.handle_failed(w.now, seq);
    assert_eq!((w.boxes.usage().bytes, w.boxes.usage().records), (0, 0));
    w.pass(2_000);
    assert_eq!((w.counters().stored, w.counters().deleted), (0, 0));
    assert_eq!(open_on(w.store.snapshot()).boxes.usage().records, 0);
}

#[test]
fn a_store_that_does_not_read_is_counted_and_its_records_are_not_forgotten() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(60 * SECOND)));
    w.store.fail_reads(true);
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), Answer::Empty);
    assert!(Mailboxes::open(w.store.clone(), config(), START).is_err());
    w.store.fail_reads(false);
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), found(10));
    assert_eq!((w.counters().read_errors, w.counters().corrupt), (1, 0));
}
