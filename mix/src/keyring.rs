//! The mix keys of the previous, the current and the next epoch, each with the replay set that guards it: one object, one
//! lifetime. Erasing a key erases its tags, and a key cannot be used without being guarded. SPEC.md §8.

use core::fmt;
use std::sync::{Arc, Weak};

use rand_core::Rng;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::replay::{ReplaySet, Seen};
use crate::sphinx::{Malformed, MixPublic, MixSecret};
use crate::time::Moment;

/// Most keys at a time: previous, current, next, and one to spare while the previous is being erased.
pub const MAX_KEYS: usize = 4;
/// Bytes of a serialised [`EpochKey`]: epoch 4, usable from 8, starts 8, usable until 8, secret 32.
pub const EPOCH_KEY_LEN: usize = 4 + 3 * 8 + 32;

/// A relay's key of one epoch and the time it serves. Persist it before publishing its public half.
#[derive(Clone)]
pub struct EpochKey {
    /// The epoch.
    pub epoch: u32,
    /// First moment at which packets under this key are accepted; a little before the epoch.
    pub usable_from: Moment,
    /// The epoch's start: from here on this key is tried first.
    pub starts: Moment,
    /// First moment at which packets under this key are refused; a little after the epoch. The key is erased then.
    pub usable_until: Moment,
    /// The key.
    pub secret: MixSecret,
}

/// Why a key was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is a key for this epoch: a node has one key per epoch, ever.
    #[error("epoch {0} has a key already")]
    DuplicateEpoch(u32),
    /// The key of this epoch was erased; it must not come back without its tags.
    #[error("the key of epoch {0} was erased")]
    Erased(u32),
    /// There are as many keys as a node can need.
    #[error("there are {MAX_KEYS} keys already")]
    TooManyKeys,
    /// More tags were saved than the replay set holds.
    #[error("more replay tags than the set holds")]
    TooManyTags,
}

impl EpochKey {
    /// The public half, for the beat.
    pub fn public(&self) -> MixPublic {
        self.secret.public()
    }

    /// Whether packets under this key are accepted now.
    pub fn is_usable(&self, now: Moment) -> bool {
        self.usable_from <= now && now < self.usable_until
    }

    /// The form to persist, encrypted at rest and never in a backup.
    pub fn to_bytes(&self) -> Zeroizing<[u8; EPOCH_KEY_LEN]> {
        let mut bytes = Zeroizing::new([0; EPOCH_KEY_LEN]);
        bytes[..4].copy_from_slice(&self.epoch.to_le_bytes());
        for (place, moment) in
            bytes[4..28]
                .chunks_exact_mut(8)
                .zip([self.usable_from, self.starts, self.usable_until])
        {
            place.copy_from_slice(&moment.0.to_le_bytes());
        }
        bytes[28..].copy_from_slice(self.secret.to_bytes().as_slice());
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8; EPOCH_KEY_LEN]) -> Result<Self, Malformed> {
        let (head, secret) = bytes.split_at(28);
        let mut scalar = Zeroizing::new([0; 32]);
        scalar.copy_from_slice(secret);
        let mut epoch = [0; 4];
        epoch.copy_from_slice(&head[..4]);
        let moment = |at: usize| {
            let mut le = [0; 8];
            le.copy_from_slice(&head[at..at + 8]);
            Moment(u64::from_le_bytes(le))
        };
        let key = Self {
            epoch: u32::from_le_bytes(epoch),
            usable_from: moment(4),
            starts: moment(12),
            usable_until: moment(20),
            secret: MixSecret::from_bytes(&scalar).ok_or(Malformed::Field)?,
        };
        if key.usable_from <= key.starts && key.starts <= key.usable_until {
            Ok(key)
        } else {
            Err(Malformed::Field)
        }
    }
}

impl fmt::Debug for EpochKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EpochKey")
            .field("epoch", &self.epoch)
            .field("secret", &self.secret)
            .finish_non_exhaustive()
    }
}

/// The keys that a mixer holds, ordered by epoch.
#[derive(Debug)]
pub(crate) struct KeyRing {
    guarded: Vec<Guarded>,
    keys: Keys,
    erased_to: Option<u32>,
    replay_cap: usize,
    replay_reserve: usize,
}

