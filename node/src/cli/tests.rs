//! The commands as a user calls them, in front of a fake node: output, JSON shapes, exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod running;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::api::{self, Server, fake};
use crate::view::{
    AlarmState, AlarmView, ContactView, Degraded, DutyView, Event, LinkView, PeersView, PkiView,
    WeightView,
};

/// A writer whose content can be read afterwards, or a pipe that nobody reads.
#[derive(Clone, Default)]
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    broken: bool,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Pipe {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

struct Ran {
    code: u8,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        assert_eq!(
            self.stdout.lines().count(),
            1,
            "one document: {}",
            self.stdout
        );
        assert_eq!(self.stderr, "");
        serde_json::from_str(&self.stdout).unwrap()
    }
}

struct Bench {
    dir: TempDir,
    _server: Server,
    fake: fake::Fake,
}

impl Bench {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (node, fake) = fake::node();
        Self {
            _server: api::serve(dir.path(), node).unwrap(),
            dir,
            fake,
        }
    }

    async fn run(&self, args: &[&str]) -> Ran {
        run_in(self.dir.path(), args).await
    }
}

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["murmur"].iter().chain(args))
}

async fn run_in(dir: &std::path::Path, args: &[&str]) -> Ran {
    let mut cli = parse(args).unwrap();
    cli.data = Some(dir.to_owned());
    let (stdout, stderr) = (Pipe::default(), Pipe::default());
    let mut out = Out::to(stdout.clone(), stderr.clone(), cli.json);
    let result = execute(cli.data, cli.command, &mut out).await;
    let code = finish(result, &mut out);
    Ran {
        code,
        stdout: stdout.text(),
        stderr: stderr.text(),
    }
}

#[test]
fn the_definition_holds_together() {
    command().debug_assert();
}

