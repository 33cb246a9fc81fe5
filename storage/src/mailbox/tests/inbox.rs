//! The per-day inbox: append-only, capped, read and deleted only by the blinded secret.

use super::*;

#[test]
fn entries_are_numbered_as_they_come() {
    let mut w = World::new();
    for n in 0..3 {
        w.run(&put_inbox(1, 10 + n, START.plus(60 * SECOND)));
    }
    for n in 0..3u8 {
        w.run(&get_inbox(1, u16::from(n), 0, 1));
        assert_eq!(w.answer(), entry(u16::from(n), 3, Some(10 + n)));
    }
    w.run(&get_inbox(1, 3, 0, 1));
    assert_eq!(w.answer(), entry(3, 3, None));
    w.run(&get_inbox(2, 0, 0, 1));
    assert_eq!(w.answer(), entry(0, 0, None));
}

#[test]
fn the_same_entry_again_gets_no_second_number_even_if_it_was_deleted() {
    let mut w = World::new();
    let first = put_inbox(1, 10, START.plus(60 * SECOND));
    w.run(&first);
    w.run(&first);
    w.run(&Op::del_inbox(&SCOPE, &blinded(1), 0, [1; 16]));
    w.restart();
    w.run(&first);
    w.run(&put_inbox(1, 11, START.plus(60 * SECOND)));
    w.run(&get_inbox(1, 0, 0, 1));
    assert_eq!(w.answer(), entry(0, 2, None));
    w.run(&get_inbox(1, 1, 0, 1));
    assert_eq!(w.answer(), entry(1, 2, Some(11)));
}

#[test]
fn a_waiting_fetch_is_answered_by_its_entry_and_no_other() {
    let mut w = World::new();
    w.run(&get_inbox(1, 1, 10_000, 7));
    w.run(&put_inbox(1, 10, START.plus(60 * SECOND)));
    assert!(w.answers().is_empty());
    w.run(&put_inbox(1, 11, START.plus(60 * SECOND)));
    assert_eq!(w.answers(), [(7, entry(1, 2, Some(11)))]);
    w.pass(20_000);
    assert!(w.answers().is_empty());
}

#[test]
fn a_fetch_of_what_cannot_come_does_not_wait() {
    let mut w = World::new();
    w.run(&put_inbox(1, 10, START.plus(60 * SECOND)));
    w.run(&Op::del_inbox(&SCOPE, &blinded(1), 0, [1; 16]));
    w.run(&get_inbox(1, 0, 10_000, 1));
    assert_eq!(w.answer(), entry(0, 1, None));
    w.run(&get_inbox(1, 64, 10_000, 1));
    assert_eq!(w.answer(), entry(64, 1, None));
    assert_eq!(w.boxes.usage().waiting, 0);
}

#[test]
fn an_inbox_takes_sixty_four_entries() {
    let mut w = World::new();
    for n in 0..65 {
        w.run(&put_inbox(1, n, START.plus(60 * SECOND)));
    }
    assert_eq!(w.dropped(DropReason::InboxFull), 1);
    assert_eq!(w.boxes.usage().records, 64);
    // Deleting makes no room: the numbers are used up.
    w.run(&Op::del_inbox(&SCOPE, &blinded(1), 63, [1; 16]));
    w.run(&put_inbox(1, 200, START.plus(60 * SECOND)));
    assert_eq!(w.dropped(DropReason::InboxFull), 2);
}

#[test]
fn no_number_is_given_out_twice_when_entries_expire() {
    let mut w = World::new();
    w.run(&put_inbox(1, 10, START.plus(100 * SECOND)));
    // Asks for less than the entry in front of it, and gets as much.
    w.run(&put_inbox(1, 11, START.plus(SECOND)));
    w.pass(50 * SECOND);
    w.restart();
    w.run(&put_inbox(1, 12, START.plus(100 * SECOND)));
    w.run(&get_inbox(1, 1, 0, 1));
    assert_eq!(w.answer(), entry(1, 3, Some(11)));
    w.run(&get_inbox(1, 2, 0, 1));
    assert_eq!(w.answer(), entry(2, 3, Some(12)));
}

#[test]
fn a_captured_request_is_useless_with_another_surb_index_or_wait() {
    let mut w = World::new();
    w.run(&put_inbox(1, 10, START.plus(60 * SECOND)));
    let Op::GetInbox {
        epoch,
        key,
        index,
        wait_ms,
        sig,
        surb: own,
    } = get_inbox(1, 0, 0, 1)
    else {
        unreachable!()
    };
    let forged = [
        Op::GetInbox {
            epoch,
            key,
            index,
            wait_ms,
            sig,
            surb: surb(2),
        },
        Op::GetInbox {
            epoch,
            key,
            index: 1,
            wait_ms,
            sig,
            surb: own.clone(),
        },
        Op::GetInbox {
            epoch,
            key,
            index,
            wait_ms: 5,
            sig,
            surb: own.clone(),
        },
        Op::GetInbox {
            epoch: 6,
            key,
            index,
            wait_ms,
            sig,
            surb: own.clone(),
        },
    ];
    for op in &forged {
        w.run(op);
    }
    assert!(w.answers().is_empty());
    assert_eq!(w.dropped(DropReason::Signature), 4);
}

#[test]
fn only_the_owner_deletes() {
    let mut w = World::new();
    w.run(&put_inbox(1, 10, START.plus(60 * SECOND)));
    let Op::DelInbox {
        epoch,
        index,
        nonce,
        sig,
        ..
    } = Op::del_inbox(&SCOPE, &blinded(2), 0, [1; 16])
    else {
        unreachable!()
    };
    w.run(&Op::DelInbox {
        epoch,
        key: blinded_public(1),
        index,
        nonce,
        sig,
    });
    assert_eq!(w.dropped(DropReason::Signature), 1);
    w.run(&get_inbox(1, 0, 0, 1));
    assert_eq!(w.answer(), entry(0, 1, Some(10)));
}
