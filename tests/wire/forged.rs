//! The proof can fail: captures in which something is wrong, each with the flaw that must be found.

use std::time::Duration;

use crate::capture::{Flaw, Frame, Record, Span, join};
use crate::forge::{ALWAYS, EPOCH, Forge, HOLDER, RECEIVER, SENDER};
use crate::overlap::{RUN, shared_run};
use crate::peeling::{End, Journey};
use crate::trace::{Carriage, Proven, check_bytes, check_hops, check_message, check_silent};

#[test]
fn an_honest_capture_passes() {
    let forge = Forge::honest();
    let proven = forge.message(|_| false).unwrap();
    let expected = Proven {
        deposits: 1,
        answers: 1,
        frames: 8,
        ..Proven::default()
    };
    assert_eq!(proven, expected);
    assert_eq!(forge.crossings.len(), 12);
    check_silent(SENDER, RECEIVER, &forge.crossings).unwrap();
}

#[test]
fn a_route_of_another_length_is_found() {
    for hops in [0, 1, 2, 4] {
        let there: Vec<usize> = [1, 2, 3, 9]
            .into_iter()
            .take(hops)
            .chain([HOLDER])
            .collect();
        let forge = Forge::new().exchange(&there, &[1, 6, 2, RECEIVER]);
        assert_eq!(forge.flaw(), Flaw::Hops { crossing: 0, hops });
        let back: Vec<usize> = [1, 2, 3, 9]
            .into_iter()
            .take(hops)
            .chain([RECEIVER])
            .collect();
        let forge = Forge::new().exchange(&[1, 2, 3, HOLDER], &back);
        assert_eq!(forge.flaw(), Flaw::Hops { crossing: 8, hops });
    }
}

#[test]
fn a_node_that_is_twice_on_a_route_is_found() {
    let forge = Forge::new().exchange(&[1, SENDER, 3, HOLDER], &[1, 6, 2, RECEIVER]);
    assert_eq!(forge.flaw(), Flaw::Repeated { crossing: 0 });
    // The holder that answers, as a hop of its own answer: first of all, and later.
    for back in [[HOLDER, 1, 2, RECEIVER], [1, HOLDER, 2, RECEIVER]] {
        let forge = Forge::new().exchange(&[1, 2, 3, HOLDER], &back);
        assert_eq!(forge.flaw(), Flaw::Repeated { crossing: 8 });
    }
    let journey = |nodes: &[usize], end| Journey {
        crossings: vec![0],
        nodes: nodes.to_vec(),
        end,
        body: None,
    };
    let repeated = Err(Flaw::Repeated { crossing: 0 });
    assert_eq!(check_hops(&journey(&[0, 1, 2, 1, 4], End::Box)), repeated);
    assert_eq!(check_hops(&journey(&[0, 4, 2, 1, 4], End::Box)), repeated);
    assert_eq!(check_hops(&journey(&[0, 1, 2, 1], End::Waiting)), repeated);
    assert_eq!(check_hops(&journey(&[0, 1, 2], End::Waiting)), Ok(()));
    assert_eq!(check_hops(&journey(&[0, 1, 2, 3, 0], End::Loop)), Ok(()));
}

#[test]
fn a_mixer_that_passes_on_what_it_got_is_found() {
    let mut forge = Forge::honest();
    forge.crossings[1].bytes = forge.crossings[0].bytes.clone();
    assert_eq!(
        forge.flaw(),
        Flaw::Copied {
            first: 0,
            second: 1
        }
    );
}

#[test]
fn a_mixer_that_passes_on_something_else_is_found() {
    let missing = Flaw::NotForwarded { crossing: 0 };
    let mut altered = Forge::honest();
    altered.crossings[1].bytes[1_000] ^= 1;
    assert_eq!(altered.flaw(), missing);
    let mut elsewhere = Forge::honest();
    elsewhere.crossings[1].to = 9;
    assert_eq!(elsewhere.flaw(), missing);
    let mut by_another = Forge::honest();
    by_another.crossings[1].from = 9;
    assert_eq!(by_another.flaw(), missing);
    // Written before it was read: not by this mixer, then.
    let mut early = Forge::honest();
    early.crossings.swap(0, 1);
    assert_eq!(early.flaw(), Flaw::NotForwarded { crossing: 1 });
}

