//! What a conversation sends next: which message, in which frame, into which box.
//!
//! Not here: the queue itself (`outgoing`), acknowledgements waiting (`acks`), counters of boxes
//! (`cursor`). SPEC §7.1 and §7.2.

use zeroize::Zeroizing;

use super::outgoing::Outgoing;
use super::types::{
    BoxTarget, Carried, Class, ConversationEvent, Deposit, FrameOut, MAX_BODY, MessageId,
    SubmitError, Urgency,
};
use super::{Conversation, INNER_LEN, INNER_MESSAGE, INNER_NOTE};
use crate::session::boxes::Series;
use crate::session::frame::Frame;

impl Conversation {
    /// Accepts a message. It is given up at `deadline` (Unix ms) if no acknowledgement came by then.
    ///
    /// # Errors
    /// [`SubmitError`]; nothing has changed then.
    pub fn submit(
        &mut self,
        now: u64,
        id: MessageId,
        body: &[u8],
        class: Class,
        deadline: u64,
    ) -> Result<(), SubmitError> {
        self.queue(now, id, body, (class, false), deadline)
    }

    /// Accepts the node's own word to the other node: carried like a message, told as
    /// [`ConversationEvent::Note`], shown to nobody.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_note(
        &mut self,
        now: u64,
        id: MessageId,
        body: &[u8],
        deadline: u64,
    ) -> Result<(), SubmitError> {
        self.queue(now, id, body, (Class::Fast, true), deadline)
    }

    fn queue(
        &mut self,
        now: u64,
        id: MessageId,
        body: &[u8],
        (class, note): (Class, bool),
        deadline: u64,
    ) -> Result<(), SubmitError> {
        if self.retired {
            return Err(SubmitError::Retired);
        }
        if body.len() > MAX_BODY {
            return Err(SubmitError::TooLong { len: body.len() });
        }
        if deadline <= now {
            return Err(SubmitError::Late);
        }
        self.out.push(Outgoing {
            id,
            class,
            note,
            submitted_at: now,
            deadline,
            body: body.to_vec(),
            ratcheted: None,
            pending: 0,
            acked: 0,
            sent: false,
            rounds: 0,
            resend_at: 0,
            parked: false,
        })
    }

    /// What it wants a payload slot for, if anything can be sent now.
    #[must_use]
    pub fn wants(&self, now: u64) -> Option<Urgency> {
        let urgency = self.urgency(now)?;
        let waits = self.peer_is_live(now)
            && self.out_cursor.live_left(now, &self.params) == 0
            && !self.spills(now, urgency);
        (!waits).then_some(urgency)
    }

    /// Whether it wants to send something for the first time.
    #[must_use]
    pub fn has_urgent(&self, now: u64) -> bool {
        self.wants(now)
            .is_some_and(|urgency| urgency > Urgency::Resend)
    }

    /// The next frame, sealed into the next box: the usual call at a free payload slot. Save
    /// [`snapshot`](Self::snapshot) before its packets leave. `None` if nothing can be sent now.
    pub fn next_deposit(&mut self, now: u64) -> Option<Deposit> {
        let urgency = self.wants(now)?;
        let parked = !self.peer_is_live(now) || self.spills(now, urgency);
        let series = match parked {
            true => self.out_cursor.next_parked(now, &self.params),
            false => self.out_cursor.next_live(now, &self.params)?,
        };
        let target = self.target(series)?;
        let frame = self.make_frame(now, !parked)?;
        let sealed = target.keys.seal(&frame.frame);
        Some(Deposit {
            target,
            sealed,
            frame,
        })
    }

    /// The next frame alone: oldest data never sent, else acknowledgements, else data due again;
    /// acknowledgements ride along with data. What it returns counts as sent.
    pub fn next_frame(&mut self, now: u64) -> Option<FrameOut> {
        self.make_frame(now, self.peer_is_live(now))
    }

    /// The next box alone, for a frame made by [`next_frame`](Self::next_frame). Live while the peer
    /// said it waits there, else parked; `None` while this slot's live boxes are used up.
    pub fn next_out_box(&mut self, now: u64) -> Option<BoxTarget> {
        let series = match self.peer_is_live(now) {
            true => self.out_cursor.next_live(now, &self.params)?,
            false => self.out_cursor.next_parked(now, &self.params),
        };
        self.target(series)
    }

    pub(super) fn urgency(&self, now: u64) -> Option<Urgency> {
        if !self.retired && self.out.wants_first() {
            Some(Urgency::First)
        } else if self.answer_due || self.acks.due(now) {
            Some(Urgency::Ack)
        } else if !self.retired && self.out.wants_resend(now) {
            Some(Urgency::Resend)
        } else {
            None
        }
    }

    fn make_frame(&mut self, now: u64, live: bool) -> Option<FrameOut> {
        self.last_now = self.last_now.max(now);
        let urgency = self.urgency(now)?;
        if urgency == Urgency::First {
            self.ratchet_next();
        }
        let picked = match urgency {
            Urgency::Ack => None,
            _ => Some(
                self.out
                    .pick(now, urgency == Urgency::Resend, live, &self.params)?,
            ),
        };
        let class = match &picked {
            Some(picked) => picked.class,
            None if self.acks.due(now) && self.acks.all_slow(now) => Class::Slow,
            None => Class::Fast,
        };
        let acks = self.acks.take(now, picked.is_some(), &self.params);
        if self.promising && self.params.live_window_ms > 0 && !self.retired {
            self.promised_until = now.saturating_add(self.params.live_window_ms);
        }
        self.answer_due = false;
        self.counters.frames_out += 1;
        let ack_count = acks.len() as u8;
        let carries = picked.as_ref().map(|picked| Carried {
            id: picked.fragment.id,
            index: picked.fragment.index,
            count: picked.fragment.count,
        });
        let completes = picked
            .as_ref()
            .filter(|p| p.completes)
            .map(|p| p.fragment.id);
        let first = picked.as_ref().is_some_and(|picked| picked.first);
        let frame = Frame {
            slow: class == Class::Slow,
            root: self
                .roots
                .last()
                .map(|(epoch, root)| (*epoch, self.root_check(self.role, *epoch, root.as_ref()))),
            live_until: if self.promised_until > now {
                self.promised_until
            } else {
                0
            },
            base_seq: self.out.base_seq(),
            acks,
            fragment: picked.map(|picked| picked.fragment),
        };
        Some(FrameOut {
            frame: frame.encode(),
            urgent: first || ack_count > 0 || urgency == Urgency::Ack,
            urgency,
            class,
            carries,
            completes,
            acks: ack_count,
        })
    }

    fn peer_is_live(&self, now: u64) -> bool {
        self.peer_live_until > now && self.params.live_per_slot > 0
    }

    /// Whether this frame goes to a parked box although the peer is live: new data that would wait
    /// for the next slot, and data that live boxes failed to carry twice.
    fn spills(&self, now: u64, urgency: Urgency) -> bool {
        match urgency {
            Urgency::First => self.out_cursor.live_left(now, &self.params) == 0,
            Urgency::Ack => false,
            Urgency::Resend => self.out.resend_parked(now),
        }
    }

    fn target(&self, series: Series) -> Option<BoxTarget> {
        let params = &self.params;
        let keys = self
            .out_chain
            .at(series, params.live_slot_ms, params.day_ms)?;
        let (expires_at, holders) = match series {
            // Two slots longer than its own, for late sweeps.
            Series::Live { slot, .. } => (
                (slot + 3).saturating_mul(params.live_slot_ms),
                params.live_holders,
            ),
            Series::Parked { day, .. } => {
                let last = u64::from(day) + 1 + u64::from(params.parked_days);
                (last.saturating_mul(params.day_ms), params.parked_holders)
            }
        };
        Some(BoxTarget {
            keys,
            series,
            expires_at,
            holders,
        })
    }

    fn ratchet_next(&mut self) {
        while let Some(message) = self.out.next_to_ratchet() {
            let id = message.id;
            let mut inner = Zeroizing::new(Vec::with_capacity(INNER_LEN + message.body.len()));
            inner.push(if message.note {
                INNER_NOTE
            } else {
                INNER_MESSAGE
            });
            inner.extend(id);
            inner.extend(message.submitted_at.to_le_bytes());
            inner.extend(&message.body);
            match self.ratchet.encrypt(&inner) {
                Ok(ciphertext) => return self.out.ratcheted(&id, ciphertext),
                Err(_) => {
                    self.out.remove(&id);
                    self.events.push(ConversationEvent::Failed {
                        id,
                        code: "ratchet_failed",
                    });
                }
            }
        }
    }
}
