//! `network/relay`: the whole relay path as a share of the batched hop rate, both in packets per CPU-second of one process.

use std::time::{Duration, Instant};

use crate::child::{Child, numbers};
use crate::ends::SINKS;
use crate::lab;

/// Packets on their way from the source to the sinks at most. Above what waits in the pool at the highest rate one thread
/// reaches, so that the relay is never short of work; below that and the room before the threads together.
const WINDOW: u64 = 600;
/// Mean delay at the relay in ms: short, so that the pool does not hide a slow relay.
const MEAN: u64 = 20;

/// The three processes, linked.
pub(crate) struct Bed {
    pub(crate) source: Child,
    pub(crate) relay: Child,
    pub(crate) sinks: Child,
    arrived: u64,
}

/// How the relay is set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) threads: usize,
    pub(crate) layout: &'static str,
    pub(crate) mean_ms: u64,
    pub(crate) packets: u64,
    pub(crate) watch: &'static str,
}

impl Bed {
    pub(crate) fn start(setup: Setup) -> Self {
        let mut sinks = Child::start("sinks", &[]);
        let mut source = Child::start("source", &[("COUNT", &setup.packets), ("CLASS", &"fast")]);
        let mut relay = Child::start(
            "relay",
            &[
                ("THREADS", &setup.threads),
                ("LAYOUT", &setup.layout),
                ("MEAN", &setup.mean_ms),
                ("WATCH", &setup.watch),
            ],
        );
        let at = relay.hear("at");
        let addresses: Vec<_> = (0..SINKS).map(|_| sinks.hear("at")).collect();
        relay.ask(format!("link {}", addresses.join(" ")));
        source.hear("built");
        source.ask(format!("link {at}"));
        Self {
            source,
            relay,
            sinks,
            arrived: 0,
        }
    }

    /// Has packets sent and waits until they have arrived, or until nothing has come for three seconds. Returns how many came.
    pub(crate) fn send(&mut self, order: &str, count: u64, by: impl std::fmt::Display) -> u64 {
        let (before, mut last) = (self.arrived, Instant::now());
        self.source.tell(format!("{order} {count} {by}"));
        while self.arrived < before + count && last.elapsed() < Duration::from_secs(3) {
            let Some(line) = self.sinks.next(Duration::from_millis(100)) else {
                continue;
            };
            let Some(number) = line.strip_prefix("arrived ") else {
                continue;
            };
            self.arrived = number.parse().unwrap();
            last = Instant::now();
            self.source.tell(line);
        }
        self.arrived - before
    }

    pub(crate) fn end(self) {
        self.source.end();
        self.relay.end();
        self.sinks.end();
    }
}

pub(crate) fn measure() {
    for threads in lab::size(&[1, 2][..], &[1]) {
        run(*threads, "together");
    }
    if !lab::smoke() {
        run(1, "apart");
    }
}

fn run(threads: usize, layout: &'static str) {
    let (rounds, each) = lab::size((9, 6_000), (1, 300));
    let mut bed = Bed::start(Setup {
        threads,
        layout,
        mean_ms: MEAN,
        packets: (rounds + 1) * each,
        watch: "no",
    });
    // Once unmeasured: caches, windows of TCP, the replay set's memory.
    let window = WINDOW + 200 * (threads as u64 - 1);
    let warm = bed.send("send", each, window);
    let drops = bed.relay.ask("drops");
    assert!(warm * 100 >= each * 95, "{warm} of {each} arrived: {drops}");
    let hop = |bed: &mut Bed| bed.relay.ask("hop").parse::<f64>().unwrap();
    let (mut shares, mut rates, mut walls) = (Vec::new(), Vec::new(), Vec::new());
    let mut spent = [0; 7];
    let mut hops = vec![hop(&mut bed)];
    for _ in 0..rounds {
        let before = numbers(&bed.relay.ask("mark"));
        let started = Instant::now();
        let arrived = bed.send("send", each, window);
        let time = started.elapsed();
        let after = numbers(&bed.relay.ask("mark"));
        assert!(arrived * 100 >= each * 95, "{arrived} of {each} arrived");
        hops.push(hop(&mut bed));
        let used: Vec<u64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
        let rate = used[1] as f64 / (used[0] as f64 / 1e9);
        let around = (hops[hops.len() - 2] + hops[hops.len() - 1]) / 2.0;
        shares.push(rate / around);
        rates.push(rate);
        walls.push(arrived as f64 / time.as_secs_f64());
        spent
            .iter_mut()
            .zip(used)
            .for_each(|(all, one)| *all += one);
    }
    let hop = median(&mut hops);
    println!(
        "network/relay: {threads} peel thread{}, {layout}: whole relay path: {:.0} packets per CPU-second = {:.1} % of the batched hop rate of {hop:.0} (target 70 %); {:.0} packets/s by the clock; medians of {rounds} rounds of {each}",
        if threads == 1 { "" } else { "s" },
        median(&mut rates),
        100.0 * median(&mut shares),
        median(&mut walls),
    );
    let micros = |nanos: u64| nanos as f64 / 1e3 / spent[1].max(1) as f64;
    println!(
        "network/relay: CPU per packet {:.1} µs (a hop alone {:.1}); {:.1} packets a sync; drops: {}",
        micros(spent[0]),
        1e6 / hop,
        spent[1] as f64 / spent[2].max(1) as f64,
        bed.relay.ask("drops"),
    );
    if layout == "apart" {
        println!(
            "network/relay: of these, links (read, write, swarm) {:.1}, opening packets {:.1}, mixer, replay tags and disk {:.1}",
            micros(spent[3]),
            micros(spent[5]),
            micros(spent[4]),
        );
    }
    bed.end();
}

pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
