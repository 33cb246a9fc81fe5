//! A stranger's control messages on topics nobody has: GRAFT, PRUNE and subscriptions, a million and more.
//!
//! They are written as gossipsub's own length-prefixed protobuf, as fast as the node takes them, on a stream that looks like any
//! neighbour's. 16 KiB of control messages is the most that the node reads at once.

use std::time::Duration;

use dht::network::NetworkParams;
use node::env::Clock;

use crate::child::Child;
use crate::hostile;
use crate::{lab, one};

/// Growth that is allowed, bytes.
const WANTED: u64 = 5 << 20;
/// Messages in one RPC: the node takes 16 KiB of control messages at once.
const TOGETHER: u64 = 200;
/// What the node's allocator and its buffers take for the first of them is no growth.
const WARM: u64 = 20_000;
/// Two looks at the memory, so far apart, must agree before it counts as settled.
const LOOK: Duration = Duration::from_secs(2);

pub(crate) fn measure() {
    let count: u64 = lab::size(1_000_000, 40_000);
    let root = tempfile::tempdir().unwrap();
    let network = root.path().join("one.network");
    let params = NetworkParams::demo(Clock::start().now());
    std::fs::write(&network, params.to_cbor()).unwrap();
    let (mut child, address) = one::start(&root.path().join("node"), &network, &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let protocol = hostile::protocol(&params.id().0, "meshsub/1.1.0");
    let mut peers = Vec::new();
    let mut send = |child: &mut Child, messages: Vec<u8>| {
        // One that is thrown out for its manners comes back under another name, and each leaves what it leaves.
        peers.push(runtime.block_on(hostile::blurt(&address, &protocol, vec![messages])));
        settled(child)
    };
    let start = settled(&mut child);
    let warm = send(&mut child, rpcs(0, WARM));
    let after = send(&mut child, rpcs(WARM, count));
    let grown = after.saturating_sub(warm);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "mesh/control: {count} GRAFT and PRUNE and {} subscriptions on as many topics: {:.1} MiB before, {:.1} MiB after {WARM} of \
         them, {:.1} MiB after all: grown by {:.2} MiB (wanted: {:.0})",
        count / TOGETHER,
        mib(start),
        mib(warm),
        mib(after),
        mib(grown),
        mib(WANTED)
    );
    assert!(grown <= WANTED, "a stranger's topics are kept");
    child.tell("stop");
    child.end();
}

/// The memory of the node's process once it has stopped changing.
fn settled(child: &mut Child) -> u64 {
    let mut last = 0;
    loop {
        let now = child.ask("memory").parse().unwrap();
        if now == last {
            return now;
        }
        last = now;
        std::thread::sleep(LOOK);
    }
}

/// GRAFT and PRUNE in turns from number `first` on, each on a topic of its own, and a subscription an RPC.
fn rpcs(first: u64, count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = first;
    while at < first + count {
        let end = (at + TOGETHER).min(first + count);
        let mut control = Vec::new();
        for number in at..end {
            let topic = field(1, format!("{number:016x}").as_bytes());
            if number % 2 == 0 {
                control.extend(field(3, &topic));
            } else {
                // For an hour: `backoff`, field 3, a varint.
                let backoff = [topic, [&[3 << 3][..], &varint(3_600)].concat()].concat();
                control.extend(field(4, &backoff));
            }
        }
        // `subscribe`, field 1, true; the topic, field 2.
        let wish = [
            vec![1 << 3, 1],
            field(2, format!("wish{at:016x}").as_bytes()),
        ]
        .concat();
        let rpc = [field(1, &wish), field(3, &control)].concat();
        out.extend(varint(rpc.len() as u64));
        out.extend(rpc);
        at = end;
    }
    out
}

/// A protobuf field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(varint(bytes.len() as u64));
    out.extend_from_slice(bytes);
    out
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
