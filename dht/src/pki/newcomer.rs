//! The way in: from a trusted root to the present, by lookups alone. Certificate after certificate, then the pages of the last set.
//!
//! Until it is there a newcomer has no directory and takes part in nothing. It believes nobody: every value either follows from
//! the root or is dropped, and of every key up to three values are looked at in a lookup, so that a liar near a key costs time only.
//! Rooms: `asks` says which lookups are under way, `reading` puts the pages of a set together. SPEC.md §25.

use super::Caps;
use crate::{
    certificate::{Certificate, Chain},
    committee::{Candidates, HANDOVER},
    counters::{DropReason, Verdict},
    directory::Directory,
    epoch::Seeds,
    id::Cell,
    network::NetworkParams,
    page::{candidates_key, certificate_key, decode_start, start_key},
};
use mix::{NetworkId, time::Moment};
use rand_chacha::ChaCha20Rng;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

mod asks;
mod reading;

use asks::Asks;
use reading::Reading;

/// Epochs behind the tip whose certificates are asked for at a time.
const WINDOW: u32 = 16;
/// Certificates kept per epoch until one of them is checked.
const HELD: usize = 3;
/// A certificate that so many lookups didn't find is taken not to exist, until the next epoch.
const TRIES: u8 = 3;

/// What a key was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Wanted {
    Start,
    Certificate(u32),
    Candidates([u8; 32]),
    Page(u32),
    Bans(u32),
}

/// How far a newcomer is, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The root it trusts has not been found yet.
    Start,
    /// Following certificates: the last one checked, and the present.
    Chain {
        /// Epoch of the tip.
        at: u32,
        /// Present epoch.
        of: u32,
    },
    /// Reading the set of the last certificate: pages read, and pages there are.
    Pages {
        /// Pages read.
        read: u32,
        /// Of so many.
        of: u32,
    },
    /// Nobody has certificates that continue the chain up to the present: it takes a newer checkpoint, or more peers.
    Stuck {
        /// Epoch of the tip.
        at: u32,
    },
}

/// What a newcomer has when it is there.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The last certified set.
    pub directory: Arc<Directory>,
    /// Its certificate.
    pub certificate: Certificate,
    /// The seeds from there on, if the chain was long enough to show one being committed.
    pub seeds: Option<Seeds>,
}

#[derive(Debug)]
pub(super) struct Newcomer {
    params: Arc<NetworkParams>,
    network: NetworkId,
    root: [u8; 32],
    most: usize,
    /// The present epoch.
    target: u32,
    chain: Option<Chain>,
    certificates: BTreeMap<u32, Vec<Certificate>>,
    candidates: BTreeMap<[u8; 32], Candidates>,
    reading: Option<Reading>,
    asks: Asks,
}

