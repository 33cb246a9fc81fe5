//! The node's network layer: one libp2p swarm in one task that does nothing but move bytes.
//!
//! Commands come in and events go out by bounded channels. Here are the packet links (`link`), the decisions
//! whom to dial and whom to drop ([`links`]) and the swarm's loop. Not here: what a packet, a record or a wanted
//! peer means; Kademlia and gossip are set up in `dht::net`. See the chapter in `SPEC.md`.

use std::sync::Arc;
use std::time::Duration;

use dht::net::Names;
use libp2p::connection_limits::ConnectionLimits;
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, Swarm, connection_limits, memory_connection_limits, ping, swarm};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use zeroize::Zeroize;

use link::Shared;
use links::LinkManager;
use probe::Probe;
use task::{Behaviour, Task};

mod link;
pub mod links;
mod outbox;
mod probe;
mod reach;
mod task;
mod transport;
mod types;

pub use types::{
    Clock, FRAME_LEN, KeyWatch, Limits, NetCommand, NetConfig, NetCounters, NetDrop, NetEvent, Tap,
    TapFrame, Verdict,
};

/// The packet links: the short way for packets, past the queue of commands.
#[derive(Clone, Debug)]
pub struct Links(Arc<Shared>);

impl Links {
    /// Puts a packet into the queue of the link to a peer, as [`NetCommand::Send`] does. Without a link, or if its queue is full,
    /// it is a counted drop.
    pub fn send(&self, to: &[u8; 32], packet: Box<[u8; FRAME_LEN]>) {
        self.0.send(to, packet);
    }
}

/// A running network layer.
#[derive(Debug)]
pub struct Net {
    /// Where to put packets.
    pub links: Links,
    /// Where to send commands.
    pub commands: mpsc::Sender<NetCommand>,
    /// Where events arrive.
    pub events: mpsc::Receiver<NetEvent>,
    /// The task; ends within 2 s of [`NetCommand::Shutdown`], or when `commands` is dropped.
    pub task: JoinHandle<()>,
}

/// Why the network layer could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Somebody else listens there.
    #[error("{address} is already in use by another program; choose another port")]
    PortInUse {
        /// The address asked for.
        address: Multiaddr,
    },
    /// The system forbids it (ports below 1024 usually).
    #[error("no permission to listen on {address}; ports below 1024 need more rights")]
    Permission {
        /// The address asked for.
        address: Multiaddr,
    },
    /// Not an address this build can listen on.
    #[error("cannot listen on {address}: {why}")]
    Address {
        /// The address asked for.
        address: Multiaddr,
        /// What is wrong with it.
        why: String,
    },
    /// The secret is not an Ed25519 secret, or the transport could not be set up.
    #[error("cannot start the network: {0}")]
    Setup(String),
}

/// Starts the network layer in a task of the current tokio runtime and listens on every address of `config.listen`.
///
/// # Errors
/// [`NetError`] names the address that cannot be listened on, and why.
pub async fn spawn(mut config: NetConfig) -> Result<Net, NetError> {
    let keys =
        Keypair::ed25519_from_bytes(config.secret).map_err(|e| NetError::Setup(e.to_string()));
    config.secret.zeroize();
    let keys = keys?;
    let own = keys.public().to_peer_id();
    let node = dht::net::node_id(&own)
        .ok_or_else(|| NetError::Setup("the secret is not an Ed25519 key".into()))?;
    let names = Names::new(&config.network).map_err(|e| NetError::Setup(e.to_string()))?;
    let limits = &config.limits;

    let (commands, incoming) = mpsc::channel(limits.commands.max(1));
    let (outgoing, events) = mpsc::channel(limits.events.max(1));
    let shared = Arc::new(Shared::new(
        node,
        names.packet.clone(),
        config.clock.clone(),
        (limits.frames_per_s, limits.frame_burst),
        outgoing.clone(),
        config.tap.clone(),
    ));
    // Who listens on loopback alone is reached by whom it should be; so is who does not listen at all.
    let probes =
        (config.listen.iter()).any(|at| dht::net::reach_of(at) != Some(dht::net::Reach::Loopback));
    let behaviour = Behaviour {
        limits: connection_limits::Behaviour::new(connection_caps(limits)),
        memory: match limits.memory {
            Some(bytes) => memory_connection_limits::Behaviour::with_max_bytes(bytes),
            None => memory_connection_limits::Behaviour::with_max_percentage(0.9),
        },
        link: link::Behaviour::new(own, shared.clone()),
        probe: probes.then(|| Probe::new(own)).into(),
        ping: ping::Behaviour::new(
            ping::Config::new()
                .with_interval(Duration::from_secs(15))
                .with_timeout(Duration::from_secs(10)),
        ),
        overlay: dht::net::Behaviour::new(&keys, &names)
            .map_err(|e| NetError::Setup(e.to_string()))?,
    };
    let quic = config.quic || config.listen.iter().any(transport::is_quic);
    let mut swarm = Swarm::new(
        transport::build(&keys, quic)?,
        behaviour,
        own,
        swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(10)),
    );
    for address in &config.listen {
        transport::listen(&mut swarm, address)?;
    }
    let manager = LinkManager::new(node, config.second_dial_ms, limits.high_water, config.seed);
    let links = Links(shared.clone());
    let task = Task::new(swarm, names, manager, shared, outgoing, config.keys);
    let task = tokio::spawn(task.run(incoming, config.bootstrap));
    Ok(Net {
        links,
        commands,
        events,
        task,
    })
}

fn connection_caps(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(64))
        .with_max_pending_outgoing(Some(64))
        .with_max_established(Some(limits.connections))
        .with_max_established_incoming(Some(limits.inbound))
        // Two nodes that dial each other at once have two for a moment, and one that tries whether the other can be dialled makes
        // a third; a fourth would be somebody's mistake.
        .with_max_established_per_peer(Some(3))
}

#[doc = include_str!("net/SPEC.md")]
pub mod spec {}

#[cfg(test)]
mod tests;
