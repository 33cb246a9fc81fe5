//! Damages each file of a stopped node, one at a time, and starts the node on it.
#![allow(dead_code, unreachable_pub, reason = "a room of one test binary")]

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::child::{Home, SHORT, Up, until};

/// What is done to a file's bytes that matter: from its start to its last byte that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    Empty,
    Half,
    LastByteGone,
    FlippedStart,
    FlippedMiddle,
}

const ALL: [Damage; 5] = [
    Damage::Empty,
    Damage::Half,
    Damage::LastByteGone,
    Damage::FlippedStart,
    Damage::FlippedMiddle,
];

/// How a node took it.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It runs and has this many of the messages.
    Runs(usize),
    /// It says what is wrong.
    Refuses(String),
}

/// For each file and each kind of damage: the node runs with all that other files hold, or refuses and names the
/// damage; and with the file restored it runs with every message.
pub fn each_file(home: &Home, messages: &[String]) {
    let address = with_node(home, |home| home.address());
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in files(&home.0) {
        for damage in ALL {
            let name = file.strip_prefix(&home.0).unwrap().display().to_string();
            let before = copy_of(&home.0);
            if !apply(&file, damage) {
                continue;
            }
            let outcome = outcome(home, messages, &address);
            println!("{name}: {damage:?}: {outcome:?}");
            wrong.extend(judge(&name, damage, &outcome, messages.len()));
            put_back(&home.0, &before);
            seen += 1;
        }
    }
    // As it was: everything is there.
    assert_eq!(
        outcome(home, messages, &address),
        Outcome::Runs(messages.len())
    );
    assert!(seen > 20, "{seen} cases only");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What is wrong with an outcome, if anything.
fn judge(name: &str, damage: Damage, outcome: &Outcome, all: usize) -> Option<String> {
    match outcome {
        Outcome::Runs(found) if *found == all => None,
        // A known gap: the engine takes a journal that was cut short, or whose end was damaged, for one that a crash
        // cut off, and runs on what was written before the cut. `outcome` has checked that it's the same node, and that
        // what is left is the beginning of what there was.
        Outcome::Runs(found) if name.ends_with(".jnl") => {
            println!(
                "    KNOWN GAP: {} messages of the cut part are gone without a word",
                all - found
            );
            None
        }
        Outcome::Runs(found) => Some(format!(
            "{name}: {damage:?}: runs with {found} of {all} messages"
        )),
        Outcome::Refuses(said) => {
            let place = if name.starts_with("store/") {
                "store"
            } else {
                name
            };
            // A wrong key can't be told from damage in what it opens.
            let of_key = name == "vault.key" && said.contains("this data directory's key");
            let silent = !said.contains(place) && !of_key;
            silent.then(|| format!("{name}: {damage:?}: it doesn't say where: {said}"))
        }
    }
}

/// Starts the node, looks for the messages, stops it.
fn outcome(home: &Home, messages: &[String], address: &str) -> Outcome {
    let mut up = Up::start(home, &[]);
    let first = until("it listens or says why not", SHORT, || {
        up.events(0).first().cloned()
    });
    if first["event"] == "listening" {
        let is_there = |id: &&String| home.run(&["message", id, "--json"]).status.code() == Some(0);
        let found = messages.iter().take_while(is_there).count();
        assert_eq!(
            messages.iter().filter(is_there).count(),
            found,
            "none is missing in the middle"
        );
        assert_eq!(home.address(), address, "the same node as before");
        up.check_log();
        up.stop();
        Outcome::Runs(found)
    } else {
        let ended = up.ended(SHORT);
        assert_eq!(ended.code(), Some(1), "{first}");
        let (message, fix) = (
            first["error"]["message"].as_str(),
            first["error"]["fix"].as_str(),
        );
        let (message, fix) = (message.expect("a message"), fix.expect("a fix"));
        assert!(!fix.is_empty());
        up.check_log();
        Outcome::Refuses(message.to_owned())
    }
}

fn with_node<T>(home: &Home, ask: impl FnOnce(&Home) -> T) -> T {
    let mut up = Up::start(home, &[]);
    up.listening();
    let answer = ask(home);
    up.stop();
    answer
}

/// Every file, except those that hold nothing: the two locks and the socket's place.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            match path.symlink_metadata().unwrap().file_type() {
                kind if kind.is_dir() => open.push(path),
                kind if kind.is_file() && !path.ends_with("lock") => all.push(path),
                _ => {}
            }
        }
    }
    all.sort();
    all
}

/// Damages the file. `false` if there is nothing in it to damage.
fn apply(file: &Path, damage: Damage) -> bool {
    let bytes = content(file);
    let (Some(middle), true) = (bytes.len().checked_div(2), bytes.len() > 1) else {
        return false;
    };
    let mut open = OpenOptions::new().write(true).open(file).unwrap();
    let mut flip = |at: usize| {
        open.seek(SeekFrom::Start(at as u64)).unwrap();
        open.write_all(&[bytes[at] ^ 0x55]).unwrap();
    };
    match damage {
        Damage::FlippedStart => flip(0),
        Damage::FlippedMiddle => flip(middle),
        Damage::Empty => open.set_len(0).unwrap(),
        Damage::Half => open.set_len(middle as u64).unwrap(),
        Damage::LastByteGone => open.set_len(bytes.len() as u64 - 1).unwrap(),
    }
    true
}

/// Path, mode and content of every file; contents without the zeros at their end, and their true length.
type Copy = Vec<(PathBuf, fs::Permissions, Vec<u8>, u64)>;

fn copy_of(dir: &Path) -> Copy {
    let all = files(dir).into_iter();
    all.map(|path| {
        let about = fs::metadata(&path).unwrap();
        let bytes = content(&path);
        (path, about.permissions(), bytes, about.len())
    })
    .collect()
}

/// Makes the directory's files those of the copy: what came since is taken away.
fn put_back(dir: &Path, copy: &Copy) {
    for path in files(dir) {
        if !copy.iter().any(|(kept, ..)| *kept == path) {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, mode, bytes, len) in copy {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(path).unwrap();
        file.write_all(bytes).unwrap();
        file.set_len(*len).unwrap();
        file.set_permissions(mode.clone()).unwrap();
    }
}

/// A file without the zeros at its end: a journal is 64 MiB of mostly nothing.
fn content(file: &Path) -> Vec<u8> {
    let mut open = File::open(file).unwrap();
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 1 << 20];
    // What follows 4 MiB of nothing is nothing: these nodes write a few kilobytes.
    let mut empty = 0;
    while empty < 4 {
        let read = open.read(&mut chunk).unwrap();
        if read == 0 {
            break;
        }
        empty = if chunk[..read].iter().any(|byte| *byte != 0) {
            0
        } else {
            empty + 1
        };
        bytes.extend_from_slice(&chunk[..read]);
    }
    bytes.truncate(
        bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1),
    );
    bytes
}
