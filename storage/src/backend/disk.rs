//! The store on disk: fjall, one keyspace for the node's state and one per expiry bucket, which is dropped whole.
//!
//! A commit returns after `fsync`. Everything is set for many small stores in one process: small caches, small write buffers, one worker.
//! Directory layout, sizes and what a crash leaves: SPEC.md, "Disk".

mod errors;
mod inspect;
mod repair;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Backend, BackendError, Batch, Space, Write};

/// Format of the directory, in its file `FORMAT`.
pub const FORMAT: u32 = 1;

/// Cache of blocks read from tables, bytes.
const CACHE: u64 = 256 << 10;
/// A keyspace's write buffer, bytes: what a bucket takes in memory at most before it goes to a table.
const WRITE_BUFFER: u64 = 512 << 10;
/// Sealed journals at most, bytes; fjall takes no less.
const JOURNALS: u64 = 64 << 20;
/// Table files kept open at most.
const FILES: usize = 32;

const STATE: &str = "state";
const BUCKET: &str = "bucket-";
const FORMAT_FILE: &str = "FORMAT";
const STORE_DIR: &str = "store";

/// A store on disk. Clones share it; when the last one goes, the lock on the directory goes too.
#[derive(Clone)]
pub struct DiskBackend {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    /// None after a failed write, until the store has been opened again.
    engine: Mutex<Option<Engine>>,
    salvaged: bool,
}

#[derive(Clone)]
struct Engine {
    database: Database,
    state: Keyspace,
    buckets: Arc<Mutex<BTreeMap<u32, Keyspace>>>,
}

impl DiskBackend {
    /// Opens the store in `dir`, making both if they are not there.
    ///
    /// # Errors
    /// [`BackendError::Unwritable`], [`BackendError::NewerFormat`], [`BackendError::Locked`], [`BackendError::Corrupt`],
    /// [`BackendError::Full`] or [`BackendError::Io`].
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, BackendError> {
        let dir = dir.as_ref().to_path_buf();
        prepare(&dir)?;
        let (engine, salvaged) = Engine::open_or_repair(&dir)?;
        Ok(Self {
            shared: Arc::new(Shared {
                dir,
                engine: Mutex::new(Some(engine)),
                salvaged,
            }),
        })
    }

    /// Whether opening had to cut a torn last batch off the journal: it was never acknowledged, unless the disk damaged it later.
    #[must_use]
    pub fn salvaged(&self) -> bool {
        self.shared.salvaged
    }

    /// The store, opened again if a write failed before: fjall writes nothing more after a failure, for good reason.
    fn database(&self) -> Result<Engine, BackendError> {
        let mut engine = lock(&self.shared.engine);
        match &*engine {
            Some(engine) => Ok(engine.clone()),
            None => {
                let (again, _) = Engine::open_or_repair(&self.shared.dir)?;
                *engine = Some(again.clone());
                Ok(again)
            }
        }
    }

    fn error(&self, error: fjall::Error) -> BackendError {
        errors::explain(&self.shared.dir, error)
    }

    /// After a failed write. Readers that still hold the old handle keep the lock until they are done.
    fn close(&self) {
        *lock(&self.shared.engine) = None;
    }
}

impl Backend for DiskBackend {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
        let Some(keyspace) = self.database()?.existing(space) else {
            return Ok(None);
        };
        Ok(keyspace
            .get(key)
            .map_err(|e| self.error(e))?
            .map(|value| value.to_vec()))
    }

    fn scan(
        &self,
        space: Space,
        prefix: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]),
    ) -> Result<(), BackendError> {
        let Some(keyspace) = self.database()?.existing(space) else {
            return Ok(());
        };
        for guard in keyspace.prefix(prefix) {
            let (key, value) = guard.into_inner().map_err(|e| self.error(e))?;
            visit(&key, &value);
        }
        Ok(())
    }

    fn buckets(&self) -> Result<Vec<u32>, BackendError> {
        Ok(lock(&self.database()?.buckets).keys().copied().collect())
    }

    fn commit(&self, batch: &Batch) -> Result<(), BackendError> {
        let open = self.database()?;
        open.commit(batch).map_err(|e| {
            self.close();
            self.error(e)
        })
    }

    fn size(&self) -> Result<u64, BackendError> {
        self.database()?
            .database
            .disk_space()
            .map_err(|e| self.error(e))
    }
}

impl Engine {
    fn open_or_repair(dir: &Path) -> Result<(Self, bool), BackendError> {
        match Self::open(dir) {
            Err(torn @ BackendError::Corrupt { .. }) => {
                match repair::cut_last_batch(&dir.join(STORE_DIR)) {
                    Some(cut) => match Self::open(dir) {
                        Ok(open) => Ok((open, true)),
                        Err(_) => {
                            cut.undo();
                            Err(torn)
                        }
                    },
                    None => Err(torn),
                }
            }
            other => Ok((other?, false)),
        }
    }

