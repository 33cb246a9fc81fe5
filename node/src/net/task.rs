//! The loop of the swarm: commands in, events out, timers. It only passes things on: what to dial is decided in
//! `links.rs`, what to serve and forward outside, and packets do not come through here on their way in.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dht::net::{Names, Output, Overlay};
use futures::StreamExt;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, ListenError, NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, connection_limits, memory_connection_limits, ping};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::link::{self, Shared};
use super::links::{Action, LinkManager};
use super::outbox::Outbox;
use super::probe::{Probe, Probed};
use super::reach::Reached;
use super::types::{Clock, FRAME_LEN, KeyWatch, NetCommand, NetCounters, NetDrop, NetEvent};

/// Commands handled before the swarm gets its turn.
const TURN: usize = 64;
/// A second connection to a peer is closed after this long, when both sides have long moved to the other one.
const SURPLUS_MS: u64 = 5_000;
/// A peer of another network is kept for so long that it can learn the same from us: its owner should see why.
const REFUSE_MS: u64 = 1_000;
const WRONG_NETWORK_EVERY: u64 = 60_000;

/// All protocols of a node. The limits come first: what they refuse no other part sees.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Event")]
pub(super) struct Behaviour {
    pub(super) limits: connection_limits::Behaviour,
    pub(super) memory: memory_connection_limits::Behaviour,
    pub(super) link: link::Behaviour,
    /// Finds out within half a minute that a silent peer is gone.
    pub(super) ping: ping::Behaviour,
    /// Finds out whether others can dial us.
    pub(super) probe: Toggle<Probe>,
    pub(super) overlay: dht::net::Behaviour,
}

#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on at once, never stored")]
pub(super) enum Event {
    Link(link::Event),
    Ping(ping::Event),
    Probe(Option<Probed>),
    Overlay(dht::net::Event),
}

impl From<link::Event> for Event {
    fn from(event: link::Event) -> Self {
        Self::Link(event)
    }
}

impl From<ping::Event> for Event {
    fn from(event: ping::Event) -> Self {
        Self::Ping(event)
    }
}

impl From<Option<Probed>> for Event {
    fn from(event: Option<Probed>) -> Self {
        Self::Probe(event)
    }
}

impl From<dht::net::Event> for Event {
    fn from(event: dht::net::Event) -> Self {
        Self::Overlay(event)
    }
}

impl From<std::convert::Infallible> for Event {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

pub(super) struct Task {
    swarm: Swarm<Behaviour>,
    overlay: Overlay,
    links: LinkManager,
    outbox: Outbox,
    shared: Arc<Shared>,
    clock: Clock,
    own: [u8; 32],
    /// Live connections of each peer, with the address seen. Bounded by the connection limits.
    peers: BTreeMap<PeerId, BTreeMap<ConnectionId, Multiaddr>>,
    /// Peers with a wanted link.
    wanted: BTreeSet<PeerId>,
    /// Bootstrap dials under way. Bounded by the dials `links` allows.
    bootstrap: BTreeMap<ConnectionId, usize>,
    /// Further connections of a peer, and when they are closed.
    surplus: BTreeMap<ConnectionId, u64>,
    surplus_at: Option<u64>,
    /// Peers of another network, and when they are disconnected. Bounded by the connection limits.
    refused: BTreeMap<PeerId, u64>,
    wrong_network_at: Option<u64>,
    listening: Vec<Multiaddr>,
    reached: Reached,
    /// What was told of it last.
    told: Option<(Vec<Multiaddr>, bool)>,
    /// The one address that we do not listen on and are reached under.
    mapped: Option<Multiaddr>,
    keys: Option<KeyWatch>,
}

impl Task {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        names: Names,
        links: LinkManager,
        shared: Arc<Shared>,
        events: mpsc::Sender<NetEvent>,
        keys: Option<KeyWatch>,
    ) -> Self {
        Self {
            keys,
            overlay: Overlay::new(*swarm.local_peer_id(), names),
            links,
            outbox: Outbox::new(events),
            clock: shared.clock.clone(),
            own: shared.own,
            shared,
            swarm,
            peers: BTreeMap::new(),
            wanted: BTreeSet::new(),
            bootstrap: BTreeMap::new(),
            surplus: BTreeMap::new(),
            surplus_at: None,
            refused: BTreeMap::new(),
            wrong_network_at: None,
            listening: Vec::new(),
            reached: Reached::default(),
            told: None,
            mapped: None,
        }
    }

