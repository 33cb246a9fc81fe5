//! Reconciliation with neighbours: when to ask whom, and how much to answer. What is said is [`crate::reconcile`]'s part.
//!
//! A node reconciles the set of the next epoch with three neighbours right after its cut-off, and any open set with one more
//! whenever a head shows a root that isn't ours; only if that doesn't help it reads pages. It answers everybody, within budgets,
//! and keeps nothing of whom it answered. A newcomer's first set comes from pages: nobody starts before a head was read.
//! SPEC.md §21.

use super::{
    Caps, Pki,
    store::{Store, pair},
};
use crate::{
    bundle::Record,
    counters::{Counters, DropReason, Verdict},
    epoch::{cutoff, random_span},
    id::{Cell, NodeId},
    network::NetworkParams,
    reconcile::{self, Items, MAX_MESSAGE, Message, Session},
    wire::Reader,
};
use mix::time::{Moment, Span};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

mod budget;

use budget::Budget;

const VERSION: u8 = 1;
const HEAD_LEN: usize = 1 + Cell::LEN + 4;
/// Longest request and longest answer, in bytes.
pub const MAX_SYNC_LEN: usize = HEAD_LEN + MAX_MESSAGE;
/// Neighbours asked at the cut-off.
const NEIGHBOURS: u32 = 3;
/// Exchanges about one foreign root before its pages are read.
const BEFORE_PAGES: u32 = 2;
/// Exchanges waiting for their moment.
const PLANS: usize = 16;
/// Peers named as not wanted with a request; also how many are remembered as asked, and as liars.
const NAMED: usize = 64;
/// Foreign roots remembered.
const ROOTS: usize = 64;
/// A root is foreign by so much more than ours that pages are the better way: so many nodes beyond twice ours.
const BULK: u64 = 16;
/// After so many exchanges in a row without any answer, reconciliation is taken not to work here: pages do.
const HELPLESS: u32 = 2;
/// An exchange that brought at most so many new records passes them on by gossip: others may lack them as we did.
const RELAYED: usize = 16;

/// Whom to send a request to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SyncPeer {
    /// Any connected peer but these: the one at `lot` modulo their number, preferably among those we chose to be linked with.
    Any {
        /// Asked before, or caught lying.
        but: Vec<NodeId>,
        /// Random.
        lot: u64,
    },
    /// This one.
    This(NodeId),
}

/// A request for a neighbour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncRequest {
    /// Names the exchange when its answer comes or fails.
    pub token: u64,
    /// Whom to ask.
    pub peer: SyncPeer,
    /// What to send, at most [`MAX_SYNC_LEN`] bytes.
    pub request: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Sync {
    most: usize,
    patience: Span,
    /// Between the neighbours of one cut-off.
    pause: Span,
    /// Exchanges to begin: when, and about which epoch, with whom.
    plans: BTreeMap<(Moment, u64), (u32, Option<NodeId>)>,
    open: BTreeMap<u64, Open>,
    out: VecDeque<SyncRequest>,
    next: u64,
    /// Asked in this epoch. Forgotten when there is nobody else.
    asked: BTreeSet<NodeId>,
    /// Caught lying in this epoch: neither asked nor answered.
    liars: BTreeSet<NodeId>,
    /// Exchanges ended, by epoch.
    ended: BTreeMap<u32, u32>,
    /// Foreign roots, and how many exchanges had ended when they were first seen.
    roots: VecDeque<([u8; 32], u32, u32)>,
    /// Whether lookups have ever shown us a head.
    introduced: bool,
    /// Exchanges in a row that nobody answered.
    unanswered: u32,
    budget: Budget,
}

#[derive(Debug)]
struct Open {
    epoch: u32,
    session: Session,
    /// Who answers; not known before the first answer.
    peer: Option<NodeId>,
    until: Moment,
    /// New records so far.
    new: usize,
}

impl Sync {
    pub(super) fn new(params: &NetworkParams, caps: &Caps) -> Self {
        Self {
            most: caps.syncs,
            patience: Span::from_millis((params.epoch_ms / 8).clamp(1_000, 15_000)),
            pause: Span::from_millis((params.cutoff_ms / 10).clamp(100, 5_000)),
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
            budget: Budget::new(caps.sync_peers),
        }
    }

    /// A new epoch: the next cut-off is planned, what is over is forgotten.
    pub(super) fn turn(
        &mut self,
        now: Moment,
        current: u32,
        params: &NetworkParams,
        rng: &mut ChaCha20Rng,
    ) {
        let kept = |epoch: u32| epoch == current || epoch == current.saturating_add(1);
        self.plans.retain(|_, (epoch, _)| kept(*epoch));
        self.open.retain(|_, open| kept(open.epoch));
        let open = &self.open;
        self.out.retain(|request| open.contains_key(&request.token));
        self.ended.retain(|epoch, _| kept(*epoch));
        self.roots.retain(|(_, epoch, _)| kept(*epoch));
        self.asked.clear();
        self.liars.clear();
        let next = current.saturating_add(1);
        let first = cutoff(params, next).max(now) + random_span(self.pause, rng);
        for step in 0..NEIGHBOURS {
            self.plan(first + self.pause.times(u64::from(step)), next, None);
        }
    }

