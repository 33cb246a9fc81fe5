//! Group elements that are none, in every slot that takes one: alpha of a forward packet, alpha of a reply packet as the user
//! of a reply block sends it, both alone and in a batch, and a relay's public key. A second decoder ([`crate::field`]) says of
//! each string what it is; a slot must take exactly those that RFC 9496 calls the encoding of an element, but the identity.

use std::collections::BTreeMap;

use curve25519_dalek::EdwardsPoint;
use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
use curve25519_dalek::scalar::Scalar;
use mix::sphinx::{build, build_surb, peel, peel_batch};
use mix::{
    BODY_LEN, Class, DropReason, Exit, Hop, KeyContext, MixPublic, MixSecret, Packet, SURB_LEN,
    Surb,
};
use rand_chacha::ChaCha20Rng;
use rand_core::Rng as _;

use crate::field::{Fe, Verdict, edwards, encode, judge};
use crate::lab::{self, EPOCH, NETWORK};

/// 2^255 − 19.
const P: [u8; 32] = {
    let mut p = [0xff; 32];
    (p[0], p[31]) = (0xed, 0x7f);
    p
};

struct Slots {
    secret: MixSecret,
    relay: Hop,
    packet: Packet,
    surb: [u8; SURB_LEN],
}

#[derive(Default)]
struct Tally {
    /// By class of string: how many, how many of them are elements, in how many a slot did not do as it should.
    classes: BTreeMap<&'static str, (u64, u64, u64)>,
    verdicts: BTreeMap<Verdict, u64>,
}

pub(crate) fn run() -> bool {
    let (secret, relay) = lab::relay(0);
    let rng = &mut lab::rng(40);
    let packet = build(
        &NETWORK,
        &[relay],
        Class::Fast,
        Exit::Box,
        &[1; BODY_LEN],
        rng,
    )
    .unwrap();
    let (surb, _) = build_surb(&NETWORK, &[relay], Class::Fast, [1; 16], rng).unwrap();
    let slots = Slots {
        secret,
        relay,
        packet,
        surb: surb.to_bytes(),
    };
    let mut tally = Tally::default();
    let mut show = |class, bytes: [u8; 32]| tally.show(&slots, class, &bytes);
    plain_classes(&mut show, rng);
    let mixed_up = torsion_classes(&mut show, rng);

    let (mut strings, mut wrong) = (0, 0);
    for (class, (count, elements, off)) in &tally.classes {
        println!(
            "alpha: {count:>6} {class}: {} rejected, {elements} are elements",
            count - elements
        );
        strings += count;
        wrong += off;
    }
    println!(
        "alpha: {strings} strings in 5 slots each: {:?}",
        tally.verdicts
    );
    println!(
        "alpha: {wrong} not treated as RFC 9496 says; {mixed_up} torsion components changed an encoding"
    );
    wrong + mixed_up == 0
}

