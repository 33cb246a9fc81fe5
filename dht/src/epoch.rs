//! Where a moment lies: epochs, the window of their beats, the cut-off, the life of a mix key.
//!
//! Pure functions of [`NetworkParams`] and a [`Moment`]; nothing here reads a clock. All saturate rather than overflow, and a
//! moment before genesis counts as epoch 0. SPEC.md §3.

use crate::{id::derive, network::NetworkParams};
use mix::time::{Moment, Span};
use rand_core::CryptoRng;

mod seed;

pub use seed::Seeds;

/// A half-open stretch of network time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// First moment inside.
    pub from: Moment,
    /// First moment after.
    pub until: Moment,
}

impl Window {
    /// Whether `now` lies inside.
    pub fn contains(&self, now: Moment) -> bool {
        self.from <= now && now < self.until
    }
}

/// The epoch `now` lies in.
pub fn epoch_at(params: &NetworkParams, now: Moment) -> u32 {
    let since = now.as_millis().saturating_sub(params.genesis_ms);
    u32::try_from(since / params.epoch_ms.max(1)).unwrap_or(u32::MAX)
}

/// T0: the first moment of epoch `e`.
pub fn start_of(params: &NetworkParams, e: u32) -> Moment {
    Moment::from_millis(start_ms(params, e))
}

/// The first moment after epoch `e`.
pub fn end_of(params: &NetworkParams, e: u32) -> Moment {
    Moment::from_millis(start_ms(params, e).saturating_add(params.epoch_ms))
}

/// When the beats of epoch `e` are sent.
pub fn beat_window(params: &NetworkParams, e: u32) -> Window {
    Window {
        from: before(params, e, params.beat_open_ms),
        until: before(params, e, params.beat_close_ms),
    }
}

/// When the set of epoch `e` is cut off.
pub fn cutoff(params: &NetworkParams, e: u32) -> Moment {
    before(params, e, params.cutoff_ms)
}

/// Until when a beat of epoch `e` must be held for a witness to answer for it.
pub fn guard(params: &NetworkParams, e: u32) -> Moment {
    before(params, e, params.cutoff_ms.saturating_add(params.guard_ms))
}

/// When packets to the mix key of epoch `e` are accepted; after it the key is erased.
pub fn key_window(params: &NetworkParams, e: u32) -> Window {
    let until = start_ms(params, e)
        .saturating_add(params.epoch_ms)
        .saturating_add(params.key_grace_ms);
    Window {
        from: before(params, e, params.key_lead_ms),
        until: Moment::from_millis(until),
    }
}

/// When to send one's own beat for epoch `e`: uniformly at random in its window, so that the time says nothing.
pub fn beat_due(params: &NetworkParams, e: u32, rng: &mut impl CryptoRng) -> Moment {
    let window = beat_window(params, e);
    window.from + random_span(window.until - window.from, rng)
}

/// The seed of epoch `e` without a certificate: `derive("seed", last committed seed ‖ e ‖ "none")`, from the genesis seed at first.
pub fn union_seed(committed: &[u8; 32], e: u32) -> [u8; 32] {
    derive(
        "murmuration/v1/seed",
        &[committed, &e.to_le_bytes(), b"none"],
    )
}

/// A span drawn uniformly below `max` (zero if `max` is zero). The bias of the 128-bit product is below 2⁻⁶⁴·max.
pub(crate) fn random_span(max: Span, rng: &mut impl CryptoRng) -> Span {
    Span(((u128::from(rng.next_u64()) * u128::from(max.0)) >> 64) as u64)
}

fn start_ms(params: &NetworkParams, e: u32) -> u64 {
    params
        .genesis_ms
        .saturating_add(u64::from(e).saturating_mul(params.epoch_ms))
}

fn before(params: &NetworkParams, e: u32, ms: u64) -> Moment {
    Moment::from_millis(start_ms(params, e).saturating_sub(ms))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;
    use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};

    #[test]
    fn an_hour_has_the_windows_of_the_protocol() {
        let params = NetworkParams::testnet();
        let t0 = start_of(&params, 100);
        let minute = |m: u64| Span::from_millis(m * 60_000);
        assert_eq!(epoch_at(&params, t0), 100);
        assert_eq!(
            beat_window(&params, 100),
            Window {
                from: t0 - minute(40),
                until: t0 - minute(10)
            }
        );
        assert_eq!(
            key_window(&params, 100),
            Window {
                from: t0 - minute(5),
                until: t0 + minute(75)
            }
        );
        assert_eq!(cutoff(&params, 100), t0 - minute(10));
    }

    #[test]
    fn extremes_saturate() {
        let params = NetworkParams::testnet();
        assert_eq!(epoch_at(&params, Moment::from_millis(0)), 0);
        assert!(epoch_at(&params, Moment(u64::MAX)) > 0);
        let _ = key_window(&params, u32::MAX);
        let broken = NetworkParams {
            epoch_ms: 0,
            beat_open_ms: u64::MAX,
            ..params
        };
        let _ = epoch_at(&broken, Moment(u64::MAX));
        let _ = beat_window(&broken, 3);
    }

    #[test]
    fn beats_spread_over_the_whole_window() {
        let params = NetworkParams::testnet();
        let mut rng = ChaCha20Rng::from_seed([1; 32]);
        let window = beat_window(&params, 5);
        let mut quarters = [0; 4];
        for _ in 0..400 {
            let due = beat_due(&params, 5, &mut rng);
            assert!(window.contains(due));
            quarters[((due - window.from).0 * 4 / (window.until - window.from).0) as usize] += 1;
        }
        assert!(quarters.iter().all(|count| *count > 60), "{quarters:?}");
    }

    #[test]
    fn every_epoch_has_its_own_seed() {
        assert_ne!(union_seed(&[0; 32], 1), union_seed(&[0; 32], 2));
        assert_ne!(union_seed(&[0; 32], 1), union_seed(&[1; 32], 1));
    }

    proptest! {
        #[test]
        fn epochs_tile_time(e in 0u32..1_000_000, offset in 0u64..60_000) {
            let params = NetworkParams::local();
            let inside = start_of(&params, e) + Span::from_millis(offset);
            prop_assert_eq!(epoch_at(&params, inside), e);
            prop_assert_eq!(end_of(&params, e), start_of(&params, e + 1));
        }
    }
}
