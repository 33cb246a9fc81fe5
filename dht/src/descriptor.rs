//! The descriptor: what a node says about itself for a day, signed by its identity key.
//!
//! Holds [`Descriptor`], its fields, its one encoding and its signature. Whether it is believed (validity against a clock, caps,
//! the newest of several) is `pki`'s business. SPEC.md §4.

use crate::{
    counters::DropReason,
    id::{NodeId, derive},
    vrf::VrfPublic,
    wire::Reader,
};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use mix::{NetworkId, time::Moment};
use std::sync::OnceLock;

/// Longest descriptor, in bytes.
pub const MAX_DESCRIPTOR_LEN: usize = 320;
/// Most addresses in a descriptor.
pub const MAX_ADDRESSES: usize = 4;
/// Most bytes of all addresses together, without their length bytes.
pub const MAX_ADDRESS_BYTES: usize = 96;
/// Longest admission proof, in bytes.
pub const MAX_ADMISSION_LEN: usize = 48;
/// Longest stretch a descriptor may claim to be valid: two days, in ms.
pub const MAX_VALIDITY_MS: u64 = 2 * 24 * 3_600 * 1_000;
/// Highest declared weight.
pub const MAX_WEIGHT: u8 = 8;

pub(crate) const VERSION: u8 = 1;
pub(crate) const SIGNATURE_LEN: usize = 64;
const SIGN_CONTEXT: &[u8] = b"murmuration/v1/descriptor";

/// What a node is willing to do: one byte, weight in bits 0–3, holding mailboxes in bit 4, the rest zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Capability {
    weight: u8,
    holder: bool,
}

impl Capability {
    /// A leaf (a phone): mixes for nobody, holds nothing.
    pub const LEAF: Self = Self {
        weight: 0,
        holder: false,
    };
    /// The ordinary node: weight 1, holds mailboxes.
    pub const FULL: Self = Self {
        weight: 1,
        holder: true,
    };
    /// A strong node: weight 8, holds mailboxes.
    pub const STRONG: Self = Self {
        weight: MAX_WEIGHT,
        holder: true,
    };

    /// A capability; `None` above [`MAX_WEIGHT`].
    pub fn new(weight: u8, holder: bool) -> Option<Self> {
        (weight <= MAX_WEIGHT).then_some(Self { weight, holder })
    }

    /// Share of mixing this node takes, 0 to 8.
    pub fn weight(self) -> u8 {
        self.weight
    }

    /// Whether it holds mailboxes.
    pub fn holder(self) -> bool {
        self.holder
    }

    /// What both of two statements grant: a beat can lower what the descriptor declares, never raise it.
    pub fn and(self, other: Self) -> Self {
        Self {
            weight: self.weight.min(other.weight),
            holder: self.holder && other.holder,
        }
    }

    /// The same weight, holding nothing.
    pub fn without_holding(self) -> Self {
        Self {
            holder: false,
            ..self
        }
    }

    /// The wire byte.
    pub fn to_byte(self) -> u8 {
        self.weight | u8::from(self.holder) << 4
    }

    /// Reads the wire byte; `None` unless canonical.
    pub fn from_byte(byte: u8) -> Option<Self> {
        (byte & 0xe0 == 0).then(|| Self::new(byte & 0x0f, byte & 0x10 != 0))?
    }
}

/// What a descriptor says, apart from who says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescriptorFields {
    /// Grows with every change; the highest one counts.
    pub seq: u64,
    /// Valid from, Unix ms.
    pub valid_from: u64,
    /// Valid until (exclusive), Unix ms; at most [`MAX_VALIDITY_MS`] later.
    pub valid_until: u64,
    /// Declared weight and holding.
    pub capability: Capability,
    /// Tag of the subnet (/16, v6 /32) the node says it lives in; zero if it doesn't say.
    pub subnet: u32,
    /// VRF key, by which the node witnesses; see [`crate::vrf`]. One that is not usable only keeps it from being a witness.
    pub vrf_key: [u8; 32],
    /// Admission proof, at most 48 B; empty where the network asks for none. See [`crate::admission`].
    pub admission: Vec<u8>,
    /// Binary multiaddrs, opaque here: at most 4, at most 96 B together, none empty.
    pub addresses: Vec<Vec<u8>>,
}

