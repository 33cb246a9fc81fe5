//! Our side of an exchange: it begins, goes on with each answer, and ends.

use super::{
    SyncPeer, SyncRequest, Topic,
    plan::{Open, Talk},
    wanted::{Next, WantedSet},
};
use crate::{
    counters::{DropReason, Verdict},
    id::NodeId,
    pki::{Pki, store::Pair},
    reconcile::{Items, Key, Message, Session},
};
use rand_core::Rng;

impl Pki {
    /// Wants the set of an open epoch that has this root and so many nodes, of `prefer` if it is connected, else of anybody. What
    /// comes is there for [`take_sets`](Self::take_sets).
    pub(in crate::pki) fn want_set(
        &mut self,
        epoch: u32,
        root: [u8; 32],
        count: u32,
        prefer: Option<NodeId>,
    ) {
        let count = count as usize;
        let fits = count <= self.store.caps().nodes && self.store.is_open(epoch);
        if fits && self.sync.wanted.want(self.now, (epoch, root), count) {
            let prefer = prefer.filter(|peer| *peer != self.own);
            self.sync
                .plan(self.now, Topic::Rooted { epoch, root }, prefer);
        }
    }

    /// Sets that neighbours say to have the wanted roots. Say of each by [`settle_set`](Self::settle_set) whether it is so.
    pub(in crate::pki) fn take_sets(&mut self) -> Vec<WantedSet> {
        self.sync.wanted.take_found()
    }

    /// Whether the records that came had the root; if not, another neighbour is asked.
    pub(in crate::pki) fn settle_set(&mut self, epoch: u32, root: [u8; 32], good: bool) {
        let next = self.sync.wanted.settle(self.now, &(epoch, root), good);
        self.next_try(epoch, root, next);
    }

    /// Asks for a certificate of an epoch: the one with this hash, or any.
    pub(in crate::pki) fn want_certificate(
        &mut self,
        epoch: u32,
        hash: Option<[u8; 32]>,
        with: Option<NodeId>,
    ) {
        let hash = hash.unwrap_or_default();
        self.sync
            .plan(self.now, Topic::Certificate { epoch, hash }, with);
    }

    /// Ends exchanges without an answer, begins those that are due.
    pub(in crate::pki) fn fire_syncs(&mut self) {
        for token in self.sync.late(self.now) {
            self.fail_sync(token);
        }
        while let Some((topic, with)) = self.sync.due(self.now) {
            if !self.sync.introduced() {
                let later = self.now + self.sync.patience;
                if matches!(topic, Topic::Rooted { .. } | Topic::Receipt { .. }) {
                    self.sync.plan(later, topic, with);
                }
                continue;
            }
            if let Some(talk) = self.talk_about(topic) {
                let open = Open {
                    topic,
                    talk,
                    peer: with,
                    heard: false,
                    until: self.now,
                    new: 0,
                };
                let token = self.sync.token();
                self.go_on(token, open);
            }
        }
    }

    /// How to begin; `None` if there is no reason any more.
    fn talk_about(&mut self, topic: Topic) -> Option<Talk> {
        let salt = self.rng.next_u64().to_le_bytes();
        match topic {
            Topic::Open { epoch } => {
                let open = self.store.is_open(epoch);
                open.then(|| Talk::Union(Session::new(salt)))
            }
            Topic::Rooted { epoch, root } => {
                let name = (epoch, root);
                self.sync.wanted.asked(&name)?;
                let mirror = self.sync.wanted.begin(&name, self.store.pairs(epoch))?;
                Some(Talk::Mirror(Session::mirroring(salt), Box::new(mirror)))
            }
            Topic::Certificate { .. } => Some(Talk::Once(Vec::new())),
            Topic::Receipt { epoch } => self.receipt_request(epoch).map(Talk::Once),
            Topic::Faults => Some(Talk::Union(Session::new(salt))),
        }
    }

    /// Asks the next thing, or ends.
    fn go_on(&mut self, token: u64, mut open: Open) {
        let body = match (&mut open.talk, open.topic) {
            (Talk::Union(session), Topic::Faults) => session.request(&self.faults.items()),
            (Talk::Union(session), topic) => {
                let epoch = topic.epoch().unwrap_or_default();
                session.request(&self.store.held(epoch))
            }
            (Talk::Mirror(session, mirror), _) => session.request(&**mirror),
            (Talk::Once(body), _) => (!open.heard).then(|| body.clone()),
        };
        let Some(body) = body else {
            return self.end_sync(open);
        };
        let request = open.topic.request(&body);
        self.counters.sync_rounds += 1;
        self.counters.sync_out += request.len() as u64;
        let peer = match open.peer {
            Some(peer) => SyncPeer::This(peer),
            None => SyncPeer::Any {
                but: self.sync.not_wanted(open.topic),
                lot: self.rng.next_u64(),
            },
        };
        open.until = self.now + self.sync.patience;
        self.sync.begin(token, open);
        self.sync.out.push_back(SyncRequest {
            token,
            peer,
            request,
        });
    }

