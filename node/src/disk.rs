//! The node's disk: the store of sealed state and mailbox entries, and one file per epoch key.
//!
//! An epoch's file holds the sealed mix key followed by the replay tags of every packet taken in
//! under it, so that a key never outlives what guards it, nor the other way round. The file is
//! appended and synced before a packet leaves the pool and is unlinked with its key; see the
//! chapter "Epoch files" of `node/SPEC.md`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use storage::backend::{Backend, BackendError};

use crate::core::{Commit, KeyFile, StoredKey};
use tail::Tail;

mod tail;

const MAGIC: [u8; 4] = *b"MKF1";
const TAG_LEN: usize = 16;
/// Bytes before the sealed key: magic 4, epoch 4, its length 2.
const HEAD_LEN: u64 = 10;
/// Longest sealed key accepted when reading; a real one is far shorter.
const MAX_SEALED: usize = 1024;

/// Where commits go. Clones share the open files.
#[derive(Clone, Debug)]
pub struct Disk<B> {
    backend: B,
    keys: Arc<Mutex<KeyFiles>>,
}

#[derive(Debug)]
struct KeyFiles {
    dir: PathBuf,
    open: BTreeMap<u32, Tail<File>>,
}

impl<B: Backend> Disk<B> {
    /// Uses `backend` for state and mailbox and `dir` for the epochs' files; makes `dir`.
    pub fn new(backend: B, dir: PathBuf) -> Result<Self, BackendError> {
        fs::create_dir_all(&dir).map_err(|cause| failed("create", &dir, &cause))?;
        Ok(Self {
            backend,
            keys: Arc::new(Mutex::new(KeyFiles {
                dir,
                open: BTreeMap::new(),
            })),
        })
    }

    /// Writes a commit; when it returns `Ok`, all of it survives a crash. Blocks on the disk.
    ///
    /// Keys and tags go first: a state that speaks of a key is never on disk without it. After an error the commit holds what
    /// is left to do, so that the same tags are not appended once for each try.
    pub fn commit(&self, commit: &mut Commit) -> Result<(), BackendError> {
        let mut files = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let mut done = 0;
        let written = commit.keys.iter().try_for_each(|write| {
            files.apply(write)?;
            done += 1;
            Ok(())
        });
        drop(files);
        commit.keys.drain(..done);
        written?;
        let batch = commit.batch();
        if batch.is_empty() {
            Ok(())
        } else {
            self.backend.commit(&batch)
        }
    }

    /// Reads back every epoch key with its tags. A torn last tag was never acted upon and is cut.
    pub fn load_keys(&self) -> Result<Vec<StoredKey>, BackendError> {
        let files = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = files.dir.clone();
        drop(files);
        let listing = fs::read_dir(&dir).map_err(|cause| failed("read", &dir, &cause))?;
        let mut keys = Vec::new();
        for entry in listing {
            let path = entry.map_err(|cause| failed("read", &dir, &cause))?.path();
            match path.extension().and_then(|ext| ext.to_str()) {
                Some("epoch") => keys.push(load(&path)?),
                // Left by a crash between write and rename, or while erasing: not in effect.
                Some("new") => {
                    fs::remove_file(&path).map_err(|cause| failed("remove", &path, &cause))?;
                }
                _ => {}
            }
        }
        keys.sort_by_key(|key| key.epoch);
        Ok(keys)
    }
}

impl KeyFiles {
    fn apply(&mut self, write: &KeyFile) -> Result<(), BackendError> {
        match write {
            KeyFile::Create { epoch, sealed } => self.create(*epoch, sealed),
            KeyFile::Append { epoch, tags } => self.append(*epoch, tags),
            KeyFile::Erase { epoch } => self.erase(*epoch),
        }
    }

