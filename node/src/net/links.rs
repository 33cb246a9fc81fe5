//! Whom to dial and whom to drop: a pure state machine, time and randomness from outside.
//!
//! Wanted peers are dialled by the node with the smaller id at once and by the other one a little later, so that two
//! nodes that learn of each other together do not make two connections. Failures back off exponentially with jitter,
//! to 30 s. Bootstrap addresses are dialled while few peers are connected. Connections nobody needs are closed only
//! above the high-water mark: gossip keeps every connection open otherwise. SPEC.md, "Network", 3.
//!
//! Order of calls: any `handle_*`, then [`LinkManager::poll`] until `None`, then sleep until
//! [`LinkManager::poll_timeout`] and call [`LinkManager::handle_timeout`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use libp2p::Multiaddr;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

/// A node id.
type Id = [u8; 32];

/// Wanted peers at most; the rest of a longer list is ignored.
pub const WANTED_CAP: usize = 1_024;
/// Addresses kept of one wanted peer.
const ADDRESSES: usize = 8;
/// Bootstrap addresses at most.
const BOOTSTRAP_CAP: usize = 64;
/// Dials that may be under way.
const DIALS: usize = 16;
/// Bootstrap addresses are dialled below this many connected peers.
const FEW: usize = 4;
/// First pause after a failed dial, doubled each time up to the last.
const FIRST_PAUSE: u64 = 500;
const LAST_PAUSE: u64 = 30_000;
/// A dial without an answer is taken for failed.
const DIAL_MS: u64 = 20_000;
/// A connection is not pruned while it is younger.
const YOUNG: u64 = 60_000;
const PRUNE_EVERY: u64 = 5_000;

/// What the swarm should do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Dial a wanted peer; without addresses the routing table knows some, perhaps.
    Dial {
        /// Whom.
        id: Id,
        /// Where.
        addresses: Vec<Multiaddr>,
    },
    /// Dial a bootstrap address; the answer comes with the same index.
    DialBootstrap {
        /// Which of the addresses.
        index: usize,
        /// Where.
        address: Multiaddr,
    },
    /// Tell [`LinkManager::handle_prune`] which peers are in the gossip mesh.
    Prune,
    /// Close all connections to this peer.
    Disconnect {
        /// Whom.
        id: Id,
    },
}

#[derive(Debug)]
struct Retry {
    /// Not before this time.
    at: u64,
    failures: u32,
    /// Set while a dial is under way: when it counts as failed.
    dialing: Option<u64>,
}

impl Retry {
    fn new(at: u64) -> Self {
        Self {
            at,
            failures: 0,
            dialing: None,
        }
    }

    fn fail(&mut self, now: u64, rng: &mut ChaCha20Rng) {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(10))
            .min(LAST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.dialing = None;
        // Between half the pause and the whole of it: nodes that lost the same peer do not come back together.
        self.at = now.saturating_add(pause / 2 + u64::from(rng.next_u32()) % (pause / 2 + 1));
    }

    fn succeed(&mut self) {
        self.failures = 0;
        self.dialing = None;
    }

    fn due(&self) -> u64 {
        self.dialing.unwrap_or(self.at)
    }
}

#[derive(Debug)]
struct Wanted {
    addresses: Vec<Multiaddr>,
    retry: Retry,
}

#[derive(Debug)]
struct Bootstrap {
    address: Multiaddr,
    /// Who answered there last.
    id: Option<Id>,
    retry: Retry,
}

/// See the module's text.
#[derive(Debug)]
pub struct LinkManager {
    own: Id,
    second_dial_ms: u64,
    high_water: usize,
    wanted: BTreeMap<Id, Wanted>,
    bootstrap: Vec<Bootstrap>,
    /// Connected peers and since when. Bounded by the connection limits.
    connected: BTreeMap<Id, u64>,
    actions: VecDeque<Action>,
    prune_at: Option<u64>,
    rng: ChaCha20Rng,
}

impl LinkManager {
    /// `second_dial_ms`: how long the larger id waits for the smaller one's dial. `high_water`: peers above which
    /// connections nobody needs are closed. `seed`: of the jitter.
    pub fn new(own: Id, second_dial_ms: u64, high_water: usize, seed: [u8; 32]) -> Self {
        Self {
            own,
            second_dial_ms,
            high_water,
            wanted: BTreeMap::new(),
            bootstrap: Vec::new(),
            connected: BTreeMap::new(),
            actions: VecDeque::new(),
            prune_at: None,
            rng: ChaCha20Rng::from_seed(seed),
        }
    }

