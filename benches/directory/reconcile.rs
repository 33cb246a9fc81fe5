//! What reconciliation costs: bytes and requests against the size of the difference, and against sending everything.

use std::time::{Duration, Instant};

use dht::reconcile::{Items, Key, Message, Session, answer};

use crate::lab;

/// Items of one length, named by their beginning.
#[derive(Clone, PartialEq)]
struct Set {
    keys: Vec<Key>,
    len: usize,
}

impl Set {
    fn of(numbers: std::ops::Range<u32>, len: usize) -> Self {
        let mut keys: Vec<Key> = numbers.map(key).collect();
        keys.sort_unstable();
        Self { keys, len }
    }

    fn put(&mut self, message: &Message<'_>) -> usize {
        let mut bytes = 0;
        for item in message.items() {
            bytes += item.len();
            self.keys.extend(self.key_of(item));
        }
        self.keys.sort_unstable();
        self.keys.dedup();
        bytes
    }
}

impl Items for Set {
    fn keys(&self) -> &[Key] {
        &self.keys
    }
    fn write(&self, key: &Key, out: &mut Vec<u8>) {
        out.extend_from_slice(key);
        out.resize(out.len() + self.len - key.len(), 0);
    }
    fn key_of(&self, item: &[u8]) -> Option<Key> {
        item.first_chunk().copied()
    }
    fn refuses(&self, _: &Key) -> bool {
        false
    }
}

/// Uniform, as hashes are.
fn key(number: u32) -> Key {
    use rand_core::Rng;
    let mut key = [0; 16];
    lab::rng(u64::from(number)).fill_bytes(&mut key);
    key
}

#[derive(Default)]
struct Cost {
    sessions: u32,
    requests: u32,
    bytes: usize,
    items: usize,
    slowest: Duration,
}

/// Sessions until both hold the same.
fn run(mut one: Set, mut other: Set) -> Cost {
    let mut cost = Cost::default();
    loop {
        cost.sessions += 1;
        let mut session = Session::new([cost.sessions as u8; 8]);
        while let Some(request) = session.request(&one) {
            let asked = Message::decode(&request).unwrap();
            cost.items += other.put(&asked);
            let start = Instant::now();
            let response = answer(&other, &asked);
            cost.slowest = cost.slowest.max(start.elapsed());
            let answered = Message::decode(&response).unwrap();
            session.take(&one, &answered).unwrap();
            cost.items += one.put(&answered);
            cost.bytes += request.len() + response.len();
        }
        cost.requests += session.rounds();
        if one == other {
            return cost;
        }
    }
}

/// Prints the table. `item` is the length of a node's two records.
pub(crate) fn table(item: usize) {
    println!(
        "reconciliation, items of {item} B; a difference lies half on either side, but for `all`: one side is empty"
    );
    println!(
        "{:>6} {:>10} {:>8} {:>8} {:>10} {:>10} {:>12} {:>9} {:>8}",
        "nodes",
        "difference",
        "sessions",
        "requests",
        "bytes",
        "beside",
        "per differing",
        "of all",
        "answer"
    );
    for n in lab::size(&[100, 1_000, 8_192][..], &[100]) {
        let n = *n;
        let mut differences = vec![0, 1, 10, 100, n];
        differences.dedup();
        for difference in differences {
            let all = difference == n;
            let (left, right) = if all {
                (0..0, 0..n)
            } else {
                (0..n - difference / 2, difference - difference / 2..n)
            };
            let cost = run(Set::of(left, item), Set::of(right, item));
            let beside = cost.bytes - cost.items;
            println!(
                "{n:>6} {:>10} {:>8} {:>8} {:>10} {beside:>10} {:>12} {:>8.1}% {:>5} µs",
                if all {
                    "all".to_owned()
                } else {
                    difference.to_string()
                },
                cost.sessions,
                cost.requests,
                cost.bytes,
                beside
                    .checked_div(difference as usize)
                    .map_or("-".to_owned(), |each| each.to_string()),
                100.0 * cost.bytes as f64 / (n as usize * item) as f64,
                cost.slowest.as_micros(),
            );
        }
    }
}
