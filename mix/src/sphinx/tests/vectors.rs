//! The vectors in `tests/vectors/mix-sphinx.json`: packets and replies of every path length with all their inputs, and what
//! each hop makes of them. `MURMURATION_BLESS=1` writes the file anew.

use std::fmt::Write as _;

use rand_core::Rng as _;
use serde_json::{Value, json};

use crate::sphinx::build::{NO_TABLES, build_header};
use crate::sphinx::command::Command;
use crate::sphinx::testkit::{NETWORK, Relay, Tape, path, relays, rng};
use crate::sphinx::*;
use crate::{DropReason, NetworkId, ShortId};

const FILE: &str = include_str!("../../../../tests/vectors/mix-sphinx.json");

#[test]
fn the_vectors_are_what_the_code_makes() {
    let made = format!("{:#}\n", generate());
    if std::env::var_os("MURMURATION_BLESS").is_some() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/vectors/mix-sphinx.json"
        );
        std::fs::write(file, &made).unwrap();
    } else {
        assert!(
            made == FILE,
            "the packet changed: if on purpose, raise the version and write the vectors anew"
        );
    }
}

/// Reads the file as another implementation would: secrets and packets in, what the hop sees out.
#[test]
fn the_vectors_can_be_followed_from_the_file_alone() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let network = NetworkId(bytes(&file["network"]));
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 10);
    for vector in vectors {
        let mut packet = Packet::from_slice(&hex_to_vec(&vector["packet"])).unwrap();
        for hop in vector["hops"].as_array().unwrap() {
            let secret = MixSecret::from_bytes(&bytes(&hop["secret"])).unwrap();
            assert_eq!(hex(&secret.public().to_bytes()), hop["public"]);
            let context = KeyContext {
                network,
                epoch: hop["epoch"].as_u64().unwrap() as u32,
                relay: ShortId(bytes(&hop["relay"])),
            };
            let (tag, peeled) = peel(&secret, &context, &mut packet).unwrap();
            assert_eq!(hex(&tag.0), hop["tag"]);
            assert_eq!(describe(peeled), hop["peeled"]);
            assert_eq!(
                hex(blake3::hash(packet.as_bytes()).as_bytes()),
                hop["packet_blake3"]
            );
        }
        let body = match vector["surb"].as_str() {
            None => packet.body(),
            Some(_) => SurbKeys::from_bytes(&bytes(&vector["surb_keys"]))
                .unwrap()
                .open(packet)
                .unwrap(),
        };
        assert_eq!(*body, body_of(vector["hops"].as_array().unwrap().len()));
    }
}

#[test]
fn the_drawn_bytes_alone_rebuild_each_packet() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    for vector in file["vectors"].as_array().unwrap() {
        let hops = vector["hops"].as_array().unwrap();
        let path: Vec<Hop> = hops
            .iter()
            .map(|hop| Hop {
                id: ShortId(bytes(&hop["relay"])),
                key: MixPublic::from_bytes(&bytes(&hop["public"])).unwrap(),
                epoch: hop["epoch"].as_u64().unwrap() as u32,
            })
            .collect();
        let class = Class::ALL[vector["class"].as_u64().unwrap() as usize];
        let body = body_of(path.len());
        let mut drawn = Tape::play(hex_to_vec(&vector["random"]));
        let packet = match (vector["command"].as_str().unwrap(), &vector["id"]) {
            ("drop", _) => build(&NETWORK, &path, class, Exit::Drop, &body, &mut drawn),
            ("box", _) => build(&NETWORK, &path, class, Exit::Box, &body, &mut drawn),
            ("loop", id) => build(
                &NETWORK,
                &path,
                class,
                Exit::Loop { id: bytes(id) },
                &body,
                &mut drawn,
            ),
            (_, id) => build_surb(&NETWORK, &path, class, bytes(id), &mut drawn)
                .map(|(surb, _)| surb.reply(&body).1),
        };
        assert_eq!(hex(packet.unwrap().as_bytes()), vector["packet"]);
    }
}

fn generate() -> Value {
    let mut vectors = Vec::new();
    for hops in 1..=MAX_HOPS {
        vectors.push(forward(hops));
        vectors.push(reply(hops));
    }
    json!({
        "about": "SPEC.md of the mix crate, section 12. Hexadecimal throughout; body byte i is (31 i + 7 hops) mod 256.",
        "network": hex(&NETWORK.0),
        "vectors": vectors,
    })
}

