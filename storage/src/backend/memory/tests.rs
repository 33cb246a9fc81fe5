//! The memory store behaves as the disk does, faults included.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

fn put(space: Space, key: &str) -> Batch {
    let mut batch = Batch::default();
    batch.put(space, key.as_bytes(), *b"v");
    batch
}

#[test]
fn it_outlives_its_handles_and_scans_in_order() {
    let store = MemoryBackend::new();
    let bucket = Space::Bucket(1);
    for key in ["b", "ab", "aa"] {
        store.clone().commit(&put(bucket, key)).unwrap();
    }
    let mut seen = vec![];
    store
        .scan(bucket, b"a", &mut |key, _| seen.push(key.to_vec()))
        .unwrap();
    assert_eq!(seen, [b"aa", b"ab"]);
    assert_eq!(
        (
            store.buckets().unwrap(),
            store.commits(),
            store.size().unwrap()
        ),
        (vec![1], 3, 8)
    );
}

#[test]
fn buckets_are_dropped_after_the_rest_of_a_batch() {
    let store = MemoryBackend::new();
    let mut batch = Batch::default();
    batch.drop_bucket(1);
    batch.append(put(Space::Bucket(1), "late"));
    store.commit(&batch).unwrap();
    assert!(store.buckets().unwrap().is_empty());
}

#[test]
fn faults_are_as_asked_for() {
    let store = MemoryBackend::new();
    let faults = [Fault::None, Fault::Fail, Fault::Full, Fault::Lost];
    store.inject(move |number, _| faults[number as usize]);
    let results: Vec<_> = ["a", "b", "c", "d"]
        .map(|key| store.commit(&put(Space::State, key)))
        .into();
    assert!(matches!(
        results[..],
        [
            Ok(()),
            Err(BackendError::Injected),
            Err(BackendError::Full { .. }),
            Err(BackendError::Injected)
        ]
    ));
    let there = |key: &str| store.get(Space::State, key.as_bytes()).unwrap().is_some();
    assert_eq!(
        [there("a"), there("b"), there("c"), there("d")],
        [true, false, false, true]
    );
    store.heal();
    let copy = store.snapshot();
    store.commit(&put(Space::State, "e")).unwrap();
    assert!(there("e") && copy.get(Space::State, b"e").unwrap().is_none());
}
