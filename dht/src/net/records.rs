//! Kademlia: settings, lookups, and the records this node serves.
//!
//! Strangers cannot store anything here. A node serves records it holds anyway (pages and headers of the directory)
//! if it is among the nearest it knows to their key; lookups go from node to node until somebody has the value. The
//! routing table is fed from identify only, with peers of our network.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroUsize;
use std::time::Duration;

use libp2p::kad::store::{MemoryStore, MemoryStoreConfig, RecordStore};
use libp2p::kad::{
    self, BucketInserts, Caching, GetRecordOk, InboundRequest, Mode, QueryId, QueryResult, Record,
    StoreInserts,
};
use libp2p::{Multiaddr, PeerId};

use super::{Names, Output, OverlayCounters, addresses};

/// The largest record, in bytes: with its envelope it fits Kademlia's 16 KiB message.
pub const MAX_RECORD: usize = 14 * 1_024;
/// Records served at most, and bytes of them; those that expire first make room.
pub const SERVED_CAP: usize = 1_024;
/// See [`SERVED_CAP`].
pub const SERVED_BYTES: usize = 8 << 20;

/// Nodes that serve a key.
const NEAREST: usize = 20;
const QUERY: Duration = Duration::from_secs(10);
/// Lookups running at once, and waiting for their turn or for the first peer.
const RUNNING: usize = 32;
const WAITING: usize = 256;
/// Distinct values collected by a `many` lookup, and answers after which it ends even if they all agree.
const VALUES: usize = 3;
const ANSWERS: usize = 8;

type Behaviour = kad::Behaviour<MemoryStore>;

pub(super) fn behaviour(own: PeerId, names: &Names) -> Behaviour {
    let mut config = kad::Config::new(names.kad.clone());
    config
        .set_query_timeout(QUERY)
        .set_parallelism(NonZeroUsize::MIN.saturating_add(3))
        .disjoint_query_paths(true)
        .set_record_filtering(StoreInserts::FilterBoth)
        .set_kbucket_inserts(BucketInserts::Manual)
        .set_caching(Caching::Disabled)
        // Nothing is published, replicated or refreshed behind our back.
        .set_periodic_bootstrap_interval(None)
        .set_replication_interval(None)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_record_ttl(None);
    let store = MemoryStoreConfig {
        max_records: SERVED_CAP,
        max_value_bytes: MAX_RECORD + 1,
        max_provided_keys: 0,
        max_providers_per_key: 0,
    };
    let mut behaviour = Behaviour::with_config(own, MemoryStore::with_config(own, store), config);
    behaviour.set_mode(Some(Mode::Server));
    behaviour
}

/// Replaces what the table knows of a peer by `usable`, which is at most a handful of addresses.
pub(super) fn learn(kad: &mut Behaviour, peer: &PeerId, usable: Vec<Multiaddr>) {
    debug_assert!(usable.len() <= addresses::PER_PEER);
    for address in &usable {
        kad.add_address(peer, address.clone());
    }
    let mut stale = Vec::new();
    if let Some(bucket) = kad.kbucket(*peer) {
        for entry in bucket.iter().filter(|e| e.node.key.preimage() == peer) {
            for known in entry.node.value.iter() {
                let mut bare = known.clone();
                if matches!(
                    bare.iter().last(),
                    Some(libp2p::multiaddr::Protocol::P2p(_))
                ) {
                    bare.pop();
                }
                if !usable.contains(&bare) {
                    stale.push(bare);
                }
            }
        }
    }
    for address in stale {
        kad.remove_address(peer, &address);
    }
}

#[derive(Debug)]
struct Lookup {
    key: [u8; 32],
    many: bool,
    answers: usize,
    /// Hashes of the distinct values passed on.
    values: Vec<[u8; 32]>,
}

#[derive(Debug)]
struct Waiting {
    key: [u8; 32],
    many: bool,
    until: u64,
}

/// The state beside Kademlia.
#[derive(Debug)]
pub(super) struct Records {
    own: kad::KBucketKey<PeerId>,
    running: Vec<(QueryId, Lookup)>,
    waiting: VecDeque<Waiting>,
    served: BTreeMap<[u8; 32], Served>,
    /// Their bytes.
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Served {
    until: u64,
    len: usize,
}

impl Records {
    pub(super) fn new(own: PeerId) -> Self {
        Self {
            own: kad::KBucketKey::from(own),
            running: Vec::new(),
            waiting: VecDeque::new(),
            served: BTreeMap::new(),
            bytes: 0,
        }
    }

    pub(super) fn served(&self) -> usize {
        self.served.len()
    }

    pub(super) fn served_bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn lookup(
        &mut self,
        kad: &mut Behaviour,
        now: u64,
        key: [u8; 32],
        many: bool,
        outputs: &mut VecDeque<Output>,
        counters: &mut OverlayCounters,
    ) {
        if self.waiting.len() >= WAITING {
            counters.lookups_shed += 1;
            outputs.push_back(Output::LookupDone { key, found: 0 });
            return;
        }
        self.waiting.push_back(Waiting {
            key,
            many,
            until: now.saturating_add(60_000),
        });
        self.start_waiting(kad);
    }

