//! Every queue at its cap: what is shed is chosen uniformly, what must not be shed closes the intake.

use super::*;
use crate::sphinx::testkit::{Tape, build_unchecked};

fn chi2(counts: &[u32]) -> f64 {
    let mean = f64::from(counts.iter().sum::<u32>()) / counts.len() as f64;
    counts
        .iter()
        .map(|&n| (f64::from(n) - mean).powi(2) / mean)
        .sum()
}

fn marked(mark: u8) -> Packet {
    Packet::from_boxed(Box::new([mark; 2048]))
}

/// Fast and slow, first and last: one too many, and each is as likely to be the one that goes.
#[test]
fn a_full_pool_sheds_uniformly_and_never_by_class() {
    let (_, relays, _) = setup(1);
    let mut mixer = mixer_with(
        MixerConfig {
            pool_cap: 8,
            ..config(&relays[0])
        },
        &relays[0],
    );
    let mut lost = [1_000u32; 9];
    for _ in 0..1_000 {
        for mark in 0..9u8 {
            mixer.hold(
                START,
                Class::ALL[usize::from(mark) % 3],
                relays[1].hop.id,
                marked(mark),
            );
        }
        assert_eq!(mixer.pool_len(), 8);
        mixer.handle_timeout(START + Span::from_secs(1_000));
        for (_, packet) in transmitted(&mut mixer) {
            lost[usize::from(packet.as_bytes()[0])] -= 1;
        }
    }
    assert_eq!(lost.iter().sum::<u32>(), 1_000);
    assert_eq!(mixer.counters().dropped(DropReason::PoolFull), 1_000);
    // p < 0.001 beyond 26.1 with 8 degrees of freedom.
    assert!(chi2(&lost) < 26.1, "{lost:?}");
}

#[test]
fn ten_times_too_much_leaves_each_class_its_share() {
    let (_, relays, mut rng) = setup(9);
    let mut mixer = mixer_with(
        MixerConfig {
            pool_cap: 8,
            ..config(&relays[0])
        },
        &relays[0],
    );
    let mut offered = [0u32; 3];
    let mut survived = [0u32; 3];
    for _ in 0..600 {
        for _ in 0..80 {
            let class = Class::ALL[below(3, &mut rng)];
            offered[class.index()] += 1;
            mixer.hold(START, class, relays[1].hop.id, marked(class.index() as u8));
            assert!(mixer.pool_len() <= 8);
        }
        mixer.handle_timeout(START + Span::from_secs(1_000));
        for (_, packet) in transmitted(&mut mixer) {
            survived[usize::from(packet.as_bytes()[0])] += 1;
        }
    }
    assert_eq!(survived.iter().sum::<u32>(), 4_800);
    for (offered, survived) in offered.iter().zip(survived) {
        let share = f64::from(survived) / f64::from(*offered);
        assert!((share - 0.1).abs() < 0.012, "{share} of a class survived");
    }
}

#[test]
fn packets_that_wait_for_the_disk_count_and_are_shed_like_others() {
    let (_, relays, mut rng) = setup(2);
    let mut mixer = mixer_with(
        MixerConfig {
            pool_cap: 6,
            ..config(&relays[0])
        },
        &relays[0],
    );
    let (mut late_lost, mut pool_lost, mut new_lost) = (0, 0, 0);
    for _ in 0..120 {
        // Three past their deadline without a durable tag, three in time.
        let mut out = Vec::new();
        for _ in 0..3 {
            mixer.handle_packet(START, passing(&relays, Class::Fast, &mut rng));
        }
        mixer.handle_timeout(START + Span::from_secs(10));
        assert_eq!((mixer.late.len(), mixer.pool.len()), (3, 0));
        for mark in [100; 3] {
            mixer.hold(START, Class::Slow, relays[2].hop.id, marked(mark));
        }
        mixer.hold(START, Class::Slow, relays[2].hop.id, marked(200));
        assert_eq!(mixer.pool_len(), 6);
        late_lost += 3 - mixer.late.len();
        mixer.handle_timeout(START + Span::from_secs(1_000));
        sync(&mut mixer);
        out.extend(
            transmitted(&mut mixer)
                .into_iter()
                .map(|(_, packet)| packet.as_bytes()[1]),
        );
        assert_eq!(out.len(), 6);
        pool_lost += 3 - out.iter().filter(|&&mark| mark == 100).count().min(3);
        new_lost += usize::from(!out.contains(&200));
    }
    assert_eq!(late_lost + pool_lost + new_lost, 120);
    // Expected 51.4, 51.4 and 17.1 of 120.
    assert!(
        (35..70).contains(&late_lost)
            && (35..70).contains(&pool_lost)
            && (6..32).contains(&new_lost)
    );
}

