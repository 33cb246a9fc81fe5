//! What nodes do for each other below the mix: gossip and lookups.

use std::sync::Arc;

use mix::time::Span;
use rand_core::Rng;

use super::World;
use super::queue::{Gossip, Happening, Life};
use crate::core::{Lookup, Verdict};

/// Neighbours that a gossip message is passed on to.
const FANOUT: usize = 8;
/// Distinct values that a lookup for several brings at most.
const MANY: usize = 3;
/// Crossings of a lookup: two rounds there and back.
const LOOKUP_CROSSINGS: u64 = 4;

impl World {
    /// A core publishes a bundle.
    pub(super) fn publish(&mut self, index: usize, data: Vec<u8>) {
        let mut id = [0; 16];
        id.copy_from_slice(&blake3::hash(&data).as_bytes()[..16]);
        self.nodes[index].heard.insert(id);
        self.pass_on(index, index, &Arc::new(Gossip { id, data }));
    }

    /// A bundle arrives.
    pub(super) fn hear(&mut self, from: usize, to: Life, message: Arc<Gossip>) {
        let now = self.now;
        let node = &mut self.nodes[to.node];
        if node.core_in(to).is_none() {
            return;
        }
        let size = u64::try_from(message.data.len()).unwrap_or(0);
        node.bytes.0 += size;
        self.metrics.gossip.0 += 1;
        self.metrics.gossip.1 += size;
        if !node.heard.insert(message.id) {
            return;
        }
        let Some(core) = node.core.as_mut() else {
            return;
        };
        if core.handle_bundle(now, &message.data) == Verdict::Accept {
            self.pass_on(to.node, from, &message);
        }
        self.carry(to.node);
    }

    fn pass_on(&mut self, index: usize, except: usize, message: &Arc<Gossip>) {
        let size = u64::try_from(message.data.len()).unwrap_or(0);
        let mut peers: Vec<usize> = self.nodes[index]
            .connected
            .iter()
            .copied()
            .filter(|peer| *peer != except)
            .collect();
        for _ in 0..FANOUT.min(peers.len()) {
            let pick = self.dice.gossip.next_u64() % u64::try_from(peers.len()).unwrap_or(1);
            let peer = peers.swap_remove(usize::try_from(pick).unwrap_or(0));
            self.nodes[index].bytes.1 += size;
            if let Some(latency) = self.config.link.cross(&mut self.dice.gossip) {
                let to = self.life_of(peer);
                let message = message.clone();
                let what = Happening::Gossip {
                    from: index,
                    to,
                    message,
                };
                self.queue.plan(self.now + latency, what);
            }
        }
    }

    /// A core looks something up: whoever serves it is found, in random order.
    pub(super) fn look_up(&mut self, index: usize, lookup: Lookup) {
        self.metrics.lookups.0 += 1;
        self.asked.push((self.now, index, lookup.key));
        let to = self.life_of(index);
        let most = if lookup.many { MANY } else { 1 };
        let mut values: Vec<Vec<u8>> = Vec::new();
        // Without a connection there is nobody to ask.
        if !self.nodes[index].connected.is_empty() {
            let start = self.dice.lookups.next_u64() % u64::try_from(self.len()).unwrap_or(1);
            let start = usize::try_from(start).unwrap_or(0);
            for other in (0..self.len()).map(|step| (start + step) % self.len()) {
                let node = &self.nodes[other];
                let served = node
                    .served
                    .get(&lookup.key)
                    .filter(|(_, until)| *until > self.now);
                if let (true, true, Some((value, _))) = (other != index, node.runs(), served)
                    && !values.contains(value)
                {
                    values.push(value.clone());
                    if values.len() == most {
                        break;
                    }
                }
            }
        }
        self.metrics.lookups.1 += u64::from(values.is_empty());
        let mut last = Span::ZERO;
        for value in values {
            let took = self.lookup_time();
            last = last.max(took);
            let what = Happening::Found {
                to,
                key: lookup.key,
                value,
            };
            self.queue.plan(self.now + took, what);
        }
        let took = last.max(self.lookup_time());
        self.queue.plan(
            self.now + took,
            Happening::LookupDone {
                to,
                key: lookup.key,
            },
        );
    }

    fn lookup_time(&mut self) -> Span {
        self.config
            .link
            .latency(&mut self.dice.lookups)
            .times(LOOKUP_CROSSINGS)
    }
}
