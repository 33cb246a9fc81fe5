//! Witnesses on the mesh of `mesh`: who certifies, what a crash or a silent witness changes, and that all end the same.

use super::{
    mesh::{World, at},
    *,
};
use std::collections::BTreeSet;

impl World {
    /// All members hold a certificate and the set for an epoch, for one root of so many nodes.
    fn assert_certified(&mut self, epoch: u32, nodes: usize) {
        self.assert_one_root(epoch, nodes);
        let mut seeds = BTreeSet::new();
        for member in &mut self.members {
            let view = member.pki.epoch_view(epoch).unwrap();
            assert_eq!(view.degraded, None, "{view:?} {:?}", member.pki.counters());
            let header = *member.pki.certificate(epoch).unwrap().header();
            assert_eq!((header.root(), view.nodes), (view.root, nodes));
            seeds.insert(member.pki.store.seed(epoch + 1));
        }
        assert_eq!(seeds.len(), 1, "the seed of {} is one", epoch + 1);
    }

    /// No node has ever been accused.
    fn assert_nobody_banned(&mut self) {
        for member in &self.members {
            assert_eq!(member.pki.counters().faults, 0);
        }
    }
}

fn world(seed: u8, count: u32, loss: u32) -> World {
    let mut world = World::new(params(), seed, count, loss);
    world.witnesses();
    world
}

#[test]
fn seven_honest_nodes_certify_every_epoch_from_the_second_on() {
    let mut world = world(1, 7, 10);
    for epoch in EPOCH + 1..EPOCH + 6 {
        world.run_until(at(epoch, 0));
        world.assert_certified(epoch, 7);
        let header = *world.members[0].pki.certificate(epoch).unwrap().header();
        let named = header.previous_certificate != [0; 32];
        assert_eq!(named, epoch > EPOCH + 1, "each names the one before");
    }
    world.assert_nobody_banned();
    let seeds = world.members[0].pki.store.past().seeds();
    assert_eq!(seeds.committed_epoch(), Some(EPOCH + 6));
}

#[test]
fn one_silent_witness_changes_nothing() {
    let mut world = world(2, 7, 10);
    world.members[3].silent = true;
    for epoch in EPOCH + 1..EPOCH + 5 {
        world.run_until(at(epoch, 0));
        world.assert_certified(epoch, 7);
    }
    world.assert_nobody_banned();
}

#[test]
fn too_few_witnesses_leave_the_union_and_say_so() {
    let mut world = world(3, 7, 10);
    world.run_until(at(EPOCH + 1, 0));
    world.assert_certified(EPOCH + 1, 7);
    // Three of seven are silent: four are no quorum of seven.
    for member in &mut world.members[..3] {
        member.silent = true;
    }
    world.run_until(at(EPOCH + 2, 0));
    world.assert_one_root(EPOCH + 2, 7);
    for member in &mut world.members {
        let view = member.pki.epoch_view(EPOCH + 2).unwrap();
        assert_eq!(view.degraded, Some(Degraded::Uncertified), "{view:?}");
        assert_eq!((view.certificate, view.quorum), (None, 5));
    }
    for member in &mut world.members {
        member.silent = false;
    }
    for epoch in EPOCH + 3..EPOCH + 6 {
        world.run_until(at(epoch, 0));
        world.assert_certified(epoch, 7);
    }
    let header = *world.members[0]
        .pki
        .certificate(EPOCH + 3)
        .unwrap()
        .header();
    assert_eq!(header.previous_certificate, [0; 32]);
    world.assert_nobody_banned();
}

#[test]
fn a_late_beat_is_in_no_certified_set_and_makes_no_difference() {
    let mut world = world(4, 8, 0);
    world.members[5].late = Some(EPOCH + 2);
    world.run_until(at(EPOCH + 1, 58));
    world.assert_certified(EPOCH + 2, 7);
    let set = world.members[0].pki.directory(EPOCH + 2).unwrap();
    let late = world.members[5].node.short();
    assert!(set.by_short(&late).is_none());
    // The beat is known by then, and stays without effect.
    assert!(world.members[0].pki.store.beat(EPOCH + 2, &late).is_some());
    world.run_until(at(EPOCH + 2, 30));
    world.assert_certified(EPOCH + 2, 7);
    world.run_until(at(EPOCH + 3, 0));
    world.assert_certified(EPOCH + 3, 8);
}

#[test]
fn what_was_signed_and_lost_or_found_again_is_never_signed_twice() {
    let mut world = world(5, 7, 0);
    // It signs, but the process ends before anybody hears of it.
    world.members[2].silent = true;
    world.run_until(at(EPOCH, 58));
    let signed = world.members[2].duties.clone();
    let vote = signed.iter().find(|one| matches!(one, OwnRecord::Vote(_)));
    let vote = vote.expect("it voted").clone();
    let snapshot = world.members[2].pki.snapshot();
    // The next process finds what it signed on disk, and whatever it sees signs nothing else.
    let node = world.members[2].node.clone();
    let now = world.now;
    let mut pki = Pki::new(params(), node.id(), Caps::default(), rng(9));
    pki.set_witness(node.witness());
    for duty in signed {
        pki.publish(now, duty).unwrap();
    }
    pki.restore(now, &snapshot).unwrap();
    pki.publish(now, OwnRecord::Descriptor(node.descriptor(now, 2)))
        .unwrap();
    pki.publish(now, OwnRecord::Beat(node.beat(EPOCH + 1, 0)))
        .unwrap();
    pki.handle_timeout(now);
    assert_eq!(pki.poll_duty(), None);
    pki.publish(now, vote.clone()).unwrap();
    let OwnRecord::Vote(vote) = vote else {
        panic!()
    };
    let said = (EPOCH + 1, [9; 32], vote.presence());
    let other = Vote::sign(pki.network(), &node.key, &node.vrf(), &[0; 32], said);
    assert_eq!(
        pki.publish(now, OwnRecord::Vote(other)),
        Err(PublishError::SecondVote(EPOCH + 1))
    );
    // And what it saw certified before, it goes on with.
    assert_eq!(pki.epoch_view(EPOCH + 1).unwrap().degraded, None);
    world.members[2].pki = pki;
    world.members[2].silent = false;
    for epoch in EPOCH + 2..EPOCH + 5 {
        world.run_until(at(epoch, 0));
        world.assert_certified(epoch, 7);
    }
    world.assert_nobody_banned();
}

