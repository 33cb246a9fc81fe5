//! Each way a data directory can be wrong, with its message and its fix.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tempfile::TempDir;

use super::*;

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

fn refusal(path: &Path) -> Error {
    let error = DataDir::open(path, &mut rng(9)).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::DataDir);
    assert!(!error.fix().is_empty());
    error
}

#[test]
fn a_new_directory_is_private_and_keeps_its_key() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("a/b");
    let first = DataDir::open(&path, &mut rng(1)).unwrap();
    let key = *first.vault_key();
    assert_ne!(key, [0; 32]);
    assert_eq!(mode(&path), 0o700);
    for file in [KEY_FILE, FORMAT_FILE, LOCK_FILE] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
    assert_eq!(fs::read(path.join(KEY_FILE)).unwrap(), key);
    drop(first);
    assert_eq!(*DataDir::open(&path, &mut rng(2)).unwrap().vault_key(), key);
}

#[test]
fn two_users_of_one_directory_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let held = DataDir::open(dir.path(), &mut rng(1)).unwrap();
    let error = refusal(dir.path());
    assert!(
        error
            .message()
            .contains(&format!("in use by process {}", std::process::id())),
        "{error}"
    );
    drop(held);
    DataDir::open(dir.path(), &mut rng(1)).unwrap();
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    drop(DataDir::open(dir.path(), &mut rng(1)).unwrap());
    let format = dir.path().join(FORMAT_FILE);
    fs::write(&format, "2\n").unwrap();
    let error = refusal(dir.path());
    assert!(error.message().contains("has format 2"), "{error}");
    assert!(error.fix().contains("newer murmur"), "{}", error.fix());
    assert_eq!(fs::read_to_string(&format).unwrap(), "2\n");
    for nonsense in ["", "one", "-1", "0"] {
        fs::write(&format, nonsense).unwrap();
        assert!(
            refusal(dir.path())
                .message()
                .contains("doesn't hold a format number"),
            "{nonsense}"
        );
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = TempDir::new().unwrap();
    drop(DataDir::open(dir.path(), &mut rng(1)).unwrap());
    let key = dir.path().join(KEY_FILE);
    for open in [0o644, 0o640, 0o602] {
        fs::set_permissions(&key, fs::Permissions::from_mode(open)).unwrap();
        let error = refusal(dir.path());
        assert!(
            error.message().contains(&format!("mode {open:o}")),
            "{error}"
        );
        assert_eq!(error.fix(), format!("chmod 600 {}", key.display()));
    }
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    DataDir::open(dir.path(), &mut rng(1)).unwrap();
}

#[test]
fn a_lost_or_short_key_is_never_replaced() {
    let dir = TempDir::new().unwrap();
    drop(DataDir::open(dir.path(), &mut rng(1)).unwrap());
    let key = dir.path().join(KEY_FILE);
    write_private(&key, &[1; 31]).unwrap();
    assert!(refusal(dir.path()).message().contains("31 bytes"));
    fs::remove_file(&key).unwrap();
    assert!(refusal(dir.path()).message().contains("is missing"));
    assert!(!key.exists());
}

#[test]
fn an_interrupted_first_start_is_finished() {
    let dir = TempDir::new().unwrap();
    drop(DataDir::open(dir.path(), &mut rng(1)).unwrap());
    let key = fs::read(dir.path().join(KEY_FILE)).unwrap();
    // The key is there, the format is not yet; and a temporary file lies around.
    fs::remove_file(dir.path().join(FORMAT_FILE)).unwrap();
    fs::write(dir.path().join("format.new"), "").unwrap();
    assert_eq!(
        DataDir::open(dir.path(), &mut rng(2)).unwrap().vault_key()[..],
        key
    );
    assert_eq!(mode(&dir.path().join(FORMAT_FILE)), 0o600);
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join("thesis.tex"), "x").unwrap();
    assert!(refusal(dir.path()).message().contains("thesis.tex"));
    assert_eq!(mode(dir.path()), 0o755);
    assert!(!dir.path().join(LOCK_FILE).exists());
}

