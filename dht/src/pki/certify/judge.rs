//! What a witness does: it proposes when it is its turn, and votes for the first proposal that holds. Each at most once an epoch.

use crate::{
    certificate::{Proposal, Vote},
    committee::{Candidates, Committee, view_at},
    counters::DropReason,
    directory::Directory,
    epoch,
    pki::{OwnRecord, Pki},
};
use mix::ShortId;
use std::sync::Arc;

/// Views by which turns may differ between sets that differ a little.
const NEAR: u8 = 3;

/// What a proposal is worth to us.
enum Judgement {
    /// It holds: the set, and the committee that it has.
    Good(Arc<Directory>, Committee),
    /// Something is missing that may still come.
    Open,
    Bad,
}

impl Pki {
    /// Proposes and votes, if that is due.
    pub(super) fn witness(&mut self, epoch: u32) {
        let Some(view) = view_at(&self.params, epoch, self.now) else {
            return;
        };
        if self.now >= epoch::start_of(&self.params, epoch) || !self.may_witness(epoch) {
            return;
        }
        let round = self.certify.round(epoch);
        if !round.certificates.is_empty() || round.own_vote.is_some() {
            return;
        }
        self.vote(epoch, view);
        let round = self.certify.round(epoch);
        if round.own_vote.is_none() && round.own_proposal.is_none() {
            self.propose(epoch, view);
        }
    }

    /// Only who is known to have lost nothing may sign: its own beat went out from here, and it was there before the first beat of
    /// the epoch came, so it has not forgotten one that it gave a receipt for.
    fn may_witness(&self, epoch: u32) -> bool {
        let from = epoch::beat_window(&self.params, epoch).from;
        let tolerance = mix::time::Span::from_millis(self.params.clock_tolerance_ms);
        let whole = self
            .certify
            .started
            .is_some_and(|started| started + tolerance <= from);
        self.certify.keys.is_some() && self.certify.vouched.contains(&epoch) && whole
    }

    /// Proposes our own set if it is our turn.
    fn propose(&mut self, epoch: u32, view: u8) {
        let Some(previous) = self.choose_previous(epoch) else {
            return;
        };
        let offences: Vec<_> = self.faults.offences(None).collect();
        let basis = self.store.basis(epoch, offences, Some(previous));
        let listed = self.store.listed(epoch);
        let set = self.store.build(epoch, &listed, &basis);
        let Some(committee) = self.committee_of(epoch, &set) else {
            return;
        };
        let seed = set.header().seed;
        let turn = committee.proposer(&seed, view).map(|one| one.short);
        if committee.quorum().is_none() || turn != Some(self.own_short) {
            return;
        }
        let Some(keys) = &self.certify.keys else {
            return;
        };
        let proposal = Proposal::sign(&self.network, &keys.signer, set.header(), view);
        self.held.hold(set);
        self.certify.round(epoch).own_proposal = Some(proposal);
        self.certify.duties.push_back(OwnRecord::Proposal(proposal));
        self.counters.proposed += 1;
    }

    /// The committee of a set.
    fn committee_of(&mut self, epoch: u32, set: &Directory) -> Option<Committee> {
        let candidates: Candidates = match self.electors(epoch) {
            super::Electors::Named(candidates) => candidates,
            super::Electors::OfTheSet => Candidates::draw(set, epoch),
            super::Electors::Unknown => return None,
        };
        Some(Committee::of(&candidates, |short| {
            set.by_short(short).is_some()
        }))
    }

    /// The certificate of the epoch before that a proposal of ours names, zero if there is none; `None` if there is one that we
    /// can't build on.
    fn choose_previous(&mut self, epoch: u32) -> Option<[u8; 32]> {
        let before = epoch.checked_sub(1)?;
        let round = self.certify.rounds.get(&before);
        let Some(first) = round.and_then(|round| round.certificates.first()).cloned() else {
            return Some([0; 32]);
        };
        self.store.past().certified(before)?;
        // All votes that everybody had time to get: the same certificate at every proposer.
        let guard = epoch::guard(&self.params, epoch);
        let root = first.certificate.header().root();
        let presence = first.certificate.presence();
        let made = self.assemble(before, &root, presence, Some(guard));
        let made = made.map(|made| (made.output(), self.keep_canonical(before, made)));
        let round = self.certify.rounds.get(&before)?;
        let of_root = round
            .certificates
            .iter()
            .filter(|held| held.certificate.header().root() == root);
        // Of several with one output everybody can make the canonical one; the others are had from those who made them only.
        let rank = |(output, hash): (crate::vrf::Output, [u8; 32])| {
            let own = made.is_some_and(|(_, own)| own == hash);
            (output, !own, hash)
        };
        let lowest = of_root
            .map(|held| (held.certificate.output(), held.hash))
            .min_by_key(|one| rank(*one));
        lowest.map(|(_, hash)| hash)
    }

