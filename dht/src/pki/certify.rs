//! How an epoch gets its certificate: proposals and votes of others, our own, and what follows from them.
//!
//! The set of the next epoch is certified after its cut-off. Holds what comes in; the rooms: `round` what is kept of one epoch,
//! `tally` how votes become a certificate and a certificate the certified set, `judge` what this node proposes and votes for as a
//! witness, `adopt` how a newcomer takes up a chain that it can't check, `view` what people are told. SPEC.md §11, §17.

use super::{OwnRecord, Pki, PublishError, announce::News, store::Outcome};
use crate::{
    certificate::{PROPOSAL_LEN, Proposal, VOTE_CONTEXT, VOTE_LEN, Vote, vote_body},
    committee::{Candidate, Candidates, MAX_CANDIDATES, view_start},
    counters::DropReason,
    descriptor::verify_strict,
    epoch,
    fault::{Fault, SignedVote},
    id::{Cell, NodeId},
    vrf::{VrfPublic, VrfSecret},
};
use core::fmt;
use ed25519_dalek::SigningKey;
use mix::{
    ShortId,
    time::{Moment, Span},
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod adopt;
mod judge;
mod round;
mod tally;
mod view;

use adopt::Adoption;
use round::Round;
pub use view::{Degraded, EpochView};

/// Views after which a node without a certificate asks its neighbours.
const PATIENCE: u64 = 3;
/// For so many epochs after its start a node takes a certificate that it can't check as a sign that it has come late.
const NEWCOMER: u32 = 2;

/// What a witness signs with.
pub struct WitnessKeys {
    /// The identity: signs proposals and votes. It wipes itself.
    pub signer: SigningKey,
    /// Makes the random output of a vote. Its public half must be that of the descriptor.
    pub vrf: VrfSecret,
}

impl fmt::Debug for WitnessKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WitnessKeys(…)")
    }
}

/// Everything about certificates that doesn't change what a set is.
#[derive(Debug, Default)]
pub(super) struct Certify {
    keys: Option<WitnessKeys>,
    /// When this process began: what it held before, it may have forgotten.
    started: Option<Moment>,
    /// Epochs whose beat of ours was published by this process.
    vouched: BTreeSet<u32>,
    rounds: BTreeMap<u32, Round>,
    duties: VecDeque<OwnRecord>,
    /// Something came that may change what is to be done.
    stirred: bool,
    /// A set is missing: each new record may complete it.
    waiting: bool,
    /// When to look again.
    next: Option<Moment>,
    /// A head had a certificate that we had no means to check.
    behind: bool,
    adoption: Option<Adoption>,
    /// How often the way on from a trusted root was looked for again.
    rejoins: u32,
}

/// Who may vote in an epoch.
enum Electors {
    /// Those that the last certified header named.
    Named(Candidates),
    /// There is no past: those of the set itself.
    OfTheSet,
    /// The past is there, but we don't have it.
    Unknown,
}

impl Certify {
    fn round(&mut self, epoch: u32) -> &mut Round {
        self.rounds.entry(epoch).or_default()
    }

    /// A new epoch: what is over is forgotten.
    pub(super) fn turn(&mut self, now: Moment, current: u32) {
        self.started.get_or_insert(now);
        let kept = |epoch: u32| epoch.saturating_add(1) >= current;
        self.rounds.retain(|epoch, _| kept(*epoch));
        self.vouched.retain(|epoch| kept(*epoch));
        self.stirred = true;
    }

    /// New records came.
    pub(super) fn records_came(&mut self) {
        self.stirred |= self.waiting;
    }

    /// Something that may decide an epoch came.
    pub(super) fn stir(&mut self) {
        self.stirred = true;
    }

    /// Our beat of this epoch is published.
    pub(super) fn vouch(&mut self, epoch: u32) {
        self.vouched.insert(epoch);
    }

    pub(super) fn timeout(&self, now: Moment) -> Option<Moment> {
        if self.stirred { Some(now) } else { self.next }
    }
}

impl Pki {
    /// Makes this node a witness whenever it is a candidate: it proposes and votes by [`poll_duty`](Self::poll_duty).
    pub fn set_witness(&mut self, keys: WitnessKeys) {
        self.certify.keys = Some(keys);
        self.certify.stirred = true;
    }

    /// A proposal or vote of ours that nobody knows yet. Make it durable, then hand it back by [`publish`](Self::publish). There
    /// is never a second one for the same epoch, as long as those on disk are published first after a restart.
    pub fn poll_duty(&mut self) -> Option<OwnRecord> {
        self.certify.duties.pop_front()
    }

    /// Does what has come due about certificates.
    pub(super) fn fire_certify(&mut self) {
        let Some(current) = self.current else { return };
        let due = self.certify.next.is_some_and(|at| at <= self.now);
        if !self.certify.stirred && !due {
            return;
        }
        self.certify.stirred = false;
        self.certify.waiting = false;
        let next = current.saturating_add(1);
        self.take_wanted_sets();
        self.list_set(next);
        for epoch in [current.saturating_sub(1), current, next] {
            self.tally(epoch);
            self.settle(epoch);
            self.follow_seed(epoch);
        }
        self.witness(next);
        self.ask_for_certificate(current);
        self.ask_for_certificate(next);
        self.certify.next = self.next_look(next);
    }

