//! Many `Pki`s on a bus that loses messages: all must end at one root, a newcomer too that hears no gossip at all.

use super::*;
use rand_core::Rng;
use std::collections::BTreeMap;

/// Gossip neighbours of each node.
const NEIGHBOURS: usize = 4;
/// Nodes a lookup reaches.
const REACH: usize = 3;

pub(super) struct Member {
    pub(super) node: TestNode,
    pub(super) pki: Pki,
    served: BTreeMap<[u8; 32], Vec<u8>>,
    joins: Moment,
    /// The next epoch it beats for, and when.
    beat: Option<(u32, Moment)>,
    pub(super) deaf: bool,
    /// Its beat of this epoch reaches nobody before the cut-off.
    pub(super) late: Option<u32>,
    /// Signed by it and not known to anybody, from oldest to newest.
    pub(super) duties: Vec<OwnRecord>,
    /// Whether it publishes what it signed.
    pub(super) silent: bool,
}

enum Event {
    Bundle {
        to: usize,
        bytes: Vec<u8>,
    },
    Found {
        to: usize,
        key: [u8; 32],
        value: Vec<u8>,
    },
    Done {
        to: usize,
        key: [u8; 32],
    },
    Asked {
        from: usize,
        to: usize,
        sync: SyncRequest,
    },
    Answered {
        to: usize,
        from: usize,
        token: u64,
        bytes: Option<Vec<u8>>,
    },
}

pub(super) struct World {
    params: Arc<NetworkParams>,
    pub(super) members: Vec<Member>,
    pub(super) now: Moment,
    rng: ChaCha20Rng,
    pub(super) loss: u32,
    events: BTreeMap<(Moment, u64), Event>,
    count: u64,
    lookups: u64,
    /// Whether neighbours answer requests to reconcile.
    syncs: bool,
    /// Whether lookups find pages; heads they always find.
    pages: bool,
}

impl World {
    pub(super) fn new(params: Arc<NetworkParams>, seed: u8, count: u32, loss: u32) -> Self {
        let mut world = Self {
            params: params.clone(),
            members: Vec::new(),
            now: epoch::start_of(&params, EPOCH),
            rng: rng(seed),
            loss,
            events: BTreeMap::new(),
            count: 0,
            lookups: 0,
            syncs: true,
            pages: true,
        };
        for node in nodes(&params, count) {
            let joins = world.now + Span::from_millis(u64::from(world.rng.next_u32() % 5_000));
            world.join(node, joins, false);
        }
        world
    }

    pub(super) fn join(&mut self, node: TestNode, joins: Moment, deaf: bool) {
        let mut seed = [9; 32];
        self.rng.fill_bytes(&mut seed[..8]);
        let rng = <ChaCha20Rng as rand_core::SeedableRng>::from_seed(seed);
        let pki = Pki::new(self.params.clone(), node.id(), Caps::default(), rng);
        self.members.push(Member {
            node,
            pki,
            served: BTreeMap::new(),
            joins,
            beat: None,
            deaf,
            late: None,
            duties: Vec::new(),
            silent: false,
        });
    }

