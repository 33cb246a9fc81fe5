//! Real nodes on loopback sockets: fifty in one process hold one root; one whose network dies says so.

use std::collections::BTreeSet;
use std::time::Duration;

use dht::network::NetworkParams;
use node::Node;
use node::config::{NetworkChoice, NodeConfig, Profile};
use node::env::Clock;
use node::net::KeyWatch;
use node::node::Hooks;
use node::view::NodeView;

const NODES: usize = 50;
/// What this may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_nodes_on_sockets_agree_on_the_root() {
    let root = tempfile::tempdir().unwrap();
    let params = NetworkParams::demo(Clock::start().now());
    let (mut nodes, mut addresses) = (Vec::new(), Vec::<String>::new());
    for index in 0..NODES {
        let mut config = NodeConfig::new(root.path().join(format!("n{index}")));
        config.network = NetworkChoice::Params(Box::new(params.clone()));
        // Little traffic: what is looked at is the mesh, not the packets.
        config.profile = Profile::Eco;
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        config.bootstrap = addresses.iter().rev().take(3).cloned().collect();
        let node = Node::start(config).await.unwrap();
        addresses.push(listening(&node).await);
        nodes.push(node);
    }
    let agreed = tokio::time::timeout(PATIENCE, agreement(&nodes)).await;
    let agreed = agreed.expect("fifty nodes hold one root in time");
    assert_eq!(agreed.nodes, NODES);
    // Nobody who could be a hop is missed by anybody: the flock of so small a mesh is everyone above the least.
    assert!(agreed.on_duty >= 16 && agreed.on_duty <= NODES);
    for node in nodes {
        node.stop().await.unwrap();
    }
}

async fn listening(node: &Node) -> String {
    loop {
        let view = node.handle.node().await.unwrap();
        if let Some(address) = view.listen.first() {
            return address.clone();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until all are ready and hold the same root of the same epoch; what one of them says.
async fn agreement(nodes: &[Node]) -> NodeView {
    loop {
        let mut views = Vec::new();
        for node in nodes {
            views.push(node.handle.node().await.unwrap());
        }
        let said: BTreeSet<_> = views
            .iter()
            .map(|view| (view.epoch, view.nodes, view.certified, view.root.clone()))
            .collect();
        if said.len() == 1 && views.iter().all(|view| view.ready && view.nodes == NODES) {
            return views.swap_remove(0);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_task_that_dies_is_no_clean_stop() {
    let root = tempfile::tempdir().unwrap();
    let mut config = NodeConfig::new(root.path());
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    // The first thing that any node looks up is the head of the epoch.
    let hooks = Hooks {
        keys: Some(KeyWatch::new(|_, _| {
            panic!("a mistake in the network task")
        })),
        ..Hooks::default()
    };
    let node = Node::start_with(config, hooks).await.unwrap();
    let ended = tokio::time::timeout(PATIENCE, node.stopped()).await;
    let error = ended.expect("the node notices").unwrap_err();
    assert!(error.to_string().contains("the network task"), "{error}");
}