    /// The next moment at which something about the set of `next` comes due by itself.
    fn next_look(&self, next: u32) -> Option<Moment> {
        let over = epoch::start_of(&self.params, next);
        let view = crate::committee::view_at(&self.params, next, self.now);
        let view = view.map_or(Some(0), |view| view.checked_add(1));
        let view = view.map(|view| view_start(&self.params, next, view));
        let rounds = self.certify.rounds.values();
        let asks =
            rounds.flat_map(|round| round.wanted.values().map(|(at, _)| *at).chain(round.ask));
        let guard = epoch::guard(&self.params, next);
        view.into_iter()
            .filter(|at| *at < over)
            .chain(asks)
            .chain([guard])
            .filter(|at| *at > self.now)
            .min()
    }

    /// Who may vote in an epoch.
    fn electors(&self, epoch: u32) -> Electors {
        let before = epoch.checked_sub(1);
        let certified = before.and_then(|epoch| self.certify.rounds.get(&epoch));
        let certified = certified.is_some_and(|round| !round.certificates.is_empty());
        let held = before.is_some_and(|epoch| self.store.past().certified(epoch).is_some());
        if certified && !held {
            return Electors::Unknown;
        }
        match self.store.past().before(epoch) {
            Some(last) => Electors::Named(last.directory.next_candidates().clone()),
            None if self.is_behind() => Electors::Unknown,
            None => Electors::OfTheSet,
        }
    }

    /// Whether there seems to be a chain of certificates that we have no part of.
    fn is_behind(&self) -> bool {
        self.certify.behind && self.is_new() && self.store.past().last().is_none()
    }

    fn is_new(&self) -> bool {
        let started = self.certify.started.unwrap_or(self.now);
        let started = epoch::epoch_at(&self.params, started);
        self.current
            .is_some_and(|current| current <= started.saturating_add(NEWCOMER))
    }

    /// Someone who may vote in an epoch, by name.
    fn elector(&mut self, epoch: u32, short: &ShortId) -> Option<Candidate> {
        match self.electors(epoch) {
            Electors::Named(candidates) => candidates.by_short(short).copied(),
            Electors::Unknown => None,
            Electors::OfTheSet => {
                // Any node of the open set: whether it is a candidate, the set it votes for says.
                self.store.beat(epoch, short)?;
                let descriptor = self.store.descriptor(short)?;
                let fields = descriptor.fields();
                VrfPublic::from_bytes(&fields.vrf_key)?;
                Some(Candidate {
                    node: descriptor.id(),
                    short: *short,
                    vrf_key: fields.vrf_key,
                })
            }
        }
    }

    /// A proposal, from gossip or our own past.
    pub(super) fn take_proposal(&mut self, bytes: &[u8; PROPOSAL_LEN]) -> Outcome {
        let proposal = match Proposal::decode(bytes) {
            Ok(proposal) => proposal,
            Err(reason) => return Outcome::Dropped(reason),
        };
        let (header, proposer) = (*proposal.header(), proposal.proposer());
        let epoch = header.epoch;
        let tolerance = Span::from_millis(self.params.clock_tolerance_ms);
        let early = view_start(&self.params, epoch, proposal.view()) > self.now + tolerance;
        if !self.store.is_open(epoch) || early {
            return Outcome::Dropped(DropReason::Epoch);
        }
        if header.cell != Cell::WHOLE || header.params != self.network {
            return Outcome::Dropped(DropReason::Network);
        }
        let held = self.certify.round(epoch).proposals.get(&proposer).copied();
        if let Some((held, _)) = &held {
            if held.as_bytes() == bytes || held.header() == proposal.header() {
                return Outcome::known(held.as_bytes() == bytes);
            }
            // A witness proposes once in an epoch; twice in one view is a fault.
            if held.view() != proposal.view() {
                return Outcome::Dropped(DropReason::Churn);
            }
        }
        if self.certify.round(epoch).liars.contains(&proposer) {
            return Outcome::Dropped(DropReason::Equivocation);
        }
        let Some(elector) = self.elector(epoch, &proposer) else {
            return Outcome::Dropped(DropReason::Witness);
        };
        if self.certify.round(epoch).proposals.len() >= MAX_CANDIDATES && held.is_none() {
            return Outcome::Dropped(DropReason::Full);
        }
        self.counters.verified += 1;
        let network = self.network;
        let parts: [&[u8]; 3] = [b"proposal", &elector.node.0, bytes];
        let verified =
            (self.store.memo()).once(&parts, || proposal.verify(&network, &elector.node));
        if let Err(reason) = verified {
            return Outcome::Dropped(reason);
        }
        if let Some((held, _)) = &held {
            self.certify.round(epoch).liars.insert(proposer);
            if let Some(fault) = Fault::of_proposals(elector.node, held, &proposal) {
                self.accuse(&fault);
            }
            return Outcome::Dropped(DropReason::Equivocation);
        }
        let round = self.certify.round(epoch);
        round.proposals.insert(proposer, (proposal, header.root()));
        self.counters.proposals += 1;
        self.certify.stirred = true;
        Outcome::New
    }

