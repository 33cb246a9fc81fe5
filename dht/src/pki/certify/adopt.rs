//! How a node takes up a chain of certificates that it has no means to check: a newcomer, or one that was away for too long.
//!
//! It reads the whole set of a certified head, page by page with the standings that the leaves name, and goes on from there: what
//! it can check is that records, standings, bans and candidates are those the header commits to. That the header is the mesh's is
//! trust on first use; the next certificates, checked by its candidates, bear it out. A checkpoint from elsewhere comes before it.

use crate::{
    bans::Bans,
    beat::Beat,
    certificate::Certificate,
    committee::HANDOVER,
    counters::{DropReason, Verdict},
    descriptor::Descriptor,
    directory::{Directory, Header},
    page::{Head, RecordPair, bans_key},
    pki::{Pki, lookup::Wanted, store::Certified},
    weights::Standing,
};
use mix::ShortId;
use std::{collections::BTreeMap, sync::Arc};

/// Ways on that are looked for after the first, in the life of a process.
const REJOINS: u32 = 16;

/// A certified set on its way in.
#[derive(Debug)]
pub(super) struct Adoption {
    certificate: Certificate,
    root: [u8; 32],
    parts: BTreeMap<ShortId, (Standing, Arc<Descriptor>, Arc<Beat>)>,
    bans: Option<Bans>,
}

impl Pki {
    /// The certificate in a head. Whether the head is one to go on with: its seed is ours, or we have no part in any chain yet.
    pub(in crate::pki) fn take_certified_head(&mut self, head: &Head) -> Result<(), DropReason> {
        if !head.certificate.is_empty() {
            let certificate = Certificate::decode(&head.certificate)?;
            if *certificate.header() != head.header {
                return Err(DropReason::Malformed);
            }
            match self.take_certificate(&head.certificate) {
                Ok(_) => {}
                Err(DropReason::Witness) if self.may_adopt(head.header.epoch) => {
                    self.certify.behind = true;
                    self.begin_adoption(certificate);
                }
                Err(DropReason::Witness) => {
                    self.counters.drop(DropReason::Witness);
                    self.go_on_from_the_root(head.header.epoch);
                }
                Err(reason) => self.counters.drop(reason),
            }
        }
        let ours = head.header.seed == self.store.seed(head.header.epoch);
        if ours || self.adopts(&head.header.root()) {
            Ok(())
        } else {
            Err(DropReason::Unwanted)
        }
    }

    /// Who came by a root that it trusts looks for the way on from where it got to, when a head says that there is more: liars may
    /// have hidden a certificate from it. A few times only, for such heads cost nothing to make.
    fn go_on_from_the_root(&mut self, epoch: u32) {
        let newest = self.store.past().last().map(|last| last.directory.clone());
        if let Some(last) = newest.filter(|last| last.epoch() < epoch)
            && self.came_by_root()
            && self.is_new()
            && self.newcomer.is_none()
            && self.certify.rejoins < REJOINS
        {
            self.certify.rejoins += 1;
            self.join(self.now, last.root());
        }
    }

    /// Only who has no past, or one that ended too long ago, goes on from what it can't check. Who trusts a root never does: its
    /// way on is the chain.
    fn may_adopt(&self, epoch: u32) -> bool {
        if self.came_by_root() {
            return false;
        }
        match self.store.past().last() {
            None => true,
            Some(last) => {
                let of = last.directory.epoch();
                let gap = epoch.saturating_sub(of);
                gap > HANDOVER || (gap > 1 && self.is_new())
            }
        }
    }

    fn begin_adoption(&mut self, certificate: Certificate) {
        let header = *certificate.header();
        let root = header.root();
        if let Some(adoption) = &self.certify.adoption {
            let under_way = self.lookups.header(&adoption.root).is_some();
            if adoption.root == root || under_way {
                return;
            }
        }
        let none = Bans::default();
        let bans = (none.hash() == header.bans).then_some(none);
        if bans.is_none() {
            let key = bans_key(&header.bans);
            self.lookups.ask(key, Wanted::Bans { hash: header.bans });
        }
        self.certify.adoption = Some(Adoption {
            certificate,
            root,
            parts: BTreeMap::new(),
            bans,
        });
    }

    /// Whether the set of this root is being taken up.
    pub(in crate::pki) fn adopts(&self, root: &[u8; 32]) -> bool {
        let adoption = self.certify.adoption.as_ref();
        adoption.is_some_and(|adoption| adoption.root == *root)
    }

    /// A record of a page of the set that is being taken up, checked before.
    pub(in crate::pki) fn adopt_record(&mut self, root: &[u8; 32], pair: &RecordPair) {
        let Some(adoption) = (self.certify.adoption.as_mut()).filter(|one| one.root == *root)
        else {
            return;
        };
        let Ok(descriptor) = Descriptor::decode(&pair.descriptor) else {
            return;
        };
        let memo = self.store.memo();
        let beat = memo.beat(&self.network, &descriptor.id(), &pair.beat);
        let descriptor = memo.descriptor(&self.network, descriptor);
        if let (Ok(beat), Ok(descriptor)) = (beat, descriptor)
            && adoption.parts.len() <= self.store.caps().nodes
        {
            let part = (pair.standing, descriptor, beat);
            adoption.parts.insert(part.2.short_id(), part);
        }
    }

    /// The list of bans that a header commits to.
    pub(in crate::pki) fn take_bans(
        &mut self,
        hash: &[u8; 32],
        bytes: &[u8],
    ) -> Result<Verdict, DropReason> {
        let bans = Bans::decode(bytes)?;
        if bans.hash() != *hash {
            return Err(DropReason::Unwanted);
        }
        if let Some(adoption) = &mut self.certify.adoption
            && adoption.certificate.header().bans == *hash
        {
            adoption.bans = Some(bans);
        }
        self.finish_adoption();
        Ok(Verdict::Accept)
    }

    /// Goes on from the set that was read, once it is whole.
    pub(in crate::pki) fn finish_adoption(&mut self) {
        let Some(adoption) = &self.certify.adoption else {
            return;
        };
        let header: Header = *adoption.certificate.header();
        let Some(bans) = &adoption.bans else { return };
        if adoption.parts.len() < header.count as usize {
            return;
        }
        let parts = adoption.parts.values().cloned();
        let set = Directory::restore(&self.params, &header, parts, bans.clone());
        let Some(adoption) = self.certify.adoption.take() else {
            return;
        };
        let Some(set) = set.map(Arc::new) else {
            self.counters.drop(DropReason::Malformed);
            return;
        };
        self.counters.adopted += 1;
        self.adopt(set, adoption.certificate);
    }

    /// Goes on from a certified set whose header is trusted.
    pub(in crate::pki) fn adopt(&mut self, set: Arc<Directory>, certificate: Certificate) {
        let epoch = set.epoch();
        self.certify.behind = false;
        self.store.trust_seed(epoch, set.header().seed);
        self.held.hold(set.clone());
        self.store.certify(Certified {
            certificate: Arc::new(certificate.clone()),
            directory: set,
        });
        self.certify.round(epoch).certificates.clear();
        self.keep_certificate(epoch, certificate);
    }
}
