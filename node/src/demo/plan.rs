//! What the demo does, step by step: settle, greet, talk, and reach someone who was away.

use std::collections::BTreeMap;
use std::time::Duration;

use dht::network::NetworkParams;
use rand_core::Rng;

use super::mesh::{Mesh, agreeing};
use super::report::{Letter, Report};
use crate::cli::progress::Progress;
use crate::env::{self, Clock};
use crate::error::Error;
use crate::handle::{NodeHandle, SendRequest};
use crate::view::{Event, MessageState};

/// Deadline given to each message: far beyond what it needs, so that a lost one is seen as lost.
const DEADLINE_MS: u64 = 600_000;

/// A sender and a receiver, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Pair {
    from: usize,
    to: usize,
}

/// Plays the whole demo and reports.
pub(super) async fn play(
    nodes: usize,
    messages: usize,
    at_least: Duration,
    clock: &Clock,
    progress: &Progress,
) -> Result<Report, Error> {
    let started = clock.now();
    let network = NetworkParams::demo(started);
    let mut rng = env::entropy()?;
    let mut mesh = Mesh::new(network)?;

    progress.stage("starting nodes", nodes);
    for _ in 0..nodes {
        mesh.grow().await?;
        progress.step();
    }
    progress.stage("nodes that are ready and agree on the mesh", nodes);
    mesh.settle(|agreed| progress.at(agreed)).await?;

    let pairs = draw_pairs(nodes, messages, &mut rng);
    let Some(away) = pairs.last().copied() else {
        return report(&mesh, Vec::new(), clock, started).await;
    };
    let mut readers = (0..nodes)
        .map(|index| mesh.handle(index).map(spawn_reader))
        .collect::<Result<Vec<_>, _>>()?;

    progress.stage("greetings", pairs.len());
    greet(&mesh, &pairs, progress).await?;

    // Everyone online first: the one who leaves would take a share of everybody's routes along.
    let online = messages.saturating_sub(1);
    progress.stage("messages read", messages);
    let mut letters = talk(&mesh, &pairs, online, progress, &mut rng).await?;

    mesh.stop(away.to).await?;
    let sender = mesh.handle(away.from)?;
    let sent = send(&sender, &pairs, away, messages).await?;
    sender.wait_message(&sent.id, MessageState::Stored).await?;
    mesh.start(away.to).await?;
    if let Some(reader) = readers.get_mut(away.to) {
        *reader = spawn_reader(mesh.handle(away.to)?);
    }
    let view = sender.wait_message(&sent.id, MessageState::Read).await?;
    progress.step();
    letters.push(Letter {
        from: away.from,
        to: away.to,
        offline: true,
        view,
    });

    let passed = Duration::from_millis((clock.now() - started).as_millis());
    progress.stage("keeping the mesh running", 0);
    tokio::time::sleep(at_least.saturating_sub(passed)).await;
    let report = report(&mesh, letters, clock, started).await?;
    for reader in readers {
        reader.abort();
    }
    mesh.stop_all().await?;
    Ok(report)
}

/// As many random pairs as there are messages, at most one per node: everyone writes to the next in
/// a random order, so that nobody is written to by all. The last pair's receiver is the one who goes
/// away.
fn draw_pairs(nodes: usize, messages: usize, rng: &mut impl Rng) -> Vec<Pair> {
    let mut order: Vec<usize> = (0..nodes).collect();
    for last in (1..nodes).rev() {
        order.swap(last, below(rng, last + 1));
    }
    let next = order.iter().cycle().skip(1);
    let pairs = order.iter().zip(next).map(|(from, to)| Pair {
        from: *from,
        to: *to,
    });
    pairs.take(messages).collect()
}

