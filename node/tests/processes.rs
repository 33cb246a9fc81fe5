//! Eight `murmur up` processes on one machine: two users write to each other while one of them is stopped and a holder
//! is killed, and a mesh that has become too small waits instead of taking a shorter route.
//!
//! The network's parameters are the demo's (epochs of 20 s), from a file as a user would give it; nothing else differs
//! from a network of any size.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dht::network::NetworkParams;
use mix::time::Moment;
use serde_json::Value;
use storage::backend::disk::DiskBackend;
use storage::backend::{Backend, Space};

#[path = "processes/child.rs"]
mod child;
#[path = "processes/hostile.rs"]
mod hostile;

use child::{Home, Up, arg, until};

/// What the mesh may take to become ready, or a message to arrive, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn eight_processes_deliver_across_a_stop_and_a_kill_and_wait_when_too_few() {
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let mut mesh = Mesh::start(dir.path(), 8);
    mesh.say("all ready", start);
    let (ada, ben) = (mesh.homes[0].clone(), mesh.homes[1].clone());

    // Two users know each other by address.
    let added = ada.json(&["contact", "add", "ben", &ben.address()]);
    assert_eq!(
        (added["name"].as_str(), added["id"].as_str().map(str::len)),
        (Some("ben"), Some(32))
    );
    ben.json(&["contact", "add", "ada", &ada.address()]);

    let first = ada.send("ben", "first, while ben is there");
    let inbox = received(&ben, 1);
    assert_eq!(inbox[0]["from"], "ada");
    mesh.say("first message received", start);

    // Garbage from a stranger changes nothing.
    mesh.stand_garbage(2);

    // The receiver goes, and a second message is kept for it.
    mesh.stop(1);
    let second = ada.send("ben", "second, while ben is away");
    // Usually within half a minute; when routes over the stopped node cost every copy that is asked after, the next
    // round comes after two.
    until("the second message is stored", PATIENCE * 2, || {
        (ada.state(&second) == "stored").then_some(())
    });
    mesh.say("second message stored", start);
    let killed = mesh.kill_a_holder();
    mesh.say("holder killed", start);

    mesh.start_again(1);
    let inbox = received(&ben, 2);
    let bodies: Vec<_> = inbox
        .iter()
        .map(|line| line["body"].as_str().unwrap())
        .collect();
    assert_eq!(
        bodies,
        ["first, while ben is there", "second, while ben is away"]
    );
    let ids: Vec<_> = inbox
        .iter()
        .map(|line| line["id"].as_str().unwrap())
        .collect();
    assert_eq!(
        ids,
        [first.as_str(), second.as_str()],
        "one id on both sides"
    );
    mesh.say("second message received", start);
    for id in [&first, &second] {
        until("the receiver's word comes back", PATIENCE, || {
            (ada.state(id) == "read").then_some(())
        });
        check_life(&ada.message(id));
    }
    mesh.say("both read", start);
    // Nothing comes twice, now that everything has come back.
    assert_eq!(ben.lines(&["inbox"]), inbox);

    // Seven are left: without one more, a node has five peers.
    mesh.all_ready();
    let printed = mesh.up(0).printed();
    let gone = (2..8).find(|one| *one != killed).unwrap();
    mesh.stop(gone);
    let told = mesh
        .up(0)
        .event("too few mixes", printed, PATIENCE, |line| {
            line["event"] == "not_ready" && reasons(line) == ["too_few_mixes(5/6)"]
        });
    assert!(told.get("reasons").is_some());
    let status = ada.status();
    assert_eq!(
        (status["ready"].as_bool(), reasons(&status)),
        (Some(false), vec!["too_few_mixes(5/6)".to_owned()])
    );
    let before = ada.counters();
    let epoch = status["epoch"].as_u64().unwrap();
    let third = ada.send("ben", "third, when there are too few");
    mesh.say("too few", start);
    // Until the epoch has changed: with the new epoch's set, too, nothing is sent.
    until("the next epoch", PATIENCE, || {
        let status = ada.status();
        assert_eq!(status["ready"], false);
        assert!(
            reasons(&status).contains(&"too_few_mixes(5/6)".to_owned()),
            "{status}"
        );
        assert_eq!(ada.state(&third), "queued");
        let now = ada.counters();
        assert_eq!(
            (now.real, now.cover, now.loops.0),
            (before.real, before.cover, before.loops.0)
        );
        (status["epoch"].as_u64().unwrap() > epoch).then_some(())
    });
    assert_eq!(ben.lines(&["inbox"]).len(), 2);
    mesh.say("waited for an epoch", start);

    mesh.start_again(killed);
    mesh.start_again(gone);
    let inbox = received(&ben, 3);
    assert_eq!(inbox[2]["body"], "third, when there are too few");
    until("delivered", PATIENCE, || {
        (ada.state(&third) == "read").then_some(())
    });
    check_life(&ada.message(&third));
    mesh.say("third message read", start);
    for index in 0..8 {
        mesh.up(index).check_log();
        mesh.stop(index);
    }
}

/// The processes of one network and where they live.
struct Mesh {
    homes: Vec<Home>,
    running: Vec<Option<Up>>,
    network: PathBuf,
    bootstrap: Vec<String>,
}