#[test]
fn the_queue_to_the_links_is_bounded_and_sheds_uniformly() {
    let (_, relays, _) = setup(3);
    let mut mixer = mixer_with(
        MixerConfig {
            transmit_cap: 5,
            ..config(&relays[0])
        },
        &relays[0],
    );
    let mut lost = [1_000u32; 6];
    for _ in 0..1_000 {
        for mark in 0..6 {
            mixer.send(START, relays[1].hop.id, marked(mark));
        }
        let out = transmitted(&mut mixer);
        assert_eq!(out.len(), 5);
        for (_, packet) in out {
            lost[usize::from(packet.as_bytes()[0])] -= 1;
        }
    }
    assert_eq!(mixer.counters().dropped(DropReason::TransmitFull), 1_000);
    // p < 0.001 beyond 20.5 with 5 degrees of freedom.
    assert!(chi2(&lost) < 20.5, "{lost:?}");
}

#[test]
fn the_queue_to_the_node_is_bounded() {
    let (_, relays, mut rng) = setup(4);
    let mut mixer = mixer_with(
        MixerConfig {
            event_cap: 4,
            ..config(&relays[0])
        },
        &relays[0],
    );
    for _ in 0..10 {
        mixer.handle_packet(START, ending(&relays, Exit::Box, &mut rng));
    }
    sync(&mut mixer);
    assert_eq!(
        (
            events(&mut mixer).len(),
            mixer.counters().dropped(DropReason::EventsFull)
        ),
        (4, 6)
    );
}

#[test]
fn a_full_replay_set_closes_the_intake() {
    let (_, relays, mut rng) = setup(5);
    let mut mixer = mixer_with(
        MixerConfig {
            replay_cap: 3,
            ..config(&relays[0])
        },
        &relays[0],
    );
    let first = passing(&relays, Class::Fast, &mut rng);
    mixer.handle_packet(START, first.clone());
    for _ in 0..9 {
        mixer.handle_packet(START, passing(&relays, Class::Fast, &mut rng));
    }
    assert_eq!(
        (
            mixer.counters().relayed,
            mixer.counters().dropped(DropReason::ReplayFull)
        ),
        (3, 7)
    );
    mixer.handle_packet(START, first);
    assert_eq!(
        mixer.counters().dropped(DropReason::Replay),
        1,
        "what was seen stays seen"
    );
}

#[test]
fn tags_that_nobody_fetches_close_the_intake_until_somebody_does() {
    let (_, relays, mut rng) = setup(6);
    let mut mixer = mixer_with(
        MixerConfig {
            tag_cap: 2,
            ..config(&relays[0])
        },
        &relays[0],
    );
    let third = passing(&relays, Class::Fast, &mut rng);
    for packet in [
        passing(&relays, Class::Fast, &mut rng),
        passing(&relays, Class::Fast, &mut rng),
        third.clone(),
    ] {
        mixer.handle_packet(START, packet);
    }
    assert_eq!(
        (
            mixer.counters().relayed,
            mixer.counters().dropped(DropReason::TagsBacklog)
        ),
        (2, 1)
    );
    sync(&mut mixer);
    mixer.handle_packet(START, third);
    assert_eq!(mixer.counters().relayed, 3, "refused is not seen");
}

#[test]
fn delays_beyond_the_cap_are_dropped() {
    let (mut mixer, relays, mut rng) = setup(7);
    for _ in 0..1_000 {
        // A sender who always draws the longest delay: the tape gives zeros after key and padding.
        let mut bytes = vec![0; 64 + 180];
        rand_core::Rng::fill_bytes(&mut rng, &mut bytes);
        mixer.handle_packet(
            START,
            build_unchecked(&path(&relays[..2]), &mut Tape::play(bytes)),
        );
    }
    let dropped = mixer.counters().dropped(DropReason::OverCapDelay);
    assert!((1..30).contains(&dropped), "{dropped}: 7.4 expected");
    assert_eq!(mixer.counters().relayed + dropped, 1_000);
    sync(&mut mixer);
    let cap = START + Span::from_millis(25) + Span::from_millis(200).times(delay::CAP_IN_MEANS);
    mixer.handle_timeout(cap);
    assert_eq!(mixer.pool_len(), 0, "nothing stays beyond the cap");
}

#[test]
fn a_packet_to_ourselves_is_no_link() {
    let (mut mixer, relays, mut rng) = setup(8);
    let twice = [relays[0].hop, relays[0].hop];
    mixer.handle_packet(START, build_unchecked(&twice, &mut rng));
    assert_eq!(mixer.counters().dropped(DropReason::NextIsSelf), 1);
}
