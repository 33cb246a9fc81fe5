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