    /// A vote, from gossip or our own past.
    pub(super) fn take_vote(&mut self, bytes: &[u8; VOTE_LEN]) -> Outcome {
        let vote = match Vote::decode(bytes) {
            Ok(vote) => vote,
            Err(reason) => return Outcome::Dropped(reason),
        };
        let (epoch, witness) = (vote.epoch(), vote.witness());
        if !self.store.is_open(epoch) {
            return Outcome::Dropped(DropReason::Epoch);
        }
        let held = self.certify.round(epoch).votes.get(&witness);
        let held = held.map(|(held, _)| *held);
        if let Some(held) = &held {
            let same = held.root() == vote.root() && held.presence() == vote.presence();
            if same {
                return Outcome::known(held.as_bytes() == bytes);
            }
            if self.certify.round(epoch).liars.contains(&witness) {
                return Outcome::Dropped(DropReason::Equivocation);
            }
        }
        let Some(elector) = self.elector(epoch, &witness) else {
            return Outcome::Dropped(DropReason::Witness);
        };
        if self.certify.round(epoch).votes.len() >= MAX_CANDIDATES && held.is_none() {
            return Outcome::Dropped(DropReason::Full);
        }
        self.counters.verified += 1;
        let (network, seed) = (self.network, self.store.seed(epoch));
        let parts: [&[u8]; 5] = [b"vote", &seed, &elector.node.0, &elector.vrf_key, bytes];
        let verified = (self.store.memo()).once(&parts, || {
            vote.verify(&network, &seed, &elector).map(|_| ())
        });
        if let Err(reason) = verified {
            // Whoever has another seed for this epoch makes another proof: perhaps it is we who are behind.
            let signed = self.is_signed(&vote, &elector.node);
            return Outcome::Dropped(if signed { DropReason::Witness } else { reason });
        }
        if let Some(held) = &held {
            self.certify.round(epoch).liars.insert(witness);
            let votes = (SignedVote::of(held), SignedVote::of(&vote));
            if let Some(fault) = Fault::of_votes(elector.node, votes.0, votes.1) {
                self.accuse(&fault);
            }
            return Outcome::Dropped(DropReason::Equivocation);
        }
        let now = self.now;
        let round = self.certify.round(epoch);
        round.votes.insert(witness, (vote, now));
        self.counters.votes += 1;
        self.certify.stirred = true;
        Outcome::New
    }

    /// Whether the words of a vote are signed by this node, whatever its random output is worth.
    fn is_signed(&self, vote: &Vote, signer: &NodeId) -> bool {
        let body = vote_body(vote.epoch(), &vote.root(), vote.presence());
        let signature = vote.signature();
        verify_strict(VOTE_CONTEXT, &self.network, signer, &body, signature).is_ok()
    }

    /// A proposal of ours is durable: everybody may know it.
    pub(super) fn publish_proposal(&mut self, proposal: Proposal) -> Result<(), PublishError> {
        let epoch = proposal.header().epoch;
        if proposal.proposer() != self.own_short
            || proposal.verify(&self.network, &self.own).is_err()
        {
            return Err(PublishError::NotOurs);
        }
        if !self.store.is_open(epoch) {
            return Err(PublishError::Epoch(epoch));
        }
        let own = self.own_short;
        let round = self.certify.round(epoch);
        if round.own_proposal.is_some_and(|held| held != proposal) {
            return Err(PublishError::SecondProposal(epoch));
        }
        round.own_proposal = Some(proposal);
        let root = proposal.header().root();
        round.proposals.insert(own, (proposal, root));
        self.certify.stirred = true;
        let news = News::Proposal(Box::new(proposal));
        self.announce.duty(self.now, epoch, news);
        Ok(())
    }

    /// A vote of ours is durable.
    pub(super) fn publish_vote(&mut self, vote: Vote) -> Result<(), PublishError> {
        let epoch = vote.epoch();
        let signed = self.is_signed(&vote, &self.own);
        if vote.witness() != self.own_short || !signed {
            return Err(PublishError::NotOurs);
        }
        if !self.store.is_open(epoch) {
            return Err(PublishError::Epoch(epoch));
        }
        let (own, now) = (self.own_short, self.now);
        let round = self.certify.round(epoch);
        if round.own_vote.is_some_and(|held| held != vote) {
            return Err(PublishError::SecondVote(epoch));
        }
        round.own_vote = Some(vote);
        round.votes.entry(own).or_insert((vote, now));
        self.certify.stirred = true;
        let news = News::Vote(Box::new(vote));
        self.announce.duty(self.now, epoch, news);
        Ok(())
    }
}
