//! A store in memory, for simulations, tests and browsers.
//!
//! What was committed outlives the handle (a simulated restart opens the same store again). Faults can be injected. Nothing is encrypted here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Backend, BackendError, Batch, Space, Write};

/// A store in memory. Clones share it.
#[derive(Clone, Default)]
pub struct MemoryBackend {
    store: Arc<Mutex<Store>>,
}

#[derive(Default)]
struct Store {
    spaces: BTreeMap<Space, BTreeMap<Vec<u8>, Vec<u8>>>,
    commits: u64,
    hook: Option<Hook>,
    unreadable: bool,
}

type Hook = Box<dyn FnMut(u64, &Batch) -> Fault + Send>;

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It succeeds.
    None,
    /// It fails and changes nothing.
    Fail,
    /// It fails as from a full disk and changes nothing.
    Full,
    /// It takes effect, but the caller hears that it failed (a crash or an error after the write).
    Lost,
}

impl MemoryBackend {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `hook` (number of the commit from 0, batch) what shall happen to each further commit.
    pub fn inject(&self, hook: impl FnMut(u64, &Batch) -> Fault + Send + 'static) {
        self.lock().hook = Some(Box::new(hook));
    }

    /// Whether reading fails from now on.
    pub fn fail_reads(&self, fail: bool) {
        self.lock().unreadable = fail;
    }

    /// Ends the injection of faults into commits.
    pub fn heal(&self) {
        self.lock().hook = None;
    }

    /// Commits asked for so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// A store of its own with the same content: what a disk holds at the moment of a crash.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let spaces = self.lock().spaces.clone();
        Self {
            store: Arc::new(Mutex::new(Store {
                spaces,
                ..Store::default()
            })),
        }
    }

    fn readable(&self) -> Result<MutexGuard<'_, Store>, BackendError> {
        let store = self.lock();
        if store.unreadable {
            Err(BackendError::Injected)
        } else {
            Ok(store)
        }
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        // Every change below is applied by calls that cannot panic half-way, so a poisoned lock still guards a whole store.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for MemoryBackend {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        Ok(self
            .readable()?
            .spaces
            .get(&space)
            .and_then(|s| s.get(key))
            .cloned())
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), BackendError> {
        if let Some(records) = self.readable()?.spaces.get(&space) {
            for (key, value) in records
                .range(prefix.to_vec()..)
                .take_while(|(k, _)| k.starts_with(prefix))
            {
                visit(key, value);
            }
        }
        Ok(())
    }

    fn buckets(&self) -> Result<Vec<u32>, BackendError> {
        let bucket = |space: &Space| {
            if let Space::Bucket(b) = space {
                Some(*b)
            } else {
                None
            }
        };
        Ok(self.readable()?.spaces.keys().filter_map(bucket).collect())
    }

    fn commit(&self, batch: &Batch) -> Result<(), BackendError> {
        let mut store = self.lock();
        let number = store.commits;
        store.commits += 1;
        let fault = store
            .hook
            .as_mut()
            .map_or(Fault::None, |hook| hook(number, batch));
        if matches!(fault, Fault::None | Fault::Lost) {
            store.apply(batch);
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Full => Err(BackendError::Full {
                path: "memory".into(),
            }),
            Fault::Fail | Fault::Lost => Err(BackendError::Injected),
        }
    }

    fn size(&self) -> Result<u64, BackendError> {
        let records = |s: &BTreeMap<Vec<u8>, Vec<u8>>| {
            s.iter()
                .map(|(k, v)| (k.len() + v.len()) as u64)
                .sum::<u64>()
        };
        Ok(self.lock().spaces.values().map(records).sum())
    }
}

impl Store {
    fn apply(&mut self, batch: &Batch) {
        for write in &batch.writes {
            match write {
                Write::Put { space, key, value } => {
                    self.spaces
                        .entry(*space)
                        .or_default()
                        .insert(key.clone(), value.clone());
                }
                Write::Delete { space, key } => {
                    if let Some(records) = self.spaces.get_mut(space) {
                        records.remove(key);
                    }
                }
                Write::DropBucket(_) => {}
            }
        }
        // After the rest, as on disk.
        for write in &batch.writes {
            if let Write::DropBucket(bucket) = write {
                self.spaces.remove(&Space::Bucket(*bucket));
            }
        }
    }
}

impl std::fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemoryBackend(..)")
    }
}

#[cfg(test)]
mod tests;
