//! The fetch stream: asking holders for boxes, inbox entries, prekeys and receipts.
//!
//! Slots come at a constant Poisson rate. A slot carries the fetch that is wanted most or a fetch of
//! a random box that waits and is answered like a real one. Each carries one SURB and is answered at
//! most once; what comes late or never counts as lost and is asked again elsewhere.

use std::collections::{BTreeMap, VecDeque};

use mix::Packet;
use mix::ShortId;
use mix::sphinx::{BODY_LEN, Class, SurbKeys};
use mix::time::{Moment, Span};
use rand_core::Rng;
use storage::SurbBytes;
use storage::answer::{Answer, Held};
use storage::backend::Backend;
use storage::mailbox::PendingAnswer;
use storage::op::Op;

use super::records::{ContactId, MessageId};
use super::{ConversationId, Core};
use crate::session::conversation::Fetched;

/// Fetches under way; several times what any profile has in its longest wait.
const MAX_UNDER_WAY: usize = 1024;
/// Receipts that may be asked for at one time.
const MAX_RECEIPTS: usize = 256;
/// Holders asked for a receipt of one box.
pub(super) const RECEIPTS: usize = 3;
/// Holders of an inbox at which a fetch waits: two, so that a lost one delays nobody.
const WAITED_RANKS: usize = 2;
/// Holders of an inbox that are read at all.
const SWEPT_RANKS: usize = 3;
/// How often a past day's inbox is looked at again.
const PAST_SWEEP: Span = Span::from_secs(1_800);

/// What a fetch is for.
#[derive(Clone, Debug)]
enum Purpose {
    Dummy {
        id: [u8; 32],
    },
    Box {
        conversation: ConversationId,
        id: [u8; 32],
    },
    Inbox {
        reader: ReaderId,
        index: u16,
    },
    Prekey {
        contact: ContactId,
    },
    Receipt {
        message: MessageId,
        id: [u8; 32],
        holder: ShortId,
    },
}

#[derive(Debug)]
struct UnderWay {
    keys: SurbKeys,
    purpose: Purpose,
    /// When it counts as lost.
    until: Moment,
}

/// One inbox at one holder: which of our addresses, which day, whose copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReaderId {
    pub(super) address: usize,
    pub(super) day: u32,
    pub(super) holder: ShortId,
}

#[derive(Clone, Copy, Debug, Default)]
struct Reader {
    next: u16,
    busy: bool,
    /// Not before then.
    due: Moment,
}

/// A receipt to ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receipt {
    pub(super) message: MessageId,
    pub(super) id: [u8; 32],
    pub(super) holder: ShortId,
    pub(super) due: Moment,
}

/// Everything about fetches.
#[derive(Debug, Default)]
pub(super) struct Fetches {
    under_way: BTreeMap<[u8; 16], UnderWay>,
    readers: BTreeMap<ReaderId, Reader>,
    receipts: VecDeque<Receipt>,
    turn: u64,
}

impl Fetches {
    /// Asks for a receipt later; the oldest gives way when too many wait.
    pub(super) fn want_receipt(&mut self, receipt: Receipt) {
        if self.receipts.len() == MAX_RECEIPTS {
            self.receipts.pop_front();
        }
        self.receipts.push_back(receipt);
    }

    pub(super) fn drop_receipts(&mut self, message: &MessageId) {
        self.receipts.retain(|receipt| receipt.message != *message);
    }
}

/// What a slot will ask.
struct Ask {
    holder: ShortId,
    purpose: Purpose,
    wait_ms: u32,
}

impl<B: Backend> Core<B> {
    /// A slot of the fetch stream.
    pub(super) fn fetch_slot(&mut self, now: Moment) {
        if !self.ready.can_route() {
            return;
        }
        self.fetches.turn = self.fetches.turn.wrapping_add(1);
        let ask = self.most_wanted(now);
        let real = ask.is_some();
        let Some(ask) = ask.or_else(|| self.dummy(now)) else {
            self.counters.not_sent += 1;
            return;
        };
        let purpose = ask.purpose.clone();
        let Some(wait_ms) = self.ask(now, ask) else {
            // Its holder has left: asked elsewhere later. The slot is filled all the same.
            self.lost(now, purpose);
            match self.dummy(now).and_then(|dummy| self.ask(now, dummy)) {
                Some(_) => self.counters.cover += 1,
                None => self.counters.not_sent += 1,
            }
            return;
        };
        if real {
            self.counters.real += 1;
        } else {
            self.counters.cover += 1;
        }
        match purpose {
            Purpose::Box { conversation, id } => {
                if let Some(talk) = self.people.talks.get_mut(&conversation) {
                    let at = now.as_millis();
                    talk.conversation.fetch_started(at, &id);
                    talk.conversation.fetch_waits(at, &id, u64::from(wait_ms));
                }
            }
            Purpose::Inbox { reader, .. } => {
                self.fetches.readers.entry(reader).or_default().busy = true;
            }
            Purpose::Prekey { contact } => self.prekey_asked(now, &contact),
            Purpose::Dummy { .. } | Purpose::Receipt { .. } => {}
        }
    }

