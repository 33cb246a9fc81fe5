//! A token bucket: how much one peer may send before the rest is dropped. Time is an argument, in milliseconds.

/// Tokens refill at a constant rate up to a burst; each taken thing costs one.
#[derive(Debug, Clone)]
#[cfg_attr(
    not(feature = "net"),
    allow(unreachable_pub, reason = "public with feature `net`")
)]
pub struct Bucket {
    rate: u64,
    burst: u64,
    /// In thousandths of a token, so that slow rates do not starve by rounding.
    milli: u64,
    filled_at: u64,
}

#[cfg_attr(not(feature = "net"), allow(unreachable_pub))]
impl Bucket {
    /// A full bucket of `burst` tokens that gains `rate_per_s` a second.
    pub fn new(rate_per_s: u32, burst: u32, now: u64) -> Self {
        let burst = u64::from(burst) * 1_000;
        Self {
            rate: u64::from(rate_per_s),
            burst,
            milli: burst,
            filled_at: now,
        }
    }

    /// Takes one token if there is one.
    pub fn take(&mut self, now: u64) -> bool {
        self.fill(now);
        if self.milli < 1_000 {
            return false;
        }
        self.milli -= 1_000;
        true
    }

    /// Whether it is as a new one would be, so that nothing is lost by forgetting it.
    pub(crate) fn is_full(&mut self, now: u64) -> bool {
        self.fill(now);
        self.milli >= self.burst
    }

    fn fill(&mut self, now: u64) {
        // One token a second is one thousandth a millisecond.
        let gained = now.saturating_sub(self.filled_at).saturating_mul(self.rate);
        self.milli = self.milli.saturating_add(gained).min(self.burst);
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::Bucket;

    #[test]
    fn burst_then_rate() {
        let mut bucket = Bucket::new(10, 5, 1_000);
        let taken = (0..20).filter(|_| bucket.take(1_000)).count();
        assert_eq!(taken, 5);
        // 10 a second: one every 100 ms, none after 99.
        assert!(!bucket.take(1_099));
        assert!(bucket.take(1_100));
        assert!(!bucket.take(1_100));
        // A long pause refills to the burst, not beyond.
        let taken = (0..20).filter(|_| bucket.take(100_000)).count();
        assert_eq!(taken, 5);
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing() {
        let mut bucket = Bucket::new(10, 1, 1_000);
        assert!(bucket.take(1_000));
        assert!(!bucket.take(0));
        assert!(!bucket.take(1_050));
        assert!(bucket.take(1_100));
    }
}
