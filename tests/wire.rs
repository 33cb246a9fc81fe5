//! No mixer is bypassed: the proof from what every link carried.
//!
//! Real nodes on loopback sockets talk to each other with their cover on. Every frame is captured on every link, where it was
//! written and where it was read. With the nodes' mix keys, read from their data directories while they run, each frame is
//! opened as its reader opens it and matched, byte for byte, with the frame that reader wrote next. So every packet's way is
//! known from the wire alone; what a sender planned is never asked.
//!
//! `mesh` runs the nodes and fills the capture; `capture` compares the two ends of every link; `peeling` opens the frames and
//! joins them to journeys; `trace` holds what must be true of journeys; `letters` finds the frames that carried a message;
//! `overlap` looks for bytes that survive a hop; `forged` shows, with captures from `forge`, that each check fails when it should.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

#[path = "wire/capture.rs"]
mod capture;
#[path = "wire/forge.rs"]
mod forge;
#[path = "wire/forged.rs"]
mod forged;
#[path = "wire/letters.rs"]
mod letters;
#[path = "wire/mesh.rs"]
mod mesh;
#[path = "wire/overlap.rs"]
mod overlap;
#[path = "wire/peeling.rs"]
mod peeling;
#[path = "wire/trace.rs"]
mod trace;

use std::collections::BTreeMap;
use std::time::Duration;

use node::config::Profile;
use storage::op::Op;

use capture::{Flaw, Span};
use letters::{Delivered, operation};
use mesh::{Mesh, Observed, vault_key};
use peeling::{End, Journey};
use trace::{Carriage, Proven};

/// Nodes that mix and hold; the rest are phones, which do neither.
const MIXES: usize = 10;
/// All nodes.
const NODES: usize = 14;
/// Who talks to whom: two nodes like all others, and two pairs of phones.
const TALKS: [(usize, usize); 3] = [(0, 1), (10, 11), (12, 13)];
/// Messages of each conversation: true from the one who greeted.
const LETTERS: [bool; 3] = [true, false, true];
/// How long after the nodes agree the last links are up: twice what the later dialler waits.
const LINKING: Duration = Duration::from_secs(2);
/// How long the mesh runs on after the last message. A hop takes 25 ms and an exponential delay of mean 0.2 s; five seconds
/// are exceeded less than once in 10¹⁰ hops.
const TAIL: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_mixer_is_bypassed() {
    let run = tokio::time::timeout(Duration::from_secs(240), play());
    let (observed, delivered, span) = run.await.expect("the mesh delivers in time");
    let took = observed
        .records
        .last()
        .map_or(Duration::ZERO, |record| record.at);
    let proof = prove(&observed, &delivered, span).unwrap_or_else(|flaw| panic!("{flaw:?}"));
    proof.print(took);
    lookups_say_nothing(&observed);
    assert_eq!(proof.mixes, MIXES, "every mix mixed");
    assert_eq!(proof.messages.len(), TALKS.len() * LETTERS.len());
    let phones = proof
        .messages
        .iter()
        .filter(|(message, _)| message.from >= MIXES);
    assert!(phones.clone().count() >= 6);
    // Between phones nothing may be direct or held by a party: they neither relay nor hold.
    for (message, proven) in phones {
        assert_eq!(
            (proven.relayed_direct, proven.held_by_party),
            (0, 0),
            "{message:?}"
        );
    }
    // Real or cover, there or back: four frames of one size, so that only the keys tell them apart.
    for kind in [
        "deposit, a frame",
        "deposit, cover",
        "fetch of a box",
        "fetch, dummy",
        "loop",
    ] {
        assert!(proof.kinds.contains_key(kind), "no {kind} was seen");
    }
    for (kind, (_, frames)) in &proof.kinds {
        assert_eq!(frames, &[trace::HOPS + 1], "{kind}");
    }
}

