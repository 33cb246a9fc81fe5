//! The directory: everyone's view of one epoch, the same for all who hold the same records.
//!
//! Holds [`Directory`] (sorted entries, their tree, lookups, mailbox placement), its [`Header`] and `impl Topology`. Takes only
//! records that were verified before; collecting and checking them is `pki`'s job. SPEC.md §6 and §7.

use crate::{
    bans::Bans,
    beat::{Beat, Leaf},
    committee::Candidates,
    descriptor::{Capability, Descriptor},
    epoch,
    id::{Cell, NodeId, Position, short_id},
    merkle,
    network::NetworkParams,
    weights::Standing,
};
use mix::{Hop, ShortId};
use std::sync::Arc;

mod basis;
mod digest;
mod header;
mod proof;
mod restored;
mod topology;

pub use basis::Basis;
pub use digest::{Digest, DigestReader};
pub use header::Header;
pub(crate) use proof::order_key;
pub use proof::{Absence, Inclusion, MAX_INCLUSION_LEN};

/// One node in a directory.
#[derive(Clone, Debug)]
pub struct Entry {
    node: NodeId,
    short: ShortId,
    position: Position,
    standing: Standing,
    descriptor: Arc<Descriptor>,
    beat: Arc<Beat>,
}

impl Entry {
    /// Identity.
    pub fn node(&self) -> NodeId {
        self.node
    }
    /// Name inside packets.
    pub fn short(&self) -> ShortId {
        self.short
    }
    /// Coordinate.
    pub fn position(&self) -> &Position {
        &self.position
    }
    /// Effective weight and holding: what descriptor and beat both say, and the rules of the epoch leave of it.
    pub fn capability(&self) -> Capability {
        self.standing.capability
    }
    /// Effective weight, holding and age.
    pub fn standing(&self) -> Standing {
        self.standing
    }
    /// Subnet tag.
    pub fn subnet(&self) -> u32 {
        self.descriptor.fields().subnet
    }
    /// Binary multiaddrs.
    pub fn addresses(&self) -> &[Vec<u8>] {
        &self.descriptor.fields().addresses
    }
    /// Its descriptor.
    pub fn descriptor(&self) -> &Descriptor {
        &self.descriptor
    }
    /// Its beat.
    pub fn beat(&self) -> &Beat {
        &self.beat
    }
    /// Its leaf.
    pub fn leaf(&self) -> Leaf {
        Leaf::of(&self.descriptor, &self.beat, self.standing)
    }
    /// It as the hop of a packet.
    pub fn hop(&self) -> Hop {
        Hop {
            id: self.short,
            key: *self.beat.mix_key(),
            epoch: self.beat.epoch(),
        }
    }
}

/// Sums over a directory that anyone can compute; the flock's threshold follows from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Totals {
    /// Nodes of weight above zero.
    pub mixes: u32,
    /// Sum of the weights.
    pub weight: u64,
    /// Packets originated by all nodes, per 1,000 s: the lowest rate that a node of its weight may run at.
    pub rate_mhz: u64,
}

/// The verified set of one epoch, sorted and committed to. Immutable; share it by `Arc`.
#[derive(Clone, Debug)]
pub struct Directory {
    params: Arc<NetworkParams>,
    header: Header,
    root: [u8; 32],
    entries: Vec<Entry>,
    tree: merkle::Tree,
    by_short: Vec<(ShortId, u32)>,
    by_node: Vec<(NodeId, u32)>,
    mixes: Vec<u32>,
    totals: Totals,
    bans: Bans,
    next: Candidates,
}

impl Directory {
    /// Sorts verified records and commits to them: union mode, where nothing but the records counts. The order of `records`
    /// doesn't matter.
    ///
    /// Pairs that don't belong together, to this epoch or whose descriptor covers no part of it are left out. If one node comes
    /// twice, its highest descriptor and then its lowest beat are taken.
    pub fn build<D, B>(
        params: &Arc<NetworkParams>,
        epoch: u32,
        seed: [u8; 32],
        records: impl IntoIterator<Item = (D, B)>,
    ) -> Self
    where
        D: Into<Arc<Descriptor>>,
        B: Into<Arc<Beat>>,
    {
        let entries = sorted(params, epoch, &seed, records, &Bans::default());
        Self::of_sorted(params, epoch, seed, entries)
    }

