//! The proof of work that our descriptor needs in networks that ask for one. The core says what to work on; whoever drives it works
//! on a thread of its own, for seconds or minutes, and brings the proof back. Until then this node is nobody.

use super::Core;
use dht::admission::{Challenge, PROOF_LEN, Search, asked};
use mix::time::Moment;
use rand_core::Rng;
use storage::backend::Backend;

/// Where our proof of work stands.
#[derive(Debug, Default)]
pub(super) struct Admission {
    /// Being worked on.
    working: Option<Challenge>,
    /// To be handed out.
    work: Option<Challenge>,
    proof: Option<(Challenge, [u8; PROOF_LEN])>,
}

impl<B: Backend> Core<B> {
    /// The proof that a descriptor valid from a moment on needs, empty if none; `None` while it is being worked out.
    pub(super) fn admission(&mut self, from: Moment) -> Option<Vec<u8>> {
        let node = dht::NodeId(self.identity.signer().verifying_key().to_bytes());
        let Some(challenge) = asked(&self.config.params, &self.network, &node, from) else {
            return Some(Vec::new());
        };
        let admission = &mut self.admission;
        if let Some((held, proof)) = &admission.proof
            && *held == challenge
        {
            return Some(proof.to_vec());
        }
        if admission.working != Some(challenge) {
            admission.working = Some(challenge);
            admission.work = Some(challenge);
        }
        None
    }

    /// Work for a thread that has nothing else to do. What is found goes to [`handle_work`](Self::handle_work); work handed out
    /// before is of no use any more.
    pub fn poll_work(&mut self) -> Option<(Challenge, Search)> {
        let challenge = self.admission.work.take()?;
        let mut start = [0; 16];
        self.rng.fill_bytes(&mut start);
        let effort = self.config.params.pow_effort;
        let search = Search::new(challenge, effort, u128::from_le_bytes(start));
        Some((challenge, search))
    }

    /// Work is done: this node can say who it is.
    pub fn handle_work(&mut self, now: Moment, challenge: Challenge, proof: [u8; PROOF_LEN]) {
        if self.admission.working == Some(challenge) {
            self.admission.working = None;
            self.admission.proof = Some((challenge, proof));
            self.publish_descriptor(now);
        }
    }
}
