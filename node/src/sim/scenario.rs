//! Scenarios: named claims about the production code that anyone can rerun from a seed.
//!
//! A scenario returns figures (what was measured, bit for bit the same for the same seed) and
//! targets (what must hold). Wall-clock time is nowhere in them.

mod chat;
mod eclipse;
mod first_light;
mod partition;
mod pki_attack;
mod pki_churn;
mod routes;

use serde_json::{Map, Value, json};

use crate::cli::progress::Progress;
use crate::error::Error;

/// Every scenario, in the order of `murmur sim --list`.
pub(crate) const ALL: &[&dyn Scenario] = &[
    &first_light::FirstLight,
    &chat::Chat,
    &routes::Routes,
    &pki_churn::PkiChurn {
        name: "pki-churn",
        nodes: 1_000,
    },
    &pki_churn::PkiChurn {
        name: "pki-churn-3000",
        nodes: 3_000,
    },
    &pki_attack::PkiAttack,
    &eclipse::Eclipse,
    &partition::Partition,
];

/// A named claim.
pub(crate) trait Scenario: Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;
    /// What it shows, in one line.
    fn about(&self) -> &'static str;
    /// Runs it.
    ///
    /// # Errors
    /// Only what keeps it from being run; a missed target is no error.
    fn run(&self, seed: u64, progress: &Progress) -> Result<Outcome, Error>;
}

/// What a run found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What was measured.
    pub figures: Figures,
    /// What must hold.
    pub targets: Vec<Target>,
}

/// Something that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A stable name.
    pub name: &'static str,
    /// What is wanted.
    pub want: String,
    /// What is.
    pub is: String,
    /// Whether the two agree.
    pub met: bool,
}

/// Named measurements, in the order they were added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures(Vec<(&'static str, Value)>);

impl Figures {
    /// Adds one.
    pub fn add(&mut self, name: &'static str, value: impl Into<Value>) {
        self.0.push((name, value.into()));
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// One of them as a count; 0 if it is none.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// All of them as a JSON object.
    #[must_use]
    pub fn object(&self) -> Value {
        let pairs = self
            .0
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::Object(pairs.collect::<Map<_, _>>())
    }

    /// All of them as text for a table.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        self.0.iter().map(|(name, value)| (*name, text(value)))
    }
}

impl Outcome {
    /// Wants a figure to be exactly `want`.
    pub fn want(&mut self, name: &'static str, figure: &str, want: impl Into<Value>) {
        let (is, want) = (
            self.figures.get(figure).cloned().unwrap_or_default(),
            want.into(),
        );
        let met = is == want;
        self.targets.push(Target {
            name,
            want: text(&want),
            is: text(&is),
            met,
        });
    }

    /// Wants something that is no exact figure: what is wanted in words, what is, and whether that will do.
    pub fn holds(&mut self, name: &'static str, want: String, is: impl Into<Value>, met: bool) {
        let is = text(&is.into());
        self.targets.push(Target {
            name,
            want,
            is,
            met,
        });
    }

    /// Whether every target was met.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.targets.iter().all(|target| target.met)
    }

    /// The targets as a JSON object.
    #[must_use]
    pub fn targets_object(&self) -> Value {
        let pairs = self.targets.iter().map(|target| {
            let about = json!({ "want": target.want, "is": target.is, "met": target.met });
            (target.name.to_owned(), about)
        });
        Value::Object(pairs.collect::<Map<_, _>>())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(pairs) => {
            let pairs: Vec<_> = pairs
                .iter()
                .map(|(name, value)| format!("{name} {}", text(value)))
                .collect();
            pairs.join(", ")
        }
        other => other.to_string(),
    }
}

/// Milliseconds as seconds with two digits.
fn seconds(millis: u64) -> f64 {
    (millis as f64 / 10.0).round() / 100.0
}
