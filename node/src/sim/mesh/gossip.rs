//! A model of gossipsub with the settings of `dht::net`: mesh, forwarding after validation, lazy pull.
//!
//! What is modelled: a message goes to the peers of the mesh (an own one to at least as many as the mesh should have), is forwarded
//! once if the Pki accepts it, and is told of to some others at heartbeats; who lacks it asks for it. A peer three of whose
//! messages were rejected is no longer heard. What isn't: scores otherwise, IDONTWANT (it is sent for messages above 1,000 B only),
//! back-off of grafts. Each crossing may be lost, as if a queue overran.

use std::collections::VecDeque;
use std::sync::Arc;

use dht::Verdict;
use mix::time::{Moment, Span};

use super::queue::{Event, Life};
use super::{Kind, Mesh, place};

/// What wraps a message: its envelope with the topic (23 B), yamux and noise (30 B). TCP/IP isn't counted.
pub(super) const ENVELOPE: u64 = 53;
/// A control message without its ids, wrapped.
const CONTROL: u64 = 51;
/// A message id of 20 B in a control message.
const ID: u64 = 22;
const HEARTBEAT: Span = Span::from_millis(700);
/// Between two tries to find mesh peers.
const REGRAFT: Span = Span::from_secs(10);
/// A message is recognised as known for so long.
const REMEMBERED: Span = Span::from_secs(300);
/// Rejected messages after which a peer is no longer heard.
const MOST_REJECTED: u32 = 3;

/// Gossip's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gossip {
    /// Peers of the mesh a node aims at, and the bounds within which it leaves them alone.
    pub mesh: usize,
    /// Below this many it looks for more.
    pub low: usize,
    /// From this many on it takes no further ones.
    pub high: usize,
    /// Peers outside the mesh that are told of messages at each heartbeat: so many at least …
    pub lazy: usize,
    /// … and this share of them.
    pub factor: f64,
    /// Heartbeats for which a message is told of.
    pub windows: u64,
}

impl Gossip {
    /// What `dht::net` sets.
    #[must_use]
    pub fn production() -> Self {
        Self {
            mesh: 3,
            low: 2,
            high: 4,
            lazy: 1,
            factor: 0.0,
            windows: 3,
        }
    }
}

#[derive(Debug)]
struct Message {
    data: Arc<[u8]>,
    born: Moment,
    /// Who has it: one bit each.
    seen: Vec<u64>,
}

impl Message {
    fn has(&self, node: u32) -> bool {
        let word = self.seen.get(node as usize / 64).copied().unwrap_or(0);
        word >> (node % 64) & 1 == 1
    }

    fn mark(&mut self, node: u32) {
        let at = node as usize / 64;
        if self.seen.len() <= at {
            self.seen.resize(at + 1, 0);
        }
        self.seen[at] |= 1 << (node % 64);
    }

    fn wire(&self) -> u64 {
        self.data.len() as u64 + ENVELOPE
    }
}

/// The messages that somebody may still remember.
#[derive(Debug, Default)]
pub(super) struct Messages {
    list: VecDeque<Message>,
    first: u32,
}

impl Messages {
    fn add(&mut self, now: Moment, data: Arc<[u8]>) -> u32 {
        while let Some(oldest) = self.list.front()
            && oldest.born + REMEMBERED <= now
        {
            self.list.pop_front();
            self.first += 1;
        }
        let (born, seen) = (now, Vec::new());
        self.list.push_back(Message { data, born, seen });
        self.first + self.list.len() as u32 - 1
    }

    fn get(&mut self, message: u32) -> Option<&mut Message> {
        let at = message.checked_sub(self.first)?;
        self.list.get_mut(at as usize)
    }
}

impl Mesh {
    /// A node says something of its own.
    pub(super) fn publish(&mut self, node: u32, data: Vec<u8>) {
        if self.peers[node as usize].links.is_empty() {
            self.peers[node as usize].unpublished.push(data);
            return;
        }
        let message = self.messages.add(self.now, data.into());
        if let Some(message) = self.messages.get(message) {
            message.mark(node);
        }
        self.remember(node, message);
        let peer = &self.peers[node as usize];
        let mut to = peer.mesh.clone();
        let mut others: Vec<u32> = (peer.links.iter().copied())
            .filter(|link| !to.contains(link))
            .collect();
        while to.len() < self.config.gossip.mesh && !others.is_empty() {
            let pick = place(others.len(), &mut self.dice.gossip);
            to.push(others.swap_remove(pick));
        }
        for peer in to {
            self.transmit(node, peer, message);
        }
    }

