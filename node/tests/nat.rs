//! A node behind a NAT joins a mesh, finds out, goes on as a leaf, and receives.
//!
//! The NAT is one of the kernel's own, between network namespaces that this test makes and that vanish with it: nine processes,
//! eight of them in the "internet" (one namespace), one behind a router that masquerades. No rights are needed where users may
//! make namespaces; where they may not, the test says so on stderr and ends.
//!
//!     cargo test --package murmuration-node --test nat -- --nocapture
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dht::network::NetworkParams;
use mix::time::Moment;

#[path = "processes/child.rs"]
mod child;
#[path = "nat/masquerade.rs"]
mod masquerade;
#[path = "nat/world.rs"]
mod world;

use child::{Home, Up, arg, until};
use world::{Part, World};

/// What the mesh may take to become ready, or a message to arrive, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);
/// Nodes that everybody can dial.
const PUBLIC: usize = 8;

/// The test's name: it runs itself again, inside.
const NAME: &str = "a_node_behind_a_nat_joins_and_receives";

#[test]
fn a_node_behind_a_nat_joins_and_receives() {
    match world::part() {
        Part::Outside => world::enter(NAME),
        Part::Router => masquerade::switch_on().unwrap(),
        Part::Inside => play(&World::make(NAME)),
    }
}

fn play(world: &World) {
    let dir = tempfile::tempdir().unwrap();
    let network = dir.path().join("nat.network");
    let born = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let born = Moment::from_millis(u64::try_from(born.as_millis()).unwrap());
    std::fs::write(&network, NetworkParams::demo(born).to_cbor()).unwrap();
    let mut args: Vec<&str> = vec!["--network", arg(&network)];

    let mut public: Vec<Up> = Vec::new();
    let mut bootstrap: Vec<String> = Vec::new();
    for index in 0..PUBLIC {
        let home = Home(dir.path().join(format!("public{index}")));
        let mut args: Vec<&str> = args.clone();
        for peer in &bootstrap {
            args.extend(["--bootstrap", peer]);
        }
        let mut up = Up::start_on(&home, &format!("/ip4/{}/tcp/0", world::PUBLIC_IP), &args);
        if index < 3 {
            bootstrap.push(up.listening());
        }
        public.push(up);
    }
    for peer in &bootstrap {
        args.extend(["--bootstrap", peer]);
    }
    for up in &mut public {
        up.ready(PATIENCE);
    }
    println!("{PUBLIC} public nodes are ready");

    let home = Home(dir.path().join("home"));
    let listen = format!("/ip4/{}/tcp/0", world::HOME_IP);
    let (program, before) = world.at_home();
    let mut up = Up::start_by(&home, program, &before, &listen, &args);
    let own = up.listening();
    assert!(
        own.starts_with(&format!("/ip4/{}/", world::HOME_IP)),
        "{own}"
    );
    let took = up.ready(PATIENCE);
    println!(
        "the node at home is ready after {:.1} s",
        took.as_secs_f64()
    );

    // Two neighbours have tried to dial it by now or soon, under the only address they know: the router's.
    until("it knows that it is behind a NAT", PATIENCE, || {
        (home.status()["behind_nat"] == true).then_some(())
    });
    for one in &public {
        assert_eq!(one.home.status()["behind_nat"], false);
    }
    // From the next epoch on nobody counts on it as a hop.
    until("it is a leaf", PATIENCE, || {
        let status = public[0].home.status();
        let leaf = status["nodes"] == PUBLIC + 1 && status["on_duty"] == PUBLIC;
        leaf.then_some(())
    });
    until("it is ready as a leaf", PATIENCE, || {
        (home.status()["ready"] == true).then_some(())
    });
    println!("it is a leaf of {PUBLIC} hops, and ready");

    let ada = &public[0].home;
    ada.json(&["contact", "add", "ben", &home.address()]);
    home.json(&["contact", "add", "ada", &ada.address()]);
    let first = ada.send("ben", "is anybody home?");
    let inbox = until("the message arrives behind the NAT", PATIENCE, || {
        let inbox = home.lines(&["inbox", "--ack"]);
        (!inbox.is_empty()).then_some(inbox)
    });
    assert_eq!(inbox[0]["body"], "is anybody home?");
    assert_eq!(inbox[0]["from"], "ada");
    let answer = home.send("ada", "somebody is");
    let inbox = until("the answer arrives", PATIENCE, || {
        let inbox = ada.lines(&["inbox", "--ack"]);
        (!inbox.is_empty()).then_some(inbox)
    });
    assert_eq!(inbox[0]["body"], "somebody is");
    until("both are read", PATIENCE, || {
        (ada.state(&first) == "read" && home.state(&answer) == "read").then_some(())
    });
    println!("a message and its answer were read on both sides of the NAT");
    // The NAT was one to the end: nobody out here gets in by himself.
    assert!(!world.can_dial(&own), "{own} can be dialled from outside");
    up.stop();
    for up in public {
        up.stop();
    }
}
