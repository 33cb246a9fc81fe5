//! At the caps: waiting fetches, staged changes, answers, buckets, the quota and what stamps cost on the way there.

use super::*;
use crate::mailbox::{HELD_LEN, TOMBSTONE_LEN};

/// Bytes the quota counts for a held box.
const HELD: u64 = 33 + HELD_LEN as u64;

#[test]
fn on_one_id_the_oldest_fetch_gives_way() {
    let mut w = World::with(MailboxConfig {
        waiters_per_id: 2,
        ..config()
    });
    for n in 1..=3 {
        w.run(&get(1, 10_000, n));
    }
    assert_eq!(w.answers(), [(1, Answer::Empty)]);
    w.run(&put(1, 10, START.plus(SECOND)));
    assert_eq!(w.answers(), [(2, found(10)), (3, found(10))]);
    assert_eq!(w.counters().evicted, 1);
    assert_eq!(w.boxes.usage().waiting, 0);
}

#[test]
fn over_all_ids_the_oldest_fetch_gives_way() {
    let mut w = World::with(MailboxConfig {
        waiters: 10,
        ..config()
    });
    for n in 0..30 {
        w.run(&get(n, 20_000, n));
        assert!(w.boxes.usage().waiting <= 10);
    }
    let early: Vec<u8> = w.answers().into_iter().map(|(surb, _)| surb).collect();
    assert_eq!(early, (0..20).collect::<Vec<u8>>());
    w.pass(20_000);
    let late: Vec<u8> = w.answers().into_iter().map(|(surb, _)| surb).collect();
    assert_eq!(late, (20..30).collect::<Vec<u8>>());
}

#[test]
fn staged_changes_are_capped() {
    let mut w = World::with(MailboxConfig {
        staged: 3,
        ..config()
    });
    for n in 0..5 {
        w.give(&put(n, n, START.plus(SECOND)));
    }
    assert_eq!(w.dropped(DropReason::Busy), 2);
    w.settle();
    assert_eq!(w.counters().stored, 3);
    for n in 0..5 {
        w.give(&del(n));
    }
    assert_eq!(w.dropped(DropReason::Absent), 2);
}

#[test]
fn answers_not_taken_are_capped() {
    let mut w = World::with(MailboxConfig {
        answers: 4,
        ..config()
    });
    for n in 0..6 {
        w.give(&get(1, 0, n));
    }
    assert_eq!(w.dropped(DropReason::Busy), 2);
    assert_eq!(w.answers().len(), 4);
}

#[test]
fn at_the_quota_deposits_are_refused_and_deleting_makes_room() {
    let mut w = World::with(MailboxConfig {
        quota_bytes: 4 * HELD,
        ..config()
    });
    for n in 0..5 {
        w.run(&put(n, n, START.plus(60 * SECOND)));
    }
    assert_eq!(w.dropped(DropReason::Full), 1);
    assert_eq!(w.boxes.usage().bytes, 4 * HELD);
    w.run(&del(0));
    assert_eq!(w.boxes.usage().bytes, 3 * HELD + 33 + TOMBSTONE_LEN as u64);
    w.run(&put(4, 4, START.plus(60 * SECOND)));
    assert_eq!(
        w.dropped(DropReason::Full),
        2,
        "the tombstone still takes a little"
    );
    w.pass(60 * SECOND);
    w.run(&put(4, 4, w.now.plus(60 * SECOND)));
    assert_eq!(w.counters().stored, 5);
}

#[test]
fn the_quota_counts_what_is_staged() {
    let mut w = World::with(MailboxConfig {
        quota_bytes: 2 * HELD,
        ..config()
    });
    for n in 0..3 {
        w.give(&put(n, n, START.plus(60 * SECOND)));
    }
    assert_eq!(w.dropped(DropReason::Full), 1);
}

#[test]
fn stamps_cost_twice_as_much_from_half_full_and_again_from_three_quarters() {
    let mut w = World::with(MailboxConfig {
        quota_bytes: 8 * HELD,
        effort: 4,
        ..config()
    });
    let mut efforts = vec![w.boxes.usage().effort];
    for n in 0..8u8 {
        let effort = w.boxes.usage().effort;
        let subject = Subject::put_box(&NETWORK, &id(n), &sealed(n));
        // A stamp of exactly one bit too few.
        let weak = (0..).map(|start| HashStamp.solve(&subject, effort - 1, start).unwrap());
        let weak = weak
            .take(10_000)
            .find(|s| !HashStamp.holds(&subject, s, effort))
            .unwrap();
        w.run(&Op::put_box(
            &SCOPE,
            &key(n),
            START.plus(SECOND),
            sealed(n),
            weak,
        ));
        assert_eq!(w.dropped(DropReason::Stamp), u64::from(n) + 1);
        let enough = HashStamp.solve(&subject, effort, 0).unwrap();
        w.run(&Op::put_box(
            &SCOPE,
            &key(n),
            START.plus(SECOND),
            sealed(n),
            enough,
        ));
        efforts.push(w.boxes.usage().effort);
    }
    assert_eq!(efforts, [4, 4, 4, 4, 5, 5, 6, 6, 6]);
    w.run(&stat(1));
    assert_eq!(
        w.answer(),
        Answer::Stat {
            held: Held::Held,
            effort: 6
        },
        "a sender learns what is asked"
    );
}

#[test]
fn buckets_are_capped_and_records_then_share_a_later_one() {
    let mut w = World::with(MailboxConfig {
        buckets: 2,
        ..config()
    });
    w.run(&put(1, 1, START.plus(20 * SECOND)));
    w.run(&put(2, 2, START.plus(50 * SECOND)));
    w.run(&put(3, 3, START.plus(30 * SECOND)));
    w.run(&put(4, 4, START.plus(60 * SECOND)));
    assert_eq!(w.dropped(DropReason::Buckets), 1);
    assert_eq!(w.store.buckets().unwrap().len(), 2);
    w.pass(49 * SECOND);
    w.run(&get(3, 0, 1));
    assert_eq!(w.answer(), found(3), "never earlier than asked");
    w.run(&put(4, 4, START.plus(60 * SECOND)));
    assert_eq!(w.counters().stored, 4, "a bucket that ended made room");
}

#[test]
fn settings_of_zero_are_refused() {
    for (name, bad) in [
        (
            "quota_bytes",
            MailboxConfig {
                quota_bytes: 0,
                ..config()
            },
        ),
        (
            "bucket_ms",
            MailboxConfig {
                bucket_ms: 0,
                ..config()
            },
        ),
        (
            "waiters",
            MailboxConfig {
                waiters: 0,
                ..config()
            },
        ),
    ] {
        let error = Mailboxes::open(MemoryBackend::new(), bad, START).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
