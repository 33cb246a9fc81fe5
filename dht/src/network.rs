//! The parameters that make a network: what every node must agree on before it can speak to another.
//!
//! Holds [`NetworkParams`], its canonical CBOR and its identifier, and the three built-in networks. `demo`, `local` and tests set
//! values small; they never take a different code path. Does not hold settings of one node. SPEC.md §2.

use crate::id::derive;
use minicbor::{Decode, Encode};
use mix::{NetworkId, time::Moment};

/// Longest encoding accepted, in bytes.
pub const MAX_PARAMS_LEN: usize = 1024;
/// Longest network name, in bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 64;

/// 2026-11-01T00:00:00Z in Unix milliseconds: the genesis of the built-in networks that last.
const GENESIS_MS: u64 = 1_793_491_200_000;
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Most zero bits a network may ask of a stamp.
const MAX_EFFORT: u8 = 24;

/// Rates of the three cover streams of one profile, in packets per 1,000 s (mHz): `[payload, fetch, loop]`.
pub type Rates = [u32; 3];

/// Everything the nodes of one network agree on. All lengths of time are in milliseconds.
///
/// On the wire one CBOR array with the fields in this order; its hash is the network id, so two networks that differ in any
/// value cannot even read each other's packets.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct NetworkParams {
    /// Name for people, at most 64 B.
    #[n(0)]
    pub name: String,
    /// Start of epoch 0 and of slot 0, Unix ms.
    #[n(1)]
    pub genesis_ms: u64,
    /// Length of an epoch.
    #[n(2)]
    pub epoch_ms: u64,
    /// Length of a flock slot; divides the epoch.
    #[n(3)]
    pub slot_ms: u64,
    /// Beats of epoch e are sent from this long before its start …
    #[n(4)]
    pub beat_open_ms: u64,
    /// … until this long before its start.
    #[n(5)]
    pub beat_close_ms: u64,
    /// The set of epoch e is cut off this long before its start.
    #[n(6)]
    pub cutoff_ms: u64,
    /// A mix key is usable from this long before its epoch …
    #[n(7)]
    pub key_lead_ms: u64,
    /// … until this long after the epoch's end.
    #[n(8)]
    pub key_grace_ms: u64,
    /// Clocks may differ by this much.
    #[n(9)]
    pub clock_tolerance_ms: u64,
    /// Mean delay per hop of the classes fast, strong, slow.
    #[n(10)]
    pub delay_ms: [u64; 3],
    /// S: the constant part of every delay, which hides replay sync and processing.
    #[n(11)]
    pub hold_ms: u64,
    /// Mixing hops of the fast and slow classes (the final node comes on top).
    #[n(12)]
    pub mixing_hops: u8,
    /// Mixing hops of the strong class.
    #[n(13)]
    pub strong_hops: u8,
    /// Below this number of live peers a node waits (`too_few_mixes`).
    #[n(14)]
    pub min_live: u32,
    /// Length of a slot of the live mailbox series.
    #[n(15)]
    pub live_slot_ms: u64,
    /// Live boxes per slot and direction.
    #[n(16)]
    pub live_per_slot: u8,
    /// How long a frame promises that its sender stays live.
    #[n(17)]
    pub live_window_ms: u64,
    /// Holders of a live box.
    #[n(18)]
    pub live_holders: u8,
    /// Holders of a parked box.
    #[n(19)]
    pub parked_holders: u8,
    /// Holders of an inbox and its prekey box.
    #[n(20)]
    pub inbox_holders: u8,
    /// Longest wait of a fetch at its holder.
    #[n(21)]
    pub max_wait_ms: u64,
    /// Days a parked box is kept.
    #[n(22)]
    pub parked_days: u32,
    /// The "day" of the parked and inbox series.
    #[n(23)]
    pub day_ms: u64,
    /// Entries of an inbox.
    #[n(24)]
    pub inbox_cap: u32,
    /// Base effort of a stamp: leading zero bits.
    #[n(25)]
    pub effort: u8,
    /// Cover rates of a phone in the background, mHz.
    #[n(26)]
    pub rates_mobile_bg: Rates,
    /// Cover rates of a phone in the foreground, mHz.
    #[n(27)]
    pub rates_mobile_fg: Rates,
    /// Cover rates of an eco desktop, mHz.
    #[n(28)]
    pub rates_eco: Rates,
    /// Cover rates of a balanced node, mHz.
    #[n(29)]
    pub rates_balanced: Rates,
    /// Cover rates of a strong node, mHz.
    #[n(30)]
    pub rates_strong: Rates,
    /// Whether the hops of a route must lie in distinct subnets.
    #[n(31)]
    pub subnet_rule: bool,
    /// Certified epochs since admission before a node is used as a hop; six times as many before it is a holder or a witness.
    #[n(32)]
    pub maturity: u32,
    /// Nodes in a cell before the ring splits.
    #[n(33)]
    pub cell_limit: u32,
    /// Effort of the admission proof of work; 0 = none.
    #[n(34)]
    pub pow_effort: u8,
    /// After the cut-off, sets are reconciled for this long before the first proposal.
    #[n(35)]
    pub settle_ms: u64,
    /// How long each proposer has its turn.
    #[n(36)]
    pub view_ms: u64,
    /// A witness answers for what it held this long before the cut-off.
    #[n(37)]
    pub guard_ms: u64,
    /// Epochs a proven fault keeps a node out, counted from the epoch of the fault.
    #[n(38)]
    pub ban_epochs: u32,
}

