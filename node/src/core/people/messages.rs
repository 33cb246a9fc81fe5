//! The life of messages: accepted, framed, deposited, confirmed, delivered, read.
//!
//! A message exists once it is on disk. A frame leaves only after the conversation that made it is
//! saved, so that a crash can never send two frames into one box or repeat a ratchet step.

use mix::sphinx::Class;
use mix::time::{Moment, Span};
use storage::backend::Backend;
use storage::{Millis, SEALED_LEN};

use super::super::fetch::{RECEIPTS, Receipt};
use super::super::outbox::{Deposit, Rank};
use super::super::records::{MessageId, Received, Sent, StepRecord, hex, key, unhex16};
use super::super::{ConversationId, Core, Then};
use super::BoxReceipts;
use crate::request::{MAX_MESSAGE, RequestError, RequestErrorKind, SendRequest};
use crate::session::boxes::Series;
use crate::session::conversation::{self, ConversationEvent, SubmitError, Urgency};
use crate::view::{Event, InboxView, MessageState, MessageView};

/// How long a message may take unless its sender says otherwise: as long as holders keep it.
const DEADLINE_DAYS: u64 = 7;
/// Sent messages remembered; the oldest finished one goes first.
const MAX_SENT: usize = 20_000;
/// Received messages kept; the oldest acknowledged one goes first.
const MAX_INBOX: usize = 20_000;
/// Frames of one contact whose first copy may wait for a slot.
const FRAMES_AHEAD: usize = 2;
/// Copies of a frame without data.
const ACK_COPIES: usize = 2;
/// Frames with waiting copies beyond which no new frame is begun: the stream is behind.
const COPIES_AHEAD: usize = 24;

impl<B: Backend> Core<B> {
    /// Accepts a message for a contact.
    pub fn send(&mut self, now: Moment, request: SendRequest) -> Result<MessageView, RequestError> {
        if request.body.len() > MAX_MESSAGE {
            return Err(RequestError::new(
                RequestErrorKind::Invalid,
                format!(
                    "the message has {} bytes; at most {MAX_MESSAGE} fit",
                    request.body.len()
                ),
                "send it in parts",
            ));
        }
        if request.body.is_empty() {
            return Err(RequestError::new(
                RequestErrorKind::Invalid,
                "the message is empty",
                "write something after the name, or pipe it in",
            ));
        }
        let contact = self.contact_named(&request.to)?;
        let mut hasher = blake3::Hasher::new_derive_key("murmuration/v1/idempotent-request");
        hasher.update(&contact).update(&request.body);
        let digest = *hasher.finalize().as_bytes();
        if let Some(wanted) = &request.idempotency_key {
            let known = self
                .people
                .sent
                .values()
                .find(|sent| sent.idempotency_key.as_ref() == Some(wanted));
            if let Some(known) = known {
                return if known.digest == digest {
                    Ok(known.view(request.to))
                } else {
                    Err(RequestError::new(
                        RequestErrorKind::Conflict,
                        "this idempotency key was used for another message",
                        "use a new key for a new message",
                    ))
                };
            }
        }
        self.make_room_for_sent()?;
        let at = now.as_millis();
        let day_ms = self.config.params.day_ms;
        let limit = request
            .deadline_ms
            .unwrap_or(DEADLINE_DAYS.saturating_mul(day_ms));
        let deadline = at.saturating_add(limit);
        let class = if request.slow {
            conversation::Class::Slow
        } else {
            conversation::Class::Fast
        };
        let mut id = [0; 16];
        rand_core::Rng::fill_bytes(&mut self.rng, &mut id);

        let active = self.active_talk(&contact);
        let talk = active.and_then(|active| self.people.talks.get_mut(&active));
        if let (Some(active), Some(talk)) = (active, talk) {
            talk.conversation
                .submit(at, id, &request.body, class, deadline)
                .map_err(refusal)?;
            self.save_talk(&active);
        } else {
            // No hello has left yet: the body waits with the contact.
            self.hold_until_greeted(&contact, id, request.body, request.slow, deadline)?;
        }
        self.people.order += 1;
        let sent = Sent {
            id,
            contact,
            order: self.people.order,
            history: vec![StepRecord::new(MessageState::Queued, at)],
            stored: None,
            failure: None,
            idempotency_key: request.idempotency_key,
            digest,
            deadline,
        };
        let view = sent.view(request.to);
        self.people.sent.insert(id, sent);
        self.save_sent(&id);
        Ok(view)
    }

