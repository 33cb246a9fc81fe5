//! Two hellos that cross: both contacts added each other at once and two conversations exist.
//!
//! Both receive on both. Messages go out on one, chosen by [`crossing`], the same on both sides in
//! the end; what the other one had not delivered moves over with its ids, so a message that came
//! through both is shown once. SPEC §7.5.

use super::Conversation;
use super::incoming::Seen;
use super::types::MessageId;
use crate::session::identity::ContactKey;

/// Which of two crossing hellos messages go out on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The conversation our own hello opened.
    OwnHello,
    /// The conversation the peer's hello opened.
    PeerHello,
}

/// The rule: the hello of the smaller contact key stays. While that is ours and unanswered
/// (`own_established` is that conversation's `is_established`), the peer's is used, which the peer
/// surely has; once the peer answers ours, both are on it.
#[must_use]
pub fn crossing(own: &ContactKey, peer: &ContactKey, own_established: bool) -> Keep {
    if own < peer && own_established {
        Keep::OwnHello
    } else {
        Keep::PeerHello
    }
}

impl Conversation {
    /// Takes over what `other`, a conversation with the same contact, has not delivered. `other`
    /// goes on receiving and acknowledging but sends no data any more. Calling it again is harmless;
    /// calling it the other way round turns the roles back.
    pub fn absorb(&mut self, other: &mut Self) {
        self.retired = false;
        other.retired = true;
        for mut message in std::mem::take(&mut other.out.messages) {
            message.ratcheted = None;
            (message.pending, message.acked) = (0, 0);
            (message.sent, message.rounds, message.resend_at) = (false, 0, 0);
            if self.out.messages.iter().all(|known| known.id != message.id) {
                self.out.messages.push_back(message);
            }
        }
        self.out
            .messages
            .make_contiguous()
            .sort_by_key(|message| message.submitted_at);
        self.out
            .delivered
            .extend(std::mem::take(&mut other.out.delivered));
        for seen in &other.incoming.seen {
            self.incoming.remember(seen.clone());
        }
    }

    /// Whether another conversation took over sending.
    #[must_use]
    pub const fn is_retired(&self) -> bool {
        self.retired
    }

    /// A message came through the other conversation with the same contact: it is acknowledged here
    /// too, but not told again. Call it on both for each message received while there are two.
    pub fn note_seen(&mut self, id: &MessageId, received_at: u64) {
        self.incoming.remember(Seen {
            id: *id,
            received_at,
            read_at: None,
            slow: false,
        });
    }
}
