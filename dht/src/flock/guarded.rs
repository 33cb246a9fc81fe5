//! The flock as a leaf sees it: its packets begin at guards of its own, and those to it end there.
//!
//! Guards stay the same for a month, whatever the slot, so one that is off duty carries its leaf's packets all the same: it is a
//! hop for this leaf only, between the leaf and the nodes on duty with which it holds links. A guest, a node that the set of the
//! epoch lacks because its beat came too late, takes part as a leaf does: [`Guarded::with_guest`]. SPEC.md §8.

use super::Flock;
use mix::{
    Hop, ShortId,
    route::{MixRef, Topology},
};
use std::sync::Arc;

/// A flock and the guards of one leaf. Keep it for the slot.
#[derive(Clone, Debug)]
pub struct Guarded {
    flock: Arc<Flock>,
    own: ShortId,
    /// Ourselves as a final hop, if the directory lacks us.
    guest: Option<Hop>,
    /// Indices of the guards as mixing nodes: those on duty by their place, then the others behind the whole flock.
    guards: Vec<u32>,
    /// Guards off duty: directory indices.
    extra: Vec<u32>,
    /// The hops after each mixing node, if there are guards off duty.
    next: Vec<Vec<u32>>,
}

impl Guarded {
    /// Guards that the directory doesn't know as mixing nodes are left out.
    pub fn new(flock: Arc<Flock>, own: ShortId, guards: &[ShortId]) -> Self {
        let on_duty = flock.mixes() as u32;
        let (mut places, mut extra, mut next) = (Vec::new(), Vec::new(), Vec::<Vec<u32>>::new());
        for guard in guards {
            let known = flock.directory().position_of(guard);
            let Some(index) = known.and_then(|i| u32::try_from(i).ok()) else {
                continue;
            };
            if let Some(place) = flock.index_of(guard) {
                places.push(place as u32);
            } else if flock.directory().index_of(guard).is_some() && !extra.contains(&index) {
                if next.is_empty() {
                    next = (0..on_duty)
                        .map(|at| match flock.next_hops(at as usize) {
                            Some(list) => list.to_vec(),
                            None => (0..on_duty).collect(),
                        })
                        .collect();
                }
                let attached = flock.attached(guard);
                let place = on_duty + extra.len() as u32;
                for at in &attached {
                    next[*at as usize].push(place);
                }
                next.push(attached);
                extra.push(index);
                places.push(place);
            }
        }
        places.sort_unstable();
        places.dedup();
        Self {
            flock,
            own,
            guest: None,
            guards: places,
            extra,
            next,
        }
    }

    /// Makes the owner known as a final hop although the directory lacks it: its own loops and reply blocks end there. To be a
    /// guest takes nothing but a key of the epoch; no other node's routes change.
    #[must_use]
    pub fn with_guest(mut self, hop: Hop) -> Self {
        self.guest = Some(hop).filter(|hop| hop.id == self.own);
        self
    }

    /// The flock below it.
    pub fn flock(&self) -> &Arc<Flock> {
        &self.flock
    }

    /// The owner, if it is a guest.
    pub fn guest(&self) -> Option<&Hop> {
        self.guest.as_ref()
    }

    /// How many guards it has.
    pub fn guards(&self) -> usize {
        self.guards.len()
    }
}

impl Topology for Guarded {
    fn mixes(&self) -> usize {
        self.flock.mixes() + self.extra.len()
    }

    fn mix(&self, index: usize) -> MixRef {
        match index.checked_sub(self.flock.mixes()) {
            Some(at) => self.flock.directory().mix_ref(self.extra[at]),
            None => self.flock.mix(index),
        }
    }

    fn index_of(&self, id: &ShortId) -> Option<usize> {
        if let Some(place) = self.flock.index_of(id) {
            return Some(place);
        }
        let index = u32::try_from(self.flock.directory().position_of(id)?).ok()?;
        let at = self.extra.iter().position(|extra| *extra == index)?;
        Some(self.flock.mixes() + at)
    }

    fn hop_of(&self, id: &ShortId) -> Option<Hop> {
        self.flock
            .hop_of(id)
            .or_else(|| self.guest.filter(|guest| guest.id == *id))
    }

    fn subnet_of(&self, id: &ShortId) -> Option<u32> {
        self.flock.subnet_of(id)
    }

    fn is_sparse(&self) -> bool {
        !self.extra.is_empty() || self.flock.is_sparse()
    }

    fn first_hops(&self, from: &ShortId) -> Option<Vec<u32>> {
        if *from == self.own {
            return Some(self.guards.clone());
        }
        // What another node knows of the links: nothing about our guards.
        let all = || (0..self.flock.mixes() as u32).collect();
        Some(self.flock.first_hops(from).unwrap_or_else(all))
    }

    fn next_hops(&self, index: usize) -> Option<&[u32]> {
        match self.next.get(index) {
            Some(list) => Some(list),
            None => self.flock.next_hops(index),
        }
    }

    fn last_hops(&self, last: &ShortId) -> Option<Vec<u32>> {
        if *last == self.own {
            return Some(self.guards.clone());
        }
        let all = || (0..self.flock.mixes() as u32).collect();
        Some(self.flock.last_hops(last).unwrap_or_else(all))
    }

    fn is_inner(&self, index: usize) -> bool {
        index < self.flock.mixes()
    }
}
