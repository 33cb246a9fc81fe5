//! Settings: from flags, the environment, the file `murmur.toml` and the defaults, in that order.
//!
//! The file is optional and lives in the data directory. A setting that is unknown or holds
//! something wrong is an error that names file and line; nothing is skipped in silence. Secrets are
//! never settings.

use std::fmt;
use std::path::{Path, PathBuf};

use dht::network::NetworkParams;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::error::{Error, ErrorKind};

/// The name of the settings file inside the data directory.
pub const FILE_NAME: &str = "murmur.toml";

/// The log filter without any setting: no peer, route, mailbox or address appears at these levels.
pub const DEFAULT_LOG: &str = "warn,murmuration=info,node=info,libp2p=warn,libp2p_kad=error";

/// Everything a node is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Where the node keeps its keys and its store.
    pub data_dir: PathBuf,
    /// Which network it joins.
    pub network: NetworkChoice,
    /// How much it sends, relays and holds.
    pub profile: Profile,
    /// Multiaddrs to listen on; never empty.
    pub listen: Vec<String>,
    /// Multiaddrs with `/p2p/…` of nodes to start from.
    pub bootstrap: Vec<String>,
    /// A signed list of further ones, and the key that signs it (64 hex digits).
    pub bootstrap_list: Option<(PathBuf, [u8; 32])>,
    /// Whether QUIC is offered besides TCP.
    pub quic: bool,
    /// The filter of the log on stderr.
    pub log: String,
}

/// Which network to join.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NetworkChoice {
    /// A network of processes on one machine or in one room: short epochs, no subnet rule.
    #[default]
    Local,
    /// The public test network.
    Testnet,
    /// The parameters in this file (canonical CBOR).
    File(PathBuf),
    /// These parameters, from a program that embeds the node.
    Params(Box<NetworkParams>),
}

/// How much a node sends, relays and holds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Profile {
    /// A phone: little traffic, relays nothing.
    Mobile,
    /// Least traffic on a machine that stays on.
    Eco,
    /// The default.
    #[default]
    Balanced,
    /// More cover, longer routes, larger mailbox.
    Strong,
}

/// Settings of one source; what is absent is left to the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `local`, `testnet` or a file.
    pub network: Option<String>,
    /// The profile.
    pub profile: Option<Profile>,
    /// Multiaddrs to listen on; empty means not given.
    pub listen: Vec<String>,
    /// Multiaddrs to start from; empty means not given.
    pub bootstrap: Vec<String>,
    /// The file of a signed list of peers to start from.
    pub bootstrap_list: Option<String>,
    /// The key that signs it, 64 hex digits.
    pub bootstrap_key: Option<String>,
    /// Whether QUIC is offered.
    pub quic: Option<bool>,
    /// The log filter.
    pub log: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    network: Option<Spanned<String>>,
    profile: Option<Profile>,
    listen: Option<Vec<Spanned<String>>>,
    bootstrap: Option<Vec<Spanned<String>>>,
    bootstrap_list: Option<String>,
    bootstrap_key: Option<Spanned<String>>,
    quic: Option<bool>,
    log: Option<Spanned<String>>,
}

