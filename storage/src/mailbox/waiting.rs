//! Fetches that wait for a deposit: bounded, each ended exactly once.
//!
//! At a cap the oldest gives way and is answered as if its wait had ended: on one id the oldest of that id, over all the oldest of all.
//! The oldest has had its chance longest, and a flood cannot keep a place by asking for long waits.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::record::RecordKey;
use crate::{Millis, SurbBytes};

/// A fetch that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) target: RecordKey,
    pub(super) surb: SurbBytes,
    until: Millis,
}

/// All fetches that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    per_target: usize,
    cap: usize,
    next: u64,
    /// By arrival.
    waiters: BTreeMap<u64, Waiter>,
    by_target: BTreeMap<RecordKey, VecDeque<u64>>,
    by_end: BTreeSet<(Millis, u64)>,
}

impl Waiting {
    pub(super) fn new(per_target: usize, cap: usize) -> Self {
        let (waiters, by_target, by_end) = Default::default();
        Self {
            per_target,
            cap,
            next: 0,
            waiters,
            by_target,
            by_end,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// Adds a fetch; returns the one that gives way to it, if a cap was reached.
    pub(super) fn add(
        &mut self,
        target: RecordKey,
        until: Millis,
        surb: SurbBytes,
    ) -> Option<Waiter> {
        let crowded = self
            .by_target
            .get(&target)
            .filter(|queue| queue.len() >= self.per_target);
        let oldest_here = crowded.and_then(|queue| queue.front().copied());
        let evicted = match oldest_here {
            Some(oldest) => self.remove(oldest),
            None if self.waiters.len() >= self.cap => self
                .waiters
                .keys()
                .next()
                .copied()
                .and_then(|o| self.remove(o)),
            None => None,
        };
        let number = self.next;
        self.next += 1;
        self.by_target.entry(target).or_default().push_back(number);
        self.by_end.insert((until, number));
        self.waiters.insert(
            number,
            Waiter {
                target,
                surb,
                until,
            },
        );
        evicted
    }

    /// Takes all that wait for this record, in order of arrival.
    pub(super) fn take(&mut self, target: &RecordKey) -> Vec<Waiter> {
        let numbers = self.by_target.get(target).cloned().unwrap_or_default();
        numbers
            .into_iter()
            .filter_map(|number| self.remove(number))
            .collect()
    }

    /// Takes the first whose wait has ended.
    pub(super) fn take_ended(&mut self, now: Millis) -> Option<Waiter> {
        let (until, number) = *self.by_end.first()?;
        if until > now {
            return None;
        }
        self.remove(number)
    }

    /// When the next wait ends.
    pub(super) fn next_end(&self) -> Option<Millis> {
        self.by_end.first().map(|(until, _)| *until)
    }

    fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.waiters.remove(&number)?;
        self.by_end.remove(&(waiter.until, number));
        if let Some(queue) = self.by_target.get_mut(&waiter.target) {
            queue.retain(|n| *n != number);
            if queue.is_empty() {
                self.by_target.remove(&waiter.target);
            }
        }
        Some(waiter)
    }
}
