//! What survives a restart: the descriptors and beats known, so that a node finds its peers again without bootstrap.
//!
//! The bytes hold only public records. They are checked again when read: a file is no more trusted than a peer. SPEC.md §12.

use super::{Pki, store::Outcome};
use crate::{
    bundle::{self, Record},
    wire::Reader,
};
use mix::time::Moment;

const VERSION: u8 = 1;

/// Why a snapshot isn't read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Written by a newer version of this software.
    #[error("the cached peers have version {0}, this program reads version {VERSION}")]
    Version(u8),
    /// Of another network.
    #[error("the cached peers belong to another network")]
    Network,
    /// Cut off or damaged. What came before the damage was taken.
    #[error("the cached peers are damaged")]
    Damaged,
}

impl Pki {
    /// The records of the current and the next epoch and all descriptors: `version 1 | network id 32 | records`, each as in a
    /// bundle. At most (320 + 2 × 136 + 9) B per node.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.network.0);
        for (_, descriptor) in self.store.descriptors() {
            bundle::put(&mut out, Record::Descriptor(descriptor.as_bytes()));
        }
        for beat in self.store.live_beats() {
            bundle::put(&mut out, Record::Beat(beat.as_bytes()));
        }
        out
    }

    /// Takes the records of a snapshot that are still valid; returns how many were new. Costs one signature check each.
    ///
    /// # Errors
    /// [`SnapshotError`]; records before the damage have been taken. Nothing is lost by going on without.
    pub fn restore(&mut self, now: Moment, bytes: &[u8]) -> Result<usize, SnapshotError> {
        self.advance(now);
        let mut reader = Reader::new(bytes);
        match reader.u8() {
            Some(VERSION) => {}
            Some(version) => return Err(SnapshotError::Version(version)),
            None => return Err(SnapshotError::Damaged),
        }
        if reader.array().ok_or(SnapshotError::Damaged)? != self.network.0 {
            return Err(SnapshotError::Network);
        }
        let mut taken = 0;
        // Bounded by the caps: more records than they allow are not read.
        let most = self.store.caps().nodes.saturating_mul(4);
        for _ in 0..most {
            if reader.end().is_some() {
                break;
            }
            let outcome = match bundle::record(&mut reader).ok_or(SnapshotError::Damaged)? {
                Record::Descriptor(bytes) => {
                    self.store
                        .insert_descriptor(self.now, bytes, &mut self.counters)
                }
                Record::Beat(bytes) => self.store.insert_beat(self.now, bytes, &mut self.counters),
                Record::Proposal(bytes) => self.take_proposal(bytes),
                Record::Vote(bytes) => self.take_vote(bytes),
                Record::Fault(bytes) => self.take_fault(bytes),
            };
            match outcome {
                Outcome::New => taken += 1,
                Outcome::Dropped(reason) => self.counters.drop(reason),
                Outcome::Seen | Outcome::Unchecked | Outcome::Parked(_) => {}
            }
        }
        // Others have them; there is nothing to gossip onwards.
        self.store.take_resolved();
        Ok(taken)
    }
}
