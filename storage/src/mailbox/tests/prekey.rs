//! The prekey box: read by many, written by its owner, the newest wins.

use super::*;

#[test]
fn many_read_it_and_the_newest_wins() {
    let mut w = World::new();
    let long = START.plus(100 * SECOND);
    w.run(&Op::get_prekey(5, blinded_public(1), surb(1)));
    assert_eq!(w.answer(), Answer::Empty, "a prekey box never waits");
    w.run(&put_prekey(1, 10, Millis(1), long));
    for _ in 0..3 {
        w.run(&Op::get_prekey(5, blinded_public(1), surb(1)));
        assert_eq!(w.answer(), found(10));
    }
    w.run(&put_prekey(1, 11, Millis(2), START.plus(30 * SECOND)));
    w.run(&put_prekey(1, 10, Millis(1), long));
    assert_eq!(w.dropped(DropReason::Stale), 1);
    w.run(&put_prekey(1, 12, Millis(2), long));
    assert_eq!(w.dropped(DropReason::Conflict), 1);
    w.run(&put_prekey(1, 11, Millis(2), START.plus(30 * SECOND)));
    assert_eq!(w.counters().repeated, 1);
    w.restart();
    w.run(&Op::get_prekey(5, blinded_public(1), surb(1)));
    assert_eq!(w.answer(), found(11));
    // It moved to the earlier bucket; nothing of the old one comes back when that ends.
    assert_eq!(w.boxes.usage().records, 1);
    w.pass(30 * SECOND);
    w.restart();
    w.run(&Op::get_prekey(5, blinded_public(1), surb(1)));
    assert_eq!(w.answer(), Answer::Empty);
}

#[test]
fn only_the_owner_writes() {
    let mut w = World::new();
    let Op::PutPrekey {
        epoch,
        issued,
        expires,
        stamp: _,
        sig,
        ciphertext,
        ..
    } = put_prekey(2, 10, Millis(1), START.plus(SECOND))
    else {
        unreachable!()
    };
    let key = blinded_public(1);
    let stamp = HashStamp
        .solve(&Subject::put_prekey(&NETWORK, &key, &ciphertext), 4, 0)
        .unwrap();
    w.run(&Op::PutPrekey {
        epoch,
        key,
        issued,
        expires,
        stamp,
        sig,
        ciphertext,
    });
    assert_eq!(w.dropped(DropReason::Signature), 1);
    assert_eq!(w.boxes.usage().records, 0);
}

#[test]
fn box_inbox_and_prekey_box_of_one_key_are_apart() {
    let mut w = World::new();
    w.run(&put_inbox(1, 10, START.plus(60 * SECOND)));
    w.run(&put_prekey(1, 11, Millis(1), START.plus(60 * SECOND)));
    w.run(&Op::get_box(5, blinded_public(1), 0, surb(1)));
    assert_eq!(w.answer(), Answer::Empty);
    w.run(&get_inbox(1, 0, 0, 1));
    assert_eq!(w.answer(), entry(0, 1, Some(10)));
    w.run(&Op::get_prekey(5, blinded_public(1), surb(1)));
    assert_eq!(w.answer(), found(11));
}
