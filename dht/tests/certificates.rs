//! Reproduces `tests/vectors/dht-certificates.json` from fixed keys, byte for byte, and checks every object of it.
//!
//! `MURMURATION_BLESS=1 cargo test -p murmuration-dht --test certificates` rewrites the file after an intended change of format.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use dht::{
    Directory, NetworkParams, NodeId,
    bans::Bans,
    beat::{Beat, BeatFields},
    certificate::{Certificate, Chain, Proposal, Vote},
    committee::{Candidates, Committee},
    descriptor::{Capability, Descriptor, DescriptorFields},
    directory::{Basis, Inclusion},
    epoch::{self, Seeds},
    fault::{Fault, Omission, Receipt, SignedVote},
    vrf::{self, Proof, VrfPublic, VrfSecret},
};
use ed25519_dalek::SigningKey;
use mix::{MixSecret, ShortId, time::Moment};
use serde_json::{Value, json};
use std::sync::Arc;

const FILE: &str = include_str!("../../tests/vectors/dht-certificates.json");
const NODES: u8 = 6;

fn hex(bytes: impl AsRef<[u8]>) -> String {
    let bytes = bytes.as_ref();
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

fn key(n: u8) -> SigningKey {
    SigningKey::from_bytes(&[n; 32])
}

fn id(n: u8) -> NodeId {
    NodeId(key(n).verifying_key().to_bytes())
}

fn beat(n: u8, epoch: u32, scalar: u8) -> Beat {
    let mut secret = [0; 32];
    secret[0] = scalar;
    let fields = BeatFields {
        epoch,
        mix_key: MixSecret::from_bytes(&secret).unwrap().public().to_bytes(),
        capability: Capability::FULL,
        load: 0,
        replay_root: [0; 16],
    };
    Beat::sign(&params().id(), &key(n), fields).unwrap()
}

fn records(n: u8, epoch: u32) -> (Descriptor, Beat) {
    let fields = DescriptorFields {
        seq: 1,
        valid_from: params().genesis_ms,
        valid_until: params().genesis_ms + 86_400_000,
        capability: Capability::FULL,
        subnet: u32::from(n),
        vrf_key: VrfSecret::of_identity(&key(n)).public().to_bytes(),
        admission: Vec::new(),
        addresses: Vec::new(),
    };
    let descriptor = Descriptor::sign(&params().id(), &key(n), fields).unwrap();
    (descriptor, beat(n, epoch, n))
}

struct Step {
    directory: Arc<Directory>,
    candidates: Candidates,
    committee: Committee,
    votes: Vec<Vote>,
    certificate: Certificate,
}

/// Epochs 0 to 2 of a mesh of six, certified by all.
fn steps() -> Vec<Step> {
    let params = params();
    let mut seeds = Seeds::genesis(params.genesis_seed());
    let mut steps: Vec<Step> = Vec::new();
    for e in 0..3 {
        let last = steps.last();
        let previous = last.map_or([0; 32], |step| step.certificate.hash());
        let certified = last.map(|step| step.directory.clone());
        let basis = Basis::after(&params, e, certified, [], previous);
        let seed = seeds.at(e).unwrap();
        seeds.rest_on(e, &seed);
        let set = (1..=NODES).map(|n| records(n, e));
        let directory = Arc::new(Directory::build_on(&params, e, seed, set, &basis));
        let candidates = match last {
            Some(step) => step.directory.next_candidates().clone(),
            None => Candidates::draw(&directory, e),
        };
        if let Some(step) = last {
            seeds.commit(e + 1, &seed, &step.certificate.mix());
        }
        let committee = Committee::of(&candidates, |short| directory.by_short(short).is_some());
        let said = (e, directory.root(), committee.presence());
        let votes: Vec<_> = (1..=NODES)
            .map(|n| {
                let vrf = VrfSecret::of_identity(&key(n));
                Vote::sign(&params.id(), &key(n), &vrf, &seed, said)
            })
            .collect();
        let certificate = Certificate::assemble(directory.header(), &committee, &votes).unwrap();
        steps.push(Step {
            directory,
            candidates,
            committee,
            votes,
            certificate,
        });
    }
    steps
}

/// All four faults, by node 2 in epoch 2.
fn faults(step: &Step) -> [Fault; 4] {
    let (network, header) = (params().id(), step.directory.header());
    let said = |root| {
        let vrf = VrfSecret::of_identity(&key(2));
        let said = (2, root, step.committee.presence());
        SignedVote::of(&Vote::sign(&network, &key(2), &vrf, &header.seed, said))
    };
    let mut other = *header;
    other.count += 1;
    let proposals = [*header, other].map(|h| Proposal::sign(&network, &key(2), &h, 1));
    let receipt = receipt();
    let left_out = (1..=NODES).filter(|n| *n != 5).map(|n| records(n, 2));
    let basis = Basis {
        certified: Some(step.directory.clone()),
        ..Default::default()
    };
    let set = Directory::build_on(&params(), 2, header.seed, left_out, &basis);
    let omission = Omission::of(id(2), &receipt, &set, &said(set.root())).unwrap();
    [
        Fault::of_beats(id(2), &beat(2, 2, 2), &beat(2, 2, 9)).unwrap(),
        Fault::of_votes(id(2), said([1; 32]), said([2; 32])).unwrap(),
        Fault::of_proposals(id(2), &proposals[0], &proposals[1]).unwrap(),
        Fault::Omission(Box::new(omission)),
    ]
}

fn receipt() -> Receipt {
    let guard = epoch::guard(&params(), 2);
    Receipt::sign(&params().id(), &key(2), &beat(5, 2, 5), guard)
}

fn generate() -> Value {
    let (params, steps) = (params(), steps());
    let (network, last) = (params.id(), &steps[2]);
    let header = last.directory.header();
    let secret = VrfSecret::of_identity(&key(1));
    let input = vrf::input(&network, &header.seed, 2);
    let proof = secret.prove(&input);
    let faults = faults(last);
    let bans = Bans::default().next(
        2,
        params.ban_epochs,
        [faults[0].verify(&params).unwrap()],
        |_| true,
    );
    let stranger = ShortId([0x77; 16]);
    let inclusion = last.directory.prove_inclusion(&last.votes[0].witness());
    json!({
        "note": "Node n has the Ed25519 secret [n; 32] and, in every epoch, the mix secret scalar n; the network is demo born at 1800000000000 ms.",
        "network_id": hex(network.0),
        "vrf_of_node_1": {
            "public": hex(secret.public().to_bytes()),
            "input": hex(input),
            "proof": hex(proof.as_bytes()),
            "output": hex(proof.verify(&secret.public(), &input).unwrap().0),
        },
        "epochs": steps.iter().map(|step| json!({
            "header": hex(step.directory.header().to_bytes()),
            "root": hex(step.directory.root()),
            "candidates": hex(step.candidates.encode()),
            "candidates_hash": hex(step.candidates.hash()),
            "committee": hex(step.committee.presence().to_bytes()),
            "certificate": hex(step.certificate.encode()),
            "certificate_hash": hex(step.certificate.hash()),
            "mix": hex(step.certificate.mix()),
        })).collect::<Vec<_>>(),
        "proposers_of_epoch_2": (0..NODES).map(|view| {
            hex(last.committee.proposer(&header.seed, view).unwrap().short.0)
        }).collect::<Vec<_>>(),
        "proposal_of_node_1_in_view_3": hex(Proposal::sign(&network, &key(1), header, 3).as_bytes()),
        "vote_of_node_1_in_epoch_2": hex(last.votes[0].as_bytes()),
        "inclusion_of_node_1_in_epoch_2": hex(inclusion.unwrap().encode()),
        "receipt_of_node_2_for_node_5": hex(receipt().to_bytes()),
        "faults_of_node_2": faults.iter().map(|fault| hex(fault.encode())).collect::<Vec<_>>(),
        "bans": hex(bans.encode()),
        "bans_hash": hex(bans.hash()),
        "stranger": hex(stranger.0),
        "stranger_is_not_banned": bans.prove_absence(&stranger).is_some_and(|proof| proof.verify(&bans.hash(), &stranger)),
    })
}

#[test]
fn the_vectors_are_reproduced() {
    let generated = generate();
    if std::env::var_os("MURMURATION_BLESS").is_some() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../tests/vectors/dht-certificates.json"
        );
        std::fs::write(path, format!("{generated:#}\n")).unwrap();
        return;
    }
    let file: Value = serde_json::from_str(FILE).unwrap();
    assert_eq!(file, generated);
}

