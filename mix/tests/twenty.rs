//! Twenty mixers in one process, carried by calling cores only: deposits reach their holder, answers come back by reply
//! blocks, loops come home, and a second run of the same seed is the same run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use mix::route::{MixRef, Topology, draw};
use mix::sphinx::{build, build_surb};
use mix::time::{Moment, Span};
use mix::{
    BODY_LEN, Class, DropReason, EpochKey, Event, Exit, Hop, Mixer, MixerConfig, NetworkId, Packet,
    SURB_LEN, ShortId, Surb, SurbKeys,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

const NODES: usize = 20;
const MIXING_HOPS: usize = 3;
const NETWORK: NetworkId = NetworkId([3; 32]);
const EPOCH: u32 = 5;
const START: Moment = Moment::from_secs(100);
const LINK: Span = Span::from_millis(60);
const DISK: Span = Span::from_millis(10);

struct Directory(Vec<Hop>);

impl Topology for Directory {
    fn mixes(&self) -> usize {
        self.0.len()
    }
    fn mix(&self, index: usize) -> MixRef {
        MixRef {
            hop: self.0[index],
            subnet: Some(index as u32),
            weight: 1,
        }
    }
    fn index_of(&self, id: &ShortId) -> Option<usize> {
        self.0.iter().position(|hop| hop.id == *id)
    }
    fn hop_of(&self, id: &ShortId) -> Option<Hop> {
        self.index_of(id).map(|index| self.0[index])
    }
}

/// What happens to a node at a moment.
enum Happening {
    Arrives(Packet),
    Synced(u64),
    Due,
}

struct World {
    now: Moment,
    mixers: Vec<Mixer>,
    directory: Directory,
    happenings: BTreeMap<(Moment, u64), (usize, Happening)>,
    order: u64,
    rng: ChaCha20Rng,
    events: Vec<(Moment, usize, Event)>,
    /// Sender, receiver and content of all that crossed a link.
    wire: Vec<(usize, ShortId, [u8; 2048])>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let mut hops = Vec::new();
        let mut mixers = Vec::new();
        for node in 0..NODES {
            let secret = mix::MixSecret::random(&mut rng);
            let id = ShortId::derive(&NETWORK, &[node as u8; 32]);
            hops.push(Hop {
                id,
                key: secret.public(),
                epoch: EPOCH,
            });
            let key = EpochKey {
                epoch: EPOCH,
                usable_from: START,
                starts: START,
                usable_until: START + Span::from_secs(600),
                secret,
            };
            let mut mixer = Mixer::new(
                MixerConfig::new(NETWORK, id),
                ChaCha20Rng::from_rng(&mut rng),
            );
            mixer.add_key(key, []).unwrap();
            mixers.push(mixer);
        }
        let directory = Directory(hops);
        Self {
            now: START,
            mixers,
            directory,
            happenings: BTreeMap::new(),
            order: 0,
            rng,
            events: Vec::new(),
            wire: Vec::new(),
        }
    }

    fn path(&mut self, from: usize, to: usize) -> Vec<Hop> {
        let (own, last) = (self.directory.0[from].id, self.directory.0[to].id);
        draw(
            &self.directory,
            MIXING_HOPS,
            &last,
            own,
            6,
            true,
            &mut self.rng,
        )
        .unwrap()
    }

    fn send(&mut self, from: usize, to: usize, exit: Exit, body: &[u8; BODY_LEN]) -> Vec<Hop> {
        let path = self.path(from, to);
        let packet = build(&NETWORK, &path, Class::Fast, exit, body, &mut self.rng).unwrap();
        self.mixers[from].send(self.now, path[0].id, packet);
        self.drain(from);
        path
    }

    fn plan(&mut self, after: Span, node: usize, happening: Happening) {
        self.order += 1;
        self.happenings
            .insert((self.now + after, self.order), (node, happening));
    }

    /// What a driver does after each call: disk, links, events, timer.
    fn drain(&mut self, node: usize) {
        while let Some(batch) = self.mixers[node].poll_tags() {
            self.plan(DISK, node, Happening::Synced(batch.seq));
        }
        while let Some((to, packet)) = self.mixers[node].poll_transmit() {
            self.wire.push((node, to, *packet.as_bytes()));
            let to = self.directory.index_of(&to).unwrap();
            self.plan(LINK, to, Happening::Arrives(packet));
        }
        while let Some(event) = self.mixers[node].poll_event() {
            // A holder: the body is a reply block and a question, the answer crosses over.
            if let Event::Box { class, body } = &event {
                let surb = Surb::from_bytes(body[..SURB_LEN].try_into().unwrap()).unwrap();
                let mut answer = [0; BODY_LEN];
                answer[..8].copy_from_slice(&body[SURB_LEN..SURB_LEN + 8]);
                let (first, packet) = surb.reply(&answer);
                self.mixers[node].hold(self.now, *class, first, packet);
            }
            self.events.push((self.now, node, event));
        }
        if let Some(due) = self.mixers[node].poll_timeout() {
            self.plan(due - self.now, node, Happening::Due);
        }
    }

    fn run(&mut self) {
        while let Some(((at, _), (node, happening))) = self.happenings.pop_first() {
            self.now = at;
            match happening {
                Happening::Arrives(packet) => self.mixers[node].handle_packet(at, packet),
                Happening::Synced(seq) => self.mixers[node].handle_synced(seq),
                Happening::Due => self.mixers[node].handle_timeout(at),
            }
            self.drain(node);
        }
    }
}

