//! Addresses and contacts as users manage them.

use mix::time::Moment;
use storage::backend::Backend;

use super::super::records::{AddressRecord, Contact, ContactId, PendingBody, hex, key};
use super::super::{Core, MessageState};
use crate::address::ContactAddress;
use crate::request::{RequestError, RequestErrorKind};
use crate::session::identity::ContactKey;
use crate::view::{AddressView, ContactView, Event};

/// Addresses a node may have: each is an inbox to read.
const MAX_ADDRESSES: usize = 8;
/// Contacts that the user may add.
const MAX_CONTACTS: usize = 1_000;
/// Contacts that wrote first and were not added; beyond, hellos are refused and counted.
const MAX_GUESTS: usize = 256;
/// Messages that may wait for a contact's first keys.
const MAX_PENDING: usize = 64;
/// Longest name of a contact or label of an address, bytes.
const MAX_NAME: usize = 64;

impl<B: Backend> Core<B> {
    /// The addresses given out so far.
    #[must_use]
    pub fn addresses(&self) -> Vec<AddressView> {
        let all = self.people.addresses.iter();
        all.map(|own| AddressView {
            address: own.address.to_string(),
            label: own.label.clone(),
        })
        .collect()
    }

    /// A new address, unlinkable to the others.
    pub fn new_address(&mut self, _now: Moment, label: &str) -> Result<AddressView, RequestError> {
        check_name(label, "label")?;
        if self.people.addresses.iter().any(|own| own.label == label) {
            return Err(RequestError::new(
                RequestErrorKind::Conflict,
                format!("there is an address with the label {label:?} already"),
                "choose another label; `murmur address` lists them",
            ));
        }
        if self.people.addresses.len() >= MAX_ADDRESSES {
            return Err(RequestError::new(
                RequestErrorKind::Full,
                format!("a node has at most {MAX_ADDRESSES} addresses"),
                "give out one that exists",
            ));
        }
        let mut secret = [0; 32];
        rand_core::Rng::fill_bytes(&mut self.rng, &mut secret);
        let record = AddressRecord {
            label: label.to_owned(),
            secret,
        };
        let bytes = zeroize::Zeroizing::new(minicbor::to_vec(&record).unwrap_or_default());
        // Sorted by age when read back.
        let number = u16::try_from(self.people.addresses.len()).unwrap_or(u16::MAX);
        self.write_state(&key::of(key::ADDRESS, &number.to_be_bytes()), &bytes);
        self.add_own_address(label.to_owned(), secret);
        let own = self.addresses().pop();
        own.ok_or_else(RequestError::stopped)
    }

