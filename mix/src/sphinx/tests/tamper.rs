//! Altered packets: every bit of the header, payload bits all over, and elements that are none.

use crate::DropReason;
use crate::sphinx::geometry::DELTA_LEN;
use crate::sphinx::testkit::{NETWORK, Relay, path, random_body, relays, rng};
use crate::sphinx::*;

fn fresh(hops: u8, seed: u64) -> (Vec<Relay>, Packet) {
    let mut rng = rng(seed);
    let relays = relays(hops, &mut rng);
    let body = random_body(&mut rng);
    let packet = build(
        &NETWORK,
        &path(&relays),
        Class::Fast,
        Exit::Box,
        &body,
        &mut rng,
    )
    .unwrap();
    (relays, packet)
}

fn peel_at(relay: &Relay, packet: &mut Packet) -> Result<Peeled, DropReason> {
    peel(&relay.secret, &relay.context(), packet).map(|(_, peeled)| peeled)
}

#[test]
fn no_bit_of_the_header_can_change_at_the_first_hop_or_later() {
    let (relays, mut packet) = fresh(3, 1);
    for relay in &relays {
        for bit in 0..HEADER_LEN * 8 {
            let mut altered = packet.clone();
            altered.bytes_mut()[bit / 8] ^= 1 << (bit % 8);
            let reason = peel_at(relay, &mut altered).unwrap_err();
            let wanted: &[DropReason] = match bit / 8 {
                0 => &[DropReason::Version],
                1..33 => &[DropReason::Alpha, DropReason::Mac],
                _ => &[DropReason::Mac],
            };
            assert!(wanted.contains(&reason), "bit {bit}: {reason:?}");
        }
        peel_at(relay, &mut packet).unwrap();
    }
}

#[test]
fn a_payload_bit_flipped_anywhere_garbles_all_of_it() {
    for flipped_before in 0..3 {
        for bit in (0..DELTA_LEN * 8)
            .step_by(97)
            .chain([0, 127, 128, 255, 256, DELTA_LEN * 8 - 1])
        {
            let (relays, mut packet) = fresh(3, 2);
            let mut clean = packet.clone();
            for (i, relay) in relays.iter().enumerate() {
                if i == flipped_before {
                    packet.delta_mut()[bit / 8] ^= 1 << (bit % 8);
                }
                peel_at(relay, &mut clean).unwrap();
                let peeled = peel_at(relay, &mut packet);
                if i == 2 {
                    assert_eq!(
                        peeled,
                        Err(DropReason::Payload),
                        "bit {bit} before hop {flipped_before}"
                    );
                } else {
                    peeled.unwrap();
                }
            }
            let equal = packet
                .delta()
                .iter()
                .zip(clean.delta())
                .filter(|(a, b)| a == b)
                .count();
            assert!(
                equal < 40,
                "bit {bit}: {equal} of {DELTA_LEN} bytes unchanged"
            );
        }
    }
}

#[test]
fn an_altered_reply_does_not_open() {
    let mut rng = rng(3);
    let relays = relays(3, &mut rng);
    let body = random_body(&mut rng);
    let (surb, keys) =
        build_surb(&NETWORK, &path(&relays), Class::Fast, [1; 16], &mut rng).unwrap();
    let (_, packet) = surb.reply(&body);
    for bit in (0..DELTA_LEN * 8).step_by(301) {
        for flipped_before in [0, 2] {
            let mut packet = packet.clone();
            for (i, relay) in relays.iter().enumerate() {
                if i == flipped_before {
                    packet.delta_mut()[bit / 8] ^= 1 << (bit % 8);
                }
                peel_at(relay, &mut packet).unwrap();
            }
            assert_eq!(keys.open(packet), Err(SurbError::Payload));
        }
    }
}

#[test]
fn elements_that_are_none_are_dropped() {
    let (relays, packet) = fresh(1, 4);
    // p − 1 is even, so canonical, but no element; p + 2 encodes 2 a second time; all ones is far above p.
    let mut p_minus_1 = [0xff; 32];
    (p_minus_1[0], p_minus_1[31]) = (0xec, 0x7f);
    let mut p_plus_2 = [0xff; 32];
    (p_plus_2[0], p_plus_2[31]) = (0xef, 0x7f);
    let mut odd = packet.alpha();
    odd[0] ^= 1;
    for alpha in [[0; 32], p_minus_1, p_plus_2, [0xff; 32], odd] {
        let mut altered = packet.clone();
        altered.set_alpha(&alpha);
        assert_eq!(
            peel_at(&relays[0], &mut altered),
            Err(DropReason::Alpha),
            "{alpha:02x?}"
        );
    }
}

#[test]
fn a_failed_check_leaves_the_packet_as_it_was() {
    let (relays, packet) = fresh(2, 5);
    let mut other = packet.clone();
    assert_eq!(peel_at(&relays[1], &mut other), Err(DropReason::Mac));
    assert_eq!(other, packet, "another key must still be able to open it");
}
