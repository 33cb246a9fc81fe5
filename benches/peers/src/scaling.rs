//! How the peel scales in one process: the packets of one thread beside those of several, each by the wall clock, in turns.
//!
//! Every thread peels its own packets, in batches, with the keys they share. A packet is a fresh copy, allocation included, as
//! when a link brings it. On a busy machine the wall clock shows the neighbours; the same by CPU time shows what is ours.
#![allow(
    clippy::disallowed_methods,
    reason = "a program that measures reads the clock"
)]

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use mix::Packet;
use mix::sphinx::{BATCH, peel_batch};

use crate::clock;
use crate::ours::{HOP, Route};

/// The wall clock needs longer samples than the CPU's: starting a thread takes a tenth of a millisecond, and more if it must
/// wait for its core.
const LONGER: u32 = 50;

/// Medians over the rounds.
pub struct Scaling {
    pub threads: usize,
    /// Packets a second of one thread, by the wall clock.
    pub one: f64,
    /// Of all threads together.
    pub all: f64,
    /// How many times as many: median of the rounds' ratios.
    pub times: f64,
    /// The same if every thread had a core for itself all the time.
    pub times_cpu: f64,
}

/// One thread's part of a sample.
struct Part {
    from: Instant,
    to: Instant,
    cpu: Duration,
}

pub fn measure(threads: usize, rounds: usize, length: Duration) -> Scaling {
    let route = Route::new(HOP.hops);
    let stock = route.stock();
    let batches = calibrate(&route, &stock, length * LONGER);
    let (mut one, mut all, mut times, mut times_cpu) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        let (alone, cpu_alone) = sample(1, &route, &stock, batches);
        let (together, cpu_together) = sample(threads, &route, &stock, batches);
        times.push(together / alone);
        times_cpu.push(threads as f64 * cpu_alone / cpu_together);
        one.push(alone);
        all.push(together);
    }
    Scaling {
        threads,
        one: clock::quantile(&one, 0.5),
        all: clock::quantile(&all, 0.5),
        times: clock::quantile(&times, 0.5),
        times_cpu: clock::quantile(&times_cpu, 0.5),
    }
}

/// How many batches a thread peels in about this time.
fn calibrate(route: &Route, stock: &[Packet], length: Duration) -> usize {
    let start = clock::now();
    work(route, stock, 4);
    let batch = (clock::now() - start) / 4;
    (length.as_secs_f64() / batch.as_secs_f64()).ceil() as usize
}

/// Packets a second of so many threads by the wall clock, and CPU seconds a packet.
fn sample(threads: usize, route: &Route, stock: &[Packet], batches: usize) -> (f64, f64) {
    let start = Barrier::new(threads);
    let parts: Vec<Part> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let (from, cpu) = (Instant::now(), clock::now());
                    work(route, stock, batches);
                    Part {
                        from,
                        to: Instant::now(),
                        cpu: clock::now() - cpu,
                    }
                })
            })
            .collect();
        let join = |worker: thread::ScopedJoinHandle<'_, Part>| worker.join().expect("it peels");
        workers.into_iter().map(join).collect()
    });
    let from = parts.iter().map(|part| part.from).min();
    let to = parts.iter().map(|part| part.to).max();
    let wall = to.zip(from).map_or(Duration::MAX, |(to, from)| to - from);
    let cpu: Duration = parts.iter().map(|part| part.cpu).sum();
    let packets = (threads * batches * BATCH) as f64;
    (packets / wall.as_secs_f64(), cpu.as_secs_f64() / packets)
}

fn work(route: &Route, stock: &[Packet], batches: usize) {
    let mut packets = Vec::with_capacity(BATCH);
    let mut results = Vec::with_capacity(BATCH);
    let groups = stock.chunks_exact(BATCH).cycle();
    for group in groups.take(batches) {
        packets.clear();
        packets.extend_from_slice(group);
        peel_batch(
            &route.secrets[0],
            &route.context(0),
            &mut packets,
            &mut results,
        );
        assert!(
            results.iter().all(Result::is_ok),
            "our own packet is refused"
        );
    }
}