    /// A sent message's life so far.
    pub fn message(&self, id: &str) -> Result<MessageView, RequestError> {
        let sent = unhex16(id).and_then(|id| self.people.sent.get(&id));
        sent.map(|sent| sent.view(self.name_of(&sent.contact)))
            .ok_or_else(|| {
                RequestError::new(
                    RequestErrorKind::NotFound,
                    format!("no message {id} was sent from here"),
                    "`murmur send` prints the id of each message",
                )
            })
    }

    /// Received messages with a position above `after`, oldest first.
    #[must_use]
    pub fn inbox(&self, after: u64, limit: usize) -> Vec<InboxView> {
        let newer = self.people.inbox.range(after.saturating_add(1)..);
        newer
            .take(limit)
            .map(|(_, message)| self.inbox_view(message))
            .collect()
    }

    /// Marks a received message as read and lets its sender know.
    pub fn ack_inbox(&mut self, now: Moment, id: &str) -> Result<(), RequestError> {
        let known = unhex16(id).and_then(|id| {
            self.people
                .inbox
                .values_mut()
                .find(|message| message.id == id)
        });
        let Some(message) = known else {
            return Err(RequestError::new(
                RequestErrorKind::NotFound,
                format!("no message {id} was received here"),
                "`murmur inbox` lists the messages with their ids",
            ));
        };
        if message.acked {
            return Ok(());
        }
        message.acked = true;
        let (seq, id, contact) = (message.seq, message.id, message.contact);
        self.save_received(seq);
        for conversation in self.talks_of(&contact) {
            if let Some(talk) = self.people.talks.get_mut(&conversation) {
                talk.conversation.mark_read(now.as_millis(), &id);
            }
            self.save_talk(&conversation);
        }
        Ok(())
    }

    /// Turns what conversations want to say into deposits, as far as the stream keeps up.
    pub(super) fn frame_conversations(&mut self, now: Moment) {
        if !self.ready.can_route() {
            return;
        }
        let at = now.as_millis();
        let mut wishes: Vec<(Urgency, ConversationId)> = self
            .people
            .talks
            .iter()
            .filter_map(|(id, talk)| talk.conversation.wants(at).map(|urgency| (urgency, *id)))
            .collect();
        wishes.sort_by_key(|(urgency, _)| std::cmp::Reverse(*urgency));
        for (urgency, conversation) in wishes {
            let behind = self.outbox.len(Rank::Copy) >= COPIES_AHEAD;
            if behind && urgency != Urgency::First {
                continue;
            }
            self.frame_one(now, conversation);
        }
    }

