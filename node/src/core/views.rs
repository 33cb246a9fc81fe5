//! What users see of the core, in the words of the product contract.

use mix::time::Moment;
use storage::backend::Backend;

use super::Core;
use super::records::hex;
use crate::view::{CounterView, NodeView};

impl<B: Backend> Core<B> {
    /// The node as `status` shows it; the driver adds peer id and listen addresses.
    #[must_use]
    pub fn node_view(&mut self, now: Moment) -> NodeView {
        let epoch = self.epoch(now);
        let directory = self.pki.directory(epoch);
        let (pki, duty) = (self.pki_view(epoch), self.duty_view(now));
        let weight = self.weight_view(now);
        let params = &self.config.params;
        NodeView {
            ready: self.ready.can_route(),
            reasons: self.ready.reasons.clone(),
            epoch,
            root: directory
                .as_ref()
                .map(|all| hex(&all.root()))
                .unwrap_or_default(),
            certified: pki.certified,
            degraded: !pki.certified,
            nodes: directory.as_ref().map_or(0, |all| all.nodes().len()),
            on_duty: duty.flock,
            links: self.links.len(),
            behind_nat: self.is_behind_nat(),
            profile: self.config.profile.clone(),
            network: params.name.clone(),
            warnings: self.warnings(&pki),
            alarms: self.open_alarms(),
            pki,
            duty,
            weight,
            ..NodeView::default()
        }
    }

    /// Packet counts since start.
    #[must_use]
    pub fn counters_view(&self) -> CounterView {
        let mut dropped: std::collections::BTreeMap<String, u64> = self
            .mixer
            .counters()
            .drops()
            .filter(|(_, count)| *count > 0)
            .map(|(reason, count)| (reason.name().to_owned(), count))
            .collect();
        let own = &self.counters;
        for (reason, count) in [
            ("unknown_next", own.unknown_next),
            ("not_sent", own.not_sent),
            ("answer_bad", own.answers_bad),
            ("answer_late", own.answers_late),
            ("hello_bad", own.hellos_bad),
            ("gossip_rejected", own.gossip_rejected),
            ("outbox_full", self.outbox.shed()),
        ] {
            if count > 0 {
                dropped.insert(reason.to_owned(), count);
            }
        }
        let usage = self.mailboxes.usage();
        CounterView {
            real: own.real,
            cover: own.cover,
            relayed: self.mixer.counters().relayed,
            dropped,
            loops: (own.loops_sent, own.loops_seen),
            held: (usage.records, usage.bytes),
            pki: self.pki_counts(),
            pool: self.pool.sum as f64 / self.pool.samples.max(1) as f64,
        }
    }
}
