//! The books that the `mixer_ops` target keeps beside its mixer: which keys it has, which tags it must know and how far they
//! are durable, what is inside and when it may leave. Every operation is done on both, and the books must balance after each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use mix::keyring::{KeyError, MAX_KEYS};
use mix::sphinx::Peeled;
use mix::time::{Moment, Span};
use mix::{Class, DropReason, Event, Mixer, MixerConfig, Packet, ShortId};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::intake::{Pending, Snapshot, at_intake};
use crate::letters::{LETTERS, Letter, key};
use crate::model::Wire;

type Tags = BTreeSet<[u8; 16]>;

/// A mixer and its books.
pub struct Book {
    pub(crate) mixer: Mixer,
    /// Lives the same life with the same dice, but opens every packet itself.
    pub(crate) twin: Option<Mixer>,
    pub(crate) config: MixerConfig,
    seed: u64,
    pub(crate) ring: BTreeMap<u32, Tags>,
    /// What the mixer knows to be erased; forgotten in a crash, but by nobody who drives a mixer.
    erased: Option<u32>,
    ever_erased: Option<u32>,
    pub(crate) open: VecDeque<(u64, u32, Vec<[u8; 16]>)>,
    pub(crate) next_seq: u64,
    fetched: Vec<(u64, u32, Vec<[u8; 16]>)>,
    polled: u64,
    synced: u64,
    durable: BTreeMap<u32, Tags>,
    pub(crate) kept: Option<Snapshot>,
    pub(crate) pending: Option<Pending>,
    pub(crate) inside: Vec<Stay>,
    pub(crate) ended: Vec<(u64, usize, Moment)>,
    own: u16,
    due: Moment,
    pub(crate) count: Count,
    /// What left, ever: also before a crash.
    left: BTreeSet<(u32, [u8; 16])>,
    reached: BTreeSet<&'static str>,
}

/// Something that was accepted and has not been seen leaving.
pub(crate) struct Stay {
    pub(crate) seq: u64,
    pub(crate) earliest: Moment,
    pub(crate) to: ShortId,
    pub(crate) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Letter(usize),
    Own(u16),
}

/// What the mixer must have counted, and what left by way of events, or is cover.
#[derive(Default)]
pub(crate) struct Count {
    pub(crate) received: u64,
    pub(crate) relayed: u64,
    pub(crate) ended: u64,
    sent: u64,
    held: u64,
    transmitted: u64,
    events: u64,
    pub(crate) cover: u64,
}

impl Book {
    /// A fresh mixer, or a pair.
    pub fn new(config: MixerConfig, seed: u64, twins: bool) -> Self {
        let fresh = || Mixer::new(config.clone(), ChaCha20Rng::seed_from_u64(seed));
        Self {
            mixer: fresh(),
            twin: twins.then(fresh),
            config,
            seed,
            ring: BTreeMap::new(),
            erased: None,
            ever_erased: None,
            open: VecDeque::new(),
            next_seq: 1,
            fetched: Vec::new(),
            polled: 0,
            synced: 0,
            durable: BTreeMap::new(),
            kept: None,
            pending: None,
            inside: Vec::new(),
            ended: Vec::new(),
            own: 0,
            due: Moment::ZERO,
            count: Count::default(),
            left: BTreeSet::new(),
            reached: BTreeSet::new(),
        }
    }

