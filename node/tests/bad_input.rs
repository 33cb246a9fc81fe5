//! Bad input at every door of the real binary: each is refused in plain words or dropped and counted, nothing panics,
//! and nothing acknowledged is lost. What lies on the disk of a stopped node is in `damaged_files`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use dht::network::NetworkParams;
use tempfile::TempDir;

#[path = "processes/child.rs"]
mod child;
#[path = "processes/damage.rs"]
mod damage;
#[path = "processes/hostile.rs"]
mod hostile;

use child::{Home, SHORT, Up, arg, murmur, text, until};

/// The characters of an address after its prefix.
const ALPHABET: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

fn home(dir: &TempDir, name: &str) -> Home {
    Home(dir.path().join(name))
}

/// A network of the same values under another name: another network in everything that counts.
fn other_network(dir: &TempDir) -> String {
    let path = dir.path().join("other.network");
    let params = NetworkParams {
        name: "other".into(),
        ..NetworkParams::local()
    };
    fs::write(&path, params.to_cbor()).unwrap();
    arg(&path).to_owned()
}

/// Starts a node that can't start: what it says, after it has ended with exit code 1.
fn refused(home: &Home, args: &[&str]) -> String {
    let mut up = Up::start_on(home, "/ip4/127.0.0.1/tcp/0", args);
    let ended = up.ended(SHORT);
    let said = up.log();
    assert_eq!(ended.code(), Some(1), "{said}");
    let error = &up.events(0)[0]["error"];
    let (message, fix) = (error["message"].as_str(), error["fix"].as_str());
    let (message, fix) = (message.expect("a message"), fix.expect("a fix"));
    assert!(!message.is_empty() && !fix.is_empty());
    up.check_log();
    format!("{message}\n{fix}")
}

#[test]
fn addresses_and_names_are_refused_in_plain_words() {
    let dir = tempfile::tempdir().unwrap();
    let (ada, ben, eve) = (home(&dir, "ada"), home(&dir, "ben"), home(&dir, "eve"));
    let (mut at_ada, mut at_ben) = (Up::start(&ada, &[]), Up::start(&ben, &[]));
    let mut at_eve = Up::start(&eve, &["--network", &other_network(&dir)]);
    for up in [&mut at_ada, &mut at_ben, &mut at_eve] {
        up.listening();
    }
    let good = ben.address();

    // Every place of the data part that a finger may slip on, some of them.
    for at in [5, 20, 41, good.len() - 1] {
        let right = good.as_bytes()[at] as char;
        let wrong = ALPHABET.chars().find(|c| *c != right).unwrap();
        let mut typed = good.clone();
        typed.replace_range(at..=at, &wrong.to_string());
        let said = ada.refusal(&["contact", "add", "ben", &typed]);
        let place = format!("position {}", at + 1);
        assert!(
            said.contains(&format!("{wrong:?}")) && said.contains(&place),
            "{at}: {said}"
        );
        assert!(
            said.contains(&format!("{right:?}")),
            "it says what was meant: {said}"
        );
    }
    let odd = good.replacen(&good[30..31], "b", 1);
    let at = odd.find('b').unwrap() + 1;
    let said = ada.refusal(&["contact", "add", "ben", &odd]);
    assert!(
        said.contains("'b'") && said.contains(&format!("position {at}")),
        "{said}"
    );
    let said = ada.refusal(&["contact", "add", "ben", &good[..good.len() - 1]]);
    assert!(said.contains("1 missing"), "{said}");
    let said = ada.refusal(&["contact", "add", "ben", "hello"]);
    assert!(said.contains("address"), "{said}");

    let said = ada.refusal(&["contact", "add", "me", &ada.address()]);
    assert!(said.contains("your own address"), "{said}");
    let said = ada.refusal(&["contact", "add", "eve", &eve.address()]);
    assert!(said.contains("network"), "{said}");
    assert_eq!(ada.lines(&["contact", "list"]), [serde_json::json!([])]);

    ada.json(&["contact", "add", "benjamin", &good]);
    let said = ada.refusal(&["send", "benjamim", "hi"]);
    assert!(
        said.contains("benjamim") && said.contains("did you mean `benjamin`?"),
        "{said}"
    );
    let said = ada.refusal(&["send", "zoe", "hi"]);
    assert!(
        said.contains("zoe") && said.contains("murmur contact list"),
        "{said}"
    );
    let said = ada.refusal(&["message", "0123456789abcdef0123456789abcdef"]);
    assert!(!said.contains("panicked"), "{said}");
    for up in [at_ada, at_ben, at_eve] {
        up.stop();
    }
}

