//! Torn writes: the end of the journal cut, zeroed or doubled in every way a power cut may leave it. The store opens on a prefix.

use super::*;

const COMMITS: u32 = 12;
const PAGE: usize = 4096;

/// A store with some commits, as it lies on the disk without a clean close, and the length of its journal's content.
fn written() -> (tempfile::TempDir, Vec<u8>) {
    let (dir, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = DiskBackend::open(dir.path()).unwrap();
    for n in 0..COMMITS {
        let mut batch = Batch::default();
        for part in 0..4u8 {
            let key = [&n.to_be_bytes()[..], &[part]].concat();
            batch.put(Space::Bucket(1), key, (n + 1).to_le_bytes().repeat(400));
        }
        store.commit(&batch).unwrap();
    }
    copy(dir.path(), crashed.path());
    let mut bytes = fs::read(journal(crashed.path())).unwrap();
    let end = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    bytes.truncate(end);
    (crashed, bytes)
}

/// Opens the crashed store with this journal; returns how many commits it holds, having checked that they are a prefix and whole.
fn prefix(crashed: &Path, journal_bytes: &[u8]) -> u32 {
    let dir = tempfile::tempdir().unwrap();
    copy_without_journal(crashed, dir.path());
    fs::write(journal(dir.path()), journal_bytes).unwrap();
    let store = DiskBackend::open(dir.path()).expect("a torn end is no damage");
    let has = |n: u32, part: u8| {
        let value = store
            .get(Space::Bucket(1), &[&n.to_be_bytes()[..], &[part]].concat())
            .unwrap();
        assert!(
            value
                .as_ref()
                .is_none_or(|v| *v == (n + 1).to_le_bytes().repeat(400))
        );
        value.is_some()
    };
    let held = (0..COMMITS).take_while(|n| has(*n, 0)).count() as u32;
    for n in 0..COMMITS {
        for part in 0..4 {
            assert_eq!(
                has(n, part),
                n < held,
                "commit {n} part {part}, {held} held"
            );
        }
    }
    // And it goes on.
    store
        .commit(&batch(&[(Space::Bucket(1), "after", "v")]))
        .unwrap();
    drop(store);
    let store = DiskBackend::open(dir.path()).unwrap();
    assert!(store.get(Space::Bucket(1), b"after").unwrap().is_some());
    held
}

fn copy_without_journal(from: &Path, to: &Path) {
    fs::create_dir_all(to.join(STORE_DIR)).unwrap();
    fs::copy(from.join(FORMAT_FILE), to.join(FORMAT_FILE)).unwrap();
    copy(
        &from.join(STORE_DIR).join("keyspaces"),
        &to.join(STORE_DIR).join("keyspaces"),
    );
    for file in ["version", "lock"] {
        fs::copy(
            from.join(STORE_DIR).join(file),
            to.join(STORE_DIR).join(file),
        )
        .unwrap();
    }
}

#[test]
fn a_journal_cut_anywhere_recovers_to_a_prefix() {
    let (crashed, bytes) = written();
    assert_eq!(prefix(crashed.path(), &bytes), COMMITS);
    let mut last = COMMITS;
    for cut in (0..bytes.len())
        .rev()
        .step_by(2_311)
        .chain((bytes.len() - 20..bytes.len()).step_by(3).rev())
    {
        let held = prefix(crashed.path(), &bytes[..cut]);
        assert!(held < COMMITS);
        last = last.min(held);
    }
    assert_eq!(last, 0, "the cuts reached the first commit");
}

#[test]
fn zeroed_pages_at_the_end_recover_to_a_prefix() {
    let (crashed, bytes) = written();
    for pages in 1..=8 {
        let mut torn = bytes.clone();
        let from = torn.len().saturating_sub(pages * PAGE) / PAGE * PAGE;
        torn[from..].fill(0);
        assert!(prefix(crashed.path(), &torn) < COMMITS);
    }
}

#[test]
fn a_page_that_was_never_written_inside_the_last_batch_costs_that_batch_only() {
    let (crashed, bytes) = written();
    let batch = bytes.len() / COMMITS as usize;
    for at in (bytes.len() - batch + 60..bytes.len() - 10).step_by(97) {
        let mut torn = bytes.clone();
        let end = (at + 512).min(bytes.len() - 10);
        torn[at..end].fill(0);
        assert_eq!(
            prefix(crashed.path(), &torn),
            COMMITS - 1,
            "zeros from {at}"
        );
    }
}

#[test]
fn pages_written_twice_at_the_end_change_nothing() {
    let (crashed, bytes) = written();
    for pages in 1..=4 {
        let mut doubled = bytes.clone();
        doubled.extend_from_slice(&bytes[bytes.len() - pages * PAGE..]);
        let held = prefix(crashed.path(), &doubled);
        assert_eq!(held, COMMITS);
    }
}

#[test]
fn damage_before_the_last_batch_is_told_and_nothing_is_changed() {
    let (crashed, mut bytes) = written();
    let middle = bytes.len() / 2;
    let at = (middle..)
        .find(|at| bytes[*at..*at + 8].windows(2).any(|w| w != [0, 0]))
        .unwrap();
    bytes[at + 100] ^= 0x40;
    let dir = tempfile::tempdir().unwrap();
    copy_without_journal(crashed.path(), dir.path());
    fs::write(journal(dir.path()), &bytes).unwrap();
    let error = DiskBackend::open(dir.path()).unwrap_err();
    assert!(matches!(error, BackendError::Corrupt { .. }), "{error:?}");
    assert_eq!(
        fs::read(journal(dir.path())).unwrap(),
        bytes,
        "left as it was found"
    );
}