#[test]
fn settings_may_be_there_first_and_the_directory_is_closed() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.path().join(config::FILE_NAME), "").unwrap();
    DataDir::open(dir.path(), &mut rng(1)).unwrap();
    assert_eq!(mode(dir.path()), 0o700);
}

#[test]
fn what_is_no_directory_or_not_writable_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "x").unwrap();
    assert!(refusal(&file).message().contains("is not a directory"));
    assert!(
        refusal(&file.join("below"))
            .message()
            .contains("can't make the data directory")
    );
    // Not even root writes here.
    assert!(
        refusal(Path::new("/proc/murmuration"))
            .message()
            .contains("can't make")
    );
}

#[test]
fn a_read_only_directory_is_named() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
    if File::create(dir.path().join("probe")).is_ok() {
        // Root writes anyway; the case above covers the message.
        return;
    }
    assert!(
        refusal(dir.path())
            .message()
            .contains("can't use the data directory")
    );
}

#[test]
fn private_files_are_replaced_whole() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("f");
    assert_eq!(read_private(&path).unwrap(), None);
    write_private(&path, b"one").unwrap();
    // A leftover of a crash, open to all, must not lend its mode.
    fs::write(dir.path().join("f.new"), "half").unwrap();
    write_private(&path, b"two").unwrap();
    assert_eq!(read_private(&path).unwrap().unwrap(), b"two");
    assert_eq!(mode(&path), 0o600);
    assert!(!dir.path().join("f.new").exists());
    assert_eq!(
        write_private(&dir.path().join("no/f"), b"x")
            .unwrap_err()
            .kind(),
        ErrorKind::DataDir
    );
}

#[test]
fn the_default_directory_is_named_after_the_project() {
    assert_eq!(
        locate(Some(PathBuf::from("/x/y"))).unwrap(),
        Path::new("/x/y")
    );
    assert!(locate(Some(PathBuf::from("x"))).unwrap().is_absolute());
    assert_eq!(
        locate(Some(PathBuf::new())).unwrap_err().kind(),
        ErrorKind::Usage
    );
    assert!(locate(None).unwrap().ends_with("murmuration"));
}

#[test]
fn debug_shows_no_key() {
    let dir = TempDir::new().unwrap();
    let open = DataDir::open(dir.path(), &mut rng(1)).unwrap();
    let shown = format!("{open:?}");
    assert!(!shown.contains("vault_key"), "{shown}");
}

#[tokio::test]
async fn the_socket_is_private_and_replaces_a_stale_one() {
    let dir = TempDir::new().unwrap();
    let (first, path) = socket::listen(dir.path()).unwrap();
    assert_eq!(path, dir.path().join("api.sock"));
    assert_eq!(mode(&path), 0o600);
    drop(first);
    assert!(path.exists(), "a killed node leaves it");
    let _second = socket::listen(dir.path()).unwrap();
    assert_eq!(socket::find(dir.path()).unwrap(), path);
    tokio::net::UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_in_the_sockets_place_is_not_removed() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("api.sock");
    fs::write(&path, "mine").unwrap();
    assert!(
        socket::listen(dir.path())
            .unwrap_err()
            .message()
            .contains("in the way")
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket_that_clients_find() {
    let parent = TempDir::new().unwrap();
    let long = parent.path().join("d".repeat(120));
    fs::create_dir(&long).unwrap();
    let (listener, path) = socket::listen(&long).unwrap();
    assert!(path.as_os_str().len() <= 103, "{}", path.display());
    assert_eq!(mode(path.parent().unwrap()), 0o700);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(socket::find(&long).unwrap(), path);
    tokio::net::UnixStream::connect(&path).await.unwrap();
    drop(listener);
    // The same place again, and refused once others can look in.
    let (_, again) = socket::listen(&long).unwrap();
    assert_eq!(again, path);
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = socket::listen(&long).unwrap_err();
    assert!(error.message().contains("open to others"), "{error}");
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
