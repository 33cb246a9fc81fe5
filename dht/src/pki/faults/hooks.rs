//! What this room asks of the one that certifies.

use crate::{
    committee::Candidates,
    counters::Verdict,
    directory::Directory,
    pki::{Pki, sync::Topic},
};
use ed25519_dalek::SigningKey;
use std::sync::Arc;

impl Pki {
    /// The last certified directory.
    pub(in crate::pki) fn last_certified(&self) -> Option<Arc<Directory>> {
        None
    }

    /// A certificate of an epoch: the one with this hash, or any if it is zero.
    pub(in crate::pki) fn certificate_for(&self, _: u32, _: &[u8; 32]) -> Option<Vec<u8>> {
        None
    }

    /// A neighbour's certificate; empty if it has none.
    pub(in crate::pki) fn take_certificate_answer(&mut self, _: Topic, _: &[u8]) -> Verdict {
        Verdict::Ignore
    }

    /// The candidates of an epoch; none if they aren't known.
    pub(in crate::pki) fn candidates_of(&self, _: u32) -> Candidates {
        Candidates::default()
    }

    /// The key we sign as a witness with.
    pub(in crate::pki) fn witness_key(&self) -> Option<&SigningKey> {
        None
    }
}
