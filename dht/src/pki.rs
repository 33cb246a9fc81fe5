//! The PKI as a sans-IO state machine: records in by gossip and lookups, one directory per epoch out.
//!
//! The open set of an epoch is every valid beat known for it; once witnesses have certified a set, that one holds. The rooms: `store`
//! keeps and checks records, `certify` makes and follows certificates, `faults` keeps proofs, `held` sets by their root, `sync` asks
//! neighbours, `announce` repeats our own records, `lookup` decides what to ask Kademlia for, `serve` what to answer, `snapshot`
//! what survives a restart. SPEC.md §11.

use crate::{
    beat::Beat,
    bundle::{self, Record},
    certificate::{Proposal, Vote},
    checks::{Checks, Memo},
    counters::{Counters, DropReason, Verdict},
    descriptor::Descriptor,
    directory::Directory,
    epoch,
    id::{Cell, NodeId, short_id},
    network::NetworkParams,
    page::{self, Entries, Head, Page},
};
use mix::{NetworkId, ShortId, time::Moment};
use rand_chacha::ChaCha20Rng;
use std::sync::Arc;

mod announce;
mod certify;
mod evidence;
mod faults;
mod held;
mod lookup;
mod newcomer;
mod serve;
mod snapshot;
mod store;
mod sync;

use announce::{Announce, News};
use certify::Certify;
pub use certify::{Degraded, EpochView, WitnessKeys};
use faults::{Faults, Receipts};
use held::HeldSets;
use lookup::{Lookups, Wanted};
use newcomer::Newcomer;
pub use newcomer::{Joined, Progress};
use serve::Serve;
pub use snapshot::SnapshotError;
use store::{Outcome, Store};
use sync::Sync;
pub use sync::{MAX_SYNC_LEN, SyncPeer, SyncRequest};

/// What a stranger can make grow, and how far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Nodes known, by descriptor. When full, one that has no beat in a kept epoch gives way (longest unheard first), never our
    /// own; if there is none, the newcomer is refused.
    pub nodes: usize,
    /// Beats kept until their descriptor arrives. When full, the oldest gives way.
    pub parked: usize,
    /// Changes of one descriptor taken within one epoch.
    pub changes_per_epoch: u8,
    /// Records to gossip onwards. When full, further ones aren't.
    pub relay: usize,
    /// Lookups asked for and not yet done.
    pub lookups: usize,
    /// Foreign roots whose pages are fetched at the same time. Further ones are left for the next head lookup.
    pub fetches: usize,
    /// Foreign roots remembered as fetched or given up. When full, the oldest is forgotten.
    pub fetched: usize,
    /// Reconciliations of ours at the same time. Further ones wait.
    pub syncs: usize,
    /// Peers whose requests to reconcile are counted apart. Further ones aren't answered until others have rested.
    pub sync_peers: usize,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            nodes: 8_192,
            parked: 1_024,
            changes_per_epoch: 4,
            relay: 256,
            lookups: 8,
            fetches: 4,
            fetched: 64,
            syncs: 3,
            sync_peers: 1_024,
        }
    }
}

/// A record of our own. Hand it over only after it is on disk: there is one beat per node and epoch, ever.
// Made twice an epoch and moved once: not worth a box.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OwnRecord {
    /// Our descriptor; a higher `seq` replaces the one before.
    Descriptor(Descriptor),
    /// Our beat of one epoch. The descriptor must have been published before.
    Beat(Beat),
    /// Our proposal, from [`Pki::poll_duty`].
    Proposal(Proposal),
    /// Our vote, from [`Pki::poll_duty`].
    Vote(Vote),
}

/// Why a record of our own is refused: our caller's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Signed by another identity, or not at all.
    #[error("the record is not signed by this node")]
    NotOurs,
    /// Another beat of ours is known for this epoch; wait for the next epoch.
    #[error("a different beat of this node exists for epoch {0}")]
    SecondBeat(u32),
    /// Another proposal of ours is known for this epoch.
    #[error("a different proposal of this node exists for epoch {0}")]
    SecondProposal(u32),
    /// Another vote of ours is known for this epoch.
    #[error("a different vote of this node exists for epoch {0}")]
    SecondVote(u32),
    /// An epoch that is over or too far ahead.
    #[error("epoch {0} is not open")]
    Epoch(u32),
    /// A beat before any descriptor.
    #[error("publish the descriptor before the first beat")]
    NoDescriptor,
    /// A descriptor without the proof of work that the network asks for: see [`crate::admission`].
    #[error("the descriptor lacks the proof of work that this network asks for")]
    Admission,
    /// A descriptor with a lower or equal `seq` than the one known, or not valid now.
    #[error("the descriptor is outdated or not valid now")]
    Descriptor,
}