    /// Sorts verified records and commits to them and to the past: bans, ages, weights, the certificate before, and the candidates
    /// of the next epoch. The same records and the same basis give the same header, in any order.
    ///
    /// Left out are pairs as in [`build`](Self::build), and banned nodes.
    pub fn build_on<D, B>(
        params: &Arc<NetworkParams>,
        epoch: u32,
        seed: [u8; 32],
        records: impl IntoIterator<Item = (D, B)>,
        basis: &Basis,
    ) -> Self
    where
        D: Into<Arc<Descriptor>>,
        B: Into<Arc<Beat>>,
    {
        let mut entries = sorted(params, epoch, &seed, records, &basis.bans);
        let standings = basis.standings(params, epoch, &entries);
        for (entry, standing) in entries.iter_mut().zip(standings) {
            entry.standing = standing;
        }
        let mut directory = Self::of_sorted(params, epoch, seed, entries);
        directory.next = Candidates::draw(&directory, epoch.saturating_add(1));
        directory.bans = basis.bans.clone();
        directory.header.bans = directory.bans.hash();
        directory.header.previous_certificate = basis.previous_certificate;
        directory.header.next_committee = directory.next.hash();
        directory.root = directory.header.root();
        directory
    }

    fn of_sorted(
        params: &Arc<NetworkParams>,
        epoch: u32,
        seed: [u8; 32],
        entries: Vec<Entry>,
    ) -> Self {
        let leaves = entries
            .iter()
            .map(|entry| merkle::leaf_hash(&entry.leaf().to_bytes()));
        let tree = merkle::Tree::new(leaves.collect());
        let header = Header {
            cell: Cell::WHOLE,
            epoch,
            count: entries.len() as u32,
            params: params.id(),
            seed,
            bans: [0; 32],
            previous_certificate: [0; 32],
            next_committee: [0; 32],
            tree: tree.root(),
        };
        let numbered = || entries.iter().zip(0u32..);
        let mut by_short: Vec<_> = numbered().map(|(entry, i)| (entry.short, i)).collect();
        by_short.sort_unstable();
        let mut by_node: Vec<_> = numbered().map(|(entry, i)| (entry.node, i)).collect();
        by_node.sort_unstable();
        let mixes: Vec<_> = numbered()
            .filter(|(entry, _)| entry.capability().weight() > 0)
            .map(|(_, i)| i)
            .collect();
        let totals = Totals {
            mixes: mixes.len() as u32,
            weight: entries
                .iter()
                .map(|entry| u64::from(entry.capability().weight()))
                .sum(),
            rate_mhz: entries
                .iter()
                .map(|entry| lowest_rate(params, entry.capability()))
                .sum(),
        };
        let root = header.root();
        Self {
            params: params.clone(),
            header,
            root,
            entries,
            tree,
            by_short,
            by_node,
            mixes,
            totals,
            bans: Bans::default(),
            next: Candidates::default(),
        }
    }

    /// The epoch it describes.
    pub fn epoch(&self) -> u32 {
        self.header.epoch
    }

    /// The network's parameters.
    pub fn params(&self) -> &Arc<NetworkParams> {
        &self.params
    }

    /// Number of nodes, leaves of weight 0 included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Node `i` in the order of the leaves.
    pub fn entry(&self, i: usize) -> Option<&Entry> {
        self.entries.get(i)
    }

    /// All nodes in the order of the leaves.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Where a node stands in the order of the leaves.
    pub fn position_of(&self, short: &ShortId) -> Option<usize> {
        let at = self
            .by_short
            .binary_search_by(|(key, _)| key.cmp(short))
            .ok()?;
        Some(self.by_short.get(at)?.1 as usize)
    }

    /// The node with this short id.
    pub fn by_short(&self, short: &ShortId) -> Option<&Entry> {
        self.entries.get(self.position_of(short)?)
    }

