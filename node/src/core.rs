//! The whole node without sockets, disk, clock or entropy: mixer, PKI, mailbox and people, composed.
//!
//! # Order of calls
//! Feed it with `handle_*` (packets, gossip, records found, links, a durable commit, the passing of
//! time) and with what users ask ([`Core::send`], [`Core::add_contact`], …). Then drain
//! [`Core::poll_transmit`], [`Core::poll_publish`], [`Core::poll_lookup`], [`Core::poll_serve`],
//! [`Core::poll_links`], [`Core::poll_commit`] and [`Core::poll_event`], and call
//! [`Core::handle_timeout`] when [`Core::poll_timeout`] says so.
//!
//! Nothing that needs a write takes effect before [`Core::handle_durable`] names its commit. The
//! same object runs in the driver over real sockets and in `sim` in virtual time.
//!
//! The rooms: `upkeep` (epoch keys, beats, readiness), `mesh` (whom we hold links to, and routes over
//! them), `present` (what is certified), `split` (contacts who know another mesh), `start` (where to start from), `guards` (a leaf's first hops), `outbox` (the payload stream), `fetch` (the fetch stream and
//! its answers), `people` (contacts, hellos, conversations, messages), `journal`
//! (what must be durable first), `records` (what is written), `views` (what users see).

mod fetch;
mod guards;
pub mod identity;
mod journal;
mod mesh;
mod outbox;
mod people;
mod present;
pub(crate) mod records;
mod split;
pub(crate) mod start;
mod upkeep;
mod views;
mod witness;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use dht::directory::Directory;
use dht::id::NodeId;
use dht::network::{NetworkParams, Rates};
use dht::pki::{Caps, OwnRecord, Pki, SyncRequest};
use mix::cover::{Stream, Streams};
use mix::mixer::{Mixer, MixerConfig, Opener};
use mix::time::{Moment, Span};
use mix::{NetworkId, Packet, ShortId};
use rand_chacha::ChaCha20Rng;
use storage::Millis;
use storage::backend::{Backend, Batch, Space};
use storage::mailbox::{MailboxConfig, Mailboxes};
use storage::vault::Vault;
use zeroize::Zeroizing;

pub use dht::Verdict;
pub use journal::{Commit, KeyFile};

use crate::core::identity::Identity;
use crate::core::journal::Journal;
use crate::error::{Error, ErrorKind};
use crate::view::{Event, MessageState};

/// How often the core looks at what has no timer of its own: conversations, readiness, links.
const TICK: Span = Span::from_millis(50);
/// Events nobody has taken yet; the oldest goes first.
const MAX_EVENTS: usize = 4096;
/// Bits by which a full holder asks more of a stamp than an empty one.
const STAMP_STEPS: u8 = 2;
/// Own loops still on their way; far more than any profile has under way.
const MAX_LOOPS: usize = 1024;

/// What a core is made with.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The network's parameters.
    pub params: NetworkParams,
    /// Name of the profile, for views.
    pub profile: String,
    /// The three cover streams, in thousandths per second.
    pub rates: Rates,
    /// Declared weight.
    pub weight: u8,
    /// Bytes of mailbox entries held for others.
    pub quota_bytes: u64,
}

/// An epoch's key as it was found on disk, with the tags that guard it.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its epoch.
    pub epoch: u32,
    /// The sealed key.
    pub sealed: Vec<u8>,
    /// Replay tags, 16 bytes each.
    pub tags: Vec<[u8; 16]>,
}

/// A key to look up by Kademlia.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The key.
    pub key: [u8; 32],
    /// Whether several distinct values are wanted.
    pub many: bool,
}

