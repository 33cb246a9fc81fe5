//! Greeting: our prekeys for those who look for us, and hellos to those we look for.
//!
//! A contact is greeted in three steps, each repeated with patience until it worked: fetch its
//! prekeys, put the hello into its inbox of the day, wait for its first frame. Ours to offer: a
//! prekey box per address and day at each of its holders, filled again when holders change.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::hazmat::ExpandedSecretKey;
use mix::ShortId;
use mix::sphinx::Class;
use mix::time::{Moment, Span};
use storage::backend::Backend;
use storage::op::Op;
use storage::stamp::Subject;
use storage::{Millis, SEALED_LEN};

use super::super::fetch::ReaderId;
use super::super::outbox::{Deposit, Rank};
use super::super::records::{ContactId, HelloRecord, key};
use super::super::{ConversationId, Core, MessageState, Then};
use super::{Talk, damaged};
use crate::error::Error;
use crate::session::conversation::{self, Conversation, Keep, SubmitError, crossing};
use crate::session::hello::{self, HelloIn};
use crate::session::identity::ContactKey;
use crate::session::prekey::{PrekeyBundle, PrekeySecret};

/// Holders that get a hello at first; all of them from the second try on.
const HELLO_COPIES: usize = 3;
/// Longest pause between two tries to greet someone.
const MAX_PAUSE: Span = Span::from_secs(3_600);
/// A day's inbox is read, and the next day's prekeys are offered, for this part of a day around midnight.
const OVERLAP: u64 = 8;
/// How often prekeys are offered again to holders that had them.
const OFFER_AGAIN: Span = Span::from_secs(1_800);
/// Conversations kept for one contact.
const MAX_TALKS: usize = 3;

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Greetings {
    prekeys: BTreeMap<(usize, u32), PrekeySecret>,
    offers: BTreeMap<(usize, u32), Offer>,
    wanted: BTreeMap<ContactId, Wanted>,
    hellos: BTreeMap<ContactId, Tries>,
    /// When each greeter was last answered.
    answered: BTreeMap<ConversationId, Moment>,
    /// Hellos taken, and the day of their inbox.
    accepted: BTreeMap<ConversationId, u32>,
    /// First day whose inbox is read: days before the start are read once.
    read_from: u32,
}

#[derive(Debug)]
struct Offer {
    holders: BTreeSet<ShortId>,
    since: Moment,
}

/// Prekeys we look for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    attempt: usize,
    due: Moment,
}

/// A hello we repeat.
#[derive(Clone, Copy, Debug)]
struct Tries {
    count: u32,
    due: Moment,
}

impl Greetings {
    /// Whether the answer to this hello may be repeated: not for the copies that other holders have.
    fn may_answer_again(&mut self, now: Moment, id: ConversationId, way: Span) -> bool {
        let last = self.answered.insert(id, now);
        last.is_some_and(|at| now - at > way + way)
    }

    pub(super) fn forget(&mut self, contact: &ContactId) {
        self.wanted.remove(contact);
        self.hellos.remove(contact);
    }
}

impl<B: Backend> Core<B> {
    pub(super) fn load_greetings(&mut self, now: Moment) -> Result<(), Error> {
        for (name, bytes) in self.read_state(key::PREKEY)? {
            let place = name.strip_prefix(key::PREKEY).and_then(prekey_place);
            let bytes: Option<&[u8; PrekeySecret::BYTES]> = bytes.as_slice().try_into().ok();
            let (Some(place), Some(bytes)) = (place, bytes) else {
                return Err(damaged("prekey"));
            };
            self.people
                .greetings
                .prekeys
                .insert(place, PrekeySecret::from_bytes(bytes));
        }
        for (name, bytes) in self.read_state(key::HELLO)? {
            let id = name
                .strip_prefix(key::HELLO)
                .and_then(super::super::records::unhex16);
            let day: Option<[u8; 4]> = bytes.as_slice().try_into().ok();
            let (Some(id), Some(day)) = (id, day) else {
                return Err(damaged("hello"));
            };
            let day = u32::from_le_bytes(day);
            self.people.greetings.accepted.insert(id, day);
        }
        let today = self.day(now);
        self.people.greetings.read_from = today.saturating_sub(self.config.params.parked_days);
        let open: Vec<_> = self
            .people
            .contacts
            .values()
            .map(|one| (one.id, one.hello.is_some(), one.active.is_some()))
            .collect();
        for (id, greeting, has_talk) in open {
            if greeting {
                self.people
                    .greetings
                    .hellos
                    .insert(id, Tries { count: 0, due: now });
            } else if !has_talk {
                self.want_prekey(now, id);
            }
        }
        Ok(())
    }