/// A question to a holder, with the way back for its answer.
struct Question {
    from: usize,
    path: Vec<Hop>,
    back: Vec<Hop>,
    keys: SurbKeys,
}

/// 100 questions and 40 loops between random nodes, to the end.
fn play(seed: u64) -> (World, Vec<Question>) {
    let mut world = World::new(seed);
    let mut questions = Vec::new();
    for number in 0..100u64 {
        let from = (world.rng.next_u32() as usize) % NODES;
        let holder = (from + 1 + (world.rng.next_u32() as usize) % (NODES - 1)) % NODES;
        let back = world.path(holder, from);
        let mut surb_id = [0; 16];
        surb_id[..8].copy_from_slice(&number.to_le_bytes());
        let (surb, keys) =
            build_surb(&NETWORK, &back, Class::Fast, surb_id, &mut world.rng).unwrap();
        let mut body = [0; BODY_LEN];
        body[..SURB_LEN].copy_from_slice(&surb.to_bytes());
        body[SURB_LEN..SURB_LEN + 8].copy_from_slice(&number.to_le_bytes());
        let path = world.send(from, holder, Exit::Box, &body);
        questions.push(Question {
            from,
            path,
            back,
            keys,
        });
    }
    for number in 0..40 {
        let node = number % NODES;
        world.send(
            node,
            node,
            Exit::Loop {
                id: [number as u8; 16],
            },
            &[0; BODY_LEN],
        );
    }
    world.run();
    (world, questions)
}

#[test]
fn questions_are_answered_and_loops_come_home() {
    let (mut world, questions) = play(1);
    let events = core::mem::take(&mut world.events);
    let (mut boxes, mut answers, mut loops) = (0, 0, 0);
    for (at, node, event) in events {
        match event {
            Event::Box { .. } => boxes += 1,
            Event::Loop { id, at: arrived } => {
                loops += 1;
                assert_eq!(usize::from(id[0]) % NODES, node);
                assert_eq!(
                    at,
                    arrived + DISK,
                    "the moment of arrival, not that of the disk"
                );
            }
            Event::Reply { surb_id, packet } => {
                answers += 1;
                let number = surb_id[0];
                let question = &questions[usize::from(number)];
                assert_eq!(question.from, node);
                let body = question.keys.open(packet).unwrap();
                assert_eq!(body[..8], u64::from(number).to_le_bytes());
                // Seven holds and eight links at least.
                assert!(at - START >= Span::from_millis(25).times(7) + LINK.times(8));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((boxes, answers, loops), (100, 100, 40));
    for mixer in &world.mixers {
        assert_eq!(
            (
                mixer.counters().dropped_total(),
                mixer.counters().late,
                mixer.pool_len()
            ),
            (0, 0, 0)
        );
    }
}

#[test]
fn every_packet_takes_its_whole_route_and_no_link_sees_bytes_twice() {
    let (world, questions) = play(2);
    let steps = questions.len() * (2 * (MIXING_HOPS + 1)) + 40 * (MIXING_HOPS + 1);
    assert_eq!(
        world.wire.len(),
        steps,
        "four links each way and four a loop"
    );
    let mut seen: Vec<_> = world
        .wire
        .iter()
        .map(|(_, _, bytes)| bytes[1..].to_vec())
        .collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), steps);
    for question in &questions {
        let own = world.directory.0[question.from].id;
        let holder = question.path[MIXING_HOPS].id;
        assert_eq!(
            (question.path.len(), question.back.len()),
            (MIXING_HOPS + 1, MIXING_HOPS + 1)
        );
        assert!(
            question.path[..MIXING_HOPS]
                .iter()
                .chain(&question.back[..MIXING_HOPS])
                .all(|hop| hop.id != own && hop.id != holder)
        );
    }
}

#[test]
fn everything_captured_and_sent_again_changes_nothing() {
    let (mut world, _) = play(3);
    let before: u64 = world
        .mixers
        .iter()
        .map(|mixer| mixer.counters().relayed + mixer.counters().ended)
        .sum();
    let captured = core::mem::take(&mut world.wire);
    let count = captured.len() as u64;
    for (_, to, bytes) in captured {
        let to = world.directory.index_of(&to).unwrap();
        world.plan(
            Span::ZERO,
            to,
            Happening::Arrives(Packet::from_boxed(Box::new(bytes))),
        );
    }
    world.events.clear();
    world.run();
    let sum = |f: fn(&Mixer) -> u64| world.mixers.iter().map(f).sum::<u64>();
    assert_eq!(
        sum(|mixer| mixer.counters().relayed + mixer.counters().ended),
        before
    );
    assert_eq!(
        sum(|mixer| mixer.counters().dropped(DropReason::Replay)),
        count
    );
    assert!(world.events.is_empty() && world.wire.is_empty());
}

#[test]
fn one_seed_gives_one_run_and_another_a_different_one() {
    let (one, _) = play(4);
    let (same, _) = play(4);
    let (other, _) = play(5);
    assert!(one.wire == same.wire && one.events == same.events && one.now == same.now);
    assert!(one.wire != other.wire);
}
