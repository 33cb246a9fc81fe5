//! Between the index and the store: opening, batches, what follows when one is durable or failed, expiry. Spec: "Durability".

use std::collections::BTreeSet;

use super::{
    MailboxConfig, Mailboxes, OpenError,
    index::{Entry, Index},
    record::{self, BadRecord, Kind, Record, RecordKey},
};
use crate::{
    Millis,
    backend::{Backend, Batch, Space},
};

/// Where the store says what it was made for. The node's own keys in [`Space::State`] must not start with `storage/`.
pub(super) const META_KEY: &[u8] = b"storage/meta";
const META_VERSION: u8 = 1;
const META_LEN: usize = 1 + 32 + 8;

/// Changes on their way to the store.
#[derive(Debug, Default)]
pub(super) struct Staged {
    pub(super) batch: Batch,
    pub(super) changes: Vec<(RecordKey, Entry)>,
}

impl Staged {
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }
}

/// The batch that is being committed.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) seq: u64,
    changes: Vec<(RecordKey, Entry)>,
    dropping: Vec<u32>,
    leftovers: BTreeSet<(u32, RecordKey)>,
}

/// What opening found.
pub(super) struct Found {
    pub(super) index: Index,
    pub(super) buckets: BTreeSet<u32>,
    pub(super) dropping: BTreeSet<u32>,
    pub(super) corrupt: u64,
    pub(super) doubled: u64,
}

/// Reads the store, or begins one.
pub(super) fn open<B: Backend>(
    backend: &B,
    config: &MailboxConfig,
    now: Millis,
) -> Result<Found, OpenError> {
    match backend.get(Space::State, META_KEY)? {
        Some(meta) => check_meta(&meta, config)?,
        None => {
            let mut batch = Batch::default();
            batch.put(Space::State, META_KEY, meta(config));
            backend.commit(&batch)?;
        }
    }
    let (mut index, mut buckets, mut dropping) =
        (Index::default(), BTreeSet::new(), BTreeSet::new());
    let (mut corrupt, mut doubled, mut newer) = (0, 0, None);
    for bucket in backend.buckets()? {
        if ended(bucket, config, now) {
            dropping.insert(bucket);
            continue;
        }
        buckets.insert(bucket);
        backend.scan(
            Space::Bucket(bucket),
            &[],
            &mut |key, value| match RecordKey::from_bytes(key)
                .ok_or(BadRecord::Corrupt)
                .and_then(|key| Ok((key, Record::decode(&key, value)?)))
            {
                Ok((key, record)) => {
                    let entry = entry(bucket, &record);
                    let old = index.durable(&key).copied();
                    doubled += u64::from(old.is_some());
                    if old.is_none_or(|old| key.kind == Kind::Prekey && old.issued < entry.issued) {
                        index.make_durable(0, key, entry);
                    }
                }
                Err(BadRecord::Corrupt) => corrupt += 1,
                Err(BadRecord::Newer(found)) => newer = newer.max(Some(found)),
            },
        )?;
    }
    match newer {
        Some(found) => Err(OpenError::NewerRecords {
            found,
            known: record::VERSION,
        }),
        None => Ok(Found {
            index,
            buckets,
            dropping,
            corrupt,
            doubled,
        }),
    }
}

