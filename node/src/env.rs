//! The only room with a real clock and real entropy.
//!
//! Everything else in the house takes a [`Moment`] and a seeded generator as arguments, so that a
//! simulated run is the production code. The clock reads the system's time once and counts on with
//! a monotonic timer: a step of the system clock never moves an epoch under our feet. It is
//! noticed instead ([`Clock::skew`]) and reported as `clock_skew`.

#![allow(clippy::disallowed_methods, reason = "this is the one place for it")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mix::time::Moment;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::error::{Error, ErrorKind};

mod timer;

pub use timer::Timer;

/// Network time: the system's at start, carried on by a monotonic timer.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    unix_at_start: Duration,
}

impl Clock {
    /// Reads the system's clock, once.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            unix_at_start: system_time(),
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Moment {
        let unix = self.unix_at_start + self.started.elapsed();
        Moment(u64::try_from(unix.as_micros()).unwrap_or(u64::MAX))
    }

    /// How far the system's clock has moved away from ours since start: it was stepped, or the
    /// machine slept.
    #[must_use]
    pub fn skew(&self) -> Duration {
        system_time().abs_diff(self.unix_at_start + self.started.elapsed())
    }

    /// The tokio instant of a moment, for sleeping until it.
    #[must_use]
    pub fn instant(&self, at: Moment) -> tokio::time::Instant {
        let since = Duration::from_micros(at.0).saturating_sub(self.unix_at_start);
        tokio::time::Instant::from_std(self.started + since)
    }
}

/// A generator seeded by the operating system.
pub fn entropy() -> Result<ChaCha20Rng, Error> {
    let mut seed = zeroize::Zeroizing::new([0u8; 32]);
    getrandom::fill(seed.as_mut()).map_err(|cause| {
        Error::new(
            ErrorKind::Internal,
            format!("the operating system gave no randomness: {cause}"),
            "check that /dev/urandom is readable",
        )
    })?;
    Ok(ChaCha20Rng::from_seed(*seed))
}

fn system_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Milliseconds of a monotonic timer, for the network layer's pauses.
#[must_use]
pub fn monotonic_millis() -> std::sync::Arc<dyn Fn() -> u64 + Send + Sync> {
    let started = Instant::now();
    std::sync::Arc::new(move || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX))
}
