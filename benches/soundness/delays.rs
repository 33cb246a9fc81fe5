//! Waiting times against the law that SPEC.md §8 promises: above S exactly exponential. First the draws, then the real pool
//! of a [`Mixer`]: packets come in as a Poisson stream, `handle_timeout` is called when it is due, tags are durable 10 ms after
//! they were polled, and both the wait of each packet and the gaps between departures are measured. Time is virtual: what the
//! mixer promises is exact there. Seeds are fixed: only a change of the code changes a p-value.

use std::collections::{BTreeMap, VecDeque};

use mix::delay::from_quantile;
use mix::sphinx::{Quantile, build};
use mix::time::{Moment, Span};
use mix::{BODY_LEN, Class, Exit, Hop, Mixer, MixerConfig, Packet, ShortId};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::lab::{self, NETWORK};
use crate::stats::kolmogorov_smirnov;

const START: Moment = Moment::from_secs(100);
const DISK: Span = Span::from_millis(10);
/// Packets a second of one mixer, in the three classes.
const RATES: [f64; 3] = [3_000.0, 1_000.0, 1_000.0];

pub(crate) fn run() -> bool {
    let mut smallest: f64 = 1.0;
    for class in Class::ALL {
        smallest = smallest.min(draws(class));
    }
    for p in pool() {
        smallest = smallest.min(p);
    }
    println!("delays: smallest p of the 9 tests {smallest:.4}");
    smallest > 0.01
}

fn exponential(mean: f64) -> impl Fn(f64) -> f64 {
    move |x| -(-x / mean).exp_m1()
}

