//! A small forgery: nodes whose keys are made here and who pass real packets on as they should, so that a test can spoil what
//! their links carried in exactly one place.

use std::collections::BTreeMap;
use std::time::Duration;

use mix::sphinx::{BODY_LEN, Class, Exit, build, build_surb};
use mix::time::Moment;
use mix::{EpochKey, Hop, MixSecret, NetworkId, Packet, ShortId, Surb};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use storage::answer::Answer;
use storage::op::Op;

use crate::capture::{Crossing, Flaw, Span, by_bytes, number_of};
use crate::peeling::{Journey, KeyBook, Opened, follow};
use crate::trace::{Carriage, Exchange, Proven, check_bytes, check_hops, check_message, pair_up};

pub(crate) const NODES: usize = 10;
pub(crate) const EPOCH: u32 = 3;
pub(crate) const SENDER: usize = 0;
pub(crate) const HOLDER: usize = 4;
pub(crate) const RECEIVER: usize = 5;
/// All that is forged lies within.
pub(crate) const ALWAYS: Span = Span {
    from: Duration::ZERO,
    until: Duration::MAX,
};

/// Nodes that pass packets on as they should, and what their links carried.
pub(crate) struct Forge {
    rng: ChaCha20Rng,
    pub(crate) book: KeyBook,
    pub(crate) crossings: Vec<Crossing>,
}

impl Forge {
    pub(crate) fn new() -> Self {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let network = NetworkId([9; 32]);
        let key = |rng: &mut ChaCha20Rng| EpochKey {
            epoch: EPOCH,
            usable_from: Moment(0),
            starts: Moment(0),
            usable_until: Moment(u64::MAX),
            secret: MixSecret::random(rng),
        };
        let keys: BTreeMap<_, _> = (0..NODES)
            .map(|node| ((node, EPOCH), key(&mut rng)))
            .collect();
        let shorts = (0..NODES).map(|node| ShortId([u8::try_from(node).unwrap() + 1; 16]));
        let book = KeyBook {
            network,
            shorts: shorts.collect(),
            keys,
        };
        Self {
            rng,
            book,
            crossings: Vec::new(),
        }
    }

    fn path(&self, nodes: &[usize]) -> Vec<Hop> {
        let hop = |node: &usize| Hop {
            id: self.book.shorts[*node],
            key: self.book.keys[&(*node, EPOCH)].public(),
            epoch: EPOCH,
        };
        nodes.iter().map(hop).collect()
    }

    /// Sends an operation along a path, as nodes do that keep the rules.
    fn send(&mut self, from: usize, nodes: &[usize], body: &[u8; BODY_LEN]) {
        let path = self.path(nodes);
        let network = self.book.network;
        let packet = build(&network, &path, Class::Fast, Exit::Box, body, &mut self.rng).unwrap();
        self.carry(from, nodes[0], packet);
    }

    /// A reply block that leads over `nodes`, and the same with the answer already on its way.
    fn reply_block(&mut self, nodes: &[usize]) -> Surb {
        let path = self.path(nodes);
        build_surb(
            &self.book.network,
            &path,
            Class::Fast,
            [1; 16],
            &mut self.rng,
        )
        .unwrap()
        .0
    }

    fn carry(&mut self, mut from: usize, mut to: usize, packet: Packet) {
        let mut bytes = packet.into_boxed();
        loop {
            self.crossings.push(Crossing {
                from,
                to,
                bytes: bytes.clone(),
                at: Duration::ZERO,
            });
            let Some(Opened::Forward {
                next,
                bytes: onward,
            }) = self.book.open(to, &bytes)
            else {
                return;
            };
            (from, to, bytes) = (to, next, onward);
        }
    }

    /// A deposit over `there`, a fetch, and its answer over `back`; both ways end with their last node.
    pub(crate) fn exchange(mut self, there: &[usize], back: &[usize]) -> Self {
        self.send(SENDER, there, &[0; BODY_LEN]);
        let surb = self.reply_block(back);
        let get = Op::get_box(EPOCH, [8; 32], 0, Box::new(surb.to_bytes()));
        self.send(RECEIVER, &[6, 7, 8, HOLDER], &get.encode());
        let (first, packet) = surb.reply(&Answer::Empty.encode());
        let first = number_of(&self.book.shorts, &first).unwrap();
        self.carry(HOLDER, first, packet);
        self
    }

    pub(crate) fn honest() -> Self {
        Self::new().exchange(&[1, 2, 3, HOLDER], &[1, 6, 2, RECEIVER])
    }

    pub(crate) fn journeys(&self, span: Span) -> Result<Vec<Journey>, Flaw> {
        follow(
            &self.crossings,
            &by_bytes(&self.crossings)?,
            &self.book,
            span,
        )
    }

    /// Everything that is asked of all packets.
    pub(crate) fn prove(&self) -> Result<(Vec<Journey>, Vec<Exchange>), Flaw> {
        let journeys = self.journeys(ALWAYS)?;
        for journey in &journeys {
            check_hops(journey)?;
        }
        check_bytes(&journeys, &self.crossings)?;
        let number = |short: &[u8; 16]| number_of(&self.book.shorts, &ShortId(*short));
        let exchanges = pair_up(&journeys, &self.crossings, number)?;
        Ok((journeys, exchanges))
    }

    pub(crate) fn flaw(&self) -> Flaw {
        self.prove().err().unwrap()
    }

    /// As [`Self::prove`], and that deposit and answer carried a message.
    pub(crate) fn message(&self, relays: impl Fn(usize) -> bool) -> Result<Proven, Flaw> {
        let (journeys, exchanges) = self.prove()?;
        let answers = exchanges.iter().filter_map(|one| one.answer).collect();
        let carriage = Carriage {
            sender: SENDER,
            receiver: RECEIVER,
            deposits: vec![0],
            answers,
        };
        check_message(&carriage, &journeys, &self.crossings, relays)
    }
}
