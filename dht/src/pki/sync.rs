//! Requests to neighbours and answers to theirs: when to ask whom for what, and how much to answer. How sets are compared is
//! [`crate::reconcile`]'s part.
//!
//! A node reconciles the set of the next epoch with three neighbours right after its cut-off, and the proven faults with them; any
//! open set with one more whenever a head shows a root that isn't ours; only if that doesn't help it reads pages. A proposed or
//! certified set that isn't ours it asks for by its root. It answers everybody, within budgets, and keeps nothing of whom it
//! answered. A newcomer's first set comes from pages: nobody starts before a head was read. The rooms: `kinds` what a request
//! looks like, `plan` what is under way, `ask` our side of an exchange, `answer` the other, `wanted` sets by root. SPEC.md §21.

use super::{Caps, Pki};
use crate::{
    counters::{DropReason, Verdict},
    id::{NodeId, short_id},
    network::NetworkParams,
    reconcile::MAX_MESSAGE,
};
use mix::time::Moment;

mod answer;
mod ask;
mod budget;
mod kinds;
mod plan;
mod wanted;

use budget::Budget;
pub(super) use kinds::Topic;
pub(super) use plan::Sync;
#[cfg(test)]
pub(super) use wanted::WantedSet;

const VERSION: u8 = 1;
/// Longest request and longest answer, in bytes.
pub const MAX_SYNC_LEN: usize = kinds::MAX_HEAD + MAX_MESSAGE;

/// Whom to send a request to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SyncPeer {
    /// Any connected peer but these: the one at `lot` modulo their number, preferably among those we chose to be linked with.
    Any {
        /// Asked before, or caught lying.
        but: Vec<NodeId>,
        /// Random.
        lot: u64,
    },
    /// This one.
    This(NodeId),
}

/// A request for a neighbour.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyncRequest {
    /// Names the exchange when its answer comes or fails.
    pub token: u64,
    /// Whom to ask.
    pub peer: SyncPeer,
    /// What to send, at most [`MAX_SYNC_LEN`] bytes.
    pub request: Vec<u8>,
}

impl Pki {
    /// The next request to a neighbour. Its answer goes to [`handle_sync_response`](Self::handle_sync_response); if there is nobody
    /// to ask, or no answer within a while, [`handle_sync_failed`](Self::handle_sync_failed) says so.
    pub fn poll_sync(&mut self) -> Option<SyncRequest> {
        self.sync.poll()
    }

    /// Reconciles an open epoch soon, with this peer or any: for whoever knows that something is missing.
    pub fn sync_soon(&mut self, now: Moment, epoch: u32, with: Option<NodeId>) {
        self.advance(now);
        self.sync.plan(self.now, Topic::Open { epoch }, with);
    }

    /// Answers a peer's request; `None` if it isn't answered. The peer's identity must be proved by the connection.
    pub fn handle_sync_request(
        &mut self,
        now: Moment,
        from: &NodeId,
        bytes: &[u8],
    ) -> Option<Vec<u8>> {
        self.advance(now);
        self.counters.sync_in += bytes.len() as u64;
        let known = self.known(&short_id(&self.network, from)).is_some();
        if !self.sync.may_answer(now, from, known) {
            self.drop(DropReason::Budget);
            return None;
        }
        match self.answer_sync(from, bytes) {
            Ok(answer) => {
                self.counters.sync_answered += 1;
                self.counters.sync_out += answer.len() as u64;
                Some(answer)
            }
            Err(reason) => {
                if self.drop(reason) == Verdict::Reject {
                    self.sync.shun(*from);
                }
                None
            }
        }
    }

    /// Takes the answer to a request.
    pub fn handle_sync_response(
        &mut self,
        now: Moment,
        token: u64,
        from: &NodeId,
        bytes: &[u8],
    ) -> Verdict {
        self.advance(now);
        self.counters.sync_in += bytes.len() as u64;
        let Some(open) = self.sync.answered(token, from) else {
            return self.drop(DropReason::Unwanted);
        };
        match self.take_answer(token, open, *from, bytes) {
            Ok(verdict) => verdict,
            Err(reason) => {
                self.sync.shun(*from);
                self.drop(reason)
            }
        }
    }

    /// A request found nobody to go to, or no answer came.
    pub fn handle_sync_failed(&mut self, now: Moment, token: u64) {
        self.advance(now);
        self.fail_sync(token);
    }
}
