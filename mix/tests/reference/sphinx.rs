//! The packet format once more, written from SPEC.md §2 to §7 alone and in the plainest way there is: vectors everywhere,
//! every number spelled out, points multiplied one after the other, each hop's view computed and looked at. Slow on purpose.
//! It shares nothing with `mix::sphinx` but the curve's arithmetic and BLAKE3; what both say is what the text says.
#![allow(dead_code, reason = "no program uses all of it")]
#![allow(
    clippy::unwrap_used,
    reason = "a reference that fails should stop the test"
)]

use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;

pub(crate) mod cipher;
pub(crate) mod tape;

use cipher::{chacha20, derive, keyed, wide_decrypt, wide_encrypt, xor};

pub(crate) const FORWARD: u8 = 1;
pub(crate) const DROP: u8 = 2;
pub(crate) const LOOP: u8 = 3;
pub(crate) const BOX: u8 = 4;
pub(crate) const REPLY: u8 = 5;

/// A relay as senders know it: the context of its keys and its public key.
#[derive(Clone, Debug)]
pub(crate) struct Hop {
    pub(crate) name: [u8; 16],
    pub(crate) epoch: u32,
    pub(crate) public: [u8; 32],
}

/// What a packet says: the last hop's command, the class at all hops and, where the command has one, the id. Nothing here
/// stops a test from asking for bytes that no honest sender writes.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) command: u8,
    pub(crate) class: u8,
    pub(crate) id: Option<[u8; 16]>,
}

/// What a hop that accepted a packet has in hand.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) tag: Vec<u8>,
    /// 36 bytes in clear.
    pub(crate) block: Vec<u8>,
    /// The packet for the next hop; at the last hop the header as received and delta decrypted.
    pub(crate) packet: Vec<u8>,
}

/// The reasons of SPEC.md §9 that a packet's bytes alone can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Version,
    Alpha,
    Mac,
    Command,
    Flags,
    Payload,
}

/// §4: what hop and sender derive from the element they share.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) mac: Vec<u8>,
    pub(crate) stream: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) blinding: Scalar,
    pub(crate) tag: Vec<u8>,
}

impl Keys {
    pub(crate) fn new(
        shared: &RistrettoPoint,
        network: &[u8; 32],
        epoch: u32,
        name: &[u8],
    ) -> Self {
        let mut input = shared.compress().to_bytes().to_vec();
        input.push(1);
        input.extend(network);
        input.extend(epoch.to_le_bytes());
        input.extend(name);
        let out = derive("murmuration/v1/sphinx-hop", &input, 176);
        Self {
            mac: out[..32].to_vec(),
            stream: out[32..64].to_vec(),
            payload: out[64..96].to_vec(),
            blinding: Scalar::from_bytes_mod_order_wide(&out[96..160].try_into().unwrap()),
            tag: out[160..176].to_vec(),
        }
    }

    pub(crate) fn gamma(&self, beta: &[u8]) -> Vec<u8> {
        keyed(&self.mac, beta)[..16].to_vec()
    }

    /// §6, peeling, step 4: 216 bytes, the hop's block first.
    pub(crate) fn view(&self, beta: &[u8]) -> Vec<u8> {
        xor(&[beta, &[0; 36]].concat(), &chacha20(&self.stream, 216))
    }
}

/// An element of the group from its one encoding, and none for the identity.
pub(crate) fn element(bytes: &[u8]) -> Option<RistrettoPoint> {
    let point = CompressedRistretto(bytes.try_into().unwrap()).decompress()?;
    (point != RistrettoPoint::identity()).then_some(point)
}

/// Drawn bytes, in order.
pub(crate) struct Drawn<'a>(pub(crate) &'a [u8]);

impl Drawn<'_> {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken.to_vec()
    }

    fn scalar(&mut self) -> Scalar {
        loop {
            let scalar = Scalar::from_bytes_mod_order_wide(&self.take(64).try_into().unwrap());
            if scalar != Scalar::ZERO {
                return scalar;
            }
        }
    }
}

/// §6: a header of 229 bytes and the keys of all hops.
pub(crate) fn header(
    network: &[u8; 32],
    path: &[Hop],
    order: &Order,
    drawn: &mut Drawn,
) -> (Vec<u8>, Vec<Keys>) {
    let n = path.len();
    let x = drawn.scalar();
    let alpha = RISTRETTO_BASEPOINT_POINT * x;
    let keys = shared_keys(network, path, x);
    let mut beta = drawn.take(180);

    // What the hops before the last append, found by following zeros forward: their front is cut off again before the end.
    let mut zeros = vec![0; 180];
    for keys in &keys[..n - 1] {
        zeros = keys.view(&zeros)[36..].to_vec();
    }
    let filler = &zeros[180 - 36 * (n - 1)..];

    let mut gamma = Vec::new();
    let mut betas = Vec::new();
    for i in (0..n).rev() {
        let quantile = drawn.take(2);
        if i == n - 1 {
            let id = order.id.map_or(beta[4..20].to_vec(), |id| id.to_vec());
            let head = [order.command, order.class];
            beta = [&head, &quantile[..], &id, &beta[20..]].concat();
        } else {
            let head = [FORWARD, order.class];
            let next = &path[i + 1].name;
            beta = [&head, &quantile[..], next, &gamma, &beta[..144]].concat();
        }
        beta = xor(&beta, &chacha20(&keys[i].stream, 180));
        if i == n - 1 {
            beta = [&beta[..180 - 36 * (n - 1)], filler].concat();
        }
        gamma = keys[i].gamma(&beta);
        betas.insert(0, beta.clone());
    }
    let header = [&[1], &alpha.compress().to_bytes()[..], &gamma, &beta].concat();
    follow(&header, &keys, &betas);
    (header, keys)
}

