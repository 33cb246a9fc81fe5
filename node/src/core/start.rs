//! Where a node starts from: peers it was linked to before, and which addresses may be dialled at all.
//!
//! On a public network an address in somebody's descriptor must be one of the internet: else whoever publishes it makes everyone
//! knock at their own machine or at somebody's private network. What the user names with `--bootstrap` is dialled as it is. SPEC §18.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dht::id::NodeId;
use minicbor::bytes::{ByteArray, ByteVec};
use mix::ShortId;
use storage::backend::Backend;

use super::Core;
use super::records::key;
use crate::error::Error;

/// Peers remembered.
pub(crate) const MAX_PEERS: usize = 32;
/// Of these in one subnet, on a public network.
const MAX_PEERS_EACH: usize = 2;
/// Addresses remembered of each, and their longest.
const MAX_ADDRESSES: usize = dht::descriptor::MAX_ADDRESSES;
const MAX_ADDRESS: usize = dht::descriptor::MAX_ADDRESS_BYTES;
/// Subnets a newcomer wants to start from: whoever controls all of them shows it whatever mesh they like.
pub(crate) const WANTED_SUBNETS: usize = 5;

/// As saved: node id and addresses of each.
type Saved = Vec<(ByteArray<32>, Vec<ByteVec>)>;

/// A peer and its binary multiaddrs.
pub(crate) type Known = (NodeId, Vec<Vec<u8>>);

impl<B: Backend> Core<B> {
    /// Peers that this node was linked to in its last life, to be dialled first. What can't be read is learned again.
    ///
    /// # Errors
    /// Of the store.
    pub fn remembered_peers(&self) -> Result<Vec<Known>, Error> {
        let stored = self.read_state(key::PEERS)?;
        let saved = stored.first().map(|(_, bytes)| from_bytes(bytes));
        let mut peers = saved.unwrap_or_default();
        for (_, addresses) in &mut peers {
            self.keep_dialable(addresses);
        }
        peers.retain(|(_, addresses)| !addresses.is_empty());
        Ok(peers)
    }

    /// In how many subnets the peers lie that this node started from.
    pub fn set_start_subnets(&mut self, subnets: usize) {
        self.start_subnets = Some(subnets);
    }

    /// `few_bootstrap(2/5)` on a public network. A warning: who knows one honest peer may well start from it.
    pub(super) fn few_bootstrap(&self) -> Option<String> {
        let subnets = self.start_subnets?;
        let few = self.config.params.subnet_rule && subnets < WANTED_SUBNETS;
        few.then(|| format!("few_bootstrap({subnets}/{WANTED_SUBNETS})"))
    }

    /// Remembers whom we are linked to now; with nobody there the last ones stay.
    pub(super) fn remember_peers(&mut self) {
        let linked = self.links.iter().filter_map(|short| {
            let (id, addresses) = self.pki.known(short)?;
            let mut addresses = addresses.to_vec();
            self.keep_dialable(&mut addresses);
            (!addresses.is_empty()).then_some((*short, id, addresses))
        });
        let each = if self.config.params.subnet_rule {
            MAX_PEERS_EACH
        } else {
            MAX_PEERS
        };
        let chosen = choose(linked, each);
        if !chosen.is_empty() {
            self.write_state(key::PEERS, &to_bytes(&chosen));
        }
    }

    /// Takes out what must not be dialled, or told to others to be dialled.
    pub(super) fn keep_dialable(&self, addresses: &mut Vec<Vec<u8>>) {
        if self.config.params.subnet_rule {
            addresses.retain(|address| is_global(address));
        }
    }
}

/// The first ones, of each subnet only a few.
fn choose(peers: impl Iterator<Item = (ShortId, NodeId, Vec<Vec<u8>>)>, each: usize) -> Vec<Known> {
    let mut subnets: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    let mut chosen = Vec::new();
    for (_, id, addresses) in peers {
        let taken = subnets
            .entry(addresses.first().and_then(|one| subnet(one)))
            .or_default();
        if *taken < each && chosen.len() < MAX_PEERS {
            *taken += 1;
            chosen.push((id, addresses));
        }
    }
    chosen
}

fn to_bytes(peers: &[Known]) -> Vec<u8> {
    let saved: Saved = peers
        .iter()
        .map(|(id, addresses)| {
            let addresses = addresses.iter().cloned().map(ByteVec::from);
            (id.0.into(), addresses.collect())
        })
        .collect();
    minicbor::to_vec(saved).unwrap_or_default()
}

