//! Nodes that break the rules. Each runs the production Pki, so it knows what honest nodes know, and says other things as well.

use std::sync::Arc;

use dht::OwnRecord;
use dht::beat::BEAT_LEN;
use dht::bundle::{BundleWriter, Record};
use dht::certificate::{Proposal, Vote};
use dht::directory::{Basis, Directory};
use dht::epoch;
use dht::id::Cell;
use dht::vrf::VrfSecret;
use mix::time::Span;
use rand_core::Rng;

use super::peer::Role;
use super::queue::{Event, Life};
use super::{Mesh, place};

/// Between two floods of one node.
const FLOOD: Span = Span::from_secs(60);
/// Forged records in a flood.
const FORGED: usize = 8;
/// Nodes that an omitting proposer leaves out.
const OMITTED: usize = 5;

impl Mesh {
    /// What a hostile node does instead of, or beside, saying a record of its own. `None`: it has been dealt with.
    pub(super) fn twist(&mut self, node: u32, record: OwnRecord) -> Option<OwnRecord> {
        match (self.peers[node as usize].role, record) {
            (Role::TwoBeats, OwnRecord::Beat(beat)) => {
                let network = self.network;
                let second = self.peers[node as usize].beat(&network, beat.epoch());
                if let Some(second) = second {
                    self.spread(node, &[Record::Beat(second.as_bytes())]);
                }
                Some(OwnRecord::Beat(beat))
            }
            (Role::TwoVotes, OwnRecord::Vote(vote)) => {
                if let Some(second) = self.second_vote(node, &vote) {
                    self.spread(node, &[Record::Vote(second.as_bytes())]);
                }
                Some(OwnRecord::Vote(vote))
            }
            (Role::Omitter, OwnRecord::Proposal(proposal)) => {
                let other = self.without_some(node, &proposal).unwrap_or(proposal);
                self.spread(node, &[Record::Proposal(other.as_bytes())]);
                None
            }
            (Role::Forger, OwnRecord::Proposal(proposal)) => {
                // A tree that grants what no rule grants: nobody can build it.
                let mut header = *proposal.header();
                header.tree[0] ^= 1;
                let key = &self.peers[node as usize].key;
                let forged = Proposal::sign(&self.network, key, &header, proposal.view());
                self.spread(node, &[Record::Proposal(forged.as_bytes())]);
                None
            }
            (_, record) => Some(record),
        }
    }

    /// When a hostile node makes its beat: one of them just as the set is cut off.
    pub(super) fn beat_time(
        &self,
        node: u32,
        epoch: u32,
        due: mix::time::Moment,
    ) -> mix::time::Moment {
        match self.peers[node as usize].role {
            Role::Late => epoch::cutoff(&self.config.params, epoch),
            _ => due,
        }
    }

    /// Floods begin with the node.
    pub(super) fn plan_flood(&mut self, life: Life) {
        if self.peers[life.node as usize].role == Role::Flooder {
            self.queue.plan(self.now + FLOOD, Event::Flood(life));
        }
    }

    /// Forged beats, and records of the epoch before.
    pub(super) fn flood(&mut self, life: Life) {
        if !self.runs(life) {
            return;
        }
        let current = epoch::epoch_at(&self.config.params, self.now);
        let old = current.checked_sub(1);
        if let Some(set) = self
            .directory(life.node, current)
            .filter(|set| !set.is_empty())
        {
            for _ in 0..FORGED {
                let pick = place(set.len(), &mut self.dice.hostile);
                let Some(entry) = set.entry(pick) else {
                    continue;
                };
                let mut forged = *entry.beat().as_bytes();
                forged[BEAT_LEN - 1 - (self.dice.hostile.next_u32() % 64) as usize] ^= 1;
                self.spread(life.node, &[Record::Beat(&forged)]);
            }
        }
        if let Some(set) = old.and_then(|old| self.directory(life.node, old)) {
            let pick = place(set.len(), &mut self.dice.hostile);
            if let Some(entry) = set.entry(pick) {
                let descriptor = entry.descriptor().as_bytes();
                let records = [
                    Record::Descriptor(descriptor),
                    Record::Beat(entry.beat().as_bytes()),
                ];
                self.spread(life.node, &records);
            }
        }
        self.queue.plan(self.now + FLOOD, Event::Flood(life));
    }

    /// Says something to half of the neighbours, behind the back of the node's Pki.
    fn spread(&mut self, node: u32, records: &[Record<'_>]) {
        let mut bundle = BundleWriter::new(Cell::WHOLE, self.dice.hostile.next_u32());
        for record in records {
            bundle.push(*record);
        }
        let links = self.peers[node as usize].links.clone();
        let half = links.into_iter().step_by(2).collect();
        self.say_to(node, bundle.finish(), half);
    }

    /// A vote for another root, in the same epoch.
    fn second_vote(&mut self, node: u32, vote: &Vote) -> Option<Vote> {
        let seed = self.directory(node, vote.epoch())?.header().seed;
        let mut root = vote.root();
        root[0] ^= 1;
        let key = &self.peers[node as usize].key;
        let vrf = VrfSecret::of_identity(key);
        let said = (vote.epoch(), root, vote.presence());
        Some(Vote::sign(&self.network, key, &vrf, &seed, said))
    }

    /// The same proposal for a set that lacks some nodes.
    fn without_some(&mut self, node: u32, proposal: &Proposal) -> Option<Proposal> {
        let header = *proposal.header();
        let set = self.directory(node, header.epoch)?;
        let before = header.epoch.checked_sub(1);
        let before = before.and_then(|before| self.directory(node, before));
        let basis = Basis {
            certified: before,
            bans: set.bans().clone(),
            previous_certificate: header.previous_certificate,
        };
        let pairs = set.nodes().skip(OMITTED).map(|entry| {
            (
                Arc::new(entry.descriptor().clone()),
                Arc::new(entry.beat().clone()),
            )
        });
        let params = self.config.params.clone();
        let other = Directory::build_on(&params, header.epoch, header.seed, pairs, &basis);
        let key = &self.peers[node as usize].key;
        let view = proposal.view();
        Some(Proposal::sign(&self.network, key, other.header(), view))
    }
}
