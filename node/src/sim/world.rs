//! A mesh of production cores in virtual time.
//!
//! Everything that happens is an event in one queue; everything random follows from one seed, each
//! use by a stream of its own. The world does what sockets, disks and users do for a real node
//! (`driver.rs`): it carries packets, gossip and lookups between cores, makes commits durable after
//! a while, and calls cores when their timers say so. It decides nothing that a core decides.
//!
//! What it does not model: bandwidth, CPU time, clocks that differ, NAT. Kademlia is reduced to
//! "who serves a key is found after a few crossings", gossip to flooding a few neighbours.
//!
//! The rooms: `queue` (what happens when), `node` (one node around its core), `life` (start, stop,
//! kill), `wire` (links and packets), `commons` (gossip and lookups), `sync` (reconciliation),
//! `users` (what people do).

mod commons;
mod dice;
mod life;
mod node;
mod queue;
mod sync;
mod users;
mod wire;

use std::collections::{BTreeMap, BTreeSet};

use dht::id::NodeId;
use dht::network::NetworkParams;
use mix::time::{Moment, Span};
use rand_chacha::ChaCha20Rng;

use self::node::SimNode;
use self::queue::{Happening, Life};
pub use self::users::Letter;
use super::agenda::Agenda;
use crate::config::Profile;
use crate::error::Error;
use crate::sim::link::LinkModel;
use crate::sim::metrics::Metrics;
use crate::sim::seed::stream;
use crate::view::{CounterView, Event};

/// Noon of the first day of 2026: no day ends during a short run.
pub const GENESIS: Moment = Moment::from_secs(1_767_268_800);
/// Turns that a node gets within one instant.
const AT_ONCE: usize = 64;
/// A core that asks to be called in the past is called this much later.
const SPIN: Span = Span::from_millis(1);
/// How often [`World::run_while`] looks.
const GLANCE: Span = Span::from_millis(100);

/// What a world is made with.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// Everything random follows from it.
    pub seed: u64,
    /// How many nodes.
    pub nodes: usize,
    /// The network's parameters.
    pub params: NetworkParams,
    /// What every node sends and holds.
    pub profile: Profile,
    /// Every link.
    pub link: LinkModel,
    /// How long a disk takes to make a commit durable, at least; at most twice that.
    pub sync: Span,
    /// Not 0: nodes draw routes and all else about packets from other dice than the seed's own.
    pub route_dice: u64,
}

impl WorldConfig {
    /// `nodes` nodes on the demo's network over the links of [`LinkModel::default`], disks of 5 ms.
    #[must_use]
    pub fn demo(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            params: NetworkParams::demo(GENESIS),
            profile: Profile::Balanced,
            link: LinkModel::default(),
            sync: Span::from_millis(5),
            route_dice: 0,
        }
    }
}

/// The streams of randomness that are the world's own.
/// A mesh in virtual time. Nodes are named by their index from 0.
///
/// Order of calls: [`start`](Self::start) nodes, let time pass with [`run_for`](Self::run_for) or
/// [`run_while`](Self::run_while), act as users and as fate in between, read
/// [`metrics`](Self::metrics), views and [`digest`](Self::digest) whenever you like.
pub struct World {
    config: WorldConfig,
    now: Moment,
    queue: Agenda<Happening>,
    nodes: Vec<SimNode>,
    index: BTreeMap<NodeId, usize>,
    metrics: Metrics,
    trace: blake3::Hasher,
    /// The first half of alpha of every packet that left a core.
    sent: BTreeSet<[u8; 16]>,
    /// Whether some role replays packets, so that acceptances are watched.
    watched: bool,
    /// Every lookup: when, whose, of what.
    asked: Vec<(Moment, usize, [u8; 32])>,
    /// Every dial: when, whose, to whom.
    dialled: Vec<(Moment, usize, usize)>,
    /// Keys that some node has served.
    offered: BTreeSet<[u8; 32]>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

impl World {
    /// A world at the genesis of its network, with all its nodes switched off.
    #[must_use]
    pub fn new(config: WorldConfig) -> Self {
        let seed = config.seed;
        let nodes = (0..config.nodes)
            .map(|index| SimNode::new(seed, index))
            .collect();
        Self {
            now: Moment::from_millis(config.params.genesis_ms),
            config,
            queue: Agenda::default(),
            nodes,
            index: BTreeMap::new(),
            metrics: Metrics::default(),
            trace: blake3::Hasher::new(),
            sent: BTreeSet::new(),
            watched: false,
            asked: Vec::new(),
            dialled: Vec::new(),
            offered: BTreeSet::new(),
        }
    }

