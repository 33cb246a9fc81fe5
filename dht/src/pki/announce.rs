//! What this node gossips: its own records, repeated with growing pauses, and records it could not forward when they came.
//!
//! A message that a gossip layer published before it had peers is lost without a trace, so own records are repeated. Each bundle
//! has a fresh salt; neighbours that know its records ignore it, so a repetition travels one hop only.

use super::store::Store;
use crate::{
    beat::Beat,
    bundle::{BundleWriter, MAX_BUNDLE_RECORDS, Record},
    certificate::{Proposal, Vote},
    epoch::random_span,
    id::Cell,
    network::NetworkParams,
};
use mix::{
    ShortId,
    time::{Moment, Span},
};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

/// Repetitions after the first announcement.
const REPEATS: u32 = 5;
/// Announcements in which a changed descriptor is sent along to everyone; repetitions always carry it.
const FRESH: u32 = 2;
/// Repetitions of a proposal or vote.
const DUTY_REPEATS: u32 = 3;
/// Proposals and votes of ours in one epoch.
const DUTIES: usize = 2;
/// Bundles waiting to be polled.
const OUT: usize = 8;
/// How long records to relay are collected.
const RELAY_PAUSE: Span = Span::from_millis(500);

/// A record that was new to us, by what is kept of it.
#[derive(Clone, Debug)]
pub(super) enum News {
    /// A node's descriptor, with a beat or without.
    Node(ShortId, Option<Arc<Beat>>),
    Proposal(Box<Proposal>),
    Vote(Box<Vote>),
    /// An encoded proof.
    Fault(Arc<[u8]>),
}

#[derive(Debug)]
pub(super) struct Announce {
    /// When own records are sent next, and which repetition that is.
    next: Option<(Moment, u32)>,
    /// First announcements of the present descriptor so far.
    descriptor_sent: u32,
    /// Epochs whose beat has never been sent: the first announcement carries these alone, everybody has the others.
    fresh: BTreeSet<u32>,
    relay: VecDeque<News>,
    relay_at: Option<Moment>,
    relay_cap: usize,
    /// Our proposal and our vote of one epoch, when they are sent next, and which repetition that is.
    duties: (u32, Vec<News>),
    duty: Option<(Moment, u32)>,
    out: VecDeque<Vec<u8>>,
}

impl Announce {
    pub(super) fn new(relay_cap: usize) -> Self {
        Self {
            next: None,
            descriptor_sent: 0,
            fresh: BTreeSet::new(),
            relay: VecDeque::new(),
            relay_at: None,
            relay_cap,
            duties: (0, Vec::new()),
            duty: None,
            out: VecDeque::new(),
        }
    }

    /// Something of ours is new: send it at the next timeout, then repeat.
    pub(super) fn restart(&mut self, now: Moment) {
        self.next = Some((now, 0));
    }

    /// The beat of this epoch is new.
    pub(super) fn fresh(&mut self, epoch: u32) {
        self.fresh.insert(epoch);
    }

    pub(super) fn descriptor_changed(&mut self) {
        self.descriptor_sent = 0;
    }

    /// Gossip someone else's records in a bundle of our own: a beat that could not be checked when it came, or what was good
    /// in a bundle that we could not vouch for as a whole.
    pub(super) fn relay(&mut self, now: Moment, news: News) {
        if let (Some(News::Node(last, None)), News::Node(short, Some(_))) =
            (self.relay.back(), &news)
            && last == short
        {
            // Its descriptor goes along with the beat.
            self.relay.pop_back();
        }
        if self.relay.len() < self.relay_cap {
            self.relay.push_back(news);
            self.relay_at.get_or_insert(now + RELAY_PAUSE);
        }
    }

    /// A proposal or vote of ours: it is sent at the next timeout, then repeated.
    pub(super) fn duty(&mut self, now: Moment, epoch: u32, news: News) {
        if self.duties.0 != epoch {
            self.duties = (epoch, Vec::new());
        }
        if self.duties.1.len() < DUTIES {
            self.duties.1.push(news);
        }
        self.duty = Some((now, 0));
    }

