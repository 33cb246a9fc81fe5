//! `network/departures`: delays as an observer of the links measures them, under load, against the law they are drawn from.
//!
//! Each packet is timed where the relay has read it from a link and again where it has written it to one. A packet is one
//! buffer all the way, so its address says which is which. Delay less the constant hold must be exponential.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use node::net::Tap;

use crate::lab;
use crate::share::{Bed, Setup};

/// The constant hold S of the mixer, in seconds.
const HOLD: f64 = 0.025;

/// Times packets at the relay's links.
#[derive(Clone, Default)]
pub(crate) struct Watch(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    read: BTreeMap<usize, Instant>,
    /// Seconds between read and written.
    delays: Vec<f64>,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn tap(&self) -> Tap {
        let watch = self.clone();
        Tap::watching(move |frame, at_write| {
            let now = Instant::now();
            let place = frame.as_ptr() as usize;
            let mut seen = watch.0.lock().unwrap();
            if !at_write {
                seen.read.insert(place, now);
            } else if let Some(read) = seen.read.remove(&place) {
                seen.delays.push((now - read).as_secs_f64());
            }
        })
    }

    /// Compares the delays with the exponential of this mean.
    pub(crate) fn law(&self, mean_ms: u64) -> String {
        let mut delays = self.0.lock().unwrap().delays.clone();
        let mean = mean_ms as f64 / 1e3;
        for delay in &mut delays {
            *delay = (*delay - HOLD) / mean;
        }
        delays.sort_unstable_by(f64::total_cmp);
        let count = delays.len();
        let average = delays.iter().sum::<f64>() / count as f64;
        let (distance, p) = kolmogorov(&delays);
        let early = delays.partition_point(|delay| *delay < 0.0);
        let at = |share: f64| delays[((count as f64 * share) as usize).min(count - 1)];
        format!(
            "{count} departures, D = {distance:.5}, p = {p:.3}; mean {average:.4} of 1, median {:.4} of 0.6931, shortest {:+.3} ms, {early} early, mean excess {:+.3} ms",
            at(0.5),
            delays[0] * mean_ms as f64,
            (average - 1.0) * mean_ms as f64,
        )
    }
}

/// The Kolmogorov–Smirnov distance of sorted values from the exponential law of mean 1, and the chance of one as large.
fn kolmogorov(sorted: &[f64]) -> (f64, f64) {
    let count = sorted.len() as f64;
    let mut distance = 0.0_f64;
    for (place, value) in sorted.iter().enumerate() {
        let law = 1.0 - (-value.max(0.0)).exp();
        let (below, above) = (place as f64 / count, (place + 1) as f64 / count);
        distance = distance.max((law - below).abs()).max((above - law).abs());
    }
    let scaled = (count.sqrt() + 0.12 + 0.11 / count.sqrt()) * distance;
    let mut p = 0.0;
    for k in 1..101 {
        let k = f64::from(k);
        let sign = if k as u64 % 2 == 1 { 1.0 } else { -1.0 };
        p += 2.0 * sign * (-2.0 * k * k * scaled * scaled).exp();
    }
    (distance, p.clamp(0.0, 1.0))
}

pub(crate) fn measure() {
    let setting = |name: &str, full: u64, quick: u64| {
        let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
        given.unwrap_or_else(|| lab::size(full, quick))
    };
    // Mean delay in ms, packets a second, packets.
    let mean_ms = setting("DEPARTURES_MEAN_MS", 200, 20);
    let rate = setting("DEPARTURES_RATE", 3_000, 500);
    let count = setting("DEPARTURES", 200_000, 300);
    let mut bed = Bed::start(Setup {
        threads: 1,
        layout: "together",
        mean_ms,
        packets: count,
        watch: "yes",
    });
    let arrived = bed.send("rate", count, rate);
    println!(
        "network/departures: mean delay {mean_ms} ms, {rate} packets/s, {arrived} of {count} arrived: {}; drops: {}",
        bed.relay.ask("law"),
        bed.relay.ask("drops"),
    );
    bed.end();
}
