//! The nodes that are looked at, and everything written down while they run: frames on links, keys on disks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dht::network::NetworkParams;
use libp2p::PeerId;
use mix::time::Moment;
use mix::{EpochKey, ShortId};
use node::Node;
use node::config::{NetworkChoice, NodeConfig, Profile};
use node::env::Clock;
use node::handle::{NodeHandle, SendRequest};
use node::net::{KeyWatch, Tap, TapFrame};
use node::node::Hooks;
use node::view::MessageState;
use storage::vault::Vault;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::capture::Record;
use crate::letters::Delivered;
use crate::peeling::KeyBook;

/// Frames that may wait to be written down.
const TAP: usize = 1 << 16;
/// Nodes a new one is told about.
const BOOTSTRAPS: usize = 3;

/// A running mesh under observation.
pub(crate) struct Mesh {
    root: tempfile::TempDir,
    params: NetworkParams,
    genesis: Moment,
    nodes: Vec<Node>,
    ids: Vec<[u8; 32]>,
    addresses: Vec<String>,
    tap: Tap,
    seen: Arc<Mutex<Vec<(TapFrame, Duration)>>>,
    clock: Clock,
    tasks: Vec<JoinHandle<()>>,
    keys: Arc<Mutex<BTreeMap<(usize, u32), EpochKey>>>,
    lookups: Arc<Mutex<Lookups>>,
}

/// Kademlia keys, as those who are asked and those who look at links without encryption would see them.
#[derive(Debug, Default)]
pub(crate) struct Lookups {
    /// Keys looked up, with the node that did.
    pub(crate) asked: Vec<(usize, [u8; 32])>,
    /// Keys that somebody serves.
    pub(crate) served: BTreeSet<[u8; 32]>,
}

/// The demo's network with a slow class no slower than the fast one: cover travels in both, and a
/// capture ends before ten-second delays do.
fn params(genesis: Moment) -> NetworkParams {
    let mut params = NetworkParams::demo(genesis);
    params.delay_ms[2] = params.delay_ms[0];
    params
}

