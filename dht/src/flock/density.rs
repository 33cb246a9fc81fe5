//! How many nodes mix, and how long packets wait: both follow from the traffic that anyone can compute.
//!
//! A pool holds (arrivals per second) × (mean delay). The size of the flock is such that a fast packet shares its pool with
//! [`FAST_POOL`] others and a strong one with [`STRONG_POOL`], as far as the traffic goes; where it doesn't, strong and slow packets
//! wait longer instead. SPEC.md §8.

use crate::{directory::Totals, network::NetworkParams};
use mix::time::Span;

/// At least this many nodes are on duty, if there are as many.
pub const MIN_ON_DUTY: u32 = 16;
/// Up to this many nodes, everyone is on duty all the time.
pub const EVERYONE_UP_TO: u32 = 32;
/// Packets a packet of the fast class should meet in the pool of a hop.
pub const FAST_POOL: u64 = 12;
/// Packets a packet of the strong or slow class should meet there.
pub const STRONG_POOL: u64 = 24;
/// By how much a strong packet's mean delay may grow: from 1 s to 4 s.
pub const STRONG_STRETCH: u64 = 4;
/// By how much a slow packet's mean delay may grow: from 10 s to 60 s.
pub const SLOW_STRETCH: u64 = 6;

/// Arrivals at mixing hops that all nodes together cause, per 1,000 s. Routes of the strong class are a hop longer; nobody
/// promises to send any, so they don't count.
fn arrivals_mhz(params: &NetworkParams, totals: &Totals) -> u128 {
    u128::from(totals.rate_mhz) * u128::from(params.mixing_hops)
}

/// How many nodes should be on duty: as many as the traffic fills with [`FAST_POOL`] packets during a fast delay and with
/// [`STRONG_POOL`] during a strong one, at least [`MIN_ON_DUTY`] and at most all.
pub fn target(params: &NetworkParams, totals: &Totals) -> u32 {
    if totals.mixes <= EVERYONE_UP_TO {
        return totals.mixes;
    }
    let filled = |delay_ms: u64, pool: u64| {
        arrivals_mhz(params, totals) * u128::from(delay_ms) / (1_000_000 * u128::from(pool))
    };
    let [fast, strong, _] = params.delay_ms;
    let filled = filled(fast, FAST_POOL).min(filled(strong, STRONG_POOL));
    u32::try_from(filled)
        .unwrap_or(u32::MAX)
        .clamp(MIN_ON_DUTY, totals.mixes)
}

/// The size for which nodes are drawn, so that about `target` are on duty once the flock is filled up to [`MIN_ON_DUTY`].
///
/// Draws vary. Near the least size those that fall short are filled up and those that don't stay as they are, so the mean would lie
/// above the target and pools below their due: 10 % at a target of 16. Drawing for 3 × target − 48 there leaves it to the filling up:
/// at 16 all of it, so that no flock is larger than the least one.
pub fn aim(target: u32) -> u32 {
    const NEAR: u32 = MIN_ON_DUTY + MIN_ON_DUTY / 2;
    if (MIN_ON_DUTY..NEAR).contains(&target) {
        3 * target - 2 * NEAR
    } else {
        target
    }
}

/// Node is on duty iff its draw lies below this, on the scale of 2⁶⁴: [`aim`] of the target × weight / total weight.
pub fn threshold(weight: u8, totals: &Totals, target: u32) -> u128 {
    const ALWAYS: u128 = 1 << 64;
    if weight == 0 {
        return 0;
    }
    if target >= totals.mixes {
        return ALWAYS;
    }
    ((u128::from(aim(target)) * u128::from(weight)) << 64)
        .checked_div(u128::from(totals.weight))
        .unwrap_or(0)
        .min(ALWAYS)
}

/// Expected packets in the pool of a node on duty during a delay of this mean, in thousandths.
pub fn pool_milli(params: &NetworkParams, totals: &Totals, on_duty: usize, mean: Span) -> u64 {
    let held = arrivals_mhz(params, totals) * u128::from(mean.as_millis()) / 1_000;
    u64::try_from(held / on_duty.max(1) as u128).unwrap_or(u64::MAX)
}

/// Mean delay per hop of each class while a directory with these totals is in force. Strong and slow packets wait until
/// [`STRONG_POOL`] arrivals are to be expected at their hop, but at most [`STRONG_STRETCH`] and [`SLOW_STRETCH`] times their class's
/// mean; fast packets never wait longer.
pub fn hop_delays(params: &NetworkParams, totals: &Totals) -> [Span; 3] {
    let on_duty = u128::from(target(params, totals));
    let filling = (on_duty * u128::from(STRONG_POOL) * 1_000_000)
        .checked_div(arrivals_mhz(params, totals))
        .map_or(u64::MAX, |ms| u64::try_from(ms).unwrap_or(u64::MAX));
    let stretched = |mean: u64, most: u64| mean.max(filling.min(mean.saturating_mul(most)));
    let [fast, strong, slow] = params.delay_ms;
    [
        fast,
        stretched(strong, STRONG_STRETCH),
        stretched(slow, SLOW_STRETCH),
    ]
    .map(Span::from_millis)
}
