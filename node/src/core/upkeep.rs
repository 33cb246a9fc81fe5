//! What a node does whether anybody writes or not: epoch keys and beats, its descriptor, the links
//! it wants, and whether messages can flow.
//!
//! One beat per node and epoch, ever: key and beat are on disk before the beat is published, and a
//! beat whose key is gone means sitting the epoch out.

use std::collections::BTreeMap;
use std::time::Duration;

use dht::beat::{Beat, BeatFields};
use dht::descriptor::{Capability, Descriptor, DescriptorFields};
use dht::pki::OwnRecord;
use mix::time::Moment;
use mix::{EpochKey, MixPublic, MixSecret};
use storage::backend::Backend;

use super::journal::KeyFile;
use super::records::{hex, key};
use super::{Core, StoredKey, Then};
use crate::error::{Error, ErrorKind};
use crate::view::Event;

/// A descriptor is renewed when less than this part of its life is left.
const RENEW: u64 = 4;
/// How long a descriptor is valid, Unix ms.
const DESCRIPTOR_LIFE_MS: u64 = 24 * 3_600 * 1_000;

/// The node's mix keys and what is planned with them.
#[derive(Debug, Default)]
pub(super) struct KeyPlan {
    /// Keys in use, by epoch.
    usable: BTreeMap<u32, MixPublic>,
    /// Made and being written; nothing may use them yet.
    pending: BTreeMap<u32, (EpochKey, Beat)>,
    /// Beats of those keys.
    beats: BTreeMap<u32, Beat>,
    /// Epochs to sit out: a beat is on disk whose key is not.
    lost: Vec<u32>,
    /// When the beat of the next epoch is due.
    planned: Option<(u32, Moment)>,
    /// Where others can dial us; unknown before the first listener is ready.
    listen: Option<Vec<Vec<u8>>>,
    /// Nobody can.
    behind_nat: bool,
    descriptor: Option<Descriptor>,
    saved_view: u32,
    closed: bool,
}

impl KeyPlan {
    /// Our public key of an epoch, once others may know it.
    pub(super) fn usable(&self, epoch: u32) -> Option<MixPublic> {
        self.usable.get(&epoch).copied()
    }

    fn knows(&self, epoch: u32) -> bool {
        self.usable.contains_key(&epoch)
            || self.pending.contains_key(&epoch)
            || self.lost.contains(&epoch)
    }
}

/// Whether messages can flow, and why not.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    pub(super) disk_failing: bool,
    skewed: bool,
    connected: usize,
    ready: bool,
    told: bool,
    pub(super) reasons: Vec<String>,
    epoch: Option<(u32, [u8; 32], bool)>,
}

impl Readiness {
    pub(super) fn can_route(&self) -> bool {
        self.ready
    }
}

impl<B: Backend> Core<B> {
    /// We listen on these addresses (binary multiaddrs without peer id), and others reach us there.
    pub fn handle_listen(&mut self, now: Moment, addresses: Vec<Vec<u8>>) {
        self.handle_reach(now, addresses, false);
    }

    /// Others can dial us under these addresses; behind a NAT nobody can. Then this node takes part as a leaf: it makes all its
    /// connections itself, and nobody counts on it as a hop or a holder.
    pub fn handle_reach(&mut self, now: Moment, addresses: Vec<Vec<u8>>, behind_nat: bool) {
        let unchanged = self.keys.listen.as_ref() == Some(&addresses);
        if unchanged && self.keys.behind_nat == behind_nat {
            return;
        }
        self.keys.listen = Some(addresses);
        self.keys.behind_nat = behind_nat;
        self.publish_descriptor(now);
    }

    /// Neighbours have found that nobody can dial this node.
    #[must_use]
    pub fn is_behind_nat(&self) -> bool {
        self.keys.behind_nat
    }

    /// The number of connected peers changed.
    pub fn handle_connected(&mut self, now: Moment, peers: usize) {
        if self.ready.connected == 0 && peers > 0 {
            self.pki.announce(now);
        }
        self.ready.connected = peers;
        self.look(now);
    }