    /// Runs until shutdown, or until the node drops its end of a channel.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<NetCommand>,
        bootstrap: Vec<Multiaddr>,
    ) {
        self.links.handle_bootstrap((self.clock)(), bootstrap);
        let mut due: Option<u64> = None;
        let mut timer: Pin<Box<Sleep>> = Box::pin(tokio::time::sleep(Duration::ZERO));
        loop {
            self.settle();
            let next = self.poll_timeout();
            if next != due {
                due = next;
                if let Some(at) = due {
                    timer = Box::pin(tokio::time::sleep(Duration::from_millis(
                        at.saturating_sub((self.clock)()),
                    )));
                }
            }
            tokio::select! {
                command = commands.recv() => {
                    let mut next = command;
                    for turn in 1.. {
                        match next {
                            None | Some(NetCommand::Shutdown) => return self.close().await,
                            Some(command) => self.handle_command(command),
                        }
                        if turn == TURN {
                            break;
                        }
                        match commands.try_recv() {
                            Ok(command) => next = Some(command),
                            Err(_) => break,
                        }
                    }
                }
                event = self.swarm.select_next_some() => self.handle_swarm_event(event),
                () = self.outbox.flush_one(), if self.outbox.is_waiting() => {}
                () = timer.as_mut(), if due.is_some() => {
                    due = None;
                    self.handle_timeout();
                }
            }
            if self.outbox.is_closed() {
                return self.close().await;
            }
        }
    }

    /// Closes every connection and gives the closing a second.
    async fn close(mut self) {
        let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.connected_peers().next().is_some() {
                let _ = self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), closing).await;
    }

    fn handle_command(&mut self, command: NetCommand) {
        match command {
            NetCommand::Send { to, packet } => self.shared.send(&to, packet),
            NetCommand::Links { wanted } => {
                let peers: BTreeSet<PeerId> = wanted
                    .iter()
                    .filter_map(|(id, _)| dht::net::peer_id(id))
                    .collect();
                let old = std::mem::replace(&mut self.wanted, peers.clone());
                if let Some(probe) = self.swarm.behaviour_mut().probe.as_mut() {
                    for peer in old.symmetric_difference(&peers) {
                        let is_server = peers.contains(peer) && self.peers.contains_key(peer);
                        probe.set_server(*peer, is_server);
                    }
                }
                self.swarm.behaviour_mut().link.set_wanted(peers);
                self.links.handle_wanted((self.clock)(), wanted);
            }
            NetCommand::Bootstrap { addresses } => {
                self.links.handle_bootstrap((self.clock)(), addresses)
            }
            NetCommand::Publish { data } => {
                let now = (self.clock)();
                self.overlay
                    .publish(&mut self.swarm.behaviour_mut().overlay, now, data);
            }
            NetCommand::Verdict { ticket, verdict } => {
                self.overlay
                    .verdict(&mut self.swarm.behaviour_mut().overlay, ticket, verdict);
            }
            NetCommand::Lookup { key, many } => {
                self.watch(&key, true);
                let now = (self.clock)();
                self.overlay
                    .lookup(&mut self.swarm.behaviour_mut().overlay, now, key, many);
            }
            NetCommand::Serve { key, value, ttl_ms } => {
                let now = (self.clock)();
                self.overlay.serve(
                    &mut self.swarm.behaviour_mut().overlay,
                    now,
                    key,
                    value,
                    ttl_ms,
                );
            }
            NetCommand::Unserve { key } => self
                .overlay
                .unserve(&mut self.swarm.behaviour_mut().overlay, &key),
            NetCommand::Sync {
                token,
                with,
                but,
                lot,
                request,
            } => match self.neighbour(with, &but, lot) {
                Some(peer) => {
                    let behaviour = &mut self.swarm.behaviour_mut().overlay;
                    self.overlay.sync(behaviour, &peer, token, request);
                }
                None => self.outbox.push(NetEvent::SyncFailed { token }),
            },
            NetCommand::SyncAnswer { ticket, response } => {
                let behaviour = &mut self.swarm.behaviour_mut().overlay;
                self.overlay.sync_answer(behaviour, ticket, response);
            }
            NetCommand::Counters(reply) => {
                // Whoever asked may have gone.
                let _ = reply.send(self.counters());
            }
            NetCommand::Shutdown => {}
        }
    }

    fn watch(&self, key: &[u8; 32], asked: bool) {
        if let Some(keys) = &self.keys {
            keys.see(key, asked);
        }
    }

    /// A connected peer to reconcile with. Strangers may make many connections to us, but not become wanted by it.
    fn neighbour(&self, with: Option<[u8; 32]>, but: &[[u8; 32]], lot: u64) -> Option<PeerId> {
        if let Some(id) = with {
            return dht::net::peer_id(&id).filter(|peer| self.peers.contains_key(peer));
        }
        let fits = |peer: &&PeerId| {
            let id = dht::net::node_id(peer);
            id.is_some_and(|id| !but.contains(&id)) && !self.refused.contains_key(*peer)
        };
        let all: Vec<&PeerId> = self.peers.keys().filter(fits).collect();
        let wanted: Vec<&PeerId> = (all.iter().copied())
            .filter(|peer| self.wanted.contains(*peer))
            .collect();
        let among = if wanted.is_empty() { all } else { wanted };
        let place = lot.checked_rem(among.len() as u64)?;
        among.get(place as usize).map(|peer| **peer)
    }

    fn handle_swarm_event(&mut self, event: SwarmEvent<Event>) {
        let now = (self.clock)();
        match event {
            SwarmEvent::Behaviour(Event::Overlay(event)) => {
                let peers = &self.peers;
                let seen = |peer: &PeerId| {
                    peers
                        .get(peer)
                        .and_then(|conns| conns.values().next_back().cloned())
                };
                self.overlay.handle_event(
                    &mut self.swarm.behaviour_mut().overlay,
                    now,
                    event,
                    seen,
                );
            }
            SwarmEvent::Behaviour(Event::Link(link::Event::Up(node))) => {
                self.links.handle_link_up(&node);
                self.outbox.push(NetEvent::LinkUp(node));
            }
            SwarmEvent::Behaviour(Event::Link(link::Event::Down(node))) => {
                self.outbox.push(NetEvent::LinkDown(node))
            }
            SwarmEvent::Behaviour(Event::Link(link::Event::Stalled { peer, connection })) => {
                // Closing may take as long as TCP keeps trying: from here on the connection does not count.
                self.forget(now, peer, connection);
            }
            SwarmEvent::Behaviour(Event::Ping(ping::Event {
                peer,
                connection,
                result: Err(failure),
            })) if !matches!(failure, ping::Failure::Unsupported) => {
                self.swarm.close_connection(connection);
                self.forget(now, peer, connection);
            }
            SwarmEvent::Behaviour(Event::Ping(_) | Event::Probe(None)) => {}
            SwarmEvent::Behaviour(Event::Probe(Some(Probed { server, reached }))) => {
                if let Some(node) = dht::net::node_id(&server) {
                    self.reached.handle_probe(node, reached);
                    self.tell_reach();
                }
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                let address = endpoint.get_remote_address().clone();
                let known = self.peers.entry(peer_id).or_default();
                known.insert(connection_id, address);
                let first = known.len() == 1;
                if !first && self.surplus_at.is_none() {
                    self.surplus_at = Some(now + SURPLUS_MS);
                }
                let index = self.bootstrap.remove(&connection_id);
                let Some(node) = dht::net::node_id(&peer_id) else {
                    return;
                };
                if first {
                    self.serve_probes(peer_id, true);
                    self.links.handle_connected(now, node);
                    self.outbox.push(NetEvent::Connected(self.peers.len()));
                }
                if let Some(index) = index {
                    self.links.handle_bootstrap_dialed(now, index, Some(node));
                }
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                ..
            } => {
                self.surplus.remove(&connection_id);
                self.forget(now, peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                self.handle_dial_error(now, connection_id, peer_id, &error);
            }
            SwarmEvent::IncomingConnectionError {
                error: ListenError::Denied { .. },
                ..
            } => {
                self.shared.count(NetDrop::ConnectionDenied);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                if let Ok(address) = address.with_p2p(*self.swarm.local_peer_id()) {
                    self.listening.push(address.clone());
                    self.outbox.push(NetEvent::Listening(address));
                    self.tell_reach();
                }
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                if let Ok(address) = address.with_p2p(*self.swarm.local_peer_id()) {
                    self.listening.retain(|known| *known != address);
                    self.tell_reach();
                }
            }
            SwarmEvent::ListenerClosed { reason, .. } => {
                let reason = reason
                    .err()
                    .map_or_else(|| "closed".into(), |e| e.to_string());
                self.outbox.push(NetEvent::ListenerClosed { reason });
            }
            _ => {}
        }
    }

    /// A connection ended or counts as ended.
    fn forget(&mut self, now: u64, peer: PeerId, connection: ConnectionId) {
        let Some(known) = self.peers.get_mut(&peer) else {
            return;
        };
        known.remove(&connection);
        if !known.is_empty() {
            return;
        }
        self.peers.remove(&peer);
        self.refused.remove(&peer);
        self.serve_probes(peer, false);
        self.overlay.handle_disconnected(&peer);
        if let Some(node) = dht::net::node_id(&peer) {
            self.links.handle_disconnected(now, node);
        }
        self.outbox.push(NetEvent::Connected(self.peers.len()));
    }

    /// A wanted peer is there to be asked whether it can dial us, or gone.
    fn serve_probes(&mut self, peer: PeerId, there: bool) {
        if self.wanted.contains(&peer)
            && let Some(probe) = self.swarm.behaviour_mut().probe.as_mut()
        {
            probe.set_server(peer, there);
        }
    }

    /// Says where we can be dialled, if that has changed: to the node, by identify, and by whether we serve lookups.
    fn tell_reach(&mut self) {
        let behind_nat = self.reached.is_behind_nat();
        let addresses = self.reached.advertised(&self.listening);
        let mapped = self.reached.mapped(&self.listening);
        if mapped != self.mapped {
            if let Some(old) = self.mapped.take() {
                self.swarm.remove_external_address(&old);
            }
            if let Some(new) = &mapped {
                self.swarm.add_external_address(new.clone());
            }
            self.mapped = mapped;
        }
        let state = (addresses, behind_nat);
        if self.told.as_ref() == Some(&state) || self.listening.is_empty() {
            return;
        }
        let overlay = &mut self.swarm.behaviour_mut().overlay;
        overlay.set_reachable(!behind_nat);
        self.told = Some(state.clone());
        let (addresses, behind_nat) = state;
        self.outbox.push(NetEvent::Reach {
            addresses,
            behind_nat,
        });
    }

    fn handle_dial_error(
        &mut self,
        now: u64,
        id: ConnectionId,
        peer: Option<PeerId>,
        error: &DialError,
    ) {
        let index = self.bootstrap.remove(&id);
        let node = peer.as_ref().and_then(dht::net::node_id);
        if matches!(error, DialError::Denied { .. }) {
            self.shared.count(NetDrop::ConnectionDenied);
        }
        if let Some(index) = index {
            if matches!(error, DialError::LocalPeerId { .. }) || node == Some(self.own) {
                self.links.handle_bootstrap_is_self(index);
                return;
            }
            self.links.handle_bootstrap_dialed(now, index, None);
        } else {
            // Kademlia dials too; only our own failures are news.
            match &node {
                Some(node) if self.links.is_dialing(node) => {
                    self.links.handle_dial_failed(now, node)
                }
                _ => return,
            }
        }
        self.outbox.push(NetEvent::DialFailed {
            to: node,
            reason: plain(error),
        });
    }

    /// Carries out what the state machines have decided.
    fn settle(&mut self) {
        while let Some(output) = self.overlay.poll() {
            match output {
                Output::Gossip { ticket, data } => {
                    self.outbox.push(NetEvent::Gossip { ticket, data })
                }
                Output::Found { key, value } => self.outbox.push(NetEvent::Found { key, value }),
                Output::LookupDone { key, found } => {
                    self.outbox.push(NetEvent::LookupDone { key, found })
                }
                Output::SyncRequest { ticket, from, data } => self
                    .outbox
                    .push(NetEvent::SyncRequest { ticket, from, data }),
                Output::SyncResponse { token, from, data } => self
                    .outbox
                    .push(NetEvent::SyncResponse { token, from, data }),
                Output::SyncFailed { token } => self.outbox.push(NetEvent::SyncFailed { token }),
                Output::WrongNetwork { peer } => self.refuse_network(peer),
                _ => {}
            }
        }
        while let Some(action) = self.links.poll() {
            self.act(action);
        }
    }

    fn act(&mut self, action: Action) {
        let now = (self.clock)();
        match action {
            Action::Dial { id, addresses } => {
                let Some(peer) = dht::net::peer_id(&id) else {
                    return self.links.handle_dial_failed(now, &id);
                };
                // A connection that is being closed still counts for the swarm, not for us.
                let dial = DialOpts::peer_id(peer).condition(PeerCondition::NotDialing);
                let dial = if addresses.is_empty() {
                    // Then libp2p asks the routing table.
                    dial.build()
                } else {
                    dial.addresses(addresses).build()
                };
                // Errors come as an event too, but for a condition that was not met.
                if let Err(DialError::DialPeerConditionFalse(_)) = self.swarm.dial(dial) {
                    self.links.handle_dial_failed(now, &id);
                }
            }
            Action::DialBootstrap { index, address } => {
                let dial = DialOpts::from(address);
                self.bootstrap.insert(dial.connection_id(), index);
                let id = dial.connection_id();
                if self.swarm.dial(dial).is_err() && self.bootstrap.contains_key(&id) {
                    // The event may not come for an address that cannot even be tried.
                    self.bootstrap.remove(&id);
                    self.links.handle_bootstrap_dialed(now, index, None);
                }
            }
            Action::Prune => {
                let mesh = self
                    .swarm
                    .behaviour()
                    .overlay
                    .gossip
                    .all_mesh_peers()
                    .filter_map(dht::net::node_id)
                    .collect();
                self.links.handle_prune(now, &mesh);
            }
            Action::Disconnect { id } => {
                if let Some(peer) = dht::net::peer_id(&id) {
                    let _ = self.swarm.disconnect_peer_id(peer);
                }
            }
        }
    }

    fn refuse_network(&mut self, peer: PeerId) {
        let now = (self.clock)();
        if self.refused.contains_key(&peer) || !self.peers.contains_key(&peer) {
            return;
        }
        self.refused.insert(peer, now + REFUSE_MS);
        self.shared.count(NetDrop::WrongNetwork);
        if let Some(node) = dht::net::node_id(&peer) {
            self.links.handle_wrong_network(now, &node);
        }
        if self
            .wrong_network_at
            .is_none_or(|at| now.saturating_sub(at) >= WRONG_NETWORK_EVERY)
        {
            self.wrong_network_at = Some(now);
            self.outbox.push(NetEvent::WrongNetwork);
        }
    }

    fn poll_timeout(&self) -> Option<u64> {
        [
            self.links.poll_timeout(),
            self.overlay.poll_timeout(),
            self.surplus_at,
            self.refused.values().min().copied(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn handle_timeout(&mut self) {
        let now = (self.clock)();
        self.links.handle_timeout(now);
        self.overlay
            .handle_timeout(&mut self.swarm.behaviour_mut().overlay, now);
        self.close_surplus(now);
        let due: Vec<PeerId> = (self.refused.iter())
            .filter(|(_, at)| **at <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            self.refused.remove(&peer);
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    /// Closes connections that have been surplus for a whole interval.
    fn close_surplus(&mut self, now: u64) {
        if self.surplus_at.is_none_or(|at| at > now) {
            return;
        }
        let still = self.swarm.behaviour().link.surplus();
        self.surplus.retain(|id, _| still.contains(id));
        for id in still {
            match self.surplus.get(&id) {
                None => {
                    self.surplus.insert(id, now + SURPLUS_MS);
                }
                Some(at) if *at <= now => {
                    self.surplus.remove(&id);
                    self.swarm.close_connection(id);
                }
                Some(_) => {}
            }
        }
        let several = self.peers.values().any(|known| known.len() > 1);
        self.surplus_at = several.then_some(now + SURPLUS_MS);
    }

    fn counters(&self) -> NetCounters {
        let overlay = self.overlay.counters();
        let mut drops = self.shared.drops();
        for (reason, count) in [
            (NetDrop::GossipShed, overlay.gossip_shed),
            (NetDrop::GossipRejected, overlay.gossip_rejected),
            (NetDrop::PublishFailed, overlay.publish_failed),
            (NetDrop::StoreRefused, overlay.store_refused),
            (NetDrop::ServeSkipped, overlay.serve_skipped),
            (NetDrop::LookupShed, overlay.lookups_shed),
            (NetDrop::SyncShed, overlay.sync_shed),
            (NetDrop::EventShed, self.outbox.shed()),
        ] {
            if count > 0 {
                drops.insert(reason, count);
            }
        }
        let packets_in = self.shared.packets_in.load(Ordering::Relaxed);
        let packets_out = self.shared.packets_out.load(Ordering::Relaxed);
        let behaviour = self.swarm.behaviour();
        NetCounters {
            drops,
            packets_in,
            packets_out,
            bytes_in: packets_in * FRAME_LEN as u64,
            bytes_out: packets_out * FRAME_LEN as u64,
            links: behaviour.link.up(),
            peers: self.peers.len(),
            connections: self.peers.values().map(BTreeMap::len).sum(),
            served: self.overlay.served(),
            mesh: behaviour.overlay.gossip.all_mesh_peers().count(),
            listening: self.listening.clone(),
            behind_nat: self.reached.is_behind_nat(),
        }
    }
}

/// A dial's error in words for a person, without the peer's address chain.
fn plain(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "no address is known".into(),
        DialError::WrongPeerId { .. } => "another node answers there".into(),
        DialError::LocalPeerId { .. } => "that is this node itself".into(),
        DialError::Denied { .. } => "this node has as many connections as it allows".into(),
        DialError::Transport(errors) => match errors.last().map(|(_, error)| innermost(error)) {
            Some(inner) if inner.contains("refused") => "nobody listens there".into(),
            Some(inner) if !inner.is_empty() => format!("not reachable: {inner}"),
            _ => "not reachable".into(),
        },
        _ => "the attempt was given up".into(),
    }
}

/// The transports wrap the system's error several times; the innermost says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
