//! The bundle: up to 64 records in one gossip message.
//!
//! Holds its encoding only. It carries a salt, so that repeating a record to new neighbours makes a new gossip message; nothing
//! else of it is signed, each record stands for itself. SPEC.md §10.

use crate::{
    beat::BEAT_LEN,
    certificate::{PROPOSAL_LEN, VOTE_LEN},
    counters::DropReason,
    descriptor::MAX_DESCRIPTOR_LEN,
    fault::MAX_FAULT_LEN,
    id::Cell,
    wire::Reader,
};

/// Most records in a bundle.
pub const MAX_BUNDLE_RECORDS: usize = 64;
/// Longest bundle, in bytes. The gossip layer's size limit must be at least this.
pub const MAX_BUNDLE_LEN: usize = 12_288;

const VERSION: u8 = 1;
const HEAD_LEN: usize = 1 + Cell::LEN + 4 + 1;

/// One encoded record, unchecked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record<'a> {
    /// An encoded descriptor, at most 320 B.
    Descriptor(&'a [u8]),
    /// An encoded beat.
    Beat(&'a [u8; BEAT_LEN]),
    /// An encoded proposal.
    Proposal(&'a [u8; PROPOSAL_LEN]),
    /// An encoded vote.
    Vote(&'a [u8; VOTE_LEN]),
    /// An encoded fault proof, at most 2,250 B.
    Fault(&'a [u8]),
}

/// Collects records into one bundle.
#[derive(Clone, Debug)]
pub struct BundleWriter {
    bytes: Vec<u8>,
}

impl BundleWriter {
    /// An empty bundle.
    pub fn new(cell: Cell, salt: u32) -> Self {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&cell.to_bytes());
        bytes.extend_from_slice(&salt.to_le_bytes());
        bytes.push(0);
        Self { bytes }
    }

    /// Adds a record; `false` if the bundle is full or the record too long.
    pub fn push(&mut self, record: Record<'_>) -> bool {
        let (tag, body) = parts(record);
        let fits = self.bytes.len() + 3 + body.len() <= MAX_BUNDLE_LEN;
        if !fits || !has_length(tag, body.len()) || self.len() >= MAX_BUNDLE_RECORDS {
            return false;
        }
        self.bytes[HEAD_LEN - 1] += 1;
        put(&mut self.bytes, record);
        true
    }

    /// Records in it.
    pub fn len(&self) -> usize {
        usize::from(self.bytes[HEAD_LEN - 1])
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The wire bytes.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a bundle: its cell and its records, at least one and at most 64.
///
/// # Errors
/// [`DropReason::Malformed`] or [`DropReason::Version`].
pub fn decode(bytes: &[u8]) -> Result<(Cell, Vec<Record<'_>>), DropReason> {
    if bytes.len() > MAX_BUNDLE_LEN {
        return Err(DropReason::Malformed);
    }
    if bytes.first().is_some_and(|version| *version != VERSION) {
        return Err(DropReason::Version);
    }
    parse(bytes).ok_or(DropReason::Malformed)
}

fn parse(bytes: &[u8]) -> Option<(Cell, Vec<Record<'_>>)> {
    let mut reader = Reader::new(bytes);
    reader.u8()?;
    let cell = Cell::from_bytes(reader.array()?)?;
    reader.u32()?;
    let count = usize::from(reader.u8()?);
    if count == 0 || count > MAX_BUNDLE_RECORDS {
        return None;
    }
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        records.push(record(&mut reader)?);
    }
    reader.end()?;
    Some((cell, records))
}

/// Writes one record as [`record`] reads it.
pub(crate) fn put(out: &mut Vec<u8>, record: Record<'_>) {
    let (tag, body) = parts(record);
    out.push(tag);
    out.extend_from_slice(&(body.len() as u16).to_le_bytes());
    out.extend_from_slice(body);
}

fn parts(record: Record<'_>) -> (u8, &[u8]) {
    match record {
        Record::Descriptor(body) => (1, body),
        Record::Beat(body) => (2, body.as_slice()),
        Record::Proposal(body) => (3, body.as_slice()),
        Record::Vote(body) => (4, body.as_slice()),
        Record::Fault(body) => (5, body),
    }
}

/// Whether a record of this kind may be so long.
fn has_length(tag: u8, len: usize) -> bool {
    match tag {
        1 => len <= MAX_DESCRIPTOR_LEN,
        2 => len == BEAT_LEN,
        3 => len == PROPOSAL_LEN,
        4 => len == VOTE_LEN,
        5 => len <= MAX_FAULT_LEN,
        _ => false,
    }
}

/// One record of a bundle, a snapshot or an item of reconciliation: tag 1 | length 2 | bytes.
pub(crate) fn record<'a>(reader: &mut Reader<'a>) -> Option<Record<'a>> {
    let tag = reader.u8()?;
    let len = usize::from(reader.u16()?);
    if !has_length(tag, len) {
        return None;
    }
    let body = reader.bytes(len)?;
    match tag {
        1 => Some(Record::Descriptor(body)),
        2 => body.try_into().ok().map(Record::Beat),
        3 => body.try_into().ok().map(Record::Proposal),
        4 => body.try_into().ok().map(Record::Vote),
        5 => Some(Record::Fault(body)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bundle_holds_64_beats_and_no_more() {
        let mut writer = BundleWriter::new(Cell::WHOLE, 9);
        for i in 0..MAX_BUNDLE_RECORDS {
            assert!(writer.push(Record::Beat(&[i as u8; BEAT_LEN])));
        }
        assert!(!writer.push(Record::Beat(&[0; BEAT_LEN])));
        let bytes = writer.finish();
        assert!(bytes.len() <= MAX_BUNDLE_LEN);
        let (cell, records) = decode(&bytes).unwrap();
        assert_eq!((cell, records.len()), (Cell::WHOLE, 64));
        assert_eq!(records[63], Record::Beat(&[63; BEAT_LEN]));
    }

    #[test]
    fn long_descriptors_fill_it_by_bytes() {
        let mut writer = BundleWriter::new(Cell::WHOLE, 0);
        assert!(!writer.push(Record::Descriptor(&[0; MAX_DESCRIPTOR_LEN + 1])));
        while writer.push(Record::Descriptor(&[1; MAX_DESCRIPTOR_LEN])) {}
        assert!(writer.len() > 32 && writer.len() < 64);
        assert!(decode(&writer.finish()).is_ok());
    }

    #[test]
    fn every_kind_of_record_is_read_as_it_was_written() {
        let fault = [5; MAX_FAULT_LEN];
        let records = [
            Record::Descriptor(&[1; 200]),
            Record::Beat(&[2; BEAT_LEN]),
            Record::Proposal(&[3; PROPOSAL_LEN]),
            Record::Vote(&[4; VOTE_LEN]),
            Record::Fault(&fault),
        ];
        let mut writer = BundleWriter::new(Cell::WHOLE, 1);
        assert!(records.iter().all(|record| writer.push(*record)));
        assert!(!writer.push(Record::Fault(&[0; MAX_FAULT_LEN + 1])));
        let bytes = writer.finish();
        assert_eq!(decode(&bytes).unwrap().1, records);
        // A length that its kind never has.
        for (tag, len) in [(2, BEAT_LEN + 1), (3, PROPOSAL_LEN - 1), (4, VOTE_LEN + 1)] {
            let mut bytes = BundleWriter::new(Cell::WHOLE, 0).finish();
            bytes[HEAD_LEN - 1] = 1;
            bytes.push(tag);
            bytes.extend_from_slice(&(len as u16).to_le_bytes());
            bytes.extend_from_slice(&vec![0; len]);
            assert_eq!(decode(&bytes), Err(DropReason::Malformed));
        }
    }

    #[test]
    fn empty_and_overlong_bundles_are_malformed() {
        assert_eq!(
            decode(&BundleWriter::new(Cell::WHOLE, 0).finish()),
            Err(DropReason::Malformed)
        );
        assert_eq!(decode(&[]), Err(DropReason::Malformed));
        assert_eq!(decode(&[2, 0]), Err(DropReason::Version));
        let mut count = BundleWriter::new(Cell::WHOLE, 0).finish();
        count[HEAD_LEN - 1] = 255;
        assert_eq!(decode(&count), Err(DropReason::Malformed));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Some(first) = bytes.first_mut() { *first = VERSION; }
            let _ = decode(&bytes);
        }
    }
}
