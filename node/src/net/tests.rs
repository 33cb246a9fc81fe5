//! The network layer over real sockets on loopback. Every wait has a limit; nothing sleeps to let a race pass.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;

use libp2p::multiaddr::Protocol;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::*;

mod hostile;
mod overlay;

/// Above any honest wait, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(40);

const NETWORK: [u8; 32] = [0xab; 32];

struct Node {
    id: [u8; 32],
    address: Multiaddr,
    net: Net,
}

#[allow(
    clippy::disallowed_methods,
    reason = "real sockets need the real clock"
)]
fn clock() -> Clock {
    let start = std::time::Instant::now();
    Arc::new(move || start.elapsed().as_millis() as u64)
}

fn config(secret: u8) -> NetConfig {
    let mut config = NetConfig::new([secret; 32], NETWORK, clock());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    config.second_dial_ms = 500;
    config.seed = [secret; 32];
    config
}

fn id_of(secret: u8) -> [u8; 32] {
    dht::net::node_id(
        &Keypair::ed25519_from_bytes([secret; 32])
            .unwrap()
            .public()
            .to_peer_id(),
    )
    .unwrap()
}

async fn within<T>(what: &str, wait: impl Future<Output = T>) -> T {
    timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("waited too long: {what}"))
}

async fn start(config: NetConfig) -> Node {
    let id = id_of(config.secret[0]);
    let mut net = spawn(config).await.unwrap();
    let address = within("listening", async {
        loop {
            if let Some(NetEvent::Listening(address)) = net.events.recv().await {
                return address;
            }
        }
    })
    .await;
    Node { id, address, net }
}

impl Node {
    async fn send(&self, command: NetCommand) {
        self.net.commands.send(command).await.unwrap();
    }

    async fn want(&self, others: &[&Node]) {
        let wanted = others
            .iter()
            .map(|other| (other.id, vec![other.address.clone()]))
            .collect();
        self.send(NetCommand::Links { wanted }).await;
    }

    async fn packet(&self, to: &Node, first: u32) {
        let mut packet = Box::new([0x5a; FRAME_LEN]);
        packet[..4].copy_from_slice(&first.to_le_bytes());
        self.send(NetCommand::Send { to: to.id, packet }).await;
    }

    /// The next event that `pick` takes; the others are dropped.
    async fn until<T>(&mut self, what: &str, mut pick: impl FnMut(NetEvent) -> Option<T>) -> T {
        within(what, async {
            loop {
                if let Some(picked) = pick(self.net.events.recv().await.expect("the task ended")) {
                    return picked;
                }
            }
        })
        .await
    }

    async fn link(&mut self, other: [u8; 32]) {
        self.until("link", |event| {
            matches!(event, NetEvent::LinkUp(id) if id == other).then_some(())
        })
        .await;
    }

    async fn recv(&mut self) -> u32 {
        self.until("packet", |event| match event {
            NetEvent::Packet { packet, .. } => Some(number(&packet)),
            _ => None,
        })
        .await
    }

    async fn counters(&self) -> NetCounters {
        let (reply, counters) = oneshot::channel();
        self.send(NetCommand::Counters(reply)).await;
        within("counters", counters).await.unwrap()
    }

