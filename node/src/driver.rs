//! The loop that connects a core to the world: sockets, disk, clock and callers.
//!
//! It decides nothing. Inputs go into the core, outputs are carried where they belong. Packets are
//! opened on threads of their own ([`peelers`]), so that cryptography never makes a departure late; the
//! disk works on its own thread, one commit at a time. Everything is bounded: a full network queue
//! costs packets (counted), never memory; a caller waits for its answer until the commit that
//! holds what it asked for is durable.

use std::collections::VecDeque;
use std::time::Duration;

use dht::id::NodeId;
use dht::pki::SyncPeer;
use libp2p::Multiaddr;
use mix::Packet;
use mix::mixer::Opened;
use mix::time::{Moment, Span};
use storage::backend::{Backend, BackendError};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::core::{Commit, Core, Verdict};
use crate::disk::Disk;
use crate::env::{Clock, Timer};
use crate::error::{Error, ErrorKind};
use crate::handle::Request;
use crate::net::{Net, NetCommand, NetEvent};
use crate::view::{Event, NodeView};
use peelers::Peelers;

pub mod peelers;
mod requests;

/// Events of the network taken in one go.
const TURN: usize = 64;
/// Commits begin at least so far apart. The constant hold of every packet is five times as long and hides it; what a busy relay
/// writes then goes to the disk in groups, not tag by tag.
pub const COMMIT_GAP: Span = Span::from_millis(5);
/// How long to wait before a failed commit is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Network commands that may wait for room; a packet never waits.
const BACKLOG: usize = 256;
/// How far the system's clock may move before the node says so.
const CLOCK_CHECK: Duration = Duration::from_secs(10);

/// An answer that waits until commit number `.0` is durable.
type Waiting = (u64, Box<dyn FnOnce() + Send>);

/// Where callers ask, and where they are told what happens.
pub(crate) type Callers = (mpsc::Receiver<Request>, broadcast::Sender<(u64, Event)>);

/// Everything one running node is made of.
pub(crate) struct Driver<B: Backend> {
    core: Core<B>,
    clock: Clock,
    net: Net,
    peelers: Peelers,
    /// Packets of this turn, on their way to the peelers.
    arrived: Vec<Packet>,
    disk: Disk<B>,
    requests: mpsc::Receiver<Request>,
    events: broadcast::Sender<(u64, Event)>,
    event_number: u64,
    commit: Option<JoinHandle<(Commit, Result<(), BackendError>)>>,
    /// When the next commit may begin, if there is anything to write.
    commit_at: Option<Moment>,
    waiting: VecDeque<Waiting>,
    backlog: VecDeque<NetCommand>,
    listen: Vec<Multiaddr>,
    peer_id: String,
    network_drops: std::collections::BTreeMap<String, u64>,
    stopping: bool,
}

impl<B: Backend + Sync> Driver<B> {
    pub(crate) fn new(
        core: Core<B>,
        clock: Clock,
        net: Net,
        peelers: Peelers,
        disk: Disk<B>,
        (requests, events): Callers,
        peer_id: String,
    ) -> Self {
        Self {
            core,
            clock,
            net,
            peelers,
            arrived: Vec::with_capacity(TURN),
            disk,
            requests,
            events,
            event_number: 0,
            commit: None,
            commit_at: None,
            waiting: VecDeque::new(),
            backlog: VecDeque::new(),
            listen: Vec::new(),
            peer_id,
            network_drops: std::collections::BTreeMap::new(),
            stopping: false,
        }
    }