#[test]
fn a_packet_may_wait_only_at_the_end() {
    let mut forge = Forge::honest();
    forge.crossings.truncate(2);
    assert_eq!(forge.flaw(), Flaw::NotForwarded { crossing: 1 });
    for crossing in &mut forge.crossings {
        crossing.at = Duration::from_secs(9);
    }
    let ended = |from: u64, until: u64| {
        let (from, until) = (Duration::from_secs(from), Duration::from_secs(until));
        let journeys = forge.journeys(Span { from, until });
        journeys.map(|all| (all.len(), all[0].end, all[0].nodes.clone()))
    };
    assert_eq!(ended(0, 8), Ok((1, End::Waiting, vec![0, 1, 2])));
    assert_eq!(ended(10, 20), Ok((1, End::Lost, vec![0, 1, 2])));
    assert_eq!(ended(9, 9), Err(Flaw::NotForwarded { crossing: 1 }));
}

#[test]
fn a_frame_nobody_can_open_is_found() {
    let mut forge = Forge::honest();
    forge.crossings[3].bytes[60] ^= 1;
    // The last frame of the deposit: first the hop before it is missed.
    assert_eq!(forge.flaw(), Flaw::NotForwarded { crossing: 2 });
    let mut forge = Forge::honest();
    forge.crossings[0].bytes[60] ^= 1;
    assert_eq!(forge.flaw(), Flaw::Unopened { crossing: 0 });
    let mut forge = Forge::honest();
    forge.book.keys.remove(&(1, EPOCH));
    assert_eq!(forge.flaw(), Flaw::Unopened { crossing: 0 });
}

#[test]
fn a_direct_link_is_found() {
    // The receiver as the first hop: fine for one that relays, a flaw for one that does not.
    let forge = Forge::new().exchange(&[RECEIVER, 2, 3, HOLDER], &[1, 6, 2, RECEIVER]);
    assert_eq!(forge.message(|_| true).unwrap().relayed_direct, 1);
    assert_eq!(forge.message(|_| false), Err(Flaw::Direct { crossing: 0 }));
    let silent = check_silent(RECEIVER, SENDER, &forge.crossings);
    assert_eq!(silent, Err(Flaw::Direct { crossing: 0 }));
    // The sender as the last hop of the answer.
    let forge = Forge::new().exchange(&[1, 2, 3, HOLDER], &[1, 6, SENDER, RECEIVER]);
    assert_eq!(
        forge.message(|node| node == SENDER).unwrap().relayed_direct,
        1
    );
    let direct = forge.message(|node| node == RECEIVER);
    assert_eq!(direct, Err(Flaw::Direct { crossing: 11 }));
}

#[test]
fn an_answer_that_goes_astray_is_found() {
    // To somebody else than who asked.
    let forge = Forge::new().exchange(&[1, 2, 3, HOLDER], &[1, 6, 2, 9]);
    assert_eq!(forge.flaw(), Flaw::Misled { crossing: 8 });
    // From somebody else than the holder asked.
    let mut forge = Forge::honest();
    forge.crossings[8].from = 9;
    assert_eq!(forge.flaw(), Flaw::Misled { crossing: 8 });
    // That nobody asked for.
    let mut forge = Forge::honest();
    forge.crossings.drain(4..8);
    assert_eq!(forge.flaw(), Flaw::Misled { crossing: 4 });
}

