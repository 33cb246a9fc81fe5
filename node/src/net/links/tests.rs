//! The link manager alone: no sockets, no clock.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

const OWN: Id = [5; 32];
const SMALL: Id = [1; 32];
const LARGE: Id = [9; 32];

fn manager() -> LinkManager {
    LinkManager::new(OWN, 3_000, 2, [7; 32])
}

fn address(port: u16) -> Multiaddr {
    format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
}

fn want(manager: &mut LinkManager, now: u64, ids: &[Id]) {
    manager.handle_wanted(
        now,
        ids.iter()
            .map(|id| (*id, vec![address(u16::from(id[0]))]))
            .collect(),
    );
}

fn actions(manager: &mut LinkManager) -> Vec<Action> {
    std::iter::from_fn(|| manager.poll()).collect()
}

fn dialed(manager: &mut LinkManager) -> Vec<Id> {
    actions(manager)
        .into_iter()
        .filter_map(|action| match action {
            Action::Dial { id, .. } => Some(id),
            _ => None,
        })
        .collect()
}

#[test]
fn the_smaller_id_dials_first() {
    let mut manager = manager();
    want(&mut manager, 1_000, &[SMALL, LARGE, OWN]);
    assert_eq!(dialed(&mut manager), [LARGE]);
    // The smaller one has three seconds to dial us.
    manager.handle_timeout(3_999);
    assert_eq!(dialed(&mut manager), [[0; 32]; 0]);
    assert_eq!(manager.poll_timeout(), Some(4_000));
    manager.handle_timeout(4_000);
    assert_eq!(dialed(&mut manager), [SMALL]);
}

#[test]
fn who_is_connected_is_not_dialled() {
    let mut manager = manager();
    want(&mut manager, 0, &[SMALL]);
    manager.handle_connected(1_000, SMALL);
    manager.handle_timeout(60_000);
    assert_eq!(actions(&mut manager), []);
    assert_eq!(manager.poll_timeout(), None);
}

#[test]
fn a_lost_peer_is_dialled_again() {
    let mut manager = manager();
    want(&mut manager, 0, &[LARGE]);
    assert_eq!(dialed(&mut manager), [LARGE]);
    manager.handle_connected(10, LARGE);
    manager.handle_link_up(&LARGE);
    manager.handle_disconnected(5_000, LARGE);
    let at = manager.poll_timeout().unwrap();
    assert!((5_250..=5_500).contains(&at), "{at}");
    manager.handle_timeout(at);
    assert_eq!(dialed(&mut manager), [LARGE]);
}

#[test]
fn back_off_doubles_with_jitter_up_to_thirty_seconds() {
    let mut manager = manager();
    want(&mut manager, 0, &[LARGE]);
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert_eq!(dialed(&mut manager), [LARGE]);
        manager.handle_dial_failed(now, &LARGE);
        let at = manager.poll_timeout().unwrap();
        pauses.push(at - now);
        now = at;
        manager.handle_timeout(now);
    }
    for (i, pause) in pauses.iter().enumerate() {
        let full = (FIRST_PAUSE << i.min(10)).min(LAST_PAUSE);
        assert!((full / 2..=full).contains(pause), "{i}: {pause} of {full}");
    }
    // Jitter: not all at the same place of their interval.
    assert!(pauses[8..].iter().any(|pause| *pause != pauses[7]));
}

#[test]
fn a_peer_that_takes_and_drops_connections_is_backed_off() {
    let mut manager = manager();
    want(&mut manager, 0, &[LARGE]);
    let mut now = 0;
    let mut dials = 0;
    while now < 120_000 {
        dials += dialed(&mut manager).len();
        manager.handle_connected(now, LARGE);
        manager.handle_disconnected(now, LARGE);
        now = manager.poll_timeout().unwrap();
        manager.handle_timeout(now);
    }
    assert!(dials < 15, "{dials} dials in two minutes");
}

#[test]
fn a_new_address_is_tried_at_once_and_an_old_one_keeps_its_pause() {
    let mut manager = manager();
    want(&mut manager, 0, &[LARGE]);
    for now in [0, 10_000, 20_000, 30_000, 40_000] {
        manager.handle_timeout(now);
        dialed(&mut manager);
        manager.handle_dial_failed(now, &LARGE);
    }
    want(&mut manager, 40_001, &[LARGE]);
    assert_eq!(dialed(&mut manager), [[0; 32]; 0]);
    manager.handle_wanted(40_002, vec![(LARGE, vec![address(4_000)])]);
    assert_eq!(dialed(&mut manager), [LARGE]);
}

#[test]
fn a_dial_without_an_answer_is_given_up() {
    let mut manager = manager();
    want(&mut manager, 0, &[LARGE]);
    assert_eq!(dialed(&mut manager), [LARGE]);
    assert_eq!(manager.poll_timeout(), Some(DIAL_MS));
    manager.handle_timeout(DIAL_MS);
    assert!(!manager.is_dialing(&LARGE));
    let at = manager.poll_timeout().unwrap();
    manager.handle_timeout(at);
    assert_eq!(dialed(&mut manager), [LARGE]);
}

