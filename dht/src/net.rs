//! Kademlia, gossip, reconciliation and identify over libp2p, and the plain translation of their events.
//!
//! [`Behaviour`] is the part of a swarm that finds and spreads records; [`Overlay`] is the state beside it: running
//! lookups, records served, bundles waiting for a verdict, bundles that could not be published yet. Neither decides
//! anything about records: what is valid, what to look up and what to serve comes from outside. Time is an argument
//! (milliseconds of any monotonic origin). Packet links and dialling are not here; they are the node's.
//!
//! Every protocol name carries the first four bytes of the network id, so that two networks never mix:
//!
//! | what | name |
//! |---|---|
//! | Kademlia | `/murmuration/<8 hex>/kad/1` |
//! | gossip protocol | `/murmuration/<8 hex>/meshsub/1.1.0` |
//! | gossip topic | `records/0` (the number is the cell; the protocol names the network) |
//! | identify's protocol version | `murmuration/<8 hex>` |
//! | reconciliation | `/murmuration/<8 hex>/sync/1` |
//! | packets | `/murmuration/<8 hex>/packet/1` |

use std::collections::VecDeque;
use std::fmt::Write as _;

use libp2p::identity::Keypair;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, PeerId, StreamProtocol, gossipsub, identify, kad, request_response};

pub use crate::bucket::Bucket;
pub use addresses::{Reach, reach_of};
pub use gossip::MAX_BUNDLE;
pub use records::{MAX_RECORD, SERVED_BYTES, SERVED_CAP};
pub use sync::{Frames, MAX_FRAME};

mod addresses;
mod gossip;
mod records;
mod sync;

/// What the rules say about a bundle that arrived by gossip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Good and new: forward it.
    Accept,
    /// Not useful, nobody's fault: do not forward it.
    Ignore,
    /// Against the rules: do not forward it, and the peer that sent it loses standing.
    Reject,
}

/// The names that keep networks apart.
#[derive(Debug, Clone)]
pub struct Names {
    /// Kademlia's protocol.
    pub kad: StreamProtocol,
    /// The packet links' protocol.
    pub packet: StreamProtocol,
    /// Reconciliation's protocol.
    pub sync: StreamProtocol,
    /// Prefix of gossipsub's protocols.
    pub gossip: String,
    /// The one gossip topic.
    pub topic: String,
    /// What identify says.
    pub identify: String,
}

impl Names {
    /// The names of the network with this id.
    ///
    /// # Errors
    /// [`SetupError`] if libp2p refuses one of them (it does not).
    pub fn new(network: &[u8; 32]) -> Result<Self, SetupError> {
        let mut hex = String::with_capacity(8);
        for byte in &network[..4] {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        let protocol = |name: &str| {
            StreamProtocol::try_from_owned(format!("/murmuration/{hex}/{name}/1"))
                .map_err(|e| SetupError(e.to_string()))
        };
        Ok(Self {
            kad: protocol("kad")?,
            packet: protocol("packet")?,
            sync: protocol("sync")?,
            gossip: format!("/murmuration/{hex}/meshsub"),
            topic: "records/0".to_owned(),
            identify: format!("murmuration/{hex}"),
        })
    }
}

/// libp2p refused a setting.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the overlay: {0}")]
pub struct SetupError(String);

/// The part of the swarm that finds and spreads records.
#[derive(NetworkBehaviour)]
#[behaviour(to_swarm = "Event")]
pub struct Behaviour {
    /// Lookups and serving.
    pub kad: kad::Behaviour<kad::store::MemoryStore>,
    /// Bundles of records.
    pub gossip:
        gossipsub::Behaviour<gossipsub::IdentityTransform, gossipsub::WhitelistSubscriptionFilter>,
    /// Requests to reconcile.
    pub sync: request_response::Behaviour<Frames>,
    /// Which network a peer is of, and where it listens.
    pub identify: identify::Behaviour,
}

impl Behaviour {
    /// Sets the four protocols up for one network.
    ///
    /// # Errors
    /// [`SetupError`] if libp2p refuses a setting: a mistake in this file.
    pub fn new(keys: &Keypair, names: &Names) -> Result<Self, SetupError> {
        // One constant agent for everybody: a version would tell releases apart. No cache of strangers' addresses.
        let identify = identify::Config::new(names.identify.clone(), keys.public())
            .with_agent_version("murmuration".into())
            .with_push_listen_addr_updates(true)
            .with_cache_size(0);
        Ok(Self {
            kad: records::behaviour(keys.public().to_peer_id(), names),
            gossip: gossip::behaviour(names).map_err(SetupError)?,
            sync: sync::behaviour(names),
            identify: identify::Behaviour::new(identify),
        })
    }

