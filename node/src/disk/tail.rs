//! The end of an epoch's file, where tags are appended: what happens when the disk fails half-way.
//!
//! Only what a successful sync covered counts. After any failure (no room, a short write, a sync that fails) nothing is known of
//! what was written since: a kernel may have dropped those pages and call them clean, so that the next sync succeeds without
//! them. The next try therefore cuts the file where the last successful one ended and writes everything after it anew.

use std::fs::File;
use std::io::{self, Write};

/// What appending needs of a file.
pub(super) trait Appendable {
    /// Cuts it, or what was written beyond `len`, off.
    fn cut(&mut self, len: u64) -> io::Result<()>;
    /// Writes at the end; after an error any part of it may be there.
    fn add(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes what was written durable, length included.
    fn sync(&mut self) -> io::Result<()>;
}

impl Appendable for File {
    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file and where its last durable tag ends.
#[derive(Debug)]
pub(super) struct Tail<F> {
    file: F,
    end: u64,
}

impl<F: Appendable> Tail<F> {
    pub(super) fn new(file: F, end: u64) -> Self {
        Self { file, end }
    }

    /// Appends; when it returns `Ok`, the bytes survive a crash. To be tried again with the same bytes after an error, or with
    /// others: what an error left is never read behind what comes later.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Cut first, and not only after a failure we saw: a torn write of an earlier process is no different.
        self.file.cut(self.end)?;
        self.file.add(bytes)?;
        self.file.sync()?;
        self.end += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    const PAGE: usize = 64;

    /// A file on a disk that fails as asked, with a page cache that forgets as Linux does: a failed sync leaves pages that
    /// are neither on the disk nor dirty.
    #[derive(Default)]
    struct Faulty {
        cache: Vec<u8>,
        dirty: Vec<bool>,
        disk: Vec<u8>,
        /// What goes wrong next.
        fault: Fault,
    }

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    enum Fault {
        #[default]
        None,
        /// The file cannot be cut.
        Cut,
        /// No room after so many bytes.
        Full(usize),
        /// The sync fails; every `.0`-th dirty page got there before.
        Sync(usize),
    }

    impl Faulty {
        fn touch(&mut self, from: usize) {
            self.dirty.resize(self.cache.len().div_ceil(PAGE), true);
            for dirty in self.dirty.iter_mut().skip(from / PAGE) {
                *dirty = true;
            }
        }

        fn write_back(&mut self, page: usize) {
            let end = self.cache.len().min((page + 1) * PAGE);
            let bytes = self.cache[page * PAGE..end].to_vec();
            if self.disk.len() < end {
                self.disk.resize(end, 0);
            }
            self.disk[page * PAGE..end].copy_from_slice(&bytes);
        }
    }

    fn error() -> io::Error {
        io::Error::from_raw_os_error(28)
    }

    impl Appendable for Faulty {
        fn cut(&mut self, len: u64) -> io::Result<()> {
            if self.fault == Fault::Cut {
                return Err(error());
            }
            self.cache.truncate(len as usize);
            self.touch(len as usize);
            Ok(())
        }

        fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
            let from = self.cache.len();
            let room = match self.fault {
                Fault::Full(room) => room.min(bytes.len()),
                _ => bytes.len(),
            };
            self.cache.extend_from_slice(&bytes[..room]);
            self.touch(from);
            if room < bytes.len() {
                Err(error())
            } else {
                Ok(())
            }
        }

        fn sync(&mut self) -> io::Result<()> {
            let every = match self.fault {
                Fault::Sync(every) => every,
                _ => 1,
            };
            for page in 0..self.dirty.len() {
                if std::mem::take(&mut self.dirty[page]) && page % every == 0 {
                    self.write_back(page);
                }
            }
            match self.fault {
                Fault::Sync(_) => Err(error()),
                _ => {
                    self.disk.resize(self.cache.len(), 0);
                    Ok(())
                }
            }
        }
    }

    fn fault() -> impl Strategy<Value = Fault> {
        prop_oneof![
            3 => Just(Fault::None),
            1 => Just(Fault::Cut),
            2 => (0usize..200).prop_map(Fault::Full),
            2 => (2usize..5).prop_map(Fault::Sync),
        ]
    }

    proptest! {
        #[test]
        fn what_was_confirmed_is_on_the_disk_whatever_failed(
            steps in proptest::collection::vec((fault(), 1usize..12), 1..40),
            again in any::<bool>(),
        ) {
            let mut tail = Tail::new(Faulty::default(), 0);
            let mut confirmed: Vec<u8> = Vec::new();
            let mut refused: Option<Vec<u8>> = None;
            for (number, (fault, tags)) in steps.into_iter().enumerate() {
                let fresh = vec![number as u8 + 1; tags * 16];
                // The driver tries the same again; another caller need not.
                let bytes = refused.take().filter(|_| again).unwrap_or(fresh);
                tail.file.fault = fault;
                match tail.append(&bytes) {
                    Ok(()) => confirmed.extend(&bytes),
                    Err(_) => refused = Some(bytes),
                }
                // A crash now: nothing confirmed is missing or out of step.
                prop_assert!(tail.file.disk.len() >= confirmed.len());
                prop_assert_eq!(&tail.file.disk[..confirmed.len()], &confirmed[..]);
            }
        }
    }

    #[test]
    fn a_sync_that_failed_is_not_made_good_by_one_that_succeeds() {
        let mut tail = Tail::new(Faulty::default(), 0);
        tail.append(&[1; 64]).unwrap();
        tail.file.fault = Fault::Sync(1_000);
        assert!(tail.append(&[2; 128]).is_err());
        tail.file.fault = Fault::None;
        // The guard of the model: a sync alone would lose the pages.
        tail.file.sync().unwrap();
        assert_ne!(tail.file.disk[64..], [2; 128]);
        tail.append(&[2; 128]).unwrap();
        assert_eq!(tail.file.disk[64..], [2; 128]);
    }
}
