//! A mesh of PKI state machines in virtual time, without packets: hundreds of nodes over many epochs.
//!
//! Each node is the production [`Pki`] with what a node's core does around it: keys, beats and descriptors in time, duties that are
//! durable before they are said, a restart from what is on disk. What carries their bytes is a model, and every room says of
//! what: `gossip` (gossipsub), `lookup` (Kademlia), `sync` (requests between neighbours), `life` (who is there, linked with
//! whom). `tally` counts bytes, `hostile` are nodes that break the rules.
//!
//! Everything follows from one seed. Nodes share a memory of checked signatures and of built directories
//! ([`dht::checks`]): it changes nothing but time.

use std::collections::BTreeMap;
use std::sync::Arc;

use dht::checks::Checks;
use dht::network::NetworkParams;
use dht::{Directory, Pki, epoch};
use mix::time::{Moment, Span};
use mix::{NetworkId, ShortId};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use crate::sim::link::LinkModel;
use crate::sim::seed::stream;

mod gossip;
mod hostile;
mod life;
mod lookup;
mod peer;
mod queue;
mod sync;
mod tally;

use super::agenda::Agenda;
pub use gossip::Gossip;
pub use life::Churn;
use lookup::Pages;
use peer::Peer;
pub use peer::Role;
use queue::{Event, Life};
pub use tally::{Kind, Raw, Traffic};

/// Records remembered as verified.
const REMEMBERED: usize = 400_000;

/// What a mesh is made of.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes at the beginning.
    pub nodes: usize,
    /// The network.
    pub params: Arc<NetworkParams>,
    /// Links of gossip: requests and lookups have the same latency, but are repeated until they arrive.
    pub link: LinkModel,
    /// Gossip's settings.
    pub gossip: Gossip,
    /// Who comes and goes.
    pub churn: Option<Churn>,
    /// Over how long the first nodes come up.
    pub spread: Span,
    /// Role of a node by its number, drawn by the caller.
    pub roles: Vec<Role>,
    /// Whether what nodes would serve is written down, for [`Mesh::take_served`].
    pub serves: bool,
}

impl MeshConfig {
    /// Honest nodes on the public test network, over links of 60 ms that lose one gossip message in twenty.
    #[must_use]
    pub fn testnet(seed: u64, nodes: usize) -> Self {
        Self {
            seed,
            nodes,
            params: Arc::new(NetworkParams::testnet()),
            link: LinkModel::new(60, 10, 50_000),
            gossip: Gossip::production(),
            churn: None,
            spread: Span::from_secs(300),
            roles: Vec::new(),
            serves: false,
        }
    }
}

#[derive(Debug)]
struct Dice {
    gossip: ChaCha20Rng,
    lookups: ChaCha20Rng,
    sync: ChaCha20Rng,
    links: ChaCha20Rng,
    churn: ChaCha20Rng,
    disks: ChaCha20Rng,
    hostile: ChaCha20Rng,
}

/// The mesh.
pub struct Mesh {
    config: MeshConfig,
    network: NetworkId,
    now: Moment,
    queue: Agenda<Event>,
    peers: Vec<Peer>,
    by_short: BTreeMap<ShortId, u32>,
    by_node: BTreeMap<dht::NodeId, u32>,
    messages: gossip::Messages,
    pages: Pages,
    checks: Arc<Checks>,
    dice: Dice,
    /// Published in the epoch that a record says, or in which a descriptor was made.
    raw: Raw,
    /// Traffic of nodes that are gone since the last reading.
    events: u64,
    /// Whether two nodes can reach each other: those with the same mark can.
    sides: Vec<u8>,
    split: bool,
    served: Served,
}

/// Values by key: of each key the different ones.
pub type Served = BTreeMap<[u8; 32], Vec<Arc<[u8]>>>;
/// Different values of one key written down: the latest.
const VALUES: usize = 4;

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh")
            .field("now", &self.now)
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

