//! A memory of verified signatures that several nodes of one process share: equipment of tests and simulations.
//!
//! A simulation of a thousand nodes checks each record a thousand times. With [`Checks`] it is checked once, and the nodes that hold
//! equal records share them. It changes nothing but time and memory: only what verified is remembered, by a hash over everything
//! that was verified, and what is not remembered is verified. A node that runs by itself has none.

use crate::{
    beat::{BEAT_LEN, Beat},
    counters::DropReason,
    descriptor::Descriptor,
    directory::Directory,
    id::{NodeId, derive},
};
use mix::NetworkId;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Directories remembered: those of a few epochs in a few versions.
const DIRECTORIES: usize = 64;

type Hash = [u8; 32];

/// What was verified before, by anyone who shares it.
#[derive(Debug)]
pub struct Checks {
    most: usize,
    proven: Mutex<Proven>,
}

#[derive(Debug, Default)]
struct Proven {
    others: BTreeSet<Hash>,
    beats: BTreeMap<Hash, Arc<Beat>>,
    descriptors: BTreeMap<Hash, Arc<Descriptor>>,
    directories: BTreeMap<Hash, Arc<Directory>>,
    /// Of the directories, oldest first.
    order: VecDeque<Hash>,
}

impl Checks {
    /// An empty memory for at most `most` records of each kind. A kind that is full is forgotten as a whole.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            proven: Mutex::default(),
        })
    }

    fn proven(&self) -> MutexGuard<'_, Proven> {
        // Each change is one insertion: whatever panicked left it whole.
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that may be remembered; by default none are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memo(pub(crate) Option<Arc<Checks>>);

impl Memo {
    /// Runs a check, unless the same one (all that it depends on is in `parts`) succeeded before.
    pub(crate) fn once<E>(
        &self,
        parts: &[&[u8]],
        check: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(checks) = &self.0 else {
            return check();
        };
        let hash = name(parts);
        if checks.proven().others.contains(&hash) {
            return Ok(());
        }
        check()?;
        let mut proven = checks.proven();
        if proven.others.len() >= checks.most {
            proven.others.clear();
        }
        proven.others.insert(hash);
        Ok(())
    }

    /// The verified beat that these bytes encode.
    pub(crate) fn beat(
        &self,
        network: &NetworkId,
        signer: &NodeId,
        bytes: &[u8; BEAT_LEN],
    ) -> Result<Arc<Beat>, DropReason> {
        let read = || {
            let beat = Beat::decode(bytes)?;
            beat.verify(network, signer)?;
            Ok(Arc::new(beat))
        };
        let Some(checks) = &self.0 else {
            return read();
        };
        let hash = name(&[b"beat", &network.0, &signer.0, bytes]);
        if let Some(beat) = checks.proven().beats.get(&hash) {
            return Ok(beat.clone());
        }
        let beat = read()?;
        keep(&mut checks.proven().beats, checks.most, hash, beat.clone());
        Ok(beat)
    }

    /// The descriptor, verified.
    pub(crate) fn descriptor(
        &self,
        network: &NetworkId,
        descriptor: Descriptor,
    ) -> Result<Arc<Descriptor>, DropReason> {
        let Some(checks) = &self.0 else {
            descriptor.verify(network)?;
            return Ok(Arc::new(descriptor));
        };
        let hash = name(&[b"descriptor", &network.0, descriptor.as_bytes()]);
        if let Some(descriptor) = checks.proven().descriptors.get(&hash) {
            return Ok(descriptor.clone());
        }
        descriptor.verify(network)?;
        let descriptor = Arc::new(descriptor);
        let proven = &mut checks.proven().descriptors;
        keep(proven, checks.most, hash, descriptor.clone());
        Ok(descriptor)
    }

    /// The directory that follows from `parts`, built if nobody has.
    pub(crate) fn directory(
        &self,
        parts: &[&[u8]],
        build: impl FnOnce() -> Directory,
    ) -> Arc<Directory> {
        let Some(checks) = &self.0 else {
            return Arc::new(build());
        };
        let hash = name(parts);
        if let Some(directory) = checks.proven().directories.get(&hash) {
            return directory.clone();
        }
        let directory = Arc::new(build());
        let mut proven = checks.proven();
        if proven.order.len() >= DIRECTORIES
            && let Some(oldest) = proven.order.pop_front()
        {
            proven.directories.remove(&oldest);
        }
        proven.order.push_back(hash);
        proven.directories.insert(hash, directory.clone());
        directory
    }
}

fn keep<T>(map: &mut BTreeMap<Hash, T>, most: usize, hash: Hash, value: T) {
    if map.len() >= most {
        map.clear();
    }
    map.insert(hash, value);
}

/// The parts with their lengths, so that no two lists of parts have one name.
fn name(parts: &[&[u8]]) -> Hash {
    let lengths: Vec<_> = parts
        .iter()
        .map(|p| (p.len() as u64).to_le_bytes())
        .collect();
    let all: Vec<&[u8]> = lengths
        .iter()
        .zip(parts)
        .flat_map(|(length, part)| [length.as_slice(), part])
        .collect();
    derive("murmuration/v1/check", &all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::testing::{TestNode, params};

    #[test]
    fn only_what_holds_is_remembered_and_only_so_much() {
        let checks = Checks::new(2);
        let memo = Memo(Some(checks.clone()));
        let mut runs = 0;
        for _ in 0..3 {
            let failed: Result<(), ()> = memo.once(&[b"a", b"b"], || {
                runs += 1;
                Err(())
            });
            assert!(failed.is_err());
        }
        assert_eq!(runs, 3, "a failure is checked again");
        for part in 0..9u8 {
            memo.once(&[b"a", &[part]], || Ok::<_, ()>(())).unwrap();
            memo.once(&[b"a", &[part]], || Err(())).unwrap();
            assert!(checks.proven().others.len() <= 2);
        }
        assert!(memo.once(&[b"ab"], || Err(())).is_err(), "parts are apart");
    }

    #[test]
    fn a_forged_record_fails_whoever_asks() {
        let node = TestNode::new(&params(), 1);
        let beat = node.beat(3, 0);
        let memo = Memo(Some(Checks::new(8)));
        let held = memo
            .beat(&node.network, &node.id(), beat.as_bytes())
            .unwrap();
        let again = memo
            .beat(&node.network, &node.id(), beat.as_bytes())
            .unwrap();
        assert!(Arc::ptr_eq(&held, &again));
        let mut forged = *beat.as_bytes();
        forged[BEAT_LEN - 1] ^= 1;
        assert!(memo.beat(&node.network, &node.id(), &forged).is_err());
        let other = TestNode::new(&params(), 2).id();
        assert!(memo.beat(&node.network, &other, beat.as_bytes()).is_err());
    }
}