    /// Now.
    #[must_use]
    pub const fn now(&self) -> Moment {
        self.now
    }

    /// What it was made with.
    #[must_use]
    pub const fn config(&self) -> &WorldConfig {
        &self.config
    }

    /// How many nodes there are, running or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What the world counted.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// A hash of everything that happened: packets (time, from, to, alpha) and what users were told.
    #[must_use]
    pub fn digest(&self) -> String {
        self.trace.finalize().to_hex().to_string()
    }

    /// Every lookup so far: when, by which node, of which key.
    #[must_use]
    pub fn asked(&self) -> &[(Moment, usize, [u8; 32])] {
        &self.asked
    }

    /// Every dial so far: when, by which node, to which.
    #[must_use]
    pub fn dialled(&self) -> &[(Moment, usize, usize)] {
        &self.dialled
    }

    /// Lookups of anything but the head or certificate of an epoch, or what somebody served of a whole directory.
    #[must_use]
    pub fn strange_lookups(&self) -> u64 {
        let params = &self.config.params;
        let (network, last) = (params.id(), dht::epoch::epoch_at(params, self.now) + 1);
        let certificate = |epoch| dht::page::certificate_key(&network, dht::id::Cell::WHOLE, epoch);
        let heads: BTreeSet<[u8; 32]> = (0..=last)
            .flat_map(|epoch| [dht::pki::head_key(&network, epoch), certificate(epoch)])
            .collect();
        let known = |key: &[u8; 32]| heads.contains(key) || self.offered.contains(key);
        let strange = self.asked.iter().filter(|(_, _, key)| !known(key));
        u64::try_from(strange.count()).unwrap_or(u64::MAX)
    }

    /// Lets time pass until `end`.
    pub fn run_until(&mut self, end: Moment) {
        while let Some((at, what)) = self.queue.next(end) {
            self.now = at;
            self.metrics.events += 1;
            self.happen(what);
        }
        self.now = self.now.max(end);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Span) {
        self.run_until(self.now + span);
    }

    /// Lets time pass while `go_on` says so, looked at every 100 ms, but no longer than `limit`.
    /// Says whether it ended before the limit.
    pub fn run_while(&mut self, limit: Span, mut go_on: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + limit;
        while go_on(self) {
            if self.now >= end {
                return false;
            }
            self.run_until((self.now + GLANCE).min(end));
        }
        true
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake(life) => {
                if self.nodes[life.node].wakes(life, self.now) {
                    self.carry(life.node);
                }
            }
            Happening::Durable(life) => self.written(life),
            Happening::Packet { from, to, frame } => self.arrive(from, to, frame),
            Happening::Inject { from, to, frame } => self.inject(from, to, frame),
            Happening::Gossip { from, to, message } => self.hear(from, to, message),
            Happening::Found { to, key, value } => {
                let now = self.now;
                if let Some(core) = self.nodes[to.node].core_in(to) {
                    core.handle_record(now, key, &value);
                    self.carry(to.node);
                }
            }
            Happening::LookupDone { to, key } => {
                let now = self.now;
                if let Some(core) = self.nodes[to.node].core_in(to) {
                    core.handle_lookup_done(now, key);
                    self.carry(to.node);
                }
            }
            Happening::Ask {
                from,
                to,
                token,
                data,
            } => self.sync_asked(from, to, token, &data),
            Happening::Answer {
                to,
                from,
                token,
                data,
            } => self.answered(to, from, token, data.as_deref()),
            Happening::Connect { dialler, to } => self.connect(dialler, to),
            Happening::Lost { to, peer } => self.notice_loss(to, peer),
        }
    }