impl Mesh {
    /// A mesh at the genesis of its network; nodes come up one after the other.
    #[must_use]
    pub fn new(config: MeshConfig) -> Self {
        let seed = config.seed;
        let dice = Dice {
            gossip: stream(seed, "mesh gossip", 0, 0),
            lookups: stream(seed, "mesh lookups", 0, 0),
            sync: stream(seed, "mesh sync", 0, 0),
            links: stream(seed, "mesh links", 0, 0),
            churn: stream(seed, "mesh churn", 0, 0),
            disks: stream(seed, "mesh disks", 0, 0),
            hostile: stream(seed, "mesh hostile", 0, 0),
        };
        let mut mesh = Self {
            network: config.params.id(),
            now: epoch::start_of(&config.params, 0),
            queue: Agenda::default(),
            peers: Vec::new(),
            by_short: BTreeMap::new(),
            by_node: BTreeMap::new(),
            messages: gossip::Messages::default(),
            pages: Pages::default(),
            checks: Checks::new(REMEMBERED),
            dice,
            raw: Raw::default(),
            events: 0,
            sides: Vec::new(),
            split: false,
            served: Served::new(),
            config,
        };
        for _ in 0..mesh.config.nodes {
            let at = mesh.now + below(mesh.config.spread, &mut mesh.dice.churn);
            let role = (mesh.config.roles.get(mesh.peers.len()).copied()).unwrap_or(Role::Honest);
            mesh.add(at, role);
        }
        mesh
    }

