//! The directory as mix's `Topology`: every node of weight above zero may be a mixing hop, every node may be the last.

use super::Directory;
use mix::{
    Hop, ShortId,
    route::{MixRef, Topology},
};

impl Directory {
    /// The mixing node at a directory index, as routes see it.
    pub(crate) fn mix_ref(&self, index: u32) -> MixRef {
        let entry = &self.entries[index as usize];
        MixRef {
            hop: entry.hop(),
            subnet: shared_subnet(entry),
            weight: entry.capability().weight(),
        }
    }
}

/// The subnet that a node may share with others. One that states none is alone: it must not keep all others like it out of a path.
fn shared_subnet(entry: &super::Entry) -> Option<u32> {
    Some(entry.subnet()).filter(|tag| *tag != 0)
}

impl Topology for Directory {
    fn mixes(&self) -> usize {
        self.mixes.len()
    }

    fn mix(&self, index: usize) -> MixRef {
        self.mix_ref(self.mixes[index])
    }

    fn index_of(&self, id: &ShortId) -> Option<usize> {
        let at = u32::try_from(self.position_of(id)?).ok()?;
        self.mixes.binary_search(&at).ok()
    }

    fn hop_of(&self, id: &ShortId) -> Option<Hop> {
        self.by_short(id).map(super::Entry::hop)
    }

    fn subnet_of(&self, id: &ShortId) -> Option<u32> {
        self.by_short(id).and_then(shared_subnet)
    }
}