/// One node's view of who there is.
///
/// Order of calls: feed it with [`handle_bundle`](Self::handle_bundle), [`handle_record`](Self::handle_record),
/// [`handle_lookup_done`](Self::handle_lookup_done) and [`publish`](Self::publish); call
/// [`handle_timeout`](Self::handle_timeout) when [`poll_timeout`](Self::poll_timeout) has come; after any of these drain
/// [`poll_bundle`](Self::poll_bundle), [`poll_lookup`](Self::poll_lookup) and [`poll_serve`](Self::poll_serve), and if
/// [`changed`](Self::changed) says so, take the [`directory`](Self::directory) anew. Time may jump in both directions.
#[derive(Debug)]
pub struct Pki {
    params: Arc<NetworkParams>,
    network: NetworkId,
    own: NodeId,
    own_short: ShortId,
    now: Moment,
    /// The epoch of `now`; `None` before the first call.
    current: Option<u32>,
    counters: Counters,
    rng: ChaCha20Rng,
    store: Store,
    announce: Announce,
    lookups: Lookups,
    serve: Serve,
    sync: Sync,
    certify: Certify,
    held: HeldSets,
    faults: Faults,
    receipts: Receipts,
    /// While it is there, we aren't.
    newcomer: Option<Newcomer>,
    joined: Option<Joined>,
}

/// What became of several records that came together.
#[derive(Debug)]
struct Taken {
    /// What was new.
    new: Vec<News>,
    /// Whether every record was checked, now or before in the same bytes.
    vouched: bool,
    /// Whether one of them could only come from a liar; those behind it weren't looked at.
    forged: bool,
}

impl Taken {
    fn verdict(&self) -> Verdict {
        match (self.forged, self.new.is_empty()) {
            (true, _) => Verdict::Reject,
            (false, true) => Verdict::Ignore,
            (false, false) => Verdict::Accept,
        }
    }
}

impl Pki {
    /// A view that knows nobody yet. The genesis seed comes from the parameters. `rng` draws the order of page lookups, jitter
    /// and salts.
    pub fn new(params: Arc<NetworkParams>, own: NodeId, caps: Caps, rng: ChaCha20Rng) -> Self {
        let network = params.id();
        let own_short = short_id(&network, &own);
        Self {
            network,
            own,
            own_short,
            now: Moment(0),
            current: None,
            counters: Counters::default(),
            rng,
            store: Store::new(params.clone(), network, own_short, caps),
            announce: Announce::new(caps.relay),
            lookups: Lookups::new(&params, caps),
            serve: Serve::default(),
            sync: Sync::new(&params, &caps),
            certify: Certify::default(),
            held: HeldSets::default(),
            faults: Faults::new(&params),
            receipts: Receipts::default(),
            newcomer: None,
            joined: None,
            params,
        }
    }

    /// Shares a memory of verified signatures with other nodes of this process: for tests and simulations, where it saves time
    /// and changes nothing else. See [`Checks`].
    pub fn share_checks(&mut self, checks: Arc<Checks>) {
        self.store.share(Memo(Some(checks)));
    }

    /// Takes a gossip message, ≤ 64 records. Records known already cost no signature check. The verdict is for the gossip layer;
    /// it never depends on which check failed beyond what [`DropReason::blames_sender`] says.
    pub fn handle_bundle(&mut self, now: Moment, bytes: &[u8]) -> Verdict {
        self.advance(now);
        let (cell, records) = match bundle::decode(bytes) {
            Ok(decoded) => decoded,
            Err(reason) => return self.drop(reason),
        };
        if cell != Cell::WHOLE {
            return self.drop(DropReason::Network);
        }
        self.take_bundle(&records)
    }

