//! From votes to a certificate, and from a certificate to the certified set. SPEC.md §11.

use super::{
    Electors, PATIENCE, Round,
    round::{Held, MAX_CERTIFICATES, Stamp},
};
use crate::{
    certificate::Certificate,
    committee::{Candidates, Committee, Presence, view_at, view_start},
    counters::{DropReason, Verdict},
    directory::{Directory, Header},
    epoch,
    fault::SignedVote,
    id::{Cell, NodeId},
    page::certificate_key,
    pki::{
        Pki,
        lookup::Wanted,
        store::{Certified, Listed, key_of_pair},
        sync::Topic,
    },
};
use ed25519_dalek::SigningKey;
use mix::time::{Moment, Span};
use std::{collections::BTreeMap, sync::Arc};

/// Questions for a certificate that a header names, a tenth of a view apart; further ones come two views apart.
const QUICK: u32 = 12;
/// Doublings of the pause between questions for a certificate.
const MAX_STEP: u32 = 6;

impl Pki {
    /// Notes the open set at the beginning of each view: a proposer proposes what it knew then, and what comes later changes the
    /// open set.
    pub(super) fn list_set(&mut self, epoch: u32) {
        let Some(view) = view_at(&self.params, epoch, self.now) else {
            return;
        };
        let round = self.certify.round(epoch);
        if round.view <= u16::from(view) {
            round.view = u16::from(view) + 1;
            let listed = self.store.listed(epoch);
            self.certify.round(epoch).list(listed);
        }
    }

    /// Makes a certificate of an epoch's votes as soon as they suffice.
    pub(super) fn tally(&mut self, epoch: u32) {
        let Some(round) = self.certify.rounds.get(&epoch) else {
            return;
        };
        if !round.certificates.is_empty() {
            return;
        }
        let mut groups: BTreeMap<([u8; 32], Presence), usize> = BTreeMap::new();
        for (vote, _) in round.votes.values() {
            *groups.entry((vote.root(), vote.presence())).or_default() += 1;
        }
        for ((root, presence), count) in groups {
            if count < crate::committee::MIN_COMMITTEE - 1 {
                continue;
            }
            if let Some(certificate) = self.assemble(epoch, &root, presence, None) {
                self.keep_certificate(epoch, certificate);
                return;
            }
        }
    }

    /// The certificate that the votes for a root make; of those held by a moment, if one is given.
    pub(super) fn assemble(
        &mut self,
        epoch: u32,
        root: &[u8; 32],
        presence: Presence,
        held_by: Option<Moment>,
    ) -> Option<Certificate> {
        let header = self.header_of(epoch, root)?;
        let candidates = self.electors_of(epoch, &header)?;
        let committee = Committee::new(&candidates, presence)?;
        let round = self.certify.rounds.get(&epoch)?;
        let votes = round.votes.values();
        let votes = votes.filter(|(_, at)| held_by.is_none_or(|until| *at <= until));
        Certificate::assemble(&header, &committee, votes.map(|(vote, _)| vote))
    }

    /// The header behind a root, as far as anybody showed it.
    pub(super) fn header_of(&mut self, epoch: u32, root: &[u8; 32]) -> Option<Header> {
        let round = self.certify.rounds.get(&epoch)?;
        let proposed = round.proposals.values().find(|(_, of)| of == root);
        if let Some((proposal, _)) = proposed {
            return Some(*proposal.header());
        }
        let certified = round.certificates.iter();
        let mut certified = certified.map(|held| held.certificate.header());
        if let Some(header) = certified.find(|header| header.root() == *root) {
            return Some(*header);
        }
        self.set_of(epoch, root).map(|set| *set.header())
    }

    /// The set of a root, if it is held.
    pub(super) fn set_of(&mut self, epoch: u32, root: &[u8; 32]) -> Option<Arc<Directory>> {
        if let Some(set) = self.held.get(epoch, root) {
            return Some(set.clone());
        }
        self.store
            .directory(epoch)
            .filter(|set| set.root() == *root)
    }

