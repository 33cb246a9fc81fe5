//! Tests of proposals, votes, certificates and chains.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::testing::{Past, TestNode, params};
use proptest::prelude::*;
use std::sync::OnceLock;

/// Ten nodes, three certified epochs: made once, read by all.
fn past() -> &'static Past {
    static PAST: OnceLock<Past> = OnceLock::new();
    PAST.get_or_init(|| Past::new(&params(), 10, 5))
}

/// The candidates, committee and votes of epoch 2.
fn second() -> (Candidates, Committee, Vec<Vote>) {
    let set = &past().directories[2];
    let committee = past().committee(set);
    let votes = past().votes(set, &committee);
    (past().candidates(set), committee, votes)
}

fn flip(bytes: &mut [u8], bit: usize) {
    bytes[bit / 8] ^= 1 << (bit % 8);
}

#[test]
fn a_certificate_holds_for_its_candidates() {
    let network = params().id();
    let (candidates, committee, votes) = second();
    assert_eq!(
        (committee.members().len(), committee.quorum()),
        (10, Some(7))
    );
    let header = past().directories[2].header();
    let certificate = Certificate::assemble(header, &committee, &votes).unwrap();
    assert_eq!(certificate, past().certificates[2]);
    let output = certificate.verify(&network, &candidates).unwrap();
    let seed = header.seed;
    let outputs = votes.iter().map(|vote| {
        let candidate = candidates.by_short(&vote.witness()).unwrap();
        vote.verify(&network, &seed, candidate).unwrap()
    });
    assert_eq!(Some(output), outputs.min(), "the lowest one counts");
    assert_eq!(certificate.encode().len(), HEAD_LEN + 7 * 64);
    assert_eq!(
        Certificate::decode(&certificate.encode()).unwrap(),
        certificate
    );
    // Candidates of another epoch are others.
    let others = past().directories[0].next_candidates();
    assert!(certificate.verify(&network, others).is_err());
    assert_eq!(
        certificate.verify(&NetworkId([0; 32]), &candidates),
        Err(CertificateError::Network)
    );
}

#[test]
fn it_takes_a_quorum_of_this_root_and_committee() {
    let (_, committee, votes) = second();
    let header = past().directories[2].header();
    assert!(Certificate::assemble(header, &committee, &votes[..7]).is_some());
    assert_eq!(Certificate::assemble(header, &committee, &votes[..6]), None);
    let again = votes[..6].iter().chain(&votes[..6]);
    assert_eq!(Certificate::assemble(header, &committee, again), None);
    let other = past().directories[3].header();
    assert_eq!(Certificate::assemble(other, &committee, &votes), None);
    let fewer = Committee::of(&second().0, |short| *short != votes[0].witness());
    assert_eq!(Certificate::assemble(header, &fewer, &votes), None);
}

/// Whoever is left out of the votes, the certificate is the same unless it was the lowest or its signature was used.
#[test]
fn the_seed_depends_on_the_lowest_output_only() {
    let (candidates, committee, votes) = second();
    let header = past().directories[2].header();
    let all = Certificate::assemble(header, &committee, &votes).unwrap();
    let mut moved = 0;
    for left_out in 0..votes.len() {
        let mut fewer = votes.clone();
        fewer.remove(left_out);
        let certificate = Certificate::assemble(header, &committee, &fewer).unwrap();
        certificate.verify(&params().id(), &candidates).unwrap();
        assert!(certificate.output() >= all.output());
        moved += usize::from(certificate.mix() != all.mix());
    }
    assert_eq!(moved, 1);
}

#[test]
fn every_flipped_bit_of_a_certificate_is_refused() {
    let (candidates, ..) = second();
    let bytes = past().certificates[2].encode();
    for bit in 0..bytes.len() * 8 {
        let mut other = bytes.clone();
        flip(&mut other, bit);
        let holds = Certificate::decode(&other)
            .is_ok_and(|other| other.verify(&params().id(), &candidates).is_ok());
        assert!(!holds, "bit {bit}");
    }
}

