//! What the epoch files hold after torn, failed and late writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use storage::backend::memory::MemoryBackend;

use super::*;

fn commit(keys: Vec<KeyFile>) -> Commit {
    Commit {
        seq: 1,
        state: storage::backend::Batch::default(),
        mailbox: storage::backend::Batch::default(),
        keys,
    }
}

fn create(epoch: u32) -> KeyFile {
    KeyFile::Create {
        epoch,
        sealed: vec![7; 33],
    }
}

fn append(epoch: u32, bytes: &[u8]) -> KeyFile {
    KeyFile::Append {
        epoch,
        tags: bytes.iter().map(|byte| [*byte; 16]).collect(),
    }
}

fn open(dir: &Path) -> Disk<MemoryBackend> {
    Disk::new(MemoryBackend::new(), dir.to_owned()).unwrap()
}

#[test]
fn keys_come_back_with_their_tags_and_go_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path());
    disk.commit(&mut commit(vec![create(3), append(3, &[1, 2])]))
        .unwrap();
    disk.commit(&mut commit(vec![create(4), append(3, &[5])]))
        .unwrap();
    let keys = open(dir.path()).load_keys().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0].sealed, vec![7; 33]);
    assert_eq!(keys[0].tags, vec![[1; 16], [2; 16], [5; 16]]);
    disk.commit(&mut commit(vec![KeyFile::Erase { epoch: 3 }]))
        .unwrap();
    let keys = open(dir.path()).load_keys().unwrap();
    assert_eq!(keys.iter().map(|key| key.epoch).collect::<Vec<_>>(), [4]);
}

#[test]
fn a_torn_tag_is_cut_before_the_next_one_is_written() {
    for torn in 1..16 {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path())
            .commit(&mut commit(vec![create(3), append(3, &[1, 2])]))
            .unwrap();
        let path = dir.path().join("0000000003.epoch");
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&vec![9; torn]).unwrap();
        drop(file);
        let disk = open(dir.path());
        assert_eq!(disk.load_keys().unwrap()[0].tags, vec![[1; 16], [2; 16]]);
        disk.commit(&mut commit(vec![append(3, &[3])])).unwrap();
        let tags = open(dir.path()).load_keys().unwrap()[0].tags.clone();
        assert_eq!(tags, vec![[1; 16], [2; 16], [3; 16]], "torn by {torn}");
    }
}

#[test]
fn tags_of_an_erased_key_are_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path());
    disk.commit(&mut commit(vec![create(3)])).unwrap();
    disk.commit(&mut commit(vec![
        KeyFile::Erase { epoch: 3 },
        append(3, &[1]),
    ]))
    .unwrap();
    assert!(disk.load_keys().unwrap().is_empty());
}

#[test]
fn a_file_that_is_no_key_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let disk = open(dir.path());
    fs::write(dir.path().join("0000000009.epoch"), b"garbage").unwrap();
    let error = disk.load_keys().unwrap_err().to_string();
    assert!(error.contains("0000000009.epoch"), "{error}");
}

#[test]
fn what_is_done_of_a_refused_commit_is_not_done_again() {
    use storage::backend::memory::{Fault, MemoryBackend};
    let dir = tempfile::tempdir().unwrap();
    let backend = MemoryBackend::new();
    let disk = Disk::new(backend.clone(), dir.path().to_owned()).unwrap();
    let mut commit = commit(vec![create(3), append(3, &[1, 2])]);
    commit
        .state
        .put(storage::backend::Space::State, b"k", b"v".to_vec());
    backend.inject(|_, _| Fault::Full);
    for _ in 0..5 {
        disk.commit(&mut commit).unwrap_err();
    }
    backend.heal();
    disk.commit(&mut commit).unwrap();
    let file = fs::metadata(dir.path().join("0000000003.epoch")).unwrap();
    assert_eq!(
        file.len(),
        HEAD_LEN + 33 + 2 * 16,
        "the tags are there once"
    );
}
