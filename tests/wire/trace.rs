//! What must be true of every journey, and of those that carried a message.

use std::collections::BTreeMap;

use mix::sphinx::BODY_LEN;
use mix::{HEADER_LEN, SURB_LEN};
use storage::op::Op;

use crate::capture::{Crossing, Flaw};
use crate::overlap::shared_run;
use crate::peeling::{End, Journey};

/// Mixing hops of every packet of the networks tested here.
pub(crate) const HOPS: usize = 3;

/// A journey must pass exactly three distinct mixing hops, none of them its origin or its end. One that has not arrived must
/// not have broken the rule so far.
pub(crate) fn check_hops(journey: &Journey) -> Result<(), Flaw> {
    let crossing = journey.crossings[0];
    let waiting = !journey.arrived();
    // Where the packet is now may be a hop too.
    let hops = if waiting {
        &journey.nodes[1..]
    } else {
        journey.hops()
    };
    if hops.len() > HOPS || (hops.len() < HOPS && !waiting) {
        return Err(Flaw::Hops {
            crossing,
            hops: hops.len(),
        });
    }
    let repeated = hops.iter().enumerate().any(|(place, hop)| {
        hops[..place].contains(hop)
            || *hop == journey.origin()
            || (!waiting && *hop == journey.last())
    });
    if repeated {
        Err(Flaw::Repeated { crossing })
    } else {
        Ok(())
    }
}

/// Whether the hops of all journeys leave no byte as it was. Says how many hops were looked at.
pub(crate) fn check_bytes(journeys: &[Journey], crossings: &[Crossing]) -> Result<usize, Flaw> {
    let mut hops = 0;
    for pair in journeys
        .iter()
        .flat_map(|journey| journey.crossings.windows(2))
    {
        hops += 1;
        if let Some(at) = shared_run(&crossings[pair[0]].bytes, &crossings[pair[1]].bytes) {
            return Err(Flaw::Shared {
                crossing: pair[0],
                at,
            });
        }
    }
    Ok(hops)
}

/// A request that carried a reply block, and the answer that left through it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange {
    /// The request's journey.
    pub(crate) request: usize,
    /// The answer's journey, if one has started.
    pub(crate) answer: Option<usize>,
}

/// Joins every answer to its request by the reply block's header, which is the head of the answer's first frame. Every answer
/// must start where its request ended, go first where the block says, and end where the request came from.
pub(crate) fn pair_up(
    journeys: &[Journey],
    crossings: &[Crossing],
    number_of: impl Fn(&[u8; 16]) -> Option<usize>,
) -> Result<Vec<Exchange>, Flaw> {
    let mut heads: BTreeMap<&[u8], usize> = BTreeMap::new();
    for (place, journey) in journeys.iter().enumerate() {
        heads.insert(&crossings[journey.crossings[0]].bytes[..HEADER_LEN], place);
    }
    let mut exchanges = Vec::new();
    let mut answered = BTreeMap::new();
    for (request, journey) in journeys.iter().enumerate() {
        let Some(surb) = journey.body.as_deref().and_then(surb_of) else {
            continue;
        };
        let answer = heads.get(&surb[..HEADER_LEN]).copied();
        if let Some(at) = answer {
            let back = &journeys[at];
            let mut first = [0; 16];
            first.copy_from_slice(&surb[HEADER_LEN..HEADER_LEN + 16]);
            let home = match back.end {
                End::Reply => back.last() == journey.origin(),
                End::Waiting | End::Lost => true,
                _ => false,
            };
            if !home || back.origin() != journey.last() || number_of(&first) != Some(back.nodes[1])
            {
                return Err(Flaw::Misled {
                    crossing: back.crossings[0],
                });
            }
            answered.insert(at, request);
        }
        exchanges.push(Exchange { request, answer });
    }
    // An answer nobody asked for would be a way around the mailboxes.
    for (place, journey) in journeys.iter().enumerate() {
        if journey.end == End::Reply && !answered.contains_key(&place) {
            return Err(Flaw::Misled {
                crossing: journey.crossings[0],
            });
        }
    }
    Ok(exchanges)
}

