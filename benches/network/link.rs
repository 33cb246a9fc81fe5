//! One link and nothing else: frames a second, and what they cost either side.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use node::net::{NetCommand, NetEvent};
use tokio::runtime::Runtime;

use crate::end::End;
use crate::lab;

/// Packets on their way at most: below the queue of a link, which drops the newest when it is full.
const WINDOW: u64 = 48;

fn runtime(name: &str) -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .unwrap()
}

pub(crate) fn measure(what: &str, listen: &str) {
    let count = lab::size(100_000, 300);
    let (writer, reader) = (runtime("writer"), runtime("reader"));
    let mut from = End::start(writer.handle(), 11, listen);
    let mut to = End::start(reader.handle(), 12, listen);
    from.link(&BTreeMap::from([(to.id, to.address.clone())]));
    to.link(&BTreeMap::from([(from.id, from.address.clone())]));
    let arrived = Arc::new(AtomicU64::new(0));
    let mut events = to.take_events();
    let counted = arrived.clone();
    reader.spawn(async move {
        while let Some(event) = events.recv().await {
            if matches!(event, NetEvent::Packet { .. }) {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let cpu = || [lab::cpu_of("writer"), lab::cpu_of("reader")];
    let (started, before) = (Instant::now(), cpu());
    for sent in 0..count {
        while sent - arrived.load(Ordering::Relaxed) >= WINDOW {
            std::thread::yield_now();
        }
        let packet = Box::new([0x5a; mix::PACKET_LEN]);
        from.command(NetCommand::Send { to: to.id, packet });
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while arrived.load(Ordering::Relaxed) < count {
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