    fn create(&mut self, epoch: u32, sealed: &[u8]) -> Result<(), BackendError> {
        let path = self.path(epoch);
        let fresh = path.with_extension("new");
        let len = u16::try_from(sealed.len()).unwrap_or(u16::MAX);
        let write = || -> std::io::Result<File> {
            let mut file = private()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&fresh)?;
            file.write_all(&MAGIC)?;
            file.write_all(&epoch.to_le_bytes())?;
            file.write_all(&len.to_le_bytes())?;
            file.write_all(sealed)?;
            file.sync_all()?;
            fs::rename(&fresh, &path)?;
            File::open(&self.dir)?.sync_all()?;
            private().read(true).append(true).open(&path)
        };
        let file = write().map_err(|cause| failed("write", &path, &cause))?;
        let end = HEAD_LEN + u64::from(len);
        self.open.insert(epoch, Tail::new(file, end));
        Ok(())
    }

    fn append(&mut self, epoch: u32, tags: &[[u8; TAG_LEN]]) -> Result<(), BackendError> {
        let path = self.path(epoch);
        if let std::collections::btree_map::Entry::Vacant(slot) = self.open.entry(epoch) {
            let file = match private().read(true).append(true).open(&path) {
                // The key was erased meanwhile; its tags guard nothing any more.
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                file => file.map_err(|cause| failed("open", &path, &cause))?,
            };
            let end = whole(&file).map_err(|cause| failed("read", &path, &cause))?;
            slot.insert(Tail::new(file, end));
        }
        let Some(open) = self.open.get_mut(&epoch) else {
            return Ok(());
        };
        open.append(tags.as_flattened())
            .map_err(|cause| failed("append to", &path, &cause))
    }

    fn erase(&mut self, epoch: u32) -> Result<(), BackendError> {
        self.open.remove(&epoch);
        let path = self.path(epoch);
        let gone = path.with_extension("new");
        // Renamed first: a crash on the way leaves a name that the next start removes. Overwriting
        // the sealed key is a courtesy on disks that write in place; unlinking it and the vault's
        // seal are what the promise rests on.
        let wipe = || -> std::io::Result<()> {
            match fs::rename(&path, &gone) {
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
            File::open(&self.dir)?.sync_all()?;
            let len = fs::metadata(&gone)?.len().min(4096);
            let mut file = OpenOptions::new().write(true).open(&gone)?;
            file.write_all(&vec![0; usize::try_from(len).unwrap_or(0)])?;
            file.sync_data()?;
            fs::remove_file(&gone)?;
            File::open(&self.dir)?.sync_all()
        };
        match wipe() {
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(|cause| failed("erase", &path, &cause)),
        }
    }

    fn path(&self, epoch: u32) -> PathBuf {
        self.dir.join(format!("{epoch:010}.epoch"))
    }
}

/// Where the last whole tag of a file ends.
fn whole(file: &File) -> std::io::Result<u64> {
    use std::os::unix::fs::FileExt;
    let mut head = [0; 10];
    file.read_exact_at(&mut head, 0)?;
    let start = HEAD_LEN + u64::from(u16::from_le_bytes([head[8], head[9]]));
    let tags = file.metadata()?.len().saturating_sub(start);
    Ok(start + tags / TAG_LEN as u64 * TAG_LEN as u64)
}

/// Reads one file; one that is no key file is an error that names it.
fn load(path: &Path) -> Result<StoredKey, BackendError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|mut file| file.read_to_end(&mut bytes))
        .map_err(|cause| failed("read", path, &cause))?;
    parse(&bytes).ok_or_else(|| BackendError::Corrupt {
        path: path.to_owned(),
        detail: "not an epoch file of this version".to_owned(),
    })
}

fn parse(bytes: &[u8]) -> Option<StoredKey> {
    let rest = bytes.strip_prefix(&MAGIC)?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let len = usize::from(u16::from_le_bytes(*len));
    if len > MAX_SEALED {
        return None;
    }
    let (sealed, tags) = rest.split_at_checked(len)?;
    let tags = tags.as_chunks::<TAG_LEN>().0.to_vec();
    Some(StoredKey {
        epoch: u32::from_le_bytes(*epoch),
        sealed: sealed.to_vec(),
        tags,
    })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn failed(what: &'static str, path: &Path, cause: &std::io::Error) -> BackendError {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};
    let source = std::io::Error::new(cause.kind(), format!("{what}: {cause}"));
    let path = path.to_owned();
    match cause.kind() {
        StorageFull => BackendError::Full { path },
        PermissionDenied | ReadOnlyFilesystem => BackendError::Unwritable { path, source },
        _ => BackendError::Io { path, source },
    }
}

#[cfg(test)]
mod tests;