    /// The candidates who may certify this header.
    pub(super) fn electors_of(&mut self, epoch: u32, header: &Header) -> Option<Candidates> {
        match self.electors(epoch) {
            Electors::Named(candidates) => Some(candidates),
            Electors::Unknown => None,
            Electors::OfTheSet => {
                let set = self.build_for(epoch, header)?;
                Some(Candidates::draw(&set, epoch))
            }
        }
    }

    /// Keeps a certificate that holds; whether it is new.
    pub(in crate::pki) fn keep_certificate(
        &mut self,
        epoch: u32,
        certificate: Certificate,
    ) -> bool {
        let hash = certificate.hash();
        let named = self.is_named(epoch, &hash);
        self.insert_certificate(epoch, certificate, hash, named)
    }

    /// Keeps the certificate that all votes held by the guard make, which others make as well, whatever strangers showed us
    /// before. Returns its hash.
    pub(super) fn keep_canonical(&mut self, epoch: u32, certificate: Certificate) -> [u8; 32] {
        let hash = certificate.hash();
        self.insert_certificate(epoch, certificate, hash, true);
        hash
    }

    fn insert_certificate(
        &mut self,
        epoch: u32,
        certificate: Certificate,
        hash: [u8; 32],
        wanted: bool,
    ) -> bool {
        let now = self.now;
        let round = self.certify.round(epoch);
        let claim = (certificate.header().root(), certificate.presence());
        if round.certificate(&hash).is_some() || round.disproved.contains(&claim) {
            return false;
        }
        round.wanted.remove(&hash);
        if round.certificates.len() >= MAX_CERTIFICATES {
            if !wanted {
                return false;
            }
            // One that a later header names, or will, is worth more than any other but the first.
            round.certificates.pop();
        }
        let first = round.certificates.is_empty();
        round.certificates.push(Held {
            certificate: Arc::new(certificate),
            hash,
            at: now,
        });
        self.counters.certificates += u64::from(first);
        self.follow_seed(epoch);
        self.follow_seed(epoch.saturating_add(1));
        self.certify.stir();
        true
    }

    /// Whether a header of the epoch after names this certificate.
    fn is_named(&self, epoch: u32, hash: &[u8; 32]) -> bool {
        let after = self.certify.rounds.get(&epoch.saturating_add(1));
        after.is_some_and(|round| {
            let certified = round.certificates.iter();
            let mut headers = certified
                .map(|held| held.certificate.header())
                .chain(round.proposals.values().map(|(one, _)| one.header()));
            headers.any(|header| header.previous_certificate == *hash)
        })
    }

    /// A certified header commits the certificate before it: that makes the seed of the epoch after it.
    pub(super) fn follow_seed(&mut self, epoch: u32) {
        let Some(header) = self.certified_header(epoch) else {
            return;
        };
        if self.store.is_open(epoch) {
            self.store.trust_seed(epoch, header.seed);
        }
        self.store.rest_seed(epoch, &header.seed);
        let named = header.previous_certificate;
        if named == [0; 32] {
            return;
        }
        let before = epoch.checked_sub(1);
        let before = before.and_then(|before| self.certify.rounds.get(&before));
        let mix = before
            .and_then(|round| round.certificate(&named))
            .map(|held| held.certificate.mix());
        match mix {
            Some(mix) => {
                let after = epoch.saturating_add(1);
                self.store.commit_seed(after, &header.seed, &mix);
            }
            None => self.ask_for_named(epoch.saturating_sub(1), named, None),
        }
    }

    /// Asks for a certificate that a later header names, now and then.
    pub(super) fn ask_for_named(&mut self, epoch: u32, hash: [u8; 32], with: Option<NodeId>) {
        let now = self.now;
        let wanted = &mut self.certify.round(epoch).wanted;
        let (at, asked) = wanted.get(&hash).copied().unwrap_or((now, 0));
        if at > now || (asked == 0 && wanted.len() >= crate::committee::MAX_CANDIDATES) {
            return;
        }
        // Few hold it at first: those linked with the proposer. It spreads from neighbour to neighbour within a view.
        let pause = match asked {
            0..QUICK => (self.params.view_ms / 10).max(50),
            _ => self.params.view_ms.saturating_mul(2),
        };
        let again = now + Span::from_millis(pause);
        wanted.insert(hash, (again, asked.saturating_add(1)));
        self.want_certificate(epoch, Some(hash), with.filter(|_| asked == 0));
    }

