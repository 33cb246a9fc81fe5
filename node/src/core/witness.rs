//! What a node signs as a witness: proposals and votes, each on disk before anybody learns of it.
//!
//! One vote per node and epoch, ever, like the beat. After a restart what is on disk is published again, if the epoch's mix key
//! is there as well: without it the node has lost state and sits the epoch out.

use dht::certificate::{Proposal, Vote};
use dht::pki::{OwnRecord, WitnessKeys};
use dht::vrf::VrfSecret;
use mix::time::Moment;
use storage::backend::Backend;

use super::records::key;
use super::{Core, Then};
use crate::error::Error;

const PROPOSAL: u8 = 1;
const VOTE: u8 = 2;

impl<B: Backend> Core<B> {
    /// The keys that the node witnesses with.
    pub(super) fn witness_keys(&self) -> WitnessKeys {
        let signer = self.identity.signer();
        let vrf = VrfSecret::of_identity(&signer);
        WitnessKeys { signer, vrf }
    }

    /// What the descriptor says of them.
    pub(super) fn vrf_key(&self) -> [u8; 32] {
        self.witness_keys().vrf.public().to_bytes()
    }

    /// Writes what the node has signed; it is published once durable.
    pub(super) fn write_duties(&mut self) {
        while let Some(duty) = self.pki.poll_duty() {
            let (epoch, value) = match &duty {
                OwnRecord::Proposal(one) => (one.header().epoch, stored(PROPOSAL, one.as_bytes())),
                OwnRecord::Vote(one) => (one.epoch(), stored(VOTE, one.as_bytes())),
                OwnRecord::Descriptor(_) | OwnRecord::Beat(_) => continue,
            };
            self.write_state(&duty_key(epoch, value[0]), &value);
            self.signed.insert(epoch);
            self.journal.after(Then::Sign(Box::new(duty)));
        }
    }

    /// A proposal or vote is durable.
    pub(super) fn publish_duty(&mut self, now: Moment, duty: OwnRecord) {
        if let Err(error) = self.pki.publish(now, duty) {
            tracing::warn!(%error, "what this node signed as a witness was not published");
        }
    }

    /// Takes up again what was signed before a restart, before anything new is.
    pub(super) fn load_duties(&mut self, now: Moment) -> Result<(), Error> {
        let current = self.epoch(now);
        for (_, value) in self.read_state(key::DUTY)? {
            let duty = match value.split_first() {
                Some((&PROPOSAL, bytes)) => Proposal::decode(bytes).map(OwnRecord::Proposal),
                Some((&VOTE, bytes)) => Vote::decode(bytes).map(OwnRecord::Vote),
                _ => continue,
            };
            let Ok(duty) = duty else { continue };
            let epoch = match &duty {
                OwnRecord::Proposal(one) => one.header().epoch,
                OwnRecord::Vote(one) => one.epoch(),
                OwnRecord::Descriptor(_) | OwnRecord::Beat(_) => continue,
            };
            self.signed.insert(epoch);
            if epoch >= current && self.keys.usable(epoch).is_some() {
                self.publish_duty(now, duty);
            }
        }
        Ok(())
    }

    /// What was signed for epochs that are over is of no use.
    pub(super) fn forget_duties(&mut self, current: u32) {
        while let Some(epoch) = self
            .signed
            .first()
            .copied()
            .filter(|epoch| *epoch < current)
        {
            self.signed.remove(&epoch);
            self.delete_state(&duty_key(epoch, PROPOSAL));
            self.delete_state(&duty_key(epoch, VOTE));
        }
    }
}

fn stored(kind: u8, bytes: &[u8]) -> Vec<u8> {
    let mut value = vec![kind];
    value.extend_from_slice(bytes);
    value
}

fn duty_key(epoch: u32, kind: u8) -> String {
    let mut id = epoch.to_be_bytes().to_vec();
    id.push(kind);
    key::of(key::DUTY, &id)
}
