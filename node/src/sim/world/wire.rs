//! Connections, links and packets.
//!
//! A connection is what gossip and lookups need; a link is a connection that one of the two nodes
//! wants packets to go over. Links keep the order of packets, as the real substreams do.

use dht::id::NodeId;
use mix::time::Span;
use rand_core::Rng;

use super::World;
use super::queue::{Happening, Life};
use crate::sim::adversary::{Adversary, Frame};

/// Crossings that a dial takes: TCP, noise, multiplexer, the first substream.
const DIAL_CROSSINGS: u64 = 6;
/// Longest pause of a node before it dials again a peer that came back.
const REDIAL_MS: u64 = 1_000;
impl World {
    /// Puts a hostile role between a node and its links.
    pub fn corrupt(&mut self, index: usize, role: Box<dyn Adversary>) {
        self.watched = true;
        if let Some(node) = self.nodes.get_mut(index) {
            node.role = Some(role);
        }
    }

    /// The links a core wants have changed.
    pub(super) fn want_links(&mut self, index: usize, links: &[(NodeId, Vec<Vec<u8>>)]) {
        let wanted = links
            .iter()
            .filter_map(|(id, _)| self.index.get(id).copied())
            .collect();
        let before = std::mem::replace(&mut self.nodes[index].wanted, wanted);
        for peer in self.nodes[index].wanted.clone() {
            if !self.nodes[index].linked.contains(&peer) && !before.contains(&peer) {
                self.dial(index, peer, Span::ZERO);
            }
        }
        for peer in before {
            let unwanted = !self.nodes[index].wanted.contains(&peer)
                && !self.nodes[peer].wanted.contains(&index);
            if unwanted && self.nodes[index].linked.contains(&peer) {
                self.part(index, peer);
            }
        }
    }

    /// A node has come up: those who want links to it dial again after a pause.
    pub(super) fn invite(&mut self, index: usize) {
        for other in 0..self.len() {
            if other != index && self.nodes[other].wanted.contains(&index) {
                let pause = Span::from_millis(self.dice.dials.next_u64() % REDIAL_MS);
                self.dial(other, index, pause);
            }
        }
    }

    pub(super) fn dial(&mut self, index: usize, peer: usize, after: Span) {
        self.dialled.push((self.now, index, peer));
        if !self.nodes[peer].runs() {
            return;
        }
        let one = self.config.link.latency(&mut self.dice.dials);
        let at = self.now + after + one.times(DIAL_CROSSINGS);
        let (dialler, to) = (self.life_of(index), self.life_of(peer));
        self.queue.plan(at, Happening::Connect { dialler, to });
    }

    pub(super) fn connect(&mut self, dialler: Life, to: Life) {
        let (one, other) = (dialler.node, to.node);
        if self.nodes[one].core_in(dialler).is_none() || self.nodes[other].core_in(to).is_none() {
            return;
        }
        let fresh = self.nodes[one].connected.insert(other);
        self.nodes[other].connected.insert(one);
        let wanted =
            self.nodes[one].wanted.contains(&other) || self.nodes[other].wanted.contains(&one);
        let up = wanted && self.nodes[one].linked.insert(other);
        if up {
            self.nodes[other].linked.insert(one);
        }
        for (index, peer) in [(one, other), (other, one)] {
            if fresh {
                self.count_connections(index);
            }
            if up {
                self.report_link(index, peer, true);
            }
            self.carry(index);
        }
    }

    /// Neither of the two wants their link any more.
    fn part(&mut self, one: usize, other: usize) {
        for (index, peer) in [(one, other), (other, one)] {
            self.nodes[index].linked.remove(&peer);
            self.nodes[index].connected.remove(&peer);
        }
        for (index, peer) in [(one, other), (other, one)] {
            let at = self.now + self.config.link.latency(&mut self.dice.dials);
            self.queue.plan(
                at,
                Happening::Lost {
                    to: self.life_of(index),
                    peer,
                },
            );
        }
    }

    /// A node is gone: its peers notice after a crossing.
    pub(super) fn hang_up(&mut self, index: usize) {
        let peers = std::mem::take(&mut self.nodes[index].connected);
        self.nodes[index].linked.clear();
        self.nodes[index].arrivals.clear();
        for peer in peers {
            self.nodes[peer].connected.remove(&index);
            self.nodes[peer].linked.remove(&index);
            self.nodes[peer].arrivals.remove(&index);
            let at = self.now + self.config.link.latency(&mut self.dice.dials);
            self.queue.plan(
                at,
                Happening::Lost {
                    to: self.life_of(peer),
                    peer: index,
                },
            );
        }
    }

