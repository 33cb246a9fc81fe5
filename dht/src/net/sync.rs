//! The channel of reconciliation: one request, one answer, each a stream's only frame.
//!
//! A frame is its length (2 B, little-endian) and its bytes, at most [`MAX_FRAME`]; longer ones are not read. Requests of others
//! wait for an answer from above as tickets, bounded in number and time. What is said, and to whom, is decided elsewhere.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;

use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::request_response::{
    self, Codec, Config, InboundRequestId, OutboundRequestId, ProtocolSupport, ResponseChannel,
};
use libp2p::{PeerId, StreamProtocol};

use super::{Names, Output, OverlayCounters};
use crate::pki::MAX_SYNC_LEN;

/// The longest frame, in bytes.
pub const MAX_FRAME: usize = MAX_SYNC_LEN;
/// Streams of one connection at the same time, both directions together.
const STREAMS: usize = 4;
/// Requests that wait for our answer; the oldest is given up beyond that.
const TICKETS: usize = 64;
/// Requests of ours under way.
const ASKED: usize = 16;
/// For a whole exchange of frames.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Behaviour = request_response::Behaviour<Frames>;
pub(super) type Event = request_response::Event<Vec<u8>, Vec<u8>>;

pub(super) fn behaviour(names: &Names) -> Behaviour {
    let config = Config::default()
        .with_request_timeout(TIMEOUT)
        .with_max_concurrent_streams(STREAMS);
    Behaviour::with_codec(
        Frames,
        [(names.sync.clone(), ProtocolSupport::Full)],
        config,
    )
}

/// Reads and writes frames.
#[derive(Clone, Copy, Debug)]
pub struct Frames;

impl Codec for Frames {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &Self::Protocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &Self::Protocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame).await
    }

    async fn write_response<T>(
        &mut self,
        _: &Self::Protocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &frame).await
    }
}

async fn read<T: AsyncRead + Unpin + Send>(io: &mut T) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    io.read_exact(&mut len).await?;
    let len = usize::from(u16::from_le_bytes(len));
    if len > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; len];
    io.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn write<T: AsyncWrite + Unpin + Send>(io: &mut T, frame: &[u8]) -> io::Result<()> {
    let len = match u16::try_from(frame.len()) {
        Ok(len) if frame.len() <= MAX_FRAME => len,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    io.write_all(&len.to_le_bytes()).await?;
    io.write_all(frame).await
}

/// The state beside the behaviour.
#[derive(Debug, Default)]
pub(super) struct Sync {
    next: u64,
    tickets: BTreeMap<u64, (InboundRequestId, ResponseChannel<Vec<u8>>)>,
    asked: BTreeMap<OutboundRequestId, u64>,
}

impl Sync {
    /// Sends a request to a connected peer.
    pub(super) fn ask(
        &mut self,
        behaviour: &mut Behaviour,
        peer: &PeerId,
        token: u64,
        request: Vec<u8>,
        outputs: &mut VecDeque<Output>,
    ) {
        // Without a connection libp2p would dial.
        if request.len() > MAX_FRAME || self.asked.len() >= ASKED || !behaviour.is_connected(peer) {
            outputs.push_back(Output::SyncFailed { token });
            return;
        }
        self.asked
            .insert(behaviour.send_request(peer, request), token);
    }

    /// Answers a request, or gives it up.
    pub(super) fn answer(
        &mut self,
        behaviour: &mut Behaviour,
        ticket: u64,
        response: Option<Vec<u8>>,
    ) {
        if let (Some((_, channel)), Some(response)) = (self.tickets.remove(&ticket), response) {
            // It may have waited too long.
            let _ = behaviour.send_response(channel, response);
        }
    }

    pub(super) fn handle_event(
        &mut self,
        event: Event,
        outputs: &mut VecDeque<Output>,
        counters: &mut OverlayCounters,
    ) {
        use request_response::{Event, Message};
        match event {
            Event::Message { peer, message, .. } => match message {
                Message::Request {
                    request_id,
                    request,
                    channel,
                } => {
                    let Some(from) = super::node_id(&peer) else {
                        return;
                    };
                    if self.tickets.len() >= TICKETS {
                        self.tickets.pop_first();
                        counters.sync_shed += 1;
                    }
                    let ticket = self.next;
                    self.next += 1;
                    self.tickets.insert(ticket, (request_id, channel));
                    outputs.push_back(Output::SyncRequest {
                        ticket,
                        from,
                        data: request,
                    });
                }
                Message::Response {
                    request_id,
                    response,
                } => {
                    let token = self.asked.remove(&request_id);
                    if let (Some(token), Some(from)) = (token, super::node_id(&peer)) {
                        outputs.push_back(Output::SyncResponse {
                            token,
                            from,
                            data: response,
                        });
                    }
                }
            },
            Event::OutboundFailure { request_id, .. } => {
                if let Some(token) = self.asked.remove(&request_id) {
                    outputs.push_back(Output::SyncFailed { token });
                }
            }
            Event::InboundFailure { request_id, .. } => {
                self.tickets.retain(|_, (id, _)| *id != request_id);
            }
            Event::ResponseSent { .. } => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use libp2p::futures::executor::block_on;
    use libp2p::futures::io::Cursor;

    use super::*;

    #[test]
    fn frames_are_read_as_written_and_no_longer_ones() {
        for len in [0, 1, MAX_FRAME] {
            let mut wire = Cursor::new(Vec::new());
            block_on(write(&mut wire, &vec![7; len])).unwrap();
            let bytes = wire.into_inner();
            assert_eq!(bytes.len(), 2 + len);
            assert_eq!(block_on(read(&mut &bytes[..])).unwrap(), vec![7; len]);
            if len > 0 {
                assert!(block_on(read(&mut &bytes[..=len])).is_err(), "cut off");
            }
        }
        assert!(block_on(write(&mut Cursor::new(Vec::new()), &[0; MAX_FRAME + 1])).is_err());
        let long = [&(MAX_FRAME as u16 + 1).to_le_bytes()[..], &[0; 20_000]].concat();
        assert!(block_on(read(&mut &long[..])).is_err());
    }

    #[test]
    fn a_request_without_a_connection_fails_at_once_and_dials_nobody() {
        let names = Names::new(&[7; 32]).unwrap();
        let (mut sync, mut behaviour) = (Sync::default(), behaviour(&names));
        let mut outputs = VecDeque::new();
        let peer = crate::net::peer_id(&[9; 32]).unwrap();
        sync.ask(&mut behaviour, &peer, 5, vec![1], &mut outputs);
        assert!(matches!(
            outputs.pop_front(),
            Some(Output::SyncFailed { token: 5 })
        ));
        assert!(sync.asked.is_empty());
    }
}
