//! Whole conversations: under loss, reordering, duplication, absence, crashes and at the caps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use self::world::{World, id, pair, params};
use super::*;
use crate::session::boxes::Series;
use crate::session::frame::{Ack, AckKind, FRAGMENT_LEN, FRAME_LEN, Fragment, Frame};
use crate::session::hello::tests::{DAY_MS, NOW, answer, greet, party};

const LONG: u64 = 6 * 86_400_000;

fn ids(side: &world::Side) -> Vec<MessageId> {
    side.inbox.iter().map(|(id, ..)| *id).collect()
}

/// Moves every frame that wants to go from one side to the other, ignoring boxes.
fn exchange(now: u64, from: &mut Conversation, to: &mut Conversation) -> Vec<ConversationEvent> {
    let mut events = Vec::new();
    while let Some(out) = from.next_frame(now) {
        events.extend(to.handle_frame(now, &out.frame));
    }
    events
}

#[test]
fn a_quiet_line_delivers_fast_and_in_both_directions() {
    let mut world = World::new(30, 0);
    world.run(3_000);
    for n in 0..20 {
        world.submit(0, n, 200, LONG);
        world.submit(1, 100 + n, 200, LONG);
        world.run(7_000);
    }
    for (side, base) in [(1, 0), (0, 100)] {
        let expected: Vec<_> = (base..base + 20).map(id).collect();
        assert_eq!(ids(&world.sides[side]), expected);
        assert_eq!(world.delivered(1 - side), expected);
        // Each message was handed over before the next was submitted, most within three seconds.
        let mut waits: Vec<u64> = (world.sides[side].inbox.iter().enumerate())
            .map(|(n, (.., at))| at - (NOW + 3_000 + n as u64 * 7_000))
            .collect();
        waits.sort_unstable();
        assert!(waits[10] <= 3_500 && waits[19] <= 7_000, "{waits:?}");
    }
    // Once both know of each other, live boxes carry the talk.
    let live = world.sides[0]
        .used
        .iter()
        .filter(|s| matches!(s, Series::Live { .. }))
        .count();
    assert!(
        live * 10 > world.sides[0].used.len() * 7,
        "{live} of {}",
        world.sides[0].used.len()
    );
}

#[test]
fn a_third_of_all_packets_lost() {
    for seed in [40, 44, 48] {
        let mut world = World::new(seed, 30);
        for n in 0..30 {
            world.submit(0, n, 300, LONG);
            if n % 3 == 0 {
                world.submit(1, 100 + n, 300, LONG);
            }
            world.run(4_000);
        }
        world.run(600_000);
        let expected: Vec<_> = (0..30).map(id).collect();
        assert_eq!(ids(&world.sides[1]), expected, "seed {seed}");
        assert_eq!(ids(&world.sides[0]).len(), 10, "seed {seed}");
        assert_eq!(world.delivered(0).len(), 30, "seed {seed}");
        assert_eq!(world.delivered(1).len(), 10, "seed {seed}");
    }
}

#[test]
fn the_longest_message_under_loss() {
    let mut world = World::new(50, 20);
    world.submit(0, 1, MAX_BODY, LONG);
    world.run(400_000);
    assert_eq!(world.sides[1].inbox[0].1, vec![1; MAX_BODY]);
    assert_eq!(world.delivered(0), [id(1)]);
    // Partial acknowledgements keep resending in bounds: 36 fragments, far below twice that.
    let used = world.sides[0].used.len();
    assert!(used < 100, "{used} frames for 36 fragments");
}

#[test]
fn reading_is_told_and_times_are_the_receivers() {
    let mut world = World::new(52, 10);
    world.submit(0, 7, 10, LONG);
    world.run(30_000);
    let received_at = world.sides[1].inbox[0].2;
    let now = world.now;
    world.sides[1].conversation.mark_read(now, &id(7));
    world.sides[1].conversation.mark_read(now + 1, &id(7));
    world.run(200_000);
    let told: Vec<_> = world.sides[0]
        .events
        .iter()
        .map(|(_, event)| event.clone())
        .collect();
    assert!(told.contains(&ConversationEvent::Delivered {
        id: id(7),
        at: received_at
    }));
    let reads: Vec<_> = told
        .iter()
        .filter(|e| matches!(e, ConversationEvent::Read { .. }))
        .collect();
    assert_eq!(reads, [&ConversationEvent::Read { id: id(7), at: now }]);
}