/// A key and its tags: neither lives without the other.
#[derive(Debug)]
struct Guarded {
    /// Others hold it only while they open packets; see [`Keys`].
    key: Arc<EpochKey>,
    seen: ReplaySet,
}

/// The keys of a ring without their tags, for those who only open packets. Keeps none of them alive: a key that the ring
/// erased is gone from every copy of this.
#[derive(Clone, Debug)]
pub(crate) struct Keys(Arc<[Weak<EpochKey>]>);

impl Keys {
    /// The usable ones, the current epoch's first, then the others from the newest on. They live as long as the result: drop
    /// it when the work is done.
    pub(crate) fn usable(&self, now: Moment) -> [Option<Arc<EpochKey>>; MAX_KEYS] {
        let mut usable = [const { None }; MAX_KEYS];
        let newest_first = self.0.iter().rev().filter_map(Weak::upgrade);
        let newest_first = newest_first.filter(|key| key.is_usable(now));
        for (place, key) in usable.iter_mut().zip(newest_first) {
            *place = Some(key);
        }
        let mut found = usable.iter().flatten();
        if let Some(current) = found.position(|key| key.starts <= now) {
            usable[..=current].rotate_right(1);
        }
        usable
    }
}

impl KeyRing {
    /// A ring whose keys remember at most `replay_cap` tags each, with room for `replay_reserve` of them from the start.
    pub(crate) fn new(replay_cap: usize, replay_reserve: usize) -> Self {
        Self {
            guarded: Vec::new(),
            keys: Keys(Arc::new([])),
            erased_to: None,
            replay_cap,
            replay_reserve,
        }
    }

    pub(crate) fn add(
        &mut self,
        key: EpochKey,
        replayed: impl IntoIterator<Item = [u8; 16]>,
        rng: &mut impl Rng,
    ) -> Result<(), KeyError> {
        if self.erased_to.is_some_and(|erased| key.epoch <= erased) {
            return Err(KeyError::Erased(key.epoch));
        }
        let place = match self
            .guarded
            .binary_search_by_key(&key.epoch, |guarded| guarded.key.epoch)
        {
            Ok(_) => return Err(KeyError::DuplicateEpoch(key.epoch)),
            Err(place) => place,
        };
        if self.guarded.len() >= MAX_KEYS {
            return Err(KeyError::TooManyKeys);
        }
        let mut seen = ReplaySet::new(self.replay_cap, rng);
        seen.reserve(self.replay_reserve);
        for tag in replayed {
            if seen.insert(tag) == Seen::Full {
                return Err(KeyError::TooManyTags);
            }
        }
        let key = Arc::new(key);
        self.guarded.insert(place, Guarded { key, seen });
        self.list_keys();
        Ok(())
    }

    /// Erases the keys whose time is over, with their tags, and names their epochs.
    pub(crate) fn drop_expired(&mut self, now: Moment) -> Vec<u32> {
        let gone: Vec<u32> = self
            .guarded
            .extract_if(.., |guarded| guarded.key.usable_until <= now)
            .map(|g| g.key.epoch)
            .collect();
        self.erased_to = self.erased_to.max(gone.last().copied());
        if !gone.is_empty() {
            self.list_keys();
        }
        gone
    }

    /// The keys as they are now.
    pub(crate) fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Shows a tag to the set of an epoch's key. `None` if that key is gone.
    pub(crate) fn remember(&mut self, epoch: u32, tag: [u8; 16]) -> Option<Seen> {
        let guarded = self.guarded.iter_mut().find(|it| it.key.epoch == epoch)?;
        Some(guarded.seen.insert(tag))
    }

    fn list_keys(&mut self) {
        self.keys = Keys(
            self.guarded
                .iter()
                .map(|it| Arc::downgrade(&it.key))
                .collect(),
        );
    }

    pub(crate) fn epochs(&self) -> impl Iterator<Item = u32> + '_ {
        self.guarded.iter().map(|guarded| guarded.key.epoch)
    }
}

#[cfg(test)]
mod tests;
