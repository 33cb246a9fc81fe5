//! A timer for the loop that lets packets go: to some ten microseconds, where tokio's own counts whole milliseconds.
//!
//! A millisecond is nothing to a person, but a delay that is always half of one too long is a law of its own: a million
//! departures tell it from the exponential. On Linux this is a timer of the kernel's; elsewhere it is tokio's.

use mix::time::{Moment, Span};

use super::Clock;

/// Sleeps until a moment. Set anew only when it has to ring earlier than it would.
#[derive(Debug)]
pub struct Timer {
    clock: Clock,
    kernel: Option<kernel::Timer>,
    /// When it rings.
    set: Option<Moment>,
}

impl Timer {
    /// To be called within a runtime.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            kernel: kernel::Timer::new(),
            set: None,
        }
    }

    /// Returns at `at`, or earlier: an earlier ring that was once asked for is not taken back. Without `at` it never returns.
    /// Cancelling it loses nothing.
    pub async fn until(&mut self, at: Option<Moment>) {
        let Some(at) = at else {
            return std::future::pending().await;
        };
        let now = self.clock.now();
        if at <= now {
            return;
        }
        let Some(kernel) = &mut self.kernel else {
            return tokio::time::sleep_until(self.clock.instant(at)).await;
        };
        if self.set.is_none_or(|set| at < set || set <= now) {
            // A failure shows in the next line, which then returns at once or is given up below.
            if kernel.set(at - now).is_err() {
                self.kernel = None;
                return tokio::time::sleep_until(self.clock.instant(at)).await;
            }
            self.set = Some(at);
        }
        if kernel.ring().await.is_err() {
            self.kernel = None;
        }
        self.set = None;
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::fs::File;
    use std::io;

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    };
    use tokio::net::unix::pipe::Receiver;

    use super::Span;

    /// A `timerfd`. The runtime watches it as it would a pipe: both only ever become readable.
    #[derive(Debug)]
    pub(super) struct Timer(Receiver);

    impl Timer {
        /// None if the system has no descriptor left for it.
        pub(super) fn new() -> Option<Self> {
            let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
            let timer = timerfd_create(TimerfdClockId::Monotonic, flags).ok()?;
            Receiver::from_file_unchecked(File::from(timer))
                .ok()
                .map(Self)
        }

        /// Rings once, after `wait`, which is not zero.
        pub(super) fn set(&mut self, wait: Span) -> io::Result<()> {
            let micros = wait.as_micros().max(1);
            let spec = Itimerspec {
                it_interval: Timespec::default(),
                it_value: Timespec {
                    tv_sec: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX),
                    // Below a thousand million, which every width of this field holds.
                    tv_nsec: (micros % 1_000_000 * 1_000) as _,
                },
            };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &spec)?;
            Ok(())
        }

        /// Waits for it to ring.
        pub(super) async fn ring(&mut self) -> io::Result<()> {
            loop {
                self.0.readable().await?;
                // Setting it anew takes an unread ring back: then there is nothing to read after all.
                match self.0.try_read(&mut [0; 8]) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read.map(|_| ()),
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io;

    use super::Span;

    #[derive(Debug)]
    pub(super) struct Timer;

    impl Timer {
        pub(super) fn new() -> Option<Self> {
            None
        }

        pub(super) fn set(&mut self, _: Span) -> io::Result<()> {
            Ok(())
        }

        pub(super) async fn ring(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn rings_in_order_and_never_early_when_asked_once() {
        let clock = Clock::start();
        let mut timer = Timer::new(clock);
        for micros in [1, 900, 40, 3_000, 0] {
            let at = clock.now() + Span::from_micros(micros);
            timer.until(Some(at)).await;
            assert!(clock.now() >= at);
        }
    }

    #[tokio::test]
    async fn an_earlier_moment_takes_the_place_of_a_later_one() {
        let clock = Clock::start();
        let mut timer = Timer::new(clock);
        let far = clock.now() + Span::from_secs(3_600);
        // Polled once, so that it is set, and cancelled.
        tokio::select! {
            biased;
            () = timer.until(Some(far)) => panic!("an hour has not passed"),
            () = std::future::ready(()) => {}
        }
        let near = clock.now() + Span::from_millis(2);
        timer.until(Some(near)).await;
        assert!(clock.now() >= near);
        // The hour is not asked for any more: what rings now is the new one.
        let next = clock.now() + Span::from_millis(1);
        timer.until(Some(next)).await;
        assert!(clock.now() >= next);
    }
}
