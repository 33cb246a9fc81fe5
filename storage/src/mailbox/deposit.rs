//! Operations that change something: PUT and DEL. Each check before the dearer one; the signature comes last. Spec: "What a holder does".

use super::{
    DropReason, Mailboxes,
    index::Entry,
    record::{Record, RecordKey},
};
use crate::{
    Millis, Sealed,
    backend::{Backend, Space},
    op::Op,
    stamp::{Proof, Subject},
};

/// A deposit of any kind, before it is judged.
struct Deposit<'a> {
    key: RecordKey,
    expires: Millis,
    issued: Millis,
    mark: [u8; 32],
    stamp: &'a Proof,
    subject: Subject,
    ciphertext: &'a Sealed,
}

impl<B: Backend> Mailboxes<B> {
    /// Stages a deposit, or says why not.
    pub(super) fn deposit(&mut self, now: Millis, op: &Op) -> Result<(), DropReason> {
        let network = &self.config.network;
        let mut new = match op {
            Op::PutBox {
                id,
                expires,
                stamp,
                ciphertext,
                ..
            } => Deposit {
                key: RecordKey::pairwise(*id),
                expires: *expires,
                issued: Millis(0),
                mark: mark(ciphertext),
                stamp,
                subject: Subject::put_box(network, id, ciphertext),
                ciphertext,
            },
            Op::PutInbox {
                key,
                expires,
                stamp,
                ciphertext,
                ..
            } => Deposit {
                key: RecordKey::inbox(*key, 0),
                expires: *expires,
                issued: Millis(0),
                mark: mark(ciphertext),
                stamp,
                subject: Subject::put_inbox(network, key, ciphertext),
                ciphertext,
            },
            Op::PutPrekey {
                key,
                issued,
                expires,
                stamp,
                ciphertext,
                ..
            } => Deposit {
                key: RecordKey::prekey(*key),
                expires: *expires,
                issued: *issued,
                mark: mark(ciphertext),
                stamp,
                subject: Subject::put_prekey(network, key, ciphertext),
                ciphertext,
            },
            _ => return Err(DropReason::Malformed),
        };
        if new.expires <= now {
            return Err(DropReason::Expired);
        }
        if new.expires.since(now) > self.config.max_ttl_ms {
            return Err(DropReason::TooLong);
        }
        let place = match op {
            Op::PutInbox { key, .. } => self.place_in_inbox(key, &new.mark)?,
            _ => self.place(&new)?,
        };
        let Some((index, earliest)) = place else {
            self.counters.repeated += 1;
            return Ok(());
        };
        new.key.index = index;
        if self.writes_blocked(now) {
            return Err(DropReason::StoreFailed);
        }
        if self.staged.len() >= self.config.staged {
            return Err(DropReason::Busy);
        }
        let bucket = self.bucket_for(new.expires, earliest)?;
        let entry = Entry {
            bucket,
            buried: false,
            expires: new.expires,
            issued: new.issued,
            mark: new.mark,
        };
        if self.index.bytes_with(&new.key, &entry) > self.config.quota_bytes {
            return Err(DropReason::Full);
        }
        if !self.stamp.holds(&new.subject, new.stamp, self.effort()) {
            return Err(DropReason::Stamp);
        }
        if !op.signature_holds(&self.config.network) {
            return Err(DropReason::Signature);
        }
        let record = Record::Held {
            expires: new.expires,
            issued: new.issued,
            ciphertext: new.ciphertext.clone(),
        };
        self.stage(new.key, entry, &record);
        Ok(())
    }

    /// Stages a tombstone in the place of what is deleted; it ends when that would have ended.
    pub(super) fn delete(&mut self, now: Millis, op: &Op) -> Result<(), DropReason> {
        let key = match op {
            Op::DelBox { id, .. } => RecordKey::pairwise(*id),
            Op::DelInbox { key, index, .. } => RecordKey::inbox(*key, *index),
            _ => return Err(DropReason::Malformed),
        };
        let old = *self.index.latest(&key).ok_or(DropReason::Absent)?;
        if old.buried {
            self.counters.repeated += 1;
            return Ok(());
        }
        if self.writes_blocked(now) {
            return Err(DropReason::StoreFailed);
        }
        if self.staged.len() >= self.config.staged {
            return Err(DropReason::Busy);
        }
        if !op.signature_holds(&self.config.network) {
            return Err(DropReason::Signature);
        }
        let record = Record::Tombstone {
            expires: old.expires,
            issued: old.issued,
            mark: old.mark,
        };
        self.stage(
            key,
            Entry {
                buried: true,
                ..old
            },
            &record,
        );
        Ok(())
    }

    /// Index and earliest bucket of a box or prekey box; none if this very deposit is here already, an error if another one is in its place.
    fn place(&self, new: &Deposit<'_>) -> Result<Option<(u16, u32)>, DropReason> {
        match self.index.latest(&new.key) {
            None => Ok(Some((0, 0))),
            Some(old) if old.issued < new.issued => Ok(Some((0, 0))),
            Some(old) if old.issued > new.issued => Err(DropReason::Stale),
            Some(old) if old.buried => Err(DropReason::Buried),
            Some(old) if old.mark == new.mark => Ok(None),
            Some(_) => Err(DropReason::Conflict),
        }
    }

    /// The index of a new inbox entry and the earliest bucket it may lie in; none if the entry is here already.
    ///
    /// An entry never ends before the one in front of it: then the highest index lives longest and no index is given out twice.
    fn place_in_inbox(
        &self,
        key: &[u8; 32],
        mark: &[u8; 32],
    ) -> Result<Option<(u16, u32)>, DropReason> {
        let mut next = 0;
        let mut earliest = 0;
        for (index, entry) in self.index.inbox(key) {
            if entry.mark == *mark {
                return Ok(None);
            }
            next = index.saturating_add(1);
            earliest = entry.bucket;
        }
        if next >= self.config.inbox_cap {
            Err(DropReason::InboxFull)
        } else {
            Ok(Some((next, earliest)))
        }
    }

    /// The bucket for this expiry, not before `earliest`. At the cap of buckets the next later one that exists.
    fn bucket_for(&self, expires: Millis, earliest: u32) -> Result<u32, DropReason> {
        let wanted = u32::try_from(expires.0.div_ceil(self.config.bucket_ms))
            .map_err(|_| DropReason::TooLong)?;
        let wanted = wanted.max(earliest);
        if self.dropping.contains(&wanted) {
            return Err(DropReason::Expired);
        }
        if self.buckets.contains(&wanted) || self.buckets.len() < self.config.buckets {
            return Ok(wanted);
        }
        self.buckets
            .range(wanted..)
            .next()
            .copied()
            .ok_or(DropReason::Buckets)
    }

    fn stage(&mut self, key: RecordKey, entry: Entry, record: &Record) {
        // A newer prekey box may end in another bucket than the one it replaces.
        if let Some(old) = self
            .index
            .latest(&key)
            .filter(|old| old.bucket != entry.bucket)
        {
            let space = Space::Bucket(old.bucket);
            self.staged.batch.delete(space, key.to_bytes());
        }
        self.buckets.insert(entry.bucket);
        self.index.stage(self.next_seq, key, entry);
        self.staged.batch.put(
            Space::Bucket(entry.bucket),
            key.to_bytes(),
            record.encode(&key),
        );
        self.staged.changes.push((key, entry));
    }
}

fn mark(ciphertext: &Sealed) -> [u8; 32] {
    blake3::hash(&ciphertext[..]).into()
}
