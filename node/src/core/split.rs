//! Split views: what this node knows of certified epochs, and what it makes of a contact's node that knows another.
//!
//! Two honest nodes never hold certificates for two roots of one epoch unless witnesses signed twice or the network is in two
//! parts. So a disagreement is an alarm, kept until the user has seen it; the two nodes show each other their certificates, and
//! whoever signed both is proven guilty. A contact can lie about its root: then there is no certificate that holds, the alarm
//! says so, and caps per contact and in all keep it from being more than a nuisance. Pure state; `listen` connects it to
//! conversations and disk, `record` is what is written. SPEC §17.

mod listen;
pub(super) mod record;

use std::collections::BTreeMap;

use dht::certificate::{Certificate, MAX_LEN};
use dht::committee::Candidates;
use dht::fault::Fault;
use mix::NetworkId;
use mix::time::Moment;

use self::record::{Alarm, State};
use super::records::ContactId;
use crate::session::conversation::MAX_ROOTS;

/// Alarms kept; beyond, one that the user has seen gives way, else the new one is only counted.
const MAX_ALARMS: usize = 64;
/// Of these with one contact.
const MAX_ALARMS_EACH: usize = 4;
/// An alarm about our own view.
const OWN: ContactId = [0; 16];
/// First byte of a note: a certificate follows.
const NOTE_CERTIFICATE: u8 = 1;

/// An epoch whose certificate this node holds, for the directory it uses.
#[derive(Clone, Debug)]
pub(crate) struct Certified {
    pub(crate) epoch: u32,
    pub(crate) root: [u8; 32],
    pub(crate) certificate: Certificate,
    /// Who might have witnessed it, as far as this node knows.
    pub(crate) candidates: Candidates,
}

/// Whom an alarm is about, and in which epoch.
pub(super) type AlarmKey = (ContactId, u32);

/// What a disagreement calls for.
#[derive(Debug, Default)]
pub(super) struct Raised {
    /// To be written and told.
    pub(super) alarm: Option<AlarmKey>,
    /// To be sent to the contact's node.
    pub(super) note: Option<Vec<u8>>,
    /// To be handed to the PKI.
    pub(super) faults: Vec<Fault>,
}

/// Counts since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Frames whose certified root isn't ours.
    pub(super) disagreements: u64,
    /// Alarms that found no room.
    pub(super) capped: u64,
    /// Notes that are no evidence of anything.
    pub(super) bad_notes: u64,
    /// Certificates of epochs in which we hold none ourselves.
    pub(super) unknown_epochs: u64,
}

/// See the module's text.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// The last [`MAX_ROOTS`] certified epochs.
    known: BTreeMap<u32, Certified>,
    alarms: BTreeMap<AlarmKey, Alarm>,
    /// The certified root this node routes by; what it said first of an epoch is in `known`.
    in_use: Option<(u32, [u8; 32])>,
    pub(super) heard: Heard,
}

impl Split {
    /// The certified root of an epoch.
    pub(super) fn root(&self, epoch: u32) -> Option<[u8; 32]> {
        self.known.get(&epoch).map(|one| one.root)
    }

    /// The certified root that this node routes by.
    pub(super) fn in_use(&self, epoch: u32) -> Option<[u8; 32]> {
        self.in_use
            .filter(|(of, _)| *of == epoch)
            .map(|(_, root)| root)
    }

    /// All certified roots kept.
    pub(super) fn roots(&self) -> impl Iterator<Item = (u32, [u8; 32])> {
        self.known.iter().map(|(epoch, one)| (*epoch, one.root))
    }

    /// Alarms, those the user has seen included.
    pub(super) fn alarms(&self) -> impl Iterator<Item = &Alarm> {
        self.alarms.values()
    }

    pub(super) fn alarm(&self, key: &AlarmKey) -> Option<&Alarm> {
        self.alarms.get(key)
    }

    /// Takes what was saved.
    pub(super) fn restore(&mut self, known: Vec<Certified>, alarms: Vec<Alarm>) {
        self.known = known.into_iter().map(|one| (one.epoch, one)).collect();
        self.alarms = alarms.into_iter().map(|one| (one.key(), one)).collect();
    }

    /// An epoch is certified here. Gives the epochs to forget if it is new, and an alarm if another root of it was certified
    /// before: someone feeds us a second present, or witnesses sign twice.
    pub(super) fn certified(&mut self, now: Moment, one: Certified) -> (Vec<u32>, Raised) {
        self.in_use = Some((one.epoch, one.root));
        if self.known.contains_key(&one.epoch) {
            return (Vec::new(), self.rival(now, &one.certificate));
        }
        self.known.insert(one.epoch, one);
        let mut gone = Vec::new();
        while self.known.len() > MAX_ROOTS {
            gone.extend(self.known.pop_first().map(|(epoch, _)| epoch));
        }
        (gone, Raised::default())
    }

    /// Another certificate of an epoch. What was certified first stays what we say; both are in the alarm.
    pub(super) fn rival(&mut self, now: Moment, rival: &Certificate) -> Raised {
        let Some(before) = self.known.get(&rival.epoch()) else {
            return Raised::default();
        };
        let raised_before = self.alarms.contains_key(&(OWN, rival.epoch()));
        if before.root == rival.header().root() || raised_before {
            return Raised::default();
        }
        let mut alarm = Alarm::new(OWN, now, before);
        alarm.answer(State::Proven, rival);
        let faults = faults(before, rival);
        alarm.faults = faults.len();
        Raised {
            alarm: self.enter(alarm),
            faults,
            ..Raised::default()
        }
    }

