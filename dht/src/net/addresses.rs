//! Which of the addresses a peer claims may enter the routing table.
//!
//! Identify lets a peer claim anything. An address is usable if it is an IP address with a TCP or QUIC port, and if
//! its reach (loopback < private < global) is at least that of the address we see the peer under: a peer met on
//! the internet cannot make us dial our own loopback or somebody's private network.

use std::net::{IpAddr, Ipv6Addr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// Addresses kept per peer.
pub(super) const PER_PEER: usize = 8;

/// From how far away an address can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// From this machine.
    Loopback,
    /// From this building: private, link-local and carrier-grade NAT ranges.
    Private,
    /// From anywhere.
    Global,
}

/// The reach of an address that begins with an IP address; `None` for others, and for those that nobody can dial.
pub fn reach_of(address: &Multiaddr) -> Option<Reach> {
    ip(address)
        .filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
        .map(reach)
}

/// The usable ones, at most [`PER_PEER`], without `/p2p`.
pub(super) fn usable(
    peer: &PeerId,
    claimed: Vec<Multiaddr>,
    seen: Option<&Multiaddr>,
) -> Vec<Multiaddr> {
    let least = seen.and_then(ip).map_or(Reach::Global, reach);
    let mut kept: Vec<Multiaddr> = Vec::new();
    for address in claimed {
        let Some(address) = plain(peer, address) else {
            continue;
        };
        let Some(ip) = ip(&address) else { continue };
        if ip.is_unspecified() || ip.is_multicast() || reach(ip) < least || kept.contains(&address)
        {
            continue;
        }
        kept.push(address);
        if kept.len() == PER_PEER {
            break;
        }
    }
    kept
}

/// `/ip…/tcp/port` or `/ip…/udp/port/quic-v1`, with a `/p2p` of this very peer taken off; anything else is none.
fn plain(peer: &PeerId, mut address: Multiaddr) -> Option<Multiaddr> {
    if let Some(Protocol::P2p(named)) = address.iter().last() {
        if named != *peer {
            return None;
        }
        address.pop();
    }
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let fits = match parts.as_slice() {
        [_, Protocol::Tcp(port)] | [_, Protocol::Udp(port), Protocol::QuicV1] => *port != 0,
        _ => false,
    };
    fits.then_some(address)
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        _ => None,
    }
}

fn reach(ip: IpAddr) -> Reach {
    let private = |v6: Ipv6Addr| {
        matches!(v6.segments()[0] & 0xfe00, 0xfc00) || v6.segments()[0] & 0xffc0 == 0xfe80
    };
    match ip {
        ip if ip.is_loopback() => Reach::Loopback,
        IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() => Reach::Private,
        // Carrier-grade NAT, 100.64/10: nobody outside can dial it.
        IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 => Reach::Private,
        IpAddr::V6(v6) if private(v6) => Reach::Private,
        _ => Reach::Global,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pick(seen: &str, claimed: &[&str]) -> Vec<String> {
        let seen: Multiaddr = seen.parse().unwrap();
        let claimed = claimed.iter().map(|a| a.parse().unwrap()).collect();
        usable(&PeerId::random(), claimed, Some(&seen))
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    const CLAIMS: [&str; 5] = [
        "/ip4/127.0.0.1/tcp/7400",
        "/ip4/192.168.1.4/tcp/7400",
        "/ip4/203.0.113.9/udp/7400/quic-v1",
        "/ip6/fd00::1/tcp/7400",
        "/ip6/2001:db8::1/tcp/7400",
    ];

    #[test]
    fn reach_decides() {
        assert_eq!(pick("/ip4/127.0.0.1/tcp/50000", &CLAIMS), CLAIMS);
        assert_eq!(pick("/ip4/10.0.0.2/tcp/50000", &CLAIMS), CLAIMS[1..]);
        assert_eq!(
            pick("/ip4/198.51.100.1/tcp/50000", &CLAIMS),
            [CLAIMS[2], CLAIMS[4]]
        );
        // A mapped IPv4 address is the IPv4 address.
        assert_eq!(
            pick(
                "/ip4/198.51.100.1/tcp/1",
                &["/ip6/::ffff:127.0.0.1/tcp/7400"]
            ),
            [""; 0]
        );
    }

    #[test]
    fn odd_addresses_are_refused() {
        let odd = [
            "/ip4/0.0.0.0/tcp/7400",
            "/ip4/127.0.0.1/tcp/0",
            "/ip4/127.0.0.1/udp/7400",
            "/dns4/example.org/tcp/7400",
            "/ip4/224.0.0.1/tcp/7400",
            "/ip4/127.0.0.1/tcp/7400/p2p/12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5",
            "/memory/7",
        ];
        assert_eq!(pick("/ip4/127.0.0.1/tcp/1", &odd), [""; 0]);
    }

    #[test]
    fn at_the_cap_the_rest_is_dropped() {
        let many: Vec<String> = (1..100)
            .map(|p| format!("/ip4/127.0.0.1/tcp/{p}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(pick("/ip4/127.0.0.1/tcp/1", &many).len(), PER_PEER);
    }
}