    /// How far the system's clock has moved from the one the node started with.
    pub fn handle_clock_skew(&mut self, now: Moment, skew: Duration) {
        let tolerance = Duration::from_millis(self.config.params.clock_tolerance_ms);
        self.ready.skewed = skew > tolerance;
        self.look(now);
    }

    /// Takes the keys found on disk into use.
    pub(super) fn load_keys(&mut self, stored: Vec<StoredKey>, now: Moment) -> Result<(), Error> {
        let beats: BTreeMap<u32, Beat> = self
            .read_state(key::BEAT)?
            .into_iter()
            .filter_map(|(_, bytes)| Beat::decode(&bytes).ok())
            .map(|beat| (beat.epoch(), beat))
            .collect();
        for one in &stored {
            let opened = self.vault.open(&key_label(one.epoch), &one.sealed).ok();
            let epoch_key = opened
                .as_ref()
                .and_then(|bytes| bytes.as_slice().try_into().ok())
                .and_then(|bytes| EpochKey::from_bytes(bytes).ok())
                .ok_or_else(|| key_damaged(one.epoch))?;
            if epoch_key.usable_until <= now {
                self.erase_key(one.epoch);
                continue;
            }
            let Some(beat) = beats.get(&one.epoch).cloned() else {
                // Written, never published: nobody knows this key, so it may go.
                self.erase_key(one.epoch);
                continue;
            };
            let public = epoch_key.public();
            self.mixer
                .add_key(epoch_key, one.tags.iter().copied())
                .map_err(|cause| {
                    Error::new(
                        ErrorKind::Storage,
                        format!("an epoch key was not accepted: {cause}"),
                        "wait for the next epoch and start again",
                    )
                })?;
            self.keys.usable.insert(one.epoch, public);
            self.keys.beats.insert(one.epoch, beat);
        }
        let current = self.epoch(now);
        for epoch in beats.keys().copied() {
            if !self.keys.usable.contains_key(&epoch) {
                if epoch >= current {
                    self.keys.lost.push(epoch);
                } else {
                    self.delete_state(&beat_key(epoch));
                }
            }
        }
        if let Some((_, bytes)) = self.read_state(key::GUARDS)?.into_iter().next() {
            self.mesh.guards = super::guards::Guards::from_bytes(&bytes);
        }
        if let Some((_, bytes)) = self.read_state(key::PKI)?.into_iter().next() {
            // A cache: what can't be read is learned again.
            let _ = self.pki.restore(now, &bytes);
        }
        self.load_duties(now)
    }

    /// The node is about to stop: what others told us is kept for a quick start.
    pub fn close(&mut self, _now: Moment) {
        if !std::mem::replace(&mut self.keys.closed, true) {
            let view = self.pki.snapshot();
            self.write_state(key::PKI, &view);
            self.remember_peers();
        }
    }

    /// Everything that comes due by itself.
    pub(super) fn upkeep(&mut self, now: Moment) {
        let epoch = self.epoch(now);
        self.heads = [epoch, epoch + 1].map(|e| dht::pki::head_key(&self.network, e));
        self.mailboxes
            .set_epochs(epoch.saturating_sub(1), epoch.saturating_add(1));
        for gone in self.mixer.drop_expired_keys(now) {
            self.keys.usable.remove(&gone);
            self.keys.beats.remove(&gone);
            self.erase_key(gone);
        }
        self.keys.lost.retain(|lost| *lost >= epoch);
        self.forget_duties(epoch);
        if !self.keys.knows(epoch) {
            self.make_key(now, epoch);
        }
        self.plan_next(now, epoch + 1);
        let expiring = self.keys.descriptor.as_ref().is_some_and(|descriptor| {
            let left = descriptor
                .fields()
                .valid_until
                .saturating_sub(now.as_millis());
            left < DESCRIPTOR_LIFE_MS / RENEW
        });
        if expiring {
            self.publish_descriptor(now);
        }
        if self.keys.saved_view != epoch {
            self.keys.saved_view = epoch;
            let view = self.pki.snapshot();
            self.write_state(key::PKI, &view);
            self.remember_peers();
        }
        self.expire_fetches(now);
        self.want_links(now);
    }

