//! Vectors: the bytes that must never change by accident. `MURMURATION_BLESS=1` rewrites the file
//! when a format changes on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use serde_json::{Value, json};

use super::boxes::{BoxChain, BoxKeys};
use super::frame::{Ack, AckKind, Fragment, Frame};
use super::identity::ContactSecret;
use crate::address::{ContactAddress, network_tag};

const KNOWN: &str = include_str!("../../../tests/vectors/node-session.json");
const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/vectors/node-session.json"
);

#[test]
fn the_code_reproduces_the_vectors() {
    let made = vectors();
    if std::env::var_os("MURMURATION_BLESS").is_some() {
        std::fs::write(PATH, serde_json::to_string_pretty(&made).unwrap() + "\n").unwrap();
        return;
    }
    let known: Value = serde_json::from_str(KNOWN).unwrap();
    assert_eq!(known, made);
}

fn vectors() -> Value {
    let network = [0x11; 32];
    let secret = ContactSecret::from_bytes([0x22; 32]);
    let contact = secret.public();
    let address = |testnet, invite| {
        ContactAddress::new(&network, testnet, contact, [0x33; 32], 18, invite).to_string()
    };
    let chain = BoxChain::new([0x44; 32], 20_000);
    let (live_slot_ms, day_ms) = (120_000_u64, 86_400_000_u64);
    let slot = 20_001 * day_ms / live_slot_ms;
    let fragment = Fragment {
        id: [0x55; 16],
        seq: 6,
        index: 1,
        count: 2,
        data: vec![0x66; 3],
    };
    let kinds = [
        AckKind::Partial(5),
        AckKind::Delivered(1_700_000_000_000),
        AckKind::Read(1_700_000_000_001),
    ];
    let acks = kinds
        .map(|kind| Ack {
            prefix: [0x77; 8],
            kind,
        })
        .to_vec();
    let frame = Frame {
        slow: true,
        root: Some((9, [0x88; 8])),
        live_until: 1_700_000_002_000,
        base_seq: 4,
        acks,
        fragment: Some(fragment),
    };
    let keys = chain.parked(20_000, 0).unwrap();
    let blinded = [0_u32, 20_000, 20_001]
        .map(|day| json!({ "day": day, "key": hex(&contact.blinded(&network, day).unwrap()) }));
    let parked = [(20_000, 0), (20_000, 1), (20_003, 7)]
        .map(|(day, index)| place(&chain.parked(day, index).unwrap(), &json!([day, index]), 6));
    let live = [(slot, 0), (slot, 3), (slot + 1, 0)].map(|(slot, index)| {
        let keys = chain.live(slot, index, live_slot_ms, day_ms).unwrap();
        place(&keys, &json!([slot, index]), 2)
    });
    json!({
        "about": "network 11*32, contact seed 22*32, checkpoint 33*32, effort 18, invite 99*16, chain root 44*32 from day 20000, slot 120000 ms, day 86400000 ms",
        "address": {
            "network_tag": hex(&network_tag(&network)),
            "contact": hex(contact.as_bytes()),
            "main": address(false, None),
            "test": address(true, None),
            "test_invite": address(true, Some([0x99; 16])),
        },
        "blinded": blinded,
        "boxes": {
            "parked": parked,
            "live": live,
            "sealed_empty_frame": digest(&keys.seal(&Frame::default().encode())[..]),
        },
        "frame": {
            "head": hex(&frame.encode()[..200]),
            "digest": digest(&frame.encode()[..]),
            "empty": digest(&Frame::default().encode()[..]),
        },
    })
}

fn place(keys: &BoxKeys, place: &Value, k: usize) -> Value {
    json!({ "place": place, "id": hex(&keys.id()), "order": keys.holder_order(k) })
}

fn digest(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
