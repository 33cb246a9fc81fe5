//! Gossip: gossipsub's settings, bundles waiting for a verdict, and bundles that found nobody to go to yet.
//!
//! Messages are anonymous (no author, no signature: records sign themselves), their id is the hash of their bytes,
//! and nothing is forwarded without an explicit [`Verdict::Accept`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, MessageAcceptance, MessageAuthenticity, MessageId,
    PeerScoreParams, PeerScoreThresholds, PublishError, TopicScoreParams, ValidationMode,
    WhitelistSubscriptionFilter,
};

use super::{Bucket, Names, Output, OverlayCounters, Verdict};

/// The largest bundle, in bytes.
pub const MAX_BUNDLE: usize = 32 * 1_024;

/// Bundles waiting for a verdict; the oldest is ignored beyond that.
const TICKETS: usize = 1_024;
/// A bundle nobody judged for so long is ignored: gossipsub forgets it soon after anyway.
const TICKET_MS: u64 = 6_000;
/// Own bundles waiting for somebody to publish to; the oldest is dropped beyond that.
const UNPUBLISHED: usize = 16;
const RETRY_MS: u64 = 300;
const GIVE_UP_MS: u64 = 60_000;
/// New bundles taken from one peer: far above what honest forwarding needs.
const PEER_RATE: u32 = 50;
const PEER_BURST: u32 = 400;
/// Peers with a rate bucket. Buckets go with the connection, so this is above the cap of connections.
const PEERS: usize = 1_024;

type Behaviour = gossipsub::Behaviour<gossipsub::IdentityTransform, WhitelistSubscriptionFilter>;

pub(super) fn behaviour(names: &Names) -> Result<Behaviour, String> {
    let topic = IdentTopic::new(names.topic.clone());
    let config = ConfigBuilder::default()
        .protocol_id_prefix(names.gossip.clone())
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        .message_id_fn(|message| MessageId::from(&id(&message.data)[..20]))
        .flood_publish(false)
        // Each message reaches a node about twice; gossipsub's own mesh of six and its lazy pull cost several times as much. What a thin
        // mesh loses is found by reconciliation at the cut-off: SPEC.md §11. One neighbour outside the mesh is told what there is, or
        // what was published before meshes formed, or in one of two that never met, would wait until then.
        .mesh_n(3)
        .mesh_n_low(2)
        .mesh_n_high(4)
        .mesh_outbound_min(1)
        .gossip_lazy(1)
        .gossip_factor(0.0)
        .max_transmit_size(MAX_BUNDLE + 1_024)
        .heartbeat_interval(Duration::from_millis(700))
        .heartbeat_initial_delay(Duration::from_millis(300))
        .history_length(10)
        .history_gossip(3)
        .duplicate_cache_time(Duration::from_secs(300))
        .connection_handler_queue_len(256)
        .build()
        .map_err(|e| e.to_string())?;
    let filter = WhitelistSubscriptionFilter([topic.hash()].into_iter().collect());
    let mut behaviour =
        Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
            .map_err(str::to_owned)?;
    behaviour.with_peer_score(score(&topic), PeerScoreThresholds::default())?;
    behaviour.subscribe(&topic).map_err(|e| e.to_string())?;
    Ok(behaviour)
}

/// The defaults, changed where they punish honest peers on a topic that is quiet for minutes (P3, P3b), where they
/// count milliseconds in the mesh as merit (P1), and for many nodes on one machine (P6).
fn score(topic: &IdentTopic) -> PeerScoreParams {
    let mut params = PeerScoreParams {
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    };
    for ip in [
        std::net::IpAddr::from([127, 0, 0, 1]),
        std::net::Ipv6Addr::LOCALHOST.into(),
    ] {
        params.ip_colocation_factor_whitelist.insert(ip);
    }
    let topic_params = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_cap: 50.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // Squared: three rejected bundles within about a minute and the peer is no longer heard.
        invalid_message_deliveries_weight: -15.0,
        invalid_message_deliveries_decay: 0.97,
        ..TopicScoreParams::default()
    };
    params.topics.insert(topic.hash(), topic_params);
    params
}

fn id(data: &[u8]) -> [u8; 32] {
    blake3::derive_key("murmuration/v1/gossip-id", data)
}

#[derive(Debug)]
struct Ticket {
    message: MessageId,
    source: PeerId,
    until: u64,
}

#[derive(Debug)]
struct Unpublished {
    data: Vec<u8>,
    until: u64,
}

/// The state beside gossipsub.
#[derive(Debug)]
pub(super) struct Gossip {
    topic: IdentTopic,
    next: u64,
    tickets: BTreeMap<u64, Ticket>,
    unpublished: VecDeque<Unpublished>,
    retry_at: u64,
    rates: BTreeMap<PeerId, Bucket>,
}

