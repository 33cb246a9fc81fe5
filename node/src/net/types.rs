//! What the network layer is asked and what it tells: configuration, commands, events, counters.
//!
//! Node and network ids are plain 32-byte arrays here (an Ed25519 public key; the BLAKE3 hash of the network's
//! parameters), so that this layer knows nothing of records, epochs or packets beyond their size.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use libp2p::Multiaddr;
use tokio::sync::{mpsc, oneshot};

pub use dht::net::Verdict;

/// Bytes of a packet on a link, always.
pub const FRAME_LEN: usize = 2048;

/// Milliseconds of a monotonic clock with any origin. `env.rs` gives the real one.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Everything the network layer needs to know at start.
pub struct NetConfig {
    /// The Ed25519 secret of this node: its public half is the node id and the libp2p peer id.
    pub secret: [u8; 32],
    /// The network id: goes into the protocol names, so that networks never mix.
    pub network: [u8; 32],
    /// Where to listen, for example `/ip4/0.0.0.0/tcp/7400`.
    pub listen: Vec<Multiaddr>,
    /// Peers to dial first, with or without `/p2p/…`.
    pub bootstrap: Vec<Multiaddr>,
    /// Dial QUIC addresses too. Listening on a `/quic-v1` address switches it on.
    pub quic: bool,
    /// Caps and rates.
    pub limits: Limits,
    /// How long the node with the larger id waits before it dials a wanted link itself, in ms.
    pub second_dial_ms: u64,
    /// Monotonic milliseconds.
    pub clock: Clock,
    /// Seed of the jitter of dial retries.
    pub seed: [u8; 32],
    /// Copies of every frame written and read: for tests that look at all links.
    pub tap: Option<Tap>,
    /// Every key looked up and served: for tests, too.
    pub keys: Option<KeyWatch>,
}

impl NetConfig {
    /// A node that listens nowhere and knows nobody, with the default limits.
    pub fn new(secret: [u8; 32], network: [u8; 32], clock: Clock) -> Self {
        Self {
            secret,
            network,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            quic: false,
            limits: Limits::default(),
            second_dial_ms: 3_000,
            clock,
            seed: [0; 32],
            tap: None,
            keys: None,
        }
    }
}

/// Caps and rates of one node's network layer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at most, both directions together.
    pub connections: u32,
    /// Of these, inbound ones at most, so that strangers cannot take every place.
    pub inbound: u32,
    /// Above this many peers, connections nobody needs are closed.
    pub high_water: usize,
    /// Frames per second accepted from one peer …
    pub frames_per_s: u32,
    /// … and how many at once.
    pub frame_burst: u32,
    /// No new connection while the process holds more memory than this (bytes); `None`: 90 % of the machine's.
    pub memory: Option<usize>,
    /// Capacity of the command channel.
    pub commands: usize,
    /// Capacity of the event channel; packets beyond it are dropped and counted.
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 640,
            inbound: 512,
            high_water: 200,
            frames_per_s: 400,
            frame_burst: 800,
            memory: None,
            commands: 1_024,
            events: 4_096,
        }
    }
}

/// What the rest of the node asks of the network.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetCommand {
    /// Sends one packet over the link to a peer; without a link it is a counted drop.
    Send {
        /// Node id of the peer.
        to: [u8; 32],
        /// The packet.
        packet: Box<[u8; FRAME_LEN]>,
    },
    /// Publishes a bundle of records by gossip (at most 32 KiB).
    Publish {
        /// The bundle.
        data: Vec<u8>,
    },
    /// Answers a [`NetEvent::Gossip`]: only an accepted bundle is forwarded.
    Verdict {
        /// The ticket of the event.
        ticket: u64,
        /// What to do with it.
        verdict: Verdict,
    },
    /// Replaces the set of links that must be up. Addresses may be empty (then the routing table is asked).
    Links {
        /// Peers and where they listen.
        wanted: Vec<([u8; 32], Vec<Multiaddr>)>,
    },
    /// Looks a record up by Kademlia. Ends with [`NetEvent::LookupDone`].
    Lookup {
        /// The record's key.
        key: [u8; 32],
        /// `false`: done at the first value. `true`: up to three distinct values are collected.
        many: bool,
    },
    /// Serves a record to other nodes' lookups, if this node is among the nearest it knows to the key.
    Serve {
        /// The record's key.
        key: [u8; 32],
        /// The record, at most 14 KiB.
        value: Vec<u8>,
        /// For how long.
        ttl_ms: u64,
    },
    /// Stops serving a record.
    Unserve {
        /// The record's key.
        key: [u8; 32],
    },
    /// Asks a connected peer to reconcile. Ends with [`NetEvent::SyncResponse`] or [`NetEvent::SyncFailed`].
    Sync {
        /// Names the exchange in the answer.
        token: u64,
        /// Whom to ask; `None`: any peer …
        with: Option<[u8; 32]>,
        /// … but these, of those with a wanted link if there are such …
        but: Vec<[u8; 32]>,
        /// … the one at this place, modulo their number.
        lot: u64,
        /// The request.
        request: Vec<u8>,
    },
    /// Answers a [`NetEvent::SyncRequest`]; `None`: it stays without an answer.
    SyncAnswer {
        /// The ticket of the event.
        ticket: u64,
        /// The answer.
        response: Option<Vec<u8>>,
    },
    /// Dials further bootstrap peers, as if they had been in the configuration.
    Bootstrap {
        /// Where they listen.
        addresses: Vec<Multiaddr>,
    },
    /// Asks for the counters.
    Counters(oneshot::Sender<NetCounters>),
    /// Closes everything and ends the task.
    Shutdown,
}