    /// All contacts, by name.
    #[must_use]
    pub fn contacts(&self) -> Vec<ContactView> {
        let mut all: Vec<_> = self
            .people
            .contacts
            .values()
            .map(|contact| self.contact_view(contact))
            .collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Adds a contact by address and starts to greet it.
    pub fn add_contact(
        &mut self,
        now: Moment,
        name: &str,
        address: &str,
    ) -> Result<ContactView, RequestError> {
        check_name(name, "name")?;
        let invalid = |error: crate::address::AddressError| {
            RequestError::new(
                RequestErrorKind::Invalid,
                error.to_string(),
                "ask for the address again, or compare it character by character",
            )
        };
        let parsed = ContactAddress::parse(address).map_err(invalid)?;
        parsed.check_network(&self.network.0).map_err(|error| {
            RequestError::new(
                RequestErrorKind::Invalid,
                error.to_string(),
                "both nodes must run on the same --network",
            )
        })?;
        let public = parsed.contact();
        if self
            .people
            .addresses
            .iter()
            .any(|own| own.secret.public() == public)
        {
            return Err(RequestError::new(
                RequestErrorKind::Invalid,
                "this is your own address",
                "ask your contact for theirs",
            ));
        }
        let id = contact_id(&public);
        if let Some(other) = self
            .people
            .contacts
            .values()
            .find(|one| one.name == name && one.id != id)
        {
            return Err(RequestError::new(
                RequestErrorKind::Conflict,
                format!("{:?} is another contact already", other.name),
                "choose another name, or remove that contact first",
            ));
        }
        if let Some(known) = self.people.contacts.get_mut(&id) {
            // A guest gets its real name; adding someone twice changes nothing else.
            name.clone_into(&mut known.name);
            known.added = true;
            known.address.get_or_insert_with(|| parsed.to_string());
        } else {
            let added = self
                .people
                .contacts
                .values()
                .filter(|one| one.added)
                .count();
            if added >= MAX_CONTACTS {
                return Err(RequestError::new(
                    RequestErrorKind::Full,
                    format!("a node has at most {MAX_CONTACTS} contacts"),
                    "remove one with `murmur contact rm`",
                ));
            }
            self.people.contacts.insert(
                id,
                Contact {
                    id,
                    name: name.to_owned(),
                    public: *public.as_bytes(),
                    address: Some(parsed.to_string()),
                    added: true,
                    hello: None,
                    active: None,
                    pending: Vec::new(),
                },
            );
            self.want_prekey(now, id);
        }
        self.save_contact(&id);
        let known = self.people.contacts.get(&id);
        known
            .map(|contact| self.contact_view(contact))
            .ok_or_else(RequestError::stopped)
    }

    /// Forgets a contact and what was said with it.
    pub fn remove_contact(&mut self, now: Moment, name: &str) -> Result<(), RequestError> {
        let id = self.contact_named(name)?;
        for talk in self.talks_of(&id) {
            self.people.talks.remove(&talk);
            self.delete_state(&key::of(key::CONVERSATION, &talk));
        }
        let open: Vec<_> = self
            .people
            .sent
            .values()
            .filter(|sent| sent.contact == id)
            .collect();
        for message in open.into_iter().map(|sent| sent.id).collect::<Vec<_>>() {
            let at = now.as_millis();
            self.fail(
                &message,
                MessageState::Failed,
                at,
                "contact_removed",
                "its contact was removed",
            );
        }
        let received: Vec<u64> = self
            .people
            .inbox
            .values()
            .filter(|message| message.contact == id)
            .map(|message| message.seq)
            .collect();
        for seq in received {
            if let Some(gone) = self.people.inbox.remove(&seq) {
                self.people.received.remove(&gone.id);
            }
            self.delete_state(&key::of(key::INBOX, &seq.to_be_bytes()));
        }
        self.people.contacts.remove(&id);
        self.people.greetings.forget(&id);
        self.delete_state(&key::of(key::CONTACT, &id));
        Ok(())
    }

    /// A contact that wrote first: known from now on under a made-up name. `None`: too many guests.
    pub(super) fn guest(&mut self, from: &ContactAddress) -> Option<ContactId> {
        let id = contact_id(&from.contact());
        if self.people.contacts.contains_key(&id) {
            return Some(id);
        }
        if self
            .people
            .contacts
            .values()
            .filter(|one| !one.added)
            .count()
            >= MAX_GUESTS
        {
            return None;
        }
        // Short names can be forged by making keys; a taken one grows.
        let hex = hex(&id);
        let taken = |name: &String| self.people.contacts.values().any(|one| one.name == *name);
        let name = (8..=hex.len())
            .map(|digits| format!("guest-{}", &hex[..digits]))
            .find(|name| !taken(name))
            .unwrap_or_else(|| format!("guest-{hex}"));
        let contact = Contact {
            id,
            name,
            public: *from.contact().as_bytes(),
            address: Some(from.to_string()),
            added: false,
            hello: None,
            active: None,
            pending: Vec::new(),
        };
        self.people.contacts.insert(id, contact);
        self.save_contact(&id);
        Some(id)
    }

    pub(super) fn contact_named(&self, name: &str) -> Result<ContactId, RequestError> {
        let found = self
            .people
            .contacts
            .values()
            .find(|contact| contact.name == name);
        found.map(|contact| contact.id).ok_or_else(|| {
            RequestError::new(
                RequestErrorKind::NotFound,
                format!("there is no contact named {name:?}"),
                "`murmur contact list` shows the names; `murmur contact add NAME ADDRESS` adds one",
            )
        })
    }

    /// Keeps a message until its contact's keys are here.
    pub(super) fn hold_until_greeted(
        &mut self,
        contact: &ContactId,
        id: [u8; 16],
        body: Vec<u8>,
        slow: bool,
        deadline: u64,
    ) -> Result<(), RequestError> {
        let Some(known) = self.people.contacts.get_mut(contact) else {
            return Err(RequestError::stopped());
        };
        if known.pending.len() >= MAX_PENDING {
            return Err(RequestError::new(
                RequestErrorKind::Full,
                format!("{MAX_PENDING} messages already wait for this contact's first answer"),
                "wait until it has been online",
            ));
        }
        known.pending.push(PendingBody {
            id,
            body,
            slow,
            deadline,
        });
        self.save_contact(contact);
        Ok(())
    }

    pub(super) fn tell_contact(&mut self, id: &ContactId) {
        if let Some(contact) = self.people.contacts.get(id) {
            let contact = self.contact_view(contact);
            self.tell(Event::Contact { contact });
        }
    }

    fn contact_view(&self, contact: &Contact) -> ContactView {
        let talks = self.talks_of(&contact.id);
        let ready = talks
            .iter()
            .filter_map(|id| self.people.talks.get(id))
            .any(|talk| {
                talk.conversation.is_established()
                    || contact
                        .hello
                        .as_ref()
                        .is_none_or(|hello| hello.conversation != talk.conversation.id())
            });
        let state = match (talks.is_empty(), ready) {
            (true, _) => "new",
            (false, false) => "greeting",
            (false, true) => "ready",
        };
        ContactView {
            name: contact.name.clone(),
            id: hex(&contact.id),
            state: state.to_owned(),
            address: contact.address.clone(),
        }
    }
}

/// Sixteen bytes that name a contact here.
pub(super) fn contact_id(key: &ContactKey) -> ContactId {
    let digest = blake3::derive_key("murmuration/v1/contact-id", key.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}

fn check_name(name: &str, what: &str) -> Result<(), RequestError> {
    // Marks that turn or hide letters make one name look like another.
    let hidden = |letter: char| matches!(letter, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}');
    let printable = name
        .chars()
        .all(|letter| !letter.is_control() && !hidden(letter));
    if name.trim().is_empty() || name.len() > MAX_NAME || !printable {
        return Err(RequestError::new(
            RequestErrorKind::Invalid,
            format!("{name:?} can't be a {what}"),
            format!("use 1 to {MAX_NAME} bytes without control characters"),
        ));
    }
    Ok(())
}
