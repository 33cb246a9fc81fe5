//! The directory of a header that is trusted already: read from its pages instead of computed from a past. SPEC.md §25.

use super::{Directory, Entry, Header};
use crate::{
    bans::Bans, beat::Beat, committee::Candidates, descriptor::Descriptor, network::NetworkParams,
    weights::Standing,
};
use std::sync::Arc;

/// One node of a page: what the epoch grants it, and its two records.
pub type Granted = (Standing, Arc<Descriptor>, Arc<Beat>);

impl Directory {
    /// The directory of a trusted header, from all its records in the order of the leaves, its bans and the candidates it commits
    /// to. `None` unless they are those of the header. Signatures must have been checked.
    pub fn of_header(
        params: &Arc<NetworkParams>,
        header: &Header,
        nodes: impl IntoIterator<Item = Granted>,
        bans: Bans,
        next: Candidates,
    ) -> Option<Self> {
        let seed = params.genesis_seed();
        let entries = nodes.into_iter().map(|(standing, descriptor, beat)| Entry {
            standing,
            ..Entry::new(&seed, descriptor, beat)
        });
        let mut directory = Self::of_sorted(params, header.epoch, header.seed, entries.collect());
        let own = directory.header;
        let same = own.tree == header.tree
            && own.count == header.count
            && own.params == header.params
            && own.cell == header.cell
            && bans.hash() == header.bans
            && next.hash() == header.next_committee;
        if !same {
            return None;
        }
        directory.header = *header;
        directory.root = header.root();
        directory.bans = bans;
        directory.next = next;
        Some(directory)
    }
}