impl Mesh {
    fn start(dir: &Path, nodes: usize) -> Self {
        let network = dir.join("eight.network");
        let born = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let born = Moment::from_millis(u64::try_from(born.as_millis()).unwrap());
        std::fs::write(&network, NetworkParams::demo(born).to_cbor()).unwrap();
        let homes = (0..nodes)
            .map(|index| Home(dir.join(format!("n{index}"))))
            .collect();
        let mut mesh = Self {
            homes,
            running: Vec::new(),
            network,
            bootstrap: Vec::new(),
        };
        for index in 0..nodes {
            let mut up = mesh.spawn(index);
            // The first ones are where the others begin.
            if index < 3 {
                mesh.bootstrap.push(up.listening());
            }
            mesh.running.push(Some(up));
        }
        mesh.all_ready();
        mesh
    }

    fn spawn(&self, index: usize) -> Up {
        let mut args = vec!["--network", arg(&self.network)];
        for peer in &self.bootstrap {
            args.extend(["--bootstrap", peer]);
        }
        Up::start(&self.homes[index], &args)
    }

    fn up(&mut self, index: usize) -> &mut Up {
        self.running[index].as_mut().expect("a running node")
    }

    /// Waits until every running node says it is ready.
    fn all_ready(&mut self) {
        for (index, up) in self.running.iter().enumerate() {
            if up.is_some() {
                until(&format!("node {index} is ready"), PATIENCE, || {
                    (self.homes[index].status()["ready"] == true).then_some(())
                });
            }
        }
    }

    /// A stranger writes noise on this node's link protocol: it is counted, and the node stays ready.
    fn stand_garbage(&mut self, index: usize) {
        let to = self.up(index).listening();
        let printed = self.up(index).printed();
        let params = NetworkParams::from_cbor(&std::fs::read(&self.network).unwrap()).unwrap();
        let noise: Vec<u8> = (0..hostile::FRAME * 10 + 7)
            .map(|i| (i * 131 % 251) as u8)
            .collect();
        let protocol = hostile::protocol(&params.id().0, "packet/1");
        let runtime = child::runtime();
        let peer = runtime.block_on(hostile::blurt(&to, &protocol, vec![noise]));
        until("the half frame is counted", PATIENCE, || {
            (self.homes[index].dropped("truncated") > 0).then_some(())
        });
        drop(peer);
        assert_eq!(self.homes[index].status()["ready"], true);
        assert!(
            self.up(index)
                .events(printed)
                .iter()
                .all(|line| line["event"] != "not_ready")
        );
    }

    fn stop(&mut self, index: usize) {
        self.running[index].take().expect("a running node").stop();
    }

    /// Starts a node again on its directory and says how long it took to be ready.
    fn start_again(&mut self, index: usize) {
        let mut up = self.spawn(index);
        // The others come back one by one: readiness is not this node's alone.
        up.listening();
        if self.running.iter().flatten().count() >= 6 {
            let took = up.ready(PATIENCE);
            println!("node {index}: restart to ready {:.2} s", took.as_secs_f64());
        }
        self.running[index] = Some(up);
    }

    /// Kills nodes without warning until one of them kept a message for the receiver; only that one stays down.
    fn kill_a_holder(&mut self) -> usize {
        for index in 2..8 {
            self.running[index].take().expect("a running node").kill();
            if keeps_parked(&self.homes[index]) {
                return index;
            }
            println!("node {index} kept nothing, so it comes back");
            self.start_again(index);
        }
        panic!("no third node kept the message");
    }

    fn say(&self, what: &str, since: Instant) {
        println!("{:6.1} s  {what}", since.elapsed().as_secs_f64());
    }
}

/// Whether the stopped node's mailbox holds a pairwise box that is kept for days: nothing but a parked message is.
fn keeps_parked(home: &Home) -> bool {
    let store = DiskBackend::open(home.0.join("store")).unwrap();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let in_two_days = u32::try_from(now / 3_600).unwrap() + 48;
    let mut kept = 0;
    for bucket in store
        .buckets()
        .unwrap()
        .into_iter()
        .filter(|bucket| *bucket > in_two_days)
    {
        // A key that begins with 1 is a pairwise box; a tombstone is far shorter than a ciphertext.
        store
            .scan(Space::Bucket(bucket), &[1], &mut |_, value| {
                kept += usize::from(value.len() > storage::SEALED_LEN);
            })
            .unwrap();
    }
    kept > 0
}

/// Reads and acknowledges until `count` messages are there; never more.
fn received(home: &Home, count: usize) -> Vec<Value> {
    until(&format!("{count} messages"), PATIENCE, || {
        let inbox = home.lines(&["inbox", "--ack"]);
        assert!(inbox.len() <= count, "{inbox:?}");
        (inbox.len() == count).then_some(inbox)
    })
}

/// A message that was read went through every state once, in order.
fn check_life(life: &Value) {
    let history = life["history"].as_array().unwrap();
    let states: Vec<_> = history
        .iter()
        .map(|step| step["state"].as_str().unwrap())
        .collect();
    let order = ["queued", "sent", "stored", "delivered", "read"];
    let places: Vec<_> = states
        .iter()
        .map(|state| order.iter().position(|one| one == state).unwrap())
        .collect();
    assert!(places.is_sorted_by(|a, b| a < b), "{life}");
    assert_eq!(
        (states.first(), states.last()),
        (Some(&"queued"), Some(&"read")),
        "{life}"
    );
    assert!(states.contains(&"delivered"), "{life}");
    assert!(
        history
            .iter()
            .all(|step| step["at"].as_u64().unwrap() > 1_700_000_000_000),
        "{life}"
    );
    assert!(life["code"].is_null() && life["reason"].is_null(), "{life}");
}

fn reasons(value: &Value) -> Vec<String> {
    let all = value["reasons"].as_array().unwrap();
    all.iter()
        .map(|reason| reason.as_str().unwrap().to_owned())
        .collect()
}
