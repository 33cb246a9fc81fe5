//! Packet links: the behaviour that opens one packet substream per wanted peer and direction.
//!
//! A link is one unidirectional substream each way on one connection, carrying 2,048-byte frames and nothing else.
//! The behaviour knows which connections a peer has and which of them carries our packets; that connection's queue is in
//! [`Shared`], so that packets go straight there. Frames that arrive go from the handler straight to the event channel. The
//! bytes are moved in [`handler`]. Whom to dial is decided in `links.rs`. SPEC.md, "Network", 1 and 2.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::{ConnectionClosed, ConnectionEstablished, FromSwarm};
use libp2p::swarm::{
    CloseConnection, ConnectionDenied, ConnectionId, NetworkBehaviour, NotifyHandler, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;

use super::types::FRAME_LEN;
pub(crate) use handler::QUEUE;
use handler::{Handler, Order, Report};
pub(crate) use shared::Shared;
#[cfg(test)]
pub(crate) use writer::TOGETHER;

mod handler;
mod reader;
mod shared;
mod writer;

type Frame = Box<[u8; FRAME_LEN]>;

/// What changed about a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Packets can be sent to it.
    Up([u8; 32]),
    /// They no longer can.
    Down([u8; 32]),
    /// A frame could not be written in time: this connection is being closed and counts as gone.
    Stalled {
        peer: PeerId,
        connection: ConnectionId,
    },
}

struct Conn {
    queue: mpsc::Sender<Frame>,
    /// The node with the smaller id dialled it: of two connections both sides keep such a one.
    by_smaller: bool,
    /// We asked for an outbound stream on it.
    asked: bool,
    /// The outbound stream is open.
    ready: bool,
    /// Given up: a write stalled or the peer does not speak the protocol on it.
    dead: bool,
}

/// See the module's text.
pub(crate) struct Behaviour {
    own: PeerId,
    shared: Arc<Shared>,
    wanted: BTreeSet<PeerId>,
    /// Bounded by the connection limits.
    peers: BTreeMap<PeerId, BTreeMap<ConnectionId, Conn>>,
    up: BTreeSet<PeerId>,
    actions: VecDeque<ToSwarm<Event, Order>>,
    waker: Option<std::task::Waker>,
}

impl Behaviour {
    pub(crate) fn new(own: PeerId, shared: Arc<Shared>) -> Self {
        Self {
            own,
            shared,
            wanted: BTreeSet::new(),
            peers: BTreeMap::new(),
            up: BTreeSet::new(),
            actions: VecDeque::new(),
            waker: None,
        }
    }

    /// Replaces the set of peers whose links we open ourselves.
    pub(crate) fn set_wanted(&mut self, wanted: BTreeSet<PeerId>) {
        self.wanted = wanted;
        let peers: Vec<PeerId> = self
            .wanted
            .iter()
            .copied()
            .filter(|p| self.peers.contains_key(p))
            .collect();
        for peer in peers {
            self.settle(peer);
        }
    }

    /// Peers that packets can be sent to.
    pub(crate) fn up(&self) -> usize {
        self.up.len()
    }

    /// Connections that are open beside the one that carries the packets.
    pub(crate) fn surplus(&self) -> Vec<ConnectionId> {
        let mut surplus = Vec::new();
        for conns in self.peers.values().filter(|conns| conns.len() > 1) {
            let Some(best) = best(conns, |conn| !conn.dead) else {
                continue;
            };
            if !conns[&best].ready && conns.values().any(|conn| conn.ready) {
                // Its stream is still being opened: the other one carries the packets until then.
                continue;
            }
            surplus.extend(conns.keys().copied().filter(|id| *id != best));
        }
        surplus
    }