#[test]
fn a_taken_port_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let listen = format!("/ip4/127.0.0.1/tcp/{port}");
    let home = home(&dir, "n");
    let mut up = Up::start_on(&home, &listen, &[]);
    assert_eq!(up.ended(SHORT).code(), Some(1));
    let error = up.events(0)[0]["error"].clone();
    let said = error["message"].as_str().unwrap();
    assert!(said.contains(&listen) && said.contains("in use"), "{error}");
    up.check_log();
    // Another node of ours counts like anybody else, although both could share the port.
    drop(taken);
    let mut first = Up::start_on(&home, &listen, &[]);
    first.listening();
    let second = Home(dir.path().join("m"));
    let mut up = Up::start_on(&second, &listen, &[]);
    assert_eq!(up.ended(SHORT).code(), Some(1));
    assert!(
        up.events(0)[0]["error"]["message"]
            .as_str()
            .unwrap()
            .contains("in use")
    );
    first.stop();
}

#[test]
fn data_directories_that_cannot_be_used_are_named() {
    let dir = tempfile::tempdir().unwrap();
    // A file in the way, and below it.
    let file = home(&dir, "file");
    fs::write(&file.0, "thesis").unwrap();
    assert!(refused(&file, &[]).contains("is not a directory"));
    let below = Home(file.0.join("below"));
    let out = murmur(&["up", "--json", "--data", arg(&below.0)])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        text(&out.stdout).contains("can't make the data directory"),
        "{}",
        text(&out.stdout)
    );
    assert_eq!(fs::read_to_string(&file.0).unwrap(), "thesis");

    // One that holds something else.
    let foreign = home(&dir, "foreign");
    fs::create_dir(&foreign.0).unwrap();
    fs::write(foreign.0.join("thesis.tex"), "x").unwrap();
    assert!(refused(&foreign, &[]).contains("thesis.tex"));

    // One without the right to write.
    let locked = home(&dir, "locked");
    fs::create_dir(&locked.0).unwrap();
    fs::set_permissions(&locked.0, fs::Permissions::from_mode(0o500)).unwrap();
    if fs::write(locked.0.join("probe"), "").is_ok() {
        println!(
            "SKIPPED: a read-only directory: this user (root?) writes anyway; a file in the way was tried instead"
        );
    } else {
        assert!(refused(&locked, &[]).contains("can't use the data directory"));
    }
    fs::set_permissions(&locked.0, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_directory_of_a_newer_version_or_with_an_open_key_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(&dir, "n");
    let mut up = Up::start(&home, &[]);
    up.listening();
    let address = home.address();

    // In use: the process is named, and the one that runs goes on.
    let mut second = Up::start(&home, &[]);
    assert_eq!(second.ended(SHORT).code(), Some(1));
    let said = second.events(0)[0]["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    let owner = fs::read_to_string(home.0.join("lock")).unwrap();
    assert!(
        said.contains("in use") && said.contains(&format!("process {}", owner.trim())),
        "{said}"
    );
    assert_eq!(home.address(), address);
    up.stop();

    for (file, newer) in [("format", "2\n"), ("store/FORMAT", "9\n")] {
        let path = home.0.join(file);
        let old = fs::read(&path).unwrap();
        fs::write(&path, newer).unwrap();
        let said = refused(&home, &[]);
        let number = newer.trim();
        assert!(
            said.contains(&format!("format {number}")) && said.contains("up to 1"),
            "{said}"
        );
        assert_eq!(fs::read(&path).unwrap(), newer.as_bytes(), "left as it is");
        fs::write(&path, old).unwrap();
    }

    let key = home.0.join("vault.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = refused(&home, &[]);
    assert!(
        said.contains("open to other users") && said.contains("chmod 600"),
        "{said}"
    );
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();

    let mut up = Up::start(&home, &[]);
    up.listening();
    assert_eq!(home.address(), address, "the same node as before");
    up.stop();
}

#[test]
fn garbage_on_a_link_is_dropped_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let home = home(&dir, "n");
    let mut up = Up::start(&home, &[]);
    let to = up.listening();
    let mut noise: Vec<u8> = (0..hostile::FRAME * 40)
        .map(|i| (i * 131 % 251) as u8)
        .collect();
    // Half of them begin like a packet of this version.
    for frame in noise.chunks_mut(hostile::FRAME).step_by(2) {
        frame[0] = 1;
    }
    // Forty whole frames; two and a half; one byte; nothing; a frame of zeros; half a frame.
    let blurts = [
        noise.clone(),
        noise[..hostile::FRAME * 5 / 2].to_vec(),
        vec![1],
        Vec::new(),
        vec![0; hostile::FRAME],
        noise[..hostile::FRAME / 2].to_vec(),
    ];
    let packet = hostile::protocol(&NetworkParams::local().id().0, "packet/1");
    let runtime = child::runtime();
    // Each from a peer of its own: a second stream of the same peer would replace the first.
    let peers: Vec<_> = blurts
        .into_iter()
        .map(|bytes| runtime.block_on(hostile::blurt(&to, &packet, vec![bytes])))
        .collect();
    until("all is counted", SHORT, || {
        // The peers' connections live on this runtime.
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
        let dropped = home.counters().dropped;
        // 40 + 2 + 1 whole frames; three ends in the middle of one.
        let network = ["truncated", "second_stream", "dial_failed", "no_link"];
        let packets = dropped
            .iter()
            .filter(|(reason, _)| !network.contains(&reason.as_str()));
        let packets: u64 = packets.map(|(_, count)| count).sum();
        println!("{dropped:?}");
        (packets == 43 && dropped.get("truncated") == Some(&3)).then_some(())
    });
    let reasons = home.counters().dropped;
    assert!(reasons["version"] >= 20, "{reasons:?}");
    drop(peers);
    assert!(up.is_running());
    assert_eq!(home.status()["peer_id"], to.rsplit('/').next().unwrap());
    up.check_log();
    up.stop();
}

#[test]
fn a_peer_of_another_network_is_counted_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let (ada, eve) = (home(&dir, "ada"), home(&dir, "eve"));
    let mut at_ada = Up::start(&ada, &[]);
    let to = at_ada.listening();
    let mut at_eve = Up::start(
        &eve,
        &["--network", &other_network(&dir), "--bootstrap", &to],
    );
    at_eve.listening();
    for (home, up) in [(&ada, &mut at_ada), (&eve, &mut at_eve)] {
        until("wrong network is counted", SHORT, || {
            (home.dropped("wrong_network") > 0).then_some(())
        });
        until("and said", SHORT, || {
            up.log()
                .contains("a peer of another network was refused")
                .then_some(())
        });
        assert!(up.is_running());
        let status = home.status();
        assert_eq!(
            (status["nodes"].as_u64(), status["ready"].as_bool()),
            (Some(1), Some(false))
        );
        up.check_log();
    }
    at_ada.stop();
    at_eve.stop();
}

