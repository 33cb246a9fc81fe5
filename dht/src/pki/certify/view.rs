//! What people and programs are told of an epoch's certification.

use super::Electors;
use crate::{
    certificate::Certificate,
    committee::{Candidates, Committee},
    epoch,
    pki::Pki,
    weights::Standing,
};

/// Why an epoch's set has no certificate behind it, here and now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Degraded {
    /// There are too few witnesses to certify anything.
    TooFew,
    /// Not certified yet; there is still time.
    Pending,
    /// The epoch has begun, and nobody showed a certificate.
    Uncertified,
    /// It is certified, but we don't have the set that it is about.
    SetMissing,
    /// Others have a chain of certificates that we have no part of yet.
    Behind,
}

/// How an epoch stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EpochView {
    /// The epoch.
    pub epoch: u32,
    /// Root of the set in use; zero if there is none.
    pub root: [u8; 32],
    /// Nodes in it.
    pub nodes: usize,
    /// Witnesses that are there.
    pub committee: usize,
    /// How many of them must sign; zero if so few are there that they can't certify.
    pub quorum: usize,
    /// Votes known for this root.
    pub votes: usize,
    /// Hash of its certificate.
    pub certificate: Option<[u8; 32]>,
    /// Why it isn't certified, if it isn't.
    pub degraded: Option<Degraded>,
    /// Nodes kept out.
    pub bans: usize,
    /// What we ourselves are granted; `None` if we aren't in it.
    pub own: Option<Standing>,
}

impl Pki {
    /// How an epoch stands: the previous, the current or the next one. `None` for others.
    pub fn epoch_view(&mut self, epoch: u32) -> Option<EpochView> {
        let current = self.current?;
        if epoch.saturating_add(1) < current || epoch > current.saturating_add(1) {
            return None;
        }
        let set = self.store.directory(epoch);
        let root = set.as_ref().map_or([0; 32], |set| set.root());
        let candidates = match (self.electors(epoch), &set) {
            (Electors::Named(candidates), _) => candidates,
            (Electors::OfTheSet, Some(set)) => Candidates::draw(set, epoch),
            _ => Candidates::default(),
        };
        let committee = Committee::of(&candidates, |short| {
            set.as_ref()
                .is_some_and(|set| set.by_short(short).is_some())
        });
        let votes = self.certify.rounds.get(&epoch).map_or(0, |round| {
            let votes = round.votes.values();
            votes.filter(|(vote, _)| vote.root() == root).count()
        });
        let own = set.as_ref().and_then(|set| set.by_short(&self.own_short));
        Some(EpochView {
            epoch,
            root,
            nodes: set.as_ref().map_or(0, |set| set.len()),
            committee: committee.members().len(),
            quorum: committee.quorum().unwrap_or_default(),
            votes,
            certificate: self.certificate(epoch).map(Certificate::hash),
            degraded: self.degraded(epoch, committee.quorum().is_some()),
            bans: set.as_ref().map_or(0, |set| set.bans().len()),
            own: own.map(|entry| entry.standing()),
        })
    }

    fn degraded(&self, epoch: u32, quorum: bool) -> Option<Degraded> {
        if self.store.past().certified(epoch).is_some() {
            None
        } else if self.certificate(epoch).is_some() {
            Some(Degraded::SetMissing)
        } else if matches!(self.electors(epoch), Electors::Unknown) {
            Some(Degraded::Behind)
        } else if !quorum {
            Some(Degraded::TooFew)
        } else if self.now < epoch::start_of(&self.params, epoch) {
            Some(Degraded::Pending)
        } else {
            Some(Degraded::Uncertified)
        }
    }
}
