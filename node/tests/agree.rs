//! Ten `murmur up` processes agree on one set of nodes, and one that stops finds its way back by what is in its directory.
//!
//!     cargo test --package murmuration-node --test agree -- --nocapture
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dht::network::NetworkParams;
use mix::time::Moment;
use serde_json::Value;

#[path = "processes/child.rs"]
mod child;

use child::{Home, Up, arg, until};

const NODES: usize = 10;
/// What the mesh may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn ten_processes_agree_and_one_comes_back_by_its_cached_peers() {
    let dir = tempfile::tempdir().unwrap();
    let network = dir.path().join("ten.network");
    let born = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let born = Moment::from_millis(u64::try_from(born.as_millis()).unwrap());
    std::fs::write(&network, NetworkParams::demo(born).to_cbor()).unwrap();
    let start = Instant::now();
    let homes: Vec<Home> = (0..NODES)
        .map(|index| Home(dir.path().join(format!("n{index}"))))
        .collect();
    let mut running = Vec::new();
    let mut bootstrap: Vec<String> = Vec::new();
    for home in &homes {
        let mut args = vec!["--network", arg(&network)];
        for peer in bootstrap.iter().take(3) {
            args.extend(["--bootstrap", peer]);
        }
        let mut up = Up::start(home, &args);
        bootstrap.push(up.listening());
        running.push(up);
    }
    let agreed = agreement(&homes);
    println!(
        "{NODES} processes hold one root after {:.1} s: {agreed}",
        start.elapsed().as_secs_f64()
    );

    // One goes and comes back without anybody being named to it: its peers are in its directory.
    let last = NODES - 1;
    running.pop().unwrap().stop();
    let mut up = Up::start(&homes[last], &["--network", arg(&network)]);
    up.listening();
    let took = up.ready(PATIENCE);
    println!(
        "restart to ready from cached peers: {:.2} s",
        took.as_secs_f64()
    );
    // It says that it listens, that messages can't flow yet, and that they can: in this order, and never a smaller mesh.
    let said = up.events(0);
    let place = |what: &str| said.iter().position(|line| line["event"] == what);
    assert!(place("listening") < place("ready"), "{said:?}");
    let smaller = |line: &&Value| line["event"] == "epoch" && line["nodes"] != NODES;
    assert_eq!(said.iter().find(smaller), None, "{said:?}");
    running.push(up);
    let again = agreement(&homes);
    println!("and all agree again: {again}");
    for up in running {
        up.stop();
    }
}

/// Waits until all are ready and say the same of their epoch; what they say.
fn agreement(homes: &[Home]) -> String {
    until("all hold one root", PATIENCE, || {
        let mut said = homes.iter().map(|home| {
            let status = home.status();
            let whole = status["ready"] == true && status["nodes"] == NODES;
            let view = ["epoch", "root", "certified", "nodes"].map(|key| status[key].to_string());
            whole.then(|| view.join(" "))
        });
        let first = said.next()??;
        said.all(|other| other.as_ref() == Some(&first))
            .then_some(first)
    })
}
