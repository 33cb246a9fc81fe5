//! A driver that keeps everything in memory and sends nothing, for tests of what stands on the handle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{broadcast, mpsc};

use crate::handle::{NodeHandle, Request, RequestError, RequestErrorKind, SendRequest};
use crate::view::{
    AddressView, AlarmView, ContactView, CounterView, Event, InboxView, MessageState, MessageView,
    NodeView, PeersView, Step,
};

/// The fake node's state, and its event stream.
#[derive(Clone)]
pub(crate) struct Fake {
    pub(crate) state: Arc<Mutex<State>>,
    events: broadcast::Sender<(u64, Event)>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) node: NodeView,
    pub(crate) peers: PeersView,
    pub(crate) alarms: Vec<AlarmView>,
    pub(crate) contacts: Vec<ContactView>,
    pub(crate) messages: BTreeMap<String, MessageView>,
    pub(crate) sent: Vec<SendRequest>,
    pub(crate) inbox: Vec<InboxView>,
    pub(crate) keys: BTreeMap<String, String>,
    /// Requests are swallowed without an answer.
    pub(crate) hangs: bool,
    pub(crate) stopped: bool,
    events: u64,
}

/// A handle to a fake node with the contact `bob`, and the means to make things happen.
pub(crate) fn node() -> (NodeHandle, Fake) {
    let (requests, mut incoming) = mpsc::channel(16);
    let (events, _) = broadcast::channel(8);
    let state = State {
        node: NodeView {
            peer_id: "12D3KooWfake".to_owned(),
            listen: vec!["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWfake".to_owned()],
            ready: true,
            epoch: 7,
            root: "ab".repeat(32),
            degraded: true,
            nodes: 8,
            on_duty: 8,
            profile: "balanced".to_owned(),
            network: "local".to_owned(),
            ..NodeView::default()
        },
        contacts: vec![contact("bob")],
        ..State::default()
    };
    let fake = Fake {
        state: Arc::new(Mutex::new(state)),
        events: events.clone(),
    };
    let driver = fake.clone();
    tokio::spawn(async move {
        let mut swallowed = Vec::new();
        while let Some(request) = incoming.recv().await {
            let mut state = driver.state.lock().unwrap();
            if state.hangs {
                swallowed.push(request);
                continue;
            }
            answer(&mut state, request);
            if state.stopped {
                return;
            }
        }
    });
    (NodeHandle::new(requests, events), fake)
}

impl Fake {
    pub(crate) fn emit(&self, event: Event) {
        let number = {
            let mut state = self.state.lock().unwrap();
            state.events += 1;
            state.events
        };
        let _ = self.events.send((number, event));
    }

    /// Takes a sent message to `state`.
    pub(crate) fn advance(&self, id: &str, to: MessageState) {
        {
            let mut state = self.state.lock().unwrap();
            let message = state.messages.get_mut(id).expect("a sent message");
            message.state = to;
            message.history.push(Step {
                state: to,
                at: 1_500,
            });
            if to == MessageState::Failed {
                message.code = Some("too_old".to_owned());
                message.reason = Some("nobody fetched it".to_owned());
            }
        }
        self.emit(Event::Message {
            id: id.to_owned(),
            state: to,
        });
    }

    /// Lets a message from bob come in.
    pub(crate) fn receive(&self, body: &str) {
        let message = {
            let mut state = self.state.lock().unwrap();
            let seq = state.inbox.len() as u64 + 1;
            let message = InboxView {
                id: format!("{seq:032x}"),
                from: "bob".to_owned(),
                body: body.to_owned(),
                encoding: "text".to_owned(),
                received_at: 1_000,
                seq,
                acked: false,
            };
            state.inbox.push(message.clone());
            message
        };
        self.emit(Event::Inbox { message });
    }

    /// The id of the last message sent.
    pub(crate) fn last_id(&self) -> String {
        format!("{:032x}", self.state.lock().unwrap().sent.len())
    }
}

pub(crate) fn contact(name: &str) -> ContactView {
    ContactView {
        name: name.to_owned(),
        id: "cd".repeat(16),
        state: "ready".to_owned(),
        address: Some("mur1bob".to_owned()),
    }
}