    fn plan(&mut self, at: Moment, epoch: u32, with: Option<NodeId>) {
        if self.plans.len() < PLANS {
            self.next += 1;
            self.plans.insert((at, self.next), (epoch, with));
        }
    }

    /// A head was read: whoever serves it has brought us into the network.
    pub(super) fn introduce(&mut self) {
        self.introduced = true;
    }

    /// Whether a head was ever read.
    pub(super) fn introduced(&self) -> bool {
        self.introduced
    }

    /// Whether a foreign root of `count` nodes, where we know `own`, is a matter for reconciliation: it is until a few exchanges
    /// have ended without making it ours, but never if it holds so much more that it is better read from many.
    pub(super) fn takes(
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
        let under_way = self.open.values().any(|open| open.epoch == epoch);
        // Plans for a cut-off to come don't help now.
        let soon = now + self.pause;
        let planned = (self.plans.iter()).any(|((at, _), (of, _))| *of == epoch && *at <= soon);
        if !under_way && !planned {
            self.plan(now, epoch, None);
        }
        true
    }

    pub(super) fn poll(&mut self) -> Option<SyncRequest> {
        self.out.pop_front()
    }

    pub(super) fn timeout(&self) -> Option<Moment> {
        let plans = self.plans.keys().next().map(|(at, _)| *at);
        let open = self.open.values().map(|open| open.until).min();
        plans.into_iter().chain(open).min()
    }

    /// Ends exchanges without an answer, begins those that are due.
    pub(super) fn fire(
        &mut self,
        now: Moment,
        store: &mut Store,
        counters: &mut Counters,
        rng: &mut ChaCha20Rng,
    ) {
        let late: Vec<_> = self
            .open
            .iter()
            .filter(|(_, open)| open.until <= now)
            .map(|(token, _)| *token)
            .collect();
        for token in late {
            self.fail(token, counters);
        }
        while let Some((&(at, _), _)) = self.plans.first_key_value()
            && at <= now
            && let Some((_, (epoch, with))) = self.plans.pop_first()
        {
            if !self.introduced || !store.is_open(epoch) {
                continue;
            }
            if self.open.len() >= self.most {
                self.plan(now + self.pause, epoch, with);
                continue;
            }
            self.next += 1;
            let token = self.next;
            let open = Open {
                epoch,
                session: Session::new(rng.next_u64().to_le_bytes()),
                peer: with,
                until: now,
                new: 0,
            };
            self.go_on(now, token, open, store, counters, rng);
        }
    }

    /// Asks the next thing, or ends.
    fn go_on(
        &mut self,
        now: Moment,
        token: u64,
        mut open: Open,
        store: &mut Store,
        counters: &mut Counters,
        rng: &mut ChaCha20Rng,
    ) {
        let Some(message) = open.session.request(&store.held(open.epoch)) else {
            *self.ended.entry(open.epoch).or_default() += 1;
            counters.synced += 1;
            return;
        };
        let mut request = Vec::with_capacity(HEAD_LEN + message.len());
        request.push(VERSION);
        request.extend_from_slice(&Cell::WHOLE.to_bytes());
        request.extend_from_slice(&open.epoch.to_le_bytes());
        request.extend_from_slice(&message);
        counters.sync_rounds += 1;
        counters.sync_out += request.len() as u64;
        let peer = match open.peer {
            Some(peer) => SyncPeer::This(peer),
            None => SyncPeer::Any {
                but: self.asked.union(&self.liars).copied().collect(),
                lot: rng.next_u64(),
            },
        };
        open.until = now + self.patience;
        self.open.insert(token, open);
        self.out.push_back(SyncRequest {
            token,
            peer,
            request,
        });
    }

    /// An exchange ends before its time.
    fn fail(&mut self, token: u64, counters: &mut Counters) {
        let Some(open) = self.open.remove(&token) else {
            return;
        };
        self.out.retain(|request| request.token != token);
        *self.ended.entry(open.epoch).or_default() += 1;
        counters.sync_failed += 1;
        self.unanswered = self.unanswered.saturating_add(1);
        if open.peer.is_none() {
            // Perhaps there is nobody else: begin again with those asked before.
            self.asked.clear();
        }
    }

    fn shun(&mut self, peer: NodeId) {
        if self.liars.len() < NAMED {
            self.liars.insert(peer);
        }
    }
}

impl Pki {
    /// The next request to reconcile. Its answer goes to [`handle_sync_response`](Self::handle_sync_response); if there is nobody
    /// to ask, or no answer within a while, [`handle_sync_failed`](Self::handle_sync_failed) says so.
    pub fn poll_sync(&mut self) -> Option<SyncRequest> {
        self.sync.poll()
    }

    /// Reconciles an open epoch soon, with this peer or any: for whoever knows that something is missing.
    pub fn sync_soon(&mut self, now: Moment, epoch: u32, with: Option<NodeId>) {
        self.advance(now);
        self.sync.plan(self.now, epoch, with);
    }

