//! What the tests of packet and mixer share: relays with keys, walks along a path, and packets that no honest sender builds.

use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, Infallible, Rng as _, SeedableRng as _, TryCryptoRng, TryRng};

use super::build::{NO_TABLES, build_header};
use super::command::Command;
use super::geometry::{BODY_LEN, HEADER_LEN, TAG_LEN};
use super::payload::Lioness;
use super::{Class, Hop, KeyContext, MixSecret, Packet};
use crate::{NetworkId, ShortId};

pub(crate) const NETWORK: NetworkId = NetworkId([7; 32]);
pub(crate) const EPOCH: u32 = 42;

/// A relay as a test knows it: with its secret.
#[derive(Clone)]
pub(crate) struct Relay {
    pub(crate) hop: Hop,
    pub(crate) secret: MixSecret,
}

impl Relay {
    pub(crate) fn context(&self) -> KeyContext {
        KeyContext {
            network: NETWORK,
            epoch: self.hop.epoch,
            relay: self.hop.id,
        }
    }
}

pub(crate) fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

/// Relays with the names 1, 2, … in every byte.
pub(crate) fn relays(count: u8, rng: &mut ChaCha20Rng) -> Vec<Relay> {
    (1..=count)
        .map(|name| {
            let secret = MixSecret::random(rng);
            Relay {
                hop: Hop {
                    id: ShortId([name; 16]),
                    key: secret.public(),
                    epoch: EPOCH,
                },
                secret,
            }
        })
        .collect()
}

pub(crate) fn path(relays: &[Relay]) -> Vec<Hop> {
    relays.iter().map(|relay| relay.hop).collect()
}

pub(crate) fn random_body(rng: &mut ChaCha20Rng) -> [u8; BODY_LEN] {
    let mut body = [0; BODY_LEN];
    rng.fill_bytes(&mut body);
    body
}

/// A packet along a path that [`super::build`] would refuse.
pub(crate) fn build_unchecked(path: &[Hop], rng: &mut impl CryptoRng) -> Packet {
    let (header, layers) = build_header(&NO_TABLES, &NETWORK, path, Class::Fast, Command::Box, rng);
    let mut packet = Packet::zeroed();
    packet.bytes_mut()[..HEADER_LEN].copy_from_slice(&header);
    packet.delta_mut()[TAG_LEN..].fill(0);
    for keys in layers.iter().rev() {
        Lioness::new(&keys.payload).encrypt(packet.delta_mut());
    }
    packet
}

/// Records what was drawn, or gives the same bytes again.
pub(crate) struct Tape {
    source: Option<ChaCha20Rng>,
    pub(crate) bytes: Vec<u8>,
    at: usize,
}

impl Tape {
    pub(crate) fn record(source: ChaCha20Rng) -> Self {
        Self {
            source: Some(source),
            bytes: Vec::new(),
            at: 0,
        }
    }

    /// Gives `bytes`, then zeros.
    pub(crate) fn play(bytes: Vec<u8>) -> Self {
        Self {
            source: None,
            bytes,
            at: 0,
        }
    }
}

impl TryRng for Tape {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        match &mut self.source {
            Some(source) => {
                source.fill_bytes(to);
                self.bytes.extend_from_slice(to);
            }
            None => {
                for byte in to {
                    *byte = self.bytes.get(self.at).copied().unwrap_or(0);
                    self.at += 1;
                }
            }
        }
        Ok(())
    }
}

impl TryCryptoRng for Tape {}
