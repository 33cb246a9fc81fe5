//! Every single-bit flip of a packet, at every position of every path length, forward and reply. Each path length and
//! direction has 1,000 random packets that share the 16,384 bits among them; at every position of the path the altered packet
//! is carried on as relays would until it dies. One that is delivered, or that leaves its path, is a failure.

use std::collections::BTreeMap;

use mix::sphinx::{Peeled, build, build_surb, peel};
use mix::{
    BODY_LEN, Class, Exit, Hop, KeyContext, MAX_HOPS, MixSecret, PACKET_LEN, Packet, ShortId,
    SurbKeys,
};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;

use crate::lab::{self, EPOCH, NETWORK};

const BITS: usize = PACKET_LEN * 8;
const HEADER_BITS: usize = mix::HEADER_LEN * 8;
/// Random packets of each path length and direction.
const PACKETS: usize = 1_000;

struct Trip {
    secrets: Vec<MixSecret>,
    path: Vec<Hop>,
    body: [u8; BODY_LEN],
    /// Of a reply.
    keys: Option<SurbKeys>,
}

#[derive(Default)]
struct Tally {
    packets: usize,
    /// By direction, part of the packet and what became of it.
    outcomes: BTreeMap<(&'static str, &'static str, String), u64>,
    delivered: u64,
    /// How often each bit was flipped, by direction, path length and position.
    flips: BTreeMap<(bool, usize, usize), Vec<u8>>,
    unharmed: usize,
}

pub(crate) fn run() -> bool {
    let rows = lab::size(PACKETS, 3);
    let tallies = crate::on_all_cores(rows * MAX_HOPS * 2, Tally::default, |tally, job| {
        let (row, kind) = (job / (MAX_HOPS * 2), job % (MAX_HOPS * 2));
        one_packet(tally, row, 1 + kind / 2, kind % 2 == 1);
    });
    let mut all = Tally::default();
    for tally in tallies {
        all.packets += tally.packets;
        all.delivered += tally.delivered;
        all.unharmed += tally.unharmed;
        for (what, count) in tally.outcomes {
            *all.outcomes.entry(what).or_default() += count;
        }
        for (place, flips) in tally.flips {
            let sums = all.flips.entry(place).or_insert_with(|| vec![0; BITS]);
            sums.iter_mut()
                .zip(flips)
                .for_each(|(sum, count)| *sum += count);
        }
    }
    report(&all)
}

fn report(all: &Tally) -> bool {
    let cases: u64 = all.outcomes.values().sum();
    let whole = all
        .flips
        .values()
        .filter(|flips| flips.iter().all(|&n| n == 1))
        .count();
    println!(
        "tamper: {} random packets, {cases} flips of one bit",
        all.packets
    );
    println!(
        "tamper: each of {BITS} bits was flipped once at {whole} of {} positions (path lengths 1 to {MAX_HOPS}, forward and reply)",
        all.flips.len()
    );
    for ((direction, part, outcome), count) in &all.outcomes {
        println!("tamper: {direction:<7} {part:<6} {count:>7} {outcome}");
    }
    println!("tamper: {} delivered", all.delivered);
    println!(
        "tamper: {} of the same packets unaltered were delivered",
        all.unharmed
    );
    let covered = whole == all.flips.len() || lab::smoke();
    all.delivered == 0 && all.unharmed == all.packets && covered
}

fn one_packet(tally: &mut Tally, row: usize, hops: usize, reply: bool) {
    let seed = (row * 100 + hops * 10 + usize::from(reply)) as u64;
    let (trip, mut packet) = fresh(seed, hops, reply);
    tally.packets += 1;
    for position in 0..hops {
        for bit in (row..BITS).step_by(PACKETS) {
            let mut bytes = *packet.as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let outcome = trip.carry(position, Packet::from_boxed(Box::new(bytes)));
            let direction = if reply { "reply" } else { "forward" };
            let part = if bit < HEADER_BITS { "header" } else { "delta" };
            tally.delivered += u64::from(outcome.is_err());
            let text = outcome.unwrap_or_else(|text| text);
            *tally.outcomes.entry((direction, part, text)).or_default() += 1;
            let place = (reply, hops, position);
            tally.flips.entry(place).or_insert_with(|| vec![0; BITS])[bit] += 1;
        }
        trip.peel(position, &mut packet).unwrap();
    }
    tally.unharmed += usize::from(trip.arrived(packet));
}

fn fresh(seed: u64, hops: usize, reply: bool) -> (Trip, Packet) {
    let rng = &mut lab::rng(seed);
    let (secrets, path): (Vec<_>, Vec<_>) = (0..hops).map(|_| relay(rng)).unzip();
    let mut body = [0; BODY_LEN];
    rng.fill_bytes(&mut body);
    let class = Class::ALL[rng.next_u32() as usize % 3];
    let (packet, keys) = if reply {
        let (surb, keys) = build_surb(&NETWORK, &path, class, [7; 16], rng).unwrap();
        (surb.reply(&body).1, Some(keys))
    } else {
        let exit = [Exit::Box, Exit::Drop, Exit::Loop { id: [9; 16] }][rng.next_u32() as usize % 3];
        (
            build(&NETWORK, &path, class, exit, &body, rng).unwrap(),
            None,
        )
    };
    let trip = Trip {
        secrets,
        path,
        body,
        keys,
    };
    (trip, packet)
}

fn relay(rng: &mut ChaCha20Rng) -> (MixSecret, Hop) {
    let secret = MixSecret::random(rng);
    let mut id = ShortId([0; 16]);
    rng.fill_bytes(&mut id.0);
    let key = secret.public();
    let epoch = EPOCH;
    (secret, Hop { id, key, epoch })
}

impl Trip {
    fn peel(&self, position: usize, packet: &mut Packet) -> Result<Peeled, mix::DropReason> {
        let context = KeyContext {
            network: NETWORK,
            epoch: EPOCH,
            relay: self.path[position].id,
        };
        peel(&self.secrets[position], &context, packet).map(|(_, peeled)| peeled)
    }

    /// Gives a packet to the relay at `position` and on to whomever it names. `Ok` says how it died, `Err` that it did not.
    fn carry(&self, position: usize, mut packet: Packet) -> Result<String, String> {
        for at in position..self.path.len() {
            let later = if at == position {
                "at that hop"
            } else {
                "at a later hop"
            };
            match self.peel(at, &mut packet) {
                Err(reason) => return Ok(format!("dropped {later}: {reason:?}")),
                Ok(Peeled::Forward { next, .. }) => {
                    if self.path.get(at + 1).is_none_or(|hop| hop.id != next) {
                        return Err("left its path".into());
                    }
                }
                Ok(Peeled::Reply { .. }) => {
                    let opened = self.keys.as_ref().map(|keys| keys.open(packet).is_ok());
                    return match opened {
                        Some(false) => Ok("reply did not open".into()),
                        _ => Err("reply opened".into()),
                    };
                }
                Ok(_) => return Err("delivered".into()),
            }
        }
        Err("passed on beyond its path".into())
    }

    /// Whether the unaltered packet carries its body, once the last layer is off.
    fn arrived(&self, packet: Packet) -> bool {
        match &self.keys {
            Some(keys) => keys.open(packet).is_ok_and(|body| *body == self.body),
            None => packet.as_bytes()[PACKET_LEN - BODY_LEN..] == self.body,
        }
    }
}
