//! Proof of work on a thread of its own, so that nothing else waits for it.

use dht::admission::{Challenge, PROOF_LEN, Search};
use tokio::sync::oneshot;

/// The work under way, if any. Dropped or begun anew, the thread ends within one try.
#[derive(Default)]
pub(super) struct Work {
    under_way: Option<(Challenge, oneshot::Receiver<[u8; PROOF_LEN]>)>,
}

impl Work {
    /// Works on this, and on nothing else any more.
    pub(super) fn begin(&mut self, challenge: Challenge, mut search: Search) {
        let (tell, done) = oneshot::channel();
        let work = move || {
            while !tell.is_closed() {
                if let Some(proof) = search.step() {
                    // Nobody waiting is fine.
                    let _ = tell.send(proof);
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("admission".into());
        match thread.spawn(work) {
            Ok(_) => self.under_way = Some((challenge, done)),
            Err(error) => tracing::error!(%error, "no thread for this node's proof of work"),
        }
    }

    /// The proof, when it is found.
    pub(super) async fn done(&mut self) -> (Challenge, [u8; PROOF_LEN]) {
        if let Some((challenge, done)) = &mut self.under_way {
            let (challenge, found) = (*challenge, done.await);
            self.under_way = None;
            if let Ok(proof) = found {
                return (challenge, proof);
            }
        }
        std::future::pending().await
    }
}
