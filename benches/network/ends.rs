//! The processes around the relay: a source with packets built beforehand, and sinks that count what comes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mix::sphinx::build;
use mix::{BODY_LEN, Class, Exit, Hop, Packet};
use node::net::{NetCommand, NetEvent};
use tokio::runtime::Runtime;

use crate::child::{self, say};
use crate::end::{End, TCP, id_of, short_of};
use crate::lab::{self, NETWORK};

/// Links that packets come over, and links that they leave over. A mesh has more.
const SOURCES: u8 = 4;
pub(crate) const SINKS: u8 = 8;
/// Packets that the source may have in a link's queue: below that queue, which drops the newest when it is full.
const AHEAD: u64 = 40;

pub(crate) const RELAY: u8 = 2;
const FIRST_SOURCE: u8 = 20;
const FIRST_SINK: u8 = 40;

pub(crate) fn sources() -> impl Iterator<Item = u8> {
    FIRST_SOURCE..FIRST_SOURCE + SOURCES
}

pub(crate) fn sink_numbers() -> impl Iterator<Item = u8> + Clone {
    FIRST_SINK..FIRST_SINK + SINKS
}

/// The relay's key, which all processes make from the same number.
pub(crate) fn relay_hop() -> Hop {
    Hop {
        id: short_of(RELAY),
        ..lab::relay(u64::from(RELAY)).1
    }
}

/// Packets by which the relay passes something on to each of the sinks in turn.
pub(crate) fn packets(count: usize, class: Class, seed: u64) -> Vec<Packet> {
    let relay = relay_hop();
    let end = lab::relay(3).1;
    let half = |count: usize, seed: u64| {
        let rng = &mut lab::rng(seed);
        let lasts = sink_numbers().map(short_of).collect::<Vec<_>>();
        (0..count)
            .map(|number| {
                let last = Hop {
                    id: lasts[number % lasts.len()],
                    ..end
                };
                build(
                    &NETWORK,
                    &[relay, last],
                    class,
                    Exit::Drop,
                    &[0; BODY_LEN],
                    rng,
                )
                .unwrap()
            })
            .collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| half(count / 2, seed + 1));
        let mut all = half(count - count / 2, seed);
        all.extend(other.join().unwrap());
        all
    })
}

fn runtime(name: &str) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .unwrap()
}

/// Orders: `link ADDRESS`, then `arrived N` at any time, `send COUNT WINDOW` (no more than so many on their way) and `rate
/// COUNT N` (N a second, at even intervals).
pub(crate) fn source() {
    let runtime = runtime("source");
    let count: usize = child::setting("COUNT").parse().unwrap();
    let class = match child::setting("CLASS").as_str() {
        "fast" => Class::Fast,
        "strong" => Class::Strong,
        _ => Class::Slow,
    };
    let mut ends: Vec<_> = sources()
        .map(|secret| End::start(runtime.handle(), secret, TCP))
        .collect();
    let mut built = packets(count, class, 7).into_iter();
    say("built");
    let arrived = Arc::new(AtomicU64::new(0));
    let (orders, incoming) = std::sync::mpsc::sync_channel(1_024);
    let told = arrived.clone();
    std::thread::spawn(move || {
        for order in child::orders() {
            match order.strip_prefix("arrived ") {
                Some(number) => told.store(number.parse().unwrap(), Ordering::Relaxed),
                None => orders.send(order).unwrap(),
            }
        }
    });
    let mut sent = 0;
    for order in incoming {
        let words: Vec<_> = order.split(' ').collect();
        match words.as_slice() {
            ["link", address] => {
                let relay = BTreeMap::from([(id_of(RELAY), (*address).to_owned())]);
                ends.iter_mut().for_each(|end| end.link(&relay));
                // Nobody reads their events from here on, and nothing comes that matters.
                say("link");
            }
            ["send", count, window] => {
                let (count, window): (u64, u64) = (count.parse().unwrap(), window.parse().unwrap());
                let mut links = Links::new(&ends, sent);
                for packet in built.by_ref().take(count as usize) {
                    while links.sent - arrived.load(Ordering::Relaxed) >= window {
                        std::thread::sleep(Duration::from_micros(100));
                    }
                    links.send(packet);
                }
                sent = links.sent;
                say("send");
            }
            ["rate", count, rate] => {
                let (count, rate): (u64, f64) = (count.parse().unwrap(), rate.parse().unwrap());
                let mut links = Links::new(&ends, sent);
                let start = Instant::now();
                for (number, packet) in built.by_ref().take(count as usize).enumerate() {
                    let due = start + Duration::from_secs_f64(number as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    links.send(packet);
                }
                sent = links.sent;
                say("rate");
            }
            other => panic!("no order {other:?}"),
        }
    }
    ends.into_iter().for_each(End::stop);
}

/// Hands packets to the links in turn and never overfills a link's queue.
struct Links<'a> {
    ends: &'a [End],
    sent: u64,
    /// What each link was given since it was last seen to have written all.
    given: Vec<u64>,
    /// What each link had written or lost then.
    base: Vec<u64>,
}

impl<'a> Links<'a> {
    fn new(ends: &'a [End], sent: u64) -> Self {
        Self {
            ends,
            sent,
            given: vec![0; ends.len()],
            base: ends.iter().map(done).collect(),
        }
    }

    fn send(&mut self, packet: Packet) {
        let place = self.sent as usize % self.ends.len();
        let end = &self.ends[place];
        while self.given[place] >= AHEAD {
            let done = done(end);
            self.given[place] -= done - self.base[place];
            self.base[place] = done;
            if self.given[place] >= AHEAD {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        let (to, packet) = (id_of(RELAY), packet.into_boxed());
        end.command(NetCommand::Send { to, packet });
        self.given[place] += 1;
        self.sent += 1;
    }
}

fn done(end: &End) -> u64 {
    let counters = end.counters();
    assert!(
        counters.drops.is_empty(),
        "the source lost packets: {counters:?}"
    );
    counters.packets_out
}

/// Says `at ADDRESS` for each sink and then `arrived N` whenever N has grown.
pub(crate) fn sinks() {
    let runtime = runtime("sink");
    let arrived = Arc::new(AtomicU64::new(0));
    let mut ends = Vec::new();
    for secret in sink_numbers() {
        let mut end = End::start(runtime.handle(), secret, TCP);
        say(format!("at {}", end.address));
        let (mut events, arrived) = (end.take_events(), arrived.clone());
        runtime.spawn(async move {
            while let Some(event) = events.recv().await {
                if matches!(event, NetEvent::Packet { .. }) {
                    arrived.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        ends.push(end);
    }
    std::thread::spawn(move || {
        let mut said = 0;
        loop {
            std::thread::sleep(Duration::from_millis(2));
            let now = arrived.load(Ordering::Relaxed);
            if now > said {
                said = now;
                say(format!("arrived {now}"));
            }
        }
    });
    child::orders().for_each(drop);
    ends.into_iter().for_each(End::stop);
}
