//! Packets a second through one node on loopback, and the CPU time each costs it.
//!
//! Network layers run in one process, each on threads of its own: a source that sends packets built beforehand, a relay
//! (the real links, the real mixer, replay tags synced to disk before anything leaves), sinks that count. Between them are
//! real TCP connections with noise and yamux, as `murmur up` has them. CPU time is that of the relay's threads alone.
//! A second part measures one link without a mixer, over TCP and over QUIC. Not criterion: each run is one long stream.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that measures and prints"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use mix::sphinx::build;
use mix::time::{Moment, Span};
use mix::{BODY_LEN, Class, Exit, Hop, Mixer, MixerConfig, Packet, ShortId};
use node::core::{Commit, KeyFile};
use node::disk::Disk;
use node::net::{Clock, Net, NetCommand, NetConfig, NetCounters, NetEvent};
use storage::backend::memory::MemoryBackend;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

#[path = "shared/lab.rs"]
mod lab;

use lab::{EPOCH, NETWORK};

/// Packets on their way to the relay at most: below the queue of a link, which drops the newest when it is full.
const WINDOW: u64 = 48;
/// Links that the relay sends on over. A mesh has more; over a single one a burst after a sync overflows the link's queue.
const SINKS: u8 = 4;
/// Packets in the relay's pool beyond which the source pauses; the pool's own cap is 8,192.
const POOL: usize = 7_500;

fn main() {
    if !lab::skipped("network/relay") {
        for mean in lab::size(&[20, 200][..], &[20]) {
            relay(*mean);
        }
    }
    if !lab::skipped("network/link") {
        link("TCP", "/ip4/127.0.0.1/tcp/0");
        link("QUIC", "/ip4/127.0.0.1/udp/0/quic-v1");
    }
}

/// One network layer on a runtime of its own, whose threads bear its name.
struct End {
    id: [u8; 32],
    runtime: Runtime,
    net: Net,
    address: String,
}

impl End {
    fn start(name: &str, secret: u8, listen: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .enable_all()
            .build()
            .unwrap();
        let mut config = NetConfig::new([secret; 32], NETWORK.0, clock());
        config.listen = vec![listen.parse().unwrap()];
        config.second_dial_ms = 200;
        config.limits.frames_per_s = 10_000_000;
        config.limits.frame_burst = 10_000_000;
        let mut net = runtime.block_on(node::net::spawn(config)).unwrap();
        let address = runtime.block_on(async {
            loop {
                if let NetEvent::Listening(address) = net.events.recv().await.unwrap() {
                    return address.to_string();
                }
            }
        });
        let key = ed25519_dalek::SigningKey::from_bytes(&[secret; 32]);
        Self {
            id: key.verifying_key().to_bytes(),
            runtime,
            net,
            address,
        }
    }

    fn short(&self) -> ShortId {
        ShortId::derive(&NETWORK, &self.id)
    }

    fn command(&self, command: NetCommand) {
        self.net.commands.blocking_send(command).unwrap();
    }

    fn want(&self, others: &[&Self]) {
        let wanted = others
            .iter()
            .map(|other| (other.id, vec![other.address.parse().unwrap()]))
            .collect();
        self.command(NetCommand::Links { wanted });
    }

    /// Waits until packets can be sent to all of these.
    fn linked(&mut self, others: &[[u8; 32]]) {
        let mut missing = others.to_vec();
        while !missing.is_empty() {
            let event = self.net.events.blocking_recv().unwrap();
            if let NetEvent::LinkUp(up) = event {
                missing.retain(|id| *id != up);
            }
        }
    }

    fn counters(&self) -> NetCounters {
        let (reply, counters) = oneshot::channel();
        self.command(NetCommand::Counters(reply));
        counters.blocking_recv().unwrap()
    }

    fn stop(self) {
        // It may have ended by itself when its channels were dropped.
        let _ = self.net.commands.blocking_send(NetCommand::Shutdown);
        self.runtime.shutdown_timeout(Duration::from_secs(2));
    }
}

fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}

/// What source, relay and sink tell each other about their pace.
#[derive(Default)]
struct Pace {
    taken: AtomicU64,
    pool: AtomicUsize,
    arrived: AtomicU64,
}

