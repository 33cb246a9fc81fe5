//! What is under way: exchanges to begin, exchanges begun, whom not to ask.

use super::{
    Budget, Caps, NetworkParams, SyncRequest, Topic,
    wanted::{Mirror, WantedSets},
};
use crate::{
    epoch::{cutoff, random_span},
    id::NodeId,
    reconcile::Session,
};
use mix::time::{Moment, Span};
use rand_chacha::ChaCha20Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Neighbours asked at the cut-off.
const NEIGHBOURS: u32 = 3;
/// Exchanges about one foreign root before its pages are read.
const BEFORE_PAGES: u32 = 2;
/// Exchanges waiting for their moment.
const PLANS: usize = 32;
/// Peers named as not wanted with a request; also how many are remembered as asked, and as liars.
const NAMED: usize = 64;
/// Foreign roots remembered.
const ROOTS: usize = 64;
/// A root is foreign by so much more than ours that pages are the better way: so many nodes beyond twice ours.
const BULK: u64 = 16;
/// After so many exchanges in a row without any answer, reconciliation is taken not to work here: pages do.
const HELPLESS: u32 = 2;

#[derive(Debug)]
pub(in crate::pki) struct Sync {
    most: usize,
    pub(super) patience: Span,
    /// Between the neighbours of one cut-off.
    pub(super) pause: Span,
    /// Exchanges to begin: when, about what, with whom.
    plans: BTreeMap<(Moment, u64), (Topic, Option<NodeId>)>,
    open: BTreeMap<u64, Open>,
    pub(super) out: VecDeque<SyncRequest>,
    next: u64,
    /// Asked for an open set in this epoch. Forgotten when there is nobody else.
    asked: BTreeSet<NodeId>,
    /// Caught lying in this epoch: neither asked nor answered.
    liars: BTreeSet<NodeId>,
    /// Exchanges about an open set ended, by epoch.
    ended: BTreeMap<u32, u32>,
    /// Foreign roots, and how many exchanges had ended when they were first seen.
    roots: VecDeque<([u8; 32], u32, u32)>,
    /// Whether lookups have ever shown us a head.
    introduced: bool,
    /// Exchanges about open sets in a row that nobody answered.
    unanswered: u32,
    pub(super) wanted: WantedSets,
    budget: Budget,
}

/// An exchange of ours.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) topic: Topic,
    pub(super) talk: Talk,
    /// Whom it is with: chosen before, or who answered first.
    pub(super) peer: Option<NodeId>,
    /// Whether an answer came.
    pub(super) heard: bool,
    pub(super) until: Moment,
    /// New records so far.
    pub(super) new: usize,
}

/// How far an exchange is.
#[derive(Debug)]
pub(super) enum Talk {
    /// Two sets become one.
    Union(Session),
    /// Ours becomes theirs.
    Mirror(Session, Box<Mirror>),
    /// One question, with this body, one answer.
    Once(Vec<u8>),
}

impl Sync {
    pub(in crate::pki) fn new(params: &NetworkParams, caps: &Caps) -> Self {
        let patience = Span::from_millis((params.epoch_ms / 8).clamp(1_000, 15_000));
        let pause = Span::from_millis((params.cutoff_ms / 10).clamp(100, 5_000));
        Self {
            most: caps.syncs,
            patience,
            pause,
            plans: BTreeMap::new(),
            open: BTreeMap::new(),
            out: VecDeque::new(),
            next: 0,
            asked: BTreeSet::new(),
            liars: BTreeSet::new(),
            ended: BTreeMap::new(),
            roots: VecDeque::new(),
            introduced: false,
            unanswered: 0,
            wanted: WantedSets::new(pause, patience),
            budget: Budget::new(caps.sync_peers),
        }
    }

    /// A new epoch: the next cut-off is planned, what is over is forgotten.
    pub(in crate::pki) fn turn(
        &mut self,
        now: Moment,
        current: u32,
        params: &NetworkParams,
        rng: &mut ChaCha20Rng,
    ) {
        let kept = |epoch: u32| epoch == current || epoch == current.saturating_add(1);
        let about = |topic: &Topic| topic.epoch().is_none_or(kept);
        self.plans.retain(|_, (topic, _)| about(topic));
        self.open.retain(|_, open| about(&open.topic));
        let open = &self.open;
        self.out.retain(|request| open.contains_key(&request.token));
        self.ended.retain(|epoch, _| kept(*epoch));
        self.roots.retain(|(_, epoch, _)| kept(*epoch));
        self.wanted.turn(kept);
        self.asked.clear();
        self.liars.clear();
        let epoch = current.saturating_add(1);
        let first = cutoff(params, epoch).max(now) + random_span(self.pause, rng);
        for step in 0..NEIGHBOURS {
            let at = first + self.pause.times(u64::from(step));
            self.plan(at, Topic::Open { epoch }, None);
        }
    }

    /// Plans an exchange, unless too many are planned.
    pub(in crate::pki) fn plan(&mut self, at: Moment, topic: Topic, with: Option<NodeId>) {
        if self.plans.len() < PLANS {
            self.next += 1;
            self.plans.insert((at, self.next), (topic, with));
        }
    }

