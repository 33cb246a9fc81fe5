//! Target `dht_certificates`: proposals, votes, certificates, candidates and bans from any bytes, and chains of certificates in any
//! order. None may panic, each has one encoding, and nothing that was altered is ever believed.

use std::sync::LazyLock;

use dht::bans::{Bans, MAX_BANS};
use dht::certificate::{Certificate, Chain, Proposal, Vote};
use dht::committee::{Candidates, Committee, MAX_CANDIDATES};
use mix::ShortId;

use crate::dht_world::{EPOCHS, LIAR, NETWORK, Node, PAST};
use crate::input::{Input, one_in};

/// Inputs that begin with this walk along a chain; no record begins with it.
const WALK: u8 = 0xc0;

type Decoder = fn(&[u8], bool) -> Option<&'static str>;

const DECODERS: [Decoder; 5] = [proposal, vote, certificate, candidates, bans];

/// Decodes, and names what the bytes are; signatures are looked at seldom, for they take nearly all of the time.
pub fn play(data: &[u8]) -> Vec<&'static str> {
    let dear = one_in(16, data);
    if let Some((&WALK, steps)) = data.split_first() {
        return if dear {
            walk(&mut Input(steps))
        } else {
            Vec::new()
        };
    }
    let mut reached: Vec<_> = DECODERS
        .iter()
        .filter_map(|decode| decode(data, dear))
        .collect();
    if reached.is_empty() {
        reached.push("nothing");
    }
    reached
}

fn proposal(bytes: &[u8], dear: bool) -> Option<&'static str> {
    let proposal = Proposal::decode(bytes).ok()?;
    assert_eq!(proposal.as_bytes()[..], *bytes);
    let epoch = proposal.header().epoch;
    let set = PAST.directories.get(epoch as usize)?;
    let turn = proposal.in_turn(&PAST.committee(epoch), &set.header().seed);
    let Some(node) = maker(&proposal.proposer()).filter(|_| dear) else {
        return Some("proposal");
    };
    if proposal.verify(&NETWORK, &node.id()).is_err() {
        return Some("forged proposal");
    }
    assert_eq!(proposal, node.proposal(set, proposal.view()));
    Some(if turn {
        "proposal in turn"
    } else {
        "proposal out of turn"
    })
}

fn maker(short: &ShortId) -> Option<&'static Node> {
    PAST.nodes.iter().find(|node| node.short() == *short)
}

fn vote(bytes: &[u8], dear: bool) -> Option<&'static str> {
    let vote = Vote::decode(bytes).ok()?;
    assert_eq!(vote.as_bytes()[..], *bytes);
    let set = PAST.directories.get(vote.epoch() as usize)?;
    let candidates = &PAST.candidates[vote.epoch() as usize];
    let Some(candidate) = candidates.by_short(&vote.witness()).filter(|_| dear) else {
        return Some("vote");
    };
    if vote
        .verify(&NETWORK, &set.header().seed, candidate)
        .is_err()
    {
        return Some("forged vote");
    }
    let node = maker(&vote.witness())?;
    assert_eq!(vote, node.vote(set, &PAST.committee(vote.epoch())));
    Some("verified vote")
}

fn certificate(bytes: &[u8], dear: bool) -> Option<&'static str> {
    let certificate = Certificate::decode(bytes).ok()?;
    assert_eq!(certificate.encode(), bytes);
    let candidates = PAST.candidates.get(certificate.epoch() as usize)?;
    if !dear {
        return Some("certificate");
    }
    let Ok(output) = certificate.verify(&NETWORK, candidates) else {
        return Some("forged certificate");
    };
    assert_eq!(output, certificate.output());
    assert_eq!(certificate, PAST.certificates[certificate.epoch() as usize]);
    Some("verified certificate")
}

fn candidates(bytes: &[u8], _: bool) -> Option<&'static str> {
    let candidates = Candidates::decode(&NETWORK, bytes).ok()?;
    assert_eq!(candidates.encode(), bytes);
    assert!(candidates.len() <= MAX_CANDIDATES);
    let known = PAST
        .candidates
        .iter()
        .any(|known| known.hash() == candidates.hash());
    assert_eq!(known, PAST.candidates.contains(&candidates));
    Some("candidates")
}

