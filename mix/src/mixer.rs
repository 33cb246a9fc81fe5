//! The mixer: a state machine that takes packets in, remembers them before it acts on them, lets them wait, and hands them on.
//! It does no IO, reads no clock and owns its randomness. SPEC.md §8 and §9.

use core::fmt;
use std::collections::VecDeque;

use rand_chacha::ChaCha20Rng;

use crate::ShortId;
use crate::counters::{Counters, DropReason};
use crate::delay;
use crate::dice::below;
use crate::keyring::{EpochKey, KeyError, KeyRing};
use crate::pool::Pool;
use crate::replay::Seen;
use crate::sphinx::batch::Outcome;
use crate::sphinx::{Class, Packet, Peeled, ReplayTag};
use crate::time::{Moment, Span};

mod config;
mod event;
mod opener;
mod taglog;

pub use config::MixerConfig;
pub use event::Event;
pub use opener::{Arrival, Opened, Opener};
pub use taglog::TagBatch;
use taglog::TagLog;

/// The Poisson mixer.
///
/// Call [`handle_packet`](Self::handle_packet) for what links bring, [`send`](Self::send) and [`hold`](Self::hold) for what
/// starts here, [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout). After any of them drain
/// [`poll_tags`](Self::poll_tags) and make each batch durable, then say so by [`handle_synced`](Self::handle_synced); then
/// drain [`poll_transmit`](Self::poll_transmit) and [`poll_event`](Self::poll_event). Nothing whose tag is not durable leaves
/// by either. A busy node opens packets on other threads: [`opener`](Self::opener) gives what does that,
/// [`handle_opened`](Self::handle_opened) takes the result in place of `handle_packet`. At the turn of epochs call
/// [`add_key`](Self::add_key) and [`drop_expired_keys`](Self::drop_expired_keys).
pub struct Mixer {
    config: MixerConfig,
    rng: ChaCha20Rng,
    keys: KeyRing,
    tags: TagLog,
    pool: Pool<Waiting>,
    /// Past their deadline, tag not yet synced. Counts towards the pool's cap.
    late: Vec<Waiting>,
    transmit: VecDeque<(ShortId, Packet)>,
    events: VecDeque<(u64, Event)>,
    counters: Counters,
}

struct Waiting {
    seq: u64,
    to: ShortId,
    packet: Packet,
}

impl Mixer {
    /// A mixer without keys: it drops everything until it has one.
    pub fn new(config: MixerConfig, rng: ChaCha20Rng) -> Self {
        Self {
            keys: KeyRing::new(config.replay_cap, config.replay_reserve),
            tags: TagLog::new(config.tag_cap),
            pool: Pool::new(config.pool_cap),
            late: Vec::new(),
            transmit: VecDeque::with_capacity(config.transmit_cap),
            events: VecDeque::with_capacity(config.event_cap),
            counters: Counters::default(),
            config,
            rng,
        }
    }

    /// Takes a key and the tags that were durable under it (none for a fresh key).
    pub fn add_key(
        &mut self,
        key: EpochKey,
        replayed: impl IntoIterator<Item = [u8; 16]>,
    ) -> Result<(), KeyError> {
        self.keys.add(key, replayed, &mut self.rng)
    }

    /// Erases keys whose time is over together with their replay sets, and names their epochs: what the disk holds of them
    /// must go too.
    pub fn drop_expired_keys(&mut self, now: Moment) -> Vec<u32> {
        self.keys.drop_expired(now)
    }

    /// The epochs that have a key, in order.
    pub fn key_epochs(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.epochs()
    }

    /// Takes a packet from a link. What is wrong with it is counted and nowhere else visible.
    pub fn handle_packet(&mut self, now: Moment, packet: Packet) {
        self.counters.received += 1;
        if let Err(reason) = self.accept(now, packet) {
            self.counters.drop_one(reason);
        }
    }

    /// What opens packets for this mixer elsewhere. Take a new one after [`add_key`](Self::add_key): an older one does not know
    /// that key and drops its packets.
    pub fn opener(&self) -> Opener {
        Opener {
            network: self.config.network,
            own: self.config.own,
            keys: self.keys.keys().clone(),
        }
    }

    /// Takes packets that an [`Opener`] of this mixer opened, as if they had been handed in when they arrived.
    pub fn handle_opened(&mut self, opened: Opened) {
        for (arrival, outcome) in opened.arrivals.into_iter().zip(opened.outcomes) {
            self.counters.received += 1;
            if let Err(reason) = self.accept_opened(arrival, outcome) {
                self.counters.drop_one(reason);
            }
        }
    }

    /// Sends a fresh packet of our own to its first hop: it waits nowhere here, the streams that time it are random already.
    pub fn send(&mut self, _now: Moment, first: ShortId, packet: Packet) {
        self.counters.sent += 1;
        self.queue_transmit(first, packet);
    }

    /// Mean delay per hop of each class from now on; packets that wait already keep their moment.
    pub fn set_delays(&mut self, delays: [Span; 3]) {
        self.config.delays = delays;
    }

    /// Lets a packet that answers another one (a crossover) wait like the packets it hides among: S and one exponential delay
    /// of its class.
    pub fn hold(&mut self, now: Moment, class: Class, first: ShortId, packet: Packet) {
        self.counters.held += 1;
        let wait = self.config.hold + delay::own(self.config.delays[class.index()], &mut self.rng);
        self.put_in_pool(
            now + wait,
            Waiting {
                seq: 0,
                to: first,
                packet,
            },
        );
    }

    /// The next batch of replay tags to be made durable. Batches come in the order of their sequence numbers.
    pub fn poll_tags(&mut self) -> Option<TagBatch> {
        self.tags.poll()
    }