    /// Starts to look for a contact's prekeys.
    pub(super) fn want_prekey(&mut self, now: Moment, contact: ContactId) {
        self.people.greetings.wanted.insert(
            contact,
            Wanted {
                attempt: 0,
                due: now,
            },
        );
    }

    /// Whatever greeting has to be done now.
    pub(super) fn greet(&mut self, now: Moment) {
        self.expire_pending(now);
        if !self.ready.can_route() {
            return;
        }
        self.offer_prekeys(now);
        let due: Vec<ContactId> = self
            .people
            .greetings
            .hellos
            .iter()
            .filter(|(_, tries)| tries.due <= now)
            .map(|(id, _)| *id)
            .collect();
        for contact in due {
            self.put_hello(now, &contact);
        }
    }

    /// The contact whose prekeys are to be fetched next, the key of their box, and which try it is.
    pub(in crate::core) fn prekey_wanted(
        &mut self,
        now: Moment,
    ) -> Option<(ContactId, [u8; 32], usize)> {
        let wanted = self
            .people
            .greetings
            .wanted
            .iter()
            .find(|(_, wanted)| wanted.due <= now);
        let (contact, attempt) = wanted.map(|(id, wanted)| (*id, wanted.attempt))?;
        let key = self.prekey_key(now, &contact)?;
        Some((contact, key, attempt))
    }

    /// The key of the prekey box to be asked in this try: today's, and every second round an older
    /// day's, for contacts that have been away.
    pub(in crate::core) fn prekey_key(&self, now: Moment, contact: &ContactId) -> Option<[u8; 32]> {
        let public = ContactKey::from_bytes(self.people.contacts.get(contact)?.public)?;
        public.blinded(&self.network.0, self.prekey_day(now, contact))
    }

    pub(in crate::core) fn prekey_asked(&mut self, now: Moment, contact: &ContactId) {
        let pause = self.way() + self.way();
        if let Some(wanted) = self.people.greetings.wanted.get_mut(contact) {
            wanted.attempt += 1;
            let rounds = u64::try_from(wanted.attempt / 12).unwrap_or(u64::MAX);
            wanted.due = now + pause + Span::from_secs(rounds.saturating_mul(10)).min(MAX_PAUSE);
        }
    }

    /// A prekey box was empty: the next holder may have it. After a round through all of them the
    /// pause set when asking holds.
    pub(in crate::core) fn prekey_absent(&mut self, now: Moment, contact: &ContactId) {
        let round = usize::from(self.config.params.inbox_holders.max(1));
        if let Some(wanted) = self.people.greetings.wanted.get_mut(contact)
            && wanted.attempt % round != 0
        {
            wanted.due = now;
        }
    }