    /// The node with this identity.
    pub fn by_node(&self, node: &NodeId) -> Option<&Entry> {
        let at = self
            .by_node
            .binary_search_by(|(key, _)| key.cmp(node))
            .ok()?;
        self.entries.get(self.by_node.get(at)?.1 as usize)
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What nodes compare, 32 B.
    pub fn root(&self) -> [u8; 32] {
        self.root
    }

    /// Sum of the effective weights.
    pub fn total_weight(&self) -> u64 {
        self.totals.weight
    }

    /// The public totals.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// Whether its header names no certificate before it. Whether it is certified itself, no directory knows: ask `pki`.
    pub fn degraded(&self) -> bool {
        self.header.previous_certificate == [0; 32]
    }

    /// Proof that leaves `start .. start + len` belong to the tree; see [`merkle::verify`].
    pub fn prove(&self, start: usize, len: usize) -> Option<Vec<[u8; 32]>> {
        self.tree.prove(start, len)
    }

    /// The `k` nodes that hold a mailbox, nearest first: XOR-closest in position to H(box id) among those that hold at all.
    /// Fewer if the directory has fewer. One pass over the set.
    pub fn holders(&self, box_id: &[u8; 32], k: usize) -> Vec<ShortId> {
        let target = Position::of_box(box_id);
        let mut near: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.capability().holder())
            .map(|entry| (entry.position.distance(&target), entry.short))
            .collect();
        if k == 0 {
            return Vec::new();
        }
        if k < near.len() {
            near.select_nth_unstable(k - 1);
            near.truncate(k);
        }
        near.sort_unstable();
        near.into_iter().map(|(_, short)| short).collect()
    }

    /// Who is kept out of it; nobody in union mode.
    pub fn bans(&self) -> &Bans {
        &self.bans
    }

    /// The candidates of the next epoch, to whom the header commits; empty in union mode.
    pub fn next_candidates(&self) -> &Candidates {
        &self.next
    }

    /// Indices (in the order of the leaves) of the nodes of weight above zero.
    pub(crate) fn mixes_indices(&self) -> &[u32] {
        &self.mixes
    }
}

impl Entry {
    fn new(genesis_seed: &[u8; 32], descriptor: Arc<Descriptor>, beat: Arc<Beat>) -> Self {
        let node = descriptor.id();
        Self {
            node,
            short: beat.short_id(),
            position: Position::of_node(genesis_seed, &node),
            standing: Standing::declared(&descriptor, &beat),
            descriptor,
            beat,
        }
    }
}

/// The entries of an epoch in the order of their leaves: what belongs to it, one per node, and nobody who is banned.
fn sorted<D, B>(
    params: &NetworkParams,
    epoch: u32,
    seed: &[u8; 32],
    records: impl IntoIterator<Item = (D, B)>,
    bans: &Bans,
) -> Vec<Entry>
where
    D: Into<Arc<Descriptor>>,
    B: Into<Arc<Beat>>,
{
    let network = params.id();
    let genesis_seed = params.genesis_seed();
    let (from, until) = (epoch::start_of(params, epoch), epoch::end_of(params, epoch));
    let mut sorted: Vec<_> = records
        .into_iter()
        .map(|(descriptor, beat)| (descriptor.into(), beat.into()))
        .filter(|(descriptor, beat): &(Arc<Descriptor>, Arc<Beat>)| {
            beat.epoch() == epoch
                && descriptor.covers(from, until)
                && short_id(&network, &descriptor.id()) == beat.short_id()
                && !bans.contains(&beat.short_id())
        })
        .map(|(descriptor, beat)| (order_key(seed, &beat.short_id()), descriptor, beat))
        .collect();
    sorted.sort_by(|(a, a_descriptor, a_beat), (b, b_descriptor, b_beat)| {
        let seq = (a_descriptor.fields().seq, b_descriptor.fields().seq);
        a.cmp(b)
            .then_with(|| seq.1.cmp(&seq.0))
            .then_with(|| a_descriptor.hash().cmp(&b_descriptor.hash()))
            .then_with(|| a_beat.body().cmp(b_beat.body()))
    });
    sorted.dedup_by_key(|(order, ..)| *order);
    sorted
        .into_iter()
        .map(|(_, descriptor, beat)| Entry::new(&genesis_seed, descriptor, beat))
        .collect()
}

/// The least that a node of this weight sends, so that the flock is never larger than the traffic can fill.
fn lowest_rate(params: &NetworkParams, capability: Capability) -> u64 {
    let rates = match capability.weight() {
        0 => params.rates_mobile_bg,
        1..=7 => params.rates_eco,
        _ => params.rates_strong,
    };
    rates.iter().map(|rate| u64::from(*rate)).sum()
}

#[cfg(test)]
mod tests;
