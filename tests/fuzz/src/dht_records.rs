//! Target `dht_records`: any bytes into every decoder of records and pages. None may panic; what one accepts is the only encoding
//! of what it read; and what verifies against a certified header is what that header commits to.

use dht::beat::{Beat, LEAF_LEN, Leaf};
use dht::bundle::{self, BundleWriter, MAX_BUNDLE_RECORDS, Record};
use dht::cell::{MAX_CELLS, Membership, Partition};
use dht::descriptor::{Descriptor, MAX_ADDRESSES, MAX_ADMISSION_LEN};
use dht::directory::{Header, Inclusion};
use dht::network::NetworkParams;
use dht::page::{Entries, Head, PAGE_ENTRIES, Page, PageKind};

use crate::dht_world::{NETWORK, PARAMS, PAST};
use crate::input::one_in;

type Decoder = fn(&[u8]) -> Option<&'static str>;

/// All of them: a record of one kind must not be taken for another by accident, so each sees every input.
const DECODERS: [Decoder; 11] = [
    descriptor, beat, leaf, bundle, page, head, header, inclusion, membership, partition, params,
];

/// Decodes, and names what the bytes are.
pub fn play(data: &[u8]) -> Vec<&'static str> {
    let mut reached: Vec<_> = DECODERS.iter().filter_map(|decode| decode(data)).collect();
    if one_in(16, data) {
        reached.extend(signed(data));
    }
    if reached.is_empty() {
        reached.push("nothing");
    }
    reached
}

fn descriptor(bytes: &[u8]) -> Option<&'static str> {
    let record = Descriptor::decode(bytes).ok()?;
    assert_eq!(record.as_bytes(), bytes);
    let fields = record.fields();
    assert!(fields.addresses.len() <= MAX_ADDRESSES && fields.admission.len() <= MAX_ADMISSION_LEN);
    assert!(fields.valid_from < fields.valid_until);
    Some("descriptor")
}

fn beat(bytes: &[u8]) -> Option<&'static str> {
    let record = Beat::decode(bytes).ok()?;
    assert_eq!(record.as_bytes()[..], *bytes);
    assert_eq!(record.mix_key().to_bytes()[..], bytes[21..53]);
    Some("beat")
}

/// Whether a signature holds that no honest node made: 64 bytes can't be guessed.
fn signed(bytes: &[u8]) -> Option<&'static str> {
    if let Ok(record) = Descriptor::decode(bytes) {
        let known = |node: &crate::dht_world::Node| node.descriptor(0, 1) == record;
        let holds = record.verify(&NETWORK).is_ok();
        assert_eq!(holds, PAST.nodes.iter().any(known));
        return Some(if holds { "signed" } else { "forged" });
    }
    let record = Beat::decode(bytes).ok()?;
    let node = PAST
        .nodes
        .iter()
        .find(|node| node.short() == record.short_id())?;
    let holds = record.verify(&NETWORK, &node.id()).is_ok();
    assert_eq!(holds, record == node.beat(record.epoch(), 0));
    Some(if holds { "signed" } else { "forged" })
}

fn leaf(bytes: &[u8]) -> Option<&'static str> {
    let bytes: &[u8; LEAF_LEN] = bytes.try_into().ok()?;
    let leaf = Leaf::from_bytes(bytes)?;
    assert_eq!(leaf.to_bytes(), *bytes);
    Some("leaf")
}

fn bundle(bytes: &[u8]) -> Option<&'static str> {
    let (cell, records) = bundle::decode(bytes).ok()?;
    assert!((1..=MAX_BUNDLE_RECORDS).contains(&records.len()));
    let salt = u32::from_le_bytes(bytes[4..8].try_into().expect("4 bytes"));
    let mut again = BundleWriter::new(cell, salt);
    for record in records {
        if let Record::Descriptor(bytes) = record {
            descriptor(bytes);
        }
        assert!(again.push(record));
    }
    assert_eq!(again.finish(), bytes);
    Some("bundle")
}