#[test]
fn commands_are_read_as_documented() {
    for line in [
        "demo",
        "demo --nodes 50 --messages 50 --json",
        "demo --seconds 5",
        "up",
        "up --network local --profile mobile",
        "up --data d --listen /ip4/127.0.0.1/tcp/0 --listen /ip4/127.0.0.1/tcp/1 --bootstrap x",
        "up --quic",
        "address",
        "address --new shop --qr",
        "contact add bob mur1x",
        "contact list",
        "contact rm bob",
        "send bob hi",
        "send bob - --deadline 60s --class slow --wait delivered",
        "send bob",
        "inbox --follow --ack",
        "message 00",
        "status --json --data d",
        "--data d --json status",
        "config check",
        "completions bash",
        "sim --list",
        "sim first-light --seed 7 --json",
    ] {
        assert!(
            parse(&line.split(' ').collect::<Vec<_>>()).is_ok(),
            "{line}"
        );
    }
    for line in [
        "",
        "dance",
        "send",
        "demo --nodes 3",
        "demo --nodes x",
        "demo --messages 0",
        "send bob hi --deadline soon",
        "send bob hi --wait queued",
        "send bob hi --class warp",
        "sim",
        "sim --list x",
        "contact",
        "contact add bob",
        "up --profile huge",
        "up --token secret",
    ] {
        let args: Vec<_> = line.split(' ').filter(|arg| !arg.is_empty()).collect();
        let error = parse(&args).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    assert_eq!(parse(&["--help"]).unwrap_err().exit_code(), 0);
}

#[test]
fn demo_and_sim_arguments_arrive() {
    let Command::Demo(demo) = parse(&["demo"]).unwrap().command else {
        panic!()
    };
    assert_eq!(
        demo,
        DemoArgs {
            nodes: 20,
            messages: 10,
            seconds: None,
            json: false
        }
    );
    let Command::Sim(sim) = parse(&["sim", "first-light", "--seed", "7"])
        .unwrap()
        .command
    else {
        panic!()
    };
    assert_eq!(
        sim,
        SimArgs {
            list: false,
            name: Some("first-light".to_owned()),
            seed: 7,
            json: false
        }
    );
}

#[tokio::test]
async fn addresses_are_shown_and_made() {
    let bench = Bench::new();
    assert_eq!(
        bench.run(&["address", "--json"]).await.json(),
        json!({ "address": "mur1default" })
    );
    assert_eq!(
        bench
            .run(&["address", "--new", "shop", "--json"])
            .await
            .json(),
        json!({ "address": "mur1shop" })
    );
    assert_eq!(bench.run(&["address"]).await.stdout, "mur1default\n");
    let qr = bench.run(&["address", "--qr"]).await;
    assert!(
        qr.stdout.lines().count() > 10 && qr.stdout.contains('█'),
        "{}",
        qr.stdout
    );
}

#[tokio::test]
async fn contacts_are_added_listed_and_removed() {
    let bench = Bench::new();
    let added = bench
        .run(&["contact", "add", "carol", "mur1q", "--json"])
        .await;
    assert_eq!(
        added.json(),
        json!({ "name": "carol", "id": "cd".repeat(16) })
    );
    let list = bench.run(&["contact", "list"]).await.stdout;
    let id = "cd".repeat(16);
    assert_eq!(
        list,
        format!("NAME   STATE  ID\nbob    ready  {id}\ncarol  ready  {id}\n")
    );
    assert_eq!(
        bench.run(&["contact", "list", "--json"]).await.json()[1]["name"],
        "carol"
    );

    let wrong = bench.run(&["contact", "add", "dave", "murx"]).await;
    assert_eq!((wrong.code, wrong.stdout.as_str()), (1, ""));
    assert_eq!(
        wrong.stderr,
        "error: the address has a wrong character `x` at position 7\nfix: copy it again\n"
    );

    assert_eq!(
        bench
            .run(&["contact", "rm", "carol", "--json"])
            .await
            .json(),
        json!({ "name": "carol", "removed": true })
    );
    let gone = bench.run(&["contact", "rm", "carol", "--json"]).await;
    assert_eq!(
        (gone.code, gone.json()["error"]["code"].as_str()),
        (1, Some("not_found"))
    );
}

#[tokio::test]
async fn a_message_is_sent_and_its_life_shown() {
    let bench = Bench::new();
    let sent = bench
        .run(&[
            "send",
            "bob",
            "hi",
            "--deadline",
            "90s",
            "--class",
            "slow",
            "--json",
        ])
        .await;
    let id = bench.fake.last_id();
    assert_eq!(
        (sent.code, sent.json()),
        (0, json!({ "id": id, "state": "queued" }))
    );
    {
        let state = bench.fake.state.lock().unwrap();
        assert_eq!(
            (state.sent[0].deadline_ms, state.sent[0].slow),
            (Some(90_000), true)
        );
    }
    bench.fake.advance(&id, MessageState::Sent);
    let life = bench.run(&["message", &id, "--json"]).await.json();
    let history = json!([{ "state": "queued", "at": 1000 }, { "state": "sent", "at": 1500 }]);
    assert_eq!(
        life,
        json!({ "id": id, "state": "sent", "history": history, "code": null, "reason": null })
    );
    let shown = bench.run(&["message", &id]).await.stdout;
    let table = "STATE   AT (UTC)             AFTER\nqueued  1970-01-01 00:00:01  +0.000 s\nsent    1970-01-01 00:00:01  +0.500 s\n";
    assert_eq!(shown, format!("{id} to bob: sent\n{table}"));
    bench.fake.advance(&id, MessageState::Failed);
    let failed = bench.run(&["message", &id]).await;
    assert!(
        failed.stdout.contains("nobody fetched it (too_old)"),
        "{}",
        failed.stdout
    );
    assert_eq!(bench.run(&["message", "00"]).await.code, 1);
}

#[tokio::test]
async fn a_wait_gives_the_exit_code() {
    let cases = [
        (MessageState::Delivered, "stored", 0),
        (MessageState::Sent, "sent", 0),
        (MessageState::Failed, "stored", 1),
        (MessageState::Expired, "sent", 5),
    ];
    for (reached, wanted, code) in cases {
        let bench = Bench::new();
        let args = ["send", "bob", "hi", "--wait", wanted, "--json"];
        let (ran, ()) = tokio::join!(bench.run(&args), async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            bench.fake.advance(&bench.fake.last_id(), reached);
        });
        assert_eq!(ran.code, code, "{reached:?}");
        assert_eq!(ran.json()["state"], serde_json::to_value(reached).unwrap());
    }
}

