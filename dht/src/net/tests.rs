//! Ids, names, and the records part without sockets.
#![allow(clippy::unwrap_used)]

use libp2p::identity::Keypair;
use libp2p::kad::store::RecordStore;

use super::*;

fn parts() -> (Overlay, Behaviour) {
    let keys = Keypair::ed25519_from_bytes([1; 32]).unwrap();
    let names = Names::new(&[0xab; 32]).unwrap();
    let behaviour = Behaviour::new(&keys, &names).unwrap();
    (Overlay::new(keys.public().to_peer_id(), names), behaviour)
}

fn add_peers(behaviour: &mut Behaviour, count: u8) {
    for i in 0..count {
        let peer = Keypair::ed25519_from_bytes([100 + i; 32])
            .unwrap()
            .public()
            .to_peer_id();
        behaviour
            .kad
            .add_address(&peer, "/ip4/127.0.0.1/tcp/7400".parse().unwrap());
    }
}

#[test]
fn ids_go_both_ways() {
    let keys = Keypair::ed25519_from_bytes([9; 32]).unwrap();
    let peer = keys.public().to_peer_id();
    let node = node_id(&peer).unwrap();
    assert_eq!(node, keys.public().try_into_ed25519().unwrap().to_bytes());
    assert_eq!(peer_id(&node), Some(peer));
    // A peer id whose key is hashed (RSA, say) has no node id.
    assert_eq!(node_id(&PeerId::random()), None);
}

#[test]
fn names_carry_the_network() {
    let names = Names::new(&[0xab; 32]).unwrap();
    assert_eq!(names.kad.as_ref(), "/murmuration/abababab/kad/1");
    assert_eq!(names.packet.as_ref(), "/murmuration/abababab/packet/1");
    assert_eq!(names.sync.as_ref(), "/murmuration/abababab/sync/1");
    assert_eq!(names.gossip, "/murmuration/abababab/meshsub");
    assert_eq!(names.topic, "records/0");
    assert_eq!(names.identify, "murmuration/abababab");
}

#[test]
fn in_a_small_network_everybody_serves_and_forgets_in_time() {
    let (mut overlay, mut behaviour) = parts();
    add_peers(&mut behaviour, 19);
    for i in 0..50 {
        overlay.serve(&mut behaviour, 1_000, [i; 32], vec![i], 500);
    }
    assert_eq!(overlay.served(), 50);
    assert_eq!(overlay.poll_timeout(), Some(1_500));
    overlay.handle_timeout(&mut behaviour, 1_499);
    assert_eq!(overlay.served(), 50);
    overlay.unserve(&mut behaviour, &[0; 32]);
    assert_eq!(overlay.served(), 49);
    overlay.handle_timeout(&mut behaviour, 1_500);
    assert_eq!(overlay.served(), 0);
    assert_eq!(behaviour.kad.store_mut().records().count(), 0);
}

#[test]
fn in_a_larger_network_only_the_nearest_serve() {
    let (mut overlay, mut behaviour) = parts();
    add_peers(&mut behaviour, 100);
    let known: usize = behaviour.kad.kbuckets().map(|b| b.num_entries()).sum();
    for i in 0..200u8 {
        overlay.serve(
            &mut behaviour,
            0,
            *blake3::hash(&[i]).as_bytes(),
            vec![i],
            1_000,
        );
    }
    // The share of keys this node serves is near 20 of all it knows.
    let expected = 200 * 20 / (known + 1);
    assert!(
        (expected / 2..expected * 2).contains(&overlay.served()),
        "{} of {expected}",
        overlay.served()
    );
    assert_eq!(
        overlay.counters().serve_skipped,
        200 - overlay.served() as u64
    );
}

#[test]
fn at_the_cap_the_first_to_expire_makes_room() {
    let (mut overlay, mut behaviour) = parts();
    let key = |i: usize| *blake3::hash(&i.to_le_bytes()).as_bytes();
    for i in 0..=SERVED_CAP {
        overlay.serve(&mut behaviour, 0, key(i), vec![1], 1_000 + i as u64);
    }
    assert_eq!(overlay.served(), SERVED_CAP);
    assert_eq!(overlay.poll_timeout(), Some(1_001));
    overlay.serve(&mut behaviour, 0, key(1), vec![0; MAX_RECORD + 1], 1_000);
    assert_eq!(overlay.counters().serve_skipped, 2);
}

#[test]
fn at_the_cap_of_bytes_the_first_to_expire_make_room() {
    let (mut overlay, mut behaviour) = parts();
    let key = |i: usize| *blake3::hash(&i.to_le_bytes()).as_bytes();
    let fit = SERVED_BYTES / MAX_RECORD;
    for i in 0..fit {
        overlay.serve(&mut behaviour, 0, key(i), vec![0; MAX_RECORD], i as u64 + 1);
    }
    assert_eq!(
        (overlay.served(), overlay.served_bytes()),
        (fit, fit * MAX_RECORD)
    );
    // The same record again is no more than the record.
    overlay.serve(
        &mut behaviour,
        0,
        key(fit - 1),
        vec![0; MAX_RECORD],
        fit as u64,
    );
    assert_eq!(
        (overlay.served(), overlay.counters().serve_skipped),
        (fit, 0)
    );
    overlay.serve(&mut behaviour, 0, key(fit), vec![0; MAX_RECORD], 1_000);
    assert_eq!(
        (overlay.served(), overlay.counters().serve_skipped),
        (fit, 1)
    );
    assert!(overlay.served_bytes() <= SERVED_BYTES);
    assert_eq!(
        overlay.poll_timeout(),
        Some(2),
        "the first to expire is gone"
    );
    overlay.handle_timeout(&mut behaviour, 1_000);
    assert_eq!((overlay.served(), overlay.served_bytes()), (0, 0));
}

#[test]
fn lookups_wait_for_a_peer_and_end_at_the_cap_and_in_time() {
    let (mut overlay, mut behaviour) = parts();
    for i in 0..300u16 {
        overlay.lookup(
            &mut behaviour,
            0,
            *blake3::hash(&i.to_le_bytes()).as_bytes(),
            false,
        );
    }
    assert_eq!(overlay.counters().lookups_shed, 44);
    let mut ended = 0;
    while let Some(Output::LookupDone { found: 0, .. }) = overlay.poll() {
        ended += 1;
    }
    assert_eq!(ended, 44);
    overlay.handle_timeout(&mut behaviour, 60_000);
    while let Some(Output::LookupDone { found: 0, .. }) = overlay.poll() {
        ended += 1;
    }
    assert_eq!(ended, 300);
}

#[test]
fn a_peer_that_claims_new_addresses_loses_the_old_ones() {
    let (_, mut behaviour) = parts();
    let peer = Keypair::ed25519_from_bytes([3; 32])
        .unwrap()
        .public()
        .to_peer_id();
    for round in 0..10u16 {
        let claimed = (1..=8)
            .map(|i| {
                format!("/ip4/127.0.0.1/tcp/{}", round * 8 + i)
                    .parse()
                    .unwrap()
            })
            .collect();
        records::learn(&mut behaviour.kad, &peer, claimed);
    }
    let known: usize = behaviour
        .kad
        .kbucket(peer)
        .unwrap()
        .iter()
        .map(|e| e.node.value.iter().count())
        .sum();
    assert_eq!(known, 8);
}
