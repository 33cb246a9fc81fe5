//! Requests to reconcile, and their answers. The channel is a stream: what is sent arrives, as long as the other node runs.

use dht::pki::{SyncPeer, SyncRequest};

use super::queue::{Happening, Life};
use super::{SPIN, World};

impl World {
    /// A core wants to reconcile with a neighbour.
    pub(super) fn ask(&mut self, index: usize, sync: SyncRequest) {
        let (me, token) = (self.life_of(index), sync.token);
        let Some(peer) = self.neighbour(index, &sync.peer) else {
            let what = Happening::Answer {
                to: me,
                from: index,
                token,
                data: None,
            };
            self.queue.plan(self.now + SPIN, what);
            return;
        };
        self.count(index, sync.request.len());
        let at = self.now + self.config.link.latency(&mut self.dice.sync);
        let what = Happening::Ask {
            from: me,
            to: self.life_of(peer),
            token,
            data: sync.request,
        };
        self.queue.plan(at, what);
    }

    /// A request arrives; if the node has stopped meanwhile, its peer notices.
    pub(super) fn sync_asked(&mut self, from: Life, to: Life, token: u64, request: &[u8]) {
        let now = self.now;
        let Some(id) = self.nodes[from.node].id else {
            return;
        };
        let node = &mut self.nodes[to.node];
        let size = u64::try_from(request.len()).unwrap_or(0);
        let data = match node.core_in(to) {
            Some(core) => core.handle_sync_request(now, id, request),
            None => None,
        };
        if node.core_in(to).is_some() {
            node.bytes.0 += size;
        }
        if let Some(answer) = &data {
            self.count(to.node, answer.len());
        }
        let at = now + self.config.link.latency(&mut self.dice.sync);
        let what = Happening::Answer {
            to: from,
            from: to.node,
            token,
            data,
        };
        self.queue.plan(at, what);
        self.carry(to.node);
    }

    /// An answer arrives, or the news that there is none.
    pub(super) fn answered(&mut self, to: Life, from: usize, token: u64, answer: Option<&[u8]>) {
        let now = self.now;
        let id = self.nodes[from].id;
        let node = &mut self.nodes[to.node];
        let size = answer.map_or(0, <[u8]>::len);
        let Some(core) = node.core_in(to) else {
            return;
        };
        match (id, answer) {
            (Some(id), Some(answer)) => core.handle_sync_response(now, token, id, answer),
            _ => core.handle_sync_failed(now, token),
        }
        node.bytes.0 += u64::try_from(size).unwrap_or(0);
        self.carry(to.node);
    }

    /// Whom the hint means: as the network layer does, those with a link before those with a mere connection.
    fn neighbour(&self, index: usize, hint: &SyncPeer) -> Option<usize> {
        let node = &self.nodes[index];
        match hint {
            SyncPeer::This(id) => {
                let peer = self.index.get(id).copied();
                peer.filter(|peer| node.connected.contains(peer))
            }
            SyncPeer::Any { but, lot } => {
                let fits = |peer: &usize| {
                    let id = self.nodes[*peer].id;
                    id.is_some_and(|id| !but.contains(&id))
                };
                let all: Vec<usize> = node.connected.iter().copied().filter(fits).collect();
                let wanted: Vec<usize> = (all.iter().copied())
                    .filter(|peer| node.wanted.contains(peer))
                    .collect();
                let among = if wanted.is_empty() { all } else { wanted };
                let place = lot.checked_rem(u64::try_from(among.len()).unwrap_or(0))?;
                among.get(usize::try_from(place).unwrap_or(0)).copied()
            }
        }
    }

    fn count(&mut self, sender: usize, bytes: usize) {
        let size = u64::try_from(bytes).unwrap_or(0);
        self.nodes[sender].bytes.1 += size;
        self.metrics.sync.0 += 1;
        self.metrics.sync.1 += size;
    }
}