fn from_bytes(bytes: &[u8]) -> Vec<Known> {
    let saved: Saved = minicbor::decode(bytes).unwrap_or_default();
    let fits = |address: &Vec<u8>| address.len() <= MAX_ADDRESS;
    saved
        .into_iter()
        .take(MAX_PEERS)
        .map(|(id, addresses)| {
            let addresses = addresses.into_iter().map(Vec::from).filter(fits);
            (NodeId(id.into()), addresses.take(MAX_ADDRESSES).collect())
        })
        .collect()
}

/// The address a binary multiaddr begins with. Multiaddr codes: 4 for IPv4 (four bytes follow), 41 for IPv6 (sixteen).
fn ip(address: &[u8]) -> Option<IpAddr> {
    let (code, rest) = address.split_first()?;
    match code {
        4 => Some(IpAddr::V4(Ipv4Addr::from(*rest.first_chunk::<4>()?))),
        41 => Some(IpAddr::V6(Ipv6Addr::from(*rest.first_chunk::<16>()?))),
        _ => None,
    }
}

/// Tag of a binary multiaddr's subnet: /16 of an IPv4 address, /32 of an IPv6 one.
pub(crate) fn subnet(address: &[u8]) -> Option<u32> {
    match ip(address)? {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            Some(u32::from_be_bytes([4, 0, a, b]))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.octets();
            Some(u32::from_be_bytes([a, b, c, d]))
        }
    }
}

/// Whether a binary multiaddr begins with an address of the internet. A name doesn't: its owner decides at every look where it leads.
pub(crate) fn is_global(address: &[u8]) -> bool {
    match ip(address) {
        Some(IpAddr::V4(v4)) => is_global_v4(v4),
        Some(IpAddr::V6(v6)) => is_global_v6(v6),
        None => false,
    }
}

fn is_global_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let shared = a == 100 && b & 0xc0 == 64;
    let tested = a == 198 && b & 0xfe == 18;
    let assigned = (a, b, c) == (192, 0, 0);
    // 0/8 is this host, 224/4 multicast, 240/4 reserved.
    a != 0
        && a < 224
        && !ip.is_loopback()
        && !ip.is_private()
        && !ip.is_link_local()
        && !(shared || tested || assigned)
}