    pub(super) fn poll(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub(super) fn timeout(&self) -> Option<Moment> {
        self.next
            .map(|(at, _)| at)
            .into_iter()
            .chain(self.relay_at)
            .chain(self.duty.map(|(at, _)| at))
            .min()
    }

    pub(super) fn fire(
        &mut self,
        now: Moment,
        current: u32,
        params: &NetworkParams,
        store: &Store,
        own: ShortId,
        rng: &mut ChaCha20Rng,
    ) {
        if let Some((at, repeat)) = self.next
            && at <= now
        {
            self.send_own(repeat, current, store, own, rng);
            self.next = (repeat < REPEATS).then(|| {
                let pause = base_pause(params).times(1 << repeat);
                (now + pause + random_span(pause, rng), repeat + 1)
            });
        }
        if let Some((at, repeat)) = self.duty
            && at <= now
        {
            let mut bundle = BundleWriter::new(Cell::WHOLE, rng.next_u32());
            for news in &self.duties.1 {
                put(&mut bundle, store, news);
            }
            self.push(bundle);
            self.duty = (repeat < DUTY_REPEATS).then(|| {
                let pause = Span::from_millis(params.view_ms).times(1 << repeat);
                (now + pause + random_span(pause, rng), repeat + 1)
            });
        }
        if self.relay_at.is_some_and(|at| at <= now) {
            self.send_relay(store, rng);
            self.relay_at = (!self.relay.is_empty()).then(|| now + RELAY_PAUSE);
        }
    }

    fn send_own(
        &mut self,
        repeat: u32,
        current: u32,
        store: &Store,
        own: ShortId,
        rng: &mut ChaCha20Rng,
    ) {
        let Some(descriptor) = store.descriptor(&own) else {
            return;
        };
        let mut bundle = BundleWriter::new(Cell::WHOLE, rng.next_u32());
        if repeat > 0 || self.descriptor_sent < FRESH {
            bundle.push(Record::Descriptor(descriptor.as_bytes()));
        }
        // Asked to say everything again: to new neighbours.
        let all = repeat > 0 || self.fresh.is_empty();
        for epoch in [current, current.saturating_add(1)] {
            if let Some(beat) = store.beat(epoch, &own)
                && (all || self.fresh.contains(&epoch))
            {
                bundle.push(Record::Beat(beat.as_bytes()));
            }
        }
        if repeat == 0 {
            self.fresh.clear();
            self.descriptor_sent = self.descriptor_sent.saturating_add(1);
        }
        self.push(bundle);
    }

    fn send_relay(&mut self, store: &Store, rng: &mut ChaCha20Rng) {
        let mut bundle = BundleWriter::new(Cell::WHOLE, rng.next_u32());
        // Others may lack the descriptor as we did.
        while bundle.len() + 2 <= MAX_BUNDLE_RECORDS
            && let Some(news) = self.relay.front()
        {
            let fits = put(&mut bundle, store, news);
            if !fits {
                break;
            }
            self.relay.pop_front();
        }
        self.push(bundle);
    }

    fn push(&mut self, bundle: BundleWriter) {
        if !bundle.is_empty() {
            if self.out.len() >= OUT {
                self.out.pop_front();
            }
            self.out.push_back(bundle.finish());
        }
    }
}

/// Puts a record into a bundle, a node's descriptor along with its beat; `false` if there is no room.
fn put(bundle: &mut BundleWriter, store: &Store, news: &News) -> bool {
    match news {
        News::Node(short, beat) => {
            store
                .descriptor(short)
                .is_none_or(|held| bundle.push(Record::Descriptor(held.as_bytes())))
                && (beat.as_ref()).is_none_or(|beat| bundle.push(Record::Beat(beat.as_bytes())))
        }
        News::Proposal(proposal) => bundle.push(Record::Proposal(proposal.as_bytes())),
        News::Vote(vote) => bundle.push(Record::Vote(vote.as_bytes())),
        News::Fault(bytes) => bundle.push(Record::Fault(bytes)),
    }
}

/// The first pause between repetitions: a fortieth of an epoch, between a quarter of a second and half a minute.
fn base_pause(params: &NetworkParams) -> Span {
    Span::from_millis((params.epoch_ms / 40).clamp(250, 30_000))
}
