//! Plays the inputs of tests/fuzz/corpus against the crate, as the fuzzer does: what a fuzz target ever found or broke stays
//! tested where nobody fuzzes. The targets are the same files; `.ci/fuzz` builds them with libFuzzer.
//!
//! `MURMURATION_BLESS=1 cargo test -p murmuration-dht --test corpora` writes the real records that each corpus starts from.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    dead_code,
    unreachable_pub
)]

use std::collections::BTreeSet;
use std::fs;
use std::panic::catch_unwind;
use std::path::PathBuf;

#[path = "../../tests/fuzz/src/dht_certificates.rs"]
mod dht_certificates;
#[path = "../../tests/fuzz/src/dht_faults.rs"]
mod dht_faults;
#[path = "../../tests/fuzz/src/dht_pki.rs"]
mod dht_pki;
#[path = "../../tests/fuzz/src/dht_reconcile.rs"]
mod dht_reconcile;
#[path = "../../tests/fuzz/src/dht_records.rs"]
mod dht_records;
#[path = "../../tests/fuzz/src/dht_traffic.rs"]
mod dht_traffic;
#[path = "../../tests/fuzz/src/dht_world.rs"]
mod dht_world;
#[path = "../../tests/fuzz/src/input.rs"]
mod input;

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Writes the seeds if asked to; then plays them and the corpus. Together they must reach everything in `want`, or the corpus
/// tests less than it seems to.
fn play(target: &str, seeds: Seeds, play: fn(&[u8]) -> Vec<&'static str>, want: &[&str]) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fuzz/corpus")
        .join(target);
    if std::env::var_os("MURMURATION_BLESS").is_some() {
        fs::create_dir_all(&folder).unwrap();
        for (name, input) in &seeds {
            fs::write(folder.join(name), input).unwrap();
        }
    }
    let mut inputs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    inputs.sort();
    let bytes: usize = inputs.iter().map(|(_, input)| input.len()).sum();
    assert!(
        inputs.len() <= 300 && bytes <= 200_000,
        "minimise: .ci/fuzz --merge"
    );
    inputs.extend(seeds.into_iter().map(|(name, seed)| (name.into(), seed)));
    let mut reached = BTreeSet::new();
    for (name, input) in &inputs {
        let names =
            catch_unwind(|| play(input)).unwrap_or_else(|_| panic!("{name} breaks an invariant"));
        reached.extend(names);
    }
    let missed: Vec<_> = want
        .iter()
        .filter(|name| !reached.contains(*name))
        .collect();
    assert!(missed.is_empty(), "{target} never reaches {missed:?}");
}

#[test]
fn every_record_is_total_and_canonical() {
    let want = [
        "nothing",
        "descriptor",
        "beat",
        "leaf",
        "bundle",
        "page of records",
        "page of leaves",
        "page of nothing",
        "head",
        "header",
        "inclusion",
        "inclusion in nothing",
        "membership",
        "membership of nobody",
        "partition",
        "params",
    ];
    play(
        "dht_records",
        dht_records::seeds(),
        dht_records::play,
        &want,
    );
}

#[test]
fn no_altered_certificate_is_believed() {
    let want = [
        "nothing",
        "proposal",
        "vote",
        "certificate",
        "candidates",
        "bans",
        "forged vote",
        "forged certificate",
        "step",
        "no step",
    ];
    let seeds = dht_certificates::seeds();
    play("dht_certificates", seeds, dht_certificates::play, &want);
}

#[test]
fn nobody_honest_is_proved_guilty() {
    let want = [
        "nothing",
        "two beats",
        "two votes",
        "two proposals",
        "omission",
        "receipt",
        "contradiction",
        "no contradiction",
    ];
    play("dht_faults", dht_faults::seeds(), dht_faults::play, &want);
}

#[test]
fn every_exchange_ends() {
    let want = [
        "no message",
        "message",
        "agreed",
        "refused",
        "cut off",
        "ended",
    ];
    play(
        "dht_reconcile",
        dht_reconcile::seeds(),
        dht_reconcile::play,
        &want,
    );
}

#[test]
fn a_node_believes_nothing_unsigned() {
    let want = [
        "forwarded",
        "ignored",
        "rejected",
        "answered",
        "not answered",
        "news by lookup",
        "a value",
        "lookup done",
        "restored",
        "damaged",
        "turned",
        "later",
        "no answer",
    ];
    play("dht_pki", dht_pki::seeds(), dht_pki::play, &want);
}