/// The node. See the module's text for the order of calls.
pub struct Core<B: Backend> {
    config: CoreConfig,
    network: NetworkId,
    me: NodeId,
    short: ShortId,
    identity: Identity,
    rng: ChaCha20Rng,
    /// For keys and beats alone: what others see of our records does not depend on what we send.
    key_rng: ChaCha20Rng,
    backend: B,
    vault: Vault,
    mixer: Mixer,
    /// The epochs whose keys the last opener handed out holds.
    opener_epochs: Vec<u32>,
    streams: Streams,
    pki: Pki,
    mailboxes: Mailboxes<B>,
    journal: Journal<Then>,
    keys: upkeep::KeyPlan,
    /// Epochs of which proposals or votes of ours are on disk.
    signed: BTreeSet<u32>,
    ready: upkeep::Readiness,
    people: people::People,
    outbox: outbox::Outbox,
    fetches: fetch::Fetches,
    links: BTreeSet<ShortId>,
    wanted: Option<Vec<(NodeId, Vec<Vec<u8>>)>>,
    transmit: VecDeque<(NodeId, Box<[u8; mix::PACKET_LEN]>)>,
    events: VecDeque<Event>,
    /// Own loops under way, with the epoch they left in.
    loops: BTreeMap<[u8; 16], u32>,
    loop_key: [u8; 32],
    split: split::Split,
    /// What conversations were told last.
    said_root: Option<(u32, Option<[u8; 32]>)>,
    epochs: present::Epochs,
    /// In how many subnets we started, if anybody counted.
    start_subnets: Option<usize>,
    counters: Counters,
    pool: PoolMeter,
    next_tick: Moment,
    mesh: mesh::Mesh,
    /// Keys of the head records of this epoch and the next.
    heads: [[u8; 32]; 2],
}

/// A key of the state and its value, unsealed.
type Opened = (String, Zeroizing<Vec<u8>>);

/// Names a conversation: the hello's id.
type ConversationId = [u8; 16];

/// What waits for a commit.
#[derive(Debug)]
enum Then {
    /// Publish and use the mix key of this epoch.
    Publish(u32),
    /// Publish what this node signed as a witness.
    Sign(Box<OwnRecord>),
    /// Hand these deposits to the payload stream.
    Deposit(Vec<outbox::Deposit>),
    /// Tell the user.
    Tell(Event),
}

/// Counts of what this node itself sent and saw.
#[derive(Clone, Debug, Default)]
struct Counters {
    real: u64,
    cover: u64,
    loops_sent: u64,
    loops_seen: u64,
    loops_other_root: u64,
    unknown_next: u64,
    not_sent: u64,
    answers_bad: u64,
    answers_late: u64,
    hellos_bad: u64,
    gossip_rejected: u64,
}

/// Mean number of packets in the pool, sampled on each tick.
#[derive(Clone, Copy, Debug, Default)]
struct PoolMeter {
    sum: u64,
    samples: u64,
}

impl<B: Backend> Core<B> {
    /// Builds a node from what is on its disk.
    pub fn open(
        config: CoreConfig,
        identity: Identity,
        backend: B,
        vault: Vault,
        stored: Vec<StoredKey>,
        now: Moment,
        mut rng: ChaCha20Rng,
    ) -> Result<Self, Error> {
        use rand_core::SeedableRng;
        let params = &config.params;
        let network = params.id();
        let me = identity.node_id();
        let short = ShortId::derive(&network, &me.0);
        let mut mixing = MixerConfig::new(network, short);
        mixing.delays = params.delay_ms.map(Span::from_millis);
        mixing.hold = Span::from_millis(params.hold_ms);
        let mixer = Mixer::new(mixing, ChaCha20Rng::from_rng(&mut rng));
        let [payload, fetch, loop_] = config.rates;
        let rates = mix::cover::Rates {
            payload,
            fetch,
            loop_,
        };
        let streams = Streams::new(rates, now, ChaCha20Rng::from_rng(&mut rng));
        let mailboxes = Mailboxes::open(
            backend.clone(),
            MailboxConfig {
                quota_bytes: config.quota_bytes,
                inbox_cap: u16::try_from(params.inbox_cap).unwrap_or(u16::MAX),
                max_wait_ms: u32::try_from(params.max_wait_ms).unwrap_or(u32::MAX),
                // A holder asks more the fuller it is; senders always bring what a full one asks.
                effort: params.effort.saturating_sub(STAMP_STEPS),
                max_ttl_ms: params
                    .day_ms
                    .saturating_mul(u64::from(params.parked_days) + 2),
                ..MailboxConfig::new(network.0)
            },
            millis(now),
        )
        .map_err(|cause| {
            Error::new(
                ErrorKind::Storage,
                cause.to_string(),
                "see the message; nothing was changed",
            )
        })?;
        let pki = Pki::new(
            Arc::new(params.clone()),
            me,
            Caps::default(),
            ChaCha20Rng::from_rng(&mut rng),
        );
        let key_rng = ChaCha20Rng::from_rng(&mut rng);
        let loop_key = blake3::derive_key(
            "murmuration/v1/loop-check",
            identity.node_secret().as_slice(),
        );
        let mut core = Self {
            network,
            me,
            short,
            identity,
            backend,
            vault,
            mixer,
            opener_epochs: Vec::new(),
            streams,
            pki,
            mailboxes,
            journal: Journal::new(),
            keys: upkeep::KeyPlan::default(),
            signed: BTreeSet::new(),
            ready: upkeep::Readiness::default(),
            people: people::People::default(),
            outbox: outbox::Outbox::default(),
            fetches: fetch::Fetches::default(),
            links: BTreeSet::new(),
            wanted: None,
            transmit: VecDeque::new(),
            events: VecDeque::new(),
            loops: BTreeMap::new(),
            loop_key,
            split: split::Split::default(),
            said_root: None,
            epochs: present::Epochs::default(),
            start_subnets: None,
            counters: Counters::default(),
            pool: PoolMeter::default(),
            next_tick: now,
            mesh: mesh::Mesh::default(),
            heads: [[0; 32]; 2],
            config,
            rng,
            key_rng,
        };
        let witness = core.witness_keys();
        core.pki.set_witness(witness);
        core.load_people(now)?;
        core.load_split()?;
        core.load_keys(stored, now)?;
        Ok(core)
    }

