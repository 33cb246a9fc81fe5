//! One node: its keys, what is on its disk, and what its core does in time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dht::beat::{Beat, BeatFields};
use dht::descriptor::{Capability, Descriptor, DescriptorFields};
use dht::id::short_id;
use dht::pki::WitnessKeys;
use dht::vrf::VrfSecret;
use dht::{NodeId, OwnRecord, Pki, epoch};
use ed25519_dalek::SigningKey;
use mix::time::{Moment, Span};
use mix::{MixSecret, NetworkId, ShortId};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::queue::{Event, Life};
use super::{Mesh, Traffic, below};
use crate::sim::seed::stream;

/// How long a descriptor is valid.
const DESCRIPTOR_LIFE_MS: u64 = 24 * 3_600_000;
/// Writing a record takes up to so long.
const WRITE: Span = Span::from_millis(50);

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// By the rules.
    Honest,
    /// By the rules, but it never votes or proposes.
    Silent,
    /// Signs two beats in each epoch.
    TwoBeats,
    /// Signs two votes in each epoch.
    TwoVotes,
    /// Beats as its epoch is cut off.
    Late,
    /// Proposes sets that lack some nodes.
    Omitter,
    /// Proposes what no rule grants.
    Forger,
    /// Floods its peers with forged and with old records.
    Flooder,
}

impl Role {
    /// Whether it proposes and votes.
    fn witnesses(self) -> bool {
        self != Self::Silent
    }

    /// Whether its view counts as an honest one.
    #[must_use]
    pub fn follows_rules(self) -> bool {
        self == Self::Honest
    }

    /// Whether proofs can be made against it.
    #[must_use]
    pub fn equivocates(self) -> bool {
        matches!(self, Self::TwoBeats | Self::TwoVotes)
    }
}

pub(super) struct Peer {
    pub(super) key: SigningKey,
    pub(super) id: NodeId,
    pub(super) short: ShortId,
    pub(super) role: Role,
    /// Counts its lives.
    pub(super) life: u32,
    pub(super) pki: Option<Pki>,
    pub(super) up_since: Moment,
    pub(super) leaves: Moment,
    /// When the next wake is planned.
    pub(super) alarm: Moment,
    dice: ChaCha20Rng,
    /// On disk: the view as it was when the epoch turned, and records of our own.
    pub(super) view: Option<Vec<u8>>,
    kept: BTreeMap<(u32, u8), OwnRecord>,
    /// Epochs whose beat is on its way to the disk.
    writing: BTreeSet<u32>,
    /// The next beat, and when it is made.
    planned: Option<(u32, Moment)>,
    /// Connected peers, and those among them that this node dialled, oldest first.
    pub(super) links: Vec<u32>,
    pub(super) dialled: VecDeque<u32>,
    /// Gossip: peers in the mesh, messages to tell others of, peers whose messages were rejected.
    pub(super) mesh: Vec<u32>,
    pub(super) recent: VecDeque<(Moment, u32)>,
    pub(super) beating: bool,
    pub(super) blamed: BTreeMap<u32, u32>,
    /// Bundles that found no peer yet.
    pub(super) unpublished: Vec<Vec<u8>>,
    pub(super) traffic: Traffic,
}

impl Peer {
    pub(super) fn new(network: &NetworkId, seed: u64, number: u32, role: Role) -> Self {
        let mut dice = stream(seed, "mesh peer", u64::from(number), 0);
        let mut secret = [0; 32];
        dice.fill_bytes(&mut secret);
        let key = SigningKey::from_bytes(&secret);
        let id = NodeId(key.verifying_key().to_bytes());
        Self {
            short: short_id(network, &id),
            key,
            id,
            role,
            life: 0,
            pki: None,
            up_since: Moment::ZERO,
            leaves: Moment::MAX,
            alarm: Moment::MAX,
            dice,
            view: None,
            kept: BTreeMap::new(),
            writing: BTreeSet::new(),
            planned: None,
            links: Vec::new(),
            dialled: VecDeque::new(),
            mesh: Vec::new(),
            recent: VecDeque::new(),
            beating: false,
            blamed: BTreeMap::new(),
            unpublished: Vec::new(),
            traffic: Traffic::default(),
        }
    }

    fn descriptor(&self, network: &NetworkId, number: u32, now: Moment) -> Option<Descriptor> {
        let at = now.as_millis();
        let [_, b, c, d] = number.to_be_bytes();
        let fields = DescriptorFields {
            seq: at,
            valid_from: at.saturating_sub(120_000),
            valid_until: at + DESCRIPTOR_LIFE_MS,
            capability: Capability::FULL,
            // A subnet for each.
            subnet: number + 1,
            vrf_key: VrfSecret::of_identity(&self.key).public().to_bytes(),
            admission: Vec::new(),
            addresses: vec![vec![4, 10, b, c, d, 6, 0x10, 0x10]],
        };
        Descriptor::sign(network, &self.key, fields).ok()
    }

    pub(super) fn beat(&mut self, network: &NetworkId, epoch: u32) -> Option<Beat> {
        let fields = BeatFields {
            epoch,
            mix_key: MixSecret::random(&mut self.dice).public().to_bytes(),
            capability: Capability::FULL,
            load: 0,
            replay_root: [0; 16],
        };
        Beat::sign(network, &self.key, fields).ok()
    }