#[test]
fn every_flipped_bit_of_a_vote_or_proposal_is_refused() {
    let network = params().id();
    let (candidates, _, votes) = second();
    let vote = &votes[4];
    let candidate = candidates.by_short(&vote.witness()).unwrap();
    let seed = past().directories[2].header().seed;
    for bit in 0..VOTE_LEN * 8 {
        let mut bytes = *vote.as_bytes();
        flip(&mut bytes, bit);
        let holds = Vote::decode(&bytes)
            .is_ok_and(|other| other.verify(&network, &seed, candidate).is_ok());
        assert!(!holds, "vote, bit {bit}");
    }
    let node = &past().nodes[3];
    let proposal = Proposal::sign(&network, &node.key, past().directories[2].header(), 9);
    proposal.verify(&network, &node.id()).unwrap();
    assert_eq!(Proposal::decode(proposal.as_bytes()), Ok(proposal));
    for bit in 0..PROPOSAL_LEN * 8 {
        let mut bytes = *proposal.as_bytes();
        flip(&mut bytes, bit);
        let holds =
            Proposal::decode(&bytes).is_ok_and(|other| other.verify(&network, &node.id()).is_ok());
        assert!(!holds, "proposal, bit {bit}");
    }
}

#[test]
fn a_vote_is_of_its_witness_network_and_epoch() {
    let (candidates, committee, votes) = second();
    let seed = past().directories[2].header().seed;
    let own = |vote: &Vote| *candidates.by_short(&vote.witness()).unwrap();
    let network = params().id();
    assert!(votes[0].verify(&network, &seed, &own(&votes[0])).is_ok());
    assert!(votes[0].verify(&network, &seed, &own(&votes[1])).is_err());
    assert!(
        votes[0]
            .verify(&network, &[1; 32], &own(&votes[0]))
            .is_err()
    );
    let elsewhere = NetworkId([1; 32]);
    assert!(votes[0].verify(&elsewhere, &seed, &own(&votes[0])).is_err());
    // A witness that puts its name on another's proof.
    let node = &past().nodes[0];
    let other = past().nodes[1].vrf();
    let said = (2, past().directories[2].root(), committee.presence());
    let stolen = Vote::sign(&network, &node.key, &other, &seed, said);
    assert!(stolen.verify(&network, &seed, &own(&stolen)).is_err());
}

#[test]
fn proposers_take_turns() {
    let network = params().id();
    let (_, committee, _) = second();
    let set = &past().directories[2];
    let seed = set.header().seed;
    for view in 0..12 {
        let in_turn = past().nodes.iter().filter(|node| {
            Proposal::sign(&network, &node.key, set.header(), view).in_turn(&committee, &seed)
        });
        assert_eq!(in_turn.count(), usize::from(view < 10), "view {view}");
    }
}

/// A leader other than the lowest signer still verifies: only who holds the votes can tell, and does.
#[test]
fn a_certificate_that_leaves_the_lowest_out_is_told_by_its_votes() {
    let (_, committee, votes) = second();
    let header = past().directories[2].header();
    let full = Certificate::assemble(header, &committee, &votes).unwrap();
    let lowest = |vote: &&Vote| vote.proof().output_unchecked() != full.output();
    let without: Vec<_> = votes.iter().filter(lowest).copied().collect();
    let biased = Certificate::assemble(header, &committee, &without).unwrap();
    let held = votes.iter().map(|vote| vote.proof().output_unchecked());
    assert!(
        held.min() < Some(biased.output()),
        "a witness sees a lower one"
    );
}

#[test]
fn a_false_committee_or_too_many_signers_are_refused() {
    let (candidates, committee, votes) = second();
    let network = params().id();
    let header = past().directories[2].header();
    let certificate = Certificate::assemble(header, &committee, &votes).unwrap();
    let mut more = certificate.clone();
    more.signers = [0; SIGNERS_LEN];
    more.signers[0] = 0xff;
    more.signatures = (0..8).map(|_| [0; 64]).collect();
    assert_eq!(
        more.verify(&network, &candidates),
        Err(CertificateError::Signers)
    );
    let mut outside = certificate.clone();
    outside.signers[SIGNERS_LEN - 1] |= 0x80;
    outside.signatures.push([0; 64]);
    assert_eq!(
        outside.verify(&network, &candidates),
        Err(CertificateError::Signers)
    );
    let mut few = certificate;
    few.presence = Presence::from_bytes({
        let mut bits = [0; Presence::LEN];
        bits[0] = 0b1_1111;
        bits
    });
    assert_eq!(
        few.verify(&network, &candidates),
        Err(CertificateError::Committee)
    );
}