/// The reply block of an operation that has one.
pub(crate) fn surb_of(body: &[u8; BODY_LEN]) -> Option<Box<[u8; SURB_LEN]>> {
    match Op::decode(body).ok()? {
        Op::GetBox { surb, .. }
        | Op::StatBox { surb, .. }
        | Op::GetInbox { surb, .. }
        | Op::GetPrekey { surb, .. } => Some(surb),
        _ => None,
    }
}

/// Everything that carried one delivered message.
pub(crate) struct Carriage {
    pub(crate) sender: usize,
    pub(crate) receiver: usize,
    /// Journeys of its deposits, each at one holder.
    pub(crate) deposits: Vec<usize>,
    /// Journeys of the answers with its ciphertext that came home.
    pub(crate) answers: Vec<usize>,
}

/// What was found true of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proven {
    pub(crate) deposits: usize,
    pub(crate) answers: usize,
    pub(crate) frames: usize,
    /// Frames from sender to receiver where one of the two was a mixing hop or the holder, drawn as any other node.
    pub(crate) relayed_direct: usize,
    /// Deposits or answers whose holder was sender or receiver.
    pub(crate) held_by_party: usize,
}

/// Checks one message: a deposit of its sender and an answer to its receiver, each over three distinct hops, and no frame of
/// them from sender to receiver. `relays` tells whether a node may be a mixing hop or a holder: between two that may not, a
/// frame on that link is a flaw whatever it is; a node that may is drawn as hop or holder as often as any other, and then the
/// frame must be one it passes on, or an operation it holds.
pub(crate) fn check_message(
    carriage: &Carriage,
    journeys: &[Journey],
    crossings: &[Crossing],
    relays: impl Fn(usize) -> bool,
) -> Result<Proven, Flaw> {
    if carriage.deposits.is_empty() {
        return Err(Flaw::NoDeposit);
    }
    if carriage.answers.is_empty() {
        return Err(Flaw::NoAnswer);
    }
    let mut proven = Proven {
        deposits: carriage.deposits.len(),
        answers: carriage.answers.len(),
        ..Proven::default()
    };
    let (sender, receiver) = (carriage.sender, carriage.receiver);
    let both = carriage.deposits.iter().map(|at| (*at, true));
    for (at, deposit) in both.chain(carriage.answers.iter().map(|at| (*at, false))) {
        let journey = &journeys[at];
        check_hops(journey)?;
        let (holder, right) = if deposit {
            let right = journey.origin() == sender && journey.end == End::Box;
            (journey.last(), right)
        } else {
            let right = journey.last() == receiver && journey.end == End::Reply;
            (journey.origin(), right)
        };
        if !right {
            return Err(Flaw::Misled {
                crossing: journey.crossings[0],
            });
        }
        proven.held_by_party += usize::from(holder == sender || holder == receiver);
        proven.frames += journey.crossings.len();
        for place in &journey.crossings {
            let crossing = &crossings[*place];
            if (crossing.from, crossing.to) != (sender, receiver) {
                continue;
            }
            // A party that may not relay has no business here, and a deposit is handed to its
            // receiver only as to a mix or a holder, an answer by its sender likewise.
            let drawn =
                |node: usize| relays(node) && (journey.hops().contains(&node) || node == holder);
            if drawn(if deposit { receiver } else { sender }) {
                proven.relayed_direct += 1;
            } else {
                return Err(Flaw::Direct { crossing: *place });
            }
        }
    }
    Ok(proven)
}

/// No frame at all may cross the link between two nodes that neither mix nor hold.
pub(crate) fn check_silent(one: usize, other: usize, crossings: &[Crossing]) -> Result<(), Flaw> {
    let between = |crossing: &Crossing| {
        (crossing.from, crossing.to) == (one, other) || (crossing.from, crossing.to) == (other, one)
    };
    match crossings.iter().position(between) {
        Some(crossing) => Err(Flaw::Direct { crossing }),
        None => Ok(()),
    }
}
