//! The vectors in `tests/vectors/storage-ops.json`: this code makes them again, byte for byte. `MURMURATION_BLESS=1` rewrites the file.

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde_json::{Value, json};

use super::*;
use crate::{
    mailbox::record::{Record, RecordKey},
    vault::Vault,
};

const FILE: &str = include_str!("../../../../tests/vectors/storage-ops.json");
const PATH: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../tests/vectors/storage-ops.json"
);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap();
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// A body without the zeros at its end.
fn body(bytes: &[u8]) -> String {
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |at| at + 1);
    hex(&bytes[..end])
}

fn ops() -> Vec<(&'static str, Op)> {
    let at = Millis(1_790_000_060_000);
    vec![
        ("put_box", put(1, 10, at)),
        ("get_box", get(1, 5_000, 3)),
        ("del_box", del(1)),
        ("stat_box", stat(1)),
        ("put_inbox", put_inbox(1, 11, at)),
        ("get_inbox", get_inbox(1, 2, 5_000, 3)),
        ("del_inbox", Op::del_inbox(&SCOPE, &blinded(1), 2, [4; 16])),
        ("put_prekey", put_prekey(1, 12, START, at)),
        ("get_prekey", Op::get_prekey(5, blinded_public(1), surb(3))),
    ]
}

fn answers() -> Vec<(&'static str, Answer)> {
    vec![
        ("found", found(10)),
        ("empty", Answer::Empty),
        (
            "stat",
            Answer::Stat {
                held: Held::Held,
                effort: 9,
            },
        ),
        ("inbox", entry(2, 3, Some(11))),
        ("inbox_empty", entry(3, 3, None)),
    ]
}

fn made() -> Value {
    let expires = Millis(1_790_000_060_000);
    let named = |name: &str, bytes: &[u8]| json!({ "name": name, "body": body(bytes) });
    let held = Record::Held {
        expires,
        issued: Millis(0),
        ciphertext: sealed(10),
    };
    let mark = blake3::hash(&[10; 1600]).into();
    let tombstone = Record::Tombstone {
        expires,
        issued: Millis(0),
        mark,
    };
    let record = |name: &str, key: RecordKey, record: &Record| json!({ "name": name, "key": hex(&key.to_bytes()), "value": hex(&record.encode(&key)) });
    let subject = Subject::put_box(&NETWORK, &id(1), &sealed(10));
    let proof = HashStamp.solve(&subject, 16, 0).unwrap();
    let sealed_value = Vault::new([5; 32]).seal(
        "identity",
        b"a secret",
        &mut ChaCha20Rng::from_seed([6; 32]),
    );
    json!({
        "about": "Bodies are 1,803 B; zeros at the end are left out. Repeated bytes: ciphertexts 0a, 0b, 0c; SURBs 03 and 63.",
        "network": hex(&NETWORK),
        "epoch": SCOPE.epoch,
        "box_seed": hex(&[1; 32]),
        "box_id": hex(&id(1)),
        "blinded_scalar": hex(blinded(1).scalar.as_bytes()),
        "blinded_prefix": hex(&blinded(1).hash_prefix),
        "blinded_key": hex(&blinded_public(1)),
        "operations": ops().iter().map(|(name, op)| named(name, &op.encode()[..])).collect::<Vec<_>>(),
        "answers": answers().iter().map(|(name, answer)| named(name, &answer.encode()[..])).collect::<Vec<_>>(),
        "stamp": { "subject": hex(subject.as_bytes()), "effort": 16, "proof": hex(&proof.0) },
        "records": [
            record("held", RecordKey::pairwise(id(1)), &held),
            record("tombstone", RecordKey::pairwise(id(1)), &tombstone),
            record("inbox", RecordKey::inbox(blinded_public(1), 2), &held),
        ],
        "vault": { "key": hex(&[5; 32]), "label": "identity", "text": hex(b"a secret"), "sealed": hex(&sealed_value) },
    })
}

#[test]
fn the_code_makes_the_vectors() {
    if std::env::var_os("MURMURATION_BLESS").is_some() {
        std::fs::write(PATH, serde_json::to_string_pretty(&made()).unwrap() + "\n").unwrap();
        return;
    }
    let file: Value = serde_json::from_str(FILE).unwrap();
    let made = made();
    for part in made.as_object().unwrap().keys() {
        assert_eq!(file[part], made[part], "{part}");
    }
    assert_eq!(
        file.as_object().unwrap().len(),
        made.as_object().unwrap().len()
    );
}

#[test]
fn the_code_reads_the_vectors() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let whole = |entry: &Value| {
        let mut body = [0; crate::BODY_LEN];
        let bytes = unhex(&entry["body"]);
        body[..bytes.len()].copy_from_slice(&bytes);
        body
    };
    for (entry, (name, op)) in file["operations"].as_array().unwrap().iter().zip(ops()) {
        assert_eq!(entry["name"], name);
        assert_eq!(Op::decode(&whole(entry)).unwrap(), op);
        assert!(op.signature_holds(&NETWORK));
    }
    for (entry, (name, answer)) in file["answers"].as_array().unwrap().iter().zip(answers()) {
        assert_eq!(entry["name"], name);
        assert_eq!(Answer::decode(&whole(entry)).unwrap(), answer);
    }
    for entry in file["records"].as_array().unwrap() {
        let key = RecordKey::from_bytes(&unhex(&entry["key"])).unwrap();
        Record::decode(&key, &unhex(&entry["value"])).unwrap();
    }
    let vault = Vault::new([5; 32]);
    assert_eq!(
        &vault
            .open("identity", &unhex(&file["vault"]["sealed"]))
            .unwrap()[..],
        b"a secret"
    );
}
