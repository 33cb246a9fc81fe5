//! Packets and replies along paths of every length, and what sender and owner refuse.

use crate::sphinx::testkit::{NETWORK, path, random_body, relays, rng};
use crate::sphinx::*;
use crate::{DropReason, ShortId};

#[test]
fn a_packet_crosses_every_path_length_with_every_exit() {
    let mut rng = rng(1);
    for hops in 1..=MAX_HOPS {
        for (exit, class) in [
            (Exit::Box, Class::Fast),
            (Exit::Drop, Class::Strong),
            (Exit::Loop { id: [9; 16] }, Class::Slow),
        ] {
            let relays = relays(hops as u8, &mut rng);
            let body = random_body(&mut rng);
            let mut packet = build(&NETWORK, &path(&relays), class, exit, &body, &mut rng).unwrap();
            for (i, relay) in relays.iter().enumerate() {
                let (_, peeled) = peel(&relay.secret, &relay.context(), &mut packet).unwrap();
                match relays.get(i + 1) {
                    Some(after) => assert!(
                        matches!(peeled, Peeled::Forward { next, class: c, .. } if next == after.hop.id && c == class),
                        "hop {i} of {hops}"
                    ),
                    None => {
                        let wanted = match exit {
                            Exit::Box => Peeled::Box { class },
                            Exit::Drop => Peeled::Drop,
                            Exit::Loop { id } => Peeled::Loop { id },
                        };
                        assert_eq!(peeled, wanted);
                        assert_eq!(*packet.body(), body);
                    }
                }
            }
        }
    }
}

#[test]
fn a_reply_finds_its_owner_over_every_path_length() {
    let mut rng = rng(2);
    for hops in 1..=MAX_HOPS {
        let relays = relays(hops as u8, &mut rng);
        let body = random_body(&mut rng);
        let (surb, keys) =
            build_surb(&NETWORK, &path(&relays), Class::Slow, [5; 16], &mut rng).unwrap();
        // Both halves survive being written down.
        let surb = Surb::from_bytes(&surb.to_bytes()).unwrap();
        let keys = SurbKeys::from_bytes(&keys.to_bytes()).unwrap();
        let (first, mut packet) = surb.reply(&body);
        assert_eq!(first, relays[0].hop.id);
        for (i, relay) in relays.iter().enumerate() {
            let (_, peeled) = peel(&relay.secret, &relay.context(), &mut packet).unwrap();
            match relays.get(i + 1) {
                Some(after) => {
                    assert!(
                        matches!(peeled, Peeled::Forward { next, class: Class::Slow, .. } if next == after.hop.id)
                    )
                }
                None => assert_eq!(peeled, Peeled::Reply { surb_id: [5; 16] }),
            }
        }
        assert_eq!(*keys.open(packet.clone()).unwrap(), body);
        let (_, others) =
            build_surb(&NETWORK, &path(&relays), Class::Slow, [5; 16], &mut rng).unwrap();
        assert_eq!(others.open(packet).unwrap_err(), SurbError::Payload);
    }
}

#[test]
fn paths_that_are_none_are_refused() {
    let mut rng = rng(3);
    let relays = relays(6, &mut rng);
    let body = [0; BODY_LEN];
    let mut go = |path: &[Hop]| {
        let packet = build(&NETWORK, path, Class::Fast, Exit::Drop, &body, &mut rng).map(|_| ());
        let surb = build_surb(&NETWORK, path, Class::Fast, [0; 16], &mut rng).map(|_| ());
        assert_eq!(packet, surb);
        packet
    };
    assert_eq!(go(&[]), Err(BuildError::EmptyPath));
    assert_eq!(go(&path(&relays)), Err(BuildError::LongPath(6)));
    let mut twice = path(&relays[..3]);
    twice[2].id = twice[0].id;
    assert_eq!(go(&twice), Err(BuildError::RepeatedHop));
}