impl NodeConfig {
    /// The defaults for `data_dir`, without looking at any file: the `local` network on loopback.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        let network = NetworkChoice::default();
        Self {
            data_dir: data_dir.into(),
            listen: network.default_listen(false),
            network,
            profile: Profile::default(),
            bootstrap: Vec::new(),
            bootstrap_list: None,
            quic: false,
            log: DEFAULT_LOG.to_owned(),
        }
    }

    /// Flags and environment over `murmur.toml` in `data_dir` over the defaults, all checked.
    ///
    /// # Errors
    /// `Config`, with file and line, for an unknown key, a value of the wrong type or a malformed
    /// multiaddr; `Usage` for the same in `over`; `DataDir` when the file exists but can't be read.
    pub fn load(data_dir: impl Into<PathBuf>, over: Overrides) -> Result<Self, Error> {
        let data_dir = data_dir.into();
        let path = data_dir.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => String::new(),
            Err(error) => return Err(unreadable(&path, error)),
        };
        let file = parse(&path, &text)?;
        check_overrides(&over)?;

        let network = match (over.network, file.network) {
            (Some(name), _) => NetworkChoice::from_name(&name, Path::new("")),
            // A relative path in the file means the same wherever the node is started.
            (None, Some(name)) => NetworkChoice::from_name(&name, &data_dir),
            (None, None) => NetworkChoice::default(),
        };
        let list = match (over.bootstrap_list, file.bootstrap_list) {
            (Some(path), _) => Some(PathBuf::from(path)),
            (None, path) => path.map(|path| data_dir.join(path)),
        };
        let signer = over.bootstrap_key.or(file.bootstrap_key);
        let signer = signer.as_deref().and_then(key_of);
        let bootstrap_list = match (list, signer) {
            (Some(list), Some(signer)) => Some((list, signer)),
            (None, None) => None,
            _ => {
                return Err(Error::new(
                    ErrorKind::Config,
                    "a list of peers to start from needs the key that signs it, and the key a list",
                    "give both bootstrap_list and bootstrap_key, or neither",
                ));
            }
        };
        let quic = over.quic.or(file.quic).unwrap_or(false);
        let listen = first_given([over.listen, file.listen]);
        Ok(Self {
            profile: over.profile.or(file.profile).unwrap_or_default(),
            listen: if listen.is_empty() {
                network.default_listen(quic)
            } else {
                listen
            },
            bootstrap: first_given([over.bootstrap, file.bootstrap]),
            bootstrap_list,
            quic,
            log: over
                .log
                .or(file.log)
                .unwrap_or_else(|| DEFAULT_LOG.to_owned()),
            network,
            data_dir,
        })
    }
}

impl NetworkChoice {
    /// The name of a built-in network, or else a file, whose relative path starts at `base`.
    fn from_name(name: &str, base: &Path) -> Self {
        match name {
            "local" => Self::Local,
            "testnet" => Self::Testnet,
            path => Self::File(base.join(path)),
        }
    }

    /// The parameters that every node of the network agrees on.
    ///
    /// # Errors
    /// `Network` if a file can't be read or does not hold a network's parameters.
    pub fn params(&self) -> Result<NetworkParams, Error> {
        let path = match self {
            Self::Local => return Ok(NetworkParams::local()),
            Self::Testnet => return Ok(NetworkParams::testnet()),
            Self::Params(params) => return Ok((**params).clone()),
            Self::File(path) => path,
        };
        let wrong = |why: String| {
            Error::new(
                ErrorKind::Network,
                format!("the network file {} can't be used: {why}", path.display()),
                "name a network file, `local` or `testnet` with --network",
            )
        };
        let bytes = std::fs::read(path).map_err(|cause| wrong(cause.to_string()))?;
        NetworkParams::from_cbor(&bytes).map_err(|cause| wrong(cause.to_string()))
    }

    /// Loopback only on `local`, so that trying it out opens no port to the world.
    fn default_listen(&self, quic: bool) -> Vec<String> {
        let ip = match self {
            Self::Local | Self::Params(_) => "127.0.0.1",
            Self::Testnet | Self::File(_) => "0.0.0.0",
        };
        let mut listen = vec![format!("/ip4/{ip}/tcp/0")];
        if quic {
            listen.push(format!("/ip4/{ip}/udp/0/quic-v1"));
        }
        listen
    }
}

impl fmt::Display for NetworkChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Testnet => f.write_str("testnet"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Params(params) => f.write_str(&params.name),
        }
    }
}

impl Profile {
    /// The three cover streams in this profile, and the declared weight.
    #[must_use]
    pub const fn shape(self, params: &NetworkParams) -> (dht::network::Rates, u8) {
        match self {
            Self::Mobile => (params.rates_mobile_fg, 0),
            Self::Eco => (params.rates_eco, 1),
            Self::Balanced => (params.rates_balanced, 1),
            Self::Strong => (params.rates_strong, 8),
        }
    }

    /// The name used in settings and shown by `status`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mobile => "mobile",
            Self::Eco => "eco",
            Self::Balanced => "balanced",
            Self::Strong => "strong",
        }
    }
}

/// Reads and checks a settings file's text; values keep their place for the error's line.
fn parse(path: &Path, text: &str) -> Result<Overrides, Error> {
    let file: File = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        at_line(path, text, at, error.message())
    })?;
    let checked = |value: Spanned<String>, check: fn(&str) -> Result<(), String>| {
        check(value.get_ref())
            .map_err(|why| at_line(path, text, value.span().start, &why))
            .map(|()| value.into_inner())
    };
    let all = |values: Option<Vec<Spanned<String>>>, check| {
        values
            .unwrap_or_default()
            .into_iter()
            .map(|v| checked(v, check))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(Overrides {
        network: file
            .network
            .map(|v| checked(v, check_network))
            .transpose()?,
        profile: file.profile,
        listen: all(file.listen, check_listen)?,
        bootstrap: all(file.bootstrap, check_bootstrap)?,
        bootstrap_list: file.bootstrap_list,
        bootstrap_key: file
            .bootstrap_key
            .map(|v| checked(v, check_key))
            .transpose()?,
        quic: file.quic,
        log: file.log.map(|v| checked(v, check_log)).transpose()?,
    })
}

