//! Two conversations, holders that keep boxes, packets that get lost, a clock that is a number.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::super::*;
use crate::session::SEALED_LEN;
use crate::session::boxes::Series;
use crate::session::hello::tests::{NOW, answer, greet, party};

pub(crate) fn params() -> ConversationParams {
    ConversationParams {
        live_slot_ms: 20_000,
        live_per_slot: 8,
        live_window_ms: 20_000,
        day_ms: 86_400_000,
        parked_days: 7,
        max_wait_ms: 20_000,
        expected_rtt_ms: 4_000,
        clock_tolerance_ms: 120_000,
        live_holders: 2,
        parked_holders: 6,
    }
}

pub(crate) fn pair(seed: u8) -> (Conversation, Conversation) {
    let (a, b) = (party(seed, None), party(seed + 1, None));
    let out = greet(&a, &b, seed);
    let back = answer(&b, &out).unwrap();
    let new = |secrets| Conversation::from_hello(secrets, params());
    (new(out.secrets), new(back.secrets))
}

pub(crate) fn id(n: u32) -> MessageId {
    // The prefix differs too: acknowledgements carry only eight bytes.
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_le_bytes());
    id[12..].copy_from_slice(&n.to_be_bytes());
    id
}

/// Since when a holder has a box, and what is in it.
type Held = (u64, Box<[u8; SEALED_LEN]>);

struct Fetch {
    id: [u8; 32],
    holder: usize,
    arrives: u64,
    until: u64,
    answer_lost: bool,
}

/// One side: the conversation, what is on its disk, what its user saw.
pub(crate) struct Side {
    pub(crate) conversation: Conversation,
    saved: Vec<u8>,
    fetches: Vec<Fetch>,
    pub(crate) online: bool,
    pub(crate) inbox: Vec<(MessageId, Vec<u8>, u64)>,
    pub(crate) events: Vec<(u64, ConversationEvent)>,
    pub(crate) used: Vec<Series>,
    pub(crate) fetched: u64,
}

pub(crate) struct World {
    pub(crate) now: u64,
    pub(crate) sides: [Side; 2],
    boxes: BTreeMap<([u8; 32], usize), Held>,
    contents: BTreeMap<[u8; 32], Box<[u8; SEALED_LEN]>>,
    rng: ChaCha20Rng,
    /// Chance of losing any one packet, percent.
    pub(crate) loss: u64,
}

impl World {
    pub(crate) fn new(seed: u8, loss: u64) -> Self {
        let (a, b) = pair(seed);
        let side = |conversation: Conversation| Side {
            saved: conversation.snapshot().to_vec(),
            conversation,
            fetches: Vec::new(),
            online: true,
            inbox: Vec::new(),
            events: Vec::new(),
            used: Vec::new(),
            fetched: 0,
        };
        Self {
            now: NOW,
            sides: [side(a), side(b)],
            boxes: BTreeMap::new(),
            contents: BTreeMap::new(),
            rng: ChaCha20Rng::from_seed([seed; 32]),
            loss,
        }
    }

    pub(crate) fn submit(&mut self, side: usize, n: u32, len: usize, ttl: u64) {
        let body = vec![n as u8; len];
        let now = self.now;
        let side = &mut self.sides[side];
        side.conversation
            .submit(now, id(n), &body, Class::Fast, now + ttl)
            .unwrap();
        side.saved = side.conversation.snapshot().to_vec();
    }