#[tokio::test]
async fn a_wait_that_runs_out_is_a_deadline() {
    let bench = Bench::new();
    let ran = bench
        .run(&["send", "bob", "hi", "--wait", "read", "--deadline", "100ms"])
        .await;
    assert_eq!(ran.code, 5);
    assert!(ran.stdout.ends_with("to bob: queued\n"), "{}", ran.stdout);
    assert!(
        ran.stderr.starts_with("it is not read yet (queued)"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn an_unknown_contact_suggests_near_names() {
    let bench = Bench::new();
    bench.fake.state.lock().unwrap().contacts =
        vec![fake::contact("bobby"), fake::contact("alice")];
    let ran = bench.run(&["send", "bobbi", "hi"]).await;
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.stderr,
        "error: there is no `bobbi`\nfix: did you mean `bobby`? `murmur contact list` shows all\n"
    );
    let ran = bench.run(&["send", "zed", "hi", "--json"]).await;
    assert!(
        ran.stdout
            .starts_with(r#"{"error":{"code":"not_found","message":"there is"#),
        "in the documented order"
    );
    let error = json!({ "code": "not_found", "message": "there is no `zed`", "fix": "see `murmur contact list`" });
    assert_eq!(ran.json(), json!({ "error": error }));
}

#[tokio::test]
async fn a_message_too_long_never_leaves() {
    let bench = Bench::new();
    let long = "x".repeat(crate::handle::MAX_MESSAGE + 1);
    let ran = bench.run(&["send", "bob", &long, "--json"]).await;
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].as_str()),
        (1, Some("message_too_long"))
    );
    assert!(bench.fake.state.lock().unwrap().sent.is_empty());
}

#[tokio::test]
async fn the_inbox_is_printed_and_acknowledged() {
    let bench = Bench::new();
    assert_eq!(bench.run(&["inbox"]).await.stdout, "");
    for number in 0..=api::MAX_PAGE {
        bench.fake.receive(&format!("line {number}\nmore"));
    }
    bench.fake.state.lock().unwrap().inbox[1].encoding = "base64".to_owned();
    let lines = bench.run(&["inbox", "--json"]).await.stdout;
    assert_eq!(
        lines.lines().count(),
        api::MAX_PAGE + 1,
        "more than one page"
    );
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let id = format!("{:032x}", 1);
    assert_eq!(
        lines[0],
        json!({ "id": id, "from": "bob", "body": "line 0\nmore", "received_at": 1000 })
    );
    assert_eq!(lines[1]["encoding"], "base64");
    let shown = bench.run(&["inbox", "--ack"]).await.stdout;
    assert!(
        shown.starts_with(&format!(
            "1970-01-01 00:00:01  bob  new  {id}\n  line 0\n  more\n"
        )),
        "{shown}"
    );
    assert!(
        bench
            .fake
            .state
            .lock()
            .unwrap()
            .inbox
            .iter()
            .all(|message| message.acked)
    );
    assert!(!bench.run(&["inbox"]).await.stdout.contains("new"));
}

#[tokio::test]
async fn following_prints_what_comes() {
    let bench = Bench::new();
    bench.fake.receive("before");
    let (stdout, stderr) = (Pipe::default(), Pipe::default());
    let mut out = Out::to(stdout.clone(), stderr, true);
    let client = Client::new(bench.dir.path()).unwrap();
    let args = InboxArgs {
        follow: true,
        ack: false,
    };
    let follow = inbox::inbox(&client, &args, &mut out);
    let script = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bench.fake.receive("after");
        while stdout.text().lines().count() < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        ended = follow => panic!("it ended: {ended:?}"),
        () = script => {}
        () = tokio::time::sleep(Duration::from_secs(10)) => panic!("nothing came: {}", stdout.text()),
    }
    assert!(stdout.text().contains("after"));
}

