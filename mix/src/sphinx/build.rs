//! Building a forward packet, and the header that packets and reply blocks share. The sender chains scalars, never points:
//! n + 1 multiplications for n hops. SPEC.md §6.

use curve25519_dalek::ristretto::RistrettoPoint;
use rand_core::CryptoRng;
use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

use super::command::{Block, Class, Command, Exit, Quantile};
use super::geometry::{
    ALPHA, BETA, BETA_LEN, BLOCK_LEN, BODY_LEN, GAMMA, GAMMA_LEN, HEADER_LEN, MAX_HOPS, TAG_LEN,
    VERSION,
};
use super::keys::{HopKeys, KeyContext, MixPublic, random_scalar};
use super::packet::Packet;
use super::payload::{Lioness, STREAM_GROUP, xor};
use super::table::KeyTables;
use crate::{NetworkId, ShortId};

pub(super) const NO_TABLES: KeyTables = KeyTables::new(0);

/// One hop of a path: whom, by which key, of which epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The relay's name.
    pub id: ShortId,
    /// Its mix key of that epoch.
    pub key: MixPublic,
    /// The epoch.
    pub epoch: u32,
}

/// Why no packet could be built: the caller's path is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The path has no hop.
    #[error("the path has no hop")]
    EmptyPath,
    /// The path has more hops than a header has room for.
    #[error("the path has {0} hops, a header has room for {MAX_HOPS}")]
    LongPath(usize),
    /// A relay is on the path twice.
    #[error("a relay is on the path twice")]
    RepeatedHop,
}

/// Builds a packet along `path`, whose last hop does what `exit` says with `body` (1,803 bytes). Each hop's delay is drawn
/// here: a uniform quantile, to which the class gives the mean. The packet goes to `path[0]`.
pub fn build(
    network: &NetworkId,
    path: &[Hop],
    class: Class,
    exit: Exit,
    body: &[u8; BODY_LEN],
    rng: &mut impl CryptoRng,
) -> Result<Packet, BuildError> {
    build_tabled(&NO_TABLES, network, path, class, exit, body, rng)
}

/// [`build`] with tables for some or all of the path's keys: the same packet for the same draws, sooner.
pub fn build_tabled(
    tables: &KeyTables,
    network: &NetworkId,
    path: &[Hop],
    class: Class,
    exit: Exit,
    body: &[u8; BODY_LEN],
    rng: &mut impl CryptoRng,
) -> Result<Packet, BuildError> {
    let command = match exit {
        Exit::Drop => Command::Drop,
        Exit::Loop { id } => Command::Loop { id },
        Exit::Box => Command::Box,
    };
    check_path(path)?;
    let (header, layers) = build_header(tables, network, path, class, command, rng);
    let mut packet = Packet::zeroed();
    packet.bytes_mut()[..HEADER_LEN].copy_from_slice(&header);
    packet.delta_mut()[TAG_LEN..].copy_from_slice(body);
    for keys in layers.iter().rev() {
        Lioness::new(&keys.payload).encrypt(packet.delta_mut());
    }
    Ok(packet)
}

/// The header for a path whose last hop is told `last`, and the keys of all hops in order. The caller has checked the path.
pub(super) fn build_header(
    tables: &KeyTables,
    network: &NetworkId,
    path: &[Hop],
    class: Class,
    last: Command,
    rng: &mut impl CryptoRng,
) -> ([u8; HEADER_LEN], Vec<HopKeys>) {
    let (alpha, layers) = chain_keys(tables, network, path, rng);
    let (gamma, beta) = nest_blocks(path, &layers, class, last, rng);
    let mut header = [0; HEADER_LEN];
    header[0] = VERSION;
    header[ALPHA].copy_from_slice(&alpha);
    header[GAMMA].copy_from_slice(&gamma);
    header[BETA].copy_from_slice(&beta);
    (header, layers)
}

