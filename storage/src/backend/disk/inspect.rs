//! A look at the names in the engine's directory before it opens.
//!
//! The engine takes its own names for granted and panics on others while it holds a lock, which then aborts the process. So they are checked here.

use std::{fs, io, path::Path};

use super::{BackendError, errors};

/// Whether the names in the engine's directory are ones it can read. A directory that is not there yet is fine.
pub(super) fn names(dir: &Path, store: &Path) -> Result<(), BackendError> {
    if !exists(dir, &store.join("version"))? {
        return Ok(());
    }
    let keyspaces = store.join("keyspaces");
    if !keyspaces.is_dir() {
        return Err(errors::corrupt(
            dir,
            "its directory store/keyspaces is missing",
        ));
    }
    for entry in read(dir, &keyspaces)? {
        let name = entry.file_name();
        let numbered = name
            .to_str()
            .is_some_and(|name| name.parse::<u64>().is_ok());
        if entry.path().is_dir() && !numbered {
            return Err(stray(dir, &entry));
        }
    }
    for entry in read(dir, store)? {
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(stray(dir, &entry));
        };
        if let Some((number, extension)) = name.rsplit_once('.')
            && extension.eq_ignore_ascii_case("jnl")
            && (extension != "jnl" || number.parse::<u64>().is_err() || !entry.path().is_file())
        {
            return Err(stray(dir, &entry));
        }
    }
    Ok(())
}

fn exists(dir: &Path, path: &Path) -> Result<bool, BackendError> {
    path.try_exists().map_err(|e| errors::io(dir, e))
}

fn read(dir: &Path, path: &Path) -> Result<Vec<fs::DirEntry>, BackendError> {
    fs::read_dir(path)
        .and_then(Iterator::collect::<io::Result<Vec<_>>>)
        .map_err(|e| errors::io(dir, e))
}

fn stray(dir: &Path, entry: &fs::DirEntry) -> BackendError {
    errors::corrupt(
        dir,
        &format!("{} does not belong there", entry.path().display()),
    )
}