    fn certified_header(&self, epoch: u32) -> Option<Header> {
        let round = self.certify.rounds.get(&epoch)?;
        Some(*round.certificates.first()?.certificate.header())
    }

    /// A certificate and its set make the certified set; if the set is missing, it is asked for.
    pub(super) fn settle(&mut self, epoch: u32) {
        if self.store.past().certified(epoch).is_some() {
            return;
        }
        let round = self.certify.rounds.get(&epoch);
        let Some(held) = round.and_then(|round| round.certificates.first()).cloned() else {
            return;
        };
        let header = *held.certificate.header();
        let Some(set) = self.build_for(epoch, &header) else {
            self.miss_set(epoch, &header);
            return;
        };
        if let Some(candidates) = self.electors_of(epoch, &header) {
            let committee = Committee::of(&candidates, |short| set.by_short(short).is_some());
            if committee.presence() != held.certificate.presence() {
                // Its signers claim that others were absent who are in the very set they signed.
                self.counters.drop(DropReason::Witness);
                let claim = (set.root(), held.certificate.presence());
                let round = self.certify.round(epoch);
                round.certificates.remove(0);
                if round.disproved.len() < crate::committee::MAX_CANDIDATES {
                    round.disproved.insert(claim);
                }
                return;
            }
        }
        let root = set.root();
        self.held.hold(set.clone());
        self.held.keep_only(epoch, &root);
        self.store.certify(Certified {
            certificate: held.certificate,
            directory: set.clone(),
        });
        self.counters.certified += 1;
        self.certify.stir();
        self.check_signers(epoch, &set);
    }

    /// Whoever voted for a set that lacks our beat, though it said to hold it, has lied.
    fn check_signers(&mut self, epoch: u32, set: &Directory) {
        let root = set.root();
        let Some(candidates) = self.electors_of(epoch, set.header()) else {
            return;
        };
        let Some(round) = self.certify.rounds.get(&epoch) else {
            return;
        };
        let votes: Vec<(NodeId, SignedVote)> = round
            .votes
            .values()
            .filter(|(vote, _)| vote.root() == root)
            .filter_map(|(vote, _)| {
                let witness = candidates.by_short(&vote.witness())?;
                Some((witness.node, SignedVote::of(vote)))
            })
            .collect();
        self.check_omission(set, &votes);
    }

    /// A set is missing: neighbours are asked for it by its root, its proposer first.
    pub(super) fn miss_set(&mut self, epoch: u32, header: &Header) {
        self.certify.waiting = true;
        let root = header.root();
        let round = self.certify.rounds.get(&epoch);
        let proposer = round.and_then(|round| {
            let mut proposals = round.proposals.iter();
            proposals.find(|(_, (_, of))| *of == root)
        });
        let proposer = proposer.and_then(|(short, _)| self.known(short));
        let proposer = proposer.map(|(node, _)| node);
        self.want_set(epoch, root, header.count, proposer);
    }

    /// The set that a header is about, if our records make it.
    pub(super) fn build_for(&mut self, epoch: u32, header: &Header) -> Option<Arc<Directory>> {
        let root = header.root();
        if let Some(set) = self.held.get(epoch, &root) {
            return Some(set.clone());
        }
        let before = epoch.checked_sub(1);
        let certified = before.is_some_and(|e| self.store.past().certified(e).is_some());
        if header.previous_certificate != [0; 32] && !certified {
            return None;
        }
        let lists = self.certify.round(epoch).lists.len();
        let stamp: Stamp = (
            self.store.version(epoch),
            lists,
            self.faults.version(),
            certified,
        );
        if self.certify.round(epoch).tried.get(&root) == Some(&stamp) {
            return None;
        }
        let mut lists = self.certify.round(epoch).lists.clone();
        lists.push(self.store.listed(epoch));
        for listed in lists.iter().rev() {
            if let Some(set) = self.build_from(epoch, header, listed) {
                return Some(set);
            }
        }
        let tried = &mut self.certify.round(epoch).tried;
        if tried.len() < 2 * crate::committee::MAX_CANDIDATES {
            tried.insert(root, stamp);
        }
        None
    }

