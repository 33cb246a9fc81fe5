//! What all link handlers of one node share: where frames go, the counters, the tap, the clock.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use libp2p::StreamProtocol;
use tokio::sync::mpsc;

use super::Frame;
use crate::net::types::{Clock, NetDrop, NetEvent, Tap};

/// One per node, behind an `Arc`: connection tasks count and deliver without asking the swarm's task.
pub(crate) struct Shared {
    /// Our node id.
    pub(crate) own: [u8; 32],
    pub(crate) protocol: StreamProtocol,
    pub(crate) clock: Clock,
    pub(crate) frames_per_s: u32,
    pub(crate) frame_burst: u32,
    pub(crate) events: mpsc::Sender<NetEvent>,
    pub(crate) tap: Option<Tap>,
    pub(crate) packets_in: AtomicU64,
    pub(crate) packets_out: AtomicU64,
    /// The queue of each peer's link, while it has one. Kept by the behaviour.
    routes: RwLock<BTreeMap<[u8; 32], mpsc::Sender<Frame>>>,
    drops: [AtomicU64; DROPS.len()],
}

const DROPS: [NetDrop; 18] = [
    NetDrop::NoLink,
    NetDrop::QueueFull,
    NetDrop::LinkClosed,
    NetDrop::RateLimited,
    NetDrop::EventsFull,
    NetDrop::Truncated,
    NetDrop::WriteTimeout,
    NetDrop::SecondStream,
    NetDrop::WrongNetwork,
    NetDrop::ConnectionDenied,
    NetDrop::GossipShed,
    NetDrop::GossipRejected,
    NetDrop::PublishFailed,
    NetDrop::StoreRefused,
    NetDrop::ServeSkipped,
    NetDrop::LookupShed,
    NetDrop::SyncShed,
    NetDrop::EventShed,
];

impl Shared {
    pub(crate) fn new(
        own: [u8; 32],
        protocol: StreamProtocol,
        clock: Clock,
        (frames_per_s, frame_burst): (u32, u32),
        events: mpsc::Sender<NetEvent>,
        tap: Option<Tap>,
    ) -> Self {
        Self {
            own,
            protocol,
            clock,
            frames_per_s,
            frame_burst,
            events,
            tap,
            packets_in: AtomicU64::new(0),
            packets_out: AtomicU64::new(0),
            routes: RwLock::new(BTreeMap::new()),
            drops: Default::default(),
        }
    }

    pub(crate) fn count(&self, reason: NetDrop) {
        self.count_many(reason, 1);
    }

    pub(crate) fn count_many(&self, reason: NetDrop, count: u64) {
        if let Some(at) = DROPS.iter().position(|known| *known == reason) {
            self.drops[at].fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn drops(&self) -> BTreeMap<NetDrop, u64> {
        DROPS
            .iter()
            .zip(&self.drops)
            .map(|(reason, count)| (*reason, count.load(Ordering::Relaxed)))
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// Puts a packet into the queue of the peer's link, or counts why not. Straight to the connection's task: the swarm's,
    /// which has every protocol to look after, does not wake for it.
    pub(crate) fn send(&self, to: &[u8; 32], packet: Frame) {
        // Nothing panics while it is locked.
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let Some(queue) = routes.get(to) else {
            drop(routes);
            return self.count(NetDrop::NoLink);
        };
        match queue.try_send(packet) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => self.count(NetDrop::QueueFull),
            Err(mpsc::error::TrySendError::Closed(_)) => self.count(NetDrop::NoLink),
        }
    }

    /// From now on the peer's packets go into this queue, or nowhere.
    pub(crate) fn route(&self, to: [u8; 32], queue: Option<mpsc::Sender<Frame>>) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        match queue {
            Some(queue) => routes.insert(to, queue),
            None => routes.remove(&to),
        };
    }

    /// A whole frame was handed to the connection.
    pub(crate) fn written(&self, to: &[u8; 32], frame: &Frame) {
        self.packets_out.fetch_add(1, Ordering::Relaxed);
        if let Some(tap) = &self.tap {
            tap.see(self.own, *to, frame, true);
        }
    }

    /// A whole frame arrived; delivered later, or dropped by the peer's rate.
    pub(crate) fn read(&self, from: &[u8; 32], frame: &Frame) {
        self.packets_in.fetch_add(1, Ordering::Relaxed);
        if let Some(tap) = &self.tap {
            tap.see(*from, self.own, frame, false);
        }
    }

    /// Hands a frame up. Never waits: a node that cannot keep up sheds what arrives last, whoever sent it.
    pub(crate) fn deliver(&self, from: [u8; 32], packet: Frame) {
        if self
            .events
            .try_send(NetEvent::Packet { from, packet })
            .is_err()
        {
            self.count(NetDrop::EventsFull);
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("drops", &self.drops())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let (events, _keep) = mpsc::channel(1);
        let protocol = StreamProtocol::new("/x");
        let shared = Shared::new(
            [0; 32],
            protocol,
            std::sync::Arc::new(|| 0),
            (1, 1),
            events,
            None,
        );
        for (at, reason) in DROPS.iter().enumerate() {
            // A reason listed twice would count at the first place only.
            shared.count_many(*reason, at as u64 + 1);
        }
        let counted = shared.drops();
        assert_eq!(counted.len(), DROPS.len());
        assert!(
            DROPS
                .iter()
                .enumerate()
                .all(|(at, reason)| counted[reason] == at as u64 + 1)
        );
    }
}
