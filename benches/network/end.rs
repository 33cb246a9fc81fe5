//! One network layer: the real links over real sockets, with an identity made from a number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use mix::ShortId;
use node::net::{Clock, Net, NetCommand, NetConfig, NetCounters, NetEvent, Tap};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::lab::NETWORK;

/// TCP on loopback, any port.
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";

/// A network layer that listens.
pub(crate) struct End {
    pub(crate) id: [u8; 32],
    pub(crate) net: Net,
    pub(crate) address: String,
    runtime: Handle,
}

/// The node id that belongs to a secret.
pub(crate) fn id_of(secret: u8) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(&[secret; 32])
        .verifying_key()
        .to_bytes()
}

/// Its short form in routing blocks.
pub(crate) fn short_of(secret: u8) -> ShortId {
    ShortId::derive(&NETWORK, &id_of(secret))
}

impl End {
    /// Its tasks run on `runtime`.
    pub(crate) fn start(runtime: &Handle, secret: u8, listen: &str) -> Self {
        Self::start_tapped(runtime, secret, listen, None)
    }

    /// As [`start`](Self::start), with somebody who sees every frame.
    pub(crate) fn start_tapped(
        runtime: &Handle,
        secret: u8,
        listen: &str,
        tap: Option<Tap>,
    ) -> Self {
        let mut config = NetConfig::new([secret; 32], NETWORK.0, clock());
        config.listen = vec![listen.parse().unwrap()];
        config.second_dial_ms = 200;
        // One neighbour here brings what hundreds bring in a mesh.
        config.limits.frames_per_s = 10_000_000;
        config.limits.frame_burst = 10_000_000;
        config.tap = tap;
        let mut net = runtime.block_on(node::net::spawn(config)).unwrap();
        let address = loop {
            if let NetEvent::Listening(address) = net.events.blocking_recv().unwrap() {
                break address.to_string();
            }
        };
        Self {
            id: id_of(secret),
            net,
            address,
            runtime: runtime.clone(),
        }
    }

    pub(crate) fn command(&self, command: NetCommand) {
        self.net.commands.blocking_send(command).unwrap();
    }

    /// Wants links to these, and waits until packets can be sent to all of them.
    pub(crate) fn link(&mut self, others: &BTreeMap<[u8; 32], String>) {
        let wanted = others
            .iter()
            .map(|(id, address)| (*id, vec![address.parse().unwrap()]))
            .collect();
        self.command(NetCommand::Links { wanted });
        let mut missing: Vec<_> = others.keys().copied().collect();
        while !missing.is_empty() {
            let event = self.net.events.blocking_recv().unwrap();
            if let NetEvent::LinkUp(up) = event {
                missing.retain(|id| *id != up);
            }
        }
    }

    pub(crate) fn counters(&self) -> NetCounters {
        let (reply, counters) = oneshot::channel();
        self.command(NetCommand::Counters(reply));
        counters.blocking_recv().unwrap()
    }

    /// The event channel, so that a task may own it.
    pub(crate) fn take_events(&mut self) -> tokio::sync::mpsc::Receiver<NetEvent> {
        let (_, closed) = tokio::sync::mpsc::channel(1);
        std::mem::replace(&mut self.net.events, closed)
    }

    pub(crate) fn stop(self) {
        // It may have ended by itself when its channels were dropped.
        let _ = self.net.commands.blocking_send(NetCommand::Shutdown);
        let _ = self.runtime.block_on(self.net.task);
    }
}

fn clock() -> Clock {
    let start = Instant::now();
    Arc::new(move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX))
}