    /// The set of a header, if it is what these records make. Held from then on.
    fn build_from(
        &mut self,
        epoch: u32,
        header: &Header,
        listed: &Listed,
    ) -> Option<Arc<Directory>> {
        let guard = epoch::guard(&self.params, epoch);
        for held_by in [None, Some(guard)] {
            let offences: Vec<_> = self.faults.offences(held_by).collect();
            let basis = self
                .store
                .basis(epoch, offences, Some(header.previous_certificate));
            if basis.bans.hash() != header.bans {
                continue;
            }
            let set = self.store.build(epoch, listed, &basis);
            if set.root() == header.root() {
                self.held.hold(set.clone());
                return Some(set);
            }
        }
        None
    }

    /// Sets that neighbours gave us: are they what their roots say?
    pub(super) fn take_wanted_sets(&mut self) {
        for wanted in self.take_sets() {
            let (epoch, root) = (wanted.epoch, wanted.root);
            let mut keyed: Vec<_> = wanted
                .items
                .into_iter()
                .map(|pair| (key_of_pair(&pair.0, &pair.1), pair))
                .collect();
            keyed.sort_by_key(|pair| pair.0);
            let (keys, pairs): (Vec<_>, Vec<_>) = keyed.into_iter().unzip();
            let listed = Listed {
                keys: keys.into(),
                pairs: pairs.into(),
            };
            let header = self.header_of(epoch, &root);
            let set = header.and_then(|header| self.build_from(epoch, &header, &listed));
            self.settle_set(epoch, root, set.is_some());
            self.certify.stir();
        }
    }

    /// Without a certificate some time after the cut-off, neighbours are asked, more and more rarely.
    pub(super) fn ask_for_certificate(&mut self, epoch: u32) {
        let Some(round) = self.certify.rounds.get(&epoch) else {
            return;
        };
        if !round.certificates.is_empty() {
            self.certify.round(epoch).ask = None;
            return;
        }
        let view = Span::from_millis(self.params.view_ms);
        let first = view_start(&self.params, epoch, 0) + view.times(PATIENCE);
        let at = round.ask.unwrap_or(first);
        let asked = round.asked;
        if at > self.now {
            self.certify.round(epoch).ask = Some(at);
            return;
        }
        let pause = view.times(PATIENCE << asked.min(MAX_STEP));
        let round = self.certify.round(epoch);
        round.ask = Some(self.now + pause);
        round.asked = asked.saturating_add(1);
        self.want_certificate(epoch, None, None);
        if asked > 0 {
            // Neighbours don't help: whoever is near its key may.
            let key = certificate_key(&self.network, Cell::WHOLE, epoch);
            self.lookups.ask(key, Wanted::Certificate { epoch });
        }
    }

