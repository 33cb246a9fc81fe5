//! What the layer above compares with others and hands over: certified roots with their witnesses, and proofs it came upon.

use super::Pki;
use crate::{certificate::Certificate, committee::Candidates, fault::Fault};
use mix::time::Moment;

impl Pki {
    /// The certificate of the set in use in an epoch, and who might have witnessed it; `None` while that set is not certified.
    pub fn certified(&mut self, epoch: u32) -> Option<(Certificate, Candidates)> {
        let held = self.store.past().certified(epoch)?;
        let certificate = Certificate::clone(&held.certificate);
        Some((certificate, self.candidates_of(epoch)))
    }

    /// Certificates held of an epoch for another root than that of its certified set.
    pub fn rivals(&self, epoch: u32) -> Vec<Certificate> {
        let Some(held) = self.store.past().certified(epoch) else {
            return Vec::new();
        };
        let root = held.certificate.header().root();
        let rival = |one: &&Certificate| one.epoch() == epoch && one.header().root() != root;
        self.other_certificates().filter(rival).cloned().collect()
    }

    /// Takes a proof that a node lied, found outside of what the PKI itself sees. It is checked, kept and gossiped.
    pub fn handle_fault(&mut self, now: Moment, fault: &Fault) {
        self.advance(now);
        self.accuse(fault);
    }
}