    /// Asks for a stream on the best connection if the link is wanted, and reports a change of the link.
    fn settle(&mut self, peer: PeerId) {
        if let Some(conns) = self.peers.get_mut(&peer)
            && self.wanted.contains(&peer)
            && let Some(id) = best(conns, |conn| !conn.dead)
            && let Some(conn) = conns.get_mut(&id)
            && !conn.asked
        {
            conn.asked = true;
            self.actions.push_back(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler: NotifyHandler::One(id),
                event: Order::Open,
            });
        }
        let queue = (self.peers.get(&peer))
            .and_then(|conns| carrier(conns))
            .map(|conn| conn.queue.clone());
        let ready = queue.is_some();
        if let Some(node) = dht::net::node_id(&peer) {
            self.shared.route(node, queue);
        }
        let changed = if ready {
            self.up.insert(peer)
        } else {
            self.up.remove(&peer)
        };
        if changed && let Some(node) = dht::net::node_id(&peer) {
            let event = if ready {
                Event::Up(node)
            } else {
                Event::Down(node)
            };
            self.actions.push_back(ToSwarm::GenerateEvent(event));
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn new_handler(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        dialer: Endpoint,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let Some(node) = dht::net::node_id(&peer) else {
            return Err(ConnectionDenied::new(std::io::Error::other(
                "the peer's key is not Ed25519",
            )));
        };
        let (queue, frames) = mpsc::channel(QUEUE);
        let conn = Conn {
            queue,
            by_smaller: dialer.is_dialer() == is_smaller(&self.own, &peer),
            asked: false,
            ready: false,
            dead: false,
        };
        // Only counted in once established: another behaviour may still refuse the connection.
        self.peers.entry(peer).or_default().insert(id, conn);
        Ok(Handler::new(node, frames, self.shared.clone()))
    }

    fn forget(&mut self, peer: PeerId, id: ConnectionId) {
        if let Some(conns) = self.peers.get_mut(&peer) {
            conns.remove(&id);
            if conns.is_empty() {
                self.peers.remove(&peer);
            }
        }
        self.settle(peer);
    }
}

/// Both sides order the two of them alike: by the bytes of the Ed25519 keys.
fn is_smaller(own: &PeerId, other: &PeerId) -> bool {
    dht::net::node_id(own) < dht::net::node_id(other)
}

/// The connection to keep: one the smaller id dialled, else the newest.
fn best(
    conns: &BTreeMap<ConnectionId, Conn>,
    fits: impl Fn(&Conn) -> bool,
) -> Option<ConnectionId> {
    conns
        .iter()
        .filter(|(_, conn)| fits(conn))
        .max_by_key(|(id, conn)| (conn.by_smaller, **id))
        .map(|(id, _)| *id)
}

/// The connection packets are written to: exactly one of a peer's.
fn carrier(conns: &BTreeMap<ConnectionId, Conn>) -> Option<&Conn> {
    best(conns, |conn| conn.ready && !conn.dead).and_then(|id| conns.get(&id))
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.new_handler(id, peer, Endpoint::Listener)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        role: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.new_handler(id, peer, role)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, .. }) => {
                self.settle(peer_id)
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                ..
            }) => {
                self.forget(peer_id, connection_id);
            }
            // Refused by another behaviour after we had made a handler.
            FromSwarm::DialFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.forget(peer, failure.connection_id);
                }
            }
            FromSwarm::ListenFailure(failure) => {
                if let Some(peer) = failure.peer_id {
                    self.forget(peer, failure.connection_id);
                }
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        report: THandlerOutEvent<Self>,
    ) {
        let Some(conn) = self
            .peers
            .get_mut(&peer)
            .and_then(|conns| conns.get_mut(&id))
        else {
            return;
        };
        match report {
            Report::Ready(ready) => conn.ready = ready,
            Report::Inbound => {
                // The other side wants the link: answer with a stream of our own.
                if !conn.asked && !conn.dead {
                    conn.asked = true;
                    self.actions.push_back(ToSwarm::NotifyHandler {
                        peer_id: peer,
                        handler: NotifyHandler::One(id),
                        event: Order::Open,
                    });
                }
            }
            Report::Unsupported => {
                conn.dead = true;
                conn.ready = false;
            }
            Report::Stalled => {
                conn.dead = true;
                conn.ready = false;
                self.actions.push_back(ToSwarm::CloseConnection {
                    peer_id: peer,
                    connection: CloseConnection::One(id),
                });
                self.actions
                    .push_back(ToSwarm::GenerateEvent(Event::Stalled {
                        peer,
                        connection: id,
                    }));
            }
        }
        self.settle(peer);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(action) = self.actions.pop_front() {
            return Poll::Ready(action);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
