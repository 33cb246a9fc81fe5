//! `first-light`: twenty nodes find each other, people greet and write; one receiver goes away and
//! comes back, one relay is killed and restarts from its disk, two replay what they carried. All is
//! read, and nothing twice.

use mix::time::Span;
use rand_chacha::ChaCha20Rng;
use rand_core::Rng;
use serde_json::{Value, json};

use super::{Figures, Outcome, Scenario, seconds};
use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::adversary::Replayer;
use crate::sim::metrics::{quantile, sum};
use crate::sim::world::{Letter, World, WorldConfig};
use crate::view::MessageState;

const NODES: usize = 20;
/// Pairs of people, one sender each.
const PAIRS: usize = 10;
/// Messages between people who are online.
const MESSAGES: usize = 30;
/// Messages to the one who is away.
const AWAY: usize = 2;
/// No stage may take longer, in virtual time.
const PATIENCE: Span = Span::from_secs(180);

pub(super) struct FirstLight;

impl Scenario for FirstLight {
    fn name(&self) -> &'static str {
        "first-light"
    }

    fn about(&self) -> &'static str {
        "20 nodes over lossy 60 ms links: all messages are read, through a restart, a kill and replays"
    }

    fn run(&self, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
        let mut world = World::new(WorldConfig::demo(seed, NODES));
        let mut rng = world.dice("first-light");
        let away = PAIRS - 1;
        let relay = NODES - 1;
        let ms = Span::from_millis;
        for index in [NODES - 2, NODES - 3] {
            let delays = [ms(1), ms(500), ms(5_000), ms(15_000), ms(30_000)];
            world.corrupt(index, Box::new(Replayer::new(5, delays)));
        }

        progress.stage("starting nodes", NODES);
        world.start_all(ms(200))?;
        let settled = world.run_while(PATIENCE, |world| {
            progress.at(world.agreement().0);
            !world.is_settled(NODES)
        });

        // Sender i writes to receiver PAIRS − 1 − i of the other half of the first PAIRS nodes.
        let pairs: Vec<(usize, usize)> = (0..PAIRS)
            .map(|from| (from, (from + PAIRS / 2) % PAIRS))
            .collect();
        progress.stage("greetings", pairs.len());
        for (from, to) in &pairs {
            world.add_contact(*from, *to)?;
        }
        let greeted = world.run_while(PATIENCE, |world| {
            let done = pairs
                .iter()
                .filter(|(from, to)| world.is_greeted(*from, *to))
                .count();
            progress.at(done);
            done < pairs.len()
        });

        progress.stage("messages read", MESSAGES + AWAY);
        let mut online = Vec::new();
        for (number, (from, to)) in pairs.iter().cycle().take(MESSAGES).enumerate() {
            online.push(world.send(*from, *to, &format!("message {number}"))?);
            if number == MESSAGES / 2 {
                world.kill(relay);
            }
            world.run_for(ms(300 + below(&mut rng, 400)));
        }
        world.start(relay)?;
        await_read(&mut world, &online, progress);

        world.stop(away);
        let waiting: Vec<usize> = pairs
            .iter()
            .filter(|(_, to)| *to == away)
            .map(|(from, _)| *from)
            .collect();
        let mut parked = Vec::new();
        for number in 0..AWAY {
            for from in &waiting {
                parked.push(world.send(*from, away, &format!("for later {number}"))?);
            }
        }
        let stored = world.run_while(PATIENCE, |world| {
            reached(world, &parked, MessageState::Stored) < parked.len()
        });
        world.start(away)?;
        await_read(&mut world, &parked, progress);
        // What is still under way, replays most of all, has its chance.
        world.run_for(Span::from_secs(10));

        let mut outcome = Outcome {
            figures: figures(&mut world, &online, &parked),
            targets: Vec::new(),
        };
        outcome.figures.add("settled", settled);
        outcome.figures.add("greeted", greeted);
        outcome.figures.add("stored_while_away", stored);
        outcome.want("all_read", "read", outcome.figures.count("sent"));
        outcome.want("one_root", "agreeing_nodes", NODES);
        outcome.want("no_replay_accepted", "replays_accepted", 0);
        outcome.want("no_packet_twice", "packets_repeated", 0);
        Ok(outcome)
    }
}