    /// Everything that was reached.
    pub fn reached(self) -> BTreeSet<&'static str> {
        self.reached
    }

    /// The number of the last batch that was fetched.
    pub fn polled(&self) -> u64 {
        self.polled
    }

    /// Gives the mixer the key of an epoch, with these letters' tags as already seen.
    pub fn add_key(&mut self, epoch: u32, seen: &[usize]) {
        if self.erased < self.ever_erased && Some(epoch) <= self.ever_erased {
            // After a crash the mixer has forgotten what was erased; who drives it has not.
            return;
        }
        let tags: Tags = seen.iter().map(|&letter| LETTERS[letter].tag).collect();
        let want = if self.erased.is_some_and(|erased| epoch <= erased) {
            Err(KeyError::Erased(epoch))
        } else if self.ring.contains_key(&epoch) {
            Err(KeyError::DuplicateEpoch(epoch))
        } else if self.ring.len() >= MAX_KEYS {
            Err(KeyError::TooManyKeys)
        } else if tags.len() > self.config.replay_cap {
            Err(KeyError::TooManyTags)
        } else {
            Ok(())
        };
        self.each(|mixer| {
            let seen = seen.iter().map(|&letter| LETTERS[letter].tag);
            assert_eq!(mixer.add_key(key(epoch), seen), want);
        });
        let got = want;
        self.reach(match got {
            Ok(()) => "key",
            Err(KeyError::Erased(_)) => "key erased",
            Err(KeyError::DuplicateEpoch(_)) => "key twice",
            Err(KeyError::TooManyKeys) => "too many keys",
            Err(_) => "too many tags",
        });
        if got.is_ok() {
            self.durable.insert(epoch, tags.clone());
            self.ring.insert(epoch, tags);
        }
    }

    /// Erases what is over.
    pub fn drop_expired(&mut self, now: Moment) {
        let want: Vec<u32> = self
            .ring
            .keys()
            .copied()
            .filter(|&epoch| key(epoch).usable_until <= now)
            .collect();
        self.each(|mixer| assert_eq!(mixer.drop_expired_keys(now), want));
        for epoch in &want {
            self.ring.remove(epoch);
            self.durable.remove(epoch);
            self.reach("key dropped");
        }
        self.erased = self.erased.max(want.last().copied());
        self.ever_erased = self.ever_erased.max(self.erased);
    }

    /// Sends something of our own, or lets it wait first.
    pub fn start(&mut self, now: Moment, wait: Option<Class>) {
        self.own += 1;
        let to = ShortId([200; 16]);
        let packet = packet(&own_wire(self.own));
        let earliest = match wait {
            None => {
                self.count.sent += 1;
                self.each(|mixer| mixer.send(now, to, packet.clone()));
                Moment::ZERO
            }
            Some(class) => {
                self.count.held += 1;
                self.each(|mixer| mixer.hold(now, class, to, packet.clone()));
                now + self.config.hold
            }
        };
        self.inside.push(Stay {
            seq: 0,
            earliest,
            to,
            what: What::Own(self.own),
        });
    }

    /// Fetches a batch of tags.
    pub fn poll_tags(&mut self) -> bool {
        let want = self.open.pop_front();
        let got = self.mixer.poll_tags();
        if let Some(twin) = &mut self.twin {
            assert!(twin.poll_tags() == got, "the twin's tags differ");
        }
        let got = got.map(|batch| (batch.seq, batch.epoch, batch.tags));
        assert_eq!(got, want, "another batch than was noted");
        let Some(batch) = got else { return false };
        assert_eq!(batch.0, self.polled + 1, "numbers grow by one");
        self.polled = batch.0;
        self.fetched.push(batch);
        self.reach("tags");
        true
    }

    /// Reports batches durable.
    pub fn sync(&mut self, seq: u64) {
        self.each(|mixer| mixer.handle_synced(seq));
        self.synced = self.synced.max(seq.min(self.polled));
        for (_, epoch, tags) in self.fetched.extract_if(.., |batch| batch.0 <= seq) {
            // The tags of an erased key go nowhere.
            if let Some(durable) = self.durable.get_mut(&epoch) {
                durable.extend(tags);
            }
        }
    }

    /// Time passes, or jumps.
    pub fn timeout(&mut self, now: Moment) {
        self.each(|mixer| mixer.handle_timeout(now));
        self.due = self.due.max(now);
        assert!(
            self.mixer.poll_timeout().is_none_or(|next| next > now),
            "something that was due stayed"
        );
        if self.mixer.counters().late > 0 {
            self.reach("late");
        }
    }

    /// Takes one packet for a link.
    pub fn poll_transmit(&mut self) -> bool {
        let sent = self.mixer.poll_transmit();
        if let Some(twin) = &mut self.twin {
            assert!(twin.poll_transmit() == sent, "the twin sends another");
        }
        let Some((to, packet)) = sent else {
            return false;
        };
        self.count.transmitted += 1;
        let place = self
            .inside
            .iter()
            .position(|stay| stay.is(to, &packet))
            .expect("something left that is not inside");
        let stay = self.inside.swap_remove(place);
        assert!(
            stay.seq <= self.synced,
            "it left before its tag was durable"
        );
        assert!(stay.earliest <= self.due, "it left before its time");
        match stay.what {
            What::Letter(number) => {
                self.leaves(number);
                self.reach("transmitted");
            }
            What::Own(_) => self.reach("own transmitted"),
        }
        true
    }

    /// Takes one event.
    pub fn poll_event(&mut self) -> bool {
        let event = self.mixer.poll_event();
        if let Some(twin) = &mut self.twin {
            assert!(twin.poll_event() == event, "the twin's events differ");
        }
        let Some(event) = event else {
            return false;
        };
        self.count.events += 1;
        let place = self
            .ended
            .iter()
            .position(|&(_, number, at)| is_event(&LETTERS[number], at, &event))
            .expect("an event of nothing that ended here");
        let (seq, number, _) = self.ended.remove(place);
        assert!(seq <= self.synced, "delivered before its tag was durable");
        self.leaves(number);
        self.reach(match event {
            Event::Box { .. } => "box",
            Event::Reply { .. } => "reply",
            _ => "loop",
        });
        true
    }

    fn leaves(&mut self, number: usize) {
        let letter = &LETTERS[number];
        let name = (letter.epoch.expect("it was opened"), letter.tag);
        assert!(self.left.insert(name), "a packet was let through twice");
    }

    /// Kills the mixer and starts another one from what is durable.
    pub fn crash(&mut self) {
        self.seed += 1;
        let fresh = Mixer::new(self.config.clone(), ChaCha20Rng::seed_from_u64(self.seed));
        if self.twin.is_some() {
            self.twin = Some(Mixer::new(
                self.config.clone(),
                ChaCha20Rng::seed_from_u64(self.seed),
            ));
        }
        self.mixer = fresh;
        self.ring = self.durable.clone();
        for (epoch, tags) in self.durable.clone() {
            self.each(|mixer| {
                let took = mixer.add_key(key(epoch), tags.iter().copied());
                assert_eq!(took, Ok(()), "a key came back with its tags");
            });
        }
        (self.kept, self.pending) = (None, None);
        self.erased = None;
        self.open.clear();
        self.fetched.clear();
        (self.next_seq, self.polled, self.synced) = (1, 0, 0);
        self.inside.clear();
        self.ended.clear();
        self.count = Count::default();
        self.due = Moment::ZERO;
        self.reach("crash");
    }

    /// Everything that must hold between any two operations.
    pub fn balance(&mut self) {
        let (counters, count) = (self.mixer.counters(), &self.count);
        assert_eq!(counters.received, count.received);
        assert_eq!(counters.relayed, count.relayed);
        assert_eq!(counters.ended, count.ended);
        assert_eq!(counters.sent, count.sent);
        assert_eq!(counters.held, count.held);
        assert_eq!(counters.transmitted, count.transmitted);
        let refused: u64 = counters
            .drops()
            .filter(|(reason, _)| at_intake(*reason))
            .map(|(_, n)| n)
            .sum();
        assert_eq!(count.received, count.relayed + count.ended + refused);
        assert!(self.mixer.key_epochs().eq(self.ring.keys().copied()));
        if let Some(twin) = &self.twin {
            assert_eq!(twin.counters(), self.mixer.counters());
            assert_eq!(twin.pool_len(), self.mixer.pool_len());
            assert_eq!(twin.poll_timeout(), self.mixer.poll_timeout());
            self.reached.insert("twins");
        }
        assert!(self.mixer.pool_len() <= self.config.pool_cap);
        assert!(self.queued() <= self.config.transmit_cap as u64);
        assert!(self.events() <= self.config.event_cap as u64);
        for reason in [
            DropReason::PoolFull,
            DropReason::TransmitFull,
            DropReason::EventsFull,
        ] {
            if self.mixer.counters().dropped(reason) > 0 {
                self.reach(reason.name());
            }
        }
    }

    /// Packets that must be in the transmit queue now; panics if the books say less than none.
    fn queued(&self) -> u64 {
        let dropped = |reason| self.mixer.counters().dropped(reason);
        self.count.relayed + self.count.held + self.count.sent
            - self.count.transmitted
            - self.mixer.pool_len() as u64
            - dropped(DropReason::PoolFull)
            - dropped(DropReason::TransmitFull)
    }

    fn events(&self) -> u64 {
        let shed = self.mixer.counters().dropped(DropReason::EventsFull);
        self.count.ended - self.count.cover - self.count.events - shed
    }

    /// Lets everything out: what does not come was shed, and counted.
    pub fn close(&mut self) {
        self.deliver();
        while self.poll_tags() {}
        self.sync(self.polled);
        while self.poll_transmit() {}
        while self.poll_event() {}
        self.timeout(Moment::MAX);
        self.balance();
        while self.poll_transmit() {}
        self.balance();
        assert_eq!(
            (self.mixer.pool_len(), self.mixer.poll_timeout()),
            (0, None)
        );
        assert_eq!((self.queued(), self.events()), (0, 0));
        let dropped = |reason| self.mixer.counters().dropped(reason);
        let shed = dropped(DropReason::PoolFull) + dropped(DropReason::TransmitFull);
        assert_eq!(self.inside.len() as u64, shed, "a packet is lost");
        let shed = dropped(DropReason::EventsFull);
        assert_eq!(self.ended.len() as u64, shed, "an event is lost");
    }

    /// Does the same to the mixer and its twin.
    pub(crate) fn each(&mut self, act: impl Fn(&mut Mixer)) {
        act(&mut self.mixer);
        if let Some(twin) = &mut self.twin {
            act(twin);
        }
    }

    pub(crate) fn reach(&mut self, what: &'static str) {
        self.reached.insert(what);
    }
}

