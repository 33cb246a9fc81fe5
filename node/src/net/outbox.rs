//! Events on their way to the node: in order, bounded, and never in the way of the swarm.
//!
//! Packets go straight from the links into the event channel and are dropped when it is full. Everything else comes
//! through here and waits in a bounded backlog: news of a link replaces older news of the same link, found records
//! and bundles are shed first.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::types::NetEvent;

/// Events that may wait.
const BACKLOG: usize = 2_048;
/// Beyond this many, bundles and records are no longer taken.
const SHED: usize = 1_024;

pub(super) struct Outbox {
    channel: mpsc::Sender<NetEvent>,
    backlog: VecDeque<NetEvent>,
    shed: u64,
}

impl Outbox {
    pub(super) fn new(channel: mpsc::Sender<NetEvent>) -> Self {
        Self {
            channel,
            backlog: VecDeque::new(),
            shed: 0,
        }
    }

    /// Sends now, or later in order.
    pub(super) fn push(&mut self, event: NetEvent) {
        let event = if self.backlog.is_empty() {
            match self.channel.try_send(event) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(event)) => event,
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        } else {
            event
        };
        match &event {
            NetEvent::LinkUp(node) | NetEvent::LinkDown(node) => {
                let node = *node;
                self.backlog.retain(|old| !matches!(old, NetEvent::LinkUp(id) | NetEvent::LinkDown(id) if *id == node));
            }
            NetEvent::Connected(_) => self
                .backlog
                .retain(|old| !matches!(old, NetEvent::Connected(_))),
            NetEvent::Gossip { .. }
            | NetEvent::Found { .. }
            | NetEvent::SyncRequest { .. }
            | NetEvent::DialFailed { .. }
                if self.backlog.len() >= SHED =>
            {
                self.shed += 1;
                return;
            }
            _ => {}
        }
        if self.backlog.len() >= BACKLOG {
            self.backlog.pop_front();
            self.shed += 1;
        }
        self.backlog.push_back(event);
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// The node dropped its end.
    pub(super) fn is_closed(&self) -> bool {
        self.channel.is_closed()
    }

    pub(super) fn shed(&self) -> u64 {
        self.shed
    }

    /// Waits for room and sends one waiting event. Cancelling it loses nothing.
    pub(super) async fn flush_one(&mut self) {
        // A waiting reservation is served before the links' attempts, so packets cannot starve the rest.
        if let Ok(permit) = self.channel.reserve().await {
            if let Some(event) = self.backlog.pop_front() {
                permit.send(event);
            }
        } else {
            self.backlog.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn waits_in_order_and_keeps_the_latest_news() {
        let (channel, mut events) = mpsc::channel(1);
        let mut outbox = Outbox::new(channel);
        outbox.push(NetEvent::LinkUp([1; 32]));
        outbox.push(NetEvent::LinkDown([1; 32]));
        outbox.push(NetEvent::LinkUp([2; 32]));
        outbox.push(NetEvent::LinkUp([1; 32]));
        assert!(matches!(
            events.recv().await.unwrap(),
            NetEvent::LinkUp([1, ..])
        ));
        outbox.flush_one().await;
        assert!(matches!(
            events.recv().await.unwrap(),
            NetEvent::LinkUp([2, ..])
        ));
        outbox.flush_one().await;
        assert!(matches!(
            events.recv().await.unwrap(),
            NetEvent::LinkUp([1, ..])
        ));
        assert!(!outbox.is_waiting());
    }

    #[tokio::test]
    async fn at_the_cap_records_go_first_and_links_stay() {
        let (channel, _events) = mpsc::channel(1);
        let mut outbox = Outbox::new(channel);
        for ticket in 0..5_000 {
            outbox.push(NetEvent::Gossip {
                ticket,
                data: Vec::new(),
            });
        }
        assert_eq!(outbox.backlog.len(), SHED);
        for key in 0..200 {
            outbox.push(NetEvent::LinkUp([key; 32]));
        }
        assert_eq!(outbox.backlog.len(), SHED + 200);
        for _ in 0..2_000 {
            outbox.push(NetEvent::LookupDone {
                key: [0; 32],
                found: 0,
            });
        }
        assert_eq!(outbox.backlog.len(), BACKLOG);
    }
}
