//! Each error a person may meet is its own variant, names the place and says what to do.

use super::*;

fn message(error: &BackendError, dir: &Path, advice: &str) {
    let text = error.to_string();
    assert!(text.contains(&dir.display().to_string()), "{text}");
    assert!(text.contains(advice), "{text}");
}

#[test]
fn a_directory_that_cannot_be_made() {
    let dir = tempfile::tempdir().unwrap();
    // A file in the way: refused for every user, root too.
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = DiskBackend::open(&path).unwrap_err();
        assert!(
            matches!(error, BackendError::Unwritable { .. }),
            "{error:?}"
        );
        message(&error, &path, "choose another data directory");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "x");
}

#[cfg(unix)]
#[test]
fn a_directory_without_the_right_to_write() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let locked = dir.path().join("read-only");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(locked.join("probe"), "").is_ok() {
        // Rights don't bind this user (root): the test above covers the variant.
        return;
    }
    let error = DiskBackend::open(&locked).unwrap_err();
    assert!(
        matches!(error, BackendError::Unwritable { .. }),
        "{error:?}"
    );
    message(&error, &locked, "right to write");
}

#[test]
fn a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(DiskBackend::open(dir.path()).unwrap());
    fs::write(dir.path().join(FORMAT_FILE), "2\n").unwrap();
    let error = DiskBackend::open(dir.path()).unwrap_err();
    assert!(
        matches!(
            error,
            BackendError::NewerFormat {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
    message(&error, dir.path(), "update the program");
    assert_eq!(
        fs::read_to_string(dir.path().join(FORMAT_FILE)).unwrap(),
        "2\n"
    );
}

#[test]
fn a_store_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _first = DiskBackend::open(dir.path()).unwrap();
    let error = DiskBackend::open(dir.path()).unwrap_err();
    assert!(matches!(error, BackendError::Locked { .. }), "{error:?}");
    message(&error, dir.path(), "another process");
}

#[test]
fn damaged_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = DiskBackend::open(dir.path()).unwrap();
    store
        .commit(&batch(&[
            (Space::State, "k", "v"),
            (Space::Bucket(1), "k", "v"),
        ]))
        .unwrap();
    drop(store);
    let store_dir = dir.path().join(STORE_DIR);
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damages: [Damage<'_>; 7] = [
        ("FORMAT", &|d| {
            fs::write(d.join(FORMAT_FILE), "what").unwrap()
        }),
        ("FORMAT gone", &|d| {
            fs::remove_file(d.join(FORMAT_FILE)).unwrap()
        }),
        ("version", &|d| {
            fs::write(d.join(STORE_DIR).join("version"), "xxxxxxxx").unwrap()
        }),
        ("version cut", &|d| {
            fs::write(d.join(STORE_DIR).join("version"), "").unwrap()
        }),
        ("stray name", &|d| {
            fs::create_dir(d.join(STORE_DIR).join("keyspaces/stray")).unwrap()
        }),
        ("meta", &|d| {
            fs::write(d.join(STORE_DIR).join("keyspaces/0/current"), "garbage").unwrap()
        }),
        ("no keyspaces", &|d| {
            fs::remove_dir_all(d.join(STORE_DIR).join("keyspaces")).unwrap()
        }),
    ];
    assert!(store_dir.join("keyspaces/0/current").exists());
    for (name, damage) in damages {
        let other = tempfile::tempdir().unwrap();
        copy(dir.path(), other.path());
        damage(other.path());
        match DiskBackend::open(other.path()) {
            Err(error) => {
                assert!(
                    matches!(error, BackendError::Corrupt { .. }),
                    "{name}: {error:?}"
                );
                message(&error, other.path(), "backup");
            }
            Ok(_) => panic!("{name} passed for whole"),
        }
    }
}

#[test]
fn no_space_left_and_other_failures_are_told_apart() {
    use std::io::{Error, ErrorKind};
    let dir = Path::new("/somewhere");
    let explain = |kind| errors::explain(dir, fjall::Error::Io(Error::from(kind)));
    assert!(matches!(
        explain(ErrorKind::StorageFull),
        BackendError::Full { .. }
    ));
    assert!(matches!(
        explain(ErrorKind::PermissionDenied),
        BackendError::Unwritable { .. }
    ));
    assert!(matches!(
        explain(ErrorKind::TimedOut),
        BackendError::Io { .. }
    ));
    assert!(matches!(
        errors::explain(dir, fjall::Error::Poisoned),
        BackendError::Io { .. }
    ));
    message(&explain(ErrorKind::StorageFull), dir, "free some");
}
