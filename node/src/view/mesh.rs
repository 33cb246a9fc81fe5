//! What users see of the mesh: the epoch's directory, duty, weight, links, alarms; and the words for it.

use serde::{Deserialize, Serialize};

/// Why an epoch's directory carries no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Degraded {
    /// Fewer than four witnesses, or so few that no quorum is possible.
    TooFew,
    /// Not certified yet, and there is still time.
    Pending,
    /// The time for certifying it is over.
    Uncertified,
    /// A certificate is held, the set it is about is not.
    SetMissing,
    /// This node does not know the certificates that came before.
    Behind,
}

/// The directory of an epoch: who is in the mesh, and who vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PkiView {
    /// The epoch.
    pub epoch: u32,
    /// Root of its directory, hex.
    pub root: String,
    /// Whether a quorum of witnesses signed this root.
    pub certified: bool,
    /// Why not; absent if it is certified.
    pub degraded: Option<Degraded>,
    /// The certificate's hash, hex.
    pub certificate: Option<String>,
    /// Witnesses of the epoch.
    pub committee: usize,
    /// Signatures it takes.
    pub quorum: usize,
    /// Signatures known.
    pub votes: usize,
    /// Nodes in the directory.
    pub nodes: usize,
    /// Nodes kept out because a proof of what they did is known.
    pub banned: usize,
}

impl PkiView {
    /// One line for a person.
    #[must_use]
    pub fn words(&self) -> String {
        let signed = format!("{} of {} witnesses signed", self.votes, self.committee);
        match self.degraded {
            None if self.certified => format!("certified: {signed}, {} are enough", self.quorum),
            None | Some(Degraded::Uncertified) if self.committee == 0 => {
                "degraded: no witnesses are known, so it is what gossip brought".to_owned()
            }
            None | Some(Degraded::Uncertified) => {
                format!(
                    "degraded: {signed}, {} are needed; it is what gossip brought",
                    self.quorum
                )
            }
            Some(Degraded::TooFew) => format!(
                "degraded: {} witnesses are too few to certify anything; it is what gossip brought",
                self.committee
            ),
            Some(Degraded::Pending) => {
                format!("not certified yet: {signed}, {} are needed", self.quorum)
            }
            Some(Degraded::SetMissing) => {
                "degraded: a certificate is known, but not yet everyone it speaks of".to_owned()
            }
            Some(Degraded::Behind) => {
                "degraded: this node has not yet followed the certificates up to here".to_owned()
            }
        }
    }
}

/// Whether this node mixes now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DutyView {
    /// Whether it is on duty in this slot.
    pub on_duty: bool,
    /// When the slot ends, Unix milliseconds.
    pub until: u64,
    /// Nodes on duty.
    pub flock: usize,
}

/// What this node counts for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightView {
    /// What it declares.
    pub declared: u8,
    /// What the directory grants; absent where the directory does not have it.
    pub granted: Option<u8>,
    /// Certified epochs it has been there without a gap, at most 15.
    pub age: Option<u8>,
    /// The age from which it may mix at all.
    pub mixes_from: u8,
    /// The age from which it counts with all it declares, and holds mailboxes.
    pub full_from: u8,
    /// Whether it holds mailboxes for others.
    pub holds: bool,
}

impl WeightView {
    /// One line for a person.
    #[must_use]
    pub fn words(&self) -> String {
        let (Some(granted), Some(age)) = (self.granted, self.age) else {
            return format!(
                "none yet: this epoch's directory lacks this node (it declares {})",
                self.declared
            );
        };
        let why = if self.declared == 0 {
            "it declares none and mixes for nobody".to_owned()
        } else if age < self.mixes_from {
            format!(
                "{age} certified epochs old; it mixes from {}",
                self.mixes_from
            )
        } else if granted < self.declared && age < self.full_from {
            format!(
                "{age} certified epochs old; it counts in full from {}",
                self.full_from
            )
        } else if granted < self.declared {
            "limited because it states no subnet, or its subnet has its share already".to_owned()
        } else {
            "all it declares".to_owned()
        };
        format!("{granted} of {}: {why}", self.declared)
    }
}

