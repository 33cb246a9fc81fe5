//! The node's network layer: one libp2p swarm in one task that does nothing but move bytes.
//!
//! Commands come in and events go out by bounded channels. Here are the packet links ([`link`]), the decisions
//! whom to dial and whom to drop ([`links`]) and the swarm's loop. Not here: what a packet, a record or a wanted
//! peer means; Kademlia and gossip are set up in `dht::net`. See the chapter in `SPEC.md`.

use libp2p::Multiaddr;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

mod types;

pub use types::{
    Clock, FRAME_LEN, Limits, NetCommand, NetConfig, NetCounters, NetDrop, NetEvent, Tap, TapFrame, Verdict,
};

/// A running network layer.
#[derive(Debug)]
pub struct Net {
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
pub async fn spawn(config: NetConfig) -> Result<Net, NetError> {
    let _ = config;
    Err(NetError::Setup("not built yet".into()))
}
