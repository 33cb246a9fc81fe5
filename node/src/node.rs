//! A running node: everything put together on a data directory, real sockets and a real clock.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use libp2p::Multiaddr;
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use storage::backend::disk::DiskBackend;
use storage::vault::Vault;
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::bootstrap::{self, BootstrapList};
use crate::config::NodeConfig;
use crate::core::identity::Identity;
use crate::core::start::{Known, subnet};
use crate::core::{Core, CoreConfig};
use crate::datadir::{self, DataDir, PEER_FILE};
use crate::disk::Disk;
use crate::driver::Driver;
use crate::driver::peelers::{self, Peelers};
use crate::env::{self, Clock};
use crate::error::{Error, ErrorKind};
use crate::handle::NodeHandle;
use crate::net::{self, KeyWatch, NetConfig, Tap};
use crate::view::Event;

/// Peers of the last life dialled before those named: half of the dials at a time, so that none of them can hold up the others.
const REMEMBERED_FIRST: usize = 8;
/// Requests that may wait for the driver.
const REQUESTS: usize = 256;
/// Events a slow listener may be behind.
const EVENTS: usize = 4096;
/// Bytes of mailbox entries held for others.
const QUOTA: u64 = 256 << 20;

/// A node that runs until it is stopped or dropped with all its handles.
#[derive(Debug)]
pub struct Node {
    /// The way in.
    pub handle: NodeHandle,
    task: JoinHandle<Result<(), Error>>,
}

/// What tests may add to a node: they see every packet on its links and every key it looks up.
#[derive(Debug, Default)]
pub struct Hooks {
    /// A copy of every frame written and read.
    pub tap: Option<Tap>,
    /// The key of every record looked up and served.
    pub keys: Option<KeyWatch>,
}

impl Node {
    /// Starts a node: takes the data directory, listens, and begins to look for the mesh.
    ///
    /// # Errors
    /// Says what is wrong with the directory, the store, an address or a port, and what to do.
    pub async fn start(config: NodeConfig) -> Result<Self, Error> {
        Self::start_with(config, Hooks::default()).await
    }

    /// As [`Self::start`], with hooks for tests.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(config: NodeConfig, hooks: Hooks) -> Result<Self, Error> {
        let clock = Clock::start();
        let mut rng = env::entropy()?;
        let params = config.network.params()?;
        let network = params.id();
        let dir = DataDir::open(&config.data_dir, &mut rng)?;
        let vault = Vault::new(*dir.vault_key());
        let backend = DiskBackend::open(dir.path().join("store")).map_err(Error::storage)?;
        let disk = Disk::new(backend.clone(), dir.path().join("epochs")).map_err(Error::storage)?;
        let stored = disk.load_keys().map_err(Error::storage)?;
        let identity = identity(&dir, &backend, &vault, &mut rng)?;

        let mut net_config =
            NetConfig::new(*identity.node_secret(), network.0, env::monotonic_millis());
        net_config.listen = addresses(&config.listen)?;
        let mut named = addresses(&config.bootstrap)?;
        if let Some((file, key)) = &config.bootstrap_list {
            named.extend(listed(file, key, &network.0, clock.now().as_millis())?);
        }
        net_config.quic = config.quic;
        net_config.second_dial_ms = (params.epoch_ms / 20).clamp(500, 3_000);
        net_config.tap = hooks.tap;
        net_config.keys = hooks.keys;
        rng.fill_bytes(&mut net_config.seed);

