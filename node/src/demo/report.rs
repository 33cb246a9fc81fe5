//! What the demo found, as the object of the product contract and as a table for a person.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::print::Out;
use crate::error::Error;
use crate::view::{CounterView, MessageState, MessageView, NodeView};

/// One message and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Whether its receiver was away when it was sent.
    pub(super) offline: bool,
    pub(super) view: MessageView,
}

/// Everything the nodes reported.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) nodes: usize,
    pub(super) agreeing: usize,
    pub(super) letters: Vec<Letter>,
    pub(super) views: Vec<NodeView>,
    pub(super) counters: Vec<CounterView>,
    pub(super) dropped: BTreeMap<String, u64>,
    pub(super) elapsed_ms: u64,
}

impl Letter {
    fn at(&self, state: MessageState) -> Option<u64> {
        self.view
            .history
            .iter()
            .find(|step| step.state == state)
            .map(|step| step.at)
    }

    fn reached(&self, state: MessageState) -> bool {
        self.view
            .history
            .iter()
            .any(|step| step.state >= state && step.state <= MessageState::Read)
    }

    /// Submit → delivered, by the message's own timestamps, milliseconds.
    fn latency_ms(&self) -> Option<u64> {
        let (queued, delivered) = (
            self.at(MessageState::Queued)?,
            self.at(MessageState::Delivered)?,
        );
        Some(delivered.saturating_sub(queued))
    }
}

impl Report {
    pub(super) fn ok(&self) -> bool {
        let sent = self.letters.len();
        self.count(MessageState::Read) == sent && (sent == 0 || self.offline_delivered() > 0)
    }

    pub(super) fn object(&self) -> Value {
        let latencies = self.latencies();
        let view = self.views.first();
        json!({
            "nodes": self.nodes,
            "messages": {
                "sent": self.letters.len(),
                "stored": self.count(MessageState::Stored),
                "delivered": self.count(MessageState::Delivered),
                "read": self.count(MessageState::Read),
                "offline_delivered": self.offline_delivered(),
            },
            "latency_s": {
                "p50": quantile(&latencies, 50),
                "p90": quantile(&latencies, 90),
                "p99": quantile(&latencies, 99),
            },
            "pki": {
                "epoch": view.map_or(0, |one| one.epoch),
                "root": view.map_or("", |one| one.root.as_str()),
                "agreeing_nodes": self.agreeing,
                "certified": self.views.iter().all(|one| one.certified) && !self.views.is_empty(),
            },
            "packets": {
                "real": self.counters.iter().map(|one| one.real).sum::<u64>(),
                "cover": self.counters.iter().map(|one| one.cover).sum::<u64>(),
                "dropped": self.dropped,
            },
            "privacy": { "pool": round(self.pool()), "entropy_bits": round(self.entropy_bits()) },
            "elapsed_s": round(seconds(self.elapsed_ms)),
            "ok": self.ok(),
        })
    }

    pub(super) fn print(&self, out: &mut Out) -> Result<(), Error> {
        out.line("The life of each message, in seconds after it was submitted:")?;
        for letter in &self.letters {
            out.line(&life(letter))?;
        }
        let latencies = self.latencies();
        let quantiles = [50, 90, 99].map(|percent| {
            quantile(&latencies, percent).map_or("-".to_owned(), |value| format!("{value:.2} s"))
        });
        let total = self.letters.len();
        let share = |state| format!("{} of {total}", self.count(state));
        out.line("")?;
        let rows = [
            (
                "nodes",
                format!("{}, {} agree on the mesh", self.nodes, self.agreeing),
            ),
            ("stored", share(MessageState::Stored)),
            ("delivered", share(MessageState::Delivered)),
            ("read", share(MessageState::Read)),
            ("receiver was away", self.offline_delivered().to_string()),
            ("latency p50, p90, p99", quantiles.join(", ")),
            ("own packets, real and cover", self.packets()),
            ("own loops that came home", self.loops()),
            ("packets in a pool, mean", format!("{:.1}", self.pool())),
            (
                "a packet hides among, bits",
                format!(
                    "{:.1}, at most {:.1}",
                    self.entropy_bits(),
                    bits(self.nodes)
                ),
            ),
            ("time", format!("{:.1} s", seconds(self.elapsed_ms))),
            (
                "result",
                if self.ok() {
                    "all delivered and read"
                } else {
                    "NOT all delivered"
                }
                .to_owned(),
            ),
        ];
        out.table(
            ["demo", ""],
            &rows.map(|(name, value)| [name.to_owned(), value]),
        )
    }

    fn count(&self, state: MessageState) -> usize {
        self.letters
            .iter()
            .filter(|letter| letter.reached(state))
            .count()
    }

    fn offline_delivered(&self) -> usize {
        self.letters
            .iter()
            .filter(|one| one.offline && one.reached(MessageState::Delivered))
            .count()
    }

    fn latencies(&self) -> Vec<u64> {
        let online = self.letters.iter().filter(|letter| !letter.offline);
        let mut all: Vec<_> = online.filter_map(Letter::latency_ms).collect();
        all.sort_unstable();
        all
    }

    fn packets(&self) -> String {
        let real: u64 = self.counters.iter().map(|one| one.real).sum();
        let cover: u64 = self.counters.iter().map(|one| one.cover).sum();
        format!("{real} and {cover}")
    }

    fn loops(&self) -> String {
        let sent: u64 = self.counters.iter().map(|one| one.loops.0).sum();
        let seen: u64 = self.counters.iter().map(|one| one.loops.1).sum();
        format!("{seen} of {sent}")
    }

    fn pool(&self) -> f64 {
        let nodes = self.counters.len().max(1) as f64;
        self.counters.iter().map(|one| one.pool).sum::<f64>() / nodes
    }

    /// Three hops, each multiplying what a packet may be confused with by its pool; never more
    /// than the mesh has nodes.
    fn entropy_bits(&self) -> f64 {
        (3.0 * (1.0 + self.pool()).log2()).min(bits(self.nodes))
    }
}

fn life(letter: &Letter) -> String {
    let start = letter.at(MessageState::Queued).unwrap_or_default();
    let steps: Vec<_> = letter
        .view
        .history
        .iter()
        .map(|step| {
            let name = format!("{:?}", step.state).to_lowercase();
            let stored = match (step.state, letter.view.stored) {
                (MessageState::Stored, Some((held, asked))) => format!(" ({held} of {asked})"),
                _ => String::new(),
            };
            format!(
                "{name}{stored} {:.2}",
                seconds(step.at.saturating_sub(start))
            )
        })
        .collect();
    let away = if letter.offline {
        "  [receiver away]"
    } else {
        ""
    };
    format!(
        "  node {:>2} to node {:>2}: {}{away}",
        letter.from,
        letter.to,
        steps.join(" → ")
    )
}

/// Nearest-rank quantile in seconds.
fn quantile(sorted_ms: &[u64], percent: usize) -> Option<f64> {
    let rank = (sorted_ms.len() * percent).div_ceil(100).max(1);
    sorted_ms.get(rank - 1).map(|value| seconds(*value))
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn bits(nodes: usize) -> f64 {
    (nodes.max(1) as f64).log2()
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