    fn frame_one(&mut self, now: Moment, conversation: ConversationId) {
        let Some(directory) = self.directory(now) else {
            return;
        };
        loop {
            let Some(talk) = self.people.talks.get_mut(&conversation) else {
                return;
            };
            let contact = talk.contact;
            if self.frames_under_way(&contact) >= FRAMES_AHEAD {
                return;
            }
            let Some(talk) = self.people.talks.get_mut(&conversation) else {
                return;
            };
            let Some(deposit) = talk.conversation.next_deposit(now.as_millis()) else {
                return;
            };
            let keys = &deposit.target.keys;
            let id = keys.id();
            let holders = directory.holders(&id, deposit.target.holders);
            let mut order = keys.holder_order(holders.len());
            if deposit.frame.carries.is_none() {
                // What only acknowledges is said again when asked; two copies are enough.
                order.truncate(ACK_COPIES);
            }
            let expires = Millis(deposit.target.expires_at);
            let epoch = self.epoch(now);
            let body = self.put_box(now, keys.signing(), expires, deposit.sealed);
            let class = match deposit.frame.class {
                conversation::Class::Fast => Class::Fast,
                conversation::Class::Slow => Class::Slow,
            };
            let first = if deposit.frame.urgency == Urgency::First {
                Rank::First
            } else {
                Rank::Hello
            };
            let carries: Vec<MessageId> = deposit.frame.completes.into_iter().collect();
            let in_order: Vec<_> = order
                .iter()
                .filter_map(|place| holders.get(*place).copied())
                .collect();
            let deposits = in_order
                .iter()
                .enumerate()
                .map(|(copy, holder)| Deposit {
                    rank: if copy == 0 { first } else { Rank::Copy },
                    holder: *holder,
                    class,
                    body: body.clone(),
                    made_in: epoch,
                    carries: if copy == 0 {
                        carries.clone()
                    } else {
                        Vec::new()
                    },
                    contact: (copy == 0).then_some(contact),
                })
                .collect();
            if let (Some(carried), Series::Parked { .. }) =
                (deposit.frame.carries, deposit.target.series)
            {
                self.want_receipts(now, carried.id, id, &in_order);
            }
            // The chain of boxes and the ratchet have moved: saved first, deposited after.
            self.save_talk(&conversation);
            self.journal.after(Then::Deposit(deposits));
        }
    }

    /// Asks the first holders of a parked box, once it should have arrived.
    fn want_receipts(
        &mut self,
        now: Moment,
        message: MessageId,
        id: [u8; 32],
        holders: &[mix::ShortId],
    ) {
        let already = self
            .people
            .sent
            .get(&message)
            .map_or(MessageState::Delivered, Sent::state);
        if already >= MessageState::Delivered {
            return;
        }
        let asked: Vec<_> = holders.iter().copied().take(RECEIPTS).collect();
        let per_copy = Span::from_millis(self.payload_gap_ms());
        for (copy, holder) in (1u64..).zip(&asked) {
            // By then an acknowledgement has come, if the receiver is there, and no question is needed.
            let due = now + Span::from_millis(self.usual_rtt_ms()) + per_copy.times(copy);
            self.fetches.want_receipt(Receipt {
                message,
                id,
                holder: *holder,
                due,
            });
        }
        let all = u8::try_from(holders.len()).unwrap_or(u8::MAX);
        self.people.receipts.insert(
            id,
            BoxReceipts {
                message,
                held: 0,
                of: all,
                at: now,
            },
        );
    }

    /// No answer came from a holder: after a node has gone, routes lead over it until the set changes, and a question
    /// asked once would leave a stored message `sent` for good.
    pub(in crate::core) fn receipt_lost(
        &mut self,
        now: Moment,
        message: &MessageId,
        id: &[u8; 32],
        holder: mix::ShortId,
    ) {
        let way = self.way();
        let waits = self
            .people
            .receipts
            .get(id)
            .is_some_and(|receipts| receipts.held == 0 && now - receipts.at < way.times(24));
        if waits {
            self.fetches.want_receipt(Receipt {
                message: *message,
                id: *id,
                holder,
                due: now,
            });
        }
    }