    /// Ends fetches whose answer can no longer come.
    pub(super) fn expire_fetches(&mut self, now: Moment) {
        let late: Vec<_> = self
            .fetches
            .under_way
            .iter()
            .filter(|(_, fetch)| fetch.until <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            if let Some(fetch) = self.fetches.under_way.remove(&id) {
                self.lost(now, fetch.purpose);
            }
        }
    }

    /// A reply came back through one of our SURBs.
    pub(super) fn take_reply(&mut self, now: Moment, surb_id: [u8; 16], packet: Packet) {
        let Some(fetch) = self.fetches.under_way.remove(&surb_id) else {
            self.counters.answers_late += 1;
            return;
        };
        let opened = fetch.keys.open(packet).ok();
        let Some(answer) = opened.and_then(|body| Answer::decode(&body).ok()) else {
            self.counters.answers_bad += 1;
            self.lost(now, fetch.purpose);
            return;
        };
        match (fetch.purpose, answer) {
            (Purpose::Box { conversation, id }, Answer::Found { ciphertext }) => {
                self.take_box(now, conversation, &id, &ciphertext);
            }
            (Purpose::Box { conversation, id }, Answer::Empty) => {
                self.box_done(now, conversation, &id, Fetched::Empty);
            }
            (
                Purpose::Inbox { reader, index },
                Answer::Inbox {
                    ciphertext, count, ..
                },
            ) => {
                let state = self.fetches.readers.entry(reader).or_default();
                state.busy = false;
                if let Some(entry) = ciphertext {
                    state.next = index.saturating_add(1);
                    state.due = now;
                    self.take_inbox_entry(now, reader, &entry);
                } else if count > index {
                    // Deleted: the next one may be there.
                    state.next = index.saturating_add(1);
                }
            }
            (Purpose::Inbox { reader, .. }, Answer::Empty) => {
                self.fetches.readers.entry(reader).or_default().busy = false;
            }
            (Purpose::Prekey { contact }, Answer::Found { ciphertext }) => {
                self.take_prekey(now, &contact, &ciphertext);
            }
            (
                Purpose::Receipt {
                    message,
                    id,
                    holder,
                },
                Answer::Stat { held, .. },
            ) => {
                self.take_receipt(now, &message, &id, holder, held != Held::Absent);
            }
            (Purpose::Prekey { contact }, Answer::Empty) => self.prekey_absent(now, &contact),
            (Purpose::Dummy { .. }, _) | (Purpose::Receipt { .. }, Answer::Empty) => {}
            (purpose, _) => {
                self.counters.answers_bad += 1;
                self.lost(now, purpose);
            }
        }
    }

    /// An answer of our own mailbox leaves through the pool, after one more exponential delay.
    pub(super) fn send_answer(&mut self, now: Moment, answer: &PendingAnswer) {
        if let Ok(surb) = mix::sphinx::Surb::from_bytes(&answer.surb) {
            let (first, packet) = surb.reply(&answer.body);
            self.mixer.hold(now, Class::Fast, first, packet);
        }
    }

    fn lost(&mut self, now: Moment, purpose: Purpose) {
        match purpose {
            Purpose::Box { conversation, id } => {
                self.box_done(now, conversation, &id, Fetched::Lost);
            }
            Purpose::Inbox { reader, .. } => {
                self.fetches.readers.entry(reader).or_default().busy = false;
            }
            Purpose::Receipt {
                message,
                id,
                holder,
            } => self.receipt_lost(now, &message, &id, holder),
            // Asked again by its owner in time.
            Purpose::Dummy { .. } | Purpose::Prekey { .. } => {}
        }
    }