    /// Takes a certificate that somebody shows; whether it is new and holds.
    pub(in crate::pki) fn take_certificate(&mut self, bytes: &[u8]) -> Result<bool, DropReason> {
        let certificate = Certificate::decode(bytes)?;
        let (epoch, hash) = (certificate.epoch(), certificate.hash());
        let current = self.current.unwrap_or_default();
        if epoch.saturating_add(1) < current || epoch > current.saturating_add(1) {
            return Err(DropReason::Epoch);
        }
        let known = |round: &Round| round.certificate(&hash).is_some();
        if self.certify.rounds.get(&epoch).is_some_and(known) {
            return Ok(false);
        }
        let header = *certificate.header();
        if header.params != self.network {
            return Err(DropReason::Network);
        }
        let after = self.certified_header(epoch.saturating_add(1));
        if after.is_some_and(|after| after.previous_certificate == hash) {
            // A quorum has vouched for it.
            return Ok(self.keep_certificate(epoch, certificate));
        }
        let full = |round: &Round| round.certificates.len() >= MAX_CERTIFICATES;
        if self.certify.rounds.get(&epoch).is_some_and(full) && !self.is_named(epoch, &hash) {
            // Every node chooses its own quorum from the votes: the fifth choice is worth no signature check.
            return Ok(false);
        }
        let Some(candidates) = self.electors_of(epoch, &header) else {
            return Err(DropReason::Witness);
        };
        let network = self.network;
        let parts: [&[u8]; 3] = [b"certificate", &candidates.hash(), bytes];
        self.counters.verified += 1;
        (self.store.memo())
            .once(&parts, || {
                certificate.verify(&network, &candidates).map(|_| ())
            })
            // Honest nodes of another half of a split mesh may have another past.
            .map_err(|_| DropReason::Witness)?;
        Ok(self.keep_certificate(epoch, certificate))
    }

    /// The certificate of an epoch, if one is held.
    pub fn certificate(&self, epoch: u32) -> Option<&Certificate> {
        let round = self.certify.rounds.get(&epoch);
        let held = round.and_then(|round| round.certificates.first());
        held.map(|held| &*held.certificate)
            .or_else(|| Some(&*self.store.past().certified(epoch)?.certificate))
    }

    /// Certificates held that aren't those of certified sets: others of the same sets, or of sets that we lack.
    pub(in crate::pki) fn other_certificates(&self) -> impl Iterator<Item = &Certificate> {
        let rounds = self.certify.rounds.iter();
        rounds.flat_map(|(epoch, round)| {
            let certified = self.store.past().certified(*epoch);
            let certified = certified.map(|held| held.certificate.hash());
            let others = round.certificates.iter();
            let others = others.filter(move |held| Some(held.hash) != certified);
            others.map(|held| &*held.certificate)
        })
    }

    /// The last certified directory.
    pub(in crate::pki) fn last_certified(&self) -> Option<Arc<Directory>> {
        Some(self.store.past().last()?.directory.clone())
    }

    /// A certificate for a neighbour: the one with this hash, or any if it is zero.
    pub(in crate::pki) fn certificate_for(&self, epoch: u32, hash: &[u8; 32]) -> Option<Vec<u8>> {
        if *hash == [0; 32] {
            return Some(self.certificate(epoch)?.encode());
        }
        let round = self.certify.rounds.get(&epoch)?;
        Some(round.certificate(hash)?.certificate.encode())
    }

    /// A neighbour's certificate; empty if it has none.
    pub(in crate::pki) fn take_certificate_answer(&mut self, _: Topic, bytes: &[u8]) -> Verdict {
        if bytes.is_empty() {
            return Verdict::Ignore;
        }
        match self.take_certificate(bytes) {
            Ok(true) => Verdict::Accept,
            Ok(false) => Verdict::Ignore,
            Err(reason) => self.drop(reason),
        }
    }

    /// The key we sign as a witness with.
    pub(in crate::pki) fn witness_key(&self) -> Option<&SigningKey> {
        self.certify.keys.as_ref().map(|keys| &keys.signer)
    }

    /// The proven faults have changed: so have the bans of sets that aren't certified.
    pub(in crate::pki) fn bans_changed(&mut self) {
        let offences = self.faults.offences(None).collect();
        self.store.set_offences(offences);
        self.certify.stir();
    }

    /// The candidates of an epoch; none if they aren't known.
    pub(in crate::pki) fn candidates_of(&mut self, epoch: u32) -> Candidates {
        match self.electors(epoch) {
            Electors::Named(candidates) => candidates,
            Electors::Unknown => Candidates::default(),
            Electors::OfTheSet => {
                let set = self.store.directory(epoch);
                set.map_or_else(Candidates::default, |set| Candidates::draw(&set, epoch))
            }
        }
    }
}
