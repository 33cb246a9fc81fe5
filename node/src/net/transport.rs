//! How bytes reach another node: TCP with noise and yamux, QUIC if asked, names resolved by DNS; and listening with
//! errors a person can act on.

use std::io;
use std::net::{IpAddr, TcpListener, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::Either;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{
    Boxed, DialOpts, ListenerId, OptionalTransport, PortUse, TransportError, TransportEvent,
};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::NetworkBehaviour;
use libp2p::{Multiaddr, PeerId, Swarm, Transport, dns, noise, quic, tcp, yamux};

use super::NetError;

/// Flow-control windows of QUIC: the defaults (10 and 15 MB) are a stranger's to fill.
const STREAM_WINDOW: u32 = 256 * 1_024;
const CONNECTION_WINDOW: u32 = 1_024 * 1_024;

/// The transport of one node.
pub(super) fn build(
    keys: &Keypair,
    quic: bool,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    // Without a readable resolver configuration names cannot be dialled, and numbers still can.
    match dns::tokio::Transport::system(unresolved(keys, quic)?) {
        Ok(resolving) => Ok(resolving.boxed()),
        Err(_) => unresolved(keys, quic),
    }
}

fn unresolved(keys: &Keypair, quic: bool) -> Result<Boxed<(PeerId, StreamMuxerBox)>, NetError> {
    let noise = noise::Config::new(keys).map_err(|e| NetError::Setup(e.to_string()))?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let quic = if quic {
        let mut config = quic::Config::new(keys);
        config.max_stream_data = STREAM_WINDOW;
        config.max_connection_data = CONNECTION_WINDOW;
        let quic = quic::tokio::Transport::new(config)
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
        OptionalTransport::some(quic)
    } else {
        OptionalTransport::none()
    };
    let both = quic.or_transport(tcp).map(|output, _| match output {
        Either::Left(connection) | Either::Right(connection) => connection,
    });
    Ok(FreshPort(both).boxed())
}

/// Whether an address is QUIC's.
pub(super) fn is_quic(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::QuicV1)
}

/// Listens, or says in plain words why not.
pub(super) fn listen<B: NetworkBehaviour>(
    swarm: &mut Swarm<B>,
    address: &Multiaddr,
) -> Result<ListenerId, NetError> {
    let refuse = |why: &str| NetError::Address {
        address: address.clone(),
        why: why.into(),
    };
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    // libp2p shares its listening port (SO_REUSEPORT), so a second node of the same user would silently take half
    // of the first one's connections. A socket that does not share finds the port taken, and has the system's plain
    // error, which the transports wrap beyond recognition.
    let probe = match parts.as_slice() {
        [ip, Protocol::Tcp(port)] => numeric(ip).map(|ip| TcpListener::bind((ip, *port)).map(drop)),
        [ip, Protocol::Udp(port), Protocol::QuicV1] => {
            numeric(ip).map(|ip| UdpSocket::bind((ip, *port)).map(drop))
        }
        _ => None,
    };
    match probe {
        None => {
            return Err(refuse(
                "expected /ip4/…/tcp/PORT, /ip6/…/tcp/PORT or /ip4/…/udp/PORT/quic-v1",
            ));
        }
        Some(Err(error)) => {
            return Err(match error.kind() {
                io::ErrorKind::AddrInUse => NetError::PortInUse {
                    address: address.clone(),
                },
                io::ErrorKind::PermissionDenied => NetError::Permission {
                    address: address.clone(),
                },
                io::ErrorKind::AddrNotAvailable => {
                    refuse("this machine does not have that IP address")
                }
                _ => refuse(&error.to_string()),
            });
        }
        Some(Ok(())) => {}
    }
    swarm
        .listen_on(address.clone())
        .map_err(|error| match error {
            TransportError::MultiaddrNotSupported(_) => {
                refuse("this kind of address is not supported")
            }
            TransportError::Other(error) => refuse(&error.to_string()),
        })
}

fn numeric(part: &Protocol<'_>) -> Option<IpAddr> {
    match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(*ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(*ip)),
        _ => None,
    }
}

/// Dials from a fresh port always. Dialling from the listening port (libp2p's default) makes two nodes that dial
/// each other at once meet in one TCP connection where both are dialers, and both handshakes fail.
struct FreshPort<T>(T);

impl<T: Transport + Unpin> Transport for FreshPort<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<Self::Error>> {
        self.0.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.0.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<Self::Error>> {
        self.0.dial(
            address,
            DialOpts {
                port_use: PortUse::New,
                ..opts
            },
        )
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.0).poll(cx)
    }
}