    /// A hostile node says something to these peers alone.
    pub(super) fn say_to(&mut self, node: u32, data: Vec<u8>, to: Vec<u32>) {
        let message = self.messages.add(self.now, data.into());
        for peer in to {
            self.transmit(node, peer, message);
        }
    }

    fn transmit(&mut self, from: u32, to: u32, message: u32) {
        let Some(held) = self.messages.get(message) else {
            return;
        };
        let (wire, known) = (held.wire(), held.has(to));
        self.peers[from as usize].traffic.send(Kind::Gossip, wire);
        let crossing = self.config.link.cross(&mut self.dice.gossip);
        let Some(latency) = crossing.filter(|_| self.reaches(from, to)) else {
            return;
        };
        if known {
            // It is recognised by its id, whenever it comes.
            let peer = &mut self.peers[to as usize];
            if peer.pki.is_some() {
                peer.traffic.receive(Kind::Gossip, wire);
            }
            return;
        }
        let to = self.life_of(to);
        let what = Event::Bundle { message, from, to };
        self.queue.plan(self.now + latency, what);
    }

    pub(super) fn hear(&mut self, message: u32, from: u32, to: Life) {
        if !self.runs(to) {
            return;
        }
        let now = self.now;
        let Some(held) = self.messages.get(message) else {
            return;
        };
        let (wire, known) = (held.wire(), held.has(to.node));
        let data = held.data.clone();
        let peer = &mut self.peers[to.node as usize];
        peer.traffic.receive(Kind::Gossip, wire);
        let heard = peer.blamed.get(&from).is_none_or(|n| *n < MOST_REJECTED);
        if known || !heard {
            return;
        }
        if let Some(held) = self.messages.get(message) {
            held.mark(to.node);
        }
        let Some(pki) = self.pki_in(to) else { return };
        match pki.handle_bundle(now, &data) {
            Verdict::Accept => {
                self.remember(to.node, message);
                let mesh = self.peers[to.node as usize].mesh.clone();
                for peer in mesh.into_iter().filter(|peer| *peer != from) {
                    self.transmit(to.node, peer, message);
                }
            }
            Verdict::Ignore => {}
            Verdict::Reject => self.blame(to.node, from),
        }
        self.drain(to.node);
    }

    fn blame(&mut self, node: u32, other: u32) {
        let times = self.peers[node as usize].blamed.entry(other).or_default();
        *times += 1;
        if *times == MOST_REJECTED {
            self.peers[node as usize].mesh.retain(|link| *link != other);
            self.peers[other as usize].mesh.retain(|link| *link != node);
            self.want_mesh(node);
            self.want_mesh(other);
        }
    }

    /// A valid message is told of for some heartbeats.
    fn remember(&mut self, node: u32, message: u32) {
        let gossip = &self.config.gossip;
        if gossip.windows == 0 || (gossip.lazy == 0 && gossip.factor == 0.0) {
            return;
        }
        let now = self.now;
        self.peers[node as usize].recent.push_back((now, message));
        self.beat_soon(node, HEARTBEAT);
    }

    /// Plans a heartbeat if the mesh is too small.
    pub(super) fn want_mesh(&mut self, node: u32) {
        if self.peers[node as usize].mesh.len() < self.config.gossip.low {
            self.beat_soon(node, HEARTBEAT);
        }
    }

    /// Heartbeats tick from the node's start.
    fn beat_soon(&mut self, node: u32, pause: Span) {
        let life = self.life_of(node);
        let peer = &mut self.peers[node as usize];
        if peer.pki.is_none() || core::mem::replace(&mut peer.beating, true) {
            return;
        }
        let since = self.now.since(peer.up_since).as_micros();
        let tick = pause.as_micros();
        let at = peer.up_since + Span::from_micros((since / tick + 1) * tick);
        self.queue.plan(at, Event::Heartbeat(life));
    }