/// Why parameters are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// Not the canonical CBOR of network parameters, or too long.
    #[error("the network parameters are not in their canonical encoding")]
    Malformed,
    /// The values contradict each other.
    #[error("the network parameters are not usable: {0}")]
    Unusable(&'static str),
}

impl NetworkParams {
    /// The public test network: hour-long epochs, the values of the protocol.
    pub fn testnet() -> Self {
        Self {
            name: "testnet".into(),
            genesis_ms: GENESIS_MS,
            epoch_ms: HOUR,
            slot_ms: 10 * MINUTE,
            beat_open_ms: 40 * MINUTE,
            beat_close_ms: 10 * MINUTE,
            cutoff_ms: 10 * MINUTE,
            key_lead_ms: 5 * MINUTE,
            key_grace_ms: 15 * MINUTE,
            clock_tolerance_ms: 2 * MINUTE,
            delay_ms: [200, SECOND, 10 * SECOND],
            hold_ms: 25,
            mixing_hops: 3,
            strong_hops: 4,
            min_live: 6,
            live_slot_ms: 2 * MINUTE,
            live_per_slot: 4,
            live_window_ms: 2 * MINUTE,
            live_holders: 2,
            parked_holders: 6,
            inbox_holders: 6,
            max_wait_ms: 2 * MINUTE,
            parked_days: 7,
            day_ms: 24 * HOUR,
            inbox_cap: 64,
            effort: 16,
            rates_mobile_bg: [33, 33, 8],
            rates_mobile_fg: [2_000, 200, 33],
            rates_eco: [500, 100, 17],
            rates_balanced: [2_000, 200, 50],
            rates_strong: [2_000, 500, 250],
            subnet_rule: true,
            maturity: 2,
            cell_limit: 8_192,
            pow_effort: 0,
            settle_ms: 30 * SECOND,
            view_ms: 20 * SECOND,
            guard_ms: 3 * MINUTE,
            ban_epochs: 7 * 24,
        }
    }

    /// A network of processes on one machine: epochs of a minute, no subnet rule, no maturity, a fetch each second.
    pub fn local() -> Self {
        let mut params = Self {
            name: "local".into(),
            epoch_ms: MINUTE,
            slot_ms: 10 * SECOND,
            beat_open_ms: 40 * SECOND,
            beat_close_ms: 10 * SECOND,
            cutoff_ms: 10 * SECOND,
            key_lead_ms: 5 * SECOND,
            key_grace_ms: MINUTE,
            clock_tolerance_ms: 5 * SECOND,
            live_slot_ms: 20 * SECOND,
            live_per_slot: 8,
            live_window_ms: 20 * SECOND,
            max_wait_ms: 20 * SECOND,
            effort: 8,
            subnet_rule: false,
            maturity: 0,
            settle_ms: SECOND,
            view_ms: SECOND,
            guard_ms: 3 * SECOND,
            ..Self::testnet()
        };
        for rates in params.rates_mut() {
            rates[1] = 1_000;
        }
        params
    }

    /// The network of `murmur demo`: like [`local`](Self::local) with epochs of 20 s, born at `genesis`.
    pub fn demo(genesis: Moment) -> Self {
        Self {
            name: "demo".into(),
            genesis_ms: genesis.as_millis(),
            epoch_ms: 20 * SECOND,
            slot_ms: 5 * SECOND,
            beat_open_ms: 13 * SECOND,
            beat_close_ms: 4 * SECOND,
            cutoff_ms: 3_300,
            key_lead_ms: 2 * SECOND,
            key_grace_ms: 20 * SECOND,
            clock_tolerance_ms: 2 * SECOND,
            live_window_ms: 15 * SECOND,
            effort: 4,
            settle_ms: 300,
            view_ms: 500,
            guard_ms: SECOND,
            ..Self::local()
        }
    }

    /// The network id: BLAKE3 of the canonical encoding, 32 B. Hash it once and keep it.
    pub fn id(&self) -> NetworkId {
        NetworkId(derive("murmuration/v1/network", &[&self.to_cbor()]))
    }

    /// The seed of the network's first epoch, from the same bytes as [`id`](Self::id).
    pub fn genesis_seed(&self) -> [u8; 32] {
        derive("murmuration/v1/genesis-seed", &[&self.to_cbor()])
    }