#[test]
fn a_message_without_deposit_or_answer_is_not_proven() {
    let forge = Forge::honest();
    let (journeys, _) = forge.prove().unwrap();
    let check = |deposits: &[usize], answers: &[usize]| {
        let (deposits, answers) = (deposits.to_vec(), answers.to_vec());
        let carriage = Carriage {
            sender: SENDER,
            receiver: RECEIVER,
            deposits,
            answers,
        };
        check_message(&carriage, &journeys, &forge.crossings, |_| true)
    };
    assert_eq!(check(&[], &[2]), Err(Flaw::NoDeposit));
    assert_eq!(check(&[0], &[]), Err(Flaw::NoAnswer));
    // Somebody else's packet in the place of a deposit, a request in the place of an answer.
    assert_eq!(check(&[1], &[2]), Err(Flaw::Misled { crossing: 4 }));
    assert_eq!(check(&[0], &[1]), Err(Flaw::Misled { crossing: 4 }));
}

#[test]
fn bytes_that_survive_a_hop_are_found() {
    let forge = Forge::honest();
    let (before, mut after) = (&forge.crossings[0].bytes, forge.crossings[1].bytes.clone());
    // The version byte is all they have in common.
    assert_eq!(before[0], after[0]);
    assert_eq!(shared_run(before, &after), None);
    for (from, to) in [(1, 1), (1, 2_048 - RUN), (2_048 - RUN, 1), (700, 1_300)] {
        let kept: Box<Frame> = after.clone();
        after[to..to + RUN].copy_from_slice(&before[from..from + RUN]);
        assert_eq!(shared_run(before, &after), Some(to));
        after[to] ^= 1;
        assert_eq!(
            shared_run(before, &after),
            None,
            "a shorter run may be chance"
        );
        after = kept;
    }
    let mut forge = Forge::honest();
    let journeys = forge.journeys(ALWAYS).unwrap();
    assert_eq!(check_bytes(&journeys, &forge.crossings), Ok(9));
    let alpha: Vec<u8> = forge.crossings[1].bytes[1..33].to_vec();
    forge.crossings[2].bytes[1..33].copy_from_slice(&alpha);
    let shared = check_bytes(&journeys, &forge.crossings);
    assert_eq!(shared, Err(Flaw::Shared { crossing: 1, at: 1 }));
}

#[test]
fn the_two_ends_of_a_link_are_compared() {
    let at = |secs: u64, byte: u8, written: bool| Record {
        from: 0,
        to: 1,
        bytes: Box::new([byte; 2_048]),
        written,
        at: Duration::from_secs(secs),
    };
    let span = Span {
        from: Duration::from_secs(1),
        until: Duration::from_secs(5),
    };
    let ends = |records: &[Record]| {
        let links = join(records, span)?;
        Ok((links.lost, links.in_flight))
    };
    let (one, two) = (at(1, 1, true), at(2, 2, true));
    let (read_one, read_two) = (at(1, 1, false), at(2, 2, false));
    let both = [one.clone(), two.clone()];
    let with = |more: &[&Record]| -> Vec<Record> {
        both.iter().chain(more.iter().copied()).cloned().collect()
    };
    let (lost, altered) = (
        Err(Flaw::Lost { from: 0, to: 1 }),
        Err(Flaw::Altered { from: 0, to: 1 }),
    );
    assert_eq!(ends(&with(&[&read_one, &read_two])), Ok((0, 0)));
    assert_eq!(ends(&with(&[&read_one])), lost);
    assert_eq!(ends(&with(&[&read_two])), lost);
    assert_eq!(ends(&with(&[&read_two, &read_one])), altered);
    assert_eq!(ends(&with(&[&read_one, &at(2, 3, false)])), altered);
    assert_eq!(ends(&with(&[&read_one, &read_two, &read_two])), altered);
    // Somebody speaks on the link who did not write.
    assert_eq!(ends(std::slice::from_ref(&read_one)), altered);
    // Shortly before the end a frame may be under way, and before all links are up one may be lost.
    let late = [one.clone(), at(6, 2, true), read_one];
    assert_eq!(ends(&late), Ok((0, 1)));
    let early = [at(0, 3, true), one, at(1, 1, false)];
    assert_eq!(ends(&early), Ok((1, 0)));
}