    /// Answers a peer's request to reconcile; `None` if it isn't answered. The peer's identity must be proved by the connection.
    pub fn handle_sync_request(
        &mut self,
        now: Moment,
        from: &NodeId,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        self.advance(now);
        self.counters.sync_in += bytes.len() as u64;
        let known = self
            .known(&crate::id::short_id(&self.network, from))
            .is_some();
        if self.sync.liars.contains(from) || !self.sync.budget.allows(now.as_millis(), from, known)
        {
            self.drop(DropReason::Budget);
            return None;
        }
        match self.answer_sync(from, bytes) {
            Ok(answer) => {
                self.counters.sync_answered += 1;
                self.counters.sync_out += answer.len() as u64;
                Some(answer)
            }
            Err(reason) => {
                if self.drop(reason) == Verdict::Reject {
                    self.sync.shun(*from);
                }
                None
            }
        }
    }

    fn answer_sync(&mut self, from: &NodeId, bytes: &[u8]) -> Result<Vec<u8>, DropReason> {
        let (epoch, message) = split(bytes)?;
        if !self.store.is_open(epoch) {
            return Err(DropReason::Epoch);
        }
        let message = Message::decode(message)?;
        if self.take_items(epoch, &message) == Verdict::Reject {
            self.sync.shun(*from);
            // What is wrong was counted; the peer learns nothing.
            return Err(DropReason::Unwanted);
        }
        Ok(reconcile::answer(&self.store.held(epoch), &message))
    }

    /// Takes the answer to a request.
    pub fn handle_sync_response(
        &mut self,
        now: Moment,
        token: u64,
        from: &NodeId,
        bytes: &[u8],
    ) -> Verdict {
        self.advance(now);
        self.counters.sync_in += bytes.len() as u64;
        let expected = |open: &&mut Open| open.peer.is_none_or(|peer| peer == *from);
        let Some(open) = self.sync.open.get_mut(&token).filter(expected) else {
            return self.drop(DropReason::Unwanted);
        };
        open.peer = Some(*from);
        self.sync.unanswered = 0;
        if self.sync.asked.len() < NAMED {
            self.sync.asked.insert(*from);
        }
        match self.go_on_sync(token, bytes) {
            Ok(verdict) => verdict,
            Err(reason) => {
                self.sync.fail(token, &mut self.counters);
                self.sync.shun(*from);
                self.drop(reason)
            }
        }
    }

    fn go_on_sync(&mut self, token: u64, bytes: &[u8]) -> Result<Verdict, DropReason> {
        let message = Message::decode(bytes)?;
        let open = self.sync.open.get_mut(&token).ok_or(DropReason::Unwanted)?;
        let (epoch, held) = (open.epoch, self.store.held(open.epoch));
        open.session.take(&held, &message)?;
        let before = self.counters.sync_records;
        let verdict = self.take_items(epoch, &message);
        if verdict == Verdict::Reject {
            return Err(DropReason::Unwanted);
        }
        if let Some(mut open) = self.sync.open.remove(&token) {
            open.new += (self.counters.sync_records - before) as usize;
            self.sync.go_on(
                self.now,
                token,
                open,
                &mut self.store,
                &mut self.counters,
                &mut self.rng,
            );
        }
        Ok(verdict)
    }

    /// A request found nobody to go to, or no answer came.
    pub fn handle_sync_failed(&mut self, now: Moment, token: u64) {
        self.advance(now);
        self.sync.fail(token, &mut self.counters);
    }

    /// Takes the items of a message by the rules of gossip. A few new ones are gossiped onwards: what only one of us knew at the
    /// cut-off, others lack as well.
    fn take_items(&mut self, epoch: u32, message: &Message<'_>) -> Verdict {
        let mut news = Vec::new();
        for item in message.items() {
            let key = self.store.held(epoch).key_of(item);
            let (Some(key), Some((descriptor, beat))) = (key, pair(item)) else {
                return self.drop(DropReason::Malformed);
            };
            let taken = self.take(&[Record::Descriptor(descriptor), Record::Beat(beat)]);
            self.store.refuse_unless_held(epoch, key);
            news.extend(taken.new);
            if taken.forged {
                return Verdict::Reject;
            }
        }
        self.counters.sync_records += news.len() as u64;
        if news.is_empty() {
            return Verdict::Ignore;
        }
        if news.len() <= RELAYED {
            for (short, beat) in news {
                self.announce.relay(self.now, short, beat);
            }
        }
        Verdict::Accept
    }
}

/// Epoch and message of a request.
fn split(bytes: &[u8]) -> Result<(u32, &[u8]), DropReason> {
    let mut reader = Reader::new(bytes);
    match reader.u8() {
        Some(VERSION) => {}
        Some(_) => return Err(DropReason::Version),
        None => return Err(DropReason::Malformed),
    }
    let cell = reader.array().and_then(Cell::from_bytes);
    let (Some(cell), Some(epoch)) = (cell, reader.u32()) else {
        return Err(DropReason::Malformed);
    };
    if cell != Cell::WHOLE {
        return Err(DropReason::Network);
    }
    Ok((epoch, bytes.get(HEAD_LEN..).unwrap_or_default()))
}
