//! What the targets of the packet core share: relays whose secrets are known, and packets that stand before a relay.

use std::sync::LazyLock;

use curve25519_dalek::scalar::Scalar;
use mix::sphinx::{Peeled, build, build_surb, peel};
use mix::{
    BODY_LEN, Class, DropReason, Exit, Hop, KeyContext, MixSecret, NetworkId, Packet, ShortId,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

pub use crate::input::{Input, one_in};
use crate::model::{ALPHA, Keys, Wire, element};

/// The network all targets play in.
pub const NETWORK: NetworkId = NetworkId([7; 32]);
/// The epoch of those that need one only.
pub const EPOCH: u32 = 42;
/// The name of the relay under test.
pub const OWN: u8 = 9;

/// A relay whose secret is known.
pub struct Relay {
    /// How others see it.
    pub hop: Hop,
    /// Its secret.
    pub secret: MixSecret,
}

impl Relay {
    /// The relay of this name in this epoch: always the same one.
    pub fn named(name: u8, epoch: u32) -> Self {
        let seed = u64::from(epoch) << 8 | u64::from(name);
        let secret = MixSecret::random(&mut ChaCha20Rng::seed_from_u64(seed));
        let hop = Hop {
            id: ShortId([name; 16]),
            key: secret.public(),
            epoch,
        };
        Self { hop, secret }
    }

    /// What its keys are bound to.
    pub fn context(&self) -> KeyContext {
        KeyContext {
            network: NETWORK,
            epoch: self.hop.epoch,
            relay: self.hop.id,
        }
    }

    /// Its keys for a packet with this alpha, and the alpha that the packet leaves with.
    pub fn keys(&self, alpha: &[u8]) -> (Keys, [u8; 32]) {
        let scalar = Scalar::from_canonical_bytes(*self.secret.to_bytes()).expect("a mix key");
        let alpha = element(alpha).expect("an honest packet's alpha");
        let keys = Keys::derive(
            &(alpha * scalar),
            &NETWORK.0,
            self.hop.epoch,
            &self.hop.id.0,
        );
        let next = (alpha * keys.blinding).compress().to_bytes();
        (keys, next)
    }

    /// Takes this relay's layer off an honest packet.
    pub fn peel(&self, packet: &mut Packet) -> Peeled {
        let (_, peeled) = peel(&self.secret, &self.context(), packet).expect("an honest packet");
        peeled
    }
}

/// A packet as it reaches the relay under test.
pub struct Case {
    /// All of it.
    pub packet: Wire,
    /// The keys that the relay will derive.
    pub keys: Keys,
    /// The alpha that it leaves with.
    pub next_alpha: [u8; 32],
}

impl Case {
    /// What is known of a packet that stands before `relay`.
    pub fn before(relay: &Relay, packet: &Packet) -> Self {
        let packet = *packet.as_bytes();
        let (keys, next_alpha) = relay.keys(&packet[ALPHA]);
        Self {
            packet,
            keys,
            next_alpha,
        }
    }
}

/// The relay under test.
pub static RELAY: LazyLock<Relay> = LazyLock::new(|| Relay::named(OWN, EPOCH));

/// Packets of 1 to 5 hops with the relay under test at every place, for every command of the last hop.
pub static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut cases = Vec::new();
    for hops in 1..=5u8 {
        for place in 0..hops {
            for last in 0..4u8 {
                let relays: Vec<Relay> = (0..hops)
                    .map(|i| Relay::named(if i == place { OWN } else { 10 + i }, EPOCH))
                    .collect();
                let path: Vec<Hop> = relays.iter().map(|relay| relay.hop).collect();
                let class = Class::ALL[cases.len() % 3];
                let body = [cases.len() as u8; BODY_LEN];
                let exit = match last {
                    0 => Some(Exit::Drop),
                    1 => Some(Exit::Loop { id: [hops; 16] }),
                    2 => Some(Exit::Box),
                    _ => None,
                };
                let mut packet = match exit {
                    Some(exit) => build(&NETWORK, &path, class, exit, &body, &mut rng)
                        .expect("an honest path"),
                    None => {
                        let (surb, _) = build_surb(&NETWORK, &path, class, [hops; 16], &mut rng)
                            .expect("an honest path");
                        surb.reply(&body).1
                    }
                };
                for relay in &relays[..usize::from(place)] {
                    relay.peel(&mut packet);
                }
                cases.push(Case::before(&relays[usize::from(place)], &packet));
            }
        }
    }
    cases
});

/// 32 bytes that are no alpha: the identity, negative, non-canonical and off the curve.
pub const ODD_ALPHAS: [[u8; 32]; 8] = [
    [0; 32],
    ends(1, 0, 0),
    [0xff; 32],
    ends(0xed, 0xff, 0x7f),
    ends(0xec, 0xff, 0x7f),
    ends(0xee, 0xff, 0x7f),
    ends(0xf3, 0xff, 0x7f),
    ends(0, 0xff, 0xff),
];

const fn ends(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut bytes = [middle; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

/// What came of a packet, for tables of what was reached.
pub fn name_of<T>(result: &Result<(T, Peeled), DropReason>) -> &'static str {
    match result {
        Ok((_, Peeled::Forward { .. })) => "forward",
        Ok((_, Peeled::Drop)) => "drop",
        Ok((_, Peeled::Loop { .. })) => "loop",
        Ok((_, Peeled::Box { .. })) => "box",
        Ok((_, Peeled::Reply { .. })) => "reply",
        Err(reason) => reason.name(),
    }
}