/// A descriptor in its one encoding, at most 320 B. Holding one does not mean that its signature was checked: see
/// [`verify`](Self::verify).
#[derive(Clone, Debug)]
pub struct Descriptor {
    id: NodeId,
    fields: DescriptorFields,
    bytes: Box<[u8]>,
    /// Whether the VRF key is usable: found out once, as each directory asks again.
    witnesses: OnceLock<bool>,
}

impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Descriptor {}

/// Why a record of our own can't be made: our caller's mistake.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// More than 4 addresses, more than 96 B of them, or an empty one.
    #[error(
        "a descriptor carries at most {MAX_ADDRESSES} addresses and {MAX_ADDRESS_BYTES} bytes of them"
    )]
    Addresses,
    /// An admission proof over 48 B.
    #[error("an admission proof has at most {MAX_ADMISSION_LEN} bytes")]
    Admission,
    /// It ends before it begins, or lives longer than two days.
    #[error("a descriptor is valid for at most two days")]
    Validity,
}

impl Descriptor {
    /// Signs the fields with the identity key.
    ///
    /// # Errors
    /// [`DescriptorError`] if a field exceeds its limit.
    pub fn sign(
        network: &NetworkId,
        key: &SigningKey,
        fields: DescriptorFields,
    ) -> Result<Self, DescriptorError> {
        fields.check()?;
        let id = NodeId(key.verifying_key().to_bytes());
        let mut bytes = fields.body(&id);
        let signature = key.sign(&signed_message(SIGN_CONTEXT, network, &bytes));
        bytes.extend_from_slice(&signature.to_bytes());
        Ok(Self {
            id,
            fields,
            bytes: bytes.into_boxed_slice(),
            witnesses: OnceLock::new(),
        })
    }

    /// Reads a descriptor, without checking its signature.
    ///
    /// # Errors
    /// [`DropReason::Version`], [`DropReason::Malformed`] or [`DropReason::Validity`].
    pub fn decode(bytes: &[u8]) -> Result<Self, DropReason> {
        if bytes.len() > MAX_DESCRIPTOR_LEN {
            return Err(DropReason::Malformed);
        }
        if bytes.first().is_some_and(|version| *version != VERSION) {
            return Err(DropReason::Version);
        }
        let (id, fields) = parse(bytes).ok_or(DropReason::Malformed)?;
        match fields.check() {
            Ok(()) => Ok(Self {
                id,
                fields,
                bytes: bytes.into(),
                witnesses: OnceLock::new(),
            }),
            Err(DescriptorError::Validity) => Err(DropReason::Validity),
            Err(_) => Err(DropReason::Malformed),
        }
    }

    /// Checks the signature strictly under the id the descriptor claims.
    ///
    /// # Errors
    /// [`DropReason::Signature`].
    pub fn verify(&self, network: &NetworkId) -> Result<(), DropReason> {
        let (body, signature) = self.bytes.split_at(self.bytes.len() - SIGNATURE_LEN);
        verify_strict(SIGN_CONTEXT, network, &self.id, body, signature)
    }

    /// Whether it counts instead of `held`, of the same node: the one that ends later, then the higher `seq`, then the lower hash.
    /// A total order, so that all views end the same; and what a held descriptor covers, its successors cover.
    pub fn replaces(&self, held: &Self) -> bool {
        let rank = |one: &Self| (one.fields.valid_until, one.fields.seq);
        match rank(self).cmp(&rank(held)) {
            core::cmp::Ordering::Equal => self.hash() < held.hash(),
            order => order.is_gt(),
        }
    }

    /// Who signed it.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Whether its VRF key is usable: without one, the node can't be a witness.
    pub(crate) fn can_witness(&self) -> bool {
        let key = &self.fields.vrf_key;
        *(self.witnesses).get_or_init(|| VrfPublic::from_bytes(key).is_some())
    }