impl Mesh {
    /// Starts one node per profile, each from a directory of its own.
    pub(crate) async fn start(profiles: &[Profile]) -> Self {
        let clock = Clock::start();
        let genesis = clock.now();
        let (tap, mut frames) = Tap::new(TAP);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&seen);
        // One channel for all nodes: what was read before something was written stands before it.
        let noting = tokio::spawn(async move {
            while let Some(frame) = frames.recv().await {
                notes.lock().unwrap().push((frame, since(&clock, genesis)));
            }
        });
        let mut mesh = Self {
            root: tempfile::tempdir().unwrap(),
            params: params(genesis),
            genesis,
            nodes: Vec::new(),
            ids: Vec::new(),
            addresses: Vec::new(),
            tap,
            seen,
            clock,
            tasks: vec![noting],
            keys: Arc::default(),
            lookups: Arc::default(),
        };
        let watching = tokio::spawn(watch_keys(
            (0..profiles.len())
                .map(|node| mesh.directory(node))
                .collect(),
            Arc::clone(&mesh.keys),
        ));
        mesh.tasks.push(watching);
        for profile in profiles {
            mesh.grow(*profile).await;
        }
        mesh
    }

    async fn grow(&mut self, profile: Profile) {
        let mut config = NodeConfig::new(self.directory(self.nodes.len()));
        config.network = NetworkChoice::Params(Box::new(self.params.clone()));
        config.profile = profile;
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        config.bootstrap = self
            .addresses
            .iter()
            .rev()
            .take(BOOTSTRAPS)
            .cloned()
            .collect();
        let (number, lookups) = (self.nodes.len(), Arc::clone(&self.lookups));
        let watch = move |key: &[u8; 32], asked: bool| {
            let mut lookups = lookups.lock().unwrap();
            if asked {
                lookups.asked.push((number, *key));
            } else {
                lookups.served.insert(*key);
            }
        };
        let hooks = Hooks {
            tap: Some(self.tap.clone()),
            keys: Some(KeyWatch::new(watch)),
        };
        let node = Node::start_with(config, hooks).await.unwrap();
        let view = loop {
            let view = node.handle.node().await.unwrap();
            if !view.listen.is_empty() {
                break view;
            }
            sleep(Duration::from_millis(10)).await;
        };
        // The peer id is the Ed25519 key behind a head that names its kind.
        let peer: PeerId = view.peer_id.parse().unwrap();
        let bytes = peer.to_bytes();
        self.ids.push(bytes[bytes.len() - 32..].try_into().unwrap());
        self.addresses.push(view.listen[0].clone());
        self.nodes.push(node);
    }

    pub(crate) fn handle(&self, node: usize) -> NodeHandle {
        self.nodes[node].handle.clone()
    }

    pub(crate) fn elapsed(&self) -> Duration {
        since(&self.clock, self.genesis)
    }

    /// Waits until every node is ready and all hold one root.
    pub(crate) async fn settle(&self) {
        loop {
            let mut views = Vec::new();
            for node in &self.nodes {
                let view = node.handle.node().await.unwrap();
                views.push((view.ready, view.nodes, view.epoch, view.root));
            }
            let whole = views[0].0 && views[0].1 == self.nodes.len();
            if whole && views.iter().all(|view| *view == views[0]) {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Lets `from` greet `to` and waits for the answer.
    pub(crate) async fn greet(&self, from: usize, to: usize) {
        let address = self.handle(to).addresses().await.unwrap()[0]
            .address
            .clone();
        let handle = self.handle(from);
        handle.add_contact(&name(to), &address).await.unwrap();
        while handle
            .contacts()
            .await
            .unwrap()
            .iter()
            .all(|contact| contact.state != "ready")
        {
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Sends a message to the one contact of `from`, under whatever name that has there.
    pub(crate) async fn send(&self, from: usize, text: &str) -> String {
        let handle = self.handle(from);
        let contacts = handle.contacts().await.unwrap();
        let request = SendRequest {
            to: contacts[0].name.clone(),
            body: text.as_bytes().to_vec(),
            deadline_ms: Some(600_000),
            ..SendRequest::default()
        };
        handle.send(request).await.unwrap().id
    }

    /// Waits until the message has arrived, and takes its id from the receiver's inbox.
    pub(crate) async fn arrive(&self, from: usize, to: usize, id: &str, text: &str) -> Delivered {
        let view = self
            .handle(from)
            .wait_message(id, MessageState::Delivered)
            .await
            .unwrap();
        assert_eq!(view.state, MessageState::Delivered, "{:?}", view.reason);
        let inbox = self.handle(to).inbox(0, 100).await.unwrap();
        let message = inbox.iter().find(|message| message.body == text).unwrap();
        let digits = message
            .id
            .as_bytes()
            .chunks(2)
            .map(|two| std::str::from_utf8(two).unwrap());
        let bytes: Vec<u8> = digits
            .map(|two| u8::from_str_radix(two, 16).unwrap())
            .collect();
        Delivered {
            id: bytes.try_into().unwrap(),
            from,
            to,
        }
    }

    /// Ends the capture, stops every node and gives all that was written down.
    pub(crate) async fn stop(self) -> Observed {
        let span_ms = (self.genesis.as_millis(), self.clock.now().as_millis());
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        let lost = self.tap.lost();
        let keys = self.keys.lock().unwrap().clone();
        for task in self.tasks {
            task.abort();
        }
        let stopping: Vec<_> = self
            .nodes
            .into_iter()
            .map(|node| tokio::spawn(node.stop()))
            .collect();
        for stopped in stopping {
            stopped.await.unwrap().unwrap();
        }
        let numbers: BTreeMap<[u8; 32], usize> = self.ids.iter().copied().zip(0..).collect();
        let records = seen.into_iter().map(|(frame, at)| Record {
            from: numbers[&frame.from],
            to: numbers[&frame.to],
            bytes: frame.bytes,
            written: frame.at_write,
            at,
        });
        let network = self.params.id();
        let shorts = self
            .ids
            .iter()
            .map(|id| ShortId::derive(&network, id))
            .collect();
        Observed {
            records: records.collect(),
            lost,
            book: KeyBook {
                network,
                shorts,
                keys,
            },
            span_ms,
            params: self.params,
            lookups: std::mem::take(&mut *self.lookups.lock().unwrap()),
            root: self.root,
        }
    }

    fn directory(&self, node: usize) -> PathBuf {
        directory(self.root.path(), node)
    }
}

/// Everything an observer of all links and all disks has.
pub(crate) struct Observed {
    pub(crate) records: Vec<Record>,
    /// Frames the tap could not hold.
    pub(crate) lost: u64,
    pub(crate) book: KeyBook,
    pub(crate) params: NetworkParams,
    /// When it all happened, Unix ms.
    pub(crate) span_ms: (u64, u64),
    pub(crate) lookups: Lookups,
    root: tempfile::TempDir,
}

impl Observed {
    pub(crate) fn directory(&self, node: usize) -> PathBuf {
        directory(self.root.path(), node)
    }
}

fn directory(root: &Path, node: usize) -> PathBuf {
    root.join(format!("node-{node:02}"))
}

fn name(node: usize) -> String {
    format!("node-{node}")
}

pub(crate) fn vault_key(directory: &Path) -> Option<[u8; 32]> {
    std::fs::read(directory.join("vault.key"))
        .ok()?
        .try_into()
        .ok()
}

/// Copies every epoch key from the disks as it appears; the nodes erase them when their time is over.
async fn watch_keys(directories: Vec<PathBuf>, keys: Arc<Mutex<BTreeMap<(usize, u32), EpochKey>>>) {
    loop {
        for (node, directory) in directories.iter().enumerate() {
            let listing = std::fs::read_dir(directory.join("epochs"))
                .into_iter()
                .flatten()
                .flatten();
            for path in listing.map(|entry| entry.path()) {
                if path.extension().is_some_and(|ext| ext == "epoch")
                    && let Some(key) = read_key(directory, &path)
                {
                    keys.lock().unwrap().entry((node, key.epoch)).or_insert(key);
                }
            }
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// `MKF1 | epoch u32 | length u16 | sealed key | tags` (node/src/disk.rs). `None` while it is being erased.
fn read_key(directory: &Path, path: &Path) -> Option<EpochKey> {
    let bytes = std::fs::read(path).ok()?;
    let rest = bytes.strip_prefix(b"MKF1")?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (len, rest) = rest.split_first_chunk::<2>()?;
    let sealed = rest.get(..usize::from(u16::from_le_bytes(*len)))?;
    let label = format!("epoch-key/{}", u32::from_le_bytes(*epoch));
    let opened = Vault::new(vault_key(directory)?)
        .open(&label, sealed)
        .ok()?;
    EpochKey::from_bytes(opened.as_slice().try_into().ok()?).ok()
}

fn since(clock: &Clock, start: Moment) -> Duration {
    Duration::from_micros((clock.now() - start).0)
}
