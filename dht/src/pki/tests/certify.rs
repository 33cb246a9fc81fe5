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
