//! The present: what the epoch's directory is worth, whether we are on duty, what we count for.
//!
//! The one place that asks the PKI about certificates.

use std::collections::BTreeMap;

use dht::{flock, pki};
use mix::time::Moment;
use storage::backend::Backend;

use super::Core;
use super::records::hex;
use super::split::Certified;
use crate::view::{Degraded, DutyView, LinkView, PeersView, PkiView, WeightView};

/// Links shown to users.
const MAX_SHOWN: usize = 1_024;

/// How the epochs went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Epochs {
    /// The last one counted, and whether it was certified in the end.
    last: Option<(u32, bool)>,
    certified: u64,
    degraded: u64,
}

impl Epochs {
    /// Counts an epoch once; one that is certified late is not degraded any more.
    pub(super) fn count(&mut self, epoch: u32, certified: bool) {
        match self.last {
            Some((last, before)) if last == epoch => {
                if certified && !before {
                    self.degraded -= 1;
                    self.certified += 1;
                    self.last = Some((epoch, true));
                }
            }
            _ => {
                self.certified += u64::from(certified);
                self.degraded += u64::from(!certified);
                self.last = Some((epoch, certified));
            }
        }
    }
}

impl<B: Backend> Core<B> {
    /// The directory of an epoch, for users.
    pub(super) fn pki_view(&mut self, epoch: u32) -> PkiView {
        let Some(view) = self.pki.epoch_view(epoch).filter(|view| view.nodes > 0) else {
            return PkiView {
                epoch,
                degraded: Some(Degraded::Behind),
                ..PkiView::default()
            };
        };
        let degraded = view.degraded.map(|why| match why {
            pki::Degraded::TooFew => Degraded::TooFew,
            pki::Degraded::Pending => Degraded::Pending,
            pki::Degraded::SetMissing => Degraded::SetMissing,
            pki::Degraded::Behind => Degraded::Behind,
            _ => Degraded::Uncertified,
        });
        PkiView {
            epoch,
            root: hex(&view.root),
            certified: degraded.is_none(),
            degraded,
            certificate: view.certificate.map(|hash| hex(&hash)),
            committee: view.committee,
            quorum: view.quorum,
            votes: view.votes,
            nodes: view.nodes,
            banned: view.bans,
        }
    }

    /// What is certified of an epoch, if that is the directory in use and not known yet.
    fn newly_certified(&mut self, epoch: u32) -> Option<Certified> {
        let root = self.pki.directory(epoch)?.root();
        if self.split.in_use(epoch) == Some(root) {
            return None;
        }
        let (certificate, candidates) = self.pki.certified(epoch)?;
        (certificate.header().root() == root).then_some(Certified {
            epoch,
            root,
            certificate,
            candidates,
        })
    }

    /// Learns what is certified now, and lets conversations say so.
    pub(super) fn follow_certificates(&mut self, now: Moment, epoch: u32) {
        if let Some(one) = self.newly_certified(epoch) {
            self.learn_certified(now, one);
        }
        for rival in self.pki.rivals(epoch) {
            self.learn_rival(now, &rival);
        }
        let said = (epoch, self.split.root(epoch));
        if self.said_root != Some(said) {
            self.said_root = Some(said);
            self.say_root(epoch);
        }
        self.epochs.count(epoch, said.1.is_some());
    }

    pub(super) fn duty_view(&mut self, now: Moment) -> DutyView {
        let params = self.config.params.clone();
        let slot = flock::slot_at(&params, now);
        let Some(flock) = self.flock(now) else {
            return DutyView::default();
        };
        DutyView {
            on_duty: flock.has(&self.short),
            until: flock::slot_start(&params, slot + 1).as_millis(),
            flock: flock.len(),
        }
    }

    pub(super) fn weight_view(&mut self, now: Moment) -> WeightView {
        let epoch = self.epoch(now);
        let directory = self.pki.directory(epoch);
        let own = directory.as_ref().and_then(|all| all.by_short(&self.short));
        let params = &self.config.params;
        let maturity = u8::try_from(params.maturity).unwrap_or(u8::MAX);
        WeightView {
            declared: self.config.weight,
            granted: own.map(|own| own.capability().weight()),
            age: own.map(|own| own.standing().age),
            mixes_from: maturity,
            full_from: maturity.saturating_mul(6),
            holds: own.is_some_and(|own| own.capability().holder()),
        }
    }

    /// What is amiss though messages may flow.
    pub(super) fn warnings(&self, pki: &PkiView) -> Vec<String> {
        let mut warnings = Vec::new();
        if !pki.certified {
            warnings.push("pki_degraded".to_owned());
        }
        if self.open_alarms() > 0 {
            warnings.push("split_view".to_owned());
        }
        warnings.extend(self.few_bootstrap());
        warnings
    }

    /// The mesh as this node sees it.
    #[must_use]
    pub fn peers_view(&mut self, now: Moment) -> PeersView {
        let epoch = self.epoch(now);
        let pki = self.pki_view(epoch);
        let directory = self.pki.directory(epoch);
        let flock = self.flock(now);
        let links = self.links.iter().take(MAX_SHOWN).map(|short| {
            let entry = directory.as_ref().and_then(|all| all.by_short(short));
            LinkView {
                node: hex(&short.0[..8]),
                weight: entry.map(|entry| entry.capability().weight()),
                age: entry.map(|entry| entry.standing().age),
                on_duty: flock.as_ref().is_some_and(|flock| flock.has(short)),
                holds: entry.is_some_and(|entry| entry.capability().holder()),
            }
        });
        PeersView {
            links: links.collect(),
            duty: self.duty_view(now),
            weight: self.weight_view(now),
            warnings: self.warnings(&pki),
            pki,
        }
    }

    /// Counts of the directory and of what contacts say of it.
    pub(super) fn pki_counts(&self) -> BTreeMap<String, u64> {
        let mut said = [0; 2];
        for talk in self.people.talks.values() {
            let counts = talk.conversation.counters();
            said[0] += counts.roots_agreed;
            said[1] += counts.roots_unchecked;
        }
        let heard = self.split.heard;
        let alarms = u64::try_from(self.split.alarms().count()).unwrap_or(u64::MAX);
        let counts = [
            ("epochs_certified", self.epochs.certified),
            ("epochs_degraded", self.epochs.degraded),
            ("roots_agreed", said[0]),
            ("roots_unchecked", said[1]),
            ("roots_disagreed", heard.disagreements),
            ("alarms", alarms),
            ("alarms_capped", heard.capped),
            ("evidence_bad", heard.bad_notes),
            ("evidence_unknown", heard.unknown_epochs),
            ("loops_other_root", self.counters.loops_other_root),
        ];
        counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count))
            .collect()
    }
}
