//! `replay/kill`: the side that captured the packets and counts what leaves.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mix::sphinx::{build, peel};
use mix::time::{Moment, Span};
use mix::{BODY_LEN, Class, Exit, Hop, KeyContext, Packet};
use rand_core::Rng;

use crate::child::{Child, numbers};
use crate::lab::{self, EPOCH, NETWORK};
use crate::relay::{LENGTH, SOCKETS, START, name_of};

/// Every so many packets one is passed on; the others end at the relay.
const FORWARD: usize = 8;

/// Packets and the name by which each is known when it leaves.
struct Captured {
    packets: Vec<Packet>,
    names: Vec<[u8; 16]>,
}

/// How often each packet has left.
type Left = BTreeMap<[u8; 16], u32>;

pub(crate) fn measure() {
    let count = lab::size(1_000_000, 400);
    let kills = lab::size(20, 3);
    let rng = &mut lab::rng(5);
    let started = Instant::now();
    let captured = Arc::new(capture(count, EPOCH, 1));
    println!(
        "replay/kill: {count} packets built in {:.0?}",
        started.elapsed()
    );
    let dir = tempfile::tempdir().unwrap();
    let mut left = Left::new();

    // Each life brings new packets and half as many of those sent before, in random order.
    let share = count / kills;
    for life in 0..kills {
        let mut places: Vec<usize> = (life * share..(life + 1) * share).collect();
        let before = life * share;
        for _ in 0..before.min(share / 2) {
            places.push(rng.next_u64() as usize % before);
        }
        shuffle(&mut places, rng);
        let run = Run::start(dir.path(), START, &captured, &places);
        // Up to what the whole of it would take, so that kills fall anywhere, the end included.
        let whole = Duration::from_micros(places.len() as u64 * 60);
        let wait = whole.mul_f64(rng.next_u64() as f64 / u64::MAX as f64 * 1.1);
        std::thread::sleep(wait);
        let (gone, all) = run.kill();
        count_names(&mut left, &gone);
        assert!(gone.len() <= all);
    }
    let in_lives: usize = left.len();
    println!(
        "replay/kill: killed {kills} times by SIGKILL while packets came in; {in_lives} packets had left until then"
    );

    let everything: Vec<usize> = (0..captured.packets.len()).collect();
    let again = |what: &str, at: Moment, left: &mut Left| {
        let (before, started) = (left.len(), Instant::now());
        let run = Run::start(dir.path(), at, &captured, &everything);
        let (gone, counts) = run.drain();
        let twice = count_names(left, &gone);
        println!(
            "replay/kill: all {} sent again {what}: {} left for the first time, {twice} again; {} dropped as replays, {} without a key; {:.0?}",
            counts[0],
            left.len() - before,
            counts[1],
            counts[2],
            started.elapsed(),
        );
        (left.len() - before, twice, counts)
    };
    let (new, _, _) = again("after the last restart", START, &mut left);
    assert!(new > 0 || kills == 0, "what the kills cost was taken now");
    assert_eq!(left.len() + lost(&left, &captured), count);
    let (new, twice, _) = again("after another restart", START, &mut left);
    // A packet whose tag was durable when the relay was killed may never leave: it must not leave now either.
    assert_eq!((new, twice), (0, 0));
    let tail = START + LENGTH + Span::from_secs(1);
    let (new, twice, counts) = again("in the tail of its epoch", tail, &mut left);
    assert_eq!((new, twice, counts[1]), (0, 0, count as u64));
    let over = START + LENGTH + Span::from_secs(101);
    for what in ["after its key was erased", "after one more restart"] {
        let (new, twice, counts) = again(what, over, &mut left);
        assert_eq!((new, twice, counts[2]), (0, 0, count as u64));
    }
    let fresh = Arc::new(capture(lab::size(1_000, 20), EPOCH + 1, 2));
    let places: Vec<usize> = (0..fresh.packets.len()).collect();
    let (gone, _) = Run::start(dir.path(), over, &fresh, &places).drain();
    assert_eq!(gone.len(), places.len(), "the relay still works");
    let most = left.values().max().copied().unwrap_or(0);
    println!(
        "replay/kill: of {count} packets {} left once, {} never (killed with their tags kept, or shed), {} more than once; {} fresh ones of the next epoch all left",
        left.values().filter(|times| **times == 1).count(),
        lost(&left, &captured),
        left.values().filter(|times| **times > 1).count(),
        gone.len(),
    );
    assert!(most <= 1);
}

fn lost(left: &Left, captured: &Captured) -> usize {
    let missing = |name: &&[u8; 16]| !left.contains_key(*name);
    captured.names.iter().filter(missing).count()
}

