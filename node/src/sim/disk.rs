//! A node's disk: what outlives the node, and nothing else does.
//!
//! The store is the production memory backend; epoch files are kept as the real disk would give
//! them back. A commit is applied whole, keys and tags first, as `disk.rs` does it.

use std::collections::BTreeMap;

use storage::backend::memory::MemoryBackend;
use storage::backend::{Backend, BackendError};

use crate::core::{Commit, KeyFile, StoredKey};

/// What survives a restart.
#[derive(Clone, Debug, Default)]
pub struct SimDisk {
    backend: MemoryBackend,
    keys: BTreeMap<u32, StoredKey>,
}

impl SimDisk {
    /// The store of sealed state and mailbox entries.
    #[must_use]
    pub fn backend(&self) -> MemoryBackend {
        self.backend.clone()
    }

    /// Every epoch key with its tags, as found at start.
    #[must_use]
    pub fn load_keys(&self) -> Vec<StoredKey> {
        self.keys.values().cloned().collect()
    }

    /// Loses every replay tag.
    pub fn forget_tags(&mut self) {
        for key in self.keys.values_mut() {
            key.tags.clear();
        }
    }

    /// Makes a commit durable.
    ///
    /// # Errors
    /// Only what was injected into the backend.
    pub fn commit(&mut self, commit: &Commit) -> Result<(), BackendError> {
        for write in &commit.keys {
            match write {
                KeyFile::Create { epoch, sealed } => {
                    let key = StoredKey {
                        epoch: *epoch,
                        sealed: sealed.clone(),
                        tags: Vec::new(),
                    };
                    self.keys.insert(*epoch, key);
                }
                KeyFile::Append { epoch, tags } => {
                    if let Some(key) = self.keys.get_mut(epoch) {
                        key.tags.extend_from_slice(tags);
                    }
                }
                KeyFile::Erase { epoch } => {
                    self.keys.remove(epoch);
                }
            }
        }
        let batch = commit.batch();
        if batch.is_empty() {
            Ok(())
        } else {
            self.backend.commit(&batch)
        }
    }
}
