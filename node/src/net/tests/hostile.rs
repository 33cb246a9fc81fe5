//! Peers that do not behave: another network, half frames, streams nobody reads, floods.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use futures::StreamExt;

use super::*;

#[path = "../../../tests/processes/hostile.rs"]
mod raw;

/// Runs a raw peer that dials `to` and speaks the packet protocol badly, and no other, until the test ends.
fn raw(secret: u8, to: &Node, blurts: Vec<Vec<u8>>) -> [u8; 32] {
    let keys = Keypair::ed25519_from_bytes([secret; 32]).unwrap();
    let packet = Names::new(&NETWORK).unwrap().packet;
    let mut swarm = raw::peer(&keys, to.address.clone(), packet, blurts);
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    id_of(secret)
}

#[tokio::test]
async fn another_network_is_refused_and_counted() {
    let mut a = start(config(60)).await;
    let mut stranger = config(61);
    stranger.network = [0xcd; 32];
    stranger.bootstrap = vec![a.address.clone()];
    let mut b = start(stranger).await;
    b.want(&[&a]).await;
    for node in [&mut a, &mut b] {
        node.until("wrong network", |event| match event {
            NetEvent::WrongNetwork => Some(()),
            NetEvent::LinkUp(_) => panic!("a link to another network"),
            _ => None,
        })
        .await;
        let counters = node.counted("disconnected", |c| c.connections == 0).await;
        assert!(counters.dropped(NetDrop::WrongNetwork) >= 1);
        assert_eq!(counters.links, 0);
    }
}

#[tokio::test]
async fn half_frames_are_counted_and_whole_ones_arrive() {
    let mut a = start(config(62)).await;
    let noise: Vec<u8> = (0..FRAME_LEN * 3).map(|i| (i * 131 % 251) as u8).collect();
    // Two and a half frames; three whole ones; one byte; nothing at all; three again.
    let blurts = vec![
        noise[..FRAME_LEN * 5 / 2].to_vec(),
        noise.clone(),
        vec![1],
        Vec::new(),
        noise,
    ];
    let peer = raw(63, &a, blurts);
    for _ in 0..8 {
        a.until("packet", |event| match event {
            NetEvent::Packet { from, packet } => {
                assert_eq!(from, peer);
                Some(packet)
            }
            _ => None,
        })
        .await;
    }
    let counters = a
        .counted("truncated", |c| c.dropped(NetDrop::Truncated) == 2)
        .await;
    assert_eq!(counters.packets_in, 8);
    // Still alive, and the connection too.
    assert_eq!(counters.peers, 1);
}

#[tokio::test]
async fn a_peer_that_does_not_read_fills_its_queue_and_loses_its_link() {
    let mut a = start(config(64)).await;
    let peer = raw(65, &a, vec![Vec::new()]);
    a.link(peer).await;
    // Far more than the connection's window, the socket's buffers and the queue hold.
    let mut sent = 0;
    while a.counters().await.dropped(NetDrop::QueueFull) < 100 {
        for _ in 0..link::QUEUE {
            a.send(NetCommand::Send {
                to: peer,
                packet: Box::new([1; FRAME_LEN]),
            })
            .await;
            sent += 1;
        }
        assert!(sent < 100_000, "the queue has no end");
    }
    // Five seconds without a byte going: the link goes down, and what was queued is counted.
    a.until("link down", |event| {
        matches!(event, NetEvent::LinkDown(id) if id == peer).then_some(())
    })
    .await;
    let counters = a.counted("all accounted for", |c| c.connections == 0).await;
    assert_eq!(counters.dropped(NetDrop::WriteTimeout), 1);
    let lost = counters.dropped(NetDrop::LinkClosed);
    // The queue, and the frames that were being written together.
    let most = (link::QUEUE + link::TOGETHER) as u64;
    assert!((1..=most).contains(&lost), "{lost}");
    assert_eq!(
        counters.packets_out + counters.dropped(NetDrop::QueueFull) + lost,
        sent
    );
}

