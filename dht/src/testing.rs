//! Nodes made from a number, for tests: the same number, the same keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use crate::{
    beat::{Beat, BeatFields},
    certificate::{Certificate, Vote},
    committee::{Candidates, Committee},
    descriptor::{Capability, Descriptor, DescriptorFields},
    directory::{Basis, Directory},
    epoch,
    id::{NodeId, short_id},
    network::NetworkParams,
    pki::WitnessKeys,
    vrf::VrfSecret,
};
use ed25519_dalek::SigningKey;
use mix::{MixSecret, NetworkId, ShortId, time::Moment};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::sync::Arc;

/// A network of tests: minute-long epochs from a round genesis.
pub(crate) fn params() -> Arc<NetworkParams> {
    Arc::new(NetworkParams {
        genesis_ms: 1_800_000_000_000,
        ..NetworkParams::local()
    })
}

pub(crate) fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

#[derive(Clone)]
pub(crate) struct TestNode {
    pub(crate) number: u32,
    pub(crate) key: SigningKey,
    pub(crate) network: NetworkId,
    pub(crate) params: Arc<NetworkParams>,
    pub(crate) capability: Capability,
}

impl TestNode {
    pub(crate) fn new(params: &Arc<NetworkParams>, number: u32) -> Self {
        let mut secret = [0x40; 32];
        secret[..4].copy_from_slice(&number.to_le_bytes());
        Self {
            number,
            key: SigningKey::from_bytes(&secret),
            network: params.id(),
            params: params.clone(),
            capability: Capability::FULL,
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        NodeId(self.key.verifying_key().to_bytes())
    }

    pub(crate) fn short(&self) -> ShortId {
        short_id(&self.network, &self.id())
    }

    pub(crate) fn witness(&self) -> WitnessKeys {
        WitnessKeys {
            signer: self.key.clone(),
            vrf: self.vrf(),
        }
    }

    pub(crate) fn vrf(&self) -> VrfSecret {
        VrfSecret::of_identity(&self.key)
    }

    /// Its vote for a directory, as one of a committee.
    pub(crate) fn vote(&self, directory: &Directory, committee: &Committee) -> Vote {
        let said = (directory.epoch(), directory.root(), committee.presence());
        let seed = directory.header().seed;
        Vote::sign(&self.network, &self.key, &self.vrf(), &seed, said)
    }

    pub(crate) fn fields(&self, now: Moment, seq: u64) -> DescriptorFields {
        DescriptorFields {
            seq,
            valid_from: now.as_millis(),
            valid_until: now.as_millis() + 24 * 3_600_000,
            capability: self.capability,
            subnet: self.number,
            vrf_key: self.vrf().public().to_bytes(),
            admission: Vec::new(),
            addresses: vec![vec![4, 127, 0, 0, 1, 6, 0x10, (self.number & 0xff) as u8]],
        }
    }

    pub(crate) fn descriptor(&self, now: Moment, seq: u64) -> Descriptor {
        Descriptor::sign(&self.network, &self.key, self.fields(now, seq)).unwrap()
    }

    /// A beat; another `variant` of the same epoch is an equivocation.
    pub(crate) fn beat(&self, epoch: u32, variant: u8) -> Beat {
        let mut seed = [variant; 32];
        seed[..4].copy_from_slice(&self.number.to_le_bytes());
        seed[4..8].copy_from_slice(&epoch.to_le_bytes());
        let secret = MixSecret::random(&mut ChaCha20Rng::from_seed(seed));
        let fields = BeatFields {
            epoch,
            mix_key: secret.public().to_bytes(),
            capability: self.capability,
            load: 0,
            replay_root: [0; 16],
        };
        Beat::sign(&self.network, &self.key, fields).unwrap()
    }

    /// Descriptor and beat for an epoch.
    pub(crate) fn records(&self, epoch: u32) -> (Descriptor, Beat) {
        (
            self.descriptor(epoch::start_of(&self.params, epoch), 1),
            self.beat(epoch, 0),
        )
    }
}

pub(crate) fn nodes(params: &Arc<NetworkParams>, count: u32) -> Vec<TestNode> {
    (0..count)
        .map(|number| TestNode::new(params, number))
        .collect()
}

/// The certified past of a mesh whose nodes are all there, all honest, from epoch 0 on.
pub(crate) struct Past {
    pub(crate) nodes: Vec<TestNode>,
    pub(crate) directories: Vec<Arc<Directory>>,
    pub(crate) certificates: Vec<Certificate>,
}

impl Past {
    /// Certifies epochs 0 to `epochs` − 1.
    pub(crate) fn new(params: &Arc<NetworkParams>, count: u32, epochs: u32) -> Self {
        let mut past = Self {
            nodes: nodes(params, count),
            directories: Vec::new(),
            certificates: Vec::new(),
        };
        let mut seeds = epoch::Seeds::genesis(params.genesis_seed());
        for e in 0..epochs {
            let basis = Basis::after(
                params,
                e,
                past.directories.last().cloned(),
                [],
                past.certificates.last().map_or([0; 32], Certificate::hash),
            );
            let records = past.nodes.iter().map(|node| node.records(e));
            let seed = seeds.at(e).unwrap();
            seeds.rest_on(e, &seed);
            let directory = Directory::build_on(params, e, seed, records, &basis);
            if let Some(before) = past.certificates.last() {
                seeds.commit(e + 1, &seed, &before.mix());
            }
            let committee = past.committee(&directory);
            let votes = past.votes(&directory, &committee);
            let certificate = Certificate::assemble(directory.header(), &committee, &votes);
            past.certificates.push(certificate.unwrap());
            past.directories.push(Arc::new(directory));
        }
        past
    }

    /// The candidates of a directory's epoch.
    pub(crate) fn candidates(&self, directory: &Directory) -> Candidates {
        match directory.epoch().checked_sub(1) {
            Some(before) => self.directories[before as usize].next_candidates().clone(),
            None => Candidates::draw(directory, 0),
        }
    }

    pub(crate) fn committee(&self, directory: &Directory) -> Committee {
        let present = |short: &ShortId| directory.by_short(short).is_some();
        Committee::of(&self.candidates(directory), present)
    }

    pub(crate) fn votes(&self, directory: &Directory, committee: &Committee) -> Vec<Vote> {
        let members = self.nodes.iter();
        members
            .filter(|node| committee.position_of(&node.short()).is_some())
            .map(|node| node.vote(directory, committee))
            .collect()
    }
}