    /// Whether others can dial this node. One that can't asks, and is in nobody's routing table.
    pub fn set_reachable(&mut self, reachable: bool) {
        let mode = if reachable {
            kad::Mode::Server
        } else {
            kad::Mode::Client
        };
        self.kad.set_mode(Some(mode));
    }
}

/// An event of [`Behaviour`], for [`Overlay::handle_event`].
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "passed on at once, never stored")]
pub enum Event {
    /// Of Kademlia.
    Kad(kad::Event),
    /// Of gossipsub.
    Gossip(gossipsub::Event),
    /// Of reconciliation.
    Sync(request_response::Event<Vec<u8>, Vec<u8>>),
    /// Of identify.
    Identify(identify::Event),
}

impl From<kad::Event> for Event {
    fn from(event: kad::Event) -> Self {
        Self::Kad(event)
    }
}

impl From<gossipsub::Event> for Event {
    fn from(event: gossipsub::Event) -> Self {
        Self::Gossip(event)
    }
}

impl From<request_response::Event<Vec<u8>, Vec<u8>>> for Event {
    fn from(event: request_response::Event<Vec<u8>, Vec<u8>>) -> Self {
        Self::Sync(event)
    }
}

impl From<identify::Event> for Event {
    fn from(event: identify::Event) -> Self {
        Self::Identify(event)
    }
}

/// What happened, for the layer above.
#[derive(Debug)]
#[non_exhaustive]
pub enum Output {
    /// A bundle arrived and waits for [`Overlay::verdict`].
    Gossip {
        /// Names the bundle in the verdict.
        ticket: u64,
        /// The bundle.
        data: Vec<u8>,
    },
    /// A lookup found a value, not yet verified.
    Found {
        /// The key looked up.
        key: [u8; 32],
        /// The value.
        value: Vec<u8>,
    },
    /// A lookup ended.
    LookupDone {
        /// The key looked up.
        key: [u8; 32],
        /// How many distinct values it found.
        found: usize,
    },
    /// A peer asks to reconcile and waits for [`Overlay::sync_answer`].
    SyncRequest {
        /// Names the request in the answer.
        ticket: u64,
        /// Node id of the peer.
        from: [u8; 32],
        /// The request.
        data: Vec<u8>,
    },
    /// A peer has answered a request of ours.
    SyncResponse {
        /// The token of the request.
        token: u64,
        /// Node id of the peer.
        from: [u8; 32],
        /// The answer.
        data: Vec<u8>,
    },
    /// A request of ours stays without an answer.
    SyncFailed {
        /// The token of the request.
        token: u64,
    },
    /// This peer is of another network: disconnect it.
    WrongNetwork {
        /// The peer.
        peer: PeerId,
    },
    /// This peer is of our network and, if it listens where we can reach it, in the routing table.
    Identified {
        /// The peer.
        peer: PeerId,
    },
}

/// What the overlay dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverlayCounters {
    /// Bundles from a peer above its rate, or not judged in time.
    pub gossip_shed: u64,
    /// Bundles rejected by verdict.
    pub gossip_rejected: u64,
    /// Bundles never published: too large, or nobody to publish to for too long.
    pub publish_failed: u64,
    /// Records strangers wanted to store here.
    pub store_refused: u64,
    /// Records not served: too far from the key, too large, or no room.
    pub serve_skipped: u64,
    /// Lookups refused because too many were waiting.
    pub lookups_shed: u64,
    /// Requests to reconcile given up because too many were waiting.
    pub sync_shed: u64,
}

/// The state beside [`Behaviour`]. Feed it every event of the behaviour ([`handle_event`](Self::handle_event)) and
/// every closed connection, call [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout),
/// and drain [`poll`](Self::poll) after each call.
#[derive(Debug)]
pub struct Overlay {
    names: Names,
    records: records::Records,
    gossip: gossip::Gossip,
    sync: sync::Sync,
    outputs: VecDeque<Output>,
    counters: OverlayCounters,
}

impl Overlay {
    /// Nothing known, nothing served.
    pub fn new(own: PeerId, names: Names) -> Self {
        Self {
            records: records::Records::new(own),
            gossip: gossip::Gossip::new(&names),
            sync: sync::Sync::default(),
            names,
            outputs: VecDeque::new(),
            counters: OverlayCounters::default(),
        }
    }

    /// Takes one event of the behaviour. `remote` tells a connected peer's address, for judging what it claims.
    pub fn handle_event(
        &mut self,
        behaviour: &mut Behaviour,
        now: u64,
        event: Event,
        remote: impl Fn(&PeerId) -> Option<Multiaddr>,
    ) {
        match event {
            Event::Kad(event) => {
                self.records.handle_event(
                    &mut behaviour.kad,
                    event,
                    &mut self.outputs,
                    &mut self.counters,
                );
            }
            Event::Gossip(event) => {
                self.gossip.handle_event(
                    &mut behaviour.gossip,
                    now,
                    event,
                    &mut self.outputs,
                    &mut self.counters,
                );
            }
            Event::Sync(event) => {
                self.sync
                    .handle_event(event, &mut self.outputs, &mut self.counters);
            }
            Event::Identify(identify::Event::Received { peer_id, info, .. }) => {
                if info.protocol_version != self.names.identify {
                    behaviour.kad.remove_peer(&peer_id);
                    self.outputs
                        .push_back(Output::WrongNetwork { peer: peer_id });
                    return;
                }
                let usable =
                    addresses::usable(&peer_id, info.listen_addrs, remote(&peer_id).as_ref());
                records::learn(&mut behaviour.kad, &peer_id, usable);
                self.records.start_waiting(&mut behaviour.kad);
                self.outputs.push_back(Output::Identified { peer: peer_id });
            }
            Event::Identify(_) => {}
        }
    }

