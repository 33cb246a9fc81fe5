//! Where records live: the trait, the batch, and the errors a person may have to read.
//!
//! [`memory`] serves tests, simulations and browsers; [`disk`] (feature `disk`) is a log-structured store. Nothing here knows what a mailbox is.
//! Spec: "Stored values" and "Disk".

#[cfg(feature = "disk")]
pub mod disk;
pub mod memory;

use std::path::PathBuf;

/// A part of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// The node's own state; kept until deleted.
    State,
    /// Records that expire together, dropped whole.
    Bucket(u32),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Set a value.
    Put {
        /// Where.
        space: Space,
        /// Under which key.
        key: Vec<u8>,
        /// To what.
        value: Vec<u8>,
    },
    /// Remove a value; nothing happens if there is none.
    Delete {
        /// Where.
        space: Space,
        /// Under which key.
        key: Vec<u8>,
    },
    /// Forget a bucket and all in it; nothing happens if there is none.
    DropBucket(u32),
}

/// Changes that become durable together. Puts and deletes are atomic, in order; buckets are dropped after them, and a crash in between
/// may leave them (whoever dropped them drops them again).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub writes: Vec<Write>,
}

impl Batch {
    /// Adds a put.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push(Write::Put {
            space,
            key: key.into(),
            value: value.into(),
        });
    }

    /// Adds a delete.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.writes.push(Write::Delete {
            space,
            key: key.into(),
        });
    }

    /// Adds the end of a bucket.
    pub fn drop_bucket(&mut self, bucket: u32) {
        self.writes.push(Write::DropBucket(bucket));
    }

    /// Appends another batch: one sync for both.
    pub fn append(&mut self, mut other: Self) {
        self.writes.append(&mut other.writes);
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// How many changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }
}

/// A store. Clones are handles to the same store, so that one thread can commit while another reads.
pub trait Backend: Clone + Send + 'static {
    /// The value under a key.
    ///
    /// # Errors
    /// [`BackendError`] if the store cannot be read.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError>;

    /// Visits keys that start with `prefix`, with their values, in the order of their bytes.
    ///
    /// # Errors
    /// [`BackendError`] if the store cannot be read.
    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), BackendError>;

    /// The buckets there are, ascending.
    ///
    /// # Errors
    /// [`BackendError`] if the store cannot be read.
    fn buckets(&self) -> Result<Vec<u32>, BackendError>;

    /// Makes the batch durable: on return it has reached the disk, or nothing of its puts and deletes may be relied on.
    ///
    /// # Errors
    /// [`BackendError`] if it could not; the caller must take the batch for lost.
    fn commit(&self, batch: &Batch) -> Result<(), BackendError>;

    /// Bytes the store takes, roughly.
    ///
    /// # Errors
    /// [`BackendError`] if the store cannot be read.
    fn size(&self) -> Result<u64, BackendError>;
}

/// Why a store does not open, read or write. The text says what is wrong, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The directory cannot be made or written.
    #[error("cannot write to {}: {source}. Give this user the right to write there, or choose another data directory", path.display())]
    Unwritable {
        /// The directory or file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Written by a newer version of this program.
    #[error("the store in {} has format {found}, this program knows formats up to {known}: update the program; nothing was changed", path.display())]
    NewerFormat {
        /// The store's directory.
        path: PathBuf,
        /// Format found.
        found: u32,
        /// Newest format known here.
        known: u32,
    },
    /// Another process holds the store.
    #[error("the store in {} is in use by another process: stop that one, or choose another data directory", path.display())]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// A file of the store is damaged.
    #[error("the store in {} is damaged ({detail}): restore that directory from a backup, or move it away to start with an empty one", path.display())]
    Corrupt {
        /// The store's directory.
        path: PathBuf,
        /// Which file, what is wrong.
        detail: String,
    },
    /// No space left.
    #[error("no space left for the store in {}: free some; nothing that was acknowledged is lost", path.display())]
    Full {
        /// The store's directory.
        path: PathBuf,
    },
    /// Another failure of reading or writing.
    #[error("reading or writing the store in {} failed: {source}", path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A fault that a test asked for.
    #[error("injected fault")]
    Injected,
}
