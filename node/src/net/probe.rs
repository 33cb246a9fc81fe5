//! AutoNAT, asked of neighbours only, and kept from growing by what strangers say.
//!
//! Version 1 of the protocol, on purpose: a server of version 2 dials whatever address it is given, so that any stranger could
//! make this node knock at doors of its own network; of version 1 it dials the address the asker is seen under and no other, a
//! few times a minute. What libp2p's client does beside that is held back here: it keeps every address that any peer claims to
//! see us under, without end, and takes one peer's word for an address of ours. Whom to believe is decided in `reach.rs`.

use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::autonat::v1::{
    Behaviour as AutoNat, Config, Event, OutboundProbeError, OutboundProbeEvent, ResponseError,
};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::behaviour::FromSwarm;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent,
    ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

/// Between two questions until a few answers agree; then [`AGAIN`].
const ASK: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_secs(15 * 60);
/// One neighbour is asked again after this.
const SAME: Duration = Duration::from_secs(90);
/// Dials made for others in a minute, for one and for all.
const FOR_ONE: usize = 3;
const FOR_ALL: usize = 60;
/// Addresses tried for one question.
const TRIED: usize = 4;

/// See the module's text.
pub(super) struct Probe(AutoNat);

/// A neighbour has tried to reach us.
#[derive(Debug)]
pub(super) struct Probed {
    /// Who.
    pub(super) server: PeerId,
    /// Where it succeeded; `None`: nowhere.
    pub(super) reached: Option<Multiaddr>,
}

impl Probe {
    pub(super) fn new(own: PeerId) -> Self {
        let config = Config {
            timeout: Duration::from_secs(15),
            boot_delay: Duration::from_secs(2),
            retry_interval: ASK,
            refresh_interval: AGAIN,
            throttle_server_period: SAME,
            // Strangers choose to be connected to us; neighbours are chosen by nobody.
            use_connected: false,
            max_peer_addresses: TRIED,
            throttle_clients_period: Duration::from_secs(60),
            throttle_clients_peer_max: FOR_ONE,
            throttle_clients_global_max: FOR_ALL,
            // The nodes of one building reach each other under private addresses.
            only_global_ips: false,
            ..Config::default()
        };
        Self(AutoNat::new(own, config))
    }

    /// Whether a connected peer may be asked.
    pub(super) fn set_server(&mut self, peer: PeerId, is_server: bool) {
        if is_server {
            self.0.add_server(peer, None);
        } else {
            self.0.remove_server(&peer);
        }
    }
}

impl NetworkBehaviour for Probe {
    type ConnectionHandler = THandler<AutoNat>;
    type ToSwarm = Option<Probed>;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.0
            .handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.0
            .handle_established_outbound_connection(id, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // Kept for ever by the client, and not needed: the server puts in the address it sees us under.
        if !matches!(event, FromSwarm::NewExternalAddrCandidate(_)) {
            self.0.on_swarm_event(event);
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.0.on_connection_handler_event(peer, id, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.0.poll(cx) {
                // One server's word.
                Poll::Ready(ToSwarm::ExternalAddrConfirmed(_)) => {}
                Poll::Ready(action) => return Poll::Ready(action.map_out(probed)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Only what a neighbour found out counts, not that it was busy or had no wish to.
fn probed(event: Event) -> Option<Probed> {
    match event {
        Event::OutboundProbe(OutboundProbeEvent::Response { peer, address, .. }) => Some(Probed {
            server: peer,
            reached: Some(address),
        }),
        Event::OutboundProbe(OutboundProbeEvent::Error {
            peer: Some(server),
            error: OutboundProbeError::Response(ResponseError::DialError),
            ..
        }) => Some(Probed {
            server,
            reached: None,
        }),
        _ => None,
    }
}
