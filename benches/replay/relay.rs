//! The relay process: started anew after each kill, on what its directory holds.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use mix::mixer::{Arrival, Opened, Opener};
use mix::time::{Moment, Span};
use mix::{DropReason, EpochKey, Event, Mixer, MixerConfig, PACKET_LEN, Packet};
use node::core::{Commit, KeyFile};
use node::disk::Disk;
use storage::backend::Batch;
use storage::backend::memory::MemoryBackend;

use crate::child::{self, say};
use crate::lab::{self, EPOCH, NETWORK};

/// Sockets that bring packets.
pub(crate) const SOCKETS: usize = 2;
/// T0 of the epoch; it lasts 1,000 s and its key 100 s longer at both ends.
pub(crate) const START: Moment = Moment::from_secs(1_000_000);
pub(crate) const LENGTH: Span = Span::from_secs(1_000);
const TAIL: Span = Span::from_secs(100);

/// The key of the epoch that the packets are for, or of one after it. Always the same, as a file would give it back.
fn key(epoch: u32) -> EpochKey {
    let starts = START + LENGTH.times(u64::from(epoch - EPOCH));
    EpochKey {
        epoch,
        usable_from: starts - TAIL,
        starts,
        usable_until: starts + LENGTH + TAIL,
        secret: lab::relay(u64::from(epoch)).0,
    }
}

enum Input {
    Opened(Opened),
    Ended,
    Synced(u64),
}

/// Starts at the moment AT, serves until its sockets have ended and all is done, then says `drained` and its counts.
pub(crate) fn relay() {
    let dir = std::path::PathBuf::from(child::setting("DIR"));
    let at = Moment(child::setting("AT").parse().unwrap());
    let began = Instant::now();
    let now = move || at + Span::from_micros(began.elapsed().as_micros() as u64);

    let disk = Disk::new(MemoryBackend::new(), dir).unwrap();
    let mut config = MixerConfig::new(NETWORK, lab::relay(u64::from(EPOCH)).1.id);
    config.delays = [Span::from_millis(2); 3];
    let mut mixer = Mixer::new(config, lab::rng(at.0));
    let stored = disk.load_keys().unwrap();
    let mut commit = commit(Vec::new());
    for epoch in [EPOCH, EPOCH + 1] {
        let key = key(epoch);
        match stored.iter().find(|stored| stored.epoch == epoch) {
            Some(stored) => mixer.add_key(key, stored.tags.iter().copied()).unwrap(),
            // The first start makes both; later one that is missing was erased.
            None if stored.is_empty() => {
                let sealed = key.to_bytes().to_vec();
                commit.keys.push(KeyFile::Create { epoch, sealed });
                mixer.add_key(key, []).unwrap();
            }
            None => {}
        }
    }
    for epoch in mixer.drop_expired_keys(now()) {
        commit.keys.push(KeyFile::Erase { epoch });
    }
    disk.commit(&mut commit).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    say(format!("at {}", listener.local_addr().unwrap().port()));
    let (inputs, incoming) = sync_channel(64);
    for _ in 0..SOCKETS {
        let (socket, inputs, opener) =
            (listener.accept().unwrap().0, inputs.clone(), mixer.opener());
        std::thread::spawn(move || read(socket, &opener, now, &inputs));
    }
    let out = listener.accept().unwrap().0;
    let commits = write_behind(disk, inputs);
    Loop {
        mixer,
        commits,
        out,
        syncing: false,
    }
    .run(&incoming, now);
}

/// Opens what a socket brings, up to 64 packets at a time.
fn read(
    mut socket: TcpStream,
    opener: &Opener,
    now: impl Fn() -> Moment,
    inputs: &SyncSender<Input>,
) {
    let mut buffer = vec![0; 64 * PACKET_LEN];
    let mut filled = 0;
    loop {
        let read = socket.read(&mut buffer[filled..]).unwrap_or(0);
        if read == 0 {
            let _ = inputs.send(Input::Ended);
            return;
        }
        filled += read;
        let whole = filled / PACKET_LEN * PACKET_LEN;
        let at = now();
        let arrivals = buffer[..whole].chunks(PACKET_LEN).map(|bytes| Arrival {
            at,
            packet: Packet::from_slice(bytes).unwrap(),
        });
        let opened = opener.open(arrivals.collect());
        if inputs.send(Input::Opened(opened)).is_err() {
            return;
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// A thread that makes one commit after another durable.
fn write_behind(disk: Disk<MemoryBackend>, done: SyncSender<Input>) -> SyncSender<Commit> {
    let (commits, incoming) = sync_channel::<Commit>(1);
    std::thread::spawn(move || {
        for mut commit in incoming {
            disk.commit(&mut commit).unwrap();
            if done.send(Input::Synced(commit.seq)).is_err() {
                return;
            }
        }
    });
    commits
}

struct Loop {
    mixer: Mixer,
    commits: SyncSender<Commit>,
    out: TcpStream,
    syncing: bool,
}

impl Loop {
    fn run(mut self, incoming: &Receiver<Input>, now: impl Fn() -> Moment) {
        let mut open = SOCKETS;
        while open > 0 || self.syncing || self.mixer.pool_len() > 0 {
            match incoming.recv_timeout(Duration::from_millis(1)) {
                Ok(Input::Opened(opened)) => self.mixer.handle_opened(opened),
                Ok(Input::Ended) => open -= 1,
                Ok(Input::Synced(seq)) => {
                    self.syncing = false;
                    self.mixer.handle_synced(seq);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.mixer.handle_timeout(now());
            self.sync();
            self.let_go();
        }
        let counters = self.mixer.counters();
        say(format!(
            "drained {} {} {} {}",
            counters.received,
            counters.dropped(DropReason::Replay),
            counters.dropped(DropReason::Mac),
            counters.dropped_total(),
        ));
        child::orders().for_each(drop);
    }

    fn sync(&mut self) {
        if self.syncing {
            return;
        }
        let mut keys = Vec::new();
        let mut seq = 0;
        while let Some(batch) = self.mixer.poll_tags() {
            seq = batch.seq;
            keys.push(KeyFile::Append {
                epoch: batch.epoch,
                tags: batch.tags,
            });
        }
        if !keys.is_empty() {
            let commit = Commit {
                seq,
                ..commit(keys)
            };
            self.syncing = self.commits.send(commit).is_ok();
        }
    }

    /// Gives the names of what leaves to the parent, as a link or a mailbox would be given the packet. Once it is in the
    /// socket it has left: a kill does not take it back.
    fn let_go(&mut self) {
        let mut names = Vec::new();
        while let Some(event) = self.mixer.poll_event() {
            if let Event::Loop { id, .. } = event {
                names.extend(id);
            }
        }
        while let Some((_, packet)) = self.mixer.poll_transmit() {
            names.extend(name_of(&packet));
        }
        // The parent may have gone; then so do we, at the next order.
        let _ = self.out.write_all(&names);
    }
}

/// What a transmitted packet is known by: a part of its header that is random.
pub(crate) fn name_of(packet: &Packet) -> [u8; 16] {
    let mut name = [0; 16];
    name.copy_from_slice(&packet.as_bytes()[1..17]);
    name
}

pub(crate) fn commit(keys: Vec<KeyFile>) -> Commit {
    Commit {
        seq: 0,
        state: Batch::default(),
        mailbox: Batch::default(),
        keys,
    }
}
