//! The store on disk: it keeps what it said it kept, across a kill, a torn write and a failure, and its errors say what is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod damage;
mod kill;
mod refusals;

use std::path::Path;

use super::*;

pub(super) fn batch(writes: &[(Space, &str, &str)]) -> Batch {
    let mut batch = Batch::default();
    for (space, key, value) in writes {
        batch.put(*space, key.as_bytes(), value.as_bytes());
    }
    batch
}

pub(super) fn all(store: &DiskBackend, space: Space, prefix: &str) -> Vec<(String, String)> {
    let mut out = vec![];
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    store
        .scan(space, prefix.as_bytes(), &mut |k, v| {
            out.push((text(k), text(v)))
        })
        .unwrap();
    out
}

pub(super) fn journal(dir: &Path) -> PathBuf {
    dir.join(STORE_DIR).join("0.jnl")
}

/// What a crash would leave: the files as they are, without a clean close.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn puts_deletes_and_scans() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskBackend::open(dir.path()).unwrap();
    let bucket = Space::Bucket(7);
    store
        .commit(&batch(&[
            (Space::State, "a", "1"),
            (bucket, "ab", "2"),
            (bucket, "aa", "3"),
            (bucket, "b", "4"),
        ]))
        .unwrap();
    assert_eq!(store.get(Space::State, b"a").unwrap().unwrap(), b"1");
    assert_eq!(store.get(bucket, b"a").unwrap(), None);
    assert_eq!(store.get(Space::Bucket(8), b"a").unwrap(), None);
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    assert_eq!(all(&store, bucket, "a"), [pair("aa", "3"), pair("ab", "2")]);
    let mut change = batch(&[(bucket, "aa", "5"), (bucket, "c", "6")]);
    change.delete(bucket, *b"ab");
    change.delete(bucket, *b"c");
    change.delete(Space::Bucket(9), *b"x");
    store.commit(&change).unwrap();
    assert_eq!(all(&store, bucket, ""), [pair("aa", "5"), pair("b", "4")]);
    assert_eq!(store.buckets().unwrap(), [7]);
}

#[test]
fn a_dropped_bucket_is_gone_and_its_files_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskBackend::open(dir.path()).unwrap();
    let keyspaces = || {
        fs::read_dir(dir.path().join(STORE_DIR).join("keyspaces"))
            .unwrap()
            .count()
    };
    let before = keyspaces();
    for bucket in 1..4 {
        store
            .commit(&batch(&[(Space::Bucket(bucket), "k", "v")]))
            .unwrap();
    }
    assert_eq!(keyspaces(), before + 3);
    let mut drop = batch(&[(Space::Bucket(2), "late", "v")]);
    drop.drop_bucket(2);
    drop.drop_bucket(55);
    store.commit(&drop).unwrap();
    assert_eq!(store.buckets().unwrap(), [1, 3]);
    assert_eq!(keyspaces(), before + 2);
    store
        .commit(&batch(&[(Space::Bucket(2), "new", "v")]))
        .unwrap();
    assert_eq!(
        all(&store, Space::Bucket(2), "").len(),
        1,
        "what was dropped does not come back"
    );
    std::mem::drop(store);
    let store = DiskBackend::open(dir.path()).unwrap();
    assert_eq!(store.buckets().unwrap(), [1, 2, 3]);
    assert_eq!(all(&store, Space::Bucket(2), "").len(), 1);
}

#[test]
fn clones_share_the_store_and_the_last_one_releases_it() {
    let dir = tempfile::tempdir().unwrap();
    let one = DiskBackend::open(dir.path()).unwrap();
    let two = one.clone();
    let thread = std::thread::spawn(move || two.commit(&batch(&[(Space::State, "k", "v")])));
    thread.join().unwrap().unwrap();
    assert_eq!(one.get(Space::State, b"k").unwrap().unwrap(), b"v");
    drop(one);
    DiskBackend::open(dir.path()).unwrap();
}

/// Many more bytes than the write buffers: they go to tables, and the same holds.
#[test]
fn records_that_outgrow_the_write_buffer_stay_readable() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskBackend::open(dir.path()).unwrap();
    let value = |n: u32| blake3::hash(&n.to_le_bytes()).as_bytes().repeat(51);
    for chunk in 0..20u32 {
        let mut batch = Batch::default();
        for n in chunk * 100..chunk * 100 + 100 {
            batch.put(Space::Bucket(n % 2), n.to_be_bytes(), value(n));
        }
        store.commit(&batch).unwrap();
    }
    let check = |store: &DiskBackend| {
        for n in 0..2000u32 {
            assert_eq!(
                store
                    .get(Space::Bucket(n % 2), &n.to_be_bytes())
                    .unwrap()
                    .unwrap(),
                value(n)
            );
        }
    };
    check(&store);
    drop(store);
    check(&DiskBackend::open(dir.path()).unwrap());
}

#[test]
fn after_a_failed_write_the_store_opens_again_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskBackend::open(dir.path()).unwrap();
    store
        .commit(&batch(&[
            (Space::State, "a", "1"),
            (Space::Bucket(3), "b", "2"),
        ]))
        .unwrap();
    store.close();
    assert_eq!(store.get(Space::State, b"a").unwrap().unwrap(), b"1");
    store.close();
    store
        .commit(&batch(&[(Space::Bucket(3), "c", "3")]))
        .unwrap();
    assert_eq!(all(&store, Space::Bucket(3), "").len(), 2);
}
