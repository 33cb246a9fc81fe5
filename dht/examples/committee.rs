//! Prints what dht/SPEC.md §16 and §17 claim of committees: `cargo run -p murmuration-dht --example committee`.
//!
//! Each candidate is corrupt with probability f, by itself: binomial sums, no simulation.

#![allow(clippy::print_stdout)]

use dht::committee::{HANDOVER, MAX_CANDIDATES, MAX_COMMITTEE, quorum};

/// Share of nodes that leave within an hour, in the rows on churn.
const CHURN: f64 = 0.3;
/// Hours from the middle of one beat window to the next, and from there to the votes.
const TO_BEAT: f64 = 1.0;
const TO_VOTE: f64 = 0.27;

fn main() {
    for f in [0.1, 0.2, 0.25] {
        safety(f);
    }
    absences(0.2);
    println!(
        "epochs certified, if a share leaves per hour without notice and the corrupt are silent"
    );
    for leaving in [0.0, 0.05, CHURN] {
        let rates = [0.0, 0.1, 0.2].map(|f| format!("f {f}: {:.4}", certified(leaving, f)));
        println!("  {leaving:<5} leave: {}", rates.join("   "));
    }
    println!("candidates are handed over for {HANDOVER} epochs");
    for f in [0.1, 0.2, 0.3] {
        bias(f);
    }
}

fn safety(f: f64) {
    let c = MAX_COMMITTEE;
    let Some(q) = quorum(MAX_CANDIDATES, c) else {
        return;
    };
    println!("committee {c}, quorum {q}, f = {f}, all online, per epoch");
    println!(
        "  capture, {q} corrupt:             {:.1e}",
        at_least(c, q, f)
    );
    let twice = 2 * q - c;
    println!(
        "  split, {twice} sign twice:           {:.1e}",
        at_least(c, twice, f)
    );
    let silent = c - q + 1;
    println!(
        "  blocked, {silent} silent:            {:.1e}",
        at_least(c, silent, f)
    );
}

/// A liar shows a set in which honest candidates are missing, so that the corrupt ones are the committee.
fn absences(f: f64) {
    let n = MAX_CANDIDATES;
    let least = (0..=MAX_COMMITTEE).filter_map(|c| quorum(n, c)).min();
    let least = least.unwrap_or_default();
    println!("claims of absence, f = {f}: at least {least} of {n} candidates must sign");
    println!(
        "  a committee of liars:            {:.1e}",
        at_least(n, least, f)
    );
    println!(
        "  two certificates prove at least {} to have signed twice",
        2 * least - n
    );
    println!(
        "  with 256 candidates, 64 of them enough and 43 to sign: {:.2}",
        at_least(256, 43, f)
    );
}

fn certified(leaving: f64, f: f64) -> f64 {
    let rate = -f64::ln(1.0 - leaving);
    let (there, votes) = (
        f64::exp(-rate * TO_BEAT),
        f64::exp(-rate * TO_VOTE) * (1.0 - f),
    );
    let weighted = pmf(MAX_CANDIDATES, there).into_iter().enumerate();
    weighted
        .map(|(present, p)| {
            let c = present.min(MAX_COMMITTEE);
            p * quorum(MAX_CANDIDATES, c).map_or(0.0, |q| at_least(c, q, votes))
        })
        .sum()
}

/// Who holds the j lowest outputs chooses among j + 1 seeds; each lower output is corrupt with probability f.
fn bias(f: f64) {
    let mean: f64 = (0..64i32)
        .map(|j| f.powi(j) * (1.0 - f) * f64::from(j + 1).log2())
        .sum();
    let eight = f.powi(7);
    println!("bias of a seed, f = {f}: {mean:.2} bits on average, 3 bits or more with {eight:.1e}");
    println!(
        "  if every signer's output counted: {:.0} bits",
        f * MAX_COMMITTEE as f64
    );
}

fn pmf(n: usize, p: f64) -> Vec<f64> {
    let mut out = vec![1.0];
    for _ in 0..n {
        let mut next = vec![0.0; out.len() + 1];
        for (k, q) in out.iter().enumerate() {
            next[k] += q * (1.0 - p);
            next[k + 1] += q * p;
        }
        out = next;
    }
    out
}

fn at_least(n: usize, k: usize, p: f64) -> f64 {
    pmf(n, p).iter().skip(k).sum()
}