/// The same checks for what came by flag or environment.
fn check_overrides(over: &Overrides) -> Result<(), Error> {
    let wrong = |flag: &str, why: String| {
        Error::new(
            ErrorKind::Usage,
            format!("{flag}: {why}"),
            format!("correct {flag} (or its environment variable)"),
        )
    };
    for listen in &over.listen {
        check_listen(listen).map_err(|why| wrong("--listen", why))?;
    }
    for peer in &over.bootstrap {
        check_bootstrap(peer).map_err(|why| wrong("--bootstrap", why))?;
    }
    if let Some(key) = &over.bootstrap_key {
        check_key(key).map_err(|why| wrong("--bootstrap-key", why))?;
    }
    if let Some(name) = &over.network {
        check_network(name).map_err(|why| wrong("--network", why))?;
    }
    if let Some(log) = &over.log {
        check_log(log).map_err(|why| wrong("--log", why))?;
    }
    Ok(())
}

fn check_network(name: &str) -> Result<(), String> {
    let is_path = name.contains(['/', '.']);
    match name {
        "" => Err("the network's name is empty".to_owned()),
        "local" | "testnet" => Ok(()),
        _ if is_path => Ok(()),
        other => Err(format!(
            "unknown network `{other}`: use local, testnet or the path of a parameter file"
        )),
    }
}

fn check_listen(text: &str) -> Result<(), String> {
    parse_multiaddr(text).map(|_| ())
}

fn check_bootstrap(text: &str) -> Result<(), String> {
    let address = parse_multiaddr(text)?;
    match address.iter().last() {
        Some(libp2p::multiaddr::Protocol::P2p(_)) => Ok(()),
        _ => Err(format!(
            "`{text}` doesn't end with /p2p/PEER-ID, so nobody could check who answers there"
        )),
    }
}

fn check_key(text: &str) -> Result<(), String> {
    key_of(text)
        .map(|_| ())
        .ok_or_else(|| format!("`{text}` is not a key of 64 hex digits"))
}

/// Thirty-two bytes from 64 hex digits.
fn key_of(text: &str) -> Option<[u8; 32]> {
    let (first, second) = text.split_at_checked(32)?;
    let halves = [first, second].map(crate::core::records::unhex16);
    let mut key = [0; 32];
    key[..16].copy_from_slice(&halves[0]?);
    key[16..].copy_from_slice(&halves[1]?);
    Some(key)
}

fn parse_multiaddr(text: &str) -> Result<libp2p::Multiaddr, String> {
    text.parse().map_err(|error| {
        format!("`{text}` is not a multiaddr such as /ip4/127.0.0.1/tcp/4001 ({error})")
    })
}

fn check_log(filter: &str) -> Result<(), String> {
    tracing_subscriber::EnvFilter::try_new(filter)
        .map(|_| ())
        .map_err(|error| {
            format!("`{filter}` is not a log filter such as info,libp2p=warn ({error})")
        })
}

fn first_given<const N: usize>(sources: [Vec<String>; N]) -> Vec<String> {
    sources
        .into_iter()
        .find(|list| !list.is_empty())
        .unwrap_or_default()
}

fn at_line(path: &Path, text: &str, at: usize, why: &str) -> Error {
    let line = text
        .as_bytes()
        .iter()
        .take(at)
        .filter(|byte| **byte == b'\n')
        .count()
        + 1;
    let why = why.lines().next().unwrap_or_default();
    Error::new(
        ErrorKind::Config,
        format!("{}:{line}: {why}", path.display()),
        format!("correct line {line}; `murmur config check` shows the settings in force"),
    )
}

fn unreadable(path: &Path, error: std::io::Error) -> Error {
    Error::new(
        ErrorKind::DataDir,
        format!("can't read {}: {error}", path.display()),
        "give yourself read access to the file, or remove it to use the defaults",
    )
    .with_source(error)
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

#[cfg(test)]
mod tests;