    /// A prekey box answered.
    pub(in crate::core) fn take_prekey(
        &mut self,
        now: Moment,
        contact: &ContactId,
        sealed: &[u8; SEALED_LEN],
    ) {
        if !self.people.greetings.wanted.contains_key(contact) {
            return;
        }
        let Some(known) = self.people.contacts.get(contact) else {
            return;
        };
        let Some(public) = ContactKey::from_bytes(known.public) else {
            return;
        };
        let Some(peer) = known.address.as_ref().and_then(|text| text.parse().ok()) else {
            return;
        };
        let at = now.as_millis();
        let today = self.day(now);
        let days = (0..=self.config.params.parked_days).map(|back| today.saturating_sub(back));
        let bundle = days
            .filter_map(|day| PrekeyBundle::open(&self.network.0, &public, day, sealed, at).ok())
            .next();
        let (Some(bundle), Some(own)) = (bundle, self.people.addresses.first()) else {
            self.counters.hellos_bad += 1;
            return;
        };
        let made = hello::initiate(
            &self.network.0,
            &own.secret,
            &own.address,
            &peer,
            &bundle,
            today,
            at,
            &mut self.rng,
        );
        let Ok(out) = made else {
            self.counters.hellos_bad += 1;
            return;
        };
        self.people.greetings.wanted.remove(contact);
        let id = out.secrets.id();
        let entries = out
            .entries
            .iter()
            .map(|entry| entry.to_vec().into())
            .collect();
        let mut conversation = Conversation::from_hello(out.secrets, self.conversation_params());
        self.teach_roots(now, &mut conversation);
        self.people.talks.insert(
            id,
            Talk {
                contact: *contact,
                ours: true,
                since: at,
                conversation,
            },
        );
        if let Some(known) = self.people.contacts.get_mut(contact) {
            known.hello = Some(HelloRecord {
                entries,
                day: today,
                conversation: id,
            });
        }
        self.people
            .greetings
            .hellos
            .insert(*contact, Tries { count: 0, due: now });
        self.choose_talk(now, contact);
        self.tell_contact(contact);
    }

    /// An entry of one of our inboxes.
    pub(in crate::core) fn take_inbox_entry(
        &mut self,
        now: Moment,
        reader: ReaderId,
        entry: &[u8; SEALED_LEN],
    ) {
        let Some(own) = self.people.addresses.get(reader.address) else {
            return;
        };
        let prekeys: Vec<PrekeySecret> = self
            .people
            .greetings
            .prekeys
            .iter()
            .filter(|((address, _), _)| *address == reader.address)
            .map(|(_, secret)| secret.clone())
            .collect();
        let day_ms = self.config.params.day_ms;
        let read = hello::respond(
            &self.network.0,
            &own.secret,
            &prekeys,
            reader.day,
            day_ms,
            entry,
        );
        match read {
            Ok(hello) => {
                let id = hello.secrets.id();
                let known = self.people.talks.contains_key(&id);
                if !known && !self.people.greetings.accepted.contains_key(&id) {
                    self.accept_hello(now, reader.day, hello);
                } else if self.people.greetings.may_answer_again(now, id, self.way()) {
                    // Not just another copy: the peer has not had our answer.
                    if let Some(talk) = self.people.talks.get_mut(&id) {
                        talk.conversation.hello_repeated();
                    }
                }
            }
            Err(_) => self.counters.hellos_bad += 1,
        }
    }

    fn accept_hello(&mut self, now: Moment, day: u32, hello: HelloIn) {
        let Some(contact) = self.guest(&hello.from) else {
            self.counters.hellos_bad += 1;
            return;
        };
        let id = hello.secrets.id();
        let params = self.conversation_params();
        let since = hello.sent_at;
        let mut conversation = Conversation::from_hello(hello.secrets, params);
        self.teach_roots(now, &mut conversation);
        self.people.talks.insert(
            id,
            Talk {
                contact,
                ours: false,
                since,
                conversation,
            },
        );
        self.people.greetings.answered.insert(id, now);
        // Remembered as long as its inbox can be read again, whatever becomes of the conversation:
        // beginning it anew would use its boxes twice.
        self.people.greetings.accepted.insert(id, day);
        self.write_state(&key::of(key::HELLO, &id), &day.to_le_bytes());
        self.people.greetings.wanted.remove(&contact);
        self.choose_talk(now, &contact);
        // A contact that greets again and again may not fill us up: all but the newest of its
        // hellos give way, never the one in use.
        let keep = self.active_talk(&contact);
        let mut others = self.talks_of(&contact);
        others.retain(|talk| Some(*talk) != keep && *talk != id);
        for talk in others.into_iter().skip(MAX_TALKS - 2) {
            self.people.talks.remove(&talk);
            self.people.greetings.answered.remove(&talk);
            self.delete_state(&key::of(key::CONVERSATION, &talk));
        }
        self.save_talk(&id);
        self.tell_contact(&contact);
    }

    /// The peer's first frame in a conversation.
    pub(super) fn established(&mut self, now: Moment, id: ConversationId) {
        let Some(contact) = self.people.talks.get(&id).map(|talk| talk.contact) else {
            return;
        };
        if let Some(known) = self.people.contacts.get_mut(&contact)
            && known
                .hello
                .as_ref()
                .is_some_and(|hello| hello.conversation == id)
        {
            known.hello = None;
            self.people.greetings.hellos.remove(&contact);
        }
        self.choose_talk(now, &contact);
        self.tell_contact(&contact);
    }

