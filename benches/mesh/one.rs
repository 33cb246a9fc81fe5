//! One node in a process of its own: it says where it listens and when it is ready, and answers what it is asked.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use dht::network::NetworkParams;
use node::Node;
use node::config::{NetworkChoice, NodeConfig, Profile};
use node::view::NodeView;

use crate::child::{self, Child, say};

/// Looks that often.
const POLL: Duration = Duration::from_millis(20);

/// How a node of a mesh is set up.
pub(crate) fn config(directory: &Path, params: NetworkParams, bootstrap: &[String]) -> NodeConfig {
    let mut config = NodeConfig::new(directory);
    config.network = NetworkChoice::Params(Box::new(params));
    // Little traffic: what is looked at is the mesh, not the packets.
    config.profile = Profile::Eco;
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    config.bootstrap = bootstrap.to_vec();
    config
}

/// Starts a node and waits until it listens.
pub(crate) async fn listening(config: NodeConfig) -> (Node, String) {
    let node = Node::start(config).await.unwrap();
    loop {
        let view = node.handle.node().await.unwrap();
        if let Some(address) = view.listen.first() {
            return (node, address.clone());
        }
        tokio::time::sleep(POLL).await;
    }
}

/// What must be the same everywhere: epoch, root, and whose it is made of.
pub(crate) fn agreed(view: &NodeView) -> String {
    format!(
        "{} {} {} {} {}",
        view.ready, view.epoch, view.nodes, view.certified, view.root
    )
}

/// The child's part.
pub(crate) fn run() {
    let directory = child::setting("DIRECTORY");
    let params = std::fs::read(child::setting("NETWORK")).unwrap();
    let params = NetworkParams::from_cbor(&params).unwrap();
    let bootstrap = child::setting("BOOTSTRAP");
    let bootstrap: Vec<String> = bootstrap.split_whitespace().map(str::to_owned).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (node, address) =
        runtime.block_on(listening(config(Path::new(&directory), params, &bootstrap)));
    say(format!("listening {address}"));
    for order in child::orders() {
        match order.as_str() {
            "view" => {
                let view = runtime.block_on(node.handle.node()).unwrap();
                say(format!("view {}", agreed(&view)));
            }
            "ready" => runtime.block_on(async {
                while !node.handle.node().await.unwrap().ready {
                    tokio::time::sleep(POLL).await;
                }
                say("ready");
            }),
            "memory" => say(format!("memory {}", memory())),
            _ => break,
        }
    }
    runtime.block_on(node.stop()).unwrap();
}

/// Starts one as a child.
pub(crate) fn start(directory: &Path, network: &Path, bootstrap: &[String]) -> (Child, String) {
    let bootstrap = bootstrap.join(" ");
    let (directory, network) = (directory.display(), network.display());
    let settings: [(&str, &dyn Display); 3] = [
        ("DIRECTORY", &directory),
        ("NETWORK", &network),
        ("BOOTSTRAP", &bootstrap),
    ];
    let mut child = Child::start("node", &settings);
    let address = child.hear("listening");
    (child, address)
}

/// Bytes of this process that are in memory.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1_024
}