    fn box_done(
        &mut self,
        now: Moment,
        conversation: ConversationId,
        id: &[u8; 32],
        outcome: Fetched,
    ) {
        if let Some(talk) = self.people.talks.get_mut(&conversation) {
            talk.conversation.fetch_done(now.as_millis(), id, outcome);
        }
    }

    /// The most wanted fetch. Receipts and prekeys, boxes and inboxes take turns, so that none
    /// starves another.
    fn most_wanted(&mut self, now: Moment) -> Option<Ask> {
        let order: [u8; 3] = match self.fetches.turn % 4 {
            0 => [2, 0, 1],
            1 | 3 => [1, 0, 2],
            _ => [0, 1, 2],
        };
        order.into_iter().find_map(|kind| match kind {
            0 => self.next_receipt(now).or_else(|| self.next_prekey(now)),
            1 => self.next_box(now),
            _ => self.next_inbox(now),
        })
    }

    fn next_receipt(&mut self, now: Moment) -> Option<Ask> {
        let at = self
            .fetches
            .receipts
            .iter()
            .position(|receipt| receipt.due <= now)?;
        let receipt = self.fetches.receipts.remove(at)?;
        let purpose = Purpose::Receipt {
            message: receipt.message,
            id: receipt.id,
            holder: receipt.holder,
        };
        Some(Ask {
            holder: receipt.holder,
            purpose,
            wait_ms: 0,
        })
    }

    fn next_prekey(&mut self, now: Moment) -> Option<Ask> {
        let (contact, key, attempt) = self.prekey_wanted(now)?;
        let holders = self.inbox_holders(now, &key)?;
        let holder = *holders.get(attempt % holders.len().max(1))?;
        Some(Ask {
            holder,
            purpose: Purpose::Prekey { contact },
            wait_ms: 0,
        })
    }

    fn next_box(&mut self, now: Moment) -> Option<Ask> {
        let directory = self.directory(now)?;
        let turn = usize::try_from(self.fetches.turn % 1_000_003).unwrap_or(0);
        let talks = self.people.talks.len();
        // Equal wishes of different conversations take turns.
        let wishes = self
            .people
            .talks
            .iter_mut()
            .enumerate()
            .filter_map(|(place, (id, talk))| {
                let wish = talk
                    .conversation
                    .wanted_boxes(now.as_millis())
                    .into_iter()
                    .next()?;
                Some((
                    wish.priority,
                    (place + talks - turn % talks) % talks,
                    *id,
                    wish,
                ))
            });
        let (_, _, conversation, wish) =
            wishes.min_by_key(|(priority, place, ..)| (*priority, *place))?;
        let id = wish.keys.id();
        let holders = directory.holders(&id, wish.holders);
        let order = wish.keys.holder_order(holders.len());
        let place = order.get(wish.rank % order.len().max(1))?;
        let holder = *holders.get(*place)?;
        let wait_ms = u32::try_from(wish.wait_ms).unwrap_or(u32::MAX);
        Some(Ask {
            holder,
            purpose: Purpose::Box { conversation, id },
            wait_ms,
        })
    }

    fn next_inbox(&mut self, now: Moment) -> Option<Ask> {
        let params = &self.config.params;
        let max_wait = u32::try_from(params.max_wait_ms).unwrap_or(u32::MAX);
        let sweep = Span::from_millis(params.max_wait_ms.saturating_mul(2));
        for (address, day, key, is_today) in self.inboxes_to_read(now) {
            let holders = self.inbox_holders(now, &key)?;
            for (rank, holder) in holders.into_iter().take(SWEPT_RANKS).enumerate() {
                let id = ReaderId {
                    address,
                    day,
                    holder,
                };
                let reader = self.fetches.readers.entry(id).or_default();
                if reader.busy || reader.due > now {
                    continue;
                }
                let waits = rank < WAITED_RANKS && is_today;
                let wait_ms = if waits { max_wait } else { 0 };
                if !waits {
                    reader.due = now + if is_today { sweep } else { PAST_SWEEP };
                }
                let index = reader.next;
                return Some(Ask {
                    holder,
                    purpose: Purpose::Inbox { reader: id, index },
                    wait_ms,
                });
            }
        }
        None
    }

    pub(super) fn forget_readers_before(&mut self, day: u32) {
        self.fetches.readers.retain(|reader, _| reader.day >= day);
    }

