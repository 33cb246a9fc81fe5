//! Where the API's Unix socket lies.
//!
//! Normally `api.sock` in the data directory. A Unix socket's path has room for about a hundred
//! bytes; a longer one moves to a private directory under the runtime directory, and the file
//! `api.path` in the data directory says where, so that the command line finds it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use super::{read_private, write_private};
use crate::error::{Error, ErrorKind};

const SOCKET_FILE: &str = "api.sock";
const PATH_FILE: &str = "api.path";
/// `sun_path` is 104 bytes on some systems, 108 on Linux, each with a closing zero.
const MAX_PATH: usize = 103;

/// Where a client finds the socket of the node on `data_dir`; nothing says that one listens there.
///
/// # Errors
/// `DataDir` if `api.path` can't be read or is open to others.
pub fn find(data_dir: &Path) -> Result<PathBuf, Error> {
    match read_private(&data_dir.join(PATH_FILE)) {
        Ok(Some(bytes)) => Ok(PathBuf::from(OsStr::from_bytes(&bytes))),
        Ok(None) => Ok(data_dir.join(SOCKET_FILE)),
        // No directory there at all: the same as no node there.
        Err(_) if !data_dir.is_dir() => Ok(data_dir.join(SOCKET_FILE)),
        Err(error) => Err(error),
    }
}

/// Listens on the data directory's socket (0600), after removing what an earlier run left.
/// The caller's process holds the directory's lock: nobody else can be listening there.
///
/// # Errors
/// `DataDir` with the path and the system's reason.
pub fn listen(data_dir: &Path) -> Result<(UnixListener, PathBuf), Error> {
    let path = place(data_dir)?;
    let fail = |what: &str, error: std::io::Error| {
        Error::new(
            ErrorKind::DataDir,
            format!("can't {what} the API socket {}: {error}", path.display()),
            "give yourself write access to its directory, or name another data directory with --data DIR",
        )
        .with_source(error)
    };
    match fs::symlink_metadata(&path) {
        Ok(found) if found.file_type().is_socket() => {
            fs::remove_file(&path).map_err(|error| fail("replace", error))?;
        }
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::DataDir,
                format!("{} is in the way of the API socket", path.display()),
                "move that file away",
            ));
        }
        Err(_) => {}
    }
    let listener = UnixListener::bind(&path).map_err(|error| fail("listen on", error))?;
    // The directory is 0700 already: the moment before this line is not a gap.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
        .map_err(|error| fail("protect", error))?;
    Ok((listener, path))
}

/// Removes the socket at the end of a run; a failure leaves a stale one, which the next run removes.
pub fn remove(path: &Path) {
    let _ = fs::remove_file(path);
}

fn place(data_dir: &Path) -> Result<PathBuf, Error> {
    let usual = data_dir.join(SOCKET_FILE);
    let note = data_dir.join(PATH_FILE);
    if usual.as_os_str().len() <= MAX_PATH {
        let _ = fs::remove_file(&note);
        return Ok(usual);
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|dir| dir.is_dir());
    let short = short_place(data_dir, runtime.as_deref())?;
    write_private(&note, &short.clone().into_os_string().into_vec())?;
    Ok(short)
}

/// A private directory with a name that follows from the data directory's path, so that runs do
/// not leave one each.
fn short_place(data_dir: &Path, runtime: Option<&Path>) -> Result<PathBuf, Error> {
    let refuse = |directory: &Path, why: String| {
        Error::new(
            ErrorKind::DataDir,
            format!(
                "the data directory's path is too long for a socket, and {} can't stand in: {why}",
                directory.display()
            ),
            "name a data directory with a shorter path: --data DIR",
        )
    };
    let real = fs::canonicalize(data_dir).map_err(|error| refuse(data_dir, error.to_string()))?;
    let name = blake3::derive_key(
        "murmuration/v1/socket-directory",
        real.as_os_str().as_bytes(),
    );
    let name: String = name
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let parent = runtime.unwrap_or(Path::new("/tmp"));
    let directory = parent.join(format!("murmur-{name}"));
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(refuse(&directory, error.to_string()));
        }
        _ => {}
    }
    // Under /tmp somebody else may have made it first.
    let found =
        fs::symlink_metadata(&directory).map_err(|error| refuse(&directory, error.to_string()))?;
    let own = fs::metadata(&real)
        .map_err(|error| refuse(&real, error.to_string()))?
        .uid();
    if !found.is_dir() || found.uid() != own || found.mode() & 0o077 != 0 {
        return Err(refuse(
            &directory,
            "it belongs to somebody else or is open to others".to_owned(),
        ));
    }
    let path = directory.join(SOCKET_FILE);
    if path.as_os_str().len() > MAX_PATH {
        return Err(refuse(
            &directory,
            "its path is too long as well".to_owned(),
        ));
    }
    Ok(path)
}
