//! What `--json` prints: the documented shapes, fields in the documented order.
//!
//! Views go out as they are where nothing else is documented (contacts, events).

use std::path::Path;

use serde::Serialize;

use crate::config::NodeConfig;
use crate::view::{
    AlarmView, DutyView, InboxView, MessageState, MessageView, NodeView, PkiView, Step, WeightView,
};

/// `address`.
#[derive(Serialize)]
pub(super) struct Address<'a> {
    pub(super) address: &'a str,
}

/// `contact add`.
#[derive(Serialize)]
pub(super) struct Added<'a> {
    pub(super) name: &'a str,
    pub(super) id: &'a str,
}

/// `contact rm`.
#[derive(Serialize)]
pub(super) struct Removed<'a> {
    pub(super) name: &'a str,
    pub(super) removed: bool,
}

/// `send`.
#[derive(Serialize)]
pub(super) struct Sent<'a> {
    pub(super) id: &'a str,
    pub(super) state: MessageState,
}

/// `message`.
#[derive(Serialize)]
pub(super) struct Life<'a> {
    id: &'a str,
    state: MessageState,
    history: &'a [Step],
    code: Option<&'a str>,
    reason: Option<&'a str>,
}

/// A line of `inbox`. `encoding` only where the body is not text.
#[derive(Serialize)]
pub(super) struct Received<'a> {
    id: &'a str,
    from: &'a str,
    body: &'a str,
    received_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'a str>,
}

/// `status`.
#[derive(Serialize)]
pub(super) struct Status<'a> {
    peer_id: &'a str,
    listen: &'a [String],
    ready: bool,
    reasons: &'a [String],
    epoch: u32,
    root: &'a str,
    certified: bool,
    degraded: bool,
    nodes: usize,
    on_duty: usize,
    behind_nat: bool,
    profile: &'a str,
    pki: &'a PkiView,
    duty: &'a DutyView,
    weight: &'a WeightView,
    warnings: &'a [String],
    alarms: usize,
}

/// One of `alarms`: the view with what a person is told.
#[derive(Serialize)]
pub(super) struct Alarm<'a> {
    #[serde(flatten)]
    view: &'a AlarmView,
    what: String,
    advice: String,
}

impl<'a> From<&'a AlarmView> for Alarm<'a> {
    fn from(view: &'a AlarmView) -> Self {
        Self {
            view,
            what: view.what(),
            advice: view.advice(),
        }
    }
}

/// The first line of `up`.
#[derive(Serialize)]
pub(super) struct Listening<'a> {
    event: &'static str,
    peer_id: &'a str,
    listen: &'a [String],
    api: &'a Path,
}

/// `config check`.
#[derive(Serialize)]
pub(super) struct Checked<'a> {
    pub(super) ok: bool,
    pub(super) file: Option<&'a Path>,
    pub(super) settings: Settings<'a>,
}

/// The settings in force.
#[derive(Serialize)]
pub(super) struct Settings<'a> {
    network: String,
    profile: &'static str,
    listen: &'a [String],
    bootstrap: &'a [String],
    quic: bool,
    log: &'a str,
}

/// Any command that fails.
#[derive(Serialize)]
pub(super) struct Failed<'a> {
    pub(super) error: Reason<'a>,
}

/// Why.
#[derive(Serialize)]
pub(super) struct Reason<'a> {
    pub(super) code: &'a str,
    pub(super) message: &'a str,
    pub(super) fix: &'a str,
}

impl<'a> From<&'a MessageView> for Life<'a> {
    fn from(view: &'a MessageView) -> Self {
        Self {
            id: &view.id,
            state: view.state,
            history: &view.history,
            code: view.code.as_deref(),
            reason: view.reason.as_deref(),
        }
    }
}

impl<'a> From<&'a InboxView> for Received<'a> {
    fn from(view: &'a InboxView) -> Self {
        Self {
            id: &view.id,
            from: &view.from,
            body: &view.body,
            received_at: view.received_at,
            encoding: (view.encoding != "text").then_some(&view.encoding),
        }
    }
}

impl<'a> From<&'a NodeView> for Status<'a> {
    fn from(node: &'a NodeView) -> Self {
        Self {
            peer_id: &node.peer_id,
            listen: &node.listen,
            ready: node.ready,
            reasons: &node.reasons,
            epoch: node.epoch,
            root: &node.root,
            certified: node.certified,
            degraded: node.degraded,
            nodes: node.nodes,
            on_duty: node.on_duty,
            behind_nat: node.behind_nat,
            profile: &node.profile,
            pki: &node.pki,
            duty: &node.duty,
            weight: &node.weight,
            warnings: &node.warnings,
            alarms: node.alarms,
        }
    }
}

impl<'a> Listening<'a> {
    pub(super) fn new(node: &'a NodeView, api: &'a Path) -> Self {
        Self {
            event: "listening",
            peer_id: &node.peer_id,
            listen: &node.listen,
            api,
        }
    }
}

impl<'a> From<&'a NodeConfig> for Settings<'a> {
    fn from(config: &'a NodeConfig) -> Self {
        Self {
            network: config.network.to_string(),
            profile: config.profile.name(),
            listen: &config.listen,
            bootstrap: &config.bootstrap,
            quic: config.quic,
            log: &config.log,
        }
    }
}