fn plain_classes(show: &mut impl FnMut(&'static str, [u8; 32]), rng: &mut ChaCha20Rng) {
    let many = lab::size(10_000, 50);
    show("identity", [0; 32]);
    show("s = -1 (y = 0)", minus_one());
    for v in 0..19 {
        let mut bytes = P;
        bytes[0] += v;
        show("p + v, all v below 19", bytes);
        bytes[31] |= 0x80;
        show("p + v with bit 255, all v below 19", bytes);
        let mut small = [0; 32];
        (small[0], small[31]) = (v, 0x80);
        show("v with bit 255, all v below 19", small);
    }
    for _ in 0..many {
        let element = element(rng);
        show("elements (control)", element);
        let mut high = element;
        high[31] |= 0x80;
        show("elements with bit 255", high);
        let s = Fe::from_bytes(&element).unwrap();
        show("elements negated (p - s)", s.neg().to_bytes());
        let mut random = [0; 32];
        rng.fill_bytes(&mut random);
        show("random strings", random);
        (random[0], random[31]) = (random[0] & 0xfe, random[31] & 0x7f);
        show("random even numbers below 2^255", random);
        random[0] |= 1;
        show("random odd numbers below 2^255", random);
        random[31] |= 0x80;
        show("random numbers from 2^255 on", random);
        for _ in 0..2 {
            let mut flipped = element;
            let bit = rng.next_u32() as usize % 256;
            flipped[bit / 8] ^= 1 << (bit % 8);
            show("elements with one bit flipped", flipped);
        }
    }
}

/// Points with small-order components, in the encodings in which they could be brought here. Returns how many elements of
/// order dividing 4 changed the encoding of a point: none may, or there were two encodings of one element.
fn torsion_classes(show: &mut impl FnMut(&'static str, [u8; 32]), rng: &mut ChaCha20Rng) -> u64 {
    for torsion in EIGHT_TORSION {
        let bytes = torsion.compress().to_bytes();
        show("Edwards points of small order, compressed", bytes);
        show(
            "Edwards points of small order, sign flipped",
            sign_flipped(bytes),
        );
        show(
            "X25519 points of small order",
            torsion.to_montgomery().to_bytes(),
        );
        let mut high = torsion.to_montgomery().to_bytes();
        high[31] |= 0x80;
        show("X25519 points of small order, bit 255", high);
    }
    let mut mixed_up = 0;
    for _ in 0..lab::size(1_250, 10) {
        let scalar = scalar(rng);
        // The half that Ristretto encodes; it has 4-torsion only.
        let point = ED25519_BASEPOINT_POINT * scalar;
        let plain = ristretto(&point);
        for (i, torsion) in EIGHT_TORSION.iter().enumerate() {
            let sum = point + torsion;
            show(
                "Edwards points plus torsion, compressed",
                sum.compress().to_bytes(),
            );
            show(
                "Edwards points plus torsion, as X25519",
                sum.to_montgomery().to_bytes(),
            );
            let encoded = ristretto(&sum);
            if i % 2 == 0 {
                // Order 1, 2 or 4: the same element of the quotient.
                mixed_up += u64::from(encoded != plain);
            } else {
                show("Ristretto's formula on points plus 8-torsion", encoded);
            }
        }
    }
    mixed_up
}

fn ristretto(point: &EdwardsPoint) -> [u8; 32] {
    let (x, y) = edwards(&point.compress().to_bytes());
    encode(x, y)
}

fn minus_one() -> [u8; 32] {
    Fe::ONE.neg().to_bytes()
}

fn sign_flipped(mut bytes: [u8; 32]) -> [u8; 32] {
    bytes[31] ^= 0x80;
    bytes
}

fn element(rng: &mut ChaCha20Rng) -> [u8; 32] {
    MixSecret::random(rng).public().to_bytes()
}

fn scalar(rng: &mut ChaCha20Rng) -> Scalar {
    let mut wide = [0; 64];
    rng.fill_bytes(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

impl Tally {
    /// Puts a string into each slot and compares with what it is.
    fn show(&mut self, slots: &Slots, class: &'static str, bytes: &[u8; 32]) {
        let verdict = judge(bytes);
        let element = verdict == Verdict::Element;
        let key = MixPublic::from_bytes(bytes);
        let right_key = key.is_some() == element && key.is_none_or(|key| key.to_bytes() == *bytes);
        // An element that no sender made for this packet fails its MAC.
        let wanted = if element {
            DropReason::Mac
        } else {
            DropReason::Alpha
        };
        let right_packets = slots.packets(bytes, wanted);
        let (count, elements, wrong) = self.classes.entry(class).or_default();
        *count += 1;
        *elements += u64::from(element);
        *wrong += u64::from(!(right_key && right_packets));
        *self.verdicts.entry(verdict).or_default() += 1;
    }
}

impl Slots {
    /// Whether a forward packet and a reply with this alpha are dropped for the wanted reason, alone and in one batch with a
    /// good packet, which must not suffer.
    fn packets(&self, alpha: &[u8; 32], wanted: DropReason) -> bool {
        let mut forward = *self.packet.as_bytes();
        forward[1..33].copy_from_slice(alpha);
        let mut surb = self.surb;
        surb[1..33].copy_from_slice(alpha);
        let (_, reply) = Surb::from_bytes(&surb).unwrap().reply(&[2; BODY_LEN]);
        let forward = Packet::from_boxed(Box::new(forward));
        let context = KeyContext {
            network: NETWORK,
            epoch: EPOCH,
            relay: self.relay.id,
        };
        let mut packets = [forward, self.packet.clone(), reply];
        let mut alone = packets.clone();
        let mut results = Vec::new();
        peel_batch(&self.secret, &context, &mut packets, &mut results);
        let same = alone
            .iter_mut()
            .zip(&results)
            .all(|(packet, together)| peel(&self.secret, &context, packet) == *together);
        let dropped = [&results[0], &results[2]]
            .iter()
            .all(|result| **result == Err(wanted));
        same && dropped && results[1].is_ok()
    }
}
