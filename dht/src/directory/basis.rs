//! What the set of an epoch rests on besides its records: the past. SPEC.md §14.

use super::{Directory, Entry};
use crate::{
    bans::{Bans, Offence},
    network::NetworkParams,
    weights::{self, Claim, MAX_AGE, Standing},
};
use mix::ShortId;
use std::sync::Arc;

/// The past that a directory follows from. Two nodes with the same records and the same basis compute the same header.
#[derive(Clone, Debug, Default)]
pub struct Basis {
    /// The last certified directory before this one; `None` if there is none yet, then nobody's age is known and everyone counts
    /// as grown up.
    pub certified: Option<Arc<Directory>>,
    /// Who is kept out: see [`Basis::after`].
    pub bans: Bans,
    /// Hash of certificate e−1; zero if epoch e−1 has none.
    pub previous_certificate: [u8; 32],
}

impl Basis {
    /// The basis of `epoch`: the last certified directory, the faults known, and the certificate of the epoch before that the
    /// proposer chose.
    pub fn after(
        params: &NetworkParams,
        epoch: u32,
        certified: Option<Arc<Directory>>,
        offences: impl IntoIterator<Item = Offence>,
        previous_certificate: [u8; 32],
    ) -> Self {
        let before = certified.as_ref().map(|directory| directory.bans().clone());
        let member = |short: &ShortId| {
            certified
                .as_ref()
                .is_none_or(|directory| directory.by_short(short).is_some())
        };
        let bans = before
            .unwrap_or_default()
            .next(epoch, params.ban_epochs, offences, member);
        Self {
            certified,
            bans,
            previous_certificate,
        }
    }

    /// How old a node is in `epoch`: one more than in the last certified directory, if it was there with the same VRF key.
    ///
    /// A changed VRF key makes a node young again: who could change it after the seed is known would choose its output.
    fn age(&self, params: &NetworkParams, epoch: u32, entry: &Entry) -> u8 {
        let Some(certified) = &self.certified else {
            return MAX_AGE;
        };
        if weights::in_genesis_window(params, epoch) {
            return MAX_AGE;
        }
        let key = |entry: &Entry| entry.descriptor().fields().vrf_key;
        match certified.by_node(&entry.node()) {
            Some(before) if key(before) == key(entry) => {
                before.standing().age.saturating_add(1).min(MAX_AGE)
            }
            _ => 0,
        }
    }

    /// What each entry is granted, by the rules of ages and weights.
    pub(super) fn standings(
        &self,
        params: &NetworkParams,
        epoch: u32,
        entries: &[Entry],
    ) -> Vec<Standing> {
        let claims: Vec<_> = entries
            .iter()
            .map(|entry| Claim {
                declared: entry.standing().capability,
                age: self.age(params, epoch, entry),
                subnet: entry.subnet(),
            })
            .collect();
        weights::grant(params, &claims)
    }
}

#[cfg(test)]
mod tests;