/// A link that is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkView {
    /// First half of the node's name in the directory, hex.
    pub node: String,
    /// Its weight; absent where this epoch's directory lacks it.
    pub weight: Option<u8>,
    /// Certified epochs it has been there, at most 15.
    pub age: Option<u8>,
    /// Whether it is on duty in this slot.
    pub on_duty: bool,
    /// Whether it holds mailboxes.
    pub holds: bool,
}

/// `GET /peers`: the mesh as this node sees it. Who talks to whom is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeersView {
    /// The directory.
    pub pki: PkiView,
    /// Whether this node mixes now.
    pub duty: DutyView,
    /// What it counts for.
    pub weight: WeightView,
    /// Links that are up, at most 1,024.
    pub links: Vec<LinkView>,
    /// What is amiss though messages flow.
    pub warnings: Vec<String>,
}

/// How far an alarm is proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmState {
    /// The contact's node says that it uses another root; no certificate has come.
    Claimed,
    /// Its certificate does not hold for the witnesses known here.
    Unproven,
    /// Both certificates hold.
    Proven,
}

/// Two certified directories for one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmView {
    /// Names it here.
    pub id: String,
    /// The contact whose node has another directory; absent if this node alone was given both.
    pub with: Option<String>,
    /// The epoch.
    pub epoch: u32,
    /// Unix milliseconds.
    pub raised_at: u64,
    /// How far it is proved.
    pub state: AlarmState,
    /// Our root, hex.
    pub own_root: String,
    /// The other root, hex, once it is known.
    pub their_root: Option<String>,
    /// Our certificate, hex; not in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_certificate: Option<String>,
    /// The other certificate, hex; not in events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub their_certificate: Option<String>,
    /// Witnesses proven to have signed both.
    pub double_signers: usize,
    /// Whether the user has seen it.
    pub seen: bool,
}

impl AlarmView {
    /// The same, short enough for an event.
    #[must_use]
    pub fn without_certificates(self) -> Self {
        Self {
            own_certificate: None,
            their_certificate: None,
            ..self
        }
    }

    /// What has happened, for a person.
    #[must_use]
    pub fn what(&self) -> String {
        let epoch = self.epoch;
        let Some(with) = &self.with else {
            return format!(
                "This node was given two certified directories of epoch {epoch}. {}",
                self.signers()
            );
        };
        match self.state {
            AlarmState::Claimed => format!(
                "The node of {with} says that it uses another certified directory of epoch {epoch} than this one. It has sent no \
                 certificate yet: one of the two nodes may be shown a false mesh, or the other one lies."
            ),
            AlarmState::Unproven => format!(
                "The node of {with} sent a certificate for another directory of epoch {epoch}. It does not hold for the witnesses \
                 known here: it is made up, or the two nodes were parted before that epoch."
            ),
            AlarmState::Proven => format!(
                "This node and that of {with} hold certificates for two directories of epoch {epoch}, and both hold. {}",
                self.signers()
            ),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        let compare = match &self.with {
            Some(with) => {
                format!("Ask {with} over another channel which root `murmur status` shows there")
            }
            None => "Compare the root in `murmur status` with people you know".to_owned(),
        };
        format!(
            "{compare}. Until that is clear, don't rely on being hidden in the crowd. Whoever was shown a false mesh starts anew \
             with bootstrap peers from a source of trust. `murmur alarms --json` exports the evidence; `murmur alarms --seen {}` \
             puts the alarm away.",
            self.id
        )
    }

    fn signers(&self) -> String {
        match self.double_signers {
            0 => "No witness signed both: the mesh is in two parts.".to_owned(),
            1 => "One witness signed both; the proof keeps it out of the mesh.".to_owned(),
            many => format!("{many} witnesses signed both; the proofs keep them out of the mesh."),
        }
    }
}