fn bans(bytes: &[u8], dear: bool) -> Option<&'static str> {
    let bans = Bans::decode(bytes).ok()?;
    assert_eq!(bans.encode(), bytes);
    assert!(bans.len() <= MAX_BANS);
    if dear {
        let stranger = ShortId([0x77; 16]);
        let proof = bans.prove_absence(&stranger);
        assert_eq!(proof.is_some(), !bans.contains(&stranger));
        assert!(proof.is_none_or(|proof| proof.verify(&bans.hash(), &stranger)));
        for (short, _) in bans.iter().take(3) {
            assert!(bans.prove_absence(short).is_none());
        }
    }
    Some("bans")
}

/// The honest certificates, and some of the liar's: of its own candidates alone, and of a set without an honest node.
static OFFERED: LazyLock<Vec<(Certificate, Candidates)>> = LazyLock::new(|| {
    let next = |epoch: usize| PAST.directories[epoch].next_candidates().clone();
    let mut offered: Vec<_> = (0..EPOCHS as usize)
        .map(|epoch| (PAST.certificates[epoch].clone(), next(epoch)))
        .collect();
    for epoch in 0..EPOCHS {
        let set = PAST.without(2, epoch);
        let committee = Committee::of(&PAST.candidates[epoch as usize], |_| true);
        let liar = PAST.nodes[LIAR as usize].vote(&set, &committee);
        let honest = &PAST.certificates[epoch as usize];
        // The liar's own header over the signatures of others.
        let mut bytes = honest.encode();
        bytes[1..205].copy_from_slice(&set.header().to_bytes());
        let forged = Certificate::decode(&bytes).expect("its form is right");
        offered.push((forged, set.next_candidates().clone()));
        assert!(Certificate::assemble(set.header(), &committee, [&liar]).is_none());
    }
    offered
});

/// Offers certificates with candidates in any order to a newcomer that trusts the first root.
fn walk(input: &mut Input<'_>) -> Vec<&'static str> {
    let start = &PAST.directories[0];
    let (header, next) = (*start.header(), start.next_candidates().clone());
    let chain = Chain::from_checkpoint(*NETWORK, &start.root(), header, next);
    let mut chain = chain.expect("the checkpoint holds");
    let mut reached = vec!["walk"];
    for _ in 0..6 {
        if input.is_empty() {
            break;
        }
        let (certificate, next) = &OFFERED[input.below(OFFERED.len())];
        let other = input.byte();
        let next = match OFFERED.get(usize::from(other)) {
            Some((_, wrong)) => wrong,
            None => next,
        };
        let before = *chain.tip();
        match chain.extend(certificate, next.clone()) {
            Ok(()) => {
                let tip = chain.tip();
                assert!(tip.epoch > before.epoch);
                assert_eq!(tip, PAST.directories[tip.epoch as usize].header());
                assert_eq!(chain.candidates().hash(), tip.next_committee);
                reached.push("step");
            }
            Err(_) => {
                assert_eq!(*chain.tip(), before, "a refused step moved the chain");
                reached.push("no step");
            }
        }
    }
    reached
}

/// A real record of each kind, and walks.
pub fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let (set, committee) = (&PAST.directories[1], PAST.committee(1));
    let turn = committee
        .proposer(&set.header().seed, 0)
        .expect("a committee");
    let first = PAST.nodes.iter().find(|node| node.id() == turn.node);
    let offence = |n: u8| dht::bans::Offence {
        culprit: ShortId([n; 16]),
        epoch: 1,
    };
    let bans = Bans::default().next(1, 168, [1, 2, 0x80].map(offence), |_| true);
    vec![
        (
            "a-proposal",
            first
                .expect("one of them")
                .proposal(set, 0)
                .as_bytes()
                .to_vec(),
        ),
        (
            "a-proposal-out-of-turn",
            PAST.nodes[3].proposal(set, 9).as_bytes().to_vec(),
        ),
        (
            "a-vote",
            PAST.nodes[3].vote(set, &committee).as_bytes().to_vec(),
        ),
        ("a-certificate", PAST.certificates[1].encode()),
        ("candidates-of-all", PAST.candidates[1].encode()),
        ("bans-of-three", bans.encode()),
        ("bans-of-nobody", Bans::default().encode()),
        ("walk-straight", vec![WALK, 1, 255, 2, 255, 3, 255]),
        (
            "walk-astray",
            vec![WALK, 5, 255, 1, 3, 3, 255, 1, 255, 0, 255, 6, 255],
        ),
    ]
}
