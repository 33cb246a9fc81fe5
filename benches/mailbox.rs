//! The holder on its disk: deposits a second when each batch is durable before it counts, fetches, and the cost of many stores
//! and of a full one.
//!
//! The disk decides most of it; the temporary directory (`TMPDIR`) should lie on the disk in question.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ed25519_dalek::SigningKey;
use storage::backend::disk::DiskBackend;
use storage::backend::{Backend, Batch, Space};
use storage::mailbox::{MailboxConfig, Mailboxes};
use storage::op::{Op, Scope};
use storage::{Millis, Sealed};

#[path = "shared/lab.rs"]
mod lab;

const NETWORK: [u8; 32] = [7; 32];
const SCOPE: Scope = Scope {
    network: NETWORK,
    epoch: 5,
};
const NOW: Millis = Millis(1_790_000_000_000);
/// Bytes of a box as the store keeps it.
const RECORD: usize = 1_634;

fn config() -> MailboxConfig {
    MailboxConfig {
        // No stamps: their cost is the sender's.
        effort: 0,
        quota_bytes: u64::MAX / 4,
        ..MailboxConfig::new(NETWORK)
    }
}

fn holder(dir: &std::path::Path) -> Mailboxes<DiskBackend> {
    Mailboxes::open(DiskBackend::open(dir).unwrap(), config(), NOW).unwrap()
}

fn sealed(number: u64) -> Sealed {
    let mut sealed = Box::new([0; storage::SEALED_LEN]);
    rand_core::Rng::fill_bytes(&mut lab::rng(number), sealed.as_mut_slice());
    sealed
}

fn key(number: u64) -> SigningKey {
    let mut secret = [1; 32];
    secret[..8].copy_from_slice(&number.to_le_bytes());
    SigningKey::from_bytes(&secret)
}

fn put(number: u64) -> Box<[u8; storage::BODY_LEN]> {
    let expires = NOW.plus((1 + number % 5) * 3_600_000);
    Op::put_box(
        &SCOPE,
        &key(number),
        expires,
        sealed(number),
        Default::default(),
    )
    .encode()
}

/// What the driver does: commits the staged batch, then says so.
fn settle(holder: &mut Mailboxes<DiskBackend>) {
    while let Some((seq, batch)) = holder.poll_batch() {
        holder.backend().commit(&batch).unwrap();
        holder.handle_durable(seq);
    }
}

/// The time of `iters` rounds; what `make` does is not counted.
fn timed<T>(iters: u64, mut make: impl FnMut() -> T, mut run: impl FnMut(T)) -> Duration {
    (0..iters)
        .map(|_| {
            let given = make();
            let start = Instant::now();
            run(given);
            start.elapsed()
        })
        .sum()
}

fn benchmark(criterion: &mut Criterion) {
    let dir = tempfile::tempdir().unwrap();
    let mut group = criterion.benchmark_group("mailbox");
    group.sample_size(10);
    for size in [1_u64, 100, 1_000] {
        group.throughput(Throughput::Elements(size));
        let mut next = 0_u64;
        let store = DiskBackend::open(dir.path().join(format!("store-{size}"))).unwrap();
        group.bench_function(format!("store: durable puts, {size} a batch"), |b| {
            b.iter_custom(|iters| {
                let make = || {
                    let mut batch = Batch::default();
                    for _ in 0..size {
                        next += 1;
                        let mut value = sealed(next).to_vec();
                        value.resize(RECORD, 0);
                        batch.put(
                            Space::Bucket((next % 5) as u32),
                            [&next.to_be_bytes()[..], &[0; 25]].concat(),
                            value,
                        );
                    }
                    batch
                };
                timed(iters, make, |batch| store.commit(&batch).unwrap())
            });
        });
        drop(store);
        let mut next = 0;
        let mut boxes = holder(&dir.path().join(format!("holder-{size}")));
        group.bench_function(format!("holder: durable deposits, {size} a batch"), |b| {
            b.iter_custom(|iters| {
                let make = || {
                    next += size;
                    (next - size..next).map(put).collect::<Vec<_>>()
                };
                timed(iters, make, |ops| {
                    for op in &ops {
                        boxes.handle_op(NOW, op);
                    }
                    settle(&mut boxes);
                })
            });
        });
        assert_eq!(
            boxes.usage().records,
            next,
            "every deposit was taken: {:?}",
            boxes.counters()
        );
    }
    let mut boxes = holder(&dir.path().join("get"));
    let held = lab::size(10_000, 10);
    for number in 0..held {
        boxes.handle_op(NOW, &put(number));
        if number % 500 == 499 {
            settle(&mut boxes);
        }
    }
    settle(&mut boxes);
    let mut next = 0;
    group.throughput(Throughput::Elements(1));
    group.bench_function("holder: get among 10,000", |b| {
        b.iter_custom(|iters| {
            let make = || {
                next += 7;
                let id = key(next % held).verifying_key().to_bytes();
                Op::get_box(SCOPE.epoch, id, 0, Box::new([1; storage::SURB_LEN])).encode()
            };
            timed(iters, make, |op| {
                boxes.handle_op(NOW, &op);
                black_box(boxes.poll_answer().unwrap());
            })
        });
    });
    group.finish();
    many_stores();
    a_full_holder();
}