/// Source → relay → sinks, with a mean delay of so many ms at the relay.
fn relay(mean_ms: u64) {
    let count = lab::size(30_000, 300);
    let listen = "/ip4/127.0.0.1/tcp/0";
    let mut source = End::start("source", 1, listen);
    let mut middle = End::start("relay", 2, listen);
    let mut sinks: Vec<_> = (0..SINKS)
        .map(|number| End::start("sink", 3 + number, listen))
        .collect();
    source.want(&[&middle]);
    let mut around: Vec<_> = sinks.iter().collect();
    around.push(&source);
    middle.want(&around);
    let around: Vec<_> = around.iter().map(|end| end.id).collect();
    source.linked(&[middle.id]);
    middle.linked(&around);
    for sink in &mut sinks {
        sink.want(&[&middle]);
        sink.linked(&[middle.id]);
    }
    let peers: BTreeMap<_, _> = sinks.iter().map(|sink| (sink.short(), sink.id)).collect();

    let (secret, mut hop) = lab::relay(2);
    hop.id = middle.short();
    let packets = packets(count, hop, peers.keys());
    let mut config = MixerConfig::new(NETWORK, hop.id);
    config.delays = [Span::from_millis(mean_ms); 3];
    let mut mixer = Mixer::new(config, lab::rng(9));
    let zero = Moment::from_secs(100);
    mixer.add_key(lab::epoch_key(secret, zero), []).unwrap();

    let pace = Arc::new(Pace::default());
    let dir = tempfile::tempdir().unwrap();
    let disk = Disk::new(MemoryBackend::new(), dir.path().to_owned()).unwrap();
    let sealed = vec![0; 101];
    disk.commit(&commit(KeyFile::Create {
        epoch: EPOCH,
        sealed,
    }))
    .unwrap();

    let started = Instant::now();
    let cpu = lab::cpu_of("relay");
    let mixing = {
        let End { runtime, net, .. } = &mut middle;
        let (commands, events) = (net.commands.clone(), take_events(net));
        let pace = pace.clone();
        runtime.spawn(mix(mixer, zero, disk, commands, events, peers, pace))
    };
    for sink in &mut sinks {
        let events = take_events(&mut sink.net);
        sink.runtime.spawn(arrivals(events, pace.clone()));
    }
    let mut sent = 0;
    for packet in packets {
        while sent - pace.taken.load(Ordering::Relaxed) >= WINDOW
            || pace.pool.load(Ordering::Relaxed) >= POOL
        {
            std::thread::sleep(Duration::from_micros(50));
        }
        let (to, packet) = (middle.id, packet.into_boxed());
        source.command(NetCommand::Send { to, packet });
        sent += 1;
    }
    // All that is not dropped has arrived once the pool is empty and the sink sees nothing new.
    let mut seen = 0;
    let mut quiet = Instant::now();
    let mut last = Instant::now();
    while pace.arrived.load(Ordering::Relaxed) < sent && quiet.elapsed() < Duration::from_secs(3) {
        let now = pace.arrived.load(Ordering::Relaxed);
        if now > seen {
            (seen, quiet) = (now, Instant::now());
        }
        last = Instant::now();
        std::thread::sleep(Duration::from_millis(2));
    }
    let spent = lab::cpu_of("relay") - cpu;
    let arrived = pace.arrived.load(Ordering::Relaxed);
    let time = if arrived == sent { last } else { quiet } - started;
    let drops = [source.counters().drops, middle.counters().drops];
    println!(
        "network/relay: mean delay {mean_ms} ms: {:.0} packets/s through the node, {:.1} µs of its CPU per packet; {arrived} of {sent} arrived in {time:.2?}, dropped at source and relay: {drops:?}",
        arrived as f64 / time.as_secs_f64(),
        spent.as_secs_f64() * 1e6 / arrived.max(1) as f64,
    );
    mixing.abort();
    assert!(arrived * 100 >= sent * 95, "lost more than one in twenty");
    source.stop();
    middle.stop();
    sinks.into_iter().for_each(End::stop);
}

/// Packets for `relay` that it sends on to `last`, to each in turn.
fn packets<'a>(
    count: usize,
    relay: Hop,
    last: impl Iterator<Item = &'a ShortId> + Clone,
) -> Vec<Packet> {
    let (_, mut end) = lab::relay(3);
    let rng = &mut lab::rng(7);
    last.cycle()
        .take(count)
        .map(|last| {
            end.id = *last;
            build(
                &NETWORK,
                &[relay, end],
                Class::Fast,
                Exit::Drop,
                &[0; BODY_LEN],
                rng,
            )
            .unwrap()
        })
        .collect()
}

type Events = tokio::sync::mpsc::Receiver<NetEvent>;
type Commands = tokio::sync::mpsc::Sender<NetCommand>;

