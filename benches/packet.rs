//! What a packet costs: making one, peeling one layer, a reply block, a reply and opening it.
//!
//! At the end the same is printed in U, one X25519 multiplication measured in the same run, so that figures of different
//! machines can be compared. Other implementations beside ours are measured in `benches/peers`.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]
#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use mix::sphinx::{BATCH, KeyTables, build, build_surb, build_tabled, peel, peel_batch};
use mix::{BODY_LEN, Class, Exit, Hop, KeyContext, MixSecret, Packet, Surb, SurbKeys};
use x25519_dalek::{PublicKey, StaticSecret};

#[path = "shared/lab.rs"]
mod lab;

use lab::{EPOCH, NETWORK};

/// Three mixing hops and the last one.
struct Route {
    secrets: Vec<MixSecret>,
    path: Vec<Hop>,
}

impl Route {
    fn new() -> Self {
        let (secrets, path) = (0..4).map(lab::relay).unzip();
        Self { secrets, path }
    }

    fn packet(&self, seed: u64) -> Packet {
        let body = [7; BODY_LEN];
        let rng = &mut lab::rng(seed);
        build(&NETWORK, &self.path, Class::Fast, Exit::Box, &body, rng).unwrap()
    }

    fn tables(&self) -> KeyTables {
        let mut tables = KeyTables::new(self.path.len());
        self.path.iter().for_each(|hop| tables.insert(&hop.key));
        tables
    }

    fn tabled(&self, tables: &KeyTables, seed: u64) -> Packet {
        let body = [7; BODY_LEN];
        let rng = &mut lab::rng(seed);
        build_tabled(
            tables,
            &NETWORK,
            &self.path,
            Class::Fast,
            Exit::Box,
            &body,
            rng,
        )
        .unwrap()
    }

    fn surb(&self, seed: u64) -> (Surb, SurbKeys) {
        let rng = &mut lab::rng(seed);
        build_surb(&NETWORK, &self.path, Class::Fast, [1; 16], rng).unwrap()
    }

    fn context(&self, hop: usize) -> KeyContext {
        KeyContext {
            network: NETWORK,
            epoch: EPOCH,
            relay: self.path[hop].id,
        }
    }

    fn peel(&self, hop: usize, packet: &mut Packet) {
        black_box(peel(&self.secrets[hop], &self.context(hop), packet).unwrap());
    }

    fn peel_batch(&self, packets: &mut [Packet]) {
        let mut results = Vec::with_capacity(packets.len());
        peel_batch(&self.secrets[0], &self.context(0), packets, &mut results);
        assert!(results.iter().all(Result::is_ok));
    }

    /// The answer as the owner of the reply block gets it.
    fn reply(&self) -> (SurbKeys, Packet) {
        let (surb, keys) = self.surb(3);
        let (_, mut packet) = surb.reply(&[8; BODY_LEN]);
        for hop in 0..self.path.len() {
            self.peel(hop, &mut packet);
        }
        (keys, packet)
    }
}

fn packet(criterion: &mut Criterion) {
    let route = Route::new();
    let made = route.packet(1);
    let (surb, _) = route.surb(2);
    let (keys, answer) = route.reply();
    let (secret, public) = x25519();

    let mut group = criterion.benchmark_group("packet");
    group.bench_function("x25519", |b| {
        b.iter(|| black_box(&secret).diffie_hellman(black_box(&public)));
    });
    group.bench_function("create, 4 hops", |b| {
        b.iter(|| black_box(route.packet(1)));
    });
    group.bench_function("peel", |b| {
        b.iter_batched_ref(
            || made.clone(),
            |packet| route.peel(0, packet),
            BatchSize::SmallInput,
        );
    });
    let many: Vec<_> = (0..BATCH as u64).map(|seed| route.packet(seed)).collect();
    group.bench_function("peel 64 together", |b| {
        b.iter_batched_ref(
            || many.clone(),
            |packets| route.peel_batch(packets),
            BatchSize::LargeInput,
        );
    });
    let tables = route.tables();
    group.bench_function("create, 4 hops, tabled keys", |b| {
        b.iter(|| black_box(route.tabled(&tables, 1)));
    });
    group.bench_function("reply block, 4 hops", |b| {
        b.iter(|| black_box(route.surb(2)));
    });
    group.bench_function("reply", |b| {
        b.iter_batched(
            || surb.clone(),
            |surb| black_box(surb.reply(&[8; BODY_LEN])),
            BatchSize::SmallInput,
        );
    });
    group.bench_function("open a reply", |b| {
        b.iter_batched(
            || answer.clone(),
            |packet| black_box(keys.open(packet).unwrap()),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    in_multiplications(&route, &made, &surb, &keys, &answer);
}

/// The table in U.
fn in_multiplications(route: &Route, made: &Packet, surb: &Surb, keys: &SurbKeys, answer: &Packet) {
    if lab::skipped("packet/ratio") {
        return;
    }
    let (secret, public) = x25519();
    let (tables, many) = (route.tables(), vec![made.clone(); BATCH]);
    let [unit, create, tabled, peel, batch, block, reply, open] = lab::medians([
        &mut || {
            black_box(black_box(&secret).diffie_hellman(black_box(&public)));
        },
        &mut || {
            black_box(route.packet(1));
        },
        &mut || {
            black_box(route.tabled(&tables, 1));
        },
        &mut || route.peel(0, &mut made.clone()),
        &mut || route.peel_batch(&mut many.clone()),
        &mut || {
            black_box(route.surb(2));
        },
        &mut || {
            black_box(surb.clone().reply(&[8; BODY_LEN]));
        },
        &mut || {
            black_box(keys.open(answer.clone()).unwrap());
        },
    ]);
    println!("packet/ratio: U = one X25519 multiplication = {unit:.1?}");
    for (what, time) in [
        ("create, 4 hops", create),
        ("create, 4 hops, tabled keys", tabled),
        ("peel", peel),
        ("peel 64 together, each", batch / BATCH as u32),
        ("reply block, 4 hops", block),
        ("reply", reply),
        ("open a reply", open),
    ] {
        let ratio = time.as_secs_f64() / unit.as_secs_f64();
        println!("packet/ratio: {what:<27} {time:>9.1?}  {ratio:>6.2} U");
    }
}

fn x25519() -> (StaticSecret, PublicKey) {
    let public = PublicKey::from(&StaticSecret::from([9; 32]));
    (StaticSecret::from([4; 32]), public)
}

criterion_group!(benches, packet);
criterion_main!(benches);
