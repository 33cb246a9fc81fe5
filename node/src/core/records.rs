//! What the core keeps on disk about people and messages, as canonical CBOR sealed by the vault.
//!
//! Field numbers are the format: a number is never reused, an unknown one is ignored by an older
//! reader. Keys of the store are in [`key`]; the byte tables are in `node/SPEC.md`, "State".

use minicbor::{Decode, Encode};

use crate::view::{MessageState, MessageView, Step};

/// Keys of `Space::State`. Every value is sealed with its own key as label.
pub(super) mod key {
    pub(crate) const IDENTITY: &str = "identity";
    pub(crate) const PKI: &str = "pki";
    pub(crate) const GUARDS: &str = "guards";
    pub(crate) const ADDRESS: &str = "address/";
    pub(crate) const CONTACT: &str = "contact/";
    pub(crate) const CONVERSATION: &str = "conversation/";
    pub(crate) const PREKEY: &str = "prekey/";
    pub(crate) const HELLO: &str = "hello/";
    pub(crate) const BEAT: &str = "beat/";
    pub(crate) const DUTY: &str = "duty/";
    pub(crate) const SENT: &str = "sent/";
    pub(crate) const INBOX: &str = "inbox/";
    pub(crate) const CERTIFIED: &str = "certified/";
    pub(crate) const PEERS: &str = "peers";
    pub(crate) const ALARM: &str = "alarm/";

    /// The key of one record: its kind and its id in hex.
    pub(crate) fn of(prefix: &str, id: &[u8]) -> String {
        format!("{prefix}{}", super::hex(id))
    }
}

/// Sixteen random bytes that name a message to its sender and its receiver.
pub(super) type MessageId = [u8; 16];
/// The first sixteen bytes of a hash of the contact's key.
pub(super) type ContactId = [u8; 16];

/// A message that this node sent.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Sent {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) id: MessageId,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) contact: ContactId,
    /// Position in the order of submission; eviction takes the oldest that is final.
    #[n(2)]
    pub(super) order: u64,
    #[n(3)]
    pub(super) history: Vec<StepRecord>,
    #[n(4)]
    pub(super) stored: Option<(u8, u8)>,
    #[n(5)]
    pub(super) failure: Option<(String, String)>,
    #[n(6)]
    pub(super) idempotency_key: Option<String>,
    /// Hash of contact and body, so that a reused idempotency key with other content is noticed.
    #[cbor(n(7), with = "minicbor::bytes")]
    pub(super) digest: [u8; 32],
    /// Unix milliseconds after which it counts as expired.
    #[n(8)]
    pub(super) deadline: u64,
}

/// One step of a message's life.
#[derive(Clone, Copy, Debug, Encode, Decode)]
pub(super) struct StepRecord {
    #[n(0)]
    state: u8,
    /// Unix milliseconds.
    #[n(1)]
    at: u64,
}

/// A message that this node received.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Received {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) id: MessageId,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) contact: ContactId,
    #[n(2)]
    pub(super) seq: u64,
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(super) body: Vec<u8>,
    #[n(4)]
    pub(super) received_at: u64,
    #[n(5)]
    pub(super) acked: bool,
    /// The name the contact had, kept for when it is removed.
    #[n(6)]
    pub(super) from: String,
}

/// Someone this node talks to.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Contact {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) id: ContactId,
    #[n(1)]
    pub(super) name: String,
    /// The contact's Ed25519 key.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(super) public: [u8; 32],
    #[n(3)]
    pub(super) address: Option<String>,
    /// Whether the user added it (a guest wrote first and has a made-up name).
    #[n(4)]
    pub(super) added: bool,
    /// Our hello, until the contact has answered.
    #[n(5)]
    pub(super) hello: Option<HelloRecord>,
    /// The conversation that new messages go out on.
    #[n(6)]
    pub(super) active: Option<minicbor::bytes::ByteArray<16>>,
    /// Messages accepted before there was a conversation.
    #[n(7)]
    pub(super) pending: Vec<PendingBody>,
}

/// Our hello on its way.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct HelloRecord {
    /// The inbox entries, 1,600 bytes each.
    #[n(0)]
    pub(super) entries: Vec<minicbor::bytes::ByteVec>,
    /// The inbox's day.
    #[n(1)]
    pub(super) day: u32,
    /// The conversation it opens.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(super) conversation: [u8; 16],
}

/// A message that waits for its contact's prekeys.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct PendingBody {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) id: MessageId,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) body: Vec<u8>,
    #[n(2)]
    pub(super) slow: bool,
    #[n(3)]
    pub(super) deadline: u64,
}

/// An address of ours besides the first.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct AddressRecord {
    #[n(0)]
    pub(super) label: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) secret: [u8; 32],
}

const STATES: [MessageState; 7] = [
    MessageState::Queued,
    MessageState::Sent,
    MessageState::Stored,
    MessageState::Delivered,
    MessageState::Read,
    MessageState::Failed,
    MessageState::Expired,
];

impl StepRecord {
    pub(super) fn new(state: MessageState, at: u64) -> Self {
        let index = STATES.iter().position(|known| *known == state).unwrap_or(0);
        Self {
            state: u8::try_from(index).unwrap_or(0),
            at,
        }
    }

    fn view(self) -> Step {
        let state = STATES
            .get(usize::from(self.state))
            .copied()
            .unwrap_or(MessageState::Queued);
        Step { state, at: self.at }
    }
}

impl Sent {
    pub(super) fn state(&self) -> MessageState {
        self.history
            .last()
            .map_or(MessageState::Queued, |step| step.view().state)
    }

    /// Enters `state` unless the message is past it; says whether anything changed.
    pub(super) fn enter(&mut self, state: MessageState, at: u64) -> bool {
        let now = self.state();
        if now.is_final() || now >= state {
            return false;
        }
        // A receipt may come later than the word that the message was delivered meanwhile: it was
        // stored by then.
        for step in &mut self.history {
            if step.view().state == MessageState::Stored {
                step.at = step.at.min(at);
            }
        }
        self.history.push(StepRecord::new(state, at));
        true
    }

    pub(super) fn view(&self, to: String) -> MessageView {
        MessageView {
            id: hex(&self.id),
            to,
            state: self.state(),
            history: self.history.iter().map(|step| step.view()).collect(),
            stored: self.stored,
            code: self.failure.as_ref().map(|(code, _)| code.clone()),
            reason: self.failure.as_ref().map(|(_, reason)| reason.clone()),
        }
    }
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Sixteen bytes from 32 hex digits.
pub(crate) fn unhex16(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(bytes)
}