    /// A holder said whether it keeps a box of ours.
    pub(in crate::core) fn take_receipt(
        &mut self,
        now: Moment,
        message: &MessageId,
        id: &[u8; 32],
        holder: mix::ShortId,
        held: bool,
    ) {
        let way = self.way();
        let Some(receipts) = self.people.receipts.get_mut(id) else {
            return;
        };
        if !held {
            if now - receipts.at < way.times(4) {
                let due = now + way;
                self.fetches.want_receipt(Receipt {
                    message: *message,
                    id: *id,
                    holder,
                    due,
                });
            }
            return;
        }
        receipts.held = receipts.held.saturating_add(1);
        let parts: Vec<(u8, u8)> = self
            .people
            .receipts
            .values()
            .filter(|one| one.message == *message)
            .map(|one| (one.held, one.of))
            .collect();
        // A message of several boxes is stored when each of them is.
        let Some(weakest) = parts.into_iter().min() else {
            return;
        };
        if weakest.0 == 0 {
            return;
        }
        if let Some(sent) = self.people.sent.get_mut(message) {
            sent.stored = Some(weakest);
        }
        self.enter(message, MessageState::Stored, now.as_millis());
    }

    /// A packet that completes messages has left.
    pub(in crate::core) fn mark_sent(&mut self, now: Moment, messages: &[MessageId]) {
        for id in messages {
            self.enter(id, MessageState::Sent, now.as_millis());
        }
    }

    /// A fetched box.
    pub(in crate::core) fn take_box(
        &mut self,
        now: Moment,
        conversation: ConversationId,
        id: &[u8; 32],
        sealed: &[u8; SEALED_LEN],
    ) {
        let Some(talk) = self.people.talks.get_mut(&conversation) else {
            return;
        };
        let events = talk.conversation.handle_box(now.as_millis(), id, sealed);
        self.take_conversation_events(now, conversation, events);
    }

    pub(in crate::core) fn take_conversation_events(
        &mut self,
        now: Moment,
        conversation: ConversationId,
        events: Vec<ConversationEvent>,
    ) {
        for event in events {
            match event {
                ConversationEvent::Established { .. } => self.established(now, conversation),
                ConversationEvent::Message {
                    id,
                    body,
                    received_at,
                    ..
                } => {
                    self.receive(now, conversation, id, body, received_at);
                }
                ConversationEvent::Delivered { id, at } => {
                    self.fetches.drop_receipts(&id);
                    self.people.receipts.retain(|_, one| one.message != id);
                    self.enter(&id, MessageState::Delivered, at);
                }
                ConversationEvent::Read { id, at } => {
                    self.enter(&id, MessageState::Delivered, at);
                    self.enter(&id, MessageState::Read, at);
                }
                ConversationEvent::Expired { id, at } => {
                    self.fail(
                        &id,
                        MessageState::Expired,
                        at,
                        "deadline_passed",
                        "no confirmation came before its deadline",
                    );
                }
                ConversationEvent::Failed { id, code } => {
                    self.fail(
                        &id,
                        MessageState::Failed,
                        now.as_millis(),
                        code,
                        "the conversation can't carry it",
                    );
                }
                ConversationEvent::Note { body, .. } => self.hear_note(now, conversation, &body),
                ConversationEvent::RootMismatch { epoch, check } => {
                    self.hear_disagreement(now, conversation, epoch, check);
                }
            }
        }
        self.save_talk(&conversation);
    }

    fn receive(
        &mut self,
        _now: Moment,
        conversation: ConversationId,
        id: MessageId,
        body: Vec<u8>,
        received_at: u64,
    ) {
        let Some(contact) = self
            .people
            .talks
            .get(&conversation)
            .map(|talk| talk.contact)
        else {
            return;
        };
        for other in self.talks_of(&contact) {
            if other != conversation
                && let Some(talk) = self.people.talks.get_mut(&other)
            {
                talk.conversation.note_seen(&id, received_at);
            }
        }
        if !self.people.received.insert(id) {
            // Through another conversation, before a restart perhaps; acknowledged all the same.
            return;
        }
        if self.people.inbox.len() >= MAX_INBOX {
            let oldest = self.people.inbox.iter().find(|(_, message)| message.acked);
            // With none acknowledged the oldest of all goes: new words beat old ones nobody read.
            let oldest = oldest
                .or_else(|| self.people.inbox.iter().next())
                .map(|(seq, _)| *seq);
            if let Some(seq) = oldest {
                if let Some(gone) = self.people.inbox.remove(&seq) {
                    self.people.received.remove(&gone.id);
                }
                self.delete_state(&key::of(key::INBOX, &seq.to_be_bytes()));
            }
        }
        self.people.inbox_seq += 1;
        let seq = self.people.inbox_seq;
        let from = self.name_of(&contact);
        let message = Received {
            id,
            contact,
            seq,
            body,
            received_at,
            acked: false,
            from,
        };
        let view = self.inbox_view(&message);
        self.people.inbox.insert(seq, message);
        self.save_received(seq);
        self.journal
            .after(Then::Tell(Event::Inbox { message: view }));
    }