        let (rates, weight) = config.profile.shape(&params);
        let core_config = CoreConfig {
            params,
            profile: config.profile.name().to_owned(),
            rates,
            weight,
            quota_bytes: QUOTA,
        };
        let peer_id = peer_id(&identity)?;
        let peelers = Peelers::start(peelers::default_threads(), ChaCha20Rng::from_rng(&mut rng))
            .map_err(|cause| {
            Error::new(
                ErrorKind::Internal,
                format!("can't start a thread: {cause}"),
                "check the limits on threads",
            )
        })?;
        let now = clock.now();
        let mut core = Core::open(core_config, identity, backend, vault, stored, now, rng)?;
        net_config.bootstrap = first_dials(remembered(core.remembered_peers()?), named);
        core.set_start_subnets(subnets(&net_config.bootstrap));
        // Sockets last: a node that can't read its store never shows up in the mesh.
        let net = net::spawn(net_config).await.map_err(|cause| {
            Error::new(
                ErrorKind::Network,
                cause.to_string(),
                "choose another --listen address",
            )
        })?;
        let (requests, incoming) = mpsc::channel(REQUESTS);
        let (events, _) = broadcast::channel::<(u64, Event)>(EVENTS);
        let handle = NodeHandle::new(requests, events.clone());
        let driver = Driver::new(core, clock, net, peelers, disk, (incoming, events), peer_id);
        let task = tokio::spawn(async move {
            let ended = driver.run().await;
            // The directory stays locked until the last write is done.
            drop(dir);
            ended
        });
        Ok(Self { handle, task })
    }

    /// Stops the node and waits until its directory is free again.
    ///
    /// # Errors
    /// `Internal` if the node ended by a mistake of ours.
    pub async fn stop(self) -> Result<(), Error> {
        // Already stopped is what we want.
        let _ = self.handle.stop().await;
        self.stopped().await
    }

    /// Waits until the node has ended.
    ///
    /// # Errors
    /// `Internal` if it ended by a mistake of ours.
    pub async fn stopped(self) -> Result<(), Error> {
        self.task.await.map_err(|cause| {
            Error::new(
                ErrorKind::Internal,
                "the node ended unexpectedly",
                "report this as a bug",
            )
            .with_source(cause)
        })?
    }
}

/// The node's identity, made only in a directory that never had one: a damaged store can look like an empty one, and a
/// node that quietly became somebody else would have lost every contact and message without a word.
fn identity(
    dir: &DataDir,
    backend: &DiskBackend,
    vault: &Vault,
    rng: &mut impl rand_core::CryptoRng,
) -> Result<Identity, Error> {
    let file = dir.path().join(PEER_FILE);
    let expected = datadir::read_private(&file)?;
    let store = dir.path().join("store");
    if expected.is_some() && !Identity::is_stored(backend)? {
        return Err(Error::new(
            ErrorKind::Storage,
            format!(
                "the store in {} is damaged: this node's identity is gone from it",
                store.display()
            ),
            "restore the whole data directory from a backup, or start anew in another one with --data DIR",
        ));
    }
    let identity = Identity::load_or_create(backend, vault, rng)?;
    let peer = format!("{}\n", peer_id(&identity)?);
    match expected {
        None => datadir::write_private(&file, peer.as_bytes())?,
        Some(expected) if expected == peer.as_bytes() => {}
        Some(_) => {
            return Err(Error::new(
                ErrorKind::Storage,
                format!(
                    "{} names another node than the one in {}",
                    file.display(),
                    store.display()
                ),
                "restore the data directory whole from one backup; if the store is the right one, remove that file",
            ));
        }
    }
    Ok(identity)
}

/// The peers of a signed list.
fn listed(
    file: &Path,
    key: &[u8; 32],
    network: &[u8; 32],
    now: u64,
) -> Result<Vec<Multiaddr>, Error> {
    let unreadable = |cause: std::io::Error| {
        Error::new(
            ErrorKind::Network,
            format!("can't read {}: {cause}", file.display()),
            "name the file of a signed list with --bootstrap-list, or leave it out",
        )
    };
    // A file of any length may be named; no more of it is read than a list can have.
    let most = u64::try_from(bootstrap::MAX_LEN).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(most).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    Ok(BootstrapList::verify(&bytes, network, key, now)?.peers)
}