    pub(super) fn run_until(&mut self, end: Moment) {
        loop {
            let event = self.events.keys().next().map(|(at, _)| *at);
            let timers = self.members.iter().filter_map(Member::due);
            let Some(next) = timers.chain(event).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some((key, _)) = self.events.first_key_value()
                && key.0 <= self.now
            {
                let (_, event) = self.events.pop_first().unwrap();
                self.deliver(event);
            }
            for at in 0..self.members.len() {
                if self.members[at].due().is_some_and(|due| due <= self.now) {
                    self.members[at].wake(self.now);
                    self.drain(at);
                }
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Bundle { to, bytes } => {
                if self.members[to].joins > now || self.members[to].deaf {
                    return;
                }
                if self.members[to].pki.handle_bundle(now, &bytes) == Verdict::Accept {
                    self.gossip(to, &bytes);
                }
                self.drain(to);
            }
            Event::Found { to, key, value } => {
                self.members[to].pki.handle_record(now, &key, &value);
                self.drain(to);
            }
            Event::Asked { from, to, sync } => {
                let asker = self.members[from].node.id();
                let runs = self.members[to].joins <= now && self.syncs;
                let bytes = (runs && !self.lost())
                    .then(|| {
                        let pki = &mut self.members[to].pki;
                        pki.handle_sync_request(now, &asker, &sync.request)
                    })
                    .flatten();
                self.drain(to);
                let token = sync.token;
                let answered = Event::Answered {
                    to: from,
                    from: to,
                    token,
                    bytes,
                };
                self.later(60, answered);
            }
            Event::Answered {
                to,
                from,
                token,
                bytes,
            } => {
                let id = self.members[from].node.id();
                let pki = &mut self.members[to].pki;
                match bytes {
                    Some(bytes) => {
                        pki.handle_sync_response(now, token, &id, &bytes);
                    }
                    None => pki.handle_sync_failed(now, token),
                }
                self.drain(to);
            }
            Event::Done { to, key } => {
                self.members[to].pki.handle_lookup_done(now, &key);
                self.drain(to);
            }
        }
    }

    /// Makes all members witnesses, who share the work of checking signatures.
    pub(super) fn witnesses(&mut self) {
        let checks = Checks::new(10_000);
        for member in &mut self.members {
            member.pki.share_checks(checks.clone());
            member.pki.set_witness(member.node.witness());
        }
    }

    fn drain(&mut self, at: usize) {
        while let Some(duty) = self.members[at].pki.poll_duty() {
            self.members[at].duties.push(duty.clone());
            if !self.members[at].silent {
                self.members[at].pki.publish(self.now, duty).unwrap();
            }
        }
        while let Some(bytes) = self.members[at].pki.poll_bundle() {
            self.gossip(at, &bytes);
        }
        while let Some((key, value)) = self.members[at].pki.poll_serve() {
            self.members[at].served.insert(key, value);
        }
        while let Some(key) = self.members[at].pki.poll_lookup() {
            self.lookup(at, key);
        }
        while let Some(sync) = self.members[at].pki.poll_sync() {
            self.ask(at, sync);
        }
    }

    /// A request goes to whom it names, or to a member it doesn't rule out.
    fn ask(&mut self, from: usize, sync: SyncRequest) {
        let fits = |at: &usize| {
            let id = self.members[*at].node.id();
            *at != from
                && match &sync.peer {
                    SyncPeer::This(peer) => *peer == id,
                    SyncPeer::Any { but, .. } => !but.contains(&id),
                }
        };
        let among: Vec<usize> = (0..self.members.len()).filter(fits).collect();
        let lot = match &sync.peer {
            SyncPeer::Any { lot, .. } => *lot as usize,
            SyncPeer::This(_) => 0,
        };
        let Some(to) = lot.checked_rem(among.len()).map(|place| among[place]) else {
            return self.members[from]
                .pki
                .handle_sync_failed(self.now, sync.token);
        };
        self.later(20, Event::Asked { from, to, sync });
    }

    fn gossip(&mut self, from: usize, bytes: &[u8]) {
        for step in 1..=NEIGHBOURS {
            let to = (from + step * step) % self.members.len();
            if to != from && !self.lost() {
                self.later(
                    20,
                    Event::Bundle {
                        to,
                        bytes: bytes.to_vec(),
                    },
                );
            }
        }
    }

    /// A few random nodes are asked; each answers if it serves the key.
    fn lookup(&mut self, from: usize, key: [u8; 32]) {
        self.lookups += 1;
        let mut found: Vec<Vec<u8>> = Vec::new();
        for _ in 0..REACH {
            let asked = self.rng.next_u32() as usize % self.members.len();
            let served = self.members[asked].served.get(&key).cloned();
            let served = served.filter(|value| self.pages || Head::decode(value).is_ok());
            if asked != from
                && !self.lost()
                && let Some(value) = served
                && !found.contains(&value)
            {
                found.push(value);
            }
        }
        for value in found {
            self.later(
                60,
                Event::Found {
                    to: from,
                    key,
                    value,
                },
            );
        }
        self.later(120, Event::Done { to: from, key });
    }

    fn later(&mut self, base_ms: u64, event: Event) {
        self.count += 1;
        let at = self.now + Span::from_millis(base_ms + u64::from(self.rng.next_u32() % 30));
        self.events.insert((at, self.count), event);
    }

    fn lost(&mut self) -> bool {
        self.rng.next_u32() % 100 < self.loss
    }

    pub(super) fn roots(&mut self, epoch: u32) -> Vec<Option<([u8; 32], usize)>> {
        let view = |member: &mut Member| {
            member
                .pki
                .directory(epoch)
                .map(|set| (set.root(), set.len()))
        };
        self.members.iter_mut().map(view).collect()
    }

    pub(super) fn assert_one_root(&mut self, epoch: u32, nodes: usize) {
        let roots = self.roots(epoch);
        let sizes: Vec<_> = roots.iter().map(|view| view.map(|(_, len)| len)).collect();
        assert!(
            roots.iter().all(|view| *view == roots[0]),
            "epoch {epoch}: {sizes:?}"
        );
        assert_eq!(sizes[0], Some(nodes), "epoch {epoch}");
    }
}

impl Member {
    fn due(&self) -> Option<Moment> {
        if self.pki.current.is_none() {
            return Some(self.joins);
        }
        self.pki
            .poll_timeout()
            .into_iter()
            .chain(self.beat.map(|(_, at)| at))
            .min()
    }