/// What `send` acknowledged is there after a kill at any moment.
#[test]
fn a_kill_while_sending_loses_nothing_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (ada, ben) = (home(&dir, "ada"), home(&dir, "ben"));
    let mut at_ben = Up::start(&ben, &[]);
    at_ben.listening();
    // A contact for each round: what waits for one contact is bounded.
    let addresses: Vec<_> = (0..3)
        .map(|round| {
            let made = ben.json(&["address", "--new", &format!("round {round}")]);
            made["address"].as_str().unwrap().to_owned()
        })
        .collect();
    at_ben.stop();

    let mut up = Up::start(&ada, &[]);
    up.listening();
    for (round, address) in addresses.iter().enumerate() {
        ada.json(&["contact", "add", &format!("ben{round}"), address]);
    }
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let stop = AtomicBool::new(false);
        let sent = thread::scope(|scope| {
            let senders: Vec<_> = (0..3)
                .map(|sender| {
                    let (ada, stop) = (&ada, &stop);
                    scope.spawn(move || {
                        let mut acknowledged = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            let body = format!(
                                "round {round} sender {sender} number {}",
                                acknowledged.len()
                            );
                            let out = ada.run(&["send", &format!("ben{round}"), &body, "--json"]);
                            if out.status.code() != Some(0) {
                                break;
                            }
                            let line: serde_json::Value =
                                serde_json::from_slice(&out.stdout).unwrap();
                            acknowledged.push(line["id"].as_str().unwrap().to_owned());
                        }
                        acknowledged
                    })
                })
                .collect();
            // In the middle of it: three senders are always busy.
            thread::sleep(Duration::from_millis(400 + 130 * round));
            up.kill();
            stop.store(true, Ordering::Relaxed);
            senders
                .into_iter()
                .flat_map(|sender| sender.join().unwrap())
                .collect::<Vec<_>>()
        });
        println!("round {round}: {} acknowledged before the kill", sent.len());
        assert!(sent.len() >= 3, "too few to show anything");
        acknowledged.extend(sent);
        up = Up::start(&ada, &[]);
        up.listening();
        for id in &acknowledged {
            assert_eq!(ada.state(id), "queued", "{id} in round {round}");
        }
    }
    up.stop();
}

#[test]
fn damaged_files_stop_a_node_with_a_word_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (ada, ben) = (home(&dir, "ada"), home(&dir, "ben"));
    let mut at_ben = Up::start(&ben, &[]);
    at_ben.listening();
    let address = ben.address();
    at_ben.stop();
    let mut up = Up::start(&ada, &[]);
    up.listening();
    ada.json(&["contact", "add", "ben", &address]);
    let ids: Vec<_> = (0..5)
        .map(|n| ada.send("ben", &format!("message {n}")))
        .collect();
    up.stop();
    damage::each_file(&ada, &ids);
}