    /// Runs for `ms`, in steps of 100 ms: two payload slots a second, two fetch slots a second.
    pub(crate) fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now += 100;
            for side in 0..2 {
                if self.sides[side].online {
                    self.answers(side);
                    if self.now.is_multiple_of(500) {
                        self.deposit(side, false);
                    }
                    if (self.now + 200).is_multiple_of(500) {
                        self.fetch(side);
                    }
                    self.timers(side);
                }
            }
        }
    }

    /// Kills a side and starts it from its disk; what it was fetching is forgotten.
    pub(crate) fn restart(&mut self, side: usize) {
        let side = &mut self.sides[side];
        side.conversation = Conversation::restore(&side.saved, params()).unwrap();
        side.fetches.clear();
    }

    /// Saves a deposit and dies before its packets leave.
    pub(crate) fn crash_while_depositing(&mut self, side: usize) {
        self.deposit(side, true);
        self.restart(side);
    }

    pub(crate) fn delivered(&self, side: usize) -> Vec<MessageId> {
        let delivered = |e: &(u64, ConversationEvent)| match e.1 {
            ConversationEvent::Delivered { id, .. } => Some(id),
            _ => None,
        };
        self.sides[side]
            .events
            .iter()
            .filter_map(delivered)
            .collect()
    }

    fn deposit(&mut self, side: usize, crash: bool) {
        let Some(deposit) = self.sides[side].conversation.next_deposit(self.now) else {
            return;
        };
        self.sides[side].saved = self.sides[side].conversation.snapshot().to_vec();
        self.sides[side].used.push(deposit.target.series);
        let box_id = deposit.target.keys.id();
        let known = self
            .contents
            .entry(box_id)
            .or_insert_with(|| deposit.sealed.clone());
        assert_eq!(*known, deposit.sealed, "one box, two contents");
        if crash {
            return;
        }
        for holder in deposit.target.keys.holder_order(deposit.target.holders) {
            if !self.lost() {
                let at = self.now + 700 + self.rng.next_u64() % 1500;
                self.boxes
                    .insert((box_id, holder), (at, deposit.sealed.clone()));
            }
        }
    }

    fn fetch(&mut self, side: usize) {
        let now = self.now;
        let wanted = self.sides[side].conversation.wanted_boxes(now);
        assert!(wanted.len() < 120, "{} wanted", wanted.len());
        let Some(inbox) = wanted.first() else { return };
        let box_id = inbox.keys.id();
        self.sides[side].conversation.fetch_started(now, &box_id);
        self.sides[side].fetched += 1;
        if self.lost() {
            return;
        }
        let holder = inbox.keys.holder_order(inbox.holders)[inbox.rank];
        let arrives = now + 700 + self.rng.next_u64() % 800;
        let answer_lost = self.lost();
        let until = arrives + inbox.wait_ms;
        self.sides[side].fetches.push(Fetch {
            id: box_id,
            holder,
            arrives,
            until,
            answer_lost,
        });
    }

    fn answers(&mut self, side: usize) {
        const BACK: u64 = 900;
        let now = self.now;
        for fetch in std::mem::take(&mut self.sides[side].fetches) {
            let held = self.boxes.get(&(fetch.id, fetch.holder));
            let met = held.map(|(at, sealed)| ((*at).max(fetch.arrives), sealed.clone()));
            match met.filter(|(at, _)| *at <= fetch.until) {
                Some((at, sealed)) if at + BACK <= now => {
                    if !fetch.answer_lost {
                        self.handle(side, &fetch.id, &sealed);
                    }
                }
                None if fetch.until + BACK <= now => {
                    if !fetch.answer_lost {
                        let conversation = &mut self.sides[side].conversation;
                        conversation.fetch_done(now, &fetch.id, Fetched::Empty);
                    }
                }
                _ => self.sides[side].fetches.push(fetch),
            }
        }
    }

    fn handle(&mut self, side: usize, box_id: &[u8; 32], sealed: &[u8; SEALED_LEN]) {
        let now = self.now;
        let events = self.sides[side]
            .conversation
            .handle_box(now, box_id, sealed);
        self.record(side, events);
        let side = &mut self.sides[side];
        side.saved = side.conversation.snapshot().to_vec();
    }

    fn timers(&mut self, side: usize) {
        let due = self.sides[side]
            .conversation
            .poll_timeout()
            .is_none_or(|at| at <= self.now);
        if due || self.now.is_multiple_of(1000) {
            let events = self.sides[side].conversation.handle_timeout(self.now);
            self.record(side, events);
        }
    }

    fn record(&mut self, side: usize, events: Vec<ConversationEvent>) {
        for event in events {
            if let ConversationEvent::Message {
                id,
                body,
                received_at,
                ..
            } = &event
            {
                self.sides[side]
                    .inbox
                    .push((*id, body.clone(), *received_at));
            }
            self.sides[side].events.push((self.now, event));
        }
    }

    fn lost(&mut self) -> bool {
        self.rng.next_u64() % 100 < self.loss
    }
}