    /// Adds bootstrap addresses.
    pub fn handle_bootstrap(&mut self, now: u64, addresses: Vec<Multiaddr>) {
        for address in addresses {
            if self.bootstrap.len() < BOOTSTRAP_CAP
                && !self.bootstrap.iter().any(|b| b.address == address)
            {
                self.bootstrap.push(Bootstrap {
                    address,
                    id: None,
                    retry: Retry::new(now),
                });
            }
        }
        self.dial(now);
    }

    /// Replaces the wanted set. Peers wanted before keep their place in the back-off, unless their addresses changed.
    pub fn handle_wanted(&mut self, now: u64, wanted: Vec<(Id, Vec<Multiaddr>)>) {
        let mut old = std::mem::take(&mut self.wanted);
        for (id, mut addresses) in wanted
            .into_iter()
            .filter(|(id, _)| *id != self.own)
            .take(WANTED_CAP)
        {
            addresses.truncate(ADDRESSES);
            let retry = match old.remove(&id) {
                Some(known) if known.addresses == addresses || known.retry.dialing.is_some() => {
                    known.retry
                }
                _ => Retry::new(self.first_dial(&id, now)),
            };
            self.wanted.insert(id, Wanted { addresses, retry });
        }
        self.dial(now);
    }

    /// A peer is connected (its first connection).
    pub fn handle_connected(&mut self, now: u64, id: Id) {
        self.connected.entry(id).or_insert(now);
        if let Some(wanted) = self.wanted.get_mut(&id) {
            // Not yet a success: a peer that takes connections and drops them must not be redialled ever faster.
            wanted.retry.dialing = None;
        }
        if self.prune_at.is_none() && self.connected.len() > self.high_water {
            self.prune_at = Some(now + PRUNE_EVERY);
        }
        self.dial(now);
    }

    /// A peer's last connection ended, or counts as ended.
    pub fn handle_disconnected(&mut self, now: u64, id: Id) {
        self.connected.remove(&id);
        let at = self.first_dial(&id, now);
        if let Some(wanted) = self.wanted.get_mut(&id) {
            // A connection that breaks at once must not be redialled at once for ever.
            wanted.retry.fail(now, &mut self.rng);
            wanted.retry.at = wanted.retry.at.max(at);
        }
        for bootstrap in self.bootstrap.iter_mut().filter(|b| b.id == Some(id)) {
            bootstrap.retry.fail(now, &mut self.rng);
        }
        self.dial(now);
    }

    /// Packets can be sent to a peer: the next failure starts from the shortest pause again.
    pub fn handle_link_up(&mut self, id: &Id) {
        if let Some(wanted) = self.wanted.get_mut(id) {
            wanted.retry.succeed();
        }
    }

    /// A dial failed.
    pub fn handle_dial_failed(&mut self, now: u64, id: &Id) {
        if let Some(wanted) = self.wanted.get_mut(id) {
            wanted.retry.fail(now, &mut self.rng);
        }
        self.dial(now);
    }

    /// A bootstrap dial ended: with whom it connected, or not.
    pub fn handle_bootstrap_dialed(&mut self, now: u64, index: usize, id: Option<Id>) {
        if let Some(bootstrap) = self.bootstrap.get_mut(index) {
            match id {
                Some(id) => {
                    bootstrap.id = Some(id);
                    bootstrap.retry.succeed();
                    bootstrap.retry.at = now + FIRST_PAUSE;
                }
                None => bootstrap.retry.fail(now, &mut self.rng),
            }
        }
        self.dial(now);
    }

    /// A bootstrap address turned out to be ourselves: never again.
    pub fn handle_bootstrap_is_self(&mut self, index: usize) {
        if let Some(bootstrap) = self.bootstrap.get_mut(index) {
            bootstrap.id = Some(self.own);
            bootstrap.retry.at = u64::MAX;
            bootstrap.retry.dialing = None;
        }
    }

    /// A peer is of another network: it is not dialled again for the longest pause.
    pub fn handle_wrong_network(&mut self, now: u64, id: &Id) {
        let pause = |retry: &mut Retry| {
            retry.dialing = None;
            retry.failures = 10;
            retry.at = now + LAST_PAUSE;
        };
        if let Some(wanted) = self.wanted.get_mut(id) {
            pause(&mut wanted.retry);
        }
        for bootstrap in self
            .bootstrap
            .iter_mut()
            .filter(|b| b.id.as_ref() == Some(id))
        {
            pause(&mut bootstrap.retry);
        }
    }

