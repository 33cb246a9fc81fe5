//! Tests of the mixer: what waits for the disk, what is remembered, what is shed, and how long a packet stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod gating;
mod limits;
mod memory;
mod opening;
mod waiting;

use super::*;
use crate::sphinx::testkit::{EPOCH, NETWORK, Relay, path, relays, rng};
use crate::sphinx::{BODY_LEN, Exit, build};
use crate::time::Span;

/// T0 of the epoch that the tests live in; it lasts 60 s, its key 5 s longer at both ends.
const START: Moment = Moment::from_secs(1_000);

fn config(own: &Relay) -> MixerConfig {
    MixerConfig::new(NETWORK, own.hop.id)
}

fn epoch_key(relay: &Relay) -> EpochKey {
    EpochKey {
        epoch: relay.hop.epoch,
        usable_from: START - Span::from_secs(5),
        starts: START,
        usable_until: START + Span::from_secs(65),
        secret: relay.secret.clone(),
    }
}

fn mixer_with(config: MixerConfig, relay: &Relay) -> Mixer {
    let mut mixer = Mixer::new(config, rng(77));
    mixer.add_key(epoch_key(relay), []).unwrap();
    mixer
}

/// A mixer for the first of three relays.
fn setup(seed: u64) -> (Mixer, Vec<Relay>, ChaCha20Rng) {
    let mut rng = rng(seed);
    let relays = relays(3, &mut rng);
    (mixer_with(config(&relays[0]), &relays[0]), relays, rng)
}

/// A fresh packet that passes the first relay on its way to the second.
fn passing(relays: &[Relay], class: Class, rng: &mut ChaCha20Rng) -> Packet {
    build(
        &NETWORK,
        &path(&relays[..2]),
        class,
        Exit::Box,
        &[3; BODY_LEN],
        rng,
    )
    .unwrap()
}

/// A fresh packet that ends at the first relay.
fn ending(relays: &[Relay], exit: Exit, rng: &mut ChaCha20Rng) -> Packet {
    build(
        &NETWORK,
        &path(&relays[..1]),
        Class::Fast,
        exit,
        &[4; BODY_LEN],
        rng,
    )
    .unwrap()
}

/// Fetches all tag batches and reports them durable.
fn sync(mixer: &mut Mixer) -> Vec<TagBatch> {
    let batches: Vec<TagBatch> = core::iter::from_fn(|| mixer.poll_tags()).collect();
    if let Some(last) = batches.last() {
        mixer.handle_synced(last.seq);
    }
    batches
}

fn transmitted(mixer: &mut Mixer) -> Vec<(ShortId, Packet)> {
    core::iter::from_fn(|| mixer.poll_transmit()).collect()
}

fn events(mixer: &mut Mixer) -> Vec<Event> {
    core::iter::from_fn(|| mixer.poll_event()).collect()
}
