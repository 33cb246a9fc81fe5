//! Target `dht_pki`: the whole state machine. What real nodes said to each other comes in any order, altered or not, at any time,
//! beside anything else. It never panics, stays within its caps, and never believes a record that its signer didn't sign.
//!
//! An input is a few steps in the life of one node. Making a node takes longer than they do, so the fuzzer plays many inputs on
//! one (see [`fuzz`]); when one breaks it, all of them are printed as one input.

use std::sync::Mutex;

use dht::page::head_key;
use dht::pki::{Caps, SyncRequest};
use dht::{OwnRecord, Pki, Verdict};
use mix::time::{Moment, Span};

use crate::dht_traffic::{SIGNED, TRAFFIC, pki};
use crate::dht_world::{NETWORK, Node, PARAMS, middle};
use crate::input::{Input, one_in};

/// An input that is many inputs, each behind its length.
const MANY: u8 = 0xaa;
/// Inputs played on one node.
const LIFE: usize = 256;
/// Small, so that they are reached.
const CAPS: Caps = Caps {
    nodes: 9,
    parked: 6,
    changes_per_epoch: 2,
    relay: 8,
    lookups: 4,
    fetches: 2,
    fetched: 4,
    syncs: 2,
    sync_peers: 6,
};

/// A node in the middle of it all.
struct Life {
    pki: Pki,
    now: Moment,
    wanted: Vec<[u8; 32]>,
    asked: Vec<SyncRequest>,
}

/// Plays an input on a node of its own.
pub fn play(data: &[u8]) -> Vec<&'static str> {
    let mut life = Life::new();
    let Some((&MANY, mut rest)) = data.split_first() else {
        return life.play(data);
    };
    let mut reached = Vec::new();
    while let Some(([low, high], tail)) = rest
        .split_first_chunk::<2>()
        .map(|(len, tail)| (*len, tail))
    {
        let (input, tail) = tail.split_at(tail.len().min(u16::from_le_bytes([low, high]).into()));
        reached.extend(life.play(input));
        rest = tail;
    }
    reached
}

/// The node of this process.
static SHARED: Mutex<Option<Life>> = Mutex::new(None);
/// The inputs it has gone through, for whoever reports a panic.
static PLAYED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Plays an input on the node of this process, which is a new one every [`LIFE`] inputs.
pub fn fuzz(data: &[u8]) {
    let mut shared = SHARED.lock().expect("a panic ends the process");
    let mut played = PLAYED.lock().expect("a panic ends the process");
    if played.len() >= LIFE || shared.is_none() {
        *shared = Some(Life::new());
        played.clear();
    }
    played.push(data.to_vec());
    drop(played);
    if let Some(life) = shared.as_mut() {
        life.play(data);
    }
}