    /// Takes a value that a Kademlia lookup found under `key`. What isn't a head or page of that key, or isn't wanted, is
    /// dropped; what is, is unpacked into records that are checked one by one.
    pub fn handle_record(&mut self, now: Moment, key: &[u8; 32], bytes: &[u8]) -> Verdict {
        self.advance(now);
        if let Some(verdict) = self.find_the_way(key, bytes) {
            return verdict;
        }
        let result = match self.lookups.wanted(key) {
            Some(Wanted::Head { epoch }) => self.take_head(key, epoch, bytes),
            Some(Wanted::Page { root, .. }) => self.take_page(key, &root, bytes),
            Some(Wanted::Certificate { .. }) => self.take_certificate(bytes).map(|new| {
                if new {
                    Verdict::Accept
                } else {
                    Verdict::Ignore
                }
            }),
            Some(Wanted::Bans { hash }) => self.take_bans(&hash, bytes),
            None => Err(DropReason::Unwanted),
        };
        result.unwrap_or_else(|reason| self.drop(reason))
    }

    /// A lookup has ended, with or without values. Without this call it counts as ended after a while.
    pub fn handle_lookup_done(&mut self, now: Moment, key: &[u8; 32]) {
        self.advance(now);
        self.lookups.done(key);
        if let Some(newcomer) = &mut self.newcomer {
            newcomer.done(self.now, key);
        }
    }

    /// Takes a record of our own, after it is durable, and gossips it: at once, then a few times more with growing pauses, so
    /// that neighbours who were not there yet learn it.
    ///
    /// # Errors
    /// [`PublishError`] on what no correct caller does. The same record twice is no error.
    pub fn publish(&mut self, now: Moment, record: OwnRecord) -> Result<(), PublishError> {
        self.advance(now);
        match record {
            OwnRecord::Descriptor(descriptor) => {
                self.publish_descriptor(descriptor)?;
                self.announce.restart(self.now);
            }
            OwnRecord::Beat(beat) => {
                let epoch = beat.epoch();
                self.publish_beat(beat)?;
                self.announce.fresh(epoch);
                self.announce.restart(self.now);
            }
            // These have repetitions of their own.
            OwnRecord::Proposal(proposal) => self.publish_proposal(proposal)?,
            OwnRecord::Vote(vote) => self.publish_vote(vote)?,
        }
        Ok(())
    }

    /// Gossips our current records again soon: call it when the first gossip peers appear.
    pub fn announce(&mut self, now: Moment) {
        self.advance(now);
        self.announce.restart(self.now);
    }

    /// The next bundle to gossip, at most [`bundle::MAX_BUNDLE_LEN`] bytes.
    pub fn poll_bundle(&mut self) -> Option<Vec<u8>> {
        self.announce.poll()
    }

    /// The next key to look up by Kademlia: head records (up to 3 distinct values are useful) and pages (one is). Answers go to
    /// [`handle_record`](Self::handle_record), the end to [`handle_lookup_done`](Self::handle_lookup_done).
    pub fn poll_lookup(&mut self) -> Option<[u8; 32]> {
        if let Some(newcomer) = &mut self.newcomer
            && let Some(key) = newcomer.poll(self.now, &mut self.rng)
        {
            return Some(key);
        }
        self.lookups.poll(self.now)
    }

    /// The next record this node must serve to lookups, replacing what it served under that key. Keep each for
    /// [`serve_for`](Self::serve_for). Heads come after the pages they point at.
    pub fn poll_serve(&mut self) -> Option<([u8; 32], Vec<u8>)> {
        self.serve.poll()
    }

    /// How long a served record is kept unless replaced: two epochs.
    pub fn serve_for(&self) -> mix::time::Span {
        mix::time::Span::from_millis(self.params.epoch_ms.saturating_mul(2))
    }

    /// The set of an epoch: the previous, current or next one. Built when asked for after a change, then shared. `None` for other
    /// epochs, before any beat is known, and for a newcomer that isn't there yet.
    pub fn directory(&mut self, epoch: u32) -> Option<Arc<Directory>> {
        if self.newcomer.is_some() {
            return None;
        }
        self.store.directory(epoch)
    }

    /// Whether a directory changed since this was last asked.
    pub fn changed(&mut self) -> bool {
        self.store.take_changed()
    }

    /// Who a short id is and where: its identity and binary multiaddrs. Also for nodes without a beat in any kept epoch.
    pub fn known(&self, short: &ShortId) -> Option<(NodeId, &[Vec<u8>])> {
        let descriptor = self.store.descriptor(short)?;
        Some((descriptor.id(), &descriptor.fields().addresses))
    }

    /// Everyone known, for a restart: who to dial.
    pub fn peers(&self) -> impl Iterator<Item = (ShortId, NodeId, &[Vec<u8>])> {
        self.store
            .descriptors()
            .filter(|(short, _)| **short != self.own_short)
            .map(|(short, descriptor)| {
                (
                    *short,
                    descriptor.id(),
                    descriptor.fields().addresses.as_slice(),
                )
            })
    }

