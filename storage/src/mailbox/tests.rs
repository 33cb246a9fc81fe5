//! Tests of the holder on the memory store: this file holds the small world they share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crash;
mod inbox;
mod limits;
mod model;
#[cfg(feature = "disk")]
mod on_disk;
mod pairwise;
mod prekey;
mod refusals;
mod reopen;
mod vectors;

use ed25519_dalek::{SigningKey, hazmat::ExpandedSecretKey};

use super::{Counters, DropReason, MailboxConfig, Mailboxes};
use crate::{
    Millis, Sealed, SurbBytes,
    answer::{Answer, Held},
    backend::{Backend, memory::MemoryBackend},
    op::{Op, Scope},
    stamp::{HashStamp, Stamp, Subject},
};

pub(super) const NETWORK: [u8; 32] = [7; 32];
pub(super) const SCOPE: Scope = Scope {
    network: NETWORK,
    epoch: 5,
};
/// Some day in 2026, at a bucket's edge of the test configuration.
pub(super) const START: Millis = Millis(1_790_000_000_000);
pub(super) const SECOND: u64 = 1_000;

pub(super) fn config() -> MailboxConfig {
    MailboxConfig {
        effort: 2,
        bucket_ms: 10 * SECOND,
        max_ttl_ms: 600 * SECOND,
        max_wait_ms: 20_000,
        ..MailboxConfig::new(NETWORK)
    }
}

/// A holder and its clock.
pub(super) struct World {
    pub(super) boxes: Mailboxes<MemoryBackend>,
    pub(super) store: MemoryBackend,
    pub(super) now: Millis,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(config())
    }

    pub(super) fn with(config: MailboxConfig) -> Self {
        let store = MemoryBackend::new();
        Self {
            boxes: Mailboxes::open(store.clone(), config, START).unwrap(),
            store,
            now: START,
        }
    }

    /// The same store, opened again: what was in memory only is gone.
    pub(super) fn restart(&mut self) {
        self.boxes = Mailboxes::open(self.store.clone(), config(), self.now).unwrap();
    }

    /// Hands an operation in; nothing is committed.
    pub(super) fn give(&mut self, op: &Op) {
        self.boxes.handle_op(self.now, &op.encode());
    }

    /// Hands an operation in and commits all there is.
    pub(super) fn run(&mut self, op: &Op) {
        self.give(op);
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        while let Some((seq, batch)) = self.boxes.poll_batch() {
            match self.store.commit(&batch) {
                Ok(()) => self.boxes.handle_durable(seq),
                Err(_) => self.boxes.handle_failed(self.now, seq),
            }
        }
    }

    pub(super) fn pass(&mut self, ms: u64) {
        self.now = self.now.plus(ms);
        self.boxes.handle_timeout(self.now);
        self.settle();
    }

    pub(super) fn answers(&mut self) -> Vec<(u8, Answer)> {
        let next = || {
            self.boxes
                .poll_answer()
                .map(|a| (a.surb[0], Answer::decode(&a.body).unwrap()))
        };
        std::iter::from_fn(next).collect()
    }

    /// The one answer there must be.
    pub(super) fn answer(&mut self) -> Answer {
        let mut answers = self.answers();
        assert_eq!(answers.len(), 1, "{answers:?}");
        answers.remove(0).1
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.boxes.counters().dropped(reason)
    }

    pub(super) fn counters(&self) -> &Counters {
        self.boxes.counters()
    }
}

pub(super) fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

pub(super) fn id(n: u8) -> [u8; 32] {
    key(n).verifying_key().to_bytes()
}

/// A scalar and prefix that no clamped seed gave, as blinding makes them.
pub(super) fn blinded(n: u8) -> ExpandedSecretKey {
    let one = ExpandedSecretKey::from_bytes(&[n; 64]);
    let two = ExpandedSecretKey::from_bytes(&[n.wrapping_add(100); 64]);
    ExpandedSecretKey {
        scalar: one.scalar * two.scalar,
        hash_prefix: [n; 32],
    }
}

pub(super) fn blinded_public(n: u8) -> [u8; 32] {
    ed25519_dalek::VerifyingKey::from(&blinded(n)).to_bytes()
}

pub(super) fn sealed(n: u8) -> Sealed {
    Box::new([n; 1600])
}

pub(super) fn surb(n: u8) -> SurbBytes {
    Box::new([n; 277])
}

pub(super) fn put(k: u8, content: u8, expires: Millis) -> Op {
    let subject = Subject::put_box(&NETWORK, &id(k), &sealed(content));
    let stamp = HashStamp.solve(&subject, 4, 0).unwrap();
    Op::put_box(&SCOPE, &key(k), expires, sealed(content), stamp)
}

pub(super) fn get(k: u8, wait_ms: u32, s: u8) -> Op {
    Op::get_box(5, id(k), wait_ms, surb(s))
}

pub(super) fn del(k: u8) -> Op {
    Op::del_box(&SCOPE, &key(k))
}

pub(super) fn stat(k: u8) -> Op {
    Op::stat_box(5, id(k), surb(99))
}

pub(super) fn put_inbox(k: u8, content: u8, expires: Millis) -> Op {
    let public = blinded_public(k);
    let subject = Subject::put_inbox(&NETWORK, &public, &sealed(content));
    let stamp = HashStamp.solve(&subject, 4, 0).unwrap();
    Op::put_inbox(5, public, expires, sealed(content), stamp)
}

pub(super) fn get_inbox(k: u8, index: u16, wait_ms: u32, s: u8) -> Op {
    Op::get_inbox(&SCOPE, &blinded(k), index, wait_ms, surb(s))
}

pub(super) fn put_prekey(k: u8, content: u8, issued: Millis, expires: Millis) -> Op {
    let subject = Subject::put_prekey(&NETWORK, &blinded_public(k), &sealed(content));
    let stamp = HashStamp.solve(&subject, 4, 0).unwrap();
    Op::put_prekey(&SCOPE, &blinded(k), issued, expires, sealed(content), stamp)
}

pub(super) fn found(content: u8) -> Answer {
    Answer::Found {
        ciphertext: sealed(content),
    }
}

pub(super) fn entry(index: u16, count: u16, content: Option<u8>) -> Answer {
    Answer::Inbox {
        index,
        count,
        ciphertext: content.map(sealed),
    }
}

pub(super) fn is(held: Held) -> Answer {
    Answer::Stat { held, effort: 2 }
}
