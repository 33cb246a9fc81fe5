//! The flock as mix's `Topology`: only who is on duty may be a mixing hop, every node of the epoch may be the last.

use super::Flock;
use mix::{
    Hop, ShortId,
    route::{MixRef, Topology},
};

impl Topology for Flock {
    fn mixes(&self) -> usize {
        self.members.len()
    }

    fn mix(&self, index: usize) -> MixRef {
        self.directory.mix_ref(self.members[index])
    }

    fn index_of(&self, id: &ShortId) -> Option<usize> {
        let at = u32::try_from(self.directory.position_of(id)?).ok()?;
        self.members.binary_search(&at).ok()
    }

    fn hop_of(&self, id: &ShortId) -> Option<Hop> {
        self.directory.hop_of(id)
    }
}
