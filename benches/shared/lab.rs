//! What the benchmarks share: relays made from numbers, medians, CPU time of named threads.
//!
//! Each benchmark is a program of its own and uses a part of this.
#![allow(dead_code, reason = "no benchmark uses all of it")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use mix::time::{Moment, Span};
use mix::{EpochKey, Hop, MixSecret, NetworkId, ShortId};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

/// The network all benchmarks pretend to be.
pub(crate) const NETWORK: NetworkId = NetworkId([3; 32]);
/// Its epoch.
pub(crate) const EPOCH: u32 = 5;

/// Whether this is a smoke run: `cargo bench -- --test`, or `cargo test --benches`.
pub(crate) fn smoke() -> bool {
    let mut bench = false;
    for argument in std::env::args() {
        match argument.as_str() {
            "--test" => return true,
            "--bench" => bench = true,
            _ => {}
        }
    }
    !bench
}

/// `full`, or `quick` in a smoke run.
pub(crate) fn size<T>(full: T, quick: T) -> T {
    if smoke() { quick } else { full }
}

/// Whether a filter on the command line leaves this part out. Criterion's own benchmarks ask it themselves.
pub(crate) fn skipped(part: &str) -> bool {
    let filter = std::env::args().skip(1).find(|one| !one.starts_with('-'));
    filter.is_some_and(|filter| !part.contains(&filter))
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// A relay: its secret, and how others see it.
pub(crate) fn relay(number: u64) -> (MixSecret, Hop) {
    let secret = MixSecret::random(&mut rng(1_000 + number));
    let mut node = [0; 32];
    node[..8].copy_from_slice(&number.to_le_bytes());
    let hop = Hop {
        id: ShortId::derive(&NETWORK, &node),
        key: secret.public(),
        epoch: EPOCH,
    };
    (secret, hop)
}

/// The relay's key, usable for a day from `now`.
pub(crate) fn epoch_key(secret: MixSecret, now: Moment) -> EpochKey {
    EpochKey {
        epoch: EPOCH,
        usable_from: now,
        starts: now,
        usable_until: now + Span::from_secs(86_400),
        secret,
    }
}

/// Median time of one call of each routine. They take turns, so that a machine that slows down slows all alike.
pub(crate) fn medians<const N: usize>(mut routines: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let (rounds, calls) = size((201, 20), (1, 1));
    let mut times = [const { Vec::new() }; N];
    for _ in 0..rounds {
        for (routine, times) in routines.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..calls {
                black_box(&mut *routine)();
            }
            times.push(start.elapsed() / calls);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2]
    })
}

/// CPU time so far of the threads of this process whose name starts with `name`. Linux only; zero elsewhere.
pub(crate) fn cpu_of(name: &str) -> Duration {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return Duration::ZERO;
    };
    let mut nanos = 0;
    for thread in threads.flatten() {
        let read = |file: &str| std::fs::read_to_string(thread.path().join(file));
        if read("comm").is_ok_and(|comm| comm.starts_with(name)) {
            let spent = read("schedstat").unwrap_or_default();
            let first = spent.split(' ').next().unwrap_or_default();
            nanos += first.parse::<u64>().unwrap_or(0);
        }
    }
    Duration::from_nanos(nanos)
}

/// Resident memory of this process in KiB. Linux only; zero elsewhere.
pub(crate) fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}
