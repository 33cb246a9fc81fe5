//! When a node sends: three independent Poisson streams at constant rates. Says when, never what: the caller puts payload into
//! a firing if it has some and cover if not, so that real traffic only replaces cover. SPEC.md §10; Loopix 2017.

use core::fmt;
use std::collections::VecDeque;

use rand_chacha::ChaCha20Rng;

use crate::delay::exponential;
use crate::time::{Moment, Span};

/// A node that looks later than this after a firing slept through it: missed firings are left out, never made up in a burst.
pub const MAX_LAG: Span = Span::from_secs(1);
/// Firings that may wait to be polled; more are left out and counted.
pub const MAX_QUEUE: usize = 64;

/// Which of the three streams fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stream {
    /// A message, or a deposit that nobody reads.
    Payload,
    /// A fetch, or one of a box that does not exist.
    Fetch,
    /// A loop to ourselves.
    Loop,
}

/// Firings per 1,000 seconds (mHz) of each stream; zero switches a stream off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Payload or cover.
    pub payload: u32,
    /// Fetch or dummy.
    pub fetch: u32,
    /// Loops.
    pub loop_: u32,
}

/// The three streams. Call [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout), then
/// [`poll`](Self::poll) until it is empty.
pub struct Streams {
    clocks: [Clock; 3],
    fired: VecDeque<Stream>,
    skipped: u64,
    rng: ChaCha20Rng,
}

struct Clock {
    stream: Stream,
    mean: Option<Span>,
    next: Moment,
}

impl Streams {
    /// Streams that start at `now`.
    pub fn new(rates: Rates, now: Moment, rng: ChaCha20Rng) -> Self {
        let clock = |stream| Clock {
            stream,
            mean: None,
            next: Moment::MAX,
        };
        let clocks = [
            clock(Stream::Payload),
            clock(Stream::Fetch),
            clock(Stream::Loop),
        ];
        let mut streams = Self {
            clocks,
            fired: VecDeque::new(),
            skipped: 0,
            rng,
        };
        streams.set_rates(now, rates);
        streams
    }

    /// Changes the rates from `now` on. The law has no memory, so drawing anew shows nothing. When a profile may change is
    /// for the caller to hide.
    pub fn set_rates(&mut self, now: Moment, rates: Rates) {
        for (clock, rate) in self
            .clocks
            .iter_mut()
            .zip([rates.payload, rates.fetch, rates.loop_])
        {
            clock.mean = (rate > 0).then(|| Span(1_000_000_000 / u64::from(rate)));
            clock.restart(now, &mut self.rng);
        }
    }

    /// When the next firing is due.
    pub fn poll_timeout(&self) -> Option<Moment> {
        self.clocks
            .iter()
            .filter(|clock| clock.mean.is_some())
            .map(|clock| clock.next)
            .min()
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Moment) {
        for clock in &mut self.clocks {
            while clock.mean.is_some() && clock.next <= now {
                if now.since(clock.next) > MAX_LAG {
                    self.skipped += 1;
                    clock.restart(now, &mut self.rng);
                    continue;
                }
                if self.fired.len() < MAX_QUEUE {
                    self.fired.push_back(clock.stream);
                } else {
                    self.skipped += 1;
                }
                // From the moment it was due, not from now: lateness must not lower the rate.
                clock.restart(clock.next, &mut self.rng);
            }
        }
    }

    /// The next stream that fired.
    pub fn poll(&mut self) -> Option<Stream> {
        self.fired.pop_front()
    }

    /// How often firings were left out: by sleep or by a caller that did not poll.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl Clock {
    fn restart(&mut self, from: Moment, rng: &mut ChaCha20Rng) {
        self.next = match self.mean {
            Some(mean) => from + exponential(mean, rng),
            None => Moment::MAX,
        };
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams")
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