/// From the bytes of the file alone: no key, no record.
#[test]
fn the_objects_of_the_file_hold() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let (params, network) = (params(), params().id());
    let of_node_1 = &file["vrf_of_node_1"];
    let array = |value: &Value| -> [u8; 32] { unhex(value).try_into().unwrap() };
    let public = VrfPublic::from_bytes(&array(&of_node_1["public"])).unwrap();
    let proof = Proof::from_bytes(unhex(&of_node_1["proof"]).try_into().unwrap());
    let output = proof.verify(&public, &array(&of_node_1["input"])).unwrap();
    assert_eq!(output.0, array(&of_node_1["output"]));

    let epochs = file["epochs"].as_array().unwrap();
    let candidates = |at: usize| Candidates::decode(&network, &unhex(&epochs[at]["candidates"]));
    let certificate = |at: usize| Certificate::decode(&unhex(&epochs[at]["certificate"])).unwrap();
    for (at, epoch) in epochs.iter().enumerate() {
        let certificate = certificate(at);
        let candidates = candidates(at).unwrap();
        certificate.verify(&network, &candidates).unwrap();
        assert_eq!(certificate.header().root(), array(&epoch["root"]));
        assert_eq!(certificate.hash(), array(&epoch["certificate_hash"]));
        assert_eq!(certificate.mix(), array(&epoch["mix"]));
        assert_eq!(candidates.hash(), array(&epoch["candidates_hash"]));
    }
    let first = certificate(0);
    let root = array(&epochs[0]["root"]);
    let mut chain =
        Chain::from_checkpoint(network, &root, *first.header(), candidates(1).unwrap()).unwrap();
    chain
        .extend(&certificate(1), candidates(2).unwrap())
        .unwrap();
    assert_eq!(chain.tip().epoch, 1);

    let seed = certificate(2).header().seed;
    let vote = Vote::decode(&unhex(&file["vote_of_node_1_in_epoch_2"])).unwrap();
    let witness = *candidates(2).unwrap().by_short(&vote.witness()).unwrap();
    assert_eq!(vote.verify(&network, &seed, &witness), Ok(output));
    let proposal = Proposal::decode(&unhex(&file["proposal_of_node_1_in_view_3"])).unwrap();
    proposal.verify(&network, &witness.node).unwrap();
    let inclusion = Inclusion::decode(&unhex(&file["inclusion_of_node_1_in_epoch_2"])).unwrap();
    assert!(inclusion.verify(certificate(2).header()));
    let receipt = Receipt::decode(&unhex(&file["receipt_of_node_2_for_node_5"])).unwrap();
    receipt.verify(&network, &id(2)).unwrap();
    assert!(receipt.good(&params));
    for fault in file["faults_of_node_2"].as_array().unwrap() {
        let fault = Fault::decode(&unhex(fault)).unwrap();
        assert_eq!(fault.verify(&params).unwrap().epoch, 2);
        assert_eq!(fault.culprit(), id(2));
    }
    let bans = Bans::decode(&unhex(&file["bans"])).unwrap();
    assert_eq!(bans.hash(), array(&file["bans_hash"]));
}
