//! The relay process: links, threads that open packets, mixer and disk, and the instruments that measure them from within.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mix::sphinx::peel_batch;
use mix::time::Span;
use mix::{Class, KeyContext, Mixer, MixerConfig, Packet};
use node::core::KeyFile;
use node::disk::Disk;
use node::driver::peelers::Peelers;
use node::env::Clock;
use rustix::time::{ClockId, clock_gettime};
use storage::backend::memory::MemoryBackend;
use tokio::runtime::{Builder, Runtime};

use crate::child::{self, say};
use crate::departures::Watch;
use crate::end::{End, TCP, id_of, short_of};
use crate::ends::{RELAY, packets, relay_hop, sink_numbers};
use crate::lab::{self, EPOCH, NETWORK};
use crate::mixing::{Gauge, Mixing, commit};

/// Orders: `link ADDRESS…` (the sinks'), `mark` (what was spent and done so far), `hop` (the batched hop rate), `law` (what
/// the delays look like), `drops`.
pub(crate) fn relay() {
    let threads: usize = child::setting("THREADS").parse().unwrap();
    let mean = child::setting("MEAN").parse().unwrap();
    // As in `murmur up` all tasks share one runtime; apart, thread names tell where the time goes.
    let apart = child::setting("LAYOUT") == "apart";
    let watch = (child::setting("WATCH") == "yes").then(Watch::new);
    let links = runtime(if apart { "link" } else { "node" }, 2);
    let own = apart.then(|| runtime("mix", 1));
    let tap = watch.as_ref().map(|watch| watch.tap());
    let mut end = End::start_tapped(links.handle(), RELAY, TCP, tap);
    say(format!("at {}", end.address));
    let mut orders = child::orders();

    let sinks = orders.next().unwrap();
    let addresses = sinks.split(' ').skip(1).map(str::to_owned);
    let known = sink_numbers().map(id_of).zip(addresses).collect();
    end.link(&known);
    say("link");

    let gauge = Arc::new(Gauge::default());
    let dir = tempfile::tempdir().unwrap();
    let clock = Clock::start();
    let mixing = Mixing {
        mixer: mixer(mean, clock),
        peelers: (threads > 0).then(|| Peelers::start(threads, lab::rng(10)).unwrap()),
        disk: disk(dir.path()),
        clock,
        links: end.net.links.clone(),
        events: end.take_events(),
        peers: sink_numbers()
            .map(|secret| (short_of(secret), id_of(secret)))
            .collect::<BTreeMap<_, _>>(),
        gauge: gauge.clone(),
    };
    own.as_ref().unwrap_or(&links).spawn(mixing.run());

    let samples = packets(lab::size(1_024, 64), Class::Fast, 900);
    for order in orders {
        match order.as_str() {
            "hop" => say(format!("hop {:.0}", hop_rate(&samples))),
            "mark" => {
                let nanos = |name: &str| lab::cpu_of(name).as_nanos();
                say(format!(
                    "mark {} {} {} {} {} {} {}",
                    cpu(ClockId::ProcessCPUTime).as_nanos(),
                    gauge.relayed.load(Ordering::Relaxed),
                    gauge.commits.load(Ordering::Relaxed),
                    nanos("link"),
                    nanos("mix"),
                    nanos("peel"),
                    nanos("node"),
                ));
            }
            "drops" => say(format!(
                "drops {} in the mixer, {} late, {:?} in the network layer",
                gauge.dropped.load(Ordering::Relaxed),
                gauge.late.load(Ordering::Relaxed),
                end.counters().drops
            )),
            "law" => say(format!("law {}", watch.as_ref().unwrap().law(mean))),
            other => panic!("no order {other:?}"),
        }
    }
    end.stop();
}

fn runtime(name: &str, workers: usize) -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(workers)
        .thread_name(name)
        .enable_all()
        .build()
        .unwrap()
}

/// With the key of this epoch, all classes with the same mean delay.
fn mixer(mean_ms: u64, clock: Clock) -> Mixer {
    let mut config = MixerConfig::new(NETWORK, relay_hop().id);
    config.delays = [Span::from_millis(mean_ms); 3];
    // As a node that expects this load sets it: no packet pays for growth.
    config.replay_reserve = config.replay_cap;
    let mut mixer = Mixer::new(config, lab::rng(9));
    let (secret, _) = lab::relay(u64::from(RELAY));
    mixer
        .add_key(lab::epoch_key(secret, clock.now()), [])
        .unwrap();
    mixer
}

fn disk(dir: &std::path::Path) -> Disk<MemoryBackend> {
    let disk = Disk::new(MemoryBackend::new(), dir.to_owned()).unwrap();
    let sealed = vec![0; 101];
    disk.commit(&mut commit(KeyFile::Create {
        epoch: EPOCH,
        sealed,
    }))
    .unwrap();
    disk
}

/// Packets opened per CPU-second by this thread in batches of 64, and nothing else done with them.
fn hop_rate(samples: &[Packet]) -> f64 {
    let (secret, _) = lab::relay(u64::from(RELAY));
    let context = KeyContext {
        network: NETWORK,
        epoch: EPOCH,
        relay: relay_hop().id,
    };
    let mut spent = Duration::ZERO;
    let mut results = Vec::with_capacity(64);
    let mut batches = samples.to_vec();
    for batch in batches.chunks_mut(64) {
        let before = cpu(ClockId::ThreadCPUTime);
        peel_batch(&secret, &context, batch, &mut results);
        spent += cpu(ClockId::ThreadCPUTime) - before;
        assert!(results.iter().all(Result::is_ok));
    }
    samples.len() as f64 / spent.as_secs_f64()
}

fn cpu(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
