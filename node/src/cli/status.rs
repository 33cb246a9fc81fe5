//! `status`, `config check`, `completions`.

use std::path::Path;
use std::time::Duration;

use super::mesh;
use super::print::Out;
use super::shape::{Checked, Settings, Status};
use crate::client::Client;
use crate::config::{FILE_NAME, NodeConfig, Overrides};
use crate::error::{Error, ErrorKind};
use crate::view::NodeView;

pub(super) async fn status(client: &Client, out: &mut Out) -> Result<u8, Error> {
    let node: NodeView = client.get("/node", Duration::ZERO).await?;
    if out.is_json() {
        out.json(&Status::from(&node))?;
        return Ok(0);
    }
    let ready = if node.ready {
        "yes".to_owned()
    } else {
        format!("no: {}", node.reasons.join(", "))
    };
    let lines = [
        ("ready", ready),
        ("network", node.network),
        ("profile", node.profile),
        ("peer id", node.peer_id),
        (
            "listening",
            if node.listen.is_empty() {
                "nowhere".to_owned()
            } else {
                node.listen.join("\n           ")
            },
        ),
        (
            "reached",
            if node.behind_nat {
                "by nobody: behind a NAT, a leaf until that changes".to_owned()
            } else {
                "by others".to_owned()
            },
        ),
        ("epoch", node.epoch.to_string()),
        ("nodes", format!("{}, {} on duty", node.nodes, node.on_duty)),
        ("directory", node.pki.words()),
        ("root", node.root),
        ("certified", mesh::certificate(&node.pki)),
        ("banned", node.pki.banned.to_string()),
        ("duty", mesh::duty(&node.duty)),
        ("weight", node.weight.words()),
    ];
    for (name, value) in lines {
        out.line(&format!("{name:<9}  {value}"))?;
    }
    for warning in &node.warnings {
        out.line(&format!("{:<9}  {}", "warning", mesh::warned(warning)))?;
    }
    Ok(0)
}

/// Checks `murmur.toml` and what the environment sets of it; needs no running node.
pub(super) fn config_check(data_dir: &Path, out: &mut Out) -> Result<u8, Error> {
    let config = NodeConfig::load(data_dir, from_environment()?)?;
    let file = data_dir.join(FILE_NAME);
    let found = file.is_file();
    if out.is_json() {
        out.json(&Checked {
            ok: true,
            file: found.then_some(&file),
            settings: Settings::from(&config),
        })?;
        return Ok(0);
    }
    let source = if found {
        "read and correct"
    } else {
        "not there, which is fine"
    };
    out.line(&format!("{}: {source}", file.display()))?;
    let rows = [
        ["network".to_owned(), config.network.to_string()],
        ["profile".to_owned(), config.profile.name().to_owned()],
        ["listen".to_owned(), config.listen.join(", ")],
        ["bootstrap".to_owned(), config.bootstrap.join(", ")],
        ["quic".to_owned(), config.quic.to_string()],
        ["log".to_owned(), config.log],
    ];
    out.table(["SETTING", "IN FORCE"], &rows)?;
    Ok(0)
}

pub(super) fn completions(shell: clap_complete::Shell, out: &mut Out) -> Result<u8, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "murmur", &mut script);
    out.line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(0)
}

/// `up` would read the environment through its flags; this asks the same flags without any given.
fn from_environment() -> Result<Overrides, Error> {
    use clap::Parser;
    let cli = super::Cli::try_parse_from(["murmur", "up"]).map_err(|error| {
        let text = error.render().to_string();
        let first = text
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned();
        Error::new(
            ErrorKind::Config,
            first,
            "correct the MURMUR_… environment variable",
        )
    })?;
    match cli.command {
        super::Command::Up(args) => Ok(args.into()),
        _ => Ok(Overrides::default()),
    }
}