/// Everything since the node of this process was made, as one input in hexadecimal.
pub fn history() -> String {
    let mut bytes = vec![MANY];
    if let Ok(played) = PLAYED.lock() {
        for input in played.iter() {
            bytes.extend_from_slice(&(input.len() as u16).to_le_bytes());
            bytes.extend_from_slice(input);
        }
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Life {
    /// Node 0, which knows node 1.
    fn new() -> Self {
        let (node, now) = (Node::new(0), middle(1));
        let mut life = Self {
            pki: pki(0, CAPS),
            now,
            wanted: Vec::new(),
            asked: Vec::new(),
        };
        let own = [
            OwnRecord::Descriptor(node.descriptor(0, 1)),
            OwnRecord::Beat(node.beat(1, 0)),
        ];
        for record in own {
            life.pki.publish(now, record).expect("its own");
        }
        life.turn();
        life
    }

    fn play(&mut self, data: &[u8]) -> Vec<&'static str> {
        let mut input = Input(data);
        let mut reached = Vec::new();
        for _ in 0..4 {
            if input.is_empty() {
                break;
            }
            reached.push(self.step(&mut input));
        }
        self.now += Span::from_millis(100);
        self.check();
        reached
    }

    fn step(&mut self, input: &mut Input<'_>) -> &'static str {
        let now = self.now;
        match input.below(9) {
            0 | 1 => {
                let bytes = bytes(&TRAFFIC.bundles, input);
                named(self.pki.handle_bundle(now, &bytes))
            }
            2 => self.found(input),
            3 => {
                let from = Node::new(input.below(12) as u32).id();
                let bytes = bytes(&TRAFFIC.requests, input);
                match self.pki.handle_sync_request(now, &from, &bytes) {
                    Some(_) => "answered",
                    None => "not answered",
                }
            }
            4 => {
                let from = Node::new(input.below(12) as u32).id();
                let which = input.below(4);
                let token = self
                    .asked
                    .get(which)
                    .map_or(which as u64, |asked| asked.token);
                let bytes = bytes(&TRAFFIC.answers, input);
                match self.pki.handle_sync_response(now, token, &from, &bytes) {
                    Verdict::Accept => "news by answer",
                    Verdict::Ignore => "an answer",
                    Verdict::Reject => "a bad answer",
                }
            }
            // Whole snapshots are all signatures, which take ten times as long as the rest.
            5 if one_in(16, input.0) => {
                let bytes = bytes(&TRAFFIC.snapshots, input);
                match self.pki.restore(now, &bytes) {
                    Ok(_) => "restored",
                    Err(_) => "damaged",
                }
            }
            5 | 6 => {
                self.turn();
                "turned"
            }
            7 => {
                // Clocks jump, too.
                let (by, back) = (input.byte(), input.byte().is_multiple_of(8));
                let span = Span::from_millis(u64::from(by) * 250);
                self.now = if back { now - span } else { now + span };
                self.turn();
                "later"
            }
            _ => {
                let which = input.below(4);
                match self.asked.get(which) {
                    Some(asked) => self.pki.handle_sync_failed(now, asked.token),
                    None => self.pki.sync_soon(now, input.below(4) as u32, None),
                }
                "no answer"
            }
        }
    }

    /// A lookup brings a value, or ends without.
    fn found(&mut self, input: &mut Input<'_>) -> &'static str {
        let which = input.below(64);
        if TRAFFIC.values.is_empty() {
            return "nothing to find";
        }
        let (key, value) = &TRAFFIC.values[which % TRAFFIC.values.len()];
        let key = match input.below(4) {
            0 => self.wanted.get(which % 8).copied().unwrap_or(*key),
            1 => head_key(&NETWORK, dht::id::Cell::WHOLE, 1 + input.below(3) as u32),
            _ => *key,
        };
        if input.below(8) == 0 {
            self.pki.handle_lookup_done(self.now, &key);
            return "lookup done";
        }
        let value = altered(value.clone(), input);
        match self.pki.handle_record(self.now, &key, &value) {
            Verdict::Accept => "news by lookup",
            Verdict::Ignore => "a value",
            Verdict::Reject => "a bad value",
        }
    }

    /// Fires timers and takes everything the node has to say.
    fn turn(&mut self) {
        self.pki.handle_timeout(self.now);
        while self.pki.poll_bundle().is_some() {}
        while self.pki.poll_serve().is_some() {}
        while let Some(key) = self.pki.poll_lookup() {
            self.wanted.insert(0, key);
        }
        while let Some(asked) = self.pki.poll_sync() {
            self.asked.insert(0, asked);
        }
        self.wanted.truncate(8);
        self.asked.truncate(4);
    }

    /// What must hold whatever happened.
    fn check(&mut self) {
        assert!(
            self.pki.peers().count() <= CAPS.nodes,
            "more nodes than the cap"
        );
        if !self.pki.changed() {
            return;
        }
        let epoch = dht::epoch::epoch_at(&PARAMS, self.now);
        for epoch in [epoch.saturating_sub(1), epoch, epoch + 1] {
            let Some(directory) = self.pki.directory(epoch) else {
                continue;
            };
            assert!(directory.len() <= CAPS.nodes);
            for entry in directory.nodes() {
                let (descriptor, beat) = (entry.descriptor().as_bytes(), entry.beat().as_bytes());
                assert!(SIGNED.contains(descriptor), "a descriptor nobody signed");
                assert!(SIGNED.contains(&beat[..]), "a beat nobody signed");
            }
        }
    }
}

fn named(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "forwarded",
        Verdict::Ignore => "ignored",
        Verdict::Reject => "rejected",
    }
}

/// One of the recorded ones, altered or not, or anything.
fn bytes(recorded: &[Vec<u8>], input: &mut Input<'_>) -> Vec<u8> {
    let which = input.below(64);
    let start = recorded.get(which % recorded.len().max(1)).cloned();
    altered(start.unwrap_or_default(), input)
}

fn altered(mut bytes: Vec<u8>, input: &mut Input<'_>) -> Vec<u8> {
    for _ in 0..input.below(4) {
        let at = input.wide(bytes.len().max(1));
        match input.below(5) {
            0 => bytes.truncate(at),
            1 => {
                let end = bytes.len().min(at + input.below(160));
                bytes.drain(at.min(end)..end);
            }
            2 => {
                let run: Vec<u8> = (0..input.below(24)).map(|_| input.byte()).collect();
                let at = at.min(bytes.len());
                bytes.splice(at..at, run);
            }
            _ => {
                for byte in bytes.iter_mut().skip(at).take(1 + input.below(3)) {
                    *byte ^= input.byte();
                }
            }
        }
    }
    bytes
}

/// A life of each sort: step, which one, how often altered.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let gossip = (0..40).flat_map(|which| [0, which, 0]).collect();
    let answering = (0..40).flat_map(|which| [3, which % 9, which, 0]).collect();
    let asking = (0..40)
        .flat_map(|which| [4, which % 9, 0, which, 0])
        .collect();
    let finding = (0..48).flat_map(|which| [2, which, 3, 1, 0]).collect();
    let restoring = (0..6).flat_map(|which| [5, which, 0]).collect();
    let many = |steps: Vec<u8>| {
        let mut out = vec![MANY];
        for chunk in steps.chunks(120) {
            out.extend_from_slice(&(chunk.len() as u16).to_le_bytes());
            out.extend_from_slice(chunk);
        }
        out
    };
    vec![
        ("life-gossip", gossip),
        ("life-answering", answering),
        ("life-asking", asking),
        ("life-finding", finding),
        ("life-restoring", restoring),
        (
            "life-forged",
            vec![0, 3, 1, 200, 0, 3, 0, 9, 2, 3, 0, 1, 20, 0, 3, 0, 1],
        ),
        (
            "life-many",
            many([6, 7, 40, 1, 0, 3, 0, 2, 1, 3, 1, 0].repeat(20)),
        ),
    ]
}