    /// Our own beat of an epoch, if published or learned back from others after lost state: then there must not be another.
    pub fn own_beat(&self, epoch: u32) -> Option<&Arc<Beat>> {
        self.store.beat(epoch, &self.own_short)
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next. `None` only before the first call of any `handle_*`:
    /// call it once at the start.
    pub fn poll_timeout(&self) -> Option<Moment> {
        let current = self.current?;
        let turn = [
            epoch::start_of(&self.params, current.saturating_add(1)),
            epoch::cutoff(&self.params, current.saturating_add(1)),
        ];
        let always = turn
            .into_iter()
            .filter(|at| *at > self.now)
            .chain(self.announce.timeout())
            .chain(self.lookups.timeout());
        if let Some(newcomer) = &self.newcomer {
            return always.chain(newcomer.timeout()).min();
        }
        let targets = self.targets(current);
        always
            .chain(self.sync.timeout())
            .chain(self.serve.timeout(self.now, &targets, &self.store))
            .chain(self.certify.timeout(self.now))
            .min()
    }

    /// Turns epochs, repeats own records, asks for heads, renews what is served.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.advance(now);
        let Some(current) = self.current else { return };
        // A newcomer has no set to judge others by.
        if self.newcomer.is_none() {
            self.fire_certify();
        }
        self.announce.fire(
            self.now,
            current,
            &self.params,
            &self.store,
            self.own_short,
            &mut self.rng,
        );
        let targets = self.targets(current);
        self.lookups.fire(
            self.now,
            &targets,
            &self.network,
            &self.store,
            &mut self.rng,
        );
        if let Some(newcomer) = &mut self.newcomer {
            // It has nothing yet that others could want, nor anything to compare with theirs.
            newcomer.fire(self.now);
            return;
        }
        self.serve.fire(self.now, &targets, &mut self.store);
        self.fire_syncs();
    }

    /// Begins as a newcomer that trusts one root: from a contact's address, a release or the network's file. Until the certified
    /// present is reached by lookups there is no directory; after it, [`joined`](Self::joined).
    pub fn join(&mut self, now: Moment, root: [u8; 32]) {
        let mut newcomer = Newcomer::new(&self.params, root, self.store.caps());
        self.advance(now);
        newcomer.turn(self.now, self.current.unwrap_or(0));
        self.newcomer = Some(newcomer);
    }

    /// How far the way in is; `None` for who isn't on it.
    pub fn progress(&self) -> Option<Progress> {
        self.newcomer.as_ref().map(Newcomer::progress)
    }

    /// Whether this node trusts a root from elsewhere, and nothing that doesn't follow from it.
    fn came_by_root(&self) -> bool {
        self.newcomer.is_some() || self.joined.is_some()
    }

    /// What the way in led to.
    pub fn joined(&self) -> Option<&Joined> {
        self.joined.as_ref()
    }

    /// Whether nobody has shown us the network yet: a newcomer on its way, or a node to which lookups have never brought a head.
    /// Gossip alone changes nothing about it.
    pub fn behind(&self) -> bool {
        self.newcomer.is_some() || (self.joined.is_none() && !self.sync.introduced())
    }

    /// Gives a value to the newcomer; `None` if it isn't for it.
    fn find_the_way(&mut self, key: &[u8; 32], bytes: &[u8]) -> Option<Verdict> {
        let newcomer = self.newcomer.as_mut()?;
        let result = newcomer.take(self.now, key, bytes)?;
        if result.is_ok() {
            self.counters.fetched += 1;
        }
        if let Some(joined) = newcomer.joined() {
            self.newcomer = None;
            self.sync.introduce();
            for entry in joined.directory.nodes() {
                let records = [
                    Record::Descriptor(entry.descriptor().as_bytes()),
                    Record::Beat(entry.beat().as_bytes()),
                ];
                // Of an epoch that is over only the descriptor is taken.
                self.take(&records);
            }
            if let Some(seeds) = joined.seeds {
                self.store.restore_seeds(seeds);
            }
            self.adopt(joined.directory.clone(), joined.certificate.clone());
            self.joined = Some(joined);
        }
        Some(result.unwrap_or_else(|reason| self.drop(reason)))
    }

    /// Counts since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The network id.
    pub fn network(&self) -> &NetworkId {
        &self.network
    }

    /// The network's parameters.
    pub fn params(&self) -> &Arc<NetworkParams> {
        &self.params
    }

