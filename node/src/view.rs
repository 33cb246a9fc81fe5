//! What users see: the shapes the API returns, the command line prints and the page draws.
//!
//! Plain data only, in the words of the product contract. Nothing here knows where a message
//! travelled: no route, holder or relay ever enters a view.

use serde::{Deserialize, Serialize};

mod mesh;

pub use mesh::{
    AlarmState, AlarmView, Degraded, DutyView, LinkView, PeersView, PkiView, WeightView,
};

/// A message's life, in order. `Failed` and `Expired` are final, so is `Read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MessageState {
    /// Written to disk here; nothing has left yet.
    Queued,
    /// At least one packet that carries it has left.
    Sent,
    /// Holders confirmed that they keep it.
    Stored,
    /// The receiver's node has it.
    Delivered,
    /// The receiver's user has read it.
    Read,
    /// It will not be delivered; code and reason say why.
    Failed,
    /// Its deadline passed first.
    Expired,
}

impl MessageState {
    /// Whether the state can no longer change.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Read | Self::Failed | Self::Expired)
    }
}

/// One step of a message's life. `at` is Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The state entered.
    pub state: MessageState,
    /// When, Unix milliseconds; for `delivered` and `read` as the receiver's node stated it.
    pub at: u64,
}

/// A message this node sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageView {
    /// 32 hex digits.
    pub id: String,
    /// The contact's name.
    pub to: String,
    /// Its present state.
    pub state: MessageState,
    /// Every state it went through.
    pub history: Vec<Step>,
    /// Holders that confirmed, of holders asked.
    pub stored: Option<(u8, u8)>,
    /// A stable code when it failed.
    pub code: Option<String>,
    /// Why it failed, for a person.
    pub reason: Option<String>,
}

/// A message this node received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxView {
    /// 32 hex digits.
    pub id: String,
    /// The contact's name.
    pub from: String,
    /// Text when it is UTF-8, base64 otherwise (`encoding` says which).
    pub body: String,
    /// `text` or `base64`.
    pub encoding: String,
    /// Unix milliseconds.
    pub received_at: u64,
    /// Position in the inbox, for `?after=`.
    pub seq: u64,
    /// Whether the user has acknowledged it.
    pub acked: bool,
}

/// A contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactView {
    /// The name given here.
    pub name: String,
    /// 32 hex digits.
    pub id: String,
    /// `new`, `greeting` or `ready`.
    pub state: String,
    /// The contact's address; absent where it wrote first.
    pub address: Option<String>,
}

/// An address that can be given to others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressView {
    /// The bech32m text.
    pub address: String,
    /// The label it was made for.
    pub label: String,
}

/// The node as `status` shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeView {
    /// libp2p peer id.
    pub peer_id: String,
    /// Full multiaddrs with `/p2p/…`.
    pub listen: Vec<String>,
    /// Whether messages can flow.
    pub ready: bool,
    /// Why not, in the words of the product contract: `no_bootstrap`, `clock_skew`, `too_few_mixes(4/6)`, …
    pub reasons: Vec<String>,
    /// The current epoch.
    pub epoch: u32,
    /// Root of the current epoch's directory, hex.
    pub root: String,
    /// Whether the root carries a certificate.
    pub certified: bool,
    /// Whether the view is a union of what gossip brought rather than a certified set.
    pub degraded: bool,
    /// Nodes in the directory.
    pub nodes: usize,
    /// Nodes on duty in this slot.
    pub on_duty: usize,
    /// Links that are up.
    pub links: usize,
    /// Neighbours have found that nobody can dial this node: it takes part as a leaf, by connections of its own.
    pub behind_nat: bool,
    /// The profile's name.
    pub profile: String,
    /// Network name.
    pub network: String,
    /// The directory, in detail.
    #[serde(default)]
    pub pki: PkiView,
    /// Whether this node mixes now.
    #[serde(default)]
    pub duty: DutyView,
    /// What it counts for.
    #[serde(default)]
    pub weight: WeightView,
    /// What is amiss though messages flow: `pki_degraded`, `split_view`, `few_bootstrap(2/5)`.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Alarms the user has not seen.
    #[serde(default)]
    pub alarms: usize,
}

/// Packet counts since start. `real` and `cover` are this node's own sending; a relay can't tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CounterView {
    /// Own packets that carried something.
    pub real: u64,
    /// Own packets that were cover.
    pub cover: u64,
    /// Packets relayed for others.
    pub relayed: u64,
    /// Drops by reason.
    pub dropped: std::collections::BTreeMap<String, u64>,
    /// Own loops sent and seen again.
    pub loops: (u64, u64),
    /// Entries the mailbox holds for others, and their bytes.
    pub held: (u64, u64),
    /// Mean number of packets waiting in the pool.
    pub pool: f64,
    /// Counts of the directory: epochs certified and degraded, comparisons with contacts.
    #[serde(default)]
    pub pki: std::collections::BTreeMap<String, u64>,
}

/// What happens, as it happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// Messages can flow.
    Ready,
    /// Messages can't flow, and why.
    NotReady {
        /// Reasons in the words of the product contract.
        reasons: Vec<String>,
    },
    /// A sent message changed its state.
    Message {
        /// The message's id.
        id: String,
        /// Its new state.
        state: MessageState,
    },
    /// A message came in.
    Inbox {
        /// The message.
        message: InboxView,
    },
    /// A contact changed its state.
    Contact {
        /// The contact.
        contact: ContactView,
    },
    /// A new epoch began.
    Epoch {
        /// Its number.
        epoch: u32,
        /// Its root, hex.
        root: String,
        /// Its size.
        nodes: usize,
        /// Why it carries no certificate, if it doesn't.
        #[serde(default)]
        degraded: Option<Degraded>,
    },
    /// A contact's node, or someone who feeds ours, has another certified directory.
    Alarm {
        /// What is known of it.
        alarm: AlarmView,
    },
}
