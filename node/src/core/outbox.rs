//! The payload stream: what leaves in its slots, and the cover that fills those nobody needs.
//!
//! Slots come at a constant Poisson rate whatever the user does. A slot carries the most urgent
//! deposit that waits, or a deposit of random bytes under a random box id: to a relay, to the
//! holder that stores it and to an observer the two look the same. A queue that grows waits; it
//! never bursts.

use std::collections::VecDeque;

use ed25519_dalek::SigningKey;
use mix::ShortId;
use mix::sphinx::{BODY_LEN, Class, Exit, Hop};
use mix::time::Moment;
use rand_core::Rng;
use storage::backend::Backend;
use storage::op::{Op, Scope};
use storage::stamp::{HashStamp, Proof, Stamp, Subject};
use storage::{Millis, SEALED_LEN};

use super::records::{ContactId, MessageId};
use super::{Core, MAX_LOOPS, millis};

/// Deposits that may wait in one rank.
const MAX_WAITING: usize = 256;
/// One slot in so many carries the slow class.
const SLOW_ONE_IN: usize = 16;
/// Draws of a route before its first hop counts as unreachable.
const DRAWS: usize = 64;

/// How soon a deposit goes: first copies of new frames, then hellos and acknowledgements, then the
/// further copies, then what may wait for hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    First,
    Hello,
    Copy,
    Idle,
}

/// One packet's worth of depositing: an operation and the holder it goes to.
#[derive(Clone, Debug)]
pub(super) struct Deposit {
    pub(super) rank: Rank,
    pub(super) holder: ShortId,
    pub(super) class: Class,
    pub(super) body: Box<[u8; BODY_LEN]>,
    /// The epoch its operation names: holders take it until the end of the next one.
    pub(super) made_in: u32,
    /// The messages that count as sent once it has left.
    pub(super) carries: Vec<MessageId>,
    /// Whose frame it is, for counting what is under way.
    pub(super) contact: Option<ContactId>,
}

/// Deposits waiting for slots.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    ranks: [VecDeque<Deposit>; 4],
    shed: u64,
}

impl Outbox {
    /// Adds deposits; a rank that is full refuses the newest (its owner tries again later).
    pub(super) fn add(&mut self, deposits: Vec<Deposit>) {
        for deposit in deposits {
            let queue = &mut self.ranks[deposit.rank as usize];
            if queue.len() < MAX_WAITING {
                queue.push_back(deposit);
            } else {
                self.shed += 1;
            }
        }
    }

    /// How many frames of a contact wait for their first copy to leave.
    pub(super) fn waiting_for(&self, contact: &ContactId) -> usize {
        self.ranks[..2]
            .iter()
            .flatten()
            .filter(|one| one.contact.as_ref() == Some(contact))
            .count()
    }

    pub(super) fn len(&self, rank: Rank) -> usize {
        self.ranks[rank as usize].len()
    }

    pub(super) fn shed(&self) -> u64 {
        self.shed
    }

    /// The most urgent deposit of a slot's class.
    fn pop(&mut self, slow: bool) -> Option<Deposit> {
        self.ranks.iter_mut().find_map(|queue| {
            let at = queue
                .iter()
                .position(|one| (one.class == Class::Slow) == slow)?;
            queue.remove(at)
        })
    }

    fn put_back(&mut self, deposit: Deposit) {
        self.ranks[deposit.rank as usize].push_front(deposit);
    }
}

impl<B: Backend> Core<B> {
    /// A slot of the payload stream.
    pub(super) fn payload_slot(&mut self, now: Moment) {
        if !self.ready.can_route() {
            return;
        }
        // The class is the slot's, drawn before anyone looks at what waits: a relay reads it, and
        // cover of both classes keeps it from telling what is real.
        let slow = self.below(SLOW_ONE_IN) == 0;
        let epoch = self.epoch(now);
        let Some(directory) = self.directory(now) else {
            return;
        };
        while let Some(deposit) = self.outbox.pop(slow) {
            let known = directory.by_short(&deposit.holder).is_some();
            if !known || deposit.made_in.saturating_add(1) < epoch {
                // Its holder has left or would refuse it; whoever made it makes another.
                self.outbox.shed += 1;
                continue;
            }
            let sent = self.send_box(now, &deposit.holder, deposit.class, &deposit.body);
            if sent.is_some() {
                self.counters.real += 1;
                self.mark_sent(now, &deposit.carries);
                return;
            }
            self.outbox.put_back(deposit);
            break;
        }
        if self.send_cover(now, slow).is_some() {
            self.counters.cover += 1;
        } else {
            self.counters.not_sent += 1;
        }
    }