fn answer(state: &mut State, request: Request) {
    match request {
        Request::Node(answer) => drop(answer.send(Ok(state.node.clone()))),
        Request::Peers(answer) => drop(answer.send(Ok(state.peers.clone()))),
        Request::Alarms(answer) => drop(answer.send(Ok(state.alarms.clone()))),
        Request::AlarmSeen(id, answer) => {
            let found = state.alarms.iter_mut().find(|alarm| alarm.id == id);
            let seen = found.map(|alarm| alarm.seen = true);
            drop(answer.send(seen.ok_or_else(|| unknown(&id))));
        }
        Request::Counters(answer) => drop(answer.send(Ok(CounterView {
            real: 3,
            cover: 40,
            ..CounterView::default()
        }))),
        Request::Addresses(answer) => drop(answer.send(Ok(vec![address("default")]))),
        Request::NewAddress(label, answer) => drop(answer.send(Ok(address(&label)))),
        Request::Contacts(answer) => drop(answer.send(Ok(state.contacts.clone()))),
        Request::AddContact(name, text, answer) => {
            drop(
                answer.send(if state.contacts.iter().any(|c| c.name == name) {
                    Err(RequestError::new(
                        RequestErrorKind::Conflict,
                        format!("{name} is taken"),
                        "use another name",
                    ))
                } else if !text.starts_with("mur1") {
                    let message = "the address has a wrong character `x` at position 7";
                    Err(RequestError::new(
                        RequestErrorKind::Invalid,
                        message,
                        "copy it again",
                    ))
                } else {
                    state.contacts.push(contact(&name));
                    Ok(contact(&name))
                }),
            );
        }
        Request::RemoveContact(name, answer) => {
            let found = state.contacts.iter().position(|c| c.name == name);
            drop(
                answer.send(
                    found
                        .map(|i| drop(state.contacts.remove(i)))
                        .ok_or_else(|| unknown(&name)),
                ),
            );
        }
        Request::Send(request, answer) => drop(answer.send(send(state, request))),
        Request::Message(id, answer) => {
            drop(answer.send(state.messages.get(&id).cloned().ok_or_else(|| unknown(&id))))
        }
        Request::Inbox {
            after,
            limit,
            answer,
        } => {
            let page = state
                .inbox
                .iter()
                .filter(|m| m.seq > after)
                .take(limit)
                .cloned()
                .collect();
            drop(answer.send(Ok(page)));
        }
        Request::AckInbox(id, answer) => {
            let found = state.inbox.iter_mut().find(|m| m.id == id);
            drop(answer.send(found.map(|m| m.acked = true).ok_or_else(|| unknown(&id))));
        }
        Request::Stop(answer) => {
            state.stopped = true;
            drop(answer.send(Ok(())));
        }
    }
}

fn send(state: &mut State, request: SendRequest) -> Result<MessageView, RequestError> {
    if !state.contacts.iter().any(|c| c.name == request.to) {
        return Err(unknown(&request.to));
    }
    if let Some(id) = request
        .idempotency_key
        .as_ref()
        .and_then(|key| state.keys.get(key))
    {
        return Ok(state.messages[id].clone());
    }
    let id = format!("{:032x}", state.sent.len() + 1);
    let view = MessageView {
        id: id.clone(),
        to: request.to.clone(),
        state: MessageState::Queued,
        history: vec![Step {
            state: MessageState::Queued,
            at: 1_000,
        }],
        stored: None,
        code: None,
        reason: None,
    };
    state.messages.insert(id.clone(), view.clone());
    if let Some(key) = &request.idempotency_key {
        state.keys.insert(key.clone(), id);
    }
    state.sent.push(request);
    Ok(view)
}

fn address(label: &str) -> AddressView {
    AddressView {
        address: format!("mur1{label}"),
        label: label.to_owned(),
    }
}

fn unknown(what: &str) -> RequestError {
    RequestError::new(
        RequestErrorKind::NotFound,
        format!("there is no `{what}`"),
        "see `murmur contact list`",
    )
}