    /// Draws routes and all else about packets from another generator: for simulations that ask what
    /// depends on the routes drawn.
    pub fn set_packet_dice(&mut self, rng: ChaCha20Rng) {
        self.rng = rng;
    }

    /// A packet came over a link.
    pub fn handle_packet(&mut self, now: Moment, packet: Box<[u8; mix::PACKET_LEN]>) {
        self.mixer.handle_packet(now, Packet::from_boxed(packet));
        self.settle(now);
    }

    /// Packets were opened by what [`Self::poll_opener`] gave, in place of [`Self::handle_packet`].
    pub fn handle_opened(&mut self, now: Moment, opened: mix::mixer::Opened) {
        self.mixer.handle_opened(opened);
        self.settle(now);
    }

    /// What opens packets on other threads, whenever the mix keys have changed. The one before does not know the new ones.
    pub fn poll_opener(&mut self) -> Option<Opener> {
        if self
            .mixer
            .key_epochs()
            .eq(self.opener_epochs.iter().copied())
        {
            return None;
        }
        self.opener_epochs = self.mixer.key_epochs().collect();
        Some(self.mixer.opener())
    }

    /// A link to a peer came up or went down.
    pub fn handle_link(&mut self, now: Moment, peer: NodeId, up: bool) {
        let short = ShortId::derive(&self.network, &peer.0);
        if up {
            if self.links.is_empty() {
                self.pki.announce(now);
            }
            self.links.insert(short);
        } else {
            self.links.remove(&short);
        }
        self.look(now);
    }

    /// A bundle of records came by gossip.
    pub fn handle_bundle(&mut self, now: Moment, bundle: &[u8]) -> Verdict {
        let verdict = self.pki.handle_bundle(now, bundle);
        if verdict == Verdict::Reject {
            self.counters.gossip_rejected += 1;
        }
        verdict
    }

    /// A lookup found a record.
    pub fn handle_record(&mut self, now: Moment, key: [u8; 32], record: &[u8]) {
        // What is wrong with it is counted there.
        let _ = self.pki.handle_record(now, &key, record);
    }

    /// A lookup ended.
    pub fn handle_lookup_done(&mut self, now: Moment, key: [u8; 32]) {
        self.pki.handle_lookup_done(now, &key);
    }

    /// A peer asks to reconcile; `None`: it gets no answer.
    pub fn handle_sync_request(
        &mut self,
        now: Moment,
        from: NodeId,
        request: &[u8],
    ) -> Option<Vec<u8>> {
        self.pki.handle_sync_request(now, &from, request)
    }

