//! Whether time tells secrets, in the manner of dudect (Reparaz, Balasch, Verbauwhede 2017): two classes of input in random
//! turns, everything prepared outside the clock, Welch's t over all measurements and over the quickest parts of them, which
//! interruptions reach less. |t| below 5 at 10^6 measurements means that this method sees no difference. It must see one in
//! the controls: the same work followed by a comparison that stops at the first difference.

use std::hint::black_box;
use std::time::Instant;

use mix::sphinx::peel;
use mix::{DropReason, HEADER_LEN, KeyContext, MixSecret, PACKET_LEN, Packet};
use rand_core::Rng as _;

use crate::lab::{self, EPOCH, NETWORK};
use crate::reference::{self, Drawn, Order};
use crate::stats;

const BOUND: f64 = 5.0;
/// Parts of the measurements, quickest first, over which t is taken.
const CROPS: [f64; 8] = [1.0, 0.99, 0.95, 0.9, 0.75, 0.5, 0.25, 0.1];
const GAMMA: usize = 33;
const BETA: usize = 49;

type Bytes = [u8; PACKET_LEN];

pub(crate) fn run() -> bool {
    let lab = Lab::new();
    let good = lab.good;
    let faulty = |at: usize| {
        let mut bytes = good;
        bytes[at] ^= 1;
        bytes
    };
    let (first, last) = (faulty(GAMMA), faulty(BETA - 1));
    let (beta_first, beta_last) = (faulty(BETA), faulty(HEADER_LEN - 1));
    let mut holds = true;
    holds &= lab.control(
        "control: peel, then gamma compared up to the first difference",
        &good,
        [first, last],
    );
    holds &= lab.faults(
        "MAC: first or last byte of gamma",
        [first, last],
        DropReason::Mac,
    );
    holds &= lab.faults(
        "MAC: last byte of gamma or first of beta",
        [last, beta_first],
        DropReason::Mac,
    );
    holds &= lab.faults(
        "MAC: first or last byte of beta",
        [beta_first, beta_last],
        DropReason::Mac,
    );
    let tags = [lab.tagged(0), lab.tagged(15)];
    holds &= lab.faults(
        "payload: first or last byte of the end tag",
        tags,
        DropReason::Payload,
    );
    let mut one = [0; 32];
    one[0] = 1;
    holds &= lab.keys("keys: the scalar 1 or random ones", &one);
    holds &= lab.keys("keys: a dense scalar or random ones", &dense());
    holds
}

/// ℓ − 1, whose 252 bits and signed digits are as unlike the scalar 1 as can be.
fn dense() -> [u8; 32] {
    (-curve25519_dalek::scalar::Scalar::ONE).to_bytes()
}

struct Lab {
    secret: MixSecret,
    context: KeyContext,
    good: Bytes,
    hop: reference::Hop,
}

impl Lab {
    fn new() -> Self {
        let (secret, relay) = lab::relay(0);
        let hop = reference::Hop {
            name: relay.id.0,
            epoch: EPOCH,
            public: relay.key.to_bytes(),
        };
        let context = KeyContext {
            network: NETWORK,
            epoch: EPOCH,
            relay: relay.id,
        };
        let good = packet(&hop, &[0; 16]);
        Self {
            secret,
            context,
            good,
            hop,
        }
    }

    /// The good packet with one byte of the end tag not zero, under the same header.
    fn tagged(&self, at: usize) -> Bytes {
        let mut tag = [0; 16];
        tag[at] = 1;
        packet(&self.hop, &tag)
    }

    /// Two packets, one key.
    fn faults(&self, what: &str, packets: [Bytes; 2], wanted: DropReason) -> bool {
        let times = measure(
            |class, bytes| bytes.copy_from_slice(&packets[class]),
            |packet| self.peel(&self.secret, packet, wanted),
        );
        judge(what, &times)
    }