/// Whatever is looked up is the head of an epoch or a page of a whole directory: a key that everyone can compute who knows nothing
/// but the network and its roots. No key is made of a hop, a holder or a contact. (That all pages of a root are asked for, in an
/// order that says nothing, is `dht::pki`'s to test; that the times say nothing either is `sim routes`'.)
fn lookups_say_nothing(observed: &Observed) {
    let network = observed.params.id();
    let end = mix::time::Moment::from_millis(observed.span_ms.1);
    let last = dht::epoch::epoch_at(&observed.params, end) + 1;
    let heads: Vec<[u8; 32]> = (0..=last)
        .map(|epoch| dht::pki::head_key(&network, epoch))
        .collect();
    let (mut of_heads, mut of_pages) = (0, 0);
    for (node, key) in &observed.lookups.asked {
        if heads.contains(key) {
            of_heads += 1;
        } else {
            let page = observed.lookups.served.contains(key);
            assert!(page, "node {node} asked for {key:02x?}");
            of_pages += 1;
        }
    }
    println!("lookups: {of_heads} of heads, {of_pages} of pages, none of anything else");
    assert!(of_heads >= NODES, "nobody looked anything up");
}

/// Runs the mesh until all messages are delivered. All links are up before the first is sent, and all packets of the returned
/// span have come to their end.
async fn play() -> (Observed, Vec<Delivered>, Span) {
    let profiles: Vec<Profile> = (0..NODES)
        .map(|node| {
            if node < MIXES {
                Profile::Balanced
            } else {
                Profile::Mobile
            }
        })
        .collect();
    let mesh = Mesh::start(&profiles).await;
    mesh.settle().await;
    tokio::time::sleep(LINKING).await;
    let from = mesh.elapsed();
    futures::future::join_all(TALKS.map(|(from, to)| mesh.greet(from, to))).await;
    let mut sent = Vec::new();
    for (round, forth) in LETTERS.into_iter().enumerate() {
        for (one, other) in TALKS {
            let (from, to) = if forth { (one, other) } else { (other, one) };
            let text = format!("letter {round} from {from} to {to}");
            sent.push((from, to, mesh.send(from, &text).await, text));
        }
    }
    let arriving = sent
        .iter()
        .map(|(from, to, id, text)| mesh.arrive(*from, *to, id, text));
    let delivered = futures::future::join_all(arriving).await;
    let until = mesh.elapsed();
    tokio::time::sleep(TAIL).await;
    (mesh.stop().await, delivered, Span { from, until })
}

/// Everything the capture proves, as counts.
struct Proof {
    frames: usize,
    links: usize,
    cut: usize,
    lost: usize,
    in_flight: usize,
    epochs: usize,
    packets: usize,
    waiting: usize,
    hops: usize,
    exchanges: usize,
    mixes: usize,
    messages: Vec<(Delivered, Proven)>,
    /// What an observer without keys sees of each kind of packet: how many, and how many frames each had.
    kinds: BTreeMap<&'static str, (usize, Vec<usize>)>,
}

fn prove(observed: &Observed, delivered: &[Delivered], span: Span) -> Result<Proof, Flaw> {
    assert_eq!(observed.lost, 0, "the tap saw everything");
    let book = &observed.book;
    let links = capture::join(&observed.records, span)?;
    let crossings = &links.crossings;
    let places = capture::by_bytes(crossings)?;
    let journeys = peeling::follow(crossings, &places, book, span)?;
    for journey in &journeys {
        trace::check_hops(journey)?;
    }
    let hops = trace::check_bytes(&journeys, crossings)?;
    let number = |short: &[u8; 16]| capture::number_of(&book.shorts, &mix::ShortId(*short));
    let exchanges = trace::pair_up(&journeys, crossings, number)?;

    let params = &observed.params;
    let boxes: Vec<_> = (0..NODES)
        .map(|node| {
            let directory = observed.directory(node);
            let key = vault_key(&directory).expect("every node has a key");
            letters::boxes_of(&directory, key, params, observed.span_ms)
        })
        .collect();
    let found = letters::carriages(
        delivered, &boxes, &journeys, &exchanges, crossings, &places, book,
    )?;
    let mut messages = Vec::new();
    for (message, carriage) in delivered.iter().zip(&found) {
        let relays = |node: usize| node < MIXES;
        let proven = trace::check_message(carriage, &journeys, crossings, relays)?;
        messages.push((message.clone(), proven));
    }
    for (one, other) in TALKS.into_iter().filter(|(one, _)| *one >= MIXES) {
        trace::check_silent(one, other, crossings)?;
    }
    let mixes: std::collections::BTreeSet<usize> = journeys
        .iter()
        .flat_map(|journey| journey.hops().iter().copied())
        .collect();
    let epochs: std::collections::BTreeSet<u32> =
        book.keys.keys().map(|(_, epoch)| *epoch).collect();
    let ended = |end| journeys.iter().filter(|journey| journey.end == end).count();
    Ok(Proof {
        frames: crossings.len(),
        links: links.links,
        cut: links.lost,
        lost: ended(End::Lost),
        in_flight: links.in_flight,
        epochs: epochs.len(),
        packets: journeys.len(),
        waiting: ended(End::Waiting),
        hops,
        exchanges: exchanges.iter().filter(|one| one.answer.is_some()).count(),
        mixes: mixes.len(),
        messages,
        kinds: kinds(&journeys, &found, |id| {
            boxes.iter().any(|of| of.contains_key(id))
        }),
    })
}