    /// What it says.
    pub fn fields(&self) -> &DescriptorFields {
        &self.fields
    }

    /// Its one encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The 32 B the leaf commits to: `derive("descriptor-hash", body)`. It leaves the signature out, because a signer can make
    /// many signatures of one body.
    pub fn hash(&self) -> [u8; 32] {
        derive("murmuration/v1/descriptor-hash", &[self.body()])
    }

    /// Whether it counts for some moment of `[from, until)`.
    pub fn covers(&self, from: Moment, until: Moment) -> bool {
        self.fields.valid_from < until.as_millis() && self.fields.valid_until > from.as_millis()
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - SIGNATURE_LEN]
    }
}

impl DescriptorFields {
    fn check(&self) -> Result<(), DescriptorError> {
        let total: usize = self.addresses.iter().map(Vec::len).sum();
        if self.addresses.len() > MAX_ADDRESSES
            || total > MAX_ADDRESS_BYTES
            || self.addresses.iter().any(Vec::is_empty)
        {
            return Err(DescriptorError::Addresses);
        }
        if self.admission.len() > MAX_ADMISSION_LEN {
            return Err(DescriptorError::Admission);
        }
        match self.valid_until.checked_sub(self.valid_from) {
            Some(1..=MAX_VALIDITY_MS) => Ok(()),
            _ => Err(DescriptorError::Validity),
        }
    }

    /// The signed part. Lengths fit a byte: `check` came first.
    fn body(&self, id: &NodeId) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAX_DESCRIPTOR_LEN);
        out.push(VERSION);
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.valid_from.to_le_bytes());
        out.extend_from_slice(&self.valid_until.to_le_bytes());
        out.push(self.capability.to_byte());
        out.extend_from_slice(&self.subnet.to_le_bytes());
        out.extend_from_slice(&self.vrf_key);
        out.push(self.admission.len() as u8);
        out.extend_from_slice(&self.admission);
        out.push(self.addresses.len() as u8);
        for address in &self.addresses {
            out.push(address.len() as u8);
            out.extend_from_slice(address);
        }
        out
    }
}

fn parse(bytes: &[u8]) -> Option<(NodeId, DescriptorFields)> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let id = NodeId(reader.array()?);
    let seq = reader.u64()?;
    let valid_from = reader.u64()?;
    let valid_until = reader.u64()?;
    let capability = Capability::from_byte(reader.u8()?)?;
    let subnet = reader.u32()?;
    let vrf_key = reader.array()?;
    let admission_len = usize::from(reader.u8()?);
    if admission_len > MAX_ADMISSION_LEN {
        return None;
    }
    let admission = reader.bytes(admission_len)?.to_vec();
    let count = usize::from(reader.u8()?);
    if count > MAX_ADDRESSES {
        return None;
    }
    let mut addresses = Vec::with_capacity(count);
    for _ in 0..count {
        let len = usize::from(reader.u8()?);
        addresses.push(reader.bytes(len)?.to_vec());
    }
    reader.bytes(SIGNATURE_LEN)?;
    reader.end()?;
    Some((
        id,
        DescriptorFields {
            seq,
            valid_from,
            valid_until,
            capability,
            subnet,
            vrf_key,
            admission,
            addresses,
        },
    ))
}

/// `context ‖ network id ‖ body`: what every signature of a node covers.
pub(crate) fn signed_message(context: &[u8], network: &NetworkId, body: &[u8]) -> Vec<u8> {
    [context, &network.0, body].concat()
}

pub(crate) fn verify_strict(
    context: &[u8],
    network: &NetworkId,
    id: &NodeId,
    body: &[u8],
    signature: &[u8],
) -> Result<(), DropReason> {
    let key = VerifyingKey::from_bytes(&id.0).map_err(|_| DropReason::Signature)?;
    let signature = Signature::from_slice(signature).map_err(|_| DropReason::Signature)?;
    key.verify_strict(&signed_message(context, network, body), &signature)
        .map_err(|_| DropReason::Signature)
}

#[cfg(test)]
mod tests;