    /// Asks for the counters until `fits`.
    async fn counted(&self, what: &str, fits: impl Fn(&NetCounters) -> bool) -> NetCounters {
        within(what, async {
            loop {
                let counters = self.counters().await;
                if fits(&counters) {
                    return counters;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    async fn stop(self) {
        self.send(NetCommand::Shutdown).await;
        timeout(Duration::from_secs(2), self.net.task)
            .await
            .expect("shutdown takes at most 2 s")
            .unwrap();
    }
}

fn number(packet: &[u8; FRAME_LEN]) -> u32 {
    u32::from_le_bytes(packet[..4].try_into().unwrap())
}

async fn linked(a: NetConfig, b: NetConfig) -> (Node, Node) {
    let (mut a, mut b) = (start(a).await, start(b).await);
    a.want(&[&b]).await;
    b.want(&[&a]).await;
    a.link(b.id).await;
    b.link(a.id).await;
    (a, b)
}

/// Sends `count` frames with at most `window` on their way, and checks their order.
async fn exchange(a: &Node, b: &mut Node, count: u32, window: u32) {
    let mut sent = 0;
    for expected in 0..count {
        while sent < count && sent - expected < window {
            a.packet(b, sent).await;
            sent += 1;
        }
        assert_eq!(b.recv().await, expected);
    }
}

#[tokio::test]
async fn ten_thousand_frames_arrive_in_order() {
    let (tap, mut taken) = Tap::new(30_000);
    let mut fast = [config(1), config(2)];
    for config in &mut fast {
        config.limits.frames_per_s = 1_000_000;
        config.limits.frame_burst = 1_000_000;
        config.tap = Some(tap.clone());
    }
    let [a, b] = fast;
    let (mut a, mut b) = linked(a, b).await;
    exchange(&a, &mut b, 10_000, 48).await;
    exchange(&b, &mut a, 100, 48).await;
    let (out, into) = (a.counters().await, b.counters().await);
    assert_eq!((out.packets_out, into.packets_in), (10_000, 10_000));
    assert_eq!((into.packets_out, out.packets_in), (100, 100));
    assert_eq!(into.bytes_in, 10_000 * 2_048);
    assert_eq!((out.links, into.links), (1, 1));
    assert!(
        out.drops.is_empty() && into.drops.is_empty(),
        "{out:?} {into:?}"
    );
    // The tap has seen each frame where it was written and where it was read, and they are the same.
    assert_eq!(tap.lost(), 0);
    let (mut written, mut read) = (Vec::new(), Vec::new());
    while let Ok(frame) = taken.try_recv() {
        if (frame.from, frame.to) == (a.id, b.id) {
            if frame.at_write {
                &mut written
            } else {
                &mut read
            }
            .push(number(&frame.bytes));
        }
    }
    assert!(written.iter().copied().eq(0..10_000));
    assert_eq!(written, read);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn quic_links() {
    let (mut a, mut b) = (config(3), config(4));
    (a.limits.frame_burst, b.limits.frame_burst) = (10_000, 10_000);
    a.listen = vec!["/ip4/127.0.0.1/udp/0/quic-v1".parse().unwrap()];
    b.listen.clone_from(&a.listen);
    let (mut a, mut b) = linked(a, b).await;
    assert!(a.address.iter().any(|part| part == Protocol::QuicV1));
    exchange(&a, &mut b, 1_000, 32).await;
    exchange(&b, &mut a, 1_000, 32).await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn simultaneous_dials_end_with_one_working_link() {
    let (mut a, mut b) = (config(5), config(6));
    (a.second_dial_ms, b.second_dial_ms) = (0, 0);
    let (mut a, mut b) = linked(a, b).await;
    // Whether both dials got through or not: packets pass both ways now …
    exchange(&a, &mut b, 50, 16).await;
    exchange(&b, &mut a, 50, 16).await;
    // … and when at most one connection is left.
    a.counted("one connection", |c| c.connections == 1).await;
    b.counted("one connection", |c| c.connections == 1).await;
    exchange(&a, &mut b, 50, 16).await;
    exchange(&b, &mut a, 50, 16).await;
    assert_eq!(a.counters().await.links, 1);
}

#[tokio::test]
async fn a_wish_of_one_side_is_enough_for_a_link_both_ways() {
    let (mut a, mut b) = (start(config(7)).await, start(config(8)).await);
    a.want(&[&b]).await;
    a.link(b.id).await;
    b.link(a.id).await;
    exchange(&b, &mut a, 10, 4).await;
}

#[tokio::test]
async fn a_peer_that_restarts_on_its_port_is_linked_again() {
    let (mut a, b) = linked(config(9), config(10)).await;
    let mut again = config(10);
    let mut port = b.address.clone();
    port.pop();
    again.listen = vec![port.clone()];
    let id = b.id;
    b.stop().await;
    a.until("link down", |event| {
        matches!(event, NetEvent::LinkDown(down) if down == id).then_some(())
    })
    .await;
    a.send(NetCommand::Send {
        to: id,
        packet: Box::new([0; FRAME_LEN]),
    })
    .await;
    a.counted("no link", |c| c.dropped(NetDrop::NoLink) == 1)
        .await;
    let mut b = start(again).await;
    assert!(b.address.to_string().starts_with(&port.to_string()));
    // Only `a` still wants the link, and finds the way back by itself.
    a.link(id).await;
    exchange(&a, &mut b, 50, 16).await;
}

#[tokio::test]
async fn an_occupied_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut first = config(11);
    first.listen = vec![
        format!("/ip4/127.0.0.1/tcp/{}", taken.local_addr().unwrap().port())
            .parse()
            .unwrap(),
    ];
    let error = spawn(first).await.unwrap_err();
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(matches!(error, NetError::PortInUse { .. }), "{error:?}");
    assert!(
        error.to_string().contains(&port) && error.to_string().contains("in use"),
        "{error}"
    );

    // Another node on it, whose listener would share the port: TCP, then QUIC.
    for listen in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let mut one = config(12);
        one.listen = vec![listen.parse().unwrap()];
        let one = start(one).await;
        let mut two = config(13);
        let mut address = one.address.clone();
        address.pop();
        two.listen = vec![address];
        let error = spawn(two).await.unwrap_err();
        assert!(matches!(error, NetError::PortInUse { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn an_odd_address_is_explained() {
    for (listen, word) in [
        ("/dns4/example.org/tcp/7400", "expected"),
        ("/ip4/127.0.0.1/udp/7400", "expected"),
        ("/memory/7", "expected"),
        ("/ip4/192.0.2.1/tcp/0", "does not have"),
    ] {
        let mut odd = config(14);
        odd.listen = vec![listen.parse().unwrap()];
        let error = spawn(odd).await.unwrap_err();
        assert!(
            matches!(error, NetError::Address { .. }),
            "{listen}: {error:?}"
        );
        assert!(
            error.to_string().contains(listen) && error.to_string().contains(word),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_bootstrap_address_that_is_ourselves_or_nobody_does_no_harm() {
    let (mut a, b) = (start(config(15)).await, start(config(16)).await);
    let mut own = a.address.clone();
    own.pop();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody: Multiaddr = format!("/ip4/127.0.0.1/tcp/{nobody}").parse().unwrap();
    let mut other = b.address.clone();
    other.pop();
    a.send(NetCommand::Bootstrap {
        addresses: vec![own, a.address.clone(), nobody, other],
    })
    .await;
    let reason = a
        .until("refused", |event| match event {
            NetEvent::DialFailed { to: None, reason } => Some(reason),
            _ => None,
        })
        .await;
    assert_eq!(reason, "nobody listens there");
    a.counted("connected to the one that is there", |c| c.peers == 1)
        .await;
}

#[tokio::test]
async fn dropping_either_channel_ends_the_task() {
    let a = start(config(17)).await;
    drop(a.net.commands);
    timeout(Duration::from_secs(2), a.net.task)
        .await
        .unwrap()
        .unwrap();
    let b = start(config(18)).await;
    drop(b.net.events);
    // Noticed at the next thing that happens.
    b.net
        .commands
        .send(NetCommand::Unserve { key: [0; 32] })
        .await
        .unwrap();
    timeout(Duration::from_secs(2), b.net.task)
        .await
        .unwrap()
        .unwrap();
}
