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
    served: BTreeMap<u32, Served>,
    jobs: VecDeque<Job>,
}

/// What is served of an epoch.
#[derive(Debug)]
struct Served {
    /// Of the store's set, when it was last looked at.
    version: u64,
    root: [u8; 32],
    /// Not renewed before.
    earliest: Moment,
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
            if self.due(epoch, now, store).is_none_or(|at| at > now) {
                continue;
            }
            let (root, len) = match store.directory(epoch) {
                Some(directory) => {
                    let (root, len) = (directory.root(), directory.len() as u64);
                    if self
                        .served
                        .get(&epoch)
                        .is_none_or(|served| served.root != root)
                    {
                        self.jobs.retain(|job| job.directory.epoch() != epoch);
                        self.jobs.push_back(Job { directory, next: 0 });
                    }
                    (root, len)
                }
                None => ([0; 32], 0),
            };
            let earliest = now + PAUSE + PAUSE_PER_NODE.times(len);
            self.served.insert(
                epoch,
                Served {
                    version: store.version(epoch),
                    root,
                    earliest,
                },
            );
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

    /// When something changed that isn't served yet may be served.
    pub(super) fn timeout(&self, now: Moment, targets: &[u32], store: &Store) -> Option<Moment> {
        targets
            .iter()
            .filter_map(|epoch| self.due(*epoch, now, store))
            .min()
    }

    fn due(&self, epoch: u32, now: Moment, store: &Store) -> Option<Moment> {
        let version = store.version(epoch);
        match self.served.get(&epoch) {
            Some(served) => (served.version != version).then_some(served.earliest),
            None => (version > 0).then_some(now),
        }
    }
}
