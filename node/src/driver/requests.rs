//! What callers ask of a running node, answered once it is durable.

use std::time::Duration;

use storage::backend::Backend;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Driver;
use crate::handle::{Answer, Request, RequestError};
use crate::net::NetCommand;
use crate::view::CounterView;

/// What the network layer may take to say what it dropped.
const NET_ANSWER: Duration = Duration::from_secs(1);

impl<B: Backend + Sync> Driver<B> {
    pub(super) fn serve(&mut self, request: Request) {
        let now = self.clock.now();
        match request {
            Request::Node(answer) => reply(answer, Ok(self.node_view())),
            Request::Counters(answer) => self.counters(answer),
            Request::Peers(answer) => reply(answer, Ok(self.core.peers_view(now))),
            Request::Alarms(answer) => reply(answer, Ok(self.core.alarms())),
            Request::AlarmSeen(id, answer) => {
                let result = self.core.alarm_seen(&id);
                self.when_durable(answer, result);
            }
            Request::Addresses(answer) => reply(answer, Ok(self.core.addresses())),
            Request::NewAddress(label, answer) => {
                let result = self.core.new_address(now, &label);
                self.when_durable(answer, result);
            }
            Request::Contacts(answer) => reply(answer, Ok(self.core.contacts())),
            Request::AddContact(name, address, answer) => {
                let result = self.core.add_contact(now, &name, &address);
                self.when_durable(answer, result);
            }
            Request::RemoveContact(name, answer) => {
                let result = self.core.remove_contact(now, &name);
                self.when_durable(answer, result);
            }
            Request::Send(request, answer) => {
                let result = self.core.send(now, request);
                self.when_durable(answer, result);
            }
            Request::Message(id, answer) => reply(answer, self.core.message(&id)),
            Request::Inbox {
                after,
                limit,
                answer,
            } => {
                reply(answer, Ok(self.core.inbox(after, limit)));
            }
            Request::AckInbox(id, answer) => {
                let result = self.core.ack_inbox(now, &id);
                self.when_durable(answer, result);
            }
            Request::Stop(answer) => {
                self.stopping = true;
                reply(answer, Ok(()));
            }
        }
    }

    /// The core's and the driver's counts, and the network layer's, which has to be asked.
    fn counters(&self, answer: Answer<CounterView>) {
        let mut view = self.core.counters_view();
        for (reason, count) in &self.network_drops {
            *view.dropped.entry(reason.clone()).or_default() += count;
        }
        for (reason, count) in [
            ("intake_full", self.peelers.shed()),
            ("opening_panicked", self.peelers.lost()),
        ] {
            if count > 0 {
                view.dropped.insert(reason.to_owned(), count);
            }
        }
        let (reply_to, asked) = oneshot::channel();
        // A network too busy to be asked costs the caller its part of the counts, not the answer.
        let _ = self.net.commands.try_send(NetCommand::Counters(reply_to));
        tokio::spawn(async move {
            if let Ok(Ok(net)) = timeout(NET_ANSWER, asked).await {
                for (reason, count) in net.drops {
                    *view.dropped.entry(reason.name().to_owned()).or_default() += count;
                }
            }
            reply(answer, Ok(view));
        });
    }

    /// Answers once the commit being gathered is durable; at once if there is nothing to wait for.
    fn when_durable<T: Send + 'static>(
        &mut self,
        answer: Answer<T>,
        result: Result<T, RequestError>,
    ) {
        match self.core.pending_commit() {
            Some(seq) if result.is_ok() => {
                self.waiting
                    .push_back((seq, Box::new(move || reply(answer, result))));
            }
            _ => reply(answer, result),
        }
    }
}

fn reply<T>(answer: Answer<T>, result: Result<T, RequestError>) {
    // The caller may have stopped waiting.
    let _ = answer.send(result);
}
