//! What this node answers to lookups: the pages and the head of its own view of the current and the next epoch.
//!
//! Renewed when the view changed, with a pause in between that grows with its size. Pages are made one at a time, when polled.

use super::store::Store;
use crate::{
    certificate::Certificate,
    directory::Directory,
    page::{
        Head, Page, PageKind, bans_key, candidates_key, certificate_key, for_newcomers, page_count,
    },
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

/// Longest value that a lookup carries.
const MAX_VALUE: usize = 16 * 1024;
/// Records behind the pages.
const END: u32 = 4;

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
    certified: bool,
    /// Not renewed before.
    earliest: Moment,
}

/// A directory on its way out.
#[derive(Debug)]
struct Job {
    directory: Arc<Directory>,
    /// Its certificate, if it has one.
    certificate: Option<Arc<Certificate>>,
    next: u32,
    /// What those who come later need of it; filled once the rest is out.
    newcomers: Option<VecDeque<([u8; 32], Vec<u8>)>>,
}

impl Job {
    /// What stands behind the pages: certificate, candidates, bans, and the head, which points at all of them.
    fn last(&self, step: u32) -> Option<([u8; 32], Vec<u8>)> {
        let header = self.directory.header();
        let certificate = self.certificate.as_ref();
        match (step, certificate) {
            (0, Some(certificate)) => {
                let key = certificate_key(&header.params, header.cell, header.epoch);
                Some((key, certificate.encode()))
            }
            (1, Some(_)) => {
                let key = candidates_key(&header.next_committee);
                Some((key, self.directory.next_candidates().encode()))
            }
            (2, Some(_)) => {
                // A list too long for a lookup is had from neighbours only.
                let bytes = self.directory.bans().encode();
                let fits = !self.directory.bans().is_empty() && bytes.len() < MAX_VALUE;
                fits.then(|| (bans_key(&header.bans), bytes))
            }
            (3, _) => {
                let mut head = Head::of(&self.directory);
                head.certificate = certificate.map_or_else(Vec::new, |held| held.encode());
                Some((head.key(), head.encode()))
            }
            _ => None,
        }
    }
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
            let certified = store.past().certified(epoch);
            let certificate = certified.map(|held| held.certificate.clone());
            let certified = certificate.is_some();
            let (root, len) = match store.directory(epoch) {
                Some(directory) => {
                    let (root, len) = (directory.root(), directory.len() as u64);
                    let same =
                        |served: &Served| served.root == root && served.certified == certified;
                    if !self.served.get(&epoch).is_some_and(same) {
                        self.jobs.retain(|job| job.directory.epoch() != epoch);
                        self.jobs.push_back(Job {
                            directory,
                            certificate,
                            next: 0,
                            newcomers: None,
                        });
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
                    certified,
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
        if job.certificate.is_some() {
            let left = (job.newcomers).get_or_insert_with(|| for_newcomers(&job.directory).into());
            if let Some(value) = left.pop_front() {
                job.next = step;
                return Some(value);
            }
        }
        let behind = step - 2 * pages;
        let last = (behind..END).find_map(|step| Some((step, job.last(step)?)));
        let (step, record) = last?;
        job.next = 2 * pages + step + 1;
        if job.next >= 2 * pages + END {
            self.jobs.pop_front();
        }
        Some(record)
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