    /// Votes for the first proposal, in the order of views, that holds.
    fn vote(&mut self, epoch: u32, view: u8) {
        let round = self.certify.round(epoch);
        let mut order: Vec<(u8, ShortId)> = round
            .proposals
            .iter()
            .filter(|(short, (one, _))| one.view() <= view && !round.refused.contains(*short))
            .map(|(short, (one, _))| (one.view(), *short))
            .collect();
        order.sort_unstable();
        for (of, proposer) in order {
            let proposals = &self.certify.round(epoch).proposals;
            let Some((proposal, _)) = proposals.get(&proposer).copied() else {
                continue;
            };
            match self.judge(epoch, &proposal) {
                Judgement::Good(set, committee) => {
                    self.sign_vote(epoch, &set, &committee);
                    return;
                }
                Judgement::Open => {
                    self.certify.waiting = true;
                    // Its own view is given to it; after that a later proposal may be the one that all can agree on.
                    if of >= view {
                        return;
                    }
                }
                Judgement::Bad => {
                    self.counters.refused += 1;
                    self.certify.round(epoch).refused.insert(proposer);
                }
            }
        }
    }

    fn sign_vote(&mut self, epoch: u32, set: &Directory, committee: &Committee) {
        let Some(keys) = &self.certify.keys else {
            return;
        };
        let ours = committee.position_of(&self.own_short);
        let ours = ours.and_then(|at| committee.members().get(at));
        if ours.is_none_or(|member| member.vrf_key != keys.vrf.public().to_bytes()) {
            return;
        }
        let seed = set.header().seed;
        let said = (epoch, set.root(), committee.presence());
        let vote = Vote::sign(&self.network, &keys.signer, &keys.vrf, &seed, said);
        self.certify.round(epoch).own_vote = Some(vote);
        self.certify.duties.push_back(OwnRecord::Vote(vote));
        self.counters.voted += 1;
    }

    /// Whether a proposal is one to vote for. SPEC.md §17.
    fn judge(&mut self, epoch: u32, proposal: &Proposal) -> Judgement {
        let header = *proposal.header();
        if header.seed != self.store.seed(epoch) {
            return Judgement::Bad;
        }
        match self.judge_previous(epoch, proposal) {
            Some(true) => {}
            Some(false) => return Judgement::Bad,
            None => return Judgement::Open,
        }
        let guard = epoch::guard(&self.params, epoch);
        let held: Vec<_> = self.faults.offences(Some(guard)).collect();
        let Some(set) = self.build_for(epoch, &header) else {
            // Whoever is far from its turn, as we see it, gets no set fetched: there are as many roots as there are liars.
            if self.is_near_turn(epoch, proposal) {
                self.miss_set(epoch, &header);
            }
            return Judgement::Open;
        };
        let least = self
            .store
            .basis(epoch, held, Some(header.previous_certificate));
        let bans = set.bans();
        let all = |(short, until): (&ShortId, u32)| bans.until(short) >= Some(until);
        if !least.bans.iter().all(all) {
            return Judgement::Bad;
        }
        let mut insisted = self.store.held_by(epoch, guard);
        let lacks = insisted.any(|(short, beat)| {
            let there = set.by_short(short);
            let same = there.is_some_and(|entry| entry.beat().body() == beat.body());
            !same && !bans.contains(short)
        });
        drop(insisted);
        if lacks {
            return Judgement::Bad;
        }
        let Some(committee) = self.committee_of(epoch, &set) else {
            return Judgement::Open;
        };
        if !proposal.in_turn(&committee, &header.seed) {
            self.counters.drop(DropReason::Witness);
            return Judgement::Bad;
        }
        Judgement::Good(set, committee)
    }

    /// Whether it is about the proposer's turn in our own set; the proposed one may lack some of ours, or have others.
    fn is_near_turn(&mut self, epoch: u32, proposal: &Proposal) -> bool {
        let Some(set) = self.store.directory(epoch) else {
            return true;
        };
        let Some(committee) = self.committee_of(epoch, &set) else {
            return true;
        };
        let view = proposal.view();
        let seed = proposal.header().seed;
        (view.saturating_sub(NEAR)..=view.saturating_add(NEAR)).any(|view| {
            let turn = committee.proposer(&seed, view);
            turn.is_some_and(|one| one.short == proposal.proposer())
        })
    }

    /// Whether a proposal names the certificate of the epoch before that it must; `None` if we lack what it names.
    fn judge_previous(&mut self, epoch: u32, proposal: &Proposal) -> Option<bool> {
        let named = proposal.header().previous_certificate;
        let guard = epoch::guard(&self.params, epoch);
        let Some(before) = epoch.checked_sub(1) else {
            return Some(named == [0; 32]);
        };
        if named == [0; 32] {
            let round = self.certify.round(before);
            return Some(!round.certificates.iter().any(|held| held.at <= guard));
        }
        if self.certify.round(before).certificate(&named).is_none() {
            // Perhaps our votes make it.
            self.choose_previous(epoch);
        }
        let Some(held) = self.certify.round(before).certificate(&named).cloned() else {
            let proposer = self.known(&proposal.proposer()).map(|(node, _)| node);
            self.ask_for_named(before, named, proposer);
            return None;
        };
        let root = held.certificate.header().root();
        let certified = self.store.past().certified(before)?;
        if certified.directory.root() != root {
            return Some(false);
        }
        let output = held.certificate.output();
        let mut votes = self.certify.round(before).votes.values();
        let lower = votes.any(|(vote, at)| {
            vote.root() == root && *at <= guard && vote.proof().output_unchecked() < output
        });
        Some(!lower)
    }
}
