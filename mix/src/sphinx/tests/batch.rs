//! Batches and tables against the plain ways: the same bytes, the same results.

use crate::sphinx::testkit::{NETWORK, Relay, path, random_body, relays, rng};
use crate::sphinx::*;

/// Packets of every path length and exit for the first relay, with every seventh altered somewhere.
fn packets(relays: &[Relay], count: usize) -> Vec<Packet> {
    let mut rng = rng(count as u64);
    (0..count)
        .map(|n| {
            let exit = [Exit::Box, Exit::Drop, Exit::Loop { id: [4; 16] }][n % 3];
            let path = path(&relays[..1 + n % relays.len()]);
            let body = random_body(&mut rng);
            let mut packet = build(&NETWORK, &path, Class::Fast, exit, &body, &mut rng).unwrap();
            if n % 7 == 3 {
                let places = [0, 1, 32, 33, 100, 229, 2_047];
                packet.bytes_mut()[places[n / 7 % places.len()]] ^= 0x80;
            }
            packet
        })
        .collect()
}

#[test]
fn a_batch_is_its_packets_peeled_one_by_one() {
    let relays = relays(5, &mut rng(1));
    let (secret, context) = (&relays[0].secret, relays[0].context());
    let mut results = vec![Err(crate::DropReason::Version)];
    for count in [0, 1, 2, 3, 63, 64, 65, 130] {
        let mut alone = packets(&relays, count);
        let mut together = alone.clone();
        let wanted: Vec<_> = alone
            .iter_mut()
            .map(|packet| peel(secret, &context, packet))
            .collect();
        peel_batch(secret, &context, &mut together, &mut results);
        assert_eq!(results, wanted, "{count} packets");
        assert!(count < 50 || wanted.iter().any(Result::is_err));
        for (n, wanted) in wanted.iter().enumerate() {
            // After an error the content is unspecified.
            assert!(wanted.is_err() || alone[n] == together[n], "{n} of {count}");
        }
    }
}

#[test]
fn tables_change_nothing_but_the_time() {
    let relays = relays(5, &mut rng(2));
    let mut tables = KeyTables::new(2);
    for tabled in 0..4 {
        let path = path(&relays);
        let body = [tabled; BODY_LEN];
        let plain = build(&NETWORK, &path, Class::Slow, Exit::Box, &body, &mut rng(3));
        let soon = build_tabled(
            &tables,
            &NETWORK,
            &path,
            Class::Slow,
            Exit::Box,
            &body,
            &mut rng(3),
        );
        assert_eq!(plain.unwrap(), soon.unwrap());
        let plain = build_surb(&NETWORK, &path, Class::Slow, [1; 16], &mut rng(4)).unwrap();
        let soon = build_surb_tabled(&tables, &NETWORK, &path, Class::Slow, [1; 16], &mut rng(4));
        assert!(plain == soon.unwrap());
        tables.insert(&relays[usize::from(tabled)].hop.key);
        tables.insert(&relays[usize::from(tabled)].hop.key);
        assert_eq!(tables.len(), 2.min(usize::from(tabled) + 1), "bounded");
    }
    tables.clear();
    assert!(tables.is_empty());
}

#[test]
fn no_room_means_no_tables() {
    let mut tables = KeyTables::new(0);
    tables.insert(&relays(1, &mut rng(5))[0].hop.key);
    assert!(tables.is_empty());
}

/// A batch where nothing goes on, and one where a single packet is good: neither shares an inversion.
#[test]
fn batches_with_little_to_encode() {
    let relays = relays(2, &mut rng(6));
    let (secret, context) = (&relays[0].secret, relays[0].context());
    let (mut results, mut rng) = (Vec::new(), rng(7));
    let body = random_body(&mut rng);
    let mut make = |hops: usize| {
        let path = path(&relays[..hops]);
        build(&NETWORK, &path, Class::Fast, Exit::Box, &body, &mut rng).unwrap()
    };
    let mut ending: Vec<_> = (0..BATCH).map(|_| make(1)).collect();
    peel_batch(secret, &context, &mut ending, &mut results);
    assert!(
        results
            .iter()
            .all(|result| matches!(result, Ok((_, Peeled::Box { .. }))))
    );

    let good = make(2);
    let mut alone = good.clone();
    let wanted = peel(secret, &context, &mut alone);
    let mut packets = vec![Packet::from_slice(&[0; PACKET_LEN]).unwrap(); BATCH];
    packets[40] = good;
    peel_batch(secret, &context, &mut packets, &mut results);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results[40] == wanted && packets[40] == alone);
}