impl<B: Backend> Mailboxes<B> {
    pub(super) fn next_batch(&mut self) -> Option<(u64, Batch)> {
        let idle =
            self.staged.batch.is_empty() && self.dropping.is_empty() && self.leftovers.is_empty();
        if idle || self.in_flight.is_some() || self.retry_at.is_some() {
            return None;
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let staged = std::mem::take(&mut self.staged);
        let mut batch = Batch::default();
        for (bucket, key) in &self.leftovers {
            batch.delete(Space::Bucket(*bucket), key.to_bytes());
        }
        batch.append(staged.batch);
        for bucket in &self.dropping {
            batch.drop_bucket(*bucket);
        }
        self.in_flight = Some(InFlight {
            seq,
            changes: staged.changes,
            dropping: self.dropping.iter().copied().collect(),
            leftovers: self.leftovers.clone(),
        });
        Some((seq, batch))
    }

    pub(super) fn durable(&mut self, seq: u64) {
        let Some(done) = self.in_flight.take_if(|in_flight| in_flight.seq == seq) else {
            return;
        };
        for bucket in &done.dropping {
            self.dropping.remove(bucket);
            self.counters.dropped_buckets += 1;
        }
        self.leftovers.retain(|left| !done.leftovers.contains(left));
        for (key, entry) in &done.changes {
            // Its bucket may have ended while the batch was on its way.
            if self.buckets.contains(&entry.bucket) {
                self.index.make_durable(seq, *key, *entry);
            }
            if entry.buried {
                self.counters.deleted += 1
            } else {
                self.counters.stored += 1
            }
        }
        for (key, _) in done.changes {
            self.cross_over(key);
        }
    }

    pub(super) fn failed(&mut self, now: Millis, seq: u64) {
        let Some(lost) = self.in_flight.take_if(|in_flight| in_flight.seq == seq) else {
            return;
        };
        self.counters.failed_batches += 1;
        // What is staged was judged by what has just been lost, so it goes too. Nobody was told that either was here.
        let staged = std::mem::take(&mut self.staged);
        for (key, entry) in lost.changes.into_iter().chain(staged.changes) {
            self.index.roll_back(key);
            // The store may hold parts of the batch after all. A record that the index doesn't know must not come back at the next start.
            if self
                .index
                .durable(&key)
                .is_none_or(|durable| durable.bucket != entry.bucket)
            {
                self.leftovers.insert((entry.bucket, key));
            }
        }
        self.retry_at = Some(now.plus(self.config.retry_ms));
    }

    pub(super) fn writes_blocked(&self, now: Millis) -> bool {
        self.retry_at.is_some_and(|at| now < at) || self.leftovers.len() >= self.config.staged
    }

    /// Forgets buckets that have ended; the store drops them with the next batch.
    pub(super) fn expire(&mut self, now: Millis) {
        while let Some(bucket) = self
            .buckets
            .first()
            .copied()
            .filter(|bucket| ended(*bucket, &self.config, now))
        {
            self.buckets.remove(&bucket);
            self.dropping.insert(bucket);
            self.index.drop_bucket(bucket);
        }
    }

    pub(super) fn next_expiry(&self) -> Option<Millis> {
        self.buckets
            .first()
            .map(|bucket| bucket_end(*bucket, &self.config))
    }
}

/// A bucket holds what expires after the end of the one before it, up to its own end.
fn bucket_end(bucket: u32, config: &MailboxConfig) -> Millis {
    Millis(u64::from(bucket).saturating_mul(config.bucket_ms))
}

fn ended(bucket: u32, config: &MailboxConfig, now: Millis) -> bool {
    bucket_end(bucket, config) <= now
}

fn entry(bucket: u32, record: &Record) -> Entry {
    match record {
        Record::Held {
            expires,
            issued,
            ciphertext,
        } => Entry {
            bucket,
            buried: false,
            expires: *expires,
            issued: *issued,
            mark: blake3::hash(&ciphertext[..]).into(),
        },
        Record::Tombstone {
            expires,
            issued,
            mark,
        } => Entry {
            bucket,
            buried: true,
            expires: *expires,
            issued: *issued,
            mark: *mark,
        },
    }
}

fn meta(config: &MailboxConfig) -> Vec<u8> {
    let mut out = Vec::with_capacity(META_LEN);
    out.push(META_VERSION);
    out.extend_from_slice(&config.network);
    out.extend_from_slice(&config.bucket_ms.to_le_bytes());
    out
}

fn check_meta(found: &[u8], config: &MailboxConfig) -> Result<(), OpenError> {
    match found.first() {
        Some(&META_VERSION) if found.len() == META_LEN => {}
        Some(&version) if version > META_VERSION => {
            return Err(OpenError::NewerRecords {
                found: version,
                known: META_VERSION,
            });
        }
        _ => return Err(OpenError::Meta),
    }
    if found[1..33] != config.network {
        return Err(OpenError::OtherNetwork);
    }
    if found[33..] != config.bucket_ms.to_le_bytes() {
        return Err(OpenError::OtherWidth {
            configured: config.bucket_ms,
        });
    }
    Ok(())
}
