//! What this node answers to lookups: the pages and the head of its own view of the current and the next epoch.
//!
//! Renewed when the view changed, with a pause in between that grows with its size. Pages are made one at a time, when polled.

use super::store::Store;
use crate::{
    directory::Directory,
    page::{Head, Page, PageKind, page_count},
};
use mix::time::{Moment, Span};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

/// Shortest pause between two versions of one epoch.
const PAUSE: Span = Span::from_millis(1_000);
/// Longer by this much per node: a directory of 8,192 is rebuilt every 9 s at most.
const PAUSE_PER_NODE: Span = Span::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Serve {
    /// Per epoch the root served and the earliest moment to serve another.
    served: BTreeMap<u32, ([u8; 32], Moment)>,
    jobs: VecDeque<Job>,
}

/// A directory on its way out.
#[derive(Debug)]
struct Job {
    directory: Arc<Directory>,
    next: u32,
}

impl Serve {
    pub(super) fn turn(&mut self, current: u32) {
        let kept = |epoch: u32| epoch == current || epoch == current.saturating_add(1);
        self.served.retain(|epoch, _| kept(*epoch));
        self.jobs.retain(|job| kept(job.directory.epoch()));
    }

    /// Starts serving what changed, once its pause is over.
    pub(super) fn fire(&mut self, now: Moment, targets: &[u32], store: &mut Store) {
        for &epoch in targets {
            if self
                .served
                .get(&epoch)
                .is_some_and(|(_, earliest)| *earliest > now)
            {
                continue;
            }
            let Some(directory) = store.directory(epoch) else {
                continue;
            };
            let root = directory.root();
            if self
                .served
                .get(&epoch)
                .is_some_and(|(served, _)| *served == root)
            {
                continue;
            }
            let pause = PAUSE + PAUSE_PER_NODE.times(directory.len() as u64);
            self.served.insert(epoch, (root, now + pause));
            self.jobs.retain(|job| job.directory.epoch() != epoch);
            self.jobs.push_back(Job { directory, next: 0 });
        }
    }

    pub(super) fn poll(&mut self) -> Option<([u8; 32], Vec<u8>)> {
        let job = self.jobs.front_mut()?;
        let pages = page_count(job.directory.len() as u32);
        let step = job.next;
        job.next += 1;
        let kind = if step < pages {
            PageKind::Records
        } else {
            PageKind::Leaves
        };
        if let Some(page) =
            Page::of(&job.directory, kind, step % pages.max(1)).filter(|_| step < 2 * pages)
        {
            return Some((page.key(), page.encode()));
        }
        let head = Head::of(&job.directory);
        self.jobs.pop_front();
        Some((head.key(), head.encode()))
    }

    /// The end of a pause after which something has changed.
    pub(super) fn timeout(&self, store: &Store) -> Option<Moment> {
        self.served
            .iter()
            .filter(|(epoch, _)| store.is_stale(**epoch))
            .map(|(_, (_, earliest))| *earliest)
            .min()
    }
}
