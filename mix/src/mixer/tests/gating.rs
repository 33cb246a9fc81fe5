//! Nothing has an effect before its tag is durable.

use super::*;
use crate::sphinx::{build_surb, peel};

const LATER: Moment = Moment::from_secs(1_030);

#[test]
fn a_packet_leaves_when_it_is_due_and_its_tag_is_durable() {
    let (mut mixer, relays, mut rng) = setup(1);
    let packet = passing(&relays, Class::Fast, &mut rng);
    mixer.handle_packet(START, packet.clone());
    let batches = sync(&mut mixer);
    assert_eq!(
        (
            batches.len(),
            batches[0].seq,
            batches[0].epoch,
            batches[0].tags.len()
        ),
        (1, 1, EPOCH, 1)
    );
    assert!(transmitted(&mut mixer).is_empty(), "durable but not due");
    let due = mixer.poll_timeout().unwrap();
    assert!(due >= START + Span::from_millis(25));
    mixer.handle_timeout(due - Span(1));
    assert!(transmitted(&mut mixer).is_empty());
    mixer.handle_timeout(due);
    let sent = transmitted(&mut mixer);
    let mut by_hand = packet;
    peel(&relays[0].secret, &relays[0].context(), &mut by_hand).unwrap();
    assert_eq!(sent, [(relays[1].hop.id, by_hand)]);
    assert_eq!((mixer.poll_timeout(), mixer.pool_len()), (None, 0));
    assert_eq!(
        (
            mixer.counters().relayed,
            mixer.counters().late,
            mixer.counters().transmitted
        ),
        (1, 0, 1)
    );
}

#[test]
fn a_due_packet_waits_for_the_disk() {
    let (mut mixer, relays, mut rng) = setup(2);
    mixer.handle_packet(START, passing(&relays, Class::Fast, &mut rng));
    let batch = mixer.poll_tags().unwrap();
    mixer.handle_packet(START, passing(&relays, Class::Fast, &mut rng));
    mixer.handle_timeout(LATER);
    assert!(transmitted(&mut mixer).is_empty());
    assert_eq!(
        (
            mixer.pool_len(),
            mixer.poll_timeout(),
            mixer.counters().late
        ),
        (2, None, 2)
    );
    mixer.handle_synced(batch.seq);
    assert_eq!(
        transmitted(&mut mixer).len(),
        1,
        "the one whose tag is durable, and at once"
    );
    sync(&mut mixer);
    assert_eq!(transmitted(&mut mixer).len(), 1);
    assert_eq!(mixer.pool_len(), 0);
}

#[test]
fn a_batch_that_was_never_fetched_cannot_be_durable() {
    let (mut mixer, relays, mut rng) = setup(3);
    mixer.handle_synced(u64::MAX);
    mixer.handle_packet(START, passing(&relays, Class::Fast, &mut rng));
    mixer.handle_packet(START, ending(&relays, Exit::Box, &mut rng));
    mixer.handle_synced(u64::MAX);
    mixer.handle_timeout(LATER);
    assert!(transmitted(&mut mixer).is_empty());
    assert!(events(&mut mixer).is_empty());
    // Nor does an old report take anything back.
    sync(&mut mixer);
    mixer.handle_synced(0);
    assert_eq!(
        (transmitted(&mut mixer).len(), events(&mut mixer).len()),
        (1, 1)
    );
}

#[test]
fn what_ends_here_is_delivered_once_durable_and_without_delay() {
    let (mut mixer, relays, mut rng) = setup(4);
    let (surb, keys) = build_surb(
        &NETWORK,
        &path(&relays[..1]),
        Class::Fast,
        [8; 16],
        &mut rng,
    )
    .unwrap();
    let at = START + Span::from_secs(1);
    mixer.handle_packet(START, ending(&relays, Exit::Box, &mut rng));
    mixer.handle_packet(at, ending(&relays, Exit::Loop { id: [6; 16] }, &mut rng));
    mixer.handle_packet(at, ending(&relays, Exit::Drop, &mut rng));
    mixer.handle_packet(at, surb.reply(&[5; BODY_LEN]).1);
    assert!(events(&mut mixer).is_empty());
    assert_eq!(
        mixer.poll_timeout(),
        None,
        "events do not go through the pool"
    );
    sync(&mut mixer);
    let events = events(&mut mixer);
    insta::assert_snapshot!(format!("{events:?}"), @"[Box(..), Loop(..), Reply(..)]");
    let mut events = events.into_iter();
    assert_eq!(
        events.next(),
        Some(Event::Box {
            class: Class::Fast,
            body: Box::new([4; BODY_LEN])
        })
    );
    assert_eq!(events.next(), Some(Event::Loop { id: [6; 16], at }));
    let Some(Event::Reply { surb_id, packet }) = events.next() else {
        panic!("no reply")
    };
    assert_eq!(surb_id, [8; 16]);
    assert_eq!(*keys.open(packet).unwrap(), [5; BODY_LEN]);
    assert_eq!(events.next(), None, "a drop is nobody's event");
    assert_eq!(mixer.counters().ended, 4, "cover and payload count alike");
}

#[test]
fn tags_of_two_keys_come_in_two_batches_in_order() {
    let (mut mixer, relays, mut rng) = setup(5);
    let mut next = relays[0].clone();
    next.hop.epoch += 1;
    let length = Span::from_secs(60);
    let key = EpochKey {
        epoch: EPOCH + 1,
        usable_from: START + length - Span::from_secs(5),
        starts: START + length,
        usable_until: START + length + length,
        secret: next.secret.clone(),
    };
    mixer.add_key(key, []).unwrap();
    let now = START + length;
    for relay in [&relays[0], &next, &relays[0], &next] {
        mixer.handle_packet(
            now,
            ending(core::slice::from_ref(relay), Exit::Box, &mut rng),
        );
    }
    let first = mixer.poll_tags().unwrap();
    assert_eq!((first.seq, first.epoch, first.tags.len()), (1, EPOCH, 2));
    mixer.handle_packet(now, ending(&relays, Exit::Box, &mut rng));
    let second = mixer.poll_tags().unwrap();
    assert_eq!(
        (second.seq, second.epoch, second.tags.len()),
        (2, EPOCH + 1, 2)
    );
    mixer.handle_synced(first.seq);
    assert_eq!(
        events(&mut mixer).len(),
        1,
        "the next in line waits for the second batch"
    );
    mixer.handle_synced(second.seq);
    assert_eq!(events(&mut mixer).len(), 3);
    let third = mixer.poll_tags().unwrap();
    assert_eq!((third.seq, third.epoch, third.tags.len()), (3, EPOCH, 1));
}
