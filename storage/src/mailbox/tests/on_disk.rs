//! The holder on the real store: what was answered survives closing.

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
