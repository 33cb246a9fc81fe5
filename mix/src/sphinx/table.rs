//! Multiplication tables for mix keys: a sender that uses the same keys hundreds of times in an epoch halves what a hop costs
//! it. Optional; without a table a key is multiplied by directly, with the same result. SPEC.md §6.

use core::fmt;
use std::collections::{BTreeMap, VecDeque};

use curve25519_dalek::ristretto::{RistrettoBasepointTable, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;

use super::keys::MixPublic;

/// Tables for at most so many keys, 30 KiB each. Making one costs as much as some thirty multiplications without, and each
/// multiplication with it half of one: it pays after about sixty packets by way of that key.
///
/// Keys are public, and so are their tables. Which keys have one shows in the time that building takes: give a table to all
/// keys of an epoch or to none, not to those that were used.
#[derive(Clone)]
pub struct KeyTables {
    /// Boxed, for the map moves its entries and keeps up to half of their places free.
    tables: BTreeMap<[u8; 32], Box<RistrettoBasepointTable>>,
    /// Oldest first.
    order: VecDeque<[u8; 32]>,
    cap: usize,
}

impl KeyTables {
    /// No tables yet, and never more than `cap`.
    pub const fn new(cap: usize) -> Self {
        Self {
            tables: BTreeMap::new(),
            order: VecDeque::new(),
            cap,
        }
    }

    /// Makes a table for a key unless there is one. Beyond the cap the oldest goes.
    pub fn insert(&mut self, key: &MixPublic) {
        let name = key.to_bytes();
        if self.cap == 0 || self.tables.contains_key(&name) {
            return;
        }
        if self.tables.len() >= self.cap
            && let Some(oldest) = self.order.pop_front()
        {
            self.tables.remove(&oldest);
        }
        let table = Box::new(RistrettoBasepointTable::create(key.point()));
        self.tables.insert(name, table);
        self.order.push_back(name);
    }

    /// Forgets all, as at the end of an epoch.
    pub fn clear(&mut self) {
        self.tables.clear();
        self.order.clear();
    }

    /// How many keys have a table.
    pub fn len(&self) -> usize {
        self.tables.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// scalar · key, in constant time with and without a table.
    pub(super) fn multiply(&self, key: &MixPublic, scalar: &Scalar) -> RistrettoPoint {
        match self.tables.get(&key.to_bytes()) {
            Some(table) => table.as_ref() * scalar,
            None => key.point() * scalar,
        }
    }
}

impl fmt::Debug for KeyTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyTables({} of {})", self.tables.len(), self.cap)
    }
}
