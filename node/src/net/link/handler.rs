//! The handler of one connection: its outbound packet stream, its inbound one, and the queue between.
//!
//! At most one stream each way. The queue holds 64 frames and the newest is dropped when it is full (by the
//! behaviour, which holds the other end). Nothing here waits for anything but the connection itself.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dht::net::Bucket;
use libp2p::Stream;
use libp2p::StreamProtocol;
use libp2p::core::upgrade::ReadyUpgrade;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{
    ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use super::Frame;
use super::reader::{Read, Reader};
use super::shared::Shared;
use super::writer::{TIMEOUT, Write, Writer};
use crate::net::types::NetDrop;

/// Frames that wait for one connection.
pub(crate) const QUEUE: usize = 64;

/// Frames read, and groups of frames written, before the connection's other protocols get their turn.
const TURN: usize = 32;
/// Streams opened in a row without success, and the pause between.
const ATTEMPTS: u32 = 4;
const PAUSE: Duration = Duration::from_secs(1);

/// What the behaviour asks.
#[derive(Debug)]
pub(crate) enum Order {
    /// Open an outbound stream and keep it open.
    Open,
}

/// What the handler tells.
#[derive(Debug)]
pub(crate) enum Report {
    /// The outbound stream opened (`true`) or broke and is being opened again.
    Ready(bool),
    /// The peer opened a packet stream to us.
    Inbound,
    /// No packet stream can be opened on this connection.
    Unsupported,
    /// A frame could not be written in time.
    Stalled,
}

enum Outbound {
    /// Nobody asked for it.
    Closed,
    /// To be asked for at the next poll.
    Due,
    Opening,
    Open(Box<Writer<Stream>>),
    /// Broken; to be asked for again after a pause.
    Pausing(Pin<Box<Sleep>>),
    Given,
}

/// See the module's text.
pub(crate) struct Handler {
    peer: [u8; 32],
    frames: mpsc::Receiver<Frame>,
    shared: Arc<Shared>,
    outbound: Outbound,
    attempts: u32,
    inbound: Option<Reader<Stream>>,
    bucket: Bucket,
    /// At most a few: each is caused by a stream opening or breaking.
    reports: VecDeque<Report>,
}

impl Handler {
    pub(super) fn new(peer: [u8; 32], frames: mpsc::Receiver<Frame>, shared: Arc<Shared>) -> Self {
        let bucket = Bucket::new(shared.frames_per_s, shared.frame_burst, (shared.clock)());
        Self {
            peer,
            frames,
            shared,
            outbound: Outbound::Closed,
            attempts: 0,
            inbound: None,
            bucket,
            reports: VecDeque::new(),
        }
    }

    /// The stream failed or broke: another attempt after a pause, or none.
    fn retry(&mut self, was_open: bool) {
        self.lose();
        self.attempts += 1;
        if self.attempts >= ATTEMPTS {
            self.outbound = Outbound::Given;
            self.reports.push_back(Report::Unsupported);
        } else {
            self.outbound = Outbound::Pausing(Box::pin(tokio::time::sleep(PAUSE)));
            if was_open {
                self.reports.push_back(Report::Ready(false));
            }
        }
    }

    /// Counts the frames that will not be written any more.
    fn lose(&mut self) {
        let mut lost = match &self.outbound {
            Outbound::Open(writer) => writer.inside() as u64,
            _ => 0,
        };
        while self.frames.try_recv().is_ok() {
            lost += 1;
        }
        self.shared.count_many(NetDrop::LinkClosed, lost);
    }

    /// Writes up to a turn of frames. `true`: there is more to write now.
    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> bool {
        if let Outbound::Pausing(sleep) = &mut self.outbound
            && sleep.as_mut().poll(cx).is_ready()
        {
            self.outbound = Outbound::Due;
        }
        for _ in 0..TURN {
            let Outbound::Open(writer) = &mut self.outbound else {
                return false;
            };
            while writer.has_room()
                && let Poll::Ready(Some(frame)) = self.frames.poll_recv(cx)
            {
                writer.start(frame);
            }
            match writer.poll(cx) {
                Poll::Ready(Write::Done) => {
                    self.attempts = 0;
                    for frame in writer.take() {
                        self.shared.written(&self.peer, &frame);
                    }
                }
                Poll::Ready(Write::Idle) | Poll::Pending => return false,
                Poll::Ready(Write::Broken) => {
                    self.retry(true);
                    return true;
                }
                Poll::Ready(Write::Stalled) => {
                    self.lose();
                    self.shared.count(NetDrop::WriteTimeout);
                    self.outbound = Outbound::Given;
                    self.reports.push_back(Report::Stalled);
                    return true;
                }
            }
        }
        true
    }

    /// Reads up to a turn of frames. `true`: there may be more to read now.
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> bool {
        for _ in 0..TURN {
            let Some(reader) = &mut self.inbound else {
                return false;
            };
            match reader.poll(cx) {
                Poll::Pending => return false,
                Poll::Ready(Read::Frame) => {
                    self.shared.read(&self.peer, reader.frame());
                    if self.bucket.take((self.shared.clock)()) {
                        self.shared.deliver(self.peer, reader.take());
                    } else {
                        reader.discard();
                        self.shared.count(NetDrop::RateLimited);
                    }
                }
                Poll::Ready(end) => {
                    if end == Read::Truncated {
                        self.shared.count(NetDrop::Truncated);
                    }
                    self.inbound = None;
                    return false;
                }
            }
        }
        true
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.frames.close();
        self.lose();
        if self.inbound.as_ref().is_some_and(Reader::is_inside) {
            self.shared.count(NetDrop::Truncated);
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Order;
    type ToBehaviour = Report;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(self.shared.protocol.clone()), ())
    }

    fn on_behaviour_event(&mut self, order: Order) {
        let Order::Open = order;
        if matches!(self.outbound, Outbound::Closed) {
            self.outbound = Outbound::Due;
        }
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol, ..
            }) => {
                if let Some(old) = self.inbound.replace(Reader::new(protocol)) {
                    self.shared.count(NetDrop::SecondStream);
                    if old.is_inside() {
                        self.shared.count(NetDrop::Truncated);
                    }
                } else {
                    self.reports.push_back(Report::Inbound);
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol, ..
            }) => {
                self.outbound = Outbound::Open(Box::new(Writer::new(protocol, TIMEOUT)));
                self.reports.push_back(Report::Ready(true));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                if matches!(error, StreamUpgradeError::NegotiationFailed) {
                    self.attempts = ATTEMPTS;
                }
                self.retry(false);
            }
            _ => {}
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        let more = self.poll_outbound(cx) | self.poll_inbound(cx);
        if let Some(report) = self.reports.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(report));
        }
        if matches!(self.outbound, Outbound::Due) {
            self.outbound = Outbound::Opening;
            let protocol =
                SubstreamProtocol::new(ReadyUpgrade::new(self.shared.protocol.clone()), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        if more {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}
