//! What people do with the nodes of a world, and what they see.

use mix::time::Moment;

use super::{World, not_running};
use crate::error::Error;
use crate::handle::SendRequest;
use crate::view::{Event, InboxView, MessageState, MessageView, NodeView};

/// A message that a user sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The sender's index.
    pub from: usize,
    /// The receiver's index.
    pub to: usize,
    /// The message's id.
    pub id: String,
    /// The sender's life it was sent in, and the commit that makes it durable.
    commit: (u64, u64),
}

impl World {
    /// Adds node `to` to the contacts of node `from`, by its address. A node's contacts are named
    /// `node-` and their index.
    ///
    /// # Errors
    /// What the core says; `Internal` if `from` does not run or `to` never did.
    pub fn add_contact(&mut self, from: usize, to: usize) -> Result<(), Error> {
        let address = self.nodes.get(to).and_then(|node| node.address.clone());
        let address = address.ok_or_else(|| not_running(to))?;
        let now = self.now;
        let core = self.nodes.get_mut(from).and_then(|node| node.core.as_mut());
        core.ok_or_else(|| not_running(from))?
            .add_contact(now, &name(to), &address)?;
        self.carry(from);
        Ok(())
    }

    /// Whether messages between the two are past greeting, as `from` sees it.
    #[must_use]
    pub fn is_greeted(&self, from: usize, to: usize) -> bool {
        let core = self.nodes.get(from).and_then(|node| node.core.as_ref());
        let name = name(to);
        core.is_some_and(|core| {
            core.contacts()
                .iter()
                .any(|one| one.name == name && one.state == "ready")
        })
    }

    /// Sends a message. It counts as accepted once [`is_accepted`](Self::is_accepted).
    ///
    /// # Errors
    /// What the core says; `Internal` if `from` does not run.
    pub fn send(&mut self, from: usize, to: usize, body: &str) -> Result<Letter, Error> {
        let now = self.now;
        let node = self.nodes.get_mut(from).ok_or_else(|| not_running(from))?;
        let core = node.core.as_mut().ok_or_else(|| not_running(from))?;
        let request = SendRequest {
            to: name(to),
            body: body.as_bytes().to_vec(),
            ..SendRequest::default()
        };
        let view = core.send(now, request)?;
        let commit = (node.lives, core.pending_commit().unwrap_or(0));
        self.carry(from);
        Ok(Letter {
            from,
            to,
            id: view.id,
            commit,
        })
    }

    /// Whether the sender's user has been told that a message is accepted: whether it is durable.
    #[must_use]
    pub fn is_accepted(&self, letter: &Letter) -> bool {
        let (life, commit) = letter.commit;
        self.nodes
            .get(letter.from)
            .is_some_and(|node| node.lives == life && node.durable >= commit)
    }

    /// A message's life, as its sender sees it; none if the sender is off or lost it.
    #[must_use]
    pub fn message(&self, letter: &Letter) -> Option<MessageView> {
        self.nodes
            .get(letter.from)?
            .core
            .as_ref()?
            .message(&letter.id)
            .ok()
    }

    /// Whether a message got that far.
    #[must_use]
    pub fn has_reached(&self, letter: &Letter, state: MessageState) -> bool {
        self.message(letter)
            .is_some_and(|view| view.history.iter().any(|step| step.state == state))
    }

    /// Submission to delivery, in milliseconds of virtual time.
    #[must_use]
    pub fn latency_ms(&self, letter: &Letter) -> Option<u64> {
        let view = self.message(letter)?;
        let at = |state| {
            view.history
                .iter()
                .find(|step| step.state == state)
                .map(|step| step.at)
        };
        Some(at(MessageState::Delivered)?.saturating_sub(at(MessageState::Queued)?))
    }

    /// Whether a node's user reads and acknowledges what comes, at once. They do unless told otherwise.
    pub fn let_read(&mut self, index: usize, reads: bool) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.reads = reads;
        }
    }

    /// What a node has received.
    #[must_use]
    pub fn inbox(&self, index: usize) -> Vec<InboxView> {
        let core = self.nodes.get(index).and_then(|node| node.core.as_ref());
        core.map(|core| core.inbox(0, usize::MAX))
            .unwrap_or_default()
    }

    /// Takes what a node told its user since this was asked last.
    pub fn events(&mut self, index: usize) -> Vec<(Moment, Event)> {
        let node = self.nodes.get_mut(index);
        node.map(|node| node.events.drain(..).collect())
            .unwrap_or_default()
    }

    /// A node as its `status` shows it; none if it does not run.
    pub fn view(&mut self, index: usize) -> Option<NodeView> {
        let now = self.now;
        self.nodes
            .get_mut(index)?
            .core
            .as_mut()
            .map(|core| core.node_view(now))
    }

    /// How many of the running nodes are ready and hold the most common root of the most common
    /// epoch, and how many run.
    pub fn agreement(&mut self) -> (usize, usize) {
        let views: Vec<_> = (0..self.len())
            .filter_map(|index| self.view(index))
            .collect();
        let ready: Vec<_> = views.iter().filter(|view| view.ready).collect();
        let same = |one: &NodeView| {
            let key = (one.epoch, one.root.as_str());
            ready
                .iter()
                .filter(|other| (other.epoch, other.root.as_str()) == key)
                .count()
        };
        (
            ready.iter().map(|view| same(view)).max().unwrap_or(0),
            views.len(),
        )
    }

    /// Whether every running node is ready and all hold one root of `nodes` nodes.
    pub fn is_settled(&mut self, nodes: usize) -> bool {
        let complete = (0..self.len())
            .filter_map(|index| self.view(index))
            .all(|view| view.nodes == nodes);
        let (agreeing, running) = self.agreement();
        complete && agreeing == running
    }
}

/// What contacts call node `index`.
fn name(index: usize) -> String {
    format!("node-{index}")
}