    /// Runs until stopped or until every handle is gone.
    ///
    /// # Errors
    /// `Internal` if a part of the node ended by itself: what was promised is on disk, and nothing works any more.
    pub(crate) async fn run(mut self) -> Result<(), Error> {
        let mut lost = None;
        let mut clock_check = tokio::time::interval(CLOCK_CHECK);
        let mut timer = Timer::new(self.clock);
        while !self.stopping {
            self.carry();
            let commit_at = self.commit_at.filter(|_| self.commit.is_none());
            let wake = [self.core.poll_timeout(), commit_at];
            let wake = wake.into_iter().flatten().min();
            let input = tokio::select! {
                event = self.net.events.recv() => Input::Net(event),
                // The links hold the other end of the events as well, so that these would never end.
                _ = &mut self.net.task => Input::Net(None),
                request = self.requests.recv() => Input::Request(request),
                done = wait_for(&mut self.commit) => Input::Committed(done),
                opened = self.peelers.opened() => Input::Opened(opened),
                () = timer.until(wake) => Input::Time,
                permit = self.net.commands.reserve(), if !self.backlog.is_empty() => {
                    if let (Ok(permit), Some(command)) = (permit, self.backlog.pop_front()) {
                        permit.send(command);
                    }
                    Input::Time
                }
                _ = clock_check.tick() => Input::ClockCheck,
            };
            match input {
                Input::Net(Some(event)) => self.take_net_events(event),
                Input::Request(Some(request)) => self.serve(request),
                Input::Opened(Some(opened)) => self.take_opened(opened),
                Input::Request(None) => break,
                Input::Net(None) => {
                    lost = Some("the network task");
                    break;
                }
                Input::Opened(None) => {
                    lost = Some("a thread that opens packets");
                    break;
                }
                Input::Committed(done) => self.committed(done),
                // Looked at with everything else in `carry`.
                Input::Time => {}
                Input::ClockCheck => {
                    self.core
                        .handle_clock_skew(self.clock.now(), self.clock.skew());
                }
            }
        }
        self.shut_down().await;
        match lost {
            None => Ok(()),
            Some(part) => Err(Error::new(
                ErrorKind::Internal,
                format!("{part} ended by itself"),
                "start the node again, and report this as a bug",
            )),
        }
    }

    /// Carries everything the core has to say to where it belongs.
    fn carry(&mut self) {
        self.core.handle_timeout(self.clock.now());
        if let Some(opener) = self.core.poll_opener() {
            self.peelers.renew(opener);
        }
        while let Some((to, packet)) = self.core.poll_transmit() {
            // A full queue or a missing link costs this packet (counted there); the sender's cover hides that.
            self.net.links.send(&to.0, packet);
        }
        while let Some(data) = self.core.poll_publish() {
            self.command(NetCommand::Publish { data });
        }
        while let Some(lookup) = self.core.poll_lookup() {
            self.command(NetCommand::Lookup {
                key: lookup.key,
                many: lookup.many,
            });
        }
        while let Some(sync) = self.core.poll_sync() {
            let (with, but, lot) = match sync.peer {
                SyncPeer::This(peer) => (Some(peer.0), Vec::new(), 0),
                SyncPeer::Any { but, lot } => (None, but.iter().map(|id| id.0).collect(), lot),
            };
            self.command(NetCommand::Sync {
                token: sync.token,
                with,
                but,
                lot,
                request: sync.request,
            });
        }
        while let Some((key, value, ttl)) = self.core.poll_serve() {
            self.command(NetCommand::Serve {
                key,
                value,
                ttl_ms: ttl.as_millis(),
            });
        }
        if let Some(links) = self.core.poll_links() {
            let wanted = links
                .into_iter()
                .map(|(id, addresses)| (id.0, addresses.into_iter().filter_map(parse).collect()))
                .collect();
            self.command(NetCommand::Links { wanted });
        }
        while let Some(event) = self.core.poll_event() {
            self.event_number += 1;
            // Nobody listening is fine.
            let _ = self.events.send((self.event_number, event));
        }
        let now = self.clock.now();
        if self.commit.is_none() && self.commit_at.is_none_or(|at| at <= now) {
            self.commit_at = None;
            if let Some(commit) = self.core.poll_commit() {
                self.commit_at = Some(now + COMMIT_GAP);
                self.start_commit(commit, Duration::ZERO);
            }
        }
    }

    fn take_net_events(&mut self, first: NetEvent) {
        self.take_net_event(first);
        // What has gathered meanwhile is taken in one go; the core looks at its timers once after.
        for _ in 1..TURN {
            match self.net.events.try_recv() {
                Ok(event) => self.take_net_event(event),
                Err(_) => break,
            }
        }
        if !self.arrived.is_empty() {
            self.peelers.push(self.clock.now(), self.arrived.drain(..));
        }
    }

