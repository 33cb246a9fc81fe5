//! Operations that ask: GET and STAT. Each is answered exactly once, from durable state. Spec: "What a holder does".

use super::{
    DropReason, Mailboxes,
    record::{Kind, Record, RecordKey},
    waiting::Waiter,
};
use crate::{
    Millis, Sealed, SurbBytes,
    answer::{Answer, Held},
    backend::{Backend, Space},
    op::Op,
};

impl<B: Backend> Mailboxes<B> {
    /// Answers, or lets the fetch wait.
    pub(super) fn fetch(&mut self, now: Millis, op: Op) -> Result<(), DropReason> {
        if self.answers.len() >= self.config.answers {
            return Err(DropReason::Busy);
        }
        if !op.signature_holds(&self.config.network) {
            return Err(DropReason::Signature);
        }
        match op {
            Op::StatBox { id, surb, .. } => {
                let held = self.held(&RecordKey::pairwise(id));
                let answer = Answer::Stat {
                    held,
                    effort: self.effort(),
                };
                self.answer(surb, answer);
            }
            Op::GetPrekey { key, surb, .. } => {
                self.read_or_wait(now, RecordKey::prekey(key), 0, surb)
            }
            Op::GetBox {
                id, wait_ms, surb, ..
            } => self.read_or_wait(now, RecordKey::pairwise(id), wait_ms, surb),
            Op::GetInbox {
                key,
                index,
                wait_ms,
                surb,
                ..
            } => {
                // An entry that cannot come any more is not worth a place among those that wait.
                let passed = index < self.index.inbox_count(&key) || index >= self.config.inbox_cap;
                self.read_or_wait(
                    now,
                    RecordKey::inbox(key, index),
                    if passed { 0 } else { wait_ms },
                    surb,
                );
            }
            _ => return Err(DropReason::Malformed),
        }
        Ok(())
    }

    /// Answers those that wait for a record that has just become durable.
    pub(super) fn cross_over(&mut self, target: RecordKey) {
        if self.index.durable(&target).is_none_or(|entry| entry.buried) {
            return;
        }
        let waiters = self.waiting.take(&target);
        if waiters.is_empty() {
            return;
        }
        let ciphertext = self.read(target);
        self.counters.crossovers += waiters.len() as u64;
        for waiter in waiters {
            let answer = self.answer_of(target, ciphertext.clone());
            self.answer(waiter.surb, answer);
        }
    }

    /// Answers a fetch that has waited long enough, or gave way.
    pub(super) fn end_wait(&mut self, waiter: Waiter) {
        let answer = self.answer_of(waiter.target, None);
        self.answer(waiter.surb, answer);
    }

    fn read_or_wait(&mut self, now: Millis, target: RecordKey, wait_ms: u32, surb: SurbBytes) {
        let wait_ms = wait_ms.min(self.config.max_wait_ms);
        let durable = self.index.durable(&target).copied();
        if durable.is_none() && wait_ms > 0 {
            if let Some(evicted) = self.waiting.add(target, now.plus(u64::from(wait_ms)), surb) {
                self.counters.evicted += 1;
                self.end_wait(evicted);
            }
            return;
        }
        let ciphertext = durable
            .filter(|entry| !entry.buried)
            .and_then(|_| self.read(target));
        let answer = self.answer_of(target, ciphertext);
        self.answer(surb, answer);
    }

    fn answer_of(&self, target: RecordKey, ciphertext: Option<Sealed>) -> Answer {
        match (target.kind, ciphertext) {
            (Kind::Inbox, ciphertext) => Answer::Inbox {
                index: target.index,
                count: self.index.inbox_count(&target.key),
                ciphertext,
            },
            (_, Some(ciphertext)) => Answer::Found { ciphertext },
            (_, None) => Answer::Empty,
        }
    }

    fn answer(&mut self, surb: SurbBytes, answer: Answer) {
        self.counters.answers += 1;
        self.answers.push_back((surb, answer));
    }

    fn held(&self, key: &RecordKey) -> Held {
        match self.index.durable(key) {
            None => Held::Absent,
            Some(entry) if entry.buried => Held::Deleted,
            Some(_) => Held::Held,
        }
    }

    /// The ciphertext of a durable record. One that the store lost or damaged is counted and forgotten, so that a deposit can bring it back.
    fn read(&mut self, key: RecordKey) -> Option<Sealed> {
        let bucket = self.index.durable(&key)?.bucket;
        let value = match self.backend.get(Space::Bucket(bucket), &key.to_bytes()) {
            Ok(value) => value,
            Err(_) => {
                self.counters.read_errors += 1;
                return None;
            }
        };
        match value.map(|value| Record::decode(&key, &value)) {
            Some(Ok(Record::Held { ciphertext, .. })) => Some(ciphertext),
            _ => {
                self.counters.corrupt += 1;
                self.index.lose(key);
                None
            }
        }
    }
}