    /// Decides which conversation new messages go out on, and moves what is unfinished there.
    fn choose_talk(&mut self, now: Moment, contact: &ContactId) {
        let Some(known) = self.people.contacts.get(contact) else {
            return;
        };
        let (Some(own), Some(peer)) = (
            self.people.addresses.first().map(|own| own.secret.public()),
            ContactKey::from_bytes(known.public),
        ) else {
            return;
        };
        let before = self.active_talk(contact);
        let talks = self.talks_of(contact);
        let is_own = |id: &ConversationId| self.people.talks.get(id).is_some_and(|talk| talk.ours);
        let since = |id: &ConversationId| self.people.talks.get(id).map(|talk| talk.since);
        let ours = talks
            .iter()
            .copied()
            .filter(|id| is_own(id))
            .max_by_key(since);
        // The newest of the peer's hellos: an older one belongs to a state it has lost.
        let theirs = talks
            .iter()
            .copied()
            .filter(|id| !is_own(id))
            .max_by_key(|id| self.people.talks.get(id).map(|talk| talk.since));
        let chosen = match (ours, theirs) {
            (Some(ours), Some(theirs)) => {
                let answered = self
                    .people
                    .talks
                    .get(&ours)
                    .is_some_and(|talk| talk.conversation.is_established());
                match crossing(&own, &peer, answered) {
                    Keep::OwnHello => Some(ours),
                    Keep::PeerHello => Some(theirs),
                }
            }
            (ours, theirs) => ours.or(theirs),
        };
        let Some(chosen) = chosen else { return };
        if before != Some(chosen) {
            let mut moved = before.and_then(|id| self.people.talks.remove(&id));
            if let (Some(old), Some(new)) = (&mut moved, self.people.talks.get_mut(&chosen)) {
                new.conversation.absorb(&mut old.conversation);
            }
            if let (Some(id), Some(talk)) = (before, moved) {
                self.people.talks.insert(id, talk);
                self.save_talk(&id);
            }
            if let Some(known) = self.people.contacts.get_mut(contact) {
                known.active = Some(chosen.into());
            }
        }
        self.submit_pending(now, contact, chosen);
        self.save_talk(&chosen);
        self.save_contact(contact);
    }

    fn submit_pending(&mut self, now: Moment, contact: &ContactId, chosen: ConversationId) {
        let Some(known) = self.people.contacts.get_mut(contact) else {
            return;
        };
        let pending = std::mem::take(&mut known.pending);
        for message in pending {
            let Some(talk) = self.people.talks.get_mut(&chosen) else {
                return;
            };
            let class = if message.slow {
                conversation::Class::Slow
            } else {
                conversation::Class::Fast
            };
            let at = now.as_millis();
            let taken =
                talk.conversation
                    .submit(at, message.id, &message.body, class, message.deadline);
            match taken {
                Ok(()) => {}
                Err(SubmitError::Full { .. }) => {
                    if let Some(known) = self.people.contacts.get_mut(contact) {
                        known.pending.push(message);
                    }
                }
                Err(error) => {
                    let text = error.to_string();
                    self.fail(&message.id, MessageState::Failed, at, "refused", &text);
                }
            }
        }
    }

    fn expire_pending(&mut self, now: Moment) {
        let at = now.as_millis();
        let late: Vec<(ContactId, [u8; 16])> = self
            .people
            .contacts
            .values()
            .flat_map(|contact| contact.pending.iter().map(|message| (contact.id, message)))
            .filter(|(_, message)| message.deadline <= at)
            .map(|(contact, message)| (contact, message.id))
            .collect();
        for (contact, message) in late {
            if let Some(known) = self.people.contacts.get_mut(&contact) {
                known.pending.retain(|one| one.id != message);
            }
            self.save_contact(&contact);
            let reason = "its contact could not be greeted before the deadline";
            self.fail(
                &message,
                MessageState::Expired,
                at,
                "deadline_passed",
                reason,
            );
        }
    }

