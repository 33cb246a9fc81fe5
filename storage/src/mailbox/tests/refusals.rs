//! Bad input: each kind is counted under its own reason, changes nothing and is never answered.

use super::*;
use crate::{BODY_LEN, op::Malformed, stamp::Proof};

/// Runs an operation that must be dropped for `reason` and for no other.
fn refused(w: &mut World, op: &Op, reason: DropReason) {
    let before = w.dropped(reason);
    let usage = w.boxes.usage();
    w.run(op);
    assert_eq!(
        w.dropped(reason),
        before + 1,
        "{reason:?}: {:?}",
        w.counters()
    );
    assert_eq!(w.boxes.usage(), usage);
    assert!(w.answers().is_empty());
}

#[test]
fn garbage_is_counted_and_not_answered() {
    let mut w = World::new();
    let mut body = [0u8; BODY_LEN];
    for n in 0..=u8::MAX {
        body[0] = n;
        body[1] = n;
        body[1802] = 1;
        w.boxes.handle_op(START, &body);
    }
    assert_eq!(w.dropped(DropReason::Malformed), 256);
    assert!(w.boxes.poll_batch().is_none());
    assert_eq!(Op::decode(&body), Err(Malformed::Version(255)));
}

#[test]
fn each_wrong_field_has_its_reason() {
    let mut w = World::new();
    let good = put(1, 10, START.plus(SECOND));
    let Op::PutBox {
        epoch,
        id,
        expires,
        stamp,
        sig,
        ciphertext,
    } = good.clone()
    else {
        unreachable!()
    };
    refused(
        &mut w,
        &Op::PutBox {
            epoch: 6,
            id,
            expires,
            stamp,
            sig,
            ciphertext: ciphertext.clone(),
        },
        DropReason::Signature,
    );
    refused(
        &mut w,
        &Op::PutBox {
            epoch,
            id,
            expires: expires.plus(1),
            stamp,
            sig,
            ciphertext: ciphertext.clone(),
        },
        DropReason::Signature,
    );
    let mut other = sig;
    other[0] ^= 1;
    refused(
        &mut w,
        &Op::PutBox {
            epoch,
            id,
            expires,
            stamp,
            sig: other,
            ciphertext: ciphertext.clone(),
        },
        DropReason::Signature,
    );
    let mut torn = stamp;
    torn.0[31] = 1;
    refused(
        &mut w,
        &Op::PutBox {
            epoch,
            id,
            expires,
            stamp: torn,
            sig,
            ciphertext: ciphertext.clone(),
        },
        DropReason::Stamp,
    );
    refused(&mut w, &put(1, 10, START), DropReason::Expired);
    refused(
        &mut w,
        &put(1, 10, START.plus(600 * SECOND + 1)),
        DropReason::TooLong,
    );
    refused(&mut w, &put(1, 10, Millis(u64::MAX)), DropReason::TooLong);
    refused(&mut w, &del(1), DropReason::Absent);
    w.run(&good);
    let Op::DelBox { sig, .. } = del(2) else {
        unreachable!()
    };
    refused(
        &mut w,
        &Op::DelBox { epoch, id, sig },
        DropReason::Signature,
    );
}

#[test]
fn a_signature_for_another_network_does_not_hold() {
    let mut w = World::new();
    let elsewhere = Scope {
        network: [8; 32],
        epoch: 5,
    };
    let stamp = HashStamp
        .solve(&Subject::put_box(&NETWORK, &id(1), &sealed(10)), 4, 0)
        .unwrap();
    refused(
        &mut w,
        &Op::put_box(&elsewhere, &key(1), START.plus(SECOND), sealed(10), stamp),
        DropReason::Signature,
    );
}

#[test]
fn a_stamp_for_another_box_or_content_does_not_hold() {
    let mut w = World::with(MailboxConfig {
        effort: 12,
        ..config()
    });
    let solve = |subject| HashStamp.solve(&subject, 12, 0).unwrap();
    for stamp in [
        solve(Subject::put_box(&NETWORK, &id(2), &sealed(10))),
        solve(Subject::put_box(&NETWORK, &id(1), &sealed(11))),
        solve(Subject::put_inbox(&NETWORK, &id(1), &sealed(10))),
        solve(Subject::put_box(&[8; 32], &id(1), &sealed(10))),
        Proof::default(),
    ] {
        refused(
            &mut w,
            &Op::put_box(&SCOPE, &key(1), START.plus(SECOND), sealed(10), stamp),
            DropReason::Stamp,
        );
    }
    let stamp = solve(Subject::put_box(&NETWORK, &id(1), &sealed(10)));
    w.run(&Op::put_box(
        &SCOPE,
        &key(1),
        START.plus(SECOND),
        sealed(10),
        stamp,
    ));
    assert_eq!(w.counters().stored, 1);
}

#[test]
fn low_order_box_ids_sign_nothing() {
    let mut w = World::new();
    // The identity, and a point of order 8: with these a lax check takes one signature for many messages.
    let mut identity = [0u8; 32];
    identity[0] = 1;
    let order8: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    for id in [identity, order8] {
        let mut sig = [0u8; 64];
        sig[..32].copy_from_slice(&id);
        let stamp = HashStamp
            .solve(&Subject::put_box(&NETWORK, &id, &sealed(1)), 4, 0)
            .unwrap();
        let op = Op::PutBox {
            epoch: 5,
            id,
            expires: START.plus(SECOND),
            stamp,
            sig,
            ciphertext: sealed(1),
        };
        refused(&mut w, &op, DropReason::Signature);
    }
}

#[test]
fn epochs_out_of_range_are_dropped() {
    let mut w = World::new();
    w.boxes.set_epochs(5, 6);
    refused(
        &mut w,
        &Op::get_box(4, id(1), 0, surb(1)),
        DropReason::Epoch,
    );
    refused(
        &mut w,
        &Op::get_box(7, id(1), 0, surb(1)),
        DropReason::Epoch,
    );
    w.run(&Op::get_box(6, id(1), 0, surb(1)));
    assert_eq!(w.answer(), Answer::Empty);
}

#[test]
fn codes_are_distinct_and_complete() {
    let codes: std::collections::BTreeSet<_> = DropReason::ALL.iter().map(|r| r.code()).collect();
    assert_eq!(codes.len(), DropReason::ALL.len());
    for (place, reason) in DropReason::ALL.into_iter().enumerate() {
        assert_eq!(reason as usize, place);
    }
}