    /// Our own identity and short id.
    pub fn own(&self) -> (NodeId, ShortId) {
        (self.own, self.own_short)
    }

    /// The epochs that are looked up and served: the current one, and the next after its cut-off.
    fn targets(&self, current: u32) -> Vec<u32> {
        let next = current.saturating_add(1);
        if self.now >= epoch::cutoff(&self.params, next) {
            vec![current, next]
        } else {
            vec![current]
        }
    }

    fn advance(&mut self, now: Moment) {
        self.now = now;
        let epoch = epoch::epoch_at(&self.params, now);
        if self.current != Some(epoch) {
            self.current = Some(epoch);
            self.store.turn(epoch);
            self.lookups.turn(now, epoch, &mut self.rng);
            self.serve.turn(epoch);
            self.sync.turn(now, epoch, &self.params, &mut self.rng);
            self.held
                .turn(|of| of.saturating_add(1) >= epoch && of <= epoch.saturating_add(1));
            self.faults.turn(epoch);
            self.receipts.turn(epoch);
            self.certify.turn(now, epoch);
            self.bans_changed();
            let certified = self.store.past().certified(epoch).is_some();
            self.counters.uncertified += u64::from(!certified);
            if let Some(newcomer) = &mut self.newcomer {
                newcomer.turn(now, epoch);
            }
        }
    }

    fn drop(&mut self, reason: DropReason) -> Verdict {
        self.counters.drop(reason);
        if reason.blames_sender() {
            Verdict::Reject
        } else {
            Verdict::Ignore
        }
    }

