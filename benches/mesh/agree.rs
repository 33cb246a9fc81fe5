//! How soon a mesh agrees on one root, and how soon a node that was stopped is ready again.

use std::time::{Duration, Instant};

use dht::network::NetworkParams;
use node::env::Clock;

use crate::{lab, one};

/// What "ready again" may take.
const WANTED: Duration = Duration::from_secs(15);
/// Longer than any mesh takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);
const POLL: Duration = Duration::from_millis(50);
/// Nodes a new one is told about.
const BOOTSTRAPS: usize = 3;

fn params() -> NetworkParams {
    NetworkParams::demo(Clock::start().now())
}

pub(crate) fn in_one_process() {
    let count = lab::size(50, 10);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let root = tempfile::tempdir().unwrap();
    let params = params();
    runtime.block_on(async {
        let started = Instant::now();
        let (mut nodes, mut addresses) = (Vec::new(), Vec::<String>::new());
        for index in 0..count {
            let known = addresses.len().saturating_sub(BOOTSTRAPS);
            let directory = root.path().join(format!("n{index}"));
            let config = one::config(&directory, params.clone(), &addresses[known..]);
            let (node, address) = one::listening(config).await;
            nodes.push(node);
            addresses.push(address);
        }
        let up = started.elapsed();
        loop {
            let mut views = Vec::new();
            for node in &nodes {
                views.push(node.handle.node().await.unwrap());
            }
            let all = |view: &node::view::NodeView| view.ready && view.nodes == count;
            if views.iter().all(all) && same(views.iter().map(one::agreed)) {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "no agreement: {views:?}");
            tokio::time::sleep(POLL).await;
        }
        println!(
            "mesh/agree: {count} nodes in one process: all up after {:.1} s, all ready with one root after {:.1} s",
            up.as_secs_f64(),
            started.elapsed().as_secs_f64()
        );
        for node in nodes {
            node.stop().await.unwrap();
        }
    });
}

pub(crate) fn in_ten_processes() {
    let count = lab::size(10, 7);
    let restarts = lab::size(5, 1);
    let root = tempfile::tempdir().unwrap();
    let network = root.path().join("ten.network");
    std::fs::write(&network, params().to_cbor()).unwrap();
    let directory = |index: usize| root.path().join(format!("n{index}"));
    let started = Instant::now();
    let (mut children, mut addresses) = (Vec::new(), Vec::<String>::new());
    for index in 0..count {
        let known = addresses.len().min(BOOTSTRAPS);
        let (child, address) = one::start(&directory(index), &network, &addresses[..known]);
        children.push(child);
        addresses.push(address);
    }
    let everybody = format!(" {count} ");
    loop {
        let views: Vec<String> = children.iter_mut().map(|one| one.ask("view")).collect();
        let all = |view: &String| view.starts_with("true") && view.contains(&everybody);
        if views.iter().all(all) && same(views.iter()) {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "no agreement: {views:?}");
        std::thread::sleep(POLL);
    }
    println!(
        "mesh/agree: {count} processes: all ready with one root after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let mut times = Vec::new();
    for round in 0..restarts {
        let index = count - 1 - round;
        let mut child = children.remove(index);
        child.tell("stop");
        child.end();
        let begun = Instant::now();
        // Nobody is named to it: it knows its peers from its directory alone.
        let (mut child, _) = one::start(&directory(index), &network, &[]);
        child.ask("ready");
        times.push(begun.elapsed());
        children.insert(index, child);
    }
    times.sort_unstable();
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    println!(
        "mesh/restart: {restarts} restarts to ready from cached peers alone: median {:.2} s, longest {:.2} s (wanted: {} s)",
        median.as_secs_f64(),
        most.as_secs_f64(),
        WANTED.as_secs()
    );
    for mut child in children {
        child.tell("stop");
        child.end();
    }
}

fn same<T: PartialEq>(mut all: impl Iterator<Item = T>) -> bool {
    let first = all.next();
    all.all(|other| Some(other) == first)
}
