//! Real `murmur` processes under test: started, watched, asked, stopped, killed. Only our own children are ever signalled.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "two test binaries share this room and neither uses all of it"
)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use node::client::Client;
use node::view::CounterView;
use serde_json::Value;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);
/// What any short command may take on a busy machine.
pub const SHORT: Duration = Duration::from_secs(20);

/// `murmur` with no setting but its arguments.
pub fn murmur(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_murmur"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MURMUR_") {
            command.env_remove(name);
        }
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Looks until `look` finds something; panics with `what` when `limit` is over.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(POLL);
    }
}

/// A node's data directory and the commands on it, whether its node runs or not.
#[derive(Clone)]
pub struct Home(pub PathBuf);

impl Home {
    /// Runs a command on this directory to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        murmur(args).arg("--data").arg(&self.0).output().unwrap()
    }

    /// The one JSON document of a command that succeeds.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.run(&[args, &["--json"]].concat());
        let shown = format!(
            "murmur {args:?}: {}{}",
            text(&out.stdout),
            text(&out.stderr)
        );
        assert_eq!(out.status.code(), Some(0), "{shown}");
        serde_json::from_slice(&out.stdout).expect(&shown)
    }

    /// The JSON lines of a command that succeeds.
    pub fn lines(&self, args: &[&str]) -> Vec<Value> {
        let out = self.run(&[args, &["--json"]].concat());
        let shown = format!(
            "murmur {args:?}: {}{}",
            text(&out.stdout),
            text(&out.stderr)
        );
        assert_eq!(out.status.code(), Some(0), "{shown}");
        text(&out.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect(&shown))
            .collect()
    }

    /// What a command that fails says on stderr: `error: …` and `fix: …`.
    pub fn refusal(&self, args: &[&str]) -> String {
        let out = self.run(args);
        let said = text(&out.stderr).to_owned();
        assert_eq!(
            out.status.code(),
            Some(1),
            "{args:?}: {}{said}",
            text(&out.stdout)
        );
        assert!(said.contains("error: ") && said.contains("fix: "), "{said}");
        said
    }

    pub fn address(&self) -> String {
        self.json(&["address"])["address"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// Sends a text; the message's id.
    pub fn send(&self, to: &str, body: &str) -> String {
        self.json(&["send", to, body])["id"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub fn message(&self, id: &str) -> Value {
        self.json(&["message", id])
    }

    /// The state a message is in.
    pub fn state(&self, id: &str) -> String {
        self.message(id)["state"].as_str().unwrap().to_owned()
    }

    /// The packet counters, over the API's socket.
    pub fn counters(&self) -> CounterView {
        let client = Client::new(&self.0).unwrap();
        runtime()
            .block_on(client.get("/counters", Duration::ZERO))
            .unwrap()
    }

    /// How often packets or peers were dropped for `reason`.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.counters().dropped.get(reason).copied().unwrap_or(0)
    }
}

/// A running `murmur up`. Killed when dropped; its stderr is printed if the test is failing.
pub struct Up {
    pub home: Home,
    pub started: Instant,
    child: Child,
    lines: Arc<Mutex<Vec<Value>>>,
    stderr: PathBuf,
}

impl Up {
    /// Starts a node on `home` with its first port free.
    pub fn start(home: &Home, args: &[&str]) -> Self {
        Self::start_on(home, "/ip4/127.0.0.1/tcp/0", args)
    }

    pub fn start_on(home: &Home, listen: &str, args: &[&str]) -> Self {
        Self::run(home, murmur(&[]), listen, args)
    }

    /// As [`start_on`](Self::start_on), by a program that becomes `murmur` when it has done what it is for: `before` stands between
    /// the two.
    pub fn start_by(
        home: &Home,
        program: &str,
        before: &[String],
        listen: &str,
        args: &[&str],
    ) -> Self {
        let node = murmur(&[]);
        let mut command = Command::new(program);
        command.args(before).arg(node.get_program());
        for (name, value) in node.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.stdin(Stdio::null());
        Self::run(home, command, listen, args)
    }

    fn run(home: &Home, mut command: Command, listen: &str, args: &[&str]) -> Self {
        let stderr = home.0.with_extension("stderr");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&stderr)
            .unwrap();
        let mut child = command
            .args(["up", "--json", "--listen", listen])
            .args(args)
            .arg("--data")
            .arg(&home.0)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, sink) = (child.stdout.take().unwrap(), Arc::clone(&lines));
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line)
                    .unwrap_or_else(|_| serde_json::json!({ "event": "not JSON", "line": line }));
                sink.lock().unwrap().push(value);
            }
        });
        Self {
            home: home.clone(),
            started: Instant::now(),
            child,
            lines,
            stderr,
        }
    }

    /// The lines printed from number `from` on.
    pub fn events(&self, from: usize) -> Vec<Value> {
        self.lines
            .lock()
            .unwrap()
            .get(from..)
            .unwrap_or_default()
            .to_vec()
    }

    /// How many lines were printed.
    pub fn printed(&self) -> usize {
        self.lines.lock().unwrap().len()
    }

    /// Waits for a line from number `from` on.
    pub fn event(
        &mut self,
        what: &str,
        from: usize,
        limit: Duration,
        is_it: impl Fn(&Value) -> bool,
    ) -> Value {
        let name = self.home.0.display().to_string();
        until(&format!("{name}: {what}"), limit, || {
            let found = self.events(from).into_iter().find(&is_it);
            let ended = self.child.try_wait().unwrap();
            assert!(
                found.is_some() || ended.is_none(),
                "{name} ended ({ended:?}) before: {what}"
            );
            found
        })
    }

    /// Waits until it listens; its first multiaddr.
    pub fn listening(&mut self) -> String {
        let line = self.event("listening", 0, SHORT, |line| line["event"] == "listening");
        line["listen"][0].as_str().expect("an address").to_owned()
    }

    /// Waits until messages can flow; how long that took since its start.
    pub fn ready(&mut self, limit: Duration) -> Duration {
        self.event("ready", 0, limit, |line| line["event"] == "ready");
        self.started.elapsed()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end of a node that ends by itself.
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        until("the process ends", limit, || self.child.try_wait().unwrap())
    }

    /// SIGTERM, and exit code 0 within five seconds.
    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        let limit = Duration::from_secs(5);
        let ended = until("SIGTERM ends the node", limit, || {
            self.child.try_wait().unwrap()
        });
        assert_eq!(ended.code(), Some(0), "after SIGTERM: {}", self.log());
        self.check_log();
    }

    /// kill -9: nothing is written or said any more.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.check_log();
    }

    /// Everything it wrote to stderr, in all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    pub fn check_log(&self) {
        assert!(!self.log().contains("panicked"), "{}", self.log());
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- stderr of {}\n{}", self.home.0.display(), self.log());
            for line in self.events(0) {
                eprintln!("    {line}");
            }
        }
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