/// Sᵢ = (x·b₀·…·bᵢ₋₁)·Yᵢ, one multiplication after the other.
fn shared_keys(network: &[u8; 32], path: &[Hop], x: Scalar) -> Vec<Keys> {
    let mut all: Vec<Keys> = Vec::new();
    for hop in path {
        let mut shared = element(&hop.public).unwrap() * x;
        for before in &all {
            shared *= before.blinding;
        }
        all.push(Keys::new(&shared, network, hop.epoch, &hop.name));
    }
    all
}

/// Goes along with a fresh header: each hop must find its own gamma and the beta that was meant for it.
fn follow(header: &[u8], keys: &[Keys], betas: &[Vec<u8>]) {
    let mut gamma = header[33..49].to_vec();
    let mut beta = header[49..].to_vec();
    for (keys, meant) in keys.iter().zip(betas) {
        assert_eq!(&beta, meant);
        assert_eq!(gamma, keys.gamma(&beta));
        let view = keys.view(&beta);
        gamma = view[20..36].to_vec();
        beta = view[36..].to_vec();
    }
}

/// A packet with `body` behind a tag of zeros.
pub(crate) fn build(
    network: &[u8; 32],
    path: &[Hop],
    order: &Order,
    body: &[u8],
    drawn: &mut Drawn,
) -> Vec<u8> {
    build_with_tag(network, path, order, &[0; 16], body, drawn)
}

/// The same with any tag, for tests of what the last hop refuses.
pub(crate) fn build_with_tag(
    network: &[u8; 32],
    path: &[Hop],
    order: &Order,
    tag: &[u8; 16],
    body: &[u8],
    drawn: &mut Drawn,
) -> Vec<u8> {
    let (header, keys) = header(network, path, order, drawn);
    let mut delta = [tag, body].concat();
    for keys in keys.iter().rev() {
        delta = wide_encrypt(&keys.payload, &delta);
    }
    [header, delta].concat()
}

/// §6: one hop's work, by the relay with this secret.
pub(crate) fn peel(
    secret: &[u8; 32],
    network: &[u8; 32],
    epoch: u32,
    name: &[u8; 16],
    packet: &[u8],
) -> Result<Seen, Refused> {
    assert_eq!(packet.len(), 2048);
    let (gamma, beta, delta) = (&packet[33..49], &packet[49..229], &packet[229..]);
    if packet[0] != 1 {
        return Err(Refused::Version);
    }
    let alpha = element(&packet[1..33]).ok_or(Refused::Alpha)?;
    let y = Scalar::from_canonical_bytes(*secret).unwrap();
    let keys = Keys::new(&(y * alpha), network, epoch, name);
    if keys.gamma(beta) != gamma {
        return Err(Refused::Mac);
    }
    let view = keys.view(beta);
    let block = view[..36].to_vec();
    if !(FORWARD..=REPLY).contains(&block[0]) {
        return Err(Refused::Command);
    }
    if block[1] > 2 {
        return Err(Refused::Flags);
    }
    let delta = wide_decrypt(&keys.payload, delta);
    let header = match block[0] {
        FORWARD => {
            let alpha = (keys.blinding * alpha).compress().to_bytes();
            [&[1], &alpha[..], &block[20..], &view[36..]].concat()
        }
        REPLY => packet[..229].to_vec(),
        _ if delta[..16] != [0; 16] => return Err(Refused::Payload),
        _ => packet[..229].to_vec(),
    };
    Ok(Seen {
        tag: keys.tag,
        block,
        packet: [header, delta].concat(),
    })
}

/// §7: a reply block (277 bytes) and what its owner keeps (193 bytes).
pub(crate) fn build_surb(
    network: &[u8; 32],
    path: &[Hop],
    class: u8,
    id: [u8; 16],
    drawn: &mut Drawn,
) -> (Vec<u8>, Vec<u8>) {
    let order = Order {
        command: REPLY,
        class,
        id: Some(id),
    };
    let (header, keys) = header(network, path, &order, drawn);
    let key = drawn.take(32);
    let mut kept = vec![path.len() as u8];
    kept.extend(&key);
    for keys in &keys {
        kept.extend(&keys.payload);
    }
    kept.resize(193, 0);
    ([&header, &path[0].name[..], &key].concat(), kept)
}

/// The packet that carries `body` home.
pub(crate) fn reply(surb: &[u8], body: &[u8]) -> Vec<u8> {
    let delta = [&[0; 16], body].concat();
    [&surb[..229], &wide_encrypt(&surb[245..], &delta)].concat()
}

/// The body of a reply as the owner's own peel left it; none if its tag is not zero.
pub(crate) fn open(kept: &[u8], packet: &[u8]) -> Option<Vec<u8>> {
    let mut delta = packet[229..].to_vec();
    for hop in (0..usize::from(kept[0])).rev() {
        delta = wide_encrypt(&kept[33 + 32 * hop..65 + 32 * hop], &delta);
    }
    delta = wide_decrypt(&kept[1..33], &delta);
    (delta[..16] == [0; 16]).then(|| delta[16..].to_vec())
}