    /// All batches up to `seq` are durable.
    pub fn handle_synced(&mut self, seq: u64) {
        let synced = self.tags.handle_synced(seq);
        let ready: Vec<Waiting> = self
            .late
            .extract_if(.., |waiting| waiting.seq <= synced)
            .collect();
        for waiting in ready {
            self.queue_transmit(waiting.to, waiting.packet);
        }
    }

    /// Moves what is due from the pool to the links.
    pub fn handle_timeout(&mut self, now: Moment) {
        while let Some(waiting) = self.pool.pop_due(now) {
            if waiting.seq <= self.tags.synced() {
                self.queue_transmit(waiting.to, waiting.packet);
            } else {
                self.counters.late += 1;
                self.late.push(waiting);
            }
        }
    }

    /// The next packet for a link, and whose.
    pub fn poll_transmit(&mut self) -> Option<(ShortId, Packet)> {
        let next = self.transmit.pop_front();
        self.counters.transmitted += u64::from(next.is_some());
        next
    }

    /// The next thing that ended here.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.front()?.0 > self.tags.synced() {
            return None;
        }
        self.events.pop_front().map(|(_, event)| event)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.pool.next_deadline()
    }

    /// Packets that wait here now: the pool that a packet meets.
    pub fn pool_len(&self) -> usize {
        self.pool.len() + self.late.len()
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn accept(&mut self, now: Moment, mut packet: Packet) -> Result<(), DropReason> {
        let (epoch, authentic) = self.opener().authenticate(now, &packet)?;
        let seq = self.remember(epoch, authentic.tag())?;
        let peeled = authentic.peel(&mut packet)?;
        self.admit(now, seq, packet, peeled)
    }

    fn accept_opened(
        &mut self,
        arrival: Arrival,
        outcome: Result<Outcome, DropReason>,
    ) -> Result<(), DropReason> {
        let outcome = outcome?;
        let seq = self.remember(outcome.epoch, outcome.tag)?;
        self.admit(arrival.at, seq, arrival.packet, outcome.peeled?)
    }

    /// Looks a tag up, keeps it, and says with which batch it becomes durable.
    fn remember(&mut self, epoch: u32, tag: ReplayTag) -> Result<u64, DropReason> {
        if self.tags.is_full() {
            return Err(DropReason::TagsBacklog);
        }
        match self.keys.remember(epoch, tag.0) {
            Some(Seen::New) => Ok(self.tags.push(epoch, tag.0)),
            Some(Seen::Again) => Err(DropReason::Replay),
            Some(Seen::Full) => Err(DropReason::ReplayFull),
            // The key was erased while another thread opened the packet.
            None => Err(DropReason::Mac),
        }
    }

    /// Does what the routing block of a new, authentic packet says.
    fn admit(
        &mut self,
        now: Moment,
        seq: u64,
        packet: Packet,
        peeled: Peeled,
    ) -> Result<(), DropReason> {
        match peeled {
            Peeled::Forward { next, .. } if next == self.config.own => {
                return Err(DropReason::NextIsSelf);
            }
            Peeled::Forward {
                next,
                class,
                quantile,
            } => {
                let mean = self.config.delays[class.index()];
                let wait = delay::from_quantile(quantile, mean, &mut self.rng)
                    .ok_or(DropReason::OverCapDelay)?;
                self.counters.relayed += 1;
                self.put_in_pool(
                    now + self.config.hold + wait,
                    Waiting {
                        seq,
                        to: next,
                        packet,
                    },
                );
                return Ok(());
            }
            Peeled::Drop => {}
            Peeled::Loop { id } => self.queue_event(seq, Event::Loop { id, at: now }),
            Peeled::Box { class } => self.queue_event(
                seq,
                Event::Box {
                    class,
                    body: packet.body(),
                },
            ),
            Peeled::Reply { surb_id } => self.queue_event(seq, Event::Reply { surb_id, packet }),
        }
        self.counters.ended += 1;
        Ok(())
    }

    fn put_in_pool(&mut self, deadline: Moment, waiting: Waiting) {
        // Late packets take the pool's room too, and are as likely to be shed as any.
        let inside = self.pool_len();
        if !self.late.is_empty() && inside >= self.config.pool_cap {
            self.counters.drop_one(DropReason::PoolFull);
            let victim = below(inside + 1, &mut self.rng);
            if victim == inside {
                return;
            }
            if victim < self.late.len() {
                self.late.remove(victim);
            } else {
                self.pool.shed(&mut self.rng);
            }
        }
        if self.pool.insert(deadline, waiting, &mut self.rng).is_some() {
            self.counters.drop_one(DropReason::PoolFull);
        }
    }

    fn queue_transmit(&mut self, to: ShortId, packet: Packet) {
        if shed_to_fit(
            &mut self.transmit,
            self.config.transmit_cap,
            (to, packet),
            &mut self.rng,
        ) {
            self.counters.drop_one(DropReason::TransmitFull);
        }
    }

    fn queue_event(&mut self, seq: u64, event: Event) {
        if shed_to_fit(
            &mut self.events,
            self.config.event_cap,
            (seq, event),
            &mut self.rng,
        ) {
            self.counters.drop_one(DropReason::EventsFull);
        }
    }
}

/// Appends to a bounded queue. If it is full, one of all those inside and the new one is thrown out, each as likely as any
/// other; says whether that happened.
fn shed_to_fit<T>(queue: &mut VecDeque<T>, cap: usize, item: T, rng: &mut ChaCha20Rng) -> bool {
    if queue.len() < cap {
        queue.push_back(item);
        return false;
    }
    let victim = below(queue.len() + 1, rng);
    if victim < queue.len() {
        queue.remove(victim);
        queue.push_back(item);
    }
    true
}

impl fmt::Debug for Mixer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mixer")
            .field("pool", &self.pool_len())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
