//! How long packets stay, measured from outside.

use super::*;
use crate::delay::tests::kolmogorov_smirnov;

const HOLD: Span = Span::from_millis(25);

/// Runs the mixer as a driver does: arrivals in order, timeouts on time. Returns stays beyond S of all packets, told apart by
/// their first eight bytes.
fn stays(
    mixer: &mut Mixer,
    arrivals: usize,
    gap: Span,
    mut arrive: impl FnMut(&mut Mixer, Moment, u64),
) -> Vec<Span> {
    let mut stays = Vec::with_capacity(arrivals);
    let mut came = Vec::with_capacity(arrivals);
    let mut now = START;
    for name in 0..arrivals as u64 {
        now += gap;
        while let Some(due) = mixer.poll_timeout().filter(|&due| due <= now) {
            collect(mixer, due, &came, &mut stays);
        }
        came.push(now);
        arrive(mixer, now, name);
    }
    while let Some(due) = mixer.poll_timeout() {
        collect(mixer, due, &came, &mut stays);
    }
    stays
}

fn collect(mixer: &mut Mixer, due: Moment, came: &[Moment], stays: &mut Vec<Span>) {
    mixer.handle_timeout(due);
    while let Some((_, packet)) = mixer.poll_transmit() {
        let mut name = [0; 8];
        name.copy_from_slice(&packet.as_bytes()[..8]);
        let stay = due - came[u64::from_le_bytes(name) as usize];
        assert!(stay >= HOLD);
        stays.push(stay - HOLD);
    }
}

#[test]
fn the_pool_keeps_the_exponential_law_over_a_hundred_thousand_packets() {
    let (mut mixer, relays, _) = setup(1);
    let to = relays[1].hop.id;
    let stays = stays(
        &mut mixer,
        100_000,
        Span::from_millis(1),
        |mixer, now, name| {
            let mut bytes = Box::new([0; 2048]);
            bytes[..8].copy_from_slice(&name.to_le_bytes());
            mixer.hold(now, Class::Fast, to, Packet::from_boxed(bytes));
        },
    );
    assert_eq!(stays.len(), 100_000);
    let distance = kolmogorov_smirnov(stays, Span::from_millis(200));
    assert!(distance < 1.63, "{distance}");
    assert_eq!(mixer.counters().dropped_total(), 0);
}

#[test]
fn relayed_packets_keep_the_law_of_their_class() {
    for (class, mean) in [
        (Class::Fast, Span::from_millis(200)),
        (Class::Strong, Span::from_secs(1)),
        (Class::Slow, Span::from_secs(10)),
    ] {
        let (mut mixer, relays, mut rng) = setup(2);
        let mut spans: Vec<Span> = (0..1_500)
            .map(|_| {
                mixer.handle_packet(START, passing(&relays, class, &mut rng));
                sync(&mut mixer);
                let due = mixer.poll_timeout().unwrap();
                mixer.handle_timeout(due);
                assert_eq!(transmitted(&mut mixer).len(), 1);
                due - START
            })
            .collect();
        assert!(spans.iter().all(|&span| span >= HOLD));
        spans.iter_mut().for_each(|span| *span = *span - HOLD);
        let distance = kolmogorov_smirnov(spans, mean);
        assert!(distance < 1.63, "{class:?}: {distance}");
    }
}

#[test]
fn our_own_packets_do_not_wait() {
    let (mut mixer, relays, _) = setup(3);
    let packet = Packet::from_boxed(Box::new([9; 2048]));
    mixer.send(START, relays[2].hop.id, packet.clone());
    assert_eq!(mixer.poll_timeout(), None);
    assert_eq!(transmitted(&mut mixer), [(relays[2].hop.id, packet)]);
    assert_eq!(
        (mixer.counters().sent, mixer.counters().transmitted),
        (1, 1)
    );
}

#[test]
fn one_seed_gives_one_run() {
    let go = || {
        let (mut mixer, relays, mut rng) = setup(4);
        let mut trace = Vec::new();
        for _ in 0..30 {
            mixer.handle_packet(START, passing(&relays, Class::Fast, &mut rng));
        }
        sync(&mut mixer);
        while let Some(due) = mixer.poll_timeout() {
            mixer.handle_timeout(due);
            trace.push((due, transmitted(&mut mixer)));
        }
        trace
    };
    assert_eq!(go(), go());
}
