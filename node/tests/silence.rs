//! What a node answers to a packet that it drops: nothing, whatever was wrong with it, as to one that it accepts.
//!
//! A neighbour with a real link sends packets to a live node through a proxy that counts every byte that comes back. The packets
//! are good cover, and each kind that is refused for what it says, made with the reference implementation of the packet format,
//! which writes what no honest sender would.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::vec_box,
    clippy::disallowed_methods
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libp2p::PeerId;
use mix::{EpochKey, NetworkId, ShortId};
use node::Node;
use node::config::{NetworkChoice, NodeConfig};
use node::core::StoredKey;
use node::disk::Disk;
use node::env::{Clock, entropy, monotonic_millis};
use node::net::{FRAME_LEN, Net, NetCommand, NetConfig, NetEvent};
use rand_core::Rng;
use storage::backend::memory::MemoryBackend;
use storage::vault::Vault;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

#[path = "../../mix/tests/reference/sphinx.rs"]
mod reference;

use reference::{Drawn, Hop, Order, build, build_with_tag};

/// Above any honest wait, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(90);
/// Packets of one kind sent at a time: fewer than a link's queue takes.
const TOGETHER: usize = 16;
/// How often each kind gets its turn. Once is enough to miss what belongs to no packet: pings, flow control, gossip.
const ROUNDS: usize = 6;
/// After a kind was counted, so that an answer would be counted with it. Too short a pause would hide answers from their own
/// kind, and show them at the next.
const PAUSE: Duration = Duration::from_millis(30);
/// Packets whose delay is the longest a sender can ask for; each is over the cap with a chance of 0.74 %.
const LONGEST: usize = 48;

