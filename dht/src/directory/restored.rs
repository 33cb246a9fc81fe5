//! A directory made from a header and what it grants each node: for whoever lacks the past that both follow from. SPEC.md §11.

use super::{Directory, Entry, Header, order_key};
use crate::{
    bans::Bans, beat::Beat, committee::Candidates, descriptor::Descriptor, id::short_id,
    network::NetworkParams, weights::Standing,
};
use std::sync::Arc;

impl Directory {
    /// The directory that this header commits to; `None` unless records, standings and bans are exactly those it commits to. The
    /// records were verified before; whether the header is to be trusted is the caller's business.
    pub fn restore(
        params: &Arc<NetworkParams>,
        header: &Header,
        parts: impl IntoIterator<Item = (Standing, Arc<Descriptor>, Arc<Beat>)>,
        bans: Bans,
    ) -> Option<Self> {
        let (network, genesis) = (params.id(), params.genesis_seed());
        let (epoch, seed) = (header.epoch, header.seed);
        let mut sorted = Vec::new();
        for (standing, descriptor, beat) in parts {
            let short = beat.short_id();
            if short_id(&network, &descriptor.id()) != short || beat.epoch() != epoch {
                return None;
            }
            let mut entry = Entry::new(&genesis, descriptor, beat);
            entry.standing = standing;
            sorted.push((order_key(&seed, &short), entry));
        }
        sorted.sort_by_key(|pair| pair.0);
        let entries = sorted.into_iter().map(|(_, entry)| entry).collect();
        let mut directory = Self::of_sorted(params, epoch, seed, entries);
        directory.next = Candidates::draw(&directory, epoch.saturating_add(1));
        directory.bans = bans;
        directory.header.bans = directory.bans.hash();
        directory.header.previous_certificate = header.previous_certificate;
        directory.header.next_committee = directory.next.hash();
        directory.root = directory.header.root();
        (directory.header == *header).then_some(directory)
    }
}
