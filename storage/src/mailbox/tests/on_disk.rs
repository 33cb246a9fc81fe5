//! The holder on the real store: what was answered survives closing, and a full one opens in good time.

use super::*;
use crate::backend::disk::DiskBackend;

fn settle(boxes: &mut Mailboxes<DiskBackend>) {
    while let Some((seq, batch)) = boxes.poll_batch() {
        boxes.backend().commit(&batch).unwrap();
        boxes.handle_durable(seq);
    }
}

fn ask(boxes: &mut Mailboxes<DiskBackend>, op: &Op) -> Answer {
    boxes.handle_op(START, &op.encode());
    Answer::decode(&boxes.poll_answer().unwrap().body).unwrap()
}

#[test]
fn what_was_stored_is_there_after_closing_and_expires_with_its_bucket() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        |now| Mailboxes::open(DiskBackend::open(dir.path()).unwrap(), config(), now).unwrap();
    let mut boxes = open(START);
    for n in 0..20 {
        boxes.handle_op(
            START,
            &put(
                n,
                n,
                START.plus(20 * SECOND + u64::from(n % 2) * 50 * SECOND),
            )
            .encode(),
        );
    }
    settle(&mut boxes);
    boxes.handle_op(START, &del(3).encode());
    settle(&mut boxes);
    let usage = boxes.usage();
    drop(boxes);

    let mut boxes = open(START);
    assert_eq!(boxes.usage(), usage);
    for n in 0..20 {
        let expected = if n == 3 { Answer::Empty } else { found(n) };
        assert_eq!(ask(&mut boxes, &get(n, 0, 1)), expected);
    }
    assert_eq!(ask(&mut boxes, &stat(3)), is(Held::Deleted));
    boxes.handle_timeout(START.plus(20 * SECOND));
    settle(&mut boxes);
    assert_eq!(boxes.backend().buckets().unwrap().len(), 1);
    drop(boxes);
    assert_eq!(open(START.plus(20 * SECOND)).usage().records, 10);
}

/// A measurement for SPEC.md; see the one of the disk store.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, clippy::disallowed_methods)]
fn measure() {
    use std::time::Instant;
    let rss = || {
        let text = std::fs::read_to_string("/proc/self/status").unwrap();
        text.lines()
            .find(|l| l.starts_with("VmRSS"))
            .unwrap()
            .to_owned()
    };
    let dir = tempfile::tempdir().unwrap();
    let config = || MailboxConfig {
        effort: 0,
        ..config()
    };
    let store = DiskBackend::open(dir.path()).unwrap();
    let mut boxes = Mailboxes::open(store, config(), START).unwrap();
    let records = 256u64 * 1_000_000 / 1_667;
    let start = Instant::now();
    for n in 0..records {
        // Inbox entries need no signature: the time is the store's.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        let op = Op::put_inbox(
            5,
            key,
            START.plus((10 + n % 10 * 10) * SECOND),
            sealed(n as u8),
            Default::default(),
        );
        boxes.handle_op(START, &op.encode());
        if n % 500 == 499 {
            settle(&mut boxes);
        }
    }
    settle(&mut boxes);
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{records} deposits in batches of 500: {:.0} a second, {}",
        records as f64 / seconds,
        rss()
    );
    println!("on disk {} MB", boxes.backend().size().unwrap() / 1_000_000);
    let usage = boxes.usage();
    drop(boxes);
    let start = Instant::now();
    let store = DiskBackend::open(dir.path()).unwrap();
    let opened = start.elapsed();
    let boxes = Mailboxes::open(store, config(), START).unwrap();
    assert_eq!(boxes.usage(), usage);
    println!(
        "opened in {opened:?}, index in {:?}, {:?}, {}",
        start.elapsed() - opened,
        boxes.usage(),
        rss()
    );
}
