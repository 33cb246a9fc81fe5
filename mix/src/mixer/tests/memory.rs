//! Keys and what was seen under them: replays, restarts, the turn of epochs.

use super::*;
use crate::keyring::KeyError;

#[test]
fn a_packet_is_accepted_once_however_often_it_comes() {
    let (mut mixer, relays, mut rng) = setup(1);
    let packet = passing(&relays, Class::Fast, &mut rng);
    for _ in 0..10 {
        mixer.handle_packet(START, packet.clone());
    }
    // The same header with another payload is a replay too.
    let mut altered = *packet.clone().into_boxed();
    altered[2_000] ^= 1;
    mixer.handle_packet(START, Packet::from_boxed(Box::new(altered)));
    assert_eq!(
        (
            mixer.counters().relayed,
            mixer.counters().dropped(DropReason::Replay)
        ),
        (1, 10)
    );
    assert_eq!(
        sync(&mut mixer)[0].tags.len(),
        1,
        "a replay is not written twice"
    );
}

#[test]
fn an_altered_payload_uses_its_header_up() {
    let (mut mixer, relays, mut rng) = setup(2);
    let packet = ending(&relays, Exit::Box, &mut rng);
    let mut altered = *packet.clone().into_boxed();
    altered[1_000] ^= 1;
    mixer.handle_packet(START, Packet::from_boxed(Box::new(altered)));
    mixer.handle_packet(START, packet);
    sync(&mut mixer);
    assert!(events(&mut mixer).is_empty());
    assert_eq!(mixer.counters().dropped(DropReason::Payload), 1);
    assert_eq!(
        mixer.counters().dropped(DropReason::Replay),
        1,
        "a second try with the same header tells nothing more"
    );
}

#[test]
fn replays_stay_out_across_a_restart() {
    let (mut mixer, relays, mut rng) = setup(3);
    let packets: Vec<Packet> = (0..20)
        .map(|_| passing(&relays, Class::Fast, &mut rng))
        .collect();
    for packet in &packets {
        mixer.handle_packet(START, packet.clone());
    }
    let durable: Vec<[u8; 16]> = sync(&mut mixer)
        .into_iter()
        .flat_map(|batch| batch.tags)
        .collect();
    drop(mixer);
    let mut again = Mixer::new(config(&relays[0]), rng.clone());
    again.add_key(epoch_key(&relays[0]), durable).unwrap();
    for packet in &packets {
        again.handle_packet(START, packet.clone());
    }
    assert_eq!(
        (
            again.counters().relayed,
            again.counters().dropped(DropReason::Replay)
        ),
        (0, 20)
    );
}

#[test]
fn a_key_serves_in_its_window_only() {
    let (mut mixer, relays, mut rng) = setup(4);
    let mut at =
        |mixer: &mut Mixer, now| mixer.handle_packet(now, passing(&relays, Class::Fast, &mut rng));
    at(&mut mixer, START - Span(5_000_001));
    assert_eq!(mixer.counters().dropped(DropReason::Mac), 1);
    at(&mut mixer, START - Span(5_000_000));
    at(&mut mixer, START + Span(64_999_999));
    assert_eq!(mixer.counters().relayed, 2);
    at(&mut mixer, START + Span(65_000_000));
    assert_eq!(mixer.counters().dropped(DropReason::Mac), 2);
}

#[test]
fn an_expired_key_is_erased_with_its_tags_and_stays_away() {
    let (mut mixer, relays, _) = setup(5);
    assert_eq!(
        mixer.add_key(epoch_key(&relays[0]), []),
        Err(KeyError::DuplicateEpoch(EPOCH))
    );
    assert_eq!(
        mixer.drop_expired_keys(START + Span::from_secs(64)),
        Vec::<u32>::new()
    );
    assert_eq!(
        mixer.drop_expired_keys(START + Span::from_secs(65)),
        [EPOCH]
    );
    assert_eq!(mixer.key_epochs().count(), 0);
    assert_eq!(
        mixer.add_key(epoch_key(&relays[0]), []),
        Err(KeyError::Erased(EPOCH))
    );
}

#[test]
fn a_packet_in_the_pool_outlives_its_key() {
    let (mut mixer, relays, mut rng) = setup(6);
    mixer.handle_packet(
        START + Span::from_secs(64),
        passing(&relays, Class::Slow, &mut rng),
    );
    sync(&mut mixer);
    mixer.drop_expired_keys(START + Span::from_secs(70));
    mixer.handle_timeout(START + Span::from_secs(400));
    assert_eq!(transmitted(&mut mixer).len(), 1);
}

#[test]
fn noise_and_strangers_packets_are_counted_and_unanswered() {
    let (mut mixer, relays, mut rng) = setup(7);
    mixer.handle_packet(START, Packet::from_boxed(Box::new([0; 2048])));
    mixer.handle_packet(START, Packet::from_boxed(Box::new([1; 2048])));
    mixer.handle_packet(START, ending(&relays[1..], Exit::Box, &mut rng));
    let dropped: Vec<_> = mixer.counters().drops().filter(|(_, n)| *n > 0).collect();
    assert_eq!(
        dropped,
        [
            (DropReason::Version, 1),
            (DropReason::Alpha, 1),
            (DropReason::Mac, 1)
        ]
    );
    assert_eq!(
        (
            mixer.poll_tags(),
            mixer.poll_timeout(),
            mixer.counters().received
        ),
        (None, None, 3)
    );
    let shown = format!("{mixer:?}");
    assert!(
        !shown.contains("secret") && !shown.contains("ShortId"),
        "{shown}"
    );
}