    fn take_opened(&mut self, first: Opened) {
        let now = self.clock.now();
        self.core.handle_opened(now, first);
        while let Some(opened) = self.peelers.try_opened() {
            self.core.handle_opened(now, opened);
        }
    }

    fn take_net_event(&mut self, event: NetEvent) {
        let now = self.clock.now();
        match event {
            NetEvent::Packet { from: _, packet } => self.arrived.push(Packet::from_boxed(packet)),
            NetEvent::LinkUp(id) => self.core.handle_link(now, NodeId(id), true),
            NetEvent::LinkDown(id) => self.core.handle_link(now, NodeId(id), false),
            NetEvent::Gossip { ticket, data } => {
                let verdict = match self.core.handle_bundle(now, &data) {
                    Verdict::Accept => crate::net::Verdict::Accept,
                    Verdict::Ignore => crate::net::Verdict::Ignore,
                    Verdict::Reject => crate::net::Verdict::Reject,
                };
                self.command(NetCommand::Verdict { ticket, verdict });
            }
            NetEvent::Found { key, value } => self.core.handle_record(now, key, &value),
            NetEvent::LookupDone { key, found: _ } => self.core.handle_lookup_done(now, key),
            NetEvent::SyncRequest { ticket, from, data } => {
                let response = self.core.handle_sync_request(now, NodeId(from), &data);
                self.command(NetCommand::SyncAnswer { ticket, response });
            }
            NetEvent::SyncResponse { token, from, data } => {
                self.core
                    .handle_sync_response(now, token, NodeId(from), &data);
            }
            NetEvent::SyncFailed { token } => self.core.handle_sync_failed(now, token),
            NetEvent::Connected(peers) => self.core.handle_connected(now, peers),
            NetEvent::Listening(address) => {
                if !self.listen.contains(&address) {
                    self.listen.push(address);
                }
            }
            NetEvent::Reach {
                addresses,
                behind_nat,
            } => {
                let addresses = addresses.iter().map(Multiaddr::to_vec).collect();
                self.core.handle_reach(now, addresses, behind_nat);
            }
            NetEvent::WrongNetwork => {
                // The network layer counts it.
                tracing::warn!(
                    "a peer of another network was refused; check that all nodes use the same --network"
                );
            }
            NetEvent::ListenerClosed { reason } => tracing::warn!(reason, "a listener closed"),
            NetEvent::DialFailed { .. } => {
                *self
                    .network_drops
                    .entry("dial_failed".to_owned())
                    .or_default() += 1;
            }
        }
    }

    /// Hands a command to the network, or keeps it until there is room.
    fn command(&mut self, command: NetCommand) {
        if !self.backlog.is_empty() {
            self.enqueue(command);
        } else if let Err(
            mpsc::error::TrySendError::Full(command) | mpsc::error::TrySendError::Closed(command),
        ) = self.net.commands.try_send(command)
        {
            self.enqueue(command);
        }
    }

    fn enqueue(&mut self, command: NetCommand) {
        let shed = keep(&mut self.backlog, command);
        if shed {
            *self
                .network_drops
                .entry("command_shed".to_owned())
                .or_default() += 1;
        }
    }