/// The event channel, so that a task may own it.
fn take_events(net: &mut Net) -> Events {
    let (_, closed) = tokio::sync::mpsc::channel(1);
    std::mem::replace(&mut net.events, closed)
}

/// The relay's loop: what the node's driver does for its mixer, with one commit of tags at a time on a thread of its own.
async fn mix(
    mut mixer: Mixer,
    zero: Moment,
    disk: Disk<MemoryBackend>,
    commands: Commands,
    mut events: Events,
    peers: BTreeMap<ShortId, [u8; 32]>,
    pace: Arc<Pace>,
) {
    let start = Instant::now();
    let now = || zero + Span::from_micros(u64::try_from(start.elapsed().as_micros()).unwrap());
    let (synced, mut done) = tokio::sync::mpsc::channel(1);
    let mut syncing = false;
    loop {
        mixer.handle_timeout(now());
        while let Some((next, packet)) = mixer.poll_transmit() {
            let (to, packet) = (peers[&next], packet.into_boxed());
            if commands
                .send(NetCommand::Send { to, packet })
                .await
                .is_err()
            {
                return;
            }
        }
        pace.pool.store(mixer.pool_len(), Ordering::Relaxed);
        if !syncing {
            let mut tags = Vec::new();
            let mut seq = 0;
            while let Some(batch) = mixer.poll_tags() {
                tags.extend(batch.tags);
                seq = batch.seq;
            }
            if !tags.is_empty() {
                syncing = true;
                let (disk, synced) = (disk.clone(), synced.clone());
                tokio::task::spawn_blocking(move || {
                    disk.commit(&commit(KeyFile::Append { epoch: EPOCH, tags }))
                        .unwrap();
                    let _ = synced.blocking_send(seq);
                });
            }
        }
        // A driver looks at its timers at least this often, too.
        let due = mixer
            .poll_timeout()
            .map_or(50_000, |at| (at - now()).as_micros());
        tokio::select! {
            event = events.recv() => {
                let mut next = event;
                for _ in 0..64 {
                    match next {
                        Some(NetEvent::Packet { packet, .. }) => {
                            mixer.handle_packet(now(), Packet::from_boxed(packet));
                            pace.taken.fetch_add(1, Ordering::Relaxed);
                        }
                        Some(_) => {}
                        None => return,
                    }
                    match events.try_recv() {
                        Ok(more) => next = Some(more),
                        Err(_) => break,
                    }
                }
            }
            Some(seq) = done.recv() => {
                syncing = false;
                mixer.handle_synced(seq);
            }
            () = tokio::time::sleep(Duration::from_micros(due.min(50_000))) => {}
        }
    }
}

fn commit(write: KeyFile) -> Commit {
    Commit {
        seq: 1,
        state: storage::backend::Batch::default(),
        mailbox: storage::backend::Batch::default(),
        keys: vec![write],
    }
}

async fn arrivals(mut events: Events, pace: Arc<Pace>) {
    while let Some(event) = events.recv().await {
        if matches!(event, NetEvent::Packet { .. }) {
            pace.arrived.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One link and nothing else: frames a second, and what they cost either side.
fn link(what: &str, listen: &str) {
    let count = lab::size(100_000, 300);
    let mut from = End::start("writer", 11, listen);
    let mut to = End::start("reader", 12, listen);
    from.want(&[&to]);
    to.want(&[&from]);
    from.linked(&[to.id]);
    to.linked(&[from.id]);
    let pace = Arc::new(Pace::default());
    let events = take_events(&mut to.net);
    to.runtime.spawn(arrivals(events, pace.clone()));
    let cpu = || [lab::cpu_of("writer"), lab::cpu_of("reader")];
    let (started, before) = (Instant::now(), cpu());
    for sent in 0..count {
        while sent - pace.arrived.load(Ordering::Relaxed) >= WINDOW {
            std::thread::yield_now();
        }
        let packet = Box::new([0x5a; mix::PACKET_LEN]);
        from.command(NetCommand::Send { to: to.id, packet });
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while pace.arrived.load(Ordering::Relaxed) < count {
        assert!(Instant::now() < deadline, "frames were lost");
        std::thread::yield_now();
    }
    let time = started.elapsed();
    let after = cpu();
    let micros = |end: usize| (after[end] - before[end]).as_secs_f64() * 1e6 / count as f64;
    println!(
        "network/link: {what}: {:.0} frames/s, {:.1} µs of CPU per frame to write, {:.1} µs to read",
        count as f64 / time.as_secs_f64(),
        micros(0),
        micros(1),
    );
    from.stop();
    to.stop();
}