fn chain() -> Chain {
    let first = &past().directories[0];
    let candidates = first.next_candidates().clone();
    Chain::from_checkpoint(params().id(), &first.root(), *first.header(), candidates).unwrap()
}

#[test]
fn a_newcomer_follows_the_chain_from_a_checkpoint() {
    let mut chain = chain();
    for epoch in 1..5 {
        let next = past().directories[epoch].next_candidates().clone();
        chain.extend(&past().certificates[epoch], next).unwrap();
        assert_eq!(chain.tip(), past().directories[epoch].header());
        assert_eq!(chain.certificate(), Some(&past().certificates[epoch]));
    }
    let seeds = chain.seeds().unwrap();
    assert_eq!(
        seeds.committed_epoch(),
        Some(5),
        "header 4 commits certificate 3"
    );
    assert_eq!(seeds.at(4), None);
    assert_eq!(chain.candidates(), past().directories[4].next_candidates());
}

#[test]
fn a_chain_takes_nothing_that_does_not_follow() {
    let (certificates, directories) = (&past().certificates, &past().directories);
    let next = |epoch: usize| directories[epoch].next_candidates().clone();
    let first = &directories[0];
    let network = params().id();
    let wrong = Chain::from_checkpoint(network, &[0; 32], *first.header(), next(0));
    assert_eq!(wrong.unwrap_err(), ChainError::Commitment);
    let wrong = Chain::from_checkpoint(network, &first.root(), *first.header(), next(1));
    assert_eq!(wrong.unwrap_err(), ChainError::Commitment);
    let mut chain = chain();
    assert_eq!(
        chain.extend(&certificates[0], next(0)),
        Err(ChainError::Gap(0)),
        "it is over"
    );
    assert_eq!(
        chain.extend(&certificates[4], next(4)),
        Err(ChainError::Gap(4))
    );
    assert_eq!(
        chain.extend(&certificates[1], next(2)),
        Err(ChainError::Commitment)
    );
    // An epoch that was certified can't be skipped: the next header commits to its certificate.
    assert_eq!(
        chain.extend(&certificates[2], next(2)),
        Err(ChainError::Previous)
    );
    chain.extend(&certificates[1], next(1)).unwrap();
    let before = chain.tip().root();
    // Another certificate of epoch 1, as valid as the one that header 2 commits to.
    let committee = past().committee(&directories[1]);
    let mut votes = past().votes(&directories[1], &committee);
    let output = certificates[1].output();
    votes.retain(|vote| vote.proof().output_unchecked() != output);
    let other = Certificate::assemble(directories[1].header(), &committee, &votes).unwrap();
    let mut fork = self::chain();
    fork.extend(&other, next(1)).unwrap();
    assert_eq!(
        fork.extend(&certificates[2], next(2)),
        Err(ChainError::Previous)
    );
    assert_eq!(chain.tip().root(), before);
}

/// A node whose vote for a set with another seed was bought: the chain computes the seed itself.
#[test]
fn a_seed_that_does_not_follow_is_refused() {
    let mut chain = chain();
    for epoch in 1..3 {
        let next = past().directories[epoch].next_candidates().clone();
        chain.extend(&past().certificates[epoch], next).unwrap();
    }
    let honest = &past().directories[3];
    let mut header = *honest.header();
    header.seed = [9; 32];
    let committee = past().committee(honest);
    let said = (3, header.root(), committee.presence());
    let sign =
        |node: &TestNode| Vote::sign(&node.network, &node.key, &node.vrf(), &header.seed, said);
    let votes: Vec<_> = past().nodes.iter().map(sign).collect();
    let certificate = Certificate::assemble(&header, &committee, &votes).unwrap();
    certificate
        .verify(&params().id(), &past().candidates(honest))
        .unwrap();
    let next = honest.next_candidates().clone();
    assert_eq!(chain.extend(&certificate, next), Err(ChainError::Seed));
}