    /// Puts a hello into its inbox, again after a growing pause until it is answered.
    fn put_hello(&mut self, now: Moment, contact: &ContactId) {
        let today = self.day(now);
        let Some(known) = self.people.contacts.get(contact) else {
            self.people.greetings.hellos.remove(contact);
            return;
        };
        let Some(record) = known.hello.clone() else {
            self.people.greetings.hellos.remove(contact);
            return;
        };
        if today > record.day.saturating_add(self.config.params.parked_days) {
            // Its inbox is gone: greet anew. Messages move to the new conversation.
            self.people.greetings.hellos.remove(contact);
            self.want_prekey(now, *contact);
            return;
        }
        let Some(public) = ContactKey::from_bytes(known.public) else {
            return;
        };
        let Some(inbox) = public.blinded(&self.network.0, record.day) else {
            return;
        };
        let Some(holders) = self.inbox_holders(now, &inbox) else {
            return;
        };
        let count = self
            .people
            .greetings
            .hellos
            .get(contact)
            .map_or(0, |tries| tries.count);
        let copies = if count == 0 {
            HELLO_COPIES
        } else {
            holders.len()
        };
        let expires = self.parked_expiry(now);
        let epoch = self.epoch(now);
        let mut deposits = Vec::new();
        for entry in &record.entries {
            let Ok(sealed) = <[u8; SEALED_LEN]>::try_from(entry.as_slice()) else {
                continue;
            };
            let sealed = Box::new(sealed);
            let stamp = self.stamp(&Subject::put_inbox(&self.network.0, &inbox, &sealed));
            let body = Op::put_inbox(epoch, inbox, expires, sealed, stamp).encode();
            for holder in holders.iter().take(copies) {
                deposits.push(Deposit {
                    rank: Rank::Hello,
                    holder: *holder,
                    class: Class::Fast,
                    body: body.clone(),
                    made_in: epoch,
                    carries: Vec::new(),
                    contact: None,
                });
            }
        }
        // The conversation is saved before its hello leaves.
        self.save_talk(&record.conversation);
        self.journal.after(Then::Deposit(deposits));
        let pause = Span::from_millis(self.conversation_params().expected_rtt_ms * 2);
        let pause = pause.times(1 << count.min(12)).min(MAX_PAUSE);
        let tries = Tries {
            count: count.saturating_add(1),
            due: now + pause,
        };
        self.people.greetings.hellos.insert(*contact, tries);
    }

    /// Offers our prekeys at every holder of each address's box of the day.
    fn offer_prekeys(&mut self, now: Moment) {
        let today = self.day(now);
        let into_day = now.as_millis() % self.config.params.day_ms.max(1);
        let late = into_day > self.config.params.day_ms - self.config.params.day_ms / OVERLAP;
        for address in 0..self.people.addresses.len() {
            self.offer_prekey(now, address, today);
            if late {
                self.offer_prekey(now, address, today + 1);
            }
        }
        let oldest = today.saturating_sub(self.config.params.parked_days + 1);
        let gone: Vec<_> = self
            .people
            .greetings
            .prekeys
            .keys()
            .copied()
            .filter(|(_, day)| *day < oldest)
            .collect();
        for place in gone {
            self.people.greetings.prekeys.remove(&place);
            self.people.greetings.offers.remove(&place);
            self.delete_state(&prekey_key(place));
        }
        self.forget_readers_before(oldest);
        let past: Vec<ConversationId> = self
            .people
            .greetings
            .accepted
            .iter()
            .filter(|(_, day)| **day < oldest)
            .map(|(id, _)| *id)
            .collect();
        for id in past {
            self.people.greetings.accepted.remove(&id);
            self.delete_state(&key::of(key::HELLO, &id));
        }
    }