    /// Starts lookups while there is room. With an empty table a lookup would end at once, so it waits for a peer.
    pub(super) fn start_waiting(&mut self, kad: &mut Behaviour) {
        while self.running.len() < RUNNING {
            if kad.kbuckets().next().is_none()
                && self
                    .waiting
                    .front()
                    .is_none_or(|w| !self.served.contains_key(&w.key))
            {
                return;
            }
            let Some(Waiting { key, many, .. }) = self.waiting.pop_front() else {
                return;
            };
            let query = kad.get_record(kad::RecordKey::new(&key));
            self.running.push((
                query,
                Lookup {
                    key,
                    many,
                    answers: 0,
                    values: Vec::new(),
                },
            ));
        }
    }

    pub(super) fn handle_event(
        &mut self,
        kad: &mut Behaviour,
        event: kad::Event,
        outputs: &mut VecDeque<Output>,
        counters: &mut OverlayCounters,
    ) {
        match event {
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::GetRecord(result),
                step,
                ..
            } => {
                if let Ok(GetRecordOk::FoundRecord(found)) = result {
                    self.found(kad, id, found.record, outputs);
                }
                if step.last {
                    self.done(id, outputs);
                    self.start_waiting(kad);
                }
            }
            // A bootstrap is a lookup of ourselves and then one for every farther bucket. The first is enough, and
            // ended here the others never send a request.
            kad::Event::OutboundQueryProgressed {
                id,
                result: QueryResult::Bootstrap(_),
                step,
                ..
            } if !step.last => {
                if let Some(mut query) = kad.query_mut(&id) {
                    query.finish();
                }
            }
            kad::Event::InboundRequest {
                request: InboundRequest::PutRecord { .. } | InboundRequest::AddProvider { .. },
            } => counters.store_refused += 1,
            _ => {}
        }
    }

    fn found(
        &mut self,
        kad: &mut Behaviour,
        id: QueryId,
        record: Record,
        outputs: &mut VecDeque<Output>,
    ) {
        let Some((_, lookup)) = self.running.iter_mut().find(|(query, _)| *query == id) else {
            return;
        };
        lookup.answers += 1;
        let hash = *blake3::hash(&record.value).as_bytes();
        let fits = record.key.as_ref() == lookup.key && record.value.len() <= MAX_RECORD;
        if fits && lookup.values.len() < VALUES && !lookup.values.contains(&hash) {
            lookup.values.push(hash);
            outputs.push_back(Output::Found {
                key: lookup.key,
                value: record.value,
            });
        }
        let wanted = if lookup.many { VALUES } else { 1 };
        if (lookup.values.len() >= wanted || lookup.answers >= ANSWERS)
            && let Some(mut query) = kad.query_mut(&id)
        {
            query.finish();
        }
    }

    fn done(&mut self, id: QueryId, outputs: &mut VecDeque<Output>) {
        if let Some(at) = self.running.iter().position(|(query, _)| *query == id) {
            let (_, lookup) = self.running.swap_remove(at);
            outputs.push_back(Output::LookupDone {
                key: lookup.key,
                found: lookup.values.len(),
            });
        }
    }

    pub(super) fn serve(
        &mut self,
        kad: &mut Behaviour,
        now: u64,
        key: [u8; 32],
        value: Vec<u8>,
        ttl_ms: u64,
        counters: &mut OverlayCounters,
    ) {
        if value.len() > MAX_RECORD || !self.is_near(kad, &key) {
            counters.serve_skipped += 1;
            self.unserve(kad, &key);
            return;
        }
        self.unserve(kad, &key);
        let len = value.len();
        while self.served.len() >= SERVED_CAP || self.bytes + len > SERVED_BYTES {
            let first = self.served.iter().min_by_key(|(_, one)| one.until);
            let Some(first) = first.map(|(key, _)| *key) else {
                break;
            };
            counters.serve_skipped += 1;
            self.unserve(kad, &first);
        }
        let record = Record {
            key: kad::RecordKey::new(&key),
            value,
            publisher: None,
            expires: None,
        };
        if kad.store_mut().put(record).is_ok() {
            let until = now.saturating_add(ttl_ms);
            self.served.insert(key, Served { until, len });
            self.bytes += len;
        } else {
            counters.serve_skipped += 1;
        }
    }

    /// Fewer than [`NEAREST`] known peers are nearer to the key than this node.
    fn is_near(&self, kad: &mut Behaviour, key: &[u8; 32]) -> bool {
        let target = kad::KBucketKey::from(kad::RecordKey::new(key).to_vec());
        let own = self.own.distance(&target);
        kad.get_closest_local_peers(&target)
            .take(NEAREST)
            .filter(|peer| peer.distance(&target) < own)
            .count()
            < NEAREST
    }

    pub(super) fn unserve(&mut self, kad: &mut Behaviour, key: &[u8; 32]) {
        if let Some(gone) = self.served.remove(key) {
            self.bytes -= gone.len;
            kad.store_mut().remove(&kad::RecordKey::new(key));
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        let waiting = self.waiting.front().map(|w| w.until);
        // At most SERVED_CAP entries, looked through only when the caller's timer is set again.
        let served = self.served.values().map(|one| one.until).min();
        [waiting, served].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(
        &mut self,
        kad: &mut Behaviour,
        now: u64,
        outputs: &mut VecDeque<Output>,
    ) {
        let expired: Vec<[u8; 32]> = self
            .served
            .iter()
            .filter(|(_, one)| one.until <= now)
            .map(|(key, _)| *key)
            .collect();
        for key in &expired {
            self.unserve(kad, key);
        }
        while self.waiting.front().is_some_and(|w| w.until <= now) {
            if let Some(Waiting { key, .. }) = self.waiting.pop_front() {
                outputs.push_back(Output::LookupDone { key, found: 0 });
            }
        }
    }
}