/// Fifty stores in one process, as a mesh on one machine has them.
fn many_stores() {
    if lab::skipped("mailbox/many stores") {
        return;
    }
    let stores = lab::size(50, 2);
    let root = tempfile::tempdir().unwrap();
    let path = |number: u32| root.path().join(number.to_string());
    let report = |what: &str, start: Instant, before: u64| {
        let each = start.elapsed() / stores;
        let memory = lab::resident_kib().saturating_sub(before) / u64::from(stores);
        println!("mailbox/many stores: {what}: {each:.1?}, {memory} KiB of memory each");
    };
    let (start, before) = (Instant::now(), lab::resident_kib());
    let open: Vec<_> = (0..stores)
        .map(|number| DiskBackend::open(path(number)).unwrap())
        .collect();
    report("new and empty", start, before);
    let start = Instant::now();
    for store in &open {
        let mut batch = Batch::default();
        for bucket in 0..10 {
            batch.put(Space::Bucket(bucket), [0; 33], [1; RECORD]);
        }
        store.commit(&batch).unwrap();
    }
    report("ten buckets made in one batch", start, before);
    drop(open);
    let start = Instant::now();
    let open: Vec<_> = (0..stores)
        .map(|number| DiskBackend::open(path(number)).unwrap())
        .collect();
    report("opened again", start, before);
    let start = Instant::now();
    for store in &open {
        let mut batch = Batch::default();
        (0..5).for_each(|bucket| batch.drop_bucket(bucket));
        store.commit(&batch).unwrap();
    }
    report("five buckets dropped", start, before);
}

/// As many deposits as the default quota holds, then a start with all of them.
fn a_full_holder() {
    if lab::skipped("mailbox/full") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let records = lab::size(MailboxConfig::new(NETWORK).quota_bytes / 1_667, 600);
    let mut boxes = holder(dir.path());
    let start = Instant::now();
    for number in 0..records {
        // Inbox entries need no signature: the time is the store's.
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        let expires = NOW.plus((1 + number % 10) * 3_600_000);
        let op = Op::put_inbox(SCOPE.epoch, key, expires, sealed(1), Default::default());
        boxes.handle_op(NOW, &op.encode());
        if number % 500 == 499 {
            settle(&mut boxes);
        }
    }
    settle(&mut boxes);
    let rate = records as f64 / start.elapsed().as_secs_f64();
    let disk = boxes.backend().size().unwrap() / 1_000_000;
    let usage = boxes.usage();
    println!(
        "mailbox/full: {records} deposits, 500 a batch: {rate:.0} a second, {disk} MB on disk"
    );
    drop(boxes);
    let start = Instant::now();
    let store = DiskBackend::open(dir.path()).unwrap();
    let opened = start.elapsed();
    let boxes = Mailboxes::open(store, config(), NOW).unwrap();
    let indexed = start.elapsed() - opened;
    assert_eq!(boxes.usage(), usage);
    let memory = lab::resident_kib() / 1_024;
    println!(
        "mailbox/full: opened in {opened:.1?}, index in {indexed:.1?}, the process takes {memory} MiB"
    );
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