fn forward(hops: usize) -> Value {
    let mut rng = rng(100 + hops as u64);
    let relays = relays_of(hops, &mut rng);
    let class = Class::ALL[hops % 3];
    let id = [0xb0 + hops as u8; 16];
    let (name, exit, command) = match hops % 3 {
        0 => ("drop", Exit::Drop, Command::Drop),
        1 => ("box", Exit::Box, Command::Box),
        _ => ("loop", Exit::Loop { id }, Command::Loop { id }),
    };
    let mut tape = Tape::record(rng);
    let packet = build(
        &NETWORK,
        &path(&relays),
        class,
        exit,
        &body_of(hops),
        &mut tape,
    )
    .unwrap();
    json!({
        "name": format!("forward, {hops} hops"),
        "command": name,
        "id": if name == "loop" { json!(hex(&id)) } else { Value::Null },
        "class": class.index(),
        "random": hex(&tape.bytes),
        "packet": hex(packet.as_bytes()),
        "hops": follow(&relays, class, command, packet, &tape.bytes),
    })
}

fn reply(hops: usize) -> Value {
    let mut rng = rng(200 + hops as u64);
    let relays = relays_of(hops, &mut rng);
    let class = Class::ALL[(hops + 1) % 3];
    let surb_id = [0xc0 + hops as u8; 16];
    let mut tape = Tape::record(rng);
    let (surb, keys) = build_surb(&NETWORK, &path(&relays), class, surb_id, &mut tape).unwrap();
    let surb_bytes = surb.to_bytes();
    let (_, packet) = surb.reply(&body_of(hops));
    json!({
        "name": format!("reply, {hops} hops"),
        "command": "reply",
        "id": hex(&surb_id),
        "class": class.index(),
        "random": hex(&tape.bytes),
        "surb": hex(&surb_bytes),
        "surb_keys": hex(keys.to_bytes().as_slice()),
        "packet": hex(packet.as_bytes()),
        "hops": follow(&relays, class, Command::Reply { surb_id }, packet, &tape.bytes),
    })
}

/// Each hop: its inputs, its keys and what it makes of the packet.
fn follow(
    relays: &[Relay],
    class: Class,
    last: Command,
    mut packet: Packet,
    drawn: &[u8],
) -> Vec<Value> {
    let (_, keys) = build_header(
        &NO_TABLES,
        &NETWORK,
        &path(relays),
        class,
        last,
        &mut Tape::play(drawn.to_vec()),
    );
    let hops = relays.iter().zip(&keys).map(|(relay, keys)| {
        let (tag, peeled) = peel(&relay.secret, &relay.context(), &mut packet).unwrap();
        json!({
            "relay": hex(&relay.hop.id.0),
            "epoch": relay.hop.epoch,
            "secret": hex(relay.secret.to_bytes().as_slice()),
            "public": hex(&relay.hop.key.to_bytes()),
            "keys": keys.show(),
            "tag": hex(&tag.0),
            "peeled": describe(peeled),
            "header": hex(&packet.as_bytes()[..HEADER_LEN]),
            "packet_blake3": hex(blake3::hash(packet.as_bytes()).as_bytes()),
        })
    });
    hops.collect()
}

fn describe(peeled: Peeled) -> Value {
    match peeled {
        Peeled::Forward {
            next,
            class,
            quantile,
        } => {
            json!({"command": "forward", "next": hex(&next.0), "class": class.index(), "quantile": quantile.0})
        }
        Peeled::Drop => json!({"command": "drop"}),
        Peeled::Loop { id } => json!({"command": "loop", "id": hex(&id)}),
        Peeled::Box { class } => json!({"command": "box", "class": class.index()}),
        Peeled::Reply { surb_id } => json!({"command": "reply", "id": hex(&surb_id)}),
    }
}

/// Relays with random names and epochs of their own.
fn relays_of(hops: usize, rng: &mut rand_chacha::ChaCha20Rng) -> Vec<Relay> {
    let mut relays = relays(hops as u8, rng);
    for relay in &mut relays {
        rng.fill_bytes(&mut relay.hop.id.0);
        relay.hop.epoch = rng.next_u32();
    }
    relays
}

fn body_of(hops: usize) -> [u8; BODY_LEN] {
    core::array::from_fn(|i| (31 * i + 7 * hops) as u8)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn hex_to_vec(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

fn bytes<const N: usize>(value: &Value) -> [u8; N] {
    hex_to_vec(value).try_into().unwrap()
}

/// A relay that follows the file must also refuse what is in it for others.
#[test]
fn no_vector_opens_for_a_relay_of_another() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    for (vector, other) in vectors.iter().zip(vectors.iter().skip(1)) {
        let mut packet = Packet::from_slice(&hex_to_vec(&vector["packet"])).unwrap();
        let hop = &other["hops"][0];
        let context = KeyContext {
            network: NETWORK,
            epoch: hop["epoch"].as_u64().unwrap() as u32,
            relay: ShortId(bytes(&hop["relay"])),
        };
        let secret = MixSecret::from_bytes(&bytes(&hop["secret"])).unwrap();
        assert_eq!(peel(&secret, &context, &mut packet), Err(DropReason::Mac));
    }
}