    /// A peer answered a request to reconcile.
    pub fn handle_sync_response(&mut self, now: Moment, token: u64, from: NodeId, answer: &[u8]) {
        // What is wrong with it is counted there.
        let _ = self.pki.handle_sync_response(now, token, &from, answer);
    }

    /// A request to reconcile stays without an answer.
    pub fn handle_sync_failed(&mut self, now: Moment, token: u64) {
        self.pki.handle_sync_failed(now, token);
    }

    /// A commit is durable.
    pub fn handle_durable(&mut self, now: Moment, seq: u64) {
        let Some(released) = self.journal.durable(seq) else {
            return;
        };
        self.ready.disk_failing = false;
        if let Some(seq) = released.mailbox_seq {
            self.mailboxes.handle_durable(seq);
        }
        if let Some(seq) = released.tag_seq {
            self.mixer.handle_synced(seq);
        }
        for then in released.freed {
            match then {
                Then::Publish(epoch) => self.publish_epoch(now, epoch),
                Then::Sign(duty) => self.publish_duty(now, *duty),
                Then::Deposit(deposits) => self.outbox.add(deposits),
                Then::Tell(event) => self.tell(event),
            }
        }
        self.settle(now);
    }

    /// The disk refused a commit. The mailbox gives its part up and refuses deposits for a while;
    /// what is left is to be tried again, and nothing that depends on it happens before.
    pub fn handle_disk_failure(&mut self, now: Moment, commit: &mut Commit) {
        self.ready.disk_failing = true;
        if let Some(seq) = self.journal.without_mailbox(commit.seq) {
            commit.mailbox = Batch::default();
            self.mailboxes.handle_failed(millis(now), seq);
        }
        self.look(now);
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Moment) {
        self.mixer.handle_timeout(now);
        self.mailboxes.handle_timeout(millis(now));
        self.pki.handle_timeout(now);
        self.write_duties();
        self.streams.handle_timeout(now);
        while let Some(stream) = self.streams.poll() {
            match stream {
                Stream::Payload => self.payload_slot(now),
                Stream::Fetch => self.fetch_slot(now),
                Stream::Loop => self.loop_slot(now),
            }
        }
        if now >= self.next_tick {
            self.next_tick = now + TICK;
            self.pool.sum += u64::try_from(self.mixer.pool_len()).unwrap_or(0);
            self.pool.samples += 1;
            self.upkeep(now);
            self.tend_people(now);
            self.look(now);
        }
        self.settle(now);
    }