impl Newcomer {
    pub(super) fn new(params: &Arc<NetworkParams>, root: [u8; 32], caps: &Caps) -> Self {
        Self {
            network: params.id(),
            root,
            most: caps.nodes,
            target: 0,
            chain: None,
            certificates: BTreeMap::new(),
            candidates: BTreeMap::new(),
            reading: None,
            asks: Asks::new(params, caps.lookups),
            params: params.clone(),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        let Some(chain) = &self.chain else {
            return Progress::Start;
        };
        let (at, of) = (chain.tip().epoch, self.target);
        match &self.reading {
            Some(reading) => {
                let (read, of) = reading.progress();
                Progress::Pages { read, of }
            }
            None if self.exhausted(at) => Progress::Stuck { at },
            None => Progress::Chain { at, of },
        }
    }

    /// A new epoch may have its certificate; what wasn't found before may be found now.
    pub(super) fn turn(&mut self, now: Moment, current: u32) {
        self.target = current;
        self.asks.renew(now);
        if let Some(chain) = &self.chain
            && self.reading.is_some()
            && chain.tip().epoch.saturating_add(1) < current
        {
            // Nobody serves these pages any more.
            self.reading = None;
        }
        self.plan(now);
    }

    pub(super) fn timeout(&self) -> Option<Moment> {
        self.asks.timeout()
    }

    pub(super) fn fire(&mut self, now: Moment) {
        if self.asks.fire(now) {
            self.plan(now);
        }
    }

    pub(super) fn poll(&mut self, now: Moment, rng: &mut ChaCha20Rng) -> Option<[u8; 32]> {
        self.asks.poll(now, rng)
    }

    pub(super) fn done(&mut self, now: Moment, key: &[u8; 32]) {
        if self.asks.done(now, key) {
            self.plan(now);
        }
    }

    /// Takes a value found under a key; `None` if this room didn't ask for it.
    pub(super) fn take(
        &mut self,
        now: Moment,
        key: &[u8; 32],
        bytes: &[u8],
    ) -> Option<Result<Verdict, DropReason>> {
        let wanted = self.asks.wanted(key)?;
        if !self.asks.hears(key, bytes) {
            return Some(Ok(Verdict::Ignore));
        }
        let result = match wanted {
            Wanted::Start => self.take_start(bytes),
            Wanted::Certificate(epoch) => self.take_certificate(epoch, bytes),
            Wanted::Candidates(hash) => self.take_candidates(hash, bytes),
            Wanted::Page(index) => match &mut self.reading {
                Some(reading) => reading.take_page(index, bytes),
                None => Err(DropReason::Unwanted),
            },
            Wanted::Bans(index) => match &mut self.reading {
                Some(reading) => reading.take_bans(index, bytes),
                None => Err(DropReason::Unwanted),
            },
        };
        if result.is_ok() {
            self.step();
            self.plan(now);
        }
        Some(result.map(|()| Verdict::Accept))
    }

    /// The certified set, once all of it is there.
    pub(super) fn joined(&mut self) -> Option<Joined> {
        let (reading, chain) = (self.reading.as_ref()?, self.chain.as_ref()?);
        let directory = reading.directory(&self.params)?;
        Some(Joined {
            directory: Arc::new(directory),
            certificate: chain.certificate()?.clone(),
            seeds: chain.seeds(),
        })
    }

    fn take_start(&mut self, bytes: &[u8]) -> Result<(), DropReason> {
        let (header, next) = decode_start(&self.network, bytes)?;
        let chain = Chain::from_checkpoint(self.network, &self.root, header, next);
        self.chain = Some(chain.map_err(|_| DropReason::Unwanted)?);
        Ok(())
    }

    /// A certificate of an epoch to come; it is checked when the chain has come to it.
    fn take_certificate(&mut self, epoch: u32, bytes: &[u8]) -> Result<(), DropReason> {
        let certificate = Certificate::decode(bytes)?;
        let header = certificate.header();
        let held = self.certificates.entry(epoch).or_default();
        if header.params != self.network || header.epoch != epoch || held.len() >= HELD {
            return Err(DropReason::Unwanted);
        }
        if !held.contains(&certificate) {
            held.push(certificate);
        }
        Ok(())
    }

    fn take_candidates(&mut self, hash: [u8; 32], bytes: &[u8]) -> Result<(), DropReason> {
        let candidates = Candidates::decode(&self.network, bytes)?;
        if candidates.hash() != hash {
            return Err(DropReason::Unwanted);
        }
        self.candidates.insert(hash, candidates);
        Ok(())
    }

    /// Goes as far along the chain as what is held reaches.
    fn step(&mut self) {
        while self.extend() {}
        let Some(chain) = &self.chain else { return };
        let tip = chain.tip().epoch;
        self.certificates.retain(|epoch, _| *epoch > tip);
        let named: BTreeSet<_> = (self.certificates.values().flatten())
            .map(|certificate| certificate.header().next_committee)
            .collect();
        self.candidates.retain(|hash, _| named.contains(hash));
    }

    /// One step. Certificates that can't hold are dropped, so that their key is wanted again.
    fn extend(&mut self) -> bool {
        let Some(chain) = &mut self.chain else {
            return false;
        };
        let tip = chain.tip().epoch;
        let next = tip.saturating_add(1);
        for (epoch, held) in self
            .certificates
            .range_mut(next..=tip.saturating_add(HANDOVER))
        {
            let mut moved = false;
            held.retain(|certificate| {
                let header = certificate.header();
                // One that commits to a certificate that is still missing can't be checked yet.
                if moved || (*epoch > next && header.previous_certificate != [0; 32]) {
                    return !moved;
                }
                let result = match self.candidates.get(&header.next_committee) {
                    Some(next) => chain.extend(certificate, next.clone()),
                    // Before anything is asked for on its word, it must be true.
                    None => match certificate.verify(&self.network, chain.candidates()) {
                        Ok(_) => return true,
                        Err(error) => Err(error.into()),
                    },
                };
                moved = result.is_ok();
                false
            });
            if moved {
                self.reading = None;
                return true;
            }
        }
        self.certificates.retain(|_, held| !held.is_empty());
        false
    }

    /// Whether every certificate that could continue the chain was looked for in vain.
    fn exhausted(&self, tip: u32) -> bool {
        let behind = tip.saturating_add(1)..=tip.saturating_add(HANDOVER).min(self.target);
        behind.into_iter().all(|epoch| {
            let key = certificate_key(&self.network, Cell::WHOLE, epoch);
            self.asks.tries(&key) >= TRIES && !self.certificates.contains_key(&epoch)
        })
    }

    /// Asks for what the present state needs, and for nothing else.
    fn plan(&mut self, now: Moment) {
        let mut wanted = BTreeMap::new();
        match &self.chain {
            None => {
                wanted.insert(start_key(&self.root), Wanted::Start);
            }
            Some(chain) => {
                let tip = *chain.tip();
                for epoch in
                    tip.epoch.saturating_add(1)..=tip.epoch.saturating_add(WINDOW).min(self.target)
                {
                    if !self.certificates.contains_key(&epoch) {
                        let key = certificate_key(&self.network, Cell::WHOLE, epoch);
                        wanted.insert(key, Wanted::Certificate(epoch));
                    }
                }
                for certificate in self.certificates.values().flatten() {
                    let hash = certificate.header().next_committee;
                    if !self.candidates.contains_key(&hash) {
                        wanted.insert(candidates_key(&hash), Wanted::Candidates(hash));
                    }
                }
                // The checkpoint itself comes without a certificate: its successor brings one.
                let near = chain.certificate().is_some()
                    && tip.epoch.saturating_add(HANDOVER) >= self.target;
                if self.reading.is_none() && near && self.exhausted(tip.epoch) {
                    self.reading = Reading::new(&self.network, tip, self.most);
                }
                if let Some(reading) = &self.reading {
                    wanted.extend(reading.wanted());
                }
            }
        }
        self.asks.want(now, wanted);
    }

    #[cfg(test)]
    fn held(&self) -> (usize, usize, usize) {
        let heads = self.certificates.values().map(Vec::len).sum();
        (heads, self.candidates.len(), self.asks.len())
    }
}

#[cfg(test)]
mod tests;