#[test]
fn a_missing_epoch_is_bridged_by_the_candidates_before() {
    let mut chain = chain();
    for epoch in 1..3 {
        let next = past().directories[epoch].next_candidates().clone();
        chain.extend(&past().certificates[epoch], next).unwrap();
    }
    // Epoch 3 has no certificate: epoch 4 takes the candidates of header 2, the "none" seed and commits to nothing.
    let seeds = chain.seeds().unwrap();
    let seed = seeds.at(4).unwrap();
    let basis = crate::directory::Basis {
        certified: Some(past().directories[2].clone()),
        ..Default::default()
    };
    let records = past().nodes.iter().map(|node| node.records(4));
    let set = crate::Directory::build_on(&params(), 4, seed, records, &basis);
    let candidates = past().directories[2].next_candidates();
    let committee = Committee::of(candidates, |short| set.by_short(short).is_some());
    let votes = past().votes(&set, &committee);
    let certificate = Certificate::assemble(set.header(), &committee, &votes).unwrap();
    chain
        .extend(&certificate, set.next_candidates().clone())
        .unwrap();
    assert_eq!(chain.tip().epoch, 4);
    // Nothing was committed: the next seed starts from this header's.
    let seeds = chain.seeds().unwrap();
    assert_eq!(seeds.at(4), Some(seed));
    assert_eq!(seeds.at(5), Some(crate::epoch::union_seed(&seed, 5)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_votes_in_any_order_make_one_certificate(order in Just((0..10usize).collect::<Vec<_>>()).prop_shuffle(), count in 0usize..=10) {
        let (candidates, committee, votes) = second();
        let header = past().directories[2].header();
        let some: Vec<_> = order.iter().take(count).map(|i| votes[*i]).collect();
        let made = Certificate::assemble(header, &committee, &some);
        prop_assert_eq!(made.is_some(), count >= 7);
        let mut sorted = some.clone();
        sorted.sort_by_key(Vote::witness);
        prop_assert_eq!(&Certificate::assemble(header, &committee, &sorted), &made);
        if let Some(certificate) = made {
            prop_assert!(certificate.verify(&params().id(), &candidates).is_ok());
            prop_assert_eq!(Certificate::decode(&certificate.encode()), Ok(certificate));
        }
    }

    #[test]
    fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..900), signers in any::<u16>()) {
        if let Some(first) = bytes.first_mut() { *first = VERSION; }
        let (candidates, ..) = second();
        if let Some(header) = bytes.get_mut(1..205) {
            header.copy_from_slice(&past().directories[2].header().to_bytes());
        }
        if let Some(bits) = bytes.get_mut(226..242) {
            bits.fill(0);
            bits[..2].copy_from_slice(&signers.to_le_bytes());
        }
        bytes.truncate(HEAD_LEN + 64 * signers.count_ones() as usize);
        if let Ok(certificate) = Certificate::decode(&bytes) {
            prop_assert!(certificate.verify(&params().id(), &candidates).is_err());
            prop_assert_eq!(certificate.encode(), bytes);
        }
    }

    #[test]
    fn random_votes_and_proposals_never_verify(body in any::<[u8; 32]>(), vote in proptest::collection::vec(any::<u8>(), VOTE_LEN), rest in proptest::collection::vec(any::<u8>(), 81)) {
        let (candidates, ..) = second();
        let mut vote = vote;
        vote[0] = VERSION;
        let candidate = candidates.iter().next().unwrap();
        let decoded = Vote::decode(&vote).unwrap();
        prop_assert_eq!(&decoded.as_bytes()[..], &vote[..]);
        prop_assert!(decoded.verify(&params().id(), &body, candidate).is_err());
        let mut proposal = vec![VERSION];
        proposal.extend_from_slice(&past().directories[2].header().to_bytes());
        proposal.extend_from_slice(&rest);
        let decoded = Proposal::decode(&proposal).unwrap();
        prop_assert!(decoded.verify(&params().id(), &candidate.node).is_err());
    }
}