    /// When [`Self::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Moment> {
        [
            self.mixer.poll_timeout(),
            self.streams.poll_timeout(),
            self.pki.poll_timeout(),
            self.mailboxes
                .poll_timeout()
                .map(|at| Moment::from_millis(at.0)),
            Some(self.next_tick),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The next packet to send, and to whom.
    pub fn poll_transmit(&mut self) -> Option<(NodeId, Box<[u8; mix::PACKET_LEN]>)> {
        self.transmit.pop_front()
    }

    /// The next bundle to gossip.
    pub fn poll_publish(&mut self) -> Option<Vec<u8>> {
        self.pki.poll_bundle()
    }

    /// The next key to look up.
    pub fn poll_lookup(&mut self) -> Option<Lookup> {
        let key = self.pki.poll_lookup()?;
        // Heads of different views differ, and each is useful; a page is named by its root.
        let heads = self.heads;
        Some(Lookup {
            key,
            many: heads.contains(&key),
        })
    }

    /// The next request to reconcile with a neighbour.
    pub fn poll_sync(&mut self) -> Option<SyncRequest> {
        self.pki.poll_sync()
    }

    /// The next record to serve to others' lookups, and for how long.
    pub fn poll_serve(&mut self) -> Option<([u8; 32], Vec<u8>, Span)> {
        let keep = self.pki.serve_for();
        self.pki.poll_serve().map(|(key, value)| (key, value, keep))
    }

    /// The links that should be up, when that has changed.
    pub fn poll_links(&mut self) -> Option<Vec<(NodeId, Vec<Vec<u8>>)>> {
        self.wanted.take()
    }

    /// The next group of writes, one at a time.
    pub fn poll_commit(&mut self) -> Option<Commit> {
        if self.journal.is_busy() {
            return None;
        }
        let mailbox = self.mailboxes.poll_batch();
        let mut tag_seq = None;
        while let Some(batch) = self.mixer.poll_tags() {
            tag_seq = Some(batch.seq);
            self.journal.key_file(KeyFile::Append {
                epoch: batch.epoch,
                tags: batch.tags,
            });
        }
        self.journal.take(mailbox, tag_seq)
    }

    /// The commit a caller has to wait for, if anything it did is not durable yet.
    #[must_use]
    pub fn pending_commit(&self) -> Option<u64> {
        self.journal.pending()
    }

    /// The next event for users.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes what the mixer and the mailbox have finished and passes it on.
    fn settle(&mut self, now: Moment) {
        loop {
            while let Some(event) = self.mixer.poll_event() {
                self.take_mixer_event(now, event);
            }
            let mut idle = true;
            while let Some(answer) = self.mailboxes.poll_answer() {
                idle = false;
                self.send_answer(now, &answer);
            }
            if idle {
                break;
            }
        }
        while let Some((next, packet)) = self.mixer.poll_transmit() {
            match self.node_of(&next) {
                Some(node) => self.transmit.push_back((node, packet.into_boxed())),
                None => self.counters.unknown_next += 1,
            }
        }
    }

    fn take_mixer_event(&mut self, now: Moment, event: mix::mixer::Event) {
        use mix::mixer::Event as Mixed;
        match event {
            Mixed::Box { body, .. } => self.mailboxes.handle_op(millis(now), &body),
            Mixed::Reply { surb_id, packet } => self.take_reply(now, surb_id, packet),
            Mixed::Loop { id, .. } => {
                if let Some(epoch) = self.loops.remove(&id) {
                    self.counters.loops_seen += 1;
                    self.counters.loops_other_root += u64::from(!self.loop_agrees(epoch, &id));
                }
            }
            _ => {}
        }
    }

    fn node_of(&self, short: &ShortId) -> Option<NodeId> {
        self.pki.known(short).map(|(id, _)| id)
    }

    fn epoch(&self, now: Moment) -> u32 {
        dht::epoch::epoch_at(&self.config.params, now)
    }

    /// The directory to route by now.
    fn directory(&mut self, now: Moment) -> Option<Arc<Directory>> {
        self.pki.directory(self.epoch(now))
    }

    fn tell(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// Writes a sealed value of the node's own state.
    fn write_state(&mut self, key: &str, value: &[u8]) {
        let sealed = self.vault.seal(key, value, &mut self.rng);
        self.journal
            .batch()
            .put(Space::State, key.as_bytes(), sealed);
    }

    fn delete_state(&mut self, key: &str) {
        self.journal.batch().delete(Space::State, key.as_bytes());
    }

    /// Reads sealed values whose keys start with `prefix`.
    fn read_state(&self, prefix: &str) -> Result<Vec<Opened>, Error> {
        let mut found = Vec::new();
        let visit = &mut |key: &[u8], value: &[u8]| {
            found.push((String::from_utf8_lossy(key).into_owned(), value.to_vec()));
        };
        self.backend
            .scan(Space::State, prefix.as_bytes(), visit)
            .map_err(Error::storage)?;
        found
            .into_iter()
            .map(|(key, sealed)| match self.vault.open(&key, &sealed) {
                Ok(value) => Ok((key, value)),
                Err(_) => Err(sealed_wrong(&key)),
            })
            .collect()
    }
}

/// A value that our key does not open: a foreign or damaged store, which we must not overwrite.
fn sealed_wrong(key: &str) -> Error {
    let kind = key.split('/').next().unwrap_or(key);
    Error::new(
        ErrorKind::Storage,
        format!("the stored {kind} does not open with this data directory's key"),
        "restore the whole data directory, key and store together, from one backup",
    )
}

pub(crate) fn millis(now: Moment) -> Millis {
    Millis(now.as_millis())
}