    /// The holders of an inbox key.
    pub(super) fn inbox_holders(&mut self, now: Moment, key: &[u8; 32]) -> Option<Vec<ShortId>> {
        let k = usize::from(self.config.params.inbox_holders);
        Some(self.directory(now)?.holders(key, k))
    }

    /// A fetch of a box that nobody writes to; it waits like a real one.
    fn dummy(&mut self, now: Moment) -> Option<Ask> {
        let mut id = [0; 32];
        self.rng.fill_bytes(&mut id);
        let k = usize::from(self.config.params.live_holders);
        let holders = self.directory(now)?.holders(&id, k);
        let holder = *holders.get(self.below(holders.len()))?;
        let wait_ms = u32::try_from(self.config.params.max_wait_ms).unwrap_or(u32::MAX);
        Some(Ask {
            holder,
            purpose: Purpose::Dummy { id },
            wait_ms,
        })
    }

    /// Sends a fetch with a fresh SURB; how long it may wait, in milliseconds. `None`: no route just now.
    fn ask(&mut self, now: Moment, ask: Ask) -> Option<u32> {
        let me = self.short;
        let path = self.draw(now, ask.holder, &me, Class::Fast)?;
        let mut surb_id = [0; 16];
        self.rng.fill_bytes(&mut surb_id);
        let (surb, keys) =
            mix::sphinx::build_surb(&self.network, &path, Class::Fast, surb_id, &mut self.rng)
                .ok()?;
        let surb: SurbBytes = Box::new(surb.to_bytes());
        let (wait_ms, until) = self.wait_until(now, ask.wait_ms);
        let body = self.operation(now, &ask.purpose, wait_ms, surb)?;
        self.send_box(now, &ask.holder, Class::Fast, &body)?;
        if self.fetches.under_way.len() == MAX_UNDER_WAY {
            let oldest = self
                .fetches
                .under_way
                .iter()
                .min_by_key(|(_, fetch)| fetch.until);
            let oldest = oldest.map(|(id, _)| *id);
            if let Some(fetch) = oldest.and_then(|id| self.fetches.under_way.remove(&id)) {
                self.lost(now, fetch.purpose);
            }
        }
        self.fetches.under_way.insert(
            surb_id,
            UnderWay {
                keys,
                purpose: ask.purpose,
                until,
            },
        );
        Some(wait_ms)
    }

    fn operation(
        &mut self,
        now: Moment,
        purpose: &Purpose,
        wait_ms: u32,
        surb: SurbBytes,
    ) -> Option<Box<[u8; BODY_LEN]>> {
        let scope = self.scope(now);
        let op = match purpose {
            Purpose::Dummy { id } | Purpose::Box { id, .. } => {
                Op::get_box(scope.epoch, *id, wait_ms, surb)
            }
            Purpose::Inbox { reader, index } => {
                let secret = self.blinded_secret(reader.address, reader.day)?;
                Op::get_inbox(&scope, &secret, *index, wait_ms, surb)
            }
            Purpose::Prekey { contact } => {
                Op::get_prekey(scope.epoch, self.prekey_key(now, contact)?, surb)
            }
            Purpose::Receipt { id, .. } => Op::stat_box(scope.epoch, *id, surb),
        };
        Some(op.encode())
    }

    /// How long a fetch sent now may wait at its holder, and when its answer counts as lost: the
    /// way there and back is made under keys of this epoch, which end.
    fn wait_until(&self, now: Moment, asked_ms: u32) -> (u32, Moment) {
        let params = &self.config.params;
        let way = self.way();
        let end = dht::epoch::key_window(params, self.epoch(now)).until;
        let room = (end - now)
            .as_millis()
            .saturating_sub(way.as_millis().saturating_mul(2));
        let wait = u64::from(asked_ms).min(params.max_wait_ms).min(room);
        let until = now + Span::from_millis(wait) + way + way;
        (u32::try_from(wait).unwrap_or(u32::MAX), until.min(end))
    }

    /// What a packet takes to its last hop, and a margin: beyond the 99.9th percentile.
    pub(super) fn way(&self) -> Span {
        let params = &self.config.params;
        let hops = u64::from(params.mixing_hops) + 1;
        let delay = params.delay_ms.first().copied().unwrap_or_default();
        Span::from_millis(hops.saturating_mul(params.hold_ms + 3 * delay) + 500)
    }
}