impl Stay {
    fn is(&self, to: ShortId, packet: &Packet) -> bool {
        let bytes = packet.as_bytes();
        self.to == to
            && match self.what {
                What::Own(number) => *bytes == own_wire(number),
                What::Letter(number) => LETTERS[number]
                    .fate
                    .as_ref()
                    .is_ok_and(|(_, left)| left == bytes),
            }
    }
}

pub(crate) fn packet(wire: &Wire) -> Packet {
    Packet::from_slice(wire).expect("2,048 bytes")
}

fn own_wire(number: u16) -> Wire {
    let mut wire = [0xee; 2048];
    wire[1..3].copy_from_slice(&number.to_le_bytes());
    wire
}

fn is_event(letter: &Letter, arrived: Moment, event: &Event) -> bool {
    let Ok((peeled, left)) = &letter.fate else {
        return false;
    };
    match (peeled, event) {
        (Peeled::Box { class }, Event::Box { class: got, body }) => {
            class == got && body[..] == left[245..]
        }
        (
            Peeled::Reply { surb_id },
            Event::Reply {
                surb_id: got,
                packet,
            },
        ) => surb_id == got && packet.as_bytes() == left,
        (Peeled::Loop { id }, Event::Loop { id: got, at }) => id == got && *at == arrived,
        _ => false,
    }
}

/// The hold S of the mixers here.
pub const HOLD: Span = Span::from_millis(25);