    fn offer_prekey(&mut self, now: Moment, address: usize, day: u32) {
        if self.outbox.len(Rank::Idle) > 0 {
            return;
        }
        let place = (address, day);
        let Some(blinded) = self.blinded_secret(address, day) else {
            return;
        };
        let inbox = ed25519_dalek::VerifyingKey::from(&blinded).to_bytes();
        let Some(holders) = self.inbox_holders(now, &inbox) else {
            return;
        };
        let offer = self
            .people
            .greetings
            .offers
            .entry(place)
            .or_insert_with(|| Offer {
                holders: BTreeSet::new(),
                since: now,
            });
        if (now - offer.since) > OFFER_AGAIN {
            *offer = Offer {
                holders: BTreeSet::new(),
                since: now,
            };
        }
        let missing: Vec<ShortId> = holders
            .into_iter()
            .filter(|holder| !offer.holders.contains(holder))
            .collect();
        if missing.is_empty() {
            return;
        }
        offer.holders.extend(missing.iter().copied());
        let params = &self.config.params;
        let until = params.day_ms * u64::from(day + 1 + params.parked_days);
        if !self.people.greetings.prekeys.contains_key(&place) {
            let secret = PrekeySecret::generate(day, until, &mut self.rng);
            self.write_state(&prekey_key(place), secret.to_bytes().as_slice());
            self.people.greetings.prekeys.insert(place, secret);
        }
        let (Some(secret), Some(own)) = (
            self.people.greetings.prekeys.get(&place),
            self.people.addresses.get(address),
        ) else {
            return;
        };
        let sealed = secret.seal(&self.network.0, &own.secret, &mut self.rng);
        let stamp = self.stamp(&Subject::put_prekey(&self.network.0, &inbox, &sealed));
        let issued = Millis(now.as_millis());
        let op = Op::put_prekey(
            &self.scope(now),
            &blinded,
            issued,
            Millis(until),
            sealed,
            stamp,
        );
        let body = op.encode();
        let epoch = self.epoch(now);
        let deposits = missing.into_iter().map(|holder| Deposit {
            rank: Rank::Idle,
            holder,
            class: Class::Fast,
            body: body.clone(),
            made_in: epoch,
            carries: Vec::new(),
            contact: None,
        });
        self.journal.after(Then::Deposit(deposits.collect()));
    }

    /// Our inboxes that may have something to read: address, day, key, and whether to wait there.
    pub(in crate::core) fn inboxes_to_read(
        &self,
        now: Moment,
    ) -> Vec<(usize, u32, [u8; 32], bool)> {
        let today = self.day(now);
        let first = self.people.greetings.read_from;
        let mut all = Vec::new();
        for address in 0..self.people.addresses.len() {
            for day in (first..=today).rev() {
                // Days on which nobody could have found keys of ours need no reading.
                let offered = self
                    .people
                    .greetings
                    .prekeys
                    .keys()
                    .any(|(of, from)| *of == address && *from <= day);
                if let (true, Some(secret)) = (offered, self.blinded_secret(address, day)) {
                    let key = ed25519_dalek::VerifyingKey::from(&secret).to_bytes();
                    all.push((address, day, key, day == today));
                }
            }
        }
        all
    }

    pub(in crate::core) fn blinded_secret(
        &self,
        address: usize,
        day: u32,
    ) -> Option<ExpandedSecretKey> {
        let own = self.people.addresses.get(address)?;
        let blinded = own.secret.blinded(&self.network.0, day);
        let expanded = blinded.expanded();
        Some(ExpandedSecretKey {
            scalar: expanded.scalar,
            hash_prefix: expanded.hash_prefix,
        })
    }

    fn day(&self, now: Moment) -> u32 {
        let day = now.as_millis() / self.config.params.day_ms.max(1);
        u32::try_from(day).unwrap_or(u32::MAX)
    }

    fn prekey_day(&self, now: Moment, contact: &ContactId) -> u32 {
        let attempt = self
            .people
            .greetings
            .wanted
            .get(contact)
            .map_or(0, |one| one.attempt);
        let round = attempt / 6;
        let back = if round.is_multiple_of(2) {
            0
        } else {
            u32::try_from(round / 2 + 1).unwrap_or(0)
        };
        self.day(now)
            .saturating_sub(back % (self.config.params.parked_days + 1))
    }
}

fn prekey_key((address, day): (usize, u32)) -> String {
    format!("{}{address}-{day}", key::PREKEY)
}

fn prekey_place(name: &str) -> Option<(usize, u32)> {
    let (address, day) = name.split_once('-')?;
    Some((address.parse().ok()?, day.parse().ok()?))
}