/// Adds what left and returns how many of it had left before.
fn count_names(left: &mut Left, gone: &[[u8; 16]]) -> usize {
    let mut twice = 0;
    for name in gone {
        let times = left.entry(*name).or_default();
        *times += 1;
        twice += usize::from(*times > 1);
    }
    twice
}

fn shuffle(places: &mut [usize], rng: &mut impl Rng) {
    for place in (1..places.len()).rev() {
        places.swap(place, rng.next_u64() as usize % (place + 1));
    }
}

/// Builds packets for the relay: most end there, some pass.
fn capture(count: usize, epoch: u32, seed: u64) -> Captured {
    let (secret, key_hop) = lab::relay(u64::from(epoch));
    let relay = Hop {
        id: lab::relay(u64::from(EPOCH)).1.id,
        epoch,
        ..key_hop
    };
    let next = lab::relay(77).1;
    let context = KeyContext {
        network: NETWORK,
        epoch,
        relay: relay.id,
    };
    let half = |from: usize, to: usize| {
        let rng = &mut lab::rng(seed * 1_000_000 + from as u64);
        let mut captured = Captured {
            packets: Vec::with_capacity(to - from),
            names: Vec::with_capacity(to - from),
        };
        for number in from..to {
            let mut id = [seed as u8; 16];
            id[..8].copy_from_slice(&(number as u64).to_le_bytes());
            let (path, exit) = if number % FORWARD == 0 {
                (&[relay, next][..], Exit::Drop)
            } else {
                (&[relay][..], Exit::Loop { id })
            };
            let packet = build(&NETWORK, path, Class::Fast, exit, &[0; BODY_LEN], rng).unwrap();
            if path.len() > 1 {
                let mut peeled = packet.clone();
                peel(&secret, &context, &mut peeled).unwrap();
                id = name_of(&peeled);
            }
            captured.packets.push(packet);
            captured.names.push(id);
        }
        captured
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| half(count / 2, count));
        let mut all = half(0, count / 2);
        let other = other.join().unwrap();
        all.packets.extend(other.packets);
        all.names.extend(other.names);
        all
    })
}

/// One life of the relay, with packets streaming in.
struct Run {
    relay: Child,
    senders: Vec<JoinHandle<()>>,
    names: JoinHandle<Vec<[u8; 16]>>,
    count: usize,
}

impl Run {
    fn start(dir: &Path, at: Moment, captured: &Arc<Captured>, places: &[usize]) -> Self {
        let mut relay = Child::start("relay", &[("DIR", &dir.display()), ("AT", &at.0)]);
        let port: u16 = relay.hear("at").parse().unwrap();
        let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut shares = places.chunks(places.len().div_ceil(SOCKETS).max(1));
        // In this order: the relay takes the sockets that bring packets first.
        let senders = (0..SOCKETS)
            .map(|_| {
                let (socket, captured) = (connect(), captured.clone());
                let share = shares.next().unwrap_or_default().to_vec();
                std::thread::spawn(move || send(socket, &captured, &share))
            })
            .collect();
        let mut out = connect();
        let names = std::thread::spawn(move || {
            let (mut bytes, mut buffer) = (Vec::new(), [0; 1 << 16]);
            // A killed relay resets the connection; what had arrived counts.
            while let Ok(read @ 1..) = out.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..read]);
            }
            bytes.as_chunks::<16>().0.to_vec()
        });
        Self {
            relay,
            senders,
            names,
            count: places.len(),
        }
    }

    fn kill(self) -> (Vec<[u8; 16]>, usize) {
        self.relay.kill();
        for sender in self.senders {
            sender.join().unwrap();
        }
        (self.names.join().unwrap(), self.count)
    }

    fn drain(mut self) -> (Vec<[u8; 16]>, Vec<u64>) {
        let counts = numbers(&self.relay.hear("drained"));
        self.relay.end();
        for sender in self.senders {
            sender.join().unwrap();
        }
        (self.names.join().unwrap(), counts)
    }
}

/// Writes packets until all are gone or the relay is.
fn send(mut socket: TcpStream, captured: &Captured, share: &[usize]) {
    for places in share.chunks(32) {
        let packets = places
            .iter()
            .map(|place| &captured.packets[*place].as_bytes()[..]);
        if socket
            .write_all(&packets.collect::<Vec<_>>().concat())
            .is_err()
        {
            return;
        }
    }
    let _ = socket.shutdown(Shutdown::Write);
    // Kept open until the relay has read all: it ends then, or is killed.
    let _ = socket.read(&mut [0; 1]);
}