    /// Carries everything a core has to say to where it belongs, as the driver does.
    fn carry(&mut self, index: usize) {
        let now = self.now;
        // What is due at once is dealt with at once: left for later, a packet that happens to come would move it.
        for _ in 0..AT_ONCE {
            let node = &mut self.nodes[index];
            let Some(core) = node.core.as_mut() else {
                return;
            };
            if core.poll_timeout().is_some_and(|due| due <= now) {
                core.handle_timeout(now);
            }
            let packets: Vec<_> = std::iter::from_fn(|| core.poll_transmit()).collect();
            let bundles: Vec<_> = std::iter::from_fn(|| core.poll_publish()).collect();
            let lookups: Vec<_> = std::iter::from_fn(|| core.poll_lookup()).collect();
            let requests: Vec<_> = std::iter::from_fn(|| core.poll_sync()).collect();
            while let Some((key, value, keep)) = core.poll_serve() {
                self.offered.insert(key);
                node.served.insert(key, (value, now + keep));
            }
            let links = core.poll_links();
            let events: Vec<_> = std::iter::from_fn(|| core.poll_event()).collect();
            let commit = if node.in_flight.is_none() {
                core.poll_commit()
            } else {
                None
            };
            if let Some(commit) = commit {
                self.write(index, commit);
            }
            for (to, packet) in packets {
                self.transmit(index, to, packet);
            }
            for data in bundles {
                self.publish(index, data);
            }
            for lookup in lookups {
                self.look_up(index, lookup);
            }
            for request in requests {
                self.ask(index, request);
            }
            if let Some(links) = links {
                self.want_links(index, &links);
            }
            let more = self.tell(index, events);
            let core = self.nodes[index].core.as_ref();
            let due = core.and_then(|core| core.poll_timeout());
            if !more && due.is_none_or(|due| due > now) {
                break;
            }
        }
        self.plan_wake(index);
    }

    fn plan_wake(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(due) = node.core.as_ref().and_then(|core| core.poll_timeout()) else {
            return;
        };
        let due = if due <= self.now {
            self.metrics.spins += 1;
            self.now + SPIN
        } else {
            due
        };
        if node.wake.is_none_or(|wake| due < wake || wake <= self.now) {
            node.wake = Some(due);
            self.queue.plan(due, Happening::Wake(node.life(index)));
        }
    }

    /// Users see their node's events; a reader reads at once. Says whether that gave the core
    /// something more to say.
    fn tell(&mut self, index: usize, events: Vec<Event>) -> bool {
        let now = self.now;
        let mut acted = false;
        for event in events {
            self.trace.update(&now.0.to_le_bytes());
            self.trace
                .update(&u64::try_from(index).unwrap_or(u64::MAX).to_le_bytes());
            self.trace.update(format!("{event:?}").as_bytes());
            let node = &mut self.nodes[index];
            if let (Event::Inbox { message }, true, Some(core)) =
                (&event, node.reads, node.core.as_mut())
            {
                acted |= core.ack_inbox(now, &message.id).is_ok();
            }
            node.events.push_back((now, event));
        }
        acted
    }

    /// A node's counters over all its lives.
    #[must_use]
    pub fn counters(&self, index: usize) -> CounterView {
        let Some(node) = self.nodes.get(index) else {
            return CounterView::default();
        };
        let present = node.core.as_ref().map(|core| core.counters_view());
        crate::sim::metrics::sum(node.past.iter().chain(present.as_ref()))
    }

    /// Bytes of packets, gossip and reconciliation that a node received and sent.
    #[must_use]
    pub fn bytes(&self, index: usize) -> (u64, u64) {
        self.nodes.get(index).map_or((0, 0), |node| node.bytes)
    }

    /// A generator for what a scenario decides itself, apart from all of the world's.
    #[must_use]
    pub fn dice(&self, what: &str) -> ChaCha20Rng {
        stream(self.config.seed, what, u64::MAX, 0)
    }

    fn life_of(&self, index: usize) -> Life {
        self.nodes[index].life(index)
    }
}

/// The node does not exist or does not run: a mistake of the scenario.
fn not_running(index: usize) -> Error {
    Error::internal(format!("node {index} of the simulated world does not run"))
}