fn await_read(world: &mut World, letters: &[Letter], progress: &Progress) {
    world.run_while(PATIENCE, |world| {
        let done = reached(world, letters, MessageState::Read);
        progress.at(done);
        done < letters.len()
    });
}

fn reached(world: &World, letters: &[Letter], state: MessageState) -> usize {
    letters
        .iter()
        .filter(|letter| world.has_reached(letter, state))
        .count()
}

fn figures(world: &mut World, online: &[Letter], parked: &[Letter]) -> Figures {
    let all: Vec<Letter> = online.iter().chain(parked).cloned().collect();
    let latencies: Vec<u64> = online
        .iter()
        .filter_map(|one| world.latency_ms(one))
        .collect();
    let at = |percent| quantile(&latencies, percent).map_or(Value::Null, |ms| json!(seconds(ms)));
    let counters: Vec<_> = (0..world.len())
        .map(|index| world.counters(index))
        .collect();
    let total = sum(&counters);
    let bytes: Vec<u64> = (0..world.len())
        .map(|index| world.bytes(index))
        .map(|(got, sent)| got + sent)
        .collect();
    let virtual_ms = (world.now() - super::super::world::GENESIS).as_millis();
    let (agreeing, _) = world.agreement();
    let metrics = world.metrics();
    let mut figures = Figures::default();
    figures.add("nodes", world.len());
    figures.add("sent", all.len());
    figures.add("delivered", reached(world, &all, MessageState::Delivered));
    figures.add("read", reached(world, &all, MessageState::Read));
    figures.add(
        "latency_s",
        json!({ "p50": at(50), "p90": at(90), "p99": at(99) }),
    );
    figures.add("unread", unread(world, &all));
    figures.add("agreeing_nodes", agreeing);
    figures.add("packets_real", total.real);
    figures.add("packets_cover", total.cover);
    figures.add("packets_relayed", total.relayed);
    figures.add("dropped", json!(total.dropped));
    figures.add("not_arrived", json!(metrics.undelivered));
    figures.add("replays_injected", metrics.replays);
    figures.add("replays_accepted", metrics.replays_accepted);
    figures.add("packets_repeated", metrics.repeated);
    figures.add(
        "bytes_per_node",
        bytes.iter().sum::<u64>() / bytes.len().max(1) as u64,
    );
    figures.add("bytes_most", bytes.iter().max().copied().unwrap_or(0));
    figures.add("pool_mean", (total.pool * 100.0).round() / 100.0);
    figures.add("gossip_messages", metrics.gossip.0);
    figures.add("gossip_bytes", metrics.gossip.1);
    figures.add("sync_messages", metrics.sync.0);
    figures.add("sync_bytes", metrics.sync.1);
    figures.add("lookups", metrics.lookups.0);
    figures.add("commits", metrics.commits);
    figures.add("spins", metrics.spins);
    figures.add("virtual_s", seconds(virtual_ms));
    figures.add("events", metrics.events);
    figures.add("digest", world.digest());
    figures
}

/// The lives of messages that were not read, in milliseconds since they were submitted.
fn unread(world: &World, letters: &[Letter]) -> Vec<String> {
    let open = letters
        .iter()
        .filter(|letter| !world.has_reached(letter, MessageState::Read));
    open.map(|letter| {
        let history = world
            .message(letter)
            .map(|view| view.history)
            .unwrap_or_default();
        let since = history.first().map_or(0, |step| step.at);
        let steps = history
            .iter()
            .map(|step| format!("{:?} {}", step.state, step.at.saturating_sub(since)));
        format!(
            "{} to {}: {}",
            letter.from,
            letter.to,
            steps.collect::<Vec<_>>().join(", ")
        )
    })
    .collect()
}

fn below(rng: &mut ChaCha20Rng, bound: u64) -> u64 {
    rng.next_u64() % bound.max(1)
}