/// What the network tells the rest of the node.
#[derive(Debug)]
#[non_exhaustive]
pub enum NetEvent {
    /// A listener is ready; the address ends with `/p2p/…`.
    Listening(Multiaddr),
    /// Where others can dial this node, or that nobody can: after a listener is ready, and when neighbours have found out.
    Reach {
        /// What a descriptor should carry, without `/p2p/…`.
        addresses: Vec<Multiaddr>,
        /// Only this node can make connections.
        behind_nat: bool,
    },
    /// The number of connected peers changed.
    Connected(usize),
    /// Packets can be sent to this node.
    LinkUp([u8; 32]),
    /// Packets can no longer be sent to this node.
    LinkDown([u8; 32]),
    /// A packet arrived.
    Packet {
        /// Node id of the neighbour that sent it.
        from: [u8; 32],
        /// The packet.
        packet: Box<[u8; FRAME_LEN]>,
    },
    /// A bundle arrived by gossip and waits for a [`NetCommand::Verdict`].
    Gossip {
        /// Names the bundle in the verdict.
        ticket: u64,
        /// The bundle.
        data: Vec<u8>,
    },
    /// A lookup found a value, not yet verified by anybody.
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
    /// A peer asks to reconcile and waits for a [`NetCommand::SyncAnswer`].
    SyncRequest {
        /// Names the request in the answer.
        ticket: u64,
        /// Node id of the peer.
        from: [u8; 32],
        /// The request.
        data: Vec<u8>,
    },
    /// A peer answered a request to reconcile.
    SyncResponse {
        /// The token of the request.
        token: u64,
        /// Node id of the peer.
        from: [u8; 32],
        /// The answer.
        data: Vec<u8>,
    },
    /// A request to reconcile found nobody to go to, or no answer came.
    SyncFailed {
        /// The token of the request.
        token: u64,
    },
    /// A peer of another network was met and disconnected. At most once a minute.
    WrongNetwork,
    /// A wanted or bootstrap peer could not be reached.
    DialFailed {
        /// Node id, if the address named one.
        to: Option<[u8; 32]>,
        /// Why, in plain words.
        reason: String,
    },
    /// A listener died after the start.
    ListenerClosed {
        /// Why, in plain words.
        reason: String,
    },
}

/// A frame seen by the tap.
#[derive(Debug, Clone)]
pub struct TapFrame {
    /// Node id of the writer.
    pub from: [u8; 32],
    /// Node id of the reader.
    pub to: [u8; 32],
    /// The frame.
    pub bytes: Box<[u8; FRAME_LEN]>,
    /// Seen where it was written (`true`) or where it was read.
    pub at_write: bool,
}

/// Sees every frame of a node, for tests and measurements.
#[derive(Clone)]
pub struct Tap(Sight);

#[derive(Clone)]
enum Sight {
    /// A bounded queue of copies. When full it loses frames and says so.
    Copies {
        frames: mpsc::Sender<TapFrame>,
        lost: Arc<AtomicU64>,
    },
    Watcher(Watcher),
}

/// Is shown each frame and whether it was just written.
type Watcher = Arc<dyn Fn(&[u8; FRAME_LEN], bool) + Send + Sync>;

impl Tap {
    /// A tap that holds copies of up to `capacity` frames, and where to read them.
    pub fn new(capacity: usize) -> (Self, mpsc::Receiver<TapFrame>) {
        let (frames, receiver) = mpsc::channel(capacity);
        let lost = Arc::new(AtomicU64::new(0));
        (Self(Sight::Copies { frames, lost }), receiver)
    }

    /// A tap that calls `watcher` with each frame where it is read (`false`) or written (`true`), and copies nothing: it must
    /// be quick.
    pub fn watching(watcher: impl Fn(&[u8; FRAME_LEN], bool) + Send + Sync + 'static) -> Self {
        Self(Sight::Watcher(Arc::new(watcher)))
    }

