//! Reproduces `tests/vectors/dht-records.json` from fixed keys, byte for byte, and reads every object of it back.
//!
//! `MURMURATION_BLESS=1 cargo test -p murmuration-dht --test vectors` rewrites the file after an intended change of format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dht::{
    Directory, NetworkParams, NodeId,
    beat::{Beat, BeatFields},
    bundle::{self, BundleWriter, Record},
    descriptor::{Capability, Descriptor, DescriptorFields},
    directory::Header,
    epoch, flock,
    id::{Cell, Position, short_id},
    page::{Head, Page, PageKind},
};
use ed25519_dalek::SigningKey;
use mix::{MixSecret, time::Moment};
use serde_json::{Value, json};
use std::sync::Arc;

const FILE: &str = include_str!("../../tests/vectors/dht-records.json");
const EPOCH: u32 = 3;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn params() -> Arc<NetworkParams> {
    Arc::new(NetworkParams::demo(Moment::from_millis(1_800_000_000_000)))
}

fn node(n: u8) -> (Descriptor, Beat) {
    let params = params();
    let (network, key) = (params.id(), SigningKey::from_bytes(&[n; 32]));
    let from = epoch::start_of(&params, EPOCH).as_millis();
    let fields = DescriptorFields {
        seq: u64::from(n),
        valid_from: from,
        valid_until: from + 86_400_000,
        capability: [Capability::FULL, Capability::STRONG, Capability::LEAF][usize::from(n) % 3],
        subnet: 0x7f00_0000,
        vrf_key: [n; 32],
        admission: vec![n; usize::from(n) % 4],
        addresses: vec![vec![4, 127, 0, 0, 1, 6, 0x20, n]],
    };
    let mut scalar = [0; 32];
    scalar[0] = n;
    let beat = BeatFields {
        epoch: EPOCH,
        mix_key: MixSecret::from_bytes(&scalar).unwrap().public().to_bytes(),
        capability: fields.capability,
        load: n,
        replay_root: [n; 16],
    };
    (
        Descriptor::sign(&network, &key, fields).unwrap(),
        Beat::sign(&network, &key, beat).unwrap(),
    )
}

fn directory() -> Directory {
    let params = params();
    let seed = epoch::union_seed(&params.genesis_seed(), EPOCH);
    Directory::build(&params, EPOCH, seed, (1..=26).map(node))
}

fn generate() -> Value {
    let params = params();
    let directory = directory();
    let (descriptor, beat) = node(1);
    let id = descriptor.id();
    let mut writer = BundleWriter::new(Cell::WHOLE, 0x0102_0304);
    assert!(
        writer.push(Record::Descriptor(descriptor.as_bytes()))
            && writer.push(Record::Beat(beat.as_bytes()))
    );
    let page = |kind, index| Page::of(&directory, kind, index).unwrap();
    let head = Head::of(&directory);
    let leaf = directory.by_node(&id).unwrap().leaf();
    let holders = directory.holders(&[9; 32], 6);
    let short = beat.short_id();
    json!({
        "note": "Node n has the Ed25519 secret [n; 32] and the mix secret scalar n; the network is demo born at 1800000000000 ms.",
        "params": hex(&params.to_cbor()),
        "network_id": hex(&params.id().0),
        "genesis_seed": hex(&params.genesis_seed()),
        "epoch": EPOCH,
        "seed": hex(&directory.header().seed),
        "node_1": {
            "id": hex(&id.0),
            "short_id": hex(&short.0),
            "position": hex(&Position::of_node(&params.genesis_seed(), &id).0),
            "descriptor": hex(descriptor.as_bytes()),
            "descriptor_hash": hex(&descriptor.hash()),
            "beat": hex(beat.as_bytes()),
            "leaf": hex(&leaf.to_bytes()),
            "flock_draw_of_slot_5": flock::draw(&directory.header().seed, 5, &short).to_string(),
        },
        "bundle": hex(&writer.finish()),
        "directory_of_nodes_1_to_26": {
            "order": directory.nodes().map(|entry| hex(&entry.short().0)).collect::<Vec<_>>(),
            "header": hex(&directory.header().to_bytes()),
            "root": hex(&directory.root()),
            "head_key": hex(&head.key()),
            "head": hex(&head.encode()),
            "records_page_1_key": hex(&page(PageKind::Records, 1).key()),
            "records_page_1": hex(&page(PageKind::Records, 1).encode()),
            "leaves_page_1_key": hex(&page(PageKind::Leaves, 1).key()),
            "leaves_page_1": hex(&page(PageKind::Leaves, 1).encode()),
            "holders_of_box_09": holders.iter().map(|short| hex(&short.0)).collect::<Vec<_>>(),
        },
    })
}

#[test]
fn the_vectors_are_reproduced() {
    let generated = generate();
    if std::env::var_os("MURMURATION_BLESS").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/vectors/dht-records.json"
        );
        std::fs::write(path, format!("{generated:#}\n")).unwrap();
        return;
    }
    let file: Value = serde_json::from_str(FILE).unwrap();
    assert_eq!(file, generated);
}

#[test]
fn every_object_of_the_file_reads_back() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let params = NetworkParams::from_cbor(&unhex(&file["params"])).unwrap();
    let network = params.id();
    assert_eq!(network.0.to_vec(), unhex(&file["network_id"]));
    let node = &file["node_1"];
    let id = NodeId(unhex(&node["id"]).try_into().unwrap());
    assert_eq!(short_id(&network, &id).0.to_vec(), unhex(&node["short_id"]));
    let descriptor = Descriptor::decode(&unhex(&node["descriptor"])).unwrap();
    descriptor.verify(&network).unwrap();
    let beat = Beat::decode(&unhex(&node["beat"])).unwrap();
    beat.verify(&network, &id).unwrap();
    let bytes = unhex(&file["bundle"]);
    let (cell, records) = bundle::decode(&bytes).unwrap();
    assert_eq!(cell, Cell::WHOLE);
    assert_eq!(
        records,
        [
            Record::Descriptor(descriptor.as_bytes()),
            Record::Beat(beat.as_bytes())
        ]
    );

    let set = &file["directory_of_nodes_1_to_26"];
    let header = Header::from_bytes(&unhex(&set["header"]).try_into().unwrap()).unwrap();
    assert_eq!(header.root().to_vec(), unhex(&set["root"]));
    let head = Head::decode(&unhex(&set["head"])).unwrap();
    assert_eq!(
        (head.header, head.key().to_vec()),
        (header, unhex(&set["head_key"]))
    );
    for name in ["records_page_1", "leaves_page_1"] {
        let page = Page::decode(&unhex(&set[name])).unwrap();
        assert_eq!(
            page.key().to_vec(),
            unhex(&set[format!("{name}_key").as_str()])
        );
        assert!(page.verify(&header));
    }
}
