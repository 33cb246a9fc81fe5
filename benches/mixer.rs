//! What the mixer does with a packet, from the link's bytes to the next link, and how fast it refuses what is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures"
)]
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use mix::sphinx::build;
use mix::time::{Moment, Span};
use mix::{BODY_LEN, Class, Exit, MixSecret, Mixer, MixerConfig, Packet};

#[path = "shared/lab.rs"]
mod lab;

use lab::NETWORK;

const START: Moment = Moment::from_secs(100);
/// Above every delay: the longest that a packet may ask for is a multiple of its mean.
const LATER: Moment = Moment::from_secs(1_000);

/// A relay with a fresh replay set.
fn mixer(secret: &MixSecret, id: mix::ShortId) -> Mixer {
    let mut mixer = Mixer::new(MixerConfig::new(NETWORK, id), lab::rng(1));
    let key = lab::epoch_key(secret.clone(), START);
    mixer.add_key(key, []).unwrap();
    mixer
}

fn handle(mixer: &mut Mixer, packets: Vec<Packet>) {
    for packet in packets {
        mixer.handle_packet(START, packet);
    }
}

/// All that a driver calls until the pool is empty; how many packets left.
fn drain(mixer: &mut Mixer) -> usize {
    while let Some(batch) = mixer.poll_tags() {
        mixer.handle_synced(batch.seq);
    }
    mixer.handle_timeout(LATER);
    std::iter::from_fn(|| mixer.poll_transmit()).count()
}

fn benchmark(criterion: &mut Criterion) {
    let count = lab::size(1_000, 10);
    let (secret, relay) = lab::relay(0);
    let (_, last) = lab::relay(1);
    let rng = &mut lab::rng(2);
    let packets: Vec<_> = (0..count)
        .map(|_| {
            let path = [relay, last];
            build(
                &NETWORK,
                &path,
                Class::Fast,
                Exit::Drop,
                &[0; BODY_LEN],
                rng,
            )
            .unwrap()
        })
        .collect();
    let noise: Vec<_> = packets
        .iter()
        .map(|packet| {
            // A usable point and a wrong MAC: the dearest kind of noise.
            let mut bytes = *packet.as_bytes();
            bytes[100] ^= 1;
            Packet::from_slice(&bytes).unwrap()
        })
        .collect();

    let mut group = criterion.benchmark_group("mixer");
    group.sample_size(10);
    group.throughput(Throughput::Elements(count as u64));
    group.bench_function("relay", |b| {
        b.iter_batched(
            || (mixer(&secret, relay.id), packets.clone()),
            |(mut mixer, packets)| {
                handle(&mut mixer, packets);
                assert_eq!(drain(&mut mixer), count);
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("refuse a replay", |b| {
        b.iter_batched(
            || {
                let mut mixer = mixer(&secret, relay.id);
                handle(&mut mixer, packets.clone());
                drain(&mut mixer);
                (mixer, packets.clone())
            },
            |(mut mixer, packets)| handle(&mut mixer, packets),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("refuse a wrong MAC", |b| {
        b.iter_batched(
            || (mixer(&secret, relay.id), noise.clone()),
            |(mut mixer, packets)| handle(&mut mixer, packets),
            BatchSize::PerIteration,
        );
    });
    group.finish();

    let mut pool = mix::pool::Pool::new(8_192);
    let rng = &mut lab::rng(3);
    let mut at = START;
    for number in 0..4_000_u64 {
        pool.insert(START + Span::from_micros(number * 50), number, rng);
    }
    criterion.bench_function("mixer/pool of 4,000: in and out", |b| {
        b.iter(|| {
            at += Span::from_micros(50);
            let out = pool.pop_due(at);
            pool.insert(at + Span::from_millis(200), 0, rng);
            out
        });
    });
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
