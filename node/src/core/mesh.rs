//! Whom a node holds links to: the neighbours that the flock of the slot gives it, from a while before the slot until what was
//! sent in it has arrived. A leaf holds links to its guards instead, and so does a guest: a node that the directory of the epoch lacks.
//!
//! Everyone computes the same links from the same directory (dht/SPEC.md §8), so both ends dial, and what is dialled says nothing
//! about routes. Only a leaf's guards are its own secret; they are drawn once and kept for a month.

use std::collections::BTreeMap;
use std::sync::Arc;

use dht::directory::Directory;
use dht::flock::{self, ATTACHED, Flock, Guarded};
use dht::id::NodeId;
use mix::ShortId;
use mix::route::Topology;
use mix::sphinx::{Class, Hop};
use mix::time::{Moment, Span};
use storage::backend::Backend;

use super::Core;
use super::guards::Guards;

/// Links a node wants at most, those of the present slot first.
const MAX_LINKS: usize = 1_024;
/// Links of a coming slot are dialled this long before it, or half a slot if that is shorter.
const LEAD: Span = Span::from_secs(60);
/// Slots whose links are kept at most, present and coming ones included.
const MAX_SLOTS: u64 = 32;
/// Links of which a leaf needs this many, because it has no more than three.
const LEAF_LINKS: usize = 1;

/// Flocks, links and guards.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    /// By slot.
    flocks: BTreeMap<u64, Known>,
    pub(super) guards: Guards,
    guarded: Option<(Vec<ShortId>, Arc<Guarded>)>,
    /// What was wanted last.
    wanted: Vec<Link>,
    /// The slots and guards that follows from.
    from: (Vec<Arc<Flock>>, Vec<NodeId>),
}

/// A peer and where it listens.
type Link = (NodeId, Vec<Vec<u8>>);

#[derive(Debug)]
struct Known {
    flock: Arc<Flock>,
    /// Our neighbours in it, by index in the directory.
    neighbours: Vec<u32>,
}

/// What a route is drawn over.
enum View {
    Flock(Arc<Flock>),
    Leaf(Arc<Guarded>),
}

impl<B: Backend> Core<B> {
    /// Who is on duty now: the mixing hops of our routes.
    pub(super) fn flock(&mut self, now: Moment) -> Option<Arc<Flock>> {
        let slot = flock::slot_at(&self.config.params, now);
        self.flock_of(slot)
    }

    /// The flock of a slot; drawn anew when more of its epoch's nodes are known.
    fn flock_of(&mut self, slot: u64) -> Option<Arc<Flock>> {
        let begin = flock::slot_start(&self.config.params, slot);
        let directory = self.pki.directory(self.epoch(begin))?;
        if let Some(known) = self.mesh.flocks.get(&slot)
            && Arc::ptr_eq(known.flock.directory(), &directory)
        {
            return Some(known.flock.clone());
        }
        let flock = Arc::new(Flock::new(directory, slot));
        let known = Known {
            neighbours: flock.neighbours(&self.short),
            flock: flock.clone(),
        };
        self.mesh.flocks.insert(slot, known);
        Some(flock)
    }

    /// Slots whose links are wanted: from those whose packets may still be under way to the one that begins next. A reply block
    /// names the hops of the slot it was made in, so links outlive their slot by the longest wait of a fetch, too.
    fn slots(&self, now: Moment, slow: Span) -> std::ops::RangeInclusive<u64> {
        let params = &self.config.params;
        let hops = u64::from(params.mixing_hops) + 1;
        let under_way = hops.saturating_mul(params.hold_ms + 3 * slow.as_millis());
        let linger = Span::from_millis(params.max_wait_ms.saturating_add(under_way));
        let lead = LEAD.min(Span::from_millis(params.slot_ms / 2));
        let last = flock::slot_at(params, now + lead);
        let first = flock::slot_at(params, now - linger);
        first.max(last.saturating_sub(MAX_SLOTS - 1))..=last
    }

    /// Asks for the links of the slots, when they have changed.
    pub(super) fn want_links(&mut self, now: Moment) {
        let Some(present) = self.flock(now) else {
            return;
        };
        let delays = flock::hop_delays(&self.config.params, &present.directory().totals());
        self.mixer.set_delays(delays);
        let slots = self.slots(now, delays[2]);
        self.mesh.flocks.retain(|slot, _| slots.contains(slot));
        self.tend_guards(now, present.directory());
        // The present slot first, then the coming one, then those before.
        let slot = present.slot();
        let (before, after): (Vec<u64>, Vec<u64>) = slots.partition(|one| *one < slot);
        let order = after.into_iter().chain(before.into_iter().rev());
        let flocks: Vec<_> = order.filter_map(|slot| self.flock_of(slot)).collect();
        let guards = self.mesh.guards.in_use().to_vec();
        let same = flocks.len() == self.mesh.from.0.len()
            && flocks
                .iter()
                .zip(&self.mesh.from.0)
                .all(|(one, other)| Arc::ptr_eq(one, other))
            && guards == self.mesh.from.1;
        if same {
            return;
        }
        let mut wanted: BTreeMap<NodeId, Vec<Vec<u8>>> = BTreeMap::new();
        let directory = present.directory();
        let guarding = guards.iter().filter_map(|guard| directory.by_node(guard));
        let neighbours = flocks.iter().flat_map(|flock| {
            let known = self.mesh.flocks.get(&flock.slot());
            let indices = known.map_or(&[][..], |known| &known.neighbours);
            indices
                .iter()
                .filter_map(|i| flock.directory().entry(*i as usize))
        });
        for entry in guarding.chain(neighbours) {
            if wanted.len() < MAX_LINKS || wanted.contains_key(&entry.node()) {
                let addresses = || {
                    let mut addresses = entry.addresses().to_vec();
                    self.keep_dialable(&mut addresses);
                    addresses
                };
                wanted.entry(entry.node()).or_insert_with(addresses);
            }
        }
        wanted.remove(&self.me);
        self.mesh.from = (flocks, guards);
        let wanted: Vec<_> = wanted.into_iter().collect();
        if wanted != self.mesh.wanted {
            self.mesh.wanted.clone_from(&wanted);
            self.wanted = Some(wanted);
        }
    }