#[test]
fn an_absent_peer_reads_everything_when_it_returns() {
    let mut world = World::new(54, 15);
    world.run(20_000);
    world.sides[1].online = false;
    for n in 0..12 {
        world.submit(0, n, 100, LONG);
        world.run(if n == 6 { DAY_MS + DAY_MS / 2 } else { 2_000 });
    }
    world.run(60_000);
    assert!(world.sides[1].inbox.is_empty());
    world.sides[1].online = true;
    world.restart(1);
    world.run(120_000);
    assert_eq!(ids(&world.sides[1]), (0..12).map(id).collect::<Vec<_>>());
    assert_eq!(world.delivered(0).len(), 12);
}

#[test]
fn restarts_and_crashes_lose_and_repeat_nothing() {
    for seed in [60, 64] {
        let mut world = World::new(seed, 15);
        for n in 0..24 {
            world.submit(0, n, if n == 5 { 9_000 } else { 80 }, LONG);
            world.submit(1, 100 + n, 80, LONG);
            world.run(1_700);
            match n % 4 {
                0 => world.restart(0),
                1 => world.restart(1),
                2 => world.crash_while_depositing(0),
                _ => world.crash_while_depositing(1),
            }
        }
        world.run(600_000);
        assert_eq!(
            ids(&world.sides[1]),
            (0..24).map(id).collect::<Vec<_>>(),
            "seed {seed}"
        );
        assert_eq!(
            ids(&world.sides[0]),
            (100..124).map(id).collect::<Vec<_>>(),
            "seed {seed}"
        );
        assert_eq!(
            (world.delivered(0).len(), world.delivered(1).len()),
            (24, 24)
        );
        assert!(
            world
                .sides
                .iter()
                .all(|side| side.conversation.unfinished().next().is_none())
        );
    }
}

#[test]
fn a_saved_conversation_is_the_same_conversation() {
    let (mut a, mut b) = pair(70);
    a.submit(NOW, id(1), &[1; 3000], Class::Fast, NOW + LONG)
        .unwrap();
    a.submit(NOW, id(2), b"two", Class::Slow, NOW + LONG)
        .unwrap();
    let first = a.next_deposit(NOW).unwrap();
    b.handle_frame(NOW, &first.frame.frame);
    b.set_root(3, Some([3; 32]));
    b.wanted_boxes(NOW);
    for conversation in [&a, &b] {
        let bytes = conversation.snapshot();
        let again = Conversation::restore(&bytes, params()).unwrap();
        assert_eq!(again.snapshot(), bytes);
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            let error = Conversation::restore(&bytes[..cut], params()).unwrap_err();
            assert_eq!(error, RestoreError::Damaged);
        }
        let mut newer = bytes.to_vec();
        newer[0] = 2;
        assert_eq!(
            Conversation::restore(&newer, params()).unwrap_err(),
            RestoreError::Newer(2)
        );
    }
    let mut a = Conversation::restore(&a.snapshot(), params()).unwrap();
    let next = a.next_deposit(NOW).unwrap();
    assert_ne!(next.target.series, first.target.series);
    assert_eq!(
        next.frame.carries,
        Some(Carried {
            id: id(1),
            index: 1,
            count: 3
        })
    );
}