    /// What a node's core does: a descriptor and a beat at once on joining, then one beat per epoch in its window.
    fn wake(&mut self, now: Moment) {
        let epoch = epoch::epoch_at(&self.node.params, now);
        if self.pki.current.is_none() {
            self.pki
                .publish(now, OwnRecord::Descriptor(self.node.descriptor(now, 1)))
                .unwrap();
            self.pki
                .publish(now, OwnRecord::Beat(self.node.beat(epoch, 0)))
                .unwrap();
            self.beat = Some(self.beat_for(epoch + 1, now));
        } else if let Some((next, at)) = self.beat
            && at <= now
        {
            self.pki
                .publish(now, OwnRecord::Beat(self.node.beat(next, 0)))
                .unwrap();
            self.beat = Some(self.beat_for(next + 1, now));
        }
        self.pki.handle_timeout(now);
    }

    fn beat_for(&self, epoch: u32, now: Moment) -> (u32, Moment) {
        if self.late == Some(epoch) {
            let cutoff = epoch::cutoff(&self.node.params, epoch);
            return (epoch, cutoff + Span::from_secs(6));
        }
        let due = epoch::beat_due(
            &self.node.params,
            epoch,
            &mut rng((self.node.number + epoch) as u8),
        );
        (epoch, due.max(now))
    }
}

pub(super) fn at(epoch: u32, seconds: u64) -> Moment {
    epoch::start_of(&params(), epoch) + Span::from_secs(seconds)
}

#[test]
fn twenty_nodes_and_a_deaf_newcomer_end_at_one_root() {
    let mut world = World::new(params(), 1, 20, 30);
    world.run_until(at(EPOCH, 40));
    world.assert_one_root(EPOCH, 20);
    world.run_until(at(EPOCH + 1, 5));
    world.assert_one_root(EPOCH + 1, 20);

    // The newcomer hears no gossip: what it knows it has from lookups. Its own beat joins the running epoch.
    world.join(TestNode::new(&params(), 77), at(EPOCH + 1, 10), true);
    world.run_until(at(EPOCH + 1, 45));
    world.assert_one_root(EPOCH + 1, 21);
    world.run_until(at(EPOCH + 2, 20));
    world.assert_one_root(EPOCH + 2, 21);
    assert!(world.members[20].pki.counters().fetched > 0);
    let before = world.lookups;
    world.run_until(at(EPOCH + 3, 20));
    world.assert_one_root(EPOCH + 3, 21);
    let each = (world.lookups - before) / 21;
    assert!(each < 60, "lookups stay few: {each} per node and epoch");
}

#[test]
fn the_short_epochs_of_the_demo_suffice() {
    let params = Arc::new(NetworkParams::demo(Moment::from_millis(1_800_000_000_000)));
    let at = |epoch: u32, seconds: u64| epoch::start_of(&params, epoch) + Span::from_secs(seconds);
    let mut world = World::new(params.clone(), 6, 20, 10);
    world.run_until(at(EPOCH, 12));
    world.assert_one_root(EPOCH, 20);
    for epoch in EPOCH + 1..EPOCH + 6 {
        world.run_until(at(epoch, 0));
        world.assert_one_root(epoch, 20);
    }
}

#[test]
fn with_gossip_dead_lookups_alone_converge() {
    let mut world = World::new(params(), 2, 12, 10);
    world.syncs = false;
    for member in &mut world.members {
        member.deaf = true;
    }
    // Nobody hears anybody, but lookups reach who serves: sets spread by union.
    world.run_until(at(EPOCH, 55));
    world.assert_one_root(EPOCH, 12);
}

#[test]
fn reconciliation_alone_converges_too() {
    // No gossip and no pages: heads say that there is a difference, neighbours what it is.
    let set_of_most = |syncs| {
        let mut world = World::new(params(), 8, 16, 10);
        (world.syncs, world.pages) = (syncs, false);
        for member in &mut world.members {
            member.deaf = true;
        }
        world.run_until(at(EPOCH, 55));
        let sizes = world.roots(EPOCH).into_iter().flatten().map(|(_, len)| len);
        (sizes.max(), world)
    };
    let (_, mut world) = set_of_most(true);
    world.assert_one_root(EPOCH, 16);
    assert_eq!(
        set_of_most(false).0,
        Some(1),
        "nothing else carries records"
    );
}

#[test]
fn a_newcomer_knows_the_set_within_seconds() {
    let mut world = World::new(params(), 3, 20, 0);
    world.run_until(at(EPOCH, 30));
    world.join(TestNode::new(&params(), 50), at(EPOCH, 30), true);
    world.run_until(at(EPOCH, 33));
    assert!(world.members[20].pki.directory(EPOCH).unwrap().len() >= 20);
}

#[test]
fn the_same_seed_repeats_bit_for_bit() {
    let run = |seed| {
        let mut world = World::new(params(), seed, 12, 40);
        world.run_until(at(EPOCH + 1, 20));
        let counters: Vec<_> = world
            .members
            .iter()
            .map(|member| *member.pki.counters())
            .collect();
        (world.roots(EPOCH + 1), world.count, world.lookups, counters)
    };
    assert_eq!(run(4), run(4));
    assert_ne!(run(4).1, run(5).1);
}