/// Sorts finished packets by what they were, which only the keys tell, and counts their frames, which everybody sees.
fn kinds(
    journeys: &[Journey],
    found: &[Carriage],
    known: impl Fn(&[u8; 32]) -> bool,
) -> BTreeMap<&'static str, (usize, Vec<usize>)> {
    let mut kinds: BTreeMap<_, (usize, Vec<usize>)> = BTreeMap::new();
    for (at, journey) in journeys.iter().enumerate() {
        let kind = match journey.end {
            End::Waiting | End::Lost => continue,
            End::Drop => "drop",
            End::Loop => "loop",
            End::Reply if found.iter().any(|one| one.answers.contains(&at)) => "answer, a message",
            End::Reply => "answer, any other",
            End::Box => match operation(journey) {
                Some(Op::PutBox { id, .. }) if known(&id) => "deposit, a frame",
                Some(Op::PutBox { .. }) => "deposit, cover",
                Some(Op::GetBox { id, .. }) if known(&id) => "fetch of a box",
                Some(Op::GetBox { .. }) => "fetch, dummy",
                _ => "inbox, prekey, receipt",
            },
        };
        let (count, frames) = kinds.entry(kind).or_default();
        *count += 1;
        if !frames.contains(&journey.crossings.len()) {
            frames.push(journey.crossings.len());
        }
    }
    kinds
}

impl Proof {
    fn print(&self, took: Duration) {
        let sum = |of: fn(&Proven) -> usize| -> usize {
            self.messages.iter().map(|(_, proven)| of(proven)).sum()
        };
        let rows = [
            (
                "seconds captured, epochs of keys",
                format!("{:.0}, {}", took.as_secs_f64(), self.epochs),
            ),
            (
                "nodes, links (one way each)",
                format!("{NODES}, {}", self.links),
            ),
            (
                "frames of 2,048 bytes, the same at both ends",
                self.frames.to_string(),
            ),
            (
                "  of these under way at the end",
                self.in_flight.to_string(),
            ),
            ("  cut off before all links were up", self.cut.to_string()),
            (
                "packets followed hop by hop by their bytes",
                self.packets.to_string(),
            ),
            (
                "  over 3 distinct hops and one end",
                (self.packets - self.waiting - self.lost).to_string(),
            ),
            ("  in a pool at the end", self.waiting.to_string()),
            ("  lost before all links were up", self.lost.to_string()),
            (
                "hops without a common run of 8 bytes",
                self.hops.to_string(),
            ),
            (
                "answers from the holder asked to who asked",
                self.exchanges.to_string(),
            ),
            (
                "messages delivered and traced",
                self.messages.len().to_string(),
            ),
            (
                "  deposits over 3 hops to a holder",
                sum(|one| one.deposits).to_string(),
            ),
            (
                "  answers over 3 hops to the receiver",
                sum(|one| one.answers).to_string(),
            ),
            ("  frames of these", sum(|one| one.frames).to_string()),
            (
                "  from sender to receiver as its relay",
                sum(|one| one.relayed_direct).to_string(),
            ),
            (
                "  held by sender or receiver",
                sum(|one| one.held_by_party).to_string(),
            ),
        ];
        println!("what the wire proves");
        for (what, value) in rows {
            println!("  {what:<46}{value:>8}");
        }
        println!(
            "what an observer sees of each kind: packets, frames of a packet, bytes of a frame"
        );
        for (kind, (count, frames)) in &self.kinds {
            println!("  {kind:<30}{count:>8}  {frames:?}  2048");
        }
        for (message, proven) in &self.messages {
            println!(
                "  message {:>2} → {:>2}: {proven:?}",
                message.from, message.to
            );
        }
    }
}
