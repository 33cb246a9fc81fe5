//! Draws a packet with all that goes into it, and gives it to the fast code and to the reference.

use mix::sphinx::{Peeled, ReplayTag, SurbKeys, build, build_surb, peel};
use mix::{
    BODY_LEN, Class, DropReason, Exit, KeyContext, MixPublic, MixSecret, NetworkId, Packet,
    ShortId, Surb,
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::reference::tape::Tape;
use crate::reference::{self, Drawn, Order, Refused, Seen};

/// A path and everything that goes into a packet along it.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) network: [u8; 32],
    pub(crate) secrets: Vec<[u8; 32]>,
    pub(crate) path: Vec<reference::Hop>,
    pub(crate) order: Order,
    pub(crate) body: [u8; BODY_LEN],
    pub(crate) drawn: Vec<u8>,
}

impl Case {
    pub(crate) fn new(seed: u64, hops: usize, command: u8, class: u8) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let secrets: Vec<_> = (0..hops)
            .map(|_| *MixSecret::random(&mut rng).to_bytes())
            .collect();
        let path = secrets.iter().map(|secret| reference::Hop {
            name: random(&mut rng),
            epoch: rng.next_u32(),
            public: MixSecret::from_bytes(secret).unwrap().public().to_bytes(),
        });
        let path = path.collect();
        let id = [reference::LOOP, reference::REPLY].contains(&command);
        let mut drawn = vec![0; 64 + 64 + 180 + 2 * hops + 32];
        rng.fill_bytes(&mut drawn);
        if seed.is_multiple_of(8) {
            // A scalar that is zero, and none that a sender may use: the next 64 bytes count.
            drawn[..64].fill(0);
        }
        Self {
            network: random(&mut rng),
            secrets,
            path,
            order: Order {
                command,
                class,
                id: id.then(|| random(&mut rng)),
            },
            body: random(&mut rng),
            drawn,
        }
    }

    pub(crate) fn network(&self) -> NetworkId {
        NetworkId(self.network)
    }

    pub(crate) fn class(&self) -> Class {
        Class::ALL[usize::from(self.order.class)]
    }

    pub(crate) fn hops(&self) -> Vec<mix::Hop> {
        let hop = |hop: &reference::Hop| mix::Hop {
            id: ShortId(hop.name),
            key: MixPublic::from_bytes(&hop.public).unwrap(),
            epoch: hop.epoch,
        };
        self.path.iter().map(hop).collect()
    }

    pub(crate) fn exit(&self) -> Exit {
        match self.order.command {
            reference::DROP => Exit::Drop,
            reference::BOX => Exit::Box,
            _ => Exit::Loop {
                id: self.order.id.unwrap(),
            },
        }
    }

    pub(crate) fn fast_build(&self) -> Packet {
        build(
            &self.network(),
            &self.hops(),
            self.class(),
            self.exit(),
            &self.body,
            &mut Tape(&self.drawn),
        )
        .unwrap()
    }

    pub(crate) fn slow_build(&self) -> Vec<u8> {
        let drawn = &mut Drawn(&self.drawn);
        reference::build(&self.network, &self.path, &self.order, &self.body, drawn)
    }

    pub(crate) fn fast_surb(&self) -> (Surb, SurbKeys) {
        build_surb(
            &self.network(),
            &self.hops(),
            self.class(),
            self.order.id.unwrap(),
            &mut Tape(&self.drawn),
        )
        .unwrap()
    }

    pub(crate) fn slow_surb(&self) -> (Vec<u8>, Vec<u8>) {
        reference::build_surb(
            &self.network,
            &self.path,
            self.order.class,
            self.order.id.unwrap(),
            &mut Drawn(&self.drawn),
        )
    }

    /// Peels at one hop with both, demands that they agree, and gives what both leave.
    pub(crate) fn peel_at(&self, i: usize, packet: &[u8]) -> Result<Seen, Refused> {
        let hop = &self.path[i];
        let slow = reference::peel(
            &self.secrets[i],
            &self.network,
            hop.epoch,
            &hop.name,
            packet,
        );
        let mut fast = Packet::from_slice(packet).unwrap();
        let context = KeyContext {
            network: self.network(),
            epoch: hop.epoch,
            relay: ShortId(hop.name),
        };
        let secret = MixSecret::from_bytes(&self.secrets[i]).unwrap();
        let peeled = peel(&secret, &context, &mut fast);
        agree(peeled, &fast, &slow);
        slow
    }

    /// Follows a packet to its end with both; what the last hop leaves, if it gets there.
    pub(crate) fn follow(&self, mut packet: Vec<u8>) -> Result<Vec<u8>, (usize, Refused)> {
        for i in 0..self.path.len() {
            let seen = self.peel_at(i, &packet).map_err(|reason| (i, reason))?;
            if let Some(next) = self.path.get(i + 1) {
                assert_eq!(seen.block[0], reference::FORWARD);
                assert_eq!(seen.block[4..20], next.name);
            } else {
                assert_eq!(seen.block[0], self.order.command);
            }
            assert_eq!(seen.block[1], self.order.class);
            packet = seen.packet;
        }
        Ok(packet)
    }
}

fn random<const N: usize>(rng: &mut ChaCha20Rng) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// Whether both made the same of one packet.
#[track_caller]
fn agree(
    fast: Result<(ReplayTag, Peeled), DropReason>,
    left: &Packet,
    slow: &Result<Seen, Refused>,
) {
    let (tag, peeled, seen) = match (fast, slow) {
        (Ok((tag, peeled)), Ok(seen)) => (tag, peeled, seen),
        (Err(fast), Err(slow)) => {
            let slow = match slow {
                Refused::Version => DropReason::Version,
                Refused::Alpha => DropReason::Alpha,
                Refused::Mac => DropReason::Mac,
                Refused::Command => DropReason::Command,
                Refused::Flags => DropReason::Flags,
                Refused::Payload => DropReason::Payload,
            };
            assert_eq!(fast, slow);
            return;
        }
        (fast, slow) => panic!("fast: {fast:?}, slow: {slow:?}"),
    };
    let id: [u8; 16] = seen.block[4..20].try_into().unwrap();
    let class = Class::ALL[usize::from(seen.block[1])];
    let quantile = u16::from_le_bytes([seen.block[2], seen.block[3]]);
    let wanted = match seen.block[0] {
        reference::FORWARD => Peeled::Forward {
            next: ShortId(id),
            class,
            quantile: mix::sphinx::Quantile(quantile),
        },
        reference::DROP => Peeled::Drop,
        reference::LOOP => Peeled::Loop { id },
        reference::BOX => Peeled::Box { class },
        _ => Peeled::Reply { surb_id: id },
    };
    assert_eq!(peeled, wanted);
    assert_eq!(tag.0[..], seen.tag);
    assert!(left.as_bytes()[..] == seen.packet, "what is left differs");
}