#[tokio::test]
async fn the_status_has_its_shape() {
    let bench = Bench::new();
    let expected = json!({
        "peer_id": "12D3KooWfake", "listen": ["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWfake"], "ready": true, "reasons": [],
        "epoch": 7, "root": "ab".repeat(32), "certified": false, "degraded": true, "nodes": 8, "on_duty": 8, "behind_nat": false,
        "profile": "balanced",
        "pki": {
            "epoch": 0, "root": "", "certified": false, "degraded": null, "certificate": null, "committee": 0, "quorum": 0,
            "votes": 0, "nodes": 0, "banned": 0,
        },
        "duty": { "on_duty": false, "until": 0, "flock": 0 },
        "weight": { "declared": 0, "granted": null, "age": null, "mixes_from": 0, "full_from": 0, "holds": false },
        "warnings": [], "alarms": 0,
    });
    assert_eq!(bench.run(&["status", "--json"]).await.json(), expected);
    {
        let mut state = bench.fake.state.lock().unwrap();
        state.node.ready = false;
        state.node.reasons = vec!["too_few_mixes(3/6)".to_owned()];
    }
    let shown = bench.run(&["status"]).await;
    assert_eq!(shown.code, 0);
    assert!(
        shown
            .stdout
            .starts_with("ready      no: too_few_mixes(3/6)\nnetwork    local\n"),
        "{}",
        shown.stdout
    );
}

#[tokio::test]
async fn the_mesh_is_told_in_words() {
    let bench = Bench::new();
    let pki = PkiView {
        epoch: 7,
        root: "ab".repeat(32),
        degraded: Some(Degraded::Uncertified),
        committee: 5,
        quorum: 4,
        votes: 3,
        nodes: 8,
        ..PkiView::default()
    };
    let peers = PeersView {
        pki: pki.clone(),
        duty: DutyView {
            on_duty: true,
            until: 3_723_000,
            flock: 8,
        },
        weight: WeightView {
            declared: 4,
            granted: Some(1),
            age: Some(3),
            mixes_from: 2,
            full_from: 12,
            holds: false,
        },
        links: vec![LinkView {
            node: "0011223344556677".to_owned(),
            weight: Some(4),
            age: Some(15),
            on_duty: true,
            holds: true,
        }],
        warnings: vec!["pki_degraded".to_owned()],
    };
    bench.fake.state.lock().unwrap().peers = peers.clone();
    let shown = bench.run(&["peers"]).await;
    for part in [
        "root         abababababababab\n",
        "directory    degraded: 3 of 5 witnesses signed, 4 are needed; it is what gossip brought\n",
        "certificate  none\n",
        "duty         on duty until 01:02:03 UTC, one of 8\n",
        "own weight   1 of 4: 3 certified epochs old; it counts in full from 12\n",
        "warning      pki_degraded: nobody vouches",
        "links        1 up\n",
        "0011223344556677  4       15   yes      yes\n",
    ] {
        assert!(shown.stdout.contains(part), "{part} in\n{}", shown.stdout);
    }
    let json = bench.run(&["peers", "--json"]).await.json();
    assert_eq!(json["pki"]["degraded"], "uncertified");
    assert_eq!(json["links"][0]["age"], 15);
    {
        let mut state = bench.fake.state.lock().unwrap();
        state.node.pki = PkiView {
            certified: true,
            degraded: None,
            certificate: Some("cd".repeat(32)),
            votes: 5,
            ..pki
        };
        state.node.weight = peers.weight;
        state.node.warnings = vec!["split_view".to_owned()];
    }
    let status = bench.run(&["status"]).await.stdout;
    for part in [
        "directory  certified: 5 of 5 witnesses signed, 4 are enough\n",
        "certified  cdcdcdcdcdcdcdcd\n",
        "weight     1 of 4",
        "warning    split_view: a contact's node knows another mesh; see `murmur alarms`\n",
    ] {
        assert!(status.contains(part), "{part} in\n{status}");
    }
}

