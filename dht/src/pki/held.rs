//! Sets by their root: those that were proposed, and the one that was certified. They stay as they are while the open set grows.
//!
//! A held set keeps the very records its leaves were made of: a leaf names a descriptor, and a newer one may have replaced it in
//! the open set since. Neighbours reconcile with a held set by its root. SPEC.md §11, §21.

use crate::{
    bundle::{self, Record},
    directory::Directory,
    reconcile::{self, Key},
};
use std::{collections::BTreeMap, sync::Arc};

use super::store::{key_of_item, key_of_pair};

/// Sets held of one epoch: as many proposals as are heard, and the certified one.
pub(super) const MAX_HELD: usize = 5;

/// One set, as reconciliation sees it.
#[derive(Debug)]
pub(super) struct HeldSet {
    directory: Arc<Directory>,
    /// Ascending, with the place of each in the directory beside it. Made when first asked for.
    keys: Vec<Key>,
    places: Vec<u32>,
}

impl HeldSet {
    fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            keys: Vec::new(),
            places: Vec::new(),
        }
    }

    /// The set with its keys.
    fn ready(&mut self) -> &Self {
        if self.keys.len() != self.directory.len() {
            let keys = (self.directory.nodes())
                .map(|entry| key_of_pair(entry.descriptor(), entry.beat()))
                .zip(0u32..);
            let mut keys: Vec<_> = keys.collect();
            keys.sort_unstable();
            (self.keys, self.places) = keys.into_iter().unzip();
        }
        self
    }
}

impl reconcile::Items for HeldSet {
    fn keys(&self) -> &[Key] {
        &self.keys
    }

    fn write(&self, key: &Key, out: &mut Vec<u8>) {
        let place = self.keys.binary_search(key).ok();
        let place = place.and_then(|at| self.places.get(at));
        if let Some(entry) = place.and_then(|place| self.directory.entry(*place as usize)) {
            bundle::put(out, Record::Descriptor(entry.descriptor().as_bytes()));
            bundle::put(out, Record::Beat(entry.beat().as_bytes()));
        }
    }

    fn key_of(&self, item: &[u8]) -> Option<Key> {
        key_of_item(self.directory.epoch(), item)
    }

    fn refuses(&self, _: &Key) -> bool {
        false
    }
}

/// All sets held, by epoch and root.
#[derive(Debug, Default)]
pub(super) struct HeldSets {
    sets: BTreeMap<(u32, [u8; 32]), HeldSet>,
    /// The open set a neighbour asked for by its root, while others may ask for it too.
    lent: Option<HeldSet>,
}

impl HeldSets {
    /// Holds a set; `false` if too many of its epoch are held.
    pub(super) fn hold(&mut self, directory: Arc<Directory>) -> bool {
        let name = (directory.epoch(), directory.root());
        let full = self.of(directory.epoch()).count() >= MAX_HELD;
        if !self.sets.contains_key(&name) && full {
            return false;
        }
        self.sets
            .entry(name)
            .or_insert_with(|| HeldSet::new(directory));
        true
    }

    /// The set of this root.
    pub(super) fn get(&self, epoch: u32, root: &[u8; 32]) -> Option<&Arc<Directory>> {
        self.sets.get(&(epoch, *root)).map(|set| &set.directory)
    }

    /// Lets go of all sets of an epoch but one: the certified one stays alone.
    pub(super) fn keep_only(&mut self, epoch: u32, root: &[u8; 32]) {
        self.sets
            .retain(|(of, name), _| *of != epoch || name == root);
    }

    /// Keeps the epochs that `keep` wants.
    pub(super) fn turn(&mut self, keep: impl Fn(u32) -> bool) {
        self.sets.retain(|(epoch, _), _| keep(*epoch));
        self.lent.take_if(|lent| !keep(lent.directory.epoch()));
    }

    /// The set of this root for a neighbour; `open` is what the epoch's open set is now.
    pub(super) fn serve(
        &mut self,
        epoch: u32,
        root: &[u8; 32],
        open: impl FnOnce() -> Option<Arc<Directory>>,
    ) -> Option<&HeldSet> {
        if let Some(set) = self.sets.get_mut(&(epoch, *root)) {
            return Some(set.ready());
        }
        let is_it =
            |directory: &Arc<Directory>| directory.epoch() == epoch && directory.root() == *root;
        if !self
            .lent
            .as_ref()
            .is_some_and(|lent| is_it(&lent.directory))
        {
            self.lent = Some(HeldSet::new(open().filter(is_it)?));
        }
        self.lent.as_mut().map(|lent| lent.ready())
    }

    fn of(&self, epoch: u32) -> impl Iterator<Item = &HeldSet> {
        let all = (epoch, [0; 32])..=(epoch, [0xff; 32]);
        self.sets.range(all).map(|(_, set)| set)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::{
        reconcile::Items,
        testing::{nodes, params},
    };

    fn set(count: u32, epoch: u32) -> Arc<Directory> {
        let params = params();
        let records = nodes(&params, count);
        let records = records.iter().map(|node| node.records(epoch));
        Arc::new(Directory::build(&params, epoch, [1; 32], records))
    }

    #[test]
    fn five_sets_of_an_epoch_are_held_and_no_more() {
        let mut held = HeldSets::default();
        for count in 1..40 {
            assert_eq!(held.hold(set(count, 7)), count <= MAX_HELD as u32);
        }
        assert!(held.hold(set(3, 7)), "held already");
        assert!(held.hold(set(3, 8)), "another epoch");
        assert_eq!(held.sets.len(), MAX_HELD + 1);
        let root = set(3, 7).root();
        held.keep_only(7, &root);
        assert_eq!(held.get(7, &root).unwrap().len(), 3);
        assert_eq!(held.sets.len(), 2);
        held.turn(|epoch| epoch > 7);
        assert!(held.get(7, &root).is_none() && held.get(8, &set(3, 8).root()).is_some());
    }

    #[test]
    fn a_set_is_served_by_its_root_with_the_records_of_its_leaves() {
        let mut held = HeldSets::default();
        let (one, other) = (set(9, 7), set(12, 7));
        held.hold(one.clone());
        let served = held.serve(7, &one.root(), || panic!("it is held")).unwrap();
        assert_eq!(served.keys().len(), 9);
        for key in served.keys() {
            let mut item = Vec::new();
            served.write(key, &mut item);
            assert_eq!(served.key_of(&item), Some(*key));
        }
        let mut item = Vec::new();
        served.write(&[0; 16], &mut item);
        assert!(item.is_empty());
        // The open set counts if it has that root, and stays while it is asked for.
        assert!(held.serve(7, &other.root(), || Some(one.clone())).is_none());
        assert!(held.serve(7, &other.root(), || None).is_none());
        let open = || Some(other.clone());
        assert_eq!(held.serve(7, &other.root(), open).unwrap().keys().len(), 12);
        let again = held.serve(7, &other.root(), || None);
        assert_eq!(again.unwrap().keys().len(), 12);
        held.turn(|_| false);
        assert!(held.serve(7, &other.root(), || None).is_none());
    }
}