    /// Runs until a moment.
    pub fn run_until(&mut self, end: Moment) {
        while let Some((at, event)) = self.queue.next(end) {
            self.now = at;
            self.events += 1;
            self.happen(event);
        }
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake(life) => self.wake(life),
            Event::Upkeep(life) => self.upkeep(life),
            Event::Bundle { message, from, to } => self.hear(message, from, to),
            Event::Want { message, from, to } => self.wanted(message, from, to),
            Event::Heartbeat(life) => self.heartbeat(life),
            Event::Durable(life, record) => self.durable(life, *record),
            Event::Found(life, found) => {
                let now = self.now;
                if let Some(pki) = self.pki_in(life) {
                    pki.handle_record(now, &found.0, &found.1);
                    self.drain(life.node);
                }
            }
            Event::Done(life, key) => {
                let now = self.now;
                if let Some(pki) = self.pki_in(life) {
                    pki.handle_lookup_done(now, &key);
                    self.drain(life.node);
                }
            }
            Event::Ask(to, letter) => self.asked(to, &letter),
            Event::Answer(to, letter) => self.answered(to, &letter),
            Event::Connect { from, to } => self.connect(from, to),
            Event::Notice { node, peer } => self.notice(node, peer),
            Event::Slot(life) => self.slot(life),
            Event::Flood(life) => self.flood(life),
            Event::Leave(life) => self.leave(life),
            Event::Join(node) => self.join(node),
        }
    }

    /// The Pki of a node, if it still lives that life.
    fn pki_in(&mut self, life: Life) -> Option<&mut Pki> {
        let peer = self.peers.get_mut(life.node as usize)?;
        (peer.life == life.number)
            .then_some(peer.pki.as_mut())
            .flatten()
    }

    fn life_of(&self, node: u32) -> Life {
        Life {
            node,
            number: self.peers[node as usize].life,
        }
    }

    fn runs(&self, life: Life) -> bool {
        let peer = &self.peers[life.node as usize];
        peer.life == life.number && peer.pki.is_some()
    }

    fn wake(&mut self, life: Life) {
        let now = self.now;
        // A later alarm replaced this one, or an earlier one was answered already.
        if self.peers[life.node as usize].alarm > now {
            return;
        }
        if let Some(pki) = self.pki_in(life) {
            pki.handle_timeout(now);
            self.peers[life.node as usize].alarm = Moment::MAX;
            self.drain(life.node);
        }
    }

    /// Carries what a node wants to say, and sets its alarm.
    fn drain(&mut self, node: u32) {
        let life = self.life_of(node);
        loop {
            let Some(pki) = self.pki_in(life) else { return };
            if let Some(bundle) = pki.poll_bundle() {
                self.publish(node, bundle);
            } else if let Some(key) = pki.poll_lookup() {
                self.look_up(node, key);
            } else if let Some(request) = pki.poll_sync() {
                self.seek(life, request);
            } else if let Some(record) = pki.poll_duty() {
                self.write(life, record);
            } else {
                break;
            }
        }
        self.write_served(life);
        self.arm(life);
    }

    fn write_served(&mut self, life: Life) {
        while self.config.serves
            && let Some((key, value)) = self.pki_in(life).and_then(Pki::poll_serve)
        {
            let values = self.served.entry(key).or_default();
            values.retain(|known| **known != *value);
            if values.len() >= VALUES {
                values.remove(0);
            }
            values.push(value.into());
        }
    }

    /// What nodes have served so far, if the configuration asked for it.
    pub fn take_served(&mut self) -> Served {
        core::mem::take(&mut self.served)
    }

    /// What nodes share: for others of the same process.
    #[must_use]
    pub fn checks(&self) -> Arc<Checks> {
        self.checks.clone()
    }

    fn arm(&mut self, life: Life) {
        let now = self.now;
        let Some(due) = self.pki_in(life).and_then(|pki| pki.poll_timeout()) else {
            return;
        };
        // What is due already is done at once, in its own event.
        let due = due.max(now);
        let peer = &mut self.peers[life.node as usize];
        if due < peer.alarm {
            peer.alarm = due;
            self.queue.plan(due, Event::Wake(life));
        }
    }

    /// Whether bytes get from one to the other.
    fn reaches(&self, one: u32, other: u32) -> bool {
        !self.split || self.sides[one as usize] == self.sides[other as usize]
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.now
    }

    /// Events so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The network's parameters.
    #[must_use]
    pub fn params(&self) -> &Arc<NetworkParams> {
        &self.config.params
    }

    /// The honest nodes that have been up for at least `since`, by number.
    #[must_use]
    pub fn honest(&self, since: Span) -> Vec<u32> {
        let up = |peer: &Peer| peer.pki.is_some() && peer.up_since + since <= self.now;
        let numbered = self.peers.iter().zip(0u32..);
        numbered
            .filter(|(peer, _)| peer.role.follows_rules() && up(peer))
            .map(|(_, node)| node)
            .collect()
    }

    /// What a node holds to be the set of an epoch.
    pub fn directory(&mut self, node: u32, epoch: u32) -> Option<Arc<Directory>> {
        self.peers[node as usize].pki.as_mut()?.directory(epoch)
    }

    /// A node's Pki, while it runs.
    pub fn pki(&mut self, node: u32) -> Option<&mut Pki> {
        self.peers[node as usize].pki.as_mut()
    }

    /// What crossed links since this was last asked, of all nodes together, and what was new.
    pub fn take_traffic(&mut self) -> (Traffic, Raw) {
        let mut total = Traffic::default();
        for peer in &mut self.peers {
            total.add(&core::mem::take(&mut peer.traffic));
        }
        (total, core::mem::take(&mut self.raw))
    }

    /// How a node behaves.
    #[must_use]
    pub fn role(&self, node: u32) -> Role {
        self.peers[node as usize].role
    }

    /// Who has this short id.
    #[must_use]
    pub fn number_of(&self, short: &ShortId) -> Option<u32> {
        self.by_short.get(short).copied()
    }

    /// The short id of a node.
    #[must_use]
    pub fn short(&self, node: u32) -> ShortId {
        self.peers[node as usize].short
    }

    /// How many nodes run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.peers.iter().filter(|peer| peer.pki.is_some()).count()
    }
}

/// A span drawn uniformly.
fn below(most: Span, rng: &mut ChaCha20Rng) -> Span {
    Span::from_micros(rng.next_u64() % most.as_micros().max(1))
}

/// A place drawn uniformly among `count`; 0 if there is none.
fn place(count: usize, rng: &mut ChaCha20Rng) -> usize {
    (rng.next_u64() % (count.max(1) as u64)) as usize
}