fn is_global_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    let [.., a, b, c, d] = ip.octets();
    let inner = Ipv4Addr::new(a, b, c, d);
    // Written as IPv6, or translated by a NAT64: the IPv4 address is what is dialled.
    if ip.to_ipv4_mapped().is_some() || segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_global_v4(inner);
    }
    // Only 2000::/3 is given out; 2002::/16 wraps IPv4 addresses of any kind.
    segments[0] & 0xe000 == 0x2000 && segments[0] != 0x2002
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(ip: &str) -> Vec<u8> {
        let mut bytes = match ip.parse().unwrap() {
            IpAddr::V4(v4) => [&[4][..], &v4.octets()].concat(),
            IpAddr::V6(v6) => [&[41][..], &v6.octets()].concat(),
        };
        bytes.extend([6, 0x1d, 0x4c]);
        bytes
    }

    use crate::core::split::tests::{AT, open_in};
    use crate::sim::disk::SimDisk;
    use dht::network::NetworkParams;
    use storage::backend::memory::MemoryBackend;

    fn public() -> NetworkParams {
        NetworkParams {
            subnet_rule: true,
            ..NetworkParams::local()
        }
    }

    /// What a node that listens there tells others.
    fn told(core: &mut Core<MemoryBackend>, listen: &[&str]) -> Vec<Vec<u8>> {
        core.handle_listen(AT, listen.iter().map(|ip| address(ip)).collect());
        let (_, addresses) = core.pki.known(&core.short).unwrap();
        addresses.to_vec()
    }

    #[test]
    fn nobody_is_told_of_our_own_machine_on_a_public_network() {
        let all = ["127.0.0.1", "192.168.1.7", "9.9.9.9", "::1", "2a00:1450::1"];
        let mut core = open_in(&public(), &SimDisk::default(), 1);
        let global = ["9.9.9.9", "2a00:1450::1"].map(address);
        assert_eq!(told(&mut core, &all), global);
        // Behind a NAT there is nothing to tell, and it takes part all the same.
        let mut core = open_in(&public(), &SimDisk::default(), 2);
        assert_eq!(told(&mut core, &all[..2]), Vec::<Vec<u8>>::new());
        // In a network on one machine loopback is all there is.
        let mut core = open_in(&NetworkParams::local(), &SimDisk::default(), 3);
        assert_eq!(told(&mut core, &all[..1]), [address("127.0.0.1")]);
    }

    #[test]
    fn what_others_tell_is_not_dialled_on_a_public_network_but_on_a_local_one() {
        let listed = || ["127.0.0.1", "10.0.0.1", "9.9.9.9"].map(address).to_vec();
        let core = open_in(&public(), &SimDisk::default(), 1);
        let mut addresses = listed();
        core.keep_dialable(&mut addresses);
        assert_eq!(addresses, [address("9.9.9.9")]);
        let core = open_in(&NetworkParams::local(), &SimDisk::default(), 1);
        let mut addresses = listed();
        core.keep_dialable(&mut addresses);
        assert_eq!(addresses, listed());
    }

    #[test]
    fn peers_are_remembered_over_a_restart_and_few_subnets_are_a_warning() {
        let mut disk = SimDisk::default();
        let mut core = open_in(&public(), &disk, 1);
        let peers = vec![
            (NodeId([5; 32]), vec![address("9.9.9.9")]),
            (NodeId([6; 32]), vec![address("127.0.0.1")]),
        ];
        core.write_state(key::PEERS, &to_bytes(&peers));
        // Nobody there: what is known stays.
        core.remember_peers();
        while let Some(commit) = core.poll_commit() {
            disk.commit(&commit).unwrap();
            core.handle_durable(AT, commit.seq);
        }
        let mut core = open_in(&public(), &disk, 1);
        assert_eq!(core.remembered_peers().unwrap(), peers[..1]);
        assert_eq!(core.few_bootstrap(), None, "nobody counted");
        core.set_start_subnets(2);
        assert_eq!(core.few_bootstrap().as_deref(), Some("few_bootstrap(2/5)"));
        core.set_start_subnets(WANTED_SUBNETS);
        assert_eq!(core.few_bootstrap(), None);
        let mut core = open_in(&NetworkParams::local(), &SimDisk::default(), 1);
        core.set_start_subnets(0);
        assert_eq!(core.few_bootstrap(), None);
    }

    #[test]
    fn only_the_internet_is_dialled() {
        let inside = [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.9.9",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::1",
        ];
        for ip in inside {
            assert!(!is_global(&address(ip)), "{ip}");
        }
        for ip in [
            "1.1.1.1",
            "100.63.0.1",
            "172.32.0.1",
            "9.9.9.9",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(is_global(&address(ip)), "{ip}");
        }
        // A name (code 53 to 56), a relay, a cut-off address, nothing.
        let others: [&[u8]; 4] = [
            b"\x36\x09localhost\x06\x1d\x4c",
            &[0xa2, 2],
            &[4, 1, 1],
            &[],
        ];
        assert!(others.iter().all(|other| !is_global(other)));
    }

    #[test]
    fn few_are_remembered_of_one_subnet_and_few_in_all() {
        let peer = |number: u8, ip: &str| {
            (
                ShortId([number; 16]),
                NodeId([number; 32]),
                vec![address(ip)],
            )
        };
        let near = (0..50).map(|n| peer(n, &format!("9.9.0.{n}")));
        let far = (50..60).map(|n| peer(n, &format!("9.{n}.0.1")));
        let chosen = choose(near.chain(far), MAX_PEERS_EACH);
        assert_eq!(chosen.len(), MAX_PEERS_EACH + 10);
        let many = (0..200).map(|n| peer(n, &format!("{}.{n}.0.1", 11 + n % 7)));
        assert_eq!(choose(many, MAX_PEERS_EACH).len(), MAX_PEERS);
        assert_eq!(from_bytes(&to_bytes(&chosen)), chosen);
        assert_eq!(from_bytes(b"damaged"), []);
        // What was written by hand is cut to size.
        let long = vec![(NodeId([1; 32]), vec![vec![4; MAX_ADDRESS + 1]; 9]); 99];
        let read = from_bytes(&to_bytes(&long));
        assert!(read.len() == MAX_PEERS && read.iter().all(|(_, addresses)| addresses.is_empty()));
    }

    #[test]
    fn a_subnet_is_what_a_descriptor_would_state() {
        assert_eq!(subnet(&address("9.8.7.6")), Some(0x0400_0908));
        assert_eq!(subnet(&address("2a00:1450::1")), Some(0x2a00_1450));
        assert_eq!(subnet(&[6]), None);
    }
}