    fn plan_next(&mut self, now: Moment, next: u32) {
        if self.keys.knows(next) {
            return;
        }
        let due = match self.keys.planned {
            Some((epoch, due)) if epoch == next => due,
            _ => {
                let due = dht::epoch::beat_due(&self.config.params, next, &mut self.key_rng);
                self.keys.planned = Some((next, due));
                due
            }
        };
        if now >= due {
            self.make_key(now, next);
        }
    }

    /// Makes the key and the beat of an epoch and writes both; they are used once durable.
    fn make_key(&mut self, now: Moment, epoch: u32) {
        if self.pki.own_beat(epoch).is_some() {
            // Our own beat came back to us and its key is gone: state was lost. Never a second one.
            self.keys.lost.push(epoch);
            return;
        }
        let params = &self.config.params;
        let window = dht::epoch::key_window(params, epoch);
        let secret = MixSecret::random(&mut self.key_rng);
        let epoch_key = EpochKey {
            epoch,
            usable_from: window.from.min(now),
            starts: dht::epoch::start_of(params, epoch).max(window.from.min(now)),
            usable_until: window.until,
            secret,
        };
        let fields = BeatFields {
            epoch,
            mix_key: epoch_key.public().to_bytes(),
            capability: self.capability(),
            load: 0,
            replay_root: [0; 16],
        };
        let Ok(beat) = Beat::sign(&self.network, &self.identity.signer(), fields) else {
            return;
        };
        let sealed = self.vault.seal(
            &key_label(epoch),
            epoch_key.to_bytes().as_slice(),
            &mut self.rng,
        );
        self.journal.key_file(KeyFile::Create { epoch, sealed });
        self.write_state(&beat_key(epoch), beat.as_bytes());
        self.keys.pending.insert(epoch, (epoch_key, beat));
        self.journal.after(Then::Publish(epoch));
    }

    /// Key and beat are durable.
    pub(super) fn publish_epoch(&mut self, now: Moment, epoch: u32) {
        let Some((epoch_key, beat)) = self.keys.pending.remove(&epoch) else {
            return;
        };
        let public = epoch_key.public();
        if self.mixer.add_key(epoch_key, []).is_ok() {
            self.keys.usable.insert(epoch, public);
            self.keys.beats.insert(epoch, beat);
            self.publish_beats(now);
        }
    }

    /// Publishes our beats, once a descriptor says who they are from.
    fn publish_beats(&mut self, now: Moment) {
        if self.keys.descriptor.is_none() {
            return;
        }
        for beat in self.keys.beats.values() {
            if let Err(error) = self.pki.publish(now, OwnRecord::Beat(beat.clone())) {
                tracing::warn!(%error, "this node's beat was not published");
            }
        }
    }

    fn publish_descriptor(&mut self, now: Moment) {
        let Some(mut listen) = self.keys.listen.clone() else {
            return;
        };
        self.keep_dialable(&mut listen);
        let mut addresses = Vec::new();
        let mut room = dht::descriptor::MAX_ADDRESS_BYTES;
        for address in listen.iter().take(dht::descriptor::MAX_ADDRESSES) {
            if let Some(left) = room.checked_sub(address.len()) {
                room = left;
                addresses.push(address.clone());
            }
        }
        let at = now.as_millis();
        // Two changes in one millisecond still have an order.
        let last = self.keys.descriptor.as_ref().map(|one| one.fields().seq);
        let ends = (self.keys.descriptor.as_ref()).map(|one| one.fields().valid_until);
        let seq = last.map_or(at, |last| at.max(last.saturating_add(1)));
        let fields = DescriptorFields {
            seq,
            valid_from: at.saturating_sub(self.config.params.clock_tolerance_ms),
            // One that ended earlier than the one before would not replace it.
            valid_until: ends.map_or(at + DESCRIPTOR_LIFE_MS, |ends| {
                ends.max(at + DESCRIPTOR_LIFE_MS)
            }),
            capability: self.capability(),
            subnet: subnet(&addresses),
            vrf_key: self.vrf_key(),
            admission: Vec::new(),
            addresses,
        };
        match Descriptor::sign(&self.network, &self.identity.signer(), fields) {
            Ok(descriptor) => {
                self.keys.descriptor = Some(descriptor.clone());
                if let Err(error) = self.pki.publish(now, OwnRecord::Descriptor(descriptor)) {
                    tracing::warn!(%error, "this node's descriptor was not published");
                }
                self.publish_beats(now);
            }
            Err(error) => tracing::error!(%error, "this node can't describe itself"),
        }
    }