    /// Takes an answer and goes on. An error is the peer's fault and ends the exchange.
    pub(super) fn take_answer(
        &mut self,
        token: u64,
        mut open: Open,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<Verdict, DropReason> {
        let taken = self.read_answer(&mut open, from, bytes);
        match taken {
            Ok(verdict) => {
                self.go_on(token, open);
                Ok(verdict)
            }
            Err(reason) => {
                self.counters.sync_failed += 1;
                self.gave_up(open, Some(from));
                Err(reason)
            }
        }
    }

    fn read_answer(
        &mut self,
        open: &mut Open,
        from: NodeId,
        bytes: &[u8],
    ) -> Result<Verdict, DropReason> {
        let before = self.counters.sync_records;
        let verdict = match (&mut open.talk, open.topic) {
            (Talk::Union(session), Topic::Faults) => {
                let message = Message::decode(bytes)?;
                session.take(&self.faults.items(), &message)?;
                self.take_fault_items(&message)
            }
            (Talk::Union(session), topic) => {
                let epoch = topic.epoch().ok_or(DropReason::Unwanted)?;
                let message = Message::decode(bytes)?;
                session.take(&self.store.held(epoch), &message)?;
                self.take_items(epoch, &message)
            }
            (Talk::Mirror(..), _) if bytes.is_empty() => {
                // It has no set of that root.
                open.talk = Talk::Once(Vec::new());
                Verdict::Ignore
            }
            (Talk::Mirror(session, mirror), topic) => {
                let epoch = topic.epoch().ok_or(DropReason::Unwanted)?;
                let message = Message::decode(bytes)?;
                session.take(&**mirror, &message)?;
                let excess = session.take_excess();
                let came = self.take_pairs(epoch, &message)?;
                if mirror.update(&excess, came) {
                    Verdict::Accept
                } else {
                    return Err(DropReason::Full);
                }
            }
            (Talk::Once(_), Topic::Receipt { epoch }) => self.take_receipt(epoch, from, bytes)?,
            (Talk::Once(_), topic) => self.take_certificate_answer(topic, bytes),
        };
        open.new += (self.counters.sync_records - before) as usize;
        match verdict {
            Verdict::Reject => Err(DropReason::Unwanted),
            _ => Ok(verdict),
        }
    }

    /// Nothing is left to say.
    fn end_sync(&mut self, open: Open) {
        self.counters.synced += 1;
        match (open.topic, open.talk, open.peer) {
            (Topic::Open { epoch }, _, peer) => {
                self.sync.over(epoch);
                if epoch > self.current.unwrap_or_default() {
                    self.sync.plan(self.now, Topic::Faults, peer);
                }
            }
            (Topic::Rooted { epoch, root }, Talk::Mirror(session, mirror), Some(peer)) => {
                let (name, cut_short) = ((epoch, root), session.cut_short());
                let wanted = &mut self.sync.wanted;
                let next = wanted.ended(self.now, &name, peer, *mirror, cut_short);
                self.next_try(epoch, root, next);
            }
            (Topic::Rooted { epoch, root }, _, peer) => {
                let next = self.sync.wanted.failed(self.now, &(epoch, root), peer);
                self.next_try(epoch, root, next);
            }
            (Topic::Receipt { epoch }, ..) => self.ask_for_receipt(epoch),
            (Topic::Certificate { .. } | Topic::Faults, ..) => {}
        }
    }

    /// Nobody answered.
    pub(super) fn fail_sync(&mut self, token: u64) {
        if let Some(open) = self.sync.unanswered(token) {
            // Most candidates aren't connected: to ask them fails at once and costs nothing.
            let receipt = matches!(open.topic, Topic::Receipt { .. });
            self.counters.sync_failed += u64::from(!receipt);
            self.gave_up(open, None);
        }
    }

    /// An exchange ends before its time; `liar`: for what this one said.
    fn gave_up(&mut self, open: Open, liar: Option<NodeId>) {
        match open.topic {
            Topic::Open { epoch } if liar.is_some() => self.sync.over(epoch),
            Topic::Rooted { epoch, root } => {
                let name = (epoch, root);
                let next = match (open.heard, open.peer) {
                    (false, Some(peer)) => self.sync.wanted.unreachable(self.now, &name, peer),
                    _ => self.sync.wanted.failed(self.now, &name, liar.or(open.peer)),
                };
                self.next_try(epoch, root, next);
            }
            Topic::Receipt { epoch } => self.ask_for_receipt(epoch),
            _ => {}
        }
    }

    fn next_try(&mut self, epoch: u32, root: [u8; 32], next: Next) {
        if let Next::Ask(at, with) = next {
            self.sync.plan(at, Topic::Rooted { epoch, root }, with);
        }
    }

    /// Items of a set by its root: each must be two valid records that belong together. What the open set lacks it gets as well.
    fn take_pairs(
        &mut self,
        epoch: u32,
        message: &Message<'_>,
    ) -> Result<Vec<(Key, Pair)>, DropReason> {
        if self.take_items(epoch, message) == Verdict::Reject {
            return Err(DropReason::Unwanted);
        }
        let mut came = Vec::new();
        for item in message.items() {
            let key = self.store.held(epoch).key_of(item);
            let key = key.ok_or(DropReason::Malformed)?;
            let pair = self.store.pair_of(epoch, item, &mut self.counters)?;
            came.push((key, pair));
        }
        Ok(came)
    }
}
