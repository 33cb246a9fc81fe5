//! How long a packet waits at a hop. The sender draws a 16-bit quantile, the relay adds its own uniform draw below that
//! resolution, so that the law is exactly exponential and neither side alone knows the delay. SPEC.md §8.

use rand_core::Rng;

use crate::dice::unit;
use crate::sphinx::Quantile;
use crate::time::Span;

/// Draws beyond this many means are refused: a sender must not park packets in a pool for hours. An honest packet is lost to
/// this once in nine million hops (e^−16).
pub const CAP_IN_MEANS: u64 = 16;

/// The delay above the hold S for a sender's quantile: `mean · −ln((u + r) / 65536)` with the relay's own r uniform in (0, 1].
/// `None` if it exceeds the cap.
pub fn from_quantile(quantile: Quantile, mean: Span, rng: &mut impl Rng) -> Option<Span> {
    capped((f64::from(quantile.0) + unit(rng)) / 65_536.0, mean)
}

/// A delay that is all our own draw, for packets that start here: exponential, below the same cap.
pub fn own(mean: Span, rng: &mut impl Rng) -> Span {
    loop {
        if let Some(delay) = capped(unit(rng), mean) {
            return delay;
        }
    }
}

/// An exponential span without a cap, rounded to a microsecond.
pub(crate) fn exponential(mean: Span, rng: &mut impl Rng) -> Span {
    scaled(-unit(rng).ln(), mean)
}

fn capped(uniform: f64, mean: Span) -> Option<Span> {
    let means = -uniform.ln();
    (means <= CAP_IN_MEANS as f64).then(|| scaled(means, mean))
}

fn scaled(means: f64, mean: Span) -> Span {
    Span((means * mean.0 as f64).round() as u64)
}

#[cfg(test)]
pub(crate) mod tests;
