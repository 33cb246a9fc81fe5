//! Peers that do not behave: another network, half frames, streams nobody reads, floods.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{ReadyUpgrade, UpgradeInfo};
use libp2p::core::{Endpoint, OutboundUpgrade};
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::handler::OneShotHandler;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, SubstreamProtocol, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, Stream, StreamProtocol};

use super::*;

/// Opens a packet stream, writes bytes, and closes it.
#[derive(Debug)]
struct Blurt(StreamProtocol, Vec<u8>);

impl UpgradeInfo for Blurt {
    type Info = StreamProtocol;
    type InfoIter = std::iter::Once<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once(self.0.clone())
    }
}

impl OutboundUpgrade<Stream> for Blurt {
    type Output = Done;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Done, std::io::Error>>;

    fn upgrade_outbound(self, mut stream: Stream, _: StreamProtocol) -> Self::Future {
        async move {
            stream.write_all(&self.1).await?;
            stream.close().await?;
            Ok(Done(None))
        }
        .boxed()
    }
}

/// Written, or a stream of the other side, which is kept and never read.
#[derive(Debug)]
struct Done(Option<Stream>);

impl From<Stream> for Done {
    fn from(stream: Stream) -> Self {
        Self(Some(stream))
    }
}

/// A raw libp2p peer that speaks the packet protocol badly, and no other.
struct Raw {
    protocol: StreamProtocol,
    /// One per stream, in order, the next when the last is written.
    blurts: VecDeque<Vec<u8>>,
    kept: Vec<Stream>,
    orders: VecDeque<(PeerId, Vec<u8>)>,
}

impl NetworkBehaviour for Raw {
    type ConnectionHandler = OneShotHandler<ReadyUpgrade<StreamProtocol>, Blurt, Done>;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let listen = SubstreamProtocol::new(ReadyUpgrade::new(self.protocol.clone()), ());
        Ok(OneShotHandler::new(listen, Default::default()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.handle_established_inbound_connection(id, peer, address, address)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionEstablished(established) = event
            && let Some(bytes) = self.blurts.pop_front()
        {
            self.orders.push_back((established.peer_id, bytes));
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {
            Ok(Done(Some(stream))) => self.kept.push(stream),
            Ok(Done(None)) => {
                if let Some(bytes) = self.blurts.pop_front() {
                    self.orders.push_back((peer, bytes));
                }
            }
            Err(_) => {}
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.orders.pop_front() {
            Some((peer_id, bytes)) => Poll::Ready(ToSwarm::NotifyHandler {
                peer_id,
                handler: NotifyHandler::Any,
                event: Blurt(self.protocol.clone(), bytes),
            }),
            None => Poll::Pending,
        }
    }
}

/// Runs a raw peer that dials `to`, until the test ends.
fn raw(secret: u8, to: &Node, blurts: Vec<Vec<u8>>) -> [u8; 32] {
    let keys = Keypair::ed25519_from_bytes([secret; 32]).unwrap();
    let behaviour = Raw {
        protocol: Names::new(&NETWORK).unwrap().packet,
        blurts: blurts.into(),
        kept: Vec::new(),
        orders: VecDeque::new(),
    };
    let idle = swarm::Config::with_tokio_executor().with_idle_connection_timeout(LIMIT);
    let mut swarm = Swarm::new(
        transport::build(&keys, false).unwrap(),
        behaviour,
        keys.public().to_peer_id(),
        idle,
    );
    swarm.dial(to.address.clone()).unwrap();
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
