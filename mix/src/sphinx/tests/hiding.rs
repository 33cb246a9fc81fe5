//! What a hop and an observer must not see: that outgoing bytes follow from incoming ones, or how long the path was.

use crate::sphinx::geometry::{BETA_LEN, BLOCK_LEN};
use crate::sphinx::testkit::{NETWORK, path, relays, rng};
use crate::sphinx::*;

#[test]
fn what_goes_out_shares_nothing_with_what_came_in() {
    let mut rng = rng(1);
    let relays = relays(5, &mut rng);
    for _ in 0..20 {
        let mut packet = build(
            &NETWORK,
            &path(&relays),
            Class::Fast,
            Exit::Box,
            &[0; BODY_LEN],
            &mut rng,
        )
        .unwrap();
        for relay in &relays[..4] {
            let before = packet.clone();
            peel(&relay.secret, &relay.context(), &mut packet).unwrap();
            let pairs = before.as_bytes().iter().zip(packet.as_bytes()).skip(1);
            // 2,047 bytes agree by chance in 8 places; 30 is eight standard deviations away.
            let equal = pairs.filter(|(a, b)| a == b).count();
            assert!(equal < 30, "{equal} bytes unchanged");
        }
    }
}

/// The last hop sees beta in clear. Behind its block there is padding by the sender, then filler, then its own stream; which
/// of them starts where must not show, so each byte must be uniform at every place for every path length.
#[test]
fn the_last_hop_cannot_tell_the_path_length_from_its_padding() {
    const PACKETS: usize = 400;
    let mut rng = rng(2);
    for hops in 1..=MAX_HOPS {
        let relays = relays(hops as u8, &mut rng);
        let mut counts = [[0u32; 256]; MAX_HOPS];
        let mut seen_twice = 0;
        let mut last_fields = [0u32; 256];
        for _ in 0..PACKETS {
            let mut packet = build(
                &NETWORK,
                &path(&relays),
                Class::Fast,
                Exit::Drop,
                &[0; BODY_LEN],
                &mut rng,
            )
            .unwrap();
            for relay in &relays[..hops - 1] {
                peel(&relay.secret, &relay.context(), &mut packet).unwrap();
            }
            let last = &relays[hops - 1];
            let mut beta = [0; BETA_LEN + BLOCK_LEN];
            beta[..BETA_LEN].copy_from_slice(packet.beta());
            let element = Element::read(&packet).unwrap();
            element
                .check(&last.secret, &last.context(), &packet)
                .unwrap()
                .show_beta(&mut beta);
            // Delay, next and next gamma of the last block are unused here and must be as random as the rest.
            for &byte in &beta[2..BLOCK_LEN] {
                last_fields[usize::from(byte)] += 1;
            }
            for (i, block) in beta[BLOCK_LEN..].chunks(BLOCK_LEN).enumerate() {
                seen_twice += u32::from(block.iter().all(|&byte| byte == 0));
                for &byte in block {
                    counts[i][usize::from(byte)] += 1;
                }
            }
        }
        assert_eq!(seen_twice, 0, "{hops} hops: a block of zeros");
        for (i, histogram) in counts.iter().chain([&last_fields]).enumerate() {
            let total: u32 = histogram.iter().sum();
            let mean = f64::from(total) / 256.0;
            let chi2: f64 = histogram
                .iter()
                .map(|&n| (f64::from(n) - mean).powi(2) / mean)
                .sum();
            // 255 degrees of freedom: mean 255, deviation 22.6; p < 1e-5 beyond 360.
            assert!(chi2 < 360.0, "{hops} hops, block {i}: chi-square {chi2}");
        }
    }
}

#[test]
fn delays_are_drawn_over_the_whole_range() {
    let mut rng = rng(3);
    let relays = relays(2, &mut rng);
    let mut sixteenths = [0u32; 16];
    for _ in 0..1_600 {
        let mut packet = build(
            &NETWORK,
            &path(&relays),
            Class::Fast,
            Exit::Box,
            &[0; BODY_LEN],
            &mut rng,
        )
        .unwrap();
        let Ok((_, Peeled::Forward { quantile, .. })) =
            peel(&relays[0].secret, &relays[0].context(), &mut packet)
        else {
            panic!("not forwarded")
        };
        sixteenths[usize::from(quantile.0 >> 12)] += 1;
    }
    let chi2: f64 = sixteenths
        .iter()
        .map(|&n| (f64::from(n) - 100.0).powi(2) / 100.0)
        .sum();
    assert!(chi2 < 45.0, "chi-square {chi2} with 15 degrees of freedom");
}
