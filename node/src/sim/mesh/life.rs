//! Who is there and linked with whom: churn, dials, links that break, halves that can't reach each other.
//!
//! Links are as the flock makes them, by number only: each node dials [`DIALS`] others and renews half of those each slot, drawn
//! from the set it believes in. Bytes to a node that has left are lost, and its peers notice after a while.

use dht::epoch;
use mix::time::{Moment, Span};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;

use super::peer::{Peer, Role};
use super::queue::{Event, Life};
use super::{Mesh, below, place};

/// Links that a node dials itself. As many others dial it.
const DIALS: usize = 10;
/// A peer that left is noticed after this long, and up to as much again.
const NOTICE: Span = Span::from_secs(15);

/// Nodes that come and go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    /// Share of the running nodes that leave in an hour.
    pub leave_per_hour: f64,
    /// Mean time away, of those who come back.
    pub away: Span,
    /// Share of those who leave that are replaced by somebody new.
    pub replaced: f64,
}

impl Mesh {
    /// A new identity that comes up at a moment.
    pub(super) fn add(&mut self, at: Moment, role: Role) -> u32 {
        let node = self.peers.len() as u32;
        let peer = Peer::new(&self.network, self.config.seed, node, role);
        self.by_short.insert(peer.short, node);
        self.by_node.insert(peer.id, node);
        self.peers.push(peer);
        self.sides.push((node % 2) as u8);
        self.queue.plan(at, Event::Join(node));
        node
    }

    pub(super) fn join(&mut self, node: u32) {
        if let Some(churn) = self.config.churn {
            let stays = 3_600.0 / churn.leave_per_hour.max(1e-9);
            let leaves = self.now + exponential(stays, &mut self.dice.churn);
            self.peers[node as usize].leaves = leaves;
        }
        self.start(node);
        let life = self.life_of(node);
        let leaves = self.peers[node as usize].leaves;
        if leaves < Moment::MAX {
            self.queue.plan(leaves, Event::Leave(life));
        }
        for _ in 0..DIALS {
            self.dial(life);
        }
        self.plan_slot(life);
    }

    /// Gone without a word; back after a while, or never, and somebody else comes.
    pub(super) fn leave(&mut self, life: Life) {
        if !self.runs(life) {
            return;
        }
        for other in self.peers[life.node as usize].links.clone() {
            let at = self.now + NOTICE + below(NOTICE, &mut self.dice.links);
            let node = self.life_of(other);
            self.queue.plan(at, Event::Notice { node, peer: life });
        }
        self.peers[life.node as usize].die();
        let Some(churn) = self.config.churn else {
            return;
        };
        let away = exponential(churn.away.as_secs_f64(), &mut self.dice.churn);
        let replaced = (self.dice.churn.next_u32() as f64) < churn.replaced * f64::from(u32::MAX);
        if replaced {
            let role = self.peers[life.node as usize].role;
            self.add(self.now + away, role);
        } else {
            self.queue.plan(self.now + away, Event::Join(life.node));
        }
    }

    fn dial(&mut self, from: Life) {
        let Some(to) = self.somebody(from.node) else {
            return;
        };
        let latency = self.config.link.latency(&mut self.dice.links).times(3);
        self.queue
            .plan(self.now + latency, Event::Connect { from, to });
    }

    /// Whom a node dials: somebody of the set it knows; while it knows nobody, somebody that a bootstrap peer names.
    fn somebody(&mut self, node: u32) -> Option<u32> {
        let current = epoch::epoch_at(&self.config.params, self.now);
        let known = self.directory(node, current).filter(|set| set.len() > 8);
        for _ in 0..8 {
            let pick = match &known {
                Some(set) => {
                    let entry = set.entry(place(set.len(), &mut self.dice.links))?;
                    *self.by_short.get(&entry.short())?
                }
                None => place(self.peers.len(), &mut self.dice.links) as u32,
            };
            let fits = pick != node
                && self.peers[pick as usize].pki.is_some()
                && self.reaches(node, pick)
                && !self.peers[node as usize].links.contains(&pick);
            if fits {
                return Some(pick);
            }
        }
        None
    }

    pub(super) fn connect(&mut self, from: Life, to: u32) {
        let node = from.node;
        let there = self.runs(from) && self.peers[to as usize].pki.is_some();
        if !there || self.peers[node as usize].links.contains(&to) || !self.reaches(node, to) {
            return;
        }
        self.peers[node as usize].dialled.push_back(to);
        for (one, other) in [(node, to), (to, node)] {
            let now = self.now;
            let peer = &mut self.peers[one as usize];
            peer.links.push(other);
            let waiting = core::mem::take(&mut peer.unpublished);
            if peer.links.len() == 1
                && let Some(pki) = peer.pki.as_mut()
            {
                pki.announce(now);
            }
            self.want_mesh(one);
            for bundle in waiting {
                self.publish(one, bundle);
            }
            self.drain(one);
        }
    }

    /// The connection to a peer is found dead.
    pub(super) fn notice(&mut self, node: Life, peer: Life) {
        // It may be back, and linked anew.
        if self.runs(node) && !self.runs(peer) {
            self.unlink(node.node, peer.node);
            self.dial(node);
        }
    }

    fn unlink(&mut self, node: u32, other: u32) {
        let peer = &mut self.peers[node as usize];
        peer.links.retain(|link| *link != other);
        peer.dialled.retain(|link| *link != other);
        peer.mesh.retain(|link| *link != other);
        if peer.pki.is_some() {
            self.want_mesh(node);
        }
    }

    fn plan_slot(&mut self, life: Life) {
        let slot = Span::from_millis(self.config.params.slot_ms);
        let at = self.now + Span(slot.0 / 2) + below(slot, &mut self.dice.links);
        self.queue.plan(at, Event::Slot(life));
    }

    /// Half of the links a node dialled give way to new ones.
    pub(super) fn slot(&mut self, life: Life) {
        if !self.runs(life) {
            return;
        }
        let kept = DIALS / 2;
        while self.peers[life.node as usize].dialled.len() > kept
            && let Some(old) = self.peers[life.node as usize].dialled.pop_front()
        {
            self.unlink(life.node, old);
            self.unlink(old, life.node);
        }
        let missing = DIALS.saturating_sub(self.peers[life.node as usize].dialled.len());
        for _ in 0..missing {
            self.dial(life);
        }
        self.plan_slot(life);
    }

    /// Cuts the mesh in two halves that can't reach each other.
    pub fn cut(&mut self) {
        self.split = true;
        for node in 0..self.peers.len() as u32 {
            let links = self.peers[node as usize].links.clone();
            for other in links {
                if !self.reaches(node, other) {
                    self.unlink(node, other);
                    self.unlink(other, node);
                }
            }
        }
    }

    /// The halves can reach each other again.
    pub fn heal(&mut self) {
        self.split = false;
    }
}

fn exponential(mean_secs: f64, rng: &mut ChaCha20Rng) -> Span {
    // (0, 1]: the logarithm exists.
    let uniform = ((rng.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
    Span::from_secs_f64(-uniform.ln() * mean_secs)
}
