//! The binary itself: what only a process shows (streams, exit codes, environment). No node needed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn murmur(dir: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmur"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MURMUR_") {
            command.env_remove(name);
        }
    }
    command.env("MURMUR_DATA", dir.path()).stdin(Stdio::null());
    command
}

fn run(dir: &tempfile::TempDir, args: &[&str]) -> Output {
    murmur(dir).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn usage_is_two_and_help_is_zero() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(&dir, &["dance"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("dance") && ran.stdout.is_empty());
    assert_eq!(run(&dir, &["--help"]).status.code(), Some(0));
    assert_eq!(run(&dir, &["--version"]).status.code(), Some(0));

    let ran = run(&dir, &["send", "--json"]);
    assert_eq!(ran.status.code(), Some(2));
    let error: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(error["error"]["code"], "usage");
}

#[test]
fn without_a_node_it_is_three_in_plain_words_without_colour() {
    let dir = tempfile::tempdir().unwrap();
    let ran = run(&dir, &["status"]);
    assert_eq!(ran.status.code(), Some(3));
    let expected = format!(
        "error: no node is running on {}\nfix: start it with `murmur up`, or name another data directory with --data DIR\n",
        dir.path().display()
    );
    assert_eq!(text(&ran.stderr), expected);
    assert!(ran.stdout.is_empty());
}

#[test]
fn the_environment_is_checked_like_flags() {
    let dir = tempfile::tempdir().unwrap();
    let ran = murmur(&dir)
        .args(["config", "check", "--json"])
        .env("MURMUR_PROFILE", "eco")
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(shown["settings"]["profile"], "eco");
    let ran = murmur(&dir)
        .args(["config", "check", "--json"])
        .env("MURMUR_PROFILE", "huge")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(2));
    let ran = murmur(&dir)
        .args(["config", "check"])
        .env("MURMUR_LISTEN", "here")
        .output()
        .unwrap();
    assert_eq!(ran.status.code(), Some(2));
    assert!(
        text(&ran.stderr).contains("`here` is not a multiaddr"),
        "{}",
        text(&ran.stderr)
    );
}

#[test]
fn completions_name_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&dir, &["completions", shell]);
        assert_eq!(ran.status.code(), Some(0));
        assert!(text(&ran.stdout).contains("inbox"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = murmur(&dir)
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = child.wait_with_output().unwrap();
    assert_eq!((ran.status.code(), text(&ran.stderr)), (Some(0), ""));
}
