//! People: our addresses, contacts, the conversations with them, and the messages in both ways.
//!
//! Two contacts may greet each other at once; then there are two conversations and a rule says which
//! one carries on. What is on disk: `records`. Greeting: `people/greeting`. Contacts and addresses:
//! `people/contacts`. Messages: `people/messages`.

mod contacts;
mod greeting;
mod messages;

use std::collections::{BTreeMap, BTreeSet};

use mix::time::Moment;
use storage::backend::Backend;
use zeroize::Zeroizing;

use super::records::{AddressRecord, Contact, ContactId, MessageId, Received, Sent, hex, key};
use super::{ConversationId, Core, Then};
use crate::address::ContactAddress;
use crate::error::{Error, ErrorKind};
use crate::session::conversation::{Conversation, ConversationParams};
use crate::session::identity::ContactSecret;

/// One conversation with one contact.
#[derive(Debug)]
pub(super) struct Talk {
    pub(super) contact: ContactId,
    /// Whether our hello began it.
    ours: bool,
    /// When that hello was made, Unix milliseconds.
    since: u64,
    pub(super) conversation: Conversation,
}

impl Talk {
    /// As saved: `contact 16 | ours 1 | since 8 | snapshot`.
    fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(self.contact.to_vec());
        bytes.push(u8::from(self.ours));
        bytes.extend_from_slice(&self.since.to_le_bytes());
        bytes.extend_from_slice(&self.conversation.snapshot());
        bytes
    }

    fn from_bytes(bytes: &[u8], params: ConversationParams) -> Result<Self, Error> {
        let damaged = || damaged("conversation");
        let (contact, rest) = bytes.split_first_chunk::<16>().ok_or_else(damaged)?;
        let (ours, rest) = rest.split_first().ok_or_else(damaged)?;
        let (since, snapshot) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let conversation = Conversation::restore(snapshot, params).map_err(|cause| {
            Error::new(
                ErrorKind::Storage,
                format!("a saved conversation can't be read: {cause}"),
                "use the version that wrote it, or restore the data directory from a backup",
            )
        })?;
        Ok(Self {
            contact: *contact,
            ours: *ours != 0,
            since: u64::from_le_bytes(*since),
            conversation,
        })
    }
}

#[cfg(test)]
impl Talk {
    /// One that began without a hello.
    pub(super) fn test(contact: ContactId, conversation: Conversation) -> Self {
        Self {
            contact,
            ours: true,
            since: 0,
            conversation,
        }
    }
}

/// An address that can be given to others.
#[derive(Debug)]
struct OwnAddress {
    label: String,
    secret: ContactSecret,
    address: ContactAddress,
}

/// What holders said of one box.
#[derive(Clone, Copy, Debug)]
struct BoxReceipts {
    message: MessageId,
    held: u8,
    of: u8,
    at: Moment,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct People {
    addresses: Vec<OwnAddress>,
    contacts: BTreeMap<ContactId, Contact>,
    pub(super) talks: BTreeMap<ConversationId, Talk>,
    sent: BTreeMap<MessageId, Sent>,
    order: u64,
    inbox: BTreeMap<u64, Received>,
    inbox_seq: u64,
    /// Ids of what is in the inbox: the same message may come through two conversations.
    received: BTreeSet<MessageId>,
    receipts: BTreeMap<[u8; 32], BoxReceipts>,
    greetings: greeting::Greetings,
}

/// Boxes whose receipts are remembered; beyond, the oldest are forgotten.
const MAX_BOX_RECEIPTS: usize = 1024;

impl<B: Backend> Core<B> {
    /// Reads everything about people from the store.
    pub(super) fn load_people(&mut self, now: Moment) -> Result<(), Error> {
        self.add_own_address("main".to_owned(), *self.identity.contact_secret());
        for (_, bytes) in self.read_state(key::ADDRESS)? {
            let record: AddressRecord = decode(&bytes, "address")?;
            self.add_own_address(record.label, record.secret);
        }
        for (_, bytes) in self.read_state(key::CONTACT)? {
            let contact: Contact = decode(&bytes, "contact")?;
            self.people.contacts.insert(contact.id, contact);
        }
        let params = self.conversation_params();
        for (name, bytes) in self.read_state(key::CONVERSATION)? {
            let talk = Talk::from_bytes(&bytes, params)?;
            let id = name
                .strip_prefix(key::CONVERSATION)
                .and_then(super::records::unhex16);
            self.people
                .talks
                .insert(id.ok_or_else(|| damaged("conversation"))?, talk);
        }
        for (_, bytes) in self.read_state(key::SENT)? {
            let sent: Sent = decode(&bytes, "message")?;
            self.people.order = self.people.order.max(sent.order);
            self.people.sent.insert(sent.id, sent);
        }
        for (_, bytes) in self.read_state(key::INBOX)? {
            let message: Received = decode(&bytes, "message")?;
            self.people.inbox_seq = self.people.inbox_seq.max(message.seq);
            self.people.received.insert(message.id);
            self.people.inbox.insert(message.seq, message);
        }
        self.load_greetings(now)
    }

