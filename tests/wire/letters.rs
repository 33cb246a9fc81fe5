//! Which frames carried a message: found from the receiver's side.
//!
//! A receiver's box chain, read from its store after the run, gives ids and keys of the boxes it was written to. The deposits
//! in the capture that name such a box are opened, and the fragment inside names its message. The answer is the packet that
//! the request's reply block turns that very ciphertext into; its first frame is computed here and looked for by its bytes.

use std::collections::BTreeMap;
use std::path::Path;

use dht::network::NetworkParams;
use mix::Surb;
use node::session::boxes::{BoxChain, BoxKeys};
use node::session::frame::Frame as Letter;
use storage::answer::Answer;
use storage::backend::disk::DiskBackend;
use storage::backend::{Backend, Space};
use storage::op::Op;
use storage::vault::Vault;

use crate::capture::{Crossing, Flaw, Frame, number_of};
use crate::peeling::{End, Journey, KeyBook};
use crate::trace::{Carriage, Exchange};

/// Bytes before the snapshot in a saved conversation: contact 16, ours 1, since 8.
const TALK_HEAD: usize = 25;
/// Parked boxes of a day that are looked at; far more than a run uses.
const PARKED: u32 = 64;

/// A message that its receiver has: its id, and between whom.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) id: [u8; 16],
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// The boxes of one receiver, by id, for all live slots and days between two moments (Unix ms).
pub(crate) fn boxes_of(
    directory: &Path,
    vault_key: [u8; 32],
    params: &NetworkParams,
    (from_ms, until_ms): (u64, u64),
) -> BTreeMap<[u8; 32], BoxKeys> {
    let backend = DiskBackend::open(directory.join("store")).unwrap();
    let vault = Vault::new(vault_key);
    let mut saved = Vec::new();
    let mut visit = |name: &[u8], sealed: &[u8]| {
        let name = std::str::from_utf8(name).unwrap();
        saved.push(vault.open(name, sealed).unwrap());
    };
    backend
        .scan(Space::State, b"conversation/", &mut visit)
        .unwrap();
    let mut boxes = BTreeMap::new();
    for talk in saved {
        let chain = in_chain(&talk[TALK_HEAD..]).unwrap();
        let slots = from_ms / params.live_slot_ms - 1..=until_ms / params.live_slot_ms + 2;
        let live = slots.flat_map(|slot| (0..params.live_per_slot).map(move |index| (slot, index)));
        let live = live.filter_map(|(slot, index)| {
            chain.live(slot, index, params.live_slot_ms, params.day_ms)
        });
        let day = |ms: u64| u32::try_from(ms / params.day_ms).unwrap();
        let parked = (day(from_ms)..=day(until_ms))
            .flat_map(|day| (0..PARKED).map(move |index| (day, index)))
            .filter_map(|(day, index)| chain.parked(day, index));
        boxes.extend(live.chain(parked).map(|keys| (keys.id(), keys)));
    }
    boxes
}

/// The chain of boxes a saved conversation reads from: field 7 of its snapshot (node/SPEC.md §8).
fn in_chain(snapshot: &[u8]) -> Result<BoxChain, minicbor::decode::Error> {
    let mut decoder = minicbor::Decoder::new(snapshot);
    let _version = decoder.u32()?;
    decoder.array()?;
    for _ in 0..7 {
        decoder.skip()?;
    }
    decoder.array()?;
    let day = decoder.u32()?;
    let mut root = [0; 32];
    root.copy_from_slice(decoder.bytes()?);
    Ok(BoxChain::new(root, day))
}

/// Finds the journeys that carried each delivered message.
pub(crate) fn carriages(
    delivered: &[Delivered],
    boxes: &[BTreeMap<[u8; 32], BoxKeys>],
    journeys: &[Journey],
    exchanges: &[Exchange],
    crossings: &[Crossing],
    places: &BTreeMap<&Frame, usize>,
    book: &KeyBook,
) -> Result<Vec<Carriage>, Flaw> {
    let starts: BTreeMap<usize, usize> = journeys
        .iter()
        .enumerate()
        .map(|(at, journey)| (journey.crossings[0], at))
        .collect();
    let mut found = Vec::new();
    for message in delivered {
        let mut deposits = Vec::new();
        let mut answers = Vec::new();
        for (at, journey) in journeys.iter().enumerate() {
            let Some(Op::PutBox { id, ciphertext, .. }) = operation(journey) else {
                continue;
            };
            let letter = boxes[message.to]
                .get(&id)
                .and_then(|keys| keys.open(&ciphertext));
            let fragment = letter.and_then(|frame| Letter::decode(&frame)?.fragment);
            if fragment.is_none_or(|fragment| fragment.id != message.id) {
                continue;
            }
            deposits.push(at);
            let body = Answer::Found { ciphertext }.encode();
            for exchange in exchanges {
                let request = &journeys[exchange.request];
                let Some(Op::GetBox {
                    id: asked, surb, ..
                }) = operation(request)
                else {
                    continue;
                };
                if asked != id || request.last() != journey.last() {
                    continue;
                }
                let surb = Surb::from_bytes(&surb).unwrap();
                let (first, packet) = surb.reply(&body);
                let Some(start) = places.get(packet.as_bytes()) else {
                    continue;
                };
                let crossing = &crossings[*start];
                let towards = number_of(&book.shorts, &first);
                if crossing.from != journey.last() || towards != Some(crossing.to) {
                    return Err(Flaw::Misled { crossing: *start });
                }
                let answer = *starts.get(start).ok_or(Flaw::Misled { crossing: *start })?;
                if journeys[answer].end == End::Reply {
                    answers.push(answer);
                }
            }
        }
        let (sender, receiver) = (message.from, message.to);
        found.push(Carriage {
            sender,
            receiver,
            deposits,
            answers,
        });
    }
    Ok(found)
}

/// The operation a journey brought to its end.
pub(crate) fn operation(journey: &Journey) -> Option<Op> {
    journey
        .body
        .as_deref()
        .and_then(|body| Op::decode(body).ok())
}
