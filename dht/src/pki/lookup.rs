//! What this node asks Kademlia for: head records, and the pages of roots that differ from ours, all of them, in random order.
//!
//! Never one chosen page: which page is asked for must not tell which node is of interest. Heads are asked at join, after each
//! epoch begins, for the next epoch after its cut-off, soon again while the view isn't stable, and rarely when it is.

use super::{Caps, store::Store};
use crate::{
    directory::Header,
    epoch::random_span,
    id::Cell,
    network::NetworkParams,
    page::{PageKind, head_key, page_count, page_key},
};
use mix::{
    NetworkId,
    time::{Moment, Span},
};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use std::collections::{BTreeMap, VecDeque};

/// How often a page is asked for before its root is given up.
const TRIES: u8 = 3;
/// Unanswered heads double the pause this often at most.
const MAX_STEP: u32 = 16;
/// While beats wait for descriptors or we know next to nobody, the pause stays below this many fast ones.
const EAGER: u64 = 8;

/// What a key was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    Head { epoch: u32 },
    Page { root: [u8; 32], index: u32 },
}

#[derive(Debug)]
pub(super) struct Lookups {
    caps: Caps,
    fast: Span,
    slow: Span,
    patience: Span,
    heads: BTreeMap<u32, HeadTimer>,
    /// Head keys to ask for.
    ask: VecDeque<([u8; 32], u32)>,
    /// Keys asked for and not done, with the moment we stop waiting.
    open: BTreeMap<[u8; 32], (Wanted, Moment)>,
    fetches: BTreeMap<[u8; 32], Fetch>,
    /// Roots fetched completely, oldest first.
    fetched: VecDeque<([u8; 32], u32)>,
}

#[derive(Clone, Copy, Debug)]
struct HeadTimer {
    next: Moment,
    /// Lookups since the last news: the pause doubles with each.
    step: u32,
}

/// The pages of one foreign root.
#[derive(Debug)]
struct Fetch {
    epoch: u32,
    /// Pages still to ask for, in random order, each with the tries made.
    queue: VecDeque<(u32, u8)>,
    /// Pages asked for and not read.
    asked: BTreeMap<u32, u8>,
}

impl Lookups {
    pub(super) fn new(params: &NetworkParams, caps: Caps) -> Self {
        Self {
            caps,
            fast: Span::from_millis((params.epoch_ms / 40).clamp(250, 5_000)),
            slow: Span::from_millis((params.epoch_ms / 4).clamp(1_000, 600_000)),
            patience: Span::from_millis((params.epoch_ms / 4).clamp(2_000, 30_000)),
            heads: BTreeMap::new(),
            ask: VecDeque::new(),
            open: BTreeMap::new(),
            fetches: BTreeMap::new(),
            fetched: VecDeque::new(),
        }
    }

    /// A new epoch: its head is asked for at once, what is over is forgotten.
    pub(super) fn turn(&mut self, now: Moment, current: u32) {
        let kept = |epoch: u32| epoch == current || epoch == current.saturating_add(1);
        self.heads.retain(|epoch, _| kept(*epoch));
        self.heads.insert(current, HeadTimer { next: now, step: 0 });
        self.ask.retain(|(_, epoch)| kept(*epoch));
        self.fetches.retain(|_, fetch| kept(fetch.epoch));
        self.fetched.retain(|(_, epoch)| kept(*epoch));
        let fetches = &self.fetches;
        self.open.retain(|_, (wanted, _)| match wanted {
            Wanted::Head { epoch } => kept(*epoch),
            Wanted::Page { root, .. } => fetches.contains_key(root),
        });
    }

    /// Something about this epoch is missing: ask for its head soon.
    pub(super) fn hurry(&mut self, now: Moment, epoch: u32) {
        let soon = now + self.fast;
        let timer = self.heads.entry(epoch).or_insert(HeadTimer {
            next: soon,
            step: 0,
        });
        timer.next = timer.next.min(soon);
    }

    pub(super) fn wanted(&self, key: &[u8; 32]) -> Option<Wanted> {
        self.open.get(key).map(|(wanted, _)| *wanted)
    }

    /// A head differs from ours: fetch its pages, unless they were or too many others are being fetched. `true` if it is news.
    pub(super) fn start_fetch(
        &mut self,
        now: Moment,
        header: &Header,
        rng: &mut ChaCha20Rng,
    ) -> bool {
        let root = header.root();
        let known =
            self.fetches.contains_key(&root) || self.fetched.iter().any(|(held, _)| *held == root);
        if known || self.fetches.len() >= self.caps.fetches {
            return false;
        }
        let mut queue: Vec<_> = (0..page_count(header.count))
            .map(|index| (index, 0))
            .collect();
        shuffle(&mut queue, rng);
        self.fetches.insert(
            root,
            Fetch {
                epoch: header.epoch,
                queue: queue.into(),
                asked: BTreeMap::new(),
            },
        );
        // News: others may hold still other views.
        let soon = now + self.fast;
        let timer = self.heads.entry(header.epoch).or_insert(HeadTimer {
            next: soon,
            step: 0,
        });
        *timer = HeadTimer {
            next: timer.next.min(soon),
            step: 0,
        };
        true
    }

