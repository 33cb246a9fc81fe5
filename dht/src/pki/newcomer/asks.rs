//! Lookups of a newcomer: which keys are wanted, which are under way, and what was found useless under them.

use super::{Caps, NetworkParams, Wanted};
use crate::id::derive;
use mix::time::{Moment, Span};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use std::collections::{BTreeMap, BTreeSet};

/// Distinct values of one key looked at in one lookup.
const VALUES: u8 = 3;
/// Useless values remembered per key.
const USELESS: usize = 12;
/// The pause after a lookup in vain doubles this often at most.
const MOST_STEPS: u8 = 6;

#[derive(Debug)]
pub(super) struct Asks {
    most: usize,
    pause: Span,
    patience: Span,
    keys: BTreeMap<[u8; 32], Ask>,
}

#[derive(Debug)]
struct Ask {
    what: Wanted,
    /// Under way until.
    open: Option<Moment>,
    /// Not asked before.
    next: Moment,
    /// Lookups that brought nothing of use.
    tries: u8,
    /// Values looked at in this lookup.
    values: u8,
    useless: BTreeSet<[u8; 32]>,
}

impl Asks {
    pub(super) fn new(params: &NetworkParams, most: usize) -> Self {
        Self {
            most: most.min(Caps::default().lookups).max(1),
            pause: Span::from_millis((params.epoch_ms / 240).clamp(100, 5_000)),
            patience: Span::from_millis((params.epoch_ms / 4).clamp(2_000, 30_000)),
            keys: BTreeMap::new(),
        }
    }

    /// Wants exactly these keys: others are forgotten, known ones stay as they are.
    pub(super) fn want(&mut self, now: Moment, wanted: BTreeMap<[u8; 32], Wanted>) {
        self.keys.retain(|key, _| wanted.contains_key(key));
        for (key, what) in wanted {
            self.keys.entry(key).or_insert(Ask {
                what,
                open: None,
                next: now,
                tries: 0,
                values: 0,
                useless: BTreeSet::new(),
            });
        }
    }

    pub(super) fn wanted(&self, key: &[u8; 32]) -> Option<Wanted> {
        let ask = self.keys.get(key)?;
        ask.open.map(|_| ask.what)
    }

    pub(super) fn tries(&self, key: &[u8; 32]) -> u8 {
        self.keys.get(key).map_or(0, |ask| ask.tries)
    }

    /// Whether a value is worth looking at: not one that was looked at before, and not one of too many. What is of use makes its key
    /// unwanted; until then all were useless.
    pub(super) fn hears(&mut self, key: &[u8; 32], bytes: &[u8]) -> bool {
        let hash = derive("murmuration/v1/lookup-value", &[bytes]);
        let Some(ask) = self.keys.get_mut(key) else {
            return false;
        };
        if ask.values >= VALUES || ask.useless.contains(&hash) {
            return false;
        }
        ask.values += 1;
        if ask.useless.len() >= USELESS {
            ask.useless.pop_first();
        }
        ask.useless.insert(hash);
        true
    }

    /// A new epoch: everything may be tried again soon.
    pub(super) fn renew(&mut self, now: Moment) {
        for ask in self.keys.values_mut() {
            ask.tries = 0;
            ask.next = now;
        }
    }

    /// One key that is wanted and not under way, at random: the order must not tell what matters to us.
    pub(super) fn poll(&mut self, now: Moment, rng: &mut ChaCha20Rng) -> Option<[u8; 32]> {
        let open = self.keys.values().filter(|ask| ask.open.is_some()).count();
        if open >= self.most {
            return None;
        }
        let ready = |ask: &Ask| ask.open.is_none() && ask.next <= now;
        let count = self.keys.values().filter(|ask| ready(ask)).count() as u128;
        let lot = (u128::from(rng.next_u64()) * count) >> 64;
        let (key, ask) = (self.keys.iter_mut())
            .filter(|(_, ask)| ready(ask))
            .nth(lot as usize)?;
        ask.open = Some(now + self.patience);
        ask.values = 0;
        Some(*key)
    }

    /// A lookup ended; `true` if it was ours and still open.
    pub(super) fn done(&mut self, now: Moment, key: &[u8; 32]) -> bool {
        let Some(ask) = self.keys.get_mut(key).filter(|ask| ask.open.is_some()) else {
            return false;
        };
        ask.open = None;
        ask.next = now + self.pause.times(1 << ask.tries.min(MOST_STEPS));
        ask.tries = ask.tries.saturating_add(1);
        true
    }

    /// Ends lookups that take too long; `true` if there were any.
    pub(super) fn fire(&mut self, now: Moment) -> bool {
        let late = |ask: &Ask| ask.open.is_some_and(|until| until <= now);
        let late: Vec<_> = (self.keys.iter())
            .filter(|(_, ask)| late(ask))
            .map(|(key, _)| *key)
            .collect();
        for key in &late {
            self.done(now, key);
        }
        !late.is_empty()
    }

    pub(super) fn timeout(&self) -> Option<Moment> {
        let open = self.keys.values().filter_map(|ask| ask.open);
        if open.clone().count() >= self.most {
            // What waits for a place has no time of its own.
            return open.min();
        }
        let moments = self.keys.values().map(|ask| ask.open.unwrap_or(ask.next));
        moments.min()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}