    /// A head was read: whoever serves it has brought us into the network.
    pub(in crate::pki) fn introduce(&mut self) {
        self.introduced = true;
    }

    pub(in crate::pki) fn introduced(&self) -> bool {
        self.introduced
    }

    /// Whether a foreign root of `count` nodes, where we know `own`, is a matter for reconciliation: it is until a few exchanges
    /// have ended without making it ours, but never if it holds so much more that it is better read from many.
    pub(in crate::pki) fn takes(
        &mut self,
        now: Moment,
        root: [u8; 32],
        epoch: u32,
        count: u64,
        own: u64,
    ) -> bool {
        if count > own * 2 + BULK || self.unanswered >= HELPLESS {
            return false;
        }
        let ended = self.ended.get(&epoch).copied().unwrap_or(0);
        let first = self.roots.iter().find(|(known, ..)| *known == root);
        let since = match first {
            Some((.., since)) => *since,
            None => {
                if self.roots.len() >= ROOTS {
                    self.roots.pop_front();
                }
                self.roots.push_back((root, epoch, ended));
                ended
            }
        };
        if ended >= since.saturating_add(BEFORE_PAGES) {
            return false;
        }
        let topic = Topic::Open { epoch };
        let under_way = self.open.values().any(|open| open.topic == topic);
        // Plans for a cut-off to come don't help now.
        let soon = now + self.pause;
        let planned = (self.plans.iter()).any(|((at, _), (of, _))| *of == topic && *at <= soon);
        if !under_way && !planned {
            self.plan(now, topic, None);
        }
        true
    }

    pub(super) fn poll(&mut self) -> Option<SyncRequest> {
        self.out.pop_front()
    }

    pub(in crate::pki) fn timeout(&self) -> Option<Moment> {
        let plans = self.plans.keys().next().map(|(at, _)| *at);
        let open = self.open.values().map(|open| open.until).min();
        plans.into_iter().chain(open).min()
    }

    /// Exchanges without an answer in time.
    pub(super) fn late(&self, now: Moment) -> Vec<u64> {
        let late = self.open.iter().filter(|(_, open)| open.until <= now);
        late.map(|(token, _)| *token).collect()
    }

    /// The next plan that is due. While enough is under way, those that are due wait.
    pub(super) fn due(&mut self, now: Moment) -> Option<(Topic, Option<NodeId>)> {
        while let Some(&(at, number)) = self.plans.keys().next()
            && at <= now
        {
            let (topic, with) = self.plans.remove(&(at, number))?;
            if self.open.len() < self.most {
                return Some((topic, with));
            }
            self.plan(now + self.pause, topic, with);
        }
        None
    }

    pub(super) fn token(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn begin(&mut self, token: u64, open: Open) {
        self.open.insert(token, open);
    }

    /// Takes out the exchange that this peer may answer.
    pub(super) fn answered(&mut self, token: u64, from: &NodeId) -> Option<Open> {
        let expected = |open: &Open| open.peer.is_none_or(|peer| peer == *from);
        self.open.get(&token).filter(|open| expected(open))?;
        let mut open = self.open.remove(&token)?;
        open.peer = Some(*from);
        open.heard = true;
        if matches!(open.topic, Topic::Open { .. }) {
            self.unanswered = 0;
            if self.asked.len() < NAMED {
                self.asked.insert(*from);
            }
        }
        Some(open)
    }

    /// Takes out an exchange that nobody answered.
    pub(super) fn unanswered(&mut self, token: u64) -> Option<Open> {
        let open = self.open.remove(&token)?;
        self.out.retain(|request| request.token != token);
        if let Topic::Open { epoch } = open.topic {
            self.over(epoch);
            self.unanswered = self.unanswered.saturating_add(1);
            if open.peer.is_none() {
                // Perhaps there is nobody else: begin again with those asked before.
                self.asked.clear();
            }
        }
        Some(open)
    }

    /// An exchange about an open set is over.
    pub(super) fn over(&mut self, epoch: u32) {
        *self.ended.entry(epoch).or_default() += 1;
    }

    /// Whom not to ask about this.
    pub(super) fn not_wanted(&self, topic: Topic) -> Vec<NodeId> {
        let mut but: BTreeSet<_> = self.liars.iter().copied().collect();
        match topic {
            Topic::Rooted { epoch, root } => {
                but.extend(self.wanted.asked(&(epoch, root)).unwrap_or_default());
            }
            Topic::Open { .. } => but.extend(&self.asked),
            _ => {}
        }
        but.into_iter().collect()
    }

    pub(super) fn shun(&mut self, peer: NodeId) {
        if self.liars.len() < NAMED {
            self.liars.insert(peer);
        }
    }

    pub(super) fn may_answer(&mut self, now: Moment, from: &NodeId, known: bool) -> bool {
        !self.liars.contains(from) && self.budget.allows(now.as_millis(), from, known)
    }
}
