//! `chat`: twenty nodes, a conversation from each, nobody away and nothing lost: what a chat message
//! takes over 60 ms links, and whether the streams keep up.

use dht::network::NetworkParams;
use mix::time::Span;
use rand_core::Rng;
use serde_json::{Value, json};

use super::{Outcome, Scenario, seconds};
use crate::cli::progress::Progress;
use crate::error::Error;
use crate::sim::link::LinkModel;
use crate::sim::metrics::{quantile, sum};
use crate::sim::world::{Letter, World, WorldConfig};
use crate::view::MessageState;

const NODES: usize = 20;
const MESSAGES: usize = 200;
/// No stage may take longer, in virtual time.
const PATIENCE: Span = Span::from_secs(180);
/// Mean pause between two messages anywhere: one per node in ten seconds.
const PAUSE_MS: u64 = 500;

pub(super) struct Chat;

impl Scenario for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    fn about(&self) -> &'static str {
        "20 nodes chat over 60 ms links, nobody away: 200 messages, how long they take"
    }

    fn run(&self, seed: u64, progress: &Progress) -> Result<Outcome, Error> {
        let mut config = WorldConfig::demo(seed, NODES);
        config.link = LinkModel::new(60, 10, 0);
        let mut world = World::new(config);
        let mut rng = world.dice("chat");
        progress.stage("starting nodes", NODES);
        world.start_all(Span::from_millis(200))?;
        let settled = world.run_while(PATIENCE, |world| !world.is_settled(NODES));
        let pairs: Vec<(usize, usize)> = (0..NODES)
            .map(|from| (from, (from + 1 + below(&mut rng, NODES - 1)) % NODES))
            .collect();
        progress.stage("greetings", pairs.len());
        for (from, to) in &pairs {
            world.add_contact(*from, *to)?;
        }
        let greeting_from = world.now();
        let greeted = world.run_while(PATIENCE, |world| {
            pairs.iter().any(|(from, to)| !world.is_greeted(*from, *to))
        });
        let greeting = (world.now() - greeting_from).as_millis();
        progress.stage("messages read", MESSAGES);
        let mut letters = Vec::new();
        for (number, (from, to)) in pairs.iter().cycle().take(MESSAGES).enumerate() {
            letters.push(world.send(*from, *to, &format!("message {number}"))?);
            let pause = PAUSE_MS / 2 + rng.next_u64() % PAUSE_MS;
            world.run_for(Span::from_millis(pause));
        }
        world.run_while(PATIENCE, |world| {
            let read = letters
                .iter()
                .filter(|one| world.has_reached(one, MessageState::Read));
            let read = read.count();
            progress.at(read);
            read < MESSAGES
        });

        let latencies: Vec<u64> = letters
            .iter()
            .filter_map(|letter| world.latency_ms(letter))
            .collect();
        let at =
            |percent| quantile(&latencies, percent).map_or(Value::Null, |ms| json!(seconds(ms)));
        let count = |state| {
            letters
                .iter()
                .filter(|one| world.has_reached(one, state))
                .count()
        };
        let mut outcome = Outcome::default();
        let figures = &mut outcome.figures;
        figures.add("sent", letters.len());
        figures.add("delivered", count(MessageState::Delivered));
        figures.add("read", count(MessageState::Read));
        figures.add(
            "latency_s",
            json!({ "p50": at(50), "p90": at(90), "p99": at(99) }),
        );
        figures.add(
            "slower_than_5_s",
            latencies.iter().filter(|ms| **ms > 5_000).count(),
        );
        figures.add("slow", slow(&world, &letters));
        figures.add("greeting_s", seconds(greeting));
        let counters: Vec<_> = (0..world.len())
            .map(|index| world.counters(index))
            .collect();
        let total = sum(&counters);
        figures.add("packets_real", total.real);
        figures.add("packets_cover", total.cover);
        figures.add("dropped", json!(total.dropped));
        figures.add(
            "loops",
            json!({ "sent": total.loops.0, "seen": total.loops.1 }),
        );
        figures.add("pool_mean", (total.pool * 100.0).round() / 100.0);
        figures.add("settled", settled);
        figures.add("greeted", greeted);
        figures.add("digest", world.digest());
        outcome.want("all_read", "read", MESSAGES);
        Ok(outcome)
    }
}

/// The lives of messages that took over five seconds: who, where in a live slot it was submitted, and
/// seconds from there to each state.
fn slow(world: &World, letters: &[Letter]) -> Vec<String> {
    let slot = NetworkParams::local().live_slot_ms;
    let late = letters
        .iter()
        .filter(|one| world.latency_ms(one).is_some_and(|ms| ms > 5_000));
    late.filter_map(|letter| {
        let view = world.message(letter)?;
        let from = view.history.first()?.at;
        let steps: Vec<String> = view
            .history
            .iter()
            .skip(1)
            .map(|step| {
                format!(
                    "{:?} {:.1}",
                    step.state,
                    seconds(step.at.saturating_sub(from))
                )
            })
            .collect();
        Some(format!(
            "{}→{} slot+{:.1}: {}",
            letter.from,
            letter.to,
            seconds(from % slot),
            steps.join(", ")
        ))
    })
    .collect()
}

fn below(rng: &mut impl Rng, bound: usize) -> usize {
    let bound = u64::try_from(bound.max(1)).unwrap_or(1);
    usize::try_from(rng.next_u64() % bound).unwrap_or(0)
}