pub(super) fn check_path(path: &[Hop]) -> Result<(), BuildError> {
    if path.is_empty() {
        return Err(BuildError::EmptyPath);
    }
    if path.len() > MAX_HOPS {
        return Err(BuildError::LongPath(path.len()));
    }
    let repeated = path
        .iter()
        .enumerate()
        .any(|(i, hop)| path[..i].iter().any(|before| before.id == hop.id));
    if repeated {
        Err(BuildError::RepeatedHop)
    } else {
        Ok(())
    }
}

/// alpha_0 = x·G; the element shared with hop i is (x·b_0·…·b_{i−1})·Y_i.
fn chain_keys(
    tables: &KeyTables,
    network: &NetworkId,
    path: &[Hop],
    rng: &mut impl CryptoRng,
) -> ([u8; 32], Vec<HopKeys>) {
    let mut exponent = random_scalar(rng);
    let alpha = RistrettoPoint::mul_base(&exponent).compress().to_bytes();
    let mut layers = Vec::with_capacity(path.len());
    for hop in path {
        let context = KeyContext {
            network: *network,
            epoch: hop.epoch,
            relay: hop.id,
        };
        let shared = Zeroizing::new(tables.multiply(&hop.key, &exponent).compress());
        let keys = HopKeys::derive(&shared, &context);
        exponent *= keys.blinding;
        layers.push(keys);
    }
    exponent.zeroize();
    (alpha, layers)
}

/// Beta from the last hop to the first, and the gamma over the outermost.
fn nest_blocks(
    path: &[Hop],
    layers: &[HopKeys],
    class: Class,
    last: Command,
    rng: &mut impl CryptoRng,
) -> ([u8; GAMMA_LEN], [u8; BETA_LEN]) {
    let mut streams = Zeroizing::new([[0; STREAM_GROUP]; MAX_HOPS]);
    for (stream, keys) in streams.iter_mut().zip(layers) {
        keys.stream(stream);
    }
    let filler = filler(&streams[..layers.len()]);
    let filled = (layers.len() - 1) * BLOCK_LEN;
    // What no block covers starts random, not zero: zeros would show the last hop how long the path was (Kuhn et al. 2020).
    // The last block's unused fields and its delay are random for the same reason.
    let mut beta = [0; BETA_LEN];
    rng.fill_bytes(&mut beta);
    let mut gamma = [0; GAMMA_LEN];
    for (i, keys) in layers.iter().enumerate().rev() {
        let mut block = [0; BLOCK_LEN];
        let command = match path.get(i + 1) {
            Some(next) => {
                beta.copy_within(..BETA_LEN - BLOCK_LEN, BLOCK_LEN);
                block[BLOCK_LEN - GAMMA_LEN..].copy_from_slice(&gamma);
                Command::Forward { next: next.id }
            }
            None => {
                block.copy_from_slice(&beta[..BLOCK_LEN]);
                last
            }
        };
        Block {
            command,
            class,
            quantile: random_quantile(rng),
        }
        .write(&mut block);
        beta[..BLOCK_LEN].copy_from_slice(&block);
        xor(&mut beta, &streams[i]);
        if i + 1 == layers.len() {
            beta[BETA_LEN - filled..].copy_from_slice(&filler[..filled]);
        }
        gamma = keys.gamma(&beta);
    }
    (gamma, beta)
}

/// What the hops before the last append to beta by extending it with their streams, as the last hop will see it.
fn filler(streams: &[[u8; STREAM_GROUP]]) -> [u8; BETA_LEN] {
    let mut filler = [0; BETA_LEN];
    for (i, stream) in streams.iter().take(streams.len() - 1).enumerate() {
        // This hop sees beta with i blocks of filler at its end and adds one more of zeros.
        xor(
            &mut filler[..(i + 1) * BLOCK_LEN],
            &stream[BETA_LEN - i * BLOCK_LEN..BETA_LEN + BLOCK_LEN],
        );
    }
    filler
}

fn random_quantile(rng: &mut impl CryptoRng) -> Quantile {
    let mut bytes = [0; 2];
    rng.fill_bytes(&mut bytes);
    Quantile(u16::from_le_bytes(bytes))
}