    /// Answers [`Action::Prune`].
    pub fn handle_prune(&mut self, now: u64, mesh: &BTreeSet<Id>) {
        let surplus = self.connected.len().saturating_sub(self.high_water);
        let mut idle: Vec<(u64, Id)> = self
            .connected
            .iter()
            .filter(|(id, since)| {
                now.saturating_sub(**since) >= YOUNG
                    && !self.wanted.contains_key(*id)
                    && !mesh.contains(*id)
                    && !self.bootstrap.iter().any(|b| b.id.as_ref() == Some(*id))
            })
            .map(|(id, since)| (*since, *id))
            .collect();
        // The oldest first: a node that just came is about to fetch something.
        idle.sort_unstable();
        for (_, id) in idle.into_iter().take(surplus) {
            self.actions.push_back(Action::Disconnect { id });
        }
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<u64> {
        let full = self.dialing() >= DIALS;
        let due = |retry: &Retry| (retry.dialing.is_some() || !full).then(|| retry.due());
        let links = self
            .wanted
            .iter()
            .filter(|(id, _)| !self.connected.contains_key(*id));
        let dials = links.filter_map(|(_, wanted)| due(&wanted.retry)).min();
        let bootstrap = self.bootstrap_open().filter_map(|b| due(&b.retry)).min();
        [dials, bootstrap, self.prune_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// Dials what is due, gives up dials without answer, prunes.
    pub fn handle_timeout(&mut self, now: u64) {
        for wanted in self
            .wanted
            .values_mut()
            .filter(|w| w.retry.dialing.is_some_and(|until| until <= now))
        {
            wanted.retry.fail(now, &mut self.rng);
        }
        for bootstrap in self
            .bootstrap
            .iter_mut()
            .filter(|b| b.retry.dialing.is_some_and(|until| until <= now))
        {
            bootstrap.retry.fail(now, &mut self.rng);
        }
        if self.prune_at.is_some_and(|at| at <= now) {
            let above = self.connected.len() > self.high_water;
            self.prune_at = above.then_some(now + PRUNE_EVERY);
            if above {
                self.actions.push_back(Action::Prune);
            }
        }
        self.dial(now);
    }

    /// Whether a dial to this wanted peer is under way.
    pub fn is_dialing(&self, id: &Id) -> bool {
        self.wanted
            .get(id)
            .is_some_and(|wanted| wanted.retry.dialing.is_some())
    }

    /// Connected peers.
    pub fn connected(&self) -> usize {
        self.connected.len()
    }

    fn dial(&mut self, now: u64) {
        let mut free = DIALS.saturating_sub(self.dialing());
        for (id, wanted) in &mut self.wanted {
            if free == 0 {
                return;
            }
            if wanted.retry.dialing.is_none()
                && wanted.retry.at <= now
                && !self.connected.contains_key(id)
            {
                free -= 1;
                wanted.retry.dialing = Some(now + DIAL_MS);
                self.actions.push_back(Action::Dial {
                    id: *id,
                    addresses: wanted.addresses.clone(),
                });
            }
        }
        if self.connected.len() >= FEW {
            return;
        }
        for (index, bootstrap) in self.bootstrap.iter_mut().enumerate() {
            let connected = bootstrap
                .id
                .is_some_and(|id| self.connected.contains_key(&id));
            if free > 0
                && !connected
                && bootstrap.retry.dialing.is_none()
                && bootstrap.retry.at <= now
            {
                free -= 1;
                bootstrap.retry.dialing = Some(now + DIAL_MS);
                self.actions.push_back(Action::DialBootstrap {
                    index,
                    address: bootstrap.address.clone(),
                });
            }
        }
    }

    fn dialing(&self) -> usize {
        let links = self
            .wanted
            .values()
            .filter(|w| w.retry.dialing.is_some())
            .count();
        links
            + self
                .bootstrap
                .iter()
                .filter(|b| b.retry.dialing.is_some())
                .count()
    }

    /// Bootstrap addresses whose timer matters now.
    fn bootstrap_open(&self) -> impl Iterator<Item = &Bootstrap> {
        let few = self.connected.len() < FEW;
        self.bootstrap.iter().filter(move |b| {
            let connected = b.id.is_some_and(|id| self.connected.contains_key(&id));
            b.retry.dialing.is_some() || (few && !connected && b.retry.at != u64::MAX)
        })
    }

    fn first_dial(&self, id: &Id, now: u64) -> u64 {
        if self.own < *id {
            now
        } else {
            now.saturating_add(self.second_dial_ms)
        }
    }
}

#[cfg(test)]
mod tests;
