//! The data directory: where a node keeps its keys and its store, and who may use it.
//!
//! | file | what |
//! |---|---|
//! | `format` | the layout's version, one decimal number |
//! | `lock` | held by the one process that uses the directory; holds its process id |
//! | `vault.key` | 32 random bytes, 0600: encrypts identity and state at rest |
//! | `peer` | the peer id of the node whose store this is: a store without that identity is damaged, not new |
//! | `api.sock` | the API's Unix socket, 0600, while a node runs |
//! | `api.path` | where the socket is instead, if the directory's path is too long for one |
//! | `murmur.toml` | optional settings, see [`crate::config`] |
//!
//! The directory is 0700. What else lies in it belongs to the store and to the node's core; they
//! write through [`write_private`] or their own backend, never around the lock.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::config;
use crate::error::{Error, ErrorKind};

mod files;
pub mod socket;

pub use files::{read_private, write_private};

/// The layout this program writes and reads.
pub const FORMAT: u32 = 1;

/// The file that holds the node's peer id once it has one.
pub const PEER_FILE: &str = "peer";

const FORMAT_FILE: &str = "format";
const LOCK_FILE: &str = "lock";
const KEY_FILE: &str = "vault.key";
const KEY_LEN: usize = 32;

/// A data directory that this process holds alone until it drops this.
pub struct DataDir {
    path: PathBuf,
    vault_key: Zeroizing<[u8; KEY_LEN]>,
    // Held for its lock only: the kernel releases it when the process ends, however it ends.
    _lock: File,
}

/// The directory named by `flag` (`--data` or MURMUR_DATA), or the user's default one.
///
/// # Errors
/// `Usage` if no directory is named and the system tells no home directory, or if the name is empty.
pub fn locate(flag: Option<PathBuf>) -> Result<PathBuf, Error> {
    if let Some(path) = flag {
        if path.as_os_str().is_empty() {
            return Err(Error::new(
                ErrorKind::Usage,
                "--data is empty",
                "name a directory: --data DIR",
            ));
        }
        // Absolute, because the socket's path is shown to other programs.
        return std::path::absolute(&path).map_err(|error| unusable(&path, error));
    }
    etcetera::choose_base_strategy()
        .map(|dirs| dirs.data_dir().join("murmuration"))
        .map_err(|error| {
            Error::new(
                ErrorKind::Usage,
                "this user has no home directory",
                "name a data directory: --data DIR",
            )
            .with_source(error)
        })
}

impl DataDir {
    /// Opens the directory for this process alone; makes it, its key and its format file if they
    /// are not there yet. `rng` makes the 32-byte vault key of a new directory.
    ///
    /// # Errors
    /// `DataDir`, each with its own fix: not a directory, not writable, holds something else, in
    /// use by another process (with its id), written by a newer version, key missing, of a wrong
    /// length or readable by other users.
    pub fn open(path: impl Into<PathBuf>, rng: &mut impl CryptoRng) -> Result<Self, Error> {
        let path = path.into();
        make_directory(&path)?;
        refuse_foreign(&path)?;
        let lock = take_lock(&path)?;
        let known = check_format(&path)?;
        close_to_others(&path)?;
        let vault_key = match read_key(&path)? {
            Some(key) => key,
            None if known => return Err(key_is_gone(&path)),
            None => make_key(&path, rng)?,
        };
        // Last, so that a directory with a format always has its key.
        if !known {
            write_private(&path.join(FORMAT_FILE), format!("{FORMAT}\n").as_bytes())?;
        }
        Ok(Self {
            path,
            vault_key,
            _lock: lock,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key that encrypts what lies here: 32 bytes.
    #[must_use]
    pub fn vault_key(&self) -> &[u8; KEY_LEN] {
        &self.vault_key
    }
}

impl std::fmt::Debug for DataDir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataDir")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

fn make_directory(path: &Path) -> Result<(), Error> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::DataDir,
                format!("{} is not a directory", path.display()),
                "name another directory with --data DIR",
            ));
        }
        Err(_) => {}
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| {
            Error::new(
                ErrorKind::DataDir,
                format!("can't make the data directory {}: {error}", path.display()),
                "name a directory you may write to: --data DIR",
            )
            .with_source(error)
        })
}

