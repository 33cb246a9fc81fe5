//! The other side of an exchange: what a neighbour gets that asks us. Nothing of it is kept.
//!
//! An empty answer says that we have none of what was asked for. No answer at all is for who asks too much, or wrongly.

use super::Topic;
use crate::{
    bundle::{self, Record},
    counters::{DropReason, Verdict},
    id::NodeId,
    pki::{Pki, announce::News, store::pair},
    reconcile::{self, Items, MAX_MESSAGE, Message},
    wire::Reader,
};

/// An exchange that brought at most so many new records passes them on by gossip: others may lack them as we did.
const RELAYED: usize = 16;

impl Pki {
    pub(super) fn answer_sync(
        &mut self,
        from: &NodeId,
        bytes: &[u8],
    ) -> Result<Vec<u8>, DropReason> {
        let (topic, body) = Topic::split(bytes)?;
        if (topic.epoch()).is_some_and(|epoch| !self.answers_about(topic, epoch)) {
            return Err(DropReason::Epoch);
        }
        match topic {
            Topic::Open { epoch } => {
                let message = Message::decode(body)?;
                if self.take_items(epoch, &message) == Verdict::Reject {
                    return Err(self.forgery_of(from));
                }
                Ok(reconcile::answer(&self.store.held(epoch), &message))
            }
            Topic::Rooted { epoch, root } => {
                // A mirror gives nothing; what comes all the same isn't looked at.
                let message = Message::decode(body)?;
                let store = &mut self.store;
                let set = self.held.serve(epoch, &root, || store.directory(epoch));
                Ok(set.map_or_else(Vec::new, |set| reconcile::answer(set, &message)))
            }
            Topic::Certificate { epoch, hash } => {
                let certificate = self.certificate_for(epoch, &hash);
                Ok(certificate
                    .filter(|c| c.len() <= MAX_MESSAGE)
                    .unwrap_or_default())
            }
            Topic::Receipt { epoch } => self.give_receipt(epoch, from, body),
            Topic::Faults => {
                let message = Message::decode(body)?;
                if self.take_fault_items(&message) == Verdict::Reject {
                    return Err(self.forgery_of(from));
                }
                Ok(reconcile::answer(&self.faults.items(), &message))
            }
        }
    }

    /// Sets change, and receipts count, only before an epoch is over; a certificate is asked for longer.
    fn answers_about(&self, topic: Topic, epoch: u32) -> bool {
        matches!(topic, Topic::Certificate { .. }) || self.store.is_open(epoch)
    }

    /// What is wrong was counted; the peer learns nothing.
    pub(in crate::pki) fn forgery_of(&mut self, from: &NodeId) -> DropReason {
        self.sync.shun(*from);
        DropReason::Unwanted
    }

    /// Takes the items of a message by the rules of gossip. A few new ones are gossiped onwards: what only one of us knew at the
    /// cut-off, others lack as well.
    pub(super) fn take_items(&mut self, epoch: u32, message: &Message<'_>) -> Verdict {
        let mut news = Vec::new();
        for item in message.items() {
            let key = self.store.held(epoch).key_of(item);
            let (Some(key), Some((descriptor, beat))) = (key, pair(item)) else {
                return self.drop(DropReason::Malformed);
            };
            let taken = self.take(&[Record::Descriptor(descriptor), Record::Beat(beat)]);
            self.store.refuse_unless_held(epoch, key);
            news.extend(taken.new);
            if taken.forged {
                return Verdict::Reject;
            }
        }
        self.pass_on(news)
    }

    /// Takes fault proofs, likewise.
    pub(super) fn take_fault_items(&mut self, message: &Message<'_>) -> Verdict {
        let mut news = Vec::new();
        for item in message.items() {
            let mut reader = Reader::new(item);
            let key = self.faults.items().key_of(item);
            let (Some(key), Some(record)) = (key, bundle::record(&mut reader)) else {
                return self.drop(DropReason::Malformed);
            };
            let taken = self.take(&[record]);
            self.faults.refuse_unless_held(key);
            news.extend(taken.new);
            if taken.forged {
                return Verdict::Reject;
            }
        }
        self.pass_on(news)
    }

    pub(in crate::pki) fn pass_on(&mut self, news: Vec<News>) -> Verdict {
        self.counters.sync_records += news.len() as u64;
        if news.is_empty() {
            return Verdict::Ignore;
        }
        if news.len() <= RELAYED {
            for news in news {
                self.announce.relay(self.now, news);
            }
        }
        Verdict::Accept
    }
}