    fn capability(&self) -> Capability {
        if self.keys.behind_nat {
            return Capability::LEAF;
        }
        Capability::new(self.config.weight, self.config.weight > 0).unwrap_or(Capability::FULL)
    }

    fn erase_key(&mut self, epoch: u32) {
        self.journal.key_file(KeyFile::Erase { epoch });
        self.delete_state(&beat_key(epoch));
    }

    /// Looks whether messages can flow, and tells when that changed.
    pub(super) fn look(&mut self, now: Moment) {
        let epoch = self.epoch(now);
        let directory = self.pki.directory(epoch);
        let mut reasons = Vec::new();
        if self.ready.skewed {
            reasons.push("clock_skew".to_owned());
        }
        if self.ready.disk_failing {
            reasons.push("storage_failing".to_owned());
        }
        if self.ready.connected == 0 && self.links.is_empty() {
            reasons.push("no_bootstrap".to_owned());
        }
        let known = directory.as_ref().is_some_and(|all| self.takes_part(all));
        if !known {
            reasons.push("pki_stale".to_owned());
        }
        let (live, need) = match &directory {
            Some(directory) => self.live_links(now, directory),
            None => (
                0,
                usize::try_from(self.config.params.min_live).unwrap_or(usize::MAX),
            ),
        };
        if live < need {
            reasons.push(format!("too_few_mixes({live}/{need})"));
        }
        self.ready.ready = reasons.is_empty();
        if reasons != self.ready.reasons || !self.ready.told {
            self.ready.told = true;
            self.ready.reasons.clone_from(&reasons);
            let event = if reasons.is_empty() {
                Event::Ready
            } else {
                Event::NotReady { reasons }
            };
            self.tell(event);
        }
        self.follow_certificates(now, epoch);
        if let Some(directory) = directory {
            let root = directory.root();
            let certified = self.split.in_use(epoch).is_some();
            if self.ready.epoch != Some((epoch, root, certified)) {
                self.ready.epoch = Some((epoch, root, certified));
                let degraded = self.pki_view(epoch).degraded;
                let nodes = directory.nodes().len();
                self.tell(Event::Epoch {
                    epoch,
                    root: hex(&root),
                    nodes,
                    degraded,
                });
            }
        }
    }
}

/// Not skipped: without its tags a key must not come back later, and nobody but the user can tell why it is damaged.
fn key_damaged(epoch: u32) -> Error {
    Error::new(
        ErrorKind::Storage,
        format!("the key in epochs/{epoch:010}.epoch is damaged, or of another data directory"),
        "restore that file from a backup, or remove it: the node then sits out that epoch",
    )
}

fn key_label(epoch: u32) -> String {
    format!("epoch-key/{epoch}")
}

fn beat_key(epoch: u32) -> String {
    key::of(key::BEAT, &epoch.to_be_bytes())
}

/// Tag of the first address's subnet; 0 if it has none.
fn subnet(addresses: &[Vec<u8>]) -> u32 {
    let first = addresses.first();
    first
        .and_then(|address| super::start::subnet(address))
        .unwrap_or_default()
}
