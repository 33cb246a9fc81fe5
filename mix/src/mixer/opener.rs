//! The part of a mixer's work that needs none of its state: the cryptography of packets that came in. An [`Opener`] may do it
//! on another thread; what it makes goes back into the mixer, which looks up the replay tags. SPEC.md §8.

use core::fmt;

use crate::counters::DropReason;
use crate::keyring::Keys;
use crate::sphinx::batch::{BATCH, Outcome, open_group};
use crate::sphinx::{Authentic, Element, KeyContext, MixSecret, Packet};
use crate::time::Moment;
use crate::{NetworkId, ShortId};

/// Opens packets for a mixer. Made by [`Mixer::opener`](super::Mixer::opener); cheap to clone; good until the mixer's keys
/// change. Holds the mixer's keys: drop it when a newer one was made.
#[derive(Clone)]
pub struct Opener {
    pub(super) network: NetworkId,
    pub(super) own: ShortId,
    pub(super) keys: Keys,
}

/// Packets that were opened, on their way into the mixer.
pub struct Opened {
    pub(super) packets: Vec<OpenedPacket>,
}

pub(super) struct OpenedPacket {
    /// When it arrived: its delay counts from here.
    pub(super) at: Moment,
    pub(super) packet: Packet,
    pub(super) outcome: Result<Outcome, DropReason>,
}

impl Opener {
    /// Opens packets that arrived together at `now`, any number of them, in groups of 64 that share one inversion. The moment
    /// is that of their arrival, from which their delays count, however long the work takes or waits.
    pub fn open(&self, now: Moment, packets: Vec<Packet>) -> Opened {
        self.open_all(now, packets, |_| now)
    }

    /// As [`open`](Self::open), for packets that arrived one after another; `arrivals` holds a moment for each, in any order.
    /// A key that is usable at the last of these moments counts as usable for all.
    pub fn open_arrived(&self, arrivals: &[Moment], packets: Vec<Packet>) -> Opened {
        let last = arrivals.iter().copied().max().unwrap_or_default();
        self.open_all(last, packets, |place| {
            arrivals.get(place).copied().unwrap_or(last)
        })
    }

    fn open_all(
        &self,
        now: Moment,
        mut packets: Vec<Packet>,
        arrival: impl Fn(usize) -> Moment,
    ) -> Opened {
        let mut outcomes = Vec::with_capacity(packets.len());
        for group in packets.chunks_mut(BATCH) {
            let opened = open_group(|| self.usable(now), group);
            outcomes.extend(opened.into_iter().take(group.len()));
        }
        let opened = packets.into_iter().zip(outcomes).enumerate();
        let opened = opened.map(|(place, (packet, outcome))| OpenedPacket {
            at: arrival(place),
            packet,
            outcome,
        });
        Opened {
            packets: opened.collect(),
        }
    }

    /// Finds the key that a packet was made for. Alpha is decoded once, however many keys are tried.
    pub(super) fn authenticate(
        &self,
        now: Moment,
        packet: &Packet,
    ) -> Result<(u32, Authentic), DropReason> {
        let element = Element::read(packet)?;
        for (secret, context) in self.usable(now) {
            if let Ok(authentic) = element.check(secret, &context, packet) {
                return Ok((context.epoch, authentic));
            }
        }
        Err(DropReason::Mac)
    }

    fn usable(&self, now: Moment) -> impl Iterator<Item = (&MixSecret, KeyContext)> {
        self.keys.usable(now).map(|key| {
            let context = KeyContext {
                network: self.network,
                epoch: key.epoch,
                relay: self.own,
            };
            (&key.secret, context)
        })
    }
}

impl Opened {
    /// How many packets these are.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opener(..)")
    }
}

/// Shows no outcome: that is what a peer must not learn.
impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} packets)", self.packets.len())
    }
}