    pub(super) fn heartbeat(&mut self, life: Life) {
        if !self.runs(life) {
            return;
        }
        let gossip = self.config.gossip;
        self.peers[life.node as usize].beating = false;
        if self.peers[life.node as usize].mesh.len() < gossip.low {
            self.graft(life.node);
        }
        let horizon = HEARTBEAT.times(gossip.windows);
        let now = self.now;
        let peer = &mut self.peers[life.node as usize];
        peer.recent.retain(|(since, _)| *since + horizon > now);
        if !peer.recent.is_empty() {
            self.tell(life.node);
            self.beat_soon(life.node, HEARTBEAT);
        } else if peer.mesh.len() < gossip.low {
            self.beat_soon(life.node, REGRAFT);
        }
    }

    fn graft(&mut self, node: u32) {
        let gossip = self.config.gossip;
        let peer = &self.peers[node as usize];
        let fits = |link: &u32| !peer.mesh.contains(link) && !peer.blamed.contains_key(link);
        let mut others: Vec<u32> = peer.links.iter().copied().filter(fits).collect();
        while self.peers[node as usize].mesh.len() < gossip.mesh && !others.is_empty() {
            let pick = place(others.len(), &mut self.dice.gossip);
            let other = others.swap_remove(pick);
            let traffic = &mut self.peers[node as usize].traffic;
            traffic.send(Kind::Control, CONTROL);
            if !self.reaches(node, other) {
                continue;
            }
            let peer = &mut self.peers[other as usize];
            if peer.pki.is_none() {
                continue;
            }
            peer.traffic.receive(Kind::Control, CONTROL);
            if peer.mesh.len() >= gossip.high || peer.blamed.contains_key(&node) {
                // It prunes us.
                peer.traffic.send(Kind::Control, CONTROL);
                continue;
            }
            if !peer.mesh.contains(&node) {
                peer.mesh.push(node);
            }
            self.peers[node as usize].mesh.push(other);
        }
    }

    /// Tells some peers outside the mesh what there is; those that lack something ask for it.
    fn tell(&mut self, node: u32) {
        let gossip = self.config.gossip;
        let peer = &self.peers[node as usize];
        let mut others: Vec<u32> = (peer.links.iter().copied())
            .filter(|link| !peer.mesh.contains(link))
            .collect();
        let share = (gossip.factor * others.len() as f64) as usize;
        let told: Vec<u32> = peer.recent.iter().map(|(_, message)| *message).collect();
        let bytes = CONTROL + ID * told.len() as u64;
        for _ in 0..gossip.lazy.max(share).min(others.len()) {
            let pick = place(others.len(), &mut self.dice.gossip);
            let other = others.swap_remove(pick);
            self.peers[node as usize].traffic.send(Kind::Control, bytes);
            let crossing = self.config.link.cross(&mut self.dice.gossip);
            let Some(latency) = crossing.filter(|_| self.reaches(node, other)) else {
                continue;
            };
            if self.peers[other as usize].pki.is_none() {
                continue;
            }
            let traffic = &mut self.peers[other as usize].traffic;
            traffic.receive(Kind::Control, bytes);
            for &message in &told {
                let lacks = self.messages.get(message).is_some_and(|m| !m.has(other));
                if lacks {
                    let back = self.config.link.latency(&mut self.dice.gossip);
                    let traffic = &mut self.peers[other as usize].traffic;
                    traffic.send(Kind::Control, CONTROL + ID);
                    let from = self.life_of(other);
                    let to = node;
                    let what = Event::Want { message, from, to };
                    self.queue.plan(self.now + latency + back, what);
                }
            }
        }
    }

    /// A peer asks for a message; it may have it by now, but its request was sent before.
    pub(super) fn wanted(&mut self, message: u32, from: Life, to: u32) {
        if self.runs(from) && self.peers[to as usize].pki.is_some() {
            let traffic = &mut self.peers[to as usize].traffic;
            traffic.receive(Kind::Control, CONTROL + ID);
            self.transmit(to, from.node, message);
        }
    }
}