/// Each sender adds its receiver by address; waits until every hello was answered.
async fn greet(mesh: &Mesh, pairs: &[Pair], progress: &Progress) -> Result<(), Error> {
    for pair in pairs {
        let addresses = mesh.handle(pair.to)?.addresses().await?;
        let address = addresses
            .first()
            .map(|first| first.address.clone())
            .unwrap_or_default();
        mesh.handle(pair.from)?
            .add_contact(&name(pair.to), &address)
            .await?;
    }
    for pair in pairs {
        let handle = mesh.handle(pair.from)?;
        loop {
            let mut events = handle.events();
            let contacts = handle.contacts().await?;
            if contacts
                .iter()
                .any(|one| one.name == name(pair.to) && one.state == "ready")
            {
                break;
            }
            // Either something happened or it is time to look again; both end in a fresh look.
            let _ = tokio::time::timeout(Duration::from_millis(500), events.recv()).await;
        }
        progress.step();
    }
    Ok(())
}

/// Sends `count` messages over the pairs in turn, spread in time as people would, and waits until
/// all are read.
async fn talk(
    mesh: &Mesh,
    pairs: &[Pair],
    count: usize,
    progress: &Progress,
    rng: &mut impl Rng,
) -> Result<Vec<Letter>, Error> {
    let nodes = mesh.len().max(1);
    let mut waiting = tokio::task::JoinSet::new();
    for (index, pair) in pairs.iter().cycle().take(count).copied().enumerate() {
        let handle = mesh.handle(pair.from)?;
        let sent = send(&handle, pairs, pair, index).await?;
        waiting.spawn(async move {
            let view = handle.wait_message(&sent.id, MessageState::Read).await?;
            Ok::<_, Error>(Letter {
                from: pair.from,
                to: pair.to,
                offline: false,
                view,
            })
        });
        // One message per node every ten seconds on average: lively for a chat.
        let mean_ms = 10_000 / u64::try_from(nodes).unwrap_or(1);
        let pause = mean_ms / 2
            + u64::try_from(below(rng, usize::try_from(mean_ms).unwrap_or(1).max(1))).unwrap_or(0);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    let mut letters = Vec::with_capacity(count);
    while let Some(done) = waiting.join_next().await {
        let letter = done.map_err(|_| Error::internal("a waiting task ended early"))??;
        letters.push(letter);
        progress.step();
    }
    Ok(letters)
}

async fn send(
    handle: &NodeHandle,
    pairs: &[Pair],
    pair: Pair,
    index: usize,
) -> Result<crate::view::MessageView, Error> {
    debug_assert!(pairs.contains(&pair));
    let body = format!(
        "message {index} from node {} to node {}",
        pair.from, pair.to
    );
    let request = SendRequest {
        to: name(pair.to),
        body: body.into_bytes(),
        deadline_ms: Some(DEADLINE_MS),
        ..SendRequest::default()
    };
    Ok(handle.send(request).await?)
}

/// Reads a node's inbox as its user would: whatever arrives is read and acknowledged.
fn spawn_reader(handle: NodeHandle) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut events = handle.events();
        let mut after = 0;
        loop {
            let Ok(messages) = handle.inbox(after, 100).await else {
                return;
            };
            for message in messages {
                after = after.max(message.seq);
                if !message.acked && handle.ack_inbox(&message.id).await.is_err() {
                    return;
                }
            }
            loop {
                match events.recv().await {
                    Ok((_, Event::Inbox { .. })) => break,
                    Ok(_) => {}
                    Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => break,
                    Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
                }
            }
        }
    })
}

async fn report(
    mesh: &Mesh,
    letters: Vec<Letter>,
    clock: &Clock,
    started: mix::time::Moment,
) -> Result<Report, Error> {
    let views = mesh.views().await?;
    let mut counters = Vec::with_capacity(mesh.len());
    for index in 0..mesh.len() {
        counters.push(mesh.handle(index)?.counters().await?);
    }
    let mut dropped: BTreeMap<String, u64> = BTreeMap::new();
    for (reason, count) in counters.iter().flat_map(|counter| &counter.dropped) {
        *dropped.entry(reason.clone()).or_default() += count;
    }
    Ok(Report {
        nodes: mesh.len(),
        agreeing: agreeing(&views),
        letters,
        views,
        counters,
        dropped,
        elapsed_ms: clock.now().as_millis().saturating_sub(started.as_millis()),
    })
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

fn below(rng: &mut impl Rng, bound: usize) -> usize {
    let bound = u64::try_from(bound.max(1)).unwrap_or(1);
    usize::try_from(rng.next_u64() % bound).unwrap_or(0)
}