    /// The last connection to `peer` ended.
    pub fn handle_disconnected(&mut self, peer: &PeerId) {
        self.gossip.forget(peer);
    }

    /// Publishes a bundle; keeps and retries it while nobody listens.
    pub fn publish(&mut self, behaviour: &mut Behaviour, now: u64, data: Vec<u8>) {
        self.gossip
            .publish(&mut behaviour.gossip, now, data, &mut self.counters);
    }

    /// Judges a bundle; unknown or repeated tickets are ignored.
    pub fn verdict(&mut self, behaviour: &mut Behaviour, ticket: u64, verdict: Verdict) {
        self.gossip
            .verdict(&mut behaviour.gossip, ticket, verdict, &mut self.counters);
    }

    /// Asks a connected peer to reconcile. Ends with [`Output::SyncResponse`] or [`Output::SyncFailed`].
    pub fn sync(&mut self, behaviour: &mut Behaviour, to: &PeerId, token: u64, request: Vec<u8>) {
        self.sync
            .ask(&mut behaviour.sync, to, token, request, &mut self.outputs);
    }

    /// Answers a peer's request to reconcile; with `None` it stays without an answer. Unknown tickets are ignored.
    pub fn sync_answer(
        &mut self,
        behaviour: &mut Behaviour,
        ticket: u64,
        response: Option<Vec<u8>>,
    ) {
        self.sync.answer(&mut behaviour.sync, ticket, response);
    }

    /// Looks a record up: the first value, or with `many` up to three distinct ones.
    pub fn lookup(&mut self, behaviour: &mut Behaviour, now: u64, key: [u8; 32], many: bool) {
        self.records.lookup(
            &mut behaviour.kad,
            now,
            key,
            many,
            &mut self.outputs,
            &mut self.counters,
        );
    }

    /// Serves a record if this node is among the nearest it knows to the key.
    pub fn serve(
        &mut self,
        behaviour: &mut Behaviour,
        now: u64,
        key: [u8; 32],
        value: Vec<u8>,
        ttl_ms: u64,
    ) {
        self.records.serve(
            &mut behaviour.kad,
            now,
            key,
            value,
            ttl_ms,
            &mut self.counters,
        );
    }

    /// Stops serving a record.
    pub fn unserve(&mut self, behaviour: &mut Behaviour, key: &[u8; 32]) {
        self.records.unserve(&mut behaviour.kad, key);
    }

    /// The next thing that happened.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        [self.records.poll_timeout(), self.gossip.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends what has lasted too long and retries what is due.
    pub fn handle_timeout(&mut self, behaviour: &mut Behaviour, now: u64) {
        self.records
            .handle_timeout(&mut behaviour.kad, now, &mut self.outputs);
        self.gossip
            .handle_timeout(&mut behaviour.gossip, now, &mut self.counters);
    }

    /// What was dropped so far.
    pub fn counters(&self) -> OverlayCounters {
        self.counters
    }

    /// Records served now.
    pub fn served(&self) -> usize {
        self.records.served()
    }

    /// Bytes of the records served now.
    pub fn served_bytes(&self) -> usize {
        self.records.served_bytes()
    }
}

/// What stands before the key in an Ed25519 peer id: identity multihash (0) of 36 bytes, which are the protobuf of a
/// public key: field 1 (type) = 1 (Ed25519), field 2 (data) = 32 bytes.
const KEY_PREFIX: [u8; 6] = [0, 36, 8, 1, 18, 32];

/// The peer id of a node. Not checked to be a point of the curve: nobody can prove to own one that is not.
pub fn peer_id(node: &[u8; 32]) -> Option<PeerId> {
    let mut bytes = [0; 38];
    bytes[..6].copy_from_slice(&KEY_PREFIX);
    bytes[6..].copy_from_slice(node);
    PeerId::from_bytes(&bytes).ok()
}

/// The node id in a peer id. `None` for peers whose key is not Ed25519.
pub fn node_id(peer: &PeerId) -> Option<[u8; 32]> {
    let hash = peer.as_ref();
    if hash.code() != 0 {
        return None;
    }
    hash.digest()
        .strip_prefix(&KEY_PREFIX[2..])?
        .try_into()
        .ok()
}

#[cfg(test)]
mod tests;