impl Gossip {
    pub(super) fn new(names: &Names) -> Self {
        Self {
            topic: IdentTopic::new(names.topic.clone()),
            next: 0,
            tickets: BTreeMap::new(),
            unpublished: VecDeque::new(),
            retry_at: 0,
            rates: BTreeMap::new(),
        }
    }

    pub(super) fn handle_event(
        &mut self,
        behaviour: &mut Behaviour,
        now: u64,
        event: gossipsub::Event,
        outputs: &mut VecDeque<Output>,
        counters: &mut OverlayCounters,
    ) {
        let gossipsub::Event::Message {
            propagation_source: source,
            message_id: message,
            message: bundle,
        } = event
        else {
            return;
        };
        if !self.within_rate(source, now) || bundle.data.len() > MAX_BUNDLE {
            counters.gossip_shed += 1;
            behaviour.report_message_validation_result(
                &message,
                &source,
                MessageAcceptance::Ignore,
            );
            return;
        }
        while self.tickets.len() >= TICKETS {
            self.ignore_oldest(behaviour, counters);
        }
        let ticket = self.next;
        self.next += 1;
        self.tickets.insert(
            ticket,
            Ticket {
                message,
                source,
                until: now + TICKET_MS,
            },
        );
        outputs.push_back(Output::Gossip {
            ticket,
            data: bundle.data,
        });
    }

