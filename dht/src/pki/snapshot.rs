//! What survives a restart: the records known, so that a node finds its peers again without bootstrap, and the certified past.
//!
//! The bytes hold only public records, and those are checked again when read. That the certified sets were certified is taken from
//! the file, as a checkpoint is: keep it where nobody else can write. SPEC.md §12.

use super::{
    Pki,
    store::{Certified, Outcome},
};
use crate::{
    bans::{Bans, MAX_BANS_LEN},
    bundle::{self, Record},
    certificate::Certificate,
    descriptor::Descriptor,
    directory::Directory,
    epoch::Seeds,
    weights::Standing,
    wire::Reader,
};
use mix::time::Moment;
use std::sync::Arc;

const VERSION: u8 = 2;
/// Certified sets, and certificates beside them, in a snapshot.
const MOST: usize = 8;

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
    /// The certified past, the proven faults, all descriptors and the beats of the current and the next epoch. Layout: SPEC.md §12.
    pub fn snapshot(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.network.0);
        let (committed, epoch) = self.store.past().seeds().committed();
        out.extend_from_slice(&committed);
        let epoch = epoch.map_or(0, |epoch| epoch.saturating_add(1));
        out.extend_from_slice(&epoch.to_le_bytes());
        let past: Vec<_> = self.store.past().all().take(MOST).collect();
        out.push(past.len() as u8);
        for certified in past {
            put_certified(&mut out, certified);
        }
        let certificates: Vec<_> = self.other_certificates().take(MOST).collect();
        out.push(certificates.len() as u8);
        for certificate in certificates {
            put_certificate(&mut out, certificate);
        }
        for proof in self.faults.proofs() {
            bundle::put(&mut out, Record::Fault(proof));
        }
        for (_, descriptor) in self.store.descriptors() {
            bundle::put(&mut out, Record::Descriptor(descriptor.as_bytes()));
        }
        for beat in self.store.live_beats() {
            bundle::put(&mut out, Record::Beat(beat.as_bytes()));
        }
        out
    }

    fn restore_past(&mut self, reader: &mut Reader<'_>) -> Option<()> {
        let committed = reader.array()?;
        let epoch = reader.u32()?.checked_sub(1);
        self.store.restore_seeds(Seeds::resume((committed, epoch)));
        for _ in 0..usize::from(reader.u8()?).min(MOST) {
            let certificate = certificate(reader)?;
            let len = reader.u32()? as usize;
            if len > MAX_BANS_LEN {
                return None;
            }
            let bans = Bans::decode(reader.bytes(len)?).ok()?;
            let header = *certificate.header();
            if header.count as usize > self.store.caps().nodes {
                return None;
            }
            let mut parts = Vec::new();
            for _ in 0..header.count {
                let standing = Standing::from_bytes(reader.array()?)?;
                let (Record::Descriptor(descriptor), Record::Beat(beat)) =
                    (bundle::record(reader)?, bundle::record(reader)?)
                else {
                    return None;
                };
                let memo = self.store.memo();
                let descriptor = Descriptor::decode(descriptor).ok()?;
                let beat = memo.beat(&self.network, &descriptor.id(), beat).ok()?;
                let descriptor = memo.descriptor(&self.network, descriptor).ok()?;
                parts.push((standing, descriptor, beat));
            }
            let set = Directory::restore(&self.params, &header, parts, bans)?;
            self.adopt(Arc::new(set), certificate);
        }
        for _ in 0..usize::from(reader.u8()?).min(MOST) {
            let certificate = certificate(reader)?;
            let epoch = certificate.epoch();
            if self
                .current
                .is_some_and(|now| epoch.saturating_add(1) >= now && epoch <= now + 1)
            {
                self.keep_certificate(epoch, certificate);
            }
        }
        Some(())
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
        self.restore_past(&mut reader)
            .ok_or(SnapshotError::Damaged)?;
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

fn put_certificate(out: &mut Vec<u8>, certificate: &Certificate) {
    let bytes = certificate.encode();
    out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn put_certified(out: &mut Vec<u8>, certified: &Certified) {
    put_certificate(out, &certified.certificate);
    let bans = certified.directory.bans().encode();
    out.extend_from_slice(&(bans.len() as u32).to_le_bytes());
    out.extend_from_slice(&bans);
    for entry in certified.directory.nodes() {
        out.extend_from_slice(&entry.standing().to_bytes());
        bundle::put(out, Record::Descriptor(entry.descriptor().as_bytes()));
        bundle::put(out, Record::Beat(entry.beat().as_bytes()));
    }
}

fn certificate(reader: &mut Reader<'_>) -> Option<Certificate> {
    let len = usize::from(reader.u16()?);
    Certificate::decode(reader.bytes(len)?).ok()
}