#[test]
fn a_header_opens_under_its_own_network_epoch_relay_and_key_only() {
    let mut rng = rng(4);
    let relays = relays(3, &mut rng);
    let packet = build(
        &NETWORK,
        &path(&relays),
        Class::Fast,
        Exit::Box,
        &[1; BODY_LEN],
        &mut rng,
    )
    .unwrap();
    let right = relays[0].context();
    let try_with = |secret: &MixSecret, context: KeyContext| {
        peel(secret, &context, &mut packet.clone()).map(|_| ())
    };
    assert_eq!(try_with(&relays[0].secret, right), Ok(()));
    let wrong = Err(DropReason::Mac);
    assert_eq!(
        try_with(
            &relays[0].secret,
            KeyContext {
                epoch: right.epoch + 1,
                ..right
            }
        ),
        wrong
    );
    assert_eq!(
        try_with(
            &relays[0].secret,
            KeyContext {
                relay: ShortId([99; 16]),
                ..right
            }
        ),
        wrong
    );
    assert_eq!(
        try_with(
            &relays[0].secret,
            KeyContext {
                network: crate::NetworkId([8; 32]),
                ..right
            }
        ),
        wrong
    );
    assert_eq!(try_with(&relays[1].secret, right), wrong);
}

#[test]
fn a_tag_names_the_header_and_nothing_else() {
    let mut rng = rng(5);
    let relays = relays(2, &mut rng);
    let make = |rng: &mut _| {
        build(
            &NETWORK,
            &path(&relays),
            Class::Fast,
            Exit::Box,
            &[1; BODY_LEN],
            rng,
        )
        .unwrap()
    };
    let (one, two) = (make(&mut rng), make(&mut rng));
    let tag = |packet: &Packet| {
        peel(&relays[0].secret, &relays[0].context(), &mut packet.clone())
            .unwrap()
            .0
    };
    let mut altered = one.clone();
    altered.delta_mut()[700] ^= 4;
    assert_eq!(
        tag(&one),
        tag(&altered),
        "a second payload under the same header is a replay"
    );
    assert_ne!(tag(&one), tag(&two));
}

#[test]
fn keys_survive_being_written_down_and_bad_ones_are_refused() {
    let secret = MixSecret::random(&mut rng(6));
    assert_eq!(
        MixSecret::from_bytes(&secret.to_bytes()).unwrap().public(),
        secret.public()
    );
    assert_eq!(
        MixPublic::from_bytes(&secret.public().to_bytes()),
        Some(secret.public())
    );
    assert!(MixSecret::from_bytes(&[0; 32]).is_none(), "zero");
    assert!(MixSecret::from_bytes(&[0xff; 32]).is_none(), "not reduced");
    assert!(MixPublic::from_bytes(&[0; 32]).is_none(), "the identity");
    assert!(
        MixPublic::from_bytes(&[0xff; 32]).is_none(),
        "not canonical"
    );
    let mut negative = [0; 32];
    negative[0] = 1;
    assert!(
        MixPublic::from_bytes(&negative).is_none(),
        "a negative field element"
    );
}

#[test]
fn nothing_secret_shows_in_debug() {
    let mut rng = rng(7);
    let relays = relays(1, &mut rng);
    let (surb, keys) =
        build_surb(&NETWORK, &path(&relays), Class::Fast, [0; 16], &mut rng).unwrap();
    let packet = build(
        &NETWORK,
        &path(&relays),
        Class::Fast,
        Exit::Drop,
        &[0; BODY_LEN],
        &mut rng,
    )
    .unwrap();
    let element = Element::read(&packet).unwrap();
    let authentic = element
        .check(&relays[0].secret, &relays[0].context(), &packet)
        .unwrap();
    let shown = format!(
        "{:?} {surb:?} {keys:?} {packet:?} {element:?} {authentic:?} {:?} {:?}",
        relays[0].secret,
        authentic.tag(),
        relays[0].hop.id,
    );
    insta::assert_snapshot!(shown, @"MixSecret(..) Surb(..) SurbKeys(..) Packet(2048 bytes) Element(..) Authentic(..) ReplayTag(..) ShortId(01010101…)");
}