    fn start_commit(&mut self, commit: Commit, after: Duration) {
        let disk = self.disk.clone();
        self.commit = Some(tokio::spawn(async move {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let work = move || {
                let mut commit = commit;
                let done = disk.commit(&mut commit);
                (commit, done)
            };
            match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(lost) => std::panic::resume_unwind(lost.into_panic()),
            }
        }));
    }

    fn committed(&mut self, done: (Commit, Result<(), BackendError>)) {
        let now = self.clock.now();
        match done {
            (commit, Ok(())) => {
                self.core.handle_durable(now, commit.seq);
                while self
                    .waiting
                    .front()
                    .is_some_and(|(seq, _)| *seq <= commit.seq)
                {
                    if let Some((_, answer)) = self.waiting.pop_front() {
                        answer();
                    }
                }
            }
            (mut commit, Err(error)) => {
                // Nothing that depends on it has left; trying again is all there is to do.
                tracing::error!(%error, "the disk refused a write; trying again");
                self.core.handle_disk_failure(now, &mut commit);
                self.start_commit(commit, RETRY);
            }
        }
    }

    async fn shut_down(mut self) {
        // What callers were promised is written before the end.
        for _ in 0..3 {
            if let Some(commit) = self.commit.take() {
                let Ok((commit, Ok(()))) = commit.await else {
                    break;
                };
                self.committed((commit, Ok(())));
            }
            self.core.close(self.clock.now());
            match self.core.poll_commit() {
                Some(commit) => self.start_commit(commit, Duration::ZERO),
                None => break,
            }
        }
        if let Some(commit) = self.commit.take()
            && let Ok(done) = commit.await
        {
            self.committed(done);
        }
        if self.net.task.is_finished() {
            return;
        }
        let _ = self.net.commands.try_send(NetCommand::Shutdown);
        let _ = tokio::time::timeout(Duration::from_secs(3), &mut self.net.task).await;
    }

    fn node_view(&mut self) -> NodeView {
        NodeView {
            peer_id: self.peer_id.clone(),
            listen: self.listen.iter().map(ToString::to_string).collect(),
            ..self.core.node_view(self.clock.now())
        }
    }
}

/// Keeps a command in order; at the cap the oldest goes, and `true` is returned. The wanted links are never shed: they are said once,
/// and what is shed of the rest is said again or asked again. Of two sets of links only the newer one matters.
fn keep(backlog: &mut VecDeque<NetCommand>, command: NetCommand) -> bool {
    let is_links = |one: &NetCommand| matches!(one, NetCommand::Links { .. });
    if is_links(&command) {
        backlog.retain(|one| !is_links(one));
    }
    let mut shed = false;
    if backlog.len() >= BACKLOG
        && let Some(oldest) = backlog.iter().position(|one| !is_links(one))
    {
        backlog.remove(oldest);
        shed = true;
    }
    backlog.push_back(command);
    shed
}

/// What woke the loop.
enum Input {
    Net(Option<NetEvent>),
    Request(Option<Request>),
    Opened(Option<Opened>),
    Committed((Commit, Result<(), BackendError>)),
    Time,
    ClockCheck,
}

async fn wait_for(
    commit: &mut Option<JoinHandle<(Commit, Result<(), BackendError>)>>,
) -> (Commit, Result<(), BackendError>) {
    let Some(task) = commit.as_mut() else {
        return std::future::pending().await;
    };
    let done = task.await;
    *commit = None;
    match done {
        Ok(done) => done,
        Err(lost) if lost.is_panic() => std::panic::resume_unwind(lost.into_panic()),
        // The runtime is shutting down.
        Err(_) => std::future::pending().await,
    }
}

fn parse(bytes: Vec<u8>) -> Option<Multiaddr> {
    Multiaddr::try_from(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_wanted_links_are_kept_at_the_cap_and_only_the_newest() {
        let mut backlog = VecDeque::new();
        let links = |count: u8| NetCommand::Links {
            wanted: (0..count).map(|id| ([id; 32], Vec::new())).collect(),
        };
        assert!(!keep(&mut backlog, links(1)));
        let mut shed = 0;
        for number in 0..1_000u32 {
            let key = *blake3::hash(&number.to_le_bytes()).as_bytes();
            shed += usize::from(keep(&mut backlog, NetCommand::Unserve { key }));
        }
        assert_eq!((backlog.len(), shed), (BACKLOG, 1_001 - BACKLOG));
        let wanted = |backlog: &VecDeque<NetCommand>| -> Vec<usize> {
            let of = |one: &NetCommand| match one {
                NetCommand::Links { wanted } => Some(wanted.len()),
                _ => None,
            };
            backlog.iter().filter_map(of).collect()
        };
        assert_eq!(wanted(&backlog), [1]);
        // A newer set takes the place of the older one; nothing else goes for it.
        assert!(!keep(&mut backlog, links(2)));
        assert_eq!((backlog.len(), wanted(&backlog)), (BACKLOG, vec![2]));
    }
}
