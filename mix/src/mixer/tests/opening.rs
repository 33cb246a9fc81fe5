//! Packets that are opened elsewhere: an opener on another thread and the mixer by itself must do the same.

use super::*;

/// Packets that pass, that end here, replays of them, mutants and noise.
fn mixed(relays: &[Relay], rng: &mut ChaCha20Rng) -> Vec<Packet> {
    let mut packets = Vec::new();
    for n in 0..40usize {
        packets.push(passing(relays, Class::ALL[n % 3], rng));
        packets.push(ending(relays, Exit::Loop { id: [n as u8; 16] }, rng));
        packets.push(ending(relays, Exit::Drop, rng));
        let mut altered = *packets[n].clone().into_boxed();
        altered[[0, 5, 40, 60, 1_500][n % 5]] ^= 1;
        packets.push(Packet::from_boxed(Box::new(altered)));
        packets.push(packets[n / 2].clone());
    }
    packets
}

fn arrivals(packets: Vec<Packet>) -> Vec<Arrival> {
    let arrival = |packet| Arrival { at: START, packet };
    packets.into_iter().map(arrival).collect()
}

#[test]
fn opened_elsewhere_or_here_is_the_same() {
    let (mut here, relays, mut rng) = setup(30);
    let mut there = mixer_with(config(&relays[0]), &relays[0]);
    let packets = mixed(&relays, &mut rng);
    for packet in packets.clone() {
        here.handle_packet(START, packet);
    }
    let opener = there.opener();
    let opened = std::thread::spawn(move || opener.open(arrivals(packets)));
    there.handle_opened(opened.join().unwrap());

    assert_eq!(here.counters(), there.counters());
    assert!(here.counters().dropped_total() > 50);
    assert_eq!(sync(&mut here), sync(&mut there));
    assert_eq!(events(&mut here), events(&mut there));
    let later = START + Span::from_secs(1_000);
    here.handle_timeout(later);
    there.handle_timeout(later);
    let sent = transmitted(&mut here);
    assert!(sent == transmitted(&mut there) && sent.len() > 30);
}

#[test]
fn delays_count_from_arrival_however_long_opening_takes() {
    let (mut mixer, relays, mut rng) = setup(31);
    let opened = mixer
        .opener()
        .open(arrivals(vec![passing(&relays, Class::Fast, &mut rng)]));
    mixer.handle_timeout(START + Span::from_secs(9));
    mixer.handle_opened(opened);
    sync(&mut mixer);
    assert!(mixer.poll_timeout().unwrap() < START + Span::from_secs(4));
    mixer.handle_timeout(START + Span::from_secs(9));
    assert_eq!(transmitted(&mut mixer).len(), 1);
}

#[test]
fn what_was_opened_with_a_key_that_is_gone_is_dropped() {
    let (mut mixer, relays, mut rng) = setup(32);
    let opened = mixer
        .opener()
        .open(arrivals(vec![passing(&relays, Class::Fast, &mut rng)]));
    mixer.drop_expired_keys(START + Span::from_secs(65));
    mixer.handle_opened(opened);
    assert_eq!(mixer.counters().dropped(DropReason::Mac), 1);
    assert!(sync(&mut mixer).is_empty());
    assert_eq!(mixer.pool_len(), 0);
}

#[test]
fn an_opener_without_keys_opens_nothing() {
    let (_, relays, mut rng) = setup(33);
    let mut mixer = Mixer::new(config(&relays[0]), rng.clone());
    let opened = mixer
        .opener()
        .open(arrivals(vec![passing(&relays, Class::Fast, &mut rng)]));
    assert_eq!((opened.len(), opened.is_empty()), (1, false));
    mixer.handle_opened(opened);
    assert_eq!(mixer.counters().dropped(DropReason::Mac), 1);
}

/// The first relay in the next epoch, which starts at 60 s; its key serves from 55 s on.
fn next(relay: &Relay, rng: &mut ChaCha20Rng) -> (Relay, EpochKey) {
    let mut next = relay.clone();
    next.secret = crate::MixSecret::random(rng);
    next.hop.key = next.secret.public();
    next.hop.epoch += 1;
    let key = EpochKey {
        usable_from: START + Span::from_secs(55),
        starts: START + Span::from_secs(60),
        usable_until: START + Span::from_secs(125),
        ..epoch_key(&next)
    };
    (next, key)
}

#[test]
fn one_batch_finds_the_key_of_each_of_its_packets() {
    let (mut here, mut relays, mut rng) = setup(34);
    let mut there = mixer_with(config(&relays[0]), &relays[0]);
    let (next, key) = next(&relays[0], &mut rng);
    for mixer in [&mut here, &mut there] {
        mixer.add_key(key.clone(), []).unwrap();
    }
    let mut packets = mixed(&relays, &mut rng);
    relays[0] = next;
    for (n, packet) in mixed(&relays, &mut rng).into_iter().enumerate() {
        packets.insert(2 * n, packet);
    }
    // Before and after the start of the epoch: the order in which the keys are tried must not show.
    for (secs, packets) in [57, 62].into_iter().zip(packets.chunks(packets.len() / 2)) {
        let at = START + Span::from_secs(secs);
        for packet in packets.iter().cloned() {
            here.handle_packet(at, packet);
        }
        let arrival = |packet| Arrival { at, packet };
        let arrivals = packets.iter().cloned().map(arrival).collect();
        there.handle_opened(there.opener().open(arrivals));
    }
    assert_eq!(here.counters(), there.counters());
    let batches = sync(&mut here);
    assert_eq!(batches, sync(&mut there));
    let epochs: Vec<u32> = batches.iter().map(|batch| batch.epoch).collect();
    assert!(epochs.contains(&EPOCH) && epochs.contains(&(EPOCH + 1)));
    assert!(batches.iter().all(|batch| batch.tags.len() > 60));
}

#[test]
fn an_opener_that_is_kept_knows_neither_new_keys_nor_erased_ones() {
    let (mut mixer, mut relays, mut rng) = setup(35);
    let opener = mixer.opener();
    let old = arrivals(vec![passing(&relays, Class::Fast, &mut rng)]);
    let (next, key) = next(&relays[0], &mut rng);
    mixer.add_key(key, []).unwrap();
    relays[0] = next;
    let mut new = arrivals(vec![passing(&relays, Class::Fast, &mut rng)]);
    new[0].at = START + Span::from_secs(60);
    let unopened = |opened: &Opened| matches!(opened.outcomes[..], [Err(DropReason::Mac)]);
    assert!(unopened(&opener.open(new)));
    mixer.drop_expired_keys(START + Span::from_secs(65));
    assert!(unopened(&opener.open(old)), "an erased key opened a packet");
}

#[test]
fn the_latest_arrival_says_which_keys_serve_a_batch() {
    let (mut mixer, relays, mut rng) = setup(36);
    let mut batch = |last| {
        let mut batch = arrivals(vec![
            passing(&relays, Class::Fast, &mut rng),
            passing(&relays, Class::Fast, &mut rng),
        ]);
        batch[0].at = START + last;
        batch
    };
    let opener = mixer.opener();
    mixer.handle_opened(opener.open(batch(Span(64_999_999))));
    assert_eq!(mixer.counters().relayed, 2);
    mixer.handle_opened(opener.open(batch(Span(65_000_000))));
    assert_eq!(mixer.counters().dropped(DropReason::Mac), 2);
}
