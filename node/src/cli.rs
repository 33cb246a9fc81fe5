//! The command line `murmur`: what it takes, and which function does it.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | failed; the error says why |
//! | 2 | called wrongly, or a setting is wrong |
//! | 3 | no node runs on this data directory |
//! | 4 | the node is not ready for this |
//! | 5 | the deadline passed first |
//!
//! With `--json` a command prints one JSON document, or one per line where it follows something;
//! an error is `{"error":{"code","message","fix"}}` on the same stream. Without it, errors are two
//! lines on stderr: what is wrong, and what to do. `status` is 0 whether the node is ready or not.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::api::WireClass;
use crate::client::Client;
use crate::config::{Overrides, Profile};
use crate::datadir;
use crate::error::{Error, ErrorKind};
use crate::view::MessageState;

mod contacts;
mod duration;
mod inbox;
mod mesh;
mod messages;
pub(crate) mod print;
pub(crate) mod progress;
mod seam;
mod shape;
mod status;
mod up;

use print::Out;

/// A node of the Murmuration mix network: private messages without a server.
#[derive(Debug, Parser)]
#[command(
    name = "murmur",
    version,
    propagate_version = true,
    max_term_width = 100
)]
struct Cli {
    /// The node's data directory.
    #[arg(long, global = true, value_name = "DIR", env = "MURMUR_DATA")]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// A mesh of real nodes on loopback: one writes to another that is offline, which comes back and reads.
    Demo(DemoArgs),
    /// Run a node in the foreground.
    Up(UpArgs),
    /// Show this node's address, or make a new one.
    Address(AddressArgs),
    /// Add, list and remove contacts.
    #[command(subcommand)]
    Contact(ContactCommand),
    /// Send a message to a contact.
    Send(SendArgs),
    /// Show received messages.
    Inbox(InboxArgs),
    /// Show the life of a sent message.
    Message {
        /// The message's id, as `send` printed it.
        id: String,
    },
    /// Show how the node is.
    Status,
    /// Show the mesh as the node sees it: epoch, directory, duty, own weight, links.
    Peers,
    /// Show contacts whose node knows another mesh, with the evidence.
    Alarms {
        /// Put this alarm away; it stays as evidence.
        #[arg(long, value_name = "ID")]
        seen: Option<String>,
    },
    /// Look at the settings.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a shell's completion script.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Rerun a named scenario of the deterministic simulator on the production code.
    Sim(SimArgs),
}

/// Arguments of `demo`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DemoArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(8..=500))]
    pub nodes: u32,
    /// How many messages, at least one of them to a node that is offline.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub messages: u32,
    /// Keep running for at least this many seconds.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=86_400))]
    pub seconds: Option<u64>,
    /// Print one JSON object instead of progress and tables.
    #[arg(skip)]
    pub json: bool,
}

/// Arguments of `sim`.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct SimArgs {
    /// List the scenarios.
    #[arg(long, conflicts_with = "name")]
    pub list: bool,
    /// Which scenario.
    #[arg(required_unless_present = "list")]
    pub name: Option<String>,
    /// The seed everything random follows from; the same seed gives the same run.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object.
    #[arg(skip)]
    pub json: bool,
}

#[derive(Debug, Args)]
struct UpArgs {
    /// `local`, `testnet` or a file with the network's parameters.
    #[arg(long, value_name = "NETWORK", env = "MURMUR_NETWORK")]
    network: Option<String>,
    /// How much the node sends, relays and holds.
    #[arg(long, env = "MURMUR_PROFILE")]
    profile: Option<Profile>,
    /// Listen on this multiaddr; may be given several times.
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "MURMUR_LISTEN",
        value_delimiter = ','
    )]
    listen: Vec<String>,
    /// Start from the node at this multiaddr with /p2p/…; may be given several times.
    #[arg(
        long,
        value_name = "MULTIADDR",
        env = "MURMUR_BOOTSTRAP",
        value_delimiter = ','
    )]
    bootstrap: Vec<String>,
    /// Start from the peers in this signed list, too.
    #[arg(long, value_name = "FILE", env = "MURMUR_BOOTSTRAP_LIST")]
    bootstrap_list: Option<String>,
    /// The key that signs the list, 64 hex digits.
    #[arg(long, value_name = "KEY", env = "MURMUR_BOOTSTRAP_KEY")]
    bootstrap_key: Option<String>,
    /// Offer QUIC besides TCP.
    #[arg(long, env = "MURMUR_QUIC", num_args = 0..=1, default_missing_value = "true")]
    quic: Option<bool>,
    /// What to log on stderr, such as `info,libp2p=warn`.
    #[arg(long, value_name = "FILTER", env = "MURMUR_LOG")]
    log: Option<String>,
}

#[derive(Debug, Args)]
struct AddressArgs {
    /// Make a new address under this label, unlinkable to the others.
    #[arg(long, value_name = "LABEL")]
    new: Option<String>,
    /// Draw it as a QR code too.
    #[arg(long)]
    qr: bool,
}

