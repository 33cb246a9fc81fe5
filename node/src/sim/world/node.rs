//! One node of a world: its core while it runs, and what surrounds it whether it runs or not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dht::id::NodeId;
use mix::time::Moment;
use rand_core::Rng;
use storage::backend::memory::MemoryBackend;

use super::queue::Life;
use crate::core::{Commit, Core};
use crate::sim::adversary::Adversary;
use crate::sim::disk::SimDisk;
use crate::sim::seed::stream;
use crate::view::{CounterView, Event};

/// Gossip messages remembered by their id.
const MAX_HEARD: usize = 8_192;

pub(super) struct SimNode {
    pub(super) disk: SimDisk,
    pub(super) vault_key: [u8; 32],
    /// Starts so far.
    pub(super) lives: u64,
    pub(super) core: Option<Core<MemoryBackend>>,
    /// Known from the first start on.
    pub(super) id: Option<NodeId>,
    pub(super) address: Option<String>,
    pub(super) wake: Option<Moment>,
    pub(super) in_flight: Option<Commit>,
    /// The last durable commit of this life.
    pub(super) durable: u64,
    pub(super) wanted: BTreeSet<usize>,
    pub(super) connected: BTreeSet<usize>,
    pub(super) linked: BTreeSet<usize>,
    /// When the last packet to each peer arrives: a link keeps its order.
    pub(super) arrivals: BTreeMap<usize, Moment>,
    pub(super) served: BTreeMap<[u8; 32], (Vec<u8>, Moment)>,
    pub(super) heard: Heard,
    pub(super) events: VecDeque<(Moment, Event)>,
    pub(super) reads: bool,
    pub(super) past: Vec<CounterView>,
    pub(super) bytes: (u64, u64),
    pub(super) role: Option<Box<dyn Adversary>>,
    pub(super) taken: Taken,
}

/// Gossip messages heard, oldest forgotten first.
#[derive(Default)]
pub(super) struct Heard {
    known: BTreeSet<[u8; 16]>,
    order: VecDeque<[u8; 16]>,
}

impl Heard {
    /// Remembers a message; `false` if it was known.
    pub(super) fn insert(&mut self, id: [u8; 16]) -> bool {
        if !self.known.insert(id) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > MAX_HEARD
            && let Some(old) = self.order.pop_front()
        {
            self.known.remove(&old);
        }
        true
    }
}

/// Packets the mixer took, by half of alpha, and how far the disk knows of them. A packet whose tag
/// never became durable had no effect, so taking it again after a crash is no replay.
#[derive(Default)]
pub(super) struct Taken {
    fresh: BTreeSet<[u8; 16]>,
    in_flight: BTreeSet<[u8; 16]>,
    durable: BTreeSet<[u8; 16]>,
}

impl Taken {
    /// Notes a packet; `false` if it had been taken before.
    pub(super) fn insert(&mut self, alpha: [u8; 16]) -> bool {
        if self.in_flight.contains(&alpha) || self.durable.contains(&alpha) {
            return false;
        }
        self.fresh.insert(alpha)
    }

    pub(super) fn written_out(&mut self) {
        self.in_flight.append(&mut self.fresh);
    }

    pub(super) fn synced(&mut self) {
        self.durable.append(&mut self.in_flight);
    }

    pub(super) fn crashed(&mut self) {
        self.fresh.clear();
        self.in_flight.clear();
    }
}

impl SimNode {
    pub(super) fn new(seed: u64, index: usize) -> Self {
        let mut vault_key = [0; 32];
        let which = u64::try_from(index).unwrap_or(u64::MAX);
        stream(seed, "vault", which, 0).fill_bytes(&mut vault_key);
        Self {
            disk: SimDisk::default(),
            vault_key,
            lives: 0,
            core: None,
            id: None,
            address: None,
            wake: None,
            in_flight: None,
            durable: 0,
            wanted: BTreeSet::new(),
            connected: BTreeSet::new(),
            linked: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            served: BTreeMap::new(),
            heard: Heard::default(),
            events: VecDeque::new(),
            reads: true,
            past: Vec::new(),
            bytes: (0, 0),
            role: None,
            taken: Taken::default(),
        }
    }

    pub(super) fn life(&self, index: usize) -> Life {
        Life {
            node: index,
            number: self.lives,
        }
    }

    pub(super) fn runs(&self) -> bool {
        self.core.is_some()
    }

    /// The core, if the node still runs in that life.
    pub(super) fn core_in(&mut self, life: Life) -> Option<&mut Core<MemoryBackend>> {
        if self.lives == life.number {
            self.core.as_mut()
        } else {
            None
        }
    }

    /// Whether a timer that goes off now is the one that was set last.
    pub(super) fn wakes(&mut self, life: Life, now: Moment) -> bool {
        let due = self.lives == life.number && self.wake == Some(now);
        if due {
            self.wake = None;
        }
        due
    }
}
