//! From the engine's errors to ours, which say what is wrong, where, and what to do.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use super::BackendError;

/// The engine's error, for a person.
pub(super) fn explain(dir: &Path, error: fjall::Error) -> BackendError {
    match error {
        fjall::Error::Locked => BackendError::Locked {
            path: dir.to_path_buf(),
        },
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            io(dir, source)
        }
        fjall::Error::InvalidVersion(_) => corrupt(
            dir,
            "the engine's version file is damaged or from another version",
        ),
        fjall::Error::JournalRecovery(e) => {
            corrupt(dir, &format!("its journal does not read: {e:?}"))
        }
        fjall::Error::Poisoned => io(dir, std::io::Error::other("an earlier write failed")),
        other => corrupt(dir, &format!("{other:?}")),
    }
}

/// The system's error on a file of the store.
pub(super) fn io(dir: &Path, source: std::io::Error) -> BackendError {
    match source.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            unwritable(dir.to_path_buf(), source)
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BackendError::Full {
            path: dir.to_path_buf(),
        },
        // Short files and impossible values in them come up as these.
        ErrorKind::UnexpectedEof
        | ErrorKind::InvalidData
        | ErrorKind::NotFound
        | ErrorKind::InvalidInput => corrupt(dir, &source.to_string()),
        _ => BackendError::Io {
            path: dir.to_path_buf(),
            source,
        },
    }
}

/// The directory or file cannot be made or written.
pub(super) fn unwritable(path: PathBuf, source: std::io::Error) -> BackendError {
    match source.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => BackendError::Full { path },
        _ => BackendError::Unwritable { path, source },
    }
}

/// A file of the store is damaged.
pub(super) fn corrupt(dir: &Path, detail: &str) -> BackendError {
    BackendError::Corrupt {
        path: dir.to_path_buf(),
        detail: detail.to_owned(),
    }
}