#[derive(Debug, Subcommand)]
enum ContactCommand {
    /// Add a contact by its address.
    Add {
        /// The name to give it here.
        name: String,
        /// Its address: `mur1…` or `murt1…`.
        address: String,
    },
    /// List the contacts.
    #[command(visible_alias = "ls")]
    List,
    /// Forget a contact and all that was said with it.
    Rm {
        /// Its name here.
        name: String,
    },
}

#[derive(Debug, Args)]
struct SendArgs {
    /// The contact's name.
    name: String,
    /// The message; `-` or nothing reads it from stdin.
    text: Option<String>,
    /// Give up after this long: 500ms, 60s, 5m, 2h, 7d.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    deadline: Option<Duration>,
    /// The delay class.
    #[arg(long, default_value = "fast")]
    class: WireClass,
    /// Wait until the message is that far, for at most the deadline (60 s without one).
    #[arg(long, value_name = "STATE")]
    wait: Option<WaitFor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitFor {
    Sent,
    Stored,
    Delivered,
    Read,
}

#[derive(Debug, Args)]
struct InboxArgs {
    /// Stay and print messages as they come.
    #[arg(long)]
    follow: bool,
    /// Mark what is printed as read and tell its senders.
    #[arg(long)]
    ack: bool,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check the settings and show those in force.
    Check,
}

/// Runs the command line of this process and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let mut out = Out::stdout(cli.json);
    let result = match cli.command {
        Command::Sim(args) => {
            let args = SimArgs {
                json: cli.json,
                ..args
            };
            sim(&args, &mut out)
        }
        command => {
            runtime().and_then(|runtime| runtime.block_on(execute(cli.data, command, &mut out)))
        }
    };
    ExitCode::from(finish(result, &mut out))
}

async fn execute(data: Option<PathBuf>, command: Command, out: &mut Out) -> Result<u8, Error> {
    if let Command::Completions { shell } = command {
        return status::completions(shell, out);
    }
    if let Command::Demo(args) = command {
        let args = DemoArgs {
            json: out.is_json(),
            ..args
        };
        return crate::demo::run(&args, out).await;
    }
    let data = datadir::locate(data)?;
    match command {
        Command::Up(args) => up::run(data, args.into(), out).await,
        Command::Config(ConfigCommand::Check) => status::config_check(&data, out),
        Command::Address(args) => contacts::address(&Client::new(&data)?, args, out).await,
        Command::Contact(command) => contacts::contact(&Client::new(&data)?, command, out).await,
        Command::Send(args) => messages::send(&Client::new(&data)?, args, out).await,
        Command::Message { id } => messages::message(&Client::new(&data)?, &id, out).await,
        Command::Inbox(args) => inbox::inbox(&Client::new(&data)?, &args, out).await,
        Command::Status => status::status(&Client::new(&data)?, out).await,
        Command::Peers => mesh::peers(&Client::new(&data)?, out).await,
        Command::Alarms { seen } => mesh::alarms(&Client::new(&data)?, seen, out).await,
        Command::Demo(_) | Command::Sim(_) | Command::Completions { .. } => Ok(0),
    }
}

#[cfg(feature = "sim")]
fn sim(args: &SimArgs, out: &mut Out) -> Result<u8, Error> {
    crate::sim::command(args, out)
}

#[cfg(not(feature = "sim"))]
fn sim(_args: &SimArgs, _out: &mut Out) -> Result<u8, Error> {
    Err(Error::new(
        ErrorKind::Usage,
        "this build has no simulator",
        "build it with `--features sim`",
    ))
}

/// Prints an error and gives the exit code. A reader of our output that went away is no error.
fn finish(result: Result<u8, Error>, out: &mut Out) -> u8 {
    match result {
        Ok(code) => code,
        Err(_) if out.is_closed() => 0,
        Err(error) => {
            out.error(&error);
            error.kind().exit_code()
        }
    }
}

/// clap's own text for people, ours for programs; help and version are not errors.
fn usage(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|arg| arg == "--json");
    if error.use_stderr() && wants_json {
        let text = error.render().to_string();
        let first = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        let error = Error::new(ErrorKind::Usage, first, "see `murmur --help`");
        Out::stdout(true).error(&error);
        return ExitCode::from(error.kind().exit_code());
    }
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| {
            Error::new(
                ErrorKind::Internal,
                "can't start the runtime",
                "check the limits on threads and open files",
            )
            .with_source(error)
        })
}

impl From<UpArgs> for Overrides {
    fn from(args: UpArgs) -> Self {
        Self {
            network: args.network,
            profile: args.profile,
            listen: args.listen,
            bootstrap: args.bootstrap,
            bootstrap_list: args.bootstrap_list,
            bootstrap_key: args.bootstrap_key,
            quic: args.quic,
            log: args.log,
        }
    }
}

impl From<WaitFor> for MessageState {
    fn from(wait: WaitFor) -> Self {
        match wait {
            WaitFor::Sent => Self::Sent,
            WaitFor::Stored => Self::Stored,
            WaitFor::Delivered => Self::Delivered,
            WaitFor::Read => Self::Read,
        }
    }
}

fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests;
