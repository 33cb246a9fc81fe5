//! Bodies of requests and answers that are not views already.

use serde::{Deserialize, Serialize};

use crate::view::MessageState;

/// `POST /addresses`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewAddress {
    /// What the address is for; only seen here.
    pub label: String,
}

/// `POST /contacts`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewContact {
    /// The name to give it here.
    pub name: String,
    /// Its address, bech32m or `murmuration:` URI.
    pub address: String,
}

/// `POST /messages`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// The contact's name.
    pub to: String,
    /// The body in the form that `encoding` says; at most [`crate::handle::MAX_MESSAGE`] bytes.
    pub body: String,
    /// How `body` is written; `text` if absent.
    #[serde(default)]
    pub encoding: Encoding,
    /// Milliseconds until it counts as expired; the network's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
    /// The delay class; `fast` if absent.
    #[serde(default)]
    pub class: WireClass,
    /// Only `reliable` so far.
    #[serde(default)]
    pub reliability: Reliability,
}

/// How a body is written in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Text,
    /// Standard base64 with padding.
    Base64,
}

/// The delay class of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WireClass {
    /// Seconds.
    #[default]
    Fast,
    /// Longer delays, better hidden.
    Slow,
}

/// Whether a message is acknowledged and resent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reliability {
    /// Resent until it is acknowledged or its deadline passes.
    #[default]
    Reliable,
}

/// The 202 of `POST /messages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// 32 hex digits.
    pub id: String,
    /// Usually `queued`; later if the same `Idempotency-Key` was used before.
    pub state: MessageState,
}

/// The 200 of `GET /ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Always true here; the 503 is a problem document with `reasons`.
    pub ready: bool,
    /// Empty here.
    pub reasons: Vec<String>,
    /// What is amiss though messages flow, `pki_degraded` for one.
    #[serde(default)]
    pub warnings: Vec<String>,
}