    pub(super) fn verdict(
        &mut self,
        behaviour: &mut Behaviour,
        ticket: u64,
        verdict: Verdict,
        counters: &mut OverlayCounters,
    ) {
        let Some(Ticket {
            message, source, ..
        }) = self.tickets.remove(&ticket)
        else {
            return;
        };
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Ignore => MessageAcceptance::Ignore,
            Verdict::Reject => {
                counters.gossip_rejected += 1;
                MessageAcceptance::Reject
            }
        };
        behaviour.report_message_validation_result(&message, &source, acceptance);
    }

    pub(super) fn publish(
        &mut self,
        behaviour: &mut Behaviour,
        now: u64,
        data: Vec<u8>,
        counters: &mut OverlayCounters,
    ) {
        let bundle = Unpublished {
            data,
            until: now.saturating_add(GIVE_UP_MS),
        };
        if let Some(bundle) = self.try_publish(behaviour, bundle, counters) {
            if self.unpublished.is_empty() {
                self.retry_at = now + RETRY_MS;
            }
            if self.unpublished.len() == UNPUBLISHED {
                // The newest records matter most.
                self.unpublished.pop_front();
                counters.publish_failed += 1;
            }
            self.unpublished.push_back(bundle);
        }
    }

    /// Gives the bundle back if it should be tried again.
    fn try_publish(
        &self,
        behaviour: &mut Behaviour,
        bundle: Unpublished,
        counters: &mut OverlayCounters,
    ) -> Option<Unpublished> {
        if bundle.data.len() > MAX_BUNDLE {
            counters.publish_failed += 1;
            return None;
        }
        match behaviour.publish(self.topic.hash(), bundle.data.clone()) {
            // A duplicate is out already, by us or by others.
            Ok(_) | Err(PublishError::Duplicate) => None,
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::AllQueuesFull(_)) => {
                Some(bundle)
            }
            Err(_) => {
                counters.publish_failed += 1;
                None
            }
        }
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        self.rates.remove(peer);
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        // Tickets are numbered in order of time, so the first one is due first.
        let ticket = self.tickets.first_key_value().map(|(_, t)| t.until);
        let retry = (!self.unpublished.is_empty()).then_some(self.retry_at);
        [ticket, retry].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(
        &mut self,
        behaviour: &mut Behaviour,
        now: u64,
        counters: &mut OverlayCounters,
    ) {
        while self
            .tickets
            .first_key_value()
            .is_some_and(|(_, t)| t.until <= now)
        {
            self.ignore_oldest(behaviour, counters);
        }
        if !self.unpublished.is_empty() && self.retry_at <= now {
            self.retry_at = now + RETRY_MS;
            for bundle in std::mem::take(&mut self.unpublished) {
                if bundle.until <= now {
                    counters.publish_failed += 1;
                } else if let Some(bundle) = self.try_publish(behaviour, bundle, counters) {
                    self.unpublished.push_back(bundle);
                }
            }
        }
    }

    fn ignore_oldest(&mut self, behaviour: &mut Behaviour, counters: &mut OverlayCounters) {
        if let Some((
            _,
            Ticket {
                message, source, ..
            },
        )) = self.tickets.pop_first()
        {
            counters.gossip_shed += 1;
            behaviour.report_message_validation_result(
                &message,
                &source,
                MessageAcceptance::Ignore,
            );
        }
    }

    fn within_rate(&mut self, source: PeerId, now: u64) -> bool {
        if self.rates.len() >= PEERS && !self.rates.contains_key(&source) {
            self.rates.pop_first();
        }
        self.rates
            .entry(source)
            .or_insert_with(|| Bucket::new(PEER_RATE, PEER_BURST, now))
            .take(now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parts() -> (Gossip, Behaviour, VecDeque<Output>, OverlayCounters) {
        let names = Names::new(&[7; 32]).unwrap();
        (
            Gossip::new(&names),
            behaviour(&names).unwrap(),
            VecDeque::new(),
            OverlayCounters::default(),
        )
    }

    fn arrive(source: PeerId, topic: &IdentTopic, data: Vec<u8>) -> gossipsub::Event {
        gossipsub::Event::Message {
            propagation_source: source,
            message_id: MessageId::from(&id(&data)[..20]),
            message: gossipsub::Message {
                source: None,
                data,
                sequence_number: None,
                topic: topic.hash(),
            },
        }
    }

    #[test]
    fn the_retry_queue_keeps_the_newest_sixteen() {
        let (mut gossip, mut behaviour, _, mut counters) = parts();
        for i in 0..20u8 {
            gossip.publish(&mut behaviour, 0, vec![i], &mut counters);
        }
        assert_eq!(gossip.unpublished.len(), UNPUBLISHED);
        assert_eq!(gossip.unpublished[0].data, [4]);
        assert_eq!(counters.publish_failed, 4);
        assert_eq!(gossip.poll_timeout(), Some(RETRY_MS));
        gossip.handle_timeout(&mut behaviour, RETRY_MS, &mut counters);
        assert_eq!(gossip.unpublished.len(), UNPUBLISHED);
        gossip.handle_timeout(&mut behaviour, GIVE_UP_MS, &mut counters);
        assert_eq!(gossip.unpublished.len(), 0);
        assert_eq!(counters.publish_failed, 20);
        assert_eq!(gossip.poll_timeout(), None);
    }

    #[test]
    fn too_large_is_not_kept() {
        let (mut gossip, mut behaviour, _, mut counters) = parts();
        gossip.publish(&mut behaviour, 0, vec![0; MAX_BUNDLE + 1], &mut counters);
        assert_eq!((gossip.unpublished.len(), counters.publish_failed), (0, 1));
    }

    #[test]
    fn tickets_end_at_the_cap_and_in_time() {
        let (mut gossip, mut behaviour, mut outputs, mut counters) = parts();
        let topic = gossip.topic.clone();
        let total = TICKETS + 10;
        for i in 0..total {
            let event = arrive(PeerId::random(), &topic, i.to_le_bytes().to_vec());
            gossip.handle_event(&mut behaviour, 0, event, &mut outputs, &mut counters);
        }
        assert_eq!(outputs.len(), total);
        assert_eq!(gossip.tickets.len(), TICKETS);
        assert!(gossip.rates.len() <= PEERS);
        assert_eq!(counters.gossip_shed, 10);
        gossip.verdict(&mut behaviour, 20, Verdict::Reject, &mut counters);
        gossip.verdict(&mut behaviour, 20, Verdict::Reject, &mut counters);
        assert_eq!(counters.gossip_rejected, 1);
        gossip.handle_timeout(&mut behaviour, TICKET_MS, &mut counters);
        assert_eq!(gossip.tickets.len(), 0);
    }

    #[test]
    fn one_peer_above_its_rate_is_shed() {
        let (mut gossip, mut behaviour, mut outputs, mut counters) = parts();
        let (topic, flooder) = (gossip.topic.clone(), PeerId::random());
        for i in 0..PEER_BURST + 5 {
            let event = arrive(flooder, &topic, i.to_le_bytes().to_vec());
            gossip.handle_event(&mut behaviour, 0, event, &mut outputs, &mut counters);
        }
        assert_eq!(outputs.len(), PEER_BURST as usize);
        assert_eq!(counters.gossip_shed, 5);
        let event = arrive(PeerId::random(), &topic, b"honest".to_vec());
        gossip.handle_event(&mut behaviour, 0, event, &mut outputs, &mut counters);
        assert_eq!(outputs.len(), PEER_BURST as usize + 1);
    }

    #[test]
    fn the_score_settings_are_valid() {
        let topic = IdentTopic::new("t");
        score(&topic).validate().unwrap();
        assert_eq!(
            score(&topic).topics[&topic.hash()].mesh_message_deliveries_weight,
            0.0
        );
    }
}