    /// Takes a gossiped bundle. It is forwarded as it is only if this node vouches for all of it: a record that was merely
    /// parked, or dropped before its signature was looked at, may be forged, and whoever can check it would blame us. What is
    /// new in such a bundle goes out in one of our own.
    fn take_bundle(&mut self, records: &[Record<'_>]) -> Verdict {
        let taken = self.take(records);
        if taken.new.is_empty() || (taken.vouched && !taken.forged) {
            return taken.verdict();
        }
        for news in taken.new {
            self.announce.relay(self.now, news);
        }
        if taken.forged {
            Verdict::Reject
        } else {
            Verdict::Ignore
        }
    }

    /// Takes records until one is plainly forged.
    fn take(&mut self, records: &[Record<'_>]) -> Taken {
        let mut taken = Taken {
            new: Vec::new(),
            vouched: true,
            forged: false,
        };
        for record in records {
            let outcome = match record {
                Record::Descriptor(bytes) => {
                    self.store
                        .insert_descriptor(self.now, bytes, &mut self.counters)
                }
                Record::Beat(bytes) => self.store.insert_beat(self.now, bytes, &mut self.counters),
                Record::Proposal(bytes) => self.take_proposal(bytes),
                Record::Vote(bytes) => self.take_vote(bytes),
                Record::Fault(bytes) => self.take_fault(bytes),
            };
            taken.vouched &= matches!(outcome, Outcome::New | Outcome::Seen);
            match outcome {
                Outcome::New => {
                    self.certify.records_came();
                    taken.new.extend(self.named(record));
                }
                Outcome::Seen | Outcome::Unchecked => self.counters.seen += 1,
                Outcome::Parked(epoch) => {
                    self.counters.parked += 1;
                    self.lookups.hurry(self.now, epoch);
                }
                Outcome::Dropped(reason) => {
                    if self.drop(reason) == Verdict::Reject {
                        taken.forged = true;
                        break;
                    }
                }
            }
        }
        for beat in self.store.take_resolved() {
            let news = News::Node(beat.short_id(), Some(beat));
            self.announce.relay(self.now, news);
        }
        self.accuse_equivocators();
        taken
    }

    /// What is kept of a record that was new.
    fn named(&self, record: &Record<'_>) -> Option<News> {
        match record {
            Record::Descriptor(bytes) => {
                let id = Descriptor::decode(bytes).ok()?.id();
                Some(News::Node(short_id(&self.network, &id), None))
            }
            Record::Beat(bytes) => {
                let (epoch, short) = Beat::peek(*bytes)?;
                let beat = self.store.beat(epoch, &short)?.clone();
                Some(News::Node(short, Some(beat)))
            }
            Record::Proposal(bytes) => {
                let proposal = Proposal::decode(*bytes).ok()?;
                Some(News::Proposal(Box::new(proposal)))
            }
            Record::Vote(bytes) => Some(News::Vote(Box::new(Vote::decode(*bytes).ok()?))),
            Record::Fault(bytes) => Some(News::Fault(Arc::from(*bytes))),
        }
    }

    fn take_head(
        &mut self,
        key: &[u8; 32],
        epoch: u32,
        bytes: &[u8],
    ) -> Result<Verdict, DropReason> {
        let head = Head::decode(bytes)?;
        let header = &head.header;
        if head.key() != *key {
            return Err(DropReason::Unwanted);
        }
        if header.count == 0 || header.count as usize > self.store.caps().nodes {
            return Err(DropReason::Full);
        }
        self.take_certified_head(&head)?;
        self.counters.fetched += 1;
        self.sync.introduce();
        let own = self.store.directory(epoch);
        let (own_root, len) = own.map_or(([0; 32], 0), |own| (own.root(), own.len() as u64));
        let root = header.root();
        // What is certified doesn't change any more, whatever others hold.
        let settled = self.store.past().certified(epoch).is_some();
        if own_root == root || settled {
            return Ok(Verdict::Ignore);
        }
        let takes = !self.adopts(&root);
        if takes && (self.sync).takes(self.now, root, epoch, u64::from(header.count), len) {
            self.lookups.news(self.now, epoch);
            return Ok(Verdict::Accept);
        }
        if !self.lookups.start_fetch(self.now, header, &mut self.rng) {
            return Ok(Verdict::Ignore);
        }
        Ok(Verdict::Accept)
    }

    fn take_page(
        &mut self,
        key: &[u8; 32],
        root: &[u8; 32],
        bytes: &[u8],
    ) -> Result<Verdict, DropReason> {
        let page = Page::decode(bytes)?;
        let Entries::Records(pairs) = &page.entries else {
            return Err(DropReason::Unwanted);
        };
        // The proof keeps a liar from passing off a part of the page as the whole.
        let proved = self
            .lookups
            .header(root)
            .is_some_and(|header| page.verify(header));
        if page.key() != *key || !proved {
            return Err(DropReason::Unwanted);
        }
        self.counters.fetched += 1;
        let mut verdict = Verdict::Ignore;
        for pair in pairs {
            let records = [
                Record::Descriptor(&pair.descriptor),
                Record::Beat(&pair.beat),
            ];
            match self.take(&records).verdict() {
                // A root with a forged record in it was made up: nothing more of it is read.
                Verdict::Reject => {
                    self.lookups.abandon(root);
                    return Ok(Verdict::Reject);
                }
                Verdict::Accept => verdict = Verdict::Accept,
                Verdict::Ignore => {}
            }
            self.adopt_record(root, pair);
        }
        self.lookups.page_read(key);
        self.finish_adoption();
        Ok(verdict)
    }

    fn publish_descriptor(&mut self, descriptor: Descriptor) -> Result<(), PublishError> {
        if descriptor.id() != self.own || descriptor.verify(&self.network).is_err() {
            return Err(PublishError::NotOurs);
        }
        if self.store.admits(&descriptor).is_err() {
            return Err(PublishError::Admission);
        }
        match self
            .store
            .insert_own_descriptor(self.now, descriptor, &mut self.counters)
        {
            Outcome::New | Outcome::Seen | Outcome::Unchecked => {
                self.announce.descriptor_changed();
                Ok(())
            }
            _ => Err(PublishError::Descriptor),
        }
    }

    fn publish_beat(&mut self, beat: Beat) -> Result<(), PublishError> {
        if beat.short_id() != self.own_short || beat.verify(&self.network, &self.own).is_err() {
            return Err(PublishError::NotOurs);
        }
        if self.store.descriptor(&self.own_short).is_none() {
            return Err(PublishError::NoDescriptor);
        }
        let epoch = beat.epoch();
        match self
            .store
            .insert_beat(self.now, beat.as_bytes(), &mut self.counters)
        {
            Outcome::New | Outcome::Seen | Outcome::Unchecked => {
                self.certify.vouch(epoch);
                self.want_receipts(epoch);
                Ok(())
            }
            Outcome::Dropped(DropReason::Equivocation) => Err(PublishError::SecondBeat(epoch)),
            _ => Err(PublishError::Epoch(epoch)),
        }
    }
}

/// The key of the head record of an epoch, for whoever serves or asks by hand.
pub fn head_key(network: &NetworkId, epoch: u32) -> [u8; 32] {
    page::head_key(network, Cell::WHOLE, epoch)
}

#[cfg(test)]
mod tests;
