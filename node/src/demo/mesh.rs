//! The demo's nodes: started one after the other from directories of their own, stopped, started
//! again.

use std::path::PathBuf;
use std::time::Duration;

use dht::network::NetworkParams;

use crate::config::{NetworkChoice, NodeConfig, Profile};
use crate::error::{Error, ErrorKind};
use crate::handle::NodeHandle;
use crate::node::Node;
use crate::view::NodeView;

/// How many of the nodes before it a node is told about.
const BOOTSTRAPS: usize = 3;

/// A mesh in one process.
pub(super) struct Mesh {
    root: tempfile::TempDir,
    network: NetworkParams,
    nodes: Vec<Option<Node>>,
    addresses: Vec<String>,
}

impl Mesh {
    pub(super) fn new(network: NetworkParams) -> Result<Self, Error> {
        let root = tempfile::Builder::new()
            .prefix("murmur-demo-")
            .tempdir()
            .map_err(|cause| {
                Error::new(
                    ErrorKind::DataDir,
                    format!("no temporary directory: {cause}"),
                    "set TMPDIR to a directory you can write to",
                )
            })?;
        Ok(Self {
            root,
            network,
            nodes: Vec::new(),
            addresses: Vec::new(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Starts one more node.
    pub(super) async fn grow(&mut self) -> Result<(), Error> {
        let index = self.nodes.len();
        self.nodes.push(None);
        self.addresses.push(String::new());
        self.start(index).await
    }

    /// Starts node `index`, from its directory if it ran before.
    pub(super) async fn start(&mut self, index: usize) -> Result<(), Error> {
        let known = self
            .addresses
            .iter()
            .take(index)
            .rev()
            .chain(self.addresses.iter().skip(index + 1));
        let bootstrap = known
            .filter(|text| !text.is_empty())
            .take(BOOTSTRAPS)
            .cloned()
            .collect();
        let config = NodeConfig {
            network: NetworkChoice::Params(Box::new(self.network.clone())),
            profile: Profile::Balanced,
            listen: vec!["/ip4/127.0.0.1/tcp/0".to_owned()],
            bootstrap,
            ..NodeConfig::new(self.dir(index))
        };
        let node = Node::start(config).await?;
        let view = listening(&node.handle).await?;
        if let (Some(slot), Some(address)) = (self.addresses.get_mut(index), view.listen.first()) {
            slot.clone_from(address);
        }
        if let Some(slot) = self.nodes.get_mut(index) {
            *slot = Some(node);
        }
        Ok(())
    }

    /// Stops node `index`; its directory stays.
    pub(super) async fn stop(&mut self, index: usize) -> Result<(), Error> {
        if let Some(node) = self.nodes.get_mut(index).and_then(Option::take) {
            node.stop().await?;
        }
        Ok(())
    }

    pub(super) async fn stop_all(&mut self) -> Result<(), Error> {
        for index in 0..self.nodes.len() {
            self.stop(index).await?;
        }
        Ok(())
    }

    pub(super) fn handle(&self, index: usize) -> Result<NodeHandle, Error> {
        self.nodes
            .get(index)
            .and_then(Option::as_ref)
            .map(|node| node.handle.clone())
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Internal,
                    "the node is not running",
                    "this is a bug in the demo",
                )
            })
    }

    /// What every running node says of itself.
    pub(super) async fn views(&self) -> Result<Vec<NodeView>, Error> {
        let mut views = Vec::with_capacity(self.nodes.len());
        for node in self.nodes.iter().flatten() {
            views.push(node.handle.node().await?);
        }
        Ok(views)
    }

    /// Waits until every node is ready, all hold one root and all links are up; calls `tell` with how
    /// many agree.
    pub(super) async fn settle(&self, mut tell: impl FnMut(usize)) -> Result<(), Error> {
        loop {
            let views = self.views().await?;
            let agreed = agreeing(&views);
            tell(agreed);
            let linked = views.iter().all(|view| view.links + 1 >= self.nodes.len());
            if linked && agreed == self.nodes.len() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn dir(&self, index: usize) -> PathBuf {
        self.root.path().join(format!("node-{index:03}"))
    }
}

/// How many ready nodes hold the most common root of the most common epoch.
pub(super) fn agreeing(views: &[NodeView]) -> usize {
    let ready: Vec<_> = views.iter().filter(|view| view.ready).collect();
    let same = |one: &NodeView| {
        ready
            .iter()
            .filter(|other| (other.epoch, &other.root) == (one.epoch, &one.root))
            .count()
    };
    ready.iter().map(|view| same(view)).max().unwrap_or(0)
}

async fn listening(handle: &NodeHandle) -> Result<NodeView, Error> {
    loop {
        let view = handle.node().await?;
        if !view.listen.is_empty() {
            return Ok(view);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
