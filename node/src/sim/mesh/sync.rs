//! The channel between neighbours: one request, one answer. It is a stream: what is sent arrives, as long as the other node runs.

use dht::pki::{SyncPeer, SyncRequest};
use mix::time::Span;

use super::queue::{Event, Letter, Life};
use super::{Kind, Mesh};

/// What wraps a request and its answer: opening a stream, naming its protocol, closing it.
const WRAP: u64 = 120;

impl Mesh {
    /// A node wants to ask a neighbour.
    pub(super) fn seek(&mut self, life: Life, request: SyncRequest) {
        let token = request.token;
        let Some(peer) = self.neighbour(life.node, &request.peer) else {
            let letter = Letter {
                from: life,
                token,
                data: None,
            };
            let at = self.now + Span::from_millis(1);
            self.queue.plan(at, Event::Answer(life, Box::new(letter)));
            return;
        };
        let bytes = request.request.len() as u64 + WRAP;
        self.peers[life.node as usize]
            .traffic
            .send(Kind::Sync, bytes);
        let at = self.now + self.config.link.latency(&mut self.dice.sync);
        let letter = Letter {
            from: life,
            token,
            data: Some(request.request),
        };
        let to = self.life_of(peer);
        self.queue.plan(at, Event::Ask(to, Box::new(letter)));
    }

    pub(super) fn asked(&mut self, to: Life, letter: &Letter) {
        let now = self.now;
        let id = self.peers[letter.from.node as usize].id;
        let request = letter.data.as_deref().unwrap_or_default();
        let there = self.runs(to) && self.reaches(to.node, letter.from.node);
        let data = match self.pki_in(to).filter(|_| there) {
            Some(pki) => pki.handle_sync_request(now, &id, request),
            None => None,
        };
        if there {
            let traffic = &mut self.peers[to.node as usize].traffic;
            traffic.receive(Kind::Sync, request.len() as u64 + WRAP);
            traffic.send(Kind::Sync, data.as_ref().map_or(0, Vec::len) as u64 + WRAP);
            self.drain(to.node);
        }
        let at = now + self.config.link.latency(&mut self.dice.sync);
        let answer = Letter {
            from: to,
            token: letter.token,
            data,
        };
        self.queue
            .plan(at, Event::Answer(letter.from, Box::new(answer)));
    }

    /// An answer arrives, or the news that there is none.
    pub(super) fn answered(&mut self, to: Life, letter: &Letter) {
        let now = self.now;
        if !self.runs(to) {
            return;
        }
        let id = self.peers[letter.from.node as usize].id;
        let Some(pki) = self.pki_in(to) else { return };
        match &letter.data {
            Some(data) => {
                pki.handle_sync_response(now, letter.token, &id, data);
            }
            None => pki.handle_sync_failed(now, letter.token),
        }
        let bytes = letter.data.as_ref().map_or(0, |data| data.len() as u64) + WRAP;
        self.peers[to.node as usize]
            .traffic
            .receive(Kind::Sync, bytes);
        self.drain(to.node);
    }

    /// Whom the hint means, among the connected.
    fn neighbour(&self, node: u32, hint: &SyncPeer) -> Option<u32> {
        let links = &self.peers[node as usize].links;
        match hint {
            SyncPeer::This(id) => {
                let peer = self.by_node.get(id).copied();
                peer.filter(|peer| links.contains(peer))
            }
            SyncPeer::Any { but, lot } => {
                let fits = |peer: &u32| !but.contains(&self.peers[*peer as usize].id);
                let among: Vec<u32> = links.iter().copied().filter(fits).collect();
                let at = lot.checked_rem(among.len() as u64)?;
                among.get(at as usize).copied()
            }
        }
    }
}
