//! Starting, stopping and killing nodes, and the disk that connects their lives.

use rand_core::Rng;
use storage::vault::Vault;

use super::queue::Happening;
use super::{World, not_running};
use crate::core::identity::Identity;
use crate::core::{Commit, Core, CoreConfig};
use crate::error::Error;
use crate::sim::seed::stream;
use mix::time::Span;

/// Mailbox bytes a simulated node offers.
const QUOTA: u64 = 64 << 20;
/// Nodes a starting node is told about.
const BOOTSTRAPS: usize = 3;

impl World {
    /// Starts a node from its disk, or restarts it; nothing happens if it runs.
    ///
    /// # Errors
    /// What the core says of the disk, or `Internal` if there is no such node.
    pub fn start(&mut self, index: usize) -> Result<(), Error> {
        let (seed, params, profile) = (
            self.config.seed,
            self.config.params.clone(),
            self.config.profile,
        );
        let node = self
            .nodes
            .get_mut(index)
            .ok_or_else(|| not_running(index))?;
        if node.runs() {
            return Ok(());
        }
        node.lives += 1;
        let number = u64::try_from(index).unwrap_or(u64::MAX);
        let mut rng = stream(seed, "node", number, node.lives);
        let backend = node.disk.backend();
        let vault = Vault::new(node.vault_key);
        let identity = Identity::load_or_create(&backend, &vault, &mut rng)?;
        let (rates, weight) = profile.shape(&params);
        let config = CoreConfig {
            params,
            profile: profile.name().to_owned(),
            rates,
            weight,
            quota_bytes: QUOTA,
        };
        let id = identity.node_id();
        let stored = node.disk.load_keys();
        let mut core = Core::open(config, identity, backend, vault, stored, self.now, rng)?;
        if self.config.route_dice != 0 {
            let life = node.lives;
            let dice = self.config.route_dice;
            core.set_packet_dice(stream(seed, &format!("routes {dice}"), number, life));
        }
        core.handle_listen(self.now, vec![multiaddr(index)]);
        node.address = core.addresses().first().map(|own| own.address.clone());
        node.id = Some(id);
        node.core = Some(core);
        node.durable = 0;
        self.index.insert(id, index);
        self.dial_bootstraps(index);
        self.invite(index);
        self.carry(index);
        Ok(())
    }

    /// Starts every node that does not run, `gap` apart.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_all(&mut self, gap: Span) -> Result<(), Error> {
        for index in 0..self.len() {
            self.start(index)?;
            self.run_for(gap);
        }
        Ok(())
    }

    /// Stops a node as a user does: what it promised is written before the end.
    pub fn stop(&mut self, index: usize) {
        let now = self.now;
        for _ in 0..3 {
            let Some(node) = self.nodes.get_mut(index) else {
                return;
            };
            let Some(core) = node.core.as_mut() else {
                return;
            };
            if let Some(commit) = node.in_flight.take() {
                // A simulated disk fails only when a test injects it; then the promise is void.
                if node.disk.commit(&commit).is_err() {
                    break;
                }
                node.taken.synced();
                core.handle_durable(now, commit.seq);
            }
            core.close(now);
            node.in_flight = core.poll_commit();
            node.taken.written_out();
            if node.in_flight.is_none() {
                break;
            }
        }
        let events = self
            .nodes
            .get_mut(index)
            .and_then(|node| node.core.as_mut())
            .map(|core| std::iter::from_fn(|| core.poll_event()).collect::<Vec<_>>());
        self.tell(index, events.unwrap_or_default());
        self.switch_off(index);
    }

    /// Kills a node: what is not durable is gone. The commit in flight may have reached the disk or
    /// not, as a coin says.
    pub fn kill(&mut self, index: usize) {
        let survives = self.dice.disks.next_u32().is_multiple_of(2);
        self.crash(index, survives);
    }

    /// Kills a node before its disk has written anything of the commit in flight.
    pub fn kill_before_write(&mut self, index: usize) {
        self.crash(index, false);
    }

    fn crash(&mut self, index: usize, survives: bool) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if let Some(commit) = node.in_flight.take()
            && survives
            && node.disk.commit(&commit).is_ok()
        {
            node.taken.synced();
        }
        node.taken.crashed();
        self.switch_off(index);
    }

    /// Makes the disk of a node that is off forget the replay tags it holds: a broken disk, for
    /// tests of what would notice.
    pub fn forget_tags(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.disk.forget_tags();
        }
    }

    /// Whether a node runs.
    #[must_use]
    pub fn runs(&self, index: usize) -> bool {
        self.nodes
            .get(index)
            .is_some_and(super::node::SimNode::runs)
    }

    fn switch_off(&mut self, index: usize) {
        let Some(node) = self.nodes.get_mut(index) else {
            return;
        };
        if let Some(core) = node.core.take() {
            node.past.push(core.counters_view());
        }
        node.in_flight = None;
        node.wake = None;
        node.wanted.clear();
        node.served.clear();
        self.hang_up(index);
    }

    /// Hands a commit to the disk.
    pub(super) fn write(&mut self, index: usize, commit: Commit) {
        let node = &mut self.nodes[index];
        node.in_flight = Some(commit);
        node.taken.written_out();
        let sync = self.config.sync.as_micros();
        let took = Span::from_micros(sync + self.dice.disks.next_u64() % sync.max(1));
        let life = node.life(index);
        self.queue.plan(self.now + took, Happening::Durable(life));
    }

    /// The disk has written what it was given.
    pub(super) fn written(&mut self, life: super::queue::Life) {
        let now = self.now;
        let node = &mut self.nodes[life.node];
        if node.lives != life.number || node.core.is_none() {
            return;
        }
        let Some(mut commit) = node.in_flight.take() else {
            return;
        };
        let done = node.disk.commit(&commit);
        let Some(core) = node.core.as_mut() else {
            return;
        };
        if done.is_ok() {
            node.taken.synced();
            node.durable = commit.seq;
            self.metrics.commits += 1;
            core.handle_durable(now, commit.seq);
        } else {
            core.handle_disk_failure(now, &mut commit);
            node.in_flight = Some(commit);
            self.queue
                .plan(now + Span::from_secs(1), Happening::Durable(life));
        }
        self.carry(life.node);
    }

    fn dial_bootstraps(&mut self, index: usize) {
        let mut running: Vec<usize> = (0..self.len())
            .filter(|other| *other != index && self.runs(*other))
            .collect();
        for _ in 0..BOOTSTRAPS.min(running.len()) {
            let pick = self.dice.dials.next_u64() % u64::try_from(running.len()).unwrap_or(1);
            let peer = running.swap_remove(usize::try_from(pick).unwrap_or(0));
            self.dial(index, peer, Span::ZERO);
        }
    }
}

/// A multiaddr nobody dials: `/ip4/10.x.y.z/tcp/4001`, with the node's number in it.
fn multiaddr(index: usize) -> Vec<u8> {
    let [.., x, y] = index.to_be_bytes();
    vec![4, 10, 0, x, y, 6, 0x0f, 0xa1]
}
