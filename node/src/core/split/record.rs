//! What is written of certified epochs and of alarms, and how an alarm is told.

use dht::certificate::Certificate;
use dht::committee::Candidates;
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use mix::NetworkId;
use mix::time::Moment;

use super::{AlarmKey, Certified, OWN};
use crate::core::records::{ContactId, hex};
use crate::view::{AlarmState, AlarmView};

/// How far an alarm is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) enum State {
    /// The contact's node says so.
    Claimed,
    /// It sent a certificate that doesn't hold for the witnesses we know.
    Unproven,
    /// It sent one that does.
    Proven,
}

/// One disagreement, with the evidence of both sides.
#[derive(Clone, Debug)]
pub(in crate::core) struct Alarm {
    /// Zero: our own view.
    pub(in crate::core) contact: ContactId,
    pub(in crate::core) epoch: u32,
    pub(in crate::core) state: State,
    /// Unix milliseconds.
    pub(in crate::core) at: u64,
    /// What the contact's frame said, if one did.
    pub(in crate::core) check: Option<[u8; 8]>,
    own: ([u8; 32], Vec<u8>),
    theirs: Option<([u8; 32], Vec<u8>)>,
    /// Witnesses who signed both.
    pub(in crate::core) faults: usize,
    pub(in crate::core) seen: bool,
}

#[derive(Encode, Decode)]
struct AlarmRecord {
    #[cbor(n(0), with = "minicbor::bytes")]
    contact: [u8; 16],
    #[n(1)]
    epoch: u32,
    #[n(2)]
    state: u8,
    #[n(3)]
    at: u64,
    #[n(4)]
    check: Option<minicbor::bytes::ByteArray<8>>,
    #[cbor(n(5), with = "minicbor::bytes")]
    own_root: [u8; 32],
    #[n(6)]
    own: ByteVec,
    #[n(7)]
    their_root: Option<minicbor::bytes::ByteArray<32>>,
    #[n(8)]
    theirs: Option<ByteVec>,
    #[n(9)]
    faults: u32,
    #[n(10)]
    seen: bool,
}

impl Alarm {
    pub(super) fn new(contact: ContactId, now: Moment, own: &Certified) -> Self {
        Self {
            contact,
            epoch: own.epoch,
            state: State::Claimed,
            at: now.as_millis(),
            check: None,
            own: (own.root, own.certificate.encode()),
            theirs: None,
            faults: 0,
            seen: false,
        }
    }

    pub(in crate::core) fn key(&self) -> AlarmKey {
        (self.contact, self.epoch)
    }

    /// The other side's certificate; news for the user whatever was seen before.
    pub(super) fn answer(&mut self, state: State, theirs: &Certificate) {
        self.state = state;
        self.theirs = Some((theirs.header().root(), theirs.encode()));
        self.seen = false;
    }

    /// What `murmur alarms --seen` takes.
    pub(in crate::core) fn name(&self) -> String {
        format!("{}-{}", &hex(&self.contact)[..8], self.epoch)
    }

    /// For users; `with` is the contact's name.
    pub(in crate::core) fn view(&self, with: String) -> AlarmView {
        let certificate = |bytes: &Vec<u8>| hex(bytes);
        let own = self.contact == OWN;
        AlarmView {
            id: self.name(),
            with: (!own).then_some(with),
            epoch: self.epoch,
            raised_at: self.at,
            state: match self.state {
                State::Claimed => AlarmState::Claimed,
                State::Unproven => AlarmState::Unproven,
                State::Proven => AlarmState::Proven,
            },
            own_root: hex(&self.own.0),
            their_root: self.theirs.as_ref().map(|(root, _)| hex(root)),
            own_certificate: Some(certificate(&self.own.1)),
            their_certificate: self.theirs.as_ref().map(|(_, bytes)| certificate(bytes)),
            double_signers: self.faults,
            seen: self.seen,
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let record = AlarmRecord {
            contact: self.contact,
            epoch: self.epoch,
            state: match self.state {
                State::Claimed => 0,
                State::Unproven => 1,
                State::Proven => 2,
            },
            at: self.at,
            check: self.check.map(Into::into),
            own_root: self.own.0,
            own: self.own.1.clone().into(),
            their_root: self.theirs.as_ref().map(|(root, _)| (*root).into()),
            theirs: self.theirs.as_ref().map(|(_, bytes)| bytes.clone().into()),
            faults: u32::try_from(self.faults).unwrap_or(u32::MAX),
            seen: self.seen,
        };
        minicbor::to_vec(record).unwrap_or_default()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let record: AlarmRecord = minicbor::decode(bytes).ok()?;
        let theirs = record.their_root.zip(record.theirs);
        Some(Self {
            contact: record.contact,
            epoch: record.epoch,
            state: match record.state {
                0 => State::Claimed,
                1 => State::Unproven,
                2 => State::Proven,
                _ => return None,
            },
            at: record.at,
            check: record.check.map(Into::into),
            own: (record.own_root, record.own.into()),
            theirs: theirs.map(|(root, bytes)| (root.into(), bytes.into())),
            faults: usize::try_from(record.faults).unwrap_or(usize::MAX),
            seen: record.seen,
        })
    }
}

impl Certified {
    /// As written: length of the certificate 4 ‖ certificate ‖ candidates. Epoch and root are in the certificate.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let certificate = self.certificate.encode();
        let len = u32::try_from(certificate.len()).unwrap_or_default();
        let mut bytes = len.to_le_bytes().to_vec();
        bytes.extend_from_slice(&certificate);
        bytes.extend_from_slice(&self.candidates.encode());
        bytes
    }

    pub(super) fn from_bytes(network: &NetworkId, bytes: &[u8]) -> Option<Self> {
        let (len, rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_le_bytes(*len)).ok()?;
        let (certificate, candidates) = rest.split_at_checked(len)?;
        let certificate = Certificate::decode(certificate).ok()?;
        Some(Self {
            epoch: certificate.epoch(),
            root: certificate.header().root(),
            candidates: Candidates::decode(network, candidates).ok()?,
            certificate,
        })
    }
}
