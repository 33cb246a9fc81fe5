//! The signed list of peers to start from: whom a newcomer asks first, by the word of a key that it has from elsewhere.
//!
//! It says where to knock, not whom to believe: what the peers answer is checked like anybody's word. A list that is old, of another
//! network or signed by another key is refused by name, never skipped. SPEC §18.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use crate::error::{Error, ErrorKind};

/// Most peers of a list.
pub const MAX_PEERS: usize = 64;
/// Longest address of one, in bytes.
pub const MAX_ADDRESS: usize = 128;
/// Longest list, in bytes.
pub const MAX_LEN: usize = HEAD_LEN + MAX_PEERS * (1 + MAX_ADDRESS) + SIGNATURE_LEN;

const VERSION: u8 = 1;
const HEAD_LEN: usize = 1 + 32 + 8 + 8 + 1;
const SIGNATURE_LEN: usize = 64;
const CONTEXT: &[u8] = b"murmuration/v1/bootstrap-list";

/// A list whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootstrapList {
    /// Since when it holds, Unix milliseconds.
    pub from: u64,
    /// Until when, exclusive.
    pub until: u64,
    /// Multiaddrs with `/p2p/…`.
    pub peers: Vec<Multiaddr>,
}

impl BootstrapList {
    /// Signs a list for a network.
    ///
    /// # Errors
    /// `Config` if it has no peer, too many, or an address that is too long or names no peer.
    pub fn sign(&self, network: &[u8; 32], key: &SigningKey) -> Result<Vec<u8>, Error> {
        let wrong = |why: String| {
            Error::new(
                ErrorKind::Config,
                why,
                "give 1 to 64 addresses that end with /p2p/PEER-ID",
            )
        };
        let count = self.peers.len();
        let fits = u8::try_from(count)
            .ok()
            .filter(|count| (1..=MAX_PEERS).contains(&usize::from(*count)));
        let count =
            fits.ok_or_else(|| wrong(format!("a list of {count} peers can't be signed")))?;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(network);
        bytes.extend_from_slice(&self.from.to_le_bytes());
        bytes.extend_from_slice(&self.until.to_le_bytes());
        bytes.push(count);
        for peer in &self.peers {
            let address = peer.to_vec();
            let len = u8::try_from(address.len())
                .ok()
                .filter(|len| usize::from(*len) <= MAX_ADDRESS);
            let Some(len) = len.filter(|_| names_peer(peer)) else {
                return Err(wrong(format!("{peer} can't stand in a list of peers")));
            };
            bytes.push(len);
            bytes.extend_from_slice(&address);
        }
        let signature = key.sign(&message(&bytes)).to_bytes();
        bytes.extend_from_slice(&signature);
        Ok(bytes)
    }

    /// Reads and checks a list. `now` is Unix milliseconds.
    ///
    /// # Errors
    /// `Network`, and in words which of these it is: not a list, another version, another network, another key, not valid now.
    pub fn verify(
        bytes: &[u8],
        network: &[u8; 32],
        key: &[u8; 32],
        now: u64,
    ) -> Result<Self, Error> {
        let wrong = |why: &str, fix: &str| {
            Error::new(
                ErrorKind::Network,
                format!("the list of peers to start from {why}"),
                fix,
            )
        };
        let newer = "get a newer list from where you have your copy of murmur from, or name peers with --bootstrap";
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(wrong("has another version than this program reads", newer));
        }
        let (signed, signature) = bytes
            .split_last_chunk::<SIGNATURE_LEN>()
            .filter(|_| bytes.len() <= MAX_LEN)
            .ok_or_else(|| wrong("is not one", newer))?;
        // The signature first: what no known key has signed is not worth a look.
        VerifyingKey::from_bytes(key)
            .and_then(|key| key.verify_strict(&message(signed), &Signature::from_bytes(signature)))
            .map_err(|_| {
                wrong(
                    "is not signed by the key named for it",
                    "check --bootstrap-key against its source; the list may have been changed on its way",
                )
            })?;
        let (of, list) =
            parse(signed).ok_or_else(|| wrong("is damaged, though its signature holds", newer))?;
        if of != *network {
            return Err(wrong(
                "is of another network",
                "give the list of this network, or join the other one with --network",
            ));
        }
        if now >= list.until {
            return Err(wrong("is too old", newer));
        }
        if now < list.from {
            return Err(wrong("is not valid yet", "set the clock of this machine"));
        }
        Ok(list)
    }
}

