//! The fast packet code must equal the slow one in `reference/`, byte for byte: packets, reply blocks, what each hop reads
//! and leaves, and the reason for which it refuses. Either side builds what the other one peels.
#![allow(clippy::unwrap_used, clippy::panic)]

use mix::sphinx::{KeyTables, SurbKeys, build_surb_tabled, build_tabled, peel, peel_batch};
use mix::{KeyContext, MixSecret, Packet, ShortId, Surb};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng as _;

#[path = "equals_reference/case.rs"]
mod case;
#[path = "reference/sphinx.rs"]
mod reference;

use case::Case;
use reference::tape::Tape;
use reference::{Drawn, Refused};

fn a_case(command: impl Strategy<Value = u8>) -> impl Strategy<Value = Case> {
    (any::<u64>(), 1..=5usize, command, 0..3u8)
        .prop_map(|(seed, hops, command, class)| Case::new(seed, hops, command, class))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn packets_are_the_same_bytes_from_first_hop_to_last(
        case in a_case(reference::DROP..=reference::BOX),
    ) {
        let slow = case.slow_build();
        prop_assert!(case.fast_build().as_bytes()[..] == slow);
        let end = case.follow(slow).unwrap();
        prop_assert_eq!(&end[229..245], &[0; 16]);
        prop_assert_eq!(&end[245..], &case.body);
    }

    #[test]
    fn replies_are_the_same_bytes_from_block_to_body(case in a_case(Just(reference::REPLY))) {
        let (surb, keys) = case.fast_surb();
        let (slow_surb, slow_keys) = case.slow_surb();
        prop_assert_eq!(&surb.to_bytes()[..], &slow_surb);
        prop_assert_eq!(&keys.to_bytes()[..], &slow_keys);
        // Each side reads what the other one wrote down.
        let surb = Surb::from_bytes(&slow_surb.clone().try_into().unwrap()).unwrap();
        let keys = SurbKeys::from_bytes(&slow_keys.clone().try_into().unwrap()).unwrap();
        let (first, packet) = surb.reply(&case.body);
        prop_assert_eq!(first.0, case.path[0].name);
        let slow = reference::reply(&slow_surb, &case.body);
        prop_assert!(packet.as_bytes()[..] == slow);

        let end = case.follow(slow).unwrap();
        let fast = keys.open(Packet::from_slice(&end).unwrap()).unwrap();
        prop_assert_eq!(&fast[..], &case.body);
        prop_assert_eq!(reference::open(&slow_keys, &end).unwrap(), case.body);
    }

    /// Any byte may change anywhere on the way; both must find the same fault at the same hop.
    #[test]
    fn altered_packets_are_refused_alike(
        case in a_case(reference::DROP..=reference::REPLY),
        hop in 0..5usize,
        // The header is a ninth of the packet and has most of the reasons.
        at in prop_oneof![0..1usize, 1..33usize, 33..229usize, 229..2048usize],
        change in 1..=255u8,
    ) {
        let hop = hop % case.path.len();
        let (mut packet, keys) = if case.order.command == reference::REPLY {
            let (surb, keys) = case.slow_surb();
            (reference::reply(&surb, &case.body), Some(keys))
        } else {
            (case.slow_build(), None)
        };
        for i in 0..hop {
            packet = case.peel_at(i, &packet).unwrap().packet;
        }
        packet[at] ^= change;
        let mut end = Ok(packet);
        for i in hop..case.path.len() {
            end = end.and_then(|packet| case.peel_at(i, &packet).map(|seen| seen.packet));
        }
        match (end, keys) {
            (Err(reason), _) => prop_assert!(at < 229 || reason == Refused::Payload),
            (Ok(end), Some(kept)) => {
                let keys = SurbKeys::from_bytes(&kept.clone().try_into().unwrap()).unwrap();
                prop_assert!(keys.open(Packet::from_slice(&end).unwrap()).is_err());
                prop_assert!(reference::open(&kept, &end).is_none());
            }
            (Ok(_), None) => prop_assert!(false, "an altered packet arrived"),
        }
    }

    /// Authentic headers that no honest sender makes: any command, any flags, any tag.
    #[test]
    fn odd_orders_are_read_alike(
        seed: u64,
        command: u8,
        flags in prop_oneof![0..3u8, any::<u8>()],
        tag in prop_oneof![Just([0; 16]), any::<[u8; 16]>()],
    ) {
        let mut case = Case::new(seed, 1, reference::BOX, 0);
        (case.order.command, case.order.class) = (command % 8, flags);
        let packet = reference::build_with_tag(
            &case.network,
            &case.path,
            &case.order,
            &tag,
            &case.body,
            &mut Drawn(&case.drawn),
        );
        let seen = case.peel_at(0, &packet);
        let known = (reference::FORWARD..=reference::REPLY).contains(&case.order.command);
        prop_assert!(seen.is_err() || known && flags < 3);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any number of good, altered and foreign packets for one relay: a batch gives what `peel` gives for each alone, which
    /// above was compared with the reference.
    #[test]
    fn a_batch_of_any_size_is_its_packets_one_by_one(
        seed: u64,
        kinds in prop::collection::vec((1..=5usize, reference::DROP..=reference::REPLY, 0..8usize), 0..=130),
    ) {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let relay = Case::new(seed, 1, reference::BOX, 0);
        let mut packets = Vec::new();
        for &(hops, command, fault) in &kinds {
            let mut case = Case::new(rng.next_u64(), hops, command, (hops % 3) as u8);
            if fault != 7 {
                // Through the relay first; else for a stranger.
                case.network = relay.network;
                case.secrets[0] = relay.secrets[0];
                case.path[0] = relay.path[0].clone();
            }
            let mut packet = if command == reference::REPLY {
                *case.fast_surb().0.reply(&case.body).1.into_boxed()
            } else {
                *case.fast_build().into_boxed()
            };
            let at = [0..1, 1..33, 33..49, 49..229, 229..2048].get(fault).cloned();
            if let Some(at) = at {
                packet[at.start + rng.next_u32() as usize % at.len()] ^= 1 << (rng.next_u32() % 8);
            }
            packets.push(Packet::from_boxed(Box::new(packet)));
        }
        let hop = &relay.path[0];
        let context = KeyContext {
            network: relay.network(),
            epoch: hop.epoch,
            relay: ShortId(hop.name),
        };
        let secret = MixSecret::from_bytes(&relay.secrets[0]).unwrap();
        let mut alone = packets.clone();
        let wanted: Vec<_> = alone.iter_mut().map(|packet| peel(&secret, &context, packet)).collect();
        let mut results = Vec::new();
        peel_batch(&secret, &context, &mut packets, &mut results);
        prop_assert_eq!(&results, &wanted);
        for ((alone, together), wanted) in alone.iter().zip(&packets).zip(&wanted) {
            prop_assert!(wanted.is_err() || alone == together);
        }
    }

    /// Tables for any of the path's keys change no byte.
    #[test]
    fn tabled_building_is_plain_building(
        case in a_case(reference::DROP..=reference::REPLY),
        with_table in any::<[bool; 5]>(),
    ) {
        let mut tables = KeyTables::new(5);
        for (hop, with_table) in case.hops().iter().zip(with_table) {
            if with_table {
                tables.insert(&hop.key);
            }
        }
        let (network, path, class) = (case.network(), case.hops(), case.class());
        let drawn = &mut Tape(&case.drawn);
        if case.order.command == reference::REPLY {
            let id = case.order.id.unwrap();
            let made = build_surb_tabled(&tables, &network, &path, class, id, drawn).unwrap();
            prop_assert!(made == case.fast_surb());
        } else {
            let made = build_tabled(&tables, &network, &path, class, case.exit(), &case.body, drawn);
            prop_assert!(made.unwrap() == case.fast_build());
        }
    }
}

#[test]
fn every_length_command_and_class_is_covered_whatever_proptest_draws() {
    for hops in 1..=5 {
        for class in 0..3 {
            for command in reference::DROP..=reference::BOX {
                let case = Case::new(8 * u64::from(class), hops, command, class);
                let packet = case.slow_build();
                assert!(case.fast_build().as_bytes()[..] == packet);
                case.follow(packet).unwrap();
            }
            let case = Case::new(7, hops, reference::REPLY, class);
            assert_eq!(case.fast_surb().0.to_bytes()[..], case.slow_surb().0);
        }
    }
}
