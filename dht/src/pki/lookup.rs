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

/// A root is given up after this many failed lookups more than pages read …
const FAILURES: u32 = 3;
/// … and not tried again after having been given up this often.
const ATTEMPTS: u8 = 3;
/// Unanswered heads double the pause this often at most.
const MAX_STEP: u32 = 16;
/// While beats wait for descriptors or we know next to nobody, the pause stays below this many fast ones.
const EAGER: u64 = 8;
/// Keys waiting to be asked for that are no pages.
const MAX_ASKED: usize = 16;

/// What a key was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Wanted {
    Head {
        epoch: u32,
    },
    Page {
        root: [u8; 32],
        index: u32,
    },
    /// A certificate of an epoch.
    Certificate {
        epoch: u32,
    },
    /// The bans that a header commits to.
    Bans {
        hash: [u8; 32],
    },
}

impl Wanted {
    /// The epoch it is of no use after.
    fn epoch(&self) -> Option<u32> {
        match self {
            Self::Head { epoch } | Self::Certificate { epoch } => Some(*epoch),
            Self::Page { .. } | Self::Bans { .. } => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Lookups {
    caps: Caps,
    fast: Span,
    slow: Span,
    patience: Span,
    /// An epoch: once a set is certified, its head is asked for no more often.
    rest: Span,
    /// How long a set may take to be certified after its cut-off.
    votes: Span,
    heads: BTreeMap<u32, HeadTimer>,
    /// Keys to ask for, but for those of pages.
    ask: VecDeque<([u8; 32], Wanted)>,
    /// Keys asked for and not done, with the moment we stop waiting.
    open: BTreeMap<[u8; 32], (Wanted, Moment)>,
    fetches: BTreeMap<[u8; 32], Fetch>,
    /// Roots fetched or given up, oldest first.
    past: VecDeque<Past>,
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
    header: Header,
    /// Pages still to ask for, in random order.
    queue: VecDeque<u32>,
    /// Lookups of pages under way.
    asked: u32,
    read: u32,
    failed: u32,
}

#[derive(Debug)]
struct Past {
    root: [u8; 32],
    epoch: u32,
    /// Read completely: nothing to learn from it any more.
    complete: bool,
    given_up: u8,
}

impl Lookups {
    pub(super) fn new(params: &NetworkParams, caps: Caps) -> Self {
        Self {
            caps,
            fast: Span::from_millis((params.epoch_ms / 40).clamp(250, 5_000)),
            slow: Span::from_millis((params.epoch_ms / 4).clamp(1_000, 600_000)),
            patience: Span::from_millis((params.epoch_ms / 4).clamp(2_000, 30_000)),
            rest: Span::from_millis(params.epoch_ms),
            votes: Span::from_millis(params.view_ms.saturating_mul(3) + params.settle_ms),
            heads: BTreeMap::new(),
            ask: VecDeque::new(),
            open: BTreeMap::new(),
            fetches: BTreeMap::new(),
            past: VecDeque::new(),
        }
    }

    /// A new epoch: its head is asked for (spread a little, as everyone turns at once), what is over is forgotten.
    pub(super) fn turn(&mut self, now: Moment, current: u32, rng: &mut ChaCha20Rng) {
        let kept = |epoch: u32| epoch == current || epoch == current.saturating_add(1);
        let joining = self.heads.is_empty();
        let next = if joining {
            now
        } else {
            now + random_span(self.fast, rng)
        };
        self.heads.retain(|epoch, _| kept(*epoch));
        self.heads.insert(current, HeadTimer { next, step: 0 });
        let useful = |wanted: &Wanted| wanted.epoch().is_none_or(kept);
        self.ask.retain(|(_, wanted)| useful(wanted));
        self.fetches.retain(|_, fetch| kept(fetch.header.epoch));
        self.past.retain(|past| kept(past.epoch));
        let fetches = &self.fetches;
        self.open.retain(|_, (wanted, _)| match wanted {
            Wanted::Page { root, .. } => fetches.contains_key(root),
            other => useful(other),
        });
    }

    /// Asks for a key soon, unless that is under way or too much else is.
    pub(super) fn ask(&mut self, key: [u8; 32], wanted: Wanted) {
        let asked = self.open.contains_key(&key) || self.ask.iter().any(|(other, _)| *other == key);
        if !asked && self.ask.len() < MAX_ASKED {
            self.ask.push_back((key, wanted));
        }
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

    /// The header of a root that is being fetched.
    pub(super) fn header(&self, root: &[u8; 32]) -> Option<&Header> {
        self.fetches.get(root).map(|fetch| &fetch.header)
    }

    /// A head differs from ours: fetch its pages, unless they were or too many others are being fetched. `true` if it is news.
    pub(super) fn start_fetch(
        &mut self,
        now: Moment,
        header: &Header,
        rng: &mut ChaCha20Rng,
    ) -> bool {
        let root = header.root();
        let useless =
            |past: &Past| past.root == root && (past.complete || past.given_up >= ATTEMPTS);
        let known = self.fetches.contains_key(&root) || self.past.iter().any(useless);
        if known || self.fetches.len() >= self.caps.fetches {
            return false;
        }
        let mut queue: Vec<_> = (0..page_count(header.count)).collect();
        shuffle(&mut queue, rng);
        let fetch = Fetch {
            header: *header,
            queue: queue.into(),
            asked: 0,
            read: 0,
            failed: 0,
        };
        self.fetches.insert(root, fetch);
        self.news(now, header.epoch);
        true
    }

    /// A head that differs from ours: others may hold still other views, so heads are asked for again soon.
    pub(super) fn news(&mut self, now: Moment, epoch: u32) {
        let soon = now + self.fast;
        let timer = self.heads.entry(epoch).or_insert(HeadTimer {
            next: soon,
            step: 0,
        });
        *timer = HeadTimer {
            next: timer.next.min(soon),
            step: 0,
        };
    }

    /// A page was read whole.
    pub(super) fn page_read(&mut self, key: &[u8; 32]) {
        let Some((Wanted::Page { root, .. }, _)) = self.open.remove(key) else {
            return;
        };
        let Some(fetch) = self.fetches.get_mut(&root) else {
            return;
        };
        fetch.asked = fetch.asked.saturating_sub(1);
        fetch.read += 1;
        if fetch.queue.is_empty() && fetch.asked == 0 {
            let epoch = fetch.header.epoch;
            self.fetches.remove(&root);
            self.remember(root, epoch, true);
        }
    }

    /// A lookup ended. A page that wasn't read is asked for again later; a root most of whose pages nobody has is given up.
    pub(super) fn done(&mut self, key: &[u8; 32]) {
        let Some((Wanted::Page { root, index }, _)) = self.open.remove(key) else {
            return;
        };
        let Some(fetch) = self.fetches.get_mut(&root) else {
            return;
        };
        fetch.asked = fetch.asked.saturating_sub(1);
        fetch.failed += 1;
        fetch.queue.push_back(index);
        if fetch.failed > fetch.read + FAILURES {
            self.abandon(&root);
        }
    }

    /// Gives a root up.
    pub(super) fn abandon(&mut self, root: &[u8; 32]) {
        let Some(fetch) = self.fetches.remove(root) else {
            return;
        };
        self.open.retain(
            |_, (wanted, _)| !matches!(wanted, Wanted::Page { root: other, .. } if other == root),
        );
        self.remember(*root, fetch.header.epoch, false);
    }

    fn remember(&mut self, root: [u8; 32], epoch: u32, complete: bool) {
        if let Some(past) = self.past.iter_mut().find(|past| past.root == root) {
            past.complete |= complete;
            past.given_up = past.given_up.saturating_add(u8::from(!complete));
            return;
        }
        if self.past.len() >= self.caps.fetched {
            self.past.pop_front();
        }
        self.past.push_back(Past {
            root,
            epoch,
            complete,
            given_up: u8::from(!complete),
        });
    }

    pub(super) fn poll(&mut self, now: Moment) -> Option<[u8; 32]> {
        if self.open.len() >= self.caps.lookups {
            return None;
        }
        let until = now + self.patience;
        if let Some((key, wanted)) = self.ask.pop_front() {
            self.open.insert(key, (wanted, until));
            return Some(key);
        }
        // The fetch with the fewest pages left first: small ones are not held up by one that claims thousands.
        let waiting = self
            .fetches
            .iter_mut()
            .filter(|(_, fetch)| !fetch.queue.is_empty());
        let (root, fetch) = waiting.min_by_key(|(_, fetch)| fetch.queue.len())?;
        let index = fetch.queue.pop_front()?;
        fetch.asked += 1;
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
            // Who takes part in a chain of certificates expects the next one by gossip: heads of a set that is just being
            // certified would tell nothing.
            let wait = match store.past().last() {
                Some(_) => self.votes,
                None => Span::ZERO,
            };
            let timer = self.heads.entry(epoch).or_insert(HeadTimer {
                next: now + wait,
                step: 0,
            });
            if timer.next > now {
                continue;
            }
            let eager = store.has_parked(epoch) || store.beats(epoch) < 2;
            let most = if eager {
                self.slow.min(self.fast.times(EAGER))
            } else {
                self.slow
            };
            let pause = if store.past().certified(epoch).is_some() {
                self.rest
            } else {
                self.fast.times(1 << timer.step).min(most)
            };
            *timer = HeadTimer {
                next: now + pause + random_span(Span(pause.0 / 4), rng),
                step: (timer.step + 1).min(MAX_STEP),
            };
            let key = head_key(network, Cell::WHOLE, epoch);
            self.ask(key, Wanted::Head { epoch });
        }
    }
}

/// Fisher–Yates; the bias of the 64-bit product is negligible for page counts.
fn shuffle<T>(items: &mut [T], rng: &mut ChaCha20Rng) {
    for i in (1..items.len()).rev() {
        let j = ((u128::from(rng.next_u64()) * (i as u128 + 1)) >> 64) as usize;
        items.swap(i, j);
    }
}

#[cfg(test)]
mod tests;