#[test]
fn a_restart_goes_on_certified_and_sits_out_what_it_may_have_forgotten() {
    let mut world = world(6, 7, 5);
    world.run_until(at(EPOCH + 1, 35));
    let snapshot = world.members[4].pki.snapshot();
    let node = world.members[4].node.clone();
    let mut pki = Pki::new(params(), node.id(), Caps::default(), rng(3));
    pki.set_witness(node.witness());
    pki.restore(world.now, &snapshot).unwrap();
    assert_eq!(pki.epoch_view(EPOCH + 1).unwrap().degraded, None);
    let mine = world.members[4].pki.directory(EPOCH + 1).unwrap().root();
    assert_eq!(pki.directory(EPOCH + 1).unwrap().root(), mine);
    for epoch in [EPOCH + 1, EPOCH + 2] {
        let beat = node.beat(epoch, 0);
        let _ = pki.publish(world.now, OwnRecord::Beat(beat));
    }
    world.members[4].pki = pki;
    world.members[4].duties.clear();
    world.run_until(at(EPOCH + 2, 0));
    world.assert_certified(EPOCH + 2, 7);
    // Its beats came before this process: it may have given receipts that it doesn't remember.
    assert!(world.members[4].duties.is_empty());
    world.run_until(at(EPOCH + 3, 0));
    world.assert_certified(EPOCH + 3, 7);
    assert!(!world.members[4].duties.is_empty());
    world.assert_nobody_banned();
}

#[test]
fn a_newcomer_takes_up_the_chain_from_the_pages_of_a_certified_head() {
    let mut world = world(7, 9, 0);
    world.run_until(at(EPOCH + 2, 5));
    world.join(TestNode::new(&params(), 77), at(EPOCH + 2, 5), false);
    world.witnesses();
    world.run_until(at(EPOCH + 2, 30));
    world.assert_certified(EPOCH + 2, 9);
    assert_eq!(world.members[9].pki.counters().adopted, 1);
    for epoch in EPOCH + 3..EPOCH + 5 {
        world.run_until(at(epoch, 0));
        world.assert_certified(epoch, 10);
    }
    world.assert_nobody_banned();
}

/// A witness that the proposer kept out: every honest one has held its beat long before.
#[test]
fn a_proposal_without_a_beat_that_was_held_in_time_gets_no_vote() {
    let mut world = world(8, 7, 0);
    world.run_until(epoch::cutoff(&params(), EPOCH + 1));
    let left_out = world.members[6].node.short();
    let voter = &mut world.members[0];
    let next = EPOCH + 1;
    let mut listed = voter.pki.store.listed(next);
    let at_all = listed.pairs.iter().zip(listed.keys.iter());
    let kept: Vec<_> = at_all
        .filter(|((_, beat), _)| beat.short_id() != left_out)
        .map(|(pair, key)| (pair.clone(), *key))
        .collect();
    listed.pairs = kept.iter().map(|(pair, _)| pair.clone()).collect();
    listed.keys = kept.iter().map(|(_, key)| *key).collect();
    let basis = voter.pki.store.basis(next, [], Some([0; 32]));
    let set = voter.pki.store.build(next, &listed, &basis);
    let candidates = crate::committee::Candidates::draw(&set, next);
    let committee =
        crate::committee::Committee::of(&candidates, |short| set.by_short(short).is_some());
    let seed = set.header().seed;
    let proposer = committee.proposer(&seed, 0).unwrap().short;
    let liar = world
        .members
        .iter()
        .position(|one| one.node.short() == proposer);
    let liar = liar.unwrap();
    let key = world.members[liar].node.key.clone();
    let proposal = Proposal::sign(&params().id(), &key, set.header(), 0);
    world.members[liar].silent = true;
    let now = crate::committee::view_start(&params(), next, 0);
    for member in &mut world.members {
        // They can even build it.
        member
            .pki
            .handle_bundle(now, &bundle(&[Record::Proposal(proposal.as_bytes())]));
        member.pki.held.hold(set.clone());
    }
    world.run_until(at(next, 0));
    world.assert_certified(next, 7);
    let refused = world.members.iter().map(|one| one.pki.counters().refused);
    assert!(refused.sum::<u64>() >= 5);
    let root = set.root();
    assert!(
        world
            .members
            .iter()
            .all(|one| one.duties.iter().all(|duty| match duty {
                OwnRecord::Vote(vote) => vote.root() != root,
                _ => true,
            }))
    );
}