/// One address of each peer of the last life, with its name.
fn remembered(peers: Vec<Known>) -> Vec<Multiaddr> {
    let named = peers.into_iter().filter_map(|(id, addresses)| {
        let address = Multiaddr::try_from(addresses.into_iter().next()?).ok()?;
        address.with_p2p(dht::net::peer_id(&id.0)?).ok()
    });
    named.collect()
}

/// In which order to dial: some peers of the last life, who were there a moment ago as a rule; those named; the others of the last life.
fn first_dials(mut remembered: Vec<Multiaddr>, named: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let later = remembered.split_off(remembered.len().min(REMEMBERED_FIRST));
    let mut all = remembered;
    for address in named.into_iter().chain(later) {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

/// In how many subnets they lie.
fn subnets(addresses: &[Multiaddr]) -> usize {
    let tags = addresses.iter().filter_map(|one| subnet(&one.to_vec()));
    tags.collect::<BTreeSet<_>>().len()
}

fn addresses(texts: &[String]) -> Result<Vec<Multiaddr>, Error> {
    texts
        .iter()
        .map(|text| {
            text.parse().map_err(|cause| {
                Error::new(
                    ErrorKind::Network,
                    format!("{text:?} is not a multiaddr: {cause}"),
                    "write it like /ip4/127.0.0.1/tcp/7400",
                )
            })
        })
        .collect()
}

fn peer_id(identity: &Identity) -> Result<String, Error> {
    let public = libp2p::identity::ed25519::PublicKey::try_from_bytes(&identity.node_id().0)
        .map_err(|cause| {
            Error::new(
                ErrorKind::Internal,
                "the node key is unusable",
                "report this as a bug",
            )
            .with_source(cause)
        })?;
    Ok(libp2p::identity::PublicKey::from(public)
        .to_peer_id()
        .to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_last_life_goes_first_and_holds_up_nobody() {
        let address = |n: u8| -> Multiaddr { format!("/ip4/9.{n}.0.1/tcp/7400").parse().unwrap() };
        let remembered: Vec<_> = (0..20).map(address).collect();
        let named = vec![address(3), address(100), address(15)];
        let all = first_dials(remembered.clone(), named);
        assert_eq!(all[..8], remembered[..8]);
        assert_eq!(all[8..10], [address(100), address(15)]);
        assert_eq!((all.len(), subnets(&all)), (21, 21));
        assert_eq!(first_dials(Vec::new(), vec![address(1)]), [address(1)]);
        assert_eq!(
            subnets(
                &[
                    "/ip4/9.1.0.1/tcp/1",
                    "/ip4/9.1.7.7/tcp/1",
                    "/dns4/a.b/tcp/1"
                ]
                .map(|one| one.parse().unwrap())
            ),
            1
        );
    }

    #[test]
    fn a_list_is_read_from_its_file_and_no_further_than_its_length() {
        let dir = tempfile::TempDir::new().unwrap();
        let file = dir.path().join("list");
        let key = ed25519_dalek::SigningKey::from_bytes(&[9; 32]);
        let public = key.verifying_key().to_bytes();
        let peer = dht::net::peer_id(&public).unwrap();
        let address: Multiaddr = "/ip4/9.9.9.9/tcp/7400".parse().unwrap();
        let list = BootstrapList {
            from: 0,
            until: 9,
            peers: vec![address.with_p2p(peer).unwrap()],
        };
        assert!(
            listed(&file, &public, &[1; 32], 5)
                .unwrap_err()
                .message()
                .contains("can't read")
        );
        std::fs::write(&file, list.sign(&[1; 32], &key).unwrap()).unwrap();
        assert_eq!(listed(&file, &public, &[1; 32], 5).unwrap(), list.peers);
        assert!(listed(&file, &public, &[1; 32], 9).is_err());
        std::fs::write(&file, vec![1; bootstrap::MAX_LEN * 2]).unwrap();
        assert!(
            listed(&file, &public, &[1; 32], 5)
                .unwrap_err()
                .message()
                .contains("is not one")
        );
    }
}
