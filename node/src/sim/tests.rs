//! `murmur sim` from the outside: its list, its refusals, and the shape of what it prints.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use super::scenario::{Figures, Outcome};
use super::*;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn run(args: &SimArgs) -> (Result<u8, Error>, String) {
    let sink = Sink::default();
    let mut out = Out::to(sink.clone(), Sink::default(), args.json);
    let result = command(args, &mut out);
    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    (result, text)
}

#[test]
fn the_list_names_every_scenario() {
    let args = SimArgs {
        list: true,
        name: None,
        seed: 1,
        json: true,
    };
    let (result, text) = run(&args);
    assert_eq!(result.unwrap(), 0);
    let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let names: Vec<_> = listed["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"first-light"), "{names:?}");
    let (_, table) = run(&SimArgs {
        json: false,
        ..args
    });
    assert!(
        table.lines().any(|line| line.starts_with("first-light ")),
        "{table}"
    );
}

#[test]
fn an_unknown_name_is_a_usage_error_that_lists_the_names() {
    let args = SimArgs {
        list: false,
        name: Some("last-light".to_owned()),
        seed: 1,
        json: false,
    };
    let error = run(&args).0.unwrap_err();
    assert_eq!(error.kind().exit_code(), 2);
    assert!(error.message().contains("last-light") && error.message().contains("first-light"));
}

#[test]
fn a_missed_target_is_not_ok() {
    let mut figures = Figures::default();
    figures.add("read", 9);
    figures.add("replays", 0);
    let mut outcome = Outcome {
        figures,
        targets: Vec::new(),
    };
    outcome.want("no_replay", "replays", 0);
    assert!(outcome.ok());
    outcome.want("all_read", "read", 10);
    assert!(!outcome.ok());
    assert_eq!(outcome.targets_object()["all_read"]["met"], false);
    outcome.targets.clear();
    // A figure that was never measured meets nothing.
    outcome.want("unmeasured", "latency", 0);
    assert!(!outcome.ok());
}
