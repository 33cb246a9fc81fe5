//! Private files of the data directory: 0600, replaced whole or not at all, refused when others
//! can read them.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind};

const TEMPORARY: &str = ".new";

/// Writes `bytes` to `path` so that after a crash either the old or the new content is there,
/// whole: a temporary file (0600) beside it, synced, renamed over it, and the directory synced.
///
/// # Errors
/// `DataDir` with the system's reason.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let temporary = temporary(path);
    let write = || {
        // A leftover of a crash may have been made under another mode.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => {
                File::open(directory)?.sync_all()
            }
            _ => File::open(".")?.sync_all(),
        }
    };
    write().map_err(|error| {
        Error::new(
            ErrorKind::DataDir,
            format!("can't write {}: {error}", path.display()),
            "free space on the disk and give yourself write access, or name another directory with --data DIR",
        )
        .with_source(error)
    })
}

/// The content of a private file, or `None` if there is none.
///
/// # Errors
/// `DataDir` when other users can read or write it, and with the system's reason otherwise.
pub fn read_private(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let unreadable = |error: std::io::Error| {
        Error::new(
            ErrorKind::DataDir,
            format!("can't read {}: {error}", path.display()),
            "give yourself read access to it, or name another directory with --data DIR",
        )
        .with_source(error)
    };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    // The mode of what was opened, not of what the path may name a moment later.
    let mode = file.metadata().map_err(unreadable)?.mode();
    if mode & 0o077 != 0 {
        return Err(Error::new(
            ErrorKind::DataDir,
            format!(
                "{} is open to other users (mode {:o})",
                path.display(),
                mode & 0o777
            ),
            format!("chmod 600 {}", path.display()),
        ));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(Some(bytes))
}

/// Whether `name` is a temporary file that a crash left behind.
pub(super) fn is_leftover(name: &str) -> bool {
    name.ends_with(TEMPORARY)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(TEMPORARY);
    PathBuf::from(name)
}