/// What is sent, and the reason under which the node counts it; none for packets it accepts.
const KINDS: [(&str, Option<&str>); 10] = [
    ("cover that ends here", None),
    ("version", Some("version")),
    ("alpha", Some("alpha")),
    ("mac", Some("mac")),
    ("command", Some("command")),
    ("flags", Some("flags")),
    ("next is self", Some("next_is_self")),
    ("payload", Some("payload")),
    ("replay", Some("replay")),
    ("longest delay", Some("over_cap_delay")),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wire_does_not_tell_why_a_packet_was_dropped() {
    let home = tempfile::tempdir().unwrap();
    let mut params = dht::network::NetworkParams::local();
    params.genesis_ms = Clock::start().now().as_millis();
    let network = params.id();
    let mut config = NodeConfig::new(home.path().to_owned());
    config.network = NetworkChoice::Params(Box::new(params));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    let node = Node::start(config).await.unwrap();
    let (id, port) = whereabouts(&node).await;

    let proxy = Proxy::start(port).await;
    let mut net = neighbour(&network.0, id, proxy.port).await;
    let mut maker = Maker::new(network, id, home.path());
    let mut back: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for round in 0..ROUNDS {
        for turn in 0..KINDS.len() {
            // Each time in another order: what comes every so many bytes does not always meet the same kind.
            let (kind, reason) = KINDS[(turn * 3 + round) % KINDS.len()];
            maker.key = current_key(home.path());
            let packets = maker.make(kind);
            let count = packets.len() as u64;
            let (before, bytes) = (received(&node, reason).await, proxy.back());
            for packet in packets {
                net.links.send(&id, packet);
            }
            match reason {
                // Which of these is over the cap is the node's draw.
                Some("over_cap_delay") | None => maker.flush(&node, &net, &id).await,
                Some(_) => {
                    until(async || received(&node, reason).await >= before + count).await;
                }
            }
            sleep(PAUSE).await;
            back.entry(kind).or_default().push(proxy.back() - bytes);
        }
    }
    println!("bytes that came back, round by round");
    for (kind, bytes) in &back {
        println!("  {kind:<24}{bytes:?}");
    }
    let least = |kind: &str| back[kind].iter().min().copied();
    for (kind, _) in KINDS {
        assert_eq!(least(kind), least("cover that ends here"), "{kind}");
    }
    let over: u64 = received(&node, Some("over_cap_delay")).await;
    println!("{over} packets were over the delay's cap");
    // The neighbour has one connection, as at the start, and no packet came over it.
    assert_eq!(proxy.connections.load(Ordering::Relaxed), 1);
    while let Ok(event) = net.events.try_recv() {
        assert!(
            !matches!(event, NetEvent::LinkDown(_) | NetEvent::Packet { .. }),
            "{event:?}"
        );
    }
    assert!(proxy.back() > 0, "the proxy counts");
    net.commands.send(NetCommand::Shutdown).await.unwrap();
    node.stop().await.unwrap();
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    timeout(LIMIT, async {
        while !holds().await {
            sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("the node counts what it was sent");
}

async fn received(node: &Node, reason: Option<&str>) -> u64 {
    let counters = node.handle.counters().await.unwrap();
    let count = reason.and_then(|reason| counters.dropped.get(reason).copied());
    count.unwrap_or(0)
}

/// The node's id and port, as soon as it listens.
async fn whereabouts(node: &Node) -> ([u8; 32], u16) {
    loop {
        let view = node.handle.node().await.unwrap();
        if let Some(address) = view.listen.first() {
            let peer: PeerId = view.peer_id.parse().unwrap();
            let bytes = peer.to_bytes();
            let port = address.split('/').nth(4).unwrap().parse().unwrap();
            return (bytes[bytes.len() - 32..].try_into().unwrap(), port);
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The node's newest mix key that is usable now, from its disk.
fn current_key(home: &Path) -> EpochKey {
    let vault = Vault::new(
        std::fs::read(home.join("vault.key"))
            .unwrap()
            .try_into()
            .unwrap(),
    );
    let disk = Disk::new(MemoryBackend::new(), home.join("epochs")).unwrap();
    let now = Clock::start().now();
    let open = |stored: StoredKey| {
        let sealed = vault.open(&format!("epoch-key/{}", stored.epoch), &stored.sealed);
        EpochKey::from_bytes(sealed.unwrap().as_slice().try_into().unwrap()).unwrap()
    };
    let mut keys = disk.load_keys().unwrap().into_iter().map(open);
    keys.rfind(|key| key.is_usable(now))
        .expect("the node has a key of this epoch")
}

/// A network layer with a link to the node through the proxy.
async fn neighbour(network: &[u8; 32], id: [u8; 32], port: u16) -> Net {
    let mut net = node::net::spawn(NetConfig::new([7; 32], *network, monotonic_millis()))
        .await
        .unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
    let wanted = vec![(id, vec![address])];
    net.commands
        .send(NetCommand::Links { wanted })
        .await
        .unwrap();
    timeout(LIMIT, async {
        while !matches!(net.events.recv().await, Some(NetEvent::LinkUp(_))) {}
    })
    .await
    .expect("a link");
    net
}

/// Makes packets of each kind.
struct Maker {
    network: NetworkId,
    name: [u8; 16],
    key: EpochKey,
    rng: rand_chacha::ChaCha20Rng,
    /// Packets that the node has taken.
    taken: Vec<Box<[u8; FRAME_LEN]>>,
}

impl Maker {
    fn new(network: NetworkId, node: [u8; 32], home: &Path) -> Self {
        Self {
            network,
            name: ShortId::derive(&network, &node).0,
            key: current_key(home),
            rng: entropy().unwrap(),
            taken: Vec::new(),
        }
    }

    /// Waits until the node has taken what was sent before: a packet that is counted comes behind it.
    async fn flush(&mut self, node: &Node, net: &Net, id: &[u8; 32]) {
        let before = received(node, Some("version")).await;
        net.links.send(id, self.one("version", 0));
        until(async || received(node, Some("version")).await > before).await;
    }

    fn make(&mut self, kind: &str) -> Vec<Box<[u8; FRAME_LEN]>> {
        let count = if kind == "longest delay" {
            LONGEST
        } else {
            TOGETHER
        };
        (0..count).map(|place| self.one(kind, place)).collect()
    }

    fn one(&mut self, kind: &str, place: usize) -> Box<[u8; FRAME_LEN]> {
        let here = Hop {
            name: self.name,
            epoch: self.key.epoch,
            public: self.key.public().to_bytes(),
        };
        let (command, class) = match kind {
            "command" => (99, 0),
            "flags" => (reference::DROP, 0xf0),
            _ => (reference::DROP, 0),
        };
        let order = Order {
            command,
            class,
            id: None,
        };
        let mut drawn = vec![0; 1_024];
        self.rng.fill_bytes(&mut drawn);
        let mut path = vec![here.clone()];
        match kind {
            "next is self" => path.push(here),
            "longest delay" => {
                path.push(Hop {
                    name: [9; 16],
                    ..here
                });
                // The scalar, beta, the last hop's quantile, then the first one's.
                drawn[64 + 180 + 2..64 + 180 + 4].fill(0);
            }
            _ => {}
        }
        let tag = [u8::from(kind == "payload"); 16];
        let (network, body) = (&self.network.0, [0; 1_803]);
        let bytes = if kind == "payload" {
            build_with_tag(network, &path, &order, &tag, &body, &mut Drawn(&drawn))
        } else {
            build(network, &path, &order, &body, &mut Drawn(&drawn))
        };
        let mut packet: Box<[u8; FRAME_LEN]> = Box::new(bytes.try_into().unwrap());
        match kind {
            "version" => packet[0] = 7,
            "alpha" => packet[1..33].fill(0xff),
            "mac" => packet[33 + place] ^= 1,
            "replay" => packet = self.taken[place].clone(),
            "cover that ends here" => self.taken.insert(0, packet.clone()),
            _ => {}
        }
        packet
    }
}

/// A way to the node that counts the bytes coming back.
struct Proxy {
    port: u16,
    back: Arc<AtomicU64>,
    connections: Arc<AtomicU64>,
}

impl Proxy {
    async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (back, connections) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (counted, taken) = (back.clone(), connections.clone());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::Relaxed);
                let far = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(carry(near_read, far_write, None));
                tokio::spawn(carry(far_read, near_write, Some(counted.clone())));
            }
        });
        Self {
            port,
            back,
            connections,
        }
    }

    fn back(&self) -> u64 {
        self.back.load(Ordering::Relaxed)
    }
}

async fn carry(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    count: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if let Some(count) = &count {
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