#[test]
fn at_the_caps() {
    let mut manager = LinkManager::new([0; 32], 0, 2, [7; 32]);
    let many = (0..2_000u32).map(|i| {
        let mut id = [1; 32];
        id[..4].copy_from_slice(&i.to_be_bytes());
        (id, vec![address(1); 50])
    });
    manager.handle_wanted(0, many.collect());
    assert_eq!(manager.wanted.len(), WANTED_CAP);
    assert!(
        manager
            .wanted
            .values()
            .all(|w| w.addresses.len() == ADDRESSES)
    );
    let first = dialed(&mut manager);
    assert_eq!(first.len(), DIALS);
    // Each answer makes room for one more.
    manager.handle_dial_failed(0, &first[0]);
    assert_eq!(dialed(&mut manager).len(), 1);
    manager.handle_connected(0, first[1]);
    assert_eq!(dialed(&mut manager).len(), 1);
    manager.handle_bootstrap(0, (0..200).map(address).collect());
    assert_eq!(manager.bootstrap.len(), BOOTSTRAP_CAP);
}

#[test]
fn bootstrap_is_dialled_while_few_are_connected() {
    let mut manager = manager();
    manager.handle_bootstrap(0, vec![address(1), address(2), address(2)]);
    let dials = actions(&mut manager);
    assert_eq!(dials.len(), 2);
    assert_eq!(
        dials[1],
        Action::DialBootstrap {
            index: 1,
            address: address(2)
        }
    );
    manager.handle_bootstrap_is_self(0);
    manager.handle_bootstrap_dialed(0, 1, None);
    let at = manager.poll_timeout().unwrap();
    assert!((250..=500).contains(&at));
    for i in 1..=4 {
        manager.handle_connected(1, [i; 32]);
    }
    // Enough company: no more dials, and no timer for them.
    manager.handle_timeout(at);
    assert!(
        actions(&mut manager)
            .iter()
            .all(|action| !matches!(action, Action::DialBootstrap { .. }))
    );
    manager.handle_disconnected(at + 1, [4; 32]);
    assert_eq!(
        actions(&mut manager),
        [Action::DialBootstrap {
            index: 1,
            address: address(2)
        }]
    );
    manager.handle_bootstrap_dialed(at + 2, 1, Some(LARGE));
    manager.handle_connected(at + 2, LARGE);
    manager.handle_disconnected(at + 3, LARGE);
    let again = manager.bootstrap[1].retry.at;
    assert!((at + 253..=at + 503).contains(&again));
    manager.handle_timeout(again);
    assert_eq!(
        actions(&mut manager),
        [Action::DialBootstrap {
            index: 1,
            address: address(2)
        }]
    );
}

#[test]
fn a_peer_of_another_network_is_left_alone_for_long() {
    let mut manager = manager();
    want(&mut manager, 0, &[LARGE]);
    dialed(&mut manager);
    manager.handle_connected(1, LARGE);
    manager.handle_disconnected(2, LARGE);
    manager.handle_wrong_network(2, &LARGE);
    assert_eq!(manager.poll_timeout(), Some(2 + LAST_PAUSE));
}

#[test]
fn only_connections_nobody_needs_are_pruned() {
    // High water is 2.
    let mut manager = manager();
    manager.handle_bootstrap(0, vec![address(1)]);
    manager.handle_bootstrap_dialed(0, 0, Some([11; 32]));
    want(&mut manager, 0, &[[12; 32]]);
    for i in 11..=16u8 {
        manager.handle_connected(u64::from(i), [i; 32]);
    }
    let mesh = [[13; 32]].into_iter().collect();
    actions(&mut manager);
    // Too young, all of them.
    manager.handle_timeout(PRUNE_EVERY + 20);
    assert_eq!(actions(&mut manager), [Action::Prune]);
    manager.handle_prune(PRUNE_EVERY + 20, &mesh);
    assert_eq!(actions(&mut manager), []);
    // Later: 11 is bootstrap, 12 wanted, 13 in the mesh; 14 to 16 go, oldest first, though four are above the mark.
    manager.handle_timeout(70_000);
    assert_eq!(actions(&mut manager), [Action::Prune]);
    manager.handle_prune(70_000, &mesh);
    let gone: Vec<Action> = [14u8, 15, 16]
        .map(|i| Action::Disconnect { id: [i; 32] })
        .into();
    assert_eq!(actions(&mut manager), gone);
    for i in 13..=16u8 {
        manager.handle_disconnected(70_001, [i; 32]);
    }
    manager.handle_timeout(80_000);
    assert!(!actions(&mut manager).contains(&Action::Prune));
}

#[test]
fn the_same_seed_gives_the_same_pauses() {
    let run = |seed| {
        let mut manager = LinkManager::new(OWN, 0, 2, [seed; 32]);
        want(&mut manager, 0, &[LARGE]);
        manager.handle_dial_failed(0, &LARGE);
        manager.poll_timeout()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
