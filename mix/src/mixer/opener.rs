//! The part of a mixer's work that needs none of its state: the cryptography of packets that came in. An [`Opener`] may do it
//! on another thread; what it makes goes back into the mixer, which looks up the replay tags. SPEC.md §8.

use core::fmt;
use std::sync::Arc;

use crate::counters::DropReason;
use crate::keyring::{EpochKey, Keys};
use crate::sphinx::batch::{BATCH, Outcome, open_group};
use crate::sphinx::{Authentic, Element, KeyContext, MixSecret, Packet};
use crate::time::Moment;
use crate::{NetworkId, ShortId};

/// Opens packets for a mixer. Made by [`Mixer::opener`](super::Mixer::opener); cheap to clone. It knows the keys that the
/// mixer had then, but keeps none: what the mixer erases opens nothing here any more.
#[derive(Clone)]
pub struct Opener {
    pub(super) network: NetworkId,
    pub(super) own: ShortId,
    pub(super) keys: Keys,
}

/// A packet as a link brought it.
#[derive(Debug)]
pub struct Arrival {
    /// When; its delay counts from here, however long the work waits or takes.
    pub at: Moment,
    /// The packet.
    pub packet: Packet,
}

/// Packets that were opened, on their way into the mixer.
pub struct Opened {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) outcomes: Vec<Result<Outcome, DropReason>>,
}

impl Opener {
    /// Opens any number of packets; groups of 64 share one inversion. The keys are those that are usable at the latest of the
    /// arrivals.
    pub fn open(&self, mut arrivals: Vec<Arrival>) -> Opened {
        let latest = arrivals.iter().map(|arrival| arrival.at).max();
        let now = latest.unwrap_or(Moment::ZERO);
        let mut outcomes = Vec::with_capacity(arrivals.len());
        let keys = self.keys.usable(now);
        for group in arrivals.chunks_mut(BATCH) {
            let opened = open_group(self.in_context(&keys), group);
            outcomes.extend(opened.into_iter().take(group.len()));
        }
        Opened { arrivals, outcomes }
    }

    /// Finds the key that a packet was made for. Alpha is decoded once, however many keys are tried.
    pub(super) fn authenticate(
        &self,
        now: Moment,
        packet: &Packet,
    ) -> Result<(u32, Authentic), DropReason> {
        let element = Element::read(packet)?;
        for (secret, context) in self.in_context(&self.keys.usable(now)) {
            if let Ok(authentic) = element.check(secret, &context, packet) {
                return Ok((context.epoch, authentic));
            }
        }
        Err(DropReason::Mac)
    }

    fn in_context<'a>(
        &self,
        keys: &'a [Option<Arc<EpochKey>>],
    ) -> impl Iterator<Item = (&'a MixSecret, KeyContext)> {
        keys.iter().flatten().map(|key| {
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
        self.arrivals.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }
}

impl AsRef<Packet> for Arrival {
    fn as_ref(&self) -> &Packet {
        &self.packet
    }
}

impl AsMut<Packet> for Arrival {
    fn as_mut(&mut self) -> &mut Packet {
        &mut self.packet
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
        write!(f, "Opened({} packets)", self.arrivals.len())
    }
}