fn message(signed: &[u8]) -> Vec<u8> {
    [CONTEXT, signed].concat()
}

fn names_peer(address: &Multiaddr) -> bool {
    matches!(address.iter().last(), Some(Protocol::P2p(_)))
}

fn parse(signed: &[u8]) -> Option<([u8; 32], BootstrapList)> {
    let (_, rest) = signed.split_first()?;
    let (network, rest) = rest.split_first_chunk::<32>()?;
    let (from, rest) = rest.split_first_chunk::<8>()?;
    let (until, rest) = rest.split_first_chunk::<8>()?;
    let (count, mut rest) = rest.split_first()?;
    if !(1..=MAX_PEERS).contains(&usize::from(*count)) {
        return None;
    }
    let mut peers = Vec::new();
    for _ in 0..*count {
        let (len, tail) = rest.split_first()?;
        let len = usize::from(*len);
        let (address, tail) = (len <= MAX_ADDRESS).then(|| tail.split_at_checked(len))??;
        let address = Multiaddr::try_from(address.to_vec()).ok()?;
        peers.push(address);
        rest = tail;
    }
    let sound = rest.is_empty() && peers.iter().all(names_peer);
    let list = BootstrapList {
        from: u64::from_le_bytes(*from),
        until: u64::from_le_bytes(*until),
        peers,
    };
    sound.then_some((*network, list))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NETWORK: [u8; 32] = [3; 32];

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn peer(number: u8) -> Multiaddr {
        let key = libp2p::identity::Keypair::ed25519_from_bytes([number; 32]).unwrap();
        let address: Multiaddr = format!("/ip4/9.{number}.0.1/tcp/7400").parse().unwrap();
        address.with_p2p(key.public().to_peer_id()).unwrap()
    }

    fn list(count: u8) -> BootstrapList {
        BootstrapList {
            from: 100,
            until: 200,
            peers: (1..=count).map(peer).collect(),
        }
    }

    fn read(bytes: &[u8], now: u64) -> Result<BootstrapList, String> {
        let public = key().verifying_key().to_bytes();
        BootstrapList::verify(bytes, &NETWORK, &public, now)
            .map_err(|error| error.message().to_owned())
    }

    #[test]
    fn a_list_is_read_as_it_was_signed() {
        for count in [1, 5, 64] {
            let bytes = list(count).sign(&NETWORK, &key()).unwrap();
            assert!(bytes.len() <= MAX_LEN);
            assert_eq!(read(&bytes, 100), Ok(list(count)));
        }
    }

    #[test]
    fn every_flipped_bit_and_cut_is_refused() {
        let bytes = list(5).sign(&NETWORK, &key()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut other = bytes.clone();
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&other, 150).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(read(&bytes[..len], 150).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let bytes = list(5).sign(&NETWORK, &key()).unwrap();
        let because = |bytes: &[u8], now, why: &str| {
            let said = read(bytes, now).unwrap_err();
            assert!(said.contains(why), "{said}");
        };
        because(&bytes, 99, "not valid yet");
        because(&bytes, 200, "too old");
        because(
            &list(5).sign(&[4; 32], &key()).unwrap(),
            150,
            "another network",
        );
        let other = SigningKey::from_bytes(&[8; 32]);
        because(
            &list(5).sign(&NETWORK, &other).unwrap(),
            150,
            "not signed by the key",
        );
        because(&[&[2], &bytes[1..]].concat(), 150, "another version");
        because(b"\x01", 150, "is not one");
        because(&vec![1; MAX_LEN + 1], 150, "is not one");
        // Signed, but not what a list says.
        let sealed = |mut bytes: Vec<u8>| {
            let signature = key().sign(&message(&bytes)).to_bytes();
            bytes.extend(signature);
            bytes
        };
        let body = &bytes[..bytes.len() - SIGNATURE_LEN];
        because(&sealed([body, &[0]].concat()), 150, "damaged");
        for count in [0, 6, 255] {
            let mut body = body.to_vec();
            body[HEAD_LEN - 1] = count;
            because(&sealed(body), 150, "damaged");
        }
    }

    #[test]
    fn only_peers_with_a_name_are_signed() {
        let mut nobody = list(1);
        nobody.peers[0].pop();
        assert!(nobody.sign(&NETWORK, &key()).is_err());
        assert!(list(0).sign(&NETWORK, &key()).is_err());
        assert!(list(65).sign(&NETWORK, &key()).is_err());
    }
}
