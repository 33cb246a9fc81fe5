//! The list of an epoch: building it from verified records, finding the holders of a mailbox, drawing a route; and what it
//! costs two nodes to agree on it (`-- reconcile`).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures"
)]
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use dht::beat::{Beat, BeatFields};
use dht::descriptor::{Capability, Descriptor, DescriptorFields};
use dht::directory::Directory;
use dht::network::NetworkParams;
use ed25519_dalek::SigningKey;
use mix::MixSecret;

#[path = "shared/lab.rs"]
mod lab;
#[path = "directory/reconcile.rs"]
mod reconcile;

const EPOCH: u32 = 4;
type Record = (Arc<Descriptor>, Arc<Beat>);

fn params() -> Arc<NetworkParams> {
    Arc::new(NetworkParams {
        genesis_ms: 1_800_000_000_000,
        ..NetworkParams::local()
    })
}

fn record(params: &NetworkParams, number: u32) -> Record {
    let network = params.id();
    let mut secret = [0x40; 32];
    secret[..4].copy_from_slice(&number.to_le_bytes());
    let key = SigningKey::from_bytes(&secret);
    let start = dht::epoch::start_of(params, EPOCH).as_millis();
    let fields = DescriptorFields {
        seq: 1,
        valid_from: start,
        valid_until: start + 24 * 3_600_000,
        capability: Capability::FULL,
        subnet: number,
        vrf_key: [0; 32],
        admission: Vec::new(),
        addresses: vec![vec![4, 127, 0, 0, 1, 6, 0x10, 0]],
    };
    let beat = BeatFields {
        epoch: EPOCH,
        mix_key: MixSecret::random(&mut lab::rng(u64::from(number)))
            .public()
            .to_bytes(),
        capability: Capability::FULL,
        load: 0,
        replay_root: [0; 16],
    };
    (
        Arc::new(Descriptor::sign(&network, &key, fields).unwrap()),
        Arc::new(Beat::sign(&network, &key, beat).unwrap()),
    )
}

fn build(params: &Arc<NetworkParams>, records: Vec<Record>) -> Directory {
    Directory::build(params, EPOCH, [5; 32], records)
}

fn benchmark(criterion: &mut Criterion) {
    let params = params();
    let largest = lab::size(8_192, 200);
    let records: Vec<_> = (0..largest).map(|n| record(&params, n)).collect();
    let mut group = criterion.benchmark_group("directory");
    group.sample_size(10);
    for count in lab::size(&[100, 1_000, 8_192][..], &[200]) {
        let some = &records[..*count];
        group.throughput(Throughput::Elements(some.len() as u64));
        group.bench_function(format!("build {count}"), |b| {
            b.iter_batched(
                || some.to_vec(),
                |records| build(&params, records),
                BatchSize::PerIteration,
            );
        });
        let directory = build(&params, some.to_vec());
        let mut id = [0_u8; 32];
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("holders of {count}"), |b| {
            b.iter(|| {
                id[0] = id[0].wrapping_add(1);
                black_box(directory.holders(&id, 6))
            });
        });
        let rng = &mut lab::rng(1);
        let own = directory.entry(0).unwrap().short();
        let last = directory.entry(1).unwrap().short();
        group.bench_function(format!("route among {count}"), |b| {
            b.iter(|| mix::route::draw(&directory, 3, &last, own, 6, false, rng).unwrap());
        });
    }
    let (descriptor, beat) = &records[0];
    let network = params.id();
    group.bench_function("verify one node's records", |b| {
        b.iter(|| {
            descriptor.verify(&network).unwrap();
            beat.verify(&network, &descriptor.id()).unwrap();
        });
    });
    group.finish();
}

fn reconciliation(_: &mut Criterion) {
    if lab::skipped("reconcile") {
        return;
    }
    let (descriptor, beat) = record(&params(), 1);
    // Each record has three bytes in front of it.
    reconcile::table(3 + descriptor.as_bytes().len() + 3 + beat.as_bytes().len());
}

criterion_group!(benches, reconciliation, benchmark);
criterion_main!(benches);