    /// A slot of the loop stream: a packet to ourselves that tells whether the mesh carries.
    pub(super) fn loop_slot(&mut self, now: Moment) {
        if !self.ready.can_route() {
            return;
        }
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        let epoch = self.epoch(now);
        self.sign_loop(epoch, &mut id);
        let mut body = [0; BODY_LEN];
        self.rng.fill_bytes(&mut body);
        let me = self.short;
        if self
            .send_packet(now, &me, Class::Fast, Exit::Loop { id }, &body)
            .is_some()
        {
            self.counters.loops_sent += 1;
            self.counters.cover += 1;
            if self.loops.len() == MAX_LOOPS {
                self.loops.pop_first();
            }
            self.loops.insert(id, epoch);
        }
    }

    /// Sends an operation to a holder over a fresh route. `None`: no route just now.
    pub(super) fn send_box(
        &mut self,
        now: Moment,
        holder: &ShortId,
        class: Class,
        body: &[u8; BODY_LEN],
    ) -> Option<()> {
        self.send_packet(now, holder, class, Exit::Box, body)
    }

    fn send_packet(
        &mut self,
        now: Moment,
        to: &ShortId,
        class: Class,
        exit: Exit,
        body: &[u8; BODY_LEN],
    ) -> Option<()> {
        let path = self.route(now, to, class)?;
        let first = path.first()?.id;
        let packet =
            mix::sphinx::build(&self.network, &path, class, exit, body, &mut self.rng).ok()?;
        self.mixer.send(now, first, packet);
        Some(())
    }

    /// A route of full length to `to`, whose first hop has a link to us; the rest is drawn from the
    /// whole set, without any preference of ours.
    fn route(&mut self, now: Moment, to: &ShortId, class: Class) -> Option<Vec<Hop>> {
        for _ in 0..DRAWS {
            let path = self.draw(now, self.short, to, class)?;
            if path.first().is_some_and(|hop| self.links.contains(&hop.id)) {
                return Some(path);
            }
        }
        None
    }

    /// A deposit nobody will ever fetch, alike in everything that can be seen.
    fn send_cover(&mut self, now: Moment, slow: bool) -> Option<()> {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let key = SigningKey::from_bytes(&seed);
        let id = key.verifying_key().to_bytes();
        // Where a live deposit would go, whose expiry it carries.
        let k = usize::from(self.config.params.live_holders);
        let holders = self.directory(now)?.holders(&id, k);
        let holder = *holders.get(self.below(holders.len()))?;
        let mut sealed = Box::new([0; SEALED_LEN]);
        self.rng.fill_bytes(sealed.as_mut_slice());
        let body = self.put_box(now, &key, self.live_expiry(now), sealed);
        let class = if slow { Class::Slow } else { Class::Fast };
        self.send_box(now, &holder, class, &body)
    }

    /// A stamped and signed deposit into a pairwise box.
    pub(super) fn put_box(
        &mut self,
        now: Moment,
        key: &SigningKey,
        expires: Millis,
        sealed: Box<[u8; SEALED_LEN]>,
    ) -> Box<[u8; BODY_LEN]> {
        let scope = self.scope(now);
        let id = key.verifying_key().to_bytes();
        let stamp = self.stamp(&Subject::put_box(&self.network.0, &id, &sealed));
        Op::put_box(&scope, key, expires, sealed, stamp).encode()
    }

    pub(super) fn stamp(&mut self, subject: &Subject) -> Proof {
        let start = self.rng.next_u64();
        HashStamp
            .solve(subject, self.config.params.effort, start)
            .unwrap_or_default()
    }

    pub(super) fn scope(&self, now: Moment) -> Scope {
        Scope {
            network: self.network.0,
            epoch: self.epoch(now),
        }
    }

    /// When a live deposit may be forgotten: two slots after its own, on the edge of a slot like those
    /// of conversations.
    pub(super) fn live_expiry(&self, now: Moment) -> Millis {
        let slot = self.config.params.live_slot_ms.max(1);
        let written = (now.as_millis() + self.usual_rtt_ms() / 4) / slot;
        Millis((written + 3).saturating_mul(slot))
    }

    /// When a parked deposit may be forgotten.
    pub(super) fn parked_expiry(&self, now: Moment) -> Millis {
        let params = &self.config.params;
        millis(now).plus(params.day_ms.saturating_mul(u64::from(params.parked_days)))
    }

    /// A uniform number below `bound`; 0 if there is nothing to choose from.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap_or(1);
        // 2^64 is so much larger than any bound here that the bias is below 2^-40.
        usize::try_from(self.rng.next_u64() % bound).unwrap_or(0)
    }
}
