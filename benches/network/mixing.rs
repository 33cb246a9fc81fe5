//! What the node's driver does for its mixer, without the rest of a node: packets from the links to the threads that open
//! them, into the mixer, their tags to the disk, and when they are due to the links. The parts are the node's own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mix::{Mixer, Packet, ShortId};
use node::core::{Commit, KeyFile};
use node::disk::Disk;
use node::driver::COMMIT_GAP;
use node::driver::peelers::Peelers;
use node::env::{Clock, Timer};
use node::net::{Links, NetEvent};
use storage::backend::memory::MemoryBackend;
use tokio::sync::mpsc::{Receiver, Sender};

use crate::lab::EPOCH;

/// Events of the network taken in one go, as in the driver.
const TURN: usize = 64;

/// The loop's belongings.
pub(crate) struct Mixing {
    pub(crate) mixer: Mixer,
    /// None: packets are opened by the loop itself.
    pub(crate) peelers: Option<Peelers>,
    pub(crate) disk: Disk<MemoryBackend>,
    pub(crate) clock: Clock,
    pub(crate) links: Links,
    pub(crate) events: Receiver<NetEvent>,
    pub(crate) peers: BTreeMap<ShortId, [u8; 32]>,
    pub(crate) gauge: Arc<Gauge>,
}

/// What can be read from outside while it runs.
#[derive(Default)]
pub(crate) struct Gauge {
    /// Packets handed to links.
    pub(crate) relayed: AtomicU64,
    /// Packets that left late because their tags were not yet synced.
    pub(crate) late: AtomicU64,
    /// Packets that were dropped anywhere in here.
    pub(crate) dropped: AtomicU64,
    /// Commits, each with one sync.
    pub(crate) commits: AtomicU64,
}

impl Mixing {
    /// Runs until the network layer ends.
    pub(crate) async fn run(mut self) {
        let (synced, mut done) = tokio::sync::mpsc::channel(1);
        let mut timer = Timer::new(self.clock);
        let (mut syncing, mut sync_at) = (false, None);
        if let Some(peelers) = &mut self.peelers {
            peelers.renew(self.mixer.opener());
        }
        loop {
            self.mixer.handle_timeout(self.clock.now());
            while let Some((next, packet)) = self.mixer.poll_transmit() {
                self.links.send(&self.peers[&next], packet.into_boxed());
                self.gauge.relayed.fetch_add(1, Ordering::Relaxed);
            }
            self.show();
            let now = self.clock.now();
            if !syncing && sync_at.is_none_or(|at| at <= now) {
                syncing = self.start_sync(&synced);
                sync_at = syncing.then_some(now + COMMIT_GAP);
            }
            let wake = [self.mixer.poll_timeout(), sync_at.filter(|_| !syncing)];
            let wake = wake.into_iter().flatten().min();
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.take_events(event),
                    None => return,
                },
                opened = next_opened(&mut self.peelers) => {
                    self.mixer.handle_opened(opened);
                    while let Some(opened) = self.peelers.as_mut().and_then(Peelers::try_opened) {
                        self.mixer.handle_opened(opened);
                    }
                }
                Some(seq) = done.recv() => {
                    syncing = false;
                    self.mixer.handle_synced(seq);
                }
                () = timer.until(wake) => {}
            }
        }
    }

    fn take_events(&mut self, first: NetEvent) {
        let mut packets = Vec::with_capacity(TURN);
        let mut next = Some(first);
        for _ in 0..TURN {
            if let Some(NetEvent::Packet { packet, .. }) = next {
                packets.push(Packet::from_boxed(packet));
            }
            next = self.events.try_recv().ok();
            if next.is_none() {
                break;
            }
        }
        let now = self.clock.now();
        match &mut self.peelers {
            Some(peelers) => peelers.push(now, packets),
            None => packets
                .into_iter()
                .for_each(|packet| self.mixer.handle_packet(now, packet)),
        }
    }

    fn start_sync(&mut self, synced: &Sender<u64>) -> bool {
        let mut tags = Vec::new();
        let mut seq = 0;
        while let Some(batch) = self.mixer.poll_tags() {
            tags.extend(batch.tags);
            seq = batch.seq;
        }
        if tags.is_empty() {
            return false;
        }
        self.gauge.commits.fetch_add(1, Ordering::Relaxed);
        let (disk, synced) = (self.disk.clone(), synced.clone());
        tokio::task::spawn_blocking(move || {
            disk.commit(&mut commit(KeyFile::Append { epoch: EPOCH, tags }))
                .unwrap();
            let _ = synced.blocking_send(seq);
        });
        true
    }

    fn show(&self) {
        let shed = self.peelers.as_ref().map_or(0, Peelers::shed);
        let counters = self.mixer.counters();
        let dropped = shed + counters.dropped_total();
        self.gauge.dropped.store(dropped, Ordering::Relaxed);
        self.gauge.late.store(counters.late, Ordering::Relaxed);
    }
}

async fn next_opened(peelers: &mut Option<Peelers>) -> mix::mixer::Opened {
    match peelers {
        Some(peelers) => peelers.opened().await.expect("the threads live"),
        None => std::future::pending().await,
    }
}

/// A commit of one key file and nothing else.
pub(crate) fn commit(write: KeyFile) -> Commit {
    Commit {
        seq: 1,
        state: storage::backend::Batch::default(),
        mailbox: storage::backend::Batch::default(),
        keys: vec![write],
    }
}