    fn open(dir: &Path) -> Result<Self, BackendError> {
        let store = dir.join(STORE_DIR);
        inspect::names(dir, &store)?;
        // The engine asserts some properties of its directory while it opens; a damaged one must not take the process down.
        let opened = std::panic::catch_unwind(|| {
            let database = Database::builder(&store)
                .cache_size(CACHE)
                .worker_threads(1)
                .max_cached_files(Some(FILES))
                .max_journaling_size(JOURNALS)
                .open()?;
            let state = database.keyspace(STATE, options)?;
            let mut buckets = BTreeMap::new();
            for name in database.list_keyspace_names() {
                if let Some(bucket) = name
                    .strip_prefix(BUCKET)
                    .and_then(|number| number.parse().ok())
                {
                    buckets.insert(bucket, database.keyspace(&name, options)?);
                }
            }
            Ok(Self {
                database,
                state,
                buckets: Arc::new(Mutex::new(buckets)),
            })
        });
        match opened {
            Ok(opened) => opened.map_err(|e| errors::explain(dir, e)),
            Err(_) => Err(errors::corrupt(dir, "its files contradict each other")),
        }
    }

    fn existing(&self, space: Space) -> Option<Keyspace> {
        match space {
            Space::State => Some(self.state.clone()),
            Space::Bucket(bucket) => lock(&self.buckets).get(&bucket).cloned(),
        }
    }

    fn keyspace(&self, space: Space) -> fjall::Result<Keyspace> {
        let Space::Bucket(bucket) = space else {
            return Ok(self.state.clone());
        };
        let mut buckets = lock(&self.buckets);
        if let Some(keyspace) = buckets.get(&bucket) {
            return Ok(keyspace.clone());
        }
        let keyspace = self
            .database
            .keyspace(&format!("{BUCKET}{bucket}"), options)?;
        buckets.insert(bucket, keyspace.clone());
        Ok(keyspace)
    }

    fn commit(&self, batch: &Batch) -> fjall::Result<()> {
        let mut changes = self.database.batch().durability(Some(PersistMode::SyncAll));
        for write in &batch.writes {
            match write {
                Write::Put { space, key, value } => {
                    let keyspace = self.keyspace(*space)?;
                    changes.insert(&keyspace, key.as_slice(), value.as_slice());
                }
                Write::Delete { space, key } => {
                    if let Some(keyspace) = self.existing(*space) {
                        changes.remove(&keyspace, key.as_slice());
                    }
                }
                Write::DropBucket(_) => {}
            }
        }
        changes.commit()?;
        for write in &batch.writes {
            if let Write::DropBucket(bucket) = write {
                let keyspace = lock(&self.buckets).remove(bucket);
                if let Some(keyspace) = keyspace {
                    self.database.delete_keyspace(keyspace)?;
                }
            }
        }
        Ok(())
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(WRITE_BUFFER)
}

/// Makes the directory, readable to this user only, and checks or writes its format.
fn prepare(dir: &Path) -> Result<(), BackendError> {
    let unwritable = |path: &Path| {
        let path = path.to_path_buf();
        move |source| errors::unwritable(path, source)
    };
    make_private(dir).map_err(unwritable(dir))?;
    let file = dir.join(FORMAT_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(FORMAT) => {}
            Ok(found) if found > FORMAT => {
                return Err(BackendError::NewerFormat {
                    path: dir.to_path_buf(),
                    found,
                    known: FORMAT,
                });
            }
            _ => {
                return Err(errors::corrupt(
                    dir,
                    "its file FORMAT holds no format number",
                ));
            }
        },
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            if dir.join(STORE_DIR).exists() {
                return Err(errors::corrupt(dir, "its file FORMAT is missing"));
            }
            write_format(dir, &file).map_err(unwritable(dir))?;
        }
        Err(source) => return Err(BackendError::Unwritable { path: file, source }),
    }
    Ok(())
}

fn make_private(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Under another name first, so that a crash leaves no half a file.
fn write_format(dir: &Path, file: &Path) -> std::io::Result<()> {
    let half = dir.join("FORMAT.new");
    fs::write(&half, format!("{FORMAT}\n"))?;
    fs::File::open(&half)?.sync_all()?;
    fs::rename(&half, file)?;
    fs::File::open(dir)?.sync_all()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps below are changed by single calls, so a thread that died here left nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for DiskBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskBackend")
            .field("dir", &self.shared.dir)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