    /// Links to mixing nodes that we have, and that we need before anything is sent: `min_live` on duty, where everyone or a
    /// whole expander is within reach; half of the few that a node off duty has; one guard.
    pub(super) fn live_links(&mut self, now: Moment, directory: &Directory) -> (usize, usize) {
        let live = self
            .links
            .iter()
            .filter(|link| directory.index_of(link).is_some());
        let live = live.count();
        let min_live = usize::try_from(self.config.params.min_live).unwrap_or(usize::MAX);
        let own = usize::from(directory.index_of(&self.short).is_some());
        if directory.mixes().saturating_sub(own) < min_live {
            return (live.min(directory.mixes()), min_live);
        }
        let few = if self.is_leaf(directory) {
            LEAF_LINKS
        } else if self.flock(now).is_none_or(|flock| flock.has(&self.short)) {
            min_live
        } else {
            ATTACHED / 2
        };
        (live, min_live.min(few))
    }

    /// Whether we hold links to guards only: as a leaf, or as a guest, whom the others don't find in this directory.
    fn is_leaf(&self, directory: &Directory) -> bool {
        directory.by_short(&self.short).is_none_or(flock::is_leaf)
    }

    /// Whether packets can end here in the epoch of this directory: as one of its nodes, or as a guest with a key.
    pub(super) fn takes_part(&self, directory: &Directory) -> bool {
        directory.by_short(&self.short).is_some() || self.as_guest(directory).is_some()
    }

    /// Ourselves as the end of our own loops and replies, in an epoch whose directory lacks us: our beat came too late for it.
    fn as_guest(&self, directory: &Directory) -> Option<Hop> {
        let epoch = directory.epoch();
        let key = self.keys.usable(epoch)?;
        let id = self.short;
        (directory.by_short(&id).is_none()).then_some(Hop { id, key, epoch })
    }

    fn tend_guards(&mut self, now: Moment, directory: &Arc<Directory>) {
        if !self.is_leaf(directory) {
            self.mesh.guards.rest();
            return;
        }
        let min_live = usize::try_from(self.config.params.min_live).unwrap_or(usize::MAX);
        if directory.mixes() < min_live {
            return;
        }
        let (links, rng) = (&self.links, &mut self.rng);
        if self.mesh.guards.tend(now, directory, &self.me, links, rng) {
            let record = self.mesh.guards.to_bytes();
            self.write_state(super::records::key::GUARDS, &record);
        }
    }

    fn view(&mut self, now: Moment) -> Option<View> {
        let flock = self.flock(now)?;
        if !self.is_leaf(flock.directory()) {
            return Some(View::Flock(flock));
        }
        let guards = self.mesh.guards.in_use().iter();
        let guards = guards.map(|node| ShortId::derive(&self.network, &node.0));
        // Whom we can't reach can't reach us either.
        let guards: Vec<_> = guards.filter(|guard| self.links.contains(guard)).collect();
        let guest = self.as_guest(flock.directory());
        if let Some((of, known)) = &self.mesh.guarded
            && *of == guards
            && Arc::ptr_eq(known.flock(), &flock)
            && known.guest() == guest.as_ref()
        {
            return Some(View::Leaf(known.clone()));
        }
        let guarded = Guarded::new(flock, self.short, &guards);
        let guarded = Arc::new(match guest {
            Some(hop) => guarded.with_guest(hop),
            None => guarded,
        });
        self.mesh.guarded = Some((guards, guarded.clone()));
        Some(View::Leaf(guarded))
    }

    /// A route drawn without regard to our own links, as a reply takes it: its `from` is the holder
    /// that will answer, which must not be a mixing hop of its own packet any more than we of ours.
    pub(super) fn draw(
        &mut self,
        now: Moment,
        from: ShortId,
        to: &ShortId,
        class: Class,
    ) -> Option<Vec<Hop>> {
        let view = self.view(now)?;
        let params = &self.config.params;
        let hops = usize::from(match class {
            Class::Strong => params.strong_hops,
            Class::Fast | Class::Slow => params.mixing_hops,
        });
        // A holder that answers is one of our live peers, and the route counts only those besides it.
        let min_live = params
            .min_live
            .saturating_sub(u32::from(from != self.short));
        let min_live = usize::try_from(min_live).unwrap_or(usize::MAX);
        let subnets = params.subnet_rule;
        let rng = &mut self.rng;
        match view {
            View::Flock(flock) => mix::route::draw(&*flock, hops, to, from, min_live, subnets, rng),
            View::Leaf(leaf) => mix::route::draw(&*leaf, hops, to, from, min_live, subnets, rng),
        }
        .ok()
    }
}
