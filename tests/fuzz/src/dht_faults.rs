//! Target `dht_faults`: proofs of every kind and receipts from any bytes. None may panic, each has one encoding, and nobody who is
//! honest is ever proved guilty.

use std::sync::{Arc, LazyLock};

use dht::Directory;
use dht::epoch;
use dht::fault::{Fault, MAX_FAULT_LEN, Omission, Receipt, SignedVote};
use mix::time::Moment;

use crate::dht_world::{LIAR, NETWORK, PARAMS, PAST};
use crate::input::{Input, one_in};

/// Inputs that begin with this put honest statements together; no proof begins with it.
const FRAME: u8 = 0xf0;

/// Decodes, and names what the bytes are.
pub fn play(data: &[u8]) -> Vec<&'static str> {
    if let Some((&FRAME, rest)) = data.split_first() {
        // Signing takes a thousand times as long as reading.
        return if one_in(16, data) {
            vec![frame(&mut Input(rest))]
        } else {
            Vec::new()
        };
    }
    let dear = one_in(8, data);
    let reached = [fault(data, dear), receipt(data, dear)];
    let reached: Vec<_> = reached.into_iter().flatten().collect();
    if reached.is_empty() {
        vec!["nothing"]
    } else {
        reached
    }
}

fn fault(bytes: &[u8], dear: bool) -> Option<&'static str> {
    let fault = Fault::decode(bytes).ok()?;
    assert!(bytes.len() <= MAX_FAULT_LEN);
    assert_eq!(fault.encode(), bytes);
    if dear && let Ok(offence) = fault.verify(&PARAMS) {
        let liar = &PAST.nodes[LIAR as usize];
        assert_eq!(
            (fault.culprit(), offence.culprit),
            (liar.id(), liar.short()),
            "framed"
        );
        assert_eq!(offence.epoch, 1);
        return Some(match fault {
            Fault::Beats { .. } => "two beats proved",
            Fault::Votes { .. } => "two votes proved",
            Fault::Proposals { .. } => "two proposals proved",
            Fault::Omission(_) => "omission proved",
        });
    }
    Some(match fault {
        Fault::Beats { .. } => "two beats",
        Fault::Votes { .. } => "two votes",
        Fault::Proposals { .. } => "two proposals",
        Fault::Omission(_) => "omission",
    })
}

fn receipt(bytes: &[u8], dear: bool) -> Option<&'static str> {
    let receipt = Receipt::decode(bytes).ok()?;
    assert_eq!(receipt.to_bytes()[..], *bytes);
    let liar = &PAST.nodes[LIAR as usize];
    if dear && receipt.verify(&NETWORK, &liar.id()).is_ok() {
        assert_eq!(receipt, given(receipt.held_at));
        return Some("signed receipt");
    }
    Some("receipt")
}

/// Puts what one node said beside what another said, or the liar's second version: a contradiction, but of one's own only if
/// the liar stands accused.
fn frame(input: &mut Input<'_>) -> &'static str {
    let accused = &PAST.nodes[input.below(PAST.nodes.len())];
    let other = &PAST.nodes[input.below(PAST.nodes.len())];
    let set = &PAST.directories[1];
    let (twisted, view) = (input.below(2) == 1, input.byte());
    let second = if twisted { &WITHOUT } else { set };
    let fault = match input.below(3) {
        0 => Fault::of_beats(
            accused.id(),
            &accused.beat(1, 0),
            &other.beat(1, twisted.into()),
        ),
        1 => {
            let committee = PAST.committee(1);
            let said = SignedVote::of(&accused.vote(set, &committee));
            let of_other = SignedVote::of(&other.vote(second, &committee));
            Fault::of_votes(accused.id(), said, of_other)
        }
        _ => {
            let (said, of_other) = (accused.proposal(set, 3), other.proposal(second, view));
            Fault::of_proposals(accused.id(), &said, &of_other)
        }
    };
    let Some(fault) = fault else {
        return "no contradiction";
    };
    // Who here says two things is no honest node, but it is these that the proof must be about.
    assert_eq!(
        fault.verify(&PARAMS).is_ok(),
        accused.number == other.number,
        "framed"
    );
    "contradiction"
}

/// The set of epoch 1 as the liar tells it.
static WITHOUT: LazyLock<Arc<Directory>> = LazyLock::new(|| Arc::new(PAST.without(2, 1)));

/// The liar's receipt for a beat of node 2.
fn given(held_at: u64) -> Receipt {
    let (liar, beat) = (&PAST.nodes[LIAR as usize], PAST.nodes[2].beat(1, 0));
    Receipt::sign(&NETWORK, &liar.key, &beat, Moment::from_millis(held_at))
}

/// A proof of each kind, all against the liar and all of epoch 1.
pub fn faults() -> [Fault; 4] {
    let liar = &PAST.nodes[LIAR as usize];
    let (set, without) = (&PAST.directories[1], &*WITHOUT);
    let said = |set| SignedVote::of(&liar.vote(set, &PAST.committee(1)));
    let receipt = given(epoch::guard(&PARAMS, 1).as_millis());
    let omission = Omission::of(liar.id(), &receipt, without, &said(without));
    let made = "they contradict each other";
    [
        Fault::of_beats(liar.id(), &liar.beat(1, 0), &liar.beat(1, 1)).expect(made),
        Fault::of_votes(liar.id(), said(set), said(without)).expect(made),
        Fault::of_proposals(
            liar.id(),
            &liar.proposal(set, 3),
            &liar.proposal(without, 3),
        )
        .expect(made),
        Fault::Omission(Box::new(omission.expect("node 2 is missing"))),
    ]
}

/// A proof of each kind, a receipt, and honest statements.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let names = ["two-beats", "two-votes", "two-proposals", "an-omission"];
    let mut seeds: Vec<_> = names
        .into_iter()
        .zip(faults().map(|f| f.encode()))
        .collect();
    let late = epoch::guard(&PARAMS, 1).as_millis() + 1;
    seeds.push(("a-late-receipt", given(late).to_bytes().to_vec()));
    seeds.push(("frame-beats", vec![FRAME, 1, 2, 1, 0, 0]));
    seeds.push(("frame-votes", vec![FRAME, 8, 8, 1, 0, 1]));
    seeds.push(("frame-proposals", vec![FRAME, 1, 2, 1, 3, 2]));
    seeds
}
