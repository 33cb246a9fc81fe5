//! A raw libp2p peer that opens streams of one of a node's protocols and writes whatever it likes.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "tests and benchmarks share this room"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncWriteExt, FutureExt, StreamExt};
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{ReadyUpgrade, UpgradeInfo, Version};
use libp2p::core::{Endpoint, OutboundUpgrade};
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::handler::OneShotHandler;
use libp2p::swarm::{
    Config, ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, SubstreamProtocol,
    Swarm, SwarmEvent, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, Transport, noise, tcp, yamux};

/// Bytes of a packet on a link.
pub const FRAME: usize = 2048;

/// One stream: bytes to write before it is closed.
#[derive(Debug)]
pub struct Blurt(StreamProtocol, Vec<u8>);

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

/// Written, or a stream of the node's, which is kept and never read.
#[derive(Debug)]
pub struct Done(Option<Stream>);

impl From<Stream> for Done {
    fn from(stream: Stream) -> Self {
        Self(Some(stream))
    }
}

/// See the module's text.
pub struct Raw {
    protocol: StreamProtocol,
    /// One per stream, the next when the last is written.
    blurts: VecDeque<Vec<u8>>,
    written: usize,
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
                self.written += 1;
                self.orders
                    .extend(self.blurts.pop_front().map(|bytes| (peer, bytes)));
            }
            // Refused: who waits for `written` notices.
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

/// The name of one of the network's protocols.
pub fn protocol(network: &[u8; 32], name: &str) -> StreamProtocol {
    let hex: String = network[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    StreamProtocol::try_from_owned(format!("/murmuration/{hex}/{name}")).unwrap()
}

/// A peer that dials `to` and writes each of `blurts` on a stream of its own, the next when the last is written. It does so while
/// somebody polls it.
pub fn peer(
    keys: &Keypair,
    to: Multiaddr,
    protocol: StreamProtocol,
    blurts: Vec<Vec<u8>>,
) -> Swarm<Raw> {
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(keys).unwrap())
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed();
    let behaviour = Raw {
        protocol,
        blurts: blurts.into(),
        written: 0,
        kept: Vec::new(),
        orders: VecDeque::new(),
    };
    let config =
        Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(60));
    let mut swarm = Swarm::new(transport, behaviour, keys.public().to_peer_id(), config);
    swarm.dial(to).unwrap();
    swarm
}

/// As [`peer`], with keys of its own; returns when all are written, with the connection in the returned value's hands.
pub async fn blurt(to: &str, protocol: &StreamProtocol, blurts: Vec<Vec<u8>>) -> impl Drop + use<> {
    let all = blurts.len();
    let keys = Keypair::generate_ed25519();
    let mut swarm = peer(&keys, to.parse().unwrap(), protocol.clone(), blurts);
    let work = async {
        while swarm.behaviour().written < all {
            // What is written is no event of the swarm's: it is looked at now and then.
            let next = tokio::time::timeout(Duration::from_millis(20), swarm.select_next_some());
            let Ok(event) = next.await else { continue };
            match event {
                SwarmEvent::OutgoingConnectionError { error, .. } => {
                    panic!("the raw peer can't connect: {error}")
                }
                SwarmEvent::ConnectionClosed { cause, .. } => {
                    panic!("the node closed the connection: {cause:?}")
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(300), work)
        .await
        .expect("all written");
    // It goes on serving its connection until dropped.
    Running(tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    }))
}

struct Running(tokio::task::JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}
