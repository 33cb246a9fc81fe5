//! Beats that came before their descriptor. Nobody has checked them, so anyone can make them up: bounded in all directions.

use crate::beat::BEAT_LEN;
use mix::ShortId;
use std::collections::{BTreeMap, VecDeque};

/// Candidates kept of one id and epoch: one may be forged by a third party, so there is room for a second.
const PER_ID: usize = 2;

/// A bounded set of unchecked beats. When full, the oldest gives way.
#[derive(Debug)]
pub(super) struct Parked {
    cap: usize,
    beats: BTreeMap<(ShortId, u32), Vec<[u8; BEAT_LEN]>>,
    /// Keys in the order they came, one per kept beat.
    order: VecDeque<(ShortId, u32)>,
}

impl Parked {
    pub(super) fn new(cap: usize) -> Self {
        Self {
            cap,
            beats: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// Keeps a beat; `false` if it is kept already or its id has enough candidates.
    pub(super) fn push(&mut self, epoch: u32, short: ShortId, bytes: [u8; BEAT_LEN]) -> bool {
        if self.cap == 0 {
            return false;
        }
        if let Some(held) = self.beats.get(&(short, epoch))
            && (held.len() >= PER_ID || held.contains(&bytes))
        {
            return false;
        }
        if self.order.len() >= self.cap {
            self.drop_oldest();
        }
        self.beats.entry((short, epoch)).or_default().push(bytes);
        self.order.push_back((short, epoch));
        true
    }

    /// Removes all beats of an id.
    pub(super) fn take(&mut self, short: &ShortId) -> Vec<[u8; BEAT_LEN]> {
        let keys: Vec<_> = self
            .beats
            .range((*short, 0)..=(*short, u32::MAX))
            .map(|(key, _)| *key)
            .collect();
        if keys.is_empty() {
            return Vec::new();
        }
        self.order.retain(|(id, _)| id != short);
        keys.iter()
            .filter_map(|key| self.beats.remove(key))
            .flatten()
            .collect()
    }

    /// Forgets the epochs that `keep` doesn't want.
    pub(super) fn keep(&mut self, keep: impl Fn(u32) -> bool) {
        self.beats.retain(|(_, epoch), _| keep(*epoch));
        self.order.retain(|(_, epoch)| keep(*epoch));
    }

    pub(super) fn has(&self, epoch: u32) -> bool {
        self.order.iter().any(|(_, e)| *e == epoch)
    }

    fn drop_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else {
            return;
        };
        if let Some(held) = self.beats.get_mut(&key) {
            held.remove(0);
            if held.is_empty() {
                self.beats.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_holds_and_the_oldest_gives_way() {
        let mut parked = Parked::new(10);
        for n in 0..100u8 {
            assert!(parked.push(1, ShortId([n; 16]), [n; BEAT_LEN]));
            assert!(parked.order.len() <= 10 && parked.beats.len() <= 10);
        }
        assert!(parked.take(&ShortId([89; 16])).is_empty());
        assert_eq!(parked.take(&ShortId([90; 16])), vec![[90; BEAT_LEN]]);
        assert_eq!(parked.order.len(), 9);
    }

    #[test]
    fn one_id_cannot_fill_it() {
        let mut parked = Parked::new(10);
        assert!(parked.push(1, ShortId([0; 16]), [0; BEAT_LEN]));
        assert!(
            !parked.push(1, ShortId([0; 16]), [0; BEAT_LEN]),
            "the same again"
        );
        assert!(parked.push(1, ShortId([0; 16]), [1; BEAT_LEN]));
        assert!(!parked.push(1, ShortId([0; 16]), [2; BEAT_LEN]));
        assert!(parked.push(2, ShortId([0; 16]), [2; BEAT_LEN]));
        parked.keep(|epoch| epoch == 2);
        assert!(!parked.has(1) && parked.has(2));
        assert_eq!(parked.take(&ShortId([0; 16])).len(), 1);
        assert_eq!((parked.beats.len(), parked.order.len()), (0, 0));
    }
}
