//! Target `surb`: the life of a reply block: given away, used, carried by its hops, opened by its owner, with any part of it
//! altered on the way. It opens if and only if nothing was altered that its owner relies on, and then to the body that was sent.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use mix::sphinx::{Peeled, SURB_KEYS_LEN, SurbError, build_surb};
use mix::{BODY_LEN, Class, Packet, SURB_LEN, ShortId, Surb, SurbKeys};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

use crate::lab::{EPOCH, Input, NETWORK, Relay, one_in};
use crate::model::{DELTA, decrypt, part};

const MOST_CHANGES: usize = 6;

struct Block {
    surb: [u8; SURB_LEN],
    keys: [u8; SURB_KEYS_LEN],
    relays: Vec<Relay>,
}

static BLOCKS: LazyLock<Vec<Block>> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    // Short paths more often: every hop costs, and adds little that is new.
    [1, 1, 1, 2, 2, 2, 3, 3, 4, 5]
        .into_iter()
        .zip(0u8..)
        .map(|(hops, number)| {
            let relays: Vec<Relay> = (0..hops).map(|i| Relay::named(20 + i, EPOCH)).collect();
            let path: Vec<_> = relays.iter().map(|relay| relay.hop).collect();
            let (surb, keys) = build_surb(&NETWORK, &path, Class::Strong, [number; 16], &mut rng)
                .expect("an honest path");
            Block {
                surb: surb.to_bytes(),
                keys: *keys.to_bytes(),
                relays,
            }
        })
        .collect()
});

/// The story of one reply, as the input tells it.
struct Story {
    block: &'static Block,
    surb: [u8; SURB_LEN],
    keys: [u8; SURB_KEYS_LEN],
    body: [u8; BODY_LEN],
    /// The layer keys of the hops that carry the reply, in order.
    carriers: Vec<[u8; 32]>,
    /// (how many hops were passed, place in delta) → what is added there.
    tampered: BTreeMap<(usize, usize), u8>,
}

/// Plays one reply through.
pub fn play(data: &[u8]) -> &'static str {
    let mut input = Input(data);
    let block = &BLOCKS[input.below(BLOCKS.len())];
    let mut story = Story {
        block,
        surb: block.surb,
        keys: block.keys,
        body: [0; BODY_LEN],
        carriers: layers(&block.keys).collect(),
        tampered: BTreeMap::new(),
    };
    input.pattern(&mut story.body);
    for _ in 0..MOST_CHANGES {
        if input.is_empty() {
            break;
        }
        story.alter(&mut input);
    }
    story.play(one_in(16, data))
}

/// The layer keys in serialised keys, as many as they say.
fn layers(keys: &[u8; SURB_KEYS_LEN]) -> impl Iterator<Item = [u8; 32]> + '_ {
    (0..usize::from(keys[0])).map(|hop| part(&keys[33 + 32 * hop..65 + 32 * hop]))
}

impl Story {
    fn alter(&mut self, input: &mut Input<'_>) {
        let other = |input: &mut Input<'_>| &BLOCKS[input.below(BLOCKS.len())];
        match input.below(9) {
            0 => self.surb[input.below(245)] ^= input.byte(),
            1 => self.surb[245 + input.below(32)] ^= input.byte(),
            2 => self.keys[input.below(SURB_KEYS_LEN)] ^= input.byte(),
            3 => self.keys = other(input).keys,
            4 => self.surb[245..].copy_from_slice(&other(input).surb[245..]),
            5 => {
                let place = (input.below(self.carriers.len() + 1), input.wide(1819));
                *self.tampered.entry(place).or_default() ^= input.byte();
            }
            6 if self.carriers.len() > 1 => {
                self.carriers.remove(input.below(self.carriers.len()));
            }
            6 => {}
            7 => {
                let hop = self.carriers[input.below(self.carriers.len())];
                self.carriers.insert(input.below(self.carriers.len()), hop);
            }
            _ => {
                // The same change on both sides: a pair that fits again.
                let (place, value) = (input.below(32), input.byte());
                self.surb[245 + place] ^= value;
                self.keys[1 + place] ^= value;
            }
        }
    }

    /// What is added to the payload, where, after how many of those that carry it.
    fn tampered_with(&self) -> impl Iterator<Item = ((usize, usize), u8)> + '_ {
        let carriers = self.carriers.len();
        self.tampered
            .iter()
            .map(|(&place, &value)| (place, value))
            .filter(move |&((passed, _), _)| passed <= carriers)
    }

    fn play(&self, walk: bool) -> &'static str {
        let Ok(surb) = Surb::from_bytes(&self.surb) else {
            assert_ne!(self.surb[0], 1);
            return "no reply block";
        };
        assert_eq!(surb.to_bytes(), self.surb);
        let (first, packet) = surb.reply(&self.body);
        assert_eq!(first, ShortId(part(&self.surb[229..245])));
        assert_eq!(packet.as_bytes()[..229], self.surb[..229]);

        let untouched = self.surb[..229] == self.block.surb[..229]
            && self.carriers.iter().copied().eq(layers(&self.block.keys));
        let (packet, walked) = if walk && untouched && self.tampered.is_empty() {
            (self.walk(packet), true)
        } else {
            (self.carry(packet), false)
        };

        let Ok(keys) = SurbKeys::from_bytes(&self.keys) else {
            assert!(!(1..=5).contains(&self.keys[0]));
            return "no reply keys";
        };
        assert_eq!(*keys.to_bytes(), self.keys);
        let opens = self.surb[245..] == self.keys[1..33]
            && self.tampered_with().all(|(_, value)| value == 0)
            && self.carriers.iter().copied().eq(layers(&self.keys));
        match keys.open(packet) {
            Ok(body) => {
                assert!(opens, "an altered reply opened");
                assert!(*body == self.body, "another body than was sent");
                if walked {
                    "opened after a walk"
                } else {
                    "opened"
                }
            }
            Err(SurbError::Payload) => {
                assert!(!opens, "a reply was lost");
                "altered"
            }
            Err(_) => unreachable!("there is one reason"),
        }
    }

    /// Real hops, with their keys.
    fn walk(&self, mut packet: Packet) -> Packet {
        let mut id = None;
        for (place, relay) in self.block.relays.iter().enumerate() {
            match relay.peel(&mut packet) {
                Peeled::Forward { next, class, .. } => {
                    assert_eq!(class, Class::Strong);
                    assert_eq!(next, self.block.relays[place + 1].hop.id);
                }
                Peeled::Reply { surb_id } => {
                    assert_eq!(place + 1, self.block.relays.len());
                    id = Some(surb_id);
                }
                other => panic!("a reply became {other:?}"),
            }
        }
        let number = BLOCKS
            .iter()
            .position(|block| core::ptr::eq(block, self.block))
            .expect("it is one of them");
        assert_eq!(id, Some([number as u8; 16]));
        packet
    }

    /// What real hops do to the payload, without the arithmetic, and what somebody between them did.
    fn carry(&self, packet: Packet) -> Packet {
        let mut bytes = *packet.as_bytes();
        for passed in 0..=self.carriers.len() {
            for ((after, place), value) in self.tampered_with() {
                if after == passed {
                    bytes[229 + place] ^= value;
                }
            }
            if let Some(key) = self.carriers.get(passed) {
                decrypt(key, &mut bytes[DELTA]);
            }
        }
        Packet::from_slice(&bytes).expect("2,048 bytes")
    }
}
