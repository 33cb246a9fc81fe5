//! What the targets of the directory share: a small network whose keys are known, its certified past, and real records of it.
//!
//! Eight honest nodes, one liar who says everything twice, and strangers; everything is made once from fixed numbers.

use std::sync::{Arc, LazyLock};

use dht::beat::{Beat, BeatFields};
use dht::certificate::{Certificate, Proposal, Vote};
use dht::committee::{Candidates, Committee};
use dht::descriptor::{Capability, Descriptor, DescriptorFields};
use dht::directory::Basis;
use dht::epoch;
use dht::id::short_id;
use dht::vrf::VrfSecret;
use dht::{Directory, NetworkParams, NodeId};
use ed25519_dalek::SigningKey;
use mix::time::Moment;
use mix::{MixSecret, NetworkId, ShortId};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

/// Nodes 0 to 7 are honest …
pub const HONEST: u32 = 8;
/// … and the next one says everything twice.
pub const LIAR: u32 = HONEST;
/// Certified epochs.
pub const EPOCHS: u32 = 4;

/// A network of minute-long epochs.
pub static PARAMS: LazyLock<Arc<NetworkParams>> = LazyLock::new(|| {
    Arc::new(NetworkParams {
        genesis_ms: 1_800_000_000_000,
        ..NetworkParams::local()
    })
});

/// Its id.
pub static NETWORK: LazyLock<NetworkId> = LazyLock::new(|| PARAMS.id());

/// A node whose keys are known.
pub struct Node {
    /// Which one.
    pub number: u32,
    /// Its identity.
    pub key: SigningKey,
}

impl Node {
    /// Node `number`: always the same one.
    pub fn new(number: u32) -> Self {
        let mut secret = [0x40; 32];
        secret[..4].copy_from_slice(&number.to_le_bytes());
        let key = SigningKey::from_bytes(&secret);
        Self { number, key }
    }

    /// Its identity.
    pub fn id(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    /// Its name.
    pub fn short(&self) -> ShortId {
        short_id(&NETWORK, &self.id())
    }

    fn vrf(&self) -> VrfSecret {
        VrfSecret::of_identity(&self.key)
    }

    /// Its descriptor, valid for a day from the start of an epoch.
    pub fn descriptor(&self, epoch: u32, seq: u64) -> Descriptor {
        let from = epoch::start_of(&PARAMS, epoch).as_millis();
        let fields = DescriptorFields {
            seq,
            valid_from: from,
            valid_until: from + 24 * 3_600_000,
            capability: Capability::new((self.number % 9) as u8, true).unwrap_or(Capability::FULL),
            subnet: self.number,
            vrf_key: self.vrf().public().to_bytes(),
            admission: vec![7; self.number as usize % 3 * 16],
            addresses: vec![vec![4, 127, 0, 0, 1]; self.number as usize % 5],
        };
        Descriptor::sign(&NETWORK, &self.key, fields).expect("within the limits")
    }

    /// Its beat; another variant of the same epoch is an equivocation.
    pub fn beat(&self, epoch: u32, variant: u8) -> Beat {
        let mut seed = [variant; 32];
        seed[..4].copy_from_slice(&self.number.to_le_bytes());
        seed[4..8].copy_from_slice(&epoch.to_le_bytes());
        let fields = BeatFields {
            epoch,
            mix_key: MixSecret::random(&mut ChaCha20Rng::from_seed(seed))
                .public()
                .to_bytes(),
            capability: Capability::FULL,
            load: variant,
            replay_root: [variant; 16],
        };
        Beat::sign(&NETWORK, &self.key, fields).expect("a usable key")
    }

    /// Its vote for a set.
    pub fn vote(&self, directory: &Directory, committee: &Committee) -> Vote {
        let said = (directory.epoch(), directory.root(), committee.presence());
        let seed = directory.header().seed;
        Vote::sign(&NETWORK, &self.key, &self.vrf(), &seed, said)
    }

    /// Its proposal of a set.
    pub fn proposal(&self, directory: &Directory, view: u8) -> Proposal {
        Proposal::sign(&NETWORK, &self.key, directory.header(), view)
    }
}

/// What was certified.
pub struct Past {
    /// The honest ones and the liar.
    pub nodes: Vec<Node>,
    /// By epoch.
    pub directories: Vec<Arc<Directory>>,
    /// By epoch.
    pub certificates: Vec<Certificate>,
    /// Who could witness, by epoch.
    pub candidates: Vec<Candidates>,
}

/// The certified past.
pub static PAST: LazyLock<Past> = LazyLock::new(|| {
    let mut past = Past {
        nodes: (0..=LIAR).map(Node::new).collect(),
        directories: Vec::new(),
        certificates: Vec::new(),
        candidates: Vec::new(),
    };
    let mut seeds = epoch::Seeds::genesis(PARAMS.genesis_seed());
    for e in 0..EPOCHS {
        let before = past.certificates.last();
        let basis = Basis::after(
            &PARAMS,
            e,
            past.directories.last().cloned(),
            [],
            before.map_or([0; 32], Certificate::hash),
        );
        let records = past
            .nodes
            .iter()
            .map(|n| (n.descriptor(0, 1), n.beat(e, 0)));
        let seed = seeds.at(e).expect("later than any before");
        seeds.rest_on(e, &seed);
        let directory = Directory::build_on(&PARAMS, e, seed, records, &basis);
        if let Some(before) = before {
            seeds.commit(e + 1, &seed, &before.mix());
        }
        let candidates = match past.directories.last() {
            Some(before) => before.next_candidates().clone(),
            None => Candidates::draw(&directory, 0),
        };
        let committee = Committee::of(&candidates, |short| directory.by_short(short).is_some());
        let witnesses = past.nodes.iter();
        let votes: Vec<_> = witnesses
            .filter(|node| committee.position_of(&node.short()).is_some())
            .map(|node| node.vote(&directory, &committee))
            .collect();
        let certificate = Certificate::assemble(directory.header(), &committee, &votes);
        past.certificates.push(certificate.expect("a quorum"));
        past.directories.push(Arc::new(directory));
        past.candidates.push(candidates);
    }
    past
});

impl Past {
    /// The committee of an epoch.
    pub fn committee(&self, epoch: u32) -> Committee {
        let directory = &self.directories[epoch as usize];
        let present = |short: &ShortId| directory.by_short(short).is_some();
        Committee::of(&self.candidates[epoch as usize], present)
    }

    /// The set of an epoch as it would be without one of its nodes.
    pub fn without(&self, number: u32, epoch: u32) -> Directory {
        let honest = &self.directories[epoch as usize];
        let basis = Basis::after(
            &PARAMS,
            epoch,
            epoch
                .checked_sub(1)
                .map(|before| self.directories[before as usize].clone()),
            [],
            honest.header().previous_certificate,
        );
        let nodes = self.nodes.iter().filter(|node| node.number != number);
        let records = nodes.map(|node| (node.descriptor(0, 1), node.beat(epoch, 0)));
        Directory::build_on(&PARAMS, epoch, honest.header().seed, records, &basis)
    }
}

/// The middle of an epoch.
pub fn middle(epoch: u32) -> Moment {
    let from = epoch::start_of(&PARAMS, epoch).as_millis();
    Moment::from_millis(from + PARAMS.epoch_ms / 2)
}
