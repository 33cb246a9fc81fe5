//! How a newcomer follows the certificates from a checkpoint it trusts to the present.
//!
//! Each header commits to the candidates of the next epoch, so each certificate can be checked by the one before. SPEC.md §18.

use super::{Certificate, CertificateError};
use crate::{
    committee::{self, Candidates},
    directory::Header,
    epoch::Seeds,
};
use mix::NetworkId;

/// The end of a chain that holds from its checkpoint on.
#[derive(Clone, Debug)]
pub struct Chain {
    network: NetworkId,
    tip: Header,
    /// Candidates that the tip commits to.
    next: Candidates,
    /// The tip's certificate; `None` at the checkpoint.
    certificate: Option<Certificate>,
    /// Known from the second certificate on that commits to the one before it.
    seeds: Option<Seeds>,
}

/// Why a chain can't be continued by what was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// Not the header or the candidates that the root before commits to.
    #[error("it is not what the root before it commits to")]
    Commitment,
    /// Of an epoch that is over, or further on than candidates are handed over: it takes a newer checkpoint.
    #[error("epoch {0} can't be reached from the certificates before it")]
    Gap(u32),
    /// The certificate itself doesn't hold.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Its header commits to another certificate than the one before.
    #[error("its header commits to another certificate than the one before it")]
    Previous,
    /// Its header has another seed than the certificates before it make.
    #[error("its seed does not follow from the certificates before it")]
    Seed,
}

/// The seeds after a certified header that commits to no certificate.
fn resting(header: &Header) -> Seeds {
    let mut seeds = Seeds::genesis([0; 32]);
    seeds.rest_on(header.epoch, &header.seed);
    seeds
}

impl Chain {
    /// Starts at a root trusted from elsewhere (a contact's address, a release): its header and the candidates it commits to.
    ///
    /// # Errors
    /// [`ChainError::Commitment`], or [`CertificateError::Network`].
    pub fn from_checkpoint(
        network: NetworkId,
        root: &[u8; 32],
        header: Header,
        next: Candidates,
    ) -> Result<Self, ChainError> {
        if header.params != network {
            return Err(CertificateError::Network.into());
        }
        if header.root() != *root || header.next_committee != next.hash() {
            return Err(ChainError::Commitment);
        }
        Ok(Self {
            network,
            tip: header,
            next,
            certificate: None,
            seeds: (header.previous_certificate == [0; 32]).then(|| resting(&header)),
        })
    }

    /// Takes the next certificate and the candidates its header commits to. Nothing changes unless all of it holds.
    ///
    /// An epoch may be missing as long as candidates are handed over. If the epoch before has its certificate in the chain, it must
    /// be the very one that the header commits to, or none.
    ///
    /// # Errors
    /// [`ChainError`].
    pub fn extend(
        &mut self,
        certificate: &Certificate,
        next: Candidates,
    ) -> Result<(), ChainError> {
        let header = certificate.header();
        let epoch = header.epoch;
        if !committee::handed_over(self.tip.epoch, epoch) {
            return Err(ChainError::Gap(epoch));
        }
        if header.next_committee != next.hash() {
            return Err(ChainError::Commitment);
        }
        let before = self
            .certificate
            .as_ref()
            .filter(|before| before.epoch().checked_add(1) == Some(epoch));
        let commits = header.previous_certificate != [0; 32];
        if commits && before.is_some_and(|held| held.hash() != header.previous_certificate) {
            return Err(ChainError::Previous);
        }
        // Headers between would have a certificate before them that this chain lacks.
        if commits && before.is_none() && epoch != self.tip.epoch + 1 {
            return Err(ChainError::Previous);
        }
        if self
            .seeds
            .is_some_and(|seeds| seeds.at(epoch) != Some(header.seed))
        {
            return Err(ChainError::Seed);
        }
        certificate.verify(&self.network, &self.next)?;
        if let (true, Some(before)) = (commits, before) {
            let mut seeds = resting(header);
            seeds.commit(epoch.saturating_add(1), &header.seed, &before.mix());
            self.seeds = Some(seeds);
        } else if commits {
            // Right behind the checkpoint: it commits to a certificate that the chain doesn't hold, so the seeds are unknown.
            self.seeds = None;
        } else {
            self.seeds = Some(resting(header));
        }
        self.tip = *header;
        self.next = next;
        self.certificate = Some(certificate.clone());
        Ok(())
    }

    /// The last header that holds.
    pub fn tip(&self) -> &Header {
        &self.tip
    }

    /// Who may witness the epoch after it.
    pub fn candidates(&self) -> &Candidates {
        &self.next
    }

    /// The last certificate; `None` at the checkpoint.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// The seeds from here on, once the chain has seen one being committed.
    pub fn seeds(&self) -> Option<Seeds> {
        self.seeds
    }
}
