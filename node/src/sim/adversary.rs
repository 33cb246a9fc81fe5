//! Hostile roles that sit between a node and its links: they see whole packets, drop them, and send
//! copies later. What they can't do is read them; a role never touches the core it sits at.

use std::collections::VecDeque;

use mix::PACKET_LEN;
use mix::time::{Moment, Span};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

/// A packet on its way over a link.
pub type Frame = Box<[u8; PACKET_LEN]>;

/// A copy that a role wants sent.
#[derive(Clone, Debug)]
pub struct Injection {
    /// When.
    pub at: Moment,
    /// To which node, by index.
    pub to: usize,
    /// The copy.
    pub frame: Frame,
}

/// One hostile role at one node.
pub trait Adversary: Send {
    /// A packet came over a link for the node. `false` keeps it from arriving.
    fn incoming(&mut self, _now: Moment, _from: usize, _frame: &Frame) -> bool {
        true
    }

    /// The node sends a packet over a link. Returns the copies to send besides.
    fn outgoing(&mut self, _now: Moment, _to: usize, _frame: &Frame) -> Vec<Injection> {
        Vec::new()
    }
}

/// Takes a share of the packets that are to be relayed through or to end at its node, and lets the
/// node's own pass: it looks alive to everyone.
#[derive(Debug)]
pub struct Dropper {
    share_ppm: u32,
    rng: ChaCha20Rng,
}

impl Dropper {
    /// Drops `share_ppm` packets of a million.
    #[must_use]
    pub const fn new(share_ppm: u32, rng: ChaCha20Rng) -> Self {
        Self { share_ppm, rng }
    }
}

impl Adversary for Dropper {
    fn incoming(&mut self, _now: Moment, _from: usize, _frame: &Frame) -> bool {
        self.rng.next_u64() % 1_000_000 >= u64::from(self.share_ppm)
    }
}

/// Captures what its node sends and sends copies of it again: at once, after a while, and so late
/// that the receiver may have restarted or turned an epoch.
#[derive(Debug)]
pub struct Replayer {
    delays: VecDeque<Span>,
    every: u64,
    seen: u64,
}

impl Replayer {
    /// Of every `every`th packet, one copy after each of `delays`.
    #[must_use]
    pub fn new(every: u64, delays: impl IntoIterator<Item = Span>) -> Self {
        Self {
            delays: delays.into_iter().collect(),
            every: every.max(1),
            seen: 0,
        }
    }
}

impl Adversary for Replayer {
    fn outgoing(&mut self, now: Moment, to: usize, frame: &Frame) -> Vec<Injection> {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every) {
            return Vec::new();
        }
        let copy = |delay: &Span| Injection {
            at: now + *delay,
            to,
            frame: frame.clone(),
        };
        self.delays.iter().map(copy).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sim::seed::stream;

    #[test]
    fn a_dropper_takes_its_share() {
        let mut dropper = Dropper::new(200_000, stream(1, "dropper", 0, 0));
        let frame = Box::new([0; PACKET_LEN]);
        let kept = (0..10_000)
            .filter(|_| dropper.incoming(Moment::ZERO, 0, &frame))
            .count();
        assert!(
            (7_800..8_200).contains(&kept),
            "{kept} of 10000 kept at 20 %"
        );
    }

    #[test]
    fn a_replayer_copies_every_nth_packet_at_each_delay() {
        let delays = [Span::from_millis(1), Span::from_secs(5)];
        let mut replayer = Replayer::new(2, delays);
        let frame = Box::new([7; PACKET_LEN]);
        let now = Moment::from_secs(1);
        let copies: Vec<_> = (0..4)
            .flat_map(|_| replayer.outgoing(now, 3, &frame))
            .collect();
        assert_eq!(copies.len(), 4);
        assert!(
            copies
                .iter()
                .all(|copy| copy.to == 3 && copy.frame == frame)
        );
        assert_eq!(copies[1].at, now + delays[1]);
    }
}