    /// The canonical CBOR encoding.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        // Writing to a Vec cannot fail.
        let _: Result<(), _> = minicbor::encode(self, &mut out);
        out
    }

    /// Reads the canonical encoding, and only that: anything that would not encode back to the same bytes is refused.
    ///
    /// # Errors
    /// [`ParamsError`] when the bytes are not canonical or the values unusable.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, ParamsError> {
        if bytes.len() > MAX_PARAMS_LEN {
            return Err(ParamsError::Malformed);
        }
        let params: Self = minicbor::decode(bytes).map_err(|_| ParamsError::Malformed)?;
        if params.to_cbor() != bytes {
            return Err(ParamsError::Malformed);
        }
        params.check()?;
        Ok(params)
    }

    /// Whether the values fit together; a network file must pass before it is used.
    ///
    /// # Errors
    /// [`ParamsError::Unusable`] naming the first rule that is broken.
    pub fn check(&self) -> Result<(), ParamsError> {
        let day = 24 * HOUR;
        let rules = [
            (
                self.name.len() <= MAX_NAME_LEN,
                "the name is longer than 64 bytes",
            ),
            (
                self.genesis_ms < 1 << 50,
                "genesis lies beyond any calendar",
            ),
            (
                self.epoch_ms >= SECOND && self.epoch_ms <= day,
                "an epoch lasts between a second and a day",
            ),
            (
                self.slot_ms > 0 && self.epoch_ms.is_multiple_of(self.slot_ms.max(1)),
                "the slot must divide the epoch",
            ),
            (
                self.beat_open_ms <= self.epoch_ms,
                "beats open earlier than one epoch before",
            ),
            (
                self.beat_close_ms < self.beat_open_ms,
                "beats close before they open",
            ),
            (
                self.cutoff_ms <= self.beat_close_ms,
                "the cut-off comes before the beats close",
            ),
            (
                self.key_lead_ms <= self.cutoff_ms,
                "keys are usable before the cut-off",
            ),
            (
                self.key_grace_ms <= self.epoch_ms,
                "a key outlives the next epoch",
            ),
            (
                self.clock_tolerance_ms <= self.epoch_ms,
                "clocks may differ by more than an epoch",
            ),
            (
                self.delay_ms.iter().all(|delay| *delay <= HOUR),
                "a mean delay exceeds an hour",
            ),
            (
                self.hold_ms <= MINUTE,
                "the constant delay exceeds a minute",
            ),
            (
                self.mixing_hops >= 1 && self.mixing_hops <= 4,
                "a route has between 1 and 4 mixing hops",
            ),
            (
                self.strong_hops >= 1 && self.strong_hops <= 4,
                "a strong route has between 1 and 4 mixing hops",
            ),
            (self.live_slot_ms > 0, "a live slot has no length"),
            (
                self.live_slot_ms <= day && self.live_window_ms <= day && self.max_wait_ms <= day,
                "a wait exceeds a day",
            ),
            // A node that was away reads each day since: shorter ones would make it read without end.
            (
                self.day_ms >= MINUTE,
                "a day of the mailboxes lasts less than a minute",
            ),
            (
                self.day_ms <= 366 * day && self.parked_days <= 366,
                "parked boxes are kept for more than a year",
            ),
            (
                self.live_per_slot >= 1 && self.inbox_cap >= 1,
                "a slot or an inbox holds nothing",
            ),
            (
                self.live_holders >= 1 && self.parked_holders >= 1 && self.inbox_holders >= 1,
                "a box has no holder",
            ),
            (self.cell_limit >= 1, "a cell holds no node"),
            // 2²⁴ hashes are seconds of work; whoever joins a network must not be made to work for hours.
            (
                self.effort <= MAX_EFFORT,
                "a stamp takes more than 24 zero bits",
            ),
            (
                self.view_ms > 0
                    && self.settle_ms <= self.cutoff_ms
                    && self.view_ms <= self.cutoff_ms - self.settle_ms,
                "no proposer has its turn before the epoch",
            ),
            (
                self.guard_ms <= self.beat_open_ms.saturating_sub(self.cutoff_ms),
                "beats are guarded before they are sent",
            ),
            (
                self.ban_epochs >= 1 && self.ban_epochs <= 1 << 20,
                "a ban lasts no epoch, or for ever",
            ),
            (
                self.pow_effort <= crate::admission::MAX_EFFORT,
                "admission takes more than 12 bits of work",
            ),
            (
                self.pow_effort == 0 || crate::admission::AVAILABLE,
                "it asks newcomers for proof of work, which this program was built without (feature `pow`)",
            ),
            (
                self.maturity <= 2,
                "no age of 0 to 15 is six times the maturity",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(ParamsError::Unusable(broken)),
            None => Ok(()),
        }
    }

    fn rates_mut(&mut self) -> [&mut Rates; 5] {
        [
            &mut self.rates_mobile_bg,
            &mut self.rates_mobile_fg,
            &mut self.rates_eco,
            &mut self.rates_balanced,
            &mut self.rates_strong,
        ]
    }
}

#[cfg(test)]
mod tests;