    /// A contact's frame commits to another root of an epoch than ours.
    pub(super) fn disagrees(
        &mut self,
        now: Moment,
        contact: ContactId,
        epoch: u32,
        check: [u8; 8],
    ) -> Raised {
        self.heard.disagreements += 1;
        if let Some(known) = self.alarms.get_mut(&(contact, epoch)) {
            known.check.get_or_insert(check);
            return Raised::default();
        }
        let Some(own) = self.known.get(&epoch) else {
            return Raised::default();
        };
        let mut alarm = Alarm::new(contact, now, own);
        alarm.check = Some(check);
        self.raise(alarm)
    }

    /// A contact's node sent a note. `means` says whether a frame's check stands for a root.
    pub(super) fn note(
        &mut self,
        now: Moment,
        network: &NetworkId,
        contact: ContactId,
        body: &[u8],
        means: impl Fn(u32, &[u8; 32], &[u8; 8]) -> bool,
    ) -> Raised {
        let Some(theirs) = evidence(network, body) else {
            self.heard.bad_notes += 1;
            return Raised::default();
        };
        let (epoch, root) = (theirs.epoch(), theirs.header().root());
        let Some(own) = self.known.get(&epoch) else {
            self.heard.unknown_epochs += 1;
            return Raised::default();
        };
        let before = self.alarms.get(&(contact, epoch));
        let answered = before.is_some_and(|alarm| alarm.state != State::Claimed);
        // The certificate must be of the root its frames stood for, as far as there were any.
        let claimed = before.and_then(|alarm| alarm.check);
        let other = claimed.is_some_and(|check| !means(epoch, &root, &check));
        if root == own.root || answered || other {
            self.heard.bad_notes += 1;
            return Raised::default();
        }
        let (fresh, own) = (before.is_none(), own.clone());
        let mut alarm = before
            .cloned()
            .unwrap_or_else(|| Alarm::new(contact, now, &own));
        if fresh && !self.has_room(&contact) {
            self.heard.capped += 1;
            return Raised::default();
        }
        let holds = theirs.verify(network, &own.candidates).is_ok();
        let faults = if holds {
            faults(&own, &theirs)
        } else {
            Vec::new()
        };
        let state = if holds {
            State::Proven
        } else {
            State::Unproven
        };
        alarm.answer(state, &theirs);
        alarm.faults = faults.len();
        let note = fresh.then(|| note_of(&own.certificate));
        Raised {
            alarm: self.enter(alarm),
            note,
            faults,
        }
    }

    /// The user has seen an alarm.
    pub(super) fn seen(&mut self, key: &AlarmKey) -> bool {
        let alarm = self.alarms.get_mut(key).filter(|alarm| !alarm.seen);
        alarm.map(|alarm| alarm.seen = true).is_some()
    }

    /// A new alarm about a contact, with our certificate for its node.
    fn raise(&mut self, alarm: Alarm) -> Raised {
        if !self.has_room(&alarm.contact) {
            self.heard.capped += 1;
            return Raised::default();
        }
        let own = self.known.get(&alarm.epoch);
        let note = own.map(|own| note_of(&own.certificate));
        Raised {
            alarm: self.enter(alarm),
            note,
            faults: Vec::new(),
        }
    }

    /// Whether one more alarm about this contact can be kept. What the user has seen gives way once its epoch can't be
    /// compared any more.
    fn has_room(&mut self, contact: &ContactId) -> bool {
        let of = |alarms: &BTreeMap<AlarmKey, Alarm>| {
            alarms.keys().filter(|(one, _)| one == contact).count()
        };
        if of(&self.alarms) >= MAX_ALARMS_EACH || self.alarms.len() >= MAX_ALARMS {
            let oldest = self.known.keys().next().copied().unwrap_or_default();
            let crowded = of(&self.alarms) >= MAX_ALARMS_EACH;
            let over = |(key, alarm): &(&AlarmKey, &Alarm)| {
                alarm.seen && alarm.epoch < oldest && (!crowded || key.0 == *contact)
            };
            let gone = self.alarms.iter().find(over).map(|(key, _)| *key);
            gone.map(|key| self.alarms.remove(&key));
        }
        of(&self.alarms) < MAX_ALARMS_EACH && self.alarms.len() < MAX_ALARMS
    }

    /// Keeps an alarm; `None` if there is no room for it.
    fn enter(&mut self, alarm: Alarm) -> Option<AlarmKey> {
        let key = alarm.key();
        if !self.alarms.contains_key(&key) && !self.has_room(&alarm.contact) {
            self.heard.capped += 1;
            return None;
        }
        self.alarms.insert(key, alarm);
        Some(key)
    }
}

/// Who signed both: certain to be guilty, whatever else is wrong.
fn faults(own: &Certified, theirs: &Certificate) -> Vec<Fault> {
    Fault::of_certificates(&own.certificate, theirs, &own.candidates)
}

fn note_of(certificate: &Certificate) -> Vec<u8> {
    let mut note = vec![NOTE_CERTIFICATE];
    note.extend_from_slice(&certificate.encode());
    note
}

/// The certificate in a note, if it is one of this network.
fn evidence(network: &NetworkId, note: &[u8]) -> Option<Certificate> {
    let (kind, bytes) = note.split_first()?;
    if *kind != NOTE_CERTIFICATE || bytes.len() > MAX_LEN {
        return None;
    }
    let certificate = Certificate::decode(bytes).ok()?;
    (certificate.header().params == *network).then_some(certificate)
}

#[cfg(test)]
pub(super) mod tests;