/// Uniform in [0, 1).
fn unit(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Quantiles as senders draw them, with the relay's dither.
fn draws(class: Class) -> f64 {
    let count = lab::size(1_000_000, 2_000);
    let rng = &mut lab::rng(70 + class.index() as u64);
    let mean = config().delays[class.index()];
    let mut beyond = 0;
    let mut delays = Vec::with_capacity(count);
    while delays.len() < count {
        match from_quantile(Quantile(rng.next_u32() as u16), mean, rng) {
            Some(delay) => delays.push(delay.as_secs_f64()),
            None => beyond += 1,
        }
    }
    let (distance, p) = kolmogorov_smirnov(&mut delays, exponential(mean.as_secs_f64()));
    println!(
        "delays: draws, {class:?}: {count} samples, {beyond} beyond the cap, distance {distance:.6}, p {p:.4}"
    );
    p
}

fn config() -> MixerConfig {
    MixerConfig::new(NETWORK, ShortId([0; 16]))
}

/// Waits and departures of one class.
#[derive(Default)]
struct Departures {
    /// Above S, in seconds.
    waits: Vec<f64>,
    /// Moments of departure in seconds since the start.
    times: Vec<f64>,
}

struct Run {
    classes: [Departures; 3],
    /// When the last packet came.
    end: f64,
    largest_pool: usize,
    dropped: u64,
}

/// Two mixers, one on each core; half of the packets each.
fn pool() -> Vec<f64> {
    let each = lab::size(500_000, 1_000);
    let runs = crate::on_all_cores(2, Vec::new, |runs: &mut Vec<Run>, job| {
        runs.push(Simulation::new(job as u64).run(each));
    });
    let runs: Vec<Run> = runs.into_iter().flatten().collect();
    let total: f64 = RATES.iter().sum();
    let largest = runs.iter().map(|run| run.largest_pool).max();
    let dropped: u64 = runs.iter().map(|run| run.dropped).sum();
    println!(
        "delays: pool: {} packets through two mixers at {total} packets/s each, up to {} in the pool, {dropped} not relayed",
        2 * each,
        largest.unwrap_or_default(),
    );
    let mut all_p = Vec::new();
    for class in Class::ALL {
        let mean = config().delays[class.index()].as_secs_f64();
        let (mut waits, mut gaps) = (Vec::new(), Vec::new());
        for run in &runs {
            let departures = &run.classes[class.index()];
            waits.extend(&departures.waits);
            gaps.extend(scaled_gaps(departures, RATES[class.index()], mean, run.end));
        }
        for (what, mean, samples) in [
            ("waits above S", mean, &mut waits),
            ("gaps between departures", 1.0, &mut gaps),
        ] {
            let (distance, p) = kolmogorov_smirnov(samples, exponential(mean));
            println!(
                "delays: pool, {class:?}: {what}: {} samples, distance {distance:.6}, p {p:.4}",
                samples.len()
            );
            all_p.push(p);
        }
    }
    all_p
}

/// Gaps in units of what the law says they are on average at that time: Poisson arrivals from the start on, each delayed
/// independently, leave as a Poisson process of rate λ (1 − e^(−t/D)), t counted from the first possible departure. Time is
/// whole microseconds; where in its microsecond a packet left is drawn, which makes the law exact again.
fn scaled_gaps(departures: &Departures, rate: f64, mean: f64, end: f64) -> Vec<f64> {
    let hold = config().hold.as_secs_f64();
    let rng = &mut lab::rng(79);
    let mut times: Vec<f64> = departures
        .times
        .iter()
        .map(|time| time + unit(rng) * 1e-6)
        .collect();
    times.retain(|&time| time < end);
    times.sort_unstable_by(f64::total_cmp);
    let expected = |time: f64| {
        let t = (time - hold).max(0.0);
        rate * (t + mean * (-t / mean).exp_m1())
    };
    times
        .windows(2)
        .map(|two| expected(two[1]) - expected(two[0]))
        .collect()
}

struct Simulation {
    mixer: Mixer,
    relay: Hop,
    last: Hop,
    rng: ChaCha20Rng,
    synced: VecDeque<(Moment, u64)>,
    /// When each packet came and in which class, by the name of the hop that it asks for.
    inside: BTreeMap<[u8; 16], (Moment, Class)>,
    run: Run,
}

impl Simulation {
    fn new(number: u64) -> Self {
        let (secret, relay) = lab::relay(number);
        let (_, last) = lab::relay(9);
        let mut config = MixerConfig::new(NETWORK, relay.id);
        // Room for a slow class that carries a fifth of the packets.
        (config.pool_cap, config.transmit_cap) = (1 << 17, 1 << 17);
        let mut mixer = Mixer::new(config, lab::rng(80 + number));
        mixer.add_key(lab::epoch_key(secret, START), []).unwrap();
        Self {
            mixer,
            relay,
            last,
            rng: lab::rng(90 + number),
            synced: VecDeque::new(),
            inside: BTreeMap::new(),
            run: Run {
                classes: Default::default(),
                end: 0.0,
                largest_pool: 0,
                dropped: 0,
            },
        }
    }

    fn run(mut self, packets: usize) -> Run {
        // Arrivals on a finer clock than the mixer's, which rounds them down to its microseconds.
        let mut clock = 0.0;
        for number in 0..packets {
            clock += -(1.0 - unit(&mut self.rng)).ln() / RATES.iter().sum::<f64>();
            let now = START + Span((clock * 1e6) as u64);
            self.until(now);
            let (packet, name, class) = self.packet(number);
            self.inside.insert(name, (now, class));
            self.mixer.handle_packet(now, packet);
            self.drain(now);
            self.run.largest_pool = self.run.largest_pool.max(self.mixer.pool_len());
        }
        self.run.end = clock;
        self.until(Moment::MAX);
        self.run.dropped = self.inside.len() as u64;
        self.run
    }

    /// A packet whose next hop has a name of its own, by which it is known when it leaves.
    fn packet(&mut self, number: usize) -> (Packet, [u8; 16], Class) {
        let mut name = [0xee; 16];
        name[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let path = [
            self.relay,
            Hop {
                id: ShortId(name),
                ..self.last
            },
        ];
        let mut turn = unit(&mut self.rng) * RATES.iter().sum::<f64>();
        let mut class = Class::Slow;
        for (candidate, rate) in Class::ALL.into_iter().zip(RATES) {
            if turn < rate {
                class = candidate;
                break;
            }
            turn -= rate;
        }
        let body = [0; BODY_LEN];
        let packet = build(&NETWORK, &path, class, Exit::Box, &body, &mut self.rng).unwrap();
        (packet, name, class)
    }

    /// Everything that is due before `end`, each at its moment.
    fn until(&mut self, end: Moment) {
        loop {
            let timeout = self.mixer.poll_timeout().unwrap_or(Moment::MAX);
            let synced = self.synced.front().map_or(Moment::MAX, |&(at, _)| at);
            let now = timeout.min(synced);
            if now >= end {
                return;
            }
            if synced <= timeout {
                if let Some((_, seq)) = self.synced.pop_front() {
                    self.mixer.handle_synced(seq);
                }
            } else {
                self.mixer.handle_timeout(now);
            }
            self.drain(now);
        }
    }

    fn drain(&mut self, now: Moment) {
        // One batch of tags is on its way to the disk at a time, as a driver does it.
        if self.synced.is_empty()
            && let Some(batch) = self.mixer.poll_tags()
        {
            self.synced.push_back((now + DISK, batch.seq));
        }
        while let Some((to, _)) = self.mixer.poll_transmit() {
            let (came, class) = self.inside.remove(&to.0).unwrap();
            let departures = &mut self.run.classes[class.index()];
            departures
                .waits
                .push((now.since(came)).as_secs_f64() - config().hold.as_secs_f64());
            departures.times.push(now.since(START).as_secs_f64());
        }
    }
}