    /// What leaves with the node's process.
    pub(super) fn die(&mut self) {
        self.life += 1;
        self.pki = None;
        self.alarm = Moment::MAX;
        self.writing.clear();
        self.planned = None;
        self.links.clear();
        self.dialled.clear();
        self.mesh.clear();
        self.recent.clear();
        self.beating = false;
        self.blamed.clear();
        self.unpublished.clear();
    }
}

/// Where a record of one's own is kept on disk: epoch, and a number for its kind.
fn shelf(record: &OwnRecord) -> Option<(u32, u8)> {
    match record {
        OwnRecord::Beat(beat) => Some((beat.epoch(), 0)),
        OwnRecord::Proposal(proposal) => Some((proposal.header().epoch, 1)),
        OwnRecord::Vote(vote) => Some((vote.epoch(), 2)),
        // Made anew at each start.
        OwnRecord::Descriptor(_) => None,
    }
}

fn size(record: &OwnRecord) -> usize {
    match record {
        OwnRecord::Beat(beat) => beat.as_bytes().len(),
        OwnRecord::Descriptor(descriptor) => descriptor.as_bytes().len(),
        OwnRecord::Proposal(proposal) => proposal.as_bytes().len(),
        OwnRecord::Vote(vote) => vote.as_bytes().len(),
    }
}

impl Mesh {
    /// A node starts: it reads its disk, describes itself and says again what it said before.
    pub(super) fn start(&mut self, node: u32) {
        let (now, seed) = (self.now, self.config.seed);
        let peer = &mut self.peers[node as usize];
        peer.life += 1;
        let (number, again) = (u64::from(node), u64::from(peer.life));
        let rng = stream(seed, "mesh pki", number, again);
        let mut pki = Pki::new(
            self.config.params.clone(),
            peer.id,
            dht::Caps::default(),
            rng,
        );
        pki.share_checks(self.checks.clone());
        if peer.role.witnesses() {
            pki.set_witness(WitnessKeys {
                signer: peer.key.clone(),
                vrf: VrfSecret::of_identity(&peer.key),
            });
        }
        if let Some(view) = peer.view.take() {
            // A cache: what can't be read is learned again.
            let _ = pki.restore(now, &view);
        }
        pki.handle_timeout(now);
        peer.up_since = now;
        let descriptor = peer.descriptor(&self.network, node, now);
        let kept: Vec<_> = peer.kept.values().cloned().collect();
        peer.pki = Some(pki);
        for record in descriptor
            .map(OwnRecord::Descriptor)
            .into_iter()
            .chain(kept)
        {
            self.say(node, record);
        }
        let life = self.life_of(node);
        self.plan_flood(life);
        self.upkeep(life);
    }

    /// Hands a record of the node's own to its Pki.
    fn say(&mut self, node: u32, record: OwnRecord) {
        let now = self.now;
        let bytes = size(&record);
        let fresh = match shelf(&record) {
            Some(shelf) => self.peers[node as usize]
                .kept
                .insert(shelf, record.clone())
                .is_none(),
            None => true,
        };
        let Some(record) = self.twist(node, record) else {
            return;
        };
        let Some(pki) = self.peers[node as usize].pki.as_mut() else {
            return;
        };
        if pki.publish(now, record).is_ok() && fresh {
            self.raw.add(bytes);
        }
    }

    /// Beats in time, and the view written to disk when the epoch turns.
    pub(super) fn upkeep(&mut self, life: Life) {
        if !self.runs(life) {
            return;
        }
        let (now, params) = (self.now, self.config.params.clone());
        let current = epoch::epoch_at(&params, now);
        let turn = epoch::start_of(&params, current + 1);
        let peer = &mut self.peers[life.node as usize];
        peer.kept.retain(|(epoch, _), _| *epoch + 1 >= current);
        if peer.leaves <= turn
            && peer.view.is_none()
            && let Some(pki) = &peer.pki
        {
            // Nobody reads the views of nodes that stay.
            peer.view = Some(pki.snapshot());
        }
        self.make_beat(life, current);
        let peer = &mut self.peers[life.node as usize];
        let due = match peer.planned {
            Some((epoch, due)) if epoch == current + 1 => due,
            _ => {
                let due = epoch::beat_due(&params, current + 1, &mut peer.dice);
                let due = self.beat_time(life.node, current + 1, due);
                self.peers[life.node as usize].planned = Some((current + 1, due));
                due
            }
        };
        let next = if now >= due {
            self.make_beat(life, current + 1);
            turn
        } else {
            due.min(turn)
        };
        self.queue.plan(next, Event::Upkeep(life));
        self.drain(life.node);
    }

    /// Makes the beat of an epoch, unless there is one or may have been one.
    fn make_beat(&mut self, life: Life, epoch: u32) {
        let network = self.network;
        let peer = &mut self.peers[life.node as usize];
        let lost = (peer.pki.as_ref()).is_some_and(|pki| pki.own_beat(epoch).is_some());
        if peer.kept.contains_key(&(epoch, 0)) || lost || !peer.writing.insert(epoch) {
            return;
        }
        if let Some(beat) = peer.beat(&network, epoch) {
            self.write(life, OwnRecord::Beat(beat));
        }
    }

    /// Begins to write a record; it is said once it is durable.
    pub(super) fn write(&mut self, life: Life, record: OwnRecord) {
        let at = self.now + below(WRITE, &mut self.dice.disks);
        self.queue.plan(at, Event::Durable(life, Box::new(record)));
    }

    pub(super) fn durable(&mut self, life: Life, record: OwnRecord) {
        if self.runs(life) {
            self.say(life.node, record);
            self.drain(life.node);
        }
    }
}
