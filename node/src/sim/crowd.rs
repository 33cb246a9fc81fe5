//! Directories of nodes that never run: for what follows from the directory alone.

use std::sync::Arc;

use dht::beat::{Beat, BeatFields};
use dht::descriptor::{Capability, Descriptor, DescriptorFields};
use dht::directory::Directory;
use dht::epoch;
use dht::network::NetworkParams;
use ed25519_dalek::SigningKey;
use mix::MixSecret;
use rand_core::Rng;

use crate::error::Error;
use crate::sim::seed::stream;

/// What such a node declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Weight; one above 0 holds mailboxes.
    pub weight: u8,
    /// Subnet tag; 0 states none.
    pub subnet: u32,
}

/// The directory of an epoch of a network of these nodes, in which the nodes' keys and the epoch's seed follow from `seed`.
///
/// # Errors
/// A declaration that no node can make.
pub fn directory(
    params: &Arc<NetworkParams>,
    seed: u64,
    epoch: u32,
    nodes: impl IntoIterator<Item = Declared>,
) -> Result<Arc<Directory>, Error> {
    let network = params.id();
    let from = epoch::start_of(params, epoch).as_millis();
    let mut records = Vec::new();
    for (declared, number) in nodes.into_iter().zip(0u64..) {
        let mut rng = stream(seed, "crowd", number, 0);
        let mut secret = [0; 32];
        rng.fill_bytes(&mut secret);
        let key = SigningKey::from_bytes(&secret);
        let capability = Capability::new(declared.weight, declared.weight > 0)
            .ok_or_else(|| Error::internal("a node of the crowd is too heavy"))?;
        let descriptor = DescriptorFields {
            seq: 1,
            valid_from: from,
            valid_until: from + params.epoch_ms,
            capability,
            subnet: declared.subnet,
            vrf_key: [0; 32],
            admission: Vec::new(),
            addresses: Vec::new(),
        };
        let beat = BeatFields {
            epoch,
            mix_key: MixSecret::random(&mut rng).public().to_bytes(),
            capability,
            load: 0,
            replay_root: [0; 16],
        };
        let unsigned = || Error::internal("a node of the crowd can't sign");
        records.push((
            Descriptor::sign(&network, &key, descriptor).map_err(|_| unsigned())?,
            Beat::sign(&network, &key, beat).map_err(|_| unsigned())?,
        ));
    }
    let mut order = [0; 32];
    stream(seed, "crowd order", 0, 0).fill_bytes(&mut order);
    Ok(Arc::new(Directory::build(params, epoch, order, records)))
}