    pub(super) fn notice_loss(&mut self, to: Life, peer: usize) {
        let node = &mut self.nodes[to.node];
        // It may be back already; then the core heard of the new link.
        if node.core_in(to).is_none() || node.connected.contains(&peer) {
            return;
        }
        self.report_link(to.node, peer, false);
        self.count_connections(to.node);
        self.carry(to.node);
    }

    fn report_link(&mut self, index: usize, peer: usize, up: bool) {
        let Some(id) = self.nodes[peer].id else {
            return;
        };
        if let Some(core) = self.nodes[index].core.as_mut() {
            core.handle_link(self.now, id, up);
        }
    }

    fn count_connections(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let count = node.connected.len();
        if let Some(core) = node.core.as_mut() {
            core.handle_connected(self.now, count);
        }
    }

    /// A core sends a packet.
    pub(super) fn transmit(&mut self, from: usize, to: NodeId, frame: Frame) {
        self.metrics.packets += 1;
        if !self.sent.insert(half_alpha(&frame)) {
            self.metrics.repeated += 1;
        }
        let linked = self.index.get(&to).copied();
        let Some(to) = linked.filter(|to| self.nodes[from].linked.contains(to)) else {
            self.metrics.lose("no_link");
            return;
        };
        let now = self.now;
        let copies = match self.nodes[from].role.as_mut() {
            Some(role) => role.outgoing(now, to, &frame),
            None => Vec::new(),
        };
        for copy in copies {
            self.queue.plan(
                copy.at,
                Happening::Inject {
                    from,
                    to: copy.to,
                    frame: copy.frame,
                },
            );
        }
        self.put_on_link(from, to, frame);
    }

    /// A replayer sends a copy, if a link is there.
    pub(super) fn inject(&mut self, from: usize, to: usize, frame: Frame) {
        if self.nodes[from].linked.contains(&to) {
            self.metrics.replays += 1;
            self.put_on_link(from, to, frame);
        }
    }

    fn put_on_link(&mut self, from: usize, to: usize, frame: Frame) {
        let size = u64::try_from(frame.len()).unwrap_or(0);
        self.nodes[from].bytes.1 += size;
        let Some(latency) = self.config.link.cross(&mut self.dice.wire) else {
            self.metrics.lose("lost");
            return;
        };
        let last = self.nodes[from].arrivals.entry(to).or_default();
        let at = (self.now + latency).max(*last);
        *last = at;
        self.queue.plan(
            at,
            Happening::Packet {
                from,
                to: self.life_of(to),
                frame,
            },
        );
    }

    pub(super) fn arrive(&mut self, from: usize, to: Life, frame: Frame) {
        let (now, index) = (self.now, to.node);
        let node = &mut self.nodes[index];
        if node.core_in(to).is_none() {
            self.metrics.lose("node_down");
            return;
        }
        node.bytes.0 += u64::try_from(frame.len()).unwrap_or(0);
        if node
            .role
            .as_mut()
            .is_some_and(|role| !role.incoming(now, from, &frame))
        {
            self.metrics.lose("adversary");
            return;
        }
        self.trace.update(&now.0.to_le_bytes());
        for end in [from, index] {
            self.trace
                .update(&u64::try_from(end).unwrap_or(u64::MAX).to_le_bytes());
        }
        self.trace.update(&frame[1..33]);
        self.metrics.delivered += 1;
        let alpha = half_alpha(&frame);
        let before = if self.watched {
            self.mixer_drops(index)
        } else {
            0
        };
        if let Some(core) = self.nodes[index].core.as_mut() {
            core.handle_packet(now, frame);
        }
        if self.watched
            && self.mixer_drops(index) == before
            && !self.nodes[index].taken.insert(alpha)
        {
            self.metrics.replays_accepted += 1;
        }
        self.carry(index);
    }

    fn mixer_drops(&self, index: usize) -> u64 {
        let Some(core) = self.nodes[index].core.as_ref() else {
            return 0;
        };
        let dropped = core.counters_view().dropped;
        let mixers = mix::DropReason::ALL
            .iter()
            .filter_map(|reason| dropped.get(reason.name()));
        mixers.sum()
    }
}

/// The first half of a packet's group element names it: it is fresh for every hop.
fn half_alpha(frame: &Frame) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&frame[1..17]);
    half
}