    fn inbox_view(&self, message: &Received) -> InboxView {
        use base64::Engine;
        let name = self
            .people
            .contacts
            .get(&message.contact)
            .map(|contact| contact.name.clone());
        let (body, encoding) = match String::from_utf8(message.body.clone()) {
            Ok(text) => (text, "text"),
            Err(raw) => (
                base64::engine::general_purpose::STANDARD.encode(raw.as_bytes()),
                "base64",
            ),
        };
        InboxView {
            id: hex(&message.id),
            from: name.unwrap_or_else(|| message.from.clone()),
            body,
            encoding: encoding.to_owned(),
            received_at: message.received_at,
            seq: message.seq,
            acked: message.acked,
        }
    }

    /// Enters a state, saves it and tells the user.
    fn enter(&mut self, id: &MessageId, state: MessageState, at: u64) {
        if self
            .people
            .sent
            .get_mut(id)
            .is_some_and(|sent| sent.enter(state, at))
        {
            self.save_sent(id);
            self.tell(Event::Message { id: hex(id), state });
        }
    }

    pub(super) fn fail(
        &mut self,
        id: &MessageId,
        state: MessageState,
        at: u64,
        code: &str,
        reason: &str,
    ) {
        if let Some(sent) = self.people.sent.get_mut(id)
            && !sent.state().is_final()
        {
            sent.failure = Some((code.to_owned(), reason.to_owned()));
            self.enter(id, state, at);
        }
    }

    fn save_sent(&mut self, id: &MessageId) {
        if let Some(sent) = self.people.sent.get(id) {
            let bytes = minicbor::to_vec(sent).unwrap_or_default();
            self.write_state(&key::of(key::SENT, id), &bytes);
        }
    }

    fn save_received(&mut self, seq: u64) {
        if let Some(message) = self.people.inbox.get(&seq) {
            let bytes = minicbor::to_vec(message).unwrap_or_default();
            self.write_state(&key::of(key::INBOX, &seq.to_be_bytes()), &bytes);
        }
    }

    fn make_room_for_sent(&mut self) -> Result<(), RequestError> {
        if self.people.sent.len() < MAX_SENT {
            return Ok(());
        }
        let finished = self
            .people
            .sent
            .values()
            .filter(|sent| sent.state().is_final());
        let Some(oldest) = finished.min_by_key(|sent| sent.order).map(|sent| sent.id) else {
            return Err(RequestError::new(
                RequestErrorKind::Full,
                format!("{MAX_SENT} messages are still under way"),
                "wait until some are delivered",
            ));
        };
        self.people.sent.remove(&oldest);
        self.delete_state(&key::of(key::SENT, &oldest));
        Ok(())
    }
}

pub(super) fn refusal(error: SubmitError) -> RequestError {
    let (kind, hint) = match error {
        SubmitError::TooLong { .. } => (RequestErrorKind::Invalid, "send it in parts"),
        SubmitError::Full { .. } => (RequestErrorKind::Full, "wait until some are delivered"),
        SubmitError::Late => (RequestErrorKind::Invalid, "give it a longer --deadline"),
        _ => (RequestErrorKind::Conflict, "send it again"),
    };
    RequestError::new(kind, error.to_string(), hint)
}
