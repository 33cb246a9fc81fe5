//! The way into a running node: a cheap handle whose calls travel to the driver's task and back.
//!
//! Every caller (API, demo, tests, programs that embed the node) uses this and nothing else. Calls
//! wait on a bounded queue and on one answer each; a node that has stopped answers `Stopped`.

use tokio::sync::{broadcast, mpsc, oneshot};

pub use crate::request::{MAX_MESSAGE, RequestError, RequestErrorKind, SendRequest};

use crate::view::{
    AddressView, AlarmView, ContactView, CounterView, Event, InboxView, MessageState, MessageView,
    NodeView, PeersView,
};

pub(crate) type Answer<T> = oneshot::Sender<Result<T, RequestError>>;

/// A request on its way to the driver.
pub(crate) enum Request {
    Node(Answer<NodeView>),
    Counters(Answer<CounterView>),
    Peers(Answer<PeersView>),
    Alarms(Answer<Vec<AlarmView>>),
    AlarmSeen(String, Answer<()>),
    Addresses(Answer<Vec<AddressView>>),
    NewAddress(String, Answer<AddressView>),
    Contacts(Answer<Vec<ContactView>>),
    AddContact(String, String, Answer<ContactView>),
    RemoveContact(String, Answer<()>),
    Send(SendRequest, Answer<MessageView>),
    Message(String, Answer<MessageView>),
    Inbox {
        after: u64,
        limit: usize,
        answer: Answer<Vec<InboxView>>,
    },
    AckInbox(String, Answer<()>),
    Stop(Answer<()>),
}

/// A handle to a running node. Clones are cheap and all reach the same node.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    requests: mpsc::Sender<Request>,
    events: broadcast::Sender<(u64, Event)>,
}

impl NodeHandle {
    pub(crate) fn new(
        requests: mpsc::Sender<Request>,
        events: broadcast::Sender<(u64, Event)>,
    ) -> Self {
        Self { requests, events }
    }

    /// The node as `status` shows it.
    pub async fn node(&self) -> Result<NodeView, RequestError> {
        self.call(Request::Node).await
    }

    /// Packet counts since start.
    pub async fn counters(&self) -> Result<CounterView, RequestError> {
        self.call(Request::Counters).await
    }

    /// The mesh as the node sees it.
    pub async fn peers(&self) -> Result<PeersView, RequestError> {
        self.call(Request::Peers).await
    }

    /// Who knows another mesh, with the evidence, the oldest first.
    pub async fn alarms(&self) -> Result<Vec<AlarmView>, RequestError> {
        self.call(Request::Alarms).await
    }

    /// Puts an alarm away; it is kept as evidence.
    pub async fn alarm_seen(&self, id: &str) -> Result<(), RequestError> {
        self.call(|answer| Request::AlarmSeen(id.to_owned(), answer))
            .await
    }

    /// The addresses given out so far; there is always one.
    pub async fn addresses(&self) -> Result<Vec<AddressView>, RequestError> {
        self.call(Request::Addresses).await
    }

    /// A new address under its own label, unlinkable to the others.
    pub async fn new_address(&self, label: &str) -> Result<AddressView, RequestError> {
        self.call(|answer| Request::NewAddress(label.to_owned(), answer))
            .await
    }

    /// All contacts.
    pub async fn contacts(&self) -> Result<Vec<ContactView>, RequestError> {
        self.call(Request::Contacts).await
    }

    /// Adds a contact by address and starts to greet it.
    pub async fn add_contact(
        &self,
        name: &str,
        address: &str,
    ) -> Result<ContactView, RequestError> {
        self.call(|answer| Request::AddContact(name.to_owned(), address.to_owned(), answer))
            .await
    }

    /// Forgets a contact and all that was said with it.
    pub async fn remove_contact(&self, name: &str) -> Result<(), RequestError> {
        self.call(|answer| Request::RemoveContact(name.to_owned(), answer))
            .await
    }

    /// Accepts a message; it is on disk when this returns.
    pub async fn send(&self, request: SendRequest) -> Result<MessageView, RequestError> {
        self.call(|answer| Request::Send(request, answer)).await
    }

    /// A sent message's life so far.
    pub async fn message(&self, id: &str) -> Result<MessageView, RequestError> {
        self.call(|answer| Request::Message(id.to_owned(), answer))
            .await
    }

    /// Received messages with a position above `after`, oldest first.
    pub async fn inbox(&self, after: u64, limit: usize) -> Result<Vec<InboxView>, RequestError> {
        self.call(|answer| Request::Inbox {
            after,
            limit,
            answer,
        })
        .await
    }

    /// Marks a received message as read and tells its sender.
    pub async fn ack_inbox(&self, id: &str) -> Result<(), RequestError> {
        self.call(|answer| Request::AckInbox(id.to_owned(), answer))
            .await
    }

    /// Events from now on, numbered; a slow reader is told how many it missed.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<(u64, Event)> {
        self.events.subscribe()
    }

    /// Waits until a sent message reaches `state` or a final one. The caller sets the deadline.
    pub async fn wait_message(
        &self,
        id: &str,
        state: MessageState,
    ) -> Result<MessageView, RequestError> {
        let mut events = self.events();
        loop {
            let view = self.message(id).await?;
            if view.state >= state || view.state.is_final() {
                return Ok(view);
            }
            match events.recv().await {
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Err(RequestError::stopped()),
            }
        }
    }

    /// Stops the node; what was acknowledged is on disk already.
    pub async fn stop(&self) -> Result<(), RequestError> {
        self.call(Request::Stop).await
    }

    async fn call<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, RequestError> {
        let (answer, wait) = oneshot::channel();
        self.requests
            .send(request(answer))
            .await
            .map_err(|_| RequestError::stopped())?;
        wait.await.map_err(|_| RequestError::stopped())?
    }
}