#[test]
fn shuffled_and_repeated_frames_give_each_message_once_in_order() {
    for seed in 0..5u8 {
        let (mut a, mut b) = pair(72);
        let mut rng = ChaCha20Rng::from_seed([seed; 32]);
        let mut frames = Vec::new();
        for n in 0..60 {
            let len = (rng.next_u64() % 6000) as usize;
            a.submit(NOW, id(n), &vec![n as u8; len], Class::Fast, NOW + LONG)
                .unwrap();
        }
        while let Some(out) = a.next_frame(NOW) {
            frames.push(out.frame.clone());
            frames.push(out.frame);
        }
        for last in (1..frames.len()).rev() {
            frames.swap(last, (rng.next_u64() % (last as u64 + 1)) as usize);
        }
        let mut got = Vec::new();
        for frame in &frames {
            got.extend(b.handle_frame(NOW + 5, frame).into_iter().filter_map(
                |event| match event {
                    ConversationEvent::Message { id, sent_at, .. } => Some((id, sent_at)),
                    _ => None,
                },
            ));
        }
        assert_eq!(got, (0..60).map(|n| (id(n), NOW)).collect::<Vec<_>>());
        let delivered = exchange(NOW + 2_000, &mut b, &mut a)
            .into_iter()
            .filter(|event| matches!(event, ConversationEvent::Delivered { .. }));
        assert_eq!(delivered.count(), 60);
        assert_eq!(a.unfinished().count(), 0);
    }
}