#[tokio::test]
async fn a_flood_is_cut_to_the_rate_of_one_peer() {
    let (a, mut b) = (config(66), config(67));
    b.limits.frames_per_s = 0;
    b.limits.frame_burst = 20;
    let (a, mut b) = linked(a, b).await;
    for i in 0..50 {
        a.packet(&b, i).await;
    }
    b.counted("the rest", |c| c.dropped(NetDrop::RateLimited) == 30)
        .await;
    for i in 0..20 {
        assert_eq!(b.recv().await, i);
    }
}

#[tokio::test]
async fn a_node_that_does_not_listen_to_its_network_sheds_packets_only() {
    let (a, mut b) = (config(68), config(69));
    b.limits.events = 8;
    let (a, mut b) = linked(a, b).await;
    for i in 0..60 {
        a.packet(&b, i).await;
    }
    let counters = b.counted("all read", |c| c.packets_in == 60).await;
    let shed = counters.dropped(NetDrop::EventsFull);
    assert!((52..60).contains(&shed), "{shed}");
    a.stop().await;
    b.until("link down", |event| {
        matches!(event, NetEvent::LinkDown(_)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn packets_without_a_link_are_counted() {
    let (a, b) = (start(config(70)).await, start(config(71)).await);
    a.packet(&b, 1).await;
    a.send(NetCommand::Send {
        to: [0xff; 32],
        packet: Box::new([0; FRAME_LEN]),
    })
    .await;
    assert_eq!(a.counters().await.dropped(NetDrop::NoLink), 2);
}

#[tokio::test]
async fn connections_beyond_the_cap_are_refused() {
    let mut small = config(72);
    small.limits.connections = 2;
    small.limits.inbound = 1;
    let a = start(small).await;
    let mut others = Vec::new();
    for secret in 73..76 {
        let mut config = config(secret);
        config.bootstrap = vec![a.address.clone()];
        others.push(start(config).await);
    }
    let counters = a
        .counted("refused", |c| c.dropped(NetDrop::ConnectionDenied) >= 2)
        .await;
    assert!(counters.peers <= 2, "{counters:?}");
}

/// Length, then a protobuf message of Kademlia: its type, and fields.
fn kad(kind: u8, fields: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = vec![1 << 3, kind];
    for (number, bytes) in fields {
        assert!(bytes.len() < 128);
        message.extend([number << 3 | 2, bytes.len() as u8]);
        message.extend_from_slice(bytes);
    }
    assert!(message.len() < 128);
    let mut out = vec![message.len() as u8];
    out.extend(message);
    out
}

#[tokio::test]
async fn what_strangers_store_is_counted_and_not_kept() {
    let a = start(config(77)).await;
    let keys = Keypair::ed25519_from_bytes([78; 32]).unwrap();
    let own = keys.public().to_peer_id().to_bytes();
    let key = [7; 32];
    // PUT_VALUE with a record, ADD_PROVIDER with its sender as provider.
    let record = [&[1 << 3 | 2, 32][..], &key, &[2 << 3 | 2, 5], b"value"].concat();
    let address: Multiaddr = "/ip4/127.0.0.1/tcp/9".parse().unwrap();
    let address = address.to_vec();
    let mut provider = vec![1 << 3 | 2, own.len() as u8];
    provider.extend(&own);
    provider.extend([2 << 3 | 2, address.len() as u8]);
    provider.extend(&address);
    let mut blurts = vec![kad(0, &[(2, &key), (3, &record)])];
    blurts.push(kad(2, &[(2, &key), (9, &provider)]));
    let protocol = Names::new(&NETWORK).unwrap().kad;
    let mut peer = raw::peer(&keys, a.address.clone(), protocol, blurts);
    tokio::spawn(async move {
        loop {
            peer.select_next_some().await;
        }
    });
    let counters = a
        .counted("both refused", |c| c.dropped(NetDrop::StoreRefused) == 2)
        .await;
    assert_eq!(counters.served, 0);
    // Nobody finds it here.
    let mut asker = config(79);
    asker.bootstrap = vec![a.address.clone()];
    let mut asker = start(asker).await;
    asker.send(NetCommand::Lookup { key, many: true }).await;
    let found = asker
        .until("the lookup's end", |event| match event {
            NetEvent::LookupDone { found, .. } => Some(found),
            NetEvent::Found { .. } => panic!("a stranger's record"),
            _ => None,
        })
        .await;
    assert_eq!(found, 0);
}