    /// What comes due in conversations.
    pub(super) fn tend_people(&mut self, now: Moment) {
        let at = now.as_millis();
        let due: Vec<ConversationId> = self
            .people
            .talks
            .iter()
            .filter(|(_, talk)| {
                talk.conversation
                    .poll_timeout()
                    .is_some_and(|due| due <= at)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(talk) = self.people.talks.get_mut(&id) else {
                continue;
            };
            let events = talk.conversation.handle_timeout(at);
            if !events.is_empty() {
                self.take_conversation_events(now, id, events);
            }
        }
        self.greet(now);
        self.frame_conversations(now);
        while self.people.receipts.len() > MAX_BOX_RECEIPTS {
            let oldest = self.people.receipts.iter().min_by_key(|(_, one)| one.at);
            let Some(id) = oldest.map(|(id, _)| *id) else {
                break;
            };
            self.people.receipts.remove(&id);
        }
    }

    fn add_own_address(&mut self, label: String, secret: [u8; 32]) {
        let secret = ContactSecret::from_bytes(secret);
        let params = &self.config.params;
        // The public network's addresses look different from every other network's.
        let testnet = params.name != "main";
        let address = ContactAddress::new(
            &self.network.0,
            testnet,
            secret.public(),
            params.genesis_seed(),
            params.effort,
            None,
        );
        self.people.addresses.push(OwnAddress {
            label,
            secret,
            address,
        });
    }

    pub(super) fn conversation_params(&self) -> ConversationParams {
        let params = &self.config.params;
        ConversationParams {
            live_slot_ms: params.live_slot_ms,
            live_per_slot: params.live_per_slot,
            live_window_ms: params.live_window_ms,
            day_ms: params.day_ms,
            parked_days: params.parked_days,
            max_wait_ms: params.max_wait_ms,
            expected_rtt_ms: self.usual_rtt_ms(),
            clock_tolerance_ms: params.clock_tolerance_ms,
            live_holders: usize::from(params.live_holders),
            parked_holders: usize::from(params.parked_holders),
        }
    }

    /// A frame and its acknowledgement, there and back in the mean: each waits for a slot of the
    /// payload stream, for the hops to the holder, the crossover, and the hops from it.
    pub(super) fn usual_rtt_ms(&self) -> u64 {
        let params = &self.config.params;
        let delays = 2 * u64::from(params.mixing_hops) + 1;
        let hop = params.hold_ms + params.delay_ms.first().copied().unwrap_or_default();
        2 * (self.payload_gap_ms() + delays * hop)
    }

    /// Mean time between two slots of the payload stream.
    pub(super) fn payload_gap_ms(&self) -> u64 {
        1_000_000 / u64::from(self.config.rates[0].max(1))
    }

    /// Writes a conversation as it is now.
    pub(super) fn save_talk(&mut self, id: &ConversationId) {
        let Some(talk) = self.people.talks.get(id) else {
            return;
        };
        let bytes = talk.to_bytes();
        self.write_state(&key::of(key::CONVERSATION, id), &bytes);
    }

    fn save_contact(&mut self, id: &ContactId) {
        if let Some(contact) = self.people.contacts.get(id) {
            let bytes = minicbor::to_vec(contact).unwrap_or_default();
            self.write_state(&key::of(key::CONTACT, id), &bytes);
        }
    }

    fn talks_of(&self, contact: &ContactId) -> Vec<ConversationId> {
        let of = self
            .people
            .talks
            .iter()
            .filter(|(_, talk)| talk.contact == *contact);
        of.map(|(id, _)| *id).collect()
    }

    pub(super) fn active_talk(&self, contact: &ContactId) -> Option<ConversationId> {
        let active = self.people.contacts.get(contact)?.active.as_ref()?;
        Some(**active)
    }

    pub(super) fn name_of(&self, contact: &ContactId) -> String {
        let known = self.people.contacts.get(contact);
        known.map_or_else(
            || format!("removed-{}", &hex(contact)[..8]),
            |one| one.name.clone(),
        )
    }

    /// Frames of a contact that were made and have not left: in the journal or in the outbox.
    fn frames_under_way(&self, contact: &ContactId) -> usize {
        let journaled = self.journal.waiting().filter(|then| match then {
            Then::Deposit(deposits) => deposits
                .first()
                .is_some_and(|first| first.contact.as_ref() == Some(contact)),
            Then::Publish(_) | Then::Sign(_) | Then::Tell(_) => false,
        });
        journaled.count() + self.outbox.waiting_for(contact)
    }
}

fn decode<'a, T: minicbor::Decode<'a, ()>>(bytes: &'a [u8], what: &str) -> Result<T, Error> {
    minicbor::decode(bytes).map_err(|_| damaged(what))
}

fn damaged(what: &str) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!("a saved {what} can't be read"),
        "restore the data directory from a backup; nothing was changed",
    )
}