/// A directory without a format file is taken over only if nothing of another kind lies in it:
/// `--data ~` must not turn a home directory into ours.
fn refuse_foreign(path: &Path) -> Result<(), Error> {
    if path.join(FORMAT_FILE).exists() {
        return Ok(());
    }
    let ours = [LOCK_FILE, KEY_FILE, config::FILE_NAME];
    let entries = fs::read_dir(path).map_err(|error| unusable(path, error))?;
    for entry in entries {
        let name = entry.map_err(|error| unusable(path, error))?.file_name();
        let is_ours = name
            .to_str()
            .is_some_and(|name| ours.contains(&name) || files::is_leftover(name));
        if !is_ours {
            return Err(Error::new(
                ErrorKind::DataDir,
                format!(
                    "{} holds other files ({}), so it is not a data directory",
                    path.display(),
                    name.display()
                ),
                "name an empty or a new directory with --data DIR",
            ));
        }
    }
    Ok(())
}

fn take_lock(path: &Path) -> Result<File, Error> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join(LOCK_FILE))
        .map_err(|error| unusable(path, error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(path, &mut file)),
        Err(TryLockError::Error(error)) => return Err(unusable(path, error)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(|error| unusable(path, error))?;
    Ok(file)
}

fn in_use(path: &Path, lock: &mut File) -> Error {
    let mut text = String::new();
    let pid = lock
        .take(32)
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| text.trim().parse::<u32>().ok());
    let by = pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    );
    Error::new(
        ErrorKind::DataDir,
        format!("the data directory {} is in use by {by}", path.display()),
        "stop that node, or give this one its own directory with --data DIR",
    )
}

/// Whether the directory is one of ours already.
fn check_format(path: &Path) -> Result<bool, Error> {
    let file = path.join(FORMAT_FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(unusable(path, error)),
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found == FORMAT => Ok(true),
        Ok(found) if found > FORMAT => Err(Error::new(
            ErrorKind::DataDir,
            format!(
                "the data directory {} has format {found}; this program knows formats up to {FORMAT}",
                path.display()
            ),
            "use the newer murmur that wrote it, or another directory with --data DIR",
        )),
        _ => Err(Error::new(
            ErrorKind::DataDir,
            format!("{} doesn't hold a format number", file.display()),
            "restore the directory from a backup, or use another one with --data DIR",
        )),
    }
}

fn close_to_others(path: &Path) -> Result<(), Error> {
    let found = fs::metadata(path).map_err(|error| unusable(path, error))?;
    if found.mode() & 0o077 == 0 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(|error| {
        Error::new(
            ErrorKind::DataDir,
            format!(
                "other users can look into {} and it can't be closed: {error}",
                path.display()
            ),
            format!("chmod 700 {}", path.display()),
        )
        .with_source(error)
    })
}

fn read_key(path: &Path) -> Result<Option<Zeroizing<[u8; KEY_LEN]>>, Error> {
    let file = path.join(KEY_FILE);
    let Some(bytes) = read_private(&file)? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    let mut key = Zeroizing::new([0; KEY_LEN]);
    if bytes.len() != KEY_LEN {
        return Err(Error::new(
            ErrorKind::DataDir,
            format!(
                "{} has {} bytes, not {KEY_LEN}",
                file.display(),
                bytes.len()
            ),
            "restore the file from a backup; without it nothing in the directory can be read",
        ));
    }
    key.copy_from_slice(&bytes);
    Ok(Some(key))
}

fn make_key(path: &Path, rng: &mut impl CryptoRng) -> Result<Zeroizing<[u8; KEY_LEN]>, Error> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    rng.fill_bytes(&mut key[..]);
    write_private(&path.join(KEY_FILE), &key[..])?;
    Ok(key)
}

fn key_is_gone(path: &Path) -> Error {
    Error::new(
        ErrorKind::DataDir,
        format!(
            "{} is missing, so nothing in the directory can be read",
            path.join(KEY_FILE).display()
        ),
        "restore the file from a backup, or start anew in another directory with --data DIR",
    )
}

fn unusable(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::DataDir,
        format!("can't use the data directory {}: {error}", path.display()),
        "give yourself read and write access to it, or name another one with --data DIR",
    )
    .with_source(error)
}

#[cfg(test)]
mod tests;