fn page(bytes: &[u8]) -> Option<&'static str> {
    let page = Page::decode(bytes).ok()?;
    assert_eq!(page.encode(), bytes);
    let count = match &page.entries {
        Entries::Records(pairs) => pairs.len(),
        Entries::Leaves(leaves) => leaves.len(),
    };
    assert!((1..=PAGE_ENTRIES).contains(&count));
    let directory = PAST.directories.get(page.epoch as usize)?;
    if !page.verify(directory.header()) {
        return Some("page of nothing");
    }
    let leaves = page.leaves().expect("it verified");
    let first = page.index as usize * PAGE_ENTRIES;
    for (at, leaf) in (first..).zip(&leaves) {
        let entry = directory.entry(at).expect("no longer than the set");
        assert_eq!(*leaf, entry.leaf(), "a page of something else");
    }
    Some(match page.kind() {
        PageKind::Records => "page of records",
        PageKind::Leaves => "page of leaves",
    })
}

fn head(bytes: &[u8]) -> Option<&'static str> {
    let head = Head::decode(bytes).ok()?;
    assert_eq!(head.encode(), bytes);
    Some("head")
}

fn header(bytes: &[u8]) -> Option<&'static str> {
    let header = Header::from_bytes(bytes.try_into().ok()?)?;
    assert_eq!(header.to_bytes()[..], *bytes);
    Some("header")
}

fn inclusion(bytes: &[u8]) -> Option<&'static str> {
    let inclusion = Inclusion::decode(bytes).ok()?;
    assert_eq!(inclusion.encode(), bytes);
    let mut reached = "inclusion in nothing";
    for directory in &PAST.directories {
        if inclusion.verify(directory.header()) {
            let entry = directory.entry(inclusion.index as usize);
            assert_eq!(inclusion.leaf, entry.expect("within the set").leaf());
            reached = "inclusion";
        }
    }
    Some(reached)
}

fn membership(bytes: &[u8]) -> Option<&'static str> {
    let membership = Membership::from_bytes(bytes)?;
    assert_eq!(membership.to_bytes(), bytes);
    let directory = PAST.directories.get(membership.epoch() as usize)?;
    let (header, root) = (directory.header(), directory.root());
    let Ok(member) = membership.verify(&PARAMS, header, &root) else {
        return Some("membership of nobody");
    };
    let entry = directory.by_node(&member.node).expect("a member");
    assert_eq!(
        (entry.leaf(), *entry.position()),
        (member.leaf, member.position)
    );
    Some("membership")
}

fn partition(bytes: &[u8]) -> Option<&'static str> {
    let partition = Partition::from_bytes(bytes)?;
    assert_eq!(partition.to_bytes(), bytes);
    assert!((1..=MAX_CELLS).contains(&partition.cells().len()));
    Some("partition")
}

fn params(bytes: &[u8]) -> Option<&'static str> {
    let params = NetworkParams::from_cbor(bytes).ok()?;
    assert_eq!(params.to_cbor(), bytes);
    Some("params")
}

/// A real record of each kind.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (node, set) = (&PAST.nodes[4], &PAST.directories[1]);
    let mut records = BundleWriter::new(set.header().cell, 7);
    records.push(Record::Descriptor(node.descriptor(0, 1).as_bytes()));
    records.push(Record::Beat(node.beat(1, 0).as_bytes()));
    let of = |kind| Page::of(set, kind, 0).expect("its first page").encode();
    let certificate = PAST.certificates[1].encode();
    let head = Head {
        certificate,
        ..Head::of(set)
    };
    let membership = Membership::prove(set, &node.short()).expect("it is there");
    let mut ring = Partition::whole();
    for _ in 0..3 {
        ring.split(ring.cells()[0]);
    }
    vec![
        ("a-descriptor", node.descriptor(0, 1).as_bytes().to_vec()),
        ("a-beat", node.beat(1, 0).as_bytes().to_vec()),
        (
            "a-leaf",
            set.entry(2).expect("the third").leaf().to_bytes().to_vec(),
        ),
        ("a-bundle", records.finish()),
        ("a-page-of-records", of(PageKind::Records)),
        ("a-page-of-leaves", of(PageKind::Leaves)),
        ("a-head", Head::of(set).encode()),
        ("a-certified-head", head.encode()),
        ("a-header", set.header().to_bytes().to_vec()),
        (
            "an-inclusion",
            set.prove_inclusion(&node.short())
                .expect("it is there")
                .encode(),
        ),
        ("a-membership", membership.to_bytes()),
        ("a-partition", ring.to_bytes()),
        ("a-network", PARAMS.to_cbor()),
    ]
}