    /// One packet with an alpha that is new every time, two kinds of key. None of them opens it.
    fn keys(&self, what: &str, fixed: &[u8; 32]) -> bool {
        let rng = &mut lab::rng(61);
        let pool: Vec<Bytes> = (0..256)
            .map(|_| {
                let mut bytes = self.good;
                bytes[1..33].copy_from_slice(&MixSecret::random(rng).public().to_bytes());
                bytes
            })
            .collect();
        let mut random = [0; 32];
        let secret = std::cell::RefCell::new(self.secret.clone());
        let times = measure(
            |class, bytes| {
                bytes.copy_from_slice(&pool[rng.next_u32() as usize % pool.len()]);
                // Both kinds come out of the same hands, so that the same was done before the clock starts.
                random.copy_from_slice(MixSecret::random(rng).to_bytes().as_slice());
                let chosen = [fixed, &random][class];
                *secret.borrow_mut() = MixSecret::from_bytes(black_box(chosen)).unwrap();
            },
            |packet| self.peel(&secret.borrow(), packet, DropReason::Mac),
        );
        judge(what, &times)
    }

    /// The same work and the mistake that this is about. It must show.
    fn control(&self, what: &str, good: &Bytes, packets: [Bytes; 2]) -> bool {
        let times = measure(
            |class, bytes| bytes.copy_from_slice(&packets[class]),
            |packet| {
                self.peel(&self.secret, packet, DropReason::Mac);
                let same = equal(&packet.as_bytes()[GAMMA..BETA], &good[GAMMA..BETA]);
                assert!(!same);
            },
        );
        let shows = largest_t(what, &times) >= BOUND;
        println!(
            "timing: the control {}",
            if shows {
                "shows, as it must"
            } else {
                "DOES NOT SHOW"
            }
        );
        // With a smoke run's few measurements nothing can show.
        shows || lab::smoke()
    }

    fn peel(&self, secret: &MixSecret, packet: &mut Packet, wanted: DropReason) {
        let result = peel(black_box(secret), &self.context, black_box(packet));
        assert!(result.is_err_and(|reason| reason == wanted));
    }
}

fn packet(hop: &reference::Hop, tag: &[u8; 16]) -> Bytes {
    let mut drawn = [0; 246];
    lab::rng(60).fill_bytes(&mut drawn);
    let order = Order {
        command: reference::BOX,
        class: 0,
        id: None,
    };
    let path = std::slice::from_ref(hop);
    let body = [5; mix::BODY_LEN];
    let bytes = reference::build_with_tag(&NETWORK.0, path, &order, tag, &body, &mut Drawn(&drawn));
    bytes.try_into().unwrap()
}

/// Stops at the first difference.
fn equal(a: &[u8], b: &[u8]) -> bool {
    for (a, b) in a.iter().zip(b) {
        if black_box(a) != black_box(b) {
            return false;
        }
    }
    true
}

/// Nanoseconds by class. Both classes pass through one buffer, so that memory is as warm for one as for the other.
fn measure(
    mut prepare: impl FnMut(usize, &mut Bytes),
    mut operate: impl FnMut(&mut Packet),
) -> Vec<(usize, f64)> {
    let count = lab::size(1_000_000, 200);
    let rng = &mut lab::rng(62);
    let mut buffer = Box::new([0; PACKET_LEN]);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let class = (rng.next_u32() & 1) as usize;
        prepare(class, &mut buffer);
        let mut packet = Packet::from_boxed(buffer);
        let start = Instant::now();
        operate(&mut packet);
        let time = start.elapsed();
        buffer = packet.into_boxed();
        times.push((class, time.as_nanos() as f64));
    }
    times
}

/// Whether no difference shows. A smoke run measures too little to say, and no test here depends on time.
fn judge(what: &str, times: &[(usize, f64)]) -> bool {
    largest_t(what, times) < BOUND || lab::smoke()
}

/// Prints t at all crop levels, and gives the largest.
fn largest_t(what: &str, times: &[(usize, f64)]) -> f64 {
    let mut sorted: Vec<f64> = times.iter().map(|&(_, time)| time).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut line = String::new();
    let mut largest: f64 = 0.0;
    for crop in CROPS {
        let limit = sorted[((sorted.len() - 1) as f64 * crop) as usize];
        let of = |class| {
            times
                .iter()
                .filter(move |&&(c, time)| c == class && time <= limit)
                .map(|&(_, t)| t)
        };
        let t = stats::welch_t(of(0), of(1));
        line += &format!(" {:.0}%: {t:+.2}", crop * 100.0);
        largest = largest.max(t.abs());
    }
    let median = sorted[sorted.len() / 2] / 1_000.0;
    println!(
        "timing: {what}: {} measurements, median {median:.1} us, largest |t| {largest:.2}",
        times.len()
    );
    println!("timing:    t over the quickest{line}");
    largest
}