#[test]
fn a_message_expires_and_those_behind_it_still_arrive() {
    let (mut a, mut b) = pair(74);
    a.submit(NOW, id(1), b"lost", Class::Fast, NOW + 10_000)
        .unwrap();
    a.submit(NOW, id(2), b"waits", Class::Fast, NOW + LONG)
        .unwrap();
    let lost = a.next_frame(NOW).unwrap();
    assert_eq!(lost.completes, Some(id(1)));
    let second = a.next_frame(NOW).unwrap();
    assert_eq!(
        b.handle_frame(NOW, &second.frame),
        [],
        "waits for its predecessor"
    );
    assert_eq!(a.handle_timeout(NOW + 9_999), []);
    assert!(a.poll_timeout().unwrap() <= NOW + 10_000);
    let expired = ConversationEvent::Expired {
        id: id(1),
        at: NOW + 10_000,
    };
    assert_eq!(a.handle_timeout(NOW + 10_000), [expired]);
    // The next frame says that 1 was given up.
    a.submit(NOW + 10_000, id(3), b"three", Class::Fast, NOW + LONG)
        .unwrap();
    let events = exchange(NOW + 10_000, &mut a, &mut b);
    let got: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ConversationEvent::Message { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(got, [id(2), id(3)]);
    // And 1, should it surface after all, is not taken up again.
    assert_eq!(b.handle_frame(NOW + 20_000, &lost.frame), []);
    // A message that expires before it was ever sent leaves no gap at all.
    a.submit(NOW + 20_000, id(4), b"never", Class::Fast, NOW + 20_001)
        .unwrap();
    a.handle_timeout(NOW + 20_001);
    a.submit(NOW + 20_002, id(5), b"five", Class::Fast, NOW + LONG)
        .unwrap();
    let events = exchange(NOW + 20_002, &mut a, &mut b);
    assert!(matches!(&events[..], [ConversationEvent::Message { .. }]));
}

#[test]
fn what_we_refuse_to_queue() {
    let (mut a, _) = pair(76);
    let too_long = a.submit(NOW, id(1), &vec![0; MAX_BODY + 1], Class::Fast, NOW + 1);
    assert_eq!(too_long, Err(SubmitError::TooLong { len: MAX_BODY + 1 }));
    assert_eq!(
        a.submit(NOW, id(1), b"", Class::Fast, NOW),
        Err(SubmitError::Late)
    );
    for n in 0..MAX_OUTGOING as u32 {
        a.submit(NOW, id(n), b"x", Class::Fast, NOW + 10).unwrap();
    }
    let full = SubmitError::Full {
        count: MAX_OUTGOING,
        bytes: MAX_OUTGOING,
    };
    assert_eq!(
        a.submit(NOW, id(999), b"x", Class::Fast, NOW + 10),
        Err(full)
    );
    assert!(a.cancel(&id(3)) && !a.cancel(&id(3)));
    assert_eq!(
        a.submit(NOW, id(4), b"x", Class::Fast, NOW + 10),
        Err(SubmitError::Duplicate)
    );
    assert_eq!(a.handle_timeout(NOW + 10).len(), MAX_OUTGOING - 1);
    for n in 0..21 {
        a.submit(NOW, id(n), &vec![0; MAX_BODY], Class::Fast, NOW + LONG)
            .unwrap();
    }
    let full = a.submit(NOW, id(999), &vec![0; MAX_BODY], Class::Fast, NOW + LONG);
    assert_eq!(
        full,
        Err(SubmitError::Full {
            count: 21,
            bytes: 21 * MAX_BODY
        })
    );
}

/// A contact that sends only what fills memory: starts of messages, far-away numbers, noise.
#[test]
fn a_hostile_contact_meets_caps() {
    let (mut a, mut b) = pair(78);
    let frame = |seq: u32, index: u8, byte: u8| {
        let data = vec![byte; FRAGMENT_LEN];
        let fragment = Fragment {
            id: id(seq),
            seq,
            index,
            count: 64,
            data,
        };
        Frame {
            fragment: Some(fragment),
            ..Frame::default()
        }
        .encode()
    };
    for seq in 1..400 {
        for index in 0..40 {
            assert_eq!(b.handle_frame(NOW, &frame(seq, index, 1)), []);
        }
    }
    let held: usize = b
        .incoming
        .partial
        .values()
        .flat_map(|p| p.parts.values())
        .map(Vec::len)
        .sum();
    assert!(held <= incoming::MAX_BYTES && b.incoming.partial.len() <= incoming::MAX_PARTIAL);
    assert!(b.counters().reassembly_full > 0);
    assert!(b.acks.waiting.len() <= acks::MAX_WAITING && b.counters().acks_dropped > 0);
    b.handle_frame(NOW, &frame(u32::MAX, 0, 1));
    b.handle_frame(NOW, &frame(incoming::MAX_AHEAD, 0, 1));
    assert_eq!(b.counters().too_far_ahead, 2);
    b.handle_frame(NOW, &frame(1, 0, 2));
    assert_eq!(b.counters().conflicting_fragments, 1);
    b.handle_frame(NOW, &[0xff; FRAME_LEN]);
    assert_eq!(b.counters().malformed_frames, 1);
    // The lowest number always has room: an honest message still comes through.
    a.submit(NOW, id(1000), b"hello", Class::Fast, NOW + LONG)
        .unwrap();
    let events = exchange(NOW, &mut a, &mut b);
    assert!(matches!(&events[..], [ConversationEvent::Message { .. }]));
    // A complete message that no ratchet made is skipped, not waited for.
    b.incoming.partial.clear();
    let fragment = Fragment {
        id: id(5),
        seq: 1,
        index: 0,
        count: 1,
        data: vec![3; 90],
    };
    b.handle_frame(
        NOW,
        &Frame {
            fragment: Some(fragment),
            ..Frame::default()
        }
        .encode(),
    );
    assert_eq!(b.counters().undecryptable, 1);
    // A jump of the base to the end of numbers ends the talk, nothing else.
    b.handle_frame(
        NOW,
        &Frame {
            base_seq: u32::MAX,
            ..Frame::default()
        }
        .encode(),
    );
    b.handle_frame(NOW, &frame(u32::MAX, 0, 1));
    // Acknowledgements for nothing.
    let ack = Ack {
        prefix: [9; 8],
        kind: AckKind::Read(1),
    };
    b.handle_frame(
        NOW,
        &Frame {
            acks: vec![ack; 8],
            ..Frame::default()
        }
        .encode(),
    );
    assert_eq!(b.counters().unknown_acks, 8);
}

#[test]
fn order_of_claims_and_the_hello_answer() {
    let (mut a, mut b) = pair(80);
    // The responder owes an answer; the initiator nothing.
    assert_eq!((a.wants(NOW), b.wants(NOW)), (None, Some(Urgency::Ack)));
    assert!(!a.is_established() && b.is_established());
    let hello_answer = b.next_deposit(NOW).unwrap();
    assert!(hello_answer.frame.carries.is_none() && hello_answer.frame.urgent);
    assert_eq!(b.wants(NOW), None);
    let sealed = &hello_answer.sealed;
    let wanted = a.wanted_boxes(NOW);
    let inbox = wanted
        .iter()
        .find(|w| w.keys.id() == hello_answer.target.keys.id())
        .unwrap();
    assert_eq!(
        (inbox.priority, inbox.series),
        (0, hello_answer.target.series)
    );
    let mut bad = sealed.clone();
    bad[3] ^= 1;
    assert_eq!(a.handle_box(NOW, &inbox.keys.id(), &bad), []);
    let events = a.handle_box(NOW, &inbox.keys.id(), sealed);
    assert_eq!(events, [ConversationEvent::Established { at: NOW }]);
    assert_eq!(a.handle_box(NOW, &inbox.keys.id(), sealed), []);
    assert_eq!(
        (a.counters().unreadable_boxes, a.counters().unknown_boxes),
        (1, 1)
    );
    assert_eq!(a.peer_live_until(), NOW + 20_000);
    b.hello_repeated();
    assert_eq!(b.wants(NOW), Some(Urgency::Ack));
    // First sends before acknowledgements before resends; acknowledgements ride with data.
    a.submit(NOW, id(1), b"1", Class::Slow, NOW + LONG).unwrap();
    let one = a.next_deposit(NOW).unwrap();
    assert!(matches!(one.target.series, Series::Live { .. }));
    assert_eq!(
        (one.frame.class, one.frame.urgency),
        (Class::Slow, Urgency::First)
    );
    b.handle_frame(NOW, &one.frame.frame);
    b.submit(NOW, id(2), b"2", Class::Fast, NOW + LONG).unwrap();
    let two = b.next_deposit(NOW).unwrap();
    assert_eq!((two.frame.urgency, two.frame.acks), (Urgency::First, 1));
    assert_eq!(b.wants(NOW), None);
    assert_eq!(a.wants(NOW + 7_000), None);
    assert_eq!(a.wants(NOW + 16_000), Some(Urgency::Resend));
    a.handle_frame(NOW + 6_000, &two.frame.frame);
    // It waits a moment for company.
    assert_eq!(a.wants(NOW + 6_000), None);
    assert_eq!(a.wants(NOW + 7_000), Some(Urgency::Ack));
    // Live boxes used up: new data spills into parked ones, acknowledgements wait for the next slot.
    for n in 10..18 {
        a.submit(NOW + 7_000, id(n), b"n", Class::Fast, NOW + LONG)
            .unwrap();
    }
    let mut series = Vec::new();
    while let Some(deposit) = a.next_deposit(NOW + 7_000) {
        series.push(deposit.target.series);
    }
    assert_eq!(
        series
            .iter()
            .filter(|s| matches!(s, Series::Live { .. }))
            .count(),
        7
    );
    assert!(matches!(series.last(), Some(Series::Parked { .. })));
    let three = b.next_frame(NOW + 16_000).unwrap();
    assert_eq!(three.urgency, Urgency::Resend);
    a.handle_frame(NOW + 8_000, &three.frame);
    assert_eq!(
        a.wants(NOW + 8_000),
        None,
        "an acknowledgement waits for a live box"
    );
    let slot_end = ((NOW + 8_000) / 20_000 + 1) * 20_000;
    assert!(a.poll_timeout().unwrap() <= slot_end);
    assert_eq!(a.wants(slot_end), Some(Urgency::Ack));
}

/// What `to` makes of a frame of `from` that carries nothing but its root.
fn say_root(from: &mut Conversation, to: &mut Conversation) -> Vec<ConversationEvent> {
    from.answer_due = true;
    let frame = from.next_frame(NOW).unwrap();
    to.handle_frame(NOW, &frame.frame)
}

#[test]
fn roots_are_compared_and_cannot_be_echoed() {
    let (mut a, mut b) = pair(82);
    a.set_root(7, Some([7; 32]));
    b.set_root(7, Some([7; 32]));
    assert_eq!(
        say_root(&mut b, &mut a),
        [ConversationEvent::Established { at: NOW }]
    );
    for epoch in 8..20 {
        b.set_root(epoch, Some([8; 32]));
        a.set_root(epoch, Some([9; 32]));
    }
    assert_eq!(a.roots.len(), MAX_ROOTS);
    let events = say_root(&mut b, &mut a);
    let [ConversationEvent::RootMismatch { epoch: 19, check }] = events[..] else {
        panic!("{events:?}");
    };
    assert!(a.peer_means(19, &[8; 32], &check) && !a.peer_means(19, &[9; 32], &check));
    assert!(!a.peer_means(18, &[8; 32], &check));
    // A peer that only sends our own check back has not seen the root.
    a.answer_due = true;
    let ours = a.next_frame(NOW).unwrap();
    let echoed = a.handle_frame(NOW, &ours.frame);
    assert!(matches!(
        echoed[..],
        [ConversationEvent::RootMismatch { epoch: 19, .. }]
    ));
    assert_eq!(a.counters().roots_agreed, 1);
}

#[test]
fn only_two_certified_roots_disagree() {
    let (mut a, mut b) = pair(84);
    a.established = true;
    b.set_root(7, Some([7; 32]));
    // Of an epoch the other side does not know (a boundary, a long absence) there is nothing to say,
    assert_eq!(say_root(&mut b, &mut a), []);
    // nor while one of the two holds no certificate, whichever it is.
    a.set_root(7, None);
    assert_eq!(say_root(&mut b, &mut a), []);
    assert_eq!(say_root(&mut a, &mut b), []);
    assert_eq!(
        [a.counters().roots_unchecked, b.counters().roots_unchecked],
        [2, 1]
    );
    // The certificate comes late; the next epoch has none, and nothing is taken back.
    a.set_root(7, Some([7; 32]));
    a.set_root(7, None);
    a.set_root(8, None);
    assert_eq!(say_root(&mut b, &mut a), []);
    assert_eq!(a.counters().roots_agreed, 1);
    // What was certified is compared after a restart, too.
    let mut a = Conversation::restore(&a.snapshot(), params()).unwrap();
    b.set_root(8, Some([1; 32]));
    assert_eq!(say_root(&mut b, &mut a), []);
    a.set_root(8, Some([2; 32]));
    assert_eq!(say_root(&mut b, &mut a).len(), 1);
    a.roots.retain(|(epoch, _)| *epoch == 7);
    b.roots = vec![(7, Some([3; 32]))];
    assert_eq!(say_root(&mut b, &mut a).len(), 1);
}

#[test]
fn notes_travel_like_messages_and_are_told_apart() {
    let mut world = World::new(86, 10);
    world.submit(0, 1, 10, LONG);
    let now = world.now;
    let note = vec![5; 5_827];
    let side = &mut world.sides[0];
    side.conversation
        .submit_note(now, id(2), &note, now + LONG)
        .unwrap();
    // Still a note after a crash before it left.
    let saved = side.conversation.snapshot();
    side.conversation = Conversation::restore(&saved, params()).unwrap();
    world.run(120_000);
    let told = |e: &(u64, ConversationEvent)| match &e.1 {
        ConversationEvent::Note { id, body } => Some((*id, body.clone())),
        _ => None,
    };
    let notes: Vec<_> = world.sides[1].events.iter().filter_map(told).collect();
    assert_eq!(notes, [(id(2), note)]);
    assert_eq!(world.sides[1].inbox.len(), 1);
    assert_eq!(world.delivered(0).len(), 2);
}

#[test]
fn crossing_hellos_end_on_one_conversation() {
    let (alice, bob) = (party(90, None), party(91, None));
    let (keys_a, keys_b) = (alice.secret.public(), bob.secret.public());
    // Both greet; each has the own and the peer's conversation.
    let (from_a, from_b) = (greet(&alice, &bob, 1), greet(&bob, &alice, 2));
    let (at_b, at_a) = (
        answer(&bob, &from_a).unwrap(),
        answer(&alice, &from_b).unwrap(),
    );
    let new = |secrets| Conversation::from_hello(secrets, params());
    let (mut a_own, mut b_peer) = (new(from_a.secrets), new(at_b.secrets));
    let (mut b_own, mut a_peer) = (new(from_b.secrets), new(at_a.secrets));
    a_own
        .submit(NOW, id(1), b"from a", Class::Fast, NOW + LONG)
        .unwrap();
    b_own
        .submit(NOW, id(2), b"from b", Class::Fast, NOW + LONG)
        .unwrap();
    // Both had sent on their own before they knew of the other's hello; b's message arrives.
    let early = b_own.next_frame(NOW).unwrap();
    a_own.next_frame(NOW).unwrap();
    let events = a_peer.handle_frame(NOW, &early.frame);
    assert!(
        events
            .iter()
            .any(|e| matches!(e, ConversationEvent::Message { .. }))
    );
    a_own.note_seen(&id(2), NOW);
    let mut now = NOW;
    let mut received = Vec::new();
    for _ in 0..6 {
        now += 30_000;
        let keep = crossing(&keys_a, &keys_b, a_own.is_established());
        if keep == Keep::OwnHello {
            a_own.absorb(&mut a_peer)
        } else {
            a_peer.absorb(&mut a_own)
        }
        let keep = crossing(&keys_b, &keys_a, b_own.is_established());
        if keep == Keep::OwnHello {
            b_own.absorb(&mut b_peer)
        } else {
            b_peer.absorb(&mut b_own)
        }
        let mut pass =
            |from: &mut Conversation, to: &mut Conversation, other: &mut Conversation| {
                for event in exchange(now, from, to) {
                    if let ConversationEvent::Message { id, .. } = event {
                        other.note_seen(&id, now);
                        received.push(id);
                    }
                }
            };
        pass(&mut a_own, &mut b_peer, &mut b_own);
        pass(&mut a_peer, &mut b_own, &mut b_peer);
        pass(&mut b_peer, &mut a_own, &mut a_peer);
        pass(&mut b_own, &mut a_peer, &mut a_own);
    }
    assert_eq!(received, [id(1)], "a's message once; b's came before");
    let all = [&a_own, &a_peer, &b_own, &b_peer];
    assert!(all.iter().all(|c| c.unfinished().next().is_none()));
    let (kept_a, kept_b) = (!a_own.is_retired(), !b_own.is_retired());
    assert_ne!(kept_a, kept_b, "both on the same hello");
    assert_eq!(kept_a, keys_a < keys_b);
    let retired = if kept_a { &mut b_own } else { &mut a_own };
    assert_eq!(
        retired.submit(now, id(9), b"", Class::Fast, now + 1),
        Err(SubmitError::Retired)
    );
}

#[test]
fn the_rule_for_crossing_hellos_is_the_same_on_both_sides() {
    let (x, y) = (
        party(92, None).secret.public(),
        party(93, None).secret.public(),
    );
    let (small, large) = if x < y { (x, y) } else { (y, x) };
    assert_eq!(crossing(&small, &large, true), Keep::OwnHello);
    assert_eq!(crossing(&large, &small, true), Keep::PeerHello);
    assert_eq!(crossing(&large, &small, false), Keep::PeerHello);
    // Unanswered, the smaller key's own hello may not have arrived yet.
    assert_eq!(crossing(&small, &large, false), Keep::PeerHello);
}

#[test]
fn debug_shows_no_secret() {
    let (mut a, _) = pair(94);
    a.submit(NOW, id(1), b"secret", Class::Fast, NOW + LONG)
        .unwrap();
    let expected =
        "Conversation { role: Initiator, established: false, outgoing: 1, incoming: 0, .. }";
    assert_eq!(format!("{a:?}"), expected);
    let deposit = format!("{:?}", a.next_deposit(NOW).unwrap().target);
    assert!(deposit.contains("BoxKeys(…)"), "{deposit}");
}