    /// Frames that did not fit. A test that wants to have seen everything asserts 0.
    pub fn lost(&self) -> u64 {
        match &self.0 {
            Sight::Copies { lost, .. } => lost.load(Ordering::Relaxed),
            Sight::Watcher(_) => 0,
        }
    }

    pub(crate) fn see(
        &self,
        from: [u8; 32],
        to: [u8; 32],
        bytes: &[u8; FRAME_LEN],
        at_write: bool,
    ) {
        match &self.0 {
            Sight::Copies { frames, lost } => {
                let frame = TapFrame {
                    from,
                    to,
                    bytes: Box::new(*bytes),
                    at_write,
                };
                if frames.try_send(frame).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            Sight::Watcher(watcher) => watcher(bytes, at_write),
        }
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap")
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

/// Sees the key of every record this node looks up (`true`) or serves (`false`), for tests: what lookups say to whom they ask.
#[derive(Clone)]
pub struct KeyWatch(KeyWatcher);

/// Is shown each key and whether it is asked for.
type KeyWatcher = Arc<dyn Fn(&[u8; 32], bool) + Send + Sync>;

impl KeyWatch {
    /// Calls `watcher` with each key; it must be quick.
    pub fn new(watcher: impl Fn(&[u8; 32], bool) + Send + Sync + 'static) -> Self {
        Self(Arc::new(watcher))
    }

    pub(crate) fn see(&self, key: &[u8; 32], asked: bool) {
        (self.0)(key, asked);
    }
}

impl fmt::Debug for KeyWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyWatch").finish_non_exhaustive()
    }
}

/// Why a packet, a peer or a record was dropped by the network layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NetDrop {
    /// A packet for a peer without a link.
    NoLink,
    /// A packet for a link whose queue was full.
    QueueFull,
    /// Packets still queued or half written when their connection ended.
    LinkClosed,
    /// A packet from a peer above its rate.
    RateLimited,
    /// A packet that arrived while the event channel was full.
    EventsFull,
    /// An inbound stream that ended in the middle of a frame.
    Truncated,
    /// A connection closed because a frame could not be written in time.
    WriteTimeout,
    /// A further inbound packet stream on a connection that already had one (it replaces the old).
    SecondStream,
    /// A peer of another network.
    WrongNetwork,
    /// A connection refused by the limits.
    ConnectionDenied,
    /// A bundle from a peer above its rate, or one nobody judged in time.
    GossipShed,
    /// A bundle that the rules reject.
    GossipRejected,
    /// A bundle that could not be published.
    PublishFailed,
    /// A record somebody wanted to store here.
    StoreRefused,
    /// A record this node was asked to serve and does not: too far from the key, too large, or no room.
    ServeSkipped,
    /// A lookup refused because too many were waiting.
    LookupShed,
    /// A request to reconcile that waited behind too many others.
    SyncShed,
    /// An event other than a packet that did not fit.
    EventShed,
}

impl NetDrop {
    /// The name in counters and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoLink => "no_link",
            Self::QueueFull => "queue_full",
            Self::LinkClosed => "link_closed",
            Self::RateLimited => "rate_limited",
            Self::EventsFull => "events_full",
            Self::Truncated => "truncated",
            Self::WriteTimeout => "write_timeout",
            Self::SecondStream => "second_stream",
            Self::WrongNetwork => "wrong_network",
            Self::ConnectionDenied => "connection_denied",
            Self::GossipShed => "gossip_shed",
            Self::GossipRejected => "bundle_rejected",
            Self::PublishFailed => "publish_failed",
            Self::StoreRefused => "store_refused",
            Self::ServeSkipped => "serve_skipped",
            Self::LookupShed => "lookup_shed",
            Self::SyncShed => "sync_shed",
            Self::EventShed => "event_shed",
        }
    }
}

/// A snapshot of the counters.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct NetCounters {
    /// Drops by reason; reasons that never happened are absent.
    pub drops: BTreeMap<NetDrop, u64>,
    /// Packets read from links.
    pub packets_in: u64,
    /// Packets written to links.
    pub packets_out: u64,
    /// Packet bytes read.
    pub bytes_in: u64,
    /// Packet bytes written.
    pub bytes_out: u64,
    /// Peers packets can be sent to now.
    pub links: usize,
    /// Connected peers now.
    pub peers: usize,
    /// Connections now: of two between the same nodes one is soon closed.
    pub connections: usize,
    /// Records served now.
    pub served: usize,
    /// Neighbours in the gossip mesh now.
    pub mesh: usize,
    /// Where this node listens, each with `/p2p/…`.
    pub listening: Vec<Multiaddr>,
    /// Neighbours have found that nobody can dial this node.
    pub behind_nat: bool,
}

impl NetCounters {
    /// How often `reason` happened.
    pub fn dropped(&self, reason: NetDrop) -> u64 {
        self.drops.get(&reason).copied().unwrap_or(0)
    }
}
