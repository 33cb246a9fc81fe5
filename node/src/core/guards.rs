//! The guards of a leaf: the few nodes that see it send.
//!
//! Whoever carries a leaf's first hop learns when it is online. Were the first hop drawn anew each time, every hostile node would
//! learn it within a day; so three nodes are drawn once, in proportion to their weight, and kept for a month. One that is away is
//! replaced by the next of the list and used again when it comes back. The list is short: an adversary who knocks guards out
//! can't walk a leaf through the whole network.

use std::collections::{BTreeMap, BTreeSet};

use dht::directory::Directory;
use dht::id::NodeId;
use minicbor::{Decode, Encode};
use mix::ShortId;
use mix::route::Topology;
use mix::time::{Moment, Span};
use rand_core::Rng;

/// Guards in use.
pub(super) const GUARDS: usize = 3;
/// Guards on the list, used or away.
const MAX_LISTED: usize = 9;
/// A guard is kept this long at least …
const KEEP: Span = Span::from_secs(25 * 24 * 3_600);
/// … and this much longer at most: not all leaves of a release change theirs on one day.
const KEEP_VARIES: Span = Span::from_secs(10 * 24 * 3_600);
/// A guard that no link came up to for so long is away, if another one isn't …
const PATIENCE: Span = Span::from_secs(120);
/// … and is tried again after so long.
const AGAIN: Span = Span::from_secs(1_800);

/// The list, oldest first, and which of it are in use.
#[derive(Debug, Default)]
pub(super) struct Guards {
    listed: Vec<Guard>,
    in_use: Vec<NodeId>,
    /// Since when there has been no link to guards in use; not written.
    missing: BTreeMap<NodeId, Moment>,
}

/// One guard as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct Guard {
    #[cbor(n(0), with = "minicbor::bytes")]
    node: [u8; 32],
    /// Unix ms.
    #[n(1)]
    until: u64,
    /// The epoch in which it was drawn …
    #[n(2)]
    epoch: u32,
    /// … and how many mixing nodes were known then.
    #[n(3)]
    among: u32,
}

impl Guards {
    /// Those in use, in order.
    pub(super) fn in_use(&self) -> &[NodeId] {
        &self.in_use
    }

    /// The list as it was written; a damaged one is drawn anew.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let listed: Vec<Guard> = minicbor::decode(bytes).unwrap_or_default();
        Self {
            listed: listed.into_iter().take(MAX_LISTED).collect(),
            ..Self::default()
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(&self.listed).unwrap_or_default()
    }

    /// Drops guards whose time is over, draws missing ones and says which are in use. `true` if the list changed.
    pub(super) fn tend(
        &mut self,
        now: Moment,
        directory: &Directory,
        own: &NodeId,
        links: &BTreeSet<ShortId>,
        rng: &mut impl Rng,
    ) -> bool {
        let before = self.listed.clone();
        let known = u32::try_from(directory.mixes()).unwrap_or(u32::MAX);
        self.listed.retain(|guard| {
            // Drawn by a newcomer who knew a handful of nodes, perhaps of somebody's choice: not for a month.
            let rash = guard.epoch == directory.epoch() && guard.among < known / 2;
            guard.until > now.as_millis() && !rash
        });
        self.note_links(now, directory, links);
        let mut usable = self.usable(now, directory);
        while usable.len() < GUARDS {
            if self.listed.len() == MAX_LISTED {
                if !usable.is_empty() {
                    break;
                }
                self.listed.remove(0);
            }
            let Some(guard) = self.draw(now, directory, own, rng) else {
                break;
            };
            usable.push(NodeId(guard.node));
            self.listed.push(guard);
        }
        usable.truncate(GUARDS);
        self.in_use = usable;
        self.listed != before
    }

    /// None is in use for now: the epoch's directory has us. They stay listed for when it doesn't.
    pub(super) fn rest(&mut self) {
        self.in_use.clear();
    }

    /// Listed guards that the directory has as mixing nodes and that are not away.
    fn usable(&self, now: Moment, directory: &Directory) -> Vec<NodeId> {
        let away = |node: &NodeId| {
            let missing = self.missing.get(node).map(|since| now - *since);
            missing.is_some_and(|span| span >= PATIENCE)
        };
        let nodes = self.listed.iter().map(|guard| NodeId(guard.node));
        nodes
            .filter(|node| !away(node))
            .filter(|node| {
                let entry = directory.by_node(node);
                entry.is_some_and(|entry| directory.index_of(&entry.short()).is_some())
            })
            .collect()
    }

    fn note_links(&mut self, now: Moment, directory: &Directory, links: &BTreeSet<ShortId>) {
        let linked = |node: &NodeId| {
            let entry = directory.by_node(node);
            entry.is_some_and(|entry| links.contains(&entry.short()))
        };
        let listed: BTreeSet<[u8; 32]> = self.listed.iter().map(|guard| guard.node).collect();
        let one_is_up = self.in_use.iter().any(linked);
        self.missing.retain(|node, since| {
            listed.contains(&node.0) && !linked(node) && now - *since < AGAIN
        });
        for node in &self.in_use {
            if linked(node) {
                continue;
            }
            let since = self.missing.entry(*node).or_insert(now);
            if !one_is_up {
                // It may be our own connection that is gone.
                *since = now;
            }
        }
    }

    /// A mixing node in proportion to its weight, none that is listed, none in the subnet of one that is.
    fn draw(
        &self,
        now: Moment,
        directory: &Directory,
        own: &NodeId,
        rng: &mut impl Rng,
    ) -> Option<Guard> {
        let listed: Vec<_> = self.listed.iter().map(|guard| NodeId(guard.node)).collect();
        let subnets: BTreeSet<u32> = listed
            .iter()
            .filter_map(|node| directory.subnet_of(&directory.by_node(node)?.short()))
            .collect();
        let rule = directory.params().subnet_rule;
        let fits = |index: &usize| {
            let mix = directory.mix(*index);
            let node = directory.by_short(&mix.hop.id).map(|entry| entry.node());
            let crowded = rule && mix.subnet.is_some_and(|tag| subnets.contains(&tag));
            node.is_some_and(|node| node != *own && !listed.contains(&node)) && !crowded
        };
        let fitting: Vec<usize> = (0..directory.mixes()).filter(fits).collect();
        let weight = |index: &usize| u64::from(directory.mix(*index).weight);
        let total: u64 = fitting.iter().map(weight).sum();
        // Sums of weights are far below 2^64: the bias is below 2^-40.
        let mut left = rng.next_u64().checked_rem(total)?;
        let index = fitting.iter().find(|index| {
            let here = left < weight(index);
            left = left.saturating_sub(weight(index));
            here
        })?;
        let entry = directory.by_short(&directory.mix(*index).hop.id)?;
        let varies = rng.next_u64() % KEEP_VARIES.as_millis();
        Some(Guard {
            node: entry.node().0,
            until: now.as_millis() + KEEP.as_millis() + varies,
            epoch: directory.epoch(),
            among: u32::try_from(directory.mixes()).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests;