    /// A page was read whole.
    pub(super) fn page_read(&mut self, key: &[u8; 32]) {
        let Some((Wanted::Page { root, index }, _)) = self.open.remove(key) else {
            return;
        };
        let Some(fetch) = self.fetches.get_mut(&root) else {
            return;
        };
        fetch.asked.remove(&index);
        if fetch.queue.is_empty() && fetch.asked.is_empty() {
            let epoch = fetch.epoch;
            self.fetches.remove(&root);
            if self.fetched.len() >= self.caps.fetched {
                self.fetched.pop_front();
            }
            self.fetched.push_back((root, epoch));
        }
    }

    /// A lookup ended. A page that wasn't read goes to the end of its queue, or takes its whole fetch with it.
    pub(super) fn done(&mut self, key: &[u8; 32]) {
        let Some((Wanted::Page { root, index }, _)) = self.open.remove(key) else {
            return;
        };
        let Some(fetch) = self.fetches.get_mut(&root) else {
            return;
        };
        let tries = fetch.asked.remove(&index).unwrap_or(0) + 1;
        if tries < TRIES {
            fetch.queue.push_back((index, tries));
        } else {
            self.abandon(&root);
        }
    }

    pub(super) fn poll(&mut self, now: Moment) -> Option<[u8; 32]> {
        if self.open.len() >= self.caps.lookups {
            return None;
        }
        let until = now + self.patience;
        if let Some((key, epoch)) = self.ask.pop_front() {
            self.open.insert(key, (Wanted::Head { epoch }, until));
            return Some(key);
        }
        // The fetch with the fewest pages left first: small ones are not held up by one that claims thousands.
        let (root, fetch) = self
            .fetches
            .iter_mut()
            .filter(|(_, fetch)| !fetch.queue.is_empty())
            .min_by_key(|(_, fetch)| fetch.queue.len())?;
        let (index, tries) = fetch.queue.pop_front()?;
        fetch.asked.insert(index, tries);
        let key = page_key(root, PageKind::Records, index);
        self.open
            .insert(key, (Wanted::Page { root: *root, index }, until));
        Some(key)
    }

    pub(super) fn timeout(&self) -> Option<Moment> {
        let heads = self.heads.values().map(|timer| timer.next);
        heads
            .chain(self.open.values().map(|(_, until)| *until))
            .min()
    }

    pub(super) fn fire(
        &mut self,
        now: Moment,
        targets: &[u32],
        network: &NetworkId,
        store: &Store,
        rng: &mut ChaCha20Rng,
    ) {
        let late: Vec<_> = self
            .open
            .iter()
            .filter(|(_, (_, until))| *until <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in late {
            self.done(&key);
        }
        // Timers of epochs that aren't asked for yet would fire for ever.
        self.heads.retain(|epoch, _| targets.contains(epoch));
        for &epoch in targets {
            let timer = self
                .heads
                .entry(epoch)
                .or_insert(HeadTimer { next: now, step: 0 });
            if timer.next > now {
                continue;
            }
            let eager = store.has_parked(epoch) || store.beats(epoch) < 2;
            let most = if eager {
                self.slow.min(self.fast.times(EAGER))
            } else {
                self.slow
            };
            let pause = self.fast.times(1 << timer.step).min(most);
            *timer = HeadTimer {
                next: now + pause + random_span(Span(pause.0 / 4), rng),
                step: (timer.step + 1).min(MAX_STEP),
            };
            let key = head_key(network, Cell::WHOLE, epoch);
            if !self.open.contains_key(&key) && !self.ask.contains(&(key, epoch)) {
                self.ask.push_back((key, epoch));
            }
        }
    }

    fn abandon(&mut self, root: &[u8; 32]) {
        self.fetches.remove(root);
        self.open.retain(
            |_, (wanted, _)| !matches!(wanted, Wanted::Page { root: other, .. } if other == root),
        );
    }
}

/// Fisher–Yates; the bias of the 64-bit product is negligible for page counts.
fn shuffle<T>(items: &mut [T], rng: &mut ChaCha20Rng) {
    for i in (1..items.len()).rev() {
        let j = (u128::from(rng.next_u64()) * (i as u128 + 1) >> 64) as usize;
        items.swap(i, j);
    }
}

#[cfg(test)]
mod tests;
