//! A benchmark that runs itself as child processes: they take orders as lines on their input and answer with lines on their output.
//!
//! Which part a child plays and with what settings is in its environment. A child ends when its input does, so that none is
//! left over when the parent is stopped.
#![allow(dead_code, reason = "no benchmark uses all of it")]

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

const ROLE: &str = "MURMURATION_BENCH_ROLE";
/// Longer than any answer takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// The part this process plays; none in the parent.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// A setting that the parent gave.
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("the parent sets {name}"))
}

/// Tells the parent. If it is gone, so is the reason to go on.
pub(crate) fn say(line: impl Display) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).unwrap();
}

/// What the parent orders, until it ends.
pub(crate) fn orders() -> impl Iterator<Item = String> {
    std::io::stdin().lock().lines().map_while(Result::ok)
}

/// A child process and the lines to and from it.
pub(crate) struct Child {
    role: &'static str,
    process: std::process::Child,
    input: ChildStdin,
    output: Receiver<String>,
}

impl Child {
    /// Runs this executable once more.
    pub(crate) fn start(role: &'static str, settings: &[(&str, &dyn Display)]) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(std::env::args_os().skip(1))
            .env(ROLE, role)
            .envs(
                settings
                    .iter()
                    .map(|(name, value)| (name, value.to_string())),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let (sender, output) = sync_channel(1_024);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            role,
            process,
            input,
            output,
        }
    }

    /// Gives an order. A child that was killed meanwhile does not mind.
    pub(crate) fn tell(&mut self, line: impl Display) {
        let _ = writeln!(self.input, "{line}").and_then(|()| self.input.flush());
    }

    /// Waits for the answer that begins with `word` and returns the rest of it. What comes before is skipped.
    pub(crate) fn hear(&mut self, word: &str) -> String {
        loop {
            match self.next(PATIENCE) {
                Some(line) => {
                    if let Some(rest) = line.strip_prefix(word) {
                        return rest.trim().to_owned();
                    }
                }
                None => panic!("{} did not say {word:?}", self.role),
            }
        }
    }

    /// Orders and waits for the answer, which begins with the first word of the order.
    pub(crate) fn ask(&mut self, line: impl Display) -> String {
        let line = line.to_string();
        self.tell(&line);
        let word = line.split(' ').next().unwrap_or_default();
        self.hear(word)
    }

    /// The next line, if one comes in time and the child has not ended.
    pub(crate) fn next(&mut self, patience: Duration) -> Option<String> {
        self.output.recv_timeout(patience).ok()
    }

    /// Ends it as a crash would: no destructor runs, nothing is flushed.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Waits until it has ended by itself, which it does when its input ends.
    pub(crate) fn end(self) {
        let Self {
            role,
            mut process,
            input,
            ..
        } = self;
        drop(input);
        assert!(process.wait().unwrap().success(), "{role} failed");
    }
}

/// Numbers in an answer.
pub(crate) fn numbers(line: &str) -> Vec<u64> {
    let parse = |word: &str| {
        word.parse()
            .unwrap_or_else(|_| panic!("{word:?} is no number"))
    };
    line.split_whitespace().map(parse).collect()
}