#[tokio::test]
async fn alarms_say_with_whom_what_it_means_and_what_to_do() {
    let bench = Bench::new();
    assert!(bench.run(&["alarms"]).await.stdout.starts_with("no alarm"));
    let alarm = AlarmView {
        id: "0a0b0c0d-7".to_owned(),
        with: Some("bob\u{1b}".to_owned()),
        epoch: 7,
        raised_at: 1_000,
        state: AlarmState::Proven,
        own_root: "ab".repeat(32),
        their_root: Some("cd".repeat(32)),
        own_certificate: Some("01".repeat(9)),
        their_certificate: Some("02".repeat(9)),
        double_signers: 3,
        seen: false,
    };
    bench.fake.state.lock().unwrap().alarms = vec![alarm];
    let shown = bench.run(&["alarms"]).await.stdout;
    for part in [
        "0a0b0c0d-7\n",
        "epoch 7",
        "3 witnesses signed both",
        "here:  root abababababababab\n",
        "there: root cdcdcdcdcdcdcdcd\n",
        "over another channel",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'));
    let json = bench.run(&["alarms", "--json"]).await.json();
    assert_eq!(json[0]["their_certificate"], "02".repeat(9));
    assert_eq!(json[0]["state"], "proven");
    assert!(
        json[0]["advice"]
            .as_str()
            .unwrap()
            .contains("--seen 0a0b0c0d-7")
    );
    let seen = bench.run(&["alarms", "--seen", "0a0b0c0d-7"]).await;
    assert!(seen.stdout.contains("(seen)"), "{}", seen.stdout);
    assert_eq!(bench.run(&["alarms", "--seen", "nothing"]).await.code, 1);
}

#[tokio::test]
async fn without_a_node_every_command_says_so() {
    let dir = TempDir::new().unwrap();
    for args in [
        &["status"][..],
        &["address"],
        &["contact", "list"],
        &["contact", "add", "a", "b"],
        &["contact", "rm", "a"],
        &["send", "bob", "hi"],
        &["inbox"],
        &["inbox", "--follow"],
        &["message", "00"],
    ] {
        let ran = run_in(dir.path(), args).await;
        assert_eq!(ran.code, 3, "{args:?}");
        assert!(
            ran.stderr.contains("no node is running on"),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stderr.contains("fix: start it with `murmur up`"),
            "{}",
            ran.stderr
        );
    }
    let ran = run_in(dir.path(), &["status", "--json"]).await;
    assert_eq!(
        (ran.code, ran.json()["error"]["code"].as_str()),
        (3, Some("not_running"))
    );
}

#[tokio::test]
async fn settings_are_checked() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join(crate::config::FILE_NAME);
    let ran = run_in(dir.path(), &["config", "check", "--json"]).await;
    assert_eq!(
        (ran.json()["ok"].as_bool(), &ran.json()["file"]),
        (Some(true), &Value::Null)
    );
    std::fs::write(&file, "profile = \"strong\"\n").unwrap();
    let ran = run_in(dir.path(), &["config", "check", "--json"]).await;
    assert_eq!(ran.json()["settings"]["profile"], "strong");
    assert_eq!(ran.json()["settings"]["network"], "local");
    assert!(
        run_in(dir.path(), &["config", "check"])
            .await
            .stdout
            .contains("profile    strong")
    );
    std::fs::write(&file, "\nprofile = \"huge\"\n").unwrap();
    let ran = run_in(dir.path(), &["config", "check"]).await;
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("murmur.toml:2: unknown variant `huge`"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_reader_that_went_away_is_no_failure() {
    let bench = Bench::new();
    let stderr = Pipe::default();
    let mut out = Out::to(
        Pipe {
            broken: true,
            ..Pipe::default()
        },
        stderr.clone(),
        false,
    );
    let cli = parse(&["status"]).unwrap();
    let result = execute(Some(bench.dir.path().to_owned()), cli.command, &mut out).await;
    assert_eq!(
        (finish(result, &mut out), stderr.text()),
        (0, String::new())
    );
}

#[tokio::test]
async fn what_others_write_cannot_drive_the_terminal() {
    let bench = Bench::new();
    bench.fake.receive("\u{1b}[2J\u{202e}olleh\rx");
    let shown = bench.run(&["inbox"]).await.stdout;
    assert!(
        shown.contains("\\u{1b}[2J\\u{202e}olleh\\u{d}x"),
        "{shown:?}"
    );
}
