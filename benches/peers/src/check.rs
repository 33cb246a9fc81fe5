//! The project's goals for the packet, and whether this run met them.
//!
//! Goals in U bind us to the machine's own multiplication, goals against a peer to that peer in the same run. Where a peer was
//! measured with two lengths of message, its cheaper one counts.

use crate::clock::{Figure, Measured};
use crate::scaling::Scaling;
use crate::{around, nym, ours, outfox, parity};

/// What must be, what is.
pub struct Goal {
    what: String,
    bound: Bound,
    got: Option<f64>,
    /// Missing it fails the check.
    binding: bool,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    fn new(what: impl Into<String>, bound: Bound, got: Option<f64>) -> Self {
        Self {
            what: what.into(),
            bound,
            got,
            binding: true,
        }
    }

    fn met(&self) -> bool {
        self.got.is_some_and(|got| match self.bound {
            Bound::AtMost(most) => got <= most,
            Bound::AtLeast(least) => got >= least,
        })
    }

    fn verdict(&self) -> &'static str {
        match (self.got, self.met(), self.binding) {
            (None, ..) => "not measured",
            (_, true, _) => "met",
            (_, false, true) => "MISSED",
            (_, false, false) => "not yet",
        }
    }
}

pub fn goals(results: &[Measured], scaling: Option<&Scaling>) -> Vec<Goal> {
    let u = |figure: Figure| {
        let found = results.iter().find(|one| one.figure == figure);
        found.map(|one| one.units[1])
    };
    let (alone, batched) = (u(ours::HOP), u(ours::HOP_BATCHED));
    let mut goals = vec![
        Goal::new("hop alone, U", Bound::AtMost(1.55), alone),
        Goal::new("hop, 64 at once, U", Bound::AtMost(1.45), batched),
    ];
    for (by, least_alone, least_batched) in [(nym::BY, 1.6, 1.75), (parity::BY, 1.5, 1.6)] {
        let peer = cheapest(results, by);
        for (own, least, how) in [
            (alone, least_alone, "alone"),
            (batched, least_batched, "64 at once"),
        ] {
            let times = peer.zip(own).map(|(peer, own)| peer / own);
            let what = format!("hop {how}, times faster than {by}");
            goals.push(Goal::new(what, Bound::AtLeast(least), times));
        }
    }
    let outfox = cheapest(results, outfox::BY);
    for (what, bound) in [
        ("stretch: hop, 64 at once, U", Some(1.10)),
        ("stretch: the same, below nym-outfox here", outfox),
    ] {
        let goal = Goal::new(what, Bound::AtMost(bound.unwrap_or(f64::NAN)), batched);
        goals.push(Goal {
            binding: false,
            ..goal
        });
    }
    for (hops, cold, tabled) in [(3, 2.8, 1.75), (5, 4.5, 2.65)] {
        let figure = ours::create(hops);
        goals.push(Goal::new(
            format!("create, {hops} hops, U"),
            Bound::AtMost(cold),
            u(figure),
        ));
        goals.push(Goal::new(
            format!("create, {hops} hops, tabled, U"),
            Bound::AtMost(tabled),
            u(figure.tabled()),
        ));
    }
    goals.push(Goal::new(
        "replay check, pool push and pop, U",
        Bound::AtMost(0.02),
        u(around::AROUND),
    ));
    if let Some(scaling) = scaling.filter(|scaling| scaling.threads == 2) {
        goals.push(Goal::new(
            "peel by 2 threads, times one thread's",
            Bound::AtLeast(1.8),
            Some(scaling.times),
        ));
    }
    goals
}

/// A peer's hop, for the length of message that suits it best.
fn cheapest(results: &[Measured], by: &str) -> Option<f64> {
    results
        .iter()
        .filter(|one| one.figure.by == by && one.figure.op == ours::HOP.op)
        .map(|one| one.units[1])
        .min_by(f64::total_cmp)
}

pub fn table(goals: &[Goal]) -> String {
    let mut text = format!("{:<52} {:>8} {:>8}  verdict\n", "goal", "target", "got");
    for goal in goals {
        let target = match goal.bound {
            Bound::AtMost(most) => format!("≤ {most:.2}"),
            Bound::AtLeast(least) => format!("≥ {least:.2}"),
        };
        let got = goal
            .got
            .map_or_else(|| "–".into(), |got| format!("{got:.3}"));
        text += &format!(
            "{:<52} {target:>8} {got:>8}  {}\n",
            goal.what,
            goal.verdict()
        );
    }
    text
}

pub fn all_met(goals: &[Goal]) -> bool {
    goals.iter().all(|goal| goal.met() || !goal.binding)
}
