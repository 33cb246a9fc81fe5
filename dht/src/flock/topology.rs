//! The flock as mix's `Topology`: only who is on duty may be a mixing hop, every node of the epoch may be the last, and packets
//! go over the links of the slot.

use super::{Flock, links};
use mix::{
    Hop, ShortId,
    route::{MixRef, Topology},
};

impl Flock {
    /// Where a node stands among those on duty.
    fn place(&self, directory_index: usize) -> Option<usize> {
        let at = u32::try_from(directory_index).ok()?;
        self.members.binary_search(&at).ok()
    }
}

impl Topology for Flock {
    fn mixes(&self) -> usize {
        self.members.len()
    }

    fn mix(&self, index: usize) -> MixRef {
        self.directory.mix_ref(self.members[index])
    }

    fn index_of(&self, id: &ShortId) -> Option<usize> {
        self.place(self.directory.position_of(id)?)
    }

    fn hop_of(&self, id: &ShortId) -> Option<Hop> {
        self.directory.hop_of(id)
    }

    fn subnet_of(&self, id: &ShortId) -> Option<u32> {
        self.directory.subnet_of(id)
    }

    fn is_sparse(&self) -> bool {
        self.links.after(0).is_some()
    }

    fn first_hops(&self, from: &ShortId) -> Option<Vec<u32>> {
        match self.index_of(from) {
            Some(place) => self.links.after(place).map(<[u32]>::to_vec),
            None => Some(self.attached(from)),
        }
    }

    fn next_hops(&self, index: usize) -> Option<&[u32]> {
        self.links.after(index)
    }

    fn last_hops(&self, last: &ShortId) -> Option<Vec<u32>> {
        match self.index_of(last) {
            Some(place) => self.links.before(place as u32),
            None => Some(self.attached(last)),
        }
    }
}

impl Flock {
    /// The places of the nodes on duty with which a node off duty holds links: none for a leaf, whose guards nobody else knows,
    /// and for a stranger.
    pub(super) fn attached(&self, id: &ShortId) -> Vec<u32> {
        let Some(entry) = self
            .directory
            .by_short(id)
            .filter(|one| !links::is_leaf(one))
        else {
            return Vec::new();
        };
        let seed = &self.directory.header().seed;
        let among = self.members.len();
        links::drawn(
            seed,
            self.slot,
            &entry.short(),
            among,
            links::ATTACHED,
            None,
        )
    }

    /// The nodes with which this one holds links in the slot, by their index in the directory, ascending. None for a leaf (see
    /// [`Guarded`](super::Guarded)) and for a stranger. If one of two holds a link, so does the other.
    pub fn neighbours(&self, id: &ShortId) -> Vec<u32> {
        let Some(own) = self.directory.position_of(id) else {
            return Vec::new();
        };
        let Some(place) = self.place(own) else {
            return self.named(self.attached(id));
        };
        let mut places = match (self.links.after(place), self.links.before(place as u32)) {
            (Some(after), Some(before)) => [after, &before].concat(),
            _ => (0..self.members.len() as u32).collect(),
        };
        places.retain(|other| *other as usize != place);
        let mut all = self.named(places);
        let directory = &self.directory;
        let off_duty = directory
            .nodes()
            .zip(0u32..)
            .filter(|(_, i)| !self.on_duty(*i as usize));
        all.extend(
            off_duty
                .filter(|(entry, _)| self.attached(&entry.short()).contains(&(place as u32)))
                .map(|(_, i)| i),
        );
        all.sort_unstable();
        all.dedup();
        all
    }

    fn named(&self, places: Vec<u32>) -> Vec<u32> {
        places
            .into_iter()
            .map(|place| self.members[place as usize])
            .collect()
    }
}
