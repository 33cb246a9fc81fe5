//! Tests of pages and heads: round trips, proofs, lengths capped before loops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::{
    descriptor::Capability,
    testing::{nodes, params},
};
use proptest::prelude::*;

fn directory(count: u32) -> Directory {
    Directory::build(
        &params(),
        2,
        [1; 32],
        nodes(&params(), count).iter().map(|node| node.records(2)),
    )
}

#[test]
fn the_pages_of_a_directory_round_trip_and_prove_themselves() {
    for count in [1, 24, 25, 60] {
        let directory = directory(count);
        let header = directory.header();
        assert_eq!(
            page_count(count) as usize,
            (count as usize).div_ceil(PAGE_ENTRIES)
        );
        for kind in [PageKind::Records, PageKind::Leaves] {
            let mut entries = 0;
            for index in 0..page_count(count) {
                let page = Page::of(&directory, kind, index).unwrap();
                let bytes = page.encode();
                assert!(bytes.len() <= MAX_PAGE_LEN && bytes.len() < 16 * 1024);
                let read = Page::decode(&bytes).unwrap();
                assert_eq!(read, page);
                assert_eq!(read.key(), page_key(&directory.root(), kind, index));
                assert!(read.verify(header));
                entries += read.leaves().unwrap().len();
            }
            assert_eq!(entries, count as usize);
            assert!(Page::of(&directory, kind, page_count(count)).is_none());
            assert!(Page::of(&directory, kind, u32::MAX).is_none());
        }
    }
}

/// Rules only take away: a root that grants a node more than it declares is nobody's.
#[test]
fn an_entry_granted_more_than_it_declares_has_no_leaf() {
    let directory = directory(3);
    let honest = Page::of(&directory, PageKind::Records, 0).unwrap();
    let granted = |capability, age| {
        let mut page = honest.clone();
        if let Entries::Records(pairs) = &mut page.entries {
            pairs[1].standing = Standing { capability, age };
        }
        page
    };
    assert_eq!(granted(Capability::FULL, 15), honest);
    assert_eq!(granted(Capability::STRONG, 15).leaves(), None);
    // Less is a leaf, but not the one of this root.
    let less = granted(Capability::LEAF, 3);
    assert_eq!(less.leaves().unwrap()[1].standing.age, 3);
    assert!(!less.verify(directory.header()));
}

#[test]
fn a_page_that_lacks_or_moves_an_entry_fails() {
    let directory = directory(30);
    let header = directory.header();
    let page = Page::of(&directory, PageKind::Leaves, 0).unwrap();
    let Entries::Leaves(leaves) = &page.entries else {
        panic!()
    };
    let with = |leaves: Vec<Leaf>| Page {
        entries: Entries::Leaves(leaves),
        ..page.clone()
    };
    assert!(with(leaves.clone()).verify(header));
    assert!(!with(leaves[..23].to_vec()).verify(header));
    let mut swapped = leaves.clone();
    swapped.swap(0, 1);
    assert!(!with(swapped).verify(header));
    assert!(
        !Page {
            index: 1,
            ..page.clone()
        }
        .verify(header)
    );
    assert!(
        !Page {
            epoch: 3,
            ..page.clone()
        }
        .verify(header)
    );
    assert!(
        !Page {
            index: u32::MAX,
            ..page
        }
        .verify(header)
    );
}

#[test]
fn heads_round_trip_and_cap_their_certificate() {
    let head = Head::of(&directory(3));
    let bytes = head.encode();
    assert_eq!(bytes.len(), Header::LEN + 2);
    assert_eq!(Head::decode(&bytes), Ok(head.clone()));
    assert_eq!(head.key(), head_key(&params().id(), Cell::WHOLE, 2));
    assert_eq!(
        Head::decode(&[bytes.as_slice(), &[0]].concat()),
        Err(DropReason::Malformed)
    );
    let long = Head {
        certificate: vec![0; MAX_CERTIFICATE_LEN + 1],
        ..head
    };
    assert_eq!(Head::decode(&long.encode()), Err(DropReason::Malformed));
}

#[test]
fn counts_are_checked_before_they_are_believed() {
    let bytes = Page::of(&directory(2), PageKind::Leaves, 0)
        .unwrap()
        .encode();
    for count in [0, 25, 255] {
        let mut wrong = bytes.clone();
        wrong[PAGE_HEAD_LEN - 1] = count;
        assert_eq!(Page::decode(&wrong), Err(DropReason::Malformed));
    }
    assert_eq!(
        Page::decode(&vec![1; MAX_PAGE_LEN + 1]),
        Err(DropReason::Malformed)
    );
    assert_eq!(Page::decode(&[9]), Err(DropReason::Version));
}

proptest! {
    #[test]
    fn garbage_never_panics(kind in 1u8..3, mut bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
        if bytes.len() > PAGE_HEAD_LEN {
            bytes[0] = 1;
            bytes[1] = kind;
            bytes[2..5].fill(0);
            bytes[PAGE_HEAD_LEN - 1] %= 30;
        }
        if let Ok(page) = Page::decode(&bytes) {
            prop_assert_eq!(page.encode(), bytes.clone());
            let _ = page.leaves();
        }
        let _ = Head::decode(&bytes);
    }

    #[test]
    fn a_flipped_byte_never_passes_as_the_same_page(at in 0usize..4000, bit in 0u8..8) {
        let directory = directory(26);
        let mut bytes = Page::of(&directory, PageKind::Leaves, 0).unwrap().encode();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(page) = Page::decode(&bytes) {
            let same_key = page.key() == page_key(&directory.root(), PageKind::Leaves, 0);
            prop_assert!(!(same_key && page.verify(directory.header())));
        }
    }
}
