//! Opening again: the index comes back from the store; damaged, doubled and newer records; another network's store.

use super::*;
use crate::{
    backend::{Batch, Space},
    mailbox::OpenError,
};

/// Every record of the store with the bucket it lies in.
fn records(store: &MemoryBackend) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
    let mut out = vec![];
    for bucket in store.buckets().unwrap() {
        store
            .scan(Space::Bucket(bucket), &[], &mut |k, v| {
                out.push((bucket, k.to_vec(), v.to_vec()))
            })
            .unwrap();
    }
    out
}

fn write(store: &MemoryBackend, space: Space, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(space, key, value);
    store.commit(&batch).unwrap();
}

#[test]
fn usage_and_content_come_back() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(60 * SECOND)));
    w.run(&put(2, 20, START.plus(100 * SECOND)));
    w.run(&put_inbox(3, 30, START.plus(100 * SECOND)));
    w.run(&put_prekey(3, 31, Millis(1), START.plus(100 * SECOND)));
    w.run(&del(2));
    let before = w.boxes.usage();
    w.restart();
    assert_eq!(w.boxes.usage(), before);
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), found(10));
    w.run(&stat(2));
    assert_eq!(w.answer(), is(Held::Deleted));
}

#[test]
fn what_expired_while_it_was_off_is_dropped() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(10 * SECOND)));
    w.run(&put(2, 20, START.plus(100 * SECOND)));
    w.now = START.plus(20 * SECOND);
    w.restart();
    assert_eq!(w.boxes.usage().records, 1);
    w.settle();
    assert_eq!(w.store.buckets().unwrap().len(), 1);
}

#[test]
fn every_damaged_byte_is_noticed_counted_and_skipped() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(60 * SECOND)));
    w.run(&put(2, 20, START.plus(60 * SECOND)));
    w.run(&del(2));
    for (bucket, key, value) in records(&w.store) {
        for at in (0..value.len()).step_by(7).chain(0..40) {
            let store = w.store.snapshot();
            let mut bad = value.clone();
            bad[at] ^= 0x10;
            write(&store, Space::Bucket(bucket), &key, &bad);
            let boxes = Mailboxes::open(store, config(), START).unwrap();
            assert_eq!(
                (boxes.counters().corrupt, boxes.usage().records),
                (1, 1),
                "byte {at}"
            );
        }
        for cut in [0, 1, 17, 18, 33, value.len() - 1] {
            let store = w.store.snapshot();
            write(&store, Space::Bucket(bucket), &key, &value[..cut]);
            assert_eq!(
                Mailboxes::open(store, config(), START)
                    .unwrap()
                    .counters()
                    .corrupt,
                1
            );
        }
    }
}

#[test]
fn a_value_under_another_key_and_a_strange_key_are_damage() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(60 * SECOND)));
    let (bucket, key, value) = records(&w.store).remove(0);
    let mut other = key.clone();
    other[5] ^= 1;
    write(&w.store, Space::Bucket(bucket), &other, &value);
    write(&w.store, Space::Bucket(bucket), b"", &value);
    write(&w.store, Space::Bucket(bucket), &[2; 33], &value);
    write(&w.store, Space::Bucket(bucket), &[9; 33], &value);
    w.restart();
    assert_eq!((w.counters().corrupt, w.boxes.usage().records), (4, 1));
}

#[test]
fn damage_found_while_reading_is_counted_and_can_be_mended_by_a_deposit() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(60 * SECOND)));
    let (bucket, key, mut value) = records(&w.store).remove(0);
    value[100] ^= 1;
    write(&w.store, Space::Bucket(bucket), &key, &value);
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), Answer::Empty);
    assert_eq!(w.counters().corrupt, 1);
    w.run(&put(1, 10, START.plus(60 * SECOND)));
    w.run(&get(1, 0, 1));
    assert_eq!(w.answer(), found(10));
}

#[test]
fn a_whole_record_of_a_newer_version_is_an_error_that_says_so() {
    let mut w = World::new();
    w.run(&put(1, 10, START.plus(60 * SECOND)));
    let (bucket, key, mut value) = records(&w.store).remove(0);
    value[0] = 9;
    // As a newer program would: with its check in place.
    let mut hasher = blake3::Hasher::new_derive_key("murmuration/v1/record");
    hasher
        .update(&key)
        .update(&[0, 0])
        .update(&value[..2])
        .update(&value[18..]);
    value[2..18].copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    write(&w.store, Space::Bucket(bucket), &key, &value);
    let error = Mailboxes::open(w.store.clone(), config(), START).unwrap_err();
    assert!(matches!(
        error,
        OpenError::NewerRecords { found: 9, known: 1 }
    ));
    assert!(error.to_string().contains("update the program"));
}

#[test]
fn a_store_of_another_network_or_width_is_refused() {
    let w = World::new();
    let open = |config| {
        Mailboxes::open(w.store.clone(), config, START)
            .map(|_| ())
            .unwrap_err()
    };
    assert!(matches!(
        open(MailboxConfig {
            network: [8; 32],
            ..config()
        }),
        OpenError::OtherNetwork
    ));
    assert!(matches!(
        open(MailboxConfig {
            bucket_ms: 1,
            ..config()
        }),
        OpenError::OtherWidth { configured: 1 }
    ));
    write(&w.store, Space::State, b"storage/meta", &[1, 2, 3]);
    assert!(matches!(open(config()), OpenError::Meta));
    write(&w.store, Space::State, b"storage/meta", &[7; 41]);
    assert!(matches!(
        open(config()),
        OpenError::NewerRecords { found: 7, .. }
    ));
}

#[test]
fn of_two_records_under_one_key_one_is_kept() {
    let mut w = World::new();
    w.run(&put_prekey(1, 10, Millis(1), START.plus(20 * SECOND)));
    let (_, key, older) = records(&w.store).remove(0);
    w.run(&put_prekey(1, 11, Millis(2), START.plus(60 * SECOND)));
    let (bucket, ..) = records(&w.store).remove(0);
    for beside in [bucket - 1, bucket + 1] {
        write(&w.store, Space::Bucket(beside), &key, &older);
        w.restart();
        assert_eq!((w.counters().doubled, w.boxes.usage().records), (1, 1));
        w.run(&Op::get_prekey(5, blinded_public(1), surb(1)));
        assert_eq!(w.answer(), found(11), "the newest issue");
        let mut batch = Batch::default();
        batch.drop_bucket(beside);
        w.store.commit(&batch).unwrap();
    }
}
