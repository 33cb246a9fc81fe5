//! Plays the inputs of tests/fuzz/corpus against the crate, as the fuzzer does: what a fuzz target ever found or broke stays
//! tested where nobody fuzzes. The targets are the same files; `.ci/fuzz` builds them with libFuzzer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

#[path = "../../tests/fuzz/src/body.rs"]
mod body;
#[path = "../../tests/fuzz/src/book.rs"]
mod book;
#[path = "../../tests/fuzz/src/header.rs"]
mod header;
#[path = "../../tests/fuzz/src/input.rs"]
mod input;
#[path = "../../tests/fuzz/src/intake.rs"]
mod intake;
#[path = "../../tests/fuzz/src/lab.rs"]
mod lab;
#[path = "../../tests/fuzz/src/letters.rs"]
mod letters;
#[path = "../../tests/fuzz/src/mixer_ops.rs"]
mod mixer_ops;
#[path = "../../tests/fuzz/src/model.rs"]
mod model;
#[path = "../../tests/fuzz/src/process.rs"]
mod process;
#[path = "../../tests/fuzz/src/surb.rs"]
mod surb;

/// Name and content of all inputs of a target, in order.
fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fuzz/corpus")
        .join(target);
    let mut inputs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

/// Plays all inputs of a target. Together they must reach everything in `want`, or the corpus tests less than it seems to.
fn play<Name: IntoIterator<Item = &'static str>>(
    target: &str,
    play: fn(&[u8]) -> Name,
    want: &[&str],
) {
    let inputs = inputs(target);
    let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
    assert!(
        inputs.len() <= 200 && bytes <= 200_000,
        "minimise: .ci/fuzz --merge"
    );
    let mut reached = BTreeSet::new();
    for (name, input) in &inputs {
        let names = catch_unwind(|| play(input).into_iter().collect::<Vec<_>>())
            .unwrap_or_else(|_| panic!("{name} breaks an invariant"));
        reached.extend(names);
    }
    let missed: Vec<_> = want
        .iter()
        .filter(|name| !reached.contains(*name))
        .collect();
    assert!(missed.is_empty(), "{target} never reaches {missed:?}");
}

#[test]
fn every_decoder_is_total_and_canonical() {
    let want = [
        "packet",
        "length",
        "element",
        "version",
        "alpha",
        "public key",
        "no public key",
        "secret key",
        "no secret key",
        "reply block",
        "no reply block",
        "reply keys",
        "no reply keys",
        "epoch key",
        "no epoch key",
    ];
    play("header", |input| [header::play(input)], &want);
}

#[test]
fn altered_packets_peel_as_the_model_says() {
    let want = [
        "forward", "drop", "loop", "box", "reply", "version", "alpha", "mac", "command", "flags",
        "payload", "batch",
    ];
    play("process", |input| [process::play(input)], &want);
}

#[test]
fn replies_open_unaltered_only() {
    let want = [
        "opened",
        "opened after a walk",
        "altered",
        "no reply block",
        "no reply keys",
    ];
    play("surb", |input| [surb::play(input)], &want);
}

#[test]
fn wide_blocks_are_those_of_the_model() {
    let want = [
        "used",
        "opened",
        "not opened",
        "drop",
        "loop",
        "box",
        "reply",
        "payload",
    ];
    play("body", |input| [body::play(input)], &want);
}

#[test]
fn the_books_of_every_mixer_balance() {
    let want = [
        "accepted",
        "version",
        "alpha",
        "mac",
        "command",
        "flags",
        "next_is_self",
        "payload",
        "replay",
        "replay_full",
        "tags_backlog",
        "pool_full",
        "transmit_full",
        "events_full",
        "damaged",
        "tags",
        "late",
        "transmitted",
        "own transmitted",
        "box",
        "reply",
        "loop",
        "crash",
        "key",
        "key twice",
        "key erased",
        "key dropped",
        "too many keys",
        "too many tags",
    ];
    play("mixer_ops", mixer_ops::play, &want);
}
