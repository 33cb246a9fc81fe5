//! What real nodes of a small network say to each other: gossip, votes, values of lookups, reconciliation, snapshots. Recorded from
//! state machines that talk for three epochs; one of them has missed what the others know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use dht::pki::{Caps, SyncPeer, WitnessKeys};
use dht::vrf::VrfSecret;
use dht::{NodeId, OwnRecord, Pki};
use mix::time::{Moment, Span};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::dht_world::{LIAR, Node, PARAMS, middle};

/// Nodes that talk; the last is the liar.
const TALKERS: u32 = LIAR + 1;
/// Of each kind so many are kept.
const KEPT: usize = 48;

/// What is kept of what was said.
#[derive(Default)]
pub struct Traffic {
    /// Gossip.
    pub bundles: Vec<Vec<u8>>,
    /// Values under their keys.
    pub values: Vec<([u8; 32], Vec<u8>)>,
    /// Requests to neighbours.
    pub requests: Vec<Vec<u8>>,
    /// Their answers.
    pub answers: Vec<Vec<u8>>,
    /// What nodes keep on disk.
    pub snapshots: Vec<Vec<u8>>,
}

/// All of it.
pub static TRAFFIC: LazyLock<Traffic> = LazyLock::new(record);

/// Every record that some node has signed.
pub static SIGNED: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let mut signed = BTreeSet::new();
    for node in (0..TALKERS).map(Node::new) {
        signed.insert(node.descriptor(0, 1).as_bytes().to_vec());
        for epoch in 0..6 {
            signed.insert(node.beat(epoch, 0).as_bytes().to_vec());
            if node.number == LIAR {
                signed.insert(node.beat(epoch, 1).as_bytes().to_vec());
            }
        }
    }
    signed
});

/// A state machine of its own that knows nobody.
pub fn pki(number: u32, caps: Caps) -> Pki {
    let rng = ChaCha20Rng::seed_from_u64(number.into());
    Pki::new(PARAMS.clone(), Node::new(number).id(), caps, rng)
}

fn keep<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if list.len() < KEPT && !list.contains(&item) {
        list.push(item);
    }
}

/// The nodes, and what the Kademlia of them all holds.
struct Mesh {
    pkis: Vec<(NodeId, Pki)>,
    values: BTreeMap<[u8; 32], Vec<u8>>,
    now: Moment,
    said: Traffic,
}

fn record() -> Traffic {
    let mut mesh = Mesh {
        pkis: (0..TALKERS)
            .map(|n| (Node::new(n).id(), pki(n, Caps::default())))
            .collect(),
        values: BTreeMap::new(),
        now: middle(1),
        said: Traffic::default(),
    };
    for (number, (_, pki)) in (0u32..).zip(&mut mesh.pkis) {
        let signer = Node::new(number).key;
        let vrf = VrfSecret::of_identity(&signer);
        pki.set_witness(WitnessKeys { signer, vrf });
    }
    for epoch in 1..4 {
        mesh.beats(epoch);
        while mesh.now < middle(epoch) + Span::from_millis(PARAMS.epoch_ms) {
            mesh.turn();
        }
        for (_, pki) in mesh.pkis.iter_mut().take(2) {
            let snapshot = pki.snapshot();
            keep(&mut mesh.said.snapshots, snapshot);
        }
    }
    mesh.said
}

impl Mesh {
    /// Everyone publishes for this epoch and the next, but the liar says something else in the next.
    fn beats(&mut self, epoch: u32) {
        for (number, (_, pki)) in (0u32..).zip(&mut self.pkis) {
            let node = Node::new(number);
            let lies = u8::from(number == LIAR && epoch > 1);
            let own = [
                OwnRecord::Descriptor(node.descriptor(0, 1)),
                OwnRecord::Beat(node.beat(epoch, lies)),
                OwnRecord::Beat(node.beat(epoch + 1, u8::from(number == LIAR))),
            ];
            for record in own {
                // The second beat of an epoch is the liar's alone, and refused.
                let _ = pki.publish(self.now, record);
            }
        }
    }

    /// Half a second: everyone says what it has to say, and hears what the others said. Node 1 misses half of the gossip.
    fn turn(&mut self) {
        self.now += Span::from_millis(500);
        for at in 0..self.pkis.len() {
            let now = self.now;
            let (own, pki) = &mut self.pkis[at];
            let own = *own;
            pki.handle_timeout(now);
            while let Some(duty) = pki.poll_duty() {
                let _ = pki.publish(now, duty);
            }
            let bundles: Vec<_> = core::iter::from_fn(|| pki.poll_bundle()).collect();
            let served: Vec<_> = core::iter::from_fn(|| pki.poll_serve()).collect();
            for (key, value) in served {
                keep(&mut self.said.values, (key, value.clone()));
                self.values.insert(key, value);
            }
            while let Some(key) = self.pkis[at].1.poll_lookup() {
                if let Some(value) = self.values.get(&key) {
                    self.pkis[at].1.handle_record(now, &key, value);
                }
                self.pkis[at].1.handle_lookup_done(now, &key);
            }
            for bundle in bundles {
                for (other, (_, pki)) in self.pkis.iter_mut().enumerate() {
                    if other != at && (other != 1 || bundle[4] % 2 == 0) {
                        pki.handle_bundle(now, &bundle);
                    }
                }
                keep(&mut self.said.bundles, bundle);
            }
            while let Some(asked) = self.pkis[at].1.poll_sync() {
                let peer = match &asked.peer {
                    SyncPeer::This(peer) => *peer,
                    SyncPeer::Any { lot, .. } => {
                        self.pkis
                            [(at + 1 + *lot as usize % (self.pkis.len() - 1)) % self.pkis.len()]
                        .0
                    }
                };
                let other = self.pkis.iter_mut().find(|(id, _)| *id == peer);
                let answer =
                    other.and_then(|(_, pki)| pki.handle_sync_request(now, &own, &asked.request));
                keep(&mut self.said.requests, asked.request);
                let pki = &mut self.pkis[at].1;
                match answer {
                    Some(answer) => {
                        pki.handle_sync_response(now, asked.token, &peer, &answer);
                        keep(&mut self.said.answers, answer);
                    }
                    None => pki.handle_sync_failed(now, asked.token),
                }
            }
        }
    }
}
