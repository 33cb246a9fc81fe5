//! The pages of one trusted header: which are there, which are wanted, and the directory they make.

use super::{NetworkId, NetworkParams, Wanted};
use crate::{
    bans::Bans,
    beat::Beat,
    counters::DropReason,
    descriptor::Descriptor,
    directory::{Directory, Header},
    page::{
        BansPage, Entries, Page, PageKind, RecordPair, bans_page_key, bans_pages, page_count,
        page_key,
    },
    weights::Standing,
};
use mix::ShortId;
use std::{collections::BTreeMap, sync::Arc};

/// What the epoch grants a node, and its records, checked.
type Granted = (Standing, Arc<Descriptor>, Arc<Beat>);

#[derive(Debug)]
pub(super) struct Reading {
    network: NetworkId,
    header: Header,
    root: [u8; 32],
    pages: BTreeMap<u32, Vec<Granted>>,
    /// Pages of bans; how many, the first one says.
    bans: BTreeMap<u32, Vec<(ShortId, u32)>>,
    bans_pages: Option<u32>,
}

impl Reading {
    /// `None` if the set is larger than we may hold.
    pub(super) fn new(network: &NetworkId, header: Header, most: usize) -> Option<Self> {
        let none = header.bans == Bans::default().hash();
        (header.count as usize <= most).then(|| Self {
            network: *network,
            root: header.root(),
            header,
            pages: BTreeMap::new(),
            bans: BTreeMap::new(),
            bans_pages: none.then_some(0),
        })
    }

    /// Pages read, and pages there are as far as known.
    pub(super) fn progress(&self) -> (u32, u32) {
        let read = self.pages.len() + self.bans.len();
        let all = page_count(self.header.count) + self.bans_pages.unwrap_or(1);
        (read as u32, all)
    }

    pub(super) fn wanted(&self) -> Vec<([u8; 32], Wanted)> {
        let pages = (0..page_count(self.header.count))
            .filter(|index| !self.pages.contains_key(index))
            .map(|index| {
                (
                    page_key(&self.root, PageKind::Records, index),
                    Wanted::Page(index),
                )
            });
        let bans = (0..self.bans_pages.unwrap_or(1))
            .filter(|index| !self.bans.contains_key(index))
            .map(|index| (bans_page_key(&self.header.bans, index), Wanted::Bans(index)));
        pages.chain(bans).collect()
    }

    /// A page of records. The header commits to what the records say, not to their signatures: these must hold as well.
    pub(super) fn take_page(&mut self, index: u32, bytes: &[u8]) -> Result<(), DropReason> {
        let page = Page::decode(bytes)?;
        let Entries::Records(pairs) = &page.entries else {
            return Err(DropReason::Unwanted);
        };
        if page.index != index || !page.verify(&self.header) {
            return Err(DropReason::Unwanted);
        }
        let records = pairs.iter().map(|pair| self.checked(pair));
        self.pages.insert(index, records.collect::<Result<_, _>>()?);
        Ok(())
    }

    fn checked(&self, pair: &RecordPair) -> Result<Granted, DropReason> {
        let descriptor = Descriptor::decode(&pair.descriptor)?;
        let beat = Beat::decode(&pair.beat)?;
        descriptor.verify(&self.network)?;
        beat.verify(&self.network, &descriptor.id())?;
        Ok((pair.standing, Arc::new(descriptor), Arc::new(beat)))
    }

    pub(super) fn take_bans(&mut self, index: u32, bytes: &[u8]) -> Result<(), DropReason> {
        let page = BansPage::decode(bytes)?;
        if page.index != index || !page.verify(&self.header.bans) {
            return Err(DropReason::Unwanted);
        }
        self.bans_pages = Some(bans_pages(page.of.count));
        self.bans.insert(index, page.entries);
        Ok(())
    }

    /// The directory, when every page is there.
    pub(super) fn directory(&self, params: &Arc<NetworkParams>) -> Option<Directory> {
        let (read, all) = self.progress();
        if read < all || self.bans_pages.is_none() {
            return None;
        }
        let bans: Vec<_> = self.bans.values().flatten().copied().collect();
        let nodes = self.pages.values().flatten().cloned();
        let bans = Bans::of_entries(&bans)?;
        Directory::restore(params, &self.header, nodes, bans)
    }
}
